"""What the position may be at all, how little of it may remain, and how a market is begun."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from core.rig import HYPE, PREFIX, T0_NS, Resting, Rig, params
from mmbot.core.events import Command, CommandKind, LinkLost, LinkUp
from mmbot.core.guards import GuardParams, Guards, Position
from mmbot.core.intents import Move, Place
from mmbot.core.risk import POSITION_KILL, Limits, Risk, RiskParams
from mmbot.core.types import NS_PER_S, Mode, Side

PX = 25.0
Q_MAX = 800
"""Lots of the shipped limit of 200 USD at that price, exactly."""
PATIENT: dict[str, object] = {
    "loss_limit_frac": 0.5,
    "drawdown_limit_frac": 0.5,
    "soft_limit_frac": 0.4,
}


def at(lots: int) -> Rig:
    """The position found at the start."""
    it = Rig(position_lots=lots, fair_px=PX)
    assert it.q_max_lots() == Q_MAX
    it.settle()
    return it


def sent(it: Rig) -> list[Place | Move]:
    orders: list[Place | Move] = []
    for batch in it.batches:
        orders.extend(batch.places)
        orders.extend(batch.moves)
    return orders


def increasing(it: Rig) -> list[Place | Move]:
    return [order for order in sent(it) if order.side * it.position_lots > 0]


# -- the position against its limit ---------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("lots", "mode"),
    [
        (Q_MAX - 1, Mode.RUNNING),
        (Q_MAX, Mode.RUNNING),
        (Q_MAX + 1, Mode.REDUCING),
        (Q_MAX * 5 // 4 - 1, Mode.REDUCING),
        (Q_MAX * 5 // 4, Mode.HALTED),
        (Q_MAX * 5 // 4 + 1, Mode.HALTED),
    ],
)
def test_the_position_reduces_above_its_limit_and_kills_at_a_quarter_more(
    sign: int, lots: int, mode: Mode
) -> None:
    """At, one lot below and one lot above; nothing increasing leaves from the limit on."""
    it = at(sign * lots)
    assert it.engine.mode is mode
    assert increasing(it) == []
    kill = it.engine.risk.kill
    if mode is Mode.HALTED:
        assert not it.resting
        assert sent(it) == []
        assert kill is not None
        assert (kill.trigger, kill.unit) == ("position", "USD")
        assert kill.value == pytest.approx(lots / Q_MAX * 200.0)
        assert kill.limit == POSITION_KILL * 200.0
    else:
        assert kill is None
        reducing = it.side(Side(-sign))
        assert reducing
        assert all(o.is_reduce_only for o in reducing) is (mode is Mode.REDUCING)


def test_well_inside_the_limit_both_sides_are_quoted() -> None:
    """Or the test above would pass for an engine that never increases."""
    it = at(Q_MAX // 2)
    assert increasing(it)
    assert it.side(Side.SELL)


def foreign(it: Rig, lots: int, **changes: object) -> None:
    """A fill of an order that is none of this run's."""
    it.wait(0.01)
    side = Side.BUY if lots > 0 else Side.SELL
    order = Resting(99, 0, side, it.instrument.floor_ticks(PX * 1e4), abs(lots), abs(lots))
    fill = it.fill_event(order, abs(lots))
    it.apply(msgspec.structs.replace(fill, **{"cloid": None, **changes}))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("held", "lots", "is_kill"),
    [
        (0, 1, True),
        (200, 1, True),
        (200, -1, False),
        (200, -200, False),
        (200, -399, False),
        (200, -400, False),
        (200, -401, True),
    ],
)
def test_a_fill_that_no_order_explains_kills_where_the_position_grew(
    sign: int, held: int, lots: int, is_kill: bool
) -> None:
    """Somebody else trades this account: closing by hand is welcome, one lot more is not."""
    it = at(sign * held)
    foreign(it, sign * lots)
    it.settle()
    kill = it.engine.risk.kill
    if not is_kill:
        assert kill is None
        assert it.resting
        return
    assert kill is not None
    assert kill.trigger == "foreign_fill"
    assert not it.resting
    it.wait(1)
    it.tell_book()
    assert it.decide().batch is None


def test_a_fill_of_another_program_of_ours_is_foreign_too() -> None:
    """A second daemon on another machine bears the same mark, and another run's number."""
    it = at(0)
    foreign(it, 5, cloid=(PREFIX ^ 1) << 64 | 3)
    it.settle()
    assert it.engine.risk.kill is not None


def test_our_own_fills_explain_themselves_however_late_they_come() -> None:
    """After the order's end, after a reconnect, of an order taken over from an earlier run."""
    it = at(0)
    order = it.side(Side.BUY)[0]
    fill = it.fill_event(order, order.sz_lots)
    it.apply(it.snapshot())
    it.apply(LinkLost(it.now_ns, "reset"))
    it.decide()
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    it.tell_book()
    it.apply(it.snapshot())
    it.wait(700)
    it.tell_book()
    it.apply(fill)
    it.decide()
    assert it.engine.risk.kill is None


