"""
What we hold and what it has earned, from fills alone.

Money is counted in micro-dollars: a tick times a lot is exactly one, so cash flows are integers and
the identity `pnl = cash + position * mark - fees + funding` has no rounding of its own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from mmbot.core.events import Fill, Funding
from mmbot.core.types import BUY, USD_PER_TICK_LOT

_RECENT = 4096
"""Fills remembered with their venue time, to compare with a snapshot that is older than them."""

READ_LAG_MS = 2000
"""How far the time on a reading may be from the moment its position is of, either way: the venue's
reads trail its commits by about a second (protocol notes, gotcha 7), doubled to be safe."""


class _Reading(NamedTuple):
    """What the venue said of the position, when, and at which mark."""

    position_lots: int
    mark_ticks: float
    venue_ms: int


class _Booked(NamedTuple):
    """What of a fill is compared with a reading: they sort by time."""

    venue_ms: int
    signed_lots: int
    start_position_lots: int


class _Moment(NamedTuple):
    """A moment at which a reading may have been taken; the likeliest sorts first."""

    is_unconfirmed: bool
    """No fill says that the venue's position was that of the reading just then."""
    is_unexplained: bool
    off_ms: int
    """Distance from the time on the reading."""
    contained: int
    """Fills before it."""
    unexplained_lots: int


