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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import MmbotError, VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.rest import Rest
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.closing import close_position
from mmbot.runtime.flatten import Closed, closed_line
from mmbot.runtime.heart import Beat, beat_path, read_beat, write_beat
from mmbot.runtime.holding import End, Other, tell_daemon, when_ended
from mmbot.runtime.latching import Latched, latch_aside
from mmbot.runtime.nonces import nonces_of
from mmbot.runtime.opening import lent_key
from mmbot.runtime.patience import PatientRest, Reads
from mmbot.runtime.preflight import read_universe
from mmbot.runtime.sweep import PATIENCE_MIN_S, Sweep
from mmbot.runtime.telling import Log
from mmbot.runtime.venues import Venue, lock_path, signer_of
from mmbot.state.lock import RunLock, holder

_END_S: Final = 90.0
"""How long a daemon that answers may take to cancel and verify; a busy venue takes it a minute."""
_FLATTEN_S: Final = 120.0
"""And how much longer to close the position."""
_LATCH_S: Final = 1.0
"""Wait for the latch before the orders are seen to: a locked file takes five seconds to say so."""
_LATCH_LAST_S: Final = 10.0


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
    reason = KillReason("operator", 1.0, 1.0, "command", text, now_ns, is_flatten)
    latching = asyncio.ensure_future(asyncio.wrap_future(latch_aside(state, reason)))
    await asyncio.wait([latching], timeout=_LATCH_S)
    latched = latching.result() if latching.done() else None
    if latched is not None:
        _tell_latched(latched, state, tell)
    beat = read_beat(beat_path(state))
    # It looks for the latch, so without one it hears of nothing.
    is_told = (latched is not None and latched.problem is None) or tell_daemon(state, beat)
    end_s = _END_S + (_FLATTEN_S if is_flatten or config.kill.flatten else 0.0)
    end = await when_ended(config, state, user, beat, end_s, is_told=is_told)
    lock, other = end.lock, end.other
    watched = state
    if other is not None:
        watched, beat = other.state or state, other.beat
    closed: Closed | None = None
    try:
        daemon = _what_became(end, state, beat, is_told=is_told)
        if daemon is not None:
            tell(f"daemon    {daemon}")
        failed: MmbotError | None = None
        try:
            cleared, closed = await _clear(
                config,
                watched,
                user,
                venue,
                beat,
                lock,
                log,
                is_flatten=is_flatten,
                is_elsewhere=other is not None,
            )
        except MmbotError as error:
            failed = error
        if latched is None:
            await asyncio.wait([latching], timeout=_LATCH_LAST_S)
            hangs = Latched(f"{state} has not answered so far")
            latched = latching.result() if latching.done() else hangs
            _tell_latched(latched, state, tell)
        unlatched = latched.problem
        if failed is not None:
            what = "is latched" if unlatched is None else f"is NOT latched ({unlatched})"
            raise type(failed)(f"the kill switch {what}, but: {failed}") from None
        for line in cleared:
            tell(line)
    finally:
        if lock is not None:
            lock.release()
    return Tripped(unlatched, is_flat=not is_flatten or closed is None or closed.is_flat)


def _tell_latched(latched: Latched, state: Path, tell: Callable[[str], None]) -> None:
    if latched.problem is None:
        tell(f"latched   {state}")
    if latched.before is not None:
        tell(f"already   latched before: {latched.before.text}")


def _what_became(end: End, state: Path, beat: Beat | None, *, is_told: bool) -> str | None:
    """Of the daemon that was waited for; None where there was none, and never one."""
    if end.other is not None:
        return _elsewhere(end.other, state, has_ended=end.lock is not None)
    if end.problem is not None:
        return f"not known whether one runs: {end.problem}"
    if end.lock is None:
        return _mute(holder(lock_path(state)), beat, is_told=is_told)
    if beat is None:
        return None
    return f"process {beat.pid} has ended" if end.was_held else "none runs"


def _mute(pid: int, beat: Beat | None, *, is_told: bool) -> str:
    """What to do about a process that trades the market, or is about to, and does not answer."""
    if not pid:
        return (
            "does not answer, and its process cannot be told from here: end it where it runs, or "
            "if it has another state_dir, run mmbot kill with its own --config and --set"
        )
    if beat is not None and beat.pid == pid:
        how = f"end it with kill -9 {pid}" if is_told else f"stop it with kill -USR1 {pid}"
        return f"does not answer (process {pid}): {how}"
    what = f"process {pid} is starting (or is mmbot flatten), so nothing of it rests: "
    if is_told:
        return f"{what}a start finds the latch before its first order and ends; mmbot stop ends it"
    return f"{what}end it with mmbot stop, with the --config and --set of that run"


def _elsewhere(other: Other, state: Path, *, has_ended: bool) -> str:
    """What became of a daemon that does not look where we latch, and what to do about it."""
    where = "not known" if other.state is None else str(other.state.parent)
    who = f"process {other.pid} has another state_dir ({where}; here {state.parent})"
    if has_ended:
        told = "told by SIGUSR1, which latches there as well, it" if other.is_told else "it"
        return f"{who}: {told} has ended"
    if not other.is_told:
        return (
            f"{who} and takes no SIGUSR1 from here: run mmbot kill with its own --config and "
            f"--set, or end it with kill -9 {other.pid}"
        )
    return f"{who}: told by SIGUSR1, it does not answer: end it with kill -9 {other.pid}"


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
    is_elsewhere: bool,
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
    if is_elsewhere:  # the mark beside our lock is not of the daemon that traded last
        is_settled = lock is not None and beat is not None and not beat.may_rest
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
