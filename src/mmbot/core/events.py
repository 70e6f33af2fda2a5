"""
Inputs of the engine. Everything that can change a decision arrives as one of these, in order.

`recv_ns` is our clock, nanoseconds since the epoch; `venue_ms` the venue's, milliseconds. Prices
are integer ticks, sizes integer lots, positions signed lots (long positive).

All of them in one place, since it is the whole of what a decision can depend on.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from mmbot.core.types import Fees, Side


class Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One price of a book."""

    px_ticks: int
    sz_lots: int


class Bbo(msgspec.Struct, frozen=True, gc=False, tag="bbo"):
    """Touch of our instrument; a side is None when the book has none."""

    recv_ns: int
    venue_ms: int
    bid: Level | None
    ask: Level | None


class Book(msgspec.Struct, frozen=True, tag="book"):
    """Whole book of our instrument, best first. `is_fast`: the five-level stream."""

    recv_ns: int
    venue_ms: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    is_fast: bool


class Trade(msgspec.Struct, frozen=True, gc=False, tag="trade"):
    """
    One public trade of a recording, for the tape that fills orders by it; `side` is the
    aggressor's. The engine is given `Trades`.
    """

    recv_ns: int
    venue_ms: int
    side: Side
    px_ticks: int
    sz_lots: int
    tid: int


class Trades(msgspec.Struct, frozen=True, gc=False, tag="trades"):
    """
    The public trades of one message, in its order: one event for what came in one piece.

    The columns are of one length, above 0; one index is one trade. `sides` are the aggressors'.
    `venue_ms` is the newest of `times_ms`. `tids` repeat after a resubscription.
    """

    recv_ns: int
    venue_ms: int
    times_ms: tuple[int, ...]
    sides: tuple[Side, ...]
    px_ticks: tuple[int, ...]
    sz_lots: tuple[int, ...]
    tids: tuple[int, ...]


class AssetCtx(msgspec.Struct, frozen=True, gc=False, tag="ctx"):
    """Context of our instrument. The venue stamps none of it, so only `recv_ns` dates it."""

    recv_ns: int
    mark_px: float
    oracle_px: float
    funding_per_h: float
    open_interest_sz: float
    mid_px: float | None = None


class ReferencePx(msgspec.Struct, frozen=True, gc=False, tag="reference"):
    """Mid of the same coin in another market, in USD."""

    recv_ns: int
    venue_ms: int
    px: float


class Fill(msgspec.Struct, frozen=True, gc=False, tag="fill"):
    """
    A fill of ours. Identity is (coin, tid, oid, venue_ms); `fee_usd` positive is a cost.

    `is_snapshot` marks rows of the history that the stream replays on subscription.
    `closed_pnl_usd` is the venue's own realised figure, gross of the fee. `is_liquidation` marks
    what the venue did by force: liquidation, auto-deleveraging, settlement.
    """

    recv_ns: int
    venue_ms: int
    tid: int
    oid: int
    cloid: int | None
    side: Side
    px_ticks: int
    sz_lots: int
    fee_usd: float
    closed_pnl_usd: float
    start_position_lots: int
    is_taker: bool
    is_snapshot: bool = False
    is_liquidation: bool = False


class Funding(msgspec.Struct, frozen=True, gc=False, tag="funding"):
    """Funding booked to our account; `usd` positive is a cost to us."""

    recv_ns: int
    venue_ms: int
    usd: float


class OrderState(Enum):
    """The venue's statuses in five classes; anything unknown to us is UNKNOWN and is queried."""

    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class OrderUpdate(msgspec.Struct, frozen=True, gc=False, tag="order"):
    """
    State of one of our orders as the venue reports it (stream, open orders or a status query).

    `sz_lots` is what remains; `status` the venue's own word.
    """

    recv_ns: int
    venue_ms: int
    oid: int
    cloid: int | None
    side: Side
    px_ticks: int
    sz_lots: int
    orig_sz_lots: int
    state: OrderState
    status: str


class Rejection(Enum):
    """Classes of refusal that call for different answers."""

    POST_ONLY = "post_only"
    MIN_NOTIONAL = "min_notional"
    TICK = "tick"
    SIZE = "size"
    MARGIN = "margin"
    REDUCE_ONLY = "reduce_only"
    GONE = "gone"
    """A cancel or modify of an order the venue no longer has, filled or cancelled."""
    BUDGET = "budget"
    POST_ONLY_WINDOW = "post_only_window"
    NONCE = "nonce"
    EXPIRED = "expired"
    AUTH = "auth"
    HALTED = "halted"
    ORACLE = "oracle"
    CAP = "open_interest_cap"
    OTHER = "other"


class Request(Enum):
    """What an acknowledgement answers."""

    PLACE = "place"
    MOVE = "move"
    CANCEL = "cancel"


class Acked(msgspec.Struct, frozen=True, gc=False, tag="acked"):
    """
    The venue accepted one element of a batch.

    `oid` is the resting or filled order (None for a cancel); `is_filled` says that the reply was
    `filled`. The amount filled is never taken from here, only from fills.
    """

    recv_ns: int
    request: Request
    cloid: int
    oid: int | None = None
    is_filled: bool = False


class Rejected(msgspec.Struct, frozen=True, gc=False, tag="rejected"):
    """The venue definitively refused one element of a batch; nothing of it was executed."""

    recv_ns: int
    request: Request
    cloid: int
    reason: Rejection
    text: str


class OutcomeUnknown(msgspec.Struct, frozen=True, gc=False, tag="outcome_unknown"):
    """No verdict came (lost socket, time-out, 5xx): the order counts as live until there is one."""

    recv_ns: int
    request: Request
    cloid: int
    text: str


