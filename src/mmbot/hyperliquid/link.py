"""
The WebSocket link: one connection at a time, kept alive, replaced when it is lost.

The link tells life from death and nothing else: it hands every text message on unread, and looks
only at the channel name that each begins with, to count acknowledgements, pongs and the age of
streams. That look costs a slice and a dictionary lookup. Decoding acknowledgements in the shell and
handing them back would make the link's own states depend on a caller, and on its order of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from mmbot.core.types import NS_PER_S
from mmbot.errors import VenueError
from mmbot.hyperliquid.ports import Clock, Dialer, Handle, Jitter, Scheduler
from mmbot.hyperliquid.streams import (
    HEAD_BYTES,
    Watch,
    acknowledged,
    channel_of,
    error_text,
    is_echo,
    stream_name,
    watches,
)
from mmbot.hyperliquid.websocket import WsSocket

_PREFIX: Final = b'{"channel":"'
_PREFIX_LEN: Final = len(_PREFIX)
_ACK: Final = b"subscriptionResponse"
_PONG: Final = b"pong"
_ERROR: Final = b"error"
_PING_FRAME: Final = b'{"method":"ping"}'
_GREETING: Final = b"Websocket connection established."
"""Older servers greet with this text, which is not JSON (protocol notes, WebSocket session)."""


class LinkParams(BaseModel):
    """When a connection counts as dead, and how it is replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    connect_timeout_s: float = Field(
        10, gt=0, le=60, description="From dialling to the end of the WebSocket handshake, s."
    )
    ack_timeout_s: float = Field(
        10, gt=0, le=60, description="Wait for the acknowledgement of every subscription, s."
    )
    ping_every_s: float = Field(
        20, ge=1, le=50, description="Period of the heartbeat, s; the venue hangs up after 60."
    )
    pong_timeout_s: float = Field(
        10, gt=0, le=60, description="A heartbeat unanswered for this long ends the connection, s."
    )
    stale_book_s: float = Field(
        5, gt=0.6, le=60, description="Silence of the fast book (one per 0.54 s) that ends it, s."
    )
    stale_ctx_s: float = Field(
        15, gt=1.2, le=120, description="Silence of the asset context (one per s) that ends it, s."
    )
    stale_any_s: float = Field(
        30, gt=1, le=120, description="Silence of every stream that ends it, s."
    )
    backoff_first_s: float = Field(
        0.5, gt=0, le=30, description="Longest wait before the first new attempt, s; then doubled."
    )
    backoff_max_s: float = Field(30, gt=0, le=300, description="Longest wait of all, s.")
    healthy_s: float = Field(
        60, ge=0, le=3600, description="A connection this old starts the waits anew, s."
    )
    refusals_max: int = Field(
        3, ge=1, le=100, description="Refusals in a row, never once up, after which we give up."
    )

    @model_validator(mode="after")
    def _waits_agree(self) -> Self:
        if self.backoff_max_s < self.backoff_first_s:
            msg = (
                f"backoff_max_s = {self.backoff_max_s:g} is below "
                f"backoff_first_s = {self.backoff_first_s:g}"
            )
            raise ValueError(msg)
        return self


