"""Our own orders are taken out of the book before anything is priced from it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.rig import PREFIX, T0_NS, Ladder, Resting, Rig
from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Level,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Request,
)
from mmbot.core.footprint import Footprint, OwnLevel
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.orders import Orders
from mmbot.core.types import NS_PER_S, Side
from support import often

STEADY = settings(
    max_examples=often(15, thoroughly=40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
CENTRE = 262_000
ROUNDS = 50
CALM = 15
"""Rounds after which every delay (the hold, answers under way) has run out."""


def market(half_bps: float, sizes: list[int], gap_bps: float = 3.0) -> tuple[Ladder, Ladder]:
    """Others' book about `CENTRE`, alike on both sides: a touch and levels behind it."""
    depths = [round(CENTRE * (half_bps + n * gap_bps) * 1e-4 / 10) * 10 for n in range(len(sizes))]
    return (
        tuple((CENTRE - depth, size) for depth, size in zip(depths, sizes, strict=True)),
        tuple((CENTRE + depth, size) for depth, size in zip(depths, sizes, strict=True)),
    )


def rig(
    others: tuple[Ladder, Ladder], x: float, *, shows_own: bool = True, own_in_book: bool = True
) -> Rig:
    """An engine in the market of `others`, holding `x` position limits."""
    it = Rig(others=others, is_started=False, shows_own=shows_own, own_in_book=own_in_book)
    it.bid_ticks, it.ask_ticks = others[0][0][0], others[1][0][0]
    it.start()
    it.hold_position(round(x * it.q_max_lots()))
    return it


def live(it: Rig, rounds: int, *, is_late: bool = False, books_every: int = 1) -> list[object]:
    """What rests after each of some rounds of book and decision; late answers come a book later."""
    rested: list[object] = []
    for n in range(rounds):
        it.wait(0.6)
        book = it.shown_book()
        if n % books_every == 0:
            it.apply(book)
        it.apply(Bbo(it.now_ns, it.venue_ms, book.bids[0], book.asks[0]))
        it.release()
        it.is_holding_answers = is_late
        it.decide()
        rested.append([[(o.px_ticks, o.sz_lots) for o in it.side(side)] for side in Side])
    it.is_holding_answers = False
    it.release()
    return rested


# -- through the engine ---------------------------------------------------------------------------


@STEADY
@given(
    x=st.floats(-0.8, 0.8),
    half_bps=st.floats(0.5, 20.0),
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=5),
    is_late=st.booleans(),
    books_every=st.integers(1, 4),
)
def test_our_own_quotes_in_the_book_move_nothing(
    x: float, half_bps: float, sizes: list[int], books_every: int, *, is_late: bool
) -> None:
    """A book with our orders in it is quoted like the same book without them, for ever."""
    others = market(half_bps, sizes)
    shown = rig(others, x)
    alone = rig(others, x, shows_own=False, own_in_book=False)
    prices = live(shown, ROUNDS, is_late=is_late, books_every=books_every)
    wanted = live(alone, ROUNDS, is_late=is_late, books_every=books_every)
    assert prices[CALM:] == wanted[CALM:]
    assert prices[-1] == prices[CALM]
    for it in (shown, alone):
        assert it.engine.book.mid_ticks == CENTRE
    assert shown.engine.book.fair_ticks == pytest.approx(alone.engine.book.fair_ticks, abs=1e-9)


def test_without_that_a_quote_at_the_touch_drags_the_mid_and_itself() -> None:
    """The control: told that its book is others' alone, the same engine walks on its own quotes."""
    others = market(6.0, [400, 900])
    clean, fooled = rig(others, 0.5), rig(others, 0.5, own_in_book=False)
    live(clean, ROUNDS)
    live(fooled, ROUNDS)
    assert clean.engine.book.mid_ticks == CENTRE
    mid = fooled.engine.book.mid_ticks
    assert mid is not None
    assert (CENTRE - mid) / CENTRE * 1e4 > 2.0


@STEADY
@given(x=st.floats(0.0, 0.8), half_bps=st.floats(0.5, 20.0), is_late=st.booleans())
def test_long_and_short_are_mirror_images_with_our_orders_in_the_book(
    x: float, half_bps: float, *, is_late: bool
) -> None:
    """Neither side is cleaned better than the other."""
    others = market(half_bps, [300, 500, 800])
    long, short = rig(others, x), rig(others, -x)
    for it in (long, short):
        live(it, ROUNDS, is_late=is_late)
    for side in Side:
        mirrored = [2 * CENTRE - order.px_ticks for order in short.side(side.opposite)]
        assert [order.px_ticks for order in long.side(side)] == mirrored


