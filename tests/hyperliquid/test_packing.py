"""Pieces of msgpack: the canonical, smallest form, as a general packer writes it."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmbot.hyperliquid import packing


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
@example(0x7F)
@example(0x80)
@example(0xFF)
@example(0x100)
@example(0xFFFF)
@example(0x1_0000)
@example(0xFFFF_FFFF)
@example(0x1_0000_0000)
def test_integer_is_packed_in_its_smallest_form(value: int) -> None:
    """The venue packs the parsed action again; a longer form would hash to something else."""
    assert packing.pack_uint(value).encode("latin-1") == msgpack.packb(value)


@pytest.mark.parametrize("size", range(32))
def test_text_is_packed_with_its_length(size: int) -> None:
    """Prices, sizes and names are all of this short form."""
    assert packing.pack_text("9" * size).encode("latin-1") == msgpack.packb("9" * size)


@pytest.mark.parametrize("size", [1, 15, 16, 200, 65_535])
def test_array_header_is_the_one_for_its_size(size: int) -> None:
    """Sixteen elements need the longer header."""
    packed = packing.pack_array(size).encode("latin-1")

    assert msgpack.packb([0] * size) == packed + bytes(size)


def test_booleans_and_cloids_have_their_headers() -> None:
    """Indexed by truth, so that a flag needs no branch."""
    assert [value.encode("latin-1") for value in packing.BOOL] == [b"\xc2", b"\xc3"]
    assert packing.JSON_BOOL == ("false", "true")
    assert (packing.CLOID_HEADER + "0" * 34).encode("latin-1") == msgpack.packb("0" * 34)
