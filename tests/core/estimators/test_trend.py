"""Three horizons of the mid: sign, size, significance, and what a young run may say."""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.estimators.trend import Trend, TrendParams, TrendView, continuation_p
from mmbot.core.types import NS_PER_S
from support import often

MID = 262_000.0
T0 = 1_700_000_000 * NS_PER_S
LEAST = 1.2


def fed(mids: list[float], params: TrendParams | None = None) -> Trend:
    trend = Trend(params or TrendParams())
    for n, mid in enumerate(mids):
        trend.sample(T0 + n * NS_PER_S, mid)
    return trend


def view(trend: Trend, after_s: int) -> TrendView:
    found = trend.view(T0 + after_s * NS_PER_S, LEAST)
    assert found is not None
    return found


def ramp(bps_per_s: float, seconds: int) -> list[float]:
    return [MID * (1 + bps_per_s * n * 1e-4) for n in range(seconds + 1)]


def test_of_a_constant_slope_every_horizon_tells_the_same_rate() -> None:
    """The blend is normalised: weights that sum to a half must not halve the trend."""
    seen = view(fed(ramp(0.05, 1000)), 1000)
    assert (seen.short_bps, seen.medium_bps, seen.long_bps) == pytest.approx((1.5, 9.0, 45.0))
    assert seen.rate_bps_per_s == pytest.approx(0.05)
    assert seen.trend_bps == pytest.approx(45.0)


def test_the_significance_knows_that_the_windows_are_nested() -> None:
    """z has a deviation of 1 in a driftless market, whatever the weights."""
    rng = np.random.default_rng(1)
    zs = []
    for _ in range(300):
        path = MID * (1 + np.cumsum(LEAST * rng.standard_normal(1000)) * 1e-4)
        zs.append(view(fed(path.tolist()), 999).z)
    assert np.mean(zs) == pytest.approx(0, abs=4 / sqrt(300))
    assert np.std(zs) == pytest.approx(1, abs=0.15)


def test_the_blend_and_its_significance_are_those_of_the_formula() -> None:
    """Model notes, 3.2 and 0.5.1, by hand: a path of two slopes."""
    path = [*ramp(0.01, 960), *[MID * (1 + (9.6 + 0.1 * n) * 1e-4) for n in range(1, 41)]]
    seen = view(fed(path), 1000)
    short, medium, long = 30 * 0.1, 40 * 0.1 + 140 * 0.01, 40 * 0.1 + 860 * 0.01
    assert (seen.short_bps, seen.medium_bps, seen.long_bps) == pytest.approx(
        (short, medium, long), rel=1e-6
    )
    rate = (0.05 * short / 30 + 0.15 * medium / 180 + 0.3 * long / 900) / 0.5
    assert seen.rate_bps_per_s == pytest.approx(rate, rel=1e-6)
    assert seen.trend_bps == pytest.approx(rate * 900, rel=1e-6)
    variance = (
        0.05**2 / 30
        + 0.15**2 / 180
        + 0.3**2 / 900
        + 2 * (0.05 * 0.15 / 180 + 0.05 * 0.3 / 900 + 0.15 * 0.3 / 900)
    )
    assert seen.z == pytest.approx(rate * 0.5 / (LEAST * sqrt(variance)), rel=1e-6)


@given(st.floats(0.3, 20.0), st.floats(1.01, 5.0))
def test_the_significance_falls_as_one_over_the_volatility(vol: float, factor: float) -> None:
    """And the trend itself does not depend on it."""
    trend = fed(ramp(0.05, 100))
    calm, wild = (trend.view(T0 + 100 * NS_PER_S, v) for v in (vol, vol * factor))
    assert calm is not None
    assert wild is not None
    assert calm.z == pytest.approx(wild.z * factor)
    assert calm._replace(z=0) == wild._replace(z=0)


@given(st.integers(-10, 10), st.integers(0, 20))
def test_the_unit_of_the_price_does_not_matter(power: int, seed: int) -> None:
    """Invariant 23."""
    path = MID * (1 + np.cumsum(np.random.default_rng(seed).standard_normal(40)) * 1e-4)
    assert view(fed(path.tolist()), 39) == view(fed((2.0**power * path).tolist()), 39)


def test_a_young_run_uses_its_true_age() -> None:
    """An extrapolation to 900 s would make of 4 bps a trend of 180."""
    seen = view(fed(ramp(0.2, 20)), 20)
    assert seen.age_s == 20
    assert seen.short_bps == seen.long_bps == pytest.approx(4.0)
    assert seen.rate_bps_per_s == pytest.approx(0.2)
    assert seen.trend_bps == pytest.approx(4.0)


def test_there_is_no_trend_before_there_are_data_for_one() -> None:
    """Absent is None; a trend of zero would be a figure that nobody measured."""
    assert fed(ramp(1, 4)).view(T0 + 4 * NS_PER_S, LEAST) is None
    assert fed(ramp(1, 5)).view(T0 + 5 * NS_PER_S, LEAST) is not None
    assert Trend(TrendParams()).view(T0, LEAST) is None