def test_what_the_session_is_worth_is_measured_at_the_mid_of_others() -> None:
    """Volatility, equity and markouts of a maker alone at the touch are those of the market."""
    others = market(6.0, [400, 900])
    shown, alone = rig(others, 0.6), rig(others, 0.6, shows_own=False, own_in_book=False)
    for it in (shown, alone):
        live(it, 20)
        nearest = it.side(Side.SELL)[0]
        assert nearest.px_ticks < it.ask_ticks, "not alone inside the touch"
        it.fill(nearest, nearest.sz_lots // 2)
        live(it, 20)
    assert shown.engine.signals.volatility.bps_rt_s == alone.engine.signals.volatility.bps_rt_s
    assert shown.engine.summary() == alone.engine.summary()
    assert shown.engine.summary().markout_5s_bps is not None


def test_a_side_on_which_every_known_level_is_ours_prices_nothing() -> None:
    """No touch is invented: what could add to the position goes, what reduces it stays."""
    it = rig(market(12.0, [400]), 0.6)
    live(it, 20)
    whole = it.shown_book()
    ours = {order.px_ticks for order in it.side(Side.SELL)}
    asks = tuple(level for level in whole.asks if level.px_ticks in ours)
    assert asks[0] == whole.asks[0]
    it.wait(0.6)
    it.apply(Book(it.now_ns, it.venue_ms, whole.bids, asks, is_fast=True))
    decision = it.decide()
    assert it.engine.book.fair_ticks is None
    assert decision.status.reasons == ("no orders but ours on a side",)
    assert not it.side(Side.BUY)
    assert it.side(Side.SELL)
    live(it, 3)
    assert it.side(Side.BUY)


def test_orders_of_an_earlier_run_are_taken_out_as_soon_as_the_account_tells_of_them() -> None:
    """The first quote after a crash is not priced from what the crash left behind."""
    others = market(6.0, [400, 900])
    it = Rig(others=others, is_started=False)
    it.bid_ticks, it.ask_ticks = others[0][0][0], others[1][0][0]
    order = Resting(5, (PREFIX ^ 0xFF) << 64 | 1, Side.BUY, CENTRE - 20, 100, 100)
    it.resting[order.cloid] = order
    it.tell_book()
    it.apply(it.snapshot())
    assert it.engine.book.bid == Level(CENTRE - 20, 100)
    assert it.engine.book.others_bid == Level(*others[0][0])
    assert it.engine.book.mid_ticks == CENTRE


def test_a_recorded_book_is_left_as_it_is() -> None:
    """A recording never held our orders: what stands at our price there is somebody else's."""
    it = Rig(shows_own=False, own_in_book=False)
    it.settle()
    order = it.side(Side.BUY)[0]
    it.wait(0.1)
    ask = Level(it.ask_ticks, 1000)
    it.apply(Bbo(it.now_ns, it.venue_ms, Level(order.px_ticks, order.sz_lots), ask))
    assert it.engine.book.others_bid == Level(order.px_ticks, order.sz_lots)
    assert it.engine.book.fair_ticks is not None


def test_no_order_is_let_out_against_our_own_alone_at_the_touch() -> None:
    """The best price that cannot execute is judged by the touch as shown, our order included."""
    it = rig(market(12.0, [400]), 0.6)
    live(it, 20)
    own = it.side(Side.SELL)[0]
    assert it.engine.book.ask == Level(own.px_ticks, own.sz_lots)
    assert it.engine.book.others_ask == Level(it.ask_ticks, 400)
    # Turned short in a market that is a little higher: the bid wants to be where our ask rests.
    it.hold_position(-it.position_lots)
    bids, asks = market(12.0, [400])
    it.others = (tuple((px + 100, n) for px, n in bids), tuple((px + 100, n) for px, n in asks))
    it.bid_ticks, it.ask_ticks = it.others[0][0][0], it.others[1][0][0]
    it.wait(0.6)
    it.tell_book()
    batch = it.decide().batch
    assert batch is not None
    assert own.cloid in {cancel.cloid for cancel in batch.cancels}
    assert it.touch(Side.BUY) == own.px_ticks - 10
    assert not it.events_named("order.dropped")
    live(it, 5)
    assert it.touch(Side.BUY) == CENTRE + 100 - 10


# -- what a frame may show ------------------------------------------------------------------------


def placed(orders: Orders, px_ticks: int, lots: int, *, is_acked: bool = True) -> int:
    cloid = orders.new_cloid()
    orders.sent((), (), (Place(cloid, Side.BUY, px_ticks, lots),), T0_NS)
    if is_acked:
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, cloid & 0xFFFF))
    return cloid


def test_the_orders_at_one_price_add_up_and_never_to_more_than_is_shown() -> None:
    """A size is never negative; what exceeds ours is others'."""
    orders = Orders(PREFIX)
    footprint = Footprint(orders)
    assert not footprint.at(T0_NS)
    placed(orders, CENTRE, 30)
    placed(orders, CENTRE, 20)
    own = footprint.at(T0_NS)[CENTRE]
    assert [own.others_lots(lots) for lots in (10, 50, 51, 200)] == [0, 0, 1, 150]


