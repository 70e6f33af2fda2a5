"""
`make tables`: every world of the lab, written to `docs/results/` with its seeds and the commit.

    .venv/bin/python benchmarks/tables.py [--minutes 55] [--worlds two-sided,feb24] [--fresh]

Resumable: a world whose file is of this commit and has the seeds asked for is left as it is. The
budget is wall-clock minutes: where it ends, the tables say how many seeds each world got.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

REPO: Final = Path(__file__).resolve().parent.parent
OUT: Final = REPO / "docs" / "results"
CONFIG: Final = REPO / "configs" / "emulator.toml"
SETS: Final = ("risk.max_position_usd=500",)
"""The limit of the reference's tables."""
BLOCK: Final = 20
"""Seeds a round: every world gets one before any gets the next."""
ROUNDS: Final = 10
VARIANTS: Final = "base,all,predecessor,control"
ABLATED: Final = ("two-sided", "false-sweeps", "informed-0", "informed-100", "whipsaw", "feb24")

COLUMNS: Final = (
    ("fills", ".1f"),
    ("markout_5s_bps", "+.2f"),
    ("final_q_frac", ".2f"),
    ("max_q_frac", ".2f"),
    ("max_drawdown_pct", ".2f"),
    ("calm_two_sided_frac", ".0%"),
    ("requests", ".0f"),
)

BANDS: Final[dict[str, str]] = {
    "two-sided": "costs at most 20 % of the mean, at no more than half the deviation",
    "false-sweeps": "costs at most 20 % of the mean, at no more than half the deviation",
    "informed-0": "mean not lower by more than 0.06, at no more than 60 % of the worst 5 %",
    "informed-50": "reported",
    "informed-100": "mean higher by at least 0.10",
    "trend": "reported",
    "whipsaw": "mean not lower by more than 0.08",
    "feb24": "at most a third of base's loss",
    "p38": "reported",
    "p77": "reported",
    "native": "reported",
    "too-tight": "reported",
}


def commit() -> str:
    """The commit the engine is of, marked where the tree differs from it."""
    name = _git("rev-parse", "--short", "HEAD")
    return name + ("+" if _git("status", "--porcelain", "--", "src", "configs") else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPO), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(world: str, seeds: int, variants: str, *, ablate: bool) -> dict[str, Any]:
    """One call of the lab."""
    command = [sys.executable, "-m", "mmbot", "lab", world, f"--config={CONFIG}", "--json"]
    command += [f"--seeds={seeds}", f"--variants={variants}", *(f"--set={one}" for one in SETS)]
    if ablate:
        command.append("--ablate")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=REPO, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def kept(path: Path, name: str) -> dict[str, Any] | None:
    """A result of this commit, if there is one."""
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text())
    return told if told.get("commit") == name else None


def cell(figure: dict[str, Any], spec: str = "+.3f") -> str:
    """A mean with its 95 % half interval."""
    if figure["mean"] is None:
        return "-"
    half = "" if figure["se"] is None else f" ± {1.96 * figure['se']:.3f}"
    return format(figure["mean"], spec) + half


def page(found: dict[str, dict[str, Any]], name: str) -> str:
    """The tables as Markdown."""
    out = [
        "# What the lab found",
        "",
        f"Commit {name}; written by `make tables`. Sessions of 25 minutes at a limit of $500,",
        "paired on common random numbers; profit in USD a session, ± half of the 95 % interval.",
        "A band is met when the whole interval lies inside it. `demo` appears in no table.",
        "",
        (
            "| world | seeds | variant | profit | sd | worst 5 % | against base | fills "
            "| adverse 5 s bps | end q | largest q | drawdown % | two-sided while calm | requests |"
        ),
        "|" + "---|" * 14,
    ]
    for world, told in found.items():
        for variant, figures in told["variants"].items():
            cells = [
                world,
                str(figures.get("seeds", told["seeds"])),
                variant,
                cell(figures["pnl_usd"]),
                _plain(figures["pnl_sd_usd"]),
                _plain(figures["pnl_worst_usd"]),
                cell(figures["pnl_diff_usd"]),
                *(_mean(figures, key, spec) for key, spec in COLUMNS),
            ]
            out.append(f"| {' | '.join(cells)} |")
    out += [
        "",
        "## Bands",
        "",
        "| world | asked of `all` against `base` | found |",
        "|---|---|---|",
    ]
    out += [
        f"| {world} | {BANDS.get(world, '')} | {verdict(world, told)} |"
        for world, told in found.items()
    ]
    return "\n".join(out) + "\n"


def _mean(figures: dict[str, Any], key: str, spec: str) -> str:
    value = figures.get(key, {}).get("mean")
    return "-" if value is None else format(value, spec)


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def verdict(world: str, told: dict[str, Any]) -> str:
    """Whether the band of a world is met, missed, or not decided by so many seeds."""
    variants = told["variants"]
    if "all" not in variants or BANDS.get(world, "reported") == "reported":
        return "-"
    every, base = variants["all"], variants["base"]
    diff = every["pnl_diff_usd"]
    mean = base["pnl_usd"]["mean"]
    half = 1.96 * (diff["se"] or 0.0)
    low, high = diff["mean"] - half, diff["mean"] + half
    bounds = {
        "two-sided": -0.2 * mean,
        "false-sweeps": -0.2 * mean,
        "informed-0": -0.06,
        "informed-100": 0.10,
        "whipsaw": -0.08,
        "feb24": -2.0 / 3.0 * mean,
    }
    bound = bounds[world]
    said = "met" if low >= bound else "missed" if high < bound else "undecided"
    return f"{said}: difference {diff['mean']:+.3f} [{low:+.3f}, {high:+.3f}], bound {bound:+.3f}"


def main() -> None:
    """Run what the budget allows, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--minutes", type=float, default=55.0)
    parser.add_argument("--worlds", default=",".join(BANDS))
    parser.add_argument("--fresh", action="store_true", help="Leave nothing as it is.")
    given = parser.parse_args()
    until = time.monotonic() + given.minutes * 60
    OUT.mkdir(parents=True, exist_ok=True)
    name = commit()
    worlds = given.worlds.split(",")
    slowest_s = 0.0
    for n in range(1, ROUNDS + 1):
        for world in worlds:
            path = OUT / f"{world}.json"
            old = None if given.fresh and n == 1 else kept(path, name)
            if old is not None and old["seeds"] >= n * BLOCK:
                continue
            if time.monotonic() + slowest_s * n / max(1, n - 1) > until and path.exists():
                continue
            began = time.monotonic()
            ablate = n == 1 and world in ABLATED
            variants = VARIANTS if n == 1 else "base,all"
            told = run(world, n * BLOCK, variants, ablate=ablate)
            if old is not None:
                # Variants that only the first round ran keep their row, with their own seeds.
                for key, figures in old["variants"].items():
                    if key not in told["variants"]:
                        told["variants"][key] = {"seeds": old["seeds"], **figures}
            told["commit"] = name
            path.write_text(json.dumps(told, indent=1) + "\n")
            took_s = time.monotonic() - began
            slowest_s = max(slowest_s, took_s)
            sys.stderr.write(f"{world}: {n * BLOCK} seeds in {took_s:.0f} s\n")
            write(name)
    write(name)


def write(name: str) -> None:
    """The page of what is there."""
    found = {}
    for world in BANDS:
        told = kept(OUT / f"{world}.json", name)
        if told is not None:
            found[world] = told
    (OUT / "README.md").write_text(page(found, name))


if __name__ == "__main__":
    main()
