"""Checks 51 to 56: fills, margin, fees, funding, markets that stop, and dexes kept apart."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.harness import (
    ALICE,
    BOB,
    BTC,
    HYNA_HYPE,
    HYPE,
    NOW_MS,
    XYZ_NVDA,
    Server,
    User,
    cloid,
    wire_order,
)
from conformance.test_signatures import sdk_exchange

HOUR_MS = 3_600_000
MARKS = {"BTC": 84_000.0, "HYPE": 26.0, "hyna:HYPE": 26.0}


def state(server: Server, user: User = ALICE, dex: str = "") -> Any:
    """`clearinghouseState`."""
    return server.info(type="clearinghouseState", user=user.address, dex=dex)


def fills(server: Server, user: User = ALICE) -> list[dict[str, Any]]:
    """A user's fills, newest first."""
    rows: list[dict[str, Any]] = server.info(type="userFills", user=user.address)
    return rows


def quote(server: Server, coin: str, side: str, px: float, sz: float) -> None:
    """Let somebody else rest an order."""
    server.control("trade", coin=coin, side=side, px=px, sz=sz, tif="Gtc")


def leverage(asset: int, value: int, *, is_cross: bool) -> dict[str, Any]:
    """An `updateLeverage` action."""
    return {"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": value}


# --- 51 ---


def test_check_51_every_view_of_a_fill_agrees(server: Server) -> None:
    """
    Fills, position, open orders and order status tell one story on both sides.

    Red when `trade_id` mixes in only one of the two oids.
    """
    server.order(BOB, wire_order(HYPE, "A", "26", "10", "Alo", cloid=cloid(9)))
    server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc", cloid=cloid(1)))
    server.order(ALICE, wire_order(HYPE, "B", "26", "3", "Ioc"))

    later, mine = fills(server)
    his_later, theirs = fills(server, BOB)
    for ours, his in ((mine, theirs), (later, his_later)):
        assert (ours["tid"], ours["hash"], ours["time"]) == (his["tid"], his["hash"], his["time"])
        assert ours["tid"] < 2**50
        assert (ours["crossed"], his["crossed"]) == (True, False)
    assert later["tid"] != mine["tid"]
    assert later["hash"] != mine["hash"]
    assert (mine["startPosition"], mine["dir"], later["startPosition"]) == (
        "0.0",
        "Open Long",
        "4.0",
    )
    assert (theirs["startPosition"], theirs["dir"], his_later["startPosition"]) == (
        "0.0",
        "Open Short",
        "-4.0",
    )
    assert (mine["fee"], theirs["fee"]) == ("0.0468", "0.0156")
    assert (mine["cloid"], theirs["cloid"]) == (cloid(1), cloid(9))
    assert state(server)["assetPositions"][0]["position"]["szi"] == "7.0"
    assert state(server, BOB)["assetPositions"][0]["position"]["szi"] == "-7.0"
    (left,) = server.info(type="openOrders", user=BOB.address)
    status = server.info(type="orderStatus", user=BOB.address, oid=left["oid"])["order"]
    assert left["oid"] == theirs["oid"] == status["order"]["oid"]
    assert (left["sz"], left["origSz"]) == (status["order"]["sz"], status["order"]["origSz"])
    assert (left["sz"], status["status"]) == ("3.0", "open")


def test_check_51_closing_and_turning_realise_profit_pro_rata(server: Server) -> None:
    """
    `closedPnl` is gross of the fee and counts the closed part alone.

    Red when `Slot.fill` takes the fill's size instead of the closed part.
    """
    quote(server, "HYPE", "A", 26, 6)
    server.order(ALICE, wire_order(HYPE, "B", "26", "6", "Ioc"))
    quote(server, "HYPE", "B", 27, 2)
    server.order(ALICE, wire_order(HYPE, "A", "27", "2", "Ioc"))
    quote(server, "HYPE", "B", 25, 6)
    server.order(ALICE, wire_order(HYPE, "A", "25", "6", "Ioc"))

    turned, closed, _ = fills(server)
    assert (closed["dir"], closed["closedPnl"]) == ("Close Long", "2.0")
    assert (turned["dir"], turned["closedPnl"], turned["startPosition"]) == (
        "Long > Short",
        "-4.0",
        "4.0",
    )
    row = state(server)["assetPositions"][0]["position"]
    assert (row["szi"], row["entryPx"]) == ("-2.0", "25.0")


