"""`mmbot run`: make the market."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from typing import Annotated

import typer

from mmbot.cli.alerting import find_alerts
from mmbot.cli.keys import find_key
from mmbot.cli.options import (
    ConfigFile,
    Overrides,
    RunDir,
    duration_s,
    flatten_command,
    folder,
)
from mmbot.config import Config, load
from mmbot.logs import LogWriter
from mmbot.runtime.child import Child
from mmbot.runtime.screen import Screen, banner


def run(
    config: ConfigFile,
    overrides: Overrides = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="SPAN", help="End by itself after 90s, 25m, 2h.")
    ] = None,
    run_dir: RunDir = None,
) -> None:
    """Make the market until Ctrl+C or SIGTERM; SIGUSR1 trips the kill switch."""
    settings = load(config, overrides or ())
    key = find_key(settings, os.environ)
    span_s = duration_s(span) if span is not None else None
    chosen = folder(run_dir, "--run-dir")
    alerts = find_alerts(settings, os.environ)
    is_colour = sys.stdout.isatty()
    tag = "PAPER" if settings.is_paper else ""
    screen = Screen(is_colour=is_colour, tag=tag, is_paper=settings.is_paper)
    writer = LogWriter(None, sys.stdout, screen.render)
    screen.has_log = lambda: writer.has_file
    for line in banner(settings, is_colour=is_colour, account=_account(settings, key)):
        writer.say(line, is_styled=True)
    # The exchange loads at the same time as the rest of the daemon does.
    child = Child(settings) if settings.is_embedded else None

    gc.disable()
    from mmbot.runtime import live  # noqa: PLC0415 - takes as long as all of the above

    gc.enable()
    options = live.Options(
        key=key,
        duration_s=span_s,
        run_dir=chosen,
        flatten_command=flatten_command(config, overrides or ()),
        reload=partial(load, config, tuple(overrides or ())),
        alerts=alerts,
    )
    raise typer.Exit(live.run(settings, options, writer, child))


def _account(settings: Config, key: bytes | None) -> str:
    """Whose money it is, where it is real."""
    if settings.mode != "live" or key is None:
        return ""
    from mmbot.runtime.preflight import account_of  # noqa: PLC0415 - takes long to load
    from mmbot.runtime.venues import signer_of  # noqa: PLC0415 - the same

    return account_of(settings, signer_of(settings, key))
