"""What is promised of the orders that leave the engine, on the final prices and sizes."""

from __future__ import annotations

import random
from math import copysign

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.rig import HYPE, PREFIX, T0_NS, Fault, Resting, Rig, params
from mmbot.core.engine import Decision, Diagnostics, Engine, EngineParams
from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Command,
    CommandKind,
    Event,
    Funding,
    Level,
    LinkLost,
    LinkUp,
    OrderState,
    ReferencePx,
    Rejected,
    Rejection,
    Request,
    RequestsLeft,
    Trades,
)
from mmbot.core.ladder import is_reducing
from mmbot.core.orders import SlotState
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument, Mode, Side, notional_usd
from mmbot.core.waterfall import Waterfall
from support import often

STEADY = settings(
    max_examples=often(25, thoroughly=60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)


def at_position(x: float, engine_params: EngineParams | None = None, **rig: object) -> Rig:
    """A settled engine at `x` position limits, long enough there for every delay to have ended."""
    it = Rig(engine_params, **rig)  # type: ignore[arg-type]
    it.settle()
    it.hold_position(round(x * it.q_max_lots()))
    it.settle()
    for _ in range(4):
        it.wait(20)
        it.tell_book()
        it.settle()
    return it


def latest(it: Rig) -> Diagnostics:
    """Diagnostics of the present state."""
    it.wait(1.001)
    it.tell_book()
    diagnostics = it.decide().diagnostics
    assert diagnostics is not None
    it.settle()
    return diagnostics


def budgets(it: Rig) -> dict[Side, int]:
    limits, fair = it.engine.limits, it.engine.book.fair_ticks
    assert limits is not None
    assert fair is not None
    bid, ask = limits.budgets_lots(it.position_lots, fair, it.engine.mode)
    return {Side.BUY: bid, Side.SELL: ask}


def assert_floors(it: Rig) -> None:
    """Every resting order that could increase the position keeps its distance from fair."""
    fair = it.engine.book.fair_ticks
    if fair is None:
        return
    floor_bps = (it.maker_bps + 1.8) / (1 - 0.3)
    for side in Side:
        ahead = 0
        for order in it.side(side):
            reduce_lots = max(0, -side * it.position_lots)
            if not is_reducing(order.sz_lots, ahead, reduce_lots):
                depth = side * (fair - order.px_ticks) / fair * 1e4
                assert depth >= floor_bps - 1e-6, (side, order, depth)
            ahead += order.sz_lots


# -- starting and stopping ------------------------------------------------------------------------


def test_nothing_is_quoted_before_the_link_and_a_snapshot_after_it() -> None:
    """An order placed before the account is known could double what already rests."""
    it = Rig(is_started=False)
    it.tell_book()
    assert it.decide().batch is None
    early = it.snapshot()
    it.wait(0.1)
    it.apply(LinkUp(it.now_ns))
    it.apply(early)
    decision = it.decide()
    assert decision.batch is None
    assert decision.status.reasons == ("waiting for the account",)
    it.wait(0.1)
    it.apply(it.snapshot())
    it.tell_book()
    batch = it.decide().batch
    assert batch is not None
    assert {place.side for place in batch.places} == {Side.BUY, Side.SELL}


def test_a_book_without_trades_is_quoted_at_the_first_decision() -> None:
    """No warm-up: the first book after the account is enough for a two-sided quote."""
    it = Rig()
    decision = it.decide()
    assert decision.status.mode is Mode.RUNNING
    assert len(it.side(Side.BUY)) == 3
    assert len(it.side(Side.SELL)) == 3
    assert decision.diagnostics is not None


@pytest.mark.parametrize(("position_usd", "rungs", "usd"), [(200.0, 3, 12.9), (400.0, 4, 19.4)])
def test_the_shipped_ladder_has_the_documented_rungs(
    position_usd: float, rungs: int, usd: float
) -> None:
    """At 100 USD the ten-dollar minimum leaves three rungs a side, and four at a limit of 400."""
    it = Rig(params(risk={"max_position_usd": position_usd}))
    it.settle()
    for side in Side:
        orders = it.side(side)
        assert len(orders) == rungs
        for order in orders:
            value = notional_usd(order.px_ticks, order.sz_lots)
            assert value == pytest.approx(usd, abs=0.4)


def test_a_lost_link_cancels_everything_and_quoting_waits_for_a_new_snapshot() -> None:
    """What we believe about the account is worth nothing until it has been read again."""
    it = Rig()
    it.settle()
    it.wait(0.5)
    it.apply(LinkLost(it.now_ns, "reset by peer"))
    decision = it.decide()
    assert decision.batch is not None
    assert len(decision.batch.cancels) == 6
    assert not it.resting
    it.wait(1)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    assert it.decide().batch is None
    it.wait(0.2)
    it.apply(it.snapshot())
    it.settle()
    assert len(it.resting) == 6


def test_a_new_link_and_snapshot_without_a_new_book_quote_nothing() -> None:
    """No price is carried across a gap, however short."""
    it = Rig()
    it.settle()
    it.apply(LinkLost(it.now_ns, "reset by peer"))
    it.decide()
    it.wait(0.1)
    it.apply(LinkUp(it.now_ns))
    it.wait(0.1)
    it.apply(it.snapshot())
    assert it.decide().batch is None
    it.tell_book()
    assert it.decide().batch is not None


def test_orders_left_by_an_earlier_run_are_cancelled_and_counted_until_then() -> None:
    """They are found by the program's mark in the cloid; a stranger's order is left alone."""
    it = Rig(is_started=False)
    for oid, prefix in ((5, PREFIX ^ 0xFF), (6, PREFIX ^ (1 << 60))):
        order = Resting(oid, prefix << 64 | 1, Side.BUY, 261_000, 100, 100)
        it.resting[order.cloid] = order
    it.start()
    it.is_holding_answers = True
    first = it.decide().batch
    assert first is not None
    assert [cancel.cloid for cancel in first.cancels] == [(PREFIX ^ 0xFF) << 64 | 1]
    assert sum(place.sz_lots for place in first.places if place.side is Side.BUY) <= 52
    it.is_holding_answers = False
    it.release()
    it.settle()
    assert (PREFIX ^ (1 << 60)) << 64 | 1 in it.resting
    assert it.engine.orders.exposure_lots(Side.BUY) > 100


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.REFUSED_OLD_GONE])
def test_an_order_whose_move_was_refused_is_cancelled_before_anything_else(fault: Fault) -> None:
    """It may rest at its old price or not at all: one cancel settles it, then the side is whole."""
    it = Rig(params(reconcile={"hold_bps": 0, "hold_bps_max": 0}))
    it.settle()
    it.wait(2)
    it.set_fair(26.205)
    it.tell_book()
    it.fault = fault
    moved = it.decide().batch
    assert moved is not None
    assert moved.moves
    after = it.decide().batch
    if fault is Fault.REFUSED:
        assert after is not None
        assert {cancel.cloid for cancel in after.cancels} == {move.cloid for move in moved.moves}
    it.wait(0.1)
    it.tell_book()
    it.settle()
    assert len(it.resting) == 6


