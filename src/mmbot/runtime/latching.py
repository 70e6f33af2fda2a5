"""The latch before there is a trader: a start that finds it is refused, one told to writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mmbot.core.intents import KillReason
from mmbot.errors import KillLatchedError, StateError
from mmbot.logs import stderr_line
from mmbot.runtime.venues import RESET_HINT
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


def latch_signal(state: Path, now_ns: int) -> None:
    """Latch what SIGUSR1 ordered of a start that ended before it could trip, and say so."""
    try:
        with Store(state) as store:
            store.latch(KillReason("operator", 1.0, 1.0, "command", SIGUSR1, now_ns))
    except StateError as error:
        stderr_line(f"mmbot: SIGUSR1 was given, but the kill switch is NOT latched: {error}")
    else:
        stderr_line(f"mmbot: the kill switch is latched: {SIGUSR1}; {RESET_HINT}")
