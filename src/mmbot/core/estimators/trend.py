"""
The trend over three horizons, from the mid alone: fills of ours are no evidence of where it goes.

    z_i = r_i / (sigma sqrt(H_i)),   Corr(r_i, r_j) = sqrt(H_i/H_j) for nested windows
    rate = sum w_i r_i/H_i / sum w_i,   z = rate / sd(rate),   T = rate * H_long

Source: nested windows of a random walk; the blend is ours, its weights await a fit on own data.
"""

from __future__ import annotations

from bisect import bisect_right
from math import erfc, fsum, isfinite, sqrt
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_S

_GAP_NS = 60 * NS_PER_S
_REBASE_FRAC = 0.02
_SLACK = 1024
"""Samples kept beyond the longest window before the old ones are dropped."""


def continuation_p(
    mean_bps_per_s: float, sd_bps_per_s: float, vol_bps_rt_s: float, tau_s: float
) -> float:
    """
    Probability that the price is higher in `tau_s`, given the posterior of its drift.

        P(up) = Phi( m tau / sqrt(sigma^2 tau + V tau^2) )

    1 minus it is the probability of lower: the two directions are mirror images.
    """
    sd = sqrt(vol_bps_rt_s**2 * tau_s + (sd_bps_per_s * tau_s) ** 2)
    if sd <= 0:
        msg = f"the move must have a deviation, got sigma {vol_bps_rt_s}, tau {tau_s}"
        raise ValueError(msg)
    return 0.5 * erfc(-mean_bps_per_s * tau_s / sd / sqrt(2))


class TrendParams(BaseModel):
    """Windows of the trend and their weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    short_s: float = Field(30.0, ge=5, le=600, description="Short window, s.")
    medium_s: float = Field(180.0, ge=10, le=3600, description="Medium window, s.")
    long_s: float = Field(900.0, ge=30, le=14_400, description="Long window, s.")
    weight_short: float = Field(0.05, ge=0, le=1, description="Weight of the short rate.")
    weight_medium: float = Field(0.15, ge=0, le=1, description="Weight of the medium rate.")
    weight_long: float = Field(0.3, gt=0, le=1, description="Weight of the long rate.")
    sample_s: float = Field(1.0, ge=0.1, le=10, description="Sampling clock, s.")
    age_s_min: float = Field(
        5.0, ge=1, le=600, description="Age of the data from which there is a trend, s."
    )

    @model_validator(mode="after")
    def _ordered(self) -> TrendParams:
        if not self.short_s < self.medium_s < self.long_s:
            msg = (
                "short_s < medium_s < long_s must hold, got "
                f"{self.short_s:g}, {self.medium_s:g}, {self.long_s:g}"
            )
            raise ValueError(msg)
        return self


class TrendView(NamedTuple):
    """
    The trend at a time. Returns in bps over windows of at most the true age, positive up.

    `trend_bps` is the blended rate over the long window, comparable with `long_bps`; `z` its
    significance in deviations of a driftless market.
    """

    short_bps: float
    medium_bps: float
    long_bps: float
    rate_bps_per_s: float
    trend_bps: float
    z: float
    age_s: float


class _Blend(NamedTuple):
    """What the newest sample makes of the trend, all but its significance."""

    short_bps: float
    medium_bps: float
    long_bps: float
    rate_bps_per_s: float
    trend_bps: float
    unit_sd_per_s: float
    """Deviation of the rate per bps/sqrt(s) of volatility."""
    age_s: float


class Trend:
    """
    Returns of the clock-sampled mid over three nested windows, blended.

    Younger than a window, the data's true age is used instead. A silence of a minute starts anew.
    A window begins at the last sample at or before its start. What comes before the last sample or
    is no price changes nothing and is counted in `ignored`; what comes before the clock's next
    tick is just not taken.
    """

    __slots__ = (
        "_age_min_ns",
        "_blended",
        "_horizons_ns",
        "_levels",
        "_origin",
        "_sample_ns",
        "_times",
        "_weights",
        "ignored",
    )

    def __init__(self, params: TrendParams) -> None:
        self._horizons_ns = tuple(
            int(length * NS_PER_S) for length in (params.short_s, params.medium_s, params.long_s)
        )
        self._weights = (params.weight_short, params.weight_medium, params.weight_long)
        self._sample_ns = int(params.sample_s * NS_PER_S)
        self._age_min_ns = int(params.age_s_min * NS_PER_S)
        self._times: list[int] = []
        self._levels: list[float] = []
        self._origin = 0.0
        # Worked out once a sample: a decision asks far more often.
        self._blended: _Blend | None = None
        self.ignored = 0

    def sample(self, now_ns: int, mid_ticks: float) -> bool:
        """Offer the mid (any unit); True if the clock took it as a sample."""
        if not (isfinite(mid_ticks) and mid_ticks > 0):
            self.ignored += 1
            return False
        times = self._times
        if times:
            step_ns = now_ns - times[-1]
            if step_ns < 0:
                self.ignored += 1
                return False
            if step_ns > _GAP_NS:
                self.reset_gap()
            elif step_ns < self._sample_ns:
                return False
        if not times or abs(mid_ticks - self._origin) > _REBASE_FRAC * self._origin:
            self._origin = mid_ticks
        times.append(now_ns)
        self._levels.append(mid_ticks)
        cut = bisect_right(times, now_ns - self._horizons_ns[2]) - 1
        if cut > _SLACK:
            del times[:cut], self._levels[:cut]
        self._blended = self._blend()
        return True

    def _blend(self) -> _Blend | None:
        times, levels = self._times, self._levels
        last_ns = times[-1]
        age_ns = last_ns - times[0]
        if age_ns < self._age_min_ns:
            return None
        newest, scale = levels[-1], 1e4 / self._origin
        returns: list[float] = []
        spans_s: list[float] = []
        for horizon_ns in self._horizons_ns:
            at = max(0, bisect_right(times, last_ns - horizon_ns) - 1)
            returns.append((newest - levels[at]) * scale)
            spans_s.append((last_ns - times[at]) / NS_PER_S)
        weights = self._weights
        total = fsum(weights)
        rate = fsum(w * r / h for w, r, h in zip(weights, returns, spans_s, strict=True)) / total
        unit_var = fsum(
            a * b / max(h, j)
            for a, h in zip(weights, spans_s, strict=True)
            for b, j in zip(weights, spans_s, strict=True)
        )
        short, medium, long = returns
        unit_sd, age_s = sqrt(unit_var) / total, age_ns / NS_PER_S
        return _Blend(short, medium, long, rate, rate * spans_s[2], unit_sd, age_s)

    def view(self, now_ns: int, vol_bps_rt_s: float) -> TrendView | None:
        """
        The trend by the last sample; None while the data are younger than `age_s_min` or stale.

        `vol_bps_rt_s` is the volatility without jumps, above 0.
        """
        found = self._blended
        if found is None or now_ns - self._times[-1] > _GAP_NS:
            return None
        short, medium, long, rate, trend, unit_sd, age_s = found
        return TrendView(short, medium, long, rate, trend, rate / (vol_bps_rt_s * unit_sd), age_s)

    def reset_gap(self) -> None:
        """Start anew: what comes next follows a silence or a lost link."""
        self._times.clear()
        self._levels.clear()
        self._blended = None
