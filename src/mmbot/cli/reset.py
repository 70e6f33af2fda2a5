"""`mmbot reset`: show why the kill switch latched, and clear it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from mmbot.cli.keys import find_key
from mmbot.cli.options import AsJson, ConfigFile, Overrides
from mmbot.config import Config, load
from mmbot.errors import StateError
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import utc
from mmbot.runtime.live import open_venue, state_path
from mmbot.state.store import Store


def reset(
    config: ConfigFile,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Run whose embedded exchange it was; default: the newest."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show why the kill switch latched and clear it, so that `run` starts again."""
    settings = load(config, overrides or ())
    path = state_path(settings, run_dir, _user(settings))
    if not path.exists():
        raise StateError(f"no safety state at {path}: nothing has run with this configuration here")
    with Store(path) as store:
        reason = store.reset(time.time_ns())
    if as_json:
        import msgspec  # noqa: PLC0415 - only this branch needs it

        typer.echo(msgspec.json.encode({"path": str(path), "cleared": reason}).decode())
    elif reason is None:
        typer.echo(f"the kill switch is not latched ({path})")
    else:
        typer.echo(f"tripped   {utc(reason.at_ns)}  {reason.trigger}")
        typer.echo(f"because   {reason.text}")
        typer.echo(
            f"figure    {reason.value:g} {reason.unit}, limit {reason.limit:g} {reason.unit}"
        )
        typer.echo(f"cleared   {path}")


def _user(settings: Config) -> str:
    """The account whose state it is, as `run` names it."""
    if settings.mode == "emulator" and not settings.emulator.url:
        return ""
    if settings.account.address:
        return settings.account.address
    return asyncio.run(_address(settings))


async def _address(settings: Config) -> str:
    async with open_venue(settings, find_key(settings, os.environ)) as venue:
        return Signer(venue.key, is_mainnet=False).address
