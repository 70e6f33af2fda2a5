"""Micro-price, order-flow imbalance and VPIN: vectors, signs, warm-up, robustness."""

from __future__ import annotations

import random
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.flow import (
    FlowParams,
    Ofi,
    Vpin,
    micro_shift_bps,
    ofi_event,
    weighted_mid,
)
from mmbot.core.types import NS_PER_S, Side

PARAMS = FlowParams()
SIZES = st.integers(1, 10_000)


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def noise(it: Ofi, seconds: int, *, seed: int = 1, sign: int = 1, start: int = 0) -> None:
    """A balanced book, ten frames a second, one side of which changes its size in each."""
    rng = random.Random(seed)
    sizes = [50, 50]
    for i in range(seconds * 10):
        sizes[rng.randrange(2)] = rng.randrange(20, 80)
        bid, ask = sizes if sign > 0 else reversed(sizes)
        it.observe(at(start + i / 10), 99_999, bid, 100_001, ask)


def test_the_weighted_mid_meets_the_vector_of_section_3_5() -> None:
    """99 x 3 against 101 x 1: the price leans to the side with less to eat."""
    assert weighted_mid(99.0, 3.0, 101.0, 1.0) == pytest.approx(100.5, rel=1e-12)


@pytest.mark.parametrize(
    ("after", "expected"),
    [((10, 8, 11, 4), 3), ((10.5, 2, 11, 4), 2), ((10, 5, 12, 6), 4), ((9, 7, 11, 1), -2)],
)
def test_one_book_event_meets_the_vectors_of_section_3_5(
    after: tuple[float, float, float, float], expected: float
) -> None:
    """From a bid of 10 x 5 and an ask of 11 x 4."""
    assert ofi_event(10, 5, 11, 4, *after) == expected


@given(
    bid=st.integers(1, 10**6), touch=st.integers(1, 1000), qb=SIZES, qa=SIZES, bound=st.floats(0, 3)
)
def test_the_micro_shift_is_bounded_and_turns_with_the_book(
    bid: int, touch: int, qb: int, qa: int, bound: float
) -> None:
    """Never beyond half the touch nor the bound; mirrored sizes mirror it exactly."""
    shift = micro_shift_bps(bid, qb, bid + touch, qa, bound)
    mirrored = micro_shift_bps(bid, qa, bid + touch, qb, bound)
    assert shift is not None
    assert mirrored == -shift
    half_bps = touch / (2 * bid + touch) * 1e4
    assert abs(shift) <= min(half_bps, bound)
    assert shift * (qb - qa) >= 0
    mid = bid + touch / 2
    if abs(shift) < bound:
        assert mid * (1 + shift * 1e-4) == pytest.approx(weighted_mid(bid, qb, bid + touch, qa))


@pytest.mark.parametrize(
    "touch",
    [(100, 1, 100, 1), (101, 1, 100, 1), (100, 0, 101, 1), (100, 1, 101, -1), (nan, 1, 2, 1)],
)
def test_no_valid_touch_has_no_micro_price(touch: tuple[float, float, float, float]) -> None:
    """Absent is None, not zero."""
    assert micro_shift_bps(*touch) is None


def test_z_is_absent_until_the_deviation_is_known() -> None:
    """A minute of book after the first whole window; before, no figure."""
    it = Ofi(PARAMS)
    noise(it, 69)
    assert it.z(at(69)) is None
    noise(it, 5, start=69, seed=2)
    assert it.z(at(74)) is not None


def test_z_of_a_balanced_book_has_mean_zero_and_deviation_one() -> None:
    """The scale of the score: 1 is an ordinary window."""
    it = Ofi(PARAMS)
    rng, sizes, scores = random.Random(8), [50, 50], []
    for i in range(60_000):
        sizes[rng.randrange(2)] += rng.choice((-3, 3))
        sizes = [max(10, min(90, size)) for size in sizes]
        it.observe(at(i / 10), 99_999, sizes[0], 100_001, sizes[1])
        score = it.z(at(i / 10))
        if score is not None and i % 50 == 0:
            scores.append(score)
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    assert len(scores) > 1000
    assert mean == pytest.approx(0.0, abs=0.12)
    assert deviation == pytest.approx(1.0, abs=0.12)


def test_buying_pressure_is_positive_by_its_size_and_clipped() -> None:
    """A step of the bid by twice the deviation scores 2; by a hundred times, 3."""
    for times, expected in ((2.0, 2.0), (-2.0, -2.0), (100.0, 3.0), (-100.0, -3.0)):
        it = Ofi(PARAMS)
        noise(it, 300)
        it.observe(at(300), 99_999, 50, 100_001, 50)
        # A quiet window first, so that the step alone is in it.
        for i in range(1, 120):
            it.observe(at(300 + i / 10), 99_999, 50, 100_001, 50)
        scale = it._var**0.5
        step = abs(times) * scale
        bid, ask = (50 + step, 50.0) if times > 0 else (50.0, 50 + step)
        it.observe(at(312), 99_999, bid, 100_001, ask)
        score = it.z(at(312))
        assert score == pytest.approx(expected, rel=0.02)
        assert it.z(at(321.8)) is not None
        it.observe(at(322.2), 99_999, bid, 100_001, ask)
        assert it.z(at(322.2)) == 0.0


