"""`report.html` and `report.json` in a run's folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mmbot.errors import MmbotError
from mmbot.runtime.explaining import FRESH, HTML, JSON
from mmbot.runtime.report.page import page
from mmbot.runtime.report.report import Report, read
from mmbot.runtime.rundir import write_whole

__all__ = ["HTML", "JSON", "write_report"]


def write_report(run_dir: Path) -> Report:
    """
    Make both files of a run's folder, each whole or not at all.

    Raises:
        ConfigError: The folder is none of a run; nothing is written.
        MmbotError: The folder cannot be written.
    """
    facts, found = read(run_dir)
    html = page(facts, found).encode()
    try:
        with _alone(run_dir):
            _whole(run_dir / JSON, msgspec.json.format(msgspec.json.encode(found), indent=1))
            _whole(run_dir / HTML, html)
    except OSError as error:
        raise MmbotError(
            f"{run_dir}: the report cannot be written: {error.strerror}; mend that first"
        ) from None
    return found


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Two reports that are made at once write one after the other."""
    folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _whole(target: Path, data: bytes) -> None:
    fresh = target.with_suffix(target.suffix + FRESH)
    try:
        write_whole(target, fresh, data)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
