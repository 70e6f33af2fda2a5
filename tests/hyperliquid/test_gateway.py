"""The gateway: what leaves for a batch, and that every request gets one verdict and only one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_exchange import FakeExchange, FakeHttpResponse, FakeSession
from mmbot.core import gate
from mmbot.core.events import (
    Acked,
    Event,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    RequestsLeft,
)
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument, Side
from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.link import Link, LinkParams
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import Decoder, ErrorFrame, PostReply
from mmbot.runtime.pipe import PipeDialer, PipeHttp, SimLoop
from support import often

START_MS = 1_791_484_300_000
LATENCY_NS = 20 * NS_PER_MS
USER = "0x00000000000000000000000000000000000000aa"
HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
ERR_TEXT = "Post only order would have immediately matched, bbo was 26.1@26.2. asset=159"


def batch(
    cancels: Sequence[int] = (), moves: Sequence[int] = (), places: Sequence[int] = ()
) -> Batch:
    """A batch over these cloids, as the risk gate would make it."""
    return Batch(
        gate._PASS,
        tuple(Cancel(cloid) for cloid in cancels),
        tuple(Move(cloid, Side.SELL, 262_000, 45) for cloid in moves),
        tuple(Place(cloid, Side.BUY, 261_500, 50) for cloid in places),
        0,
    )


def resting(oid: int) -> dict[str, Any]:
    return {"resting": {"oid": oid}}


def ok(kind: str, *statuses: Any) -> dict[str, Any]:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}


def say_reply(session: FakeSession, post_id: int, payload: Any, kind: str = "action") -> None:
    response = {"type": kind, "payload": payload}
    session.say({"channel": "post", "data": {"id": post_id, "response": response}})


def order_status(cloid: int, status: str = "open", oid: int = 7) -> dict[str, Any]:
    order = {
        "coin": "HYPE",
        "side": "B",
        "limitPx": "26.15",
        "sz": "0.5",
        "oid": oid,
        "timestamp": START_MS,
        "origSz": "0.5",
        "cloid": f"0x{cloid:032x}",
    }
    inner = {"order": order, "status": status, "statusTimestamp": START_MS}
    return {"status": "order", "order": inner}


UNKNOWN_OID = {"status": "unknownOid"}


class Rig:
    """Link and gateway on a scripted exchange, in simulated time."""

    def __init__(self, *, is_up: bool = True, **params: Any) -> None:
        self.sim = SimLoop(START_MS * NS_PER_MS)
        self.exchange = FakeExchange(START_MS)
        self.http = PipeHttp(self.sim, self.exchange, LATENCY_NS)
        self.dialer = PipeDialer(self.sim, self.exchange, LATENCY_NS)
        self.decoder = Decoder(HYPE, user=USER)
        self.events: list[Event] = []
        self.link = Link(
            "ws://venue/ws",
            subscriptions=[{"type": "orderUpdates", "user": USER}],
            dialer=self.dialer,
            clock=self.sim.clock,
            scheduler=self.sim,
            jitter=random.Random(3),
            params=LinkParams(),
            on_frames=self._on_frames,
            on_up=lambda recv_ns: None,
            on_lost=lambda recv_ns, reason: self.gateway.on_link_lost(),
            on_refused=self._on_refused,
        )
        self.signer = Signer(b"\x01" * 32, is_mainnet=False)
        self.gateway = Gateway(
            HYPE,
            self.signer,
            Nonces(),
            link_send=self.link.send,
            http=self.http,
            clock=self.sim.clock,
            scheduler=self.sim,
            params=GatewayParams.model_validate(params),
            emit=self.events.append,
            user=USER,
        )
        if is_up:
            self.link.start()
            assert self.sim.run_till(lambda: self.link.is_up, 5)

    def _on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        for frame in frames:
            for item in self.decoder.decode(frame, recv_ns):
                if isinstance(item, PostReply):
                    self.gateway.on_reply(item)
                elif isinstance(item, ErrorFrame) and item.post_id is not None:
                    self.gateway.on_error_frame(item.post_id, item.text, recv_ns)

    def _on_refused(self, error: VenueError) -> None:
        raise error

    def answer(self, *payloads: Any, kind: str = "action") -> None:
        """Answer the next posts with these, in order; later ones not at all."""
        queue = list(payloads)

        def on_post(session: FakeSession, post_id: int, action: dict[str, Any]) -> None:
            if queue:
                say_reply(session, post_id, queue.pop(0), kind)

        self.exchange.on_post = on_post

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Actions as received, over the socket then over HTTP."""
        posts = [body for session in self.exchange.sessions for body in session.posts]
        return posts + [body for path, body in self.exchange.requests if path == "/exchange"]

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [body for path, body in self.exchange.requests if path == "/info"]


