"""
Waits for the daemon that trades a market, and tells it to trip where the latch does not reach it.

A daemon looks for the latch in its own safety state. One that was started with another `state_dir`
hears of nothing that is written elsewhere and would quote again whatever is cancelled beside it: it
is found by the lock of the market, which holds whatever the folder, and told by SIGUSR1.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.types import NS_PER_S
from mmbot.errors import StateError
from mmbot.runtime.aio import steady_clock_ns
from mmbot.runtime.heart import Beat, beat_path, read_beat
from mmbot.runtime.venues import lock_path, market_lock, state_of_lock
from mmbot.runtime.watchdog import Pulse
from mmbot.state.lock import HeldError, RunLock, file_of, holder

_LOOK_S: Final = 0.1
_ANSWER_S: Final = 2.0
"""Silence after which a daemon is not waited for any more."""
_UNHEARD_S: Final = 20.0
"""Wait for a daemon that was told and whose heartbeat cannot be found."""
_HELD: Final = "process {pid} trades it"


def tell_daemon(state: Path, beat: Beat | None) -> bool:
    """Tell a running daemon by SIGUSR1; False where no process is known to be one."""
    if beat is None or holder(lock_path(state)) != beat.pid:
        return False
    try:
        os.kill(beat.pid, signal.SIGUSR1)
    except OSError:
        return False
    return True


class Other(msgspec.Struct):
    """A process that trades the market with another safety state, where no latch of ours is."""

    pid: int
    state: Path | None
    """Its safety state, where the system tells."""
    is_told: bool
    """Whether it was told by SIGUSR1."""
    beat: Beat | None = None
    """Its last beat that was seen."""

    def look(self) -> Beat | None:
        """Its newest beat; one of an earlier process there is none of its own."""
        beat = None if self.state is None else read_beat(beat_path(self.state))
        if beat is not None and beat.pid == self.pid:
            self.beat = beat
        return self.beat


def _other(pid: int, state: Path) -> Other | None:
    """The process that holds the market, told to trip, if it does so with another safety state."""
    own = lock_path(state)
    found = file_of(pid)
    if not pid or holder(own) == pid or (found is not None and found == own.resolve()):
        return None
    theirs = None if found is None else state_of_lock(found)
    is_told = False
    if _takes_kill(pid):
        with suppress(OSError):  # another person's
            os.kill(pid, signal.SIGUSR1)
            is_told = True
    return Other(pid, theirs, is_told)


def _takes_kill(pid: int) -> bool:
    """Whether a process has a use for SIGUSR1: a run; it would end `mmbot flatten` half done."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return False
    caught = next((ln for ln in status.splitlines() if ln.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)


class End(msgspec.Struct, frozen=True):
    """
    How the wait for the daemon of a market ended.

    Attributes:
        lock: That of the market; None where its daemon does not answer, or nobody knows of one.
        was_held: Whether there was a daemon to wait for.
        other: That daemon, if the latch does not reach it.
        problem: Why the market cannot be locked, whoever holds it.
    """

    lock: RunLock | None
    was_held: bool
    other: Other | None = None
    problem: StateError | None = None


async def when_ended(
    config: Config, state: Path, user: str, beat: Beat | None, end_s: float, *, is_told: bool
) -> End:
    """
    Wait until the daemon of the market has ended, for as long as it shows that it lives.

    One with another safety state is told by SIGUSR1 as soon as it is seen twice: a start has the
    name of the market a moment before the file that says which state is its.
    """
    began_ns = steady_clock_ns()
    pulse = Pulse(_ANSWER_S, began_ns)
    pulse.see(beat, began_ns)
    other: Other | None = None
    looks = 0
    while True:
        try:
            return End(market_lock(config, state, user, _HELD), looks > 0, other)
        except HeldError as held:
            now_ns = steady_clock_ns()
            if looks == 1:
                other = _other(held.pid, state)
                is_told = is_told or other is not None
        except StateError as error:
            return End(None, looks > 0, other, error)
        looks += 1
        pulse.see(read_beat(beat_path(state)) if other is None else other.look(), now_ns)
        answer_s = _ANSWER_S
        if other is not None and other.is_told and other.state is None:
            answer_s = _UNHEARD_S
        is_mute = pulse.silence_ns(now_ns) >= answer_s * NS_PER_S
        if looks > 1 and (not is_told or is_mute or now_ns - began_ns >= end_s * NS_PER_S):
            return End(None, was_held=True, other=other)
        await asyncio.sleep(_LOOK_S)
