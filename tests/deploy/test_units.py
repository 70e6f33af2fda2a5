"""The systemd units: systemd reads them, and every command in them is one of the program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build

UNITS = sorted((Path(__file__).resolve().parent.parent.parent / "deploy").glob("*.service"))
PROGRAM = "/opt/mmbot/.venv/bin/mmbot"
_EXEC = re.compile(r"^(Exec\w+)=(.*)$", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Unit and line of every command."""
    return [
        (f"{unit.name} {key}", line)
        for unit in UNITS
        for key, line in _EXEC.findall(unit.read_text("utf-8"))
    ]


def test_daemon_and_watchdog_ship_a_unit_each() -> None:
    """The daemon's cancels after whatever ended it."""
    assert [unit.name for unit in UNITS] == ["mmbot-watchdog.service", "mmbot.service"]
    named = [name for name, _ in commands()]
    assert named == [
        "mmbot-watchdog.service ExecStart",
        "mmbot.service ExecStart",
        "mmbot.service ExecReload",
        "mmbot.service ExecStopPost",
    ]


@pytest.mark.parametrize(("name", "line"), commands(), ids=[name for name, _ in commands()])
def test_every_command_has_the_options_it_is_given(name: str, line: str) -> None:
    """A unit that names an option which is gone fails on the day it is needed."""
    program, command, *arguments = shlex.split(line)
    assert program == PROGRAM
    done = CliRunner().invoke(build((command,)), (command, "--help"))
    assert done.exit_code == 0
    shown = done.stdout
    options = [text for text in arguments if text.startswith("--")]
    assert "--config" in options
    for option in options:
        assert option in shown


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_it(unit: Path, tmp_path: Path) -> None:
    """Every key is one that systemd knows, with a value that it takes."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine: the units are not verified here")
    for each in UNITS:
        # The program is not installed here; any other that is will do for what is looked at.
        text = each.read_text("utf-8").replace(PROGRAM, sys.executable)
        (tmp_path / each.name).write_text(text, "utf-8")
    done = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    said = [row for row in done.stderr.splitlines() if unit.name in row]
    assert (done.returncode, said) == (0, []), done.stderr
