"""The link: what a read becomes, when the link is up, when it is dead, and how it comes back."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fake_exchange import FakeExchange, FakeSession
from mmbot.core.types import NS_PER_S
from mmbot.errors import VenueError
from mmbot.hyperliquid.link import Link, LinkParams
from mmbot.hyperliquid.ports import StreamProtocol
from mmbot.runtime.pipe import PipeDialer, SimLoop
from support import often

START_NS = 1_791_484_300_000 * 1_000_000
LATENCY_NS = 20_000_000
USER = "0xAbCdEf0000000000000000000000000000000001"
SUBSCRIPTIONS: list[dict[str, Any]] = [
    {"type": "bbo", "coin": "HYPE"},
    {"type": "l2Book", "coin": "HYPE", "fast": True},
    {"type": "trades", "coin": "HYPE"},
    {"type": "activeAssetCtx", "coin": "HYPE"},
    {"type": "orderUpdates", "user": USER},
    {"type": "userFills", "user": USER},
]


class Ears:
    """What the link told the shell, in order."""

    def __init__(self) -> None:
        self.reads: list[tuple[bytes, ...]] = []
        self.recv_ns: list[int] = []
        self.told: list[tuple[str, str]] = []
        self.refused: list[VenueError] = []
        self.on_read: Callable[[], None] | None = None

    def on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        self.reads.append(tuple(frames))
        self.recv_ns.append(recv_ns)
        self.told.append(("read", str(len(frames))))
        if self.on_read is not None:
            self.on_read()

    def on_up(self, recv_ns: int) -> None:
        self.told.append(("up", ""))

    def on_lost(self, recv_ns: int, reason: str) -> None:
        self.told.append(("lost", reason))

    def on_refused(self, error: VenueError) -> None:
        self.refused.append(error)

    @property
    def frames(self) -> list[bytes]:
        return [frame for read in self.reads for frame in read]

    @property
    def ups(self) -> int:
        return sum(kind == "up" for kind, _ in self.told)

    @property
    def losses(self) -> list[str]:
        return [text for kind, text in self.told if kind == "lost"]


class Rig:
    """A link on a scripted exchange in simulated time."""

    def __init__(
        self,
        subscriptions: Sequence[dict[str, Any]] = SUBSCRIPTIONS,
        **params: float,
    ) -> None:
        self.sim = SimLoop(START_NS)
        self.exchange = FakeExchange(START_NS // 1_000_000)
        self.dialer = PipeDialer(self.sim, self.exchange, LATENCY_NS)
        self.ears = Ears()
        self.link = Link(
            "ws://127.0.0.1:1/ws",
            subscriptions=subscriptions,
            dialer=self.dialer,
            clock=self.sim.clock,
            scheduler=self.sim,
            jitter=random.Random(7),
            params=LinkParams.model_validate(params),
            on_frames=self.ears.on_frames,
            on_up=self.ears.on_up,
            on_lost=self.ears.on_lost,
            on_refused=self.ears.on_refused,
        )

    def up(self) -> FakeSession:
        """Start, and wait until the link is up."""
        self.link.start()
        assert self.sim.run_till(lambda: self.link.is_up, 5)
        return self.exchange.session


class Wire:
    """A hand-fed byte stream: the test is the network."""

    def __init__(self, subscriptions: Sequence[dict[str, Any]] = ()) -> None:
        self.sim = SimLoop(START_NS)
        self.ears = Ears()
        self.protocol: StreamProtocol | None = None
        self.server = ServerProtocol(max_size=None)
        self.written: list[bytes] = []
        self.aborts = 0
        self.is_open = True
        self.link = Link(
            "ws://127.0.0.1:1/ws",
            subscriptions=subscriptions,
            dialer=self,
            clock=self.sim.clock,
            scheduler=self.sim,
            jitter=random.Random(7),
            params=LinkParams(),
            on_frames=self.ears.on_frames,
            on_up=self.ears.on_up,
            on_lost=self.ears.on_lost,
            on_refused=self.ears.on_refused,
        )

    def dial(self, url: str, protocol: StreamProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.server.receive_data(data)

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.aborts += 1
        self.is_open = False

    def shake_hands(self) -> None:
        """Dial, connect, and answer the handshake."""
        self.link.start()
        assert self.protocol is not None
        self.protocol.connection_made(self)
        (request,) = self.server.events_received()
        assert isinstance(request, Request)
        self.server.send_response(self.server.accept(request))
        self.feed(self.said())

    def said(self) -> bytes:
        """Bytes the server has to send."""
        return b"".join(self.server.data_to_send())

    def feed(self, *reads: bytes) -> None:
        assert self.protocol is not None
        for data in reads:
            self.protocol.data_received(data)


def test_messages_of_one_read_are_handed_over_together() -> None:
    """One read is one decision: seven fills in one read must not be answered one by one."""
    wire = Wire()
    wire.shake_hands()
    for n in range(7):
        wire.server.send_text(b'{"channel":"trades","data":[%d]}' % n)

    wire.feed(wire.said())

    assert [len(read) for read in wire.ears.reads] == [7]
    assert wire.ears.reads[0][6] == b'{"channel":"trades","data":[6]}'


def test_fragments_become_one_message_and_binary_ones_none() -> None:
    """The framing allows a message in pieces, with control frames between them."""
    wire = Wire()
    wire.shake_hands()
    wire.server.send_text(b'{"channel":', fin=False)
    wire.server.send_ping(b"now")
    wire.server.send_continuation(b'"bbo","da', fin=False)
    wire.server.send_continuation(b'ta":{}}', fin=True)
    wire.server.send_binary(b"\x00\x01", fin=False)
    wire.server.send_continuation(b"\x02", fin=True)
    wire.server.send_binary(b"\x03")
    wire.server.send_text(b'{"channel":"pong"}')

    wire.feed(wire.said())

    assert wire.ears.reads == [(b'{"channel":"bbo","data":{}}', b'{"channel":"pong"}')]


def test_ping_is_answered_before_the_messages_are_acted_on() -> None:
    """A decision may take a millisecond; the venue's ping does not wait for it."""
    wire = Wire()
    wire.shake_hands()
    seen: list[object] = []
    wire.ears.on_read = lambda: seen.extend(wire.server.events_received())
    wire.server.events_received()
    wire.server.send_ping(b"are you there")
    wire.server.send_text(b'{"channel":"pong"}')

    wire.feed(wire.said())

    (pong,) = seen
    assert isinstance(pong, Frame)
    assert pong.opcode is Opcode.PONG
    assert bytes(pong.data) == b"are you there"


