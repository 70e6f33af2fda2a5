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
_LATE_S: Final = 1.0
_LATE_FRAC: Final = 0.005

RELOAD_BRINGS: Final = ("term", "size", "tight", "budget", "rejects", "kill")
"""Causes that parameters can bring about, by the first word of their names."""


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
    pulled = case.facts.suppressed_s.get("bid", {}).get("journal late", 0.0)
    if not late or pulled < case.for_s(_LATE_S, _LATE_FRAC):
        return []
    worst_s = max(float(each.facts.get("lag_s", 0.0)) for each in late)
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


def reloaded(case: Case, found: list[Cause]) -> list[Cause]:
    """Parameters changed while it ran, where something was seen for the first time afterwards."""
    for note in case.facts.named("config.reloaded"):
        later = [
            cause
            for cause in found
            if cause.name.partition(":")[0] in RELOAD_BRINGS
            and cause.at_ns is not None
            and cause.at_ns >= note.at_ns
        ]
        if not later:
            continue
        changes = note.facts.get("changes")
        rows = (
            [f"{key} {each}" for key, each in changes.items()] if isinstance(changes, dict) else []
        )
        return [
            Cause(
                name="reload",
                title="The parameters were changed while it ran",
                text=f"{'; '.join(rows)}. What is told below was seen only after that.",
                strength=1.0 + max(cause.strength for cause in later),
                evidence=(
                    Evidence("keys changed", float(len(rows)), ""),
                    Evidence("seen afterwards", float(len(later)), "causes"),
                ),
                at_ns=note.at_ns,
                where=note.where,
            )
        ]
    return []


RULES: Final[tuple[Rule, ...]] = (killed, broke, lagged)
