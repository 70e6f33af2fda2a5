"""What a sample may claim: intervals, areas, verdicts, against the slow way and known laws."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.runtime.lab.measure import worst_mean
from mmbot.runtime.lab.statistics import (
    UNKNOWN,
    Interval,
    Verdict,
    all_of,
    auc,
    bootstrap,
    decide,
    deviation,
    margin,
    mean,
    mean_of,
    pooled_auc,
    ratio,
    worst,
)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40),
)
def test_the_area_is_that_of_all_pairs(rows: list[tuple[int, bool]]) -> None:
    """Ties are a half: danger stands at one value for most of a quiet session."""
    up = [score for score, flag in rows if flag]
    down = [score for score, flag in rows if not flag]
    found = auc(np.array([float(s) for s, _ in rows]), np.array([flag for _, flag in rows]))
    if not up or not down:
        assert isnan(found)
        return
    won = sum((a > b) + 0.5 * (a == b) for a in up for b in down)
    assert found == pytest.approx(won / (len(up) * len(down)))


def test_sessions_are_pooled_before_they_are_compared() -> None:
    """A positive of one session meets the negatives of every other."""
    parts = [
        (np.array([3.0, 1.0]), np.array([True, False])),
        (np.array([2.0, 0.0]), np.array([True, False])),
        (np.array([5.0, 4.0]), np.array([False, True])),
    ]
    scores = np.concatenate([scores for scores, _ in parts])
    flags = np.concatenate([flags for _, flags in parts])
    assert pooled_auc(parts).value == pytest.approx(auc(scores, flags))


def test_the_interval_of_an_area_knows_that_seconds_of_a_session_are_one_another() -> None:
    """Every second repeated a hundred times is no more evidence than once."""
    rng = np.random.default_rng(1)
    once, often = [], []
    for _ in range(30):
        scores, flags = rng.normal(size=8), rng.random(8) < 0.5
        once.append((scores, flags))
        often.append((np.repeat(scores, 100), np.repeat(flags, 100)))
    few, many = pooled_auc(once), pooled_auc(often)
    assert (many.value, many.low, many.high) == pytest.approx((few.value, few.low, few.high))
    assert few.low < 0.5 < few.high
    assert few.high - few.low > 0.1


def test_an_area_without_both_kinds_is_unknown() -> None:
    """Half would be an invented figure."""
    assert pooled_auc([]) == UNKNOWN
    assert isnan(pooled_auc([(np.array([1.0, 2.0]), np.array([True, True]))]).value)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.10, 0.20, Verdict.MET),
        (0.11, 0.30, Verdict.UNDECIDED),
        (0.05, 0.15, Verdict.UNDECIDED),
        (0.05, 0.30, Verdict.UNDECIDED),
        (0.21, 0.30, Verdict.MISSED),
        (0.01, 0.09, Verdict.MISSED),
    ],
)
def test_only_a_whole_interval_decides(low: float, high: float, verdict: Verdict) -> None:
    """A mean inside its band proves nothing."""
    assert decide(Interval(0.15, low, high), least=0.10, most=0.20) is verdict


def test_what_is_unknown_decides_nothing() -> None:
    """Not even against a band without bounds."""
    assert decide(UNKNOWN) is Verdict.UNDECIDED
    assert decide(mean_of([1.0]), least=0.0) is Verdict.UNDECIDED


def test_one_missed_condition_misses_the_band() -> None:
    """However many others are met or open."""
    met, missed, undecided = Verdict.MET, Verdict.MISSED, Verdict.UNDECIDED
    assert all_of([met, undecided, missed]) is missed
    assert all_of([met, undecided]) is undecided
    assert all_of([met, met]) is met


def test_the_bootstrap_of_a_mean_is_its_normal_interval() -> None:
    """Where theory knows the answer the draws must agree with it."""
    values = np.random.default_rng(7).normal(2.0, 1.0, 400)
    drawn, normal = bootstrap(mean, values), mean_of(values)
    assert drawn.value == pytest.approx(normal.value)
    assert drawn.low == pytest.approx(normal.low, abs=0.02)
    assert drawn.high == pytest.approx(normal.high, abs=0.02)


def test_a_ratio_of_deviations_is_paired_and_covers_the_truth() -> None:
    """Of what a fix halves exactly, session by session, the ratio has no uncertainty at all."""
    rng = np.random.default_rng(3)
    theirs = rng.normal(0.3, 1.0, 200)
    exact = bootstrap(ratio(deviation), theirs / 2, theirs)
    assert (exact.low, exact.value, exact.high) == pytest.approx((0.5, 0.5, 0.5))
    loose = bootstrap(ratio(deviation), rng.normal(0.3, 0.5, 200), theirs)
    assert loose.low < 0.5 < loose.high
    assert loose.low < loose.value < loose.high


def test_a_margin_has_the_sign_of_the_claim_where_a_ratio_has_none() -> None:
    """`all` loses a third of what `base` loses: the margin is zero, also where both win."""
    theirs = np.array([-3.0, -6.0, -9.0, -1.5])
    even = bootstrap(margin(mean, 1 / 3), theirs / 3, theirs)
    assert (even.low, even.value, even.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert bootstrap(margin(mean, 1 / 3), theirs / 2, theirs).high < 0
    assert bootstrap(margin(mean, 1 / 3), theirs / 4, theirs).low > 0


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60))
def test_the_worst_of_a_row_is_that_of_the_report(values: list[float]) -> None:
    """Two definitions of the tail would make the table contradict the lab."""
    assert float(worst(np.array(values))) == pytest.approx(worst_mean(values))


def test_a_ratio_to_what_may_be_nothing_has_no_interval() -> None:
    """Some draws of a variant that hardly ever trades have no deviation to divide by."""
    found = bootstrap(ratio(deviation), [1.0, 2.0, 4.0], [0.0, 0.0, 1.0])
    assert found.value > 0
    assert isnan(found.low)
    assert isnan(found.high)
    assert decide(found, least=0.0) is Verdict.UNDECIDED
    assert isnan(bootstrap(ratio(mean), [1.0, 2.0], [0.0, 0.0]).value)


def test_columns_of_different_length_are_refused() -> None:
    """A seed that one variant lacks would shift all pairs behind it."""
    with pytest.raises(ValueError, match="3, 2 rows"):
        bootstrap(ratio(mean), [1.0, 2.0, 3.0], [1.0, 2.0])
