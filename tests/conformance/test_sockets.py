"""Checks 57 to 66 and 68: what a WebSocket session hears, when, and how it ends."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hyperliquid.info import Info
from websockets.exceptions import InvalidStatus

from conformance.harness import (
    ALICE,
    BOB,
    CAROL,
    HYPE,
    TIMEOUT_S,
    Server,
    Socket,
    User,
    cloid,
    wire_order,
)
from conformance.test_signatures import order_action, sdk_exchange
from mmbot.emulator.limits import NO_LIMITS

UNKNOWN_FRAME = "Error parsing JSON into valid websocket request: "


def channels(messages: list[Any]) -> list[str]:
    """Channels of messages, in order."""
    return [message["channel"] for message in messages]


def book(server: Server) -> None:
    """Let BOB quote HYPE at 25.99 and 26.01."""
    server.order(
        BOB,
        wire_order(HYPE, "B", "25.99", "50", "Alo"),
        wire_order(HYPE, "A", "26.01", "50", "Alo"),
    )


# --- 57 ---


@contextmanager
def sdk_listener(server: Server) -> Iterator[Info]:
    """The official client with its socket thread, which is stopped and joined."""
    info = Info(server.url)
    assert info.ws_manager is not None
    try:
        yield info
    finally:
        # Cut from the far side first: closing from here, two threads of the client would wait for
        # the same close frame.
        server.control("disconnect")
        info.ws_manager.join(TIMEOUT_S)
        info.disconnect_websocket()
        assert not info.ws_manager.is_alive()


def test_check_57_every_sdk_subscription_reaches_its_callback(server: Server) -> None:
    """
    The official client maps channels to callbacks by their data, so every shape has to fit.

    Red when `account_events` names the channel of user events `userEvents` instead of `user`.
    """
    book(server)
    user = ALICE.address
    wanted: list[dict[str, Any]] = [
        {"type": "allMids"},
        {"type": "l2Book", "coin": "HYPE"},
        {"type": "bbo", "coin": "HYPE"},
        {"type": "trades", "coin": "HYPE"},
        {"type": "candle", "coin": "HYPE", "interval": "1m"},
        {"type": "orderUpdates", "user": user},
        {"type": "userEvents", "user": user},
        {"type": "userFills", "user": user},
        {"type": "userFundings", "user": user},
        {"type": "userNonFundingLedgerUpdates", "user": user},
        {"type": "webData2", "user": user},
        {"type": "activeAssetCtx", "coin": "HYPE"},
        {"type": "activeAssetData", "user": user, "coin": "HYPE"},
    ]
    heard: queue.Queue[int] = queue.Queue()
    with sdk_listener(server) as info:
        for number, subscription in enumerate(wanted):
            info.subscribe(subscription, lambda _, number=number: heard.put(number))
        # Those with a first message; then a trade and a beat of every clock for the others.
        missing = set(range(len(wanted))) - {3, 4, 5, 6}
        while missing:
            missing.discard(heard.get(timeout=TIMEOUT_S))
        server.order(ALICE, wire_order(HYPE, "B", "26.01", "1", "Ioc"))
        server.advance(2000)
        missing = {3, 4, 5, 6}
        while missing:
            missing.discard(heard.get(timeout=TIMEOUT_S))
    assert not missing


# --- 58 ---


def test_check_58_acks_come_first_with_defaults_and_doubles_are_errors(server: Server) -> None:
    """
    A client that waits for its ack must not mistake a snapshot for it, nor lose the first data.

    Red when `opens` sends the first frame before the acknowledgement.
    """
    book(server)
    subscription = {"type": "l2Book", "coin": "HYPE", "zz": 1}
    full = '{"type":"l2Book","coin":"HYPE","nSigFigs":null,"mantissa":null,"fast":false}'
    with server.socket() as socket:
        socket.send({"method": "subscribe", "subscription": subscription})
        ack, first = socket.take(), socket.take()
        assert ack == {
            "channel": "subscriptionResponse",
            "data": {
                "method": "subscribe",
                "subscription": {
                    "type": "l2Book",
                    "coin": "HYPE",
                    "nSigFigs": None,
                    "mantissa": None,
                    "fast": False,
                },
            },
        }
        assert first["channel"] == "l2Book"
        socket.send({"method": "subscribe", "subscription": subscription})
        assert socket.take() == {"channel": "error", "data": f"Already subscribed: {full}"}
        socket.send({"method": "unsubscribe", "subscription": subscription})
        assert socket.take_channel("subscriptionResponse")["method"] == "unsubscribe"
        socket.send({"method": "unsubscribe", "subscription": subscription})
        assert socket.take() == {"channel": "error", "data": f"Already unsubscribed: {full}"}
        upper = ALICE.address.upper().replace("0X", "0x")
        assert socket.subscribe(type="userFills", user=upper)["user"] == ALICE.address


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        '{"method":"dance"}',
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":{"type":"noSuchType","coin":"BTC"}}',
        '{"method":"subscribe","subscription":{"type":"bbo","coin":["BTC"]}}',
        '[{"method":"ping"}]',
        '{"method":"post","request":{"type":"info","payload":{"type":"meta"}}}',
    ],
)
def test_check_58_frames_nobody_understands_are_quoted_back(server: Server, frame: str) -> None:
    """
    The socket lives on: one bad frame must not end the streams of a session.

    Red when `receive` lets a schema error through.
    """
    with server.socket() as socket:
        socket.send(frame)
        assert socket.take() == {"channel": "error", "data": UNKNOWN_FRAME + frame}
        assert socket.pending() == []


# --- 59 ---


def test_check_59_books_beat_on_two_clocks_and_repeat_unchanged(server: Server) -> None:
    """
    The plain book is five seconds old by design; who quotes from it quotes the past.

    Red when `fast_book_ms` is 5400.
    """
    levels = [wire_order(HYPE, "B", f"{25.9 - step / 100:.4g}", "10") for step in range(25)]
    server.order(BOB, *levels)
    with server.socket() as socket:
        for coin in ("HYPE", "ETH"):
            socket.subscribe(type="l2Book", coin=coin)
            socket.subscribe(type="l2Book", coin=coin, fast=True)
        socket.pending()
        fast, slow = list[Any](), list[Any]()
        for _ in range(120):
            server.advance(100)
            for message in socket.pending():
                data = message["data"]
                (fast if data.get("fast") else slow).append(data)
    hype = [data for data in fast if data["coin"] == "HYPE"]
    gaps = [after["time"] - before["time"] for before, after in pairwise(hype)]

    assert len(hype) in {21, 22, 23}
    assert all(450 <= gap <= 630 for gap in gaps)
    assert {data["time"] for data in hype} == {d["time"] for d in fast if d["coin"] == "ETH"}
    assert {len(data["levels"][0]) for data in hype} == {5}
    assert len({str(data["levels"]) for data in hype}) == 1
    plain = [data for data in slow if data["coin"] == "HYPE"]
    assert len(plain) == 2
    assert 5300 <= plain[1]["time"] - plain[0]["time"] <= 5600
    assert len(plain[0]["levels"][0]) == 20


def test_check_59_bbo_speaks_only_when_the_touch_changes(server: Server) -> None:
    """
    A quiet market is silent on this channel, so silence is no fault of the link.

    Red when `_flush` does not compare the touch with the one sent last.
    """
    with server.socket() as socket:
        socket.subscribe(type="bbo", coin="HYPE")
        server.order(BOB, wire_order(HYPE, "B", "25.99", "5"))
        server.advance(70)
        (first,) = socket.pending()
        assert first["data"]["bbo"] == [{"px": "25.99", "sz": "5.0", "n": 1}, None]
        server.order(BOB, wire_order(HYPE, "B", "25.5", "5"))
        server.advance(200)
        assert socket.pending() == []
        server.order(BOB, wire_order(HYPE, "A", "26.01", "5"), wire_order(HYPE, "A", "26", "5"))
        server.advance(70)
        (second,) = socket.pending()
        assert second["data"]["bbo"][1] == {"px": "26.0", "sz": "5.0", "n": 1}
        assert second["data"]["time"] > first["data"]["time"]


# --- 60 ---


@pytest.mark.parametrize(
    "subscription",
    [
        {"type": "bbo", "coin": "hype"},
        {"type": "bbo", "coin": "NOPE"},
        {"type": "l2Book", "coin": "HYNA:BTC"},
        {"type": "l2Book", "coin": "NVDA"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
        {"type": "l2Book", "coin": "BTC", "mantissa": 2},
    ],
)
def test_check_60_an_unknown_coin_cuts_the_socket(
    server: Server, subscription: dict[str, Any]
) -> None:
    """
    One wrong name kills every stream of the session without a word.

    Red when `opens` answers with an error in place of `cut`.
    """
    with server.socket() as socket:
        socket.subscribe(type="allMids")
        socket.send({"method": "subscribe", "subscription": subscription})
        assert "l2Book" not in channels_until_close(socket)
        assert socket.close_code() is None


def channels_until_close(socket: Socket) -> list[str]:
    """Channels that were heard before the socket ended."""
    heard: list[str] = []
    while (message := socket.take_or_none()) is not None:
        heard.append(message["channel"])
    return heard


def test_check_60_delisted_coins_are_acked_with_empty_books(server: Server) -> None:
    """
    A dead market looks alive but empty; only `isDelisted` tells.

    Red when `is_known` counts a delisted coin as unknown.
    """
    with server.socket() as socket:
        socket.subscribe(type="l2Book", coin="MATIC", fast=True)
        socket.subscribe(type="bbo", coin="MATIC")
        server.advance(600)
        messages = socket.pending()
    assert set(channels(messages)) == {"l2Book"}
    assert all(message["data"]["levels"] == [[], []] for message in messages)


# --- 61 ---


def test_check_61_a_silent_socket_is_cut_after_a_minute_and_pings_keep_it(server: Server) -> None:
    """
    A client without heartbeat loses a quiet socket every minute.

    Red when `idle_close_ms` is 90 000.
    """
    with server.socket() as quiet, server.socket() as alive:
        server.advance(59_999)
        alive.send({"method": "ping"})
        assert alive.take() == {"channel": "pong"}
        server.advance(1)
        assert quiet.close_code() is None
        server.advance(59_000)
        alive.send({"method": "ping"})
        assert alive.take() == {"channel": "pong"}


# --- 62 ---


def test_check_62_fills_start_with_a_snapshot_and_order_updates_do_not(server: Server) -> None:
    """
    After a reconnect old fills come again, to be dropped, and missed order events never do.

    Red when `_fills` leaves the snapshot flag out.
    """
    book(server)
    server.order(ALICE, wire_order(HYPE, "B", "26.01", "1", "Ioc"))
    for session in range(2):
        with server.socket() as socket:
            socket.subscribe(type="orderUpdates", user=ALICE.address)
            socket.send(
                {
                    "method": "subscribe",
                    "subscription": {"type": "userFills", "user": ALICE.address},
                }
            )
            ack, snapshot = socket.pending()
            assert ack["channel"] == "subscriptionResponse"
            assert snapshot["data"]["isSnapshot"] is True
            assert len(snapshot["data"]["fills"]) == 1 + session
            server.order(ALICE, wire_order(HYPE, "A", "25.99", "1", "Ioc"))
            live = {message["channel"]: message["data"] for message in socket.pending()}
            assert not live["userFills"].get("isSnapshot", False)
            assert [fill["px"] for fill in live["userFills"]["fills"]] == ["25.99"]
            assert live["orderUpdates"][0]["status"] == "filled"


# --- 63 ---


def test_check_63_posts_carry_info_and_actions(server: Server) -> None:
    """
    The daemon trades over the socket; replies are matched by number alone.

    Red when `post` answers an action with the type `info`.
    """
    with server.socket() as socket:
        socket.send(
            {
                "method": "post",
                "id": 7,
                "request": {"type": "info", "payload": {"type": "l2Book", "coin": "HYPE"}},
            }
        )
        info = socket.take()
        body = server.signed(ALICE, order_action())
        socket.send({"method": "post", "id": 8, "request": {"type": "action", "payload": body}})
        action = socket.take()
        bad = {**body, "isFrontend": True}
        socket.send({"method": "post", "id": 9, "request": {"type": "action", "payload": bad}})
        refused = socket.take()

    assert info["channel"] == action["channel"] == refused["channel"] == "post"
    assert info["data"]["id"] == 7
    payload = info["data"]["response"]["payload"]
    assert info["data"]["response"]["type"] == "info"
    assert (payload["type"], payload["data"]["coin"]) == ("l2Book", "HYPE")
    assert action["data"]["id"] == 8
    assert action["data"]["response"]["type"] == "action"
    statuses = action["data"]["response"]["payload"]["response"]["data"]["statuses"]
    assert "resting" in statuses[0]
    assert refused["data"]["response"]["type"] == "error"
    assert refused["data"]["response"]["payload"].startswith("422 ")


def test_check_63_replies_come_out_of_order_and_too_many_are_refused(
    start: Callable[..., Server],
) -> None:
    """
    A cancel overtakes an order within a block, and so does its answer.

    Red when `rank` gives every action the same place.
    """
    server = start(latency_ms=100, limits=NO_LIMITS.model_copy(update={"posts_inflight": 2}))
    first = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", "Gtc")))
    cancel = {"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]}
    with server.socket() as socket:
        bodies = (first, server.signed(ALICE, cancel), server.signed(ALICE, {"type": "noop"}))
        for number, body in enumerate(bodies):
            request = {"type": "action", "payload": body}
            socket.send({"method": "post", "id": number, "request": request})
        error = socket.take()
        assert error == {"channel": "error", "data": "too many pending post requests id=2"}
        server.advance(200)
        replies = [message["data"]["id"] for message in socket.pending()]
        assert replies == [1, 0]
        socket.send(
            {"method": "post", "id": 2, "request": {"type": "action", "payload": bodies[2]}}
        )
        server.advance(200)
        assert [message["data"]["id"] for message in socket.pending()] == [2]


# --- 64 ---


def test_check_64_state_streams_name_dex_and_user(server: Server) -> None:
    """
    One socket carries many of these; a message that does not say whose it is, is useless.

    Red when `_margin` leaves the dex out.
    """
    book(server)
    user = ALICE.address
    kinds: list[dict[str, Any]] = [
        {"type": "clearinghouseState", "user": user, "dex": "hyna"},
        {"type": "openOrders", "user": user},
        {"type": "allDexsClearinghouseState", "user": user},
        {"type": "spotState", "user": user},
        {"type": "allDexsAssetCtxs"},
    ]
    with server.socket() as socket:
        first = {}
        for kind in kinds:
            socket.subscribe(**kind)
            first[kind["type"]] = socket.take_channel(kind["type"])
        server.order(ALICE, wire_order(HYPE, "B", "25", "1"))
        server.advance(14_000)
        later = {message["channel"]: message["data"] for message in socket.pending()}

    assert first["clearinghouseState"]["dex"] == "hyna"
    summary = first["clearinghouseState"]["clearinghouseState"]["marginSummary"]
    assert summary["accountValue"] == "10000.0"
    assert first["openOrders"] == {"dex": "", "user": user, "orders": []}
    assert later["openOrders"]["orders"][0]["limitPx"] == "25.0"
    states = first["allDexsClearinghouseState"]["clearinghouseStates"]
    assert [dex for dex, _ in states] == ["", "xyz", "flx", "vntl", "hyna"]
    assert first["spotState"]["user"] == user
    assert first["spotState"]["spotState"]["balances"][0]["coin"] == "USDC"
    assert [dex for dex, _ in later["allDexsAssetCtxs"]["ctxs"]] == [dex for dex, _ in states]
    assert set(later) == {kind["type"] for kind in kinds}


# --- 65 ---


def test_check_65_connections_subscriptions_users_and_messages_are_limited(
    start: Callable[..., Server],
) -> None:
    """
    Limits count per address, over all its sockets.

    Red when `_subscribe` does not look at the users in use.
    """
    limits = NO_LIMITS.model_copy(
        update={"connections": 2, "subscriptions": 3, "users": 2, "messages_per_min": 9}
    )
    server = start(limits=limits)
    with server.socket() as one, server.socket() as two:
        with pytest.raises(InvalidStatus), server.socket():
            pass
        for user in (ALICE, BOB):
            one.subscribe(type="orderUpdates", user=user.address)
        two.send(
            {"method": "subscribe", "subscription": {"type": "userFills", "user": CAROL.address}}
        )
        assert two.take() == {"channel": "error", "data": "Cannot track more than 2 total users."}
        two.subscribe(type="orderUpdates", user=ALICE.address)
        two.send({"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}})
        assert two.take_channel("error") == "Cannot track more than 3 total subscriptions."
        for _ in range(4):
            one.send({"method": "ping"})
            assert one.take() == {"channel": "pong"}
        one.send({"method": "ping"})
        assert one.close_code() is None
    server.advance(60_000)
    with server.socket() as again:
        assert again.pending() == []


def test_check_65_new_connections_are_limited_by_the_minute(start: Callable[..., Server]) -> None:
    """
    A reconnect loop without backoff locks itself out.

    Red when `connect` does not charge the window of dials.
    """
    server = start(limits=NO_LIMITS.model_copy(update={"connections_per_min": 3}))
    for _ in range(3):
        with server.socket():
            pass
    with pytest.raises(InvalidStatus), server.socket():
        pass
    server.advance(60_000)
    with server.socket() as socket:
        assert socket.pending() == []


def test_check_65_a_cut_without_notice_reaches_the_client_as_1006(server: Server) -> None:
    """
    Sockets end every few hours at the venue, with no code and no reason.

    Red when `_write` closes the socket in place of aborting its transport.
    """
    with server.socket() as socket:
        socket.subscribe(type="allMids")
        server.control("disconnect")
        assert socket.close_code() is None


def test_check_65_disconnects_can_come_at_random_times(start: Callable[..., Server]) -> None:
    """
    With chance one a second a socket lives no longer than a second.

    Red when `next_due_ms` forgets the draw.
    """
    server = start(seed=7)
    with server.socket() as socket:
        server.control("faults", disconnect_per_s=1.0)
        server.advance(1000)
        assert socket.close_code() is None


# --- 66 ---


@pytest.mark.parametrize("is_event_first", [True, False])
def test_check_66_events_come_before_or_after_the_ack(server: Server, is_event_first: bool) -> None:
    """
    Both orders occur; a client that needs one of them loses orders in the other.

    Red when `_execute` flushes the account's events only after its answer.
    """
    server.control("faults", is_event_first=is_event_first)
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        body = server.signed(ALICE, order_action(wire_order(HYPE, "B", "25", "1", cloid=cloid(1))))
        socket.send({"method": "post", "id": 1, "request": {"type": "action", "payload": body}})
        heard = channels([socket.take(), socket.take()])

    expected = ["orderUpdates", "post"]
    assert heard == (expected if is_event_first else expected[::-1])


def test_check_66_events_may_lag_the_rest_answer(server: Server) -> None:
    """
    With a lag the answer over REST is there long before the event.

    Red when `_publish_event` pushes at once.
    """
    server.control("faults", event_lag_ms=500)
    with server.socket() as socket:
        socket.subscribe(type="orderUpdates", user=ALICE.address)
        server.order(ALICE, wire_order(HYPE, "B", "25", "1"))
        assert socket.pending() == []
        server.advance(500)
        assert channels(socket.pending()) == ["orderUpdates"]


# --- 68 ---


def test_check_68_hummingbots_user_stream_and_order_polling_work(server: Server) -> None:
    """
    hummingbot subscribes to `user` and polls `orderStatus`; the venue's own name is `userEvents`.

    Red when `user` is missing in the table of subscriptions.
    """
    book(server)
    with server.socket() as socket:
        assert socket.subscribe(type="user", user=ALICE.address)["type"] == "user"
        (placed,) = server.order(ALICE, wire_order(HYPE, "B", "26.01", "1", "Ioc", cloid=cloid(4)))
        event = socket.take_channel("user")
        assert event["fills"][0]["oid"] == placed["filled"]["oid"]
    found = server.info(type="orderStatus", user=ALICE.address, oid=cloid(4))
    assert found["order"]["status"] == "filled"


def test_check_62_transfers_reach_the_ledger_stream(server: Server) -> None:
    """
    Money that comes in while we trade must not look like profit.

    Red when `account_events` leaves out the ledger.
    """
    with server.socket() as socket:
        socket.subscribe(type="userNonFundingLedgerUpdates", user=BOB.address)
        assert socket.take()["data"]["isSnapshot"] is True
        sdk_exchange(server, ALICE).usd_transfer(5.0, User(BOB.key).address)
        (live,) = socket.pending()
    assert live["data"]["nonFundingLedgerUpdates"][0]["delta"]["usdc"] == "5.0"
