"""Sweeps of our ladder as the records show them, and the memory that each must leave."""

from __future__ import annotations

from math import exp2, log
from typing import NamedTuple

from mmbot.core.diagnostics import Diagnostics
from mmbot.core.estimators.cascade import CascadeParams
from mmbot.core.types import NS_PER_S, Side
from mmbot.core.vitals.expectation import Facts, Filled

_TELL_S = 1.5
"""Records farther apart do not tell fills of one second from fills of many."""

_SAME_S = 2.0
_SURE = 1.15
"""A sweep is called one only well beyond the thresholds: the decay is estimated all the time."""

_P_TINY = 1e-12


class Memory(NamedTuple):
    """What a side must remember of its last sweep; the hold is None where the fills were not
    seen."""

    at_ns: int
    depth_bps: float
    hold_px: float | None


def _risen(last: Diagnostics, record: Diagnostics) -> Side:
    """The side whose danger rose more: fills of our bids raise the one below."""
    down = _log_odds(record.danger_down) - _log_odds(last.danger_down)
    up = _log_odds(record.danger_up) - _log_odds(last.danger_up)
    return Side.BUY if down > up else Side.SELL


def _log_odds(p: float) -> float:
    p = min(1.0 - _P_TINY, max(_P_TINY, p))
    return log(p / (1.0 - p))


