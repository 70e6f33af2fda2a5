"""What the README tells a newcomer to type works, and what it maps exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build

REPO = Path(__file__).resolve().parent.parent
README = (REPO / "README.md").read_text("utf-8")


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def mmbot(*arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mmbot", *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def usages() -> list[str]:
    lines = [line for block in blocks() for line in block.splitlines()]
    return [line for line in lines if line.startswith("mmbot ")]


@pytest.mark.parametrize("line", usages(), ids=lambda line: " ".join(line.split()[:2]))
def test_every_command_of_the_readme_has_its_options(line: str) -> None:
    """A usage line that lies costs a newcomer the first ten minutes."""
    usage = line.partition("   ")[0]
    command = line.split()[1]
    shown = CliRunner().invoke(build((command,)), (command, "--help")).stdout

    for option in re.findall(r"--[a-z-]+", usage):
        assert option in shown, f"{command} has no {option}"


def test_make_run_trades_and_ends_by_itself() -> None:
    """The first command of the README, for five seconds."""
    done = subprocess.run(
        ["make", "--no-print-directory", "run", "ARGS=--for 5s"],
        cwd=REPO,
        # What a make above this one wants of its own is none of a newcomer's.
        env={name: it for name, it in os.environ.items() if name != "MAKEFLAGS"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("EMULATOR", "quote ", "resting orders", "not tripped"):
        assert word in done.stdout


def test_check_prints_a_ladder_for_the_emulator() -> None:
    """`mmbot check` is what a person runs before trusting the bot."""
    done = mmbot("check", "--config", "configs/emulator.toml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"buy +\d", done.stdout)
    assert re.search(r"sell +\d", done.stdout)


def test_the_map_of_the_readme_points_at_files_that_exist() -> None:
    """ "I want to change X: open Y" is worth nothing if Y moved."""
    missing = []
    for cell in re.findall(r"^\|.*\|(.*)\|$", README, re.MULTILINE):
        paths = re.findall(r"`([\w/.]+\.py)`", cell)
        folder = Path()
        for name in paths:
            path = Path(name)
            folder = path.parent if path.parent != Path() else folder
            if not (REPO / folder / path.name).exists():
                missing.append(name)

    assert missing == []


def test_the_links_of_the_documents_stay_inside_the_repository() -> None:
    """A clone is complete in itself."""
    for page in [REPO / "README.md", *(REPO / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            path = (page.parent / target).resolve()
            assert path.is_relative_to(REPO), f"{page.name}: {target}"
            assert path.exists(), f"{page.name}: {target}"
