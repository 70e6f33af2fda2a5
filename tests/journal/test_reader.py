"""What is read of a journal that was cut or damaged: all that is whole in front, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.events import Bbo, Level
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.journal.blocks import FILE_HEAD_BYTES, Packer, file_head, file_name, row_bytes
from mmbot.journal.reader import Entry, Journal, State
from mmbot.journal.records import Ended, Item, JournalError, Kind, Started, encode
from support import often

RUN = b"the run."


def items(count: int) -> list[Item]:
    """A run of that many prices, and its end."""
    prices = [Bbo(1000 + n, n, Level(26_000 + n % 7, n), Level(26_010, 3)) for n in range(count)]
    return [*prices, Ended(at_ns=5, reason="Ctrl+C", exit_code=0)]


def blocks(rows: list[tuple[int, bytes]], sizes: list[int], first: int = 0) -> list[bytes]:
    """Blocks of so many records each."""
    packer, made, at = Packer(), [], 0
    for size in sizes:
        part = rows[at : at + size]
        raw = b"".join(row_bytes(kind, payload) for kind, payload in part)
        made.append(packer.block(raw, first + at, len(part)))
        at += size
    assert at == len(rows)
    return made


ROWS = [encode(item) for item in items(29)]
SIZES = [1, 6, 3, 12, 8]
BLOCKS = blocks(ROWS, SIZES)
WHOLE = file_head(0, RUN, 0) + b"".join(BLOCKS)


def read(folder: Path) -> tuple[list[Entry], Journal]:
    """All entries, and what was said of them."""
    journal = Journal.of(folder)
    return list(journal.entries()), journal


def read_bytes(folder: Path, data: bytes) -> tuple[list[tuple[int, bytes]], Journal]:
    """Rows of one file with these bytes."""
    (folder / file_name(1)).write_bytes(data)
    entries, journal = read(folder)
    assert [entry.at.record for entry in entries] == list(range(len(entries)))
    return [(entry.kind, entry.payload) for entry in entries], journal


def test_a_whole_journal_is_read_whole(tmp_path: Path) -> None:
    """The state says that the run closed it, so nothing is missing at its end."""
    rows, journal = read_bytes(tmp_path, WHOLE)
    assert rows == ROWS
    assert (journal.state, journal.why) == (State.WHOLE, "")


def test_a_journal_cut_at_any_byte_reads_to_its_last_whole_record(tmp_path: Path) -> None:
    """What a killed process or a full disk leaves; a block that is half there gives what it has."""
    ends, at, done = [FILE_HEAD_BYTES], FILE_HEAD_BYTES, [0]
    for block, size in zip(BLOCKS, SIZES, strict=True):
        at += len(block)
        ends.append(at)
        done.append(done[-1] + size)
    salvaged = 0
    for cut in range(len(WHOLE)):
        rows, journal = read_bytes(tmp_path, WHOLE[:cut])
        whole = max((count for end, count in zip(ends, done, strict=True) if end <= cut), default=0)
        assert rows == ROWS[: len(rows)], cut
        assert len(rows) >= whole, cut
        salvaged += len(rows) > whole
        assert journal.state is State.CUT, cut
        assert journal.why, cut
    assert salvaged > 20, "records in front of a cut inside a block are read as well"


def test_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    """Every bit is under a checksum: no record is ever read that was not written."""
    for at in range(len(WHOLE)):
        data = bytearray(WHOLE)
        data[at] ^= 1 << at % 8
        try:
            rows, journal = read_bytes(tmp_path, bytes(data))
        except JournalError:
            raise AssertionError(f"byte {at}: taken for another format") from None
        assert rows == ROWS[: len(rows)], at
        assert journal.state is State.DAMAGED, at
        assert file_name(1) in journal.why, at


@settings(max_examples=often(25, thoroughly=60), deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    cut=st.floats(0, 1),
    flip=st.none() | st.tuples(st.floats(0, 0.999), st.integers(0, 7)),
)
def test_any_cut_and_any_flip_leave_a_true_beginning(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    cut: float,
    flip: tuple[float, int] | None,
) -> None:
    """Both at once, over journals of any shape."""
    rows = [encode(item) for item in items(sum(sizes) - 1)]
    whole = file_head(0, RUN, 0) + b"".join(blocks(rows, sizes))
    data = bytearray(whole[: round(cut * len(whole))])
    if flip is not None and data:
        data[int(flip[0] * len(data))] ^= 1 << flip[1]
    found, journal = read_bytes(tmp_path_factory.mktemp("cut"), bytes(data))
    assert found == rows[: len(found)]
    if bytes(data) != whole:
        assert journal.state is not State.WHOLE


def split(
    folder: Path, parts: list[list[tuple[int, bytes]]], run: bytes = RUN, at: int = 1
) -> None:
    """A journal of several files."""
    first = 0
    for part, rows in enumerate(parts):
        data = file_head(part, run, first) + b"".join(blocks(rows, [len(rows)], first))
        (folder / file_name(at + part)).write_bytes(data)
        first += len(rows)


def test_files_follow_one_another_and_a_missing_one_is_a_damage(tmp_path: Path) -> None:
    """A hole in the middle must not be jumped over: what follows belongs to another state."""
    split(tmp_path, [ROWS[:10], ROWS[10:20], ROWS[20:]])
    entries, journal = read(tmp_path)
    assert len(entries) == len(ROWS)
    assert journal.state is State.WHOLE

    (tmp_path / file_name(2)).unlink()
    entries, journal = read(tmp_path)
    assert len(entries) == 10
    assert journal.state is State.DAMAGED


def test_a_cut_in_front_of_another_file_is_a_damage(tmp_path: Path) -> None:
    """Only the last file of a run can end early by the run's being killed."""
    split(tmp_path, [ROWS[:10], ROWS[10:]])
    path = tmp_path / file_name(1)
    path.write_bytes(path.read_bytes()[:-30])
    entries, journal = read(tmp_path)
    assert 0 < len(entries) < 10
    assert journal.state is State.DAMAGED