def test_a_foreign_fill_that_a_reading_told_first_is_still_one() -> None:
    """What was adopted from the reading is explained by the fill, which nothing explains."""
    it = at(100)
    it.wait(0.1)
    order = Resting(99, 0, Side.BUY, round(PX * 1e4), 50, 50)
    fill = it.fill_event(order, 50)
    it.wait(5)
    it.tell_book()
    it.apply(it.snapshot())
    it.apply(msgspec.structs.replace(fill, cloid=None))
    it.settle()
    kill = it.engine.risk.kill
    assert kill is not None
    assert (kill.value, kill.limit) == (1.5, 1.0)


# -- soft stops -----------------------------------------------------------------------------------


def test_after_a_release_the_threshold_counts_from_the_equity_at_release() -> None:
    """By recovery as by time: 99 USD at the release, so the next one is at 97.515, not at 98.5."""
    risk = Risk(RiskParams.model_validate({"capital_usd": 100.0}))
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)

    def mode(pnl_usd: float, at_s: float) -> Mode:
        now_ns = T0_NS + round(at_s * NS_PER_S)
        risk.observe(pnl_usd, now_ns)
        return risk.update(0.0, 0, now_ns)

    assert mode(-1.5, 1) is Mode.REDUCING
    assert mode(-1.01, 2) is Mode.REDUCING
    assert mode(-1.0, 3) is Mode.RUNNING
    assert mode(-1.5, 4) is Mode.RUNNING
    assert mode(-2.48, 5) is Mode.RUNNING
    assert mode(-2.485, 6) is Mode.REDUCING
    assert risk.kill is None
    assert mode(-3.0, 7) is Mode.HALTED, "the hard limits count from the start as before"


# -- what is too small to be an order -------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_dust_is_one_reduce_only_order_of_exactly_what_is_left_after_every_fill(sign: int) -> None:
    """Below 10 USD the venue takes nothing else, and a stale size would be refused."""
    it = at(sign * 39)  # 9.75 USD
    losing(it, sign)
    it.settle()
    side = Side(-sign)
    for left in (39, 20, 3, 1):
        while abs(it.position_lots) > left:
            it.fill(it.side(side)[0], abs(it.position_lots) - left)
        it.settle()
        assert [(o.sz_lots, o.is_reduce_only) for o in it.side(side)] == [(left, True)]
        assert not it.side(side.opposite)
    it.fill(it.side(side)[0], 1)
    it.settle()
    assert it.position_lots == 0
    assert not it.resting


def test_dust_that_no_budget_can_carry_further_is_closed_by_itself() -> None:
    """RUNNING, with room for one order a side: the rest of a fill is not quoted as a whole one."""
    it = Rig(params(risk={"max_position_usd": 51.0}), position_lots=30, fair_px=PX)
    it.settle()
    assert it.engine.mode is Mode.RUNNING
    assert [(o.sz_lots, o.is_reduce_only) for o in it.side(Side.SELL)] == [(30, True)]
    it.fill(it.side(Side.SELL)[0], 12)
    it.settle()
    assert [(o.sz_lots, o.is_reduce_only) for o in it.side(Side.SELL)] == [(18, True)]


CAUSES: dict[str, Callable[[Rig, int], None]] = {}


def cause(make: Callable[[Rig, int], None]) -> Callable[[Rig, int], None]:
    """A way into a protective mode, by the name of the function."""
    CAUSES[make.__name__] = make
    return make


@cause
def running(it: Rig, sign: int) -> None:
    """None."""


@cause
def soft_loss(it: Rig, sign: int) -> None:
    """A loss of 40 % of the capital, half of what kills."""
    per_bps = abs(it.position_lots) * PX / 100 * 1e-4
    it.wait(0.1)
    it.apply(it.snapshot(mark_px=PX * (1 - sign * 41.0 / per_bps * 1e-4)))


@cause
def above_the_limit(it: Rig, sign: int) -> None:
    """The limit falls under the position."""
    assert it.engine.risk.limits is not None
    lots = abs(it.position_lots)
    it.engine.risk.limits = msgspec.structs.replace(
        it.engine.risk.limits, q_max_usd=lots * PX / 100 / 1.1
    )


@cause
def vitals(it: Rig, sign: int) -> None:
    """A term that is dead."""
    it.engine._vitals = _Unwell()  # type: ignore[assignment]


@cause
def swept(it: Rig, sign: int) -> None:
    """Both sides have been swept twice."""
    guards = it.engine._guards
    assert guards is not None
    for side in Side:
        for _ in range(2):
            guards.on_sweep(it.now_ns, side)


@cause
def stuck(it: Rig, sign: int) -> None:
    """Minutes against an urgent trend."""
    it.engine._guards = _Stuck(GuardParams())


@cause
def losing(it: Rig, sign: int) -> None:
    """A proven loss per fill."""
    guards = it.engine._guards
    assert guards is not None
    guards._edge_until_ns = it.now_ns + 900 * NS_PER_S


class _Stuck(Guards):
    def _is_stuck(self, now_ns: int, position: Position) -> bool:
        return True


class _Unwell:
    is_well = is_sound = False

    def reset_gap(self) -> None:
        """Nothing is kept."""


