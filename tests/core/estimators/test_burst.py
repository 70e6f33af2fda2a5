"""When fills are a burst: by what they took, whatever frames brought them in whatever order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.estimators.burst import Burst, BurstDetector, BurstParams, OwnFill, Trigger
from mmbot.core.types import NS_PER_MS, Side

FAIR = 100_000.0
"""Ticks; ten of them are a bps."""

TOUCH = {Side.BUY: FAIR - 10, Side.SELL: FAIR + 10}
RESTING = 1000.0
K = 0.5
START_MS = 1_700_000_000_000


class Rig:
    """A detector with figures that hardly change, and trade ids that never repeat."""

    def __init__(self, side: Side = Side.SELL, params: BurstParams | None = None) -> None:
        self.it = BurstDetector(params or BurstParams(), side)
        self.side = side
        self.tid = 0

    def fills(
        self, depths: Sequence[float], lots: float = 10.0, oids: Sequence[int] | None = None
    ) -> list[OwnFill]:
        """Fills `depths` bps beyond the touch, each of its own order unless told."""
        made = []
        for i, depth in enumerate(depths):
            self.tid += 1
            px = TOUCH[self.side] - self.side * depth * FAIR * 1e-4
            oid = self.tid if oids is None else oids[i]
            made.append(OwnFill(px, lots, oid, self.tid))
        return made

    def give(
        self,
        ms: int,
        fills: Sequence[OwnFill],
        *,
        resting: float = RESTING,
        k: float = K,
        arrives_ms: int | None = None,
    ) -> Burst | None:
        """One call of the detector, times in ms since the start."""
        return self.it.add(
            (START_MS + (ms if arrives_ms is None else arrives_ms)) * NS_PER_MS,
            START_MS + ms,
            fills,
            resting_lots=resting,
            touch_ticks=TOUCH[self.side],
            fair_ticks=FAIR,
            k_per_bp=k,
        )


@pytest.mark.parametrize("side", list(Side))
def test_a_sweep_of_seven_rungs_is_a_burst_as_deep_as_its_last(side: Side) -> None:
    """Seven fills in one message: depth from the touch it hit, span from the first fill."""
    rig = Rig(side)
    burst = rig.give(0, rig.fills([0.8, 1.6, 2.8, 4.1, 5.6, 7.4, 9.5]))

    assert burst is not None
    assert burst.trigger is Trigger.SPAN
    assert burst.side is side
    assert burst.depth_bps == pytest.approx(9.5, rel=1e-9)
    assert burst.span_bps == pytest.approx(8.7, rel=1e-9)
    assert burst.reach_p == pytest.approx(0.012906812, rel=1e-7)  # exp(-0.5 * 8.7)
    assert burst.share == pytest.approx(0.07)
    assert (burst.fills, burst.orders, burst.events) == (7, 7, 1)
    assert burst.deepest_ticks == pytest.approx(TOUCH[side] - side * 95.0)
    assert not burst.is_extension


@pytest.mark.parametrize(
    ("depths", "k", "is_burst"),
    [
        ((0, 2, 4, 6), 0.5, True),  # span 3/k exactly
        ((0, 2, 4, 5.99), 0.5, False),
        ((0, 3, 6), 0.5, False),  # only three fills
        ((0, 6, 6, 6), 0.5, True),
        ((0, 0.8, 1.8, 3.05), 0.5, False),  # one ordinary order in five takes four rungs
        ((0, 2, 4, 6), 0.35, False),  # the same fills where orders reach further
        ((0, 1, 2, 3), 1.0, True),
        ((9, 9, 9, 9), 0.5, False),  # deep, but no span: where we quoted is not what it took
    ],
)
def test_a_span_counts_against_the_measured_reach_of_orders(
    depths: tuple[float, ...], k: float, is_burst: bool
) -> None:
    """Four fills whose span is 3/k or more: significant at 5 % for the k of this market."""
    rig = Rig()
    assert (rig.give(0, rig.fills(depths), k=k) is not None) is is_burst


@pytest.mark.parametrize(
    ("depths", "lots", "is_burst"),
    [
        ((1, 1, 1, 1, 1), 160.0, True),  # 80 % of the side, five orders at one price
        ((1, 1, 1, 1, 1), 159.0, False),
        ((1, 1, 1, 1), 249.0, False),  # nearly everything, but an ordinary order of four
        ((0, 4), 400.0, True),  # two orders over 2/k
        ((0, 3.99), 400.0, False),
    ],
)
def test_most_of_a_side_at_once_is_a_burst_if_it_was_many_orders_or_a_long_way(
    depths: tuple[float, ...], lots: float, is_burst: bool
) -> None:
    """80 % of what rested, with five orders or a span of 2/k (half of it fires on noise)."""
    rig = Rig()
    burst = rig.give(0, rig.fills(depths, lots))
    assert (burst is not None) is is_burst
    if burst is not None:
        assert burst.trigger is Trigger.SHARE
        assert burst.share == pytest.approx(lots * len(depths) / RESTING)


def test_partial_fills_of_one_order_are_one_order() -> None:
    """Five takers of one resting order of ours have not taken five orders."""
    rig = Rig()
    assert rig.give(0, rig.fills([1] * 5, 180.0, oids=[7] * 5)) is None
    assert rig.give(3000, rig.fills([1] * 5, 180.0, oids=[8, 9, 10, 11, 12])) is not None


def test_the_eighth_message_in_a_minute_is_a_burst_and_fills_are_not_messages() -> None:
    """Eight same-side events in 60 s; three fills in one message are one event."""
    rig = Rig()
    for i in range(7):
        assert rig.give(i * 8500, rig.fills([1, 1.5, 2])) is None
    burst = rig.give(59_500, rig.fills([1, 2]))

    assert burst is not None
    assert burst.trigger is Trigger.EVENTS
    assert (burst.events, burst.fills) == (8, 23)
    assert burst.depth_bps == 3.0  # the least a burst counts for


def test_eight_messages_in_more_than_a_minute_are_no_burst() -> None:
    """The ninth second beyond the window: an ordinary day."""
    rig = Rig()
    assert all(rig.give(i * 8600, rig.fills([1])) is None for i in range(40))


def test_messages_that_made_a_burst_do_not_count_again() -> None:
    """Without this the ninth, tenth and eleventh message would each double the pullback."""
    rig = Rig()
    bursts = [rig.give(i * 3000, rig.fills([1])) for i in range(16)]
    assert [i for i, burst in enumerate(bursts) if burst is not None] == [7, 15]


def test_one_second_is_judged_together_and_no_more() -> None:
    """Four messages over a second make a span; over 1.002 s they do not."""
    for step_ms, is_burst in ((333, True), (334, False)):
        rig = Rig()
        found = [rig.give(i * step_ms, rig.fills([i * 2.0])) for i in range(4)]
        assert found[:3] == [None] * 3
        assert (found[3] is not None) is is_burst


def test_the_share_is_of_what_rested_before_the_second_began() -> None:
    """Frames of one sweep: 500 of 1000, then 300 of the 500 left, are 80 %, not 60 %."""
    rig = Rig()
    assert rig.give(0, rig.fills([1, 1, 1], 500 / 3)) is None
    burst = rig.give(200, rig.fills([1, 1], 150.0), resting=500.0)
    assert burst is not None
    assert burst.share == pytest.approx(0.8)


SWEEP = st.lists(st.floats(0, 20), min_size=1, max_size=9)


@given(depths=SWEEP, seed=st.integers(0, 2**16), lots=st.floats(5, 150))
def test_frames_and_their_order_do_not_change_what_a_message_took(
    depths: list[float], seed: int, lots: float
) -> None:
    """One venue message in one call, or shuffled and cut into frames: the same burst."""
    rng = random.Random(seed)
    whole, cut = Rig(), Rig()
    expected = whole.give(0, whole.fills(depths, lots))
    fills = cut.fills(depths, lots)
    rng.shuffle(fills)
    found: Burst | None = None
    resting = RESTING
    news = 0
    while fills:
        size = rng.randint(1, len(fills))
        part, fills = fills[:size], fills[size:]
        burst = cut.give(0, part, resting=resting)
        resting = max(0.0, resting - lots * size)
        if burst is not None:
            news += not burst.is_extension
            found = burst

    assert (found is None) is (expected is None)
    if found is not None and expected is not None:
        assert news == 1
        assert found.depth_bps == pytest.approx(expected.depth_bps, rel=1e-9)
        assert found.deepest_ticks == expected.deepest_ticks
        assert (found.fills, found.orders, found.events) == (
            expected.fills,
            expected.orders,
            expected.events,
        )


@given(depths=SWEEP, order=st.permutations(range(4)))
def test_messages_of_one_second_may_arrive_in_any_order(
    depths: list[float], order: list[int]
) -> None:
    """Frames overtake each other; the deepest price and the depth end the same."""
    orders: list[list[int]] = [list(range(4)), order]
    ends = []
    for sequence in orders:
        rig = Rig()
        parts = [rig.fills(depths[i::4]) for i in range(4)]
        last: Burst | None = None
        for i in sequence:
            if parts[i]:
                last = rig.give(i * 300, parts[i], arrives_ms=2000) or last
        ends.append(None if last is None else (last.depth_bps, last.deepest_ticks, last.fills))
    assert ends[0] == ends[1]


def test_the_rest_of_a_sweep_extends_its_burst() -> None:
    """Not a second burst: the same order took it."""
    rig = Rig()
    first = rig.give(0, rig.fills([0, 2, 4, 6]))
    rest = rig.give(0, rig.fills([8, 9.5]), arrives_ms=40)

    assert first is not None
    assert rest is not None
    assert (first.is_extension, rest.is_extension) == (False, True)
    assert rest.depth_bps == pytest.approx(9.5)
    assert rest.fills == 6


def test_fills_after_the_second_of_a_burst_make_one_of_their_own() -> None:
    """The first lone fill is nothing; with three more in its second it is another sweep."""
    rig = Rig()
    assert rig.give(0, rig.fills([0, 2, 4, 6])) is not None
    assert rig.give(1001, rig.fills([12])) is None
    assert rig.give(1900, rig.fills([2, 4])) is None
    again = rig.give(1950, rig.fills([9]))
    assert again is not None
    assert not again.is_extension
    assert again.fills == 4


def test_a_deeper_second_that_overlaps_the_burst_deepens_it() -> None:
    """Three fills of the burst's second and one after its end are significant together."""
    rig = Rig()
    assert rig.give(0, rig.fills([0, 6, 6, 6])) is not None
    assert rig.give(900, rig.fills([1, 2, 3])) is not None
    burst = rig.give(1500, rig.fills([14]))
    assert burst is not None
    assert burst.is_extension
    assert burst.depth_bps == pytest.approx(14)


