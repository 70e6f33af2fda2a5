"""
What a quote should be: named bps that add up, and nothing else.

    bid depth = half - shift        ask depth = half + shift
    half  = fee + adverse_selection + glft + half_min
    shift = inventory_skew + reference          (positive moves both quotes up)
"""

from __future__ import annotations

from math import e, exp, log1p, sqrt
from typing import NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.types import NS_PER_S

_RATIO_TINY = 1e-8
"""Below this the logarithms of the closed form are replaced by their limits."""

_X_BOUND = 2.0
"""Inventory beyond twice the limit skews no further: the price must stay a price."""


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


class QuoterParams(BaseModel):
    """Width and lean of the quote. No setting removes the inventory skew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_spread_bps_min: float = Field(
        8.0,
        ge=0.5,
        le=40,
        description="Least half spread, bps, until own markouts justify less: 8 on the native "
        "perp, 12 where the maker fee is 2.88 bps.",
    )
    adverse_a0_bps: float = Field(
        1.8, ge=0, le=20, description="Adverse move of a fill at zero depth, bps (prior)."
    )
    adverse_a1: float = Field(
        0.3, ge=0, le=0.8, description="Growth of the adverse move per bps of depth (prior)."
    )
    gamma_per_bp: float = Field(
        0.004, ge=0, le=1, description="Risk aversion, per bps of a full position."
    )
    k_per_bp: float = Field(
        0.5, ge=0.02, le=10, description="Decay of fill intensity with depth, per bps."
    )
    a_per_s: float = Field(
        0.12, gt=0, le=100, description="Fill intensity of one side at zero depth, per s."
    )
    glft_bps_max: float = Field(
        20.0, ge=0.5, le=40, description="Upper bound of the GLFT term of the half spread, bps."
    )
    skew_bps_min: float = Field(
        6.0,
        ge=4,
        le=60,
        description="Least inventory skew at the full position, bps. It cannot be switched off.",
    )
    skew_x_touch: float = Field(
        0.45,
        ge=0.1,
        le=1,
        description="Fraction of the position limit at which the skew brings the reducing side "
        "to within a tick of fair.",
    )
    reference_bps_max: float = Field(
        5.0, ge=0, le=5, description="Bound of the shift towards another market's price, bps."
    )
    reference_stale_s: float = Field(
        1.0, gt=0, le=5, description="Age from which the other market's price is absent, s."
    )
    reference_half_life_s: float = Field(
        300.0, ge=10, le=86_400, description="Half-life of the usual premium between markets, s."
    )


class Reference:
    """
    Lead of another market's price over ours, beyond the usual premium.

    The premium is an average of `ref/fair - 1` with a half-life of minutes, so a constant premium
    (another quote currency, another index) shifts nothing; the first price sets it whole.
    """

    __slots__ = (
        "_half_life_s",
        "_max_bps",
        "_premium_bps",
        "_recv_ns",
        "_stale_ns",
        "_venue_ms",
        "px",
    )

    def __init__(self, params: QuoterParams) -> None:
        self._max_bps = params.reference_bps_max
        self._stale_ns = int(params.reference_stale_s * NS_PER_S)
        self._half_life_s = params.reference_half_life_s
        self._premium_bps: float | None = None
        self._recv_ns = 0
        self._venue_ms = -1
        self.px: float | None = None

    def observe(self, px: float, recv_ns: int, venue_ms: int, fair_px: float | None) -> None:
        """Take a price of the other market, in USD; older ones and nonsense are ignored."""
        if not 0 < px < float("inf") or venue_ms < self._venue_ms:
            return
        elapsed_s = (recv_ns - self._recv_ns) / NS_PER_S
        self.px, self._recv_ns, self._venue_ms = px, recv_ns, venue_ms
        if fair_px is None:
            return
        gap_bps = (px / fair_px - 1.0) * 1e4
        if self._premium_bps is None:
            self._premium_bps = gap_bps
        elif elapsed_s > 0:
            weight = 1.0 - 2.0 ** (-elapsed_s / self._half_life_s)
            self._premium_bps += weight * (gap_bps - self._premium_bps)

    def forget(self) -> None:
        """Drop price and time after a lost link: one wrong time must not outlive its connection."""
        self.px, self._venue_ms = None, -1

    def shift_bps(self, fair_px: float, now_ns: int) -> float | None:
        """Bounded lead in bps, positive up; None when there is no price younger than the limit."""
        if self.px is None or self._premium_bps is None or now_ns - self._recv_ns > self._stale_ns:
            return None
        lead = (self.px / fair_px - 1.0) * 1e4 - self._premium_bps
        # Plus zero: a bound of zero would otherwise answer with a zero that has a sign.
        return max(-self._max_bps, min(self._max_bps, lead)) + 0.0

    def expires_at_ns(self) -> int | None:
        """When the price in hand becomes absent."""
        return None if self.px is None else self._recv_ns + self._stale_ns + 1


class Quote(msgspec.Struct, frozen=True, gc=False):
    """
    The named terms of one quote, bps of `fair_ticks`. Costs positive, shifts positive up.

    `reference_bps` is None when that feed is absent; it then counts as zero and is reported absent.
    """

    fair_ticks: float
    x: float
    """Position as a fraction of its limit, long positive."""
    fee_bps: float
    adverse_selection_bps: float
    glft_bps: float
    half_min_bps: float
    """What the least half spread adds to the terms before it."""
    inventory_skew_bps: float
    reference_bps: float | None
    skew_bps: float
    """Skew at the full position."""
    floor_bps: float
    """Break-even depth: no order that adds exposure rests nearer."""

    @property
    def half_bps(self) -> float:
        """Half spread: the sum of the terms that both sides share."""
        return self.fee_bps + self.adverse_selection_bps + self.glft_bps + self.half_min_bps

    @property
    def shift_bps(self) -> float:
        """Shift of both quotes, positive up."""
        return self.inventory_skew_bps + (self.reference_bps or 0.0)


class Quoter:
    """Compute the quote of one state. The expensive part is kept until one of its inputs moves."""

    __slots__ = (
        "_a0",
        "_a1",
        "_a_per_s",
        "_gamma",
        "_glft_max",
        "_half_min",
        "_k",
        "_key",
        "_skew_min",
        "_terms",
        "_x_touch",
    )

    def __init__(self, params: QuoterParams) -> None:
        self._a0 = params.adverse_a0_bps
        self._a1 = params.adverse_a1
        self._gamma = params.gamma_per_bp
        self._k = params.k_per_bp
        self._a_per_s = params.a_per_s
        self._glft_max = params.glft_bps_max
        self._half_min = params.half_spread_bps_min
        self._skew_min = params.skew_bps_min
        self._x_touch = params.skew_x_touch
        self._key: tuple[float, float, float] | None = None
        self._terms = (0.0, 0.0, 0.0, 0.0, 0.0)

    def floor_bps(self, fee_bps: float) -> float:
        """Break-even depth (fee + a0)/(1 - a1), bps; a rebate cannot make it negative."""
        return max(0.0, (fee_bps + self._a0) / (1.0 - self._a1))

    def _half_terms(
        self, fee_bps: float, vol_bps_rt_s: float, delta: float
    ) -> tuple[float, float, float, float, float]:
        key = (fee_bps, vol_bps_rt_s, delta)
        if key != self._key:
            informed = informed_glft(
                fee_bps=fee_bps,
                adverse_a0_bps=self._a0,
                adverse_a1=self._a1,
                vol_bps_rt_s=vol_bps_rt_s,
                gamma_per_bp=self._gamma,
                k_per_bp=self._k,
                a_per_s=self._a_per_s,
                delta=delta,
            )
            # What the law charges at the break-even depth beyond the fee: a0 + a1 * break_even.
            adverse = informed.break_even_bps - fee_bps
            margin = min(self._glft_max, informed.half_spread_bps - informed.break_even_bps)
            plain = fee_bps + adverse + margin
            rest = max(0.0, self._half_min - plain)
            self._key = key
            self._terms = (adverse, margin, rest, plain + rest, self.floor_bps(fee_bps))
        return self._terms

    def quote(
        self,
        *,
        fair_ticks: float,
        step_ticks: int,
        x: float,
        fee_bps: float,
        vol_bps_rt_s: float,
        delta: float,
        reference_bps: float | None,
    ) -> Quote:
        """
        The quote at `fair_ticks` for a position of `x` limits.

        `step_ticks` is the distance of valid prices there, `delta` the size of an order as a
        fraction of the limit, `fee_bps` what the account really pays as a maker.

        The skew at the full position is max(skew_bps_min, (half - one step)/x_touch): at x_touch
        the reducing side rests one step from fair, whatever the width.
        """
        adverse, margin, rest, half, floor = self._half_terms(fee_bps, vol_bps_rt_s, delta)
        step_bps = step_ticks / fair_ticks * 1e4
        skew = max(self._skew_min, (half - step_bps) / self._x_touch)
        bounded = max(-_X_BOUND, min(_X_BOUND, x))
        return Quote(
            fair_ticks,
            x,
            fee_bps,
            adverse,
            margin,
            rest,
            # Never conditional: a long position lowers both quotes, a short one raises them.
            0.0 - skew * bounded,
            reference_bps,
            skew,
            floor,
        )
