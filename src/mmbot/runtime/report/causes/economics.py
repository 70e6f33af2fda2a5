"""What the fills cost: fees that are not those of the quote, quotes too tight, orders too large."""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np

from mmbot.core.risk import POSITION_PER_CAPITAL_MAX
from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.causes.base import Case, Cause, Evidence, Rule
from mmbot.runtime.report.facts import Fill

_FEE_BPS: Final = 0.05
"""Difference of a fee that is no rounding."""
_FEE_FILLS: Final = 3
_EVENTS: Final = 12
_EDGE_S: Final = (1, 5, 30)
_ERRORS: Final = 3.0
_EDGE_BPS: Final = 1.0
_SWEEP_FRAC: Final = 0.35
_X_MAX: Final = 1.02
_OVER_LIMIT: Final = 1.15
"""A price that moved makes a full position worth more than its limit."""


def fee(case: Case) -> list[Cause]:
    """The fee that was charged is not the one that was quoted with."""
    facts, ladders = case.facts, case.facts.ladders
    fills = [fill for fill in facts.fills if not fill.is_taker and not fill.is_forced]
    if ladders is None or len(fills) < _FEE_FILLS:
        return []
    paid = sum(fill.fee_usd for fill in fills) / sum(fill.sz * fill.px for fill in fills) * 1e4
    at_ns = np.array([fill.at_ns for fill in fills], np.float64)
    found = np.searchsorted(ladders["at_ns"], at_ns, side="right") - 1
    quoted = float(np.nanmean(ladders["fee_bps"][np.maximum(found, 0)]))
    if abs(paid - quoted) < _FEE_BPS:
        return []
    over = sum(fill.sz * fill.px for fill in fills) * (paid - quoted) * 1e-4
    return [
        Cause(
            name="fee",
            title="The quotes were made with the wrong fee",
            text=f"The venue charged {paid:.2f} bps, the quotes counted on {quoted:.2f}: "
            f"{over:+.2f} USD over {len(fills)} fills.",
            strength=10.0 + abs(paid - quoted) / _FEE_BPS / 10,
            evidence=(
                Evidence("charged", paid, "bps"),
                Evidence("quoted with", quoted, "bps"),
                Evidence("difference", over, "USD"),
            ),
            at_ns=fills[0].at_ns,
            where=fills[0].where,
        )
    ]


def tight(case: Case) -> list[Cause]:
    """Fills that lost, surely, after their fees: the quotes stood too close."""
    fills = [
        fill
        for fill in case.facts.fills
        if not fill.is_taker and not fill.is_forced and fill.mid_px is not None
    ]
    if case.facts.mids is None or not fills:
        return []
    # Near the fill the noise is small, later the whole move is seen: what is surer counts.
    edges = [_edge(case, fills, horizon_s) for horizon_s in _EDGE_S]
    edge = min(edges, key=lambda each: each.errors)
    if edge.events < _EVENTS or edge.mean_bps > -_EDGE_BPS or edge.errors > -_ERRORS:
        return []
    usd = sum(fill.sz * fill.px for fill in fills)
    captured = sum(fill.side * ((fill.mid_px or fill.px) - fill.px) * fill.sz for fill in fills)
    captured_bps = captured / usd * 1e4
    fee_bps = sum(fill.fee_usd for fill in fills) / usd * 1e4
    lost = edge.mean_bps * usd * 1e-4
    return [
        Cause(
            name="tight",
            title="The quotes were too tight for this market",
            text=f"A fill stood {captured_bps:.1f} bps from the mid and paid {fee_bps:.1f} of fee; "
            f"within {edge.horizon_s} s the price had moved so far against it that "
            f"{-edge.mean_bps:.1f} bps were lost ({-edge.errors:.1f} times its error). "
            "`mmbot check --widths` says which width pays.",
            strength=2.0 + edge.errors / -_ERRORS,
            evidence=(
                Evidence(f"edge after fees at {edge.horizon_s} s", edge.mean_bps, "bps"),
                Evidence("in errors of it", edge.errors, ""),
                Evidence("captured", captured_bps, "bps"),
                Evidence("lost", lost, "USD"),
                Evidence("events", float(edge.events), ""),
            ),
            at_ns=fills[0].at_ns,
            where=fills[0].where,
        )
    ]