# -- what leaves ------------------------------------------------------------------------------


def test_cancels_leave_before_moves_before_placements() -> None:
    """Danger is reduced first; a placement that overtakes a cancel doubles the exposure."""
    rig = Rig()

    rig.gateway.send(batch(cancels=[1, 2], moves=[3], places=[4, 5]))
    rig.sim.run_for(0.1)

    actions = [body["action"] for body in rig.bodies]
    assert [action["type"] for action in actions] == ["cancelByCloid", "batchModify", "order"]
    assert [cancel["cloid"] for cancel in actions[0]["cancels"]] == [f"0x{n:032x}" for n in (1, 2)]
    (modify,) = actions[1]["modifies"]
    assert modify["oid"] == f"0x{3:032x}"
    assert modify["order"]["c"] == f"0x{3:032x}"
    assert [order["p"] for order in actions[2]["orders"]] == ["26.15", "26.15"]
    assert [order["t"] for order in actions[2]["orders"]] == [{"limit": {"tif": "Alo"}}] * 2


def test_placements_and_moves_expire_and_cancels_do_not() -> None:
    """An order that arrives late is wrong; a cancel that arrives late is still wanted."""
    rig = Rig(expires_after_s=2)

    rig.gateway.send(batch(cancels=[1], moves=[2], places=[3]))
    now_ms = rig.sim.clock() // NS_PER_MS
    rig.sim.run_for(0.1)

    assert [body["expiresAfter"] for body in rig.bodies] == [None, now_ms + 2000, now_ms + 2000]


def test_nonces_rise_within_one_batch() -> None:
    """Three requests in one millisecond need three nonces."""
    rig = Rig()

    rig.gateway.send(batch(cancels=[1], moves=[2], places=[3]))
    now_ms = rig.sim.clock() // NS_PER_MS
    rig.sim.run_for(0.1)

    assert [body["nonce"] for body in rig.bodies] == [now_ms, now_ms + 1, now_ms + 2]


def test_nothing_but_a_batch_is_sent() -> None:
    """Only the risk gate makes a Batch, so only what passed it can leave."""
    rig = Rig()

    with pytest.raises(TypeError, match="nothing but a Batch"):
        rig.gateway.send({"places": [Place(1, Side.BUY, 261_500, 50)]})  # type: ignore[arg-type]

    rig.sim.run_for(0.1)
    assert rig.bodies == []


def test_many_cancels_are_split_below_the_venues_limit() -> None:
    """An action over 200 entries is refused whole, just when everything has to go."""
    rig = Rig()

    rig.gateway.cancel_all(list(range(1, 251)))
    rig.sim.run_for(0.1)

    sizes = [len(body["action"]["cancels"]) for body in rig.bodies]
    assert sizes == [100, 100, 50]


# -- verdicts ---------------------------------------------------------------------------------


def test_each_element_gets_its_own_verdict() -> None:
    """`ok` on the outside says nothing: the refusals are inside."""
    rig = Rig()
    filled = {"filled": {"totalSz": "0.5", "avgPx": "26.15", "oid": 12}}
    rig.answer(
        ok("cancel", "success", {"error": "Order was never placed, already canceled, or filled."}),
        ok("order", resting(10)),
        ok("order", resting(11), filled, {"error": ERR_TEXT}),
    )

    rig.gateway.send(batch(cancels=[1, 2], moves=[3], places=[4, 5, 6]))
    rig.sim.run_for(1)

    verdicts = [(type(e).__name__, e.request, e.cloid) for e in _verdicts(rig)]
    assert verdicts == [
        ("Acked", Request.CANCEL, 1),
        ("Rejected", Request.CANCEL, 2),
        ("Acked", Request.MOVE, 3),
        ("Acked", Request.PLACE, 4),
        ("Acked", Request.PLACE, 5),
        ("Rejected", Request.PLACE, 6),
    ]
    gone, post_only = (e for e in rig.events if isinstance(e, Rejected))
    assert (gone.reason, post_only.reason) == (Rejection.GONE, Rejection.POST_ONLY)
    assert post_only.text == ERR_TEXT
    acks = [e for e in rig.events if isinstance(e, Acked)]
    assert [(e.oid, e.is_filled) for e in acks] == [
        (None, False),
        (10, False),
        (11, False),
        (12, True),
    ]
    assert rig.gateway.pending == 0


