"""The adverse law: prior first, then the tape, then our own fills; never below its floors."""

from __future__ import annotations

import random
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.estimators.adverse import Adverse, AdverseParams
from mmbot.core.estimators.virtual import DEPTHS_BPS
from mmbot.core.types import NS_PER_S, Side
from support import often

PARAMS = AdverseParams(half_life_s=86_400.0)
MID = 100_000.0


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def feed(
    it: Adverse,
    moves: list[tuple[int, float, float, float]],
    *,
    start: int = 0,
    own: bool = False,
) -> int:
    """
    Lone events 70 s apart: (sign, depth, move at 5 s, move at 30 s), both adverse, in bps.

    The mid is back where it was before the next one. Returns the second after the last.
    """
    it.on_mid(at(start), MID)
    for i, (sign, depth, near, hold) in enumerate(moves):
        begin = start + 70 * i + 1
        if own:
            it.on_own_event(at(begin), Side(-sign), depth, MID)
        else:
            it.on_trades(at(begin), Side(sign), depth, MID)
        for second in range(1, 69):
            move = near if second <= 6 else hold if second <= 61 else 0.0
            # Whole ticks of 0.1 bps, so that a mirrored path is mirrored exactly.
            it.on_mid(at(begin + second), MID + sign * round(move * 10))
    return start + 70 * len(moves)


def settle(it: Adverse, start: int, seconds: int) -> None:
    """Let the served law reach its target."""
    for second in range(seconds):
        it.on_mid(at(start + second), MID)


def test_the_prior_serves_before_any_trade() -> None:
    """A law from the first second; the table claims nothing."""
    view = Adverse(AdverseParams()).view()
    assert (view.a0_bps, view.a1, view.events, view.own_events) == (1.8, 0.3, 0.0, 0.0)
    assert view.at(4.0) == pytest.approx(3.0)
    assert [row.depth_bps for row in view.table] == list(DEPTHS_BPS)
    assert all(row.adverse_30s_bps is None and row.fills_per_h is None for row in view.table)


def test_the_law_is_the_weighted_fit_of_means_shrunk_to_the_prior() -> None:
    """Against another solver: 30 prior events at each depth, the events as weights."""
    rng = random.Random(4)
    moves = [
        (rng.choice((1, -1)), reach, 3.0 + 0.4 * reach, 3.0 + 0.4 * reach)
        for reach in (1.0 + rng.expovariate(0.3) for _ in range(120))
    ]
    it = Adverse(PARAMS)
    settle(it, feed(it, moves), 70)
    counts, points = [], []
    for depth in DEPTHS_BPS:
        reached = [move[3] for move in moves if move[1] >= depth]
        counts.append(30.0 + len(reached))
        points.append((30.0 * (1.8 + 0.3 * depth) + sum(reached)) / counts[-1])
    slope, level = np.polyfit(DEPTHS_BPS, points, 1, w=np.sqrt(counts))
    a0, a1 = it.target()
    # Forgetting over these 140 minutes with a half-life of a day moves the weights by 7 %.
    assert a0 == pytest.approx(level, abs=0.15)
    assert a1 == pytest.approx(slope, abs=0.02)
    assert it.view().events == pytest.approx(120, rel=0.08)


@pytest.mark.parametrize(("true_a0", "true_a1"), [(4.0, 0.5), (6.0, 0.1)])
def test_it_learns_the_law_that_moves_the_market(true_a0: float, true_a1: float) -> None:
    """
    Impact j + a1 reach of exponential reaches: expected at depth d is j + a1 (d + 1/k).

    Two thousand events outweigh the prior at every depth, in sign and in size.
    """
    rng = random.Random(2)
    k = 0.25
    moves = []
    for _ in range(2000):
        reach = 1.0 + rng.expovariate(k)
        move = true_a0 - true_a1 / k + true_a1 * reach
        moves.append((rng.choice((1, -1)), reach, move, move))
    it = Adverse(PARAMS)
    settle(it, feed(it, moves), 600)
    view = it.view()
    for depth in (2.0, 4.0, 8.0):
        assert view.at(depth) == pytest.approx(true_a0 + true_a1 * depth, rel=0.08)
    assert (view.a1 - 0.3) * (true_a1 - 0.3) > 0


