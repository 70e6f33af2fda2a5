"""Volatility of the mid, sampled by the clock and never by trades or quote events."""

from __future__ import annotations

from math import sqrt

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_S

_WINSOR = 25.0
"""A squared step counts for at most five standard deviations: one sweep must not double sigma."""

_GAP_NS = 60 * NS_PER_S
"""A longer silence is a gap in the data; the move across it is not volatility."""


class VolatilityParams(BaseModel):
    """Exponentially weighted variance of the mid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_s: float = Field(120.0, ge=5, le=3600, description="Half-life of the average, s.")
    sample_s: float = Field(1.0, ge=0.1, le=10, description="Sampling clock, s.")
    prior_bps_rt_s: float = Field(
        1.0, gt=0, le=50, description="Volatility assumed at the start, bps per root second."
    )
    vol_bps_rt_s_min: float = Field(
        0.3, gt=0, le=50, description="Lower bound, bps per root second."
    )
    vol_bps_rt_s_max: float = Field(
        20.0, gt=0, le=100, description="Upper bound, bps per root second."
    )

    @model_validator(mode="after")
    def _ordered(self) -> VolatilityParams:
        if not self.vol_bps_rt_s_min <= self.prior_bps_rt_s <= self.vol_bps_rt_s_max:
            msg = (
                "vol_bps_rt_s_min <= prior_bps_rt_s <= vol_bps_rt_s_max must hold, got "
                f"{self.vol_bps_rt_s_min}, {self.prior_bps_rt_s}, {self.vol_bps_rt_s_max}"
            )
            raise ValueError(msg)
        return self


class Volatility:
    """
    EWMA of the squared one-second step of the mid, per second, winsorised at five sd.

        v <- v + (1 - 2^(-dt/h)) (min(d^2/dt, 25 v) - v),   d in bps

    Source: exponential smoothing with unequal steps (Mueller 2001); the bound of 25 v is ours.
    """

    __slots__ = ("_half_life_s", "_last_mid", "_last_ns", "_max", "_min", "_sample_ns", "_var")

    def __init__(self, params: VolatilityParams) -> None:
        self._half_life_s = params.half_life_s
        self._sample_ns = int(params.sample_s * NS_PER_S)
        self._min = params.vol_bps_rt_s_min
        self._max = params.vol_bps_rt_s_max
        self._var = params.prior_bps_rt_s**2
        self._last_ns: int | None = None
        self._last_mid = 0.0

    @property
    def bps_rt_s(self) -> float:
        """Estimate, bps per root second, inside its bounds."""
        return min(self._max, max(self._min, sqrt(self._var)))

    def sample(self, now_ns: int, mid: float) -> bool:
        """Offer the mid (any unit) at `now_ns`; True if the clock took it as a sample."""
        last_ns = self._last_ns
        if last_ns is None:
            self._last_ns, self._last_mid = now_ns, mid
            return False
        step_ns = now_ns - last_ns
        if step_ns < self._sample_ns:
            return False
        previous = self._last_mid
        self._last_ns, self._last_mid = now_ns, mid
        if step_ns > _GAP_NS:
            return False
        dt = step_ns / NS_PER_S
        move_bps = (mid / previous - 1.0) * 1e4
        rate = min(move_bps * move_bps / dt, _WINSOR * self._var)
        self._var += (1.0 - 2.0 ** (-dt / self._half_life_s)) * (rate - self._var)
        # The winsor bound scales with the estimate itself: a floor keeps it able to rise again.
        self._var = max(self._var, self._min * self._min)
        return True

    def reset_gap(self) -> None:
        """Forget the last mid: the next step would span a lost link."""
        self._last_ns = None