@pytest.mark.parametrize(
    ("touch", "sign"),
    [
        ((99_991, 500, 100_010, 50), 1),
        ((99_990, 50, 100_009, 500), -1),
        ((99_985, 50, 100_010, 50), -1),
        ((99_990, 50, 100_015, 50), 1),
    ],
)
def test_prices_count_like_sizes(touch: tuple[float, float, float, float], sign: int) -> None:
    """A better bid adds its whole size, a lost one takes it away; the ask the other way round."""
    it = Ofi(PARAMS)
    noise(it, 200)
    for i in range(120):
        it.observe(at(200 + i / 10), 99_990, 50, 100_010, 50)
    it.observe(at(212), *touch)
    score = it.z(at(212))
    assert score is not None
    assert score == pytest.approx(sign * min(3.0, abs(score)))
    assert abs(score) > 0.3


@given(seed=st.integers(0, 50))
def test_the_mirrored_book_has_the_opposite_score(seed: int) -> None:
    """Exact: no rounding may favour a side."""
    one, other = Ofi(PARAMS), Ofi(PARAMS)
    noise(one, 80, seed=seed)
    noise(other, 80, seed=seed, sign=-1)
    score, mirrored = one.z(at(80)), other.z(at(80))
    assert score is not None
    assert mirrored == -score


@pytest.mark.parametrize(
    "touch",
    [
        (nan, 50, 100_001, 50),
        (99_999, 0, 100_001, 50),
        (99_999, 50, 100_001, -50),
        (0, 50, 100_001, 50),
        (100_001, 50, 99_999, 50),
        (99_999, 50, inf, 50),
    ],
)
def test_nonsense_leaves_the_score_alone_and_is_counted(
    touch: tuple[float, float, float, float],
) -> None:
    """Invariant 29."""
    it, clean = Ofi(PARAMS), Ofi(PARAMS)
    noise(it, 80)
    noise(clean, 80)
    it.observe(at(80), *touch)
    assert it.ignored == 1
    noise(it, 5, start=80)
    noise(clean, 5, start=80)
    assert it.z(at(85)) == clean.z(at(85))


def test_a_frame_told_twice_or_late_changes_nothing() -> None:
    """Invariants 29 and 32: the same book at the same time, or an older one."""
    it, once = Ofi(PARAMS), Ofi(PARAMS)
    noise(it, 80)
    noise(once, 80)
    for target in (it, once):
        target.observe(at(80), 99_999, 400, 100_001, 50)
    it.observe(at(80), 99_999, 400, 100_001, 50)
    it.observe(at(79), 99_990, 1, 99_991, 900)
    assert it.ignored == 2
    assert it.z(at(80.5)) == once.z(at(80.5))
    assert it.z(at(80.5)) != 0.0


def test_a_gap_is_not_flow_and_silence_is_absence() -> None:
    """After a lost link the window must fill again; a dead feed has no score rather than zero."""
    it = Ofi(PARAMS)
    noise(it, 100)
    assert it.z(at(100)) is not None
    assert it.z(at(111)) is None
    it.reset_gap()
    assert it.z(at(101)) is None
    it.observe(at(101), 90_000, 5000, 90_002, 1)
    noise(it, 9, start=102)
    assert it.z(at(110.9)) is None
    noise(it, 2, start=111)
    # The deviation was kept, so the whole window is enough.
    score = it.z(at(113))
    assert score is not None
    assert abs(score) < 3


def test_a_frozen_book_has_no_scale() -> None:
    """Nothing has ever moved: no deviation to divide by."""
    it = Ofi(PARAMS)
    for i in range(1000):
        it.observe(at(i / 10), 99_999, 50, 100_001, 50)
    assert it.z(at(100)) is None


def test_one_sweep_does_not_blind_the_score() -> None:
    """Winsorised at five deviations: after the sweep has left the window the scale is nearly as
    before."""
    it = Ofi(PARAMS)
    noise(it, 600)
    before = it._var**0.5
    it.observe(at(600), 99_999, 1_000_000, 100_001, 50)
    it.observe(at(600.05), 99_999, 50, 100_001, 50)
    it.observe(at(600.1), 99_999, 1_000_000, 100_001, 50)
    noise(it, 30, start=601, seed=3)
    assert it._var**0.5 < before * 1.4


def test_memory_is_bounded_by_the_window() -> None:
    """A thousand frames a second still make a hundred buckets."""
    it = Ofi(PARAMS)
    for i in range(60_000):
        it.observe(at(i / 1000), 99_999, 50 + i % 7, 100_001, 50)
    assert len(it._buckets) <= 101


def test_vpin_is_the_mean_share_of_one_sided_volume() -> None:
    """Buckets of 100: all buys, then balanced, then three to one."""
    it = Vpin(FlowParams(vpin_bucket_usd=100.0, vpin_buckets=5))
    for side, value in ((1, 100), (1, 50), (-1, 50), (1, 75), (-1, 25), (-1, 80)):
        it.on_trade(Side(side), float(value))
        assert it.value is None
    # Fills the fourth bucket with 20 sells, the fifth with 100 and begins a sixth with 30.
    it.on_trade(Side.SELL, 150.0)
    assert it.value == pytest.approx((1 + 0 + 0.5 + 1 + 1) / 5)
    it.on_trade(Side.BUY, 70.0)
    assert it.value == pytest.approx((0 + 0.5 + 1 + 1 + 0.4) / 5)


@pytest.mark.parametrize("value_usd", [nan, inf, 0.0, -5.0])
def test_vpin_refuses_nonsense_and_bounds_its_work(value_usd: float) -> None:
    """A trade of a billion buckets is as one-sided as one of fifty."""
    it = Vpin(PARAMS)
    it.on_trade(Side.BUY, value_usd)
    assert it.ignored == 1
    assert it.value is None
    it.on_trade(Side.BUY, 1e15)
    assert it.value == 1.0
