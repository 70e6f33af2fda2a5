"""The volatility estimate: units, robustness, bounds."""

from __future__ import annotations

import random
from math import sqrt

import pytest
from pydantic import ValidationError

from mmbot.core.estimators.volatility import Volatility, VolatilityParams
from mmbot.core.types import NS_PER_S
from support import often


def walk(sigma: float, seconds: int, *, seed: int = 1, dt_s: float = 1.0) -> Volatility:
    """Feed a random walk of `sigma` bps per root second."""
    it = Volatility(VolatilityParams())
    rng = random.Random(seed)
    mid, now_ns = 100.0, 0
    for _ in range(int(seconds / dt_s)):
        it.sample(now_ns, mid)
        mid *= 1 + rng.gauss(0, sigma * sqrt(dt_s)) * 1e-4
        now_ns += int(dt_s * NS_PER_S)
    return it


@pytest.mark.parametrize("sigma", [0.5, 0.83, 1.55, 4.0])
@pytest.mark.parametrize("dt_s", [1.0, 2.5])
def test_it_finds_the_volatility_of_a_walk_in_bps_per_root_second(
    sigma: float, dt_s: float
) -> None:
    """Averaged over seeds within 6 %, at any step length: the unit is per root second."""
    found = [
        walk(sigma, 1200, seed=seed, dt_s=dt_s).bps_rt_s for seed in range(often(10, thoroughly=30))
    ]
    assert sum(found) / len(found) == pytest.approx(sigma, rel=0.06)


def test_frames_between_two_ticks_of_the_clock_do_not_count() -> None:
    """Sampling by events would measure how often the book flickers."""
    it = Volatility(VolatilityParams())
    it.sample(0, 100.0)
    for i in range(1, 100):
        assert not it.sample(i * NS_PER_S // 100, 100.0 + (i % 2))
    assert it.bps_rt_s == 1.0
    assert it.sample(NS_PER_S, 100.0)
    assert it.bps_rt_s < 1.0


def test_one_jump_counts_for_five_standard_deviations_at_most() -> None:
    """A sweep must not double the spread for minutes."""
    it = Volatility(VolatilityParams())
    for second in range(10):
        it.sample(second * NS_PER_S, 100.0)
    before = it.bps_rt_s
    it.sample(10 * NS_PER_S, 101.0)
    assert before < it.bps_rt_s < before * 1.08


def test_a_gap_is_not_volatility() -> None:
    """A minute without data, or a lost link: the move across it is left out."""
    it = Volatility(VolatilityParams())
    it.sample(0, 100.0)
    it.sample(61 * NS_PER_S, 120.0)
    assert it.bps_rt_s == 1.0
    it.reset_gap()
    it.sample(62 * NS_PER_S, 50.0)
    assert it.bps_rt_s == 1.0


def test_bounds_hold_and_a_dead_market_can_wake_up() -> None:
    """The floor keeps the skew alive in a frozen market, and the winsor bound from sticking."""
    it = walk(0.0, 3600)
    assert it.bps_rt_s == 0.3
    now_ns, mid = 3600 * NS_PER_S, 100.0
    for i in range(600):
        mid *= 1.0003 if i % 2 else 0.9997
        it.sample(now_ns + i * NS_PER_S, mid)
    assert it.bps_rt_s > 2.0


def test_contradictory_bounds_are_refused() -> None:
    """Before anything is opened."""
    with pytest.raises(ValidationError, match="vol_bps_rt_s_min"):
        VolatilityParams(vol_bps_rt_s_min=2.0)
