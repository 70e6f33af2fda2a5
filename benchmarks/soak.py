"""
`mmbot run` at real speed for many minutes: memory, orders without an owner, the ledger.

    python benchmarks/soak.py [--minutes 25] [--seed 1] [--json]

Three processes: `mmbot exchange`, `mmbot run` against its address, and this one, which looks on.

- Memory: resident size from /proc every 5 s; growth is the largest size after the first minutes
  (5, or a fifth of a shorter run) less the size at their end.
- Orders without an owner: the run writes down every 5 s which cloids its engine holds, and the
  exchange is asked what rests. An order that rests before and after such a note and is not in it is
  an orphan; so is one whose cloid is not of this run, and any that rests after the run has ended.
- Ledger, twice: `ledger_gap_usd` of the run's own summary, and from the exchange's books after the
  run (GET /emulator/ledger): deposits and fills alone against the equity it states at its mark.

The market is scenario `demo`. The loss and drawdown limits are set out of the way (and only they):
a run that the kill switch ends early says nothing about 25 minutes.

Returns 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package
from benchmarks import demo

EVERY_S: Final = 5.0
GROWTH_MB_MAX: Final = 10.0
GAP_USD_MAX: Final = 0.0001
MAGIC: Final = "0x6d6d"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
NOTES: Final = "MMBOT_SOAK_NOTES"

Sample = tuple[int, int, set[tuple[str, int]]]
"""Asked at, answered at (ms since the epoch), and what rested: cloid and oid."""


def child(arguments: list[str]) -> None:
    """`mmbot run` with one addition: every few seconds the cloids held go to a file."""
    from mmbot.cli.app import main as mmbot
    from mmbot.core.types import NS_PER_S
    from mmbot.runtime import assembling, trader

    notes = Path(os.environ[NOTES])

    class Watched(trader.Trader):
        """A trader that writes down what it holds."""

        def start(self) -> None:
            super().start()
            self._write_down()

        def _write_down(self) -> None:
            now_ns = self._clock()
            cloids = [f"{cloid:#034x}" for cloid in self.engine.orders.slots]
            with notes.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at_ms": now_ns // 1_000_000, "cloids": cloids}) + "\n")
            if not self.ended:
                self._scheduler.call_at(now_ns + round(EVERY_S * NS_PER_S), self._write_down)

    sys.argv = ["mmbot", "run", *arguments]
    with mock.patch.object(assembling, "Trader", Watched):
        mmbot()


def ask(url: str, path: str, **query: str) -> Any:
    """GET a control route of the exchange."""
    text = f"{url}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(text, timeout=10) as answer:
        return json.load(answer)


def resident_mb(pid: int) -> float:
    """Resident size of a process, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE / 1e6


