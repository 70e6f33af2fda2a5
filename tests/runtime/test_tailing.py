"""The log of a run as it grows: nothing lost, nothing twice, whatever becomes of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmbot.logs import clean
from mmbot.runtime.tailing import LOG, Filter, Item, Tail, line_of


def record(number: int, event: str = "order.placed", level: str = "info", **facts: Any) -> bytes:
    """One line."""
    at = f"2026-11-21T15:{number // 60 % 60:02d}:{number % 60:02d}.000000Z"
    return (
        json.dumps({"at": at, "level": level, "event": event, "n": number, **facts}).encode()
        + b"\n"
    )


class Rig:
    """A folder of runs, of which `latest` is one, and a tail of it."""

    def __init__(self, parent: Path, wanted: Filter | None = None) -> None:
        self.parent = parent
        self.now = self.run("first")
        self.tail = Tail(lambda: self.now, wanted or Filter())

    def run(self, name: str) -> Path:
        """A folder for a run."""
        folder = self.parent / name
        folder.mkdir(exist_ok=True)
        return folder

    def write(self, data: bytes, run: Path | None = None) -> None:
        """Append to the log."""
        with ((run or self.now) / LOG).open("ab") as file:
            file.write(data)

    def more(self) -> list[Any]:
        """What came: the numbers of the records, and the lines about files."""
        return numbers(list(self.tail.more()))


def numbers(items: list[Item]) -> list[Any]:
    """Records by their number, others as they are."""
    return [it if isinstance(it, str) else it["n"] for it in items]


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    """A tail, closed at the end."""
    found = Rig(tmp_path)
    yield found
    found.tail.close()


def test_it_begins_with_the_last_lines_and_goes_on_where_they_end(rig: Rig) -> None:
    """A record between the two looks is shown once."""
    rig.write(b"".join(record(n) for n in range(50)))
    assert numbers(rig.tail.last(3)) == [47, 48, 49]
    assert rig.more() == []
    rig.write(record(50))
    assert rig.more() == [50]
    assert rig.more() == []


def test_a_half_written_line_waits_for_its_other_half(rig: Rig) -> None:
    """The writer hands over what the kernel takes; a torn record is no record yet."""
    whole = record(2)
    rig.write(record(1) + whole[:20])
    assert numbers(rig.tail.last(9)) == [1]
    assert rig.more() == []
    rig.write(whole[20:-1])
    assert rig.more() == []
    rig.write(b"\n" + record(3))
    assert rig.more() == [2, 3]


def test_a_follower_from_half_a_line_on_gets_it_whole(rig: Rig) -> None:
    """`tail -n 0 -f` begins wherever the writer just is."""
    whole = record(2)
    rig.write(record(1) + whole[:20])
    assert rig.tail.last(0) == []
    rig.write(whole[20:] + record(3))
    assert rig.more() == [2, 3]


def test_the_next_run_of_latest_is_followed_after_the_rest_of_the_last(rig: Rig) -> None:
    """A daemon that is started anew writes elsewhere; its predecessor's last words come first."""
    rig.write(record(1))
    assert numbers(rig.tail.last(9)) == [1]
    rig.write(record(2))
    old, rig.now = rig.now, rig.run("second")
    rig.write(record(3), old)
    rig.write(record(4))
    first, second, said, last = rig.more()
    assert (first, second, last) == (2, 3, 4)
    assert "another run" in said
    assert str(rig.now) in said


def test_a_run_without_a_log_yet_is_waited_for(rig: Rig) -> None:
    """`latest` may name a folder a moment before there is a file in it."""
    (said,) = rig.tail.last(9)
    assert "no log yet" in str(said)
    assert rig.more() == []
    rig.write(record(1))
    assert [it for it in rig.more() if not isinstance(it, str)] == [1]


def test_a_file_that_was_moved_away_is_read_to_its_end(rig: Rig) -> None:
    """Rotation by rename: the old file first, then the new one from its beginning."""
    rig.write(record(1))
    rig.tail.last(9)
    rig.write(record(2))
    (rig.now / LOG).rename(rig.now / "log.1")
    rig.write(record(3))
    first, said, second = rig.more()
    assert (first, second) == (2, 3)
    assert "begins anew" in said


def test_a_file_that_was_cut_is_read_again(rig: Rig) -> None:
    """Rotation by truncation."""
    rig.write(record(1) + record(2))
    rig.tail.last(9)
    (rig.now / LOG).write_bytes(record(3))
    said, again = rig.more()
    assert "cut" in said
    assert again == 3


