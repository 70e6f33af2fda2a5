"""Terms of the quote that did not do what they must, by the vitals and by what was measured."""

from __future__ import annotations

from itertools import pairwise
from math import log2, sqrt
from typing import Final, NamedTuple

import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.core.vitals.expectation import EXPECTATIONS
from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule
from mmbot.runtime.report.facts import Happening, Ladders
from mmbot.runtime.report.measures import Violation, violations

_MADE: Final = tuple(EXPECTATIONS)
_X: Final = 0.15
"""Position from which a skew must show, of the limit."""
_ROWS: Final = 10
_SKEW_BPS: Final = 2.0
"""Least skew for a whole limit; the configuration cannot go below 4."""
_DRIFT_ROWS: Final = 120
_DRIFT_S: Final = 30.0
_DRIFT_R: Final = -0.3
_DRIFT_ERRORS: Final = 3.0
_SWEEP_BPS: Final = 2.0
_ANSWER_S: Final = 5.0
_FOREVER_NS: Final = 1 << 63
_URGENT_S: Final = 20.0
_MET: Final = 0.5


def vital(case: Case) -> list[Cause]:
    """What the vitals said while the run went on, one cause a term."""
    terms: dict[str, list[Violation]] = {}
    for each in violations(case.facts):
        terms.setdefault(each.term, []).append(each)
    # What is made first breaks what is made of it, however soon either is seen.
    first = min(terms, key=_place, default="")
    found = []
    for term, group in terms.items():
        main = min(group, key=lambda each: (each.first_ns, -each.times))
        times = sum(each.times for each in group)
        lead = 3.0 if term == first else 0.0
        found.append(
            Cause(
                name=f"term:{term}",
                title=f"The term {term.replace('_', ' ')} was {main.kind.replace('_', ' ')}",
                text=f"{main.text[:1].upper()}{main.text[1:]}. While it is not mended, nothing but "
                "reducing orders rests.",
                strength=5.0 + lead + log2(1 + times) / 4,
                evidence=(
                    Evidence("violations", float(times), ""),
                    Evidence("kinds", float(len(group)), ""),
                ),
                at_ns=main.first_ns,
                where=main.journal,
            )
        )
    return found


def _place(term: str) -> int:
    """Where a term stands in the making of a quote; one of another version comes last."""
    return _MADE.index(term) if term in _MADE else len(_MADE)


def skew(case: Case) -> list[Cause]:
    """The inventory skew, read off the record: it must stand against the position."""
    ladders = case.facts.ladders
    if ladders is None or _is_told(case, "inventory_skew"):
        return []
    held = np.abs(ladders["q_frac"]) >= _X
    if held.sum() < _ROWS:
        return []
    per_limit = -ladders["inventory_skew_bps"][held] / ladders["q_frac"][held]
    middle = float(np.nanmedian(per_limit))
    if middle >= _SKEW_BPS:
        return []
    kind = "dead" if abs(middle) < _SKEW_BPS else "of the wrong sign"
    at = int(np.flatnonzero(held)[0])
    return [
        Cause(
            name="term:inventory_skew",
            title=f"The inventory skew was {kind}",
            text=f"With at least {_X:.0%} of the limit held, the quotes were shifted by "
            f"{middle:.2f} bps for a whole limit against the position.",
            strength=9.0,
            evidence=(
                Evidence("skew at the limit", middle, "bps"),
                Evidence("records", float(held.sum()), ""),
            ),
            at_ns=int(ladders["at_ns"][at]),
        )
    ]


def drift(case: Case) -> list[Cause]:
    """The drift estimate must follow the price, not run from it."""
    facts, ladders = case.facts, case.facts.ladders
    if ladders is None or facts.mids is None or _is_told(case, "drift", "drift_rate"):
        return []
    rate = ladders["drift_bps_per_s"]
    known = np.isfinite(rate) & (np.abs(rate) > 1e-6)
    if known.sum() < _DRIFT_ROWS:
        return []
    at_ns = ladders["at_ns"][known].astype(np.int64)
    before = facts.mids.at(at_ns - round(_DRIFT_S * NS_PER_S))
    now = facts.mids.at(at_ns)
    move = (now / before - 1.0) * 1e4
    if np.std(move) < 1e-9 or np.std(rate[known]) < 1e-12:
        return []
    r = float(np.corrcoef(move, rate[known])[0, 1])
    # Moves of windows that overlap are one: a run of minutes, or one jump, makes any correlation.
    windows = max(1.0, float(at_ns[-1] - at_ns[0]) / NS_PER_S / _DRIFT_S)
    if r > -max(-_DRIFT_R, _DRIFT_ERRORS / sqrt(windows)):
        return []
    return [
        Cause(
            name="term:drift_rate",
            title="The drift estimate ran against the price",
            text=f"Its correlation with the move of the {_DRIFT_S:.0f} s before is {r:+.2f}; a "
            "sound one is clearly positive.",
            strength=8.0,
            evidence=(
                Evidence("correlation", r, ""),
                Evidence("records", float(known.sum()), ""),
            ),
            at_ns=int(at_ns[0]),
        )
    ]


