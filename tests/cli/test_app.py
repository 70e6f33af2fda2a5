"""The command line as a whole: options, exit codes, and what becomes of an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbot.cli import app
from mmbot.cli.options import duration_s
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.errors import ConfigError, Exit

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mmbot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, standard output, standard error."""
    monkeypatch.delenv("MMBOT_KEY", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmbot", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


def test_a_bug_is_one_sentence_unless_its_traceback_is_asked_for(
    mmbot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person gets a line; who mends it gets everything."""

    def broken(*_: object) -> object:
        msg = "nothing there"
        raise KeyError(msg)

    monkeypatch.setattr("mmbot.cli.check.load", broken)
    monkeypatch.delenv(app.TRACEBACK_ENV, raising=False)
    code, out, err = mmbot("check", f"--config={CONFIG}")
    assert (code, out) == (1, "")
    assert "internal error: KeyError: 'nothing there'" in err
    assert "Traceback" not in err

    monkeypatch.setenv(app.TRACEBACK_ENV, "1")
    monkeypatch.setattr(sys, "argv", ["mmbot", "check", f"--config={CONFIG}"])
    with pytest.raises(KeyError):
        app.main()


def test_an_interrupt_before_a_command_begins_is_no_failure(
    mmbot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program takes a moment to load, and may be interrupted in it."""

    def interrupted(_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "build", interrupted)
    code, out, err = mmbot("run", f"--config={CONFIG}")

    assert (code, out) == (0, "")
    assert "before anything was begun" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("{key}",),
        ("run", "{key}"),
        ("run", "--config", "{key}"),
        ("run", "--config=0x{key}"),
        ("run", f"--config={CONFIG}", "--for", "0x{key}"),
        ("replay", "{key}"),
        ("backtest", "{key}", f"--config={CONFIG}"),
        ("selftest", f"--config={CONFIG}", "--row", "{key}"),
        ("exchange", "--scenario", "{key}"),
        ("check", "--key", "0x{key}"),
        ("check", f"--config={CONFIG}", "--offline", "--set", "account.address=0x{key}"),
        ("check", f"--config={CONFIG}", "--offline", "--set=account.key_file={key}"),
    ],
    ids=" ".join,
)
def test_a_key_among_the_arguments_is_refused_and_not_repeated(
    mmbot: Run, arguments: tuple[str, ...]
) -> None:
    """Pasted in the wrong place it must not reach a terminal, a log of a service or a report."""
    key = "c0ffee5ec2e7" + "0badcafe" * 6 + "1dea"
    code, out, err = mmbot(*(argument.format(key=key) for argument in arguments))

    assert code == 2
    assert "key" in err
    assert "ffee5ec2" not in out + err
    assert "0badcafe" not in out + err


def test_the_version_is_printed(mmbot: Run) -> None:
    """What to name in a bug report."""
    code, out, _ = mmbot("--version")
    assert (code, out.split()[0]) == (0, "mmbot")


