"""
Every action we send, against the official SDK.

The SDK builds, signs and wraps the same intent; only its last step, the HTTP call, is caught. Our
JSON, our msgpack and our signature must be its bytes.
"""

from __future__ import annotations

import json
from typing import Any

import eth_account
import msgpack
from hyperliquid.exchange import Exchange
from hyperliquid.utils.constants import MAINNET_API_URL, TESTNET_API_URL
from hyperliquid.utils.types import Cloid
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.intents import Move, Place
from mmbot.core.types import Instrument, Side, Tif
from mmbot.hyperliquid import actions
from mmbot.hyperliquid.signing import Signer
from support import often

_COIN = "hyna:BTC"


class _CaughtExchange(Exchange):  # type: ignore[misc]
    """The SDK with its HTTP call replaced by a note of what it would have sent."""

    def __init__(self, key: bytes, *, is_mainnet: bool, vault: str | None, asset_id: int) -> None:
        super().__init__(
            eth_account.Account.from_key(key),
            MAINNET_API_URL if is_mainnet else TESTNET_API_URL,
            meta={"universe": []},
            vault_address=vault,
            spot_meta={"tokens": [], "universe": []},
        )
        self.info.coin_to_asset[_COIN] = asset_id
        self.info.name_to_coin[_COIN] = _COIN
        self.sent: dict[str, Any] = {}

    def post(self, url_path: str, payload: Any = None) -> Any:
        assert url_path == "/exchange"
        self.sent = payload
        return {"status": "ok"}


_ASSET_IDS = st.one_of(
    st.sampled_from([0, 127, 128, 255, 256, 65_535, 65_536]),
    st.integers(0, 250),
    st.integers(110_000, 300_000),
)
_OIDS = st.one_of(st.integers(0, 300), st.integers(0, 2**40), st.integers(0, 2**64 - 1))
_CLOIDS = st.integers(0, 2**128 - 1)


@st.composite
def _instruments(draw: st.DrawFn) -> Instrument:
    return Instrument(
        coin=_COIN,
        dex="hyna",
        asset_id=draw(_ASSET_IDS),
        sz_decimals=draw(st.integers(0, 5)),
        max_leverage=50,
    )


@st.composite
def _prices(draw: st.DrawFn, instrument: Instrument) -> int:
    """Valid prices from the smallest tick to nine integer digits."""
    ticks = draw(st.integers(1, 10 ** draw(st.integers(1, 9))))
    return instrument.floor_ticks(ticks)


def _sizes(instrument: Instrument) -> st.SearchStrategy[int]:
    """Up to ten million coins: from 2^26 on the SDK's eighth decimal is noise of its floats."""
    return st.integers(1, 10**7 * instrument.lots_per_coin) | st.integers(1, 1_000)


@st.composite
def _places(draw: st.DrawFn, instrument: Instrument) -> list[Place]:
    return draw(
        st.lists(
            st.builds(
                Place,
                cloid=_CLOIDS,
                side=st.sampled_from(Side),
                px_ticks=_prices(instrument),
                sz_lots=_sizes(instrument),
                is_reduce_only=st.booleans(),
                tif=st.sampled_from(Tif),
            ),
            min_size=1,
            max_size=20,
        )
    )


@st.composite
def _moves(draw: st.DrawFn, instrument: Instrument) -> list[Move]:
    return draw(
        st.lists(
            st.builds(
                Move,
                cloid=_CLOIDS,
                side=st.sampled_from(Side),
                px_ticks=_prices(instrument),
                sz_lots=_sizes(instrument),
                is_reduce_only=st.booleans(),
            ),
            min_size=1,
            max_size=20,
        )
    )


