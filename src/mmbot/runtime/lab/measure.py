"""
What a session is judged by, and what many sessions say together.

Costs are positive: a markout above zero went against us. Differences are paired: the same seed is
the same market, whoever quotes in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import Final

import msgspec
import numpy as np

REFERENCE: Final = "base"
"""The variant that differences are taken to."""
_Z95: Final = 1.959963984540054
_WORST: Final = 0.05


class Outcome(msgspec.Struct, frozen=True):
    """
    One session. None marks what the session had no case of.

    `final_lots` is signed; everything else of a position is a size over its limit. Times are
    shares of the session.
    """

    seed: int
    pnl_usd: float
    """Change of equity at the mid, after fees and funding."""
    final_lots: int
    final_q_frac: float
    max_q_frac: float
    fills: int
    opposed_frac: float
    """Time in which a trend opposed the position."""
    markout_1s_bps: float | None
    markout_5s_bps: float | None
    markout_30s_bps: float | None
    max_drawdown_pct: float
    """Of peak equity, at the lower of mid and mark."""
    quoted_frac_bid: float
    quoted_frac_ask: float
    calm_two_sided_frac: float | None
    """Share of the time below a fifth of the position limit in which both sides had an order."""
    requests: int
    refused: int
    kill_trips: int
    """How many of the loss and drawdown limits were met, whether or not they end a run."""
    length_s: float
    luck_usd: float | None = None
    """Gain of the position by moves that could not be foreseen: of mean zero whoever quotes."""


METRICS: Final = (
    "pnl_usd",
    "luck_usd",
    "max_q_frac",
    "final_q_frac",
    "fills",
    "opposed_frac",
    "markout_1s_bps",
    "markout_5s_bps",
    "markout_30s_bps",
    "max_drawdown_pct",
    "quoted_frac_bid",
    "quoted_frac_ask",
    "calm_two_sided_frac",
    "requests",
    "refused",
    "kill_trips",
)
DIFFERENCE: Final = "pnl_diff_usd"


class Figure(msgspec.Struct, frozen=True):
    """A metric over the sessions that have it; None where none has, `se` needs two."""

    mean: float | None
    se: float | None
    p05: float | None
    p50: float | None
    p95: float | None

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of the mean."""
        return None if self.se is None else _Z95 * self.se


def figure(values: Sequence[float | None]) -> Figure:
    """Mean, its standard error, and percentiles (linear between ranks)."""
    there = np.array([value for value in values if value is not None], dtype=np.float64)
    if not there.size:
        return Figure(None, None, None, None, None)
    low, middle, high = np.percentile(there, (5, 50, 95)).tolist()
    se = float(there.std(ddof=1)) / sqrt(there.size) if there.size > 1 else None
    return Figure(float(there.mean()), se, low, middle, high)


def worst_mean(values: Sequence[float]) -> float:
    """Mean of the worst 5 % of values, of one at least."""
    count = max(1, ceil(_WORST * len(values) - 1e-9))
    return float(np.sort(np.array(values))[:count].mean())


class VariantReport(msgspec.Struct, frozen=True):
    """One variant over all seeds."""

    name: str
    figures: dict[str, Figure]
    pnl_sd_usd: float | None
    pnl_worst_usd: float
    """Mean of the worst 5 % of sessions."""
    half_spread_bps: float | None = None
    """Where it was solved for: the width of the control."""


class LabReport(msgspec.Struct, frozen=True):
    """What `mmbot lab` measured."""

    scenario: str
    seeds: int
    first_seed: int
    minutes: float
    variants: dict[str, VariantReport]


def summarise(
    name: str,
    outcomes: Sequence[Outcome],
    reference: Sequence[Outcome],
    *,
    half_spread_bps: float | None = None,
) -> VariantReport:
    """
    One variant against the reference, seed by seed.

    Raises:
        ValueError: The seeds of the two differ.
    """
    if [it.seed for it in outcomes] != [it.seed for it in reference]:
        msg = f"{name} and {REFERENCE} ran on different seeds: nothing can be paired"
        raise ValueError(msg)
    figures = {
        metric: figure([getattr(outcome, metric) for outcome in outcomes]) for metric in METRICS
    }
    figures[DIFFERENCE] = figure(
        [ours.pnl_usd - theirs.pnl_usd for ours, theirs in zip(outcomes, reference, strict=True)]
    )
    pnl = [outcome.pnl_usd for outcome in outcomes]
    sd = float(np.std(pnl, ddof=1)) if len(pnl) > 1 else None
    return VariantReport(name, figures, sd, worst_mean(pnl), half_spread_bps)


def to_json(report: LabReport) -> dict[str, object]:
    """
    The report as a program reads it: `variants.<name>.<metric>.{mean,se,p05,p50,p95}`.

    Beside the metrics of each variant stand the deviation of its profit and the mean of its worst
    5 % of sessions.
    """
    variants: Mapping[str, VariantReport] = report.variants
    return {
        "scenario": report.scenario,
        "seeds": report.seeds,
        "variants": {
            name: {
                **{metric: msgspec.to_builtins(it) for metric, it in variant.figures.items()},
                "pnl_sd_usd": variant.pnl_sd_usd,
                "pnl_worst_usd": variant.pnl_worst_usd,
                "half_spread_bps": variant.half_spread_bps,
            }
            for name, variant in variants.items()
        },
    }
