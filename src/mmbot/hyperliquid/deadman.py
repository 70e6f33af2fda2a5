"""
The venue's own dead man: it cancels everything of the account unless we put it off in time.

Open only to accounts above a traded volume, and it fires ten times a UTC day at most (Hyperliquid
docs, "Exchange endpoint", scheduleCancel). Where it is closed nothing is sent and it is said once:
a refused action costs a request as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid.budget import Budget
from mmbot.hyperliquid.ports import Clock, Handle, Scheduler

SCHEDULE_CANCEL_USD: Final = 1_000_000
"""Volume from which the venue accepts scheduleCancel; it says so in its refusal."""
_PUT_OFF_AFTER: Final = 1 / 3
"""Part of the span after which it is put off: two answers may be lost in a row."""
_ASK_AGAIN_NS: Final = 600 * NS_PER_S
"""After a refusal; the volume may have grown."""

Send = Callable[[int | None, Callable[[VenueError | None], None]], None]
"""Sends scheduleCancel with a time in ms, or without one, which clears it."""


class DeadMan:
    """
    Keeps the venue's switch armed.

    Args:
        span_s: Time from the last put-off to its firing; 0 keeps it unarmed.
        budget: Knows the traded volume once it was read.
        tell: Hears an event and its facts, once each time the state of things changes.
    """

    def __init__(
        self,
        *,
        span_s: float,
        budget: Budget,
        send: Send,
        clock: Clock,
        scheduler: Scheduler,
        tell: Callable[[str, dict[str, object]], None],
    ) -> None:
        self._span_ns = round(span_s * NS_PER_S)
        self._budget = budget
        self._send = send
        self._clock = clock
        self._scheduler = scheduler
        self._tell = tell
        self._timer: Handle | None = None
        self._is_on = False
        self._told = ""
        self.is_armed = False
        """Whether the venue took the newest time that it answered."""

    def start(self) -> None:
        """Arm it as soon as that is possible; a second call does nothing."""
        if not self._is_on and self._span_ns:
            self._is_on = True
            self._put_off()

    def end(self, *, is_clear: bool) -> None:
        """
        Put it off no more.

        Args:
            is_clear: Nothing of ours rests, so that it may be cleared. Otherwise it fires.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._is_on and self.is_armed and is_clear:
            self._send(None, lambda _: None)
        self._is_on = False

    def _put_off(self) -> None:
        self._timer = None
        if not self._is_on:
            return
        now_ns = self._clock()
        every_ns = round(_PUT_OFF_AFTER * self._span_ns)
        volume_usd = self._budget.volume_usd
        if volume_usd is None or volume_usd < SCHEDULE_CANCEL_USD:
            if volume_usd is not None:
                self._say("dead_man.closed", traded_usd=volume_usd, needed_usd=SCHEDULE_CANCEL_USD)
        else:
            self._send((now_ns + self._span_ns) // NS_PER_MS, self._on_answer)
        if self._timer is None:
            self._timer = self._scheduler.call_at(now_ns + every_ns, self._put_off)

    def _on_answer(self, error: VenueError | None) -> None:
        if not self._is_on:
            return
        if error is None:
            self.is_armed = True
            self._say("dead_man.armed", span_s=self._span_ns / NS_PER_S)
        elif not isinstance(error, LinkError):
            # Where no answer came it may be armed all the same, and is put off in its turn.
            self.is_armed = False
            self._say("dead_man.refused", text=str(error))
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._scheduler.call_at(self._clock() + _ASK_AGAIN_NS, self._put_off)

    def _say(self, event: str, **facts: object) -> None:
        if self._told != event:
            self._told = event
            self._tell(event, facts)
