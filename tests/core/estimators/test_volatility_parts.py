"""Noise and jumps told from volatility: vectors, the check of the model notes, one sweep."""

from __future__ import annotations

import numpy as np
import pytest

from mmbot.core.estimators.volatility import (
    Volatility,
    VolatilityParams,
    bipower,
    medrv,
    realised,
    two_scales,
)
from mmbot.core.types import NS_PER_S

PATH = (0, 1, 3, 2, 2, 5, 4, 6, 5, 5, 8, 7, 7)
MID = 262_000.0


def fed(bps: np.ndarray) -> Volatility:
    """A path in bps, one sample a second."""
    vol = Volatility(VolatilityParams())
    for n, move in enumerate(bps.tolist()):
        vol.sample(n * NS_PER_S, MID * (1 + move * 1e-4))
    return vol


def test_the_estimators_give_the_vectors_of_the_model_notes() -> None:
    """Model notes, 3.3."""
    assert realised(PATH) == 31
    assert bipower(PATH) == pytest.approx(23.9903439, rel=1e-8)
    assert medrv(PATH) == pytest.approx(22.14198951, rel=1e-9)
    assert two_scales(PATH, 3) == pytest.approx(7.461538462, rel=1e-9)
    assert two_scales(PATH, 3, is_adjusted=False) == pytest.approx(5.388888889, rel=1e-9)


def test_true_volatility_is_found_under_noise_and_jumps() -> None:
    """The check of the model notes 3.3: sigma 1.2, 300 s at 4 Hz, noise 0.4 bps, tick 0.25."""
    rng = np.random.default_rng(7)
    found: dict[str, list[float]] = {"rv": [], "tsrv": [], "medrv jump": [], "rv jump": []}
    for _ in range(300):
        path = np.cumsum(1.2 * 0.5 * rng.standard_normal(1200))
        seen = np.round((path + 0.4 * rng.standard_normal(1200)) / 0.25) * 0.25
        found["rv"].append((realised(seen[::4].tolist()) / 300) ** 0.5)
        found["tsrv"].append((two_scales(seen.tolist(), 8) / 300) ** 0.5)
        jumped = seen + np.where(np.arange(1200) > 600, 12.0, 0.0)
        found["rv jump"].append((realised(jumped[::4].tolist()) / 300) ** 0.5)
        found["medrv jump"].append((medrv(jumped[::4].tolist()) / 300) ** 0.5)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    assert means["rv"] == pytest.approx(1.32, abs=0.02)
    assert means["tsrv"] == pytest.approx(1.19, abs=0.02)
    assert means["rv jump"] == pytest.approx(1.51, abs=0.02)
    assert means["medrv jump"] == pytest.approx(1.34, abs=0.02)


def test_noise_of_the_touch_is_taken_out_of_the_level() -> None:
    """A mid that jumps to and fro by the tick is not volatile."""
    rng = np.random.default_rng(8)
    clean, noisy = [], []
    for _ in range(20):
        path = np.cumsum(0.8 * rng.standard_normal(2400))
        clean.append(fed(path).bps_rt_s)
        noisy.append(fed(path + 0.5 * rng.standard_normal(2400)).bps_rt_s)
    assert np.mean(clean) == pytest.approx(0.8, rel=0.06)
    plain = (0.8**2 + 2 * 0.5**2) ** 0.5
    assert np.mean(noisy) < 0.5 * (0.8 + plain)


def test_a_jump_counts_in_the_level_and_not_in_what_is_ordinary() -> None:
    rng = np.random.default_rng(9)
    path = np.cumsum(1.0 * rng.standard_normal(1200))
    path[1150:] += 40.0
    vol = fed(path)
    assert vol.robust_bps_rt_s == pytest.approx(1.0, rel=0.15)
    assert vol.bps_rt_s > 1.03


def test_one_sweep_does_not_double_the_level() -> None:
    """The move of our own ladder being swept would widen the spread for minutes."""
    rng = np.random.default_rng(10)
    path = np.cumsum(1.0 * rng.standard_normal(1200))
    before = fed(path).bps_rt_s
    path[-1] += 80.0
    assert fed(path).bps_rt_s < 1.15 * before


def test_a_mirrored_path_has_the_same_volatility_to_the_bit() -> None:
    rng = np.random.default_rng(11)
    ticks = np.cumsum(rng.integers(-60, 61, 1200)).astype(float)
    up, down = Volatility(VolatilityParams()), Volatility(VolatilityParams())
    for n, move in enumerate(ticks.tolist()):
        up.sample(n * NS_PER_S, MID + move)
        down.sample(n * NS_PER_S, MID - move)
    assert (up.bps_rt_s, up.robust_bps_rt_s) != (1.0, 1.0)
    # The first sample is the origin of the bps, and the mirror's lies on the other side of MID.
    assert down.bps_rt_s == pytest.approx(up.bps_rt_s, rel=1e-3)
    up, down = Volatility(VolatilityParams()), Volatility(VolatilityParams())
    for n, move in enumerate([0.0, *ticks.tolist()]):
        up.sample(n * NS_PER_S, MID + move)
        down.sample(n * NS_PER_S, MID - move)
    assert (down.bps_rt_s, down.robust_bps_rt_s) == (up.bps_rt_s, up.robust_bps_rt_s)


def test_the_prior_serves_until_there_are_data() -> None:
    vol = Volatility(VolatilityParams(prior_bps_rt_s=2.0))
    assert (vol.bps_rt_s, vol.robust_bps_rt_s, vol.is_warm) == (2.0, 2.0, False)


@pytest.mark.parametrize("mid", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_price_changes_nothing_and_is_counted(mid: float) -> None:
    vol = fed(np.arange(50.0))
    before = vol.bps_rt_s
    assert not vol.sample(50 * NS_PER_S, mid)
    assert (vol.bps_rt_s, vol.ignored) == (before, 1)
