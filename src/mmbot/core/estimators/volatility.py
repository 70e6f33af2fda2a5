"""Volatility of the mid, sampled by the clock and never by trades or quote events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from math import fsum, isfinite, pi, sqrt

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_S

_WINSOR = 25.0
"""A squared step counts for at most five standard deviations: one sweep must not double sigma."""

_GAP_NS = 60 * NS_PER_S
"""A longer silence is a gap in the data; the move across it is not volatility."""

_REBASE_FRAC = 0.02
"""A price that far from the origin of the bps becomes it: they are 2 % off at most."""

_MEDRV = pi / (6 - 4 * sqrt(3) + pi)

_SLOW_S = 2.0
"""The slow one of the two time scales."""

_ORDINARY_S = 5.0
"""
Length of the steps whose medians are the volatility without jumps. On recorded Hyperliquid tapes
the mid does not move in 30 to 80 % of all seconds: the median of three one-second steps is then
often zero, and the figure a third to a half too small. At 5 s it is 0.85 to 1 of the volatility.
"""

_ORDINARY_FRAC_MIN = 0.7
"""
Least share of the level that counts as ordinary. A market that stands still but for single moves
has medians of zero, and against a deviation of zero every move would be significant.
"""

_PREAVERAGING = 0.8
"""Window of the pre-averaging over the root of the number of steps."""

_FACTOR_MIN, _FACTOR_MAX = 0.7, 1.2
_WARM_SAMPLES = 30


def realised(prices: Sequence[float]) -> float:
    """Sum of squared steps of a path, in its unit squared; the noise of n steps adds 2 n w^2."""
    return fsum((b - a) ** 2 for a, b in pairwise(prices))


def bipower(prices: Sequence[float]) -> float:
    """
    Variation of a path of at least three prices without its jumps, from products of two steps.

    Source: Barndorff-Nielsen & Shephard (2004), Power and bipower variation.
    """
    steps = [abs(b - a) for a, b in pairwise(prices)]
    n = len(steps)
    products = fsum(a * b for a, b in pairwise(steps))
    return pi / 2 * n / (n - 1) * products


def medrv(prices: Sequence[float]) -> float:
    """
    Variation of a path of at least four prices without its jumps, from medians of three steps.

    Source: Andersen, Dobrev & Schaumburg (2012), Jump-robust volatility estimation.
    """
    steps = [abs(b - a) for a, b in pairwise(prices)]
    n = len(steps)
    triples = zip(steps, steps[1:], steps[2:], strict=False)
    return _MEDRV * n / (n - 2) * fsum(sorted(triple)[1] ** 2 for triple in triples)


def two_scales(prices: Sequence[float], scale: int, *, is_adjusted: bool = True) -> float:
    """
    Variation of a path without the noise of its observation, from `scale` sub-grids.

    Source: Zhang, Mykland & Ait-Sahalia (2005), A tale of two time scales; `is_adjusted` applies
    their small-sample factor.
    """
    n = len(prices) - 1
    slow = fsum((b - a) ** 2 for a, b in zip(prices, prices[scale:], strict=False)) / scale
    ratio = (n - scale + 1) / scale / n
    plain = slow - ratio * realised(prices)
    return plain / (1 - ratio) if is_adjusted else plain


def preaveraged(prices: Sequence[float]) -> float:
    """
    Variation of a path of some dozen prices without the noise of its observation, from averages.

    The weights are min(u, 1 - u) over 0.8 sqrt(n) steps. Slow in its plain form: for reports.

    Source: Jacod, Li, Mykland, Podolskij & Vetter (2009), Microstructure noise in the continuous
    case: the pre-averaging approach, with the finite sums in place of the integrals.
    """
    steps = [b - a for a, b in pairwise(prices)]
    n = len(steps)
    window = max(2, int(_PREAVERAGING * sqrt(n)))
    weights = [min(h, window - h) / window for h in range(window + 1)]
    slope2 = window * fsum((b - a) ** 2 for a, b in pairwise(weights))
    weight2 = fsum(w * w for w in weights) / window
    inner = weights[1:-1]
    total = fsum(
        fsum(w * d for w, d in zip(inner, steps[at : at + window - 1], strict=True)) ** 2
        for at in range(n - window + 2)
    )
    signal = n / (n - window + 2) * total / (window * weight2)
    return signal - slope2 / (2 * window * window * weight2) * realised(prices)


class VolatilityParams(BaseModel):
    """Exponentially weighted variance of the mid."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    half_life_s: float = Field(120.0, ge=5, le=3600, description="Half-life of the average, s.")
    sample_s: float = Field(1.0, ge=0.1, le=10, description="Sampling clock, s.")
    window_samples: int = Field(
        300,
        ge=30,
        le=3600,
        description="Samples from which noise and jumps are told from volatility.",
    )
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

    The noise of the touch is taken out by a slow factor, the ratio of the two-scale (2 s) to the
    plain variation of the last window as a deviation, within 0.7 and 1.2. `robust_bps_rt_s` is the
    deviation of the same window without its jumps (MedRV of 5 s steps, one begun at each sample),
    for z scores: a jump belongs in the risk, not in what is ordinary. Steps of irregular length
    count per root of their seconds. What comes before the last sample or is no price changes
    nothing and is counted in `ignored`; what comes before the clock's next tick is just not taken.

    Source: exponential smoothing with unequal steps (Mueller 2001); the functions above.
    """

    __slots__ = (
        "_factor",
        "_factor_half_s",
        "_fast",
        "_half_life_s",
        "_last_mid",
        "_last_ns",
        "_max",
        "_medians",
        "_min",
        "_ordinary_n",
        "_ordinary_var",
        "_origin",
        "_path",
        "_prior_var",
        "_sample_ns",
        "_slow",
        "_slow_n",
        "_var",
        "_window",
        "bps_rt_s",
        "ignored",
        "robust_bps_rt_s",
        "samples",
    )

    def __init__(self, params: VolatilityParams) -> None:
        self._half_life_s = params.half_life_s
        self._factor_half_s = 2 * params.half_life_s
        self._sample_ns = int(params.sample_s * NS_PER_S)
        self._min = params.vol_bps_rt_s_min
        self._max = params.vol_bps_rt_s_max
        self._prior_var = params.prior_bps_rt_s**2
        self._var = self._prior_var
        self._factor = 1.0
        window = self._window = params.window_samples
        self._fast: deque[float] = deque(maxlen=window)
        self._slow: deque[float] = deque(maxlen=window)
        self._medians: deque[float] = deque(maxlen=window)
        self._slow_n = max(2, round(_SLOW_S / params.sample_s))
        self._ordinary_n = max(1, round(_ORDINARY_S / params.sample_s))
        self._ordinary_var = self._prior_var
        # The newest samples without a gap between them: time and mid.
        longest = max(self._slow_n, 3 * self._ordinary_n)
        self._path: deque[tuple[int, float]] = deque(maxlen=longest + 1)
        self._last_ns: int | None = None
        self._last_mid = 0.0
        self._origin = 0.0
        self.samples = 0
        self.ignored = 0
        self.bps_rt_s = params.prior_bps_rt_s
        """Estimate, bps per root second, inside its bounds; jumps count."""
        self.robust_bps_rt_s = params.prior_bps_rt_s
        """The same without jumps; the prior counts as thirty samples, fewer as the window fills."""
        self._serve()

    def _serve(self) -> None:
        """Work out what is asked for between two samples."""
        least, most = self._min, self._max
        self.bps_rt_s = level = min(most, max(least, sqrt(self._var) * self._factor))
        ordinary = max(sqrt(self._ordinary_var), _ORDINARY_FRAC_MIN * level)
        self.robust_bps_rt_s = min(most, max(least, ordinary))

    @property
    def ticks_per_bps(self) -> float:
        """A basis point of the price that all steps are measured against; 0 before the first."""
        return self._origin * 1e-4

    @property
    def is_warm(self) -> bool:
        """Whether there are samples enough to call this an estimate and no longer the prior."""
        return self.samples >= _WARM_SAMPLES

    def sample(self, now_ns: int, mid: float) -> bool:
        """Offer the mid (any unit) at `now_ns`; True if the clock took it as a sample."""
        if not (isfinite(mid) and mid > 0):
            self.ignored += 1
            return False
        last_ns = self._last_ns
        if last_ns is None:
            self._last_ns, self._last_mid = now_ns, mid
            self._path.append((now_ns, mid))
            if not self._origin:
                self._origin = mid
            return False
        step_ns = now_ns - last_ns
        if step_ns < self._sample_ns:
            self.ignored += step_ns < 0
            return False
        previous = self._last_mid
        self._last_ns, self._last_mid = now_ns, mid
        if step_ns > _GAP_NS:
            self._path.clear()
            self._path.append((now_ns, mid))
            return False
        dt = step_ns / NS_PER_S
        if abs(mid - self._origin) > _REBASE_FRAC * self._origin:
            self._origin = mid
        # Measured against one price for all steps, a mirrored path counts the same to the bit.
        move_bps = (mid - previous) / self._origin * 1e4
        rate = min(move_bps * move_bps / dt, _WINSOR * self._var)
        self._var += (1.0 - 2.0 ** (-dt / self._half_life_s)) * (rate - self._var)
        # The winsor bound scales with the estimate itself: a floor keeps it able to rise again.
        self._var = max(self._var, self._min * self._min)
        self.samples += 1
        self._path.append((now_ns, mid))
        self._fast.append(move_bps * move_bps / dt)
        self._denoise(dt)
        self._without_jumps()
        self._serve()
        return True

    def _move_rt_s(self, newest: tuple[int, float], oldest: tuple[int, float]) -> float:
        """Move between two samples, bps per root second."""
        span_s = (newest[0] - oldest[0]) / NS_PER_S
        return (newest[1] - oldest[1]) / self._origin * 1e4 / sqrt(span_s)

    def _denoise(self, dt_s: float) -> None:
        """Move the factor towards the ratio of the two-scale to the plain variation."""
        scale, path = self._slow_n, self._path
        if len(path) <= scale:
            return
        self._slow.append(self._move_rt_s(path[-1], path[-1 - scale]) ** 2)
        n = len(self._fast)
        fast = fsum(self._fast)
        if n < _WARM_SAMPLES or fast <= 0:
            return
        # Both sums are of rates, the slow one over fewer steps: `two_scales` per second.
        ratio = (n - scale + 1) / scale / n
        variation = (fsum(self._slow) - ratio * fast) / (1 - ratio)
        target = min(_FACTOR_MAX, max(_FACTOR_MIN, sqrt(max(0.0, variation) / fast)))
        self._factor += (1.0 - 2.0 ** (-dt_s / self._factor_half_s)) * (target - self._factor)

    def _without_jumps(self) -> None:
        """Take the median of the three newest long steps into the figure without jumps."""
        step = self._ordinary_n
        medians, path = self._medians, self._path
        if len(path) <= 3 * step:
            return
        second, third = path[-1 - step], path[-1 - 2 * step]
        a = abs(self._move_rt_s(path[-1], second))
        b = abs(self._move_rt_s(second, third))
        c = abs(self._move_rt_s(third, path[-1 - 3 * step]))
        median = max(min(a, b), min(max(a, b), c))
        medians.append(median * median)
        n = len(medians)
        prior = _WARM_SAMPLES * (1 - n / self._window)
        self._ordinary_var = (_MEDRV * fsum(medians) + prior * self._prior_var) / (n + prior)

    def reset_gap(self) -> None:
        """Forget the last mid: the next step would span a lost link."""
        self._last_ns = None
        self._path.clear()
