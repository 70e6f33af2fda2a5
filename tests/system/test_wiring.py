"""
The wire of 24 February: inventory must move the prices of the orders that leave the program.

The running daemon is brought to 45 % of its limit on either side by real fills over the socket,
and its prices are read from the requests the exchange received, not from the daemon.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from system.harness import STILL, Daemon, Exchange, daemon, exchange

REPO = Path(__file__).resolve().parent.parent.parent
CONFIG = REPO / "configs" / "emulator.toml"
TARGET = 0.45
MID_PX = 26.2


class Touch(NamedTuple):
    """Nearest bid and ask resting, as distances in bps from the fair price of the still market."""

    bid_bps: float
    ask_bps: float
    q_frac: float


class Skew(NamedTuple):
    """The skew at full position as configured at least and as quoted, and what a grid may hide."""

    least_bps: float
    full_bps: float
    slack_bps: float


def live_orders(venue: Exchange) -> dict[str, tuple[bool, float]]:
    """Replay the exchange's own log of requests into what the daemon asked to have resting."""
    orders: dict[str, tuple[bool, float]] = {}
    for action in venue.actions():
        match action["type"]:
            case "order":
                for order in action["orders"]:
                    orders[order["c"]] = (order["b"], float(order["p"]))
            case "batchModify":
                for change in action["modifies"]:
                    order = change["order"]
                    orders[order["c"]] = (order["b"], float(order["p"]))
            case "cancelByCloid":
                for cancel in action["cancels"]:
                    orders.pop(cancel["cloid"], None)
    return orders


def touch(venue: Exchange, limit_usd: float) -> Touch:
    """Where the daemon's nearest orders are, by its own requests that still rest."""
    resting = {order["cloid"] for order in venue.resting()}
    orders = live_orders(venue)
    bids = [px for cloid, (is_buy, px) in orders.items() if is_buy and cloid in resting]
    asks = [px for cloid, (is_buy, px) in orders.items() if not is_buy and cloid in resting]
    mid = MID_PX
    sz = venue.position_sz("HYPE")
    return Touch(
        bid_bps=(mid - max(bids)) / mid * 1e4,
        ask_bps=(min(asks) - mid) / mid * 1e4,
        q_frac=sz * mid / limit_usd,
    )


ALONE = (
    "risk.warm_s=0",
    "cascade.gain=0",
    "cascade.danger_pull=1.0",
    "guards.sweeps=10",
    "guards.jump_sigmas=100",
    "guards.jump_off_s=0.5",
    "quoter.widening_gain=0",
    "quoter.guard_bps=0",
    "quoter.drift_x_max=0",
    "quoter.funding_bps_max=0",
)
"""The position is made by sweeps, and what answers those would hide the skew that is looked for."""


def settle(bot: Daemon, venue: Exchange) -> None:
    """Wait until both sides rest and two looks in a row, a second apart, changed nothing."""

    def calm(records: list[dict[str, Any]]) -> bool:
        looks = [r["event"] for r in records if r["event"].startswith("quote.")]
        sides = {order["side"] for order in venue.resting()}
        return sides == {"A", "B"} and looks[-2:] == ["quote.held", "quote.held"]

    bot.wait_for("a settled ladder on both sides", calm)


def bring_to(bot: Daemon, venue: Exchange, sign: int, limit_usd: float) -> Touch:
    """Sweep the daemon's side until it holds `sign` x 45 % of the limit or more."""
    ours, taker = ("B", "A") if sign > 0 else ("A", "B")
    for _ in range(25):
        settle(bot, venue)
        if sign * venue.position_sz("HYPE") * MID_PX >= TARGET * limit_usd:
            return touch(venue, limit_usd)
        prices = [float(o["limitPx"]) for o in venue.resting() if o["side"] == ours]
        deepest = min(prices) if sign > 0 else max(prices)
        fills = sum(r["event"] == "fill.booked" for r in bot.records())
        # Large enough to take every maker ahead of ours, down to our last rung.
        venue.control("trade", coin="HYPE", side=taker, px=deepest, sz=1e6)
        bot.wait_event("fill.booked", fills + 1)
    raise AssertionError("45 % of the limit was not reached")


