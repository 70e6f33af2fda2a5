"""The exchange as one object without sockets: time, blocks, limits, control routes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hyperliquid.utils import signing as sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.harness import ALICE, BOB, HYPE, NOW_MS, build_exchange, wire_order
from mmbot.emulator.limits import NO_LIMITS, LimitParams, Window, action_weight
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.session import Session
from mmbot.emulator.wire import Exchange, ExchangeParams, HttpResponse
from mmbot.errors import ConfigError, InvariantError
from support import often

JSON = "application/json"
BLOCK_MS = 68


def signed(action: dict[str, Any], nonce: int) -> bytes:
    """Body of an action of ALICE."""
    signature = sdk.sign_l1_action(ALICE.wallet, action, None, nonce, None, False)
    return json.dumps({"action": action, "nonce": nonce, "signature": signature}).encode()


def order(px: str, tif: str = "Alo") -> dict[str, Any]:
    """An order action on HYPE."""
    return {"type": "order", "orders": [wire_order(HYPE, "B", px, "1", tif)], "grouping": "na"}


def talk(session: Session, **message: Any) -> None:
    """Send a message to the exchange."""
    session.receive(json.dumps(message))


def channels(session: Session) -> list[str]:
    """Channels of everything the session has to say."""
    return [json.loads(text)["channel"] for text in session.take()]


def test_an_action_waits_for_its_block_and_the_answer_with_it() -> None:
    """A client that measures its latency must see the venue's, not that of a function call."""
    exchange = build_exchange(latency_ms=100)
    answers: list[HttpResponse] = []
    exchange.request("POST", "/exchange", JSON, signed(order("25"), NOW_MS), answers.append)
    due_ms = exchange.next_due_ms()

    assert answers == []
    assert due_ms is not None
    assert 100 <= due_ms - NOW_MS < 100 + BLOCK_MS
    assert due_ms % BLOCK_MS == 0
    exchange.advance(due_ms - 1)
    assert answers == []
    exchange.advance(due_ms)
    assert json.loads(answers[0].body)["status"] == "ok"


