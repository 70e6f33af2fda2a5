"""`mmbot top`: a running daemon, live, in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from mmbot.cli.asked import Overrides, Run, RunConfig, find
from mmbot.errors import ConfigError, Exit
from mmbot.runtime.rundir import LATEST


def top(run: Run = None, config: RunConfig = None, overrides: Overrides = None) -> None:
    """
    A live screen of 80 columns and 24 lines: ladder, inventory, terms, fills, log. q quits.

    It outlives the daemon, says loudly how old what it shows is, and finds the next run of
    `latest`. It only looks: nothing can be ordered from it.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("mmbot top needs a terminal; mmbot status --json is for programs")
    # Takes as long to load as everything else, and no other command needs it.
    from mmbot.cli.topscreen import Top  # noqa: PLC0415

    first = find(run, config, overrides or ())
    is_fixed = run is not None and run != LATEST

    def folder() -> Path:
        return first if is_fixed else find(run, config, overrides or ())

    screen = Top(folder)
    screen.run()
    raise typer.Exit(Exit.OK if screen.return_code in (None, 0) else Exit.FAILED)
