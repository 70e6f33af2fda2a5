"""
What a journal holds: one kind of record for each input of the engine, and for what it answered.

A record is a kind and a msgpack payload. The inputs of the engine are its events as they are, and
the times at which it was asked to decide; its outputs are one `Output` for each decision. The raw
messages stand beside the events that were made of them: a replay of the engine needs the events
alone, a different market or a mended decoder needs the messages.

The numbers of the kinds are part of the format: one is never given to something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

from mmbot.core.engine import Decision
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import (
    AccountRead,
    Acked,
    AssetCtx,
    Bbo,
    Book,
    ClockStepped,
    Command,
    DayBegan,
    Event,
    Fill,
    Funding,
    JournalLag,
    LedgerEnds,
    LinkLost,
    LinkUp,
    Listing,
    Measured,
    OrderMissing,
    OrderUpdate,
    OutcomeUnknown,
    ReferencePx,
    Rejected,
    RequestsLeft,
    Snapshot,
    Trades,
)
from mmbot.core.types import Instrument
from mmbot.errors import MmbotError

_CLOID_BYTES: Final = 16


class JournalError(MmbotError):
    """A journal cannot be used for what was asked; the message says why."""


class Kind(IntEnum):
    """What a record is."""

    BUILD = 1
    STARTED = 2
    RESTORED = 3
    READ = 4
    DECIDE = 5
    OUTPUT = 6
    JUDGED = 7
    BROKE = 8
    ENDED = 9
    LOST = 10
    RECONFIGURED = 11
    BBO = 32
    BOOK = 33
    TRADES = 34
    CTX = 35
    REFERENCE = 36
    FILL = 37
    FUNDING = 38
    ORDER = 39
    ACKED = 40
    REJECTED = 41
    UNANSWERED = 42
    MISSING = 43
    CLOCK = 44
    LINK_UP = 45
    LINK_LOST = 46
    SNAPSHOT = 47
    REQUESTS = 48
    COMMAND = 49
    LAG = 50
    ACCOUNT = 51
    MEASURED = 52
    DAY = 53
    LISTING = 54
    LEDGER = 55


EVENT_KINDS: Final[Mapping[type, Kind]] = {
    Bbo: Kind.BBO,
    Book: Kind.BOOK,
    Trades: Kind.TRADES,
    AssetCtx: Kind.CTX,
    ReferencePx: Kind.REFERENCE,
    Fill: Kind.FILL,
    Funding: Kind.FUNDING,
    OrderUpdate: Kind.ORDER,
    Acked: Kind.ACKED,
    Rejected: Kind.REJECTED,
    OutcomeUnknown: Kind.UNANSWERED,
    OrderMissing: Kind.MISSING,
    ClockStepped: Kind.CLOCK,
    LinkUp: Kind.LINK_UP,
    LinkLost: Kind.LINK_LOST,
    Snapshot: Kind.SNAPSHOT,
    RequestsLeft: Kind.REQUESTS,
    Command: Kind.COMMAND,
    JournalLag: Kind.LAG,
    AccountRead: Kind.ACCOUNT,
    Measured: Kind.MEASURED,
    DayBegan: Kind.DAY,
    Listing: Kind.LISTING,
    LedgerEnds: Kind.LEDGER,
}


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """
    The program that wrote the journal.

    `commit` is None where it runs from no repository; `core` is a digest of the source of all that
    decides, which also tells two states between commits apart.
    """

    version: str
    commit: str | None
    core: str
    python: str
    platform: str


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """
    The beginning of a run: everything the engine was made of.

    Attributes:
        at_ns: Our clock.
        config: The effective configuration. It names where a key is; no key is ever in it.
        params: Parameters of the engine, as its constructor took them.
        instrument: The perp, as the venue listed it.
        cloid_prefix: High 64 bits of every cloid of the run.
        settle_ns: How long the table of orders waits for what a sent order became.
        own_in_book: Whether the book contains our orders.
        ablate: Terms that were left out.
    """

    at_ns: int
    config: dict[str, Any]
    params: dict[str, Any]
    instrument: Instrument
    cloid_prefix: int
    settle_ns: int
    own_in_book: bool = True
    ablate: tuple[str, ...] = ()


class Restored(msgspec.Struct, frozen=True):
    """The engine was given what an earlier run remembered."""

    now_ns: int
    memory: CascadeMemory


class Reconfigured(msgspec.Struct, frozen=True):
    """The engine was given other parameters between two decisions: a reload of the file."""

    now_ns: int
    params: dict[str, Any]


class Read(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The messages of one read of the socket, with the time of the read."""

    recv_ns: int
    frames: tuple[bytes, ...]


