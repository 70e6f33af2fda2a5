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
from typing import Any, Literal, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.emulator.audience import Audience, Block
from mmbot.emulator.canonical import BadJsonError, Envelope, SchemaError, envelope, parse_json
from mmbot.emulator.canonical import elements as count_elements
from mmbot.emulator.control import Control
from mmbot.emulator.faults import Faults, take
from mmbot.emulator.feeds import KINDS_OF, ON_CHANGE, Feeds, cadence
from mmbot.emulator.gatehouse import Gatehouse, rank
from mmbot.emulator.info import BAD_JSON, BAD_SCHEMA, BAD_TYPE, InfoDesk
from mmbot.emulator.limits import IpUse, LimitParams, action_weight
from mmbot.emulator.session import Session, frame
from mmbot.emulator.subscriptions import Topic, is_depth_valid
from mmbot.emulator.venue import Venue
from mmbot.errors import InvariantError

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


class ExchangeParams(BaseModel):
    """Time and manners of the emulated exchange; its intervals were measured at the venue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["a", "b"] = Field("b", description="Source in signatures: a main, b test.")
    is_network_strict: bool = Field(
        default=False,
        description="Refuse signatures made for the other network instead of taking both.",
    )
    latency_ms: int = Field(
        0, ge=0, le=60_000, description="Time from an action's arrival to its block, ms."
    )
    block_ms: int = Field(68, ge=1, description="Spacing of blocks, ms.")
    fast_book_ms: int = Field(540, ge=1, description="Cadence of the fast book, ms.")
    slow_book_ms: int = Field(5400, ge=1, description="Cadence of the plain book, ms.")
    ctx_ms: int = Field(1000, ge=1, description="Cadence of asset contexts, ms.")
    mids_ms: int = Field(5050, ge=1, description="Cadence of all mids, ms.")
    candle_ms: int = Field(1000, ge=1, description="Cadence of a forming candle, ms.")
    dex_ctx_ms: int = Field(13_600, ge=1, description="Cadence of a dex's contexts, ms.")
    account_ms: int = Field(
        5000, ge=1, description="Cadence of account state streams, ms (unverified)."
    )
    idle_close_ms: int = Field(60_000, ge=1, description="Server silence that ends a socket, ms.")
    requests_kept: int = Field(20_000, ge=0, description="Requests the log remembers.")
    limits: LimitParams = LimitParams()


class HttpResponse(msgspec.Struct, frozen=True):
    """
    Answer to an HTTP request.

    Attributes:
        content_type: None for an empty answer.
        delay_ms: How much later it leaves; 0 where the exchange kept the time itself.
        is_dropped: The connection is cut instead of answered.
    """

    status: int
    content_type: str | None
    body: bytes
    delay_ms: int = 0
    is_dropped: bool = False


JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
DROPPED = HttpResponse(0, None, b"", is_dropped=True)
NULL = b"null"


def text_response(status: int, text: str) -> HttpResponse:
    """A refusal in words."""
    return HttpResponse(status, TEXT_TYPE, text.encode())


def json_response(value: Any, status: int = 200) -> HttpResponse:
    """An answer in JSON."""
    return HttpResponse(status, JSON_TYPE, msgspec.json.encode(value))


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
        self._audience = Audience()
        self._feeds = Feeds(venue.state, self.gate.identities)
        self._info = InfoDesk(venue.state, self.gate.identities)
        self._control = Control(self)
        self._sessions: dict[Session, None] = {}
        self._uses: dict[str, IpUse] = {}
        self._block = Block()
        self._flush_at_ms: int | None = None
        self._queue: list[tuple[int, int, int, _Action]] = []
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._started_ms = self.now_ms
        self._cadences_at_ms: dict[str, int] = {}
        self._chance_at_ms = self.now_ms + SECOND_MS
        self._touches: dict[str, list[Any]] = {}
        venue.advance(self.now_ms)
        # What was done to the venue before, such as first deposits, is nobody's news.
        venue.drain()

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
            due.append(self._block_at(self.market.next_due_ms()))
        if self._flush_at_ms is not None:
            due.append(self._flush_at_ms)
        if self._queue:
            due.append(self._queue[0][0])
        if self._later:
            due.append(self._later[0][0])
        due.extend(self._cadences_at_ms.values())
        if self._sessions:
            # Funding, scheduled cancels and triggers reach listeners in time.
            due.append(self.venue.next_due_ms())
        if self._sessions:
            silent_ms = min(session.sent_at_ms for session in self._sessions)
            due.append(silent_ms + self.params.idle_close_ms)
            if self.faults.disconnect_per_s > 0:
                due.append(self._chance_at_ms)
        return max(min(due), self.now_ms) if due else None

    def _block_at(self, ms: int) -> int:
        """First block at or after `ms`."""
        return -(-ms // self.params.block_ms) * self.params.block_ms

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
        self._flush_users()

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
            self._block.fold(events)
            if self._flush_at_ms is None:
                self._flush_at_ms = self._block_at(self.now_ms)

    def _step(self, now_ms: int) -> None:
        self._move(now_ms)
        while self._queue and self._queue[0][0] <= now_ms:
            self._execute(heappop(self._queue)[3])
        if self._flush_at_ms is not None and self._flush_at_ms <= now_ms:
            self._flush()
        for clock, due_ms in list(self._cadences_at_ms.items()):
            if due_ms <= now_ms:
                self._publish_state(clock)
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
        if not _is_json(content_type):
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
        due_ms = self._block_at(self.now_ms + self.params.latency_ms)
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
            self._flush_users()
        if faults.drop > 0:
            faults.drop -= 1
            job.answer(None)
        else:
            job.answer(verdict.response)
        self._flush_users()

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
        self._audience.add(session, wanted)
        clock = cadence(wanted)
        if clock is not None and clock not in self._cadences_at_ms:
            self._cadences_at_ms[clock] = self._next_beat(clock)
        first = feeds.first(wanted)
        if first is not None and wanted.kind not in self.faults.mute:
            session.send(first)

    def forgets(self, session: Session, topic: Topic) -> None:
        """A subscription ended."""
        self._audience.remove(session, topic)

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

    # --- pushing ---

    def _flush(self) -> None:
        """A block is complete: best prices and trades of the coins it touched, then accounts."""
        block, self._block = self._block, Block()
        self._block.users = block.users
        self._flush_at_ms = None
        state = self.venue.state
        for coin, trades in block.trades.items():
            for topic in self._audience.about("trades", coin):
                self._publish(topic, self._feeds.trades(trades))
        for asset_id in block.books:
            asset = state.assets[asset_id]
            topics = self._audience.about("bbo", asset.coin)
            if not topics:
                continue
            touch = self._feeds.touch(asset)
            if self._touches.get(asset.coin) == touch["bbo"]:
                continue
            self._touches[asset.coin] = touch["bbo"]
            for topic in topics:
                self._publish(topic, frame("bbo", touch))
        self._flush_users()

    def _flush_users(self) -> None:
        users, self._block.users = self._block.users, {}
        for user, block in users.items():
            for kind, text in self._feeds.account_events(user, block):
                for topic in self._audience.about(kind, user):
                    self._publish_event(topic, text)
                if kind == "userEvents":
                    for topic in self._audience.about("user", user):
                        self._publish_event(topic, text)
            if block.fills:
                for topic in self._audience.about("userFills", user):
                    text = self._feeds.fills_event(user, block.fills, topic)
                    self._publish_event(topic, text)
            for kind in ON_CHANGE:
                for topic in self._audience.about(kind, user):
                    state = self._feeds.current(topic)
                    if state is not None:
                        self._publish_event(topic, state)

    def _publish_event(self, topic: Topic, text: str) -> None:
        self._call_later(self.faults.event_lag_ms, partial(self._publish, topic, text))

    def _publish(self, topic: Topic, text: str) -> None:
        if topic.kind in self.faults.mute:
            return
        for session in self._audience.listeners(topic):
            session.send(text)

    def _publish_state(self, clock: str) -> None:
        """One beat of a cadence: every topic of it, all with the same time."""
        is_heard = False
        for kind in KINDS_OF[clock]:
            for topic in self._audience.of_kind(kind):
                if cadence(topic) != clock:
                    continue
                is_heard = True
                text = self._feeds.current(topic)
                if text is not None:
                    self._publish(topic, text)
        if is_heard:
            self._cadences_at_ms[clock] = self._next_beat(clock)
        else:
            del self._cadences_at_ms[clock]

    def _next_beat(self, clock: str) -> int:
        """Next beat of a cadence, on a block: beats are counted from the start of the exchange."""
        every_ms: int = getattr(self.params, f"{clock}_ms")
        beats = (self.now_ms - self._started_ms) // every_ms + 1
        due_ms = self._block_at(self._started_ms + beats * every_ms)
        return due_ms if due_ms > self.now_ms else self._block_at(due_ms + every_ms)

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


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == JSON_TYPE or (kind.startswith("application/") and kind.endswith("+json"))


def faulty(status: int) -> HttpResponse:
    """What a gateway in front of the venue says with an error status."""
    if status == 429:
        return HttpResponse(429, JSON_TYPE, NULL)
    return text_response(status, "Bad Gateway" if status == 502 else "Internal Server Error")
