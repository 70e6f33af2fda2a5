"""The terms of a quote: signs, bounds, and that they add up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.views import CALM_CASCADE, CALM_STANCE, market, quote_at
from mmbot.core.estimators.drift import DriftView
from mmbot.core.quoter import Quote, Quoter, QuoterParams
from mmbot.core.stance import Action, ResponseMode
from mmbot.core.types import Side


def test_the_skew_cannot_be_configured_away() -> None:
    """The bound is positive: 24 February's zero is not expressible."""
    with pytest.raises(ValidationError):
        QuoterParams(skew_bps_min=0.0)
    assert QuoterParams().skew_bps_min == 6.0


def quote(x: float = 0.0, *, sigma: float = 1.0, fee: float = 1.5, **changes: Any) -> Quote:
    view = market(vol_bps_rt_s=sigma)
    return quote_at(x=x, fee_bps=fee, delta=0.0625, view=view, **changes)


@given(x=st.floats(-1.5, 1.5), sigma=st.floats(0.3, 20), fee=st.floats(-0.3, 9))
def test_the_shift_is_antisymmetric_and_monotone_in_inventory(
    x: float, sigma: float, fee: float
) -> None:
    """Long lowers both quotes, short raises both, alike; the width does not depend on inventory."""
    plus, minus, more = (quote(v, sigma=sigma, fee=fee) for v in (x, -x, x + 0.01))
    assert plus.shift_bps == pytest.approx(-minus.shift_bps, abs=1e-12)
    assert more.shift_bps < plus.shift_bps
    assert plus.half_bps == minus.half_bps == more.half_bps
    assert quote(0.0, sigma=sigma, fee=fee).shift_bps == 0.0


@given(sigma=st.floats(0, 100), more=st.floats(0, 10))
def test_width_and_skew_do_not_fall_with_volatility(sigma: float, more: float) -> None:
    """And stay finite up to a hundred bps per root second."""
    calm, wild = quote(sigma=sigma), quote(sigma=sigma + more)
    assert wild.half_bps >= calm.half_bps - 1e-12
    assert wild.skew_bps >= calm.skew_bps - 1e-12
    assert wild.half_bps < 60


def test_the_skew_reaches_the_touch_at_its_inventory_whatever_the_width() -> None:
    """At x_touch the reducing depth is one price step, for narrow and wide quotes."""
    for half in (4.8, 8.0, 12.0, 25.0):
        wide = quote(0.45, half_spread_bps_min=half)
        assert wide.half_bps + wide.shift_bps == pytest.approx(10 / 262_000 * 1e4, abs=1e-9)
        assert wide.skew_bps >= 6.0


@given(half=st.floats(0.5, 40), x_touch=st.floats(0.1, 1), least=st.floats(4, 60))
def test_the_skew_is_never_below_its_least_value(half: float, x_touch: float, least: float) -> None:
    """However narrow the quote, or far the inventory at which it reaches the touch."""
    its = quote(1.0, half_spread_bps_min=half, skew_x_touch=x_touch, skew_bps_min=least)
    assert its.skew_bps >= least
    assert its.inventory_skew_bps == -its.skew_bps


def test_the_fee_charged_moves_width_and_floor() -> None:
    """The floor is the break-even of the fee really paid; a rebate cannot make it negative."""
    assert quote(fee=1.5).floor_bps == pytest.approx(3.3 / 0.7)
    assert quote(fee=2.88).floor_bps == pytest.approx(4.68 / 0.7)
    assert quote(fee=-3.0).floor_bps == 0.0
    dear = quote(fee=6.0, half_spread_bps_min=0.5)
    assert dear.half_bps > quote(fee=1.5, half_spread_bps_min=0.5).half_bps + 6.0


def test_the_least_half_spread_is_a_term_of_its_own() -> None:
    """It fills up to the minimum and vanishes above it."""
    narrow = quote(half_spread_bps_min=8.0)
    assert narrow.half_bps == pytest.approx(8.0)
    assert narrow.half_min_bps == pytest.approx(
        8.0 - narrow.fee_bps - narrow.adverse_selection_bps - narrow.glft_bps
    )
    assert quote(half_spread_bps_min=1.0).half_min_bps == 0.0