def test_stop_cancels_everything_and_places_nothing() -> None:
    """A clean end leaves nothing resting and is not a kill."""
    it = Rig()
    it.settle()
    it.apply(Command(it.now_ns, CommandKind.STOP, "SIGTERM"))
    decision = it.decide()
    assert decision.status.reasons == ("stopping",)
    assert decision.kill is None
    assert not it.resting
    it.wait(1)
    it.tell_book()
    assert it.decide().batch is None


def test_an_operator_kill_halts_for_good() -> None:
    """The latch: neither time nor data nor a new link brings the quotes back."""
    it = Rig()
    it.settle()
    it.apply(Command(it.now_ns, CommandKind.KILL, "SIGUSR1"))
    decision = it.decide()
    assert decision.status.mode is Mode.HALTED
    assert decision.kill is not None
    assert decision.kill.trigger == "operator"
    assert not it.resting
    for _ in range(3):
        it.wait(600)
        it.apply(LinkUp(it.now_ns))
        it.wait(1)
        it.tell_book()
        it.apply(it.snapshot())
        decision = it.decide()
        assert decision.batch is None
        assert decision.status.mode is Mode.HALTED
        assert decision.kill is not None


def test_a_halted_engine_cancels_an_order_whose_placement_is_still_in_flight() -> None:
    """The cancel leaves at once, behind the placement, and not a second time."""
    it = Rig()
    it.is_holding_answers = True
    it.decide()
    sent = {place.cloid for place in it.batches[-1].places}
    assert len(sent) == 6
    it.apply(Command(it.now_ns, CommandKind.KILL, "operator"))
    batch = it.decide().batch
    assert batch is not None
    assert {cancel.cloid for cancel in batch.cancels} == sent
    assert it.decide().batch is None
    it.is_holding_answers = False
    it.release()
    it.decide()
    assert not it.resting
    assert not it.engine.orders.slots


# -- stale data -----------------------------------------------------------------------------------


def test_a_stale_touch_pulls_everything_at_its_limit_and_not_before() -> None:
    """An order on an old price is a gift; the pull comes from the timer, not from a frame."""
    it = Rig()
    it.settle()
    it.wait(2.999)
    it.decide()
    assert len(it.resting) == 6
    wake = it.engine.wake_at_ns()
    assert wake is not None
    assert wake <= it.now_ns + NS_PER_MS
    it.now_ns = wake
    decision = it.decide()
    assert decision.status.reasons == ("stale book",)
    assert not it.resting
    it.wait(1)
    it.tell_book()
    it.settle()
    assert len(it.resting) == 6


def test_stale_data_kill_at_exactly_their_limit() -> None:
    """300 s without a touch end the session; a nanosecond less does not."""
    it = Rig()
    it.settle()
    seen_ns = it.now_ns
    it.now_ns = seen_ns + 300 * NS_PER_S - 1
    assert it.decide().kill is None
    it.now_ns = seen_ns + 300 * NS_PER_S
    kill = it.decide().kill
    assert kill is not None
    assert (kill.trigger, kill.value, kill.limit, kill.unit) == ("stale_data", 300.0, 300.0, "s")


def test_a_link_that_never_brings_a_book_kills_too() -> None:
    """No warm-up masks a trigger."""
    it = Rig(is_started=False)
    it.apply(LinkUp(it.now_ns))
    it.decide()
    it.wait(300)
    kill = it.decide().kill
    assert kill is not None
    assert kill.trigger == "stale_data"


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        (None, None),
        (Level(261990, 5), None),
        (None, Level(262010, 5)),
        (Level(262010, 5), Level(261990, 5)),
        (Level(262000, 5), Level(262000, 5)),
    ],
)
def test_a_book_that_prices_nothing_pulls_what_would_increase(
    bid: Level | None, ask: Level | None
) -> None:
    """Empty, one-sided, crossed, locked: no new orders, and only the reducing side stays."""
    it = at_position(0.3)
    it.wait(0.1)
    it.apply(Bbo(it.now_ns, it.venue_ms, bid, ask))
    decision = it.decide()
    assert decision.batch is not None
    assert not decision.batch.moves
    assert not decision.batch.places
    assert not it.side(Side.BUY)
    assert it.side(Side.SELL)
    it.wait(3)
    it.decide()
    assert not it.resting


# -- inventory skew -------------------------------------------------------------------------------


@STEADY
@given(x=st.floats(-0.7, 0.7), fair_px=st.sampled_from([26.2, 26.25, 26.3]))
def test_bid_and_ask_are_mirror_images(x: float, fair_px: float) -> None:
    """A long and a short position of one size are quoted alike, sides exchanged, to the tick."""
    long, short = at_position(x, fair_px=fair_px), at_position(-x, fair_px=fair_px)
    centre = long.bid_ticks + long.ask_ticks
    for side in Side:
        mirrored = [centre - order.px_ticks for order in short.side(side.opposite)]
        assert [order.px_ticks for order in long.side(side)] == mirrored


def test_more_inventory_never_brings_the_bid_nearer_nor_the_ask_farther() -> None:
    """The skew's sign and monotony on the orders that rest, over the whole range of positions."""
    last_bid, last_ask = None, None
    for step in range(-19, 20):
        it = at_position(step / 20)
        bid = it.touch(Side.BUY) if it.side(Side.BUY) else None
        ask = it.touch(Side.SELL) if it.side(Side.SELL) else None
        if last_bid is not None and bid is not None:
            assert bid <= last_bid
        if last_ask is not None and ask is not None:
            assert ask <= last_ask
        last_bid, last_ask = bid or last_bid, ask or last_ask


@pytest.mark.parametrize("x", [0.45, 0.5, 0.6])
def test_both_touches_move_by_more_than_the_configured_skew(x: float) -> None:
    """The wiring: at 45 % of the limit each final touch has moved by at least 6 bps x, mirrored."""
    flat, long, short = at_position(0.0), at_position(x), at_position(-x)
    for it, sign in ((long, 1), (short, -1)):
        for side in Side:
            moved_bps = (flat.touch(side) - it.touch(side)) / flat.touch(side) * 1e4 * sign
            assert moved_bps >= 6.0 * x, (x, side, moved_bps)


def _wide_or_narrow(half: float, skew: float, spacing: float, hold: float) -> EngineParams:
    return params(
        quoter={"half_spread_bps_min": half, "skew_bps_min": skew},
        ladder={"spacing_bps": spacing},
        reconcile={"hold_bps": hold, "hold_bps_max": max(hold, 3.0)},
        risk={"max_position_usd": 400.0},
    )


@STEADY
@given(
    half=st.floats(0.5, 20),
    skew=st.floats(4, 60),
    spacing=st.floats(0.2, 3),
    hold=st.floats(0, 10),
    has_reference=st.booleans(),
)
def test_no_accepted_configuration_switches_the_skew_off(
    half: float, skew: float, spacing: float, hold: float, *, has_reference: bool
) -> None:
    """Half the limit moves each final touch by 2 bps; the reducing one until it is at fair."""
    config = _wide_or_narrow(half, skew, spacing, hold)
    rigs = {x: at_position(x, config) for x in (0.0, 0.5, -0.5)}
    if has_reference:
        for it in rigs.values():
            it.apply(ReferencePx(it.now_ns, it.venue_ms, 26.2))
            it.settle()
    for x in (0.5, -0.5):
        it, flat = rigs[x], rigs[0.0]
        wide, near = (Side.BUY, Side.SELL) if x > 0 else (Side.SELL, Side.BUY)
        assert it.depth_bps(wide) >= flat.depth_bps(wide) + 2.0 if it.side(wide) else True
        assert it.depth_bps(near) <= max(flat.depth_bps(near) - 2.0, 1.3)


