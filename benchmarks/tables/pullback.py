"""
How far and for how long a swept side stays back, measured off the orders that rest at the venue.

Two engines meet the same market and the same fills; one leaves the memory of sweeps out. What its
asks rest farther away than the other's is the pullback. Each figure is the mean over prices that
cover a line of the grid, so that rounding falls out.
"""

from __future__ import annotations

from math import exp2
from typing import Any, Final

import msgspec
from benchmarks.tables.driven import free, rig_of
from benchmarks.tables.kept import Json, Kept, number, table

from core.rig import Rig
from mmbot.core.engine import EngineParams
from mmbot.core.types import Side

TITLE: Final = "Pullback after a sweep of seven asks in one message"
PX: Final = 96.0
"""A price step is 0.1 bps here."""
RUNGS: Final = 7
SPACING_BPS: Final = 2.0
_SHIFTS: Final = 10
_SHIFT_S: Final = 0.02
WARM_S: Final = 60
OFF_BPS: Final = 0.4
TIMES_S: Final = (1, 30, 60, 90, 119, 125, 150, 180, 240, 300, 420)
CAP_BPS: Final = 15.0
SUSTAIN_S: Final = 120.0
HALF_LIFE_S: Final = 60.0
_WITHOUT: Final = frozenset({"cascade"})

PARAMS: Final[dict[str, Any]] = {
    "risk": {"capital_usd": 200.0, "max_position_usd": 1000.0},
    "ladder": {"rungs": RUNGS, "spacing_bps": SPACING_BPS, "spacing_vol_s": 0.0},
    "reconcile": {"hold_bps": 0.0, "hold_bps_max": 0.0, "hold_s": 0.0, "hold_s_max": 0.0},
    "quoter": {"reference_bps_max": 0.0},
}


class Row(msgspec.Struct, frozen=True):
    """One moment after the last sweep."""

    after_s: float
    x: float
    pulled_bps: float | None
    """What the asks rest farther away by; None while there are none."""
    expected_bps: float
    off_bps: float
    """How far the two may differ."""


class Pair:
    """The engine with the memory, the engine without, and the same market around both."""

    def __init__(self) -> None:
        self._params = free(EngineParams.model_validate(PARAMS))
        self.rigs = [
            rig_of(self._params, PX),
            rig_of(self._params, PX, ablate=_WITHOUT),
        ]
        for rig in self.rigs:
            rig.start()
        self.swept_s = 0.0
        self.now_s = 0.0
        self.expected = 0.0
        self.deepest_ticks = 0
        self.plain_bps = 0.0
        """Where the asks would be without the memory."""
        self.pass_time(WARM_S)

    def pass_time(self, seconds: float) -> None:
        """A market that stands still, told of twice a second."""
        for _ in range(round(seconds * 2)):
            for rig in self.rigs:
                rig.wait(0.5)
                rig.set_fair(PX)
                rig.tell_book()
                capture = rig.decide().capture
                if capture is not None and rig is self.rigs[1]:
                    self.plain_bps = capture.view.quote.depth_bps(Side.SELL)
                rig.settle()
            self.now_s += 0.5

    def sweep(self) -> float:
        """Both lose all their asks in one message; the depth of the sweep, bps."""
        depth = 0.0
        left = self._left_bps()
        for rig in self.rigs:
            prices = [order.px_ticks for order in rig.side(Side.SELL)]
            if rig is self.rigs[0]:
                assert len(prices) == RUNGS, prices
                self.deepest_ticks = max(prices)
                depth = (max(prices) - min(prices)) / rig.instrument.ticks(PX) * 1e4
            rig.wait(0.01)
            rig.sweep(Side.SELL)
            rig.settle()
        self.now_s += 0.01
        self.expected = min(CAP_BPS, max(self.expected if left > 0 else 0.0, left + depth))
        self.swept_s = self.now_s
        return depth

    def _left_bps(self) -> float:
        """What the law says is left of the last pullback."""
        fading_s = self.now_s - self.swept_s - SUSTAIN_S
        return self.expected * exp2(-max(0.0, fading_s) / HALF_LIFE_S)

    def buy_back(self, x: float) -> None:
        """Bids are hit one by one until the position is at least `x` of its limit."""
        for rig in self.rigs:
            for _ in range(60):
                missing = round(x * rig.q_max_lots()) - rig.position_lots
                if missing <= 0:
                    break
                order = rig.side(Side.BUY)[0]
                rig.wait(0.05)
                rig.fill(order, min(order.sz_lots, missing))
                rig.settle()
        self._meet()

    def _meet(self) -> None:
        """Both clocks show the later one's time."""
        latest = max(rig.now_ns for rig in self.rigs)
        for rig in self.rigs:
            self.now_s += (latest - rig.now_ns) / 1e9 if rig is self.rigs[1] else 0.0
            rig.now_ns = latest
            rig.tell_book()
            rig.settle()

    def restart(self) -> None:
        """Both processes end and begin anew; one of them is given its memory back."""
        for n, rig in enumerate(self.rigs):
            memory = rig.engine.memory
            fresh = rig_of(
                self._params,
                PX,
                lots=rig.position_lots,
                ablate=frozenset() if n == 0 else _WITHOUT,
            )
            fresh.now_ns = rig.now_ns
            fresh.engine.restore(memory, fresh.now_ns)
            fresh.start()
            self.rigs[n] = fresh
        self.pass_time(5)

    def row(self) -> Row:
        """Both asks, each over a line of the grid."""
        depths = [_depth(rig) for rig in self.rigs]
        self.now_s += _SHIFTS * _SHIFT_S
        ours, theirs = depths
        x = self.rigs[0].position_lots / self.rigs[0].q_max_lots()
        pulled = None if ours is None or theirs is None else ours - theirs
        weight = _weight(x)
        wanted = weight * self._left_bps()
        # While the pullback is whole, never nearer than the deepest price taken.
        fair_ticks = self.rigs[0].instrument.ticks(PX)
        deepest_bps = (self.deepest_ticks - fair_ticks) / fair_ticks * 1e4
        is_whole = self.now_s - self.swept_s < SUSTAIN_S
        held = weight * max(0.0, deepest_bps - self.plain_bps - wanted) if is_whole else 0.0
        # A price that stands is on its line already: rounding falls out of one of the two alone.
        off = OFF_BPS + (SPACING_BPS / 2 if held else 0.0)
        return Row(self.now_s - self.swept_s, x, pulled, wanted + held, off)

    def until(self, after_s: float) -> None:
        """Let the market stand until so long after the last sweep."""
        left = after_s - (self.now_s - self.swept_s) - _SHIFTS * _SHIFT_S
        if left >= 0.5:
            self.pass_time(left)


