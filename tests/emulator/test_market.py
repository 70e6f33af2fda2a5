"""The synthetic market: it trades alone, makers stand before us, takers fill what they reach."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from market_rig import CALM, HYPE, START_MS, US, Rig, is_ours, makers_before, makers_in
from mmbot.core.types import Side, Tif
from mmbot.emulator.flow import Cause, Flow, Taker
from mmbot.emulator.makers import valid_above, valid_below, valid_near
from mmbot.emulator.market import Companion, Market, MarketParams
from mmbot.emulator.specs import AssetSpec, DexSpec, TradePrint, VenueParams
from mmbot.emulator.venue import Venue
from support import often

SWEPT = MarketParams(sweeps_per_s=0.3, episodes_per_hour=60.0, step_ms=500)
"""A market in which the book is torn open every few seconds."""


def bps(after: float, before: float) -> float:
    return 1e4 * log(after / before)


# -- alone -----------------------------------------------------------------------------------------


def test_it_trades_without_us() -> None:
    """Both sides trade and the price moves: a stream to watch before the first order."""
    rig = Rig(MarketParams(), seed=3)
    before = rig.market.mid_px
    rig.run(120)

    assert {trade.side for trade in rig.prints} == {Side.BUY, Side.SELL}
    assert len({trade.time_ms for trade in rig.prints}) > 10
    assert rig.market.mid_px != before


def test_the_same_seed_prints_the_same_trades() -> None:
    """A run can be repeated to the last print, hashes included; another seed is another market."""
    runs = []
    for seed in (7, 7, 8):
        rig = Rig(SWEPT, seed)
        rig.run(60)
        runs.append(rig.prints)

    assert len(runs[0]) > 100
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_advancing_in_one_go_is_advancing_event_by_event() -> None:
    """How often the server's clock ticks must not change the market."""
    fine, coarse = Rig(SWEPT, 5), Rig(SWEPT, 5)
    fine.run(60)
    coarse.market.advance(START_MS + 60_000)
    coarse.collect()

    assert fine.prints == coarse.prints
    assert fine.market.mid_px == coarse.market.mid_px
    assert [o.px_ticks for o in fine.book.orders()] == [o.px_ticks for o in coarse.book.orders()]


def test_prints_carry_the_time_of_their_cause() -> None:
    """Trades are stamped when the taker came, not when the clock was read."""
    flow = Flow(SWEPT, 5)
    due = {START_MS + int(taker.at_ms) for taker in flow.block()[1]}
    rig = Rig(SWEPT, 5)
    rig.market.advance(START_MS + 59_999)
    rig.collect()

    assert {trade.time_ms for trade in rig.prints} <= due
    assert len({trade.time_ms for trade in rig.prints}) > 0.5 * len(due)


# -- the other makers ------------------------------------------------------------------------------


@settings(max_examples=often(10, thoroughly=25), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    makers=st.integers(3, 6),
    spread_bps=st.floats(0, 15),
    px=st.sampled_from([0.18648, 9.9995, 26.2, 99.99, 1012.3]),
)
def test_three_makers_rest_at_every_touch_after_every_event(
    seed: int, makers: int, spread_bps: float, px: float
) -> None:
    """With nobody else there it holds without exception, sweeps included, at every price scale."""
    params = SWEPT.model_copy(update={"makers": makers, "touch_spread_bps": spread_bps})
    rig = Rig(params, seed, px=px)

    for _ in rig.events(15):
        for side in Side:
            assert makers_in(rig.touch(side)) == makers
        assert rig.touch(Side.BUY).px_ticks < rig.touch(Side.SELL).px_ticks


