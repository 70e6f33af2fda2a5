"""
What the campaign sees of a run, over whatever line it trades: program, exchange, the venue's books.

The books are looked at four times a second and at every action the venue carries out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from mmbot.config import Config
from mmbot.core.events import Fill
from mmbot.core.intents import KillReason
from mmbot.core.orders import SlotState
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument, Side, Tif
from mmbot.emulator.canonical import Envelope
from mmbot.emulator.gatehouse import Verdict
from mmbot.emulator.makers import valid_near
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.specs import NewOrder, VenueParams
from mmbot.emulator.transfers import class_transfer
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import InvariantError
from mmbot.hyperliquid.ports import Clock, Handle
from mmbot.runtime.campaign.meddler import Meddler
from mmbot.runtime.campaign.schedule import Schedule
from mmbot.runtime.cloids import CLOID_MAGIC, is_ours
from mmbot.runtime.ending import Ending
from mmbot.runtime.piped import Records
from mmbot.runtime.summary import summarise
from mmbot.runtime.trader import Trader

COIN: Final = "HYPE"
EQUITY_USD: Final = 1000.0
_IN_FLIGHT: Final = frozenset(
    {SlotState.PLACING, SlotState.MOVING, SlotState.CANCELLING, SlotState.UNKNOWN}
)
_TAKE_FRAC: Final = 0.05
"""How far from the mid the account is traded by hand at most."""
_LOTS: Final = 1e-9
_LEFT_FRAC: Final = 6e-3
"""How far from the mid orders of an earlier run rest: nothing reaches them before the start."""
_LEFT_USD: Final = 20.0
_EARLIER: Final = CLOID_MAGIC << 48 | 0xEA51_1E50_0000
"""High half of their cloids."""
_CENT_USD: Final = 0.01
_FILLS_KEPT: Final = 200_000
"""More than a day brings."""
_LOOK_BACK: Final = 240
"""Looks over which the price may have moved since an order that rests was sized: a minute."""


class Time(Protocol):
    """The time that a run takes place in, which nobody sets."""

    def clock(self) -> int:
        """Nanoseconds since the epoch."""

    def call_at(self, when_ns: int, fn: Callable[[], None]) -> Handle:
        """See `ports.Scheduler`."""


class Line(Protocol):
    """The connection between program and exchange, which can be made to fail; see `PipeDialer`."""

    refuse: str | None

    def cut(self) -> None:
        """End every connection without a close frame."""

    def cut_after(self, count: int, *, is_upward: bool) -> None:
        """The same once so many more bytes of one direction have passed."""

    def stall(self, *, is_stalled: bool) -> None:
        """Hold everything back in both directions, or let it all through."""


class Hand(Protocol):
    """How what is done to an exchange from outside takes effect; see `Driver`."""

    def catch_up(self) -> None:
        """Bring it to the present."""

    def settle(self) -> None:
        """Have it say what it has to say."""


class Scene:
    """
    A `Trader`, its exchange, and what was seen of both.

    Attributes:
        sim: The time it all takes place in.
        dialer: The line.
        driver: Has to know when the exchange is changed by hand.
        meddler: Meets every text of the exchange.
        clock: What the program takes for the time.
        set_ns: By how much the clock of the machine was set since the start.
        strays: Orders that rested without a slot in the engine: time in s, cloid.
        over: Moments at which everything live, filled, would have exceeded the position limit.
        loss_usd: Largest loss since the start, by the venue's books, at the lower of mid and mark.
        fall_frac: Largest fall from the peak of the same equity.
        inherited_fills: Fills that made the position of the start.
        taken_usd: Money that has left the account since.
        told: Fills that the program stored, as often as the venue told them.
    """

    sim: Time
    dialer: Line
    driver: Hand
    clock: Clock
    config: Config
    trader: Trader
    exchange: Exchange
    instrument: Instrument
    log: Records
    latched: list[KillReason]
    told: list[Fill]
    endings: list[Ending]
    user: str
    meddler: Meddler

    def _build(self, config: Config, schedule: Schedule, start_ms: int, chance: Random) -> None:
        """Make the exchange, its market and the account; program and line come after."""
        self.start_ms = start_ms
        self.set_ns = 0
        self.venue, self.market = build_venue(
            COIN,
            schedule.scenario,
            overrides={},
            seed=schedule.seed,
            now_ms=start_ms,
            accounts=[(self.user, EQUITY_USD)],
            venue_params=VenueParams(history_fills=_FILLS_KEPT),
        )
        self.exchange = Exchange(
            self.venue,
            self.market,
            ExchangeParams(latency_ms=schedule.latency_ms, requests_kept=100_000),
            market_coin=COIN,
            chance=chance,
        )
        self.inherited_fills = self._inherit(schedule.inherited_usd)
        self._leave(schedule.leftovers)
        self._carry_out = self.exchange.gate.carry_out
        self.exchange.gate.carry_out = self._watch_action  # type: ignore[method-assign]
        self.strays: list[tuple[float, str]] = []
        self.over: list[tuple[float, float]] = []
        self.loss_usd = self.fall_frac = self.taken_usd = 0.0
        self._peak_usd = config.risk.capital_usd
        self._mids: list[float] = []

    @property
    def at_s(self) -> float:
        """Time since the start."""
        return (self.sim.clock() - self.start_ms * NS_PER_MS) / NS_PER_S

    @property
    def is_in_flight(self) -> bool:
        """Whether a request about an order waits for its verdict."""
        slots = self.trader.engine.orders.slots.values()
        return self.trader.gateway.pending > 0 or any(s.state in _IN_FLIGHT for s in slots)

    def _inherit(self, value_usd: float) -> int:
        """Give the account a position before the run begins; how many fills that took."""
        mid = self.mid_px()
        if not value_usd or mid is None:
            return 0
        self.take(Side.BUY if value_usd > 0 else Side.SELL, abs(value_usd) / mid)
        return len(self.fills())

    def _leave(self, count: int) -> None:
        """Let orders of an earlier run rest."""
        mid, asset_id = self.mid_px(), self.venue.asset_id(COIN)
        if mid is None or asset_id is None:
            return
        asset = self.venue.asset(asset_id)
        for number in range(count):
            side = Side.BUY if number % 2 else Side.SELL
            px = mid * (1.0 - side * (_LEFT_FRAC + 1e-3 * number))
            order = NewOrder(
                asset_id,
                side,
                valid_near(asset.ticks(px), asset.sz_decimals),
                max(1, round(_LEFT_USD / mid * asset.lots_per_coin)),
                Tif.ALO,
                cloid=f"{_EARLIER << 64 | number:#034x}",
            )
            self.venue.submit(self.user, order)
        self.exchange.settle()

    def take_out(self, left_usd: float) -> float:
        """Move money out of the account, as far as the venue lets it go; what is left, USD."""
        state = self.state()
        free_usd = float(state["withdrawable"])
        value_usd = float(state["marginSummary"]["accountValue"])
        taken_usd = round(min(free_usd, value_usd - left_usd) - _CENT_USD, 2)
        action = {"amount": f"{taken_usd:.2f}", "toPerp": False}
        refusal = class_transfer(self.venue.state, self.venue.account(self.user), action)
        if refusal is not None:
            msg = f"{taken_usd:.2f} USD could not be taken out: {refusal}"
            raise InvariantError(msg)
        self.taken_usd += taken_usd
        return value_usd - taken_usd

    def held_usd(self) -> float:
        """Value of our position at the mark, above 0."""
        rows = [row["position"] for row in self.state()["assetPositions"]]
        return sum(float(row["positionValue"]) for row in rows if row["coin"] == COIN)

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
        """Our fills, all of them; the venue's own answers hold the last 2,000."""
        return list(self.venue.account(self.user).fills)

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
        value_usd = float(state["marginSummary"]["accountValue"]) + self.taken_usd
        pnl_usd = value_usd - self.trader.start_equity_usd
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
