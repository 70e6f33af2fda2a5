"""
What ends a run from outside: signals, `mmbot stop`, a latch that somebody set, `--for`, a crash.

Which of them does what depends on where the run stands: before there is a trader a start is given
up; with one the trader ends, and at once when it is asked again; after that nobody waits for the
report any more. An order to kill latches at every one of these moments, and after them.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final

from mmbot import early
from mmbot.core.intents import KillReason
from mmbot.logs import clean, stderr_line
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.desk import Desk
from mmbot.runtime.explaining import Explainer
from mmbot.runtime.latching import SIGUSR1, Latched, latch_aside, latch_signal, ordered, told
from mmbot.runtime.telling import Log
from mmbot.runtime.trader import Trader

_STOPS: Final = {
    signal.SIGINT: "Ctrl+C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGQUIT: "SIGQUIT",
}
_LATCH_S: Final = 10.0
"""How long the end of a run waits for a latch; a locked file takes half of it to say so."""
_HANGUP: Final = "SIGHUP, the terminal was closed"


class Interrupts:
    """
    The ways by which one run is ended from outside; made in the task that is the run.

    Args:
        log: Hears of what is not done.

    Attributes:
        trader: What is ended, once there is one.
        desk: Loads the configuration again at a hang-up, once it is open.
        explainer: What makes the report, once all else is done.
        interrupted: By what a start was given up; None where it was not.
        is_kill_ordered: Whether SIGUSR1 came.
        late: Becomes what came of latching a SIGUSR1 that found no trader to trip any more; None
            where none came so late.
        is_cleared: Whether nothing of an earlier run rests any more.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.trader: Trader | None = None
        self.desk: Desk | None = None
        self.explainer: Explainer | None = None
        self.interrupted: str | None = None
        self.is_kill_ordered = False
        self.is_cleared = False
        self._is_stopping = False
        self.late: Future[Latched] | None = None
        self._state: Path | None = None
        self._is_unwound = False
        self._has_terminal = early.has_terminal()

    def catch(self) -> None:
        """
        Every usual way to end a program ends it with its orders cancelled.

        A hang-up that whoever started us has switched off (`nohup`) stays off, and the log says so.
        Ctrl+Z would leave the orders alone in the market, so it does nothing.
        """
        for number, name in _STOPS.items():
            self.loop.add_signal_handler(number, self._on_signal, name)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            self.loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        else:
            self.log.info(
                "run.hangup_ignored",
                why="whoever started it switched SIGHUP off (nohup): mmbot reload loads its file",
            )
        early.hear(signal.SIGUSR1, self._on_kill_given)
        self.loop.add_signal_handler(signal.SIGTSTP, self._on_suspend)
        # What came while the program was being loaded.
        self._on_kill_heard()
        if early.take(signal.SIGHUP):
            self._on_hangup()

    def ignore(self) -> None:
        """
        All is done; what still comes must not tear the last lines apart.

        A SIGUSR1 latches still, as long as the process lives. One that nobody could act on, since
        it is not known what to latch, is given back: the end of the program tells of it.
        """
        state = self._state
        early.hear(signal.SIGUSR1, None if state is None else partial(_latch_last, state))
        for number in (*_STOPS, signal.SIGHUP, signal.SIGTSTP):
            self.loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        if state is None:
            if self.is_kill_ordered:
                early.give_back(signal.SIGUSR1)
            return
        if early.take(signal.SIGUSR1):  # the loop ended before it heard of it
            self._latch_late(state)
        if self.late is not None:
            try:
                latched = self.late.result(_LATCH_S)
            except TimeoutError:
                latched = Latched(f"{state} has not answered so far")
            stderr_line(told(latched))

    def _on_signal(self, name: str) -> None:
        """First: stop cleanly. Second: end now, the cancels are sent."""
        if self.trader is None:
            self.interrupted = name
            assert self.task is not None
            self.task.cancel()
        elif self.explainer is not None:
            self.explainer.cancel()
        elif self._is_stopping:
            self.trader.force()
        else:
            self._is_stopping = True
            self.trader.stop(name)

    def _on_hangup(self) -> None:
        """The terminal was closed: stop. A service without one is asked to load its file again."""
        if self._has_terminal:
            self._on_signal(_HANGUP)
        elif self.desk is not None:
            self.desk.on_hangup()
        else:
            self.log.error("config.refused", by="SIGHUP", error="the run is starting", keys=[])

    def on_stop_asked(self, is_flatten: bool) -> None:
        """`mmbot stop`: as the first Ctrl+C. A second one forces nothing."""
        if self.trader is None:
            self._on_signal("mmbot stop")
            return
        self._is_stopping = True
        self.trader.stop("mmbot stop", is_flatten=is_flatten)

    def on_kill_signal(self) -> None:
        """SIGUSR1: the operator trips the kill switch, from the first moment there is one."""
        self.is_kill_ordered = True
        if self._state is not None and (
            self._is_unwound if self.trader is None else self.trader.ended
        ):
            self._latch_late(self._state)
        elif self.trader is not None:
            self.trader.kill(SIGUSR1)
        elif self.is_cleared:
            # Nothing is begun that must be ended first; the latch is written on the way out.
            self._on_signal("SIGUSR1")

    def _on_kill_given(self) -> None:
        self.loop.call_soon_threadsafe(self._on_kill_heard)

    def _on_kill_heard(self) -> None:
        if early.take(signal.SIGUSR1):
            self.on_kill_signal()

    def _latch_late(self, state: Path) -> None:
        """No trader can trip any more: latch on a thread, and keep nobody waiting for a report."""
        if self.late is None:
            self.late = latch_aside(state, ordered(wall_clock_ns()))
        if self.explainer is not None:
            self.explainer.cancel()

    def _on_suspend(self) -> None:
        self.log.warning("run.not_suspended", why="its orders would be left alone; Ctrl+C stops")

    def on_crash(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: the trader cancels everything, and the log has the traceback."""
        error = context.get("exception")
        if self.trader is not None and not self.trader.ended and error is not None:
            self.trader.crash(error)
        else:
            stderr_line(f"mmbot: internal error: {context.get('message')}: {error}")

    def on_time_up(self) -> None:
        """`--for` has passed."""
        assert self.trader is not None
        self.trader.stop("--for elapsed")

    def know(self, state: Path) -> None:
        """Where the kill switch of this run latches."""
        self._state = state

    def latch_order(self) -> None:
        """Latch what SIGUSR1 ordered of a run that ends before it has a trader to trip."""
        assert self._state is not None
        if self.is_kill_ordered and self.trader is None:
            stderr_line(latch_signal(self._state, wall_clock_ns()))
        self._is_unwound = True

    def on_latched(self, reason: KillReason) -> None:
        """Somebody latched the switch from outside; what we latched ourselves has tripped it."""
        if self.trader is not None:
            self.trader.kill(reason.text, is_flatten=reason.is_flatten)


def _latch_last(state: Path) -> None:
    """All was said and the loop is gone: latch where the signal is handled."""
    if early.take(signal.SIGUSR1):
        early.say(clean(latch_signal(state, wall_clock_ns())))
        early.end_killed()
