"""
The operator trips the kill switch from outside: latch, wait for the daemon or act in its place.

The latch comes first and is the message: a daemon that runs finds it within a beat of its heart
(`runtime.heart`) and trips, one that does not run is refused its next start.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_S
from mmbot.errors import CheckError, VenueError
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.aio import steady_clock_ns, wall_clock_ns
from mmbot.runtime.closing import close_position
from mmbot.runtime.flatten import Closed, closed_line
from mmbot.runtime.heart import Beat, beat_path, read_beat, write_beat
from mmbot.runtime.patience import PatientRest
from mmbot.runtime.preflight import read_instrument
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.telling import Log
from mmbot.runtime.venues import Venue, lent_key, market_lock
from mmbot.runtime.watchdog import Pulse
from mmbot.state.lock import RunLock
from mmbot.state.store import Store

_LOOK_S: Final = 0.1
_ANSWER_S: Final = 2.0
"""Silence after which a daemon is not waited for any more."""
_END_S: Final = 90.0
"""How long a daemon that answers may take to cancel and verify; a busy venue takes it a minute."""
_FLATTEN_S: Final = 120.0
"""And how much longer to close the position."""
_HELD: Final = "process {pid} trades it"


class Tripped(msgspec.Struct, frozen=True):
    """What `trip` did: lines for a person, and whether nothing is held that was to be closed."""

    lines: tuple[str, ...]
    is_flat: bool


async def trip(
    config: Config,
    state: Path,
    user: str,
    venue: Venue | None,
    now_ns: int,
    log: Log,
    *,
    is_flatten: bool = False,
) -> Tripped:
    """
    Latch the switch; returns what became of the orders, and of the position if it is to be closed.

    Args:
        state: Safety state of the account and market.
        venue: Where it is traded; None where only its daemon knows (the embedded exchange).
        is_flatten: Whether the position is closed as well: by the daemon, or else from here.

    Raises:
        StateError: The switch could not be latched.
        VenueError: It is latched, but the venue did not confirm that nothing rests.
    """
    text = f"operator: mmbot kill, process {os.getpid()}"
    with Store(state) as store:
        before = store.latched()
        store.latch(KillReason("operator", 1.0, 1.0, "command", text, now_ns, is_flatten))
    lines = [f"latched   {state}"]
    if before is not None:
        lines.append(f"already   latched before: {before.text}")
    beat = read_beat(beat_path(state))
    end_s = _END_S + (_FLATTEN_S if is_flatten or config.kill.flatten else 0.0)
    lock = await _when_ended(config, state, user, beat, end_s)
    closed: Closed | None = None
    try:
        if lock is None:
            pid = beat.pid if beat is not None else 0
            lines.append(f"daemon    does not answer (process {pid}): end it with kill -9 {pid}")
        elif beat is not None:
            lines.append("daemon    has ended, or did not run")
        cleared, closed = await _clear(
            config, state, user, venue, beat, lock, log, is_flatten=is_flatten
        )
        lines.extend(cleared)
    finally:
        if lock is not None:
            lock.release()
    return Tripped(tuple(lines), is_flat=not is_flatten or closed is None or closed.is_flat)


async def _when_ended(
    config: Config, state: Path, user: str, beat: Beat | None, end_s: float
) -> RunLock | None:
    """The lock of the market, once its daemon has ended; None if that one does not answer."""
    began_ns = steady_clock_ns()
    pulse = Pulse(_ANSWER_S, began_ns)
    pulse.see(beat, began_ns)
    while True:
        try:
            return market_lock(config, state, user, _HELD)
        except CheckError:
            now_ns = steady_clock_ns()
        pulse.see(read_beat(beat_path(state)), now_ns)
        is_mute = pulse.silence_ns(now_ns) >= _ANSWER_S * NS_PER_S
        if is_mute or now_ns - began_ns >= end_s * NS_PER_S:
            return None
        await asyncio.sleep(_LOOK_S)


async def _clear(
    config: Config,
    state: Path,
    user: str,
    venue: Venue | None,
    beat: Beat | None,
    lock: RunLock | None,
    log: Log,
    *,
    is_flatten: bool,
) -> tuple[list[str], Closed | None]:
    """Have the venue confirm that nothing rests, cancelling what does; then close the position."""
    if venue is None:
        if lock is not None or beat is None:
            lines = ["orders    ended with the embedded exchange of their run"]
            if is_flatten:
                lines.append(f"position  ended with it; {state.parent / 'summary.json'} says how")
            return lines, None
        user = beat.user
        venue = Venue(beat.url, await lent_key(config, beat.url, None))
    signer = Signer(venue.key, is_mainnet=False)
    lands_s = beat.lands_s if beat is not None else config.gateway.expires_after_s
    is_settled = lock is not None and not lock.may_rest
    quiet_at_ns = wall_clock_ns()
    if not is_settled:
        quiet_at_ns += round(lands_s * NS_PER_S) + READ_LAG_NS
    retry_s = max(5.0, config.start.retry_s)
    try:
        async with Rest(venue.url) as rest:
            reads = PatientRest(rest, venue.url, retry_s=retry_s, on_wait=None)
            instrument = await read_instrument(config, reads)
            sweep = Sweep(rest, instrument, signer=signer, user=user, clock=wall_clock_ns, log=log)
            found = await sweep.run(quiet_at_ns, patience_s=retry_s)
    except VenueError as error:
        raise VenueError(f"the kill switch is latched, but: {error}") from None
    if lock is not None:
        lock.orders_may_rest(may_rest=False)
        if beat is not None:
            last = read_beat(beat_path(state)) or beat
            done = msgspec.structs.replace(last, count=last.count + 1, may_rest=False)
            write_beat(beat_path(state), done)
    lines = [f"orders    {found} cancelled here; the venue confirms that none of ours rests"]
    if not is_flatten:
        return lines, None
    # A daemon that hangs may come round: it finds the latch first, and what only reduces cannot
    # turn the position over.
    try:
        async with Rest(venue.url) as rest:
            closed = await close_position(
                config, rest, instrument, signer=signer, user=user, log=log, say=None
            )
    except VenueError as error:
        raise VenueError(f"the kill switch is latched, but: {error}") from None
    lines.append(f"position  {closed_line(closed, instrument.coin)}")
    return lines, closed
