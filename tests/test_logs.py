"""The log file: whole JSON lines, numbers as numbers, in order, never on the caller's time."""

from __future__ import annotations

import io
import json
from pathlib import Path

from mmbot.logs import LogWriter, Record, make_logger, utc


def show(record: Record) -> str | None:
    return f"seen {record['event']}" if record["level"] != "debug" else None


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