class Judged(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The vitals looked at a decision, counted from 0."""

    decision: int


class Broke(msgspec.Struct, frozen=True):
    """The engine raised at the input before; it was not asked again by the run."""

    error: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The last record of a journal that was closed. `lag_ms_max` is the writer's worst."""

    at_ns: int
    reason: str
    exit_code: int
    lag_ms_max: float = 0.0


class Lost(msgspec.Struct, frozen=True):
    """So many records are missing here; a replay can go no further."""

    records: int
    why: str


class Output(msgspec.Struct, frozen=True, array_like=True):
    """
    One decision: what was sent and told, and enough of what it came from to tell a difference.

    Orders are rows of the numbers and words of `Place`, `Move` and `Cancel`. `figures` are requests
    left, mid (ticks), half spread and shift (bps); None where no record was kept of the decision.
    """

    mode: str
    reasons: tuple[str, ...]
    cancels: tuple[Any, ...]
    moves: tuple[Any, ...]
    places: tuple[Any, ...]
    notes: tuple[Any, ...]
    queries: tuple[Any, ...]
    kill: str | None
    relink: str | None
    wake_ns: int | None
    fair_ticks: float | None
    position_lots: int
    equity_usd: float
    figures: tuple[float | None, ...] | None


RECORD_KINDS: Final[Mapping[type, Kind]] = {
    Build: Kind.BUILD,
    Started: Kind.STARTED,
    Restored: Kind.RESTORED,
    Read: Kind.READ,
    Judged: Kind.JUDGED,
    Broke: Kind.BROKE,
    Ended: Kind.ENDED,
    Lost: Kind.LOST,
    Reconfigured: Kind.RECONFIGURED,
}

Record = Build | Started | Restored | Reconfigured | Read | Judged | Broke | Ended | Lost
Outcome = tuple[Decision, int | None, float | None, int, float]
"""
A decision, and of the engine as it left it: when it wants to be asked again (ns), the fair price
(ticks, None without one), position (lots) and equity (USD).
"""
Item = Record | Event | int | Outcome
"""What is put into a journal; an int is the time of a decision."""

_pack = msgspec.msgpack.Encoder().encode
_KINDS: Final[dict[type, Kind]] = {**EVENT_KINDS, **RECORD_KINDS}
_TYPES: Final[dict[int, type]] = {kind: cls for cls, kind in _KINDS.items()}


def _cloid_bytes(cloid: int | None) -> bytes | None:
    """A number of 128 bits has no place in msgpack."""
    return None if cloid is None else cloid.to_bytes(_CLOID_BYTES, "big")


def _with_bytes(event: Any) -> Any:
    return msgspec.structs.replace(event, cloid=_cloid_bytes(event.cloid))


def _snapshot_with_bytes(event: Snapshot) -> Snapshot:
    return msgspec.structs.replace(
        event,
        open_orders=tuple(_with_bytes(order) for order in event.open_orders),
        fills=tuple(_with_bytes(fill) for fill in event.fills),
    )


_TO_BYTES: Final[dict[type, Callable[[Any], Any]]] = {
    Snapshot: _snapshot_with_bytes,
    **dict.fromkeys(
        (Fill, OrderUpdate, Acked, Rejected, OutcomeUnknown, OrderMissing), _with_bytes
    ),
}
_HAVE_CLOIDS: Final = frozenset(_KINDS[cls] for cls in _TO_BYTES)


def encode(item: Item) -> tuple[int, bytes]:
    """Kind and payload of what is put into a journal."""
    if type(item) is int:
        return Kind.DECIDE, _pack(item)
    if type(item) is tuple:
        return Kind.OUTPUT, encode_output(item)
    cls = type(item)
    convert = _TO_BYTES.get(cls)
    return _KINDS[cls], _pack(item if convert is None else convert(item))


def encode_output(outcome: Outcome) -> bytes:
    """
    Payload of a decision; the same decision always gives the same bytes.

    That is what a replay compares, so nothing of it may depend on the process it is made in.
    """
    record = _output(outcome)
    try:
        return _pack(record)
    except OverflowError:
        # A note may show a number of more than 64 bits.
        notes = tuple(_spelt(note) for note in record.notes)
        return _pack(msgspec.structs.replace(record, notes=notes))


def _spelt(note: tuple[str, str, dict[str, Any]]) -> tuple[str, str, dict[str, Any]]:
    event, level, facts = note
    return event, level, {k: str(v) if type(v) is int else v for k, v in facts.items()}


def _output(outcome: Outcome) -> Output:
    decision, wake_ns, fair_ticks, position_lots, equity_usd = outcome
    batch, capture, kill = decision.batch, decision.capture, decision.kill
    figures: tuple[float | None, ...] | None = None
    if capture is not None:
        quote = capture.view.quote
        figures = (capture.requests_left, capture.mid_ticks, quote.half_bps, quote.shift_bps)
    return Output(
        mode=decision.status.mode.value,
        reasons=decision.status.reasons,
        cancels=() if batch is None else tuple(_cloid_bytes(it.cloid) for it in batch.cancels),
        moves=() if batch is None else tuple(_order(it) for it in batch.moves),
        places=() if batch is None else tuple((*_order(it), it.tif.value) for it in batch.places),
        notes=tuple((note.event, note.level, note.facts) for note in decision.notes),
        queries=tuple(_cloid_bytes(query.cloid) for query in decision.queries),
        kill=None if kill is None else kill.text,
        relink=decision.relink,
        wake_ns=wake_ns,
        fair_ticks=fair_ticks,
        position_lots=position_lots,
        equity_usd=equity_usd,
        figures=figures,
    )


def _order(it: Any) -> tuple[bytes | None, int, int, int, bool]:
    return _cloid_bytes(it.cloid), int(it.side), it.px_ticks, it.sz_lots, it.is_reduce_only


# -- back again -------------------------------------------------------------------------------

_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    **{
        kind: msgspec.msgpack.Decoder(cls)
        for kind, cls in _TYPES.items()
        if kind not in _HAVE_CLOIDS
    },
    Kind.DECIDE: msgspec.msgpack.Decoder(int),
    Kind.OUTPUT: msgspec.msgpack.Decoder(Output),
}
_unpack: Final = msgspec.msgpack.Decoder().decode


def decode(kind: int, payload: bytes) -> Record | Event | int | Output:
    """
    The record of a payload, as it was put in.

    Raises:
        JournalError: Not of this format: written by a later version, or by something else.
    """
    try:
        if kind in _HAVE_CLOIDS:
            tree = _unpack(payload)
            rows = (*tree["open_orders"], *tree["fills"]) if kind == Kind.SNAPSHOT else (tree,)
            for row in rows:
                if row["cloid"] is not None:
                    row["cloid"] = int.from_bytes(row["cloid"], "big")
            event: Event = msgspec.convert(tree, _TYPES[kind])
            return event
        found: Record | Event | int | Output = _DECODERS[kind].decode(payload)
    except KeyError as error:
        raise JournalError(f"a record of kind {kind} is not known here ({error})") from None
    except (msgspec.MsgspecError, TypeError) as error:
        raise JournalError(f"a record of kind {kind} cannot be read: {error}") from None
    return found


def is_event(kind: int) -> bool:
    """Whether a record of this kind is an event of the engine."""
    return kind >= Kind.BBO
