"""
A running emulated exchange for tests, on a thread of its own, with a clock that stands still.

Tests speak bytes over a socket: `post` for REST, `Socket` for the WebSocket, the official clients
on top of `url`. Time moves by `advance` only, so a minute of silence takes no minute.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import ccxt
from eth_account import Account
from hyperliquid.utils import signing as sdk
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mmbot.emulator.limits import NO_LIMITS, LimitParams
from mmbot.emulator.server import ManualClock, Running, serve
from mmbot.emulator.specs import AssetSpec, DexSpec, MarginMode, VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange, ExchangeParams

NOW_MS = 1_791_484_300_000
"""Start of every test: 2026-10-08, ms since the epoch."""

TIMEOUT_S = 60.0


class User(NamedTuple):
    """A wallet of the tests; its key is worthless."""

    key: str

    @property
    def wallet(self) -> Any:
        """The wallet as the SDK takes it."""
        return Account.from_key(self.key)

    @property
    def address(self) -> str:
        """Address in lower case, as the venue writes it."""
        return str(self.wallet.address).lower()


ALICE = User("0x0123456789012345678901234567890123456789012345678901234567890123")
BOB = User("0x" + "b0" * 32)
CAROL = User("0x" + "ca" * 32)
"""Never funded."""

BTC, ETH, SOL, HYPE, MATIC = range(5)
VNTL_OAI = 130_000
HYNA_BTC, HYNA_HYPE, HYNA_OLD = 140_000, 140_001, 140_002
XYZ_NVDA = 110_000


def universe() -> list[DexSpec]:
    """Main dex, three builder dexes, then hyna as the fourth, so that its ids begin at 140000."""
    main = (
        AssetSpec(name="BTC", sz_decimals=5, max_leverage=40, mark_px=84_000.0),
        AssetSpec(name="ETH", sz_decimals=4, max_leverage=25, mark_px=2_500.0),
        AssetSpec(name="SOL", sz_decimals=2, max_leverage=20, mark_px=150.0),
        AssetSpec(name="HYPE", sz_decimals=2, max_leverage=10, mark_px=26.0),
        AssetSpec(name="MATIC", sz_decimals=1, max_leverage=20, mark_px=0.4, is_delisted=True),
    )
    nvda = AssetSpec(
        name="xyz:NVDA",
        sz_decimals=3,
        max_leverage=20,
        mark_px=219.0,
        deployer_fee_scale=1.0,
        growth_mode=True,
    )
    oai = AssetSpec(
        name="vntl:OAI",
        sz_decimals=3,
        max_leverage=6,
        mark_px=500.0,
        only_isolated=True,
        margin_mode=MarginMode.NO_CROSS,
        deployer_fee_scale=1.0,
    )
    flx = AssetSpec(
        name="flx:OIL", sz_decimals=2, max_leverage=10, mark_px=70.0, deployer_fee_scale=0.5
    )
    hyna = (
        AssetSpec(
            name="hyna:BTC",
            sz_decimals=5,
            max_leverage=40,
            mark_px=84_000.0,
            deployer_fee_scale=1.0,
            oi_cap_usd=25_000_000.0,
        ),
        AssetSpec(
            name="hyna:HYPE", sz_decimals=2, max_leverage=10, mark_px=26.0, deployer_fee_scale=1.0
        ),
        AssetSpec(
            name="hyna:OLD",
            sz_decimals=2,
            max_leverage=10,
            mark_px=5.0,
            is_delisted=True,
            deployer_fee_scale=1.0,
        ),
    )
    return [
        DexSpec(name="", assets=main),
        DexSpec(name="xyz", assets=(nvda,)),
        DexSpec(name="flx", assets=(flx,), collateral="USDH", collateral_token=360),
        DexSpec(name="vntl", assets=(oai,)),
        DexSpec(name="hyna", assets=hyna, collateral="USDE", collateral_token=235),
    ]


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str | None
    body: bytes

    @property
    def text(self) -> str:
        """Body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """Body as JSON."""
        return json.loads(self.body)


