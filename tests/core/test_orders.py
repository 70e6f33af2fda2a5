"""The order table: every race, and what still counts."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from core.rig import PREFIX
from mmbot.core.events import (
    Acked,
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
from mmbot.core.orders import REQUERY_NS, SETTLE_NS, Orders
from mmbot.core.slots import SlotState
from mmbot.core.types import NS_PER_S, Fees, Side

T = 1_700_000_000 * NS_PER_S


class Table:
    """An order table with one bid in it."""

    def __init__(self, sz_lots: int = 50) -> None:
        self.orders = Orders(PREFIX)
        self.cloid = self.orders.new_cloid()
        self.sz_lots = sz_lots
        place = Place(self.cloid, Side.BUY, 261_750, sz_lots)
        self.orders.sent((), (), (place,), T)
        self.tid = 0

    @property
    def exposure(self) -> int:
        return self.orders.exposure_lots(Side.BUY)

    def acked(self, request: Request, oid: int | None = None, *, is_filled: bool = False) -> None:
        self.orders.on_acked(Acked(T, request, self.cloid, oid, is_filled))

    def rejected(self, request: Request, reason: Rejection = Rejection.POST_ONLY) -> None:
        self.orders.on_rejected(Rejected(T, request, self.cloid, reason, "no"))

    def unanswered(self, request: Request) -> None:
        self.orders.on_unanswered(OutcomeUnknown(T, request, self.cloid, "timed out"))

    def update(
        self,
        state: OrderState,
        oid: int,
        *,
        rest: int | None = None,
        at: int = T,
        px: int = 261_750,
        orig: int | None = None,
    ) -> None:
        orig = self.sz_lots if orig is None else orig
        rest = (0 if state is OrderState.FILLED else orig) if rest is None else rest
        self.orders.on_update(
            OrderUpdate(at, 0, oid, self.cloid, Side.BUY, px, rest, orig, state, state.value)
        )

    def fill(self, lots: int, oid: int) -> None:
        self.tid += 1
        self.orders.on_fill(
            Fill(T, 0, self.tid, oid, None, Side.BUY, 261_750, lots, 0, 0, 0, is_taker=False)
            if self.orders._departed.cloid_of(oid) is not None
            else Fill(
                T, 0, self.tid, oid, self.cloid, Side.BUY, 261_750, lots, 0, 0, 0, is_taker=False
            )
        )

    def working(self, oid: int = 10) -> Table:
        self.acked(Request.PLACE, oid)
        assert state_of(self) is SlotState.WORKING
        return self

    def moving(self, px: int = 261_800, lots: int = 50) -> Table:
        self.orders.sent((), (Move(self.cloid, Side.BUY, px, lots),), (), T)
        return self

    def cancelling(self) -> Table:
        self.orders.sent((Cancel(self.cloid),), (), (), T)
        return self


def state_of(table: Table) -> SlotState:
    """A function, so that an assertion on it is not taken for a lasting fact."""
    slot = table.orders.slots.get(table.cloid)
    return SlotState.EMPTY if slot is None else slot.state


def test_an_order_counts_from_the_moment_it_is_sent() -> None:
    """The venue may fill it before it has answered."""
    assert Table().exposure == 50


def test_fills_before_the_acknowledgement_count_once() -> None:
    """Fill, then open, then ack, then the rest: no size appears twice, none is forgotten."""
    it = Table()
    it.fill(20, 10)
    assert state_of(it) is SlotState.WORKING
    assert it.exposure == 30
    it.update(OrderState.OPEN, 10, rest=30)
    it.acked(Request.PLACE, 10)
    assert it.exposure == 30
    it.fill(30, 10)
    assert state_of(it) is SlotState.EMPTY
    it.acked(Request.PLACE, 10)
    it.update(OrderState.OPEN, 10, rest=30)
    assert state_of(it) is SlotState.EMPTY
    assert it.exposure == 0


def test_an_order_reported_filled_counts_until_its_fills_have_come() -> None:
    """The position has not moved yet, so the exposure has not gone."""
    it = Table().working()
    it.update(OrderState.FILLED, 10)
    assert state_of(it) is SlotState.SETTLING
    assert it.exposure == 50
    it.fill(20, 10)
    assert it.exposure == 30
    it.fill(30, 10)
    assert state_of(it) is SlotState.EMPTY


def test_an_acknowledgement_of_filled_says_nothing_of_the_amount() -> None:
    """The whole order stays exposure until the fills add up."""
    it = Table()
    it.acked(Request.PLACE, 10, is_filled=True)
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 50)
    it.fill(50, 10)
    assert state_of(it) is SlotState.EMPTY


def test_a_cancelled_order_keeps_the_part_whose_fills_are_outstanding() -> None:
    """Cancelled with 30 left of 50: twenty lots were filled and may still be on their way."""
    it = Table().working()
    it.update(OrderState.CANCELED, 10, rest=30)
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 20)
    it.fill(20, 10)
    assert state_of(it) is SlotState.EMPTY
    whole = Table().working()
    whole.update(OrderState.CANCELED, 10)
    assert state_of(whole) is SlotState.EMPTY


@pytest.mark.parametrize("order", list(itertools.permutations(["ack", "old", "new"])))
def test_the_reports_of_a_move_settle_it_in_any_order(order: tuple[str, ...]) -> None:
    """New oid, same cloid; the old leg's end is not the order's end."""
    it = Table().working(10).moving(261_800, 60)
    assert it.exposure == 60
    assert it.orders.worst_lots(Side.BUY) == 110
    for what in order:
        if what == "ack":
            it.acked(Request.MOVE, 11)
        elif what == "old":
            it.update(OrderState.CANCELED, 10)
        else:
            it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.oid, slot.px_ticks, slot.rest_lots) == (
        SlotState.WORKING,
        11,
        261_800,
        60,
    )
    assert it.orders.worst_lots(Side.BUY) == 60


def test_a_fill_of_the_old_leg_during_a_move_leaves_the_new_one_counted() -> None:
    """The old leg may fill in part just before the new one rests whole."""
    it = Table().working(10).moving()
    it.fill(49, 10)
    assert it.exposure == 50
    it.acked(Request.MOVE, 11)
    assert it.exposure == 50


def test_a_move_that_lost_the_race_against_a_fill_ends_the_order() -> None:
    """Filled whole, so the modify is refused: nothing is left, and nothing is asked."""
    it = Table().working(10).moving()
    it.fill(50, 10)
    assert state_of(it) is SlotState.MOVING
    it.rejected(Request.MOVE, Rejection.GONE)
    assert state_of(it) is SlotState.EMPTY


def test_a_refused_move_whose_order_is_gone_asks_what_became_of_it() -> None:
    """Filled or cancelled is not known: it counts, and the answer decides."""
    it = Table().working(10).moving()
    it.rejected(Request.MOVE, Rejection.GONE)
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 50)
    assert [query.cloid for query in it.orders.queries(T)] == [it.cloid]
    it.update(OrderState.FILLED, 10)
    assert state_of(it) is SlotState.SETTLING
    it.fill(50, 10)
    assert state_of(it) is SlotState.EMPTY


def test_a_move_refused_by_the_matching_leaves_an_order_to_be_cancelled() -> None:
    """Whether the old leg survived is not documented; one cancel settles it either way."""
    it = Table().working(10).moving()
    it.rejected(Request.MOVE, Rejection.POST_ONLY)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.px_ticks, slot.is_suspect) == (SlotState.WORKING, 261_750, True)
    budget = Table().working(10).moving()
    budget.rejected(Request.MOVE, Rejection.BUDGET)
    assert not budget.orders.slots[budget.cloid].is_suspect


def test_a_move_refused_after_its_old_leg_ended_ends_the_order() -> None:
    """Both legs are accounted for."""
    it = Table().working(10).moving()
    it.update(OrderState.CANCELED, 10)
    assert state_of(it) is SlotState.MOVING
    it.rejected(Request.MOVE, Rejection.POST_ONLY)
    assert state_of(it) is SlotState.EMPTY


def test_a_filled_old_leg_whose_fills_are_late_still_counts_after_the_refusal() -> None:
    """The modify was refused because it filled; the fills are on their way."""
    it = Table().working(10).moving()
    it.update(OrderState.FILLED, 10)
    it.rejected(Request.MOVE, Rejection.GONE)
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 50)


@pytest.mark.parametrize("request_", list(Request))
def test_no_verdict_is_not_a_rejection(request_: Request) -> None:
    """It counts as live, is asked for at once and again every five seconds."""
    it = Table()
    if request_ is not Request.PLACE:
        it.working()
        it = it.moving() if request_ is Request.MOVE else it.cancelling()
    it.unanswered(request_)
    assert state_of(it) is SlotState.UNKNOWN
    assert it.exposure == 50
    assert len(it.orders.queries(T)) == 1
    assert it.orders.query_at_ns() == T + REQUERY_NS
    assert it.orders.queries(T + REQUERY_NS - 1) == ()
    assert len(it.orders.queries(T + REQUERY_NS)) == 1


def test_an_unanswered_placement_is_settled_by_report_absence_or_fill() -> None:
    """Open: it works. Never heard of: it never was. Filled: it is gone."""
    for settle, state in (
        (lambda it: it.update(OrderState.OPEN, 10), SlotState.WORKING),
        (lambda it: it.orders.on_missing(OrderMissing(T, it.cloid)), SlotState.EMPTY),
        (lambda it: it.fill(50, 10), SlotState.EMPTY),
        (lambda it: it.update(OrderState.REJECTED, 10, rest=50), SlotState.EMPTY),
        (lambda it: it.acked(Request.PLACE, 10), SlotState.WORKING),
    ):
        it = Table()
        it.unanswered(Request.PLACE)
        settle(it)  # type: ignore[no-untyped-call]
        assert state_of(it) is state


def test_an_order_that_turns_up_after_it_was_written_off_is_taken_back_to_be_cancelled() -> None:
    """What rests is more certain than what was concluded."""
    it = Table()
    it.unanswered(Request.PLACE)
    it.orders.on_missing(OrderMissing(T, it.cloid))
    it.update(OrderState.OPEN, 10)
    slot = it.orders.slots[it.cloid]
    assert slot.is_suspect
    assert it.exposure == 50
    assert [note.event for note in it.orders.notes] == ["order.revived"]


def test_an_order_seen_to_end_is_not_brought_back_by_a_late_report() -> None:
    """Otherwise a delayed `open` would block the side for ever."""
    it = Table().working().cancelling()
    it.acked(Request.CANCEL)
    it.update(OrderState.OPEN, 10)
    assert state_of(it) is SlotState.EMPTY


def test_an_unanswered_move_waits_for_the_new_leg_before_it_believes_in_the_end() -> None:
    """Cancelled may be the old leg's half of the modify; after the expiry it is the truth."""
    it = Table().working(10).moving()
    it.unanswered(Request.MOVE)
    it.update(OrderState.CANCELED, 10)
    assert state_of(it) is SlotState.UNKNOWN
    assert it.exposure == 50
    it.update(OrderState.OPEN, 11, px=261_800)
    assert state_of(it) is SlotState.WORKING
    late = Table().working(10).moving()
    late.unanswered(Request.MOVE)
    late.update(OrderState.CANCELED, 10, at=T + SETTLE_NS)
    assert state_of(late) is SlotState.EMPTY


