"""
The account as the venue holds it: up to six reads side by side, one event.

Streams give no snapshot of orders on a new subscription, so after every connection the account is
read whole before anything is quoted (Hyperliquid docs, "Websocket"). The reads are not one instant:
what was filled between them appears in `fills` with a later `venue_ms` than the position's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mmbot.core.events import Event, Fill, Snapshot
from mmbot.core.types import NS_PER_S, Fees, Instrument
from mmbot.errors import LinkError, VenueError, VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.budget import Budget, info_weight
from mmbot.hyperliquid.dating import check_date
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Scheduler, reply_error
from mmbot.hyperliquid.universe import fees

TIMEOUT_S: Final = 10.0
_RETRY_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between tries of one read; the last is repeated."""

_ORDERS: Final = "openOrders"
_ACCOUNT: Final = "clearinghouseState"
_ASSET: Final = "activeAssetData"
_FILLS: Final = "userFills"
_FEES: Final = "userFees"
_LIMIT: Final = "userRateLimit"
_BRIEF: Final = (_ORDERS, _ACCOUNT)
_OPENING: Final = (*_BRIEF, _FILLS)
_FULL: Final = (*_OPENING, _ASSET, _FEES, _LIMIT)
_KNOWN_NS: Final = 30 * NS_PER_S
"""How long what was read before a run is as good as read."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was read before a run, and need not be read again a moment later."""

    at_ns: int
    """When the reading began."""
    fees: Fees
    mark_px: float
    requests_used: int
    requests_cap: int
    volume_usd: float


class _Reading(msgspec.Struct):
    """One snapshot under way: the bodies that have come, and which reads it consists of."""

    kinds: tuple[str, ...]
    began_ns: int
    is_urgent: bool
    known: Known | None = None
    """Takes the place of the reads that are left out; None: nothing does, or what was read last."""
    bodies: dict[str, bytes] = {}
    booked: dict[str, tuple[int, int]] = {}
    """Weight and time of each read that waits for its turn."""


