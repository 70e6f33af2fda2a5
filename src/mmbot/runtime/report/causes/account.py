"""The account: somebody else's trades, money that moved, a position from before."""

from __future__ import annotations

from typing import Final

import numpy as np

from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule
from mmbot.runtime.report.facts import Happening
from mmbot.runtime.report.split import CENT_USD, ledger_gaps

_FOREIGN: Final = ("foreign_fill", "position_mismatch")
_FORCED: Final = "liquidation"
_INHERITED_FRAC: Final = 0.4


def traded_beside(case: Case) -> list[Cause]:
    """The position changed by what no order of this run explains."""
    facts = case.facts
    notes = facts.named("position.mismatched", "position.unexplained")
    trips = [
        each for each in facts.named("killswitch.tripped") if each.facts.get("trigger") in _FOREIGN
    ]
    if not (notes or trips):
        return []
    first = min([*notes, *trips], key=lambda each: each.at_ns, default=None)
    missing = max((abs(float(each.facts.get("missing_sz", 0.0))) for each in notes), default=0.0)
    text = str(trips[0].facts["text"]) if trips else "the venue's position differed from our fills"
    return [
        Cause(
            name="position",
            title="Somebody else moved the position",
            text=f"{text[0].upper()}{text[1:]}.",
            strength=15.0,
            evidence=(
                Evidence("seen", float(len(notes) + len(trips)), "times"),
                Evidence("largest difference", missing, "coins"),
            ),
            at_ns=first.at_ns if first is not None else None,
            where=first.where if first is not None else "",
        )
    ]


def liquidated(case: Case) -> list[Cause]:
    """The venue itself closed some of the position."""
    facts = case.facts
    forced = [fill for fill in facts.fills if fill.is_forced]
    trips = [it for it in facts.named("killswitch.tripped") if it.facts.get("trigger") == _FORCED]
    if not (forced or trips):
        return []
    usd = sum(fill.sz * fill.px for fill in forced)
    first = trips[0] if trips else None
    return [
        Cause(
            name="liquidated",
            title="The venue closed the position by force",
            text=f"{len(forced)} fills of {usd:.2f} USD were liquidation or auto-deleveraging: the "
            "account could not carry the position, or somebody else's could not."
            if forced
            else f"{str(trips[0].facts.get('text')).rstrip('.')}.",
            strength=20.0,
            evidence=(
                Evidence("forced fills", float(len(forced)), ""),
                Evidence("of them", usd, "USD"),
            ),
            at_ns=forced[0].at_ns if forced else first.at_ns if first is not None else None,
            where=forced[0].where if forced else first.where if first is not None else "",
        )
    ]


def moved_money(case: Case) -> list[Cause]:
    """The account changed by what neither fills nor funding explain."""
    whole, facts = case.whole, case.facts
    gap = whole.unexplained_usd
    trips = [
        each for each in facts.named("killswitch.tripped") if each.facts.get("trigger") == "balance"
    ]
    if whole.are_fills_whole is False:
        gap = None  # it is what the missing fills made, and `missing` says so
    if gap is None and trips:
        return [_tripped(trips[0])]
    if gap is None or whole.total_usd is None or (abs(gap) < 2 * CENT_USD and not trips):
        return []
    jump_ns, where = _jump(case)
    what = "left" if gap < 0 else "came into"
    return [
        Cause(
            name="funds",
            title=f"Money {what} the account beside the run",
            text=f"{abs(gap):.2f} USD of the change of equity is in no fill, fee or funding of "
            "the run: a transfer, or fills that could not be read.",
            strength=8.0 + min(20.0, abs(gap)),
            evidence=(
                Evidence("unexplained", gap, "USD"),
                Evidence("explained", whole.total_usd, "USD"),
            ),
            at_ns=jump_ns,
            where=where,
        )
    ]


def _tripped(trip: Happening) -> Cause:
    """By the trip's own word, where the run has no reading of an end to say how much it was."""
    value = trip.facts.get("value")
    return Cause(
        name="funds",
        title="Money moved beside the run",
        text=f"{str(trip.facts.get('text')).rstrip('.')}. How much it was in the end is not known.",
        strength=8.0,
        evidence=()
        if value is None
        else (Evidence("when it tripped", float(value), str(trip.facts.get("unit"))),),
        at_ns=trip.at_ns,
        where=trip.where,
    )


def _jump(case: Case) -> tuple[int | None, str]:
    """The reading of the account at which its value jumped most against our ledger."""
    readings = case.facts.readings
    gaps = ledger_gaps(case.facts, readings)
    if gaps is None or len(gaps) < 2:
        return None, ""
    after = readings[int(np.argmax(np.abs(np.diff(gaps)))) + 1]
    return after.at_ns, after.where


def inherited(case: Case) -> list[Cause]:
    """A large position was there at the start."""
    facts, whole = case.facts, case.whole
    start = facts.start
    ladders = facts.ladders
    if start is None or not start.position_sz or start.mark_px is None or ladders is None:
        return []
    limit_sz = float(ladders["q_max_sz"][0]) if len(ladders) else 0.0
    frac = abs(start.position_sz) / limit_sz if limit_sz > 0 else 0.0
    if frac < _INHERITED_FRAC:
        return []
    end = whole.end_px if whole.end_px is not None else start.mark_px
    effect = start.position_sz * (end - start.mark_px)
    return [
        Cause(
            name="inherited",
            title="A position from before the run",
            text=f"The run began with {start.position_sz:+g}, {frac:.0%} of its limit; held to the "
            f"end it would have made {effect:+.2f} USD by itself.",
            strength=1.0 + frac / _INHERITED_FRAC,
            evidence=(
                Evidence("position at the start", start.position_sz, "coins"),
                Evidence("of the limit", frac * 100, "%"),
                Evidence("by itself", effect, "USD"),
            ),
            at_ns=start.at_ns,
            where=start.where,
        )
    ]


RULES: Final[tuple[Rule, ...]] = (traded_beside, liquidated, moved_money, inherited)
