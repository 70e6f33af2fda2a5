"""
What our own orders show in a frame of the book, so that it can be taken out again.

The touch that we price from contains our orders. Priced as it is shown, a quote of ours at or
inside the touch would move the mid, the mid the quote, and so on.

A frame is cleaned once, with the orders as they stand when it arrives: one sent later is not in it,
and one that ends later still is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mmbot.core.orders import Orders
from mmbot.core.slots import CANCELLING, MOVING, WORKING
from mmbot.core.types import NS_PER_S

_LINGER_NS: Final = NS_PER_S
"""How long a frame may still show an order that another stream has reported gone."""
_NEVER_NS: Final = 1 << 62

_RESTING = (WORKING, CANCELLING, MOVING)


class OwnLevel(NamedTuple):
    """Our lots at one price."""

    resting_lots: int
    """Of orders that rest as far as we know; a cancel or move in flight has not happened yet."""
    doubtful_lots: tuple[int, ...] = ()
    """Of orders that may rest here: sent and not confirmed, without a verdict, or just gone."""

    def others_lots(self, sz_lots: int) -> int:
        """
        What of a shown size is not ours, never negative.

        Doubtful orders are taken out only where they explain the size to the lot. Beside others
        they change the lean of the fair price a little, whichever way the doubt is resolved; taken
        out wrongly they would make a level of somebody else's disappear.
        """
        left = sz_lots - self.resting_lots
        if left <= 0:
            return 0
        doubtful = self.doubtful_lots
        if doubtful and (left in doubtful or sz_lots in doubtful or left == sum(doubtful)):
            return 0
        return left


OwnLevels = Mapping[int, OwnLevel]
"""Keyed by `side * price` in ticks: one table for bids and asks."""

NO_ORDERS: Final[OwnLevels] = {}


class Footprint:
    """The own levels of the present order table, computed when it has changed."""

    __slots__ = ("_gone", "_levels", "_lots", "_orders", "_until_ns", "_version")

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._levels: dict[int, OwnLevel] = {}
        self._lots: dict[int, int] = {}
        self._gone: list[tuple[int, int, int]] = []
        self._version = -1
        self._until_ns = _NEVER_NS

    def at(self, recv_ns: int) -> OwnLevels:
        """What a frame received now may show of us. The mapping is never changed afterwards."""
        if self._orders.version != self._version or recv_ns >= self._until_ns:
            self._rebuild(recv_ns)
        return self._levels

    def _rebuild(self, recv_ns: int) -> None:
        resting: dict[int, int] = {}
        doubtful: dict[int, list[int]] = {}
        for slot in self._orders.slots.values():
            u = slot.side * slot.px_ticks
            rest_lots = slot.rest_lots
            if rest_lots > 0:
                if slot.state in _RESTING and not slot.is_old_over:
                    resting[u] = resting.get(u, 0) + rest_lots
                else:
                    doubtful.setdefault(u, []).append(rest_lots)
            if slot.next_sz_lots:
                next_u = slot.side * slot.next_px_ticks
                doubtful.setdefault(next_u, []).append(slot.next_sz_lots)
        lots = dict(resting)
        for u, sizes in doubtful.items():
            lots[u] = lots.get(u, 0) + sum(sizes)
        self._follow_gone(lots, recv_ns)
        for _, u, gone_lots in self._gone:
            doubtful.setdefault(u, []).append(gone_lots)
        self._levels = {
            u: OwnLevel(resting.get(u, 0), tuple(doubtful.get(u, ())))
            for u in resting.keys() | doubtful.keys()
        }
        self._version = self._orders.version

    def _follow_gone(self, lots: dict[int, int], recv_ns: int) -> None:
        """Remember for a while what has left each price since the last frame."""
        gone = [entry for entry in self._gone if recv_ns < entry[0]]
        for u, before in self._lots.items():
            if before > lots.get(u, 0):
                gone.append((recv_ns + _LINGER_NS, u, before - lots.get(u, 0)))
        self._gone, self._lots = gone, lots
        self._until_ns = min((until_ns for until_ns, _, _ in gone), default=_NEVER_NS)
