"""`mmbot lab` killed from outside: nothing of it goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"


def test_a_laboratory_that_is_killed_takes_its_workers_with_it() -> None:
    """They once went on for an hour, and slowed whatever else was measured."""
    command = [sys.executable, "-m", "mmbot", "lab", "two-sided", f"--config={CONFIG}"]
    lab = subprocess.Popen(
        [*command, "--seeds=3000", "--minutes=5", "--variants=all"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert lab.stderr is not None
    children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children")
    first = lab.stderr.readline()
    assert "sessions" in first or "two-sided" in first, first
    assert children.read_text().split()

    lab.kill()

    # The workers hold the same pipe: it ends when the last of them has.
    lab.communicate(timeout=20)
