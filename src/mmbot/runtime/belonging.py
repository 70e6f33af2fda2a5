"""
Whether the journal in a run's folder is that of its newest run.

A folder that is used again keeps what earlier runs left there. One that wrote no journal
(`journal.enabled = false`) leaves the older one lying, which tells of another run.
"""

from __future__ import annotations

import mmap
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.journal.reader import Journal
from mmbot.journal.records import JournalError, Kind, Started, decode
from mmbot.logs import instant_ns

_STARTED: Final = b'"event":"run.started"'
_BEFORE_NS: Final = NS_PER_S
"""The log tells of the start right before the journal does; a clock may be set between."""
_AFTER_NS: Final = 30 * NS_PER_S


def is_older(started_ns: int, begun_ns: int) -> bool:
    """Whether a journal that begins at `started_ns` was there before the run of `begun_ns`."""
    return started_ns < begun_ns - _BEFORE_NS


def is_newer(started_ns: int, begun_ns: int) -> bool:
    """Whether it is of a later run than the one of which the log tells."""
    return started_ns > begun_ns + _AFTER_NS


def writes_none(run_dir: Path) -> bool:
    """Whether the configuration of the newest run has no journal; False where it is not known."""
    try:
        found = tomllib.loads((run_dir / "config.toml").read_text("utf-8")).get("journal")
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("enabled") is False


def refuse_older(run_dir: Path, begun_ns: int | None = None) -> None:
    """
    Refuse to take the journal of an earlier run for that of the newest.

    Args:
        run_dir: The folder.
        begun_ns: Start of the newest run by its log, where that has been read already.

    Raises:
        JournalError: It is one, or there is none.
    """
    started = _started(run_dir)
    if started is None:
        return  # it is cut before its first record, and whoever reads it says so
    begun_ns = begun_ns or _last_start_ns(run_dir / "log.jsonl")
    if writes_none(run_dir) if begun_ns is None else is_older(started.at_ns, begun_ns):
        raise JournalError(
            f"{run_dir}: its newest run left no journal (journal.enabled = false, or it died before"
            " one); the one that lies there is of an earlier run: copy it into a folder of its own "
            "to play that"
        )


def _started(run_dir: Path) -> Started | None:
    for entry in Journal.of(run_dir).entries():
        if entry.kind == Kind.STARTED:
            found = decode(entry.kind, entry.payload)
            assert isinstance(found, Started)
            return found
    return None


def _last_start_ns(log: Path) -> int | None:
    """When the last run of a log began; None where the log does not say."""
    try:
        with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.rfind(_STARTED)
            if at < 0:
                return None
            begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            line = bytes(text[begin : end if end >= 0 else len(text)])
        return instant_ns(str(msgspec.json.decode(line, type=dict[str, object])["at"]))
    except (OSError, ValueError, KeyError, msgspec.MsgspecError):
        return None  # no log, an empty one, or a line that a full disk cut


def not_begun() -> JournalError:
    """What is wrong with a journal that has no record of a start before the others."""
    return JournalError("it does not begin with the record of a start: not a run's journal")
