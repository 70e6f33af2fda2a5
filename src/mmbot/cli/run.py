"""`mmbot run`: make the market."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mmbot.cli.keys import find_key
from mmbot.cli.options import ConfigFile, Overrides, duration_s
from mmbot.config import load
from mmbot.errors import Exit
from mmbot.logs import stderr_line
from mmbot.runtime import live


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="SPAN", help="End by itself after 90s, 25m, 2h.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of this run; default: a new one below log.dir."),
    ] = None,
) -> None:
    """Make the market until Ctrl+C or SIGTERM; SIGUSR1 trips the kill switch."""
    settings = load(config, overrides or ())
    options = live.Options(
        key=find_key(settings, os.environ),
        duration_s=duration_s(span) if span is not None else None,
        run_dir=run_dir,
    )
    try:
        code = live.run(settings, options, sys.stdout)
    except KeyboardInterrupt:
        # Before the loop had its signal handlers: nothing was begun.
        stderr_line("mmbot: Ctrl+C before the first order; nothing was sent")
        code = Exit.OK
    raise typer.Exit(code)
