"""What leaves the engine when the account's readings, reports and fills overtake each other."""

from __future__ import annotations

import msgspec
import pytest

from core.rig import Fault, Resting, Rig
from mmbot.core.events import (
    Acked,
    Event,
    Fill,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.slots import SlotState
from mmbot.core.types import Side


def calm() -> Rig:
    """An engine with its ladder at rest, long enough for no reading to doubt it."""
    it = Rig()
    it.settle()
    it.wait(5)
    it.tell_book()
    it.settle()
    return it


def ladder(it: Rig) -> list[tuple[int, int, int]]:
    return sorted((int(o.side), o.px_ticks, o.sz_lots) for o in it.resting.values())


def filled_at_the_venue(it: Rig) -> tuple[Fill, OrderUpdate]:
    """The nearest bid fills; the two messages that say so are still on their way."""
    bid = it.side(Side.BUY)[0]
    fill = it.fill_event(bid, bid.sz_lots)
    update = it.update(bid, OrderState.FILLED)
    it.history[bid.cloid] = update
    return fill, update


@pytest.mark.parametrize("overtakes", [True, False])
def test_the_ladder_is_the_same_whether_a_snapshot_or_its_fill_comes_first(
    overtakes: bool,
) -> None:
    """
    A fill that the snapshot held already must not lean the quotes at twice the position.

    The other engine hears of the fill first and reads the account a second later.
    """
    ladders: list[list[tuple[int, int, int]]] = []
    for is_late in (overtakes, not overtakes):
        it = calm()
        fill, update = filled_at_the_venue(it)
        it.wait(0.5)
        news: list[Event] = [it.snapshot(), fill, update]
        for event in news if is_late else (*news[1:], news[0]):
            it.apply(event)
        assert it.engine.position.lots == it.position_lots == fill.sz_lots
        summary = it.engine.summary()
        assert (summary.fills, summary.fees_usd) == (1, fill.fee_usd)
        assert summary.pnl_usd == pytest.approx(
            summary.realised_usd + summary.unrealised_usd - summary.fees_usd, abs=1e-12
        )
        for _ in range(8):
            it.wait(5)
            it.tell_book()
            it.settle()
        ladders.append(ladder(it))
    assert ladders[0] == ladders[1]


def test_a_fill_that_a_lagging_snapshot_lacks_stays_in_the_position() -> None:
    """Un-booked, the engine would quote as if flat and buy the same lots again."""
    it = calm()
    before = it.snapshot()
    fill, update = filled_at_the_venue(it)
    it.apply(fill)
    it.apply(update)
    it.wait(0.4)
    late = msgspec.structs.replace(before, venue_ms=it.venue_ms, recv_ns=it.now_ns)
    it.apply(late)
    it.settle()
    assert it.engine.position.lots == fill.sz_lots
    assert it.events_named("position.mismatched") == []


def test_nothing_is_placed_in_the_room_of_an_order_that_a_lagging_snapshot_lacks() -> None:
    """Acknowledged half a second before the account was read: it is asked about, and counts."""
    it = Rig()
    it.settle()
    it.wait(0.5)
    it.tell_book()
    rests = ladder(it)
    assert rests
    it.apply(it.snapshot(open_orders=()))
    decision = it.engine.decide(it.now_ns)
    assert {query.cloid for query in decision.queries} == set(it.resting)
    assert decision.batch is None
    for query in decision.queries:
        it.answer_query(query.cloid)
    it.settle()
    assert ladder(it) == rests
    assert set(it.engine.orders.slots) == set(it.resting)


def test_the_old_leg_of_a_refused_move_is_cancelled_whatever_the_report_of_the_new_one() -> None:
    """The reply and the `badAloPxRejected` report come in one read; the old leg rests on."""
    it = calm()
    it.is_holding_answers = True
    decision = _move_something(it)
    it.held.clear()
    it.is_holding_answers = False
    assert decision
    for cloid, old in decision.items():
        it.resting[cloid] = old  # the venue refused: the old leg is where it was
        text = "Post only order would have immediately matched"
        it.apply(Rejected(it.now_ns, Request.MOVE, cloid, Rejection.POST_ONLY, text))
        refused = it.update(old, OrderState.REJECTED)
        it.apply(msgspec.structs.replace(refused, oid=it.oid + 1))
    batch = it.engine.decide(it.now_ns).batch
    assert batch is not None
    assert {cancel.cloid for cancel in batch.cancels} >= set(decision)


def _move_something(it: Rig) -> dict[int, Resting]:
    """Let the price go until the engine moves orders; those orders as they were."""
    for step in range(1, 40):
        before = {cloid: msgspec.structs.replace(order) for cloid, order in it.resting.items()}
        it.wait(6)
        it.set_fair(26.2 * (1 + step * 1e-4))
        it.tell_book()
        batch = it.decide().batch
        if batch is not None and batch.moves:
            return {move.cloid: before[move.cloid] for move in batch.moves}
    raise AssertionError


def test_a_move_without_an_answer_keeps_its_room_while_a_snapshot_shows_the_old_leg() -> None:
    """It can land for seconds after that; what it may add to must not be given away."""
    it = calm()
    bid = it.side(Side.BUY)[0]
    it.fault = Fault.LOST_BEFORE
    moved = _move_something(it)
    room = {side: it.engine.orders.worst_lots(side) for side in Side}
    it.wait(0.6)
    it.apply(it.snapshot())
    it.tell_book()
    batch = it.engine.decide(it.now_ns).batch
    assert bid.cloid in it.resting
    for cloid in moved:
        slot = it.engine.orders.slots[cloid]
        assert slot.state is SlotState.UNKNOWN
        assert slot.is_two_legged
    assert batch is None or moved.keys().isdisjoint(move.cloid for move in batch.moves)
    for side in Side:
        assert it.engine.orders.worst_lots(side) >= room[side]


def test_an_order_in_part_filled_is_filled_up_by_what_the_venue_holds() -> None:
    """The snapshot shows what is left, the stream repeats the fill: it is deducted once."""
    it = calm()
    bid = it.side(Side.BUY)[0]
    fill = it.fill_event(bid, bid.sz_lots // 3)
    it.wait(0.3)
    it.apply(it.snapshot())
    it.apply(fill)
    assert it.engine.orders.slots[bid.cloid].rest_lots == bid.sz_lots
    assert it.engine.orders.exposure_lots(Side.BUY) == sum(o.sz_lots for o in it.side(Side.BUY))
    assert it.engine.position.lots == it.position_lots


@pytest.mark.parametrize("lots", [0, -7])
def test_a_fill_without_size_changes_nothing(lots: int) -> None:
    """The decoder takes none; whatever brings one, it is no trade."""
    it = calm()
    bid = it.side(Side.BUY)[0]
    fill = msgspec.structs.replace(it.fill_event(bid, 1), sz_lots=lots)
    before = it.engine.orders.slots[bid.cloid].rest_lots
    it.apply(fill)
    assert it.engine.position.lots == 0
    assert it.engine.summary().fills == 0
    assert it.engine.orders.slots[bid.cloid].rest_lots == before


def test_a_cancel_acknowledged_before_the_fill_of_the_moment_before_holds_its_room() -> None:
    """Fills come by another stream than replies: until then they count in the worst case."""
    it = calm()
    bid = it.side(Side.BUY)[0]
    slot = it.engine.orders.slots[bid.cloid]
    slot.is_suspect = True
    it.is_holding_answers = True
    batch = it.decide().batch
    assert batch is not None
    assert [cancel.cloid for cancel in batch.cancels] == [bid.cloid]
    before = it.engine.orders.worst_lots(Side.BUY)
    it.apply(Acked(it.now_ns, Request.CANCEL, bid.cloid))
    assert it.engine.orders.worst_lots(Side.BUY) == before
    it.apply(it.fill_event(bid, 20))
    assert it.engine.position.lots + it.engine.orders.worst_lots(Side.BUY) == before
