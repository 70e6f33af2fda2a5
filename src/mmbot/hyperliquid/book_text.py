"""
Books in exactly the text the venue writes, read twice as fast as by the general decoder.

A book is the longest frame there is, and most of reading it is 80 decimal strings on their way to
integers. Multiplying and rounding 80 floats in Python costs more than parsing them, so the scaling
is moved into the text: one `bytes.translate` turns the levels

    [[{"px":"21.277","sz":"80.29","n":2},{"px":"21.276","sz":"317.1","n":2}],[...]]

into the numbers

    [[0,21.277e4,80.29e2,2e0,21.276e4,317.1e2,2],[...]]

which msgspec parses to integers, and refuses where one is not whole: the decimal point is moved
exactly and the check of the grid is part of the parse. Each character of the scaffold has one role:
`,` becomes `e`; `s` and `n`, which follow the price and the size, become their exponents; `{`
becomes the exponent (0) of the count before it; `:` becomes the separator; the rest is dropped.
The comma between the two sides is put back.

Any other text (keys in another order, a new key, white space, a number off the grid) does not come
out as such a list. It is left to the general decoder, whose word is final. Both agree on every
book; a property test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from mmbot.core.events import Book, Level
from mmbot.core.types import PX_DECIMALS, Instrument
from mmbot.hyperliquid.wire_types import DECODE_ERRORS

_LEVELS: Final = b',"levels":['
_TIME_DIGITS_MAX: Final = 18
_TAILS: Final = {b"}}": None, b',"fast":true}}': True, b',"fast":false}}': False}
"""What may follow the levels, and what it says of the stream."""
_DROPPED: Final = b'"pxz}'
_NUMBERS: Final = msgspec.json.Decoder(tuple[list[int], list[int]], strict=False)


class BookText:
    """Reads `l2Book` frames of one instrument in the venue's own format."""

    __slots__ = ("_roles", "head")

    def __init__(self, instrument: Instrument) -> None:
        self.head: Final = (
            f'{{"channel":"l2Book","data":{{"coin":"{instrument.coin}","time":'.encode()
        )
        """What such a frame starts with."""
        px_exponent, sz_exponent = PX_DECIMALS - instrument.sz_decimals, instrument.sz_decimals
        self._roles = bytes.maketrans(b",sn{:", b"e%d%d0," % (px_exponent, sz_exponent))

    def read(self, frame: bytes, recv_ns: int, is_fast: Callable[[int, int], bool]) -> Book | None:
        """
        Read a frame that starts with `head`; None when it is for the general decoder.

        Args:
            frame: The message.
            recv_ns: When we got it.
            is_fast: What a frame without the `fast` key is, by its numbers of bids and asks.
        """
        levels_at = frame.find(_LEVELS, len(self.head))
        end = frame.rfind(b"]]") + 2
        time, tail = frame[len(self.head) : levels_at], frame[end:]
        if levels_at < 0 or tail not in _TAILS:
            return None
        if not time.isdigit() or len(time) > _TIME_DIGITS_MAX:
            return None
        text = frame[levels_at + len(_LEVELS) - 1 : end]
        if b"-" in text:
            return None
        numbers = text.translate(self._roles, _DROPPED).replace(b"]e[", b"],[")
        try:
            bids, asks = _NUMBERS.decode(numbers)
        except DECODE_ERRORS:
            return None
        bid_px, ask_px = bids[1::3], asks[1::3]
        # A side is empty, or whole levels of positive price.
        if (bids and (len(bids) % 3 != 1 or not all(bid_px))) or (
            asks and (len(asks) % 3 != 1 or not all(ask_px))
        ):
            return None
        flag = _TAILS[tail]
        return Book(
            recv_ns,
            int(time),
            tuple(map(Level, bid_px, bids[2::3])),
            tuple(map(Level, ask_px, asks[2::3])),
            is_fast(len(bid_px), len(ask_px)) if flag is None else flag,
        )
