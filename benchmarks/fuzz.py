"""
Damaged messages through decoder, gateway, account reader and engine: an event or a protocol error.

    python benchmarks/fuzz.py [--frames 1000000] [--seed 1] [--programs 100] [--json]

Messages of every stream and reply, of a run on the emulated exchange and, where `MMBOT_DATA` has
them, recorded ones of the venue; their numbers, shape or bytes are damaged, and copies of that
run's engine in the middle of trading are told them. After every event the sums of the order table
and the account are looked at, after every decision its orders. `--programs` are whole programs over
the in-memory pipe, some of whose messages are damaged.

Each finding is printed with what repeats it. Returns 1 when there is any.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # it is theirs
from runtime.corpus import collect
from runtime.fuzzing import LIFE, Finding, Life, Tally, program

_TOLD_EVERY = 100_000
_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first-life", type=int, default=0)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    corpus = collect()
    lives, programs = Tally(), Tally()
    number = chosen.first_life
    told = 0
    while told < chosen.frames:
        life = Life(corpus, number, chosen.seed).live(min(LIFE, chosen.frames - told))
        told += life.told.total()
        lives.add(life)
        for finding in life.findings:
            again = f"--seed {chosen.seed} --first-life {number} --frames {LIFE} --programs 0"
            _complain(finding, again, len(lives.findings))
        number += 1
        if told // _TOLD_EVERY != (told - life.told.total()) // _TOLD_EVERY and not chosen.json:
            print(f"{told} messages", file=sys.stderr, flush=True)
    for seed in range(chosen.seed, chosen.seed + chosen.programs):
        one = program(seed)
        programs.add(one)
        for finding in one.findings:
            _complain(finding, f"--seed {seed} --frames 0 --programs 1", 0)
    findings = len(lives.findings) + len(programs.findings)
    figures = {
        "messages": lives.told.total(),
        "streams": lives.told["stream"],
        "replies": lives.told["reply"],
        "bodies": lives.told.total() - lives.told["stream"] - lives.told["reply"],
        "kinds_of_frames": len(corpus.channels),
        "kinds_of_bodies": len(corpus.bodies),
        "protocol_errors": lives.refused,
        "events_applied": lives.events.total(),
        "decisions": lives.decisions,
        "batches": lives.batches,
        "programs": chosen.programs,
        "damaged_in_programs": programs.told.total(),
        "links_dropped": programs.refused,
        "findings": findings,
    }
    if chosen.json:
        print(json.dumps(figures | {"events": dict(lives.events)}))
    else:
        for name, value in figures.items():
            print(f"{name:<20}  {value}")
        print(f"events: {', '.join(f'{n} {kind}' for kind, n in lives.events.most_common())}")
    return 1 if findings else 0


def _complain(finding: Finding, again: str, count: int) -> None:
    if count > _SHOWN:
        return
    print(
        f"{finding.what}\n  at message {finding.number}: {finding.message[:400]}", file=sys.stderr
    )
    print(f"  again: python benchmarks/fuzz.py {again}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
