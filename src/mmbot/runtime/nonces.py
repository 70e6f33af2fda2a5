"""
Nonces across restarts: the highest one is kept beside the kill latch.

The venue refuses what lies below the hundred highest nonces of a key. They follow the clock, so
without it a clock that was corrected backwards between two runs would have every cancel of the
second one refused until it has caught up.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Final

from mmbot.errors import StateError
from mmbot.hyperliquid.nonce import Nonces
from mmbot.runtime.telling import Log
from mmbot.state.store import Store

_EVERY_S: Final = 5.0
_AHEAD_MS: Final = 10_000
"""By how much a run that was killed may have been ahead of what it kept."""


def nonces_of(state: Path) -> Nonces:
    """
    Nonces above those that earlier runs with this safety state gave out.

    A state that cannot be read makes them those of the clock: they serve to cancel as well, and
    whoever is to trade reads the state before and is told what is wrong with it. A mark that the
    venue cannot have taken is forgotten as soon as its clock is heard.
    """
    mark_ms = 0
    with suppress(StateError, OSError, sqlite3.Error):
        if state.exists():
            with Store(state) as store:
                mark_ms = store.nonce_ms()
    return Nonces(mark_ms + _AHEAD_MS if mark_ms else 0)


class NonceKeeper:
    """Keeps the highest nonce of a run, every few seconds and at its end; a thread writes."""

    def __init__(self, nonces: Nonces, store: Store, pool: Executor, log: Log) -> None:
        self._nonces = nonces
        self._store = store
        self._pool = pool
        self._log = log
        self._kept_ms = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Keep what there is now, and go on doing so on the running loop."""
        self.keep()
        self._timer = asyncio.get_running_loop().call_later(_EVERY_S, self.start)

    def keep(self) -> None:
        """
        Keep it now, if it has changed; returns at once.

        Only what was given out is kept, by this run or by what cancelled for it before: a floor
        kept anew would rise with every start.
        """
        if self._nonces.given_ms != self._kept_ms:
            self._kept_ms = self._nonces.given_ms
            self._pool.submit(self._store.save_nonce, self._kept_ms).add_done_callback(self._told)

    def end(self) -> None:
        """Keep it for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        self.keep()

    def _told(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self._log.error("nonce.not_stored", error=str(error))
