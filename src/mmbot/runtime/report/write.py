"""`report.html` and `report.json` in a run's folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mmbot.errors import MmbotError
from mmbot.runtime.explaining import HTML, JSON
from mmbot.runtime.report.page import page
from mmbot.runtime.report.report import Report, read

__all__ = ["HTML", "JSON", "write_report"]


def write_report(run_dir: Path) -> Report:
    """
    Make both files of a run's folder, each whole or not at all.

    Raises:
        ConfigError: The folder is none of a run; nothing is written.
        MmbotError: The folder cannot be written.
    """
    facts, found = read(run_dir)
    try:
        _whole(run_dir / JSON, msgspec.json.format(msgspec.json.encode(found), indent=1))
        _whole(run_dir / HTML, page(facts, found).encode())
    except OSError as error:
        raise MmbotError(
            f"{run_dir}: the report cannot be written: {error.strerror}; mend that first"
        ) from None
    return found


def _whole(target: Path, data: bytes) -> None:
    fresh = target.with_suffix(target.suffix + ".new")
    fresh.write_bytes(data)
    fresh.replace(target)
