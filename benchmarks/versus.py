"""
`mmbot backtest` from a cold start against hftbacktest and NautilusTrader's backtest engine.

    python benchmarks/versus.py --python PATH [--coin BTC] [--rounds 5] [--json]
    python benchmarks/versus.py --make-venv DIR ...

Opt-in: the others need an environment of their own (Python 3.12 or newer, about 1.5 GB). PATH is
the interpreter of one that has them; with --make-venv one is made in DIR, and used again the next
time. An engine that is not there is skipped, with the command that installs it.

What is measured is a process from its start to its end: imports, what is compiled at run time, the
data in the engine's own format, the run. The recording is converted ahead of that (`frames.py`):
all have the same levels and trades. Rounds go through all ways in turn, and a ratio is that of two
processes of one round. "Warm" is the CPU time of the third run in one process: no start, no
imports, no compilation.

hftbacktest, NautilusTrader and "mmbot's venue" run one small quoter (`versus_side/quoter.py`): a
GLFT bid and ask with a skew, looked at every 100 ms, with constant latencies and queues that only
trades move. `mmbot backtest` runs what trades live: estimators, ladder, reconciliation, risk, kill
switch, request budget and vitals, at every message. As shipped it plays the recording twice, the
second time without hysteresis (beside the first, where there are two cores); "one play" is without
that (`backtest.exact_diff = false`), which is what the others do. So "one play" is what is held
against the targets, though it does much more than they do, and "mmbot's venue" is what compares
like with like.

Returns 1 when a target is missed, 2 when neither engine is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package

from benchmarks.nautilus_side import environment as venv
from benchmarks.versus_side.ways import (
    OURS,
    RELEASES,
    ROOT,
    TITLES,
    CannotRunError,
    Sample,
    Task,
    figures,
    versions,
)

TARGETS: Final = {"hftbacktest": 3.0, "nautilus_trader": 10.0}
"""Least ratio of a cold run of theirs to one of ours."""
JUDGED: Final = "one_play"


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and most."""
    return {"min": min(values), "median": median(values), "max": max(values)}


def measure(task: Task, engines: list[str], rounds: int) -> dict[str, Any]:
    """All ways in turn; the first process of each is not counted."""
    ways = [*OURS, *engines]
    samples: dict[str, list[Sample]] = {way: [] for way in ways}
    warm: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            sample = task.cold(way)
            if turn:
                samples[way].append(sample)
    for _ in range(min(rounds, 3)):
        for way in ways:
            warm[way].append(task.warm_s(way))
    rows: dict[str, Any] = {}
    for way in ways:
        decisions, requests, fills, filled_usd = figures(samples[way][-1].said)
        rows[way] = {
            "wall_s": spread([sample.wall_s for sample in samples[way]]),
            "cpu_s": spread([sample.cpu_s for sample in samples[way]]),
            "warm_s": spread(warm[way]),
            "peak_mb": max(sample.peak_mb for sample in samples[way]),
            "decisions": decisions,
            "requests": requests,
            "fills": fills,
            "filled_usd": filled_usd,
        }
    return {"rows": rows, "ratios": ratios(samples, warm, engines)}


def ratios(
    samples: dict[str, list[Sample]], warm: dict[str, list[float]], engines: list[str]
) -> dict[str, Any]:
    """Theirs to ours, round by round: above 1 ours is the faster."""
    found: dict[str, Any] = {}
    for other in engines:
        for way in OURS:
            pairs = list(zip(samples[other], samples[way], strict=True))
            found[f"{other}/{way}"] = {
                "wall": spread([a.wall_s / b.wall_s for a, b in pairs]),
                "cpu": spread([a.cpu_s / b.cpu_s for a, b in pairs]),
                "warm": median(warm[other]) / median(warm[way]),
            }
    return found


def misses(found: dict[str, Any], engines: list[str]) -> list[str]:
    """The targets that the median of the CPU times' ratios does not reach."""
    said: list[str] = []
    for other in engines:
        ratio = found["ratios"][f"{other}/{JUDGED}"]["cpu"]["median"]
        if ratio < TARGETS[other]:
            said.append(f"{other} {ratio:.2f}x, not {TARGETS[other]:.0f}x")
    return said


