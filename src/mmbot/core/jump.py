"""A move of the mid within a second that no ordinary market makes."""

from __future__ import annotations

from collections import deque
from typing import Final

_WINDOW_MS: Final = 1000


class Jump:
    """
    The farthest the mid has moved from within the last second, by the venue's time.

    The extremes of a sliding window: prices that a newer one makes irrelevant are dropped at once,
    so that a sample costs a few comparisons whatever came before.
    """

    __slots__ = ("_highs", "_lows")

    def __init__(self) -> None:
        self._highs: deque[tuple[int, float]] = deque()
        self._lows: deque[tuple[int, float]] = deque()

    def move_ticks(self, venue_ms: int, mid_ticks: float) -> float:
        """Take a mid; its distance from the farthest one of the second before it, signed."""
        highs, lows = self._highs, self._lows
        since_ms = venue_ms - _WINDOW_MS
        while highs and highs[0][0] < since_ms:
            highs.popleft()
        while lows and lows[0][0] < since_ms:
            lows.popleft()
        while highs and highs[-1][1] <= mid_ticks:
            highs.pop()
        while lows and lows[-1][1] >= mid_ticks:
            lows.pop()
        highs.append((venue_ms, mid_ticks))
        lows.append((venue_ms, mid_ticks))
        fall, rise = mid_ticks - highs[0][1], mid_ticks - lows[0][1]
        return rise if rise >= -fall else fall

    def reset_gap(self) -> None:
        """A lost link: the move across it took longer than a second."""
        self._highs.clear()
        self._lows.clear()
