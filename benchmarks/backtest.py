"""
`mmbot backtest` from process start to summary: frames per second, and where the time goes.

    python benchmarks/backtest.py [--data DIR] [--coins BTC,ETH,SOL,WLFI] [--repeat 5]

Every repetition is a process of its own, started the way a person starts it and timed from outside;
medians are shown. Beside them stand the shares that the process itself measured, the start of the
interpreter with its imports, and the run without the comparison (`backtest.exact_diff = false`).
Wall times of a shared machine mean little by themselves: compare the columns of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
PARTS = ("read_s", "parse_s", "apply_s", "decide_s", "venue_s", "shell_s")

CONFIG = """\
[instrument]
coin = "{coin}"

[risk]
capital_usd = 100
"""

MODULE = """\
import sys
import tempfile
from pathlib import Path
import msgspec
from mmbot.core.engine import EngineParams
from mmbot.core.risk import RiskParams
from mmbot.runtime.backtest import BacktestParams, run_backtest
result = run_backtest(
    Path(sys.argv[1]),
    sys.argv[2],
    EngineParams(risk=RiskParams(capital_usd=100)),
    params=BacktestParams(exact_diff=sys.argv[3] == "1"),
)
sys.stdout.write(msgspec.json.encode(result).decode())
"""


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds of a process, and what it wrote."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with exit code {done.returncode}:\n{done.stderr}")
    return wall_s, done.stdout


def measure(folder: Path, coin: str, repeat: int, config: Path) -> dict[str, Any]:
    """Medians of one coin."""
    config.write_text(CONFIG.format(coin=coin), "utf-8")
    python = sys.executable
    command = [python, "-m", "mmbot", "backtest", str(folder), "--coin", coin]
    command += ["--config", str(config), "--json"]
    whole = [timed(command) for _ in range(repeat)]
    alone = [timed([python, "-c", MODULE, str(folder), coin, "0"]) for _ in range(repeat)]
    imports = [timed([python, "-c", "import mmbot.runtime.backtest"])[0] for _ in range(repeat)]
    runs = [json.loads(text) for _, text in alone]
    row: dict[str, Any] = {
        "coin": coin,
        "frames": runs[0]["frames"],
        "decisions": runs[0]["decisions"],
        "command_s": statistics.median(wall for wall, _ in whole),
        "alone_s": statistics.median(wall for wall, _ in alone),
        "start_s": statistics.median(imports),
        "cancel_p50_us": statistics.median(r["timing"]["cancel_p50_us"] or 0.0 for r in runs),
        "cancel_p99_us": statistics.median(r["timing"]["cancel_p99_us"] or 0.0 for r in runs),
    }
    for part in PARTS:
        row[part] = statistics.median(r["timing"][part] for r in runs)
    final = json.loads(whole[-1][1])
    exact = final["exact_diff"]
    row["requests"], row["budget"] = final["requests_total"], final["requests_budget"]
    row["exact_requests"], row["ratio"] = exact["requests"], exact["requests_ratio"]
    row["fills"], row["fills_lost"] = final["fills"], exact["fills_lost"]
    row["markout_change_bps"] = exact["markout_5s_change_bps"]
    row["inside_floor_s"], row["lasts_h"] = final["inside_floor_s"], final["hours_to_exhaustion"]
    return row


def show(row: dict[str, Any]) -> None:
    """One coin, readable."""
    frames, alone_s, command_s = row["frames"], row["alone_s"], row["command_s"]
    inner_s = sum(row[part] for part in PARTS)
    other_s = max(0.0, alone_s - row["start_s"] - inner_s)
    shares = [("start", row["start_s"])]
    shares += [(part.removesuffix("_s"), row[part]) for part in PARTS]
    shares.append(("other", other_s))
    lasts = "for ever" if row["lasts_h"] is None else f"{row['lasts_h']:.1f} h"
    markout = row["markout_change_bps"]
    print(f"{row['coin']}: {frames} frames, {row['decisions']} decisions")
    print(
        f"  process start to summary {command_s:.2f} s with the exact-price comparison"
        f" ({frames / command_s:.0f} frames/s),"
        f" {alone_s:.2f} s without ({frames / alone_s:.0f} frames/s)"
    )
    print("  time: " + ", ".join(f"{name} {part / alone_s:.0%}" for name, part in shares))
    print(
        f"  per decision {row['decide_s'] / row['decisions'] * 1e6:.0f} us;"
        f" frame to protective cancel p50 {row['cancel_p50_us']:.0f} us,"
        f" p99 {row['cancel_p99_us']:.0f} us"
    )
    print(
        f"  requests {row['requests']} of {row['budget']:.0f} affordable (lasts {lasts});"
        f" exact-price diff {row['exact_requests']} (ratio {row['ratio'] or 0:.3f});"
        f" fills {row['fills']}, lost {row['fills_lost']};"
        f" 5 s markout differs by {'-' if markout is None else f'{markout:+.2f} bps'};"
        f" inside the floor {row['inside_floor_s']:.1f} s"
    )


def main() -> None:
    """Measure the coins asked for."""
    default = os.environ.get("MMBOT_DATA", str(REPO.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--data", type=Path, default=Path(default) / "hl-l2-20250904")
    parser.add_argument("--coins", default="BTC,ETH,SOL,WLFI")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    if not args.data.is_dir():
        sys.exit(f"{args.data}: no recording there; name one with --data or set MMBOT_DATA")
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "backtest.toml"
        coins = args.coins.split(",")
        rows = [measure(args.data, coin, args.repeat, config) for coin in coins]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            show(row)


if __name__ == "__main__":
    main()
