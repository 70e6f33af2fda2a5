"""The luck of a position: nothing in the mean, whatever the quoter does, and most of its noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmbot.cli.lab import lab_setup
from mmbot.emulator.flow import Flow, Step, surprises
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.runtime.lab.runner import Setup
from mmbot.runtime.lab.session import Session
from mmbot.runtime.lab.variants import at_law, build, law_of
from support import often

CONFIG = Path(__file__).parents[2] / "configs" / "emulator.toml"
MARTINGALES = ("two-sided", "false-sweeps", "informed-0", "whipsaw", "native")
FORESEEN = ("informed-50", "informed-100", "trend", "feb24", "p38", "hype")


def setup(scenario: str, minutes: float) -> Setup:
    """What the laboratory would run."""
    sets = ("risk.max_position_usd=500",)
    return lab_setup(scenario, CONFIG, sets, seeds=1, first_seed=1, minutes=minutes)


@pytest.mark.parametrize("scenario", MARTINGALES)
def test_the_moves_are_those_of_the_fair_price(scenario: str) -> None:
    """All of them and nothing else: what is left over is what the makers have not understood."""
    params = SCENARIOS[scenario].params
    found = surprises(params, 7, 600.0)
    assert found is not None
    flow = Flow(params, 7)
    steps: list[Step] = []
    while not steps or steps[-1].at_ms < found.at_ms[-1]:
        steps += flow.block()[0]
    late_ms = params.reaction_ms + params.step_ms
    for step in steps[400::400]:
        told = found.moves_bps[found.at_ms <= step.at_ms].sum()
        young = (step.at_ms - late_ms < found.at_ms) & (found.at_ms <= step.at_ms)
        slack = np.abs(found.moves_bps[young]).sum() + 1e-6
        assert abs(told - step.fair_bps) <= slack, step
    assert np.abs(found.moves_bps).sum() > 10 * slack


@pytest.mark.parametrize("scenario", FORESEEN)
def test_where_a_move_can_be_foreseen_there_is_no_luck(scenario: str) -> None:
    """A quoter that leans with a drift is not lucky: what it gains there is its work."""
    assert surprises(SCENARIOS[scenario].params, 1, 60.0) is None


def test_upside_down_the_moves_change_their_sign() -> None:
    """The market's own mirror."""
    params = SCENARIOS["informed-0"].params
    there = surprises(params, 3, 60.0)
    behind = surprises(params.model_copy(update={"is_mirrored": True}), 3, 60.0)
    assert there is not None
    assert behind is not None
    assert behind.moves_bps.tolist() == (-there.moves_bps).tolist()


def test_a_position_meets_only_the_moves_after_it() -> None:
    """Ten lots held from 30 s on earn the moves from there, without that of the same moment."""
    it = setup("two-sided", 1.0)
    params = at_law(it.shipped, law_of("two-sided"), it.fee_bps(), it.keep)
    session = Session(it.plan(build("base", it.shipped, params), 5))
    session._held = [(0, 0), (30_000, 10)]
    moves = surprises(session.plan.market, 5, 60.0)
    assert moves is not None
    after = moves.moves_bps[(moves.at_ms > 30_000) & (moves.at_ms < 60_000)].sum()
    usd_per_bp = 10 * session.exchange.start_px * 10**-session.exchange.instrument.sz_decimals
    assert session.luck_usd(60.0) == pytest.approx(after * usd_per_bp * 1e-4)
    session._held = [(0, 0)]
    assert session.luck_usd(60.0) == 0.0


def test_a_fill_does_not_meet_the_move_that_made_it() -> None:
    """A taker's times are finer than the venue's: what he moves belongs to the position before."""
    it = setup("informed-0", 2.0)
    params = at_law(it.shipped, law_of("informed-0"), it.fee_bps(), it.keep)
    session = Session(it.plan(build("base", it.shipped, params), 5))
    moves = surprises(session.plan.market, 5, 120.0)
    assert moves is not None
    lasting = np.flatnonzero(moves.at_ms % session.plan.market.step_ms)
    assert lasting.size > 10
    for n in lasting.tolist():
        session._held = [(0, 0), (int(moves.at_ms[n]), 10), (int(moves.at_ms[n]) + 1, 0)]
        assert session.luck_usd(120.0) == 0.0


def test_luck_is_nothing_in_the_mean_and_most_of_the_noise() -> None:
    """Of short sessions: its mean within three errors, and profits without it far steadier."""
    it = setup("two-sided", often(2, thoroughly=3))
    params = at_law(it.shipped, law_of("two-sided"), it.fee_bps(), it.keep)
    variant = build("base", it.shipped, params)
    found = [
        Session(it.plan(variant, seed)).run() for seed in range(1, 1 + often(20, thoroughly=30))
    ]
    luck = np.array([one.luck_usd for one in found])
    profit = np.array([one.pnl_usd for one in found])
    assert abs(luck.mean()) < 3 * luck.std(ddof=1) / len(luck) ** 0.5
    assert (profit - luck).std() < 0.7 * profit.std()
