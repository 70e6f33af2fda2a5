"""
What can be read of a journal: all of it, or all in front of the place where it was cut or damaged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from mmbot.journal.blocks import (
    BLOCK_HEAD_BYTES,
    FILE_HEAD_BYTES,
    SUFFIX,
    FileHead,
    Rows,
    Unpacker,
    read_block_head,
    read_file_head,
)
from mmbot.journal.records import JournalError, Kind, Started, decode

_STORED_MAX: Final = 1 << 30
_NOT_A_START: Final = frozenset(int(kind) for kind in Kind if kind is not Kind.STARTED)


class State(Enum):
    """In what state a journal was found, known once it has been read."""

    WHOLE = "whole"
    """Closed by the run that wrote it."""
    CUT = "cut"
    """It ends without having been closed: the run was killed, or bytes are missing at its end."""
    DAMAGED = "damaged"
    """Bytes were changed, or are missing where more follows."""


class Position(NamedTuple):
    """Where a record is: its number in the run, from 0, and the block that holds it."""

    file: str
    block_at: int
    record: int

    def __str__(self) -> str:
        return f"record {self.record} ({self.file}, block at byte {self.block_at})"


class Entry(NamedTuple):
    """One record and its place."""

    kind: int
    payload: bytes
    at: Position


class Block(NamedTuple):
    """The records of one block: where it is, the number of its first one, and how many it has."""

    file: str
    at: int
    first: int
    records: int
    rows: list[tuple[int, int, bytes]]
    """Place in the block, kind and bytes, without the kinds that are skipped."""


class Journal:
    """
    The journal of one run.

    Args:
        files: Its files, in their order.

    Attributes:
        state: How it was found; `WHOLE` only after everything has been read.
        why: What is wrong with it, in words; empty while nothing is.
        records: How many have been read so far.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.state = State.CUT
        self.why = ""
        self.records = 0
        self._next = 0
        self._is_closed = False

    @classmethod
    def of(cls, run_dir: Path) -> Journal:
        """
        The newest journal of a run directory; earlier runs there have theirs before it.

        Raises:
            JournalError: There is none.
        """
        try:
            names = sorted(
                (int(found[1]), path)
                for path in run_dir.iterdir()
                if (found := re.fullmatch(rf"journal-(\d+)\{SUFFIX}", path.name))
                # What is no file is no journal, whatever its name; a pipe would be waited for.
                and path.is_file()
            )
        except OSError as error:
            raise JournalError(f"{run_dir}: {error.strerror}; name the folder of a run") from None
        if not names:
            raise JournalError(
                f"{run_dir}: no journal ({SUFFIX}) in it; it is written by `mmbot run` unless "
                "journal.enabled = false"
            )
        return cls(_newest_run([path for _, path in names]))

    def entries(self, *, skip: Collection[int] = ()) -> Iterator[Entry]:
        """
        Every record up to the end, or to the last whole one before a cut or a damage.

        Args:
            skip: Kinds that are counted but not given, and not copied: most bytes of a journal are
                raw messages, which few need. The checksum of the block vouches for them.

        Raises:
            JournalError: Written by a later version.
        """
        for block in self.blocks(skip=skip):
            file, at, first = block.file, block.at, block.first
            for i, kind, payload in block.rows:
                self.records = first + i + 1
                yield Entry(kind, payload, Position(file, at, first + i))
            self.records = first + block.records

    def blocks(self, *, skip: Collection[int] = ()) -> Iterator[Block]:
        """
        The same, block by block: for whoever has millions of records to look at.

        Raises:
            JournalError: Written by a later version.
        """
        run: FileHead | None = None
        for part, path in enumerate(self.files):
            try:
                with path.open("rb") as file:
                    head = read_file_head(file.read(FILE_HEAD_BYTES))
                    if head is None:
                        is_short = path.stat().st_size < FILE_HEAD_BYTES
                        self._stop(path, 0, is_cut=is_short)
                        return
                    if (head.part, head.first) != (part, self._next) or (
                        run is not None and head.run != run.run
                    ):
                        self._damage(f"{path.name} does not follow what is before it")
                        return
                    run = head
                    yield from self._blocks(path, file, skip)
            except OSError as error:
                raise JournalError(f"{path}: {error.strerror}") from None
            if self.why:
                return
        if self._is_closed:
            self.state = State.WHOLE
        else:
            self.why = f"not closed by the run: it ends after record {self._next - 1}"

    def _blocks(self, path: Path, file: BinaryIO, skip: Collection[int]) -> Iterator[Block]:
        unpacker = Unpacker()
        while True:
            at = file.tell()
            data = file.read(BLOCK_HEAD_BYTES)
            if not data:
                return
            head = read_block_head(data)
            if head is None or head.stored_bytes > _STORED_MAX:
                self._stop(path, at, is_cut=len(data) < BLOCK_HEAD_BYTES)
                return
            if head.first != self._next:
                self._damage(f"{path.name}: the block at byte {at} does not follow the one before")
                return
            stored = file.read(head.stored_bytes)
            rows = unpacker.whole(head, stored, skip)
            is_whole = rows is not None
            if rows is None:
                rows = unpacker.salvage(head, stored, skip)
            yield self._block(rows, path, at)
            if not is_whole:
                self._stop(path, at, is_cut=len(stored) < head.stored_bytes)
                return

    def _block(self, rows: Rows, path: Path, at: int) -> Block:
        first = self._next
        self._next = self.records = first + rows.records
        if rows.records:
            self._is_closed = rows.last_kind == Kind.ENDED
        return Block(path.name, at, first, rows.records, rows.kept)

    def _stop(self, path: Path, at: int, *, is_cut: bool) -> None:
        last = f"the last whole record is {self._next - 1}" if self._next else "nothing is whole"
        if is_cut and path == self.files[-1]:
            self.why = f"{path.name} is cut in the block at byte {at}; {last}"
        else:
            self._damage(f"{path.name} is damaged in the block at byte {at}; {last}")

    def _damage(self, why: str) -> None:
        self.state, self.why = State.DAMAGED, why


