"""
Does a report name what was wrong: runs with one fault each, and sound ones.

    python benchmarks/causes.py [--seed 101] [--minutes 6] [--only NAME] [--keep DIR] [--json]
                                [--jobs 2]

Twenty runs with a single fault in the core, the configuration, the line, the venue or the account
(`tests/runtime/report_faults.py`), and ten without any, over the pipe. Of each the report is made
from what it left behind, and its first suspect is held against the fault; a sound run must have
none. The sound ones are of 25 minutes, each in another market.

Returns 1 when fewer than 18 of 20 are named, or when any sound run is suspected of anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from mmbot.runtime.report.report import read
from runtime.report_faults import FAULTS, SOUND, SOUND_S, TWENTY
from runtime.report_rig import Fault, play

NAMED_MIN: Final = 18
_SOUND: Final = "sound "


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=101, help="of the first run")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--scenario", help="another market for the faults that show in any")
    parser.add_argument("--only", help="one run by its name")
    parser.add_argument("--keep", type=Path, help="folder for the runs")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        jobs = [
            (folder, name, scenario, chosen.seed + i, chosen.minutes)
            for i, (name, scenario) in enumerate(plan(chosen.scenario))
            if chosen.only in (None, name)
        ]
        with ProcessPoolExecutor(chosen.jobs) as pool:
            rows = list(pool.map(judged, *zip(*jobs, strict=True), chunksize=1))
    figures = figures_of(rows)
    if chosen.json:
        print(json.dumps(figures))
    else:
        show(figures)
    is_whole = chosen.only is None
    is_good = figures["named"] >= NAMED_MIN and figures["silent"] == figures["sound"]
    return 0 if is_good or not is_whole else 1


def plan(other: str | None) -> list[tuple[str, str]]:
    """Name and market of every run."""
    faulty = [
        (name, scenario if other is None or FAULTS[name].scenarios else other)
        for name, scenario in TWENTY.items()
    ]
    return [*faulty, *((_SOUND + name, each.scenario) for name, each in SOUND.items())]


def judged(folder: Path, name: str, scenario: str, seed: int, minutes: float) -> dict[str, Any]:
    """Make one run and its report; what it suspects."""
    fault = FAULTS.get(name)
    span_s = max(60 * minutes, SOUND_S if fault is None else fault.needs_s)
    run_dir = folder / name.replace(" ", "-")
    began = time.process_time()
    chosen = fault or _sound(name)
    play(run_dir, scenario=scenario, seed=seed, span_s=span_s, fault=chosen)
    made_s = time.process_time() - began
    _, report = read(run_dir)
    causes = [cause.name for cause in report.causes]
    expected = fault.causes if fault is not None else ()
    return {
        "run": name,
        "scenario": scenario,
        "seed": seed,
        "fills": report.overview.fills,
        "usd": report.split.total_usd,
        "unexplained_usd": report.split.unexplained_usd,
        "causes": causes,
        "expected": list(expected),
        "is_right": bool(causes) and causes[0] in expected if expected else not causes,
        "made_s": made_s,
        "report_s": time.process_time() - began - made_s,
    }


def _sound(name: str) -> Fault:
    """Nothing is wrong in this market."""
    market = SOUND[name.removeprefix(_SOUND)]
    return Fault((), market=market.market, prepare=market.prepare)


def figures_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of all runs."""
    faulty = [row for row in rows if row["expected"]]
    sound = [row for row in rows if not row["expected"]]
    return {
        "faulty": len(faulty),
        "named": sum(row["is_right"] for row in faulty),
        "sound": len(sound),
        "silent": sum(row["is_right"] for row in sound),
        "losing": sum(row["usd"] < 0 for row in sound),
        "rows": rows,
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures for a person."""
    for row in figures["rows"]:
        mark = "ok   " if row["is_right"] else "WRONG"
        found = ", ".join(row["causes"][:3]) or "none"
        made = f"{row['fills']:4d} fills {row['usd']:+8.2f} USD"
        print(f"{mark} {row['run']:28s} {row['scenario']:12s} {made}  {found}")
    print(
        f"{figures['named']} of {figures['faulty']} faults ranked first; "
        f"{figures['silent']} of {figures['sound']} sound runs without a suspect, of which "
        f"{figures['losing']} lost"
    )


if __name__ == "__main__":
    sys.exit(main())
