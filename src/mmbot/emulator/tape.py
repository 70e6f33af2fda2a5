"""
A venue made of a recording: it answers our orders from what really traded.

It is pure: orders go in with the time they were sent, the recorded frames pass in the order of the
venue's clock, and what the venue would have told us comes out with the time it would reach us.

The fill model errs against us wherever the recording is silent:

- An order reaches the venue `order_latency_ms` after it was sent. Post-only is refused if the
  recorded touch was at or beyond its price at any moment of that flight, arrival included.
- It queues behind the largest size that rested at its price at any moment of its flight, less what
  traded there since, times `queue_factor`. Where a price lies beyond the recorded levels, or
  between the newest touch and an older book, the size is unknown: the largest visible level of the
  side stands for it.
- The queue shrinks by recorded trades at the price only. Cancels of others never help.
- A trade at the price fills what exceeds the queue; a trade through it fills the rest. One trade
  never fills more than its own size, all our orders together, best price first.
- Another order of ours at the same price stands in the queue too. A move goes to the back.
- Cancels and moves act after their own flight; a trade of the same millisecond comes first.

Two things it cannot know: how the market would have answered our orders, and what traded in a hole
of the recording. `crossed_unfilled` counts orders that the recorded book passed without a trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Event,
    Fill,
    OrderMissing,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
    Trade,
)
from mmbot.core.intents import Cancel, Move, Place, Query
from mmbot.core.types import NS_PER_MS, USD_PER_TICK_LOT, Fees, Instrument, Side, notional_usd
from mmbot.emulator.flights import Flight, TapeOrder, behind_own, hits, refusal_of, set_out
from mmbot.emulator.queueing import RecordedBook


class RecordedVenueParams(BaseModel):
    """How orders travel and queue in a recorded market."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    order_latency_ms: float = Field(
        200,
        ge=0,
        le=60_000,
        description="Time from sending an action to its execution, ms (docs: median 200 ms).",
    )
    reply_latency_ms: float = Field(
        100, ge=0, le=60_000, description="Time from execution to our knowing its verdict, ms."
    )
    queue_factor: float = Field(
        1.0,
        ge=0,
        le=100,
        description="Queue ahead of our orders as a multiple of the recorded one.",
    )


