"""
What became of an order? Asked by cloid until the venue's answer can be believed.

Two things make a first answer unreliable. The venue's reads lag its commits, so an order can be
unknown for a second after it rests (protocol notes, gotcha 7). And a request whose answer we lost
may not have been carried out *yet*: until its expiry has passed, "never heard of it" is no verdict
on a placement, and no answer at all is one on a move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mmbot.core.events import Event, OrderMissing, Request
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.budget import Budget, info_weight
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Scheduler, reply_error
from mmbot.hyperliquid.spelling import cloid_wire
from mmbot.hyperliquid.wire_rest import order_status

_MARGIN_NS: Final = NS_PER_S
"""The venue judges an expiry by the time of its block, which trails our clock."""


class _Query(msgspec.Struct, gc=False):
    """One question under way. `unknowns` and `failures` count what came back so far."""

    cloid: int
    asked_ns: int = 0
    unknowns: int = 0
    failures: int = 0


class Queries:
    """
    Questions about orders, over `POST /info`.

    Args:
        delays_s: Waits between answers of `unknownOid`; after the last one the order is missing.
        emit: Takes the `OrderUpdate` or `OrderMissing` that ends a question.

    A question to which the venue gives no readable answer, tried as often as there are waits,
    lapses without an event: the order stays unknown, and may be asked about again.
    """

    def __init__(
        self,
        instrument: Instrument,
        user: str,
        *,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        budget: Budget,
        delays_s: Sequence[float],
        timeout_s: float,
        emit: Callable[[Event], None],
    ) -> None:
        self._instrument = instrument
        self._user = user
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._budget = budget
        self._delays_ns = [round(delay_s * NS_PER_S) for delay_s in delays_s]
        self._timeout_s = timeout_s
        self._emit = emit
        self._open: dict[int, _Query] = {}
        self._in_flight: dict[int, tuple[Request, int]] = {}

    def ask(self, cloid: int) -> None:
        """Ask about one order, unless the question is under way."""
        if cloid not in self._open:
            query = self._open[cloid] = _Query(cloid)
            self._put(query, self._clock())

    def may_still_happen(self, request: Request, cloids: Sequence[int], expires_ns: int) -> None:
        """A request without an answer can be carried out until then."""
        for cloid in cloids:
            self._in_flight[cloid] = (request, expires_ns + _MARGIN_NS)

    def close(self) -> None:
        """Forget every question."""
        self._open.clear()
        self._in_flight.clear()

    def _put(self, query: _Query, when_ns: int) -> None:
        """Ask at `when_ns`, or when the weight of the address allows it."""
        when_ns = self._budget.reserve(info_weight("orderStatus"), max(when_ns, self._clock()))
        self._scheduler.call_at(when_ns, lambda: self._send(query))

    def _send(self, query: _Query) -> None:
        if self._open.get(query.cloid) is not query:
            return
        query.asked_ns = self._clock()
        body = msgspec.json.encode(
            {"type": "orderStatus", "user": self._user, "oid": cloid_wire(query.cloid)}
        )
        self._http.post("/info", body, lambda reply: self._on_reply(query, reply), self._timeout_s)

    def _on_reply(self, query: _Query, reply: HttpReply) -> None:
        if self._open.get(query.cloid) is not query:
            return
        now_ns = self._clock()
        try:
            if reply_error(reply, "orderStatus") is not None:
                self._retry(query, now_ns)
                return
            update = order_status(reply.body, self._instrument, now_ns)
        except VenueProtocolError:
            self._retry(query, now_ns)
            return
        request, until_ns = self._in_flight.get(query.cloid, (Request.CANCEL, 0))
        is_early = query.asked_ns < until_ns
        if update is not None:
            if is_early and request is Request.MOVE:
                self._put(query, until_ns)
                return
            self._end(query)
            self._emit(update)
            return
        query.unknowns += 1
        if query.unknowns <= len(self._delays_ns):
            self._put(query, now_ns + self._delays_ns[query.unknowns - 1])
        elif is_early:
            self._put(query, until_ns)
        else:
            self._end(query)
            self._emit(OrderMissing(now_ns, query.cloid))

    def _retry(self, query: _Query, now_ns: int) -> None:
        query.failures += 1
        if query.failures > len(self._delays_ns):
            del self._open[query.cloid]
            return
        self._put(query, now_ns + self._delays_ns[query.failures - 1])

    def _end(self, query: _Query) -> None:
        del self._open[query.cloid]
        self._in_flight.pop(query.cloid, None)
