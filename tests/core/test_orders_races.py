"""The order table where messages overtake each other: what may still rest is not let go."""

from __future__ import annotations

import pytest

from core.rig import PREFIX
from core.test_orders import T, Table, report, snapshot, state_of
from mmbot.core.events import (
    Acked,
    Fill,
    OrderMissing,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.intents import Move, Place
from mmbot.core.orders import READ_LAG_NS, REQUERY_NS, SETTLE_NS, Orders
from mmbot.core.slots import SlotState
from mmbot.core.types import NS_PER_S, Side


def worst(it: Table) -> int:
    return it.orders.worst_lots(Side.BUY)


# -- readings that lag ----------------------------------------------------------------------------


def test_an_order_younger_than_a_reading_may_lag_is_asked_about_and_not_buried() -> None:
    """Acknowledged a second before the reading began, and not in it: reads trail the venue."""
    it = Table().working()
    it.orders.on_snapshot(snapshot(since=T + NS_PER_S))
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 50)
    assert [query.cloid for query in it.orders.queries(T + NS_PER_S)] == [it.cloid]
    it.update(OrderState.OPEN, 10)
    assert state_of(it) is SlotState.WORKING


def test_a_later_reading_buries_what_the_first_could_not_judge() -> None:
    """Two seconds on, its absence is an answer."""
    it = Table().working()
    it.orders.on_snapshot(snapshot(since=T + READ_LAG_NS))
    assert state_of(it) is SlotState.UNKNOWN
    it.orders.on_snapshot(snapshot(since=T + READ_LAG_NS + 1))
    assert (state_of(it), it.exposure) == (SlotState.EMPTY, 0)


def test_a_reading_that_still_shows_an_order_just_cancelled_does_not_bring_it_back() -> None:
    """Its end was acknowledged a moment before the reading, which lags."""
    it = Table().working().cancelling()
    it.acked(Request.CANCEL)
    assert it.orders.on_snapshot(snapshot(report(it.cloid, 10), since=T + NS_PER_S)) == 0
    assert it.exposure == 0
    late = snapshot(report(it.cloid, 10), since=T + 10 * NS_PER_S)
    assert it.orders.on_snapshot(late) == 1, "ten seconds later it does rest, whatever was said"


def test_what_rests_is_more_certain_than_what_was_concluded_also_in_a_reading() -> None:
    """The order was given up a moment before the reading that shows it."""
    it = Table()
    it.unanswered(Request.PLACE)
    it.orders.on_missing(OrderMissing(T, it.cloid))
    assert it.orders.on_snapshot(snapshot(report(it.cloid, 10), since=T + 1)) == 1
    assert it.exposure == 50


def test_fills_that_a_lagging_reading_may_lack_stay_owed() -> None:
    """Filled a second before the account was read: its position may be from before the fill."""
    it = Table().working()
    it.update(OrderState.FILLED, 10, at=T + 60 * NS_PER_S)
    it.orders.on_snapshot(snapshot(since=T + 61 * NS_PER_S))
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 50)
    it.orders.on_snapshot(snapshot(since=T + 63 * NS_PER_S))
    assert (state_of(it), it.exposure) == (SlotState.EMPTY, 0)


def test_a_late_open_does_not_add_to_what_an_ended_order_owes() -> None:
    """Twenty lots are still to come, whatever the order was once."""
    it = Table().working()
    it.update(OrderState.CANCELED, 10, rest=30)
    it.update(OrderState.OPEN, 10)
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 20)


def test_a_fill_is_deducted_once_from_what_a_reading_had_deducted_already() -> None:
    """70 of 100 left by the reading, then the stream's fill of those 30: 70 rest, not 40."""
    it = Table(100).working()
    left = OrderUpdate(
        T, 0, 10, it.cloid, Side.BUY, 261_750, 70, 100, OrderState.OPEN, "open"
    )  # fmt: skip
    it.orders.on_snapshot(snapshot(left))
    assert (it.exposure, worst(it)) == (70, 100), "the position of a reading may lag its orders"
    it.fill(30, 10)
    assert (it.exposure, worst(it)) == (70, 70)
    it.fill(20, 10)
    assert it.exposure == 50


