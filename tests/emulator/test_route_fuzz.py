"""Nonsense at every door of the exchange: an answer a person can act on, and nothing harmed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance.harness import ALICE, BOB, HYPE, NOW_MS, build_exchange, wire_order
from mmbot.emulator.info import FIELDS
from mmbot.emulator.limits import NO_LIMITS
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.subscriptions import SUBSCRIPTIONS
from mmbot.emulator.wire import Exchange, ExchangeParams, HttpResponse
from support import often

JSON = "application/json"
CONTROLS = ("price", "trade", "faults", "account", "halt", "delist", "disconnect", "inject")
READS = ("requests", "ledger", "faults", "status", "orders", "book", "accounts")
# fmt: off
KEYS = (
    "coin", "px", "sz", "side", "tif", "user", "abstraction", "volume_usd", "requests_used", "text",
    "refuse_batch", "lose", "info_delay_ms", "is_halted",
    "refuse", "refuse_info", "answer", "drop", "delay_ms", "event_lag_ms", "is_event_first", "mute",
    "unknown_oid_lag_ms", "is_post_only", "disconnect_per_s", "is_modify_reversed", "type", "dex",
    "oid", "startTime", "endTime", "interval", "req", "action", "nonce", "signature", "r", "v",
    "vaultAddress", "expiresAfter", "method", "subscription", "id", "request", "payload", "orders",
    "grouping", "a", "b", "p", "s", "t", "limit", "fast", "nSigFigs", "mantissa", "builder",
    "aggregateByTime",
)
# fmt: on

_NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([0, -1, 1, 10**18, 2**63, 2**64, 10**400, 1e308, 1e-308, 26.0])
)
_WORDS = st.sampled_from(
    [
        "HYPE",
        "BTC",
        "hyna:OLD",
        "",
        "A",
        "B",
        "Ioc",
        "Gtc",
        "Alo",
        "25",
        "1e5",
        "nan",
        ALICE.address,
        BOB.address[2:].upper(),
        "0x" + "0" * 40,
        "0x" + "0" * 32,
        "1m",
        "disabled",
        *FIELDS,
        *SUBSCRIPTIONS,
    ]
)
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.text(max_size=6) | _WORDS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.sampled_from(KEYS), _VALUES, max_size=7)
_BODIES = (
    st.binary(max_size=60)
    | (_OBJECTS | _VALUES).map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"", b"\xff", b'"\\ud800"', b"[" * 100_000, b"1" * 5000, b"1e400", b"nul"])
)


def _market_exchange() -> Exchange:
    accounts = [(ALICE.address, 10_000.0), (BOB.address, 10_000.0)]
    venue, market = build_venue(
        "HYPE", "demo", overrides={}, seed=3, now_ms=NOW_MS, accounts=accounts
    )
    exchange = Exchange(venue, market, ExchangeParams(limits=NO_LIMITS), NOW_MS, market_coin="HYPE")
    exchange.advance(NOW_MS + 200)
    return exchange


def _told(exchange: Exchange) -> list[bytes]:
    """All that control routes can show of the state."""
    paths = ["faults", "book?coin=HYPE", "accounts"]
    for user in (ALICE, BOB):
        paths += [f"orders?user={user.address}", f"ledger?user={user.address}"]
    return [exchange.http("GET", f"/emulator/{path}", None, b"").body for path in paths]


def _check_answer(answer: HttpResponse, path: str) -> None:
    if path.startswith("/info") and answer.status == 500:
        assert answer.body == b"null"  # the venue's own way to say that it does not know a coin
        return
    assert answer.status in {200, 400, 404, 415, 422, 429}
    if answer.status == 400 and path.startswith("/emulator"):
        assert len(json.loads(answer.body)["error"]) > 10


@settings(max_examples=often(30, thoroughly=200), deadline=None)
@given(name=st.sampled_from(CONTROLS), body=_BODIES)
@example(name="price", body=b'{"coin":"HYPE","px":1e-300}')
@example(name="price", body=b'{"coin":"HYPE","px":1e11}')
@example(name="trade", body=b'{"coin":"HYPE","side":"A","px":1e400,"sz":1}')
@example(name="trade", body=b'{"coin":"HYPE","side":"A","px":25,"sz":-1}')
@example(name="trade", body=b'{"coin":"HYPE","side":"A","px":25,"sz":1e400}')
@example(name="trade", body=b'{"coin":"HYPE","side":"A","px":25.00001,"sz":1}')
@example(name="trade", body=b'{"coin":"HYPE","side":"A","px":1e-9,"sz":1}')
@example(name="faults", body=b'{"delay_ms":-5}')
@example(name="faults", body=b'{"disconnect_per_s":1e9}')
@example(name="faults", body=b'{"disconnect_per_s":0.5}')
@example(name="faults", body=b'{"refuse":[200]}')
@example(name="faults", body=b'{"answer":[99999999999]}')
@example(name="faults", body=b'{"mute":{"a":1}}')
@example(name="halt", body=b"{}")
@example(name="inject", body=b"[]")
def test_a_control_request_is_carried_out_or_refused_whole(name: str, body: bytes) -> None:
    """A typing mistake must neither break the exchange nor leave half of itself behind."""
    exchange = _market_exchange()
    exchange.connect()
    before = _told(exchange)

    answer = exchange.http("POST", f"/emulator/{name}", JSON, body)

    _check_answer(answer, "/emulator")
    if answer.status != 200:
        assert _told(exchange) == before
    exchange.advance(exchange.now_ms + 2000)
    ledger = json.loads(_told(exchange)[-1])
    assert set(ledger["imbalance_u"].values()) == {0}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("account", {"user": ALICE.address, "volume_usd": -1.0}),
        ("account", {"user": ALICE.address, "volume_usd": 1e300}),
        ("account", {"user": ALICE.address, "abstraction": "none such"}),
        ("account", {"user": ALICE.address, "requests_used": -1}),
        ("account", {"user": ALICE.address, "requests_used": 2**70}),
        ("account", {"user": ALICE.address, "volume_usd": 5.0, "requests_used": -1}),
        ("price", {"coin": "HYPE", "px": 1e-300}),
        ("trade", {"coin": "HYPE", "side": "A", "px": 25, "sz": 0}),
        ("trade", {"coin": "HYPE", "side": "A", "px": 25, "sz": 1e-9}),
        ("trade", {"coin": "HYPE", "side": "A", "px": 25.00001, "sz": 1}),
        ("faults", {"delay_ms": -1}),
        ("faults", {"delay_ms": 10**9}),
        ("faults", {"event_lag_ms": -1}),
        ("faults", {"unknown_oid_lag_ms": -1}),
        ("faults", {"drop": -1}),
        ("faults", {"disconnect_per_s": 1.5}),
        ("faults", {"disconnect_per_s": -0.1}),
        ("faults", {"refuse": [200]}),
        ("faults", {"refuse_info": [600]}),
        ("faults", {"mute": ["x" * 1000]}),
        ("inject", {"text": 5}),
    ],
)
def test_control_values_out_of_bounds_are_named(name: str, body: dict[str, Any]) -> None:
    """A latency below zero or a chance above one is a typing mistake, not a fault to emulate."""
    exchange = build_exchange()
    before = _told(exchange)

    answer = exchange.http("POST", f"/emulator/{name}", JSON, json.dumps(body).encode())

    assert answer.status == 400
    assert json.loads(answer.body)["error"]
    assert _told(exchange) == before


def test_random_disconnects_without_a_generator_are_refused_at_the_door() -> None:
    """Let in, they would stop the exchange's clock a second later."""
    exchange = _market_exchange()
    answer = exchange.http("POST", "/emulator/faults", JSON, b'{"disconnect_per_s": 0.5}')

    assert answer.status == 400
    assert "generator" in json.loads(answer.body)["error"]


