"""Checks 44 to 50: dead man's switch, leverage, triggers, approvals, budget, upgrades, faults."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

import pytest

from conformance.harness import (
    ALICE,
    BOB,
    HYPE,
    NOW_MS,
    VNTL_OAI,
    Server,
    ccxt_client,
    cloid,
    wire_order,
)
from conformance.test_signatures import order_action, sdk_exchange
from mmbot.emulator.specs import VenueParams

OK = {"status": "ok", "response": {"type": "default"}}


def err(text: str) -> dict[str, str]:
    """A whole action refused in these words."""
    return {"status": "err", "response": text}


def open_oids(server: Server, user: Any = ALICE) -> list[int]:
    """Oids that rest for a user on the main dex."""
    return [order["oid"] for order in server.info(type="openOrders", user=user.address)]


def status_of(server: Server, ref: int | str, user: Any = ALICE) -> str:
    """Status of an order by oid or cloid, `unknownOid` where there is none."""
    found = server.info(type="orderStatus", user=user.address, oid=ref)
    return str(found["order"]["status"] if found["status"] == "order" else found["status"])


# --- 44 ---


def test_check_44_schedule_cancel_needs_volume_and_lead_and_then_fires(server: Server) -> None:
    """
    The dead man's switch is closed to small accounts; a bot that leans on it there is alone.

    Red when the dispatcher's volume test is left out.
    """
    soon, later = NOW_MS + 4_999, NOW_MS + 20_000
    refused = server.act(ALICE, {"type": "scheduleCancel", "time": later})
    assert refused == err(
        "Cannot set scheduled cancel time until enough volume traded. "
        "Required: $1000000. Traded: $0.00."
    )
    server.control("account", user=ALICE.address, volume_usd=1e6)
    assert server.act(ALICE, {"type": "scheduleCancel", "time": soon})["status"] == "err"
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1"))
    oid = placed["resting"]["oid"]

    assert server.act(ALICE, {"type": "scheduleCancel", "time": later}) == OK
    assert server.act(ALICE, {"type": "scheduleCancel"}) == OK
    server.advance(25_000)
    assert status_of(server, oid) == "open"
    assert sdk_exchange(server, ALICE).schedule_cancel(NOW_MS + 35_000) == OK
    server.advance(9_999)
    assert status_of(server, oid) == "open"
    server.advance(1)
    assert status_of(server, oid) == "scheduledCancel"


def test_check_44_ccxt_sends_schedule_cancel(server: Server) -> None:
    """
    ccxt names it `cancel_all_orders_after`.

    Red when `scheduleCancel` is missing in the table of signed actions.
    """
    server.control("account", user=ALICE.address, volume_usd=1e6)
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1"))
    with ccxt_client(server, ALICE, at_ms=NOW_MS) as client:
        client.cancel_all_orders_after(10_000)
    server.advance(11_000)

    assert status_of(server, placed["resting"]["oid"]) == "scheduledCancel"


# --- 45 ---


def leverage(asset: int, value: int, *, is_cross: bool) -> dict[str, Any]:
    """An `updateLeverage` action."""
    return {"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": value}


def test_check_45_leverage_is_a_setting_and_does_not_remargin(server: Server) -> None:
    """
    Lower leverage on an open isolated position adds no margin, as a surprised trader finds out.

    Red when `update_leverage` accepts more than the asset's maximum.
    """
    data = {"type": "activeAssetData", "user": ALICE.address, "coin": "HYPE"}
    assert server.act(ALICE, leverage(HYPE, 5, is_cross=False)) == OK
    assert server.info(**data)["leverage"] == {"type": "isolated", "value": 5, "rawUsd": "0.0"}
    assert server.act(ALICE, leverage(HYPE, 11, is_cross=False)) == err("Invalid leverage value")

    server.order(BOB, wire_order(HYPE, "A", "26", "10"))
    server.order(ALICE, wire_order(HYPE, "B", "26", "2", "Ioc"))
    used = server.info(type="clearinghouseState", user=ALICE.address)["assetPositions"]
    assert server.act(ALICE, leverage(HYPE, 10, is_cross=False)) == OK
    after = server.info(type="clearinghouseState", user=ALICE.address)["assetPositions"]
    assert after[0]["position"]["marginUsed"] == used[0]["position"]["marginUsed"]
    switched = server.act(ALICE, leverage(HYPE, 10, is_cross=True))
    assert switched["response"].startswith("Cannot switch leverage type with open position")


def test_check_45_isolated_only_assets_need_the_mode_set_first(server: Server) -> None:
    """
    The first order on such an asset is refused until leverage was set to isolated.

    Red when `refusal` leaves out the test for isolated-only assets.
    """
    order = wire_order(VNTL_OAI, "B", "490", "1")
    (refused,) = server.order(ALICE, order)
    assert refused["error"].startswith("Cross margin is not allowed for this asset.")
    assert server.act(ALICE, leverage(VNTL_OAI, 3, is_cross=True))["status"] == "err"
    assert server.act(ALICE, leverage(VNTL_OAI, 3, is_cross=False)) == OK

    (placed,) = server.order(ALICE, order)
    assert "resting" in placed


# --- 46 ---


def trigger(side: str, px: str, at: str, kind: str, sz: str = "2") -> dict[str, Any]:
    """A take-profit or stop-loss that closes at the market."""
    order = wire_order(HYPE, side, px, sz, reduce_only=True)
    return {**order, "t": {"trigger": {"isMarket": True, "triggerPx": at, "tpsl": kind}}}


def test_check_46_children_of_an_unfilled_order_wait(server: Server) -> None:
    """
    The statuses of children are bare strings, which closed parsers choke on.

    Red when `status_of` wraps a waiting child in an object.
    """
    action = order_action(
        wire_order(HYPE, "B", "25", "2"),
        trigger("A", "30", "32", "tp"),
        trigger("A", "20", "22", "sl"),
    )
    answer = sdk_exchange(server, ALICE)._post_action(
        {**action, "grouping": "normalTpsl"},
        server.signed(ALICE, {**action, "grouping": "normalTpsl"}, nonce=NOW_MS)["signature"],
        NOW_MS,
    )
    statuses = answer["response"]["data"]["statuses"]

    assert list(statuses[0]) == ["resting"]
    assert statuses[1:] == ["waitingForFill", "waitingForFill"]
    assert len(open_oids(server)) == 1


def test_check_46_a_stop_waits_for_the_mark_and_ccxt_reads_its_status(server: Server) -> None:
    """
    A stop that rests is a bare `waitingForTrigger`, and it goes off by the mark price.

    Red when `set_mark` does not fire the triggers that are due.
    """
    server.order(BOB, wire_order(HYPE, "A", "26", "2"), wire_order(HYPE, "B", "23", "5"))
    server.order(ALICE, wire_order(HYPE, "B", "26", "2", "Ioc"))
    with ccxt_client(server, ALICE) as client:
        order = client.create_order(
            "HYPE/USDC:USDC", "market", "sell", 2, 24, {"stopLossPrice": 24, "reduceOnly": True}
        )
    assert order["status"] is None or order["status"] == "open"
    assert server.info(type="frontendOpenOrders", user=ALICE.address)[0]["isTrigger"] is True

    server.control("price", coin="HYPE", px=23.5)
    state = server.info(type="clearinghouseState", user=ALICE.address)
    assert state["assetPositions"] == []


# --- 47 ---


def test_check_47_referrer_and_builder_approval_answer_default(server: Server) -> None:
    """
    ccxt sends both before its first trade and gives up on anything else.

    Red when `approveBuilderFee` is missing in the table of typed data.
    """
    client = sdk_exchange(server, ALICE)
    builder = "0x" + "1a" * 20

    assert client.set_referrer("CCXT1") == OK
    assert client.approve_builder_fee(builder, "0.01%") == OK
    assert server.info(type="maxBuilderFee", user=ALICE.address, builder=builder) == 10
    order = wire_order(HYPE, "B", "25", "1")
    allowed = server.act(ALICE, {**order_action(order), "builder": {"b": builder, "f": 10}})
    assert allowed["status"] == "ok"
    beyond = server.act(ALICE, {**order_action(order), "builder": {"b": builder, "f": 11}})
    stranger = {"b": "0x" + "2b" * 20, "f": 0}
    unknown = server.act(ALICE, {**order_action(order), "builder": stranger})
    for refused in (beyond, unknown):
        text = refused["response"]
        if refused["status"] == "ok":
            text = text["data"]["statuses"][0]["error"]
        assert "Builder fee has not been approved" in text


# --- 48 ---


def test_check_48_a_spent_address_trickles_and_may_still_cancel(
    start: Callable[..., Server],
) -> None:
    """
    New makers run out of requests first; cancels must still get through then.

    Red when `limit` gives cancels no room of their own.
    """
    server = start(venue_params=VenueParams(requests_base=10))
    order = wire_order(HYPE, "B", "25", "1")
    for _ in range(3):
        assert len(server.order(ALICE, order, order, order)) == 3
    server.order(ALICE, order)
    limits = server.info(type="userRateLimit", user=ALICE.address)
    assert (limits["nRequestsUsed"], limits["nRequestsCap"]) == (10, 10)

    assert server.act(ALICE, order_action(order))["status"] == "ok"
    refused = server.act(ALICE, order_action(order))
    assert refused == err(
        "Too many cumulative requests sent (12 > 10) for cumulative volume traded $0.00. "
        "Place taker orders to free up 1 request per USDC traded."
    )
    used = server.info(type="userRateLimit", user=ALICE.address)["nRequestsUsed"]
    assert used == 11
    cancels = [{"a": HYPE, "o": oid} for oid in open_oids(server)[:9]]
    cancelled = server.act(ALICE, {"type": "cancel", "cancels": cancels})
    assert cancelled["response"]["data"]["statuses"] == ["success"] * 9
    assert server.act(ALICE, {"type": "noop"})["status"] == "err"
    server.advance(10_000)
    assert server.act(ALICE, {"type": "noop"}) == OK


# --- 49 ---


def test_check_49_after_an_upgrade_only_alo_is_accepted(server: Server) -> None:
    """
    For minutes after an upgrade no hedge gets through; the nonce is gone all the same.

    Red when `_execute` does not hand the switch on to the venue.
    """
    server.control("faults", is_post_only=True)
    nonce = server.nonce()
    gtc = server.act(ALICE, order_action(wire_order(HYPE, "B", "25", "1")), nonce=nonce)
    (error,) = gtc["response"]["data"]["statuses"]
    assert error["error"].startswith(
        "Only post-only orders allowed immediately after network upgrade"
    )
    replay = server.act(ALICE, {"type": "noop"}, nonce=nonce)
    assert replay["response"].startswith("Invalid nonce: duplicate")

    (alo,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1", "Alo"))
    assert "resting" in alo
    server.control("faults", is_post_only=False)
    assert "resting" in server.order(ALICE, wire_order(HYPE, "B", "25", "1"))[0]


# --- 50 ---


def test_check_50_a_reply_lost_after_commit_leaves_an_order_to_be_found(server: Server) -> None:
    """
    A timeout is no refusal: the order rests, and only its cloid finds it.

    Red when `_execute` drops the action instead of its answer.
    """
    server.control("faults", drop=1)
    body = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=cloid(9))))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        server.post("/exchange", body)

    assert status_of(server, cloid(9)) == "open"
    assert server.act(ALICE, {"type": "noop"}) == OK


def test_check_50_a_502_after_commit_and_one_before_it_differ_only_behind(server: Server) -> None:
    """
    The client sees the same; what it must not do is guess.

    Red when `faults.answer` is asked before the action is carried out.
    """
    server.control("faults", answer=[502])
    done = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=cloid(1))))
    assert server.post("/exchange", done).status == 502
    server.control("faults", refuse=[502, 429])
    lost = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=cloid(2))))
    assert server.post("/exchange", lost).status == 502
    limited = server.post("/exchange", lost)
    assert (limited.status, limited.json) == (429, None)

    assert status_of(server, cloid(1)) == "open"
    assert status_of(server, cloid(2)) == "unknownOid"
    assert server.post("/exchange", lost).json["status"] == "ok"


def test_check_50_an_order_is_unknown_for_a_while_after_its_ack(server: Server) -> None:
    """
    The reading side lags the commit, so one `unknownOid` proves nothing.

    Red when `_order_status` ignores the lag.
    """
    server.control("faults", unknown_oid_lag_ms=700)
    server.order(ALICE, wire_order(HYPE, "B", "25", "1", cloid=cloid(3)))

    assert status_of(server, cloid(3)) == "unknownOid"
    server.advance(699)
    assert status_of(server, cloid(3)) == "unknownOid"
    server.advance(1)
    assert status_of(server, cloid(3)) == "open"


def test_check_50_a_delayed_reply_comes_after_its_events(server: Server) -> None:
    """
    An answer that takes seconds has long been overtaken by what it announces.

    Red when `_answer_post` does not wait.
    """
    server.control("faults", delay_ms=3000)
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        body = server.signed(ALICE, order_action())
        request = {"type": "action", "payload": body}
        socket.send({"method": "post", "id": 1, "request": request})
        assert [message["channel"] for message in socket.pending()] == ["orderUpdates"]
        server.advance(2999)
        assert [message["channel"] for message in socket.pending()] == []
        server.advance(1)
        assert [message["channel"] for message in socket.pending()] == ["post"]
