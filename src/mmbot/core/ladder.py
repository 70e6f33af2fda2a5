"""
From a quote to orders: rungs on a fixed price grid, sized by the budgets given.

Grid lines are whole multiples of the spacing, counted from the fair price at the start, so they
stay where they are when the market moves: a ladder that follows it by one line changes one order a
side. (Counted from zero, bids and asks of a mirrored market would not be mirrored.) Prices are
handled in "inward" coordinates `u = side * price`: on both sides a larger u is nearer to the other
side of the market. So every rule is written once, and bid and ask are mirror images.

A third of the module is the parameters and the shapes that go in and come out.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from math import ceil, floor, sqrt

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.quoter import Quote
from mmbot.core.types import BUY, USD_PER_TICK_LOT, Instrument, Side

MIN_NOTIONAL_USD = 10.0
"""Least value of an order; only a reduce-only order of the whole position may be smaller.

Source: Hyperliquid docs, "Error responses" (MinTradeNtl) and the exemption for full closes.
"""

_LINE_EPS = 1e-6
_BUDGET_USE = 0.97
_GAPS_MAX = 40
"""Spacings from the first order to the last: with more of them a price would not be positive."""
_STEP_MARGIN = 1.01
"""The spacing suits the price step one percent above fair, where the farthest ask may rest."""


class LadderParams(BaseModel):
    """Shape of the resting ladder."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "rungs",
                "spacing_bps",
                "gap_growth",
                "is_on_grid",
                "spacing_vol_s",
                "spacing_hold_ratio",
                "order_usd_min",
                "depth_bps_max",
            ]
        },
    )

    rungs: int = Field(4, ge=1, le=20, description="Orders per side where the budget allows.")
    spacing_bps: float = Field(
        2.0, ge=0.2, le=20, description="Least distance between grid lines, bps."
    )
    gap_growth: float = Field(
        1.0,
        ge=1,
        le=2,
        description="Each gap between rungs over the one before it: above 1 the far ones thin out.",
    )
    is_on_grid: bool = Field(
        default=True,
        description="Rungs rest on fixed lines, so that few orders change when the price moves; "
        "false: each follows the quote at once, at many times the requests.",
    )
    spacing_vol_s: float = Field(
        4.0,
        ge=0,
        le=600,
        description="The spacing spans at least the volatility of this many seconds.",
    )
    spacing_hold_ratio: float = Field(
        1.6,
        ge=1.1,
        le=4,
        description="The spacing is kept until the wanted one differs by this factor.",
    )
    order_usd_min: float = Field(
        10.5,
        ge=10.1,
        le=1000,
        description="Least value of a rung, USD: the venue's 10 and head-room for price moves.",
    )
    depth_bps_max: float = Field(
        40.0, ge=5, le=200, description="Deeper quotes on the increasing side are not made, bps."
    )

    @model_validator(mode="after")
    def _reach(self) -> LadderParams:
        gaps = sum(self.gap_growth**n for n in range(self.rungs - 1))
        if gaps > _GAPS_MAX:
            raise ValueError(
                f"rungs {self.rungs} with gap_growth {self.gap_growth:g} puts the last order "
                f"{gaps:.0f} spacings behind the first; at most {_GAPS_MAX} are possible: "
                "lower gap_growth or rungs"
            )
        return self


def side_usd_min(params: LadderParams, lot_usd: float = 0.0) -> float:
    """
    Least budget of a side that holds one order, USD; without a lot the least for any market.

    Args:
        lot_usd: Value of the smallest size.
    """
    if lot_usd <= 0:
        return params.order_usd_min / _BUDGET_USE
    least = ceil(params.order_usd_min / lot_usd)
    lots = ceil(least / _BUDGET_USE)
    return lots * lot_usd


class Rung(msgspec.Struct, frozen=True, gc=False):
    """One wanted order."""

    px_ticks: int
    sz_lots: int
    is_reduce_only: bool = False


class SideTarget(msgspec.Struct, frozen=True, gc=False):
    """Wanted orders of one side, nearest first, and the steps that led to their prices (in u)."""

    side: Side
    rungs: tuple[Rung, ...] = ()
    pulled: str | None = None
    """Why the side is empty, if a rule emptied it."""
    ideal_u: float = 0.0
    floored_u: float = 0.0
    clamped_u: float = 0.0
    pushed_u: tuple[float, ...] = ()
    """Per rung: how far the floor pushed it beyond its line."""
    wake_ns: int | None = None


