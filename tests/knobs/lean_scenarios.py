"""What the engine of a configuration does when it is leaned on: trends, sweeps, takers, losses."""

from __future__ import annotations

from pathlib import Path
from random import Random

from core.rig import Rig
from knobs.core_scenarios import MID_PX, Watched
from mmbot.config import Config
from mmbot.core.events import OrderState, Trades
from mmbot.core.types import Side

_TIDS_FROM = 10**9
"""Numbers of the public trades begin here, apart from those of our fills."""


def _x(rig: Rig, x: float) -> None:
    """Bring the position to `x` of its limit, by fills of an order that is none of ours."""
    rig.hold_position(round(x * rig.q_max_lots()))


def _take(rig: Rig, side: Side, count: int, *, part: float = 1.0) -> None:
    """One taker takes our `count` nearest orders in one message, of the last only a part."""
    orders = rig.side(side)[:count]
    lots = [order.sz_lots for order in orders]
    if lots:
        lots[-1] = max(1, round(lots[-1] * part))
    fills = [rig.fill_event(order, sz) for order, sz in zip(orders, lots, strict=True)]
    for order, fill in zip(orders, fills, strict=True):
        rig.answer(fill)
        if not order.sz_lots:
            rig.finish(order, OrderState.FILLED)


def _goes_to(rig: Rig, px: float, *, bid_lots: int = 800, ask_lots: int = 800) -> None:
    """The market stands here now; orders of ours on its way are filled."""
    rig.set_fair(px)
    rig.run_over()
    rig.tell_book(bid_lots=bid_lots, ask_lots=ask_lots)


def burdened(config: Config, _: Path) -> list[object]:
    """A position in a calm market grows too large and is worked off in steps."""
    watched, chance = Watched(config), Random(3)
    rig = watched.rig
    steps = {5.0: 0.3, 60.0: 0.48, 120.0: 0.43, 180.0: 0.37, 240.0: 0.2}
    for at_s in watched.steps(300, 1.0):
        if at_s in steps:
            _x(rig, steps[at_s])
        _goes_to(rig, MID_PX * (1 + chance.gauss(0.0, 0.3) * 1e-4))
    return watched.seen


def tiring(config: Config, _: Path) -> list[object]:
    """A rise against a short position that tires, turns and comes back, minute by minute."""
    watched, chance = Watched(config), Random(5)
    rig = watched.rig
    px = MID_PX
    for at_s in watched.steps(1200, 1.0):
        if at_s in (10.0, 400.0, 800.0):
            _x(rig, {10.0: -0.25, 400.0: -0.12, 800.0: -0.07}[at_s])
        slope = 0.2 if at_s < 150 else -0.05 if at_s < 700 else 0.1
        px *= 1 + (slope + chance.gauss(0.0, 0.5)) * 1e-4
        _goes_to(rig, px)
    return watched.seen


def silent_for_a_while(config: Config, _: Path) -> list[object]:
    """A fall is on when the book falls silent for twenty seconds, and it goes on afterwards."""
    watched, chance = Watched(config), Random(9)
    px = MID_PX
    for at_s in watched.steps(200, 0.5):
        px *= 1 + (-0.15 + chance.gauss(0.0, 0.3)) * 1e-4
        if not 120 <= at_s < 140:
            _goes_to(watched.rig, px)
    return watched.seen


def swept(config: Config, _: Path) -> list[object]:
    """
    One sweep takes all our asks in two messages; the position is small, long, then none.
    """
    watched, chance = Watched(config), Random(13)
    rig = watched.rig
    px = MID_PX
    for at_s in watched.steps(420, 1.0):
        px *= 1 + chance.gauss(0.0, 0.3) * 1e-4
        if at_s == 20.0:
            half = len(rig.side(Side.SELL)) // 2
            _take(rig, Side.SELL, half)
            rig.wait(0.3)
            _take(rig, Side.SELL, 100)
        if at_s in (40.0, 90.0, 160.0):
            _x(rig, {40.0: 0.09, 90.0: 0.13, 160.0: 0.0}[at_s])
        _goes_to(rig, px)
    return watched.seen


def swept_in_part(config: Config, _: Path) -> list[object]:
    """Takers go through three of our bids, later four of our asks, then three but for a rest."""
    watched, chance = Watched(config), Random(17)
    rig = watched.rig
    px = MID_PX
    for at_s in watched.steps(420, 1.0):
        px *= 1 + chance.gauss(0.0, 0.3) * 1e-4
        if at_s == 20.0:
            _take(rig, Side.BUY, 3)
        if at_s in (140.0, 300.0):
            _x(rig, 0.0)
        if at_s == 200.0:
            _take(rig, Side.SELL, 4)
        if at_s == 360.0:
            _take(rig, Side.BUY, 3, part=0.6)
        _goes_to(rig, px)
    return watched.seen


def swept_in_a_rise(config: Config, _: Path) -> list[object]:
    """After a wild book the market rises under pressure, and our asks are swept while it does."""
    watched, chance = Watched(config), Random(19)
    rig = watched.rig
    px = MID_PX
    for at_s in watched.steps(420, 0.5):
        slope = 0.3 if 110 <= at_s < 140 else 0.12 if at_s < 240 else 0.0
        px *= 1 + (slope + chance.gauss(0.0, 0.15)) * 1e-4
        if at_s == 120.0:
            _take(rig, Side.SELL, 100)
        if at_s == 150.0:
            _x(rig, 0.0)
        bid_lots, ask_lots = (chance.randrange(400, 2500 if at_s < 70 else 900) for _ in "ba")
        _goes_to(rig, px, bid_lots=bid_lots + (900 if at_s >= 70 else 0), ask_lots=ask_lots)
    return watched.seen


