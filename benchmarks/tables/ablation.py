"""Each of the four fixes by itself and left out: what pays, and what only costs."""

from __future__ import annotations

from typing import Final

from benchmarks.tables.bands import ASKED, HEAD, MEANS, row
from benchmarks.tables.kept import Clock, Json, Kept, shown, table, told_of
from benchmarks.tables.sampling import BLOCK, FIRST_SEED, Lab, Samples, world

from mmbot.runtime.lab.statistics import (
    Interval,
    Verdict,
    bootstrap,
    decide,
    deviation,
    margin,
    mean_of,
    ratio,
    worst,
)
from mmbot.runtime.lab.variants import ADDED, FIXES, LEFT_OUT

TITLE: Final = "Each fix alone and left out"
ROUNDS: Final = 6
WORDS: Final = {Verdict.MET: "pays", Verdict.MISSED: "costs", Verdict.UNDECIDED: "undecided"}


def measure(lab: Lab, kept: Kept, clock: Clock, worlds: tuple[str, ...] = tuple(ASKED)) -> None:
    """A block of seeds to every world before any gets the next."""
    for n in range(1, ROUNDS + 1):
        for scenario in worlds:
            lab.sample(world(scenario), ("base", "all", *ADDED, *LEFT_OUT), n * BLOCK, clock)
            write(lab, kept)


def gain(fix: str) -> dict[str, tuple[str, str]]:
    """What has the fix, and what it is compared with."""
    return {"alone": (f"base+{fix}", "base"), "left out": ("all", f"all-{fix}")}


def _effect(samples: Samples, ours: str, theirs: str) -> tuple[Interval, Interval, Interval, int]:
    with_it, without = samples.paired("pnl_usd", ours, theirs)
    steady, other = samples.profits(ours, theirs)
    return (
        mean_of(steady - other),
        bootstrap(ratio(deviation), with_it, without),
        bootstrap(margin(worst, 1.0), with_it, without),
        int(with_it.size),
    )


def write(lab: Lab, kept: Kept) -> None:
    """The page and its figures."""
    rows: list[list[str]] = []
    figures: list[Json] = []
    sessions: list[list[str]] = []
    for scenario in ASKED:
        samples = lab.of(world(scenario))
        if not samples.seeds(*ADDED, *LEFT_OUT):
            continue
        for fix in FIXES:
            for how, (ours, theirs) in gain(fix).items():
                mean, sd, tail, seeds = _effect(samples, ours, theirs)
                says = WORDS[decide(mean, least=0.0)]
                rows.append(
                    [
                        scenario,
                        fix,
                        f"{ours} less {theirs}",
                        shown(mean),
                        shown(sd, ".2f"),
                        shown(tail, "+.2f"),
                        str(seeds),
                        says,
                    ]
                )
                figures.append(
                    {
                        "world": scenario,
                        "fix": fix,
                        "how": how,
                        "mean_usd": told_of(mean),
                        "sd_ratio": told_of(sd),
                        "worst_diff_usd": told_of(tail),
                        "seeds": seeds,
                        "says": says,
                    }
                )
        sessions += [row(samples, name) for name in (*ADDED, *LEFT_OUT)]
    kept.save("ablation", {"first_seed": FIRST_SEED, "rows": figures})
    head = ("world", "fix", "", "mean $ [95 %]", "sd, times", "worst 5 % $", "seeds", "in the mean")
    lines = [
        *MEANS,
        "",
        "What each fix adds to `base`, and what `all` has more than `all` without it: the paired",
        "difference with its interval, the ratio of the deviations, and that of the worst",
        "5 %. A fix pays, or costs, when the whole interval of the mean lies on one side of zero.",
        "",
        *table(head, rows),
        "",
        "## Sessions",
        "",
        *table(HEAD, sessions),
    ]
    kept.page("ablation", TITLE, lines)
