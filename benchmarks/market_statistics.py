"""
What the synthetic markets look like: spread, volatility, takers, sweeps and adverse moves by depth.

    python benchmarks/market_statistics.py [--hours 20] [--worlds native,thin]

The figures of `docs/market.md`, which puts their real sources beside them. Adverse is what the mid
moves against a quote at a depth that a taker reached, 5 and 30 s after him, so it is the law that a
quote there meets whoever it is. The spread is read off the book of the venue.
"""

from __future__ import annotations

import argparse
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmbot.emulator.flow import Cause, Flow, Taker
from mmbot.emulator.market import MarketParams
from mmbot.emulator.scenarios import SCENARIOS, build_venue
from mmbot.emulator.worlds import WORLDS

_START_MS: Final = 1_791_484_300_000
_HORIZONS_S: Final = (5, 30)
_DEPTHS_BPS: Final = (1.0, 3.0, 6.5)
_SPREAD_S: Final = 120
_PATH_S: Final = 1500.0


def walked(params: MarketParams, hours: float) -> tuple[NDArray[Any], list[list[Taker]]]:
    """Mids of sessions of 25 minutes, shape (sessions, steps), and their takers."""
    mids, takers = [], []
    steps_wanted = round(_PATH_S * 1000 / params.step_ms)
    for seed in range(max(2, round(hours * 3600 / _PATH_S))):
        flow = Flow(params, seed)
        path: list[float] = []
        came: list[Taker] = []
        while len(path) < steps_wanted:
            steps, found = flow.block()
            path.extend([step.mid_bps for step in steps])
            came.extend(found)
        mids.append(path[:steps_wanted])
        takers.append([it for it in came if it.at_ms < _PATH_S * 1000])
    return np.array(mids), takers


def adverse(
    params: MarketParams, mids: NDArray[Any], takers: list[list[Taker]], depth_bps: float, s: int
) -> tuple[float, float]:
    """Mean move against quotes at a depth, bps, and its error by session."""
    means = []
    for path, came in zip(mids, takers, strict=True):
        moves = []
        for taker in came:
            before = int(taker.at_ms / params.step_ms)
            after = before + s * 1000 // params.step_ms
            if taker.reach_bps >= depth_bps and after < path.size:
                moves.append(taker.side * (path[after] - path[before]))
        if moves:
            means.append(float(np.mean(moves)))
    found = np.array(means)
    return float(found.mean()), float(found.std(ddof=1) / sqrt(found.size))


def spread_bps(world: str) -> float:
    """Mean spread of the venue's book over two minutes, bps."""
    venue, market = build_venue(
        "HYPE", world, overrides={}, seed=1, now_ms=_START_MS, accounts=[("0x" + "a1" * 20, 1e4)]
    )
    book = venue.state.by_coin["HYPE"].book
    seen = []
    for second in range(1, _SPREAD_S + 1):
        market.advance(_START_MS + second * 1000)
        bid, ask = book.bid_ticks, book.ask_ticks
        assert bid is not None
        assert ask is not None
        seen.append((ask / bid - 1) * 1e4)
    return float(np.mean(seen))


def main() -> None:
    """Print one row per world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=20.0)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    asked = parser.parse_args()
    heads = ["spread", "sd 1 s", "sd 60 s", "takers/h", "sweeps/h"]
    heads += [f"{d:g} bps {s} s" for d in _DEPTHS_BPS for s in _HORIZONS_S]
    print("| world | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for world in asked.worlds.split(","):
        params = SCENARIOS[world].params
        mids, takers = walked(params, asked.hours)
        hours = len(mids) * _PATH_S / 3600
        per_s = 1000 // params.step_ms
        sds = [
            float((mids[:, per_s * s :] - mids[:, : -per_s * s]).std()) / sqrt(s) for s in (1, 60)
        ]
        count = sum(map(len, takers))
        sweeps = sum(it.cause is not Cause.NOISE for came in takers for it in came)
        cells = [f"{spread_bps(world):.2f}", *(f"{sd:.2f}" for sd in sds)]
        cells += [f"{count / hours:.0f}", f"{sweeps / hours:.1f}"]
        for depth in _DEPTHS_BPS:
            for horizon in _HORIZONS_S:
                mean, error = adverse(params, mids, takers, depth, horizon)
                cells.append(f"{mean:+.2f} ± {error:.2f}")
        print(f"| `{world}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
