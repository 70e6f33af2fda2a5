"""What `all` owes `base` in each world, and whether so many seeds show that it pays."""

from __future__ import annotations

from typing import Final

import msgspec
from benchmarks.tables.kept import Clock, Json, Kept, number, say, shown, table, told_of
from benchmarks.tables.sampling import FIRST_SEED, LIMIT, Case, Lab, Samples, world

from mmbot.runtime.lab.statistics import (
    Floats,
    Interval,
    Statistic,
    Verdict,
    all_of,
    bootstrap,
    decide,
    deviation,
    margin,
    mean,
    mean_of,
    ratio,
    worst,
)
from mmbot.runtime.lab.variants import CONTROL

TITLE: Final = "What was asked of `all` against `base`"
TRIO: Final = ("base", "all", CONTROL)
LEAST: Final = {mean: 20, deviation: 40, worst: 60}
"""Seeds below which nothing is decided: a tail of one session has no interval."""
ROUND: Final = 20
MOST: Final = 2000
REPORTED: Final = ("informed-50", "trend", "p38", "p77", "native", "too-tight", "gap", "thin")
"""Worlds that nothing is asked of."""
HYNA: Final = Case("feb24-hyna", "feb24", (), "hyna-hype.toml")
"""The recorded market as the shipped configuration would have met it."""
FILLS_LEAST: Final = 0.7
MEANS: Final = (
    "Means of profits are less the luck of the position: what it gained by moves of the fair price",
    "that nothing before them told of, which is nothing in the mean whoever quotes. It is known",
    "where no drift, episode or path is given and takers do not lead the price; elsewhere, and",
    "for every deviation and worst 5 %, profits are as they were.",
)
QUOTED_LEAST: Final = 0.9


class Asked(msgspec.Struct, frozen=True):
    """One demand: a statistic of `all` less a share of another variant's, within bounds."""

    text: str
    of: Statistic
    share: float
    least: float = float("-inf")
    most: float = float("inf")
    metric: str = "pnl_usd"
    against: str = "base"


def _less_by(usd: float) -> Asked:
    text = f"mean lower by {usd:g} at most" if usd >= 0 else f"mean higher by {-usd:g} at least"
    return Asked(text, mean, 1.0, least=-usd)


_QUIET: Final = (
    Asked("costs 20 % of the mean at most", mean, 0.8, least=0.0),
    Asked("half the deviation at most", deviation, 0.5, most=0.0),
)
ASKED: Final[dict[str, tuple[Asked, ...]]] = {
    "two-sided": _QUIET,
    "false-sweeps": _QUIET,
    "informed-0": (
        _less_by(0.06),
        Asked("60 % of the loss in the worst 5 % at most", worst, 0.6, least=0.0),
    ),
    "informed-100": (_less_by(-0.10),),
    "whipsaw": (_less_by(0.08),),
    "feb24": (Asked("a third of the loss at most", mean, 1 / 3, least=0.0),),
}
UNQUOTED: Final = ("feb24", "p38", "p77")
"""Worlds in which staying away is no fault."""


class Finding(msgspec.Struct, frozen=True):
    """One demand and what became of it."""

    text: str
    bound: float
    margin: Interval
    ratio: Interval
    seeds: int
    verdict: Verdict


def judge(samples: Samples) -> list[Finding]:
    """Every demand on a world, by the seeds that there are."""
    scenario = samples.case.scenario
    asked = list(ASKED[scenario])
    if scenario not in UNQUOTED:
        fills = Asked("70 % of the fills at least", mean, FILLS_LEAST, 0.0, metric="fills")
        asked.append(fills)
    asked.append(Asked("worst 5 % above that of control", worst, 1.0, 0.0, against=CONTROL))
    found = [_judge(samples, one) for one in asked]
    if scenario not in UNQUOTED:
        found.append(_quoted(samples))
    return found


def _judge(samples: Samples, asked: Asked) -> Finding:
    is_profit = asked.metric == "pnl_usd" and asked.of is mean
    ours, theirs = (
        samples.profits("all", asked.against)
        if is_profit
        else samples.paired(asked.metric, "all", asked.against)
    )
    it = bootstrap(margin(asked.of, asked.share), ours, theirs)
    bound = asked.most if asked.least == float("-inf") else asked.least
    verdict = decide(it, least=asked.least, most=asked.most)
    seeds = int(ours.size)
    if seeds < LEAST[asked.of]:
        verdict = Verdict.UNDECIDED
    return Finding(asked.text, bound, it, _ratio(asked.of, ours, theirs), seeds, verdict)


def _ratio(of: Statistic, ours: Floats, theirs: Floats) -> Interval:
    """How many times the other's; nothing where that is not surely of one sign."""
    below = bootstrap(of, theirs)
    if not below.is_known or below.low * below.high <= 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    return bootstrap(ratio(of), ours, theirs)


def _quoted(samples: Samples) -> Finding:
    (ours,) = samples.paired("calm_two_sided_frac", "all")
    it = mean_of(ours)
    verdict = decide(it, least=QUOTED_LEAST)
    if ours.size < LEAST[mean]:
        verdict = Verdict.UNDECIDED
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    text = "two-sided 90 % of the time while |x| < 0.2 at least"
    return Finding(text, QUOTED_LEAST, it, nothing, int(ours.size), verdict)


def verdict_of(samples: Samples) -> Verdict:
    """Met when every demand is."""
    return all_of([one.verdict for one in judge(samples)])


