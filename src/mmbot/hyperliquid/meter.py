"""
How many requests are left, as the engine hears it: counted as they go out, read now and then.

The venue's own count decides, and its cap grows with every USD traded, so ours is a stopgap between
two readings (Hyperliquid docs, "Rate limits and user limits").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mmbot.core.events import Event, RequestsLeft
from mmbot.core.types import NS_PER_S
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.budget import Budget, info_weight
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Scheduler, reply_error
from mmbot.hyperliquid.wire_rest import user_rate_limit

_TELL_EVERY_NS: Final = NS_PER_S
"""The count is told at most this often: it is thousands of requests that change a price."""


class RequestMeter:
    """
    Counts requests into a `Budget` and tells the engine.

    Args:
        read_every_s: While requests go out, the venue is asked this often, and at once where the
            budget was never read; a quiet account is not asked.
        emit: Takes each `RequestsLeft`; none comes before the venue's own figure is known.
    """

    def __init__(
        self,
        user: str,
        *,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        budget: Budget,
        read_every_s: float,
        timeout_s: float,
        emit: Callable[[Event], None],
    ) -> None:
        self._body = msgspec.json.encode({"type": "userRateLimit", "user": user})
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._budget = budget
        self._read_every_ns = round(read_every_s * NS_PER_S)
        self._timeout_s = timeout_s
        self._emit = emit
        self._told_ns = -_TELL_EVERY_NS
        self._asked_ns = -self._read_every_ns
        self._is_closed = False

    def count(self, elements: int, now_ns: int) -> None:
        """Count the elements of an action that was sent."""
        budget = self._budget
        budget.count(elements)
        if now_ns - self._told_ns < _TELL_EVERY_NS:
            return
        if budget.used is not None and budget.cap is not None:
            self._told_ns = now_ns
            self._emit(RequestsLeft(now_ns, budget.used, budget.cap))
        if now_ns - max(budget.read_at_ns or 0, self._asked_ns) >= self._read_every_ns:
            self._asked_ns = now_ns
            when_ns = budget.reserve(info_weight("userRateLimit"), now_ns)
            self._scheduler.call_at(when_ns, self._ask)

    def close(self) -> None:
        """Ask and tell nothing more."""
        self._is_closed = True

    def _ask(self) -> None:
        if not self._is_closed:
            self._http.post("/info", self._body, self._on_reply, self._timeout_s)

    def _on_reply(self, reply: HttpReply) -> None:
        """A failed reading changes nothing: the count goes on, and is read again in its turn."""
        if self._is_closed or reply_error(reply, "userRateLimit") is not None:
            return
        try:
            left = user_rate_limit(reply.body)
        except VenueProtocolError:
            return
        now_ns = self._clock()
        self._budget.read(left.used, left.allowed, now_ns, left.cum_vlm_usd)
        self._told_ns = now_ns
        self._emit(RequestsLeft(now_ns, left.used, left.allowed))
