"""The closed form against its vectors, its limits and its statics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.glft import glft, informed_glft

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
