"""What the market did after our fills, and what the fills were worth: clustered by message."""

from __future__ import annotations

from collections import deque
from math import fsum, sqrt
from typing import NamedTuple

import msgspec

from mmbot.core.book import BookState
from mmbot.core.estimators.blocks import BlockMean
from mmbot.core.events import Fill
from mmbot.core.types import USD_PER_TICK_LOT, Side

HORIZONS_S = (1, 5, 30, 60, 300)

_HALF_LIFE_EVENTS = 30.0
_GROWTH = 2.0 ** (1.0 / _HALF_LIFE_EVENTS)
"""Each event weighs this much more than the one before it: forgetting, without touching sums."""
_UNIT_MAX = 2.0**30

_RECENT = 20
"""Events that the soft guard on edge looks at."""


class HorizonStats(msgspec.Struct, frozen=True, gc=False):
    """
    What is known at one horizon. Adverse and fee are costs; edge = capture - fee - adverse.

    The sums in USD and the bps derived from them are over every fill that is old enough, weighted
    by notional (size times `mid_t`), so that they are money. Averages over events forget with a
    half-life of 30 events and leave taker fills out; their errors are clustered by event and by
    time blocks of the horizon. None where there is nothing to tell.
    """

    horizon_s: int
    fills: int
    notional_usd: float
    capture_usd: float
    fee_usd: float
    adverse_usd: float
    adverse_bps: float | None
    edge_bps: float | None
    events: int
    event_adverse_bps: float | None
    event_adverse_se: float | None
    event_edge_bps: float | None
    event_edge_se: float | None

    @property
    def edge_usd(self) -> float:
        """What the fills earned up to the horizon, after their fees."""
        return self.capture_usd - self.fee_usd - self.adverse_usd


class RecentEdge(NamedTuple):
    """Edge of the last events of maker fills, each event one observation, bps."""

    events: int
    mean_bps: float
    se_bps: float | None
    """None while all of them lie in one time block."""


class Ledger(NamedTuple):
    """
    Where the profit of all fills came from, at one mid, in USD; costs positive.

    `edge_usd` is the change of equity by these fills, funding apart.
    """

    capture_usd: float
    """Distance of the fills from their own mids."""
    fee_usd: float
    adverse_usd: float
    """Moves from the fills' mids to the mid of the ledger, against us."""
    unmarked_usd: float
    """Profit, after fees, of fills that had no mid before them."""

    @property
    def edge_usd(self) -> float:
        """Sum of edge times notional."""
        return self.capture_usd - self.fee_usd - self.adverse_usd + self.unmarked_usd


class _Event:
    """Our fills of one message: the same venue time, side and role."""

    __slots__ = ("capture_usd", "fee_usd", "fills", "is_taker", "mid", "side", "usd", "venue_ms")

    def __init__(self, fill: Fill, mid: float) -> None:
        self.venue_ms = fill.venue_ms
        self.side = int(fill.side)
        self.is_taker = fill.is_taker or fill.is_liquidation
        self.mid = mid
        self.fills = 0
        self.usd = self.capture_usd = self.fee_usd = 0.0


