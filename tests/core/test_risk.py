"""Limits, the mode table, and the gate as the last word on every order."""

from __future__ import annotations

import copy
import itertools
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.rig import HYPE, PREFIX, T0_NS
from mmbot.core.events import Acked, Request
from mmbot.core.intents import Cancel, Diff, Move, Place
from mmbot.core.orders import Orders
from mmbot.core.risk import (
    KILLS,
    NEXT_MODE,
    Batch,
    GateView,
    Limits,
    Risk,
    RiskParams,
    Trip,
    gate,
)
from mmbot.core.types import NS_PER_S, Mode, Side, Tif


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("trip", list(Trip))
def test_every_cell_of_the_mode_table_has_the_documented_answer(mode: Mode, trip: Trip) -> None:
    """HALTED latches, a kill halts from anywhere, a soft cause never relaxes a mode."""
    after = NEXT_MODE[mode, trip]
    if mode is Mode.HALTED or trip in KILLS:
        assert after is Mode.HALTED
    elif trip is Trip.CLEARED:
        assert after is Mode.RUNNING
    else:
        assert after is Mode.REDUCING


def test_the_mode_table_is_complete() -> None:
    """A new trigger cannot be forgotten."""
    assert set(NEXT_MODE) == set(itertools.product(Mode, Trip))


def params(**changes: object) -> RiskParams:
    return RiskParams.model_validate({"capital_usd": 100.0, **changes})


@pytest.mark.parametrize(
    ("changes", "equity", "capital", "q_max"),
    [
        ({}, 100.0, 100.0, 200.0),
        ({}, 30.0, 30.0, 150.0),
        ({}, 5000.0, 100.0, 200.0),
        ({"max_position_usd": 500.0}, 100.0, 100.0, 500.0),
        ({"max_position_usd": 500.0, "leverage": 2}, 100.0, 100.0, 200.0),
        ({}, 0.0, 0.0, 0.0),
        ({}, -3.0, 0.0, 0.0),
    ],
)
def test_the_effective_limit_is_the_smallest_of_all(
    changes: dict[str, object], equity: float, capital: float, q_max: float
) -> None:
    """No source can enlarge another: more equity than capital changes nothing."""
    limits = Limits.of(params(**changes), HYPE, equity)
    assert (limits.capital_usd, limits.q_max_usd) == (capital, q_max)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_position_usd": 500.01},
        {"stale_kill_s": 5.0, "stale_pull_s": 5.0},
        {"soft_release_frac": 0.015},
        {"loss_limit_frac": 0.0},
        {"side_budget_frac": 0.6},
        {"unheard_of": 1},
    ],
)
def test_contradictory_limits_do_not_start(wrong: dict[str, object]) -> None:
    """Refused before a socket is opened."""
    with pytest.raises(ValidationError):
        params(**wrong)
    with pytest.raises(ValidationError):
        RiskParams.model_validate({})


@given(x=st.floats(-1.5, 1.5), frac=st.floats(0.05, 0.5))
def test_budgets_follow_the_rule_and_a_sweep_keeps_the_limit(x: float, frac: float) -> None:
    """Increasing B (1 - |x|) q_max, reducing max(B, |x|) q_max; swept whole, |q| <= q_max."""
    limits = Limits(100.0, 200.0, frac)
    q_max = limits.q_max_lots(262_000)
    lots = round(x * q_max)
    bid, ask = limits.budgets_lots(lots, 262_000, Mode.RUNNING)
    increasing, reducing = (bid, ask) if lots >= 0 else (ask, bid)
    held = abs(lots)
    assert increasing <= max(0.0, frac * (q_max - held))
    assert held + increasing <= max(q_max, held)
    if lots:
        assert reducing == max(int(frac * q_max), held)
        assert reducing - held <= max(0.0, frac * q_max - held)
    assert limits.budgets_lots(lots, 262_000, Mode.HALTED) == (0, 0)
    assert sorted(limits.budgets_lots(lots, 262_000, Mode.REDUCING)) == [0, held]


def test_equity_and_drawdown_are_of_equity_never_of_profit() -> None:
    """A peak profit of two cents and a fall to minus two is 0.04 %, not 184 %."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2))
    for pnl in (0.02, -0.02):
        risk.observe(pnl, T0_NS)
    assert risk.kill is None
    assert risk.max_drawdown_frac == pytest.approx(0.04 / 100.02)


def test_the_recorded_session_draws_down_by_two_percent() -> None:
    """Its reported 494 % came from dividing by the peak profit."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2))
    for pnl in (0.0, 0.2, 0.406, 0.1, -0.9, -1.6):
        risk.observe(pnl, T0_NS)
    assert risk.max_drawdown_frac == pytest.approx(0.019979, abs=1e-6)
    assert risk.kill is None


def test_a_kill_names_its_trigger_figure_limit_and_unit_and_stays_the_first() -> None:
    """The post-mortem asks what fired first, and on which number."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2))
    risk.observe(-3.5, 7)
    risk.order_kill("operator", 8)
    risk.update(0.0, 400 * NS_PER_S, 9)
    kill = risk.kill
    assert kill is not None
    assert (kill.trigger, kill.value, kill.limit, kill.unit, kill.at_ns) == (
        "session_loss",
        3.5,
        3.0,
        "USD",
        7,
    )
    assert [note.event for note in risk.notes] == ["killswitch.tripped", "mode.changed"]


def test_inventory_above_the_limit_reduces_until_it_is_well_below() -> None:
    """Entered above 1, left at 0.95: a price move must not toggle it."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2))
    modes = [risk.update(x, 0, T0_NS) for x in (1.0, 1.001, 0.99, 0.951, 0.95, 1.0, -1.2)]
    reducing, running = Mode.REDUCING, Mode.RUNNING
    assert modes == [running, reducing, reducing, reducing, running, running, reducing]


# -- the batch ------------------------------------------------------------------------------------


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
