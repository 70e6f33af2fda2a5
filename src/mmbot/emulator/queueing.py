"""What rested at a price of a recorded market: the queue an order joins, what it would cross."""

from __future__ import annotations

from math import ceil

from mmbot.core.events import Bbo, Book, Level
from mmbot.core.types import Side


class RecordedBook:
    """
    Newest recorded touch and newest recorded levels, in the order of the venue's time.

    Args:
        queue_factor: Multiplies every size that stands ahead of an order.

    Attributes:
        touch: Newest best price and size of each side, None without one.
        venue_ms: Venue's time of the newest frame; 0 before the first.
    """

    def __init__(self, queue_factor: float) -> None:
        self.touch: dict[Side, Level | None] = {Side.BUY: None, Side.SELL: None}
        self._levels: dict[Side, tuple[Level, ...]] = {Side.BUY: (), Side.SELL: ()}
        self._queue_factor = queue_factor
        self.venue_ms = 0

    def apply(self, frame: Bbo | Book) -> None:
        """Take the next frame. A book that is older than the touch only tells what lies behind."""
        is_older = frame.venue_ms < self.venue_ms
        self.venue_ms = max(self.venue_ms, frame.venue_ms)
        if isinstance(frame, Bbo):
            if is_older:
                return
            self.touch[Side.BUY], self.touch[Side.SELL] = frame.bid, frame.ask
            return
        self._levels[Side.BUY], self._levels[Side.SELL] = frame.bids, frame.asks
        if is_older:
            return
        self.touch[Side.BUY] = frame.bids[0] if frame.bids else None
        self.touch[Side.SELL] = frame.asks[0] if frame.asks else None

    def copy(self) -> RecordedBook:
        """The same book, to go on by itself."""
        made = RecordedBook(self._queue_factor)
        made.touch, made.venue_ms = dict(self.touch), self.venue_ms
        made._levels = dict(self._levels)
        return made

    def visible(self, side: Side) -> list[Level]:
        """What is known to rest on a side, best first: the touch, and the levels behind it."""
        touch = self.touch[side]
        if touch is None:
            return []
        behind = (
            level for level in self._levels[side] if (touch.px_ticks - level.px_ticks) * side > 0
        )
        return [touch, *behind]

    def crosses(self, side: Side, px_ticks: int) -> bool:
        """Whether an order at `px_ticks` would meet the touch of the other side."""
        other = self.touch[side.opposite]
        return other is not None and (px_ticks - other.px_ticks) * side >= 0

    def queue_lots(self, side: Side, px_ticks: int) -> int:
        """
        Lots of others ahead of an order that joins `px_ticks` now.

        Better than the touch: none. At the touch: its size. Among the recorded levels: the size
        there. Anywhere else (beyond the last level, or between the newest touch and an older book)
        nobody recorded it, and the largest visible level of the side stands for it.
        """
        touch, levels = self.touch[side], self._levels[side]
        if touch is not None:
            behind = (touch.px_ticks - px_ticks) * side
            if behind < 0:
                return 0
            if behind == 0:
                return ceil(touch.sz_lots * self._queue_factor)
        is_recorded = (
            len(levels) > 0
            and (levels[0].px_ticks - px_ticks) * side >= 0
            and (levels[-1].px_ticks - px_ticks) * side <= 0
        )
        if is_recorded:
            there = (level.sz_lots for level in levels if level.px_ticks == px_ticks)
            return ceil(next(there, 0) * self._queue_factor)
        visible = [level.sz_lots for level in levels]
        if touch is not None:
            visible.append(touch.sz_lots)
        return ceil(max(visible, default=0) * self._queue_factor)