class _Horizon:
    """Sums and averages of one horizon."""

    __slots__ = (
        "adverse",
        "adverse_usd",
        "capture_usd",
        "edge",
        "events",
        "fee_usd",
        "fills",
        "notional_usd",
        "pending",
        "recent",
        "span_ms",
        "unit",
    )

    def __init__(self, horizon_s: int) -> None:
        self.span_ms = horizon_s * 1000
        self.pending: deque[_Event] = deque()
        self.fills = self.events = 0
        self.notional_usd = self.capture_usd = self.fee_usd = self.adverse_usd = 0.0
        self.adverse, self.edge = BlockMean(), BlockMean()
        self.recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)
        """Time block and edge of the last events."""
        self.unit = 1.0

    def settle(self, event: _Event, after: float) -> None:
        """Mark an event that is old enough with the mid at its horizon."""
        adverse_bps = -event.side * (after - event.mid) / event.mid * 1e4
        self.fills += event.fills
        self.notional_usd += event.usd
        self.capture_usd += event.capture_usd
        self.fee_usd += event.fee_usd
        self.adverse_usd += adverse_bps * event.usd * 1e-4
        if event.is_taker or event.usd <= 0.0:
            return
        edge_bps = (event.capture_usd - event.fee_usd) / event.usd * 1e4 - adverse_bps
        block = event.venue_ms // self.span_ms
        self.events += 1
        self.unit *= _GROWTH
        if self.unit > _UNIT_MAX:
            self.adverse.scale(1.0 / self.unit)
            self.edge.scale(1.0 / self.unit)
            self.unit = 1.0
        self.adverse.add(block, adverse_bps, self.unit)
        self.edge.add(block, edge_bps, self.unit)
        self.recent.append((block, edge_bps))

    def stats(self) -> HorizonStats:
        notional = self.notional_usd
        edge_usd = self.capture_usd - self.fee_usd - self.adverse_usd
        return HorizonStats(
            horizon_s=self.span_ms // 1000,
            fills=self.fills,
            notional_usd=notional,
            capture_usd=self.capture_usd,
            fee_usd=self.fee_usd,
            adverse_usd=self.adverse_usd,
            adverse_bps=self.adverse_usd / notional * 1e4 if notional > 0.0 else None,
            edge_bps=edge_usd / notional * 1e4 if notional > 0.0 else None,
            events=self.events,
            event_adverse_bps=self.adverse.mean,
            event_adverse_se=self.adverse.se,
            event_edge_bps=self.edge.mean,
            event_edge_se=self.edge.se,
        )


