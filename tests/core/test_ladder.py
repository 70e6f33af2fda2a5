"""Rungs, sizes and the grid, apart from the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.rig import HYPE
from core.views import quote_at
from mmbot.core.ladder import (
    Ladder,
    LadderParams,
    SideInputs,
    SideTarget,
    is_reducing,
)
from mmbot.core.quoter import Quote
from mmbot.core.types import Instrument, Side, notional_usd
from mmbot.core.waterfall import explain


def quote(fair: float = 262_000.0, x: float = 0.0, step: int = 10) -> Quote:
    return quote_at(fair_ticks=fair, step_ticks=step, x=x)


def build(
    ladder: Ladder,
    its: Quote,
    *,
    side: Side = Side.BUY,
    budget: int = 152,
    reduce: int = 0,
    live: frozenset[int] = frozenset(),
    now_ns: int = 0,
    hold: float = 0.0,
    post: int | None = None,
) -> SideTarget:
    ladder.settle_spacing(its.fair_ticks, 1.0)
    inputs = SideInputs(side, budget, reduce, post or round(its.fair_ticks + 10 * side), live, None)
    return ladder.build(
        its,
        inputs,
        position_lots=-side * reduce,
        step_ticks=10,
        hold_ticks=hold,
        hold_ns=5 * 10**9,
        now_ns=now_ns,
    )


@given(
    usd=st.floats(0, 2000),
    px=st.floats(0.01, 90_000),
    decimals=st.integers(0, 5),
    side=st.sampled_from(list(Side)),
)
def test_any_budget_gives_a_valid_ladder_or_none(
    usd: float, px: float, decimals: int, side: Side
) -> None:
    """Every order above ten dollars, prices distinct and valid, the total inside the budget."""
    coin = Instrument(coin="X", asset_id=0, sz_decimals=decimals, max_leverage=10)
    fair = coin.ticks(px)
    if fair < 2000:
        return
    ladder = Ladder(LadderParams(), coin)
    step = coin.step_ticks(int(fair))
    its = quote(fair, step=step)
    budget = int(usd * 1e6 / fair)
    post = coin.floor_ticks(fair - step) if side is Side.SELL else coin.ceil_ticks(fair + step)
    ladder.settle_spacing(fair, 1.0)
    target = ladder.build(
        its,
        SideInputs(side, budget, 0, post, frozenset(), None),
        position_lots=0,
        step_ticks=step,
        hold_ticks=0.0,
        hold_ns=0,
        now_ns=0,
    )
    prices = [rung.px_ticks for rung in target.rungs]
    assert prices == sorted(set(prices), key=lambda p: -side * p)
    assert sum(rung.sz_lots for rung in target.rungs) <= budget
    for rung in target.rungs:
        assert coin.is_valid_px(rung.px_ticks)
        assert notional_usd(rung.px_ticks, rung.sz_lots) >= 10.0
        assert side * (fair - rung.px_ticks) / fair * 1e4 >= its.floor_bps
    if budget * fair * 1e-6 < 10:
        assert not target.rungs


def test_a_line_is_kept_while_an_order_rests_there_and_the_price_is_near() -> None:
    """Hold 20 ticks: beyond that the line rolls, within it only after the hold's time."""
    ladder = Ladder(LadderParams(), HYPE)
    first = build(ladder, quote(262_000.0)).rungs[0].px_ticks
    live = frozenset({first})
    spacing = ladder.spacing_ticks
    depth = 262_000.0 * quote().half_bps * 1e-4
    nearer = first + spacing + 15 + depth
    kept = build(ladder, quote(nearer), live=live, hold=20.0, now_ns=1)
    assert kept.rungs[0].px_ticks == first
    assert kept.wake_ns == 1 + 5 * 10**9
    again = build(ladder, quote(nearer), live=live, hold=20.0, now_ns=5 * 10**9)
    assert again.rungs[0].px_ticks == first
    late = build(ladder, quote(nearer), live=live, hold=20.0, now_ns=1 + 5 * 10**9)
    assert late.rungs[0].px_ticks == first + spacing


