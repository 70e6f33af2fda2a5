"""MessagePack of canonical actions, written from the format's specification."""

from __future__ import annotations

from typing import Any

Json = Any
"""A decoded JSON value."""


def pack(value: Json) -> bytes:
    """
    MessagePack of a canonical value: every length and integer in its shortest form.

    Raises:
        TypeError: A value the format of actions has no place for, floats above all.

    Source: MessagePack specification, formats nil, bool, int, str, array and map.
    """
    out = bytearray()
    _pack(value, out)
    return bytes(out)


def _pack(value: Json, out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif value is True or value is False:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _pack_int(value, out)
    elif isinstance(value, str):
        data = value.encode()
        _pack_head(len(data), out, fix=(0xA0, 32), sizes=((1, 0xD9), (2, 0xDA), (4, 0xDB)))
        out += data
    elif isinstance(value, dict):
        _pack_head(len(value), out, fix=(0x80, 16), sizes=((2, 0xDE), (4, 0xDF)))
        for key, item in value.items():
            _pack(key, out)
            _pack(item, out)
    elif isinstance(value, list):
        _pack_head(len(value), out, fix=(0x90, 16), sizes=((2, 0xDC), (4, 0xDD)))
        for item in value:
            _pack(item, out)
    else:
        msg = f"no place for {type(value).__name__} in an action"
        raise TypeError(msg)


def _pack_head(
    length: int, out: bytearray, *, fix: tuple[int, int], sizes: tuple[tuple[int, int], ...]
) -> None:
    base, room = fix
    if length < room:
        out.append(base | length)
        return
    for width, code in sizes:
        if length < 1 << 8 * width:
            out.append(code)
            out += length.to_bytes(width, "big")
            return
    msg = f"too long for MessagePack: {length}"
    raise TypeError(msg)


def _pack_int(value: int, out: bytearray) -> None:
    if 0 <= value < 0x80:
        out.append(value)
        return
    if -32 <= value < 0:
        out.append(value & 0xFF)
        return
    is_signed = value < 0
    first = 0xD0 if is_signed else 0xCC
    for power, width in enumerate((1, 2, 4, 8)):
        bits = 8 * width
        if (value >= -(1 << (bits - 1))) if is_signed else (value < 1 << bits):
            out.append(first + power)
            out += value.to_bytes(width, "big", signed=is_signed)
            return
    msg = f"integer beyond 64 bits: {value}"
    raise TypeError(msg)
