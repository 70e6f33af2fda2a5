"""
What the venue does to our orders unasked, and what is not ours: by its books and by what it was
sent.

The whole daemon over the pipe. The venue ends orders for its own reasons, takes the position by
force, and has orders of the same account that are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmbot.core.orders import SlotState
from mmbot.core.types import Side, Tif
from mmbot.emulator import liquidation
from mmbot.emulator.specs import NewOrder
from mmbot.errors import Exit
from runtime.pipe_rig import PipeRun
from runtime.test_pipe_trading import WIDE, assert_consistent

STILL = {
    "sigma_bps_rt_s": 0.0,
    "a_per_s": 0.0,
    "sweeps_per_s": 0.0,
    "oracle_noise_bps": 0.0,
    "oracle_ms": 600_000,
    "depth_usd_per_bp": 10.0,
}
"""A market in which nothing happens by itself."""
CANCELS = (
    "marginCanceled",
    "vaultWithdrawalCanceled",
    "openInterestCapCanceled",
    "selfTradeCanceled",
    "reduceOnlyCanceled",
    "siblingFilledCanceled",
    "liquidatedCanceled",
    "scheduledCancel",
    "internalCancel",
    "outcomeSettledCanceled",
    "somethingNewCanceled",
)
"""Every status by which the venue cancels of its own accord, and one that it may invent."""
OURS_BEFORE = f"0x6d6d{0xABC:012x}{5:016x}"
"""Cloid of an order of an earlier run."""


def running(
    *sets: str, usd: float = 0.0, before: Callable[[PipeRun], None] | None = None, seed: int = 4
) -> PipeRun:
    """A daemon that quotes both sides of the still market, with a position that it found."""
    run = PipeRun("demo", sets=("risk.warm_s=0", *WIDE, *sets), market=STILL, seed=seed)
    if usd:
        beside(run, Side.BUY if usd > 0 else Side.SELL, abs(usd))
    if before is not None:
        before(run)
    run.start()
    run.sim.run_for(10)
    assert sides(run) == {"B", "A"}
    return run


def sides(run: PipeRun) -> set[str]:
    return {row["side"] for row in ours(run)}


def ours(run: PipeRun) -> list[dict[str, Any]]:
    """What rests of this program, by the venue's word."""
    return [row for row in run.resting() if (row.get("cloid") or "").startswith("0x6d6d")]


def beside(run: PipeRun, side: Side, usd: float, px: float | None = None, **changes: Any) -> Any:
    """Somebody trades the account by hand: takes, unless a price and a time in force are given."""
    bid, ask = run.touch()
    instrument = run.instrument
    limit = px if px is not None else (ask * 1.02 if side > 0 else bid * 0.98)
    round_ticks = instrument.floor_ticks if side > 0 else instrument.ceil_ticks
    order = NewOrder(
        instrument.asset_id,
        side,
        round_ticks(instrument.ticks(limit)),
        max(1, round(usd / ask / instrument.sz(1))),
        changes.pop("tif", Tif.IOC),
        **changes,
    )
    result = run.venue.submit(run.user, order)
    run.exchange.settle()
    run.driver.settle()
    return result


def assert_followed(run: PipeRun) -> None:
    """With a hand that traded before the run as well: orders and position are the venue's."""
    ending = run.endings[0]
    assert run.resting() == []
    assert ending.resting_orders == 0
    assert ending.final is not None
    assert run.strays == []
    assert run.ghosts == []
    assert run.trader.engine.position.lots == round(run.position_sz() / run.instrument.sz(1))
    assert run.log.named("position.mismatched") == []


def hit(run: PipeRun, px: float, lots: int = 1_000_000_000) -> None:
    """Somebody sells down to a price, through the whole book if it is so much."""
    instrument = run.instrument
    px_ticks = instrument.floor_ticks(round(instrument.ticks(px)))
    somebody = "0x" + "5e" * 20
    run.venue.open_account(somebody, usd=0, is_house=True)
    order = NewOrder(instrument.asset_id, Side.SELL, px_ticks, lots, Tif.IOC)
    run.venue.submit(somebody, order)


def end_all(run: PipeRun, status: str) -> list[int]:
    """The venue ends every order of ours with a status; their oids."""
    account = run.venue.account(run.user)
    ended = list(account.open.values())
    for order in ended:
        run.venue.desk.end(order, status)
    run.exchange.settle()
    run.driver.settle()
    return [order.oid for order in ended]


def believed(run: PipeRun) -> set[int]:
    """Oids the daemon holds for resting."""
    return {
        slot.oid
        for slot in run.trader.engine.orders.slots.values()
        if slot.state is SlotState.WORKING
    }