def test_a_harmless_market_lowers_the_law_to_half_of_the_prior_and_no_further() -> None:
    """Moves in our favour for hours: the floor holds at every depth."""
    it = Adverse(PARAMS)
    settle(it, feed(it, [(1, 12.0, -6.0, -6.0)] * 400), 3600)
    view = it.view()
    for depth in (0.0, 1.0, 4.0, 12.0):
        assert view.at(depth) >= 0.5 * (1.8 + 0.3 * depth) - 1e-9
    assert min(view.at(d) - 0.5 * (1.8 + 0.3 * d) for d in (0.0, 12.0)) < 0.02


def test_what_comes_back_by_thirty_seconds_still_costs_half() -> None:
    """10 bps at 5 s, nothing at 30 s: charge 5, since the round trip may be shorter."""
    it = Adverse(PARAMS)
    settle(it, feed(it, [(-1, 12.0, 12.0, 0.0)] * 500), 3600)
    view = it.view()
    shrunk = [(30 * (1.8 + 0.3 * d) + 500 * 12.0) / 530 for d in DEPTHS_BPS]
    for depth, near in zip(DEPTHS_BPS, shrunk, strict=True):
        assert view.at(depth) >= 0.5 * near - 0.05
    assert view.at(6.0) == pytest.approx(6.0, rel=0.05)


@pytest.mark.parametrize(("own_adverse", "sign"), [(9.0, 1), (2.0, -1)])
def test_own_fills_move_the_level_against_a_prior_of_thirty_events(
    own_adverse: float, sign: int
) -> None:
    """Sixty own events at 4 bps where the law says 3: a shift of w/(w + 30) of the difference."""
    it = Adverse(PARAMS)
    settle(it, feed(it, [(1, 4.0, own_adverse, own_adverse)] * 60, own=True), 70)
    weight = sum(2 ** (-i / 30) for i in range(60))
    a0, a1 = it.target()
    assert a0 == pytest.approx(1.8 + weight / (weight + 30) * (own_adverse - 3.0), rel=1e-6)
    assert a1 == pytest.approx(0.3)
    assert (a0 - 1.8) * sign > 0
    assert it.view().own_events == pytest.approx(weight)
    assert it.view().events == 0.0


def test_the_served_law_rises_fast_falls_slowly_and_never_by_more_than_its_bound() -> None:
    """20 % of the half spread a minute is a tenth of a0 and of 1 - a1."""
    served: dict[float, list[tuple[float, float]]] = {}
    for move in (40.0, -40.0):
        it = Adverse(PARAMS)
        end = feed(it, [(1, 12.0, move, move)] * 40)
        seen = []
        for second in range(400):
            it.on_mid(at(end + second), MID)
            seen.append((it.view().a0_bps, it.view().a1))
        served[move] = seen
        for (a0, a1), (b0, b1) in zip(seen, seen[60:], strict=False):
            assert abs(b0 - a0) <= 0.1 * max(1.0, a0, b0) + 1e-9
            assert abs(b1 - a1) <= 0.1 * (1 - min(a1, b1)) + 1e-9
    up, down = Adverse(PARAMS), Adverse(PARAMS)
    ends = [feed(it, [(1, 12.0, move, move)]) for it, move in ((up, 6.0), (down, 1.0))]
    for it, end in zip((up, down), ends, strict=True):
        settle(it, end, 60)
    risen = (up.view().at(6.0) - 3.6) / (up.target()[0] + 6 * up.target()[1] - 3.6)
    fallen = (down.view().at(6.0) - 3.6) / (down.target()[0] + 6 * down.target()[1] - 3.6)
    assert 0.8 < risen <= 1.0
    assert 0.0 < fallen < 0.2