def test_an_adopted_order_in_part_filled_is_not_deducted_again_by_its_late_fill() -> None:
    """An order of an earlier run, 15 of 50 left; the fill of the 35 is still on its way."""
    orders = Orders(PREFIX)
    cloid = (PREFIX ^ 0xFFFF) << 64 | 5
    orders.on_snapshot(snapshot(report(cloid, 10, rest=15)))
    assert orders.exposure_lots(Side.BUY) == 15
    orders.on_fill(Fill(T, 0, 1, 10, cloid, Side.BUY, 261_750, 35, 0, 0, 0, is_taker=False))
    assert orders.exposure_lots(Side.BUY) == 15


# -- moves without a verdict ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stream", "reading"])
def test_a_report_of_the_old_leg_does_not_settle_a_move_that_may_still_land(how: str) -> None:
    """Ten of the old leg left, fifty on their way: the request lives for seconds after this."""
    it = Table().working(10)
    it.fill(40, 10)
    it.moving()
    it.unanswered(Request.MOVE)
    if how == "stream":
        it.update(OrderState.OPEN, 10, rest=10, at=T + NS_PER_S)
    else:
        shown = report(it.cloid, 10, rest=10)
        it.orders.on_snapshot(snapshot(shown, since=T + NS_PER_S))
    assert (state_of(it), it.exposure, worst(it)) == (SlotState.UNKNOWN, 50, 60)
    it.update(OrderState.OPEN, 11, px=261_800)
    assert (state_of(it), it.exposure) == (SlotState.WORKING, 50)


def test_a_reading_is_as_old_as_its_question() -> None:
    """Begun a moment before the move expired, it may show the book of before."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    it.orders.on_snapshot(snapshot(report(it.cloid, 10), since=T + SETTLE_NS - 1))
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 60)
    it.orders.on_snapshot(snapshot(report(it.cloid, 10), since=T + SETTLE_NS))
    assert (state_of(it), it.exposure) == (SlotState.WORKING, 50)


def test_a_move_that_can_no_longer_land_is_settled_by_a_report_of_the_old_leg() -> None:
    """Asked for again as soon as that is so, not a whole period later."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    asked_ns = T + SETTLE_NS - NS_PER_S
    it.orders.queries(asked_ns)
    assert it.orders.query_at_ns() == T + SETTLE_NS < asked_ns + REQUERY_NS
    it.update(OrderState.OPEN, 10, at=T + SETTLE_NS)
    assert (state_of(it), it.exposure, worst(it)) == (SlotState.WORKING, 50, 50)


def test_the_end_of_the_old_leg_is_not_the_end_while_a_cancel_follows_a_move() -> None:
    """Cancelled by the modify, whose new leg rests: the cancel may be lost on its way."""
    it = Table().working(10).moving(lots=60).cancelling()
    it.update(OrderState.CANCELED, 10)
    assert (state_of(it), it.exposure) == (SlotState.CANCELLING, 60)
    it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    it.rejected(Request.CANCEL, Rejection.BUDGET)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.oid, slot.rest_lots) == (SlotState.WORKING, 11, 60)