def test_the_newest_run_of_a_folder_is_read(tmp_path: Path) -> None:
    """A folder that was chosen twice holds two journals; they are never joined."""
    split(tmp_path, [ROWS[:4], ROWS[4:]])
    split(tmp_path, [ROWS[:2], ROWS[2:]], run=b"another.", at=3)
    entries, journal = read(tmp_path)
    assert {entry.at.file for entry in entries} == {file_name(3), file_name(4)}
    assert len(entries) == len(ROWS)

    # A file of the one run in the place of the other's.
    (tmp_path / file_name(4)).unlink()
    (tmp_path / file_name(2)).rename(tmp_path / file_name(4))
    entries, journal = read(tmp_path)
    assert entries == [], "the other run is not what was asked for"
    assert journal.state is State.DAMAGED


def test_a_folder_without_a_journal_says_so(tmp_path: Path) -> None:
    """The message names the folder and how one comes about."""
    with pytest.raises(JournalError, match=r"journal\.enabled"):
        Journal.of(tmp_path)
    with pytest.raises(JournalError, match="name the folder of a run"):
        Journal.of(tmp_path / "absent")


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    """Guessing at it would be worse than not reading it."""
    import struct
    import zlib

    head = bytearray(WHOLE[:FILE_HEAD_BYTES])
    head[8:10] = (2).to_bytes(2, "little")
    head[-4:] = struct.pack("<I", zlib.crc32(bytes(head[:-4])))
    (tmp_path / file_name(1)).write_bytes(bytes(head) + WHOLE[FILE_HEAD_BYTES:])
    with pytest.raises(JournalError, match="format 2"):
        list(Journal.of(tmp_path).entries())


def test_records_keep_their_kind(tmp_path: Path) -> None:
    """The kind is under the checksum of its record too: a price never becomes a fill."""
    rows, _ = read_bytes(tmp_path, WHOLE)
    assert [kind for kind, _ in rows] == [Kind.BBO] * 29 + [Kind.ENDED]


def start(rotate_mb: float) -> tuple[int, bytes]:
    """The record of a start, of which the size of a file is what counts here."""
    coin = Instrument(coin="HYPE", asset_id=0, sz_decimals=2, max_leverage=10)
    config = {"journal": {"rotate_mb": rotate_mb}}
    return encode(
        Started(
            at_ns=1, config=config, params={}, instrument=coin, cloid_prefix=1, settle_ns=NS_PER_S
        )
    )


@pytest.mark.parametrize("end", [ROWS[:12], ROWS], ids=["killed", "ended"])
def test_a_file_cut_in_its_head_is_not_the_run_before_it(
    tmp_path: Path, end: list[tuple[int, bytes]]
) -> None:
    """A folder is used twice; of the second run nothing is left that says which one it is."""
    split(tmp_path, [[start(64.0), *end]])
    path = tmp_path / file_name(2)
    for cut in range(FILE_HEAD_BYTES):
        path.write_bytes(file_head(0, b"another.", 0)[:cut])
        entries, journal = read(tmp_path)
        assert entries == [], cut
        assert journal.files == [path]
        assert journal.state is State.CUT
        assert journal.why == f"{path.name} is cut in the block at byte 0; nothing is whole"
    data = bytearray(file_head(0, b"another.", 0) + BLOCKS[0])
    data[12] ^= 1
    path.write_bytes(data)
    entries, journal = read(tmp_path)
    assert entries == []
    assert journal.state is State.DAMAGED


def test_a_file_cut_in_its_head_follows_a_full_one_of_its_run(tmp_path: Path) -> None:
    """A run that was killed as it began its next file keeps what it had written."""
    rows = [start(0.0001), *ROWS[:-1]]
    split(tmp_path, [rows[:9], rows[9:]])
    path = tmp_path / file_name(3)
    for cut in range(FILE_HEAD_BYTES):
        path.write_bytes(file_head(2, RUN, len(rows))[:cut])
        entries, journal = read(tmp_path)
        assert len(entries) == len(rows), cut
        assert journal.state is State.CUT
        assert path.name in journal.why


def test_a_file_with_a_damaged_head_is_joined_by_the_run_of_those_around_it(
    tmp_path: Path,
) -> None:
    """And never by another run that lies before it."""
    split(tmp_path, [[start(64.0), *ROWS]])
    split(tmp_path, [ROWS[:10], ROWS[10:20], ROWS[20:]], run=b"another.", at=2)
    path = tmp_path / file_name(3)
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    entries, journal = read(tmp_path)
    assert [entry.at.file for entry in entries] == [file_name(2)] * 10
    assert journal.state is State.DAMAGED
    (tmp_path / file_name(2)).unlink()
    entries, journal = read(tmp_path)
    assert entries == []
    assert journal.state is State.DAMAGED