class _Case:
    """One signer on both sides, with drawn network, vault and expiry."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.instrument = draw(_instruments())
        key = draw(st.integers(1, 2**200).map(lambda n: n.to_bytes(32, "big")))
        is_mainnet = draw(st.booleans())
        vault = draw(st.none() | st.binary(min_size=20, max_size=20))
        self.expires_ms = draw(st.none() | st.integers(0, 2**53))
        self.signer = Signer(key, is_mainnet, vault)
        self.sdk = _CaughtExchange(
            key,
            is_mainnet=is_mainnet,
            vault=None if vault is None else "0x" + vault.hex(),
            asset_id=self.instrument.asset_id,
        )
        self.sdk.set_expires_after(self.expires_ms)

    def check(self, action: actions.Action, elements: int) -> None:
        """Our request for `action` is the one the SDK has just made."""
        sent = self.sdk.sent
        nonce = sent["nonce"]
        signature = self.signer.sign(action.msgpack, nonce, self.expires_ms)
        body = actions.body(action, nonce, signature, self.signer.vault, self.expires_ms)
        assert action.json == json.dumps(sent["action"], separators=(",", ":")).encode()
        assert action.msgpack == msgpack.packb(sent["action"])
        assert json.loads(body) == sent
        assert action.type == sent["action"]["type"]
        assert action.elements == elements


_cases = st.composite(_Case)
_SETTINGS = settings(max_examples=often(30, thoroughly=100), deadline=None)


def _request(order: Place | Move, instrument: Instrument, tif: Tif) -> dict[str, Any]:
    return {
        "coin": _COIN,
        "is_buy": order.side is Side.BUY,
        "sz": instrument.sz(order.sz_lots),
        "limit_px": instrument.px(order.px_ticks),
        "order_type": {"limit": {"tif": tif.value}},
        "reduce_only": order.is_reduce_only,
        "cloid": Cloid.from_int(order.cloid),
    }


@_SETTINGS
@given(case=_cases(), data=st.data())
def test_order_is_byte_identical_to_the_sdk(case: _Case, data: st.DataObject) -> None:
    """A single other byte recovers a stranger's address and no order is placed."""
    places = data.draw(_places(case.instrument))

    case.sdk.bulk_orders([_request(place, case.instrument, place.tif) for place in places])

    case.check(actions.order(case.instrument, places), len(places))


@_SETTINGS
@given(case=_cases(), data=st.data())
def test_batch_modify_is_byte_identical_to_the_sdk(case: _Case, data: st.DataObject) -> None:
    """Moves are the most frequent action; each names its order by cloid and is post-only."""
    moves = data.draw(_moves(case.instrument))

    case.sdk.bulk_modify_orders_new(
        [
            {"oid": Cloid.from_int(move.cloid), "order": _request(move, case.instrument, Tif.ALO)}
            for move in moves
        ]
    )

    case.check(actions.batch_modify(case.instrument, moves), len(moves))


@_SETTINGS
@given(case=_cases(), cloids=st.lists(_CLOIDS, min_size=1, max_size=20))
def test_cancel_by_cloid_is_byte_identical_to_the_sdk(case: _Case, cloids: list[int]) -> None:
    """The action that must never fail."""
    case.sdk.bulk_cancel_by_cloid(
        [{"coin": _COIN, "cloid": Cloid.from_int(cloid)} for cloid in cloids]
    )

    case.check(actions.cancel_by_cloid(case.instrument, cloids), len(cloids))


@_SETTINGS
@given(case=_cases(), oids=st.lists(_OIDS, min_size=1, max_size=20))
def test_cancel_is_byte_identical_to_the_sdk(case: _Case, oids: list[int]) -> None:
    """Oids grow past 32 bits; each length has a msgpack form of its own."""
    case.sdk.bulk_cancel([{"coin": _COIN, "oid": oid} for oid in oids])

    case.check(actions.cancel(case.instrument, oids), len(oids))


@_SETTINGS
@given(case=_cases(), leverage=st.integers(1, 50), is_cross=st.booleans())
def test_update_leverage_is_byte_identical_to_the_sdk(
    case: _Case, leverage: int, is_cross: bool
) -> None:
    """Leverage is set once, before the first order."""
    case.sdk.update_leverage(leverage, _COIN, is_cross)

    case.check(actions.update_leverage(case.instrument, leverage, is_cross=is_cross), 1)


@_SETTINGS
@given(case=_cases(), at_ms=st.none() | st.integers(0, 2**53))
def test_schedule_cancel_is_byte_identical_to_the_sdk(case: _Case, at_ms: int | None) -> None:
    """Arming and clearing differ by an absent key, not by a null."""
    case.sdk.schedule_cancel(at_ms)

    case.check(actions.schedule_cancel(at_ms), 1)


@_SETTINGS
@given(case=_cases(), nonce=st.integers(0, 2**53))
def test_noop_is_byte_identical_to_the_sdk(case: _Case, nonce: int) -> None:
    """A noop voids an action in flight that carries the same nonce."""
    case.sdk.noop(nonce)

    assert case.sdk.sent["nonce"] == nonce
    case.check(actions.noop(), 1)
