"""
From a tick on the socket to the signed request received by the exchange: the daemon and the SDK.

    python benchmarks/reaction.py [--cycles 100] [--json]

This process serves an emulated exchange on loopback (it checks every signature and carries every
action out); its clients are processes of their own, connected all the time:

- ours: `mmbot run`, whole, with five rungs a side;
- the SDK: `Info.subscribe` with a callback that calls `Exchange.bulk_orders`, once as installed
  (eth-keys in pure Python) and once with coincurve. Its callback does the least a callback can:
  ten prices at fixed distances from the mid.

The exchange's own market data is held back. A tick is one frame, `bbo` or 20-level `l2Book`,
written to one client's socket; the answer to wait for is an action with ten post-only orders. Then
the book is cleared: ours by a book without asks, on which the daemon cancels all by itself, the
SDK's by the exchange. Every client gets a tick in each cycle, in changing order, while the others
are idle.

Both ends of a reaction are stamped here, by one clock: before the frame is written to the socket,
and when the last bytes of the request are read from it, before anything is parsed. The daemon also
stamps the entry of its read callback and its write, by the same clock of the machine, which divides
its reaction into the way there, its own work, and the way back.

Returns 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from unittest import mock

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.web_protocol import RequestHandler

from mmbot.core.types import Side, Tif
from mmbot.emulator.control import HOUSE
from mmbot.emulator.limits import NO_LIMITS
from mmbot.emulator.listings import dexes
from mmbot.emulator.server import BODY_MAX, Running, wall_clock_ms
from mmbot.emulator.session import Session
from mmbot.emulator.specs import NewOrder, VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.hyperliquid.signing import Signer

COIN: Final = "HYPE"
ORDERS: Final = 10
OURS: Final = "ours"
TARGETS: Final = {"SDK as installed": 8.0, "SDK with coincurve": 3.0}
BACKENDS: Final = {
    "SDK as installed": "NativeECCBackend",
    "SDK with coincurve": "CoinCurveECCBackend",
}
WAYS: Final = (OURS, *TARGETS)
STREAMS: Final = {"l2Book": '{"channel":"l2Book"', "bbo": '{"channel":"bbo"'}
HELD_BACK: Final = (*STREAMS.values(), '{"channel":"trades"')
PATIENCE_S: Final = 3.0
WARM_UP: Final = 10

Reaction = tuple[int, int]
"""When the tick was written and when the request was read, ns."""

CONFIG: Final = """\
mode = "emulator"

[instrument]
coin = "HYPE"

[risk]
capital_usd = 100
leverage = 10
max_position_usd = 400
warm_s = 0  # a ladder of full size from the first tick on

[ladder]
rungs = 5

