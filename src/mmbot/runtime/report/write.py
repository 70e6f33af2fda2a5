"""`report.html` and `report.json` in a run's folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mmbot.errors import MmbotError
from mmbot.runtime.explaining import FRESH, HTML, JSON
from mmbot.runtime.report.page import page
from mmbot.runtime.report.report import Report, read
from mmbot.runtime.rundir import write_fresh

__all__ = ["HTML", "JSON", "write_report"]


def write_report(run_dir: Path) -> Report:
    """
    Make both files of a run's folder, together and whole or not at all.

    Raises:
        ConfigError: The folder is none of a run; nothing is written.
        MmbotError: The folder cannot be written.
    """
    facts, found = read(run_dir)
    html = page(facts, found).encode()
    try:
        with _alone(run_dir):
            _together(
                run_dir,
                {
                    JSON: msgspec.json.format(msgspec.json.encode(found), indent=1),
                    HTML: html,
                },
            )
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


def _together(run_dir: Path, files: Mapping[str, bytes]) -> None:
    """Replace files once all of them are written: numbers and page are of one report."""
    fresh = {name: run_dir / (name + FRESH) for name in files}
    try:
        for name, data in files.items():
            write_fresh(fresh[name], data)
        for name, path in fresh.items():
            path.replace(run_dir / name)
    except OSError:
        for path in fresh.values():
            path.unlink(missing_ok=True)
        raise
