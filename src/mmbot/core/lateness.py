"""
How late prices come, by the venue's own time: what a touch that is renewed steadily cannot show.

The offset between the venue's clock and ours is not known, so lateness counts from the quickest
frames of the last minutes. Clocks step and single frames carry wrong times; neither may leave the
prices "late" for good, nor make late ones look fresh.
"""

from __future__ import annotations

from typing import Final

from mmbot.core.types import NS_PER_MS, NS_PER_S

_CONFIRMED: Final = 3
"""Frames in a row that must have come as quickly for a delay to be believed."""
LEAD_NS: Final = 250 * NS_PER_MS
"""How far a frame may lie ahead of the quickest before it: half of the least `stale_pull_s`."""
WINDOW_NS: Final = 60 * NS_PER_S
"""Half of the time for which the quickest frames are remembered."""


class Lateness:
    """
    Smallest delay of one connection over a sliding window of one to two minutes.

    A delay is receipt minus venue time in ns: travel and the offset between the clocks.
    """

    __slots__ = ("_ahead", "_before_ns", "_current_ns", "_is_steady", "_last", "_turned_ns")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew with the next connection."""
        self._last: tuple[int, ...] = ()
        self._ahead: tuple[int, ...] = ()
        self._before_ns: int | None = None
        self._current_ns: int | None = None
        self._is_steady = False
        """Whether frames in a row have come alike, so that one ahead of them is an exception."""
        self._turned_ns: int | None = None

    def observe(self, delay_ns: int, recv_ns: int) -> bool:
        """
        Follow one frame; False if it must not be used.

        A frame dated ahead of all others would make every true one after it too old to use. When
        several in a row agree, it was our clock that stepped back, and they are the new measure.
        """
        self._turn(recv_ns)
        quickest_ns = self.least_ns
        if self._is_steady and quickest_ns is not None and delay_ns < quickest_ns - LEAD_NS:
            self._ahead = ahead = (*self._ahead[1 - _CONFIRMED :], delay_ns)
            if len(ahead) < _CONFIRMED or max(ahead) - min(ahead) > LEAD_NS:
                return False
            self._before_ns, self._current_ns = None, max(ahead)
            self._last, self._ahead = ahead, ()
            return True
        self._ahead = ()
        self._last = last = (*self._last[1 - _CONFIRMED :], delay_ns)
        if len(last) == _CONFIRMED:
            confirmed_ns = max(last)
            if self._current_ns is None or confirmed_ns < self._current_ns:
                self._current_ns = confirmed_ns
            if not self._is_steady:
                self._is_steady = confirmed_ns - min(last) <= LEAD_NS
        return True

    def _turn(self, recv_ns: int) -> None:
        if self._turned_ns is None:
            self._turned_ns = recv_ns
            return
        elapsed_ns = recv_ns - self._turned_ns
        if elapsed_ns >= WINDOW_NS or elapsed_ns < 0:
            self._before_ns = self._current_ns if elapsed_ns < 2 * WINDOW_NS else None
            self._current_ns = None
            self._turned_ns = recv_ns

    @property
    def least_ns(self) -> int | None:
        """Smallest delay that several frames in a row had; None before a few."""
        before_ns, current_ns = self._before_ns, self._current_ns
        if before_ns is None or current_ns is None:
            return current_ns if before_ns is None else before_ns
        return before_ns if before_ns < current_ns else current_ns