EXTRA = st.lists(
    st.tuples(st.floats(0, 50), st.booleans(), st.sampled_from([1, -1]), st.floats(0.5, 20)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=often(15, thoroughly=40), deadline=None)
@given(seed=st.integers(0, 1000), start=st.integers(10, 300), added=EXTRA)
def test_more_fills_change_no_quote_within_a_minute(
    seed: int, start: int, added: list[tuple[float, bool, int, float]]
) -> None:
    """Neither a public event nor one of ours acts before its last horizon."""
    rng = random.Random(seed)
    plain = [
        (rng.uniform(0, start), False, rng.choice((1, -1)), rng.uniform(1, 15)) for _ in range(30)
    ]
    shifted = [(start + t / 1000, is_own, sign, depth) for t, is_own, sign, depth in added]
    views = []
    for events in (plain, plain + shifted):
        it, mids, due = Adverse(PARAMS), random.Random(seed + 1), sorted(events)
        mid, seen = MID, []
        for second in range(start + 60):
            while due and due[0][0] < second:
                t, is_own, sign, depth = due.pop(0)
                (it.on_own_event if is_own else it.on_trades)(at(t), Side(sign), depth, mid)
            mid *= 1 + mids.gauss(0, 2e-4)
            it.on_mid(at(second), mid)
            seen.append((it.view().a0_bps, it.view().a1))
        views.append(seen)
    assert views[0] == views[1]


@settings(max_examples=often(12, thoroughly=30), deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([1, -1]), st.floats(1, 20), st.floats(-30, 60)), max_size=20
    )
)
def test_the_mirrored_market_has_the_same_law(rows: list[tuple[int, float, float]]) -> None:
    """Sides exchanged and moves negated: adverse is adverse, bit for bit."""
    one, other = Adverse(PARAMS), Adverse(PARAMS)
    moves = [(sign, depth, move, move / 2) for sign, depth, move in rows]
    feed(one, moves)
    feed(other, [(-sign, depth, near, hold) for sign, depth, near, hold in moves])
    assert other.view() == one.view()


@settings(max_examples=often(12, thoroughly=25), deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([1, -1]), st.floats(0.5, 40), st.floats(-300, 300)),
        min_size=1,
        max_size=25,
    ),
    prior=st.tuples(st.floats(0, 10), st.floats(0, 0.8)),
    own=st.booleans(),
)
def test_the_law_stays_in_its_bounds_whatever_happens(
    rows: list[tuple[int, float, float]], prior: tuple[float, float], own: bool
) -> None:
    """a0 within [half the prior, 20], a1 within [0, 0.8], above half of the prior at any depth."""
    it = Adverse(AdverseParams(a0_bps=prior[0], a1=prior[1]))
    end = feed(it, [(s, d, m, -m) for s, d, m in rows], own=own)
    for second in range(0, 600, 20):
        it.on_mid(at(end + second), MID)
        view = it.view()
        assert 0.0 <= view.a1 <= 0.8
        assert view.a0_bps <= 20.0
        for depth in (0.0, 3.0, 12.0):
            assert view.at(depth) >= 0.5 * (prior[0] + prior[1] * depth) - 1e-9


@pytest.mark.parametrize("bad", [nan, inf, 0.0, -1.0])
def test_nonsense_leaves_the_law_alone_and_is_counted(bad: float) -> None:
    """Invariant 29, for every input; an own depth may be negative but not absurd."""
    it, clean = Adverse(PARAMS), Adverse(PARAMS)
    for target in (it, clean):
        feed(target, [(1, 5.0, 20.0, 20.0)] * 3)
    it.on_trades(at(210), Side.BUY, bad, MID)
    it.on_trades(at(210), Side.BUY, 3.0, bad)
    it.on_own_event(at(210), Side.BUY, 3.0, bad)
    it.on_mid(at(210), bad)
    assert it.ignored == 4
    for target in (it, clean):
        settle(target, 210, 200)
    assert it.view() == clean.view()
    it.on_own_event(at(500), Side.BUY, nan, MID)
    assert it.ignored == 5


