"""`mmbot run` against `mmbot exchange` in another process: fills, a clean end, a true ledger."""

from __future__ import annotations

import signal
import tomllib
from pathlib import Path

import pytest

from system.harness import STILL, daemon, exchange

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"

SUMMARY_KEYS = {
    "duration_s",
    "fills",
    "bought_sz",
    "sold_sz",
    "position_sz",
    "realised_usd",
    "unrealised_usd",
    "fees_usd",
    "funding_usd",
    "pnl_usd",
    "spread_capture_usd",
    "markout_1s_bps",
    "markout_5s_bps",
    "markout_30s_bps",
    "max_drawdown_pct",
    "skew_at_max_inventory_bps",
    "touch_bid_at_max_inventory_bps",
    "touch_ask_at_max_inventory_bps",
    "touch_bid_at_end_bps",
    "touch_ask_at_end_bps",
    "resting_orders",
    "kill",
    "end_reason",
}


def test_a_run_trades_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The whole way, once, from outside: the venue's word counts, not ours."""
    with (
        exchange("--scenario=demo", "--seed=3") as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_event("fill.booked", 2)
        code, out, err = bot.stop(signal.SIGINT)
        resting = venue.open_orders()
        held_sz = venue.position_sz("HYPE")

    assert (code, err) == (0, "")
    assert resting == []
    summary = bot.summary()
    assert summary.keys() >= SUMMARY_KEYS
    assert summary["fills"] >= 2
    assert summary["end_reason"] == "Ctrl+C"
    assert summary["kill"] is None
    assert summary["position_sz"] == held_sz
    total = summary["realised_usd"] + summary["unrealised_usd"]
    assert summary["pnl_usd"] == pytest.approx(
        total - summary["fees_usd"] + summary["funding_usd"], abs=1e-9
    )
    assert abs(summary["ledger_gap_usd"]) <= 1e-4
    assert "EMULATOR" in out
    assert "resting orders" in out


def test_the_effective_configuration_and_the_log_lie_in_the_run_directory(tmp_path: Path) -> None:
    """What ran is written down, and the log is numbers, not sentences."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[
                f"emulator.url={venue.url}",
                f"state_dir={tmp_path / 'state'}",
                "risk.max_position_usd=300",
            ],
        ) as bot,
    ):
        records = bot.wait_event("quote.moved")
        code, _, _ = bot.stop(signal.SIGTERM)

    assert code == 0
    effective = tomllib.loads((bot.run_dir / "config.toml").read_text("utf-8"))
    assert effective["risk"]["max_position_usd"] == 300
    quote = next(record for record in records if record["event"] == "quote.moved")
    for key in ("fee_bps", "glft_bps", "inventory_skew_bps", "touch_bid_bps", "touch_ask_bps"):
        assert isinstance(quote[key], int | float), key
    assert bot.summary()["end_reason"] == "SIGTERM"
    venue_key = venue.accounts[0]["private_key"].removeprefix("0x")
    for path in bot.run_dir.rglob("*"):
        if path.is_file():
            assert venue_key not in path.read_bytes().decode("utf-8", "replace")


def test_a_run_ends_by_itself_after_its_span(tmp_path: Path) -> None:
    """`--for` is a stop like any other: cancelled, verified, exit 0."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            "--for=1s",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        code, _, _ = bot.end()
        resting = venue.open_orders()

    assert code == 0
    assert resting == []
    assert bot.summary()["end_reason"] == "--for elapsed"


def test_the_first_interrupt_after_the_time_is_up_is_not_the_second(tmp_path: Path) -> None:
    """Somebody who sees that it does not end yet asks it to; it still verifies what rests."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            "--for=3s",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_event("quote.moved")
        venue.control("faults", refuse_info=[500] * 1000)
        bot.wait_event("run.stopping")
        bot.process.send_signal(signal.SIGINT)
        venue.control("faults", refuse_info=[])
        code, _, err = bot.end()

    assert (code, err) == (0, "")
    assert bot.summary()["end_reason"] == "--for elapsed"
    assert bot.summary()["resting_orders"] == 0


def test_a_second_interrupt_ends_the_wait_after_the_cancels_were_sent(tmp_path: Path) -> None:
    """A venue that does not answer must not hold the terminal; the cancels are on their way."""
    with (
        exchange(sets=STILL) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[f"emulator.url={venue.url}", f"state_dir={tmp_path / 'state'}"],
        ) as bot,
    ):
        bot.wait_event("quote.moved")
        bot.wait_for("orders at the venue", lambda _: len(venue.resting()) > 0)
        venue.control("faults", refuse_info=[500] * 1000, delay_ms=60_000)
        bot.process.send_signal(signal.SIGINT)
        bot.wait_event("run.stopping")
        code, _, err = bot.stop(signal.SIGINT)
        sent = [action["type"] for action in venue.actions()]

    assert "cancelByCloid" in sent
    assert code == 1
    assert "could not be verified" in err
    assert bot.summary()["resting_orders"] > 0
