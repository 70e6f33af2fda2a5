"""The outcome of a comparison as JSON for programs and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mmbot.runtime.lab.measure import Figure, Outcome, interval
from mmbot.runtime.lab.runner import Plan

_COLUMNS: Final = (
    ("fills", "fills", ".1f"),
    ("max q", "max_q_frac", ".2f"),
    ("end q", "final_q_frac", ".2f"),
    ("opposed", "opposed_frac", ".0%"),
    ("adv 1s", "markout_1s_bps", "+.2f"),
    ("adv 5s", "markout_5s_bps", "+.2f"),
    ("adv 30s", "markout_30s_bps", "+.2f"),
    ("dd %", "max_drawdown_pct", ".2f"),
    ("bid on", "quoted_frac_bid", ".0%"),
    ("ask on", "quoted_frac_ask", ".0%"),
    ("calm both", "two_sided_calm_frac", ".0%"),
    ("requests", "requests", ".0f"),
    ("trips", "kill_trips", ".2f"),
)


def as_json(plan: Plan, found: Mapping[str, Outcome]) -> dict[str, Any]:
    """`scenario`, `seeds`, `variants.<name>.<metric>.{mean, se, sd, p05, p50, p95, worst}`."""
    return {
        "scenario": plan.scenario,
        "seeds": plan.seeds,
        "first_seed": plan.first_seed,
        "minutes": plan.minutes,
        "is_mirrored": plan.is_mirrored,
        "latency_ms": plan.latency_ms,
        "market": plan.overrides,
        "variants": {
            name: {key: msgspec.to_builtins(one) for key, one in outcome.metrics.items()}
            for name, outcome in found.items()
        },
    }


def lines(plan: Plan, found: Mapping[str, Outcome]) -> list[str]:
    """One row a variant; money in USD a session, intervals at 95 %."""
    head = f"{'variant':<14}{'profit':>9}{'sd':>7}{'worst 5%':>10}{'against base':>22}"
    head += "".join(f"{title:>10}" for title, _, _ in _COLUMNS)
    out = [
        f"{plan.scenario}: {plan.seeds} seeds from {plan.first_seed}, {plan.minutes:g} minutes, "
        f"orders arrive after {plan.latency_ms} ms" + (", mirrored" if plan.is_mirrored else ""),
        head,
    ]
    for name, outcome in found.items():
        metrics = outcome.metrics
        pnl = metrics["pnl_usd"]
        row = f"{name:<14}{_text(pnl.mean, '+.3f'):>9}{_text(pnl.sd, '.2f'):>7}"
        row += f"{_text(pnl.worst, '+.2f'):>10}{_against(metrics.get('pnl_diff_usd')):>22}"
        row += "".join(f"{_text(metrics[key].mean, spec):>10}" for _, key, spec in _COLUMNS)
        out.append(row)
    return out


def _against(diff: Figure | None) -> str:
    bounds = None if diff is None else interval(diff)
    if diff is None or diff.mean is None or bounds is None:
        return "-"
    return f"{diff.mean:+.3f} [{bounds[0]:+.2f},{bounds[1]:+.2f}]"


def _text(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
