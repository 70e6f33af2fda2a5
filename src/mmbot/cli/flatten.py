"""`mmbot flatten`: cancel our orders and close the position, while no daemon trades it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec
import typer

from mmbot.cli.keys import find_key
from mmbot.cli.options import AsJson, ConfigFile, Overrides, echo, json_text
from mmbot.config import Config, load
from mmbot.errors import ConfigError, Exit, VenueError
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import Universe
from mmbot.logs import LogWriter, make_logger, stderr_line
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.closing import close_position
from mmbot.runtime.flatten import Closed, closed_line
from mmbot.runtime.heart import quiet_at_ns
from mmbot.runtime.nonces import nonces_of
from mmbot.runtime.opening import open_venue
from mmbot.runtime.patience import PatientRest
from mmbot.runtime.preflight import account_of, read_universe
from mmbot.runtime.screen import Screen
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.venues import STOP_HINT, market_lock, signer_of, state_path

_RUNNING: Final = (
    f"it would quote the position back; stop it first ({STOP_HINT}); with --flatten it closes the "
    "position itself as it stops, and always with on_exit=flatten"
)


class _Told(msgspec.Struct, frozen=True):
    """What the command did, for a program."""

    coin: str
    user: str
    cancelled: int
    closed: Closed


def flatten(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """
    Cancel our orders, close the position by reduce-only taker orders inside a price bound, verify.

    [flatten] sets the bound, the slices and the highest taker fee. A latched kill switch does not
    matter and stays latched.
    """
    settings = load(config, overrides or ())
    if settings.is_embedded:
        raise ConfigError(
            'mode = "emulator": the embedded exchange ended with its run, and the position with '
            "it; name one that runs (mmbot exchange) with --set emulator.url=http://..."
        )
    if settings.is_paper:
        raise ConfigError(
            'mode = "paper": the account ended with its run, and the position with it; a run that '
            "trades closes it with mmbot stop --flatten, or mmbot kill --flatten"
        )
    try:
        told = asyncio.run(_flatten(settings, as_json=as_json))
    except KeyboardInterrupt:
        raise VenueError(
            "interrupted: what was sent last may still take effect, and nothing was verified; "
            "look at the account, or run it again"
        ) from None
    if as_json:
        echo(json_text(told))
    else:
        echo(closed_line(told.closed, told.coin))
    if not told.closed.is_flat:
        raise typer.Exit(Exit.FAILED)


async def _flatten(config: Config, *, as_json: bool) -> _Told:
    key = find_key(config, os.environ)

    def on_wait(error: VenueError, left_s: float) -> None:
        stderr_line(f"mmbot: {error}; trying again for up to {left_s:.0f} s")

    async with open_venue(config, key, on_wait) as venue, Rest(venue.url) as rest:
        signer = signer_of(config, venue.key)
        user = account_of(config, signer)
        state = state_path(config, Path(), user)
        with market_lock(config, state, user, _RUNNING) as lock:
            if lock.problem is not None:
                # A broken disk is no reason to keep a position; the name keeps others out.
                stderr_line(f"mmbot: {lock.problem} before the next run; this one goes on without")
            reads = PatientRest(rest, venue.url, retry_s=config.start.retry_s, on_wait=on_wait)
            reads.orders_may_rest = True
            universe = await read_universe(config, reads)
            quiet_ns = quiet_at_ns(state, config.gateway.expires_after_s, wall_clock_ns())
            writer = LogWriter(None, None, Screen(is_colour=False).render)
            try:
                nonces = nonces_of(state)
                told = await _close(
                    config,
                    rest,
                    reads,
                    universe,
                    signer,
                    user,
                    writer,
                    nonces,
                    quiet_at_ns=quiet_ns if lock.may_rest else 0,
                    is_quiet=as_json,
                )
            finally:
                writer.close()
            lock.orders_may_rest(may_rest=False)
            return told


async def _close(
    config: Config,
    rest: Rest,
    reads: PatientRest,
    universe: Universe,
    signer: Signer,
    user: str,
    writer: LogWriter,
    nonces: Nonces,
    *,
    quiet_at_ns: int,
    is_quiet: bool,
) -> _Told:
    """Cancel what rests and what may arrive until `quiet_at_ns`, then close what is held."""
    coin = config.instrument.wire_coin
    log = make_logger(writer, wall_clock_ns, config.log.level)
    sweep = Sweep(
        rest,
        universe.for_cancelling(coin),
        signer=signer,
        user=user,
        clock=wall_clock_ns,
        log=log,
        reads=reads,
        is_leftover=True,
        nonces=nonces,
    )
    cancelled = await sweep.run(quiet_at_ns, patience_s=config.start.retry_s) or 0
    if not is_quiet:
        echo(f"orders   {cancelled} of ours cancelled in {coin}")
    instrument = universe.instrument(coin)
    closed = await close_position(
        config,
        rest,
        instrument,
        signer=signer,
        user=user,
        log=log,
        say=None if is_quiet else lambda text: echo(f"flatten  {text}"),
        nonces=nonces,
    )
    return _Told(coin, user, cancelled, closed)