def measure(lab: Lab, kept: Kept, clock: Clock, worlds: tuple[str, ...] = tuple(ASKED)) -> Verdict:
    """Seeds to the worlds that are undecided, the fewest first, until none is or time is over."""
    for scenario in worlds:
        lab.sample(world(scenario), ("base", "all", "predecessor"), ROUND, clock)
    for scenario in worlds:
        lab.sample(world(scenario), TRIO, ROUND, clock)
    lab.sample(HYNA, ("base", "all", "shipped"), ROUND, clock)
    for scenario in REPORTED:
        lab.sample(world(scenario), ("base", "all", "predecessor"), ROUND, clock)
    write(lab, kept)
    while True:
        verdicts = {one: verdict_of(lab.of(world(one))) for one in worlds}
        undecided = [one for one in worlds if verdicts[one] is Verdict.UNDECIDED]
        counts = {one: lab.of(world(one)).seeds(*TRIO) for one in undecided}
        nxt = min(undecided, key=lambda one: counts[one], default=None)
        if nxt is None or counts[nxt] >= MOST or not lab.time_for(3 * ROUND, clock):
            break
        lab.sample(world(nxt), TRIO, counts[nxt] + ROUND, clock)
        if lab.of(world(nxt)).seeds(*TRIO) == counts[nxt]:
            break
        write(lab, kept)
        say(f"bands: {nxt} {lab.of(world(nxt)).seeds(*TRIO)} seeds: " + told(lab, nxt))
    write(lab, kept)
    return all_of(list(verdicts.values()))


def told(lab: Lab, scenario: str) -> str:
    """The verdict of a world, and what it hangs on."""
    found = judge(lab.of(world(scenario)))
    verdict = all_of([one.verdict for one in found])
    open_ones = [one.text for one in found if one.verdict is not Verdict.MET]
    return verdict.value + (f" ({'; '.join(open_ones)})" if open_ones else "")


def write(lab: Lab, kept: Kept) -> None:
    """The page and its figures."""
    found = {
        one: judge(lab.of(world(one))) for one in ASKED if lab.of(world(one)).seeds("base", "all")
    }
    figures: Json = {
        "first_seed": FIRST_SEED,
        "sets": [LIMIT],
        "worlds": {
            scenario: {
                "verdict": all_of([one.verdict for one in findings]).value,
                "seeds": lab.of(world(scenario)).seeds("base", "all"),
                "control_half_bps": lab.of(world(scenario)).control_half_bps,
                "demands": [_told(one) for one in findings],
            }
            for scenario, findings in found.items()
        },
    }
    kept.save("bands", figures)
    demands = [
        [
            scenario if n == 0 else "",
            all_of([one.verdict for one in findings]).value if n == 0 else "",
            one.text,
            f"{shown(one.margin)} against {number(one.bound, '+.2f')}",
            shown(one.ratio, ".2f"),
            str(one.seeds),
            one.verdict.value,
        ]
        for scenario, findings in found.items()
        for n, one in enumerate(findings)
    ]
    head = ("world", "", "asked of `all`", "margin [95 %]", "times the other's", "seeds", "")
    cases = [*(world(one) for one in (*ASKED, *REPORTED)), HYNA]
    lines = [
        "Sessions of 25 minutes at a limit of $500, seeds from 1 on, paired on common random",
        "numbers; each world sets width and adverse law to its own. A demand is met when the whole",
        "95 % interval (bootstrap over sessions) lies within its bound, missed when all of it lies",
        "without. The margin is the figure of `all` less the share of the other's that is allowed,",
        "so that it keeps its meaning where the other's is near zero. Deviations are judged from",
        "40 seeds on, tails from 60. `demo` appears in no table.",
        "",
        *MEANS,
        "",
        *table(head, demands),
        "",
        "## Sessions",
        "",
        *table(
            HEAD,
            (
                row(lab.of(case), name)
                for case in cases
                for name in lab.of(case).variants
                if name in (*TRIO, "predecessor", "shipped")
            ),
        ),
        "",
        f"`{HYNA.name}` is the recorded path met with `configs/{HYNA.config}` as shipped.",
    ]
    kept.page("bands", TITLE, lines)


def _told(one: Finding) -> Json:
    return {
        "demand": one.text,
        "bound": one.bound,
        "margin": told_of(one.margin),
        "ratio": told_of(one.ratio),
        "seeds": one.seeds,
        "verdict": one.verdict.value,
    }


HEAD: Final = (
    "world",
    "variant",
    "seeds",
    "profit $ [95 %]",
    "sd",
    "worst 5 %",
    "less base [95 %]",
    "fills",
    "adverse 5 s",
    "end q",
    "largest q",
    "drawdown %",
    "two-sided, calm",
    "requests",
    "kill trips",
)


def row(samples: Samples, name: str) -> list[str]:
    """One variant of one case."""
    (ours,) = samples.paired("pnl_usd", name)
    (steady,) = samples.profits(name)
    pair = samples.profits(name, "base")

    def average(metric: str) -> float:
        return mean_of(samples.paired(metric, name)[0]).value

    return [
        samples.case.name,
        name,
        str(int(ours.size)),
        shown(mean_of(steady)),
        number(float(deviation(ours)) if ours.size > 1 else None, ".3f"),
        number(float(worst(ours)) if ours.size else None, "+.2f"),
        "" if name == "base" else shown(mean_of(pair[0] - pair[1])),
        number(average("fills"), ".1f"),
        number(average("markout_5s_bps"), "+.2f"),
        number(average("final_q_frac"), ".2f"),
        number(average("max_q_frac"), ".2f"),
        number(average("max_drawdown_pct"), ".2f"),
        number(average("calm_two_sided_frac"), ".0%"),
        number(average("requests"), ".0f"),
        number(average("kill_trips"), ".2f"),
    ]
