"""Variants over a recording: the same market for all, the figures of a backtest, the lab's keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmbot.cli import app
from mmbot.core.engine import EngineParams
from mmbot.core.guards import GuardParams
from mmbot.core.risk import RiskParams
from mmbot.runtime.backtest import BacktestParams, run_backtest
from mmbot.runtime.lab.measure import DIFFERENCE, METRICS
from mmbot.runtime.lab.recorded import compare
from runtime.recorded_market import market, write

PARAMS = EngineParams(risk=RiskParams(capital_usd=100), guards=GuardParams(sweeps=10))
CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "hype.toml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of a lively synthetic market."""
    return write(tmp_path_factory.mktemp("recorded"), market(240))


def test_all_is_the_backtest_of_the_configuration(folder: Path) -> None:
    """What is compared must be what would trade, to the last fill."""
    plain = run_backtest(folder, "WLFI", PARAMS, params=BacktestParams(exact_diff=False))
    every = compare(folder, "WLFI", PARAMS, ("base", "all")).variants["all"].figures
    assert plain.kill is None
    assert plain.fills == every["fills"].mean
    assert plain.pnl_usd == every["pnl_usd"].mean
    assert plain.requests_total == every["requests"].mean
    assert plain.markout_5s_bps == every["markout_5s_bps"].mean
    both = min(every["quoted_frac_bid"].mean or 0, every["quoted_frac_ask"].mean or 0)
    assert 0.5 < plain.two_sided_frac <= both <= 1


def test_variants_differ_and_are_paired(folder: Path) -> None:
    """Left-out terms must be left out here too; the difference is to `base` on the same frames."""
    names = ("base", "all", "predecessor", "all-cascade")
    found = compare(folder, "WLFI", PARAMS, names).variants
    profits = {name: found[name].figures["pnl_usd"].mean for name in names}
    assert len(set(profits.values())) == len(names)
    base, every = profits["base"], profits["all"]
    assert base is not None
    assert every is not None
    assert found["all"].figures[DIFFERENCE].mean == pytest.approx(every - base)
    assert found["base"].figures[DIFFERENCE].mean == 0.0
    assert found["base"].figures["max_q_frac"].mean != found["all"].figures["max_q_frac"].mean


def test_limits_end_a_session_only_where_they_shall(folder: Path) -> None:
    """Off they are counted, or the longer run would be compared with the shorter one."""
    tight = RiskParams(
        capital_usd=100,
        loss_limit_frac=0.0005,
        drawdown_limit_frac=0.0005,
        soft_limit_frac=0.0004,
        soft_release_frac=0.0001,
    )
    params = PARAMS.model_copy(update={"risk": tight})
    off = compare(folder, "WLFI", params, ("base",)).variants["base"].figures
    on = compare(folder, "WLFI", params, ("base",), is_kill_on=True).variants["base"].figures
    assert (off["kill_trips"].mean or 0) >= 1
    assert (on["fills"].mean or 0) < (off["fills"].mean or 0)


def test_the_control_is_as_passive_as_all(folder: Path) -> None:
    """Its width is solved for on the recording itself, and told."""
    found = compare(folder, "WLFI", PARAMS, ("base", "all", "control")).variants
    assert found["control"].half_spread_bps is not None
    theirs, ours = found["control"].figures["fills"].mean, found["all"].figures["fills"].mean
    assert theirs is not None
    assert ours is not None
    assert abs(theirs - ours) <= max(3, 0.25 * ours)


def backtest(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    command = ["mmbot", "backtest", str(folder), "--coin=WLFI", f"--config={CONFIG}", *more]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        app.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_the_command_prints_the_keys_of_the_laboratory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One reader for both: `variants.<name>.<metric>.{mean,se,p05,p50,p95}`."""
    assert backtest(monkeypatch, folder, "--variants=all", "--json") == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["scenario"], tree["seeds"]) == (f"{folder.name} WLFI", 1)
    assert list(tree["variants"]) == ["base", "all"]
    for figures in tree["variants"].values():
        assert {*METRICS, DIFFERENCE} <= set(figures)
        assert set(figures["pnl_usd"]) == {"mean", "se", "p05", "p50", "p95"}
        assert figures["pnl_usd"]["se"] is None


def test_the_command_refuses_what_it_cannot_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tables at once, or a variant that is none."""
    assert backtest(monkeypatch, folder, "--variants=all", "--widths") == 2
    assert "ask for one of them" in capsys.readouterr().err
    assert backtest(monkeypatch, folder, "--variants=best") == 2
    assert "is not a variant" in capsys.readouterr().err
