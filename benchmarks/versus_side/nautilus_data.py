"""Rows to NautilusTrader's own catalog, run by the interpreter that has it, ahead of time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.versus_side.facts import COLUMNS, TRADE, Column, read_facts, read_rows
from benchmarks.versus_side.nautilus_market import instrument_of
from nautilus_trader.model.data import BookOrder, OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookAction, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import TradeId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog


def objects(rows: dict[str, Column], facts: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Changes of the book, and trades; both bear the venue's time and the time of receipt."""
    instrument_id = instrument_of(facts).id
    px_decimals, sz_decimals = facts["px_decimals"], facts["sz_decimals"]
    ticks_per_usd, lots_per_coin = facts["ticks_per_usd"], facts["lots_per_coin"]
    deltas: list[Any] = []
    trades: list[Any] = []
    columns = (rows[name].tolist() for name in COLUMNS)
    for n, (kind, side, px_ticks, sz_lots, venue_ns, recv_ns, is_last) in enumerate(
        zip(*columns, strict=True)
    ):
        px = Price(px_ticks / ticks_per_usd, px_decimals)
        sz = Quantity(sz_lots / lots_per_coin, sz_decimals)
        if kind == TRADE:
            aggressor = AggressorSide.BUYER if side > 0 else AggressorSide.SELLER
            trades.append(
                TradeTick(instrument_id, px, sz, aggressor, TradeId(str(n)), venue_ns, recv_ns)
            )
            continue
        order_side = OrderSide.BUY if side > 0 else OrderSide.SELL
        action = BookAction.UPDATE if sz_lots else BookAction.DELETE
        flags = RecordFlag.F_LAST if is_last else 0
        order = BookOrder(order_side, px, sz, 0)
        deltas.append(OrderBookDelta(instrument_id, action, order, flags, n, venue_ns, recv_ns))
    return deltas, trades


def main() -> None:
    """Folder that holds the rows; the catalog is written beside them."""
    folder = Path(sys.argv[1])
    facts = read_facts(folder)
    deltas, trades = objects(read_rows(folder), facts)
    place = folder / "catalog"
    place.mkdir()
    catalog = ParquetDataCatalog(place)
    catalog.write_data([instrument_of(facts)])
    catalog.write_data(deltas)
    catalog.write_data(trades)


if __name__ == "__main__":
    main()
