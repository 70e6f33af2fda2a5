"""
The table of transitions, every cell of it, and what every event does to an order in every state.

Both expected tables are written by hand from what the venue does and what must never be believed of
it (protocol notes, gotchas 6 to 8, 23, 24, 28; Hyperliquid docs, "Exchange endpoint"). Neither is
read from the code, and a cell without an expectation fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from core.rig import PREFIX
from mmbot.core.events import (
    Acked,
    Event,
    Fill,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.orders import NEXT_STATE, News, Orders, Slot, SlotState
from mmbot.core.types import NS_PER_S, Fees, Side

LIVE = [state for state in SlotState if state is not SlotState.EMPTY]
LETTERS: Final = {
    "E": SlotState.EMPTY,
    "P": SlotState.PLACING,
    "W": SlotState.WORKING,
    "M": SlotState.MOVING,
    "C": SlotState.CANCELLING,
    "U": SlotState.UNKNOWN,
    "S": SlotState.SETTLING,
}

# A point: nothing changes, because the news answers a request that is not the one out, is older
# than what is known, or is half of a story whose other half decides.
TABLE: Final = """
                     P  W  M  C  U  S
    placed           W  .  .  .  W  .   an acknowledgement settles what it acknowledges
    moved            .  .  W  .  W  .
    cancelled        .  E  .  E  E  .   of a move only its own reply tells
    place_refused    E  .  .  E  E  .   what was seen to rest was not refused
    move_refused     .  .  W  .  W  .   the old leg is where it was
    cancel_refused   .  .  .  W  W  .
    gone             .  U  U  U  U  .   filled or cancelled, nobody knows which: ask
    place_unanswered U  .  .  .  .  .   no answer is no refusal
    move_unanswered  .  .  U  .  .  .
    cancel_unanswered .  .  .  U  .  .
    open_same        W  .  .  .  W  .   the old leg rests: that settles neither a move nor a cancel
    open_new         W  .  W  .  W  W   the new leg rests: that settles the move, not a cancel
    done_same        E  E  .  E  E  E   the end of the old leg is half of a move
    done_new         E  E  E  E  E  E
    owed_same        S  S  .  S  S  .   over, and its fills are still to come
    owed_new         S  S  S  S  S  .
    unreadable       U  U  .  .  .  .   where a verdict is on its way, it decides
    missing          .  .  .  .  E  .   only a question may be answered by "never heard of it"
    unseen           .  U  .  .  .  .   a reading lags; what is out has its own answer
    doubted          .  .  .  .  W  .
