"""`mmbot lab` killed from outside: nothing of it goes on."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
PATIENCE_S = 120.0


def read(terminal: int) -> bytes:
    """What comes next from a terminal; empty when nobody has it open any more."""
    assert select.select([terminal], [], [], PATIENCE_S)[0], "nothing was said"
    try:
        return os.read(terminal, 4096)
    except OSError:  # so Linux tells that the other end is closed
        return b""


def test_a_laboratory_that_is_killed_takes_its_workers_with_it() -> None:
    """They once went on for an hour, and slowed whatever else was measured."""
    ours, theirs = pty.openpty()  # a terminal hears of every session
    command = [sys.executable, "-m", "mmbot", "lab", "two-sided", f"--config={CONFIG}"]
    lab = subprocess.Popen(
        [*command, "--seeds=3000", "--minutes=1", "--variants=all"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = b""
        while b"sessions" not in said:
            news = read(ours)
            assert news, said
            said += news
        assert Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()

        lab.kill()

        # The workers hold the same terminal: it ends when the last of them has.
        while read(ours):
            pass
    finally:
        lab.kill()
        lab.wait()
        os.close(ours)
