"""
State of one listed perp: its book, prices, open interest, tape and funding samples.

Sources: Hyperliquid docs, "Margin tiers", "Asset IDs"; protocol notes 4.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from mmbot.core.types import PX_DECIMALS, Side
from mmbot.emulator.accounts import Slot
from mmbot.emulator.candles import Candles
from mmbot.emulator.matching import MatchBook, Order
from mmbot.emulator.numbers import step_of
from mmbot.emulator.specs import U_PER_USD, AssetSpec, DexSpec, TradePrint

DEX_ID_BASE = 100_000
DEX_ID_STEP = 10_000
MS_PER_DAY = 86_400_000
RECENT_PRINTS = 1_000


class MarginTiers:
    """
    Maintenance margin by notional: `ntl * r_n - d_n`, `r_n = 1 / (2 * max leverage of the tier)`.

    `d_0 = 0`, `d_n = d_(n-1) + lowerBound_n * (r_n - r_(n-1))`, so that the curve is continuous.
    Source: Hyperliquid docs, "Margin tiers".
    """

    def __init__(self, spec: AssetSpec) -> None:
        tiers = spec.margin_tiers or ((0.0, spec.max_leverage),)
        self.bounds: list[tuple[int, int]] = [(round(low * U_PER_USD), lev) for low, lev in tiers]
        self._deductions_u: list[int] = [0]
        for (_, lev_below), (low_u, lev) in zip(self.bounds, self.bounds[1:], strict=False):
            step_u = low_u * (lev_below - lev) // (2 * lev * lev_below)
            self._deductions_u.append(self._deductions_u[-1] + step_u)

    def _index(self, ntl_u: int) -> int:
        index = 0
        for n, (low_u, _) in enumerate(self.bounds):
            if ntl_u >= low_u:
                index = n
        return index

    def max_leverage(self, ntl_u: int) -> int:
        """Highest leverage at which a position of this notional may be held."""
        return self.bounds[self._index(ntl_u)][1]

    def maintenance_u(self, ntl_u: int) -> int:
        """Maintenance margin of a position of this notional."""
        index = self._index(ntl_u)
        return ntl_u // (2 * self.bounds[index][1]) - self._deductions_u[index]

    def maintenance_rate(self, ntl_u: int) -> float:
        """Slope of the maintenance margin at this notional."""
        return 0.5 / self.bounds[self._index(ntl_u)][1]


class AssetState:
    """One perp. Ids follow the position in `meta`, delisted entries included."""

    def __init__(self, spec: AssetSpec, asset_id: int, dex_index: int) -> None:
        self.spec = spec
        self.coin = spec.name
        self.asset_id = asset_id
        self.dex_index = dex_index
        self.sz_decimals = spec.sz_decimals
        self.px_decimals = PX_DECIMALS - spec.sz_decimals
        self.ticks_per_usd: int = 10**self.px_decimals
        self.lots_per_coin: int = 10**spec.sz_decimals
        self.tiers = MarginTiers(spec)
        self.book = MatchBook()
        self.mark_ticks = self.ticks(spec.mark_px)
        self.oracle_ticks = self.ticks(spec.mark_px if spec.oracle_px is None else spec.oracle_px)
        self.prev_day_ticks = (
            self.mark_ticks if spec.prev_day_px is None else self.ticks(spec.prev_day_px)
        )
        self.is_delisted = spec.is_delisted
        self.is_halted = spec.is_delisted
        self.oi_cap_u: int | None = (
            None if spec.oi_cap_usd is None else round(spec.oi_cap_usd * U_PER_USD)
        )
        self.deployer_fee_scale = spec.deployer_fee_scale
        self.growth_mode = spec.growth_mode
        self.is_dirty = False
        self.long_lots = 0
        # Accounts whose margin hangs on this mark; house accounts are never among them.
        self.holders: dict[str, Slot] = {}
        self.triggers: dict[int, Order] = {}
        self.prints: deque[TradePrint] = deque(maxlen=RECENT_PRINTS)
        self.candles = Candles()
        self.last_trade_ticks: int | None = None
        self.day_ntl_u = 0
        self.day_lots = 0
        self.premium_sum = 0.0
        self.premium_samples = 0
        # Set where a rate is known from elsewhere; else it follows from the premium.
        self.funding_per_h: float | None = None
        self.funding_rows: list[tuple[int, float, float]] = []

    @property
    def is_builder_dex(self) -> bool:
        """Whether the asset lives on a builder dex."""
        return self.dex_index > 0

    @property
    def is_isolated_only(self) -> bool:
        """Whether cross margin is refused."""
        return self.spec.only_isolated or self.spec.margin_mode.value != "normal"

    def ticks(self, px: float) -> int:
        """A price in USD as the nearest tick (mark and oracle may exceed five figures)."""
        return round(px * self.ticks_per_usd)

    def px(self, ticks: float) -> float:
        """Ticks as USD."""
        return ticks / self.ticks_per_usd

    def is_valid_px(self, px_ticks: int) -> bool:
        """Whether a limit price keeps the five-figure rule."""
        return px_ticks > 0 and px_ticks % step_of(px_ticks, self.sz_decimals) == 0

    def is_capped(self) -> bool:
        """Whether open interest is at its cap."""
        return self.oi_cap_u is not None and self.long_lots * self.mark_ticks >= self.oi_cap_u

    def mid_half_ticks(self) -> int | None:
        """Twice the mid in ticks, None without two sides."""
        bid, ask = self.book.bid_ticks, self.book.ask_ticks
        return None if bid is None or ask is None else bid + ask

    def impact_ticks(self, side: Side) -> float | None:
        """
        Average price of `impact_usd` against this side of the book, in ticks.

        `side` is the side of the book: BUY gives the impact bid. None when it is too thin.
        """
        left_u = round(self.spec.impact_usd * U_PER_USD)
        lots = 0.0
        for level in self.book.levels(side):
            value_u = level.px_ticks * level.sz_lots
            if value_u >= left_u:
                lots += left_u / level.px_ticks
                return round(self.spec.impact_usd * U_PER_USD) / lots
            lots += level.sz_lots
            left_u -= value_u
        return None

    def premium(self) -> float | None:
        """
        Premium of the impact prices over the oracle, None without them.

        Main dex: `(max(0, bid - oracle) - max(0, oracle - ask)) / oracle`; builder dex:
        `0.5 * (bid + ask) / oracle - 1`. Source: Hyperliquid docs, "Funding", "HIP-3".
        """
        bid, ask = self.impact_ticks(Side.BUY), self.impact_ticks(Side.SELL)
        if bid is None or ask is None:
            return None
        oracle = self.oracle_ticks
        if self.is_builder_dex:
            return 0.5 * (bid + ask) / oracle - 1
        return (max(0.0, bid - oracle) - max(0.0, oracle - ask)) / oracle


class DexState:
    """One dex with its assets and the fees it took."""

    def __init__(self, spec: DexSpec, index: int) -> None:
        self.spec = spec
        self.name = spec.name
        self.index = index
        self.fees_u = 0
        base = 0 if index == 0 else DEX_ID_BASE + DEX_ID_STEP * index
        self.assets = [AssetState(a, base + n, index) for n, a in enumerate(spec.assets)]


def list_dexes(specs: Sequence[DexSpec]) -> list[DexState]:
    """Dexes in `perpDexs` order; the ids of their assets follow from their positions."""
    return [DexState(spec, index) for index, spec in enumerate(specs)]
