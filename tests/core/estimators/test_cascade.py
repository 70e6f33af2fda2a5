"""The memory of sweeps: how far, how long, on which side, and what it says of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.estimators.burst import Burst, OwnFill
from mmbot.core.estimators.cascade import (
    Cascade,
    CascadeMemory,
    CascadeParams,
    CascadeView,
    SideMemory,
)
from mmbot.core.types import NS_PER_S, Side
from mmbot.errors import StateError

FAIR = 100_000.0
"""Ticks; ten of them are a bps."""

TOUCH = {Side.BUY: FAIR - 10, Side.SELL: FAIR + 10}
START_S = 1_700_000_000
SWEEP = (0.5, 2.0, 3.5, 5.0, 6.5, 8.0, 9.5)
"""Depths beyond the touch of the seven fills of one message."""

LINEAR = CascadeParams(sustain_s=0.0, half_life_s=120.0)
"""The linear memory of model 3.7, whose vectors are known."""


class Rig:
    """A cascade told of sweeps, asked in seconds since the start."""

    def __init__(self, params: CascadeParams | None = None) -> None:
        self.params = params or CascadeParams()
        self.it = Cascade(self.params)
        self.tid = 0

    def sweep(self, at_s: float, side: Side, depths: Sequence[float] = SWEEP) -> Burst | None:
        """One message that takes `depths` of `side`."""
        fills = []
        for depth in depths:
            self.tid += 1
            px = TOUCH[side] - side * depth * FAIR * 1e-4
            fills.append(OwnFill(px, 10.0, self.tid, self.tid))
        return self.it.on_own_fills(
            ns(at_s),
            ns(at_s) // 1_000_000,
            side,
            fills,
            resting_lots=100.0,
            touch_ticks=TOUCH[side],
            fair_ticks=FAIR,
            k_per_bp=0.5,
        )

    def at(
        self, at_s: float, x: float = 0.0, z: float | None = None, ofi: float | None = None
    ) -> CascadeView:
        """The view at a time."""
        return self.it.view(ns(at_s), x, z, ofi)

    def restarted(self, at_s: float) -> Rig:
        """A new process that loads what this one stored."""
        other = Rig(self.params)
        other.it.restore(self.it.snapshot(), ns(at_s))
        return other


def ns(at_s: float) -> int:
    """Nanoseconds since the epoch of a second since the start, to the microsecond."""
    return START_S * NS_PER_S + round(at_s * 1e6) * 1000


# ---------------------------------------------------------------- the pullback, as accepted


@pytest.mark.parametrize("side", list(Side))
def test_a_swept_side_stays_back_in_full_for_two_minutes_and_an_eighth_after_five(
    side: Side,
) -> None:
    """Seven fills in one message, 9.5 bps deep; the predecessor came back after 20 s."""
    rig = Rig()
    rig.sweep(0, side)

    for at_s, expected in (
        (0, 9.5),
        (60, 9.5),
        (119.9, 9.5),
        (120, 9.5),
        (180, 4.75),
        (240, 2.375),
        (300, 9.5 * 0.125),
        (360, 9.5 * 0.0625),
    ):
        view = rig.at(at_s)
        swept, other = (
            (view.bid_bps, view.ask_bps) if side is Side.BUY else (view.ask_bps, view.bid_bps)
        )
        assert swept == pytest.approx(expected, rel=1e-9), at_s
        assert other == 0.0


def test_a_second_sweep_within_four_minutes_adds_up_to_the_cap() -> None:
    """249 s apart in the recorded session: the second must find the side further back."""
    for at_s, expected in ((30, 15.0), (180, 14.25), (240, 11.875)):
        rig = Rig()
        rig.sweep(0, Side.SELL)
        rig.sweep(at_s, Side.SELL)
        assert rig.at(at_s).ask_bps == pytest.approx(expected, rel=1e-9)
        assert rig.at(at_s + 120).ask_bps == pytest.approx(expected, rel=1e-9)
        assert rig.at(at_s + 300).ask_bps == pytest.approx(expected / 8, rel=1e-9)


def test_a_restart_between_two_sweeps_loses_nothing() -> None:
    """The memory ages by the wall clock while the process is down."""
    through, restarted = Rig(), Rig()
    through.sweep(0, Side.SELL)
    restarted.sweep(0, Side.SELL)
    restarted = restarted.restarted(100)

    for at_s in (100, 119, 150, 240):
        assert restarted.at(at_s, -0.3, 0.5, -1.0) == through.at(at_s, -0.3, 0.5, -1.0)
    through.sweep(240, Side.SELL)
    restarted.sweep(240, Side.SELL)
    assert restarted.at(241, -0.3) == through.at(241, -0.3)
    assert restarted.at(241, -0.3).ask_bps == pytest.approx(11.875, rel=1e-9)


def test_a_position_that_crosses_zero_frees_the_side_and_binds_it_again() -> None:
    """Short, asks swept; 60 s later long: the asks reduce and are free. Back to short: bound."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    assert rig.at(59, -0.2).ask_bps == 9.5

    for x, share in ((-0.05, 1), (0.0, 1), (0.05, 1), (0.1, 0.5), (0.15, 0), (0.3, 0)):
        view = rig.at(60, x)
        assert view.ask_bps == pytest.approx(9.5 * share, abs=1e-9)
        assert (view.hold_ask_ticks is None) is (share == 0)
    assert rig.at(60, 0.2).ask_bps == 0.0
    assert rig.at(100, -0.2).ask_bps == 9.5


