"""Checks 32 to 43: time in force, prices, sizes, batches, reduce-only, cancel and modify."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.harness import (
    ALICE,
    BOB,
    BTC,
    ETH,
    HYPE,
    Server,
    Socket,
    User,
    cloid,
    wire_order,
)
from conformance.test_signatures import sdk_exchange

GONE = "Order was never placed, already canceled, or filled."


def status_of(server: Server, ref: int | str, user: User = ALICE) -> str:
    """Status of an order by oid or cloid, `unknownOid` where there is none."""
    found = server.info(type="orderStatus", user=user.address, oid=ref)
    return str(found["order"]["status"] if found["status"] == "order" else found["status"])


def resting(server: Server, user: User = ALICE) -> list[dict[str, Any]]:
    """What `openOrders` shows of a user on the main dex."""
    rows: list[dict[str, Any]] = server.info(type="openOrders", user=user.address)
    return rows


def fills(server: Server, user: User = ALICE) -> list[dict[str, Any]]:
    """A user's fills, newest first."""
    rows: list[dict[str, Any]] = server.info(type="userFills", user=user.address)
    return rows


def levels(server: Server, coin: str = "HYPE") -> Any:
    """[bids, asks] of the book."""
    return server.info(type="l2Book", coin=coin)["levels"]


def position(server: Server, user: User = ALICE) -> str:
    """Signed size of the HYPE position."""
    state = server.info(type="clearinghouseState", user=user.address)
    rows = [row["position"] for row in state["assetPositions"]]
    return next((str(row["szi"]) for row in rows if row["coin"] == "HYPE"), "0.0")


def quote(server: Server, side: str, px: float, sz: float) -> None:
    """Let somebody else rest an order."""
    done = server.control("trade", coin="HYPE", side=side, px=px, sz=sz, tif="Gtc")
    assert done["error"] is None


def take(server: Server, side: str, px: float, sz: float) -> None:
    """Let somebody else take up to a price."""
    server.control("trade", coin="HYPE", side=side, px=px, sz=sz)


def oid_of(status: dict[str, Any]) -> int:
    """Oid of an order that rests."""
    return int(status["resting"]["oid"])


def updates(socket: Socket) -> list[list[tuple[int, str]]]:
    """(oid, status) of the `orderUpdates` messages on their way, message by message."""
    return [
        [(row["order"]["oid"], row["status"]) for row in message["data"]]
        for message in socket.pending()
        if message["channel"] == "orderUpdates"
    ]


# --- 32 ---


def test_check_32_a_crossing_post_only_order_names_the_touch_and_changes_nothing(
    server: Server,
) -> None:
    """
    A maker that crosses must learn it from the answer, and pay no taker fee.

    Red when `Desk.run` leaves out the test of ALO against the other side.
    """
    quote(server, "B", 25.99, 10)
    quote(server, "A", 26.01, 10)
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25.98", "1", "Alo", cloid=cloid(1)))
    before = levels(server)

    (refused,) = server.order(ALICE, wire_order(HYPE, "B", "26.01", "1", "Alo", cloid=cloid(2)))

    assert placed == {"resting": {"oid": oid_of(placed), "cloid": cloid(1)}}
    text = "Post only order would have immediately matched, bbo was 25.99@26.01. asset=3"
    assert refused == {"error": text}
    assert levels(server) == before
    assert status_of(server, cloid(1)) == status_of(server, oid_of(placed)) == "open"
    assert status_of(server, cloid(2)) == "badAloPxRejected"
    assert fills(server) == []


# --- 33 ---


