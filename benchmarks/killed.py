"""
`kill -9` of the daemon at random moments under load, with a watchdog beside it.

    python benchmarks/killed.py [--times 200] [--stops 20] [--seed 1] [--json]

Each time: an exchange, a watchdog with an agent key of its own, a daemon in a market with fills
several times a second; the signal after 0 to 5 s of trading; then the next daemon on the same
account. Measured by the exchange's books: the time until nothing of ours rests (and goes on doing
so for a second), fills that were booked twice or not at all, the position and the ledger at the end
of the next run. `--stops` of the times it is SIGSTOP.

Returns 1 when a target is missed: 5 s, and no difference at all.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # its rounds are theirs
from system.killing import NOTHING_RESTS_S, Round, kill_once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--stops", type=int, default=None, help="default: a tenth of the times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    stops = chosen.times // 10 if chosen.stops is None else chosen.stops
    chance = random.Random(chosen.seed)
    numbers = [signal.SIGSTOP] * stops + [signal.SIGKILL] * (chosen.times - stops)
    chance.shuffle(numbers)
    rounds: list[Round] = []
    for count, number in enumerate(numbers, 1):
        with tempfile.TemporaryDirectory(prefix="killed-") as folder:
            seen = kill_once(Path(folder), number, chance)
        rounds.append(seen)
        verdict = "; ".join(seen.faults) or "ok"
        print(
            f"{count:>4}  {seen.number:<8} after {seen.lived_s:4.1f} s  {seen.rested:>2} rested  "
            f"gone after {seen.gone_s:4.2f} s  {seen.fills:>4} fills  "
            f"{seen.early} early  {verdict}",
            file=sys.stderr,
            flush=True,
        )
    return report(rounds, as_json=chosen.json)


def report(rounds: list[Round], *, as_json: bool) -> int:
    """Print the figures; 1 if anything is wrong."""
    gone = sorted(seen.gone_s for seen in rounds)
    figures = {
        "times": len(rounds),
        "with_orders_resting": sum(seen.rested > 0 for seen in rounds),
        "false_alarms": sum(seen.early for seen in rounds),
        "gone_s_median": round(gone[len(gone) // 2], 2),
        "gone_s_max": round(gone[-1], 2),
        "gone_s_limit": NOTHING_RESTS_S,
        "fills": sum(seen.fills for seen in rounds),
        "booked_twice": sum(seen.twice for seen in rounds),
        "not_booked": sum(seen.unbooked for seen in rounds),
        "stored_wrongly": sum(seen.unledgered for seen in rounds),
        "faulty": sum(bool(seen.faults) for seen in rounds),
    }
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<20}  {value}")
    return 1 if figures["faulty"] else 0


if __name__ == "__main__":
    sys.exit(main())