def test_up_only_after_every_acknowledgement() -> None:
    """Quotes on a book that is not streaming yet would be quotes on nothing."""
    rig = Rig()
    rig.exchange.is_acking = False
    rig.link.start()
    rig.sim.run_for(1)
    session = rig.exchange.session
    asked = [message["subscription"] for message in session.received]
    assert asked == SUBSCRIPTIONS
    for wanted in asked[:-1]:
        rig.exchange.acknowledge(session, wanted)
    rig.sim.run_for(1)
    assert not rig.link.is_up
    assert not rig.link.send(b"{}")
    assert rig.ears.frames  # what streams before the last acknowledgement is not lost

    rig.exchange.acknowledge(session, asked[-1])
    rig.sim.run_for(1)

    assert rig.ears.ups == 1
    assert rig.link.send(b'{"method":"hello"}')


def test_read_with_last_acknowledgement_is_delivered_before_up() -> None:
    """The shell meets events in the order they came; that the link is up is a conclusion."""
    wire = Wire([{"type": "bbo", "coin": "HYPE"}])
    wire.shake_hands()
    wire.server.send_text(
        b'{"channel":"subscriptionResponse","data":{"method":"subscribe",'
        b'"subscription":{"type":"bbo","coin":"HYPE"}}}'
    )
    wire.server.send_text(b'{"channel":"bbo","data":{"coin":"HYPE"}}')

    wire.feed(wire.said())

    assert wire.ears.told == [("read", "2"), ("up", "")]


def test_acknowledgement_in_foreign_spelling_counts() -> None:
    """Key order and spaces are the sender's business; only the fast path may rely on them."""
    wire = Wire([{"type": "l2Book", "coin": "HYPE", "fast": True}])
    wire.shake_hands()
    wire.server.send_text(
        b'{ "data" : { "subscription": {"fast": true, "coin": "HYPE", "type": "l2Book"}, '
        b'"method": "subscribe"}, "channel": "subscriptionResponse" }'
    )

    wire.feed(wire.said())

    assert wire.link.is_up