def test_hysteresis_delays_the_skew_and_never_deletes_it() -> None:
    """With the widest hold and hardly any requests the quotes still follow the position."""
    config = params(reconcile={"hold_bps": 10, "hold_bps_max": 20, "hold_s": 60, "hold_s_max": 60})
    flat, long = at_position(0.0, config), at_position(0.45, config, requests_cap=700)
    for side in Side:
        moved = (flat.touch(side) - long.touch(side)) / flat.touch(side) * 1e4
        assert moved >= 6.0 * 0.45


def test_a_change_of_position_is_followed_without_waiting_for_the_hold() -> None:
    """Hysteresis is against a trembling price; inventory does not tremble."""
    config = params(reconcile={"hold_bps": 10, "hold_bps_max": 10, "hold_s": 60})
    it = Rig(config)
    it.settle()
    before = {side: it.touch(side) for side in Side}
    it.hold_position(round(0.45 * it.q_max_lots()))
    it.settle()
    for side in Side:
        assert (before[side] - it.touch(side)) / before[side] * 1e4 >= 6.0 * 0.45


def test_the_order_at_the_touch_follows_the_position_at_once_too() -> None:
    """Off the grid, next to fair: less inventory takes it back by the skew without delay."""
    config = params(reconcile={"hold_bps": 10, "hold_bps_max": 10, "hold_s": 60})
    it, there = at_position(0.44, config), at_position(0.38, config)
    before = it.touch(Side.SELL)
    it.hold_position(there.position_lots)
    it.settle()
    assert it.touch(Side.SELL) == there.touch(Side.SELL) > before


def test_skew_grows_fill_by_fill_on_the_orders_that_rest() -> None:
    """Real fills of our own orders, not a position set from outside, push both touches down."""
    it = Rig(params(risk={"max_position_usd": 400.0}))
    it.settle()
    start = {side: it.touch(side) for side in Side}
    while it.position_lots < 0.45 * it.q_max_lots():
        nearest = it.side(Side.BUY)[0]
        it.fill(nearest, nearest.sz_lots)
        it.settle()
        it.wait(1)
        it.tell_book()
        it.settle()
    for side in Side:
        assert (start[side] - it.touch(side)) / start[side] * 1e4 >= 6.0 * 0.45


# -- floors, budgets, validity --------------------------------------------------------------------


@STEADY
@given(
    x=st.floats(-1.1, 1.1),
    fair_px=st.sampled_from([9.9997, 10.001, 26.2, 99.995, 100.02, 0.2317]),
    half_touch=st.integers(1, 40),
)
def test_the_ladder_is_valid_and_inside_every_limit(
    x: float, fair_px: float, half_touch: int
) -> None:
    """The strict venue takes every order; floors, distinct prices, budgets and a sweep hold."""
    it = at_position(x, fair_px=fair_px, half_touch_steps=half_touch)
    assert_floors(it)
    allowed = budgets(it)
    for side in Side:
        orders = it.side(side)
        assert len({order.px_ticks for order in orders}) == len(orders)
        assert sum(order.sz_lots for order in orders) <= allowed[side]
        if orders and it.side(side.opposite):
            assert it.touch(Side.BUY) < it.touch(Side.SELL)
        if side * it.position_lots >= 0 and abs(x) < 1:
            swept = abs(it.position_lots) + sum(order.sz_lots for order in orders)
            assert swept <= it.q_max_lots()
    assert not it.events_named("order.dropped")


@STEADY
@given(x=st.floats(-0.9, 0.9), side=st.sampled_from(list(Side)))
def test_a_sweep_of_a_whole_side_in_one_message_stays_inside_the_side_budget(
    x: float, side: Side
) -> None:
    """The first sweep comes before any detector: only what rests bounds it, before and after."""
    it = at_position(x)
    q_max = it.q_max_lots()
    before = it.position_lots
    allowed = budgets(it)[side]
    taken = it.sweep(side)
    assert taken <= allowed
    assert abs(it.position_lots) <= max(q_max, abs(before))
    if side * before < 0:
        overshoot = side * it.position_lots
        assert overshoot <= max(0.2 * q_max - abs(before), 0) + 1e-9
    it.settle()
    for each in Side:
        assert it.engine.orders.exposure_lots(each) <= budgets(it)[each]


def test_filled_reports_ahead_of_the_fills_do_not_free_the_budget() -> None:
    """A side reported filled is still exposure until its fills have moved the position."""
    it = Rig()
    it.settle()
    orders = it.side(Side.BUY)
    fills = [it.fill_event(order, order.sz_lots) for order in orders]
    for order in orders:
        it.finish(order, OrderState.FILLED)
    it.decide()
    assert not it.side(Side.BUY)
    for fill in fills:
        it.apply(fill)
    it.settle()
    assert it.engine.orders.exposure_lots(Side.BUY) <= budgets(it)[Side.BUY]


def test_a_surplus_after_a_fill_elsewhere_is_cancelled_at_once() -> None:
    """A position made by somebody else's order shrinks the budget, and the resting side with it."""
    it = Rig()
    it.settle()
    it.hold_position(round(0.6 * it.q_max_lots()))
    decision = it.decide()
    assert decision.batch is not None
    assert decision.batch.cancels
    assert it.engine.orders.exposure_lots(Side.BUY) <= budgets(it)[Side.BUY]


@pytest.mark.parametrize("capital", [10.0, 15.0, 25.0, 60.0])
def test_little_capital_gives_fewer_rungs_and_never_an_invalid_order(capital: float) -> None:
    """Down to ten dollars; the strict venue refuses nothing."""
    config = params(risk={"capital_usd": capital, "max_position_usd": min(50.0, capital * 5)})
    it = at_position(0.0, config, equity_usd=capital)
    for side in Side:
        assert len(it.side(side)) <= 1
    long = at_position(0.5, config, equity_usd=capital)
    assert long.side(Side.SELL)


@pytest.mark.parametrize("position_lots", [1, 7, 20, 37])
def test_dust_is_closed_by_one_reduce_only_order_of_exactly_its_size(position_lots: int) -> None:
    """A remainder below ten dollars can leave only as a whole; it is resized after each fill."""
    x = position_lots / 190.84
    it = at_position(x, params(risk={"max_position_usd": 50.0}), position_lots=position_lots)
    assert it.position_lots == position_lots
    orders = it.side(Side.SELL)
    assert [(order.sz_lots, order.is_reduce_only) for order in orders] == [(position_lots, True)]
    if position_lots > 1:
        it.fill(orders[0], 1)
        it.settle()
        orders = it.side(Side.SELL)
        assert [order.sz_lots for order in orders] == [position_lots - 1]


