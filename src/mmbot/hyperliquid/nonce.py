"""
Nonces: one strictly rising counter per signing key, in milliseconds.

Source: Hyperliquid docs, "Nonces and API wallets": the venue keeps the 100 highest nonces of a
signer as a floor, refuses duplicates and accepts from two days before to one day after its clock.
"""

from __future__ import annotations


class Nonces:
    """
    Source of nonces for one signing key; two processes must never share a key.

    Args:
        floor_ms: No nonce at or below this is given out (the high-water mark of an earlier run).
    """

    __slots__ = ("_last_ms",)

    def __init__(self, floor_ms: int = 0) -> None:
        self._last_ms = floor_ms

    @property
    def last_ms(self) -> int:
        """The newest nonce given out, or the floor."""
        return self._last_ms

    def next(self, now_ms: int) -> int:
        """
        Return the next nonce: the clock, or one more than the last where the clock lags.

        A clock set back never repeats a nonce, and after idle time the counter is at the clock
        again, so it cannot fall below the venue's floor.
        """
        self._last_ms = max(self._last_ms + 1, now_ms)
        return self._last_ms
