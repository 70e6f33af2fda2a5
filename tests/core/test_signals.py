"""The estimators as they are joined: what the tape says reaches the orders that leave."""

from __future__ import annotations

import msgspec
import pytest

from core.rig import Rig, params
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.estimators.aggressors import Aggressors
from mmbot.core.events import Bbo, Level, LinkLost, LinkUp, Trades
from mmbot.core.types import NS_PER_S, Side

THIN: dict[str, dict[str, object]] = {"quoter": {"half_spread_bps_min": 0.5}}
"""The least half spread out of the way, so that what is learnt sets the width."""


def trade(it: Rig, tid: int, side: Side, *px_ticks: int, venue_ms: int | None = None) -> Trades:
    ms = it.venue_ms if venue_ms is None else venue_ms
    count = len(px_ticks)
    tids = tuple(range(tid, tid + count))
    return Trades(it.now_ns, ms, (ms,) * count, (side,) * count, px_ticks, (10,) * count, tids)


def read(it: Rig) -> Diagnostics:
    it.wait(1.0)
    it.tell_book()
    decision = it.decide()
    assert decision.diagnostics is not None
    return decision.diagnostics


def judged(it: Rig, seconds: int) -> None:
    """Let the vitals see every decision."""
    for _ in range(seconds):
        it.wait(1.0)
        it.tell_book()
        it.engine.judge(it.decide())
    it.decide()


def mid(it: Rig) -> float:
    return (it.bid_ticks + it.ask_ticks) / 2


def tape(it: Rig, minutes: int, reach_bps: float, *, after_bps: float = 0.0) -> None:
    """An order every two seconds, from both sides in turn, the price going with it and back."""
    fair = it.instrument.px(mid(it))
    for n in range(minutes * 30):
        side = Side.BUY if n % 2 else Side.SELL
        it.wait(1.0)
        it.tell_book()
        it.decide()
        it.wait(0.1)
        px = round(mid(it) * (1 + side * reach_bps * 1e-4) / 10) * 10
        it.apply(trade(it, 1000 + n, side, px))
        it.wait(0.9)
        it.set_fair(fair * (1 + side * after_bps * 1e-4))
        it.tell_book()
        it.decide()


def test_a_tape_that_reaches_farther_moves_the_quotes_out_and_one_that_stays_near_does_not() -> (
    None
):
    """k is read off the tape: orders that sweep deep pay for a deep quote."""
    widths = {}
    for name, reach_bps in (("near", 3.0), ("far", 11.0)):
        it = Rig(params(quoter={"half_spread_bps_min": 0.5, "gamma_per_bp": 0.0004}))
        tape(it, 30, reach_bps)
        widths[name] = read(it)
    near, far = widths["near"], widths["far"]
    assert near.k_per_bp > 0.5 > far.k_per_bp
    assert far.glft_bps > 1.3 * near.glft_bps
    assert far.touch_bid_px is not None
    assert near.touch_bid_px is not None
    assert far.touch_bid_px < near.touch_bid_px


def test_a_tape_whose_trades_are_followed_by_the_price_raises_the_floor() -> None:
    """What a fill costs afterwards is charged before the next one."""
    floors = {}
    for name, after_bps in (("calm", 0.0), ("informed", 12.0)):
        it = Rig(params(**THIN))
        # The price stays where the last trade took it for the whole horizon, then the next comes.
        fair = it.instrument.px(mid(it))
        for n in range(40):
            side = Side.BUY if n % 2 else Side.SELL
            it.wait(0.1)
            it.apply(trade(it, 500 + n, side, round(mid(it) * (1 + side * 8e-4) / 10) * 10))
            fair *= 1 + side * after_bps * 1e-4
            it.set_fair(fair)
            for _ in range(35):
                it.wait(1.0)
                it.tell_book()
                it.decide()
        floors[name] = read(it)
    assert floors["informed"].a0_bps > 1.8 > floors["calm"].a0_bps
    assert floors["informed"].floor_bps > floors["calm"].floor_bps + 1.5


def test_without_a_tape_the_prior_serves_and_stays() -> None:
    """An absent feed is no news."""
    it = Rig()
    first = read(it)
    for _ in range(30):
        last = read(it)
    assert (first.k_per_bp, first.a0_bps, first.a1) == (0.5, 1.8, 0.3)
    assert (last.k_per_bp, last.a0_bps, last.a1) == (0.5, 1.8, 0.3)


