"""Soft guards: opposition, edge and repeated sweeps reduce before a loss limit is near."""

from __future__ import annotations

from typing import Any

import pytest

from core.rig import T0_NS, Rig, params
from mmbot.core.guards import Guard, GuardParams, Guards, Position
from mmbot.core.markout import RecentEdge
from mmbot.core.types import NS_PER_S, Fees, Mode, Side

STUCK = Position(0.4, is_opposed=True, urgency=1.5)
CALM = Position(0.0, is_opposed=False, urgency=0.0)
LOSING = RecentEdge(20, -4.0, 0.7)


def guards(**changes: object) -> Guards:
    return Guards(GuardParams.model_validate(changes))


def at(seconds: float) -> int:
    return T0_NS + round(seconds * NS_PER_S)


def test_stuck_against_an_urgent_trend_for_five_minutes_reduces() -> None:
    """The recorded session stood so for most of its length."""
    it = guards()
    assert it.update(at(0), STUCK, None, 0) is None
    assert it.update(at(299.9), STUCK, None, 0) is None
    assert it.wake_at_ns(at(299.9)) == at(300)
    assert it.update(at(300), STUCK, None, 0) is Guard.STUCK
    assert it.update(at(301), STUCK._replace(x=-0.4), None, 0) is Guard.STUCK
    assert it.update(at(302), STUCK._replace(x=0.29), None, 0) is None
    assert it.update(at(303), STUCK, None, 0) is None, "the time begins anew"


@pytest.mark.parametrize(
    "change", [{"x": 0.29}, {"is_opposed": False}, {"urgency": 1.0}], ids=lambda c: next(iter(c))
)
def test_each_part_of_being_stuck_is_needed(change: dict[str, Any]) -> None:
    """A position, against the trend, that matters."""
    it = guards()
    for second in range(0, 900, 10):
        assert it.update(at(second), STUCK._replace(**change), None, 0) is None


def test_a_proven_loss_per_event_reduces_for_its_time_and_then_needs_new_evidence() -> None:
    """The record: -4.0 bps a fill over 24 events."""
    it = guards(edge_s=600.0)
    assert it.update(at(0), CALM, LOSING, 19) is None
    assert it.update(at(1), CALM, LOSING, 20) is Guard.EDGE
    assert it.wake_at_ns(at(1)) == at(601)
    assert it.update(at(600), CALM, LOSING, 25) is Guard.EDGE
    assert it.update(at(601), CALM, LOSING, 25) is None
    assert it.update(at(700), CALM, LOSING, 44) is None
    assert it.update(at(701), CALM, LOSING, 45) is Guard.EDGE


@pytest.mark.parametrize(
    "edge",
    [RecentEdge(20, -1.9, 0.1), RecentEdge(20, -4.0, 1.4), RecentEdge(20, -4.0, None), None],
)
def test_a_loss_that_is_small_or_uncertain_does_not(edge: RecentEdge | None) -> None:
    """Twenty fills of noise are no proof."""
    assert guards().update(at(0), CALM, edge, 40) is None


def test_two_sweeps_of_one_side_within_ten_minutes_empty_it_for_five() -> None:
    """And only that side."""
    it = guards()
    assert it.on_sweep(at(0), Side.BUY) is None
    assert it.on_sweep(at(601), Side.BUY) is None
    assert it.on_sweep(at(700), Side.SELL) is None
    note = it.on_sweep(at(900), Side.BUY)
    assert note is not None
    assert note.facts["side"] == "buy"
    assert it.is_off(Side.BUY, at(1199.9))
    assert not it.is_off(Side.SELL, at(901))
    assert it.wake_at_ns(at(901)) == at(1200)
    assert not it.is_off(Side.BUY, at(1200))


# -- on the wire -----------------------------------------------------------------------------------


def sweep(it: Rig, side: Side) -> None:
    """All of one side in one message, its reach deep enough to count as a sweep."""
    orders = sorted(
        (o for o in it.resting.values() if o.side is side), key=lambda o: -side * o.px_ticks
    )
    assert len(orders) >= 3
    for order in orders:
        it.fill(order, order.sz_lots)


