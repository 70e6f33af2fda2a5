"""The chance that noise alone trips a limit, against a count of paths."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.sizing import (
    TRIP_P_MAX,
    NoiseTrips,
    drawdown_p,
    loss_p,
    noise_trips,
    range_vol_bps_rt_s,
)

PATHS, STEPS = 20_000, 2_000
_WALK_SHIFT = 0.5826
"""Broadie, Glasserman & Kou (1997): a walk in n steps meets a barrier as the motion does one that
is so many step deviations farther away."""


@pytest.fixture(scope="module")
def extremes() -> tuple[np.ndarray, np.ndarray]:
    """Lowest point and deepest fall from the running maximum of each path, in final deviations."""
    rng = np.random.default_rng(7)
    low = np.zeros(PATHS)
    peak = np.zeros(PATHS)
    fall = np.zeros(PATHS)
    at = np.zeros(PATHS)
    for _ in range(STEPS):
        at += rng.standard_normal(PATHS) / sqrt(STEPS)
        np.minimum(low, at, out=low)
        np.maximum(peak, at, out=peak)
        np.maximum(fall, peak - at, out=fall)
    return low, fall


@pytest.mark.parametrize("barrier_sd", [0.7, 1.0, 1.5, 2.0, 2.5])
def test_the_formulas_are_those_of_a_count_of_paths(
    extremes: tuple[np.ndarray, np.ndarray], barrier_sd: float
) -> None:
    """Within four standard errors of 20,000 paths, the coarseness of their steps allowed for."""
    low, fall = extremes
    shift = _WALK_SHIFT / sqrt(STEPS)
    for counted, expected in (
        ((low <= -barrier_sd).mean(), loss_p(barrier_sd + shift)),
        # Both ends of a fall are seen by the walk alone: the peak a little low, the bottom high.
        ((fall >= barrier_sd).mean(), drawdown_p(barrier_sd + 2 * shift)),
    ):
        error = sqrt(expected * (1 - expected) / PATHS)
        assert counted == pytest.approx(expected, abs=4 * error)


def test_the_two_series_of_the_drawdown_are_one() -> None:
    """One converges where the other does not; where they meet they agree."""
    assert drawdown_p(1.5 - 1e-9) == pytest.approx(drawdown_p(1.5), abs=1e-8)
    assert drawdown_p(0.0) == 1.0
    assert drawdown_p(1e-3) == pytest.approx(1.0)
    assert drawdown_p(40.0) == 0.0


@given(barrier=st.floats(0.01, 8), more=st.floats(0.01, 2))
def test_a_farther_barrier_is_met_less_often_and_a_fall_more_often_than_a_loss(
    barrier: float, more: float
) -> None:
    """Every loss is a fall from the start or from a later peak."""
    assert loss_p(barrier + more) <= loss_p(barrier)
    assert drawdown_p(barrier + more) <= drawdown_p(barrier) + 1e-12
    assert loss_p(barrier) <= drawdown_p(barrier) + 1e-12


def shipped(**changes: float) -> NoiseTrips:
    figures = {
        "capital_usd": 100.0,
        "position_usd": 200.0,
        "vol_bps_rt_s": 1.0,
        "x_rms": 0.2,
        "loss_frac": 0.03,
        "drawdown_frac": 0.03,
        "soft_frac": 0.015,
    }
    return noise_trips(**{**figures, **changes})


def test_the_deviation_of_a_session_is_that_of_the_model_notes() -> None:
    """|x| 0.2 rms, 1.5 bps per root second, 25 minutes, 500 USD: 0.58 USD."""
    it = shipped(position_usd=500.0, vol_bps_rt_s=1.5, span_s=1500.0)
    assert it.pnl_sd_usd == pytest.approx(0.2 * 1.5 * sqrt(1500) * 0.05)
    assert it.pnl_sd_usd == pytest.approx(0.58, abs=0.01)


def test_the_default_limit_fits_and_five_times_the_equity_does_not() -> None:
    """Twice the equity trips by chance on 2 % of days, the old 500 USD on half of them."""
    assert shipped().kill_p == pytest.approx(0.0214, abs=1e-4)
    assert shipped().is_fit
    large = shipped(position_usd=500.0)
    assert large.kill_p > 0.5
    assert not large.is_fit
    assert shipped().soft_p > shipped().kill_p


def test_the_remedy_is_a_limit_that_is_just_fit() -> None:
    """A person who does what the message says is not refused again."""
    most = shipped(position_usd=900.0).position_usd_max
    assert shipped(position_usd=most).kill_p == pytest.approx(TRIP_P_MAX, abs=1e-6)
    assert shipped(position_usd=most * 0.999).is_fit
    assert not shipped(position_usd=most * 1.001).is_fit


def test_a_loss_limit_below_the_drawdown_limit_adds_its_own_chance() -> None:
    """And never more than a fall by the smaller of the two from any peak."""
    both = shipped(loss_frac=0.02, drawdown_frac=0.04).kill_p
    assert shipped(loss_frac=0.04, drawdown_frac=0.04).kill_p < both
    assert both <= shipped(loss_frac=0.02, drawdown_frac=0.02).kill_p
    assert shipped(loss_frac=0.5).kill_p == shipped().kill_p


def test_ranges_of_bars_give_back_the_volatility_that_made_them() -> None:
    """1.596 sigma sqrt(t) on average; a few bars say nothing."""
    rng = np.random.default_rng(3)
    ranges = []
    for _ in range(400):
        path = np.concatenate([[0.0], rng.standard_normal(3600).cumsum()]) * 1.3
        ranges.append(float(path.max() - path.min()))
    found = range_vol_bps_rt_s(ranges, 3600.0)
    assert found == pytest.approx(1.3, rel=0.05)
    assert range_vol_bps_rt_s(ranges[:11], 3600.0) is None
    assert range_vol_bps_rt_s([0.0] * 24, 3600.0) is None