@pytest.mark.parametrize("usd", [12.0, 31.0, 150.0])
def test_reducing_mode_offers_exactly_the_position_and_nothing_else(usd: float) -> None:
    """In a soft stop the whole position is for sale, and no more than it."""
    it = Rig()
    lots = int(usd / 26.2 * 100)
    it.hold_position(lots)
    it.settle()
    it.apply(Funding(it.now_ns, it.venue_ms, 1.6))
    it.settle()
    it.wait(5)
    it.tell_book()
    it.settle()
    assert it.engine.mode is Mode.REDUCING
    assert not it.side(Side.BUY)
    total = sum(order.sz_lots for order in it.side(Side.SELL))
    assert lots * 0.6 <= total <= lots


def test_the_reducing_side_always_has_a_quote_while_something_is_held() -> None:
    """In every mode that quotes, from one order's worth upward; within a bp of fair from x 0.45."""
    for x in (0.08, 0.2, 0.45, 0.8, 1.0, 1.24):
        it = at_position(x)
        assert it.side(Side.SELL), x
        if x >= 0.45:
            assert it.depth_bps(Side.SELL) <= 1.0
            assert it.touch(Side.SELL) > it.bid_ticks


# -- the waterfall --------------------------------------------------------------------------------


def _terms(fall: Waterfall) -> float:
    names = [name for name in fall.__struct_fields__ if name.endswith("_bps")]
    names.remove("depth_bps")
    return float(sum(getattr(fall, name) or 0.0 for name in names))


@STEADY
@given(
    x=st.floats(-1.2, 1.2),
    half=st.floats(0.5, 20),
    half_touch=st.integers(1, 60),
    lead_bps=st.none() | st.floats(-9, 9),
)
def test_the_terms_of_every_rung_add_up_to_its_final_depth(
    x: float, half: float, half_touch: int, lead_bps: float | None
) -> None:
    """Nothing acts outside the record: the prices follow from it to 1e-9 bps, clamps included."""
    config = params(quoter={"half_spread_bps_min": half})
    it = at_position(x, config, half_touch_steps=half_touch)
    if lead_bps is not None:
        it.apply(ReferencePx(it.now_ns, it.venue_ms, 26.2))
        it.wait(0.01)
        it.apply(ReferencePx(it.now_ns, it.venue_ms, 26.2 * (1 + lead_bps * 1e-4)))
        it.settle()
    it.wait(1.2)
    if lead_bps is not None:
        it.apply(ReferencePx(it.now_ns, it.venue_ms, 26.2 * (1 + lead_bps * 1e-4)))
    it.tell_book()
    diagnostics = it.engine.decide(it.now_ns).diagnostics
    assert diagnostics is not None
    fair = it.engine.book.fair_ticks
    assert fair is not None
    for nearest in (*diagnostics.bids[:1], *diagnostics.asks[:1]):
        assert nearest.rung_bps == pytest.approx(0.0, abs=1e-9)
    for fall in (*diagnostics.bids, *diagnostics.asks):
        depth = fall.side * (fair - fall.px_ticks) / fair * 1e4
        assert fall.depth_bps == pytest.approx(depth, abs=1e-9)
        assert _terms(fall) == pytest.approx(depth, abs=1e-9)
        assert (fall.reference_bps is None) == (lead_bps is None)
        assert fall.floor_bps >= -1e-9
        assert fall.post_only_bps >= -1e-9
        # Hidden corrections would show here: a grid term is at most its line, plus the hold.
        assert -3.0 - 1e-9 <= fall.grid_bps <= diagnostics.spacing_bps + 3.0
    assert diagnostics.half_bps >= half - 1e-12
    assert (diagnostics.reference_bps is None) == (lead_bps is None)


@pytest.mark.parametrize("lead_bps", [None, 0.0])
def test_nothing_is_shown_as_minus_zero(lead_bps: float | None) -> None:
    """A term that is zero has no sign, and one that is absent is no number at all."""
    it = Rig(params(quoter={"reference_bps_max": 0.0, "reference_stale_s": 5.0}))
    it.settle()
    if lead_bps is not None:
        for px in (26.2, 26.1):
            it.wait(0.1)
            it.apply(ReferencePx(it.now_ns, it.venue_ms, px))
    shown = latest(it)
    assert shown.q_frac == 0
    assert shown.inventory_skew_bps == 0
    assert shown.reference_bps == lead_bps
    falls = (*shown.bids, *shown.asks)
    assert [fall.reference_bps for fall in falls] == [lead_bps] * 6
    for record in (shown, it.engine.summary(), *falls):
        for name in record.__struct_fields__:
            value = getattr(record, name)
            if isinstance(value, float) and value == 0:
                assert copysign(1.0, value) == 1.0, (type(record).__name__, name)


def test_a_fill_at_the_mid_has_an_edge_of_zero_without_a_sign() -> None:
    """The notes are shown as they are."""
    it = Rig()
    it.settle()
    it.hold_position(-40)
    it.decide()
    edge = it.events_named("fill.booked")[-1].facts["edge_bps"]
    assert isinstance(edge, float)
    assert edge == 0
    assert copysign(1.0, edge) == 1.0


