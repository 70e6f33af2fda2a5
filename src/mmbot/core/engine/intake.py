"""
The state of one instrument, and how every event changes it. Nothing is decided here.

An order, a fill or a payment that is news is noted for the log; the notes leave with the next
decision.

A handler for each event, all on the same state: parts of it would hand that state to each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from mmbot.core.alarms import Alarms
from mmbot.core.backoff import Backoff
from mmbot.core.book import BookState
from mmbot.core.engine.params import EngineParams
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import (
    AccountRead,
    Acked,
    AssetCtx,
    Bbo,
    Book,
    ClockStepped,
    Command,
    CommandKind,
    DayBegan,
    Event,
    Fill,
    Funding,
    JournalLag,
    LedgerEnds,
    LinkLost,
    LinkUp,
    Listing,
    Measured,
    OrderMissing,
    OrderUpdate,
    OutcomeUnknown,
    ReferencePx,
    Rejected,
    Rejection,
    Request,
    RequestsLeft,
    Snapshot,
    Trades,
)
from mmbot.core.footprint import NO_ORDERS, Footprint
from mmbot.core.intents import Note
from mmbot.core.markout import Markouts
from mmbot.core.orders import Orders
from mmbot.core.position import Position
from mmbot.core.premises import Premises
from mmbot.core.reconcile import Reconciler
from mmbot.core.risk import Day, Limits, Risk
from mmbot.core.signals import Signals
from mmbot.core.slots import SlotState
from mmbot.core.types import NS_PER_S, Instrument, Mode
from mmbot.core.vitals import Filled

_RUN_BITS = 48
_FAMILY_SHIFT = 64 + _RUN_BITS
"""Of a cloid, the highest 16 bits are of all runs of this program and the 48 below of one."""
_FILLED_MAX = 200
RESTART_STEP_NS = 5 * NS_PER_S
"""Step of our clock from which estimates begin anew. A smaller one costs them as much time."""


class Intake:
    """
    All that is known, folded from the events.

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
        self.signals = Signals(params, params.quoter)
        self.risk = Risk(params.risk)
        self.alarms = Alarms(params.kill, self.risk, instrument, params.risk.leverage)
        self.premises = Premises(params.premises)
        self._reconciler = Reconciler(params.reconcile)
        self._risk_params = params.risk
        self._mark_stale_ns = int(params.risk.mark_stale_s * NS_PER_S)
        self._fee_bps = 0.0
        self._taker_bps = 0.0
        self._mark_ticks: float | None = None
        self._mark_ns = 0
        self._linked_ns: int | None = None
        self._waited_ns: int | None = None
        self._snapshot_ns: int | None = None
        self.ctx_ns: int | None = None
        """When the venue's mark came last by its stream."""
        self.account_ns: int | None = None
        """When the account was read last."""
        self._gap_lots = 0
        """By how much the venue's position differed from ours when it was compared last."""
        self._compared = (0, 0)
        """That position, and the venue's time of it."""
        self._family = cloid_prefix >> _RUN_BITS
        self._ledger_ms: int | None = None
        """Time of the last fill that earlier runs have seen; None where nothing is known of it."""
        self._filled: deque[Filled] = deque(maxlen=_FILLED_MAX)
        """What the vitals have not been told of yet."""
        self._is_stopping = False
        self._is_unrecorded = False
        self._notes: list[Note] = []
        backoff_s, backoff_s_max = params.reconcile.backoff_s, params.reconcile.backoff_s_max
        self._backoff = (Backoff(backoff_s, backoff_s_max), Backoff(backoff_s, backoff_s_max))
        """Of the bids and of the asks."""
        self._handlers: dict[type, Callable[[Any], None]] = {
            Bbo: self._on_book,
            Book: self._on_book,
            AssetCtx: self._on_ctx,
            ReferencePx: self._on_reference,
            Trades: self._on_trades,
            Fill: self._on_fill,
            Funding: self._on_funding,
            OrderUpdate: self._on_update,
            Acked: self._on_acked,
            Rejected: self._on_rejected,
            OutcomeUnknown: self._on_unanswered,
            OrderMissing: self.orders.on_missing,
            ClockStepped: self._on_clock,
            LinkUp: self._on_link_up,
            LinkLost: self._on_link_lost,
            Snapshot: self._on_snapshot,
            RequestsLeft: self._on_requests,
            Command: self._on_command,
            JournalLag: self._on_journal_lag,
            AccountRead: self._on_account,
            Measured: self._on_measured,
            Listing: self.premises.on_listing,
            DayBegan: self._on_day,
            LedgerEnds: self._on_ledger,
        }

    @property
    def mode(self) -> Mode:
        """The risk mode."""
        return self.risk.mode

    @property
    def limits(self) -> Limits | None:
        """Effective limits; None before the first snapshot."""
        return self.risk.limits

    @property
    def missing_lots(self) -> int:
        """The venue's position less what our fills explain, as it was compared last."""
        return self._gap_lots or self.position.adopted_lots

    @property
    def memory(self) -> CascadeMemory:
        """What must survive a restart; the same object until it changes."""
        return self.signals.memory()

    def restore(self, memory: CascadeMemory, now_ns: int) -> None:
        """
        Go on from what an earlier run remembered.

        Raises:
            StateError: It cannot be a memory at this time.
        """
        self.signals.restore(memory, now_ns)

    def reconfigure(self, params: EngineParams, now_ns: int) -> None:
        """
        Go on with other parameters, those alone that are marked reloadable in their models.

        For between two decisions. The others must be those of the start: they made the estimates,
        and they are the limits that the kill switch holds figures against.
        """
        del now_ns  # for whoever keeps a record of it
        self.signals.retune(params, params.quoter)
        self._reconciler.retune(params.reconcile)

    # -- events -----------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Fold one event into state."""
        self._handler_of(event)(event)

    def _handler_of(self, event: Event) -> Callable[[Any], None]:
        handler = self._handlers.get(type(event))
        if handler is None:
            msg = f"unknown event {type(event).__name__}"
            raise TypeError(msg)
        return handler

    def _on_book(self, event: Bbo | Book) -> None:
        footprint = self._footprint
        ours = NO_ORDERS if footprint is None else footprint.at(event.recv_ns)
        if not self.book.apply(event, ours):
            return
        mid = self.book.mid_ticks
        if mid is not None:
            self.signals.on_book(event.recv_ns, self.book)
            self.markouts.advance(self.book)
            self._value(event.recv_ns)

    def _on_trades(self, event: Trades) -> None:
        self.signals.on_trades(event, self.book)

    def _on_ctx(self, event: AssetCtx) -> None:
        self._mark_ticks = self.instrument.ticks(event.mark_px)
        self._mark_ns = self.ctx_ns = event.recv_ns
        self.premises.on_ctx(event)
        self.signals.on_funding_rate(event.funding_per_h)
        self._value(event.recv_ns)

    def _on_reference(self, event: ReferencePx) -> None:
        fair = self.book.fair_ticks
        fair_px = None if fair is None else self.instrument.px(fair)
        self.signals.reference.observe(event.px, event.recv_ns, event.venue_ms, fair_px)

    def _on_fill(self, fill: Fill) -> None:
        if not self.position.apply(fill):
            return
        if self._gap_lots:
            self._gap_lots = self.position.gap(*self._compared)
        is_explained = self.orders.explains(fill)
        slot = self.orders.on_fill(fill)
        edge_bps = self.markouts.on_fill(fill, self.book)
        self.signals.on_fill(fill)
        px, sz = self.instrument.px(fill.px_ticks), self.instrument.sz(fill.sz_lots)
        if not fill.is_taker and not fill.is_snapshot:
            self._filled.append(Filled(fill.venue_ms, fill.side, fill.oid, px, sz))
        self._reconciler.requests.earn(px * sz * self.instrument.request_credit)
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
        if fill.is_liquidation:
            self.alarms.on_liquidated(fill.side.name.lower(), sz, px, fill.recv_ns)
        elif not is_explained:
            self._on_foreign_fill(fill)
        self._value(fill.recv_ns)

    def _on_foreign_fill(self, fill: Fill) -> None:
        """
        Somebody trades this account beside us: closing by hand is fine, adding is not.

        By the venue's own count, not ours: a reading may have told us of it before the fill came.
        """
        before = fill.start_position_lots
        after = before + fill.side * fill.sz_lots
        if abs(after) > abs(before):
            sz = self.instrument.sz
            self.risk.foreign_fill(sz(before), sz(after), fill.recv_ns)

    def _on_funding(self, event: Funding) -> None:
        if self.position.apply_funding(event):
            self._note("funding.booked", "info", cost_usd=event.usd)
            self._value(event.recv_ns)

    def _on_acked(self, event: Acked) -> None:
        slot = self.orders.slots.get(event.cloid)
        if slot is not None and event.request is not Request.CANCEL:
            self._backoff[slot.side < 0].accepted(slot.sent_ns)
            self.premises.on_accepted(slot.sent_ns)
        self.orders.on_acked(event)

    def _on_rejected(self, event: Rejected) -> None:
        self.alarms.on_rejected(event)
        self.premises.on_rejected(event)
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
        if event.reason is Rejection.BUDGET and event.request is not Request.CANCEL:
            # The address or the account asks too much, whatever the side.
            for backoff in self._backoff:
                backoff.refused(event, sent_ns)
        elif event.request is not Request.CANCEL:
            self._backoff[side < 0].refused(event, sent_ns)
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

    def _on_update(self, event: OrderUpdate) -> None:
        self.orders.on_update(event)
        self.premises.on_update(event)

    def _on_measured(self, event: Measured) -> None:
        self.alarms.on_measured(event)
        self.premises.on_measured(event)

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

    def _on_clock(self, event: ClockStepped) -> None:
        self.book.shift_clock(event.step_ns)
        self.premises.shift_clock(event.step_ns)
        for backoff in self._backoff:
            backoff.shift_clock(event.step_ns)
        if abs(event.step_ns) >= RESTART_STEP_NS:
            self.signals = self.signals.restarted(event.recv_ns, event.step_ns)
        self._note("clock.stepped", "warning", step_s=event.step_ns / NS_PER_S)

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
        self.signals.reset_gap()

    def _on_snapshot(self, event: Snapshot) -> None:
        mark_ticks = self.instrument.ticks(event.mark_px)
        self._mark_ticks, self._mark_ns = mark_ticks, event.recv_ns
        self._fee_bps, self._taker_bps = event.fees.maker_bps, event.fees.taker_bps
        self._reconciler.requests.observe(event.requests_used, event.requests_cap)
        if not self.position.is_started:
            limits = Limits.of(self._risk_params, self.instrument, event.equity_usd)
            self.risk.start(limits, event.recv_ns)
            fills, payments = self.position.start(event.position_lots, mark_ticks, event.venue_ms)
            for fill in (*fills, *event.fills):
                self._on_fill(fill)
            self._catch_up(event)
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
            self._gap_lots = 0
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
        self._weigh(event)

    def _catch_up(self, event: Snapshot) -> None:
        """
        Let what was filled between two runs count as a sweep, if it was one.

        Orders that outlive a killed run are swept like any other. They are in the position of the
        snapshot, so nothing is booked; what came after its time was booked just now.
        """
        since_ms = self._ledger_ms
        if since_ms is None:
            return
        for fill in event.fills:
            is_ours = fill.cloid is not None and fill.cloid >> _FAMILY_SHIFT == self._family
            if is_ours and since_ms < fill.venue_ms <= event.venue_ms:
                self.signals.on_fill(msgspec.structs.replace(fill, is_snapshot=True))

    def _on_ledger(self, event: LedgerEnds) -> None:
        self._ledger_ms = event.venue_ms

    def _on_account(self, event: AccountRead) -> None:
        """Compare the venue's position with ours; a difference is adopted by a snapshot alone."""
        if not self.position.is_started:
            return
        self._compared = event.position_lots, event.venue_ms
        gap = self.position.gap(*self._compared)
        if gap and not self._gap_lots:
            sz = self.instrument.sz
            ours, theirs = sz(self.position.lots), sz(event.position_lots)
            self._note("position.differs", "warning", ours_sz=ours, venue_sz=theirs)
        self._gap_lots = gap
        self._weigh(event)

    def _weigh(self, event: Snapshot | AccountRead) -> None:
        """Hold a reading of the account against what the position needs."""
        self.account_ns = event.recv_ns
        px = self._mark_ticks
        if px is not None:
            pnl_usd = self.position.pnl_usd(px)
            self.alarms.margin.read(event, self.position, px, pnl_usd)

    def _on_day(self, event: DayBegan) -> None:
        self.risk.continue_day(Day(event.day, event.base_usd, event.pnl_usd))

    def _on_requests(self, event: RequestsLeft) -> None:
        self._reconciler.requests.observe(event.used, event.cap)

    def _on_command(self, event: Command) -> None:
        if event.kind is CommandKind.STOP:
            self._is_stopping = True
        else:
            self.risk.order_kill(event.text, event.recv_ns, is_flatten=event.is_flatten)

    def _on_journal_lag(self, event: JournalLag) -> None:
        self._is_unrecorded = event.is_late
        self.alarms.on_journal(event)
        self._note(
            "journal.late" if event.is_late else "journal.caught_up",
            "error" if event.is_late else "info",
            lag_s=event.lag_s,
            text=event.text,
        )

    def _value(self, now_ns: int) -> None:
        """Follow equity at the lower of the mid and the venue's mark."""
        if not self.position.is_started:
            return
        mid, mark = self.book.last_mid_ticks, self._mark_ticks
        if mark is None or (mid is not None and now_ns - self._mark_ns > self._mark_stale_ns):
            mark = mid
        if mark is None:
            return
        pnl = marked = self.position.pnl_usd(mark)
        if mid is not None and mid != mark:
            pnl = min(pnl, self.position.pnl_usd(mid))
        self.risk.observe(pnl, now_ns)
        self.alarms.margin.value(self.position, mark, marked, now_ns)

    def _note(self, event: str, level: str, **facts: int | float | str | bool | None) -> None:
        self._notes.append(Note(event, level, facts))

    def _drain(self) -> tuple[Note, ...]:
        """The notes since the last decision."""
        alarms, premises = self.alarms.notes, self.premises.notes
        if not (self._notes or self.orders.notes or self.risk.notes or alarms or premises):
            return ()
        notes = (*self._notes, *self.orders.notes, *premises, *alarms, *self.risk.notes)
        self._notes.clear()
        premises.clear()
        alarms.clear()
        self.orders.notes.clear()
        self.risk.notes.clear()
        return notes
