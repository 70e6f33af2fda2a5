"""What each term of a recorded quote should have been, by the model's formulas on its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, fsum, inf, sqrt
from typing import NamedTuple, Protocol

from mmbot.core.diagnostics import Diagnostics
from mmbot.core.estimators.adverse import AdverseParams
from mmbot.core.estimators.cascade import CascadeParams
from mmbot.core.estimators.drift import DriftParams
from mmbot.core.estimators.intensity import IntensityParams
from mmbot.core.estimators.trend import TrendParams
from mmbot.core.estimators.volatility import VolatilityParams
from mmbot.core.glft_exact import GlftExact, GlftInputs
from mmbot.core.ladder import LadderParams
from mmbot.core.quoter import QuoterParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import RiskParams
from mmbot.core.stance import Action, ResponseMode, StanceParams
from mmbot.core.types import Instrument, Side
from mmbot.core.vitals.expectation import Facts, Reading
from mmbot.core.waterfall import Waterfall

_BUDGET_USE = 0.97
_X_BOUND = 2.0
_GUARD_HALVES = 1.5
_FUNDING_S_MAX = 3600.0


class Settings(Protocol):
    """Parameters of the core that the expectations are made of."""

    @property
    def quoter(self) -> QuoterParams: ...
    @property
    def stance(self) -> StanceParams: ...
    @property
    def cascade(self) -> CascadeParams: ...
    @property
    def trend(self) -> TrendParams: ...
    @property
    def drift(self) -> DriftParams: ...
    @property
    def volatility(self) -> VolatilityParams: ...
    @property
    def intensity(self) -> IntensityParams: ...
    @property
    def adverse(self) -> AdverseParams: ...
    @property
    def ladder(self) -> LadderParams: ...
    @property
    def reconcile(self) -> ReconcileParams: ...
    @property
    def risk(self) -> RiskParams: ...


class Base(NamedTuple):
    """Figures that several terms share."""

    x: float
    step_bps: float
    delta: float
    break_even_bps: float
    glft_bps: float
    half_bps: float
    skew_bps: float
    relax_s: float


class Quoted:
    """The formulas of model sections 1.5, 1.6, 3.2, 4.3, 4.4, 5.1 and 5.2, term by term."""

    __slots__ = ("_exact", "_instrument", "_settings")

    def __init__(self, settings: Settings, instrument: Instrument) -> None:
        self._settings = settings
        self._instrument = instrument
        # The solver is checked against the vectors of the theory; what is judged is its wiring.
        self._exact = GlftExact()

    def retune(self, settings: Settings) -> None:
        """Judge by other parameters."""
        self._settings = settings

    def base(self, record: Diagnostics, facts: Facts) -> Base | None:
        """The shared figures; None where the inputs themselves are impossible."""
        settings, params = self._settings, self._settings.quoter
        a, k, sigma = record.a_per_s, record.k_per_bp, record.sigma_bps_rt_s
        a1, margin = record.a1, 1.0 - record.a1
        fair = record.fair_px
        if not (a > 0 and k > 0 and sigma > 0 and 0 <= a1 < 1 and fair > 0 and record.q_max_sz > 0):
            return None
        ticks = self._instrument.ticks(fair)
        step_bps = self._instrument.step_ticks(int(ticks)) / ticks * 1e4
        limit_usd = record.q_max_sz * fair
        usable_usd = settings.risk.side_budget_frac * limit_usd * _BUDGET_USE
        least_usd = settings.ladder.order_usd_min
        count = max(1, min(settings.ladder.rungs, int(usable_usd / least_usd)))
        delta = max(least_usd, usable_usd / count) / limit_usd
        break_even = (facts.fee_bps + record.a0_bps) / margin
        choice = self._exact.quote(
            record.at_ns,
            GlftInputs(
                vol_bps_rt_s=sigma,
                gamma_per_bp=params.gamma_per_bp,
                xi_per_bp=params.gamma_per_bp,
                k_per_bp=k / margin,
                a_per_s=a * exp(-k * break_even),
                delta=delta,
                lots_max=max(1, int(1 / delta)),
            ),
            0.0,
        )
        glft = min(params.glft_bps_max, choice.half_bps / margin)
        # The parts are judged one by one. Two solutions of one quote, each up to half a minute old,
        # may differ by more than what is made of it may.
        half = fsum(
            (record.fee_bps, record.adverse_selection_bps, record.glft_bps, record.half_min_bps)
        )
        risk = params.gamma_per_bp * sigma**2
        return Base(
            x=record.position_sz / record.q_max_sz,
            step_bps=step_bps,
            delta=delta,
            break_even_bps=break_even,
            glft_bps=glft,
            half_bps=half,
            skew_bps=max(params.skew_bps_min, (half - step_bps) / params.skew_x_touch),
            relax_s=choice.skew_bps / margin / risk if risk > 0 else inf,
        )

    # -- terms of both sides ----------------------------------------------------------------------

    def shared(self, record: Diagnostics, facts: Facts, base: Base) -> Iterator[Reading]:
        """Position, costs, skew, funding and the bound of the shifts."""
        params = self._settings.quoter
        yield Reading("position", record.q_frac, base.x)
        yield Reading("fee", record.fee_bps, facts.fee_bps)
        yield Reading("adverse", record.adverse_selection_bps, base.break_even_bps - facts.fee_bps)
        yield Reading("glft", record.glft_bps, base.glft_bps)
        sums = record.fee_bps + record.adverse_selection_bps + record.glft_bps
        rest = max(0.0, params.half_spread_bps_min - sums)
        yield Reading("half_min", record.half_min_bps, rest)
        yield Reading("floor", record.floor_bps, max(0.0, base.break_even_bps))
        bounded = max(-_X_BOUND, min(_X_BOUND, base.x))
        yield Reading("inventory_skew", record.inventory_skew_bps, -base.skew_bps * bounded)
        yield Reading("inventory_skew", record.skew_bps, base.skew_bps, "full")
        if record.funding_bps is not None and facts.funding_bps_per_h is not None:
            move = -facts.funding_bps_per_h / 3600 * min(base.relax_s, _FUNDING_S_MAX)
            bound = params.funding_bps_max
            yield Reading("funding", record.funding_bps, max(-bound, min(bound, move)))
        others = fsum(
            part or 0.0 for part in (record.drift_adj_bps, record.funding_bps, record.reference_bps)
        )
        bound = params.shift_bps_max
        cap = record.shift_bps - record.inventory_skew_bps - others
        yield Reading("shift_cap", cap, max(-bound, min(bound, others)) - others)

    def risk(self, record: Diagnostics, base: Base) -> Iterator[Reading]:
        """Widening and barrier of both sides together, orders or none."""
        wide, guard = self._risk_bps(record, base)
        yield Reading("widening", record.widening_bps, wide)
        yield Reading("guard", record.pos_guard_skew_bps, guard)

    def drift(self, record: Diagnostics, base: Base, fade: float) -> Iterator[Reading]:
        """The shift by the drift: certainty equivalence, bounded by an inventory target."""
        if record.drift_bps_per_s is None or record.drift_adj_bps is None:
            return
        settings = self._settings
        rate = 0.0 if base.relax_s == inf else 1 / base.relax_s
        if settings.drift.is_mean_reverting:
            rate += 1 / settings.drift.tau_s
        bound = base.skew_bps * settings.quoter.drift_x_max
        move = record.drift_bps_per_s / rate if rate > 0 else 0.0
        if 0.0 < fade < 1.0:
            return
        expected = max(-bound, min(bound, move)) * (1.0 - fade)
        yield Reading("drift", record.drift_adj_bps, expected)

    # -- the position in its market ---------------------------------------------------------------

    def hold_s(self, record: Diagnostics, base: Base) -> float:
        """Time in which fills of the reducing side would flatten the position, bounded."""
        stance = self._settings.stance
        rate = record.a_per_s * exp(-base.half_bps * record.k_per_bp) * base.delta
        wanted = abs(base.x) / rate if rate > 0 else inf
        return min(stance.hold_s_max, max(stance.hold_s_min, wanted))

    def response_bps(self, record: Diagnostics) -> float:
        """The whole answer to an opposed trend, positive up."""
        stance = self._settings.stance
        trend = record.trend_bps or 0.0
        span = stance.response_urgent - stance.response_calm
        phi = stance.response_calm + span * (1.0 - exp(-record.urgency / stance.urgency_scale))
        size = min(stance.response_bps_max, phi * abs(trend))
        return size if trend > 0 else -size

    def _risk_bps(self, record: Diagnostics, base: Base) -> tuple[float, float]:
        """Widening and barrier of the increasing side."""
        params, held = self._settings.quoter, abs(base.x)
        sd = record.sigma_bps_rt_s * sqrt(params.widening_s)
        wide = min(params.widening_bps_max, params.widening_gain * min(1.0, held) * sd)
        if not params.guard_bps:
            return wide, 0.0
        height = max(params.guard_bps, _GUARD_HALVES * base.half_bps)
        beyond = max(0.0, min(_X_BOUND, held) - params.guard_x) / (1.0 - params.guard_x)
        return wide, height * beyond * beyond

    # -- terms of one side ------------------------------------------------------------------------

    def opposed(
        self, record: Diagnostics, base: Base, side: Side, fall: Waterfall, response: float
    ) -> Iterator[Reading]:
        """Depth that the answer to an opposed trend gives this side."""
        if fall.opposed_bps is None:
            return
        expected = self._answer_bps(record, base, side, response)
        yield Reading("opposed", fall.opposed_bps, expected, side.name.lower())

    def _answer_bps(self, record: Diagnostics, base: Base, side: Side, response: float) -> float:
        """The increasing side retreats by the answer; the other comes in by it, in mode both."""
        grow = (base.x > 0) - (base.x < 0)
        if grow == side:
            return abs(response)
        is_both = (
            self._settings.stance.mode is ResponseMode.BOTH
            or record.position_action == Action.REDUCE.value
        )
        return -abs(response) if grow and is_both else 0.0

    def before_hold_bps(self, record: Diagnostics, base: Base, side: Side) -> float:
        """Depth of a side by its recorded terms before the price hold, orders or none."""
        depth = record.half_bps - side * record.shift_bps
        depth += self._answer_bps(record, base, side, record.response_bps or 0.0)
        depth += record.cascade_bid_bps if side > 0 else record.cascade_ask_bps
        if side * base.x > 0:
            depth += record.widening_bps + record.pos_guard_skew_bps
        return depth

    def sided(
        self, record: Diagnostics, base: Base, side: Side, fall: Waterfall
    ) -> Iterator[Reading]:
        """Widening, barrier and touch of this side."""
        grow = (base.x > 0) - (base.x < 0)
        name = side.name.lower()
        wide, guard = self._risk_bps(record, base) if grow == side else (0.0, 0.0)
        yield Reading("widening", fall.widening_bps, wide, name)
        yield Reading("guard", fall.guard_bps, guard, name)
        touch = 0.0
        if grow == -side and record.position_action == Action.REDUCE.value:
            touch = min(0.0, base.step_bps - before_touch_bps(fall))
        yield Reading("touch", fall.touch_bps, touch, name)

    def laid(
        self, record: Diagnostics, base: Base, side: Side, falls: tuple[Waterfall, ...]
    ) -> Iterator[Reading]:
        """What became of the terms on the way to the price."""
        name = side.name.lower()
        reduce_sz = max(0.0, -side * record.position_sz)
        if reduce_sz > 0 and base.x:
            yield Reading("rungs", float(bool(falls)), 1.0, name)
        for fall in falls:
            carried = before_touch_bps(fall) + fall.touch_bps + clamps_bps(fall)
            yield Reading("carried", fall.depth_bps, carried, name)
            px_bps = side * (1.0 - self._instrument.px(fall.px_ticks) / record.fair_px) * 1e4
            yield Reading("carried", px_bps, fall.depth_bps, f"{name} price")
        if not falls:
            return
        first = falls[0]
        yield Reading("clamps", min(0.0, first.floor_bps, first.post_only_bps), 0.0, name)
        reach = record.spacing_bps + record.hold_bps + 2 * base.step_bps
        yield Reading("grid", first.grid_bps, 0.0, name, slack=reach)
        wanted = before_touch_bps(first) + first.touch_bps
        lots = round(self._instrument.lots(reduce_sz))
        if reduce_sz > 0 and first.sz_lots <= 2 * lots:
            near = self._reducing_floor_bps(record, base)
        else:
            near = max(0.0, base.break_even_bps)
        yield Reading("reducing_floor", first.floor_bps, max(0.0, near - wanted), name)

    def _reducing_floor_bps(self, record: Diagnostics, base: Base) -> float:
        worth = base.skew_bps * min(_X_BOUND, abs(base.x))
        if record.is_opposed or record.position_action == Action.REDUCE.value:
            worth += abs(record.response_bps or 0.0)
            return max(base.step_bps, record.fee_bps - worth)
        charged = (record.fee_bps + record.a0_bps - worth) / (1.0 - record.a1)
        return max(base.step_bps, charged)

    def placed(
        self, record: Diagnostics, base: Base, side: Side, live_px: float | None
    ) -> Iterator[Reading]:
        """Where an order of ours is, beside where one is wanted."""
        wanted_px = record.touch_bid_px if side > 0 else record.touch_ask_px
        reconcile = self._settings.reconcile
        is_scarce = record.hold_bps > reconcile.hold_bps * 1.01 or record.requests_left <= (
            reconcile.requests_reserve
        )
        if wanted_px is None or is_scarce:
            return
        wanted_bps = side * (1.0 - wanted_px / record.fair_px) * 1e4
        slack = record.spacing_bps + record.hold_bps + base.step_bps
        # No order at all is one that is infinitely far away.
        observed = 1e4 if live_px is None else side * (1.0 - live_px / record.fair_px) * 1e4
        yield Reading("placed", observed, wanted_bps, side.name.lower(), slack=slack)


def before_touch_bps(fall: Waterfall) -> float:
    """Depth of a side by all terms before the touch."""
    return (
        fall.fee_bps
        + fall.adverse_selection_bps
        + fall.glft_bps
        + fall.half_min_bps
        + fall.inventory_skew_bps
        + (fall.drift_bps or 0.0)
        + (fall.funding_bps or 0.0)
        + (fall.reference_bps or 0.0)
        + fall.shift_cap_bps
        + (fall.opposed_bps or 0.0)
        + fall.widening_bps
        + fall.guard_bps
        + fall.cascade_bps
        + fall.hold_bps
    )


def clamps_bps(fall: Waterfall) -> float:
    """What floor, post-only rule, grid and the distance between rungs added."""
    return fall.floor_bps + fall.post_only_bps + fall.grid_bps + fall.rung_bps
