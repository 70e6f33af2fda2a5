"""
The market seen in a mirror: up is down, bids are asks.

Prices are reflected at the price of the start, so whole ticks stay whole ticks and valid ones
valid. The venue and its draws are those of the plain run to the last bit; what an engine behind the
mirror does differently is an asymmetry of its own. Fees stay those the venue charged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from mmbot.core.events import (
    AssetCtx,
    Book,
    Event,
    Fill,
    Level,
    OrderUpdate,
    ReferencePx,
    Trades,
)
from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side

_Quote = TypeVar("_Quote", Place, Move, OrderUpdate)


class Mirror:
    """
    Reflect events on their way to an engine, and its orders on their way back.

    Args:
        instrument: Grid of the prices.
        start_px: Price at which the market is reflected, USD.
        reference_px: The same of the reference; 0 without one.
    """

    def __init__(self, instrument: Instrument, start_px: float, reference_px: float) -> None:
        start_ticks = instrument.ticks(start_px)
        step = instrument.step_ticks(round(start_ticks))
        self._axis_ticks = round(2 * start_ticks / step) * step
        self._axis_px = instrument.px(self._axis_ticks)
        self._reference_axis_px = 2 * reference_px
        self._reflections: dict[type, Callable[[Any], Event]] = {
            Book: self._book,
            Trades: self._trades,
            AssetCtx: self._ctx,
            ReferencePx: self._reference,
            Fill: self._fill,
            OrderUpdate: self.order,
        }

    def event(self, event: Event) -> Event:
        """An event as the engine behind the mirror sees it."""
        reflect = self._reflections.get(type(event))
        return event if reflect is None else reflect(event)

    def order(self, order: _Quote) -> _Quote:
        """A placement, move or report of an order with the other side and the reflected price."""
        px_ticks = self._axis_ticks - order.px_ticks
        return msgspec.structs.replace(order, side=order.side.opposite, px_ticks=px_ticks)

    def _levels(self, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        return tuple([Level(self._axis_ticks - it.px_ticks, it.sz_lots) for it in levels])

    def _book(self, book: Book) -> Book:
        return msgspec.structs.replace(
            book, bids=self._levels(book.asks), asks=self._levels(book.bids)
        )

    def _trades(self, trades: Trades) -> Trades:
        return msgspec.structs.replace(
            trades,
            sides=tuple([Side(-side) for side in trades.sides]),
            px_ticks=tuple([self._axis_ticks - px for px in trades.px_ticks]),
        )

    def _ctx(self, ctx: AssetCtx) -> AssetCtx:
        return msgspec.structs.replace(
            ctx,
            mark_px=self._axis_px - ctx.mark_px,
            oracle_px=self._axis_px - ctx.oracle_px,
            funding_per_h=-ctx.funding_per_h,
        )

    def _reference(self, reference: ReferencePx) -> ReferencePx:
        return msgspec.structs.replace(reference, px=self._reference_axis_px - reference.px)

    def _fill(self, fill: Fill) -> Fill:
        return msgspec.structs.replace(
            fill,
            side=fill.side.opposite,
            px_ticks=self._axis_ticks - fill.px_ticks,
            start_position_lots=-fill.start_position_lots,
        )