NAMES = {
    "soft_loss": "soft_loss",
    "above_the_limit": "inventory",
    "vitals": "vitals",
    "stuck": "stuck_and_opposed",
    "losing": "negative_edge",
}


HELD = [
    (name, lots)
    for name in CAUSES
    for lots in (3, 39, 45, 300)
    if name != "soft_loss" or lots >= 100  # so small a position cannot lose as much
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("name", "lots"), HELD)
def test_a_position_has_a_reducing_order_in_every_protective_mode(
    name: str, lots: int, sign: int
) -> None:
    """Every cause, both signs, dust, one order and a ladder: what is held is always for sale."""
    it = Rig(params(risk=PATIENT), position_lots=sign * lots, fair_px=PX)
    it.settle()
    CAUSES[name](it, sign)
    it.wait(1.1)
    it.tell_book()
    it.settle()
    reducing = it.side(Side(-sign))
    assert reducing
    if name in NAMES:
        assert it.engine.mode is Mode.REDUCING
        assert NAMES[name] in {n.facts.get("cause") for n in it.notes if n.event == "mode.changed"}
        assert all(order.is_reduce_only for order in reducing)
        assert sum(order.sz_lots for order in reducing) == lots
        assert not it.side(Side(sign))
    elif name == "swept":
        assert not it.side(Side(sign))
    else:
        assert sum(order.sz_lots for order in reducing) >= lots
    it.move_to(PX * (1 - sign * 5e-4))
    it.settle()
    assert it.side(Side(-sign)), "and it follows the market"


def test_a_ladder_of_least_orders_works_on_a_hundred_dollars() -> None:
    """Three rungs of at least 10 USD a side; swept and back, every order stays valid."""
    it = Rig(fair_px=PX)
    it.settle()
    for side in (Side.BUY, Side.SELL):
        orders = it.side(side)
        assert len(orders) == 3
        assert all(o.px_ticks * o.sz_lots * 1e-6 >= 10.0 for o in orders)
    it.sweep(Side.BUY)
    it.wait(0.1)
    it.tell_book()
    it.settle()
    assert 0 < it.position_lots <= 0.2 * Q_MAX
    assert it.side(Side.SELL)


# -- the first seconds of a market ----------------------------------------------------------------


def side_lots(it: Rig, side: Side) -> int:
    return sum(order.sz_lots for order in it.side(side))


@pytest.mark.parametrize("position_usd", [None, 60.0])
def test_a_market_begins_wide_by_the_priors_and_small_and_then_grows(
    position_usd: float | None,
) -> None:
    """On a book without a single trade; the predecessor waited 103 s for its first quote."""
    risk: dict[str, object] = {"warm_s": 30.0}
    if position_usd is not None:
        risk["max_position_usd"] = position_usd
    it = Rig(params(risk=risk), fair_px=PX)
    first = it.settle()
    assert it.now_ns - T0_NS < NS_PER_S
    assert first.diagnostics is None or first.diagnostics.half_bps >= 8.0
    began = {side: side_lots(it, side) for side in Side}
    assert all(began.values()), "one order at least, however small the budget"
    assert min(it.depth_bps(side) for side in Side) >= 7.5
    for _ in range(29):
        it.wait(1.0)
        it.tell_book()
        it.settle()
    assert {side: side_lots(it, side) for side in Side} == began
    it.wait(2.0)
    it.tell_book()
    it.settle()
    for side in Side:
        whole = it.q_max_lots() * 0.2
        assert side_lots(it, side) <= whole
        if position_usd is None:
            assert began[side] <= 0.5 * whole
            assert side_lots(it, side) >= 1.5 * began[side]


def test_the_end_of_the_beginning_is_a_wake_time() -> None:
    """It comes without an event."""
    # At no multiple of the second in which the rest is looked at.
    it = Rig(params(risk={"warm_s": 7.3}), fair_px=PX)
    it.settle()
    times = set()
    for _ in range(20):
        wake_ns = it.engine.wake_at_ns()
        assert wake_ns is not None
        times.add(wake_ns)
        it.now_ns = wake_ns
        it.tell_book()
        it.settle()
    begun_ns = it.batches[0].now_ns
    assert begun_ns + round(7.3 * NS_PER_S) in times


@pytest.mark.parametrize("sign", [1, -1])
def test_what_reduces_is_whole_from_the_first_second(sign: int) -> None:
    """Small is what may add, not what may close."""
    it = Rig(params(risk={"warm_s": 30.0}), position_lots=sign * 300, fair_px=PX)
    it.settle()
    assert side_lots(it, Side(-sign)) >= 0.95 * 300
    assert 0 < side_lots(it, Side(sign)) <= 0.5 * 0.2 * (Q_MAX - 300)


def test_halted_nothing_rests_whatever_is_held() -> None:
    """The kill switch is no protective mode: it ends, and the end decides on the position."""
    it = at(300)
    it.apply(Command(it.now_ns, CommandKind.KILL, "test"))
    it.settle()
    assert not it.resting
    assert HYPE.sz(it.position_lots) == 3.0