# --- 52 ---


def identities(found: Any, marks: dict[str, float], reserved: float) -> None:
    """Hold the figures of one state against each other, to 2e-6 USDC."""
    total, cross = found["marginSummary"], found["crossMarginSummary"]
    rows = [row["position"] for row in found["assetPositions"]]
    value = sum(float(row["szi"]) * marks[row["coin"]] for row in rows)
    notional = sum(abs(float(row["szi"])) * marks[row["coin"]] for row in rows)
    equity = float(total["accountValue"])
    assert equity == pytest.approx(float(total["totalRawUsd"]) + value, abs=2e-6)
    assert float(total["totalNtlPos"]) == pytest.approx(notional, abs=2e-6)
    crossed = [row for row in rows if row["leverage"]["type"] == "cross"]
    isolated = [row for row in rows if row["leverage"]["type"] == "isolated"]
    assert float(cross["accountValue"]) == pytest.approx(
        float(cross["totalRawUsd"])
        + sum(float(row["szi"]) * marks[row["coin"]] for row in crossed),
        abs=2e-6,
    )
    for row in isolated:
        held = float(row["leverage"]["rawUsd"]) + float(row["szi"]) * marks[row["coin"]]
        assert float(row["marginUsed"]) == pytest.approx(held, abs=2e-6)
    for row in rows:
        cost = abs(float(row["szi"])) * float(row["entryPx"])
        roe = float(row["unrealizedPnl"]) * row["leverage"]["value"] / cost
        assert float(row["returnOnEquity"]) == pytest.approx(roe, abs=1e-6)
    maintenance = sum(float(row["positionValue"]) / (2 * row["maxLeverage"]) for row in crossed)
    assert float(found["crossMaintenanceMarginUsed"]) == pytest.approx(maintenance, abs=2e-6)
    used = sum(float(row["marginUsed"]) for row in rows)
    assert float(total["totalMarginUsed"]) == pytest.approx(used, abs=2e-6)
    free = max(0.0, equity - max(used + reserved, 0.1 * notional))
    assert float(found["withdrawable"]) == pytest.approx(free, abs=2e-6)


def test_check_52_the_identities_of_the_state_hold_after_every_event(server: Server) -> None:
    """
    Cross and isolated positions, resting orders and moving marks: every figure from the others.

    Red when `Summary.withdrawable_u` forgets what resting orders reserve.
    """
    marks = dict(MARKS)
    identities(state(server), marks, 0.0)
    server.act(ALICE, leverage(BTC, 5, is_cross=False))
    quote(server, "BTC", "A", 84_010, 0.015)
    server.order(ALICE, wire_order(BTC, "B", "84010", "0.015", "Ioc"))
    identities(state(server), marks, 0.0)
    quote(server, "HYPE", "A", 26, 100)
    server.order(ALICE, wire_order(HYPE, "B", "26", "100", "Ioc"))
    identities(state(server), marks, 0.0)

    server.order(ALICE, wire_order(HYPE, "B", "25", "50", "Alo"))
    identities(state(server), marks, 50 * 26 / 10)

    for px in (24.0, 29.5, 26.5):
        server.control("price", coin="HYPE", px=px)
        marks["HYPE"] = px
        identities(state(server), marks, 50 * px / 10)
    server.control("price", coin="BTC", px=84_150.0)
    marks["BTC"] = 84_150.0
    identities(state(server), marks, 50 * 26.5 / 10)
    rows = {row["position"]["coin"]: row["position"] for row in state(server)["assetPositions"]}
    assert rows["BTC"]["leverage"] == {"type": "isolated", "value": 5, "rawUsd": "-1008.12"}
    assert rows["BTC"]["marginUsed"] == "254.13"
    assert rows["BTC"]["liquidationPx"] == "68058.73417722"
    assert rows["BTC"]["returnOnEquity"] == "0.0083323413"
    (order,) = server.info(type="openOrders", user=ALICE.address)
    server.act(ALICE, {"type": "cancel", "cancels": [{"a": HYPE, "o": order["oid"]}]})
    identities(state(server), marks, 0.0)


