"""
Price and drift of the mid by a Kalman filter: how fast it moves, and how sure that is.

    dp = m dt + sigma dW,   dm = -kappa m dt + sigma_m dB,   y = p + e,   Var e = r

`kappa` = 0 is the local linear trend. The filtered drift is shrinkage times the exponentially
weighted slope of the mid.

Source: Harvey (1989), Forecasting, structural time series models and the Kalman filter; Durbin &
Koopman (2012); the discretisation is that of the integrated Ornstein-Uhlenbeck process.
"""

from __future__ import annotations

from math import exp, expm1, factorial, isfinite, log, sqrt
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.types import NS_PER_S

_SERIES = 0.5
"""Below this the closed form of the price noise loses its digits to cancellation."""

_TERMS = tuple((-1) ** n * (2 - 2 ** (n - 1)) / factorial(n) for n in range(3, 20))
"""1/3, -1/4, 7/60, ...: Taylor series of (x - 2 (1 - e^-x) + (1 - e^-2x)/2) / x^3."""

_NEGLIGIBLE = 1e-17

_REBASE_BPS = 200.0
"""A price that far from the origin of the bps becomes it."""

_NIS_MEAN_S = 600.0
_NIS_WEIGHT_LEAST = -expm1(-60.0 / _NIS_MEAN_S)
_VAR_MIN = 1e-12


class Belief(NamedTuple):
    """State (price in bps, drift in bps per s) and its covariance."""

    p_bps: float
    m_bps_per_s: float
    pp: float
    pm: float
    mm: float


def _price_noise(x: float) -> float:
    """(x - 2 (1 - e^-x) + (1 - e^-2x)/2) / x^3 to the last digits; 1/3 at 0."""
    if x >= _SERIES:
        return (x + 2 * expm1(-x) - expm1(-2 * x) / 2) / x**3
    total, power = 0.0, 1.0
    for term in _TERMS:
        total += term * power
        power *= x
        if power < _NEGLIGIBLE:
            break
    return total


def predict(
    belief: Belief, dt_s: float, *, sigma2: float, sigma_m2: float, kappa_per_s: float
) -> Belief:
    """
    Carry a belief `dt_s` seconds on without an observation.

    Args:
        belief: Where it stands.
        dt_s: Any step, >= 0.
        sigma2: Variance rate of the price, bps^2 per s.
        sigma_m2: Variance rate of the drift, (bps/s)^2 per s.
        kappa_per_s: Rate at which the drift reverts, per s; 0 for a drift that does not.

    Two steps give what one of their length gives.
    """
    x = kappa_per_s * dt_s
    e, m2, mm2 = _faded(belief.m_bps_per_s, belief.mm, dt_s, sigma_m2, kappa_per_s)
    b = -expm1(-x) / kappa_per_s if x > 0 else dt_s
    q11 = sigma2 * dt_s + sigma_m2 * dt_s**3 * _price_noise(x)
    q12 = sigma_m2 * b * b / 2
    p, m, pp, pm, mm = belief
    return Belief(
        p + b * m,
        m2,
        pp + 2 * b * pm + b * b * mm + q11,
        e * (pm + b * mm) + q12,
        mm2,
    )


def _faded(
    m_bps_per_s: float, mm: float, dt_s: float, sigma_m2: float, kappa_per_s: float
) -> tuple[float, float, float]:
    """Of a drift and its variance: what is left of each unit of it, it and its variance then."""
    x = kappa_per_s * dt_s
    e = exp(-x)
    noise = -sigma_m2 * expm1(-2 * x) / (2 * kappa_per_s) if x > 0 else sigma_m2 * dt_s
    return e, e * m_bps_per_s, e * e * mm + noise


