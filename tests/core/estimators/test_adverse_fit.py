"""The line of the adverse law: least squares, bounds, floors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.estimators.adverse_fit import Line, fit_line, raised

MOVES = st.lists(st.tuples(st.floats(-20, 40), st.floats(0.5, 500)), min_size=7, max_size=7)
DEPTHS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
COUNTS = (988, 466, 606, 499, 340, 301)
DISTANCES = (0.34, 1.43, 2.85, 5.66, 11.04, 20.63)
ADVERSE = (3.22, 4.06, 4.64, 5.52, 8.59, 9.63)


@pytest.mark.parametrize(("bins", "a0", "a1"), [(6, 3.491, 0.341), (5, 3.136, 0.480)])
def test_it_meets_the_fit_of_section_1_5(bins: int, a0: float, a1: float) -> None:
    """3,200 recorded fills in six bins, and in the five up to 15 bps."""
    points = list(zip(DISTANCES, ADVERSE, COUNTS, strict=True))[:bins]
    line = fit_line([(d, move, float(n)) for d, move, n in points], slope_max=0.8)
    assert line.a0_bps == pytest.approx(a0, abs=5e-4)
    assert line.a1 == pytest.approx(a1, abs=5e-4)


@given(moves=MOVES)
def test_it_is_weighted_least_squares_where_the_slope_is_free(
    moves: list[tuple[float, float]],
) -> None:
    """Against another solver; at a bound the level still balances the weights."""
    points = [(d, move, weight) for d, (move, weight) in zip(DEPTHS, moves, strict=True)]
    line = fit_line(points, slope_max=0.8)
    x, y, w = (np.array(column) for column in zip(*points, strict=True))
    slope, level = np.polyfit(x, y, 1, w=np.sqrt(w))
    assert 0.0 <= line.a1 <= 0.8
    if 1e-6 < slope < 0.8 - 1e-6:
        assert line.a1 == pytest.approx(slope, abs=1e-6)
        assert line.a0_bps == pytest.approx(level, abs=1e-5)
    residual = sum(weight * (move - line.at(d)) for d, move, weight in points)
    assert residual / sum(weight for _, _, weight in points) == pytest.approx(0.0, abs=1e-9)


@given(
    line=st.tuples(st.floats(-9, 9), st.floats(0, 0.8)),
    floors=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 0.8)), min_size=1, max_size=3),
)
def test_a_raised_line_lies_above_every_floor_and_no_higher_than_needed(
    line: tuple[float, float], floors: list[tuple[float, float]]
) -> None:
    """Everywhere from 0 to 12 bps, touching one of them unless it was above all."""
    lines = [Line(*floor) for floor in floors]
    result = raised(Line(*line), *lines, to_bps=12.0)
    gaps = [result.at(d) - floor.at(d) for floor in lines for d in (0.0, 2.5, 7.0, 12.0)]
    assert min(gaps) >= -1e-9
    assert result.a1 == line[1]
    assert result.a0_bps == line[0] or min(gaps) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0, 3.0)], [(1.0, 2.0, 3.0), (4.0, 2.0, 0.0)]])
def test_one_depth_makes_no_line(points: list[tuple[float, float, float]]) -> None:
    """An error rather than a slope out of nothing."""
    with pytest.raises(ValueError, match="two depths"):
        fit_line(points, slope_max=0.8)
