"""Touch, fair price and remembered mids out of several streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.book import BookParams, BookState
from mmbot.core.events import Bbo, Book, Level
from mmbot.core.types import Instrument

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
