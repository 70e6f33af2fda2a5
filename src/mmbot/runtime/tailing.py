"""
The log of a run as a person reads it, from its end on, and as it grows.

A file may be replaced, cut or not be there yet, `latest` may name another run from one moment to
the next, and the last line may be half written: none of it loses or repeats a record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.logs import LEVELS, clean
from mmbot.runtime.rundir import mode_of, mode_text
from mmbot.runtime.screen import Screen, plain

_BLOCK: Final = 1 << 20
_LINE_MAX: Final = 1 << 20
"""A longer line is none of ours: it is let go."""
_MARKS: Final = {"warning": "! ", "error": "!! ", "critical": "!!! "}
_OFTEN: Final = "quote.held"
"""Once a second, and says that nothing changed: shown to who asks for it."""
LOG: Final = "log.jsonl"
PAPER: Final = "PAPER"

Record = dict[str, Any]
Item = Record | str
"""A record, or a line about the files themselves."""


def named_run(folder: Path) -> str:
    """A run and its mode, for a person: `latest` is the newest of every mode."""
    mode = mode_of(folder)
    return str(folder) if mode is None else f"{folder} ({mode_text(mode)})"


class Filter:
    """
    Which records are wanted.

    Args:
        events: Names or patterns (`order.*`); none: all but those that say nothing new.
        level: Lowest level.
    """

    def __init__(self, events: tuple[str, ...] = (), level: str = "debug") -> None:
        self._events = events
        self._number = LEVELS[level]

    def keeps(self, record: Record) -> bool:
        """Whether this one is wanted."""
        event = str(record.get("event"))
        if LEVELS.get(str(record.get("level")), 0) < self._number:
            return False
        if not self._events:
            return event != _OFTEN
        return any(fnmatchcase(event, pattern) for pattern in self._events)


class Tail:
    """
    Reads one log after another.

    Args:
        run: The folder that is meant now; asked again at every look.
        wanted: Which records to give.
    """

    def __init__(self, run: Callable[[], Path], wanted: Filter) -> None:
        self._run = run
        self._wanted = wanted
        self._folder: Path | None = None
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self._read = 0
        self._rest = b""
        self.tag = ""
        """What every line of the log that is read just now has to say: PAPER, or nothing."""

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def last(self, count: int) -> list[Item]:
        """The last `count` records that are wanted; `more` goes on after them."""
        self._folder = self._run()
        if not self._open():
            return [f"-- no log yet in {self._folder}"]
        assert self._fd is not None
        end = os.fstat(self._fd).st_size
        begin, data, found = end, b"", list[Item]()
        has_end = False
        # Where the last line begins is looked for even if none is wanted: it may be half written.
        while begin > 0 and (len(found) < count or not has_end):
            step = min(_BLOCK, begin)
            begin -= step
            data = os.pread(self._fd, step, begin) + data
            head, newline, whole = data.partition(b"\n") if begin else (b"", b"", data)
            lines = whole.split(b"\n")
            if begin and not newline:
                continue  # one line is longer than what was read so far
            if not has_end:
                has_end, self._rest = True, lines[-1]
            found = [*self._items(lines[:-1]), *found]
            data = head + newline
        self._read = end
        return found[-count:] if count else []

    def more(self) -> Iterator[Item]:
        """What was written since, in order; then what there is of another run or file."""
        yield from self._grown()
        folder = self._run()
        is_other = folder != self._folder
        if not is_other and not self._is_replaced():
            return
        # What the old file got in the meantime comes first.
        yield from self._grown()
        if self._rest:
            yield f"-- half a line at the end of {self._folder}"
        self.close()
        self._folder, self._rest, self._read = folder, b"", 0
        if self._open():
            what = "another run" if is_other else "the log begins anew"
            yield f"-- {what}: {named_run(folder)}"
            yield from self._grown()

    def _open(self) -> bool:
        assert self._folder is not None
        try:
            self._fd = os.open(self._folder / LOG, os.O_RDONLY)
        except OSError:
            self._fd = self._identity = None
            return False
        found = os.fstat(self._fd)
        self._identity = found.st_dev, found.st_ino
        self.tag = PAPER if _is_paper(self._folder) else ""
        return True

    def _is_replaced(self) -> bool:
        """Whether the name means another file than the one that is read."""
        assert self._folder is not None
        try:
            found = os.stat(self._folder / LOG)  # noqa: PTH116 - the same call as of the descriptor
        except OSError:
            return False  # between two files; what is read stays what it is
        return self._identity != (found.st_dev, found.st_ino)

    def _grown(self) -> Iterator[Item]:
        if self._fd is None:
            return
        if os.fstat(self._fd).st_size < self._read:
            yield "-- the log was cut: it is read from its beginning"
            self._read, self._rest = 0, b""
        while data := os.pread(self._fd, _BLOCK, self._read):
            self._read += len(data)
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            if len(self._rest) > _LINE_MAX:
                self._rest = b""
            yield from self._items(lines)

    def _items(self, lines: list[bytes]) -> Iterator[Item]:
        for line in lines:
            if not line:
                continue
            try:
                record = msgspec.json.decode(line)
            except (msgspec.MsgspecError, ValueError):
                record = None
            if not isinstance(record, dict):
                yield f"-- not a record: {line[:200].decode('utf-8', 'replace')}"
            elif self._wanted.keeps(record):
                yield record


def tail_records(path: Path, most_bytes: int) -> list[dict[str, Any]]:
    """The records in the last part of a log; a half-written line is left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            begin = max(0, size - most_bytes)
            file.seek(begin)
            data = file.read()
    except OSError:
        return []
    lines = data.split(b"\n")[:-1]
    if begin:
        lines = lines[1:]
    found: list[dict[str, Any]] = []
    for line in lines:
        with suppress(msgspec.MsgspecError, ValueError):
            record = msgspec.json.decode(line)
            if isinstance(record, dict):
                found.append(record)
    return found


def _is_paper(folder: Path) -> bool:
    """Whether a run trades on paper, by the configuration beside its log, or its folder's name."""
    mode = mode_of(folder)
    return "-paper-" in folder.resolve().name if mode is None else mode == "paper"


def line_of(item: Item, tag: str = "") -> str:
    """
    One item for a person: the line of the screen where the record has one.

    `tag` stands in it, for a run that nobody may take for another.
    """
    if isinstance(item, str):
        return clean(item)
    at = str(item.get("at"))
    body: str | None = None
    shown = {**item, "event": "quote.moved"} if item.get("event") == _OFTEN else item
    try:
        # A screen of its own for each: nothing is held back here because it came often.
        line = Screen(is_colour=False, is_paper=bool(tag)).render(shown)
    except (KeyError, TypeError, ValueError):
        line = None  # of another version of the program
    if line is not None:
        body = line[10:]
    if body is None:
        body = plain({key: value for key, value in item.items() if key != "exception"})
    trace = item.get("exception")
    more = "" if not isinstance(trace, str) else "\n" + clean(trace, keep="\n")
    mark = _MARKS.get(str(item.get("level")), "")
    tagged = f"{tag}  " if tag else ""
    return f"{at[11:19]}  {tagged}{mark}{clean(body)}{more}"
