"""Link, gateway and snapshot reader against the emulated exchange, through the pipe."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from mmbot.core import gate
from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Event,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, Instrument, Side
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import VenueError
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.link import Link, LinkParams
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import SnapshotReader
from mmbot.hyperliquid.universe import Universe
from mmbot.hyperliquid.wire import Decoder, ErrorFrame, PostReply
from mmbot.runtime.pipe import PipeDialer, PipeHttp, SimLoop

START_MS = 1_791_484_300_000
LATENCY_NS = 20 * NS_PER_MS


class Rig:
    """The connection side of the daemon, whole, on an emulated HYPE market."""

    def __init__(self, *, coin: str = "HYPE", seed: int = 1) -> None:
        self.signer = Signer(b"\x07" * 32, is_mainnet=False)
        user = self.user = self.signer.address
        venue, market = build_venue(
            "HYPE",
            "demo",
            overrides={},
            seed=seed,
            now_ms=START_MS,
            accounts=[(user, 1000.0)],
        )
        self.exchange = Exchange(venue, market, ExchangeParams(latency_ms=50))
        self.sim = SimLoop(START_MS * NS_PER_MS)
        self.http = PipeHttp(self.sim, self.exchange, LATENCY_NS)
        self.dialer = PipeDialer(self.sim, self.exchange, LATENCY_NS)
        self.instrument = self._instrument()
        self.decoder = Decoder(self.instrument, user=user)
        self.events: list[Event] = []
        self.lost: list[str] = []
        self.refused: list[VenueError] = []
        self.link = Link(
            "ws://venue/ws",
            subscriptions=[
                {"type": "bbo", "coin": coin},
                {"type": "l2Book", "coin": coin, "fast": True},
                {"type": "trades", "coin": coin},
                {"type": "activeAssetCtx", "coin": coin},
                {"type": "orderUpdates", "user": user},
                {"type": "userFills", "user": user},
            ],
            dialer=self.dialer,
            clock=self.sim.clock,
            scheduler=self.sim,
            jitter=random.Random(3),
            params=LinkParams(),
            on_frames=self._on_frames,
            on_up=lambda recv_ns: self.reader.start(),
            on_lost=self._on_lost,
            on_refused=self.refused.append,
        )
        self.gateway = Gateway(
            self.instrument,
            self.signer,
            Nonces(),
            link_send=self.link.send,
            http=self.http,
            clock=self.sim.clock,
            scheduler=self.sim,
            params=GatewayParams(),
            emit=self.events.append,
            user=user,
        )
        self.failed: list[VenueError] = []
        self.reader = SnapshotReader(
            self.instrument,
            user,
            http=self.http,
            clock=self.sim.clock,
            scheduler=self.sim,
            emit=self.events.append,
            on_failed=self.failed.append,
            budget=self.gateway.budget,
        )

    def _instrument(self) -> Instrument:
        replies: list[HttpReply] = []
        self.http.post("/info", b'{"type":"meta"}', replies.append, 5)
        self.sim.run_for(1)
        return Universe.parse(replies[0].body, None, "").instrument("HYPE")

    def _on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        for frame in frames:
            for item in self.decoder.decode(frame, recv_ns):
                if isinstance(item, PostReply):
                    self.gateway.on_reply(item)
                elif isinstance(item, ErrorFrame):
                    raise AssertionError(item.text)
                else:
                    self.events.append(item)  # type: ignore[arg-type]

    def _on_lost(self, recv_ns: int, reason: str) -> None:
        self.lost.append(reason)
        self.gateway.on_link_lost()

    def up(self) -> Snapshot:
        self.link.start()
        assert self.sim.run_till(lambda: bool(self.seen(Snapshot)), 10), (self.lost, self.failed)
        snapshot: Snapshot = self.seen(Snapshot)[-1]
        return snapshot

    def seen(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def bid_ticks(self, bps_below: float) -> int:
        bid = self.seen(Bbo)[-1].bid.px_ticks
        return self.instrument.floor_ticks(bid * (1 - bps_below * 1e-4))

    def send(
        self,
        cancels: Sequence[int] = (),
        moves: Sequence[Move] = (),
        places: Sequence[Place] = (),
    ) -> None:
        gone = tuple(Cancel(cloid) for cloid in cancels)
        now_ns = self.sim.clock()
        self.gateway.send(Batch(gate._PASS, gone, tuple(moves), tuple(places), now_ns))

    def resting(self) -> list[OrderUpdate]:
        """Orders that rest, by the venue's own open orders."""
        before = len(self.seen(Snapshot))
        self.reader.start(is_brief=True)
        assert self.sim.run_till(lambda: len(self.seen(Snapshot)) > before, 10)
        return list(self.seen(Snapshot)[-1].open_orders)


