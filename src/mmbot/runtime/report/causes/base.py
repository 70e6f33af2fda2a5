"""What a suspected cause is, and what a rule sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from mmbot.runtime.report.facts import Facts
from mmbot.runtime.report.measures import Markout, Response, Sweep
from mmbot.runtime.report.split import Split


class Evidence(msgspec.Struct, frozen=True):
    """A measured figure: what, how much, in which unit."""

    what: str
    value: float
    unit: str


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    A suspected cause of what went wrong.

    Attributes:
        name: Stable, for programs: `latency`, `term:drift`.
        title: For a person, a few words.
        text: One sentence with the figures that count.
        strength: How far the figure is beyond what a sound run shows; 1 is just beyond it.
        evidence: The figures.
        at_ns: When it was first seen; None where it is a figure of the whole run.
        where: Its place in the journal, or in the log.
        follows: Name of a cause above that explains it; empty where it stands for itself.
    """

    name: str
    title: str
    text: str
    strength: float
    evidence: tuple[Evidence, ...]
    at_ns: int | None = None
    where: str = ""
    follows: str = ""


class Case(NamedTuple):
    """All that a rule may look at: facts of the run, and what was measured of them."""

    facts: Facts
    whole: Split
    markouts: list[Markout]
    sweeps: list[Sweep]
    response: Response

    def at_least(self, count: float, per_h: float) -> float:
        """From which count on something is more than a run of this length has to bear."""
        return max(count, per_h * self.facts.span_s / 3600.0)

    def for_s(self, least_s: float, frac: float) -> float:
        """The same of a span of time, s: the greater of the least and a fraction of the run."""
        return max(least_s, frac * self.facts.span_s)


Rule = Callable[[Case], list[Cause]]