def wide() -> Rig:
    return Rig(
        params(
            risk={"max_position_usd": 500.0, "capital_usd": 100.0},
            ladder={"rungs": 5, "spacing_bps": 2.0},
            guards={"sweeps_off_s": 60.0},
        ),
        equity_usd=100.0,
    )


def rest(it: Rig, seconds: int) -> None:
    for _ in range(seconds):
        it.wait(1.0)
        it.tell_book()
        it.settle()


def test_after_two_sweeps_the_side_stays_empty_and_then_returns() -> None:
    """Swept twice in four minutes, the predecessor put the third ladder up at once."""
    it = wide()
    rest(it, 5)
    sweep(it, Side.BUY)
    rest(it, 5)
    assert any(note.event == "cascade.seen" for note in it.notes)
    # Out of the position again, so that bids would be wanted.
    while it.position_lots > 0:
        asks = [o for o in it.resting.values() if o.side is Side.SELL]
        it.fill(asks[0], min(asks[0].sz_lots, it.position_lots))
        rest(it, 1)
    rest(it, 130)
    sweep(it, Side.BUY)
    rest(it, 3)
    assert [n.facts["side"] for n in it.notes if n.event == "side.off"] == ["buy"]
    while it.position_lots > 0:
        asks = [o for o in it.resting.values() if o.side is Side.SELL]
        it.fill(asks[0], min(asks[0].sz_lots, it.position_lots))
        rest(it, 1)
    assert not any(o.side is Side.BUY for o in it.resting.values())
    assert any(o.side is Side.SELL for o in it.resting.values())
    assert "bid: swept again" in it.decide().status.reasons
    rest(it, 65)
    assert any(o.side is Side.BUY for o in it.resting.values())


def test_stuck_and_opposed_leaves_nothing_but_reducing_orders() -> None:
    """Long in a falling market: after the time, every order that rests can only close."""
    it = Rig(
        params(
            risk={
                "max_position_usd": 500.0,
                "loss_limit_frac": 0.5,
                "drawdown_limit_frac": 0.5,
                "soft_limit_frac": 0.4,
            },
            guards={"stuck_s": 60.0},
        ),
        position_lots=800,
    )
    px = 26.2
    for _ in range(260):
        px *= 1 - 0.6e-4
        it.wait(1.0)
        it.set_fair(px)
        it.tell_book()
        it.settle()
    assert it.engine.mode is Mode.REDUCING
    assert any(note.facts.get("cause") == "stuck_and_opposed" for note in it.notes)
    assert it.resting
    assert all(o.side is Side.SELL and o.is_reduce_only for o in it.resting.values())


def test_fills_that_always_lose_stop_the_increasing_side() -> None:
    """Every fill is followed by the price going through it: informed traders pick us off."""
    it = Rig(
        params(
            risk={"loss_limit_frac": 0.5, "drawdown_limit_frac": 0.5, "soft_limit_frac": 0.4},
        )
    )
    px = 26.2
    for n in range(60):
        if it.engine.mode is not Mode.RUNNING:
            break
        side = Side.BUY if n % 2 else Side.SELL
        orders = [o for o in it.resting.values() if o.side is side]
        if orders:
            it.fill(orders[0], orders[0].sz_lots)
            px *= 1 - side * 20e-4
        for _ in range(8):
            it.wait(1.0)
            it.set_fair(px)
            it.run_over()
            it.tell_book()
            it.settle()
    assert it.engine.mode is Mode.REDUCING
    assert any(note.facts.get("cause") == "negative_edge" for note in it.notes)


@pytest.mark.parametrize(
    ("changes", "cost_bps", "saved_bps", "seconds", "is_wanted"),
    [
        ({"taker_exit": True}, 5.0, 5.1, 600.0, True),
        ({"taker_exit": True}, 5.0, 5.1, 599.9, False),
        ({"taker_exit": True}, 5.0, 5.0, 600.0, False),
        ({}, 5.0, 500.0, 9000.0, False),
    ],
)
def test_a_taker_exit_is_off_by_default_late_and_never_dearer_than_waiting(
    changes: dict[str, object], cost_bps: float, saved_bps: float, seconds: float, is_wanted: bool
) -> None:
    """In January 111 of 127 fills were a taker's, and their fees were most of the loss."""
    it = guards(**changes)
    it.update(at(0), STUCK, None, 0)
    it.update(at(seconds), STUCK, None, 0)
    assert it.wants_exit(at(seconds), cost_bps=cost_bps, saved_bps=saved_bps) is is_wanted
    it.update(at(seconds + 1), STUCK._replace(x=0.1), None, 0)
    assert not it.wants_exit(at(seconds + 1), cost_bps=0.0, saved_bps=99.0), "no longer stuck"


