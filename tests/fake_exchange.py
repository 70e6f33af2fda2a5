"""
A scripted exchange for the connection side: says what a test tells it to, when it tells it to.

It speaks the emulated exchange's interface (`connect`, `http`, `advance`, `next_due_ms`) and knows
nothing of orders, so that a test decides every answer.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec


class FakeHttpResponse(msgspec.Struct, frozen=True):
    """Answer to an HTTP request, after a while; or a cut connection."""

    status: int
    body: bytes
    delay_ms: int = 0
    is_dropped: bool = False


class FakeSession:
    """One socket of the fake."""

    def __init__(self, exchange: FakeExchange) -> None:
        self.is_closed = False
        self.close_abnormal = False
        self.received: list[dict[str, Any]] = []
        self._exchange = exchange
        self._out: list[str] = []

    def receive(self, text: str) -> None:
        """Keep the message, and answer it as the exchange is told to."""
        message = msgspec.json.decode(text)
        self.received.append(message)
        self._exchange.on_message(self, message)

    def take(self) -> list[str]:
        """Messages to send."""
        out, self._out = self._out, []
        return out

    def close(self) -> None:
        """The client went away, or the socket was cut."""
        self.is_closed = True

    def say(self, value: Any) -> None:
        """Queue one message."""
        if not self.is_closed:
            self._out.append(msgspec.json.encode(value).decode())

    def say_text(self, text: str) -> None:
        """Queue one message as it is."""
        self._out.append(text)

    def cut(self) -> None:
        """Close without a word (1006)."""
        self.is_closed = self.close_abnormal = True

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Signed bodies received over this socket, in order."""
        return [m["request"]["payload"] for m in self.received if m.get("method") == "post"]


class FakeExchange:
    """
    Sockets that acknowledge and pong, a book on a clock, and answers by script.

    Attributes:
        bad_coins: A subscription naming one of these cuts the socket.
        is_acking, is_ponging, is_streaming: Switches of its habits.
        on_post: Answers a post; the default says nothing.
        answers: HTTP answers by info type, or "exchange"; each list is used up but for its last.
    """

    def __init__(self, start_ms: int) -> None:
        self.now_ms = start_ms
        self.sessions: list[FakeSession] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.bad_coins: set[str] = set()
        self.complaint: str | None = None
        self.is_acking = True
        self.is_ponging = True
        self.is_streaming = True
        self.muted: set[str] = set()
        self.on_post: Callable[[FakeSession, int, dict[str, Any]], None] = lambda _s, _i, _a: None
        self.answers: dict[str, deque[FakeHttpResponse]] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.at(start_ms + 500, self._stream)

    # -- the interface ----------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Run what is due."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, fn = heapq.heappop(self._due)
            self.now_ms = max(self.now_ms, due_ms)
            fn()
        self.now_ms = max(self.now_ms, now_ms)

    def next_due_ms(self) -> int | None:
        """When the next thing happens."""
        return self._due[0][0] if self._due else None

    def request(
        self,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        on_done: Callable[[FakeHttpResponse], None],
        *,
        ip: str = "127.0.0.1",
    ) -> None:
        """Answer by script."""
        request = msgspec.json.decode(body)
        self.requests.append((path, request))
        key = "exchange" if path == "/exchange" else request["type"]
        queue = self.answers.get(key)
        if queue:
            answer = queue[0] if len(queue) == 1 else queue.popleft()
        else:
            answer = FakeHttpResponse(422, b"Failed to deserialize the JSON body")
        if answer.delay_ms:
            self.at(self.now_ms + answer.delay_ms, lambda: on_done(answer))
        else:
            on_done(answer)

    def connect(self, ip: str = "127.0.0.1") -> FakeSession:
        """Open a socket."""
        session = FakeSession(self)
        self.sessions.append(session)
        return session

    # -- the script -------------------------------------------------------------------------

    def at(self, when_ms: int, fn: Callable[[], None]) -> None:
        """Do something at a time."""
        self._count += 1
        heapq.heappush(self._due, (when_ms, self._count, fn))

    def answer(self, key: str, *replies: tuple[int, Any] | FakeHttpResponse) -> None:
        """Script the answers to an info type or to "exchange": (status, value or raw bytes)."""
        self.answers[key] = deque(
            reply
            if isinstance(reply, FakeHttpResponse)
            else FakeHttpResponse(
                reply[0],
                reply[1] if isinstance(reply[1], bytes) else msgspec.json.encode(reply[1]),
            )
            for reply in replies
        )

    @property
    def session(self) -> FakeSession:
        """The newest socket."""
        return self.sessions[-1]

    def on_message(self, session: FakeSession, message: dict[str, Any]) -> None:
        """React to one message of the client."""
        method = message.get("method")
        if method == "ping" and self.is_ponging:
            session.say({"channel": "pong"})
        elif method == "subscribe":
            wanted = message["subscription"]
            if wanted.get("coin") in self.bad_coins:
                session.cut()
            elif self.complaint is not None:
                session.say({"channel": "error", "data": self.complaint})
            elif self.is_acking:
                self.acknowledge(session, wanted)
        elif method == "post":
            self.on_post(session, message["id"], message["request"]["payload"]["action"])

    def acknowledge(self, session: FakeSession, wanted: dict[str, Any]) -> None:
        """Echo a subscription as the venue does: defaults filled, addresses in lower case."""
        echoed = dict(wanted)
        if "user" in echoed:
            echoed["user"] = echoed["user"].lower()
        if echoed["type"] == "l2Book":
            echoed = {"nSigFigs": None, "mantissa": None, "fast": False, **echoed}
        session.say(
            {
                "channel": "subscriptionResponse",
                "data": {"method": "subscribe", "subscription": echoed},
            }
        )

    def _stream(self) -> None:
        """A fast book and a context every half second, for every coin subscribed."""
        self.at(self.now_ms + 500, self._stream)
        if not self.is_streaming:
            return
        for session in self.sessions:
            for message in session.received:
                wanted = message.get("subscription", {})
                kind, coin = wanted.get("type"), wanted.get("coin")
                if kind in self.muted or f"{kind} {coin}" in self.muted:
                    continue
                if kind == "l2Book":
                    data = {"coin": coin, "time": self.now_ms, "levels": [[], []]}
                    session.say({"channel": "l2Book", "data": data})
                elif kind == "activeAssetCtx":
                    session.say({"channel": kind, "data": {"coin": coin, "ctx": {}}})
