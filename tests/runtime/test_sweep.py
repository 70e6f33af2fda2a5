"""Cancelling what rests of ours: what is asked, how often, and when it is called done."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.heart import Beat
from mmbot.runtime.patience import PatientRest, Reads
from mmbot.runtime.piped import Records
from mmbot.runtime.sweep import PATIENCE_MIN_S, Sweep
from mmbot.runtime.watchdog import Pulse

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
OURS = f"0x{CLOID_MAGIC << 112 | 7:032x}"
FOREIGN = f"0x{7:032x}"
WEIGHT_OPEN_ORDERS = 20
WEIGHT_PER_MIN = 1200
NEVER_NS = 10**19
DAY_NS = 86_400 * NS_PER_S


class Venue:
    """Open orders by oid, and what a cancel does to them."""

    def __init__(self, **orders: str | None) -> None:
        self.now_ns = 1_791_484_300 * NS_PER_S
        self.orders = {int(name.removeprefix("o")): cloid for name, cloid in orders.items()}
        self.actions: list[dict[str, Any]] = []
        self.is_deaf_to_cloids = False
        self.trails_until_ns: int | None = None
        """Until then every reading shows what was there at first, whatever was cancelled."""
        self.refuse: list[int | None] = []
        self.refuse_actions: list[int | None] = []
        self.says: str | None = None
        """Why every order is refused, in an answer that is ok as a whole."""
        self.looks_ns: list[int] = []
        self.actions_ns: list[int] = []
        self.clocks_ns: list[int] = []
        """When the venue was asked for its time."""
        self.strange: list[dict[str, Any]] = []
        """Rows of open orders that nobody can read."""
        self.log = Records()

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """Answer as the venue does."""
        self.now_ns += NS_PER_S // 20
        if self.refuse:
            return HttpReply(self.refuse.pop(0), b"null", "no answer")
        value = json.loads(body or b"")
        if path == "/info" and value["type"] == "exchangeStatus":
            self.clocks_ns.append(self.now_ns)
            return HttpReply(200, json.dumps({"time": self.now_ns // NS_PER_MS}).encode())
        if path == "/info":
            self.looks_ns.append(self.now_ns)
            if self.trails_until_ns is not None and self.now_ns >= self.trails_until_ns:
                self.orders.clear()
            rows = [self._row(oid, cloid) for oid, cloid in self.orders.items()]
            rows += self.strange
            return HttpReply(200, json.dumps(rows).encode())
        action = value["action"]
        self.actions.append(action)
        self.actions_ns.append(self.now_ns)
        if value["nonce"] >= (self.now_ns + DAY_NS) // NS_PER_MS:
            text = json.dumps({"status": "err", "response": "Invalid nonce: too high"})
            return HttpReply(200, text.encode())
        if self.refuse_actions:
            return HttpReply(self.refuse_actions.pop(0), b"null", "no answer")
        if self.says is not None:
            refused = {"type": "cancel", "data": {"statuses": [{"error": self.says}]}}
            return HttpReply(200, json.dumps({"status": "ok", "response": refused}).encode())
        for item in action["cancels"]:
            if self.trails_until_ns is not None:
                continue
            if action["type"] == "cancel":
                self.orders.pop(item["o"], None)
            elif not self.is_deaf_to_cloids:
                gone = [oid for oid, cloid in self.orders.items() if cloid == item["cloid"]]
                for oid in gone:
                    del self.orders[oid]
        answer = {"type": "cancel", "data": {"statuses": ["success"] * len(action["cancels"])}}
        return HttpReply(200, json.dumps({"status": "ok", "response": answer}).encode())

    async def sleep(self, span_s: float) -> None:
        """Wait."""
        self.now_ns += round(span_s * NS_PER_S)

    @staticmethod
    def _row(oid: int, cloid: str | None) -> dict[str, Any]:
        return {
            "coin": "HYPE",
            "side": "B",
            "limitPx": "26.1",
            "sz": "1.0",
            "oid": oid,
            "timestamp": 1,
            "origSz": "1.0",
            "cloid": cloid,
        }

    def sweep(
        self, reads: Reads | None = None, *, nonces: Nonces | None = None, ahead_ns: int = 0
    ) -> Sweep:
        """One over this venue; that of a start with reads of its own."""
        return Sweep(
            self,
            HYPE,
            signer=Signer(b"\x07" * 32, is_mainnet=False),
            user="0x" + "ab" * 20,
            clock=lambda: self.now_ns + ahead_ns,
            log=make_logger(cast("LogWriter", self.log), lambda: self.now_ns),
            nonces=nonces,
            reads=reads,
            is_leftover=reads is not None,
            sleep=self.sleep,
        )

    def at_start(self, retry_s: float = 70.0) -> Sweep:
        """One as a start has it: its reads wait out a venue that is busy."""
        reads = PatientRest(
            self,
            "http://venue",
            retry_s=retry_s,
            on_wait=None,
            clock=lambda: self.now_ns,
            sleep=self.sleep,
        )
        return self.sweep(reads)

    def rounds(self) -> list[tuple[str, int]]:
        """What the log says of cancels that were sent: event and number of orders."""
        return [(r["event"], r["orders"]) for r in self.log.all if "orders" in r]


async def test_what_is_not_ours_is_left_alone() -> None:
    """Another bot or a person may trade the same market of the account."""
    venue = Venue(o1=OURS, o2=FOREIGN, o3=None)

    assert await venue.sweep().run(venue.now_ns) == 1

    assert set(venue.orders) == {2, 3}


async def test_what_a_cloid_does_not_cancel_its_oid_does() -> None:
    """Both names are tried before it is asked again for ever."""
    venue = Venue(o1=OURS)
    began_ns = venue.now_ns
    venue.is_deaf_to_cloids = True

    assert await venue.sweep().run(venue.now_ns) == 1

    assert [action["type"] for action in venue.actions] == [
        "cancelByCloid",
        "cancelByCloid",
        "cancel",
    ]
    assert venue.now_ns - began_ns < NS_PER_S, "a watchdog has five seconds for everything"


async def test_an_empty_book_counts_only_when_nothing_can_come_to_rest_any_more() -> None:
    """A placement on its way when the daemon died would rest behind our back."""
    venue = Venue()
    quiet_ns = venue.now_ns + 5 * NS_PER_S

    async def arrives(span_s: float) -> None:
        await Venue.sleep(venue, span_s)
        if venue.now_ns < quiet_ns and not venue.actions:
            venue.orders[9] = OURS

    venue.sleep = arrives  # type: ignore[method-assign]
    assert await venue.sweep().run(quiet_ns) == 1

    assert venue.orders == {}
    assert venue.now_ns >= quiet_ns
    assert len(venue.looks_ns) < 12, "each look weighs 20 of the 1200 of a minute"


async def test_a_busy_or_silent_venue_is_asked_again() -> None:
    """429, 5xx or nothing at all: the orders still rest."""
    venue = Venue(o1=OURS)
    venue.refuse = [429, 502, None]

    assert await venue.sweep().run(venue.now_ns) == 1


async def test_patience_ends_with_an_error_and_not_with_a_guess() -> None:
    """Whoever is told that nothing rests must be able to rely on it."""
    venue = Venue(o1=OURS)
    venue.refuse = [429] * 1000

    with pytest.raises(VenueError, match="not confirmed"):
        await venue.sweep().run(venue.now_ns, patience_s=10)


async def test_a_sweep_that_is_called_off_sends_nothing_more() -> None:
    """The daemon came round: it looks after its orders itself."""
    venue = Venue(o1=OURS)

    assert await venue.sweep().run(venue.now_ns, is_wanted=lambda: False) is None

    assert (venue.actions, venue.looks_ns) == ([], [])


@pytest.mark.parametrize(
    "strange",
    [
        {"coin": "BTC", "side": "X", "limitPx": {}, "oid": 7},
        {"coin": "@107", "limitPx": "NaN", "sz": None, "oid": "?", "cloid": 3},
        {"coin": "HYPE", "side": "both", "limitPx": "-", "oid": 8, "cloid": "0xnone"},
    ],
)
async def test_a_row_that_cannot_be_read_keeps_no_order_of_ours_from_being_cancelled(
    strange: dict[str, Any],
) -> None:
    """Somebody else's order, of another market or another kind, must not shield what we left."""
    venue = Venue(o1=OURS)
    venue.strange = [strange]

    assert await venue.sweep().run(venue.now_ns, patience_s=5.0) == 1

    assert venue.orders == {}


