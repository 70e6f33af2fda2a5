"""
Damaged messages through everything that reads them: decoder, gateway, account reader, engine.

What is damaged are messages of the emulated exchange, taken from a run, and recorded ones of the
venue where they are there. A life is a copy of that run's engine, in the middle of trading, which
is told some hundreds of them; what it does must not depend on their being sound.
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

import msgspec

from mmbot.core.engine import Decision, Engine
from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Book,
    Event,
    Fill,
    Funding,
    Level,
    LinkUp,
    OrderUpdate,
    ReferencePx,
    Trades,
)
from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side
from mmbot.errors import VenueError, VenueProtocolError
from mmbot.hyperliquid.budget import Budget
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.hyperliquid.wire import ControlFrame, Decoder, ErrorFrame, PostReply
from mmbot.runtime.pipe import SimLoop
from runtime.corpus import PARSERS, SETS, Corpus
from runtime.damaging import damage
from runtime.pipe_rig import PipeRun

LIFE: Final = 150
"""Messages that one copy of an engine is told."""
_STEP_S: Final = 0.02
_DECIDE_EVERY: Final = 6
_SOUND: Final = 0.15
"""Share that is left as it is, so that the state lives."""
_STREAMS: Final = 0.8
_REPLIES: Final = 0.9
_EVENTS: Final[tuple[type, ...]] = Event.__args__
_KINDS: Final[tuple[type, ...]] = (Event | ControlFrame).__args__
_READS: Final = (
    "openOrders",
    "clearinghouseState",
    "activeAssetData",
    "userFills",
    "userFees",
    "userRateLimit",
)


class Finding(msgspec.Struct, frozen=True):
    """Something that is neither an event nor a `VenueProtocolError`."""

    life: int
    number: int
    what: str
    message: str


class Tally(msgspec.Struct):
    """What became of the messages."""

    told: Counter[str] = msgspec.field(default_factory=Counter)
    """Messages by where they came in."""
    refused: int = 0
    events: Counter[str] = msgspec.field(default_factory=Counter)
    decisions: int = 0
    batches: int = 0
    findings: list[Finding] = []

    def add(self, other: Tally) -> None:
        self.told.update(other.told)
        self.events.update(other.events)
        self.refused += other.refused
        self.decisions += other.decisions
        self.batches += other.batches
        self.findings += other.findings


# -- who is told ------------------------------------------------------------------------------


class _Quiet:
    """HTTP that takes every request and answers only readings of the account."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        kind = json.loads(body).get("type", "") if path == "/info" else ""
        if kind in self.bodies:
            on_done(HttpReply(200, self.bodies[kind]))


_SIGNER: Final = Signer(b"\x01" * 32, is_mainnet=False)


