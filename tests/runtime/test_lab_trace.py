"""What an observer writes down of a session, and that it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mmbot.core.engine import EngineParams
from mmbot.emulator.scenarios import scenario_params
from mmbot.runtime.lab.session import Plan, run_session
from mmbot.runtime.lab.trace import Row, Trace, run_traced

ENGINE = EngineParams.model_validate(
    {"risk": {"capital_usd": 100.0, "max_position_usd": 400.0}, "reconcile": {"requests_last_h": 2}}
)


@pytest.fixture(scope="module")
def traced() -> tuple[Plan, Trace]:
    """Four minutes of 24 February, the first sweep among them."""
    plan = Plan("HYPE", scenario_params("feb24", {}), ENGINE, seed=2, minutes=8.0, maker_bps=2.0)
    return plan, run_traced(plan)


def test_an_observed_session_is_the_session(traced: tuple[Plan, Trace]) -> None:
    """Figures read off a trace must be those of the tables."""
    plan, trace = traced
    assert trace.outcome == run_session(plan)


def test_there_is_a_row_a_second(traced: tuple[Plan, Trace]) -> None:
    """A market that stands still is observed too, and no second counts twice."""
    times = traced[1].column("at_s")
    assert 470 <= len(times) <= 481
    assert (np.diff(times) > 0).all()
    assert len(set(times.astype(int).tolist())) == len(times)


def test_the_trace_ends_at_the_position_of_the_outcome(traced: tuple[Plan, Trace]) -> None:
    """The position is a share of its limit, with its sign."""
    _, trace = traced
    assert abs(trace.rows[-1].x) == pytest.approx(trace.outcome.final_q_frac, abs=0.02)
    assert np.sign(trace.rows[-1].x) == np.sign(trace.outcome.final_lots)
    assert max(abs(row.x) for row in trace.rows) > 0.03


def row(at_s: float, mid_bps: float) -> Row:
    return Row(at_s, mid_bps, 0.0, None, 0.0, False, 0.0, None, None, False, False)


def test_a_move_is_taken_to_the_last_price_in_its_span(traced: tuple[Plan, Trace]) -> None:
    """And where the session ends before the span does, there is none."""
    rows = tuple(row(at_s, mid) for at_s, mid in ((0, 0), (1, 1), (3, 5), (4, 2), (6, 9)))
    moves = Trace(traced[1].outcome, rows).moves_bps(3.0)
    assert moves[:3].tolist() == [5.0, 1.0, 4.0]
    assert np.isnan(moves[3:]).all()
