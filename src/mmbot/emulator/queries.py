"""
Queries of the venue: answers in wire shape, and a few plain figures for callers in the program.

Source: protocol notes 1.3 and 1.4.
"""

from __future__ import annotations

from typing import Any

from mmbot.core.types import Side
from mmbot.emulator import market_views, user_views
from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import AssetState, DexState
from mmbot.emulator.candles import INTERVALS_MS
from mmbot.emulator.numbers import wire_u
from mmbot.emulator.specs import TradePrint, VenueParams
from mmbot.emulator.state import State
from mmbot.errors import ConfigError

Json = dict[str, Any]
FAR_FUTURE_MS = 2**62
DEFAULT_LEVELS = 20
FIGURES = (2, 3, 4, 5)
MANTISSAS = (2, 5)


class Queries:
    """What can be asked of a venue without changing it."""

    params: VenueParams
    state: State

    # -- lookups ----------------------------------------------------------------------------------

    def account(self, address: str) -> Account:
        """The account of an address; ConfigError if it was never opened."""
        account = self.state.account(address)
        if account is None:
            msg = f"no account {address}; open it with open_account first"
            raise ConfigError(msg)
        return account

    def has_account(self, address: str) -> bool:
        """Whether the address was ever funded."""
        return self.state.account(address) is not None

    def master_of(self, address: str) -> str | None:
        """Master of a sub-account, None for any other address."""
        account = self.state.account(address)
        return account.master.address if account is not None and account.master else None

    def sub_addresses(self, address: str) -> list[str]:
        """Sub-accounts of an account."""
        account = self.state.account(address)
        return [] if account is None else [sub.address for _, sub in account.subs]

    def asset(self, asset_id: int) -> AssetState:
        """State of an asset; ConfigError for an unknown id."""
        asset = self.state.assets.get(asset_id)
        if asset is None:
            msg = f"no asset with id {asset_id}; ids follow from the dexes given to the venue"
            raise ConfigError(msg)
        return asset

    def asset_id(self, coin: str) -> int | None:
        """Id of a coin by its exact wire name, None when there is none."""
        asset = self.state.by_coin.get(coin)
        return None if asset is None else asset.asset_id

    def dex_names(self) -> list[str]:
        """Names in `perpDexs` order, the main dex as the empty string."""
        return [dex.name for dex in self.state.dexes]

    def _dex(self, dex: str) -> DexState:
        found = self.state.dex_by_name.get(dex)
        if found is None:
            msg = f"no dex {dex!r}; there are {sorted(self.state.dex_by_name)}"
            raise ConfigError(msg)
        return found

    # -- public queries ---------------------------------------------------------------------------

    def meta(self, dex: str = "") -> Json:
        """`meta`."""
        return market_views.meta(self._dex(dex))

    def perp_dexs(self) -> list[Json | None]:
        """`perpDexs`."""
        return market_views.perp_dexs(self.state)

    def perp_dex_limits(self, dex: str) -> Json:
        """`perpDexLimits`."""
        return market_views.perp_dex_limits(self._dex(dex))

    def perp_dex_status(self, dex: str) -> Json:
        """`perpDexStatus`: deposits of the dex's collateral (per dex they are not kept apart)."""
        collateral = self._dex(dex).spec.collateral
        return {"totalNetDeposit": wire_u(self.state.deposited_u.get(collateral, 0))}

    def perps_at_cap(self, dex: str = "") -> list[str]:
        """`perpsAtOpenInterestCap`."""
        return [asset.coin for asset in self._dex(dex).assets if asset.is_capped()]

    def asset_ctx(self, asset_id: int) -> Json:
        """Context of one asset."""
        return market_views.asset_ctx(self.asset(asset_id))

    def asset_ctxs(self, dex: str = "") -> list[Json]:
        """Contexts of a dex by index."""
        return [market_views.asset_ctx(asset) for asset in self._dex(dex).assets]

    def meta_and_ctxs(self, dex: str = "") -> list[Any]:
        """`metaAndAssetCtxs`."""
        return [self.meta(dex), self.asset_ctxs(dex)]

    def all_mids(self, dex: str = "") -> dict[str, str]:
        """`allMids`."""
        return market_views.all_mids(self.state, self._dex(dex))

    def l2_book(
        self,
        coin: str,
        levels: int = DEFAULT_LEVELS,
        n_sig_figs: int | None = None,
        mantissa: int | None = None,
    ) -> Json | None:
        """
        `l2Book`; None for an unknown coin.

        Raises:
            ConfigError: Aggregation the venue does not offer (see `can_aggregate`).
        """
        if not self.can_aggregate(n_sig_figs, mantissa):
            msg = f"nSigFigs {n_sig_figs} with mantissa {mantissa}: use 2 to 5; 2 or 5 with 5"
            raise ConfigError(msg)
        asset = self.state.by_coin.get(coin)
        if asset is None:
            return None
        return market_views.l2_book(self.state, asset, levels, n_sig_figs, mantissa)

    @staticmethod
    def can_aggregate(n_sig_figs: int | None, mantissa: int | None) -> bool:
        """Whether the venue aggregates like this: 2 to 5 figures, a mantissa of 2 or 5 with 5."""
        if n_sig_figs is None:
            return mantissa is None
        if n_sig_figs not in FIGURES:
            return False
        return mantissa is None or (n_sig_figs == FIGURES[-1] and mantissa in MANTISSAS)

    def bbo(self, coin: str) -> Json | None:
        """`bbo` data; None for an unknown coin."""
        asset = self.state.by_coin.get(coin)
        return None if asset is None else market_views.bbo(self.state, asset)

    def touch(self, asset_id: int) -> tuple[int | None, int | None]:
        """Best bid and ask in ticks."""
        book = self.state.assets[asset_id].book
        return book.bid_ticks, book.ask_ticks

    def queue(self, asset_id: int, side: Side, px_ticks: int) -> tuple[int, int]:
        """(lots, orders) resting at a price of one side."""
        book = self.state.assets[asset_id].book
        level = (book.bids if side is Side.BUY else book.asks).get(px_ticks)
        return (0, 0) if level is None else (level.sz_lots, len(level.orders))

    def trade_row(self, trade: TradePrint) -> Json:
        """A trade in wire shape."""
        return market_views.trade_row(self.state, trade)

    def recent_trades(self, coin: str, count: int = 10) -> list[Json] | None:
        """`recentTrades`, newest first; None for an unknown coin."""
        asset = self.state.by_coin.get(coin)
        if asset is None:
            return None
        prints = list(asset.prints)[-count:]
        return [market_views.trade_row(self.state, trade) for trade in reversed(prints)]

    def candle_snapshot(
        self, coin: str, interval: str, start_ms: int, end_ms: int
    ) -> list[Json] | None:
        """`candleSnapshot`; None for an unknown coin or interval."""
        asset = self.state.by_coin.get(coin)
        if asset is None or interval not in INTERVALS_MS:
            return None
        return market_views.candles(asset, interval, start_ms, end_ms)

    def funding_history(
        self, coin: str, start_ms: int, end_ms: int = FAR_FUTURE_MS
    ) -> list[Json] | None:
        """`fundingHistory`; None for an unknown coin."""
        asset = self.state.by_coin.get(coin)
        return None if asset is None else market_views.funding_history(asset, start_ms, end_ms)

    def predicted_fundings(self) -> list[list[Any]]:
        """`predictedFundings`."""
        return market_views.predicted_fundings(self.state)

    def spot_meta(self) -> Json:
        """`spotMeta`."""
        return market_views.spot_meta(self.state)

    def spot_meta_and_ctxs(self) -> list[Any]:
        """`spotMetaAndAssetCtxs`."""
        return [self.spot_meta(), market_views.spot_ctxs(self.state)]

    def exchange_status(self) -> Json:
        """`exchangeStatus`."""
        return {"time": self.state.now_ms, "specialStatuses": None}

    # -- queries about a user ---------------------------------------------------------------------

    def clearinghouse_state(self, user: str, dex: str = "") -> Json:
        """`clearinghouseState`."""
        return user_views.clearinghouse_state(self.state, self.state.account(user), self._dex(dex))

    def spot_state(self, user: str) -> Json:
        """`spotClearinghouseState`."""
        return user_views.spot_state(self.state, self.state.account(user))

    def open_orders(self, user: str, dex: str = "") -> list[Json]:
        """`openOrders`."""
        return user_views.open_orders(self.state.account(user), self._dex(dex), is_frontend=False)

    def frontend_open_orders(self, user: str, dex: str = "") -> list[Json]:
        """`frontendOpenOrders`."""
        return user_views.open_orders(self.state.account(user), self._dex(dex), is_frontend=True)

    def order_status(self, user: str, ref: int | str) -> Json:
        """`orderStatus` by oid or cloid."""
        return user_views.order_status(self.state.account(user), ref)

    def historical_orders(self, user: str) -> list[Json]:
        """`historicalOrders`."""
        most = self.params.history_orders
        return user_views.historical_orders(self.state.account(user), most)

    def user_fills(self, user: str, *, aggregate: bool = False) -> list[Json]:
        """`userFills`."""
        return user_views.user_fills(self.state.account(user), aggregate=aggregate)

    def user_fills_by_time(
        self,
        user: str,
        start_ms: int,
        end_ms: int = FAR_FUTURE_MS,
        *,
        aggregate: bool = False,
        is_reversed: bool = False,
    ) -> list[Json]:
        """`userFillsByTime`."""
        return user_views.user_fills_by_time(
            self.state.account(user), start_ms, end_ms, aggregate=aggregate, is_reversed=is_reversed
        )

    def user_funding(self, user: str, start_ms: int, end_ms: int = FAR_FUTURE_MS) -> list[Json]:
        """`userFunding`."""
        account = self.state.account(user)
        return user_views.rows_between(account.fundings if account else [], start_ms, end_ms)

    def user_ledger(self, user: str, start_ms: int, end_ms: int = FAR_FUTURE_MS) -> list[Json]:
        """`userNonFundingLedgerUpdates`."""
        account = self.state.account(user)
        return user_views.rows_between(account.ledger if account else [], start_ms, end_ms)

    def user_rate_limit(self, user: str) -> Json:
        """`userRateLimit`."""
        return user_views.rate_limit(self.state, self.state.account(user))

    def user_fees(self, user: str) -> Json:
        """`userFees`."""
        return user_views.user_fees(self.state, self.state.account(user))

    def active_asset_data(self, user: str, coin: str) -> Json | None:
        """`activeAssetData`; None for an unknown coin."""
        asset = self.state.by_coin.get(coin)
        if asset is None:
            return None
        return user_views.active_asset_data(self.state, self.state.account(user), user, asset)

    def max_builder_fee(self, user: str, builder: str) -> int:
        """`maxBuilderFee`."""
        return user_views.max_builder_fee(self.state.account(user), builder)

    def user_abstraction(self, user: str) -> str:
        """`userAbstraction`."""
        account = self.state.account(user)
        return "default" if account is None else account.abstraction

    def sub_accounts(self, user: str) -> list[Json] | None:
        """`subAccounts`."""
        return user_views.sub_accounts(self.state, self.state.account(user))

    def referral(self, user: str) -> Json:
        """`referral`."""
        return user_views.referral(self.state.account(user))
