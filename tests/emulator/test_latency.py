"""Delays come from a seed, have the median and the tail they are given, and scale together."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mmbot.core.types import NS_PER_MS
from mmbot.emulator.latency import Latency, LatencyParams

DRAWS = 20_000


def drawn_ms(params: LatencyParams, seed: int = 1) -> np.ndarray:
    latency = Latency(params, seed)
    return np.array([latency.order_ns() for _ in range(DRAWS)]) / NS_PER_MS


def test_median_and_tail_are_the_ones_asked_for() -> None:
    """A latency model with the wrong tail hides the fills that come while a cancel travels."""
    delays_ms = drawn_ms(LatencyParams(order_median_ms=200, order_p99_ms=900))

    assert np.median(delays_ms) == pytest.approx(200, rel=0.03)
    assert np.percentile(delays_ms, 99) == pytest.approx(900, rel=0.06)
    assert delays_ms.min() > 0


def test_the_same_seed_gives_the_same_delays() -> None:
    """A run repeats to the nanosecond, and another seed does not."""
    params = LatencyParams()

    assert drawn_ms(params, 3).tolist() == drawn_ms(params, 3).tolist()
    assert drawn_ms(params, 3).tolist() != drawn_ms(params, 4).tolist()


def test_doubling_the_latency_doubles_every_delay() -> None:
    """Runs at two latencies differ by the latency alone, so their difference is paired."""
    params = LatencyParams()

    once, twice = drawn_ms(params), drawn_ms(params.scaled(2))

    assert np.abs(twice - 2 * once).max() < 1e-5


def test_orders_and_data_draw_from_streams_of_their_own() -> None:
    """How often data is asked for must not change when orders arrive."""
    alone, mixed = Latency(LatencyParams(), 7), Latency(LatencyParams(), 7)
    orders = [alone.order_ns() for _ in range(50)]

    with_data = []
    for _ in range(50):
        mixed.data_ns()
        with_data.append(mixed.order_ns())

    assert with_data == orders


def test_a_constant_latency_has_no_spread() -> None:
    """A test that wants to know when an order arrives can."""
    latency = Latency(LatencyParams.constant(order_ms=50, data_ms=0), 1)

    assert {latency.order_ns() for _ in range(100)} == {50 * NS_PER_MS}
    assert {latency.data_ns() for _ in range(100)} == {0}


@pytest.mark.parametrize(
    ("median_ms", "p99_ms", "named"),
    [(100, 99, "order_p99_ms = 99"), (0, 10, "order_median_ms = 0"), (-1, 10, "order_median_ms")],
)
def test_a_tail_that_cannot_be_is_refused(median_ms: float, p99_ms: float, named: str) -> None:
    """The message names the figure to change."""
    with pytest.raises(ValidationError, match=named):
        LatencyParams(order_median_ms=median_ms, order_p99_ms=p99_ms)
