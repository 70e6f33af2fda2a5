"""
`mmbot run`: the assembled program on real sockets and real time, from start to summary.

One function builds every mode; only the venue differs. What blocks (SQLite, the log file) happens
before quoting or on threads of its own, so nothing but a decision ever holds the event loop.

The run goes from part to part, and each keeps what is its own:

- `beginning`: the lock on the market, the ways to the venue, what an earlier run left resting;
- `proving`: what is shown of program and market where money is real;
- `interrupts`: by what the run is ended, from the first moment to the last;
- `assembling`: the trader over sockets and real time, and what the watchdog listens to;
- `keeping`: what is stored while it trades;
- `concluding`: what is said and stored at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from mmbot.config import Config
from mmbot.core.types import Instrument
from mmbot.errors import (
    CheckError,
    ConfigError,
    Exit,
    KillLatchedError,
    MmbotError,
    StateError,
    VenueError,
)
from mmbot.journal.writer import Writer
from mmbot.logs import LogWriter, Threshold, make_logger, stderr_line
from mmbot.runtime import control, scraped
from mmbot.runtime.aio import AioScheduler, wall_clock_ns
from mmbot.runtime.alerts import Alerts
from mmbot.runtime.assembling import assemble, make_heart
from mmbot.runtime.beginning import Before, Held, Reached, hold, reach
from mmbot.runtime.child import Child
from mmbot.runtime.concluding import FILES, Conclusion
from mmbot.runtime.desk import Desk
from mmbot.runtime.economics import EdgeVerdict
from mmbot.runtime.ending import Ending
from mmbot.runtime.explaining import Explainer
from mmbot.runtime.garbage import freeze_garbage
from mmbot.runtime.heart import Heart
from mmbot.runtime.interrupts import Interrupts
from mmbot.runtime.keeping import Keeping
from mmbot.runtime.latching import SIGUSR1, refuse_if_latched
from mmbot.runtime.leverage import set_leverage
from mmbot.runtime.preflight import Facts, failures, read_facts, read_universe
from mmbot.runtime.proving import prove_market, say_edge
from mmbot.runtime.rundir import (
    describe_run,
    make_run_dir,
    point_from_state,
    point_latest,
    set_aside,
)
from mmbot.runtime.summary import RequestTeller, started_facts
from mmbot.runtime.tally import Tally
from mmbot.runtime.trader import Trader
from mmbot.state.lock import RunLock
from mmbot.state.store import Store


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line adds to a configuration."""

    key: bytes | None
    duration_s: float | None = None
    run_dir: Path | None = None
    flatten_command: str = "mmbot flatten --config FILE"
    """What closes the position afterwards, as a person types it."""
    reload: Callable[[], Config] | None = None
    """Reads the configuration again, as it was named at the start."""
    alerts: Alerts | None = None
    """Who tells a person; waited for at the end, for a bounded time."""

    def __repr__(self) -> str:
        """All but the key."""
        return f"Options(duration_s={self.duration_s}, run_dir={self.run_dir})"


def run(config: Config, options: Options, writer: LogWriter, child: Child | None = None) -> Exit:
    """
    Trade until stopped; returns the exit code.

    Args:
        config: The configuration.
        options: What the command line adds.
        writer: Log and screen; the file is opened here, and it is closed when all is said.
        child: The embedded exchange, if it was started already.

    Raises:
        MmbotError: The run did not begin; the message says why.
    """
    try:
        import uvloop  # noqa: PLC0415 - absent on platforms it has no wheel for

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_run(config, options, writer, child))
    finally:
        if options.alerts is not None:
            options.alerts.close()
        writer.close()


async def _run(config: Config, options: Options, writer: LogWriter, child: Child | None) -> Exit:
    state = _Run(config, options, writer)
    state.interrupts.catch()
    try:
        async with AsyncExitStack() as stack:
            code = await state.trade(stack, child)
        await state.explain()
        if state.conclusion is not None:
            state.conclusion.say_unlatched()
    except asyncio.CancelledError:
        if state.interrupts.interrupted is None:
            raise
        sent = state.before.what_was_sent()
        left = state.before.left_over()
        stderr_line(f"mmbot: {state.interrupts.interrupted} before the first order; {sent}{left}")
        is_killed = state.interrupts.is_kill_ordered
        code = Exit.KILLED if is_killed else Exit.FAILED if left else Exit.OK
    except MmbotError as error:
        state.log.error("run.refused", error=str(error), exit_code=int(error.exit_code))
        raise
    finally:
        state.interrupts.ignore()
    return code if state.interrupts.late is None else Exit.KILLED