def cascade(case: Case) -> list[Cause]:
    """After a sweep the swept side must be pulled back."""
    facts, ladders = case.facts, case.facts.ladders
    if ladders is None or _is_told(case, "cascade", "hold"):
        return []
    # A reload may have switched it off: each stretch between two stands for itself.
    cuts = [each.at_ns for each in facts.named("config.reloaded")]
    notes = facts.named("cascade.seen")
    for from_ns, until_ns in pairwise([0, *cuts, _FOREVER_NS]):
        found = _unanswered(ladders, [it for it in notes if from_ns <= it.at_ns < until_ns])
        if found.first is not None and found.unanswered >= max(2, 0.5 * found.swept):
            return [_no_memory(found.swept, found.unanswered, found.first)]
    return []


class _Swept(NamedTuple):
    """Sweeps of a stretch, how many of them moved nothing, and the first of those."""

    swept: int
    unanswered: int
    first: Happening | None


def _unanswered(ladders: Ladders, notes: list[Happening]) -> _Swept:
    swept = unanswered = 0
    first = None
    for note in notes:
        depth = float(note.facts.get("depth_bps", 0.0))
        if depth < _SWEEP_BPS:
            continue
        side = "bid" if note.facts.get("side") == "buy" else "ask"
        after = (ladders["at_ns"] >= note.at_ns) & (
            ladders["at_ns"] <= note.at_ns + round(_ANSWER_S * NS_PER_S)
        )
        # Where the position asks for the swept side, the memory gives way to it.
        x = ladders["q_frac"] * (1.0 if side == "bid" else -1.0)
        after &= x >= 0.0
        if not after.any():
            continue
        swept += 1
        if float(np.nanmax(ladders[f"cascade_{side}_bps"][after])) < 0.25 * depth:
            unanswered += 1
            first = first or note
    return _Swept(swept, unanswered, first)


def _no_memory(swept: int, unanswered: int, first: Happening) -> Cause:
    return Cause(
        name="term:cascade",
        title="Sweeps left no memory",
        text=f"After {unanswered} of {swept} sweeps the side that was swept was not pulled "
        "back: the next sweep found the same ladder.",
        strength=8.0,
        evidence=(
            Evidence("sweeps", float(swept), ""),
            Evidence("without an answer", float(unanswered), ""),
        ),
        at_ns=first.at_ns,
        where=first.where,
    )


def opposed(case: Case) -> list[Cause]:
    """A trend against the position must be answered."""
    found = case.response
    if _is_told(case, "opposed") or found.met is None or found.ratio is None:
        return []
    settled = [each for each in found.intervals if each.ratio is not None]
    if found.urgent_s < _URGENT_S or found.met >= _MET or not settled:
        return []
    first = settled[0]
    return [
        Cause(
            name="term:opposed",
            title="A trend against the position was not answered",
            text=f"Urgently opposed for {found.urgent_s:.0f} s, the quotes were shifted by "
            f"{found.ratio:.0%} of the trend; at least {found.required:.0%} is wanted.",
            strength=7.0,
            evidence=(
                Evidence("response ratio", found.ratio * 100, "%"),
                Evidence("urgently opposed", found.urgent_s, "s"),
                Evidence("met", found.met * 100, "% of the time"),
            ),
            at_ns=first.from_ns,
        )
    ]


def _is_told(case: Case, *terms: str) -> bool:
    """Whether the vitals have named one of these already."""
    return any(note.facts.get("term") in terms for note in case.facts.named("vitals.violated"))


RULES: Final[tuple[Rule, ...]] = (vital, skew, drift, cascade, opposed)
