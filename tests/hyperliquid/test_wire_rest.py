"""Bodies of reads: cut down to our coin, exact, and refused when they are something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmbot.core.events import OrderState, OrderUpdate
from mmbot.core.types import Instrument, Side
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid import wire_rest

_COIN = "xyz:NVDA"
_NVDA = Instrument(coin=_COIN, dex="xyz", asset_id=110_002, sz_decimals=3, max_leverage=20)
_MS = 1_790_360_256_851
_NOW = (_MS + 5) * 1_000_000
_CLOID = "0x00000000000000000000000000000007"


def _body(value: Any) -> bytes:
    return json.dumps(value).encode()


def _order(**changes: Any) -> dict[str, Any]:
    order = {
        "coin": _COIN,
        "side": "B",
        "limitPx": "219.0",
        "sz": "1.5",
        "oid": 556_696_349_186,
        "timestamp": _MS,
        "origSz": "2.0",
        "cloid": _CLOID,
        "reduceOnly": True,
    }
    return order | changes


def _fill(at_ms: int, tid: int, **changes: Any) -> dict[str, Any]:
    fill = {
        "coin": _COIN,
        "px": "219.05",
        "sz": "2.0",
        "side": "B",
        "time": at_ms,
        "startPosition": "0.0",
        "dir": "Open Long",
        "closedPnl": "0.0",
        "hash": "0xaa",
        "oid": 5,
        "crossed": False,
        "fee": "0.013143",
        "tid": tid,
        "feeToken": "USDC",
        "twapId": None,
    }
    return fill | changes


def test_open_orders_are_those_of_our_coin() -> None:
    """Orders of other coins of the dex are not ours to cancel, nor on our grid."""
    body = _body([_order(), _order(coin="xyz:TSLA", limitPx="0.0000001")])

    assert wire_rest.open_orders(body, _NVDA, _NOW) == (
        OrderUpdate(
            recv_ns=_NOW,
            venue_ms=_MS,
            oid=556_696_349_186,
            cloid=7,
            side=Side.BUY,
            px_ticks=219_000,
            sz_lots=1_500,
            orig_sz_lots=2_000,
            state=OrderState.OPEN,
            status="open",
        ),
    )


def test_open_order_without_an_original_size_uses_what_remains() -> None:
    """The docs' example lacks `origSz`, the wire has it: both are read."""
    order = _order()
    del order["origSz"]

    (found,) = wire_rest.open_orders(_body([order]), _NVDA, _NOW)

    assert (found.sz_lots, found.orig_sz_lots) == (1_500, 1_500)


@pytest.mark.parametrize("newest_first", [True, False])
def test_fills_come_oldest_first_from_either_call(newest_first: bool) -> None:
    """`userFills` is newest first, `userFillsByTime` ascending; equal times keep their chain."""
    rows = [_fill(_MS, 1), _fill(_MS + 1, 2), _fill(_MS + 1, 3), _fill(_MS + 2, 4)]
    foreign = [_fill(_MS, 9, coin="BTC")]

    listed = rows[::-1] if newest_first else rows
    fills = wire_rest.user_fills(_body(listed + foreign), _NVDA, "0x1", _NOW)

    assert [fill.tid for fill in fills] == [1, 2, 3, 4]
    assert all(fill.is_snapshot for fill in fills)


@pytest.mark.parametrize("sz", ["0.0", "0.0000001"])
def test_a_fill_of_no_size_is_refused(sz: str) -> None:
    """What moved nothing is no fill; something is wrong with the answer."""
    with pytest.raises(VenueProtocolError, match=r"fill 1 of xyz:NVDA has the size"):
        wire_rest.user_fills(_body([_fill(_MS, 1, sz=sz)]), _NVDA, "0x1", _NOW)


def test_answers_from_the_future_are_refused() -> None:
    """A fill or an order dated tomorrow would outrank everything that comes until then."""
    ahead = _MS + 10_006
    status = {"order": _order(), "status": "filled", "statusTimestamp": ahead}
    with pytest.raises(VenueProtocolError, match="ahead of our clock"):
        wire_rest.user_fills(_body([_fill(ahead, 1)]), _NVDA, "0x1", _NOW)
    with pytest.raises(VenueProtocolError, match="ahead of our clock"):
        wire_rest.open_orders(_body([_order(timestamp=ahead)]), _NVDA, _NOW)
    with pytest.raises(VenueProtocolError, match="ahead of our clock"):
        wire_rest.order_status(_body({"status": "order", "order": status}), _NVDA, _NOW)


