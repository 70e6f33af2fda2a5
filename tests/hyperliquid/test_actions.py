"""Actions: numbers on the wire, the vectors through our own builders, and what is never sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side, Tif
from mmbot.errors import InvariantError
from mmbot.hyperliquid import actions
from mmbot.hyperliquid.signing import Signature, Signer

_FILE: dict[str, Any] = msgspec.json.decode(Path(__file__).with_name("vectors.json").read_bytes())
_VECTORS: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in _FILE["vectors"]}
_BTC = Instrument(coin="hyna:BTC", dex="hyna", asset_id=140_000, sz_decimals=5, max_leverage=40)
_SALE = Place(cloid=7, side=Side.SELL, px_ticks=813_590, sz_lots=15)
_MOVE = Move(cloid=7, side=Side.SELL, px_ticks=813_590, sz_lots=15)


def _instrument(sz_decimals: int, *, only_isolated: bool = False) -> Instrument:
    return Instrument(
        coin="X",
        asset_id=1,
        sz_decimals=sz_decimals,
        max_leverage=20,
        only_isolated=only_isolated,
    )


# -- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sz_decimals", "ticks", "text"),
    [
        (5, 813_590, "81359"),
        (5, 1_000, "100"),
        (2, 16_701_000, "1670.1"),
        (1, 15, "0.00015"),
        (0, 1_234, "0.001234"),
        (2, 1_234_560_000, "123456"),
        (4, 99_999, "999.99"),
    ],
)
def test_price_has_neither_trailing_zeros_nor_exponent(
    sz_decimals: int, ticks: int, text: str
) -> None:
    """The venue signs the canonical text; `81359.0` would recover a stranger's address."""
    assert actions.px_wire(_instrument(sz_decimals), ticks) == text


@pytest.mark.parametrize(
    ("sz_decimals", "lots", "text"),
    [(5, 15, "0.00015"), (0, 100, "100"), (2, 100, "1"), (2, 1_234, "12.34"), (5, 1, "0.00001")],
)
def test_size_has_neither_trailing_zeros_nor_exponent(
    sz_decimals: int, lots: int, text: str
) -> None:
    """As for prices."""
    assert actions.sz_wire(_instrument(sz_decimals), lots) == text


@settings(deadline=None)
@given(sz_decimals=st.integers(0, 6), lots=st.integers(1, 10**15))
def test_size_text_is_the_exact_value(sz_decimals: int, lots: int) -> None:
    """Also beyond the sizes at which a float would show its last digits."""
    text = actions.sz_wire(_instrument(sz_decimals), lots)

    assert Decimal(text) == Decimal(lots).scaleb(-sz_decimals)
    assert set(text) <= set("0123456789.")
    assert not ("." in text and text[-1] in "0.")


@settings(deadline=None)
@given(sz_decimals=st.integers(0, 6), raw=st.integers(1, 10**13))
def test_price_text_is_the_exact_value(sz_decimals: int, raw: int) -> None:
    """Integer ticks reach the wire without any float in between."""
    instrument = _instrument(sz_decimals)
    ticks = instrument.floor_ticks(raw)

    text = actions.px_wire(instrument, ticks)

    assert Decimal(text) == Decimal(ticks).scaleb(-(6 - sz_decimals))
    assert set(text) <= set("0123456789.")
    assert not ("." in text and text[-1] in "0.")


@pytest.mark.parametrize("ticks", [0, -10, 813_595, 1_234_567, 10**18])
def test_price_the_venue_would_refuse_is_never_written(ticks: int) -> None:
    """A bad price voids the whole batch at the venue, so it is a bug before it is sent."""
    with pytest.raises(InvariantError, match="no valid price of hyna:BTC"):
        actions.px_wire(_BTC, ticks)


@settings(deadline=None)
@given(sz_decimals=st.integers(0, 6), ticks=st.integers(1, 10**12) | st.integers(1, 10**6))
def test_price_is_written_exactly_when_the_instrument_calls_it_valid(
    sz_decimals: int, ticks: int
) -> None:
    """The writer judges by digits, the ladder by steps; they must never differ."""
    instrument = _instrument(sz_decimals)

    try:
        actions.px_wire(instrument, ticks)
    except InvariantError:
        assert not instrument.is_valid_px(ticks)
    else:
        assert instrument.is_valid_px(ticks)


