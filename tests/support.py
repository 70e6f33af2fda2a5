"""Helpers shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPO = Path(__file__).resolve().parent.parent


def data_dir(*parts: str) -> Path:
    """
    Folder or file of the recorded data; skips the test, visibly, where it is absent.

    The folder is named by `MMBOT_DATA`, by default `../shared/data` beside the repository.
    """
    root = Path(os.environ.get("MMBOT_DATA", _REPO.parent / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"recorded data absent: {path.name} (set MMBOT_DATA)")
    return path
