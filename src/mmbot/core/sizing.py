"""
How often noise alone trips a limit: a position limit that is too large for its loss limits.

Without edge and without news the profit is a Brownian motion: a position of |x| limits earns
|x| sigma sqrt(t) by chance. A loss limit is an absorbing barrier below the start, a drawdown limit
one below the running maximum. That a soft stop would reduce the position on the way is left out,
so the figures err on the side of caution.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, erfc, exp, inf, pi, sqrt

import msgspec

DAY_S = 86_400.0
BARS_MIN = 12
"""Fewer bars say too little of a day."""
TRIP_P_MAX = 0.05
"""Above this chance a day a configuration trips on nothing too often to mean anything."""

_SERIES_SWITCH = 1.5
_TERMS = 64
_BISECTIONS = 60


class NoiseTrips(msgspec.Struct, frozen=True, kw_only=True):
    """
    Chances that noise alone reaches a limit within a day.

    `kill_p` is of the session loss or the drawdown limit, whichever is first; `soft_p` of the soft
    one, which only reduces. `position_usd_max` is the position limit at which `kill_p` is
    `TRIP_P_MAX`.
    """

    pnl_sd_usd: float
    """Of the profit of a day."""
    kill_p: float
    soft_p: float
    position_usd_max: float

    @property
    def is_fit(self) -> bool:
        """Whether a trip would mean something."""
        return self.kill_p <= TRIP_P_MAX


def loss_p(barrier_sd: float) -> float:
    """
    Chance that a driftless Brownian motion reaches a level below its start.

    Args:
        barrier_sd: Distance of the level in standard deviations at the end of the span, >= 0.

    Source: reflection principle, P(min W <= -b) = 2 P(W <= -b); Karatzas & Shreve (1991), 2.6.
    """
    return erfc(barrier_sd / sqrt(2))


def drawdown_p(barrier_sd: float) -> float:
    """
    Chance that a driftless Brownian motion falls by so much from its running maximum.

    Args:
        barrier_sd: The fall in standard deviations at the end of the span, >= 0.

    Source: M - W is distributed as |W| (Levy; Karatzas & Shreve (1991), theorem 3.6.17), so this
    is P(max |W| >= b): the reflection principle applied to both barriers again and again
    (Feller (1971), vol. 2, X.5), or the same as a Fourier series where that converges faster.
    """
    b = barrier_sd
    if b <= 0:
        return 1.0
    if b < _SERIES_SWITCH:
        stays = sum(
            _sign(k) / (2 * k + 1) * exp(-(((2 * k + 1) * pi / b) ** 2) / 8) for k in range(_TERMS)
        )
        return min(1.0, max(0.0, 1 - 4 / pi * stays))
    stays = sum(
        _sign(k) * (_phi((2 * k + 1) * b) - _phi((2 * k - 1) * b)) for k in range(-_TERMS, _TERMS)
    )
    return min(1.0, max(0.0, 1 - stays))


def range_vol_bps_rt_s(ranges_bps: Sequence[float], span_s: float) -> float | None:
    """
    Volatility from the ranges of bars of `span_s`, bps per root second; None for too few.

    Source: Feller (1951), The asymptotic distribution of the range of sums of independent random
    variables: a driftless Brownian motion ranges over sqrt(8 / pi) sigma sqrt(t) on average.
    """
    if len(ranges_bps) < BARS_MIN:
        return None
    mean = sum(ranges_bps) / len(ranges_bps)
    return mean / sqrt(8 / pi * span_s) if mean > 0 else None


def noise_trips(
    *,
    capital_usd: float,
    position_usd: float,
    vol_bps_rt_s: float,
    x_rms: float,
    loss_frac: float,
    drawdown_frac: float,
    soft_frac: float,
    span_s: float = DAY_S,
) -> NoiseTrips:
    """
    How often noise alone trips each limit within `span_s`.

    Args:
        capital_usd: Equity that the fractions are of, > 0.
        position_usd: Position limit.
        vol_bps_rt_s: Volatility of the price, bps per root second.
        x_rms: Root mean square of the position, as a fraction of its limit.
        loss_frac: Loss since the start that kills.
        drawdown_frac: Fall from the peak that kills; the peak counts as the start here.
        soft_frac: Loss or fall that only reduces.
        span_s: Time.
    """
    per_usd = x_rms * vol_bps_rt_s * 1e-4 * sqrt(span_s)
    sd_usd = per_usd * position_usd
    loss_usd, fall_usd = loss_frac * capital_usd, drawdown_frac * capital_usd
    return NoiseTrips(
        pnl_sd_usd=sd_usd,
        kill_p=_kill_p(loss_usd, fall_usd, sd_usd),
        soft_p=drawdown_p(_in_sd(soft_frac * capital_usd, sd_usd)),
        position_usd_max=_sd_at(loss_usd, fall_usd, TRIP_P_MAX) / per_usd if per_usd > 0 else inf,
    )


def _kill_p(loss_usd: float, fall_usd: float, sd_usd: float) -> float:
    """A loss is a fall as well: only a loss limit below the drawdown's adds anything."""
    p = drawdown_p(_in_sd(fall_usd, sd_usd))
    if loss_usd < fall_usd:
        # Boole's bound, and no more than a fall by the smaller of the two from any peak.
        p = min(p + loss_p(_in_sd(loss_usd, sd_usd)), drawdown_p(_in_sd(loss_usd, sd_usd)))
    return p


def _sd_at(loss_usd: float, fall_usd: float, p: float) -> float:
    """Deviation of the profit at which the chance of a kill is `p`: it grows with it."""
    low, high = 0.0, 10 * max(loss_usd, fall_usd)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _kill_p(loss_usd, fall_usd, middle) < p else (low, middle)
    return low


def _in_sd(usd: float, sd_usd: float) -> float:
    return usd / sd_usd if sd_usd > 0 else inf


def _sign(k: int) -> float:
    return -1.0 if k % 2 else 1.0


def _phi(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2
