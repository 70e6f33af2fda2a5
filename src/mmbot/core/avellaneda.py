"""
The quotes of Avellaneda and Stoikov for a finite horizon: the theory that the quoter is checked by.

Source: Avellaneda and Stoikov (2008), High-frequency trading in a limit order book, Quantitative
Finance 8(3), equations 3.17 (reservation price) and 3.18 (spread).
"""

from __future__ import annotations

from math import log1p


def spread(
    gamma: float, vol: float, k: float, left: float, *, has_horizon_term: bool = True
) -> float:
    """
    Optimal total spread, in the unit of the price.

    Args:
        gamma: Risk aversion, per unit of price and of inventory, > 0.
        vol: Volatility, price per square root of time.
        k: Decay of the fill intensity, per unit of price, > 0.
        left: Time to the end, T - t.
        has_horizon_term: The published spread; the working paper of 2006 left the first term out.
    """
    if gamma <= 0 or k <= 0:
        msg = f"gamma and k must be positive, got {gamma} and {k}"
        raise ValueError(msg)
    risk = gamma * vol * vol * left if has_horizon_term else 0.0
    return risk + 2.0 / gamma * log1p(gamma / k)


def depths(
    inventory: float, half: float, gamma: float, vol: float, left: float
) -> tuple[float, float]:
    """Bid and ask depth: `half` about the reservation price, mid - inventory gamma vol^2 left."""
    lean = inventory * gamma * vol * vol * left
    return half + lean, half - lean