class Sweeps:
    """
    What the cascade memory must hold.

    A sweep shows in two ways: the position takes what rested on a side, and the dangers rise. Each
    must be followed by the other, and by the pullback. The two dangers are taken together, so that
    trend and flow, which lift one as they lower the other, cancel.
    """

    __slots__ = (
        "_base",
        "_filled",
        "_inherited_ns",
        "_is_gap",
        "_last",
        "_odds",
        "_params",
        "_taker_fills",
        "memories",
    )

    def __init__(self, params: CascadeParams) -> None:
        self._params = params
        self._base = _log_odds(params.danger_p)
        self._last: Diagnostics | None = None
        self._filled: tuple[int, Side] | None = None
        self._odds: tuple[int, float] | None = None
        self._inherited_ns = 0
        self._is_gap = False
        self._taker_fills = 0
        self.memories: dict[Side, Memory] = {}

    def retune(self, params: CascadeParams) -> None:
        """Judge by other parameters; a pullback in force is cut to the new bound, as it is."""
        self._params = params
        self._base = _log_odds(params.danger_p)
        for side, memory in self.memories.items():
            most_bps = params.extra_bps_max if params.gain > 0 else 0.0
            hold_px = memory.hold_px if params.gain > 0 else None
            kept = Memory(memory.at_ns, min(memory.depth_bps, most_bps), hold_px)
            self.memories[side] = kept

    def observed_odds(self, record: Diagnostics) -> float:
        """Log odds of both dangers above their base; trend and flow cancel."""
        both = _log_odds(record.danger_up) + _log_odds(record.danger_down)
        return both - 2 * self._base

    def expected_odds(self, now_ns: int) -> float:
        """What the sweeps seen must have added to them and time has left."""
        if self._odds is None:
            return 0.0
        at_ns, odds = self._odds
        age_s = (now_ns - at_ns) / NS_PER_S
        return odds * exp2(-age_s / self._params.danger_half_life_s)

    def is_inherited(self, now_ns: int) -> bool:
        """Whether a memory older than the records may still act: its size is not known."""
        return now_ns < self._inherited_ns

    def pullback_bps(self, side: Side, now_ns: int) -> float:
        """Pullback before the weight of the position, bps."""
        memory = self.memories.get(side)
        return 0.0 if memory is None else self._left(memory, now_ns)

    def _left(self, memory: Memory, now_ns: int) -> float:
        params = self._params
        fading_s = (now_ns - memory.at_ns) / NS_PER_S - params.sustain_s
        return memory.depth_bps * exp2(-max(0.0, fading_s) / params.half_life_s)

    def weight(self, side: Side, x: float) -> float:
        """How much of it applies: whole on the increasing side, fading to 0 on the other."""
        params = self._params
        against = -side * x
        if against <= params.fade_x_min:
            return 1.0
        return max(0.0, (params.fade_x_max - against) / (params.fade_x_max - params.fade_x_min))

    def hold(self, side: Side, now_ns: int) -> tuple[bool, float | None]:
        """Whether a price hold is in force, and its price if that is known."""
        memory = self.memories.get(side)
        if memory is None or now_ns - memory.at_ns >= self._params.sustain_s * NS_PER_S:
            return False, None
        return True, memory.hold_px

    def reset_gap(self) -> None:
        """The link was lost: what filled meanwhile was told at once, and no record shows it."""
        self._is_gap = True

    def see(self, record: Diagnostics, facts: Facts) -> None:
        """Take every record, in order, with what was told before it."""
        is_ours = facts.taker_fills == self._taker_fills
        self._taker_fills = facts.taker_fills
        now_ns, last, self._last = record.at_ns, self._last, record
        observed = self.observed_odds(record)
        is_gap, self._is_gap = self._is_gap, False
        is_unseen = is_gap and last is not None and record.position_sz != last.position_sz
        if last is None or self._odds is None or is_unseen:
            self._odds = (now_ns, max(0.0, observed))
            if observed > 0.1 or max(record.cascade_bid_bps, record.cascade_ask_bps) > 0:
                self._inherited_ns = now_ns + int(15 * 60 * NS_PER_S)
            return
        expected = self.expected_odds(now_ns)
        swept = self._swept(last, record, facts.filled) if is_ours else None
        params = self._params
        if swept is not None:
            side, span_bps, hold_px = swept
            if not self._is_known(side, now_ns):
                self._odds = (now_ns, expected + params.danger_log_odds)
            self._remember(side, now_ns, max(params.depth_bps_min, span_bps), hold_px)
        elif self._filled is not None and 0 < params.danger_log_odds <= 2 * (observed - expected):
            filled_ns, side = self._filled
            if now_ns - filled_ns <= 3 * NS_PER_S:
                self._odds = (now_ns, observed)
                if side is not _risen(last, record):
                    return  # both sides were filled, and the position tells of their difference
                acted = record.cascade_bid_bps if side > 0 else record.cascade_ask_bps
                weight = self.weight(side, record.q_frac)
                seen_bps = acted / weight / max(params.gain, 1e-9) if weight > 0.5 else 0.0
                self._remember(side, now_ns, max(params.depth_bps_min, seen_bps), None)

    def _is_known(self, side: Side, now_ns: int) -> bool:
        memory = self.memories.get(side)
        return memory is not None and now_ns - memory.at_ns <= _SAME_S * NS_PER_S

    def _swept(
        self, last: Diagnostics, record: Diagnostics, filled: tuple[Filled, ...]
    ) -> tuple[Side, float, float | None] | None:
        """Side, span and deepest price of a sweep since the last record, where it is certain."""
        moved = record.position_sz - last.position_sz
        if not moved:
            return None
        side = Side.BUY if moved > 0 else Side.SELL
        self._filled = (record.at_ns, side)
        if record.at_ns - last.at_ns > _TELL_S * NS_PER_S:
            return None
        exposure_sz = last.bid_exposure_sz if side > 0 else last.ask_exposure_sz
        ours = [fill for fill in filled if fill.side is side]
        if not ours or exposure_sz <= 0 or len({fill.venue_ms for fill in ours}) > 1:
            return None
        # The taker's own prints may have taught a smaller decay before his fills were judged.
        params, k = self._params, min(last.k_measured_per_bp, record.k_measured_per_bp)
        prices = [fill.px for fill in ours]
        span_bps = (max(prices) - min(prices)) / last.fair_px * 1e4
        # Not of what was wanted: part of that may not rest yet, or elsewhere. And more than rested
        # there is somebody else's order on this account.
        is_whole = 0.98 <= sum(fill.sz for fill in ours) / exposure_sz <= 1.02
        by_share = is_whole and (
            span_bps * k >= _SURE * params.share_span_decays_min
            or len({fill.oid for fill in ours}) >= params.share_orders_min
        )
        if not by_share:
            return None
        return side, span_bps, min(prices) if side > 0 else max(prices)

    def _remember(self, side: Side, now_ns: int, swept_bps: float, hold_px: float | None) -> None:
        params, before = self._params, self.memories.get(side)
        if params.gain <= 0:
            return
        depth_bps = params.gain * swept_bps
        if before is not None and self._is_known(side, now_ns):
            depth_bps = max(depth_bps, before.depth_bps)
            hold_px = before.hold_px if hold_px is None else hold_px
        elif before is not None:
            left_bps = self._left(before, now_ns)
            depth_bps += left_bps
            if left_bps >= 0.05:
                depth_bps = max(depth_bps, before.depth_bps)
            is_held, held_px = self.hold(side, now_ns)
            if is_held:
                deeper = min if side > 0 else max
                both = hold_px is not None and held_px is not None
                hold_px = deeper(hold_px or 0.0, held_px or 0.0) if both else None
        depth_bps = min(params.extra_bps_max, depth_bps)
        self.memories[side] = Memory(now_ns, depth_bps, hold_px)