def test_check_52_resting_orders_reserve_margin(server: Server) -> None:
    """
    What one order holds, the next cannot use.

    Red when `has_margin_for` answers yes to everything.
    """
    first = wire_order(HYPE, "B", "25", "3000", "Alo")
    second = wire_order(HYPE, "B", "24.9", "1000", "Alo", cloid=cloid(2))

    placed, refused = server.order(ALICE, first, second)

    assert "resting" in placed
    assert refused == {"error": "Insufficient margin to place order. asset=3"}
    assert state(server)["withdrawable"] == "2200.0"
    assert state(server)["marginSummary"]["totalMarginUsed"] == "0.0"


# --- 53 ---


@pytest.mark.parametrize(
    ("coin", "asset", "px", "maker_bps", "taker_bps", "token"),
    [
        ("HYPE", HYPE, "26", 1.5, 4.5, "USDC"),
        ("hyna:HYPE", HYNA_HYPE, "26", 3.0, 9.0, "USDE"),
        ("xyz:NVDA", XYZ_NVDA, "219", 0.3, 0.9, "USDC"),
    ],
    ids=["main", "scale 1", "scale 1 in growth mode"],
)
def test_check_53_fees_follow_scale_and_growth_mode(
    server: Server,
    coin: str,
    asset: int,
    px: str,
    maker_bps: float,
    taker_bps: float,
    token: str,
) -> None:
    """
    Per-asset figures of `meta` decide what is charged, in the dex's collateral.

    Red when `scale_factor` returns 1 for a scale of 1.
    """
    if coin.startswith("xyz:"):
        for user in (ALICE, BOB):
            sent = sdk_exchange(server, user).send_asset(user.address, "", "xyz", "USDC", 1_000)
            assert sent["status"] == "ok"
    server.order(BOB, wire_order(asset, "A", px, "10", "Alo"))
    server.order(ALICE, wire_order(asset, "B", px, "10", "Ioc"))

    (mine,), (theirs,) = fills(server), fills(server, BOB)
    value = float(px) * 10
    assert float(mine["fee"]) == pytest.approx(value * taker_bps / 1e4, abs=1e-6)
    assert float(theirs["fee"]) == pytest.approx(value * maker_bps / 1e4, abs=1e-6)
    assert mine["feeToken"] == theirs["feeToken"] == token
    rates = server.info(type="userFees", user=ALICE.address)
    assert (rates["userCrossRate"], rates["userAddRate"]) == ("0.00045", "0.00015")


# --- 54 ---


@pytest.mark.parametrize(
    ("coin", "asset", "dex", "bid", "ask", "per_8h"),
    [
        # The impact bid is 10 bps over the oracle; i - P = -9 bps is cut at 5.
        ("HYPE", HYPE, "", 26.026, 26.04, 0.001 - 0.0005),
        # The mean impact price is 10 bps over; a builder dex cuts at 3.
        ("hyna:HYPE", HYNA_HYPE, "hyna", 26.012, 26.04, 0.001 - 0.0003),
    ],
    ids=["main", "builder dex"],
)
def test_check_54_funding_is_hourly_at_the_oracle(
    server: Server, coin: str, asset: int, dex: str, bid: float, ask: float, per_8h: float
) -> None:
    """
    Rate, history, the user's row and his balance agree; rows come just after the hour.

    Red when `rate_per_h` uses the main dex's clamp everywhere.
    """
    quote(server, coin, "B", bid, 10_000)
    quote(server, coin, "A", ask, 10_000)
    server.order(ALICE, wire_order(asset, "B", str(ask), "100", "Ioc"))
    before = float(state(server, dex=dex)["marginSummary"]["accountValue"])

    server.advance(HOUR_MS)

    (row,) = server.info(type="userFunding", user=ALICE.address, startTime=NOW_MS)
    (history,) = server.info(type="fundingHistory", coin=coin, startTime=NOW_MS)
    rate = per_8h / 8
    assert 1 <= row["time"] % HOUR_MS <= 118
    assert row["time"] == history["time"]
    assert float(history["fundingRate"]) == pytest.approx(rate, rel=1e-6)
    assert row["delta"]["fundingRate"] == history["fundingRate"]
    assert (row["delta"]["coin"], row["delta"]["szi"]) == (coin, "100.0")
    assert float(row["delta"]["usdc"]) == pytest.approx(-100 * 26.0 * rate, abs=2e-6)
    after = float(state(server, dex=dex)["marginSummary"]["accountValue"])
    assert after - before == pytest.approx(float(row["delta"]["usdc"]), abs=2e-6)


