"""
The only orchestrator: fold events into state, decide, hand out a batch. No input or output.

    apply(event)       changes state, emits nothing, so a burst of frames costs one decision
    decide(now_ns)     mode -> quote -> ladder -> reconcile -> gate
    wake_at_ns()       when `decide` could answer differently without an event
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.backoff import Backoff
from mmbot.core.book import BookParams, BookState
from mmbot.core.diagnostics import Capture, Diagnostics, Summary, View, diagnose, summarise
from mmbot.core.estimators.volatility import Volatility, VolatilityParams
from mmbot.core.events import (
    Acked,
    AssetCtx,
    Bbo,
    Book,
    Command,
    CommandKind,
    Event,
    Fill,
    Funding,
    LinkLost,
    LinkUp,
    OrderMissing,
    OrderUpdate,
    OutcomeUnknown,
    ReferencePx,
    Rejected,
    Request,
    RequestsLeft,
    Snapshot,
    Trades,
)
from mmbot.core.footprint import NO_ORDERS, Footprint
from mmbot.core.intents import Cancel, Diff, KillReason, Note, Query, Status
from mmbot.core.ladder import Ladder, LadderParams, SideInputs, SideTarget
from mmbot.core.markout import Markouts
from mmbot.core.orders import Orders
from mmbot.core.position import Position
from mmbot.core.quoter import Quote, Quoter, QuoterParams, Reference
from mmbot.core.reconcile import ReconcileParams, Reconciler, SideView
from mmbot.core.risk import Batch, GateView, Limits, Risk, RiskParams, gate
from mmbot.core.slots import CANCELLABLE, SlotState, may_cancel
from mmbot.core.types import NS_PER_S, Instrument, Mode, Side

__all__ = ["Decision", "Diagnostics", "Engine", "EngineParams", "Summary"]

_ON_THE_BOOK = (SlotState.WORKING, SlotState.PLACING, SlotState.MOVING)
_STALE = "stale book"
_LATE = "late book"
_DIAGNOSTICS_NS = NS_PER_S
_GROWTH_CREDIT = 0.1


class EngineParams(BaseModel):
    """Parameters of every part of the core."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: RiskParams
    quoter: QuoterParams = Field(default_factory=QuoterParams)
    ladder: LadderParams = Field(default_factory=LadderParams)
    reconcile: ReconcileParams = Field(default_factory=ReconcileParams)
    volatility: VolatilityParams = Field(default_factory=VolatilityParams)
    book: BookParams = Field(default_factory=BookParams)


class Decision(msgspec.Struct, frozen=True):
    """What to send and to tell. `kill` stays set from the decision that tripped on."""

    batch: Batch | None
    notes: tuple[Note, ...]
    queries: tuple[Query, ...]
    status: Status
    capture: Capture | None
    kill: KillReason | None

    @property
    def diagnostics(self) -> Diagnostics | None:
        """The numbers behind it, put together when asked for: after the batch has been sent."""
        return None if self.capture is None else diagnose(self.capture)