def test_streams_and_snapshot_arrive() -> None:
    """Everything the engine waits for before its first quote."""
    rig = Rig()

    snapshot = rig.up()
    rig.sim.run_for(5)

    assert snapshot.equity_usd == 1000.0
    assert snapshot.position_lots == 0
    assert snapshot.fees.maker_bps == pytest.approx(1.5)
    assert snapshot.mark_px > 0
    assert len(rig.seen(Bbo)) > 3
    assert len(rig.seen(Book)) > 6
    assert rig.lost == []


def test_order_lives_moves_and_dies() -> None:
    """Signed bytes of ours, checked by code that is not ours, and the venue's verdicts back."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(1)
    px = rig.bid_ticks(100)
    rig.send(places=[Place(1, Side.BUY, px, 100), Place(2, Side.BUY, px, 200)])
    rig.sim.run_for(0.5)
    assert {(e.cloid, e.sz_lots) for e in rig.resting()} == {(1, 100), (2, 200)}

    lower = rig.bid_ticks(150)
    rig.send(cancels=[2], moves=[Move(1, Side.BUY, lower, 150)])
    rig.sim.run_for(0.5)

    (order,) = rig.resting()
    assert (order.cloid, order.px_ticks, order.sz_lots) == (1, lower, 150)
    # Within one block the venue puts post-only orders before cancels, whatever was sent first.
    assert [(e.request, e.cloid) for e in rig.seen(Acked)] == [
        (Request.PLACE, 1),
        (Request.PLACE, 2),
        (Request.MOVE, 1),
        (Request.CANCEL, 2),
    ]
    assert rig.seen(Rejected) == []


def test_post_only_refusal_comes_back_with_its_class() -> None:
    """The class decides what the engine does next."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(1)
    ask = rig.seen(Bbo)[-1].ask.px_ticks
    px = rig.instrument.floor_ticks(ask * 1.01)

    rig.send(places=[Place(1, Side.BUY, px, 100)])
    rig.sim.run_for(0.5)

    (refused,) = rig.seen(Rejected)
    assert (refused.cloid, refused.reason) == (1, Rejection.POST_ONLY)


def test_lost_answer_is_found_by_asking_and_the_order_is_not_doubled() -> None:
    """The venue carried it out and the answer was lost: the question finds the order."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(1)
    rig.exchange.faults.drop = 1
    rig.exchange.faults.unknown_oid_lag_ms = 6000
    rig.send(places=[Place(1, Side.BUY, rig.bid_ticks(100), 100)])
    rig.sim.run_for(5.2)
    assert [(e.request, e.cloid) for e in rig.seen(OutcomeUnknown)] == [(Request.PLACE, 1)]

    asked_ns = rig.sim.clock()
    rig.gateway.query(1)
    rig.sim.run_for(10)

    (update,) = (e for e in rig.seen(OrderUpdate) if e.recv_ns > asked_ns)
    assert (update.cloid, update.state) == (1, OrderState.OPEN)
    assert rig.seen(OrderMissing) == []
    assert len(rig.resting()) == 1


def test_order_that_never_arrived_is_missing() -> None:
    """Sent into a dying socket: the venue has never heard of it, and says so long enough."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(1)
    rig.dialer.stall(is_stalled=True)
    rig.send(places=[Place(1, Side.BUY, rig.bid_ticks(100), 100)])
    rig.dialer.cut()
    rig.dialer.stall(is_stalled=False)
    rig.sim.run_for(0.1)
    assert [e.cloid for e in rig.seen(OutcomeUnknown)] == [1]

    rig.gateway.query(1)
    rig.sim.run_for(20)

    assert [e.cloid for e in rig.seen(OrderMissing)] == [1]
    assert rig.resting() == []


def test_cancel_goes_over_http_while_the_socket_is_away() -> None:
    """Quotes must be pulled also when the stream is gone; that is when they are most stale."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(1)
    rig.send(places=[Place(1, Side.BUY, rig.bid_ticks(100), 100)])
    rig.sim.run_for(0.5)
    rig.dialer.refuse = "away"
    rig.dialer.cut()
    rig.sim.run_for(0.1)
    assert not rig.link.is_up

    rig.send(cancels=[1])
    rig.sim.run_for(1)

    assert (Request.CANCEL, 1) in [(e.request, e.cloid) for e in rig.seen(Acked)]
    assert rig.resting() == []


def test_unknown_coin_ends_in_a_sentence() -> None:
    """The venue says nothing and hangs up; the person at the terminal gets the name."""
    rig = Rig(coin="hype")
    rig.link.start()

    rig.sim.run_for(60)

    (error,) = rig.refused
    assert "bbo hype" in str(error)
    assert error.exit_code == 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_link_survives_a_venue_that_hangs_up(seed: int) -> None:
    """Every drop is followed by a new subscription and a new snapshot."""
    rig = Rig(seed=seed)
    rig.up()
    for _ in range(4):
        rig.sim.run_for(3)
        rig.dialer.cut()
    rig.sim.run_for(60)

    assert rig.link.is_up
    assert len(rig.lost) == 4
    assert len(rig.seen(Snapshot)) == 5
    assert rig.failed == []