"""
PROVES_REST: Final = {"placed", "moved", "open_same", "open_new"}
"""News after which a reading begun earlier cannot call the order gone."""
END: Final = {
    "cancelled": "whole",
    "place_refused": "whole",
    "done_same": "leg",
    "done_new": "leg",
    "missing": "absent",
}
"""
How certain an end is: nothing of the cloid can rest any more; the leg is over, and a newer one may
rest; or the venue did not show it, and whatever it shows later is more certain.
"""

T = 1_700_000_000 * NS_PER_S
LOTS, MOVED_LOTS, OLD_OID, NEW_OID = 10, 8, 7, 9
PX, MOVED_PX = 261_750, 261_800


def _parse(table: str) -> dict[tuple[str, str], str]:
    """Cell by row and column; whatever follows the cells of a row is a remark."""
    head, *rows = table.strip("\n").splitlines()
    columns = head.split()
    cells: dict[tuple[str, str], str] = {}
    for row in rows:
        name, *rest = row.split()
        cells |= {(name, column): rest[i] for i, column in enumerate(columns)}
    return cells


CELLS: Final = _parse(TABLE)


def _expected(state: SlotState, news: News) -> SlotState:
    (letter,) = [one for one, found in LETTERS.items() if found is state]
    cell = CELLS[news.value, letter]
    return state if cell == "." else LETTERS[cell]


def _open(oid: int, at_ns: int, rest: int = LOTS) -> OrderUpdate:
    cloid = PREFIX << 64 | 1
    return OrderUpdate(
        at_ns, 0, oid, cloid, Side.BUY, PX, rest, LOTS, OrderState.OPEN, OrderState.OPEN.value
    )


def _reading(began_ns: int, recv_ns: int, *orders: OrderUpdate) -> Snapshot:
    return Snapshot(
        recv_ns=recv_ns,
        requested_at_ns=began_ns,
        venue_ms=0,
        position_lots=0,
        entry_px=None,
        equity_usd=1000.0,
        mark_px=26.175,
        fees=Fees(1.5, 4.5),
        open_orders=orders,
        fills=(),
        requests_used=0,
        requests_cap=10_000,
    )


def test_the_tables_cover_all_live_states_and_all_news_and_nothing_else() -> None:
    """A new state or a new kind of news must be thought through before anything passes."""
    assert set(NEXT_STATE) == set(itertools.product(LIVE, News))
    names = {letter for letter, state in LETTERS.items() if state in LIVE}
    assert set(CELLS) == set(itertools.product((news.value for news in News), names))
    assert {LETTERS[cell] for cell in CELLS.values() if cell != "."} <= set(SlotState)
    ending = {name for (name, _), cell in CELLS.items() if cell == "E"}
    assert ending == set(END)


@pytest.mark.parametrize(("state", "news"), list(NEXT_STATE))
def test_every_cell_of_the_table_leads_where_the_venue_left_the_order(
    state: SlotState, news: News
) -> None:
    """Next state, and what else it means: a question, a proof, how certain the end is."""
    orders = Orders(PREFIX)
    cloid = orders.new_cloid()
    slot = Slot(cloid, Side.BUY, PX, LOTS, state, T, oid=OLD_OID, queried_ns=T, seen_ns=T)
    slot.cause = Request.CANCEL if state is SlotState.CANCELLING else Request.PLACE
    orders.slots[cloid] = slot
    orders.version += 1
    expected = _expected(state, news)
    now_ns = T + NS_PER_S

    orders._step(slot, news, now_ns)

    assert NEXT_STATE[state, news] is expected
    if expected is SlotState.EMPTY:
        assert cloid not in orders.slots
        assert orders.gone_at_ns(cloid) == now_ns
        for oid, ends in ((OLD_OID, {"absent"}), (NEW_OID, {"absent", "leg"})):
            again = msgspec.convert(msgspec.to_builtins(slot), Slot)
            copy = Orders(PREFIX)
            copy.slots[cloid] = again
            again.state = state
            copy._step(again, news, now_ns)
            copy.on_update(_open(oid, now_ns + 1))
            assert (cloid in copy.slots) is (END[news.value] in ends)
        return
    assert orders.slots[cloid].state is expected
    assert orders.gone_at_ns(cloid) is None
    assert orders.exposure_lots(Side.BUY) == LOTS
    # A state entered by doubt is asked about at once, another not at all.
    is_asked = expected is SlotState.UNKNOWN and state is not SlotState.UNKNOWN
    assert bool(orders.queries(now_ns)) is is_asked
    is_proven = news.value in PROVES_REST or (
        expected is SlotState.SETTLING and state is not SlotState.SETTLING
    )
    assert slot.seen_ns == (now_ns if is_proven else T)


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("news", list(News))
def test_no_news_starts_a_request_and_doubt_never_ends_an_order(
    state: SlotState, news: News
) -> None:
    """Only we start a placement, a move or a cancel; what is open, owed or unanswered lives."""
    after = NEXT_STATE[state, news]
    if after is not state:
        assert after not in (SlotState.PLACING, SlotState.MOVING, SlotState.CANCELLING)
    if news.value.startswith(("open", "owed")) or news.value.endswith("unanswered"):
        assert after is not SlotState.EMPTY


# -- every event in every state ---------------------------------------------------------------

# Each column is an order of 10 lots as it stands after one second, oid 7 where the venue has named
# one; a move is to 8 lots, and would get oid 9. Nothing has expired yet.
#
#     E   ended by an acknowledged cancel, so long ago that no fill can be on its way
#     P   placed                        Up  the same, unanswered
#     W   resting
#     M   being moved                   Um  the same, unanswered
#     C   being cancelled               Uc  the same, unanswered
#     S   reported filled, its fills have not come
#
# Each cell is the state after the event, and the lots that may still be bought: what rests, what
# may come of a move, and fills of ended legs that may be on their way.
EVENTS: Final = """
                    E    P    W    M    C    Up   Um   Uc   S
    ack_placed_7    E0   W10  W10  M18  C10  W10  U18  U10  S10
    ack_filled_7    E0   S10  W10  M18  C10  S10  U18  U10  S10  its fills tell how much
    ack_moved_9     E0   P10  W10  W18  C10  U10  W18  U10  S10  old fills may be on their way
    ack_cancelled   E0   P10  W10  M18  E10  U10  U18  E10  S10
    no_place        E0   E0   W10  M18  C10  E0   U18  U10  S10
    no_move         E0   P10  W10  W10  C10  U10  W10  U10  S10
    no_move_gone    E0   P10  W10  U10  C10  U10  U10  U10  S10
    no_cancel       E0   P10  W10  M18  W10  U10  U18  W10  S10
    no_cancel_gone  E0   P10  W10  M18  U10  U10  U18  U10  S10
    silence_place   E0   U10  W10  M18  C10  U10  U18  U10  S10
    silence_move    E0   P10  W10  U18  C10  U10  U18  U10  S10
    silence_cancel  E0   P10  W10  M18  U10  U10  U18  U10  S10
    missing         E0   P10  W10  M18  C10  E10  E18  E10  S10
    open_7          E0   W10  W10  M18  C10  W10  U18  W10  S10
    open_9          E0   W8   W18  W18  C18  W8   W18  U18  W18
    filled_7        E0   S10  S10  M18  S10  S10  U18  S10  S10
    canceled_7      E0   E0   E0   M8   E0   E0   U8   E0   E0   nothing of it was executed
    canceled_7_of_6 E0   S6   S6   M14  S6   S6   U14  S6   S6
    canceled_7_bare E0   E10  E10  M18  E10  E10  U18  E10  E10  does not say what was executed
    rejected_7      E0   E0   E0   M8   E0   E0   U8   E0   E0
    rejected_9      E0   E0   W10  M18  C10  E0   U18  W10  S10  says nothing of the old leg
    unreadable_7    E0   U10  U10  M18  C10  U10  U18  U10  S10
    open_5          E0   W10  W10  M18  C10  W10  U18  U10  S10  older than what is known
    canceled_5      E0   E0   W10  M18  C10  E0   U18  U10  S10
    fill_4_of_7     E0   W6   W6   M14  C6   W6   U14  U6   S6
    fill_10_of_7    E0   E0   E0   M8   E0   E0   U8   E0   E0
    fill_8_of_9     E0   W2   W12  E10  C12  W2   E10  U12  W12
    fill_4_of_5     E0   W6   W10  M18  C10  W6   U18  U10  S10
    read_without    E0   P10  E10  M18  E10  U10  U18  E10  E10  a reading may lag behind a fill
    read_with       W10  W10  W10  M18  C10  W10  U18  W10  S10  rests after all: to be cancelled
    read_with_6     W6   W10  W10  M18  C10  W10  U18  W10  S10  four fills may be on their way
