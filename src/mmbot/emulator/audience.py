"""
Who hears what, and a block's events folded by coin and by account.

What happens to one account in one block leaves together: one `orderUpdates` message has a fill's
update and what the fill cancelled (protocol notes 3.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmbot.emulator.session import Session
from mmbot.emulator.specs import (
    BookChanged,
    FillRecord,
    FundingRecord,
    LedgerRecord,
    LiquidationRecord,
    NonUserCancel,
    OrderRecord,
    TradePrint,
    VenueEvent,
)
from mmbot.emulator.subscriptions import Topic


class Audience:
    """Sessions by topic, and topics by what they are about."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[Session, None]] = {}
        self._topics: dict[str, dict[str, dict[str, Topic]]] = {}

    def add(self, session: Session, topic: Topic) -> None:
        """Let `session` hear `topic`."""
        self._sessions.setdefault(topic.key, {})[session] = None
        self._topics.setdefault(topic.kind, {}).setdefault(_subject(topic), {})[topic.key] = topic

    def remove(self, session: Session, topic: Topic) -> None:
        """Stop `session` hearing `topic`; nothing happens if it never did."""
        listeners = self._sessions.get(topic.key, {})
        listeners.pop(session, None)
        if listeners or topic.key not in self._sessions:
            return
        del self._sessions[topic.key]
        subjects = self._topics[topic.kind]
        topics = subjects[_subject(topic)]
        del topics[topic.key]
        if not topics:
            del subjects[_subject(topic)]
        if not subjects:
            del self._topics[topic.kind]

    def about(self, kind: str, subject: str) -> list[Topic]:
        """Topics of a kind about one coin or account."""
        subjects = self._topics.get(kind)
        found = subjects.get(subject) if subjects else None
        return list(found.values()) if found else []

    def of_kind(self, kind: str) -> list[Topic]:
        """Every topic of a kind."""
        subjects = self._topics.get(kind, {})
        return [topic for topics in subjects.values() for topic in topics.values()]

    def listeners(self, topic: Topic) -> list[Session]:
        """Sessions that hear a topic, in order of subscription."""
        return list(self._sessions.get(topic.key, ()))


def _subject(topic: Topic) -> str:
    return topic.user or topic.coin or ""


class UserBlock:
    """What happened to one account since the last flush, in wire shape."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.fundings: list[dict[str, Any]] = []
        self.ledger: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []


class Block:
    """Events since the last flush."""

    def __init__(self) -> None:
        self.trades: dict[str, list[TradePrint]] = {}
        self.books: dict[int, None] = {}
        self.users: dict[str, UserBlock] = {}

    def fold(self, events: Iterable[VenueEvent]) -> None:
        """Take events in, in order."""
        for event in events:
            if isinstance(event, BookChanged):
                self.books[event.asset_id] = None
            elif isinstance(event, TradePrint):
                self.trades.setdefault(event.coin, []).append(event)
            else:
                _fold_user(self.users.setdefault(event.user, UserBlock()), event)


UserEvent = (
    FillRecord | OrderRecord | FundingRecord | LedgerRecord | NonUserCancel | LiquidationRecord
)


def _fold_user(user: UserBlock, event: UserEvent) -> None:
    if isinstance(event, FillRecord):
        user.fills.append(event.fill)
    elif isinstance(event, OrderRecord):
        user.updates.append(event.update)
    elif isinstance(event, FundingRecord):
        row = funding_push(event.row)
        user.fundings.append(row)
        user.events.append({"funding": row})
    elif isinstance(event, LedgerRecord):
        user.ledger.append(event.row)
    elif isinstance(event, NonUserCancel):
        user.events.append({"nonUserCancel": [{"coin": event.coin, "oid": event.oid}]})
    else:
        user.events.append({"liquidation": event.liquidation})


def funding_push(row: dict[str, Any]) -> dict[str, Any]:
    """A `userFunding` row as the socket shows it: flat, without hash and type."""
    delta = {key: value for key, value in row["delta"].items() if key != "type"}
    return {"time": row["time"], **delta}