@given(
    x=st.floats(0.15, 1.5),
    at_s=st.floats(0, 400),
    depths=st.lists(st.floats(0, 20), min_size=4, max_size=8),
)
def test_the_side_that_reduces_is_never_made_worse(
    x: float, at_s: float, depths: list[float]
) -> None:
    """Invariants 17 and 22; the predecessor widened the reducing side too and kept the position."""
    rig = Rig()
    for i in range(4):
        rig.sweep(i * 2, Side.SELL, depths)
        rig.sweep(i * 2, Side.BUY, depths)
    for view, pulls in (
        (rig.at(8 + at_s, x, 9.0, 9.0), "pulls_ask"),
        (rig.at(8 + at_s, -x, -9.0, -9.0), "pulls_bid"),
    ):
        assert not getattr(view, pulls)
    long, short = rig.at(8 + at_s, x), rig.at(8 + at_s, -x)
    assert (long.ask_bps, long.hold_ask_ticks) == (0.0, None)
    assert (short.bid_bps, short.hold_bid_ticks) == (0.0, None)
    assert long.hold_bps(Side.SELL, 1.0, FAIR) == 0.0
    assert short.hold_bps(Side.BUY, 1.0, FAIR) == 0.0


# ---------------------------------------------------------------- the memory's law


def test_the_linear_memory_meets_the_vector_of_the_model() -> None:
    """Model 3.7: 9.5 at 10 s and 250 s, half-life 120 s, nothing sustained."""
    rig = Rig(LINEAR)
    rig.sweep(10, Side.BUY)
    rig.sweep(250, Side.BUY)
    for at_s, expected in ((250, 11.875), (310, 8.396893027), (490, 2.96875)):
        assert rig.at(at_s).bid_bps == pytest.approx(expected, rel=1e-9)
        assert rig.at(at_s).hold_bid_ticks is None


@given(
    first=st.lists(st.floats(0, 20), min_size=4, max_size=8),
    second=st.lists(st.floats(0, 20), min_size=4, max_size=8),
    gap_s=st.floats(1.01, 500),
    later_s=st.floats(0, 400),
)
def test_a_second_burst_never_leaves_less_than_the_first(
    first: list[float], second: list[float], gap_s: float, later_s: float
) -> None:
    """Invariant 21: a small one after a deep one restores what the deep one asked, at least."""
    one, two = Rig(), Rig()
    before = one.sweep(0, Side.SELL, first)
    two.sweep(0, Side.SELL, first)
    after = two.sweep(gap_s, Side.SELL, second)
    assume(before is not None)
    assume(after is not None)

    assert two.at(gap_s).ask_bps >= one.at(0).ask_bps
    assert two.at(gap_s).ask_bps >= min(15.0, second_alone(second))
    assert two.at(gap_s + later_s).ask_bps >= one.at(gap_s + later_s).ask_bps


def second_alone(depths: list[float]) -> float:
    """What a burst asks when none came before it."""
    rig = Rig()
    rig.sweep(0, Side.SELL, depths)
    return rig.at(0).ask_bps


