"""What each half spread from 3 to 13 bps earns in the synthetic markets, with all fixes or none."""

from __future__ import annotations

from typing import Final

from benchmarks.tables.bands import MEANS
from benchmarks.tables.kept import Clock, Json, Kept, number, shown, table, told_of
from benchmarks.tables.sampling import FIRST_SEED, LIMIT, Case, Lab

from mmbot.runtime.lab.statistics import Interval, deviation, mean_of, worst

TITLE: Final = "Widths"
WORLDS: Final = ("informed-0", "informed-50", "feb24", "native")
WIDTHS: Final = tuple(range(3, 14))
BLOCK: Final = 8
ROUNDS: Final = 8
LIFTED: Final = ("adverse.a0_bps=0", "adverse.a1=0")
"""A quoter that thinks nobody knows more than he does: nothing else keeps him farther out."""


def case(lab: Lab, scenario: str, width: int) -> tuple[Case, bool]:
    """The world at a width, and whether the floor had to be lifted for it."""
    sets = (LIMIT, f"quoter.half_spread_bps_min={width}")
    plain = Case(f"{scenario}+width_{width}", scenario, sets)
    params, fee_bps = lab.at_law(plain)
    adverse = params.adverse
    half = (fee_bps + adverse.a0_bps) / (1 - adverse.a1) + params.quoter.glft_bps_max
    if half <= width + 1e-9:
        return plain, False
    return Case(f"{scenario}+width_{width}_lifted", scenario, (*sets, *LIFTED)), True


def measure(
    lab: Lab,
    kept: Kept,
    clock: Clock,
    worlds: tuple[str, ...] = WORLDS,
    widths: tuple[int, ...] = WIDTHS,
) -> None:
    """A block of seeds to every width before any gets the next."""
    for n in range(1, ROUNDS + 1):
        for scenario in worlds:
            for width in widths:
                lab.sample(case(lab, scenario, width)[0], ("base", "all"), n * BLOCK, clock)
        write(lab, kept)


def write(lab: Lab, kept: Kept) -> None:
    """The page and its figures."""
    rows: list[list[str]] = []
    figures: list[Json] = []
    verdicts: list[str] = []
    for scenario in WORLDS:
        found: dict[str, list[tuple[Interval, int]]] = {"base": [], "all": []}
        for width in WIDTHS:
            chosen, is_lifted = case(lab, scenario, width)
            samples = lab.of(chosen)
            if not samples.seeds("base", "all"):
                continue
            for name, places in found.items():
                (pnl,) = samples.paired("pnl_usd", name)
                (steady,) = samples.profits(name)
                ours, theirs = samples.profits(name, "base")
                fills, adverse, drawdown = (
                    mean_of(samples.paired(metric, name)[0]).value
                    for metric in ("fills", "markout_5s_bps", "max_drawdown_pct")
                )
                profit, diff = mean_of(steady), mean_of(ours - theirs)
                places.append((profit, width))
                rows.append(
                    [
                        scenario,
                        f"{width}{' (floor lifted)' if is_lifted else ''}",
                        name,
                        str(int(pnl.size)),
                        shown(profit),
                        number(float(deviation(pnl)) if pnl.size > 1 else None, ".2f"),
                        number(float(worst(pnl)), "+.2f"),
                        "" if name == "base" else shown(diff),
                        number(fills, ".1f"),
                        number(adverse, "+.2f"),
                        number(drawdown, ".2f"),
                    ]
                )
                figures.append(
                    {
                        "world": scenario,
                        "half_spread_bps": width,
                        "is_floor_lifted": is_lifted,
                        "variant": name,
                        "seeds": int(pnl.size),
                        "pnl_usd": told_of(profit),
                        "pnl_diff_usd": told_of(diff) if name != "base" else None,
                        "fills": fills,
                    }
                )
        verdicts += [f"- {scenario}, {name}: {best(one)}" for name, one in found.items() if one]
    kept.save("widths", {"first_seed": FIRST_SEED, "sets": [LIMIT], "rows": figures})
    head = (
        "world",
        "bps",
        "variant",
        "seeds",
        "profit $ [95 %]",
        "sd",
        "worst 5 %",
        "less base [95 %]",
        "fills",
        "adverse 5 s",
        "drawdown %",
    )
    lines = [
        *MEANS,
        "",
        "Base half spread set to the width, everything else as in the other tables. Where the",
        "floor rule would keep the quote farther out, the quoter is told that no fill moves the",
        "price (`adverse.a0_bps = 0`, `adverse.a1 = 0`): he could not stand there otherwise.",
        "",
        *verdicts,
        "",
        *table(head, rows),
    ]
    kept.page("widths", TITLE, lines)


def best(found: list[tuple[Interval, int]]) -> str:
    """The width with the best mean, and which others it cannot be told from."""
    top, at = max(found, key=lambda item: item[0].value)
    near = [str(width) for it, width in found if width != at and it.high >= top.low]
    pays = "pays" if top.low > 0 else "loses" if top.high < 0 else "pays nothing that can be shown"
    return f"{at} bps is best in the mean and {pays}" + (
        f"; its interval meets those of {', '.join(near)}" if near else ""
    )
