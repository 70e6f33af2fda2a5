"""
Nonces: one strictly rising counter per signing key, in milliseconds.

Source: Hyperliquid docs, "Nonces and API wallets": the venue keeps the 100 highest nonces of a
signer as a floor, refuses duplicates and accepts from two days before to one day after its clock.
"""

from __future__ import annotations

from typing import Final

_TAKES_MS: Final = 86_400_000 - 600_000
"""What lies further ahead of its clock the venue has refused: a day, and ten minutes for how well
its clock is known."""
_AHEAD_MS: Final = 43_200_000
"""How far ahead of the venue a clock is followed. Half a day is well inside what it accepts, and
leaves two and a half days of silence before it falls below."""


class Nonces:
    """
    Source of nonces for one signing key; two processes must never share a key.

    Args:
        floor_ms: No nonce at or below this is given out (the high-water mark of an earlier run).

    Attributes:
        given_ms: The newest nonce given out; 0 before the first.
        heard_ms: The venue's newest time; 0 while it is not known, and the clock is believed.
    """

    __slots__ = ("_last_ms", "given_ms", "heard_ms")

    def __init__(self, floor_ms: int = 0) -> None:
        self._last_ms = floor_ms
        self.given_ms = 0
        self.heard_ms = 0

    def hear(self, venue_ms: int) -> bool:
        """
        Take the venue's clock; True if what was given out or kept was too high for it.

        A clock that was a day ahead for a moment would otherwise leave nonces behind that the venue
        refuses until it has caught up with them. It took none of those, so they are forgotten.
        """
        self.heard_ms = max(self.heard_ms, venue_ms)
        if self._last_ms <= self.heard_ms + _TAKES_MS:
            return False
        self._last_ms = self.heard_ms + _AHEAD_MS
        return True

    def next(self, now_ms: int) -> int:
        """
        Return the next nonce: the clock, or one more than the last where the clock lags.

        A clock set back never repeats a nonce, and after idle time the counter is at the clock
        again, so it cannot fall below the venue's floor. A clock set far ahead is not followed
        beyond what the venue accepts, once its own is known.
        """
        if self.heard_ms:
            now_ms = min(now_ms, self.heard_ms + _AHEAD_MS)
        self.given_ms = self._last_ms = max(self._last_ms + 1, now_ms)
        return self._last_ms
