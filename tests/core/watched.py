"""
Sessions of the whole engine under the eyes of the vitals: in a market, and driven by hand.

A `Watch` stands where the engine will call the vitals: after every decision that has a record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.rig import PREFIX, params
from market_rig import HYPE, US
from market_rig import Rig as MarketRig
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.events import (
    Acked,
    AssetCtx,
    Bbo,
    Fill,
    Level,
    LinkUp,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
    Snapshot,
    Trades,
)
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, Fees, Instrument, Side, Tif
from mmbot.core.vitals import Facts, Violation, Vitals
from mmbot.emulator.market import MarketParams
from mmbot.emulator.specs import FillRecord, NewOrder, TradePrint

INSTRUMENT = Instrument(coin="HYPE", asset_id=HYPE, sz_decimals=2, max_leverage=10)


def facts_of(engine: Engine) -> Facts:
    """What the engine was told, as it will hand it to the vitals."""
    instrument, signals = engine.instrument, engine.signals
    bids, asks = engine._digest.live_px(engine.orders)
    intensity, adverse = signals.intensity.served, signals.adverse.view()
    filled = tuple(engine._filled)
    engine._filled.clear()
    return Facts(
        fee_bps=engine._fee_bps,
        funding_bps_per_h=signals.funding_bps_per_h,
        reference_px=signals.reference.px,
        a_per_s=intensity.a_per_s,
        k_per_bp=intensity.k_per_bp,
        a0_bps=adverse.a0_bps,
        a1=adverse.a1,
        tape_events=intensity.events,
        taker_fills=engine.position.taker_fills,
        filled=filled,
        live_bid_px=instrument.px(max(bids)) if bids else None,
        live_ask_px=instrument.px(min(asks)) if asks else None,
        is_k_bounded=signals.intensity.is_bounded,
        is_law_bounded=signals.adverse.is_bounded,
    )


class Watch:
    """The vitals of one engine, and what they said."""

    def __init__(
        self, engine: Engine, settings: EngineParams, *, off: frozenset[str] = frozenset()
    ) -> None:
        self.engine = engine
        self.vitals = Vitals(settings, engine.instrument, off=off)
        self.violations: list[Violation] = []
        self.last: Diagnostics | None = None
        self.on_record: Callable[[Diagnostics], None] | None = None

    def see(self, decision: Decision) -> None:
        record = decision.diagnostics
        if record is None:
            return
        self.last = record
        if self.on_record is not None:
            self.on_record(record)
        self.violations.extend(self.vitals.observe(record, facts_of(self.engine)))

    def of(self, *terms: str) -> list[Violation]:
        return [each for each in self.violations if each.term in terms]


class MarketSession:
    """The engine trading in the synthetic market, on the venue's own book, with its own fills."""

    def __init__(
        self, world: MarketParams, seed: int, settings: EngineParams | None = None
    ) -> None:
        self.settings = settings or params(risk={"capital_usd": 500.0, "max_position_usd": 1000.0})
        self.rig = MarketRig(world, seed)
        self.engine = Engine(self.settings, INSTRUMENT, cloid_prefix=PREFIX)
        self.watch = Watch(self.engine, self.settings)
        self.oids: dict[int, int] = {}
        self.sides: dict[int, Side] = {}
        self.orders: dict[int, tuple[int, Side, int, int]] = {}
        self.told: tuple[object, ...] | None = None
        self.told_ctx_s = -1
        self.position_lots = 0

    # -- time -------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self.rig.venue.now_ms * NS_PER_MS

    def start(self) -> None:
        self.engine.apply(LinkUp(self.now_ns))
        self.tell_book()
        self.engine.apply(
            Snapshot(
                recv_ns=self.now_ns,
                requested_at_ns=self.now_ns,
                venue_ms=self.rig.venue.now_ms - 1,
                position_lots=0,
                entry_px=None,
                equity_usd=500.0,
                mark_px=26.2,
                fees=Fees(1.5, 4.5),
                open_orders=(),
                fills=(),
                requests_used=0,
                requests_cap=10_000_000,
            )
        )

    def run(self, until_s: float) -> None:
        """Trade until so many seconds after the start of the market."""
        rig = self.rig
        if not self.engine.position.is_started:
            self.start()
        self.told_fills = 0
        for _ in rig.events(until_s):
            self.tell_trades()
            self.tell_book()
            self.tell_ctx()
            self.decide()

    # -- what the venue tells ---------------------------------------------------------------------

    def tell_book(self) -> None:
        levels = {}
        for side in Side:
            level = self.rig.touch(side)
            lots = sum(order.sz_lots for order in level.orders.values())
            levels[side] = Level(level.px_ticks, lots)
        seen = (levels[Side.BUY], levels[Side.SELL])
        if seen != self.told:
            self.told = seen
            self.engine.apply(Bbo(self.now_ns, self.rig.venue.now_ms, *seen))

    def tell_ctx(self) -> None:
        second = self.rig.venue.now_ms // 3000
        if second != self.told_ctx_s:
            self.told_ctx_s = second
            mid = INSTRUMENT.px(self.rig.mid_ticks)
            self.engine.apply(AssetCtx(self.now_ns, mid, mid, 0.0000125, 1e6, mid))

    def tell_trades(self) -> None:
        fills, self.rig.fills = self.rig.fills, []
        prints, self.rig.prints = self.rig.prints, []
        for record in fills:
            if record.user == US:
                self.tell_fill(record)
        if prints:
            self.engine.apply(_trades(self.now_ns, prints))

    def tell_fill(self, record: FillRecord) -> None:
        row: dict[str, Any] = record.fill
        oid = int(row["oid"])
        cloid, side, px_ticks, left = self.orders[oid]
        lots = round(float(row["sz"]) * INSTRUMENT.lots_per_coin)
        before = self.position_lots
        self.position_lots += side * lots
        self.engine.apply(
            Fill(
                recv_ns=self.now_ns,
                venue_ms=record.time_ms,
                tid=int(row["tid"]),
                oid=oid,
                cloid=cloid,
                side=side,
                px_ticks=px_ticks,
                sz_lots=lots,
                fee_usd=float(row["fee"]),
                closed_pnl_usd=float(row["closedPnl"]),
                start_position_lots=before,
                is_taker=False,
            )
        )
        left -= lots
        self.orders[oid] = (cloid, side, px_ticks, left)
        if left == 0:
            self.update(oid, OrderState.FILLED)
            self.oids.pop(cloid, None)

    def update(self, oid: int, state: OrderState) -> None:
        cloid, side, px_ticks, left = self.orders[oid]
        lots = left or 1
        now_ms = self.rig.venue.now_ms
        self.engine.apply(
            OrderUpdate(
                self.now_ns, now_ms, oid, cloid, side, px_ticks, left, lots, state, state.value
            )
        )

    # -- what we send -----------------------------------------------------------------------------

    def decide(self) -> None:
        decision = self.engine.decide(self.now_ns)
        self.watch.see(decision)
        if decision.batch is not None:
            self.execute(decision.batch)

    def execute(self, batch: Batch) -> None:
        for cancel in batch.cancels:
            self.pull(cancel.cloid, Request.CANCEL)
        for move in batch.moves:
            if self.pull(move.cloid, Request.MOVE):
                self.place(
                    Request.MOVE,
                    move.cloid,
                    NewOrder(HYPE, move.side, move.px_ticks, move.sz_lots, Tif.ALO),
                )
        for place in batch.places:
            self.place(
                Request.PLACE,
                place.cloid,
                NewOrder(HYPE, place.side, place.px_ticks, place.sz_lots, Tif.ALO),
            )

    def pull(self, cloid: int, request: Request) -> bool:
        oid = self.oids.pop(cloid, None)
        is_ok = oid is not None and self.rig.venue.cancel(US, HYPE, oid=oid).is_ok
        if not is_ok or oid is None:
            text = "Order was never placed, already canceled, or filled."
            self.engine.apply(Rejected(self.now_ns, request, cloid, Rejection.GONE, text))
            return False
        if request is Request.CANCEL:
            self.engine.apply(Acked(self.now_ns, request, cloid))
        self.update(oid, OrderState.CANCELED)
        return True

    def place(self, request: Request, cloid: int, order: NewOrder) -> None:
        result = self.rig.venue.submit(US, order)
        if result.oid is None or not result.is_ok:
            text = result.error or ""
            self.engine.apply(Rejected(self.now_ns, request, cloid, Rejection.POST_ONLY, text))
            return
        self.oids[cloid] = result.oid
        self.orders[result.oid] = (cloid, order.side, order.px_ticks, order.sz_lots)
        self.engine.apply(Acked(self.now_ns, request, cloid, result.oid))
        self.update(result.oid, OrderState.OPEN)


def _trades(recv_ns: int, prints: list[TradePrint]) -> Trades:
    return Trades(
        recv_ns,
        max(each.time_ms for each in prints),
        tuple(each.time_ms for each in prints),
        tuple(each.side for each in prints),
        tuple(each.px_ticks for each in prints),
        tuple(each.sz_lots for each in prints),
        tuple(each.tid for each in prints),
    )
