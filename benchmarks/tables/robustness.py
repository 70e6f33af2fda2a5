"""Whether the result hangs on what nobody knows exactly: k, A, sigma, fees, queue, latency, up."""

from __future__ import annotations

from math import isclose
from typing import Final

import numpy as np
from benchmarks.tables.bands import ASKED, MEANS, Asked
from benchmarks.tables.kept import Clock, Json, Kept, number, say, shown, table, told_of
from benchmarks.tables.sampling import BLOCK, FIRST_SEED, LIMIT, Case, Lab, world
from msgspec.structs import replace

from mmbot.emulator.scenarios import SCENARIOS
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.session import Plan, run_session
from mmbot.runtime.lab.statistics import (
    Interval,
    bootstrap,
    decide,
    deviation,
    margin,
    mean,
    mean_of,
    ratio,
    worst,
)

TITLE: Final = "Robustness"
WORLDS: Final = ("two-sided", "informed-0", "informed-100", "feb24")
SCALED: Final = ("k_per_bp", "a_per_s", "sigma_bps_rt_s")
FACTORS: Final = (0.7, 1.4)
SHELL: Final = {
    "fee 1.44": "backtest.maker_fee_bps=1.44",
    "fee 2.88": "backtest.maker_fee_bps=2.88",
    "no queue": "emulator.queue=off",
    "latency 250": "emulator.latency_ms=250",
}
JITTER: Final = "market.sweep_jitter_s=60"
JITTERED: Final = ("feb24", "p38", "p77")
"""Worlds whose sweeps come at given times."""
ROUNDS: Final = 6
MIRRORED: Final = ("two-sided", "informed-50", "feb24")
_STILL: Final = {"sigma_bps_rt_s": 0.0, "px_usd": 26.2005}
_STILL_SEEDS: Final = 5
_STILL_MIN: Final = 6.0
_MOVING_SEEDS: Final = 10
_BIASED: Final = 1.53
"""Half intervals of 95 % that are three standard errors: of six rows one in sixty is beyond."""
_ROUNDED: Final = 1e-9
"""Relative; the drawdown is a sum of marks at prices that the mirror does not leave the same."""


def cases() -> list[tuple[str, str, Case]]:
    """World, setting, case; the world as it is comes first."""
    found: list[tuple[str, str, Case]] = []
    for scenario in WORLDS:
        plain = SCENARIOS[scenario].params
        found.append((scenario, "as it is", world(scenario)))
        settings = dict(SHELL)
        for key in SCALED:
            for factor in FACTORS:
                value = getattr(plain, key) * factor
                settings[f"{key.split('_')[0]} x {factor:g}"] = f"market.{key}={value:.6g}"
        for text, item in settings.items():
            name = f"{scenario}+{text}".replace(" ", "_")
            found.append((scenario, text, Case(name, scenario, (LIMIT, item))))
    for scenario in JITTERED:
        if scenario not in WORLDS:
            found.append((scenario, "as it is", world(scenario)))
        name = f"{scenario}+jitter"
        found.append((scenario, "sweeps +-60 s", Case(name, scenario, (LIMIT, JITTER))))
    return sorted(found, key=lambda item: (*WORLDS, *JITTERED).index(item[0]))


def measure(lab: Lab, kept: Kept, clock: Clock, chosen: int | None = None) -> bool:
    """The mirror first, then a block of seeds to every setting before any gets the next."""
    is_exact = mirror(lab, kept)
    for n in range(1, ROUNDS + 1):
        for _, _, case in cases()[:chosen]:
            lab.sample(case, ("base", "all"), n * BLOCK, clock)
        write(lab, kept)
    return is_exact


def _plan(lab: Lab, scenario: str, name: str, seed: int, *, is_still: bool) -> Plan:
    plan = lab.plan(world(scenario), name, seed)
    if not is_still:
        return plan
    return replace(plan, market=plan.market.model_copy(update=_STILL), minutes=_STILL_MIN)


def is_reflection(seen: Outcome, mirrored: Outcome) -> bool:
    """Whether a session behind the mirror is that before it to the last bit, upside down."""
    if not isclose(seen.max_drawdown_pct, mirrored.max_drawdown_pct, rel_tol=_ROUNDED):
        return False
    swapped = replace(
        mirrored,
        max_drawdown_pct=seen.max_drawdown_pct,
        final_lots=-mirrored.final_lots,
        quoted_frac_bid=mirrored.quoted_frac_ask,
        quoted_frac_ask=mirrored.quoted_frac_bid,
    )
    return swapped == seen


def mirror(lab: Lab, kept: Kept) -> bool:
    """Sessions before and behind a mirror; true when every one is what it must be."""
    told = kept.load("mirror")
    if told is None:
        rows: list[Json] = []
        for name in ("base", "all"):
            for scenario, is_still in (("two-sided", True), *((one, False) for one in MIRRORED)):
                seeds = _STILL_SEEDS if is_still else _MOVING_SEEDS
                plans = [
                    _plan(lab, scenario, name, seed, is_still=is_still)
                    for seed in range(FIRST_SEED, FIRST_SEED + seeds)
                ]
                seen = list(lab.pool.each(run_session, plans))
                behind = list(
                    lab.pool.each(run_session, [replace(plan, is_mirrored=True) for plan in plans])
                )
                rows.append(_compared(scenario, name, seen, behind, is_still=is_still))
        told = {"rows": rows}
        kept.save("mirror", told)
        say("  mirror: " + ("as it must be" if _holds(rows) else "BROKEN"))
    return _holds(told["rows"])


