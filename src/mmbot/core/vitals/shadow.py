"""
The estimates once more, from the recorded mids alone and by the plainest formula of each.

Nothing here shares a line with the estimators: what both must agree on is the specification.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from math import exp, expm1, fsum, log, nan, sqrt
from statistics import median

from mmbot.core.estimators.drift import DriftParams
from mmbot.core.estimators.trend import TrendParams
from mmbot.core.estimators.volatility import VolatilityParams
from mmbot.core.types import NS_PER_S

_WINSOR = 25.0
_PRIOR_S = 30.0
"""What the prior weighs beside the moves of a window."""
_SLACK = 256
_TOLD = 9
"""Records that what came before them is taken from."""
_HEAD_START_S = 15.0
"""How long the estimators may have watched before the first record: the time of a start."""


def _s(ns: int) -> float:
    return ns / NS_PER_S


class ShadowVolatility:
    """EWMA of the squared one-second move, winsorised; the two-scale factor is left out."""

    __slots__ = ("_half_s", "_last", "_max", "_min", "_prior_var", "_recent", "_steps", "_var")

    def __init__(self, params: VolatilityParams) -> None:
        self._half_s = params.half_life_s
        self._min, self._max = params.vol_bps_rt_s_min, params.vol_bps_rt_s_max
        self._var = params.prior_bps_rt_s**2
        self._last: tuple[int, float] | None = None
        window_s = params.window_samples * params.sample_s
        self._recent: deque[float] = deque([params.prior_bps_rt_s], maxlen=int(window_s) + 60)
        self._prior_var = self._var
        self._steps: deque[tuple[float, float]] = deque(maxlen=self._recent.maxlen)

    def sample(self, now_ns: int, mid: float) -> None:
        """Take a mid, about once a second."""
        last, self._last = self._last, (now_ns, mid)
        if last is None or not 0 < _s(now_ns - last[0]) <= 60:
            return
        dt_s = _s(now_ns - last[0])
        move_bps = (mid / last[1] - 1.0) * 1e4
        rate = min(move_bps**2 / dt_s, _WINSOR * self._var)
        self._var += -expm1(-dt_s * log(2) / self._half_s) * (rate - self._var)
        self._var = max(self._var, self._min**2)
        self._recent.append(self.bps_rt_s)
        self._steps.append((dt_s, move_bps**2))

    @property
    def bps_rt_s(self) -> float:
        """Volatility, bps per root second."""
        return min(self._max, max(self._min, sqrt(self._var)))

    @property
    def largest_bps_rt_s(self) -> float:
        """
        Largest of the window from which jumps are told apart, by the average or by its plain sum.

        The average is slow to leave a prior that was far too small, what is told from the window
        is not: it counts the prior as thirty samples, and so does the sum.
        """
        spans = fsum(dt_s for dt_s, _ in self._steps)
        total = fsum(square for _, square in self._steps)
        plain = sqrt((_PRIOR_S * self._prior_var + total) / (_PRIOR_S + spans))
        return max(plain, *self._recent)


class ShadowReturns:
    """Returns over the windows of the trend; younger than a window, from what was first told."""

    __slots__ = ("_before", "_horizons_s", "_mids", "_times", "_weights")

    def __init__(self, params: TrendParams) -> None:
        self._horizons_s = (params.short_s, params.medium_s, params.long_s)
        weights = (params.weight_short, params.weight_medium, params.weight_long)
        self._weights = tuple(weight / fsum(weights) for weight in weights)
        self._times: list[int] = []
        self._mids: list[float] = []
        self._before: list[tuple[float, float, float]] = []
        """What the first records told of the moves before the first of them."""

    def sample(self, now_ns: int, mid: float) -> None:
        """Take a mid, about once a second."""
        self._times.append(now_ns)
        self._mids.append(mid)
        cut = bisect_right(self._times, now_ns - int(self._horizons_s[2] * NS_PER_S)) - 1
        if cut > _SLACK:
            del self._times[:cut], self._mids[:cut]

    def reset(self) -> None:
        """Begin anew after a gap."""
        self._times.clear()
        self._mids.clear()
        self._before.clear()

    @property
    def age_s(self) -> float:
        """Time since the first mid, at most a little more than the longest window."""
        return _s(self._times[-1] - self._times[0]) if self._times else 0.0

    def returns(
        self, told: tuple[float, float, float]
    ) -> tuple[tuple[float, float, float], tuple[float, float, float], float]:
        """
        Returns in bps, spans in s, and the blended T; NaN where it cannot be told.

        `told` are the returns of the record.

        The estimator began before the records did. Of the moves before them only what the first
        records told is known; every later one is seen. It is the median of what they told: a single
        one may have been made while a trade had just moved the mid, which the estimator, whose
        samples are not those of the records, never saw.
        """
        times, mids, before = self._times, self._mids, self._before
        newest, now_ns = mids[-1], times[-1]
        if not before:
            del times[:-1], mids[:-1]
        moved = (newest / mids[0] - 1.0) * 1e4
        if len(before) < _TOLD:
            before.append((told[0] - moved, told[1] - moved, told[2] - moved))
        found: list[float] = []
        spans: list[float] = []
        age_s = self.age_s
        for i, horizon_s in enumerate(self._horizons_s):
            if age_s >= horizon_s:
                at = bisect_right(times, now_ns - int(horizon_s * NS_PER_S)) - 1
                found.append((newest / mids[max(0, at)] - 1.0) * 1e4)
                spans.append(horizon_s)
                continue
            # The estimator's window may have filled already: it began before the records did.
            is_open = age_s >= horizon_s - _HEAD_START_S
            found.append(nan if is_open else median(each[i] for each in before) + moved)
            spans.append(max(1.0, age_s))
        rate = fsum(w * r / h for w, r, h in zip(self._weights, found, spans, strict=True))
        return (
            (found[0], found[1], found[2]),
            (spans[0], spans[1], spans[2]),
            rate * spans[2],
        )

    def trend_gain(self, spans: tuple[float, float, float]) -> float:
        """How many bps of T an error of one bps in every return makes."""
        return fsum(w * spans[2] / h for w, h in zip(self._weights, spans, strict=True))

    def unit_sd_per_s(self, spans: tuple[float, float, float]) -> float:
        """Deviation of the blended rate per bps/sqrt(s) of volatility, nested windows."""
        pairs = [(a, h) for a, h in zip(self._weights, spans, strict=True)]
        return sqrt(fsum(a * b / max(h, j) for a, h in pairs for b, j in pairs))


class ShadowDrift:
    """
    The filter of a drift whose price is seen exactly: dm = -kappa m dt + g (dp - m dt).

    g = P/sigma^2 with P' = -2 kappa P + sigma_m^2 - P^2/sigma^2: model of Harvey (1989) with the
    observation noise left out. Innovations beyond the gate are cut as a jump would be. A step is
    solved exactly, because a filter that is told of large drifts forgets within a second.
    """

    __slots__ = ("_last", "_params", "_var", "mean_bps_per_s")

    def __init__(self, params: DriftParams) -> None:
        self._params = params
        self._last: tuple[int, float] | None = None
        self._var: float | None = None
        self.mean_bps_per_s = 0.0

    def _noise(self, vol: float) -> tuple[float, float]:
        """kappa and sigma_m^2."""
        params = self._params
        if not params.is_mean_reverting:
            return 0.0, (vol * log(2) / params.half_life_s) ** 2
        return 1 / params.tau_s, 2 * (params.sd_per_vol_rt_s * vol) ** 2 / params.tau_s

    def step(self, now_ns: int, mid: float, vol_bps_rt_s: float, told_bps_per_s: float) -> None:
        """Take a mid, about once a second. What is told is believed at the first, after a gap."""
        kappa, sigma_m2 = self._noise(vol_bps_rt_s)
        sigma2 = vol_bps_rt_s**2
        last, self._last = self._last, (now_ns, mid)
        is_gap = last is not None and _s(now_ns - last[0]) > self._params.gap_s
        if last is None or self._var is None or is_gap:
            self.mean_bps_per_s = told_bps_per_s
            params = self._params
            self._var = (
                (params.sd_per_vol_rt_s * vol_bps_rt_s) ** 2
                if params.is_mean_reverting
                else sigma2 / (10 * params.half_life_s)
            )
            return
        dt_s = _s(now_ns - last[0])
        v = (mid / last[1] - 1.0) * 1e4 - self.mean_bps_per_s * dt_s
        nis = v * v / (sigma2 * dt_s)
        cut = min(1.0, self._params.nis_max / nis) if nis > 0 else 1.0
        gain = self._var / (sigma2 + self._var * dt_s)
        self.mean_bps_per_s = self.mean_bps_per_s * exp(-kappa * dt_s) + gain * v * cut
        # The Riccati equation with its two stationary values, of which one attracts.
        root = sqrt(kappa**2 + sigma_m2 / sigma2)
        upper, lower = sigma2 * (root - kappa), -sigma2 * (root + kappa)
        left = (self._var - upper) / (self._var - lower) * exp(-2 * root * dt_s)
        self._var = (upper - lower * left) / (1.0 - left)

    def jump_bps_per_s(self, vol_bps_rt_s: float) -> float:
        """What one innovation at the gate teaches: jumps split over two samples are not cut."""
        var = self._var or 0.0
        gain = var / (vol_bps_rt_s**2 + var)
        return sqrt(self._params.nis_max) * vol_bps_rt_s * gain

    def sd_bps_per_s(self) -> float:
        """Posterior deviation."""
        return sqrt(max(0.0, self._var or 0.0))

    def reset(self) -> None:
        """Begin anew after a gap."""
        self._last = self._var = None


class ShadowReference:
    """Lead of the other market beyond the usual premium, from one look a second."""

    __slots__ = ("_half_s", "_last_ns", "_max", "_premium")

    def __init__(self, bps_max: float, half_life_s: float) -> None:
        self._max, self._half_s = bps_max, half_life_s
        self._premium: float | None = None
        self._last_ns = 0

    def retune(self, bps_max: float, half_life_s: float) -> None:
        """Judge by other bounds."""
        self._max, self._half_s = bps_max, half_life_s

    def lead_bps(self, now_ns: int, px: float, fair_px: float) -> float:
        """The bounded lead, positive up."""
        gap = (log(px) - log(fair_px)) * 1e4
        if self._premium is None:
            self._premium = gap
        else:
            weight = 1.0 - 2.0 ** (-max(0.0, _s(now_ns - self._last_ns)) / self._half_s)
            self._premium += weight * (gap - self._premium)
        self._last_ns = now_ns
        return max(-self._max, min(self._max, gap - self._premium))
