"""A live start where no width pays is refused, unless a person calls it a measurement."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.config import Config, load
from mmbot.runtime.economics import judge_edge
from mmbot.runtime.widths import NO_WIDTH_PAYS, NOTHING_KNOWN, WidthRow, Widths
from runtime.recorded_market import informed, write

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "hype.toml"
ACCEPTED = ("live.accept_negative_edge=true",)


def widths(low_bps: float | None) -> Widths:
    """One width whose 95 % interval begins here."""
    row = WidthRow(8.0, 20.0, 40.0, 1.0, 1.0, 2.0, low_bps, 4.0, 1.0, 20.0, 10.0)
    return Widths("tape", "HYPE", 1.0, 1.5, 10.0, (row,))


def config(*sets: str) -> Config:
    return load(CONFIG, sets)


@pytest.mark.parametrize("low_bps", [None, -0.5, 0.0])
def test_where_no_interval_lies_above_zero_a_live_start_is_refused(low_bps: float | None) -> None:
    """The predecessor traded such a market for months."""
    verdict = judge_edge(config(), widths(low_bps))
    assert not verdict.is_allowed
    assert not verdict.is_measurement
    assert (NOTHING_KNOWN if low_bps is None else NO_WIDTH_PAYS) in verdict.text
    assert "live.accept_negative_edge = true" in verdict.text


@pytest.mark.parametrize("low_bps", [None, -0.5, 0.0])
def test_one_who_accepts_that_makes_a_measurement(low_bps: float | None) -> None:
    """And it is called so."""
    verdict = judge_edge(config(*ACCEPTED), widths(low_bps))
    assert verdict.is_allowed
    assert verdict.is_measurement
    assert "MEASUREMENT" in verdict.text


@pytest.mark.parametrize("sets", [(), ACCEPTED])
def test_where_a_width_pays_it_is_an_ordinary_run(sets: tuple[str, ...]) -> None:
    """Whatever was accepted."""
    verdict = judge_edge(config(*sets), widths(0.01))
    assert verdict.is_allowed
    assert not verdict.is_measurement
    assert verdict.text == widths(0.01).verdict


def test_nothing_is_accepted_unless_said() -> None:
    """No shipped configuration, and no default."""
    for path in CONFIG.parent.glob("*.toml"):
        assert load(path).live.accept_negative_edge is False


@pytest.mark.parametrize(("sets", "said"), [((), "refused"), (ACCEPTED, "MEASUREMENT")])
def test_check_says_it_where_it_prints_the_widths(
    tmp_path: Path, sets: tuple[str, ...], said: str
) -> None:
    """As a person and as a program read it; in the emulator it refuses nothing."""
    folder = write(tmp_path, informed(120, share=1.3), "WLFI")
    emulator = CONFIG.with_name("emulator.toml")
    arguments = [
        "check",
        f"--config={emulator}",
        f"--widths={folder}",
        "--coin=WLFI",
        *(f"--set={item}" for item in sets),
    ]
    shown = CliRunner().invoke(build(arguments), arguments)
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if "  edge  " in line]
    assert NO_WIDTH_PAYS in line
    assert said in line
    told = json.loads(CliRunner().invoke(build(arguments), [*arguments, "--json"]).stdout)
    assert told["edge"] == msgspec.to_builtins(
        judge_edge(load(emulator, sets), msgspec.convert(told["widths"], Widths))
    )
