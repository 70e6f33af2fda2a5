"""The scripts of `benchmarks/` start and do their work, however little of it is asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import decisions, reaction

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
TIMED = {
    "hot_path": ("--rounds=1", "--steps=2"),
    "decode": ("--rounds=1",),
    "signing": ("--rounds=1",),
    "journal": ("--rounds=1", "--minutes=0.02"),
    "observed": ("--blocks=1", "--cycles=2"),
    "report": ("--hours=0.005",),
}
"""These end by saying which of their targets were met; a count of one decides none of them."""
COUNTED = {
    "market": ("--minutes=0.02", "--repeats=1"),
    "market_statistics": ("--hours=0.01", "--worlds=native"),
    "first_fill": ("--seeds=1", "--workers=1"),
    "campaign": ("--runs=1", "--processes=1"),
    "causes": ("--only=kill", "--minutes=0.5"),
    "fuzz": ("--frames=200", "--programs=1", "--json"),
    "sigint": ("--rounds=1", "--processes=0", "--json"),
}
"""What these find is the same on every machine, so that they must succeed."""


def _run(name: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_imported(name: str) -> None:
    """A name that moved in the package breaks a script that no other test runs."""
    assert importlib.import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize("name", TIMED)
def test_a_script_that_measures_time_measures_to_its_end(name: str) -> None:
    """Guards newer than a benchmark may keep its engine from placing what it counts on."""
    ended = _run(name, TIMED[name])
    assert ended.stderr == ""
    verdict = ended.stdout.splitlines()[-1]
    assert verdict == "every target met" if ended.returncode == 0 else verdict.startswith("MISSED:")


@pytest.mark.parametrize("name", COUNTED)
def test_a_script_that_counts_finds_what_it_must(name: str) -> None:
    """The market, the first fill of `make run`, and a run with faults."""
    ended = _run(name, COUNTED[name])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_the_fingerprint_of_the_decisions_is_the_same_twice() -> None:
    """It stands for "this change changed nothing", so it must not differ without a change."""
    lines = [next(decisions.synthetic(1, 0.05)) for _ in range(2)]
    assert lines[0] == lines[1]
    assert int(lines[0].split()[-3]) > 0


async def test_the_daemon_answers_a_tick_of_the_reaction_with_its_whole_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must start on an exchange whose market data is kept back, and not begin with a half."""
    monkeypatch.setattr(reaction, "WAYS", (reaction.OURS,))
    monkeypatch.setattr(reaction, "WARM_UP", 0)
    samples = await reaction.measure("l2Book", 1, tmp_path)
    ((began_ns, at_ns),) = samples[reaction.OURS]
    assert at_ns > began_ns
