"""Claims about whole backtests: the real engine over synthetic and recorded markets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from mmbot.core.engine import EngineParams, Summary
from mmbot.core.estimators.cascade import CascadeParams
from mmbot.core.guards import GuardParams
from mmbot.core.reconcile import ReconcileParams
from mmbot.core.risk import RiskParams
from mmbot.core.types import Fees
from mmbot.emulator.instruments import listed_instrument
from mmbot.errors import ConfigError
from mmbot.runtime.backtest import BacktestParams, BacktestResult, render, run_backtest
from runtime.recorded_market import market, write
from support import IS_THOROUGH, data_dir

PARAMS = EngineParams(
    risk=RiskParams(capital_usd=100),
    guards=GuardParams(sweeps=10),
    cascade=CascadeParams(danger_pull=1.0),
)
"""The market of these tests sweeps both sides every minute: both answers would sit it out."""
ALONE = BacktestParams(exact_diff=False)


def outcome(result: BacktestResult) -> bytes:
    """Everything but the time it took, as bytes."""
    return msgspec.json.encode(msgspec.structs.replace(result, timing=None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes of a lively synthetic market."""
    return write(tmp_path_factory.mktemp("recorded"), market(240))


def test_engine_trades_a_recording_to_a_summary(folder: Path) -> None:
    """The whole way: files, frames, decisions, fills, figures that belong together."""
    result = run_backtest(folder, "WLFI", PARAMS, params=ALONE)

    assert result.fills > 0
    assert result.end_reason == "end of recording"
    assert result.resting_orders == 0
    assert result.position_sz == result.bought_sz - result.sold_sz
    total = result.realised_usd + result.unrealised_usd - result.fees_usd + result.funding_usd
    assert result.pnl_usd == pytest.approx(total, abs=1e-9)
    assert result.equity_usd == pytest.approx(100 + result.pnl_usd)
    assert result.fees_usd == pytest.approx(result.filled_usd * 1.5e-4)
    assert 0.5 < result.two_sided_frac <= 1
    assert result.frames == 960 + len([f for f in market(240) if f.__class__.__name__ == "Trade"])


def test_json_holds_the_figures_of_a_run_and_those_of_a_recording(folder: Path) -> None:
    """Tools that read the summary of a run read this one; the keys are a contract."""
    plain = msgspec.json.decode(msgspec.json.encode(run_backtest(folder, "WLFI", PARAMS)))

    assert set(Summary.__struct_fields__) <= plain.keys()
    assert {"duration_s", "kill", "end_reason", "frames", "duplicate_trades", "stale_s"} <= set(
        plain
    )
    assert {"holes", "requests", "requests_budget", "hours_to_exhaustion", "exact_diff"} <= set(
        plain
    )
    assert {"inside_floor_s", "fills_per_h", "two_sided_frac", "timing"} <= set(plain)


def test_same_recording_gives_the_same_outcome(folder: Path) -> None:
    """Two runs that differ by chance compare nothing."""
    assert outcome(run_backtest(folder, "WLFI", PARAMS)) == outcome(
        run_backtest(folder, "WLFI", PARAMS)
    )


def test_second_run_does_not_change_the_first(folder: Path) -> None:
    """The comparison is beside the run, not part of it."""
    alone = run_backtest(folder, "WLFI", PARAMS, params=ALONE)
    compared = run_backtest(folder, "WLFI", PARAMS)

    assert compared.exact_diff is not None
    assert outcome(msgspec.structs.replace(compared, exact_diff=None)) == outcome(alone)


def test_a_second_process_changes_nothing_but_the_time_it_takes(folder: Path) -> None:
    """The comparison goes on beside the run where there is a core for it."""
    both = run_backtest(folder, "WLFI", PARAMS, processes=2)

    assert both.exact_diff is not None
    assert outcome(both) == outcome(run_backtest(folder, "WLFI", PARAMS))


