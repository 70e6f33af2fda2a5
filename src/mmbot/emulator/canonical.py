"""
Requests as the venue sees them: strict parsing and the canonical form of an action.

The venue does not hash what it received. It parses an action into typed fields, writes those down
again in one fixed order and form, and hashes that (protocol notes, "Canonicalisation the server
applies before hashing", measured on testnet). A client that signed other bytes is therefore not
told "bad signature": the recovered address is simply a stranger's. Everything here is written from
the protocol alone and shares no line with the daemon's encoder, so a fault in one shows in the
other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
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


def _bad(what: str) -> NoReturn:
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
        _bad("a number must be a string")
    match = _DECIMAL.fullmatch(value)
    if match is None or not (match[1] or match[2]):
        _bad(f"not a plain decimal: {value[:40]!r}")
    whole = match[1].lstrip("0") or "0"
    part = (match[2] or "").rstrip("0")
    if len(part) > SIZE_DECIMALS_MAX:
        _bad(f"more than {SIZE_DECIMALS_MAX} decimals: {value[:40]!r}")
    return f"{whole}.{part}" if part else whole


def address_text(value: Json) -> str:
    """An address in lower case with `0x`; without the prefix it is accepted, `0X` is not."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        _bad("not an address")
    return f"0x{match[1].lower()}"


def cloid_text(value: Json) -> str:
    """A client order id, `0x` and 32 hex digits, in lower case."""
    if not isinstance(value, str) or _CLOID.fullmatch(value) is None:
        _bad("not a client order id")
    return value.lower()


def text(value: Json) -> str:
    """Any string."""
    if not isinstance(value, str):
        _bad("not a string")
    return value


def flag(value: Json) -> bool:
    """A JSON boolean."""
    if not isinstance(value, bool):
        _bad("not a boolean")
    return value


def uint(value: Json) -> int:
    """An unsigned 64-bit JSON integer."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U64_MAX:
        _bad("not an unsigned integer")
    return value


def sint(value: Json) -> int:
    """A signed 64-bit JSON integer."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        _bad("not a signed integer")
    return value


def oid_or_cloid(value: Json) -> int | str:
    """An order by the venue's number or by the client's id."""
    return cloid_text(value) if isinstance(value, str) else uint(value)


def one_of(*names: str) -> Kind:
    """A string out of a closed set."""

    def check(value: Json) -> str:
        if value not in names or not isinstance(value, str):
            _bad(f"not one of {names}")
        return value

    return check


def list_of(kind: Kind) -> Kind:
    """An array whose elements are all of one kind."""

    def check(value: Json) -> list[Json]:
        if not isinstance(value, list):
            _bad("not an array")
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
            _bad("not an object")
        if is_strict and not known.issuperset(value):
            _bad(f"unknown field {min(set(value) - known)!r}")
        if duplicate_keys(value) & known:
            _bad("a field comes twice")
        out: dict[str, Json] = {}
        for key, kind, default, is_optional, is_dropped in fields:
            raw = value.get(key)
            if raw is None:
                if default is not _ABSENT:
                    out[key] = default
                elif not is_optional:
                    _bad(f"missing field {key!r}")
                continue
            clean = kind(raw)
            if not (is_dropped and clean is False):
                out[key] = clean
        return out

    return check


def _order_type(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict) or len(value) != 1:
        _bad("an order type is `limit` or `trigger`")
    if "limit" in value:
        return {"limit": _LIMIT(value["limit"])}
    if "trigger" in value:
        return {"trigger": _TRIGGER(value["trigger"])}
    _bad("an order type is `limit` or `trigger`")


def _grouping(value: Json) -> Json:
    return _PRIORITY(value) if isinstance(value, dict) else _GROUPING(value)


_LIMIT = struct(need("tif", one_of("Alo", "Ioc", "Gtc", "FrontendMarket")))
_TRIGGER = struct(
    need("isMarket", flag), need("triggerPx", decimal_text), need("tpsl", one_of("tp", "sl"))
)
_GROUPING = one_of("na", "normalTpsl", "positionTpsl")
_PRIORITY = struct(need("p", uint))
_ORDER = struct(
    need("a", uint),
    need("b", flag),
    need("p", decimal_text),
    need("s", decimal_text),
    Field("r", flag, default=False),
    need("t", _order_type),
    may("c", cloid_text),
)
_BUILDER = struct(need("b", address_text), need("f", uint))
_TWAP = struct(
    need("a", uint),
    need("b", flag),
    need("s", decimal_text),
    Field("r", flag, default=False),
    need("m", uint),
    need("t", flag),
)


def _action(*fields: Field) -> Kind:
    return struct(need("type", text), *fields, is_strict=True)