def test_a_second_later_it_is_a_second_burst() -> None:
    """Two sweeps 1.1 s apart escalate."""
    rig = Rig()
    assert rig.give(0, rig.fills([0, 2, 4, 6])) is not None
    second = rig.give(1100, rig.fills([0, 2, 4, 6]))
    assert second is not None
    assert not second.is_extension


def test_the_same_fills_again_change_nothing() -> None:
    """Invariant 32: a frame twice, a history replayed, a fill twice in one frame."""
    rig = Rig()
    fills = rig.fills([0, 2, 4])
    assert rig.give(0, fills) is None
    assert rig.give(0, fills) is None
    assert rig.it.ignored == 1
    burst = rig.give(0, [*fills, *(rig.fills([6]) * 2)])
    assert burst is not None
    assert burst.fills == 4


def test_a_sweep_told_a_minute_late_is_still_a_sweep() -> None:
    """After a reconnection: the lost minute's sweep counts, its lone fills do not."""
    rig = Rig()
    rig.give(120_000, rig.fills([1]))
    assert rig.give(30_000, rig.fills([1]), arrives_ms=120_100) is None
    assert rig.it.ignored == 1
    burst = rig.give(30_000, rig.fills([0, 2, 4, 6]), arrives_ms=120_200)
    assert burst is not None
    assert burst.events == 1


