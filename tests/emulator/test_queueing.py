"""Claims about what stood at a price of a recorded market."""

from __future__ import annotations

import pytest

from mmbot.core.events import Bbo, Book, Level
from mmbot.core.types import Side
from mmbot.emulator.queueing import RecordedBook

LEVELS = Book(
    0,
    0,
    (Level(100, 5), Level(98, 7), Level(96, 3)),
    (Level(102, 4), Level(103, 9), Level(105, 2)),
    is_fast=True,
)


def book(*frames: Bbo | Book, queue_factor: float = 1.0) -> RecordedBook:
    """A book that has seen `frames`."""
    made = RecordedBook(queue_factor)
    for frame in frames:
        made.apply(frame)
    return made


@pytest.mark.parametrize(
    ("side", "px", "lots"),
    [
        (Side.BUY, 101, 0),
        (Side.BUY, 100, 5),
        (Side.BUY, 99, 0),
        (Side.BUY, 98, 7),
        (Side.BUY, 96, 3),
        (Side.BUY, 95, 7),
        (Side.SELL, 101, 0),
        (Side.SELL, 102, 4),
        (Side.SELL, 104, 0),
        (Side.SELL, 105, 2),
        (Side.SELL, 106, 9),
    ],
)
def test_queue_of_a_whole_book(side: Side, px: int, lots: int) -> None:
    """Inside the spread, at a level, between levels; beyond the last one the largest stands in."""
    assert book(LEVELS).queue_lots(side, px) == lots


def test_newer_touch_goes_before_the_older_book() -> None:
    """Touches come ten times as often as books; between both nobody knows what rests."""
    seen = book(LEVELS, Bbo(1, 1, Level(103, 20), Level(110, 30)))

    assert seen.queue_lots(Side.BUY, 104) == 0
    assert seen.queue_lots(Side.BUY, 103) == 20
    assert seen.queue_lots(Side.BUY, 102) == 20
    assert seen.queue_lots(Side.BUY, 98) == 7
    assert seen.queue_lots(Side.SELL, 105) == 0
    assert seen.queue_lots(Side.SELL, 110) == 30


def test_factor_multiplies_and_rounds_up() -> None:
    """Half a lot ahead is a lot ahead."""
    seen = book(LEVELS, queue_factor=1.5)

    assert seen.queue_lots(Side.BUY, 100) == 8
    assert seen.queue_lots(Side.BUY, 98) == 11
    assert seen.queue_lots(Side.BUY, 90) == 11


def test_crossing_is_judged_by_the_newest_touch() -> None:
    """Meeting the touch is crossing; a side without orders cannot be met."""
    seen = book(LEVELS)
    assert seen.crosses(Side.BUY, 102)
    assert not seen.crosses(Side.BUY, 101)
    assert seen.crosses(Side.SELL, 100)
    assert not seen.crosses(Side.SELL, 101)

    seen.apply(Bbo(1, 1, None, Level(110, 1)))
    assert not seen.crosses(Side.SELL, 1)
    assert not seen.crosses(Side.BUY, 109)


def test_empty_book_has_no_queue_and_no_touch() -> None:
    """Before the first frame there is nothing to stand behind."""
    seen = book()

    assert seen.queue_lots(Side.BUY, 100) == 0
    assert not seen.crosses(Side.BUY, 100)
