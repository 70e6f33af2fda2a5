"""
The writer of a journal: a thread that packs and writes what the loop only put into a queue.

The loop pays for one append; encoding, compression and the disk are the thread's. What it does not
get done in time is a lag that everybody can read: who trades on without a record of it does so
knowingly. Records are handed to the kernel ten times a second, so a process that is killed loses a
tenth of a second at most; a machine that loses its power may lose what the kernel still held. The
files are synced to the disk at rotation and at the end.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns, sleep
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from mmbot.errors import ConfigError
from mmbot.journal.blocks import PART_MAX, RUN_BYTES, Packer, file_head, file_name, row_bytes
from mmbot.journal.build import this_build
from mmbot.journal.records import Ended, Item, Lost, Read, encode
from mmbot.logs import stderr_line

_FLUSH_S: Final = 0.1
_CLOSE_S: Final = 10.0
_BLOCK_BYTES: Final = 256 * 1024
"""Raw size at which a block is closed even if more waits."""
_SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""Raw size after which compression begins anew, so that a reader may begin there."""
_YIELD_EVERY: Final = 16
"""Records between two moments at which the loop may have the interpreter back."""
QUEUED_MAX: Final = 50_000
"""Items that wait for a disk which does not answer (about 50 MB); later ones are counted."""