def test_acknowledgement_of_another_book_does_not_count() -> None:
    """A plain book is not the fast one: it is ten times older."""
    wire = Wire([{"type": "l2Book", "coin": "HYPE", "fast": True}])
    wire.shake_hands()
    wire.server.send_text(
        b'{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":'
        b'{"type":"l2Book","coin":"HYPE","nSigFigs":null,"mantissa":null,"fast":false}}}'
    )

    wire.feed(wire.said())

    assert not wire.link.is_up


def test_old_greeting_is_not_handed_on() -> None:
    """Older servers greet with a text that is not JSON, which the decoder would refuse."""
    wire = Wire()
    wire.shake_hands()
    wire.server.send_text(b"Websocket connection established.")
    wire.server.send_text(b'{"channel":"pong"}')

    wire.feed(wire.said())

    assert wire.ears.frames == [b'{"channel":"pong"}']


def test_handshake_that_never_ends_is_given_up() -> None:
    """A host that accepts and then says nothing must not hold us."""
    wire = Wire()
    wire.link.start()
    assert wire.protocol is not None
    wire.protocol.connection_made(wire)

    wire.sim.run_for(10.1)

    assert wire.aborts == 1
    assert wire.ears.losses == ["no connection to ws://127.0.0.1:1/ws within 10 s"]


def test_connection_made_after_its_time_is_closed() -> None:
    """A dial that succeeds when nobody waits for it any more would be a second connection."""
    wire = Wire()
    wire.link.start()
    late = wire.protocol
    wire.sim.run_for(10.1)

    assert late is not None
    late.connection_made(wire)

    assert wire.aborts == 1
    assert wire.written == []


def test_missing_acknowledgement_is_named_and_retried() -> None:
    """The reason has to say which stream the venue does not serve."""
    rig = Rig()
    rig.exchange.is_acking = False
    rig.link.start()
    rig.sim.run_for(0.2)
    session = rig.exchange.session
    for wanted in SUBSCRIPTIONS:
        if wanted["type"] != "trades":
            rig.exchange.acknowledge(session, wanted)

    rig.sim.run_for(10.5)

    assert rig.ears.losses == ["not acknowledged within 10 s: trades HYPE"]
    assert rig.dialer.dials == 2


def test_refused_subscription_is_said_with_the_venues_words() -> None:
    """An error frame while subscribing means that an acknowledgement will never come."""
    rig = Rig()
    rig.exchange.complaint = "Cannot track more than 15 total users."
    rig.link.start()

    rig.sim.run_for(0.3)

    assert rig.ears.losses == [
        "the venue refused a subscription: Cannot track more than 15 total users."
    ]


def test_socket_closed_on_subscribing_is_a_refusal_and_ends_in_an_error() -> None:
    """An unknown coin is answered by a cut socket; retrying for ever would explain nothing."""
    rig = Rig([{"type": "bbo", "coin": "hype"}], refusals_max=3)
    rig.exchange.bad_coins = {"hype"}
    rig.link.start()

    rig.sim.run_for(120)

    assert len(rig.ears.losses) == 3
    assert "subscribed" in rig.ears.losses[0]
    assert "bbo hype" in rig.ears.losses[0]
    assert "unknown coin?" in rig.ears.losses[0]
    (error,) = rig.ears.refused
    assert error.exit_code == 4
    assert "bbo hype" in str(error)
    assert "instrument.coin" in str(error)
    assert rig.dialer.dials == 3


def test_link_that_was_up_is_not_given_up_for_refusals() -> None:
    """Its subscriptions were right once, so what closes the socket now is an outage that ends."""
    rig = Rig(refusals_max=2, backoff_max_s=1)
    session = rig.up()
    rig.exchange.bad_coins = {"HYPE"}
    session.cut()
    rig.sim.run_for(60)
    assert len(rig.ears.losses) > 10
    assert rig.ears.refused == []

    rig.exchange.bad_coins = set()
    rig.sim.run_for(5)

    assert rig.link.is_up


@pytest.mark.parametrize(("status", "is_final"), [(404, True), (429, False), (502, False)])
def test_refused_handshake_is_said_with_its_status(status: int, is_final: bool) -> None:
    """A wrong address is a person's error; an overloaded venue is not."""
    wire = Wire()
    for _ in range(3):
        wire.link.start()
        assert wire.protocol is not None
        wire.protocol.connection_made(wire)
        wire.protocol.data_received(b"HTTP/1.1 %d Whatever\r\n\r\nno" % status)
        wire.protocol.eof_received()
        wire.protocol.connection_lost(None)
        wire.sim.run_for(3)

    assert wire.ears.losses[0] == f"the venue refused the WebSocket handshake with HTTP {status}"
    assert bool(wire.ears.refused) is is_final