def test_a_line_where_nothing_rests_is_never_kept() -> None:
    """A missing order is placed at the present price: a filled one is not renewed too near."""
    ladder = Ladder(LadderParams(), HYPE)
    first = build(ladder, quote(262_000.0)).rungs[0].px_ticks
    depth = 262_000.0 * quote().half_bps * 1e-4
    farther = first - 15 + depth
    assert build(ladder, quote(farther), hold=20.0).rungs[0].px_ticks == (
        first - ladder.spacing_ticks
    )


def test_no_hold_keeps_a_line_inside_the_floor_or_beyond_the_post_only_price() -> None:
    """The clamps are never waited on."""
    for changes in ({}, {"post": 261_500}):
        ladder = Ladder(LadderParams(), HYPE)
        first = build(ladder, quote(262_000.0)).rungs[0].px_ticks
        live = frozenset({first})
        fair = 262_000.0 if changes else first * (1 + 4.0e-4)
        target = build(ladder, quote(fair), live=live, hold=500.0, **changes)  # type: ignore[arg-type]
        assert target.rungs[0].px_ticks < first


def test_the_order_at_the_touch_is_held_only_while_it_rests() -> None:
    """Within the hold it stays where it is; missing, it comes back at the present price."""
    ladder = Ladder(LadderParams(), HYPE)
    its, later = quote(262_000.0, x=0.45), quote(262_020.0, x=0.45)
    lead = build(ladder, its, side=Side.SELL, budget=400, reduce=400).rungs[0].px_ticks
    wanted = {"side": Side.SELL, "budget": 400, "reduce": 400, "hold": 50.0}
    held = build(ladder, later, live=frozenset({lead}), **wanted)  # type: ignore[arg-type]
    assert held.rungs[0].px_ticks == lead
    assert build(ladder, later, **wanted).rungs[0].px_ticks > lead  # type: ignore[arg-type]


def test_the_whole_position_is_offered_whatever_the_sizes_leave_over() -> None:
    """A remainder left out of the ladder would stay behind as dust."""
    for reduce in (45, 137, 500):
        target = build(
            Ladder(LadderParams(), HYPE), quote(x=0.3), side=Side.SELL, budget=reduce, reduce=reduce
        )
        assert sum(rung.sz_lots for rung in target.rungs) == reduce


def test_the_number_of_rungs_does_not_flap_at_its_edge() -> None:
    """A budget on the edge of one more order moves with every tick of the price."""
    ladder = Ladder(LadderParams(), HYPE)
    edge = next(
        b
        for b in range(100, 200)
        if len(build(Ladder(LadderParams(), HYPE), quote(), budget=b).rungs) == 4
    )
    assert len(build(ladder, quote(), budget=edge - 1).rungs) == 3
    assert len(build(ladder, quote(), budget=edge).rungs) == 3
    assert len(build(ladder, quote(), budget=edge + 8).rungs) == 4
    assert len(build(ladder, quote(), budget=edge).rungs) == 4


def test_a_jump_beyond_the_hold_rolls_at_once() -> None:
    """The delay is for trembling, not for moves."""
    ladder = Ladder(LadderParams(), HYPE)
    first = build(ladder, quote(262_000.0)).rungs[0].px_ticks
    live = frozenset({first})
    depth = 262_000.0 * quote().half_bps * 1e-4
    spacing = ladder.spacing_ticks
    far = build(ladder, quote(first + spacing + 21 + depth), live=live, hold=20.0)
    assert far.rungs[0].px_ticks == first + spacing


@pytest.mark.parametrize("px", [9.9, 9.98, 10.0, 10.02, 99.5, 99.99, 100.0, 101.0, 0.09995])
def test_grid_lines_are_valid_prices_on_both_sides_of_a_power_of_ten(px: float) -> None:
    """The spacing is a multiple of the coarser step, so no line needs rounding of its own."""
    coin = Instrument(coin="X", asset_id=0, sz_decimals=2 if px > 1 else 0, max_leverage=10)
    ladder = Ladder(LadderParams(), coin)
    fair = coin.ticks(px)
    spacing = ladder.settle_spacing(fair, 1.0)
    for k in range(-40, 41):
        line = (int(fair / spacing) + k) * spacing
        if abs(line - fair) < fair * 0.01:
            assert coin.is_valid_px(line)


