"""The short way to a book agrees with the long one on every book, and knows when to step aside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.events import Book, Level
from mmbot.core.types import Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.book_text import BookText
from mmbot.hyperliquid.wire import Decoder

_MS = 1_736_682_893_796
_NOW = _MS * 1_000_000


def _instrument(sz_decimals: int) -> Instrument:
    return Instrument(
        coin="xyz:NVDA", dex="xyz", asset_id=1, sz_decimals=sz_decimals, max_leverage=5
    )


def _text(value: int, decimals: int) -> str:
    """A number as the venue writes it: at least one decimal, no trailing zeros beyond it."""
    whole, part = divmod(value, 10**decimals)
    fraction = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole}.{fraction or '0'}"


def _data(sz_decimals: int, sides: list[list[tuple[int, int, int]]], **more: Any) -> dict[str, Any]:
    levels = [
        [
            {"px": _text(px, 6 - sz_decimals), "sz": _text(sz, sz_decimals), "n": n}
            for px, sz, n in side
        ]
        for side in sides
    ]
    return {"coin": "xyz:NVDA", "time": _MS, "levels": levels, **more}


def _compact(data: dict[str, Any]) -> bytes:
    return json.dumps({"channel": "l2Book", "data": data}, separators=(",", ":")).encode()


_SIDE = st.lists(
    st.tuples(st.integers(1, 10**11), st.integers(0, 10**11), st.integers(1, 500)), max_size=20
)


@settings(deadline=None)
@given(
    sz_decimals=st.integers(0, 6),
    bids=_SIDE,
    asks=_SIDE,
    more=st.sampled_from([{}, {"fast": True}, {"fast": False}]),
    is_fast=st.booleans(),
)
def test_short_way_reads_what_was_written_and_what_the_long_way_reads(
    sz_decimals: int,
    bids: list[tuple[int, int, int]],
    asks: list[tuple[int, int, int]],
    more: dict[str, bool],
    is_fast: bool,
) -> None:
    """Two ways to one event must never differ, or a replay would differ from the run."""
    instrument = _instrument(sz_decimals)
    data = _data(sz_decimals, [bids, asks], **more)
    decoder = Decoder(instrument, user="0x0")

    short = BookText(instrument).read(_compact(data), _NOW, lambda _bids, _asks: is_fast)
    # White space is enough to make the decoder take the long way.
    (long,) = decoder.decode(json.dumps({"channel": "l2Book", "data": data}).encode(), _NOW)

    expected = Book(
        _NOW,
        _MS,
        tuple(Level(px, sz) for px, sz, _ in bids),
        tuple(Level(px, sz) for px, sz, _ in asks),
        more.get("fast", is_fast),
    )
    assert short == expected
    assert isinstance(long, Book)
    assert (long.venue_ms, long.bids, long.asks) == (_MS, expected.bids, expected.asks)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"px":"219.05","sz":"43.057"', b'"sz":"43.057","px":"219.05"'),
        (b'"n":4', b'"n":4,"m":1'),
        (b'"n":4', b'"n":4.5'),
        (b'"219.05"', b'"219.0505"'),
        (b'"219.05"', b'"-219.05"'),
        (b'"219.05"', b'"0.0"'),
        (b'"43.057"', b'"43.0575"'),
        (b'"43.057"', b'"-43.057"'),
        (b'"43.057"', b'"nan"'),
        (b'"43.057"', b"null"),
        (b',"n":4', b""),
        (b"}]],", b"}]],,"),
        (b"],[", b"],,["),
        (b'"fast":true', b'"fast":null'),
        (b'"fast":true', b'"slow":true'),
        (b"1736682893796", b"17366828937.96"),
        (b"1736682893796", b"1" * 30),
        (b'"levels"', b'"layers"'),
    ],
)
def test_short_way_steps_aside_for_any_other_text(before: bytes, after: bytes) -> None:
    """Reading on in a format that has changed would put wrong prices into the book."""
    frame = _compact(_data(3, [[(219_050, 43_057, 4)], [(219_060, 1_000, 1)]], fast=True))
    assert frame.count(before) == 1
    text = BookText(_instrument(3))
    assert text.read(frame, _NOW, lambda _bids, _asks: False) is not None

    assert text.read(frame.replace(before, after), _NOW, lambda _bids, _asks: False) is None


@pytest.mark.parametrize("px", ["219.0505", "-219.05", "0.0"])
def test_price_the_short_way_refuses_is_refused_by_the_decoder(px: str) -> None:
    """The long way has the last word, and says what is wrong."""
    frame = _compact(_data(3, [[(219_050, 43_057, 4)], []])).replace(b"219.05", px.encode())

    with pytest.raises(VenueProtocolError):
        Decoder(_instrument(3), user="0x0").decode(frame, _NOW)


def test_frame_of_another_coin_does_not_start_like_ours() -> None:
    """`BTC` must not match `BTCX`, nor the main dex a builder's."""
    head = BookText(_instrument(3)).head

    assert not _compact(_data(3, [[], []]) | {"coin": "NVDA"}).startswith(head)
    assert not _compact(_data(3, [[], []]) | {"coin": "xyz:NVDAX"}).startswith(head)