def test_one_error_for_a_batch_refuses_every_element() -> None:
    """The venue checks a batch whole before it executes any of it, and answers once."""
    rig = Rig()
    rig.answer(ok("order", {"error": "Order has invalid price."}))

    rig.gateway.send(batch(places=[1, 2, 3]))
    rig.sim.run_for(1)

    refused = [e for e in rig.events if isinstance(e, Rejected)]
    assert [(e.cloid, e.reason) for e in refused] == [
        (1, Rejection.TICK),
        (2, Rejection.TICK),
        (3, Rejection.TICK),
    ]


def test_one_acceptance_for_a_batch_is_no_verdict() -> None:
    """One oid cannot be that of three orders; guessing would put it on the wrong one."""
    rig = Rig()
    rig.answer(ok("order", resting(9)))

    rig.gateway.send(batch(places=[1, 2, 3]))
    rig.sim.run_for(1)

    assert [type(e) for e in _verdicts(rig)] == [OutcomeUnknown] * 3


def test_status_count_that_fits_nothing_is_no_verdict() -> None:
    """Two statuses for three orders cannot be told apart."""
    rig = Rig()
    rig.answer(ok("order", resting(9), resting(10)))

    rig.gateway.send(batch(places=[1, 2, 3]))
    rig.sim.run_for(1)

    assert [type(e) for e in _verdicts(rig)] == [OutcomeUnknown] * 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too many cumulative requests sent (10001 > 10000) for ...", Rejection.BUDGET),
        ("Invalid nonce: duplicate nonce 1791484300000", Rejection.NONCE),
        ("Action already expired", Rejection.EXPIRED),
        ("User or API Wallet 0xab does not exist.", Rejection.AUTH),
        ("Something the venue never said before", Rejection.OTHER),
    ],
)
def test_refusal_of_the_whole_action_is_everybodys(text: str, reason: Rejection) -> None:
    """An action that was not admitted executed nothing: a definitive answer, with its class."""
    rig = Rig()
    rig.answer({"status": "err", "response": text})

    rig.gateway.send(batch(places=[1, 2]))
    rig.sim.run_for(1)

    refused = [e for e in rig.events if isinstance(e, Rejected)]
    assert [(e.cloid, e.reason, e.text) for e in refused] == [(1, reason, text), (2, reason, text)]


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("422 Failed to deserialize the JSON body", Rejected, Rejection.OTHER),
        ("429 Too Many Requests", Rejected, Rejection.BUDGET),
        ("500 Internal Server Error", OutcomeUnknown, None),
        ("502 Bad Gateway", OutcomeUnknown, None),
        ("the server says something else", OutcomeUnknown, None),
    ],
)
def test_transport_error_of_a_post(text: str, kind: type[Event], reason: Rejection | None) -> None:
    """4xx was not carried out; 5xx, or words without a status, may have been."""
    rig = Rig()
    rig.answer(text, kind="error")

    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(1)

    (verdict,) = _verdicts(rig)
    assert type(verdict) is kind
    assert getattr(verdict, "reason", None) is reason


def test_post_refused_for_too_many_in_flight_is_definitive() -> None:
    """It comes as an error frame that only names the id."""
    rig = Rig()
    rig.exchange.on_post = lambda session, post_id, _action: session.say(
        {"channel": "error", "data": f"too many pending post requests id={post_id}"}
    )

    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(10)

    (verdict,) = _verdicts(rig)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Rejection.BUDGET


