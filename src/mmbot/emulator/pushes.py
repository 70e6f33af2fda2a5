"""
When the venue pushes: blocks for events, clocks for state.

Trades and best prices leave on block boundaries, an account's events with them or right after its
own action; books, contexts and candles repeat on clocks all sessions share (protocol notes 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mmbot.emulator.audience import Audience, Block
from mmbot.emulator.faults import Faults
from mmbot.emulator.feeds import KINDS_OF, ON_CHANGE, Feeds, cadence
from mmbot.emulator.params import ExchangeParams
from mmbot.emulator.session import Session, frame
from mmbot.emulator.specs import VenueEvent
from mmbot.emulator.state import State
from mmbot.emulator.subscriptions import Topic

CallLater = Callable[[int, Callable[[], None]], None]
"""Runs something so many milliseconds from now."""


class Pushes:
    """Pushes messages to those who hear them. The venue's clock is the only one it reads."""

    def __init__(
        self,
        state: State,
        feeds: Feeds,
        params: ExchangeParams,
        faults: Faults,
        call_later: CallLater,
    ) -> None:
        self._state = state
        self._feeds = feeds
        self._params = params
        self._faults = faults
        self._call_later = call_later
        self._audience = Audience()
        self._block = Block()
        self._flush_at_ms: int | None = None
        self._started_ms = state.now_ms
        self._beats_at_ms: dict[str, int] = {}
        self._touches: dict[str, list[Any]] = {}

    def add(self, session: Session, topic: Topic) -> None:
        """Let a session hear a topic from now on, and send what comes first."""
        self._audience.add(session, topic)
        clock = cadence(topic)
        if clock is not None and clock not in self._beats_at_ms:
            self._beats_at_ms[clock] = self._next_beat(clock)
        if topic.kind == "bbo" and topic.coin not in self._touches:
            asset = self._state.by_coin[topic.fields["coin"]]
            self._touches[asset.coin] = self._feeds.touch(asset)["bbo"]
        first = self._feeds.first(topic)
        if first is not None and topic.kind not in self._faults.mute:
            session.send(first)

    def remove(self, session: Session, topic: Topic) -> None:
        """Stop a session hearing a topic."""
        self._audience.remove(session, topic)
        coin = topic.coin
        if topic.kind == "bbo" and coin is not None and not self._audience.about("bbo", coin):
            # Nobody hears the changes from here on, so what was sent last says nothing.
            self._touches.pop(coin, None)

    def due_ms(self) -> list[int]:
        """Instants at which something leaves by itself."""
        flush = [] if self._flush_at_ms is None else [self._flush_at_ms]
        return [*flush, *self._beats_at_ms.values()]

    def collect(self, events: Iterable[VenueEvent]) -> None:
        """Take the venue's events in; they leave at the next block."""
        self._block.fold(events)
        if self._flush_at_ms is None:
            self._flush_at_ms = self._params.block_at(self._state.now_ms)

    def run_due(self) -> None:
        """Push what is due now: the block first, so that a book never precedes its best prices."""
        now_ms = self._state.now_ms
        if self._flush_at_ms is not None and self._flush_at_ms <= now_ms:
            self.flush()
        for clock, due_ms in list(self._beats_at_ms.items()):
            if due_ms <= now_ms:
                self._beat(clock)

    def flush(self) -> None:
        """A block is complete: best prices and trades of the coins it touched, then accounts."""
        block, self._block = self._block, Block()
        self._block.users = block.users
        self._flush_at_ms = None
        state = self._state
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
        self.flush_users()

    def flush_users(self) -> None:
        """Tell accounts what happened to them since the last time."""
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
        delay_ms = self._faults.event_lag_ms + self._params.feed_ms
        self._call_later(delay_ms, partial(self._tell, topic, text))

    def _publish(self, topic: Topic, text: str) -> None:
        self._call_later(self._params.feed_ms, partial(self._tell, topic, text))

    def _tell(self, topic: Topic, text: str) -> None:
        if topic.kind in self._faults.mute:
            return
        for session in self._audience.listeners(topic):
            session.send(text)

    def _beat(self, clock: str) -> None:
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
            self._beats_at_ms[clock] = self._next_beat(clock)
        else:
            del self._beats_at_ms[clock]

    def _next_beat(self, clock: str) -> int:
        """Next beat of a cadence, on a block: beats are counted from the start of the exchange."""
        every_ms: int = getattr(self._params, f"{clock}_ms")
        beats = (self._state.now_ms - self._started_ms) // every_ms + 1
        due_ms = self._params.block_at(self._started_ms + beats * every_ms)
        return due_ms if due_ms > self._state.now_ms else self._params.block_at(due_ms + every_ms)
