"""
The quoter of 24 February: what it did after a sweep, and its drift term with the recorded sign.

It answers a sweep with 4 bps on the side that was swept, for 20 s. That is what every mechanism of
ours is measured against, so `base` does it too; the drift term is the predecessor's alone. No
configuration leads here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.events import Fill
from mmbot.core.quoter import MarketView, Quote, Quoter, QuoterParams
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument

DRIFT_SHARE: Final = -0.04
"""Share of the move of the last 15 minutes that both quotes were shifted by. The right sign is
plus: in a rising market the record shows -1.7 bps (the project's model notes, 0.1 and 0.3)."""
_DRIFT_NS: Final = 900 * NS_PER_S
_SHIFT_BPS_MAX: Final = 12.0

_PULLBACK_BPS: Final = 4.0
_PULLBACK_NS: Final = 20 * NS_PER_S
_SWEPT_ORDERS: Final = 4
"""Orders of one side filled in `_SWEPT_MS` that were a sweep to it."""
_SWEPT_MS: Final = 250
_SAMPLE_NS: Final = 250 * NS_PER_MS


class Recorded(msgspec.Struct, frozen=True):
    """
    What the engine does as the recorded quoter did.

    Attributes:
        drift_share: Share of the last 15 minutes' move that both quotes are shifted by; 0 for none.
        has_pullback: Answer a sweep of the own orders as it did.
        floor_bps: One floor for both sides, and the configured least half spread as the width,
            in place of what the engine makes of fees and adverse moves; None for the engine's own.
    """

    drift_share: float = 0.0
    has_pullback: bool = True
    floor_bps: float | None = None


class RecordedQuoter(Quoter):
    """A quoter with the recorded terms in place of its own."""

    __slots__ = ("_filled", "_past", "_recorded", "_sampled_ns", "_swept_ns")

    def __init__(
        self,
        params: QuoterParams,
        recorded: Recorded,
        start_ticks: float | None,
        *,
        ablate: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(params, ablate=ablate)
        self._recorded = recorded
        self._filled: tuple[deque[tuple[int, int]], ...] = (deque(), deque())
        """Time and order of the last fills, of the bids and of the asks."""
        self._swept_ns: list[int | None] = [None, None]
        self._past: deque[tuple[int, float]] = deque()
        """When fair was what, of the last 15 minutes; where the market started before that."""
        if start_ticks is not None:
            self._past.append((0, start_ticks))
        self._sampled_ns = 0

    def on_fill(self, fill: Fill) -> None:
        """Take note of an own fill: several orders at once are a sweep."""
        is_ask = fill.side < 0
        recent = self._filled[is_ask]
        recent.append((fill.venue_ms, fill.oid))
        while recent[0][0] <= fill.venue_ms - _SWEPT_MS:
            recent.popleft()
        if len({oid for _, oid in recent}) >= _SWEPT_ORDERS:
            self._swept_ns[is_ask] = fill.recv_ns

    def quote(
        self,
        *,
        now_ns: int,
        fair_ticks: float,
        step_ticks: int,
        x: float,
        fee_bps: float,
        delta: float,
        market: MarketView,
    ) -> Quote:
        """As `Quoter.quote`, with the recorded terms."""
        quote = super().quote(
            now_ns=now_ns,
            fair_ticks=fair_ticks,
            step_ticks=step_ticks,
            x=x,
            fee_bps=fee_bps,
            delta=delta,
            market=market,
        )
        recorded = self._recorded
        changes: dict[str, float] = {}
        if recorded.drift_share:
            shift = recorded.drift_share * self._move_bps(fair_ticks, now_ns)
            changes["drift_bps"] = max(-_SHIFT_BPS_MAX, min(_SHIFT_BPS_MAX, shift))
        if recorded.has_pullback:
            changes["cascade_bid_bps"] = self._pullback_bps(0, now_ns)
            changes["cascade_ask_bps"] = self._pullback_bps(1, now_ns)
        if recorded.floor_bps is not None:
            changes["adverse_selection_bps"] = changes["glft_bps"] = 0.0
            changes["half_min_bps"] = self._params.half_spread_bps_min - fee_bps
            changes["floor_bps"] = changes["reducing_floor_bps"] = recorded.floor_bps
        return msgspec.structs.replace(quote, **changes)

    def _pullback_bps(self, side: int, now_ns: int) -> float:
        swept_ns = self._swept_ns[side]
        return _PULLBACK_BPS if swept_ns is not None and now_ns - swept_ns < _PULLBACK_NS else 0.0

    def _move_bps(self, fair_ticks: float, now_ns: int) -> float:
        """Move of the last 15 minutes, or since the start."""
        past = self._past
        if not past or now_ns - self._sampled_ns >= _SAMPLE_NS:
            self._sampled_ns = now_ns
            past.append((now_ns, fair_ticks))
        while len(past) > 1 and past[1][0] <= now_ns - _DRIFT_NS:
            past.popleft()
        before = past[0][1]
        return (fair_ticks - before) / before * 1e4


class PredecessorEngine(Engine):
    """The engine around that quoter."""

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        recorded: Recorded,
        start_ticks: float | None = None,
        own_in_book: bool = True,
        ablate: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(
            params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book, ablate=ablate
        )
        self._recorded = RecordedQuoter(params.quoter, recorded, start_ticks, ablate=ablate)
        self._quoter = self._recorded

    def _on_fill(self, fill: Fill) -> None:
        self._recorded.on_fill(fill)
        super()._on_fill(fill)
