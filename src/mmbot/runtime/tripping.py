"""
The operator trips the kill switch from outside: latch, wait for the daemon or act in its place.

The latch comes first and is the message: a daemon that runs finds it within a beat of its heart
(`runtime.heart`) and trips, one that does not run is refused its next start. Where it cannot be
written (a full disk, a damaged file) the daemon is told by signal, and what rests is cancelled all
the same: the orders are what costs money, and only the next start depends on the latch.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import CheckError, MmbotError, StateError, VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.rest import Rest
from mmbot.runtime.aio import steady_clock_ns, wall_clock_ns
from mmbot.runtime.closing import close_position
from mmbot.runtime.flatten import Closed, closed_line
from mmbot.runtime.heart import Beat, beat_path, read_beat, write_beat
from mmbot.runtime.nonces import nonces_of
from mmbot.runtime.opening import lent_key
from mmbot.runtime.patience import PatientRest, Reads
from mmbot.runtime.preflight import read_universe
from mmbot.runtime.sweep import PATIENCE_MIN_S, Sweep
from mmbot.runtime.telling import Log
from mmbot.runtime.venues import Venue, lock_path, market_lock, signer_of
from mmbot.runtime.watchdog import Pulse
from mmbot.state.lock import RunLock, holder
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
    """
    What `trip` did.

    `unlatched` says why the switch is not latched, None if it is; `is_flat` whether nothing is held
    that was to be closed.
    """

    unlatched: str | None
    is_flat: bool


async def trip(
    config: Config,
    state: Path,
    user: str,
    venue: Venue | None,
    now_ns: int,
    *,
    log: Log,
    tell: Callable[[str], None],
    is_flatten: bool = False,
) -> Tripped:
    """
    Latch the switch, have every order cancelled, and say so line by line.

    Args:
        state: Safety state of the account and market.
        venue: Where it is traded; None where only its daemon knows (the embedded exchange).
        tell: Takes each line as soon as it is true: a busy venue makes the last one late.
        is_flatten: Whether the position is closed as well: by the daemon, or else from here.

    Raises:
        VenueError: The venue did not confirm that nothing rests; the message says whether the
            switch is latched.
        CheckError: With `is_flatten`: nothing rests, and what closing would cost is not known.
    """
    text = f"operator: mmbot kill, process {os.getpid()}"
    unlatched: str | None = None
    try:
        with Store(state) as store:
            before = store.latched()
            store.latch(KillReason("operator", 1.0, 1.0, "command", text, now_ns, is_flatten))
    except StateError as error:
        unlatched = str(error)
    else:
        tell(f"latched   {state}")
        if before is not None:
            tell(f"already   latched before: {before.text}")
    beat = read_beat(beat_path(state))
    # It looks for the latch, so without one it hears of nothing.
    is_told = unlatched is None or _signal(state, beat)
    end_s = _END_S + (_FLATTEN_S if is_flatten or config.kill.flatten else 0.0)
    lock, was_held = await _when_ended(config, state, user, beat, end_s, is_told=is_told)
    closed: Closed | None = None
    try:
        if lock is None:
            tell(f"daemon    {_mute(holder(lock_path(state)), beat, is_told=is_told)}")
        elif beat is not None:
            tell(f"daemon    process {beat.pid} has ended" if was_held else "daemon    none runs")
        try:
            cleared, closed = await _clear(
                config, state, user, venue, beat, lock, log, is_flatten=is_flatten
            )
        except MmbotError as error:
            what = "is latched" if unlatched is None else f"is NOT latched ({unlatched})"
            raise type(error)(f"the kill switch {what}, but: {error}") from None
        for line in cleared:
            tell(line)
    finally:
        if lock is not None:
            lock.release()
    return Tripped(unlatched, is_flat=not is_flatten or closed is None or closed.is_flat)


def _mute(pid: int, beat: Beat | None, *, is_told: bool) -> str:
    """What to do about a process that trades the market, or is about to, and does not answer."""
    if not pid:
        return "does not answer, and its process cannot be told from here: end it where it runs"
    if beat is not None and beat.pid == pid:
        how = f"end it with kill -9 {pid}" if is_told else f"stop it with kill -USR1 {pid}"
        return f"does not answer (process {pid}): {how}"
    what = f"process {pid} is starting (or is mmbot flatten), so nothing of it rests: "
    if is_told:
        return f"{what}a start finds the latch before its first order and ends; kill {pid} ends it"
    return f"{what}end it with kill {pid}"


def _signal(state: Path, beat: Beat | None) -> bool:
    """Tell a running daemon by SIGUSR1; False where no process is known to be one."""
    if beat is None or holder(lock_path(state)) != beat.pid:
        return False
    try:
        os.kill(beat.pid, signal.SIGUSR1)
    except OSError:
        return False
    return True


async def _when_ended(
    config: Config, state: Path, user: str, beat: Beat | None, end_s: float, *, is_told: bool
) -> tuple[RunLock | None, bool]:
    """
    The lock of the market, once its daemon has ended, and whether there was one to wait for.

    No lock if that daemon does not answer.
    """
    began_ns = steady_clock_ns()
    pulse = Pulse(_ANSWER_S, began_ns)
    pulse.see(beat, began_ns)
    was_held = False
    while True:
        try:
            return market_lock(config, state, user, _HELD), was_held
        except CheckError:
            was_held = True
            now_ns = steady_clock_ns()
        pulse.see(read_beat(beat_path(state)), now_ns)
        is_mute = pulse.silence_ns(now_ns) >= _ANSWER_S * NS_PER_S
        if not is_told or is_mute or now_ns - began_ns >= end_s * NS_PER_S:
            return None, was_held
        await asyncio.sleep(_LOOK_S)


async def _held(reads: Reads, instrument: Instrument, user: str) -> str:
    """What is left to look after, for whoever thinks that a kill ends everything."""
    payload = {"type": "clearinghouseState", "user": user, "dex": instrument.dex}
    try:
        account = wire_rest.clearinghouse_state(await reads.info(payload), instrument)
    except VenueError as error:
        return f"NOT known: {error}"
    if not account.position_lots:
        return "none"
    size = f"{instrument.sz(account.position_lots):+g} {instrument.coin}"
    return f"{size} is still held; mmbot flatten closes it"


def _ended_with_it(config: Config, state: Path, *, is_flatten: bool) -> list[str]:
    """What there is to say of an exchange that lived in the run itself."""
    ended = "paper account" if config.is_paper else "embedded exchange"
    lines = [f"orders    ended with the {ended} of their run"]
    if is_flatten:
        where = "the summary" if config.is_paper else state.parent / "summary.json"
        lines.append(f"position  ended with it; {where} says how")
    return lines


def _note_cleared(state: Path, beat: Beat | None, lock: RunLock) -> None:
    """Leave word that nothing rests any more."""
    lock.orders_may_rest(may_rest=False)
    if beat is not None:
        last = read_beat(beat_path(state)) or beat
        done = msgspec.structs.replace(last, count=last.count + 1, may_rest=False)
        with suppress(OSError):  # said for the next one who asks; the orders are gone
            write_beat(beat_path(state), done)


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
            return _ended_with_it(config, state, is_flatten=is_flatten), None
        if config.is_paper:
            raise VenueError(
                f"orders on paper are known to process {beat.pid} alone, and end with it"
            )
        user = beat.user
        venue = Venue(beat.url, await lent_key(config, beat.url, None))
    signer = signer_of(config, venue.key)
    lands_s = beat.lands_s if beat is not None else config.gateway.expires_after_s
    is_settled = lock is not None and not lock.may_rest
    quiet_at_ns = wall_clock_ns()
    if not is_settled:
        quiet_at_ns += round(lands_s * NS_PER_S) + READ_LAG_NS
    retry_s = max(PATIENCE_MIN_S, config.start.retry_s)
    nonces = nonces_of(state)
    async with Rest(venue.url) as rest:
        reads = PatientRest(rest, venue.url, retry_s=retry_s, on_wait=None)
        universe = await read_universe(config, reads)
        instrument = universe.for_cancelling(config.instrument.wire_coin)
        sweep = Sweep(
            rest,
            instrument,
            signer=signer,
            user=user,
            clock=wall_clock_ns,
            log=log,
            nonces=nonces,
        )
        found = await sweep.run(quiet_at_ns, patience_s=retry_s)
        held = None if is_flatten else await _held(reads, instrument, user)
    if lock is not None:
        _note_cleared(state, beat, lock)
    lines = [f"orders    {found} cancelled here; the venue confirms that none of ours rests"]
    if held is not None:
        return [*lines, f"position  {held}"], None
    # A daemon that hangs may come round: it finds the latch first, and what only reduces cannot
    # turn the position over.
    instrument = universe.instrument(instrument.coin)
    async with Rest(venue.url) as rest:
        closed = await close_position(
            config, rest, instrument, signer=signer, user=user, log=log, say=None, nonces=nonces
        )
    lines.append(f"position  {closed_line(closed, instrument.coin)}")
    return lines, closed