def test_units_do_not_matter_to_a_quote_in_bps() -> None:
    """Price times ten with the step, or time rescaled with sigma and A: the same bps."""
    quoter = Quoter(QuoterParams())
    small = quote_at(quoter=quoter, x=0.3, fair_ticks=26_200.0, step_ticks=1)
    large = quote_at(quoter=quoter, x=0.3, fair_ticks=262_000.0, step_ticks=10)
    assert small.half_bps == large.half_bps
    assert small.shift_bps == pytest.approx(large.shift_bps, rel=1e-12)


# -- the terms of a position and of its market -----------------------------------------------------

STEP_BPS = 10 / 262_000 * 1e4
XS = st.floats(-1.0, 1.0)


def depths(its: Quote) -> tuple[float, float]:
    return its.depth_bps(Side.BUY), its.depth_bps(Side.SELL)


def opposed(x: float, bps: float, mode: ResponseMode = ResponseMode.RETREAT) -> Quote:
    """A position with a trend against it that is answered with `bps`."""
    up = -1.0 if x > 0 else 1.0
    stance = CALM_STANCE._replace(is_opposed=True, response_bps=up * bps, mode=mode, fade=1.0)
    return quote_at(x=x, view=market(stance=stance))


@given(XS, st.floats(0.3, 10))
def test_widening_is_for_the_increasing_side_alone(x: float, vol: float) -> None:
    """Invariant 11: non-negative, zero when flat, the reducing side untouched."""
    its = quote_at(x=x, view=market(vol_bps_rt_s=vol))
    growing, other = (
        (its.widening_bid_bps, its.widening_ask_bps)
        if x > 0
        else (its.widening_ask_bps, its.widening_bid_bps)
    )
    assert growing >= 0
    if x:
        assert other == 0
    assert growing == pytest.approx(min(8.0, 0.5 * abs(x) * vol * 60**0.5))


def test_the_widening_of_the_model_notes() -> None:
    """Model notes, 5.1: kappa 0.5, tau 60 s, |x| 0.45, sigma 1.2."""
    its = quote_at(x=0.45, view=market(vol_bps_rt_s=1.2))
    assert its.widening_bid_bps == pytest.approx(2.091411007, rel=1e-9)


def test_near_the_limit_the_barrier_outgrows_the_base_half_spread() -> None:
    """Decision 7: increasing rung at 1.5 halves from fair at 0.45, at 2.5 at 0.8; W + barrier."""
    for x, halves in ((0.45, 1.5), (0.8, 2.5)):
        its = quote_at(x=x)
        assert its.depth_bps(Side.BUY) >= halves * its.half_bps
    its = quote_at(x=0.9)
    assert its.widening_bid_bps + its.guard_bid_bps > its.half_bps
    assert quote_at(x=0.59).guard_bid_bps == 0
    assert quote_at(x=1.0).guard_bid_bps == pytest.approx(max(10.0, 1.5 * its.half_bps))


def test_by_default_the_increasing_side_alone_retreats_from_an_opposed_trend() -> None:
    """Short in a rise: the ask goes away by the whole answer, the bid stays."""
    calm, against = quote_at(x=-0.3), opposed(-0.3, 5.0)
    assert against.depth_bps(Side.SELL) == pytest.approx(calm.depth_bps(Side.SELL) + 5.0)
    assert against.depth_bps(Side.BUY) == calm.depth_bps(Side.BUY)


def test_in_mode_both_the_reducing_side_comes_in_as_far() -> None:
    """Model notes, 5.2: the spread is conserved."""
    calm, against = quote_at(x=-0.3), opposed(-0.3, 5.0, ResponseMode.BOTH)
    assert against.depth_bps(Side.SELL) == pytest.approx(calm.depth_bps(Side.SELL) + 5.0)
    assert against.depth_bps(Side.BUY) == pytest.approx(calm.depth_bps(Side.BUY) - 5.0)