class _Edge(NamedTuple):
    """Mean edge of the events of fills at a horizon, each message one event."""

    horizon_s: int
    events: int
    mean_bps: float
    errors: float


def _edge(case: Case, fills: list[Fill], horizon_s: int) -> _Edge:
    mids = case.facts.mids
    assert mids is not None
    after = mids.at([fill.at_ns + horizon_s * NS_PER_S for fill in fills])
    events: dict[tuple[int, int], tuple[float, float]] = {}
    for fill, mid in zip(fills, after.tolist(), strict=True):
        usd, edge = events.get((fill.venue_ms, fill.side), (0.0, 0.0))
        gained = fill.side * (mid - fill.px) * fill.sz - fill.fee_usd
        events[fill.venue_ms, fill.side] = usd + fill.sz * fill.px, edge + gained
    table = np.array(list(events.values()), np.float64)
    edge_bps = table[:, 1] / table[:, 0] * 1e4
    if len(edge_bps) < 2:
        return _Edge(horizon_s, len(edge_bps), 0.0, 0.0)
    mean = float(np.mean(edge_bps))
    error = float(np.std(edge_bps, ddof=1)) / sqrt(len(edge_bps))
    return _Edge(horizon_s, len(edge_bps), mean, mean / error if error > 0 else 0.0)


def size(case: Case) -> list[Cause]:
    """Orders or position out of proportion to the limit or to the account."""
    ladders = case.facts.ladders
    if ladders is None or not len(ladders):
        return []
    x_max = float(np.nanmax(np.abs(ladders["q_frac"])))
    limit_sz = float(np.nanmedian(ladders["q_max_sz"]))
    largest = max(case.sweeps, key=lambda sweep: sweep.added_sz, default=None)
    swept = largest.added_sz / limit_sz if largest is not None and limit_sz > 0 else 0.0
    equity = case.whole.equity_start_usd or 0.0
    held_usd = x_max * limit_sz * float(np.nanmedian(ladders["mid_px"]))
    leverage = held_usd / equity if equity > 0 else 0.0
    # What was held at the start is told by its own rule.
    start = abs(case.whole.start_position_sz) / limit_sz if limit_sz > 0 else 0.0
    over = {
        "sweep": swept / _SWEEP_FRAC,
        "limit": x_max / _X_MAX if start < 1.0 else 0.0,
        "leverage": leverage / (_OVER_LIMIT * _allowed(case, equity)),
    }
    worst = max(over, key=lambda name: over[name])
    if over[worst] < 1.0:
        return []
    texts = {
        "sweep": f"One sweep added {swept:.0%} of the position limit in one block, before anything "
        "could react: only smaller orders bound that (risk.side_budget_frac).",
        "limit": f"The position reached {x_max:.0%} of its limit.",
        "leverage": f"The position was worth {leverage:.1f} times the account.",
    }
    peak = int(np.nanargmax(np.abs(ladders["q_frac"])))
    is_sweep = worst == "sweep" and largest is not None
    return [
        Cause(
            name="size",
            title="Orders or position were too large",
            text=texts[worst],
            strength=2.0 + 2.0 * over[worst],
            evidence=(
                Evidence("most that one sweep added", swept * 100, "% of the limit"),
                Evidence("largest position", x_max * 100, "% of the limit"),
                Evidence("of the account", leverage, "times"),
            ),
            at_ns=largest.at_ns if is_sweep and largest else int(ladders["at_ns"][peak]),
            where=largest.where if is_sweep and largest else "",
        )
    ]


def _allowed(case: Case, equity_usd: float) -> float:
    """How many times the account the position may be worth, by the limit that was in force."""
    told = [each.facts.get("q_max_usd") for each in case.facts.named("session.started")]
    if not told or told[0] is None or equity_usd <= 0:
        return POSITION_PER_CAPITAL_MAX
    return max(1e-9, float(told[0]) / equity_usd)


RULES: Final[tuple[Rule, ...]] = (fee, tight, size)
