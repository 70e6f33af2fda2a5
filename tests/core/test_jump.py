"""A price that jumps: both increasing sides are empty for a while, the reducing one stays."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rig import Rig, params
from mmbot.core.gate import GateView, gate
from mmbot.core.guards import GuardParams, Guards
from mmbot.core.intents import Diff, Place
from mmbot.core.jump import Jump
from mmbot.core.types import Side

PX = 25.0


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(249_000, 251_000)), min_size=1, max_size=60)
)
def test_the_move_is_to_the_farthest_mid_of_the_second_before(
    steps: list[tuple[int, int]],
) -> None:
    """Against the definition, sample by sample; a mirror changes the sign alone."""
    jump, mirror = Jump(), Jump()
    path: list[tuple[int, float]] = []
    ms = 0
    for wait_ms, mid in steps:
        ms += wait_ms
        path.append((ms, float(mid)))
        near = [m for at, m in path if at >= ms - 1000]
        found = jump.move_ticks(ms, float(mid))
        assert abs(found) == max(abs(mid - m) for m in near)
        assert mid - found in near
        assert abs(mirror.move_ticks(ms, 500_000.0 - mid)) == abs(found)


def settled(position_lots: int = 0) -> Rig:
    """A quiet market watched for a minute: a standard deviation at its lower bound."""
    it = Rig(
        params(volatility={"prior_bps_rt_s": 1.0, "vol_bps_rt_s_min": 1.0}),
        position_lots=position_lots,
        fair_px=PX,
    )
    for _ in range(60):
        it.wait(1.0)
        it.tell_book()
        it.settle()
    assert it.engine.signals.volatility.robust_bps_rt_s == 1.0
    return it


def hop(it: Rig, ticks: int, *, after_s: float = 0.2) -> None:
    """The touch moves by so many ticks; what it runs over is not filled."""
    it.wait(after_s)
    it.bid_ticks += ticks
    it.ask_ticks += ticks
    it.tell_book()
    it.settle()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("ticks", "is_pulled"), [(190, False), (200, True)])
def test_eight_standard_deviations_within_a_second_empty_both_sides_when_flat(
    sign: int, ticks: int, *, is_pulled: bool
) -> None:
    """At the threshold and a step below it, up and down: 8 bps of 25 are 200 ticks."""
    it = settled()
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)
    for order in list(it.resting.values()):
        it.cancel(order.cloid)
    hop(it, sign * 100)
    hop(it, sign * (ticks - 100))
    assert bool(it.resting) is not is_pulled
    assert [n.facts["sigmas"] for n in it.events_named("price.jumped")] == (
        [pytest.approx(sign * 8.0)] if is_pulled else []
    )


def test_the_same_move_in_more_than_a_second_empties_nothing() -> None:
    """It is the speed that tells."""
    it = settled()
    for _ in range(4):
        hop(it, 50, after_s=0.6)
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)
    assert not it.events_named("price.jumped")


@pytest.mark.parametrize("held", [1, -1])
@pytest.mark.parametrize("way", [1, -1])
def test_the_reducing_side_stays_and_follows_and_the_other_is_back_after_five_seconds(
    held: int, way: int
) -> None:
    """Mirror-symmetric, and the end comes without an event."""
    it = settled(held * 300)
    adding, reducing = Side(held), Side(-held)
    for order in list(it.resting.values()):
        it.cancel(order.cloid)
    hop(it, way * 250)
    jumped_ns = it.now_ns
    assert not it.side(adding)
    assert it.side(reducing)
    assert "price jump" in str(it.decide().status.reasons)
    it.wait(4.9)
    it.tell_book()
    it.settle()
    assert not it.side(adding)
    wakes = it.engine.wake_at_ns()
    assert wakes is not None
    assert wakes <= jumped_ns + 5 * 10**9
    it.now_ns = jumped_ns + 5 * 10**9
    it.settle()
    assert it.side(adding)
    assert len(it.events_named("price.jumped")) == 1


def test_a_market_that_goes_on_jumping_stays_empty() -> None:
    """The time counts from the last jump."""
    it = settled()
    for order in list(it.resting.values()):
        it.cancel(order.cloid)
    for n in range(6):
        hop(it, 250 if n % 2 else -250, after_s=2.0 if n else 0.2)
        hop(it, -250 if n % 2 else 250, after_s=0.3)
        assert not it.resting
    it.wait(5.0)
    it.tell_book()
    it.settle()
    assert it.resting


def test_nothing_is_measured_across_a_lost_link() -> None:
    """A price that moved while nobody looked did not jump."""
    guards = Guards(GuardParams())
    guards.on_mid(0, 0, 1000.0, 1.0)
    guards.reset_gap()
    assert guards.on_mid(1, 1, 2000.0, 1.0) is None
    assert guards.on_mid(2, 2, 1991.0, 1.0) is not None


@pytest.mark.parametrize("held", [-41, 0, 41])
def test_the_gate_lets_nothing_out_that_adds_whoever_asks(held: int) -> None:
    """It trusts nobody before it: the reason is its own."""
    it = settled(held)
    for order in list(it.resting.values()):
        it.cancel(order.cloid)
    orders = it.engine.orders
    places = tuple(
        Place(orders.new_cloid(), side, round(PX * 1e4) - side * 500, 41, is_reduce_only=is_only)
        for side, is_only in ((Side.BUY, False), (Side.SELL, False))
    )
    view = GateView(PX * 1e4, 1.0, it.bid_ticks, it.ask_ticks, held, 200, 200, 800.0, True)
    both, _ = gate(Diff((), (), places), orders, view, it.instrument, it.now_ns)
    assert both is not None
    assert len(both.places) == 2
    rules = ("price jump", "price jump")
    shut = msgspec.structs.replace(view, closed=rules)
    closing = tuple(
        Place(orders.new_cloid(), side, round(PX * 1e4) - side * 600, 41, is_reduce_only=True)
        for side in Side
        if side * held < 0
    )
    batch, notes = gate(Diff((), (), (*places, *closing)), orders, shut, it.instrument, it.now_ns)
    assert (() if batch is None else batch.places) == closing, "what is told to reduce passes"
    said = [(note.facts["side"], note.facts["reason"]) for note in notes]
    assert said == [
        (side.name.lower(), "price jump" if side * held >= 0 else "not reduce-only")
        for side in (Side.BUY, Side.SELL)
    ]