@pytest.mark.parametrize("status", CANCELS)
def test_what_the_venue_cancels_is_known_at_once_and_placed_anew(status: str) -> None:
    """Whatever its reason, also one that no list names: an order we believe in does not quote."""
    run = running()
    ended = end_all(run, status)
    assert len(ended) >= 2
    assert run.sim.run_till(lambda: not believed(run) & set(ended), 0.5)
    # One says something of the market as well, which the next reading of it takes back.
    run.run(40 if status == "openInterestCapCanceled" else 10)
    assert sides(run) == {"B", "A"}
    assert not {row["oid"] for row in run.resting()} & set(ended)
    run.stop()
    assert run.endings[0].exit_code is Exit.OK
    assert_consistent(run)


@pytest.mark.parametrize("status", ["marginCanceled", "scheduledCancel"])
def test_a_cancel_of_the_venue_that_nobody_told_is_found_by_the_next_reading(status: str) -> None:
    """Streams lose messages; the reading of the account that follows settles what they held."""
    run = running()
    run.faults(mute=["orderUpdates", "user"])
    ended = end_all(run, status)
    run.faults(mute=[])
    run.dialer.cut()
    assert run.sim.run_till(lambda: not believed(run) & set(ended), 10)
    run.run(10)
    assert sides(run) == {"B", "A"}
    run.stop()
    assert_consistent(run)


def test_a_trade_with_ourselves_takes_the_order_and_leaves_no_fill() -> None:
    """Closed by hand through our own bid: the venue cancels it, and the hand trades on."""
    run = running(usd=200)
    bids = [row for row in ours(run) if row["side"] == "B"]
    best = max(bids, key=lambda row: float(row["limitPx"]))
    before = len(run.fills())

    # At the price of our best bid: everything better is taken first, then ours is met.
    beside(run, Side.SELL, 1_000_000, float(best["limitPx"]), is_reduce_only=True)

    said = run.venue.order_status(run.user, best["oid"])
    assert said["order"]["status"] == "selfTradeCanceled"
    taken = run.fills()[: len(run.fills()) - before]
    assert all(fill["crossed"] for fill in taken), "no fill of ours as a maker"
    assert run.sim.run_till(lambda: best["oid"] not in believed(run), 0.5)
    run.run(10)
    assert not run.latched, "closing by hand is no fault"
    run.stop()
    assert_followed(run)


def test_an_order_without_margin_at_the_match_is_gone_and_fills_nothing() -> None:
    """The venue checks again when it is hit; the money has left by another way than trading."""
    run = running()
    best = max((r for r in ours(run) if r["side"] == "B"), key=lambda row: float(row["limitPx"]))
    purse = run.venue.account(run.user).purse(0)
    taken_u = purse.cash_u
    purse.cash_u -= taken_u
    hit(run, float(best["limitPx"]))
    purse.cash_u += taken_u
    run.exchange.settle()
    run.driver.settle()

    said = run.venue.order_status(run.user, best["oid"])
    assert said["order"]["status"] == "marginCanceled"
    assert run.sim.run_till(lambda: best["oid"] not in believed(run), 0.5)
    run.run(10)
    assert run.fills() == []
    run.stop()
    assert_consistent(run)


def test_reducing_orders_that_shrink_and_end_with_the_position_are_followed() -> None:
    """Closed by hand in two steps: what rests is cut to what is left, then there is nothing."""
    run = running(usd=200)
    asset = run.venue.asset(run.instrument.asset_id)
    run.venue.set_oracle(asset.asset_id, asset.px(asset.mark_ticks) * 1.01)
    run.sim.run_for(5)
    reducing = ours(run)
    assert {row["side"] for row in reducing} == {"A"}
    assert all(row["reduceOnly"] for row in reducing)
    least = min(float(row["sz"]) for row in reducing)

    held = run.position_sz()
    left = least / 2
    beside(run, Side.SELL, (held - left) * run.touch()[1], is_reduce_only=True)
    left = run.position_sz()
    assert 0 < left < least
    run.sim.run_for(3)
    slots = [slot for slot in run.trader.engine.orders.slots.values() if slot.rest_lots]
    assert sum(slot.rest_lots for slot in slots) * run.instrument.sz(1) <= left + 1e-9
    resting = {row["oid"]: float(row["sz"]) for row in ours(run)}
    assert {slot.oid: run.instrument.sz(slot.rest_lots) for slot in slots} == pytest.approx(resting)

    beside(run, Side.SELL, 1_000_000, is_reduce_only=True)
    assert run.position_sz() == 0
    assert run.sim.run_till(lambda: not believed(run) & set(resting), 0.5)
    run.run(10)
    assert not run.latched
    run.stop()
    assert_followed(run)


