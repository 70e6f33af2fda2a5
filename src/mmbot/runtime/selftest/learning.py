"""What the program must have learnt of fills, and of another market, from what it was shown."""

from __future__ import annotations

from math import exp, log, log1p
from typing import Final

from mmbot.core.estimators.adverse import AdverseParams
from mmbot.core.estimators.intensity import IntensityParams
from mmbot.core.types import NS_PER_S
from mmbot.runtime.selftest.facts import Law

_JOIN_S: Final = 60.0
"""Age of a trade from which it counts."""
_TURN_BPS: Final = 6.0
"""Depth at which a law counts as dearer than another."""
_DEPTH_BPS: Final = 36 / 7
"""Mean of the depths of the virtual quotes."""
_DEEPEST_BPS: Final = 12.0
"""The deepest of them."""


class Learning:
    """
    What a tape of far reaching, informed trades must teach, by the plain rules.

    Every trade reaches all depths and moves the mid by the same amount, so the mean move at each
    depth is a mixture of the prior's and that amount, and the adverse law stays a line. The reach
    is censored: it lowers k at once, while rates are known a minute later. What is served moves by
    a fifth of the quote a minute at most; the fills that our own orders do not get are left out.
    """

    def __init__(self, intensity: IntensityParams, adverse: AdverseParams, now_ns: int) -> None:
        self._intensity, self._adverse = intensity, adverse
        self._start_ns = now_ns
        self._trades: list[tuple[int, float, float]] = []
        self.law = Law(intensity.a_per_s, intensity.k_per_bp, adverse.a0_bps, adverse.a1)

    def trade(self, now_ns: int, move_bps: float, reach_bps: float) -> None:
        """One trade, how far the mid goes with it, and how far from the mid it reached."""
        self._trades.append((now_ns, move_bps, reach_bps))

    def second(self, now_ns: int) -> None:
        """One second of moving towards what is known."""
        half_s = self._adverse.half_life_s
        known = [
            (move, 2 ** (-(now_ns - at_ns) / NS_PER_S / half_s))
            for at_ns, move, _ in self._trades
            if now_ns - at_ns > _JOIN_S * NS_PER_S
        ]
        a0, a1 = self._costs(known)
        a, k = self._rates(now_ns)
        self.law = Law(a, k, a0, a1)

    def _costs(self, known: list[tuple[float, float]]) -> tuple[float, float]:
        """a0 and a1 of moves, each with what is left of its weight."""
        params, law = self._adverse, self.law
        total = params.prior_events + sum(weight for _, weight in known)
        moved = sum(move * weight for move, weight in known)
        a0 = (params.prior_events * params.a0_bps + moved) / total
        a1 = params.prior_events * params.a1 / total
        slope = min(params.a1_max, a1)
        # A line that may not be so steep still goes through the middle of the depths.
        a0, a1 = a0 + (a1 - slope) * _DEPTH_BPS, slope
        a0 += max(
            0.0,
            0.5 * params.a0_bps - a0,
            0.5 * (params.a0_bps + params.a1 * _DEEPEST_BPS) - (a0 + a1 * _DEEPEST_BPS),
        )
        a0 = min(params.a0_bps_max, a0)
        rise = (a0 + _TURN_BPS * a1) - (law.a0_bps + _TURN_BPS * law.a1)
        half_s = params.widen_half_life_s if rise > 0 else params.tighten_half_life_s
        weight = 1 - 2 ** (-1 / half_s)
        bound = log1p(params.change_per_min_max) / 2 / 60
        if a0 != law.a0_bps:
            weight = min(weight, bound * max(1.0, law.a0_bps) / abs(a0 - law.a0_bps))
        if a1 != law.a1:
            weight = min(weight, bound * (1 - law.a1) / abs(a1 - law.a1))
        return law.a0_bps + weight * (a0 - law.a0_bps), law.a1 + weight * (a1 - law.a1)

    def _rates(self, now_ns: int) -> tuple[float, float]:
        """A and k of trades that reach so far."""
        params, law, half_s = self._intensity, self.law, self._intensity.half_life_s
        prior, least = params.prior_events, params.d_min_bps
        known = events = excess = 0.0
        for at_ns, _, reach_bps in self._trades:
            if reach_bps < least:
                continue
            age_s = (now_ns - at_ns) / NS_PER_S
            weight = 2 ** (-max(0.0, age_s - _JOIN_S) / half_s)
            known += weight * (age_s > _JOIN_S)
            if reach_bps >= params.d_max_bps:
                excess += 2 ** (-age_s / half_s) * (params.d_max_bps - least)
            elif age_s > _JOIN_S:
                events += weight
                excess += weight * (reach_bps - least)
        k = (prior + events) / (prior / params.k_per_bp + excess)
        for at_ns, _, reach_bps in self._trades:
            is_fresh = now_ns - at_ns <= _JOIN_S * NS_PER_S
            if is_fresh and least <= reach_bps < params.d_max_bps:
                # Before its time an event may lower k, and nothing else.
                lower = (prior + events + 1) / ((prior + events) / k + reach_bps - least)
                k, events = (lower, events + 1) if lower < k else (k, events)
        silence_s = prior / (params.a_per_s * exp(-params.k_per_bp * least))
        span_s = max(0.0, (now_ns - self._start_ns) / NS_PER_S - _JOIN_S)
        watched_s = 2 * half_s / log(2) * (1 - 2 ** (-span_s / half_s))
        a = (prior + known) / (silence_s + watched_s) * exp(k * least)
        bound = log1p(params.change_per_min_max) / 60
        k = max(params.k_per_bp / params.k_day_factor_max, self._near(law.k_per_bp, k, bound / 2))
        return self._near(law.a_per_s, a, bound), k

    def _near(self, served: float, target: float, bound: float) -> float:
        """One step towards a figure, in logarithms: down soon, up slowly, never in a hurry."""
        params, gap = self._intensity, log(target / served)
        half_s = params.tighten_half_life_s if gap > 0 else params.widen_half_life_s
        return served * exp(max(-bound, min(bound, gap * (1 - 2 ** (-1 / half_s)))))


class Lead:
    """
    How far another market leads, beyond its usual premium, from one look a second.

    Both are logarithms of the ratio of prices, so neither knows in what unit a market is quoted.
    """

    def __init__(self, bps_max: float, half_life_s: float) -> None:
        self._max_bps, self._half_life_s = bps_max, half_life_s
        self._usual_bps: float | None = None
        self._last_ns = 0

    def lead_bps(self, now_ns: int, px: float, fair_px: float) -> float:
        """The bounded lead, positive up."""
        gap_bps = log(px / fair_px) * 1e4
        if self._usual_bps is None:
            self._usual_bps = gap_bps
        else:
            weight = 1 - 2 ** (-(now_ns - self._last_ns) / NS_PER_S / self._half_life_s)
            self._usual_bps += weight * (gap_bps - self._usual_bps)
        self._last_ns = now_ns
        return max(-self._max_bps, min(self._max_bps, gap_bps - self._usual_bps))
