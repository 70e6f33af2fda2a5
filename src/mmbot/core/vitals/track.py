"""How long a figure has been wrong, and what that is called."""

from __future__ import annotations

from mmbot.core.types import NS_PER_S
from mmbot.core.vitals.expectation import DELETIONS, Expectation, Kind, Reading

_MEND = 2.0
"""What is right again mends twice as fast as it broke: one good second proves little."""

_IDLE_MEND = 0.1
"""A term that need not act and does not says next to nothing for itself."""

_STEP_S_MAX = 2.0
"""A gap between records proves no more than two seconds of it."""

_STILL_S = 15.0
_ZERO = 0.02


def is_within(reading: Reading, expectation: Expectation) -> bool:
    """Whether a figure is inside its band; the band of a negative one is the mirror image."""
    observed, expected = reading.observed, reading.expected
    if expected < 0:
        observed, expected = -observed, -expected
    slack = expectation.slack + reading.slack
    if observed < expected / expectation.factor - slack:
        return False
    return expectation.is_least or observed <= expected * expectation.factor + slack


class Track:
    """One figure over time: seconds it was wrong, and since when it stands still."""

    __slots__ = ("_changed_ns", "_last_ns", "_range", "_value", "is_raised", "since_ns", "wrong_s")

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._value: float | None = None
        self._changed_ns = 0
        self._range = (0.0, 0.0)
        self.wrong_s = 0.0
        self.since_ns = 0
        self.is_raised = False

    def take(self, now_ns: int, reading: Reading, expectation: Expectation) -> Kind | None:
        """Take one reading; how it is wrong when it has just been so for long enough."""
        last_ns, self._last_ns = self._last_ns, now_ns
        dt_s = 1.0 if last_ns is None else min(_STEP_S_MAX, (now_ns - last_ns) / NS_PER_S)
        observed, expected = reading.observed, reading.expected
        if observed != self._value:
            self._value, self._changed_ns = observed, now_ns
            self._range = (expected, expected)
        low, high = self._range
        if not low <= expected <= high:
            self._range = (min(low, expected), max(high, expected))
        if is_within(reading, expectation):
            is_idle = max(abs(observed), abs(expected)) <= expectation.slack + reading.slack
            mend = _IDLE_MEND if is_idle and not self.is_raised else _MEND
            self.wrong_s = max(0.0, self.wrong_s - mend * dt_s)
            self.is_raised = self.is_raised and self.wrong_s > 0
            return None
        if self.wrong_s == 0:
            self.since_ns = now_ns
        # Bounded, so that what was wrong for an hour can be seen to be right again.
        self.wrong_s = min(self.wrong_s + dt_s, 2 * expectation.patience_s)
        if self.is_raised or self.wrong_s < expectation.patience_s:
            return None
        self.is_raised = True
        return self._kind(now_ns, reading, expectation)

    def _kind(self, now_ns: int, reading: Reading, expectation: Expectation) -> Kind:
        observed, expected = reading.observed, reading.expected
        slack = expectation.slack + reading.slack
        low, high = self._range
        if expectation.term in DELETIONS:
            return Kind.DELETED
        if abs(observed) <= min(_ZERO * abs(expected), slack or 1.0):
            return Kind.DEAD
        still_s = (now_ns - self._changed_ns) / NS_PER_S
        is_news = high - low > slack
        if still_s >= _STILL_S and is_news:
            return Kind.CONSTANT
        is_opposite = observed * expected < 0 and abs(expected) > slack
        return Kind.WRONG_SIGN if is_opposite else Kind.WRONG_SIZE
