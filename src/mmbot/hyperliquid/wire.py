"""
Frames of the venue's websocket, decoded into events.

A frame is one of three things: a message we know (events, or a control frame for the shell), a
message we do not know (counted, never fatal), or a known message that cannot be read
(`VenueProtocolError`: the link is dropped, nothing is guessed). The venue adds channels, fields
and statuses without notice; each is counted under its name in `Decoder.unknown`.

Reading the bodies of `POST /info` is in `wire_rest`, answers to actions in `replies`.

Source: Hyperliquid docs, "Subscriptions" and "Post requests".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Book,
    Event,
    Funding,
    OrderState,
    OrderUpdate,
    ReferencePx,
)
from mmbot.core.types import Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.book_text import BookText
from mmbot.hyperliquid.dating import check_date
from mmbot.hyperliquid.frames import (
    CHANNEL_OF,
    FRAME,
    HEADER,
    KNOWN_FIELDS,
    MARKET_FRAMES,
    AckFrame,
    BboFrame,
    BookFrame,
    ComplaintFrame,
    CtxFrame,
    FillsFrame,
    Frame,
    FundingsFrame,
    OrdersFrame,
    PongFrame,
    PostFrame,
    TradesFrame,
    UserFrame,
)
from mmbot.hyperliquid.grid import Grid
from mmbot.hyperliquid.rejections import order_state, rejection
from mmbot.hyperliquid.replies import (
    ActionReply,
    EntryKind,
    EntryStatus,
    PostReply,
    action_reply,
    post_id_of,
    post_reply,
)
from mmbot.hyperliquid.unknown import unknown_fields
from mmbot.hyperliquid.wire_types import (
    DECODE_ERRORS,
    WireFill,
    WireFunding,
    WireOrderUpdate,
)

__all__ = [
    "ActionReply",
    "ControlFrame",
    "Decoder",
    "EntryKind",
    "EntryStatus",
    "ErrorFrame",
    "NonUserCancel",
    "Pong",
    "PostReply",
    "SubscriptionAck",
    "action_reply",
    "order_state",
    "rejection",
]

GREETING: Final = b"Websocket connection established."
"""Text that older servers send first; the only frame that is not JSON."""

_MARKET_AUDIT_EVERY: Final = 256
"""One market-data frame in so many is searched for unknown fields, beginning with the first."""
_ACCOUNT_AUDITS: Final = 32
"""So many frames of any other channel are all searched, then one in so many: it takes twice as long
as to read one, just where a sweep has to be answered."""
_FAST_LEVELS: Final = 5
_UNKNOWN_MAX: Final = 1000
"""Distinct names kept in `Decoder.unknown`, so that a mad peer cannot fill the memory."""


# -- frames that are no events ----------------------------------------------------------------


class SubscriptionAck(msgspec.Struct, frozen=True):
    """
    The venue took a (un)subscription.

    `subscription` is the venue's echo: defaults filled in, addresses in lower case, keys it does
    not know dropped.
    """

    subscription: dict[str, Any]
    method: str = "subscribe"


class Pong(msgspec.Struct, frozen=True, gc=False):
    """Answer to our ping."""


class ErrorFrame(msgspec.Struct, frozen=True, gc=False):
    """A complaint of the venue; the socket stays open. `post_id` when it is about a post."""

    text: str
    post_id: int | None = None


class NonUserCancel(msgspec.Struct, frozen=True, gc=False):
    """The venue cancelled an order of ours by itself; only the id is told."""

    oid: int


ControlFrame = SubscriptionAck | Pong | ErrorFrame | NonUserCancel | PostReply
Decoded = list[Event | ControlFrame]


class Decoder:
    """
    Turns frames into events for one instrument and one account.

    Args:
        instrument: The market traded; frames of other coins are counted, not decoded further.
        user: Address of the account (not of its agent wallet).
        reference_coin: Another market whose `bbo` becomes a `ReferencePx`.

    Attributes:
        unknown: How often each thing we do not know was seen: `channel:x`, `field:bbo.x`,
            `status:x`, `coin:x` (a frame of a coin not asked for), `user:x`. A name that was not
            in it before is worth one log line.
    """

    def __init__(
        self, instrument: Instrument, *, user: str, reference_coin: str | None = None
    ) -> None:
        self.unknown: dict[str, int] = {}
        self._grid = Grid(instrument)
        self._book_text = BookText(instrument)
        self._coin = instrument.coin
        self._user = user.lower()
        self._reference_coin = reference_coin
        self._book_streams: set[bool] = set()
        """Which books are subscribed: the fast one (True), the plain one (False)."""
        self._audit_in: dict[type[Frame], int] = dict.fromkeys(CHANNEL_OF, 1)
        self._audits: dict[type[Frame], int] = dict.fromkeys(CHANNEL_OF, 0)
        self._handlers: dict[type[Frame], Callable[[Any, int], Decoded]] = {
            BboFrame: self._bbo,
            BookFrame: self._book,
            TradesFrame: self._trades,
            CtxFrame: self._ctx,
            OrdersFrame: self._orders,
            FillsFrame: self._fills,
            FundingsFrame: self._fundings,
            UserFrame: self._user_event,
            PostFrame: self._post,
            AckFrame: self._ack,
            ComplaintFrame: self._error,
            PongFrame: self._pong,
        }

    def decode(self, frame: bytes, recv_ns: int) -> Decoded:
        """
        Decode one text message.

        Args:
            frame: The message, complete.
            recv_ns: When we got it, nanoseconds since the epoch.

        Returns:
            Events in the order of the message, and control frames; empty when there is nothing
            for us in it.

        Raises:
            VenueProtocolError: It is not JSON, or a known message that cannot be read or lies in
                the future.
        """
        if frame.startswith(self._book_text.head):
            book = self._book_text.read(frame, recv_ns, self._is_fast)
            if book is not None:
                check_date(book.venue_ms, recv_ns, "l2Book")
                return [book]
        try:
            message = FRAME.decode(frame)
            kind = type(message)
            decoded = self._handlers[kind](message, recv_ns)
        except DECODE_ERRORS as error:
            return self._unreadable(frame, error)
        self._audit_in[kind] -= 1
        if self._audit_in[kind] == 0:
            self._audit(kind, frame)
        return decoded

    def _unreadable(self, frame: bytes, error: Exception) -> Decoded:
        if frame == GREETING:
            return []
        try:
            channel = HEADER.decode(frame).channel
        except DECODE_ERRORS:
            channel = None
        if channel is None or channel in KNOWN_FIELDS:
            what = "frame" if channel is None else f"{channel} frame"
            msg = f"unreadable {what}: {error}: {bytes(frame[:160])!r}"
            raise VenueProtocolError(msg) from error
        self._count(f"channel:{channel}")
        return []

    def _count(self, what: str) -> None:
        name = what[:80]
        if name not in self.unknown and len(self.unknown) >= _UNKNOWN_MAX:
            name = "more"
        self.unknown[name] = self.unknown.get(name, 0) + 1

    def _audit(self, kind: type[Frame], frame: bytes) -> None:
        """Count the fields of a readable frame that we do not know, and say when to look again."""
        channel = CHANNEL_OF[kind]
        if kind in MARKET_FRAMES:
            self._audit_in[kind] = _MARKET_AUDIT_EVERY
        else:
            self._audits[kind] += 1
            self._audit_in[kind] = 1 if self._audits[kind] < _ACCOUNT_AUDITS else _ACCOUNT_AUDITS
        try:
            message = msgspec.json.decode(frame)
        except DECODE_ERRORS:
            # What nothing reads was not looked at before, and may be nonsense.
            self._count(f"field:{channel}.?")
            return
        for name in message.keys() - {"channel", "data"}:
            self._count(f"field:{channel}.{name}")
        for name in unknown_fields(message.get("data"), KNOWN_FIELDS[channel], channel):
            self._count(f"field:{name}")

    def _is_ours(self, coin: str) -> bool:
        if coin == self._coin:
            return True
        self._count(f"coin:{coin}")
        return False

    def _is_our_account(self, user: str) -> bool:
        if user.lower() == self._user:
            return True
        self._count(f"user:{user}")
        return False

    # -- market data --------------------------------------------------------------------------

    def _bbo(self, frame: BboFrame, recv_ns: int) -> Decoded:
        data = frame.data
        check_date(data.time, recv_ns, "bbo")
        bid, ask = data.bbo
        if data.coin == self._reference_coin != self._coin:
            if bid is None or ask is None:
                return []
            return [ReferencePx(recv_ns, data.time, (bid.px + ask.px) / 2)]
        if not self._is_ours(data.coin):
            return []
        level = self._grid.level
        return [
            Bbo(
                recv_ns,
                data.time,
                level(bid) if bid is not None else None,
                level(ask) if ask is not None else None,
            )
        ]

    def _book(self, frame: BookFrame, recv_ns: int) -> Decoded:
        data = frame.data
        if not self._is_ours(data.coin):
            return []
        check_date(data.time, recv_ns, "l2Book")
        bids, asks = data.levels
        is_fast = self._is_fast(len(bids), len(asks)) if data.fast is None else data.fast
        levels = self._grid.levels
        return [Book(recv_ns, data.time, levels(bids), levels(asks), is_fast)]

    def _is_fast(self, bids: int, asks: int) -> bool:
        """
        Which stream a book without the `fast` flag is of (whether the venue sets it is unverified).

        It is the one that is subscribed; where both are, the size tells. A plain book that is no
        longer than a fast one holds the same levels.
        """
        if len(self._book_streams) == 1:
            return True in self._book_streams
        return bool(self._book_streams) and max(bids, asks) <= _FAST_LEVELS

    def _trades(self, frame: TradesFrame, recv_ns: int) -> Decoded:
        coin = self._coin
        rows = frame.data
        if {row.coin for row in rows} != {coin}:
            rows = [row for row in rows if self._is_ours(row.coin)]
        if not rows:
            return []
        trades = self._grid.trades(rows, recv_ns)
        check_date(trades.venue_ms, recv_ns, "trades")
        return [trades]

    def _ctx(self, frame: CtxFrame, recv_ns: int) -> Decoded:
        if not self._is_ours(frame.data.coin):
            return []
        ctx = frame.data.ctx
        return [
            AssetCtx(
                recv_ns, ctx.mark_px, ctx.oracle_px, ctx.funding, ctx.open_interest, ctx.mid_px
            )
        ]

    # -- the account --------------------------------------------------------------------------

    def _orders(self, frame: OrdersFrame, recv_ns: int) -> Decoded:
        decoded: Decoded = []
        for update in frame.data:
            if order_state(update.status) is OrderState.UNKNOWN:
                self._count(f"status:{update.status}")
            if self._is_ours(update.order.coin):
                decoded.append(self._order(update, recv_ns))
        return decoded

    def _order(self, update: WireOrderUpdate, recv_ns: int) -> OrderUpdate:
        return self._grid.order(update.order, update.status, update.status_timestamp, recv_ns)

    def _fills(self, frame: FillsFrame, recv_ns: int) -> Decoded:
        data = frame.data
        if not self._is_our_account(data.user):
            return []
        return self._our_fills(data.fills, recv_ns, is_snapshot=data.is_snapshot)

    def _our_fills(self, fills: list[WireFill], recv_ns: int, *, is_snapshot: bool) -> Decoded:
        return [
            self._grid.fill(fill, self._user, recv_ns, is_snapshot=is_snapshot)
            for fill in fills
            if self._is_ours(fill.coin)
        ]

    def _fundings(self, frame: FundingsFrame, recv_ns: int) -> Decoded:
        data = frame.data
        if not self._is_our_account(data.user):
            return []
        return self._our_fundings(data.fundings, recv_ns)

    def _our_fundings(self, rows: list[WireFunding], recv_ns: int) -> Decoded:
        """
        Give every payment of ours, oldest first, history included.

        Nothing is remembered here: each is identified by its time, so the position knows which it
        has booked, and which its first snapshot already contained.
        """
        ours = [row for row in rows if self._is_ours(row.coin)]
        ours.sort(key=lambda row: row.time)
        if ours:
            check_date(ours[-1].time, recv_ns, "userFundings")
        return [Funding(recv_ns, row.time, -row.usdc) for row in ours]

    def _user_event(self, frame: UserFrame, recv_ns: int) -> Decoded:
        data = frame.data
        if data.fills is not None:
            return self._our_fills(data.fills, recv_ns, is_snapshot=False)
        if data.funding is not None:
            return self._our_fundings([data.funding], recv_ns)
        # The size that was left is not told, so no OrderUpdate can be made of it.
        return [
            NonUserCancel(each.oid)
            for each in data.non_user_cancel or ()
            if self._is_ours(each.coin)
        ]

    # -- control ------------------------------------------------------------------------------

    def _post(self, frame: PostFrame, recv_ns: int) -> Decoded:
        reply = post_reply(frame.data, recv_ns)
        if reply.action is not None:
            for status in reply.action.statuses:
                if status.kind is EntryKind.UNKNOWN:
                    self._count(f"status:{status.text}")
        return [reply]

    def _ack(self, frame: AckFrame, recv_ns: int) -> Decoded:  # noqa: ARG002
        data = frame.data
        subscription = data.subscription
        if subscription.get("type") == "l2Book" and subscription.get("coin") == self._coin:
            is_fast = subscription.get("fast") is True
            if data.method == "subscribe":
                self._book_streams.add(is_fast)
            else:
                self._book_streams.discard(is_fast)
        return [SubscriptionAck(subscription, data.method)]

    def _error(self, frame: ComplaintFrame, recv_ns: int) -> Decoded:  # noqa: ARG002
        return [ErrorFrame(frame.data, post_id_of(frame.data))]

    def _pong(self, frame: PongFrame, recv_ns: int) -> Decoded:  # noqa: ARG002
        return [Pong()]
