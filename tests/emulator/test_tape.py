"""Claims about the venue made of a recording: when, and how much, an order of ours fills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.events import (
    Acked,
    Bbo,
    Book,
    Event,
    Fill,
    Level,
    OrderMissing,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
    Trade,
)
from mmbot.core.intents import Cancel, Move, Place, Query
from mmbot.core.types import NS_PER_MS, Fees, Instrument, Side, Tif
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import read_recording
from mmbot.emulator.tape import RecordedVenue, RecordedVenueParams
from support import data_dir, often

COIN = Instrument(coin="WLFI", asset_id=0, sz_decimals=0, max_leverage=5)
FEES = Fees(maker_bps=1.5, taker_bps=4.5)
FEED_MS = 400
BID, ASK = 186_400, 186_500
STEP = 10
LOTS = 1000


def book(ms: int, *, bid: int = BID, ask: int = ASK, bid_sz: int = 500, ask_sz: int = 500) -> Book:
    """Three levels a side, ten ticks apart."""
    return Book(
        (ms + FEED_MS) * NS_PER_MS,
        ms,
        tuple(Level(bid - STEP * i, bid_sz * (i + 1)) for i in range(3)),
        tuple(Level(ask + STEP * i, ask_sz * (i + 1)) for i in range(3)),
        is_fast=True,
    )


def bbo(ms: int, bid: int | None, bid_sz: int, ask: int | None = ASK, ask_sz: int = 500) -> Bbo:
    """A touch."""
    return Bbo(
        (ms + FEED_MS) * NS_PER_MS,
        ms,
        None if bid is None else Level(bid, bid_sz),
        None if ask is None else Level(ask, ask_sz),
    )


def sale(ms: int, px: int, lots: int, tid: int = 0) -> Trade:
    """Somebody sells into the bids."""
    return Trade((ms + FEED_MS) * NS_PER_MS, ms, Side.SELL, px, lots, tid or ms)


def purchase(ms: int, px: int, lots: int, tid: int = 0) -> Trade:
    """Somebody buys from the asks."""
    return Trade((ms + FEED_MS) * NS_PER_MS, ms, Side.BUY, px, lots, tid or ms)


def venue(
    frames: Sequence[Bbo | Book | Trade],
    *,
    order_ms: float = 100,
    reply_ms: float = 50,
    queue_factor: float = 1.0,
) -> RecordedVenue:
    """A venue that plays `frames`."""
    params = RecordedVenueParams(
        order_latency_ms=order_ms, reply_latency_ms=reply_ms, queue_factor=queue_factor
    )
    return RecordedVenue(frames, instrument=COIN, fees=FEES, params=params)


def at(ms: int) -> int:
    """Milliseconds as our clock."""
    return ms * NS_PER_MS


def buy(cloid: int, px: int, lots: int = LOTS, *, is_reduce_only: bool = False) -> Place:
    """A bid."""
    return Place(cloid, Side.BUY, px, lots, is_reduce_only)


def sell(cloid: int, px: int, lots: int = LOTS, *, is_reduce_only: bool = False) -> Place:
    """An ask."""
    return Place(cloid, Side.SELL, px, lots, is_reduce_only)


def play(
    exchange: RecordedVenue, script: Sequence[tuple[int, Place | Move | Cancel]], until_ms: int
) -> list[Event]:
    """Send a fixed script of requests, let the recording run and return all we were told."""
    told: list[Event] = []
    for sent_ms, request in script:
        exchange.advance(at(sent_ms))
        told += exchange.take(at(sent_ms))
        if isinstance(request, Place):
            exchange.send(at(sent_ms), places=[request])
        elif isinstance(request, Move):
            exchange.send(at(sent_ms), moves=[request])
        else:
            exchange.send(at(sent_ms), cancels=[request])
    exchange.advance(at(until_ms))
    return told + exchange.take(at(until_ms) + 10**12)


def fills(told: Sequence[Event]) -> list[tuple[int, int, int]]:
    """Venue time, price and size of our fills."""
    return [(e.venue_ms, e.px_ticks, e.sz_lots) for e in told if isinstance(e, Fill)]


def refusals(told: Sequence[Event]) -> list[tuple[Request, Rejection]]:
    """What was refused, and why."""
    return [(e.request, e.reason) for e in told if isinstance(e, Rejected)]


def test_order_waits_for_the_size_ahead_of_it() -> None:
    """The queue is the largest lie of a simulator; 500 lots stood there before us."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(1000, BID, 300),
        sale(1001, BID, 150),
        sale(1002, BID, 120),
    ]
    told = play(venue(frames), [(100, buy(1, BID))], 2000)

    assert fills(told) == [(1002, BID, 70)]


