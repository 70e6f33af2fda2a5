"""
The emulated exchange behind real sockets: REST and WebSocket on one port, time from a clock.

Everything the venue does is in `wire.Exchange`, which is pure; this module moves bytes and time. A
session that is cut ends without a close frame, as the venue's do (the client sees code 1006).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from aiohttp import ClientError, WSMsgType, web

from mmbot.emulator.schema import BadJsonError, parse_json
from mmbot.emulator.session import Session
from mmbot.emulator.wire import Exchange, HttpResponse
from mmbot.errors import LinkError

TICK_MAX_S = 0.25
"""Longest time between two moves of the exchange's clock, so that timers of the venue fire."""

CLOSE_S = 1.0
BODY_MAX = 4 * 2**20
ADVANCE_MAX_MS = 7 * 86_400_000

# What aiohttp has to say is of clients that hang up or speak no HTTP; whatever goes wrong inside
# the exchange is caught here first and goes to the owner of the server.
_UNHEARD: Final = logging.Logger("mmbot.emulator.server.clients")
_UNHEARD.addHandler(logging.NullHandler())

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Let time pass on an exchange whose clock is moved by hand."""

    ms: Annotated[int, msgspec.Meta(ge=0, le=ADVANCE_MAX_MS)]


def wall_clock_ms() -> int:
    """Milliseconds since the epoch; nonces and ccxt's signatures need that magnitude."""
    return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when told to: tests of a minute's silence take no minute."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Now, in ms since the epoch."""
        return self.now_ms


class Running:
    """A server that listens. `failure` ends with the exception that stopped its clock, if any."""

    def __init__(self, exchange: Exchange, clock: Callable[[], int]) -> None:
        self.exchange = exchange
        self.url = ""
        self.port = 0
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._sockets: set[asyncio.Task[None]] = set()
        app = web.Application(client_max_size=BODY_MAX, middlewares=[self._guarded])
        app.router.add_get("/ws", self._websocket)
        app.router.add_post("/emulator/advance", self._advance)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_UNHEARD, shutdown_timeout=CLOSE_S
        )

    @property
    def ws_url(self) -> str:
        """Address of the WebSocket."""
        return f"ws{self.url.removeprefix('http')}/ws"

    async def listen(self, host: str, port: int) -> None:
        """
        Bind and start the clock.

        Raises:
            LinkError: The port is taken or the address is not this machine's.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            msg = f"cannot listen on {host}:{port}: {error.strerror}; choose another port"
            raise LinkError(msg) from error
        self.port = int(self._runner.addresses[0][1])
        self.url = f"http://{host}:{self.port}"
        self._tick()

    async def stop(self) -> None:
        """Cut every session, close the port, stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
        self.exchange.disconnect()
        await self._runner.cleanup()
        if self._sockets:
            await asyncio.wait(self._sockets)
        if not self.failure.done():
            self.failure.cancel()

    # time

    def _tick(self) -> None:
        self.catch_up()
        if isinstance(self._clock, ManualClock) or self.failure.done():
            return
        due_ms = self.exchange.next_due_ms()
        wait_s = TICK_MAX_S if due_ms is None else (due_ms - self._clock()) / 1000
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(max(wait_s, 0.0), TICK_MAX_S), self._tick)

    def catch_up(self) -> None:
        """Bring the exchange up to now."""
        if self.failure.done():
            return
        try:
            self.exchange.advance(max(self._clock(), self.exchange.now_ms))
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner of the server hears it
            self.failure.set_exception(error)

    def settle(self) -> None:
        """Something new may be due sooner than the timer thinks: after any change by hand."""
        if self._timer is not None:
            self._timer.cancel()
            self._tick()

    # REST

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except (ConnectionError, ClientError, web.RequestPayloadError, web.PayloadAccessError):
            # The client hung up, or its body is no HTTP: nobody is left to be told.
            return web.Response(status=400)
        except Exception as error:  # noqa: BLE001 - as for the clock, the owner hears it
            if not self.failure.done():
                self.failure.set_exception(error)
            text = f"the exchange itself failed: {type(error).__name__}: {error}"
            return web.json_response({"error": text}, status=500)

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.catch_up()
        done: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()

        def settle(answer: HttpResponse) -> None:
            if not done.done():
                done.set_result(answer)

        self.exchange.request(
            request.method,
            request.path_qs,
            request.headers.get("Content-Type"),
            body,
            settle,
            ip=_ip(request),
        )
        if request.path != "/info":
            # An action, or a hand at the controls, leaves something for the next block.
            self.settle()
        return _response(request, await done)

    async def _advance(self, request: web.Request) -> web.StreamResponse:
        """`POST /emulator/advance {"ms": n}` moves a manual clock."""
        clock = self._clock
        if not isinstance(clock, ManualClock):
            return web.json_response({"error": "this exchange runs on the wall clock"}, status=409)
        try:
            wanted = msgspec.convert(parse_json(await request.read()), Advance)
        except (BadJsonError, msgspec.ValidationError) as error:
            text = f'{error}; send {{"ms": 0 to {ADVANCE_MAX_MS}}}'
            return web.json_response({"error": text}, status=400)
        clock.now_ms += wanted.ms
        self.catch_up()
        if self.failure.done():
            self.failure.result()
        return web.json_response({"now_ms": clock.now_ms})

    # WebSocket

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self.catch_up()
        session = self.exchange.connect(_ip(request))
        if session.is_closed:
            return web.Response(status=429)
        try:
            return await self._serve(request, session)
        finally:
            # Also where the handshake itself came to nothing: the place has to be given back.
            session.close()

    async def _serve(self, request: web.Request, session: Session) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=BODY_MAX)
        if request.transport is None:
            raise ConnectionResetError
        await socket.prepare(request)
        writer = asyncio.create_task(_write(request, socket, session))
        self._sockets.add(writer)
        writer.add_done_callback(self._sockets.discard)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.catch_up()
                    session.receive(message.data)
                    self.settle()
        finally:
            session.close()
            await writer
        return socket


async def _write(request: web.Request, socket: web.WebSocketResponse, session: Session) -> None:
    """Send what the session has to say until it closes, then close the socket in its manner."""
    ready = asyncio.Event()
    session.wake = ready.set
    ready.set()
    while not session.is_closed:
        await ready.wait()
        ready.clear()
        for text in session.take():
            try:
                await socket.send_str(text)
            except (ConnectionError, RuntimeError):
                # The client is gone; the reader notices too, so there is nothing left to do here.
                session.close()
                return
    if session.close_abnormal and request.transport is not None:
        request.transport.abort()


def _ip(request: web.Request) -> str:
    return request.remote or "unknown"


def _response(request: web.Request, answer: HttpResponse) -> web.StreamResponse:
    if answer.is_dropped and request.transport is not None:
        request.transport.abort()
    headers = {} if answer.content_type is None else {"Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def serve(
    exchange: Exchange,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    clock: Callable[[], int] = wall_clock_ms,
) -> Running:
    """
    Put an exchange on the network; port 0 takes a free one.

    Args:
        clock: Milliseconds since the epoch. With a `ManualClock` time moves by
            `POST /emulator/advance` alone.

    Raises:
        LinkError: The address cannot be bound.
    """
    running = Running(exchange, clock)
    await running.listen(host, port)
    return running