def test_the_spacing_is_kept_until_it_is_far_off() -> None:
    """Half as much again in either direction changes nothing; a doubling does."""
    ladder = Ladder(LadderParams(), HYPE)
    base = ladder.settle_spacing(262_000.0, 1.0)
    assert ladder.settle_spacing(262_000.0, 1.5) == base
    wide = ladder.settle_spacing(262_000.0, 2.5)
    assert wide > base * 1.6
    assert ladder.settle_spacing(262_000.0, 1.7) == wide
    assert ladder.settle_spacing(262_000.0, 1.0) == base


@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=6), reduce=st.integers(0, 400))
def test_orders_called_reducing_never_leave_more_than_they_found(
    sizes: list[int], reduce: int
) -> None:
    """Filled nearest first, each such order leaves a position no larger than before it."""
    position, ahead = reduce, 0
    for size in sizes:
        if is_reducing(size, ahead, reduce):
            assert abs(position - size) <= abs(position)
        ahead += size
        position -= size


def test_an_order_of_the_reducing_side_that_can_increase_keeps_the_floor() -> None:
    """Half an order long: the first ask may come in, the next would build a short."""
    its = quote(x=0.44)
    ladder = Ladder(LadderParams(), HYPE)
    target = build(ladder, its, side=Side.SELL, budget=152, reduce=40)
    depths = [(rung.px_ticks - 262_000) / 262_000 * 1e4 for rung in target.rungs]
    assert depths[0] < its.floor_bps
    assert all(depth >= its.floor_bps for depth in depths[1:])
    falls = explain(its, target)
    assert sum(fall.floor_bps for fall in falls) > 0


def test_a_side_deeper_than_the_bound_is_pulled_and_says_so() -> None:
    """Far out an order earns nothing and only waits for a crash."""
    ladder = Ladder(LadderParams(depth_bps_max=12.0), HYPE)
    target = build(ladder, quote(x=0.5))
    assert target.pulled == "too deep"
    assert not target.rungs
    assert explain(quote(x=0.5), target) == ()


def test_head_room_above_the_venues_minimum_cannot_be_configured_away() -> None:
    """An order valued at exactly ten dollars would be refused after the next tick."""
    with pytest.raises(ValidationError):
        LadderParams(order_usd_min=10.0)


@given(
    x=st.floats(-0.4, 0.4), side=st.sampled_from(list(Side)), reduce=st.sampled_from([0, 40, 300])
)
def test_off_the_grid_every_rung_stands_behind_the_quote_as_far_as_it_should(
    x: float, side: Side, reduce: int
) -> None:
    """Gaps grow by the factor, prices are rounded outward, and the record still adds up."""
    params = LadderParams(
        rungs=5, spacing_bps=2.0, spacing_vol_s=0.0, gap_growth=1.25, is_on_grid=False
    )
    its = quote(x=x)
    target = build(Ladder(params, HYPE), its, side=side, budget=400, reduce=reduce)
    fair, step = its.fair_ticks, 10
    assert len(target.rungs) == 5
    gap = 2.0 * fair * 1e-4
    for n, (rung, pushed) in enumerate(zip(target.rungs, target.pushed_u, strict=True)):
        wanted_u = target.clamped_u - gap * (1.25**n - 1) / 0.25 - pushed
        assert 0 <= wanted_u - side * rung.px_ticks < step
    for fall in explain(its, target):
        terms = sum(getattr(fall, name) or 0.0 for name in fall.__struct_fields__[4:])
        assert terms == pytest.approx(fall.depth_bps, abs=1e-9)


def test_on_the_grid_gaps_grow_by_whole_lines() -> None:
    """Far rungs thin out where they can, and two never share a line."""
    params = LadderParams(rungs=5, spacing_bps=2.0, spacing_vol_s=0.0, gap_growth=1.5)
    ladder = Ladder(params, HYPE)
    target = build(ladder, quote(), budget=400)
    prices = [rung.px_ticks for rung in target.rungs]
    lines = [(prices[0] - px) / ladder.spacing_ticks for px in prices]
    # 0, 1, 2.5, 4.75, 8.125 spacings
    assert lines == [0, 1, 2, 5, 8]


def test_a_ladder_that_reaches_below_zero_is_refused() -> None:
    """Nineteen gaps that grow by 1.8 each once made a daemon that never quoted."""
    LadderParams(rungs=7, gap_growth=1.265)
    LadderParams(rungs=20)
    with pytest.raises(ValidationError, match="lower gap_growth or rungs"):
        LadderParams(rungs=19, gap_growth=1.8)
