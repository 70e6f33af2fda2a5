"""What the venue says of the market, by the orders of an engine that hears it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.rig import Rig, params
from mmbot.core.engine import Decision
from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Gauge,
    Level,
    Listing,
    Measured,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.gate import GateView, gate
from mmbot.core.intents import Diff, Place
from mmbot.core.premises import Shut
from mmbot.core.types import NS_PER_S, Mode, Side

PX = 26.2
LONG_LOTS = 300


def ctx(it: Rig, *, mark_px: float = PX, oracle_px: float = PX, mid_px: float | None = PX) -> None:
    """Mark and oracle, as the venue tells them now."""
    it.apply(AssetCtx(it.now_ns, mark_px, oracle_px, 0.0, 1e6, mid_px))


def listing(it: Rig, *, is_capped: bool = False, is_delisted: bool = False) -> None:
    it.apply(Listing(it.now_ns, it.now_ns, is_capped, is_delisted))


def rig(lots: int = LONG_LOTS) -> Rig:
    """Quoting, with a position."""
    it = Rig(params(risk={"max_position_usd": 200.0}))
    if lots:
        it.hold_position(lots)
    ctx(it)
    go(it, 2)
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)
    return it


def go(it: Rig, span_s: float, *, mark: bool = True) -> Decision:
    """Book and, unless it is to be silent, context go on."""
    for _ in range(round(span_s * 2)):
        it.wait(0.5)
        it.tell_book()
        if mark:
            ctx(it)
        decision = it.decide()
    return decision


def shut(it: Rig, reason: str, decision: Decision) -> None:
    """The increasing side is empty for this reason, the log says so, what reduces only reduces."""
    assert it.side(Side.BUY) == []
    asks = it.side(Side.SELL)
    assert asks
    assert all(order.is_reduce_only for order in asks)
    assert sum(order.sz_lots for order in asks) <= LONG_LOTS
    assert decision.status.mode is Mode.RUNNING
    assert decision.status.reasons == (f"bid: {reason}",)
    notes = [note for note in it.notes if note.event == "market.shut"]
    assert [note.facts["reason"] for note in notes] == [reason]


def is_reopened(it: Rig) -> bool:
    told = [note.event for note in it.notes if note.event.startswith("market.")]
    return bool(it.side(Side.BUY)) and told == ["market.shut", "market.opened"]


def test_an_oracle_of_more_than_ten_seconds_empties_the_side_that_adds() -> None:
    """At ten seconds it still stands; then, with no event but time, it goes."""
    it = rig()
    ctx(it)
    began_ns = it.now_ns
    go(it, 10, mark=False)
    assert it.now_ns == began_ns + 10 * NS_PER_S
    assert it.side(Side.BUY)
    wake_ns = it.engine.wake_at_ns()
    assert wake_ns is not None
    assert wake_ns <= began_ns + 10 * NS_PER_S + 1
    decision = go(it, 1, mark=False)
    shut(it, "oracle stale", decision)
    ctx(it)
    go(it, 3)
    assert is_reopened(it)


def test_an_oracle_that_never_came_counts_from_the_beginning() -> None:
    """No event of it, no age: the shell measures the silence and says so."""
    it = Rig()
    it.tell_book()
    it.decide()
    assert it.side(Side.BUY)
    it.apply(Measured(it.now_ns, Gauge.MARK_AGE_S, 9.9))
    go(it, 1, mark=False)
    assert it.side(Side.BUY)
    it.apply(Measured(it.now_ns, Gauge.MARK_AGE_S, 10.0))
    decision = go(it, 1, mark=False)
    assert it.resting == {}
    assert decision.status.reasons == ("bid: oracle stale", "ask: oracle stale")


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_mark_more_than_fifty_bps_off_the_oracle_empties_the_side_that_adds(sign: int) -> None:
    """In either direction; the venue values and liquidates us at the mark."""
    it = rig()
    for gap_bps, is_shut in ((49.9, False), (50.1, True)):
        for _ in range(4):
            it.wait(0.5)
            it.tell_book()
            ctx(it, mark_px=PX * (1 + sign * gap_bps * 1e-4))
            decision = it.decide()
        assert bool(it.side(Side.BUY)) is not is_shut
    shut(it, "mark off oracle", decision)
    go(it, 3)
    assert is_reopened(it)


def test_at_the_cap_of_open_interest_nothing_adds_and_nothing_sells_below_the_oracle() -> None:
    """The venue refuses a reducing order that is more aggressive than its oracle."""
    it = rig()
    oracle_px = PX * 1.002
    listing(it, is_capped=True)
    for _ in range(8):
        it.wait(0.5)
        it.tell_book()
        ctx(it, oracle_px=oracle_px)
        decision = it.decide()
    shut(it, "open interest cap", decision)
    assert min(o.px_ticks for o in it.side(Side.SELL)) >= it.instrument.ticks(oracle_px)
    listing(it)
    go(it, 3)
    assert is_reopened(it)


@pytest.mark.parametrize("how", ["refused", "cancelled"])
def test_the_cap_is_known_before_it_is_read_where_an_order_meets_it(how: str) -> None:
    """And a reading that was asked for before does not take that back."""
    it = rig()
    asked_ns = it.now_ns
    it.wait(0.1)
    (order, *_) = it.side(Side.BUY)
    if how == "refused":
        it.apply(Rejected(it.now_ns, Request.PLACE, 1, Rejection.CAP, "capped"))
    else:
        del it.resting[order.cloid]
        it.apply(
            OrderUpdate(
                it.now_ns, it.venue_ms, order.oid, order.cloid, order.side, order.px_ticks, 0,
                order.orig_lots, OrderState.CANCELED, "openInterestCapCanceled",
            )
        )  # fmt: skip
    it.apply(Listing(it.now_ns, asked_ns, is_capped=False, is_delisted=False))
    shut(it, "open interest cap", go(it, 2))
    listing(it)
    go(it, 3)
    assert is_reopened(it)


def test_a_refusal_for_a_halt_empties_the_side_until_the_venue_is_asked_again() -> None:
    """Half a minute later one order tries; the venue's word decides."""
    it = rig(0)
    it.apply(Rejected(it.now_ns, Request.PLACE, 1, Rejection.HALTED, "Trading is halted."))
    decision = go(it, 29)
    assert it.resting == {}
    assert decision.status.reasons == ("bid: trading halted", "ask: trading halted")
    go(it, 3)
    assert is_reopened(it)


