"""
What the journal costs on the way of a frame, and what it takes of a disk.

    python benchmarks/journal.py [--rounds 30] [--minutes 10] [--json]

Cost: the step of `hot_path.py` (a 20-level `l2Book` in, ten signed orders out) through two engines
that differ in the journal alone, in turn within each round. One records the read, the event, the
time of the decision and its outcome; its writer's thread packs and writes them to a file at the
same time. A quiet frame is one that changes no order: it is short, so the same cost is more of it,
and no target holds for it. Times are CPU time of the loop's thread, and beside it the wall clock,
in which the thread's share of the interpreter shows. The cost is the median of the differences of
neighbouring steps, to the median without; its interval is of 1000 draws of whole rounds.

Size: a run over the pipe in simulated time, by the files it left, per hour of market. It is then
replayed, which gives the speed of a replay on the same line.

Returns 1 when the ratio exceeds its target.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it has no package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from benchmarks.hot_path import INSTRUMENT, PARAMS, Frames, Rig

from mmbot.core.types import NS_PER_S
from mmbot.journal.records import Ended
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.recording import RecordedEngine
from mmbot.runtime.replay import replay
from runtime.pipe_rig import PipeRun

TARGET: Final = 0.03
"""Share of the frame-to-batch time that the journal may cost."""
STEPS: Final = 60
DRAWS: Final = 1000
SCENARIOS: Final = ("hype", "demo")


class RecordedRig(Rig):
    """The same pieces with the engine of a run that keeps a journal."""

    def __init__(self, journal: Writer) -> None:
        super().__init__()
        self.journal = journal
        engine = RecordedEngine(PARAMS, INSTRUMENT, cloid_prefix=0x6D6D << 48 | 1, journal=journal)
        self._begin(engine)
        self.engine = engine
        self.gateway._emit = engine.apply

    def step(self, frame: bytes) -> None:
        """As in the trader: the read first."""
        self.journal.read(self.now_ns, [frame])
        super().step(frame)


def one(rig: Rig, frame: bytes) -> tuple[int, int]:
    """CPU and wall time of one step that places every order, ns."""
    wall, cpu = perf_counter_ns(), thread_time_ns()
    rig.step(frame)
    times = thread_time_ns() - cpu, perf_counter_ns() - wall
    assert sum(rig.answer()) > 0
    rig.clear()
    rig.pass_time(NS_PER_S)
    return times


def quiet(rig: Rig, frame: bytes) -> int | None:
    """CPU time of one step that changes no order, ns; None if it did."""
    cpu = thread_time_ns()
    rig.step(frame)
    used = thread_time_ns() - cpu
    rig.pass_time(NS_PER_S // 20)
    return None if rig.answer() else used


def _mid_step(number: int) -> int:
    """Price of a frame: up and down in single steps. A jump would take the orders off for 5 s."""
    return 21_300 + abs(number % 80 - 40)


def _share(without: list[int], recorded: list[int]) -> tuple[float, float, float]:
    """Cost of the journal as a share, with its 95 % interval; steps of one index are neighbours."""
    pairs = list(zip(without, recorded, strict=True))
    rounds = [pairs[n : n + STEPS] for n in range(0, len(pairs), STEPS)]

    def share(chosen: list[list[tuple[int, int]]]) -> float:
        steps = [step for one_round in chosen for step in one_round]
        return median(after - before for before, after in steps) / median(b for b, _ in steps)

    chance = random.Random(1)
    drawn = sorted(share(chance.choices(rounds, k=len(rounds))) for _ in range(DRAWS))
    return share(rounds), drawn[DRAWS // 40], drawn[-DRAWS // 40]


def cost(rounds: int, folder: Path) -> dict[str, float]:
    """Medians with and without, and their ratios."""
    writer = Writer(folder, JournalParams(lag_ms_max=60_000))
    rigs = {"without": Rig(), "with": RecordedRig(writer)}
    frames = {name: Frames() for name in rigs}
    cpu: dict[str, list[int]] = {name: [] for name in rigs}
    wall: dict[str, list[int]] = {name: [] for name in rigs}
    gc.collect()
    gc.disable()
    number = 0
    for turn in range(rounds + 2):
        for _ in range(STEPS):
            number += 1
            for name in rigs if number % 2 else reversed(rigs):
                rig = rigs[name]
                frame = frames[name].at(_mid_step(number), rig.now_ns)
                used, passed = one(rig, frame)
                if turn >= 2:
                    cpu[name].append(used)
                    wall[name].append(passed)
    still: dict[str, list[int]] = {name: [] for name in rigs}
    here = _mid_step(number)
    for name, rig in rigs.items():
        rig.settle(frames[name].at(here, rig.now_ns))
    for number in range(rounds * STEPS):
        both = {
            name: quiet(rigs[name], frames[name].at(here, rigs[name].now_ns))
            for name in (rigs if number % 2 else reversed(rigs))
        }
        if None not in both.values():
            for name, used_ns in both.items():
                assert used_ns is not None
                still[name].append(used_ns)
    gc.enable()
    writer.close(Ended(at_ns=0, reason="measured", exit_code=0))
    figures: dict[str, float] = {}
    for what, times in (("cpu", cpu), ("wall", wall), ("quiet", still)):
        frac, low, high = _share(times["without"], times["with"])
        figures |= {
            f"{what}_without_us": median(times["without"]) / 1e3,
            f"{what}_with_us": median(times["with"]) / 1e3,
            f"{what}_cost_frac": frac,
            f"{what}_cost_low": low,
            f"{what}_cost_high": high,
        }
    return figures


def size(scenario: str, minutes: float, folder: Path) -> dict[str, Any]:
    """Bytes an hour of market, and how fast they are replayed."""
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun(scenario, seed=3, journal=writer)
    run.start()
    for _ in range(round(minutes * 600)):
        run.sim.run_for(0.1)
        writer.drain()
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="measured", exit_code=0))
    result = replay(folder)
    return {
        "mb_per_h": writer.bytes_written / 1e6 / (result.market_s / 3600),
        "is_identical": result.is_good,
        "market_s": result.market_s,
        "market_h_per_s": result.market_h_per_s,
        "decisions": result.decisions,
    }


def main() -> int:
    """Measure, print, and return 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        costs = cost(args.rounds, Path(scratch))
    sizes: dict[str, dict[str, Any]] = {}
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory() as scratch:
            sizes[scenario] = size(scenario, args.minutes, Path(scratch))
    is_missed = costs["cpu_cost_frac"] > TARGET or not all(
        s["is_identical"] for s in sizes.values()
    )
    if args.json:
        print(json.dumps({"cost": costs, "size": sizes, "is_missed": is_missed}, indent=1))
        return int(is_missed)
    names = {"cpu": "frame to batch, cpu", "wall": "frame to batch, wall", "quiet": "quiet, cpu"}
    for what, name in names.items():
        print(
            f"{name:20s}  without {costs[f'{what}_without_us']:7.1f} us"
            f"  with {costs[f'{what}_with_us']:7.1f} us  {costs[f'{what}_cost_frac']:+.1%}"
            f" [{costs[f'{what}_cost_low']:+.1%}, {costs[f'{what}_cost_high']:+.1%}]"
        )
    for scenario, row in sizes.items():
        print(
            f"{scenario:5s}  {row['mb_per_h']:6.1f} MB per market hour  replay of"
            f" {row['market_s']:.0f} s: {row['market_h_per_s']:.2f} market hours a second,"
            f" {'identical' if row['is_identical'] else 'DIFFERENT'}"
        )
    print(f"MISSED: more than {TARGET:.0%}" if is_missed else "every target met")
    return int(is_missed)


if __name__ == "__main__":
    raise SystemExit(main())