[reconcile]
requests_burst = 2000
requests_last_h = 0.01
"""


# -- the SDK's side, a process of its own -----------------------------------------------------


def sdk_client(url: str, key: str, stream: str) -> None:
    """Subscribe and answer every two-sided tick with ten orders, until standard input closes."""
    from eth_account import Account
    from eth_keys.backends import get_backend
    from hyperliquid.exchange import Exchange as SdkExchange
    from hyperliquid.info import Info
    from hyperliquid.utils.types import Cloid

    named = os.environ["ECC_BACKEND_CLASS"].rpartition(".")[2]
    assert type(get_backend()).__name__ == named
    exchange = SdkExchange(Account.from_key(key), url)
    numbers = iter(range(1, 1 << 62))

    def on_tick(message: Any) -> None:
        data = message["data"]
        if message["channel"] == "bbo":
            bid, ask = data["bbo"]
        else:
            bid, ask = (side[0] if side else None for side in data["levels"])
        if bid is None or ask is None:
            return
        mid = (float(bid["px"]) + float(ask["px"])) / 2
        orders = []
        for number in range(ORDERS):
            is_buy = number < ORDERS // 2
            bps = 4.0 + 2.0 * (number % (ORDERS // 2))
            orders.append(
                {
                    "coin": COIN,
                    "is_buy": is_buy,
                    "sz": 0.6,
                    "limit_px": float(f"{mid * (1 - bps * 1e-4 * (1 if is_buy else -1)):.5g}"),
                    "order_type": {"limit": {"tif": "Alo"}},
                    "reduce_only": False,
                    "cloid": Cloid.from_int(next(numbers)),
                }
            )
        exchange.bulk_orders(orders)

    info = Info(url, skip_ws=False)
    info.subscribe({"type": stream, "coin": COIN}, on_tick)
    sys.stdin.read()
    info.disconnect_websocket()


# -- our side, a process of its own ----------------------------------------------------------


def our_client(stamps: str, arguments: list[str]) -> None:
    """`mmbot run` that notes when a read comes in and when the first write of it goes out."""
    from mmbot.cli.app import main as mmbot
    from mmbot.hyperliquid.websocket import WsSocket

    noted: list[tuple[int, int]] = []
    read_ns = 0
    received, flush = WsSocket.data_received, WsSocket._flush

    def data_received(socket: WsSocket, data: bytes) -> None:
        nonlocal read_ns
        read_ns = time.perf_counter_ns()
        received(socket, data)
        read_ns = 0

    def flushed(socket: WsSocket) -> None:
        nonlocal read_ns
        wrote_ns = time.perf_counter_ns()
        flush(socket)
        if read_ns:
            noted.append((read_ns, wrote_ns))
            read_ns = 0

    sys.argv = ["mmbot", "run", *arguments]
    with (
        mock.patch.object(WsSocket, "data_received", data_received),
        mock.patch.object(WsSocket, "_flush", flushed),
    ):
        try:
            mmbot()
        finally:
            Path(stamps).write_text(json.dumps(noted), "utf-8")


# -- the exchange -----------------------------------------------------------------------------


class Stamped(Running):
    """An emulated exchange that stamps arrivals and keeps its own market data to itself."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, wall_clock_ms)
        self.arrivals: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.sockets: asyncio.Queue[tuple[Session, web.WebSocketResponse]] = asyncio.Queue()
        self.last_read_ns: dict[int, int] = {}

    def stamping(self) -> Any:
        """Stamp every read of every connection while this context lasts."""
        plain = RequestHandler.data_received
        stamps = self.last_read_ns

        def data_received(handler: RequestHandler, data: bytes) -> None:
            stamps[id(handler)] = time.perf_counter_ns()
            plain(handler, data)

        return mock.patch.object(RequestHandler, "data_received", data_received)

    def _arrived(self, request: web.Request, action: dict[str, Any]) -> None:
        self.arrivals.put_nowait((self.last_read_ns[id(request.protocol)], action))

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/exchange":
            # Read in full and kept by aiohttp, so the exchange reads the same bytes again.
            body = await request.read()
            self._arrived(request, msgspec.json.decode(body)["action"])
        return await super()._rest(request)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self.catch_up()
        session = self.exchange.connect(request.remote or "")
        socket = web.WebSocketResponse(compress=False, max_msg_size=BODY_MAX)
        await socket.prepare(request)
        self.sockets.put_nowait((session, socket))
        writer = asyncio.create_task(_write(socket, session))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                if '"post"' in message.data:
                    post = msgspec.json.decode(message.data)["request"]
                    if post["type"] == "action":
                        self._arrived(request, post["payload"]["action"])
                self.catch_up()
                session.receive(message.data)
                self.settle()
        finally:
            session.close()
            await writer
        return socket


async def _write(socket: web.WebSocketResponse, session: Session) -> None:
    ready = asyncio.Event()
    session.wake = ready.set
    ready.set()
    while not session.is_closed:
        await ready.wait()
        ready.clear()
        for text in session.take():
            if not text.startswith(HELD_BACK):
                try:
                    await socket.send_str(text)
                except ConnectionError:
                    session.close()
                    return


