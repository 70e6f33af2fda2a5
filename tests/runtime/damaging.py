"""Damage to a message: its numbers, its shape or its bytes."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterable
from typing import Any, Final

_INTEGERS: Final = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30)
_FLOATS: Final = (1e-300, 1e300, 0.1, -0.0)
_DECIMALS: Final = ("0", "-1", "0.0", "1e400", "1e-400", "1e12", "0.000000001", "26.17500000001")
_WORDS: Final = ("", "nan", "NaN", "inf", "-inf", "0x", "0x0", "HYPE", "BTC", "A", "B")
_SIGNS: Final = ("99999999999999999999", "\x00", "\ud800", "\U0001f600" * 3)
_HOLDERS: Final[tuple[Any, ...]] = (None, True, False, [], {}, [[]], [None], {"coin": "HYPE"})
_ODD: Final[tuple[Any, ...]] = (*_INTEGERS, *_FLOATS, *_DECIMALS, *_WORDS, *_SIGNS, *_HOLDERS)
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
_PATCHES: Final = (
    b'"nan"',
    b"null",
    b'"-1"',
    b"1e309",
    b"[]",
    b"{}",
    b'"',
    b",",
    b"\\u0000",
    b"\xff",
)


def damage(frame: bytes, chance: random.Random) -> bytes:
    """The message with something wrong about it; its numbers, its shape or its bytes."""
    for _ in range(1 if chance.random() < 0.8 else 3):
        frame = chance.choice(_WAYS)(frame, chance)
    return frame


def _numbers(frame: bytes, chance: random.Random) -> bytes:
    """A number becomes another that may well be one."""
    found = list(_NUMBER.finditer(frame))
    if not found:
        return frame
    hit = chance.choice(found)
    text = hit.group()
    new = chance.choice(
        (
            b"0",
            b"-" + text,
            text + b"0",
            text + b"1",
            text[:-1] or b"7",
            text + b".5",
            b"1" + text,
            b"1e" + text[:3],
            b"%d" % (chance.getrandbits(chance.choice((4, 31, 53, 64, 80)))),
            b"0.%09d" % chance.randrange(10**9),
        )
    )
    return frame[: hit.start()] + new + frame[hit.end() :]


def _shape(frame: bytes, chance: random.Random) -> bytes:
    """Still JSON, but a value is another, gone, there twice or in another place."""
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return _bytes(frame, chance)
    places = list(_places(message))
    if not places:
        return json.dumps(chance.choice(_ODD)).encode()
    holder, key = chance.choice(places)
    match chance.randrange(5):
        case 0 | 1:
            holder[key] = copy.deepcopy(chance.choice(_ODD))
        case 2:
            del holder[key]
        case 3:
            other, where = chance.choice(places)
            if where in other if isinstance(other, dict) else where < len(other):
                holder[key] = copy.deepcopy(other[where])
        case _:
            if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            else:
                holder[f"{key}x"] = holder[key]
    return json.dumps(message, separators=(",", ":")).encode()


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key])


def _bytes(frame: bytes, chance: random.Random) -> bytes:
    """A stretch is cut, overwritten, doubled or put in another place; the end is missing."""
    size = len(frame)
    at = chance.randrange(size + 1)
    end = min(size, at + chance.randrange(1, 24))
    match chance.randrange(7):
        case 0:
            return frame[:at]
        case 1:
            return frame[:at] + frame[end:]
        case 2:
            return frame[:at] + chance.randbytes(end - at) + frame[end:]
        case 3:
            return frame[:end] + frame[at:end] + frame[end:]
        case 4:
            return frame[:at] + chance.choice(_PATCHES) + frame[end:]
        case 5:
            bit = 1 << chance.randrange(8)
            return frame[:at] + bytes((byte ^ bit) for byte in frame[at : at + 1]) + frame[at + 1 :]
        case _:
            return frame[at:] + frame[:at]


_WAYS: Final = (_numbers, _numbers, _shape, _shape, _bytes)
