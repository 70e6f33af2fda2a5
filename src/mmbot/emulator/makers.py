"""
The other makers of the synthetic market: several firms resting at every price near the mid.

They hold an order each at *every* valid price from their touch out to `depth_bps`, so that
whichever price becomes the touch has their orders on it already, older than anybody's who joined
later. When the price moves, whole rungs are taken off in front or put on, in front and at the far
end, where some slack keeps a price that swings to and fro from costing an order at every tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmbot.core.types import USD_PER_TICK_LOT, Side, Tif
from mmbot.emulator.matching import Order
from mmbot.emulator.numbers import step_of
from mmbot.emulator.placing import USER_CANCELED
from mmbot.emulator.specs import NewOrder

if TYPE_CHECKING:
    from mmbot.emulator.accounts import Account
    from mmbot.emulator.venue import Venue

_SIZES = 1024
"""Length of the table of size factors; a power of two, indexed by price."""

_STRIDE = 337
"""Offset of a maker's place in that table from the one before."""


_SLACK_RUNGS = 16
"""Rungs beyond the depth that are left standing."""


def valid_below(px_ticks: float, sz_decimals: int) -> int:
    """Highest valid price at or below `px_ticks`, at least one tick."""
    whole = max(1, int(px_ticks))
    return whole - whole % step_of(whole, sz_decimals)


