"""
What was asked of the address's budget of requests, and what is left of it.

The venue's cap is read every few minutes and grows with every USD traded, so that its reading less
the count is too low: what is left is the engine's figure, which has what trades earned since.
"""

from __future__ import annotations

import msgspec
import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """
    Requests of the address.

    The count of what was used is the venue's, None where it was never read.
    """

    used_at_start: int | None
    used_at_end: int | None
    left_at_start: int
    left_at_end: int
    left_min: int
    left_min_ns: int
    per_h: float | None
    hours_left: float | None
    """At the pace of the run, what trades earn taken off; None where they earn as many."""
    spent_s: float
    """Time in which placements waited for the budget, s."""


def budget(facts: Facts) -> Budget | None:
    """What was asked of the request budget; None where it was never known."""
    points = _points(facts)
    if not points:
        return None
    told = facts.requests
    (first_ns, at_first), (last_ns, at_last) = points[0], points[-1]
    least_ns, least = min(points, key=lambda point: point[1])
    hours = (last_ns - first_ns) / NS_PER_S / 3600
    net = (at_first - at_last) / hours if hours > 1e-3 else None
    span_h = (told[-1].at_ns - told[0].at_ns) / NS_PER_S / 3600 if told else 0.0
    return Budget(
        used_at_start=told[0].used if told else None,
        used_at_end=told[-1].used if told else None,
        left_at_start=at_first,
        left_at_end=at_last,
        left_min=least,
        left_min_ns=least_ns,
        per_h=(told[-1].used - told[0].used) / span_h if span_h > 1e-3 else None,
        hours_left=at_last / net if net is not None and net > 0 else None,
        spent_s=facts.counts.get("spent_ms", 0) / 1000,
    )


def _points(facts: Facts) -> list[tuple[int, int]]:
    """
    Requests left at the start, at the least and at the end, in the order of time.

    The engine counts from its first decision to its last; the venue's own readings stand for it
    where it was not, and the run's summary has the end.
    """
    points: list[tuple[int, int]] = []
    counted = facts.left
    if counted is not None and len(counted.requests):
        chosen = (0, int(np.argmin(counted.requests)), len(counted.requests) - 1)
        points.extend((int(counted.at_ns[i]), round(float(counted.requests[i]))) for i in chosen)
    else:
        points.extend((each.at_ns, each.cap - each.used) for each in facts.requests)
    last = (facts.summary or {}).get("requests_left")
    if isinstance(last, int) and points:
        points.append((facts.ended_ns or points[-1][0], last))
    return sorted(points, key=lambda point: point[0])