async def test_a_row_that_says_nothing_stops_no_cancel_and_is_not_called_nothing_resting() -> None:
    """It may be an order of ours: the others go, and a person is told to look."""
    venue = Venue(o1=OURS)
    venue.strange = [{"c": "HYPE"}]

    with pytest.raises(VenueError, match=r"not confirmed.*unreadable answer to openOrders"):
        await venue.sweep().run(venue.now_ns, patience_s=5.0)

    assert venue.orders == {}


async def test_a_nonce_of_a_clock_gone_wrong_keeps_no_order_from_being_cancelled() -> None:
    """The venue takes none more than a day ahead of its own clock, however often it is asked."""
    venue = Venue(o1=OURS)
    kept = Nonces((venue.now_ns + 2 * DAY_NS) // NS_PER_MS)
    for sweep in (venue.sweep(nonces=kept), venue.sweep(ahead_ns=2 * DAY_NS)):
        venue.orders = {1: OURS}
        assert await sweep.run(0, patience_s=5.0) == 1
    assert venue.orders == {}


# -- repeating ------------------------------------------------------------------------------------


async def test_a_cancel_that_the_venue_took_is_not_repeated_before_a_reading_can_show_it() -> None:
    """At a start: readings trail cancels by a second or two, and every cancel costs a request."""
    venue = Venue(o1=OURS)
    began_ns = venue.now_ns
    venue.trails_until_ns = began_ns + READ_LAG_NS

    assert await venue.at_start().run(venue.now_ns, patience_s=60.0) == 1

    assert len(venue.actions) == 1
    assert len(venue.looks_ns) > 3, "it is looked for all the same"


async def test_a_cancel_that_was_refused_is_repeated_at_once() -> None:
    """Nothing is on its way then, so there is nothing to wait for."""
    venue = Venue(o1=OURS)
    began_ns = venue.now_ns
    venue.refuse_actions = [429, None]

    assert await venue.sweep().run(venue.now_ns) == 1

    assert venue.now_ns - began_ns < NS_PER_S
    said = [r["text"] for r in venue.log.named("sweep.refused")]
    assert said == ["HTTP 429", "no answer"]
    assert venue.rounds() == [("sweep.cancelling", 1)] * 2


async def test_a_refusal_of_one_order_is_told_with_the_words_of_the_venue() -> None:
    """Most refusals come inside an answer that is ok as a whole."""
    venue = Venue(o1=OURS)
    venue.says = "Order was never placed, already canceled, or filled."

    with pytest.raises(VenueError, match=r"does not cancel them \(Order was never placed"):
        await venue.sweep().run(venue.now_ns, patience_s=5.0)

    assert {r["text"] for r in venue.log.named("sweep.refused")} == {venue.says}


async def test_an_order_that_is_called_cancelled_and_still_shown_is_told_as_that() -> None:
    """Whose fault it is decides what a person does next."""
    venue = Venue(o1=OURS)
    venue.trails_until_ns = NEVER_NS

    with pytest.raises(VenueError, match="the venue says they are cancelled but still shows them"):
        await venue.at_start().run(patience_s=5.0)


async def test_patience_counts_from_when_nothing_can_come_to_rest_any_more() -> None:
    """A wait that has to be is no venue that fails."""
    venue = Venue()

    assert await venue.sweep().run(venue.now_ns + 9 * NS_PER_S, patience_s=5.0) == 0


# -- a start --------------------------------------------------------------------------------------


async def test_looking_for_what_is_left_stays_within_the_weight_of_a_minute() -> None:
    """A refused look ends the start, and then the orders rest on with nobody to watch them."""
    venue = Venue(o1=OURS, o2=OURS[:-1] + "8", o3=OURS[:-1] + "9")
    venue.trails_until_ns = NEVER_NS
    with pytest.raises(
        VenueError,
        match="3 orders of an earlier run still rest in HYPE and the venue says they are cancelled "
        "but still shows them; look at the account before the next start",
    ):
        await venue.at_start().run(patience_s=120.0)
    for start_ns in venue.looks_ns:
        end_ns = start_ns + 60 * NS_PER_S
        looks = sum(start_ns <= at < end_ns for at in venue.looks_ns)
        cancels = sum(start_ns <= at < end_ns for at in venue.actions_ns)
        clocks = sum(start_ns <= at < end_ns for at in venue.clocks_ns)
        assert looks * WEIGHT_OPEN_ORDERS + 2 * clocks + cancels <= WEIGHT_PER_MIN * 0.95
    assert venue.actions_ns[-1] - venue.actions_ns[0] > 100 * NS_PER_S


async def test_what_is_left_is_cancelled_until_the_venue_agrees() -> None:
    """Readings trail cancels; the count is of what rested at first."""
    venue = Venue(o1=OURS, o2=OURS[:-1] + "8")
    venue.trails_until_ns = venue.now_ns + 5 * NS_PER_S
    sweep = venue.at_start()

    assert await sweep.run(patience_s=60.0) == 2

    assert sweep.has_sent
    assert sweep.still_rest == 0
    by_cloid = [action for action in venue.actions if action["type"] == "cancelByCloid"]
    assert 2 <= len(by_cloid) <= 3
    assert venue.rounds() == [
        *[("orders.left_over", 2)] * len(by_cloid),
        ("orders.left_over_cancelled", 2),
    ]


async def test_where_nothing_rests_nothing_is_sent() -> None:
    """A start may then say truthfully that nothing was sent."""
    venue = Venue(o2=FOREIGN)
    sweep = venue.at_start()

    assert await sweep.run(patience_s=60.0) == 0

    assert (sweep.has_sent, sweep.still_rest, venue.actions) == (False, 0, [])
    assert venue.rounds() == []


async def test_a_start_that_gives_up_says_how_many_rest_and_what_the_venue_answered() -> None:
    """Whoever reads it has to mend it: an address over its limit is waited for, a bug is not."""
    venue = Venue(o1=OURS)
    venue.refuse_actions = [429] * 1000
    sweep = venue.at_start()

    with pytest.raises(VenueError, match=r"1 orders of an earlier run still rest.*\(HTTP 429\)"):
        await sweep.run(patience_s=10.0)

    assert sweep.has_sent
    assert sweep.still_rest == 1


async def test_a_start_waits_out_a_busy_venue_with_the_patience_of_its_reads() -> None:
    """The venue's limit is per minute: asking four times a second would keep it spent."""
    venue = Venue(o1=OURS)
    began_ns = venue.now_ns
    venue.refuse = [429] * 5

    assert await venue.at_start().run(patience_s=70.0) == 1

    assert venue.now_ns - began_ns > 20 * NS_PER_S


@pytest.mark.parametrize(("status", "kind"), [(429, LinkError), (422, VenueError)])
async def test_what_a_start_cannot_read_ends_it_with_the_words_of_the_read(
    status: int, kind: type[VenueError]
) -> None:
    """They name the address and the remedy, and where trying again cannot help it is not tried."""
    venue = Venue(o1=OURS)
    began_ns = venue.now_ns
    venue.refuse = [status] * 1000

    with pytest.raises(kind, match=f"http://venue/info openOrders: HTTP {status}"):
        await venue.at_start(retry_s=30.0).run(patience_s=30.0)

    assert (venue.now_ns - began_ns < NS_PER_S) == (status == 422)


async def test_who_wants_no_waiting_still_gets_the_time_of_a_cancel_and_its_reading() -> None:
    """`start.retry_s = 0` is about a venue that is away, not about orders that just went."""
    venue = Venue(o1=OURS)
    venue.trails_until_ns = venue.now_ns + round((PATIENCE_MIN_S - 1) * NS_PER_S)

    assert await venue.at_start(retry_s=0.0).run(patience_s=0.0) == 1


# -- silence --------------------------------------------------------------------------------------


def test_silence_counts_from_the_last_beat_that_was_new() -> None:
    """The same beat read again is no life, and an unreadable file is none either."""
    pulse = Pulse(1.5, 0)
    assert not pulse.is_silent(10 * NS_PER_S), "no daemon was ever here"
    pulse.see(Beat(pid=1, count=1), 10 * NS_PER_S)
    pulse.see(Beat(pid=1, count=1), 11 * NS_PER_S)
    pulse.see(None, 11 * NS_PER_S)
    assert not pulse.is_silent(11 * NS_PER_S + 499_999_999)
    assert pulse.is_silent(11 * NS_PER_S + 500_000_000)
    pulse.see(Beat(pid=2, count=1), 12 * NS_PER_S)
    assert not pulse.is_silent(12 * NS_PER_S), "the next daemon"


def test_a_verified_end_is_no_silence() -> None:
    """Nothing rests, so there is nothing to cancel, however long ago it was."""
    pulse = Pulse(1.5, 0)
    pulse.see(Beat(pid=1, count=9, may_rest=False), 0)

    assert not pulse.is_silent(10**6 * NS_PER_S)
