"""
Single faults for runs over the pipe, each with the causes that name it.

How a fault is made is nobody's business but this module's: a report sees what the run left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.mutants import Border, Change
from mmbot.core.types import Side
from runtime.report_rig import (
    Act,
    Fault,
    cut,
    faults,
    inherit,
    kill,
    lag,
    mutant,
    overcharge,
    spend,
    stall,
    step_clock,
    take,
    withdraw,
)


def _often(act: Act, first: float, last: float, times: int) -> tuple[tuple[float, Act], ...]:
    """The same act at several parts of a run."""
    step = (last - first) / max(1, times - 1)
    return tuple((first + i * step, act) for i in range(times))


FAULTS: Final[dict[str, Fault]] = {
    # the core
    "skew cut": Fault(("term:inventory_skew",), begun=mutant("inventory_skew_bps", Change.ZERO)),
    "skew cut behind the record": Fault(
        ("term:inventory_skew", "term:carried"),
        begun=mutant("inventory_skew_bps", Change.ZERO, Border.LADDER),
    ),
    "drift sign": Fault(
        ("term:drift", "term:drift_rate"),
        begun=mutant("drift.mean_bps_per_s", Change.FLIP, Border.VIEW),
    ),
    "cascade off": Fault(("term:cascade",), sets=("cascade.gain=0",), scenarios=("demo",)),
    "cascade dead": Fault(
        ("term:cascade", "term:hold"),
        begun=mutant("cascade_bid_bps", Change.ZERO),
        scenarios=("demo",),
    ),
    "volatility a tenth": Fault(
        ("term:volatility",), begun=mutant("vol_bps_rt_s", Change.TENTH, Border.VIEW)
    ),
    "adverse selection dead": Fault(
        ("term:adverse",), begun=mutant("adverse_selection_bps", Change.ZERO)
    ),
    "widening dead": Fault(
        ("term:widening",), begun=mutant("widening_bid_bps", Change.ZERO), scenarios=("demo",)
    ),
    # money
    "fee wrong": Fault(("fee", "term:fee"), acts=((0.1, overcharge(1.92)),), scenarios=("demo",)),
    "fee term a tenth": Fault(("fee", "term:fee"), begun=mutant("fee_bps", Change.TENTH)),
    "quotes too tight": Fault(
        ("tight",),
        # What a maker who knows nothing of adverse moves quotes in a market that has them.
        sets=(
            "quoter.half_spread_bps_min=0.5",
            "quoter.glft_bps_max=0.5",
            "adverse.a0_bps=0",
            "adverse.a1=0",
            "adverse.prior_events=1000",
            "ladder.rungs=1",
            "intensity.a_per_s=0.05",
        ),
        market={"a_per_s": 0.4},
        scenarios=("hype",),
        needs_s=900.0,
    ),
    "orders too large": Fault(
        ("size",), sets=("risk.side_budget_frac=0.5", "risk.warm_s=0"), scenarios=("demo",)
    ),
    "position inherited": Fault(("inherited",), prepare=inherit(Side.BUY, 300.0)),
    "money withdrawn": Fault(("funds",), acts=((0.5, withdraw(35.0)),)),
    "traded beside": Fault(("position",), acts=((0.5, take(Side.BUY, 120.0)),)),
    # the line
    "feed stale": Fault(("feed",), acts=((0.3, stall(14.0)), (0.6, stall(14.0)))),
    "latency": Fault(("latency",), acts=((0.1, faults(delay_ms=1800)),)),
    "no answers": Fault(
        ("unanswered",), acts=_often(faults(drop=3), 0.2, 0.8, 5), scenarios=("demo",)
    ),
    "disconnects": Fault(("disconnects",), acts=_often(cut, 0.2, 0.8, 5)),
    "clock": Fault(("clock",), acts=((0.5, step_clock(3.0)),)),
    "disk of the journal": Fault(("journal",), acts=((0.4, lag(15.0)),)),
    # the venue and the operator
    "rejects": Fault(
        ("rejects",),
        acts=_often(faults(refuse_batch=["Insufficient margin to place order."] * 30), 0.2, 0.8, 4),
    ),
    "budget spent": Fault(("budget",), prepare=spend(40), scenarios=("hype",)),
    "venue halted": Fault(
        ("standstill",),
        acts=((0.4, faults(is_halted=True)), (0.5, faults(is_halted=False))),
    ),
    "kill": Fault(("operator",), acts=((0.6, kill),)),
}
"""By name; the first suspect must be one of `causes`."""

TWENTY: Final[dict[str, str]] = {
    "skew cut": "demo",
    "drift sign": "demo",
    "cascade off": "demo",
    "volatility a tenth": "hype",
    "adverse selection dead": "hype",
    "widening dead": "demo",
    "fee wrong": "demo",
    "quotes too tight": "hype",
    "orders too large": "demo",
    "position inherited": "demo",
    "money withdrawn": "hype",
    "feed stale": "hype",
    "latency": "demo",
    "no answers": "demo",
    "disconnects": "hype",
    "clock": "hype",
    "disk of the journal": "demo",
    "rejects": "demo",
    "budget spent": "hype",
    "kill": "demo",
}
"""The faults that the figure is made of, each with its market."""
_LIVELY: Final[dict[str, object]] = {"a_per_s": 0.4, "k_per_bp": 0.1}
"""The flow of `demo`, in a market whose own makes a fill every few minutes."""
_FALL: Final = ((0.0, 0.0), (300.0, -300.0), (900.0, -450.0), (1500.0, -600.0))
_RISE: Final = tuple((at_s, -bps) for at_s, bps in _FALL)
_GAP: Final = ((20.0, 0.0), (20.25, -500.0))


class Sound(NamedTuple):
    """A market in which nothing is wrong with a run, whatever it makes there."""

    scenario: str
    market: Mapping[str, object] = {}
    prepare: Act | None = None


SOUND: Final[dict[str, Sound]] = {
    "demo": Sound("demo"),
    "falling": Sound("hype", {"anchors": _FALL}, inherit(Side.BUY, 100.0)),
    "rising": Sound("hype", {"anchors": _RISE}, inherit(Side.SELL, 100.0)),
    "hype": Sound("hype"),
    "noise": Sound("two-sided", _LIVELY),
    "informed": Sound("informed-100", _LIVELY),
    "trend": Sound("trend", _LIVELY),
    "whipsaw": Sound("whipsaw", _LIVELY),
    "gap": Sound("gap", {**_LIVELY, "anchors": _GAP}, inherit(Side.BUY, 100.0)),
    "feb24": Sound("feb24"),
}
"""Markets of the sound runs: no two move alike at one seed, and three go against what is held."""
SOUND_S: Final = 1500.0
"""How long a sound run must be: a rule that wants a dozen events cannot fire in two minutes."""