def test_answers_out_of_order_find_their_requests() -> None:
    """Replies may overtake each other; only the id tells them apart."""
    rig = Rig()
    waiting: list[tuple[FakeSession, int]] = []
    rig.exchange.on_post = lambda session, post_id, _action: waiting.append((session, post_id))
    rig.gateway.send(batch(places=[1]))
    rig.gateway.send(batch(places=[2]))
    rig.sim.run_for(0.1)

    for oid, (session, post_id) in zip((22, 11), reversed(waiting), strict=True):
        say_reply(session, post_id, ok("order", resting(oid)))
    rig.sim.run_for(1)

    assert [(e.cloid, e.oid) for e in rig.events if isinstance(e, Acked)] == [(2, 22), (1, 11)]


def test_same_answer_twice_is_one_verdict() -> None:
    """A repeated reply must not acknowledge what has changed since."""
    rig = Rig()

    def on_post(session: FakeSession, post_id: int, _action: dict[str, Any]) -> None:
        say_reply(session, post_id, ok("order", resting(7)))
        say_reply(session, post_id, ok("order", resting(7)))

    rig.exchange.on_post = on_post
    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(10)

    assert len(_verdicts(rig)) == 1


# -- no verdict -------------------------------------------------------------------------------


def test_no_answer_in_time_is_unknown_and_a_late_one_still_counts() -> None:
    """Silence is not a refusal, and the truth is welcome whenever it comes."""
    rig = Rig(post_timeout_s=5)
    waiting: list[tuple[FakeSession, int]] = []
    rig.exchange.on_post = lambda session, post_id, _action: waiting.append((session, post_id))
    rig.gateway.send(batch(places=[1, 2]))
    rig.sim.run_for(4.9)
    assert _verdicts(rig) == []

    rig.sim.run_for(0.2)
    unknown = _verdicts(rig)
    assert [(type(e), e.cloid) for e in unknown] == [(OutcomeUnknown, 1), (OutcomeUnknown, 2)]
    assert isinstance(unknown[0], OutcomeUnknown)
    assert unknown[0].text == "no answer within 5 s"

    session, post_id = waiting[0]
    say_reply(session, post_id, ok("order", resting(5), {"error": ERR_TEXT}))
    rig.sim.run_for(1)
    assert [type(e) for e in _verdicts(rig)[2:]] == [Acked, Rejected]
    assert len(rig.bodies) == 1


def test_late_answer_without_a_verdict_is_not_told_again() -> None:
    """A second "unknown" would throw an order back into doubt that has been settled since."""
    rig = Rig()
    waiting: list[tuple[FakeSession, int]] = []
    rig.exchange.on_post = lambda session, post_id, _action: waiting.append((session, post_id))
    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(6)

    session, post_id = waiting[0]
    say_reply(session, post_id, "502 Bad Gateway", kind="error")
    rig.sim.run_for(1)

    assert [type(e) for e in _verdicts(rig)] == [OutcomeUnknown]


def test_deadlines_of_a_steady_flow_are_each_their_own() -> None:
    """One timer serves all requests: an answered one must not take its neighbour's along."""
    rig = Rig(post_timeout_s=2)
    rig.exchange.on_post = lambda session, post_id, _action: (
        say_reply(session, post_id, ok("order", resting(post_id))) if post_id % 2 else None
    )
    for cloid in range(1, 9):
        rig.gateway.send(batch(places=[cloid]))
        rig.sim.run_for(0.3)
    rig.sim.run_for(3)

    unknown = [e for e in rig.events if isinstance(e, OutcomeUnknown)]
    assert [e.cloid for e in unknown] == [2, 4, 6, 8]
    gaps = {b.recv_ns - a.recv_ns for a, b in pairwise(unknown)}
    assert gaps == {round(0.6 * NS_PER_S)}
    assert rig.gateway.pending == 0


def test_pending_at_the_drop_is_unknown_and_never_sent_again() -> None:
    """The venue may have it: a second one would be a second order."""
    rig = Rig()
    rig.gateway.send(batch(cancels=[1], moves=[2], places=[3, 4]))
    rig.sim.run_for(0.1)
    rig.dialer.cut()
    rig.sim.run_for(0.1)

    assert [(type(e), e.request, e.cloid) for e in _verdicts(rig)] == [
        (OutcomeUnknown, Request.CANCEL, 1),
        (OutcomeUnknown, Request.MOVE, 2),
        (OutcomeUnknown, Request.PLACE, 3),
        (OutcomeUnknown, Request.PLACE, 4),
    ]
    rig.sim.run_for(120)
    assert rig.link.is_up
    assert len(rig.exchange.sessions) == 2
    assert len(rig.bodies) == 3
    assert len(_verdicts(rig)) == 4