def test_fills_of_the_old_leg_do_not_end_a_move_without_a_verdict() -> None:
    """Twenty of fifty had filled when the modify took the rest away: the new leg lives."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    it.update(OrderState.CANCELED, 10, rest=30)
    it.fill(20, 10)
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 60)


def test_a_placement_that_a_cancel_overtook_counts_until_it_can_no_longer_land() -> None:
    """The cancel finds nothing, for the order is still on its way to the book."""
    it = Table().cancelling()
    it.rejected(Request.CANCEL, Rejection.GONE)
    it.orders.on_missing(OrderMissing(T + NS_PER_S, it.cloid))
    it.orders.on_snapshot(snapshot(since=T + SETTLE_NS))
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 50)
    it.orders.on_missing(OrderMissing(T + SETTLE_NS, it.cloid))
    assert (state_of(it), it.exposure) == (SlotState.EMPTY, 0)


def test_a_cancel_refused_before_its_order_was_heard_of_leaves_the_order_unknown() -> None:
    """Nothing says that it rests: working it would be moved, and the move refused."""
    it = Table().cancelling()
    it.rejected(Request.CANCEL, Rejection.BUDGET)
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 50)


@pytest.mark.parametrize("request_", [Request.PLACE, Request.MOVE])
@pytest.mark.parametrize("is_good", [True, False])
def test_the_verdict_on_what_a_cancel_follows_is_taken_as_well(
    request_: Request, is_good: bool
) -> None:
    """The cancel changes nothing about it, and it says sooner what can still rest."""
    it = Table()
    if request_ is Request.MOVE:
        it.working(10).moving(lots=60)
    it.cancelling()
    if is_good:
        it.acked(request_, 11)
    else:
        it.rejected(request_, Rejection.BUDGET)
    rests = {(Request.MOVE, True): 60, (Request.PLACE, False): 0}.get((request_, is_good), 50)
    assert it.exposure == rests
    assert state_of(it) is (SlotState.CANCELLING if rests else SlotState.EMPTY)


def test_an_answer_that_a_report_had_told_already_does_not_settle_the_next_move() -> None:
    """The stream named the new leg; the late reply to its request names it again."""
    it = Table().working(10).moving(261_800, 60)
    it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    it.moving(261_900, 70)
    it.acked(Request.MOVE, 11)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.oid, slot.px_ticks, it.exposure) == (
        SlotState.MOVING,
        11,
        261_800,
        70,
    )


def test_a_move_accepted_without_an_oid_is_not_ended_by_the_end_of_its_old_leg() -> None:
    """Not every reply names the new leg."""
    it = Table().working(10).moving(261_800, 60)
    it.acked(Request.MOVE, None)
    it.update(OrderState.CANCELED, 10)
    assert (state_of(it), it.exposure) == (SlotState.WORKING, 60)
    it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    assert it.orders.slots[it.cloid].oid == 11


# -- refusals -------------------------------------------------------------------------------------


def test_a_report_of_the_refused_leg_says_nothing_of_the_old_one() -> None:
    """Reply and report of a refused modify come in one read; the old leg may live all the same."""
    it = Table().working(10).moving()
    it.rejected(Request.MOVE, Rejection.POST_ONLY)
    it.update(OrderState.REJECTED, 11)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.is_suspect, it.exposure) == (SlotState.WORKING, True, 50)
    it.cancelling()
    it.update(OrderState.REJECTED, 11)
    assert (state_of(it), it.exposure) == (SlotState.CANCELLING, 50)


def test_a_report_of_a_refused_leg_before_the_expiry_may_be_that_of_an_earlier_move() -> None:
    """The answer to a question after it is not."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    it.update(OrderState.REJECTED, 11)
    assert (state_of(it), it.exposure) == (SlotState.UNKNOWN, 60)
    it.update(OrderState.REJECTED, 11, at=T + SETTLE_NS)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.is_suspect, it.exposure) == (SlotState.WORKING, True, 50)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_question_answered_by_the_refused_leg_ends_in_a_cancel_not_in_asking_for_ever(
    is_answered: bool,
) -> None:
    """Asked by cloid the venue names its newest oid; the old leg rests and is never named."""
    it = Table().working(10).moving().cancelling()
    if is_answered:
        it.rejected(Request.CANCEL, Rejection.BUDGET)
    else:
        it.unanswered(Request.CANCEL)
    assert state_of(it) is SlotState.UNKNOWN
    it.update(OrderState.REJECTED, 11, at=T + SETTLE_NS)
    slot = it.orders.slots[it.cloid]
    assert (slot.state, slot.is_suspect, it.exposure) == (SlotState.WORKING, True, 50)


