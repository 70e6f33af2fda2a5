"""
A campaign of faulted runs: the whole program against a venue and a network that fail.

    python -m benchmarks.campaign [--runs 2000] [--first-seed 1] [--config FILE] [--json]
    python -m benchmarks.campaign --sockets [--runs 100] ...
    python -m benchmarks.campaign --soak HOURS ...

A few simulated minutes for each seed, over the in-memory pipe (`runtime.campaign`): real link,
gateway and engine, the emulated exchange, no socket. The seed draws what fails, when, and how the
run ends. Held against the venue's own books afterwards: the position, the equity to the cent, what
rests, the limits with everything live filled, and which trigger of the kill switch fired.

It stands here and not in `mmbot lab` because it says nothing about quotes: it is for whoever
changes the program, and no one who runs it needs it.

With `--sockets` the same faults, ends and verdicts over real sockets on loopback, in real time,
many runs side by side (`runtime.campaign.sockets`). With `--soak` one run of so many simulated
hours (`runtime.campaign.soak`): a day takes eight minutes.

Each seed that violates anything is printed with the command that repeats it: the same seed is the
same run on any machine and with any number of processes; over sockets it is the same schedule, and
a violation while the machine stood still is printed, counted and tried again.
Returns 1 then, when Ctrl+C left runs undone, and when a kind of fault met an order in flight too
seldom over a whole campaign.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mmbot.runtime.campaign import sockets
from mmbot.runtime.campaign.run import Result, campaign, campaign_config, perform, total
from mmbot.runtime.campaign.soak import soak_schedule

REPO: Final = Path(__file__).resolve().parent.parent
RUNS: Final = 2000
"""Runs of a whole campaign."""
SOCKET_RUNS: Final = 100
"""The same over sockets."""
HITS_WANTED: Final = 100
"""Faults of each kind that meet an order in flight in it, or it has not tried that kind."""
_EVERY: Final = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--sockets", action="store_true", help="real sockets and real time")
    parser.add_argument("--soak", type=float, metavar="HOURS", help="one long run")
    parser.add_argument("--runs", type=int, help=f"default: {RUNS}, over sockets {SOCKET_RUNS}")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--config", type=Path, default=REPO / "configs" / "emulator.toml")
    parser.add_argument("--processes", type=int, default=None, help="default: one for each core")
    parser.add_argument("--side-by-side", type=int, default=sockets.SIDE_BY_SIDE)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.runs is None:
        chosen.runs = SOCKET_RUNS if chosen.sockets else RUNS
    if chosen.soak is not None:
        chosen.runs = 1
    if chosen.runs < 1 or chosen.side_by_side < 1:
        parser.error("--runs and --side-by-side must be at least 1")
    results: list[Result] = []
    try:
        for result in made(chosen):
            results.append(result)
            if result.violations or result.discarded:
                told = complaint(result, chosen.config, how=how_of(chosen))
                print(told, file=sys.stderr, flush=True)
            if len(results) % _EVERY == 0:
                print(f"{len(results)} of {chosen.runs} runs", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        # What was found so far is worth as much.
        print(f"interrupted after {len(results)} of {chosen.runs} runs", file=sys.stderr)
    figures = figures_of(results)
    if chosen.json:
        print(json.dumps(figures))
    else:
        show(figures)
    is_short = bool(figures["short"]) and chosen.runs >= RUNS
    return 1 if figures["violated"] or is_short or len(results) < chosen.runs else 0


def made(chosen: argparse.Namespace) -> Iterator[Result]:
    """The results, as they come."""
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.runs)
    if chosen.soak is not None:
        schedule = soak_schedule(chosen.soak, chosen.first_seed)
        return iter([perform(campaign_config(chosen.config), schedule)[1]])
    if chosen.sockets:
        return sockets.campaign(chosen.config, seeds, side_by_side=chosen.side_by_side)
    # One run needs no second process, and a debugger can follow it.
    processes = 1 if chosen.runs == 1 else chosen.processes
    return campaign(chosen.config, seeds, processes=processes)


def how_of(chosen: argparse.Namespace) -> str:
    """The arguments that say over what and for how long it runs."""
    if chosen.soak is not None:
        return f"--soak {chosen.soak:g} "
    return "--sockets " if chosen.sockets else ""


def complaint(result: Result, config: Path, *, how: str = "") -> str:
    """What was violated, and how to see it again."""
    command = f"python -m benchmarks.campaign {how}--runs 1 --first-seed {result.seed}"
    if config != REPO / "configs" / "emulator.toml":
        command += f" --config {config}"
    lines = [f"seed {result.seed}, ended by {result.finish}:"]
    lines.extend(f"  {violation}" for violation in result.violations)
    lines.extend(f"  tried again after: {violation}" for violation in result.discarded)
    return "\n".join([*lines, f"  again with: {command}"])


def figures_of(results: list[Result]) -> dict[str, Any]:
    """The sum of a campaign."""
    faults, hits = total(results)
    wanted = hits_wanted(len(results))
    return {
        "runs": len(results),
        "traded_h": round(sum(result.sim_s for result in results) / 3600, 2),
        "fills": sum(result.fills for result in results),
        "requests": sum(result.requests for result in results),
        "finishes": dict(Counter(result.finish for result in results)),
        "triggers": dict(Counter(result.trigger or "none" for result in results)),
        "faults": sum(faults.values()),
        "by_kind": {name: {"faults": faults[name], "in_flight": hits[name]} for name in faults},
        # A few seeds owe nothing: what is drawn once in ten runs may well be missing from them.
        "short": [name for name in faults if hits[name] < wanted] if wanted >= 1 else [],
        "violated": [result.seed for result in results if result.violations],
        "tried_again": [result.seed for result in results if result.discarded],
    }


def hits_wanted(runs: int) -> float:
    """Hits that each kind must have in so many runs, as its share of a whole campaign."""
    return HITS_WANTED * min(1.0, runs / RUNS)


def show(figures: dict[str, Any]) -> None:
    """Print the figures for a person."""
    print(
        f"{figures['runs']} runs, {figures['traded_h']} hours traded, {figures['fills']} "
        f"fills, {figures['requests']} requests, {figures['faults']} faults"
    )
    print(f"{'fault':<34} {'times':>6} {'in flight':>10}")
    for name, counted in figures["by_kind"].items():
        few = "  too few" if name in figures["short"] else ""
        print(f"{name:<34} {counted['faults']:>6} {counted['in_flight']:>10}{few}")
    print(f"{'trigger':<34} {'times':>6}")
    for name, times in sorted(figures["triggers"].items()):
        print(f"{name:<34} {times:>6}")
    wanted = hits_wanted(figures["runs"])
    print(
        f"kinds with fewer than {wanted:g} hits in flight: {', '.join(figures['short']) or 'none'}"
    )
    again = figures["tried_again"]
    if again:
        print(f"runs tried again because the machine stood still: {len(again)}, seeds {again}")
    violated = figures["violated"]
    print(f"runs with a violation: {len(violated)}" + (f", seeds {violated}" if violated else ""))


if __name__ == "__main__":
    sys.exit(main())
