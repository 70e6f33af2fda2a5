"""
Requests on their way through the exchange: taken in, put into a block, carried out, answered.

The same for HTTP and for posts on a socket. Actions wait for their block in the venue's order;
what is refused before it (format, weight) needs none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from mmbot.emulator.canonical import Envelope, envelope
from mmbot.emulator.canonical import elements as count_elements
from mmbot.emulator.control import Control
from mmbot.emulator.faults import take
from mmbot.emulator.gatehouse import rank
from mmbot.emulator.info import BAD_JSON, BAD_SCHEMA, BAD_TYPE, InfoDesk
from mmbot.emulator.limits import action_weight
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
from mmbot.emulator.schema import BadJsonError, SchemaError, parse_json

if TYPE_CHECKING:
    from mmbot.emulator.session import Session
    from mmbot.emulator.wire import Exchange


_BATCHES = frozenset({"order", "batchModify"})
"""What a static failure of one element refuses whole."""


class _Action(msgspec.Struct):
    """An action on its way into a block; `answer` takes the venue's reply, None if it is lost."""

    request: Envelope
    entry: dict[str, Any]
    answer: Callable[[dict[str, Any] | None], None]


class Clerk:
    """
    Handles the requests of one exchange.

    Attributes:
        requests: The newest signed requests with what became of them.
        requests_seen: How many there were since the start.
        asked: How often each type of /info was answered since the start.
    """

    def __init__(self, exchange: Exchange, info: InfoDesk) -> None:
        self._exchange = exchange
        self._params = exchange.params
        self._faults = exchange.faults
        self._info = info
        self._control = Control(exchange)
        self.requests: deque[dict[str, Any]] = deque(maxlen=exchange.params.requests_kept)
        self.requests_seen = 0
        self.asked: Counter[str] = Counter()
        self._queue: list[tuple[int, int, int, _Action]] = []
        self._order = 0

    @property
    def due_ms(self) -> int | None:
        """When the next action comes into its block, None when none waits."""
        return self._queue[0][0] if self._queue else None

    def carry_out_due(self) -> None:
        """Carry out every action whose block has come."""
        while self._queue and self._queue[0][0] <= self._exchange.now_ms:
            self._execute(heappop(self._queue)[3])

    def take_in(
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
        """Answer a request through `on_done`; immediately, or when its block has come."""
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
        status = take(self._faults.refuse_info if is_info else self._faults.refuse)
        if status is not None:
            on_done(faulty(status))
            return
        try:
            value = parse_json(body)
        except BadJsonError:
            on_done(text_response(400, BAD_JSON))
            return
        if is_info:
            answer_ms = 0 if is_immediate else self._faults.info_delay_ms
            self._exchange.call_later(answer_ms, partial(on_done, self._answer_info(value, ip)))
            return
        if self._is_lost():
            on_done(DROPPED)
            return
        delay_ms = 0 if is_immediate else self._faults.delay_ms + self._params.reply_ms
        answer = partial(self._answer_http, on_done, delay_ms)
        refused = self._accept(value, ip, "http", answer, is_immediate=is_immediate)
        if refused is not None:
            on_done(refused)

    def _is_lost(self) -> bool:
        """Whether an action never gets here."""
        if not self._faults.lose:
            return False
        self._faults.lose -= 1
        return True

    def _answer_info(self, value: Any, ip: str) -> HttpResponse:
        use = self._exchange.use(ip)
        try:
            query = self._info.read(value)
        except SchemaError:
            return text_response(422, BAD_SCHEMA)
        if not use.weight.spend(query.weight, self._exchange.now_ms):
            return HttpResponse(429, JSON_TYPE, NULL)
        self.asked[query.kind] += 1
        reply = self._info.answer(query, unknown_oid_lag_ms=self._faults.unknown_oid_lag_ms)
        use.weight.charge(reply.more_weight, self._exchange.now_ms)
        return json_response(reply.value, 200 if reply.is_found else 500)

    def _answer_http(
        self,
        on_done: Callable[[HttpResponse], None],
        delay_ms: int,
        response: dict[str, Any] | None,
    ) -> None:
        answer = DROPPED if response is None else json_response(response)
        if response is not None:
            status = take(self._faults.answer)
            if status is not None:
                answer = faulty(status)
        self._exchange.call_later(delay_ms, partial(on_done, answer))

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
        if not self._exchange.use(ip).weight.spend(weight, self._exchange.now_ms):
            return HttpResponse(429, JSON_TYPE, NULL)
        self.requests_seen += 1
        entry = {
            "seq": self.requests_seen,
            "time": self._exchange.now_ms,
            "transport": transport,
            "ip": ip,
            "body": value,
        }
        self.requests.append(entry)
        job = _Action(request, entry, answer)
        if is_immediate or not self._params.latency_ms:
            self._execute(job)
            return None
        self._order += 1
        due_ms = self._params.block_at(self._exchange.now_ms + self._params.latency_ms)
        heappush(self._queue, (due_ms, rank(request.action), self._order, job))
        return None

    def _execute(self, job: _Action) -> None:
        faults = self._faults
        self._exchange.venue.set_switches(
            is_post_only=faults.is_post_only, is_modify_reversed=faults.is_modify_reversed
        )
        action = job.request.action
        if faults.refuse_batch and action["type"] in _BATCHES:
            response = _refused_batch(faults.refuse_batch.pop(0))
            job.entry |= {"executed": None, "response": response}
            job.answer(response)
            return
        verdict = self._exchange.gate.carry_out(job.request, self._exchange.now_ms)
        job.entry |= {
            "executed": self._exchange.now_ms,
            "signer": verdict.signer,
            "account": verdict.account,
            "response": verdict.response,
        }
        self._exchange.collect()
        # Third parties saw events on the socket before the answer and after it. Which is the rule
        # is unverified; without the switch the answer comes first.
        if faults.is_event_first:
            self._exchange.flush_users()
        if faults.drop > 0:
            faults.drop -= 1
            job.answer(None)
        else:
            job.answer(verdict.response)
        self._exchange.flush_users()

    # --- posts ---

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
        if self._is_lost():
            session.settle(post_id)
            return
        status = take(self._faults.refuse)
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
        status = take(self._faults.answer)
        payload: dict[str, Any] = {"type": "action", "payload": response}
        if status is not None:
            payload = {"type": "error", "payload": f"{status} {faulty(status).body.decode()}"}
        delay_ms = self._faults.delay_ms + self._params.reply_ms
        self._exchange.call_later(delay_ms, partial(session.answer, post_id, payload))


def _refused_batch(text: str) -> dict[str, Any]:
    """One status for the whole batch, as the venue answers a static failure of any element."""
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"error": text}]}}}