@pytest.mark.parametrize("request_", list(Request))
def test_an_order_without_a_verdict_is_taken_out_only_where_it_explains_the_size(
    request_: Request,
) -> None:
    """Beside others its share is in doubt, and a level of theirs must not disappear for it."""
    orders = Orders(PREFIX)
    cloid = placed(orders, CENTRE, 30, is_acked=request_ is not Request.PLACE)
    if request_ is Request.CANCEL:
        orders.sent((Cancel(cloid),), (), (), T0_NS)
    elif request_ is Request.MOVE:
        orders.sent((), (Move(cloid, Side.BUY, CENTRE - 50, 40),), (), T0_NS)
    orders.on_unanswered(OutcomeUnknown(T0_NS, request_, cloid, "timed out"))
    levels = Footprint(orders).at(T0_NS)
    assert [levels[CENTRE].others_lots(lots) for lots in (20, 30, 200)] == [20, 0, 200]
    if request_ is Request.MOVE:
        assert levels[CENTRE - 50] == OwnLevel(0, (40,))


def test_a_placement_in_flight_hides_no_level_of_others() -> None:
    """Until it is confirmed only a size that is exactly ours is taken for ours."""
    orders = Orders(PREFIX)
    placed(orders, CENTRE, 30, is_acked=False)
    own = Footprint(orders).at(T0_NS)[CENTRE]
    assert [own.others_lots(lots) for lots in (29, 30, 31)] == [29, 0, 31]


def test_a_move_shows_its_old_leg_and_perhaps_its_new_one() -> None:
    """Both prices are known to be ours; only one of them rests."""
    orders = Orders(PREFIX)
    cloid = placed(orders, CENTRE, 30)
    orders.sent((), (Move(cloid, Side.BUY, CENTRE, 70),), (), T0_NS)
    own = Footprint(orders).at(T0_NS)[CENTRE]
    assert own.others_lots(30) == 0
    assert own.others_lots(70) == 0
    assert own.others_lots(130) == 100


def test_a_move_whose_old_leg_has_filled_hides_no_level_of_others() -> None:
    """What filled is off the book, though the answer to the move is still under way."""
    orders = Orders(PREFIX)
    cloid = placed(orders, CENTRE, 30)
    orders.sent((), (Move(cloid, Side.BUY, CENTRE - 50, 40),), (), T0_NS)
    update = OrderUpdate(
        recv_ns=T0_NS,
        venue_ms=1,
        oid=cloid & 0xFFFF,
        cloid=cloid,
        side=Side.BUY,
        px_ticks=CENTRE,
        sz_lots=0,
        orig_sz_lots=30,
        state=OrderState.FILLED,
        status="filled",
    )
    orders.on_update(update)
    own = Footprint(orders).at(T0_NS)[CENTRE]
    assert [own.others_lots(lots) for lots in (20, 30, 200)] == [20, 0, 200]


def test_an_order_just_gone_is_still_known_in_a_late_frame_for_a_second() -> None:
    """Streams overtake each other: the book may show an order that an answer has ended."""
    orders = Orders(PREFIX)
    footprint = Footprint(orders)
    cloid = placed(orders, CENTRE, 30)
    footprint.at(T0_NS)
    orders.sent((Cancel(cloid),), (), (), T0_NS)
    assert footprint.at(T0_NS)[CENTRE].others_lots(25) == 0
    orders.on_acked(Acked(T0_NS, Request.CANCEL, cloid))
    own = footprint.at(T0_NS)[CENTRE]
    assert own.others_lots(30) == 0
    assert own.others_lots(25) == 25
    assert CENTRE in footprint.at(T0_NS + NS_PER_S - 1)
    assert CENTRE not in footprint.at(T0_NS + NS_PER_S)


def test_the_filled_part_of_an_order_is_still_known_in_a_late_frame() -> None:
    """The fill comes on its own stream, before or after the book that shows it."""
    it = rig(market(12.0, [400]), 0.6)
    live(it, 20)
    order = it.side(Side.SELL)[0]
    before = it.shown_book()
    it.fill(order, order.sz_lots // 3)
    for book in (before, it.shown_book()):
        it.wait(0.1)
        late = msgspec.structs.replace(book, recv_ns=it.now_ns, venue_ms=it.venue_ms)
        it.apply(late)
        assert it.engine.book.mid_ticks == CENTRE


def test_the_footprint_is_computed_again_only_when_an_order_changed() -> None:
    """It lies on the way of every frame."""
    orders = Orders(PREFIX)
    footprint = Footprint(orders)
    cloid = placed(orders, CENTRE, 30)
    first = footprint.at(T0_NS)
    assert footprint.at(T0_NS + 50 * NS_PER_S) is first
    orders.sent((Cancel(cloid),), (), (), T0_NS)
    assert footprint.at(T0_NS) is not first
