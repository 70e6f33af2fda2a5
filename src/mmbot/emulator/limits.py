"""
What one IP address may ask of the venue: weight of requests, sockets, subscriptions, messages.

Source: Hyperliquid docs, "Rate limits and user limits". None switches a limit off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

MINUTE_MS = 60_000


class LimitParams(BaseModel):
    """Limits per IP address; None switches one off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weight_per_min: int | None = Field(1200, ge=1, description="REST weight per minute.")
    connections: int | None = Field(10, ge=1, description="Open sockets.")
    connections_per_min: int | None = Field(30, ge=1, description="New sockets per minute.")
    subscriptions: int | None = Field(1000, ge=1, description="Subscriptions over all sockets.")
    users: int | None = Field(10, ge=1, description="Distinct users in user channels.")
    messages_per_min: int | None = Field(2000, ge=1, description="Messages sent to the venue.")
    posts_inflight: int | None = Field(100, ge=1, description="Posts without an answer yet.")


NO_LIMITS = LimitParams(
    weight_per_min=None,
    connections=None,
    connections_per_min=None,
    subscriptions=None,
    users=None,
    messages_per_min=None,
    posts_inflight=None,
)
"""Everything allowed."""


class Window:
    """Sum of what was spent in the last minute."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._spent: deque[tuple[int, int]] = deque()
        self._total = 0

    def spend(self, amount: int, now_ms: int) -> bool:
        """Take `amount` if it fits, and say whether it did; a refused request costs nothing."""
        if self._limit is None:
            return True
        if self.used(now_ms) + amount > self._limit:
            return False
        self._spent.append((now_ms, amount))
        self._total += amount
        return True

    def used(self, now_ms: int) -> int:
        """What was spent in the minute that ends now."""
        while self._spent and self._spent[0][0] <= now_ms - MINUTE_MS:
            self._total -= self._spent.popleft()[1]
        return self._total

    def charge(self, amount: int, now_ms: int) -> None:
        """Add what is known only afterwards (rows of an answer); it may overdraw."""
        if self._limit is not None and amount:
            self._spent.append((now_ms, amount))
            self._total += amount


class IpUse:
    """What one address uses now."""

    def __init__(self, params: LimitParams) -> None:
        self.weight = Window(params.weight_per_min)
        self.dials = Window(params.connections_per_min)
        self.messages = Window(params.messages_per_min)
        self.connections = 0
        self.subscriptions = 0
        self.posts_inflight = 0
        self.users: dict[str, int] = {}


LIGHT = 2
HEAVY = 60
DEFAULT_WEIGHT = 20

WEIGHTS: Mapping[str, int] = {
    "l2Book": LIGHT,
    "allMids": LIGHT,
    "clearinghouseState": LIGHT,
    "orderStatus": LIGHT,
    "spotClearinghouseState": LIGHT,
    "exchangeStatus": LIGHT,
    "userRole": HEAVY,
}
"""Weight of info requests that do not weigh the usual 20."""

ROWS_PER_WEIGHT: Mapping[str, int] = {
    "recentTrades": 20,
    "historicalOrders": 20,
    "userFills": 20,
    "userFillsByTime": 20,
    "fundingHistory": 20,
    "userFunding": 20,
    "userNonFundingLedgerUpdates": 20,
    "twapHistory": 20,
    "userTwapSliceFills": 20,
    "userTwapSliceFillsByTime": 20,
    "candleSnapshot": 60,
}
"""Rows of an answer that cost one more weight."""


def info_weight(kind: str) -> int:
    """Weight of an info request before its rows are known."""
    return WEIGHTS.get(kind, DEFAULT_WEIGHT)


def rows_weight(kind: str, rows: int) -> int:
    """Weight of `rows` in the answer to `kind`."""
    per = ROWS_PER_WEIGHT.get(kind)
    return rows // per if per else 0


def action_weight(length: int) -> int:
    """Weight of an action over an array of `length`: 39 -> 1, 40 -> 2, 79 -> 2, 80 -> 3."""
    return 1 + length // 40
