"""
What the quotes must be, from the published formulas alone.

Nothing here shares a line with quoter, ladder or estimators: what both must agree on is the
specification. Estimates come from the mids that the stage showed, through the plain filters that
the vitals compare with as well; the stationary quote is an eigenvector found by LAPACK.

Long because it is every formula of a quote once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import erf, exp, inf, isfinite, log, log1p, sqrt
from typing import Final

import numpy as np

from mmbot.config import Config
from mmbot.core.stance import ResponseMode
from mmbot.core.types import NS_PER_S, Instrument, Side
from mmbot.core.vitals.shadow import ShadowDrift, ShadowReturns, ShadowVolatility
from mmbot.runtime.selftest.facts import Facts, Half, Law, Pull, Sweep, Wanted

_X_BOUND: Final = 2.0
_BUDGET_USE: Final = 0.97
_GUARD_HALVES: Final = 1.5
_FUNDING_S_MAX: Final = 3600.0
_HALVES_KEPT: Final = 64
_SURE: Final = 0.1
"""How far from a threshold, as a part of it, an estimate must be for its side to be known."""
_SURE_P: Final = 0.05
"""The same of a probability: the plain filter of the drift knows it by so much."""
_SIGNAL_MAX: Final = 3.0
"""Deviations of trend and flow that count for the danger."""
_FADE_ERROR: Final = 0.12
_CALM: Final = 0.8
_JUMP: Final = 0.9
"""Parts of the gate: up to the one no move is cut, from the other it may be."""
_GAIN_USUAL: Final = 3.0
"""Times the usual gain of the drift's filter from which a volatility has fallen at once."""
_SIGMA_ERROR: Final = 0.1
"""The plain volatility leaves the noise factor of the estimator out."""


def glft_half_bps(
    law: Law, fee_bps: float, *, sigma: float, gamma: float, delta: float, lots: int
) -> tuple[float, float]:
    """
    Half spread of an empty book and slope per position, of a maker with fee and informed takers.

    The margin m = (1 - a1) d - fee - a0 obeys the plain model with k/(1 - a1) and A e^(-k b), b the
    break-even depth. Its quotes are ratios of the ground state of a tridiagonal matrix.

    Source: Gueant, Lehalle, Fernandez-Tapia (2013), theorem 2 and section 4.
    """
    margin = 1.0 - law.a1
    k = law.k_per_bp / margin
    a = law.a_per_s * exp(-law.k_per_bp * (fee_bps + law.a0_bps) / margin)
    ratio = gamma * delta / k
    c1 = log1p(ratio) / (gamma * delta) if gamma > 0 else 1 / k
    growth = exp((1 / ratio + 1) * log1p(ratio)) if gamma > 0 else exp(1.0)
    slope = sigma * sqrt(gamma * growth / (2 * a * delta * k))
    eta = a / growth
    # The ground state is even, so half of the inventories are enough.
    matrix = np.diag(0.5 * k * gamma * sigma**2 * delta * np.arange(lots + 1.0) ** 2)
    beside = np.full(lots, -eta)
    beside[0] *= sqrt(2)
    matrix += np.diag(beside, 1) + np.diag(beside, -1)
    ground = np.abs(np.linalg.eigh(matrix)[1][:, 0])
    half = c1 + log(sqrt(2) * ground[0] / ground[1]) / k
    return half / margin, slope / margin


