"""
The strategy of the comparison: one GLFT bid and ask, the same in every engine.

Plain functions of floats, so that numba compiles them for hftbacktest and the others call them as
they are. Depths are in bps of the mid, inventory in orders. Volatility comes from the mid of the
last looks; the intensity is a constant, and so is its decay, which sets the width: 0.12 per bp
makes it 8 bps, mmbot's own. A resting order is kept while it is within `hold_bps` of where it is
wanted, which keeps the number of requests low; that is to the advantage of the engines in which a
request costs more, and with 0 every step of the wanted price is followed.

Formula: Gueant, Lehalle, Fernandez-Tapia (2013), section 4, with xi = gamma and delta = 1, as in
`mmbot.core.glft`.
"""

from __future__ import annotations

from math import ceil, exp, floor, log1p, sqrt
from typing import Final

GRID_NS: Final = 100_000_000
"""Time between two looks at the market."""
GAMMA_PER_BP: Final = 0.004
A_PER_S: Final = 0.05
ORDER_USD: Final = 25.0
ORDERS_MAX: Final = 4.0
"""Inventory, in orders, at which the side that adds to it ends."""
MEMORY: Final = 0.998
"""Share of the variance that a look keeps: 50 s of memory."""
VARIANCE: Final = 0.25
"""Of the mid at the start, bps squared a second."""

ORDER_LATENCY_NS: Final = 200_000_000
REPLY_LATENCY_NS: Final = 100_000_000
MAKER_FEE: Final = 1.5e-4
TAKER_FEE: Final = 4.5e-4


def terms_bps(k_per_bp: float) -> tuple[float, float]:
    """Least half spread, bps, and skew per order held, in units of the volatility."""
    ratio = GAMMA_PER_BP / k_per_bp
    growth = exp((1.0 / ratio + 1.0) * log1p(ratio))
    c1_bps = log1p(ratio) / GAMMA_PER_BP
    return c1_bps, sqrt(GAMMA_PER_BP * growth / (2.0 * A_PER_S * k_per_bp))


def variance_next(variance: float, mid_before: float, mid: float) -> float:
    """Variance of the mid, bps squared a second, one look later."""
    move_bps = (mid / mid_before - 1.0) * 1e4
    return MEMORY * variance + (1.0 - MEMORY) * move_bps * move_bps * (1e9 / GRID_NS)


def wanted(
    bid_step: int, ask_step: int, variance: float, held: float, c1_bps: float, c2: float
) -> tuple[int, int]:
    """
    Prices of the bid and the ask, in steps; 0 where there is to be none.

    `bid_step` and `ask_step` are the touch, `held` is the inventory in orders, long positive.
    """
    mid = (bid_step + ask_step) / 2.0
    skew_bps = c2 * sqrt(variance)
    half_bps = c1_bps + skew_bps / 2.0
    bid = min(floor(mid * (1.0 - (half_bps + skew_bps * held) * 1e-4)), ask_step - 1)
    ask = max(ceil(mid * (1.0 + (half_bps - skew_bps * held) * 1e-4)), bid_step + 1)
    # Tolerance: inventory is a sum of floats in two of the engines.
    if held > ORDERS_MAX - 0.5:
        bid = 0
    if held < 0.5 - ORDERS_MAX:
        ask = 0
    return bid, ask
