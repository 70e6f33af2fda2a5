"""
What a run puts on disk while it trades: the latch, `kill.json`, the day, the memory of sweeps.

One thread does it, in the order in which it was asked, so that no disk holds the loop; a run that
cannot store goes on, and says so.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.errors import StateError
from mmbot.logs import stderr_line
from mmbot.runtime import killreport
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.latching import latch_aside
from mmbot.runtime.telling import Log
from mmbot.state.store import Store

_AGAIN_S: Final = 10.0
"""How long an end waits for a latch that failed at the trip; a locked file takes half of it."""


class Keeping:
    """
    Stores what one run must not lose.

    Args:
        store: Safety state of account and market.
        pool: One thread; whoever made it closes it.
        run_dir: Folder of the run.
        log: Hears of what could not be stored.

    Attributes:
        report: What the kill switch has written of its trip; None where it did not trip.
        unlatched: Why a switch that tripped is not latched, once that was waited for; None where
            it is, or did not trip.
    """

    def __init__(self, store: Store, pool: ThreadPoolExecutor, run_dir: Path, log: Log) -> None:
        self.pool = pool
        self.log = log
        self.report: dict[str, Any] | None = None
        self.unlatched: str | None = None
        self._store = store
        self._run_dir = run_dir
        self._latch: tuple[KillReason, Future[None]] | None = None

    def latch(self, reason: KillReason) -> None:
        """Latch the kill switch, which trips once in a run; returns at once."""
        self._latch = reason, self.pool.submit(self._store.latch, reason)

    def store_report(self, report: dict[str, Any]) -> None:
        """Write what stood where at the trip; returns at once."""
        self.report = report
        self.pool.submit(self._write_tripped, report)

    def _write_tripped(self, report: dict[str, Any]) -> None:
        # The latch was asked for first and of the same thread, so what came of it is known.
        latch = self._latch
        is_latched = latch is not None and latch[1].exception() is None
        self.write_report({**report, "latched": is_latched})

    async def latched(self) -> None:
        """
        Wait until the latch is on disk; one that cannot be is told to a person.

        What failed at the trip is tried once more: the orders are gone by now, and since then
        somebody may have made room on a disk that was full.
        """
        if self._latch is None:
            return
        reason, latch = self._latch
        try:
            await asyncio.wrap_future(latch)
        except StateError:
            self.unlatched = await self._latch_again(reason)
        if self.unlatched is not None:
            # The run is over and everything is cancelled; only a person can stop the next one.
            self.log.critical("killswitch.unlatched", error=self.unlatched)
            stderr_line(f"mmbot: the kill switch tripped but is NOT latched: {self.unlatched}")

    async def _latch_again(self, reason: KillReason) -> str | None:
        """Why it cannot be latched now either."""
        again = asyncio.wrap_future(latch_aside(self._store.path, reason))
        await asyncio.wait([again], timeout=_AGAIN_S)
        if not again.done():
            return f"{self._store.path} has not answered so far"
        return again.result().problem

    def write_report(self, report: dict[str, Any]) -> None:
        """Write `kill.json`; a folder that cannot be written stops no end."""
        try:
            killreport.write(self._run_dir, report)
        except OSError as error:
            self.log.error("killswitch.unreported", error=str(error))

    def store_day(self, day: Day) -> None:
        """Write the account of the day off the loop; a run that cannot goes on, and says so."""
        now_ns = wall_clock_ns()

        def told(done: Future[None]) -> None:
            error = done.exception()
            if error is not None:
                self.log.error("day.not_stored", error=str(error))

        self.pool.submit(self._store.save_day, day, now_ns).add_done_callback(told)

    def store_memory(self, memory: CascadeMemory) -> None:
        """Write the memory of sweeps off the loop; a run that cannot goes on, and says so."""
        now_ns = wall_clock_ns()

        def told(done: Future[None]) -> None:
            error = done.exception()
            if error is not None:
                self.log.error("cascade.not_stored", error=str(error))

        self.pool.submit(self._store.save_cascade, memory, now_ns).add_done_callback(told)

    async def keep_last_day(self, day: Day | None) -> None:
        if day is not None:
            try:
                await asyncio.to_thread(self._store.save_day, day, wall_clock_ns())
            except StateError as error:
                self.log.error("day.not_stored", error=str(error))