@settings(max_examples=often(15, thoroughly=40), deadline=None)
@given(seed=st.integers(0, 10_000), spread_bps=st.sampled_from([0.5, 3.0, 12.0]))
def test_our_orders_stand_behind_three_makers_at_every_touch(seed: int, spread_bps: float) -> None:
    """
    Whatever we do: an order of ours at a touch has all makers before it, unless it outbid them or
    somebody took them away.

    We quote at random, inside their spread and far outside, and after every event of the market
    both touches are looked at. A touch is either made by makers or by an order of ours that was the
    best when it came; after the makers' next look they are at that price too.
    """
    rng = np.random.default_rng(seed)
    rig = Rig(SWEPT.model_copy(update={"touch_spread_bps": spread_bps}), seed)
    outbid: set[int] = set()
    seen_at_touch = printed = 0
    for now_ms in rig.events(20):
        taken = {(-trade.side, trade.px_ticks) for trade in rig.prints[printed:]}
        printed = len(rig.prints)
        # Whom a trade at our price left standing has moved up.
        outbid |= {o.oid for o in rig.ours() if (o.side, o.px_ticks) in taken}
        for side in Side:
            level = rig.touch(side)
            makers = makers_in(level)
            assert makers >= 3 or all(o.oid in outbid for o in level.orders.values())
            if (now_ms - START_MS) % SWEPT.step_ms == 0:
                assert makers >= 3
            for order in filter(is_ours, level.orders.values()):
                seen_at_touch += 1
                assert order.oid in outbid or makers_before(order, level) >= 3
        for order in rig.ours():
            is_far = abs(bps(order.px_ticks, rig.market.mid_px * 10_000)) > SWEPT.depth_bps - 20
            if is_far or rng.random() < 0.1:
                rig.pull(order)
        for _ in range(3):
            side = Side.BUY if rng.random() < 0.5 else Side.SELL
            px = rig.at_bps(side, float(rng.exponential(6.0)))
            theirs = rig.makers_best(side)
            result = rig.quote(side, px)
            if result.oid is not None and (theirs is None or (px - theirs) * side > 0):
                outbid.add(result.oid)
    assert seen_at_touch > 0


def test_makers_join_us_inside_their_spread_and_leave_with_us() -> None:
    """Nobody stays alone at a touch; and a touch we made does not outlive our order."""
    rig = Rig(MarketParams(**CALM, touch_spread_bps=12.0))
    rig.run(1)
    theirs = rig.touch(Side.BUY).px_ticks
    rig.quote(Side.BUY, theirs + 50)
    (order,) = rig.ours()

    rig.run(1.5)
    assert rig.touch(Side.BUY).px_ticks == theirs + 50
    assert makers_in(rig.touch(Side.BUY)) == 3
    assert makers_before(order, rig.touch(Side.BUY)) == 0

    rig.run(5)
    rig.pull(order)
    rig.run(6)
    assert rig.touch(Side.BUY).px_ticks == theirs


def test_makers_come_back_after_we_took_from_them() -> None:
    """At the next look, `step_ms` later at most, the touch is whole again."""
    rig = Rig(MarketParams(**CALM))
    rig.run(1)
    touch = rig.touch(Side.SELL)
    px, first_lots = touch.px_ticks, next(iter(touch.orders.values())).sz_lots
    result = rig.quote(Side.BUY, px, first_lots, Tif.IOC)

    assert result.filled_lots == first_lots
    assert makers_in(rig.touch(Side.SELL)) == 2
    rig.run(1.25)
    assert rig.touch(Side.SELL).px_ticks == px
    assert makers_in(rig.touch(Side.SELL)) == 3


def test_the_book_is_whole_again_as_soon_as_it_was_swept() -> None:
    """
    Makers refill at once, where they were: a trade alone moves no price.

    A hole that stands open until their next look is a false price, and a maker who follows it sells
    below a fair price that nobody has moved.
    """
    params = MarketParams(**{**CALM, "sweeps_per_s": 0.2})
    sweeps = [t for t in Flow(params, 2).block()[1] if t.at_ms < 50_000]
    assert sweeps
    rig = Rig(params, 2)
    for sweep in sweeps:
        rig.market.advance(START_MS + int(sweep.at_ms) - 1)
        rig.collect()
        rig.prints.clear()
        before = rig.mid_ticks
        rig.market.advance(START_MS + int(sweep.at_ms))
        rig.collect()
        assert max(abs(bps(trade.px_ticks, before)) for trade in rig.prints) > 8
        if int(sweep.at_ms) % params.step_ms:
            assert rig.mid_ticks == before
        assert all(makers_in(rig.touch(side)) == params.makers for side in Side)


