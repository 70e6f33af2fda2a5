"""
Everything the venue knows, and the few primitives all its parts share: ids, events, records.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import AssetState, DexState, list_dexes
from mmbot.emulator.matching import Order
from mmbot.emulator.shapes import order_update
from mmbot.emulator.specs import BookChanged, DexSpec, OrderRecord, VenueEvent, VenueParams
from mmbot.errors import ConfigError

FIRST_OID = 200_000_000_000
TID_MASK = 2**50 - 1
_MIX_BUYER = 0x9E3779B97F4A7C15
_MIX_SELLER = 0xC2B2AE3D27D4EB4F
_MIX_HASH = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95

WAITING_FOR_FILL = "waitingForFill"


def trade_id(buyer_oid: int, seller_oid: int) -> int:
    """A 50-bit mix of the two oids: unique only together with coin and time, as at the venue."""
    mixed = (buyer_oid * _MIX_BUYER ^ seller_oid * _MIX_SELLER) & (2**64 - 1)
    return (mixed ^ mixed >> 29) & TID_MASK


class State:
    """Assets, accounts, clock, ids and the events since the last drain."""

    def __init__(self, params: VenueParams, specs: Sequence[DexSpec], now_ms: int) -> None:
        if not specs or specs[0].name:
            msg = "the first dex must be the main one (empty name); add it in front"
            raise ConfigError(msg)
        self.params = params
        self.now_ms = now_ms
        self.dexes: list[DexState] = list_dexes(specs)
        self.dex_by_name = {dex.name: dex for dex in self.dexes}
        self.assets: dict[int, AssetState] = {}
        self.by_coin: dict[str, AssetState] = {}
        for dex in self.dexes:
            for asset in dex.assets:
                if asset.coin in self.by_coin:
                    msg = f"coin {asset.coin} is listed twice; names must differ between dexes"
                    raise ConfigError(msg)
                self.assets[asset.asset_id] = asset
                self.by_coin[asset.coin] = asset
        self.accounts: dict[str, Account] = {}
        self.events: list[VenueEvent] = []
        self.is_post_only = False
        self.is_modify_reversed = False
        self.oid = FIRST_OID
        self.tx = 0
        self.deposited_u: dict[str, int] = {}
        self.funding_residual_u: dict[str, int] = {}
        self.builder_fees_u: dict[str, int] = {}

    # -- ids --------------------------------------------------------------------------------------

    def next_oid(self) -> int:
        """A fresh order id."""
        self.oid += 1
        return self.oid

    def tx_hash(self) -> str:
        """Hash of the action being carried out; everything it causes shares it."""
        return f"0x{self.tx * _MIX_HASH % 2**256:064x}"

    # -- lookups ----------------------------------------------------------------------------------

    def account(self, address: str) -> Account | None:
        """Account of an address in any case, None when it was never funded."""
        found = self.accounts.get(address)
        return found if found is not None else self.accounts.get(address.lower())

    def collateral(self, asset: AssetState) -> str:
        """Token in which the asset's dex keeps its books."""
        return self.dexes[asset.dex_index].spec.collateral

    # -- records ----------------------------------------------------------------------------------

    def touched(self, asset: AssetState) -> None:
        """Say once per drain that this book changed."""
        if not asset.is_dirty:
            asset.is_dirty = True
            self.events.append(BookChanged(asset.asset_id))

    def remember(self, order: Order) -> None:
        """Enter a new order of a non-house account into its history, dropping the oldest ended."""
        account = order.slot.account
        account.history[order.oid] = order
        if order.cloid is not None:
            # A reused cloid, and one that clashes with an open order, resolves to the newest
            # order (reuse measured on testnet; the clash is unverified).
            account.by_cloid[order.cloid] = order
        if len(account.history) - len(account.open) > self.params.history_orders:
            oldest = next(oid for oid in account.history if oid not in account.open)
            gone = account.history.pop(oldest)
            if gone.cloid is not None and account.by_cloid.get(gone.cloid) is gone:
                del account.by_cloid[gone.cloid]

    def report(self, order: Order, status: str) -> None:
        """Set an order's status and tell its owner; house accounts are told nothing."""
        order.status = status
        order.status_ms = self.now_ms
        account = order.slot.account
        if not account.is_house:
            self.events.append(OrderRecord(account.address, self.now_ms, order_update(order)))

    def drain(self) -> list[VenueEvent]:
        """Events since the last call, in order."""
        events, self.events = self.events, []
        for event in events:
            if type(event) is BookChanged:
                self.assets[event.asset_id].is_dirty = False
        return events