def unknown(run: PipeRun) -> list[int]:
    """Cloids of orders without a verdict."""
    slots = run.trader.engine.orders.slots.values()
    return [slot.cloid for slot in slots if slot.state is SlotState.UNKNOWN]


def test_an_order_that_the_venue_does_not_know_yet_is_asked_for_until_it_does() -> None:
    """
    Carried out, the answer lost, nothing told; and `orderStatus` says `unknownOid` for 1.5 s more.

    "Never heard of it" in that time is no verdict: the order rests, and nobody else would own it.
    """
    run = PipeRun("demo", sets=("risk.warm_s=0", *WIDE), market=STILL, seed=4)
    run.faults(unknown_oid_lag_ms=1500, mute=["orderUpdates", "user", "userFills"])
    run.start()
    run.faults(drop=1)
    assert run.sim.run_till(lambda: bool(unknown(run)), 30)
    asked = run.exchange.asked.get("orderStatus", 0)
    lost = unknown(run)
    resting = {int(row["cloid"], 16) for row in run.resting()}
    assert set(lost) <= resting, "they were carried out"
    run.run(12)

    assert run.exchange.asked["orderStatus"] - asked >= len(lost)
    assert run.strays == []
    assert run.log.named("order.revived") == []
    assert not set(unknown(run)) & set(lost)
    run.faults(mute=[])
    run.stop()
    assert_consistent(run)


def test_an_order_that_never_arrived_is_given_up_only_after_the_whole_window() -> None:
    """It counts until then, and nothing of its cloid is sent again."""
    run = PipeRun("demo", sets=("risk.warm_s=0", *WIDE), market=STILL, seed=4)
    run.start()
    run.faults(lose=1)
    assert run.sim.run_till(lambda: bool(unknown(run)), 30)
    lost = unknown(run)
    slots = run.trader.engine.orders.slots
    until_ns = min(slots[cloid].lands_until_ns for cloid in lost)
    counted = {cloid: slots[cloid].exposure_lots for cloid in lost}
    assert run.sim.run_till(lambda: not set(lost) & set(slots), 30)

    assert run.sim.clock() >= until_ns - run.trader.engine.orders.settle_ns + 4_000_000_000
    assert all(lots > 0 for lots in counted.values())
    assert run.exchange.asked["orderStatus"] >= 2 * len(lost), "once is no answer"
    sent = [o["c"] for a in run.actions() if a["type"] == "order" for o in a["orders"]]
    assert not {int(cloid, 16) for cloid in sent} & set(lost), "it was lost on its way"
    run.run(10)
    assert sides(run) == {"B", "A"}, "and its place is taken by another"
    run.stop()
    assert_consistent(run)


def test_a_partial_fill_leaves_exactly_the_rest() -> None:
    """Lot by lot through our best bid: what rests and what is believed are the same after each."""
    run = running()
    partly, seen = 0, set[int]()
    for _ in range(12):
        bids = [row for row in ours(run) if row["side"] == "B"]
        best = max(bids, key=lambda row: float(row["limitPx"]))
        left: dict[str, Any] | None = best
        while left is not None and left["sz"] == best["sz"]:
            # Whoever is in front is taken first, a little at a time, then a part of ours.
            hit(run, float(best["limitPx"]), lots=7)
            left = next((row for row in ours(run) if row["oid"] == best["oid"]), None)
        partly += left is not None
        run.exchange.settle()
        run.driver.settle()
        run.sim.run_for(0.2)
        rows = {row["oid"]: row for row in ours(run)}
        for slot in run.trader.engine.orders.slots.values():
            if slot.state is SlotState.WORKING:
                rest = float(rows[slot.oid]["sz"])
                assert run.instrument.sz(slot.rest_lots) == pytest.approx(rest)
                if rest != float(rows[slot.oid]["origSz"]):
                    seen.add(slot.oid)
        run.sim.run_for(2)
    assert partly >= 3
    assert seen, "one of them was looked at before it was moved"
    assert run.trader.engine.position.lots == round(run.position_sz() / run.instrument.sz(1))
    run.stop()
    assert_consistent(run)


def liquidate(run: PipeRun) -> None:
    """The account falls below its maintenance margin."""
    asset = run.venue.asset(run.instrument.asset_id)
    purse = run.venue.account(run.user).purse(0)
    purse.cash_u = -round(abs(run.position_sz()) * asset.px(asset.mark_ticks) * 1e6) + 1_000_000
    run.venue.set_mark(asset.asset_id, asset.px(asset.mark_ticks))


def close_by(direction: str) -> Callable[[PipeRun], None]:
    """The venue closes the position at the mark, and says only by the direction why."""

    def close(run: PipeRun) -> None:
        asset = run.venue.asset(run.instrument.asset_id)
        slot = run.venue.account(run.user).purse(0).slots[asset.asset_id]
        liquidation.close_at_mark(run.venue.state, slot, direction, None)

    return close