class OrderMissing(msgspec.Struct, frozen=True, gc=False, tag="missing"):
    """
    The venue answered `unknownOid` for a cloid throughout the window in which it may still lag.

    It never became an order.
    """

    recv_ns: int
    cloid: int


class ClockStepped(msgspec.Struct, frozen=True, gc=False, tag="clock"):
    """Our wall clock was set, forward by `step_ns`, as a clock that nobody sets has shown."""

    recv_ns: int
    step_ns: int


class LinkUp(msgspec.Struct, frozen=True, gc=False, tag="link_up"):
    """Socket open and every subscription acknowledged; a `Snapshot` follows before we quote."""

    recv_ns: int


class LinkLost(msgspec.Struct, frozen=True, gc=False, tag="link_lost"):
    """Socket gone: market data stops, pending requests become unknown."""

    recv_ns: int
    reason: str


class Isolated(msgspec.Struct, frozen=True, gc=False):
    """
    The margin of a position that stands against its own alone, as read with it.

    Attributes:
        margin_usd: Its equity: the cash set aside for it, and its value at `mark_px`.
        mark_px: At which that was computed.
        leverage: At which it was opened, or what is set since.
        maintenance_per_usd: Margin that a dollar of it must keep, at its liquidation price; None
            where there is no such price.
    """

    margin_usd: float
    mark_px: float
    leverage: int
    maintenance_per_usd: float | None


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """
    The account as the venue holds it, read after every connection, before quoting.

    `requested_at_ns` is when the reads began: an order placed after it may be missing from
    `open_orders` without being gone. `equity_usd` is the account value of this dex at the mark.
    """

    recv_ns: int
    requested_at_ns: int
    venue_ms: int
    position_lots: int
    entry_px: float | None
    equity_usd: float
    mark_px: float
    fees: Fees
    open_orders: tuple[OrderUpdate, ...]
    fills: tuple[Fill, ...]
    requests_used: int
    requests_cap: int
    liquidation_px: float | None = None
    """Of the position, by the venue; None when there is none."""
    maintenance_usd: float = 0.0
    """Maintenance margin of all cross positions of the account, by the venue."""
    isolated: Isolated | None = None
    """Margin of our position; None where it has none of its own."""


class RequestsLeft(msgspec.Struct, frozen=True, gc=False, tag="requests"):
    """Address budget as last read or counted; `cap` grows by one per USD traded."""

    recv_ns: int
    used: int
    cap: int


class CommandKind(Enum):
    """What an operator or the shell can order."""

    STOP = "stop"
    KILL = "kill"


class Command(msgspec.Struct, frozen=True, gc=False, tag="command"):
    """An order of the operator: stop (clean end) or kill (trip the switch, latch)."""

    recv_ns: int
    kind: CommandKind
    text: str
    is_flatten: bool = False
    """The position is to be closed as well."""


class JournalLag(msgspec.Struct, frozen=True, gc=False, tag="journal_lag"):
    """
    The journal does not keep up with what is put into it, or does again; for `lag_s` so far.

    Who trades on without a record of it could not explain a cent of that afterwards.
    """

    recv_ns: int
    is_late: bool
    lag_s: float
    text: str


class AccountRead(msgspec.Struct, frozen=True, gc=False, tag="account"):
    """
    The position and the account value by themselves, read on a timer to compare them with ours.

    `maintenance_usd` is the maintenance margin of all cross positions of the account, `isolated`
    the margin of ours where it has its own.
    """

    recv_ns: int
    venue_ms: int
    position_lots: int
    equity_usd: float
    maintenance_usd: float
    isolated: Isolated | None = None


class Gauge(Enum):
    """A figure that the shell measures, by its unit."""

    MARK_AGE_S = "mark_age_s"
    """Since the venue's mark came last by its stream."""
    ACCOUNT_AGE_S = "account_age_s"
    """Since the account was read last."""


class Measured(msgspec.Struct, frozen=True, gc=False, tag="measured"):
    """A figure that no other event tells; it is told once it is worth a look."""

    recv_ns: int
    gauge: Gauge
    value: float


class Listing(msgspec.Struct, frozen=True, gc=False, tag="listing"):
    """
    What the venue's lists say of our market.

    `requested_at_ns` is when the reading began: a refusal after it is newer.
    """

    recv_ns: int
    requested_at_ns: int
    is_capped: bool
    """Open interest is at its cap: the venue takes nothing but what reduces."""
    is_delisted: bool


class DayBegan(msgspec.Struct, frozen=True, gc=False, tag="day"):
    """
    What earlier runs of the day did, given before the first snapshot.

    `day` counts from 1970 in UTC, `base_usd` is the capital when it began, `pnl_usd` the profit
    since.
    """

    recv_ns: int
    day: int
    base_usd: float
    pnl_usd: float


class LedgerEnds(msgspec.Struct, frozen=True, gc=False, tag="ledger"):
    """
    What earlier runs have seen of our fills, given before the first snapshot.

    `venue_ms` is the venue's time of the last one; a fill of ours that the first snapshot tells of
    and that is later came while nobody looked.
    """

    recv_ns: int
    venue_ms: int


Event = (
    Bbo
    | Book
    | Trades
    | AssetCtx
    | ReferencePx
    | Fill
    | Funding
    | OrderUpdate
    | Acked
    | Rejected
    | OutcomeUnknown
    | OrderMissing
    | ClockStepped
    | LinkUp
    | LinkLost
    | Snapshot
    | RequestsLeft
    | Command
    | JournalLag
    | AccountRead
    | Measured
    | DayBegan
    | LedgerEnds
    | Listing
)
