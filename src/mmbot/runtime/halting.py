"""
Every way into the end of a run: a stop, a kill, a refusal, a bug; what follows is `runtime.ending`.

Whichever it is, it is latched first if it trips the kill switch, and the orders are cancelled by
the engine as long as that can be asked.
"""

from __future__ import annotations

from collections.abc import Callable

from mmbot.core.engine import Engine
from mmbot.core.events import Command, CommandKind, Event
from mmbot.core.intents import KillReason
from mmbot.core.triggers import Trip
from mmbot.errors import Exit, InvariantError, MmbotError
from mmbot.hyperliquid.ports import Clock
from mmbot.runtime.ending import Closing
from mmbot.runtime.telling import Log


class Halting:
    """
    Ends one run.

    Args:
        engine: Cancels, and says when its kill switch has tripped.
        closing: What follows.
        clock: Time of the run.
        emit: Folds an event into the engine and lets it decide.
        latch: Stores a kill reason; returns at once.
        log: Structured log.
    """

    def __init__(
        self,
        engine: Engine,
        closing: Closing,
        clock: Clock,
        *,
        emit: Callable[[Event], None],
        latch: Callable[[KillReason], None],
        log: Callable[[], Log],
    ) -> None:
        self._engine = engine
        self._closing = closing
        self._clock = clock
        self._emit = emit
        self._latch = latch
        self._log = log

    def stop(self, reason: str, *, is_flatten: bool = False) -> None:
        """
        Cancel everything, verify with the venue that nothing rests, then end.

        With `is_flatten` the position is closed whatever `on_exit` says.
        """
        if self._closing.is_trading:
            if is_flatten:
                self._closing.must_flatten = True
            self._closing.begin(reason, Exit.OK)
            self._emit(Command(recv_ns=self._clock(), kind=CommandKind.STOP, text=reason))

    def kill(self, text: str, *, is_flatten: bool = False) -> None:
        """Trip the kill switch by hand; `is_flatten`: and close the position."""
        if self._closing.kill is None and not self._closing.is_over:
            self._emit(Command(self._clock(), CommandKind.KILL, text, is_flatten))

    def force(self) -> None:
        """End now; the cancels were sent, their outcome is not waited for."""
        self._closing.force()

    def fail(self, error: MmbotError) -> None:
        """Something the run cannot go on without is refused: stop, and exit with its code."""
        if self._closing.is_trading:
            self._closing.begin("failed", error.exit_code, str(error))
            self._emit(Command(recv_ns=self._clock(), kind=CommandKind.STOP, text=str(error)))

    def crash(self, error: BaseException) -> None:
        """A callback raised what nobody expected: end as for a broken invariant."""
        if isinstance(error, MmbotError):
            self.on_bug(error)
            return
        bug = InvariantError(f"{type(error).__name__}: {error}")
        bug.__cause__ = error
        self.on_bug(bug)

    def on_bug(self, error: MmbotError) -> None:
        """An invariant of ours broke: cancel all that may rest without asking the engine again."""
        closing = self._closing
        if closing.is_over or closing.is_broken:
            return
        self._log().critical("invariant.broken", error=str(error), exc_info=error)
        closing.broken(f"internal error, everything was cancelled: {error}", Exit.KILLED)
        self.trip_if_killed()
        if closing.kill is None:
            # The engine cannot be asked to trip any more.
            reason = KillReason(
                Trip.EXCEPTION.value, 1.0, 1.0, "exceptions", str(error), self._clock()
            )
            self._latch(reason)
            closing.killed(reason)
        closing.cancel_over_the_engine()

    def trip_if_killed(self) -> None:
        """Latch what the engine's kill switch says, also when the engine is not asked any more."""
        reason = self._engine.risk.kill
        if reason is None or self._closing.kill is not None:
            return
        self._latch(reason)
        self._closing.killed(reason)
