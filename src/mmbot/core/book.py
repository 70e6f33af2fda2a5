"""
The market as one instrument's touch: freshest bid and ask, mid, fair price, and the mids of the
last minutes with their venue times. What is priced is the book of others; see `footprint`.
"""

from __future__ import annotations

from collections import deque

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.events import Bbo, Book, Level
from mmbot.core.footprint import NO_ORDERS, OwnLevels
from mmbot.core.lateness import Lateness
from mmbot.core.types import BUY, NS_PER_MS, SELL, Instrument, Side

_DEPTH_MS = 10_000
"""Age against the touch from which the levels of an older book are not used: two slow books."""
GAP_MS = 5_000
"""How long after a lost link the last mid before it still tells what the market is."""
_MIDS_KEPT = 8192
"""Mids remembered for markouts: nine minutes at one touch per block (68 ms)."""
_GAPS_KEPT = 256


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
    Freshest touch of one instrument over all its streams, as shown and without our own orders.

    A frame older than the newest of its own stream is dropped and counted; a frame older than the
    touch in hand, from another stream, can only tell what lies behind that touch. `fair_ticks` and
    `mid_ticks` are None whenever the newest book is crossed, locked, empty or one-sided, or has a
    side on which every known level is ours: such a book prices nothing.
    """

    __slots__ = (
        "_bbo_ms",
        "_books",
        "_fast_ms",
        "_gaps_ms",
        "_is_deep",
        "_lateness",
        "_micro_max",
        "_ours",
        "_recv_ns",
        "_slow_ms",
        "_valid_ms",
        "ask",
        "bid",
        "dropped",
        "fair_ticks",
        "instrument",
        "invalid",
        "last_mid_ticks",
        "mid_ticks",
        "mids",
        "others_ask",
        "others_bid",
        "valid_recv_ns",
        "venue_ms",
        "version",
    )

    def __init__(self, instrument: Instrument, params: BookParams | None = None) -> None:
        params = params or BookParams()
        self.instrument = instrument
        self._micro_max = params.micro_bps_max * 1e-4
        self._bbo_ms = self._fast_ms = self._slow_ms = -1
        self._lateness = Lateness()
        self._valid_ms = -1
        self._books: dict[bool, tuple[Book, OwnLevels]] = {}
        """Newest book of the fast and of the slow stream, and what it may show of us."""
        self._ours: OwnLevels = NO_ORDERS
        self._recv_ns = 0
        self._is_deep = False
        """Whether the touch in hand is ours alone on a side, so that books behind it matter."""
        self.bid: Level | None = None
        """The touch as shown, our orders included: what an order of ours could execute against."""
        self.ask: Level | None = None
        self.others_bid: Level | None = None
        """The touch without our orders: what is priced from."""
        self.others_ask: Level | None = None
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
        self._gaps_ms: deque[int] = deque(maxlen=_GAPS_KEPT)
        """Venue times of the last mids before a lost link."""

    def apply(self, frame: Bbo | Book, ours: OwnLevels = NO_ORDERS) -> bool:
        """Fold one frame, which may show `ours`; True if it changed the touch in hand."""
        ms = frame.venue_ms
        if isinstance(frame, Bbo):
            if ms < self._bbo_ms:
                self.dropped += 1
                return False
            self._bbo_ms = ms
            if ms < self.venue_ms:
                return False
            self.bid, self.ask = frame.bid, frame.ask
        else:
            if ms < (self._fast_ms if frame.is_fast else self._slow_ms):
                self.dropped += 1
                return False
            if frame.is_fast:
                self._fast_ms = ms
            else:
                self._slow_ms = ms
            self._books[frame.is_fast] = (frame, ours)
            if ms < self.venue_ms:
                if self._is_deep:
                    self._price()
                return self._is_deep
            self.bid = frame.bids[0] if frame.bids else None
            self.ask = frame.asks[0] if frame.asks else None
        self._ours = ours
        self._recv_ns = frame.recv_ns
        self.venue_ms = ms
        self._lateness.observe(frame.recv_ns - ms * NS_PER_MS, frame.recv_ns)
        self.version += 1
        self._price()
        return True

    def disown(self, ours: OwnLevels) -> None:
        """Take out of the frames in hand orders that were found to be ours only now."""
        self._ours = ours
        self._books = {is_fast: (book, ours) for is_fast, (book, _) in self._books.items()}
        if self.invalid is None or self._is_deep:
            self._price()

    def _price(self) -> None:
        """Mid and fair price of the touch in hand without our orders."""
        bid, ask = self.bid, self.ask
        self.mid_ticks = self.fair_ticks = self.others_bid = self.others_ask = None
        self._is_deep = False
        if bid is None or ask is None:
            self.invalid = "empty book" if bid is ask else "one-sided book"
            return
        if bid.px_ticks >= ask.px_ticks:
            self.invalid = "crossed book"
            return
        if bid.px_ticks <= 0 or bid.sz_lots <= 0 or ask.sz_lots <= 0:
            self.invalid = "book with a zero"
            return
        if self._ours:
            bid, ask = self._others(BUY, bid), self._others(SELL, ask)
            if bid is None or ask is None:
                self.invalid = "no orders but ours on a side"
                return
        self.others_bid, self.others_ask = bid, ask
        self.invalid = None
        b, a = bid.px_ticks, ask.px_ticks
        qb, qa = bid.sz_lots, ask.sz_lots
        mid = (a + b) * 0.5
        # Size-weighted mid; it lies inside the touch by itself, so only the bps bound is applied.
        lean = (b * qa + a * qb) / (qa + qb) - mid
        bound = mid * self._micro_max
        self.fair_ticks = mid + (bound if lean > bound else -bound if lean < -bound else lean)
        self.mid_ticks = self.last_mid_ticks = mid
        self.valid_recv_ns, self._valid_ms = self._recv_ns, self.venue_ms
        mids = self.mids
        if mids and mids[-1][0] == self.venue_ms:
            mids[-1] = (self.venue_ms, mid)
        else:
            mids.append((self.venue_ms, mid))

    def _others(self, side: Side, touch: Level) -> Level | None:
        """
        Best level of others on one side; None if every known level is ours.

        Behind a touch that is ours alone the books tell, the newer one first. A frame's levels
        replace those of older frames as far as it reaches: what an older one shows at its prices or
        better is history.
        """
        u = side * touch.px_ticks
        own = self._ours.get(u)
        if own is None:
            return touch
        lots = own.others_lots(touch.sz_lots)
        if lots:
            return Level(touch.px_ticks, lots)
        self._is_deep = True
        books = sorted(self._books.values(), key=_newest_first)
        for book, ours in books:
            if self.venue_ms - book.venue_ms > _DEPTH_MS:
                break
            for level in book.bids if side is BUY else book.asks:
                level_u = side * level.px_ticks
                if level_u >= u:
                    continue
                u = level_u
                own = ours.get(u)
                lots = level.sz_lots if own is None else own.others_lots(level.sz_lots)
                if lots > 0:
                    return level if own is None else Level(level.px_ticks, lots)
        return None

    def forget(self) -> None:
        """
        Drop the touch after a lost link: nothing is priced across the gap.

        The newest times go with it, so that one wrong time cannot blind the next connection.
        """
        self._bbo_ms = self._fast_ms = self._slow_ms = self.venue_ms = -1
        if self.mids:
            self._gaps_ms.append(self.mids[-1][0])
        self._lateness.reconnect()
        self.bid = self.ask = self.others_bid = self.others_ask = None
        self.mid_ticks = self.fair_ticks = None
        self._books.clear()
        self._ours = NO_ORDERS
        self._is_deep = False
        self.invalid = "no book since the link was lost"
        self.version += 1

    def shift_clock(self, step_ns: int) -> None:
        """Our clock was set, forward by `step_ns`."""
        self._lateness.shift(step_ns)
        self._recv_ns += step_ns
        if self.valid_recv_ns is not None:
            self.valid_recv_ns += step_ns

    def touch_age_ns(self, now_ns: int) -> int | None:
        """Time since the last book that could price anything; None before the first."""
        return None if self.valid_recv_ns is None else max(0, now_ns - self.valid_recv_ns)

    def lag_ns(self, now_ns: int) -> int | None:
        """
        Age of the last book that could price anything, by the venue's own time.

        Counted from the quickest frames so far (`lateness`), so that an offset between the clocks
        does not matter; None before a few. Prices that come late but steadily age here alone.
        """
        least_ns = self._lateness.least_ns
        if self.valid_recv_ns is None or least_ns is None or self._valid_ms < 0:
            return None
        return max(0, now_ns - self._valid_ms * NS_PER_MS - least_ns)

    def heard_ns(self, *, is_fast: bool) -> int | None:
        """When the newest book of the fast or of the plain stream came; None before the first."""
        found = self._books.get(is_fast)
        return None if found is None else found[0].recv_ns

    @property
    def offset_ns(self) -> int | None:
        """Our clock less the venue's, travel included; None before a few frames."""
        return self._lateness.least_ns

    def mid_before(self, venue_ms: int) -> float | None:
        """Last mid with a venue time strictly before `venue_ms`, in ticks; None in a gap."""
        for ms, mid in reversed(self.mids):
            if ms < venue_ms:
                return None if self._is_gap(ms, venue_ms) else mid
        return None

    def mid_at(self, venue_ms: int) -> float | None:
        """Last mid with a venue time of at most `venue_ms`, in ticks; None in a gap."""
        for ms, mid in reversed(self.mids):
            if ms <= venue_ms:
                return None if self._is_gap(ms, venue_ms) else mid
        return None

    def _is_gap(self, mid_ms: int, venue_ms: int) -> bool:
        """Whether the link was lost just after that mid, and that moment is not just after it."""
        return venue_ms - mid_ms > GAP_MS and mid_ms in self._gaps_ms


def _newest_first(item: tuple[Book, OwnLevels]) -> int:
    return -item[0].venue_ms