class Position:
    """
    Position, average entry and profit since the start of the session.

    Before `start` fills and funding are kept aside: only the first snapshot says which of them its
    position already contains. An inherited position enters at the mark of that snapshot, so the
    profit is the change of equity since then. Fills are identified by (tid, oid, venue_ms).

    Lots that the venue reports and no fill explains are adopted at the mark. They are a debt of the
    stream: a fill that comes late and lies before the reading takes their place, so that its price
    and fee count and its lots do not count twice. What is adopted is therefore a function of the
    reading and of the fills known, whatever the order they came in.
    """

    __slots__ = (
        "_adopted_cost",
        "_base_ms",
        "_carried",
        "_carried_ms",
        "_cash",
        "_early_fills",
        "_early_funding",
        "_filled",
        "_funded_ms",
        "_open_cost",
        "_reading",
        "_recent",
        "_seen",
        "adopted_lots",
        "bought_lots",
        "bought_usd",
        "fees_usd",
        "fills",
        "funding_usd",
        "is_started",
        "lots",
        "sold_lots",
        "sold_usd",
        "taker_fills",
    )

    def __init__(self) -> None:
        self.lots = 0
        """Signed, long positive."""
        self.fills = 0
        self.taker_fills = 0
        self.bought_lots = 0
        self.sold_lots = 0
        self.bought_usd = 0.0
        self.sold_usd = 0.0
        self.fees_usd = 0.0
        """Paid, positive is a cost."""
        self.funding_usd = 0.0
        """Received, positive is income (a `Funding` event counts the other way, as a cost)."""
        self.is_started = False
        self.adopted_lots = 0
        """Part of `lots` that the venue reported and no fill explains so far, signed."""
        self._adopted_cost = 0.0
        self._carried = 0
        self._carried_ms = -1
        self._reading: _Reading | None = None
        self._filled = 0
        self._cash = 0.0
        self._open_cost = 0.0
        self._base_ms = -1
        self._seen: set[tuple[int, int, int]] = set()
        self._funded_ms: set[int] = set()
        self._recent: deque[_Booked] = deque(maxlen=_RECENT)
        self._early_fills: list[Fill] = []
        self._early_funding: list[Funding] = []

    def start(
        self, position_lots: int, mark_ticks: float, venue_ms: int
    ) -> tuple[list[Fill], list[Funding]]:
        """
        Begin at the venue's position as of `venue_ms`, entered at the mark.

        Returns what arrived earlier but happened later and must be applied now, in order; what
        the snapshot contains is remembered as seen.
        """
        self.is_started = True
        self._base_ms = venue_ms
        self.lots = self._filled = position_lots
        self._open_cost = position_lots * mark_ticks
        self._cash = -self._open_cost
        fills = sorted(self._early_fills, key=lambda fill: (fill.venue_ms, fill.tid))
        funding = self._early_funding
        self._early_fills, self._early_funding = [], []
        contained = self._contained(fills, _Reading(position_lots, mark_ticks, venue_ms))
        self._seen.update((f.tid, f.oid, f.venue_ms) for f in fills[:contained])
        if contained < len(fills):
            # A lagging reading is older than the time on it.
            self._base_ms = min(venue_ms, fills[contained].venue_ms - 1)
        return (
            fills[contained:],
            [payment for payment in funding if payment.venue_ms > venue_ms],
        )

    @staticmethod
    def _contained(fills: list[Fill], reading: _Reading) -> int:
        """How many of these fills the first reading holds."""
        old = sum(fill.venue_ms <= reading.venue_ms - READ_LAG_MS for fill in fills)
        near = [_booked(fill) for fill in fills[old:]]
        # Nothing is known before it that could be explained: only the fills themselves tell.
        moments = _moments(near, reading, 0)
        return old + min(moments, key=lambda m: (m.is_unconfirmed, m.off_ms)).contained

    def apply(self, fill: Fill) -> bool:
        """
        Book one fill; False if booked before, older than the start, kept aside or without size.
        """
        if fill.sz_lots <= 0:
            # The decoder takes no such row; booked, it would turn a purchase into a sale.
            return False
        if not self.is_started:
            self._early_fills.append(fill)
            return False
        key = (fill.tid, fill.oid, fill.venue_ms)
        if fill.venue_ms <= self._base_ms or key in self._seen:
            return False
        self._seen.add(key)
        signed = fill.side * fill.sz_lots
        self._recent.append(_booked(fill))
        self._filled += signed
        reading = self._reading
        if reading is not None and fill.venue_ms <= reading.venue_ms + READ_LAG_MS:
            self._explain(fill.venue_ms, signed, fill.px_ticks)
        else:
            self._book(signed, fill.px_ticks)
        self.fills += 1
        self.taker_fills += fill.is_taker
        self.fees_usd += fill.fee_usd
        value_usd = fill.sz_lots * fill.px_ticks * USD_PER_TICK_LOT
        if fill.side is BUY:
            self.bought_lots += fill.sz_lots
            self.bought_usd += value_usd
        else:
            self.sold_lots += fill.sz_lots
            self.sold_usd += value_usd
        return True

    def _book(self, signed: int, px_ticks: float) -> None:
        before = self.lots
        after = before + signed
        self._cash -= signed * px_ticks
        if before == 0 or (before > 0) == (signed > 0):
            self._open_cost += signed * px_ticks
        elif after == 0:
            self._open_cost = 0.0
        elif (after > 0) == (before > 0):
            self._open_cost *= after / before
        else:
            self._open_cost = after * px_ticks
        self.lots = after

    def apply_funding(self, payment: Funding) -> bool:
        """Book one funding payment; the venue pays once an hour, so its time identifies it."""
        if not self.is_started:
            self._early_funding.append(payment)
            return False
        if payment.venue_ms <= self._base_ms or payment.venue_ms in self._funded_ms:
            return False
        self._funded_ms.add(payment.venue_ms)
        self.funding_usd -= payment.usd
        return True

    # -- the venue's own figure -------------------------------------------------------------------

    def reconcile(self, position_lots: int, mark_ticks: float, venue_ms: int) -> int:
        """
        Compare with the venue's position as of `venue_ms`; adopt and return the difference.

        Unexplained lots enter at the mark: they change the position, not the profit. Which of the
        fills around `venue_ms` the figure contains is not known, since reads lag. A fill says which
        position the venue had before it: a moment that fits is taken; else one at which the figure
        was ours; else that of `venue_ms`. So a fill which a lagging reading does not show yet stays
        booked.
        """
        reading, last = _Reading(position_lots, mark_ticks, venue_ms), self._reading
        if last is not None:
            if reading == last or self._is_older(reading, last):
                return 0
            self._carried_ms = last.venue_ms
        self._reading = reading
        self._carried = self.adopted_lots
        missing = self._best(reading).unexplained_lots + self._carried - self.adopted_lots
        if missing:
            self._book(missing, self._adopt(missing, mark_ticks))
        return missing

    def gap(self, position_lots: int, venue_ms: int) -> int:
        """
        The venue's position as of `venue_ms` less ours; 0 where ours was that at some moment then.

        Nothing is adopted: a fill that is on its way explains the difference soon.
        """
        since_ms = venue_ms - READ_LAG_MS
        near = sorted(booked for booked in self._recent if booked.venue_ms > since_ms)
        held = self.lots - sum(booked.signed_lots for booked in near)
        if held == position_lots:
            return 0
        for booked in near:
            held += booked.signed_lots
            if held == position_lots:
                return 0
        return position_lots - self.lots

    def _is_older(self, reading: _Reading, last: _Reading) -> bool:
        """Whether a reading soon after another shows what was held before the other's adoption."""
        is_soon = abs(reading.venue_ms - last.venue_ms) <= READ_LAG_MS
        is_reverting = is_soon and self.adopted_lots != self._carried
        return is_reverting and not self._best(reading).is_unexplained

    def _best(self, reading: _Reading) -> _Moment:
        """The likeliest moment of a reading, and what neither fills nor old debts explain then."""
        since_ms = reading.venue_ms - READ_LAG_MS
        near = sorted(booked for booked in self._recent if booked.venue_ms > since_ms)
        contained = self._filled - sum(booked.signed_lots for booked in near)
        missing = reading.position_lots - contained
        return min(_moments(near, reading, missing - self._carried))

    def _explain(self, venue_ms: int, signed: int, px_ticks: float) -> None:
        """Book a fill that the reading may contain: first in the place of what was adopted."""
        assert self._reading is not None
        if venue_ms <= self._carried_ms - READ_LAG_MS:
            self._carried -= signed
        elif venue_ms <= self._carried_ms + READ_LAG_MS:
            self._carried -= _part(signed, self._carried)
        best = self._best(self._reading)
        change = best.unexplained_lots + self._carried - self.adopted_lots
        if not change:
            self._book(signed, px_ticks)
            return
        adopted_px = self._adopt(change, self._reading.mark_ticks)
        swapped = _part(signed, -change)
        # As far as they are still held, the lots change their entry; else the profit takes it.
        held = _part(swapped, self.lots)
        self._cash -= swapped * (px_ticks - adopted_px)
        self._open_cost += held * (px_ticks - adopted_px)
        if signed != swapped:
            self._book(signed - swapped, px_ticks)
        if change != -swapped:
            self._book(change + swapped, adopted_px)

    def _adopt(self, change: int, mark_ticks: float) -> float:
        """Change what is adopted; the price per lot: as adopted on the way out, else the mark."""
        out = -_part(-change, self.adopted_lots)
        cost = 0.0
        if out:
            cost = out * self._adopted_cost / self.adopted_lots
        cost += (change - out) * mark_ticks
        self.adopted_lots += change
        self._adopted_cost = self._adopted_cost + cost if self.adopted_lots else 0.0
        return cost / change

    @property
    def entry_ticks(self) -> float | None:
        """Average entry price of what is held, None when flat."""
        return self._open_cost / self.lots if self.lots else None

    @property
    def realised_usd(self) -> float:
        """Profit of closed lots at average cost, gross of fees."""
        return (self._cash + self._open_cost) * USD_PER_TICK_LOT

    def unrealised_usd(self, px_ticks: float) -> float:
        """Profit of the open lots at `px_ticks`."""
        return (self.lots * px_ticks - self._open_cost) * USD_PER_TICK_LOT

    def pnl_usd(self, px_ticks: float) -> float:
        """Realised + unrealised - fees + funding since the start, at `px_ticks`."""
        gross = (self._cash + self.lots * px_ticks) * USD_PER_TICK_LOT
        return gross - self.fees_usd + self.funding_usd


