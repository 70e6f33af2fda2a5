"""
Latency of an order on its way in and of market data on its way out, drawn from a seed.

Both are log-normal, given by their median and 99th percentile: measured delays have a long right
tail and never go below a physical least. Scaling both figures scales every draw, so that runs at
different latencies stay paired.

Sources: Hyperliquid docs, "API latency" (end to end 0.2 s in the median, 0.9 s at the 99th
percentile); protocol notes 5.4 (`bbo` about 0.25 s old on arrival).
"""

from __future__ import annotations

from math import exp, log
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_MS

_Z_99 = 2.3263478740408408
"""99th percentile of the standard normal distribution."""

_BLOCK = 1024


class LatencyParams(BaseModel):
    """Delays between our process and the venue."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    order_median_ms: float = Field(
        200.0, ge=0, le=60_000, description="Order entry until it is executed, median, ms."
    )
    order_p99_ms: float = Field(
        900.0, ge=0, le=600_000, description="Order entry, 99th percentile, ms."
    )
    data_median_ms: float = Field(
        250.0, ge=0, le=60_000, description="Age of market data on arrival, median, ms."
    )
    data_p99_ms: float = Field(
        600.0, ge=0, le=600_000, description="Age of market data, 99th percentile, ms."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("order", "data"):
            median_ms: float = getattr(self, f"{name}_median_ms")
            p99_ms: float = getattr(self, f"{name}_p99_ms")
            if p99_ms < median_ms:
                msg = (
                    f"{name}_p99_ms = {p99_ms:g} is below {name}_median_ms = {median_ms:g}; "
                    "raise the one or lower the other"
                )
                raise ValueError(msg)
            if median_ms == 0 < p99_ms:
                msg = (
                    f"{name}_median_ms = 0 leaves no spread, but {name}_p99_ms = {p99_ms:g}; "
                    "set both to 0 or the median above it"
                )
                raise ValueError(msg)
        return self

    @classmethod
    def constant(cls, *, order_ms: float, data_ms: float) -> Self:
        """Delays without spread."""
        return cls(
            order_median_ms=order_ms,
            order_p99_ms=order_ms,
            data_median_ms=data_ms,
            data_p99_ms=data_ms,
        )

    def scaled(self, factor: float) -> Self:
        """Every delay times `factor`; with the same seed the draws stay paired."""
        return type(self)(**{name: value * factor for name, value in self.model_dump().items()})


class Delay:
    """
    Draws of one delay: `median * exp(s z)`, `s = ln(p99 / median) / 2.326`.

    Calling it gives whole nanoseconds, never below zero. Overtaking is the caller's matter: a
    stream keeps its order however the draws fall.
    """

    __slots__ = ("_draws", "_index", "_median_ns", "_rng", "_spread")

    def __init__(self, median_ms: float, p99_ms: float, rng: np.random.Generator) -> None:
        self._median_ns = median_ms * NS_PER_MS
        self._spread = log(p99_ms / median_ms) / _Z_99 if median_ms > 0 else 0.0
        self._rng = rng
        self._draws: list[float] = []
        self._index = 0

    def __call__(self) -> int:
        """The next delay, ns."""
        if self._index == len(self._draws):
            self._draws = self._rng.standard_normal(_BLOCK).tolist()
            self._index = 0
        z = self._draws[self._index]
        self._index += 1
        return int(self._median_ns * exp(self._spread * z))


class Latency:
    """The two delays of a run, each with its own stream of random numbers."""

    def __init__(self, params: LatencyParams, seed: int) -> None:
        order, data = np.random.SeedSequence(seed).spawn(2)
        self.order_ns = Delay(
            params.order_median_ms, params.order_p99_ms, np.random.default_rng(order)
        )
        """Order entry: from our send to the execution."""
        self.data_ns = Delay(params.data_median_ms, params.data_p99_ms, np.random.default_rng(data))
        """Market data: from the venue's change to our read."""