def cpu_s(pid: int) -> float:
    """CPU time a process has used, s."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resting(url: str, user: str) -> Sample:
    """What rests for the account now."""
    asked_ms = time.time_ns() // 1_000_000
    orders = ask(url, "/emulator/orders", user=user)
    answered_ms = time.time_ns() // 1_000_000
    return asked_ms, answered_ms, {(order["cloid"] or "", order["oid"]) for order in orders}


def orphans(samples: list[Sample], notes: list[dict[str, Any]]) -> list[str]:
    """Orders that rested before and after a note that does not know them."""
    found: set[str] = set()
    for before, after in itertools.pairwise(samples):
        stayed = before[2] & after[2]
        for note in notes:
            if before[1] < note["at_ms"] < after[0]:
                found |= {cloid for cloid, _ in stayed} - set(note["cloids"])
    return sorted(found)


def strangers(samples: list[Sample]) -> list[str]:
    """Orders that do not carry the mark of one single run."""
    cloids = {cloid for sample in samples for cloid, _ in sample[2]}
    prefixes = {cloid[:18] for cloid in cloids if cloid.startswith(MAGIC)}
    return sorted(cloid for cloid in cloids if len(prefixes) > 1 or cloid[:18] not in prefixes)


def books(ledger: dict[str, Any]) -> dict[str, float]:
    """The account from its fills alone, and the equity that the exchange states."""
    state = ledger["states"][""]
    equity_usd = float(state["marginSummary"]["accountValue"])
    deposits_usd = sum(float(row["delta"]["usdc"]) for row in ledger["ledger"])
    fills = ledger["fills"]
    cash_usd, lots, fees_usd, closed_usd = 0.0, 0.0, 0.0, 0.0
    for fill in fills:
        sign = 1 if fill["side"] == "B" else -1
        lots += sign * float(fill["sz"])
        cash_usd -= sign * float(fill["sz"]) * float(fill["px"])
        fees_usd += float(fill["fee"])
        closed_usd += float(fill["closedPnl"])
    funding_usd = sum(float(row["delta"]["usdc"]) for row in ledger["fundings"])
    held = [row["position"] for row in state["assetPositions"]]
    mark_px = float(held[0]["positionValue"]) / abs(float(held[0]["szi"])) if held else 0.0
    stated_lots = float(held[0]["szi"]) if held else 0.0
    pnl_usd = cash_usd + lots * mark_px - fees_usd + funding_usd
    return {
        "fills": len(fills),
        "deposits_usd": deposits_usd,
        "equity_usd": equity_usd,
        "mark_px": mark_px,
        "position_sz": stated_lots,
        "fees_usd": fees_usd,
        "closed_usd": closed_usd,
        "funding_usd": funding_usd,
        "ledger_usd": pnl_usd,
        "gap_usd": equity_usd - deposits_usd - pnl_usd,
        "position_gap_sz": stated_lots - lots,
    }


def watch(
    run: subprocess.Popen[str], exchange: subprocess.Popen[str], url: str, user: str
) -> tuple[list[tuple[float, float, float]], list[Sample]]:
    """Sample until the run ends: (seconds, MB of the run, MB of the exchange), and what rested."""
    began = time.monotonic()
    memory: list[tuple[float, float, float]] = []
    samples: list[Sample] = []
    while run.poll() is None:
        try:
            at_s = time.monotonic() - began
            memory.append((at_s, resident_mb(run.pid), resident_mb(exchange.pid)))
        except (FileNotFoundError, ProcessLookupError, IndexError):
            break
        samples.append(resting(url, user))
        try:
            run.wait(timeout=EVERY_S)
        except subprocess.TimeoutExpired:
            continue
    return memory, samples


def soak(minutes: float, seed: int, scratch: Path) -> dict[str, Any]:
    """One run from start to summary."""
    config = scratch / "soak.toml"
    config.write_text(demo.CONFIG, "utf-8")
    notes = scratch / "notes.jsonl"
    with demo.exchange(seed) as (exchange, url, user):
        command = [sys.executable, str(Path(__file__).resolve()), "--child"]
        command += ["--config", str(config), "--for", f"{minutes * 60:.3f}s"]
        command += ["--run-dir", str(scratch / "run"), "--set", f"state_dir={scratch / 'state'}"]
        command += ["--set", f"emulator.url={url}"]
        run = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, NOTES: str(notes)},
        )
        said: list[str] = []
        assert run.stdout is not None
        reader = threading.Thread(target=_drain, args=(run.stdout.readline, said), daemon=True)
        reader.start()
        cpu_began_s = cpu_s(exchange.pid)
        memory, samples = watch(run, exchange, url, user)
        code = run.wait()
        reader.join()
        if not (scratch / "run" / "summary.json").exists():
            sys.exit(f"the run ended with exit code {code} and no summary:\n{''.join(said[-20:])}")
        left = resting(url, user)
        ledger = ask(url, "/emulator/ledger", user=user)
        exchange_cpu_s = cpu_s(exchange.pid) - cpu_began_s
    summary = json.loads((scratch / "run" / "summary.json").read_text("utf-8"))
    noted = [json.loads(line) for line in notes.read_text("utf-8").splitlines()]
    log = (scratch / "run" / "log.jsonl").read_text("utf-8").splitlines()
    return {
        "exit_code": code,
        "summary": summary,
        "books": books(ledger),
        "exchange_cpu_s": exchange_cpu_s,
        "samples": len(samples),
        "notes": len(noted),
        "log_lines": len(log),
        "orders_seen": len({cloid for sample in samples for cloid, _ in sample[2]}),
        "orphans": orphans(samples, noted),
        "strangers": strangers(samples),
        "left_resting": sorted(cloid for cloid, _ in left[2]),
        **grown(memory, minutes),
    }


def _drain(read: Callable[[], str], into: list[str]) -> None:
    """Keep a pipe from filling; only the last lines are wanted."""
    while line := read():
        into.append(line)
        del into[:-50]


def grown(memory: list[tuple[float, float, float]], minutes: float) -> dict[str, Any]:
    """Growth of both processes after the first minutes, and the course of the run's memory."""
    from_s = min(5.0, minutes / 5) * 60
    base = min(memory, key=lambda row: abs(row[0] - from_s))
    later = [row for row in memory if row[0] >= from_s]
    return {
        "from_s": from_s,
        "rss_base_mb": base[1],
        "rss_max_mb": max(row[1] for row in later),
        "rss_end_mb": later[-1][1],
        "growth_mb": max(row[1] for row in later) - base[1],
        "exchange_base_mb": base[2],
        "exchange_growth_mb": max(row[2] for row in later) - base[2],
        "course_mb": [round(row[1], 2) for row in memory[:: max(1, len(memory) // 25)]],
    }


def verdicts(row: dict[str, Any], minutes: float) -> list[tuple[str, str, bool]]:
    """Each target with its figure and whether it is met."""
    run, venue = row["summary"], row["books"]
    parts = run["realised_usd"] + run["unrealised_usd"] - run["fees_usd"] + run["funding_usd"]
    gap = run["ledger_gap_usd"]
    ownerless = len(row["orphans"]) + len(row["strangers"]) + len(row["left_resting"])
    seen = f"{row['orders_seen']} seen in {row['samples']} samples"
    same_books = (
        abs(run["fees_usd"] - venue["fees_usd"]),
        abs(run["realised_usd"] - venue["closed_usd"]),
        abs(run["funding_usd"] - venue["funding_usd"]),
    )
    return [
        (
            f"ran {minutes:g} min to the end",
            f"{run['duration_s']:.1f} s, {run['end_reason']}, exit code {row['exit_code']}",
            row["exit_code"] == 0 and run["duration_s"] >= minutes * 60,
        ),
        (
            f"memory after the first {row['from_s']:.0f} s grows by < {GROWTH_MB_MAX:g} MB",
            f"{row['growth_mb']:+.2f} MB ({row['rss_base_mb']:.1f} to {row['rss_max_mb']:.1f})",
            row["growth_mb"] < GROWTH_MB_MAX,
        ),
        (
            "orders without an owner: none",
            f"{ownerless} (of {seen}; {len(row['left_resting'])} left at the end)",
            ownerless == 0 and row["notes"] > 0 and row["orders_seen"] > 0,
        ),
        (
            "sum(ledger) = change of equity, by the run",
            "not verified" if gap is None else f"gap {gap:+.7f} USD",
            gap is not None and abs(gap) <= GAP_USD_MAX,
        ),
        (
            "sum(ledger) = change of equity, by the exchange's fills",
            f"gap {venue['gap_usd']:+.7f} USD, position gap {venue['position_gap_sz']:+.6f}",
            abs(venue["gap_usd"]) <= GAP_USD_MAX and abs(venue["position_gap_sz"]) < 1e-6,
        ),
        (
            "both books agree: fills, fees, realised, funding",
            f"{run['fills']} and {venue['fills']} fills; apart by "
            + ", ".join(f"{gap:.7f}" for gap in same_books)
            + " USD",
            run["fills"] == venue["fills"] and max(same_books) <= GAP_USD_MAX,
        ),
        (
            "total = realised + unrealised - fees + funding",
            f"{run['pnl_usd']:+.6f}, apart by {abs(parts - run['pnl_usd']):.1e} USD",
            abs(parts - run["pnl_usd"]) < 1e-9,
        ),
    ]


def main() -> int:
    """Run, print, and return 1 when a target is missed."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        row = soak(args.minutes, args.seed, Path(scratch))
    rows = verdicts(row, args.minutes)
    missed = [name for name, _, is_met in rows if not is_met]
    if args.json:
        print(json.dumps({**row, "missed": missed}, indent=1))
        return 1 if missed else 0
    run = row["summary"]
    print(f"{args.minutes:g} minutes of mmbot run, scenario demo, seed {args.seed}")
    for name, figure, is_met in rows:
        print(f"  {'ok    ' if is_met else 'MISSED'} {name}: {figure}")
    print(f"  fills {run['fills']}, log lines {row['log_lines']}, notes {row['notes']}")
    print(f"  memory of the run, MB: {' '.join(f'{mb:.1f}' for mb in row['course_mb'])}")
    print(f"  the exchange grew by {row['exchange_growth_mb']:+.1f} MB meanwhile")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
