"""
Structured logs: one JSON object a line, numbers as numbers, UTC, written by a thread of its own.

The event loop only puts a record into a queue, so a slow disk or terminal never delays a quote. The
same records feed the screen through a renderer the caller passes in. The screen has a second
thread: a paused pager stops neither the file nor the program, it only misses lines.
"""

from __future__ import annotations

import fcntl
import os
import queue
import re
import select
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

if TYPE_CHECKING:
    import structlog

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

Record = Mapping[str, Any]
Renderer = Callable[[Record], str | None]
Tap = Callable[[str, Record], None]
"""Hears of every record as it is told, with its level, whatever level the log keeps."""

FACTS: Final = "facts"
"""A `msgspec.Struct` under this name is spread into the record, by the thread that writes it."""

_STOP: Final = object()
_CLOSE_S: Final = 5.0
_SCREEN_CLOSE_S: Final = 2.0
_SCREEN_LINES: Final = 500
"""Lines that wait for a screen which takes none; more are dropped and counted."""
_KEPT_RECORDS: Final = 1000
"""Records that wait for a file which is not open yet."""
_BATCH: Final = 64
_QUEUED_MAX: Final = 100_000
"""Records that wait for a disk which does not answer (about 50 MB); later ones are counted."""
_LOOK_S: Final = 1.0
"""How often it is looked whether the file is still where it was."""
_STDERR_WAIT_MS: Final = 1000
_encode = msgspec.json.Encoder(enc_hook=str).encode
_ODD: Final = re.compile(r"[^ -~]")


def clean(text: str, keep: str = "") -> str:
    """
    Text without what would move a terminal's cursor or change its colours, title or direction.

    What is told of comes from the venue, from files and from the command line: printed raw, an
    escape sequence in it could clear the screen and write what it likes there.
    """
    return _ODD.sub(lambda found: _shown(found[0], keep), text)


def _shown(char: str, keep: str) -> str:
    is_harmless = char.isprintable() or char in keep
    return char if is_harmless else char.encode("unicode_escape").decode()