@pytest.mark.parametrize(
    ("offered", "total", "remainder"),
    [(10.0, "4.0", "0.0"), (3.0, "3.0", "1.0")],
    ids=["full", "partial"],
)
def test_check_33_an_ioc_answers_what_it_got(
    server: Server, offered: float, total: str, remainder: str
) -> None:
    """
    The remainder of a partial IOC goes without a word; only `sz` of its status tells.

    Red when `Desk.run` sets what is left of an IOC to zero.
    """
    quote(server, "A", 26.0, offered)

    (status,) = server.order(ALICE, wire_order(HYPE, "B", "26.5", "4", "Ioc", cloid=cloid(1)))

    assert (status["filled"]["totalSz"], status["filled"]["avgPx"]) == (total, "26.0")
    found = server.info(type="orderStatus", user=ALICE.address, oid=cloid(1))["order"]
    assert (found["order"]["sz"], found["order"]["origSz"]) == (remainder, "4.0")
    assert resting(server) == []
    assert position(server) == total


def test_check_33_an_ioc_without_a_match_is_an_error(server: Server) -> None:
    """
    Nothing to match is a refusal, with a record.

    Red when `Desk.run` ends an unmatched IOC as canceled.
    """
    quote(server, "A", 26.5, 10)

    (status,) = server.order(ALICE, wire_order(HYPE, "B", "26.4", "4", "Ioc", cloid=cloid(1)))

    text = "Order could not immediately match against any resting orders. asset=3"
    assert status == {"error": text}
    assert status_of(server, cloid(1)) == "iocCancelRejected"


# --- 34 ---


def test_check_34_a_gtc_fills_in_part_and_rests(server: Server) -> None:
    """
    What it got is in the fills; what is left rests with the original size beside it.

    Red when `basic_order` shows the remaining size as `origSz`.
    """
    quote(server, "A", 26.0, 3)

    server.order(ALICE, wire_order(HYPE, "B", "26.1", "10", cloid=cloid(1)))

    (row,) = resting(server)
    assert (row["sz"], row["origSz"], row["limitPx"]) == ("7.0", "10.0", "26.1")
    assert [fill["sz"] for fill in fills(server)] == ["3.0"]
    assert levels(server)[0] == [{"px": "26.1", "sz": "7.0", "n": 1}]


# --- 35 ---


@pytest.mark.parametrize(
    ("asset", "px", "sz", "is_accepted"),
    [
        (BTC, "81234", "0.01", True),
        (BTC, "123456", "0.01", True),
        (BTC, "81234.5", "0.01", False),
        (ETH, "2400.1", "0.1", True),
        (ETH, "2400.12", "0.1", False),
        (HYPE, "25.001", "1", True),
        (HYPE, "25.0001", "1", False),
        (HYPE, "9.9999", "2", True),
        (HYPE, "9.99991", "2", False),
    ],
)
def test_check_35_prices_keep_five_figures_and_integers_are_always_valid(
    server: Server, asset: int, px: str, sz: str, is_accepted: bool
) -> None:
    """
    The rule clients get wrong most often, on both sides of a power of ten.

    Red when `step_of` leaves out the bound by the integer.
    """
    mark = {BTC: 84_000.0, ETH: 2_500.0, HYPE: 26.0}[asset]
    side = "B" if float(px) < mark else "A"

    (status,) = server.order(ALICE, wire_order(asset, side, px, sz))

    if is_accepted:
        assert "resting" in status
    else:
        assert status == {"error": "Price must be divisible by tick size."}


# --- 36 ---


def test_check_36_one_bad_size_voids_a_batch_with_a_single_status(server: Server) -> None:
    """
    Three orders, one status: a client that zips them loses track of two.

    Red when `place_batch` answers a static failure once per order.
    """
    answer = server.order(
        ALICE,
        wire_order(HYPE, "B", "25", "1", cloid=cloid(1)),
        wire_order(HYPE, "B", "25", "1.001", cloid=cloid(2)),
        wire_order(HYPE, "B", "25", "1", cloid=cloid(3)),
    )

    assert answer == [{"error": "Order has invalid size."}]
    assert resting(server) == []
    assert [status_of(server, cloid(n)) for n in (1, 2, 3)] == ["unknownOid"] * 3


