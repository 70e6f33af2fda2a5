"""Touch, fair price and remembered mids out of several streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.book import BookParams, BookState
from mmbot.core.events import Bbo, Book, Level
from mmbot.core.footprint import OwnLevel
from mmbot.core.types import Instrument, Side

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)


def bbo(ms: int, bid: int, ask: int, qb: int = 10, qa: int = 10) -> Bbo:
    return Bbo(ms * 10**6, ms, Level(bid, qb), Level(ask, qa))


def book(ms: int, bid: int, ask: int, *, is_fast: bool = True) -> Book:
    return Book(ms * 10**6, ms, (Level(bid, 10),), (Level(ask, 10),), is_fast)


def test_the_freshest_stream_by_venue_time_gives_the_touch() -> None:
    """An old slow book after a new bbo must not bring an old price back."""
    state = BookState(HYPE)
    assert state.apply(bbo(100, 261990, 262010))
    assert not state.apply(book(60, 261000, 261100, is_fast=False))
    assert state.mid_ticks == 262000
    assert state.dropped == 0
    assert state.apply(book(150, 262090, 262110))
    assert state.mid_ticks == 262100


def test_a_frame_older_than_its_own_stream_is_dropped_and_counted() -> None:
    """Out of order within a stream means stale, whatever it says."""
    state = BookState(HYPE)
    state.apply(bbo(100, 261990, 262010))
    assert not state.apply(bbo(99, 250000, 250010))
    assert state.dropped == 1
    assert state.mid_ticks == 262000


def test_the_same_frame_twice_changes_nothing() -> None:
    """Idempotence of what is read from it."""
    state = BookState(HYPE)
    frame = bbo(100, 261990, 262010, qb=30)
    state.apply(frame)
    before = (state.fair_ticks, state.mid_ticks, state.valid_recv_ns, list(state.mids))
    state.apply(frame)
    assert before == (state.fair_ticks, state.mid_ticks, state.valid_recv_ns, list(state.mids))


@given(
    bid=st.integers(1, 10**6),
    width=st.integers(1, 5000),
    qb=st.integers(1, 10**6),
    qa=st.integers(1, 10**6),
)
def test_the_fair_price_stays_inside_the_touch_and_three_bps_of_the_mid(
    bid: int, width: int, qb: int, qa: int
) -> None:
    """And leans towards the thinner side; mirrored sizes lean alike the other way."""
    state = BookState(HYPE)
    state.apply(bbo(1, bid, bid + width, qb, qa))
    mid, fair = state.mid_ticks, state.fair_ticks
    assert mid is not None
    assert fair is not None
    assert bid <= fair <= bid + width
    assert abs(fair - mid) <= mid * 3e-4 + 1e-9
    assert (fair - mid) * (qb - qa) >= -1e-9
    mirror = BookState(HYPE)
    mirror.apply(bbo(1, bid, bid + width, qa, qb))
    assert mirror.fair_ticks == pytest.approx(2 * mid - fair, abs=1e-6)


def test_a_bound_of_zero_takes_the_mid() -> None:
    """The lean is optional; its bound is the switch."""
    state = BookState(HYPE, BookParams(micro_bps_max=0.0))
    state.apply(bbo(1, 261000, 262000, qb=100, qa=1))
    assert state.fair_ticks == state.mid_ticks


@pytest.mark.parametrize(
    ("bid", "ask", "says"),
    [
        (None, None, "empty book"),
        (Level(10, 1), None, "one-sided book"),
        (None, Level(10, 1), "one-sided book"),
        (Level(11, 1), Level(10, 1), "crossed book"),
        (Level(10, 1), Level(10, 1), "crossed book"),
        (Level(10, 0), Level(11, 1), "book with a zero"),
    ],
)
def test_a_book_that_prices_nothing_is_absent_and_named(
    bid: Level | None, ask: Level | None, says: str
) -> None:
    """Its age is that of the last good one, so staleness goes on counting."""
    state = BookState(HYPE)
    assert state.touch_age_ns(5) is None
    state.apply(bbo(100, 261990, 262010))
    state.apply(Bbo(200 * 10**6, 200, bid, ask))
    assert state.fair_ticks is None
    assert state.mid_ticks is None
    assert state.invalid == says
    assert state.last_mid_ticks == 262000
    assert state.touch_age_ns(200 * 10**6) == 100 * 10**6
    state.apply(bbo(300, 261990, 262010))
    assert state.invalid is None


def test_mids_are_found_by_venue_time_strictly_before_and_at() -> None:
    """A fill's own millisecond already shows the fill: the mid before it is the one before."""
    state = BookState(HYPE)
    for ms, mid in ((100, 262000), (200, 262010), (200, 262020), (300, 262030)):
        state.apply(bbo(ms, mid - 10, mid + 10))
    assert state.mid_before(100) is None
    assert state.mid_before(200) == 262000
    assert state.mid_before(201) == 262020
    assert state.mid_at(200) == 262020
    assert state.mid_at(299) == 262020
    assert state.mid_at(50) is None


