"""
Candles of one coin, kept by minute and merged on demand.

Source: Hyperliquid docs, "Candle snapshot".
"""

from __future__ import annotations

from itertools import groupby

import msgspec

MINUTE_MS = 60_000
KEPT_MINUTES = 5_000
DAY_MS = 86_400_000

INTERVALS_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
    # A month is cut to thirty days: with 5000 minutes kept, no boundary but the last one shows.
    "1M": 30 * DAY_MS,
}
"""Length of each interval the venue names, ms."""


class Candle(msgspec.Struct, gc=False):
    """One bar; prices in ticks, volume in lots."""

    open_ms: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    sz_lots: int
    trades: int


class Candles:
    """Bars of the last minutes that traded."""

    __slots__ = ("_bars",)

    def __init__(self) -> None:
        self._bars: dict[int, Candle] = {}

    def add(self, time_ms: int, px_ticks: int, sz_lots: int) -> None:
        """Fold one trade in."""
        open_ms = time_ms - time_ms % MINUTE_MS
        bar = self._bars.get(open_ms)
        if bar is None:
            if len(self._bars) >= KEPT_MINUTES:
                del self._bars[next(iter(self._bars))]
            self._bars[open_ms] = Candle(
                open_ms, px_ticks, px_ticks, px_ticks, px_ticks, sz_lots, 1
            )
            return
        if px_ticks > bar.high_ticks:
            bar.high_ticks = px_ticks
        elif px_ticks < bar.low_ticks:
            bar.low_ticks = px_ticks
        bar.close_ticks = px_ticks
        bar.sz_lots += sz_lots
        bar.trades += 1

    def merged(self, interval_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Bars of `interval_ms` that open within [start, end], oldest first."""
        out: list[Candle] = []
        bars = self._bars.values()
        for open_ms, group in groupby(bars, key=lambda bar: bar.open_ms // interval_ms):
            if not start_ms <= open_ms * interval_ms <= end_ms:
                continue
            parts = list(group)
            out.append(
                Candle(
                    open_ms=open_ms * interval_ms,
                    open_ticks=parts[0].open_ticks,
                    high_ticks=max(part.high_ticks for part in parts),
                    low_ticks=min(part.low_ticks for part in parts),
                    close_ticks=parts[-1].close_ticks,
                    sz_lots=sum(part.sz_lots for part in parts),
                    trades=sum(part.trades for part in parts),
                )
            )
        return out
