"""What the emulated venue tells, as events of the core."""

from __future__ import annotations

from typing import Any, Final

from mmbot.core.events import Fill, OrderUpdate, Trades
from mmbot.core.types import Instrument, Side
from mmbot.emulator.specs import TradePrint
from mmbot.hyperliquid.grid import is_forced
from mmbot.hyperliquid.rejections import order_state

_SIDES: Final = {"B": Side.BUY, "A": Side.SELL}


def fill_of(row: dict[str, Any], instrument: Instrument, recv_ns: int) -> Fill:
    """A row of `userFills`."""
    cloid = row.get("cloid")
    return Fill(
        recv_ns=recv_ns,
        venue_ms=row["time"],
        tid=row["tid"],
        oid=row["oid"],
        cloid=None if cloid is None else int(cloid, 16),
        side=_SIDES[row["side"]],
        px_ticks=round(instrument.ticks(float(row["px"]))),
        sz_lots=round(instrument.lots(float(row["sz"]))),
        fee_usd=float(row["fee"]),
        closed_pnl_usd=float(row["closedPnl"]),
        start_position_lots=round(instrument.lots(float(row["startPosition"]))),
        is_taker=row["crossed"],
        is_liquidation="liquidation" in row or is_forced(row["dir"]),
    )


def update_of(row: dict[str, Any], instrument: Instrument, recv_ns: int) -> OrderUpdate:
    """An element of `orderUpdates`."""
    order = row["order"]
    cloid = order.get("cloid")
    return OrderUpdate(
        recv_ns=recv_ns,
        venue_ms=row["statusTimestamp"],
        oid=order["oid"],
        cloid=None if cloid is None else int(cloid, 16),
        side=_SIDES[order["side"]],
        px_ticks=round(instrument.ticks(float(order["limitPx"]))),
        sz_lots=round(instrument.lots(float(order["sz"]))),
        orig_sz_lots=round(instrument.lots(float(order["origSz"]))),
        state=order_state(row["status"]),
        status=row["status"],
    )


def trades_of(prints: list[TradePrint], recv_ns: int) -> Trades:
    """The trades of one instant as one message; `prints` is not empty."""
    return Trades(
        recv_ns=recv_ns,
        venue_ms=max([it.time_ms for it in prints]),
        times_ms=tuple([it.time_ms for it in prints]),
        sides=tuple([it.side for it in prints]),
        px_ticks=tuple([it.px_ticks for it in prints]),
        sz_lots=tuple([it.sz_lots for it in prints]),
        tids=tuple([it.tid for it in prints]),
    )
