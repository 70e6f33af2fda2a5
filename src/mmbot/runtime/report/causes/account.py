"""The account: somebody else's trades, money that moved, a position from before."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule
from mmbot.runtime.report.split import CENT_USD

_FOREIGN: Final = ("foreign_fill", "position_mismatch", "liquidation")
_INHERITED_FRAC: Final = 0.4


def traded_beside(case: Case) -> list[Cause]:
    """The position changed by what no order of this run explains."""
    facts = case.facts
    notes = facts.named("position.mismatched", "position.unexplained")
    trips = [
        each for each in facts.named("killswitch.tripped") if each.facts.get("trigger") in _FOREIGN
    ]
    # A fill without our cloid is one that this program did not order.
    strange = [fill for fill in facts.fills if fill.is_forced]
    if not (notes or trips or strange):
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
                Evidence("forced fills", float(len(strange)), ""),
            ),
            at_ns=first.at_ns if first is not None else None,
            where=first.where if first is not None else "",
        )
    ]


def moved_money(case: Case) -> list[Cause]:
    """The account changed by what neither fills nor funding explain."""
    whole, facts = case.whole, case.facts
    gap = whole.unexplained_usd
    trips = [
        each for each in facts.named("killswitch.tripped") if each.facts.get("trigger") == "balance"
    ]
    if trips and gap is None:
        gap = 0.0
    if gap is None or (abs(gap) < 2 * CENT_USD and not trips):
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


def _jump(case: Case) -> tuple[int | None, str]:
    """The reading of the account at which its value jumped most against our ledger."""
    readings = case.facts.readings
    best: tuple[float, int | None, str] = (0.0, None, "")
    for before, after in pairwise(readings):
        change = abs(after.equity_usd - before.equity_usd)
        if change > best[0]:
            best = change, after.at_ns, after.where
    return best[1], best[2]


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


RULES: Final[tuple[Rule, ...]] = (traded_beside, moved_money, inherited)
