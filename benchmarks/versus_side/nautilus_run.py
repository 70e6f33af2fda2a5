"""
The quoter in NautilusTrader's backtest engine, run by the interpreter that has it: `FOLDER REPEAT`.

The low-level engine with what is not needed switched off: no log, no pre-trade risk checks, no
analysis at the end. The data comes from its own Parquet catalog. Orders travel
`ORDER_LATENCY_NS`; the queue is its own model, by which only trades move an order forward. The
engine has no latency of market data and none of the answers: the venue sees a frame when we do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.versus_side import quoter
from benchmarks.versus_side.facts import read_facts
from benchmarks.versus_side.nautilus_market import instrument_of
from benchmarks.versus_side.repeated import print_runs
from nautilus_trader import __version__
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USDC
from nautilus_trader.model.data import OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AccountType, BookType, OmsType, OrderSide
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy


class Quoter(Strategy):  # type: ignore[misc]
    """One bid and one ask, looked at on the grid."""

    def __init__(self, instrument: Any, facts: dict[str, Any]) -> None:
        super().__init__(StrategyConfig())
        self.instrument = instrument
        self.step_px = facts["step_ticks"] / facts["ticks_per_usd"]
        self.px_decimals = facts["px_decimals"]
        self.order_qty = facts["order_lots"] / facts["lots_per_coin"]
        self.quantity = Quantity(self.order_qty, facts["sz_decimals"])
        self.c1_bps, self.c2 = quoter.terms_bps(facts["k_per_bp"])
        self.hold_bps = facts["hold_bps"]
        self.mid_before, self.variance = 0.0, quoter.VARIANCE
        self.position, self.filled_usd = 0.0, 0.0
        self.looks = self.places = self.cancels = self.fills = 0
        self.resting: list[tuple[Any, int]] = []

    def on_start(self) -> None:
        """Hear the book and the clock."""
        self.subscribe_order_book_deltas(self.instrument.id, book_type=BookType.L2_MBP)
        self.book: Any = None
        self.clock.set_timer_ns("grid", quoter.GRID_NS, 0, 0, self.on_look)

    def on_order_filled(self, event: Any) -> None:
        """Count."""
        size = float(event.last_qty)
        self.fills += 1
        self.filled_usd += size * float(event.last_px)
        self.position += size if event.order_side == OrderSide.BUY else -size

    def on_look(self, _event: Any) -> None:
        """One look."""
        book = self.book
        if book is None:
            book = self.book = self.cache.order_book(self.instrument.id)
        if book is None:
            return
        bid_px, ask_px = book.best_bid_price(), book.best_ask_price()
        if bid_px is None or ask_px is None:
            return
        bid_step = round(float(bid_px) / self.step_px)
        ask_step = round(float(ask_px) / self.step_px)
        if ask_step <= bid_step:
            return
        self.looks += 1
        mid = (bid_step + ask_step) / 2.0
        if self.mid_before > 0.0:
            self.variance = quoter.variance_next(self.variance, self.mid_before, mid)
        self.mid_before = mid
        held = self.position / self.order_qty
        targets = quoter.wanted(bid_step, ask_step, self.variance, held, self.c1_bps, self.c2)
        self.send(targets, mid * self.hold_bps * 1e-4)

    def send(self, targets: tuple[int, int], hold: float) -> None:
        """Cancel what is out of place, place what is missing."""
        has = [False, False]
        kept: list[tuple[Any, int]] = []
        for order, step in self.resting:
            if order.is_closed:
                continue
            kept.append((order, step))
            if order.is_pending_cancel:
                continue
            at = 0 if order.side == OrderSide.BUY else 1
            if targets[at] > 0 and not has[at] and abs(step - targets[at]) <= hold:
                has[at] = True
            elif order.is_open:
                self.cancels += 1
                self.cancel_order(order)
        for at, side in enumerate((OrderSide.BUY, OrderSide.SELL)):
            if targets[at] > 0 and not has[at]:
                self.places += 1
                order = self.order_factory.limit(
                    self.instrument.id,
                    side,
                    self.quantity,
                    Price(targets[at] * self.step_px, self.px_decimals),
                    post_only=True,
                )
                kept.append((order, targets[at]))
                self.submit_order(order)
        self.resting = kept


def run(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Load, play, and what came of it."""
    instrument = instrument_of(facts)
    config = BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True),
        risk_engine=RiskEngineConfig(bypass=True),
        run_analysis=False,
    )
    engine = BacktestEngine(config)
    engine.add_venue(
        venue=instrument.id.venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDC,
        starting_balances=[Money(10_000, USDC)],
        book_type=BookType.L2_MBP,
        latency_model=LatencyModel(base_latency_nanos=quoter.ORDER_LATENCY_NS),
        queue_position=True,
    )
    engine.add_instrument(instrument)
    catalog = ParquetDataCatalog(folder / "catalog")
    engine.add_data(catalog.query(OrderBookDelta), sort=False)
    engine.add_data(catalog.query(TradeTick), sort=False)
    engine.sort_data()
    strategy = Quoter(instrument, facts)
    engine.add_strategy(strategy)
    engine.run()
    figures = {
        "decisions": strategy.looks,
        "requests": strategy.places + strategy.cancels,
        "fills": strategy.fills,
        "filled_usd": strategy.filled_usd,
        "position": strategy.position,
    }
    engine.dispose()
    return figures


def main() -> None:
    """Run as often as asked, and print the figures of the last."""
    folder = Path(sys.argv[1])
    facts = read_facts(folder)
    print_runs(lambda: run(folder, facts), int(sys.argv[2]), version=__version__)


if __name__ == "__main__":
    main()
