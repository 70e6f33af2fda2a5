"""Checks 1 to 9: start-up calls of clients, error texts, what the schema lets pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hyperliquid.info import Info
from hyperliquid.utils.error import ClientError

from conformance.harness import ALICE, BOB, ETH, HYNA_BTC, HYPE, Server, ccxt_client, wire_order
from mmbot.emulator.limits import NO_LIMITS

BAD_SCHEMA = "Failed to deserialize the JSON body into the target type"


def sdk_info(server: Server, **options: Any) -> Info:
    """The official client's reading half, without its socket."""
    return Info(server.url, skip_ws=True, **options)


def test_check_01_sdk_info_constructs_from_spot_meta_and_meta(server: Server) -> None:
    """
    The official client must start from its two calls alone.

    Red when `spot_meta` lists its tokens without the first: the client finds no half of a pair.
    """
    info = sdk_info(server)

    assert info.name_to_asset("HYPE") == HYPE
    assert info.asset_to_sz_decimals[ETH] == 4


def test_check_02_sdk_numbers_a_builder_dex_by_its_place(server: Server) -> None:
    """
    An asset id computed from a wrong list trades another market.

    Red when `perp_dexs` leaves out the null of the main dex.
    """
    info = sdk_info(server, perp_dexs=["", "hyna"])

    assert server.info(type="perpDexs")[4]["name"] == "hyna"
    assert info.name_to_asset("hyna:BTC") == HYNA_BTC
    assert info.name_to_asset("BTC") == 0


def test_check_03_ccxt_loads_live_and_delisted_swaps(server: Server) -> None:
    """
    Delisted entries keep their place, so ids stay right, and are shown as not active.

    Red when `meta` filters delisted assets out of the universe.
    """
    with ccxt_client(server) as client:
        markets = client.load_markets()
    swaps = {market["id"]: market for market in markets.values() if market["swap"]}

    assert swaps["0"]["base"] == "BTC"
    assert swaps["0"]["active"] is True
    assert swaps["4"]["active"] is False
    assert swaps["140000"]["settle"] == "USDE"
    assert swaps["140000"]["active"] is True
    assert swaps["140002"]["active"] is False


def test_check_04_unknown_info_type_is_422(server: Server) -> None:
    """
    A server that answers 200 to anything hides a client's typing mistake.

    Red when `InfoDesk.read` answers an unknown type instead of raising.
    """
    reply = server.post("/info", {"type": "metaa"})

    assert (reply.status, reply.text) == (422, BAD_SCHEMA)
    assert reply.content_type is not None
    assert reply.content_type.startswith("text/plain")
    with pytest.raises(ClientError) as caught:
        sdk_info(server).post("/info", {"type": "metaa"})
    assert caught.value.error_message == BAD_SCHEMA


def test_check_05_broken_requests_get_the_venues_texts(server: Server) -> None:
    """
    Clients tell their own mistakes from outages by these codes.

    Red when the check of the content type is left out of `_route`.
    """
    bad_json = server.request("POST", "/info", b"{type:")
    no_type = server.request("POST", "/info", b'{"type":"meta"}', content_type=None)
    suffix = server.request(
        "POST", "/info", b'{"type":"meta"}', content_type="application/vnd.x+json"
    )
    get = server.request("GET", "/info")

    assert (bad_json.status, bad_json.text) == (400, "Failed to parse the request body as JSON")
    assert no_type.status == 415
    assert no_type.text == "Expected request with `Content-Type: application/json`"
    assert suffix.status == 200
    assert (get.status, get.body) == (405, b"")


def test_check_06_unknown_dex_is_500_null_and_unknown_coin_of_a_book_is_200_null(
    server: Server,
) -> None:
    """
    A 500 here is permanent; who retries it, retries for ever.

    Red when `_dex` falls back to the main dex for a name it does not know.
    """
    unknown_dex = server.post("/info", {"type": "metaAndAssetCtxs", "dex": "nope"})
    unknown_coin = server.post("/info", {"type": "l2Book", "coin": "NOPE"})
    figures = server.post("/info", {"type": "l2Book", "coin": "BTC", "nSigFigs": 6})
    mantissa = server.post("/info", {"type": "l2Book", "coin": "BTC", "mantissa": 2})
    funding = server.post("/info", {"type": "fundingHistory", "coin": "NOPE", "startTime": 0})
    delisted = server.info(type="l2Book", coin="MATIC")

    assert (unknown_dex.status, unknown_dex.json) == (500, None)
    assert (unknown_coin.status, unknown_coin.json) == (200, None)
    assert (figures.status, figures.json) == (500, None)
    assert (mantissa.status, mantissa.json) == (500, None)
    assert (funding.status, funding.json) == (500, None)
    assert delisted["levels"] == [[], []]


