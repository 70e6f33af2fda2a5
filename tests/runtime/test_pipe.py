"""The pipe: simulated time keeps its order, bytes their sequence, and bad days can be had."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_exchange import FakeExchange, FakeHttpResponse
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import VenueError
from mmbot.hyperliquid.link import Link, LinkParams
from mmbot.hyperliquid.ports import HttpReply
from mmbot.runtime.pipe import Driver, Latency, PipeDialer, PipeHttp, SimLoop

START_NS = 1_791_484_300_000 * NS_PER_MS
BOOK = {"type": "l2Book", "coin": "HYPE", "fast": True}


def make_link(
    sim: SimLoop,
    dialer: PipeDialer,
    on_frames: Callable[[Sequence[bytes], int], None],
    on_lost: Callable[[int, str], None] = lambda recv_ns, reason: None,
    subscriptions: Sequence[dict[str, Any]] = (BOOK,),
) -> Link:
    """A link over the pipe."""

    def on_refused(error: VenueError) -> None:
        raise error

    return Link(
        "ws://venue/ws",
        subscriptions=subscriptions,
        dialer=dialer,
        clock=sim.clock,
        scheduler=sim,
        jitter=random.Random(5),
        params=LinkParams(),
        on_frames=on_frames,
        on_up=lambda recv_ns: None,
        on_lost=on_lost,
        on_refused=on_refused,
    )


class Rig:
    """A link on a scripted exchange; everything that arrived, with its time."""

    def __init__(self, latency: Latency = 20 * NS_PER_MS) -> None:
        self.sim = SimLoop(START_NS)
        self.exchange = FakeExchange(START_NS // NS_PER_MS)
        self.dialer = PipeDialer(self.sim, self.exchange, latency)
        self.http = PipeHttp(self.sim, self.exchange, latency)
        self.heard: list[tuple[int, bytes]] = []
        self.lost: list[str] = []
        self.link = make_link(
            self.sim,
            self.dialer,
            lambda frames, recv_ns: self.heard.extend((recv_ns, frame) for frame in frames),
            lambda recv_ns, reason: self.lost.append(reason),
        )
        self.link.start()
        assert self.sim.run_till(lambda: self.link.is_up, 5)

    def said(self, mark: str) -> list[tuple[int, bytes]]:
        return [(at, frame) for at, frame in self.heard if mark.encode() in frame]


# -- time -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), max_size=40))
def test_timers_fire_in_the_order_of_their_times_and_then_of_asking(delays: list[int]) -> None:
    """A simulation whose order depended on anything else could not be repeated."""
    sim = SimLoop(1000)
    fired: list[tuple[int, int]] = []

    def call(delay: int, number: int) -> None:
        sim.call_at(1000 + delay, lambda: fired.append((sim.clock() - 1000, number)))

    for number, delay in enumerate(delays):
        call(delay, number)
    sim.run_until(1050)

    assert fired == sorted((delay, number) for number, delay in enumerate(delays))
    assert sim.clock() == 1050


def test_timer_set_for_the_past_fires_next_and_time_does_not_go_back() -> None:
    """A clock that went back would date an event before its cause."""
    sim = SimLoop(1000)
    seen: list[int] = []

    def look_back() -> None:
        sim.call_at(3, lambda: seen.append(sim.clock()))

    sim.call_at(1500, look_back)

    sim.run_until(2000)

    assert seen == [1500]


def test_cancelled_timer_does_not_fire() -> None:
    """A dead timer that fires would act on a state that is gone."""
    sim = SimLoop(0)
    seen: list[str] = []
    handle = sim.call_at(5, lambda: seen.append("dead"))
    sim.call_at(5, lambda: seen.append("alive"))
    handle.cancel()

    sim.run_until(10)

    assert seen == ["alive"]


def test_run_till_stops_at_the_event_or_at_the_limit() -> None:
    """A test that waits for what never comes must end, and know it."""
    sim = SimLoop(0)
    seen: list[int] = []
    sim.call_at(3 * NS_PER_S, lambda: seen.append(1))
    sim.call_at(4 * NS_PER_S, lambda: seen.append(2))

    assert sim.run_till(lambda: bool(seen), 10)
    assert seen == [1]
    assert not sim.run_till(lambda: len(seen) > 5, 10)
    assert sim.clock() == 13 * NS_PER_S


# -- stream -----------------------------------------------------------------------------------


def test_message_takes_one_latency_each_way() -> None:
    """Simulated latency is what the engine's reaction is measured against."""
    rig = Rig(latency=30 * NS_PER_MS)
    sent_ns = rig.sim.clock()

    rig.link.send(b'{"method":"ping"}')
    rig.sim.run_for(1)

    ((at_ns, _),) = rig.said("pong")
    assert at_ns - sent_ns == 60 * NS_PER_MS


