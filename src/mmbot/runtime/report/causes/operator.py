"""What somebody ordered, and the trips of the kill switch."""

from __future__ import annotations

from typing import Final

from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule

_WORDS: Final = {
    "session_loss": "the loss of the session reached its limit",
    "day_loss": "the loss of the day reached its limit",
    "drawdown": "the fall from the peak reached its limit",
    "stale_data": "prices were silent",
    "rejects": "the venue refused too many orders",
    "dead_wiring": "a term of the quote did not do what it must",
}


def killed(case: Case) -> list[Cause]:
    """The kill switch: by hand it is a cause, else it is what other causes led to."""
    found = []
    for trip in case.facts.named("killswitch.tripped")[:1]:
        trigger, text = str(trip.facts.get("trigger")), str(trip.facts.get("text"))
        is_ordered = trigger == "operator"
        value, limit = float(trip.facts.get("value", 0.0)), float(trip.facts.get("limit", 0.0))
        unit = str(trip.facts.get("unit"))
        found.append(
            Cause(
                name="operator" if is_ordered else f"kill:{trigger}",
                title="Somebody tripped the kill switch"
                if is_ordered
                else f"Kill switch: {_WORDS.get(trigger, trigger.replace('_', ' '))}",
                text=text,
                strength=20.0 if is_ordered else 5.0,
                evidence=(Evidence(trigger, value, unit), Evidence("limit", limit, unit)),
                at_ns=trip.at_ns,
                where=trip.where,
            )
        )
    return found


def broke(case: Case) -> list[Cause]:
    """A bug of ours ended the run."""
    bugs = case.facts.named("engine.broke", "invariant.broken")
    if not bugs:
        return []
    first = bugs[0]
    return [
        Cause(
            name="bug",
            title="A bug of ours stopped the engine",
            text=str(first.facts.get("error")),
            strength=100.0,
            evidence=(Evidence("exceptions", float(len(bugs)), ""),),
            at_ns=first.at_ns,
            where=first.where,
        )
    ]


def lagged(case: Case) -> list[Cause]:
    """The journal could not be written in time."""
    late = case.facts.named("journal.late")
    if not late:
        return []
    worst_s = max(float(each.facts.get("lag_s", 0.0)) for each in late)
    pulled = case.facts.suppressed_s.get("bid", {}).get("journal late", 0.0)
    return [
        Cause(
            name="journal",
            title="The journal lagged: nothing rested meanwhile",
            text=f"The disk did not take the journal in time {len(late)} times; no order rested "
            f"for {pulled:.0f} s. Look at the disk and at what else writes to it.",
            strength=2.0 + pulled / 10.0,
            evidence=(
                Evidence("times", float(len(late)), ""),
                Evidence("without orders", pulled, "s"),
                Evidence("lag when seen", worst_s, "s"),
            ),
            at_ns=late[0].at_ns,
            where=late[0].where,
        )
    ]


RULES: Final[tuple[Rule, ...]] = (killed, broke, lagged)