class SideInputs(msgspec.Struct, frozen=True, gc=False):
    """What the ladder is told about one side."""

    side: Side
    budget_lots: int
    reduce_lots: int
    """Size of the position if this side reduces it, else 0."""
    post_px_ticks: int
    """Best price that cannot execute."""
    live_px_ticks: Collection[int]
    """Where orders of ours rest or are on their way to."""
    pulled: str | None
    """A rule that keeps this side empty."""
    is_reduce_only: bool = False
    """The mode lets this side do nothing but reduce: the venue is told so with every order."""


def is_reducing(sz_lots: int, ahead_lots: int, reduce_lots: int) -> bool:
    """
    Whether an order only brings the position nearer to flat, once what rests ahead has filled.

    It may cross zero, but not end farther from it than it began.
    """
    left = reduce_lots - ahead_lots
    return left > 0 and sz_lots <= 2 * left


def outward(instrument: Instrument, side: Side, u: float) -> int:
    """Valid price (as a price, in ticks) at or outside `u`: a bid rounds down, an ask up."""
    return instrument.floor_ticks(u) if side is BUY else instrument.ceil_ticks(-u)


class _Line:
    """
    Where one side of the ladder stands, and since when it should stand elsewhere.

    `sizes` and `laid` are what `sizes_of` and `laid_of` led to the last time.
    """

    __slots__ = (
        "index",
        "is_exact",
        "laid",
        "laid_of",
        "lead_u",
        "lots",
        "rungs",
        "since_ns",
        "sizes",
        "sizes_of",
    )

    def __init__(self) -> None:
        self.index: int | None = None
        self.lead_u: int | None = None
        self.is_exact = False
        self.since_ns: int | None = None
        self.lots: int | None = None
        self.rungs = 0
        self.sizes: tuple[int, ...] = ()
        self.sizes_of: tuple[int, ...] = ()
        self.laid: tuple[tuple[Rung, ...], tuple[float, ...]] = ((), ())
        self.laid_of: tuple[object, ...] = ()

    def leave(self) -> None:
        """Stand nowhere."""
        self.index = self.lead_u = self.since_ns = None


class _Wish(msgspec.Struct, frozen=True, gc=False):
    """Where the nearest rung should rest, in u, and how patiently."""

    wanted_u: float
    cap_u: float
    """Never inside this, hold or not."""
    hold_ticks: float
    hold_ns: int
    now_ns: int
    is_free: bool
    """The position has changed: no hold."""