def test_answer_that_came_before_the_drop_is_not_made_unknown() -> None:
    """Only what is pending is in doubt."""
    rig = Rig()
    rig.answer(ok("order", resting(1)))
    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(0.1)
    rig.gateway.send(batch(places=[2]))

    rig.dialer.cut()
    rig.sim.run_for(1)

    assert [(type(e), e.cloid) for e in _verdicts(rig)] == [(Acked, 1), (OutcomeUnknown, 2)]


def test_answer_to_a_request_of_the_old_socket_is_ignored_on_the_new_one() -> None:
    """What the drop made unknown is settled by asking; ids of another socket prove nothing."""
    rig = Rig()
    ids: list[int] = []
    rig.exchange.on_post = lambda _session, post_id, _action: ids.append(post_id)
    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(6)
    rig.gateway.send(batch(places=[2]))
    rig.sim.run_for(0.1)
    rig.dialer.cut()
    rig.sim.run_for(5)
    assert len(rig.exchange.sessions) == 2
    assert rig.link.is_up

    for post_id in ids:
        say_reply(rig.exchange.session, post_id, ok("order", resting(5)))
    rig.sim.run_for(1)

    assert [type(e) for e in _verdicts(rig)] == [OutcomeUnknown, OutcomeUnknown]


# -- HTTP while the socket is closed ----------------------------------------------------------


def test_actions_go_over_http_while_the_socket_is_closed() -> None:
    """A cancel must not wait for a reconnect."""
    rig = Rig()
    rig.exchange.answer("exchange", (200, ok("cancel", "success", "success")))
    rig.dialer.refuse = "away"
    rig.dialer.cut()
    rig.sim.run_for(0.1)
    assert not rig.link.is_up

    rig.gateway.send(batch(cancels=[1, 2]))
    rig.sim.run_for(1)

    (body,) = rig.bodies
    assert body["action"]["type"] == "cancelByCloid"
    assert [(type(e), e.request, e.cloid) for e in _verdicts(rig)] == [
        (Acked, Request.CANCEL, 1),
        (Acked, Request.CANCEL, 2),
    ]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ((429, b"null"), Rejected, "429"),
        ((422, b"Failed to deserialize the JSON body"), Rejected, "422 Failed"),
        ((500, b"oops"), OutcomeUnknown, "500 oops"),
        ((502, b"<html>"), OutcomeUnknown, "502"),
        ((200, b"<html>hello</html>"), OutcomeUnknown, "unreadable answer"),
        (FakeHttpResponse(0, b"", is_dropped=True), OutcomeUnknown, "without an answer"),
        (FakeHttpResponse(200, b"{}", delay_ms=60_000), OutcomeUnknown, "no answer within 5 s"),
        ((200, {"status": "err", "response": "Action already expired"}), Rejected, "expired"),
    ],
)
def test_every_http_outcome_is_a_verdict(reply: Any, kind: type[Event], words: str) -> None:
    """429 and 4xx executed nothing; 5xx, text, a cut and silence may have executed everything."""
    rig = Rig(is_up=False)
    rig.exchange.answer("exchange", reply)

    rig.gateway.send(batch(cancels=[1]))
    rig.sim.run_for(90)

    (verdict,) = _verdicts(rig)
    assert type(verdict) is kind
    assert isinstance(verdict, Rejected | OutcomeUnknown)
    assert words in verdict.text
    assert len(rig.bodies) == 1


def test_http_action_survives_the_reconnect_of_the_socket() -> None:
    """It was not sent over the socket, so the socket's loss says nothing about it."""
    rig = Rig(is_up=False)
    slow = FakeHttpResponse(200, msgspec.json.encode(ok("cancel", "success")), delay_ms=2000)
    rig.exchange.answer("exchange", slow)
    rig.gateway.send(batch(cancels=[1]))

    rig.gateway.on_link_lost()
    assert _verdicts(rig) == []
    rig.sim.run_for(3)

    assert [type(e) for e in _verdicts(rig)] == [Acked]


# -- questions --------------------------------------------------------------------------------


