"""The stretches of a run that lost most, and how far it fell from its peak."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec
import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Floats
from mmbot.runtime.report.measures import Sweep
from mmbot.runtime.report.split import HORIZON_S, Course, Parts, Split, course

_SPAN_S: Final = (60.0, 900.0)
_SPANS: Final = 12
"""A stretch is this part of the run, within the bounds above."""
_WORST: Final = 3
_STEPS: Final = 4000
"""Moments at which a stretch may begin."""
_AT_ONCE: Final = 200_000
"""Moments that are valued together: a week has millions, each with a dozen figures."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """
    A stretch of the run and what it cost, valued at the mid.

    Capture and adverse selection are those of its own fills, up to its end; what the price did to
    everything held from before is inventory.
    """

    from_ns: int
    until_ns: int
    change_usd: float
    parts: Parts
    position_from_sz: float
    position_until_sz: float
    mid_from_px: float
    mid_until_px: float
    fills: int
    sweeps: int
    main: str
    """The part that lost most."""
    where: str
    """Journal position of its first fill, or nothing."""


def worst(facts: Facts, whole: Split, sweeps: list[Sweep]) -> list[Interval]:
    """
    The three stretches of equal length that lost most and do not overlap; losses only.

    A run that is shorter than a stretch is one stretch.
    """
    if facts.started_ns is None or facts.ended_ns is None or facts.mids is None:
        return []
    if whole.parts is None:
        return []
    chosen_s = min(_SPAN_S[1], max(_SPAN_S[0], facts.span_s / _SPANS))
    span_ns = min(round(chosen_s * NS_PER_S), facts.ended_ns - facts.started_ns)
    if span_ns <= 0:
        return []
    last_ns = facts.ended_ns - span_ns
    steps = int(min(_STEPS, max(1.0, facts.span_s)))
    begins = np.unique(np.linspace(facts.started_ns, last_ns, steps + 1).round().astype(np.int64))
    times = np.unique(np.concatenate([begins, begins + span_ns, [facts.ended_ns]]))
    grown = course(facts, whole, times)
    total = grown.total_usd
    first, last = np.searchsorted(times, begins), np.searchsorted(times, begins + span_ns)
    change = total[last] - total[first]
    found: list[Interval] = []
    free = np.ones(len(begins), np.bool_)
    while len(found) < _WORST and free.any():
        at = int(np.argmin(np.where(free, change, np.inf)))
        if not change[at] < -1e-9:
            break
        found.append(_interval(facts, grown, int(first[at]), int(last[at]), sweeps))
        free &= np.abs(begins - begins[at]) >= span_ns
    return found


def _interval(facts: Facts, grown: Course, a: int, b: int, sweeps: list[Sweep]) -> Interval:
    from_ns, until_ns = int(grown.at_ns[a]), int(grown.at_ns[b])

    def of(series: Floats) -> float:
        return float(series[b] - series[a])

    within = [fill for fill in facts.fills if from_ns < fill.at_ns <= until_ns]
    assert facts.mids is not None
    mids = facts.mids.at([from_ns, until_ns])
    adverse = 0.0
    for fill in within:
        if fill.mid_px is not None:
            due_ns = min(fill.at_ns + round(HORIZON_S * NS_PER_S), until_ns)
            after = float(facts.mids.at([due_ns])[0])
            adverse -= fill.side * fill.sz * (after - fill.mid_px)
    parts = Parts(
        capture_usd=of(grown.capture_usd),
        adverse_usd=adverse,
        inventory_usd=of(grown.inventory_usd) - of(grown.adverse_usd) + adverse,
        fees_usd=of(grown.fees_usd),
        funding_usd=of(grown.funding_usd),
    )
    losses = parts.effects
    return Interval(
        from_ns=from_ns,
        until_ns=until_ns,
        change_usd=of(grown.total_usd),
        parts=parts,
        position_from_sz=float(grown.position_sz[a]),
        position_until_sz=float(grown.position_sz[b]),
        mid_from_px=float(mids[0]),
        mid_until_px=float(mids[1]),
        fills=len(within),
        sweeps=sum(from_ns < sweep.at_ns <= until_ns for sweep in sweeps),
        main=min(losses, key=lambda name: losses[name]),
        where=within[0].where if within else "",
    )


def course_extremes(facts: Facts, whole: Split) -> tuple[float | None, float | None, float | None]:
    """
    Largest fall from peak equity in % of it, largest and smallest profit at the mid in USD.

    The profits are None where the split is not known.

    The fall is that of the kill switch (`core.risk`), which the run's own summary has: equity
    begins as the capital and is valued at the lower of the mid and the venue's mark. Where there is
    no summary it is measured here in the same way; None without a capital.

    Looked at whenever it changes: at each mid and mark, each fill and each payment, and right
    before a fill.
    """
    said = (facts.summary or {}).get("max_drawdown_pct")
    if facts.started_ns is None or facts.ended_ns is None:
        return said, None, None
    if whole.parts is None:
        return said, None, None
    booked = np.array(
        [*(fill.at_ns for fill in facts.fills), *(paid.at_ns for paid in facts.payments)], np.int64
    )
    mids = facts.mids.at_ns if facts.mids is not None else np.empty(0, np.int64)
    marked = np.array([at_ns for at_ns, _ in facts.marks], np.int64)
    ends = np.array([facts.started_ns, facts.ended_ns], np.int64)
    times = np.unique(np.concatenate([ends, mids, marked, booked, booked - 1]))
    times = times[(times >= facts.started_ns) & (times <= facts.ended_ns)]
    capital_usd = capital_of(facts)
    best = peak = -inf
    lowest, fell = inf, 0.0
    for from_i in range(0, len(times), _AT_ONCE):
        part = times[from_i : from_i + _AT_ONCE]
        is_end = from_i + len(part) == len(times)
        grown = course(facts, whole, part, has_end=is_end)
        best = max(best, float(np.max(grown.total_usd)))
        lowest = min(lowest, float(np.min(grown.total_usd)))
        if capital_usd is not None:
            equity = capital_usd + _at_the_lower(facts, grown, has_end=is_end)
            peaks = np.maximum.accumulate(np.maximum(equity, max(peak, capital_usd)))
            fell, peak = max(fell, float(np.max((peaks - equity) / peaks))), float(peaks[-1])
    if said is not None or capital_usd is None:
        return said, best, lowest
    return fell * 100, best, lowest


def capital_of(facts: Facts) -> float | None:
    """Capital at the start: what the account had, and no more than was configured."""
    started = facts.named("session.started")
    told = started[0].facts.get("capital_usd") if started else None
    capital = told or facts.config.get("risk", {}).get("capital_usd")
    # A config.toml is whatever somebody made of it, and a fall is a part of what was there.
    return float(capital) if isinstance(capital, int | float) and capital > 0 else None


def _at_the_lower(facts: Facts, grown: Course, *, has_end: bool) -> Floats:
    """Profit at the lower of mid and mark; at the mid before the first mark."""
    if not facts.marks or facts.mids is None:
        return grown.total_usd
    at_ns = np.array([at for at, _ in facts.marks], np.int64)
    px = np.array([px for _, px in facts.marks], np.float64)
    last = np.searchsorted(at_ns, grown.at_ns, side="right") - 1
    off = px[np.maximum(last, 0)] - facts.mids.at(grown.at_ns)
    is_known = last >= 0
    if has_end:
        is_known[-1] = False  # valued at the end's price already
    return grown.total_usd + np.minimum(0.0, np.where(is_known, grown.position_sz * off, 0.0))
