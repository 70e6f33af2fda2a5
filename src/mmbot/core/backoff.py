"""The pause of one side after the venue refused an order there."""

from __future__ import annotations

from mmbot.core.events import Rejected, Rejection
from mmbot.core.types import NS_PER_S

_POST_ONLY_PATIENCE = 3
"""Post-only refusals in a row that a newer book is trusted to cure; then time is given as well."""


class Backoff:
    """
    When a side may send again: `pause_s` after a refusal, doubled each time up to `pause_s_max`.

    A post-only refusal is first waited out by books: nothing is priced from the one in hand.
    """

    __slots__ = (
        "_count",
        "_pause_s",
        "_pause_s_max",
        "_refused_ns",
        "_sent_ns",
        "book_version",
        "until_ns",
    )

    def __init__(self, pause_s: float, pause_s_max: float) -> None:
        self._pause_s = pause_s
        self._pause_s_max = pause_s_max
        self._count = 0
        """Batches refused in a row; several refusals in one batch are one."""
        self._refused_ns = -1
        self._sent_ns = -1
        self.until_ns = 0
        self.book_version = -1
        """After a refusal no order is priced from a book as old as this one: that of the last."""

    def accepted(self, sent_ns: int) -> None:
        """An order sent at `sent_ns` was accepted."""
        if sent_ns > self._refused_ns:
            # Only an order sent after the refusal shows that its cause has gone.
            self._count = 0

    def refused(self, event: Rejected, sent_ns: int) -> None:
        """An order sent at `sent_ns` was refused."""
        if event.reason is Rejection.GONE:
            # The order filled or was cancelled: no fault of the price, nothing to wait for.
            return
        self._refused_ns = event.recv_ns
        if sent_ns > self._sent_ns:
            self._sent_ns = sent_ns
            self._count += 1
        excess = self._count
        if event.reason is Rejection.POST_ONLY:
            # The order was priced from a book the venue had left behind: wait for a newer one.
            excess -= _POST_ONLY_PATIENCE
            if excess <= 0:
                return
        else:
            self.book_version = -1
        pause_s = min(self._pause_s_max, self._pause_s * 2.0 ** min(excess - 1, 16))
        self.until_ns = event.recv_ns + int(pause_s * NS_PER_S)

    def shift_clock(self, step_ns: int) -> None:
        """Our clock was set, forward by `step_ns`."""
        self.until_ns += step_ns
        self._refused_ns += step_ns
        self._sent_ns += step_ns

    def is_active(self, book_version: int, now_ns: int) -> bool:
        """Whether a refusal is still being waited out."""
        return now_ns < self.until_ns or (self._count > 0 and book_version <= self.book_version)