L1_ACTIONS: Mapping[str, Kind] = {
    "order": _action(
        need("orders", list_of(_ORDER)),
        Field("grouping", _grouping, default="na"),
        may("builder", _BUILDER),
    ),
    "cancel": _action(
        need("cancels", list_of(struct(need("a", uint), need("o", uint)))), mark("f")
    ),
    "cancelByCloid": _action(
        need("cancels", list_of(struct(need("asset", uint), need("cloid", cloid_text)))), mark("f")
    ),
    "modify": _action(need("oid", oid_or_cloid), need("order", _ORDER), mark("a")),
    "batchModify": _action(
        need("modifies", list_of(struct(need("oid", oid_or_cloid), need("order", _ORDER)))),
        mark("a"),
    ),
    "updateLeverage": _action(need("asset", uint), need("isCross", flag), need("leverage", uint)),
    "updateIsolatedMargin": _action(need("asset", uint), need("isBuy", flag), need("ntli", sint)),
    "topUpIsolatedOnlyMargin": _action(need("asset", uint), need("leverage", text)),
    "scheduleCancel": _action(may("time", uint)),
    "noop": _action(),
    "twapOrder": _action(need("twap", _TWAP)),
    "twapCancel": _action(need("a", uint), need("t", uint)),
    "reserveRequestWeight": _action(need("weight", uint), may("destination", address_text)),
    "agentSendAsset": _action(
        need("destination", address_text),
        need("sourceDex", text),
        need("destinationDex", text),
        need("token", text),
        need("amount", decimal_text),
        need("fromSubAccount", text),
        need("nonce", uint),
    ),
    "agentSetAbstraction": _action(need("abstraction", one_of("i", "u", "p"))),
    "agentEnableDexAbstraction": _action(),
    "setReferrer": _action(need("code", text)),
    "createSubAccount": _action(need("name", text)),
    "subAccountTransfer": _action(
        need("subAccountUser", address_text), need("isDeposit", flag), need("usd", uint)
    ),
    "subAccountSpotTransfer": _action(
        need("subAccountUser", address_text),
        need("isDeposit", flag),
        need("token", text),
        need("amount", text),
    ),
    "vaultTransfer": _action(
        need("vaultAddress", address_text), need("isDeposit", flag), need("usd", uint)
    ),
}
"""Actions hashed as msgpack, with their fields in the order of the hash (protocol notes 2.2)."""


_CHAIN_ID = re.compile(r"0x[0-9a-fA-F]{1,16}")


def _chain_id(value: Json) -> str:
    if not isinstance(value, str) or _CHAIN_ID.fullmatch(value) is None:
        _bad("not a chain id")
    return value


def _user_action(*fields: Field) -> Kind:
    head = (need("signatureChainId", _chain_id), need("hyperliquidChain", text))
    return _action(*head, *fields)


USER_ACTIONS: Mapping[str, Kind] = {
    "approveAgent": _user_action(
        need("agentAddress", address_text),
        Field("agentName", text, default=""),
        need("nonce", uint),
    ),
    "approveBuilderFee": _user_action(
        need("maxFeeRate", text), need("builder", address_text), need("nonce", uint)
    ),
    "sendAsset": _user_action(
        need("destination", text),
        need("sourceDex", text),
        need("destinationDex", text),
        need("token", text),
        need("amount", text),
        need("fromSubAccount", text),
        need("nonce", uint),
    ),
    "usdClassTransfer": _user_action(
        need("amount", text), need("toPerp", flag), need("nonce", uint)
    ),
    "usdSend": _user_action(need("destination", text), need("amount", text), need("time", uint)),
    "spotSend": _user_action(
        need("destination", text), need("token", text), need("amount", text), need("time", uint)
    ),
    "withdraw3": _user_action(need("destination", text), need("amount", text), need("time", uint)),
    "userSetAbstraction": _user_action(
        need("user", address_text), need("abstraction", text), need("nonce", uint)
    ),
    "userDexAbstraction": _user_action(
        need("user", address_text), need("enabled", flag), need("nonce", uint)
    ),
}
"""Actions signed as EIP-712 typed data of their own (protocol notes 2.3)."""


def canonical(action: Json) -> dict[str, Json]:
    """
    The canonical form of an action: known fields, in order, without padding or empty options.

    Raises:
        SchemaError: Unknown type, unknown or missing or mistyped field.
    """
    if not isinstance(action, dict):
        _bad("an action is an object")
    kind = action.get("type")
    if not isinstance(kind, str):
        _bad("an action has a type")
    check = L1_ACTIONS.get(kind) or USER_ACTIONS.get(kind)
    if check is None:
        _bad(f"unknown action {kind[:40]!r}")
    clean: dict[str, Json] = check(action)
    return clean


def elements(action: Mapping[str, Json]) -> int:
    """Requests of the address budget the action counts as: its array length, at least 1."""
    for key in ("orders", "cancels", "modifies"):
        items = action.get(key)
        if isinstance(items, list):
            return max(1, len(items))
    return 1


# --- envelope ---

_HEX_WORD = re.compile(r"(?:0x)?([0-9a-fA-F]{1,64})")


def _hex_word(value: Json) -> int:
    match = _HEX_WORD.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        _bad("not up to 64 hex digits")
    return int(match[1], 16)


_SIGNATURE = struct(need("r", _hex_word), need("s", _hex_word), need("v", uint))
_ENVELOPE = struct(
    need("action", lambda value: value),
    need("nonce", uint),
    need("signature", _SIGNATURE),
    may("vaultAddress", address_text),
    may("expiresAfter", uint),
    is_strict=True,
)


class Envelope(NamedTuple):
    """A request to `/exchange`, its action already canonical."""

    action: dict[str, Json]
    nonce: int
    r: int
    s: int
    v: int
    vault: str | None
    expires_after_ms: int | None


def envelope(value: Json) -> Envelope:
    """
    Read a signed request.

    Raises:
        SchemaError: A field is unknown, missing or mistyped, in the envelope or the action.
    """
    clean = _ENVELOPE(value)
    signature = clean["signature"]
    return Envelope(
        action=canonical(clean["action"]),
        nonce=clean["nonce"],
        r=signature["r"],
        s=signature["s"],
        v=signature["v"],
        vault=clean.get("vaultAddress"),
        expires_after_ms=clean.get("expiresAfter"),
    )