def test_order_status_is_an_update_with_what_remains() -> None:
    """The status stamp is the venue's time of the state, not of the placement."""
    order = {"order": _order(tif="Alo"), "status": "filled", "statusTimestamp": _MS + 148}

    found = wire_rest.order_status(_body({"status": "order", "order": order}), _NVDA, _NOW)

    assert found is not None
    assert (found.state, found.venue_ms, found.sz_lots) == (OrderState.FILLED, _MS + 148, 1_500)


def test_order_status_of_an_unknown_order_is_none() -> None:
    """The caller decides how long the venue may lag."""
    assert wire_rest.order_status(b'{"status":"unknownOid"}', _NVDA, _NOW) is None


def test_order_status_of_another_coin_is_refused() -> None:
    """Our cloid on another coin means that the asset id was wrong: nothing may be assumed."""
    order = {"order": _order(coin="xyz:TSLA"), "status": "open", "statusTimestamp": _MS}

    with pytest.raises(VenueProtocolError, match="xyz:TSLA, asked for xyz:NVDA"):
        wire_rest.order_status(_body({"status": "order", "order": order}), _NVDA, _NOW)


def _account(positions: list[dict[str, Any]]) -> bytes:
    summary = {
        "accountValue": "1254.13",
        "totalNtlPos": "1262.25",
        "totalRawUsd": "-8.12",
        "totalMarginUsed": "254.13",
    }
    return _body(
        {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": "1000.0",
            "assetPositions": [{"type": "oneWay", "position": each} for each in positions],
            "time": _MS,
        }
    )


def _position(**changes: Any) -> dict[str, Any]:
    position = {
        "coin": _COIN,
        "szi": "-1.5",
        "leverage": {"type": "isolated", "value": 5, "rawUsd": "-1008.12"},
        "entryPx": "220.0",
        "positionValue": "328.575",
        "unrealizedPnl": "1.425",
        "returnOnEquity": "0.0083",
        "liquidationPx": None,
        "marginUsed": "65.7",
        "maxLeverage": 20,
        "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
    }
    return position | changes


def test_short_position_is_negative_and_its_mark_positive() -> None:
    """The mark is value over size; the venue gives the value without a sign."""
    state = wire_rest.clearinghouse_state(_account([_position(coin="BTC"), _position()]), _NVDA)

    assert (state.position_lots, state.entry_px, state.unrealised_usd) == (-1_500, 220.0, 1.425)
    assert state.mark_px == pytest.approx(219.05)
    assert (state.equity_usd, state.withdrawable_usd) == (1254.13, 1000.0)
    assert state.leverage == wire_rest.Leverage("isolated", 5)
    assert state.liquidation_px is None


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"liquidationPx": "256.43902439"}, 0.025),
        ({"liquidationPx": None}, None),
        ({"liquidationPx": "0.0"}, None),
        ({"liquidationPx": "400.0"}, None),
    ],
)
def test_what_an_isolated_position_must_keep_is_what_it_has_at_its_liquidation_price(
    changes: dict[str, Any], kept: float | None
) -> None:
    """65.7 USD behind 1.5 short at 219.05; a price at which it owes money is no such price."""
    state = wire_rest.clearinghouse_state(_account([_position(**changes)]), _NVDA)

    assert state.isolated is not None
    assert (state.isolated.margin_usd, state.isolated.leverage) == (65.7, 5)
    assert state.isolated.mark_px == pytest.approx(219.05)
    assert state.isolated.maintenance_per_usd == (
        None if kept is None else pytest.approx(kept, rel=1e-3)
    )
    cross = {"type": "cross", "value": 5}
    state = wire_rest.clearinghouse_state(_account([_position(leverage=cross)]), _NVDA)
    assert state.isolated is None


@pytest.mark.parametrize("positions", [[], [_position(szi="0.0", positionValue="0.0")]])
def test_flat_account_has_no_mark(positions: list[dict[str, Any]]) -> None:
    """Nothing is valued, so no price is invented; `activeAssetData` has the mark."""
    state = wire_rest.clearinghouse_state(_account(positions), _NVDA)

    assert (state.position_lots, state.mark_px, state.entry_px, state.leverage) == (
        0,
        None,
        None,
        None,
    )