def update(
    belief: Belief, y_bps: float, noise_var: float, *, nis_max: float = float("inf")
) -> tuple[Belief, float]:
    """
    Take an observation; the new belief and the normalised innovation squared (before the gate).

    Beyond `nis_max` the innovation is taken for a jump: its variance is inflated until it is just
    that surprising. It is the variance of the price that is inflated, not that of its observation:
    the price follows the jump at once, and what the drift learns from it falls as one over its
    size. A price that lagged behind would hand the whole jump to the drift within seconds.
    """
    p, m, pp, pm, mm = belief
    s = pp + noise_var
    v = y_bps - p
    nis = v * v / s
    if nis > nis_max:
        s = v * v / nis_max
        pp = s - noise_var
    k1, k2 = pp / s, pm / s
    return (
        Belief(
            p + k1 * v,
            m + k2 * v,
            # P - K P in a form without cancellation.
            max(_VAR_MIN, k1 * noise_var),
            pm * noise_var / s,
            max(_VAR_MIN**2, mm - k2 * pm),
        ),
        nis,
    )


def _rebased(belief: Belief, origin_bps: float) -> Belief:
    """The belief in bps of another price, `origin_bps` above the old origin."""
    p, m, pp, pm, mm = belief
    unit = 1 / (1 + origin_bps * 1e-4)
    square = unit * unit
    return Belief((p - origin_bps) * unit, m * unit, pp * square, pm * square, mm * square)