@pytest.mark.parametrize(
    ("changes", "taker_bps", "leaves"),
    [({"taker_exit": True}, 4.5, True), ({}, 4.5, False), ({"taker_exit": True}, 900.0, False)],
)
def test_stuck_for_long_the_engine_asks_to_leave_only_where_that_is_switched_on_and_pays(
    changes: dict[str, object], taker_bps: float, leaves: bool
) -> None:
    """The same falling market; the decision says so, and no order that could take ever leaves."""
    it = Rig(
        params(
            risk={
                "max_position_usd": 500.0,
                "loss_limit_frac": 0.5,
                "drawdown_limit_frac": 0.5,
                "soft_limit_frac": 0.4,
            },
            guards={"stuck_s": 30.0, "stuck_exit_s": 60.0, **changes},
        ),
        position_lots=800,
    )
    it.apply(it.snapshot(fees=Fees(1.5, taker_bps)))
    px = 26.2
    asked = []
    for _ in range(260):
        px *= 1 - 0.6e-4
        it.wait(1.0)
        it.set_fair(px)
        it.tell_book()
        asked.append(it.settle().leave)
    assert any(asked) is leaves
    if leaves:
        first = next(why for why in asked if why is not None)
        assert "stuck against a trend" in first
        assert asked.index(first) > 60


def test_a_sweep_of_orders_that_are_just_being_moved_is_a_sweep() -> None:
    """
    What a move asks for does not rest: the venue refuses it for an order that was filled.

    Counted as if it did, it made a whole side that was taken in one message look like half of it.
    """
    it = Rig(
        params(
            risk={"max_position_usd": 500.0, "capital_usd": 100.0},
            ladder={"rungs": 4, "spacing_bps": 0.5},
            guards={"jump_sigmas": 100.0},
        ),
        equity_usd=100.0,
    )
    rest(it, 5)
    asks = it.side(Side.SELL)
    it.move_to(26.2 * (1 - 12e-4))
    it.wait(0.3)
    it.tell_book()
    it.execute = lambda batch: None  # type: ignore[method-assign]
    it.decide()
    moving = {move.cloid for move in it.batches[-1].moves}
    assert moving >= {order.cloid for order in asks[:-1]}
    del it.execute
    it.wait(0.02)
    for order in asks:
        it.fill(order, order.sz_lots)
    it.decide()

    (seen,) = [note for note in it.notes if note.event == "cascade.seen"]
    assert (seen.facts["side"], seen.facts["trigger"]) == ("sell", "share")


@pytest.mark.parametrize("lots", [1, 30, 120])
def test_a_side_that_is_off_only_reduces_a_position_against_it(lots: int) -> None:
    """A few lots held the other way lifted the rule, and its whole ladder turned them round."""
    it = wide()
    rest(it, 5)
    sweep(it, Side.BUY)
    rest(it, 5)
    sell_all(it)
    rest(it, 130)
    sweep(it, Side.BUY)
    rest(it, 3)
    sell_all(it)
    assert not it.side(Side.BUY)
    asks = sorted((o for o in it.resting.values() if o.side is Side.SELL), key=lambda o: o.px_ticks)
    it.fill(asks[0], min(lots, asks[0].sz_lots))
    rest(it, 3)
    held = -it.position_lots
    assert held > 0
    bids = it.side(Side.BUY)
    assert bids, "what reduces is never kept back"
    assert all(order.is_reduce_only for order in bids)
    assert sum(order.sz_lots for order in bids) <= held


def sell_all(it: Rig) -> None:
    """Out of a long position, order by order."""
    while it.position_lots > 0:
        asks = [o for o in it.resting.values() if o.side is Side.SELL]
        it.fill(asks[0], min(asks[0].sz_lots, it.position_lots))
        rest(it, 1)
