"""
The order book: price-time priority over integer ticks and lots.

It knows prices, queues and self-trade; who may trade what (margin, reduce-only, caps) it asks of a
`Desk`. Source: Hyperliquid docs, "Order book", "Self-trade prevention".
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from mmbot.core.types import Side, Tif
from mmbot.emulator.specs import Trigger
from mmbot.errors import InvariantError

if TYPE_CHECKING:
    from mmbot.emulator.accounts import Slot

SELF_TRADE = "selfTradeCanceled"


class Order(msgspec.Struct, eq=False):
    """
    An order from its arrival to its end; open or terminal, one record.

    `sz_lots` is what remains, `orig_sz_lots` what was asked for. `slot` is the account's side of
    the asset. `status` is the venue's own word and `status_ms` when it came to be.
    """

    oid: int
    slot: Slot
    side: Side
    px_ticks: int
    sz_lots: int
    orig_sz_lots: int
    tif: Tif
    time_ms: int
    is_reduce_only: bool = False
    cloid: str | None = None
    trigger: Trigger | None = None
    status: str = "open"
    status_ms: int = 0
    is_booked: bool = False
    is_position_tpsl: bool = False
    is_liquidation: bool = False
    was_triggered: bool = False
    parent: Order | None = None
    children: tuple[Order, ...] = ()
    builder: str | None = None
    builder_rate: float = 0.0
    priority_rate: float = 0.0
    traded_u: int = 0


class Level:
    """One price: its orders in time priority and their summed size."""

    __slots__ = ("orders", "px_ticks", "sz_lots")

    def __init__(self, px_ticks: int) -> None:
        self.px_ticks = px_ticks
        self.sz_lots = 0
        self.orders: dict[int, Order] = {}


class Desk(Protocol):
    """What the book asks while it matches."""

    def refusal(self, maker: Order, sz_lots: int) -> str | None:
        """Terminal status of `maker` if it may not trade `sz_lots` now, else None."""

    def dropped(self, maker: Order, status: str) -> None:
        """`maker` was taken off the book with `status`."""

    def executed(self, maker: Order, taker: Order, sz_lots: int) -> None:
        """`sz_lots` traded at the maker's price; both remaining sizes are already reduced."""


class MatchBook:
    """Resting orders of one asset."""

    __slots__ = ("_ask_keys", "_bid_keys", "asks", "bids")

    def __init__(self) -> None:
        self.bids: dict[int, Level] = {}
        self.asks: dict[int, Level] = {}
        # Sorted keys with the best price last, so that the touch is taken off in constant time:
        # bids by their price, asks by its negative.
        self._bid_keys: list[int] = []
        self._ask_keys: list[int] = []

    # -- reading ----------------------------------------------------------------------------------

    @property
    def bid_ticks(self) -> int | None:
        """Best bid, None when there is none."""
        return self._bid_keys[-1] if self._bid_keys else None

    @property
    def ask_ticks(self) -> int | None:
        """Best ask, None when there is none."""
        return -self._ask_keys[-1] if self._ask_keys else None

    def levels(self, side: Side) -> Iterator[Level]:
        """Levels of a side, best first."""
        if side is Side.BUY:
            for key in reversed(self._bid_keys):
                yield self.bids[key]
        else:
            for key in reversed(self._ask_keys):
                yield self.asks[-key]

    def orders(self) -> Iterator[Order]:
        """Every resting order, each side best first and in time priority."""
        for side in (Side.BUY, Side.SELL):
            for level in self.levels(side):
                yield from level.orders.values()

    def would_cross(self, side: Side, px_ticks: int) -> bool:
        """Whether an order at `px_ticks` would match at once."""
        if side is Side.BUY:
            return bool(self._ask_keys) and px_ticks >= -self._ask_keys[-1]
        return bool(self._bid_keys) and px_ticks <= self._bid_keys[-1]

    # -- changing ---------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        """Rest `order` behind everything at its price. It must not cross."""
        px = order.px_ticks
        if order.side is Side.BUY:
            level = self.bids.get(px)
            if level is None:
                level = self.bids[px] = Level(px)
                insort(self._bid_keys, px)
        else:
            level = self.asks.get(px)
            if level is None:
                level = self.asks[px] = Level(px)
                insort(self._ask_keys, -px)
        level.orders[order.oid] = order
        level.sz_lots += order.sz_lots
        order.is_booked = True

    def remove(self, order: Order) -> None:
        """Take a resting order off the book."""
        levels = self.bids if order.side is Side.BUY else self.asks
        level = levels.get(order.px_ticks)
        if level is None or level.orders.pop(order.oid, None) is None:
            msg = f"order {order.oid} at {order.px_ticks} ticks is not on the book"
            raise InvariantError(msg)
        level.sz_lots -= order.sz_lots
        order.is_booked = False
        if not level.orders:
            self._drop_level(order.side, order.px_ticks)

    def shrink(self, order: Order, sz_lots: int) -> None:
        """Lower a resting order to `sz_lots`, which keeps its place in the queue."""
        levels = self.bids if order.side is Side.BUY else self.asks
        levels[order.px_ticks].sz_lots -= order.sz_lots - sz_lots
        order.sz_lots = sz_lots

    def match(self, taker: Order, desk: Desk) -> int:
        """
        Trade `taker` against the other side up to its limit; returns the lots it got.

        A resting order of the same account is dropped (`selfTradeCanceled`) and the taker goes on;
        one the desk refuses is dropped with the desk's status. What is left of `taker` is not
        rested here.
        """
        is_buy = taker.side is Side.BUY
        levels, keys = (self.asks, self._ask_keys) if is_buy else (self.bids, self._bid_keys)
        sign = -1 if is_buy else 1
        limit_key = sign * taker.px_ticks
        account = taker.slot.account
        got = 0
        # Keys grow towards the touch, so the taker's limit is a lower bound for either side.
        while taker.sz_lots and keys and keys[-1] >= limit_key:
            level = levels[sign * keys[-1]]
            maker = next(iter(level.orders.values()))
            sz = min(taker.sz_lots, maker.sz_lots)
            status = SELF_TRADE if maker.slot.account is account else desk.refusal(maker, sz)
            if status is not None:
                self.remove(maker)
                desk.dropped(maker, status)
                continue
            maker.sz_lots -= sz
            level.sz_lots -= sz
            taker.sz_lots -= sz
            got += sz
            if not maker.sz_lots:
                del level.orders[maker.oid]
                maker.is_booked = False
                if not level.orders:
                    # The touch is the last key by construction.
                    keys.pop()
                    del levels[level.px_ticks]
            desk.executed(maker, taker, sz)
        return got

    def _drop_level(self, side: Side, px_ticks: int) -> None:
        if side is Side.BUY:
            del self.bids[px_ticks]
            keys, key = self._bid_keys, px_ticks
        else:
            del self.asks[px_ticks]
            keys, key = self._ask_keys, -px_ticks
        del keys[bisect_left(keys, key)]
