"""Ctrl+C with twenty orders resting, at a venue whose replies take half a second or a whole one."""

from __future__ import annotations

import pytest

from runtime.stopping import LIMITS_S, RESTING, Way, stop_once

ROUNDS = 4


@pytest.mark.parametrize("reply_s", LIMITS_S)
@pytest.mark.parametrize("way", Way)
def test_twenty_orders_are_gone_by_the_venues_word_in_time(way: Way, reply_s: float) -> None:
    """`benchmarks/sigint.py` does it a hundred times each; simulated time, so exact."""
    rounds = [stop_once(seed, way, reply_s) for seed in range(1, ROUNDS + 1)]

    assert [one.faults for one in rounds] == [()] * ROUNDS
    assert min(one.rested for one in rounds) >= RESTING
    assert max(one.verified_s for one in rounds) < LIMITS_S[reply_s]
    # One way of the line, and nothing else, stands between the signal and an empty book.
    line_s = reply_s / 2 if way is Way.LINE else 0.0
    assert max(one.gone_s for one in rounds) <= line_s + 0.05
    # An end that is quicker than an answer and a look has not looked.
    assert min(one.verified_s for one in rounds) >= reply_s


def test_the_rounds_are_of_moments_with_requests_under_way_as_well() -> None:
    """The hard ones: an order that is being moved while the cancel leaves."""
    rounds = [stop_once(seed, Way.LINE, 1.0) for seed in range(1, 2 * ROUNDS + 1)]

    assert any(one.is_moving for one in rounds)
