"""
The files of a journal: `journal-NNNN.mmj`, each a head and blocks of compressed records.

    file    magic "mmbotjnl", version u16, part u16, run 8 bytes, first record u64, CRC-32 u32
    block   magic "BLOK", flags u32, stored u32, raw u32, CRC-32 of the stored bytes u32,
            first record u64, records u32, CRC-32 of this head u32, then the stored bytes
    record  payload u32, CRC-32 of kind and payload u32, kind u8, payload

All numbers are little-endian. The stored bytes of the blocks go on with one zlib stream, flushed at
the end of each block, so that small blocks are packed as well as large ones; a block with the flag
`RESTART` begins a new one. A block is written in one piece. Every record has a checksum of its own:
of a block that was cut or damaged, the records in front of that are whole and are read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import Final, NamedTuple

from mmbot.journal.records import JournalError

VERSION: Final = 1
SUFFIX: Final = ".mmj"
RESTART: Final = 1
RUN_BYTES: Final = 8
PART_MAX: Final = 0xFFFF
"""Highest number of a file of one run: it has 16 bits."""

_FILE_MAGIC: Final = b"mmbotjnl"
_BLOCK_MAGIC: Final = b"BLOK"
_FILE: Final = struct.Struct("<8sHH8sQ")
_BLOCK: Final = struct.Struct("<4sIIIIQI")
_RECORD: Final = struct.Struct("<IIB")
_CRC: Final = struct.Struct("<I")
FILE_HEAD_BYTES: Final = _FILE.size + _CRC.size
BLOCK_HEAD_BYTES: Final = _BLOCK.size + _CRC.size
_LEVEL: Final = 6
_SALVAGE_BYTES: Final = 64
"""Step in which a damaged block is unpacked: what one step spoils is lost with it."""


def file_name(number: int) -> str:
    """Name of the file of this number, from 1."""
    return f"journal-{number:04d}{SUFFIX}"


class FileHead(NamedTuple):
    """How a file begins; `part` counts the files of one run from 0, `first` its records."""

    version: int
    part: int
    run: bytes
    first: int


class BlockHead(NamedTuple):
    """How a block begins."""

    flags: int
    stored_bytes: int
    raw_bytes: int
    crc: int
    first: int
    records: int


def file_head(part: int, run: bytes, first: int) -> bytes:
    """The first bytes of a file."""
    head = _FILE.pack(_FILE_MAGIC, VERSION, part, run, first)
    return head + _CRC.pack(zlib.crc32(head))


def read_file_head(data: bytes) -> FileHead | None:
    """
    How a file begins; None if its first bytes are not whole.

    Raises:
        JournalError: A format that is not known here.
    """
    if len(data) < FILE_HEAD_BYTES:
        return None
    head, crc = data[: _FILE.size], _CRC.unpack_from(data, _FILE.size)[0]
    if zlib.crc32(head) != crc:
        return None
    magic, version, part, run, first = _FILE.unpack(head)
    if magic != _FILE_MAGIC:
        return None
    if version > VERSION:
        raise JournalError(
            f"journal format {version}: this version reads up to {VERSION}; use the version that "
            "wrote it"
        )
    return FileHead(version, part, run, first)


def row_bytes(kind: int, payload: bytes) -> bytes:
    """A record as it is stored, before compression."""
    crc = zlib.crc32(payload, zlib.crc32(bytes((kind,))))
    return _RECORD.pack(len(payload), crc, kind) + payload


class Packer:
    """Makes blocks of records; `restart` begins a new stream, as every file must."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_LEVEL)
        self._is_fresh = True

    def restart(self) -> None:
        """Begin anew: the next block can be read without those before it."""
        self._stream = zlib.compressobj(_LEVEL)
        self._is_fresh = True

    def block(self, raw: bytes, first: int, records: int) -> bytes:
        """One block of these records' bytes."""
        stored = self._stream.compress(raw) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        flags = RESTART if self._is_fresh else 0
        self._is_fresh = False
        head = _BLOCK.pack(
            _BLOCK_MAGIC, flags, len(stored), len(raw), zlib.crc32(stored), first, records
        )
        return head + _CRC.pack(zlib.crc32(head)) + stored


def read_block_head(data: bytes) -> BlockHead | None:
    """How a block begins; None if these bytes are not whole."""
    if len(data) < BLOCK_HEAD_BYTES:
        return None
    head, crc = data[: _BLOCK.size], _CRC.unpack_from(data, _BLOCK.size)[0]
    if zlib.crc32(head) != crc:
        return None
    magic, *numbers = _BLOCK.unpack(head)
    return BlockHead(*numbers) if magic == _BLOCK_MAGIC else None


class Unpacker:
    """Gives the records of blocks, in their order."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def whole(self, head: BlockHead, stored: bytes, skip: Collection[int] = ()) -> Rows | None:
        """The records of a block; None if these are not the bytes that were written."""
        if len(stored) != head.stored_bytes or zlib.crc32(stored) != head.crc:
            return None
        if head.flags & RESTART:
            self._stream = zlib.decompressobj()
        try:
            raw = self._stream.decompress(stored)
        except zlib.error:
            return None
        # The checksum of the block vouches for what nobody looks at.
        rows = _rows(raw, skip, head.records, is_proved=bool(skip))
        return rows if len(raw) == head.raw_bytes and rows.records == head.records else None

    def salvage(self, head: BlockHead, stored: bytes, skip: Collection[int] = ()) -> Rows:
        """The records in front of what is missing or spoilt, each proved by its checksum."""
        stream = zlib.decompressobj() if head.flags & RESTART else self._stream
        raw = bytearray()
        for at in range(0, len(stored), _SALVAGE_BYTES):
            try:
                raw += stream.decompress(stored[at : at + _SALVAGE_BYTES])
            except zlib.error:
                break
            if len(raw) > head.raw_bytes:
                break
        return _rows(bytes(raw), skip, head.records, is_proved=False)


class Rows(NamedTuple):
    """What a block holds: how many records, the kind of the last one, and those not skipped."""

    records: int
    last_kind: int
    kept: list[tuple[int, int, bytes]]
    """Place, kind and bytes."""


def _rows(raw: bytes, skip: Collection[int], most: int, *, is_proved: bool) -> Rows:
    """Records up to the first that is not whole, `most` at the most."""
    kept: list[tuple[int, int, bytes]] = []
    unpack, head, at, end = _RECORD.unpack_from, _RECORD.size, 0, len(raw)
    add, left_out = kept.append, frozenset(skip)
    count = last_kind = 0
    while at + head <= end and count <= most:
        length, crc, kind = unpack(raw, at)
        begin = at + head
        at = begin + length
        if at > end:
            break
        if is_proved:
            if kind not in left_out:
                add((count, kind, raw[begin:at]))
        else:
            payload = raw[begin:at]
            if zlib.crc32(payload, zlib.crc32(bytes((kind,)))) != crc:
                break
            if kind not in left_out:
                add((count, kind, payload))
        last_kind = kind
        count += 1
    return Rows(count, last_kind, kept)
