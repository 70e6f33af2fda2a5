"""The exogenous part of the market has the statistics it claims, and depends on its seed alone."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, exp, sqrt
from typing import NamedTuple

import numpy as np
import pytest
from pydantic import ValidationError

from mmbot.core.types import Side
from mmbot.emulator.flow import Cause, Flow, Step, Taker
from mmbot.emulator.paths import FlowParams
from support import often

QUIET = {"sweeps_per_s": 0.0, "sweep_informed_frac": 0.0, "episodes_per_hour": 0.0}
"""Noise flow alone."""


class Drawn(NamedTuple):
    steps: list[Step]
    takers: list[Taker]


def drawn(params: FlowParams, seed: int, minutes: int) -> Drawn:
    flow = Flow(params, seed)
    out = Drawn([], [])
    for _ in range(minutes):
        steps, takers = flow.block()
        out.steps.extend(steps)
        out.takers.extend(takers)
    return out


def shown_at(taker: Taker, params: FlowParams) -> int:
    """Step from which the makers know of a taker, by the documented rule."""
    return ceil((taker.at_ms + params.reaction_ms) / params.step_ms)


def test_the_same_seed_draws_the_same_market() -> None:
    """Every paired comparison rests on this."""
    assert drawn(FlowParams(), 5, 30) == drawn(FlowParams(), 5, 30)
    assert drawn(FlowParams(), 5, 5) != drawn(FlowParams(), 6, 5)


def test_steps_and_takers_come_in_time_order_without_gaps() -> None:
    """The market walks through them once."""
    steps, takers = drawn(FlowParams(sweeps_per_s=0.2), 2, 10)

    assert [step.at_ms for step in steps] == list(range(0, 600_000, 250))
    assert [taker.at_ms for taker in takers] == sorted(taker.at_ms for taker in takers)


def test_without_trades_the_price_diffuses_at_sigma() -> None:
    """Volatility of one-second moves and of ten-second moves is the parameter."""
    params = FlowParams(sigma_bps_rt_s=0.85, a_per_s=0.0, **QUIET)
    mids = [[s.mid_bps for s in drawn(params, seed, 10).steps[::4]] for seed in range(40)]

    for lag_s, tolerance in ((1, 0.03), (10, 0.08)):
        moves = np.diff(np.array(mids)[:, ::lag_s])
        assert sqrt((moves**2).mean() / lag_s) == pytest.approx(0.85, rel=tolerance)


def test_takers_arrive_at_a_and_reach_exponentially() -> None:
    """`a exp(-k d)` orders per second and side reach a depth d: what fills a quote."""
    params = FlowParams(a_per_s=0.2, k_per_bp=0.5, **QUIET)
    minutes, seeds = 20, 40
    takers = [t for seed in range(seeds) for t in drawn(params, seed, minutes).takers]
    span_s = minutes * seeds * 60

    for side in Side:
        for depth_bps in (0.0, 2.0, 5.0):
            found = sum(t.side is side and t.reach_bps >= depth_bps for t in takers)
            expected = span_s * 0.2 * exp(-0.5 * depth_bps)
            assert abs(found - expected) < 4 * sqrt(expected)


def test_the_move_after_a_fill_follows_the_adverse_law() -> None:
    """
    `E[J | reach >= d] = j0 + a1 (d + 1/k)`: the mid five seconds after a fill at depth d.

    This is what makes a narrow maker lose, so it is measured on the path and not on the draws.
    """
    params = FlowParams(**QUIET)
    takes: list[tuple[float, float]] = []
    for seed in range(60):
        steps, takers = drawn(params, seed, 20)
        for taker in takers:
            before = int(taker.at_ms) // params.step_ms
            after = before + 5_000 // params.step_ms
            if after < len(steps):
                move_bps = steps[after].mid_bps - steps[before].mid_bps
                takes.append((taker.reach_bps, taker.side * move_bps))
    for depth_bps in (0.0, 2.0, 4.0):
        moves_bps = [move_bps for reach_bps, move_bps in takes if reach_bps >= depth_bps]
        law_bps = 1.2 + 0.3 * (depth_bps + 1 / 0.5)

        error_bps = np.mean(moves_bps) - law_bps
        assert abs(error_bps) < 4 * np.std(moves_bps) / sqrt(len(moves_bps))
        # The claim is sharp enough to tell this law from one without either term.
        assert 4 * np.std(moves_bps) / sqrt(len(moves_bps)) < 0.5


def test_a_share_of_the_impact_decays_and_the_rest_stays() -> None:
    """Displacement is the sum of decaying moves, the fair price the sum of lasting ones: exact."""
    params = FlowParams(
        sigma_bps_rt_s=0.0,
        impact_decay_frac=0.6,
        decay_s=15.0,
        sweeps_per_s=0.05,
        sweep_informed_frac=0.0,
        episodes_per_hour=0.0,
    )
    steps, takers = drawn(params, 9, 5)

    for index in range(0, len(steps), 37):
        known = [(shown_at(t, params), t) for t in takers if shown_at(t, params) <= index]
        fair_bps = sum(t.stay_bps for _, t in known)
        gone = [t.decay_bps * exp(-(index - first) * 0.25 / 15.0) for first, t in known]
        assert steps[index].fair_bps == pytest.approx(fair_bps, abs=1e-9)
        assert steps[index].mid_bps - fair_bps == pytest.approx(sum(gone), abs=1e-9)
    orders = [t for t in takers if t.cause is Cause.NOISE]
    assert all(t.decay_bps == pytest.approx(1.5 * t.stay_bps) for t in orders)


def test_noise_sweeps_decay_and_informed_sweeps_stay() -> None:
    """Alike when they happen; only what follows tells them apart."""
    params = FlowParams(sweeps_per_s=0.05, sweep_informed_frac=0.5, episodes_per_hour=20.0)
    takers = [t for seed in range(5) for t in drawn(params, seed, 60).takers]
    noise = [t for t in takers if t.cause is Cause.SWEEP]
    informed = [t for t in takers if t.cause is Cause.INFORMED_SWEEP]

    assert all(t.stay_bps == 0 and t.decay_bps == t.side * 0.7 * t.reach_bps for t in noise)
    assert all(t.decay_bps == 0 and t.stay_bps == t.side * 0.7 * t.reach_bps for t in informed)
    for sweeps in (noise, informed):
        reaches_bps = [t.reach_bps for t in sweeps]
        assert min(reaches_bps) >= 9
        assert np.mean(reaches_bps) == pytest.approx(15, rel=0.1)
    assert len(noise) == pytest.approx(0.05 * 0.5 * 5 * 3600, rel=0.2)


def test_informed_sweeps_keep_their_rate_over_all_time() -> None:
    """They happen only in episodes, so that their rate inside one is higher by its share."""
    params = FlowParams(sweeps_per_s=0.02, sweep_informed_frac=1.0)
    hours = often(25, thoroughly=60)
    counts = [
        sum(t.cause is Cause.INFORMED_SWEEP for t in drawn(params, seed, 60).takers)
        for seed in range(hours)
    ]

    # Episodes are few, so the spread is theirs and not Poisson's.
    error = np.mean(counts) - 0.02 * 3600
    assert abs(error) < 4 * np.std(counts) / sqrt(hours)
    assert np.std(counts) > 1.5 * sqrt(np.mean(counts))


def test_episodes_drift_and_bring_takers_on_their_side() -> None:
    """Price and flow lean the same way: the world in which a position against them is dangerous."""
    params = FlowParams(
        sigma_bps_rt_s=0.0,
        a_per_s=0.0,
        impact_j0_bps=0.0,
        impact_a1=0.0,
        episodes_per_hour=20.0,
        episode_a_per_s=0.5,
        sweeps_per_s=0.0,
        sweep_informed_frac=0.0,
    )
    steps, takers = drawn(params, 4, 120)
    slopes = np.diff([step.fair_bps for step in steps]) / 0.25

    assert set(np.round(np.abs(slopes), 9)) == {0.0, 0.05}
    assert len(takers) > 500
    for taker in takers:
        index = int(taker.at_ms) // params.step_ms
        around = slopes[max(0, index - 1) : index + 2]
        assert (np.sign(around) == taker.side).any()


def test_changing_one_cause_leaves_the_draws_of_the_others() -> None:
    """A comparison of two volatilities meets the same takers."""
    calm, wild = drawn(FlowParams(), 8, 5), drawn(FlowParams(sigma_bps_rt_s=3.0), 8, 5)
    swept = drawn(FlowParams(sweeps_per_s=0.1, sweep_informed_frac=0.0), 8, 5)

    assert calm.takers == wild.takers
    ordinary = [t for t in swept.takers if t.cause is Cause.NOISE]
    assert ordinary == [t for t in calm.takers if t.cause is Cause.NOISE]


def test_a_trade_shows_only_after_the_reaction_time() -> None:
    """Until then the makers' quotes stand, and so do ours: that is adverse selection."""
    params = FlowParams(sigma_bps_rt_s=0.0, a_per_s=0.02, reaction_ms=400, **QUIET)
    steps, takers = drawn(params, 3, 5)

    assert takers
    moved = [b.at_ms for a, b in pairwise(steps) if a.mid_bps != b.mid_bps]
    assert moved == sorted({shown_at(taker, params) * 250 for taker in takers} - {300_000})
    assert all(shown_at(taker, params) * 250 - taker.at_ms >= 400 for taker in takers)


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"step_ms": 77}, "step_ms = 77"),
        ({"episodes_per_hour": 0.0}, "sweep_informed_frac"),
        ({"sigma_bps_rt_s": -1}, "sigma_bps_rt_s"),
        ({"sigma": 1.0}, "sigma"),
    ],
)
def test_figures_that_cannot_be_are_refused(figures: dict[str, float], named: str) -> None:
    """The message names the key."""
    with pytest.raises(ValidationError, match=named):
        FlowParams(**figures)


