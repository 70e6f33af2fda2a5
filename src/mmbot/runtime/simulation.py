"""
Simulated time: clock and scheduler in one, for runs that depend on nothing but their inputs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from mmbot.core.types import NS_PER_S


class SimHandle:
    """A timer of the simulation."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Callable[[], None]) -> None:
        self._fn: Callable[[], None] | None = fn

    def cancel(self) -> None:
        """Forget it."""
        self._fn = None

    def fire(self) -> bool:
        """Call it unless it was cancelled; says whether it was called."""
        fn, self._fn = self._fn, None
        if fn is None:
            return False
        fn()
        return True


class SimLoop:
    """
    Simulated time: what is due earlier happens earlier, what is due together in order of asking.

    The clock stands still while something happens, so a run is a function of its inputs.
    """

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns
        self._queue: list[tuple[int, int, SimHandle]] = []
        self._count = 0
        self.companions: dict[int, Any] = {}
        """What is kept in step with this loop, by the identity of what it drives."""

    def clock(self) -> int:
        """Now, in simulated ns since the epoch."""
        return self._now_ns

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> SimHandle:
        """Call `fn` at `when_ns`, or next if that is past."""
        handle = SimHandle(fn)
        self._count += 1
        heapq.heappush(self._queue, (max(when_ns, self._now_ns), self._count, handle))
        return handle

    def run_until(self, when_ns: int) -> None:
        """Let everything happen that is due by `when_ns`, and stop there."""
        while self._queue and self._queue[0][0] <= when_ns:
            self._step()
        self._now_ns = max(self._now_ns, when_ns)

    def run_for(self, span_s: float) -> None:
        """`run_until` that much later."""
        self.run_until(self._now_ns + round(span_s * NS_PER_S))

    def run_till(self, is_reached: Callable[[], bool], limit_s: float) -> bool:
        """Run until the condition holds; False when it does not within `limit_s`."""
        limit_ns = self._now_ns + round(limit_s * NS_PER_S)
        while not is_reached():
            if not self._queue or self._queue[0][0] > limit_ns:
                self.run_until(limit_ns)
                return is_reached()
            self._step()
        return True

    def _step(self) -> None:
        when_ns, _, handle = heapq.heappop(self._queue)
        self._now_ns = when_ns
        handle.fire()
