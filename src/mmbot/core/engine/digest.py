"""What a decision reads of the order table beside its sums, found once for each state of it."""

from __future__ import annotations

from mmbot.core.orders import Orders
from mmbot.core.slots import CANCELLABLE, ON_THE_BOOK


class Digest:
    """
    Prices at which orders of ours rest or are on their way to, and when cancels may be repeated.

    Read `of` first; the fields are not to be changed.
    """

    __slots__ = ("_at", "live_px", "retries_ns")

    def __init__(self) -> None:
        self._at = -1
        self.live_px: tuple[list[int], list[int]] = ([], [])
        """In ticks, of the bids and of the asks."""
        self.retries_ns: list[int] = []

    def of(self, orders: Orders) -> Digest:
        """The digest of the table as it stands."""
        if self._at == orders.version:
            return self
        bids: list[int] = []
        asks: list[int] = []
        retries_ns: list[int] = []
        for slot in orders.slots.values():
            if slot.state in ON_THE_BOOK:
                (bids if slot.side > 0 else asks).append(slot.target_px_ticks)
            if slot.retry_ns and slot.state in CANCELLABLE:
                retries_ns.append(slot.retry_ns)
        self.live_px, self.retries_ns = (bids, asks), retries_ns
        self._at = orders.version
        return self