class _Run:
    """One run from start to end: its folder, its log, its trader, and what it was ended by."""

    def __init__(self, config: Config, options: Options, writer: LogWriter) -> None:
        self.config = config
        self.options = options
        self.writer = writer
        self.threshold = Threshold(config.log.level)
        self.tally = Tally()
        taps = (self.tally.take, *(() if options.alerts is None else (options.alerts.take,)))
        self.log = make_logger(writer, wall_clock_ns, self.threshold, taps)
        if options.alerts is not None:
            options.alerts.attach(self.log)
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ending] = self.loop.create_future()
        self.interrupts = Interrupts(self.log)
        self.before = Before()
        self.journal: Writer | None = None
        self.conclusion: Conclusion | None = None
        self.edge: EdgeVerdict | None = None
        """What was made of the market where money is real."""
        self._run_dir: Path | None = None
        """Of a run that has ended."""

    async def trade(self, stack: AsyncExitStack, child: Child | None) -> Exit:
        """
        Begin, trade, end.

        What earlier runs left resting is cancelled before anything that can fail for another
        reason than a venue that does not answer.
        """
        held = await hold(
            stack,
            self.config,
            key=self.options.key,
            run_dir=self.options.run_dir,
            child=child,
            on_wait=self._on_wait,
        )
        self.interrupts.know(held.state)
        stack.callback(self.interrupts.latch_order)
        reached = await reach(stack, self.config, held, self._on_wait)
        instrument = await self._clear(held, reached)
        run_dir = self._open_run_dir(stack, held)
        store = stack.enter_context(Store(held.state))
        refuse_if_latched(store)
        reached.heard.refuse_foreign(instrument)
        facts = await self._check(held, reached, store, instrument, run_dir)
        if self.options.run_dir is None:
            point_latest(run_dir)
        set_aside(run_dir, FILES)
        if self.config.journal.enabled:
            self.journal = Writer(run_dir, self.config.journal)
            stack.callback(self.journal.close)
        self.log.info("run.started", **started_facts(self.config, facts, self.edge))
        latches = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="latch"))
        keeping = Keeping(store, latches, run_dir, self.log)
        trader = assemble(
            stack,
            facts,
            held,
            reached,
            store=store,
            keeping=keeping,
            journal=self.journal,
            config=lambda: self.config,
            log=self.log,
            on_end=self.ended.set_result,
        )
        await self._set_leverage(trader, reached, held.user)
        refuse_if_latched(store)
        heart = make_heart(self.config, held, store, self.interrupts.on_latched, self.log)
        # Whatever ends the run, the last beat says what is known of its orders.
        stack.callback(heart.end, may_rest=True)
        self._begin(trader, held.user, held.lock, heart)
        ending = await self.ended
        await self._conclude(trader, ending, held.lock, keeping, run_dir)
        heart.end(may_rest=ending.final is None)
        return ending.exit_code

    def _on_wait(self, error: VenueError, left_s: float) -> None:
        self.log.warning("venue.retried", error=str(error), for_s=round(left_s, 1))

    def _on_config(self, config: Config) -> None:
        self.config = config

    # -- before the first order -------------------------------------------------------------

    async def _clear(self, held: Held, reached: Reached) -> Instrument:
        """
        Read what the venue lists, and cancel what earlier runs left.

        Raises:
            KillLatchedError: SIGUSR1 came.
        """
        config = self.config
        self.before.is_in_doubt = held.lock.may_rest and not config.is_passing
        universe = await read_universe(config, reached.reads)
        await self.before.clear(config, held, reached, universe, self.log)
        self.interrupts.is_cleared = True
        if self.interrupts.is_kill_ordered:
            raise KillLatchedError(f"{SIGUSR1}, before the first order")
        instrument = universe.instrument(config.instrument.wire_coin)
        if held.lock.problem is not None:
            raise held.lock.problem
        return instrument

    def _open_run_dir(self, stack: AsyncExitStack, held: Held) -> Path:
        """Make the folder of the run, unless it is there, and open log and control socket in it."""
        run_dir = held.run_dir
        if run_dir is None:
            run_dir = make_run_dir(self.config, self.options.run_dir, held.started_ns)
        self._open_log(run_dir)
        self._open_desk(stack, run_dir, held.state)
        return run_dir

    def _open_log(self, run_dir: Path) -> None:
        describe_run(self.config, run_dir)
        path = run_dir / "log.jsonl"
        try:
            self.writer.open(path)
        except BlockingIOError:
            raise ConfigError(
                f"--run-dir {run_dir}: another run writes {path.name} there"
            ) from None
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; mend that first") from None

    def _open_desk(self, stack: AsyncExitStack, run_dir: Path, state: Path) -> None:
        """The control socket. For want of one no run ends: the log says that there is none."""
        self.interrupts.desk = desk = Desk(
            run_dir,
            self.config,
            load=self.options.reload,
            on_stop=self.interrupts.on_stop_asked,
            on_config=self._on_config,
            log=self.log,
            threshold=self.threshold,
            clock=wall_clock_ns,
        )
        point_from_state(state, run_dir)
        scraped.serve(stack, self.config.metrics.port, desk.seen, self.tally, self.log)
        served = control.Control(run_dir / control.NAME, desk.answer, self.log)
        try:
            served.open()
        except StateError as error:
            self.log.error("control.unavailable", error=str(error))
            return
        stack.callback(served.close)

    async def _check(
        self, held: Held, reached: Reached, store: Store, instrument: Instrument, run_dir: Path
    ) -> Facts:
        """
        What the venue says before a run, once nothing of it forbids one.

        Raises:
            CheckError: Something does, or where money is real something is not shown.
        """
        config = self.config
        facts = await read_facts(config, reached.reads, held.signer, instrument, is_shown=False)
        for row in failures(facts):
            raise CheckError(f"{row.name}: {row.text}")
        said = next(row.text for row in facts.rows if row.name == "noise")
        for line in (f"account  {facts.user}", f"logs     {run_dir}", f"noise    {said}"):
            self.writer.say(line)
        if config.mode == "live":
            self.edge = await prove_market(config, facts, self.writer, self.log)
            refuse_if_latched(store)  # that took minutes
        elif config.is_paper:
            await say_edge(config, facts, self.writer)
        return facts

    # -- the trader -------------------------------------------------------------------------

    async def _set_leverage(self, trader: Trader, reached: Reached, user: str) -> None:
        # A signal until here ends the program without a stop: no order was sent.
        self.before.is_leverage_sent = True
        config = self.config
        await set_leverage(
            trader, reached.reads, user, config.risk.leverage, retry_s=config.start.retry_s
        )

    def _begin(self, trader: Trader, user: str, lock: RunLock, heart: Heart) -> None:
        """From here on a signal ends the run through its trader, and what crashes as well."""
        # Before the first beat: it holds the loop for a while, which would look like death.
        freeze_garbage(self.loop)
        lock.orders_may_rest(may_rest=True)
        heart.start()
        self.interrupts.trader = trader
        if self.interrupts.desk is not None:
            self.interrupts.desk.begin(trader, user, self.journal)
        self.loop.set_exception_handler(self.interrupts.on_crash)
        trader.start()
        RequestTeller(trader, wall_clock_ns, AioScheduler(self.loop)).start()
        if self.interrupts.is_kill_ordered:
            self.interrupts.on_kill_signal()
        if self.options.duration_s is not None:
            self.loop.call_later(self.options.duration_s, self.interrupts.on_time_up)

    # -- the end ----------------------------------------------------------------------------

    async def _conclude(
        self, trader: Trader, ending: Ending, lock: RunLock, keeping: Keeping, run_dir: Path
    ) -> None:
        self.conclusion = Conclusion(
            keeping,
            self.journal,
            run_dir,
            writer=self.writer,
            log=self.log,
            edge=self.edge,
            flatten_command=self.options.flatten_command,
        )
        await self.conclusion.conclude(self.config, trader, ending, lock)
        self._run_dir = run_dir

    async def explain(self) -> None:
        """
        Make the report of a run that has ended; where it cannot be made, that is said.

        Everything is cancelled, verified, told and released by now.
        """
        if self._run_dir is None or not self.config.report.at_end:
            return
        self.interrupts.explainer = explainer = Explainer()
        if self.interrupts.late is not None:
            explainer.cancel()
        problem = await explainer.explain(self._run_dir, self.config)
        again = f"mmbot report {self._run_dir}"
        if explainer.is_cancelled:
            # Whoever presses Ctrl+C again has been told everything, and wants to go.
            self.writer.say(f"  page:    not waited for; {again} makes it")
        elif problem is not None:
            why = problem.removeprefix("mmbot: ")  # the process speaks for a terminal of its own
            stderr_line(f"mmbot: no report was made: {why}; try: {again}")
