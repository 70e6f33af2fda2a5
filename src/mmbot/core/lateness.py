"""
How late prices come, by the venue's own time: what a touch that is renewed steadily cannot show.

The offset between the venue's clock and ours is not known, so lateness counts from the quickest
frames so far. That measure outlives connections: a path that has become slow is slow on the next
one too, and only a quicker frame, a step of our own clock or the drift between the clocks move it.
"""

from __future__ import annotations

from typing import Final

_CONFIRMED: Final = 3
"""Frames in a row that must have come as quickly for a delay to be believed: one frame dated ahead
of its time must not make every true one after it late."""
DRIFT: Final = 2e-4
"""Rate at which the measure rises by itself: four times what a free-running quartz is off."""


class Lateness:
    """
    Smallest delay that several frames in a row had, so far.

    A delay is receipt minus venue time in ns: travel and the offset between the clocks.
    """

    __slots__ = ("_at_ns", "_last", "_least_ns")

    def __init__(self) -> None:
        self._last: tuple[int, ...] = ()
        self._least_ns: int | None = None
        self._at_ns = 0

    def observe(self, delay_ns: int, recv_ns: int) -> None:
        """Follow one frame."""
        self._last = last = (*self._last[1 - _CONFIRMED :], delay_ns)
        if len(last) < _CONFIRMED:
            return
        least_ns = self._least_ns
        if least_ns is not None and recv_ns > self._at_ns:
            least_ns += int((recv_ns - self._at_ns) * DRIFT)
        confirmed_ns = max(last)
        if least_ns is None or confirmed_ns < least_ns:
            least_ns = confirmed_ns
        self._least_ns, self._at_ns = least_ns, recv_ns

    def reconnect(self) -> None:
        """The next frame is no neighbour of the last one."""
        self._last = ()

    def shift(self, step_ns: int) -> None:
        """Our clock was set, forward by `step_ns`: every later delay is larger by as much."""
        self._last = tuple(delay_ns + step_ns for delay_ns in self._last)
        self._at_ns += step_ns
        if self._least_ns is not None:
            self._least_ns += step_ns

    @property
    def least_ns(self) -> int | None:
        """The measure; None before a few frames."""
        return self._least_ns
