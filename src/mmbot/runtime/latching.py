"""The latch before there is a trader: a start that finds it is refused, one told to writes it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mmbot.core.intents import KillReason
from mmbot.errors import KillLatchedError, StateError
from mmbot.runtime.venues import RESET_HINT, UNLATCHED_HINT
from mmbot.state.store import Store

SIGUSR1: Final = "operator: SIGUSR1"
"""Why a run trips, or a start is refused, that got the signal."""


def refuse_if_latched(store: Store) -> None:
    """
    Refuse a start whose switch is latched; it may have been since it was looked at last.

    Raises:
        KillLatchedError: It is.
        StateError: That cannot be read.
    """
    latched = store.latched()
    if latched is not None:
        raise KillLatchedError(f"the kill switch is latched: {latched.text}; {RESET_HINT}")


class Latched(msgspec.Struct, frozen=True):
    """
    What became of latching.

    Attributes:
        problem: Why the switch is not latched; None if it is.
        before: Why it had been latched already; None if it had not, or that cannot be read.
    """

    problem: str | None
    before: KillReason | None = None


def latch_aside(state: Path, reason: KillReason) -> Future[Latched]:
    """
    Latch on a thread that holds up nobody: not with a disk that hangs, nor with any error.

    The future never raises: whoever cancels orders meanwhile must not be stopped by the store.
    """
    done: Future[Latched] = Future()
    done.set_running_or_notify_cancel()  # who stops waiting for it must not keep it from an end
    work = threading.Thread(
        target=lambda: done.set_result(latch_now(state, reason)), name="latch", daemon=True
    )
    work.start()
    return done


def latch_now(state: Path, reason: KillReason) -> Latched:
    """Latch while the caller waits; never raises."""
    store: Store | None = None
    before: KillReason | None = None
    try:
        store = Store(state)
        with suppress(Exception):  # latched in words that cannot be read: it stays so
            before = store.latched()
        store.latch(reason)
    except Exception as error:  # noqa: BLE001 - the orders cost money, the latch only stops a start
        said = str(error) if isinstance(error, StateError) else f"{type(error).__name__}: {error}"
        return Latched(said)
    finally:
        if store is not None:
            with suppress(Exception):  # what was committed stays so
                store.close()
    return Latched(None, before)


def ordered(now_ns: int) -> KillReason:
    """What SIGUSR1 orders."""
    return KillReason("operator", 1.0, 1.0, "command", SIGUSR1, now_ns)


def latch_signal(state: Path, now_ns: int) -> str:
    """Latch what SIGUSR1 ordered where no trader can trip; what became of it, for a person."""
    return told(latch_now(state, ordered(now_ns)))


def told(latched: Latched) -> str:
    """What a person is told of latching what SIGUSR1 ordered."""
    if latched.problem is not None:
        return (
            f"mmbot: SIGUSR1 was given, but the kill switch is NOT latched: {latched.problem}; the "
            f"next start would trade: {UNLATCHED_HINT}"
        )
    before = f" (before it: {latched.before.text})" if latched.before is not None else ""
    return f"mmbot: the kill switch is latched: {SIGUSR1}{before}; {RESET_HINT}"
