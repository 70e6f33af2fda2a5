"""What the fills cost: fees that are not those of the quote, quotes too tight, orders too large."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
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
_BLOCK_S: Final = 10
_FALSE_P: Final = 0.001
"""Share of runs with an edge of exactly nothing that may be named, over all horizons together."""
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
    at_ns = np.array([fill.at_ns for fill in fills], np.float64)
    found = np.searchsorted(ladders["at_ns"], at_ns, side="right") - 1
    counted_on = ladders["fee_bps"][np.maximum(found, 0)]
    usd = np.array([fill.sz * fill.px for fill in fills], np.float64)
    charged = np.array([fill.fee_usd for fill in fills], np.float64) / usd * 1e4
    known = np.isfinite(counted_on)
    if known.sum() < _FEE_FILLS:
        return []
    # The same weights for both: a tier that changes in the middle changes both at once.
    paid = float(np.average(charged[known], weights=usd[known]))
    quoted = float(np.average(counted_on[known], weights=usd[known]))
    if abs(paid - quoted) < _FEE_BPS:
        return []
    over = float(usd[known].sum()) * (paid - quoted) * 1e-4
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
    if edge.blocks < _EVENTS or edge.mean_bps > -_EDGE_BPS:
        return []
    wanted = _student(_FALSE_P / len(_EDGE_S), edge.blocks - 1)
    if edge.errors > -wanted:
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
            strength=2.0 + edge.errors / -wanted,
            evidence=(
                Evidence(f"edge after fees at {edge.horizon_s} s", edge.mean_bps, "bps"),
                Evidence("in errors of it", edge.errors, ""),
                Evidence("captured", captured_bps, "bps"),
                Evidence("lost", lost, "USD"),
                Evidence("blocks of time with fills", float(edge.blocks), ""),
            ),
            at_ns=fills[0].at_ns,
            where=fills[0].where,
        )
    ]


class _Edge(NamedTuple):
    """Mean edge of a fill at a horizon, each message one event, and how sure it is."""

    horizon_s: int
    blocks: int
    """Blocks of time in which something was gained or lost: what is independent."""
    mean_bps: float
    errors: float


def _edge(case: Case, fills: list[Fill], horizon_s: int) -> _Edge:
    """
    The edge of the fills over a horizon, with an error that overlapping horizons cannot shrink.

    What a fill makes is booked to the blocks of time in which the price made it. Where the price
    has no memory no two blocks have anything in common, however many fills lie in them and however
    long one side persists; the fills themselves have, for they wait for the same price.
    """
    mids = case.facts.mids
    assert mids is not None
    block_ns = max(_BLOCK_S, horizon_s) * NS_PER_S
    at_ns = np.array([fill.at_ns for fill in fills], np.int64)
    due_ns = at_ns + horizon_s * NS_PER_S
    # A horizon is no longer than a block: it ends in its own or in the next.
    edge_ns = (at_ns // block_ns + 1) * block_ns
    side = np.array([fill.side for fill in fills], np.float64)
    sz = np.array([fill.sz for fill in fills], np.float64)
    px = np.array([fill.px for fill in fills], np.float64)
    fee_usd = np.array([fill.fee_usd for fill in fills], np.float64)
    first, last = mids.at(np.minimum(due_ns, edge_ns)), mids.at(due_ns)
    # An event weighs the same whatever its size: of one message, its share of it.
    events: dict[tuple[int, int], float] = {}
    keys = [(fill.venue_ms, fill.side) for fill in fills]
    for key, usd in zip(keys, (sz * px).tolist(), strict=True):
        events[key] = events.get(key, 0.0) + usd
    scale = 1e4 / np.array([events[key] for key in keys], np.float64)
    block = at_ns // block_ns
    blocks, place = np.unique(np.concatenate([block, block + 1]), return_inverse=True)
    now_bps = (side * (first - px) * sz - fee_usd) * scale
    later_bps = side * (last - first) * sz * scale
    gains = np.bincount(place, np.concatenate([now_bps, later_bps]), len(blocks))
    is_used = np.bincount(place, np.concatenate([now_bps != 0.0, later_bps != 0.0])) > 0
    gains = gains[is_used]
    count = len(gains)
    mean_bps = float(gains.sum()) / len(events)
    if count < 2:
        return _Edge(horizon_s, count, mean_bps, 0.0)
    error = float(np.std(gains, ddof=1)) * sqrt(count)
    return _Edge(horizon_s, count, mean_bps, float(gains.sum()) / error if error > 0 else 0.0)


def _student(p: float, freedom: int) -> float:
    """
    The value that Student's t with this many degrees of freedom exceeds with probability p.

    Source: Abramowitz and Stegun (1964), 26.7.5, three terms; from ten degrees on within 2 %.
    """
    z = NormalDist().inv_cdf(1.0 - p)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


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