def show(found: dict[str, Any]) -> None:
    """The table of one coin."""
    facts = found["facts"]
    print(
        f"{facts['coin']}: {facts['market_s'] / 60:.1f} minutes, {facts['frames']} messages,"
        f" {facts['rows']} rows; half spread and hold of the small quoter:"
        f" 1/k = {1 / facts['k_per_bp']:.1f} bps, {facts['hold_bps']:g} bps"
    )
    head = "wall s min/median/max", "CPU s", "warm s", "peak MB"
    print(f"{'':29s}  {head[0]:>22s}  {head[1]:>6s}  {head[2]:>7s}  {head[3]:>7s}", end="")
    print(f"  {'decisions':>9s}  {'requests':>8s}  {'fills':>5s}  {'USD':>6s}")
    for way, row in found["rows"].items():
        wall = "/".join(f"{row['wall_s'][part]:.2f}" for part in ("min", "median", "max"))
        print(
            f"{TITLES[way]:29s}  {wall:>22s}  {row['cpu_s']['median']:6.2f}"
            f"  {row['warm_s']['median']:7.3f}  {row['peak_mb']:7.0f}  {row['decisions']:9d}"
            f"  {row['requests']:8d}  {row['fills']:5d}  {row['filled_usd']:6.0f}"
        )
    for name, ratio in found["ratios"].items():
        other, _, way = name.partition("/")
        cpu, wall = ratio["cpu"], ratio["wall"]
        print(
            f"{other} / {TITLES[way]}: CPU {cpu['median']:.1f} [{cpu['min']:.1f},"
            f" {cpu['max']:.1f}], wall {wall['median']:.1f} [{wall['min']:.1f},"
            f" {wall['max']:.1f}], warm {ratio['warm']:.3f}"
        )


def find(args: argparse.Namespace) -> tuple[Path, dict[str, str]]:
    """The interpreter of the others, and what it has of them."""
    install = " ".join(f"{name}=={release}" for name, release in RELEASES.items())
    if args.make_venv is not None:
        place = venv.find_python(args.python)
        python = venv.install(args.make_venv, place, [f"{n}=={v}" for n, v in RELEASES.items()])
    elif args.python is not None:
        python = Path(args.python)
    else:
        raise CannotRunError(
            "skipped: hftbacktest and NautilusTrader need an environment of their own; "
            f"python3.12 -m venv DIR && DIR/bin/pip install {install}, then --python "
            "DIR/bin/python; or let --make-venv DIR do it"
        )
    has = versions(python, tuple(RELEASES))
    for name, release in RELEASES.items():
        if name not in has:
            said = f"{name}: skipped, {python} does not have it; "
            print(said + f"{python} -m pip install {name}=={release}", file=sys.stderr)
    if not has.keys() & RELEASES.keys():
        raise CannotRunError(f"skipped: nothing to compare with; pip install {install} there")
    return python, has


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    default = os.environ.get("MMBOT_DATA", str(ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--python", help="interpreter that has the other engines")
    parser.add_argument("--make-venv", type=Path, metavar="DIR", help="install them there")
    parser.add_argument("--data", type=Path, default=Path(default) / "hl-l2-20250904")
    parser.add_argument("--coin", default="BTC")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--k-per-bp", type=float, default=0.12, help="small quoter: 1/width")
    parser.add_argument("--hold-bps", type=float, default=1.0, help="small quoter: hysteresis")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    try:
        python, has = find(args)
        if not args.data.is_dir():
            raise CannotRunError(f"skipped: {args.data} holds no recording; name one with --data")
        engines = [name for name in RELEASES if name in has]
        with tempfile.TemporaryDirectory() as scratch:
            task = Task(args.data.resolve(), args.coin, Path(scratch), python)
            facts = task.prepare(engines, args.k_per_bp, args.hold_bps)
            found = measure(task, engines, args.rounds) | {"facts": facts}
    except (CannotRunError, venv.CannotRunError) as error:
        print(error, file=sys.stderr)
        return 2
    ours = versions(Path(sys.executable), ("mmbot",))
    found |= {"versions": {"theirs": has, "ours": ours}, "missed": misses(found, engines)}
    if args.json:
        print(json.dumps(found, indent=1))
        return int(bool(found["missed"]))
    print("; ".join(f"{who}: {said}" for who, said in found["versions"].items()))
    show(found)
    missed = found["missed"]
    print(f"MISSED: {'; '.join(missed)}" if missed else "every target met")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
