"""The snapshot: six reads become one event, whatever the venue does in between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from fake_exchange import FakeExchange, FakeHttpResponse
from mmbot.core.events import Event, OrderState, Snapshot
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, Side
from mmbot.errors import LinkError, VenueError, VenueProtocolError
from mmbot.hyperliquid.budget import Budget
from mmbot.hyperliquid.snapshot import Known, SnapshotReader
from mmbot.runtime.pipe import PipeHttp, SimLoop

START_MS = 1_791_484_300_000
LATENCY_NS = 20 * NS_PER_MS
USER = "0x00000000000000000000000000000000000000aa"
HYPE = Instrument(coin="hyna:HYPE", dex="hyna", asset_id=140_000, sz_decimals=2, max_leverage=10)

ORDERS = [
    {
        "coin": "hyna:HYPE",
        "side": "B",
        "limitPx": "26.1",
        "sz": "0.3",
        "oid": 5,
        "timestamp": START_MS,
        "origSz": "0.5",
        "cloid": f"0x{9:032x}",
    },
    {
        "coin": "hyna:BTC",
        "side": "A",
        "limitPx": "90000.0",
        "sz": "1.0",
        "oid": 6,
        "timestamp": START_MS,
        "origSz": "1.0",
    },
]


def account(szi: str = "-2.0", equity: str = "101.5") -> dict[str, Any]:
    position = {
        "coin": "hyna:HYPE",
        "szi": szi,
        "leverage": {"type": "cross", "value": 5},
        "entryPx": "26.0",
        "positionValue": "52.4",
        "unrealizedPnl": "-0.4",
        "returnOnEquity": "-0.04",
        "liquidationPx": None,
        "marginUsed": "10.48",
        "maxLeverage": 10,
        "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
    }
    summary = {
        "accountValue": equity,
        "totalNtlPos": "52.4",
        "totalRawUsd": "153.9",
        "totalMarginUsed": "10.48",
    }
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": "2.62",
        "withdrawable": "80.0",
        "assetPositions": [{"type": "oneWay", "position": position}] if szi != "0.0" else [],
        "time": START_MS + 77,
    }


ASSET = {
    "user": USER,
    "coin": "hyna:HYPE",
    "leverage": {"type": "cross", "value": 5},
    "maxTradeSzs": ["10.0", "10.0"],
    "availableToTrade": ["80.0", "80.0"],
    "markPx": "26.3",
}


def fill(tid: int, time_ms: int, coin: str = "hyna:HYPE") -> dict[str, Any]:
    return {
        "coin": coin,
        "px": "26.0",
        "sz": "0.5",
        "side": "A",
        "time": time_ms,
        "startPosition": "0.0",
        "dir": "Open Short",
        "closedPnl": "0.0",
        "hash": "0x00",
        "oid": 5,
        "crossed": False,
        "fee": "0.0039",
        "tid": tid,
        "feeToken": "USDC",
        "twapId": None,
    }


FEES = {
    "userCrossRate": "0.00045",
    "userAddRate": "0.00015",
    "activeReferralDiscount": "0.0",
}
LIMIT = {
    "cumVlm": "500.0",
    "nRequestsUsed": 321,
    "nRequestsCap": 10_500,
    "nRequestsSurplus": 0,
}


class Rig:
    """A reader on a scripted exchange in simulated time."""

    def __init__(self) -> None:
        self.sim = SimLoop(START_MS * NS_PER_MS)
        self.exchange = FakeExchange(START_MS)
        self.http = PipeHttp(self.sim, self.exchange, LATENCY_NS)
        self.budget = Budget()
        self.events: list[Event] = []
        self.failed: list[VenueError] = []
        self.retried: list[VenueError] = []
        self.reader = SnapshotReader(
            HYPE,
            USER,
            http=self.http,
            clock=self.sim.clock,
            scheduler=self.sim,
            emit=self.events.append,
            on_failed=self.failed.append,
            on_retry=self.retried.append,
            budget=self.budget,
        )
        answers: dict[str, Any] = {
            "openOrders": ORDERS,
            "clearinghouseState": account(),
            "activeAssetData": ASSET,
            "userFills": [
                fill(2, START_MS - 1),
                fill(3, START_MS - 5, "BTC"),
                fill(1, START_MS - 9),
            ],
            "userFees": FEES,
            "userRateLimit": LIMIT,
        }
        for kind, value in answers.items():
            self.exchange.answer(kind, (200, value))

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [body for _, body in self.exchange.requests if body["type"] == kind]

    def read(self) -> Snapshot:
        self.reader.start()
        self.sim.run_for(1)
        (snapshot,) = self.events
        assert isinstance(snapshot, Snapshot)
        self.events.clear()
        return snapshot


def test_reads_become_one_event() -> None:
    """The engine reconciles against a whole account, not against pieces of one."""
    rig = Rig()

    snapshot = rig.read()

    assert snapshot.position_lots == -200
    assert snapshot.entry_px == 26.0
    assert snapshot.equity_usd == 101.5
    assert snapshot.venue_ms == START_MS + 77
    assert (snapshot.requests_used, snapshot.requests_cap) == (321, 10_500)
    assert (snapshot.fees.maker_bps, snapshot.fees.taker_bps) == pytest.approx((1.5, 4.5))
    (order,) = snapshot.open_orders
    assert (order.cloid, order.oid, order.side, order.px_ticks, order.sz_lots) == (
        9,
        5,
        Side.BUY,
        261_000,
        30,
    )
    assert order.state is OrderState.OPEN
    assert [(f.tid, f.is_snapshot) for f in snapshot.fills] == [(1, True), (2, True)]
    assert rig.failed == []


def test_an_account_from_the_future_is_refused() -> None:
    """Its position would be taken to hold every fill that is still to come."""
    rig = Rig()
    rig.exchange.answer("clearinghouseState", (200, account() | {"time": START_MS + 60_000}))

    rig.reader.start()
    rig.sim.run_for(1)

    assert rig.events == []
    (error,) = rig.failed
    assert "clearinghouseState is dated" in str(error)
    assert "NTP" in str(error)


def test_reads_go_out_side_by_side() -> None:
    """The start of quoting waits for one round trip, not for six."""
    rig = Rig()
    rig.reader.start()

    rig.sim.run_until(rig.sim.clock() + 2 * LATENCY_NS)

    assert len(rig.events) == 1
    assert isinstance(rig.events[0], Snapshot)
    assert rig.events[0].recv_ns - rig.events[0].requested_at_ns == 2 * LATENCY_NS


def test_builder_dex_is_named_where_the_venue_needs_it() -> None:
    """Without the dex the venue answers for the main one, and our orders look gone."""
    rig = Rig()

    rig.read()

    assert rig.asked("openOrders") == [{"type": "openOrders", "user": USER, "dex": "hyna"}]
    assert rig.asked("clearinghouseState")[0]["dex"] == "hyna"
    assert rig.asked("activeAssetData")[0]["coin"] == "hyna:HYPE"


def test_mark_is_that_of_the_equity_and_from_the_asset_when_flat() -> None:
    """Ledger and equity agree only at one mark; a flat account has no position to tell it."""
    rig = Rig()
    assert rig.read().mark_px == pytest.approx(26.2)

    rig.exchange.answer("clearinghouseState", (200, account(szi="0.0")))
    snapshot = rig.read()

    assert snapshot.mark_px == 26.3
    assert (snapshot.position_lots, snapshot.entry_px) == (0, None)


@pytest.mark.parametrize(
    "trouble",
    [
        (429, b"null"),
        (500, b"null"),
        (502, b"<html>"),
        FakeHttpResponse(0, b"", is_dropped=True),
        FakeHttpResponse(200, b"[]", delay_ms=60_000),
    ],
)
def test_what_can_pass_is_tried_again(trouble: Any) -> None:
    """One overloaded read must not cost the other five, nor the run."""
    rig = Rig()
    rig.exchange.answer("openOrders", trouble, trouble, (200, ORDERS))

    rig.reader.start()
    rig.sim.run_for(30)

    assert len(rig.events) == 1
    assert len(rig.asked("openOrders")) == 3
    assert len(rig.asked("userFees")) == 1
    assert len(rig.retried) == 2
    assert rig.failed == []


def test_waits_between_tries_grow() -> None:
    """A venue that says 429 is not helped by more of the same."""
    rig = Rig()
    rig.exchange.answer("openOrders", (429, b"null"))
    times: list[int] = []
    rig.reader._on_retry = lambda error: times.append(rig.sim.clock())

    rig.reader.start()
    rig.sim.run_for(60)

    gaps_s = [(b - a) / NS_PER_S for a, b in pairwise(times)]
    assert gaps_s == pytest.approx([0.54, 1.04, 2.04, 4.04, 8.04])


def test_unreachable_venue_fails_the_start_with_a_remedy() -> None:
    """Exit 4 and a sentence, not a program that waits for ever."""
    rig = Rig()
    rig.http.refuse = "cannot connect: Connection refused"

    rig.reader.start()
    rig.sim.run_for(120)

    (error,) = rig.failed
    assert isinstance(error, LinkError)
    assert error.exit_code == 4
    assert "Connection refused" in str(error)
    assert "check the network" in str(error)
    assert not rig.reader.is_reading
    assert rig.events == []


def test_outage_after_the_first_success_is_waited_out() -> None:
    """Nothing is quoted meanwhile, so an outage of the venue is no reason to end the run."""
    rig = Rig()
    rig.read()
    rig.http.refuse = "away"
    rig.reader.start()
    rig.sim.run_for(600)
    assert rig.failed == []

    rig.http.refuse = None
    rig.sim.run_for(20)

    assert len(rig.events) == 1


@pytest.mark.parametrize(
    ("kind", "reply", "words"),
    [
        ("clearinghouseState", (422, b"Failed to deserialize the JSON body"), "422"),
        ("openOrders", (200, b"<html>log in</html>"), "instead of JSON"),
        ("userFees", (200, {"userCrossRate": "x"}), "userFees"),
        ("clearinghouseState", (200, b"null"), "clearinghouseState"),
    ],
)
def test_what_will_not_pass_fails_at_once(kind: str, reply: Any, words: str) -> None:
    """A wrong user, a proxy, a changed schema: trying again would only hide it."""
    rig = Rig()
    rig.exchange.answer(kind, reply)

    rig.reader.start()
    rig.sim.run_for(5)

    (error,) = rig.failed
    assert type(error) in {VenueError, VenueProtocolError}
    assert words in str(error)
    assert kind in str(error)
    assert rig.events == []


def test_newer_start_supersedes() -> None:
    """A reading from before a reconnect must not be taken for one from after it."""
    rig = Rig()
    slow = FakeHttpResponse(200, b"[]", delay_ms=500)
    rig.exchange.answer("openOrders", slow, (200, ORDERS))
    rig.reader.start()
    rig.sim.run_for(0.1)
    again_ns = rig.sim.clock()

    rig.reader.start()
    rig.sim.run_for(5)

    (snapshot,) = rig.events
    assert isinstance(snapshot, Snapshot)
    assert snapshot.requested_at_ns == again_ns
    assert len(snapshot.open_orders) == 1


def test_closed_reader_says_nothing_more() -> None:
    """The end of a run leaves nothing behind that could call back."""
    rig = Rig()
    rig.reader.start()
    rig.reader.close()

    rig.sim.run_for(5)

    assert rig.events == []


def test_brief_reading_asks_for_orders_and_position_only() -> None:
    """Verifying a stop four times a second must not spend the weight of a minute."""
    rig = Rig()
    first = rig.read()
    before = len(rig.exchange.requests)
    rig.exchange.answer("openOrders", (200, []))

    rig.reader.start(is_brief=True)
    rig.sim.run_for(1)

    (snapshot,) = rig.events
    assert isinstance(snapshot, Snapshot)
    assert snapshot.open_orders == ()
    assert snapshot.fees == first.fees
    kinds = {body["type"] for _, body in rig.exchange.requests[before:]}
    assert kinds == {"openOrders", "clearinghouseState"}
    assert snapshot.mark_px == first.mark_px, "without a position it values nothing"


def test_brief_reading_with_fills_waits_for_no_weight() -> None:
    """A stop that needs the fills it missed cannot wait for a minute of weight to expire."""
    rig = Rig()
    rig.read()
    rig.exchange.answer("userFills", (200, [fill(78, START_MS + 10)]))
    rig.budget.spend(1000, rig.sim.clock())
    before = len(rig.exchange.requests)

    rig.reader.start(is_brief=True, has_fills=True)
    rig.sim.run_for(1)

    (snapshot,) = rig.events
    assert isinstance(snapshot, Snapshot)
    assert [booked.tid for booked in snapshot.fills] == [78]
    kinds = {body["type"] for _, body in rig.exchange.requests[before:]}
    assert kinds == {"openOrders", "clearinghouseState", "userFills"}


def test_brief_reading_before_any_other_is_full() -> None:
    """Fees are not invented: what was never read is read."""
    rig = Rig()

    rig.reader.start(is_brief=True)
    rig.sim.run_for(1)

    assert len(rig.events) == 1
    assert len(rig.asked("userFees")) == 1


def known(rig: Rig, age_s: float) -> Known:
    """What the checks before a run have read so long ago."""
    return Known(
        at_ns=rig.sim.clock() - round(age_s * NS_PER_S),
        fees=Fees(1.1, 4.4),
        mark_px=25.5,
        requests_used=7,
        requests_cap=10_600,
        volume_usd=600.0,
    )


def test_what_was_read_a_moment_ago_is_not_read_again() -> None:
    """The checks before a run and the first snapshot were one weight twice."""
    rig = Rig()
    rig.exchange.answer("clearinghouseState", (200, account(szi="0.0")))
    rig.reader.know(known(rig, age_s=2))

    first = rig.read()

    assert {body["type"] for _, body in rig.exchange.requests} == {
        "openOrders",
        "clearinghouseState",
        "userFills",
    }
    assert (first.fees, first.mark_px) == (Fees(1.1, 4.4), 25.5)
    assert (first.requests_used, first.requests_cap) == (7, 10_600)
    assert rig.budget.volume_usd == 600.0
    assert len(first.fills) == 2, "what an earlier run did is read as ever"

    again = rig.read()
    assert again.fees != first.fees
    assert (again.requests_used, again.requests_cap) == (321, 10_500)
    assert again.mark_px == 26.3


@pytest.mark.parametrize("age_s", [31, -1])
def test_what_was_read_long_ago_is_read_again(age_s: float) -> None:
    """A start that waited out a busy venue has old figures, and a clock that was set has none."""
    rig = Rig()
    rig.reader.know(known(rig, age_s))

    first = rig.read()

    assert first.requests_used == 321
    assert len(rig.asked("userFees")) == len(rig.asked("activeAssetData")) == 1


def test_request_counts_reach_the_budget() -> None:
    """What the venue counted is the base on which the gateway counts on."""
    rig = Rig()

    rig.read()

    assert (rig.budget.used, rig.budget.cap) == (321, 10_500)


def test_reads_wait_for_their_turn_in_the_weight_of_the_address() -> None:
    """A link that flaps must not turn into a 429 for everything on this address."""
    rig = Rig()
    for _ in range(8):
        rig.reader.start()
        rig.sim.run_for(0.5)

    sent = len(rig.exchange.requests)
    assert sent < 6 * 6
    rig.sim.run_for(120)

    assert len(rig.events) >= 4