def test_a_halt_that_lasts_ends_the_run_and_one_that_ends_does_not() -> None:
    """Without a mid and without a book; quotes of a market that does not trade mean nothing."""
    it = rig(0)

    def dark(span_s: float) -> list[str | None]:
        said = []
        for _ in range(round(span_s)):
            it.wait(1)
            ctx(it, mid_px=None)
            it.apply(Bbo(it.now_ns, it.venue_ms, None, Level(it.ask_ticks, 5)))
            said.append(it.decide().refusal)
        return said

    assert dark(110) == [None] * 110
    go(it, 5)
    said = dark(123)
    assert said[:119] == [None] * 119
    assert said[-1] is not None
    assert "HYPE has been halted at the venue for" in said[-1]
    reasons = [n.facts["reason"] for n in it.notes if n.event.startswith("market.")]
    assert reasons == ["trading halted", None, "trading halted"]


def test_refusals_in_a_row_are_one_halt() -> None:
    """Nothing is accepted in between: the time counts from the first."""
    it = rig(0)
    said = None
    for _ in range(130):
        it.apply(Rejected(it.now_ns, Request.PLACE, 1, Rejection.HALTED, "Trading is halted."))
        said = go(it, 1).refusal
    assert said is not None
    assert "halted at the venue" in said


def test_a_missing_mid_alone_is_no_halt() -> None:
    """A book with two sides in hand says that there is a market."""
    it = rig()
    for _ in range(300):
        it.wait(0.5)
        it.tell_book()
        ctx(it, mid_px=None)
        assert it.decide().refusal is None
    assert it.side(Side.BUY)


@pytest.mark.parametrize("how", ["read", "cancelled"])
def test_a_delisting_ends_the_run_at_once(how: str) -> None:
    """There is nothing to wait for."""
    it = rig(0)
    order = it.side(Side.BUY)[0]
    if how == "read":
        listing(it, is_delisted=True)
    else:
        del it.resting[order.cloid]
        it.apply(
            OrderUpdate(
                it.now_ns, it.venue_ms, order.oid, order.cloid, order.side, order.px_ticks, 0,
                order.orig_lots, OrderState.CANCELED, "delistedCanceled",
            )
        )  # fmt: skip
    decision = it.decide()
    assert decision.refusal is not None
    assert "was delisted by the venue" in decision.refusal
    assert decision.kill is None


def test_outside_its_hours_a_market_is_only_reduced() -> None:
    """The side that adds goes at the minute, by time alone, and comes back at the minute."""
    it = Rig(
        params(
            risk={"max_position_usd": 200.0},
            hours={"utc": ("tue 22:00-22:15", "tue 22:20-24:00")},
        )
    )
    began = datetime.fromtimestamp(it.now_ns / NS_PER_S, UTC)
    assert f"{began:%a %H:%M}" == "Tue 22:13"
    it.hold_position(LONG_LOTS)
    until_ns = round(datetime(began.year, began.month, began.day, 22, 15, tzinfo=UTC).timestamp())
    until_ns *= NS_PER_S
    while it.now_ns < until_ns - NS_PER_S:
        go(it, 0.5)
    assert it.side(Side.BUY)
    wake_ns = it.engine.wake_at_ns()
    assert wake_ns is not None
    assert wake_ns <= until_ns
    it.now_ns = until_ns
    decision = it.decide()
    assert decision.status.mode is Mode.REDUCING
    go(it, 2)
    assert it.side(Side.BUY) == []
    assert it.side(Side.SELL)
    assert all(order.is_reduce_only for order in it.side(Side.SELL))
    changes = [n.facts["cause"] for n in it.notes if n.event == "mode.changed"]
    assert changes == ["trading_hours"]
    it.now_ns = until_ns + 5 * 60 * NS_PER_S
    assert go(it, 3).status.mode is Mode.RUNNING
    assert it.side(Side.BUY)


@pytest.mark.parametrize("reason", Shut)
def test_the_gate_lets_nothing_out_that_adds_and_says_why(reason: Shut) -> None:
    """It trusts nobody before it; on the other side it passes what the venue is told reduces."""
    it = rig()
    for order in list(it.resting.values()):
        it.cancel(order.cloid)
    orders = it.engine.orders
    mid = it.instrument.ticks(PX)
    places = tuple(
        Place(orders.new_cloid(), side, round(mid) - side * 500, 41, is_reduce_only=is_only)
        for side, is_only in ((Side.BUY, False), (Side.SELL, False), (Side.SELL, True))
    )
    view = GateView(
        mid, 1.0, it.bid_ticks, it.ask_ticks, LONG_LOTS, 200, LONG_LOTS, 800.0, is_trading=True,
        closed=(reason.value, reason.value),
    )  # fmt: skip
    batch, notes = gate(Diff((), (), places), orders, view, it.instrument, it.now_ns)
    assert batch is not None
    assert batch.places == places[2:]
    assert [note.facts["reason"] for note in notes] == [reason.value, "not reduce-only"]