def test_known_order_ends_the_question_at_once() -> None:
    """The venue's answer is the order's state, in ticks and lots."""
    rig = Rig()
    rig.exchange.answer("orderStatus", (200, order_status(5)))

    rig.gateway.query(5)
    rig.sim.run_for(10)

    (update,) = (e for e in rig.events if isinstance(e, OrderUpdate))
    assert (update.cloid, update.state, update.px_ticks, update.sz_lots) == (
        5,
        OrderState.OPEN,
        261_500,
        50,
    )
    assert rig.questions == [{"type": "orderStatus", "user": USER, "oid": f"0x{5:032x}"}]


def test_unknown_oid_is_believed_only_after_the_whole_window() -> None:
    """The venue's reads lag its commits: an `unknownOid` may be about an order that rests."""
    rig = Rig(query_delays_s=(0.5, 1, 2))
    rig.exchange.answer("orderStatus", (200, UNKNOWN_OID))
    began_ns = rig.sim.clock()

    rig.gateway.query(5)
    rig.sim.run_for(30)

    (missing,) = (e for e in rig.events if isinstance(e, OrderMissing))
    assert missing.cloid == 5
    assert len(rig.questions) == 4
    assert missing.recv_ns - began_ns == round(3.5 * NS_PER_S) + 8 * LATENCY_NS


def test_order_that_appears_within_the_window_is_not_missing() -> None:
    """Declaring it missing would leave a live order that nobody counts."""
    rig = Rig()
    rig.exchange.answer(
        "orderStatus", (200, UNKNOWN_OID), (200, UNKNOWN_OID), (200, order_status(5))
    )

    rig.gateway.query(5)
    rig.sim.run_for(30)

    assert [type(e) for e in rig.events if isinstance(e, OrderMissing | OrderUpdate)] == [
        OrderUpdate
    ]


def test_placement_that_may_still_arrive_is_not_missing_before_it_expires() -> None:
    """A request in flight for its whole life can be carried out at the end of it."""
    rig = Rig(expires_after_s=10, query_delays_s=(0.5,))
    rig.exchange.answer("orderStatus", (200, UNKNOWN_OID))
    rig.gateway.send(batch(places=[5]))
    sent_ns = rig.sim.clock()
    rig.sim.run_for(0.1)
    rig.dialer.cut()
    rig.sim.run_for(0.1)

    rig.gateway.query(5)
    rig.sim.run_for(30)

    (missing,) = (e for e in rig.events if isinstance(e, OrderMissing))
    assert missing.recv_ns > sent_ns + 11 * NS_PER_S


def test_old_leg_is_no_answer_while_a_move_may_still_arrive() -> None:
    """The order as it was before the move says nothing about the move."""
    rig = Rig(expires_after_s=3)
    rig.exchange.answer("orderStatus", (200, order_status(5, oid=7)), (200, order_status(5, oid=8)))
    rig.gateway.send(batch(moves=[5]))
    sent_ns = rig.sim.clock()
    rig.sim.run_for(0.1)
    rig.dialer.cut()
    rig.sim.run_for(0.1)

    rig.gateway.query(5)
    rig.sim.run_for(30)

    (update,) = (e for e in rig.events if isinstance(e, OrderUpdate))
    assert update.oid == 8
    assert update.recv_ns > sent_ns + 4 * NS_PER_S


def test_venue_that_cannot_be_asked_gives_no_verdict() -> None:
    """A 500 is not `unknownOid`; the order stays unknown and may be asked about again."""
    rig = Rig()
    rig.exchange.answer("orderStatus", (500, b"null"))

    rig.gateway.query(5)
    rig.sim.run_for(60)
    assert len(rig.questions) == 4
    assert [e for e in rig.events if isinstance(e, OrderMissing | OrderUpdate)] == []

    rig.exchange.answer("orderStatus", (429, b"null"), (200, order_status(5)))
    rig.gateway.query(5)
    rig.sim.run_for(60)
    assert [type(e) for e in rig.events if isinstance(e, OrderMissing | OrderUpdate)] == [
        OrderUpdate
    ]


def test_question_asked_twice_is_one_question() -> None:
    """The engine repeats itself; the venue's weight is not spent on that."""
    rig = Rig()
    rig.exchange.answer("orderStatus", (200, order_status(5)))

    rig.gateway.query(5)
    rig.gateway.query(5)
    rig.sim.run_for(10)

    assert len(rig.questions) == 1


