"""From sessions to figures: means with their errors, quantiles, and differences pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

import msgspec
import numpy as np

from mmbot.runtime.lab.session import Result

METRICS: Final = tuple(name for name in Result.__struct_fields__ if name != "signed_q_frac")
REFERENCE: Final = "base"
_Z95: Final = 1.96
_WORST_FRAC: Final = 0.05


class Figure(msgspec.Struct, frozen=True):
    """One metric over the seeds; None where no session had it."""

    mean: float | None
    se: float | None
    sd: float | None
    p05: float | None
    p50: float | None
    p95: float | None
    worst: float | None
    """Mean of the worst 5 % (the lowest) of the sessions."""


class Outcome(msgspec.Struct, frozen=True):
    """All metrics of one variant, and its profit against `base` on the same markets."""

    metrics: dict[str, Figure]


def figure(values: Sequence[float | None]) -> Figure:
    """The distribution of one metric; sessions without it are left out."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return Figure(None, None, None, None, None, None, None)
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    p05, p50, p95 = (float(q) for q in np.percentile(known, [5, 50, 95]))
    few = max(1, int(_WORST_FRAC * len(known)))
    return Figure(
        mean=float(known.mean()),
        se=None if sd is None else sd / sqrt(len(known)),
        sd=sd,
        p05=p05,
        p50=p50,
        p95=p95,
        worst=float(np.sort(known)[:few].mean()),
    )


def outcomes(results: Mapping[str, Sequence[Result]]) -> dict[str, Outcome]:
    """
    Figures per variant; `pnl_diff_usd` is against `base`, seed by seed, where `base` was run.
    """
    base = results.get(REFERENCE)
    found = {}
    for name, sessions in results.items():
        metrics = {key: figure([getattr(one, key) for one in sessions]) for key in METRICS}
        if base is not None:
            pairs = zip(sessions, base, strict=True)
            metrics["pnl_diff_usd"] = figure([one.pnl_usd - ref.pnl_usd for one, ref in pairs])
        found[name] = Outcome(metrics)
    return found


def interval(one: Figure) -> tuple[float, float] | None:
    """95 % interval of the mean; None with less than two sessions."""
    if one.mean is None or one.se is None:
        return None
    return one.mean - _Z95 * one.se, one.mean + _Z95 * one.se
