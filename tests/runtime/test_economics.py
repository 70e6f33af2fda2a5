"""A live start where no width pays is refused, unless a person calls it a measurement."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from mmbot.cli.app import build
from mmbot.config import Config, load
from mmbot.core.types import Fees, Instrument
from mmbot.emulator.recordings import Frame
from mmbot.errors import CheckError, ConfigError
from mmbot.runtime.economics import judge_edge, measure_own, refuse_without_edge
from mmbot.runtime.widths import NO_WIDTH_PAYS, NOTHING_KNOWN, WidthRow, Widths
from runtime.recorded_market import informed, write

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "hype.toml"
INSTRUMENT = Instrument(coin="WLFI", asset_id=6, sz_decimals=0, max_leverage=5)
ACCEPTED = ("live.accept_negative_edge=true",)


def noted(output: str) -> str:
    """The row of `check`."""
    (line,) = [line for line in output.splitlines() if "  edge  " in line]
    return line


def widths(low_bps: float | None) -> Widths:
    """One width whose 95 % interval begins here; it is the one that would be quoted."""
    row = WidthRow(8.0, 20.0, 40.0, 1.0, 1.0, 2.0, low_bps, 4.0, 1.0, 20.0, 10.0)
    return Widths("tape", "HYPE", 1.0, 1.5, 10.0, (row,), quoted=row)


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


def test_without_a_recording_nothing_is_known() -> None:
    """And not knowing is no reason to begin."""
    verdict = judge_edge(config(), None)
    assert not verdict.is_allowed
    assert "no recording is configured (live.recording is not set)" in verdict.text
    assert "too few trades" not in verdict.text, "nothing was counted"
    assert "name a recording of this market in live.recording" in verdict.text
    accepted = judge_edge(config(*ACCEPTED), None)
    assert accepted.is_allowed
    assert accepted.is_measurement


def test_a_refused_start_names_key_value_and_remedy(tmp_path: Path) -> None:
    """As every refusal does; an allowed one is none."""
    settings = config(f"live.recording={tmp_path}")
    with pytest.raises(CheckError) as refused:
        refuse_without_edge(settings, judge_edge(settings, widths(-0.5)))
    for words in (
        f"live.recording = '{tmp_path}': {NO_WIDTH_PAYS}",
        "live.accept_negative_edge = false",
        "set live.accept_negative_edge = true",
    ):
        assert words in str(refused.value)
    refuse_without_edge(settings, judge_edge(settings, widths(0.01)))


def test_the_fee_is_that_of_the_account_whatever_a_backtest_supposes(tmp_path: Path) -> None:
    """A rebate that is supposed would make every market pay."""
    folder = write(tmp_path, informed(300, share=0.6), "WLFI")
    settings = config(f"live.recording={folder}", "backtest.maker_fee_bps=-5")
    dear, cheap = (
        measure_own(settings, INSTRUMENT, Fees(fee_bps, 4.5), quoted_bps=8.0, has_requests=False)
        for fee_bps in (8.0, 1.5)
    )
    assert dear is not None
    assert cheap is not None
    assert (dear.maker_fee_bps, cheap.maker_fee_bps) == (8.0, 1.5)
    assert not judge_edge(settings, dear).is_allowed
    assert judge_edge(settings, cheap).is_allowed


def test_a_coin_that_is_not_listed_is_read_with_what_the_venue_says_of_it(tmp_path: Path) -> None:
    """Perps of builder dexes come and go; their grid is the venue's word, not a list of ours."""
    folder = write(tmp_path, informed(300, share=0.0), "zz:NEW")
    instrument = msgspec.structs.replace(INSTRUMENT, coin="zz:NEW")
    found = measure_own(
        config(f"live.recording={folder}"), instrument, Fees(1.5, 4.5), quoted_bps=8.0
    )
    assert found is not None
    assert found.coin == "zz:NEW"
    assert found.best is not None


def test_requests_are_not_counted_where_only_the_edge_is_asked_for(tmp_path: Path) -> None:
    """The engine's runs take most of the time, and the verdict does not depend on them."""
    settings = config(f"live.recording={write(tmp_path, informed(300, share=0.0), 'WLFI')}")
    whole = measure_own(settings, INSTRUMENT, Fees(1.5, 4.5), quoted_bps=7.3)
    brief = measure_own(settings, INSTRUMENT, Fees(1.5, 4.5), quoted_bps=7.3, has_requests=False)
    assert whole is not None
    assert brief is not None
    assert any(row.requests_per_h is not None for row in whole.rows)
    assert all(row.requests_per_h is None for row in brief.rows)
    assert judge_edge(settings, whole) == judge_edge(settings, brief)


@pytest.mark.parametrize("sets", [(), ACCEPTED])
def test_where_a_width_pays_it_is_an_ordinary_run(sets: tuple[str, ...]) -> None:
    """Whatever was accepted."""
    verdict = judge_edge(config(*sets), widths(0.01))
    assert verdict.is_allowed
    assert not verdict.is_measurement
    assert verdict.text.startswith("the 8 bps that would be quoted pay [+0.01, +4.00] bps a fill")
    assert verdict.text.endswith(widths(0.01).verdict)


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
    line = noted(shown.output)
    assert NO_WIDTH_PAYS in line
    assert said in line
    told = json.loads(CliRunner().invoke(build(arguments), [*arguments, "--json"]).stdout)
    assert told["edge"] == msgspec.to_builtins(
        judge_edge(load(emulator, sets), msgspec.convert(told["widths"], Widths))
    )


