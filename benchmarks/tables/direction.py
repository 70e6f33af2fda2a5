"""
Whether danger tells up from down, how soon a trend against the position is seen, how often falsely.

Read off the trace of whole sessions of `all`, and of `base`, whose estimators run without effect.
"""

from __future__ import annotations

from statistics import median
from typing import Final

import msgspec
import numpy as np
from benchmarks.tables.kept import Clock, Json, Kept, number, say, shown, table, told_of
from benchmarks.tables.sampling import BLOCK, FIRST_SEED, LIMIT, Lab, world

from mmbot.core.stance import StanceParams
from mmbot.runtime.lab.statistics import (
    UNKNOWN,
    Floats,
    Interval,
    Verdict,
    all_of,
    decide,
    mean_of,
    pooled_auc,
)
from mmbot.runtime.lab.trace import Trace, run_traced

TITLE: Final = "Direction told from noise"
AHEAD_S: Final = 60.0
BANDS: Final = {"informed-100": (0.60, 1.0), "two-sided": (0.48, 0.52)}
RISE_S: Final = 540.0
"""24 February: the recorded path falls until here and rises from here to its end."""
LATE_S: Final = 150.0
OPPOSED_X: Final = StanceParams().opposed_x_min
SPOKEN: Final = 0.1
"""Danger of one direction over the other from which it says something."""
MOST: Final = 400
LEAST: Final = 20
CAPPED: Final = ("two-sided", "informed-100", "feb24", "trend", "whipsaw")
"""Worlds in which the bound of the answer to a trend is watched."""

Marks = tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]


class Seen(msgspec.Struct):
    """What is kept of one session."""

    every: Marks
    """Direction and whether the price rose, each second that it moved after."""
    spoken: Marks
    swept: Marks
    opposed_frac: float
    held_frac: float
    """Time with a position that can be opposed."""
    urgent_frac: float
    """Time opposed at an urgency above 1."""
    capped_frac: float
    """Time in which the bound of the answer binds."""
    capped_of_opposed: float | None
    detection: Detection | None


class Detection(msgspec.Struct, frozen=True):
    """The first position against the rise of 24 February."""

    from_s: float
    """When it was there, from the beginning of the rise."""
    delay_s: float | None
    """Until it was called opposed; None where the position was gone before."""
    held_s: float
    """How long it was there."""


def marks(trace: Trace) -> tuple[Marks, Marks, Marks]:
    """Scores and what came of them: each second, where danger speaks, at bursts."""
    score, move = trace.column("direction"), trace.moves_bps(AHEAD_S)
    is_swept = trace.column("is_swept") > 0
    is_known = ~np.isnan(move) & (move != 0)
    picked = (is_known, is_known & (np.abs(score) >= SPOKEN), is_known & is_swept)
    every, spoken, swept = ((score[one], move[one] > 0) for one in picked)
    return every, spoken, swept


def detect(trace: Trace) -> Detection | None:
    """
    How soon a short position in the rise is called opposed.

    It counts from the first second of the rise at which the position is short by `OPPOSED_X` of its
    limit and the mid stands higher than when the rise began.
    """
    times, xs = trace.column("at_s"), trace.column("x")
    mids, opposed = trace.column("mid_bps"), trace.column("is_opposed") > 0
    begin = int(np.searchsorted(times, RISE_S))
    if begin >= len(times):
        return None
    is_short = (xs <= -OPPOSED_X) & (mids > mids[begin])
    is_short[:begin] = False
    if not is_short.any():
        return None
    first = int(np.argmax(is_short))
    gone = np.flatnonzero(xs[first:] > -OPPOSED_X)
    end = first + int(gone[0]) if gone.size else len(times) - 1
    called = np.flatnonzero(opposed[first : end + 1])
    delay = float(times[first + int(called[0])] - times[first]) if called.size else None
    return Detection(float(times[first] - RISE_S), delay, float(times[end] - times[first]))


