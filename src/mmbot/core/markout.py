"""What the market did after our fills."""

from __future__ import annotations

from collections import deque

from mmbot.core.book import BookState
from mmbot.core.events import Fill
from mmbot.core.types import USD_PER_TICK_LOT

HORIZONS_S = (1, 5, 30)


class Markouts:
    """
    Adverse move after each fill at 1, 5 and 30 s, in bps of the mid, positive against us.

        adverse(h) = -side (mid_{t+h} - mid_t) / mid_t

    `mid_t` is the last mid with a venue time strictly before the fill, `mid_{t+h}` the last one at
    or before t + h: both at the fill, neither at the placement. Means are weighted by notional,
    so that they are money. The spread captured is `side (mid_t - price)`, in USD.
    """

    __slots__ = ("_next_ms", "_pending", "_sums", "_weights", "spread_capture_usd", "unmarked")

    def __init__(self) -> None:
        self._pending: tuple[deque[tuple[int, float, int, float]], ...] = tuple(
            deque() for _ in HORIZONS_S
        )
        self._sums = [0.0] * len(HORIZONS_S)
        self._weights = [0.0] * len(HORIZONS_S)
        self._next_ms: int | None = None
        self.spread_capture_usd = 0.0
        self.unmarked = 0
        """Fills with no mid before them; they have neither capture nor markout."""

    def on_fill(self, fill: Fill, book: BookState) -> float | None:
        """Start the clocks of a new fill; its distance from `mid_t` in bps, None without a mid."""
        mid = book.mid_before(fill.venue_ms)
        if mid is None:
            self.unmarked += 1
            return None
        captured = fill.side * (mid - fill.px_ticks) + 0.0  # an edge of zero has no sign
        self.spread_capture_usd += captured * fill.sz_lots * USD_PER_TICK_LOT
        weight = fill.px_ticks * fill.sz_lots * USD_PER_TICK_LOT
        for i, horizon_s in enumerate(HORIZONS_S):
            due_ms = fill.venue_ms + horizon_s * 1000
            self._pending[i].append((due_ms, mid, int(fill.side), weight))
            if self._next_ms is None or due_ms < self._next_ms:
                self._next_ms = due_ms
        return captured / mid * 1e4

    def advance(self, book: BookState) -> None:
        """Settle every horizon that the book's venue time has passed."""
        if self._next_ms is None or book.venue_ms <= self._next_ms:
            return
        now_ms = book.venue_ms
        upcoming: int | None = None
        for i, queue in enumerate(self._pending):
            waiting: deque[tuple[int, float, int, float]] = deque()
            for entry in queue:
                due_ms, mid, side, weight = entry
                if due_ms >= now_ms:
                    waiting.append(entry)
                    upcoming = due_ms if upcoming is None else min(upcoming, due_ms)
                    continue
                after = book.mid_at(due_ms)
                if after is None:
                    # The history no longer reaches back: counting it as zero would be invented.
                    self.unmarked += 1
                    continue
                self._sums[i] += -side * (after - mid) / mid * 1e4 * weight
                self._weights[i] += weight
            self._pending[i].clear()
            self._pending[i].extend(waiting)
        self._next_ms = upcoming

    def adverse_bps(self, horizon_s: int) -> float | None:
        """Mean adverse move at a horizon of `HORIZONS_S`, None while no fill is that old."""
        i = HORIZONS_S.index(horizon_s)
        return self._sums[i] / self._weights[i] if self._weights[i] > 0 else None
