"""The closed form against its vectors, its limits and statics, and the terms of a quote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.quoter import (
    Quote,
    Quoter,
    QuoterParams,
    Reference,
    glft,
    informed_glft,
)
from mmbot.core.types import NS_PER_MS, NS_PER_S

G = {"vol_bps_rt_s": 0.3, "gamma_per_bp": 0.01, "k_per_bp": 0.3, "a_per_s": 0.9, "delta": 1.0}
G6 = {
    "vol_bps_rt_s": 10.69,
    "gamma_per_bp": 0.05,
    "k_per_bp": 0.04235741115,
    "a_per_s": 2.986162361,
    "delta": 1.0,
}
H = {"vol_bps_rt_s": 1.2, "gamma_per_bp": 0.016, "k_per_bp": 0.25, "a_per_s": 0.0918, "delta": 0.04}


@pytest.mark.parametrize(
    ("inputs", "q", "half", "skew", "bid", "ask"),
    [
        (G, 0, 3.312915199, 0.06786583253, 3.312915199, 3.312915199),
        (G, 5, 3.312915199, 0.06786583253, 3.652244361, 2.973586036),
        (G, -10, 3.312915199, 0.06786583253, 2.634256873, 3.991573524),
        (G | {"vol_bps_rt_s": 0.4}, 0, 3.324226171, 0.09048777671, 3.324226171, 3.324226171),
        (
            G | {"vol_bps_rt_s": 1.0, "a_per_s": 0.2},
            3,
            3.518924234,
            0.4798839039,
            4.958575946,
            2.079272522,
        ),
        (G6, 0, 20.47208534, 9.76326865, 20.47208534, 20.47208534),
        (G6, 1, 20.47208534, 9.76326865, 30.23535399, 10.70881669),
        (G | {"xi_per_bp": 0.0}, 3, 3.366987715, 0.06730876402, 3.568914007, 3.165061423),
        (H, 0, 4.111774008, 5.844264345, 4.111774008, 4.111774008),
        (
            G | {"gamma_per_bp": 1e-6},
            5,
            3.333664322,
            6.730882011e-4,
            3.337029763,
            3.330298881,
        ),
        (G | {"gamma_per_bp": 1e-9}, 5, 3.33334397, 2.12849001e-5, 3.333450395, 3.333237546),
    ],
)
def test_the_closed_form_equals_its_published_and_high_precision_vectors(
    *, inputs: dict[str, float], q: float, half: float, skew: float, bid: float, ask: float
) -> None:
    """Ten significant digits; the sixth set prints the numbers of an independent tutorial."""
    shape = glft(**inputs)
    assert shape.half_spread_bps == pytest.approx(half, rel=1e-9)
    assert shape.skew_bps == pytest.approx(skew, rel=1e-9)
    assert shape.half_spread_bps + shape.skew_bps * q == pytest.approx(bid, rel=1e-9)
    assert shape.half_spread_bps - shape.skew_bps * q == pytest.approx(ask, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "q", "half", "skew", "bid", "ask"),
    [
        ({}, 0, 5.63587929, 7.049528438, 5.63587929, 5.63587929),
        ({}, -0.44, 5.63587929, 7.049528438, 2.534086777, 8.737671803),
        ({"xi_per_bp": 0.0}, -0.44, 5.640900441, 7.045022026, 2.541090749, 8.740710132),
    ],
)
def test_a_fee_shifts_the_half_spread_and_scales_the_skew(
    *, changes: dict[str, float], q: float, half: float, skew: float, bid: float, ask: float
) -> None:
    """Vectors with a fee of 1.5 bps and no adverse selection."""
    shape = informed_glft(fee_bps=1.5, adverse_a0_bps=0.0, adverse_a1=0.0, **(H | changes))
    assert shape.half_spread_bps == pytest.approx(half, rel=1e-9)
    assert shape.skew_bps == pytest.approx(skew, rel=1e-9)
    assert shape.half_spread_bps + shape.skew_bps * q == pytest.approx(bid, rel=1e-9)
    assert shape.half_spread_bps - shape.skew_bps * q == pytest.approx(ask, rel=1e-9)
    assert shape.break_even_bps == 1.5


@pytest.mark.parametrize(
    ("gamma", "half", "skew"), [(0.016, 7.05313616, 18.1167987), (0.004, 6.883893992, 9.056973262)]
)
def test_informed_flow_is_charged_in_full(gamma: float, half: float, skew: float) -> None:
    """The vectors of the linear adverse law, and its break-even depth."""
    shape = informed_glft(
        fee_bps=1.5,
        adverse_a0_bps=1.8,
        adverse_a1=0.3,
        vol_bps_rt_s=1.5,
        gamma_per_bp=gamma,
        k_per_bp=0.5,
        a_per_s=0.12,
        delta=0.0375,
    )
    assert shape.half_spread_bps == pytest.approx(half, rel=1e-9)
    assert shape.skew_bps == pytest.approx(skew, rel=1e-9)
    assert shape.break_even_bps == pytest.approx((1.5 + 1.8) / 0.7, rel=1e-12)


@given(k=st.floats(1e-3, 1e3), a=st.floats(1e-3, 1e3))
def test_half_spread_tends_to_inverse_decay_without_risk_aversion(k: float, a: float) -> None:
    """A risk-neutral maker quotes 1 / k, whatever the arrival rate, and at gamma 0 exactly."""
    near = glft(vol_bps_rt_s=0.0, gamma_per_bp=k * 1e-9, k_per_bp=k, a_per_s=a)
    there = glft(vol_bps_rt_s=5.0, gamma_per_bp=0.0, k_per_bp=k, a_per_s=a)
    assert abs(near.half_spread_bps * k - 1) < 1e-6
    assert there.half_spread_bps == pytest.approx(1 / k, rel=1e-12)
    assert there.skew_bps == 0.0


@given(
    gamma=st.floats(1e-4, 0.1),
    k=st.floats(0.05, 2),
    a=st.floats(0.01, 5),
    sigma=st.floats(0.1, 20),
)
def test_comparative_statics_have_the_signs_of_the_paper(
    gamma: float, k: float, a: float, sigma: float
) -> None:
    """Half and skew rise in sigma and fall in A; the skew rises in gamma like its square root."""
    base = {"vol_bps_rt_s": sigma, "gamma_per_bp": gamma, "k_per_bp": k, "a_per_s": a}
    shape = glft(**base)
    wilder = glft(**(base | {"vol_bps_rt_s": sigma * 1.1}))
    busier = glft(**(base | {"a_per_s": a * 1.1}))
    bolder = glft(**(base | {"gamma_per_bp": gamma * 1.1}))
    assert wilder.half_spread_bps >= shape.half_spread_bps
    assert wilder.skew_bps > shape.skew_bps
    assert busier.skew_bps < shape.skew_bps
    assert bolder.skew_bps > shape.skew_bps


@pytest.mark.parametrize(
    "wrong",
    [{"k_per_bp": 0.0}, {"a_per_s": -1.0}, {"delta": 0.0}, {"vol_bps_rt_s": -1.0}],
)
def test_broken_bounds_are_refused(wrong: dict[str, float]) -> None:
    """A formula outside its domain must not return a number."""
    with pytest.raises(ValueError, match="must"):
        glft(**(G | wrong))


def test_the_skew_cannot_be_configured_away() -> None:
    """The bound is positive: 24 February's zero is not expressible."""
    with pytest.raises(ValidationError):
        QuoterParams(skew_bps_min=0.0)
    assert QuoterParams().skew_bps_min == 6.0