def test_depth_is_the_notional_asked_for() -> None:
    """Impact prices and the size of a sweep hang on it."""
    rig = Rig(MarketParams(**CALM, depth_usd_per_bp=8_000.0, depth_bps=40.0))
    for side in Side:
        levels = list(rig.book.levels(side))
        span_bps = abs(bps(levels[-1].px_ticks, levels[0].px_ticks))
        notional_usd = sum(level.px_ticks * level.sz_lots for level in levels) * 1e-6
        assert span_bps == pytest.approx(39.5, abs=1)
        assert notional_usd == pytest.approx(8_000 * span_bps, rel=0.1)


def test_the_touch_spread_is_the_figure_rounded_outward() -> None:
    """One tick is 0.38 bps at this price, so the spread is within two ticks of the figure."""
    for spread_bps in (0.5, 5.0, 20.0):
        rig = Rig(MarketParams(touch_spread_bps=spread_bps, a_per_s=0.0, sweeps_per_s=0.0))
        spreads = [
            bps(rig.touch(Side.SELL).px_ticks, rig.touch(Side.BUY).px_ticks) for _ in rig.events(20)
        ]
        assert spread_bps - 1e-6 <= min(spreads)
        assert max(spreads) <= spread_bps + 2 * 0.39


# -- takers ----------------------------------------------------------------------------------------


def test_a_taker_fills_every_rung_within_his_reach_and_none_beyond() -> None:
    """Without a queue: depth at most the reach, to the nearest valid price, at our own price."""
    params = MarketParams(a_per_s=1.0, k_per_bp=0.3, sweeps_per_s=0.0)
    # A look in the same millisecond would move the mid in between.
    takers = [t for t in Flow(params, 11).block()[1] if int(t.at_ms) % params.step_ms]
    rig = Rig(params, 11, has_queue=False)
    filled = kept = 0
    for taker in takers:
        rig.market.advance(START_MS + int(taker.at_ms) - 1)
        for order in rig.ours():
            rig.pull(order)
        rig.collect()
        rig.fills.clear()
        mid_ticks = rig.market.mid_px * 10_000
        side = taker.side.opposite
        for depth_bps in (1.5, 3.0, 6.0, 12.0, 40.0):
            rig.quote(side, rig.at_bps(side, depth_bps))
        rungs = [order.px_ticks for order in rig.ours()]
        rig.market.advance(START_MS + int(taker.at_ms))
        rig.collect()
        got = {round(float(record.fill["px"]) * 10_000) for record in rig.fills}
        limit = valid_near(mid_ticks * (1 + taker.side * taker.reach_bps * 1e-4), 2)
        expected = {px for px in rungs if (px - limit) * taker.side <= 0}
        assert got == expected
        assert all(record.fill["crossed"] is False for record in rig.fills)
        filled += len(got)
        kept += len(rungs) - len(got)
    assert filled > 20
    assert kept > 20


def test_a_taker_within_reach_fills_our_whole_order_behind_the_queue() -> None:
    """Without a queue our size does not protect us: he has no limit but his price."""
    params = MarketParams(**{**CALM, "a_per_s": 0.5})
    taker = next(t for t in Flow(params, 4).block()[1] if t.reach_bps > 1.5)
    rig = Rig(params, 4, has_queue=False)
    rig.market.advance(START_MS + int(taker.at_ms) - 1)
    rig.collect()
    rig.prints.clear()
    side = taker.side.opposite
    rig.quote(side, rig.at_bps(side, 1.0), sz_lots=100_000)
    (ours,) = rig.ours()
    rig.market.advance(START_MS + int(taker.at_ms))
    rig.collect()

    assert not ours.is_booked
    assert ours.sz_lots == 0
    there = [trade for trade in rig.prints if trade.px_ticks == ours.px_ticks]
    parties = [trade.buyer if side is Side.BUY else trade.seller for trade in there]
    assert parties[-1] == US
    assert len(set(parties)) == 4


