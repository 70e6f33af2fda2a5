"""Real time and real sockets behind the ports: asyncio, on any loop (uvloop where installed)."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.ports import Clock, Handle, StreamProtocol


class WallClock:
    """
    Nanoseconds since the epoch, never backwards.

    It follows the system's clock forwards (also over a suspend, which the monotonic clock does not
    count), because nonces and expiry times are compared with the venue's. When the system's clock
    is set back it goes on at the monotonic clock's pace: no decision may precede another.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last_ns = wall()
        self._last_monotonic_ns = monotonic()

    def __call__(self) -> int:
        """Now."""
        now_ns = self._wall()
        monotonic_ns = self._monotonic()
        if now_ns < self._last_ns:
            now_ns = self._last_ns + (monotonic_ns - self._last_monotonic_ns)
        self._last_ns = now_ns
        self._last_monotonic_ns = monotonic_ns
        return now_ns


wall_clock_ns: Final[Clock] = WallClock()
"""The clock of the process."""


def _steady_ns() -> int:
    """Time since the start of the machine, a suspend included where the system counts it."""
    return time.clock_gettime_ns(_STEADY)


_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
steady_clock_ns: Final[Clock] = _steady_ns
"""A clock that nobody sets."""


T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """
    What `work` returns or raises, computed in a thread beside the loop.

    Unlike one of the loop's own threads it holds up no end: whoever is cancelled while he waits
    goes at once, and what is still being computed ends with the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not done.done():
            set_it()

    def compute() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits gets it
            outcome = functools.partial(done.set_exception, error)
        else:
            outcome = functools.partial(done.set_result, result)
        with suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=compute, name="aside", daemon=True).start()
    return await done


class AioScheduler:
    """Timers of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock = wall_clock_ns) -> None:
        self._loop = loop
        self._clock = clock

    def clock(self) -> int:
        """Now, by the clock that the timers go by."""
        return self._clock()

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> Handle:
        """Call `fn` at `when_ns`, or at the loop's next turn if that is past."""
        return self._loop.call_later(max(0.0, (when_ns - self._clock()) / NS_PER_S), fn)


class AioDialer:
    """
    TCP, with TLS for wss:// (the system's certificates, host name checked).

    The loop calls the protocol's own methods: nothing stands between the socket and the link.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tls: ssl.SSLContext | None = None
        self._dials: set[asyncio.Task[None]] = set()

    def dial(self, url: str, protocol: StreamProtocol) -> None:
        """Connect in the background."""
        task = self._loop.create_task(self._dial(url, protocol))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, url: str, protocol: StreamProtocol) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_tls = parts.scheme == "wss"
        port = parts.port or (443 if is_tls else 80)
        if is_tls and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            await self._loop.create_connection(
                lambda: cast("asyncio.Protocol", protocol),  # it has every method a loop calls
                host,
                port,
                ssl=self._tls if is_tls else None,
            )
        except OSError as error:
            protocol.dial_failed(dial_error(host, port, error))
        except UnicodeError:
            protocol.dial_failed(f"{host}: this cannot be the name of a host; check the address")


def dial_error(host: str, port: int, error: OSError) -> str:
    """Why a host was not reached, and what a person can do about it."""
    where = f"{host}:{port}"
    match error:
        case socket.gaierror():
            return f"{where}: the name is not known; check the address and the DNS"
        case ConnectionRefusedError():
            return f"{where}: refused; nothing listens there, check the address"
        case ssl.SSLCertVerificationError():
            return f"{where}: the certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return f"{where}: no TLS: {error}"
        case TimeoutError():
            return f"{where}: no answer; check the network"
        case _:
            return f"{where}: {error.strerror or error}"