def test_cancels_and_post_only_go_before_takers_of_the_same_block() -> None:
    """The venue's order within a block is what lets a maker escape; arrival order is not it."""
    exchange = build_exchange(latency_ms=10)
    done: list[str] = []
    bodies = {
        "ioc": signed(order("26", "Ioc"), NOW_MS),
        "cancel": signed({"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]}, NOW_MS + 1),
        "alo": signed(order("25"), NOW_MS + 2),
        "noop": signed({"type": "noop"}, NOW_MS + 3),
    }

    def settle(name: str, answer: HttpResponse) -> None:
        assert answer.status == 200
        done.append(name)

    for name, body in bodies.items():
        exchange.request("POST", "/exchange", JSON, body, partial(settle, name))
    exchange.advance(NOW_MS + 200)

    assert done == ["alo", "noop", "cancel", "ioc"]


def test_http_answers_at_once_and_says_how_late_it_should_leave() -> None:
    """A pipe in simulated time keeps the time of the wire itself."""
    exchange = build_exchange(latency_ms=70)
    answer = exchange.http("POST", "/exchange", JSON, signed(order("25"), NOW_MS))
    info = exchange.http("POST", "/info", JSON, b'{"type":"exchangeStatus"}')

    assert json.loads(answer.body)["status"] == "ok"
    assert answer.delay_ms == 70
    assert info.delay_ms == 0


def test_time_never_goes_back() -> None:
    """An event before its cause would be worse than a crash."""
    exchange = build_exchange()
    exchange.advance(NOW_MS + 5)
    with pytest.raises(InvariantError, match="back"):
        exchange.advance(NOW_MS + 4)


def test_an_exchange_left_alone_plans_nothing() -> None:
    """With nobody there, the driver of the clock may sleep."""
    exchange = build_exchange()
    assert exchange.next_due_ms() is None
    session = exchange.connect()
    assert exchange.next_due_ms() is not None
    session.close()
    assert exchange.next_due_ms() is None


@settings(max_examples=often(10, thoroughly=25), deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=12))
def test_what_a_session_hears_does_not_depend_on_how_time_is_cut(steps: list[int]) -> None:
    """The wall-clock driver steps as it can; the same market must be seen at any step size."""

    def heard(cuts: list[int]) -> list[str]:
        venue, market = build_venue(
            "HYPE", "demo", overrides={}, seed=3, now_ms=NOW_MS, accounts=[(ALICE.address, 100.0)]
        )
        exchange = Exchange(venue, market, ExchangeParams(limits=NO_LIMITS), NOW_MS)
        session = exchange.connect()
        for kind in ("bbo", "trades", "l2Book"):
            talk(session, method="subscribe", subscription={"type": kind, "coin": "HYPE"})
        texts = session.take()
        for cut in cuts:
            exchange.advance(exchange.now_ms + cut)
            texts += session.take()
        return texts

    assert heard(steps) == heard([sum(steps)])


def test_market_trades_around_us_and_fills_us() -> None:
    """The synthetic market's takers meet our orders on the venue's own book."""
    venue, market = build_venue(
        "HYPE", "demo", overrides={}, seed=5, now_ms=NOW_MS, accounts=[(ALICE.address, 1000.0)]
    )
    exchange = Exchange(venue, market, ExchangeParams(), NOW_MS, market_coin="HYPE")
    session = exchange.connect()
    talk(session, method="subscribe", subscription={"type": "userFills", "user": ALICE.address})
    exchange.advance(NOW_MS + 500)
    asset_id = venue.asset_id("HYPE")
    assert asset_id is not None
    bid, ask = venue.touch(asset_id)
    assert bid is not None
    assert ask is not None
    asset = venue.asset(asset_id)
    wire = wire_order(asset_id, "B", f"{asset.px(bid):.10g}", "1", "Alo")
    action = {"type": "order", "orders": [wire], "grouping": "na"}
    exchange.http("POST", "/exchange", JSON, signed(action, NOW_MS))
    session.take()
    control = json.dumps({"coin": "HYPE", "px": asset.px(bid) * 0.99}).encode()
    assert exchange.http("POST", "/emulator/price", JSON, control).status == 200

    fills = [json.loads(text) for text in session.take()]
    assert fills[0]["channel"] == "userFills"
    assert fills[0]["data"]["fills"][0]["crossed"] is False


def test_control_routes_trade_against_the_client_and_show_its_ledger() -> None:
    """A test of the whole program makes real fills and checks every cent of them."""
    exchange = build_exchange()
    exchange.http("POST", "/exchange", JSON, signed(order("25"), NOW_MS))
    body = json.dumps({"coin": "HYPE", "side": "A", "px": 25, "sz": 1}).encode()
    sold = json.loads(exchange.http("POST", "/emulator/trade", JSON, body).body)
    path = f"/emulator/ledger?user={ALICE.address}"
    ledger = json.loads(exchange.http("GET", path, None, b"").body)
    fill = ledger["fills"][0]
    state = ledger["states"][""]["marginSummary"]
    unrealised = 26.0 - 25.0

    assert sold["filled_sz"] == 1.0
    assert (fill["px"], fill["side"], fill["crossed"]) == ("25.0", "B", False)
    assert float(state["accountValue"]) == pytest.approx(10_000 - float(fill["fee"]) + unrealised)
    assert set(ledger["imbalance_u"].values()) == {0}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("price", {"coin": "NOPE", "px": 1}),
        ("price", {"coin": "HYPE", "px": -1}),
        ("price", {"coin": "HYPE"}),
        ("trade", {"coin": "HYPE", "side": "up", "px": 1, "sz": 1}),
        ("trade", {"coin": "HYPE", "side": "A", "px": 1, "sz": 1, "tif": "Fok"}),
        ("faults", {"nope": 1}),
        ("faults", {"drop": "many"}),
        ("account", {"user": "0xnobody", "abstraction": "disabled"}),
    ],
)
def test_wrong_control_requests_say_what_is_wrong(name: str, body: dict[str, Any]) -> None:
    """A control request with a typing mistake must not look as if it had worked."""
    exchange = build_exchange()
    answer = exchange.http("POST", f"/emulator/{name}", JSON, json.dumps(body).encode())

    assert answer.status == 400
    assert json.loads(answer.body)["error"]


def test_unknown_control_routes_list_the_known_ones() -> None:
    """The list is the documentation at hand."""
    answer = build_exchange().http("GET", "/emulator/nope", None, b"")
    assert answer.status == 404
    assert "POST faults" in json.loads(answer.body)["error"]