def test_diagnostics_come_with_every_change_and_at_least_once_a_second() -> None:
    """A post-mortem needs the numbers behind every order and a heartbeat between them."""
    it = Rig()
    decision = it.decide()
    assert decision.batch is not None
    assert decision.diagnostics is not None
    silent = 0
    last_ns = it.now_ns
    changed = 0
    for i in range(60):
        it.wait(0.1)
        it.set_fair(26.2 + 0.01 * (i // 20))
        it.tell_book()
        decision = it.decide()
        if decision.diagnostics is None:
            silent += 1
            assert decision.batch is None
            assert it.now_ns - last_ns < NS_PER_S
        else:
            last_ns = it.now_ns
            changed += decision.batch is not None
    assert silent > 20
    assert changed >= 2


def test_a_reference_lead_moves_both_quotes_by_at_most_five_bps_and_expires() -> None:
    """The other market is followed, in bounds, for a second; its usual premium moves nothing."""
    it = Rig(params(reconcile={"hold_bps": 0, "hold_bps_max": 0}))
    it.settle()
    base = {side: it.touch(side) for side in Side}
    premium = 26.2 * 1.002
    it.apply(ReferencePx(it.now_ns, it.venue_ms, premium))
    it.settle()
    assert {side: it.touch(side) for side in Side} == base
    it.wait(0.2)
    it.apply(ReferencePx(it.now_ns, it.venue_ms, premium * 1.003))
    it.settle()
    for side in Side:
        moved = (it.touch(side) - base[side]) / base[side] * 1e4
        assert 2.9 <= moved <= 7.1
    # The lead would bring the bid inside the floor: clamped, not dropped, not taken away.
    assert_floors(it)
    assert len(it.side(Side.BUY)) == 3
    assert not it.events_named("order.dropped")
    diagnostics = it.engine.decide(it.now_ns + 999 * NS_PER_MS).diagnostics
    assert diagnostics is None or diagnostics.reference_bps == 5.0
    it.wait(1.1)
    it.tell_book()
    assert latest(it).reference_bps is None
    assert {side: it.touch(side) for side in Side} == base


# -- the grid -------------------------------------------------------------------------------------


def test_a_grid_step_of_the_market_costs_one_move_a_side() -> None:
    """The ladder rolls: one order of each side crosses over, the others keep their place."""
    it = Rig(params(reconcile={"hold_bps": 0, "hold_bps_max": 0}, quoter={"drift_x_max": 0}))
    it.settle()
    spacing = it.side(Side.BUY)[0].px_ticks - it.side(Side.BUY)[1].px_ticks
    px = 26.2
    for direction in (1, 1, -1, 1, -1, -1):
        px += direction * spacing / 10_000
        before = {order.cloid: order.px_ticks for order in it.resting.values()}
        it.wait(2)
        it.set_fair(px)
        it.tell_book()
        decision = it.decide()
        batch = decision.batch
        assert batch is not None
        assert (len(batch.cancels), len(batch.places)) == (0, 0)
        assert sorted(move.side for move in batch.moves) == [Side.SELL, Side.BUY]
        for move in batch.moves:
            others = [px for cloid, px in before.items() if it.resting[cloid].side is move.side]
            farthest = min(others) if move.side is Side.BUY else max(others)
            nearest = max(others) if move.side is Side.BUY else min(others)
            is_inward = move.side == direction
            assert before[move.cloid] == (farthest if is_inward else nearest)
        assert it.engine.decide(it.now_ns).batch is None


def test_a_market_that_trembles_about_a_line_moves_nothing() -> None:
    """Hysteresis: half the hold to and fro costs no request at all."""
    it = Rig()
    it.settle()
    it.wait(30)
    it.tell_book()
    it.settle()
    sent = it.requests
    for i in range(60):
        it.wait(0.05)
        it.set_fair(26.2 if i % 2 else 26.2006)
        it.tell_book()
        it.decide()
    assert it.requests == sent


def test_an_order_that_the_market_approaches_inside_its_floor_is_cancelled_first() -> None:
    """A jump of six bps towards the asks: what is now too near goes, whatever requests cost."""
    it = Rig(requests_cap=250)
    it.settle()
    it.wait(1)
    it.set_fair(26.2 * 1.0006)
    it.tell_book()
    it.engine.apply(RequestsLeft(it.now_ns, 240, 250))
    decision = it.engine.decide(it.now_ns)
    assert decision.batch is not None
    assert decision.batch.cancels
    assert not decision.batch.places
    it.execute(decision.batch)
    assert_floors(it)


def test_time_inside_the_floor_is_counted_until_the_cancel_is_confirmed() -> None:
    """The honest price of latency: from the frame that showed it to the venue's answer."""
    it = Rig()
    it.settle()
    it.wait(1)
    it.set_fair(26.2 * 1.0006)
    it.tell_book()
    it.is_holding_answers = True
    it.decide()
    it.wait(0.3)
    it.is_holding_answers = False
    held, it.held = it.held, []
    for event in held:
        it.apply(msgspec.structs.replace(event, recv_ns=it.now_ns))
    it.wait(5)
    it.decide()
    assert it.engine.summary().inside_floor_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("low", "high", "decimals"), [(9.96, 10.04, 2), (99.6, 100.4, 2), (0.0997, 0.1003, 0)]
)
def test_the_ladder_stays_valid_across_a_power_of_ten(
    low: float, high: float, decimals: int
) -> None:
    """The price step changes tenfold there; the strict venue checks every order on the way."""
    coin = Instrument(coin="X", asset_id=1, sz_decimals=decimals, max_leverage=10)
    it = Rig(instrument=coin, fair_px=low)
    it.settle()
    for i in range(121):
        k = i if i <= 60 else 120 - i
        it.wait(3)
        it.set_fair(low + (high - low) * k / 60)
        it.run_over()
        it.tell_book()
        it.settle()
        assert_floors(it)
        assert it.side(Side.BUY)
        assert it.side(Side.SELL)
    assert not it.events_named("order.dropped")


def test_the_grid_spacing_does_not_flap_with_volatility() -> None:
    """A ladder laid anew costs every order; it happens on a large change of volatility only."""
    it = Rig()
    it.settle()
    seen = set()
    rng = random.Random(5)
    px = 26.2
    for _ in range(400):
        px *= 1 + rng.gauss(0, 1.0) * 1e-4
        it.move_to(px)
        it.wait(0.9)
        it.decide()
        seen.add(round(latest_spacing(it) / 26.2 * 1e4 / 1e4, 1))
    assert len(seen) <= 2


def latest_spacing(it: Rig) -> float:
    return it.engine._ladder.spacing_ticks


# -- requests -------------------------------------------------------------------------------------


def _random_walk(it: Rig, seconds: int, seed: int) -> tuple[int, list[float]]:
    """Walk the market for a while; times without a side, and mean depth of the touches."""
    rng = random.Random(seed)
    px, one_sided = 26.2, 0
    depths: list[float] = []
    for _ in range(seconds * 2):
        px *= 1 + rng.gauss(0, 0.9) * 1e-4 * 0.7
        it.wait(0.5)
        it.set_fair(px)
        it.tell_book()
        it.settle()
        one_sided += not (it.side(Side.BUY) and it.side(Side.SELL))
        depths.extend(it.depth_bps(side) for side in Side if it.side(side))
    return one_sided, depths


def test_scarce_requests_are_spent_slowly_at_the_same_width_and_on_both_sides() -> None:
    """A twentieth of the requests left: fewer changes, two sides, the same width, a bounded lag."""
    still = params(quoter={"drift_x_max": 0})
    rich, poor = Rig(still, requests_cap=1_000_000), Rig(still, requests_cap=500)
    _, rich_depths = _random_walk(rich, 300, 7)
    one_sided, poor_depths = _random_walk(poor, 300, 7)
    assert poor.requests < rich.requests / 2
    assert poor.requests < 150
    assert one_sided == 0
    mean_rich = sum(rich_depths) / len(rich_depths)
    mean_poor = sum(poor_depths) / len(poor_depths)
    assert mean_poor < mean_rich + 2.5
    assert latest(poor).half_bps == latest(rich).half_bps


def test_a_fill_pays_for_the_changes_it_calls_for() -> None:
    """A dollar traded earns a request: with an empty bucket a fill is still answered at once."""
    it = Rig(requests_cap=9_000)
    it.settle()
    it.wait(0.5)
    it.engine._reconciler.requests.tokens = 0.0
    it.set_fair(26.21)
    it.tell_book()
    assert it.decide().batch is None
    it.fill(it.side(Side.BUY)[0], it.side(Side.BUY)[0].sz_lots)
    batch = it.decide().batch
    assert batch is not None
    assert batch.places
    assert batch.moves


def test_cancels_go_out_when_every_request_is_spent() -> None:
    """The reserve is for them: a stop with nothing left still cancels all."""
    it = Rig()
    it.settle()
    it.apply(RequestsLeft(it.now_ns, 10_000, 10_000))
    it.wait(0.1)
    it.set_fair(26.25)
    it.tell_book()
    decision = it.decide()
    assert decision.batch is None or not (decision.batch.places or decision.batch.moves)
    it.apply(Command(it.now_ns, CommandKind.STOP, "SIGINT"))
    it.decide()
    assert not it.resting


def test_a_post_only_refusal_is_priced_again_from_a_newer_book_only() -> None:
    """Otherwise the same order would be refused at the speed of the network."""
    it = Rig()
    it.fault = Fault.REFUSED
    it.decide()
    assert not it.resting
    assert len(it.events_named("order.rejected")) == 0
    assert it.decide().batch is None
    assert len(it.events_named("order.rejected")) == 6
    it.wait(0.1)
    it.tell_book()
    it.settle()
    assert len(it.resting) == 6


def test_one_refused_rung_does_not_start_a_reject_loop_though_its_neighbours_rest() -> None:
    """Acknowledged neighbours of the same batch say nothing about the refused price."""
    it = Rig()
    decision = it.engine.decide(it.now_ns)
    assert decision.batch is not None
    first, *others = [place for place in decision.batch.places if place.side is Side.BUY]
    it.apply(Rejected(it.now_ns, Request.PLACE, first.cloid, Rejection.POST_ONLY, "Post only"))
    for place in others:
        it.oid += 1
        it.apply(_acked(it, place.cloid))
    again = it.engine.decide(it.now_ns).batch
    assert again is None
    it.wait(0.05)
    it.tell_book()
    again = it.engine.decide(it.now_ns).batch
    assert again is not None
    assert [place.px_ticks for place in again.places] == [first.px_ticks]


def _acked(it: Rig, cloid: int) -> Event:
    from mmbot.core.events import Acked

    return Acked(it.now_ns, Request.PLACE, cloid, it.oid)


@pytest.mark.parametrize("reason", [Rejection.MARGIN, Rejection.POST_ONLY_WINDOW])
def test_a_refusal_that_no_price_cures_pauses_the_side_longer_each_time(
    reason: Rejection,
) -> None:
    """Doubling from two seconds; the other side goes on."""
    it = Rig()
    pauses = []
    for _ in range(3):
        decision = it.engine.decide(it.now_ns)
        while decision.batch is None or not any(p.side is Side.BUY for p in decision.batch.places):
            wake = it.engine.wake_at_ns()
            assert wake is not None
            it.now_ns = max(wake, it.now_ns + 1)
            it.tell_book()
            decision = it.engine.decide(it.now_ns)
        refused_ns = it.now_ns
        bids = [place for place in decision.batch.places if place.side is Side.BUY]
        for place in bids[:1]:
            it.apply(Rejected(it.now_ns, Request.PLACE, place.cloid, reason, reason.value))
        for place in bids[1:]:
            it.apply(Rejected(it.now_ns, Request.PLACE, place.cloid, Rejection.GONE, "x"))
        while True:
            it.wait(0.25)
            it.tell_book()
            batch = it.engine.decide(it.now_ns).batch
            if batch is not None and any(p.side is Side.BUY for p in batch.places):
                break
        pauses.append((it.now_ns - refused_ns) / NS_PER_S)
        for place in batch.places:
            it.apply(Rejected(it.now_ns, Request.PLACE, place.cloid, Rejection.GONE, "x"))
    assert pauses == [2.0, 4.0, 8.0]


# -- losses ---------------------------------------------------------------------------------------


def _equity_path(it: Rig, path_usd: list[float]) -> list[Decision]:
    """Lead the account's profit through `path_usd` by moving the market under a fixed position."""
    lots = it.position_lots
    decisions = []
    base = it.engine.position.pnl_usd((it.bid_ticks + it.ask_ticks) / 2)
    base_mid = (it.bid_ticks + it.ask_ticks) / 2
    for target in path_usd:
        mid = base_mid + (target - base) * 1e6 / lots
        # The mark of the start would be the lower valuation until it is stale.
        it.wait(11)
        half = 10
        it.apply(
            Bbo(
                it.now_ns,
                it.venue_ms,
                Level(round(mid - half), 10),
                Level(round(mid + half), 10),
            )
        )
        decisions.append(it.engine.decide(it.now_ns))
    return decisions


def held(lots: int = 1000, **risk: object) -> Rig:
    """An engine that holds a position and quotes nothing, so that only the market moves equity."""
    it = Rig(params(risk={"max_position_usd": 500.0, "soft_limit_frac": 0.03, **risk}))
    it.hold_position(lots)
    return it


@pytest.mark.parametrize(
    ("path", "trigger"),
    [
        ([-0.5, -1.0, -2.0, -2.99], None),
        ([-0.5, -1.0, -2.0, -3.0], "session_loss"),
        ([-0.5, -1.0, -2.0, -3.01], "session_loss"),
        ([0.02, -0.02, 0.05, -0.05], None),
        ([5.0, 4.0, 1.86], None),
        ([5.0, 4.0, 1.85], "drawdown"),
        ([5.0, 4.0, 1.84], "drawdown"),
        ([0.0, 0.0, -3.0], "session_loss"),
        ([0.2, 0.41, 0.1, -0.9, -1.6], None),
    ],
)
def test_losses_trip_exactly_at_their_limits(path: list[float], trigger: str | None) -> None:
    """Monotone loss, gain then loss, a session at zero: at the limit and one cent off it."""
    it = held()
    kills = [decision.kill for decision in _equity_path(it, path)]
    assert [kill is not None for kill in kills[:-1]] == [False] * (len(path) - 1)
    last = kills[-1]
    assert (last.trigger if last else None) == trigger
    if last is not None:
        assert it.engine.mode is Mode.HALTED
        assert last.value >= last.limit - 1e-9
        assert last.unit == "USD"


def test_an_inherited_position_starts_a_session_at_zero() -> None:
    """Yesterday's loss is not today's: profit counts from the mark at the start."""
    it = Rig(params(risk={"max_position_usd": 500.0}), position_lots=-800)
    it.settle()
    assert it.engine.summary().pnl_usd == pytest.approx(0.0, abs=1e-12)
    assert it.engine.decide(it.now_ns).kill is None
    kills = [decision.kill for decision in _equity_path(it, [-1.0, -2.99, -3.0])]
    assert [kill is not None for kill in kills] == [False, False, True]


def test_an_inherited_position_above_the_limit_is_only_reduced() -> None:
    """Found, not made: REDUCING from the first decision, and back at 95 % of the limit."""
    it = Rig(position_lots=900)
    assert it.settle().status.mode is Mode.REDUCING
    assert not it.side(Side.BUY)
    assert it.side(Side.SELL)
    it.hold_position(int(0.94 * it.q_max_lots()))
    assert it.settle().status.mode is Mode.RUNNING


def test_equity_is_taken_at_the_lower_of_mid_and_mark() -> None:
    """A mark that lags in our favour hides nothing, and one against us counts as long as fresh."""
    it = held()
    px = it.instrument.px((it.bid_ticks + it.ask_ticks) / 2)
    it.apply(AssetCtx(it.now_ns, px - 0.3001, px, 0.0, 0.0))
    kill = it.engine.decide(it.now_ns).kill
    assert kill is not None
    assert kill.trigger == "session_loss"


def test_a_mark_in_our_favour_hides_no_loss() -> None:
    """The venue's mark lags: the mid has fallen by the limit, and that counts."""
    it = held()
    px = it.instrument.px((it.bid_ticks + it.ask_ticks) / 2)
    it.apply(AssetCtx(it.now_ns, px + 1.0, px, 0.0, 0.0))
    it.wait(0.1)
    it.apply(Bbo(it.now_ns, it.venue_ms, Level(258_990, 5), Level(259_010, 5)))
    kill = it.engine.decide(it.now_ns).kill
    assert kill is not None
    assert kill.value == pytest.approx(3.0)


def test_a_stale_mark_values_nothing() -> None:
    """A context stream that died must neither kill nor save the session."""
    it = held()
    it.wait(11)
    kills = [decision.kill for decision in _equity_path(it, [3.0, 3.1])]
    assert kills == [None, None]
    assert it.engine.risk.equity_usd == pytest.approx(103.1, abs=0.011)


def test_a_soft_loss_reduces_and_recovery_resumes() -> None:
    """At 1.5 % only the reducing side is quoted, until 1 %; the switch itself is not touched."""
    it = Rig(params(risk={"max_position_usd": 500.0}))
    it.hold_position(1000)
    modes = [decision.status.mode for decision in _equity_path(it, [-1.0, -1.49, -1.5, -1.2, -1.0])]
    assert modes == [Mode.RUNNING, Mode.RUNNING, Mode.REDUCING, Mode.REDUCING, Mode.RUNNING]


def test_a_soft_stop_ends_by_time_and_counts_anew_from_there() -> None:
    """A flat account cannot recover by itself; the hard limits keep counting from the start."""
    it = Rig(params(risk={"max_position_usd": 500.0, "soft_s_max": 60}))
    it.hold_position(1000)
    assert _equity_path(it, [-1.6])[-1].status.mode is Mode.REDUCING
    for _ in range(61):
        decision = _equity_path_hold(it)
    assert decision.status.mode is Mode.RUNNING
    assert it.engine.risk.start_usd == 100.0


def _equity_path_hold(it: Rig) -> Decision:
    it.wait(1)
    bid, ask = it.engine.book.bid, it.engine.book.ask
    it.apply(Bbo(it.now_ns, it.venue_ms, bid, ask))
    return it.engine.decide(it.now_ns)


@STEADY
@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=60))
def test_a_session_trips_if_and_only_if_a_limit_was_met(steps: list[float]) -> None:
    """No path that loses the limit escapes, whatever its peak; none that never does is stopped."""
    it = held()
    peak = equity = 100.0
    expected = False
    pnl = 0.0
    for step in steps:
        pnl = round(pnl + step, 2)
        decision = _equity_path_step(it, pnl)
        equity = it.engine.risk.start_usd + min(
            it.engine.position.pnl_usd(it.engine.book.last_mid_ticks or 0.0), 1e9
        )
        peak = max(peak, equity)
        expected = expected or 100 - equity >= 3 - 1e-9 or peak - equity >= 0.03 * peak - 1e-9
        assert (decision.kill is not None) == expected
        if expected:
            return