def test_a_question_answered_by_the_refused_leg_ends_an_order_known_to_be_gone() -> None:
    """The cancel of a suspect found nothing; the venue answers with the newest oid of the cloid."""
    it = Table().working(10).moving()
    it.rejected(Request.MOVE, Rejection.POST_ONLY)
    it.cancelling()
    it.rejected(Request.CANCEL, Rejection.GONE)
    it.update(OrderState.REJECTED, 11)
    assert it.orders.slots == {} or state_of(it) is SlotState.SETTLING
    it.orders.on_snapshot(snapshot())
    assert state_of(it) is SlotState.EMPTY


def test_a_wholly_refused_move_leaves_the_order_as_it_was() -> None:
    """Also in its flag: a slot that only claims to be reduce-only counts as harmless."""
    it = Table().working(10)
    it.orders.sent((), (Move(it.cloid, Side.BUY, 261_800, 7, is_reduce_only=True),), (), T)
    assert not it.orders.slots[it.cloid].is_reduce_only
    it.rejected(Request.MOVE, Rejection.BUDGET)
    assert not it.orders.slots[it.cloid].is_reduce_only
    it.orders.sent((), (Move(it.cloid, Side.BUY, 261_800, 7, is_reduce_only=True),), (), T)
    it.acked(Request.MOVE, 11)
    assert it.orders.slots[it.cloid].is_reduce_only


# -- orders that turn up again --------------------------------------------------------------------


def test_a_newer_leg_of_an_order_whose_known_leg_has_ended_is_taken_back() -> None:
    """The old leg's end was seen and the move given up; it landed all the same."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    it.update(OrderState.CANCELED, 10, at=T + SETTLE_NS)
    assert state_of(it) is SlotState.EMPTY
    it.update(OrderState.OPEN, 10)
    assert it.exposure == 0, "the leg whose end was seen"
    it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    assert (it.exposure, it.orders.slots[it.cloid].is_suspect) == (60, True)


def test_an_order_that_a_reading_lacked_is_taken_back_when_it_is_reported_open() -> None:
    """Absence is a conclusion, a report is news."""
    it = Table().working(10)
    it.orders.on_snapshot(snapshot())
    assert it.exposure == 0
    it.update(OrderState.OPEN, 10)
    assert (it.exposure, it.orders.slots[it.cloid].is_suspect) == (50, True)


def test_a_new_leg_is_counted_beside_the_fills_its_old_one_owes() -> None:
    """The move was given up when the old leg's end was told; then its new leg is reported."""
    it = Table().working(10).moving(lots=60)
    it.unanswered(Request.MOVE)
    it.update(OrderState.CANCELED, 10, rest=30, at=T + SETTLE_NS)
    assert (state_of(it), it.exposure) == (SlotState.SETTLING, 20)
    it.update(OrderState.OPEN, 11, px=261_800, orig=60)
    assert (state_of(it), it.exposure, worst(it)) == (SlotState.WORKING, 60, 80)


def test_a_late_acknowledgement_of_a_cancel_is_still_one() -> None:
    """A lagging answer had shown the order open."""
    it = Table().working(10).cancelling()
    it.unanswered(Request.CANCEL)
    it.update(OrderState.OPEN, 10)
    assert state_of(it) is SlotState.WORKING
    it.acked(Request.CANCEL)
    assert it.exposure == 0


def test_a_fill_of_an_unknown_leg_brings_back_what_may_be_left_of_it() -> None:
    """The first word of a leg can be its fill."""
    it = Table()
    it.unanswered(Request.PLACE)
    it.orders.on_missing(OrderMissing(T, it.cloid))
    assert it.exposure == 0
    it.orders._departed.expire(T + 10 * NS_PER_S)
    it.fill(20, 10)
    assert (it.exposure, it.orders.slots[it.cloid].is_suspect) == (30, True)