def test_request_log_shows_what_was_sent_by_whom_and_what_came_back() -> None:
    """Wiring tests read the prices the daemon really sent from here."""
    exchange = build_exchange()
    exchange.http("POST", "/exchange", JSON, signed(order("25.5"), NOW_MS))
    log = json.loads(exchange.http("GET", "/emulator/requests?since=0", None, b"").body)
    (entry,) = log["requests"]

    assert entry["body"]["action"]["orders"][0]["p"] == "25.5"
    assert entry["account"] == entry["signer"] == ALICE.address
    assert entry["response"]["status"] == "ok"
    again = json.loads(exchange.http("GET", "/emulator/requests?since=1", None, b"").body)
    assert again == {"seen": 1, "requests": []}


def test_best_prices_that_come_back_while_nobody_listened_are_told() -> None:
    """A touch remembered from an earlier listener must not swallow the change of a later one."""
    exchange = build_exchange()
    subscription = {"type": "bbo", "coin": "HYPE"}

    def rest(px: float, side: str = "B", tif: str = "Gtc") -> None:
        body = json.dumps({"coin": "HYPE", "side": side, "px": px, "sz": 1, "tif": tif}).encode()
        assert exchange.http("POST", "/emulator/trade", JSON, body).status == 200
        exchange.advance(exchange.now_ms + 100)

    def bids(session: Session) -> list[str]:
        frames = [json.loads(text) for text in session.take()]
        return [frame["data"]["bbo"][0]["px"] for frame in frames if frame["channel"] == "bbo"]

    rest(25)
    early = exchange.connect()
    talk(early, method="subscribe", subscription=subscription)
    rest(25.1)
    assert bids(early) == ["25.0", "25.1"]
    early.close()
    rest(25.2)
    late = exchange.connect()
    talk(late, method="subscribe", subscription=subscription)
    assert bids(late) == ["25.2"]
    action = order("25.2", "Ioc")
    action["orders"][0]["b"] = False
    exchange.http("POST", "/exchange", JSON, signed(action, NOW_MS))
    exchange.advance(exchange.now_ms + 100)
    assert bids(late) == ["25.1"]


def test_muted_channels_fall_silent_while_the_socket_lives() -> None:
    """Stale data is the fault that no close frame announces."""
    exchange = build_exchange()
    session = exchange.connect()
    talk(session, method="subscribe", subscription={"type": "activeAssetCtx", "coin": "HYPE"})
    session.take()
    exchange.faults.update({"mute": ["activeAssetCtx"]})
    exchange.advance(NOW_MS + 3000)
    assert session.take() == []
    exchange.faults.update({"mute": []})
    exchange.advance(NOW_MS + 6000)
    assert "activeAssetCtx" in channels(session)


def test_injected_text_reaches_every_session_as_it_is() -> None:
    """Frames no venue should send are how a client's parser is tried."""
    exchange = build_exchange()
    session = exchange.connect()
    body = json.dumps({"text": "not json"}).encode()
    exchange.http("POST", "/emulator/inject", JSON, body)
    assert session.take() == ["not json"]


def test_random_disconnects_need_a_generator() -> None:
    """Chance that nobody seeded would make a run impossible to repeat."""
    base = build_exchange()
    exchange = Exchange(base.venue, None, ExchangeParams(), NOW_MS)
    exchange.connect()
    exchange.faults.update({"disconnect_per_s": 0.5})
    with pytest.raises(InvariantError, match="generator"):
        exchange.advance(NOW_MS + 1000)


def test_a_refused_fault_changes_nothing() -> None:
    """Half of a fault plan in force would be a plan nobody wrote."""
    exchange = build_exchange()
    with pytest.raises(ConfigError, match="known are"):
        exchange.faults.update({"drop": 3, "nope": 1})
    assert exchange.faults.drop == 0


def test_a_closed_session_gives_its_places_back() -> None:
    """A client that reconnects must not run into the limits of its dead sockets."""
    limits = NO_LIMITS.model_copy(update={"connections": 1, "subscriptions": 1, "users": 1})
    exchange = build_exchange(limits=limits)
    for user in (ALICE, BOB):
        session = exchange.connect()
        assert not session.is_closed
        subscription = {"type": "userFills", "user": user.address}
        talk(session, method="subscribe", subscription=subscription)
        assert channels(session) == ["subscriptionResponse", "userFills"]
        session.close()
        session.close()


def test_limits_default_to_the_documented_figures() -> None:
    """Hyperliquid docs, "Rate limits and user limits"."""
    params = LimitParams()

    assert (params.weight_per_min, params.connections, params.connections_per_min) == (1200, 10, 30)
    assert (params.subscriptions, params.users) == (1000, 10)
    assert (params.messages_per_min, params.posts_inflight) == (2000, 100)
    assert [action_weight(length) for length in (1, 39, 40, 79, 80)] == [1, 1, 2, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 40)), max_size=60))