def measure(tmp_path: Path, env: dict[str, str] | None = None) -> tuple[Touch, Touch, Touch, Skew]:
    """Touches when flat, long and short, and the configured skew at full position."""
    limit_usd = 400.0
    with (
        # An answer to a sweep arrives after the other makers are back, so that nothing we send
        # while their bids are gone is taken as a bargain: the position only grows.
        exchange("--latency-ms=400", sets=[*STILL, f"market.px_usd={MID_PX}"]) as venue,
        daemon(
            tmp_path / "run",
            config=CONFIG,
            sets=[
                f"emulator.url={venue.url}",
                f"state_dir={tmp_path / 'state'}",
                "log.level=debug",
                *ALONE,
            ],
            env=env,
        ) as bot,
    ):
        settle(bot, venue)
        flat = touch(venue, limit_usd)
        long = bring_to(bot, venue, +1, limit_usd)
        short = bring_to(bot, venue, -1, limit_usd)
        bot.stop()
    quotes = [r for r in bot.records() if "skew_bps" in r]
    skew = Skew(
        least_bps=tomllib.loads((bot.run_dir / "config.toml").read_text())["quoter"][
            "skew_bps_min"
        ],
        full_bps=min(r["skew_bps"] for r in quotes),
        slack_bps=max(r["spacing_bps"] + r["hold_bps"] for r in quotes),
    )
    return flat, long, short, skew


def assert_wired(flat: Touch, long: Touch, short: Touch, skew: Skew) -> None:
    """Both touches move by at least the configured skew, and mirrored."""
    for held, sign in ((long, 1), (short, -1)):
        # The rungs lie on a grid and are held within a band: that much may be missing of the
        # effective skew, but never so much that the configured one is not there in full.
        wanted_bps = max(skew.least_bps, skew.full_bps * abs(held.q_frac) - skew.slack_bps)
        assert sign * (held.bid_bps - flat.bid_bps) >= wanted_bps
        assert sign * (flat.ask_bps - held.ask_bps) >= wanted_bps
    apart_bps = skew.full_bps * abs(abs(long.q_frac) - abs(short.q_frac)) + skew.slack_bps
    assert long.bid_bps == pytest.approx(short.ask_bps, abs=apart_bps)
    assert long.ask_bps == pytest.approx(short.bid_bps, abs=apart_bps)


def test_inventory_moves_both_touches_on_the_wire(tmp_path: Path) -> None:
    """Long lowers both quotes, short raises both, by the configured skew."""
    assert_wired(*measure(tmp_path))


def test_the_check_fails_when_the_skew_line_is_removed(tmp_path: Path) -> None:
    """A test that cannot see a dead wire is how 3,625 green tests lost money."""
    source = tmp_path / "src"
    shutil.copytree(REPO / "src", source)
    quoter = source / "mmbot" / "core" / "quoter.py"
    text = quoter.read_text("utf-8")
    line = "0.0 - skew * bounded"
    assert text.count(line) == 1, "the line that makes the skew has moved; point this test at it"
    quoter.write_text(text.replace(line, "0.0 * bounded"), "utf-8")
    # The daemon would notice by itself and only reduce: here its own eyes are shut.
    watch = source / "mmbot" / "core" / "engine" / "watch.py"
    text, line = watch.read_text("utf-8"), "if not self._vitals.is_well:"
    assert text.count(line) == 1, "the line that heeds the vitals has moved; point this test at it"
    watch.write_text(text.replace(line, "if self is None:"), "utf-8")

    measured = measure(tmp_path, env={"PYTHONPATH": str(source)})
    with pytest.raises(AssertionError):
        assert_wired(*measured)