def test_a_turn_shows_first_on_the_short_horizon() -> None:
    """What the short windows earn their weight by."""
    seen = view(
        fed([*ramp(0.05, 900), *[MID * 1.0045 * (1 - n * 1e-5) for n in range(1, 61)]]), 960
    )
    assert seen.short_bps < 0 < seen.long_bps


def test_a_silence_of_a_minute_starts_anew() -> None:
    """Lesson of the gaps: the move across one is no trend, and no figure survives it."""
    trend = fed(ramp(0.5, 100))
    late = T0 + 170 * NS_PER_S
    assert trend.view(late, LEAST) is None
    trend.sample(late, MID * 1.1)
    assert trend.view(late, LEAST) is None
    trend.sample(late + 6 * NS_PER_S, MID * 1.1)
    found = trend.view(late + 6 * NS_PER_S, LEAST)
    assert found is not None
    assert found.long_bps == 0


def test_a_lost_link_starts_anew() -> None:
    """However short it was: nobody saw the way that the price took."""
    trend = fed(ramp(0.5, 100))
    trend.reset_gap()
    assert trend.view(T0 + 100 * NS_PER_S, LEAST) is None
    trend.sample(T0 + 101 * NS_PER_S, MID * 1.1)
    assert trend.view(T0 + 101 * NS_PER_S, LEAST) is None


def test_samples_that_come_seldom_are_held_until_the_next() -> None:
    """The window begins at the last sample at or before its start, and its true length counts."""
    trend = Trend(TrendParams())
    for at_s, bps in ((0, 0.0), (25, 10.0), (50, 20.0)):
        trend.sample(T0 + at_s * NS_PER_S, MID * (1 + bps * 1e-4))
    seen = view(trend, 50)
    assert seen.short_bps == pytest.approx(20.0)
    assert seen.rate_bps_per_s == pytest.approx(0.4)


@settings(max_examples=often(15, thoroughly=40))
@given(st.lists(st.integers(-40, 40), min_size=6, max_size=200))
def test_a_mirrored_path_has_the_mirrored_trend_to_the_bit(moves: list[int]) -> None:
    """Invariant 1."""
    path = MID + np.cumsum(moves)
    up = view(fed(path.tolist()), len(moves) - 1)
    down = view(fed((2 * path[0] - path).tolist()), len(moves) - 1)
    assert (up.short_bps, up.medium_bps, up.long_bps) == (
        -down.short_bps,
        -down.medium_bps,
        -down.long_bps,
    )
    assert (up.trend_bps, up.z) == (-down.trend_bps, -down.z)


def test_memory_is_bounded() -> None:
    """A run of weeks keeps a quarter of an hour."""
    trend = fed([MID] * 6000)
    assert len(trend._times) < 900 + 1100
    assert view(trend, 5999).age_s >= 900


@pytest.mark.parametrize("mid", [nan, 0.0, -5.0])
def test_what_is_no_price_changes_nothing_and_is_counted(mid: float) -> None:
    """Invariants 29 and 32."""
    trend = fed(ramp(0.1, 30))
    before = view(trend, 30)
    assert not trend.sample(T0 + 31 * NS_PER_S, mid)
    assert not trend.sample(T0 + 10 * NS_PER_S, MID)
    assert not trend.sample(T0 + 30 * NS_PER_S, MID * 2)
    assert view(trend, 30) == before
    assert trend.ignored == 2


@pytest.mark.parametrize(
    ("prior_sd", "p60", "p300", "p900"),
    [(None, 0.565, 0.643, 0.737), (0.05, 0.546, 0.598, 0.649), (0.02, 0.519, 0.542, 0.568)],
)
def test_the_chance_that_a_trend_goes_on_is_that_of_the_model_notes(
    prior_sd: float | None, p60: float, p300: float, p900: float
) -> None:
    """38 bps in 1500 s at sigma 1.2: hardly more than a coin, and less the less one believes it."""
    sigma, slope, span = 1.2, 38 / 1500, 1500.0
    noise = sigma**2 / span
    shrink = 1.0 if prior_sd is None else prior_sd**2 / (prior_sd**2 + noise)
    sd = 0.0 if prior_sd is None else sqrt(shrink * noise)
    found = [continuation_p(shrink * slope, sd, sigma, tau) for tau in (60, 300, 900)]
    assert found == pytest.approx([p60, p300, p900], abs=6e-4)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.1, 10), st.floats(1, 900))
def test_up_and_down_are_mirror_images(m: float, sd: float, vol: float, tau: float) -> None:
    assert continuation_p(m, sd, vol, tau) + continuation_p(-m, sd, vol, tau) == pytest.approx(1)