def see(trace: Trace, *, is_feb24: bool) -> Seen:
    """What is kept of a trace."""
    every, spoken, swept = marks(trace)
    opposed, capped = trace.column("is_opposed") > 0, trace.column("is_capped") > 0
    return Seen(
        every,
        spoken,
        swept,
        opposed_frac=float(opposed.mean()),
        held_frac=float((np.abs(trace.column("x")) >= OPPOSED_X).mean()),
        urgent_frac=float((opposed & (trace.column("urgency") > 1)).mean()),
        capped_frac=float((opposed & capped).mean()),
        capped_of_opposed=float(capped[opposed].mean()) if opposed.any() else None,
        detection=detect(trace) if is_feb24 else None,
    )


class Direction:
    """Traced sessions of some worlds, while this process lives."""

    def __init__(self, lab: Lab, kept: Kept) -> None:
        self._lab = lab
        self._kept = kept
        self._seen: dict[tuple[str, str], list[Seen]] = {}

    def of(self, scenario: str, name: str) -> list[Seen]:
        """What there is."""
        return self._seen.setdefault((scenario, name), [])

    def more(self, scenario: str, name: str, seeds: int, clock: Clock) -> bool:
        """Let a variant have so many seeds in all; false where there was no time for it."""
        found = self.of(scenario, name)
        missing = range(FIRST_SEED + len(found), FIRST_SEED + seeds)
        if not self._lab.time_for(len(missing), clock):
            return False
        plans = [self._lab.plan(world(scenario), name, seed) for seed in missing]
        traces = self._lab.pool.each(run_traced, plans)
        found.extend(see(trace, is_feb24=scenario == "feb24") for trace in traces)
        say(f"  direction: {scenario} {name}: {len(found)} sessions")
        return True

    def measure(self, clock: Clock, most: int = MOST) -> Verdict:
        """A block to each world, then to the undecided ones until none is or time is over."""
        for scenario, name in (*((one, "all") for one in CAPPED), ("feb24", "base")):
            self.more(scenario, name, min(LEAST, most), clock)
        write(self, self._kept, is_done=False)
        while True:
            undecided = [one for one in BANDS if self.verdict(one) is Verdict.UNDECIDED]
            nxt = min(undecided, key=lambda one: len(self.of(one, "all")), default=None)
            if nxt is None or len(self.of(nxt, "all")) >= most:
                break
            if not self.more(nxt, "all", len(self.of(nxt, "all")) + 2 * BLOCK, clock):
                break
        write(self, self._kept, is_done=True)
        return all_of([self.verdict(one) for one in BANDS])

    def area(self, scenario: str, which: str) -> Interval:
        """The area under the curve of one choice of moments."""
        return pooled_auc([getattr(it, which) for it in self.of(scenario, "all")])

    def verdict(self, scenario: str) -> Verdict:
        """Whether danger tells, each second, what it must in this world and no more."""
        least, most = BANDS[scenario]
        if len(self.of(scenario, "all")) < LEAST:
            return Verdict.UNDECIDED
        return decide(self.area(scenario, "every"), least=least, most=most)


_MOMENTS: Final = {
    "every": "each second",
    "spoken": f"while the two dangers differ by {SPOKEN:g} or more",
    "swept": "the second of a burst of own fills",
}


def _mean(values: list[float | None]) -> Interval:
    there = [value for value in values if value is not None]
    return mean_of(there) if there else UNKNOWN


