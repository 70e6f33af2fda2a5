"""What the program must have learnt of fills from the trades that it was shown."""

from __future__ import annotations

from math import exp, log, log1p
from typing import Final

from mmbot.core.estimators.adverse import AdverseParams
from mmbot.core.estimators.intensity import IntensityParams
from mmbot.core.types import NS_PER_S
from mmbot.runtime.selftest.expected import Law

_JOIN_S: Final = 60.0
"""Age of a trade from which it counts."""
_TURN_BPS: Final = 6.0
"""Depth at which a law counts as dearer than another."""


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
        self._trades: list[tuple[int, float]] = []
        self.law = Law(intensity.a_per_s, intensity.k_per_bp, adverse.a0_bps, adverse.a1)

    def trade(self, now_ns: int, move_bps: float) -> None:
        """One trade, and how far the mid goes with it."""
        self._trades.append((now_ns, move_bps))

    def second(self, now_ns: int) -> None:
        """One second of moving towards what is known."""
        known = [move for at_ns, move in self._trades if now_ns - at_ns > _JOIN_S * NS_PER_S]
        a0, a1 = self._costs(known)
        a, k = self._rates(now_ns, len(known))
        self.law = Law(a, k, a0, a1)

    def _costs(self, known: list[float]) -> tuple[float, float]:
        params, law = self._adverse, self.law
        total = params.prior_events + len(known)
        a0 = (params.prior_events * params.a0_bps + sum(known)) / total
        a1 = params.prior_events * params.a1 / total
        rise = (a0 + _TURN_BPS * a1) - (law.a0_bps + _TURN_BPS * law.a1)
        half_s = params.widen_half_life_s if rise > 0 else params.tighten_half_life_s
        weight = 1 - 2 ** (-1 / half_s)
        bound = log1p(params.change_per_min_max) / 2 / 60
        if a0 != law.a0_bps:
            weight = min(weight, bound * max(1.0, law.a0_bps) / abs(a0 - law.a0_bps))
        if a1 != law.a1:
            weight = min(weight, bound * (1 - law.a1) / abs(a1 - law.a1))
        return law.a0_bps + weight * (a0 - law.a0_bps), law.a1 + weight * (a1 - law.a1)

    def _rates(self, now_ns: int, known: int) -> tuple[float, float]:
        """A and k of trades beyond the censoring depth."""
        params, law = self._intensity, self.law
        prior, least = params.prior_events, params.d_min_bps
        excess = len(self._trades) * (params.d_max_bps - least)
        k = prior / (prior / params.k_per_bp + excess)
        silence_s = prior / (params.a_per_s * exp(-params.k_per_bp * least))
        watched_s = 2 * max(0.0, (now_ns - self._start_ns) / NS_PER_S - _JOIN_S)
        a = (prior + known) / (silence_s + watched_s) * exp(k * least)
        bound = log1p(params.change_per_min_max) / 60
        k = max(params.k_per_bp / params.k_day_factor_max, self._near(law.k_per_bp, k, bound / 2))
        return self._near(law.a_per_s, a, bound), k

    def _near(self, served: float, target: float, bound: float) -> float:
        """One step towards a figure, in logarithms: down soon, up slowly, never in a hurry."""
        params, gap = self._intensity, log(target / served)
        half_s = params.tighten_half_life_s if gap > 0 else params.widen_half_life_s
        return served * exp(max(-bound, min(bound, gap * (1 - 2 ** (-1 / half_s)))))