def _weight(x: float) -> float:
    """Share of the pullback that asks keep at a position: gone where they reduce it."""
    return min(1.0, max(0.0, (0.15 - x) / 0.10))


def _depth(rig: Rig) -> float | None:
    """Distance of the nearest ask from fair, the mean over one line of the grid."""
    found = []
    for n in range(_SHIFTS):
        rig.wait(_SHIFT_S)
        rig.set_fair(PX * (1 + (n / _SHIFTS - 0.45) * SPACING_BPS * 1e-4))
        rig.tell_book()
        rig.settle()
        if not rig.side(Side.SELL):
            return None
        found.append(rig.depth_bps(Side.SELL))
    return sum(found) / len(found)


def single() -> tuple[float, list[Row]]:
    """One sweep, and nothing after it."""
    pair = Pair()
    depth = pair.sweep()
    return depth, _rows(pair, TIMES_S)


def second() -> tuple[float, list[Row]]:
    """Another sweep of the same side before four minutes are over."""
    pair = Pair()
    pair.sweep()
    pair.until(200)
    pair.buy_back(0.0)
    pair.until(215)
    depth = pair.sweep()
    return depth, _rows(pair, TIMES_S)


def restarted() -> tuple[float, list[Row]]:
    """The process ends half a minute after the sweep and begins anew."""
    pair = Pair()
    depth = pair.sweep()
    pair.until(30)
    pair.restart()
    return depth, _rows(pair, [at_s for at_s in TIMES_S if at_s > 60])


def crossing() -> tuple[float, list[Row]]:
    """The position comes through zero a minute after the sweep, and the asks reduce it."""
    pair = Pair()
    depth = pair.sweep()
    rows = _rows(pair, (30, 59))
    for x in (0.0, 0.04, 0.10, 0.20):
        pair.buy_back(x)
        rows += _rows(pair, (pair.now_s - pair.swept_s + 2,))
    return depth, rows + _rows(pair, (119, 180))


def _rows(pair: Pair, times_s: Any) -> list[Row]:
    rows = []
    for at_s in times_s:
        pair.until(at_s)
        rows.append(pair.row())
    return rows


RUNS: Final = {
    "one sweep": single,
    "a second one 3.6 minutes after the first": second,
    "a restart half a minute after it": restarted,
    "the position crosses zero a minute after it": crossing,
}


def measure(kept: Kept) -> bool:
    """Run all of it, unless this commit has it; true when every figure is what it must be."""
    told = kept.load("pullback")
    if told is None:
        runs: Json = {}
        for name, run in RUNS.items():
            depth, rows = run()
            runs[name] = {"depth_bps": depth, "rows": [msgspec.to_builtins(row) for row in rows]}
        told = {"runs": runs}
        kept.save("pullback", told)
    kept.page("pullback", TITLE, lines(told["runs"]))
    return all(_is_met(row) for run in told["runs"].values() for row in run["rows"])


def _is_met(row: Json) -> bool:
    if row["pulled_bps"] is None:
        return True
    return bool(abs(row["pulled_bps"] - row["expected_bps"]) <= row["off_bps"])


def lines(runs: Json) -> list[str]:
    """The page."""
    out = [
        "Seven asks rest, one message takes them all, and the market stands still. Pullback: what",
        "the nearest ask rests farther from fair than that of the same engine without a memory of",
        "sweeps, with the same fills. Expected: the swept depth (15 bps at most) for two minutes,",
        "then halving every minute, so 12.5 % at five; in full while asks grow the position, none",
        "where they reduce one of 0.15 or more, and for those two minutes never nearer than the",
        f"deepest price taken. Met within {OFF_BPS:g} bps, and half a line of the grid more where",
        "that price decides. A dash: the side is pulled.",
    ]
    for name, run in runs.items():
        rows = run["rows"]
        out += [
            "",
            f"## {name[0].upper()}{name[1:]}",
            "",
            f"Depth of the last sweep {run['depth_bps']:.2f} bps.",
            "",
            *table(
                ("s after", "x", "pullback bps", "expected bps", "of the expected", ""),
                (
                    [
                        f"{row['after_s']:.0f}",
                        f"{row['x']:+.2f}",
                        number(row["pulled_bps"], ".2f"),
                        f"{row['expected_bps']:.2f}",
                        number(row["pulled_bps"] / row["expected_bps"], ".0%")
                        if row["pulled_bps"] is not None and row["expected_bps"] > OFF_BPS
                        else "",
                        "pulled"
                        if row["pulled_bps"] is None
                        else "met"
                        if _is_met(row)
                        else "MISSED",
                    ]
                    for row in rows
                ),
            ),
        ]
    return out