class Client:
    """One client as the exchange sees it."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        user: str,
        session: Session,
        socket: web.WebSocketResponse,
    ) -> None:
        self.name = name
        self.process = process
        self.user = user
        self.session = session
        self.socket = socket

    def end(self) -> None:
        """Close its standard input (the SDK's), or stop it as a person would (ours)."""
        if self.name == OURS:
            self.process.terminate()
        elif self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Ticks:
    """Frames in the venue's own text around a walking price, seeded."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._step = 26_200

    def make(self, stream: str, *, has_asks: bool) -> str:
        """Another price; without asks it is a market in which nothing can be priced."""
        self._step += self._random.randint(-2, 2)
        bids = [self._level(self._step - number) for number in range(20)]
        asks = [self._level(self._step + 1 + number) for number in range(20)] if has_asks else []
        data: dict[str, Any] = {"coin": COIN, "time": wall_clock_ms()}
        if stream == "bbo":
            data["bbo"] = [bids[0], asks[0] if asks else None]
        else:
            data["levels"] = [bids, asks]
        return json.dumps({"channel": stream, "data": data}, separators=(",", ":"))

    def _level(self, step: int) -> dict[str, Any]:
        size = round(self._random.expovariate(1 / 150) + 0.01, 2)
        px = f"{step / 1000:.3f}".rstrip("0").rstrip(".")
        return {"px": px, "sz": str(size), "n": 3}


class Bench:
    """All clients on one exchange, for one kind of tick."""

    def __init__(self, running: Stamped, stream: str) -> None:
        self.running = running
        self.stream = stream
        self.ticks = Ticks()
        self.clients: list[Client] = []

    async def admit(self, name: str, process: subprocess.Popen[bytes], user: str) -> None:
        """Wait until a started client is connected and subscribed."""
        async with asyncio.timeout(30):
            session, socket = await self.running.sockets.get()
            # Nothing tells of a subscription, so it is looked for.
            while not any(self.stream.lower() in topic.lower() for topic in session.topics):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        self.clients.append(Client(name, process, user, session, socket))

    async def react(self, client: Client) -> Reaction | None:
        """Times of a tick and of the request; None when none came."""
        arrivals = self.running.arrivals
        while not arrivals.empty():
            arrivals.get_nowait()
        text = self.ticks.make(self.stream, has_asks=True)
        began_ns = time.perf_counter_ns()
        await client.socket.send_str(text)
        try:
            async with asyncio.timeout(PATIENCE_S):
                at_ns, action = await arrivals.get()
                while action["type"] == "scheduleCancel":  # its own beat, and no answer to a tick
                    at_ns, action = await arrivals.get()
        except TimeoutError:
            return None
        if action["type"] != "order" or len(action["orders"]) != ORDERS:
            what = f"{action['type']} of {len(action.get('orders', ()))}"
            raise AssertionError(f"{client.name} answered with {what}, not with {ORDERS} orders")
        return began_ns, at_ns

    async def clear(self, client: Client) -> None:
        """Wait for the acknowledgement, then take the client's orders off the book."""
        await self._until(lambda: self._resting(client) == ORDERS, f"{client.name}: orders missing")
        await asyncio.sleep(0.01)
        if client.name == OURS:
            await self.withdraw(client)
        else:
            venue = self.running.exchange.venue
            asset_id = venue.asset_id(COIN)
            assert asset_id is not None
            for order in list(venue.account(client.user).open.values()):
                venue.cancel(client.user, asset_id, oid=order.oid)
            self.running.exchange.settle()
        await asyncio.sleep(0.02)

    async def withdraw(self, client: Client) -> None:
        """Have our daemon take back what it has: a market without asks cannot be priced."""
        for stream in STREAMS:
            await client.socket.send_str(self.ticks.make(stream, has_asks=False))
        await self._until(lambda: self._resting(client) == 0, "ours: orders not cancelled")

    def _resting(self, client: Client) -> int:
        return len(self.running.exchange.venue.account(client.user).open)

    async def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110 - the books tell nobody of a change
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(complaint) from None

    async def cycle(self, order: list[Client]) -> dict[str, Reaction]:
        """One tick to each client."""
        times: dict[str, Reaction] = {}
        for client in order:
            reaction = await self.react(client)
            if reaction is None:
                raise AssertionError(f"{client.name}: no request within {PATIENCE_S:g} s of a tick")
            times[client.name] = reaction
            await self.clear(client)
        return times

    async def warm_up(self) -> None:
        """Tick until every client has answered; a daemon that has just started reads first."""
        for client in self.clients:
            for _ in range(5):
                if await self.react(client) is not None:
                    await self.clear(client)
                    break
            else:
                raise AssertionError(f"{client.name}: never answers a tick")
        for _ in range(WARM_UP):
            await self.cycle(self.clients)


def open_market(venue: Venue) -> None:
    """
    Give the coin a mid: a daemon does not start where nothing trades.

    The two orders are far outside everybody's ladder.
    """
    asset_id = venue.asset_id(COIN)
    assert asset_id is not None
    asset = venue.state.assets[asset_id]
    venue.open_account(HOUSE, usd=0.0, is_house=True)
    for side, px in ((Side.BUY, 20), (Side.SELL, 32)):
        order = NewOrder(asset_id, side, px * asset.ticks_per_usd, asset.lots_per_coin, Tif.ALO)
        assert venue.submit(HOUSE, order).oid is not None


async def measure(stream: str, cycles: int, scratch: Path) -> dict[str, list[Reaction]]:
    """Reactions of every client to one kind of tick."""
    keys = [bytes([number + 1]) * 32 for number in range(len(WAYS))]
    users = [Signer(key, is_mainnet=False).address for key in keys]
    now_ms = wall_clock_ms()
    venue = Venue(VenueParams(), dexes(is_hyna_alive=False), now_ms)
    for user in users:
        venue.open_account(user, usd=10_000.0)
        # A traded volume that no budget of requests can bind.
        venue.grant_volume(user, 1e9)
    open_market(venue)
    params = ExchangeParams(block_ms=1, limits=NO_LIMITS)
    exchange = Exchange(venue, None, params, now_ms)
    exchange.test_accounts = [
        {"address": user, "private_key": "0x" + key.hex()}
        for user, key in zip(users, keys, strict=True)
    ]
    running = Stamped(exchange)
    with running.stamping():
        await running.listen("127.0.0.1", 0)
        bench = Bench(running, stream)
        try:
            for name, key, user in zip(WAYS, keys, users, strict=True):
                process = start(name, running.url, key, stream, scratch)
                await bench.admit(name, process, user)
            await bench.warm_up()
            gc.collect()
            gc.disable()
            samples: dict[str, list[Reaction]] = {name: [] for name in WAYS}
            shuffled = random.Random(2)
            for _ in range(cycles):
                order = shuffled.sample(bench.clients, len(bench.clients))
                for name, reaction in (await bench.cycle(order)).items():
                    samples[name].append(reaction)
            return samples
        finally:
            gc.enable()
            await _end(bench, running.stop)


async def _end(bench: Bench, stop: Callable[[], Awaitable[None]]) -> None:
    for client in bench.clients:
        await asyncio.to_thread(client.end)
    await stop()


def start(name: str, url: str, key: bytes, stream: str, scratch: Path) -> subprocess.Popen[bytes]:
    """Start one client."""
    if name == OURS:
        config = scratch / "reaction.toml"
        config.write_text(CONFIG, "utf-8")
        stamps = scratch / f"stamps-{stream}.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--ours", str(stamps)]
        command += ["--config", str(config)]
        command += ["--set", f"emulator.url={url}", "--set", f"state_dir={scratch / 'state'}"]
        command += ["--run-dir", str(scratch / f"run-{stream}")]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)
    command = [sys.executable, str(Path(__file__).resolve()), "--sdk", url, "0x" + key.hex()]
    environment = {**os.environ, "ECC_BACKEND_CLASS": f"eth_keys.backends.{BACKENDS[name]}"}
    return subprocess.Popen([*command, stream], stdin=subprocess.PIPE, env=environment)


