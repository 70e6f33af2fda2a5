"""
Fills and reports: what the venue says of an order unasked, or asked what became of it.

The events of the old and the new leg of a move come in either order; oids grow, which tells an
outdated report from news.
"""

from __future__ import annotations

from typing import Final

from mmbot.core.events import Fill, OrderState, OrderUpdate, Request
from mmbot.core.orders.departed import READ_LAG_NS
from mmbot.core.orders.legs import Legs
from mmbot.core.slots import MOVING, UNKNOWN, News, Slot, SlotState

_ENDED: Final = frozenset({OrderState.FILLED, OrderState.CANCELED})


class Reports(Legs):
    """The part of the order table that follows the venue's streams."""

    __slots__ = ()

    def on_fill(self, fill: Fill) -> Slot | None:
        """Deduct a fill that `Position` has booked; the slot it belonged to, None if not ours."""
        cloid = fill.cloid if fill.cloid is not None else self._departed.cloid_of(fill.oid)
        if cloid is None:
            return None
        is_expected = self._departed.on_fill(cloid, fill.oid, fill.sz_lots)
        if is_expected:
            self._owed_changed()
        slot = self.slots.get(cloid)
        if slot is None:
            dead = self._departed.get(cloid)
            if is_expected or dead is None or fill.oid <= dead.slot.oid:
                return None
            # A leg that we never heard of has filled, and may rest with what is left.
            slot = self._raise_dead(cloid, fill.oid, fill.recv_ns)
            if slot is None:
                return None
        if fill.oid < slot.oid:
            return slot
        if fill.oid > slot.oid:
            self._take_leg(slot, fill.oid, fill.recv_ns)
            slot.px_ticks = fill.px_ticks
            self._step(slot, News.OPEN_NEW, fill.recv_ns)
        slot.filled_lots = min(slot.sz_lots, slot.filled_lots + fill.sz_lots)
        self.version += 1
        if slot.rest_lots == 0:
            if slot.next_sz_lots:
                slot.is_old_over = True
            else:
                self._step(slot, News.DONE_SAME, fill.recv_ns)
        return slot

    def on_update(self, update: OrderUpdate) -> None:
        """Fold the venue's report of one order (stream, status query)."""
        self._report(update, update.recv_ns)

    def _report(self, update: OrderUpdate, as_of_ns: int) -> None:
        """Fold a report of how things stood at `as_of_ns` at the earliest."""
        cloid = update.cloid if update.cloid is not None else self._departed.cloid_of(update.oid)
        if cloid is None:
            return
        slot = self.slots.get(cloid)
        if slot is None and update.state is OrderState.OPEN:
            slot = self._raise_dead(cloid, update.oid, update.recv_ns)
            if slot is not None:
                slot.px_ticks, slot.sz_lots = update.px_ticks, _whole_lots(slot, update)
            elif self._is_left_over(cloid):
                # It was on its way when its run died, and no reading of ours has shown it.
                self._adopt(cloid, update)
            return
        if slot is None or update.oid < slot.oid:
            if update.state in _ENDED:
                done = _executed_lots(update)
                if done is not None and self._departed.on_end(cloid, update.oid, done):
                    self._owed_changed()
            return
        is_new = update.oid > slot.oid
        if update.state is OrderState.UNKNOWN:
            self._step(slot, News.UNREADABLE, update.recv_ns)
        elif update.state is OrderState.OPEN:
            self._opened(slot, update, as_of_ns, is_new=is_new)
        elif update.state is OrderState.REJECTED:
            self._refused_later(slot, update, is_new=is_new)
        else:
            self._ended(slot, update, is_new=is_new)

    def _opened(self, slot: Slot, update: OrderUpdate, as_of_ns: int, *, is_new: bool) -> None:
        if is_new:
            self._take_leg(slot, update.oid, update.recv_ns)
            slot.px_ticks = update.px_ticks
            slot.sz_lots = update.orig_sz_lots
            self._step(slot, News.OPEN_NEW, update.recv_ns)
            return
        if slot.state is SlotState.SETTLING or slot.is_old_over:
            return
        if slot.state is UNKNOWN and slot.cause is Request.CANCEL and as_of_ns < slot.sent_ns:
            # Older than the cancel whose outcome is wanted.
            return
        slot.sz_lots = _whole_lots(slot, update)
        if slot.state is UNKNOWN and slot.lands_until_ns:
            if as_of_ns < slot.lands_until_ns:
                # The old leg rests, and the new one may replace it yet.
                self.version += 1
                return
            self._drop_next(slot)
        self._step(slot, News.OPEN_SAME, as_of_ns)

    def _refused_later(self, slot: Slot, update: OrderUpdate, *, is_new: bool) -> None:
        """The engine of the venue refused an order: by the stream, or asked what became of it."""
        if not (slot.oid and is_new):
            self._take_leg(slot, update.oid, update.recv_ns)
            self._over(slot, 0, update.recv_ns, is_new=is_new)
            return
        # A leg that came to nothing says nothing of the old one: the reply to its request does, or
        # the cancel that follows a refused move. Where neither is to come, a cancel is sent.
        if slot.state is not UNKNOWN or update.recv_ns < slot.lands_until_ns:
            return
        if slot.is_old_over or slot.is_gone:
            self._finish(slot, slot.sz_lots, is_new=False, recv_ns=update.recv_ns)
            return
        self._drop_next(slot)
        slot.is_suspect = True
        self._step(slot, News.DOUBTED, update.recv_ns)

    def _ended(self, slot: Slot, update: OrderUpdate, *, is_new: bool) -> None:
        """A leg is off the book, filled or cancelled."""
        if is_new:
            self._take_leg(slot, update.oid, update.recv_ns)
            slot.sz_lots = _whole_lots(slot, update)
        executed, booked = _executed_lots(update), (slot.sz_lots, slot.filled_lots)
        is_told = slot.is_old_over and not is_new
        if update.state is OrderState.FILLED or (is_told and executed is None):
            done = slot.sz_lots
        else:
            done = executed or 0
        self._over(slot, done, update.recv_ns, is_new=is_new)
        if executed is None and not is_told:
            # Nothing rests, but any part of it may have filled.
            self._departed.owe(slot, update.oid, booked, update.recv_ns + READ_LAG_NS)
            self._owed_changed()

    def _over(self, slot: Slot, done_lots: int, recv_ns: int, *, is_new: bool) -> None:
        """The current leg is off the book, and `done_lots` of it were executed."""
        if not (slot.next_sz_lots and (slot.state is MOVING or recv_ns < slot.lands_until_ns)):
            self._finish(slot, done_lots, is_new=is_new, recv_ns=recv_ns)
            return
        # It may be the old leg's half of the move: only news of the new one settles that.
        slot.is_old_over = True
        slot.sz_lots = max(slot.filled_lots, min(done_lots, slot.sz_lots))
        slot.done_lots = min(slot.done_lots, slot.sz_lots)
        self.version += 1


def _whole_lots(slot: Slot, update: OrderUpdate) -> int:
    """Size of a leg by its report; never less than we thought, for a report may lack it."""
    return max(slot.sz_lots, update.orig_sz_lots)


def _executed_lots(update: OrderUpdate) -> int | None:
    """Lots of an ended order that had filled; a cancelled one with nothing left does not tell."""
    if update.state is OrderState.FILLED:
        return update.orig_sz_lots
    return update.orig_sz_lots - update.sz_lots if update.sz_lots > 0 else None