class BacktestParams(RecordedVenueParams):
    """How a recording is played. What is unset comes from `emulator/instruments.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    maker_fee_bps: float | None = Field(
        None, ge=-5, le=100, description="Maker fee, bps; negative is a rebate."
    )
    sz_decimals: int | None = Field(None, ge=0, le=6, description="Decimals of a size.")
    max_leverage: int | None = Field(None, ge=1, le=100, description="The venue's own maximum.")
    exact_diff: bool = Field(
        default=True,
        description="Also run without hysteresis, to tell what the hysteresis saves and costs.",
    )


class RecordedVenue:
    """
    Answers orders from recorded frames.

    Args:
        happened: Frames in order of the venue's time (`Recording.happened`).
        instrument: Grid of prices and sizes.
        fees: Rates charged to our fills.
        params: Latency and queue.
        lead_ns: Taken from the venue's times to bring them on our clock (`Recording.lead_ns`).
    """

    def __init__(
        self,
        happened: Sequence[Bbo | Book | Trade],
        *,
        instrument: Instrument,
        fees: Fees,
        params: RecordedVenueParams,
        lead_ns: int = 0,
    ) -> None:
        self.position_lots = 0
        self.filled_usd = 0.0
        self.crossed_unfilled = 0
        self._frames = happened
        self._times_ns = [frame.venue_ms * NS_PER_MS - lead_ns for frame in happened]
        self._at = 0
        self._instrument = instrument
        self._fees = fees
        self._lead_ns = lead_ns
        self._order_ns = round(params.order_latency_ms * NS_PER_MS)
        self._reply_ns = round(params.reply_latency_ms * NS_PER_MS)
        self._book = RecordedBook(params.queue_factor)
        self._orders: dict[int, TapeOrder] = {}
        self._best: dict[Side, int | None] = {Side.BUY: None, Side.SELL: None}
        self._flights: list[Flight] = []
        self._arrivals: list[tuple[int, int, Flight | Cancel | Query]] = []
        self._outcomes: list[tuple[int, int, Event]] = []
        self._known: dict[int, OrderUpdate] = {}
        self._sequence = 0
        self._oid = 0
        self._entry_ticks = 0.0

    # --- our side ---------------------------------------------------------------------------------

    def inherit(self, position_lots: int, entry_ticks: float) -> None:
        """Begin with a position, or let one be changed by hand, long positive."""
        self.position_lots, self._entry_ticks = position_lots, entry_ticks

    def send(
        self,
        now_ns: int,
        *,
        cancels: Sequence[Cancel] = (),
        moves: Sequence[Move] = (),
        places: Sequence[Place] = (),
        queries: Sequence[Query] = (),
    ) -> None:
        """
        Send requests at `now_ns`, in this order; the venue must have been advanced to it.

        Raises:
            ValueError: Frames later than `now_ns` have passed already.
        """
        if self._at and self._times_ns[self._at - 1] > now_ns:
            msg = (
                f"orders sent at {now_ns}, before the last frame at {self._times_ns[self._at - 1]}"
            )
            raise ValueError(msg)
        arrival_ns = now_ns + self._order_ns
        for cancel in cancels:
            self._push(arrival_ns, cancel)
        intents: list[Move | Place] = [*moves, *places]
        for intent in intents:
            begun = set_out(self._book, intent.side, intent.px_ticks)
            flight = Flight(**msgspec.structs.asdict(begun), intent=intent)
            self._flights.append(flight)
            self._push(arrival_ns, flight)
        for query in queries:
            self._push(arrival_ns, query)

    def advance(self, now_ns: int) -> None:
        """Let everything happen that happened, or arrived, up to and at `now_ns`."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= now_ns:
            arrival_ns, _, request = heappop(arrivals)
            self._pass(arrival_ns)
            self._execute(request, arrival_ns)
        self._pass(now_ns)

    def take(self, now_ns: int) -> list[Event]:
        """Remove and return what we know by `now_ns`, in order."""
        outcomes = self._outcomes
        due: list[Event] = []
        while outcomes and outcomes[0][0] <= now_ns:
            due.append(heappop(outcomes)[2])
        return due

    def next_due_ns(self) -> int | None:
        """Earliest time at which a request arrives or an outcome reaches us."""
        heads = [heap[0][0] for heap in (self._arrivals, self._outcomes) if heap]
        return min(heads) if heads else None

    def open_orders(self, recv_ns: int) -> tuple[OrderUpdate, ...]:
        """Orders of ours in the book, as a reading of the account tells of them."""
        venue_ms = self._ms(recv_ns)
        return tuple(
            [
                _update(order, OrderState.OPEN, "open", recv_ns, venue_ms)
                for order in self._orders.values()
            ]
        )

    @property
    def resting(self) -> int:
        """Orders of ours in the book."""
        return len(self._orders)

    @property
    def is_two_sided(self) -> bool:
        """Whether a bid and an ask of ours are in the book."""
        return all(self.is_quoted)

    @property
    def is_quoted(self) -> tuple[bool, bool]:
        """Whether a bid, and an ask, of ours is in the book."""
        return self._best[Side.BUY] is not None, self._best[Side.SELL] is not None

    # --- the recorded market ----------------------------------------------------------------------

    def _pass(self, until_ns: int) -> None:
        frames, times_ns, at = self._frames, self._times_ns, self._at
        end = len(frames)
        while at < end and times_ns[at] <= until_ns:
            frame = frames[at]
            at += 1
            if isinstance(frame, Trade):
                self._trade(frame)
            else:
                self._quote(frame)
        self._at = at

    def _quote(self, frame: Bbo | Book) -> None:
        self._book.apply(frame)
        for flight in self._flights:
            flight.meet(self._book)
        for side in (Side.BUY, Side.SELL):
            best = self._best[side]
            if best is not None and self._book.crosses(side, best):
                for order in self._orders.values():
                    if order.side is side and self._book.crosses(side, order.px_ticks):
                        order.is_crossed = True

    def _trade(self, trade: Trade) -> None:
        side = trade.side.opposite
        for flight in self._flights:
            flight.pass_by(trade)
        best = self._best[side]
        if best is None or (best - trade.px_ticks) * side < 0:
            return
        for order, lots in hits(self._orders.values(), trade, lambda: self.position_lots):
            self._fill(order, lots, trade)

    def _fill(self, order: TapeOrder, lots: int, trade: Trade) -> None:
        value_usd = notional_usd(order.px_ticks, lots)
        closed_usd = self._settle(order.side, order.px_ticks, lots)
        order.left_lots -= lots
        self.filled_usd += value_usd
        fill = Fill(
            recv_ns=trade.recv_ns,
            venue_ms=trade.venue_ms,
            tid=trade.tid,
            oid=order.oid,
            cloid=order.cloid,
            side=order.side,
            px_ticks=order.px_ticks,
            sz_lots=lots,
            fee_usd=value_usd * self._fees.maker_bps * 1e-4,
            closed_pnl_usd=closed_usd,
            start_position_lots=self.position_lots - lots * order.side,
            is_taker=False,
        )
        self._tell(trade.recv_ns, fill)
        if not order.left_lots:
            self._remove(order)
            self._report(order, OrderState.FILLED, "filled", trade.recv_ns, trade.venue_ms)
        elif order.is_reduce_only and self.position_lots * order.side >= 0:
            self._remove(order)
            status = "reduceOnlyCanceled"
            self._report(order, OrderState.CANCELED, status, trade.recv_ns, trade.venue_ms)

    def _settle(self, side: Side, px_ticks: int, lots: int) -> float:
        """Move the position; the profit realised, gross of fees, is returned in USD."""
        before = self.position_lots
        after = before + lots * side
        self.position_lots = after
        if before * side >= 0:
            self._entry_ticks = (self._entry_ticks * abs(before) + px_ticks * lots) / abs(after)
            return 0.0
        closed = min(lots, abs(before))
        usd = (self._entry_ticks - px_ticks) * closed * side * USD_PER_TICK_LOT
        if lots > abs(before):
            self._entry_ticks = float(px_ticks)
        return usd

    # --- requests ---------------------------------------------------------------------------------

    def _execute(self, request: Flight | Cancel | Query, at_ns: int) -> None:
        if isinstance(request, Cancel):
            self._cancel(request, at_ns)
        elif isinstance(request, Query):
            self._answer(request, at_ns)
        else:
            self._flights.remove(request)
            self._enter(request, at_ns)

    def _cancel(self, request: Cancel, at_ns: int) -> None:
        order = self._orders.get(request.cloid)
        recv_ns = at_ns + self._reply_ns
        if order is None:
            text = "Order was never placed, already canceled, or filled."
            self._refuse(Request.CANCEL, request.cloid, Rejection.GONE, text, recv_ns)
            return
        self._remove(order)
        self._tell(recv_ns, Acked(recv_ns, Request.CANCEL, order.cloid))
        self._report(order, OrderState.CANCELED, "canceled", recv_ns, self._ms(at_ns))

    def _answer(self, request: Query, at_ns: int) -> None:
        recv_ns = at_ns + self._reply_ns
        known = self._known.get(request.cloid)
        order = self._orders.get(request.cloid)
        if order is not None:
            self._report(order, OrderState.OPEN, "open", recv_ns, self._ms(at_ns))
        elif known is None:
            self._tell(recv_ns, OrderMissing(recv_ns, request.cloid))
        else:
            self._tell(recv_ns, msgspec.structs.replace(known, recv_ns=recv_ns))

    def _enter(self, flight: Flight, at_ns: int) -> None:
        intent = flight.intent
        is_move = isinstance(intent, Move)
        kind = Request.MOVE if is_move else Request.PLACE
        recv_ns = at_ns + self._reply_ns
        old = self._orders.get(intent.cloid)
        if is_move and old is None:
            text = "Cannot modify canceled or filled order"
            self._refuse(kind, intent.cloid, Rejection.GONE, text, recv_ns)
            return
        refusal = refusal_of(
            flight,
            instrument=self._instrument,
            book=self._book,
            is_known=old is not None,
            position_lots=self.position_lots,
            own_ticks=self._best[intent.side.opposite],
        )
        if refusal is not None:
            self._refuse(kind, intent.cloid, *refusal, recv_ns)
            return
        if old is not None:
            self._remove(old)
        self._oid += 1
        order = TapeOrder(
            cloid=intent.cloid,
            oid=self._oid,
            side=intent.side,
            px_ticks=intent.px_ticks,
            sz_lots=intent.sz_lots,
            left_lots=intent.sz_lots,
            is_reduce_only=intent.is_reduce_only,
            ahead_lots=behind_own(
                flight.ahead_lots, intent.side, intent.px_ticks, self._orders.values()
            ),
        )
        self._orders[order.cloid] = order
        self._find_best(order.side)
        self._tell(recv_ns, Acked(recv_ns, kind, order.cloid, order.oid))
        self._report(order, OrderState.OPEN, "open", recv_ns, self._ms(at_ns))
        if old is not None:
            self._report(old, OrderState.CANCELED, "canceled", recv_ns, self._ms(at_ns))

    def _remove(self, order: TapeOrder) -> None:
        del self._orders[order.cloid]
        self._find_best(order.side)
        if order.is_crossed and order.left_lots:
            self.crossed_unfilled += 1

    def _find_best(self, side: Side) -> None:
        prices = [order.px_ticks for order in self._orders.values() if order.side is side]
        self._best[side] = (max(prices) if side is Side.BUY else min(prices)) if prices else None

    # --- words ------------------------------------------------------------------------------------

    def _refuse(
        self, kind: Request, cloid: int, reason: Rejection, text: str, recv_ns: int
    ) -> None:
        self._tell(recv_ns, Rejected(recv_ns, kind, cloid, reason, text))

    def _report(
        self, order: TapeOrder, state: OrderState, status: str, recv_ns: int, venue_ms: int
    ) -> None:
        update = _update(order, state, status, recv_ns, venue_ms)
        if state is not OrderState.OPEN and order.cloid not in self._orders:
            self._known[order.cloid] = update
        self._tell(recv_ns, update)

    def _tell(self, recv_ns: int, event: Event) -> None:
        self._sequence += 1
        heappush(self._outcomes, (recv_ns, self._sequence, event))

    def _push(self, arrival_ns: int, request: Flight | Cancel | Query) -> None:
        self._sequence += 1
        heappush(self._arrivals, (arrival_ns, self._sequence, request))

    def _ms(self, at_ns: int) -> int:
        return (at_ns + self._lead_ns) // NS_PER_MS


def _update(
    order: TapeOrder, state: OrderState, status: str, recv_ns: int, venue_ms: int
) -> OrderUpdate:
    return OrderUpdate(
        recv_ns=recv_ns,
        venue_ms=venue_ms,
        oid=order.oid,
        cloid=order.cloid,
        side=order.side,
        px_ticks=order.px_ticks,
        sz_lots=order.left_lots,
        orig_sz_lots=order.sz_lots,
        state=state,
        status=status,
    )
