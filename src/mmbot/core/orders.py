"""
Our orders as far as we know them: one slot per cloid, and the worst case of what each side could
still do to the position.

The events of the old and the new leg of a move come in either order; oids grow, which tells an
outdated report from news.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmbot.core.events import (
    Acked,
    Fill,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Cancel, Move, Note, Place, Query
from mmbot.core.slots import NEXT_STATE, News, Slot, SlotState
from mmbot.core.types import NS_PER_S, Side

__all__ = ["NEXT_STATE", "REQUERY_NS", "SETTLE_NS", "News", "Orders", "Slot", "SlotState"]

SETTLE_NS = 10 * NS_PER_S
"""After this long an unanswered request can no longer take effect: it carries an expiry of seconds.
Then the absence of its order from an open-orders reading is an answer."""

REQUERY_NS = 5 * NS_PER_S
_DEAD_KEPT = 2048


_WHOLE_REFUSALS = frozenset(
    {
        Rejection.TICK,
        Rejection.SIZE,
        Rejection.BUDGET,
        Rejection.POST_ONLY_WINDOW,
        Rejection.NONCE,
        Rejection.EXPIRED,
        Rejection.AUTH,
        Rejection.HALTED,
    }
)
"""Refusals made before the engine of the venue touched any order."""

_PENDING = {
    Request.PLACE: SlotState.PLACING,
    Request.MOVE: SlotState.MOVING,
    Request.CANCEL: SlotState.CANCELLING,
}
_UNANSWERED = {
    Request.PLACE: News.PLACE_UNANSWERED,
    Request.MOVE: News.MOVE_UNANSWERED,
    Request.CANCEL: News.CANCEL_UNANSWERED,
}
_PROOFS = frozenset({News.PLACED, News.MOVED, News.OPEN_SAME, News.OPEN_NEW})
_CANCEL_RETRY_NS = NS_PER_S


class Orders:
    """
    The order table.

    `cloid_prefix` (64 bits) makes this run's cloids: `prefix << 64 | counter`. The top 16 bits of
    the prefix mark every order of this program: a leftover of an earlier run is taken over, to be
    cancelled; anything else at the venue is somebody's and is left alone.
    """

    __slots__ = (
        "_counter",
        "_dead",
        "_exposure",
        "_magic",
        "_oids",
        "_prefix",
        "_sorted",
        "_sorted_at",
        "_waiting",
        "_worst",
        "notes",
        "slots",
        "version",
    )

    def __init__(self, cloid_prefix: int) -> None:
        if not 0 < cloid_prefix < 1 << 64:
            msg = f"cloid_prefix must be a positive 64-bit number, got {cloid_prefix}"
            raise ValueError(msg)
        self._prefix = cloid_prefix << 64
        self._magic = cloid_prefix >> 48
        self._counter = 0
        self.slots: dict[int, Slot] = {}
        self.version = 0
        """Grows with every change, so that nothing is recomputed on a quiet table."""
        self.notes: list[Note] = []
        self._dead: dict[int, tuple[Slot, bool, int]] = {}
        self._oids: dict[int, int] = {}
        self._sorted: dict[Side, list[Slot]] = {Side.BUY: [], Side.SELL: []}
        self._exposure = {Side.BUY: 0, Side.SELL: 0}
        self._worst = {Side.BUY: 0, Side.SELL: 0}
        self._waiting: list[Slot] = []
        self._sorted_at = -1

    # -- reading ------------------------------------------------------------------------------

    def side(self, side: Side) -> list[Slot]:
        """Slots of one side, nearest to the market first."""
        self._refresh()
        return self._sorted[side]

    def exposure_lots(self, side: Side) -> int:
        """Everything on a side that is not confirmed gone: resting, pending, unknown, owed."""
        self._refresh()
        return self._exposure[side]

    def worst_lots(self, side: Side) -> int:
        """`exposure_lots` with both legs of every move: the bound of the position limit itself."""
        self._refresh()
        return self._worst[side]

    def gone_at_ns(self, cloid: int) -> int | None:
        """When an order was known to be gone; None while it is not, or after it is forgotten."""
        dead = self._dead.get(cloid)
        return None if dead is None else dead[2]

    def waiting(self) -> list[Slot]:
        """Slots without a verdict."""
        self._refresh()
        return self._waiting

    def _refresh(self) -> None:
        if self._sorted_at == self.version:
            return
        bids = [slot for slot in self.slots.values() if slot.side is Side.BUY]
        asks = [slot for slot in self.slots.values() if slot.side is Side.SELL]
        bids.sort(key=lambda slot: (-slot.near_px_ticks, slot.cloid))
        asks.sort(key=lambda slot: (slot.near_px_ticks, slot.cloid))
        self._sorted = {Side.BUY: bids, Side.SELL: asks}
        self._exposure = {
            Side.BUY: sum(slot.exposure_lots for slot in bids),
            Side.SELL: sum(slot.exposure_lots for slot in asks),
        }
        self._worst = {
            Side.BUY: sum(slot.worst_lots for slot in bids),
            Side.SELL: sum(slot.worst_lots for slot in asks),
        }
        self._waiting = [slot for slot in self.slots.values() if slot.state is SlotState.UNKNOWN]
        self._sorted_at = self.version

    def queries(self, now_ns: int) -> tuple[Query, ...]:
        """Questions due now: every slot without a verdict, again after a while."""
        due: list[Query] = []
        for slot in self.waiting():
            if slot.queried_ns < 0 or now_ns - slot.queried_ns >= REQUERY_NS:
                slot.queried_ns = now_ns
                due.append(Query(slot.cloid))
        return tuple(due)

    def query_at_ns(self) -> int | None:
        """When the next question is due."""
        waiting = self.waiting()
        if not waiting:
            return None
        return min(slot.queried_ns + REQUERY_NS if slot.queried_ns >= 0 else 0 for slot in waiting)

    # -- our own requests -----------------------------------------------------------------------

    def new_cloid(self) -> int:
        """A number no order of ours ever had."""
        self._counter += 1
        return self._prefix | self._counter

    def sent(
        self,
        cancels: Sequence[Cancel],
        moves: Sequence[Move],
        places: Sequence[Place],
        now_ns: int,
    ) -> None:
        """Mark what leaves: until its verdict nothing else is sent for these orders."""
        for cancel in cancels:
            slot = self.slots[cancel.cloid]
            slot.state, slot.cause, slot.sent_ns = SlotState.CANCELLING, Request.CANCEL, now_ns
        for move in moves:
            slot = self.slots[move.cloid]
            slot.state, slot.cause, slot.sent_ns = SlotState.MOVING, Request.MOVE, now_ns
            slot.next_px_ticks, slot.next_sz_lots = move.px_ticks, move.sz_lots
            slot.is_reduce_only, slot.is_old_over = move.is_reduce_only, False
        for place in places:
            self.slots[place.cloid] = Slot(
                cloid=place.cloid,
                side=place.side,
                px_ticks=place.px_ticks,
                sz_lots=place.sz_lots,
                state=SlotState.PLACING,
                sent_ns=now_ns,
                is_reduce_only=place.is_reduce_only,
            )
        self.version += 1

    # -- what the venue says ----------------------------------------------------------------------

    def on_acked(self, event: Acked) -> None:
        """An element of a batch was accepted."""
        slot = self.slots.get(event.cloid)
        if slot is None:
            self._raise_dead(event.cloid, event.oid, event.recv_ns)
            return
        if event.request is Request.CANCEL:
            if slot.state is SlotState.CANCELLING or slot.cause is Request.CANCEL:
                self._step(slot, News.CANCELLED, event.recv_ns)
            return
        if event.request is not slot.cause:
            return
        if event.is_filled:
            # The amount comes from fills alone; until they add up the rest of the order counts.
            if slot.state in (SlotState.PLACING, SlotState.MOVING, SlotState.UNKNOWN):
                self._take_leg(slot, event.oid or slot.oid + 1)
                self._finish(slot, slot.sz_lots, is_new=True, recv_ns=event.recv_ns)
            return
        if slot.state not in (SlotState.PLACING, SlotState.MOVING, SlotState.UNKNOWN):
            return
        if event.oid is not None:
            self._take_leg(slot, event.oid)
        news = News.PLACED if event.request is Request.PLACE else News.MOVED
        self._step(slot, news, event.recv_ns)

    def on_rejected(self, event: Rejected) -> None:
        """An element of a batch was refused: nothing of it was executed."""
        slot = self.slots.get(event.cloid)
        if slot is None or event.request is not slot.cause:
            return
        if slot.state is not _PENDING[event.request] and slot.state is not SlotState.UNKNOWN:
            return
        if event.request is Request.PLACE:
            self._step(slot, News.PLACE_REFUSED, event.recv_ns)
            return
        is_gone = event.reason is Rejection.GONE
        if event.request is Request.CANCEL:
            slot.retry_ns = event.recv_ns + _CANCEL_RETRY_NS
            self._step(slot, News.GONE if is_gone else News.CANCEL_REFUSED, event.recv_ns)
            return
        if slot.is_old_over:
            # Both legs are accounted for: the old one ended, the new one was refused.
            self._drop_next(slot)
            self._finish(slot, slot.sz_lots, is_new=True, recv_ns=event.recv_ns)
            return
        if is_gone:
            self._drop_next(slot)
            self._step(slot, News.GONE, event.recv_ns)
            return
        self._drop_next(slot)
        slot.is_suspect = slot.is_suspect or event.reason not in _WHOLE_REFUSALS
        self._step(slot, News.MOVE_REFUSED, event.recv_ns)

    def on_unanswered(self, event: OutcomeUnknown) -> None:
        """A request got no verdict."""
        slot = self.slots.get(event.cloid)
        if slot is None or slot.state is not _PENDING[event.request]:
            return
        slot.queried_ns = -1
        self._step(slot, _UNANSWERED[event.request], event.recv_ns)

    def on_missing(self, event: OrderMissing) -> None:
        """The venue has never heard of a cloid."""
        slot = self.slots.get(event.cloid)
        if slot is not None:
            self._step(slot, News.MISSING, event.recv_ns)

    def on_fill(self, fill: Fill) -> Slot | None:
        """Deduct a fill that `Position` has booked; the slot it belonged to, None if not ours."""
        cloid = fill.cloid if fill.cloid is not None else self._oids.get(fill.oid)
        slot = self.slots.get(cloid) if cloid is not None else None
        if slot is None:
            return None
        if fill.oid < slot.oid:
            return slot
        if fill.oid > slot.oid:
            self._take_leg(slot, fill.oid)
            slot.px_ticks = fill.px_ticks
            if slot.state in (SlotState.PLACING, SlotState.MOVING, SlotState.UNKNOWN):
                self._step(slot, News.OPEN_NEW, fill.recv_ns)
        slot.filled_lots = min(slot.sz_lots, slot.filled_lots + fill.sz_lots)
        self.version += 1
        if slot.rest_lots == 0:
            if slot.state is SlotState.MOVING:
                slot.is_old_over = True
            self._step(slot, News.DONE_SAME, fill.recv_ns)
        return slot

    def on_update(self, update: OrderUpdate) -> None:
        """Fold the venue's report of one order (stream, status query)."""
        cloid = update.cloid if update.cloid is not None else self._oids.get(update.oid)
        if cloid is None:
            return
        slot = self.slots.get(cloid)
        if slot is None:
            if update.state is OrderState.OPEN:
                self._raise_dead(cloid, update.oid, update.recv_ns)
            return
        if update.oid < slot.oid:
            return
        is_new = update.oid > slot.oid
        if update.state is OrderState.UNKNOWN:
            self._step(slot, News.UNREADABLE, update.recv_ns)
        elif update.state is OrderState.OPEN:
            self._opened(slot, update, is_new=is_new)
        elif update.state is OrderState.REJECTED:
            self._refused_later(slot, update, is_new=is_new)
        else:
            if is_new and slot.state is not SlotState.CANCELLING:
                self._take_leg(slot, update.oid)
            if update.state is OrderState.FILLED:
                done = slot.sz_lots
            else:
                # A cancelled order reports what was left; zero there is no information.
                done = update.orig_sz_lots - update.sz_lots if update.sz_lots > 0 else 0
            is_stale_move = (
                slot.state is SlotState.UNKNOWN
                and slot.is_two_legged
                and update.recv_ns < slot.sent_ns + SETTLE_NS
            )
            if is_stale_move and not is_new:
                # The old leg of an unanswered move ended; the new one may still appear.
                slot.is_old_over = True
                slot.sz_lots = max(slot.filled_lots, done)
                self.version += 1
                return
            self._finish(slot, done, is_new=is_new, recv_ns=update.recv_ns)

    def on_snapshot(self, snapshot: Snapshot) -> int:
        """
        Settle the table against the venue's open orders as read from `requested_at_ns` on.

        Returns the number of orders taken over, which the table did not know.

        An order known before the reading began and absent from it is gone; one sent later is
        judged by its own verdict. The position comes with the same reading, so fills still owed
        are in it.
        """
        since = snapshot.requested_at_ns
        present: dict[int, OrderUpdate] = {}
        for update in snapshot.open_orders:
            cloid = update.cloid if update.cloid is not None else self._oids.get(update.oid)
            if cloid is None or (cloid >> 112 != self._magic and cloid not in self.slots):
                self._note("order.foreign", "info", oid=update.oid, status=update.status)
                continue
            present[cloid] = update
        for slot in list(self.slots.values()):
            report = present.pop(slot.cloid, None)
            if report is not None:
                self.on_update(report)
                if slot.cloid in self.slots:
                    self._trust(slot, report)
                continue
            if slot.state in (SlotState.PLACING, SlotState.MOVING):
                continue
            is_unknown = slot.state is SlotState.UNKNOWN
            if (slot.sent_ns + SETTLE_NS if is_unknown else slot.seen_ns) < since:
                self._bury(slot, since, is_final=False)
        adopted = 0
        for cloid, update in present.items():
            dead = self._dead.get(cloid)
            if dead is not None and dead[2] >= since:
                continue
            self._adopt(cloid, update)
            adopted += 1
        return adopted

    # -- internals --------------------------------------------------------------------------------

    def _opened(self, slot: Slot, update: OrderUpdate, *, is_new: bool) -> None:
        if not is_new:
            if slot.state is SlotState.UNKNOWN and slot.is_two_legged:
                # The question was asked after the move: it has not landed, and if it still does,
                # its newer oid will say so.
                self._drop_next(slot)
            self._step(slot, News.OPEN_SAME, update.recv_ns)
            return
        if slot.state in (SlotState.SETTLING, SlotState.CANCELLING):
            return
        self._take_leg(slot, update.oid)
        slot.px_ticks = update.px_ticks
        if update.orig_sz_lots >= slot.filled_lots:
            slot.sz_lots = update.orig_sz_lots
        self._step(slot, News.OPEN_NEW, update.recv_ns)

    def _refused_later(self, slot: Slot, update: OrderUpdate, *, is_new: bool) -> None:
        """The engine of the venue refused an order after its batch was accepted."""
        if slot.state is SlotState.MOVING:
            # The reply to the request says the same and is waited for.
            return
        if slot.state is SlotState.UNKNOWN and slot.is_two_legged and not slot.is_old_over:
            self._drop_next(slot)
            slot.is_suspect = True
            self._step(slot, News.MOVE_REFUSED, update.recv_ns)
            return
        self._finish(slot, 0, is_new=is_new, recv_ns=update.recv_ns)

    def _finish(self, slot: Slot, done_lots: int, *, is_new: bool, recv_ns: int) -> None:
        """The current leg is off the book after `done_lots` of it filled, as the venue says."""
        slot.sz_lots = max(slot.filled_lots, min(done_lots, slot.sz_lots))
        self.version += 1
        if slot.state is SlotState.MOVING and not is_new:
            slot.is_old_over = True
        if slot.rest_lots == 0:
            news = News.DONE_NEW if is_new else News.DONE_SAME
        else:
            news = News.OWED_NEW if is_new else News.OWED_SAME
        if not (slot.state is SlotState.MOVING and not is_new):
            self._drop_next(slot)
        self._step(slot, news, recv_ns)

    def _take_leg(self, slot: Slot, oid: int) -> None:
        """A newer oid is the current leg: of a first placement, or of the move in flight."""
        if oid <= slot.oid:
            return
        if slot.next_sz_lots:
            slot.px_ticks, slot.sz_lots = slot.next_px_ticks, slot.next_sz_lots
            self._drop_next(slot)
        slot.filled_lots = 0
        slot.oid = oid
        self._oids[oid] = slot.cloid
        self.version += 1

    @staticmethod
    def _drop_next(slot: Slot) -> None:
        slot.next_px_ticks = slot.next_sz_lots = 0
        slot.is_old_over = False

    def _step(self, slot: Slot, news: News, recv_ns: int) -> None:
        state = NEXT_STATE[slot.state, news]
        self.version += 1
        if state is SlotState.EMPTY:
            is_final = news in (News.DONE_SAME, News.DONE_NEW, News.CANCELLED)
            self._bury(slot, recv_ns, is_final=is_final)
            return
        if state is SlotState.UNKNOWN and slot.state is not SlotState.UNKNOWN:
            slot.queried_ns = -1
        if news in _PROOFS:
            slot.seen_ns = recv_ns
        slot.state = state
        if state is SlotState.WORKING and slot.next_sz_lots:
            if news is News.MOVED:
                # Accepted without naming an oid: the new leg rests at what we asked for.
                slot.px_ticks, slot.sz_lots = slot.next_px_ticks, slot.next_sz_lots
                slot.filled_lots = 0
            self._drop_next(slot)

    def _bury(self, slot: Slot, at_ns: int, *, is_final: bool) -> None:
        self.slots.pop(slot.cloid, None)
        self._oids.pop(slot.oid, None)
        self._dead[slot.cloid] = (slot, is_final, at_ns)
        if len(self._dead) > _DEAD_KEPT:
            del self._dead[next(iter(self._dead))]
        self.version += 1

    def _raise_dead(self, cloid: int, oid: int | None, recv_ns: int) -> None:
        """
        The venue speaks of an order that we wrote off without seeing its end.

        It is taken back, to be cancelled: what rests is more certain than what was concluded.
        """
        dead = self._dead.get(cloid)
        if dead is None or dead[1] or oid is None or oid < dead[0].oid:
            return
        slot = dead[0]
        del self._dead[cloid]
        self._drop_next(slot)
        slot.oid = oid
        slot.state, slot.is_suspect, slot.seen_ns = SlotState.WORKING, True, recv_ns
        self.slots[cloid] = slot
        self._oids[oid] = cloid
        self.version += 1
        self._note("order.revived", "warning", cloid=f"{cloid:#034x}", oid=oid)

    def _trust(self, slot: Slot, report: OrderUpdate) -> None:
        """Take the remaining size of a snapshot: its position holds the fills that explain it."""
        if slot.oid == report.oid and report.sz_lots <= slot.sz_lots:
            slot.filled_lots = max(slot.filled_lots, slot.sz_lots - report.sz_lots)
            self.version += 1

    def _adopt(self, cloid: int, update: OrderUpdate) -> None:
        self._dead.pop(cloid, None)
        self.slots[cloid] = Slot(
            cloid=cloid,
            side=update.side,
            px_ticks=update.px_ticks,
            sz_lots=update.sz_lots,
            state=SlotState.WORKING,
            sent_ns=update.recv_ns,
            oid=update.oid,
            seen_ns=update.recv_ns,
            is_suspect=True,
        )
        self._oids[update.oid] = cloid
        self.version += 1
        self._note("order.adopted", "warning", cloid=f"{cloid:#034x}", oid=update.oid)

    def _note(self, event: str, level: str, **facts: int | float | str | bool | None) -> None:
        self.notes.append(Note(event, level, facts))