class JournalParams(BaseModel):
    """The record that every run keeps of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True,
        description="Keep a journal; without one a run cannot be replayed or explained.",
    )
    rotate_mb: float = Field(
        64.0, ge=0.01, le=4096, description="Size at which the next file is begun, MB."
    )
    lag_ms_max: float = Field(
        2000.0,
        ge=500,
        le=60_000,
        description="Age of what is not yet written from which no order rests, ms.",
    )


class _Held:
    """A record in its place in the queue, of which a part is still to be worked out."""

    __slots__ = ("item", "make")

    def __init__(self, make: Callable[[], Item]) -> None:
        self.make = make
        self.item: Item | None = None


class Writer:
    """
    Writes the journal of one run into a folder, after those of earlier runs there.

    Args:
        folder: Where the files go; it exists.
        params: Sizes and bounds.
        steady: A clock that nobody sets, ns; only the lag is measured with it.
        has_thread: False where time is simulated, and `drain` is called by whoever simulates it.

    Attributes:
        error: Why the last attempt to write failed, or a file could not be synced; None while all
            is well.
        bytes_written: Size of all files of this run.

    Raises:
        ConfigError: The first file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        params: JournalParams,
        *,
        steady: Callable[[], int] = monotonic_ns,
        has_thread: bool = True,
    ) -> None:
        self.params = params
        self.error: str | None = None
        self._unsynced: str | None = None
        self.bytes_written = 0
        self.records_written = 0
        self.lag_ns_max = 0
        self._folder = folder
        self._steady = steady
        self._queue: deque[Item | _Held] = deque()
        self._held: _Held | None = None
        self._lost = 0
        self._run = os.urandom(RUN_BYTES)
        self._part = 0
        self._number = 1
        self._packer = Packer()
        self._segment_bytes = 0
        self._file_bytes = 0
        self._rotate_bytes = round(params.rotate_mb * 1e6)
        self._unwritten = b""
        self._unwritten_first = 0
        self._fd: int | None = None
        try:
            self._number = _next_number(folder)
            self._open()
        except OSError as error:
            raise ConfigError(
                f"cannot write {folder / file_name(self._number)}: {error.strerror}; "
                "mend that first"
            ) from None
        self._written_ns = steady()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        if has_thread:
            self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
            self._thread.start()
        else:
            self._add([encode(this_build())])

    # -- the loop's side ------------------------------------------------------------------------

    def put(self, item: Item | _Held) -> None:
        """
        Queue one record, or count it where the disk is far behind; returns at once.

        Raises:
            Exception: Of `settle`; the record is queued all the same.
        """
        if self._held is None:
            self._queue_up(item)
            return
        try:
            self.settle()
        finally:
            self._queue_up(item)

    def _queue_up(self, item: Item | _Held) -> None:
        queue = self._queue
        if len(queue) >= QUEUED_MAX:
            self._lost += 1
            return
        if self._lost:
            queue.append(Lost(self._lost, "the disk did not keep up"))
            self._lost = 0
        queue.append(item)

    def hold(self, make: Callable[[], Item]) -> None:
        """
        Queue a record that is completed by `settle`, or before whatever is put after it.

        It has its place at once, and nothing is written past it until it is complete. For what
        costs time to work out that something else needs first.
        """
        self.settle()
        held = _Held(make)
        self._queue_up(held)
        self._held = held

    def settle(self) -> bool:
        """
        Complete the record that is held, and say whether there was one.

        Raises:
            Exception: What it was made by raised. Its place then tells of a hole: nothing is
                written past a record that is not complete, so all later ones would be lost.
        """
        held, self._held = self._held, None
        if held is None:
            return False
        try:
            held.item = held.make()
        except Exception as error:
            held.item = Lost(1, f"it could not be made: {type(error).__name__}: {error}")
            raise
        return True

    def read(self, recv_ns: int, frames: Sequence[bytes]) -> None:
        """Queue the messages of one read of the socket."""
        self.put(Read(recv_ns, tuple(frames)))

    def lag_ns(self) -> int:
        """For how long at least what was put has not all been written."""
        lag_ns = self._steady() - self._written_ns
        self.lag_ns_max = max(self.lag_ns_max, lag_ns)
        return lag_ns

    @property
    def lost(self) -> int:
        """Records that could not be queued and are not told of yet."""
        return self._lost

    def close(self, ended: Ended | None = None) -> None:
        """
        Write what is queued, sync it and close; gives up on a disk that does not answer.

        A second call does nothing.
        """
        if self._stopping.is_set():
            return
        try:
            self.settle()
        finally:
            if ended is not None:
                self._queue_up(ended)
            self._stopping.set()
            if self._thread is not None:
                self._thread.join(_CLOSE_S)
            else:
                self._finish()

    # -- the thread's side ----------------------------------------------------------------------

    def _work(self) -> None:
        self._add([encode(this_build())])
        while not self._stopping.wait(_FLUSH_S):
            self.drain()
        self._finish()

    def _finish(self) -> None:
        self.drain()
        self._close_file()

    def drain(self) -> None:
        """Write all that waits; what was put before this began is then out of our hands."""
        began_ns = self._steady()
        if not self._flush():
            return
        queue = self._queue
        while queue:
            rows: list[tuple[int, bytes]] = []
            raw_bytes = 0
            while queue and raw_bytes < _BLOCK_BYTES:
                item = queue[0]
                if isinstance(item, _Held):
                    if item.item is None:
                        break
                    item = item.item
                queue.popleft()
                row = _encoded(item)
                rows.append(row)
                raw_bytes += len(row[1])
                if len(rows) % _YIELD_EVERY == 0:
                    sleep(0)  # lets the loop have the interpreter, if it waits for it
            if not rows or not self._add(rows):
                return
        self._written_ns = began_ns

    def _add(self, rows: Sequence[tuple[int, bytes]]) -> bool:
        """Make a block of these records and write it; False if the disk does not take it."""
        raw = b"".join(row_bytes(kind, payload) for kind, payload in rows)
        if self._segment_bytes >= _SEGMENT_BYTES:
            self._packer.restart()
            self._segment_bytes = 0
        self._segment_bytes += len(raw)
        self._unwritten_first = self.records_written
        self._unwritten = self._packer.block(raw, self.records_written, len(rows))
        self.records_written += len(rows)
        return self._flush()

    def _flush(self) -> bool:
        """Write the block that waits, whole or not at all, into a new file where one is due."""
        if not self._unwritten:
            return True
        try:
            if self._fd is None:
                self._open()
            assert self._fd is not None
            _write_whole(self._fd, self._unwritten, self._file_bytes)
        except OSError as error:
            self.error = error.strerror or str(error)
            return False
        self.error = self._unsynced
        self._file_bytes += len(self._unwritten)
        self.bytes_written += len(self._unwritten)
        self._unwritten = b""
        # The last file whose number a head has room for takes all that is left of the run.
        if self._file_bytes >= self._rotate_bytes and self._part < PART_MAX:
            self._close_file()
            self._number += 1
            self._part += 1
            self._packer.restart()
            self._segment_bytes = 0
        return True

    def _open(self) -> None:
        path = self._folder / file_name(self._number)
        # Never an earlier run's file: of two that begin at once one finds it there.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        head = file_head(self._part, self._run, self._unwritten_first)
        try:
            _write_whole(fd, head, 0)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._fd, self._file_bytes = fd, len(head)
        self.bytes_written += len(head)

    def _close_file(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.fsync(fd)
            except OSError as error:
                # The kernel tells of a delayed write that failed here, and once.
                self._unsynced = f"{error.strerror or error} (of a file that was to be synced)"
                self.error = self._unsynced
            with suppress(OSError):
                os.close(fd)


def _encoded(item: Item) -> tuple[int, bytes]:
    """
    A record as it is stored.

    One that cannot be must not end the thread, on which all later ones depend; the hole is told of.
    """
    try:
        return encode(item)
    except Exception as error:  # noqa: BLE001 - see above
        what = f"{type(item).__name__} could not be written: {type(error).__name__}: {error}"
        stderr_line(f"mmbot: journal: {what}")
        return encode(Lost(1, what))


def _write_whole(fd: int, data: bytes, at: int) -> None:
    """Write at this place; what a full disk took of it is taken back."""
    done = 0
    try:
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], at + done)
    except OSError:
        with suppress(OSError):
            os.ftruncate(fd, at)
        raise


def _next_number(folder: Path) -> int:
    """One more than the highest number of a journal there."""
    numbers = (re.fullmatch(r"journal-(\d+)\.mmj", path.name) for path in folder.iterdir())
    return 1 + max((int(found[1]) for found in numbers if found), default=0)
