"""
The triggers of the kill switch that are not of money: what must not last, and what must not happen.

Each is a figure held against a limit in its own unit, at every decision. A cause that must last is
timed from the moment it is seen first, and only its end stops that clock: no retry, no reconnect
and no soft guard in between starts it anew.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mmbot.core.events import Gauge, JournalLag, Measured, Rejected, Rejection, Request
from mmbot.core.intents import Note
from mmbot.core.margin import BALANCE_FRAC, MARGIN_UNIT, Margin
from mmbot.core.orders import Orders
from mmbot.core.risk import KillParams, Risk, Trip
from mmbot.core.slots import CANCELLING, UNKNOWN
from mmbot.core.triggers import Reach
from mmbot.core.types import NS_PER_S, Instrument

_MINUTE_NS: Final = 60 * NS_PER_S
_NOTHING: Final = (None,) * 6
_NOT_OURS: Final = (
    Rejection.BUDGET,
    Rejection.POST_ONLY_WINDOW,
    Rejection.HALTED,
    Rejection.CAP,
)
"""Refusals that say "not now"; they have triggers, or an end, of their own."""

CLOCK_HOLD_S: Final = 10.0
"""How long the clocks must differ: the first frames of a connection may repeat an old book."""


class Alarms:
    """
    Follow the causes; trip the switch of `risk` where one reaches its limit.

    Args:
        params: The limits.
        risk: Whose switch trips.
        instrument: Gives the maintenance margin.
        leverage: At which a position is opened.
    """

    __slots__ = (
        "_clock_limit_ns",
        "_clock_ns",
        "_is_quiet",
        "_journal_ns",
        "_mismatch_ns",
        "_params",
        "_rejected_ns",
        "_risk",
        "_stuck_ns",
        "_unknown_ns",
        "_unwell_ns",
        "is_pulled",
        "margin",
        "notes",
    )

    def __init__(
        self, params: KillParams, risk: Risk, instrument: Instrument, leverage: int
    ) -> None:
        self._params = params
        self._risk = risk
        self.margin = Margin(params.margin_frac, risk, instrument, leverage)
        self._rejected_ns: deque[int] = deque(maxlen=params.rejects)
        self._unknown_ns: dict[int, int] = {}
        """Since when each order is without a verdict."""
        self._is_quiet = True
        """Whether no cause that lasts has begun."""
        self._clock_limit_ns = round(params.clock_s * NS_PER_S)
        self._clock_ns: int | None = None
        self._journal_ns: int | None = None
        self._mismatch_ns: int | None = None
        self._stuck_ns: int | None = None
        self._unwell_ns: int | None = None
        self.is_pulled = False
        """Whether nothing may rest because our position is not the venue's."""
        self.notes: list[Note] = []

    # -- what happens -----------------------------------------------------------------------------

    def on_rejected(self, event: Rejected) -> None:
        """A refusal by the venue; so many within a minute are a fault of ours."""
        if event.request is Request.CANCEL or event.reason in _NOT_OURS:
            return
        times, now_ns = self._rejected_ns, event.recv_ns
        times.append(now_ns)
        if len(times) == times.maxlen and now_ns - times[0] < _MINUTE_NS:
            limit = len(times)
            text = f"{limit} placements and moves refused within a minute, the last: {event.text}"
            self._risk.trip(Trip.REJECTS, limit, limit, "refusals a minute", now_ns, text)

    def on_journal(self, event: JournalLag) -> None:
        """The journal lags, or has caught up."""
        self._is_quiet = False
        if not event.is_late:
            self._journal_ns = None
        elif self._journal_ns is None:
            self._journal_ns = event.recv_ns - round(event.lag_s * NS_PER_S)

    def on_measured(self, event: Measured) -> None:
        """A figure that only the shell knows."""
        params = self._params
        trip, limit_s = {
            Gauge.MARK_AGE_S: (Trip.STALE_MARK, params.mark_s),
            Gauge.ACCOUNT_AGE_S: (Trip.STALE_ACCOUNT, params.account_s),
        }[event.gauge]
        if event.value >= limit_s:
            self._risk.trip(trip, event.value, limit_s, "s", event.recv_ns)

    def on_liquidated(self, side: str, sz: float, px: float, now_ns: int) -> None:
        """The venue closed something of ours by force."""
        text = (
            f"the venue closed {sz:g} of our position by force, as {side} at {px:g}: liquidation, "
            "deleveraging, or settlement of a market that stopped"
        )
        self._risk.trip(Trip.LIQUIDATION, sz, 0.0, "coins", now_ns, text)

    # -- what lasts -------------------------------------------------------------------------------

    def update(
        self,
        now_ns: int,
        orders: Orders,
        *,
        missing_lots: int,
        offset_ns: int | None,
        requests_left: int | None,
        is_well: bool,
        stuck_ns: int | None,
    ) -> None:
        """
        Look at everything that must not last.

        Args:
            now_ns: Now.
            orders: Ours.
            missing_lots: The venue's position less what our fills explain.
            offset_ns: Our clock less the venue's, travel included; None before it is known.
            requests_left: At the venue; None before it is known.
            is_well: Whether every term of the quote does what it must.
            stuck_ns: Since when the position is stuck against an urgent trend; None if it is not.
        """
        params = self._params
        off_ns = 0 if offset_ns is None else abs(offset_ns)
        if (
            self._is_quiet
            and missing_lots == 0
            and is_well
            and stuck_ns is None
            and off_ns < self._clock_limit_ns
            and (requests_left is None or requests_left > params.requests_left)
            and not orders.waiting()
        ):
            return  # nothing is wrong, and nothing was: so it is at nearly every decision
        if orders.waiting() or self._unknown_ns:
            self._follow_unknown(now_ns, orders)
        self._mismatch(now_ns, missing_lots)
        off_s, is_off = off_ns / NS_PER_S, off_ns >= self._clock_limit_ns
        self._clock_ns = _since(self._clock_ns, now_ns, is_on=is_off)
        if self._clock_ns is not None and now_ns - self._clock_ns >= CLOCK_HOLD_S * NS_PER_S:
            self._risk.trip(Trip.CLOCK, off_s, params.clock_s, "s", now_ns)
        if requests_left is not None and requests_left <= params.requests_left:
            text = f"{requests_left} requests left at the venue: quotes could not be followed up"
            left, limit = float(requests_left), float(params.requests_left)
            self._risk.trip(Trip.REQUESTS, left, limit, "requests", now_ns, text)
        self._unwell_ns = _since(self._unwell_ns, now_ns, is_on=not is_well)
        self._lasts(Trip.DEAD_WIRING, self._unwell_ns, params.unwell_s, now_ns)
        self._stuck_ns = stuck_ns
        self._lasts(Trip.STUCK_LONG, self._stuck_ns, params.stuck_s, now_ns)
        self._lasts(Trip.JOURNAL, self._journal_ns, params.journal_s, now_ns)
        self._is_quiet = not self.is_pulled and self._began() == _NOTHING

    def _follow_unknown(self, now_ns: int, orders: Orders) -> None:
        """An order that is cancelled again and again without an answer is as old as its first."""
        since, slots = self._unknown_ns, orders.slots
        for cloid in list(since):
            slot = slots.get(cloid)
            if slot is None or (slot.state is not UNKNOWN and slot.state is not CANCELLING):
                del since[cloid]
        for slot in orders.waiting():
            since.setdefault(slot.cloid, now_ns)
        if since:
            self._lasts(Trip.UNKNOWN_ORDER, min(since.values()), self._params.unknown_s, now_ns)

    def _mismatch(self, now_ns: int, missing_lots: int) -> None:
        params = self._params
        since_ns = self._mismatch_ns = _since(self._mismatch_ns, now_ns, is_on=missing_lots != 0)
        lasted_ns = 0 if since_ns is None else now_ns - since_ns
        is_pulled = since_ns is not None and lasted_ns >= params.mismatch_pull_s * NS_PER_S
        if is_pulled is not self.is_pulled:
            self.is_pulled = is_pulled
            if is_pulled:
                facts: dict[str, int | float | str | bool | None] = {
                    "missing_lots": missing_lots,
                    "for_s": lasted_ns / NS_PER_S,
                }
                self.notes.append(Note("position.unexplained", "error", facts))
            else:
                self.notes.append(Note("position.explained", "info", {}))
        if since_ns is not None and lasted_ns >= params.mismatch_kill_s * NS_PER_S:
            text = (
                f"for {lasted_ns / NS_PER_S:.1f} s the venue's position has differed by "
                f"{missing_lots} lots from what our fills make it"
            )
            limit_s = params.mismatch_kill_s
            self._risk.trip(Trip.MISMATCH, lasted_ns / NS_PER_S, limit_s, "s", now_ns, text)

    def _lasts(self, trip: Trip, since_ns: int | None, limit_s: float, now_ns: int) -> None:
        if since_ns is not None and now_ns - since_ns >= round(limit_s * NS_PER_S):
            self._risk.trip(trip, (now_ns - since_ns) / NS_PER_S, limit_s, "s", now_ns)

    def _began(self) -> tuple[int | None, ...]:
        """When each cause that lasts was seen first."""
        unknown_ns = min(self._unknown_ns.values()) if self._unknown_ns else None
        return (
            unknown_ns,
            self._mismatch_ns,
            self._clock_ns,
            self._unwell_ns,
            self._stuck_ns,
            self._journal_ns,
        )

    def reaches(
        self,
        now_ns: int,
        *,
        margin_share: float | None,
        offset_ns: int | None,
        requests_left: int | None,
        mark_ns: int | None,
        account_ns: int | None,
    ) -> tuple[Reach, ...]:
        """
        Every trigger that is not of money beside its limit, for whoever asks.

        Args:
            now_ns: Now.
            margin_share: Maintenance margin over what stands behind the position; None before it
                is known.
            offset_ns: Our clock less the venue's; None before it is known.
            requests_left: At the venue; None before it is known.
            mark_ns: When the venue's mark came last.
            account_ns: When the account was read last.
        """
        params, limits = self._params, self._risk.limits
        unknown, mismatch, _, unwell, stuck, journal = (
            0.0 if since is None else (now_ns - since) / NS_PER_S for since in self._began()
        )
        rejects = sum(now_ns - at_ns < _MINUTE_NS for at_ns in self._rejected_ns)
        balance_usd = 0.0 if limits is None else BALANCE_FRAC * limits.capital_usd
        rows = (
            (Trip.MISMATCH, mismatch, params.mismatch_kill_s, "s"),
            (Trip.STUCK_LONG, stuck, params.stuck_s, "s"),
            (Trip.MARGIN, margin_share, params.margin_frac, MARGIN_UNIT),
            (Trip.STALE_MARK, _age_s(mark_ns, now_ns), params.mark_s, "s"),
            (Trip.STALE_ACCOUNT, _age_s(account_ns, now_ns), params.account_s, "s"),
            (Trip.REJECTS, rejects, params.rejects, "refusals a minute"),
            (Trip.UNKNOWN_ORDER, unknown, params.unknown_s, "s"),
            (Trip.CLOCK, _span_s(offset_ns), params.clock_s, "s"),
            (Trip.DEAD_WIRING, unwell, params.unwell_s, "s"),
            (Trip.JOURNAL, journal, params.journal_s, "s"),
        )
        return (
            *(Reach(trip.value, value, limit, unit) for trip, value, limit, unit in rows),
            Reach(Trip.BALANCE.value, self.margin.equity_usd, balance_usd, "USD", is_least=True),
            Reach(
                Trip.REQUESTS.value,
                None if requests_left is None else float(requests_left),
                params.requests_left,
                "requests",
                is_least=True,
            ),
        )

    def wake_at_ns(self) -> tuple[int | None, ...]:
        """When a cause that lasts reaches its limit."""
        if self._is_quiet:
            return ()
        params = self._params
        unknown, mismatch, clock, unwell, stuck, journal = self._began()
        return (
            _after(unknown, params.unknown_s),
            _after(mismatch, params.mismatch_pull_s),
            _after(mismatch, params.mismatch_kill_s),
            _after(clock, CLOCK_HOLD_S),
            _after(unwell, params.unwell_s),
            _after(stuck, params.stuck_s),
            _after(journal, params.journal_s),
        )


def _since(since_ns: int | None, now_ns: int, *, is_on: bool) -> int | None:
    if not is_on:
        return None
    return now_ns if since_ns is None else since_ns


def _age_s(at_ns: int | None, now_ns: int) -> float | None:
    return None if at_ns is None else (now_ns - at_ns) / NS_PER_S


def _span_s(span_ns: int | None) -> float | None:
    return None if span_ns is None else abs(span_ns) / NS_PER_S


def _after(since_ns: int | None, span_s: float) -> int | None:
    return None if since_ns is None else since_ns + round(span_s * NS_PER_S)