def _equity_path_step(it: Rig, pnl: float) -> Decision:
    mid = 262_000 + pnl * 1e6 / it.position_lots
    it.wait(11)
    it.apply(Bbo(it.now_ns, it.venue_ms, Level(round(mid) - 10, 10), Level(round(mid) + 10, 10)))
    return it.engine.decide(it.now_ns)


# -- identity, idempotence, determinism -----------------------------------------------------------


def test_the_summary_adds_up_and_keeps_its_signs() -> None:
    """Total = realised + unrealised - fees + funding; funding received counts up."""
    it = Rig()
    it.settle()
    bid = it.side(Side.BUY)[0]
    it.fill(bid, bid.sz_lots)
    it.wait(1)
    it.tell_book()
    it.settle()
    ask = it.side(Side.SELL)[0]
    it.fill(ask, ask.sz_lots // 2)
    it.apply(Funding(it.now_ns, it.venue_ms, 0.01))
    it.apply(Funding(it.now_ns, it.venue_ms, 0.01))
    summary = it.engine.summary()
    assert summary.fills == 2
    assert summary.funding_usd == pytest.approx(-0.01)
    assert summary.fees_usd > 0
    assert summary.spread_capture_usd > 0
    total = summary.realised_usd + summary.unrealised_usd - summary.fees_usd + summary.funding_usd
    assert summary.pnl_usd == pytest.approx(total, abs=1e-12)
    assert summary.bought_sz - summary.sold_sz == pytest.approx(summary.position_sz)
    assert summary.skew_at_max_inventory_bps < 0
    assert summary.touch_bid_at_max_inventory_bps is not None
    assert summary.touch_ask_at_max_inventory_bps is not None
    # Long: the bid stood away by the skew, the ask came in by it.
    assert summary.touch_bid_at_max_inventory_bps > summary.touch_ask_at_max_inventory_bps
    assert summary.touch_ask_at_end_bps is not None
    assert summary.resting_orders == len(it.resting)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "move",
                "move",
                "jump",
                "fill",
                "part",
                "sweep",
                "wait",
                "hold",
                "release",
                "lose",
                "refuse",
                "glitch",
                "relink",
                "ghost",
                "ctx",
            ]
        ),
        st.integers(0, 10_000),
    ),
    min_size=5,
    max_size=60,
)