def figures(samples: dict[str, list[Reaction]]) -> dict[str, dict[str, float]]:
    """Median, 90th percentile and ratio of each way."""
    rows: dict[str, dict[str, float]] = {}
    for name, reactions in samples.items():
        times = [(at_ns - began_ns) / 1e3 for began_ns, at_ns in reactions]
        rows[name] = {"p50_us": median(times), "p90_us": quantiles(times, n=10)[8]}
    for row in rows.values():
        row["ratio"] = row["p50_us"] / rows[OURS]["p50_us"]
    return rows


def divided(reactions: list[Reaction], stamps: list[tuple[int, int]]) -> dict[str, float]:
    """Medians of the three parts of our reaction, us: there, inside, back."""
    parts: list[tuple[int, int, int]] = []
    for began_ns, at_ns in reactions:
        within = [(read, wrote) for read, wrote in stamps if began_ns < read < wrote < at_ns]
        assert within, "a reaction without a read and a write in it"
        read_ns, wrote_ns = within[-1]
        parts.append((read_ns - began_ns, wrote_ns - read_ns, at_ns - wrote_ns))
    names = ("there_us", "inside_us", "back_us")
    return {
        name: median(column) / 1e3
        for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }


def both(stream: str, cycles: int, scratch: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Figures of one kind of tick, and the parts of our reaction."""
    samples = asyncio.run(measure(stream, cycles, scratch))
    stamps = json.loads((scratch / f"stamps-{stream}.json").read_text("utf-8"))
    return figures(samples), divided(samples[OURS], stamps)


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    if sys.argv[1:2] == ["--ours"]:
        our_client(sys.argv[2], sys.argv[3:])
        return 0
    if sys.argv[1:2] == ["--sdk"]:
        sdk_client(*sys.argv[2:5])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measured = {stream: both(stream, args.cycles, Path(scratch)) for stream in STREAMS}
    rows = {stream: row for stream, (row, _) in measured.items()}
    parts = {stream: part for stream, (_, part) in measured.items()}
    missed = [
        f"{name} on {stream}"
        for stream, row in rows.items()
        for name, target in TARGETS.items()
        if row[name]["ratio"] < target
    ]
    if args.json:
        told = {"cycles": args.cycles, "streams": rows, "ours_us": parts, "missed": missed}
        print(json.dumps(told, indent=1))
        return 1 if missed else 0
    print(f"tick written to {ORDERS} signed orders read, {args.cycles} cycles")
    for stream, row in rows.items():
        print(f"{stream}:")
        for name, each in row.items():
            target = f"  target {TARGETS[name]:.0f}x" if name in TARGETS else ""
            print(
                f"  {name:20s} p50 {each['p50_us']:9.1f} us  p90 {each['p90_us']:9.1f} us"
                f" {each['ratio']:7.1f}x{target}"
            )
        part = parts[stream]
        print(
            f"  ours: {part['there_us']:.0f} us from our write to the daemon's read,"
            f" {part['inside_us']:.0f} us inside it, {part['back_us']:.0f} us back"
        )
    print(f"MISSED: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
