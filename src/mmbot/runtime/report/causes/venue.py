"""What the venue refused: orders, requests, the market itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from mmbot.core.premises import Shut
from mmbot.core.types import NS_PER_S
from mmbot.journal.reader import State
from mmbot.runtime.report.budget import budget
from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule
from mmbot.runtime.report.facts import Facts

_HARMLESS: Final = frozenset({"gone"})
"""A move of an order that was just filled: it happens to everybody who trades."""
_REJECTS: Final = 10
_REJECTS_PER_H: Final = 60.0
_REJECT_FRAC: Final = 0.05
_SPENT_S: Final = 5.0
_SPENT_FRAC: Final = 0.01
_REFUSALS_PER_H: Final = 10.0
_LEFT: Final = 100
_SHUT_FRAC: Final = 0.01
_SHUT_S: Final = 5.0
_SHUT: Final = frozenset(each.value for each in Shut)
"""What the market itself forbids; all other rules are of this program."""


def refused(case: Case) -> list[Cause]:
    """Placements and moves refused in numbers."""
    facts = case.facts
    notes = [
        each
        for each in facts.named("order.rejected")
        if each.facts.get("request") != "cancel" and each.facts.get("reason") not in _HARMLESS
    ]
    share = _share(facts, len(notes))
    many = case.at_least(_REJECTS, _REJECTS_PER_H) if share is None else _REJECTS
    if len(notes) < many or (share is not None and share < _REJECT_FRAC):
        return []
    reasons: dict[str, int] = {}
    for each in notes:
        reason = str(each.facts.get("reason"))
        reasons[reason] = reasons.get(reason, 0) + 1
    main = max(reasons, key=lambda name: reasons[name])
    if main == "budget":
        return []  # told by the rule of the budget
    first = next(each for each in notes if each.facts.get("reason") == main)
    asked = "" if share is None else f", {share:.0%} of all requests"
    shares = () if share is None else (Evidence("of all requests", share * 100, "%"),)
    return [
        Cause(
            name="rejects",
            title=f"The venue refused our orders ({main.replace('_', ' ')})",
            text=f"{len(notes)} placements and moves were refused{asked}; "
            f"most often: {str(first.facts.get('text')).rstrip('.')}.",
            strength=1.0 + len(notes) / many + (share or 0.0) / _REJECT_FRAC,
            evidence=(
                Evidence("refused", float(len(notes)), ""),
                *shares,
                Evidence(f"of them {main.replace('_', ' ')}", float(reasons[main]), ""),
            ),
            at_ns=first.at_ns,
            where=first.where,
        )
    ]


def _share(facts: Facts, refused: int) -> float | None:
    """Of all requests; None where the journal, which counts them, is not there or not whole."""
    asked = facts.counts.get("requests", 0)
    if not facts.has_journal or facts.journal_state != State.WHOLE.value or asked < refused:
        return None
    return refused / asked if asked else None


def _low_s(facts: Facts) -> float:
    """For how long so few requests were left that placements must wait for them, s."""
    if facts.left is None or len(facts.left.requests) < 2:
        points = [(each.at_ns, float(each.cap - each.used)) for each in facts.requests]
    else:
        points = list(zip(facts.left.at_ns.tolist(), facts.left.requests.tolist(), strict=True))
    if not points:
        return 0.0
    points.append((facts.ended_ns or points[-1][0], 0.0))
    return sum(
        max(0, later - at_ns) / NS_PER_S
        for (at_ns, left), (later, _) in pairwise(points)
        if left <= _LEFT
    )


def spent(case: Case) -> list[Cause]:
    """The address has no requests left."""
    facts = case.facts
    found = budget(facts)
    waited_s = facts.counts.get("spent_ms", 0) / 1000
    refusals = [
        each for each in facts.named("order.rejected") if each.facts.get("reason") == "budget"
    ]
    left = None if found is None else found.left_min
    long_s, many = case.for_s(_SPENT_S, _SPENT_FRAC), case.at_least(_REJECTS, _REFUSALS_PER_H)
    is_low = _low_s(facts) >= long_s
    if not (is_low or waited_s >= long_s or len(refusals) >= many):
        return []
    lefts = () if left is None else (Evidence("left at the least", float(left), "requests"),)
    first_ns = refusals[0].at_ns if refusals else (found.left_min_ns if found is not None else None)
    return [
        Cause(
            name="budget",
            title="The request budget of the address was spent",
            text=f"{left if left is not None else 'An unknown number of'} requests were left at "
            f"the least; placements waited for {waited_s:.0f} s, the venue refused "
            f"{len(refusals)}. Quotes were followed up more seldom than wanted.",
            strength=3.0 + waited_s / long_s / 10 + len(refusals) / many + (2.0 if is_low else 0.0),
            evidence=(
                *lefts,
                Evidence("waited", waited_s, "s"),
                Evidence("refused", float(len(refusals)), ""),
            ),
            at_ns=first_ns,
            where=refusals[0].where if refusals else "",
        )
    ]


def shut(case: Case) -> list[Cause]:
    """The market did not trade, or not for what adds."""
    facts = case.facts
    notes = facts.named("market.shut")
    rules: dict[str, float] = {}
    for side in facts.suppressed_s.values():
        for rule, spent_s in side.items():
            if rule in _SHUT:
                rules[rule] = max(rules.get(rule, 0.0), spent_s)
    lasted_s = sum(rules.values())
    if lasted_s < case.for_s(_SHUT_S, _SHUT_FRAC):
        return []
    why = max(rules, key=lambda name: rules[name])
    return [
        Cause(
            name="shut",
            title=f"The market was not open for us ({why})",
            text=f"For {lasted_s:.0f} s nothing could be added to the position: {why}.",
            strength=2.0 + lasted_s / max(1.0, facts.span_s) / _SHUT_FRAC,
            evidence=(
                Evidence("time", lasted_s, "s"),
                Evidence("times", float(len(notes)), ""),
            ),
            at_ns=notes[0].at_ns if notes else None,
            where=notes[0].where if notes else "",
        )
    ]


RULES: Final[tuple[Rule, ...]] = (refused, spent, shut)
