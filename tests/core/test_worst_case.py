"""The position limit against every order of events: both legs of a move, reduce-only."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.rig import HYPE, PREFIX, T0_NS
from mmbot.core.events import Acked, OutcomeUnknown, Request
from mmbot.core.gate import GateView, gate
from mmbot.core.intents import Cancel, Diff, Move, Place
from mmbot.core.orders import Orders
from mmbot.core.types import Side
from support import often

Q_MAX = 763
VIEW = GateView(
    fair_ticks=262_000.0,
    floor_bps=4.7,
    bid_px_ticks=261_990,
    ask_px_ticks=262_010,
    position_lots=0,
    budget_bid_lots=5_000,
    budget_ask_lots=5_000,
    q_max_lots=float(Q_MAX),
    is_trading=True,
)


class Leg(NamedTuple):
    """An order that may come to live at the venue."""

    cloid: int
    side: Side
    lots: int
    is_reduce_only: bool


def legs_of(orders: Orders) -> list[list[Leg]]:
    """Per order its legs in the order in which they can fill."""
    chains = []
    for slot in orders.slots.values():
        chain = [Leg(slot.cloid, slot.side, slot.rest_lots, slot.is_reduce_only)]
        if slot.next_sz_lots:
            chain.append(Leg(slot.cloid, slot.side, slot.next_sz_lots, slot.next_is_reduce_only))
        chains.append(chain)
    return chains


def farthest(chains: list[list[Leg]], position: int, rng: Random) -> tuple[int, int]:
    """Largest long and short position of one order of events, each leg filled as it may be."""
    high, low = position, -position
    queue = [list(chain) for chain in chains]
    bias = rng.choice((Side.BUY, Side.SELL))
    while queue:
        # One side first, and reduce-only orders first, is the worst: tried often.
        if rng.random() < 0.7:
            at = min(
                range(len(queue)),
                key=lambda n: (queue[n][0].side is not bias, not queue[n][0].is_reduce_only),
            )
        else:
            at = rng.randrange(len(queue))
        chain = queue[at]
        leg = chain.pop(0)
        if not chain:
            queue.pop(at)
        # A leg may be replaced before it has filled at all, or all but one lot of it.
        lots = leg.lots if rng.random() < 0.8 else rng.randint(0, leg.lots)
        if leg.is_reduce_only:
            lots = min(lots, max(0, -leg.side * position))
        position += leg.side * lots
        high, low = max(high, position), max(low, -position)
    return high, low


LOTS = st.sampled_from([39, 150, 300, 400, 500])
SLOTS = st.lists(
    st.tuples(
        st.sampled_from([Side.SELL, Side.SELL, Side.BUY]),
        LOTS,
        st.booleans(),
        st.sampled_from(["placing", "working", "moving", "unknown", "cancelling"]),
        LOTS,
        st.booleans(),
    ),
    max_size=5,
)
WANTED = st.lists(
    st.tuples(
        st.sampled_from([Side.SELL, Side.SELL, Side.BUY]), LOTS, st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=4,
)


def table(
    slots: list[tuple[Side, int, bool, str, int, bool]],
) -> tuple[Orders, list[tuple[int, Side]]]:
    """An order table in the given states; which of its orders are at rest."""
    orders = Orders(PREFIX)
    at_rest = []
    for n, (side, lots, is_ro, state, next_lots, next_ro) in enumerate(slots):
        px = 262_000 - side * (400 + 10 * n)
        cloid = orders.new_cloid()
        orders.sent((), (), (Place(cloid, side, px, lots, is_ro),), T0_NS)
        if state == "placing":
            continue
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, 10 + n))
        if state == "cancelling":
            orders.sent((Cancel(cloid),), (), (), T0_NS)
        elif state in ("moving", "unknown"):
            orders.sent((), (Move(cloid, side, px - side * 100, next_lots, next_ro),), (), T0_NS)
            if state == "unknown":
                orders.on_unanswered(OutcomeUnknown(T0_NS, Request.MOVE, cloid, "lost"))
        else:
            at_rest.append((cloid, side))
    return orders, at_rest


@settings(max_examples=often(100, thoroughly=600), deadline=None, derandomize=True)
@given(SLOTS, WANTED, st.sampled_from([-900, -500, 0, 300, 500, 700, 900]), st.integers(0, 1 << 30))
def test_no_order_of_fills_takes_the_position_past_its_limit_by_what_the_gate_let_out(
    slots: list[tuple[Side, int, bool, str, int, bool]],
    wanted: list[tuple[Side, int, bool, bool]],
    position: int,
    seed: int,
) -> None:
    """
    Old legs, coming legs, orders without a verdict: whatever fills first, the limit holds.

    A reduce-only order cannot flip a position, but it can use up the position that others were
    counted against.
    """
    orders, at_rest = table(slots)
    rng = Random(seed)
    before = [farthest(legs_of(orders), position, rng) for _ in range(30)]
    moves: list[Move] = []
    places: list[Place] = []
    for n, (side, lots, is_ro, is_move) in enumerate(wanted):
        px = 262_000 - side * (700 + 10 * n)
        mine = [cloid for cloid, its in at_rest if its is side]
        if is_move and mine:
            cloid = mine[0]
            at_rest.remove((cloid, side))
            moves.append(Move(cloid, side, px, lots, is_ro))
        else:
            places.append(Place(orders.new_cloid(), side, px, lots, is_ro))
    view = msgspec.structs.replace(VIEW, position_lots=position)
    batch, _ = gate(Diff((), tuple(moves), tuple(places)), orders, view, HYPE, T0_NS)
    if batch is None:
        return
    orders.sent(batch.cancels, batch.moves, batch.places, T0_NS)
    after = [farthest(legs_of(orders), position, rng) for _ in range(60)]
    sides = {move.side for move in batch.moves} | {place.side for place in batch.places}
    if Side.BUY in sides:
        assert max(high for high, _ in after) <= max(Q_MAX, *(high for high, _ in before))
    if Side.SELL in sides:
        assert max(low for _, low in after) <= max(Q_MAX, *(low for _, low in before))


def test_a_reduce_only_order_does_not_use_up_the_position_that_others_were_counted_against() -> (
    None
):
    """Long 500 with 1200 offered is inside the limit; 100 sold besides is not."""
    orders = Orders(PREFIX)
    for n, lots in enumerate((400, 400, 400)):
        orders.sent((), (), (Place(orders.new_cloid(), Side.SELL, 262_400 + 10 * n, lots),), T0_NS)
    view = msgspec.structs.replace(VIEW, position_lots=500)
    order = Place(orders.new_cloid(), Side.SELL, 262_600, 100, is_reduce_only=True)
    batch, notes = gate(Diff(places=(order,)), orders, view, HYPE, T0_NS)
    assert batch is None
    assert [note.facts["reason"] for note in notes] == ["position limit"]


def test_reduce_only_orders_alone_are_never_held_back_by_the_limit() -> None:
    """They cannot pass flat: a position above its limit must be able to get out, moves included."""
    orders = Orders(PREFIX)
    cloids = []
    for n in range(4):
        cloid = orders.new_cloid()
        cloids.append(cloid)
        place = Place(cloid, Side.SELL, 262_400 + 10 * n, 225, is_reduce_only=True)
        orders.sent((), (), (place,), T0_NS)
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, n + 1))
    view = msgspec.structs.replace(VIEW, position_lots=900, budget_bid_lots=0, budget_ask_lots=900)
    moves = tuple(
        Move(cloid, Side.SELL, 262_300 + 10 * n, 225, is_reduce_only=True)
        for n, cloid in enumerate(cloids)
    )
    batch, notes = gate(Diff(moves=moves), orders, view, HYPE, T0_NS)
    assert batch is not None
    assert batch.moves == moves
    assert not notes


def test_turning_what_rests_into_reduce_only_is_never_held_back() -> None:
    """The change of mode sends every order again, at once if the position fits its limit."""
    orders = Orders(PREFIX)
    cloids = []
    for n in range(4):
        cloid = orders.new_cloid()
        cloids.append(cloid)
        orders.sent((), (), (Place(cloid, Side.SELL, 262_400 + 10 * n, 175),), T0_NS)
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, n + 1))
    view = msgspec.structs.replace(VIEW, position_lots=700, budget_bid_lots=0, budget_ask_lots=700)
    moves = tuple(
        Move(cloid, Side.SELL, 262_400 + 10 * n, 175, is_reduce_only=True)
        for n, cloid in enumerate(cloids)
    )
    batch, notes = gate(Diff(moves=moves), orders, view, HYPE, T0_NS)
    assert batch is not None
    assert batch.moves == moves
    assert not notes


def test_where_only_reducing_is_allowed_the_gate_lets_nothing_else_out() -> None:
    """The mode is checked again on the final order, whatever the ladder made of it."""
    orders = Orders(PREFIX)
    view = msgspec.structs.replace(VIEW, position_lots=500, closed=("reducing", "reducing"))
    free = Place(orders.new_cloid(), Side.SELL, 262_600, 100)
    closing = Place(orders.new_cloid(), Side.SELL, 262_700, 100, is_reduce_only=True)
    batch, notes = gate(Diff(places=(free, closing)), orders, view, HYPE, T0_NS)
    assert batch is not None
    assert batch.places == (closing,)
    assert [note.facts["reason"] for note in notes] == ["not reduce-only"]
