"""What independent fills do by chance: the figures of the model, and what they must never be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.significance import longest_run_p, reach_p, scan_events_min, scan_p

SESSION_S = 1500.0
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("rate", "window_s", "events", "p"),
    [
        (0.0147, 1, 3, 0.002332365859),
        (0.0147, 10, 4, 0.009613570231),
        (0.0147, 60, 6, 0.03299850765),
        (0.019, 60, 7, 0.02226449495),
        (0.038, 60, 10, 0.01976183605),
    ],
)
def test_the_scan_statistic_meets_the_vectors_of_the_model(
    rate: float, window_s: float, events: int, p: float
) -> None:
    """Model 3.6, probability over a session of 25 minutes."""
    assert scan_p(events, rate, window_s, SESSION_S) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("rate", "thresholds"),
    [
        (0.0147, ((3, 3), (4, 4), (4, 4), (4, 4), (6, 7), (8, 9), (8, 9))),
        (0.019, ((3, 3), (4, 4), (4, 4), (4, 5), (7, 8), (9, 10), (9, 10))),
        (0.038, ((3, 4), (4, 5), (4, 5), (5, 6), (10, 11), (13, 14), (14, 15))),
    ],
)
def test_the_significant_counts_are_those_of_the_models_table(
    rate: float, thresholds: tuple[tuple[int, int], ...]
) -> None:
    """Model 3.6: 5 % and 1 %; eight events in 60 s is the 5 % bound of a day at the lowest rate."""
    windows = (
        (1, SESSION_S),
        (1, DAY_S),
        (5, SESSION_S),
        (10, SESSION_S),
        (60, SESSION_S),
        (60, DAY_S),
        (120, SESSION_S),
    )
    for (window_s, span_s), pair in zip(windows, thresholds, strict=True):
        found = tuple(scan_events_min(p, rate, window_s, span_s) for p in (0.05, 0.01))
        assert found == pair, (window_s, span_s)


def test_a_simulated_stream_agrees() -> None:
    """The formula is an approximation; 4,000 Poisson sessions agree within four errors."""
    rng = random.Random(1)
    hits = 0
    for _ in range(4000):
        times, now = [], rng.expovariate(0.019)
        while now < SESSION_S:
            times.append(now)
            now += rng.expovariate(0.019)
        hits += any(b - a <= 60 for a, b in zip(times, times[5:], strict=False))
    assert hits / 4000 == pytest.approx(scan_p(6, 0.019, 60, SESSION_S), abs=0.02)


@pytest.mark.parametrize(
    ("tosses", "run", "p"),
    [
        (44, 7, 0.2738832206),
        (44, 8, 0.1414762209),
        (44, 9, 0.07073043071),
        (44, 10, 0.03482320895),
        (57, 7, 0.3476645322),
        (57, 8, 0.1852539729),
        (57, 9, 0.0944197429),
        (57, 10, 0.0471128030),
    ],
)
def test_runs_of_equal_sides_meet_the_vectors_of_the_model(tosses: int, run: int, p: float) -> None:
    """Model 3.6: a run of ten in a session is ordinary, so a run alone is no trigger."""
    assert longest_run_p(tosses, run) == pytest.approx(p, rel=1e-8)


def test_short_runs_can_be_counted_by_hand() -> None:
    """Three tosses: a run of three in 2 of 8, of two in 6 of 8, of one always."""
    assert [longest_run_p(3, run) for run in (1, 2, 3, 4)] == [1.0, 0.75, 0.25, 0.0]


def test_a_span_of_three_decays_is_significant_at_five_percent() -> None:
    """Model 3.6: 6.8 bps at k 0.5 is 0.033, four rungs (3.1 bps) are one order in five."""
    assert reach_p(6.8, 0.5) == pytest.approx(0.0333732700, rel=1e-8)
    assert reach_p(3.1, 0.5) == pytest.approx(0.2122479738, rel=1e-8)
    assert reach_p(3 / 0.35, 0.35) < 0.05 < reach_p(2.99 / 0.35, 0.35)


@given(
    events=st.integers(1, 30),
    rate=st.floats(1e-4, 10),
    window_s=st.floats(0.1, 100),
    span_s=st.floats(100, 1e5),
)
def test_more_events_than_a_rare_count_are_rarer_still(
    events: int, rate: float, window_s: float, span_s: float
) -> None:
    """The threshold search stops at the first significant count; near the mean the form dips."""
    one, more = scan_p(events, rate, window_s, span_s), scan_p(events + 1, rate, window_s, span_s)
    assert 0 <= one <= 1
    if one < 0.2:
        assert more <= one + 1e-12


@pytest.mark.parametrize(
    "call",
    [
        lambda: scan_p(0, 0.1, 1, 10),
        lambda: scan_p(3, float("nan"), 1, 10),
        lambda: scan_p(3, 0.1, 11, 10),
        lambda: scan_events_min(0.0, 0.1, 1, 10),
        lambda: longest_run_p(0, 1),
        lambda: reach_p(-1.0, 0.5),
        lambda: reach_p(1.0, 0.0),
        lambda: reach_p(float("nan"), 0.5),
    ],
)
def test_nonsense_is_refused(call: object) -> None:
    """A probability of nothing must not look like one."""
    assert callable(call)
    with pytest.raises(ValueError, match=r"need|must be"):
        call()