class Ladder:
    """
    Build the wanted orders of both sides.

    Hysteresis acts here on the final price, and only for an order that rests: a line is kept while
    the wanted price stays within `hold_ticks` of the stretch the line serves, and no longer than
    `hold_ns` beyond it. A missing order is always placed at the present price, a change of position
    is followed at once, and the clamps are never waited on. So a change can be delayed, never lost.
    """

    __slots__ = (
        "_depth_max",
        "_gap_ticks",
        "_hold_ratio",
        "_instrument",
        "_is_on_grid",
        "_lines",
        "_offsets",
        "_order_usd",
        "_origin_ticks",
        "_rungs",
        "_spacing_bps",
        "_steps",
        "_vol_rt_s",
        "spacing_ticks",
    )

    def __init__(self, params: LadderParams, instrument: Instrument) -> None:
        self._instrument = instrument
        self._take(params)
        self._lines = (_Line(), _Line())
        """Of the bids and of the asks."""
        self.spacing_ticks = 0
        self._gap_ticks = 0.0
        """First gap of rungs that keep to no grid."""
        self._origin_ticks: int | None = None
        """The line that the others are counted from: the fair price at the start."""

    def _take(self, params: LadderParams) -> None:
        self._rungs = params.rungs
        self._spacing_bps = params.spacing_bps
        self._vol_rt_s = sqrt(params.spacing_vol_s)
        self._hold_ratio = params.spacing_hold_ratio
        self._order_usd = params.order_usd_min
        self._depth_max = params.depth_bps_max
        self._is_on_grid = params.is_on_grid
        self._offsets = _offsets(params.rungs, params.gap_growth)
        self._steps = _line_steps(self._offsets)

    def retune(self, params: LadderParams) -> None:
        """
        Go on with another shape, on the lines that there are.

        Another spacing is taken at once, as at a start: the one in force would be kept for as long
        as it fits somehow, and whoever asked for it would see nothing change.
        """
        before = self._spacing_bps, self._vol_rt_s, self._hold_ratio
        self._take(params)
        if (self._spacing_bps, self._vol_rt_s, self._hold_ratio) != before:
            self.spacing_ticks = 0
        for line in self._lines:
            line.laid_of = line.sizes_of = ()
            if not self.spacing_ticks:
                line.leave()

    def order_fraction(self, q_max_usd: float, side_budget_usd: float) -> float:
        """Size of a rung as a fraction of the position limit, when flat."""
        usable_usd = side_budget_usd * _BUDGET_USE
        count = max(1, min(self._rungs, int(usable_usd / self._order_usd)))
        return max(self._order_usd, usable_usd / count) / q_max_usd

    def least_lots(self, fair_ticks: float) -> int:
        """Budget that holds one order wherever on its side it may rest."""
        low_px = fair_ticks * (1 - self._depth_max * 1e-4)
        low_px -= self._rungs * self.spacing_ticks
        if low_px <= 0:
            return 0
        return ceil(ceil(self._order_usd / (low_px * USD_PER_TICK_LOT)) / _BUDGET_USE) + 1

    def _line_of(self, side: Side, u: float) -> int:
        """The line at `u`, or the next one away from the market."""
        assert self._origin_ticks is not None
        return floor((u - side * self._origin_ticks) / self.spacing_ticks + _LINE_EPS)

    def _u_of(self, side: Side, line: int) -> int:
        assert self._origin_ticks is not None
        return side * self._origin_ticks + line * self.spacing_ticks

    def settle_spacing(self, fair_ticks: float, vol_bps_rt_s: float) -> int:
        """Distance of grid lines in ticks: a multiple of the price step, kept while it fits."""
        instrument = self._instrument
        step = instrument.step_ticks(int(fair_ticks * _STEP_MARGIN) + 1)
        wanted_bps = max(self._spacing_bps, vol_bps_rt_s * self._vol_rt_s)
        wanted = max(2 * step, wanted_bps * fair_ticks * 1e-4)
        self._gap_ticks = wanted
        kept = self.spacing_ticks
        if self._origin_ticks is None or self._origin_ticks % step:
            self._origin_ticks = round(fair_ticks / step) * step
            for line in self._lines:
                line.leave()
        if kept and kept % step == 0 and kept >= 2 * step:
            ratio = kept / wanted
            if 1 / self._hold_ratio <= ratio <= self._hold_ratio:
                return kept
        spacing = max(2, round(wanted / step)) * step
        if spacing != kept:
            self.spacing_ticks = spacing
            for line in self._lines:
                line.leave()
        return spacing

    def build(
        self,
        quote: Quote,
        inputs: SideInputs,
        *,
        position_lots: int,
        step_ticks: int,
        hold_ticks: float,
        hold_ns: int,
        now_ns: int,
    ) -> SideTarget:
        """
        Wanted orders of one side; `settle_spacing` comes first.

        A rung that can increase the position never rests nearer than the floor, one that reduces
        it comes at most to one price step from fair, and none to a price that could execute.
        """
        side = inputs.side
        fair = quote.fair_ticks
        line = self._lines[side < 0]
        depth_bps = quote.depth_bps(side)
        unit = fair * 1e-4
        fair_u = side * fair
        ideal_u = fair_u - depth_bps * unit
        pulled = inputs.pulled
        if pulled is None and not inputs.reduce_lots and depth_bps > self._depth_max:
            pulled = "too deep"
        sizes = () if pulled is not None else self._sizes(line, inputs, ideal_u, fair)
        if not sizes:
            line.leave()
            line.rungs = 0
            pulled = pulled or "budget below one order"
            return SideTarget(side=side, pulled=pulled, ideal_u=ideal_u)

        floor_u = fair_u - quote.floor_bps * unit
        reduce_lots = inputs.reduce_lots
        is_lead_reducing = reduce_lots > 0 and is_reducing(sizes[0], 0, reduce_lots)
        reducing_u = fair_u - max(step_ticks, quote.reducing_floor_bps * unit)
        near_u = reducing_u if is_lead_reducing else floor_u
        post_u = float(side * inputs.post_px_ticks)
        floored_u = min(ideal_u, near_u)
        clamped_u = min(floored_u, post_u)
        is_free = line.lots != position_lots
        line.lots = position_lots
        if not self._is_on_grid:
            us, pushes_u = self._following(inputs, sizes, clamped_u, floor_u)
            rungs = self._rungs_of(inputs, us, sizes, fair)
            return SideTarget(side, rungs, None, ideal_u, floored_u, clamped_u, tuple(pushes_u))
        spacing = self.spacing_ticks
        line.is_exact = is_lead_reducing and fair_u - clamped_u < spacing * (
            1.5 if line.is_exact else 1.0
        )
        if line.is_exact or line.index != self._line_of(side, clamped_u):
            # A reducing order that fair has come up to is no danger: the hold applies to it.
            cap_u = post_u if is_lead_reducing else min(near_u, post_u)
            wish = _Wish(clamped_u, cap_u, hold_ticks, hold_ns, now_ns, is_free)
            (self._settle_lead if line.is_exact else self._settle_line)(line, inputs, wish)
        else:
            # It stands where it should: nothing to weigh, which is nearly always so.
            line.lead_u = line.since_ns = None
        floor_line = self._line_of(side, floor_u)
        rungs, pushed_u = self._laid(line, inputs, sizes, floor_line, fair)
        wake_ns = None if line.since_ns is None else line.since_ns + hold_ns
        return SideTarget(side, rungs, None, ideal_u, floored_u, clamped_u, pushed_u, wake_ns)

    def _laid(
        self,
        line: _Line,
        inputs: SideInputs,
        sizes: tuple[int, ...],
        floor_line: int,
        fair_ticks: float,
    ) -> tuple[tuple[Rung, ...], tuple[float, ...]]:
        """Rungs from where the side stands, and how far the floor pushed each beyond its line."""
        lead_u, spacing = line.lead_u, self.spacing_ticks
        if lead_u is None:
            assert line.index is not None
            index = line.index
        else:
            index = self._line_of(inputs.side, lead_u - spacing / 2)
        # Nothing but a farther floor or an ask far above fair depends on the price itself.
        floor_line = min(index, floor_line)
        far_u = self._u_of(inputs.side, floor_line - self._rungs - sum(self._steps))
        is_far = inputs.side < 0 and -far_u > fair_ticks * _STEP_MARGIN
        reduce_lots, is_only = inputs.reduce_lots, inputs.is_reduce_only
        laid_of = (lead_u, index, floor_line, spacing, sizes, reduce_lots, is_only)
        if laid_of == line.laid_of and not is_far:
            return line.laid
        us, pushed = self._prices(inputs, lead_u, index, floor_line, sizes)
        laid = self._rungs_of(inputs, us, sizes, fair_ticks), tuple(pushed)
        line.laid, line.laid_of = laid, () if is_far else laid_of
        return laid

    def _prices(
        self,
        inputs: SideInputs,
        lead_u: int | None,
        index: int,
        floor_line: int,
        sizes: tuple[int, ...],
    ) -> tuple[list[int], list[float]]:
        """Prices of the rungs in u, and how far the floor pushed each beyond its line."""
        spacing = self.spacing_ticks
        us: list[int] = [] if lead_u is None else [lead_u]
        pushed: list[float] = [0.0] * len(us)
        ahead = sizes[0] if us else 0
        for n, size in enumerate(sizes[len(us) :], len(us)):
            push = 0
            if index > floor_line and not is_reducing(size, ahead, inputs.reduce_lots):
                push = index - floor_line
                index = floor_line
            us.append(self._u_of(inputs.side, index))
            pushed.append(float(push * spacing))
            ahead += size
            index -= self._steps[n]
        return us, pushed

    def _following(
        self, inputs: SideInputs, sizes: tuple[int, ...], lead_u: float, floor_u: float
    ) -> tuple[list[int], list[float]]:
        """Rungs as far behind the nearest as they should be, in u, and the floor's pushes."""
        side, instrument = inputs.side, self._instrument
        us: list[int] = []
        pushes_u: list[float] = []
        ahead = 0
        for offset, size in zip(self._offsets, sizes, strict=False):
            wanted_u = u = lead_u - offset * self._gap_ticks
            if not is_reducing(size, ahead, inputs.reduce_lots):
                u = min(u, floor_u)
            pushes_u.append(wanted_u - u)
            us.append(side * outward(instrument, side, u))
            ahead += size
        return us, pushes_u

    def _rungs_of(
        self, inputs: SideInputs, us: list[int], sizes: tuple[int, ...], fair_ticks: float
    ) -> tuple[Rung, ...]:
        side = inputs.side
        rungs: list[Rung] = []
        last_px = 0
        for u, size in zip(us, sizes, strict=True):
            px = side * u
            if px > fair_ticks * _STEP_MARGIN:
                px = outward(self._instrument, side, u)
            # Two lines that round to one price are one rung: fewer orders, never twice the size.
            if px <= 0 or px == last_px:
                break
            is_dust = px * size * USD_PER_TICK_LOT < MIN_NOTIONAL_USD
            if is_dust and size != inputs.reduce_lots:
                break
            rungs.append(Rung(px, size, is_dust or inputs.is_reduce_only))
            last_px = px
        return tuple(rungs)

    def _sizes(
        self, line: _Line, inputs: SideInputs, ideal_u: float, fair_ticks: float
    ) -> tuple[int, ...]:
        """
        Equal sizes of as many rungs as the budget makes valid; empty if not even one.

        A position worth less than one order gets a single order of exactly its size.
        """
        budget, reduce_lots = inputs.budget_lots, inputs.reduce_lots
        # The cheapest price that the side might use decides how many lots make a valid order; the
        # same bound for bids and asks, so that both have as many rungs.
        low_px = fair_ticks - abs(inputs.side * fair_ticks - ideal_u)
        low_px -= (self._offsets[-1] + 1.0) * self.spacing_ticks
        if budget <= 0 or low_px <= 0:
            return ()
        least = ceil(self._order_usd / (low_px * USD_PER_TICK_LOT))
        if line.sizes_of == (budget, reduce_lots, least, line.rungs):
            return line.sizes
        # Head-room in the total as well: a rising price shrinks a budget of so many USD, and the
        # orders that rest must not be surplus after a tick.
        is_whole = budget == reduce_lots
        usable = budget if is_whole else int(budget * _BUDGET_USE)
        count = min(self._rungs, usable // least)
        if count > line.rungs > 0 and usable < count * least * 1.03:
            count = line.rungs
        line.rungs = count
        if count == 0:
            sizes = [reduce_lots] if 0 < reduce_lots <= budget else []
        else:
            flat = usable // count
            sizes = [flat] * count
            if is_whole:
                # All of the position is for sale: the nearest takes what equal sizes leave over.
                sizes[0] += budget - flat * count
        line.sizes, line.sizes_of = tuple(sizes), (budget, reduce_lots, least, count)
        return line.sizes

    def _settle_line(self, line: _Line, inputs: SideInputs, wish: _Wish) -> None:
        """The line of the nearest rung: the one it is on, or the present one."""
        fresh = self._line_of(inputs.side, wish.wanted_u)
        line.lead_u = None
        index = line.index
        if (
            index is None
            or index == fresh
            or wish.is_free
            or self._u_of(inputs.side, index) > wish.cap_u
            or inputs.side * self._u_of(inputs.side, index) not in inputs.live_px_ticks
            or not self._u_of(inputs.side, index) - wish.hold_ticks
            <= wish.wanted_u
            < self._u_of(inputs.side, index + 1) + wish.hold_ticks
            or self._is_over(line, wish)
        ):
            line.index, line.since_ns = fresh, None

    def _settle_lead(self, line: _Line, inputs: SideInputs, wish: _Wish) -> None:
        """The nearest reducing rung leaves the grid: it rests exactly where it is wanted."""
        side = inputs.side
        line.index = None
        fresh = side * outward(self._instrument, side, wish.wanted_u)
        lead = line.lead_u
        if (
            lead is None
            or lead == fresh
            or wish.is_free
            or lead > wish.cap_u
            or side * lead not in inputs.live_px_ticks
            or abs(fresh - lead) > wish.hold_ticks + self.spacing_ticks / 2
            or self._is_over(line, wish)
        ):
            line.lead_u, line.since_ns = fresh, None

    @staticmethod
    def _is_over(line: _Line, wish: _Wish) -> bool:
        """Whether a tolerated difference has lasted too long; starts its clock."""
        if line.since_ns is None:
            line.since_ns = wish.now_ns
        return wish.now_ns - line.since_ns >= wish.hold_ns


def _offsets(rungs: int, growth: float) -> tuple[float, ...]:
    """Distance of each rung behind the nearest, in spacings: (growth^n - 1) / (growth - 1)."""
    offsets = [0.0]
    gap = 1.0
    for _ in range(rungs - 1):
        offsets.append(offsets[-1] + gap)
        gap *= growth
    return tuple(offsets)


def _line_steps(offsets: tuple[float, ...]) -> tuple[int, ...]:
    """Lines from each rung to the next one out, one at least; after the last one as well."""
    lines = [round(offset) for offset in offsets]
    return (*[max(1, later - earlier) for earlier, later in pairwise(lines)], 1)