def test_nothing_is_priced_across_a_lost_link() -> None:
    """The touch is forgotten; the value of the position is not."""
    state = BookState(HYPE)
    state.apply(bbo(100, 261990, 262010))
    state.forget()
    assert state.fair_ticks is None
    assert state.last_mid_ticks == 262000


# -- without our own orders -----------------------------------------------------------------------

ALONE = OwnLevel(10)


def deep_book(ms: int, bids: list[int], asks: list[int], *, is_fast: bool = True) -> Book:
    return Book(
        ms * 10**6,
        ms,
        tuple(Level(px, 10) for px in bids),
        tuple(Level(px, 10) for px in asks),
        is_fast,
    )


def test_behind_a_touch_of_ours_the_next_level_of_others_is_the_touch() -> None:
    """The shown touch stays what it is; what is priced from lies behind it."""
    state = BookState(HYPE)
    ours = {262_050: OwnLevel(10), 262_040: OwnLevel(4), -262_100: OwnLevel(3)}
    book = deep_book(100, [262_050, 262_040, 262_000], [262_100, 262_200])
    assert state.apply(book, ours)
    assert (state.bid, state.ask) == (Level(262_050, 10), Level(262_100, 10))
    assert (state.others_bid, state.others_ask) == (Level(262_040, 6), Level(262_100, 7))
    assert state.mid_ticks == 262_070
    assert state.mids[-1] == (100, 262_070)


def test_a_newer_bbo_of_ours_is_backed_by_the_levels_beyond_it_of_the_newest_book() -> None:
    """What the book shows at that price or better is history; each frame loses its own orders."""
    state = BookState(HYPE)
    early = {262_040: ALONE}
    state.apply(deep_book(90, [262_060, 262_050, 262_040, 262_000], [262_100]), early)
    assert state.apply(bbo(100, 262_050, 262_100), {262_050: ALONE})
    assert state.others_bid == Level(262_000, 10)


def test_behind_the_last_level_of_the_fast_book_the_slow_one_is_asked() -> None:
    """Five levels may all be ours; the stream of whole books reaches farther."""
    state = BookState(HYPE)
    ours = {262_050: ALONE, 262_040: ALONE, 262_030: ALONE}
    state.apply(deep_book(90, [262_045, 262_030, 262_020], [262_100], is_fast=False), ours)
    state.apply(deep_book(100, [262_050, 262_040], [262_100]), ours)
    assert state.others_bid == Level(262_020, 10)


def test_a_book_too_old_for_the_touch_is_no_depth() -> None:
    """A side that nothing recent speaks of has no price."""
    state = BookState(HYPE)
    state.apply(deep_book(100, [262_050, 262_000], [262_100]), {262_050: ALONE})
    assert state.apply(bbo(10_100, 262_050, 262_100), {262_050: ALONE})
    assert state.others_bid == Level(262_000, 10)
    state.apply(bbo(10_101, 262_050, 262_100), {262_050: ALONE})
    assert state.others_bid is None
    assert state.fair_ticks is None
    assert state.invalid == "no orders but ours on a side"
    assert state.last_mid_ticks == 262_050


def test_an_older_book_that_arrives_late_still_tells_what_lies_behind_our_touch() -> None:
    """The touch in hand is newer than it, and stays; without one of ours nothing happens."""
    state = BookState(HYPE)
    state.apply(bbo(100, 262_050, 262_100), {262_050: ALONE})
    assert state.fair_ticks is None
    assert state.apply(deep_book(80, [262_050, 262_000], [262_100]), {262_050: ALONE})
    assert state.mid_ticks == 262_050
    assert state.venue_ms == 100
    state.apply(bbo(110, 262_060, 262_100))
    assert not state.apply(deep_book(105, [262_000], [262_100]))
    assert state.mid_ticks == 262_080


def test_after_a_lost_link_no_depth_of_before_backs_a_touch() -> None:
    """Books are forgotten with the touch."""
    state = BookState(HYPE)
    state.apply(deep_book(100, [262_050, 262_000], [262_100]))
    state.forget()
    state.apply(bbo(110, 262_050, 262_100), {262_050: ALONE})
    assert state.others_bid is None


@given(
    levels=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 100)), max_size=8, unique_by=lambda it: it[0]
    ),
    own=st.dictionaries(st.integers(1, 40), st.integers(1, 120), max_size=8),
)
def test_the_book_of_others_is_the_shown_one_less_ours_level_by_level(
    levels: list[tuple[int, int]], own: dict[int, int]
) -> None:
    """Against the plain definition, on both sides at once and mirrored."""
    depth = sorted(levels)
    others = [(d, sz - own.get(d, 0)) for d, sz in depth if sz > own.get(d, 0)]
    ours = {side * (1000 - side * d): OwnLevel(lots) for side in Side for d, lots in own.items()}
    state = BookState(HYPE)
    bids, asks = ([Level(1000 - side * d, sz) for d, sz in depth] for side in Side)
    state.apply(Book(1, 1, tuple(bids), tuple(asks), is_fast=True), ours)
    if not others:
        assert state.fair_ticks is None
        return
    assert state.others_bid == Level(1000 - others[0][0], others[0][1])
    assert state.others_ask == Level(1000 + others[0][0], others[0][1])
    assert state.fair_ticks == state.mid_ticks == 1000
