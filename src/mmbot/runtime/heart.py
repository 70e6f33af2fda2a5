"""
The heartbeat of a daemon: a file beside its safety state that changes as long as its loop turns.

The loop counts, a thread of its own writes: a disk that does not answer delays the beat and never
the loop, and a loop that hangs is not covered up by a thread that lives. Stopped or killed, the
process does neither. Whoever watches needs no clock of ours, only that the count goes on.

The same thread looks whether the kill switch was latched from outside, which is how `mmbot kill`
reaches a daemon, whatever container it runs in.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from mmbot.core.intents import KillReason
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_S
from mmbot.errors import StateError
from mmbot.runtime.notify import ALIVE, READY, STOPPING, Notify

BEAT_S: Final = 0.25
"""Between two beats."""
_BEAT_BYTES: Final = 1024
"""A record is padded to this, so that a shorter one leaves nothing of a longer one behind."""
_JOIN_S: Final = 2.0


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """
    One heartbeat.

    Attributes:
        pid: Process of the daemon.
        count: Rises with every beat.
        may_rest: Whether orders of this daemon may rest; False only after a verified end.
        lands_s: How long after it left a placement may still come to rest.
        url: Where the venue is.
        user: Account traded.
        signer: Address of the key that the daemon signs with.
    """

    pid: int
    count: int = 0
    may_rest: bool = True
    lands_s: float = 0.0
    url: str = ""
    user: str = ""
    signer: str = ""


def beat_path(state: Path) -> Path:
    """Where the heartbeat of the daemon with this safety state is."""
    return state.with_name(state.name + ".beat")


def read_beat(path: Path) -> Beat | None:
    """The newest beat; None where there is none, or none that can be read right now."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Beat)
    except (OSError, msgspec.DecodeError):
        return None


def write_beat(path: Path, beat: Beat) -> None:
    """Replace the beat in place; the file is made again if somebody removed it."""
    record = msgspec.json.encode(beat).ljust(_BEAT_BYTES - 1) + b"\n"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, record, 0)
    finally:
        os.close(fd)


def quiet_at_ns(state: Path, lands_s: float, now_ns: int) -> int:
    """
    From when on nothing can come to rest any more of a daemon that has died.

    The file of its beat changed last while it lived, a quarter of a second before its death at
    most; where there is none, it may have died just now.

    Args:
        state: Its safety state.
        lands_s: How long a placement may take, where the beat does not say longer.
        now_ns: Time, ns since the epoch.
    """
    path = beat_path(state)
    beat = read_beat(path)
    seen_ns = now_ns
    with suppress(OSError):
        seen_ns = min(now_ns, path.stat().st_mtime_ns + round(BEAT_S * NS_PER_S))
    lands_s = max(lands_s, beat.lands_s if beat is not None else 0.0)
    return seen_ns + round(lands_s * NS_PER_S) + READ_LAG_NS


class Heart:
    """
    Beats from `start` to `end`.

    Args:
        path: File of the beat.
        beat: What every beat says.
        latched: Reads whether the switch is latched; called on the thread.
        on_kill: Takes what it found there, once, on the loop.
        on_problem: Hears on the loop, once, why the beat or the latch cannot be written or read.
        notify: The service manager, told of the same life.
    """

    def __init__(
        self,
        path: Path,
        beat: Beat,
        *,
        latched: Callable[[], KillReason | None],
        on_kill: Callable[[KillReason], None],
        on_problem: Callable[[str], None],
        notify: Notify,
    ) -> None:
        self._path = path
        self._beat = beat
        self._latched = latched
        self._on_kill = on_kill
        self._on_problem = on_problem
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._is_killed = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._work, name="heart", daemon=True)
        self._is_over = False

    def start(self) -> None:
        """
        The first beat, written before this returns; the others by themselves.

        Raises:
            StateError: It cannot be written, so nobody could tell that this daemon lives.
        """
        try:
            write_beat(self._path, self._beat)
        except OSError as error:
            text = f"cannot write {self._path}: {error.strerror}; mend that first"
            raise StateError(text) from None
        self._thread.start()
        self._notify.say(READY)
        self._on_timer()

    def end(self, *, may_rest: bool) -> None:
        """
        The last beat, which says whether orders may still rest. A second call does nothing.

        Where they may, whoever watches takes the silence that follows for what it is.
        """
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        self._notify.say(STOPPING)
        if self._thread.is_alive():
            self._wanted.put(-1)
            self._thread.join(_JOIN_S)
            last = msgspec.structs.replace(self._beat, count=self._count + 1, may_rest=may_rest)
            with suppress(OSError):  # then the beat stops as it is, which counts as "may rest"
                write_beat(self._path, last)
        # After the thread, which says that we are alive by it.
        self._notify.close()

    def _on_timer(self) -> None:
        self._count += 1
        self._wanted.put(self._count)
        self._timer = self._loop.call_later(BEAT_S, self._on_timer)

    def _work(self) -> None:
        while (count := self._wanted.get()) >= 0:
            # Only the newest counts when the disk was slow.
            if not self._wanted.empty():
                continue
            self._notify.say(ALIVE)
            try:
                write_beat(self._path, msgspec.structs.replace(self._beat, count=count))
            except OSError as error:
                self._tell(f"cannot write {self._path}: {error.strerror}")
            try:
                reason = self._latched()
            except StateError as error:
                self._tell(str(error))
            else:
                if reason is not None and not self._is_killed:
                    self._is_killed = True
                    self._later(partial(self._on_kill, reason))

    def _tell(self, problem: str) -> None:
        if self._problem != problem:
            self._problem = problem
            self._later(partial(self._on_problem, problem))

    def _later(self, fn: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the run has ended
            self._loop.call_soon_threadsafe(fn)