def quote(x: float = 0.0, *, sigma: float = 1.0, fee: float = 1.5, **changes: float) -> Quote:
    return Quoter(QuoterParams.model_validate(changes)).quote(
        fair_ticks=262_000.0,
        step_ticks=10,
        x=x,
        fee_bps=fee,
        vol_bps_rt_s=sigma,
        delta=0.0625,
        reference_bps=None,
    )


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
    kept = {"x": 0.3, "fee_bps": 1.5, "vol_bps_rt_s": 1.0, "delta": 0.06, "reference_bps": None}
    small = quoter.quote(fair_ticks=26_200.0, step_ticks=1, **kept)  # type: ignore[arg-type]
    large = quoter.quote(fair_ticks=262_000.0, step_ticks=10, **kept)  # type: ignore[arg-type]
    assert small.half_bps == large.half_bps
    assert small.shift_bps == pytest.approx(large.shift_bps, rel=1e-12)


# -- the other market -----------------------------------------------------------------------------


def reference() -> Reference:
    return Reference(QuoterParams())


def test_a_constant_premium_shifts_nothing() -> None:
    """Another market may be dear for ever; only a change of that is a lead."""
    it = reference()
    for i in range(100):
        it.observe(26.4, i * NS_PER_S, i * 1000, 26.2)
        assert it.shift_bps(26.2, i * NS_PER_S) == pytest.approx(0.0, abs=1e-9)


def test_a_lead_is_bounded_and_has_its_sign() -> None:
    """Up is positive; five bps either way at most."""
    it = reference()
    it.observe(26.2, 0, 0, 26.2)
    it.observe(26.2 * (1 + 2e-4), 1, 1, 26.2)
    assert it.shift_bps(26.2, 1) == pytest.approx(2.0, abs=1e-3)
    it.observe(26.2 * (1 - 50e-4), 2, 2, 26.2)
    assert it.shift_bps(26.2, 2) == -5.0


def test_a_lead_that_stays_becomes_premium() -> None:
    """After one half-life half of it is left."""
    it = reference()
    it.observe(26.2, 0, 0, 26.2)
    for i in range(1, 301):
        it.observe(26.2 * (1 + 4e-4), i * NS_PER_S, i * 1000, 26.2)
    assert it.shift_bps(26.2, 300 * NS_PER_S) == pytest.approx(2.0, abs=0.02)


def test_an_old_or_missing_price_is_absent_not_zero() -> None:
    """Older than a second is None, to be reported as absent."""
    it = reference()
    assert it.shift_bps(26.2, 0) is None
    it.observe(26.2, 0, 0, 26.2)
    assert it.shift_bps(26.2, NS_PER_S) == 0.0
    assert it.shift_bps(26.2, NS_PER_S + 1) is None
    expires = it.expires_at_ns()
    assert expires is not None
    assert it.shift_bps(26.2, expires) is None
    assert it.shift_bps(26.2, expires - 1) is not None


def test_prices_out_of_order_and_nonsense_change_nothing() -> None:
    """An older venue time, zero, a negative number and infinity are ignored."""
    it = reference()
    it.observe(26.2, 5 * NS_PER_MS, 5, 26.2)
    for px, ms in ((27.0, 4), (0.0, 6), (-1.0, 6), (float("inf"), 6), (float("nan"), 6)):
        it.observe(px, 6 * NS_PER_MS, ms, 26.2)
        assert it.px == 26.2
