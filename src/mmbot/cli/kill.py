"""`mmbot kill`: trip the kill switch, with or without a running daemon."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mmbot.cli.keys import find_key
from mmbot.cli.options import ConfigFile, NewestRunDir, Overrides, echo, folder
from mmbot.config import Config, load
from mmbot.errors import Exit, MmbotError, StateError
from mmbot.logs import LogWriter, Record, make_logger
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.opening import open_venue
from mmbot.runtime.preflight import account_of
from mmbot.runtime.screen import plain
from mmbot.runtime.tripping import Tripped, trip
from mmbot.runtime.venues import signer_of, state_path


def kill(
    config: ConfigFile,
    overrides: Overrides = None,
    run_dir: NewestRunDir = None,
    *,
    flatten: Annotated[
        bool,
        typer.Option("--flatten", help="Close the position as well, as [flatten] says."),
    ] = False,
) -> None:
    """
    Trip the kill switch: cancel everything of ours, have the venue confirm it, latch. Exits 3.

    A running daemon does it itself, at once; without one, or where it does not answer, this command
    does. The position stays unless --flatten says otherwise. With the embedded exchange --run-dir
    names the run, by default the newest. Exit 4: the venue did not confirm; 1: it did, but the
    latch cannot be written or the position could not be closed.
    """
    settings = load(config, overrides or ())
    chosen = folder(run_dir, "--run-dir")
    writer = LogWriter(None, sys.stdout, _line)
    try:
        unsaid, tripped = asyncio.run(_kill(settings, chosen, writer, is_flatten=flatten))
    except KeyboardInterrupt:
        raise StateError(
            "interrupted: the venue has not confirmed that nothing rests; `mmbot reset --show` "
            "says whether the switch is latched, look at the account for the orders"
        ) from None
    finally:
        writer.close()
    if tripped.unlatched is not None:
        raise StateError(f"the kill switch is NOT latched: {tripped.unlatched}")
    if unsaid is not None:
        raise unsaid
    raise typer.Exit(Exit.KILLED if tripped.is_flat else Exit.FAILED)


async def _kill(
    settings: Config, chosen: Path | None, writer: LogWriter, *, is_flatten: bool
) -> tuple[Exception | None, Tripped]:
    """Trip the switch; the first is why a line could not be said, which holds up no cancel."""
    log = make_logger(writer, wall_clock_ns, "warning")
    unsaid: Exception | None = None

    def tell(line: str) -> None:
        nonlocal unsaid
        try:
            echo(line)
        except (BrokenPipeError, MmbotError) as error:
            unsaid = error

    if settings.is_passing:
        user = settings.account_address
        path = state_path(settings, chosen, user)
        if not path.exists():
            raise StateError(f"no safety state at {path}: nothing has run there")
        done = await trip(
            settings, path, user, None, time.time_ns(), log=log, tell=tell, is_flatten=is_flatten
        )
        return unsaid, done
    async with open_venue(settings, find_key(settings, os.environ)) as venue:
        user = account_of(settings, signer_of(settings, venue.key))
        path = state_path(settings, None, user)
        done = await trip(
            settings, path, user, venue, time.time_ns(), log=log, tell=tell, is_flatten=is_flatten
        )
    return unsaid, done


def _line(record: Record) -> str:
    return f"{record['at'][11:19]}  {plain(record)}"