def _newest_run(paths: list[Path]) -> list[Path]:
    """
    The files of the newest run, of those of all runs of a folder in their order.

    A head that cannot be read does not say which run its file is of. The last file is given alone
    then, lest another run is taken for the newest, unless the one before it was full and its run
    not yet ended: then that run went on here.
    """
    *before, last = paths
    head = _head_of(last)
    if head is not None:
        return _run_up_to(before, last, head)
    if before:
        head = _head_of(before[-1])
        if head is not None:
            earlier = _run_up_to(before[:-1], before[-1], head)
            if _goes_on(earlier):
                return [*earlier, last]
    return [last]


def _run_up_to(before: list[Path], last: Path, head: FileHead) -> list[Path]:
    """The files of the run that this one is of, the first of them first."""
    files, unread = [last], list[Path]()
    while before and head.part > 0:
        path, before = before[-1], before[:-1]
        earlier = _head_of(path)
        if earlier is None:
            unread.insert(0, path)
            continue
        if earlier.run != head.run:
            break
        files, unread, head = [path, *unread, *files], [], earlier
    return files


def _goes_on(files: list[Path]) -> bool:
    """Whether another file of the run must follow these."""
    journal = Journal(files)
    rotate_bytes: int | None = None
    for entry in journal.entries(skip=_NOT_A_START):
        started = decode(entry.kind, entry.payload)
        assert isinstance(started, Started)
        rotate_bytes = round(started.config["journal"]["rotate_mb"] * 1e6)
    is_ended = journal.state is State.WHOLE
    return rotate_bytes is not None and not is_ended and files[-1].stat().st_size >= rotate_bytes


def _head_of(path: Path) -> FileHead | None:
    return read_file_head(_start_of(path))


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_HEAD_BYTES)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; mend that first") from None
