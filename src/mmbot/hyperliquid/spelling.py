"""
Numbers the way the venue writes them: prices, sizes and client order ids as text.

What is signed is the canonical text, so `81359.0` for `81359` would recover a stranger's address.

Source: Hyperliquid docs, "Tick and lot size" and "Signing".
"""

from __future__ import annotations

from typing import Final

from mmbot.core.types import PX_DECIMALS, SIGNIFICANT_FIGURES, Instrument
from mmbot.errors import InvariantError

_QUANTITY_MAX: Final = 10**18
"""Ticks or lots beyond any market; below it every number fits a short msgpack string."""


def _decimal(digits: str, decimals: int) -> str:
    """Put the point `decimals` before the end of `digits`, without trailing zeros."""
    if decimals == 0:
        return digits
    if len(digits) > decimals:
        text = f"{digits[:-decimals]}.{digits[-decimals:]}"
    else:
        text = f"0.{digits.zfill(decimals)}"
    return text.rstrip("0").rstrip(".") if text[-1] == "0" else text


def px_wire(instrument: Instrument, ticks: int) -> str:
    """
    Write a price the way the venue does: `81359`, `0.00015`.

    Raises:
        InvariantError: The venue would refuse the price (not positive, or off its grid).
    """
    digits = str(ticks)
    text = _decimal(digits, PX_DECIMALS - instrument.sz_decimals)
    if 0 < ticks < _QUANTITY_MAX and (
        # `is_valid_px`, told from the text at hand: five significant figures, or an integer.
        len(digits) <= SIGNIFICANT_FIGURES
        or len(digits.rstrip("0")) <= SIGNIFICANT_FIGURES
        or "." not in text
    ):
        return text
    msg = f"{ticks} ticks is no valid price of {instrument.coin}; round outward before sending"
    raise InvariantError(msg)


def sz_wire(instrument: Instrument, lots: int) -> str:
    """
    Write a size the way the venue does.

    Raises:
        InvariantError: The size is not positive, or beyond any market.
    """
    if 0 < lots < _QUANTITY_MAX:
        return _decimal(str(lots), instrument.sz_decimals)
    msg = f"size of an order of {instrument.coin} must be positive and sane, got {lots} lots"
    raise InvariantError(msg)


def cloid_wire(cloid: int) -> str:
    """
    Write a cloid: `0x` and 32 lower-case hex digits.

    Raises:
        InvariantError: It does not fit 128 bits.
    """
    try:
        return "0x" + cloid.to_bytes(16, "big").hex()
    except OverflowError:
        msg = f"cloid must fit 128 bits, got {cloid:#x}"
        raise InvariantError(msg) from None
