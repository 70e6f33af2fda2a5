"""
The whole emulated exchange without a socket: venue, market, identities, sessions and time.

Time is an argument: `advance` brings everything up to an instant, `next_due_ms` says when something
happens by itself. The server drives it by the wall clock, a test by hand, the in-memory pipe by
simulated time. What the venue pushes leaves on block boundaries, and what it answers leaves once
the action is in a block (Hyperliquid docs, "Latency": the answer arrives only after the commit).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any, Protocol

import msgspec

from mmbot.emulator.clerk import Clerk
from mmbot.emulator.faults import Faults
from mmbot.emulator.feeds import Feeds
from mmbot.emulator.gatehouse import Gatehouse
from mmbot.emulator.info import InfoDesk
from mmbot.emulator.limits import IpUse
from mmbot.emulator.params import ExchangeParams
from mmbot.emulator.pushes import Pushes
from mmbot.emulator.replies import (
    HttpResponse,
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
        self.test_accounts: list[dict[str, str]] = []
        """Funded accounts with their worthless keys, for clients that ask at /emulator/accounts."""
        self._chance = chance
        self._feeds = Feeds(venue.state, self.gate.identities)
        self._clerk = Clerk(self, InfoDesk(venue.state, self.gate.identities))
        self._sessions: dict[Session, None] = {}
        self._uses: dict[str, IpUse] = {}
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._chance_at_ms = self.now_ms + SECOND_MS
        venue.advance(self.now_ms)
        # What was done to the venue before, such as first deposits, is nobody's news.
        venue.drain()
        self._pushes = Pushes(venue.state, self._feeds, self.params, self.faults, self.call_later)

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
        if not self.faults.is_halted:
            due.extend(self._blocks_due_ms())
        if self._later:
            due.append(self._later[0][0])
        if self._sessions:
            silent_ms = min(session.sent_at_ms for session in self._sessions)
            due.append(silent_ms + self.params.idle_close_ms)
            if self.faults.disconnect_per_s > 0:
                due.append(self._chance_at_ms)
        return max(min(due), self.now_ms) if due else None

    def _blocks_due_ms(self) -> Iterator[int]:
        """When something is due that takes a block."""
        if self.market is not None:
            yield self.params.block_at(self.market.next_due_ms())
        if self._clerk.due_ms is not None:
            yield self._clerk.due_ms
        yield from self._pushes.due_ms()
        if self._sessions:
            # Funding, scheduled cancels and triggers reach listeners in time.
            yield self.venue.next_due_ms()

    @property
    def requests(self) -> deque[dict[str, Any]]:
        """The newest signed requests with what became of them."""
        return self._clerk.requests

    @property
    def requests_seen(self) -> int:
        """Signed requests since the start."""
        return self._clerk.requests_seen

    @property
    def asked(self) -> dict[str, int]:
        """How often each type of /info was answered since the start."""
        return dict(self._clerk.asked)

    @property
    def weights(self) -> dict[str, int]:
        """REST weight that each IP address spent within the last minute."""
        return {ip: use.weight.used(self.now_ms) for ip, use in self._uses.items()}

    @property
    def has_chance(self) -> bool:
        """Whether there is a generator to draw disconnects with."""
        return self._chance is not None

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
        self.collect()
        self.flush_users()

    def flush_users(self) -> None:
        """Tell accounts what happened to them, without waiting for the next block."""
        self._pushes.flush_users()

    def _move(self, now_ms: int) -> None:
        if self.faults.is_halted:
            self.now_ms = now_ms
            return
        if self.market is not None and self.market.next_due_ms() <= now_ms:
            self.market.advance(now_ms)
        self.venue.advance(now_ms)
        self.now_ms = now_ms
        self.collect()

    def collect(self) -> None:
        """Take the venue's events in; they leave at the next block."""
        events = self.venue.drain()
        if events:
            self._pushes.collect(events)

    def _step(self, now_ms: int) -> None:
        self._move(now_ms)
        if not self.faults.is_halted:
            self._clerk.carry_out_due()
            self._pushes.run_due()
        while self._later and self._later[0][0] <= now_ms:
            heappop(self._later)[2]()
        self._drop_idle()
        if self.faults.disconnect_per_s > 0 and self._chance_at_ms <= now_ms:
            self._draw_disconnects()

    def call_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do something that much later; at once where there is no delay."""
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
        self._clerk.take_in(
            method, path, content_type, body, answers.append, ip=ip, is_immediate=True
        )
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
        self._clerk.take_in(method, path, content_type, body, on_done, ip=ip, is_immediate=False)

    # --- sockets ---

    def connect(self, ip: str = "127.0.0.1") -> Session:
        """Open a session; beyond the limits of its address it comes closed."""
        use, limits = self.use(ip), self.params.limits
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
        self._clerk.post(session, post_id, request)

    def use(self, ip: str) -> IpUse:
        """What an address has used up."""
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
