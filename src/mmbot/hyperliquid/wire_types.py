"""
Messages of the venue as typed structures.

Numbers come as decimal strings; decoders made with `strict=False` parse them to floats in place,
without a Python string each. `grid` takes them on to ticks and lots.

Source: Hyperliquid docs, "Info endpoint", "Subscriptions" and "Post requests".
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from mmbot.core.types import Side
from mmbot.errors import VenueProtocolError

DECODE_ERRORS: Final = (ValueError, OverflowError, RecursionError)
"""What reading arbitrary bytes can raise; msgspec's own errors are ValueErrors."""

Number = Annotated[float, msgspec.Meta(gt=-1e18, lt=1e18)]
"""Any finite decimal."""
Px = Annotated[float, msgspec.Meta(gt=0, lt=1e12)]
AnyPx = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]
"""Of any asset of the account: an outcome that settles worthless has a fill at 0."""
Sz = Annotated[float, msgspec.Meta(ge=0, lt=1e15)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
SideLetter = Literal["B", "A"]

SIDES: Final = {"B": Side.BUY, "A": Side.SELL}


# -- market data ------------------------------------------------------------------------------


class WireLevel(msgspec.Struct, gc=False):
    """One price of a book; the number of orders (`n`) is not read."""

    px: Px
    sz: Sz


class WireBbo(msgspec.Struct):
    """Data of `bbo`."""

    coin: str
    time: Count
    bbo: tuple[WireLevel | None, WireLevel | None]


class WireBook(msgspec.Struct):
    """Data of `l2Book`; `fast` is absent in some captures of the five-level stream."""

    coin: str
    time: Count
    levels: tuple[list[WireLevel], list[WireLevel]]
    fast: bool | None = None


class WireTrade(msgspec.Struct, gc=False):
    """One element of `trades`."""

    coin: str
    side: SideLetter
    px: Px
    sz: Sz
    time: Count
    tid: Count


class WireCtx(msgspec.Struct, gc=False, rename="camel"):
    """Context of a perp; `mid_px` is null when the book lacks a side."""

    funding: Number
    open_interest: Sz
    oracle_px: Px
    mark_px: Px
    mid_px: Px | None = None


class WireAssetCtx(msgspec.Struct):
    """Data of `activeAssetCtx`."""

    coin: str
    ctx: WireCtx


# -- the account ------------------------------------------------------------------------------


class WireLiquidation(msgspec.Struct, gc=False, rename="camel"):
    """Attached to both fills of a liquidation, the liquidated side's and its counterparty's."""

    liquidated_user: str


class WireFill(msgspec.Struct, rename="camel"):
    """A fill of the account, on a stream or from `userFills`; in 2023 there was no `tid`."""

    coin: str
    px: AnyPx
    sz: Sz
    side: SideLetter
    time: Count
    start_position: Number
    closed_pnl: Number
    oid: Count
    crossed: bool
    fee: Number
    hash: str
    dir: str = ""
    tid: Count | None = None
    cloid: str | None = None
    liquidation: WireLiquidation | None = None


class WireFills(msgspec.Struct, rename="camel"):
    """Data of `userFills`."""

    user: str
    fills: list[WireFill]
    is_snapshot: bool = False


class WireFunding(msgspec.Struct, gc=False):
    """A funding payment; `usdc` is negative when we paid."""

    coin: str
    time: Count
    usdc: Number


class WireFundings(msgspec.Struct, rename="camel"):
    """Data of `userFundings`."""

    user: str
    fundings: list[WireFunding]
    is_snapshot: bool = False


class WireNonUserCancel(msgspec.Struct, gc=False):
    """An order that the venue itself cancelled."""

    coin: str
    oid: Count


class WireUserEvent(msgspec.Struct, rename="camel"):
    """Data of `user`: one of these keys."""

    fills: list[WireFill] | None = None
    funding: WireFunding | None = None
    non_user_cancel: list[WireNonUserCancel] | None = None


class WireOrder(msgspec.Struct, rename="camel"):
    """An order as streams, open orders and status queries give it; `sz` is what remains."""

    coin: str
    side: SideLetter
    limit_px: AnyPx
    sz: Sz
    oid: Count
    timestamp: Count
    orig_sz: Sz | None = None
    cloid: str | None = None


class WireOrderUpdate(msgspec.Struct, rename="camel"):
    """One element of `orderUpdates`, and the answer to `orderStatus`."""

    order: WireOrder
    status: str
    status_timestamp: Count


# -- replies to actions -----------------------------------------------------------------------


class WireResting(msgspec.Struct, gc=False):
    """An order that rests."""

    oid: Count
    cloid: str | None = None


class WireFilled(msgspec.Struct, gc=False):
    """An order that matched; how much is taken from the fills, never from here."""

    oid: Count
    cloid: str | None = None


class WireStatus(msgspec.Struct):
    """One element of `statuses` that is an object; exactly one key is expected."""

    resting: WireResting | None = None
    filled: WireFilled | None = None
    error: str | None = None


class WireStatuses(msgspec.Struct):
    """`data` of an accepted action; actions without elements have none."""

    statuses: list[str | WireStatus] = msgspec.field(default_factory=list)


class WireAccepted(msgspec.Struct):
    """`response` of an accepted action."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class WireReply(msgspec.Struct):
    """Whole answer to an action: `response` is an object when `ok`, a sentence when `err`."""

    status: Literal["ok", "err"]
    response: WireAccepted | str


class WirePostResponse(msgspec.Struct):
    """`response` of a `post`."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"null")


class WirePost(msgspec.Struct):
    """Data of `post`."""

    id: Count
    response: WirePostResponse


class WireAck(msgspec.Struct):
    """Data of `subscriptionResponse`."""

    method: str
    subscription: dict[str, Any]


_CLOID_CHARS: Final = 34


def cloid_number(text: str | None) -> int | None:
    """
    A cloid (`0x` and 32 hex digits) as a number.

    Raises:
        VenueProtocolError: The text is no cloid.
    """
    if text is None:
        return None
    if len(text) == _CLOID_CHARS and text.startswith("0x"):
        try:
            return int(text, 16)
        except ValueError:
            pass
    msg = f"cloid must be 0x and 32 hex digits, got {text[:40]!r}"
    raise VenueProtocolError(msg)