@pytest.mark.parametrize("lots", [0, -1, 10**18])
def test_size_that_is_not_positive_is_never_written(lots: int) -> None:
    """As for prices: one zero size refuses the batch."""
    with pytest.raises(InvariantError, match="must be positive"):
        actions.sz_wire(_BTC, lots)


@pytest.mark.parametrize("cloid", [-1, 1 << 128])
def test_cloid_beyond_128_bits_is_never_written(cloid: int) -> None:
    """A longer string would no longer fit the length byte in front of it."""
    with pytest.raises(InvariantError, match="128 bits"):
        actions.cancel_by_cloid(_BTC, [cloid])


def test_what_is_remembered_of_prices_is_bounded_and_stays_right() -> None:
    """A year of prices must not fill the memory, and a price that comes again is the same text."""
    instrument = _instrument(2)
    ticks = [*range(10_000, 20_000), *range(10_000, 10_200)]

    texts = [
        json.loads(actions.order(instrument, [Place(7, Side.BUY, px, px)]).json)["orders"][0]
        for px in ticks
    ]

    assert [Decimal(each["p"]) for each in texts] == [Decimal(px).scaleb(-4) for px in ticks]
    assert [Decimal(each["s"]) for each in texts] == [Decimal(px).scaleb(-2) for px in ticks]
    pieces = actions._pieces(instrument)
    assert len(pieces.px) <= actions._PIECES_MAX
    assert len(pieces.sz) <= actions._PIECES_MAX


def test_assets_of_other_grids_do_not_share_what_is_remembered() -> None:
    """The same ticks are another price where the size has other decimals."""
    order = Place(7, Side.BUY, 12_340, 100)

    texts = [json.loads(actions.order(_instrument(n), [order]).json)["orders"][0] for n in (1, 2)]

    assert [(each["p"], each["s"]) for each in texts] == [("0.1234", "10"), ("1.234", "1")]


# -- the vectors ------------------------------------------------------------------------------


def _check_vector(name: str, action: actions.Action) -> None:
    vector = _VECTORS[name]
    vault = bytes.fromhex(vector["vault"][2:]) if vector["vault"] else None
    assert action.json == json.dumps(vector["action"], separators=(",", ":")).encode()
    assert action.msgpack == msgspec.msgpack.encode(vector["action"])
    if "msgpack" in vector:
        assert action.msgpack.hex() == vector["msgpack"]
    for network, expected in vector["sigs"].items():
        signer = Signer(bytes.fromhex(_FILE["key"][2:]), network == "a", vault)
        signature = signer.sign(action.msgpack, vector["nonce"], vector["expires"])
        assert [signature.r, signature.s, signature.v] == expected


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("hip3_alo", lambda: actions.order(_BTC, [_SALE])),
        ("hip3_alo_expires", lambda: actions.order(_BTC, [_SALE])),
        ("hip3_alo_vault_expires", lambda: actions.order(_BTC, [_SALE])),
        ("cancel", lambda: actions.cancel(_BTC, [77_738_308])),
        ("cancel_fast", lambda: actions.cancel(_BTC, [77_738_308], is_fast=True)),
        ("cancel_by_cloid", lambda: actions.cancel_by_cloid(_BTC, [7])),
        ("update_leverage", lambda: actions.update_leverage(_BTC, 5, is_cross=False)),
        ("schedule_cancel", lambda: actions.schedule_cancel(1_791_484_320_000)),
        ("schedule_cancel_unset", lambda: actions.schedule_cancel(None)),
        ("noop", actions.noop),
    ],
)
def test_builder_makes_the_vector(name: str, build: Callable[[], actions.Action]) -> None:
    """The vectors were made by another program; ours must meet them from an intent on."""
    _check_vector(name, build())


