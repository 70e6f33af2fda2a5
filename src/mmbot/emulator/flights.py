"""
Orders of ours at a recorded market: on their way, resting, and why one is refused on arrival.

Source: Hyperliquid docs, "Error responses"; `tape` says how they fill.
"""

from __future__ import annotations

import msgspec

from mmbot.core.events import Rejection
from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side, Tif, notional_usd
from mmbot.emulator.queueing import RecordedBook

_MIN_NOTIONAL_USD = 10.0
"""Smallest order that does not close a position."""


class TapeOrder(msgspec.Struct):
    """An order of ours; `ahead_lots` is all that must trade before it, our own included."""

    cloid: int
    oid: int
    side: Side
    px_ticks: int
    sz_lots: int
    left_lots: int
    is_reduce_only: bool
    ahead_lots: int
    is_crossed: bool = False


class Flight(msgspec.Struct):
    """A placement or move on its way; `is_refused` once it would have met the other side."""

    intent: Place | Move
    ahead_lots: int
    is_refused: bool


def refusal_of(
    flight: Flight,
    *,
    instrument: Instrument,
    book: RecordedBook,
    is_known: bool,
    position_lots: int,
    own_ticks: int | None,
) -> tuple[Rejection, str] | None:
    """
    Why the venue refuses what has just arrived, if it does.

    Args:
        flight: The placement or move.
        instrument: Grid of its price.
        book: The recorded book, for the touch that a post-only refusal shows.
        is_known: An order of this cloid rests.
        position_lots: Ours, signed.
        own_ticks: Best price of ours on the other side.
    """
    intent = flight.intent
    side, px_ticks = intent.side, intent.px_ticks
    if isinstance(intent, Place):
        if intent.tif is not Tif.ALO:
            return Rejection.OTHER, "A recorded market answers post-only orders alone."
        if is_known:
            return Rejection.OTHER, "Duplicate client order id."
    if intent.sz_lots <= 0:
        return Rejection.SIZE, "Order has zero size."
    if not instrument.is_valid_px(px_ticks):
        return Rejection.TICK, "Price must be divisible by tick size."
    closes = -position_lots * side
    if intent.is_reduce_only and closes <= 0:
        return Rejection.REDUCE_ONLY, "Reduce only order would increase position."
    is_dust = intent.is_reduce_only and intent.sz_lots >= closes
    if notional_usd(px_ticks, intent.sz_lots) < _MIN_NOTIONAL_USD and not is_dust:
        return Rejection.MIN_NOTIONAL, "Order must have minimum value of $10."
    if flight.is_refused or (own_ticks is not None and (px_ticks - own_ticks) * side >= 0):
        bid, ask = (book.touch[touched] for touched in (Side.BUY, Side.SELL))
        shown = "@".join(f"{instrument.px(t.px_ticks):g}" if t else "-" for t in (bid, ask))
        return (
            Rejection.POST_ONLY,
            f"Post only order would have immediately matched, bbo was {shown}.",
        )
    return None
