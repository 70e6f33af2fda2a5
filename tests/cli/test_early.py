"""A signal while Python still loads the program: the moment comes by a hook, not by a clock."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmbot.state.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "configs" / "emulator.toml"
PATIENCE_S = 180
"""A bound for a machine that is busy; it passes as soon as the process has ended."""

HOOK = """\
import os, runpy, signal, sys
from importlib.metadata import EntryPoint
script, number = sys.argv.pop(1), sys.argv.pop(1)
class Hook:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "mmbot.cli.app":
            numbers = [int(each) for each in number.split(",")]
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
            for each in numbers:
                os.kill(os.getpid(), each)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
sys.meta_path.insert(0, Hook)
if script:
    EntryPoint("mmbot", script, "console_scripts").load()()
else:
    runpy.run_module("mmbot", run_name="__main__", alter_sys=True)
"""
SCRIPT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]["mmbot"]


def struck(
    number: int | Sequence[int], script: str, *arguments: str, terminal: int | None = None
) -> str:
    """
    Standard error of a command that signals meet half loaded, after its exit code.

    Several come together, so that the interpreter has all of them to handle at once.
    """
    numbers = [number] if isinstance(number, int) else number

    def in_child() -> None:
        os.setsid()
        if terminal is not None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    done = subprocess.run(
        [sys.executable, "-c", HOOK, script, ",".join(str(int(n)) for n in numbers), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        preexec_fn=in_child,
    )
    return f"{done.returncode}: {done.stderr}"


def test_sigusr1_is_latched_by_the_start_that_it_met(tmp_path: Path) -> None:
    """By default it ends the process, and the next start would trade."""
    said = struck(signal.SIGUSR1, "", "run", f"--config={CONFIG}", f"--run-dir={tmp_path}")

    assert said.startswith("3: ")
    assert "the kill switch is latched: operator: SIGUSR1" in said
    with Store(tmp_path / "state.sqlite") as store:
        assert store.latched() is not None


def test_a_start_that_fails_before_it_can_latch_says_so(tmp_path: Path) -> None:
    """Whoever sent it must not believe that the next start is refused."""
    said = struck(signal.SIGUSR1, SCRIPT, "run", f"--config={tmp_path / 'none.toml'}")

    assert said.startswith("2: ")
    assert "none.toml: no such file" in said
    assert "SIGUSR1 was given, but the kill switch is NOT latched" in said
    assert "mmbot kill latches it" in said


def test_a_terminal_that_is_closed_stops_the_start_cleanly() -> None:
    """As at any later moment; nothing was sent."""
    master, slave = os.openpty()
    try:
        said = struck(signal.SIGHUP, SCRIPT, "run", f"--config={CONFIG}", terminal=slave)
    finally:
        os.close(master)
        os.close(slave)

    assert said.startswith("0: mmbot: SIGHUP, the terminal was closed")
    assert "nothing was sent" in said


def test_a_hang_up_without_a_terminal_ends_no_start(tmp_path: Path) -> None:
    """A service manager asks so for a reload; the file is only about to be read."""
    said = struck(signal.SIGHUP, "", "run", f"--config={tmp_path / 'none.toml'}")

    assert said.startswith("2: ")
    assert "none.toml: no such file" in said
    assert "SIGUSR1" not in said


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl+C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGQUIT, "SIGQUIT")],
)
def test_what_ends_a_start_that_was_told_to_kill_says_that_nothing_is_latched(
    number: signal.Signals, name: str
) -> None:
    """Whose number is lower is handled first: a SIGUSR1 that came with it is not forgotten."""
    said = struck((signal.SIGUSR1, number), "", "run", f"--config={CONFIG}")

    assert said.startswith(f"3: mmbot: {name} before the first order; nothing was sent\n")
    assert "SIGUSR1 was given, but the kill switch is NOT latched" in said
    assert "mmbot kill latches it" in said


def test_what_ends_a_start_alone_is_a_clean_stop() -> None:
    """As at any later moment before the first order."""
    said = struck(signal.SIGTERM, SCRIPT, "run", f"--config={CONFIG}")

    assert said == "0: mmbot: SIGTERM before the first order; nothing was sent\n"


ENDED = """\
import os, signal, sys
from mmbot.logs import LogWriter
close = LogWriter.close
def closing(self, *rest):
    os.kill(os.getpid(), signal.SIGUSR1)
    close(self, *rest)
LogWriter.close = closing
from mmbot.__main__ import main
main()
"""


def test_sigusr1_after_the_last_word_of_a_run_latches(tmp_path: Path) -> None:
    """The log is being closed: no loop runs any more, and the process lives still."""
    arguments = ("run", f"--config={CONFIG}", f"--run-dir={tmp_path}", "--for=1s")
    done = subprocess.run(
        [sys.executable, "-c", ENDED, *arguments, "--set=report.at_end=false"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 3, done.stderr
    assert "the kill switch is latched: operator: SIGUSR1" in done.stderr
    with Store(tmp_path / "state.sqlite") as store:
        assert store.latched() is not None
