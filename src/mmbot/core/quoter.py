"""
What a quote should be: named bps that add up, and nothing else.

    depth of a side = half - side * shift + terms of that side
    half  = fee + adverse_selection + glft + half_min
    shift = inventory_skew + drift + funding + reference, those but the first bounded
    side  = opposed + widening + guard + cascade + hold + touch

Nearly half of the module is the parameters and the named terms; a method makes each of them.
"""

from __future__ import annotations

from math import exp, inf, sqrt
from typing import NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.estimators.cascade import CascadeView
from mmbot.core.estimators.drift import DriftView
from mmbot.core.estimators.trend import TrendView
from mmbot.core.glft_exact import GlftExact, GlftInputs, Method
from mmbot.core.stance import Action, ResponseMode, StanceView
from mmbot.core.types import BUY, SELL, Side

_X_BOUND = 2.0
"""Inventory beyond twice the limit skews no further: the price must stay a price."""

_GUARD_HALVES = 1.5
_REDUCE = Action.REDUCE
HALF_BPS_LEAST = 0.5
"""Least half spread that can be configured, bps."""


class QuoterParams(BaseModel):
    """Width and lean of the quote. No setting removes the inventory skew."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "half_spread_bps_min",
                "gamma_per_bp",
                "glft_bps_max",
                "skew_bps_min",
                "skew_x_touch",
                "reference_bps_max",
                "reference_stale_s",
                "reference_half_life_s",
                "drift_x_max",
                "funding_bps_max",
                "widening_gain",
                "widening_s",
                "widening_bps_max",
                "guard_x",
                "guard_bps",
                "shift_bps_max",
            ]
        },
    )

    half_spread_bps_min: float = Field(
        8.0,
        ge=HALF_BPS_LEAST,
        le=40,
        description="Least half spread, bps, until own markouts justify less: 8 on the native "
        "perp, 12 where the maker fee is 2.88 bps.",
    )
    gamma_per_bp: float = Field(
        0.004, ge=0, le=1, description="Risk aversion, per bps of a full position."
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
    drift_x_max: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Most inventory a drift may aim for, of the limit; 0 switches the term off.",
    )
    funding_bps_max: float = Field(
        2.0, ge=0, le=10, description="Bound of the shift by funding, bps; 0 switches it off."
    )
    widening_gain: float = Field(
        0.5,
        ge=0,
        le=3,
        description="Deviations of the position's move that the increasing side is widened by; "
        "0 switches the term off.",
    )
    widening_s: float = Field(
        60.0, ge=1, le=3600, description="Time over which that move is taken, s."
    )
    widening_bps_max: float = Field(8.0, ge=0, le=25, description="Bound of the widening, bps.")
    guard_x: float = Field(
        0.6, ge=0.1, lt=1, description="Position from which the barrier rises, of the limit."
    )
    guard_bps: float = Field(
        10.0,
        ge=0,
        le=40,
        description="Least height of the barrier at the limit, bps; it is at least 1.5 half "
        "spreads. 0 switches it off.",
    )
    shift_bps_max: float = Field(
        25.0, ge=5, le=60, description="Bound of all shifts beyond the inventory skew, bps."
    )


class MarketView(msgspec.Struct, frozen=True, gc=False):
    """
    What the estimators say of the market; None is an estimate that there are no data for.

    `a_per_s` and `k_per_bp` are the fill intensity A exp(-k d) of one side, `a0_bps` and `a1` the
    adverse move a0 + a1 d of a fill at depth d. `vol_bps_rt_s` counts jumps, `vol_robust_bps_rt_s`
    does not. `funding_bps_per_h` is what a long position pays.
    """

    vol_bps_rt_s: float
    vol_robust_bps_rt_s: float
    a_per_s: float
    k_per_bp: float
    k_measured_per_bp: float
    """Before it is smoothed: what tells a sweep from an ordinary order."""
    a0_bps: float
    a1: float
    ofi_z: float | None
    vpin: float | None
    """For reports alone: no term reads it."""
    drift: DriftView | None
    trend: TrendView | None
    stance: StanceView
    cascade: CascadeView
    funding_bps_per_h: float | None
    reference_bps: float | None


class Quote(msgspec.Struct, frozen=True, gc=False):
    """
    The named terms of one quote, bps of `fair_ticks`.

    `half` terms are costs, positive away from the market on both sides. `shift` terms move both
    quotes, positive up. Terms of a side (`*_bid_bps`, `*_ask_bps`) are depth, positive away from
    the market. None is a term whose estimate is absent: it adds nothing and is reported absent.
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
    drift_bps: float | None
    funding_bps: float | None
    reference_bps: float | None
    shift_cap_bps: float
    """What the bound of the other shifts takes back."""
    opposed_bid_bps: float | None
    opposed_ask_bps: float | None
    widening_bid_bps: float
    widening_ask_bps: float
    guard_bid_bps: float
    guard_ask_bps: float
    cascade_bid_bps: float
    cascade_ask_bps: float
    hold_bid_bps: float
    hold_ask_bps: float
    """What the price hold after a sweep adds to the terms before it."""
    touch_bid_bps: float
    touch_ask_bps: float
    """What brings the reducing side to the touch while the position is to be reduced; <= 0."""
    skew_bps: float
    """Skew at the full position."""
    floor_bps: float
    """Break-even depth: no order that adds exposure rests nearer."""
    reducing_floor_bps: float
    """Nearest that an order may come which only reduces the position."""
    pulls_bid: bool
    pulls_ask: bool
    """Whether a side shall be empty: the danger of another sweep is too great."""
    glft_method: Method
    """How the GLFT term was found: the closed form or the exact solution."""

    def pulls(self, side: Side) -> bool:
        """Whether `side` shall be empty unless it reduces the position."""
        return self.pulls_bid if side > 0 else self.pulls_ask

    @property
    def half_bps(self) -> float:
        """Half spread: the sum of the terms that both sides share."""
        return self.fee_bps + self.adverse_selection_bps + self.glft_bps + self.half_min_bps

    @property
    def shift_bps(self) -> float:
        """Shift of both quotes, positive up."""
        return (
            self.inventory_skew_bps
            + (self.drift_bps or 0.0)
            + (self.funding_bps or 0.0)
            + (self.reference_bps or 0.0)
            + self.shift_cap_bps
        )

    def side_bps(self, side: Side) -> float:
        """Sum of the terms of one side alone."""
        if side > 0:
            return (
                (self.opposed_bid_bps or 0.0)
                + self.widening_bid_bps
                + self.guard_bid_bps
                + self.cascade_bid_bps
                + self.hold_bid_bps
                + self.touch_bid_bps
            )
        return (
            (self.opposed_ask_bps or 0.0)
            + self.widening_ask_bps
            + self.guard_ask_bps
            + self.cascade_ask_bps
            + self.hold_ask_bps
            + self.touch_ask_bps
        )

    def depth_bps(self, side: Side) -> float:
        """Distance of a side's nearest order from fair before floors, grid and post-only clamp."""
        return self.half_bps - side * self.shift_bps + self.side_bps(side)