def test_exact_price_diff_costs_several_times_the_requests(folder: Path) -> None:
    """What the grid and the hysteresis are for; counts come from two whole runs."""
    result = run_backtest(folder, "WLFI", PARAMS)
    exact = result.exact_diff

    assert exact is not None
    assert exact.requests > 4 * result.requests_total
    assert exact.requests_ratio == result.requests_total / exact.requests
    assert exact.fills_lost == exact.fills - result.fills


def test_request_budget_is_a_day_of_a_fresh_address(folder: Path) -> None:
    """10 000 requests spread over 24 hours, and one for every USD that was filled."""
    result = run_backtest(folder, "WLFI", PARAMS, params=ALONE)

    hours = result.duration_s / 3600
    assert result.requests_budget == pytest.approx(10_000 * hours / 24 + result.filled_usd)
    net_per_h = (result.requests_total - result.filled_usd) / hours
    if net_per_h > 0:
        assert result.hours_to_exhaustion == pytest.approx(10_000 / net_per_h)
    else:
        assert result.hours_to_exhaustion is None


def test_fees_and_instrument_can_be_overridden(folder: Path) -> None:
    """An account of another tier, or a coin that is not in the table."""
    dear = run_backtest(
        folder, "WLFI", PARAMS, params=BacktestParams(exact_diff=False, maker_fee_bps=9.0)
    )
    assert dear.maker_fee_bps == 9.0
    assert dear.fees_usd == pytest.approx(dear.filled_usd * 9e-4)

    listed, _ = listed_instrument("WLFI")
    given = run_backtest(
        folder,
        "WLFI",
        PARAMS,
        params=ALONE,
        instrument=msgspec.structs.replace(listed, asset_id=7),
        fees=Fees(maker_bps=0.0, taker_bps=0.0),
    )
    assert given.fees_usd == 0.0
    with pytest.raises(ConfigError, match="check sz_decimals = 3"):
        run_backtest(folder, "WLFI", PARAMS, params=BacktestParams(sz_decimals=3))
    with pytest.raises(ConfigError, match="not in emulator/instruments"):
        run_backtest(folder, "DOGE", PARAMS)


def test_longer_queue_and_latency_reach_the_fills(folder: Path) -> None:
    """
    The knobs of the fill model are wired.

    (That neither adds fills to a fixed script is a property of the venue, tested there; a maker
    that answers its fills may well end with more of them.)
    """
    plain = run_backtest(folder, "WLFI", PARAMS, params=ALONE)
    queued = run_backtest(
        folder, "WLFI", PARAMS, params=BacktestParams(exact_diff=False, queue_factor=100)
    )
    late = run_backtest(
        folder, "WLFI", PARAMS, params=BacktestParams(exact_diff=False, order_latency_ms=60_000)
    )

    assert queued.fills != plain.fills
    assert outcome(queued) != outcome(plain)
    assert outcome(late) != outcome(plain)


def test_hole_is_stale_data_and_nothing_rests_in_it(tmp_path: Path) -> None:
    """A feed that stops for a minute: orders are pulled, the time is counted, quoting resumes."""
    write(tmp_path, market(60, hole_s=60))
    result = run_backtest(tmp_path, "WLFI", PARAMS, params=ALONE)

    assert result.stale_s == pytest.approx(60, abs=1)
    assert len(result.holes) == 1
    assert result.holes[0].length_s == result.stale_s
    quoted_s = result.two_sided_frac * result.duration_s
    assert quoted_s < result.duration_s - result.stale_s + PARAMS.risk.stale_pull_s + 1


def test_hole_beyond_the_limit_kills_and_the_result_says_so(tmp_path: Path) -> None:
    """Stale data is a kill trigger with its own unit; after it no order is sent."""
    write(tmp_path, market(60, hole_s=60))
    strict = EngineParams(risk=RiskParams(capital_usd=100, stale_kill_s=20))
    result = run_backtest(tmp_path, "WLFI", strict, params=ALONE)

    assert result.kill is not None
    assert result.end_reason == f"kill: {result.kill.trigger}"
    assert result.kill.unit == "s"
    assert result.duration_s < 60
    assert result.resting_orders == 0
    assert "KILLED" in render(result)