def test_question_repeated_all_the_time_still_ends() -> None:
    """Asking again must not start the window anew, or an impatient engine never gets an answer."""
    rig = Rig()
    rig.exchange.answer("orderStatus", (200, UNKNOWN_OID))

    for _ in range(10):
        rig.gateway.query(5)
        rig.sim.run_for(0.4)

    assert [e.cloid for e in rig.events if isinstance(e, OrderMissing)] == [5]


# -- leverage, requests, end ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"status": "ok", "response": {"type": "default"}}, None),
        ({"status": "err", "response": "Invalid leverage value"}, VenueError),
        (None, LinkError),
    ],
)
def test_leverage_reports_what_became_of_it(payload: Any, error: type[VenueError] | None) -> None:
    """It is set before quoting, so a refusal has to reach a person."""
    rig = Rig()
    rig.answer(*([payload] if payload is not None else []))
    told: list[VenueError | None] = []

    rig.gateway.update_leverage(5, is_cross=True, on_done=told.append)
    rig.sim.run_for(20)

    (body,) = rig.bodies
    assert body["action"] == {
        "type": "updateLeverage",
        "asset": 159,
        "isCross": True,
        "leverage": 5,
    }
    assert [type(outcome) if outcome is not None else None for outcome in told] == [error]


def test_a_late_answer_about_the_leverage_is_not_that_to_the_next_try() -> None:
    """The first try is refused after we gave it up; the second is what counts."""
    rig = Rig()
    told: list[tuple[int, VenueError | None]] = []
    rig.answer()
    rig.gateway.update_leverage(5, is_cross=True, on_done=lambda error: told.append((1, error)))
    rig.sim.run_for(5.5)
    rig.gateway.update_leverage(5, is_cross=True, on_done=lambda error: told.append((2, error)))
    rig.sim.run_for(0.5)
    (session,) = rig.exchange.sessions
    first, second = (1, 2)
    say_reply(session, first, {"status": "err", "response": "Cannot switch leverage type"})
    rig.sim.run_for(0.5)
    assert [n for n, _ in told] == [1]
    say_reply(session, second, {"status": "ok", "response": {"type": "default"}})
    rig.sim.run_for(0.5)

    assert [n for n, _ in told] == [1, 2]
    assert isinstance(told[0][1], LinkError)
    assert told[1][1] is None


def test_a_link_lost_while_giving_up_loses_no_verdict() -> None:
    """The first unanswered post makes the engine send, and that send finds the socket dead."""
    rig = Rig()
    rig.answer()
    seen: list[tuple[str, int]] = []

    def emit(event: Event) -> None:
        if isinstance(event, OutcomeUnknown):
            seen.append((event.request.value, event.cloid))
            if len(seen) == 1:
                rig.gateway.on_link_lost()

    rig.gateway._emit = emit
    rig.gateway.send(batch(cancels=[1], moves=[2], places=[3]))
    rig.sim.run_for(20)
    assert sorted(seen) == [("cancel", 1), ("move", 2), ("place", 3)]
    assert rig.gateway._newest == {}


@pytest.mark.parametrize("how", ["answered", "never answered", "link lost", "over HTTP"])
def test_nothing_is_kept_of_posts_on_which_no_verdict_can_come(how: str) -> None:
    """Months of lost answers must not fill the memory."""
    rig = Rig(is_up=how != "over HTTP")
    if how == "answered":
        rig.answer(*[ok("order", resting(n)) for n in range(300)])
    rig.exchange.answer("/exchange", (502, "bad gateway"))
    for n in range(300):
        rig.gateway.send(batch(places=[n + 1]))
        rig.sim.run_for(0.1)
    rig.sim.run_for(20)
    if how == "link lost":
        rig.dialer.cut()
    rig.sim.run_for(20)

    kept = len(rig.gateway._newest)
    assert kept <= (len(rig.gateway._late) if how == "never answered" else 0)
    assert len(rig.gateway._late) <= 256


