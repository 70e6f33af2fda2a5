"""
Our laboratory beside the vectorised market model: is it the same market?

`prototype.json` holds what the model of the project's notes (8.1, 8.2) gave in 2,000 paths: the
recorded quoter without its drift term (`base`) and with it, of the wrong sign (`predecessor`).
Here the engine trades the same worlds as that quoter (`benchmarks/prototype.toml`), and every
statistic is compared: z is the difference over the errors of both. With `--shift` the queue and
the latency of the venue are switched on, and the table tells by how much each statistic moves.

    python benchmarks/prototype.py --seeds 100 [--worlds two-sided,feb24] [--shift]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import hypot, sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmbot.config import load
from mmbot.emulator.scenarios import scenario_params
from mmbot.runtime.beside import cores
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.runner import Setup
from mmbot.runtime.lab.session import Times, run_session
from mmbot.runtime.lab.variants import at_law, build, law_of
from mmbot.runtime.workers import workers

_HERE: Final = Path(__file__).parent
FIGURES: Final = _HERE / "prototype.json"
CONFIG: Final = _HERE / "prototype.toml"
VARIANTS: Final = ("base", "predecessor")
SHIFTED: Final = ("emulator.queue=on", "emulator.latency_ms=50", "emulator.block_ms=68")
_LIMIT_USD: Final = 500.0
"""Position limit of the model."""
_Z95: Final = 1.959963984540054

Figure = tuple[float, float]
"""A value and its standard error."""


def setup(world: str, seeds: int, first_seed: int, overrides: Sequence[str] = ()) -> Setup:
    """The laboratory as the model has it, but for the overrides."""
    settings = load(CONFIG, overrides)
    emulator = settings.emulator
    return Setup(
        scenario=world,
        coin=settings.instrument.wire_coin,
        market=scenario_params(world, settings.market),
        shipped=settings.engine,
        seeds=seeds,
        first_seed=first_seed,
        times=Times(emulator.latency_ms, emulator.reply_ms, emulator.feed_ms),
        has_queue=emulator.has_queue,
        requests_base=emulator.requests,
        block_ms=emulator.block_ms,
        law=settings.lab.law,
    )


def outcomes(made: Setup, processes: int) -> dict[str, list[Outcome]]:
    """Sessions of both variants."""
    law = law_of(made.scenario, made.law)
    world = at_law(made.shipped, law, made.fee_bps())
    seeds = range(made.first_seed, made.first_seed + made.seeds)
    found: dict[str, list[Outcome]] = {}
    with workers(processes) as pool:
        for name in VARIANTS:
            variant = build(name, made.shipped, world, law.floor_bps)
            found[name] = list(pool.each(run_session, [made.plan(variant, seed) for seed in seeds]))
    return found


def statistics(found: Sequence[Outcome], limit_usd: float) -> dict[str, Figure]:
    """What is compared, each with its standard error; profits as at the model's limit."""
    count = len(found)
    pnl = np.array([it.pnl_usd for it in found]) * _LIMIT_USD / limit_usd
    fills = np.array([float(it.fills) for it in found])
    final = np.array([it.final_q_frac if it.final_lots > 0 else -it.final_q_frac for it in found])
    moved = np.array([it.fills * (it.markout_5s_bps or 0.0) for it in found])
    # A ratio of sums, as the model's: sessions with more fills count more.
    adverse = moved.sum() / fills.sum()
    sd = float(pnl.std(ddof=1))
    kurtosis = float(((pnl - pnl.mean()) ** 4).mean()) / sd**4

    def mean(values: Any) -> Figure:
        return float(values.mean()), float(values.std(ddof=1)) / sqrt(count)

    return {
        "fills": mean(fills),
        "adverse_5s_bps": (
            float(adverse),
            float((moved - adverse * fills).std(ddof=1)) / sqrt(count) / float(fills.mean()),
        ),
        "final_q": mean(final),
        "pnl_usd": mean(pnl),
        "pnl_sd_usd": (sd, sd * sqrt(max(0.0, kurtosis - 1) / (4 * count))),
    }


def z_of(ours: Figure, theirs: Figure) -> float:
    """Difference over the errors of both."""
    return (ours[0] - theirs[0]) / hypot(ours[1], theirs[1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    their = json.loads(FIGURES.read_text("utf-8"))
    parser.add_argument("--worlds", default=",".join(their["worlds"]))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--shift", action="store_true", help="also with queue and latency on")
    asked = parser.parse_args()
    columns = ("prototype", "ours", "z", "inside", *(("queued", "shift") if asked.shift else ()))
    print(f"{asked.seeds} seeds from {asked.first_seed} against {their['paths']} paths")
    print(
        f"{'world':13s} {'variant':12s} {'statistic':15s} "
        + " ".join(f"{it:>18s}" for it in columns)
    )
    inside = rows = 0
    risk = load(CONFIG).risk
    limit_usd = risk.position_limit_usd(risk.capital_usd)
    for world in asked.worlds.split(","):
        found = outcomes(setup(world, asked.seeds, asked.first_seed), cores())
        shifted = (
            outcomes(setup(world, asked.seeds, asked.first_seed, SHIFTED), cores())
            if asked.shift
            else {}
        )
        for name in VARIANTS:
            moved = statistics(shifted[name], limit_usd) if asked.shift else {}
            for key, ours in statistics(found[name], limit_usd).items():
                figure = their["worlds"][world][name][key]
                theirs = figure["value"], figure["se"]
                z = z_of(ours, theirs)
                rows, inside = rows + 1, inside + (abs(z) <= _Z95)
                cells = [
                    f"{theirs[0]:+.3f} +- {theirs[1]:.3f}",
                    f"{ours[0]:+.3f} +- {ours[1]:.3f}",
                    f"{z:+.2f}",
                    "yes" if abs(z) <= _Z95 else "NO",
                ]
                if asked.shift:
                    cells += [f"{moved[key][0]:+.3f}", f"{moved[key][0] - ours[0]:+.3f}"]
                line = " ".join(f"{cell:>18s}" for cell in cells)
                print(f"{world:13s} {name:12s} {key:15s} {line}", flush=True)
    print(f"{inside} of {rows} inside the 95 % interval")


if __name__ == "__main__":
    main()
