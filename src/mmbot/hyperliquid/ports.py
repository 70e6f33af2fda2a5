"""
What the venue side asks of the world: time, timers, a byte stream, one HTTP request.

Link, gateway and snapshot reader are written against these and nothing else, so the same code runs
over sockets and over an in-memory pipe in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.wire_types import DECODE_ERRORS

Clock: TypeAlias = Callable[[], int]
"""Nanoseconds since the epoch; never goes backwards."""


class Handle(Protocol):
    """A timer that has not fired."""

    def cancel(self) -> None:
        """Forget it; harmless once it has fired."""


class Scheduler(Protocol):
    """Timers on the one thread everything runs on."""

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> Handle:
        """Call `fn` when the clock reaches `when_ns`; at the next turn if that is past."""


class StreamTransport(Protocol):
    """The writing end of an open byte stream."""

    def write(self, data: bytes) -> None:
        """Send, or buffer what the network does not take now."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close at once."""


class StreamProtocol(Protocol):
    """
    The reading end: the callbacks of an `asyncio.Protocol`, and one for a stream never opened.

    Exactly one of `connection_made` and `dial_failed` is called, first; `connection_lost` is called
    once, last, and only after `connection_made`.
    """

    def connection_made(self, transport: StreamTransport) -> None:
        """The stream is open (over TLS: authenticated)."""

    def data_received(self, data: bytes) -> None:
        """One read."""

    def eof_received(self) -> bool | None:
        """The peer will send no more; falsy closes the stream."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is closed."""

    def pause_writing(self) -> None:
        """The send buffer is above its high-water mark."""

    def resume_writing(self) -> None:
        """The send buffer is low again."""

    def dial_failed(self, reason: str) -> None:
        """The stream could not be opened; `reason` is for a person."""


class Dialer(Protocol):
    """Opens byte streams."""

    def dial(self, url: str, protocol: StreamProtocol) -> None:
        """Connect to the host of a ws:// or wss:// URL; everything after goes to `protocol`."""


class HttpReply(msgspec.Struct, frozen=True):
    """
    Outcome of one HTTP request.

    Attributes:
        status: HTTP status, None when no complete answer came.
        body: Body as received.
        error: Why no answer came, for a person; None when one did.
    """

    status: int | None
    body: bytes = b""
    error: str | None = None


class Http(Protocol):
    """One POST with a JSON body; never raises for what the network or the venue does."""

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        """Send `body` to `path`; `on_done` is called once, later, never from within `post`."""


class Jitter(Protocol):
    """Source of chance, a seeded `random.Random` for instance."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""


_SHOWN_CHARS = 120


class Ports(msgspec.Struct, frozen=True):
    """What connects the program to the world: real sockets and time, or a pipe and a simulation."""

    clock: Clock
    scheduler: Scheduler
    dialer: Dialer
    http: Http
    steady: Clock
    """A clock that nobody sets: it tells when the other one was."""


def reply_error(reply: HttpReply, what: str) -> VenueError | None:
    """
    What is wrong with the answer to a read, in words a person can act on; None when nothing is.

    `what` names the request and the address. `LinkError` where trying again can help (no answer,
    429, 5xx), `VenueError` where it cannot. A 500 with the body `null` is also the venue's answer
    for an unknown dex or coin (protocol notes, info endpoint): the message says both.
    """
    status = reply.status
    if status is None:
        return LinkError(f"{what}: {reply.error}; check the network and the address")
    if status == 200:
        if _is_json(reply.body):
            return None
        return VenueError(
            f"{what}: answered {_shown(reply.body)} instead of JSON; "
            "check that the address is the venue's API and not a proxy or a web page"
        )
    if status == 429:
        return LinkError(
            f"{what}: HTTP 429, too many requests from this IP address (the venue allows a weight "
            "of 1200 a minute); stop other bots on this address or wait a minute"
        )
    if status >= 500:
        return LinkError(
            f"{what}: HTTP {status} {_shown(reply.body)}; the venue is down or does not know the "
            "dex or coin; check both, then try again later"
        )
    return VenueError(
        f"{what}: HTTP {status} {_shown(reply.body)}; the venue does not accept this request, "
        "trying again will not help"
    )


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except DECODE_ERRORS:
        return False
    return True


def _shown(body: bytes) -> str:
    text = " ".join(body[: 4 * _SHOWN_CHARS].decode("utf-8", "replace").split())
    if not text:
        return "(empty)"
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
