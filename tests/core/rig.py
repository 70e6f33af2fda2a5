"""
A whole engine joined to a small venue that answers every batch at once.

The venue is strict: an order that Hyperliquid would refuse fails the test that let it out. It knows
price, size, least notional, post-only and reduce-only; it matches only when a test tells it to.
Like a real one it shows our own orders in its book.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Event,
    Fill,
    Level,
    LinkUp,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Note
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, Side, notional_usd

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
T0_NS = 1_700_000_000 * NS_PER_S
PREFIX = 0xBEEF_0000_0000_0001


def params(**sections: dict[str, object]) -> EngineParams:
    """Shipped parameters with 100 USD of capital and warm, sections changed as given."""
    risk: dict[str, object] = {"capital_usd": 100.0, "warm_s": 0.0, **sections.pop("risk", {})}
    return EngineParams.model_validate({"risk": risk, **sections})


class Fault(Enum):
    """What goes wrong with the next batch."""

    REFUSED = "refused"
    """Every placement and move is refused as post-only; the orders to be moved stay."""
    REFUSED_OLD_GONE = "refused_old_gone"
    """As REFUSED, and the orders to be moved are cancelled."""
    LOST_AFTER = "lost_after"
    """Carried out, but no answer comes."""
    LOST_BEFORE = "lost_before"
    """Neither carried out nor answered."""


class Resting(msgspec.Struct):
    """An order at the venue."""

    oid: int
    cloid: int
    side: Side
    px_ticks: int
    sz_lots: int
    orig_lots: int
    is_reduce_only: bool = False


Ladder = tuple[tuple[int, int], ...]


class Rig:
    """An engine, its venue and a clock."""

    def __init__(
        self,
        engine_params: EngineParams | None = None,
        *,
        instrument: Instrument = HYPE,
        equity_usd: float = 100.0,
        position_lots: int = 0,
        fair_px: float = 26.2,
        half_touch_steps: int = 1,
        maker_bps: float = 1.5,
        requests_cap: int = 1_000_000,
        is_started: bool = True,
        shows_own: bool = True,
        own_in_book: bool = True,
        others: tuple[Ladder, Ladder] | None = None,
    ) -> None:
        self.instrument = instrument
        self.engine = Engine(
            engine_params or params(), instrument, cloid_prefix=PREFIX, own_in_book=own_in_book
        )
        self.shows_own = shows_own
        self.others = others
        """Whole book of others, (ticks, lots) best first; None for a touch moved by tests."""
        self.now_ns = T0_NS
        self.resting: dict[int, Resting] = {}
        self.position_lots = position_lots
        self.equity_usd = equity_usd
        self.maker_bps = maker_bps
        self.requests_cap = requests_cap
        self.oid = 1000
        self.tid = 1
        self.requests = 0
        self.is_holding_answers = False
        self.fault: Fault | None = None
        self.history: dict[int, OrderUpdate] = {}
        self.tape: list[Event | int] = []
        """Every event applied, and the time of every decision."""
        self.held: list[Event] = []
        self.notes: list[Note] = []
        self.batches: list[Batch] = []
        self.bid_ticks = self.ask_ticks = 0
        self.half_touch_steps = half_touch_steps
        self.set_fair(fair_px)
        if is_started:
            self.start()

    # -- time and market --------------------------------------------------------------------------

    @property
    def venue_ms(self) -> int:
        return self.now_ns // NS_PER_MS

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)

    def apply(self, event: Event) -> None:
        self.tape.append(event)
        self.engine.apply(event)

    def set_fair(self, px: float) -> None:
        """Set the touch symmetrically about `px`, without telling the engine."""
        ticks = self.instrument.ticks(px)
        step = self.instrument.step_ticks(int(ticks))
        mid = round(ticks / step) * step
        self.bid_ticks = self.instrument.floor_ticks(mid - self.half_touch_steps * step)
        self.ask_ticks = self.instrument.ceil_ticks(mid + self.half_touch_steps * step)

    def tell_book(self, *, bid_lots: int = 1000, ask_lots: int = 1000) -> None:
        """The book as the venue shows it; the levels behind the touch only where they matter."""
        book = self.shown_book(bid_lots=bid_lots, ask_lots=ask_lots)
        if self.others is not None or len(book.bids) > 1 or len(book.asks) > 1:
            self.apply(book)
        self.apply(Bbo(self.now_ns, self.venue_ms, book.bids[0], book.asks[0]))

    def shown_book(self, *, bid_lots: int = 1000, ask_lots: int = 1000) -> Book:
        """Others' levels, and our orders on top of them or, where they are better, before them."""
        others = self.others or (((self.bid_ticks, bid_lots),), ((self.ask_ticks, ask_lots),))
        levels = {Side.BUY: dict(others[0]), Side.SELL: dict(others[1])}
        if self.shows_own:
            for order in self.resting.values():
                lots = levels[order.side]
                worst = min(order.side * px for px in dict(others[order.side is Side.SELL]))
                if order.side * order.px_ticks >= worst:
                    lots[order.px_ticks] = lots.get(order.px_ticks, 0) + order.sz_lots
        bids, asks = (
            tuple(
                Level(px, levels[side][px]) for px in sorted(levels[side], key=lambda p: -side * p)
            )
            for side in (Side.BUY, Side.SELL)
        )
        return Book(self.now_ns, self.venue_ms, bids, asks, is_fast=True)

    def move_to(self, px: float) -> None:
        """A new touch a moment later; orders of ours that it runs over fill."""
        self.wait(0.1)
        self.set_fair(px)
        self.run_over()
        self.tell_book()

    def run_over(self) -> None:
        for order in list(self.resting.values()):
            bid_hit = order.side is Side.BUY and order.px_ticks >= self.ask_ticks
            ask_hit = order.side is Side.SELL and order.px_ticks <= self.bid_ticks
            if bid_hit or ask_hit:
                self.fill(order, order.sz_lots)

    # -- account ----------------------------------------------------------------------------------

    def start(self) -> None:
        self.apply(LinkUp(self.now_ns))
        self.wait(0.01)
        self.tell_book()
        self.apply(self.snapshot())
        # A fill in the millisecond of the snapshot would be in its position.
        self.wait(0.01)
        self.tell_book()

    def snapshot(self, *, requested_at_ns: int | None = None, **changes: object) -> Snapshot:
        mid = (self.bid_ticks + self.ask_ticks) / 2
        snapshot = Snapshot(
            recv_ns=self.now_ns,
            requested_at_ns=self.now_ns if requested_at_ns is None else requested_at_ns,
            venue_ms=self.venue_ms,
            position_lots=self.position_lots,
            entry_px=None,
            equity_usd=self.equity_usd,
            mark_px=self.instrument.px(mid),
            fees=Fees(self.maker_bps, 4.5),
            open_orders=tuple(self.update(o, OrderState.OPEN) for o in self.resting.values()),
            fills=(),
            requests_used=0,
            requests_cap=self.requests_cap,
        )
        return msgspec.structs.replace(snapshot, **changes)

    def update(self, order: Resting, state: OrderState, status: str | None = None) -> OrderUpdate:
        return OrderUpdate(
            recv_ns=self.now_ns,
            venue_ms=self.venue_ms,
            oid=order.oid,
            cloid=order.cloid,
            side=order.side,
            px_ticks=order.px_ticks,
            sz_lots=order.sz_lots,
            orig_sz_lots=order.orig_lots,
            state=state,
            status=status or state.value,
        )

    # -- the daemon's part ------------------------------------------------------------------------

    def decide(self) -> Decision:
        """One decision; its batch reaches the venue and is answered at once (or held)."""
        self.tape.append(self.now_ns)
        decision = self.engine.decide(self.now_ns)
        self.notes.extend(decision.notes)
        if decision.batch is not None:
            self.batches.append(decision.batch)
            fault, self.fault = self.fault, None
            if fault is None:
                self.execute(decision.batch)
            else:
                self.fail(decision.batch, fault)
        for query in decision.queries:
            self.answer_query(query.cloid)
        return decision

    def answer_query(self, cloid: int) -> None:
        """What the venue knows of an order: that it rests, how it ended, or nothing."""
        order = self.resting.get(cloid)
        if order is not None:
            self.answer(self.update(order, OrderState.OPEN))
        elif cloid in self.history:
            self.answer(msgspec.structs.replace(self.history[cloid], recv_ns=self.now_ns))
        else:
            self.answer(OrderMissing(self.now_ns, cloid))

    def fail(self, batch: Batch, fault: Fault) -> None:
        """Carry out a batch under a fault."""
        requests = [
            *((Request.CANCEL, cancel.cloid) for cancel in batch.cancels),
            *((Request.MOVE, move.cloid) for move in batch.moves),
            *((Request.PLACE, place.cloid) for place in batch.places),
        ]
        if fault in (Fault.LOST_AFTER, Fault.LOST_BEFORE):
            if fault is Fault.LOST_AFTER:
                was_holding, self.is_holding_answers = self.is_holding_answers, True
                kept, self.held = self.held, []
                self.execute(batch)
                self.held, self.is_holding_answers = kept, was_holding
            for request, cloid in requests:
                self.answer(OutcomeUnknown(self.now_ns, request, cloid, "timed out"))
            return
        self.requests += len(batch)
        for cancel in batch.cancels:
            self.cancel(cancel.cloid)
        for request, cloid in requests:
            if request is Request.CANCEL:
                continue
            text = "Post only order would have immediately matched"
            reason = Rejection.POST_ONLY
            if request is Request.MOVE and cloid not in self.resting:
                text, reason = "Cannot modify canceled or filled order", Rejection.GONE
            elif request is Request.MOVE and fault is Fault.REFUSED_OLD_GONE:
                self.finish(self.resting.pop(cloid), OrderState.CANCELED)
            self.answer(Rejected(self.now_ns, request, cloid, reason, text))

    def cancel(self, cloid: int) -> None:
        order = self.resting.pop(cloid, None)
        if order is None:
            text = "Order was never placed, already canceled, or filled."
            self.answer(Rejected(self.now_ns, Request.CANCEL, cloid, Rejection.GONE, text))
            return
        self.answer(Acked(self.now_ns, Request.CANCEL, cloid))
        self.finish(order, OrderState.CANCELED)

    def finish(self, order: Resting, state: OrderState) -> None:
        """Report the end of an order, and remember it."""
        update = self.update(order, state)
        self.history[order.cloid] = update
        self.answer(update)

    def settle(self, rounds: int = 10) -> Decision:
        """Decide until nothing changes any more; the last decision."""
        for _ in range(rounds):
            decision = self.decide()
            if decision.batch is None:
                return decision
        msg = f"the engine does not come to rest: {decision.batch}"
        raise AssertionError(msg)

    def release(self) -> None:
        """Deliver the answers held back."""
        held, self.held = self.held, []
        for event in held:
            self.apply(event)

    def answer(self, event: Event) -> None:
        if self.is_holding_answers:
            self.held.append(event)
        else:
            self.apply(event)

    def execute(self, batch: Batch) -> None:
        """Carry out a batch as the venue would, in its order."""
        assert type(batch) is Batch
        self.requests += len(batch)
        for cancel in batch.cancels:
            self.cancel(cancel.cloid)
        for move in batch.moves:
            old = self.resting.pop(move.cloid, None)
            if old is None:
                text = "Cannot modify canceled or filled order"
                self.answer(Rejected(self.now_ns, Request.MOVE, move.cloid, Rejection.GONE, text))
                continue
            assert old.side is move.side
            self.accept(move.side, move.px_ticks, move.sz_lots, move.is_reduce_only)
            self.oid += 1
            new = Resting(
                self.oid, move.cloid, move.side, move.px_ticks, move.sz_lots, move.sz_lots
            )
            new.is_reduce_only = move.is_reduce_only
            self.resting[move.cloid] = new
            self.finish(old, OrderState.CANCELED)
            self.answer(Acked(self.now_ns, Request.MOVE, move.cloid, new.oid))
            self.answer(self.update(new, OrderState.OPEN))
        for place in batch.places:
            assert place.cloid not in self.resting
            self.accept(place.side, place.px_ticks, place.sz_lots, place.is_reduce_only)
            self.oid += 1
            order = Resting(
                self.oid, place.cloid, place.side, place.px_ticks, place.sz_lots, place.sz_lots
            )
            order.is_reduce_only = place.is_reduce_only
            self.resting[place.cloid] = order
            self.answer(Acked(self.now_ns, Request.PLACE, place.cloid, order.oid))
            self.answer(self.update(order, OrderState.OPEN))

    def accept(self, side: Side, px_ticks: int, sz_lots: int, is_reduce_only: bool) -> None:
        """What the venue checks of every new order."""
        assert sz_lots > 0
        assert self.instrument.is_valid_px(px_ticks), px_ticks
        if side is Side.BUY:
            assert px_ticks < self.ask_ticks, "a bid would have executed"
        else:
            assert px_ticks > self.bid_ticks, "an ask would have executed"
        if is_reduce_only:
            assert side * self.position_lots < 0, "reduce-only would increase"
        for order in self.resting.values():
            own = order.side is side.opposite and side * px_ticks >= side * order.px_ticks
            assert not own, "it would have met an order of ours"
        is_close = is_reduce_only and sz_lots == abs(self.position_lots)
        assert notional_usd(px_ticks, sz_lots) >= 10.0 or is_close, "below the least notional"

    # -- fills ------------------------------------------------------------------------------------

    def fill_event(self, order: Resting, lots: int) -> Fill:
        """Book `lots` of an order at the venue; the message that says so."""
        order.sz_lots -= lots
        if order.sz_lots == 0:
            self.resting.pop(order.cloid, None)
        before = self.position_lots
        self.position_lots += order.side * lots
        self.tid += 1
        fee_usd = notional_usd(order.px_ticks, lots) * self.maker_bps * 1e-4
        return Fill(
            recv_ns=self.now_ns,
            venue_ms=self.venue_ms,
            tid=self.tid,
            oid=order.oid,
            cloid=order.cloid,
            side=order.side,
            px_ticks=order.px_ticks,
            sz_lots=lots,
            fee_usd=fee_usd,
            closed_pnl_usd=0.0,
            start_position_lots=before,
            is_taker=False,
        )

    def fill(self, order: Resting, lots: int) -> Fill:
        fill = self.fill_event(order, lots)
        self.answer(fill)
        if order.sz_lots == 0:
            self.finish(order, OrderState.FILLED)
        return fill

    def side(self, side: Side) -> list[Resting]:
        """Resting orders of one side, nearest to the market first."""
        orders = [order for order in self.resting.values() if order.side is side]
        return sorted(orders, key=lambda order: -side * order.px_ticks)

    def touch(self, side: Side) -> int:
        return self.side(side)[0].px_ticks

    def depth_bps(self, side: Side) -> float:
        """Distance of the nearest order from the engine's fair price, positive away from it."""
        fair = self.engine.book.fair_ticks
        assert fair is not None
        return side * (fair - self.touch(side)) / fair * 1e4

    def sweep(self, side: Side) -> int:
        """One taker takes the whole side of ours in one message; lots taken."""
        orders = self.side(side)
        fills = [self.fill_event(order, order.sz_lots) for order in orders]
        for order, fill in zip(orders, fills, strict=True):
            self.answer(fill)
            self.finish(order, OrderState.FILLED)
        return sum(fill.sz_lots for fill in fills)

    def hold_position(self, lots: int) -> None:
        """Bring the position to `lots` by a fill of an order that the table has forgotten."""
        difference = lots - self.position_lots
        if difference == 0:
            return
        self.wait(0.01)
        side = Side.BUY if difference > 0 else Side.SELL
        self.oid += 1
        ghost = Resting(
            self.oid, 77, side, round((self.bid_ticks + self.ask_ticks) / 2), abs(difference), 0
        )
        fill = self.fill_event(ghost, abs(difference))
        self.apply(msgspec.structs.replace(fill, cloid=PREFIX << 64 | 77, fee_usd=0.0))

    def q_max_lots(self) -> float:
        limits = self.engine.limits
        fair = self.engine.book.fair_ticks
        assert limits is not None
        assert fair is not None
        return limits.q_max_lots(fair)

    def events_named(self, name: str) -> Sequence[Note]:
        return [note for note in self.notes if note.event == name]