def test_what_is_told_twice_or_late_counts_once() -> None:
    """Invariants 29 and 32, also when another event of the same read came between."""
    it, once = Adverse(PARAMS), Adverse(PARAMS)
    for target in (it, once):
        target.on_mid(at(0), MID)
        target.on_trades(at(1), Side.BUY, 5.0, MID)
        target.on_trades(at(1), Side.SELL, 3.0, MID)
        target.on_own_event(at(1), Side.BUY, 3.0, MID)
    it.on_trades(at(1), Side.BUY, 5.0, MID)
    it.on_own_event(at(1), Side.BUY, 3.0, MID)
    it.on_trades(at(0.5), Side.BUY, 5.0, MID)
    it.on_mid(at(0), MID)
    assert it.ignored == 4
    for target in (it, once):
        settle(target, 2, 100)
    it.on_mid(at(50), 2 * MID)
    assert it.ignored == 5
    assert it.view() == once.view()


def test_the_view_is_built_at_most_once_a_second() -> None:
    """It is read at every decision; between two steps it is the same object."""
    it = Adverse(PARAMS)
    feed(it, [(1, 5.0, 20.0, 20.0)])
    first = it.view()
    it.on_mid(at(69.5), MID + 1)
    assert it.view() is first
    it.on_mid(at(70.5), MID)
    assert it.view() is not first


def test_evidence_fades_back_to_the_prior() -> None:
    """A market of last week says nothing of today."""
    it = Adverse(AdverseParams(half_life_s=600.0))
    end = feed(it, [(1, 12.0, 20.0, 20.0)] * 100)
    learnt = it.target()[0]
    assert learnt > 4.0
    it.on_mid(at(end + 7 * 86_400), MID)
    assert it.target() == pytest.approx((1.8, 0.3), rel=1e-6)
    assert it.view().events == pytest.approx(0.0, abs=1e-6)
    settle(it, end + 7 * 86_400 + 1, 100)
    feed(it, [(1, 12.0, 20.0, 20.0)] * 2, start=end + 8 * 86_400)
    # Two events, about 69 and 139 s old.
    assert it.view().events == pytest.approx(2 ** (-69 / 600) + 2 ** (-139 / 600), rel=0.01)


def test_a_lost_link_keeps_what_is_learnt() -> None:
    """Only what waits is dropped."""
    it = Adverse(PARAMS)
    end = feed(it, [(1, 5.0, 20.0, 20.0)] * 5)
    before = it.target()
    it.on_trades(at(end), Side.BUY, 5.0, MID)
    it.reset_gap()
    settle(it, end + 30, 100)
    assert it.quotes.dropped == 1
    assert it.target() == pytest.approx(before, rel=1e-2)


@pytest.mark.parametrize("settings_", [{"a1": 1.0}, {"a0_bps": -1.0}, {"prior_events": 0.0}])
def test_settings_out_of_bounds_are_refused(settings_: dict[str, float]) -> None:
    """At a1 = 1 no depth would ever break even."""
    with pytest.raises(ValidationError):
        AdverseParams(**settings_)


def test_a_gentle_market_lies_at_the_floor_and_the_law_says_so() -> None:
    """Whoever watches for an estimate that stands still must know that this one has to."""
    gentle, harsh = Adverse(PARAMS), Adverse(PARAMS)
    # The farther an order reaches, the more of its move comes back.
    moves = [((-1) ** (n // 2), *((1.5, 0.0), (12.5, -20.0))[n % 2]) for n in range(120)]
    last = feed(gentle, [(sign, depth, 0.0, hold) for sign, depth, hold in moves])
    settle(gentle, last, 70)
    settle(harsh, feed(harsh, [(sign, depth, 8.0, 8.0) for sign, depth, _ in moves]), 70)
    assert gentle.is_bounded
    assert gentle.target() == pytest.approx((0.5 * (1.8 + 0.3 * 12.0), 0.0))
    assert not harsh.is_bounded