def valid_above(px_ticks: float, sz_decimals: int) -> int:
    """Lowest valid price at or above `px_ticks`."""
    whole = max(1, -int(-px_ticks // 1))
    return -(-whole // step_of(whole, sz_decimals)) * step_of(whole, sz_decimals)


def valid_near(px_ticks: float, sz_decimals: int) -> int:
    """Nearest valid price, the lower of two that are as near."""
    below = valid_below(px_ticks, sz_decimals)
    above = valid_above(px_ticks, sz_decimals)
    return above if above - px_ticks < px_ticks - below else below


class _Rung:
    """One price with the makers' orders there; None where the venue refused one."""

    __slots__ = ("orders", "px_ticks")

    def __init__(self, px_ticks: int, orders: list[Order | None]) -> None:
        self.px_ticks = px_ticks
        self.orders = orders


class Wing:
    """One side of the makers' quotes: rungs at adjacent valid prices, best first."""

    def __init__(
        self,
        venue: Venue,
        asset_id: int,
        side: Side,
        addresses: Sequence[str],
        *,
        usd_per_bp: float,
        size_factors: Sequence[float],
    ) -> None:
        self._desk = venue.desk
        self._asset_id = asset_id
        self._asset = venue.asset(asset_id)
        self._sz_decimals = self._asset.sz_decimals
        self._levels = self._asset.book.bids if side is Side.BUY else self._asset.book.asks
        self._side = side
        self._accounts: list[Account] = [venue.account(address) for address in addresses]
        self._lots_scale = usd_per_bp * 1e4 / (len(self._accounts) * USD_PER_TICK_LOT)
        self._size_factors = size_factors
        self._rungs: deque[_Rung] = deque()
        # The step between valid prices, and the prices it holds for.
        self._step = self._step_from = self._step_until = 0

    # -- reading ----------------------------------------------------------------------------------

    @property
    def top_ticks(self) -> int | None:
        """Best price quoted, None when nothing is."""
        return self._rungs[0].px_ticks if self._rungs else None

    def strangers_best(self, bound_ticks: int, mid_ticks: float) -> int | None:
        """
        Best price between `bound_ticks` and the mid at which somebody else rests.

        None without one; the bounds themselves do not count.
        """
        sign = int(self._side)
        mine = {}
        for rung in self._rungs:
            if (rung.px_ticks - bound_ticks) * sign <= 0:
                break
            mine[rung.px_ticks] = sum(o is not None and o.is_booked for o in rung.orders)
        for level in self._asset.book.levels(self._side):
            px = level.px_ticks
            if (px - bound_ticks) * sign <= 0:
                return None
            if (px - mid_ticks) * sign < 0 and len(level.orders) > mine.get(px, 0):
                return px
        return None

    # -- changing ---------------------------------------------------------------------------------

    def retreat(self, top_ticks: int) -> None:
        """Take off every rung better than `top_ticks`."""
        rungs, sign = self._rungs, int(self._side)
        while rungs and (rungs[0].px_ticks - top_ticks) * sign > 0:
            self._take_off(rungs.popleft())

    def cover(self, top_ticks: int, low_ticks: int) -> None:
        """
        Quote every valid price from `top_ticks` out to `low_ticks`, making good what was traded.

        Trades take the best rungs first, so the first whole rung ends the search for gaps.
        """
        rungs, sign = self._rungs, int(self._side)
        if rungs:
            slack_ticks = _SLACK_RUNGS * self._step_at(low_ticks)
            while rungs and (low_ticks - rungs[-1].px_ticks) * sign > slack_ticks:
                self._take_off(rungs.pop())
        if not rungs:
            rungs.append(self._put_on(top_ticks))
        self.refill()
        while (px := self._better(rungs[0].px_ticks)) * sign <= top_ticks * sign:
            rungs.appendleft(self._put_on(px))
        while (px := self._worse(rungs[-1].px_ticks)) * sign >= low_ticks * sign:
            rungs.append(self._put_on(px))

    def refill(self) -> None:
        """Put back what was traded; trades take the best rungs first."""
        for rung in self._rungs:
            if self._is_whole(rung):
                break
            self._mend(rung)

    def _better(self, px_ticks: int) -> int:
        return self._above(px_ticks) if self._side is Side.BUY else self._below(px_ticks)

    def _worse(self, px_ticks: int) -> int:
        return self._below(px_ticks) if self._side is Side.BUY else self._above(px_ticks)

    def _above(self, px_ticks: int) -> int:
        """Next valid price above a valid one."""
        return px_ticks + self._step_at(px_ticks)

    def _below(self, px_ticks: int) -> int:
        """Next valid price below a valid one; the step there may be finer."""
        return px_ticks - self._step_at(px_ticks - 1)

    def _step_at(self, px_ticks: int) -> int:
        if not self._step_from <= px_ticks < self._step_until:
            digits = len(str(px_ticks))
            self._step = step_of(px_ticks, self._sz_decimals)
            self._step_from, self._step_until = 10 ** (digits - 1), 10**digits
        return self._step

    def _put_on(self, px_ticks: int) -> _Rung:
        orders = [self._place(n, px_ticks) for n in range(len(self._accounts))]
        return _Rung(px_ticks, orders)

    def _place(self, maker: int, px_ticks: int) -> Order | None:
        account, lots = self._accounts[maker], self._lots(maker, px_ticks)
        new = NewOrder(self._asset_id, self._side, px_ticks, lots, Tif.ALO)
        result = self._desk.place_house(account, new)
        # Refused while the asset is halted: the rung stays open and is tried again next time.
        return account.open[result.oid] if result.is_ok and result.oid else None

    def _lots(self, maker: int, px_ticks: int) -> int:
        """Size by price and maker alone, so that no history and no quote of ours changes it."""
        factor = self._size_factors[(px_ticks + _STRIDE * maker) % _SIZES]
        step = self._step_at(px_ticks)
        return max(1, round(self._lots_scale * step * factor / (px_ticks * px_ticks)))

    @staticmethod
    def _is_whole(rung: _Rung) -> bool:
        return all(order is not None and order.is_booked for order in rung.orders)

    def _mend(self, rung: _Rung) -> None:
        for maker, order in enumerate(rung.orders):
            if order is None or not order.is_booked:
                rung.orders[maker] = self._place(maker, rung.px_ticks)

    def _take_off(self, rung: _Rung) -> None:
        for order in rung.orders:
            if order is not None and order.is_booked:
                self._desk.end(order, USER_CANCELED)


class Makers:
    """
    Both sides of the makers' quotes in one asset.

    Args:
        venue: The venue they quote on.
        asset_id: The perp.
        addresses: One per maker; opened here as house accounts.
        usd_per_bp: Notional they rest together per bp of depth and side, USD.
        jitter_frac: Spread of single sizes around that, as a fraction.
        seed: Seeds the sizes.
    """

    def __init__(
        self,
        venue: Venue,
        asset_id: int,
        addresses: Sequence[str],
        *,
        usd_per_bp: float,
        jitter_frac: float,
        seed: int,
    ) -> None:
        for address in addresses:
            venue.open_account(address, usd=0.0, is_house=True)
        self._venue = venue
        self._asset_id = asset_id
        self._book = venue.asset(asset_id).book
        self._sz_decimals = venue.asset(asset_id).sz_decimals
        rng = np.random.default_rng(np.random.SeedSequence([seed, asset_id]))
        factors: list[float] = (1 + jitter_frac * (2 * rng.random(_SIZES) - 1)).tolist()
        self.bids, self.asks = (
            Wing(venue, asset_id, side, addresses, usd_per_bp=usd_per_bp, size_factors=factors)
            for side in (Side.BUY, Side.SELL)
        )

    def quote(
        self, mid_ticks: float, half_bps: float, depth_bps: float, cleaner: str
    ) -> tuple[int, int]:
        """
        Move to a new mid; returns the touch they quote, in ticks.

        What others rest beyond the new mid is taken first, by the account `cleaner`: the price has
        passed it, and its owner was slower than everybody. Where others rest inside the touch, the
        makers join them there.
        """
        bid = valid_below(mid_ticks * (1 - half_bps * 1e-4), self._sz_decimals)
        ask = valid_above(mid_ticks * (1 + half_bps * 1e-4), self._sz_decimals)
        if ask <= bid:
            ask = valid_above(bid + 1, self._sz_decimals)
        bids, asks = self.bids, self.asks
        # A maker that joined a stranger inside the touch stays while the stranger does.
        bid_top = bids.strangers_best(bid, mid_ticks) or bid
        ask_top = asks.strangers_best(ask, mid_ticks) or ask
        bids.retreat(bid_top)
        asks.retreat(ask_top)
        book = self._book
        best_ask, best_bid = book.ask_ticks, book.bid_ticks
        # The nearest valid price, as takers have it: to either side of the mid half a price step
        # would be given to, or taken from, every quote that the price has passed.
        passed = valid_near(mid_ticks, self._sz_decimals)
        if best_ask is not None and best_ask <= passed:
            self._clean(Side.BUY, passed, cleaner)
        if best_bid is not None and best_bid >= passed:
            self._clean(Side.SELL, passed, cleaner)
        bids.cover(bid_top, valid_above(mid_ticks * (1 - depth_bps * 1e-4), self._sz_decimals))
        asks.cover(ask_top, valid_below(mid_ticks * (1 + depth_bps * 1e-4), self._sz_decimals))
        return bid_top, ask_top

    def refill(self, side: Side) -> None:
        """Put back on one side what was traded, where it was."""
        (self.bids if side > 0 else self.asks).refill()

    def _clean(self, side: Side, px_ticks: int, cleaner: str) -> None:
        order = NewOrder(self._asset_id, side, px_ticks, UNLIMITED_LOTS, Tif.IOC)
        self._venue.submit(cleaner, order)


UNLIMITED_LOTS = 10**12
"""Size of an order that only its price limits."""