def test_what_is_no_record_is_shown_as_such(rig: Rig) -> None:
    """A line that a full disk tore must not end the reading, nor vanish."""
    rig.write(b'{"at":"2026\n' + b"[1,2]\n\xff\xfe\n\n" + record(7))
    shown = numbers(rig.tail.last(9))
    assert shown[-1] == 7
    assert [str(it).startswith("-- not a record") for it in shown[:-1]] == [True] * 3


def test_the_last_of_a_rare_event_are_found_however_far_back(tmp_path: Path) -> None:
    """The end of a log of a day is quotes; the kill was hours ago."""
    rig = Rig(tmp_path, Filter(("kill*",)))
    pad = "x" * 900
    rig.write(record(1, "killswitch.tripped"))
    rig.write(b"".join(record(n, "quote.moved", pad=pad) for n in range(2, 3000)))
    assert (rig.now / LOG).stat().st_size > 2 << 20
    assert numbers(rig.tail.last(5)) == [1]
    rig.write(record(3001, "quote.moved") + record(3002, "killswitch.tripped"))
    assert rig.more() == [3002]
    rig.tail.close()


@pytest.mark.parametrize(
    ("events", "level", "kept"),
    [
        ((), "debug", ["order.placed", "fill.booked", "link.lost"]),
        ((), "warning", ["link.lost"]),
        (("quote.held",), "debug", ["quote.held"]),
        (("order.*", "fill.*"), "debug", ["order.placed", "fill.booked"]),
        (("link.*",), "error", []),
    ],
)
def test_a_filter_keeps_what_was_asked_for(
    events: tuple[str, ...], level: str, kept: list[str]
) -> None:
    """By name or pattern, by level; what says nothing new is left out unless it is named."""
    wanted = Filter(events, level)
    records = [
        {"event": "order.placed", "level": "info"},
        {"event": "quote.held", "level": "info"},
        {"event": "fill.booked", "level": "info"},
        {"event": "link.lost", "level": "warning"},
    ]
    assert [it["event"] for it in records if wanted.keeps(it)] == kept


def test_a_line_reads_as_the_screen_of_the_run_did() -> None:
    """The same words for the same record, and a mark that needs no colour."""
    fill = json.loads(
        record(
            61,
            "fill.booked",
            side="buy",
            sz=0.4,
            px=26.1,
            fee_usd=0.1,
            position_sz=1.0,
            is_taker=False,
        )
    )
    assert line_of(fill) == "15:01:01  fill     bought 0.4 @ 26.1  fee 0.1000  position +1"
    lost = json.loads(record(2, "link.lost", "warning", reason="gone"))
    assert line_of(lost).startswith("15:00:02  ! link     lost: gone")
    # A record of another version lacks what the line wants.
    odd = json.loads(record(3, "fill.booked", sz=1))
    assert line_of(odd) == "15:00:03  fill.booked  n=3  sz=1"


def test_every_line_of_a_paper_run_says_so(rig: Rig) -> None:
    """Seen alone in a terminal, a fill on paper must not be taken for one of money."""
    rig.write(record(1))
    shown = [line_of(it, rig.tail.tag) for it in rig.tail.last(5)]
    for mode in ("paper", "live"):
        rig.now = rig.run(mode)
        (rig.now / "config.toml").write_text(f'mode = "{mode}"\n', "utf-8")
        rig.write(record(2, "link.lost", "warning", reason="gone"))
        rig.write(record(3))
        shown += [line_of(it, rig.tail.tag) for it in rig.tail.more()]

    assert len(shown) == 7
    paper = [line for line in shown if line.startswith("15:00:") and line[10:15] == "PAPER"]
    assert paper == shown[2:4]
    assert paper[0].startswith("15:00:02  PAPER  ! link     lost: gone")


def test_no_text_of_the_venue_moves_the_cursor() -> None:
    """An error text is the venue's; a terminal would carry out what stands in it."""
    bad = json.loads(record(1, "order.rejected", "error", reason="\x1b[2Jgone\r", text="\x07"))
    assert "\x1b" not in line_of(bad)
    assert "\r" not in line_of(bad)
    assert clean("a\x1bb\n") == "a\\x1bb\\n"
    traced = {"at": "2026-11-21T15:00:00Z", "level": "error", "event": "x", "exception": "a\nb\x1b"}
    assert line_of(traced).splitlines()[1:] == ["a", "b\\x1b"]
