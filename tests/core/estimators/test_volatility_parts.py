"""Noise and jumps told from volatility: vectors, the check of the model notes, one sweep."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.volatility import (
    Volatility,
    VolatilityParams,
    bipower,
    medrv,
    preaveraged,
    realised,
    two_scales,
)
from mmbot.core.types import NS_PER_S
from support import data_dir, often

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


def test_pre_averaging_agrees_with_an_independent_implementation() -> None:
    """The notes give no vector for it: this one is of another program after the same paper."""
    path = [(7 * i * i + 3 * i) % 11 / 4 + i * 0.3 for i in range(61)]
    assert preaveraged(path) == pytest.approx(5.013016917293218, rel=1e-9)
    assert two_scales(path, 5) == pytest.approx(16.090778688524587, rel=1e-9)


TABLE = {
    "rv 0.25 s": (1.66, 0.04, 1.80),
    "rv 1 s": (1.32, 0.05, 1.51),
    "rv 5 s": (1.21, 0.12, 1.41),
    "two scales 8": (1.19, 0.07, 1.39),
    "two scales 20": (1.19, 0.10, 1.38),
    "pre-averaged": (1.19, 0.10, 1.39),
    "bipower 1 s": (1.32, 0.06, 1.38),
    "medrv 1 s": (1.32, 0.06, 1.34),
}
"""Model notes, 3.3: mean and sd without a jump, mean with one of 12 bps."""


def estimates(rng: np.random.Generator, jump_bps: float) -> dict[str, float]:
    """All estimators on one path: sigma 1.2, 300 s at 4 Hz, noise 0.4 bps, tick 0.25 bps."""
    steps = 1.2 * 0.5 * rng.standard_normal(1200)
    steps[600] += jump_bps
    path = np.concatenate([[0.0], np.cumsum(steps)])
    seen = (np.round((path + 0.4 * rng.standard_normal(1201)) / 0.25) * 0.25).tolist()
    variances = {
        "rv 0.25 s": realised(seen),
        "rv 1 s": realised(seen[::4]),
        "rv 5 s": realised(seen[::20]),
        "two scales 8": two_scales(seen, 8),
        "two scales 20": two_scales(seen, 20),
        "pre-averaged": preaveraged(seen),
        "bipower 1 s": bipower(seen[::4]),
        "medrv 1 s": medrv(seen[::4]),
    }
    return {name: (variance / 300) ** 0.5 for name, variance in variances.items()}


@pytest.mark.parametrize("jump_bps", [0.0, 12.0])
def test_the_estimators_have_the_bias_and_the_error_of_the_model_notes(jump_bps: float) -> None:
    """
    Which of them to trust for what follows from this table (3.3).

    Tolerances: four standard errors of our mean and the table's 200 paths, and its rounding.
    """
    rng = np.random.default_rng(7)
    count = often(40, thoroughly=120)
    found = [estimates(rng, jump_bps) for _ in range(count)]
    for name, (mean, sd, mean_jump) in TABLE.items():
        values = [row[name] for row in found]
        wanted = mean_jump if jump_bps else mean
        error = sd * (1 / count + 1 / 200) ** 0.5
        assert np.mean(values) == pytest.approx(wanted, abs=4 * error + 0.005), name
        if not jump_bps:
            assert np.std(values) == pytest.approx(sd, rel=0.3, abs=0.005), name


def test_noise_of_the_touch_is_taken_out_of_the_level() -> None:
    """A mid that jumps to and fro by the tick is not volatile."""
    rng = np.random.default_rng(8)
    clean, noisy = [], []
    for _ in range(often(8, thoroughly=20)):
        path = np.cumsum(0.8 * rng.standard_normal(2400))
        clean.append(fed(path).bps_rt_s)
        noisy.append(fed(path + 0.5 * rng.standard_normal(2400)).bps_rt_s)
    assert np.mean(clean) == pytest.approx(0.8, rel=0.06)
    # Its plain variation would give 1.07.
    assert np.mean(noisy) == pytest.approx(0.8, rel=0.08)


def test_the_factor_never_leaves_its_bounds() -> None:
    """Pure bounce and pure persistence: the level is corrected by 0.7 and 1.2 at most."""
    bounce = fed(np.arange(3000) % 2 * 3.0)
    runs = fed(np.abs((np.arange(3000) + 40) % 80 - 40) * 3.0)
    assert bounce.bps_rt_s == pytest.approx(3 * 0.7, rel=0.01)
    assert runs.bps_rt_s == pytest.approx(3 * 1.2, rel=0.01)


def test_a_jump_counts_in_the_level_and_not_in_what_is_ordinary() -> None:
    """A jump belongs in the risk; in a z score it would hide the trend that it began."""
    rng = np.random.default_rng(9)
    path = np.cumsum(1.0 * rng.standard_normal(1200))
    path[1150:] += 40.0
    before, after = fed(path[:1150]), fed(path[:1151])
    assert after.bps_rt_s > 1.05 * before.bps_rt_s
    assert after.robust_bps_rt_s == pytest.approx(before.robust_bps_rt_s, rel=0.01)
    assert fed(path).robust_bps_rt_s == pytest.approx(1.0, rel=0.15)


def test_one_sweep_does_not_double_the_level() -> None:
    """The move of a sweep of our own ladder would widen the spread for minutes."""
    rng = np.random.default_rng(10)
    path = np.cumsum(1.0 * rng.standard_normal(1200))
    before = fed(path).bps_rt_s
    path[-1] += 80.0
    assert fed(path).bps_rt_s < 1.15 * before


@pytest.mark.parametrize("frozen", [0.5, 0.7])
def test_a_mid_that_often_stands_still_is_no_calmer_for_it(frozen: float) -> None:
    """The mid of a real book is the same in most seconds: medians of 1 s steps would be zero."""
    rng = np.random.default_rng(12)
    found = []
    for _ in range(often(5, thoroughly=10)):
        moves = 1.0 / (1 - frozen) ** 0.5 * rng.standard_normal(1200)
        moves[rng.random(1200) < frozen] = 0.0
        found.append(fed(np.cumsum(moves)).robust_bps_rt_s)
    assert 0.85 < np.mean(found) < 1.1


def test_a_market_of_single_moves_has_something_ordinary_left() -> None:
    """Against a deviation near zero every move would be significant, and every trend opposed."""
    vol = fed(np.cumsum(np.where(np.arange(1200) % 20 == 0, 4.0, 0.0)))
    assert vol.bps_rt_s > 0.8
    assert vol.robust_bps_rt_s == pytest.approx(0.7 * vol.bps_rt_s)


@pytest.mark.data
@pytest.mark.parametrize("symbol", ["HYPE", "SOL", "SUI", "ADA", "DOGE"])
def test_what_is_ordinary_on_a_recorded_mid_is_near_its_volatility_over_ten_seconds(
    symbol: str,
) -> None:
    """From 1 s medians it was a third to a half too small, and z as much too large."""
    with gzip.open(data_dir("hype-mid-20260610", "flow.jsonl.gz"), "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["symbol"] == symbol]
    mids = [(int(row["tsMs"]), float(row["midMicros"])) for row in rows]
    vol = Volatility(VolatilityParams())
    for at_ms, mid in mids:
        vol.sample(at_ms * 1_000_000, mid)
    # The same last five minutes: ten grids of 10 s.
    path = np.log([mid for _, mid in mids[-315:]]) * 1e4
    grids = [np.mean(np.diff(path[at::10]) ** 2) / 10 for at in range(10)]
    assert 0.7 < vol.robust_bps_rt_s / float(np.mean(grids)) ** 0.5 < 1.2


@given(st.integers(-12, 12), st.integers(0, 50))
def test_the_unit_of_the_price_does_not_matter(power: int, seed: int) -> None:
    """Invariant 23: ticks or dollars, the estimate is in bps."""
    moves = np.cumsum(np.random.default_rng(seed).standard_normal(90)) * 1e-4
    one, other = Volatility(VolatilityParams()), Volatility(VolatilityParams())
    for n, move in enumerate(moves.tolist()):
        one.sample(n * NS_PER_S, MID * (1 + move))
        other.sample(n * NS_PER_S, 2.0**power * (MID * (1 + move)))
    assert (one.bps_rt_s, one.robust_bps_rt_s) == (other.bps_rt_s, other.robust_bps_rt_s)


@pytest.mark.parametrize("sample_s", [0.25, 0.5, 1.0, 2.0])
def test_the_scales_are_seconds_whatever_the_clock(sample_s: float) -> None:
    """Another clock must not change what is measured."""
    rng = np.random.default_rng(13)
    level, ordinary = [], []
    for _ in range(often(5, thoroughly=10)):
        vol = Volatility(VolatilityParams(sample_s=sample_s))
        path = np.cumsum(1.1 * sample_s**0.5 * rng.standard_normal(int(900 / sample_s)))
        for n, move in enumerate(path.tolist()):
            vol.sample(int(n * sample_s * NS_PER_S), MID * (1 + move * 1e-4))
        level.append(vol.bps_rt_s)
        ordinary.append(vol.robust_bps_rt_s)
    assert np.mean(level) == pytest.approx(1.1, rel=0.08)
    assert np.mean(ordinary) == pytest.approx(1.1, rel=0.12)


def test_the_prior_washes_out() -> None:
    """A prior of ten times the truth that counted for ever would hide every trend."""
    rng = np.random.default_rng(14)
    vol = Volatility(VolatilityParams(prior_bps_rt_s=5.0))
    for n, move in enumerate(np.cumsum(0.5 * rng.standard_normal(2400)).tolist()):
        vol.sample(n * NS_PER_S, MID * (1 + move * 1e-4))
    assert vol.bps_rt_s == pytest.approx(0.5, rel=0.2)
    assert vol.robust_bps_rt_s == pytest.approx(0.5, rel=0.3)


def test_a_mirrored_path_has_the_same_volatility_to_the_bit() -> None:
    """A long and a short must meet the same widening in mirrored markets."""
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
    """The first quote needs a figure before the first second is over."""
    vol = Volatility(VolatilityParams(prior_bps_rt_s=2.0))
    assert (vol.bps_rt_s, vol.robust_bps_rt_s, vol.is_warm) == (2.0, 2.0, False)


@pytest.mark.parametrize("mid", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_price_changes_nothing_and_is_counted(mid: float) -> None:
    """Invariant 29."""
    vol = fed(np.arange(50.0))
    before = vol.bps_rt_s
    assert not vol.sample(50 * NS_PER_S, mid)
    assert (vol.bps_rt_s, vol.ignored) == (before, 1)


def test_what_comes_out_of_order_or_twice_changes_nothing() -> None:
    """Invariant 29; a frame before the clock's next tick is no error and is not counted."""
    vol = fed(np.arange(50.0))
    before = (vol.bps_rt_s, vol.robust_bps_rt_s)
    assert not vol.sample(49 * NS_PER_S, MID * 1.1)
    assert not vol.sample(30 * NS_PER_S, MID * 1.1)
    assert (vol.bps_rt_s, vol.robust_bps_rt_s, vol.ignored) == (*before, 1)
    assert vol.sample(50 * NS_PER_S, MID)


@pytest.mark.parametrize(("silence_s", "is_reset"), [(100, False), (3, True)])
def test_no_step_spans_a_gap_on_any_scale(silence_s: int, *, is_reset: bool) -> None:
    """What the price is after a silence of a minute or a lost link says nothing of volatility."""
    moves = np.cumsum(np.random.default_rng(15).standard_normal(200))
    found = []
    for price in (MID, MID * 1.01):
        vol = fed(moves)
        if is_reset:
            vol.reset_gap()
        for n in range(60):
            vol.sample((200 + silence_s + n) * NS_PER_S, price)
        found.append((vol.bps_rt_s, vol.robust_bps_rt_s))
    assert found[0] == found[1]