def test_a_forgotten_sweep_does_not_come_back() -> None:
    """After half an hour a small burst is a small burst."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    rig.sweep(1800, Side.SELL, [0, 6, 6, 6])
    assert rig.at(1800).ask_bps == pytest.approx(6.0, rel=1e-6)


@given(at_s=st.floats(121, 3600), step_s=st.floats(0.5, 600))
def test_without_events_it_only_fades(at_s: float, step_s: float) -> None:
    """Invariant 21: strictly, by half every minute, below a tick in the end."""
    rig = Rig()
    rig.sweep(0, Side.BUY)
    now, later = rig.at(at_s).bid_bps, rig.at(at_s + step_s).bid_bps
    assert 0 < later < now < 9.5
    assert rig.at(at_s + 60).bid_bps == pytest.approx(now / 2, rel=1e-6)
    assert rig.at(1000).bid_bps < 0.01


@given(
    sweeps=st.lists(
        st.tuples(
            st.floats(0, 200),
            st.sampled_from(list(Side)),
            st.lists(st.floats(0, 30), min_size=1, max_size=8),
        ),
        max_size=6,
    ),
    x=st.floats(-1, 1),
    z=st.none() | st.floats(-10, 10),
    ofi=st.none() | st.floats(-10, 10),
    at_s=st.floats(200, 900),
)
def test_up_and_down_mirror_exactly_and_everything_is_bounded(
    sweeps: list[tuple[float, Side, list[float]]],
    x: float,
    z: float | None,
    ofi: float | None,
    at_s: float,
) -> None:
    """Invariant 1, to the last bit: sides swapped, signals and position negated."""
    here, there = Rig(), Rig()
    for time_s, side, depths in sorted(sweeps, key=lambda it: it[0]):
        whole = [round(depth * 10) / 10 for depth in depths]
        here.sweep(time_s, side, whole)
        there.sweep(time_s, side.opposite, whole)

    view = here.at(at_s, x, z, ofi)
    mirror = there.at(at_s, -x, None if z is None else -z, None if ofi is None else -ofi)

    assert (view.bid_bps, view.ask_bps) == (mirror.ask_bps, mirror.bid_bps)
    assert (view.danger_up, view.danger_down) == (mirror.danger_down, mirror.danger_up)
    assert view.direction == -mirror.direction
    assert (view.pulls_bid, view.pulls_ask) == (mirror.pulls_ask, mirror.pulls_bid)
    assert (view.weight_bid, view.weight_ask) == (mirror.weight_ask, mirror.weight_bid)
    for bid, ask in (
        (view.hold_bid_ticks, mirror.hold_ask_ticks),
        (mirror.hold_bid_ticks, view.hold_ask_ticks),
    ):
        assert (bid is None) is (ask is None)
        if bid is not None and ask is not None:
            assert FAIR - bid == pytest.approx(ask - FAIR, abs=1e-9)
    assert 0 <= view.bid_bps <= 15
    assert 0 <= view.ask_bps <= 15
    assert 0 < view.danger_up < 1
    assert -1 < view.direction < 1


@given(
    depths=st.lists(st.floats(0, 20), min_size=1, max_size=9),
    extra=st.floats(0, 30),
    at_s=st.floats(1.5, 400),
    x=st.floats(-1, 0.04),
)
def test_one_more_fill_of_a_sweep_never_brings_its_side_nearer(
    depths: list[float], extra: float, at_s: float, x: float
) -> None:
    """Invariant 20, on the depth and on the hold, at any time after."""
    plain, more = Rig(), Rig()
    plain.sweep(0, Side.SELL, depths)
    more.sweep(0, Side.SELL, depths)
    more.sweep(0.05, Side.SELL, [extra])
    one, two = plain.at(at_s, x), more.at(at_s, x)

    assert two.ask_bps >= one.ask_bps
    assert two.ask_bps + two.hold_bps(Side.SELL, 5.0, FAIR) >= one.ask_bps + one.hold_bps(
        Side.SELL, 5.0, FAIR
    )
    assert two.bid_bps == one.bid_bps


def test_a_view_changes_nothing() -> None:
    """The ladder, the report and the self-test may all look."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    memory, view = rig.it.snapshot(), rig.at(200, -0.1, 1.0, 1.0)
    for at_s in (400, 0, 200):
        rig.at(at_s, 0.3, 2.0, None)
    assert rig.it.snapshot() is memory
    assert rig.at(200, -0.1, 1.0, 1.0) == view