def test_order_on_the_main_dex_makes_the_vector_of_the_sdk_suite() -> None:
    """Small asset ids are one byte in msgpack; this constant stands in the SDK's own tests."""
    instrument = _instrument(2)
    place = Place(cloid=1, side=Side.BUY, px_ticks=1_000_000, sz_lots=10_000, tif=Tif.GTC)

    _check_vector("order_cloid", actions.order(instrument, [place]))


def test_move_is_the_modify_vector_with_the_cloid_in_place_of_the_oid() -> None:
    """We name orders by cloid, which the venue takes in place of its own id."""
    wanted = json.loads(json.dumps(_VECTORS["batch_modify"]["action"]))
    wanted["modifies"][0]["oid"] = "0x00000000000000000000000000000007"

    action = actions.batch_modify(_BTC, [_MOVE])

    assert action.json == json.dumps(wanted, separators=(",", ":")).encode()
    assert action.msgpack == msgspec.msgpack.encode(wanted)


def test_fast_cancel_by_cloid_carries_the_flag_last() -> None:
    """The flag is part of what is signed; when unset it is absent, never false."""
    action = actions.cancel_by_cloid(_BTC, [7], is_fast=True)

    assert list(json.loads(action.json)) == ["type", "cancels", "f"]
    assert action.msgpack == msgspec.msgpack.encode(json.loads(action.json))


@pytest.mark.parametrize("size", [1, 15, 16, 200])
def test_array_header_follows_the_number_of_elements(size: int) -> None:
    """Sixteen elements and more need the longer header."""
    places = [_SALE] * size

    action = actions.order(_BTC, places)

    assert len(msgspec.msgpack.decode(action.msgpack)["orders"]) == size
    assert action.msgpack == msgspec.msgpack.encode(json.loads(action.json))
    assert action.elements == size


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda n: actions.order(_BTC, [_SALE] * n),
        lambda n: actions.batch_modify(_BTC, [_MOVE] * n),
        lambda n: actions.cancel_by_cloid(_BTC, [7] * n),
        lambda n: actions.cancel(_BTC, [7] * n),
    ],
)
@pytest.mark.parametrize("size", [0, 201])
def test_batch_the_venue_would_refuse_whole_is_never_made(
    build: Callable[[int], actions.Action], size: int
) -> None:
    """An empty or over-long batch is refused as a whole, cancels included."""
    with pytest.raises(InvariantError, match=f"1 to 200 elements, got {size}"):
        build(size)


@pytest.mark.parametrize("leverage", [0, 21])
def test_leverage_outside_the_asset_is_never_sent(leverage: int) -> None:
    """The maximum is the asset's, not the account's."""
    with pytest.raises(InvariantError, match="must be 1 to 20"):
        actions.update_leverage(_instrument(2), leverage, is_cross=False)


def test_cross_margin_on_an_isolated_asset_is_never_sent() -> None:
    """The venue refuses it, and the first order would then run at an unknown leverage."""
    with pytest.raises(InvariantError, match="isolated only"):
        actions.update_leverage(_instrument(2, only_isolated=True), 5, is_cross=True)


# -- requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vault", [None, bytes(range(20))])
@pytest.mark.parametrize("expires_ms", [None, 1_791_484_310_000])
def test_body_has_exactly_the_keys_of_the_envelope(
    vault: bytes | None, expires_ms: int | None
) -> None:
    """The venue answers 422 to an envelope with a key it does not know."""
    signature = Signature("0x1", "0xab", 28)

    body = json.loads(actions.body(actions.noop(), 1_791_484_300_000, signature, vault, expires_ms))

    assert body == {
        "action": {"type": "noop"},
        "nonce": 1_791_484_300_000,
        "signature": {"r": "0x1", "s": "0xab", "v": 28},
        "vaultAddress": None if vault is None else "0x" + vault.hex(),
        "expiresAfter": expires_ms,
    }


def test_post_frame_wraps_the_body_unchanged() -> None:
    """The same signed body goes over the socket and over HTTP."""
    body = actions.body(actions.noop(), 5, Signature("0x1", "0x2", 27), None, None)

    frame = actions.post_frame(8, body)

    assert json.loads(frame) == {
        "method": "post",
        "id": 8,
        "request": {"type": "action", "payload": json.loads(body)},
    }
    assert body in frame