def _compared(
    scenario: str, name: str, seen: list[Outcome], behind: list[Outcome], *, is_still: bool
) -> Json:
    pairs = list(zip(seen, behind, strict=True))
    return {
        "world": scenario,
        "variant": name,
        "is_still": is_still,
        "sessions": len(pairs),
        "exact": sum(is_reflection(one, other) for one, other in pairs),
        "same_fills": sum(one.fills == other.fills for one, other in pairs),
        "lots_off": max(abs(one.final_lots + other.final_lots) for one, other in pairs),
        "pnl_diff_usd": told_of(
            mean_of(np.array([one.pnl_usd - other.pnl_usd for one, other in pairs]))
        ),
    }


def _holds(rows: list[Json]) -> bool:
    return all(_is_kept(row) for row in rows)


def _is_kept(row: Json) -> bool:
    """Exact where the price stands still, but for one size rounded; no better side where not."""
    if row["is_still"]:
        return bool(row["exact"] >= row["sessions"] - 1 and row["lots_off"] <= 1)
    diff = row["pnl_diff_usd"]
    half = (diff["high"] - diff["low"]) / 2
    return bool(abs(diff["value"]) <= _BIASED * half)


def _demand(scenario: str) -> Asked | None:
    return next((one for one in ASKED.get(scenario, ()) if one.of is mean), None)


def write(lab: Lab, kept: Kept) -> None:
    """The page and its figures."""
    rows: list[list[str]] = []
    figures: list[Json] = []
    for scenario, setting, case in cases():
        samples = lab.of(case)
        if not samples.seeds("base", "all"):
            continue
        ours, theirs = samples.paired("pnl_usd", "all", "base")
        steady, other = samples.profits("all", "base")
        fills, others = samples.paired("fills", "all", "base")
        asked = _demand(scenario)
        demand: Interval | None = None
        verdict = "-"
        if asked is not None:
            demand = bootstrap(margin(mean, asked.share), steady, other)
            verdict = decide(demand, least=asked.least, most=asked.most).value
        diff = mean_of(steady - other)
        rows.append(
            [
                scenario,
                setting,
                str(int(ours.size)),
                shown(mean_of(other)),
                shown(mean_of(steady)),
                shown(diff),
                shown(bootstrap(ratio(deviation), ours, theirs), ".2f"),
                shown(bootstrap(margin(worst, 1.0), ours, theirs), "+.2f"),
                number(float(fills.mean() / others.mean()) if others.mean() else None, ".0%"),
                verdict,
            ]
        )
        figures.append(
            {
                "world": scenario,
                "setting": setting,
                "sets": list(case.sets),
                "seeds": int(ours.size),
                "pnl_diff_usd": told_of(diff),
                "demand": None if demand is None else told_of(demand),
                "verdict": verdict,
            }
        )
    reflected = (kept.load("mirror") or {"rows": []})["rows"]
    kept.save("robustness", {"first_seed": FIRST_SEED, "mirror": reflected, "rows": figures})
    head = (
        "world",
        "setting",
        "seeds",
        "base $ [95 %]",
        "all $ [95 %]",
        "all less base [95 %]",
        "sd, times",
        "worst 5 %, difference",
        "fills",
        "demand on the mean",
    )
    lines = [
        "## Settings",
        "",
        "The market is changed, the quoter is not told: width and adverse prior stay those of the",
        "world. Latency is 50 ms where nothing is said.",
        "",
        *MEANS,
        "",
        *table(head, rows),
        "",
        "## Mirror",
        "",
        "The engine sees the market upside down. Where the fair price stands still, all but one",
        "session in five must be the same to the last bit (a sweep can shift the touch far enough",
        "for a size to be rounded the other way). Where it moves no reflection is exact: a limit",
        "in USD is fewer lots and a bps more ticks at a higher price, one order rounded",
        "otherwise is another fill, and from there on another session. There the two must not",
        "differ in the mean by more than three standard errors.",
        "",
        *table(
            (
                "world",
                "price",
                "variant",
                "sessions",
                "exact",
                "same fills",
                "lots at most",
                "$ in the mean [95 %]",
                "",
            ),
            (
                [
                    row["world"],
                    "still" if row["is_still"] else "moves",
                    row["variant"],
                    str(row["sessions"]),
                    str(row["exact"]),
                    str(row["same_fills"]),
                    str(row["lots_off"]),
                    shown(Interval(**row["pnl_diff_usd"]), "+.4f"),
                    "met" if _is_kept(row) else "MISSED",
                ]
                for row in reflected
            ),
        ),
    ]
    kept.page("robustness", TITLE, lines)
