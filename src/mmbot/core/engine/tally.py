"""What a session's summary says beyond its fills: the quote at its worst moment and at the end."""

from __future__ import annotations

from mmbot.core.diagnostics import Touches
from mmbot.core.ladder import SideTarget
from mmbot.core.quoter import Quote


def touches(quote: Quote, bid: SideTarget, ask: SideTarget) -> Touches:
    """How far from fair the nearest order of each side is to rest."""
    fair = quote.fair_ticks
    near = [
        target.side * (fair - target.rungs[0].px_ticks) / fair * 1e4 if target.rungs else None
        for target in (bid, ask)
    ]
    return Touches(near[0], near[1])


class Tally:
    """Remembers the quote at the largest position so far, and the last one."""

    __slots__ = ("_last", "at_max", "max_lots", "skew_at_max_bps")

    def __init__(self) -> None:
        self.max_lots = 0
        self.skew_at_max_bps = 0.0
        self.at_max = Touches()
        self._last: tuple[Quote, SideTarget, SideTarget] | None = None

    def see(self, lots: int, quote: Quote, bid: SideTarget, ask: SideTarget) -> None:
        """Take the quote of one decision, made for a position of `lots`."""
        self._last = quote, bid, ask
        held = abs(lots)
        if held > self.max_lots:
            self.max_lots = held
            self.skew_at_max_bps = quote.inventory_skew_bps
            self.at_max = touches(quote, bid, ask)

    @property
    def at_end(self) -> Touches:
        """Of the last quote."""
        return Touches() if self._last is None else touches(*self._last)