def test_an_unanswered_move_that_lands_late_takes_over() -> None:
    """Reported open at the old price first, then the new leg appears."""
    it = Table().working(10).moving(261_800, 40)
    it.unanswered(Request.MOVE)
    it.update(OrderState.OPEN, 10)
    assert it.exposure == 50
    it.update(OrderState.OPEN, 11, px=261_800, orig=40)
    slot = it.orders.slots[it.cloid]
    assert (slot.px_ticks, slot.rest_lots, slot.oid) == (261_800, 40, 11)


def test_a_cancel_that_finds_nothing_asks_and_a_refused_one_is_tried_again_later() -> None:
    """Gone is filled or cancelled; any other refusal leaves the order resting."""
    it = Table().working().cancelling()
    it.rejected(Request.CANCEL, Rejection.GONE)
    assert state_of(it) is SlotState.UNKNOWN
    it.update(OrderState.CANCELED, 10)
    assert state_of(it) is SlotState.EMPTY
    busy = Table().working().cancelling()
    busy.rejected(Request.CANCEL, Rejection.BUDGET)
    slot = busy.orders.slots[busy.cloid]
    assert slot.state is SlotState.WORKING
    assert slot.retry_ns == T + NS_PER_S


def test_reports_older_than_the_leg_we_know_are_ignored() -> None:
    """Oids grow: the end of an earlier leg says nothing about this one."""
    it = Table().working(10).moving()
    it.acked(Request.MOVE, 11)
    it.update(OrderState.CANCELED, 10)
    it.update(OrderState.FILLED, 10)
    it.fill(5, 10)
    assert (state_of(it), it.exposure) == (SlotState.WORKING, 50)


