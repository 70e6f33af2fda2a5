"""
The daemon of a configuration on the emulated exchange of the same configuration, in simulated time.

The exchange is made by `mmbot exchange` from the arguments the daemon would start it with, the
account is read as at a start, and the trader's bytes cross the pipe. What is noted: every dial,
every payload that reaches the exchange with its time, and the log.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import msgspec

from knobs.liveness import Scenario, Seen
from mmbot.cli.app import build
from mmbot.config import Config
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side, Tif
from mmbot.emulator.specs import NewOrder, TradePrint
from mmbot.emulator.wire import Exchange
from mmbot.errors import CheckError, MmbotError
from mmbot.hyperliquid.ports import Ports, StreamProtocol
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.child import exchange_arguments
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.ending import Ending
from mmbot.runtime.leverage import set_leverage
from mmbot.runtime.pipe import PipeDialer, PipeHttp, SimLoop
from mmbot.runtime.preflight import failures, read_facts
from mmbot.runtime.trader import Trader

START_MS = 1_791_484_300_000
_LATENCY_NS = 20 * NS_PER_MS
_LEVERAGE_STEP_S = 0.05
_LEVERAGE_STEPS = 100


def emulated(config: Config) -> Exchange:
    """The exchange that the daemon's arguments for its child process make."""
    made: list[Exchange] = []

    async def keep(exchange: Exchange, *_: object) -> None:
        made.append(exchange)

    with (
        patch("mmbot.cli.exchange._serve", keep),
        patch("mmbot.cli.exchange.wall_clock_ms", lambda: START_MS),
    ):
        arguments = ["exchange", *exchange_arguments(config)]
        build(arguments)(arguments, standalone_mode=False)
    return made[0]


class Tap:
    """An exchange that notes what reaches it."""

    def __init__(self, exchange: Exchange, seen: list[object]) -> None:
        self.exchange = exchange
        self._seen = seen
        self.advance = exchange.advance
        self.next_due_ms = exchange.next_due_ms

    def _note(self, what: str, text: str) -> None:
        self._seen.append((self.exchange.now_ms - START_MS, what, text))

    def request(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        on_done: Callable[[Any], None],
        *,
        ip: str = "127.0.0.1",
    ) -> None:
        """See `Exchange.request`."""
        self._note(path, body.decode())
        self.exchange.request(method, path, content_type, body, on_done, ip=ip)

    def connect(self, ip: str = "127.0.0.1") -> Any:
        """See `Exchange.connect`."""
        self._note("connect", ip)
        session = self.exchange.connect(ip)
        receive = session.receive

        def noted(text: str) -> None:
            self._note("ws", text)
            receive(text)

        session.receive = noted  # type: ignore[method-assign]
        return session


