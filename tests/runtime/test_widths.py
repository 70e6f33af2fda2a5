"""Width economics: what the tape says of each depth, at the fee really paid, with its interval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.core.engine import EngineParams
from mmbot.core.estimators.virtual import DepthRow
from mmbot.core.guards import GuardParams
from mmbot.core.risk import RiskParams
from mmbot.core.types import Fees
from mmbot.runtime.widths import (
    NO_WIDTH_PAYS,
    NOTHING_KNOWN,
    Widths,
    lines,
    measure_widths,
    width_row,
)
from runtime.recorded_market import informed, write
from support import IS_THOROUGH, data_dir

PARAMS = EngineParams(
    risk=RiskParams(capital_usd=100, loss_limit_frac=0.5, drawdown_limit_frac=0.5),
    guards=GuardParams(sweeps=10),
)


def measured(tmp_path: Path, *, share: float, fee_bps: float = 1.5) -> Widths:
    folder = write(tmp_path, informed(600, share=share))
    return measure_widths(folder, "WLFI", PARAMS, fees=Fees(fee_bps, 4.5))


def test_where_the_price_comes_back_every_width_beyond_the_fee_pays(tmp_path: Path) -> None:
    """Noise pays its spread: net edge = depth - fee, and the deepest that is reached earns most."""
    widths = measured(tmp_path, share=0.0)
    for row in widths.rows:
        if row.depth_bps <= 8:
            assert row.net_edge_bps == pytest.approx(row.depth_bps - 1.5, abs=0.3)
            assert row.fills_per_h == pytest.approx(900, rel=0.1)
    assert widths.best is not None
    assert widths.best.depth_bps == 8
    assert widths.best.earned_per_h == pytest.approx(900 * widths.order_usd, rel=0.1)
    assert widths.verdict.startswith("8 bps earns most")


def test_where_the_price_follows_every_trade_no_width_pays_and_it_says_so(tmp_path: Path) -> None:
    """A narrower spread is no answer to informed flow."""
    widths = measured(tmp_path, share=1.3)
    assert widths.best is None
    assert widths.verdict == NO_WIDTH_PAYS
    assert lines(widths)[-1] == NO_WIDTH_PAYS


def test_without_trades_nothing_is_said_of_any_width(tmp_path: Path) -> None:
    """That no width pays is a finding, and an empty tape finds nothing."""
    folder = write(tmp_path, informed(600, share=0.0))
    for path in folder.glob("trades_*"):
        head = gzip.decompress(path.read_bytes()).partition(b"\n")[0]
        path.write_bytes(gzip.compress(head + b"\n"))
    widths = measure_widths(folder, "WLFI", PARAMS, fees=Fees(1.5, 4.5))
    assert widths.best is None
    assert widths.verdict == NOTHING_KNOWN
    assert lines(widths)[-1] == NOTHING_KNOWN


def test_the_fee_is_taken_from_every_fill(tmp_path: Path) -> None:
    """The difference of two fees is the difference of two edges."""
    cheap, dear = (measured(tmp_path / str(fee), share=0.0, fee_bps=fee) for fee in (0.5, 2.88))
    for one, other in zip(cheap.rows, dear.rows, strict=True):
        if one.net_edge_bps is not None and other.net_edge_bps is not None:
            assert one.net_edge_bps - other.net_edge_bps == pytest.approx(2.38)


def test_requests_are_those_of_the_engine_at_widths_that_it_may_quote(tmp_path: Path) -> None:
    """Inside break-even the engine does not rest, so there is nothing to count."""
    widths = measured(tmp_path, share=0.0)
    asked = {row.depth_bps: row.requests_per_h for row in widths.rows}
    assert asked[1.0] is None
    assert asked[4.0] is None
    assert asked[6.0] is not None
    assert asked[6.0] > 0


def test_a_depth_without_evidence_says_nothing() -> None:
    """An absent figure is no zero."""
    silent = DepthRow(12.0, None, 0.0, None, None, None, None, None, None)
    row = width_row(silent, fee_bps=1.5, order_usd=10.0, credit=1.0, requests_per_h=None)
    assert (row.net_edge_bps, row.net_low_bps, row.usd_per_day, row.earned_per_h) == (None,) * 4
    assert "-" in lines(Widths("x", "HYPE", 1.0, 1.5, 10.0, (row,)))[2]


def test_the_command_prints_the_table_and_the_verdict(tmp_path: Path) -> None:
    """From the shell, as a person and as a program read it."""
    folder = write(tmp_path, informed(120, share=1.3))
    config = tmp_path / "c.toml"
    config.write_text('mode = "emulator"\n[instrument]\ncoin = "WLFI"\n[risk]\ncapital_usd = 100\n')
    arguments = ["backtest", str(folder), "--coin=WLFI", f"--config={config}", "--widths"]
    shown = CliRunner().invoke(build(arguments), arguments)
    assert shown.exit_code == 0, shown.output
    assert NO_WIDTH_PAYS in shown.output
    told = json.loads(CliRunner().invoke(build(arguments), [*arguments, "--json"]).stdout)
    assert told["verdict"] == NO_WIDTH_PAYS
    assert [row["depth_bps"] for row in told["rows"]] == [1, 2, 3, 4, 6, 8, 12]


@pytest.mark.data
@pytest.mark.parametrize("coin", ["WLFI", "SOL"] if IS_THOROUGH else ["WLFI"])
def test_recorded_markets_have_a_table(coin: str) -> None:
    """Real tape: figures that belong together."""
    widths = measure_widths(data_dir("hl-l2-20250904"), coin, PARAMS)
    fills = [row.fills_per_h for row in widths.rows if row.fills_per_h is not None]
    assert fills == sorted(fills, reverse=True)
    assert widths.rows[0].events > 30
