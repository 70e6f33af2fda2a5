"""The straight line of the adverse law: its weighted fit and its floors."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple


class Line(NamedTuple):
    """a(d) = a0 + a1 d: adverse move of a fill at depth d, both in bps, positive against us."""

    a0_bps: float
    a1: float

    def at(self, depth_bps: float) -> float:
        """Adverse move at one depth, bps."""
        return self.a0_bps + self.a1 * depth_bps


def fit_line(points: Sequence[tuple[float, float, float]], *, slope_max: float) -> Line:
    """
    Weighted least squares through (depth, move, weight), with a slope in [0, `slope_max`].

    Where the slope meets a bound the level is fitted anew with it: a fill never costs less for
    having been deeper, and at slope 1 no depth would ever break even.

    Raises:
        ValueError: Fewer than two depths carry weight.
    """
    total = fsum(weight for _, _, weight in points)
    if total > 0.0:
        depth = fsum(x * weight for x, _, weight in points) / total
        move = fsum(y * weight for _, y, weight in points) / total
        spread = fsum(weight * (x - depth) ** 2 for x, _, weight in points)
        if spread > 0.0:
            shared = fsum(weight * (x - depth) * (y - move) for x, y, weight in points)
            slope = max(0.0, min(slope_max, shared / spread))
            return Line(move - slope * depth, slope)
    msg = f"a line needs weight at two depths, got {list(points)}"
    raise ValueError(msg)


def raised(line: Line, *floors: Line, to_bps: float) -> Line:
    """`line` lifted until none of `floors` lies above it between 0 and `to_bps`."""
    lift = 0.0
    for floor in floors:
        # The difference of two lines is largest at an end.
        lift = max(lift, floor.at(0.0) - line.at(0.0), floor.at(to_bps) - line.at(to_bps))
    return Line(line.a0_bps + lift, line.a1)
