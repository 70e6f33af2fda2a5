"""
The invariants of the model notes, section 6, on the orders that leave the engine.

The market that the quoter sees is drawn freely, every optional estimate present or absent; prices,
sizes and limits are read off the venue's book. Invariants of single parts stand with those parts:
`ELSEWHERE` says where, and that they are there.
"""

from __future__ import annotations

import importlib
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.rig import Rig, params
from core.views import CALM, CALM_CASCADE, CALM_STANCE
from mmbot.core.engine import EngineParams
from mmbot.core.estimators.drift import DriftView
from mmbot.core.quoter import MarketView
from mmbot.core.stance import Action, ResponseMode
from mmbot.core.types import Mode, Side, notional_usd
from support import often

MANY = settings(
    max_examples=often(50, thoroughly=150),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
WIDE = params(
    risk={
        "max_position_usd": 500.0,
        "side_budget_frac": 0.25,
        "soft_limit_frac": 0.5,
        "loss_limit_frac": 0.5,
        "drawdown_limit_frac": 0.5,
    }
)
GRID_BPS = 4.0
"""What the grid and its hysteresis may hide of a shift: a line and half of the next."""

ELSEWHERE = {
    3: "core.test_engine:test_more_inventory_never_brings_the_bid_nearer_nor_the_ask_farther",
    4: "core.test_quoter:test_the_shift_is_antisymmetric_and_monotone_in_inventory",
    6: "core.test_engine:test_no_accepted_configuration_switches_the_skew_off",
    9: "core.test_stance:test_wherever_it_is_urgent_the_answer_is_a_fifth_to_a_half_of_the_trend",
    10: "core.test_quoter:test_the_answer_does_not_depend_on_the_base_skew",
    20: "core.estimators.test_cascade:test_one_more_fill_of_a_sweep_never_brings_its_side_nearer",
    21: "core.estimators.test_cascade:test_without_events_it_only_fades",
    23: "core.test_quoter:test_units_do_not_matter_to_a_quote_in_bps",
    24: "core.test_glft:test_half_spread_tends_to_inverse_decay_without_risk_aversion",
    25: "core.test_glft_exact:"
    "test_the_closed_form_is_within_one_percent_a_third_of_the_way_to_the_limit",
    26: "core.test_glft:test_the_closed_form_equals_its_published_and_high_precision_vectors",
    27: "runtime.test_lab_avellaneda:test_twenty_thousand_paths_agree_within_four_standard_errors",
    31: "core.test_signals:test_our_own_fills_are_no_trend",
    32: "core.test_engine:test_every_event_twice_changes_nothing_and_a_run_repeats_itself",
    33: "core.test_engine:test_every_event_twice_changes_nothing_and_a_run_repeats_itself",
    34: "core.test_engine:test_the_ladder_is_valid_and_inside_every_limit",
    36: "core.test_engine:test_losses_trip_exactly_at_their_limits",
    37: "core.test_engine:test_a_session_trips_if_and_only_if_a_limit_was_met",
}


@pytest.mark.parametrize("number", sorted(ELSEWHERE))
def test_an_invariant_that_stands_elsewhere_is_there(number: int) -> None:
    """A renamed or deleted test must not take its invariant along."""
    module, name = ELSEWHERE[number].split(":")
    assert callable(getattr(importlib.import_module(module), name))


# -- states ----------------------------------------------------------------------------------------


class State(msgspec.Struct, frozen=True):
    """A position in a market."""

    x: float
    market: MarketView
    fair_px: float = 26.2
    half_touch_steps: int = 1

    def mirrored(self) -> State:
        """Long for short, up for down."""
        it = self.market
        stance, cascade = it.stance, it.cascade
        drift = it.drift
        return msgspec.structs.replace(
            self,
            x=-self.x,
            market=msgspec.structs.replace(
                it,
                stance=stance._replace(
                    response_bps=None if stance.response_bps is None else -stance.response_bps
                ),
                cascade=msgspec.structs.replace(
                    cascade,
                    bid_bps=cascade.ask_bps,
                    ask_bps=cascade.bid_bps,
                    danger_up=cascade.danger_down,
                    danger_down=cascade.danger_up,
                    pulls_bid=cascade.pulls_ask,
                    pulls_ask=cascade.pulls_bid,
                ),
                drift=None
                if drift is None
                else drift._replace(mean_bps_per_s=-drift.mean_bps_per_s),
                funding_bps_per_h=None if it.funding_bps_per_h is None else -it.funding_bps_per_h,
                reference_bps=None if it.reference_bps is None else -it.reference_bps,
            ),
        )

    def rest(self, engine_params: EngineParams = WIDE, **rig: Any) -> Rig:
        """An engine in this state with its orders at rest."""
        q_max_lots = 500e6 / (self.fair_px * 1e4)
        lots = round(self.x * q_max_lots)
        it = Rig(
            engine_params,
            position_lots=lots,
            fair_px=self.fair_px,
            half_touch_steps=self.half_touch_steps,
            **rig,
        )
        market = self.market
        it.engine.signals.view = lambda *_, **__: market  # type: ignore[method-assign]
        it.wait(1.0)
        it.tell_book()
        it.settle()
        return it


def drift(mean: float) -> DriftView:
    """A drift without mean reversion."""
    return DriftView(mean_bps_per_s=mean, sd_bps_per_s=0.02, nis_mean=1.0, tau_s=None)


@st.composite
def states(draw: st.DrawFn, x: st.SearchStrategy[float] | None = None) -> State:
    """Any position in any market that the estimators can report."""
    held = draw(x if x is not None else st.floats(-0.95, 0.95))
    is_opposed = draw(st.booleans()) and abs(held) > 0.05
    response = None
    if draw(st.booleans()):
        response = -draw(st.floats(0, 15)) * (1 if held > 0 else -1) if is_opposed else 0.0
    burst = draw(st.floats(0, 20))
    stance = CALM_STANCE._replace(
        is_opposed=is_opposed,
        urgency=draw(st.floats(0, 4)) if is_opposed else 0.0,
        action=draw(st.sampled_from(Action)),
        response_bps=response,
        mode=draw(st.sampled_from(ResponseMode)),
        fade=draw(st.floats(0, 1)) if is_opposed else 0.0,
    )
    cascade = msgspec.structs.replace(
        CALM_CASCADE,
        bid_bps=burst if held >= 0 and draw(st.booleans()) else 0.0,
        ask_bps=burst if held <= 0 and draw(st.booleans()) else 0.0,
    )
    return State(
        held,
        msgspec.structs.replace(
            CALM,
            vol_bps_rt_s=draw(st.floats(0.05, 8)),
            a_per_s=draw(st.floats(0.02, 1)),
            k_per_bp=draw(st.floats(0.1, 1.5)),
            a0_bps=draw(st.floats(0, 6)),
            a1=draw(st.floats(0, 0.6)),
            drift=draw(st.none() | st.floats(-0.2, 0.2).map(drift)),
            stance=stance,
            cascade=cascade,
            funding_bps_per_h=draw(st.none() | st.floats(-3, 3)),
            reference_bps=draw(st.none() | st.floats(-5, 5)),
        ),
        fair_px=draw(st.sampled_from([26.2, 26.25, 26.3])),
        half_touch_steps=draw(st.integers(1, 12)),
    )


def growing(x: float) -> tuple[Side, ...]:
    """Sides that would add to the position."""
    if not x:
        return (Side.BUY, Side.SELL)
    return (Side.BUY,) if x > 0 else (Side.SELL,)


# -- symmetry --------------------------------------------------------------------------------------


@MANY
@given(state=states())
def test_invariant_01_a_mirrored_state_has_the_mirrored_orders(state: State) -> None:
    """Exactly, to the tick and the lot: bulls and bears are treated alike."""
    one, other = state.rest(), state.mirrored().rest()
    centre = one.bid_ticks + one.ask_ticks
    for side in Side:
        mine = [(o.px_ticks, o.sz_lots, o.is_reduce_only) for o in one.side(side)]
        theirs = [
            (centre - o.px_ticks, o.sz_lots, o.is_reduce_only) for o in other.side(side.opposite)
        ]
        assert mine == theirs


@MANY
@given(state=states(x=st.floats(0.15, 0.9)))
def test_invariants_02_05_a_long_position_moves_both_touches_down(state: State) -> None:
    """The wiring that was dead: on the wire, with every feed absent."""
    absent = msgspec.structs.replace(
        CALM, vol_bps_rt_s=state.market.vol_bps_rt_s, a0_bps=1.8, a1=0.3
    )
    held = msgspec.structs.replace(state, x=max(0.5, state.x), market=absent).rest()
    flat = msgspec.structs.replace(state, x=0.0, market=absent).rest()
    if held.side(Side.BUY) and flat.side(Side.BUY):
        assert held.depth_bps(Side.BUY) >= flat.depth_bps(Side.BUY) + 2.0
    step_bps = 10 / 262_000 * 1e4
    room = held.half_touch_steps * step_bps * 2
    assert held.side(Side.SELL)
    assert held.depth_bps(Side.SELL) <= max(flat.depth_bps(Side.SELL) - 2.0, room + GRID_BPS)


# -- drift, response, widening ---------------------------------------------------------------------


@MANY
@given(state=states(), mean=st.floats(0.01, 0.2))
def test_invariant_07_an_upward_drift_never_lowers_a_quote(state: State, mean: float) -> None:
    """Neither the ask comes in nor the bid goes out: both follow the price they expect."""
    flat_stance = msgspec.structs.replace(state.market, stance=CALM_STANCE, drift=drift(0.0))
    up = msgspec.structs.replace(flat_stance, drift=drift(mean))
    calm_rig = msgspec.structs.replace(state, market=flat_stance).rest()
    up_rig = msgspec.structs.replace(state, market=up).rest()
    for side in Side:
        if calm_rig.side(side) and up_rig.side(side):
            assert up_rig.touch(side) >= calm_rig.touch(side)


@MANY
@given(state=states(x=st.floats(0.1, 0.9)), less=st.floats(0, 6), more=st.floats(6, 14))
def test_invariants_08_11_more_response_retreats_only_the_increasing_side(
    state: State, less: float, more: float
) -> None:
    """In the default mode the answer to an opposed trend never touches the reducing side."""
    rigs = []
    for size in (less, more):
        stance = CALM_STANCE._replace(is_opposed=True, urgency=2.0, response_bps=-size, fade=1.0)
        market = msgspec.structs.replace(state.market, stance=stance)
        rigs.append(msgspec.structs.replace(state, market=market).rest())
    small, large = rigs
    if small.side(Side.BUY) and large.side(Side.BUY):
        assert large.depth_bps(Side.BUY) >= small.depth_bps(Side.BUY)
    assert [o.px_ticks for o in small.side(Side.SELL)][1:] == [
        o.px_ticks for o in large.side(Side.SELL)
    ][1:]


@MANY
@given(state=states(), factor=st.floats(1.2, 4))
def test_invariant_12_more_volatility_brings_no_increasing_order_nearer(
    state: State, factor: float
) -> None:
    """Half spread, skew and widening grow with it, and finite for any of it."""
    vol = state.market.vol_bps_rt_s
    wild = msgspec.structs.replace(state.market, vol_bps_rt_s=min(100.0, vol * factor))
    calm_rig = msgspec.structs.replace(state, market=state.market).rest()
    wild_rig = msgspec.structs.replace(state, market=wild).rest()
    # The skew grows as well, so at a position the reducing side may come in.
    for side in growing(state.x):
        if calm_rig.side(side) and wild_rig.side(side):
            slack = GRID_BPS + wild_rig.engine._ladder.spacing_ticks / 262_000 * 1e4
            assert wild_rig.depth_bps(side) >= calm_rig.depth_bps(side) - slack


# -- the record, the book, the floors --------------------------------------------------------------


@MANY
@given(state=states())
def test_invariants_13_14_the_terms_of_the_record_add_up_to_the_order(state: State) -> None:
    """To 1e-9 bps for every rung, clamps included; no term acts outside the record."""
    it = state.rest()
    it.wait(1.2)
    it.tell_book()
    diagnostics = it.engine.decide(it.now_ns).diagnostics
    assert diagnostics is not None
    fair = it.engine.book.fair_ticks
    assert fair is not None
    for fall in (*diagnostics.bids, *diagnostics.asks):
        names = [name for name in fall.__struct_fields__ if name.endswith("_bps")]
        names.remove("depth_bps")
        depth = fall.side * (fair - fall.px_ticks) / fair * 1e4
        assert sum(getattr(fall, n) or 0.0 for n in names) == pytest.approx(depth, abs=1e-9)


@MANY
@given(state=states())
def test_invariants_15_16_nothing_crosses_and_nothing_increases_inside_its_floor(
    state: State,
) -> None:
    """After rounding and clamping; the venue of these tests refuses what would cross."""
    it = state.rest()
    market = state.market
    fair = it.engine.book.fair_ticks
    assert fair is not None
    floor_bps = max(0.0, (it.maker_bps + market.a0_bps) / (1 - market.a1))
    for side in growing(it.position_lots):
        for order in it.side(side):
            assert side * (fair - order.px_ticks) / fair * 1e4 >= floor_bps - 1e-6
    if it.side(Side.BUY) and it.side(Side.SELL):
        assert it.touch(Side.BUY) < it.touch(Side.SELL)


@MANY
@given(state=states(x=st.floats(0.1, 1.2)), sign=st.sampled_from([1, -1]))
def test_invariants_17_18_what_is_held_is_always_offered_and_never_flipped_far(
    state: State, sign: int
) -> None:
    """A reducing quote rests in every mode, no deeper than the protections are the reason for."""
    state = state if sign > 0 else state.mirrored()
    it = state.rest()
    side = Side.SELL if it.position_lots > 0 else Side.BUY
    orders = it.side(side)
    assert orders
    held = abs(it.position_lots)
    offered = sum(order.sz_lots for order in orders)
    q_max = 500e6 / (state.fair_px * 1e4)
    if it.engine.mode is Mode.REDUCING:
        assert offered <= held
        assert all(order.is_reduce_only for order in orders)
    else:
        assert offered <= max(held, 0.25 * q_max) + 1
    if held >= 0.45 * q_max:
        touch = 2 * it.half_touch_steps * 10 / 262_000 * 1e4
        assert it.depth_bps(side) <= touch + 1.0, "the first reducing rung rests at the touch"


@MANY
@given(state=states())
def test_invariant_19_a_sweep_of_a_whole_side_stays_inside_the_limits(state: State) -> None:
    """Every order of the increasing side filled in one message."""
    it = state.rest()
    q_max = 500e6 / (it.bid_ticks + it.ask_ticks) * 2
    for side in growing(it.position_lots):
        total = sum(order.sz_lots for order in it.side(side))
        assert total <= 0.25 * q_max + 1
        assert abs(it.position_lots + side * total) <= q_max + 1


@MANY
@given(state=states(), depth=st.floats(1, 20))
def test_invariant_22_the_memory_of_a_sweep_leaves_the_reducing_side_alone(
    state: State, depth: float
) -> None:
    """Only the increasing side is pulled back."""
    held = state.x or 0.2
    cascade = msgspec.structs.replace(
        CALM_CASCADE,
        bid_bps=depth if held > 0 else 0.0,
        ask_bps=depth if held < 0 else 0.0,
    )
    calm_market = msgspec.structs.replace(state.market, cascade=CALM_CASCADE)
    swept_market = msgspec.structs.replace(state.market, cascade=cascade)
    calm = msgspec.structs.replace(state, x=held, market=calm_market).rest()
    swept = msgspec.structs.replace(state, x=held, market=swept_market).rest()
    reducing, increasing = (Side.SELL, Side.BUY) if held > 0 else (Side.BUY, Side.SELL)
    assert [o.px_ticks for o in swept.side(reducing)] == [o.px_ticks for o in calm.side(reducing)]
    if swept.side(increasing) and calm.side(increasing):
        assert swept.depth_bps(increasing) >= calm.depth_bps(increasing)


@MANY
@given(state=states())
def test_invariant_34_every_order_is_valid_by_itself(state: State) -> None:
    """Distinct prices outward, whole lots, at least ten dollars each or exactly the position."""
    it = state.rest()
    for side in Side:
        orders = it.side(side)
        prices = [side * order.px_ticks for order in orders]
        assert prices == sorted(set(prices), reverse=True)
        for order in orders:
            assert it.instrument.is_valid_px(order.px_ticks)
            is_close = order.is_reduce_only and order.sz_lots == abs(it.position_lots)
            assert notional_usd(order.px_ticks, order.sz_lots) >= 10.0 or is_close


@pytest.mark.parametrize("x", [0.45, -0.45, 0.8, -0.8])
def test_decision_7_of_the_notes_the_increasing_rung_near_the_limit(x: float) -> None:
    """At 0.45 one and a half base halves from fair, at 0.8 two and a half, or pulled."""
    it = State(x, CALM).rest()
    side = Side.BUY if x > 0 else Side.SELL
    base = it.engine._quoter.base_bps
    if it.side(side):
        assert it.depth_bps(side) >= (1.5 if abs(x) < 0.5 else 2.5) * base
