"""How long answers took, and how old prices and fills were when they came."""

from __future__ import annotations

import msgspec
import numpy as np

from mmbot.runtime.report.facts import Facts


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of a latency, ms."""

    what: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def latencies(facts: Facts) -> list[Percentiles]:
    """Answers by kind of request, and the age of prices and of our own fills on arrival."""
    found = []
    for what, values in (
        *((f"{request} to its verdict", ms) for request, ms in facts.answers_ms.items()),
        ("price to us (our clock less the venue's)", facts.feed_ms),
        ("fill to us (our clock less the venue's)", facts.news_ms),
    ):
        if not values:
            continue
        p50, p90, p99 = (float(v) for v in np.percentile(values, (50, 90, 99)))
        found.append(
            Percentiles(
                what=what,
                count=len(values),
                p50_ms=p50,
                p90_ms=p90,
                p99_ms=p99,
                max_ms=float(max(values)),
            )
        )
    return found