def write(found: Direction, kept: Kept, *, is_done: bool) -> None:
    """The page and its figures."""
    areas = [
        (scenario, which, found.area(scenario, which), found.of(scenario, "all"))
        for scenario in BANDS
        for which in _MOMENTS
    ]
    rows = [
        [
            scenario,
            text_of(which),
            str(len(seen)),
            str(sum(getattr(it, which)[0].size for it in seen)),
            shown(area, ".3f"),
            "{:.2f} to {:.2f}".format(*BANDS[scenario]) if which == "every" else "",
            found.verdict(scenario).value if which == "every" else "",
        ]
        for scenario, which, area, seen in areas
    ]
    times = []
    for scenario in CAPPED:
        seen = found.of(scenario, "all")
        if seen:
            columns = ("opposed_frac", "held_frac", "urgent_frac", "capped_frac")
            shares = [_mean([getattr(it, one) for it in seen]) for one in columns]
            shares.append(_mean([it.capped_of_opposed for it in seen]))
            times.append((scenario, len(seen), shares))
    called = [(name, _detections(found.of("feb24", name))) for name in ("all", "base")]
    kept.save(
        "direction",
        {
            "is_done": is_done,
            "first_seed": FIRST_SEED,
            "sets": [LIMIT],
            "auc": [
                {"world": scenario, "moments": which, "seeds": len(seen), **told_of(area)}
                for scenario, which, area, seen in areas
            ],
            "verdicts": {scenario: found.verdict(scenario).value for scenario in BANDS},
            "time": [
                {
                    "world": scenario,
                    "seeds": seeds,
                    "opposed": told_of(shares[0]),
                    "held": told_of(shares[1]),
                    "urgent": told_of(shares[2]),
                    "capped": told_of(shares[3]),
                    "capped_of_opposed": told_of(shares[4]),
                }
                for scenario, seeds, shares in times
            ],
            "detection": dict(called),
        },
    )
    kept.page("direction", TITLE, _lines(rows, times, called))


def text_of(which: str) -> str:
    """A choice of moments in words."""
    return _MOMENTS[which]


def _lines(
    rows: list[list[str]],
    times: list[tuple[str, int, list[Interval]]],
    called: list[tuple[str, Json]],
) -> list[str]:
    return [
        "`danger_up - danger_down` of `all` against the sign of the mid's move in the next minute:",
        "the area under the curve, its interval by drawing whole sessions. Seconds of the last",
        "minute, and those after which the mid is where it was, do not count.",
        "",
        *table(("world", "moments", "sessions", "moments", "area [95 %]", "asked", ""), rows),
        "",
        "## A trend against the position on 24 February",
        "",
        f"The anchored path rises from {RISE_S:g} s to its end. From the first second of it at",
        f"which the position is short by {OPPOSED_X:g} of its limit and the mid is above that of",
        "the beginning: seconds until `is_opposed`. Positions that were gone before are counted",
        f"apart. Asked: within {LATE_S:g} s.",
        "",
        *table(
            ("variant", "sessions", "short", "called", "gone before", "median s", "p95 s",
             f"within {LATE_S:g} s", "held s, median"),
            (
                [
                    name,
                    str(it["sessions"]),
                    str(it["short"]),
                    str(it["called"]),
                    str(it["gone_before"]),
                    number(it["median_s"], ".0f"),
                    number(it["p95_s"], ".0f"),
                    number(it["within"], ".0%"),
                    number(it["held_median_s"], ".0f"),
                ]
                for name, it in called
            ),
        ),
        "",
        "## Time opposed",
        "",
        "Share of the time in which `all` is called opposed; in two-sided there is no trend: all",
        "of it is false. Held: a position that can be opposed. Capped: the bound of the answer",
        "(`stance.response_bps_max`) binds.",
        "",
        *table(
            ("world", "sessions", "opposed", "held", "opposed, U > 1", "capped",
             "capped, of the time opposed"),
            (
                [scenario, str(seeds), *(shown(share, ".3f") for share in shares)]
                for scenario, seeds, shares in times
            ),
        ),
    ]  # fmt: skip


def _detections(seen: list[Seen]) -> Json:
    found = [it.detection for it in seen if it.detection is not None]
    delays = [it.delay_s for it in found if it.delay_s is not None]
    return {
        "sessions": len(seen),
        "short": len(found),
        "called": len(delays),
        "gone_before": sum(it.delay_s is None and it.held_s < LATE_S for it in found),
        "never_called_s": [it.held_s for it in found if it.delay_s is None and it.held_s >= LATE_S],
        "median_s": median(delays) if delays else None,
        "p95_s": float(np.percentile(delays, 95)) if delays else None,
        "within": sum(delay <= LATE_S for delay in delays) / len(delays) if delays else None,
        "held_median_s": median([it.held_s for it in found]) if found else None,
    }
