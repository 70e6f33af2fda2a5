"""
The far end of a connection without sockets: an emulated exchange behind websockets' own protocol.

Bytes come in and go out; how they travel is `pipe`'s in simulated time, and `paper`'s over what a
trader writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from mmbot.core.types import NS_PER_MS
from mmbot.hyperliquid.ports import Handle
from mmbot.runtime.simulation import SimLoop

Tamper: TypeAlias = Callable[[str], Iterable[tuple[int, str]]]
"""Texts to deliver in place of one from the exchange, each with an extra delay in ns."""


class HttpResponseLike(Protocol):
    """What an emulated exchange answers to an HTTP request."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def body(self) -> bytes:
        """Body."""

    @property
    def is_dropped(self) -> bool:
        """The connection is cut instead of an answer."""


class SessionLike(Protocol):
    """One WebSocket of an emulated exchange."""

    is_closed: bool
    close_abnormal: bool

    def receive(self, text: str) -> None:
        """Take one message."""

    def take(self) -> list[str]:
        """Messages to send, oldest first."""

    def close(self) -> None:
        """The client went away."""


class ExchangeLike(Protocol):
    """An emulated exchange as the pipe drives it."""

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by then."""

    def next_due_ms(self) -> int | None:
        """When something will happen by itself."""

    def request(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        on_done: Callable[[Any], None],
        *,
        ip: str = ...,
    ) -> None:
        """Take one HTTP request; `on_done` gets the `HttpResponseLike`, at once or later."""

    def connect(self, ip: str = ...) -> SessionLike:
        """Open a WebSocket."""


class Time(Protocol):
    """Clock and scheduler in one: the simulation, or a loop of real time."""

    def clock(self) -> int:
        """Now, ns since the epoch."""

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> Handle:
        """Call `fn` then."""


class Near(Protocol):
    """The client's end of a connection, as the far end reaches it."""

    def deliver(self, data: bytes) -> None:
        """From the exchange, one read."""

    def end(self) -> None:
        """The exchange closed the stream."""


class Driver:
    """Advances one exchange whenever something is due there or arrives, and sends what it says."""

    def __init__(self, sim: Time, exchange: ExchangeLike) -> None:
        self.sim = sim
        self.exchange = exchange
        self.ends: list[FarEnd] = []
        self._timer: Handle | None = None
        self._due_ms: int | None = None
        self.settle()

    @classmethod
    def of(cls, sim: SimLoop, exchange: ExchangeLike) -> Driver:
        """The one driver of this exchange in this simulation, made when first asked for."""
        found = sim.companions.get(id(exchange))
        if not isinstance(found, cls):
            found = sim.companions[id(exchange)] = cls(sim, exchange)
        return found

    def catch_up(self) -> None:
        """Bring the exchange to the present."""
        self.exchange.advance(self.sim.clock() // NS_PER_MS)

    def settle(self) -> None:
        """Send what every session has to say, and set the clock for what is due next."""
        for end in list(self.ends):
            end.flush()
        due_ms = self.exchange.next_due_ms()
        if due_ms is not None:
            due_ms = max(due_ms, self.sim.clock() // NS_PER_MS + 1)
        if due_ms == self._due_ms:
            return
        self._due_ms = due_ms
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ms is not None:
            self._timer = self.sim.call_at(due_ms * NS_PER_MS, self._on_due)

    def _on_due(self) -> None:
        self._due_ms = self._timer = None
        self.catch_up()
        self.settle()


class FarEnd:
    """The exchange's end of one connection: WebSocket bytes to texts and back."""

    def __init__(
        self,
        driver: Driver,
        session: SessionLike,
        near: Near,
        tamper: Tamper | None = None,
    ) -> None:
        self._driver = driver
        self._session = session
        self._near = near
        self._tamper = tamper
        self._server = ServerProtocol(max_size=None)
        self._is_over = False
        driver.ends.append(self)

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._is_over:
            return
        self._driver.catch_up()
        self._server.receive_data(data)
        for event in self._server.events_received():
            if isinstance(event, Request):
                self._server.send_response(self._answer(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._session.receive(bytes(event.data).decode("utf-8", "replace"))
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self._session.close()
        self._write()
        if self._server.eof_sent:
            self._finish()
        self._driver.settle()

    def _answer(self, request: Request) -> Response:
        """Accept, unless the exchange takes no further connection from this address."""
        if self._session.is_closed:
            return self._server.reject(429, "too many connections")
        return self._server.accept(request)

    def flush(self) -> None:
        """Send what the session has to say; end when it was closed."""
        if self._is_over or self._server.state is State.CONNECTING:
            return
        if self._server.state is State.OPEN:
            for text in self._session.take():
                if self._tamper is None:
                    self._server.send_text(text.encode())
                    continue
                for delay_ns, changed in self._tamper(text):
                    self._later(delay_ns, changed)
            self._write()
        if self._session.is_closed:
            if not self._session.close_abnormal and self._server.state is State.OPEN:
                self._server.send_close(1000)
                self._write()
            self._finish()

    def lost(self) -> None:
        """The client's end is gone."""
        if not self._is_over:
            self._driver.catch_up()
            self._session.close()
            self._finish()
            self._driver.settle()

    def hang_up(self) -> None:
        """Cut the connection from this side."""
        if not self._is_over:
            self._session.close()
            self._finish()

    def _later(self, delay_ns: int, text: str) -> None:
        if delay_ns <= 0:
            self._server.send_text(text.encode())
            return

        def send() -> None:
            if not self._is_over and self._server.state is State.OPEN:
                self._server.send_text(text.encode())
                self._write()

        sim = self._driver.sim
        sim.call_at(sim.clock() + delay_ns, send)

    def _write(self) -> None:
        data = b"".join(self._server.data_to_send())
        if data:
            self._near.deliver(data)

    def _finish(self) -> None:
        if self._is_over:
            return  # the line broke under the last write
        self._is_over = True
        self._driver.ends.remove(self)
        self._near.end()
