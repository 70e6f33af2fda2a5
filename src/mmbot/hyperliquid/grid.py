"""
The venue's numbers for one instrument, turned into ticks and lots, and checked to lie on its grid.

Source: Hyperliquid docs, "Tick and lot size".
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from mmbot.core.events import Fill, Level, OrderUpdate, Trades
from mmbot.core.types import Instrument, Side
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.dating import check_date
from mmbot.hyperliquid.rejections import order_state
from mmbot.hyperliquid.wire_types import (
    SIDES,
    WireFill,
    WireLevel,
    WireOrder,
    WireTrade,
    cloid_number,
)

_GRID_TOLERANCE: Final = 1e-3
"""In ticks or lots: far above the error of a float, far below a digit that does not belong."""
_FORCED: Final = frozenset(("Settlement", "Auto-Deleveraging"))
"""Directions of a fill that nobody on our side ordered. Hyperliquid docs, "Fills"."""

# A member of an enum is a slow look-up, and a print needs one.
_BUY, _SELL = Side.BUY, Side.SELL


class Grid:
    """Turns the venue's numbers for one instrument into ticks and lots."""

    __slots__ = ("instrument", "lots_per_coin", "ticks_per_usd")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.ticks_per_usd = float(instrument.ticks_per_usd)
        self.lots_per_coin = float(instrument.lots_per_coin)

    def ticks(self, px: float) -> int:
        """
        Price in ticks.

        Raises:
            VenueProtocolError: It is not positive, or not on the grid: our idea of the instrument
                is wrong.
        """
        ticks = self._whole(px, self.ticks_per_usd, "price")
        if ticks <= 0:
            msg = f"price {px} of {self.instrument.coin} is not positive"
            raise VenueProtocolError(msg)
        return ticks

    def lots(self, sz: float) -> int:
        """Size or signed position in lots; raises as `ticks` does."""
        return self._whole(sz, self.lots_per_coin, "size")

    def _whole(self, value: float, scale: float, what: str) -> int:
        scaled = value * scale
        whole = round(scaled)
        if abs(scaled - whole) > _GRID_TOLERANCE:
            msg = (
                f"{what} {value} of {self.instrument.coin} is off the grid of "
                f"{self.instrument.sz_decimals} size decimals: the instrument has changed"
            )
            raise VenueProtocolError(msg)
        return whole

    def level(self, level: WireLevel) -> Level:
        """One price of a book, checked."""
        return Level(self.ticks(level.px), self.lots(level.sz))

    def levels(self, levels: list[WireLevel]) -> tuple[Level, ...]:
        """One side of a book, best first, checked; the loop of `level`, unrolled."""
        px_scale, sz_scale = self.ticks_per_usd, self.lots_per_coin
        found = []
        for level in levels:
            px, sz = level.px * px_scale, level.sz * sz_scale
            ticks, lots = round(px), round(sz)
            is_off = abs(px - ticks) > _GRID_TOLERANCE or abs(sz - lots) > _GRID_TOLERANCE
            if is_off or not ticks:
                self.level(level)  # raises, naming the number
            found.append(Level(ticks, lots))
        return tuple(found)

    def trades(self, rows: list[WireTrade], recv_ns: int) -> Trades:
        """
        Trades of one message as columns, checked; `rows` has at least one.

        A sweep prints dozens of rows: nothing is made per trade but its numbers.
        """
        px_scale, sz_scale = self.ticks_per_usd, self.lots_per_coin
        low, high = -_GRID_TOLERANCE, _GRID_TOLERANCE
        ticks, lots, sides = [], [], []
        for row in rows:
            px, sz = row.px * px_scale, row.sz * sz_scale
            px_ticks, sz_lots = round(px), round(sz)
            if not (low < px - px_ticks < high and low < sz - sz_lots < high and px_ticks):
                self.ticks(row.px)  # raises, naming the number
                self.lots(row.sz)
            ticks.append(px_ticks)
            lots.append(sz_lots)
            sides.append(_BUY if row.side == "B" else _SELL)
        times = [row.time for row in rows]
        tids = [row.tid for row in rows]
        newest_ms = max(times)
        return Trades(
            recv_ns, newest_ms, tuple(times), tuple(sides), tuple(ticks), tuple(lots), tuple(tids)
        )

    def fill(self, fill: WireFill, user: str, recv_ns: int, *, is_snapshot: bool) -> Fill:
        """
        A fill of ours.

        `is_liquidation` says that the venue closed our position by force: liquidated it (the
        counterparty of a liquidation carries the same mark on its fill), deleveraged it, or settled
        it because the market stopped.

        Raises:
            VenueProtocolError: Off the grid, of no size, or dated in the future.
        """
        check_date(fill.time, recv_ns, "fill")
        sz_lots = self.lots(fill.sz)
        if sz_lots <= 0:
            msg = f"fill {fill.tid} of {self.instrument.coin} has the size {fill.sz}"
            raise VenueProtocolError(msg)
        liquidated = fill.liquidation.liquidated_user if fill.liquidation is not None else ""
        return Fill(
            recv_ns=recv_ns,
            venue_ms=fill.time,
            tid=_tid(fill),
            oid=fill.oid,
            cloid=cloid_number(fill.cloid),
            side=SIDES[fill.side],
            px_ticks=self.ticks(fill.px),
            sz_lots=sz_lots,
            fee_usd=fill.fee,
            closed_pnl_usd=fill.closed_pnl,
            start_position_lots=self.lots(fill.start_position),
            is_taker=fill.crossed,
            is_snapshot=is_snapshot,
            is_liquidation=liquidated.lower() == user or is_forced(fill.dir),
        )

    def order(self, order: WireOrder, status: str, venue_ms: int, recv_ns: int) -> OrderUpdate:
        """
        State of an order; without `origSz` the remaining size stands for the original one.

        Raises:
            VenueProtocolError: Off the grid, or dated in the future.
        """
        check_date(venue_ms, recv_ns, "order update")
        sz_lots = self.lots(order.sz)
        return OrderUpdate(
            recv_ns=recv_ns,
            venue_ms=venue_ms,
            oid=order.oid,
            cloid=cloid_number(order.cloid),
            side=SIDES[order.side],
            px_ticks=self.ticks(order.limit_px),
            sz_lots=sz_lots,
            orig_sz_lots=sz_lots if order.orig_sz is None else self.lots(order.orig_sz),
            state=order_state(status),
            status=status,
        )


def is_forced(direction: str) -> bool:
    """Whether the `dir` of a fill says that the venue closed a position without an order."""
    return direction in _FORCED or direction.startswith("Liquidated")


def _tid(fill: WireFill) -> int:
    """
    Id of the trade.

    Before 2024 the venue sent none. What tells the fills of one order apart then is the position
    before each; their checksum is as stable as an id.
    """
    if fill.tid is not None:
        return fill.tid
    return crc32(f"{fill.hash} {fill.start_position} {fill.px} {fill.sz}".encode())
