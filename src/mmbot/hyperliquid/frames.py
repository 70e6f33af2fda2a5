"""
The frames we know, one type for each channel, and the decoder that tells them apart.

Source: Hyperliquid docs, "Subscriptions".
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from mmbot.hyperliquid.unknown import known_fields
from mmbot.hyperliquid.wire_types import (
    WireAck,
    WireAssetCtx,
    WireBbo,
    WireBook,
    WireFills,
    WireFundings,
    WireOrderUpdate,
    WirePost,
    WireTrade,
    WireUserEvent,
)


class Frame(msgspec.Struct, tag_field="channel"):
    """A frame of a known channel; the tag is the channel's name."""


class BboFrame(Frame, tag="bbo"):
    """Of channel `bbo`."""

    data: WireBbo


class BookFrame(Frame, tag="l2Book"):
    """Of channel `l2Book`."""

    data: WireBook


class TradesFrame(Frame, tag="trades"):
    """Of channel `trades`."""

    data: list[WireTrade]


class CtxFrame(Frame, tag="activeAssetCtx"):
    """Of channel `activeAssetCtx`."""

    data: WireAssetCtx


class OrdersFrame(Frame, tag="orderUpdates"):
    """Of channel `orderUpdates`."""

    data: list[WireOrderUpdate]


class FillsFrame(Frame, tag="userFills"):
    """Of channel `userFills`."""

    data: WireFills


class FundingsFrame(Frame, tag="userFundings"):
    """Of channel `userFundings`."""

    data: WireFundings


class UserFrame(Frame, tag="user"):
    """Of channel `user`."""

    data: WireUserEvent


class PostFrame(Frame, tag="post"):
    """Of channel `post`."""

    data: WirePost


class AckFrame(Frame, tag="subscriptionResponse"):
    """Of channel `subscriptionResponse`."""

    data: WireAck


class ComplaintFrame(Frame, tag="error"):
    """Of channel `error`."""

    data: str


class PongFrame(Frame, tag="pong"):
    """Of channel `pong`; it has no data."""


AnyFrame = (
    BboFrame
    | BookFrame
    | TradesFrame
    | CtxFrame
    | OrdersFrame
    | FillsFrame
    | FundingsFrame
    | UserFrame
    | PostFrame
    | AckFrame
    | ComplaintFrame
    | PongFrame
)


class Header(msgspec.Struct):
    """What is left to read of a frame that no type fits."""

    channel: str


FRAME: Final = msgspec.json.Decoder(AnyFrame, strict=False)
HEADER: Final = msgspec.json.Decoder(Header)
CHANNEL_OF: Final[dict[type[Frame], str]] = {
    kind: str(kind.__struct_config__.tag) for kind in get_args(AnyFrame)
}
KNOWN_FIELDS: Final = {
    channel: known_fields(kind).get("data", {}) for kind, channel in CHANNEL_OF.items()
}
"""Fields of the data of each channel."""
MARKET_FRAMES: Final = frozenset({BboFrame, BookFrame, TradesFrame, CtxFrame})
"""The frequent ones."""