class ScreenWriter:
    """
    Lines for a person, on a thread of its own.

    What the stream does not take in time is dropped; the next line that gets through says how many
    were. A descriptor is written to directly: a text stream keeps what it could not write, and the
    interpreter would wait for it at its end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fd: int | None = None
        with suppress(OSError, ValueError, AttributeError):
            self._fd = stream.fileno()
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._queue: queue.Queue[object] = queue.Queue(_SCREEN_LINES)
        self._dropped = 0
        self._is_gone = False
        self._thread = threading.Thread(target=self._work, name="screen", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Queue one line, or drop it; returns at once. From one thread only."""
        if self._dropped:
            line = f"{self._missed()}\n{line}"
        try:
            self._queue.put_nowait(line)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self, timeout_s: float = _SCREEN_CLOSE_S) -> None:
        """Show what is queued; gives up on a screen that takes nothing."""
        until = monotonic() + timeout_s
        with suppress(queue.Full):
            if self._dropped:
                self._queue.put(self._missed(), timeout=timeout_s)
            self._queue.put(_STOP, timeout=max(0.0, until - monotonic()))
        self._thread.join(max(0.0, until - monotonic()))

    def _missed(self) -> str:
        return f"... {self._dropped} lines were not shown, the screen took none; the log has them"

    def _work(self) -> None:
        while (item := self._queue.get()) is not _STOP:
            if self._is_gone:
                continue
            try:
                self._write(f"{item}\n")
            except (OSError, ValueError):
                # The reader of a pipe went away, its disk is full, or it was closed.
                self._is_gone = True

    def _write(self, text: str) -> None:
        if self._fd is None:
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode(self._encoding, "replace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                # Somebody who shares the terminal made it non-blocking.
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()


class LogWriter:
    """
    Write records to a file and lines to a screen, in order, on background threads.

    Args:
        path: The `log.jsonl` to append to; None while there is no run directory (see `open`).
        screen: Stream a person reads, or None.
        render: Turns a record into the line shown, or None to keep it off the screen.
    """

    def __init__(self, path: Path | None, screen: TextIO | None, render: Renderer) -> None:
        self._fd: int | None = None
        self._path: Path | None = None
        self._looked_at = monotonic()
        self._kept: list[bytes] = []
        self._lost = 0
        self._unqueued = 0
        self._is_torn = False
        self._screen = ScreenWriter(screen) if screen is not None else None
        self._render = render
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        if path is not None:
            self.open(path)
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def open(self, path: Path) -> None:
        """
        Append to this file from now on, first what was put before.

        Raises:
            OSError: It cannot be opened; `BlockingIOError` if another run writes it.
        """
        fd = _locked(path)
        self._path = path
        self._queue.put(fd)

    @property
    def has_file(self) -> bool:
        """Whether there is a file that records go to."""
        return self._path is not None

    def put(self, record: Record) -> None:
        """Queue one record, or count it where the disk is far behind; returns at once."""
        if self._queue.qsize() < _QUEUED_MAX:
            self._queue.put(record)
        else:
            self._unqueued += 1

    def say(self, text: str, *, is_styled: bool = False) -> None:
        """
        Queue a line for the screen alone, in order with the records.

        `is_styled`: it has colours of ours, and is clean otherwise.
        """
        self._queue.put(text if is_styled else clean(text, keep="\n"))

    def close(self) -> None:
        """
        Write what is queued and close the file.

        A screen that takes nothing any more (a paused pager) must not keep the program from
        ending, so this gives up after a while. A second call does nothing.
        """
        self._queue.put(_STOP)
        self._thread.join(_CLOSE_S)
        if self._screen is not None:
            self._screen.close()

    def _work(self) -> None:
        batch: list[bytes] = []
        while (item := self._queue.get()) is not _STOP:
            if isinstance(item, str):
                self._show(item)
            elif isinstance(item, int):
                self._append(batch)
                self._fd = item
                batch, self._kept = self._kept, []
            else:
                line, shown = self._written(item)  # type: ignore[arg-type]
                batch.append(line)
                if shown is not None:
                    self._show(shown)
            # Handed to the kernel, not to the disk: a reader sees it, and nobody waits for it.
            if len(batch) >= _BATCH or self._queue.empty():
                self._append(batch)
                batch.clear()
        self._append(batch)
        if self._fd is not None:
            with suppress(OSError):  # a network disk may say here that it is full
                os.close(self._fd)

    def _written(self, item: Record) -> tuple[bytes, str | None]:
        """
        One record as its line in the file and its line on the screen.

        What cannot be written must not end this thread, on which all later records depend; the
        record is told of instead, whatever is wrong with it.
        """
        try:
            record = spread(item)
            line = _encoded(record)
        except Exception as error:  # noqa: BLE001 - see above
            event = str(item.get("event"))
            bad = {
                "at": utc(item["at"]) if isinstance(item.get("at"), int) else None,
                "level": "error",
                "event": "log.unwritable",
                "of": event,
                "error": f"{type(error).__name__}: {error}",
            }
            return _encoded(bad), f"LOG      a record could not be written: {event!a}"
        try:
            return line, self._render(record)
        except Exception as error:  # noqa: BLE001 - as above; the file has the record
            return line, f"LOG      {item.get('event')!a} cannot be shown: {type(error).__name__}"

    def _show(self, line: str) -> None:
        if self._screen is not None:
            self._screen.put(line)

    def _append(self, lines: list[bytes]) -> None:
        if self._fd is None:
            self._kept.extend(lines)
            del self._kept[:-_KEPT_RECORDS]
            return
        if not lines:
            return
        self._follow()
        data = b"".join(lines)
        if self._is_torn:
            data = b"\n" + data  # what a full disk cut in the middle stays a line of its own
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError as error:
            if not self._lost:
                self._show(f"LOG      not written: {error.strerror}; records are being lost")
            self._lost += len(lines)
            self._is_torn = self._is_torn or done > 0
            return
        self._is_torn = False
        unqueued, self._unqueued = self._unqueued, 0
        if self._lost or unqueued:
            self._show(f"LOG      written again; {self._lost + unqueued} records were lost")
            self._lost = 0

    def _follow(self) -> None:
        """
        Go on in a new file where somebody moved this one away (logrotate).

        The old one is let go of only once the new one is locked; until then it is written on.
        """
        now = monotonic()
        if self._fd is None or self._path is None or now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        try:
            found, ours = self._path.stat(), os.fstat(self._fd)
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        except OSError:
            return
        try:
            fd = _locked(self._path)
        except OSError as error:
            self._show(f"LOG      was moved away and cannot be made anew: {error.strerror}")
            return
        with suppress(OSError):  # as at the end
            os.close(self._fd)
        self._fd, self._is_torn = fd, False


def _locked(path: Path) -> int:
    """A file to append to, locked against other runs; its owner alone may read it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _encoded(record: Record) -> bytes:
    """A line of the file; text that is no Unicode (half a surrogate pair) is escaped."""
    try:
        return _encode(record) + b"\n"
    except UnicodeEncodeError:
        return _encode(_escaped(record)) + b"\n"


def _escaped(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return {_escaped(key): _escaped(each) for key, each in value.items()}
        case list() | tuple():
            return [_escaped(each) for each in value]
        case _:
            return value


def spread(record: Record) -> dict[str, Any]:
    """
    A record as it is written: the instant as text, the facts of a struct as keys.

    The loop leaves both to the thread that writes, which has the time.
    """
    facts = record.get(FACTS)
    plain = {key: value for key, value in record.items() if key != FACTS}
    plain["at"] = utc(record["at"])
    if facts is not None:
        plain.update(msgspec.structs.asdict(facts))
    return plain


def utc(now_ns: int) -> str:
    """ISO 8601 instant with microseconds and a Z."""
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{now_ns // 1_000 % 1_000_000:06d}Z"


def instant_ns(text: str) -> int:
    """
    Nanoseconds of an instant of the log.

    Raises:
        ValueError: It is none.
    """
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000_000 + at.microsecond * 1000


FRAME: Final = frozenset({"run.started", "run.ended"})
"""Kept at every level that may change: without them one run of a log is taken for the other."""


class Threshold:
    """The lowest level that a log keeps, while it runs."""

    __slots__ = ("number",)

    def __init__(self, level: str) -> None:
        self.number = LEVELS[level]

    def set(self, level: str) -> None:
        """Keep this level and those above it from now on; a key of `LEVELS`."""
        self.number = LEVELS[level]


def make_logger(
    writer: LogWriter,
    clock: Callable[[], int],
    level: str | Threshold = "info",
    taps: Sequence[Tap] = (),
) -> structlog.typing.FilteringBoundLogger:
    """
    Return a structlog logger that stamps `at` and hands records to `writer`.

    Args:
        writer: Where the records go; it makes text of the instant and keys of `facts`.
        clock: Nanoseconds since the epoch; simulated in a simulated run.
        level: Lowest level kept, a key of `LEVELS`; or one that may change while it runs.
        taps: Called with every record on the thread that tells it, before any level is looked at
            and before the instant is in it. They return at once and raise nothing.
    """
    # It takes as long to load as the rest of a command, and most of them log nothing.
    import structlog  # noqa: PLC0415

    threshold = level if isinstance(level, Threshold) else Threshold(level)
    is_open = isinstance(level, Threshold) or bool(taps)

    def keep(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for tap in taps:
            tap(method, event)
        if LEVELS[method] < threshold.number and event["event"] not in FRAME:
            raise structlog.DropEvent
        return event

    def stamp(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {"at": clock(), "level": method, "event": event.pop("event"), **event}

    def deliver(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        writer.put(event)
        raise structlog.DropEvent

    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None,
        processors=[keep, stamp, structlog.processors.format_exc_info, deliver],
        wrapper_class=structlog.make_filtering_bound_logger(
            min(LEVELS.values()) if is_open else threshold.number
        ),
        cache_logger_on_first_use=True,
    )
    return logger


def stderr_line(text: str) -> None:
    """
    One line to a person on standard error, for what goes wrong outside the log of a run.

    Nobody may be listening any more, or the terminal may be stopped; neither may keep the program
    from ending, and the exit code still says what happened.
    """
    with suppress(OSError, ValueError, AttributeError):
        with suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(sys.stderr.fileno(), select.POLLOUT)
            if not poll.poll(_STDERR_WAIT_MS):
                return
        sys.stderr.write(clean(text, keep="\n") + "\n")
        sys.stderr.flush()
