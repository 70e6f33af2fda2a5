"""
Actions: the canonical msgpack that is signed and the JSON that is sent, assembled side by side.

The venue parses the JSON into typed structures and packs them again in a fixed key order before it
hashes, so what is signed must be exactly that form: keys in the order of the docs, integers in
their smallest encoding, numbers as strings without trailing zeros, absent optionals left out.
Bytes are joined from templates; no dict is built and nothing is encoded generically. The msgpack
is assembled as text in which each character is one byte, and encoded once.

Source: Hyperliquid docs, "Exchange endpoint" and "Signing"; the official Python SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Final

import msgspec

from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side, Tif
from mmbot.errors import InvariantError
from mmbot.hyperliquid.packing import (
    BOOL,
    CLOID_HEADER,
    FIXSTR,
    JSON_BOOL,
    pack_array,
    pack_text,
    pack_uint,
)
from mmbot.hyperliquid.signing import Signature
from mmbot.hyperliquid.spelling import cloid_wire, px_wire, sz_wire

__all__ = [
    "MAX_ELEMENTS",
    "Action",
    "batch_modify",
    "body",
    "cancel",
    "cancel_by_cloid",
    "cloid_wire",
    "noop",
    "order",
    "post_frame",
    "px_wire",
    "schedule_cancel",
    "sz_wire",
    "update_leverage",
]

MAX_ELEMENTS: Final = 200
"""Elements the venue takes in one action (measured for cancels; assumed for orders)."""


class Action(msgspec.Struct, frozen=True, gc=False):
    """
    One action, ready to be signed and sent.

    Attributes:
        type: The venue's name.
        json: The action as JSON, the value of `action` in the request.
        msgpack: The same in canonical msgpack, what is signed.
        elements: Requests it costs of the address budget; the venue counts every element.
    """

    type: str
    json: bytes
    msgpack: bytes
    elements: int


def _count(elements: Sequence[object], name: str) -> int:
    if not 1 <= len(elements) <= MAX_ELEMENTS:
        msg = f"{name} takes 1 to {MAX_ELEMENTS} elements, got {len(elements)}"
        raise InvariantError(msg)
    return len(elements)


def _action(name: str, json: str, msgpack: str, elements: int = 1) -> Action:
    return Action(name, json.encode("ascii"), msgpack.encode("latin-1"), elements)


# -- orders -----------------------------------------------------------------------------------


_Piece = tuple[str, str]
"""A stretch of an order: as JSON and as msgpack."""


def _tail(tif: Tif, *, is_reduce_only: bool) -> _Piece:
    """What follows the size, up to the cloid: reduce-only flag and time in force."""
    flag = BOOL[is_reduce_only]
    return (
        f'","r":{JSON_BOOL[is_reduce_only]},"t":{{"limit":{{"tif":"{tif.value}"}}}},"c":"',
        f"\xa1r{flag}\xa1t\x81\xa5limit\x81\xa3tif{pack_text(tif.value)}\xa1c{CLOID_HEADER}",
    )


_TAILS: Final = {
    tif: (_tail(tif, is_reduce_only=False), _tail(tif, is_reduce_only=True)) for tif in Tif
}
"""By time in force, then by the reduce-only flag."""

_PIECES_MAX: Final = 4096
"""Prices and sizes remembered of one instrument: rungs lie on a grid, so most come again."""


class _Pieces:
    """Stretches of the orders of one asset; prices and sizes are written once and remembered."""

    __slots__ = ("_instrument", "heads", "px", "sz")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        asset_id = instrument.asset_id
        self.heads = {
            side: (
                f'{{"a":{asset_id},"b":{JSON_BOOL[side is Side.BUY]},"p":"',
                f"\x87\xa1a{pack_uint(asset_id)}\xa1b{BOOL[side is Side.BUY]}\xa1p",
            )
            for side in Side
        }
        """Up to the price, by side."""
        self.px: dict[int, _Piece] = {}
        self.sz: dict[int, _Piece] = {}

    def new_px(self, ticks: int) -> _Piece:
        """Write a price, up to the size."""
        text = px_wire(self._instrument, ticks)
        if len(self.px) >= _PIECES_MAX:
            self.px.clear()
        piece = self.px[ticks] = (f'{text}","s":"', f"{FIXSTR[len(text)]}{text}\xa1s")
        return piece

    def new_sz(self, lots: int) -> _Piece:
        """Write a size."""
        text = sz_wire(self._instrument, lots)
        if len(self.sz) >= _PIECES_MAX:
            self.sz.clear()
        piece = self.sz[lots] = (text, FIXSTR[len(text)] + text)
        return piece


_ASSETS_MAX: Final = 64
_PIECES: Final[dict[tuple[str, int, int], _Pieces]] = {}


def _pieces(instrument: Instrument) -> _Pieces:
    # An asset has one grid, but nothing but the key may decide what is written.
    key = (instrument.coin, instrument.asset_id, instrument.sz_decimals)
    pieces = _PIECES.get(key)
    if pieces is None:
        if len(_PIECES) >= _ASSETS_MAX:
            _PIECES.clear()
        pieces = _PIECES[key] = _Pieces(instrument)
    return pieces


def _write_orders(
    instrument: Instrument, orders: Sequence[Place | Move], tifs: Iterable[Tif]
) -> list[tuple[str, str, str]]:
    """Write each order as JSON and as msgpack, with its cloid."""
    pieces = _pieces(instrument)
    heads, known_px, known_sz = pieces.heads, pieces.px, pieces.sz
    written = []
    last_tif, tails = Tif.ALO, _TAILS[Tif.ALO]
    for order, tif in zip(orders, tifs, strict=False):
        if tif is not last_tif:
            # Looked up only when it changes: hashing an enum costs as much as writing a price.
            last_tif, tails = tif, _TAILS[tif]
        ticks, lots = order.px_ticks, order.sz_lots
        head, packed_head = heads[order.side]
        px, packed_px = known_px.get(ticks) or pieces.new_px(ticks)
        sz, packed_sz = known_sz.get(lots) or pieces.new_sz(lots)
        tail, packed_tail = tails[order.is_reduce_only]
        cloid = cloid_wire(order.cloid)
        written.append(
            (
                f'{head}{px}{sz}{tail}{cloid}"}}',
                f"{packed_head}{packed_px}{packed_sz}{packed_tail}{cloid}",
                cloid,
            )
        )
    return written


def order(instrument: Instrument, places: Sequence[Place]) -> Action:
    """
    Place orders in one action; the order of the replies is that of `places`.

    Raises:
        InvariantError: No or too many elements, or a price, size or cloid that cannot be sent.
    """
    size = _count(places, "order")
    written = _write_orders(instrument, places, [place.tif for place in places])
    json = ",".join([text for text, _, _ in written])
    msgpack = "".join([packed for _, packed, _ in written])
    return _action(
        "order",
        f'{{"type":"order","orders":[{json}],"grouping":"na"}}',
        f"\x83\xa4type\xa5order\xa6orders{pack_array(size)}{msgpack}\xa8grouping\xa2na",
        size,
    )


def batch_modify(instrument: Instrument, moves: Sequence[Move]) -> Action:
    """
    Replace orders, each named by its cloid, which the new order keeps.

    Without `a` (always place) the venue places the new order only if the old one was still there,
    and only post-only: a move can never add exposure twice.

    Raises:
        InvariantError: No or too many elements, or a price, size or cloid that cannot be sent.
    """
    size = _count(moves, "batchModify")
    written = _write_orders(instrument, moves, repeat(Tif.ALO))
    json = ",".join([f'{{"oid":"{cloid}","order":{text}}}' for text, _, cloid in written])
    msgpack = "".join(
        [f"\x82\xa3oid{CLOID_HEADER}{cloid}\xa5order{packed}" for _, packed, cloid in written]
    )
    return _action(
        "batchModify",
        f'{{"type":"batchModify","modifies":[{json}]}}',
        f"\x82\xa4type\xabbatchModify\xa8modifies{pack_array(size)}{msgpack}",
        size,
    )


# -- cancels ----------------------------------------------------------------------------------


def cancel_by_cloid(
    instrument: Instrument, cloids: Sequence[int], *, is_fast: bool = False
) -> Action:
    """
    Cancel orders named by their cloids.

    Args:
        instrument: Market of the orders.
        cloids: 1 to 200 of them.
        is_fast: Send `f`, which the venue's latency page advises and gives no downside for.

    Raises:
        InvariantError: No or too many elements, or a number that is no cloid.
    """
    size = _count(cloids, "cancelByCloid")
    texts = [cloid_wire(cloid) for cloid in cloids]
    json_head = f'{{"asset":{instrument.asset_id},"cloid":"'
    packed_head = f"\x82\xa5asset{pack_uint(instrument.asset_id)}\xa5cloid{CLOID_HEADER}"
    return _cancels(
        "cancelByCloid",
        ",".join([f'{json_head}{text}"}}' for text in texts]),
        "".join([packed_head + text for text in texts]),
        size,
        is_fast=is_fast,
    )


def cancel(instrument: Instrument, oids: Sequence[int], *, is_fast: bool = False) -> Action:
    """
    Cancel orders named by the venue's own ids, e.g. those of an earlier run without our cloid.

    Raises:
        InvariantError: No or too many elements.
    """
    size = _count(oids, "cancel")
    json_head = f'{{"a":{instrument.asset_id},"o":'
    packed_head = f"\x82\xa1a{pack_uint(instrument.asset_id)}\xa1o"
    return _cancels(
        "cancel",
        ",".join([f"{json_head}{oid}}}" for oid in oids]),
        "".join([packed_head + pack_uint(oid) for oid in oids]),
        size,
        is_fast=is_fast,
    )


def _cancels(name: str, json: str, msgpack: str, size: int, *, is_fast: bool) -> Action:
    # `f: false` is not canonical: signing it would recover a foreign address.
    head, flag, packed_flag = ("\x83", ',"f":true', "\xa1f\xc3") if is_fast else ("\x82", "", "")
    return _action(
        name,
        f'{{"type":"{name}","cancels":[{json}]{flag}}}',
        f"{head}\xa4type{pack_text(name)}\xa7cancels{pack_array(size)}{msgpack}{packed_flag}",
        size,
    )


# -- the rest ---------------------------------------------------------------------------------


def update_leverage(instrument: Instrument, leverage: int, *, is_cross: bool) -> Action:
    """
    Set the leverage and margin mode of one asset.

    Raises:
        InvariantError: The leverage is outside 1 to the asset's maximum, or cross margin is asked
            for on an asset that is isolated only.
    """
    if not 1 <= leverage <= instrument.max_leverage:
        msg = (
            f"leverage of {instrument.coin} must be 1 to {instrument.max_leverage}, got {leverage}"
        )
        raise InvariantError(msg)
    if is_cross and instrument.only_isolated:
        msg = f"{instrument.coin} is isolated only, cross margin cannot be set"
        raise InvariantError(msg)
    asset = instrument.asset_id
    return _action(
        "updateLeverage",
        f'{{"type":"updateLeverage","asset":{asset},"isCross":{JSON_BOOL[is_cross]},'
        f'"leverage":{leverage}}}',
        f"\x84\xa4type\xaeupdateLeverage\xa5asset{pack_uint(asset)}\xa7isCross{BOOL[is_cross]}"
        f"\xa8leverage{pack_uint(leverage)}",
    )


def schedule_cancel(at_ms: int | None) -> Action:
    """
    Arm the venue's dead-man switch (it cancels everything at `at_ms`), or clear it with None.

    The venue wants `at_ms` at least five seconds ahead and an account of some traded volume.
    """
    if at_ms is None:
        return _action(
            "scheduleCancel", '{"type":"scheduleCancel"}', "\x81\xa4type\xaescheduleCancel"
        )
    return _action(
        "scheduleCancel",
        f'{{"type":"scheduleCancel","time":{at_ms}}}',
        f"\x82\xa4type\xaescheduleCancel\xa4time{pack_uint(at_ms)}",
    )


def noop() -> Action:
    """Do nothing but use up a nonce, which voids an action in flight with the same one."""
    return _action("noop", '{"type":"noop"}', "\x81\xa4type\xa4noop")


# -- requests ---------------------------------------------------------------------------------


def body(
    action: Action,
    nonce: int,
    signature: Signature,
    vault: bytes | None,
    expires_after_ms: int | None,
) -> bytes:
    """
    Wrap a signed action as the body of `POST /exchange`.

    `nonce`, `vault` and `expires_after_ms` must be those that were signed.
    """
    address = b"null" if vault is None else b'"0x%b"' % vault.hex().encode("ascii")
    expires = "null" if expires_after_ms is None else str(expires_after_ms)
    tail = (
        f',"nonce":{nonce},"signature":{{"r":"{signature.r}","s":"{signature.s}",'
        f'"v":{signature.v}}},"vaultAddress":'
    )
    return b"".join(
        (
            b'{"action":',
            action.json,
            tail.encode("ascii"),
            address,
            f',"expiresAfter":{expires}}}'.encode("ascii"),
        )
    )


def post_frame(post_id: int, request_body: bytes) -> bytes:
    """
    Wrap a request body as a websocket `post`.

    Args:
        post_id: Number of ours, unique among the posts in flight; the reply carries it.
        request_body: What `body` made.
    """
    return b'{"method":"post","id":%d,"request":{"type":"action","payload":%b}}' % (
        post_id,
        request_body,
    )
