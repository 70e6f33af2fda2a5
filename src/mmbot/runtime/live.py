"""
`mmbot run`: the assembled program on real sockets and real time, from start to summary.

One function builds every mode; only the venue differs. What blocks (SQLite, the log file) happens
before quoting or on threads of its own, so nothing but a decision ever holds the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot import early
from mmbot.config import Config
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import (
    CheckError,
    ConfigError,
    Exit,
    KillLatchedError,
    MmbotError,
    StateError,
    VenueError,
)
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.signing import Signer
from mmbot.journal.writer import Writer
from mmbot.logs import LogWriter, Threshold, make_logger, stderr_line
from mmbot.runtime import control, killreport, scraped
from mmbot.runtime.aio import AioScheduler, aside, steady_clock_ns, wall_clock_ns
from mmbot.runtime.alerts import Alerts
from mmbot.runtime.child import Child
from mmbot.runtime.desk import Desk
from mmbot.runtime.economics import (
    EdgeVerdict,
    edge_line,
    judge_edge,
    measure_own,
    refuse_without_edge,
)
from mmbot.runtime.ending import CLOID_MAGIC, Ending
from mmbot.runtime.explaining import HTML, Explainer
from mmbot.runtime.foreign import Overheard
from mmbot.runtime.heart import Beat, Heart, beat_path, quiet_at_ns
from mmbot.runtime.latching import SIGUSR1, latch_signal, refuse_if_latched
from mmbot.runtime.ledger import Ledger
from mmbot.runtime.leverage import set_leverage
from mmbot.runtime.metered import Metered
from mmbot.runtime.nonces import NonceKeeper, nonces_of
from mmbot.runtime.notify import Notify
from mmbot.runtime.patience import PatientRest
from mmbot.runtime.preflight import Facts, account_of, failures, read_facts, read_universe
from mmbot.runtime.preview import quoted_half_bps
from mmbot.runtime.recording import close_journal
from mmbot.runtime.rundir import (
    describe_run,
    make_run_dir,
    point_from_state,
    point_latest,
    write_summary,
)
from mmbot.runtime.screen import last_line, summary_lines
from mmbot.runtime.selftest import refuse_unless_well, run_selftest
from mmbot.runtime.summary import RequestTeller, started_facts, summarise
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.tally import Tally
from mmbot.runtime.trader import Ports, Trader
from mmbot.runtime.venues import (
    RESET_HINT,
    STOP_HINT,
    Line,
    Venue,
    market_lock,
    open_venue,
    signer_of,
    state_path,
)
from mmbot.state.lock import RunLock
from mmbot.state.store import Store

_GC_EVERY_S: Final = 30.0
_GC_WHOLE_EVERY: Final = 20
"""Sweeps until one looks at the old as well: a cycle that outlived a sweep is found only there."""
_STOPS: Final = {
    signal.SIGINT: "Ctrl+C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGQUIT: "SIGQUIT",
}
_HANGUP: Final = "SIGHUP, the terminal was closed"
_SECOND_DAEMON: Final = (
    f"two would cancel each other's orders; stop that one first ({STOP_HINT}), or trade another "
    "account or coin"
)


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
    state.catch_signals()
    try:
        async with AsyncExitStack() as stack:
            code = await state.trade(stack, child)
        await state.explain()
        return code
    except asyncio.CancelledError:
        if state.interrupted is None:
            raise
        sent = state.what_was_sent()
        left = state.left_over()
        stderr_line(f"mmbot: {state.interrupted} before the first order; {sent}{left}")
        is_killed = state.is_kill_ordered
        return Exit.KILLED if is_killed else Exit.FAILED if left else Exit.OK
    except MmbotError as error:
        state.log.error("run.refused", error=str(error), exit_code=int(error.exit_code))
        raise
    finally:
        state.ignore_signals()


class _Run:
    """One run: its folder, its log, its trader, and what the signals do."""

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
        self.task = asyncio.current_task()
        self.ended: asyncio.Future[Ending] = self.loop.create_future()
        self.trader: Trader | None = None
        self.interrupted: str | None = None
        self.journal: Writer | None = None
        self.edge: EdgeVerdict | None = None
        """What was made of the market where money is real."""
        self._leftovers: Sweep | None = None
        self._is_leverage_sent = False
        self._is_in_doubt = False
        """Whether an earlier run left it open what rests, and the venue was not asked yet."""
        self._latches: list[Future[None]] = []
        self._report: dict[str, Any] | None = None
        """What the kill switch has written of its trip."""
        self._is_stopping = False
        self.is_kill_ordered = False
        self._is_cleared = False
        """Whether nothing of an earlier run rests any more."""
        self._desk: Desk | None = None
        self._has_terminal = early.has_terminal()
        self._run_dir: Path | None = None
        self._explainer = Explainer()
        self._is_explaining = False

    # -- signals ----------------------------------------------------------------------------

    def catch_signals(self) -> None:
        """
        Every usual way to end a program ends it with its orders cancelled.

        A hang-up that whoever started us has switched off (`nohup`) stays off. Ctrl+Z would leave
        the orders alone in the market, so it does nothing.
        """
        for number, name in _STOPS.items():
            self.loop.add_signal_handler(number, self._on_signal, name)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            self.loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self.loop.add_signal_handler(signal.SIGUSR1, self._on_kill_signal)
        self.loop.add_signal_handler(signal.SIGTSTP, self._on_suspend)
        # What came while the program was being loaded.
        if early.take(signal.SIGUSR1):
            self._on_kill_signal()
        if early.take(signal.SIGHUP):
            self._on_hangup()

    def ignore_signals(self) -> None:
        """All is done; what still comes must not tear the last lines apart."""
        for number in (*_STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP):
            self.loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, name: str) -> None:
        """First: stop cleanly. Second: end now, the cancels are sent."""
        if self.trader is None:
            self.interrupted = name
            assert self.task is not None
            self.task.cancel()
        elif self._is_explaining:
            self._explainer.cancel()
        elif self._is_stopping:
            self.trader.force()
        else:
            self._is_stopping = True
            self.trader.stop(name)

    def _on_hangup(self) -> None:
        """The terminal was closed: stop. A service without one is asked to load its file again."""
        if self._has_terminal:
            self._on_signal(_HANGUP)
        elif self._desk is not None:
            self._desk.on_hangup()
        else:
            self.log.error("config.refused", by="SIGHUP", error="the run is starting", keys=[])

    def _on_stop_asked(self, is_flatten: bool) -> None:
        """`mmbot stop`: as the first Ctrl+C. A second one forces nothing."""
        if self.trader is None:
            self._on_signal("mmbot stop")
            return
        self._is_stopping = True
        self.trader.stop("mmbot stop", is_flatten=is_flatten)

    def _on_config(self, config: Config) -> None:
        self.config = config

    def _on_kill_signal(self) -> None:
        """SIGUSR1: the operator trips the kill switch, from the first moment there is one."""
        self.is_kill_ordered = True
        if self.trader is not None:
            self.trader.kill(SIGUSR1)
        elif self._is_cleared:
            # Nothing is begun that must be ended first; the latch is written on the way out.
            self._on_signal("SIGUSR1")

    def _on_suspend(self) -> None:
        self.log.warning("run.not_suspended", why="its orders would be left alone; Ctrl+C stops")

    def _on_crash(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: the trader cancels everything, and the log has the traceback."""
        error = context.get("exception")
        if self.trader is not None and not self.trader.ended and error is not None:
            self.trader.crash(error)
        else:
            stderr_line(f"mmbot: internal error: {context.get('message')}: {error}")

    def _on_time_up(self) -> None:
        """`--for` has passed."""
        assert self.trader is not None
        self.trader.stop("--for elapsed")

    def _on_wait(self, error: VenueError, left_s: float) -> None:
        self.log.warning("venue.retried", error=str(error), for_s=round(left_s, 1))

    def what_was_sent(self) -> str:
        """What the venue got from a run that placed no order."""
        sent = []
        if self._leftovers is not None and self._leftovers.has_sent:
            sent.append("cancels of what an earlier run had left")
        if self._is_leverage_sent:
            sent.append("the leverage")
        return f"only {' and '.join(sent)} went out" if sent else "nothing was sent"

    def left_over(self) -> str:
        """What a person must know of orders that an earlier run left; empty where none may rest."""
        count = self._leftovers.still_rest if self._leftovers is not None else 0
        if not count and not self._is_in_doubt:
            return ""
        orders = f"up to {count} orders" if count else "orders"
        return f"; {orders} of an earlier run may still rest: look at the account, or start again"

    # -- from start to end ------------------------------------------------------------------

    async def trade(self, stack: AsyncExitStack, child: Child | None) -> Exit:
        """
        Begin, trade, end.

        What earlier runs left resting is cancelled before anything that can fail for another
        reason than a venue that does not answer.
        """
        config = self.config
        started_ns = wall_clock_ns()
        venue = await stack.enter_async_context(
            open_venue(config, self.options.key, self._on_wait, child)
        )
        signer = signer_of(config, venue.key)
        user = account_of(config, signer)
        run_dir: Path | None = None
        if config.is_embedded:  # its state lies in the run directory, so that comes first
            run_dir = make_run_dir(config, self.options.run_dir, started_ns)
        state = state_path(config, run_dir, user)
        lock = stack.enter_context(market_lock(config, state, user, _SECOND_DAEMON))
        stack.callback(self._latch_order, state)
        nonces = nonces_of(state)
        rest = await stack.enter_async_context(venue.line())
        metered = Metered(rest, wall_clock_ns)
        reads = PatientRest(metered, venue.url, retry_s=config.start.retry_s, on_wait=self._on_wait)
        reads.orders_may_rest = lock.may_rest
        self._is_in_doubt = lock.may_rest and not config.is_passing
        heard = Overheard(reads)
        universe = await read_universe(config, reads)
        may_come_ns = quiet_at_ns(state, config.gateway.expires_after_s, wall_clock_ns())
        await self._clear(
            Sweep(
                metered,
                universe.for_cancelling(config.instrument.wire_coin),
                signer=signer,
                user=user,
                clock=wall_clock_ns,
                log=self.log,
                reads=heard,
                is_leftover=True,
                nonces=nonces,
            ),
            may_come_ns if lock.may_rest else 0,
        )
        self._is_cleared = True
        if self.is_kill_ordered:
            raise KillLatchedError(f"{SIGUSR1}, before the first order")
        instrument = universe.instrument(config.instrument.wire_coin)
        if lock.problem is not None:
            raise lock.problem
        if run_dir is None:
            run_dir = make_run_dir(config, self.options.run_dir, started_ns)
        self._open_log(run_dir)
        self._open_desk(stack, run_dir, state)
        store = stack.enter_context(Store(state))
        refuse_if_latched(store)
        heard.refuse_foreign(instrument)
        facts = await read_facts(config, reads, signer, instrument, is_shown=False)
        for row in failures(facts):
            raise CheckError(f"{row.name}: {row.text}")
        said = next(row.text for row in facts.rows if row.name == "noise")
        for line in (f"account  {facts.user}", f"logs     {run_dir}", f"noise    {said}"):
            self.writer.say(line)
        if config.mode == "live":
            self.edge = await self._prove(facts)
            refuse_if_latched(store)  # that took minutes
        elif config.is_paper:
            half_bps = quoted_half_bps(config, facts)
            self.writer.say(
                await aside(
                    functools.partial(edge_line, config, facts.instrument, facts.fees, half_bps)
                )
            )
        if self.options.run_dir is None:
            point_latest(run_dir)
        if config.journal.enabled:
            self.journal = Writer(run_dir, config.journal)
            stack.callback(self.journal.close)
        trader = self._assemble(stack, store, facts, venue, signer, rest, run_dir, nonces)
        metered.join(trader.gateway.budget)
        # A signal until here ends the program without a stop: no order was sent.
        self._is_leverage_sent = True
        await set_leverage(trader, reads, user, config.risk.leverage, retry_s=config.start.retry_s)
        refuse_if_latched(store)
        heart = self._heart(state, store, venue, signer, user)
        # Whatever ends the run, the last beat says what is known of its orders.
        stack.callback(heart.end, may_rest=True)
        self._begin(trader, user, lock, heart)
        ending = await self.ended
        await self._conclude(trader, ending, lock, store, run_dir)
        heart.end(may_rest=ending.final is None)
        return ending.exit_code

    async def _prove(self, facts: Facts) -> EdgeVerdict:
        """
        Where money is real: what must be shown of program and market before the first order.

        Raises:
            CheckError: A row of the self-test failed, or the width that is quoted does not pay and
                nobody accepted that.
            ConfigError: The recording cannot be used.
        """
        config, recording = self.config, self.config.live.recording
        self.writer.say("selftest does every term of the quote reach the orders? some seconds")
        await aside(functools.partial(prove, config, facts.instrument))
        self.log.info("selftest.passed")
        if recording is not None:
            fee_bps = facts.fees.maker_bps
            self.writer.say(
                f"edge     what would each width earn on {recording} at the maker fee of "
                f"{fee_bps:.2f} bps? seconds, and longer for a long recording"
            )
            self.log.info("edge.measuring", recording=str(recording), maker_fee_bps=fee_bps)
        widths = await aside(
            functools.partial(
                measure_own,
                config,
                facts.instrument,
                facts.fees,
                quoted_bps=quoted_half_bps(config, facts),
                has_requests=False,
            )
        )
        verdict = judge_edge(config, widths)
        self.log.info("edge.judged", **msgspec.structs.asdict(verdict), widths=widths)
        refuse_without_edge(config, verdict)
        self.writer.say(f"edge     {verdict.text}")
        return verdict

    async def _clear(self, leftovers: Sweep, may_come_ns: int) -> None:
        if self.config.is_passing:
            return  # its account is as new as the run
        self._leftovers = leftovers
        await leftovers.run(may_come_ns, patience_s=self.config.start.retry_s)
        self._is_in_doubt = False

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
        self._desk = desk = Desk(
            run_dir,
            self.config,
            load=self.options.reload,
            on_stop=self._on_stop_asked,
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

    def _assemble(
        self,
        stack: AsyncExitStack,
        store: Store,
        facts: Facts,
        venue: Venue,
        signer: Signer,
        rest: Line,
        run_dir: Path,
        nonces: Nonces,
    ) -> Trader:
        config = self.config
        self.log.info("run.started", **started_facts(config, facts, self.edge))
        latches = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="latch"))
        keeper = NonceKeeper(nonces, store, latches, self.log)
        keeper.start()
        stack.callback(keeper.end)

        began_ns = facts.venue_ns(wall_clock_ns())
        nonces.hear(began_ns // NS_PER_MS)
        ledger = Ledger(store, latches, facts.instrument, self.log, began_ns)

        def latch(reason: KillReason) -> None:
            self._latches.append(latches.submit(store.latch, reason))
            self._report = report = killreport.tripped(trader, self.config, reason)
            latches.submit(self._write_report, run_dir, report)

        trader = Trader(
            config,
            facts.instrument,
            signer=signer,
            user=facts.user,
            ports=Ports(
                wall_clock_ns,
                AioScheduler(self.loop),
                venue.dialer(self.loop),
                rest,
                steady_clock_ns,
            ),
            url=venue.ws_url,
            cloid_prefix=new_cloid_prefix(),
            log=self.log,
            latch=latch,
            on_end=self.ended.set_result,
            nonces=nonces,
            memory=store.load_cascade(),
            remember=lambda memory: self._store(latches, store, memory),
            day=store.load_day(),
            remember_day=lambda day: self._store_day(latches, store, day),
            keep_fills=ledger.take,
            ledger_ms=ledger.last_ms,
            journal=self.journal,
            jitter=random.Random(os.urandom(8)),  # noqa: S311 - spreads reconnects, guards nothing
        )
        trader.snapshot.know(facts.known)
        return trader

    def _write_report(self, run_dir: Path, report: dict[str, Any]) -> None:
        """Write `kill.json`; a folder that cannot be written stops no end."""
        try:
            killreport.write(run_dir, report)
        except OSError as error:
            self.log.error("killswitch.unreported", error=str(error))

    def _store_day(self, pool: ThreadPoolExecutor, store: Store, day: Day) -> None:
        """Write the account of the day off the loop; a run that cannot goes on, and says so."""
        now_ns = wall_clock_ns()

        def told(done: Future[None]) -> None:
            error = done.exception()
            if error is not None:
                self.log.error("day.not_stored", error=str(error))

        pool.submit(store.save_day, day, now_ns).add_done_callback(told)

    def _store(self, pool: ThreadPoolExecutor, store: Store, memory: CascadeMemory) -> None:
        """Write the memory of sweeps off the loop; a run that cannot goes on, and says so."""
        now_ns = wall_clock_ns()

        def told(done: Future[None]) -> None:
            error = done.exception()
            if error is not None:
                self.log.error("cascade.not_stored", error=str(error))

        pool.submit(store.save_cascade, memory, now_ns).add_done_callback(told)

    def _heart(self, state: Path, store: Store, venue: Venue, signer: Signer, user: str) -> Heart:
        """What the watchdog listens to, and the way by which `mmbot kill` reaches this run."""
        beat = Beat(
            pid=os.getpid(),
            lands_s=self.config.gateway.expires_after_s,
            url=venue.url,
            user=user,
            signer=signer.address,
        )
        return Heart(
            beat_path(state),
            beat,
            latched=store.peek,
            on_kill=self._on_latched,
            on_problem=lambda text: self.log.error("heart.hindered", error=text),
            notify=Notify.from_environment(os.environ),
        )

    def _latch_order(self, state: Path) -> None:
        if self.is_kill_ordered and self.trader is None:
            latch_signal(state, wall_clock_ns())

    def _on_latched(self, reason: KillReason) -> None:
        """Somebody latched the switch from outside; what we latched ourselves has tripped it."""
        if self.trader is not None:
            self.trader.kill(reason.text, is_flatten=reason.is_flatten)

    def _begin(self, trader: Trader, user: str, lock: RunLock, heart: Heart) -> None:
        """From here on a signal ends the run through its trader, and what crashes as well."""
        # Before the first beat: it holds the loop for a while, which would look like death.
        _freeze_garbage(self.loop)
        lock.orders_may_rest(may_rest=True)
        heart.start()
        self.trader = trader
        if self._desk is not None:
            self._desk.begin(trader, user, self.journal)
        self.loop.set_exception_handler(self._on_crash)
        trader.start()
        RequestTeller(trader, wall_clock_ns, AioScheduler(self.loop)).start()
        if self.is_kill_ordered:
            self._on_kill_signal()
        if self.options.duration_s is not None:
            self.loop.call_later(self.options.duration_s, self._on_time_up)

    async def _conclude(
        self, trader: Trader, ending: Ending, lock: RunLock, store: Store, run_dir: Path
    ) -> None:
        """Latch, sum up, and say whatever a person has to know."""
        for latch in self._latches:
            try:
                await asyncio.wrap_future(latch)
            except StateError as error:
                # The run is over and everything is cancelled; only a person can stop the next one.
                self.log.critical("killswitch.unlatched", error=str(error))
                stderr_line(f"mmbot: the kill switch tripped but is NOT latched: {error}")
        await self._keep_last_day(trader, store)
        span_s = (wall_clock_ns() - trader.started_ns) / NS_PER_S
        is_measurement = self.edge is not None and self.edge.is_measurement
        summary = summarise(
            trader,
            ending,
            span_s,
            mode=self.config.mode,
            on_exit=self.config.on_exit,
            is_measurement=is_measurement,
        )
        if ending.final is not None:
            lock.orders_may_rest(may_rest=False)
            self.log.info("run.verified", resting_orders=0)
        else:
            self.log.error("run.unverified", may_rest=ending.resting_orders)
        if self.journal is not None:
            await close_journal(self.journal, ending, self.log, wall_clock_ns())
        self.log.info("run.ended", **summary)
        try:
            write_summary(run_dir, summary)
        except OSError as error:
            stderr_line(f"mmbot: summary.json could not be written to {run_dir}: {error.strerror}")
        if self._report is not None:
            self._write_report(run_dir, killreport.ended(self._report, ending, summary))
        for line in summary_lines(summary):
            self.writer.say(line)
        self.writer.say(f"  summary: {run_dir / 'summary.json'}")
        self._run_dir = run_dir
        if self.config.report.at_end:
            self.writer.say(f"  page:    {run_dir / HTML}, in a moment")
        if self._report is not None:
            self.writer.say(f"  report:  {run_dir / killreport.NAME}; {RESET_HINT}")
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
        if self.edge is not None and is_measurement:
            self.writer.say(f"MEASUREMENT, no proven edge: {self.edge.text}")
        last = last_line(
            summary,
            ending.closed,
            coin=trader.instrument.coin,
            command=self.options.flatten_command,
            is_embedded=self.config.is_embedded,
            is_paper=self.config.is_paper,
        )
        if last is not None:
            self.writer.say(last)

    async def explain(self) -> None:
        """
        Make the report of a run that has ended; where it cannot be made, that is said.

        Everything is cancelled, verified, told and released by now.
        """
        if self._run_dir is None or not self.config.report.at_end:
            return
        self._is_explaining = True
        problem = await self._explainer.explain(self._run_dir, self.config)
        again = f"mmbot report {self._run_dir}"
        if self._explainer.is_cancelled:
            # Whoever presses Ctrl+C again has been told everything, and wants to go.
            self.writer.say(f"  page:    not waited for; {again} makes it")
        elif problem is not None:
            stderr_line(f"mmbot: no report was made: {problem}; try: {again}")

    async def _keep_last_day(self, trader: Trader, store: Store) -> None:
        day = trader.engine.risk.day
        if day is not None:
            try:
                await asyncio.to_thread(store.save_day, day, wall_clock_ns())
            except StateError as error:
                self.log.error("day.not_stored", error=str(error))


def prove(config: Config, instrument: Instrument) -> None:
    """
    Where money is real, begin only with a program whose every term reaches the wire.

    Raises:
        CheckError: The self-test failed; every row that did is named.
    """
    if config.mode == "live":
        refuse_unless_well(run_selftest(config, instrument=instrument))


def new_cloid_prefix() -> int:
    """High 64 bits of a run's cloids: our mark, then 48 bits no other run has."""
    return CLOID_MAGIC << 48 | int.from_bytes(os.urandom(6))


def _freeze_garbage(loop: asyncio.AbstractEventLoop) -> None:
    """
    Keep the collector off the loop: what exists now is never scanned again.

    The hot path makes no cycles, so reference counts free it; the few cycles of HTTP replies are
    collected on a slow timer. What survives two sweeps is looked at once in ten minutes.
    """
    gc.collect()
    gc.freeze()
    gc.disable()

    def sweep(count: int) -> None:
        gc.collect(2 if count % _GC_WHOLE_EVERY == 0 else 1)
        loop.call_later(_GC_EVERY_S, sweep, count + 1)

    loop.call_later(_GC_EVERY_S, sweep, 1)
