"""
Reads of the start, tried again where trying again can help.

A start that gives up on a busy venue leaves the orders of an earlier run resting, and the venue's
limits are per minute: refused reads are repeated for a little longer than that. A host that was
never there is given up soon, because a wrong address does not become right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.ports import Clock, HttpReply, reply_error
from mmbot.runtime.aio import wall_clock_ns

UNREACHABLE_S: Final = 5.0
"""Patience with an address that never answered, when nothing of ours may rest there."""
_TIMEOUT_S: Final = 10.0
_WAIT_FIRST_S: Final = 1.0
_WAIT_MAX_S: Final = 15.0

OnWait: TypeAlias = Callable[[VenueError, float], None]
"""Hears of every refused try, and for how many seconds more there will be others."""


class Requests(Protocol):
    """What can be asked over HTTP: `Rest`, or a stand-in of it."""

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """One request, whatever comes of it."""


class Reads(Protocol):
    """Who reads the venue's public and account data."""

    async def info(self, payload: Mapping[str, Any]) -> bytes:
        """Body of the answer to `POST /info`."""


class PatientRest:
    """
    Reads over HTTP that wait out an overloaded or absent venue.

    Args:
        retry_s: For how long after the first refusal a read is repeated.
        on_wait: Told of every refusal; None where nobody listens.

    Attributes:
        orders_may_rest: Whether a host that does not answer deserves the whole patience.
    """

    def __init__(
        self,
        rest: Requests,
        url: str,
        *,
        retry_s: float,
        on_wait: OnWait | None,
        clock: Clock = wall_clock_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.orders_may_rest = False
        self._rest = rest
        self._url = url
        self._retry_s = retry_s
        self._on_wait = on_wait
        self._clock = clock
        self._sleep = sleep
        self._refused_ns: int | None = None
        self._has_answered = False
        # One at a time: all reads at once would keep the address above its limit.
        self._turn = asyncio.Lock()

    async def info(self, payload: Mapping[str, Any]) -> bytes:
        """
        Body of the answer to `POST /info`.

        Raises:
            LinkError: The venue is not reachable, overloaded or down, and patience ended.
            VenueError: It refuses the request, or what answers is not the venue.
        """
        body = msgspec.json.encode(payload)
        return await self._ask("POST", "/info", body, f"{self._url}/info {payload.get('type')}")

    async def get(self, path: str) -> bytes:
        """Body of the answer to `GET path`, JSON; raises as `info` does."""
        return await self._ask("GET", path, None, f"{self._url}{path}")

    async def _ask(self, method: str, path: str, body: bytes | None, what: str) -> bytes:
        reply, error = await self._try(method, path, body, what)
        if error is None:
            return reply.body
        async with self._turn:
            wait_s = _WAIT_FIRST_S
            while error is not None:
                left_s = self._left_s(reply)
                if left_s <= 0 or not isinstance(error, LinkError):
                    raise error
                if self._on_wait is not None:
                    self._on_wait(error, left_s)
                await self._sleep(min(wait_s, left_s))
                wait_s = min(2 * wait_s, _WAIT_MAX_S)
                reply, error = await self._try(method, path, body, what)
            self._refused_ns = None
            return reply.body

    async def _try(
        self, method: str, path: str, body: bytes | None, what: str
    ) -> tuple[HttpReply, VenueError | None]:
        reply = await self._rest.request(method, path, body, _TIMEOUT_S)
        self._has_answered = self._has_answered or reply.status is not None
        return reply, reply_error(reply, what)

    def _left_s(self, reply: HttpReply) -> float:
        now_ns = self._clock()
        if self._refused_ns is None:
            self._refused_ns = now_ns
        is_known = self._has_answered or self.orders_may_rest or reply.status is not None
        limit_s = self._retry_s if is_known else min(UNREACHABLE_S, self._retry_s)
        return limit_s - (now_ns - self._refused_ns) / NS_PER_S
