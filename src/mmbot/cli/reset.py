"""`mmbot reset`: show why the kill switch latched, and clear it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Annotated, Final

import typer

from mmbot.cli.keys import find_key
from mmbot.cli.options import AsJson, ConfigFile, NewestRunDir, Overrides, echo, folder, json_text
from mmbot.config import Config, load
from mmbot.errors import StateError
from mmbot.logs import utc
from mmbot.runtime.opening import open_venue
from mmbot.runtime.venues import STOP_HINT, market_lock, signer_of, state_path
from mmbot.state.store import Store, has_state

_RUNNING: Final = f"a switch is not reset under a run; stop it first ({STOP_HINT}), then reset"


def reset(
    config: ConfigFile,
    overrides: Overrides = None,
    run_dir: NewestRunDir = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Only show why; clear nothing.")] = False,
    sweeps: Annotated[
        bool, typer.Option("--sweeps", help="Forget the stored memory of sweeps as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Show why the kill switch latched and clear it, so that `run` starts again.

    With the embedded exchange the switch is that of a run: --run-dir, by default the newest.
    """
    settings = load(config, overrides or ())
    user = _user(settings)
    path = state_path(settings, folder(run_dir, "--run-dir"), user)
    if not has_state(path):
        raise StateError(f"no safety state at {path}: nothing has run with this configuration here")
    with market_lock(settings, path, user, _RUNNING) as lock:
        if lock.problem is not None:
            raise lock.problem
        with Store(path) as store:
            reason = store.latched() if show else store.reset(time.time_ns())
            if sweeps and not show:
                store.clear_cascade()
    if as_json:
        told = {
            "path": str(path),
            "latched" if show else "cleared": reason,
            "sweeps_forgotten": sweeps and not show,
        }
        echo(json_text(told))
    elif reason is None:
        echo(f"the kill switch is not latched ({path})")
    else:
        echo(f"tripped   {utc(reason.at_ns)}  {reason.trigger}")
        echo(f"because   {reason.text}")
        echo(f"figure    {reason.value:g} {reason.unit}, limit {reason.limit:g} {reason.unit}")
        echo(f"{'latched ' if show else 'cleared '}  {path}")
    if sweeps and not show and not as_json:
        echo("forgotten the memory of sweeps")


def _user(settings: Config) -> str:
    """The account whose state it is, as `run` names it."""
    if settings.is_embedded:
        return ""
    if settings.account_address:
        return settings.account_address.lower()
    return asyncio.run(_address(settings))


async def _address(settings: Config) -> str:
    async with open_venue(settings, find_key(settings, os.environ)) as venue:
        return signer_of(settings, venue.key).address
