"""
One of our orders as a slot: its states, what can be learned about it, and the table of transitions.

A modify at the venue is cancel-and-replace: new oid, same cloid. So a slot has a current leg
(`oid`) and, while a move is out, a coming one.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from mmbot.core.events import Request
from mmbot.core.types import Side


class SlotState(Enum):
    """Where a slot stands; EMPTY is the absence of a slot."""

    # Members are single objects, and the hash of the base class is written in Python.
    __hash__ = object.__hash__

    EMPTY = "empty"
    PLACING = "placing"
    WORKING = "working"
    MOVING = "moving"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"
    """A request has no verdict: counts as live, nothing is sent but a query."""
    SETTLING = "settling"
    """The venue says it is done, but fills it speaks of have not arrived: they still count."""


class News(Enum):
    """What can be learned about a slot."""

    __hash__ = object.__hash__

    PLACED = "placed"
    MOVED = "moved"
    CANCELLED = "cancelled"
    PLACE_REFUSED = "place_refused"
    MOVE_REFUSED = "move_refused"
    CANCEL_REFUSED = "cancel_refused"
    GONE = "gone"
    """A cancel or move was refused because the venue has no such order: filled or cancelled."""
    PLACE_UNANSWERED = "place_unanswered"
    MOVE_UNANSWERED = "move_unanswered"
    CANCEL_UNANSWERED = "cancel_unanswered"
    OPEN_SAME = "open_same"
    """Reported open under the oid we know."""
    OPEN_NEW = "open_new"
    """Reported open (or filled in part) under an oid newer than the one we know."""
    DONE_SAME = "done_same"
    """The leg we know is over; every fill it had is booked."""
    DONE_NEW = "done_new"
    """As DONE_SAME for a newer leg."""
    OWED_SAME = "owed_same"
    """The leg we know is over, but fills of it are still to come."""
    OWED_NEW = "owed_new"
    """As OWED_SAME for a newer leg."""
    UNREADABLE = "unreadable"
    """The venue used a status we do not know."""
    MISSING = "missing"
    """The venue has never heard of it."""
    UNSEEN = "unseen"
    """Absent from a reading of the open orders that may be older than the order."""
    DOUBTED = "doubted"
    """Asked about it, the venue speaks of a refused leg: whether it rests only a cancel tells."""


PLACING: Final = SlotState.PLACING
WORKING: Final = SlotState.WORKING
MOVING: Final = SlotState.MOVING
CANCELLING: Final = SlotState.CANCELLING
UNKNOWN: Final = SlotState.UNKNOWN
"""By themselves: every decision asks each order for its state several times."""
ON_THE_BOOK: Final = (WORKING, PLACING, MOVING)
"""States of an order that rests or is on its way, with nothing sent to end it."""

_E, _P, _W = SlotState.EMPTY, PLACING, WORKING
_M, _C, _U, _S = MOVING, CANCELLING, UNKNOWN, SlotState.SETTLING

NEXT_STATE: dict[tuple[SlotState, News], SlotState] = {
    # What is not listed below changes nothing: an answer to a request that a report has already
    # settled, a report older than what is known, "never heard of it" about an order nobody asked
    # about.
    **{(state, news): state for state in SlotState if state is not _E for news in News},
    (_P, News.PLACED): _W,
    (_P, News.PLACE_REFUSED): _E,
    (_P, News.PLACE_UNANSWERED): _U,
    (_P, News.OPEN_SAME): _W,
    (_P, News.OPEN_NEW): _W,
    (_P, News.DONE_SAME): _E,
    (_P, News.DONE_NEW): _E,
    (_P, News.OWED_SAME): _S,
    (_P, News.OWED_NEW): _S,
    (_P, News.UNREADABLE): _U,
    (_W, News.DONE_SAME): _E,
    (_W, News.DONE_NEW): _E,
    (_W, News.OWED_SAME): _S,
    (_W, News.OWED_NEW): _S,
    (_W, News.UNREADABLE): _U,
    (_W, News.UNSEEN): _U,
    # The late answers to a cancel that a report had seemed to contradict.
    (_W, News.CANCELLED): _E,
    (_W, News.GONE): _U,
    # The end of the old leg is half of a modify, so only news of the new one settles a move.
    (_M, News.MOVED): _W,
    (_M, News.MOVE_REFUSED): _W,
    (_M, News.GONE): _U,
    (_M, News.MOVE_UNANSWERED): _U,
    (_M, News.OPEN_NEW): _W,
    (_M, News.DONE_NEW): _E,
    (_M, News.OWED_NEW): _S,
    (_C, News.CANCELLED): _E,
    (_C, News.PLACE_REFUSED): _E,
    (_C, News.CANCEL_REFUSED): _W,
    (_C, News.GONE): _U,
    (_C, News.CANCEL_UNANSWERED): _U,
    (_C, News.DONE_SAME): _E,
    (_C, News.DONE_NEW): _E,
    (_C, News.OWED_SAME): _S,
    (_C, News.OWED_NEW): _S,
    # A late answer is an answer.
    (_U, News.PLACED): _W,
    (_U, News.MOVED): _W,
    (_U, News.CANCELLED): _E,
    (_U, News.PLACE_REFUSED): _E,
    (_U, News.MOVE_REFUSED): _W,
    (_U, News.CANCEL_REFUSED): _W,
    (_U, News.OPEN_SAME): _W,
    (_U, News.OPEN_NEW): _W,
    (_U, News.DONE_SAME): _E,
    (_U, News.DONE_NEW): _E,
    (_U, News.OWED_SAME): _S,
    (_U, News.OWED_NEW): _S,
    (_U, News.MISSING): _E,
    (_U, News.DOUBTED): _W,
    (_S, News.DONE_SAME): _E,
    (_S, News.DONE_NEW): _E,
    (_S, News.OPEN_NEW): _W,
}


class Slot(msgspec.Struct):
    """One of our orders. `sz_lots` is the current leg whole, `filled_lots` its booked part."""

    cloid: int
    side: Side
    px_ticks: int
    sz_lots: int
    state: SlotState
    sent_ns: int
    oid: int = 0
    filled_lots: int = 0
    next_px_ticks: int = 0
    next_sz_lots: int = 0
    cause: Request = Request.PLACE
    is_reduce_only: bool = False
    """Of the current leg."""
    is_old_over: bool = False
    """While a move is out: the old leg is known to be off the book."""
    is_suspect: bool = False
    """A move was refused after the venue may have removed the old leg, or it was left by another
    run: one cancel settles it, whichever it is."""
    seen_ns: int = -1
    """When the venue last proved that it rests; an open-orders reading begun later must show it."""
    queried_ns: int = -1
    retry_ns: int = 0
    """No cancel before this time: the venue has just refused one."""
    done_lots: int = 0
    """What a reading says was executed of the current leg; the fills may still have to come."""
    next_is_reduce_only: bool = False
    lands_until_ns: int = 0
    """Until then the placement or move sent last may take effect; 0 once its outcome is known. A
    cancel sent in the meantime changes nothing about it."""
    is_gone: bool = False
    """The venue refused the newest request because nothing of this cloid was live."""

    @property
    def rest_lots(self) -> int:
        """What the current leg could still fill."""
        filled, done = self.filled_lots, self.done_lots
        return self.sz_lots - (filled if filled > done else done)

    @property
    def is_two_legged(self) -> bool:
        """Whether a modify may or may not have replaced the current leg."""
        return self.next_sz_lots > 0

    @property
    def exposure_lots(self) -> int:
        """Lots that count against the side budget: a move is its larger leg, for only one rests."""
        return max(self.rest_lots, self.next_sz_lots)

    @property
    def worst_lots(self) -> int:
        """As `exposure_lots`, if the old leg fills all but one lot just before the move lands."""
        return self.rest_lots + self.next_sz_lots

    @property
    def near_px_ticks(self) -> int:
        """The nearer to the market of the prices it may rest at."""
        if not self.next_sz_lots:
            return self.px_ticks
        if self.side > 0:
            return max(self.px_ticks, self.next_px_ticks)
        return min(self.px_ticks, self.next_px_ticks)

    @property
    def target_px_ticks(self) -> int:
        """Where it will rest if nothing fails."""
        return self.next_px_ticks if self.next_sz_lots else self.px_ticks


CANCELLABLE: Final = (*ON_THE_BOOK, UNKNOWN)
"""States in which a cancel may protect: what is on its way must not wait for its verdict."""


def may_cancel(slot: Slot, now_ns: int) -> bool:
    """Whether a cancel of `slot` can achieve anything now."""
    if slot.state not in CANCELLABLE or now_ns < slot.retry_ns:
        return False
    # The venue has said that nothing of it is live, and nothing sent before can land any more.
    return not (slot.state is UNKNOWN and slot.is_gone and now_ns >= slot.lands_until_ns)