class _Phase(Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    UP = "up"
    WAITING = "waiting"
    CLOSED = "closed"


class Link:
    """
    Connection to the venue's socket.

    Args:
        url: ws:// or wss:// address.
        subscriptions: Subscription objects in the venue's spelling; duplicates are sent once.
        on_frames: Every text message of one read, with the time of the read; also those that come
            before `on_up` (the streams start before the last acknowledgement).
        on_up: Every subscription is acknowledged.
        on_lost: A connection, or an attempt at one, ended; another attempt is under way.
        on_refused: The venue refused `refusals_max` times in a row and was never up, so trying
            again is pointless. The link is closed by then. A link that was up once is not given
            up: its subscriptions were right, and an outage ends.

    Raises:
        VenueError: The address is not that of a WebSocket.
    """

    def __init__(
        self,
        url: str,
        *,
        subscriptions: Sequence[dict[str, Any]],
        dialer: Dialer,
        clock: Clock,
        scheduler: Scheduler,
        jitter: Jitter,
        params: LinkParams,
        on_frames: Callable[[Sequence[bytes], int], None],
        on_up: Callable[[int], None],
        on_lost: Callable[[int, str], None],
        on_refused: Callable[[VenueError], None],
    ) -> None:
        try:
            self._uri = parse_uri(url)
        except (InvalidURI, ValueError) as error:
            raise VenueError(f"{url}: not a WebSocket address ({error})") from None
        self._url = url
        self._dialer = dialer
        self._clock = clock
        self._scheduler = scheduler
        self._jitter = jitter
        self._params = params
        self._on_frames = on_frames
        self._on_up = on_up
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._wanted: list[dict[str, Any]] = []
        for wanted in subscriptions:
            if wanted not in self._wanted:
                self._wanted.append(wanted)
        self._subscribe_frames = [
            msgspec.json.encode({"method": "subscribe", "subscription": wanted})
            for wanted in self._wanted
        ]
        self._watches = watches(self._wanted, params.stale_book_s, params.stale_ctx_s)
        every = [watch for group in self._watches.values() for watch in group]
        self._limits = [(it, it.limit_ns) for it in every if it.limit_ns is not None]
        self._phase = _Phase.IDLE
        self._socket: WsSocket | None = None
        self._timer: Handle | None = None
        self._pending: list[dict[str, Any]] = []
        self._complaint: str | None = None
        self._heard_ns = 0
        self._up_ns = 0
        self._ping_due_ns = 0
        self._pong_due_ns: int | None = None
        self._attempt = 0
        self._refusals = 0
        self._was_up = False

    @property
    def is_up(self) -> bool:
        """Whether the socket is open and every subscription acknowledged."""
        return self._phase is _Phase.UP

    def streams(self) -> list[Watch]:
        """
        What was heard of each stream, and when; 0 ns before the first message.

        A stream with a limit counts from the moment the link came up as well.
        """
        return [watch for group in self._watches.values() for watch in group]

    def start(self) -> None:
        """Begin to connect; a second call does nothing."""
        if self._phase is _Phase.IDLE:
            self._dial()

    def send(self, text: bytes) -> bool:
        """Write one text message now; False, with nothing written, unless the link is up."""
        if self._phase is not _Phase.UP:
            return False
        assert self._socket is not None
        self._socket.send(text)
        return True

    def drop(self, reason: str) -> None:
        """Give this connection up and make another: what it says cannot be trusted any more."""
        if self._socket is not None:
            self._lose(reason)

    def close(self) -> None:
        """Close for good; no callback comes after."""
        self._phase = _Phase.CLOSED
        self._disarm()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    # -- one connection ---------------------------------------------------------------------

    def _dial(self) -> None:
        self._phase = _Phase.CONNECTING
        self._complaint = None
        self._pending = list(self._wanted)
        socket = WsSocket(
            self._uri,
            on_open=self._on_open,
            on_messages=self._on_messages,
            on_gone=self._on_gone,
        )
        self._socket = socket
        timeout_s = self._params.connect_timeout_s
        self._arm(
            self._clock() + round(timeout_s * NS_PER_S),
            lambda: self._lose(f"no connection to {self._url} within {timeout_s:g} s"),
        )
        self._dialer.dial(self._url, socket)

    def _on_open(self) -> None:
        self._phase = _Phase.SUBSCRIBING
        timeout_s = self._params.ack_timeout_s
        self._arm(
            self._clock() + round(timeout_s * NS_PER_S),
            lambda: self._lose(
                f"not acknowledged within {timeout_s:g} s: "
                f"{', '.join(stream_name(wanted) for wanted in self._pending)}"
            ),
        )
        assert self._socket is not None
        self._socket.send(*self._subscribe_frames)
        if not self._pending:
            self._go_up(self._clock())

    def _on_messages(self, messages: list[bytes]) -> None:
        """One read's messages: count them, hand them on together, then draw the conclusions."""
        recv_ns = self._clock()
        self._heard_ns = recv_ns
        has_greeting = False
        for message in messages:
            if message.startswith(_PREFIX):
                end = message.find(b'"', _PREFIX_LEN)
                self._peek(message[_PREFIX_LEN:end], message, recv_ns)
            elif message == _GREETING:
                has_greeting = True
            else:
                self._peek(channel_of(message), message, recv_ns)
        if has_greeting:
            messages = [message for message in messages if message != _GREETING]
        if messages:
            self._on_frames(messages, recv_ns)
        if self._phase is not _Phase.SUBSCRIBING:
            return  # up long since, or dropped by whoever was handed the messages
        if self._complaint is not None:
            self._lose(f"the venue refused a subscription: {self._complaint}", is_refusal=True)
        elif not self._pending:
            self._go_up(recv_ns)

    def _peek(self, channel: bytes, message: bytes, recv_ns: int) -> None:
        group = self._watches.get(channel)
        if group is not None:
            if len(group) == 1:
                group[0].hear(message, recv_ns)
                return
            head = message[:HEAD_BYTES]
            for watch in group:
                if watch.needle in head:
                    watch.hear(message, recv_ns)
        elif channel == _PONG:
            self._pong_due_ns = None
        elif channel == _ACK:
            self._acknowledge(message)
        elif channel == _ERROR and self._phase is _Phase.SUBSCRIBING:
            self._complaint = error_text(message)

    def _acknowledge(self, message: bytes) -> None:
        echoed = acknowledged(message)
        if echoed is None:
            return  # the shell's decoder refuses it and drops the link with a better reason
        self._pending = [wanted for wanted in self._pending if not is_echo(echoed, wanted)]

    def _go_up(self, now_ns: int) -> None:
        params = self._params
        self._phase = _Phase.UP
        self._was_up = True
        self._refusals = 0
        self._up_ns = self._heard_ns = now_ns
        for watch, _ in self._limits:
            watch.seen_ns = now_ns
            watch.is_marked = False
        self._ping_due_ns = now_ns + round(params.ping_every_s * NS_PER_S)
        self._pong_due_ns = None
        self._arm(self._look_again_ns(), self._look)
        self._on_up(now_ns)

    # -- health -----------------------------------------------------------------------------

    def _look_again_ns(self) -> int:
        """Earliest time at which the connection can be found dead, or a heartbeat is due."""
        when_ns = min(
            self._ping_due_ns, self._heard_ns + round(self._params.stale_any_s * NS_PER_S)
        )
        if self._pong_due_ns is not None:
            when_ns = min(when_ns, self._pong_due_ns)
        for watch, limit_ns in self._limits:
            when_ns = min(when_ns, watch.seen_ns + limit_ns)
        return when_ns

    def _look(self) -> None:
        now_ns = self._clock()
        reason = self._deadly(now_ns)
        if reason is not None:
            self._lose(reason)
            return
        if now_ns >= self._ping_due_ns:
            self._ping_due_ns = now_ns + round(self._params.ping_every_s * NS_PER_S)
            if self._pong_due_ns is None:
                self._pong_due_ns = now_ns + round(self._params.pong_timeout_s * NS_PER_S)
            if not self.send(_PING_FRAME) or self._phase is not _Phase.UP:
                return  # the write itself found the connection dead
        self._arm(self._look_again_ns(), self._look)

    def _deadly(self, now_ns: int) -> str | None:
        params = self._params
        for watch, limit_ns in self._limits:
            if now_ns >= watch.seen_ns + limit_ns:
                silent_s = (now_ns - watch.seen_ns) / NS_PER_S
                return f"stream {watch.name} silent for {silent_s:.1f} s"
        if now_ns >= self._heard_ns + round(params.stale_any_s * NS_PER_S):
            return f"every stream silent for {(now_ns - self._heard_ns) / NS_PER_S:.1f} s"
        if self._pong_due_ns is not None and now_ns >= self._pong_due_ns:
            return f"heartbeat not answered within {params.pong_timeout_s:g} s"
        return None

    # -- loss and return --------------------------------------------------------------------

    def _on_gone(self, reason: str, is_refusal: bool) -> None:
        """The socket ended without our doing."""
        if self._phase is _Phase.SUBSCRIBING and self._pending:
            # An unknown coin is answered by hanging up without a word: protocol notes, 0.1 no. 4.
            # Subscriptions are handled in order, so the first unanswered one is the suspect.
            suspect = stream_name(self._pending[0])
            self._lose(
                f"the venue closed the socket after we subscribed to {suspect}: "
                f"unknown coin? ({reason})",
                is_refusal=True,
            )
        else:
            self._lose(reason, is_refusal=is_refusal)

    def _lose(self, reason: str, *, is_refusal: bool = False) -> None:
        params = self._params
        now_ns = self._clock()
        was_up = self._phase is _Phase.UP
        socket, self._socket = self._socket, None
        self._phase = _Phase.WAITING
        if socket is not None:
            socket.abort()
        if was_up and now_ns - self._up_ns >= round(params.healthy_s * NS_PER_S):
            self._attempt = 0
        if is_refusal:
            self._refusals += 1
        # The exponent is bounded, or a week of outage would overflow the float.
        longest_s = min(
            params.backoff_max_s, params.backoff_first_s * 2.0 ** min(self._attempt, 30)
        )
        wait_s = self._jitter.uniform(longest_s / 2, longest_s)
        self._attempt += 1
        self._arm(now_ns + round(wait_s * NS_PER_S), self._dial)
        self._on_lost(now_ns, reason)
        if (
            is_refusal
            and not self._was_up
            and self._refusals >= params.refusals_max
            and self._phase is _Phase.WAITING
        ):
            self.close()
            self._on_refused(
                VenueError(
                    f"{self._url}: refused {self._refusals} times in a row: {reason}; check "
                    "instrument.coin, instrument.dex and reference.coin (upper and lower case "
                    "matter), and the address"
                )
            )

    # -- timers -----------------------------------------------------------------------------

    def _arm(self, when_ns: int, fn: Callable[[], None]) -> None:
        """One timer is enough: each phase waits for one thing."""
        self._disarm()
        self._timer = self._scheduler.call_at(when_ns, fn)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