def test_progress_is_told_in_words(folder: Path) -> None:
    """Both runs report, so that a person does not take the second for a hang."""
    told: list[str] = []
    run_backtest(folder, "WLFI", PARAMS, on_progress=told.append)

    assert told[-1].endswith("WLFI, exact-price diff: 100%")
    assert any(text.endswith("WLFI: 100%") for text in told)


def test_table_for_people_names_what_matters(folder: Path) -> None:
    """Profit with its parts, the model behind the fills, requests, and what was left out."""
    result = run_backtest(folder, "WLFI", PARAMS)
    text = render(result)

    for name in ("profit", "model", "adverse move", "requests", "exact-price diff", "left out"):
        assert any(line.startswith(name) for line in text.splitlines()), name
    assert f"{result.requests_total} (" in text
    assert "funding is left out" in text
    assert "frames per s" in text


@cache
def recorded(coin: str) -> BacktestResult:
    """A real market, traded once for every claim about it."""
    return run_backtest(data_dir("hl-l2-20250904"), coin, PARAMS)


@pytest.mark.data
@pytest.mark.parametrize("coin", ["BTC", "ETH", "SOL"] if IS_THOROUGH else ["SOL"])
def test_fresh_address_lasts_a_day_on_recorded_markets(coin: str) -> None:
    """Within 10 000 requests a day and one per USD filled, at a quarter of an exact diff's."""
    result = recorded(coin)

    assert result.requests_total <= result.requests_budget
    assert result.hours_to_exhaustion is None or result.hours_to_exhaustion >= 24
    assert result.exact_diff is not None
    assert result.exact_diff.requests_ratio is not None
    assert result.exact_diff.requests_ratio <= 0.25
    assert result.kill is None
    assert result.two_sided_frac > 0.9


@pytest.mark.data
def test_thin_recorded_market_is_traded_within_a_quarter_of_the_requests() -> None:
    """WLFI, the nearest stand-in for HYPE: it fills, and the figures belong together."""
    result = run_backtest(data_dir("hl-l2-20250904"), "WLFI", PARAMS)

    assert result.fills > 10
    assert result.exact_diff is not None
    assert result.exact_diff.requests_ratio is not None
    assert result.exact_diff.requests_ratio <= 0.25
    assert result.duplicate_trades == 8
    total = result.realised_usd + result.unrealised_usd - result.fees_usd
    assert result.pnl_usd == pytest.approx(total, abs=1e-9)


@pytest.mark.data
@pytest.mark.parametrize("coin", ["BTC", "ETH", "SOL", "WLFI"])
def test_recorded_hole_of_four_minutes_is_stale_data(coin: str) -> None:
    """The engine pulls its quotes after three seconds and comes back at the new price."""
    result = run_backtest(data_dir("hl-l2-20250903-gap"), coin, PARAMS, params=ALONE)

    assert max(hole.length_s for hole in result.holes) == pytest.approx(249.6, abs=1)
    assert result.stale_s == pytest.approx(300, abs=3)
    assert result.two_sided_frac < 1 - (result.stale_s - 20) / result.duration_s
    assert result.two_sided_frac > 0.3


@pytest.mark.data
def test_hysteresis_off_on_the_grid_still_sends_more() -> None:
    """The hold alone, on the same grid, saves requests: it is not the grid that does all."""
    none = ReconcileParams(
        hold_bps=0, hold_bps_max=0, hold_s=0, hold_s_max=0, keep_size_frac=1, requests_last_h=0.01
    )
    restless = EngineParams(risk=RiskParams(capital_usd=100), reconcile=none)
    quiet = recorded("SOL")
    moved = run_backtest(data_dir("hl-l2-20250904"), "SOL", restless, params=ALONE)

    assert moved.requests_total > 2 * quiet.requests_total
