"""
Orders of ours at a market that does not know them: on their way, in the queue, met by a trade.

A recording (`tape`, which says how they fill) and a live tape (`paper`) are such markets. Why an
order is refused on arrival is here as well. Source: Hyperliquid docs, "Error responses".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import msgspec

from mmbot.core.events import Rejection, Trade
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


class Approach(msgspec.Struct):
    """
    A price on its way to the venue: what will stand ahead of it, and whether it is refused.

    Attributes:
        ahead_lots: Largest size that rested at the price so far, less what traded there since.
        is_refused: It would have met the other side at some moment.
        since_ms: Venue's time of the book that `ahead_lots` was read from. Trades up to it are in
            that book already, in whatever order the two became known.
    """

    side: Side
    px_ticks: int
    ahead_lots: int
    is_refused: bool
    since_ms: int

    def meet(self, book: RecordedBook) -> None:
        """The book has changed while we are on our way."""
        ahead_lots = book.queue_lots(self.side, self.px_ticks)
        if ahead_lots > self.ahead_lots:
            self.ahead_lots, self.since_ms = ahead_lots, book.venue_ms
        self.is_refused = self.is_refused or book.crosses(self.side, self.px_ticks)

    def pass_by(self, trade: Trade) -> None:
        """Somebody traded while we are on our way."""
        if trade.side is self.side or trade.venue_ms <= self.since_ms:
            return
        through = (self.px_ticks - trade.px_ticks) * self.side
        if through > 0:
            self.ahead_lots = 0
        elif through == 0:
            self.ahead_lots = max(0, self.ahead_lots - trade.sz_lots)


def set_out(book: RecordedBook, side: Side, px_ticks: int) -> Approach:
    """A price that leaves for the venue now."""
    ahead_lots = book.queue_lots(side, px_ticks)
    return Approach(side, px_ticks, ahead_lots, book.crosses(side, px_ticks), book.venue_ms)


class Waiting(Protocol):
    """An order of ours in the book, as a trade finds it."""

    ahead_lots: int

    @property
    def oid(self) -> int:
        """Its number; the lower came first."""

    @property
    def side(self) -> Side:
        """Its side."""

    @property
    def px_ticks(self) -> int:
        """Its price."""

    @property
    def left_lots(self) -> int:
        """What is not filled yet."""

    @property
    def is_reduce_only(self) -> bool:
        """Whether it only makes the position smaller."""


W = TypeVar("W", bound=Waiting)


def behind_own(ahead_lots: int, side: Side, px_ticks: int, others: Iterable[Waiting]) -> int:
    """Lots ahead of an order that joins a price, our own orders there included."""
    for other in others:
        if other.side is side and other.px_ticks == px_ticks:
            ahead_lots = max(ahead_lots, other.ahead_lots + other.left_lots)
    return ahead_lots


def hits(
    orders: Iterable[W], trade: Trade, position_lots: Callable[[], int]
) -> Iterator[tuple[W, int]]:
    """
    Give what a trade fills of our orders, best price first, and shorten the queues before them.

    At its price it fills what exceeds the queue, beyond it the rest; all our orders together get no
    more than its size. Each fill has to be booked before the next is asked for: `position_lots`
    bounds what only reduces.
    """
    side = trade.side.opposite
    left = sz_lots = trade.sz_lots
    hit = [order for order in orders if order.side is side]
    hit.sort(key=lambda order: (-order.px_ticks * side, order.oid))
    for order in hit:
        through = (order.px_ticks - trade.px_ticks) * side
        if through < 0:
            break
        beyond = sz_lots if through else max(0, sz_lots - order.ahead_lots)
        order.ahead_lots = 0 if through else max(0, order.ahead_lots - sz_lots)
        lots = min(order.left_lots, beyond, left)
        if order.is_reduce_only:
            lots = min(lots, max(0, -position_lots() * side))
        if lots > 0:
            left -= lots
            yield order, lots


class Flight(Approach):
    """A placement or move on its way."""

    intent: Place | Move


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