class Socket:
    """A WebSocket client that hands out messages one by one."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send text as it is, anything else as JSON."""
        self._connection.send(message if isinstance(message, str) else json.dumps(message))

    def take(self) -> Any:
        """Next message, as JSON."""
        return json.loads(self._connection.recv(timeout=TIMEOUT_S))

    def take_or_none(self) -> Any:
        """Next message, None once the socket is closed."""
        try:
            return self.take()
        except ConnectionClosed:
            return None

    def take_channel(self, channel: str) -> Any:
        """Next message of a channel; those of others in between are passed over."""
        while True:
            message = self.take()
            if message["channel"] == channel:
                return message["data"]

    def subscribe(self, **fields: Any) -> Any:
        """Subscribe and return the acknowledged subscription."""
        self.send({"method": "subscribe", "subscription": fields})
        return self.take_channel("subscriptionResponse")["subscription"]

    def pending(self) -> list[Any]:
        """Every message that is on its way, told by the pong that comes after them."""
        self.send({"method": "ping"})
        found: list[Any] = []
        while (message := self.take()) != {"channel": "pong"}:
            found.append(message)
        return found

    def close_code(self) -> int | None:
        """Wait until the server closes; the code of its close frame, None when there was none."""
        try:
            while True:
                self._connection.recv(timeout=TIMEOUT_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None


class Server:
    """A server under test and what a test does with it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._running = self._call(serve(exchange, clock=ManualClock(exchange.now_ms)))
        self._nonce = exchange.now_ms

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._running.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    @property
    def url(self) -> str:
        """Base URL."""
        return self._running_server.url

    @property
    def _running_server(self) -> Running:
        running = self._running
        assert isinstance(running, Running)
        return running

    # --- bytes ---

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = "application/json",
    ) -> Reply:
        """One HTTP request on a connection of its own."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._running_server.port, timeout=TIMEOUT_S
        )
        headers = {} if content_type is None else {"Content-Type": content_type}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheader("Content-Type"), answer.read())
        finally:
            connection.close()

    def post(self, path: str, value: Any) -> Reply:
        """POST a JSON value."""
        return self.request("POST", path, json.dumps(value).encode())

    def info(self, **fields: Any) -> Any:
        """Answer to an info request that has to succeed."""
        reply = self.post("/info", fields)
        assert reply.status == 200, reply
        return reply.json

    def control(self, name: str, **fields: Any) -> Any:
        """Use a control route."""
        reply = self.post(f"/emulator/{name}", fields)
        assert reply.status == 200, reply
        return reply.json

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.control("advance", ms=ms)

    def wait_for_topics(self, count: int) -> None:
        """Return once clients of the server hold `count` subscriptions."""
        for _ in range(10_000):
            if self.request("GET", "/emulator/status").json["topics"] >= count:
                return
        msg = f"no {count} subscriptions after 10000 looks"
        raise AssertionError(msg)

    @contextmanager
    def socket(self) -> Iterator[Socket]:
        """A WebSocket connection."""
        with connect(
            f"{self._running_server.ws_url}", compression=None, open_timeout=TIMEOUT_S
        ) as connection:
            yield Socket(connection)

    # --- signed requests ---

    def nonce(self) -> int:
        """A nonce that was not used before."""
        self._nonce += 1
        return self._nonce

    def signed(
        self,
        user: User,
        action: dict[str, Any],
        *,
        nonce: int | None = None,
        vault: str | None = None,
        expires: int | None = None,
        is_mainnet: bool = False,
    ) -> dict[str, Any]:
        """Body of a trading action, signed by the official SDK."""
        stamp = self.nonce() if nonce is None else nonce
        signature = sdk.sign_l1_action(user.wallet, action, vault, stamp, expires, is_mainnet)
        return {
            "action": action,
            "nonce": stamp,
            "signature": signature,
            "vaultAddress": vault,
            "expiresAfter": expires,
        }

    def act(self, user: User, action: dict[str, Any], **options: Any) -> Any:
        """Sign an action, send it, and return the venue's answer."""
        reply = self.post("/exchange", self.signed(user, action, **options))
        assert reply.status == 200, reply
        return reply.json

    def order(self, user: User, *orders: dict[str, Any], **more: Any) -> list[Any]:
        """Place orders and return their statuses."""
        answer = self.act(user, {"type": "order", "orders": list(orders), "grouping": "na", **more})
        assert answer["status"] == "ok", answer
        statuses: list[Any] = answer["response"]["data"]["statuses"]
        return statuses


@contextmanager
def ccxt_client(
    server: Server, user: User | None = None, *, at_ms: int = NOW_MS + 7_200_000
) -> Iterator[Any]:
    """
    A ccxt client of the server, told of nothing but its address, its clock and a key.

    Args:
        at_ms: What its clock says; ccxt makes nonces and expiries from it.
    """
    keys = {} if user is None else {"walletAddress": user.address, "privateKey": user.key}
    client = ccxt.hyperliquid({**keys, "enableRateLimit": False})
    client.urls["api"] = {"public": server.url, "private": server.url}
    client.milliseconds = lambda: at_ms
    try:
        yield client
    finally:
        client.close()


def wire_order(
    asset: int,
    side: str,
    px: str,
    sz: str,
    tif: str = "Gtc",
    *,
    reduce_only: bool = False,
    cloid: str | None = None,
) -> dict[str, Any]:
    """An order as the wire has it; `side` is B or A."""
    order: dict[str, Any] = {
        "a": asset,
        "b": side == "B",
        "p": px,
        "s": sz,
        "r": reduce_only,
        "t": {"limit": {"tif": tif}},
    }
    return order if cloid is None else {**order, "c": cloid}


def cloid(number: int) -> str:
    """A client order id."""
    return f"0x{number:032x}"


def build_exchange(
    *,
    params: ExchangeParams | None = None,
    limits: LimitParams = NO_LIMITS,
    venue_params: VenueParams | None = None,
    dexes: Sequence[DexSpec] | None = None,
    usd: float = 10_000.0,
    seed: int = 0,
    **settings: Any,
) -> Exchange:
    """
    An exchange with two funded accounts (not on xyz and flx) and empty books.

    `settings` are fields of `ExchangeParams`; limits are off unless given.
    """
    venue = Venue(venue_params or VenueParams(), dexes or universe(), NOW_MS)
    for user in (ALICE, BOB):
        for dex in ("", "vntl", "hyna"):
            venue.open_account(user.address, usd=usd, dex=dex)
        venue.fund_spot(user.address, "USDC", 1000.0)
    chosen = params or ExchangeParams(limits=limits, **settings)
    return Exchange(venue, None, chosen, NOW_MS, chance=random.Random(seed))
