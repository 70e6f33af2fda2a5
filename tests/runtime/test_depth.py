"""Both books reach the engine: the fast one for freshness, the plain one for what lies behind."""

from __future__ import annotations

from mmbot.core.events import Book
from runtime.pipe_rig import PipeRun


def test_the_engine_has_the_plain_book_behind_the_fast_one() -> None:
    """Five rungs of ours can fill all five levels; without the rest there would be no price."""
    run = PipeRun()
    run.start()
    run.run(12)

    books: dict[bool, Book] = {
        fast: book for fast, (book, _) in run.trader.engine.book._books.items()
    }
    assert books.keys() == {True, False}
    assert len(books[True].bids) == len(books[True].asks) == 5
    assert len(books[False].bids) > 5
    assert len(books[False].asks) > 5
    assert books[False].venue_ms <= books[True].venue_ms
    assert run.trader.engine.book.venue_ms >= books[True].venue_ms
    assert run.stop().exit_code == 0
