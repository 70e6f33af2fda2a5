"""
A session in which every term of the quote must act at some time, driven by hand.

Inventory goes up and down, the price ramps against it both ways, a side is swept and the price
comes back to it, volatility rises, fee, funding and the other market's lead change. The path of
the price does not depend on what is quoted, so a mutant meets the same market as the original.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from core.rig import PREFIX, Resting, Rig, params
from core.watched import Watch, facts_of
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.engine import Engine, EngineParams
from mmbot.core.events import AssetCtx, ReferencePx, Trades
from mmbot.core.types import NS_PER_S, Fees, Side

START_PX = 26.2
STEP_S = 0.5
END_S = 450.0
SWEEP_S = 230.0
BASE_FEE_BPS, LATER_FEE_BPS = 1.5, 2.2
_PREMIUM = 1.001

RAMPS = ((60.0, 110.0, -1.0), (150.0, 200.0, 2.0), (236.0, 241.0, -3.0))
"""From, until (s), bps a second."""

FILLED = (40.0, 60.0, 0.3)
"""From, until (s), and the part of its limit to which fills of ours bring the position."""

JUMPS = (
    (112.0, 0.0),
    (119.0, -0.1),
    (128.0, -0.3),
    (206.0, 0.0),
    *((float(at_s), 0.8) for at_s in range(330, 365, 4)),
    *((float(at_s), -0.8) for at_s in range(366, 400, 4)),
    (401.0, 0.2),
)
"""When (s) another order on the account takes the position to which part of its limit."""


def settings(**quoter: object) -> EngineParams:
    """Shipped parameters with room to lose: here nothing may stop the session."""
    return params(
        quoter=quoter,
        risk={
            "capital_usd": 1000.0,
            "max_position_usd": 2000.0,
            "loss_limit_frac": 0.5,
            "drawdown_limit_frac": 0.5,
            "soft_limit_frac": 0.4,
        },
        guards={"stuck_s": 3600.0, "edge_events": 20, "edge_bps": 50.0, "sweeps": 10},
    )


def sigma_bps_rt_s(at_s: float) -> float:
    """Volatility of the path, with a burst of it."""
    if 262 <= at_s < 325:
        return 6.0
    return 0.5 if at_s < 140 else 1.5


def lead_bps(at_s: float) -> float:
    """How far the other market is ahead."""
    if at_s < 70:
        return 0.0
    if at_s < 130:
        return 6.0
    return -4.0


def funding_bps_per_h(at_s: float) -> float:
    """What a long position pays."""
    return 2.0 if at_s < 100 else -6.0


class Driven:
    """One session; `on_record` sees each record at its time in seconds."""

    def __init__(
        self, seed: int = 1, *, is_mirrored: bool = False, chosen: EngineParams | None = None
    ) -> None:
        self.settings = chosen or settings()
        self.sign = -1 if is_mirrored else 1
        self.rig = Rig(self.settings, equity_usd=1000.0, fair_px=START_PX)
        self.start_ns = self.rig.now_ns
        self.watch = Watch(self.rig.engine, self.settings)
        self.rng = Random(seed)
        self.mid_bps = 0.0
        self.tid = 10_000
        self.is_swept = False
        self.fee_bps = BASE_FEE_BPS
        self.records: list[tuple[float, Diagnostics]] = []
        self.jumps = list(JUMPS)
        self.steps = 0

    @property
    def engine(self) -> Engine:
        return self.rig.engine

    @property
    def at_s(self) -> float:
        return (self.rig.now_ns - self.start_ns) / NS_PER_S

    def run(self, until_s: float = END_S, is_over: Callable[[Driven], bool] | None = None) -> None:
        self.watch.on_record = lambda record: self.records.append((self.at_s, record))
        while self.at_s < until_s and not (is_over is not None and is_over(self)):
            self.step(self.steps)
            self.steps += 1

    def forget(self) -> None:
        """Drop what was written down, so that a copy of the session is one of its state alone."""
        self.watch.on_record = None
        for noted in (self.records, self.rig.tape, self.rig.notes, self.rig.batches):
            noted.clear()

    # -- one step ---------------------------------------------------------------------------------

    def step(self, step: int) -> None:
        rig, at_s = self.rig, self.at_s
        rig.wait(STEP_S)
        self.mid_bps += self.sign * self.rng.gauss(0.0, sigma_bps_rt_s(at_s) * STEP_S**0.5)
        for since_s, until_s, bps_per_s in RAMPS:
            if since_s <= at_s < until_s:
                self.mid_bps += self.sign * bps_per_s * STEP_S
        rig.set_fair(START_PX * (1 + self.mid_bps * 1e-4))
        self.run_over()
        rig.tell_book()
        self.tell_world(at_s, step)
        self.decide()
        self.fill_towards(at_s)
        if at_s >= SWEEP_S and not self.is_swept:
            self.is_swept = True
            rig.wait(0.01)
            rig.sweep(Side(-self.sign))
            self.decide()

    def decide(self) -> None:
        self.watch.see(self.rig.decide())

    def run_over(self) -> None:
        """What the market has come through is filled, and at most one order a step."""
        rig = self.rig
        for order in list(rig.resting.values()):
            touch = rig.ask_ticks if order.side > 0 else rig.bid_ticks
            if order.side * (order.px_ticks - touch) >= 0:
                rig.fill(order, order.sz_lots)

    def fill_towards(self, at_s: float) -> None:
        rig = self.rig
        since_s, until_s, target = FILLED
        if since_s <= at_s < until_s:
            missing = round(target * rig.q_max_lots()) - self.sign * rig.position_lots
            orders = rig.side(Side(self.sign))
            if missing > 0.02 * rig.q_max_lots() and orders:
                rig.wait(0.01)
                rig.fill(orders[0], min(orders[0].sz_lots, missing))
                self.decide()
        while self.jumps and at_s >= self.jumps[0][0]:
            self.jump(self.sign * round(self.jumps.pop(0)[1] * rig.q_max_lots()))
            self.decide()

    def jump(self, lots: int) -> None:
        """The position changes by a taker's fill, as where an operator flattens."""
        rig = self.rig
        missing = lots - rig.position_lots
        if not missing:
            return
        rig.wait(0.01)
        side = Side.BUY if missing > 0 else Side.SELL
        touch = rig.ask_ticks if missing > 0 else rig.bid_ticks
        order = Resting(0, 0, side, touch, abs(missing), abs(missing))
        fill = rig.fill_event(order, abs(missing))
        rig.apply(msgspec.structs.replace(fill, cloid=PREFIX << 64 | 1 << 63, is_taker=True))

    def tell_world(self, at_s: float, step: int) -> None:
        rig = self.rig
        mid = (rig.bid_ticks + rig.ask_ticks) / 2
        mid_px = rig.instrument.px(mid)
        px = mid_px * _PREMIUM * (1 + self.sign * lead_bps(at_s) * 1e-4)
        rig.apply(ReferencePx(rig.now_ns, rig.venue_ms, px))
        if step % 6 == 0:
            rate = self.sign * funding_bps_per_h(at_s)
            rig.apply(AssetCtx(rig.now_ns, mid_px, mid_px, rate * 1e-4, 1e6, mid_px))
        if step % 8 == 0:
            self.tid += 1
            side = Side(self.sign if step % 16 else -self.sign)
            reach = 2.5 + self.rng.expovariate(0.35)
            px_ticks = round(mid * (1 + side * reach * 1e-4))
            ms = rig.venue_ms
            rig.apply(Trades(rig.now_ns, ms, (ms,), (side,), (px_ticks,), (100,), (self.tid,)))
        if self.fee_bps == BASE_FEE_BPS and at_s >= 80:
            self.fee_bps = LATER_FEE_BPS
            rig.maker_bps = LATER_FEE_BPS
            rig.apply(rig.snapshot(fees=Fees(LATER_FEE_BPS, 4.5)))


__all__ = ["END_S", "Driven", "facts_of", "settings"]
