"""The gate as the last word on every order, and the batch that only it can make."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rig import HYPE, PREFIX, T0_NS
from mmbot.core.events import Acked, Request
from mmbot.core.gate import Batch, GateView, gate, gate_close
from mmbot.core.intents import Cancel, Diff, Move, Place
from mmbot.core.orders import Orders
from mmbot.core.risk import Limits
from mmbot.core.types import Mode, Side, Tif


def working(*resting: tuple[Side, int, int]) -> tuple[Orders, list[int]]:
    orders = Orders(PREFIX)
    cloids = []
    for oid, (side, px, lots) in enumerate(resting, 1):
        cloid = orders.new_cloid()
        orders.sent((), (), (Place(cloid, side, px, lots),), T0_NS)
        orders.on_acked(Acked(T0_NS, Request.PLACE, cloid, oid))
        cloids.append(cloid)
    return orders, cloids


VIEW = GateView(
    fair_ticks=262_000.0,
    floor_bps=4.7,
    bid_px_ticks=261_990,
    ask_px_ticks=262_010,
    position_lots=0,
    budget_bid_lots=150,
    budget_ask_lots=150,
    q_max_lots=763.0,
    is_trading=True,
)


def test_a_batch_cannot_be_forged_changed_copied_or_derived() -> None:
    """The gateway sends nothing else, so nothing reaches the venue around the gate."""
    with pytest.raises(TypeError):
        Batch(object(), (), (), (), 0)
    with pytest.raises(TypeError):
        type("Mine", (Batch,), {})
    orders, cloids = working((Side.BUY, 261_750, 50))
    batch, _ = gate(Diff((Cancel(cloids[0]),)), orders, VIEW, HYPE, 5)
    assert batch is not None
    assert (len(batch), batch.now_ns) == (1, 5)
    with pytest.raises(TypeError):
        batch.places = ()
    with pytest.raises(TypeError):
        del batch.cancels
    for forge in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            forge(batch)
    with pytest.raises(AttributeError):
        len(object.__new__(Batch))


def place(side: Side = Side.BUY, px: int = 261_750, lots: int = 50, **more: object) -> Place:
    return msgspec.structs.replace(Place(1, side, px, lots), **more)


@pytest.mark.parametrize(
    ("order", "view", "reason"),
    [
        (place(), {}, None),
        (place(Side.SELL, 262_250), {}, None),
        (place(px=261_755), {}, "invalid price or size"),
        (place(lots=0), {}, "invalid price or size"),
        (place(lots=38), {}, "below the least notional"),
        (place(lots=39), {}, None),
        (place(tif=Tif.GTC), {}, "not post-only"),
        (place(tif=Tif.IOC), {}, "not post-only"),
        (place(px=262_010), {}, "would execute"),
        (place(Side.SELL, 261_990), {}, "would execute"),
        (place(lots=150), {}, None),
        (place(lots=151), {}, "side budget"),
        (place(lots=100), {"q_max_lots": 99.0}, "position limit"),
        (place(px=261_880), {}, "nearer than the floor"),
        (place(px=261_870), {}, None),
        (place(Side.SELL, 262_120), {}, "nearer than the floor"),
        (place(Side.SELL, 262_130), {}, None),
        (place(Side.SELL, 262_010), {"position_lots": 50}, None),
        (place(Side.SELL, 262_010, 101), {"position_lots": 50}, "nearer than the floor"),
        (place(lots=20, is_reduce_only=True), {"position_lots": -20}, None),
        (place(lots=19, is_reduce_only=True), {"position_lots": -20}, "below the least notional"),
        (place(), {"is_trading": False}, "not trading"),
    ],
)
def test_the_gate_judges_the_final_order(
    order: Place, view: dict[str, object], reason: str | None
) -> None:
    """Each rule at its edge, whatever the layers before it believed."""
    orders, _ = working()
    batch, notes = gate(
        Diff(places=(order,)), orders, msgspec.structs.replace(VIEW, **view), HYPE, T0_NS
    )
    if reason is None:
        assert batch is not None
        assert batch.places == (order,)
        assert not notes
    else:
        assert batch is None
        assert [note.facts["reason"] for note in notes] == [reason]


def test_the_gate_counts_what_rests_and_what_it_has_just_let_out() -> None:
    """The budget is of the side; a cancel frees nothing before it is confirmed."""
    orders, cloids = working((Side.BUY, 261_750, 50))
    first, second = place(px=261_700), place(px=261_650, lots=51)
    cancel = Cancel(cloids[0])
    batch, notes = gate(Diff((cancel,), (), (first, second)), orders, VIEW, HYPE, T0_NS)
    assert batch is not None
    assert batch.cancels == (cancel,)
    assert batch.places == (first,)
    assert [note.facts["reason"] for note in notes] == ["side budget"]


def test_what_rests_nearer_reduces_first() -> None:
    """Fifty long and fifty offered at the touch: the next ask would build a short, near fair."""
    orders, _ = working((Side.SELL, 262_010, 50))
    view = msgspec.structs.replace(VIEW, position_lots=50)
    _, notes = gate(Diff(places=(place(Side.SELL, 262_020),)), orders, view, HYPE, T0_NS)
    assert [note.facts["reason"] for note in notes] == ["nearer than the floor"]
    batch, _ = gate(Diff(places=(place(Side.SELL, 262_000),)), orders, view, HYPE, T0_NS)
    assert batch is not None


def test_a_move_is_exposure_neutral_and_only_of_an_order_at_rest() -> None:
    """It replaces its own lots; an order that is cancelled or unknown is not moved as well."""
    orders, cloids = working((Side.BUY, 261_750, 150))
    move = Move(cloids[0], Side.BUY, 261_700, 150)
    batch, _ = gate(Diff(moves=(move,)), orders, VIEW, HYPE, T0_NS)
    assert batch is not None
    assert batch.moves == (move,)
    for diff in (
        Diff((Cancel(cloids[0]),), (move,)),
        Diff(moves=(Move(99, Side.BUY, 261_700, 50),)),
        Diff(moves=(Move(cloids[0], Side.SELL, 262_300, 50),)),
    ):
        _, notes = gate(diff, orders, VIEW, HYPE, T0_NS)
        assert [note.facts["reason"] for note in notes] == ["its order is not ours to move now"]


def test_an_order_may_not_meet_one_of_ours_on_the_other_side() -> None:
    """The venue would cancel the resting one: a self-trade is never intended."""
    orders, _ = working((Side.SELL, 261_850, 50))
    _, notes = gate(Diff(places=(place(px=261_850),)), orders, VIEW, HYPE, T0_NS)
    assert [note.facts["reason"] for note in notes] == ["would cross our own order"]


def test_cancels_pass_without_a_view_and_nothing_else_does() -> None:
    """Halted, stopping, or no price at all: taking away always works, once per order."""
    orders, cloids = working((Side.BUY, 261_750, 50))
    diff = Diff((Cancel(cloids[0]), Cancel(12345)), (), (place(),))
    batch, notes = gate(diff, orders, None, HYPE, T0_NS)
    assert batch is not None
    assert batch.cancels == (Cancel(cloids[0]),)
    assert not batch.places
    assert len(notes) == 1
    orders.sent(batch.cancels, (), (), T0_NS)
    assert gate(Diff((Cancel(cloids[0]),)), orders, None, HYPE, T0_NS) == (None, [])


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Side)), st.integers(255_000, 269_000), st.integers(-5, 400)),
        max_size=12,
    ),
    st.integers(-700, 700),
)
def test_no_list_of_orders_gets_a_bad_one_through(
    wanted: list[tuple[Side, int, int]], position: int
) -> None:
    """Whatever the layers above ask for, what leaves keeps every limit at once."""
    orders, _ = working((Side.BUY, 261_500, 40), (Side.SELL, 262_500, 40))
    places = tuple(Place(100 + i, *order) for i, order in enumerate(wanted))
    limits = Limits(100.0, 200.0, 0.2)
    bid, ask = limits.budgets_lots(position, 262_000, Mode.RUNNING)
    view = msgspec.structs.replace(
        VIEW, position_lots=position, budget_bid_lots=bid, budget_ask_lots=ask
    )
    batch, notes = gate(Diff(places=places), orders, view, HYPE, T0_NS)
    passed = batch.places if batch is not None else ()
    assert len(passed) + len(notes) == len(places)
    for side, budget in ((Side.BUY, bid), (Side.SELL, ask)):
        mine = [order for order in passed if order.side is side]
        if mine:
            assert sum(order.sz_lots for order in mine) + 40 <= budget
        for order in mine:
            assert HYPE.is_valid_px(order.px_ticks)
            assert order.px_ticks * order.sz_lots >= 10_000_000
            depth = side * (262_000 - order.px_ticks) / 262_000 * 1e4
            assert depth >= 4.7 - 1e-6 or side * position < 0
    bids = [order.px_ticks for order in passed if order.side is Side.BUY] + [261_500]
    asks = [order.px_ticks for order in passed if order.side is Side.SELL] + [262_500]
    assert max(bids) < min(asks)


CLOSING = Place(9, Side.SELL, 261_000, 100, is_reduce_only=True, tif=Tif.IOC)


@pytest.mark.parametrize(
    ("changes", "held", "reason"),
    [
        ({}, 100, None),
        ({"px_ticks": 260_900}, 100, None),
        ({"sz_lots": 2}, 2, None),
        ({"side": Side.BUY, "px_ticks": 259_000}, -100, None),
        ({"px_ticks": 260_890}, 100, "beyond the bound"),
        ({"side": Side.BUY, "px_ticks": 261_000}, -100, "beyond the bound"),
        ({"px_ticks": 260_905}, 100, "invalid price or size"),
        ({"sz_lots": 101}, 100, "more than the position"),
        ({"sz_lots": 0}, 100, "more than the position"),
        ({}, -100, "more than the position"),
        ({}, 0, "more than the position"),
        ({"sz_lots": 2}, 100, "below the least notional"),
        ({"is_reduce_only": False}, 100, "not a closing order"),
        ({"tif": Tif.GTC}, 100, "not a closing order"),
        ({"tif": Tif.ALO}, 100, "not a closing order"),
    ],
)
def test_what_takes_leaves_only_to_close_and_inside_its_bound(
    changes: dict[str, Any], held: int, reason: str | None
) -> None:
    """At the bound it passes, a step beyond it does not; never more than is held, never open."""
    batch, dropped = gate_close(
        msgspec.structs.replace(CLOSING, **changes),
        held_lots=held,
        worst_px_ticks=260_900,
        instrument=HYPE,
        now_ns=1,
    )
    assert dropped == reason
    assert (batch is None) is (reason is not None)
    if batch is not None:
        assert batch.places == (msgspec.structs.replace(CLOSING, **changes),)
