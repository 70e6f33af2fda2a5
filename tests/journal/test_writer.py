"""The writer: what is put comes out in order, whatever the disk does, and the loop never waits."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from mmbot.core.events import LinkLost, LinkUp
from mmbot.core.types import NS_PER_S
from mmbot.errors import ConfigError
from mmbot.journal import writer as module
from mmbot.journal.reader import Journal, State
from mmbot.journal.records import Broke, Build, Ended, Kind, Lost, Read, decode
from mmbot.journal.writer import JournalParams, Writer

END = Ended(at_ns=9, reason="Ctrl+C", exit_code=0)


def written(folder: Path) -> tuple[list[Any], Journal]:
    """Every record, and the journal they came from."""
    journal = Journal.of(folder)
    return [decode(entry.kind, entry.payload) for entry in journal.entries()], journal


def test_what_is_put_is_read_in_its_order(tmp_path: Path) -> None:
    """Through the thread, as in a run; the first record is the program, the last the end."""
    writer = Writer(tmp_path, JournalParams())
    for n in range(1000):
        writer.put(LinkUp(n))
        writer.put(n)
    writer.read(7, [b"one", b"two"])
    writer.close(END)
    writer.close(END)
    records, journal = written(tmp_path)
    assert isinstance(records[0], Build)
    assert records[1:-2] == [x for n in range(1000) for x in (LinkUp(n), n)]
    assert records[-2:] == [Read(7, (b"one", b"two")), END]
    assert journal.state is State.WHOLE
    assert (writer.error, writer.records_written) == (None, 2003)
    assert writer.bytes_written == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_files_are_rotated_by_size(tmp_path: Path) -> None:
    """Each begins a stream of its own, and together they are one journal."""
    writer = Writer(tmp_path, JournalParams(rotate_mb=0.01), has_thread=False)
    for n in range(200):
        writer.read(n, [os.urandom(300)])
        writer.drain()
    writer.close(END)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) > 5
    assert max(sizes) < 11_000
    records, journal = written(tmp_path)
    assert len(records) == 202
    assert journal.state is State.WHOLE


def test_a_second_run_in_a_folder_leaves_the_first_alone(tmp_path: Path) -> None:
    """`--run-dir` may name a folder that a run has used."""
    first = Writer(tmp_path, JournalParams(), has_thread=False)
    first.put(LinkUp(1))
    first.close(END)
    before = (tmp_path / "journal-0001.mmj").read_bytes()
    second = Writer(tmp_path, JournalParams(), has_thread=False)
    second.put(LinkUp(2))
    second.close(END)
    records, _ = written(tmp_path)
    assert records[1:] == [LinkUp(2), END]
    assert (tmp_path / "journal-0001.mmj").read_bytes() == before


def test_a_full_disk_is_a_lag_and_nothing_is_lost_when_it_is_not_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that is taken in part is taken back, so the file never has half a block inside."""
    now = [0]
    writer = Writer(tmp_path, JournalParams(), steady=lambda: now[0], has_thread=False)
    writer.put(LinkUp(1))
    writer.drain()
    assert writer.lag_ns() == 0
    size = (tmp_path / "journal-0001.mmj").stat().st_size
    real = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if len(data) > 10:
            return real(fd, bytes(data[:10]), at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    for second in range(1, 6):
        now[0] = second * NS_PER_S
        writer.put(LinkUp(second + 1))
        writer.drain()
        assert writer.lag_ns() == second * NS_PER_S
    assert writer.error == os.strerror(errno.ENOSPC)
    assert (tmp_path / "journal-0001.mmj").stat().st_size == size

    monkeypatch.setattr(os, "pwrite", real)
    writer.drain()
    assert writer.lag_ns() == 0
    assert writer.lag_ns_max == 5 * NS_PER_S
    writer.close(END)
    assert not writer.error
    records, journal = written(tmp_path)
    assert records[1:] == [*(LinkUp(n) for n in range(1, 7)), END]
    assert journal.state is State.WHOLE


def test_a_queue_that_is_full_says_where_the_hole_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, and a replay must know that it can go no further."""
    monkeypatch.setattr(module, "QUEUED_MAX", 3)
    writer = Writer(tmp_path, JournalParams(), has_thread=False)
    for n in range(5):
        writer.put(LinkUp(n))
    writer.drain()
    writer.put(LinkUp(9))
    writer.close(END)
    records, _ = written(tmp_path)
    assert records[1:4] == [LinkUp(0), LinkUp(1), LinkUp(2)]
    assert isinstance(records[4], Lost)
    assert records[4].records == 2
    assert records[5:] == [LinkUp(9), END]


def test_what_cannot_be_written_is_told_of_and_does_not_end_the_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All later records depend on the thread."""
    writer = Writer(tmp_path, JournalParams(), has_thread=False)
    writer.put(cast("Any", object()))
    writer.put(LinkLost(1, "cut"))
    writer.close(END)
    records, _ = written(tmp_path)
    assert isinstance(records[1], Lost)
    assert records[2:] == [LinkLost(1, "cut"), END]
    assert "could not be written" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """Before the first order, with the name of the file."""
    with pytest.raises(ConfigError, match=r"absent/journal-0001\.mmj: No such file"):
        Writer(tmp_path / "absent", JournalParams())


def test_blocks_are_flushed_without_being_closed(tmp_path: Path) -> None:
    """What a `kill -9` finds on the disk: everything of the last drain."""
    writer = Writer(tmp_path, JournalParams(), has_thread=False)
    writer.put(LinkUp(1))
    writer.put(5)
    writer.drain()
    writer.put(LinkUp(2))
    journal = Journal.of(tmp_path)
    kinds = [entry.kind for entry in journal.entries()]
    assert kinds == [Kind.BUILD, Kind.LINK_UP, Kind.DECIDE]
    assert journal.state is State.CUT
    assert "not closed" in journal.why
    writer.close(END)


def test_a_record_that_is_held_is_completed_later_and_keeps_its_place(tmp_path: Path) -> None:
    """What is worked out after a batch has left still comes before all that followed it."""
    writer = Writer(tmp_path, JournalParams(), has_thread=False)
    made: list[str] = []

    def held(name: str, at: int) -> Callable[[], int]:
        def make() -> int:
            made.append(name)
            return at

        return make

    writer.put(LinkUp(1))
    writer.hold(held("before a put", 2))
    assert made == []
    writer.read(3, [b"frame"])
    writer.hold(held("when asked", 4))
    writer.settle()
    writer.settle()
    writer.hold(held("before another", 5))
    writer.hold(held("at the end", 6))
    writer.close(END)
    assert made == ["before a put", "when asked", "before another", "at the end"]
    records, _ = written(tmp_path)
    assert records[1:] == [LinkUp(1), 2, Read(3, (b"frame",)), 4, 5, 6, END]


def test_a_held_record_that_cannot_be_made_is_a_hole_and_the_rest_is_written(
    tmp_path: Path,
) -> None:
    """It fails in the one case for which a journal is kept: what comes after it says why."""
    writer = Writer(tmp_path, JournalParams(), has_thread=False)

    def broken() -> int:
        raise ZeroDivisionError("wake")

    writer.hold(broken)
    with pytest.raises(ZeroDivisionError):
        writer.put(LinkUp(1))
    writer.put(Broke("as it is told"))
    writer.hold(broken)
    with pytest.raises(ZeroDivisionError):
        writer.close(END)
    records, journal = written(tmp_path)
    hole = Lost(1, "it could not be made: ZeroDivisionError: wake")
    assert records[1:] == [hole, LinkUp(1), Broke("as it is told"), hole, END]
    assert journal.state is State.WHOLE


def test_a_disk_that_fails_when_it_is_synced_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of a delayed write that failed there, once, and nowhere else."""
    writer = Writer(tmp_path, JournalParams(rotate_mb=0.01), has_thread=False)
    real = os.fsync

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    writer.read(1, [os.urandom(12_000)])
    writer.drain()
    monkeypatch.setattr(os, "fsync", real)
    writer.put(LinkUp(1))
    writer.close(END)
    assert writer.error is not None
    assert os.strerror(errno.EIO) in writer.error
    assert len(list(tmp_path.iterdir())) == 2


def test_the_last_file_that_has_a_number_takes_the_rest(tmp_path: Path) -> None:
    """The head of a file counts to 65,535; a run that went further would die there."""
    writer = Writer(tmp_path, JournalParams(rotate_mb=0.01), has_thread=False)
    writer._part = 65_534
    for n in range(5):
        writer.read(n, [os.urandom(12_000)])
        writer.drain()
    writer.close(END)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2
    assert sizes[1] > 45_000


def test_nothing_is_written_past_a_record_that_is_held(tmp_path: Path) -> None:
    """And while it is not complete, it is part of the lag."""
    now = [0]
    writer = Writer(tmp_path, JournalParams(), steady=lambda: now[0], has_thread=False)
    writer.put(LinkUp(1))
    writer.hold(lambda: 2)
    now[0] = NS_PER_S
    writer.drain()
    assert writer.lag_ns() == NS_PER_S
    assert written(tmp_path)[0][1:] == [LinkUp(1)]
    writer.settle()
    writer.drain()
    assert writer.lag_ns() == 0
    assert written(tmp_path)[0][1:] == [LinkUp(1), 2]
    writer.close(END)