def test_a_taker_brings_the_size_the_makers_rest_and_who_came_last_gets_the_rest() -> None:
    """
    With a queue: what we gave him nearer, those at his last price do not get, and we came last.

    Alone at his last price we are left out; with an order in front there is still nothing for the
    last one; and once the makers before us have been taken, we are first at the next taker.
    """
    params = MarketParams(**CALM)
    rig = Rig(params)
    rig.run(1)
    near, last = rig.at_bps(Side.SELL, 4.0), rig.at_bps(Side.SELL, 8.0)
    rig.quote(Side.SELL, near, 70)
    rig.quote(Side.SELL, last, 50)
    reach_bps = bps(last, rig.market.mid_px * 10_000)
    taker = Taker(1_100.0, Side.BUY, reach_bps, 0.0, 0.0, Cause.NOISE)

    rig.market._trade(taker)
    rig.collect()
    assert [float(record.fill["px"]) for record in rig.fills] == [near / 10_000]
    (left,) = rig.ours()
    assert left.sz_lots == 50
    level = next(level for level in rig.book.levels(Side.SELL) if level.px_ticks == last)
    assert makers_before(left, level) == 1  # whose last 70 lots we had taken the place of

    rig.market._trade(taker)
    assert rig.ours() == []


def test_what_the_price_passes_is_filled_at_our_price_and_the_rest_stays() -> None:
    """A maker slower than the market sells too cheap: adverse selection of resting quotes."""
    rig = Rig(MarketParams(**CALM))
    rig.run(1)
    near, far = rig.at_bps(Side.SELL, 8.0), rig.at_bps(Side.SELL, 30.0)
    rig.quote(Side.SELL, near)
    rig.quote(Side.SELL, far)
    rig.market.shift(20.0)
    rig.collect()

    assert [order.px_ticks for order in rig.ours()] == [far]
    assert [float(record.fill["px"]) for record in rig.fills] == [near / 10_000]
    assert rig.mid_ticks > near


def test_taker_sides_are_balanced() -> None:
    """A maker's inventory must come from chance and information, not from a bias."""
    rig = Rig(MarketParams(a_per_s=2.0, episodes_per_hour=0.0, sweep_informed_frac=0.0), 9)
    rig.run(600)
    orders = {(trade.time_ms, trade.side) for trade in rig.prints}
    buys = sum(side is Side.BUY for _, side in orders)

    assert abs(buys - len(orders) / 2) < 4 * len(orders) ** 0.5 / 2


# -- common random numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("depth_bps", [0.2, 8.0, 45.0])
def test_no_quote_of_ours_moves_price_takers_oracle_or_mark(depth_bps: float) -> None:
    """Two variants of a strategy meet the same market, near the touch as well as far from it."""
    paths = []
    for is_quoting in (False, True):
        rig = Rig(SWEPT, 12)
        asset = rig.venue.asset(HYPE)
        path = []
        for now_ms in rig.events(60):
            path.append((now_ms, rig.market.mid_px, asset.oracle_ticks, asset.mark_ticks))
            if is_quoting:
                for order in rig.ours():
                    rig.pull(order)
                for side in Side:
                    rig.quote(side, rig.at_bps(side, depth_bps))
        paths.append(path)
        if is_quoting and depth_bps < 10:
            assert rig.fills
    assert paths[0] == paths[1]


def test_quotes_nobody_reaches_change_no_print() -> None:
    """Far quotes leave the tape as it was, trade by trade."""
    tapes = []
    for is_quoting in (False, True):
        rig = Rig(MarketParams(), 6)
        if is_quoting:
            for side in Side:
                rig.quote(side, rig.at_bps(side, 200.0))
        rig.run(120)
        tapes.append([(t.time_ms, t.side, t.px_ticks, t.sz_lots) for t in rig.prints])
    assert tapes[0]
    assert tapes[0] == tapes[1]


