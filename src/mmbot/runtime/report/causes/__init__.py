"""
Suspected causes of what went wrong, ranked: rules over measured facts of the run.

A rule looks at what was measured and names a cause when a figure lies outside of what a sound run
shows. What follows from another cause stays in the list, below it, and says so: an order without
an answer is no fault of its own when the connection was lost.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.runtime.report.causes import account, economics, line, operator, terms, venue
from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule

__all__ = ["Case", "Cause", "Evidence", "suspects"]

RULES: Final[tuple[Rule, ...]] = (
    *operator.RULES,
    *line.RULES,
    *venue.RULES,
    *account.RULES,
    *terms.RULES,
    *economics.RULES,
)

_EXPLAINS: Final[dict[str, tuple[str, ...]]] = {
    "bug": ("unanswered", "term", "kill"),
    "reload": operator.RELOAD_BRINGS,
    "clock": ("journal", "shut", "disconnects", "feed", "latency", "unanswered", "term", "kill"),
    "journal": ("kill",),
    "standstill": (
        "disconnects", "feed", "latency", "unanswered", "rejects", "term:placed", "kill",
    ),
    "disconnects": ("feed", "latency", "unanswered", "rejects", "shut", "term:placed", "kill"),
    "feed": ("latency", "rejects", "shut", "tight", "kill"),
    "shut": ("rejects", "kill"),
    "liquidated": ("position", "funds", "rejects", "kill"),
    "position": ("funds", "rejects", "term", "size", "tight", "kill"),
    "funds": ("rejects", "kill"),
    "operator": ("kill",),
    "budget": ("rejects", "latency", "term:placed", "tight", "kill"),
    "latency": ("unanswered", "rejects", "term:placed", "tight", "kill"),
    "unanswered": ("rejects", "term:placed", "kill"),
    "rejects": ("term:placed", "term:rungs", "kill"),
    "fee": ("term", "tight", "kill"),
    "term": ("term", "size", "tight", "kill"),
    "inherited": ("size", "tight", "kill"),
    "size": ("tight", "kill"),
    "tight": ("kill",),
}  # fmt: skip
"""
Which causes a cause brings about, by the first word of their names or by the whole name.

The order is that of causation: nothing explains what stands above it, so there is no circle.
"""
_ORDER: Final = {word: i for i, word in enumerate((*_EXPLAINS, "kill"))}


def suspects(case: Case) -> list[Cause]:
    """The causes of a run, the likeliest first; empty for a sound one."""
    found = [cause for rule in RULES for cause in rule(case)]
    found.extend(operator.reloaded(case, found))
    # Terms are named in the order in which the quote is made: the first one broken breaks others.
    found.sort(key=lambda cause: (_ORDER[_word(cause)], -cause.strength))
    followed = [
        msgspec.structs.replace(cause, follows=_explained(cause, found[:i]) or "")
        for i, cause in enumerate(found)
    ]
    return sorted(followed, key=lambda cause: (bool(cause.follows), -cause.strength))


def _explained(cause: Cause, before: list[Cause]) -> str | None:
    """The cause that brings this one about, None if it stands for itself."""
    for other in before:
        brought = _EXPLAINS[_word(other)]
        is_after = other.name != "reload" or (cause.at_ns or 0) >= (other.at_ns or 0)
        if is_after and (cause.name in brought or _word(cause) in brought):
            return other.name
    return None


def _word(cause: Cause) -> str:
    return cause.name.partition(":")[0]
