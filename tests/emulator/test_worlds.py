"""The worlds to measure in: each shows what it is there to show, and the null shows nothing."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mmbot.core.types import Side
from mmbot.emulator.flow import Cause, Flow, Step, Taker
from mmbot.emulator.paths import FlowParams
from mmbot.emulator.worlds import FEB24_ANCHORS, FEB24_SWEEPS, WORLDS
from support import often

QUIET = {"sweeps_per_s": 0.0, "episodes_per_hour": 0.0, "sweep_informed_frac": 0.0}


def drawn(params: FlowParams, seed: int, minutes: int) -> tuple[list[Step], list[Taker]]:
    flow = Flow(params, seed)
    steps: list[Step] = []
    takers: list[Taker] = []
    while not steps or steps[-1].at_ms < minutes * 60_000 - params.step_ms:
        looks, trades = flow.block()
        steps += looks
        takers += trades
    return steps, takers


def mids(steps: list[Step]) -> np.ndarray:
    return np.array([step.mid_bps for step in steps])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fair_price_of_feb24_passes_through_every_recorded_mid(seed: int) -> None:
    """Anchors bend the path with the impact of the takers in it, not before it."""
    steps, _ = drawn(WORLDS["feb24"][1], seed, 25)
    for at_s, bps in FEB24_ANCHORS:
        # The last anchor lies one step past the block that ends with it.
        step = steps[min(round(at_s * 4), len(steps) - 1)]
        assert step.fair_bps == pytest.approx(bps, abs=1e-9)


def test_after_the_last_anchor_the_path_goes_on_from_there() -> None:
    steps, _ = drawn(WORLDS["feb24"][1], 3, 28)
    moves = np.diff([step.fair_bps for step in steps])
    assert abs(moves[25 * 240 - 1]) < 6
    assert np.std(moves[25 * 240 :]) > 0.1


def test_forced_sweeps_come_at_their_times_and_on_their_sides() -> None:
    _, takers = drawn(WORLDS["feb24"][1], 5, 25)
    sweeps = [taker for taker in takers if taker.cause is not Cause.NOISE]
    found = [
        (t.at_ms / 1000 - 0.125, int(t.side), t.reach_bps, t.cause is Cause.INFORMED_SWEEP)
        for t in sweeps
    ]
    assert found == list(FEB24_SWEEPS)
    assert sweeps[0].stay_bps == pytest.approx(0.7 * 16)
    assert sweeps[2].decay_bps == pytest.approx(-0.7 * 12)


def test_jitter_moves_forced_sweeps_within_its_bound_and_nothing_else() -> None:
    plain = WORLDS["feb24"][1]
    moved = plain.model_copy(update={"sweep_jitter_s": 60.0})
    (_, before), (_, after) = drawn(plain, 5, 25), drawn(moved, 5, 25)

    def times(takers: list[Taker], *, forced: bool) -> list[float]:
        return [t.at_ms for t in takers if (t.cause is not Cause.NOISE) is forced]

    shifts = np.subtract(times(after, forced=True), times(before, forced=True)) / 1000
    assert np.all(np.abs(shifts) <= 60)
    assert np.ptp(shifts) > 1
    calm = plain.model_copy(update={"flow_beta": 0.0})
    calm_moved = moved.model_copy(update={"flow_beta": 0.0})
    assert times(drawn(calm, 5, 25)[1], forced=False) == times(
        drawn(calm_moved, 5, 25)[1], forced=False
    )


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_the_mirror_is_exact(world: str) -> None:
    """Mirrored, every price changes its sign and every taker his side, bit for bit."""
    params = WORLDS[world][1]
    steps, takers = drawn(params, 7, 25)
    looks, trades = drawn(params.model_copy(update={"is_mirrored": True}), 7, 25)
    assert [(s.at_ms, -s.fair_bps, -s.mid_bps) for s in steps] == [tuple(s) for s in looks]
    assert [(t.at_ms, -t.side, t.reach_bps) for t in takers] == [
        (t.at_ms, int(t.side), t.reach_bps) for t in trades
    ]
    assert [-t.stay_bps for t in takers] == [t.stay_bps for t in trades]


def test_with_flow_beta_takers_go_with_the_price_around_them() -> None:
    """Buying leads a rise and follows it: the net flow of 30 s correlates with the move around."""
    base = FlowParams(**QUIET, a_per_s=0.3, impact_j0_bps=0, impact_a1=0)

    def correlation(params: FlowParams) -> float:
        pairs = []
        for seed in range(6):
            steps, takers = drawn(params, seed, 60)
            flow = np.zeros(120)
            for taker in takers:
                flow[int(taker.at_ms // 30_000)] += taker.side
            path = mids(steps)[::120]
            pairs.append(np.corrcoef(np.diff(path), flow[:-1])[0, 1])
        return float(np.mean(pairs))

    assert abs(correlation(base)) < 0.12
    assert correlation(base.model_copy(update={"flow_beta": 0.5})) > 0.4


def test_with_flow_beta_the_mean_rate_rises_as_a_lognormal_does() -> None:
    """Thinning must neither lose nor invent takers: E exp(beta u) is about exp(beta^2 / 2)."""
    params = FlowParams(**QUIET, a_per_s=0.3, impact_j0_bps=0, impact_a1=0, flow_beta=0.5)
    count = sum(len(drawn(params, seed, 60)[1]) for seed in range(10))
    assert count / (10 * 3600 * 2 * 0.3) == pytest.approx(np.exp(0.125), rel=0.05)


def test_the_displacement_that_reverts_has_its_deviation_and_its_time() -> None:
    params = FlowParams(
        **QUIET, a_per_s=0.0, sigma_bps_rt_s=0.0, reverting_sd_bps=8.0, reverting_s=180.0
    )
    paths = [mids(drawn(params, seed, 120)[0])[4000:] for seed in range(12)]
    values = np.concatenate(paths)
    assert np.std(values) == pytest.approx(8.0, rel=0.15)
    ratio = np.mean([np.mean(v[720:] * v[:-720]) for v in paths]) / np.mean(values**2)
    assert ratio == pytest.approx(np.exp(-1), abs=0.12)


def test_the_drift_that_lasts_has_its_deviation() -> None:
    params = FlowParams(**QUIET, a_per_s=0.0, sigma_bps_rt_s=0.0, drift_sd_bps_per_s=0.03)
    rates = np.concatenate(
        [np.diff(mids(drawn(params, s, 60)[0])) * 4 for s in range(often(15, thoroughly=40))]
    )
    assert np.std(rates) == pytest.approx(0.03, rel=0.12)


def test_the_null_worlds_hold_no_news() -> None:
    """What a taker does tells nothing about the price a minute later."""
    for world in ("two-sided", "false-sweeps"):
        _, takers = drawn(WORLDS[world][1], 11, 60)
        assert takers
        assert all(taker.stay_bps == 0 for taker in takers)


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"anchors": ((10, 0), (10, 1))}, "anchors"),
        ({"anchors": ((-1, 0),)}, "anchors"),
        ({"forced_sweeps": ((10, 2, 5, True),)}, "forced_sweeps"),
        ({"forced_sweeps": ((10, 1, 0, True),)}, "forced_sweeps"),
    ],
)
def test_points_out_of_order_and_impossible_sweeps_are_refused_by_name(
    figures: dict[str, object], word: str
) -> None:
    with pytest.raises(ValidationError, match=word):
        FlowParams.model_validate(figures)


def test_a_path_is_a_function_of_its_seed() -> None:
    params = WORLDS["p38"][1]
    assert drawn(params, 5, 30) == drawn(params, 5, 30)
    assert drawn(params, 5, 30) != drawn(params, 6, 30)
    assert any(taker.side is Side.BUY for taker in drawn(params, 5, 30)[1])
