"""The line to the venue: connections, prices, answers, clocks."""

from __future__ import annotations

from typing import Final

import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule

_OUTAGES: Final = 2
_OUTAGES_PER_H: Final = 2.0
_OUTAGE_FRAC: Final = 0.02
_STALE_FRAC: Final = 0.01
_STALE_S: Final = 5.0
_FEED_MS: Final = 700.0
_ANSWER_MS: Final = 700.0
"""Median time to a verdict from which quotes are older than what they were made for."""
_TAIL_MS: Final = 2500.0
_UNANSWERED: Final = 3
_UNANSWERED_PER_H: Final = 6.0
_STEP_S: Final = 0.5
_STEPS_PER_H: Final = 1 / 6
_OFFSET_MS: Final = 300.0
"""Difference of the clocks that no way to the venue explains."""
_LOW: Final = 5.0
"""Percentile that stands for an undisturbed way."""
_GIVEN_UP: Final = ("prices come", "stream ")
"""How the reasons begin for which we make another connection by ourselves."""
_STILL_S: Final = 3.0
_STILL_FRAC: Final = 0.005
_AFTER_NS: Final = 20 * NS_PER_S


def disconnected(case: Case) -> list[Cause]:
    """The connection was lost, again or for long."""
    facts = case.facts
    # A connection that we give up because prices come late on it is an answer, not a cause.
    outages = [each for each in facts.outages if not each.reason.startswith(_GIVEN_UP)]
    span_s = max(1.0, facts.span_s)
    if not outages:
        return []
    end_ns = facts.ended_ns or 0
    lost_s = sum(((each.until_ns or end_ns) - each.from_ns) / NS_PER_S for each in outages)
    per_h = len(outages) / span_s * 3600
    many = case.at_least(_OUTAGES, _OUTAGES_PER_H)
    if len(outages) < many and lost_s / span_s < _OUTAGE_FRAC:
        return []
    first = outages[0]
    return [
        Cause(
            name="disconnects",
            title="The connection to the venue was lost",
            text=f"{len(outages)} times, for {lost_s:.0f} s in all ({lost_s / span_s:.1%} of the "
            f"run); the first reason was: {first.reason}. Nothing rests while it is gone.",
            strength=len(outages) / many + lost_s / span_s / _OUTAGE_FRAC,
            evidence=(
                Evidence("connections lost", float(len(outages)), ""),
                Evidence("without one", lost_s, "s"),
                Evidence("an hour", per_h, ""),
            ),
            at_ns=first.from_ns,
            where=first.where,
        )
    ]


def stale(case: Case) -> list[Cause]:
    """Prices were silent or late while the connection stood."""
    facts = case.facts
    span_s = max(1.0, facts.span_s)
    rules = facts.suppressed_s.get("bid", {})
    spent = sum(rules.get(rule, 0.0) for rule in ("stale book", "late book", "no book yet"))
    notes = facts.named("book.stale")
    late_ms = float(np.median(facts.feed_ms)) - _offset_ms(case) if facts.feed_ms else 0.0
    worst_s = max((gap for _, gap in facts.feed_gap_s), default=0.0)
    long_s = case.for_s(_STALE_S, _STALE_FRAC)
    is_stale = bool(notes) and spent >= long_s
    is_late = late_ms >= _FEED_MS
    if not (is_stale or is_late):
        return []
    at_ns = notes[0].at_ns if notes else None
    return [
        Cause(
            name="feed",
            title="Prices were stale" if is_stale else "Prices came late",
            text=f"For {spent:.0f} s ({spent / span_s:.1%} of the run) no price was fresh enough "
            f"to quote on; a price was {late_ms:.0f} ms old on arrival (median), the longest "
            f"silence was {worst_s:.1f} s.",
            strength=max(spent / long_s, late_ms / _FEED_MS) + 0.5,
            evidence=(
                Evidence("without fresh prices", spent, "s"),
                Evidence("age on arrival, median", late_ms, "ms"),
                Evidence("longest silence", worst_s, "s"),
                Evidence("times", float(len(notes)), ""),
            ),
            at_ns=at_ns,
            where=notes[0].where if notes else "",
        )
    ]


def stood_still(case: Case) -> list[Cause]:
    """Neither prices nor verdicts came, at the same time."""
    facts = case.facts
    asked_ns = [each.at_ns for each in facts.named("order.unanswered")]
    found: list[tuple[int, float]] = []
    for from_ns, gap_s in facts.feed_gap_s:
        until_ns = from_ns + round(gap_s * NS_PER_S) + _AFTER_NS
        if gap_s >= _STILL_S and any(from_ns <= at <= until_ns for at in asked_ns):
            found.append((from_ns, gap_s))
    late = sum(
        case.facts.suppressed_s.get("bid", {}).get(rule, 0.0)
        for rule in ("stale book", "late book")
    )
    if not found or late < case.for_s(_STILL_S, _STILL_FRAC):
        return []
    first = min(facts.named("order.unanswered"), key=lambda each: abs(each.at_ns - found[0][0]))
    longest_s = max(gap_s for _, gap_s in found)
    return [
        Cause(
            name="standstill",
            title="The venue, or the line to it, stood still",
            text=f"{len(found)} times neither prices nor verdicts came, for {longest_s:.1f} s at "
            f"the longest; {len(asked_ns)} requests had no verdict. Prices that are late after it "
            f"kept both sides empty for {late:.0f} s.",
            strength=4.0 + longest_s / _STILL_S,
            evidence=(
                Evidence("times", float(len(found)), ""),
                Evidence("longest", longest_s, "s"),
                Evidence("without a verdict", float(len(asked_ns)), ""),
            ),
            at_ns=found[0][0],
            where=first.where,
        )
    ]