def test_trade_through_the_price_fills_up_to_its_own_size() -> None:
    """A seller who reached a worse price met us first, but had no more than he sold."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(1000, BID - STEP, 400),
        sale(1001, BID - STEP, 900),
    ]
    told = play(venue(frames), [(100, buy(1, BID))], 2000)

    assert fills(told) == [(1000, BID, 400), (1001, BID, 600)]


def test_trade_short_of_the_price_and_of_the_other_side_fills_nothing() -> None:
    """Only a seller who came down to our bid can have sold to us."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(1000, BID + STEP, 9000),
        purchase(1001, BID, 9000),
    ]

    assert fills(play(venue(frames), [(100, buy(1, BID))], 2000)) == []


def test_one_trade_is_shared_by_all_our_orders_best_price_first() -> None:
    """A ladder of rungs must not multiply the volume of the market."""
    frames: list[Bbo | Book | Trade] = [book(0), sale(1000, BID - 2 * STEP, 2500)]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(n, BID - STEP * n)) for n in range(3)
    ]
    told = play(venue(frames), script, 2000)

    assert fills(told) == [(1000, BID, 1000), (1000, BID - STEP, 1000), (1000, BID - 2 * STEP, 500)]


def test_own_order_at_the_same_price_stands_in_the_queue() -> None:
    """Two orders at one price cannot both be first."""
    frames: list[Bbo | Book | Trade] = [book(0), sale(1000, BID, 1600), sale(1001, BID, 100)]
    told = play(venue(frames), [(100, buy(1, BID)), (101, buy(2, BID))], 2000)

    assert fills(told) == [(1000, BID, 1000), (1000, BID, 100), (1001, BID, 100)]


def test_fill_says_what_the_venue_would_say() -> None:
    """The ledger is built of these figures: fee, side, start position, realised profit."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(1000, BID - STEP, 400, tid=7),
        purchase(2000, ASK + STEP, 1000, tid=8),
    ]
    told = play(venue(frames), [(100, buy(1, BID, 400)), (101, sell(2, ASK))], 3000)

    bought, sold = (e for e in told if isinstance(e, Fill))
    assert (bought.recv_ns, bought.venue_ms, bought.tid) == (at(1000 + FEED_MS), 1000, 7)
    assert (bought.cloid, bought.side, bought.is_taker) == (1, Side.BUY, False)
    assert bought.fee_usd == pytest.approx(BID * 400 * 1e-6 * 1.5e-4)
    assert (bought.start_position_lots, sold.start_position_lots) == (0, 400)
    assert bought.closed_pnl_usd == 0
    assert sold.closed_pnl_usd == pytest.approx((ASK - BID) * 400 * 1e-6)
    filled = [e for e in told if isinstance(e, OrderUpdate) and e.state is OrderState.FILLED]
    assert [(e.cloid, e.sz_lots, e.oid) for e in filled] == [
        (1, 0, bought.oid),
        (2, 0, sold.oid),
    ]


def test_order_does_not_fill_before_it_arrived() -> None:
    """A decision taken on a stale frame must not profit from what came in between."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(199, BID - STEP, 400),
        sale(200, BID - STEP, 400),
        sale(201, BID - 10, 9),
    ]
    told = play(venue(frames, order_ms=100), [(100, buy(1, BID))], 2000)

    assert fills(told) == [(201, BID, 9)]


