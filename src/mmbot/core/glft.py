"""The closed form of the optimal quote: Gueant, Lehalle & Fernandez-Tapia, with fee and news."""

from __future__ import annotations

from math import e, exp, log1p, sqrt
from typing import NamedTuple

_RATIO_TINY = 1e-8
"""Below this the logarithms of the closed form are replaced by their limits."""


class Glft(NamedTuple):
    """Shape of the optimal quote: depth = half_spread_bps +/- skew_bps * inventory."""

    half_spread_bps: float
    skew_bps: float
    """Per unit of inventory; with inventory as a fraction of the limit, at the full position."""


def glft(
    *,
    vol_bps_rt_s: float,
    gamma_per_bp: float,
    k_per_bp: float,
    a_per_s: float,
    delta: float = 1.0,
    xi_per_bp: float | None = None,
) -> Glft:
    """
    Asymptotic Gueant-Lehalle-Fernandez-Tapia quote.

    Args:
        vol_bps_rt_s: Mid volatility (sigma), bps per root second, >= 0.
        gamma_per_bp: Aversion to inventory risk, per bps of a unit of inventory, >= 0.
        k_per_bp: Decay of fill intensity with depth, lambda = a exp(-k depth), > 0.
        a_per_s: Fill intensity of one side at zero depth, per second, > 0.
        delta: Order size in units of inventory, > 0.
        xi_per_bp: Aversion to execution risk, >= 0; None takes gamma (CARA utility), 0 is neutral.

    Returns:
        Depths in bps from fair value. As xi -> 0 the half spread tends to 1/k + delta skew / 2.

    Raises:
        ValueError: A bound above is broken.

    Source: Gueant, Lehalle, Fernandez-Tapia (2013), section 4; Gueant (2017), Optimal market
    making, arXiv:1605.01862, eq. 4.6 and 4.7 with order size delta and risk aversion xi.
    """
    xi = gamma_per_bp if xi_per_bp is None else xi_per_bp
    if k_per_bp <= 0 or a_per_s <= 0 or delta <= 0:
        msg = f"k, a and delta must be positive, got {k_per_bp}, {a_per_s}, {delta}"
        raise ValueError(msg)
    if vol_bps_rt_s < 0 or gamma_per_bp < 0 or xi < 0:
        msg = f"sigma, gamma and xi must not be negative, got {vol_bps_rt_s}, {gamma_per_bp}, {xi}"
        raise ValueError(msg)
    ratio = xi * delta / k_per_bp
    if ratio < _RATIO_TINY:
        c1_bps = (1.0 - ratio / 2) / k_per_bp
        growth = e * (1.0 + ratio / 2)
    else:
        c1_bps = log1p(ratio) / (xi * delta)
        growth = exp((1.0 / ratio + 1.0) * log1p(ratio))
    skew_bps = vol_bps_rt_s * sqrt(gamma_per_bp * growth / (2.0 * a_per_s * delta * k_per_bp))
    return Glft(half_spread_bps=c1_bps + delta / 2 * skew_bps, skew_bps=skew_bps)


class Informed(NamedTuple):
    """GLFT quote of a maker who pays a fee and meets informed takers."""

    half_spread_bps: float
    skew_bps: float
    break_even_bps: float
    """Depth at which a fill earns nothing: (fee + a0) / (1 - a1)."""


def informed_glft(
    *,
    fee_bps: float,
    adverse_a0_bps: float,
    adverse_a1: float,
    vol_bps_rt_s: float,
    gamma_per_bp: float,
    k_per_bp: float,
    a_per_s: float,
    delta: float,
    xi_per_bp: float | None = None,
) -> Informed:
    """
    GLFT with a fee and the linear adverse law a(d) = a0 + a1 d, d the depth of the fill in bps.

    The net margin m = (1 - a1) d - fee - a0 of a fill obeys the plain model with k' = k/(1 - a1)
    and A' = A exp(-k (fee + a0)/(1 - a1)); the depth is (m* + fee + a0)/(1 - a1).

    Raises:
        ValueError: `adverse_a1` is not in [0, 1), or a bound of `glft` is broken.

    Source: substitution into Gueant et al. (2013), section 4; with a1 = 0 a fee multiplies the
    skew by exp(k fee / 2).
    """
    if not 0.0 <= adverse_a1 < 1.0:
        msg = f"adverse_a1 must be in [0, 1), got {adverse_a1}"
        raise ValueError(msg)
    margin = 1.0 - adverse_a1
    break_even_bps = (fee_bps + adverse_a0_bps) / margin
    net = glft(
        vol_bps_rt_s=vol_bps_rt_s,
        gamma_per_bp=gamma_per_bp,
        k_per_bp=k_per_bp / margin,
        a_per_s=a_per_s * exp(-k_per_bp * break_even_bps),
        delta=delta,
        xi_per_bp=xi_per_bp,
    )
    return Informed(
        half_spread_bps=net.half_spread_bps / margin + break_even_bps,
        skew_bps=net.skew_bps / margin,
        break_even_bps=break_even_bps,
    )