class Markouts:
    """
    Adverse move and edge of our fills at 1, 5, 30, 60 and 300 s, in bps of the mid.

        adverse(h) = -side (mid_{t+h} - mid_t) / mid_t                   positive against us
        edge(h)    = side (mid_t - price) / mid_t - fee - adverse(h)     positive for us

    `mid_t` is the last mid with a venue time strictly before the fill, `mid_{t+h}` the last one
    at or before t + h: both at the fill, neither at the placement. Fills of one message are one
    event: a ladder swept by one order is one observation. The caller tells each fill once.

    Source: markouts are the realised half of the effective spread, Huang and Stoll (1996), Dealer
    versus auction markets, J. Financial Economics 41(3).
    """

    __slots__ = (
        "_fee_usd",
        "_horizons",
        "_lot_mids",
        "_lots",
        "_merging",
        "_next_ms",
        "_unmarked_cash",
        "_unmarked_fee_usd",
        "_unmarked_lots",
        "spread_capture_usd",
        "unmarked",
    )

    def __init__(self) -> None:
        self._horizons = {horizon_s: _Horizon(horizon_s) for horizon_s in HORIZONS_S}
        self._merging: dict[tuple[int, Side, bool], _Event] = {}
        """Events that wait for their first horizon, which more fills of their message may join."""
        self._next_ms: int | None = None
        self._fee_usd = 0.0
        self._lots = self._unmarked_lots = 0
        """Signed lots of the fills with and without a mid before them."""
        self._lot_mids = 0.0
        """Sum of signed lots times `mid_t`."""
        self._unmarked_cash = 0
        """Ticks times lots paid for fills without a mid, an exact integer."""
        self._unmarked_fee_usd = 0.0
        self.spread_capture_usd = 0.0
        """Sum of side (mid_t - price) times size, before fees."""
        self.unmarked = 0
        """Fills without a mid before them, and horizons without one at them."""

    def on_fill(self, fill: Fill, book: BookState) -> float | None:
        """Start the clocks of a new fill; its distance from `mid_t` in bps, None without a mid."""
        signed = fill.side * fill.sz_lots
        mid = book.mid_before(fill.venue_ms)
        if mid is None:
            self.unmarked += 1
            self._unmarked_lots += signed
            self._unmarked_cash += signed * fill.px_ticks
            self._unmarked_fee_usd += fill.fee_usd
            return None
        captured = fill.side * (mid - fill.px_ticks) + 0.0  # an edge of zero has no sign
        captured_usd = captured * fill.sz_lots * USD_PER_TICK_LOT
        self.spread_capture_usd += captured_usd
        self._fee_usd += fill.fee_usd
        self._lots += signed
        self._lot_mids += signed * mid
        event = self._event(fill, mid)
        event.fills += 1
        event.usd += mid * fill.sz_lots * USD_PER_TICK_LOT
        event.capture_usd += captured_usd
        event.fee_usd += fill.fee_usd
        return captured / mid * 1e4

    def _event(self, fill: Fill, mid: float) -> _Event:
        """The event of the fill's message, begun if this is its first."""
        key = (fill.venue_ms, fill.side, fill.is_taker or fill.is_liquidation)
        event = self._merging.get(key)
        if event is None or event.mid != mid:
            event = self._merging[key] = _Event(fill, mid)
            for horizon in self._horizons.values():
                horizon.pending.append(event)
            due_ms = fill.venue_ms + HORIZONS_S[0] * 1000
            if self._next_ms is None or due_ms < self._next_ms:
                self._next_ms = due_ms
        return event

    def advance(self, book: BookState) -> None:
        """Settle every horizon that the book's venue time has passed."""
        if self._next_ms is None or book.venue_ms <= self._next_ms:
            return
        now_ms = book.venue_ms
        upcoming: int | None = None
        for horizon in self._horizons.values():
            waiting: list[_Event] = []
            for event in horizon.pending:
                due_ms = event.venue_ms + horizon.span_ms
                if due_ms >= now_ms:
                    waiting.append(event)
                    upcoming = due_ms if upcoming is None else min(upcoming, due_ms)
                    continue
                after = book.mid_at(due_ms)
                if after is None:
                    # The history no longer reaches back: counting it as zero would be invented.
                    self.unmarked += 1
                    continue
                horizon.settle(event, after)
            horizon.pending.clear()
            horizon.pending.extend(waiting)
        first_ms = HORIZONS_S[0] * 1000
        self._merging = {
            key: event for key, event in self._merging.items() if key[0] + first_ms >= now_ms
        }
        self._next_ms = upcoming

    def adverse_bps(self, horizon_s: int) -> float | None:
        """Mean adverse move at a horizon of `HORIZONS_S`, None while no fill is that old."""
        return self.at(horizon_s).adverse_bps

    def at(self, horizon_s: int) -> HorizonStats:
        """Sums and averages at a horizon of `HORIZONS_S`; ValueError for any other."""
        return self._horizon(horizon_s).stats()

    def events(self, horizon_s: int = 5) -> int:
        """How many events of maker fills are that old."""
        return self._horizon(horizon_s).events

    def recent_edge(self, horizon_s: int = 5) -> RecentEdge | None:
        """
        Edge of the last 20 events that are `horizon_s` old; None before the first.

        The error is clustered by time blocks of the horizon, so that a burst of fills is not
        taken for many independent losses.
        """
        recent = self._horizon(horizon_s).recent
        n = len(recent)
        if n == 0:
            return None
        mean = fsum(edge for _, edge in recent) / n
        residuals: dict[int, float] = {}
        for block, edge in recent:
            residuals[block] = residuals.get(block, 0.0) + edge - mean
        blocks = len(residuals)
        if blocks == 1:
            return RecentEdge(n, mean, None)
        variance = fsum(residual * residual for residual in residuals.values())
        return RecentEdge(n, mean, sqrt(variance * blocks / (blocks - 1)) / n)

    def ledger(self, mid_ticks: float) -> Ledger:
        """Every fill marked at `mid_ticks`, whatever its age."""
        return Ledger(
            capture_usd=self.spread_capture_usd,
            fee_usd=self._fee_usd,
            adverse_usd=(self._lot_mids - self._lots * mid_ticks) * USD_PER_TICK_LOT,
            unmarked_usd=(self._unmarked_lots * mid_ticks - self._unmarked_cash) * USD_PER_TICK_LOT
            - self._unmarked_fee_usd,
        )

    def _horizon(self, horizon_s: int) -> _Horizon:
        horizon = self._horizons.get(horizon_s)
        if horizon is None:
            msg = f"horizon must be one of {HORIZONS_S} s, got {horizon_s}"
            raise ValueError(msg)
        return horizon