def test_a_repeated_tape_counts_once() -> None:
    """A resubscription repeats the newest trades."""
    once, twice = Rig(params(**THIN)), Rig(params(**THIN))
    for it, repeats in ((once, 1), (twice, 3)):
        for n in range(60):
            it.wait(1.0)
            it.tell_book()
            it.decide()
            it.wait(0.1)
            for _ in range(repeats):
                it.apply(trade(it, n, Side.BUY, round(mid(it) * (1 + 9e-4) / 10) * 10))
            it.wait(0.4)
            it.tell_book()
            it.decide()
    assert read(once) == read(twice)


def test_an_order_through_many_levels_is_one_event_however_it_is_told() -> None:
    """Five levels in one frame or in two are one order that reached the fifth."""
    it = Rig()
    whole, split = Aggressors(), Aggressors()
    levels = (262_100, 262_200, 262_300, 262_400, 262_500)
    assert whole.take(trade(it, 1, Side.BUY, *levels)) == []
    ms = it.venue_ms
    assert split.take(trade(it, 1, Side.BUY, *levels[:2])) == []
    it.wait(0.01)
    assert split.take(trade(it, 3, Side.BUY, *levels[2:], venue_ms=ms)) == []
    assert split.settle(it.now_ns + NS_PER_S // 10) == []
    (one,), (other,) = whole.settle(it.now_ns + NS_PER_S), split.settle(it.now_ns + NS_PER_S)
    assert one == other
    assert (one.side, one.px_ticks, one.venue_ms) == (Side.BUY, 262_500, ms)


def test_sides_of_one_block_are_apart_and_late_trades_of_a_finished_order_are_left_out() -> None:
    """A buyer and a seller in one block are two."""
    it = Rig()
    seen = Aggressors()
    seen.take(trade(it, 1, Side.BUY, 262_500, 262_400))
    seen.take(trade(it, 3, Side.SELL, 261_000, 261_500))
    old_ms = it.venue_ms
    it.wait(0.2)
    done = seen.take(trade(it, 5, Side.BUY, 262_600))
    assert sorted((each.side, each.px_ticks) for each in done) == [
        (Side.SELL, 261_000),
        (Side.BUY, 262_500),
    ]
    assert seen.take(trade(it, 6, Side.BUY, 269_000, venue_ms=old_ms)) == []
    assert seen.take(trade(it, 7, Side.SELL, 255_000, venue_ms=old_ms)) == []
    rest = seen.settle(it.now_ns + NS_PER_S)
    assert [(each.side, each.px_ticks) for each in rest] == [(Side.BUY, 262_600)]
    it.wait(0.5)
    assert seen.take(trade(it, 8, Side.BUY, 270_000, venue_ms=rest[0].venue_ms)) == []
    assert seen.settle(it.now_ns + NS_PER_S) == []


def test_a_busy_tape_is_counted_whole_however_its_sides_alternate() -> None:
    """One buyer before two sellers of the same second was refused as late: a quarter of a tape."""
    it = Rig()
    for _ in range(5):
        read(it)
    orders = 0
    for n in range(180):
        for side in (Side.BUY, Side.SELL, Side.SELL):
            it.wait(0.1)
            px = round(mid(it) * (1 + side * 3e-4) / 10) * 10
            it.apply(trade(it, orders, side, px))
            orders += 1
        if n == 119:
            counted = orders
        it.wait(0.7)
        it.tell_book()
        it.decide()
    signals = it.engine.signals
    # Evidence joins after a minute and is forgotten by half in an hour.
    assert signals.intensity.served.events == pytest.approx(counted, rel=0.03)
    assert signals.adverse.quotes.joined == pytest.approx(counted, abs=6)
    assert signals.intensity.ignored == 0


def test_the_order_that_filled_us_is_heard_on_the_tape_as_well() -> None:
    """Its trade comes before our fill and counts as whole after it: neither makes it late."""
    it = Rig()
    for _ in range(5):
        read(it)
    order = next(order for order in it.resting.values() if order.side is Side.BUY)
    it.apply(trade(it, 1, Side.SELL, order.px_ticks))
    it.wait(0.02)
    it.fill(order, order.sz_lots)
    it.decide()
    for _ in range(65):
        read(it)
    quotes = it.engine.signals.adverse.quotes
    assert quotes.own[0] == pytest.approx(1.0)
    assert quotes.joined == 2
    assert quotes.rows()[0].events == pytest.approx(1.0, rel=0.02)


def test_what_was_open_on_the_tape_when_the_link_was_lost_is_not_judged_across_the_gap() -> None:
    """The move of an outage would be taken for what the last order before it knew."""
    it = Rig()
    for _ in range(5):
        read(it)
    it.apply(trade(it, 1, Side.BUY, round(mid(it) * (1 + 5e-4) / 10) * 10))
    it.apply(LinkLost(it.now_ns, "cut"))
    it.wait(2.0)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    it.apply(it.snapshot())
    for _ in range(70):
        read(it)
    assert it.engine.signals.adverse.quotes.joined == 0


def test_our_own_fills_are_no_trend() -> None:
    """Being filled says who traded with us, not where the price goes."""
    it = Rig()
    for _ in range(30):
        read(it)
    before = read(it)
    for order in list(it.resting.values()):
        if order.side is Side.BUY:
            it.fill(order, order.sz_lots)
    after = read(it)
    assert after.position_sz > 0
    for name in ("drift_bps_per_s", "trend_short_bps", "trend_med_bps", "trend_long_bps", "z_t"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-9), name


def test_being_filled_more_than_the_tape_explains_raises_the_intensity() -> None:
    """Own fills and own resting time set the level of A; evidence counts after a minute."""
    it = Rig()
    for _ in range(5):
        read(it)
    prior = read(it).a_per_s
    for _ in range(40):
        for order in list(it.resting.values())[:1]:
            it.fill(order, order.sz_lots)
            it.wait(0.2)
            it.decide()
        for order in [o for o in it.resting.values() if o.side is not Side.BUY][:1]:
            it.fill(order, order.sz_lots)
        for _ in range(8):
            read(it)
    assert read(it).a_per_s > 1.2 * prior


def test_a_side_that_rests_unfilled_lowers_the_intensity() -> None:
    """Silence is evidence too: nobody comes where we thought somebody would."""
    it = Rig()
    prior = read(it).a_per_s
    for _ in range(900):
        last = read(it)
    assert last.a_per_s < 0.8 * prior


def test_a_lost_link_is_not_silence() -> None:
    """What was not watched says nothing of how often somebody comes."""
    watched, away = Rig(), Rig()
    for it in (watched, away):
        for _ in range(60):
            read(it)
    away.apply(LinkLost(away.now_ns, "cut"))
    away.wait(7200)
    away.apply(LinkUp(away.now_ns))
    away.tell_book()
    away.apply(away.snapshot())
    for _ in range(5):
        last = read(away)
        kept = read(watched)
    assert last.a_per_s == pytest.approx(kept.a_per_s, rel=0.1)


def test_flow_at_the_touch_is_told_after_a_minute_of_book() -> None:
    """Bids that grow and asks that melt are pressure upwards; before a minute nothing is said."""
    it = Rig()
    lots = 500
    signs = []
    for n in range(100):
        it.wait(1.0)
        lots += 40 if n > 80 else (40 if n % 2 else -40)
        it.apply(Bbo(it.now_ns, it.venue_ms, Level(it.bid_ticks, lots), Level(it.ask_ticks, 500)))
        decision = it.decide()
        if decision.diagnostics is not None:
            signs.append(decision.diagnostics.ofi_z)
    assert signs[0] is None
    assert signs[-1] is not None
    assert signs[-1] > 1.0


@pytest.mark.parametrize(
    ("away_s", "share"), [(20.0, 1.0), (150.0, 0.707), (180.0, 0.5), (1200.0, 0.0)]
)
def test_a_sweep_while_the_link_was_lost_is_remembered_as_old_as_it_is(
    away_s: float, share: float
) -> None:
    """The history tells of it: the side that was swept stays back as after any other sweep."""
    wide = params(ladder={"gap_growth": 1.6}, risk={"stale_kill_s": 3000.0})
    swept, calm = Rig(wide), Rig(wide)
    for it in (swept, calm):
        it.settle()
        judged(it, 5)
        it.apply(LinkLost(it.now_ns, "cut"))
        it.wait(1.0)
        orders = it.side(Side.BUY) if it is swept else []
        fills = [it.fill_event(order, order.sz_lots) for order in orders]
        it.wait(away_s)
        it.apply(LinkUp(it.now_ns))
        for fill in fills:
            it.apply(msgspec.structs.replace(fill, recv_ns=it.now_ns, is_snapshot=True))
        it.tell_book()
        it.apply(it.snapshot())
        it.settle()
    record = read(swept)
    assert record.position_sz > 0
    depth_bps = read(calm).bids[-1].depth_bps - read(calm).bids[0].depth_bps
    assert record.cascade_bid_bps == pytest.approx(share * depth_bps, rel=0.1, abs=0.05)
    assert record.cascade_ask_bps == 0.0
    if share == 1.0:
        assert swept.depth_bps(Side.BUY) > calm.depth_bps(Side.BUY) + depth_bps - 1.0
    assert swept.engine.signals.adverse.quotes.own[0] == 0.0
    judged(swept, 60)
    assert swept.events_named("vitals.violated") == []