# --- 37 ---


def test_check_37_a_small_order_fails_alone(server: Server) -> None:
    """
    A refusal by the engine keeps its place among the statuses, and its siblings live.

    Red when `place_batch` stops at the first refused order.
    """
    answer = server.order(
        ALICE,
        wire_order(HYPE, "B", "25", "1", cloid=cloid(1)),
        wire_order(HYPE, "B", "25", "0.3", cloid=cloid(2)),
        wire_order(HYPE, "B", "24", "1", cloid=cloid(3)),
    )

    text = "Order must have minimum value of $10. asset=3"
    assert [next(iter(status)) for status in answer] == ["resting", "error", "resting"]
    assert answer[1]["error"] == text
    assert status_of(server, cloid(2)) == "minTradeNtlRejected"
    assert {row["cloid"] for row in resting(server)} == {cloid(1), cloid(3)}


# --- 38 ---


def test_check_38_empty_and_oversized_batches_have_their_own_words(server: Server) -> None:
    """
    One is a status, the other an error of the whole action.

    Red when `Dispatcher.execute` leaves out the weight limit.
    """
    assert server.order(ALICE) == [{"error": "Orders are empty."}]

    cancels = [{"a": HYPE, "o": number} for number in range(201)]
    answer = server.act(ALICE, {"type": "cancel", "cancels": cancels})
    assert answer == {"status": "err", "response": "Signed action over weight limit of 200."}
    assert server.act(ALICE, {"type": "cancel", "cancels": cancels[:200]})["status"] == "ok"


# --- 39 ---


def test_check_39_under_ten_dollars_only_a_whole_close_passes(server: Server) -> None:
    """
    Dust leaves in one order of exactly the position, or not at all.

    Red when `_value_refusal` forgets the exemption of a whole close.
    """
    quote(server, "A", 26.0, 10)
    quote(server, "B", 19.0, 10)
    (small,) = server.order(ALICE, wire_order(HYPE, "B", "26", "0.3", "Ioc"))
    server.order(ALICE, wire_order(HYPE, "B", "26", "0.5", "Ioc"))

    part = wire_order(HYPE, "A", "19", "0.4", "Ioc", reduce_only=True)
    whole = wire_order(HYPE, "A", "19", "0.5", "Ioc", reduce_only=True)
    (refused,) = server.order(ALICE, part)
    (closed,) = server.order(ALICE, whole)

    text = "Order must have minimum value of $10. asset=3"
    assert small == refused == {"error": text}
    assert closed["filled"]["totalSz"] == "0.5"
    assert position(server) == "0.0"


# --- 40 ---


def test_check_40_reduce_only_is_refused_on_flat_and_shrunk_to_the_position(
    server: Server,
) -> None:
    """
    `sz` follows the position, `origSz` keeps what was asked for.

    Red when `fit_reduce_only` leaves the size as it is.
    """
    ask = wire_order(HYPE, "A", "27", "9", reduce_only=True, cloid=cloid(1))
    (flat,) = server.order(ALICE, ask)
    quote(server, "A", 26.0, 4)
    server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc"))
    server.order(ALICE, ask)

    assert flat == {"error": "Reduce only order would increase position. asset=3"}
    (row,) = resting(server)
    assert (row["sz"], row["origSz"], row["reduceOnly"]) == ("4.0", "9.0", True)


def test_check_40_a_resting_reduce_only_order_ends_with_the_closing_fill(server: Server) -> None:
    """
    Both records come in one `orderUpdates` message, so no client sees an order without a position.

    Red when `_trim_reducing` is not called after a fill.
    """
    quote(server, "A", 26.0, 4)
    server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc"))
    (status,) = server.order(ALICE, wire_order(HYPE, "A", "27", "4", reduce_only=True))
    quote(server, "B", 25.9, 10)
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        (closed,) = server.order(ALICE, wire_order(HYPE, "A", "25.9", "4", "Ioc"))
        messages = updates(socket)

    expected = {(oid_of(status), "reduceOnlyCanceled"), (closed["filled"]["oid"], "filled")}
    assert [set(message) for message in messages] == [expected]
    assert status_of(server, oid_of(status)) == "reduceOnlyCanceled"


