"""
Answers to actions, over `POST /exchange` and the websocket `post` alike.

An answer of status `ok` says nothing about the orders: each element has a status of its own, and
one status for a batch of n means that the whole batch was refused (the venue checks prices and
sizes of all elements before it executes any).

Source: Hyperliquid docs, "Exchange endpoint" and "Error responses".
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

import msgspec

from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.wire_types import (
    DECODE_ERRORS,
    WirePost,
    WireReply,
    WireStatus,
    WireStatuses,
    cloid_number,
)


class EntryKind(Enum):
    """What became of one element of a batch, as the acknowledgement tells it."""

    RESTING = "resting"
    FILLED = "filled"
    SUCCESS = "success"
    """A cancel that was carried out."""
    WAITING = "waiting"
    """A take-profit or stop that waits for its parent or its trigger."""
    ERROR = "error"
    UNKNOWN = "unknown"
    """A status we do not know: no verdict, so the order must be queried."""


class EntryStatus(msgspec.Struct, frozen=True, gc=False):
    """Status of one element; `text` is the sentence of an error, or the unknown status itself."""

    kind: EntryKind
    oid: int | None = None
    cloid: int | None = None
    text: str = ""


class ActionReply(msgspec.Struct, frozen=True):
    """
    Whole answer to one action.

    Attributes:
        is_ok: The action was admitted; each element still has its own verdict.
        error: The venue's sentence when it was not.
        type: `order`, `cancel`, `default` or whatever the venue named it; empty on an error.
        statuses: One for each element, or a single one for all, or none for a `default`.
    """

    is_ok: bool
    error: str = ""
    type: str = ""
    statuses: tuple[EntryStatus, ...] = ()

    def for_elements(self, count: int) -> tuple[EntryStatus, ...]:
        """
        Return one status for each of `count` elements.

        An `err`, or a single error for a whole batch, is everybody's. Any other mismatch is no
        verdict at all: every element gets UNKNOWN.
        """
        if not self.is_ok:
            return (EntryStatus(EntryKind.ERROR, text=self.error),) * count
        if len(self.statuses) == count:
            return self.statuses
        if len(self.statuses) == 1 and self.statuses[0].kind is EntryKind.ERROR:
            return self.statuses * count
        text = f"{len(self.statuses)} statuses for {count} elements"
        return (EntryStatus(EntryKind.UNKNOWN, text=text),) * count


class PostReply(msgspec.Struct, frozen=True):
    """
    Answer to a websocket `post`; exactly one of the last three is set.

    Attributes:
        recv_ns: When it came.
        id: Number of the request.
        action: Answer to an action.
        info: Answer to a read, JSON of its `data`.
        error: The request was not processed at all (the text mirrors the HTTP status and body), or
            its kind of answer is unknown to us.
    """

    recv_ns: int
    id: int
    action: ActionReply | None = None
    info: bytes | None = None
    error: str | None = None


_WORDS: Final = {
    "success": EntryKind.SUCCESS,
    "waitingForFill": EntryKind.WAITING,
    "waitingForTrigger": EntryKind.WAITING,
}
_REPLY: Final = msgspec.json.Decoder(WireReply, strict=False)
_STATUSES: Final = msgspec.json.Decoder(WireStatuses, strict=False)


class _InfoPayload(msgspec.Struct):
    """Payload of an info reply; `data` as it came."""

    data: msgspec.Raw = msgspec.Raw(b"null")


_INFO: Final = msgspec.json.Decoder(_InfoPayload)
_TEXT: Final = msgspec.json.Decoder(str)


def action_reply(body: bytes | msgspec.Raw) -> ActionReply:
    """
    Read the answer to an action.

    Raises:
        VenueProtocolError: It is not one. The outcome of the action is then unknown.
    """
    try:
        reply = _REPLY.decode(body)
        match reply.status, reply.response:
            case "err", str(text):
                return ActionReply(is_ok=False, error=text)
            case "ok", str(text):
                # Seen from no action of ours; without statuses there is no verdict to read.
                return ActionReply(is_ok=True, type=text)
            case "ok", accepted:
                assert not isinstance(accepted, str)
                # Only orders and cancels have statuses; other types put anything into `data`.
                is_batch = accepted.type in {"order", "cancel"}
                data = _STATUSES.decode(accepted.data) if is_batch else WireStatuses()
                statuses = tuple([_entry(status) for status in data.statuses])
                return ActionReply(is_ok=True, type=accepted.type, statuses=statuses)
            case _:
                msg = "status err with an object instead of a sentence"
                raise VenueProtocolError(msg)
    except DECODE_ERRORS as error:
        msg = f"unreadable answer to an action: {error}: {bytes(body)[:120]!r}"
        raise VenueProtocolError(msg) from error


def _entry(status: str | WireStatus) -> EntryStatus:
    if isinstance(status, str):
        kind = _WORDS.get(status, EntryKind.UNKNOWN)
        return EntryStatus(kind, text="" if kind is not EntryKind.UNKNOWN else status)
    if status.error is not None:
        return EntryStatus(EntryKind.ERROR, text=status.error)
    if status.filled is not None:
        filled = status.filled
        return EntryStatus(EntryKind.FILLED, oid=filled.oid, cloid=cloid_number(filled.cloid))
    if status.resting is not None:
        resting = status.resting
        return EntryStatus(EntryKind.RESTING, oid=resting.oid, cloid=cloid_number(resting.cloid))
    return EntryStatus(EntryKind.UNKNOWN, text="an object without a known key")


def post_reply(post: WirePost, recv_ns: int) -> PostReply:
    """
    Read the data of a `post` frame.

    Raises:
        VenueProtocolError: The payload is not what its type says.
    """
    kind, payload = post.response.type, post.response.payload
    try:
        if kind == "action":
            return PostReply(recv_ns, post.id, action=action_reply(payload))
        if kind == "info":
            return PostReply(recv_ns, post.id, info=bytes(_INFO.decode(payload).data))
        if kind == "error":
            return PostReply(recv_ns, post.id, error=_TEXT.decode(payload))
    except DECODE_ERRORS as error:
        msg = f"unreadable post reply {post.id}: {error}: {bytes(payload)[:120]!r}"
        raise VenueProtocolError(msg) from error
    return PostReply(recv_ns, post.id, error=f"unknown kind of post reply {kind!r}")


_POST_ID: Final = re.compile(r"\bid=(\d{1,18})\b")


def post_id_of(text: str) -> int | None:
    """Id of the post that an error frame is about (`too many pending post requests id=7`)."""
    found = _POST_ID.search(text)
    return int(found.group(1)) if found else None