@given(XS, st.floats(0, 20))
def test_the_answer_does_not_depend_on_the_base_skew(x: float, bps: float) -> None:
    """Invariant 10: on 24 February it was capped at three times a skew of 0.02 bps."""
    up = -1.0 if x > 0 else 1.0
    stance = CALM_STANCE._replace(is_opposed=True, response_bps=up * bps, fade=1.0)
    narrow, steep = (
        quote_at(x=x, view=market(stance=stance), skew_bps_min=least) for least in (6.0, 40.0)
    )
    assert narrow.opposed_bid_bps == steep.opposed_bid_bps
    assert narrow.opposed_ask_bps == steep.opposed_ask_bps


@pytest.mark.parametrize("sign", [1, -1])
def test_a_drift_shifts_both_quotes_and_never_beyond_a_tenth_of_the_skew(sign: int) -> None:
    """An estimate must not set a target of its own: |q*| <= x_cap."""
    small = quote_at(view=market(drift=DriftView(sign * 1e-4, 0.02, 1.0, 600.0)))
    assert small.drift_bps is not None
    assert sign * small.drift_bps > 0
    assert sign * (small.depth_bps(Side.SELL) - small.depth_bps(Side.BUY)) > 0
    large = quote_at(view=market(drift=DriftView(sign * 0.5, 0.02, 1.0, 600.0)))
    assert large.drift_bps == pytest.approx(sign * 0.1 * large.skew_bps)
    off = quote_at(view=market(drift=DriftView(sign * 0.5, 0.02, 1.0, 600.0)), drift_x_max=0.0)
    assert off.drift_bps == 0


def test_the_drift_gives_way_to_the_answer_as_that_fades_in() -> None:
    view = DriftView(0.5, 0.02, 1.0, 600.0)
    half = CALM_STANCE._replace(fade=0.5, response_bps=0.0)
    full = CALM_STANCE._replace(fade=1.0, response_bps=0.0)
    whole = quote_at(view=market(drift=view)).drift_bps
    assert whole is not None
    assert quote_at(view=market(drift=view, stance=half)).drift_bps == pytest.approx(whole / 2)
    assert quote_at(view=market(drift=view, stance=full)).drift_bps == 0


def test_what_a_long_pays_lowers_both_quotes() -> None:
    """Funding is a drift: small, with its sign, absent without the feed."""
    its = quote_at(view=market(funding_bps_per_h=1.25))
    assert its.funding_bps is not None
    assert -2.0 <= its.funding_bps < 0
    assert quote_at().funding_bps is None
    assert quote_at(view=market(funding_bps_per_h=1.25), funding_bps_max=0.0).funding_bps == 0


def test_after_a_sweep_the_side_is_held_behind_the_deepest_price() -> None:
    """Pullback and hold are depth of the swept side alone."""
    cascade = msgspec.structs.replace(CALM_CASCADE, ask_bps=9.5, hold_ask_ticks=262_000 * 1.0030)
    calm, swept = quote_at(), quote_at(view=market(cascade=cascade))
    assert swept.depth_bps(Side.SELL) == pytest.approx(30.0)
    assert swept.cascade_ask_bps == 9.5
    assert swept.hold_ask_bps == pytest.approx(30.0 - calm.depth_bps(Side.SELL) - 9.5)
    assert swept.depth_bps(Side.BUY) == calm.depth_bps(Side.BUY)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_position_to_be_reduced_is_offered_at_the_touch(sign: int) -> None:
    """Whatever the width: the reducing side rests one step from fair."""
    stance = CALM_STANCE._replace(action=Action.REDUCE)
    for half in (4.8, 8.0, 25.0):
        its = quote_at(x=sign * 0.2, view=market(stance=stance), half_spread_bps_min=half)
        reducing = Side.SELL if sign > 0 else Side.BUY
        assert its.depth_bps(reducing) == pytest.approx(STEP_BPS)
        assert its.reducing_floor_bps == pytest.approx(STEP_BPS)


