"""The last of a run: what became of its orders and its money, on disk and to a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mmbot.config import Config
from mmbot.core.types import NS_PER_S
from mmbot.journal.writer import Writer
from mmbot.logs import LogWriter, stderr_line
from mmbot.runtime import killreport
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.economics import EdgeVerdict
from mmbot.runtime.ending import Ending
from mmbot.runtime.explaining import HTML, JSON
from mmbot.runtime.keeping import Keeping
from mmbot.runtime.recording import close_journal
from mmbot.runtime.rundir import SUMMARY, write_summary
from mmbot.runtime.screen import last_line, summary_lines
from mmbot.runtime.summary import summarise
from mmbot.runtime.telling import Log
from mmbot.runtime.trader import Trader
from mmbot.runtime.venues import RESET_HINT, UNLATCHED_HINT
from mmbot.state.lock import RunLock

FILES: Final = (SUMMARY, killreport.NAME, HTML, JSON)
"""What stands for one run in its folder, while log and journal go on from run to run."""


class Conclusion:
    """
    Sums one run up.

    Args:
        keeping: What was stored on the way.
        journal: Of the run; closed with how it ended.
        run_dir: Folder of the run.
        writer: Log and screen.
        log: Structured log.
        edge: What was made of the market where money is real.
        flatten_command: What closes the position afterwards, as a person types it.
    """

    def __init__(
        self,
        keeping: Keeping,
        journal: Writer | None,
        run_dir: Path,
        *,
        writer: LogWriter,
        log: Log,
        edge: EdgeVerdict | None,
        flatten_command: str,
    ) -> None:
        self._keeping = keeping
        self._journal = journal
        self._run_dir = run_dir
        self._writer = writer
        self._log = log
        self._edge = edge
        self._flatten_command = flatten_command

    async def conclude(self, config: Config, trader: Trader, ending: Ending, lock: RunLock) -> None:
        """Latch, sum up, and say whatever a person has to know."""
        await self._keeping.latched()
        await self._keeping.keep_last_day(trader.engine.risk.day)
        span_s = (wall_clock_ns() - trader.started_ns) / NS_PER_S
        edge = self._edge
        summary = summarise(
            trader,
            ending,
            span_s,
            mode=config.mode,
            on_exit=config.on_exit,
            is_measurement=edge is not None and edge.is_measurement,
            is_latched=None if ending.kill is None else self._keeping.unlatched is None,
        )
        is_written = await self._store(ending, lock, summary)
        self._say(config, ending, summary, has_file=is_written)
        if edge is not None and edge.is_measurement:
            self._writer.say(f"MEASUREMENT, no proven edge: {edge.text}")
        last = last_line(
            summary,
            ending.closed,
            coin=trader.instrument.coin,
            command=self._flatten_command,
            is_embedded=config.is_embedded,
            is_paper=config.is_paper,
        )
        if last is not None:
            self._writer.say(last)

    def say_unlatched(self) -> None:
        """The last line of a run whose kill switch could not be latched; nothing follows it."""
        if self._keeping.unlatched is not None:
            self._writer.say(
                "the kill switch is NOT latched, the next start would trade: "
                f"{self._keeping.unlatched}; {UNLATCHED_HINT}"
            )

    async def _store(self, ending: Ending, lock: RunLock, summary: dict[str, Any]) -> bool:
        """Put it on disk; whether `summary.json` could be."""
        if ending.final is not None:
            lock.orders_may_rest(may_rest=False)
            self._log.info("run.verified", resting_orders=0)
        else:
            self._log.error("run.unverified", may_rest=ending.resting_orders)
        if self._journal is not None:
            await close_journal(self._journal, ending, self._log, wall_clock_ns())
        self._log.info("run.ended", **summary)
        is_written = True
        try:
            write_summary(self._run_dir, summary)
        except OSError as error:
            is_written = False
            stderr_line(
                f"mmbot: {SUMMARY} could not be written to {self._run_dir}: {error.strerror}"
            )
        if self._keeping.report is not None:
            is_latched = self._keeping.unlatched is None
            self._keeping.write_report(
                killreport.ended(self._keeping.report, ending, summary, is_latched=is_latched)
            )
        return is_written

    def _say(
        self, config: Config, ending: Ending, summary: dict[str, Any], *, has_file: bool
    ) -> None:
        """Tell a person; of files only those that are there, or can come."""
        for line in summary_lines(summary):
            self._writer.say(line)
        if has_file:
            self._writer.say(f"  summary: {self._run_dir / SUMMARY}")
        if config.report.at_end and self._run_dir.is_dir():
            self._writer.say(f"  page:    {self._run_dir / HTML}, in a moment")
        if self._keeping.report is not None:
            hint = RESET_HINT if self._keeping.unlatched is None else "the switch is NOT latched"
            # An earlier run's was set aside at the start: what is there was written at the trip.
            kill = self._run_dir / killreport.NAME
            self._writer.say(f"  report:  {kill}; {hint}" if kill.exists() else f"  {hint}")
        if ending.error:
            stderr_line(f"mmbot: {ending.error}")
        if ending.final is None:
            what = (
                f"{ending.resting_orders} orders could not be verified as cancelled"
                if ending.resting_orders
                else "every order was answered as gone, but the account could not be read"
            )
            stderr_line(
                f"mmbot: the venue did not confirm that nothing rests; {what}: "
                "look at the account before the next run"
            )