class SnapshotReader:
    """
    Reads the account over HTTP.

    Args:
        emit: Takes the `Snapshot`.
        on_failed: The venue refuses a read or answers nonsense, or was not reached in six tries
            before any snapshot succeeded. The reading has ended by then. After a first success an
            outage is waited out, because nothing is quoted meanwhile.
        on_retry: Hears of every failed try.
        budget: Takes over the request counts that were read, and paces the reads.
    """

    def __init__(
        self,
        instrument: Instrument,
        user: str,
        *,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        emit: Callable[[Event], None],
        on_failed: Callable[[VenueError], None],
        on_retry: Callable[[VenueError], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._instrument = instrument
        self._user = user
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._emit = emit
        self._on_failed = on_failed
        self._on_retry = on_retry
        self._budget = budget if budget is not None else Budget()
        self._reading: _Reading | None = None
        self._known: Known | None = None
        self._fees: Fees | None = None
        self._mark_px = 0.0

    @property
    def is_reading(self) -> bool:
        """Whether a snapshot is under way."""
        return self._reading is not None

    def know(self, known: Known) -> None:
        """
        Take over what was read before a run.

        While it is new, the first snapshot consists of what can change without us, orders, position
        and fills: the other reads have the weight of a second start.
        """
        self._known = known
        self._budget.read(known.requests_used, known.requests_cap, known.at_ns, known.volume_usd)

    def start(self, *, is_brief: bool = False, has_fills: bool = False) -> None:
        """
        Read the account; a reading under way is forgotten.

        A brief reading asks for orders and position only, and for the fills where it `has_fills`;
        it does not wait for its turn in the weight of the address: it is for making sure that
        nothing rests, and for closing the ledger. Its snapshot repeats the fees, request counts
        and, without a position to tell it, the mark read last. Before a first full one it is full.
        """
        is_brief = is_brief and self._fees is not None
        now_ns = self._clock()
        self.close()
        known = None if is_brief else self._still_known(now_ns)
        kinds: tuple[str, ...] = _FULL if known is None else _OPENING
        if is_brief:
            kinds = (*_BRIEF, _FILLS) if has_fills else _BRIEF
        reading = self._reading = _Reading(kinds, now_ns, is_brief, known)
        for kind in reading.kinds:
            weight = info_weight(kind)
            if is_brief:
                self._budget.spend(weight, now_ns)
                self._ask(reading, kind, 0)
            else:
                self._ask_at(reading, kind, 0, now_ns)

    def _still_known(self, now_ns: int) -> Known | None:
        """What was read before the run, for its first reading and while it is new."""
        known = self._known
        # Of a clock that was set back meanwhile nothing is known.
        is_new = known is not None and 0 <= now_ns - known.at_ns <= _KNOWN_NS
        return known if is_new and self._fees is None else None

    def close(self) -> None:
        """Forget the reading under way, and give back what its unsent reads had booked."""
        reading, self._reading = self._reading, None
        if reading is not None:
            for weight, at_ns in reading.booked.values():
                self._budget.give_back(weight, at_ns)

    # -- one read ---------------------------------------------------------------------------

    def _ask_at(self, reading: _Reading, kind: str, failures: int, from_ns: int) -> None:
        """Ask when there is weight for it, not before `from_ns`."""
        weight = info_weight(kind)
        when_ns = self._budget.reserve(weight, from_ns)
        if when_ns <= self._clock():
            self._ask(reading, kind, failures)
        else:
            reading.booked[kind] = weight, when_ns
            self._scheduler.call_at(when_ns, lambda: self._ask(reading, kind, failures))

    def _ask(self, reading: _Reading, kind: str, failures: int) -> None:
        if reading is self._reading:
            reading.booked.pop(kind, None)
            self._http.post(
                "/info",
                msgspec.json.encode(self._payload(kind)),
                lambda reply: self._on_reply(reading, kind, failures, reply),
                TIMEOUT_S,
            )

    def _payload(self, kind: str) -> dict[str, Any]:
        payload: dict[str, Any] = {"type": kind, "user": self._user}
        if kind in {_ORDERS, _ACCOUNT}:
            # Without the dex these answer for the main one: positions and orders of a builder dex
            # would look gone.
            payload["dex"] = self._instrument.dex
        elif kind == _ASSET:
            payload["coin"] = self._instrument.coin
        return payload

    def _on_reply(self, reading: _Reading, kind: str, failures: int, reply: HttpReply) -> None:
        if reading is not self._reading:
            return
        error = reply_error(reply, f"/info {kind}")
        if error is None:
            reading.bodies[kind] = reply.body
            if len(reading.bodies) == len(reading.kinds):
                self._finish(reading)
            return
        if self._on_retry is not None:
            self._on_retry(error)
        failures += 1
        is_first = self._fees is None
        if not isinstance(error, LinkError) or (is_first and failures > len(_RETRY_S)):
            self._fail(error)
            return
        wait_s = _RETRY_S[min(failures, len(_RETRY_S)) - 1]
        when_ns = self._clock() + round(wait_s * NS_PER_S)
        if reading.is_urgent:
            self._scheduler.call_at(when_ns, lambda: self._ask(reading, kind, failures))
        else:
            self._ask_at(reading, kind, failures, when_ns)

    # -- all of them ------------------------------------------------------------------------

    def _finish(self, reading: _Reading) -> None:
        try:
            snapshot = self._snapshot(reading, self._clock())
        except VenueProtocolError as error:
            self._fail(error)
            return
        self._reading = None
        self._emit(snapshot)

    def _fail(self, error: VenueError) -> None:
        self.close()
        self._on_failed(error)

    def _snapshot(self, reading: _Reading, now_ns: int) -> Snapshot:
        bodies, instrument, budget = reading.bodies, self._instrument, self._budget
        account = wire_rest.clearinghouse_state(bodies[_ACCOUNT], instrument)
        # A position from the future would be taken to hold every fill that is still to come.
        check_date(account.venue_ms, now_ns, _ACCOUNT)
        orders = wire_rest.open_orders(bodies[_ORDERS], instrument, now_ns)
        fills: tuple[Fill, ...] = ()
        if _FILLS in reading.kinds:
            fills = wire_rest.user_fills(bodies[_FILLS], instrument, self._user, now_ns)
        if reading.known is not None:
            self._fees, self._mark_px = reading.known.fees, reading.known.mark_px
        elif _LIMIT in reading.kinds:
            limit = wire_rest.user_rate_limit(bodies[_LIMIT])
            self._fees = fees(instrument, bodies[_FEES])
            self._mark_px = wire_rest.active_asset_data(bodies[_ASSET]).mark_px
            budget.read(limit.used, limit.allowed, now_ns, limit.cum_vlm_usd)
        assert self._fees is not None
        assert budget.used is not None
        assert budget.cap is not None
        return Snapshot(
            recv_ns=now_ns,
            requested_at_ns=reading.began_ns,
            venue_ms=account.venue_ms,
            position_lots=account.position_lots,
            entry_px=account.entry_px,
            equity_usd=account.equity_usd,
            # The mark that the equity was computed with, where there is a position to tell it.
            mark_px=account.mark_px if account.mark_px is not None else self._mark_px,
            fees=self._fees,
            open_orders=orders,
            fills=fills,
            requests_used=budget.used,
            requests_cap=budget.cap,
            liquidation_px=account.liquidation_px,
            maintenance_usd=account.maintenance_usd,
            isolated=account.isolated,
        )