def test_no_look_knows_of_a_taker_who_is_still_to_come() -> None:
    """
    With makers who understand at once a taker trades before the price shows his reason.

    One who came in the very millisecond of a look traded after it, and must not find it moved.
    """
    params = FlowParams(
        sigma_bps_rt_s=0.0,
        a_per_s=0.0,
        sweeps_per_s=0.0,
        sweep_informed_frac=0.0,
        reaction_ms=0,
    )
    flow = Flow(params, 1)
    flow._forced = [
        Taker(at_ms, Side.BUY, 12.0, 8.4, 0.0, Cause.SWEEP) for at_ms in (10_000.0, 20_100.0)
    ]
    by_ms = {step.at_ms: step.mid_bps for step in flow.block()[0]}
    assert by_ms[10_000] == 0.0
    assert by_ms[10_250] == by_ms[20_000] == pytest.approx(8.4)
    assert by_ms[20_250] == pytest.approx(16.8)


def test_a_sweep_at_a_given_time_falls_inside_the_step_that_begins_there() -> None:
    """At the border a tie would decide whether the quoter it meets had seen the last look."""
    sweeps = ((10.0, 1, 12.0, True), (20.1, -1, 9.0, False))
    params = FlowParams(a_per_s=0.0, sweeps_per_s=0.0, forced_sweeps=sweeps)
    assert [taker.at_ms for taker in Flow(params, 1).block()[1]] == [10_125.0, 20_225.0]
