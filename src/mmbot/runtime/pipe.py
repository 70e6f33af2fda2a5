"""
An exchange without sockets, in simulated time: the same bytes, the same order, no waiting.

`PipeDialer` and `PipeHttp` stand where the network does; clock and scheduler is `SimLoop`. Bytes of
a stream arrive after the latency and in the order they were written; on the far side websockets'
server protocol turns them into the texts an emulated exchange takes and gives. What can happen to a
connection on a bad day can be made to happen here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.ports import HttpReply, StreamProtocol
from mmbot.runtime.farend import (
    Driver,
    ExchangeLike,
    FarEnd,
    HttpResponseLike,
    Tamper,
)
from mmbot.runtime.network import Network
from mmbot.runtime.simulation import SimLoop

__all__ = ["Driver", "Latency", "PipeDialer", "PipeHttp", "SimLoop", "Tamper"]

Latency: TypeAlias = int | Callable[[], int]
"""One way, in ns: a number, or something that draws one for each message."""

_JSON: Final = "application/json"


class PipeDialer(Network["PipeTransport"]):
    """
    Dials an emulated exchange in simulated time.

    Attributes:
        tamper: While set, replaces each text of the exchange (repeats it, delays it, drops it).
        dials: How often we were asked to connect.
    """

    def __init__(
        self, sim: SimLoop, exchange: ExchangeLike, latency: Latency, *, ip: str = "127.0.0.1"
    ) -> None:
        super().__init__()
        self._sim = sim
        self._driver = Driver.of(sim, exchange)
        self._latency = latency
        self._ip = ip
        self.tamper: Tamper | None = None
        self.dials = 0

    def dial(self, url: str, protocol: StreamProtocol) -> None:  # noqa: ARG002 - one exchange
        """Connect after one way of latency."""
        self.dials += 1
        self._sim.call_at(self._sim.clock() + self.draw_ns(), lambda: self._connect(protocol))

    def draw_ns(self) -> int:
        """One latency."""
        return self._latency if isinstance(self._latency, int) else self._latency()

    def _connect(self, protocol: StreamProtocol) -> None:
        if self.refuse is not None:
            protocol.dial_failed(self.refuse)
            return
        self._driver.catch_up()
        session = self._driver.exchange.connect(self._ip)
        transport = PipeTransport(self._sim, self, protocol)
        transport.far = FarEnd(self._driver, session, transport, self.tamper)
        self.opened(transport)
        protocol.connection_made(transport)


class PipeTransport:
    """The near end of one connection."""

    far: FarEnd

    def __init__(self, sim: SimLoop, dialer: PipeDialer, protocol: StreamProtocol) -> None:
        self._sim = sim
        self._dialer = dialer
        self._protocol = protocol
        self._is_closing = False
        self._is_lost = False
        self._up = _Lane(sim, dialer.draw_ns)
        self._down = _Lane(sim, dialer.draw_ns)
        self._left: dict[bool, int] = {}
        """Bytes that still pass upward (True) and downward (False) before the line breaks."""

    def write(self, data: bytes) -> None:
        """Towards the exchange."""
        if self._is_closing:
            return
        passes = self._passing(data, is_upward=True)
        if passes:
            self._up.send(lambda: self.far.receive(passes))
        if len(passes) < len(data):
            self._up.send(self.far.hang_up)

    def close(self) -> None:
        """The exchange sees the end after everything written before."""
        if self._is_closing:
            return
        self._is_closing = True
        self._up.send(self.far.lost)
        self._sim.call_at(self._sim.clock(), lambda: self._lose(None))

    def abort(self) -> None:
        """The same: bytes that left us cannot be called back."""
        self.close()

    def deliver(self, data: bytes) -> None:
        """From the exchange, one read later."""
        passes = self._passing(data, is_upward=False)

        def arrive() -> None:
            if not self._is_closing:
                self._protocol.data_received(passes)

        if passes:
            self._down.send(arrive)
        if len(passes) < len(data):
            self.far.hang_up()

    def cut(self) -> None:
        """End it from the far side."""
        self.far.hang_up()

    def cut_after(self, count: int, *, is_upward: bool) -> None:
        """Let so many more bytes of one direction through, then break."""
        self._left[is_upward] = count

    def _passing(self, data: bytes, *, is_upward: bool) -> bytes:
        """The part of it that gets through."""
        left = self._left.get(is_upward)
        if left is None:
            return data
        passes = data[:left]
        self._left[is_upward] = left - len(passes)
        return passes

    def end(self) -> None:
        """The exchange closed the stream."""

        def arrive() -> None:
            if not self._is_closing:
                self._is_closing = True
                self._protocol.eof_received()
                self._lose(None)

        self._down.send(arrive)

    def stall(self, *, is_stalled: bool) -> None:
        """Hold back, or let through."""
        self._up.hold(is_held=is_stalled)
        self._down.hold(is_held=is_stalled)

    def _lose(self, exc: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._dialer.forget(self)
            self._protocol.connection_lost(exc)


class _Lane:
    """One direction of a stream: everything arrives later, nothing overtakes."""

    def __init__(self, sim: SimLoop, draw_ns: Callable[[], int]) -> None:
        self._sim = sim
        self._draw_ns = draw_ns
        self._last_ns = 0
        self._held: list[Callable[[], None]] | None = None

    def send(self, fn: Callable[[], None]) -> None:
        self._last_ns = max(self._last_ns, self._sim.clock() + self._draw_ns())
        self._sim.call_at(self._last_ns, lambda: self._arrive(fn))

    def hold(self, *, is_held: bool) -> None:
        if is_held:
            self._held = self._held or []
            return
        waiting, self._held = self._held or [], None
        for fn in waiting:
            fn()

    def _arrive(self, fn: Callable[[], None]) -> None:
        if self._held is None:
            fn()
        else:
            self._held.append(fn)


class PipeHttp:
    """
    HTTP to an emulated exchange in simulated time.

    Attributes:
        refuse: While set, nothing reaches the exchange and every request fails with this reason.
    """

    def __init__(
        self, sim: SimLoop, exchange: ExchangeLike, latency: Latency, *, ip: str = "127.0.0.1"
    ) -> None:
        self._sim = sim
        self._driver = Driver.of(sim, exchange)
        self._latency = latency
        self._ip = ip
        self.refuse: str | None = None

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        """See `ports.Http`."""
        sim = self._sim
        request = _Request(on_done)
        if self.refuse is not None:
            reply = HttpReply(None, error=self.refuse)
            sim.call_at(sim.clock() + self._draw_ns(), lambda: request.finish(reply))
            return
        late = HttpReply(None, error=f"no answer within {timeout_s:g} s")
        sim.call_at(sim.clock() + round(timeout_s * NS_PER_S), lambda: request.finish(late))
        sim.call_at(sim.clock() + self._draw_ns(), lambda: self._arrive(path, body, request))

    def _arrive(self, path: str, body: bytes, request: _Request) -> None:
        sim = self._sim

        def settle(answer: HttpResponseLike) -> None:
            if answer.is_dropped:
                reply = HttpReply(None, error="the connection was closed without an answer")
            else:
                reply = HttpReply(answer.status, answer.body)
            sim.call_at(sim.clock() + self._draw_ns(), lambda: request.finish(reply))

        self._driver.catch_up()
        self._driver.exchange.request("POST", path, _JSON, body, settle, ip=self._ip)
        self._driver.settle()

    def _draw_ns(self) -> int:
        return self._latency if isinstance(self._latency, int) else self._latency()


class _Request:
    """One HTTP request under way: what comes first, the answer or the time-out, settles it."""

    def __init__(self, on_done: Callable[[HttpReply], None]) -> None:
        self._on_done: Callable[[HttpReply], None] | None = on_done

    def finish(self, reply: HttpReply) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(reply)
