"""Helpers shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPO = Path(__file__).resolve().parent.parent

IS_THOROUGH = os.environ.get("MMBOT_THOROUGH") == "1"
"""Set by `make thorough`: every seed and example of the costly tests, not a part of them."""


def often(normally: int, *, thoroughly: int) -> int:
    """How many seeds or examples: as many as every change is worth, or all that there are."""
    return thoroughly if IS_THOROUGH else normally


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