def test_the_rest_of_a_sweep_is_not_a_second_sweep() -> None:
    """Two frames of one message: 9.5 bps, not 5 + 9.5, and one sweep of danger."""
    whole, cut = Rig(), Rig()
    whole.sweep(0, Side.SELL)
    cut.sweep(0, Side.SELL, SWEEP[:5])
    assert cut.at(0).ask_bps == pytest.approx(6.5)
    cut.sweep(0, Side.SELL, SWEEP[5:])

    assert cut.at(0).ask_bps == pytest.approx(9.5)
    assert cut.it.snapshot() == whole.it.snapshot()


def test_after_an_extension_the_earlier_memory_still_counts() -> None:
    """Second sweep in two frames: what was left of the first stays under it."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    rig.sweep(240, Side.SELL, SWEEP[:5])
    rig.sweep(240, Side.SELL, SWEEP[5:])
    assert rig.at(240).ask_bps == pytest.approx(2.375 + 9.5, rel=1e-9)


def test_a_clock_that_steps_back_ages_nothing() -> None:
    """Before the burst by our clock: as fresh, neither stronger nor an error."""
    rig = Rig()
    rig.sweep(100, Side.SELL)
    assert rig.at(40, -0.2) == rig.at(100, -0.2)


# ---------------------------------------------------------------- the hold


@pytest.mark.parametrize("side", list(Side))
def test_no_quote_of_the_side_is_nearer_than_the_deepest_price_taken(side: Side) -> None:
    """For the same two minutes, in ticks and as bps on top of a depth."""
    rig = Rig()
    rig.sweep(0, side)
    x = 0.3 * side
    view = rig.at(119, x)
    deepest = TOUCH[side] - side * 95.0
    held = view.hold_bid_ticks if side is Side.BUY else view.hold_ask_ticks

    assert held == pytest.approx(deepest, abs=1e-6)
    assert view.hold_bps(side, 4.0, FAIR) == pytest.approx(10.5 - 4.0, rel=1e-9)
    assert view.hold_bps(side, 12.0, FAIR) == 0.0
    assert view.hold_bps(side.opposite, 4.0, FAIR) == 0.0
    ended = rig.at(120, x)
    assert (ended.hold_bid_ticks, ended.hold_ask_ticks) == (None, None)
    assert ended.hold_bps(side, 4.0, FAIR) == 0.0


def test_the_hold_moves_with_the_market_and_fades_with_the_memory() -> None:
    """It is a price: when fair falls to meet our bids' it asks for nothing; half weight, half."""
    rig = Rig()
    rig.sweep(0, Side.BUY)
    assert rig.at(60, 0.3).hold_bps(Side.BUY, 4.0, FAIR * (1 - 20e-4)) == 0.0
    assert rig.at(60, -0.1).hold_bps(Side.BUY, 4.0, FAIR) == pytest.approx(3.25, rel=1e-6)


