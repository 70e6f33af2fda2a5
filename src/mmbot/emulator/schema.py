"""
What a request may look like: strict JSON, kinds of field, and structs of them.

The venue parses into typed fields and refuses what does not fit (protocol notes 1.1 and
"Canonicalisation the server applies before hashing"). `canonical`, `info` and `subscriptions` say
which fields there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from mmbot.errors import MmbotError

Json = Any
"""A decoded JSON value."""

Kind = Callable[[Json], Json]
"""Checks one field and returns its canonical value."""

SIZE_DECIMALS_MAX = 8
"""Decimals a number string may carry on the wire (Hyperliquid docs, "Signing")."""


class BadJsonError(MmbotError):
    """The body does not begin with a JSON value; HTTP 400 at the venue."""


class SchemaError(MmbotError):
    """JSON, but not of a shape the venue knows; HTTP 422 at the venue."""


def bad(what: str) -> NoReturn:
    """Refuse, saying what is wrong."""
    raise SchemaError(what)


# --- JSON ---


class _Pairs(dict[str, Json]):
    """An object that remembers whether a key came twice; a duplicate of a known key is refused."""

    twice: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Json]]) -> _Pairs:
    found = _Pairs(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found.twice = frozenset(key for key in found if keys.count(key) > 1)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def parse_json(body: bytes | str) -> Json:
    """
    First JSON value of `body`; whatever follows it is ignored, as at the venue.

    Raises:
        BadJsonError: `body` is not UTF-8 or does not begin with a JSON value.
    """
    try:
        text = body.decode() if isinstance(body, bytes) else body
        value = _DECODER.raw_decode(text.lstrip(" \t\r\n"))[0]
        if "\\ud" in text or "\\uD" in text:
            # Half of a surrogate pair is no character: it could be neither hashed nor sent on.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise BadJsonError(msg) from error


def duplicate_keys(value: Json) -> frozenset[str]:
    """Keys that came more than once in this object."""
    return value.twice if isinstance(value, _Pairs) else frozenset()


# --- kinds of field ---

_DECIMAL = re.compile(r"([0-9]*)(?:\.([0-9]*))?")
_CLOID = re.compile(r"0x[0-9a-fA-F]{32}")
_ADDRESS = re.compile(r"(?:0x)?([0-9a-fA-F]{40})")
U64_MAX = 2**64 - 1


def decimal_text(value: Json) -> str:
    """
    A number string without padding: `"00012.3400"` is `"12.34"`, `".5"` is `"0.5"`.

    Raises:
        SchemaError: A JSON number, a sign, an exponent, or more than eight decimals that count.
    """
    if not isinstance(value, str):
        bad("a number must be a string")
    match = _DECIMAL.fullmatch(value)
    if match is None or not (match[1] or match[2]):
        bad(f"not a plain decimal: {value[:40]!r}")
    whole = match[1].lstrip("0") or "0"
    part = (match[2] or "").rstrip("0")
    if len(part) > SIZE_DECIMALS_MAX:
        bad(f"more than {SIZE_DECIMALS_MAX} decimals: {value[:40]!r}")
    return f"{whole}.{part}" if part else whole


def address_text(value: Json) -> str:
    """An address in lower case with `0x`; without the prefix it is accepted, `0X` is not."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        bad("not an address")
    return f"0x{match[1].lower()}"


def cloid_text(value: Json) -> str:
    """A client order id, `0x` and 32 hex digits, in lower case."""
    if not isinstance(value, str) or _CLOID.fullmatch(value) is None:
        bad("not a client order id")
    return value.lower()


def text(value: Json) -> str:
    """Any string."""
    if not isinstance(value, str):
        bad("not a string")
    return value


def flag(value: Json) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        bad("not a boolean")
    return value


def uint(value: Json) -> int:
    """An unsigned 64-bit JSON integer."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U64_MAX:
        bad("not an unsigned integer")
    return value


def sint(value: Json) -> int:
    """A signed 64-bit JSON integer."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        bad("not a signed integer")
    return value


def oid_or_cloid(value: Json) -> int | str:
    """An order by the venue's number or by the client's id."""
    return cloid_text(value) if isinstance(value, str) else uint(value)


def one_of(*names: str) -> Kind:
    """A string out of a closed set."""

    def check(value: Json) -> str:
        if value not in names or not isinstance(value, str):
            bad(f"not one of {names}")
        return value

    return check


def list_of(kind: Kind) -> Kind:
    """An array whose elements are all of one kind."""

    def check(value: Json) -> list[Json]:
        if not isinstance(value, list):
            bad("not an array")
        return [kind(item) for item in value]

    return check


_ABSENT: Any = object()


class Field(NamedTuple):
    """One field of a struct; `default` is what an absent or null one becomes, if it may be."""

    key: str
    kind: Kind
    default: Json = _ABSENT
    is_optional: bool = False
    is_dropped_when_false: bool = False


def need(key: str, kind: Kind) -> Field:
    """A field that must be there."""
    return Field(key, kind)


def may(key: str, kind: Kind) -> Field:
    """A field that is left out of the canonical form when absent or null."""
    return Field(key, kind, is_optional=True)


def mark(key: str) -> Field:
    """A boolean that is left out of the canonical form unless true."""
    return Field(key, flag, is_optional=True, is_dropped_when_false=True)


def struct(*fields: Field, is_strict: bool = False) -> Kind:
    """An object with these fields, in this order; unknown keys are refused only when strict."""
    known = frozenset(field.key for field in fields)

    def check(value: Json) -> dict[str, Json]:
        if not isinstance(value, dict):
            bad("not an object")
        if is_strict and not known.issuperset(value):
            bad(f"unknown field {min(set(value) - known)!r}")
        if duplicate_keys(value) & known:
            bad("a field comes twice")
        out: dict[str, Json] = {}
        for key, kind, default, is_optional, is_dropped in fields:
            raw = value.get(key)
            if raw is None:
                if default is not _ABSENT:
                    out[key] = default
                elif not is_optional:
                    bad(f"missing field {key!r}")
                continue
            clean = kind(raw)
            if not (is_dropped and clean is False):
                out[key] = clean
        return out

    return check