def test_cancel_works_only_when_it_arrives() -> None:
    """What was sold to us while the cancel travelled is ours."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(600, BID - STEP, 100),
        sale(601, BID - STEP, 200),
    ]
    told = play(venue(frames, order_ms=100), [(100, buy(1, BID)), (500, Cancel(1))], 2000)

    assert fills(told) == [(600, BID, 100)]
    assert [e for e in told if isinstance(e, Acked)][-1] == Acked(at(650), Request.CANCEL, 1)
    last = [e for e in told if isinstance(e, OrderUpdate)][-1]
    assert (last.state, last.sz_lots, last.orig_sz_lots) == (OrderState.CANCELED, 900, 1000)


def test_cancel_and_move_of_a_gone_order_are_refused_as_gone() -> None:
    """The engine must learn that it was late, not that it succeeded."""
    frames: list[Bbo | Book | Trade] = [book(0), sale(500, BID - STEP, 1000)]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(1, BID)),
        (500, Cancel(1)),
        (501, Move(1, Side.BUY, BID - STEP, LOTS)),
    ]
    told = play(venue(frames), script, 2000)

    assert fills(told) == [(500, BID, 1000)]
    assert refusals(told) == [
        (Request.CANCEL, Rejection.GONE),
        (Request.MOVE, Rejection.GONE),
    ]


def test_move_loses_the_queue_and_keeps_the_cloid() -> None:
    """An amend is a cancel and a new order: the old place in the queue is gone."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(500, BID, 500),
        sale(1500, BID, 500),
        sale(1501, BID, 300),
    ]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(1, BID)),
        (1000, Move(1, Side.BUY, BID, 800)),
    ]
    told = play(venue(frames), script, 2000)

    assert fills(told) == [(1501, BID, 300)]
    oids = [e.oid for e in told if isinstance(e, Acked)]
    assert len(set(oids)) == 2
    updates = [(e.oid, e.state) for e in told if isinstance(e, OrderUpdate)]
    assert updates[1:] == [(oids[1], OrderState.OPEN), (oids[0], OrderState.CANCELED)]


def test_refused_move_leaves_the_old_order() -> None:
    """A refusal changes nothing: the old order still rests and fills."""
    frames: list[Bbo | Book | Trade] = [book(0), sale(1500, BID - STEP, 300)]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(1, BID)),
        (1000, Move(1, Side.BUY, ASK, 800)),
    ]
    told = play(venue(frames), script, 2000)

    assert refusals(told) == [(Request.MOVE, Rejection.POST_ONLY)]
    assert fills(told) == [(1500, BID, 300)]


@pytest.mark.parametrize(
    ("frames", "is_refused"),
    [
        ([book(0)], False),
        ([book(0), bbo(150, BID - 50, 10, BID, 10)], True),
        ([book(0), bbo(150, BID - 50, 10, BID, 10), bbo(160, BID, 10, ASK, 10)], True),
        ([book(0), bbo(201, BID - 50, 10, BID, 10)], False),
        ([book(0), bbo(200, BID - 50, 10, BID, 10)], True),
    ],
)
def test_post_only_is_refused_if_the_touch_met_it_in_flight(
    frames: list[Bbo | Book], is_refused: bool
) -> None:
    """An order sent at 100 arrives at 200; what would have matched it then is a refusal."""
    told = play(venue(frames, order_ms=100), [(100, buy(1, BID))], 2000)

    assert (refusals(told) == [(Request.PLACE, Rejection.POST_ONLY)]) is is_refused
    assert any(isinstance(e, Acked) for e in told) is not is_refused


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (buy(1, ASK), Rejection.POST_ONLY),
        (buy(1, BID, 50), Rejection.MIN_NOTIONAL),
        (buy(1, BID, 0), Rejection.SIZE),
        (buy(1, BID + 1), Rejection.TICK),
        (buy(1, BID, is_reduce_only=True), Rejection.REDUCE_ONLY),
        (Place(1, Side.BUY, BID, LOTS, tif=Tif.IOC), Rejection.OTHER),
    ],
)
def test_orders_the_venue_would_refuse_are_refused(place: Place, reason: Rejection) -> None:
    """A backtest that accepts what the venue refuses flatters the program."""
    assert refusals(play(venue([book(0)]), [(100, place)], 2000)) == [(Request.PLACE, reason)]


def test_own_crossing_order_is_refused() -> None:
    """Our own ask is part of the book that a post-only bid must not meet."""
    told = play(venue([book(0)]), [(100, sell(1, ASK - 20)), (101, buy(2, ASK - 20))], 2000)

    assert refusals(told) == [(Request.PLACE, Rejection.POST_ONLY)]