class _Half(NamedTuple):
    """The part of a quote that changes only with its inputs."""

    adverse_bps: float
    glft_bps: float
    rest_bps: float
    half_bps: float
    floor_bps: float
    relax_s: float
    """Time over which the optimal policy forgets its inventory (tau*); infinite without risk."""
    method: Method


class Quoter:
    """Compute the quote of one state. The expensive part is kept until one of its inputs moves."""

    __slots__ = (
        "_exact",
        "_half",
        "_has_cascade",
        "_has_drift",
        "_has_funding",
        "_has_opposed",
        "_has_reduce",
        "_has_reference",
        "_has_skew",
        "_has_widening",
        "_key",
        "_params",
    )

    def __init__(self, params: QuoterParams, *, ablate: frozenset[str] = frozenset()) -> None:
        unknown = ablate - TERMS
        if unknown:
            names, terms = ", ".join(sorted(unknown)), ", ".join(sorted(TERMS))
            msg = f"cannot leave out {names}; the terms are {terms}"
            raise ValueError(msg)
        self._params = params
        self._has_skew = "skew" not in ablate
        self._has_drift = "drift" not in ablate
        self._has_funding = "funding" not in ablate
        self._has_reference = "reference" not in ablate
        self._has_widening = "widening" not in ablate
        self._has_opposed = "opposed" not in ablate
        self._has_cascade = "cascade" not in ablate
        self._has_reduce = "reduce" not in ablate
        self._exact = GlftExact()
        self._key: tuple[float, ...] | None = None
        self._half = _Half(0.0, 0.0, 0.0, 0.0, 0.0, inf, "closed")

    def retune(self, params: QuoterParams) -> None:
        """Go on with other parameters; what was kept of the last quote was made with the old."""
        self._params = params
        self._key = None

    @property
    def base_bps(self) -> float:
        """Half spread of the last quote, the configured least before the first."""
        return self._half.half_bps or self._params.half_spread_bps_min

    def _half_terms(self, now_ns: int, fee_bps: float, market: MarketView, delta: float) -> _Half:
        vol_bps_rt_s, k_per_bp, a_per_s = market.vol_bps_rt_s, market.k_per_bp, market.a_per_s
        key = (fee_bps, vol_bps_rt_s, delta, a_per_s, k_per_bp, market.a0_bps, market.a1)
        if key == self._key:
            return self._half
        params = self._params
        margin = 1.0 - market.a1
        # What the law charges at the break-even depth beyond the fee: a0 + a1 * break_even.
        break_even = (fee_bps + market.a0_bps) / margin
        choice = self._exact.quote(
            now_ns,
            GlftInputs(
                vol_bps_rt_s,
                params.gamma_per_bp,
                params.gamma_per_bp,
                k_per_bp / margin,
                a_per_s * exp(-k_per_bp * break_even),
                delta,
                max(1, int(1 / delta)),
            ),
            0.0,
        )
        adverse = break_even - fee_bps
        glft_bps = min(params.glft_bps_max, choice.half_bps / margin)
        plain = fee_bps + adverse + glft_bps
        rest = max(0.0, params.half_spread_bps_min - plain)
        risk = params.gamma_per_bp * vol_bps_rt_s**2
        self._key = key
        self._half = _Half(
            adverse,
            glft_bps,
            rest,
            plain + rest,
            max(0.0, break_even),  # a rebate cannot make it negative
            choice.skew_bps / margin / risk if risk > 0 else inf,
            choice.method,
        )
        return self._half

    def quote(
        self,
        *,
        now_ns: int,
        fair_ticks: float,
        step_ticks: int,
        x: float,
        fee_bps: float,
        delta: float,
        market: MarketView,
    ) -> Quote:
        """
        The quote at `fair_ticks` for a position of `x` limits.

        `step_ticks` is the distance of valid prices there, `delta` the size of an order as a
        fraction of the limit, `fee_bps` what the account really pays as a maker.

        The skew at the full position is max(skew_bps_min, (half - one step)/x_touch): at x_touch
        the reducing side rests one step from fair, whatever the width.
        """
        params, stance, cascade = self._params, market.stance, market.cascade
        half = self._half_terms(now_ns, fee_bps, market, delta)
        half_bps = half.half_bps
        step_bps = step_ticks / fair_ticks * 1e4
        skew = max(params.skew_bps_min, (half_bps - step_bps) / params.skew_x_touch)
        bounded = max(-_X_BOUND, min(_X_BOUND, x))
        # Never conditional: a long position lowers both quotes, a short one raises them.
        lean = 0.0 - skew * bounded if self._has_skew else 0.0
        drift = self._drift(market, half.relax_s, skew) if self._has_drift else None
        funding = self._funding(market, half.relax_s) if self._has_funding else None
        reference = market.reference_bps if self._has_reference else None
        others = (drift or 0.0) + (funding or 0.0) + (reference or 0.0)
        capped = max(-params.shift_bps_max, min(params.shift_bps_max, others))
        shift = lean + capped
        grow = _increasing(x)
        widening = guard = 0.0
        if self._has_widening:
            widening, guard = self._widening(x, market.vol_bps_rt_s), self._guard(x, half_bps)
        is_reducing = self._has_reduce and stance.action is _REDUCE
        sides: list[tuple[float | None, float, float, float, float, float]] = []
        for side, memory_bps in ((BUY, cascade.bid_bps), (SELL, cascade.ask_bps)):
            is_growing = grow in (0, side)
            opposed = _opposed(side, grow, stance) if self._has_opposed else None
            wide = widening if is_growing else 0.0
            barrier = guard if is_growing else 0.0
            pullback = memory_bps if self._has_cascade else 0.0
            depth = half_bps - side * shift + (opposed or 0.0) + wide + barrier + pullback
            hold = cascade.hold_bps(side, depth, fair_ticks) if self._has_cascade else 0.0
            touch = 0.0
            if is_reducing and grow == -side:
                touch = min(0.0, step_bps - (depth + hold))
            sides.append((opposed, wide, barrier, pullback, hold, touch))
        bid, ask = sides
        # By position, in the order of the fields: by name it takes thirty times as long.
        return Quote(
            fair_ticks,
            x,
            fee_bps,
            half.adverse_bps,
            half.glft_bps,
            half.rest_bps,
            lean,
            drift,
            funding,
            reference,
            capped - others,
            bid[0],
            ask[0],
            bid[1],
            ask[1],
            bid[2],
            ask[2],
            bid[3],
            ask[3],
            bid[4],
            ask[4],
            bid[5],
            ask[5],
            skew,
            half.floor_bps,
            self._reducing_floor(fee_bps, skew, x, step_bps, market),
            self._has_cascade and cascade.pulls_bid,
            self._has_cascade and cascade.pulls_ask,
            half.method,
        )

    def _drift(self, market: MarketView, relax_s: float, skew_bps: float) -> float | None:
        """
        Expected move over the time in which the position would be forgotten, both at their rates.

        Bounded to the skew of `drift_x_max` limits: an estimate never sets a target of its own. It
        gives way to the answer to an opposed trend as that fades in.
        """
        drift = market.drift
        if drift is None:
            return None
        rate = 0.0 if relax_s == inf else 1 / relax_s
        if drift.tau_s is not None:
            rate += 1 / drift.tau_s
        bound = skew_bps * self._params.drift_x_max
        move = drift.mean_bps_per_s / rate if rate > 0 else bound * _sign(drift.mean_bps_per_s)
        return max(-bound, min(bound, move)) * (1.0 - market.stance.fade) + 0.0

    def _funding(self, market: MarketView, relax_s: float) -> float | None:
        """Funding is a drift: what a long pays is a price that falls."""
        if market.funding_bps_per_h is None:
            return None
        bound = self._params.funding_bps_max
        move = -market.funding_bps_per_h / 3600 * min(relax_s, 3600.0)
        return max(-bound, min(bound, move)) + 0.0

    def _widening(self, x: float, vol_bps_rt_s: float) -> float:
        """Move of the position over `widening_s` in `widening_gain` deviations."""
        params = self._params
        wanted = params.widening_gain * min(1.0, abs(x)) * vol_bps_rt_s * sqrt(params.widening_s)
        return min(params.widening_bps_max, wanted)

    def _guard(self, x: float, half_bps: float) -> float:
        """A barrier that dominates near the limit: height (max(0, |x| - x0)/(1 - x0))^2."""
        params = self._params
        if not params.guard_bps:
            return 0.0
        height = max(params.guard_bps, _GUARD_HALVES * half_bps)
        beyond = max(0.0, min(_X_BOUND, abs(x)) - params.guard_x) / (1.0 - params.guard_x)
        return height * beyond * beyond

    def _reducing_floor(
        self, fee_bps: float, skew_bps: float, x: float, step_bps: float, market: MarketView
    ) -> float:
        """
        Nearest depth of an order that only reduces, at least one step.

        One unit towards flat is worth skew |x|, so a fill may lose that much. Opposed or to be
        reduced, news is not charged: the position itself is the greater danger.
        """
        stance = market.stance
        worth = skew_bps * min(_X_BOUND, abs(x))
        if stance.is_opposed or stance.action is _REDUCE:
            worth += abs(stance.response_bps or 0.0)
            return max(step_bps, fee_bps - worth)
        charged = (fee_bps + market.a0_bps - worth) / (1.0 - market.a1)
        return max(step_bps, charged)


TERMS = frozenset(
    {"skew", "drift", "opposed", "widening", "cascade", "funding", "reference", "reduce", "guards"}
)
"""Terms that an ablation can leave out."""


def _sign(value: float) -> float:
    return (value > 0) - (value < 0)


def _increasing(x: float) -> int:
    """Side that would grow the position, 0 when both would."""
    return (x > 0) - (x < 0)


def _opposed(side: Side, grow: int, stance: StanceView) -> float | None:
    """Depth that the answer to an opposed trend adds to a side."""
    if stance.response_bps is None:
        return None
    if not grow or not stance.response_bps:
        return 0.0
    size = abs(stance.response_bps)
    if grow == side:
        return size
    return -size if stance.mode is ResponseMode.BOTH else 0.0
