"""The log file: whole JSON lines, numbers as numbers, in order, never on the caller's time."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import select
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from mmbot import logs
from mmbot.logs import LogWriter, Record, Threshold, make_logger, utc

PATIENCE_S = 120.0


def show(record: Record) -> str | None:
    return f"seen {record['event']}" if record["level"] != "debug" else None


def wait(is_seen: Callable[[], object]) -> None:
    """Wait until `is_seen()` holds."""
    until = monotonic() + PATIENCE_S
    while not is_seen():
        assert monotonic() < until
        select.select([], [], [], 0.005)


def test_records_are_lines_with_numbers_as_numbers(tmp_path: Path) -> None:
    """A reader computes with the log; a quoted number would break every such reader."""
    path = tmp_path / "log.jsonl"
    writer = LogWriter(path, None, show)
    log = make_logger(writer, lambda: 1_700_000_000_123_456_789)

    log.info("fill.booked", px=26.203, sz_lots=42, is_taker=False, note=None)
    log.warning("order.rejected", text="quote “here”")
    writer.close()

    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert first == {
        "at": "2023-11-14T22:13:20.123456Z",
        "level": "info",
        "event": "fill.booked",
        "px": 26.203,
        "sz_lots": 42,
        "is_taker": False,
        "note": None,
    }
    assert second["text"] == "quote “here”"


def test_the_screen_gets_what_the_renderer_lets_through_in_order(tmp_path: Path) -> None:
    """Lines and records of one sequence appear in that sequence."""
    screen = io.StringIO()
    writer = LogWriter(tmp_path / "log.jsonl", screen, show)
    log = make_logger(writer, lambda: 0, "debug")

    writer.say("banner")
    log.info("a")
    log.debug("b")
    log.info("c")
    writer.close()

    assert screen.getvalue().splitlines() == ["banner", "seen a", "seen c"]


def test_a_level_keeps_lower_records_out(tmp_path: Path) -> None:
    """Per-frame detail is not written unless asked for."""
    path = tmp_path / "log.jsonl"
    writer = LogWriter(path, None, show)
    log = make_logger(writer, lambda: 0, "warning")

    log.info("quiet")
    log.error("loud")
    writer.close()

    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["loud"]


def test_a_closed_screen_does_not_stop_the_file(tmp_path: Path) -> None:
    """`mmbot run | head` ends the reader; the log must go on."""
    path = tmp_path / "log.jsonl"
    screen = io.StringIO()
    screen.close()
    writer = LogWriter(path, screen, show)
    log = make_logger(writer, lambda: 0)

    log.info("one")
    log.info("two")
    writer.close()

    assert len(path.read_text().splitlines()) == 2


def test_instants_are_utc_with_microseconds() -> None:
    """The sixth decimal is kept: two frames of one millisecond stay in order."""
    assert utc(1_500_000_000_000_001_999) == "2017-07-14T02:40:00.000001Z"


def test_a_screen_on_a_full_disk_does_not_stop_the_file(tmp_path: Path) -> None:
    """`mmbot run > /dev/full` loses the screen; the record of the run must go on."""
    path = tmp_path / "log.jsonl"
    with Path("/dev/full").open("w") as screen:
        writer = LogWriter(path, screen, show)
        log = make_logger(writer, lambda: 0)
        log.info("one")
        log.info("two")
        writer.close()
        screen.buffer.raw.close()  # type: ignore[attr-defined]  # what is buffered has no place to go

    assert len(path.read_text().splitlines()) == 2


def test_facts_of_a_struct_are_spread_by_the_writer(tmp_path: Path) -> None:
    """The loop hands the struct over and goes on."""

    class Facts(msgspec.Struct, frozen=True):
        fair_px: float
        rungs: tuple[int, ...]

    path = tmp_path / "log.jsonl"
    writer = LogWriter(path, None, show)
    make_logger(writer, lambda: 0).info("quote.moved", facts=Facts(26.2, (1, 2)), extra=1)
    writer.close()

    row = json.loads(path.read_text("utf-8"))
    assert row["event"] == "quote.moved"
    assert (row["fair_px"], row["rungs"], row["extra"]) == (26.2, [1, 2], 1)
    assert "facts" not in row


def test_what_comes_before_the_file_is_in_it_first(tmp_path: Path) -> None:
    """A start waits for the venue before it knows where its log lies."""
    path = tmp_path / "log.jsonl"
    writer = LogWriter(None, None, show)
    log = make_logger(writer, lambda: 0)
    log.info("first")
    writer.open(path)
    log.info("second")
    writer.close()

    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "first",
        "second",
    ]


def test_two_writers_never_share_a_file(tmp_path: Path) -> None:
    """Two runs in one folder would make one story of two."""
    path = tmp_path / "log.jsonl"
    first = LogWriter(path, None, show)
    second = LogWriter(None, None, show)
    with pytest.raises(BlockingIOError):
        second.open(path)
    second.close()
    first.close()


def _full_pipe() -> tuple[int, int]:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write_end, b"\n" * 4096)
    os.set_blocking(write_end, True)
    return read_end, write_end


def test_a_paused_screen_misses_lines_and_says_how_many(tmp_path: Path) -> None:
    """The file has every record at once; the screen catches up when it can, and is honest."""
    path = tmp_path / "log.jsonl"
    read_end, write_end = _full_pipe()
    with os.fdopen(write_end, "w") as screen:
        writer = LogWriter(path, screen, show)
        log = make_logger(writer, lambda: 0)
        for number in range(2000):
            event = f"e{number}"
            log.info(event)
        wait(lambda: path.exists() and len(path.read_bytes().splitlines()) == 2000)
        shown = bytearray()
        reader = threading.Thread(target=_drain, args=(read_end, shown))
        reader.start()
        wait(lambda: b"seen e100\n" in shown)
        log.info("after")
        writer.close()
    reader.join()

    lines = [line for line in shown.decode().splitlines() if line]
    notices = [line for line in lines if line.startswith("... ")]
    seen = [line for line in lines if line.startswith("seen")]
    assert seen[0] == "seen e0"
    assert seen[-1] == "seen after"
    assert sum(int(notice.split()[1]) for notice in notices) + len(seen) == 2001
    assert "lines were not shown" in notices[0]


def _drain(read_end: int, into: bytearray) -> None:
    while part := os.read(read_end, 1 << 16):
        into += part
    os.close(read_end)


def test_a_screen_that_takes_nothing_does_not_keep_the_program(tmp_path: Path) -> None:
    """It ends, soon, with the file complete."""
    path = tmp_path / "log.jsonl"
    read_end, write_end = _full_pipe()
    screen = os.fdopen(write_end, "w")
    writer = LogWriter(path, screen, show)
    for number in range(1000):
        make_logger(writer, lambda: 0).info(f"e{number}")
    writer.close()

    assert len(path.read_text().splitlines()) == 1000
    os.close(read_end)
    screen.close()


def test_a_full_disk_loses_records_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on: when there is room again the log does too, with whole lines."""
    screen = io.StringIO()
    written: list[bytes] = []
    is_full = True

    def write(fd: int, data: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(bytes(data))
        return len(data)

    with tempfile.TemporaryDirectory() as folder:
        writer = LogWriter(Path(folder) / "log.jsonl", screen, show)
        monkeypatch.setattr("mmbot.logs.os.write", write)
        log = make_logger(writer, lambda: 0)
        log.info("lost")
        wait(lambda: "No space left" in screen.getvalue())
        is_full = False
        log.info("kept")
        writer.close()

    assert [json.loads(line)["event"] for line in b"".join(written).splitlines()] == ["kept"]
    assert "1 records were lost" in screen.getvalue()


def test_a_screen_of_another_encoding_is_no_reason_to_stop(tmp_path: Path) -> None:
    """An ASCII terminal shows a question mark, not a traceback."""
    path = tmp_path / "screen"
    with path.open("w", encoding="ascii") as screen:
        writer = LogWriter(None, screen, show)
        writer.say("quote “here”")
        writer.close()

    assert path.read_text("ascii") == "quote ?here?\n"


def test_a_record_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    """A path with a byte that is no text once ended the thread, and with it the log of the run."""
    path = tmp_path / "log.jsonl"
    screen = io.StringIO()

    writer = LogWriter(path, screen, show)
    log = make_logger(writer, lambda: 1_700_000_000_123_456_789)
    log.info("first")
    log.error("run.refused", error="no folder \udcff", odd={"\udcfe": ["\udcfd"]})
    log.info("odd", facts=3)
    log.critical("killswitch.tripped")
    writer.close()

    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [record["event"] for record in records] == [
        "first",
        "run.refused",
        "log.unwritable",
        "killswitch.tripped",
    ]
    assert records[1]["error"] == "no folder \\udcff"
    assert records[1]["odd"] == {"\\udcfe": ["\\udcfd"]}
    assert records[2]["of"] == "odd"
    assert "a record could not be written: 'odd'" in screen.getvalue()


def test_a_fault_of_the_screen_costs_the_file_nothing(tmp_path: Path) -> None:
    """The record of a fill is worth more than its line."""
    path = tmp_path / "log.jsonl"
    screen = io.StringIO()

    def broken(record: Record) -> str | None:
        raise KeyError(record["event"])

    writer = LogWriter(path, screen, broken)
    make_logger(writer, lambda: 1).info("fill.booked", px=26.2, tid=7)
    writer.close()
    (record,) = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert (record["event"], record["px"], record["tid"]) == ("fill.booked", 26.2, 7)
    assert "'fill.booked' cannot be shown: KeyError" in screen.getvalue()


def test_a_disk_that_does_not_answer_bounds_what_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung network disk must not take the memory of the program; what was lost is told."""
    monkeypatch.setattr("mmbot.logs._QUEUED_MAX", 50)
    gate = threading.Event()

    def held(record: Record) -> str | None:
        gate.wait(PATIENCE_S)
        return None

    path = tmp_path / "log.jsonl"
    screen = io.StringIO()
    writer = LogWriter(path, screen, held)
    log = make_logger(writer, lambda: 1)
    for n in range(200):
        log.info("tick", n=n)
    gate.set()
    writer.close()
    lines = path.read_text().splitlines()
    assert 50 <= len(lines) <= 52
    assert f"{200 - len(lines)} records were lost" in screen.getvalue()


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`logrotate` renames it; both parts together are the log, and the new one is locked too."""
    monkeypatch.setattr(logs, "_LOOK_S", 0.0)
    path, old = tmp_path / "log.jsonl", tmp_path / "log.jsonl.1"
    writer = LogWriter(path, None, lambda _: None)
    writer.put({"at": 0, "event": "first"})
    until = monotonic() + PATIENCE_S
    while not path.exists() or not path.read_bytes():
        assert monotonic() < until
        select.select([], [], [], 0.01)
    path.rename(old)
    writer.put({"at": 0, "event": "second"})
    while not path.exists() or not path.read_bytes():
        assert monotonic() < until
        select.select([], [], [], 0.01)
    with path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with old.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    writer.close()

    assert [json.loads(line)["event"] for line in old.read_text().splitlines()] == ["first"]
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["second"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_begin_and_end_of_a_run_are_kept_at_every_level(tmp_path: Path) -> None:
    """Who reads the log tells one run from the next by them, and a dead one from an ended one."""
    writer = LogWriter(tmp_path / "log.jsonl", None, lambda _: None)
    log = make_logger(writer, lambda: 0, Threshold("error"))
    for event in ("run.started", "quote.moved", "run.ended"):
        log.info(event)
    writer.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["run.started", "run.ended"]
