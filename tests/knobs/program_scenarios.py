"""What the commands do with a configuration file: exit codes, addresses, folders, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.config import Config, dump_toml
from mmbot.core.intents import KillReason
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import MmbotError
from mmbot.runtime.backtest import run_backtest
from mmbot.runtime.heart import Beat
from mmbot.runtime.watchdog import Pulse
from mmbot.state.store import Store, store_path
from runtime.recorded_market import informed, market, write
from system.harness import command

KEYS = {
    "MMBOT_KEY": "11" * 32,
    "OTHER_KEY": "22" * 32,
    "MMBOT_WATCHDOG_KEY": "55" * 32,
    "OTHER_WATCHDOG_KEY": "66" * 32,
}
KEY_FILES = {"key-a": "33" * 32, "key-b": "44" * 32}
ADDRESS = "0x" + "ab" * 20
LOST = "lost"
"""Folder of a recording on which no width pays."""
STATE_DIR = "state-a"
"""Where the latch is set that `reset` is to find."""

_ECHOES = (
    "maker_fee_bps",
    "order_latency_ms",
    "queue_factor",
    "reply_latency_ms",
    "timing",
)
"""Figures of a backtest's result that repeat its configuration, or the clock of the machine."""

_CERTAIN = (
    "run.started",
    "leverage.set",
    "run.stopping",
    "run.verified",
    "journal.closed",
    "run.ended",
)
"""Records of every run, however short and at whatever time."""

_RUNNER = CliRunner()


def _command(config: Config, here: Path, *arguments: str, env: dict[str, str]) -> list[object]:
    """Exit code and words of a command over this configuration, in this process."""
    path = here / "config.toml"
    path.write_text(dump_toml(config), "utf-8")
    arguments = (*arguments, f"--config={path}")
    result = _RUNNER.invoke(build(arguments), arguments, env={"MMBOT_KEY": "", **env})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        if not isinstance(result.exception, MmbotError):
            raise result.exception
        return [f"exit {int(result.exception.exit_code)}: {result.exception}"]
    return [f"exit {result.exit_code}", result.output]


def _signer(config: Config, here: Path, env: dict[str, str]) -> list[object]:
    for name, text in KEY_FILES.items():
        file = here / name
        file.write_text(text, "ascii")
        file.chmod(0o600)
    said = _command(config, here, "check", "--offline", "--json", env=env)
    if len(said) == 1:
        return said
    # The rest of what it prints is the configuration itself.
    told = json.loads(str(said[1]))
    return [said[0], told["signer"], told["watchdog_signer"]]


def signer_from_environment(config: Config, here: Path) -> list[object]:
    """Whose signature it would be, with several keys in the environment."""
    return _signer(config, here, KEYS)


def signer_from_file(config: Config, here: Path) -> list[object]:
    """Whose signature it would be, with several key files and nothing in the environment."""
    return _signer(config, here, {})


def silences(config: Config, here: Path) -> list[object]:
    """When a watchdog of this configuration calls a daemon silent that stops after ten seconds."""
    pulse = Pulse(config.watchdog.silent_s, 0)
    for count in range(40):
        pulse.see(Beat(pid=1, count=count), count * NS_PER_S // 4)
    return [ms for ms in range(10_000, 20_000, 50) if pulse.is_silent(ms * NS_PER_MS)]


def reset(config: Config, here: Path) -> list[object]:
    """`mmbot reset`, with a latch set in one folder."""
    reason = KillReason("operator", 1.0, 1.0, "command", "for the test", 0)
    latched = store_path(here / STATE_DIR, config.mode, ADDRESS, config.instrument.wire_coin)
    with Store(latched) as store:
        store.latch(reason)
    return _command(config, here, "reset", env={})


def edge(config: Config, here: Path) -> list[object]:
    """What `mmbot check --widths` says of a live start on a market where no width pays."""
    write(here / LOST, informed(120, share=1.3), "WLFI")
    said = _command(config, here, "check", f"--widths={here / LOST}", "--coin=WLFI", env={})
    return [said[0], *(line for line in str(said[-1]).splitlines() if "  edge  " in line)]


def recorded(config: Config, here: Path) -> list[object]:
    """What `mmbot check` says of the edge by itself, with a recording in one folder."""
    write(here / LOST, informed(120, share=1.3), "WLFI")
    said = _command(config, here, "check", env={})
    return [said[0], *(line for line in str(said[-1]).splitlines() if "  edge  " in line)]


def run(config: Config, here: Path) -> list[object]:
    """`mmbot run` in a process of its own: exit code, where the log lies, what is in it at all."""
    path = here / "config.toml"
    path.write_text(dump_toml(config), "utf-8")
    done = command("run", f"--config={path}", "--for=0.1s", cwd=here)
    # What a busy machine does to a run is no outcome of its configuration.
    assert "overloaded" not in done.stderr, done.stderr
    seen: list[object] = [f"exit {done.returncode}"]
    for log in sorted(here.glob("*/[!l]*/log.jsonl")):
        records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        seen.append(log.parent.parent.name)
        seen.extend((r["event"], r.get("leverage")) for r in records if r["event"] in _CERTAIN)
    return seen


def explained(config: Config, here: Path) -> list[object]:
    """The same, and whether it left its report."""
    return [*run(config, here), *(path.name for path in sorted(here.glob("*/[!l]*/report.*")))]


def backtest(config: Config, here: Path) -> list[object]:
    """`mmbot backtest` over a recorded minute and a half."""
    write(here / "tiny", market(90), "WLFI")
    result = run_backtest(here / "tiny", "WLFI", config.engine, params=config.backtest)
    figures: dict[str, Any] = msgspec.structs.asdict(result)
    return [(name, figure) for name, figure in figures.items() if name not in _ECHOES]


def lab(config: Config, here: Path) -> list[object]:
    """`mmbot lab` over minutes of a market, in this process; the configuration is read already."""
    arguments = ("lab", "two-sided", "--seeds=1", "--minutes=4", "--variants=base", "--json")
    with (
        patch("mmbot.cli.lab.load", lambda *_, **__: config),
        patch("mmbot.runtime.lab.runner.cores", lambda: 1),
    ):
        return _command(config, here, *arguments, env={})
