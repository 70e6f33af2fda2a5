"""What was measured of a quote, and what the grid that it rests on leaves open."""

from __future__ import annotations

from typing import Final, NamedTuple

from mmbot.core.types import Side
from mmbot.runtime.selftest.facts import Wanted

_HALF_TERMS: Final = ("fee", "adverse", "glft", "half_min")
"""What one of them adds the last may take back."""


class Seen(NamedTuple):
    """A side as measured: mean depth of its nearest order, beside what it must be, bps."""

    observed_bps: float | None
    """None when nothing rested there at some time."""
    wanted: Wanted
    """The last of what it was compared with."""
    expected_bps: float
    tolerance_bps: float
    fair_ticks: float
    """Middle of the fair prices at which it was measured."""

    @property
    def is_ok(self) -> bool:
        """Whether it is where it must be."""
        observed = self.observed_bps
        return observed is not None and abs(observed - self.expected_bps) <= self.tolerance_bps

    def shows_bps(self, term: str, before: Seen) -> float:
        """How far the order would rest elsewhere had the term not answered, bps."""
        depth, floor = self.wanted.depth_bps, self.wanted.floor_bps
        if term in ("floor", "reducing_floor"):
            return max(0.0, floor - depth)
        if term == "touch":
            # Skew and touch bring the order there together, and either would do.
            return abs(self.wanted.laid_bps - before.wanted.laid_bps)
        if self.wanted.terms["hold"] > 0 and term != "hold":
            # It stays behind a price, whatever the terms before that come to.
            return 0.0
        names = _HALF_TERMS if term in _HALF_TERMS else (term,)
        answer = sum(
            self.wanted.terms.get(name, 0.0) - before.wanted.terms.get(name, 0.0) for name in names
        )
        return abs(max(depth, floor) - max(depth - answer, floor))


class Sample(NamedTuple):
    """The nearest order of a side at one fair price, and what it must be."""

    depth_bps: float | None
    wanted: Wanted
    spacing_bps: float
    fair_ticks: float


def untiled_bps(side: Side, rows: list[Sample]) -> float:
    """
    How far the mean rounding to lines may be from half a line, wherever the lines lie.

    The fair prices tile a line, but a quote that moves meanwhile rests at others. The mean has its
    extremes where one of the prices lies on a line or just misses it.
    """
    spacing = rows[-1].spacing_bps
    if spacing <= 0:
        return 0.0
    start, count = rows[0].fair_ticks, len(rows)
    places = [side * (row.fair_ticks - start) / start * 1e4 - row.wanted.laid_bps for row in rows]
    least = [sum((place - line) % spacing for place in places) / count for line in places]
    return max(
        *(spacing / 2 - mean for mean in least),
        *(mean + spacing / count - spacing / 2 for mean in least),
    )


def lines_of(rungs: int, growth: float) -> list[int]:
    """Lines of the grid from the nearest order to each: gaps that grow, one line at least."""
    lines, offset, gap = [0], 0.0, 1.0
    for _ in range(rungs - 1):
        before, offset = offset, offset + gap
        lines.append(lines[-1] + max(1, round(offset) - round(before)))
        gap *= growth
    return lines