# -- oracle and mark -------------------------------------------------------------------------------


def test_oracle_and_mark_stay_near_the_mid_without_being_it() -> None:
    """Profit at the mark differs from profit at the mid, as it does at the venue."""
    rig = Rig(MarketParams(sweeps_per_s=0.0), 3)
    asset = rig.venue.asset(HYPE)
    gaps_bps, marks, oracles = [], set(), set()
    for _ in rig.events(120):
        gaps_bps.append(bps(asset.mark_ticks, rig.mid_ticks))
        marks.add(asset.mark_ticks)
        oracles.add(asset.oracle_ticks)

    assert np.mean(np.abs(gaps_bps) > 0.01) > 0.9
    assert np.abs(gaps_bps).max() < 25
    assert len(marks) > 30
    assert len(oracles) > 30
    assert len(oracles) <= 120 / 3 + 1


# -- pushing the price -----------------------------------------------------------------------------


def test_a_shift_moves_quotes_oracle_and_mark_at_once_and_for_good() -> None:
    """Tests of the kill switch push the price and read the loss."""
    rig = Rig(MarketParams(**CALM, oracle_noise_bps=0.0))
    rig.run(1)
    asset = rig.venue.asset(HYPE)
    before = rig.mid_ticks, asset.oracle_ticks, asset.mark_ticks
    rig.market.shift(-150.0)
    after = rig.mid_ticks, asset.oracle_ticks, asset.mark_ticks

    for old, new in zip(before, after, strict=True):
        assert bps(new, old) == pytest.approx(-150, abs=1.0)
    rig.run(30)
    assert bps(rig.mid_ticks, before[0]) == pytest.approx(-150, abs=1.0)
    assert all(makers_in(rig.touch(side)) == 3 for side in Side)


def test_a_price_can_be_named() -> None:
    """The control route speaks in prices."""
    rig = Rig(MarketParams(**CALM))
    rig.market.force_px(31.75)

    assert rig.market.mid_px == pytest.approx(31.75)
    assert rig.mid_ticks == pytest.approx(317_500, abs=20)


def test_a_trend_adds_its_drift_and_ends() -> None:
    """-2 bps a second for 30 s is -60 bps, beside the same market without it."""
    pushed, free = Rig(MarketParams(), 5), Rig(MarketParams(), 5)
    for rig in (pushed, free):
        rig.run(10)
    pushed.market.trend(-2.0, 30.0)

    for at_s, expected_bps in ((25.0, -30.0), (40.0, -60.0), (60.0, -60.0)):
        for rig in (pushed, free):
            rig.run(at_s)
        gap_bps = bps(pushed.market.mid_px, free.market.mid_px)
        assert gap_bps == pytest.approx(expected_bps, abs=1e-6)


def test_a_falling_price_runs_over_a_bid_and_takes_the_equity() -> None:
    """The scenario of the loss limit: our bids fill on the way down and the mark follows."""
    rig = Rig(MarketParams(**CALM), equity_usd=100.0)
    rig.run(1)
    for depth_bps in (5.0, 10.0, 15.0):
        rig.quote(Side.BUY, rig.at_bps(Side.BUY, depth_bps), sz_lots=500)
    rig.market.trend(-5.0, 60.0)
    rig.run(70)

    assert not rig.ours()
    assert sum(float(record.fill["sz"]) for record in rig.fills) == 15.0
    # 15 coins bought 290 bps above the price are worth about 11.4 less.
    assert rig.equity_usd() == pytest.approx(100 - 15 * 26.2 * 0.029, abs=0.3)


# -- other perps, bad days -------------------------------------------------------------------------