class Life:
    """A copy of an engine with a decoder, a gateway and an account reader of its own."""

    def __init__(self, corpus: Corpus, number: int, seed: int) -> None:
        self.number = number
        self.tally = Tally()
        self._corpus = corpus
        self._chance = random.Random(f"{seed}:{number}")
        moment = self._chance.choice(corpus.moments)
        self._next = moment.after
        self.engine = copy.deepcopy(moment.engine)
        self._sim = SimLoop(moment.at_ns)
        self._decoder = Decoder(corpus.instrument, user=corpus.user, reference_coin="BTC")
        self._http = _Quiet()
        self._posted: list[int] = []
        self._gateway = Gateway(
            corpus.instrument,
            _SIGNER,
            Nonces(),
            link_send=self._on_post,
            http=self._http,
            clock=self._sim.clock,
            scheduler=self._sim,
            params=GatewayParams(),
            emit=self._apply,
            user=corpus.user,
        )

    def live(self, messages: int = LIFE) -> Tally:
        """Tell it so many messages; what is found ends it."""
        for number in range(messages):
            message = b""
            try:
                self._sim.run_for(_STEP_S)
                where, message = self._draw()
                self.tally.told[where] += 1
                self._tell(where, message)
                if number % _DECIDE_EVERY == 0:
                    self._decide()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                what = f"{type(error).__name__}: {error}"
                text = message.decode("utf-8", "backslashreplace")
                self.tally.findings.append(Finding(self.number, number, what, text))
                break
        self._gateway.close()
        return self.tally

    def _draw(self) -> tuple[str, bytes]:
        """Where the next message comes in, and the message."""
        chance, corpus = self._chance, self._corpus
        share = chance.random()
        if share < _STREAMS:
            if chance.random() < 0.5:
                frame = corpus.frames[self._next % len(corpus.frames)]
                self._next += 1
            else:
                frame = chance.choice(corpus.channels[chance.choice(list(corpus.channels))])
            return "stream", self._spoil(frame)
        if share < _REPLIES:
            frame = chance.choice(corpus.replies)
            if self._posted:
                live = b'"id":%d' % self._posted.pop(0)
                frame = re.sub(rb'"id":\s*\d+', live, frame, count=1)
            return "reply", self._spoil(frame)
        kind = chance.choice(list(corpus.bodies))
        return kind, self._spoil(chance.choice(corpus.bodies[kind]))

    def _spoil(self, message: bytes) -> bytes:
        return message if self._chance.random() < _SOUND else damage(message, self._chance)

    def _tell(self, where: str, message: bytes) -> None:
        try:
            if where in ("stream", "reply"):
                for event in self._decoder.decode(message, self._sim.clock()):
                    self._fold(event)
                return
            found = PARSERS[where](message, self._corpus.instrument)
        except VenueProtocolError:
            self.tally.refused += 1
            return
        if where == "orderStatus" and found is not None:
            assert isinstance(found, OrderUpdate)
            self._apply(msgspec.structs.replace(found, recv_ns=self._sim.clock()))
        elif where in _READS:
            self._read(where, message)

    def _fold(self, event: Event | ControlFrame) -> None:
        assert isinstance(event, _KINDS), type(event)
        if isinstance(event, PostReply):
            self._gateway.on_reply(event)
        elif isinstance(event, ErrorFrame):
            if event.post_id is not None:
                self._gateway.on_error_frame(event.post_id, event.text, self._sim.clock())
        elif isinstance(event, _EVENTS):
            self._apply(cast("Event", event))

    def _read(self, kind: str, body: bytes) -> None:
        """A reading of the account with one body damaged, the others as they were."""
        bodies = {name: self._corpus.bodies[name][0] for name in _READS}
        self._http.bodies = {**bodies, kind: body}
        failed: list[VenueError] = []
        reader = SnapshotReader(
            self._corpus.instrument,
            self._corpus.user,
            http=self._http,
            clock=self._sim.clock,
            scheduler=self._sim,
            emit=self._apply,
            on_failed=failed.append,
            budget=Budget(),
        )
        reader.start()
        reader.close()
        self._http.bodies = {}
        assert all(isinstance(error, VenueProtocolError) for error in failed), failed

    def _apply(self, event: Event) -> None:
        check_event(event)
        self.tally.events[type(event).__name__] += 1
        self.engine.apply(event)
        check_engine(self.engine)

    def _decide(self) -> None:
        decision = self.engine.decide(self._sim.clock())
        self.tally.decisions += 1
        check_decision(decision, self._corpus.instrument)
        if decision.batch is not None:
            self.tally.batches += 1
            self._gateway.send(decision.batch)
        for query in decision.queries:
            self._gateway.query(query.cloid)
        if decision.relink is not None:
            self._gateway.on_link_lost()
            self.engine.apply(LinkUp(recv_ns=self._sim.clock()))

    def _on_post(self, frame: bytes) -> bool:
        self._posted.append(json.loads(frame)["id"])
        return True


# -- what must hold ---------------------------------------------------------------------------


def check_event(event: Event) -> None:
    """A damaged number must not pass as a price of 0, a size of half a lot or no number at all."""
    if isinstance(event, Fill | OrderUpdate):
        assert type(event.px_ticks) is int
        assert event.px_ticks > 0
        assert type(event.sz_lots) is int
        assert event.sz_lots >= 0
        assert isinstance(event.side, Side)
    elif isinstance(event, Trades):
        assert all(type(ticks) is int and ticks > 0 for ticks in event.px_ticks)
        assert all(type(lots) is int and lots >= 0 for lots in event.sz_lots)
        assert len({len(column) for column in msgspec.structs.astuple(event)[2:]}) == 1
    elif isinstance(event, Bbo):
        for level in (event.bid, event.ask):
            assert level is None or _is_level(level)
    elif isinstance(event, Book):
        assert all(map(_is_level, event.bids + event.asks))
    elif isinstance(event, AssetCtx):
        assert _is_finite(event.mark_px, event.oracle_px, event.funding_per_h)
    elif isinstance(event, ReferencePx):
        assert _is_finite(event.px)
    elif isinstance(event, Funding):
        assert _is_finite(event.usd)
    if isinstance(event, Fill):
        assert _is_finite(event.fee_usd, event.closed_pnl_usd)


