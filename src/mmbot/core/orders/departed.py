"""
What is off the book and may still be heard of: ended orders, their oids, fills on their way.

A stream is not the venue. When a reply says that an order was cancelled, a fill of the moment
before may still be on its way; until it has come, or can come no more, it counts against the
position limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from mmbot.core.slots import Slot
from mmbot.core.types import NS_PER_S, Side

READ_LAG_NS: Final = 2 * NS_PER_S
"""How far readings and streams may trail the venue: about a second (protocol notes, gotcha 7),
doubled to be safe."""

_KEPT_NS: Final = 600 * NS_PER_S
"""An ended order and its oids are remembered this long: nothing about them comes later."""
_KEPT: Final = 8192


class End(Enum):
    """How certain the end of an order is."""

    ABSENT = "absent"
    """Concluded: the venue did not show it. What it shows later is more certain."""
    LEG = "leg"
    """The leg we knew is over; a newer oid would be another leg."""
    WHOLE = "whole"
    """A cancel was acknowledged or a placement refused: nothing of the cloid can rest any more."""


class Dead(NamedTuple):
    """An ended order as it was."""

    slot: Slot
    end: End
    at_ns: int


class _Owed(msgspec.Struct):
    """A leg off the book, of which up to `done_lots` were executed and `filled_lots` have come."""

    side: Side
    oid: int
    is_or_newer: bool
    """The oid was never seen: it is this one or a newer one."""
    done_lots: int
    filled_lots: int
    until_ns: int

    def matches(self, oid: int) -> bool:
        return oid == self.oid or (self.is_or_newer and oid > self.oid)


class Departed:
    """The memory of orders that are off the book, bounded in time."""

    __slots__ = ("_dead", "_left", "_oids", "_owed", "_owed_until_ns", "_unlisted")

    def __init__(self) -> None:
        self._dead: dict[int, Dead] = {}
        self._oids: dict[int, int] = {}
        self._left: deque[tuple[int, int]] = deque()
        self._unlisted: deque[tuple[int, int]] = deque()
        self._owed: dict[int, list[_Owed]] = {}
        self._owed_until_ns = 0

    # -- identities -----------------------------------------------------------------------------

    def list_oid(self, oid: int, cloid: int) -> None:
        """Remember whose an oid is."""
        self._oids[oid] = cloid

    def unlist_oid(self, oid: int, at_ns: int) -> None:
        """The leg of an oid has ended: forget it in a while."""
        self._unlisted.append((at_ns, oid))
        while self._is_old(self._unlisted, at_ns):
            self._oids.pop(self._unlisted.popleft()[1], None)

    def cloid_of(self, oid: int) -> int | None:
        """Whose an oid is; None if it was never ours or is forgotten."""
        return self._oids.get(oid)

    # -- ended orders ---------------------------------------------------------------------------

    def bury(self, slot: Slot, end: End, at_ns: int) -> None:
        """Keep an order that has left the table."""
        self._dead[slot.cloid] = Dead(slot, end, at_ns)
        self._left.append((at_ns, slot.cloid))
        while self._is_old(self._left, at_ns):
            left_ns, cloid = self._left.popleft()
            dead = self._dead.get(cloid)
            # It may have been taken back and have ended again since.
            if dead is not None and dead.at_ns <= left_ns:
                del self._dead[cloid]
        if slot.oid:
            self.unlist_oid(slot.oid, at_ns)

    def get(self, cloid: int) -> Dead | None:
        """An ended order that is still remembered."""
        return self._dead.get(cloid)

    def take_back(self, cloid: int) -> None:
        """It is in the table again."""
        self._dead.pop(cloid, None)

    @staticmethod
    def _is_old(queue: deque[tuple[int, int]], now_ns: int) -> bool:
        return len(queue) > _KEPT or (bool(queue) and queue[0][0] <= now_ns - _KEPT_NS)

    # -- fills on their way -----------------------------------------------------------------------

    def owe(
        self,
        slot: Slot,
        oid: int,
        lots: tuple[int, int],
        until_ns: int,
        *,
        is_or_newer: bool = False,
    ) -> None:
        """
        Expect fills of a leg of `slot`, given the lots executed at most and the lots booked.

        What was expected of the same leg before is replaced.
        """
        done_lots, filled_lots = lots
        legs = [leg for leg in self._owed.pop(slot.cloid, ()) if leg.oid != oid]
        if done_lots > filled_lots:
            leg = _Owed(slot.side, oid, is_or_newer, done_lots, filled_lots, until_ns)
            legs.append(leg)
            if not self._owed_until_ns or until_ns < self._owed_until_ns:
                self._owed_until_ns = until_ns
        if legs:
            self._owed[slot.cloid] = legs

    def on_fill(self, cloid: int, oid: int, lots: int) -> bool:
        """A fill has come; whether it was expected."""
        for leg in self._owed.get(cloid, ()):
            if leg.matches(oid):
                leg.filled_lots += lots
                return True
        return False

    def on_end(self, cloid: int, oid: int, done_lots: int) -> bool:
        """The venue says how much of a leg was executed; whether that is news."""
        for leg in self._owed.get(cloid, ()):
            if leg.matches(oid) and done_lots < leg.done_lots:
                leg.done_lots = done_lots
                return True
        return False

    def expire(self, now_ns: int) -> bool:
        """Give up on fills that would have come by now; whether there were any."""
        if not self._owed_until_ns or now_ns < self._owed_until_ns:
            return False
        for cloid, legs in list(self._owed.items()):
            kept = [leg for leg in legs if now_ns < leg.until_ns]
            if kept:
                self._owed[cloid] = kept
            else:
                del self._owed[cloid]
        times = [leg.until_ns for legs in self._owed.values() for leg in legs]
        self._owed_until_ns = min(times, default=0)
        return True

    def owed(self) -> Iterator[tuple[Side, int]]:
        """Side and lots of every leg with fills to come."""
        for legs in self._owed.values():
            for leg in legs:
                if leg.done_lots > leg.filled_lots:
                    yield leg.side, leg.done_lots - leg.filled_lots
