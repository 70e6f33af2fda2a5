"""
The quoter in hftbacktest, run by the interpreter that has it: `FOLDER REPEAT`.

The strategy is compiled in every process: `njit(cache=True)`, which would keep the machine code on
disk, has no effect in release 2.4.4. Numba refuses ("Cannot cache compiled function as it uses
dynamic globals (such as ctypes pointers ...)"), because the package calls its engine through such
pointers. So warm is the second run of one process. Latencies are constant, the queue is the model
that only trades move, as in mmbot, and fills may be partial.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.versus_side import quoter
from benchmarks.versus_side.facts import read_facts
from benchmarks.versus_side.repeated import print_runs
from hftbacktest import (
    BUY,
    GTX,
    LIMIT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    __version__,
)
from hftbacktest.order import CANCELED
from numba import njit

WAIT = False
"""For the answer of the venue."""
GRID_NS = quoter.GRID_NS
VARIANCE = quoter.VARIANCE
wanted = njit(quoter.wanted)
variance_next = njit(quoter.variance_next)


@njit  # type: ignore[untyped-decorator]
def play(
    hbt: Any, order_qty: float, hold_bps: float, c1_bps: float, c2: float
) -> tuple[int, int, int]:
    """Quote until the data end; looks, placements and cancels."""
    looks, places, cancels = 0, 0, 0
    mid_before, variance = 0.0, VARIANCE
    while hbt.elapse(GRID_NS) == 0:
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        bid_step, ask_step = depth.best_bid_tick, depth.best_ask_tick
        if bid_step <= 0 or ask_step <= bid_step or ask_step > 1 << 60:
            continue
        looks += 1
        mid = (bid_step + ask_step) / 2.0
        if mid_before > 0.0:
            variance = variance_next(variance, mid_before, mid)
        mid_before = mid
        held = hbt.position(0) / order_qty
        bid, ask = wanted(bid_step, ask_step, variance, held, c1_bps, c2)
        hold = mid * hold_bps * 1e-4
        has_bid, has_ask = False, False
        values = hbt.orders(0).values()
        while values.has_next():
            order = values.get()
            if order.req == CANCELED:
                continue
            target = bid if order.side == BUY else ask
            has_one = has_bid if order.side == BUY else has_ask
            if target > 0 and not has_one and abs(order.price_tick - target) <= hold:
                if order.side == BUY:
                    has_bid = True
                else:
                    has_ask = True
            elif order.cancellable:
                hbt.cancel(0, order.order_id, WAIT)
                cancels += 1
        if bid > 0 and not has_bid:
            places += 1
            px = bid * depth.tick_size
            hbt.submit_buy_order(0, places, px, order_qty, GTX, LIMIT, WAIT)
        if ask > 0 and not has_ask:
            places += 1
            px = ask * depth.tick_size
            hbt.submit_sell_order(0, places, px, order_qty, GTX, LIMIT, WAIT)
    return looks, places, cancels


def run(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Load, play, and what came of it."""
    order_qty = facts["order_lots"] / facts["lots_per_coin"]
    asset = (
        BacktestAsset()
        .data([str(folder / "hftbacktest.npz")])
        .linear_asset(1.0)
        .constant_order_latency(quoter.ORDER_LATENCY_NS, quoter.REPLY_LATENCY_NS)
        .risk_adverse_queue_model()
        .partial_fill_exchange()
        .trading_value_fee_model(quoter.MAKER_FEE, quoter.TAKER_FEE)
        .tick_size(facts["step_ticks"] / facts["ticks_per_usd"])
        .lot_size(1.0 / facts["lots_per_coin"])
        .last_trades_capacity(0)
    )
    hbt = HashMapMarketDepthBacktest([asset])
    looks, places, cancels = play(
        hbt, order_qty, facts["hold_bps"], *quoter.terms_bps(facts["k_per_bp"])
    )
    state = hbt.state_values(0)
    figures = {
        "decisions": looks,
        "requests": places + cancels,
        "fills": int(state.num_trades),
        "filled_usd": float(state.trading_value),
        "position": float(state.position),
    }
    hbt.close()
    return figures


def main() -> None:
    """Run as often as asked, and print the figures of the last."""
    folder = Path(sys.argv[1])
    facts = read_facts(folder)
    print_runs(lambda: run(folder, facts), int(sys.argv[2]), version=__version__)


if __name__ == "__main__":
    main()
