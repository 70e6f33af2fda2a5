"""
Exact numbers of the wire: decimal strings to integers of a unit and back, without floats between.

Sources: Hyperliquid docs, "Tick and lot size", "Notation".
"""

from __future__ import annotations

from math import floor, log10

from mmbot.core.types import PX_DECIMALS, SIGNIFICANT_FIGURES

U_DECIMALS = 6
"""Decimals of money: a micro-dollar."""


def parse_units(text: str, decimals: int) -> int | None:
    """
    The number `text` in units of 10^-decimals; None when it is no exact multiple of the unit.

    Accepts digits with at most one dot, as the venue's schema does; anything else is None too.
    """
    whole, dot, frac = text.partition(".")
    if not (whole or frac) or (dot and not frac and not whole):
        return None
    digits = whole + frac
    if not (digits.isascii() and digits.isdigit()):
        return None
    frac = frac.rstrip("0")
    if len(frac) > decimals:
        return None
    return int((whole or "0") + frac.ljust(decimals, "0"))


def wire(units: int, decimals: int) -> str:
    """`units` of 10^-decimals as the venue prints them: no trailing zeros, but one decimal kept."""
    sign = "-" if units < 0 else ""
    if decimals <= 0:
        return f"{sign}{abs(units)}.0"
    whole, rest = divmod(abs(units), 10**decimals)
    if rest == 0:
        return f"{sign}{whole}.0"
    return f"{sign}{whole}.{rest:0{decimals}d}".rstrip("0")


def plain(units: int, decimals: int) -> str:
    """As `wire`, but an integer without its decimal: the form inside error sentences."""
    return wire(units, decimals).removesuffix(".0")


def wire_u(amount_u: int) -> str:
    """Micro-dollars in the venue's print."""
    return wire(amount_u, U_DECIMALS)


def wire_float(value: float, decimals: int) -> str:
    """A ratio or rate, rounded to `decimals`, in the venue's print."""
    return wire(round(value * 10**decimals), decimals)


def step_of(px_ticks: int, sz_decimals: int) -> int:
    """Ticks between valid prices at `px_ticks`: five significant figures, integers always valid."""
    step: int = 10 ** max(0, len(str(px_ticks)) - SIGNIFICANT_FIGURES)
    coarsest: int = 10 ** (PX_DECIMALS - sz_decimals)
    return min(step, coarsest)


def round_significant(px_ticks: int, figures: int, mantissa: int, *, up: bool) -> int:
    """
    `px_ticks` rounded to `figures` significant figures (times `mantissa`), bids down and asks up.

    Source: Hyperliquid docs, "L2 book snapshot" (`nSigFigs`, `mantissa`).
    """
    if px_ticks <= 0:
        return px_ticks
    exponent = floor(log10(px_ticks)) + 1 - figures
    # log10 of an integer just below a power of ten may round up to it.
    if 10 ** (exponent + figures - 1) > px_ticks:
        exponent -= 1
    step: int = 10 ** max(0, exponent) * mantissa
    return -(-px_ticks // step) * step if up else px_ticks // step * step