def test_a_window_never_grants_more_than_its_limit_in_a_minute(
    requests: list[tuple[int, int]],
) -> None:
    """Against the rule itself: no 60 s stretch holds more than the limit."""
    window, granted, now_ms = Window(100), list[tuple[int, int]](), 0
    for gap_ms, amount in requests:
        now_ms += gap_ms
        if window.spend(amount, now_ms):
            granted.append((now_ms, amount))
        recent = sum(spent for at_ms, spent in granted if at_ms > now_ms - 60_000)
        assert recent <= 100


def test_a_lost_action_is_neither_carried_out_nor_answered() -> None:
    """A time-out with nothing behind it looks the same to a client as one with an order."""
    exchange = build_exchange()
    exchange.faults.update({"lose": 1})
    answers = [
        exchange.http("POST", "/exchange", JSON, signed(order("25"), NOW_MS + n)) for n in range(2)
    ]

    assert [answer.is_dropped for answer in answers] == [True, False]
    assert exchange.requests_seen == 1
    assert len(exchange.venue.open_orders(ALICE.address, "")) == 1


def test_a_lost_post_gives_its_place_in_flight_back() -> None:
    """Requests that never arrive may not use up what a socket may have under way."""
    exchange = build_exchange(limits=NO_LIMITS.model_copy(update={"posts_inflight": 1}))
    exchange.faults.update({"lose": 2})
    session = exchange.connect()
    for post_id in range(3):
        payload = json.loads(signed(order("25"), NOW_MS + post_id))
        request = {"type": "action", "payload": payload}
        talk(session, method="post", id=post_id, request=request)

    answers = [json.loads(text)["data"] for text in session.take()]
    assert [answer["id"] for answer in answers] == [2]
    assert answers[0]["response"]["payload"]["status"] == "ok"


def test_a_refused_batch_has_one_status_and_leaves_no_order() -> None:
    """A client that pairs statuses with elements one by one would misread the other elements."""
    exchange = build_exchange()
    exchange.faults.update({"refuse_batch": ["Order has invalid price."]})
    batch = order("25")
    batch["orders"] = batch["orders"] * 3
    answer = exchange.http("POST", "/exchange", JSON, signed(batch, NOW_MS))
    again = exchange.http("POST", "/exchange", JSON, signed(order("25"), NOW_MS + 1))

    statuses = json.loads(answer.body)["response"]["data"]["statuses"]
    assert statuses == [{"error": "Order has invalid price."}]
    assert "resting" in json.loads(again.body)["response"]["data"]["statuses"][0]
    assert len(exchange.venue.open_orders(ALICE.address, "")) == 1


def test_a_delayed_answer_to_a_question_tells_of_the_time_it_was_asked() -> None:
    """The race of a snapshot: the streams are ahead of what is read."""
    exchange = build_exchange()
    exchange.faults.update({"info_delay_ms": 500})
    body = json.dumps({"type": "openOrders", "user": ALICE.address}).encode()
    answers: list[HttpResponse] = []
    exchange.request("POST", "/info", JSON, body, answers.append)
    exchange.http("POST", "/exchange", JSON, signed(order("25"), NOW_MS))
    exchange.advance(NOW_MS + 499)
    assert answers == []
    exchange.advance(NOW_MS + 500)

    assert json.loads(answers[0].body) == []
    assert len(exchange.venue.open_orders(ALICE.address, "")) == 1


def test_a_halted_exchange_answers_questions_and_carries_out_afterwards() -> None:
    """No block is made: actions wait, streams are silent, the socket and its heartbeat live."""
    exchange = build_exchange(latency_ms=100)
    session = exchange.connect()
    talk(session, method="subscribe", subscription={"type": "l2Book", "coin": "HYPE", "fast": True})
    session.take()
    exchange.faults.update({"is_halted": True})
    answers: list[HttpResponse] = []
    exchange.request("POST", "/exchange", JSON, signed(order("25"), NOW_MS), answers.append)
    exchange.advance(NOW_MS + 5_000)
    talk(session, method="ping")
    asked = exchange.http("POST", "/info", JSON, b'{"type":"allMids"}')

    assert channels(session) == ["pong"]
    assert asked.status == 200
    assert answers == []
    exchange.faults.update({"is_halted": False})
    exchange.advance(NOW_MS + 5_200)
    assert "resting" in json.loads(answers[0].body)["response"]["data"]["statuses"][0]
    assert "l2Book" in channels(session)