"""
EVENT_CELLS: Final = _parse(EVENTS)
COLUMNS: Final = ("E", "P", "W", "M", "C", "Up", "Um", "Uc", "S")
NOW_NS: Final = T + 3 * NS_PER_S


def _of(column: str) -> tuple[Orders, int]:
    """An order as the head of the table names it, and its cloid; sent at `T`."""
    orders = Orders(PREFIX)
    cloid = orders.new_cloid()
    orders.sent((), (), (Place(cloid, Side.BUY, PX, LOTS),), T)
    if column in ("P", "Up"):
        if column == "Up":
            orders.on_unanswered(OutcomeUnknown(T, Request.PLACE, cloid, "timed out"))
        return orders, cloid
    orders.on_acked(Acked(T, Request.PLACE, cloid, OLD_OID))
    if column in ("M", "Um"):
        orders.sent((), (Move(cloid, Side.BUY, MOVED_PX, MOVED_LOTS),), (), T)
    elif column in ("C", "Uc", "E"):
        orders.sent((Cancel(cloid),), (), (), T)
    if column == "Um":
        orders.on_unanswered(OutcomeUnknown(T, Request.MOVE, cloid, "timed out"))
    elif column == "Uc":
        orders.on_unanswered(OutcomeUnknown(T, Request.CANCEL, cloid, "timed out"))
    elif column == "E":
        orders.on_acked(Acked(T, Request.CANCEL, cloid))
    elif column == "S":
        orders.on_update(_report(cloid, OrderState.FILLED, OLD_OID, T, rest=0))
    return orders, cloid


def _report(
    cloid: int, state: OrderState, oid: int, at_ns: int = NOW_NS, *, rest: int = LOTS
) -> OrderUpdate:
    orig, px = (MOVED_LOTS, MOVED_PX) if oid == NEW_OID else (LOTS, PX)
    return OrderUpdate(
        at_ns, 0, oid, cloid, Side.BUY, px, min(rest, orig), orig, state, state.value
    )


def _event(name: str, cloid: int) -> Event:
    """The event of a row."""
    kind, *words = name.split("_")
    match kind:
        case "ack":
            request = {"placed": Request.PLACE, "filled": Request.PLACE, "moved": Request.MOVE}
            oid = int(words[1]) if len(words) > 1 else None
            return Acked(
                NOW_NS, request.get(words[0], Request.CANCEL), cloid, oid, words[0] == "filled"
            )
        case "no":
            plain = Rejection.POST_ONLY if words[0] != "cancel" else Rejection.BUDGET
            reason = Rejection.GONE if words[-1] == "gone" else plain
            return Rejected(NOW_NS, Request(words[0]), cloid, reason, "no")
        case "silence":
            return OutcomeUnknown(NOW_NS, Request(words[0]), cloid, "timed out")
        case "missing":
            return OrderMissing(NOW_NS, cloid)
        case "fill":
            lots, oid = int(words[0]), int(words[2])
            return Fill(NOW_NS, 0, 1, oid, cloid, Side.BUY, PX, lots, 0, 0, 0, is_taker=False)
        case "read":
            rest = int(words[1]) if len(words) > 1 else LOTS
            shown = [_report(cloid, OrderState.OPEN, OLD_OID, rest=rest)]
            began_ns = NOW_NS - NS_PER_S // 10
            return _reading(began_ns, NOW_NS, *(shown if words[0] == "with" else []))
        case _:
            state = OrderState.UNKNOWN if kind == "unreadable" else OrderState(kind)
            rest = 0 if state is OrderState.FILLED or words[-1] == "bare" else LOTS
            if len(words) == 3:
                rest = LOTS - int(words[2])
            return _report(cloid, state, int(words[0]), rest=rest)


def _apply(orders: Orders, event: Event) -> None:
    handlers: dict[type, Callable[..., object]] = {
        Acked: orders.on_acked,
        Rejected: orders.on_rejected,
        OutcomeUnknown: orders.on_unanswered,
        OrderMissing: orders.on_missing,
        OrderUpdate: orders.on_update,
        Fill: orders.on_fill,
        Snapshot: orders.on_snapshot,
    }
    handlers[type(event)](event)


def _cell(orders: Orders, cloid: int) -> str:
    """State and lots as the table writes them."""
    slot = orders.slots.get(cloid)
    state = SlotState.EMPTY if slot is None else slot.state
    (letter,) = [one for one, found in LETTERS.items() if found is state]
    return f"{letter}{orders.worst_lots(Side.BUY)}"


def test_the_expected_events_cover_every_class_the_order_table_takes() -> None:
    """Every outcome of every request, every state of a report, fills, absence and readings."""
    rows = {row for row, _ in EVENT_CELLS}
    assert {column for _, column in EVENT_CELLS} == set(COLUMNS)
    events = [_event(row, 1) for row in rows]
    for kind, requests in ((Acked, Request), (Rejected, Request), (OutcomeUnknown, Request)):
        assert {one.request for one in events if isinstance(one, kind)} == set(requests)
    reported = {one.state for one in events if isinstance(one, OrderUpdate)}
    assert reported == set(OrderState)
    assert {type(one) for one in events} >= {Fill, OrderMissing, Snapshot}
    started = {_cell(*_of(column))[0] for column in COLUMNS}
    assert started == set(LETTERS)


@pytest.mark.parametrize(("row", "column"), list(EVENT_CELLS))
def test_every_event_in_every_state_leaves_what_may_still_be_bought(row: str, column: str) -> None:
    """Early, late, contradictory or doubled: the state and the worst case are these."""
    orders, cloid = _of(column)
    orders.queries(NOW_NS)

    _apply(orders, _event(row, cloid))

    assert _cell(orders, cloid) == EVENT_CELLS[row, column]


TWICE: Final = {("open_9", "Uc"): "W18"}
"""The first may be older than the cancel; the second says that what it told of rests after all."""


@pytest.mark.parametrize(("row", "column"), list(EVENT_CELLS))
def test_the_same_news_twice_changes_nothing_more(row: str, column: str) -> None:
    """Streams repeat after a reconnection. Fills are told apart by their identity before this."""
    if row.startswith("fill"):
        return
    orders, cloid = _of(column)
    orders.queries(NOW_NS)
    for _ in range(2):
        _apply(orders, _event(row, cloid))

    assert _cell(orders, cloid) == TWICE.get((row, column), EVENT_CELLS[row, column])