def play(actions: list[tuple[str, int]], it: Rig) -> None:
    """Drive an engine through weather: whatever happens, every invariant holds after each step."""
    for name, n in actions:
        rng = random.Random(n)
        side = Side.BUY if n % 2 else Side.SELL
        it.wait(0.05 + (n % 7) * 0.1)
        mid = it.instrument.px((it.bid_ticks + it.ask_ticks) / 2)
        if name == "move":
            it.set_fair(mid * (1 + rng.gauss(0, 1.5) * 1e-4))
            it.run_over()
        elif name == "jump":
            it.set_fair(mid * (1 + rng.gauss(0, 12) * 1e-4))
            it.run_over()
        elif name in ("fill", "part") and it.side(side):
            order = it.side(side)[0]
            it.fill(order, order.sz_lots if name == "fill" else 1 + n % order.sz_lots)
        elif name == "sweep":
            it.sweep(side)
        elif name == "wait":
            it.wait(rng.choice([0.5, 2.0, 4.0]))
        elif name == "hold":
            it.is_holding_answers = True
        elif name == "release":
            it.is_holding_answers = False
            rng.shuffle(it.held)
            it.release()
        elif name == "lose":
            it.fault = Fault.LOST_AFTER if n % 2 else Fault.LOST_BEFORE
        elif name == "refuse":
            it.fault = Fault.REFUSED if n % 2 else Fault.REFUSED_OLD_GONE
        elif name == "glitch":
            level = Level(it.bid_ticks, 5)
            it.apply(Bbo(it.now_ns, it.venue_ms, level, level if n % 3 else None))
            it.decide()
        elif name == "relink":
            relink(it)
        elif name == "ghost":
            it.hold_position(it.position_lots + rng.randint(-40, 40))
        elif name == "ctx":
            it.apply(AssetCtx(it.now_ns, mid, mid, 0.0, 0.0))
        it.tell_book()
        it.decide()
        check(it)


