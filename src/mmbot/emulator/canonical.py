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

import re
from collections.abc import Mapping
from typing import NamedTuple

from mmbot.emulator.schema import (
    Field,
    Json,
    Kind,
    address_text,
    bad,
    cloid_text,
    decimal_text,
    flag,
    list_of,
    mark,
    may,
    need,
    oid_or_cloid,
    one_of,
    sint,
    struct,
    text,
    uint,
)


def _order_type(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict) or len(value) != 1:
        bad("an order type is `limit` or `trigger`")
    if "limit" in value:
        return {"limit": _LIMIT(value["limit"])}
    if "trigger" in value:
        return {"trigger": _TRIGGER(value["trigger"])}
    return bad("an order type is `limit` or `trigger`")


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
        bad("not a chain id")
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
        bad("an action is an object")
    kind = action.get("type")
    if not isinstance(kind, str):
        bad("an action has a type")
    check = L1_ACTIONS.get(kind) or USER_ACTIONS.get(kind)
    if check is None:
        bad(f"unknown action {kind[:40]!r}")
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
        bad("not up to 64 hex digits")
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