def test_the_deeper_of_two_prices_holds() -> None:
    """A shallow sweep after a deep one must not free what the deep one closed."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    rig.sweep(60, Side.SELL, [0, 6, 6, 6])
    assert rig.at(130).hold_ask_ticks == pytest.approx(TOUCH[Side.SELL] + 95)
    rig.sweep(400, Side.SELL, [0, 6, 6, 6])
    assert rig.at(401).hold_ask_ticks == pytest.approx(TOUCH[Side.SELL] + 60)


def test_it_says_when_it_will_change() -> None:
    """The engine sleeps until then: the end of the two minutes."""
    rig = Rig()
    assert rig.it.wake_at_ns(ns(0)) is None
    rig.sweep(0, Side.SELL)
    rig.sweep(50, Side.BUY)
    assert rig.it.wake_at_ns(ns(60)) == ns(120)
    assert rig.it.wake_at_ns(ns(120)) == ns(170)
    assert rig.it.wake_at_ns(ns(170)) is None


def test_gain_zero_switches_pullback_and_hold_off_and_nothing_else() -> None:
    """The term off; the danger is another mechanism."""
    rig = Rig(CascadeParams(gain=0.0))
    rig.sweep(0, Side.SELL)
    view = rig.at(10, -0.3)
    assert (view.ask_bps, view.hold_ask_ticks) == (0.0, None)
    default = Rig()
    default.sweep(0, Side.SELL)
    assert view.danger_up == default.at(10, -0.3).danger_up > 0.3


# ---------------------------------------------------------------- danger


def test_danger_after_sweeps_meets_the_figures_of_the_model() -> None:
    """Model 3.7: one sweep 0.34, after 120 s 0.10, two 240 s apart 0.52; at rest 0.025."""
    rig = Rig()
    assert rig.at(0).danger_up == pytest.approx(0.025, rel=1e-9)
    rig.sweep(0, Side.SELL)
    for at_s, rounded, odds in ((0, 0.34, 3.0), (120, 0.10, 1.5)):
        assert rig.at(at_s).danger_up == pytest.approx(rounded, abs=0.005)
        assert rig.at(at_s).danger_up == pytest.approx(1 / (1 + 39 * exp(-odds)), rel=1e-9)
    rig.sweep(240, Side.SELL)
    assert rig.at(240).danger_up == pytest.approx(0.52, abs=0.005)
    assert rig.at(240).danger_up == pytest.approx(1 / (1 + 39 * exp(-3.75)), rel=1e-9)
    assert rig.at(240).danger_down == pytest.approx(0.025, rel=1e-9)


@given(
    before=st.lists(
        st.tuples(st.floats(0, 100), st.sampled_from(list(Side)), st.floats(3, 20)), max_size=5
    ),
    depths=st.lists(st.floats(0, 20), min_size=1, max_size=8),
    z=st.none() | st.floats(-4, 4),
    at_s=st.floats(101, 400),
)
def test_a_sell_of_ours_is_never_evidence_for_down(
    before: list[tuple[float, Side, float]], depths: list[float], z: float | None, at_s: float
) -> None:
    """Invariant 31: the belief of the predecessor fed on its own fills."""
    without, with_sell = Rig(), Rig()
    for time_s, side, depth in sorted(before, key=lambda it: it[0]):
        for rig in (without, with_sell):
            rig.sweep(time_s, side, [0, depth, depth, depth])
    with_sell.sweep(101, Side.SELL, depths)
    one, two = without.at(at_s, 0.0, z), with_sell.at(at_s, 0.0, z)

    assert two.danger_down == one.danger_down
    assert two.danger_up >= one.danger_up
    assert two.bid_bps == one.bid_bps


@given(low=st.floats(-3, 3), high=st.floats(-3, 3), ofi=st.floats(-3, 3), sweeps=st.integers(0, 4))
def test_danger_rises_with_each_signal_and_each_sweep(
    low: float, high: float, ofi: float, sweeps: int
) -> None:
    """Monotone in each input, the right way round: a rising market endangers the asks."""
    rig = Rig()
    for i in range(sweeps):
        rig.sweep(i * 2, Side.SELL)
    low, high = sorted((low, high))
    assert rig.at(10, 0, low, ofi).danger_up <= rig.at(10, 0, high, ofi).danger_up
    assert rig.at(10, 0, low, ofi).danger_down >= rig.at(10, 0, high, ofi).danger_down
    assert rig.at(10, 0, ofi, low).danger_up <= rig.at(10, 0, ofi, high).danger_up
    calm = rig.at(10).danger_up
    rig.sweep(10, Side.SELL)
    assert rig.at(10).danger_up > calm


def test_signals_weigh_a_tenth_of_a_log_odd_each_and_are_clipped_at_three() -> None:
    """Sign and size: z 2 adds 0.2 to the log odds of up and takes 0.2 from down."""
    rig = Rig()
    view = rig.at(0, 0.0, 2.0, None)
    assert view.danger_up == pytest.approx(1 / (1 + 39 * exp(-0.2)), rel=1e-12)
    assert view.danger_down == pytest.approx(1 / (1 + 39 * exp(0.2)), rel=1e-12)
    assert rig.at(0, 0.0, 50.0, None) == rig.at(0, 0.0, 3.0, None)
    assert rig.at(0, 0.0, None, 3.0) == rig.at(0, 0.0, 3.0, None)


@pytest.mark.parametrize("absent", [None, float("nan"), float("inf")])
def test_an_absent_signal_adds_nothing_and_disturbs_nothing(absent: float | None) -> None:
    """A feed that is gone leaves the sweeps and the other signal to speak."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    assert rig.at(5, -0.2, absent, 1.0) == rig.at(5, -0.2, 0.0, 1.0)
    assert rig.at(5, -0.2, 1.0, absent) == rig.at(5, -0.2, 1.0, 0.0)


