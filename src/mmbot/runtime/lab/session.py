"""
One session of the engine in a synthetic market: no sockets, no text, no clock but the market's own.

The engine is the one that trades live. It meets the emulated venue and its market event by event;
frames, orders and answers each take their way, so it is as late here as it is there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final, NamedTuple

import msgspec

from mmbot.core.engine import Engine
from mmbot.core.events import (
    Acked,
    AssetCtx,
    Bbo,
    Fill,
    Level,
    LinkUp,
    OrderMissing,
    OrderState,
    OrderUpdate,
    Rejected,
    Request,
    Snapshot,
    Trades,
)
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, Side, Tif
from mmbot.emulator.market import Market, MarketParams
from mmbot.emulator.specs import (
    AssetSpec,
    DexSpec,
    FillRecord,
    NewOrder,
    Outcome,
    TradePrint,
    VenueParams,
)
from mmbot.emulator.venue import Venue
from mmbot.hyperliquid.rejections import rejection

START_MS: Final = 1_750_000_000_000
_US: Final = "0x" + "1ab0" * 10
_ASSET: Final = 0
_REQUESTS_CAP: Final = 1_000_000
_CTX_EVERY_MS: Final = 3_000
_SZ_DECIMALS: Final = 2
_MAX_LEVERAGE: Final = 10
_PX_USD: Final = 26.2
_EQUITY_SPARE: Final = 100.0
"""The account holds a hundred times the capital: margin is not what is measured here."""


class Latency(NamedTuple):
    """Ways in ms: of a frame to us, of an order to the matching engine."""

    feed_ms: int = 25
    order_ms: int = 50


class Result(msgspec.Struct, frozen=True):
    """What one session came to; the names are those of the tables."""

    pnl_usd: float
    """Change of equity at the mid, after fees."""
    fills: int
    final_q_frac: float
    """Position at the end over its limit, absolute."""
    max_q_frac: float
    opposed_frac: float
    """Share of the time opposed by a trend."""
    markout_1s_bps: float | None
    markout_5s_bps: float | None
    markout_30s_bps: float | None
    max_drawdown_pct: float
    quoted_frac_bid: float
    quoted_frac_ask: float
    two_sided_calm_frac: float | None
    """Share of the time below a fifth of the limit in which both sides were quoted."""
    requests: int
    kill_trips: int
    """Loss and drawdown limits that were met; they end a session only when told to."""
    signed_q_frac: float


class Venture(NamedTuple):
    """Everything that defines a session but the engine."""

    market: MarketParams
    seed: int
    minutes: float
    maker_bps: float
    capital_usd: float
    loss_frac: float
    drawdown_frac: float
    """Limits that are counted where they are met."""
    latency: Latency = Latency()


EngineMaker = Callable[[Instrument], Engine]


class Session:
    """Join an engine to a market and run it to the end."""

    def __init__(self, venture: Venture, make: EngineMaker) -> None:
        self._venture = venture
        px_usd = venture.market.px_usd or _PX_USD
        spec = AssetSpec(
            name="HYPE", sz_decimals=_SZ_DECIMALS, max_leverage=_MAX_LEVERAGE, mark_px=px_usd
        )
        rules = VenueParams(requests_base=_REQUESTS_CAP)
        self.venue = Venue(rules, (DexSpec(name="", assets=(spec,)),), START_MS)
        self.venue.open_account(_US, usd=venture.capital_usd * _EQUITY_SPARE)
        self.venue.set_rates(_US, taker=None, maker=venture.maker_bps * 1e-4)
        self.market = Market(venture.market, self.venue, _ASSET, venture.seed, START_MS)
        self._book = self.venue.asset(_ASSET).book
        self.instrument = Instrument(
            coin="HYPE",
            asset_id=_ASSET,
            sz_decimals=_SZ_DECIMALS,
            max_leverage=_MAX_LEVERAGE,
        )
        self.engine = make(self.instrument)
        self.now_ns = START_MS * NS_PER_MS
        self._feed_ns = venture.latency.feed_ms * NS_PER_MS
        self._order_ns = venture.latency.order_ms * NS_PER_MS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._touch: tuple[Level | None, Level | None] = (None, None)
        self._position = 0
        self._tid = 0
        self._orders: dict[int, tuple[int, Place | Move]] = {}
        """Of each cloid at the venue: its oid and what was asked for."""
        self._left: dict[int, int] = {}
        self._wake_ns: int | None = None
        self._is_dirty = False
        self._tally = _Tally(venture.loss_frac, venture.drawdown_frac)

    # -- time -------------------------------------------------------------------------------------

    def _at(self, at_ns: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (at_ns, next(self._number), do))

    def run(self) -> Result:
        """Trade until the time is over."""
        end_ns = self.now_ns + round(self._venture.minutes * 60 * NS_PER_S)
        self.venue.drain()
        self._begin()
        self._at(self.now_ns + _CTX_EVERY_MS * NS_PER_MS, self._tell_ctx)
        while True:
            market_ns = self.market.next_due_ms() * NS_PER_MS
            heap = self._heap
            due_ns = heap[0][0] if heap else end_ns
            wake_ns = self._wake_ns if self._wake_ns is not None else end_ns
            at_ns = min(market_ns, due_ns, wake_ns)
            if at_ns >= end_ns:
                break
            self.now_ns = max(self.now_ns, at_ns)
            if market_ns <= at_ns:
                self.market.advance(market_ns // NS_PER_MS)
                self._hear()
            elif due_ns <= at_ns:
                heapq.heappop(heap)[2]()
                # What arrives in one piece is folded whole before one decision.
                while heap and heap[0][0] == at_ns and self._is_dirty:
                    heapq.heappop(heap)[2]()
                if self._is_dirty:
                    self._decide()
            else:
                self._decide()
        self.now_ns = end_ns
        return self._result(end_ns)

    def _begin(self) -> None:
        engine, now_ns = self.engine, self.now_ns
        engine.apply(LinkUp(now_ns))
        self._hear_touch()
        mid = (self._book.bid_ticks + self._book.ask_ticks) / 2  # type: ignore[operator]
        engine.apply(
            Snapshot(
                recv_ns=now_ns,
                requested_at_ns=now_ns,
                venue_ms=now_ns // NS_PER_MS,
                position_lots=0,
                entry_px=None,
                equity_usd=self._venture.capital_usd,
                mark_px=self.instrument.px(mid),
                fees=Fees(self._venture.maker_bps, 4.5),
                open_orders=(),
                fills=(),
                requests_used=0,
                requests_cap=_REQUESTS_CAP,
            )
        )

    # -- what the venue says ----------------------------------------------------------------------

    def _hear(self) -> None:
        """Put what happened at the venue on its way to the engine."""
        prints: list[TradePrint] = []
        for event in self.venue.drain():
            if isinstance(event, TradePrint):
                prints.append(event)
            elif isinstance(event, FillRecord) and event.user == _US:
                self._tell_fill(event)
        if prints:
            self._tell_trades(prints)
        self._hear_touch()

    def _deliver(self, event: object) -> None:
        def arrive() -> None:
            self.engine.apply(event)  # type: ignore[arg-type]
            self._is_dirty = True

        self._at(self.now_ns + self._feed_ns, arrive)

    def _hear_touch(self) -> None:
        book = self._book
        bid, ask = book.bid_ticks, book.ask_ticks
        touch = (
            None if bid is None else Level(bid, next(book.levels(Side.BUY)).sz_lots),
            None if ask is None else Level(ask, next(book.levels(Side.SELL)).sz_lots),
        )
        if touch == self._touch:
            return
        self._touch = touch
        now_ns = self.now_ns
        self._deliver(Bbo(now_ns + self._feed_ns, now_ns // NS_PER_MS, *touch))

    def _tell_trades(self, prints: list[TradePrint]) -> None:
        self._deliver(
            Trades(
                self.now_ns + self._feed_ns,
                prints[-1].time_ms,
                tuple(p.time_ms for p in prints),
                tuple(p.side for p in prints),
                tuple(p.px_ticks for p in prints),
                tuple(p.sz_lots for p in prints),
                tuple(p.tid for p in prints),
            )
        )

    def _tell_ctx(self) -> None:
        asset = self.venue.asset(_ASSET)
        self._deliver(
            AssetCtx(
                self.now_ns + self._feed_ns,
                self.instrument.px(asset.mark_ticks),
                self.instrument.px(asset.oracle_ticks),
                0.0,
                0.0,
            )
        )
        self._at(self.now_ns + _CTX_EVERY_MS * NS_PER_MS, self._tell_ctx)

    def _tell_fill(self, record: FillRecord) -> None:
        row = record.fill
        cloid = int(row["cloid"], 16)
        side = Side.BUY if row["side"] == "B" else Side.SELL
        lots = round(float(row["sz"]) * 10**_SZ_DECIMALS)
        px_ticks = round(self.instrument.ticks(float(row["px"])))
        start, self._position = self._position, self._position + side * lots
        fill = Fill(
            recv_ns=self.now_ns + self._feed_ns,
            venue_ms=record.time_ms,
            tid=row["tid"],
            oid=row["oid"],
            cloid=cloid,
            side=side,
            px_ticks=px_ticks,
            sz_lots=lots,
            fee_usd=float(row["fee"]),
            closed_pnl_usd=0.0,
            start_position_lots=start,
            is_taker=bool(row["crossed"]),
        )
        self._deliver(fill)
        left = self._left[cloid] = self._left[cloid] - lots
        if left <= 0:
            self._tell_order(cloid, OrderState.FILLED)

    def _tell_order(self, cloid: int, state: OrderState) -> None:
        oid, asked = self._orders[cloid]
        if state is not OrderState.OPEN:
            del self._orders[cloid]
        self._deliver(
            OrderUpdate(
                self.now_ns + self._feed_ns,
                self.now_ns // NS_PER_MS,
                oid,
                cloid,
                asked.side,
                asked.px_ticks,
                self._left[cloid] if state is OrderState.OPEN else 0,
                asked.sz_lots,
                state,
                state.value,
            )
        )

    # -- what we do -------------------------------------------------------------------------------

    def _decide(self) -> None:
        self._is_dirty = False
        now_ns, engine = self.now_ns, self.engine
        decision = engine.decide(now_ns)
        self._wake_ns = engine.wake_at_ns()
        batch = decision.batch
        if batch is not None:
            self._tally.requests += len(batch)
            arrives_ns = now_ns + self._order_ns
            cancels, moves, places = batch.cancels, batch.moves, batch.places
            self._at(arrives_ns, lambda: self._carry_out(cancels, moves, places))
        for query in decision.queries:
            self._at(now_ns + self._order_ns, partial(self._answer, query.cloid))
        self._tally.see(now_ns, engine)

    def _carry_out(
        self,
        cancels: tuple[Cancel, ...],
        moves: tuple[Move, ...],
        places: tuple[Place, ...],
    ) -> None:
        now_ms = self.now_ns // NS_PER_MS
        self.venue.advance(max(now_ms, self.venue.now_ms))
        for cancel in cancels:
            self._cancel(cancel.cloid, Request.CANCEL)
        for move in moves:
            if self._cancel(move.cloid, Request.MOVE):
                self._place(move, Request.MOVE)
        for place in places:
            self._place(place, Request.PLACE)
        self._hear()

    def _cancel(self, cloid: int, request: Request) -> bool:
        held = self._orders.get(cloid)
        recv_ns = self.now_ns + self._feed_ns
        if held is None:
            text = "Order was never placed, already canceled, or filled."
            self._deliver(Rejected(recv_ns, request, cloid, rejection(text), text))
            return False
        self.venue.cancel(_US, _ASSET, oid=held[0])
        self._tell_order(cloid, OrderState.CANCELED)
        if request is Request.CANCEL:
            self._deliver(Acked(recv_ns, request, cloid))
        return True

    def _place(self, order: Place | Move, request: Request) -> None:
        cloid = order.cloid
        result = self.venue.submit(
            _US,
            NewOrder(
                _ASSET,
                order.side,
                order.px_ticks,
                order.sz_lots,
                Tif.ALO,
                order.is_reduce_only,
                f"0x{cloid:032x}",
            ),
        )
        recv_ns = self.now_ns + self._feed_ns
        if result.error is not None:
            text = result.error
            self._deliver(Rejected(recv_ns, request, cloid, rejection(text), text))
            return
        assert result.oid is not None
        assert result.outcome is Outcome.RESTING
        self._orders[cloid] = result.oid, order
        self._left[cloid] = order.sz_lots
        self._deliver(Acked(recv_ns, request, cloid, result.oid))
        self._tell_order(cloid, OrderState.OPEN)

    def _answer(self, cloid: int) -> None:
        if cloid in self._orders:
            self._tell_order(cloid, OrderState.OPEN)
        else:
            self._deliver(OrderMissing(self.now_ns + self._feed_ns, cloid))

    # -- the end ----------------------------------------------------------------------------------

    def _result(self, end_ns: int) -> Result:
        engine, tally = self.engine, self._tally
        tally.close(end_ns)
        summary = engine.summary()
        limits = engine.limits
        assert limits is not None
        mid = self._mid_ticks()
        q = engine.position.lots / limits.q_max_lots(mid)
        return Result(
            pnl_usd=engine.position.pnl_usd(mid),
            fills=summary.fills,
            final_q_frac=abs(q),
            max_q_frac=tally.max_q_frac,
            opposed_frac=tally.frac(tally.opposed_ns),
            markout_1s_bps=summary.markout_1s_bps,
            markout_5s_bps=summary.markout_5s_bps,
            markout_30s_bps=summary.markout_30s_bps,
            max_drawdown_pct=summary.max_drawdown_pct,
            quoted_frac_bid=tally.frac(tally.bid_ns),
            quoted_frac_ask=tally.frac(tally.ask_ns),
            two_sided_calm_frac=tally.calm_frac,
            requests=tally.requests,
            kill_trips=tally.kill_trips,
            signed_q_frac=q,
        )

    def _mid_ticks(self) -> float:
        bid, ask = self._book.bid_ticks, self._book.ask_ticks
        assert bid is not None
        assert ask is not None
        return (bid + ask) / 2


class _Tally:
    """Times and counts of one session, decision by decision."""

    def __init__(self, loss_frac: float, drawdown_frac: float) -> None:
        self._limits = loss_frac, drawdown_frac
        self._is_lost = self._is_down = False
        self.requests = 0
        self.max_q_frac = 0.0
        self.opposed_ns = self.bid_ns = self.ask_ns = self.total_ns = 0
        self._calm_ns = self._calm_both_ns = 0
        self._since_ns: int | None = None
        self._state = (False, False, False, False)

    def see(self, now_ns: int, engine: Engine) -> None:
        """Take the state from this decision on."""
        self.close(now_ns)
        orders = engine.orders
        x = engine.x
        self.max_q_frac = max(self.max_q_frac, abs(x))
        risk = engine.risk
        loss_frac, drawdown_frac = self._limits
        self._is_lost |= risk.start_usd - risk.equity_usd >= loss_frac * risk.start_usd
        self._is_down |= risk.peak_usd - risk.equity_usd >= drawdown_frac * risk.peak_usd
        self._state = (
            bool(orders.side(Side.BUY)),
            bool(orders.side(Side.SELL)),
            engine.is_opposed,
            abs(x) < 0.2,
        )

    def close(self, now_ns: int) -> None:
        """Count the time until now to the state that held."""
        if self._since_ns is not None:
            span_ns = now_ns - self._since_ns
            has_bid, has_ask, is_opposed, is_calm = self._state
            self.total_ns += span_ns
            self.bid_ns += span_ns * has_bid
            self.ask_ns += span_ns * has_ask
            self.opposed_ns += span_ns * is_opposed
            self._calm_ns += span_ns * is_calm
            self._calm_both_ns += span_ns * (is_calm and has_bid and has_ask)
        self._since_ns = now_ns

    def frac(self, part_ns: int) -> float:
        """Share of the session."""
        return part_ns / self.total_ns if self.total_ns else 0.0

    @property
    def kill_trips(self) -> int:
        """How many of the two limits were met."""
        return self._is_lost + self._is_down

    @property
    def calm_frac(self) -> float | None:
        """Two-sided share of the calm time; None if there was none."""
        return self._calm_both_ns / self._calm_ns if self._calm_ns else None