class Engine:
    """
    All trading state of one instrument. Deterministic: the same events and times give the same
    decisions; time comes in through the events and `decide` alone.

    `own_in_book` says whether the book that arrives contains our orders, as a venue's does. The
    book of a recording does not, and nothing may be taken out of it.
    """

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        own_in_book: bool = True,
    ) -> None:
        self.instrument = instrument
        self.book = BookState(instrument, params.book)
        self.orders = Orders(cloid_prefix)
        self._footprint = Footprint(self.orders) if own_in_book else None
        self.position = Position()
        self.markouts = Markouts()
        self.volatility = Volatility(params.volatility)
        self.risk = Risk(params.risk)
        self.reference = Reference(params.quoter)
        self._quoter = Quoter(params.quoter)
        self._ladder = Ladder(params.ladder, instrument)
        self._reconciler = Reconciler(params.reconcile)
        self._risk_params = params.risk
        self._stale_pull_ns = int(params.risk.stale_pull_s * NS_PER_S)
        self._stale_kill_ns = int(params.risk.stale_kill_s * NS_PER_S)
        self._mark_stale_ns = int(params.risk.mark_stale_s * NS_PER_S)
        self._fee_bps = 0.0
        self._mark_ticks: float | None = None
        self._mark_ns = 0
        self._linked_ns: int | None = None
        self._waited_ns: int | None = None
        self._snapshot_ns: int | None = None
        self._is_stopping = False
        self._is_stale = False
        self._notes: list[Note] = []
        self._backoff = {
            side: Backoff(params.reconcile.backoff_s, params.reconcile.backoff_s_max)
            for side in Side
        }
        self._live_px: dict[Side, list[int]] = {}
        self._live_px_at = -1
        self._diagnosed_ns: int | None = None
        self._wake_ns: int | None = None
        self._dropped_ns: dict[tuple[str, str], int] = {}
        self._max_inventory = 0
        self._skew_at_max = 0.0
        self._inside_since_ns = 0
        self._inside_ns = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            Bbo: self._on_book,
            Book: self._on_book,
            AssetCtx: self._on_ctx,
            ReferencePx: self._on_reference,
            Fill: self._on_fill,
            Funding: self._on_funding,
            OrderUpdate: self.orders.on_update,
            Acked: self._on_acked,
            Rejected: self._on_rejected,
            OutcomeUnknown: self._on_unanswered,
            OrderMissing: self.orders.on_missing,
            LinkUp: self._on_link_up,
            LinkLost: self._on_link_lost,
            Snapshot: self._on_snapshot,
            RequestsLeft: self._on_requests,
            Command: self._on_command,
        }

    @property
    def mode(self) -> Mode:
        """The risk mode."""
        return self.risk.mode

    @property
    def limits(self) -> Limits | None:
        """Effective limits; None before the first snapshot."""
        return self.risk.limits

    # -- events -----------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Fold one event into state."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        elif type(event) is not Trades:
            # Trades inform estimators that this engine does not have; anything else is a bug.
            msg = f"unknown event {type(event).__name__}"
            raise TypeError(msg)

    def _on_book(self, event: Bbo | Book) -> None:
        footprint = self._footprint
        ours = NO_ORDERS if footprint is None else footprint.at(event.recv_ns)
        if not self.book.apply(event, ours):
            return
        mid = self.book.mid_ticks
        if mid is not None:
            self.volatility.sample(event.recv_ns, mid)
            self.markouts.advance(self.book)
            self._value(event.recv_ns)

    def _on_ctx(self, event: AssetCtx) -> None:
        self._mark_ticks = self.instrument.ticks(event.mark_px)
        self._mark_ns = event.recv_ns
        self._value(event.recv_ns)

    def _on_reference(self, event: ReferencePx) -> None:
        fair = self.book.fair_ticks
        fair_px = None if fair is None else self.instrument.px(fair)
        self.reference.observe(event.px, event.recv_ns, event.venue_ms, fair_px)

    def _on_fill(self, fill: Fill) -> None:
        if not self.position.apply(fill):
            return
        slot = self.orders.on_fill(fill)
        edge_bps = self.markouts.on_fill(fill, self.book)
        px, sz = self.instrument.px(fill.px_ticks), self.instrument.sz(fill.sz_lots)
        credit = _GROWTH_CREDIT if self.instrument.growth_mode else 1.0
        self._reconciler.requests.earn(px * sz * credit)
        cloid = slot.cloid if slot is not None else fill.cloid
        self._notes.append(
            Note(
                "fill.booked",
                "info" if cloid is not None else "warning",
                {
                    "side": fill.side.name.lower(),
                    "px": px,
                    "sz": sz,
                    "fee_usd": fill.fee_usd,
                    "position_sz": self.instrument.sz(self.position.lots),
                    "edge_bps": edge_bps,
                    "cloid": None if cloid is None else f"{cloid:#034x}",
                    "oid": fill.oid,
                    "tid": fill.tid,
                    "is_taker": fill.is_taker,
                    "is_liquidation": fill.is_liquidation,
                    "venue_ms": fill.venue_ms,
                },
            )
        )
        self._value(fill.recv_ns)

    def _on_funding(self, event: Funding) -> None:
        if self.position.apply_funding(event):
            self._note("funding.booked", "info", cost_usd=event.usd)
            self._value(event.recv_ns)

    def _on_acked(self, event: Acked) -> None:
        slot = self.orders.slots.get(event.cloid)
        if slot is not None and event.request is not Request.CANCEL:
            self._backoff[slot.side].accepted(slot.sent_ns)
        self.orders.on_acked(event)

    def _on_rejected(self, event: Rejected) -> None:
        slot = self.orders.slots.get(event.cloid)
        if slot is None:
            return
        side, px, sent_ns = slot.side, slot.target_px_ticks, slot.sent_ns
        was, is_overtaken = slot.state, slot.cause is not event.request
        self.orders.on_rejected(event)
        if is_overtaken or was not in (
            SlotState.PLACING,
            SlotState.MOVING,
            SlotState.CANCELLING,
        ):
            return
        if event.request is not Request.CANCEL:
            self._backoff[side].refused(event, sent_ns)
        self._note(
            "order.rejected",
            "warning",
            request=event.request.value,
            reason=event.reason.value,
            text=event.text,
            cloid=f"{event.cloid:#034x}",
            side=side.name.lower(),
            px=self.instrument.px(px),
        )

    def _on_unanswered(self, event: OutcomeUnknown) -> None:
        slot = self.orders.slots.get(event.cloid)
        self.orders.on_unanswered(event)
        if slot is not None and slot.state is SlotState.UNKNOWN:
            self._note(
                "order.unanswered",
                "warning",
                request=event.request.value,
                cloid=f"{event.cloid:#034x}",
                text=event.text,
            )

    def _on_link_up(self, event: LinkUp) -> None:
        if self._linked_ns is None:
            self._note("link.opened", "info")
        self._linked_ns = event.recv_ns
        if self._waited_ns is None:
            self._waited_ns = event.recv_ns

    def _on_link_lost(self, event: LinkLost) -> None:
        if self._linked_ns is not None:
            self._note("link.lost", "warning", reason=event.reason)
        self._linked_ns = None
        self.book.forget()
        self.volatility.reset_gap()

    def _on_snapshot(self, event: Snapshot) -> None:
        mark_ticks = self.instrument.ticks(event.mark_px)
        self._mark_ticks, self._mark_ns = mark_ticks, event.recv_ns
        self._fee_bps = event.fees.maker_bps
        self._reconciler.requests.observe(event.requests_used, event.requests_cap)
        if not self.position.is_started:
            limits = Limits.of(self._risk_params, self.instrument, event.equity_usd)
            self.risk.start(limits)
            fills, payments = self.position.start(event.position_lots, mark_ticks, event.venue_ms)
            for fill in (*fills, *event.fills):
                self._on_fill(fill)
            for payment in payments:
                self._on_funding(payment)
            self._note(
                "session.started",
                "info",
                equity_usd=event.equity_usd,
                capital_usd=limits.capital_usd,
                q_max_usd=limits.q_max_usd,
                position_sz=self.instrument.sz(event.position_lots),
                maker_bps=event.fees.maker_bps,
            )
        else:
            for fill in event.fills:
                self._on_fill(fill)
            missing = self.position.reconcile(event.position_lots, mark_ticks, event.venue_ms)
            if missing:
                self._note(
                    "position.mismatched",
                    "error",
                    missing_sz=self.instrument.sz(missing),
                    position_sz=self.instrument.sz(self.position.lots),
                )
        if self.orders.on_snapshot(event) and self._footprint is not None:
            self.book.disown(self._footprint.at(event.recv_ns))
        self._snapshot_ns = event.recv_ns
        self._value(event.recv_ns)

    def _on_requests(self, event: RequestsLeft) -> None:
        self._reconciler.requests.observe(event.used, event.cap)

    def _on_command(self, event: Command) -> None:
        if event.kind is CommandKind.STOP:
            self._is_stopping = True
        else:
            self.risk.order_kill(event.text, event.recv_ns)

    def _value(self, now_ns: int) -> None:
        """Follow equity at the lower of the mid and the venue's mark."""
        if not self.position.is_started:
            return
        mid, mark = self.book.last_mid_ticks, self._mark_ticks
        if mark is None or (mid is not None and now_ns - self._mark_ns > self._mark_stale_ns):
            mark = mid
        if mark is None:
            return
        pnl = self.position.pnl_usd(mark)
        if mid is not None and mid != mark:
            pnl = min(pnl, self.position.pnl_usd(mid))
        self.risk.observe(pnl, now_ns)

    # -- decision ---------------------------------------------------------------------------------

    def decide(self, now_ns: int) -> Decision:
        """The smallest set of requests that turns the orders we have into those we want."""
        orders, risk = self.orders, self.risk
        self._count_inside(now_ns)
        age_ns = self.book.touch_age_ns(now_ns)
        if age_ns is None and self._waited_ns is not None:
            age_ns = now_ns - self._waited_ns
        q_max = self._q_max_lots()
        x = self.position.lots / q_max if q_max > 0 else 0.0
        risk.update(x, age_ns, now_ns)
        lag_ns = self.book.lag_ns(now_ns)
        blocked = self._blocked(age_ns, lag_ns, q_max)
        self._tell_blocked(blocked, age_ns, lag_ns)
        view: View | None = None
        if blocked is not None:
            diff = Diff(tuple(self._all_cancels(now_ns, Side.BUY, Side.SELL)))
            gate_view = None
            self._reconciler.is_waiting = False
        elif self.book.fair_ticks is None:
            # Nothing can be priced: what reduces stays as it is, the rest must not.
            held = self.position.lots
            pulled = [side for side in Side if side * held >= 0]
            diff = Diff(tuple(self._all_cancels(now_ns, *pulled)))
            gate_view = None
            self._reconciler.is_waiting = False
        else:
            view, diff, gate_view = self._trade(now_ns, q_max, x)
        batch, dropped = gate(diff, orders, gate_view, self.instrument, now_ns)
        self._note_dropped(dropped, now_ns)
        if batch is not None:
            orders.sent(batch.cancels, batch.moves, batch.places, now_ns)
            self._reconciler.requests.spend(len(batch))
            for move in batch.moves:
                self._backoff[move.side].book_version = self.book.version
            for place in batch.places:
                self._backoff[place.side].book_version = self.book.version
        capture = self._capture(view, batch, now_ns)
        queries = orders.queries(now_ns)
        self._wake_ns = self._next_wake(view, age_ns, lag_ns, now_ns)
        notes = self._drain()
        return Decision(batch, notes, queries, self._status(blocked, view), capture, risk.kill)

    def wake_at_ns(self) -> int | None:
        """Earliest time at which `decide` could change its answer without a new event."""
        return self._wake_ns

    def _q_max_lots(self) -> float:
        limits = self.risk.limits
        px = self.book.fair_ticks or self.book.last_mid_ticks or self._mark_ticks
        return limits.q_max_lots(px) if limits is not None and px else 0.0

    def _tell_blocked(self, blocked: str | None, age_ns: int | None, lag_ns: int | None) -> None:
        """Note when prices become too old to quote on, and when they are fresh again."""
        is_stale = blocked in (_STALE, _LATE)
        if is_stale is self._is_stale:
            return
        self._is_stale = is_stale
        self._note(
            "book.stale" if is_stale else "book.fresh",
            "warning" if is_stale else "info",
            reason=blocked,
            age_s=None if age_ns is None else age_ns / NS_PER_S,
            lag_s=None if lag_ns is None else lag_ns / NS_PER_S,
        )

    def _blocked(self, age_ns: int | None, lag_ns: int | None, q_max_lots: float) -> str | None:
        """Why nothing may rest at all; None if trading is on."""
        if self.risk.mode is Mode.HALTED:
            return "halted"
        if self._is_stopping:
            return "stopping"
        if self._linked_ns is None:
            return "no link"
        if self._snapshot_ns is None or self._snapshot_ns < self._linked_ns:
            return "waiting for the account"
        if age_ns is None or self.book.valid_recv_ns is None:
            return "no book yet"
        if age_ns >= self._stale_pull_ns:
            return _STALE
        if lag_ns is not None and lag_ns >= self._stale_pull_ns:
            return _LATE
        if q_max_lots <= 0:
            return "no capital"
        return None

    def _all_cancels(self, now_ns: int, *sides: Side) -> list[Cancel]:
        return [
            Cancel(slot.cloid)
            for side in sides
            for slot in self.orders.side(side)
            if may_cancel(slot, now_ns)
        ]

    def _trade(self, now_ns: int, q_max: float, x: float) -> tuple[View, Diff, GateView]:
        """Quote, ladder and difference of a market that can be priced."""
        book, limits = self.book, self.risk.limits
        fair, bid, ask = book.fair_ticks, book.bid, book.ask
        assert fair is not None
        assert bid is not None
        assert ask is not None
        assert limits is not None
        lots = self.position.lots
        sigma = self.volatility.bps_rt_s
        step = self.instrument.step_ticks(int(fair))
        quote = self._quote(limits, fair, step, x, now_ns)
        budgets = limits.budgets_lots(lots, fair, self.risk.mode)
        spacing = self._ladder.settle_spacing(fair, sigma)
        hold = self._reconciler.hold(sigma, spacing / fair * 1e4)
        live = self._live_prices()
        # The best prices that cannot execute: one step inside the other side's touch as shown.
        # An order of ours counts there: the venue refuses to cross it as it does any other.
        posts = (
            self.instrument.floor_ticks(ask.px_ticks - 1),
            self.instrument.ceil_ticks(bid.px_ticks + 1),
        )
        targets: list[SideTarget] = []
        views: list[SideView] = []
        for side, budget, post in zip((Side.BUY, Side.SELL), budgets, posts, strict=True):
            reduce_lots = max(0, -side * lots)
            target = self._ladder.build(
                quote,
                SideInputs(
                    side,
                    budget,
                    reduce_lots,
                    post,
                    live[side],
                    self._pulled(side, x),
                    self.risk.mode is not Mode.RUNNING and reduce_lots > 0,
                ),
                position_lots=lots,
                step_ticks=step,
                hold_ticks=hold.bps * fair * 1e-4,
                hold_ns=hold.ns,
                now_ns=now_ns,
            )
            targets.append(target)
            floor_u = side * fair - quote.floor_bps * fair * 1e-4
            is_paused = self._backoff[side].is_active(self.book.version, now_ns)
            views.append(SideView(side, target, budget, reduce_lots, floor_u, is_paused))
        diff = self._reconciler.diff(self.orders, (views[0], views[1]), now_ns)
        gate_view = GateView(
            fair_ticks=fair,
            floor_bps=quote.floor_bps,
            bid_px_ticks=bid.px_ticks,
            ask_px_ticks=ask.px_ticks,
            position_lots=lots,
            budget_bid_lots=budgets[0],
            budget_ask_lots=budgets[1],
            q_max_lots=q_max,
            is_trading=True,
        )
        return (
            View(quote, targets[0], targets[1], budgets, hold, q_max, sigma, spacing),
            diff,
            gate_view,
        )

    def _quote(self, limits: Limits, fair: float, step: int, x: float, now_ns: int) -> Quote:
        quote = self._quoter.quote(
            fair_ticks=fair,
            step_ticks=step,
            x=x,
            fee_bps=self._fee_bps,
            vol_bps_rt_s=self.volatility.bps_rt_s,
            delta=self._ladder.order_fraction(
                limits.q_max_usd, limits.q_max_usd * limits.side_budget_frac
            ),
            reference_bps=self.reference.shift_bps(self.instrument.px(fair), now_ns),
        )
        held = abs(self.position.lots)
        if held > self._max_inventory:
            self._max_inventory = held
            self._skew_at_max = quote.inventory_skew_bps
        return quote

    def _pulled(self, side: Side, x: float) -> str | None:
        """A rule that keeps a side empty; the side that reduces the position never is."""
        if side * x < 0:
            return None
        if self.risk.mode is Mode.REDUCING:
            return "reducing"
        return "position limit" if abs(x) >= 1.0 else None

    def _live_prices(self) -> dict[Side, list[int]]:
        if self._live_px_at != self.orders.version:
            bids: list[int] = []
            asks: list[int] = []
            for slot in self.orders.slots.values():
                if slot.state in _ON_THE_BOOK:
                    (bids if slot.side > 0 else asks).append(slot.target_px_ticks)
            self._live_px = {Side.BUY: bids, Side.SELL: asks}
            self._live_px_at = self.orders.version
        return self._live_px

    def _count_inside(self, now_ns: int) -> None:
        """Add the time since the last decision that an order spent inside its floor."""
        since, self._inside_since_ns = self._inside_since_ns, now_ns
        inside = self._reconciler.inside
        if not inside:
            return
        ends = [
            now_ns if cloid in self.orders.slots else self.orders.gone_at_ns(cloid) or since
            for cloid in inside
        ]
        self._inside_ns += max(0, max(ends) - since)
        inside[:] = [cloid for cloid in inside if cloid in self.orders.slots]

    def _next_wake(
        self, view: View | None, age_ns: int | None, lag_ns: int | None, now_ns: int
    ) -> int | None:
        times: list[int | None] = [
            self.orders.query_at_ns(),
            self.risk.wake_at_ns(),
            self._retry_at_ns(now_ns),
        ]
        if age_ns is not None and self.risk.mode is not Mode.HALTED:
            times.append(now_ns - age_ns + self._stale_kill_ns)
            if self.book.valid_recv_ns is not None:
                times.append(self.book.valid_recv_ns + self._stale_pull_ns)
            if lag_ns is not None:
                times.append(now_ns - lag_ns + self._stale_pull_ns)
        if view is not None:
            times.extend((view.bid.wake_ns, view.ask.wake_ns))
            times.extend(backoff.until_ns for backoff in self._backoff.values())
            if self._diagnosed_ns is not None:
                times.append(self._diagnosed_ns + _DIAGNOSTICS_NS)
            if view.quote.reference_bps is not None:
                times.append(self.reference.expires_at_ns())
            times.append(self._reconciler.ready_at_ns(now_ns))
        return min((at for at in times if at is not None and at > now_ns), default=None)

    def _retry_at_ns(self, now_ns: int) -> int | None:
        """When the next cancel may be repeated; one that may already hides no later one."""
        return min(
            (
                slot.retry_ns
                for slot in self.orders.slots.values()
                if slot.retry_ns > now_ns and slot.state in CANCELLABLE
            ),
            default=None,
        )

    def _status(self, blocked: str | None, view: View | None) -> Status:
        if blocked is not None:
            return Status(self.risk.mode, (blocked,))
        if view is None:
            return Status(self.risk.mode, (self.book.invalid or "no fair price",))
        reasons: tuple[str, ...] = ()
        if view.bid.pulled is not None:
            reasons += (f"bid: {view.bid.pulled}",)
        if view.ask.pulled is not None:
            reasons += (f"ask: {view.ask.pulled}",)
        if self._reconciler.requests.is_spent:
            reasons += ("requests spent",)
        return Status(self.risk.mode, reasons)

    # -- reports ----------------------------------------------------------------------------------

    def _capture(self, view: View | None, batch: Batch | None, now_ns: int) -> Capture | None:
        if view is None:
            return None
        last = self._diagnosed_ns
        if batch is None and last is not None and now_ns - last < _DIAGNOSTICS_NS:
            return None
        self._diagnosed_ns = now_ns
        orders = self.orders
        return Capture(
            view,
            self.instrument,
            now_ns,
            self.risk.mode,
            self.book.mid_ticks,
            self.position.lots,
            (orders.exposure_lots(Side.BUY), orders.exposure_lots(Side.SELL)),
            self.risk.equity_usd,
            self._reconciler.requests.left,
        )

    def summary(self) -> Summary:
        """What the session did so far."""
        px = self.book.last_mid_ticks or self._mark_ticks
        return summarise(
            self.position,
            self.markouts,
            self.instrument,
            px_ticks=px,
            max_drawdown_frac=self.risk.max_drawdown_frac,
            skew_at_max_bps=self._skew_at_max,
            max_inventory_lots=self._max_inventory,
            resting_orders=len(self.orders.slots),
            inside_ns=self._inside_ns,
        )

    def _note_dropped(self, dropped: list[Note], now_ns: int) -> None:
        """Log what the gate dropped, a given reason on a given side once a second."""
        for note in dropped:
            key = (str(note.facts["side"]), str(note.facts["reason"]))
            if now_ns - self._dropped_ns.get(key, -NS_PER_S) >= NS_PER_S:
                self._dropped_ns[key] = now_ns
                self._notes.append(note)

    def _note(self, event: str, level: str, **facts: int | float | str | bool | None) -> None:
        self._notes.append(Note(event, level, facts))

    def _drain(self) -> tuple[Note, ...]:
        if not (self._notes or self.orders.notes or self.risk.notes):
            return ()
        notes = (*self._notes, *self.orders.notes, *self.risk.notes)
        self._notes.clear()
        self.orders.notes.clear()
        self.risk.notes.clear()
        return notes
