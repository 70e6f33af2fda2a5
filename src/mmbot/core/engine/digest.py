"""What a decision reads of the order table beside its sums, found once for each state of it."""

from __future__ import annotations

from mmbot.core.orders import Orders
from mmbot.core.slots import CANCELLABLE, ON_THE_BOOK


class Digest:
    """
    Prices at which orders of ours rest or are on their way to, and when cancels may be repeated.

    What it returns is not to be changed. Its halves are read before and after the batch leaves.
    """

    __slots__ = ("_live_at", "_live_px", "_retries_at", "_retries_ns")

    def __init__(self) -> None:
        self._live_at = self._retries_at = -1
        self._live_px: tuple[list[int], list[int]] = ([], [])
        self._retries_ns: list[int] = []

    def live_px(self, orders: Orders) -> tuple[list[int], list[int]]:
        """Prices in ticks, of the bids and of the asks."""
        if self._live_at == orders.version:
            return self._live_px
        bids: list[int] = []
        asks: list[int] = []
        for slot in orders.slots.values():
            if slot.state in ON_THE_BOOK:
                (bids if slot.side > 0 else asks).append(slot.target_px_ticks)
        self._live_px, self._live_at = (bids, asks), orders.version
        return self._live_px

    def retries_ns(self, orders: Orders) -> list[int]:
        """When the cancels that were refused may be sent again."""
        if self._retries_at != orders.version:
            self._retries_ns = [
                slot.retry_ns
                for slot in orders.slots.values()
                if slot.retry_ns and slot.state in CANCELLABLE
            ]
            self._retries_at = orders.version
        return self._retries_ns