class Model:
    """
    The quote that a configuration must make of what the stage has shown.

    `second` is called once a second with the mid; `sides` then says what must rest.
    """

    def __init__(self, config: Config, instrument: Instrument) -> None:
        self._config = config
        self._instrument = instrument
        self._volatility = ShadowVolatility(config.volatility)
        self._returns = ShadowReturns(config.trend)
        self._drift = ShadowDrift(config.drift)
        self._mid: float | None = None
        self._drift_doubt = 0.0
        """By how much the drift may be another one, bps/s."""
        self._trend_bps = self._rate = 0.0
        self._z = 0.0
        self._age_s = 0.0
        self._fade = 0.0
        self._is_opposed = False
        self._was = (False, False, False)
        self.sweeps: list[Sweep] = []
        self._now_ns = 0
        self.is_unsure = False
        """An estimate lies so near to a threshold that either answer would be right."""
        self._halves: dict[tuple[float, float, Law], Half] = {}

    # -- the market -------------------------------------------------------------------------------

    def second(self, now_ns: int, mid: float, facts: Facts) -> None:
        """Take the mid of a second, and let what fades fade."""
        self._now_ns = now_ns
        self._doubt(mid)
        self._volatility.sample(now_ns, mid)
        self._returns.sample(now_ns, mid)
        (_, _, _), spans, trend = self._returns.returns((0.0, 0.0, 0.0))
        sigma = self.sigma
        self._drift.step(now_ns, mid, sigma, 0.0)
        self._age_s = self._returns.age_s
        is_told = self._age_s >= self._config.trend.age_s_min
        self._trend_bps = trend if is_told and isfinite(trend) else 0.0
        self._rate = self._trend_bps / spans[2]
        unit_sd = self._returns.unit_sd_per_s(spans)
        self._z = self._rate / (sigma * unit_sd) if unit_sd > 0 else 0.0
        self._stand(facts)

    def _doubt(self, mid: float) -> None:
        """A jump is cut whole or, where two samples share it, not at all: no one can know which."""
        last, self._mid = self._mid, mid
        sd, sigma, params = self._drift.sd_bps_per_s(), self.sigma, self._config.drift
        gain = (sd / sigma) ** 2
        kappa = 1 / params.tau_s if params.is_mean_reverting else 0.0
        self._drift_doubt *= 1 - min(1.0, gain + kappa)
        gate_bps = sqrt(params.nis_max) * sigma
        if last is not None and abs(mid / last - 1) * 1e4 > _JUMP * gate_bps:
            self._drift_doubt = max(self._drift_doubt, gate_bps * gain)

    @property
    def calm_bps(self) -> float:
        """Move in a second that is surely not cut as a jump."""
        return _CALM * sqrt(self._config.drift.nis_max) * self.sigma

    def relinked(self) -> None:
        """The link was lost: prices before it are forgotten."""
        self._returns.reset()
        self._drift.reset()
        self._mid = None
        self._drift_doubt = 0.0
        self._trend_bps = self._rate = self._z = self._age_s = 0.0

    @property
    def sigma(self) -> float:
        """Volatility, bps per root second."""
        return self._volatility.bps_rt_s

    def _stand(self, facts: Facts) -> None:
        """Opposed or not, hold or reduce, each with its hysteresis."""
        stance, x = self._config.stance, facts.x
        step = 1 / stance.fade_s
        self._fade = (
            min(1.0, self._fade + step) if self._is_opposed else max(0.0, self._fade - step)
        )
        is_against = self._rate * x < 0 and abs(x) >= stance.opposed_x_min
        bound = stance.opposed_z_leave if self._is_opposed else stance.opposed_z
        self.is_unsure = is_against and abs(abs(self._z) - bound) < 2 * _SURE * bound
        self._is_opposed = is_against and abs(self._z) >= bound
        p = self.against_p(facts)
        checks = (
            (self.urgency(facts), stance.reduce_urgency, stance.reduce_urgency_leave),
            (abs(x), stance.reduce_x, stance.reduce_x_leave),
            (p, stance.reduce_p, stance.reduce_p_leave),
        )
        limits = [
            leave if was else enter
            for was, (_, enter, leave) in zip(self._was, checks, strict=True)
        ]
        is_urgent, is_large, is_likely = (
            value >= limit for (value, _, _), limit in zip(checks, limits, strict=True)
        )
        is_near_u = 0 < abs(checks[0][0] - limits[0]) < _SURE * limits[0]
        is_near_p = abs(p - limits[2]) < _SURE_P
        # Any of the three decides alone: only where none surely holds do the near ones matter.
        is_sure = is_large or (is_urgent and not is_near_u) or (is_likely and not is_near_p)
        self.is_unsure |= not is_sure and (is_near_u or is_near_p) and bool(x)
        self._was = (is_urgent, is_large, is_likely)

    def urgency(self, facts: Facts) -> float:
        """Adverse move while unwinding, in half spreads; 0 unless opposed."""
        if not self._is_opposed:
            return 0.0
        half = self.half(facts).half_bps
        return abs(facts.x) * abs(self._rate) * min(self._hold_s(facts), self._age_s) / half

    def _hold_s(self, facts: Facts) -> float:
        """Time in which fills would flatten the position."""
        stance, law = self._config.stance, facts.law
        rate = law.a_per_s * exp(-self.half(facts).half_bps * law.k_per_bp) * self.delta
        wanted = abs(facts.x) / rate if rate > 0 else inf
        return min(stance.hold_s_max, max(stance.hold_s_min, wanted))

    def against_p(self, facts: Facts) -> float:
        """Probability that the price stands against the position when it is unwound."""
        if not facts.x:
            return 0.0
        tau = self._hold_s(facts)
        mean = self._drift.mean_bps_per_s * (-1 if facts.x > 0 else 1)
        sd = sqrt(self.sigma**2 * tau + (self._drift.sd_bps_per_s() * tau) ** 2)
        return 0.5 * (1 + erf(mean * tau / sd / sqrt(2)))

    @property
    def is_reducing(self) -> bool:
        """Whether the position is to be reduced."""
        return any(self._was)

    # -- terms ------------------------------------------------------------------------------------

    @property
    def delta(self) -> float:
        """Size of one order, of the limit."""
        risk, ladder = self._config.risk, self._config.ladder
        leverage = min(risk.leverage, self._instrument.max_leverage)
        limit = min(
            risk.position_limit_usd(risk.capital_usd),
            risk.capital_usd * leverage,
            5 * risk.capital_usd,
        )
        usable = risk.side_budget_frac * limit * _BUDGET_USE
        count = max(1, min(ladder.rungs, int(usable / ladder.order_usd_min)))
        return max(ladder.order_usd_min, usable / count) / limit

    def half(self, facts: Facts, sigma: float | None = None) -> Half:
        """Fee, adverse selection, GLFT and the least half spread."""
        params, law = self._config.quoter, facts.law
        sigma = self.sigma if sigma is None else sigma
        key = (facts.fee_bps, sigma, law)
        found = self._halves.get(key)
        if found is not None:
            return found
        if len(self._halves) >= _HALVES_KEPT:
            self._halves.clear()
        glft, slope = glft_half_bps(
            law,
            facts.fee_bps,
            sigma=sigma,
            gamma=params.gamma_per_bp,
            delta=self.delta,
            lots=max(1, int(1 / self.delta)),
        )
        glft = min(params.glft_bps_max, glft)
        break_even = (facts.fee_bps + law.a0_bps) / (1 - law.a1)
        adverse = break_even - facts.fee_bps
        rest = max(0.0, params.half_spread_bps_min - break_even - glft)
        risk = params.gamma_per_bp * sigma**2
        relax_s = slope / risk if risk > 0 else inf
        made = Half(facts.fee_bps, adverse, glft, rest, relax_s, max(0.0, break_even))
        self._halves[key] = made
        return made

    def skew_bps(self, facts: Facts, half: Half) -> float:
        """Skew of a full position."""
        params = self._config.quoter
        return max(params.skew_bps_min, (half.half_bps - facts.step_bps) / params.skew_x_touch)

    def _relax_rate(self, half: Half) -> float:
        """At what rate a drift and the position it makes are forgotten, 1/s."""
        drift = self._config.drift
        rate = 0.0 if half.relax_s == inf else 1 / half.relax_s
        return rate + 1 / drift.tau_s if drift.is_mean_reverting else rate

    def _drift_slack_bps(self, half: Half, skew: float) -> float:
        """What the drift term may be off by, after jumps and where the volatility fell at once."""
        params = self._config.drift
        bound, rate = 2 * skew * self._config.quoter.drift_x_max, self._relax_rate(half)
        usual = (
            params.sd_per_vol_rt_s**2 if params.is_mean_reverting else log(2) / params.half_life_s
        )
        doubt = self._drift_doubt
        if (self._drift.sd_bps_per_s() / self.sigma) ** 2 > _GAIN_USUAL * usual:
            # The filter still has the old variance, and divides it by the new one.
            doubt += 2 * _SIGMA_ERROR * abs(self._drift.mean_bps_per_s)
        if not doubt:
            return 0.0
        return (min(bound, doubt / rate) if rate > 0 else bound) * (1 - self._fade)

    def _shifts(self, facts: Facts, half: Half, skew: float) -> dict[str, float]:
        """Terms that move both quotes, positive up."""
        params = self._config.quoter
        shifts = {"inventory_skew": -skew * max(-_X_BOUND, min(_X_BOUND, facts.x))}
        rate = self._relax_rate(half)
        bound = skew * params.drift_x_max
        mean = self._drift.mean_bps_per_s
        move = mean / rate if rate > 0 else bound * ((mean > 0) - (mean < 0))
        shifts["drift"] = max(-bound, min(bound, move)) * (1 - self._fade)
        bound = params.funding_bps_max
        move = -facts.funding_bps_per_h / 3600 * min(half.relax_s, _FUNDING_S_MAX)
        shifts["funding"] = max(-bound, min(bound, move))
        if facts.lead_bps is not None:
            bound = params.reference_bps_max
            shifts["reference"] = max(-bound, min(bound, facts.lead_bps))
        others = sum(shifts.values()) - shifts["inventory_skew"]
        bound = params.shift_bps_max
        shifts["shift_cap"] = max(-bound, min(bound, others)) - others
        return shifts

    def response_bps(self, facts: Facts) -> float:
        """Size of the answer to an opposed trend."""
        stance = self._config.stance
        if self._rate * facts.x >= 0 or self._fade <= 0:
            return 0.0
        span = stance.response_urgent - stance.response_calm
        phi = stance.response_calm + span * (1 - exp(-self.urgency(facts) / stance.urgency_scale))
        return min(stance.response_bps_max, phi * abs(self._trend_bps)) * self._fade

    def _risks(self, facts: Facts, half: Half, sigma: float) -> tuple[float, float]:
        """Widening and barrier of the side that adds to the position."""
        params, held = self._config.quoter, abs(facts.x)
        sd = sigma * sqrt(params.widening_s)
        wide = min(params.widening_bps_max, params.widening_gain * min(1.0, held) * sd)
        height = max(params.guard_bps, _GUARD_HALVES * half.half_bps) if params.guard_bps else 0.0
        beyond = max(0.0, min(_X_BOUND, held) - params.guard_x) / (1 - params.guard_x)
        return wide, height * beyond**2

    def _swept(self, side: Side, facts: Facts) -> tuple[float, int | None]:
        """Pullback of a side, and the price it must stay behind."""
        params = self._config.cascade
        mine = [one for one in self.sweeps if one.side is side]
        if not mine or not params.gain:
            return 0.0, None
        last = mine[-1]
        towards = side * facts.x
        weight = 1.0
        if towards < 0:
            span = params.fade_x_max - params.fade_x_min
            weight = min(1.0, max(0.0, (params.fade_x_max + towards) / span))
        extra = min(params.extra_bps_max, params.gain * last.depth_bps)
        age_s = (self._now_ns - last.at_ns) / NS_PER_S
        if age_s > params.sustain_s:
            extra *= 2.0 ** (-(age_s - params.sustain_s) / params.half_life_s)
        is_held = age_s < params.sustain_s and weight == 1.0
        return weight * extra, last.deepest_ticks if is_held else None

    def _pull(self, side: Side, facts: Facts) -> Pull:
        """Danger is the prior, bursts of the side that fade, and the trend and flow against it."""
        params = self._config.cascade
        if side * facts.x < 0 or params.danger_pull >= 1:
            return Pull.NO
        odds = log(params.danger_p / (1 - params.danger_p))
        for one in self.sweeps:
            if one.side is side:
                age_s = (self._now_ns - one.at_ns) / NS_PER_S
                odds += params.danger_log_odds * 2.0 ** (-age_s / params.danger_half_life_s)
        against = -side * max(-_SIGNAL_MAX, min(_SIGNAL_MAX, self._z))
        odds += params.danger_z_weight * against
        unknown = _SURE + params.danger_ofi_weight * _SIGNAL_MAX
        unknown += params.danger_z_weight * max(_SURE, 2 * _SURE * abs(against))
        limit = log(params.danger_pull / (1 - params.danger_pull))
        if abs(odds - limit) <= unknown:
            return Pull.MAYBE
        return Pull.YES if odds > limit else Pull.NO

    def is_fading(self, side: Side) -> bool:
        """Whether a pullback of this side falls while it is measured."""
        sustain_ns = self._config.cascade.sustain_s * NS_PER_S
        return any(
            one.side is side and self._now_ns - one.at_ns > sustain_ns for one in self.sweeps
        )

    # -- sides ------------------------------------------------------------------------------------

    def sides(self, facts: Facts) -> Iterator[tuple[Side, Wanted]]:
        """What must rest at the touch of each side."""
        half = self.half(facts)
        skew = self.skew_bps(facts, half)
        shifts = self._shifts(facts, half, skew)
        grow = (facts.x > 0) - (facts.x < 0)
        wide, guard = self._risks(facts, half, self.sigma)
        off = 1 + _SIGMA_ERROR
        other = self.half(facts, self.sigma * off)
        wide_off, guard_off = self._risks(facts, other, self.sigma * off)
        base_slack = abs(other.half_bps - half.half_bps)
        base_slack += abs(self.skew_bps(facts, other) - skew) * abs(facts.x)
        base_slack += self._drift_slack_bps(half, skew)
        shifted = self._shifts(facts, other, self.skew_bps(facts, other))
        base_slack += sum(
            abs(shifted[name] - shifts[name]) for name in shifts if name != "inventory_skew"
        )
        response = self.response_bps(facts)
        for side in Side:
            terms = {
                "fee": half.fee_bps,
                "adverse": half.adverse_bps,
                "glft": half.glft_bps,
                "half_min": half.rest_bps,
                **{name: -side * value for name, value in shifts.items()},
            }
            slack = base_slack
            is_growing = grow in (0, side)
            terms["opposed"] = self._answer(side, grow, response)
            slack += 0.12 * abs(terms["opposed"])
            terms["widening"] = wide if is_growing else 0.0
            terms["guard"] = guard if is_growing else 0.0
            if is_growing:
                slack += abs(wide_off - wide) + abs(guard_off - guard)
            terms["cascade"], held = self._swept(side, facts)
            if self.is_fading(side):
                slack += _FADE_ERROR * terms["cascade"]
            depth = sum(terms.values())
            terms["hold"] = 0.0
            if held is not None:
                held_bps = side * (facts.fair_ticks - held) / facts.fair_ticks * 1e4
                terms["hold"] = max(0.0, held_bps - depth)
            depth += terms["hold"]
            terms["touch"] = 0.0
            is_reducing = grow == -side
            if is_reducing and self.is_reducing:
                terms["touch"] = min(0.0, facts.step_bps - depth)
            depth += terms["touch"]
            floor = half.floor_bps
            if is_reducing:
                floor = self._reducing_floor(facts, skew, response)
            pull = self._pull(side, facts)
            yield side, Wanted(depth, floor, slack, is_reducing, pull, terms)

    def _answer(self, side: Side, grow: int, response: float) -> float:
        """The side that adds retreats; the other comes in, in mode both or to reduce."""
        if not grow:
            return 0.0
        if grow == side:
            return response
        is_both = self._config.stance.mode is ResponseMode.BOTH or self.is_reducing
        return -response if is_both else 0.0

    def _reducing_floor(self, facts: Facts, skew: float, response: float) -> float:
        """How near an order may come that only reduces."""
        worth = skew * min(_X_BOUND, abs(facts.x))
        if self._is_opposed or self.is_reducing:
            return max(facts.step_bps, facts.fee_bps - worth - response)
        law = facts.law
        return max(facts.step_bps, (facts.fee_bps + law.a0_bps - worth) / (1 - law.a1))
