"""
The report at the end of a run, made by a process of its own.

The run is over by then: its orders are verified, its position is said, its lock is free. Whatever
becomes of the report, of a gigabyte of journal or of a bug in a plot, changes nothing of that.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from mmbot.config import Config

HTML: Final = "report.html"
JSON: Final = "report.json"
FRESH: Final = ".new"
"""Suffix of a file that is not whole yet."""
WAIT_S: Final = 120.0
"""How long an end waits for it; a run of a day takes a sixth of that."""
_BYTES_PER_S: Final = 10_000_000
"""Of journal and log that are waited for as well: a fifth of what one free core reads."""
_TOLD_BYTES: Final = 400


class Explainer:
    """
    Makes the report of one run.

    Attributes:
        is_cancelled: Whether somebody gave up on it.
    """

    def __init__(self, command: Sequence[str] | None = None, *, wait_s: float = WAIT_S) -> None:
        self._command = command
        self._wait_s = wait_s
        self._process: asyncio.subprocess.Process | None = None
        self.is_cancelled = False

    async def explain(self, run_dir: Path, config: Config) -> str | None:
        """
        Make the report; what went wrong in words, None if it is there.

        Never raises for whatever the report does: the run has ended, and says how by its exit code.
        """
        # -P: no module of the folder somebody stands in takes the place of one of ours.
        command = self._command or (
            sys.executable, "-P", "-m", "mmbot", "report", str(run_dir), "--open", "no", "--json",
        )  # fmt: skip
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                # Of its own group: Ctrl+C is for us, who then let it go.
                start_new_session=True,
                env=without_keys(os.environ, config),
            )
        except OSError as error:
            return f"it could not be begun: {error.strerror}"
        if self.is_cancelled:
            self.cancel()
        wait_s = self._wait_s + _bytes(run_dir) / _BYTES_PER_S
        try:
            _, told = await asyncio.wait_for(process.communicate(), wait_s)
        except TimeoutError:
            self._kill()
            await process.wait()
            _clear(run_dir)
            return f"it took longer than {wait_s:.0f} s"
        if self.is_cancelled:
            _clear(run_dir)
            return "it was not waited for"
        if process.returncode:
            why = told.decode("utf-8", "replace").strip()[-_TOLD_BYTES:]
            return why or f"exit code {process.returncode}"
        return None

    def cancel(self) -> None:
        """Do not wait for it any more."""
        self.is_cancelled = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()


def _bytes(run_dir: Path) -> int:
    """Size of what is to be read: the report of a week takes longer than that of a day."""
    try:
        return sum(each.stat().st_size for each in run_dir.iterdir() if each.is_file())
    except OSError:
        return 0


def _clear(run_dir: Path) -> None:
    """Take away what a report that was given up had begun to write."""
    for name in (HTML, JSON):
        with suppress(OSError):
            (run_dir / (name + FRESH)).unlink()


def without_keys(env: Mapping[str, str], config: Config) -> dict[str, str]:
    """An environment for a process that signs nothing and tells nobody."""
    secret = {config.account.key_env, config.watchdog.key_env, *config.alerts.url_env}
    return {name: value for name, value in env.items() if name not in secret}