def nibbled(config: Config, _: Path) -> list[object]:
    """Nine takers within forty seconds each take a little of our nearest bid."""
    watched, chance = Watched(config), Random(23)
    rig = watched.rig
    for at_s in watched.steps(240, 1.0):
        if 30.0 <= at_s < 75.0 and at_s % 5 == 0:
            _take(rig, Side.BUY, 1, part=0.1)
        _goes_to(rig, MID_PX * (1 + chance.gauss(0.0, 0.3) * 1e-4))
    return watched.seen


class Tape:
    """Takers of a market: what they trade is public, and takes orders of ours on its way."""

    def __init__(self, rig: Rig, chance: Random) -> None:
        self._rig = rig
        self._chance = chance
        self._tid = _TIDS_FROM
        self.px = MID_PX

    def taken(self, side: Side, reach_bps: float) -> None:
        """One taker on `side` trades at everything within `reach_bps` of the mid, at one moment."""
        rig = self._rig
        rig.wait(0.05)
        deepest = rig.instrument.ticks(self.px) * (1 + side * reach_bps * 1e-4)
        ours = [
            order for order in rig.side(side.opposite) if side * (deepest - order.px_ticks) >= 0
        ]
        self._tid += 1
        rig.apply(
            Trades(
                rig.now_ns,
                rig.venue_ms,
                (rig.venue_ms,),
                (side,),
                (round(deepest),),
                (self._chance.randrange(50, 400),),
                (self._tid,),
            )
        )
        _take(rig, side.opposite, len(ours))

    def goes_on(self, move_bps: float) -> None:
        """The market a moment after."""
        self._rig.wait(0.05)
        self.px *= 1 + move_bps * 1e-4
        _goes_to(self._rig, self.px)


def taken(config: Config, _: Path) -> list[object]:
    """Ten minutes of takers who go far and know much, one crash, ten of others who do not."""
    watched, chance = Watched(config), Random(29)
    tape = Tape(watched.rig, chance)
    for at_s in watched.steps(1200, 0.9):
        is_rough = at_s < 600
        if chance.random() < (0.25 if is_rough else 0.5):
            side = chance.choice((Side.BUY, Side.SELL))
            reach_bps = 0.5 + chance.expovariate(0.22 if is_rough else 1.0)
            tape.taken(side, reach_bps)
            tape.goes_on(side * reach_bps * (0.4 if is_rough else 0.1))
        tape.goes_on(chance.gauss(-45.0 if at_s == 90.0 else 0.0, 0.5))
        if at_s % 90 == 0:
            watched.rig.hold_position(0)
    return watched.seen


def reported(config: Config, _: Path) -> list[object]:
    """What the log says of one-sided volume: no order depends on it."""
    watched, chance = Watched(config), Random(37)
    tape = Tape(watched.rig, chance)
    told: list[object] = []
    for at_s in watched.steps(240, 1.0):
        tape.taken(Side.BUY if chance.random() < 0.6 else Side.SELL, 0.5)
        tape.goes_on(0.0)
        shown = watched.rig.decide().diagnostics
        if shown is not None:
            told.append((at_s, shown.vpin))
    return told


def losing(config: Config, _: Path) -> list[object]:
    """Whoever takes a little of our nearest order is proven right within five seconds."""
    watched, chance = Watched(config), Random(31)
    rig = watched.rig
    px = MID_PX
    owed_bps = 0.0
    for at_s in watched.steps(1300, 1.0):
        if at_s % 10 == 5:
            side = chance.choice((Side.BUY, Side.SELL))
            had = rig.position_lots
            _take(rig, side, 1, part=0.3)
            if rig.position_lots != had:
                owed_bps = -side * (13.0 + chance.gauss(0.0, 0.5))
        elif at_s % 10 == 7:
            px *= 1 + owed_bps * 1e-4
            owed_bps = 0.0
        if at_s % 50 == 0:
            rig.hold_position(0)
        _goes_to(rig, px * (1 + chance.gauss(0.0, 0.1) * 1e-4))
    return watched.seen


def stuck(config: Config, _: Path) -> list[object]:
    """A short position is kept up through ten minutes in which the price only rises."""
    watched, chance = Watched(config), Random(37)
    px = MID_PX
    for at_s in watched.steps(600, 1.0):
        if at_s >= 30 and at_s % 10 == 0:
            _x(watched.rig, -0.35)
        px *= 1 + (0.15 + chance.gauss(0.0, 0.2)) * 1e-4
        _goes_to(watched.rig, px)
    return watched.seen


def swept_again(config: Config, _: Path) -> list[object]:
    """Our asks are swept twice within two minutes, both times as soon as nothing is held."""
    watched, chance = Watched(config), Random(41)
    rig = watched.rig
    for at_s in watched.steps(600, 1.0):
        if at_s in (20.0, 140.0):
            _take(rig, Side.SELL, 100)
        if at_s in (60.0, 180.0):
            _x(rig, 0.0)
        _goes_to(rig, MID_PX * (1 + chance.gauss(0.0, 0.3) * 1e-4))
    return watched.seen
