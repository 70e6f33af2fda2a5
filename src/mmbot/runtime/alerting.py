"""
Which records of the log are told to a person, as what, and in which words.

The log is the one place where the program says what happens; an alert says no more than its record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from mmbot.config import AlertParams
from mmbot.config.telemetry import AlertKind
from mmbot.core.events import Rejection
from mmbot.logs import Record
from mmbot.runtime.screen import summary_lines

Severity = Literal["info", "warning", "failure"]


class Alert(msgspec.Struct, frozen=True):
    """One message to a person."""

    kind: AlertKind
    severity: Severity
    text: str


Told = tuple[AlertKind, Severity, Callable[[Record], str | None]]


def _tripped(r: Record) -> str:
    return (
        f"The kill switch tripped: {r['trigger']} = {r['value']:g} {r['unit']}, "
        f"limit {r['limit']:g} {r['unit']}.\n{r['text']}\n"
        "Everything is being cancelled; no run begins before mmbot reset."
    )


def _shut(r: Record) -> str:
    return f"The venue's market: {r['reason']}. Nothing is added to the position."


def _reduced(r: Record) -> str | None:
    """Only a loss: what the guards do all day is their work, and no news."""
    if r["cause"] != "soft_loss":
        return None
    return "A soft limit of loss was reached: the position is only reduced."


def _dead(r: Record) -> str:
    return (
        f"A term of the quote does not do what it must: {r['term']} ({r['where']}, {r['kind']}): "
        f"{r['text']}. Until it is mended the position is only reduced."
    )


def _unexplained(r: Record) -> str:
    return (
        f"For {r['for_s']:.1f} s the venue's position has differed by {r['missing_lots']} lots "
        "from what our fills make it: nothing rests."
    )


def _mismatched(r: Record) -> str:
    return (
        f"The venue's position differs by {r['missing_sz']:+g} from what our fills make it, "
        f"{r['position_sz']:+g}."
    )


def _unverified(r: Record) -> str:
    return (
        f"The run has ended and the venue did not confirm that nothing rests: up to "
        f"{r['may_rest']} orders may. Look at the account."
    )


def _refused_for_budget(r: Record) -> str | None:
    if r["reason"] != Rejection.BUDGET.value:
        return None
    return f"The venue refuses orders for want of requests: {r['text']}"


def _ended(r: Record) -> str:
    return "\n".join(line.strip() for line in summary_lines(dict(r)) if line)


TOLD: Final[dict[str, Told]] = {
    "killswitch.tripped": ("kill", "failure", _tripped),
    "killswitch.unlatched": (
        "kill",
        "failure",
        lambda r: f"The kill switch tripped but is NOT latched: {r['error']}",
    ),
    "invariant.broken": (
        "kill",
        "failure",
        lambda r: f"Internal error, everything is being cancelled: {r['error']}",
    ),
    "market.shut": ("halt", "warning", _shut),
    "mode.changed": ("halt", "warning", _reduced),
    "journal.late": (
        "halt",
        "warning",
        lambda r: f"The journal is {r['lag_s']:.1f} s behind: nothing rests. {r['text']}".strip(),
    ),
    "snapshot.failed": (
        "halt",
        "failure",
        lambda r: f"The account cannot be read: {r['error']}",
    ),
    "run.refused": ("halt", "failure", lambda r: f"The run did not begin: {r['error']}"),
    "run.unverified": ("halt", "failure", _unverified),
    "position.mismatched": ("mismatch", "failure", _mismatched),
    "position.unexplained": ("mismatch", "failure", _unexplained),
    "ledger.open": ("mismatch", "failure", lambda r: f"At the end of the run: {r['text']}"),
    "vitals.violated": ("dead_term", "failure", _dead),
    "order.rejected": ("budget", "warning", _refused_for_budget),
    "run.ended": ("summary", "info", _ended),
    "watchdog.daemon_silent": (
        "watchdog",
        "failure",
        lambda r: (
            f"The daemon (process {r['pid']}) has been silent for {r['silent_s']:.1f} s: "
            "cancelling everything of ours."
        ),
    ),
    "watchdog.verified": (
        "watchdog",
        "warning",
        lambda r: f"Cancelled {r['cancelled']} orders; the venue confirms that nothing rests.",
    ),
    "watchdog.gave_up": (
        "watchdog",
        "failure",
        lambda r: f"The venue was not reached, orders may rest: {r['error']}",
    ),
    "watchdog.interrupted": (
        "watchdog",
        "failure",
        lambda r: f"The watchdog was stopped while it cancelled: {r['why']}",
    ),
    "watchdog.venue_away": (
        "watchdog",
        "warning",
        lambda r: f"The watchdog does not reach the venue: {r['error']}",
    ),
}
"""By event. A teller that returns None has nothing to tell."""

_FORECAST: Final = "requests.forecast"


class Editor:
    """Makes alerts of records; remembers what it has told where it would tell it every minute."""

    def __init__(self, params: AlertParams) -> None:
        self._hours_min = params.budget_hours
        self._is_low = False
        kinds = set(params.events)
        self._told = {event: told for event, told in TOLD.items() if told[0] in kinds}
        self._has_budget = "budget" in kinds

    def alert(self, record: Record) -> Alert | None:
        """The alert that a record is worth; None for nearly all."""
        event = record.get("event", "")
        if event == _FORECAST:
            return self._forecast(record)
        told = self._told.get(event)
        if told is None:
            return None
        kind, severity, text_of = told
        text = text_of(record)
        if text is None:
            return None
        if event == "run.ended" and (record["kill"] is not None or record["resting_orders"]):
            severity = "failure"
        return Alert(kind, severity, text)

    def _forecast(self, record: Record) -> Alert | None:
        hours: Any = record["requests_hours_left"]
        was_low, self._is_low = self._is_low, hours is not None and hours < self._hours_min
        if was_low or not self._is_low or not self._has_budget:
            return None
        text = (
            f"{record['requests_left']} requests are left at the venue, {hours:.1f} h at the "
            f"present churn of {record['requests_per_h']:.0f} an hour; limit {self._hours_min:g} h."
        )
        return Alert("budget", "warning", text)
