"""
The venue of a paper run: real public data, and an account that exists in this process alone.

It stands where the network does, between a `Trader`'s ports and the real venue. Streams and
questions about the market go to the real venue and come back as they are. Whatever names an account
(a `user`) and every action is answered by an emulated exchange in memory (`emulator.paper`), over
the same wire format, after the latency of an order. So nothing that is signed and no address leaves
this process: `_is_public` is the one gate to the outside.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from websockets.uri import parse_uri

from mmbot.config import PAPER_ADDRESS, Config
from mmbot.core.events import AssetCtx, Bbo, Book, Trades
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.emulator.paper import PaperMarket, paper_exchange
from mmbot.emulator.replies import HttpResponse
from mmbot.emulator.session import Session
from mmbot.emulator.wire import Exchange
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.ports import Dialer, Http, HttpReply, StreamProtocol, reply_error
from mmbot.hyperliquid.rest import TIMEOUT_S, Rest
from mmbot.hyperliquid.websocket import WsSocket
from mmbot.hyperliquid.wire import Decoder
from mmbot.hyperliquid.wire_types import DECODE_ERRORS
from mmbot.runtime.aio import AioDialer, AioScheduler, wall_clock_ns
from mmbot.runtime.farend import Driver, FarEnd, Time
from mmbot.runtime.patience import OnWait, PatientRest
from mmbot.runtime.preflight import read_instrument
from mmbot.runtime.venues import Venue, signer_of

_JSON: Final = "application/json"
_INFO: Final = "/info"
_PING: Final = b'{"method":"ping"}'
_STREAMS: Final = ("subscribe", "unsubscribe")


def _fields(body: bytes | str) -> dict[str, Any]:
    """The keys of a request; none where it is no object."""
    try:
        found = msgspec.json.decode(body)
    except DECODE_ERRORS:
        return {}
    return found if isinstance(found, dict) else {}


def _is_public(question: Mapping[str, Any]) -> bool:
    """
    Whether a question or subscription is about the market alone.

    What does not say what it asks, or names an account, stays here.
    """
    return isinstance(question.get("type"), str) and "user" not in question


class PaperVenue:
    """
    Ports of a `Trader` whose orders are answered on paper.

    It is a `Dialer`, an `Http` and what a start reads by.

    Args:
        exchange: Holds the account.
        market: Fills its orders.
        instrument: The perp traded.
        user: Address of the account.
        time: Clock and timers.
        dialer: To the real venue.
        http: To the real venue.
        url: The real venue's socket.

    Attributes:
        driver: Keeps the exchange in step with `time`.
    """

    def __init__(
        self,
        exchange: Exchange,
        market: PaperMarket,
        instrument: Instrument,
        *,
        user: str,
        time: Time,
        dialer: Dialer,
        http: Http,
        url: str,
    ) -> None:
        self.exchange = exchange
        self.market = market
        self.instrument = instrument
        self.user = user
        self.time = time
        self.driver = Driver(time, exchange)
        self._dialer = dialer
        self._http = http
        self._url = url

    # -- streams ----------------------------------------------------------------------------------

    def dial(self, url: str, protocol: StreamProtocol) -> None:  # noqa: ARG002 - there is one
        """Connect to the real venue; `protocol` then speaks with both through one stream."""
        _Connection(self, protocol).dial(self._dialer, self._url)

    def hear(self, messages: list[bytes], decoder: Decoder) -> None:
        """Let what the market said in one read have its effect on the account."""
        self.driver.catch_up()
        for message in messages:
            try:
                events = decoder.decode(message, self.time.clock())
            except VenueProtocolError:
                continue  # the trader cannot read it either, and drops the link for it
            for event in events:
                if isinstance(event, Bbo | Book | Trades | AssetCtx):
                    self.market.see(event)
        self.exchange.collect()
        self.driver.settle()

    # -- requests ---------------------------------------------------------------------------------

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        """See `ports.Http`."""
        if path == _INFO and _is_public(_fields(body)):
            self._http.post(path, body, on_done, timeout_s)
            return

        def answer(response: HttpResponse) -> None:
            # Never from within `post`: who asks has not noted yet that he did.
            reply = HttpReply(response.status, response.body)
            self.time.call_at(self.time.clock(), lambda: on_done(reply))

        self.driver.catch_up()
        self.exchange.request("POST", path, _JSON, body, answer)
        self.driver.settle()

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """One request, whatever comes of it; the start asks nothing but POST."""
        if method != "POST" or body is None:
            return HttpReply(None, error=f"a paper venue answers no {method} {path}")
        done: asyncio.Future[HttpReply] = asyncio.get_running_loop().create_future()

        def settle(reply: HttpReply) -> None:
            if not done.done():
                done.set_result(reply)

        self.post(path, body, settle, timeout_s)
        return await done

    async def info(self, payload: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> bytes:
        """
        Body of the answer to `POST /info`.

        Raises:
            LinkError: The real venue is not reachable, overloaded or down.
            VenueError: It refuses the request.
        """
        reply = await self.request("POST", _INFO, msgspec.json.encode(payload), timeout_s)
        error = reply_error(reply, f"{_INFO} {payload.get('type')}")
        if error is not None:
            raise error
        return reply.body


class _Streams:
    """
    What a session of the real venue and one of the paper account say, as one session.

    The `SessionLike` of the stream that the trader holds.
    """

    def __init__(
        self,
        venue: PaperVenue,
        on_open: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self.is_closed = False
        self.close_abnormal = False
        self._venue = venue
        self._on_open = on_open
        self._on_failed: Callable[[str], None] | None = on_failed
        """Hears why there was no connection; None once there is one."""
        self._account: Session | None = None
        self._out: deque[str] = deque()
        self._decoder = Decoder(venue.instrument, user=venue.user)
        self._market: WsSocket | None = None

    def dial(self, dialer: Dialer, url: str) -> None:
        """Connect to the real venue."""
        self._market = WsSocket(
            parse_uri(url),
            on_open=self._opened,
            on_messages=self._hear,
            on_gone=lambda reason, _: self._gone(reason),
        )
        dialer.dial(url, self._market)

    # -- of the trader's stream -------------------------------------------------------------------

    def receive(self, text: str) -> None:
        """One message of the trader."""
        assert self._market is not None
        assert self._account is not None
        message = _fields(text)
        method, wanted = message.get("method"), message.get("subscription")
        if method == "ping":
            # The real venue ends a silent connection, and its answer is the sign of life.
            self._market.send(_PING)
        elif method in _STREAMS and isinstance(wanted, dict) and _is_public(wanted):
            frame = {"method": method, "subscription": wanted}
            self._market.send(msgspec.json.encode(frame))
        else:
            self._account.receive(text)

    def take(self) -> list[str]:
        """Messages for the trader, oldest first."""
        if self._account is not None:
            self._out.extend(self._account.take())
        out, self._out = self._out, deque()
        return list(out)

    def close(self) -> None:
        """The trader went away."""
        self._end()
        if self._market is not None:
            self._market.close()

    # -- of the real venue ------------------------------------------------------------------------

    def _opened(self) -> None:
        self._account = self._venue.exchange.connect()
        self._on_failed = None
        self._on_open()

    def _hear(self, messages: list[bytes]) -> None:
        """One read: to the trader first, as it would be without us, then what it does on paper."""
        self._out.extend(message.decode("utf-8", "replace") for message in messages)
        self._venue.driver.settle()
        self._venue.hear(messages, self._decoder)

    def _gone(self, reason: str) -> None:
        if self._on_failed is not None:
            self._on_failed(reason)
            return
        self._end()
        self._venue.driver.settle()

    def _end(self) -> None:
        if self.is_closed:
            return
        self.is_closed = self.close_abnormal = True
        if self._account is not None:
            self._account.close()


class _Connection:
    """The trader's stream: a `StreamTransport` to it, the near end to the sessions."""

    def __init__(self, venue: PaperVenue, protocol: StreamProtocol) -> None:
        self._venue = venue
        self._protocol = protocol
        self._streams = _Streams(venue, self._open, protocol.dial_failed)
        self._far: FarEnd | None = None
        self._waiting: deque[bytes] = deque()
        """Written for the trader while it was writing itself."""
        self._is_writing = False
        self._is_closing = False
        self._is_lost = False

    def dial(self, dialer: Dialer, url: str) -> None:
        """Reach the real venue first: without it there is nothing to trade on."""
        self._streams.dial(dialer, url)

    def _open(self) -> None:
        self._far = FarEnd(self._venue.driver, self._streams, self)
        self._protocol.connection_made(self)

    # -- from the trader --------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Towards the venue; what it answers at once comes in the loop's next turn."""
        if self._is_closing or self._far is None:
            return
        is_nested, self._is_writing = self._is_writing, True
        try:
            self._far.receive(data)
        finally:
            self._is_writing = is_nested

    def close(self) -> None:
        """The trader has enough."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._far is not None:
            self._far.lost()
        self._later(self._lose)

    def abort(self) -> None:
        """The same: nothing is buffered here."""
        self.close()

    # -- to the trader ----------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """One read, now; in the next turn where the trader is in the middle of a write."""
        if self._waiting or self._is_writing:
            self._waiting.append(data)
            if len(self._waiting) == 1:
                self._later(self._catch_up)
            return
        if not self._is_closing:
            self._protocol.data_received(data)

    def end(self) -> None:
        """The venue closed the stream."""
        self._later(self._hang_up)

    def _catch_up(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if not self._is_closing:
            self._protocol.data_received(data)

    def _hang_up(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._protocol.eof_received()
        self._lose()

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._protocol.connection_lost(None)

    def _later(self, fn: Callable[[], None]) -> None:
        self._venue.time.call_at(self._venue.time.clock(), fn)


@asynccontextmanager
async def open_paper(
    config: Config, url: str, on_wait: OnWait | None = None
) -> AsyncIterator[Venue]:
    """
    The venue of a paper run, with a new account of `risk.capital_usd` and a key nobody knows.

    Args:
        config: The configuration.
        url: The real venue.
        on_wait: Hears of refused reads; without it none is tried again.

    Raises:
        ConfigError: The instrument is unknown or delisted.
        VenueError: The real venue cannot be reached, or refuses.
    """
    loop = asyncio.get_running_loop()
    venue = Venue(url, os.urandom(32))
    retry_s = config.start.retry_s if on_wait is not None else 0.0
    async with Rest(url) as rest:
        reads = PatientRest(rest, url, retry_s=retry_s, on_wait=on_wait)
        instrument = await read_instrument(config, reads)
        markets = await reads.info({"type": "metaAndAssetCtxs", "dex": instrument.dex})
        now = wire_rest.market_ctx(markets, instrument.coin)
        exchange, market = paper_exchange(
            instrument,
            config.paper,
            user=PAPER_ADDRESS,
            agent=signer_of(config, venue.key).address,
            equity_usd=config.risk.capital_usd,
            mark_px=now.mark_px,
            oracle_px=now.oracle_px,
            now_ms=wall_clock_ns() // NS_PER_MS,
        )
        paper = PaperVenue(
            exchange,
            market,
            instrument,
            user=PAPER_ADDRESS,
            time=AioScheduler(loop),
            dialer=AioDialer(loop),
            http=rest,
            url=venue.ws_url,
        )
        yield msgspec.structs.replace(venue, paper=paper)