# --- 55 ---


@pytest.mark.parametrize("name", ["delist", "halt"])
def test_check_55_a_stopped_market_settles_and_keeps_its_place(server: Server, name: str) -> None:
    """
    Orders end, positions close at the mark, the book is empty; ids and the dex stay.

    Red when `liquidation.halt` leaves positions open.
    """
    before = server.info(type="meta", dex="hyna")
    quote(server, "hyna:HYPE", "A", 26, 10)
    server.order(ALICE, wire_order(HYNA_HYPE, "B", "26", "4", "Ioc"))
    (placed,) = server.order(ALICE, wire_order(HYNA_HYPE, "A", "28", "4", cloid=cloid(1)))
    server.control("price", coin="hyna:HYPE", px=27.0)
    value = state(server, dex="hyna")["marginSummary"]["accountValue"]

    server.control(name, coin="hyna:HYPE")

    oid = placed["resting"]["oid"]
    word = server.info(type="orderStatus", user=ALICE.address, oid=oid)["order"]["status"]
    assert word == ("delistedCanceled" if name == "delist" else "canceled")
    settled = fills(server)[0]
    assert (settled["dir"], settled["px"], settled["closedPnl"]) == ("Settlement", "27.0", "4.0")
    assert settled["fee"] == "0.0"
    assert state(server, dex="hyna")["assetPositions"] == []
    assert state(server, dex="hyna")["marginSummary"]["accountValue"] == value
    after = server.info(type="meta", dex="hyna")
    assert [row["name"] for row in after["universe"]] == [row["name"] for row in before["universe"]]
    assert after["universe"][1].get("isDelisted", False) is (name == "delist")
    ctx = server.info(type="metaAndAssetCtxs", dex="hyna")[1][1]
    assert (ctx["midPx"], ctx["openInterest"], ctx["markPx"]) == (None, "0.0", "27.0")
    assert server.info(type="l2Book", coin="hyna:HYPE")["levels"] == [[], []]
    assert server.info(type="perpDexs")[4]["name"] == "hyna"
    (refused,) = server.order(ALICE, wire_order(HYNA_HYPE, "B", "26", "4"))
    assert "Trading is halted." in refused["error"]


# --- 56 ---


def test_check_56_collateral_never_crosses_between_dexes(server: Server) -> None:
    """
    Ten thousand on the main dex buy nothing on another until they are sent there.

    Red when `Account.slot` takes the purse of the main dex for every asset.
    """
    order = wire_order(XYZ_NVDA, "B", "210", "0.1", "Alo")
    (before,) = server.order(ALICE, order)
    client = sdk_exchange(server, ALICE)
    foreign = client.send_asset(ALICE.address, "", "hyna", "USDC", 10)
    unknown = client.send_asset(ALICE.address, "", "nope", "USDC", 10)
    sent = client.send_asset(ALICE.address, "", "xyz", "USDC", 100)
    (after,) = server.order(ALICE, order)

    assert before == {"error": f"Insufficient margin to place order. asset={XYZ_NVDA}"}
    assert foreign == {"status": "err", "response": "Invalid send"}
    assert unknown == {"status": "err", "response": "Invalid perp DEX"}
    assert sent == {"status": "ok", "response": {"type": "default"}}
    assert "resting" in after
    assert state(server)["marginSummary"]["accountValue"] == "9900.0"
    assert state(server, dex="xyz")["marginSummary"]["accountValue"] == "100.0"
    assert server.info(type="openOrders", user=ALICE.address) == []
    assert len(server.info(type="openOrders", user=ALICE.address, dex="xyz")) == 1
