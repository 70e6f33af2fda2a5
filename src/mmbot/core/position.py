"""
What we hold and what it has earned, from fills alone.

Money is counted in micro-dollars: a tick times a lot is exactly one, so cash flows are integers and
the identity `pnl = cash + position * mark - fees + funding` has no rounding of its own.
"""

from __future__ import annotations

from collections import deque

from mmbot.core.events import Fill, Funding
from mmbot.core.types import USD_PER_TICK_LOT, Side

_RECENT = 4096
"""Fills remembered with their venue time, to compare with a snapshot that is older than them."""


class Position:
    """
    Position, average entry and profit since the start of the session.

    Before `start` fills and funding are kept aside: only the first snapshot says which of them its
    position already contains. An inherited position enters at the mark of that snapshot, so the
    profit is the change of equity since then. Fills are identified by (tid, oid, venue_ms).
    """

    __slots__ = (
        "_base_ms",
        "_cash",
        "_early_fills",
        "_early_funding",
        "_funded_ms",
        "_open_cost",
        "_recent",
        "_seen",
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
        self._cash = 0.0
        self._open_cost = 0.0
        self._base_ms = -1
        self._seen: set[tuple[int, int, int]] = set()
        self._funded_ms: set[int] = set()
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT)
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
        self.lots = position_lots
        self._open_cost = position_lots * mark_ticks
        self._cash = -self._open_cost
        fills = sorted(self._early_fills, key=lambda fill: (fill.venue_ms, fill.tid))
        funding = self._early_funding
        self._early_fills, self._early_funding = [], []
        return (
            [fill for fill in fills if fill.venue_ms > venue_ms],
            [payment for payment in funding if payment.venue_ms > venue_ms],
        )

    def apply(self, fill: Fill) -> bool:
        """Book one fill; False if booked before, older than the start, or kept aside."""
        if not self.is_started:
            self._early_fills.append(fill)
            return False
        key = (fill.tid, fill.oid, fill.venue_ms)
        if fill.venue_ms <= self._base_ms or key in self._seen:
            return False
        self._seen.add(key)
        signed = fill.side * fill.sz_lots
        self._recent.append((fill.venue_ms, signed))
        self._book(signed, fill.px_ticks)
        self.fills += 1
        self.taker_fills += fill.is_taker
        self.fees_usd += fill.fee_usd
        value_usd = fill.sz_lots * fill.px_ticks * USD_PER_TICK_LOT
        if fill.side is Side.BUY:
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

    def reconcile(self, position_lots: int, mark_ticks: float, venue_ms: int) -> int:
        """
        Compare with the venue's position as of `venue_ms`; adopt it and return the difference.

        Fills later than `venue_ms` are not in the venue's figure. Unexplained lots enter at the
        mark: they change the position, not the profit.
        """
        later = sum(signed for ms, signed in self._recent if ms > venue_ms)
        missing = position_lots - (self.lots - later)
        if missing:
            self._book(missing, mark_ticks)
        return missing

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