_QUERY = st.text(st.characters(codec="ascii"), max_size=20) | st.builds(
    "{}={}".format,
    st.sampled_from(["user", "coin", "since"]),
    st.sampled_from([ALICE.address, "HYPE", "nope", "-1", "1e5", "9" * 5000, "%ff", ""]),
)


@settings(max_examples=often(30, thoroughly=200), deadline=None)
@given(name=st.sampled_from(READS) | st.text(max_size=8), query=_QUERY)
@example(name="book", query="coin=nope")
@example(name="book", query="")
@example(name="requests", query="since=abc")
@example(name="ledger", query="user=0xnobody")
@example(name="orders", query="user=nobody")
def test_a_control_read_answers_or_says_what_is_wrong(name: str, query: str) -> None:
    """Reads are typed into a shell by hand."""
    answer = build_exchange().http("GET", f"/emulator/{name}?{query}", None, b"")
    _check_answer(answer, "/emulator")


_INFO = st.one_of(
    _OBJECTS,
    st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(list(FIELDS)), _OBJECTS),
    st.builds(lambda kind, rest: [kind, *rest], st.sampled_from(list(FIELDS)), st.lists(_SCALARS)),
)


@settings(max_examples=often(30, thoroughly=250), deadline=None)
@given(value=_INFO, kind=st.sampled_from([JSON, "text/plain", None, "application/x+json"]))
@example(value={"type": "candleSnapshot", "req": {"coin": "HYPE", "interval": "1m"}}, kind=JSON)
def test_info_answers_anything(value: Any, kind: str | None) -> None:
    """What the venue does not understand it says 422 to, and goes on."""
    answer = build_exchange().http("POST", "/info", kind, json.dumps(value).encode())
    _check_answer(answer, "/info")


