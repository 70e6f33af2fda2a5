"""`mmbot lab` as it is typed: choices, refusals, tables and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbot.cli import app
from mmbot.config import load
from mmbot.emulator.scenarios import SCENARIOS, scenario_params
from support import often

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
SHORT = (f"--config={CONFIG}", "--seeds=2", "--minutes=1", "--variants=all")
ONE = (f"--config={CONFIG}", "--seeds=1", "--minutes=1", "--variants=base")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mmbot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, sessions included: exit code, output, standard error."""
    monkeypatch.setattr("mmbot.runtime.lab.runner.cores", lambda: 1)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmbot", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


_PLAIN: dict[tuple[str, ...], tuple[int, str, str]] = {}


def plain(mmbot: Run, *arguments: str) -> tuple[int, str, str]:
    """What a command prints that several tests hold theirs against; run once."""
    if arguments not in _PLAIN:
        _PLAIN[arguments] = mmbot(*arguments)
    return _PLAIN[arguments]


def test_an_unknown_scenario_is_refused_with_the_choices(mmbot: Run) -> None:
    """Exit 2, before the configuration is even looked for."""
    code, out, err = mmbot("lab", "two-side", "--config=/nowhere.toml")
    assert (code, out) == (2, "")
    assert "did you mean two-sided?" in err
    assert all(name in err for name in (*SCENARIOS, "avellaneda-stoikov"))


def test_the_json_is_one_line_of_what_was_measured(mmbot: Run) -> None:
    """For a script: nothing but JSON on standard output."""
    code, out, err = mmbot("lab", "two-sided", *SHORT, "--json")
    assert (code, err) == (0, "")
    tree = json.loads(out)
    assert set(tree) == {"scenario", "seeds", "variants"}
    assert list(tree["variants"]) == ["base", "all"]
    assert set(tree["variants"]["all"]["pnl_diff_usd"]) == {"mean", "se", "p05", "p50", "p95"}


def test_the_same_command_prints_the_same_table(mmbot: Run) -> None:
    """Figures that cannot be reproduced are none."""
    first = mmbot("lab", "informed-50", *SHORT, "--kill=on", "--mirror")
    assert first[0] == 0
    assert first == mmbot("lab", "informed-50", *SHORT, "--kill=on", "--mirror")
    assert first[1].splitlines()[0].startswith("informed-50: 2 sessions of 1 minutes, seeds 1 to 2")


@pytest.mark.parametrize(
    "option",
    [
        "--first-seed=7",
        "--set=market.k_per_bp=0.3",
        "--set=quoter.half_spread_bps_min=2.5",
        "--set=emulator.latency_ms=900",
        "--set=emulator.feed_ms=900",
        "--set=risk.max_position_usd=300",
    ],
)
def test_what_is_set_changes_what_is_measured(mmbot: Run, option: str) -> None:
    """A flag or key that nothing reads would be believed."""
    run = ("lab", "two-sided", *ONE, "--json", "--set=market.a_per_s=0.4")
    before, changed = plain(mmbot, *run), mmbot(*run, option)
    assert before[0] == changed[0] == 0
    assert before[1] != changed[1]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--set=emulator.queue=maybe", "emulator.queue = 'maybe'"),
        ("--set=emulator.feed_ms=-1", "emulator.feed_ms"),
        ("--set=market.k=1", "market.k"),
        ("--variants=base,best", "'best': is not a variant"),
        ("--set=instrument.coin=NOPE", "NOPE"),
        ("--set=emulator.queue=2x", "emulator.queue = 'on' is not a number"),
        ("--set=market.k=2x", "market.k"),
    ],
)
def test_what_cannot_be_is_refused_by_name(mmbot: Run, option: str, words: str) -> None:
    """Key, value and remedy, exit 2."""
    code, out, err = mmbot("lab", "two-sided", *SHORT, option)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("key", "factor"),
    [("market.a_per_s", "2x"), ("quoter.half_spread_bps_min", "0.5x"), ("ladder.rungs", "2x")],
)
def test_a_factor_is_the_number_it_stands_for(mmbot: Run, key: str, factor: str) -> None:
    """Of the scenario's market, of the file, and of what is set nowhere."""
    run = ("lab", "two-sided", *ONE, "--json")
    settings = load(CONFIG)
    section, _, name = key.partition(".")
    known = scenario_params("two-sided", {}) if section == "market" else getattr(settings, section)
    product = float(factor[:-1]) * getattr(known, name)
    number = int(product) if isinstance(getattr(known, name), int) else product
    told = [mmbot(*run, f"--set={key}={value}") for value in (factor, number)]
    assert told[0][0] == 0, told[0][2]
    assert told[0] == told[1]
    assert told[0][1] != plain(mmbot, *run)[1]


@pytest.mark.parametrize("key", ["ablate", "engine.ablate", "quoter.ablate", "risk.ablate"])
@pytest.mark.parametrize("command", ["lab", "check", "run"])
def test_no_configuration_can_leave_a_term_out(
    mmbot: Run, tmp_path: Path, command: str, key: str
) -> None:
    """A live run without its inventory skew must not be one line of a file away."""
    subject = ["lab", "two-sided"] if command == "lab" else [command]
    code, out, err = mmbot(*subject, f"--config={CONFIG}", f'--set={key}=["skew"]')
    assert code == 2
    assert "ablate" in err
    section, _, name = key.rpartition(".")
    line = f'{name} = ["skew"]\n'
    text = CONFIG.read_text("utf-8")
    if not section:
        text = line + text
    elif f"[{section}]" in text:
        text = text.replace(f"[{section}]\n", f"[{section}]\n{line}")
    else:
        text += f"\n[{section}]\n{line}"
    file = tmp_path / "ablated.toml"
    file.write_text(text, "utf-8")
    code, out, err = mmbot(*subject, f"--config={file}")
    assert (code, out) == (2, "")
    assert "ablate" in err


def test_without_a_configuration_it_says_what_is_missing(mmbot: Run) -> None:
    """The theory alone needs none."""
    code, _, err = mmbot("lab", "two-sided")
    assert code == 2
    assert "--config is missing" in err


def test_the_theory_is_checked_without_a_configuration(mmbot: Run) -> None:
    """The tables of Avellaneda and Stoikov, each row beside its exact values."""
    code, out, _ = mmbot("lab", "avellaneda-stoikov", f"--seeds={often(500, thoroughly=2000)}")
    assert code == 0
    assert "QF 1" in out
    assert "DISAGREES" not in out
    code, _, err = mmbot("lab", "avellaneda-stoikov", "--seeds=5")
    assert code == 2
    assert "100 paths" in err