def test_check_40_of_two_reduce_only_orders_too_large_the_older_goes(server: Server) -> None:
    """
    Single source; a client that ladders reduce-only exits has to know.

    Red when `_rest` does not make room among reduce-only orders.
    """
    quote(server, "A", 26.0, 4)
    server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc"))
    older, newer = server.order(
        ALICE,
        wire_order(HYPE, "A", "27", "3", reduce_only=True),
        wire_order(HYPE, "A", "28", "2", reduce_only=True),
    )

    assert status_of(server, oid_of(older)) == "reduceOnlyCanceled"
    assert status_of(server, oid_of(newer)) == "open"


# --- 41 ---


def test_check_41_a_self_trade_cancels_the_resting_side_and_prints_nothing(
    server: Server,
) -> None:
    """
    The taker goes on to the next order; there is no trade, no fee and no fill between the two.

    Red when `MatchBook.match` does not compare the accounts.
    """
    (own,) = server.order(ALICE, wire_order(HYPE, "A", "26", "4"))
    server.order(BOB, wire_order(HYPE, "A", "26", "4"))
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        (status,) = server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc"))
        (message,) = updates(socket)

    trades = server.info(type="recentTrades", coin="HYPE")
    assert status["filled"]["totalSz"] == "4.0"
    assert message[0] == (oid_of(own), "selfTradeCanceled")
    assert [trade["users"] for trade in trades] == [[ALICE.address, BOB.address]]
    assert len(fills(server)) == len(fills(server, BOB)) == 1
    assert status_of(server, oid_of(own)) == "selfTradeCanceled"


# --- 42 ---


def test_check_42_cancels_are_answered_in_order_by_oid_and_by_cloid(server: Server) -> None:
    """
    A wrong asset and an unknown order fail alone, at their own place.

    Red when `orders.cancel` does not look at the asset.
    """
    first, second = server.order(
        ALICE,
        wire_order(HYPE, "B", "25", "1"),
        wire_order(HYPE, "B", "24", "1", cloid=cloid(2)),
    )
    wanted = [{"a": BTC, "o": oid_of(first)}, {"a": HYPE, "o": oid_of(first)}, {"a": HYPE, "o": 1}]

    by_oid = server.act(ALICE, {"type": "cancel", "cancels": wanted})
    by_cloid = server.act(
        ALICE,
        {"type": "cancelByCloid", "cancels": [{"asset": HYPE, "cloid": cloid(2)}] * 2},
    )

    assert by_oid["response"] == {
        "type": "cancel",
        "data": {
            "statuses": [
                {"error": f"{GONE} asset={BTC}"},
                "success",
                {"error": f"{GONE} asset={HYPE}"},
            ]
        },
    }
    statuses = by_cloid["response"]["data"]["statuses"]
    assert statuses == ["success", {"error": f"{GONE} asset={HYPE}"}]
    assert status_of(server, oid_of(second)) == "canceled"
    assert resting(server) == []


def test_check_42_a_fast_cancel_is_signed_with_its_flag_and_refused_on_triggers(
    server: Server,
) -> None:
    """
    `f` is part of what is hashed: the SDK signs it and the order goes; a stop stays.

    Red when the table of signed actions lacks `f` on `cancel`.
    """
    quote(server, "A", 26.0, 4)
    server.order(ALICE, wire_order(HYPE, "B", "26", "4", "Ioc"))
    stop = {
        **wire_order(HYPE, "A", "22", "4", reduce_only=True),
        "t": {"trigger": {"isMarket": True, "triggerPx": "23", "tpsl": "sl"}},
    }
    plain, waiting = server.order(ALICE, wire_order(HYPE, "B", "25", "1"), stop)

    statuses = [
        server.act(
            ALICE, {"type": "cancel", "cancels": [{"a": HYPE, "o": oid_of(order)}], "f": True}
        )["response"]["data"]["statuses"][0]
        for order in (plain, waiting)
    ]

    assert statuses[0] == "success"
    assert "error" in statuses[1]
    assert status_of(server, oid_of(waiting)) == "open"


