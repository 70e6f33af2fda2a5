"""
One run of the campaign: the whole daemon as `mmbot run` assembles it, over the pipe.

Beside it stand the venue's own books, looked at four times a second and at every action the venue
carries out. The clock the program reads is the product's own, over one that can be set.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from mmbot.config import Config
from mmbot.core.orders import SlotState
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side, Tif
from mmbot.emulator.canonical import Envelope
from mmbot.emulator.gatehouse import Verdict
from mmbot.emulator.makers import valid_near
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.specs import NewOrder
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import InvariantError
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.aio import WallClock
from mmbot.runtime.campaign.meddler import Meddler
from mmbot.runtime.campaign.schedule import Schedule
from mmbot.runtime.pipe import SimLoop
from mmbot.runtime.piped import WORTHLESS_KEY, Piped
from mmbot.runtime.simulation import SimHandle
from mmbot.runtime.summary import summarise
from mmbot.runtime.trader import is_ours

COIN: Final = "HYPE"
EQUITY_USD: Final = 1000.0
_START_MS: Final = 1_791_486_000_000 - 60_000
"""A minute before a full hour: every run pays or receives funding."""
_IN_FLIGHT: Final = frozenset(
    {SlotState.PLACING, SlotState.MOVING, SlotState.CANCELLING, SlotState.UNKNOWN}
)
_TAKE_FRAC: Final = 0.05
"""How far from the mid the account is traded by hand at most."""
_LOTS: Final = 1e-9
_LOOK_BACK: Final = 240
"""Looks over which the price may have moved since an order that rests was sized: a minute."""


class Timers:
    """Timers of an event loop, whose waits are spans: setting the clock moves none of them."""

    def __init__(self, sim: SimLoop, clock: WallClock) -> None:
        self._sim = sim
        self._clock = clock

    def call_at(self, when_ns: int, fn: Any) -> SimHandle:
        """See `ports.Scheduler`."""
        return self._sim.call_at(self._sim.clock() + max(0, when_ns - self._clock()), fn)


class Stage(Piped):
    """
    A `Trader`, its exchange, and what was seen of both.

    Args:
        level: What the log keeps; all of it costs a quarter of the time.

    Attributes:
        strays: Orders that rested without a slot in the engine: time in s, cloid.
        over: Moments at which everything live, filled, would have exceeded the position limit.
        loss_usd: Largest loss since the start, by the venue's books, at the lower of mid and mark.
        fall_frac: Largest fall from the peak of the same equity.
    """

    def __init__(self, config: Config, schedule: Schedule, *, level: str = "warning") -> None:
        seed = schedule.seed
        chance = Random(seed)  # noqa: S311 - faults are drawn, nothing is kept secret by it
        signer = Signer(WORTHLESS_KEY, is_mainnet=False)
        self.user = signer.address
        self.venue, self.market = build_venue(
            COIN,
            schedule.scenario,
            overrides={},
            seed=seed,
            now_ms=_START_MS,
            accounts=[(self.user, EQUITY_USD)],
        )
        self.exchange = Exchange(
            self.venue,
            self.market,
            ExchangeParams(latency_ms=schedule.latency_ms, requests_kept=100_000),
            market_coin=COIN,
            chance=chance,
        )
        self.inherited_fills = self._inherit(schedule.inherited_usd)
        """Fills that made the position of the start."""
        self._carry_out = self.exchange.gate.carry_out
        self.exchange.gate.carry_out = self._watch_action  # type: ignore[method-assign]
        sim = SimLoop(_START_MS * NS_PER_MS)
        self.set_ns = 0
        """By how much the clock of the machine was set since the start."""
        clock = WallClock(lambda: sim.clock() + self.set_ns, sim.clock)
        super().__init__(
            config,
            self.exchange,
            sim,
            signer=signer,
            user=self.user,
            run=seed & 0xFFFF_FFFF,
            jitter=chance,
            level=level,
            clock=clock,
            scheduler=Timers(sim, clock),
        )
        self.meddler = self.dialer.tamper = Meddler(sim.clock, chance)
        self.strays: list[tuple[float, str]] = []
        self.over: list[tuple[float, float]] = []
        self.loss_usd = self.fall_frac = 0.0
        self._peak_usd = config.risk.capital_usd
        self._mids: list[float] = []

    def _inherit(self, value_usd: float) -> int:
        """Give the account a position before the run begins; how many fills that took."""
        mid = self.mid_px()
        if not value_usd or mid is None:
            return 0
        self.take(Side.BUY if value_usd > 0 else Side.SELL, abs(value_usd) / mid)
        return len(self.fills())

    def take(self, side: Side, sz: float) -> None:
        """Trade the account by hand, beside the program."""
        mid = self.mid_px()
        asset_id = self.venue.asset_id(COIN)
        if mid is None or asset_id is None:
            return
        asset = self.venue.asset(asset_id)
        lots = max(1, round(sz * asset.lots_per_coin))
        ticks = valid_near(asset.ticks(mid * (1.0 + side * _TAKE_FRAC)), asset.sz_decimals)
        self.venue.submit(self.user, NewOrder(asset_id, side, ticks, lots, Tif.IOC))
        self.exchange.settle()

    def start(self) -> None:
        """Set the leverage, as `mmbot run` does before it connects, then connect."""
        refusal = self.lever()
        if refusal is not None:
            msg = f"the leverage was not set: {refusal}"
            raise InvariantError(msg)
        self.know()
        self.trader.start()

    @property
    def at_s(self) -> float:
        """Time since the start."""
        return (self.sim.clock() - _START_MS * NS_PER_MS) / NS_PER_S

    @property
    def is_in_flight(self) -> bool:
        """Whether a request about an order waits for its verdict."""
        slots = self.trader.engine.orders.slots.values()
        return self.trader.gateway.pending > 0 or any(s.state in _IN_FLIGHT for s in slots)

    # -- the venue's word -----------------------------------------------------------------------

    def resting(self) -> list[dict[str, Any]]:
        """Our open orders."""
        rows: list[dict[str, Any]] = self.venue.open_orders(self.user, "")
        return rows

    def state(self) -> dict[str, Any]:
        """`clearinghouseState` of our account."""
        state: dict[str, Any] = self.venue.clearinghouse_state(self.user, "")
        return state

    def fills(self) -> list[dict[str, Any]]:
        """Our fills."""
        rows: list[dict[str, Any]] = self.venue.user_fills(self.user, aggregate=False)
        return rows

    def position_sz(self) -> float:
        """Our position."""
        for row in self.state()["assetPositions"]:
            if row["position"]["coin"] == COIN:
                return float(row["position"]["szi"])
        return 0.0

    def mid_px(self) -> float | None:
        """Middle of the book; None while a side is empty."""
        book = self.venue.l2_book(COIN)
        if book is None:
            return None
        bids, asks = book["levels"]
        return (float(bids[0]["px"]) + float(asks[0]["px"])) / 2 if bids and asks else None

    def summary(self) -> dict[str, Any]:
        """The run summary as `mmbot run` writes it."""
        return summarise(self.trader, self.endings[0], 0.0)

    def untrue(self) -> set[str]:
        """
        What the program believes at this moment that is not so.

        News take a while to arrive: only what stays untrue for a time is wrong.
        """
        engine = self.trader.engine
        resting = {int(row["cloid"], 16) for row in self.resting()}
        found = {
            f"believes {slot.cloid:#034x} to rest, which does not"
            for slot in engine.orders.slots.values()
            if slot.state is SlotState.WORKING and slot.cloid not in resting
        }
        if abs(self.instrument.sz(engine.position.lots) - self.position_sz()) > _LOTS:
            found.add("believes to hold what the venue does not have")
        return found

    # -- looking --------------------------------------------------------------------------------

    def look(self) -> None:
        """Hold the orders and the money against the limits, by the venue's books."""
        mid = self.mid_px()
        if mid is not None:
            self._mids.append(mid)
            del self._mids[:-_LOOK_BACK]
            self._value(mid)
        self._weigh()

    def _value(self, mid: float) -> None:
        """Follow equity at the lower of mid and mark, as the limits on losses count it."""
        state = self.state()
        if self.trader.start_equity_usd is None:
            return
        pnl_usd = float(state["marginSummary"]["accountValue"]) - self.trader.start_equity_usd
        for row in state["assetPositions"]:
            held = row["position"]
            szi, value = float(held["szi"]), float(held["positionValue"])
            mark = abs(value / szi)
            pnl_usd = min(pnl_usd, pnl_usd + szi * (mid - mark))
        equity_usd = self.config.risk.capital_usd + pnl_usd
        self._peak_usd = max(self._peak_usd, equity_usd)
        self.loss_usd = max(self.loss_usd, -pnl_usd)
        self.fall_frac = max(self.fall_frac, 1.0 - equity_usd / self._peak_usd)

    def _weigh(self) -> None:
        limits = self.trader.engine.limits
        if limits is None or not self._mids:
            return
        slots = self.trader.engine.orders.slots
        rows = [row for row in self.resting() if is_ours(int(row["cloid"], 16))]
        self.strays.extend(
            (self.at_s, row["cloid"]) for row in rows if int(row["cloid"], 16) not in slots
        )
        # An order is sized at the price of its decision: the lowest of late allows the most.
        limit_sz = limits.q_max_usd / min(self._mids)
        held_sz = self.position_sz()
        for sign, mark in ((1, "B"), (-1, "A")):
            side_sz = sum(float(row["sz"]) for row in rows if row["side"] == mark)
            share = (sign * held_sz + side_sz) / limit_sz
            if side_sz and share > 1.0 + 1e-9:
                self.over.append((self.at_s, share))

    def _watch_action(self, request: Envelope, now_ms: int) -> Verdict:
        """Carry an action out and look: between two looks everything may have rested."""
        verdict = self._carry_out(request, now_ms)
        if not self.endings:
            self._weigh()
        return verdict
