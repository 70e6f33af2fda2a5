"""The order table: what we send, its verdicts, and the readings it is settled against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmbot.core.events import (
    Acked,
    Fill,
    OrderMissing,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Cancel, Move, Place, Query
from mmbot.core.orders.departed import READ_LAG_NS, End
from mmbot.core.orders.reports import Reports
from mmbot.core.slots import CANCELLING, MOVING, PLACING, News, Slot
from mmbot.core.types import NS_PER_S

SETTLE_NS: Final = 10 * NS_PER_S
"""After this long an unanswered placement or move can no longer take effect, since it carries an
expiry of seconds: the default of `Orders.settle_ns`."""

REQUERY_NS: Final = 5 * NS_PER_S

_WHOLE_REFUSALS: Final = frozenset(
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

_PENDING: Final = {
    Request.PLACE: PLACING,
    Request.MOVE: MOVING,
    Request.CANCEL: CANCELLING,
}
_UNANSWERED: Final = {
    Request.PLACE: News.PLACE_UNANSWERED,
    Request.MOVE: News.MOVE_UNANSWERED,
    Request.CANCEL: News.CANCEL_UNANSWERED,
}
_CANCEL_RETRY_NS: Final = NS_PER_S


class Orders(Reports):
    """
    The order table.

    `cloid_prefix` (64 bits) makes this run's cloids: `prefix << 64 | counter`. The top 16 bits of
    the prefix mark every order of this program: a leftover of an earlier run is taken over, to be
    cancelled; anything else at the venue is somebody's and is left alone.

    `settle_ns` is the time after sending at which a placement or move can no longer take effect:
    its expiry and the lag of what is read of it. Until then, and unless the venue has answered,
    both what was and what may come count.
    """

    __slots__ = ("_counter", "settle_ns")

    def __init__(self, cloid_prefix: int, *, settle_ns: int = SETTLE_NS) -> None:
        if not 0 < cloid_prefix < 1 << 64:
            msg = f"cloid_prefix must be a positive 64-bit number, got {cloid_prefix}"
            raise ValueError(msg)
        super().__init__(cloid_prefix)
        self._counter = 0
        self.settle_ns = settle_ns

    # -- questions --------------------------------------------------------------------------------

    def queries(self, now_ns: int) -> tuple[Query, ...]:
        """Questions due now: every slot without a verdict, again after a while."""
        if self._departed.expire(now_ns):
            self._owed_changed()
        due: list[Query] = []
        for slot in self.waiting():
            if now_ns >= _query_at_ns(slot):
                slot.queried_ns = now_ns
                due.append(Query(slot.cloid))
        return tuple(due)

    def query_at_ns(self) -> int | None:
        """When the next question is due."""
        waiting = self.waiting()
        return min(map(_query_at_ns, waiting)) if waiting else None

    # -- our own requests -----------------------------------------------------------------------

    def explains(self, fill: Fill) -> bool:
        """Whether a fill is of an order of this run, or of one that it has taken over."""
        cloid = fill.cloid if fill.cloid is not None else self._departed.cloid_of(fill.oid)
        if cloid is None:
            return False
        return cloid >> 64 == self._prefix >> 64 or (
            cloid in self.slots or self._departed.get(cloid) is not None
        )

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
        """
        Mark what leaves.

        A placement or move is sent for nothing that waits for a verdict. A cancel may be sent for
        anything: what it overtakes still counts until it is known to have come to nothing.
        """
        for cancel in cancels:
            slot = self.slots[cancel.cloid]
            slot.state, slot.cause, slot.sent_ns = CANCELLING, Request.CANCEL, now_ns
            slot.is_gone = False
        lands_until_ns = now_ns + self.settle_ns
        for move in moves:
            slot = self.slots[move.cloid]
            slot.state, slot.cause, slot.sent_ns = MOVING, Request.MOVE, now_ns
            slot.next_px_ticks, slot.next_sz_lots = move.px_ticks, move.sz_lots
            slot.next_is_reduce_only = move.is_reduce_only
            slot.lands_until_ns = lands_until_ns
            slot.is_old_over = slot.is_gone = False
        for place in places:
            self.slots[place.cloid] = Slot(
                place.cloid,
                place.side,
                place.px_ticks,
                place.sz_lots,
                PLACING,
                now_ns,
                is_reduce_only=place.is_reduce_only,
                lands_until_ns=lands_until_ns,
            )
        self.version += 1

    # -- verdicts ---------------------------------------------------------------------------------

    def on_acked(self, event: Acked) -> None:
        """An element of a batch was accepted."""
        slot = self.slots.get(event.cloid)
        if event.request is Request.CANCEL:
            if slot is not None and slot.cause is Request.CANCEL:
                self._step(slot, News.CANCELLED, event.recv_ns)
            return
        if slot is None:
            if event.oid is not None:
                self._raise_dead(event.cloid, event.oid, event.recv_ns)
            return
        # A report may have told it already, and more may have been sent since.
        is_told = event.oid is not None and event.oid <= slot.oid
        if is_told or not _is_out(slot, event.request):
            return
        # Without an oid it is a newer one than the last.
        self._take_leg(slot, event.oid or slot.oid + 1, event.recv_ns)
        if event.is_filled:
            # The amount comes from fills alone; until they add up the rest of the order counts.
            self._finish(slot, slot.sz_lots, is_new=True, recv_ns=event.recv_ns)
            return
        news = News.PLACED if event.request is Request.PLACE else News.MOVED
        self._step(slot, news, event.recv_ns)

    def on_rejected(self, event: Rejected) -> None:
        """An element of a batch was refused: nothing of it was executed."""
        slot = self.slots.get(event.cloid)
        if slot is None:
            return
        is_gone = event.reason is Rejection.GONE
        if event.request is Request.CANCEL:
            if slot.cause is Request.CANCEL:
                slot.retry_ns = event.recv_ns + _CANCEL_RETRY_NS
                slot.is_gone = is_gone
                self._step(slot, News.GONE if is_gone else News.CANCEL_REFUSED, event.recv_ns)
            return
        if not _is_out(slot, event.request):
            return
        if event.request is Request.PLACE:
            self._step(slot, News.PLACE_REFUSED, event.recv_ns)
            return
        if slot.is_old_over:
            # Both legs are accounted for: the old one ended, the new one was refused.
            self._finish(slot, slot.sz_lots, is_new=True, recv_ns=event.recv_ns)
            return
        self._drop_next(slot)
        slot.is_gone = is_gone
        slot.is_suspect |= not is_gone and event.reason not in _WHOLE_REFUSALS
        if slot.state is not CANCELLING:
            self._step(slot, News.GONE if is_gone else News.MOVE_REFUSED, event.recv_ns)
        self.version += 1

    def on_unanswered(self, event: OutcomeUnknown) -> None:
        """A request got no verdict."""
        slot = self.slots.get(event.cloid)
        if slot is None or slot.state is not _PENDING[event.request]:
            return
        if event.request is Request.CANCEL:
            # With the venue out of reach it fails at once, and would be sent again at once.
            slot.retry_ns = event.recv_ns + _CANCEL_RETRY_NS
        self._step(slot, _UNANSWERED[event.request], event.recv_ns)

    def on_missing(self, event: OrderMissing) -> None:
        """The venue has never heard of a cloid."""
        slot = self.slots.get(event.cloid)
        if slot is None:
            return
        if slot.cause is Request.CANCEL and event.recv_ns < slot.lands_until_ns:
            # Who asks knows how long the newest request may take. This one overtook another.
            return
        self._step(slot, News.MISSING, event.recv_ns)

    # -- readings ---------------------------------------------------------------------------------

    def on_snapshot(self, snapshot: Snapshot) -> int:
        """
        Settle the table against the venue's open orders as read from `requested_at_ns` on.

        Returns the number of orders taken over, which the table did not know.

        An order known for longer than a reading may lag and absent from it is gone; one that is
        younger is asked about, and one still on its way is judged by its own verdict. The position
        comes with the same reading, so fills still owed are in it.
        """
        since = snapshot.requested_at_ns
        present: dict[int, OrderUpdate] = {}
        for update in snapshot.open_orders:
            cloid = (
                update.cloid if update.cloid is not None else self._departed.cloid_of(update.oid)
            )
            if cloid is None or (cloid >> 112 != self._magic and cloid not in self.slots):
                self._note("order.foreign", "info", oid=update.oid, status=update.status)
                continue
            present[cloid] = update
        for slot in list(self.slots.values()):
            report = present.pop(slot.cloid, None)
            if report is None:
                self._absent(slot, since, snapshot.recv_ns)
                continue
            self._report(report, since)
            if self.slots.get(slot.cloid) is slot and slot.oid == report.oid:
                self._trust(slot, report, snapshot.recv_ns)
        adopted = 0
        for cloid, update in present.items():
            dead = self._departed.get(cloid)
            # A reading shows an order for a while after its end, not after we gave it up.
            if dead is None or dead.end is End.ABSENT or dead.at_ns + READ_LAG_NS < since:
                self._adopt(cloid, update)
                adopted += 1
        return adopted

    def _absent(self, slot: Slot, since_ns: int, recv_ns: int) -> None:
        """A reading begun at `since_ns` does not show an order."""
        if slot.state in (PLACING, MOVING) or since_ns <= slot.lands_until_ns:
            return
        if since_ns <= slot.seen_ns:
            return
        if since_ns <= slot.seen_ns + READ_LAG_NS:
            self._step(slot, News.UNSEEN, recv_ns)
            return
        self._bury(slot, recv_ns, End.ABSENT)

    def _trust(self, slot: Slot, report: OrderUpdate, recv_ns: int) -> None:
        """
        Take the remaining size of a reading: its position holds the fills that explain it.

        The fills themselves may come later, and until then the position may lag behind.
        """
        done = slot.sz_lots - report.sz_lots
        if done > max(slot.filled_lots, slot.done_lots):
            slot.done_lots = done
            booked = (done, slot.filled_lots)
            self._departed.owe(slot, slot.oid, booked, recv_ns + READ_LAG_NS)
            self.version += 1


def _query_at_ns(slot: Slot) -> int:
    """When a slot without a verdict is asked about: at once, again, and when nothing can come."""
    asked_ns = slot.queried_ns
    if asked_ns < 0:
        return 0
    if asked_ns < slot.lands_until_ns:
        return min(asked_ns + REQUERY_NS, slot.lands_until_ns)
    return asked_ns + REQUERY_NS


def _is_out(slot: Slot, request: Request) -> bool:
    """Whether the outcome of a placement or move, whichever is named, is still open."""
    return bool(slot.lands_until_ns) and (request is Request.MOVE) is slot.is_two_legged
