"""
Accounts: a purse per dex, a slot per asset, orders, history and the counters the rules read.

Money is integer micro-dollars. A fill moves `-size * price` of cash and the fee, nothing else, so
the books balance exactly. Source: Hyperliquid docs, "Margining", "Entry price and PnL".
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmbot.emulator.assets import AssetState
    from mmbot.emulator.matching import Order
    from mmbot.emulator.specs import VenueParams


class Slot:
    """
    One account in one asset.

    Attributes:
        szi_lots: Signed position, long positive.
        entry_u: What the position cost, unsigned: size times average entry.
        raw_u: Cash inside an isolated position; equity of it is `raw_u + szi * mark`.
        buy_lots, sell_lots: Resting size that is not reduce-only and so reserves margin.
    """

    __slots__ = (
        "account",
        "asset",
        "buy_lots",
        "cooldown_until_ms",
        "entry_u",
        "funding_all_u",
        "funding_change_u",
        "funding_open_u",
        "is_cross",
        "leverage",
        "purse",
        "raw_u",
        "reducing",
        "sell_lots",
        "szi_lots",
    )

    def __init__(self, account: Account, asset: AssetState, purse: Purse, leverage: int) -> None:
        self.account = account
        self.asset = asset
        self.purse = purse
        self.is_cross = True
        self.leverage = leverage
        self.szi_lots = 0
        self.entry_u = 0
        self.raw_u = 0
        self.buy_lots = 0
        self.sell_lots = 0
        self.reducing: dict[int, Order] = {}
        self.funding_all_u = 0
        self.funding_open_u = 0
        self.funding_change_u = 0
        self.cooldown_until_ms = 0

    @property
    def ntl_u(self) -> int:
        """Notional at the mark."""
        return abs(self.szi_lots) * self.asset.mark_ticks

    @property
    def unrealised_u(self) -> int:
        """Profit of the position at the mark."""
        value_u = self.szi_lots * self.asset.mark_ticks
        return value_u - self.entry_u if self.szi_lots >= 0 else value_u + self.entry_u

    @property
    def margin_used_u(self) -> int:
        """Margin held by the position: the isolated equity, or notional over leverage."""
        if self.is_cross:
            return -(-self.ntl_u // self.leverage)
        return self.raw_u + self.szi_lots * self.asset.mark_ticks

    @property
    def worst_lots(self) -> int:
        """Largest position the resting orders of one side could make."""
        return max(abs(self.szi_lots + self.buy_lots), abs(self.szi_lots - self.sell_lots))

    @property
    def reserved_u(self) -> int:
        """Initial margin that resting orders hold beyond the position's own."""
        more = self.worst_lots - abs(self.szi_lots)
        return -(-more * self.asset.mark_ticks // self.leverage) if more > 0 else 0

    def fill(self, signed_lots: int, px_ticks: int) -> int:
        """
        Book a trade: position, entry and cash; returns the profit it realised, before fees.

        An average entry closes pro rata. Closing an isolated position returns its cash pro rata,
        opening one takes notional over leverage from the purse.
        """
        before = self.szi_lots
        after = before + signed_lots
        closed = 0
        pnl_u = 0
        if before and (before > 0) != (signed_lots > 0):
            size = abs(before)
            closed = min(abs(signed_lots), size)
            cost_u = self.entry_u * closed // size
            pnl_u = closed * px_ticks - cost_u
            if before < 0:
                pnl_u = -pnl_u
            self.entry_u -= cost_u
        opened = abs(signed_lots) - closed
        self.entry_u += opened * px_ticks
        self.szi_lots = after
        if self.is_cross:
            self.purse.cash_u -= signed_lots * px_ticks
        else:
            self._move_isolated(before, signed_lots, closed, opened, px_ticks)
        asset = self.asset
        asset.long_lots += max(after, 0) - max(before, 0)
        self.funding_change_u = 0
        if after == 0 or (before > 0) != (after > 0):
            self.funding_open_u = 0
        return pnl_u

    def pay(self, amount_u: int) -> None:
        """Take a fee from the purse, from the isolated margin where the purse is empty."""
        if not self.is_cross and self.szi_lots and self.purse.cash_u < amount_u:
            self.raw_u -= amount_u
        else:
            self.purse.cash_u -= amount_u

    def _move_isolated(
        self, before: int, signed_lots: int, closed: int, opened: int, px_ticks: int
    ) -> None:
        sign = 1 if signed_lots > 0 else -1
        if closed:
            freed_u = self.raw_u * closed // abs(before)
            self.raw_u -= freed_u
            self.purse.cash_u += freed_u - sign * closed * px_ticks
        if opened:
            margin_u = -(-opened * px_ticks // self.leverage)
            self.purse.cash_u -= margin_u
            self.raw_u += margin_u - sign * opened * px_ticks


class Purse:
    """Collateral of one account in one dex. Dexes never share it (standard account mode)."""

    __slots__ = ("cash_u", "dex_index", "slots")

    def __init__(self, dex_index: int) -> None:
        self.dex_index = dex_index
        self.cash_u = 0
        self.slots: dict[int, Slot] = {}


class Account:
    """
    One address.

    Attributes:
        volume_u: Traded notional that counts for the address budget (growth mode at a tenth).
        daily_u: UTC day -> [taker notional, maker notional].
        maker_rate, taker_rate: Fixed user rates instead of the tier table's, for tests.
        referred_u: Volume that was charged at the referral discount.
    """

    def __init__(self, address: str, params: VenueParams, *, is_house: bool) -> None:
        self.address = address
        self.is_house = is_house
        self.purses: dict[int, Purse] = {}
        self.spot_u: dict[str, int] = {}
        self.open: dict[int, Order] = {}
        self.by_cloid: dict[str, Order] = {}
        self.history: dict[int, Order] = {}
        self.fills: deque[dict[str, Any]] = deque(maxlen=params.history_fills)
        self.fundings: list[dict[str, Any]] = []
        self.ledger: list[dict[str, Any]] = []
        self.master: Account | None = None
        self.subs: list[tuple[str, Account]] = []
        self.volume_u = 0
        self.daily_u: dict[int, list[int]] = {}
        self.maker_rate: float | None = None
        self.taker_rate: float | None = None
        self.rates: tuple[float, float] = (0.0, 0.0)
        self.rates_day = -1
        self.referrer: str | None = None
        self.referred_u = 0
        self.builders: dict[str, float] = {}
        self.abstraction = "default"
        self.requests_used = 0
        self.requests_bought = 0
        self.trickle_at_ms = 0
        self.cancel_at_ms: int | None = None
        self.cancels_day = -1
        self.cancels_fired = 0

    def __repr__(self) -> str:
        """The address is all a log needs."""
        return f"Account({self.address})"

    def purse(self, dex_index: int) -> Purse:
        """Purse of a dex, empty at first."""
        purse = self.purses.get(dex_index)
        if purse is None:
            purse = self.purses[dex_index] = Purse(dex_index)
        return purse

    def slot(self, asset: AssetState, default_leverage: int) -> Slot:
        """Slot of an asset, flat at first, cross at the account's default leverage (unverified)."""
        purse = self.purse(asset.dex_index)
        slot = purse.slots.get(asset.asset_id)
        if slot is None:
            leverage = min(default_leverage, asset.spec.max_leverage)
            slot = purse.slots[asset.asset_id] = Slot(self, asset, purse, leverage)
        return slot