def test_great_danger_pulls_the_side_that_would_add_and_only_that() -> None:
    """Above 0.8; flat, both sides add."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    rig.sweep(2, Side.SELL)
    assert rig.at(2).danger_up > 0.8
    assert [rig.at(2, x).pulls_ask for x in (-0.5, -0.01, 0.0, 0.01, 0.5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not any(rig.at(2, x).pulls_bid for x in (-0.5, 0.0, 0.5))
    assert not rig.at(120, -0.5).pulls_ask


def test_an_unknown_position_counts_as_increasing_on_both_sides() -> None:
    """A required figure missing must pull, not free."""
    rig = Rig()
    for side in Side:
        rig.sweep(0, side)
        rig.sweep(2, side)
    view = rig.at(2, float("nan"))
    assert view.bid_bps == view.ask_bps == 15.0
    assert view.pulls_bid
    assert view.pulls_ask


# ---------------------------------------------------------------- store and robustness


def test_an_empty_memory_is_restored_as_empty() -> None:
    """The first start."""
    rig = Rig().restarted(0)
    assert rig.it.snapshot() == CascadeMemory()
    assert rig.at(0).ask_bps == 0.0


SIDE_MEMORY = SideMemory(at_ns=ns(0), extra_bps=9.5, hold_ticks=100_105.0, log_odds=3.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at_ns", ns(1)),
        ("at_ns", -1),
        ("extra_bps", float("nan")),
        ("extra_bps", -0.1),
        ("extra_bps", 41.0),
        ("hold_ticks", 0.0),
        ("hold_ticks", float("nan")),
        ("log_odds", float("inf")),
        ("log_odds", -3.0),
    ],
)
@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_stored_memory_that_cannot_be_ours_is_refused_by_name(
    side: str, name: str, value: float
) -> None:
    """Not repaired, not dropped: the operator is told whose fault it is and what to do."""
    values = {field: getattr(SIDE_MEMORY, field) for field in SIDE_MEMORY.__struct_fields__}
    memory = CascadeMemory(**{side: SideMemory(**(values | {name: value}))})
    rig = Rig()
    rig.sweep(0, Side.SELL)
    before = rig.it.snapshot()

    with pytest.raises(StateError, match=rf"{side}\.{name}.*clock"):
        rig.it.restore(memory, ns(0))
    assert rig.it.snapshot() is before


def test_a_lower_cap_binds_a_restored_memory_too() -> None:
    """The configuration of today bounds what yesterday's remembered."""
    old = Rig()
    old.sweep(0, Side.SELL)
    new = Rig(CascadeParams(extra_bps_max=5.0))
    new.it.restore(old.it.snapshot(), ns(0))
    off = Rig(CascadeParams(gain=0.0))
    off.it.restore(old.it.snapshot(), ns(0))
    assert new.at(1).ask_bps == 5.0
    assert (off.at(1).ask_bps, off.at(1).hold_ask_ticks) == (0.0, None)


def test_a_refused_call_leaves_the_memory_and_is_counted() -> None:
    """Invariant 29: not a number in, nothing out, one more in `ignored`."""
    rig = Rig()
    rig.sweep(0, Side.SELL)
    before = rig.it.snapshot()
    assert rig.sweep(1, Side.SELL, [float("nan")] * 5) is None
    assert rig.sweep(1, Side.BUY, []) is None
    assert rig.it.ignored == 2
    assert rig.it.snapshot() is before


def test_contradictory_parameters_are_refused() -> None:
    """Before anything is opened; an unknown key too."""
    with pytest.raises(ValidationError, match="fade_x_min"):
        CascadeParams(fade_x_min=0.2)
    for bad in ({"gain": -1}, {"extra_bps_max": 41}, {"half_life": 60}, {"danger_p": 0}):
        with pytest.raises(ValidationError):
            CascadeParams.model_validate(bad)