def test_an_unreadable_status_counts_as_live_and_is_asked_about() -> None:
    """The venue may add a word; it must not free the budget."""
    it = Table().working()
    it.update(OrderState.UNKNOWN, 10)
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 50)


# -- snapshots ------------------------------------------------------------------------------------


def snapshot(*orders: OrderUpdate, since: int = T + 60 * NS_PER_S) -> Snapshot:
    return Snapshot(
        since + 1, since, 0, 0, None, 100.0, 26.2, Fees(1.5, 4.5), orders, (), 0, 10_000
    )


def report(cloid: int | None, oid: int, *, rest: int = 50) -> OrderUpdate:
    return OrderUpdate(T, 0, oid, cloid, Side.BUY, 261_750, rest, 50, OrderState.OPEN, "open")


def test_an_order_absent_from_a_later_reading_is_gone() -> None:
    """Confirmed before the reading began, so the reading would have shown it."""
    it = Table().working()
    it.orders.on_snapshot(snapshot())
    assert state_of(it) is SlotState.EMPTY


def test_an_order_confirmed_after_the_reading_began_is_kept() -> None:
    """It may be missing without being gone."""
    it = Table().working()
    it.orders.on_snapshot(snapshot(since=T - 1))
    assert state_of(it) is SlotState.WORKING