def test_a_venue_time_from_the_future_does_not_silence_the_detector() -> None:
    """One mad frame, and a minute later eight messages are eight messages again."""
    rig = Rig()
    rig.give(10**9, rig.fills([1]), arrives_ms=0)
    bursts = [
        rig.give(61_000 + i * 1500, rig.fills([1]), arrives_ms=61_000 + i * 1500) for i in range(8)
    ]
    assert [i for i, burst in enumerate(bursts) if burst is not None] == [7]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, 0.0, -1.0])
@pytest.mark.parametrize("where", ["px", "sz", "k", "fair", "touch"])
def test_impossible_figures_change_nothing_and_are_counted(bad: float, where: str) -> None:
    """Invariant 29: the next good fills are judged as if the bad call had not been."""
    rig = Rig()
    fills = rig.fills([0, 2, 4, 6])
    broken = list(fills)
    if where in {"px", "sz"}:
        broken[1] = OwnFill(
            bad if where == "px" else fills[1].px_ticks,
            bad if where == "sz" else fills[1].sz_lots,
            fills[1].oid,
            fills[1].tid,
        )
    found = rig.it.add(
        START_MS * NS_PER_MS,
        START_MS,
        broken,
        resting_lots=RESTING,
        touch_ticks=bad if where == "touch" else FAIR + 10,
        fair_ticks=bad if where == "fair" else FAIR,
        k_per_bp=bad if where == "k" else K,
    )
    assert found is None
    assert rig.it.ignored == 1
    burst = rig.give(0, fills)
    assert burst is not None
    assert burst.fills == 4