def test_what_the_exchange_does_by_itself_arrives_at_its_time() -> None:
    """The exchange is advanced when something is due there, not when somebody asks."""
    rig = Rig()
    rig.sim.run_for(3)

    times_ms = [(at - START_NS) // NS_PER_MS for at, _ in rig.said('"l2Book","data":{"coin"')]

    assert times_ms == [520, 1020, 1520, 2020, 2520, 3020]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nothing_overtakes_on_a_stream_whatever_the_latencies(seed: int) -> None:
    """TCP keeps the order; a pipe that did not would test the wrong thing."""
    chance = random.Random(seed)
    rig = Rig(latency=lambda: chance.randrange(1, 200 * NS_PER_MS))

    def say_later(number: int) -> None:
        rig.exchange.at(
            rig.exchange.now_ms + 5 * number,
            lambda: rig.exchange.session.say({"channel": "n", "data": number}),
        )

    for number in range(30):
        say_later(number)
    rig.sim.run_for(2)

    numbers = [msgspec.json.decode(frame)["data"] for _, frame in rig.said('"channel":"n"')]
    assert numbers == list(range(30))


def test_cut_ends_both_ends_and_what_was_on_its_way_arrives() -> None:
    """The last messages before a drop are data like any other."""
    rig = Rig()
    session = rig.exchange.session
    session.say({"channel": "n", "data": "last words"})
    Driver.of(rig.sim, rig.exchange).settle()

    rig.dialer.cut()
    rig.sim.run_for(0.1)

    assert session.is_closed
    assert len(rig.said("last words")) == 1
    assert rig.lost == ["the venue closed the socket without a close frame (1006)"]


def test_bytes_that_left_before_we_closed_still_arrive() -> None:
    """An order on the wire is not called back by closing the socket."""
    rig = Rig()
    session = rig.exchange.session
    rig.link.send(b'{"method":"post","id":1,"request":{"type":"action","payload":{"action":{}}}}')

    rig.link.drop("for the test")
    rig.sim.run_for(0.1)

    assert len(session.posts) == 1
    assert session.is_closed


def test_stalled_connection_is_silent_until_released() -> None:
    """A half-dead network delivers everything late, and in order."""
    rig = Rig()
    rig.dialer.stall(is_stalled=True)
    before = len(rig.heard)
    rig.sim.run_for(3)
    assert len(rig.heard) == before

    rig.dialer.stall(is_stalled=False)
    released = len(rig.heard) - before

    assert released == 6
    rig.sim.run_for(1)
    assert rig.link.is_up


def test_stall_beyond_the_limit_is_a_dead_stream() -> None:
    """What looks like a stall and lasts is a loss."""
    rig = Rig()
    rig.dialer.stall(is_stalled=True)

    rig.sim.run_for(6)

    assert len(rig.lost) == 1
    assert rig.lost[0].startswith("stream l2Book HYPE silent")


def test_tampering_repeats_delays_and_drops() -> None:
    """Every message twice, some late, some never: what a client has to bear."""
    rig = Rig()
    rig.dialer.tamper = lambda text: (
        [(0, text), (300 * NS_PER_MS, text)] if '"n"' in text else [(0, text)]
    )
    rig.link.drop("so that the new connection is tampered with")
    rig.sim.run_till(lambda: rig.link.is_up and len(rig.exchange.sessions) == 2, 10)

    rig.exchange.session.say({"channel": "n", "data": 1})
    Driver.of(rig.sim, rig.exchange).settle()
    rig.sim.run_for(1)

    first, second = rig.said('"n"')
    assert second[0] - first[0] == 300 * NS_PER_MS


@given(count=st.integers(0, 400))
@settings(max_examples=40)
def test_a_line_that_breaks_at_a_byte_delivers_only_what_came_before(count: int) -> None:
    """A frame cut in its head, its length or its body is no message, and the loss is told once."""
    rig = Rig()
    session = rig.exchange.session
    rig.dialer.cut_after(count, is_upward=False)
    for number in range(20):
        session.say({"channel": "n", "data": number})
        Driver.of(rig.sim, rig.exchange).settle()
    rig.sim.run_for(0.1)

    whole = [frame for _, frame in rig.said('"n"')]
    head = 2  # of a short frame from a server
    assert whole == [msgspec.json.encode({"channel": "n", "data": n}) for n in range(len(whole))]
    assert sum(head + len(frame) for frame in whole) <= count
    assert len(rig.lost) == 1
    assert session.is_closed


def test_a_request_cut_on_its_way_is_not_carried_out() -> None:
    """Half a frame is no request at the far end; our end learns that the line broke."""
    rig = Rig()
    session = rig.exchange.session
    rig.dialer.cut_after(5, is_upward=True)
    rig.link.send(b'{"method":"post","id":1,"request":{"type":"action","payload":{"action":{}}}}')
    rig.sim.run_for(0.1)

    assert session.posts == []
    assert session.is_closed
    assert len(rig.lost) == 1


def test_what_was_written_to_a_stalled_connection_arrives_after_it_was_given_up() -> None:
    """Bytes in the network outlive the socket they were written to."""
    rig = Rig()
    session = rig.exchange.session
    rig.dialer.stall(is_stalled=True)
    rig.link.send(b'{"method":"post","id":1,"request":{"type":"action","payload":{"action":{}}}}')
    rig.link.drop("for the test")
    rig.sim.run_for(1)
    assert session.posts == []
    rig.dialer.stall(is_stalled=False)
    rig.sim.run_for(0.2)

    assert len(session.posts) == 1
    assert session.is_closed


def test_refused_dial_fails_with_its_reason() -> None:
    """An unreachable venue, in simulated time."""
    rig = Rig()
    rig.dialer.refuse = "no route"

    rig.link.drop("for the test")
    rig.sim.run_for(1)

    assert "cannot connect: no route" in rig.lost


def test_exchange_that_takes_no_more_connections_refuses_the_handshake() -> None:
    """The venue counts connections by address and answers the upgrade with 429."""
    rig = Rig()

    class Full(FakeExchange):
        def connect(self, ip: str = "127.0.0.1") -> Any:
            session = super().connect(ip)
            session.close()
            return session

    full = Full(START_NS // NS_PER_MS)
    full.advance(rig.sim.clock() // NS_PER_MS)
    lost: list[str] = []
    link = make_link(
        rig.sim,
        PipeDialer(rig.sim, full, NS_PER_MS),
        lambda frames, recv_ns: None,
        lambda recv_ns, reason: lost.append(reason),
    )

    link.start()
    rig.sim.run_for(0.2)

    assert lost[0] == "the venue refused the WebSocket handshake with HTTP 429"


# -- HTTP -------------------------------------------------------------------------------------


def test_http_takes_a_round_trip_and_what_the_exchange_adds() -> None:
    """A request over HTTP is no faster than the network and the block it waits for."""
    rig = Rig()
    rig.exchange.answer("meta", FakeHttpResponse(200, b"{}", delay_ms=70))
    began_ns = rig.sim.clock()
    replies: list[tuple[int, HttpReply]] = []

    rig.http.post("/info", b'{"type":"meta"}', lambda r: replies.append((rig.sim.clock(), r)), 5)
    assert replies == []
    rig.sim.run_for(1)

    ((at_ns, reply),) = replies
    assert reply == HttpReply(200, b"{}")
    assert at_ns - began_ns == 110 * NS_PER_MS


def test_http_answer_after_the_time_out_is_not_heard() -> None:
    """One request, one outcome."""
    rig = Rig()
    rig.exchange.answer("meta", FakeHttpResponse(200, b"{}", delay_ms=9000))
    replies: list[HttpReply] = []

    rig.http.post("/info", b'{"type":"meta"}', replies.append, 5)
    rig.sim.run_for(20)

    assert replies == [HttpReply(None, error="no answer within 5 s")]


def test_run_repeated_is_the_same_run() -> None:
    """The fault campaigns rest on it: a failure found once can be looked at again."""

    def run() -> list[tuple[int, bytes]]:
        chance = random.Random(11)
        rig = Rig(latency=lambda: chance.randrange(1, 90 * NS_PER_MS))
        for _ in range(5):
            rig.sim.run_for(chance.uniform(0.1, 4))
            rig.dialer.cut()
        rig.sim.run_for(20)
        return rig.heard

    first = run()
    assert len(first) > 40
    assert run() == first
