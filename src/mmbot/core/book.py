"""
The market as one instrument's touch: freshest bid and ask, mid, fair price, and the mids of the
last minutes with their venue times.
"""

from __future__ import annotations

from collections import deque

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.events import Bbo, Book, Level
from mmbot.core.types import Instrument

_MIDS_KEPT = 8192
"""Mids remembered for markouts: nine minutes at one touch per block (68 ms)."""


class BookParams(BaseModel):
    """How the fair price is read from a book."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    micro_bps_max: float = Field(
        3.0,
        ge=0,
        le=3,
        description="Bound of the size-weighted mid's distance from the mid, bps; 0 uses the mid.",
    )


class BookState:
    """
    Freshest touch of one instrument over all its streams.

    A frame older than the newest of its own stream is dropped and counted; a frame older than the
    touch in hand, from another stream, changes nothing. `fair_ticks` and `mid_ticks` are None
    whenever the newest book is crossed, locked, empty or one-sided: such a book prices nothing.
    """

    __slots__ = (
        "_bbo_ms",
        "_fast_ms",
        "_micro_max",
        "_slow_ms",
        "ask",
        "bid",
        "dropped",
        "fair_ticks",
        "instrument",
        "invalid",
        "last_mid_ticks",
        "mid_ticks",
        "mids",
        "valid_recv_ns",
        "venue_ms",
        "version",
    )

    def __init__(self, instrument: Instrument, params: BookParams | None = None) -> None:
        params = params or BookParams()
        self.instrument = instrument
        self._micro_max = params.micro_bps_max * 1e-4
        self._bbo_ms = self._fast_ms = self._slow_ms = -1
        self.bid: Level | None = None
        self.ask: Level | None = None
        self.mid_ticks: float | None = None
        self.fair_ticks: float | None = None
        self.last_mid_ticks: float | None = None
        """Mid of the last book that had one; values the position while the book is invalid."""
        self.invalid: str | None = "no book yet"
        self.venue_ms = -1
        self.valid_recv_ns: int | None = None
        self.dropped = 0
        self.version = 0
        """Grows with every touch taken, so that "a newer book than this one" can be asked."""
        self.mids: deque[tuple[int, float]] = deque(maxlen=_MIDS_KEPT)

    def apply(self, frame: Bbo | Book) -> bool:
        """Fold one frame; True if it became the touch in hand."""
        ms = frame.venue_ms
        if isinstance(frame, Bbo):
            if ms < self._bbo_ms:
                self.dropped += 1
                return False
            self._bbo_ms = ms
            bid, ask = frame.bid, frame.ask
        else:
            if frame.is_fast:
                if ms < self._fast_ms:
                    self.dropped += 1
                    return False
                self._fast_ms = ms
            else:
                if ms < self._slow_ms:
                    self.dropped += 1
                    return False
                self._slow_ms = ms
            bid = frame.bids[0] if frame.bids else None
            ask = frame.asks[0] if frame.asks else None
        if ms < self.venue_ms:
            return False
        self._take(bid, ask, ms, frame.recv_ns)
        return True

    def _take(self, bid: Level | None, ask: Level | None, venue_ms: int, recv_ns: int) -> None:
        self.bid, self.ask = bid, ask
        self.venue_ms = venue_ms
        self.version += 1
        if bid is None or ask is None:
            self.invalid = "empty book" if bid is ask else "one-sided book"
            self.mid_ticks = self.fair_ticks = None
            return
        b, a = bid.px_ticks, ask.px_ticks
        qb, qa = bid.sz_lots, ask.sz_lots
        if b >= a or b <= 0 or qb <= 0 or qa <= 0:
            self.invalid = "crossed book" if b >= a else "book with a zero"
            self.mid_ticks = self.fair_ticks = None
            return
        self.invalid = None
        mid = (a + b) * 0.5
        # Size-weighted mid; it lies inside the touch by itself, so only the bps bound is applied.
        lean = (b * qa + a * qb) / (qa + qb) - mid
        bound = mid * self._micro_max
        self.fair_ticks = mid + (bound if lean > bound else -bound if lean < -bound else lean)
        self.mid_ticks = self.last_mid_ticks = mid
        self.valid_recv_ns = recv_ns
        mids = self.mids
        if mids and mids[-1][0] == venue_ms:
            mids[-1] = (venue_ms, mid)
        else:
            mids.append((venue_ms, mid))

    def forget(self) -> None:
        """Drop the touch after a lost link: nothing is priced across the gap."""
        self.bid = self.ask = None
        self.mid_ticks = self.fair_ticks = None
        self.invalid = "no book since the link was lost"
        self.version += 1

    def touch_age_ns(self, now_ns: int) -> int | None:
        """Time since the last book that could price anything; None before the first."""
        return None if self.valid_recv_ns is None else max(0, now_ns - self.valid_recv_ns)

    def mid_before(self, venue_ms: int) -> float | None:
        """Last mid with a venue time strictly before `venue_ms`, in ticks."""
        for ms, mid in reversed(self.mids):
            if ms < venue_ms:
                return mid
        return None

    def mid_at(self, venue_ms: int) -> float | None:
        """Last mid with a venue time of at most `venue_ms`, in ticks."""
        for ms, mid in reversed(self.mids):
            if ms <= venue_ms:
                return mid
        return None