def test_what_answers_without_http_is_no_venue() -> None:
    """Some other service on that port must end in a reason, not in a traceback."""
    wire = Wire()
    wire.link.start()
    assert wire.protocol is not None
    wire.protocol.connection_made(wire)

    wire.protocol.data_received(b"SSH-2.0-OpenSSH_9.2\r\n")

    assert wire.ears.losses == ["no WebSocket handshake: did not receive a valid HTTP response"]


def test_failed_dial_is_reported_and_retried() -> None:
    """An unreachable host is said each time, with its cause."""
    rig = Rig()
    rig.dialer.refuse = "127.0.0.1:1: refused; nothing listens there, check the address"
    rig.link.start()
    rig.sim.run_for(3)
    assert len(rig.ears.losses) >= 2
    assert rig.ears.losses[0].startswith("cannot connect: 127.0.0.1:1: refused")

    rig.dialer.refuse = None
    rig.sim.run_for(10)

    assert rig.link.is_up


def test_heartbeat_is_sent_and_its_answer_awaited() -> None:
    """The venue hangs up on a silent client, and a dead venue does not answer."""
    rig = Rig()
    session = rig.up()
    rig.sim.run_for(61)
    pings = [message for message in session.received if message == {"method": "ping"}]
    assert len(pings) == 3
    assert rig.link.is_up

    rig.exchange.is_ponging = False
    rig.sim.run_for(29.5)

    assert rig.ears.losses == ["heartbeat not answered within 10 s"]


@pytest.mark.parametrize(
    ("muted", "after_s", "reason"),
    [
        ({"l2Book"}, 5.6, "stream l2Book HYPE silent for 5.0 s"),
        ({"activeAssetCtx"}, 15.6, "stream activeAssetCtx HYPE silent for 15.0 s"),
    ],
)
def test_stream_that_stalls_alone_is_found_and_named(
    muted: set[str], after_s: float, reason: str
) -> None:
    """One stream of ours can stall while all else lives; any frame at all is no proof of life."""
    rig = Rig()
    rig.up()
    rig.sim.run_for(30)
    rig.exchange.muted = muted

    rig.sim.run_for(after_s)

    assert rig.ears.losses == [reason]
    rig.exchange.muted = set()
    rig.sim.run_for(2)
    assert rig.link.is_up


def test_stall_of_our_book_is_seen_though_another_coins_book_lives() -> None:
    """The reference coin's frames say nothing about the market we quote in."""
    rig = Rig(
        [
            {"type": "l2Book", "coin": "hyna:HYPE", "fast": True},
            {"type": "l2Book", "coin": "HYPE", "fast": True},
        ]
    )
    rig.up()
    rig.sim.run_for(30)
    rig.exchange.muted = {"l2Book hyna:HYPE"}

    rig.sim.run_for(6)

    assert rig.ears.losses == ["stream l2Book hyna:HYPE silent for 5.0 s"]


def _book(*, is_fast: bool) -> dict[str, Any]:
    book: dict[str, Any] = {"coin": "HYPE", "time": 1, "levels": [[], []]}
    if is_fast:
        book["fast"] = True
    return {"channel": "l2Book", "data": book}


@pytest.mark.parametrize("is_marked", [True, False])
def test_plain_books_do_not_hide_that_the_fast_ones_have_stopped(is_marked: bool) -> None:
    """Both come down one channel; where fast books are marked, only they count as their life."""
    fast = {"type": "l2Book", "coin": "HYPE", "fast": True}
    rig = Rig([fast, fast | {"fast": False}], stale_book_s=10)
    rig.exchange.is_streaming = False
    session = rig.up()
    session.say(_book(is_fast=is_marked))
    for _ in range(4):
        rig.sim.run_for(2.9)
        if not rig.ears.losses:
            session.say(_book(is_fast=False))

    assert rig.ears.losses == (["stream l2Book HYPE silent for 10.0 s"] if is_marked else [])