# --- 43 ---


@pytest.mark.parametrize("is_reversed", [False, True])
def test_check_43_batch_modify_is_cancel_and_new_under_the_old_cloid(
    server: Server, is_reversed: bool
) -> None:
    """
    New oid, same cloid, the size of the new order; its two records come in either order.

    Red when `_modify` places the new order without ending the old one.
    """
    server.control("faults", is_modify_reversed=is_reversed)
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1", "Alo", cloid=cloid(1)))
    new = wire_order(HYPE, "B", "24.9", "3", "Alo", cloid=cloid(1))
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        answer = server.act(
            ALICE, {"type": "batchModify", "modifies": [{"oid": cloid(1), "order": new}]}
        )
        heard = [row for message in updates(socket) for row in message]

    (status,) = answer["response"]["data"]["statuses"]
    old_oid, new_oid = oid_of(placed), oid_of(status)
    expected = [(old_oid, "canceled"), (new_oid, "open")]
    assert (answer["response"]["type"], status["resting"]["cloid"]) == ("order", cloid(1))
    assert new_oid != old_oid
    assert heard == (expected[::-1] if is_reversed else expected)
    (row,) = resting(server)
    assert (row["oid"], row["cloid"], row["sz"], row["limitPx"]) == (
        new_oid,
        cloid(1),
        "3.0",
        "24.9",
    )


def test_check_43_modify_answers_default_and_refuses_what_is_gone(server: Server) -> None:
    """
    The SDK's `modify_order` sends a batch; the single form answers without statuses.

    Red when `_modify` places although the old order is gone and `a` is absent.
    """
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1", "Alo"))
    oid = oid_of(placed)
    action = {"type": "modify", "oid": oid, "order": wire_order(HYPE, "B", "24", "1", "Alo")}

    done, again = server.act(ALICE, action), server.act(ALICE, action)
    client = sdk_exchange(server, ALICE)
    (row,) = resting(server)
    moved = client.modify_order(row["oid"], "HYPE", True, 2, 24.5, {"limit": {"tif": "Alo"}})

    assert done == {"status": "ok", "response": {"type": "default"}}
    assert again["status"] == "err"
    assert again["response"].startswith("Cannot modify canceled or filled order")
    assert "resting" in moved["response"]["data"]["statuses"][0]
    assert [row["limitPx"] for row in resting(server)] == ["24.5"]


@pytest.mark.parametrize("is_always", [False, True])
def test_check_43_a_crossing_gtc_takes_only_when_it_is_always_placed(
    server: Server, is_always: bool
) -> None:
    """
    Without `a` it behaves as ALO; with it the client takes, as it asked to.

    Red when `_modify` keeps GTC in the absence of `a`.
    """
    quote(server, "A", 26.0, 10)
    (placed,) = server.order(ALICE, wire_order(HYPE, "B", "25", "1", "Alo"))
    change = {"oid": oid_of(placed), "order": wire_order(HYPE, "B", "26", "1", "Gtc")}
    action: dict[str, Any] = {"type": "batchModify", "modifies": [change]}

    answer = server.act(ALICE, {**action, "a": True} if is_always else action)

    (status,) = answer["response"]["data"]["statuses"]
    if is_always:
        assert status["filled"]["totalSz"] == "1.0"
    else:
        assert "Post only order would have immediately matched" in status["error"]
    assert position(server) == ("1.0" if is_always else "0.0")
