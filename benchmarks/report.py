"""
What the report of a long run costs: building it, its size, opening it.

    python benchmarks/report.py [--hours 24] [--seed 1] [--keep DIR] [--run DIR] [--json]

The run is one of so many simulated hours over the pipe, with faults that come and go
(`runtime.campaign.soak`), and it leaves what `mmbot run` leaves: journal and log at level info.
A day takes some fifteen minutes to make; `--keep` leaves it in a folder, `--run` measures one that
is there.

Building is `mmbot report` as a process of its own, three times, the quickest: wall clock and CPU
time. Opening is headless Chromium from asking for the page to its being drawn; it is left out,
visibly, where no browser is.

Returns 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from mmbot.journal.records import Ended
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.campaign.run import campaign_config, story
from mmbot.runtime.campaign.soak import soak_schedule
from mmbot.runtime.campaign.stage import Stage
from runtime.browser import browser, find_browser
from runtime.report_rig import FileRecords

REPO: Final = Path(__file__).resolve().parent.parent
BUILD_S_MAX: Final = 20.0
PAGE_MB_MAX: Final = 5.0
OPEN_S_MAX: Final = 2.0
_TRIES: Final = 3
_DRAIN_S: Final = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the run")
    parser.add_argument("--run", type=Path, help="a run that is there")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = chosen.run or chosen.keep or Path(folder) / "run"
        if chosen.run is None:
            make(run_dir, chosen.hours, chosen.seed)
        figures = measured(run_dir)
    if chosen.json:
        print(json.dumps(figures))
    else:
        show(figures)
    return 1 if figures["missed"] else 0


def make(run_dir: Path, hours: float, seed: int) -> None:
    """Trade for so many simulated hours; leave journal and log."""
    run_dir.mkdir(parents=True, exist_ok=True)
    records = FileRecords(run_dir / "log.jsonl")
    writer = Writer(run_dir, JournalParams(), steady=lambda: 0, has_thread=False)
    schedule = soak_schedule(hours, seed)
    config = campaign_config(REPO / "configs" / "emulator.toml")
    stage = Stage(config, schedule, level="info", journal=writer, records=records)
    stage.start()
    told = story(stage, schedule)
    drained_s = 0.0
    while True:
        try:
            stage.sim.run_for(next(told))
        except StopIteration:
            break
        if stage.at_s - drained_s >= _DRAIN_S:
            drained_s = stage.at_s
            writer.drain()
            # A day's bodies of requests, and the looks at the books, are of no use here.
            stage.exchange.requests.clear()
    ending = stage.endings[0]
    writer.close(Ended(at_ns=stage.clock(), reason=ending.reason, exit_code=int(ending.exit_code)))
    stage.trader.log.info("run.ended", **stage.summary())
    records.close()


def measured(run_dir: Path) -> dict[str, Any]:
    """Build the report, then open it."""
    walls, cpus = [], []
    for _ in range(_TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mmbot", "report", str(run_dir), "--open", "no"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ,
        )
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    report = json.loads((run_dir / "report.json").read_text("utf-8"))
    page_mb = (run_dir / "report.html").stat().st_size / 1e6
    opened_s = opening_s(run_dir)
    figures: dict[str, Any] = {
        "market_h": report["overview"]["span_s"] / 3600,
        "fills": report["overview"]["fills"],
        "journal_mb": sum(p.stat().st_size for p in run_dir.glob("journal-*.mmj")) / 1e6,
        "log_mb": (run_dir / "log.jsonl").stat().st_size / 1e6,
        "build_s": min(walls),
        "build_cpu_s": min(cpus),
        "peak_mb": peak_mb,
        "page_mb": page_mb,
        "json_mb": (run_dir / "report.json").stat().st_size / 1e6,
        "open_s": opened_s,
        "unexplained_usd": report["split"]["unexplained_usd"],
        "causes": [cause["name"] for cause in report["causes"]],
    }
    figures["missed"] = [
        name
        for name, limit in (
            ("build_s", BUILD_S_MAX),
            ("page_mb", PAGE_MB_MAX),
            ("open_s", OPEN_S_MAX),
        )
        if figures[name] is not None and figures[name] >= limit
    ]
    return figures


def opening_s(run_dir: Path) -> float | None:
    """From asking for the page to its being drawn; None without a browser."""
    path = find_browser()
    if path is None:
        print("SKIPPED: no Chromium here, so opening is not measured")
        return None
    with browser(path) as tab:
        tab.view(1280, 900, "light", is_phone=False)
        return min(tab.open(run_dir / "report.html") for _ in range(_TRIES))


def show(figures: dict[str, Any]) -> None:
    """Print the figures for a person."""
    print(
        f"{figures['market_h']:.2f} market hours, {figures['fills']} fills, journal "
        f"{figures['journal_mb']:.0f} MB, log {figures['log_mb']:.0f} MB"
    )
    print(
        f"built in {figures['build_s']:.1f} s ({figures['build_cpu_s']:.1f} s of CPU, target "
        f"{BUILD_S_MAX:.0f}), peak {figures['peak_mb']:.0f} MB"
    )
    page = f"page {figures['page_mb']:.2f} MB (target {PAGE_MB_MAX:.0f})"
    print(f"{page}, JSON {figures['json_mb']:.2f} MB")
    if figures["open_s"] is not None:
        print(f"opened in {figures['open_s']:.2f} s (target {OPEN_S_MAX:.0f})")
    print(f"unexplained {figures['unexplained_usd']} USD; causes {figures['causes']}")
    missed = ", ".join(figures["missed"])
    print(f"MISSED: {missed}" if missed else "every target met")


if __name__ == "__main__":
    sys.exit(main())
