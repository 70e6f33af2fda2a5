"""
One WebSocket session of the emulated venue, without a socket: text in, texts out.

Source: protocol notes 3.1 to 3.3. No greeting is sent (recent captures have none); a session that
was sent nothing for a minute is cut, and so is one that asks for the book of an unknown coin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from mmbot.emulator.limits import IpUse, LimitParams
from mmbot.emulator.schema import BadJsonError, SchemaError, parse_json, uint
from mmbot.emulator.subscriptions import Topic, topic

UNREAD_MAX = 100_000
"""Texts that wait for a client who does not read."""


def compact(value: Any) -> str:
    """JSON as the venue writes it, without spaces."""
    return msgspec.json.encode(value).decode()


def frame(channel: str, data: Any) -> str:
    """One pushed message."""
    return compact({"channel": channel, "data": data})


class Host(Protocol):
    """What a session needs of the exchange behind it."""

    now_ms: int

    def opens(self, session: Session, wanted: Topic) -> None:
        """Send what comes first on a new subscription; may cut the session."""

    def post(self, session: Session, post_id: int, request: dict[str, Any]) -> None:
        """Carry out a request and answer it on the session, now or later."""

    def forgets(self, session: Session, topic: Topic) -> None:
        """Stop pushing a topic to the session."""

    def leaves(self, session: Session) -> None:
        """Forget a session that is closed."""


class Session:
    """
    State of one socket.

    Attributes:
        ip: Address of the client, which the limits are counted by.
        is_closed: Nothing more is sent or read.
        close_abnormal: The socket has to be cut without a close frame (1006).
        wake: Called when there is something to take or the session closed; set by the server.
    """

    def __init__(self, host: Host, ip: str, use: IpUse, limits: LimitParams) -> None:
        self.ip = ip
        self.is_closed = False
        self.close_abnormal = False
        self.wake: Callable[[], None] | None = None
        self.topics: dict[str, Topic] = {}
        self.sent_at_ms = host.now_ms
        self._host = host
        self._use = use
        self._limits = limits
        self._out: list[str] = []
        self._posts: set[int] = set()

    # what the socket does

    def receive(self, text: str) -> None:
        """Take one text message from the client."""
        if self.is_closed:
            return
        if not self._use.messages.spend(1, self._host.now_ms):
            # What the venue does to a client beyond its messages is not known; a cut is the worst.
            self.cut()
            return
        try:
            message = parse_json(text)
            self._dispatch(message)
        except (BadJsonError, SchemaError):
            self._error(f"Error parsing JSON into valid websocket request: {text}")

    def take(self) -> list[str]:
        """Texts to send, oldest first; each is handed out once."""
        out, self._out = self._out, []
        return out

    def close(self) -> None:
        """The client went away."""
        self._end(is_abnormal=False)

    # what the exchange does

    def send(self, text: str) -> None:
        """Queue one text; anything sent counts against the idle rule."""
        if self.is_closed:
            return
        if len(self._out) >= UNREAD_MAX:
            # What the venue does is not known; here one client must not fill the memory of all.
            self.cut()
            return
        self._out.append(text)
        self.sent_at_ms = self._host.now_ms
        if self.wake is not None and len(self._out) == 1:
            self.wake()

    def cut(self) -> None:
        """Close without a word: the client sees 1006."""
        self._end(is_abnormal=True)

    def answer(self, post_id: int, response: dict[str, Any]) -> None:
        """Answer a post; its id may be used again afterwards."""
        self.settle(post_id)
        self.send(frame("post", {"id": post_id, "response": response}))

    def settle(self, post_id: int) -> None:
        """Count a post as no longer in flight, answered or not."""
        if post_id in self._posts:
            self._posts.remove(post_id)
            self._use.posts_inflight -= 1

    # reading

    def _dispatch(self, message: Any) -> None:
        method = message.get("method") if isinstance(message, dict) else None
        if method == "ping":
            self.send('{"channel":"pong"}')
        elif method == "subscribe":
            self._subscribe(topic(message.get("subscription")))
        elif method == "unsubscribe":
            self._unsubscribe(topic(message.get("subscription")))
        elif method == "post":
            self._post(message)
        else:
            msg = "unknown method"
            raise SchemaError(msg)

    def _subscribe(self, wanted: Topic) -> None:
        if wanted.key in self.topics:
            self._error(f"Already subscribed: {wanted.key}")
            return
        limits, use = self._limits, self._use
        if limits.subscriptions is not None and use.subscriptions >= limits.subscriptions:
            self._error(f"Cannot track more than {limits.subscriptions} total subscriptions.")
            return
        user = wanted.user
        is_new_user = user is not None and user not in use.users
        if limits.users is not None and is_new_user and len(use.users) >= limits.users:
            self._error(f"Cannot track more than {limits.users} total users.")
            return
        self.topics[wanted.key] = wanted
        use.subscriptions += 1
        if user is not None:
            use.users[user] = use.users.get(user, 0) + 1
        self._host.opens(self, wanted)

    def acknowledge(self, method: str, wanted: Topic) -> None:
        """Confirm a subscription; the venue does so before its first data."""
        self.send(frame("subscriptionResponse", {"method": method, "subscription": wanted.fields}))

    def _unsubscribe(self, wanted: Topic) -> None:
        if wanted.key not in self.topics:
            self._error(f"Already unsubscribed: {wanted.key}")
            return
        self._drop(self.topics.pop(wanted.key))
        self.acknowledge("unsubscribe", wanted)

    def _drop(self, old: Topic) -> None:
        self._host.forgets(self, old)
        self._use.subscriptions -= 1
        if old.user is not None:
            self._use.users[old.user] -= 1
            if not self._use.users[old.user]:
                del self._use.users[old.user]

    def _post(self, message: dict[str, Any]) -> None:
        post_id = uint(message.get("id"))
        request = message.get("request")
        kind = request.get("type") if isinstance(request, dict) else None
        if not isinstance(request, dict) or kind not in ("info", "action"):
            msg = "a post has a request of type info or action"
            raise SchemaError(msg)
        limit = self._limits.posts_inflight
        if limit is not None and self._use.posts_inflight >= limit:
            self._error(f"too many pending post requests id={post_id}")
            return
        if post_id not in self._posts:
            self._posts.add(post_id)
            self._use.posts_inflight += 1
        self._host.post(self, post_id, request)

    def _error(self, text: str) -> None:
        self.send(frame("error", text))

    def _end(self, *, is_abnormal: bool) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.close_abnormal = is_abnormal
        for old in self.topics.values():
            self._drop(old)
        self.topics.clear()
        for post_id in list(self._posts):
            self.settle(post_id)
        self._use.connections -= 1
        if is_abnormal:
            self._out.clear()
        self._host.leaves(self)
        if self.wake is not None:
            self.wake()
