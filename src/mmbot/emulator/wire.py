"""
The whole emulated exchange without a socket: venue, market, identities, sessions and time.

Time is an argument: `advance` brings everything up to an instant, `next_due_ms` says when something
happens by itself. The server drives it by the wall clock, a test by hand, the in-memory pipe by
simulated time. What the venue pushes leaves on block boundaries, and what it answers leaves once
the action is in a block (Hyperliquid docs, "Latency": the answer arrives only after the commit).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Protocol

import msgspec

from mmbot.emulator.canonical import BadJsonError, Envelope, SchemaError, envelope, parse_json
from mmbot.emulator.canonical import elements as count_elements
from mmbot.emulator.control import Control
from mmbot.emulator.faults import Faults, take
from mmbot.emulator.feeds import Feeds
from mmbot.emulator.gatehouse import Gatehouse, rank
from mmbot.emulator.info import BAD_JSON, BAD_SCHEMA, BAD_TYPE, InfoDesk
from mmbot.emulator.limits import IpUse, action_weight
from mmbot.emulator.params import ExchangeParams
from mmbot.emulator.pushes import Pushes
from mmbot.emulator.replies import (
    DROPPED,
    JSON_TYPE,
    NULL,
    HttpResponse,
    faulty,
    is_json,
    json_response,
    text_response,
)
from mmbot.emulator.session import Session
from mmbot.emulator.subscriptions import Topic, is_depth_valid
from mmbot.emulator.venue import Venue
from mmbot.errors import InvariantError

__all__ = ["Chance", "Exchange", "ExchangeParams", "HttpResponse", "MarketLike"]

EARLIEST_MS = 2**40
"""ccxt packs a nonce rightly only from here on, so the exchange's clock may not be smaller."""

SECOND_MS = 1000


class MarketLike(Protocol):
    """What the exchange needs of a synthetic market."""

    def advance(self, now_ms: int) -> None:
        """Trade up to `now_ms`."""

    def next_due_ms(self) -> int:
        """When the market acts next."""

    def force_px(self, px_usd: float) -> None:
        """Move the price for good."""


class Chance(Protocol):
    """A seeded generator, for disconnects at random times."""

    def random(self) -> float:
        """A number in [0, 1)."""


class _Action(msgspec.Struct):
    """An action on its way into a block; `answer` takes the venue's reply, None if it is lost."""

    request: Envelope
    entry: dict[str, Any]
    answer: Callable[[dict[str, Any] | None], None]