def test_reduce_only_never_turns_the_position() -> None:
    """The remainder of a closing order goes when the position is flat, as at the venue."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(500, BID - STEP, 300),
        purchase(1500, ASK + STEP, 900),
    ]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(1, BID)),
        (1000, sell(2, ASK, 800, is_reduce_only=True)),
    ]
    exchange = venue(frames)
    told = play(exchange, script, 2000)

    assert fills(told)[-1] == (1500, ASK, 300)
    assert exchange.position_lots == 0
    last = [e for e in told if isinstance(e, OrderUpdate)][-1]
    assert (last.cloid, last.status) == (2, "reduceOnlyCanceled")


def test_dust_is_closed_by_an_order_below_the_minimum() -> None:
    """Less than ten dollars can leave the account only by a reduce-only order of all of it."""
    frames: list[Bbo | Book | Trade] = [
        book(0),
        sale(500, BID - STEP, 30),
        purchase(1500, ASK + STEP, 900),
    ]
    script: list[tuple[int, Place | Move | Cancel]] = [
        (100, buy(1, BID)),
        (1000, sell(2, ASK, 20, is_reduce_only=True)),
        (1001, sell(3, ASK, 30, is_reduce_only=True)),
    ]
    told = play(venue(frames), script, 2000)

    assert refusals(told) == [(Request.PLACE, Rejection.MIN_NOTIONAL)]
    assert fills(told)[-1] == (1500, ASK, 30)


@pytest.mark.parametrize(
    ("px", "frames", "ahead"),
    [
        (BID, [book(0)], 500),
        (BID - STEP, [book(0)], 1000),
        (BID + 2 * STEP, [book(0)], 0),
        (BID - 2 * STEP, [book(0)], 1500),
        (BID - 3 * STEP, [book(0)], 1500),
        (BID, [book(0), bbo(50, BID, 77)], 77),
        (BID, [book(0), bbo(50, BID, 77), bbo(150, BID, 99), bbo(180, BID, 5)], 99),
        (BID + STEP, [book(0), bbo(50, BID + 2 * STEP, 40)], 1500),
    ],
)
def test_queue_is_the_recorded_size_and_conservative_where_unknown(
    px: int, frames: list[Bbo | Book], ahead: int
) -> None:
    """
    Touch, level, inside the spread, deepest level, below it, newer touch, in flight, above it.

    The order is sent at 100 and arrives at 200, and a sale of just one lot more than the queue
    fills one lot.
    """
    told = play(
        venue([*frames, sale(1000, px, ahead + 1)], order_ms=100), [(100, buy(1, px))], 2000
    )

    assert fills(told) == [(1000, px, 1)]


def test_what_trades_during_the_flight_is_no_longer_ahead() -> None:
    """An order arrives behind what is left: 500 rested when it was sent, 200 of it traded."""
    at_price: list[Bbo | Book | Trade] = [book(0), sale(150, BID, 200), sale(1000, BID, 301)]
    through: list[Bbo | Book | Trade] = [book(0), sale(150, BID - STEP, 1), sale(1000, BID, 5)]
    script: list[tuple[int, Place | Move | Cancel]] = [(100, buy(1, BID))]

    assert fills(play(venue(at_price, order_ms=100), script, 2000)) == [(1000, BID, 1)]
    assert fills(play(venue(through, order_ms=100), script, 2000)) == [(1000, BID, 5)]


def test_fill_is_told_when_its_trade_is_received() -> None:
    """The engine must not know of a fill before the feed could have told it."""
    exchange = venue([book(0), sale(1000, BID - STEP, 400)])
    exchange.advance(at(100))
    exchange.send(at(100), places=[buy(1, BID)])
    exchange.advance(at(1399))
    early = exchange.take(at(1399))
    exchange.advance(at(1400))

    assert not any(isinstance(event, Fill) for event in early)
    assert exchange.next_due_ns() == at(1400)
    assert any(isinstance(event, Fill) for event in exchange.take(at(1400)))


def test_clock_of_the_venue_is_brought_onto_ours() -> None:
    """The venue's clock ran 500 ms ahead: its trade of 1000 happened at 500 by ours."""
    params = RecordedVenueParams(order_latency_ms=0, reply_latency_ms=0)
    frames: list[Bbo | Book | Trade] = [book(0), sale(1000, BID - STEP, 400)]
    exchange = RecordedVenue(
        frames, instrument=COIN, fees=FEES, params=params, lead_ns=500 * NS_PER_MS
    )

    assert fills(play(exchange, [(600, buy(1, BID))], 3000)) == []