def test_check_07_spent_ip_budget_is_429_null(start: Callable[..., Server]) -> None:
    """
    The SDK crashes on any other JSON with this status.

    Red when `_answer_info` answers without asking the window of the address.
    """
    server = start(limits=NO_LIMITS.model_copy(update={"weight_per_min": 100}))
    info = sdk_info(server)
    for _ in range(3):
        server.info(type="perpDexs")
    reply = server.post("/info", {"type": "perpDexs"})

    assert (reply.status, reply.json) == (429, None)
    with pytest.raises(ClientError) as caught:
        info.meta()
    assert caught.value.status_code == 429
    server.advance(60_000)
    assert server.info(type="perpDexs")[0] is None


def test_check_07_weights_follow_rows_and_batch_length(start: Callable[..., Server]) -> None:
    """
    A batch of 40 weighs two and 20 fills weigh one more, so a client that counts requests is off.

    Red when `action_weight` ignores the length of the array.
    """
    server = start(limits=NO_LIMITS.model_copy(update={"weight_per_min": 5}))
    cancels = [{"a": HYPE, "o": number} for number in range(80)]
    server.act(ALICE, {"type": "cancel", "cancels": cancels})
    server.act(ALICE, {"type": "cancel", "cancels": cancels[:40]})
    reply = server.post("/exchange", server.signed(ALICE, {"type": "noop"}))

    assert (reply.status, reply.json) == (429, None)


def test_check_08_unknown_keys_pass_in_info_and_orders_only(server: Server) -> None:
    """
    An old client's extra envelope key makes every order a 422; a lenient server would hide it.

    Red when the envelope's struct is no longer strict.
    """
    assert "universe" in server.info(type="meta", zz=1)
    body = server.signed(
        ALICE,
        {"type": "order", "orders": [wire_order(HYPE, "B", "25", "1")], "grouping": "na"},
    )
    in_envelope = server.post("/exchange", {**body, "isFrontend": True})
    in_action = server.post("/exchange", {**body, "action": {**body["action"], "zz": 1}})
    action = body["action"]
    in_order = server.post(
        "/exchange",
        {**body, "action": {**action, "orders": [{**action["orders"][0], "zz": 1}]}},
    )

    assert (in_envelope.status, in_envelope.text) == (422, BAD_SCHEMA)
    assert (in_action.status, in_action.text) == (422, BAD_SCHEMA)
    assert in_order.json["status"] == "ok"
    doubled = server.request("POST", "/info", b'{"type":"l2Book","coin":"BTC","coin":"ETH"}')
    assert doubled.status == 422
    trailing = server.request("POST", "/info", b'{"type":"exchangeStatus"} and more')
    assert trailing.status == 200
    assert server.post("/info", ["l2Book", "BTC"]).json["coin"] == "BTC"


MONEY = {
    *("px", "sz", "limitPx", "origSz", "triggerPx", "closedPnl", "fee", "startPosition", "szi"),
    *("entryPx", "positionValue", "markPx", "oraclePx", "midPx", "funding", "openInterest"),
    *("prevDayPx", "dayNtlVlm", "accountValue", "totalNtlPos", "totalRawUsd", "totalMarginUsed"),
    *("withdrawable", "unrealizedPnl", "marginUsed", "cumVlm", "total", "hold", "rawUsd"),
}
COUNTS = {"oid", "tid", "time", "timestamp", "statusTimestamp", "n", "szDecimals", "nRequestsUsed"}


def _mistyped(value: Any, path: str = "") -> list[str]:
    """Paths of numbers that should be strings, and of counts that should be integers."""
    if isinstance(value, list):
        return [
            bad for index, item in enumerate(value) for bad in _mistyped(item, f"{path}[{index}]")
        ]
    if not isinstance(value, dict):
        return []
    bad = []
    for key, item in value.items():
        here = f"{path}.{key}"
        is_bad = (key in MONEY and not isinstance(item, str | None)) or (
            key in COUNTS and not isinstance(item, int)
        )
        bad.extend([here] if is_bad else _mistyped(item, here))
    return bad


def test_check_09_money_is_text_and_ids_are_integers(server: Server) -> None:
    """
    Strict parsers refuse a float where the venue has a string.

    Red when `_level` writes a price as a number.
    """
    server.order(BOB, wire_order(HYPE, "A", "26.01", "10"))
    server.order(ALICE, wire_order(HYPE, "B", "26.01", "1"), wire_order(HYPE, "B", "25", "2"))
    user = ALICE.address
    kinds: list[dict[str, Any]] = [
        {"type": "metaAndAssetCtxs"},
        {"type": "l2Book", "coin": "HYPE"},
        {"type": "clearinghouseState", "user": user},
        {"type": "spotClearinghouseState", "user": user},
        {"type": "openOrders", "user": user},
        {"type": "frontendOpenOrders", "user": user},
        {"type": "historicalOrders", "user": user},
        {"type": "userFills", "user": user},
        {"type": "recentTrades", "coin": "HYPE"},
        {"type": "userRateLimit", "user": user},
        {"type": "activeAssetData", "user": user, "coin": "HYPE"},
    ]
    answers = [server.info(**kind) for kind in kinds]

    assert [_mistyped(answer) for answer in answers] == [[] for _ in kinds]
    assert server.info(type="l2Book", coin="HYPE")["levels"][0][0]["px"] == "25.0"
    assert json.dumps(answers).count('"oid"') >= 5
