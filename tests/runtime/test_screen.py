"""What a person sees: the mode first, money never by accident, one line per change that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmbot.config import load
from mmbot.runtime.screen import Screen, banner, summary_lines

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
ACCOUNT = "0x" + "ab" * 20


def record(event: str, level: str = "info", *, second: str = "10:00:00", **facts: Any) -> Any:
    """A log record."""
    return {"at": f"2026-11-21T{second}.000000Z", "level": level, "event": event, **facts}


def lines(mode: str, *sets: str, is_colour: bool = False) -> list[str]:
    """The banner of a mode."""
    return banner(load(CONFIG, [f"mode={mode}", *sets]), is_colour=is_colour, account=ACCOUNT)


def test_each_mode_has_a_first_line_of_its_own() -> None:
    """No two of them can be taken for each other."""
    embedded = lines("emulator")
    assert "EMULATOR" in embedded[1]
    assert "scenario demo (livelier than HYPE)" in embedded[1]
    other = lines("emulator", "emulator.url=http://127.0.0.1:1")
    assert "demo" not in other[1]
    assert "TESTNET" in lines("testnet")[1]
    assert "test money" in lines("testnet")[1]
    live = lines("live")
    assert live[1] == f" LIVE  REAL MONEY  HYPE on Hyperliquid mainnet, account {ACCOUNT} "
    assert "hyna:HYPE" in lines("live", "instrument.dex=hyna")[1]
    for mode in ("emulator", "testnet"):
        assert "REAL MONEY" not in "".join(lines(mode))
    for shown in (embedded, live):
        assert len(shown[0]) == len(shown[1]) == len(shown[2])
        assert "position limit 400 USD" in shown[3]


def test_real_money_is_red_and_nothing_else_is() -> None:
    """Unmistakable on a terminal; no escape codes in a file."""
    assert "\x1b[1;97;41m" in lines("live", is_colour=True)[1]
    assert "\x1b[1;97;41m" not in "".join(lines("testnet", is_colour=True))
    assert "\x1b" not in "".join(lines("live"))


QUOTE: dict[str, Any] = {
    "touch_bid_px": 26.15,
    "touch_ask_px": 26.25,
    "fair_px": 26.2,
    "touch_bid_bps": 19.1,
    "touch_ask_bps": 19.1,
    "inventory_skew_bps": -3.25,
    "q_frac": 0.45,
}


def test_quotes_are_shown_once_a_second_and_fills_always() -> None:
    """A ladder that moves ten times a second would hide what was traded."""
    screen = Screen(is_colour=False)
    fill = record(
        "fill.booked", side="buy", sz=0.5, px=26.15, fee_usd=0.0019, position_sz=0.5, is_taker=False
    )

    shown = [
        screen.render(record("quote.moved", **QUOTE)),
        screen.render(fill),
        screen.render(record("quote.moved", **QUOTE)),
        screen.render(fill),
        screen.render(record("quote.moved", second="10:00:01", **QUOTE)),
    ]

    assert shown[2] is None
    assert shown[0] is not None
    for part in ("10:00:00", "26.15 / 26.25", "skew -3.25 bps", "position +45% of limit"):
        assert part in shown[0]
    away = f"{QUOTE['touch_bid_bps']:+.1f} / {QUOTE['touch_ask_bps']:+.1f} bps from fair"
    assert away in shown[0], "a bid below fair is as far away as an ask above it: both positive"
    assert shown[1] is not None
    assert "bought 0.5 @ 26.15" in shown[1]
    assert "TAKER" not in shown[1]
    assert shown[3] == shown[1]
    assert shown[4] is not None


def test_a_side_that_is_not_quoted_is_shown_as_none() -> None:
    """Never a price that does not rest."""
    screen = Screen(is_colour=False)
    line = screen.render(
        record("quote.moved", **{**QUOTE, "touch_ask_px": None, "touch_ask_bps": None})
    )
    assert line is not None
    assert "26.15 / none" in line


def test_a_fill_as_taker_and_a_kill_stand_out() -> None:
    """What must not happen is said in capitals."""
    screen = Screen(is_colour=True)
    fill = screen.render(
        record(
            "fill.booked",
            "warning",
            side="sell",
            sz=1.0,
            px=26.0,
            fee_usd=0.01,
            position_sz=-1.0,
            is_taker=True,
        )
    )
    assert fill is not None
    assert "sold   1 @ 26" in fill
    assert "AS TAKER" in fill
    kill = screen.render(record("killswitch.tripped", "critical", text="loss 3.1 USD, limit 3"))
    assert kill is not None
    assert kill.startswith("\x1b[1;97;41m")
    assert "KILL     loss 3.1 USD, limit 3" in kill


def test_what_a_start_waits_for_is_said() -> None:
    """A person who sees nothing move for a minute wants to know why."""
    screen = Screen(is_colour=False)
    waiting = screen.render(
        record("venue.retried", "warning", error="/info meta: HTTP 429", for_s=42.4)
    )
    assert waiting is not None
    assert "HTTP 429; trying again for up to 42 s" in waiting
    left = screen.render(record("orders.left_over", "warning", orders=3))
    assert left is not None
    assert "3 of an earlier run still rest" in left
    assert screen.render(record("run.refused", "error", error="said at the end")) is None


def test_what_comes_often_has_words_of_its_own() -> None:
    """Names of fields beside prose; and of a trouble that has passed one hears that it has."""
    screen = Screen(is_colour=False)
    told = [
        record("cascade.seen", "warning", side="buy", depth_bps=9.549, trigger="share"),
        record("side.off", "warning", side="buy", sweeps=4, within_s=60.0, off_s=300.0),
        record("price.jumped", "warning", move_ticks=40.0, sigmas=-6.2, off_s=30.0),
        record("clock.stepped", "warning", step_s=0.5),
        record("journal.late", "error", lag_s=2.7, text="disk full"),
        record("journal.caught_up", lag_s=0.1, text=""),
    ]
    lines = [screen.render(it) or "" for it in told]
    assert "swept 9.5 bps deep" in lines[0]
    assert "nothing is added on the buy side for 300 s: 4 sweeps within 60 s" in lines[1]
    assert "-6.2 sigmas" in lines[2]
    assert "+0.500 s" in lines[3]
    assert "2.7 s behind" in lines[4]
    assert lines[4].endswith("(disk full)")
    assert "has caught up" in lines[5]
    assert not [line for line in lines if "=" in line or "." in line.split()[1]]


def test_on_paper_no_venue_is_said_to_know_the_account() -> None:
    """Nor is a watchdog advised, which has nothing to cancel there."""
    told = [
        record("dead_man.closed", needed_usd=1_000_000, traded_usd=0.0),
        record(
            "snapshot.read", requests_cap=10, requests_used=1, equity_usd=100.0, position_sz=0.0,
            maker_fee_bps=1.5,
        ),
        record("run.verified", resting_orders=0),
    ]  # fmt: skip
    paper, venue = (
        "\n".join(str(screen.render(it)) for it in told)
        for screen in (Screen(is_colour=False, is_paper=True), Screen(is_colour=False))
    )
    assert "watchdog" not in paper
    assert "at the venue" not in paper
    assert "the venue confirms" not in paper
    assert "value 100.00 USD on paper" in paper
    assert venue.count("venue") == 3


def test_what_has_no_line_of_its_own_is_shown_from_a_warning_on() -> None:
    """The screen never hides what went wrong, and never shows a traceback."""
    screen = Screen(is_colour=False)

    assert screen.render(record("session.started", equity_usd=1.0)) is None
    line = screen.render(record("order.adopted", "warning", oid=7, cloid=None, ratio=0.123456789))
    assert line == "10:00:00  order.adopted  oid=7  cloid=null  ratio=0.123457"
    line = screen.render(
        record("invariant.broken", "critical", error="lost an order", exception="Traceback (most")
    )
    assert line is not None
    assert "lost an order" in line
    assert "Traceback" not in line


@pytest.mark.parametrize(("markout", "shown"), [(None, "no fill that old"), (1.5, "+1.50 bps")])
def test_the_summary_has_every_figure(markout: float | None, shown: str) -> None:
    """Costs are shown as what they do to the total."""
    summary = {
        "duration_s": 61.0,
        "fills": 3,
        "bought_sz": 1.0,
        "sold_sz": 0.5,
        "position_sz": 0.5,
        "realised_usd": 0.1,
        "unrealised_usd": -0.02,
        "fees_usd": 0.03,
        "funding_usd": 0.001,
        "pnl_usd": 0.051,
        "spread_capture_usd": 0.2,
        "markout_1s_bps": markout,
        "markout_5s_bps": markout,
        "markout_30s_bps": markout,
        "max_drawdown_pct": 0.1,
        "skew_at_max_inventory_bps": -2.0,
        "touch_bid_at_max_inventory_bps": 21.5,
        "touch_ask_at_max_inventory_bps": None,
        "requests_left": 8123,
        "requests_per_h": 410.0,
        "requests_hours_left": 19.3,
        "resting_orders": 0,
        "kill": None,
        "end_reason": "Ctrl+C",
    }
    text = "\n".join(summary_lines(summary))
    assert "61.0 s, ended by Ctrl+C" in text
    assert "-0.0300 USD" in text
    assert "+0.0510 USD" in text
    assert "not tripped" in text
    assert "8123 left, 19.3 h at 410 an hour" in text
    assert "bid +21.50 bps from fair, ask none" in text
    assert shown in text
    killed = "\n".join(summary_lines({**summary, "kill": {"text": "drawdown 4 %\x1b[2J"}}))
    assert r"drawdown 4 %\x1b[2J" in killed


def test_of_many_warnings_alike_the_first_is_shown_and_then_their_number() -> None:
    """A venue that is away made hundreds of lines; the log keeps them all."""
    screen = Screen(is_colour=False)

    def say(second: int, event: str, level: str = "warning") -> str | None:
        at = f"2026-11-21T10:00:{second:02d}.000000Z"
        return screen.render({"at": at, "level": level, "event": event, "text": "no route"})

    shown = [say(n // 50, "order.unanswered") for n in range(250)]
    assert shown[0] is not None
    assert "order.unanswered" in shown[0]
    assert shown[1:] == [None] * 249
    assert say(1, "another.kind") is not None
    assert "(and 249 more, see the log)" in (say(5, "order.unanswered") or "")
    say(5, "order.unanswered")
    screen.has_log = lambda: False
    assert (say(11, "order.unanswered") or "").endswith("  (and 1 more)"), "no log was opened yet"
    assert say(6, "invariant.broken", "critical") is not None
    assert say(6, "invariant.broken", "critical") is not None


def test_orders_that_stay_are_told_of_as_often_as_a_person_reads() -> None:
    """They are cancelled again within a quarter of a second where the venue refuses it."""
    screen = Screen(is_colour=False)

    def say(second: int, event: str, **facts: object) -> str | None:
        return screen.render(record(event, "warning", second=f"10:00:{second:02d}", **facts))

    left = [say(n // 4, "orders.left_over", orders=3) for n in range(40)]
    assert [number for number, line in enumerate(left) if line is not None] == [0, 20]
    assert left[20] == "10:00:05  orders   3 of an earlier run still rest: cancelling them"
    said = [say(n, "sweep.refused", action="cancelByCloid", text="HTTP 429") for n in range(6)]
    assert said[0] == "10:00:00  orders   the venue refuses to cancel (HTTP 429): it is asked again"
    assert said[1:5] == [None] * 4
    assert "(and 4 more, see the log)" in (said[5] or "")
