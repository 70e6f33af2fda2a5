"""Limits and the mode table."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.rig import HYPE, T0_NS
from mmbot.core.risk import (
    KILLS,
    NEXT_MODE,
    Limits,
    Risk,
    RiskParams,
    Trip,
)
from mmbot.core.types import NS_PER_S, Mode


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("trip", list(Trip))
def test_every_cell_of_the_mode_table_has_the_documented_answer(mode: Mode, trip: Trip) -> None:
    """HALTED latches, a kill halts from anywhere, a soft cause never relaxes a mode."""
    after = NEXT_MODE[mode, trip]
    if mode is Mode.HALTED or trip in KILLS:
        assert after is Mode.HALTED
    elif trip is Trip.CLEARED:
        assert after is Mode.RUNNING
    else:
        assert after is Mode.REDUCING


def test_the_mode_table_is_complete() -> None:
    """A new trigger cannot be forgotten."""
    assert set(NEXT_MODE) == set(itertools.product(Mode, Trip))


def params(**changes: object) -> RiskParams:
    return RiskParams.model_validate({"capital_usd": 100.0, **changes})


@pytest.mark.parametrize(
    ("changes", "equity", "capital", "q_max"),
    [
        ({}, 100.0, 100.0, 200.0),
        ({}, 30.0, 30.0, 60.0),
        ({"max_position_usd": 200.0}, 30.0, 30.0, 150.0),
        ({}, 5000.0, 100.0, 200.0),
        ({"max_position_usd": 500.0}, 100.0, 100.0, 500.0),
        ({"max_position_usd": 500.0, "leverage": 2}, 100.0, 100.0, 200.0),
        ({}, 0.0, 0.0, 0.0),
        ({}, -3.0, 0.0, 0.0),
    ],
)
def test_the_effective_limit_is_the_smallest_of_all(
    changes: dict[str, object], equity: float, capital: float, q_max: float
) -> None:
    """No source can enlarge another: more equity than capital changes nothing."""
    limits = Limits.of(params(**changes), HYPE, equity)
    assert (limits.capital_usd, limits.q_max_usd) == (capital, q_max)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_position_usd": 500.01},
        {"stale_kill_s": 5.0, "stale_pull_s": 5.0},
        {"soft_release_frac": 0.015},
        {"loss_limit_frac": 0.0},
        {"side_budget_frac": 0.6},
        {"unheard_of": 1},
    ],
)
def test_contradictory_limits_do_not_start(wrong: dict[str, object]) -> None:
    """Refused before a socket is opened."""
    with pytest.raises(ValidationError):
        params(**wrong)
    with pytest.raises(ValidationError):
        RiskParams.model_validate({})


@given(x=st.floats(-1.5, 1.5), frac=st.floats(0.05, 0.5))
def test_budgets_follow_the_rule_and_a_sweep_keeps_the_limit(x: float, frac: float) -> None:
    """Increasing B (1 - |x|) q_max, reducing max(B, |x|) q_max; swept whole, |q| <= q_max."""
    limits = Limits(100.0, 200.0, frac)
    q_max = limits.q_max_lots(262_000)
    lots = round(x * q_max)
    bid, ask = limits.budgets_lots(lots, 262_000, Mode.RUNNING)
    increasing, reducing = (bid, ask) if lots >= 0 else (ask, bid)
    held = abs(lots)
    assert increasing <= max(0.0, frac * (q_max - held))
    assert held + increasing <= max(q_max, held)
    if lots:
        assert reducing == max(int(frac * q_max), held)
        assert reducing - held <= max(0.0, frac * q_max - held)
    assert limits.budgets_lots(lots, 262_000, Mode.HALTED) == (0, 0)
    assert sorted(limits.budgets_lots(lots, 262_000, Mode.REDUCING)) == [0, held]


def test_equity_and_drawdown_are_of_equity_never_of_profit() -> None:
    """A peak profit of two cents and a fall to minus two is 0.04 %, not 184 %."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    for pnl in (0.02, -0.02):
        risk.observe(pnl, T0_NS)
    assert risk.kill is None
    assert risk.max_drawdown_frac == pytest.approx(0.04 / 100.02)


def test_the_recorded_session_draws_down_by_two_percent() -> None:
    """Its reported 494 % came from dividing by the peak profit."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    for pnl in (0.0, 0.2, 0.406, 0.1, -0.9, -1.6):
        risk.observe(pnl, T0_NS)
    assert risk.max_drawdown_frac == pytest.approx(0.019979, abs=1e-6)
    assert risk.kill is None


def test_a_kill_names_its_trigger_figure_limit_and_unit_and_stays_the_first() -> None:
    """The post-mortem asks what fired first, and on which number."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    risk.observe(-3.5, 7)
    risk.order_kill("operator", 8)
    risk.update(0.0, 400 * NS_PER_S, 9)
    kill = risk.kill
    assert kill is not None
    assert (kill.trigger, kill.value, kill.limit, kill.unit, kill.at_ns) == (
        "session_loss",
        3.5,
        3.0,
        "USD",
        7,
    )
    assert [note.event for note in risk.notes] == ["killswitch.tripped", "mode.changed"]


def test_inventory_above_the_limit_reduces_until_it_is_well_below() -> None:
    """Entered above 1, left at 0.95: a price move must not toggle it."""
    risk = Risk(params())
    risk.start(Limits(100.0, 200.0, 0.2), T0_NS)
    modes = [risk.update(x, 0, T0_NS) for x in (1.0, 1.001, 0.99, 0.951, 0.95, 1.0, -1.2)]
    reducing, running = Mode.REDUCING, Mode.RUNNING
    assert modes == [running, reducing, reducing, reducing, running, running, reducing]


def test_the_reducing_side_is_bounded_where_it_is_told_to_be() -> None:
    """One sweep of it cannot flip a large position; above the limit nothing holds it back."""
    params = RiskParams(capital_usd=100, max_position_usd=200, reduce_budget_frac=0.3)
    limits = Limits.of(params, HYPE, 100.0)
    q_max = limits.q_max_lots(262_000)
    for frac, reducing in ((0.1, 0.2), (0.25, 0.25), (0.9, 0.3), (1.1, 1.1)):
        lots = round(frac * q_max)
        bid, ask = limits.budgets_lots(lots, 262_000, Mode.RUNNING)
        assert ask == pytest.approx(reducing * q_max, abs=1.5)
        assert limits.budgets_lots(-lots, 262_000, Mode.RUNNING) == (ask, bid)
        assert sorted(limits.budgets_lots(lots, 262_000, Mode.REDUCING)) == [0, lots]
