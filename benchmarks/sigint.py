"""
Ctrl+C with twenty orders resting: how long until the venue says that nothing rests.

    python benchmarks/sigint.py [--rounds 100] [--processes 3] [--seed 1] [--json]

For replies that take 0.5 s and 1 s, half of it on the line or all of it behind the venue: so many
rounds each in simulated time, over the in-memory pipe, at moments drawn from the seed, orders on
their way included. Then so many real daemons on a real exchange, where the time until the process
has ended counts.

Returns 1 when a target is missed: 99 in 100 within 2 s and within 3.5 s, nothing rests at the end
or comes to rest after it, the program ends with 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # its rounds are theirs
from runtime.stopping import LIMITS_S, RESTING, Round, Way, stop_once
from system.stopping import stop_process

_SHARE = 0.99


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    seeds = range(chosen.seed, chosen.seed + chosen.rounds)
    told: list[dict[str, object]] = []
    for reply_s in LIMITS_S:
        for way in Way:
            told.append(_figures([stop_once(seed, way, reply_s) for seed in seeds]))
            _tell(told[-1], is_quiet=chosen.json)
        real: list[Round] = []
        for seed in range(chosen.seed, chosen.seed + chosen.processes):
            with tempfile.TemporaryDirectory(prefix="sigint-") as folder:
                real.append(stop_process(Path(folder), seed, reply_s))
        if real:
            told.append(_figures(real))
            _tell(told[-1], is_quiet=chosen.json)
    if chosen.json:
        print(json.dumps(told))
    missed = [row for row in told if not row["is_met"]]
    if not chosen.json:
        print("every target met" if not missed else f"MISSED: {len(missed)} of {len(told)}")
    return 1 if missed else 0


def _figures(rounds: Sequence[Round]) -> dict[str, object]:
    """Of rounds of one kind."""
    first = rounds[0]
    limit_s = LIMITS_S[first.reply_s]
    verified = sorted(one.verified_s for one in rounds)
    within = sum(one.verified_s < limit_s for one in rounds) / len(rounds)
    faults = [f"seed {one.seed}: {fault}" for one in rounds for fault in one.faults]
    return {
        "reply_s": first.reply_s,
        "way": first.way,
        "rounds": len(rounds),
        "rested_min": min(one.rested for one in rounds),
        "with_requests_under_way": sum(one.is_moving is True for one in rounds)
        if first.is_moving is not None
        else None,
        "gone_s_max": round(max(one.gone_s for one in rounds), 2),
        "verified_s_median": round(verified[len(verified) // 2], 2),
        "verified_s_99": round(verified[-(-99 * len(verified) // 100) - 1], 2),
        "verified_s_max": round(verified[-1], 2),
        "limit_s": limit_s,
        "within_limit": within,
        "faults": faults,
        "is_met": within >= _SHARE and not faults and min(o.rested for o in rounds) >= RESTING,
    }


def _tell(row: dict[str, object], *, is_quiet: bool) -> None:
    if is_quiet:
        return
    print(
        "replies of {reply_s} s ({way}), {rounds} rounds, {rested_min} orders or more, requests "
        "under way in {with_requests_under_way}: gone within {gone_s_max} s, verified "
        "in {verified_s_median} s (median), {verified_s_99} s (99 %), {verified_s_max} s (most) "
        "of {limit_s} s".format(**row),
        *(f"\n  {fault}" for fault in row["faults"]),  # type: ignore[attr-defined]
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