def _part(lots: int, limit: int) -> int:
    """As much of `lots` as lies towards `limit`: none if the signs differ."""
    if (lots > 0) is not (limit > 0) or not lots or not limit:
        return 0
    return lots if abs(lots) <= abs(limit) else limit


def _booked(fill: Fill) -> _Booked:
    return _Booked(fill.venue_ms, fill.side * fill.sz_lots, fill.start_position_lots)


def _moments(near: list[_Booked], reading: _Reading, lots: int) -> Iterator[_Moment]:
    """
    Moments around a reading, given the fills since the earliest of them, oldest first.

    `lots` is what the reading leaves unexplained if it holds none of these fills.
    """
    until_ms = reading.venue_ms + READ_LAG_MS
    off_ms, at, is_end = READ_LAG_MS, 0, False
    while True:
        block: list[_Booked] = []
        if at < len(near) and near[at].venue_ms <= until_ms:
            # Fills of one block are in a reading together.
            block = [booked for booked in near[at:] if booked.venue_ms == near[at].venue_ms]
        held = reading.position_lots
        # What one fill of a block leaves the next one starts from, so that those cancel out: what
        # remains is where the block began and ended, in whatever order its fills came.
        starts = Counter(booked.start_position_lots for booked in block)
        ends = Counter(booked.start_position_lots + booked.signed_lots for booked in block)
        is_start = held in (starts - ends or starts)
        yield _Moment(not (is_end or is_start), lots != 0, off_ms, at, lots)
        if not block:
            return
        is_end = held in (ends - starts or ends)
        lots -= sum(booked.signed_lots for booked in block)
        at += len(block)
        ms = block[0].venue_ms
        # The reading's own moment is that of the last fill before the time on it.
        late_ms = ms - reading.venue_ms
        off_ms = -late_ms if late_ms <= 0 else READ_LAG_MS + late_ms
