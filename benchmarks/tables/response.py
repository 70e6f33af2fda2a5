"""
The answer to an opposed trend, as a share of what the price did: a grid of paths and positions.

The share is measured against the plain return of the mid over the long window, which the grid
computes from the prices it showed; the answer is the depth that the engine adds to the side that
would grow the position.
"""

from __future__ import annotations

from itertools import product
from math import log
from random import Random
from statistics import median
from typing import Final

import msgspec
from benchmarks.tables.driven import free, rig_of
from benchmarks.tables.kept import REPO, Json, Kept, number, table

from mmbot.config import load
from mmbot.core.engine import EngineParams
from mmbot.runtime.workers import Workers

TITLE: Final = "Answer to an opposed trend"
SLOPES: Final = (0.03, 0.06, 0.12, 0.3)
"""bps a second."""
POSITIONS: Final = (0.1, 0.2, 0.3, 0.45, 0.8)
VOLS: Final = (0.2, 0.8)
"""bps per root second."""
PATHS: Final = ("steady", "late", "ends", "turns", "jump")
LONG: Final = 1200
SHORT_RUN: Final = 240
LEAST, MOST = 0.20, 0.50
BINS: Final = ((0.0, 1.0), (1.0, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, 5.0), (5.0, float("inf")))
PX: Final = 26.2


class Cell(msgspec.Struct, frozen=True):
    """One run of the grid."""

    path: str
    slope_bps_per_s: float
    x: float
    vol_bps_rt_s: float
    seconds: int = LONG


class Point(msgspec.Struct, frozen=True):
    """One second in which the position was opposed."""

    at_s: int
    urgency: float
    ratio: float | None
    """Depth added over the size of the plain return; None where the price is where it was."""
    is_capped: bool
    is_faded_in: bool


class Run(msgspec.Struct, frozen=True):
    """One run and what was seen."""

    cell: Cell
    seconds: int
    points: tuple[Point, ...]


def slope(cell: Cell, second: int) -> float:
    """Drift of the path at a second, bps, positive up."""
    half = cell.seconds // 2
    rate = cell.slope_bps_per_s
    match cell.path:
        case "steady":
            return rate
        case "late":
            return rate if second >= half else 0.0
        case "ends":
            return rate if second < half else 0.0
        case "turns":
            return -rate if second < cell.seconds // 4 else rate
        case _:
            return 60 * rate if second == half else 0.0


def run_cell(given: tuple[EngineParams, Cell]) -> Run:
    """Show one path to an engine that holds a position against it."""
    params, cell = given
    rng = Random(repr(cell))
    rig = rig_of(params, PX, x=-cell.x)
    rig.start()
    long_s = int(params.trend.long_s)
    mids: list[float] = []
    points: list[Point] = []
    bps = 0.0
    for second in range(cell.seconds):
        rig.wait(1.0)
        bps += slope(cell, second) + rng.gauss(0.0, cell.vol_bps_rt_s)
        rig.set_fair(PX * (1 + bps * 1e-4))
        rig.tell_book()
        decision = rig.decide()
        rig.settle()
        mids.append((rig.bid_ticks + rig.ask_ticks) / 2)
        if decision.capture is None:
            continue
        market, quote = decision.capture.view.market, decision.capture.view.quote
        stance = market.stance
        if not stance.is_opposed:
            continue
        move = 1e4 * log(mids[-1] / mids[max(0, len(mids) - 1 - long_s)])
        # The position is short: its asks are what would make it larger.
        added = quote.opposed_ask_bps or 0.0
        points.append(
            Point(
                second,
                stance.urgency,
                added / abs(move) if move else None,
                stance.is_capped,
                stance.fade >= 1.0 - 1e-9,
            )
        )
    return Run(cell, cell.seconds, tuple(points))


def grid(*, is_short: bool = False) -> list[Cell]:
    """Every run of the table; a few of them for a trial."""
    if is_short:
        return [Cell("steady", 0.25, 0.45, 0.2, SHORT_RUN), Cell("late", 0.5, 0.3, 0.2, SHORT_RUN)]
    return [Cell(*values) for values in product(PATHS, SLOPES, POSITIONS, VOLS)]


