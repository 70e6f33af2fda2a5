"""Nonces: strictly rising, whatever the clock does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.hyperliquid.nonce import Nonces


@settings(deadline=None)
@given(
    floor=st.integers(0, 2**42),
    clocks=st.lists(st.integers(0, 2**42), min_size=1, max_size=50),
)
def test_nonces_rise_strictly_under_any_clock(floor: int, clocks: list[int]) -> None:
    """The venue refuses a repeated nonce, so a clock set back must not repeat one."""
    nonces = Nonces(floor)

    given_out = [nonces.next(now) for now in clocks]

    assert all(a < b for a, b in zip([floor, *given_out], given_out, strict=False))
    assert nonces.given_ms == given_out[-1]


def test_nonce_is_the_clock_when_the_clock_is_ahead() -> None:
    """After idle time the counter must be near the venue's clock, or it falls out of its window."""
    nonces = Nonces()

    assert [nonces.next(1_000), nonces.next(1_000), nonces.next(9_000)] == [1_000, 1_001, 9_000]