def test_query_tells_what_became_of_an_order() -> None:
    """An order without a verdict is asked after; the answers are open, gone and never seen."""
    exchange = venue([book(0), sale(500, BID - STEP, 1000)])
    exchange.advance(at(100))
    exchange.send(at(100), places=[buy(1, BID), buy(2, BID - STEP)])
    exchange.advance(at(600))
    exchange.take(at(1000))
    exchange.send(at(1000), queries=[Query(1), Query(2), Query(3)])
    exchange.advance(at(1200))

    filled, resting, missing = exchange.take(at(1200))
    assert isinstance(filled, OrderUpdate)
    assert isinstance(resting, OrderUpdate)
    assert (filled.state, resting.state) == (OrderState.FILLED, OrderState.OPEN)
    assert missing == OrderMissing(at(1150), 3)


def test_orders_passed_by_the_book_without_a_trade_are_counted() -> None:
    """In a hole nothing traded on record; the count says how much the result rests on luck."""
    frames: list[Bbo | Book | Trade] = [book(0), book(5000, bid=BID - 500, ask=ASK - 500)]
    exchange = venue(frames)
    told = play(exchange, [(100, buy(1, BID)), (6000, Cancel(1))], 7000)

    assert fills(told) == []
    assert exchange.crossed_unfilled == 1


def test_sending_into_the_past_is_an_error() -> None:
    """An order that could choose its moment after the fact would be a look into the future."""
    exchange = venue([book(0), book(1000)])
    exchange.advance(at(1000))

    with pytest.raises(ValueError, match="before the last frame"):
        exchange.send(at(999), places=[buy(1, BID)])


# --- properties -----------------------------------------------------------------------------------

PRICES = [BID - STEP * i for i in range(-3, 6)]
_ticks = st.sampled_from(PRICES)
_ms = st.integers(1, 3000)


@st.composite
def markets(draw: st.DrawFn) -> list[Bbo | Book | Trade]:
    """Random books, touches and trades; the touch may cross prices that we quote."""
    frames: list[Bbo | Book | Trade] = [book(0)]
    for n in range(draw(st.integers(0, 25))):
        ms, kind = draw(_ms), draw(st.integers(0, 4))
        lots = draw(st.integers(1, 2000))
        if kind == 0:
            bid = draw(_ticks)
            frames.append(book(ms, bid=bid, ask=bid + draw(st.integers(1, 8)) * STEP, bid_sz=lots))
        elif kind == 1:
            bid = draw(_ticks)
            frames.append(bbo(ms, bid, lots, bid + draw(st.integers(1, 8)) * STEP))
        elif kind == 2:
            frames.append(purchase(ms, draw(_ticks), lots, tid=n + 1))
        else:
            frames.append(sale(ms, draw(_ticks), lots, tid=n + 1))
    kinds = ("Trade", "Bbo", "Book")
    return sorted(frames, key=lambda frame: (frame.venue_ms, kinds.index(type(frame).__name__)))


@st.composite
def scripts(draw: st.DrawFn, *, at_once: bool = False) -> list[tuple[int, Place]]:
    """
    Bids sent at any time, or a ladder of distinct prices sent at once.

    A script never changes its mind: what an engine would do about a fill is not in question here.
    """
    prices = draw(st.lists(_ticks, min_size=1, max_size=5, unique=at_once))
    n_orders = len(prices)
    sent = sorted(draw(st.lists(_ms, min_size=n_orders, max_size=n_orders)))
    if at_once:
        sent = sent[:1] * n_orders
    sizes = draw(st.lists(st.integers(60, 1500), min_size=len(prices), max_size=len(prices)))
    return [
        (ms, buy(n + 1, px, lots))
        for n, (ms, px, lots) in enumerate(zip(sent, prices, sizes, strict=True))
    ]


@settings(max_examples=often(40, thoroughly=300), deadline=None)
@given(frames=markets(), script=scripts(), latency_ms=st.integers(0, 800))
def test_fills_are_bounded_by_recorded_volume(
    frames: list[Bbo | Book | Trade], script: list[tuple[int, Place]], latency_ms: int
) -> None:
    """
    Every fill belongs to one recorded trade at or through its price.

    All fills of one trade are together no larger than it, so neither are those at any price.
    """
    told = play(venue(frames, order_ms=latency_ms), script, 10_000)

    trades = {f.tid: f for f in frames if isinstance(f, Trade)}
    taken: Counter[int] = Counter()
    filled: Counter[int | None] = Counter()
    for fill in (e for e in told if isinstance(e, Fill)):
        trade = trades[fill.tid]
        assert trade.side is fill.side.opposite
        assert trade.px_ticks <= fill.px_ticks
        taken[fill.tid] += fill.sz_lots
        filled[fill.cloid] += fill.sz_lots
    assert all(lots <= trades[tid].sz_lots for tid, lots in taken.items())
    assert all(filled[place.cloid] <= place.sz_lots for _, place in script)


