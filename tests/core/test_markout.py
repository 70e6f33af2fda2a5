"""What the market did after our fills, with its sign."""

from __future__ import annotations

import pytest

from mmbot.core.book import BookState
from mmbot.core.events import Bbo, Fill, Level
from mmbot.core.markout import Markouts
from mmbot.core.types import Instrument, Side

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)


def tell(book: BookState, ms: int, mid: int) -> None:
    book.apply(Bbo(ms * 10**6, ms, Level(mid - 10, 1), Level(mid + 10, 1)))


def fill(ms: int, side: Side, px: int, lots: int = 100) -> Fill:
    return Fill(ms * 10**6, ms, ms, 1, None, side, px, lots, 0.0, 0.0, 0, is_taker=False)


@pytest.mark.parametrize(
    ("side", "after", "adverse"),
    [
        (Side.BUY, 990_000, 100.0),
        (Side.BUY, 1_010_000, -100.0),
        (Side.SELL, 1_010_000, 100.0),
        (Side.SELL, 990_000, -100.0),
    ],
)
def test_a_move_against_the_fill_is_positive(side: Side, after: int, adverse: float) -> None:
    """Buy at 100 and the mid at 99 later: adverse 100 bps. The predecessor had it inverted."""
    book, markouts = BookState(HYPE), Markouts()
    tell(book, 1000, 1_000_000)
    markouts.on_fill(fill(1500, side, 1_000_000), book)
    tell(book, 2000, after)
    tell(book, 2501, after)
    markouts.advance(book)
    assert markouts.adverse_bps(1) == pytest.approx(adverse)
    assert markouts.adverse_bps(5) is None


def test_the_mid_of_a_fill_is_the_last_one_strictly_before_it() -> None:
    """The frame of the fill's own millisecond already shows what it did."""
    book, markouts = BookState(HYPE), Markouts()
    tell(book, 1000, 1_000_000)
    tell(book, 1500, 999_000)
    edge = markouts.on_fill(fill(1500, Side.BUY, 999_900), book)
    assert edge == pytest.approx(1.0)
    assert markouts.spread_capture_usd == pytest.approx(100 * 100 * 1e-6)


def test_horizons_take_the_last_mid_at_or_before_their_time() -> None:
    """Not the first one after it: nothing later than the horizon may enter."""
    book, markouts = BookState(HYPE), Markouts()
    tell(book, 1000, 1_000_000)
    markouts.on_fill(fill(1001, Side.BUY, 1_000_000), book)
    for ms, mid in ((2001, 999_900), (2002, 990_000), (6001, 999_800), (31_001, 999_700)):
        tell(book, ms, mid)
        markouts.advance(book)
    assert markouts.adverse_bps(1) == pytest.approx(1.0)
    assert markouts.adverse_bps(5) == pytest.approx(2.0)
    assert markouts.adverse_bps(30) is None
    tell(book, 31_002, 1_000_000)
    markouts.advance(book)
    assert markouts.adverse_bps(30) == pytest.approx(3.0)


def test_means_are_weighted_by_notional() -> None:
    """A large bad fill outweighs a small good one: the figure is money."""
    book, markouts = BookState(HYPE), Markouts()
    tell(book, 1000, 1_000_000)
    markouts.on_fill(fill(1001, Side.BUY, 1_000_000, 300), book)
    markouts.on_fill(fill(1002, Side.SELL, 1_000_000, 100), book)
    tell(book, 1500, 999_000)
    tell(book, 5000, 999_000)
    markouts.advance(book)
    assert markouts.adverse_bps(1) == pytest.approx((300 * 10 - 100 * 10) / 400)


def test_a_fill_without_a_mid_is_counted_not_guessed() -> None:
    """No book before the fill: neither capture nor markout."""
    markouts = Markouts()
    assert markouts.on_fill(fill(1, Side.BUY, 100), BookState(HYPE)) is None
    assert markouts.unmarked == 1
    assert markouts.spread_capture_usd == 0.0


def test_a_horizon_that_nobody_watched_is_counted_not_guessed() -> None:
    """Across a lost link the last mid before it would say that the market stood still."""
    book, markouts = BookState(HYPE), Markouts()
    tell(book, 1000, 1_000_000)
    markouts.on_fill(fill(1500, Side.BUY, 1_000_000), book)
    book.forget()
    tell(book, 400_000, 950_000)
    assert markouts.on_fill(fill(300_000, Side.SELL, 960_000), book) is None
    markouts.advance(book)
    assert markouts.adverse_bps(1) == pytest.approx(0.0)
    assert markouts.adverse_bps(30) is None
    assert markouts.adverse_bps(300) is None
    assert markouts.unmarked == 5
    # Equity is not guessed either: both fills are in the ledger, to the cent.
    assert markouts.ledger(950_000).edge_usd == pytest.approx(100 * (960_000 - 1_000_000) * 1e-6)