class Exchange:
    """
    The emulated exchange.

    Args:
        market: Trades around the account under test; None for a venue that is left alone.
        market_coin: The coin it trades; the control route that sets prices needs it.
        now_ms: Start, ms since the epoch.
        chance: Draws disconnects; needed only where `faults.disconnect_per_s` is set.

    Raises:
        InvariantError: The clock starts before 2004 or moves backwards.
    """

    def __init__(
        self,
        venue: Venue,
        market: MarketLike | None = None,
        params: ExchangeParams | None = None,
        now_ms: int | None = None,
        *,
        market_coin: str | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.venue = venue
        self.market = market
        self.market_coin = market_coin
        self.params = params or ExchangeParams()
        self.now_ms = venue.now_ms if now_ms is None else now_ms
        if self.now_ms < EARLIEST_MS:
            msg = f"the exchange's clock must be at least {EARLIEST_MS} ms, got {self.now_ms}"
            raise InvariantError(msg)
        self.gate = Gatehouse(
            venue, network=self.params.network, is_strict=self.params.is_network_strict
        )
        self.faults = Faults()
        self.requests: deque[dict[str, Any]] = deque(maxlen=self.params.requests_kept)
        self.requests_seen = 0
        self.test_accounts: list[dict[str, str]] = []
        """Funded accounts with their worthless keys, for clients that ask at /emulator/accounts."""
        self._chance = chance
        self._feeds = Feeds(venue.state, self.gate.identities)
        self._info = InfoDesk(venue.state, self.gate.identities)
        self._control = Control(self)
        self._sessions: dict[Session, None] = {}
        self._uses: dict[str, IpUse] = {}
        self._queue: list[tuple[int, int, int, _Action]] = []
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._chance_at_ms = self.now_ms + SECOND_MS
        venue.advance(self.now_ms)
        # What was done to the venue before, such as first deposits, is nobody's news.
        venue.drain()
        self._pushes = Pushes(venue.state, self._feeds, self.params, self.faults, self._call_later)

    # --- time ---

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due up to `now_ms`, in its order."""
        if now_ms < self.now_ms:
            msg = f"the exchange's clock may not go back from {self.now_ms} to {now_ms} ms"
            raise InvariantError(msg)
        while (due_ms := self.next_due_ms()) is not None and due_ms <= now_ms:
            self._step(max(due_ms, self.now_ms))
        self._move(now_ms)

    def next_due_ms(self) -> int | None:
        """When something happens next without a request, None when nothing is planned."""
        due: list[int] = []
        if self.market is not None:
            due.append(self.params.block_at(self.market.next_due_ms()))
        if self._queue:
            due.append(self._queue[0][0])
        if self._later:
            due.append(self._later[0][0])
        due.extend(self._pushes.due_ms())
        if self._sessions:
            # Funding, scheduled cancels and triggers reach listeners in time.
            due.append(self.venue.next_due_ms())
            silent_ms = min(session.sent_at_ms for session in self._sessions)
            due.append(silent_ms + self.params.idle_close_ms)
            if self.faults.disconnect_per_s > 0:
                due.append(self._chance_at_ms)
        return max(min(due), self.now_ms) if due else None

    @property
    def session_count(self) -> int:
        """Open sessions."""
        return len(self._sessions)

    @property
    def topic_count(self) -> int:
        """Subscriptions over all sessions."""
        return sum(len(session.topics) for session in list(self._sessions))

    def settle(self) -> None:
        """Take in what was done to the venue from outside; accounts hear of it at once."""
        self._collect()
        self._pushes.flush_users()

    def _move(self, now_ms: int) -> None:
        if self.market is not None and self.market.next_due_ms() <= now_ms:
            self.market.advance(now_ms)
        self.venue.advance(now_ms)
        self.now_ms = now_ms
        self._collect()

    def _collect(self) -> None:
        """Take the venue's events in; they leave at the next block."""
        events = self.venue.drain()
        if events:
            self._pushes.collect(events)

    def _step(self, now_ms: int) -> None:
        self._move(now_ms)
        while self._queue and self._queue[0][0] <= now_ms:
            self._execute(heappop(self._queue)[3])
        self._pushes.run_due()
        while self._later and self._later[0][0] <= now_ms:
            heappop(self._later)[2]()
        self._drop_idle()
        if self.faults.disconnect_per_s > 0 and self._chance_at_ms <= now_ms:
            self._draw_disconnects()

    def _call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        if delay_ms <= 0:
            action()
            return
        self._order += 1
        heappush(self._later, (self.now_ms + delay_ms, self._order, action))

    # --- REST ---

    def http(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        *,
        ip: str = "127.0.0.1",
    ) -> HttpResponse:
        """
        Answer a request now, whatever the latency; `delay_ms` says when the answer should leave.

        For callers that keep the time of the wire themselves.
        """
        answers: list[HttpResponse] = []
        self._route(method, path, content_type, body, answers.append, ip=ip, is_immediate=True)
        delay_ms = 0
        if path.partition("?")[0] == "/exchange":
            delay_ms = self.params.latency_ms + self.faults.delay_ms
        return msgspec.structs.replace(answers[0], delay_ms=delay_ms)

    def request(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        on_done: Callable[[HttpResponse], None],
        *,
        ip: str = "127.0.0.1",
    ) -> None:
        """Answer a request through `on_done`, at once or when its block has come."""
        self._route(method, path, content_type, body, on_done, ip=ip, is_immediate=False)

    def _route(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        on_done: Callable[[HttpResponse], None],
        *,
        ip: str,
        is_immediate: bool,
    ) -> None:
        path, _, query = path.partition("?")
        if path.startswith("/emulator/"):
            on_done(self._control.handle(method, path, query, body))
            return
        if path not in {"/info", "/exchange"}:
            on_done(HttpResponse(404, None, b""))
            return
        if method != "POST":
            on_done(HttpResponse(405, None, b""))
            return
        if not is_json(content_type):
            on_done(text_response(415, BAD_TYPE))
            return
        is_info = path == "/info"
        status = take(self.faults.refuse_info if is_info else self.faults.refuse)
        if status is not None:
            on_done(faulty(status))
            return
        try:
            value = parse_json(body)
        except BadJsonError:
            on_done(text_response(400, BAD_JSON))
            return
        if is_info:
            on_done(self._answer_info(value, ip))
            return
        answer = partial(self._answer_http, on_done, 0 if is_immediate else self.faults.delay_ms)
        refused = self._accept(value, ip, "http", answer, is_immediate=is_immediate)
        if refused is not None:
            on_done(refused)

    def _answer_info(self, value: Any, ip: str) -> HttpResponse:
        use = self._use(ip)
        try:
            query = self._info.read(value)
        except SchemaError:
            return text_response(422, BAD_SCHEMA)
        if not use.weight.spend(query.weight, self.now_ms):
            return HttpResponse(429, JSON_TYPE, NULL)
        reply = self._info.answer(query, unknown_oid_lag_ms=self.faults.unknown_oid_lag_ms)
        use.weight.charge(reply.more_weight, self.now_ms)
        return json_response(reply.value, 200 if reply.is_found else 500)

    def _answer_http(
        self,
        on_done: Callable[[HttpResponse], None],
        delay_ms: int,
        response: dict[str, Any] | None,
    ) -> None:
        answer = DROPPED if response is None else json_response(response)
        if response is not None:
            status = take(self.faults.answer)
            if status is not None:
                answer = faulty(status)
        self._call_later(delay_ms, partial(on_done, answer))

    # --- actions ---

    def _accept(
        self,
        value: Any,
        ip: str,
        transport: str,
        answer: Callable[[dict[str, Any] | None], None],
        *,
        is_immediate: bool,
    ) -> HttpResponse | None:
        """Queue an action for its block; a refusal that needs no block is returned."""
        try:
            request = envelope(value)
        except SchemaError:
            return text_response(422, BAD_SCHEMA)
        weight = action_weight(count_elements(request.action))
        if not self._use(ip).weight.spend(weight, self.now_ms):
            return HttpResponse(429, JSON_TYPE, NULL)
        self.requests_seen += 1
        entry = {
            "seq": self.requests_seen,
            "time": self.now_ms,
            "transport": transport,
            "ip": ip,
            "body": value,
        }
        self.requests.append(entry)
        job = _Action(request, entry, answer)
        if is_immediate or not self.params.latency_ms:
            self._execute(job)
            return None
        self._order += 1
        due_ms = self.params.block_at(self.now_ms + self.params.latency_ms)
        heappush(self._queue, (due_ms, rank(request.action), self._order, job))
        return None

    def _execute(self, job: _Action) -> None:
        faults = self.faults
        self.venue.set_switches(
            is_post_only=faults.is_post_only, is_modify_reversed=faults.is_modify_reversed
        )
        verdict = self.gate.carry_out(job.request, self.now_ms)
        job.entry |= {
            "executed": self.now_ms,
            "signer": verdict.signer,
            "account": verdict.account,
            "response": verdict.response,
        }
        self._collect()
        if faults.is_event_first:
            self._pushes.flush_users()
        if faults.drop > 0:
            faults.drop -= 1
            job.answer(None)
        else:
            job.answer(verdict.response)
        self._pushes.flush_users()

    # --- sockets ---

    def connect(self, ip: str = "127.0.0.1") -> Session:
        """Open a session; beyond the limits of its address it comes closed."""
        use, limits = self._use(ip), self.params.limits
        is_full = limits.connections is not None and use.connections >= limits.connections
        session = Session(self, ip, use, limits)
        if is_full or not use.dials.spend(1, self.now_ms):
            session.is_closed = True
            return session
        use.connections += 1
        self._sessions[session] = None
        return session

    def disconnect(self) -> None:
        """Cut every session without a word."""
        for session in list(self._sessions):
            session.cut()

    def inject(self, text: str) -> None:
        """Send `text` on every session as it is: a frame no venue should send."""
        for session in list(self._sessions):
            session.send(text)

    def opens(self, session: Session, wanted: Topic) -> None:
        """Acknowledge a subscription and send what comes first, or cut the session."""
        feeds = self._feeds
        fields = wanted.fields
        is_depth_bad = wanted.kind == "l2Book" and not is_depth_valid(
            fields["nSigFigs"], fields["mantissa"]
        )
        if is_depth_bad or not feeds.is_known(wanted):
            # Seen for books and best prices; the same for other topics is a guess.
            session.cut()
            return
        session.acknowledge("subscribe", wanted)
        self._pushes.add(session, wanted)

    def forgets(self, session: Session, topic: Topic) -> None:
        """A subscription ended."""
        self._pushes.remove(session, topic)

    def leaves(self, session: Session) -> None:
        """A session closed."""
        self._sessions.pop(session, None)

    def post(self, session: Session, post_id: int, request: dict[str, Any]) -> None:
        """Carry out a request that came over a socket."""
        kind, payload = request["type"], request.get("payload")
        if kind == "info":
            answer = self._answer_info(payload, session.ip)
            if answer.status != 200:
                self._refuse_post(session, post_id, answer)
                return
            query = self._info.read(payload)
            data = {"type": query.kind, "data": msgspec.Raw(answer.body)}
            session.answer(post_id, {"type": "info", "payload": data})
            return
        status = take(self.faults.refuse)
        refused = (
            faulty(status)
            if status is not None
            else self._accept(
                payload,
                session.ip,
                "ws",
                partial(self._answer_post, session, post_id),
                is_immediate=False,
            )
        )
        if refused is not None:
            self._refuse_post(session, post_id, refused)

    @staticmethod
    def _refuse_post(session: Session, post_id: int, answer: HttpResponse) -> None:
        # The exact text is unverified; it mirrors the HTTP status and its text.
        text = f"{answer.status} {answer.body.decode()}"
        session.answer(post_id, {"type": "error", "payload": text})

    def _answer_post(self, session: Session, post_id: int, response: dict[str, Any] | None) -> None:
        if response is None:
            return
        status = take(self.faults.answer)
        payload: dict[str, Any] = {"type": "action", "payload": response}
        if status is not None:
            payload = {"type": "error", "payload": f"{status} {faulty(status).body.decode()}"}
        self._call_later(self.faults.delay_ms, partial(session.answer, post_id, payload))

    def _use(self, ip: str) -> IpUse:
        use = self._uses.get(ip)
        if use is None:
            use = self._uses[ip] = IpUse(self.params.limits)
        return use

    # --- losing sockets ---

    def _drop_idle(self) -> None:
        oldest_ms = self.now_ms - self.params.idle_close_ms
        for session in [one for one in self._sessions if one.sent_at_ms <= oldest_ms]:
            session.cut()

    def _draw_disconnects(self) -> None:
        self._chance_at_ms = self.now_ms + SECOND_MS
        if self._chance is None:
            msg = "random disconnects need a generator; pass `chance` to Exchange"
            raise InvariantError(msg)
        for session in list(self._sessions):
            if self._chance.random() < self.faults.disconnect_per_s:
                session.cut()
