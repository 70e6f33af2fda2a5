"""
What the venue lets us ask: requests of the address, weight of the IP address.

Two budgets that fail in different ways. The address pays one request for every element of a batch
out of 10 000 + 1 per USD traded, for ever: running out stops the quotes for good, so the engine
prices its changes by what is left. The IP address pays weight out of 1200 a minute: running out
means HTTP 429 for some seconds, so reads wait for their turn and cancels never do.

Source: Hyperliquid docs, "Rate limits and user limits".
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from mmbot.core.events import Rejection
from mmbot.core.types import NS_PER_S

WEIGHT_PER_MIN: Final = 1200
_MINUTE_NS: Final = 61 * NS_PER_S
"""The venue counts from its arrival, so we forget a request a little later than it left."""
_READ_SHARE: Final = 0.8
"""Reads leave a fifth of the weight to actions, which go over HTTP when no socket is open."""

INFO_WEIGHT: Final = 20
"""Weight of an info request that is not named below."""
_INFO_WEIGHTS: Final = {
    "l2Book": 2,
    "allMids": 2,
    "clearinghouseState": 2,
    "orderStatus": 2,
    "spotClearinghouseState": 2,
    "exchangeStatus": 2,
    "userRole": 60,
    # 20, and one more per 20 rows of an answer that may have 2000 of them.
    "userFills": 120,
}
_CANCEL_EXTRA: Final = 100_000
_STALE_COST: Final = 5
_UNCHARGED: Final = (Rejection.BUDGET, Rejection.NONCE, Rejection.AUTH)


def info_weight(kind: str) -> int:
    """Highest weight an info request of this type can have."""
    return _INFO_WEIGHTS.get(kind, INFO_WEIGHT)


def action_weight(elements: int) -> int:
    """Weight of one action over `elements` entries: 39 -> 1, 40 -> 2, 79 -> 2, 80 -> 3."""
    return 1 + elements // 40


class Budget:
    """
    Both budgets of one account on one IP address, shared by all that sends requests.

    `used` and `cap` are None until the venue was asked once; from then on our own requests are
    counted on top, and each later reading replaces the count.
    """

    def __init__(self) -> None:
        self.used: int | None = None
        self.cap: int | None = None
        self.volume_usd: float | None = None
        """Traded since the account exists, as the venue counts it for the cap."""
        self.read_at_ns: int | None = None
        self._spent: list[tuple[int, int]] = []  # (at_ns, weight), by time
        self._weight = 0

    # -- address ----------------------------------------------------------------------------

    def read(self, used: int, cap: int, now_ns: int, volume_usd: float | None = None) -> None:
        """Take over what the venue says."""
        if volume_usd is not None:
            self.volume_usd = volume_usd
        self.used = used
        self.cap = cap
        self.read_at_ns = now_ns

    def count(self, elements: int) -> None:
        """Count the elements of an action we sent; a negative number takes them back."""
        if self.used is not None:
            self.used += elements

    def charge(self, elements: int, reason: Rejection) -> None:
        """
        Correct the count for an action that was refused as a whole.

        Sent too late it costs five times its elements; what fails before the venue looks at the
        budget (signature, nonce), or at the budget itself, costs nothing (Hyperliquid docs, "Rate
        limits and user limits"; protocol notes on the order of the checks).
        """
        if reason is Rejection.EXPIRED:
            self.count((_STALE_COST - 1) * elements)
        elif reason in _UNCHARGED:
            self.count(-elements)

    @property
    def cancel_cap(self) -> int | None:
        """Limit that holds for cancels, which may go on when orders may not."""
        return None if self.cap is None else min(self.cap + _CANCEL_EXTRA, 2 * self.cap)

    # -- IP address -------------------------------------------------------------------------

    def spend(self, weight: int, now_ns: int) -> None:
        """Book weight that is spent whatever is left (an action)."""
        insort(self._spent, (now_ns, weight))
        self._weight += weight

    def reserve(self, weight: int, now_ns: int) -> int:
        """
        Book weight for a read, and return when it may go: now, or when enough has expired.

        The booking is made at the returned time, so reads queue up behind each other. A read
        heavier than the whole share goes when nothing else is booked.
        """
        limit = round(_READ_SHARE * WEIGHT_PER_MIN)
        self._forget(now_ns)
        when_ns = now_ns
        left = self._weight
        for spent_ns, spent in self._spent:
            if left + weight <= limit:
                break
            left -= spent
            when_ns = spent_ns + _MINUTE_NS
        when_ns = max(when_ns, now_ns)
        self.spend(weight, when_ns)
        return when_ns

    def give_back(self, weight: int, at_ns: int) -> None:
        """Take back the booking of a read that will not be sent."""
        place = bisect_left(self._spent, (at_ns, weight))
        if place < len(self._spent) and self._spent[place] == (at_ns, weight):
            del self._spent[place]
            self._weight -= weight

    def weight_used(self, now_ns: int) -> int:
        """Weight booked in the last minute, and ahead."""
        self._forget(now_ns)
        return self._weight

    def _forget(self, now_ns: int) -> None:
        expired = 0
        for spent_ns, weight in self._spent:
            if spent_ns > now_ns - _MINUTE_NS:
                break
            self._weight -= weight
            expired += 1
        del self._spent[:expired]