def deep(seconds: int) -> list[Frame]:
    """Takers reach 14 bps and the price keeps 9 of them: 12 bps pays, and 8 loses on each fill."""
    return informed(seconds, share=0.65, reach_bps=14.0, every_s=36)


@pytest.mark.parametrize(("quoted_bps", "is_paying"), [(8.0, False), (9.5, False), (12.0, True)])
def test_the_width_that_is_judged_is_the_one_that_is_quoted(
    tmp_path: Path, quoted_bps: float, *, is_paying: bool
) -> None:
    """A deeper one that pays is no reason to lose at the one that rests; it is the remedy."""
    folder = write(tmp_path, deep(1800), "WLFI")
    settings = config(f"live.recording={folder}")
    found = measure_own(
        settings, INSTRUMENT, Fees(1.5, 4.5), quoted_bps=quoted_bps, has_requests=False
    )
    assert found is not None
    assert found.quoted is not None
    assert found.quoted.depth_bps == quoted_bps
    assert found.best is not None
    assert found.best.depth_bps == 12
    verdict = judge_edge(settings, found)
    assert verdict.is_allowed is is_paying
    if is_paying:
        return
    with pytest.raises(CheckError) as refused:
        refuse_without_edge(settings, verdict)
    for words in (
        f"the {quoted_bps:g} bps that would be quoted do not pay: [-",
        "live.accept_negative_edge = false",
        "quoter.half_spread_bps_min = 12",
    ):
        assert words in str(refused.value)
    lost = judge_edge(config(*ACCEPTED), found)
    assert (lost.is_allowed, lost.is_measurement) == (True, True)


def test_a_width_that_no_trade_reaches_is_not_known_to_pay(tmp_path: Path) -> None:
    """Quoted beyond the farthest trade, next to widths that pay."""
    folder = write(tmp_path, deep(1800), "WLFI")
    settings = config(f"live.recording={folder}")
    found = measure_own(settings, INSTRUMENT, Fees(1.5, 4.5), quoted_bps=20.0, has_requests=False)
    verdict = judge_edge(settings, found)
    assert not verdict.is_allowed
    assert "too few trades reach the 20 bps that would be quoted" in verdict.text


def test_the_best_of_seven_must_be_better_than_one_that_was_chosen_before() -> None:
    """Seven looks at noise: one in six finds a width whose own interval lies above zero."""

    def table(count: int) -> Widths:
        row = WidthRow(8.0, 20.0, 40.0, 1.0, 1.0, 2.0, 0.2, 3.8, 1.0, 20.0, 10.0)
        losing = WidthRow(1.0, 20.0, 40.0, 1.0, 1.0, -2.0, -3.8, -0.2, -1.0, 20.0, 10.0)
        return Widths("tape", "HYPE", 1.0, 1.5, 10.0, (row, *(count - 1) * (losing,)), quoted=row)

    assert table(1).best is not None
    assert table(7).best is None, "at 2.69 errors its interval begins below zero"
    verdict = judge_edge(config(), table(7))
    assert verdict.is_allowed, "the one that is quoted was chosen before"
    assert NO_WIDTH_PAYS not in verdict.text


def test_check_judges_the_width_that_a_run_would_open_with(tmp_path: Path) -> None:
    """As printed: 8 bps by the shipped configuration, in a market where 12 would pay."""
    folder = write(tmp_path, deep(400), "WLFI")
    arguments = [
        "check",
        f"--config={CONFIG.with_name('emulator.toml')}",
        "--set=instrument.coin=WLFI",
        f"--set=live.recording={folder}",
    ]
    shown = CliRunner().invoke(build(arguments), arguments)
    assert shown.exit_code == 0, shown.output
    line = noted(shown.output)
    assert "the 8 bps that would be quoted do not pay" in line
    assert "a live start is refused" in line
    (row,) = [line for line in shown.output.splitlines() if line.endswith("  quoted")]
    assert row.split()[0] == "8"


def test_check_reads_the_recording_of_the_configuration(tmp_path: Path) -> None:
    """In any mode, for the coin that is traded; one that cannot be used is named by its key."""
    folder = write(tmp_path / "there", informed(120, share=1.3), "WLFI")
    emulator = CONFIG.with_name("emulator.toml")

    def check(path: Path, *more: str) -> Result:
        arguments = [
            "check",
            f"--config={emulator}",
            "--set=instrument.coin=WLFI",
            f"--set=live.recording={path}",
            *more,
        ]
        return CliRunner().invoke(build(arguments), arguments)

    shown = check(folder)
    assert shown.exit_code == 0, shown.output
    assert NO_WIDTH_PAYS in noted(shown.output)
    assert "95 % interval" in shown.output
    missing = check(tmp_path / "gone").exception
    assert isinstance(missing, ConfigError)
    assert str(missing).startswith(f"live.recording = '{tmp_path / 'gone'}': ")
    paying = write(tmp_path / "paying", informed(300, share=0.0), "WLFI")
    assert "earns most" in noted(check(folder, f"--widths={paying}").output)
    lone = check(folder, "--coin=SOL").exception
    assert isinstance(lone, ConfigError)
    assert "--coin SOL" in str(lone)
