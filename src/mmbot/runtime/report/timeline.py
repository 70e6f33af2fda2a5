"""Events worth knowing, in the order of time, many alike told once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Happening
from mmbot.runtime.report.measures import Response, Sweep

_TOGETHER_NS: Final = 30 * NS_PER_S
"""Events alike with no longer pause between are one line."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """
    One line of the timeline.

    Attributes:
        at_ns: When it began.
        until_ns: When it ended, or the last of many was; the same for a single one.
        kind: Class of event, for a person to look for.
        text: What happened, with its figures.
        weight: 3 for what decides a run, 2 for what changes quoting, 1 for the rest.
        count: How many it stands for.
        where: Place in the journal, or the log where there is none.
    """

    at_ns: int
    until_ns: int
    kind: str
    text: str
    weight: int
    count: int = 1
    where: str = ""


_TOLD: Final[dict[str, tuple[str, int, str]]] = {
    "killswitch.tripped": ("kill switch", 3, "tripped by {trigger}: {text}"),
    "invariant.broken": ("bug", 3, "{error}"),
    "engine.broke": ("bug", 3, "{error}"),
    "run.stopping": ("end", 3, "stopping: {reason}"),
    "run.unverified": ("end", 3, "NOT verified: {may_rest} orders may rest"),
    "ledger.open": ("end", 3, "{text}"),
    "operator.ordered": ("operator", 3, "{kind}: {text}"),
    "config.reloaded": ("reload", 3, "{changes}"),
    "killswitch.unlatched": ("kill switch", 3, "tripped but NOT latched: {error}"),
    "killswitch.unreported": ("kill switch", 2, "kill.json could not be written: {error}"),
    "ledger.not_stored": ("disk", 3, "fills could not be stored: {error}"),
    "nonce.not_stored": ("disk", 3, "the nonces could not be stored: {error}"),
    "day.not_stored": ("disk", 3, "the account of the day could not be stored: {error}"),
    "cascade.not_stored": ("disk", 2, "the memory of sweeps could not be stored: {error}"),
    "heart.hindered": ("disk", 3, "the heartbeat could not be written: {error}"),
    "log.unwritable": ("log", 2, "a record of {of} could not be written: {error}"),
    "control.unavailable": ("control", 2, "no control socket: {error}"),
    "control.failed": ("control", 2, "{cmd} failed within us: {error}"),
    "metrics.unavailable": ("control", 2, "no metrics at port {port}: {error}"),
    "config.refused": ("reload", 2, "refused: {error}"),
    "flatten.began": ("flatten", 3, "closing {position_lots} lots as a taker"),
    "flatten.ended": ("flatten", 3, "{left}"),
    "mode.changed": ("mode", 3, "{before} to {after}, by {cause}"),
    "clock.stepped": ("clock", 3, "our clock was set by {step_s:+.3f} s"),
    "position.mismatched": ("position", 3, "the venue holds {missing_sz:+g} that no fill explains"),
    "position.unexplained": ("position", 3, "quotes pulled: the position is not ours"),
    "vitals.violated": ("vitals", 3, "{text}"),
    "market.shut": ("market", 3, "nothing is added: {reason}"),
    "market.opened": ("market", 2, "open again"),
    "journal.late": ("journal", 3, "lags {lag_s:.1f} s, quotes pulled"),
    "journal.caught_up": ("journal", 1, "caught up"),
    "link.lost": ("disconnect", 2, "{reason}"),
    "link.opened": ("connect", 1, "connected"),
    "book.stale": ("stale", 2, "{reason}"),
    "snapshot.failed": ("account", 2, "{error}"),
    "snapshot.retried": ("account", 1, "{error}"),
    "frame.malformed": ("feed", 2, "{error}"),
    "venue.complained": ("venue", 2, "{text}"),
    "order.cancelled_by_venue": ("venue", 2, "cancelled order {oid}"),
    "order.rejected": ("reject", 1, "{request} refused: {reason} ({text})"),
    "order.unanswered": ("unanswered", 2, "{request}: {text}"),
    "order.revived": ("order", 2, "an order thought gone was there"),
    "order.adopted": ("order", 2, "an order nobody knew was there"),
    "cascade.seen": ("cascade", 2, "our {side}s swept {depth_bps:.1f} bps deep ({trigger})"),
    "side.off": ("cascade", 2, "the {side} side adds nothing for {off_s:.0f} s: {sweeps} sweeps"),
    "price.jumped": ("jump", 2, "{sigmas:+.1f} sigmas within a second"),
    "run.not_suspended": ("operator", 1, "Ctrl+Z has no effect"),
    "fills.late": ("account", 2, "fills of {orders} orders are owed"),
}
"""Kind, weight and words of an event; what is not here is not told."""
LEFT_OUT: Final = frozenset(
    {
        "run.refused",  # the verdict says it
        # Of the watchdog, which has a log of its own.
        "alerts.unavailable", "watchdog.daemon_silent", "watchdog.interrupted",
        "watchdog.venue_away",
    }
)  # fmt: skip
"""Errors that the timeline leaves out: every other one is told."""
TOLD: Final = frozenset(_TOLD)
"""Events that the timeline tells."""
TEXTS: Final = {event: text for event, (_, _, text) in _TOLD.items()}
"""Their words; names in braces are fields of the event."""
_MANY: Final = frozenset({"order.rejected", "order.unanswered", "vitals.violated", "link.lost"})
"""What comes in numbers is told once for as long as it goes on."""


def timeline(facts: Facts, sweeps: list[Sweep], response: Response) -> list[Moment]:
    """Everything worth knowing of a run."""
    found: list[Moment] = []
    open_at: dict[tuple[str, str], int] = {}
    for each in facts.happenings:
        told = _TOLD.get(each.event)
        if told is not None:
            _add(found, open_at, each, told)
    found.extend(
        Moment(
            at_ns=sweep.at_ns,
            until_ns=sweep.at_ns,
            kind="sweep",
            text=f"{sweep.fills} of our {sweep.side}s in one block: {sweep.sz:g} for "
            f"{sweep.usd:.0f} USD, {sweep.depth_bps:.1f} bps deep",
            weight=1,
            where=sweep.where,
        )
        for sweep in sweeps
    )
    found.extend(
        Moment(
            at_ns=each.from_ns,
            until_ns=each.until_ns,
            kind="opposed",
            text=f"position {each.position_frac:+.0%} of its limit against a trend of "
            f"{each.trend_bps:+.1f} bps, answered by {each.response_bps:+.1f}",
            weight=2,
        )
        for each in response.intervals
    )
    return sorted(found, key=lambda moment: moment.at_ns)


def _add(
    found: list[Moment],
    open_at: dict[tuple[str, str], int],
    each: Happening,
    told: tuple[str, int, str],
) -> None:
    kind, weight, words = told
    key = (kind, str(each.facts.get("reason", "")) + str(each.facts.get("term", "")))
    at = open_at.get(key)
    is_near = at is not None and each.at_ns - found[at].until_ns <= _TOGETHER_NS
    if at is not None and is_near and each.event in _MANY:
        last = found[at]
        found[at] = msgspec.structs.replace(last, until_ns=each.at_ns, count=last.count + 1)
        return
    open_at[key] = len(found)
    found.append(
        Moment(
            at_ns=each.at_ns,
            until_ns=each.at_ns,
            kind=kind,
            text=_clean(_worded(words, _with_left(each))),
            weight=weight,
            where=each.where,
        )
    )


def _with_left(each: Happening) -> Mapping[str, Any]:
    """The facts of a happening; of a close also what it left, in words."""
    if each.event != "flatten.ended":
        return each.facts
    left_sz, why = each.facts.get("left_sz"), each.facts.get("why")
    left = (
        "what is left is not known"
        if left_sz is None
        else "the venue confirms that nothing is held"
        if left_sz == 0
        else f"{float(left_sz):+g} is left"
    )
    return {**each.facts, "left": f"{left}: {why}" if why else left}


class _Known(dict[str, Any]):
    """Facts of which one that is missing reads as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def _worded(words: str, facts: Mapping[str, Any]) -> str:
    try:
        return words.format_map(_Known({key: _plain(value) for key, value in facts.items()}))
    except (ValueError, TypeError):
        # A figure that is none: the log of another version, or an absent estimate.
        return ", ".join(f"{key} {value}" for key, value in facts.items())


def _plain(value: Any) -> Any:
    """A table of changes as a person reads it; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return "; ".join(f"{key} {each}" for key, each in value.items())


def _clean(text: str) -> str:
    """One line of bounded length: what the venue says may be a page."""
    text = " ".join(text.split())
    return text if len(text) <= 240 else text[:239] + "…"