def test_nothing_of_a_cancelled_order_is_taken_back() -> None:
    """An acknowledged cancel speaks for the cloid, whichever leg it met."""
    it = Table().working(10).moving().cancelling()
    it.acked(Request.CANCEL)
    it.update(OrderState.OPEN, 11)
    it.acked(Request.MOVE, 11)
    assert it.exposure == 0


# -- fills on their way ---------------------------------------------------------------------------


def test_fills_on_their_way_count_against_the_position_limit_until_the_venue_has_told() -> None:
    """The reply to a cancel overtakes the fill of the moment before it: the position may grow."""
    it = Table().working(10).cancelling()
    it.acked(Request.CANCEL)
    assert (it.exposure, worst(it)) == (0, 50)
    it.update(OrderState.CANCELED, 10, rest=30)
    assert worst(it) == 20
    it.update(OrderState.CANCELED, 10, rest=30)
    it.fill(15, 10)
    assert worst(it) == 5
    it.orders.queries(T + READ_LAG_NS)
    assert worst(it) == 0


def test_a_cancel_that_met_either_leg_leaves_the_fills_of_both_owed() -> None:
    """The move may have landed before the cancel, and its new leg filled in between."""
    it = Table().working(10).moving(lots=60).cancelling()
    it.acked(Request.CANCEL)
    assert (it.exposure, worst(it)) == (0, 110)
    it.fill(60, 11)
    assert worst(it) == 50
    it.orders.queries(T + READ_LAG_NS)
    assert worst(it) == 0


def test_an_end_without_a_rest_says_nothing_of_the_fills() -> None:
    """A cancelled order with nothing left: all of it may have filled, or none."""
    it = Table().working(10)
    for _ in range(2):
        it.update(OrderState.CANCELED, 10, rest=0)
        assert (it.exposure, worst(it)) == (0, 50)
    it.fill(50, 10)
    assert worst(it) == 0


def test_the_old_leg_of_a_move_counts_until_it_is_known_how_much_of_it_filled() -> None:
    """The acknowledgement names the new leg and says nothing of the old one."""
    it = Table().working(10).moving(lots=60)
    it.acked(Request.MOVE, 11)
    assert (it.exposure, worst(it)) == (60, 110)
    it.update(OrderState.CANCELED, 10, rest=49)
    assert worst(it) == 61
    it.fill(1, 10)
    assert (it.exposure, worst(it)) == (60, 60)


def test_a_refused_placement_owes_nothing() -> None:
    """It never rested."""
    it = Table()
    it.rejected(Request.PLACE)
    assert worst(it) == 0


# -- memory ---------------------------------------------------------------------------------------


def test_what_is_remembered_of_ended_legs_is_bounded() -> None:
    """A run of a week moves a line a million times; fills name their oid for minutes at most."""
    orders = Orders(PREFIX)
    cloid = orders.new_cloid()
    orders.sent((), (), (Place(cloid, Side.BUY, 261_750, 50),), T)
    orders.on_acked(Acked(T, Request.PLACE, cloid, 1))
    for n in range(20_000):
        now_ns = T + n * NS_PER_S
        orders.sent((), (Move(cloid, Side.BUY, 261_750 + n % 7, 50),), (), now_ns)
        orders.on_acked(Acked(now_ns, Request.MOVE, cloid, 2 + n))
        orders.queries(now_ns)
    memory = orders._departed
    assert len(memory._oids) < 700
    assert len(memory._owed.get(cloid, ())) < 5
    assert memory.cloid_of(20_001 - 500) == cloid
    for n in range(20_000):
        now_ns = T + (20_000 + n) * NS_PER_S
        other = orders.new_cloid()
        orders.sent((), (), (Place(other, Side.SELL, 262_750, 50),), now_ns)
        orders.on_rejected(Rejected(now_ns, Request.PLACE, other, Rejection.POST_ONLY, "no"))
    assert len(memory._dead) < 700
    assert orders.gone_at_ns(other) == now_ns