def test_each_book_stream_waits_for_its_own_acknowledgement() -> None:
    """The echo of the fast book must not pass for that of the plain one."""
    fast = {"type": "l2Book", "coin": "HYPE", "fast": True}
    rig = Rig([fast, fast | {"fast": False}])
    rig.exchange.is_acking = False
    rig.link.start()
    rig.sim.run_for(1)

    rig.exchange.acknowledge(rig.exchange.session, fast)
    rig.sim.run_for(1)
    assert not rig.link.is_up
    rig.exchange.acknowledge(rig.exchange.session, fast | {"fast": False})
    rig.sim.run_for(1)

    assert rig.link.is_up


def test_silence_of_everything_is_found_without_any_clocked_stream() -> None:
    """A link with account streams only still has to notice that its socket is dead."""
    rig = Rig([{"type": "orderUpdates", "user": USER}], pong_timeout_s=60)
    rig.up()
    rig.exchange.is_ponging = False

    rig.sim.run_for(31)

    assert rig.ears.losses == ["every stream silent for 30.0 s"]


def test_every_connection_subscribes_anew() -> None:
    """There is no resume token: what is not subscribed again is silent for ever."""
    rig = Rig()
    first = rig.up()
    first.cut()
    rig.sim.run_for(3)
    second = rig.exchange.session

    assert second is not first
    asked = [m["subscription"] for m in second.received if m["method"] == "subscribe"]
    assert asked == SUBSCRIPTIONS
    assert rig.ears.ups == 2
    assert [kind for kind, _ in rig.ears.told if kind != "read"] == ["up", "lost", "up"]


def test_close_frame_says_code_and_reason() -> None:
    """A venue that does say goodbye is quoted."""
    wire = Wire()
    wire.shake_hands()
    wire.server.send_close(1012, "restart")

    wire.feed(wire.said())

    assert wire.ears.losses == ["the venue closed the socket (1012: restart)"]


def test_messages_before_a_close_are_not_lost() -> None:
    """A fill in the read that ends the connection is still a fill."""
    wire = Wire()
    wire.shake_hands()
    wire.server.send_text(b'{"channel":"userFills","data":{}}')
    wire.server.send_close(1000)

    wire.feed(wire.said())

    assert [kind for kind, _ in wire.ears.told] == ["up", "read", "lost"]


def test_broken_framing_drops_the_connection() -> None:
    """Bytes that are no WebSocket frame leave nothing to trust."""
    wire = Wire()
    wire.shake_hands()

    wire.feed(b"\xff\xff\xff\xff")

    assert len(wire.ears.losses) == 1
    assert wire.ears.losses[0].startswith("the venue broke the WebSocket protocol")
    assert not wire.is_open


def test_drop_from_within_a_read_reconnects_once() -> None:
    """The shell drops the link on a frame it cannot read, while it is being handed that read."""
    rig = Rig()
    session = rig.up()
    rig.ears.on_read = lambda: rig.link.drop("malformed frame: no JSON")
    session.say_text("this is not JSON")

    rig.sim.run_for(0.6)

    rig.ears.on_read = None
    assert rig.ears.losses == ["malformed frame: no JSON"]
    rig.sim.run_for(3)
    assert rig.ears.ups == 2
    assert rig.dialer.dials == 2


def test_full_send_buffer_ends_the_connection() -> None:
    """Orders queued behind a venue that does not read would arrive as orders of the past."""
    wire = Wire()
    wire.shake_hands()
    assert wire.protocol is not None

    wire.protocol.pause_writing()

    assert wire.ears.losses == ["the venue stopped reading: the send buffer is full"]
    assert wire.aborts == 1


def test_close_is_final_and_polite() -> None:
    """After the end of a run nothing reconnects."""
    rig = Rig()
    session = rig.up()
    rig.link.close()

    rig.sim.run_for(600)

    assert rig.dialer.dials == 1
    assert session.is_closed
    assert rig.ears.losses == []
    assert not rig.link.send(b"{}")


def test_close_while_waiting_stops_the_attempts() -> None:
    """The end of a run may come while the venue is away."""
    rig = Rig()
    rig.dialer.refuse = "away"
    rig.link.start()
    rig.sim.run_for(2)
    dials = rig.dialer.dials
    rig.link.close()

    rig.sim.run_for(600)

    assert rig.dialer.dials == dials