def test_an_order_sent_before_the_reading_but_confirmed_during_it_is_kept() -> None:
    """It reached the book after the orders were read: forgetting it would leave it unowned."""
    it = Table()
    it.orders.on_acked(Acked(T + 10, Request.PLACE, it.cloid, 10))
    it.orders.on_snapshot(snapshot(since=T + 5))
    assert state_of(it) is SlotState.WORKING


def test_a_reading_settles_an_unanswered_order_only_after_its_expiry() -> None:
    """Until then the request may still take effect."""
    it = Table()
    it.unanswered(Request.PLACE)
    it.orders.on_snapshot(snapshot(since=T + SETTLE_NS))
    assert state_of(it) is SlotState.UNKNOWN
    it.orders.on_snapshot(snapshot(since=T + SETTLE_NS + 1))
    assert state_of(it) is SlotState.EMPTY


def test_a_request_in_flight_is_left_to_its_own_verdict() -> None:
    """The gateway answers for it, one way or another."""
    it = Table()
    it.orders.on_snapshot(snapshot())
    assert state_of(it) is SlotState.PLACING


def test_what_a_reading_shows_to_be_left_is_what_counts() -> None:
    """Its position holds the fills that explain the difference."""
    it = Table().working()
    it.orders.on_snapshot(snapshot(report(it.cloid, 10, rest=15)))
    assert it.exposure == 15


def test_leftovers_of_an_earlier_run_are_adopted_and_foreign_orders_left_alone() -> None:
    """Ours carry the program's 16 bits; another program's, or a person's, are not touched."""
    orders = Orders(PREFIX)
    ours = (PREFIX ^ 0xFFFF) << 64 | 5
    foreign = (PREFIX ^ (1 << 60)) << 64 | 5
    orders.on_snapshot(snapshot(report(ours, 10), report(foreign, 11), report(None, 12)))
    assert list(orders.slots) == [ours]
    assert orders.slots[ours].is_suspect
    assert orders.exposure_lots(Side.BUY) == 50
    assert [note.event for note in orders.notes] == [
        "order.foreign",
        "order.foreign",
        "order.adopted",
    ]


def test_cloids_are_unique_carry_the_prefix_and_fit_128_bits() -> None:
    """They are how an order is found again when no oid was ever seen."""
    orders = Orders(PREFIX)
    cloids = [orders.new_cloid() for _ in range(1000)]
    assert len(set(cloids)) == 1000
    assert all(cloid >> 64 == PREFIX for cloid in cloids)
    for wrong in (0, -1, 1 << 64):
        with pytest.raises(ValueError, match="cloid_prefix"):
            Orders(wrong)


def test_the_same_news_twice_is_the_same_table() -> None:
    """Streams repeat themselves after a reconnect."""

    def run(times: int) -> list[object]:
        it = Table()
        for _ in range(times):
            it.acked(Request.PLACE, 10)
        it.moving()
        for _ in range(times):
            it.update(OrderState.CANCELED, 10)
        for _ in range(times):
            it.acked(Request.MOVE, 11)
        it.cancelling()
        for _ in range(times):
            it.rejected(Request.CANCEL, Rejection.GONE)
        for _ in range(times):
            it.update(OrderState.FILLED, 11)
        return [msgspec.structs.astuple(slot) for slot in it.orders.slots.values()]

    assert run(1) == run(2)