def measure(pool: Workers, kept: Kept, *, is_short: bool = False) -> None:
    """Run the grid, unless this commit has it."""
    if (kept.load("response") or {}).get("is_done"):
        return
    params = free(load(REPO / "configs" / "hype.toml", []).engine)
    runs = list(pool.each(run_cell, [(params, cell) for cell in grid(is_short=is_short)]))
    figures = summary(runs)
    kept.save("response", {"is_done": not is_short, **figures})
    kept.page("response", TITLE, lines(figures))


def summary(runs: list[Run]) -> Json:
    """The figures of the page."""
    points = [(run, it) for run in runs for it in run.points]
    whole = [(run, it) for run, it in points if it.is_faded_in and it.ratio is not None]
    loose = [(run, it) for run, it in whole if not it.is_capped]
    bins = []
    for low, high in BINS:
        there = [it.ratio or 0.0 for _, it in loose if low < it.urgency <= high]
        bins.append(
            {
                "urgency": [low, None if high == float("inf") else high],
                "seconds": len(there),
                "min": min(there, default=None),
                "median": median(there) if there else None,
                "max": max(there, default=None),
                "inside": _share([LEAST <= ratio <= MOST for ratio in there]),
            }
        )
    urgent = [(run, it) for run, it in loose if it.urgency > 1]
    paths = []
    for path in PATHS:
        there = [it.ratio or 0.0 for run, it in urgent if run.cell.path == path]
        paths.append(
            {
                "path": path,
                "seconds": len(there),
                "inside": _share([LEAST <= ratio <= MOST for ratio in there]),
                "below": _share([ratio < LEAST for ratio in there]),
                "above": _share([ratio > MOST for ratio in there]),
                "min": min(there, default=None),
                "max": max(there, default=None),
            }
        )
    return {
        "runs": len(runs),
        "seconds": sum(run.seconds for run in runs),
        "opposed": len(points),
        "capped": _share([it.is_capped for _, it in points]),
        "fading": _share([not it.is_faded_in for _, it in points]),
        "bins": bins,
        "paths": paths,
        "inside": _share([LEAST <= (it.ratio or 0.0) <= MOST for _, it in urgent]),
    }


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _span(ends: list[float | None]) -> str:
    low, high = ends
    return f"above {low:g}" if high is None else f"{low:g} to {high:g}"


def lines(figures: Json) -> list[str]:
    """The page."""
    return [
        f"{figures['runs']} runs through the engine as `configs/hype.toml` ships it, limits out",
        f"of the way: slopes of {', '.join(map(str, SLOPES))} bps/s, positions of",
        f"{', '.join(map(str, POSITIONS))} of the limit against them, volatilities of",
        f"{', '.join(map(str, VOLS))} bps/sqrt(s); steady over 20 minutes, from the tenth, until",
        "the tenth, turning after the fifth, and one jump of 60 s worth. Depth added to the side",
        "that grows the position over the plain return of the mid in the long window, each second",
        "opposed, faded in (10 s) and not at the cap.",
        "",
        f"Inside {LEAST:.0%} to {MOST:.0%} where U > 1: {number(figures['inside'], '.1%')}. Of the",
        f"{figures['opposed']} seconds opposed, {number(figures['capped'], '.1%')} are capped and",
        f"{number(figures['fading'], '.1%')} fading. How often the cap binds in the worlds is in",
        "[direction.md](direction.md).",
        "",
        *table(
            ("U", "seconds", "least", "median", "most", "inside"),
            (
                [
                    _span(one["urgency"]),
                    str(one["seconds"]),
                    *(number(one[key], ".3f") for key in ("min", "median", "max")),
                    number(one["inside"], ".1%"),
                ]
                for one in figures["bins"]
            ),
        ),
        "",
        "By path, where U > 1:",
        "",
        *table(
            ("path", "seconds", "inside", "below", "above", "least", "most"),
            (
                [
                    one["path"],
                    str(one["seconds"]),
                    *(number(one[key], ".1%") for key in ("inside", "below", "above")),
                    *(number(one[key], ".3f") for key in ("min", "max")),
                ]
                for one in figures["paths"]
            ),
        ),
    ]
