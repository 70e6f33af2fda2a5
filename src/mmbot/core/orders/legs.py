"""
The slots of the table, what they add up to, and the changes that any news boils down to.

A slot has a current leg and, while a move is out, a coming one. Nothing is dropped from either
before the venue has said so, or can no longer do otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmbot.core.events import OrderUpdate, Request
from mmbot.core.intents import Note
from mmbot.core.orders.departed import READ_LAG_NS, Departed, End
from mmbot.core.slots import NEXT_STATE, UNKNOWN, WORKING, News, Slot, SlotState
from mmbot.core.types import Side

_PROOFS: Final = frozenset({News.PLACED, News.MOVED, News.OPEN_SAME, News.OPEN_NEW})
_OVERTAKEN: Final = frozenset({News.PLACED, News.MOVED, News.MOVE_REFUSED, News.OPEN_NEW})
_CERTAIN: Final = {
    News.DONE_SAME: End.LEG,
    News.DONE_NEW: End.LEG,
    News.CANCELLED: End.WHOLE,
    News.PLACE_REFUSED: End.WHOLE,
}


class Legs:
    """Storage of the order table. `Orders` decides what news means; this carries it out."""

    __slots__ = (
        "_departed",
        "_exposure",
        "_exposure_at",
        "_magic",
        "_prefix",
        "_sorted",
        "_sorted_at",
        "_waiting",
        "_waiting_at",
        "_worst",
        "notes",
        "slots",
        "version",
    )

    def __init__(self, cloid_prefix: int) -> None:
        self._prefix = cloid_prefix << 64
        self._magic = cloid_prefix >> 48
        self.slots: dict[int, Slot] = {}
        self.version = 0
        """Grows with every change of a slot, so that nothing is recomputed on a quiet table."""
        self.notes: list[Note] = []
        self._departed = Departed()
        self._sorted: tuple[list[Slot], list[Slot]] = ([], [])
        self._sorted_at = 0
        self._exposure = (0, 0)
        self._worst = (0, 0)
        self._exposure_at = 0
        self._waiting: list[Slot] = []
        self._waiting_at = 0

    # -- reading ------------------------------------------------------------------------------

    def side(self, side: Side) -> Sequence[Slot]:
        """Slots of one side, nearest to the market first. Not to be changed."""
        if self._sorted_at != self.version:
            self._sort()
        return self._sorted[side < 0]

    def exposure_lots(self, side: Side) -> int:
        """Everything on a side that is not confirmed gone: resting, pending, unknown, owed."""
        if self._exposure_at != self.version:
            self._add_up()
        return self._exposure[side < 0]

    def resting_lots(self, side: Side) -> int:
        """
        What is known to rest on a side, by the last word on each order.

        Neither a placement that is on its way counts nor the new leg of a move: where the old leg
        was just filled, the venue refuses the move, which the exposure has to count until it does.
        """
        placing = SlotState.PLACING
        return sum(slot.rest_lots for slot in self.side(side) if slot.state is not placing)

    def worst_lots(self, side: Side) -> int:
        """
        The bound of the position limit itself: all that could still be bought, or sold.

        `exposure_lots` with both legs of every move, and the fills that may be on their way of
        legs that are off the book.
        """
        if self._exposure_at != self.version:
            self._add_up()
        return self._worst[side < 0]

    def waiting(self) -> Sequence[Slot]:
        """Slots without a verdict. Not to be changed."""
        if self._waiting_at != self.version:
            self._waiting = [s for s in self.slots.values() if s.state is UNKNOWN]
            self._waiting_at = self.version
        return self._waiting

    def gone_at_ns(self, cloid: int) -> int | None:
        """When an order was known to be gone; None while it is not, or after it is forgotten."""
        dead = self._departed.get(cloid)
        return None if dead is None else dead.at_ns

    def _sort(self) -> None:
        bids: list[tuple[int, int, Slot]] = []
        asks: list[tuple[int, int, Slot]] = []
        for slot in self.slots.values():
            if slot.side > 0:
                bids.append((-slot.near_px_ticks, slot.cloid, slot))
            else:
                asks.append((slot.near_px_ticks, slot.cloid, slot))
        # Cloids differ, so the slots themselves are never compared.
        bids.sort()
        asks.sort()
        self._sorted = ([slot for _, _, slot in bids], [slot for _, _, slot in asks])
        self._sorted_at = self.version

    def _add_up(self) -> None:
        bid = ask = bid_worst = ask_worst = 0
        for slot in self.slots.values():
            rest, coming = slot.rest_lots, slot.next_sz_lots
            if slot.side > 0:
                bid += rest if rest > coming else coming
                bid_worst += rest + coming
            else:
                ask += rest if rest > coming else coming
                ask_worst += rest + coming
        for side, lots in self._departed.owed():
            if side > 0:
                bid_worst += lots
            else:
                ask_worst += lots
        self._exposure = (bid, ask)
        self._worst = (bid_worst, ask_worst)
        self._exposure_at = self.version

    # -- changes ----------------------------------------------------------------------------------

    def _owed_changed(self) -> None:
        """The worst case has changed, and no slot has."""
        self._exposure_at = -1

    def _step(self, slot: Slot, news: News, recv_ns: int) -> None:
        state = NEXT_STATE[slot.state, news]
        self.version += 1
        if state is SlotState.EMPTY:
            self._bury(slot, recv_ns, _CERTAIN.get(news, End.ABSENT))
            return
        if state is WORKING and (
            slot.lands_until_ns
            or (
                # The late answer to what a cancel has overtaken says nothing of that cancel.
                news in _OVERTAKEN and slot.state is UNKNOWN and slot.cause is Request.CANCEL
            )
        ):
            # It rests, but what was sent before may still change that.
            state = UNKNOWN
        if state is UNKNOWN and slot.state is not UNKNOWN:
            slot.queried_ns = -1
        if news in _PROOFS or (state is SlotState.SETTLING and slot.state is not state):
            slot.seen_ns = max(slot.seen_ns, recv_ns)
        slot.state = state

    def _finish(self, slot: Slot, done_lots: int, *, is_new: bool, recv_ns: int) -> None:
        """The current leg is off the book after `done_lots` of it filled, as the venue says."""
        slot.sz_lots = max(slot.filled_lots, min(done_lots, slot.sz_lots))
        slot.done_lots = min(slot.done_lots, slot.sz_lots)
        self._drop_next(slot)
        if slot.rest_lots == 0:
            news = News.DONE_NEW if is_new else News.DONE_SAME
        else:
            news = News.OWED_NEW if is_new else News.OWED_SAME
        self._step(slot, news, recv_ns)

    def _take_leg(self, slot: Slot, oid: int, recv_ns: int) -> None:
        """A newer oid is the current leg: of a first placement, or of the move in flight."""
        if oid <= slot.oid:
            return
        if slot.oid:
            booked = (slot.sz_lots, slot.filled_lots)
            self._departed.owe(slot, slot.oid, booked, recv_ns + READ_LAG_NS)
            self._departed.unlist_oid(slot.oid, recv_ns)
        if slot.next_sz_lots:
            slot.px_ticks, slot.sz_lots = slot.next_px_ticks, slot.next_sz_lots
            slot.is_reduce_only = slot.next_is_reduce_only
        self._drop_next(slot)
        slot.filled_lots = slot.done_lots = 0
        slot.oid = oid
        self._departed.list_oid(oid, slot.cloid)
        self.version += 1

    @staticmethod
    def _drop_next(slot: Slot) -> None:
        """The outcome of what was sent is known, and it is not a coming leg."""
        slot.next_px_ticks = slot.next_sz_lots = slot.lands_until_ns = 0
        slot.is_old_over = False

    def _bury(self, slot: Slot, at_ns: int, end: End) -> None:
        """Take a slot out of the table; unless it never rested, fills may still come of it."""
        if not (end is End.WHOLE and slot.cause is Request.PLACE):
            until_ns = at_ns + READ_LAG_NS
            booked = (slot.sz_lots, slot.filled_lots)
            self._departed.owe(slot, slot.oid, booked, until_ns, is_or_newer=not slot.oid)
            if slot.next_sz_lots:
                coming = (slot.next_sz_lots, 0)
                self._departed.owe(slot, slot.oid + 1, coming, until_ns, is_or_newer=True)
        self.slots.pop(slot.cloid, None)
        self._departed.bury(slot, end, at_ns)
        self.version += 1

    def _raise_dead(self, cloid: int, oid: int, recv_ns: int) -> Slot | None:
        """
        The venue speaks of an order that we wrote off without seeing its end: the slot, if so.

        It is taken back, to be cancelled: what rests is more certain than what was concluded.
        """
        dead = self._departed.get(cloid)
        if dead is None or dead.end is End.WHOLE:
            return None
        slot = dead.slot
        if oid < slot.oid or (oid == slot.oid and dead.end is End.LEG):
            return None
        self._departed.take_back(cloid)
        self._take_leg(slot, oid, recv_ns)
        self._drop_next(slot)
        slot.state, slot.is_suspect, slot.seen_ns = WORKING, True, recv_ns
        self.slots[cloid] = slot
        self._departed.list_oid(oid, cloid)
        self.version += 1
        self._note("order.revived", "warning", cloid=f"{cloid:#034x}", oid=oid)
        return slot

    def _is_left_over(self, cloid: int) -> bool:
        """Whether a cloid that the table does not know is one of an earlier run, and not ended."""
        is_family = cloid >> 112 == self._magic and cloid >> 64 != self._prefix >> 64
        return is_family and self._departed.get(cloid) is None

    def _adopt(self, cloid: int, update: OrderUpdate) -> None:
        """Take over an order that the venue shows and the table does not know, to be cancelled."""
        self._departed.take_back(cloid)
        self.slots[cloid] = Slot(
            cloid=cloid,
            side=update.side,
            px_ticks=update.px_ticks,
            sz_lots=max(update.orig_sz_lots, update.sz_lots),
            state=WORKING,
            sent_ns=update.recv_ns,
            oid=update.oid,
            seen_ns=update.recv_ns,
            is_suspect=True,
            done_lots=max(0, update.orig_sz_lots - update.sz_lots),
        )
        self._departed.list_oid(update.oid, cloid)
        self.version += 1
        self._note("order.adopted", "warning", cloid=f"{cloid:#034x}", oid=update.oid)

    def _note(self, event: str, level: str, **facts: int | float | str | bool | None) -> None:
        self.notes.append(Note(event, level, facts))
