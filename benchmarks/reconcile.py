"""
What reconciliation saves on recorded markets, and what it costs.

    python benchmarks/reconcile.py [--data DIR] [--coins BTC,ETH,SOL,WLFI] [--config FILE] [--json]

One `mmbot backtest` for each coin, in a process of its own. Its comparison runs the same engine
over the same recording with an exact-price diff: every order is moved whenever its wanted price
changes. Shown side by side: requests of both, and how many the address is granted
(10,000 x hours / 24 + USD filled); hours until a fresh address would be out of requests; fills lost
against the exact diff and the difference of the 5 s markout (adverse positive: below zero is
better); the time that any order that could increase the position was inside its floor.

The outcome of a backtest is the same on every machine. Returns 1 when a target is missed: at most
a quarter of the exact diff's requests on every coin, and no more than granted on BTC, ETH and SOL.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

REPO: Final = Path(__file__).resolve().parent.parent
RATIO_MAX: Final = 0.25
MUST_LAST: Final = ("BTC", "ETH", "SOL")


def backtest(folder: Path, coin: str, config: Path) -> dict[str, Any]:
    """Outcome of one coin."""
    command = [sys.executable, "-m", "mmbot", "backtest", str(folder), "--coin", coin]
    command += ["--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}:\n{done.stderr}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def row_of(outcome: dict[str, Any]) -> dict[str, Any]:
    """The figures of one coin, and which targets it misses."""
    exact, coin = outcome["exact_diff"], outcome["coin"]
    row = {
        "coin": coin,
        "hours": outcome["duration_s"] / 3600,
        "requests": outcome["requests_total"],
        "cancels": outcome["requests"]["cancels"],
        "moves": outcome["requests"]["moves"],
        "places": outcome["requests"]["places"],
        "exact_requests": exact["requests"],
        "ratio": exact["requests_ratio"],
        "granted": outcome["requests_budget"],
        "filled_usd": outcome["filled_usd"],
        "hours_to_exhaustion": outcome["hours_to_exhaustion"],
        "fills": outcome["fills"],
        "exact_fills": exact["fills"],
        "fills_lost": exact["fills_lost"],
        "markout_5s_bps": outcome["markout_5s_bps"],
        "markout_5s_change_bps": exact["markout_5s_change_bps"],
        "inside_floor_s": outcome["inside_floor_s"],
        "inside_floor_frac": outcome["inside_floor_s"] / outcome["duration_s"],
        "two_sided_frac": outcome["two_sided_frac"],
        "kill": outcome["kill"],
    }
    missed = []
    if row["ratio"] is None or row["ratio"] > RATIO_MAX:
        missed.append(f"{coin}: more than {RATIO_MAX:g} of the exact diff's requests")
    if coin in MUST_LAST and row["requests"] > row["granted"]:
        missed.append(f"{coin}: more requests than granted")
    return {**row, "missed": missed}


def show(rows: list[dict[str, Any]]) -> None:
    """One line a coin."""
    print(
        f"{'coin':5s} {'requests':>8s} {'exact':>7s} {'ratio':>6s} {'granted':>7s} {'lasts':>8s}"
        f" {'fills':>5s} {'lost':>5s} {'markout 5 s':>12s} {'change':>7s} {'inside floor':>15s}"
    )
    for row in rows:
        lasts_h = row["hours_to_exhaustion"]
        lasts = "for ever" if lasts_h is None else f"{lasts_h:.1f} h"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
        inside = f"{row['inside_floor_s']:.1f} s ({row['inside_floor_frac']:.1%})"
        print(
            f"{row['coin']:5s} {row['requests']:8d} {row['exact_requests']:7d} {ratio:>6s}"
            f" {row['granted']:7.0f} {lasts:>8s} {row['fills']:5d} {row['fills_lost']:5d}"
            f" {_bps(row['markout_5s_bps']):>12s} {_bps(row['markout_5s_change_bps']):>7s}"
            f" {inside:>15s}"
        )
    for row in rows:
        if row["kill"] is not None:
            print(f"{row['coin']}: the kill switch ended it: {row['kill']['text']}")
        if row["hours"] < 0.1:
            print(f"{row['coin']}: only {row['hours'] * 60:.1f} minutes")


def _bps(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def main() -> int:
    """Run every coin, print, and return 1 when a target is missed."""
    default = os.environ.get("MMBOT_DATA", str(REPO.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, default=Path(default) / "hl-l2-20250904")
    parser.add_argument("--coins", default="BTC,ETH,SOL,WLFI")
    parser.add_argument("--config", type=Path, default=REPO / "configs" / "hype.toml")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    if not args.data.is_dir():
        sys.exit(f"{args.data}: no recording there; name one with --data or set MMBOT_DATA")
    rows = [row_of(backtest(args.data, coin, args.config)) for coin in args.coins.split(",")]
    missed = [text for row in rows for text in row["missed"]]
    if args.json:
        print(json.dumps({"recording": args.data.name, "coins": rows, "missed": missed}, indent=1))
    else:
        print(f"{args.data.name}, {rows[0]['hours'] * 60:.1f} minutes, {args.config.name}")
        show(rows)
        print(f"MISSED: {'; '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
