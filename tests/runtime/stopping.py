"""One Ctrl+C with twenty orders resting, at a venue whose replies take their time."""

from __future__ import annotations

import random
from enum import Enum
from typing import Final

import msgspec

from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import Exit
from runtime.pipe_rig import PipeRun

RESTING: Final = 20
LIMITS_S: Final = {0.5: 2.0, 1.0: 3.5}
"""Longest end of 99 in 100 by how long a reply takes: everything gone, by the venue's word."""
SETS: Final = (
    "ladder.rungs=10",
    "ladder.spacing_vol_s=0",
    "ladder.depth_bps_max=100",
    "risk.capital_usd=1000",
    "risk.max_position_usd=2000",
    "guards.sweeps=10",
    "risk.warm_s=0",
    "risk.loss_limit_frac=0.5",
    "risk.drawdown_limit_frac=0.5",
    "risk.soft_limit_frac=0.5",
)
_TRIES_NS: Final = 600 * NS_PER_S
_STEP_S: Final = 0.01


class Way(Enum):
    """Where the time of a reply is spent."""

    LINE = "line"
    """Half of it on the way there: the cancels take effect that much later."""
    ANSWER = "answer"
    """After the venue has acted: a reading is that much older when it comes, and so is the news."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one stop was like.

    Attributes:
        rested: Orders of ours on the book when the signal came.
        is_moving: Whether requests about some of them were on their way then; None: not looked at.
        gone_s: From the signal until nothing of ours rests at the venue.
        verified_s: From the signal until the daemon says so and ends.
        faults: What was wrong; nothing, it is to be hoped.
    """

    seed: int
    way: str
    reply_s: float
    rested: int
    is_moving: bool | None
    gone_s: float
    verified_s: float
    faults: tuple[str, ...]


def stop_once(seed: int, way: Way, reply_s: float) -> Round:
    """Trade until twenty orders rest, at a moment drawn from the seed, and press Ctrl+C."""
    run = PipeRun("demo", seed=seed, sets=SETS, latency_ms=0)
    if way is Way.LINE:
        run.dialer._latency = run.http._latency = round(reply_s * NS_PER_S / 2)
    run.start()
    if way is Way.ANSWER:
        run.dialer._latency = run.http._latency = NS_PER_MS
        whole_ms = round(reply_s * 1000) - 2
        run.faults(delay_ms=whole_ms, info_delay_ms=whole_ms, event_lag_ms=whole_ms)
    chance = random.Random(seed)
    run.sim.run_for(10 + chance.uniform(0, 20))
    until_ns = run.sim.clock() + _TRIES_NS
    # At any moment, also while orders are placed, moved and filled.
    while (rested := len(run.resting())) < RESTING:
        run.sim.run_for(chance.uniform(0, 1))
        assert run.sim.clock() < until_ns, f"seed {seed}: {rested} orders, never {RESTING}"
    is_moving = run.trader.gateway.pending > 0
    began_ns = run.sim.clock()
    run.trader.stop("Ctrl+C")
    gone_ns: int | None = None
    while not run.endings and run.sim.clock() < began_ns + 60 * NS_PER_S:
        run.sim.run_for(_STEP_S)
        if run.resting():
            gone_ns = None
        elif gone_ns is None:
            gone_ns = run.sim.clock()
    ended_ns = run.sim.clock()
    faults = [] if run.endings else ["it did not end within a minute"]
    faults += [
        f"exit {ending.exit_code}, {ending.resting_orders} orders may rest"
        for ending in run.endings
        if ending.exit_code is not Exit.OK or ending.final is None or ending.resting_orders
    ]
    # What was on its way must not come to rest after the end was called verified.
    run.sim.run_for(3 * reply_s + 1)
    if run.resting():
        faults.append(f"{len(run.resting())} orders rest after the end")
    return Round(
        seed=seed,
        way=way.value,
        reply_s=reply_s,
        rested=rested,
        is_moving=is_moving,
        gone_s=((gone_ns or ended_ns) - began_ns) / NS_PER_S,
        verified_s=(ended_ns - began_ns) / NS_PER_S,
        faults=tuple(faults),
    )