def test_rate_limit_fees_and_mode_are_read() -> None:
    """What the start-up checks and the budget stand on."""
    limit = _body(
        {
            "cumVlm": "2854574.59",
            "nRequestsUsed": 2890,
            "nRequestsCap": 2864574,
            "nRequestsSurplus": 0,
        }
    )
    fees = _body(
        {
            "userCrossRate": "0.00045",
            "userAddRate": "-0.00001",
            "activeReferralDiscount": "0.04",
            "feeSchedule": {},
        }
    )

    assert wire_rest.user_rate_limit(limit) == wire_rest.RateLimit(2_854_574.59, 2_890, 2_864_574)
    assert wire_rest.user_fees(fees) == wire_rest.UserFees(0.00045, -0.00001, 0.04)
    assert wire_rest.user_abstraction(b'"unifiedAccount"') == "unifiedAccount"


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        ({"role": "user"}, wire_rest.UserRole("user")),
        ({"role": "missing"}, wire_rest.UserRole("missing")),
        ({"role": "agent", "data": {"user": "0xab"}}, wire_rest.UserRole("agent", "0xab")),
        (
            {"role": "subAccount", "data": {"master": "0xcd"}},
            wire_rest.UserRole("subAccount", "0xcd"),
        ),
    ],
)
def test_role_names_the_account_behind_an_agent(
    answer: dict[str, Any], role: wire_rest.UserRole
) -> None:
    """Reading with an agent's address returns empty data instead of an error."""
    assert wire_rest.user_role(_body(answer)) == role


def test_active_asset_data_has_leverage_and_mark_while_flat() -> None:
    """The only cheap read of the configured leverage."""
    found = wire_rest.active_asset_data(
        _body(
            {
                "user": "0x1",
                "coin": _COIN,
                "leverage": {"type": "cross", "value": 10},
                "maxTradeSzs": ["45.6", "45.5"],
                "availableToTrade": ["1000.0", "999.0"],
                "markPx": "219.05",
            }
        )
    )

    assert (found.leverage.is_cross, found.leverage.value, found.mark_px) == (True, 10, 219.05)
    assert found.available_to_trade == (1000.0, 999.0)


def test_tokens_are_found_by_index_not_by_place() -> None:
    """The list is sparse; other clients crashed on that."""
    tokens = [{"name": "USDC", "index": 0}, {"name": "USDE", "index": 235}]

    assert wire_rest.spot_tokens(_body({"tokens": tokens, "universe": []})) == {
        0: "USDC",
        235: "USDE",
    }


_READERS: list[Callable[[bytes], object]] = [
    lambda body: wire_rest.open_orders(body, _NVDA, _NOW),
    lambda body: wire_rest.user_fills(body, _NVDA, "0x1", _NOW),
    lambda body: wire_rest.order_status(body, _NVDA, _NOW),
    lambda body: wire_rest.clearinghouse_state(body, _NVDA),
    wire_rest.user_rate_limit,
    wire_rest.user_fees,
    wire_rest.user_role,
    wire_rest.user_abstraction,
    wire_rest.active_asset_data,
    wire_rest.meta,
    wire_rest.perp_dexs,
    wire_rest.spot_tokens,
]


@pytest.mark.parametrize("read", _READERS)
@pytest.mark.parametrize("body", [b"null", b"", b"Too Many Requests", b"{", b"[" * 100_000])
def test_body_of_another_kind_raises_a_protocol_error(
    read: Callable[[bytes], object], body: bytes
) -> None:
    """`null` is the venue's answer for a dex or coin it does not know."""
    with pytest.raises(VenueProtocolError, match="unreadable answer to"):
        read(body)


@settings(deadline=None)
@given(read=st.sampled_from(_READERS), body=st.binary(max_size=200))
@example(read=_READERS[2], body=b'{"status":"order"}')
@example(read=_READERS[5], body=b'{"userCrossRate":"nan"}')
def test_arbitrary_bodies_are_read_or_raise_a_protocol_error(
    read: Callable[[bytes], object], body: bytes
) -> None:
    """No other exception leaves the readers."""
    try:
        told: object = read(body)
    except VenueProtocolError as error:
        told = error
    assert told is not None