def slow(case: Case) -> list[Cause]:
    """Verdicts on our orders took long."""
    answers = [ms for values in case.facts.answers_ms.values() for ms in values]
    if len(answers) < 5:
        return []
    p50, p90, p99 = (float(v) for v in np.percentile(answers, (50, 90, 99)))
    if p50 < _ANSWER_MS and p90 < _TAIL_MS:
        return []
    return [
        Cause(
            name="latency",
            title="The venue answered our orders slowly",
            text=f"Half of all verdicts took more than {p50:.0f} ms, one in ten more than "
            f"{p90:.0f} ms: an order rested that long where it was no longer wanted.",
            strength=max(p50 / _ANSWER_MS, p90 / _TAIL_MS) * 2.0,
            evidence=(
                Evidence("median", p50, "ms"),
                Evidence("90 %", p90, "ms"),
                Evidence("99 %", p99, "ms"),
                Evidence("verdicts", float(len(answers)), ""),
            ),
        )
    ]


def unanswered(case: Case) -> list[Cause]:
    """Requests that never had a verdict."""
    notes = case.facts.named("order.unanswered")
    count = max(len(notes), case.facts.counts.get("unanswered", 0))
    many = case.at_least(_UNANSWERED, _UNANSWERED_PER_H)
    if count < many:
        return []
    return [
        Cause(
            name="unanswered",
            title="The venue did not answer orders",
            text=f"{count} requests had no verdict; each order counts as live until the venue "
            "says what became of it, so less was quoted.",
            strength=1.0 + count / many,
            evidence=(Evidence("requests without a verdict", float(count), ""),),
            at_ns=notes[0].at_ns if notes else None,
            where=notes[0].where if notes else "",
        )
    ]


def _offset_ms(case: Case) -> float:
    """
    By how much our clock is ahead of the venue's all the time, ms; 0 where that is not sure.

    What we asked for ourselves comes without delay of the venue's making, so that no answer can
    seem older than its way back and the difference of the clocks. Prices that are late beside it
    are late; what is as late as prices, on a line that answers at once, is the clock.
    """
    facts = case.facts
    if not facts.read_ms or not facts.feed_ms:
        return 0.0
    seen_ms = min(*facts.read_ms, float(np.percentile(facts.feed_ms, _LOW)))
    answers = [ms for values in facts.answers_ms.values() for ms in values]
    way_ms = float(np.percentile(answers, _LOW)) / 2 if answers else 0.0
    # Nothing comes before it is sent: what seems to is the clock alone, whatever the way.
    ahead_ms = seen_ms - way_ms
    return ahead_ms if abs(ahead_ms) >= _OFFSET_MS else 0.0


def apart(case: Case) -> list[Cause]:
    """Our clock is not the venue's, all the time."""
    offset_ms = _offset_ms(case)
    if not offset_ms:
        return []
    what = "ahead of" if offset_ms > 0 else "behind"
    return [
        Cause(
            name="clock:offset",
            title=f"The clock of the machine was {what} the venue's",
            text=f"By {abs(offset_ms):.0f} ms all the time: ages of prices were wrong by as much, "
            "and so was the instant at which our orders expire. Keep it in step (chrony, NTP); "
            "`mmbot check` says how far it is off.",
            strength=1.0 + abs(offset_ms) / _OFFSET_MS,
            evidence=(
                Evidence("ahead of the venue", offset_ms, "ms"),
                Evidence("age of readings, least", min(case.facts.read_ms), "ms"),
                Evidence("age of prices, median", float(np.median(case.facts.feed_ms)), "ms"),
            ),
        )
    ]


def clock(case: Case) -> list[Cause]:
    """Our clock was set."""
    steps = [
        each
        for each in case.facts.named("clock.stepped")
        if abs(float(each.facts.get("step_s", 0.0))) >= _STEP_S
    ]
    if len(steps) < case.at_least(1, _STEPS_PER_H):
        return []
    most = max(steps, key=lambda each: abs(float(each.facts["step_s"])))
    step_s = float(most.facts["step_s"])
    return [
        Cause(
            name="clock",
            title="The clock of the machine was set",
            text=f"By {step_s:+.2f} s at most, {len(steps)} times: ages of prices and of orders "
            "were wrong, and from 5 s on all estimates began anew. Keep it in step (chrony, NTP).",
            strength=10.0 + abs(step_s),
            evidence=(
                Evidence("largest step", step_s, "s"),
                Evidence("times", float(len(steps)), ""),
            ),
            at_ns=most.at_ns,
            where=most.where,
        )
    ]


RULES: Final[tuple[Rule, ...]] = (disconnected, stale, stood_still, slow, unanswered, clock, apart)