@pytest.mark.parametrize(
    "force",
    [liquidate, close_by("Auto-Deleveraging"), close_by("Settlement")],
    ids=["liquidation", "deleveraging", "settlement"],
)
def test_what_the_venue_closes_by_force_moves_the_position_trips_and_shows(
    force: Callable[[PipeRun], None],
) -> None:
    """No order of ours explains it, and it is no trade of a hand: nothing goes on after it."""
    run = running(usd=100)
    # The fills themselves, before any reading of the account can tell of the loss.
    force(run)
    run.exchange.settle()
    run.driver.settle()
    ending = run.ended(60)

    assert ending.exit_code is Exit.KILLED
    assert [kill.trigger for kill in run.latched] == ["liquidation"]
    assert "by force" in run.latched[0].text
    forced = [note for note in run.log.named("fill.booked") if note["is_liquidation"]]
    assert forced
    assert run.trader.engine.position.lots == round(run.position_sz() / run.instrument.sz(1))
    assert run.resting() == []


def test_cancelling_everything_leaves_the_orders_of_others_alone() -> None:
    """By hand or by another program, with a cloid or without: they are somebody's."""

    def place(run: PipeRun) -> None:
        bid, ask = run.touch()
        for px, side, cloid in (
            (bid * 0.9, Side.BUY, None),
            (ask * 1.1, Side.SELL, f"0x{7:032x}"),
            (ask * 1.1, Side.SELL, f"0x6d6e{7:028x}"),
            (bid * 0.9, Side.BUY, OURS_BEFORE),
        ):
            beside(run, side, 20, px, tif=Tif.ALO, cloid=cloid)

    run = running(before=place)
    others = {row["oid"] for row in run.resting()} - {row["oid"] for row in ours(run)}
    assert len(others) == 3
    assert OURS_BEFORE not in {row.get("cloid") for row in run.resting()}, "a leftover goes"
    run.trader.kill("test")
    ending = run.ended()

    assert {row["oid"] for row in run.resting()} == others
    assert ending.resting_orders == 0
    assert [kill.trigger for kill in run.latched] == ["operator"]
    cancels = [row for action in run.actions() for row in action.get("cancels", ())]
    assert all(row["cloid"].startswith("0x6d6d") for row in cancels if "cloid" in row)
    assert not {row["o"] for row in cancels if "o" in row} & others
    told = run.log.named("order.foreign")
    assert {note["oid"] for note in told} == others


def test_an_order_of_an_earlier_run_that_fills_on_its_way_out_is_booked_once() -> None:
    """It is ours, if not of this run: the position moves, and nobody calls it a stranger's."""

    def leave(run: PipeRun) -> None:
        bid, _ = run.touch()
        beside(run, Side.BUY, 30, bid, tif=Tif.ALO, cloid=OURS_BEFORE)

    run = PipeRun("demo", sets=("risk.warm_s=0", *WIDE), market=STILL, seed=4)
    leave(run)
    (left,) = run.resting()
    run.start()

    def adopted() -> bool:
        return any(slot.oid == left["oid"] for slot in run.trader.engine.orders.slots.values())

    assert run.sim.run_till(adopted, 10)
    run.driver.catch_up()
    hit(run, float(left["limitPx"]))
    run.exchange.settle()
    run.driver.settle()
    assert run.position_sz() > 0
    run.run(10)

    assert run.latched == []
    assert run.trader.engine.position.lots == round(run.position_sz() / run.instrument.sz(1))
    run.stop()
    assert len(run.fills()) >= 1
    assert_consistent(run)


def test_an_order_of_an_earlier_run_that_comes_to_rest_late_is_cancelled_and_no_stranger() -> None:
    """It was on its way when that run was killed, and no reading of this one could show it."""
    run = running()
    bid, _ = run.touch()
    beside(run, Side.BUY, 30, bid, tif=Tif.ALO, cloid=OURS_BEFORE)
    (late,) = [row for row in run.resting() if row["cloid"] == OURS_BEFORE]
    run.exchange.settle()
    run.driver.settle()
    hit(run, float(late["limitPx"]))
    run.run(5)

    assert late["oid"] in {row["oid"] for row in run.fills()}
    assert run.latched == [], "what it bought is ours"
    assert OURS_BEFORE not in {row["cloid"] for row in run.resting()}
    cancels = [row for action in run.actions() for row in action.get("cancels", ())]
    assert OURS_BEFORE in {row.get("cloid") for row in cancels}
    assert [note["oid"] for note in run.log.named("order.adopted")] == [late["oid"]]
    run.stop()
    assert_consistent(run)