def test_a_reducing_order_is_worth_what_the_position_costs() -> None:
    """Model notes, 4.4: priced with news while calm, without when opposed."""
    calm = quote_at(x=0.1, half_spread_bps_min=0.5, skew_bps_min=6.0)
    worth = 0.1 * calm.skew_bps
    assert calm.reducing_floor_bps == pytest.approx((1.5 + 1.8 - worth) / 0.7)
    assert opposed(0.1, 0.2).reducing_floor_bps == pytest.approx(
        max(STEP_BPS, 1.5 - 0.1 * opposed(0.1, 0.2).skew_bps - 0.2)
    )


@given(
    XS,
    st.floats(-0.2, 0.2),
    st.floats(0, 12),
    st.floats(0, 15),
    st.floats(0, 15),
    st.sampled_from(list(ResponseMode)),
    st.sampled_from(list(Action)),
    st.floats(0, 1),
)
def test_a_mirrored_state_has_the_mirrored_quote(
    x: float,
    drift: float,
    response: float,
    bid_extra: float,
    ask_extra: float,
    mode: ResponseMode,
    action: Action,
    fade: float,
) -> None:
    """Invariant 1, over every term at once."""

    def depth(sign: int) -> tuple[float, float]:
        up = -1.0 if sign * x > 0 else 1.0
        extras = (bid_extra, ask_extra)[::sign]
        view = market(
            drift=DriftView(sign * drift, 0.02, 1.0, 600.0),
            stance=CALM_STANCE._replace(
                response_bps=up * response, mode=mode, action=action, fade=fade
            ),
            cascade=msgspec.structs.replace(CALM_CASCADE, bid_bps=extras[0], ask_bps=extras[1]),
            funding_bps_per_h=sign * 1.0,
            reference_bps=sign * 2.0,
        )
        return depths(quote_at(x=sign * x, view=view))

    assert depth(1) == pytest.approx(depth(-1)[::-1], abs=1e-9)


@pytest.mark.parametrize(
    "term", ["skew", "drift", "opposed", "widening", "cascade", "funding", "reference", "reduce"]
)
def test_an_ablation_leaves_out_one_term_and_no_other(term: str) -> None:
    """Only the constructor can: no parameter names it."""
    view = market(
        drift=DriftView(0.05, 0.02, 1.0, 600.0),
        stance=CALM_STANCE._replace(response_bps=3.0, action=Action.REDUCE),
        cascade=msgspec.structs.replace(CALM_CASCADE, ask_bps=4.0, hold_ask_ticks=262_000 * 1.004),
        funding_bps_per_h=1.0,
        reference_bps=2.0,
    )

    def terms(ablate: frozenset[str]) -> dict[str, object]:
        quoter = Quoter(QuoterParams(), ablate=ablate)
        its = quote_at(quoter=quoter, x=-0.7, view=view)
        return {
            "skew": its.inventory_skew_bps,
            "drift": its.drift_bps,
            "opposed": (its.opposed_bid_bps, its.opposed_ask_bps),
            "widening": (its.widening_ask_bps, its.guard_ask_bps),
            "cascade": its.cascade_ask_bps,
            "funding": its.funding_bps,
            "reference": its.reference_bps,
        }

    whole, left = terms(frozenset()), terms(frozenset({term}))
    differing = {name for name in whole if whole[name] != left[name]}
    assert differing == ({term} - {"reduce"})
    if term == "reduce":
        touched = quote_at(quoter=Quoter(QuoterParams()), x=-0.7, view=view)
        plain = quote_at(quoter=Quoter(QuoterParams(), ablate=frozenset({term})), x=-0.7, view=view)
        assert touched.depth_bps(Side.BUY) <= plain.depth_bps(Side.BUY)
        assert plain.touch_bid_bps == 0


def test_a_term_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="skwe"):
        Quoter(QuoterParams(), ablate=frozenset({"skwe"}))