_ORDER = wire_order(HYPE, "B", "25", "1", "Alo")
_ACTION = {"type": "order", "orders": [_ORDER], "grouping": "na"}
_ENVELOPE = {
    "action": _ACTION,
    "nonce": NOW_MS,
    "signature": {"r": "0x1", "s": "0x1", "v": 27},
    "vaultAddress": None,
    "expiresAfter": None,
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    return ([path] if path else []) + [p for key in keys for p in _paths(value[key], (*path, key))]


def _damaged(data: st.DataObject, message: Any) -> Any:
    """A message with some of its values replaced."""
    message = json.loads(json.dumps(message))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(message)))
        target = message
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = data.draw(_VALUES)
    return message


@settings(max_examples=often(30, thoroughly=250), deadline=None)
@given(data=st.data())
def test_an_action_of_any_shape_is_answered_and_logged(data: st.DataObject) -> None:
    """The log of requests has to show even those that make no sense."""
    exchange = build_exchange()
    body = json.dumps(_damaged(data, _ENVELOPE)).encode()

    _check_answer(exchange.http("POST", "/exchange", JSON, body), "/exchange")
    _check_answer(exchange.http("GET", "/emulator/requests", None, b""), "/emulator")


_MESSAGES = [
    {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "HYPE", "nSigFigs": 5}},
    {"method": "subscribe", "subscription": {"type": "userFills", "user": ALICE.address}},
    {"method": "unsubscribe", "subscription": {"type": "candle", "coin": "X", "interval": "1m"}},
    {"method": "post", "id": 1, "request": {"type": "action", "payload": _ENVELOPE}},
    {"method": "post", "id": 2, "request": {"type": "info", "payload": {"type": "meta"}}},
    {"method": "ping"},
]


@settings(max_examples=often(30, thoroughly=250), deadline=None)
@given(data=st.data())
def test_a_session_survives_any_message(data: st.DataObject) -> None:
    """A message ends in an answer, an error frame or a cut; never in an exception."""
    exchange = build_exchange()
    session = exchange.connect()
    for _ in range(3):
        sample = data.draw(st.sampled_from(_MESSAGES))
        session.receive(json.dumps(_damaged(data, sample)))
        session.receive(data.draw(st.text(max_size=20)))
    session.receive('{"method":"ping"}')
    exchange.advance(NOW_MS + 7000)
    heard = [json.loads(text)["channel"] for text in session.take()]
    assert session.is_closed or "pong" in heard
