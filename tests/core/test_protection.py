"""What must hold on the way to the venue and back: only reducing, late prices, orders in flight."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.rig import Fault, Rig, params
from mmbot.core.events import (
    Bbo,
    Command,
    CommandKind,
    Level,
    LinkLost,
    LinkUp,
    ReferencePx,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.intents import Move, Place
from mmbot.core.types import NS_PER_S, Mode, Side
from support import often


@pytest.mark.parametrize("sign", [1, -1])
def test_outside_running_every_order_is_sent_reduce_only(sign: int) -> None:
    """A move that lands after its old leg has filled must not open the other side."""
    it = Rig(position_lots=sign * 800)
    decision = it.settle()
    assert decision.status.mode is Mode.REDUCING
    placed: list[Place | Move] = []
    for batch in it.batches:
        placed.extend(batch.places)
        placed.extend(batch.moves)
    assert placed
    assert all(order.side == -sign and order.is_reduce_only for order in placed)
    assert sum(order.sz_lots for order in it.resting.values()) == 800


def test_orders_of_the_running_mode_are_renewed_as_reduce_only() -> None:
    """What rests from before the change of mode could still flip the position."""
    it = Rig(position_lots=400)
    it.settle()
    assert it.settle().status.mode is Mode.RUNNING
    assert not any(order.is_reduce_only for order in it.side(Side.SELL))
    it.equity_usd = 100.0
    it.move_to(26.2 * (1 - 0.0155))
    assert it.settle().status.mode is Mode.REDUCING
    assert it.side(Side.SELL)
    assert all(order.is_reduce_only for order in it.side(Side.SELL))
    assert not it.side(Side.BUY)


WEATHER = st.lists(
    st.tuples(
        st.sampled_from(["move", "fill", "partial", "sweep", "hold", "release", "lose", "wait"]),
        st.integers(0, 1_000_000),
    ),
    max_size=25,
)


@settings(
    max_examples=often(40, thoroughly=120),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(WEATHER, st.sampled_from([-700, -300, 0, 300, 700]))
def test_no_fill_of_anything_that_may_live_takes_the_position_past_a_limit(
    actions: list[tuple[str, int]], lots: int
) -> None:
    """
    Whatever is late or lost: what the venue really holds on a side fits the limit, both ways.

    A jump of the price shrinks the limit under a position that was inside it; that is the margin.
    """
    it = Rig(params(risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5}), position_lots=lots)
    it.settle()
    for name, n in actions:
        rng = Random(n)
        if name == "move":
            it.move_to(26.2 * (1 + rng.uniform(-12, 12) * 1e-4))
        elif name in ("fill", "partial") and it.resting:
            order = rng.choice(sorted(it.resting.values(), key=lambda order: order.oid))
            it.fill(order, order.sz_lots if name == "fill" else 1 + n % order.sz_lots)
        elif name == "sweep":
            it.sweep(rng.choice([Side.BUY, Side.SELL]))
        elif name == "hold":
            it.is_holding_answers = True
        elif name == "release":
            it.is_holding_answers = False
            it.release()
        elif name == "lose":
            it.fault = Fault.LOST_AFTER if n % 2 else Fault.LOST_BEFORE
        elif name == "wait":
            it.wait(rng.choice([0.2, 2.0]))
        it.tell_book()
        it.decide()
        limits, fair = it.engine.limits, it.engine.book.fair_ticks
        assert limits is not None
        assert fair is not None
        bound = max(limits.q_max_lots(fair) * 1.03, abs(lots))
        for side in Side:
            rests = sum(order.sz_lots for order in it.side(side) if not order.is_reduce_only)
            closes = sum(order.sz_lots for order in it.side(side) if order.is_reduce_only)
            reached = side * it.position_lots + rests
            assert reached <= bound or rests == 0, (side, it.position_lots, rests, closes)


def test_an_order_on_its_way_is_cancelled_when_its_side_is_pulled() -> None:
    """Waiting for the verdict of a placement leaves it in the market for a round trip more."""
    it = Rig()
    it.is_holding_answers = True
    it.decide()
    placed = {place.cloid for place in it.batches[-1].places}
    it.apply(LinkLost(it.now_ns, "reset"))
    batch = it.decide().batch
    assert batch is not None
    assert {cancel.cloid for cancel in batch.cancels} == placed
    assert it.decide().batch is None


def test_a_coming_leg_inside_the_floor_is_cancelled_before_its_verdict() -> None:
    """The market has run towards an order that is still on its way."""
    it = Rig()
    it.is_holding_answers = True
    it.decide()
    asks = {
        place.cloid: place.px_ticks for place in it.batches[-1].places if place.side is Side.SELL
    }
    lowest = min(asks.values())
    px = it.instrument.px(lowest) * (1 - 1e-4)
    it.wait(0.1)
    it.set_fair(px)
    it.tell_book()
    batch = it.decide().batch
    assert batch is not None
    fair = it.engine.book.fair_ticks
    assert fair is not None
    inside = {cloid for cloid, ticks in asks.items() if (ticks - fair) / fair * 1e4 < 4.0}
    assert inside
    assert inside <= {cancel.cloid for cancel in batch.cancels}


def test_prices_that_come_late_but_steadily_are_stale() -> None:
    """A frame every 100 ms that is 4 s old is no price to quote on, and it is said."""
    it = Rig()
    it.settle()
    assert it.resting
    for step in range(45):
        it.wait(0.1)
        # Every frame is later than the one before: the venue's clock runs at a tenth of ours.
        lag_ms = min(4_000, step * 90)
        level = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
        it.apply(Bbo(it.now_ns, it.venue_ms - lag_ms, *level))
        decision = it.decide()
    assert decision.status.reasons == ("late book",)
    assert not it.resting
    (note,) = it.events_named("book.stale")
    assert note.facts["reason"] == "late book"
    assert isinstance(note.facts["lag_s"], float)
    assert note.facts["lag_s"] >= 3.0


def test_an_offset_between_the_clocks_is_not_age() -> None:
    """Our clock may be half a minute off; only what is later than the quickest frame is late."""
    it = Rig()
    it.settle()
    it.apply(LinkLost(it.now_ns, "reset"))
    it.decide()
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    for _ in range(3):
        it.wait(0.1)
        level = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
        it.apply(Bbo(it.now_ns, it.venue_ms - 30_000, *level))
    it.apply(it.snapshot())
    it.settle()
    assert it.resting


def test_a_wrong_time_does_not_outlive_its_connection() -> None:
    """After a frame from the future nothing is news; the next connection starts from scratch."""
    it = Rig()
    it.settle()
    level = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    it.apply(Bbo(it.now_ns, it.venue_ms + 3_600_000, *level))
    it.move_to(26.3)
    fair = it.engine.book.fair_ticks
    assert fair is not None
    assert it.instrument.px(fair) < 26.25
    it.apply(LinkLost(it.now_ns, "malformed"))
    it.decide()
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    it.apply(it.snapshot())
    it.settle()
    fair = it.engine.book.fair_ticks
    assert fair is not None
    assert it.instrument.px(fair) == pytest.approx(26.3, abs=0.01)


@pytest.mark.parametrize("frac", [0.031, 0.5])
def test_a_soft_limit_above_a_hard_one_is_refused(frac: float) -> None:
    """The switch would trip before the position was ever reduced."""
    with pytest.raises(ValidationError, match="soft_limit_frac"):
        params(risk={"soft_limit_frac": frac})
    params(risk={"soft_limit_frac": 0.03})


def test_the_record_of_a_decision_is_of_its_moment() -> None:
    """It is put together after the batch was sent, and by then the market has moved on."""
    it = Rig()
    decision = it.decide()
    at_once = decision.diagnostics
    it.move_to(26.25)
    it.decide()
    assert decision.diagnostics == at_once
    assert at_once is not None


def test_the_next_try_of_a_cancel_is_a_wake_time_whatever_was_refused_before() -> None:
    """A retry that has passed for one order must not hide that of another."""
    it = Rig()
    it.settle()
    it.apply(Command(it.now_ns, CommandKind.STOP, ""))
    batch = it.engine.decide(it.now_ns).batch
    assert batch is not None
    first, second, *others = (cancel.cloid for cancel in batch.cancels)
    for cloid in others:
        it.cancel(cloid)
    # The one is over as far as the venue is concerned, and asked about; the other was refused.
    for slot in it.engine.orders.slots.values():
        slot.lands_until_ns = 0
    gone, busy = Rejection.GONE, Rejection.BUDGET
    it.apply(Rejected(it.now_ns, Request.CANCEL, first, gone, "never placed"))
    it.engine.decide(it.now_ns)
    it.wait(0.9)
    it.apply(Rejected(it.now_ns, Request.CANCEL, second, busy, "too many"))
    due_ns = it.now_ns + NS_PER_S
    it.wait(0.2)
    assert it.engine.decide(it.now_ns).batch is None
    wake_ns = it.engine.wake_at_ns()
    assert wake_ns is not None
    assert wake_ns <= due_ns


def test_prices_that_are_late_by_the_limit_of_the_kill_switch_trip_it() -> None:
    """Minutes behind the market is as blind as minutes without news."""
    it = Rig(params(risk={"stale_kill_s": 10}))
    it.settle()
    for _ in range(3):
        it.wait(0.1)
        it.tell_book()
    level = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    frozen_ms, start_ns = it.venue_ms, it.now_ns
    while it.now_ns - start_ns < 9.9 * NS_PER_S:
        it.wait(0.1)
        it.apply(Bbo(it.now_ns, frozen_ms, *level))
        assert it.decide().kill is None
    it.wait(0.2)
    it.apply(Bbo(it.now_ns, frozen_ms, *level))
    kill = it.decide().kill
    assert kill is not None
    assert kill.trigger == "stale_data"


def test_a_reference_price_from_the_future_does_not_outlive_its_connection() -> None:
    """Its time would make every true one after it too old to use."""
    it = Rig()
    it.settle()
    for px, ahead_ms in ((26.2, 0), (26.2, 3_600_000)):
        it.wait(0.1)
        it.apply(ReferencePx(it.now_ns, it.venue_ms + ahead_ms, px))
    it.apply(LinkLost(it.now_ns, "malformed"))
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    it.apply(it.snapshot())
    it.wait(2.0)
    it.tell_book()
    it.apply(ReferencePx(it.now_ns, it.venue_ms, 26.21))
    diagnostics = it.decide().diagnostics
    assert diagnostics is not None
    assert diagnostics.reference_bps is not None
    assert diagnostics.reference_bps > 1.0


def test_a_venue_out_of_reach_is_not_stormed_with_cancels() -> None:
    """A cancel that fails at once is repeated by the clock, not by its own failure."""
    it = Rig()
    it.settle()
    it.apply(LinkLost(it.now_ns, "reset"))
    sent = 0
    for _ in range(100):
        it.fault = Fault.LOST_BEFORE
        batch = it.decide().batch
        sent += 0 if batch is None else len(batch.cancels)
        it.wait(0.05)
    # Six orders, five seconds: once a second each.
    assert 6 <= sent <= 6 * 6
    it.fault = None
    it.wait(1.1)
    it.decide()
    assert not it.resting


@pytest.mark.parametrize("frames", [1, 2])
def test_a_frame_dated_a_little_ahead_does_not_make_every_later_one_late(frames: int) -> None:
    """The wire takes ten seconds of lead; the quickest frame must be confirmed by others."""
    it = Rig()
    it.settle()
    level = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    for _ in range(frames):
        it.wait(0.5)
        it.apply(Bbo(it.now_ns, it.venue_ms + 4_000, *level))
        it.settle()
    for _ in range(12):
        it.wait(0.5)
        it.tell_book()
        it.settle()
    assert it.decide().status.reasons == ()
    assert it.resting
