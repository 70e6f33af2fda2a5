"""
What a run puts on disk while it trades: the latch, `kill.json`, the day, the memory of sweeps.

One thread does it, in the order in which it was asked, so that no disk holds the loop; a run that
cannot store goes on, and says so.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.errors import StateError
from mmbot.logs import stderr_line
from mmbot.runtime import killreport
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.telling import Log
from mmbot.state.store import Store


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
    """

    def __init__(self, store: Store, pool: ThreadPoolExecutor, run_dir: Path, log: Log) -> None:
        self.pool = pool
        self.log = log
        self.report: dict[str, Any] | None = None
        self._store = store
        self._run_dir = run_dir
        self._latches: list[Future[None]] = []

    def latch(self, reason: KillReason) -> None:
        """Latch the kill switch; returns at once."""
        self._latches.append(self.pool.submit(self._store.latch, reason))

    def store_report(self, report: dict[str, Any]) -> None:
        """Write what stood where at the trip; returns at once."""
        self.report = report
        self.pool.submit(self.write_report, report)

    async def latched(self) -> None:
        """Wait until every latch is on disk; one that cannot be is told to a person."""
        for latch in self._latches:
            try:
                await asyncio.wrap_future(latch)
            except StateError as error:
                # The run is over and everything is cancelled; only a person can stop the next one.
                self.log.critical("killswitch.unlatched", error=str(error))
                stderr_line(f"mmbot: the kill switch tripped but is NOT latched: {error}")

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