def test_waits_double_within_their_jitter_and_their_bound() -> None:
    """All clients of a venue that comes back at once would knock it over again."""
    rig = Rig(backoff_first_s=1, backoff_max_s=8)
    rig.dialer.refuse = "away"
    tried: list[int] = []
    rig.ears.on_lost = lambda recv_ns, reason: tried.append(recv_ns)  # type: ignore[method-assign]
    rig.link._on_lost = rig.ears.on_lost
    rig.link.start()

    rig.sim.run_for(60)

    gaps_s = [(b - a - LATENCY_NS) / NS_PER_S for a, b in pairwise(tried)]
    for gap_s, longest_s in zip(gaps_s, [1, 2, 4, 8, 8, 8], strict=False):
        assert longest_s / 2 <= gap_s <= longest_s
    assert len(gaps_s) >= 6
    assert len({round(gap_s, 6) for gap_s in gaps_s[3:]}) == len(gaps_s[3:])


def test_healthy_connection_starts_the_waits_anew() -> None:
    """A drop once a day costs half a second; one that drops at once again costs more each time."""
    rig = Rig(backoff_first_s=1, backoff_max_s=64, healthy_s=60)
    rig.up()

    def outage_s() -> float:
        before, at_ns = rig.exchange.session, rig.sim.clock()
        before.cut()
        assert rig.sim.run_till(
            lambda: rig.exchange.session is not before and rig.link.is_up, limit_s=70
        )
        return (rig.sim.clock() - at_ns) / NS_PER_S

    outages_s = [outage_s() for _ in range(5)]
    assert outages_s[0] < 2
    assert outages_s[4] > 8
    rig.sim.run_for(61)

    assert outage_s() < 2


def test_same_subscription_twice_is_sent_once() -> None:
    """The venue answers a duplicate with an error, which would count as a refusal."""
    rig = Rig([*SUBSCRIPTIONS, {"type": "bbo", "coin": "HYPE"}])

    session = rig.up()

    assert [m["subscription"] for m in session.received] == SUBSCRIPTIONS


def test_address_that_is_none_is_refused_at_once() -> None:
    """A typing error in the address is said before anything is tried."""
    with pytest.raises(VenueError, match="not a WebSocket address"):
        Link(
            "http://127.0.0.1/ws",
            subscriptions=[],
            dialer=Wire(),
            clock=lambda: 0,
            scheduler=SimLoop(0),
            jitter=random.Random(1),
            params=LinkParams(),
            on_frames=lambda frames, recv_ns: None,
            on_up=lambda recv_ns: None,
            on_lost=lambda recv_ns, reason: None,
            on_refused=lambda error: None,
        )


def _transcript(wire: Wire) -> bytes:
    """A session as the venue would send it: data, fragments, a ping, a close."""
    say = wire.server.send_text
    say(b'{"channel":"bbo","data":{"coin":"HYPE","time":1,"bbo":[null,null]}}')
    say(b'{"channel":"trades","data":[', fin=False)
    wire.server.send_ping(b"x")
    wire.server.send_continuation(b"]}", fin=True)
    say('{"channel":"notification","data":{"notification":"größer"}}'.encode())
    say(b'{"channel":"l2Book","data":"' + b"y" * 70_000 + b'"}')
    wire.server.send_close(1001, "going")
    return wire.said()


def _hear(cuts: Sequence[int]) -> tuple[list[bytes], list[str], bytes]:
    """Feed the transcript cut at these places; frames, losses and bytes answered."""
    wire = Wire()
    wire.shake_hands()
    wire.written.clear()
    data = _transcript(wire)
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    wire.feed(*(data[a:b] for a, b in pairwise(edges) if b > a))
    answered = [
        (frame.opcode, bytes(frame.data))
        for frame in wire.server.events_received()
        if isinstance(frame, Frame)
    ]
    return wire.ears.frames, wire.ears.losses, repr(answered).encode()


def test_a_cut_at_any_single_place_changes_nothing() -> None:
    """TCP may split a message anywhere, also within a header or a character."""
    whole = _hear([])
    assert len(whole[0]) == 4

    # Every place of the small frames and of the big one's header, then samples of its payload.
    for place in [*range(1, 330), *range(330, 70_330, 6_661)]:
        assert _hear([place]) == whole


@settings(max_examples=often(25, thoroughly=60), deadline=None)
@given(cuts=st.lists(st.integers(0, 71_000), max_size=40))
def test_any_cuts_change_nothing(cuts: list[int]) -> None:
    """What is delivered depends on the bytes, never on how the network packed them."""
    assert _hear(cuts) == _hear([])