def test_a_follower_moves_with_the_fair_price_and_an_idle_perp_stands_still() -> None:
    """A builder dex's coin needs its twin as a reference; the others need a book to look at."""
    names = ("HYPE", "TWIN", "IDLE")
    specs = tuple(
        AssetSpec(name=name, sz_decimals=2, max_leverage=10, mark_px=px)
        for name, px in zip(names, (26.2, 26.3, 50.0), strict=True)
    )
    venue = Venue(VenueParams(), (DexSpec(name="", assets=specs),), START_MS)
    venue.open_account(US, usd=1000.0)
    companions = (Companion(1, follows=True), Companion(2))
    market = Market(MarketParams(), venue, 0, 2, START_MS, companions=companions)
    idle_before = venue.asset(2).mid_half_ticks()
    market.shift(-100.0)
    market.advance(START_MS + 120_000)

    twin, idle = venue.asset(1), venue.asset(2)
    twin_mid = twin.mid_half_ticks()
    assert twin_mid is not None
    assert bps(twin_mid / 2, 263_000) == pytest.approx(bps(market.fair_px, 26.2), abs=1.0)
    assert bps(twin.mark_ticks, 263_000) == pytest.approx(bps(market.fair_px, 26.2), abs=15.0)
    assert idle.mid_half_ticks() == idle_before
    traded = {event.asset_id for event in venue.drain() if isinstance(event, TradePrint)}
    assert traded == {0}
    for asset in (twin, idle):
        assert all(makers_in(next(asset.book.levels(side))) == 3 for side in Side)


def test_the_market_outlives_a_halt() -> None:
    """A halted asset refuses everybody; the makers are back at the first look after it."""
    rig = Rig(MarketParams(), 3)
    rig.run(5)
    rig.venue.halt(HYPE)
    rig.run(10)
    assert not list(rig.book.orders())

    rig.venue.resume(HYPE)
    rig.run(10.25)
    assert all(makers_in(rig.touch(side)) == 3 for side in Side)
    assert abs(bps(rig.mid_ticks, rig.market.mid_px * 10_000)) < 1


def test_the_books_balance_after_any_amount_of_trading() -> None:
    """Money the market makes or loses is somebody's."""
    rig = Rig(SWEPT, 3)
    rng = np.random.default_rng(1)
    for _ in rig.events(60):
        side = Side.BUY if rng.random() < 0.5 else Side.SELL
        tif = Tif.GTC if rng.random() < 0.5 else Tif.ALO
        rig.quote(side, rig.at_bps(side, float(rng.normal(2.0, 4.0))), tif=tif)
    account = rig.venue.account(US)
    longs = sum(
        max(0, slot.szi_lots)
        for other in rig.venue.state.accounts.values()
        for purse in other.purses.values()
        for slot in purse.slots.values()
    )

    assert len(account.fills) > 50
    assert rig.venue.imbalance_u("USDC") == 0
    assert rig.venue.asset(HYPE).long_lots == longs


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"touch_spread_bps": 90.0}, "touch_spread_bps = 90"),
        ({"makers": 2}, "makers"),
        ({"colour": 1}, "colour"),
    ],
)
def test_figures_that_cannot_be_are_refused(figures: dict[str, float], named: str) -> None:
    """Two makers would break the promise of three."""
    with pytest.raises(ValidationError, match=named):
        MarketParams(**figures)


@given(px=st.floats(1.5, 9e6), sz_decimals=st.integers(0, 5))
def test_makers_prices_keep_the_five_figure_rule(px: float, sz_decimals: int) -> None:
    """An invalid price would be refused, and the touch would have a hole."""
    asset = Rig(MarketParams(**CALM), sz_decimals=2).venue.asset(HYPE)
    asset.sz_decimals = sz_decimals
    below, above = valid_below(px, sz_decimals), valid_above(px, sz_decimals)

    assert asset.is_valid_px(below)
    assert asset.is_valid_px(above)
    assert below <= px <= above
    assert not any(
        asset.is_valid_px(p) for p in range(below + 1, min(above, below + 500)) if p > px
    )
