"""A synthetic market around one perp for tests, and a simple maker of ours in it."""

from __future__ import annotations

from collections.abc import Iterator

from mmbot.core.types import Side, Tif
from mmbot.emulator.market import Market, MarketParams
from mmbot.emulator.matching import Level, Order
from mmbot.emulator.specs import (
    AssetSpec,
    DexSpec,
    FillRecord,
    NewOrder,
    OrderResult,
    TradePrint,
    VenueParams,
)
from mmbot.emulator.venue import Venue

START_MS = 1_791_484_300_000
US = "0x" + "a1" * 20
HYPE = 0

CALM: dict[str, float] = {
    "sigma_bps_rt_s": 0.0,
    "a_per_s": 0.0,
    "sweeps_per_s": 0.0,
    "sweep_informed_frac": 0.0,
    "episodes_per_hour": 0.0,
}
"""Figures of a market in which nothing happens by itself."""


class Rig:
    """Venue, market and one funded account on a perp like HYPE."""

    def __init__(
        self,
        params: MarketParams,
        seed: int = 1,
        *,
        px: float = 26.2,
        sz_decimals: int = 2,
        equity_usd: float = 1_000_000.0,
        has_queue: bool = True,
    ) -> None:
        spec = AssetSpec(name="HYPE", sz_decimals=sz_decimals, max_leverage=10, mark_px=px)
        self.venue = Venue(VenueParams(), (DexSpec(name="", assets=(spec,)),), START_MS)
        self.venue.open_account(US, usd=equity_usd)
        self.market = Market(params, self.venue, HYPE, seed, START_MS, has_queue=has_queue)
        self.book = self.venue.asset(HYPE).book
        self.prints: list[TradePrint] = []
        self.fills: list[FillRecord] = []

    def run(self, until_s: float) -> None:
        """Advance to a time since the start, event by event."""
        for _ in self.events(until_s):
            pass

    def events(self, until_s: float) -> Iterator[int]:
        """Advance one event at a time; gives the venue's time after each."""
        until_ms = START_MS + round(until_s * 1000)
        while self.market.next_due_ms() <= until_ms:
            self.market.advance(self.market.next_due_ms())
            self.collect()
            yield self.venue.now_ms
        self.venue.advance(until_ms)

    def collect(self) -> None:
        """Sort what the venue told."""
        for event in self.venue.drain():
            if isinstance(event, TradePrint):
                self.prints.append(event)
            elif isinstance(event, FillRecord):
                self.fills.append(event)

    @property
    def mid_ticks(self) -> float:
        """Mid of the book."""
        bid, ask = self.book.bid_ticks, self.book.ask_ticks
        assert bid is not None
        assert ask is not None
        return (bid + ask) / 2

    def at_bps(self, side: Side, depth_bps: float) -> int:
        """Valid price at a depth from the book's mid, rounded away from it."""
        px = self.mid_ticks * (1 - side * depth_bps * 1e-4)
        step = 10 ** max(0, len(str(int(px))) - 5)
        return int(px // step * step) if side is Side.BUY else int(-(-px // step) * step)

    def quote(
        self, side: Side, px_ticks: int, sz_lots: int = 100, tif: Tif = Tif.ALO
    ) -> OrderResult:
        """Place an order of ours."""
        return self.venue.submit(US, NewOrder(HYPE, side, px_ticks, sz_lots, tif))

    def ours(self) -> list[Order]:
        """Our resting orders."""
        return list(self.venue.account(US).open.values())

    def pull(self, order: Order) -> None:
        """Cancel an order of ours."""
        self.venue.cancel(US, HYPE, oid=order.oid)

    def makers_best(self, side: Side) -> int | None:
        """Best price at which another account rests."""
        for level in self.book.levels(side):
            if makers_in(level):
                return level.px_ticks
        return None

    def touch(self, side: Side) -> Level:
        """Best level of a side."""
        return next(iter(self.book.levels(side)))

    def equity_usd(self) -> float:
        """Our account's value at the venue's mark, USD."""
        value: str = self.venue.clearinghouse_state(US, "")["marginSummary"]["accountValue"]
        return float(value)


def makers_in(level: Level) -> int:
    """Distinct other accounts with an order at a level."""
    return len({o.slot.account.address for o in level.orders.values() if not is_ours(o)})


def makers_before(order: Order, level: Level) -> int:
    """Distinct other accounts before an order in its queue."""
    before: set[str] = set()
    for other in level.orders.values():
        if other is order:
            break
        if not is_ours(other):
            before.add(other.slot.account.address)
    return len(before)


def is_ours(order: Order) -> bool:
    """Whether an order is of our account."""
    return order.slot.account.address == US


class SymmetricMaker:
    """Keeps one order a side at a fixed depth from the mid, whatever its position."""

    def __init__(self, rig: Rig, half_bps: float, sz_lots: int = 80) -> None:
        self._rig = rig
        self._half_bps = half_bps
        self._sz_lots = sz_lots
        self._orders: dict[Side, Order | None] = {Side.BUY: None, Side.SELL: None}

    def requote(self) -> None:
        """Move both orders to the present mid."""
        rig = self._rig
        for side, order in self._orders.items():
            px = rig.at_bps(side, self._half_bps)
            if order is not None and order.is_booked:
                if order.px_ticks == px:
                    continue
                rig.pull(order)
            result = rig.quote(side, px, self._sz_lots)
            oid = result.oid
            self._orders[side] = None if oid is None else rig.venue.account(US).open.get(oid)
