"""The fire drill of `mmbot check --kill`: what it says is what the program does."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.config import Config, load
from mmbot.core.risk import Day, Limits
from mmbot.core.triggers import FLATTENS, KILLS, Trip
from mmbot.core.types import Instrument
from mmbot.runtime.drill import Drill, drill, lines, offline, rules

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)


def config(*sets: str, name: str = "hype.toml") -> Config:
    return load(CONFIGS / name, sets)


def tried(*sets: str, equity_usd: float = 100.0, day: Day | None = None) -> Drill:
    chosen = config(*sets)
    return drill(
        chosen,
        HYPE,
        equity_usd=equity_usd,
        px=25.0,
        vol_bps_rt_s=1.0,
        day=day,
        now_ns=20_000 * 86_400 * 10**9,
    )


def test_every_trigger_of_the_switch_has_its_row_with_limit_and_unit() -> None:
    """A trigger that the drill leaves out is one that nobody reckons with."""
    chosen = config()
    table = rules(chosen, Limits.of(chosen.risk, HYPE, 100.0))
    assert sorted(rule.trigger for rule in table) == sorted(trip.value for trip in KILLS)
    assert all(rule.unit and rule.what for rule in table)
    assert {Trip(rule.trigger) for rule in table if rule.closes} == FLATTENS
    kept = config("kill.flatten=false")
    assert not any(rule.closes for rule in rules(kept, Limits.of(kept.risk, HYPE, 100.0)))


def test_the_limits_shown_are_those_of_the_configuration_and_the_equity() -> None:
    """In dollars of this account, not in fractions of some other."""
    shown = {rule.trigger: rule.limit for rule in tried(equity_usd=60.0).rules}
    assert shown["session_loss"] == pytest.approx(1.8)
    assert shown["day_loss"] == pytest.approx(3.0)
    assert shown["drawdown"] == pytest.approx(1.8)
    assert shown["position"] == pytest.approx(1.25 * 120.0)
    assert shown["balance"] == pytest.approx(30.0)
    dollars = tried("risk.loss_limit_usd=0.9", "kill.unknown_s=44", "kill.rejects=17")
    shown = {rule.trigger: rule.limit for rule in dollars.rules}
    assert (shown["session_loss"], shown["unknown_order"], shown["rejects"]) == (0.9, 44.0, 17.0)


def test_the_move_that_trips_is_that_at_which_the_loss_is_reached() -> None:
    """Tried on an engine: the loss of the position at that move is the limit, on both sides."""
    told = tried()
    assert [round(burn.position_frac, 2) for burn in told.burns] == [0.2, 0.5, 1, -0.2, -0.5, -1]
    for burn in told.burns:
        assert burn.kill is not None
        assert burn.kill.trigger == "session_loss"
        lost = -burn.position_usd * burn.kill.move_pct / 100
        assert lost == pytest.approx(burn.kill.loss_usd, rel=0.01)
        assert 3.0 <= burn.kill.loss_usd <= 3.0 + abs(burn.position_usd) * 1.1e-4
        assert burn.kill.move_pct * burn.position_frac < 0
        if abs(burn.position_frac) < 1:
            assert burn.soft is not None
            assert burn.soft.trigger == "soft_loss"
            assert burn.soft.loss_usd == pytest.approx(1.5, abs=0.03)


def test_what_was_lost_today_brings_the_trip_nearer() -> None:
    """Four dollars are gone of five: the day goes first, at one."""
    told = tried(day=Day(20_000, 100.0, -4.0))
    for burn in told.burns:
        assert burn.kill is not None
        assert burn.kill.trigger == "day_loss"
        assert burn.kill.loss_usd == pytest.approx(1.0, abs=0.03)
    assert "4.00 of it are gone" in "\n".join(lines(told))


def test_a_day_that_is_lost_already_trips_at_no_move_at_all() -> None:
    """And the drill says so instead of looking for one."""
    told = tried(day=Day(20_000, 100.0, -5.5))
    assert {burn.kill.move_pct for burn in told.burns if burn.kill is not None} == {0.0}


def test_a_margin_that_goes_before_the_loss_limit_is_found() -> None:
    """Nobody would work that out by hand: the drill tries it."""
    told = tried(
        "risk.loss_limit_frac=0.5",
        "risk.drawdown_limit_frac=0.5",
        "kill.margin_frac=0.15",
        "risk.max_position_usd=250",
    )
    full = next(burn for burn in told.burns if burn.position_frac == 1.0)
    assert full.kill is not None
    assert full.kill.trigger == "margin"


@pytest.mark.parametrize(
    ("leverage", "long_pct", "short_pct"), [(10, -3.57, 3.12), (5, -14.28, 12.5)]
)
def test_isolated_margin_has_a_row_of_its_own_with_the_move_that_trips(
    leverage: int, long_pct: float, short_pct: float
) -> None:
    """
    `kept * (1 + m) = 0.75 * (1 / L + side * m)`: at 10x of 10x, 5 % is kept of each dollar.

    It is the same for a small position, which no limit in money would ever close.
    """
    chosen = config(f"risk.leverage={leverage}")
    alone = msgspec.structs.replace(HYPE, coin="hyna:HYPE", dex="hyna", only_isolated=True)
    told = drill(chosen, alone, equity_usd=100.0, px=25.0, vol_bps_rt_s=1.0)
    assert [row.side for row in told.isolated] == ["long", "short"]
    for row, pct in zip(told.isolated, (long_pct, short_pct), strict=True):
        assert row.kill is not None
        assert (row.kill.trigger, row.leverage) == ("margin", leverage)
        assert row.kill.move_pct == pytest.approx(pct, abs=0.02)
        assert abs(row.kill.move_pct) < abs(row.liquidation_pct)
    fifth = next(burn for burn in told.burns if burn.position_frac == 0.2)
    assert fifth.kill is not None
    assert (fifth.kill.trigger == "margin") is (leverage == 10), "the nearer of the two is first"
    text = "\n".join(lines(told))
    assert f"long isolated {leverage}x, any size" in text
    assert f"short isolated {leverage}x, any size" in text
    assert not tried().isolated, "cross margin has no such row"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(arguments), arguments, env={"MMBOT_KEY": "11" * 32})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "sets", "code"),
    [
        ("hype.toml", [], 0),
        ("hype.toml", ["risk.max_position_usd=400"], 5),
        ("emulator.toml", ["risk.max_position_usd=400"], 0),
    ],
)
def test_a_switch_that_noise_trips_too_often_is_refused_but_where_no_money_is(
    name: str, sets: list[str], code: int
) -> None:
    """Above 5 % a day a trip means nothing; on the emulated exchange it is only said."""
    chosen = ["check", "--kill", "--offline", f"--config={CONFIGS / name}"]
    found, out = run(*chosen, *(f"--set={item}" for item in sets))
    assert found == code
    assert "fire drill" in out
    assert "noise within 24 h" in out
    assert ("more than 5%" in out) is bool(sets)
    assert ("WARNING" in out) is (name == "emulator.toml")
    found, out = run(*chosen, *(f"--set={item}" for item in sets), "--json")
    assert found == code
    told = json.loads(out)["kill"]
    assert (told["noise"]["kill_p"] > 0.05) is bool(sets)
    assert told["noise_row"]["is_ok"] is (code == 0)
    assert len(told["rules"]) == len(KILLS)
    assert len(told["burns"]) == 6


def test_a_day_limit_below_the_session_s_is_what_noise_trips() -> None:
    """The smaller of the two counts, in dollars as in fractions."""
    loose = offline(config()).noise.kill_p
    for tight in ("risk.day_loss_limit_usd=1.5", "risk.day_loss_limit_frac=0.015"):
        assert offline(config(tight)).noise.kill_p > 3 * loose
