"""
What the link reads in a message, and no more: channel, coin, acknowledgement.

The shell's decoder reads the same messages whole; here only the life of the streams is at stake, so
what cannot be read is passed over and left for the decoder to complain about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.wire_types import DECODE_ERRORS

HEAD_BYTES: Final = 200
"""A message names its coin within its first bytes, before any level, trade or figure."""


class _AckData(msgspec.Struct):
    subscription: dict[str, Any]


class _AckFrame(msgspec.Struct):
    data: _AckData


class _ErrorFrame(msgspec.Struct):
    data: str


class _AnyFrame(msgspec.Struct):
    channel: str


_decode_ack = msgspec.json.Decoder(_AckFrame).decode
_decode_error = msgspec.json.Decoder(_ErrorFrame).decode
_decode_any = msgspec.json.Decoder(_AnyFrame).decode


_FAST_MARK: Final = b'"fast":true}}'
"""How the venue ends a fast book, where it marks one at all (unverified)."""


class Watch:
    """
    Age of one stream. Where it speaks on a clock its silence means something: it has a limit.

    The plain book comes down the same channel as the fast one. Once a book was marked as fast, none
    without the mark counts as a sign of life.
    """

    __slots__ = ("is_marked", "limit_ns", "name", "needle", "seen_ns")

    def __init__(self, name: str, coin: str, limit_s: float | None) -> None:
        self.name = name
        self.needle = b'"' + coin.encode() + b'"'
        self.limit_ns = None if limit_s is None else round(limit_s * NS_PER_S)
        self.seen_ns = 0
        self.is_marked = False

    def hear(self, message: bytes, recv_ns: int) -> None:
        """Take a message of the channel and coin for a sign of life, if it is one."""
        if message.endswith(_FAST_MARK):
            self.is_marked = True
        elif self.is_marked:
            return
        self.seen_ns = recv_ns


def watches(
    wanted: Sequence[dict[str, Any]], stale_book_s: float, stale_ctx_s: float
) -> dict[bytes, list[Watch]]:
    """
    Every stream but the plain book, by channel; those whose silence is a fault have a limit.

    Only what the venue sends on a clock has one: `bbo` and `trades` of a quiet coin are silent for
    tens of seconds, account streams for hours. The plain book (silent for 5.4 s) shares a channel
    with the fast one, whose frames alone count here.
    """
    found: dict[bytes, list[Watch]] = {}
    for subscription in wanted:
        kind = str(subscription["type"])
        limit_s: float | None = None
        if kind == "l2Book":
            if not subscription.get("fast"):
                continue
            limit_s = stale_book_s
        elif kind == "activeAssetCtx":
            limit_s = stale_ctx_s
        watch = Watch(stream_name(subscription), str(subscription.get("coin", "")), limit_s)
        found.setdefault(kind.encode(), []).append(watch)
    return found


def stream_name(subscription: dict[str, Any]) -> str:
    """What a person calls a stream: `l2Book HYPE`."""
    about = subscription.get("coin") or subscription.get("dex") or ""
    return f"{subscription['type']} {about}".strip()


def is_echo(echoed: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether an acknowledgement is for `wanted`: the venue fills defaults, lowers addresses."""
    for key, value in wanted.items():
        answer = echoed.get(key)
        if answer == value or (answer is None and not value):
            continue
        if key == "user" and str(answer).lower() == str(value).lower():
            continue
        return False
    return True


def channel_of(message: bytes) -> bytes:
    """Channel of a message that is spelled unlike the venue's own (spaces, other key order)."""
    try:
        return _decode_any(message).channel.encode()
    except DECODE_ERRORS:
        return b""  # the shell's decoder says what is wrong with it


def error_text(message: bytes) -> str:
    """The venue's words in an error message."""
    try:
        return _decode_error(message).data
    except DECODE_ERRORS:
        return message[:HEAD_BYTES].decode("utf-8", "replace")


def acknowledged(message: bytes) -> dict[str, Any] | None:
    """The subscription that a message acknowledges; None when it cannot be read."""
    try:
        return _decode_ack(message).data.subscription
    except DECODE_ERRORS:
        return None