@settings(max_examples=often(40, thoroughly=300), deadline=None)
@given(
    frames=markets(),
    script=scripts(),
    latency_ms=st.integers(0, 800),
    factor=st.floats(0, 4),
    more=st.floats(1, 3),
)
def test_longer_queue_never_adds_fills(
    frames: list[Bbo | Book | Trade],
    script: list[tuple[int, Place]],
    latency_ms: int,
    factor: float,
    more: float,
) -> None:
    """For a fixed script of orders, in total; doubling the queue is the case `more` = 2."""
    near = venue(frames, order_ms=latency_ms, queue_factor=factor)
    far = venue(frames, order_ms=latency_ms, queue_factor=factor * more)
    few = sum(lots for _, _, lots in fills(play(far, script, 10_000)))
    many = sum(lots for _, _, lots in fills(play(near, script, 10_000)))

    assert few <= many


@settings(max_examples=often(40, thoroughly=300), deadline=None)
@given(
    frames=markets(),
    script=scripts(at_once=True),
    latency_ms=st.integers(0, 800),
    more=st.floats(1, 3),
)
def test_longer_latency_never_adds_fills(
    frames: list[Bbo | Book | Trade],
    script: list[tuple[int, Place]],
    latency_ms: int,
    more: float,
) -> None:
    """
    For a ladder of distinct prices sent at once and never cancelled, in total.

    Not for more than that: a cancel that arrives later lets its order fill longer, and an order
    still in flight leaves a trade to one of ours at a worse price, which it would have taken first.
    """
    soon = fills(play(venue(frames, order_ms=latency_ms), script, 10_000))
    late = fills(play(venue(frames, order_ms=latency_ms * more), script, 10_000))

    assert sum(lots for _, _, lots in late) <= sum(lots for _, _, lots in soon)


@settings(max_examples=often(40, thoroughly=100), deadline=None)
@given(frames=markets(), script=scripts(), latency_ms=st.integers(0, 800))
def test_same_script_gives_the_same_events(
    frames: list[Bbo | Book | Trade], script: list[tuple[int, Place]], latency_ms: int
) -> None:
    """A backtest that differs from run to run compares nothing."""
    one = play(venue(frames, order_ms=latency_ms), script, 10_000)
    two = play(venue(frames, order_ms=latency_ms), script, 10_000)

    assert msgspec.json.encode(one) == msgspec.json.encode(two)


@pytest.mark.data
@pytest.mark.parametrize("coin", ["BTC", "ETH", "SOL", "WLFI"])
def test_queue_and_latency_cost_fills_on_a_recorded_market(coin: str) -> None:
    """The properties hold on real frames too: a ladder at the touch of every tenth book."""
    instrument, fees = listed_instrument(coin)
    recording = read_recording(data_dir("hl-l2-20250904"), instrument)
    books = [f for f in recording.frames if isinstance(f, Book)][:1000:10]

    def filled(order_ms: float, queue_factor: float) -> int:
        params = RecordedVenueParams(order_latency_ms=order_ms, queue_factor=queue_factor)
        exchange = RecordedVenue(
            recording.happened, instrument=instrument, fees=fees, params=params
        )
        lots = 0
        for n, seen in enumerate(books):
            exchange.advance(seen.recv_ns)
            level = seen.bids[n % 5]
            exchange.send(
                seen.recv_ns, places=[Place(n + 1, Side.BUY, level.px_ticks, 20 * level.sz_lots)]
            )
        exchange.advance(recording.end_ns)
        for event in exchange.take(recording.end_ns + 10**12):
            lots += event.sz_lots if isinstance(event, Fill) else 0
        sold = sum(
            f.sz_lots for f in recording.happened if isinstance(f, Trade) and f.side is Side.SELL
        )
        assert lots <= sold
        return lots

    base = filled(200, 1)
    assert 0 < filled(200, 2) <= base
    assert filled(200, 0) >= base