@pytest.mark.parametrize("resting", [NAN, INF, -1.0])
def test_an_impossible_resting_size_is_refused(resting: float) -> None:
    """Zero is possible: the frame that took the last of it came before this one."""
    rig = Rig()
    assert rig.give(0, rig.fills([0, 2, 4, 6]), resting=resting) is None
    assert rig.give(0, []) is None
    assert rig.it.ignored == 2
    assert rig.give(0, rig.fills([0, 2, 4, 6]), resting=0.0) is not None


def test_without_a_book_the_depth_is_measured_from_the_nearest_price() -> None:
    """No touch to hit: what it took is still known."""
    rig = Rig()
    burst = rig.it.add(
        START_MS * NS_PER_MS,
        START_MS,
        rig.fills([2, 4, 6, 9.5]),
        resting_lots=RESTING,
        touch_ticks=None,
        fair_ticks=FAIR,
        k_per_bp=K,
    )
    assert burst is not None
    assert burst.depth_bps == pytest.approx(7.5)


@given(
    depths=st.lists(st.floats(0, 20), min_size=4, max_size=9),
    extra=st.floats(0, 30),
    ms=st.integers(0, 3000),
)
def test_one_more_fill_never_makes_a_burst_shallower(
    depths: list[float], extra: float, ms: int
) -> None:
    """Invariant 20 begins here: more evidence, no less depth."""
    plain, more = Rig(), Rig()
    without = [plain.give(i * 100, plain.fills([depth])) for i, depth in enumerate(depths)]
    with_it = [more.give(i * 100, more.fills([depth])) for i, depth in enumerate(depths)]
    with_it.append(more.give(ms, more.fills([extra]), arrives_ms=4000))
    deepest = max((b.depth_bps for b in without if b is not None), default=0.0)
    assert max((b.depth_bps for b in with_it if b is not None), default=0.0) >= deepest


@given(
    depths=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 5000)), min_size=1, max_size=30)
)
def test_bids_and_asks_are_judged_alike(depths: list[tuple[int, int]]) -> None:
    """Invariant 1: the book reflected about fair gives the same bursts, to the last bit."""
    asks, bids = Rig(Side.SELL), Rig(Side.BUY)
    for ticks, ms in depths:
        found = []
        for rig in (asks, bids):
            rig.tid += 1
            px = TOUCH[rig.side] - rig.side * ticks
            found.append(rig.give(ms, [OwnFill(px, 10.0, rig.tid, rig.tid)], arrives_ms=5000))
        ask, bid = found
        assert (ask is None) is (bid is None)
        if ask is not None and bid is not None:
            assert ask.depth_bps == bid.depth_bps
            assert ask.span_bps == bid.span_bps
            assert ask.deepest_ticks - FAIR == FAIR - bid.deepest_ticks


def test_memory_of_fills_is_bounded() -> None:
    """A day of single fills leaves a minute of them behind."""
    rig = Rig()
    for i in range(3000):
        rig.give(i * 20_000, rig.fills([1]))
    assert len(rig.it._seen) <= 512
    assert len(rig.it._recent) <= 4


def test_thresholds_out_of_bounds_are_refused() -> None:
    """Half a side and two fills would fire on every ordinary order."""
    for bad in ({"fills_min": 1}, {"share_min": 0.4}, {"span_decays_min": 0.5}, {"fills": 4}):
        with pytest.raises(ValidationError):
            BurstParams.model_validate(bad)
