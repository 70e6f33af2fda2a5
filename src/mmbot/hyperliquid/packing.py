"""
Pieces of msgpack as text in which each character is one byte.

An action is put together with f-strings, like its JSON, and encoded once as latin-1. Only what the
actions need is here, each in its smallest form, which is the canonical one.

Source: the msgpack specification.
"""

from __future__ import annotations

from typing import Final

CLOID_HEADER: Final = "\xd9\x22"
"""Header of a 34-byte string: `0x` and 32 hex digits."""
FIXSTR: Final = [chr(0xA0 | size) for size in range(32)]
"""Header of a string of up to 31 characters, by its length."""
BOOL: Final = ("\xc2", "\xc3")
JSON_BOOL: Final = ("false", "true")
"""Both by the truth they stand for."""


def pack_uint(value: int) -> str:
    """Pack an unsigned integer in its smallest form."""
    if value < 0x80:
        raw = value.to_bytes(1, "big")
    elif value <= 0xFF:
        raw = b"\xcc" + value.to_bytes(1, "big")
    elif value <= 0xFFFF:
        raw = b"\xcd" + value.to_bytes(2, "big")
    elif value <= 0xFFFFFFFF:
        raw = b"\xce" + value.to_bytes(4, "big")
    else:
        raw = b"\xcf" + value.to_bytes(8, "big")
    return raw.decode("latin-1")


def pack_text(value: str) -> str:
    """Pack an ASCII string of up to 31 characters."""
    return FIXSTR[len(value)] + value


def pack_array(size: int) -> str:
    """Header of an array of 1 to 65535 elements."""
    return chr(0x90 | size) if size < 16 else "\xdc" + chr(size >> 8) + chr(size & 0xFF)
