"""
Structured logs: one JSON object a line, numbers as numbers, UTC, written by a thread of its own.

The event loop only puts a record into a queue, so a slow disk or terminal never delays a quote. The
same records feed the screen through a renderer the caller passes in.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import structlog

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

Record = Mapping[str, Any]
Renderer = Callable[[Record], str | None]

_STOP: Final = object()
_CLOSE_S: Final = 5.0
_encode = msgspec.json.Encoder(enc_hook=str).encode


class LogWriter:
    """
    Write records to a file and lines to a screen, in order, on a background thread.

    Args:
        path: The `log.jsonl` to append to, or None for a program without a run directory.
        screen: Stream a person reads, or None.
        render: Turns a record into the line shown, or None to keep it off the screen.
    """

    def __init__(self, path: Path | None, screen: TextIO | None, render: Renderer) -> None:
        self._file = path.open("ab") if path is not None else None
        self._screen = screen
        self._render = render
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Queue one record; returns at once."""
        self._queue.put(record)

    def say(self, text: str) -> None:
        """Queue a line for the screen alone, in order with the records."""
        self._queue.put(text)

    def close(self) -> None:
        """
        Write what is queued and close the file.

        A screen that takes nothing any more (a paused pager) must not keep the program from
        ending, so this gives up after a while.
        """
        self._queue.put(_STOP)
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is _STOP:
                break
            if isinstance(item, str):
                self._show(item)
            else:
                self._write(item)  # type: ignore[arg-type]
        if self._file is not None:
            self._file.close()

    def _write(self, record: Record) -> None:
        if self._file is not None:
            self._file.write(_encode(record) + b"\n")
            # Flushed to the kernel, not to the disk: a reader sees it, and nobody waits for it.
            if self._queue.empty():
                self._file.flush()
        line = self._render(record)
        if line is not None:
            self._show(line)

    def _show(self, line: str) -> None:
        if self._screen is None:
            return
        try:
            self._screen.write(line + "\n")
            if self._queue.empty():
                self._screen.flush()
        except (OSError, ValueError):
            # The reader of a pipe went away, its disk is full, or it was closed: the file has it.
            self._screen = None


def utc(now_ns: int) -> str:
    """ISO 8601 instant with microseconds and a Z."""
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{now_ns // 1_000 % 1_000_000:06d}Z"


def make_logger(
    writer: LogWriter, clock: Callable[[], int], level: str = "info"
) -> structlog.typing.FilteringBoundLogger:
    """
    Return a structlog logger that stamps `at` (UTC) and hands records to `writer`.

    Args:
        writer: Where the records go.
        clock: Nanoseconds since the epoch; simulated in a simulated run.
        level: Lowest level kept, a key of `LEVELS`.
    """

    def stamp(
        _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {"at": utc(clock()), "level": method, "event": event.pop("event"), **event}

    def deliver(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        writer.put(event)
        raise structlog.DropEvent

    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        None,
        processors=[stamp, structlog.processors.format_exc_info, deliver],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return logger


def stderr_line(text: str) -> None:
    """One line to a person on standard error, for what goes wrong before a run has a log."""
    # Nobody may be listening any more; the exit code still says what happened.
    with suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