class PipeRest:
    """`Rest.info` without a socket: the answer is there at once."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    async def info(self, payload: Mapping[str, Any]) -> bytes:
        """Body of the answer."""
        replies: list[Any] = []
        body = msgspec.json.encode(payload)
        self._tap.request("POST", "/info", "application/json", body, replies.append)
        assert replies[0].status == 200, replies[0]
        return cast("bytes", replies[0].body)


class Line:
    """A dialer that can be dead: then a dial leads nowhere, and nobody says so."""

    def __init__(self, sim: SimLoop, dialer: PipeDialer, seen: list[object]) -> None:
        self._sim = sim
        self._dialer = dialer
        self._seen = seen
        self.is_dead = False

    def dial(self, url: str, protocol: StreamProtocol) -> None:
        """Note it, and connect."""
        self._seen.append((self._sim.clock() / NS_PER_MS - START_MS, "dial", url))
        if not self.is_dead:
            self._dialer.dial(url, protocol)


class Desk:
    """Exchange, pipe and trader of one configuration."""

    def __init__(self, config: Config, here: Path) -> None:
        self.config = config
        self.seen = Seen()
        self.exchange = emulated(config)
        self.tap = Tap(self.exchange, self.seen)
        self.sim = SimLoop(START_MS * NS_PER_MS)
        self.dialer = PipeDialer(self.sim, self.tap, _LATENCY_NS)
        self.line = Line(self.sim, self.dialer, self.seen)
        http = PipeHttp(self.sim, self.tap, _LATENCY_NS)
        self.rest = cast("Rest", PipeRest(self.tap))
        key = self.exchange.test_accounts[0]["private_key"].removeprefix("0x")
        signer = Signer(bytes.fromhex(key), is_mainnet=False)
        with patch("mmbot.runtime.preflight.wall_clock_ns", self.sim.clock):
            self.facts = asyncio.run(read_facts(config, self.rest, signer))
        for row in failures(self.facts):
            raise CheckError(f"{row.name}: {row.text}")
        self._log_path = here / "log.jsonl"
        self._writer = LogWriter(self._log_path, None, lambda _: None)
        self.trader = Trader(
            config,
            self.facts.instrument,
            signer=signer,
            user=self.facts.user,
            ports=Ports(self.sim.clock, self.sim, self.line, http, self.sim.clock),
            url="ws://venue/ws",
            cloid_prefix=CLOID_MAGIC << 48 | 1,
            log=make_logger(self._writer, self.sim.clock, config.log.level),
            latch=lambda reason: self.seen.append(("latch", reason.trigger, reason.at_ns)),
            on_end=self._ended,
            jitter=random.Random(3),
        )

    def _ended(self, ending: Ending) -> None:
        at_s = (self.sim.clock() - START_MS * NS_PER_MS) / NS_PER_S
        self.seen.append((at_s, "ended", ending.reason, int(ending.exit_code)))

    def start(self) -> None:
        """What `mmbot run` does last: set the leverage, connect."""
        asyncio.run(self._lever())
        self.trader.start()

    async def _lever(self) -> None:
        trader, leverage = self.trader, self.config.risk.leverage
        task = asyncio.create_task(set_leverage(trader, self.rest, self.facts.user, leverage))
        # The answer comes in simulated time, the task waits in the event loop's.
        for _ in range(_LEVERAGE_STEPS):
            await asyncio.sleep(0)
            if task.done():
                break
            self.sim.run_for(_LEVERAGE_STEP_S)
        await task

    def up(self) -> None:
        """Start, and wait until the ladder rests."""
        self.start()
        orders = self.trader.engine.orders
        assert self.sim.run_till(lambda: self.trader.link.is_up and bool(orders.slots), 20)

    def close(self) -> None:
        """No record is written any more."""
        self._writer.close()

    def noted(self) -> list[object]:
        """Everything; the log last."""
        return [*self.seen, *self._log_path.read_text("utf-8").splitlines()]


def _on_a_desk(play: Callable[[Desk], None]) -> Scenario:
    """A scenario from what is done at a desk; a start that is refused is an outcome too."""

    @wraps(play)
    def scenario(config: Config, here: Path) -> list[object]:
        try:
            desk = Desk(config, here)
        except MmbotError as error:
            return [f"exit {int(error.exit_code)}: {error}"]
        try:
            play(desk)
        finally:
            desk.close()
        return desk.noted()

    return scenario


def _without(mark: str) -> Callable[[str], Iterable[tuple[int, str]]]:
    """Swallow the texts of the exchange that contain this."""
    return lambda text: () if mark in text else ((0, text),)


@_on_a_desk
def trading(desk: Desk) -> None:
    """Half a minute of the market, then a clean stop."""
    desk.start()
    desk.sim.run_for(30)
    desk.trader.stop("the end")
    desk.sim.run_for(5)


@_on_a_desk
def leaving(desk: Desk) -> None:
    """A market that trades and does not move, until something is held; then a stop, to its end."""
    desk.start()
    position = desk.trader.engine.position
    assert desk.sim.run_till(lambda: abs(position.lots) >= 200, 300)
    desk.trader.stop("the end")
    desk.sim.run_for(60)


@_on_a_desk
def leaving_after_an_upgrade(desk: Desk) -> None:
    """The same where the venue takes no taker for the first forty seconds of the end."""
    desk.start()
    position = desk.trader.engine.position
    assert desk.sim.run_till(lambda: abs(position.lots) >= 200, 300)
    desk.exchange.faults.update({"is_post_only": True})
    desk.trader.stop("the end")
    desk.sim.run_for(40)
    desk.exchange.faults.update({"is_post_only": False})
    desk.sim.run_for(20)


@_on_a_desk
def falling_hard(desk: Desk) -> None:
    """Something is held when the price falls by a tenth: a trip, to its end."""
    desk.start()
    position = desk.trader.engine.position
    assert desk.sim.run_till(lambda: position.lots >= 100, 300)
    assert desk.exchange.market is not None
    desk.exchange.market.force_px(desk.facts.mark_px * 0.9)
    desk.sim.run_for(60)


@_on_a_desk
def weighed(desk: Desk) -> None:
    """What a start says of noise."""
    desk.seen.extend(row.text for row in desk.facts.rows if row.name == "noise")


@_on_a_desk
def eligible_for_the_dead_man(desk: Desk) -> None:
    """Half a minute on an account to which scheduleCancel is open."""
    desk.exchange.venue.grant_volume(desk.facts.user, 2e6)
    desk.start()
    desk.sim.run_for(30)


@_on_a_desk
def nobody_answers_a_dial(desk: Desk) -> None:
    """Two minutes without a network."""
    desk.line.is_dead = True
    desk.start()
    desk.sim.run_for(120)


@_on_a_desk
def subscriptions_stay_unanswered(desk: Desk) -> None:
    """The socket opens, and no subscription is acknowledged."""
    desk.dialer.tamper = _without("subscriptionResponse")
    desk.start()
    desk.sim.run_for(30)


@_on_a_desk
def subscriptions_are_refused(desk: Desk) -> None:
    """The venue answers every subscription with an error."""
    error = '{"channel":"error","data":"Cannot subscribe"}'
    desk.dialer.tamper = lambda text: [(0, error if "subscriptionResponse" in text else text)]
    desk.start()
    desk.sim.run_for(60)


@_on_a_desk
def heartbeats_stay_unanswered(desk: Desk) -> None:
    """The venue talks, but not to us."""
    desk.dialer.tamper = _without('"pong"')
    desk.start()
    desk.sim.run_for(45)


@_on_a_desk
def book_falls_silent(desk: Desk) -> None:
    """The stream of books stops while the socket lives on."""
    desk.up()
    desk.exchange.faults.mute = ["l2Book"]
    desk.sim.run_for(20)


@_on_a_desk
def context_falls_silent(desk: Desk) -> None:
    """The stream of contexts stops while the socket lives on."""
    desk.up()
    desk.exchange.faults.mute = ["activeAssetCtx"]
    desk.sim.run_for(20)


@_on_a_desk
def everything_falls_silent(desk: Desk) -> None:
    """Nothing passes in either direction, and no end of the connection is seen."""
    desk.up()
    desk.dialer.stall(is_stalled=True)
    desk.sim.run_for(45)


@_on_a_desk
def hung_up_upon(desk: Desk) -> None:
    """Cut three times in a row, then after a while of peace."""
    desk.up()
    for _ in range(3):
        desk.dialer.cut()
        desk.sim.run_till(lambda: desk.trader.link.is_up, 30)
    desk.sim.run_for(20)
    desk.dialer.cut()
    desk.sim.run_for(15)


@_on_a_desk
def answers_are_lost(desk: Desk) -> None:
    """Orders are taken, but nothing is heard of them, and asking about them is in vain."""
    desk.start()
    desk.exchange.faults.drop = 10**6
    desk.exchange.faults.mute = ["orderUpdates"]
    desk.exchange.faults.unknown_oid_lag_ms = 10**6
    desk.sim.run_for(30)


def market_alone(config: Config, _: Path) -> list[object]:
    """A minute of the synthetic market with nobody but itself: trades, levels, mark, oracle."""
    exchange = emulated(config)
    venue, market = exchange.venue, exchange.market
    assert market is not None
    seen = Seen()
    coin = config.instrument.wire_coin
    for second in range(1, 61):
        market.advance(START_MS + second * 1000)
        # Hashes and trade ids count what went before; the trade itself is what is seen.
        seen.extend(
            (event.time_ms, event.side, event.px_ticks, event.sz_lots)
            for event in venue.drain()
            if isinstance(event, TradePrint)
        )
        asset = venue.state.by_coin[coin]
        seen.append((second, venue.l2_book(coin, 5), asset.mark_ticks, asset.oracle_ticks))
    return seen


def joining_the_queue(config: Config, _: Path) -> list[object]:
    """A minute in which an order joins every price near the mid, each second anew: what is left."""
    exchange = emulated(config)
    venue, market = exchange.venue, exchange.market
    assert market is not None
    us, asset = exchange.test_accounts[0]["address"], venue.state.by_coin["HYPE"]
    seen = Seen()
    for second in range(1, 61):
        levels = [(side, level.px_ticks) for side in Side for level in asset.book.levels(side)]
        for side, px_ticks in levels:
            if abs(px_ticks / asset.mark_ticks - 1) < 5e-4:
                venue.submit(us, NewOrder(asset.asset_id, side, px_ticks, 40, Tif.ALO))
        market.advance(START_MS + second * 1000)
        ours = venue.account(us).open.values()
        seen.append(sorted((order.px_ticks, order.sz_lots) for order in ours))
        for order in list(ours):
            venue.cancel(us, asset.asset_id, oid=order.oid)
    return seen