def test_every_element_is_counted_and_told_once_the_venue_was_read() -> None:
    """The engine prices a change by what is left; a count without a base would mislead it."""
    rig = Rig()
    rig.gateway.send(batch(places=[1, 2, 3]))
    assert [e for e in rig.events if isinstance(e, RequestsLeft)] == []
    rig.gateway.budget.read(100, 10_000, rig.sim.clock())

    rig.gateway.send(batch(cancels=[1], moves=[2], places=[3, 4, 5]))
    rig.sim.run_for(1.1)
    rig.gateway.send(batch(places=[6]))

    told = [(e.used, e.cap) for e in rig.events if isinstance(e, RequestsLeft)]
    assert told[0] == (101, 10_000)
    assert told[-1] == (106, 10_000)


def test_request_budget_never_read_is_read_with_the_first_action() -> None:
    """A gateway that knows no figure gets one, whoever forgot to tell it."""
    rig = Rig()
    rig.exchange.answer(
        "userRateLimit", (200, {"cumVlm": "5.0", "nRequestsUsed": 42, "nRequestsCap": 10_005})
    )

    rig.gateway.send(batch(places=[1]))
    rig.sim.run_for(1)

    assert [(e.used, e.cap) for e in rig.events if isinstance(e, RequestsLeft)] == [(42, 10_005)]


def test_request_budget_is_read_anew_while_sending() -> None:
    """The cap grows with volume, and what the venue counts may differ from what we do."""
    rig = Rig(requests_read_every_s=60)
    rig.exchange.answer(
        "userRateLimit", (200, {"cumVlm": "5.0", "nRequestsUsed": 42, "nRequestsCap": 10_005})
    )
    rig.gateway.budget.read(0, 10_000, rig.sim.clock())
    for cloid in range(1, 71):
        rig.gateway.send(batch(places=[cloid]))
        rig.sim.run_for(1)

    told = [(e.used, e.cap) for e in rig.events if isinstance(e, RequestsLeft)]
    assert (42, 10_005) in told
    assert len([q for q in rig.questions if q["type"] == "userRateLimit"]) == 1


def test_closed_gateway_says_nothing_more() -> None:
    """After the end of a run no timer may wake an engine that is gone."""
    rig = Rig()
    rig.exchange.answer("orderStatus", (200, UNKNOWN_OID))
    rig.gateway.send(batch(places=[1]))
    rig.gateway.query(2)
    rig.gateway.close()

    rig.sim.run_for(60)

    assert rig.events == []


# -- everything at once -----------------------------------------------------------------------


@settings(max_examples=often(25, thoroughly=60), deadline=None)
@given(data=st.data())
def test_every_element_sent_gets_a_verdict_and_nothing_is_sent_twice(data: st.DataObject) -> None:
    """Whatever the venue does, no order is forgotten, and none is placed a second time."""
    rig = Rig(post_timeout_s=2)
    rig.exchange.answer("exchange", (500, b"null"))
    behaviour = st.sampled_from(["answer", "silent", "late", "refuse", "cut"])
    seed = data.draw(st.lists(behaviour, min_size=1, max_size=12))
    plan = list(seed)

    def on_post(session: FakeSession, post_id: int, action: dict[str, Any]) -> None:
        elements = action.get("orders") or action.get("cancels") or action["modifies"]
        reply = ok("order", *[resting(100 * post_id + n) for n in range(len(elements))])
        match plan.pop(0) if plan else "answer":
            case "answer":
                say_reply(session, post_id, reply)
            case "late":
                rig.exchange.at(
                    rig.exchange.now_ms + 3000, lambda: say_reply(session, post_id, reply)
                )
            case "refuse":
                say_reply(session, post_id, {"status": "err", "response": "Action already expired"})
            case "cut":
                session.cut()

    rig.exchange.on_post = on_post
    sent: list[int] = []
    for _ in seed:
        first = len(sent) + 1
        size = data.draw(st.integers(1, 3))
        sent.extend(range(first, first + size))
        rig.gateway.send(batch(places=range(first, first + size)))
        rig.sim.run_for(data.draw(st.sampled_from([0.01, 0.5, 3])))
    rig.sim.run_for(30)

    assert {e.cloid for e in _verdicts(rig)} == set(sent)
    assert rig.gateway.pending == 0
    received = [order["c"] for body in rig.bodies for order in body["action"]["orders"]]
    assert len(received) == len(set(received))


def _verdicts(rig: Rig) -> list[Acked | Rejected | OutcomeUnknown]:
    return [e for e in rig.events if isinstance(e, Acked | Rejected | OutcomeUnknown)]