def _is_level(level: Level) -> bool:
    is_whole = type(level.px_ticks) is int and type(level.sz_lots) is int
    return is_whole and level.px_ticks > 0 and level.sz_lots >= 0


def _is_finite(*numbers: float) -> bool:
    return all(map(math.isfinite, numbers))


def check_engine(engine: Engine) -> None:
    """Sums of the order table are those of its slots, and the position is a number."""
    orders = engine.orders
    for side in (Side.BUY, Side.SELL):
        slots = [slot for slot in orders.slots.values() if slot.side is side]
        assert all(slot.rest_lots >= 0 and slot.next_sz_lots >= 0 for slot in slots)
        assert all(slot.px_ticks > 0 for slot in slots)
        exposed = sum(slot.exposure_lots for slot in slots)
        assert orders.exposure_lots(side) == exposed
        assert orders.worst_lots(side) >= exposed
    assert type(engine.position.lots) is int
    mark = engine.book.last_mid_ticks
    assert mark is None or _is_finite(engine.position.pnl_usd(mark))


def check_decision(decision: Decision, instrument: Instrument) -> None:
    """Whatever it was told, what it wants to send are orders."""
    batch = decision.batch
    orders: list[Move | Place] = []
    if batch is not None:
        orders = [*batch.moves, *batch.places]
    for order in orders:
        assert type(order.px_ticks) is int
        assert order.px_ticks > 0
        assert instrument.floor_ticks(order.px_ticks) == order.px_ticks
        assert type(order.sz_lots) is int
        assert order.sz_lots > 0
    shown = decision.diagnostics
    if shown is not None:
        assert _is_finite(shown.fair_px, shown.half_bps, shown.skew_bps, shown.sigma_bps_rt_s)


# -- the whole program ------------------------------------------------------------------------


def program(seed: int, *, span_s: float = 60.0, share: float = 0.02) -> Tally:
    """
    The whole program over the pipe, some of whose messages are damaged on their way.

    Whatever it makes of them (it may well trip: a price of ten times the last one is a loss), it is
    no fault of its own.
    """
    chance = random.Random(f"program:{seed}")
    tally = Tally()
    run = PipeRun("demo", seed=seed, sets=SETS)

    is_on = False

    def spoil(text: str) -> list[tuple[int, str]]:
        if is_on and chance.random() < share:
            tally.told["socket"] += 1
            # Text of a frame is UTF-8 by the protocol; what is not ends the connection before us.
            text = damage(text.encode(), chance).decode("utf-8", "replace")
        return [(0, text)]

    post = run.http.post

    def spoiling(
        path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        def done(reply: HttpReply) -> None:
            if is_on and reply.status == 200 and chance.random() < 5 * share:
                tally.told["http"] += 1
                reply = HttpReply(200, damage(reply.body, chance))
            on_done(reply)

        post(path, body, done, timeout_s)

    run.dialer.tamper, run.http.post = spoil, spoiling  # type: ignore[method-assign]
    run.start()
    run.sim.run_for(5)
    try:
        is_on = True
        run.sim.run_for(span_s)
        is_on = False
        if not run.endings:
            run.trader.stop("Ctrl+C")
            if not run.sim.run_till(lambda: bool(run.endings), 100):
                tally.findings.append(Finding(seed, 0, "the program does not end", ""))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        tally.findings.append(Finding(seed, 0, f"{type(error).__name__}: {error}", ""))
    if any(kill.trigger == "exception" for kill in run.latched):
        tally.findings.append(Finding(seed, 0, run.latched[0].text, ""))
    if run.endings and run.resting():
        tally.findings.append(Finding(seed, 0, f"{len(run.resting())} orders rest", ""))
    tally.refused = len(run.log.named("frame.malformed"))
    return tally