def test_an_unknown_command_is_refused(mmbot: Run) -> None:
    """Commands of later issues are absent, not stubbed."""
    code, _, err = mmbot("report")
    assert code == 2
    assert "report" in err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("45s", 45.0), ("25m", 1500.0), ("1.5h", 5400.0), ("1h30m", 5400.0)],
)
def test_spans_are_read(text: str, seconds: float) -> None:
    """As a person writes them."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-5m", "soon", "5 m", "1e3", "5w", "1h30", "\uff11\uff10s"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    """A run that ends at a time nobody meant is worse than none."""
    with pytest.raises(ConfigError, match="write a span such as 90s, 25m or 2h"):
        duration_s(text)


# -- check ---------------------------------------------------------------------------------------


def test_the_schema_is_json_and_knows_every_section(mmbot: Run) -> None:
    """An editor completes and checks a configuration with it."""
    code, out, err = mmbot("check", "--schema")

    schema = json.loads(out)
    assert (code, err) == (0, "")
    assert schema["type"] == "object"
    assert {"instrument", "risk"} <= set(schema["required"])
    assert {"mode", "quoter", "ladder", "reconcile", "link", "emulator"} <= set(
        schema["properties"]
    )
    risk = schema["$defs"]["RiskParams"]
    assert risk["required"] == ["capital_usd"]
    assert all("description" in field for field in risk["properties"].values())


def test_offline_shows_the_effective_configuration(mmbot: Run) -> None:
    """Overrides applied, defaults filled in, no key in it."""
    arguments = ("check", "--offline", f"--config={CONFIG}", "--set=risk.max_position_usd=300")
    code, out, err = mmbot(*arguments)
    assert (code, err) == (0, "")
    assert "max_position_usd = 300" in out
    assert "# signing address: none needed or none given" in out

    code, out, err = mmbot(*arguments, "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["signer"] is None
    assert shown["config"]["risk"]["max_position_usd"] == 300
    assert shown["config"]["quoter"]["skew_bps_min"] >= 6


def test_offline_names_the_address_of_the_key_and_not_the_key(
    mmbot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough to see that it is the right one."""
    monkeypatch.setenv("OTHER_KEY", "11" * 32)
    code, out, _ = mmbot(
        "check",
        "--offline",
        "--json",
        f"--config={CONFIG}",
        "--set=mode=testnet",
        "--set=account.key_env=OTHER_KEY",
    )

    assert code == 0
    assert json.loads(out)["signer"] == "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"
    assert "11" * 32 not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check",), "--config FILE: missing"),
        (("check", f"--config={CONFIG}", "--set=risk.leverage=0"), "risk.leverage = 0"),
        (("check", f"--config={CONFIG}", "--set=risk.levrage=5"), "did you mean leverage?"),
        (
            ("check", f"--config={CONFIG}", "--set=risk.max_position_usd=600"),
            "max_position_usd = 600: must be at most 5 x risk.capital_usd",
        ),
        (
            ("check", f"--config={CONFIG}", "--set=quoter.gamma_per_bp=2x"),
            "for replay and lab alone; write the value, such as quoter.gamma_per_bp=0.004",
        ),
        (("run", f"--config={CONFIG}", "--set=risk.leverage=0.5x"), "for replay and lab alone"),
        (("run", f"--config={CONFIG}", "--for=later"), "--for later"),
        (("exchange", "--scenario=moon"), f"use one of: {', '.join(sorted(SCENARIOS))}\n"),
        (("exchange", "--coin=NOPE"), "NOPE"),
        (("exchange", "--set=risk.leverage=3"), "an exchange takes market.key=value alone"),
    ],
)
def test_what_contradicts_ends_with_code_2(
    mmbot: Run, arguments: tuple[str, ...], said: str
) -> None:
    """Before a socket is opened, with key, value, bound and remedy."""
    code, out, err = mmbot(*arguments)

    assert (code, out) == (Exit.CONFIG, "")
    assert said in err


# -- reset ---------------------------------------------------------------------------------------


def test_reset_without_a_state_says_where_it_looked(mmbot: Run, tmp_path: Path) -> None:
    """Resetting the wrong configuration must not look like success."""
    code, out, err = mmbot("reset", f"--config={CONFIG}", f"--run-dir={tmp_path / 'run'}")

    assert (code, out) == (1, "")
    assert str(tmp_path / "run" / "state.sqlite") in err


def test_reset_shows_why_clears_and_then_finds_nothing(mmbot: Run, tmp_path: Path) -> None:
    """In words and in JSON."""
    from mmbot.core.intents import KillReason
    from mmbot.state.store import Store

    reason = KillReason("session_loss", 3.21, 3.0, "USD", "lost 3.21 USD of 3.00", 1_700_000_000)
    path = tmp_path / "state.sqlite"
    arguments = ("reset", f"--config={CONFIG}", f"--run-dir={tmp_path}")

    with Store(path) as store:
        store.latch(reason)
    code, out, _ = mmbot(*arguments)
    assert code == 0
    for part in ("session_loss", "lost 3.21 USD of 3.00", "3.21 USD, limit 3 USD", str(path)):
        assert part in out
    with Store(path) as store:
        assert store.latched() is None

    code, out, _ = mmbot(*arguments)
    assert code == 0
    assert "not latched" in out

    with Store(path) as store:
        store.latch(reason)
    code, out, _ = mmbot(*arguments, "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["cleared"]["trigger"] == "session_loss"
    assert shown["path"] == str(path)