class DriftParams(BaseModel):
    """What drift is believed possible, and how the mid shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    is_mean_reverting: bool = Field(
        default=True, description="The drift fades by itself; false is a local linear trend."
    )
    sd_per_vol_rt_s: float = Field(
        0.025,
        gt=0,
        le=1,
        description="Stationary deviation of a reverting drift per bps/sqrt(s) of volatility: "
        "0.03 bps/s at 1.2.",
    )
    tau_s: float = Field(
        600.0, ge=10, le=86_400, description="Time in which a reverting drift falls to 1/e, s."
    )
    half_life_s: float = Field(
        60.0, ge=5, le=3600, description="Memory of a drift that does not revert, half-life, s."
    )
    sample_s: float = Field(
        1.0,
        ge=0,
        le=10,
        description="Least time between observations, s: the clock of the volatility, without "
        "whose noise the innovations would look too calm.",
    )
    noise_bps_min: float = Field(
        0.1, gt=0, le=20, description="Least deviation of the observed mid from the price, bps."
    )
    nis_max: float = Field(
        16.0, ge=4, le=100, description="Innovation beyond which a move is a jump, sd squared."
    )
    gap_s: float = Field(
        60.0, ge=1, le=3600, description="Silence after which the drift is forgotten, s."
    )


class DriftView(NamedTuple):
    """
    Posterior of the drift at a time.

    `nis_mean` is the mean of the squared innovations, in their believed variance, over ten minutes:
    outside 0.8 to 1.25 the volatility or the noise is wrong. None in the first minute.
    """

    mean_bps_per_s: float
    sd_bps_per_s: float
    nis_mean: float | None
    tau_s: float | None
    """Time in which it fades; None for a drift that does not revert."""


class Drift:
    """
    The filter on a live mid. Noises scale with the volatility given, so that its memory does not.

    Prices are measured in bps of an origin that stays for two hundred of them: so long a mirrored
    path gives the mirrored drift to the last bit. What comes before the last observation or is no
    price changes nothing and is counted in `ignored`.
    """

    __slots__ = (
        "_belief",
        "_gap_ns",
        "_kappa",
        "_last_ns",
        "_nis_max",
        "_nis_sum",
        "_nis_weight",
        "_noise",
        "_noise_min",
        "_origin",
        "_params",
        "_sample_ns",
        "ignored",
    )

    def __init__(self, params: DriftParams) -> None:
        self._params = params
        self._kappa = 1 / params.tau_s if params.is_mean_reverting else 0.0
        self._sample_ns = int(params.sample_s * NS_PER_S)
        self._gap_ns = int(params.gap_s * NS_PER_S)
        self._nis_max = params.nis_max
        self._noise_min = params.noise_bps_min**2
        self._belief: Belief | None = None
        self._origin = 0.0
        self._last_ns = 0
        # Sum and weight of an exponential mean that starts from nothing.
        self._nis_sum = 0.0
        self._nis_weight = 0.0
        self._noise = 0.0
        """Variance rate of the drift by the volatility of the last observation."""
        self.ignored = 0

    def _sigma_m2(self, vol_bps_rt_s: float) -> float:
        params = self._params
        if params.is_mean_reverting:
            return 2 * (params.sd_per_vol_rt_s * vol_bps_rt_s) ** 2 / params.tau_s
        return (vol_bps_rt_s * log(2) / params.half_life_s) ** 2

    def _drift_var(self, vol_bps_rt_s: float) -> float:
        """Variance of the drift before anything was seen: never diffuse."""
        params = self._params
        if params.is_mean_reverting:
            return (params.sd_per_vol_rt_s * vol_bps_rt_s) ** 2
        # As if it had been watched for ten half-lives.
        return vol_bps_rt_s**2 / (10 * params.half_life_s)

    def observe(
        self, now_ns: int, mid_ticks: float, vol_bps_rt_s: float, half_touch_bps: float
    ) -> None:
        """Take the mid; what comes before the last one, too soon after it or is no price is not."""
        if not (
            isfinite(mid_ticks)
            and mid_ticks > 0
            and isfinite(vol_bps_rt_s)
            and vol_bps_rt_s > 0
            and isfinite(half_touch_bps)
            and half_touch_bps >= 0
        ):
            self.ignored += 1
            return
        noise_var = max(self._noise_min, half_touch_bps**2 / 3)
        belief, gap_ns = self._belief, now_ns - self._last_ns
        if belief is None or gap_ns > self._gap_ns:
            self._belief = Belief(0.0, 0.0, noise_var, 0.0, self._drift_var(vol_bps_rt_s))
            self._origin, self._last_ns = mid_ticks, now_ns
            self._noise = self._sigma_m2(vol_bps_rt_s)
            return
        if gap_ns < self._sample_ns or gap_ns <= 0:
            self.ignored += gap_ns < 0
            return
        dt_s = gap_ns / NS_PER_S
        y = (mid_ticks - self._origin) / self._origin * 1e4
        noise = self._sigma_m2(vol_bps_rt_s)
        ahead = predict(
            belief,
            dt_s,
            sigma2=vol_bps_rt_s**2,
            sigma_m2=noise,
            kappa_per_s=self._kappa,
        )
        belief, nis = update(ahead, y, noise_var, nis_max=self._nis_max)
        weight = -expm1(-dt_s / _NIS_MEAN_S)
        self._nis_sum += weight * (min(nis, self._nis_max) - self._nis_sum)
        self._nis_weight += weight * (1.0 - self._nis_weight)
        if abs(y) > _REBASE_BPS:
            belief = _rebased(belief, y)
            self._origin = mid_ticks
        self._belief, self._last_ns, self._noise = belief, now_ns, noise

    def view(self, now_ns: int) -> DriftView | None:
        """The drift as believed now; None before the first mid and after a gap."""
        belief = self._belief
        if belief is None or now_ns - self._last_ns > self._gap_ns:
            return None
        kappa = self._kappa
        dt_s = max(0, now_ns - self._last_ns) / NS_PER_S
        _, mean, var = _faded(belief.m_bps_per_s, belief.mm, dt_s, self._noise, kappa)
        tau_s = 1 / kappa if kappa else None
        nis_mean = (
            self._nis_sum / self._nis_weight if self._nis_weight >= _NIS_WEIGHT_LEAST else None
        )
        return DriftView(mean, sqrt(var), nis_mean, tau_s)

    def reset_gap(self) -> None:
        """Forget price and drift: what comes next follows a lost link."""
        self._belief = None