def relink(it: Rig) -> None:
    it.apply(LinkLost(it.now_ns, "reset"))
    it.decide()
    it.is_holding_answers = False
    it.release()
    it.decide()
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    it.wait(0.1)
    it.apply(it.snapshot())


def check(it: Rig) -> None:
    """Invariants that hold with requests in flight and reports in any order."""
    engine = it.engine
    if not it.held:
        assert engine.position.lots == it.position_lots
    for order in it.resting.values():
        slot = engine.orders.slots.get(order.cloid)
        assert slot is not None, f"an order without an owner: {order}"
    limits, fair = engine.limits, engine.book.fair_ticks
    assert limits is not None
    if fair is None:
        return
    q_max = limits.q_max_lots(fair)
    for side in Side:
        resting = sum(order.sz_lots for order in it.side(side))
        known = engine.orders.exposure_lots(side)
        assert resting <= known or it.held
        if side * engine.position.lots >= 0 and abs(engine.position.lots) < 0.8 * q_max:
            # A jump of the price shrinks the limit under what rests; otherwise the sweep fits.
            assert abs(engine.position.lots) + known <= q_max * 1.03


@settings(
    max_examples=often(50, thoroughly=150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(ACTIONS)
def test_any_weather_leaves_a_table_that_agrees_with_the_venue(
    actions: list[tuple[str, int]],
) -> None:
    """Lost answers, refusals, fills before acks, reconnects: in the calm, table equals venue."""
    it = Rig(params(risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5}))
    it.settle()
    play(actions, it)
    it.is_holding_answers, it.fault = False, None
    it.release()
    for _ in range(12):
        it.wait(6)
        it.tell_book()
        it.decide()
    it.settle()
    slots = it.engine.orders.slots
    assert {cloid: (o.px_ticks, o.sz_lots) for cloid, o in it.resting.items()} == {
        cloid: (slot.px_ticks, slot.rest_lots) for cloid, slot in slots.items()
    }
    assert all(slot.state is SlotState.WORKING for slot in slots.values())
    assert it.engine.position.lots == it.position_lots
    assert_floors(it)


@settings(
    max_examples=often(25, thoroughly=60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(ACTIONS)
def test_every_event_twice_changes_nothing_and_a_run_repeats_itself(
    actions: list[tuple[str, int]],
) -> None:
    """Idempotence and determinism, bit for bit, of one tape played once, again and doubled."""
    it = Rig(params(risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5}))
    it.settle()
    play(actions, it)
    first = _replay(it.tape, times=1)
    again = _replay(it.tape, times=1)
    doubled = _replay(it.tape, times=2)
    assert first == again
    assert first == doubled


def _replay(tape: list[Event | int], *, times: int) -> list[str]:
    """Batches, modes and prices behind them of a fresh engine on a tape."""
    config = params(risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5})
    engine = Engine(config, HYPE, cloid_prefix=PREFIX)
    lines: list[str] = []
    for item in tape:
        if isinstance(item, int):
            decision = engine.decide(item)
            lines.append(f"{item} {decision.batch} {decision.status} {decision.queries}")
        else:
            for _ in range(times):
                engine.apply(item)
    summary = msgspec.structs.asdict(engine.summary())
    lines.append(str(summary))
    return lines


def test_a_public_trade_changes_nothing_here() -> None:
    """Trades are recorded for estimators of a later stage; they must not disturb this one."""
    it = Rig()
    it.settle()
    ms = it.venue_ms
    it.apply(Trades(it.now_ns, ms, (ms,), (Side.BUY,), (262010,), (5,), (1,)))
    assert it.decide().batch is None


def test_fills_are_noted_with_their_facts() -> None:
    """The log line of a fill carries what a post-mortem needs."""
    it = Rig()
    it.settle()
    order = it.side(Side.BUY)[0]
    it.fill(order, order.sz_lots)
    it.decide()
    (note,) = it.events_named("fill.booked")
    assert note.level == "info"
    assert note.facts["side"] == "buy"
    assert note.facts["sz"] == pytest.approx(it.instrument.sz(order.orig_lots))
    assert note.facts["position_sz"] == note.facts["sz"]
    assert note.facts["cloid"] == f"{order.cloid:#034x}"
    assert note.facts["tid"] == it.tid


def test_waking_up_at_every_wake_time_is_enough() -> None:
    """Between wake times a decision without an event never changes an order."""
    it = Rig(params(reconcile={"hold_s": 0.3, "hold_s_max": 0.3, "hold_bps": 2}))
    it.settle()
    rng = random.Random(11)
    px = 26.2
    expired = 0
    for _ in range(300):
        px *= 1 + rng.gauss(0, 2) * 1e-4
        it.wait(0.4)
        it.set_fair(px)
        it.run_over()
        it.tell_book()
        it.settle()
        wake = it.engine.wake_at_ns()
        assert wake is not None
        assert wake > it.now_ns
        for part in (0.3, 0.7, 0.999):
            probe_ns = it.now_ns + int((wake - it.now_ns) * part)
            assert it.engine.decide(probe_ns).batch is None
        it.now_ns = wake
        expired += it.decide().batch is not None
    assert expired > 10


def test_the_end_of_a_pause_is_a_wake_time() -> None:
    """Nothing else would bring the side back on a quiet market."""
    it = Rig(params(risk={"stale_pull_s": 30}, reconcile={"backoff_s": 1.37}))
    first = it.engine.decide(it.now_ns).batch
    assert first is not None
    for place in first.places:
        it.apply(Rejected(it.now_ns, Request.PLACE, place.cloid, Rejection.MARGIN, "margin"))
    end_ns = it.now_ns + round(2 * 32 * NS_PER_S)
    placed_ns = None
    while it.now_ns < end_ns and placed_ns is None:
        decision = it.engine.decide(it.now_ns)
        if decision.batch is not None:
            placed_ns = it.now_ns
        wake = it.engine.wake_at_ns()
        assert wake is not None
        it.now_ns = wake
    # Three refusals a side in one batch are one refusal.
    assert placed_ns == T0_NS + 20 * NS_PER_MS + 1370 * NS_PER_MS


def test_the_wake_up_is_that_of_the_decision_however_late_it_is_asked_for() -> None:
    """It is worked out after the orders have left; events folded meanwhile must not reach it."""
    it = Rig(params(reconcile={"backoff_s": 0.5}))
    it.is_holding_answers = True
    it.decide()
    (place, *_) = it.batches[-1].places
    at_once, late = (
        Engine(params(reconcile={"backoff_s": 0.5}), it.instrument, cloid_prefix=PREFIX)
        for _ in range(2)
    )
    for engine in (at_once, late):
        for item in it.tape:
            if isinstance(item, int):
                engine.decide(item)
            else:
                engine.apply(item)
    wake = at_once.wake_at_ns()
    late.apply(Rejected(it.now_ns, Request.PLACE, place.cloid, Rejection.BUDGET, "too many"))
    assert late.wake_at_ns() == wake
    # The refusal sets a time of its own, which belongs to the next decision.
    late.decide(it.now_ns)
    assert late.wake_at_ns() == it.now_ns + NS_PER_S // 2 != wake
