"""How fast the laboratory is: hours of market a second of one core."""

from __future__ import annotations

from time import process_time
from typing import Final

from benchmarks.tables.kept import Json, Kept, table
from benchmarks.tables.sampling import FIRST_SEED, Lab, world
from msgspec.structs import replace

from mmbot.runtime.lab.session import run_session

TITLE: Final = "Speed of the laboratory"
WORLDS: Final = ("two-sided", "informed-50", "feb24", "native")
SESSIONS: Final = 1
MINUTES: Final = 25.0


def measure(lab: Lab, kept: Kept, *, minutes: float = MINUTES) -> None:
    """Run some sessions in this process alone and look at its processor time."""
    told = kept.load("speed")
    if told is None:
        rows: list[Json] = []
        for scenario in WORLDS:
            for name in ("base", "all"):
                plans = [
                    replace(lab.plan(world(scenario), name, FIRST_SEED + n), minutes=minutes)
                    for n in range(SESSIONS)
                ]
                began = process_time()
                for plan in plans:
                    run_session(plan)
                spent_s = process_time() - began
                hours = SESSIONS * minutes / 60
                rows.append(
                    {
                        "world": scenario,
                        "variant": name,
                        "market_h": hours,
                        "cpu_s": spent_s,
                        "market_h_per_cpu_s": hours / spent_s,
                    }
                )
        total_h = sum(row["market_h"] for row in rows)
        total = total_h / sum(row["cpu_s"] for row in rows)
        told = {"rows": rows, "market_h_per_cpu_s": total}
        kept.save("speed", told)
    lines = [
        f"**{told['market_h_per_cpu_s']:.2f} hours of market a second of one core**, by processor",
        f"time, over sessions of {minutes:g} minutes one after the other in one process.",
        "",
        *table(
            ("world", "variant", "market h", "processor s", "market h per s"),
            (
                [
                    row["world"],
                    row["variant"],
                    f"{row['market_h']:.2f}",
                    f"{row['cpu_s']:.2f}",
                    f"{row['market_h_per_cpu_s']:.2f}",
                ]
                for row in told["rows"]
            ),
        ),
    ]
    kept.page("speed", TITLE, lines)
