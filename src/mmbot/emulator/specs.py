"""
What the emulated venue is told and what it tells: specifications, orders, results, events.

Prices are integer ticks, sizes integer lots, money integer micro-dollars (`_u`): a lot at a price
of one tick is worth exactly one micro-dollar, so every notional is an exact integer.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.types import Side, Tif

U_PER_USD = 1_000_000
MAIN_COLLATERAL = "USDC"


class MarginMode(Enum):
    """Margin modes of an asset, in the venue's spelling. Hyperliquid docs, "Margining"."""

    NORMAL = "normal"
    NO_CROSS = "noCross"
    STRICT_ISOLATED = "strictIsolated"


class AssetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """
    One perp as listed at the start.

    Attributes:
        name: Name on the wire; on a builder dex with its prefix (`hyna:HYPE`).
        mark_px: Mark at the start, USD; the oracle starts there too unless `oracle_px` is given.
        margin_tiers: (lower bound of notional in USD, max leverage), ascending; empty for one tier.
        margin_table_id: Id in `meta`; by the docs an id below 50 is a single tier of that leverage.
        deployer_fee_scale: s of the fee formula, None on the main dex.
        oi_cap_usd: Notional open interest cap; None for none.
        funding_interest_8h, funding_clamp_8h: i and c of the funding formula; None for the dex's
            default (main 0.0001 and 0.0005, builder dex 0.0001 and 0.0003).
        impact_usd: Notional of the impact prices behind the premium.
    """

    name: str
    sz_decimals: int
    max_leverage: int
    mark_px: float
    oracle_px: float | None = None
    prev_day_px: float | None = None
    only_isolated: bool = False
    margin_mode: MarginMode = MarginMode.NORMAL
    margin_tiers: tuple[tuple[float, int], ...] = ()
    margin_table_id: int | None = None
    is_delisted: bool = False
    growth_mode: bool = False
    deployer_fee_scale: float | None = None
    oi_cap_usd: float | None = None
    funding_multiplier: float = 1.0
    funding_interest_8h: float | None = None
    funding_clamp_8h: float | None = None
    impact_usd: float = 6_000.0


class DexSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One dex: the first one given to the venue is the main dex and has the empty name."""

    name: str
    assets: tuple[AssetSpec, ...]
    full_name: str = ""
    deployer: str = "0x" + "00" * 20
    oracle_updater: str | None = None
    fee_recipient: str | None = None
    collateral: str = MAIN_COLLATERAL
    collateral_token: int = 0


class VenueParams(BaseModel):
    """Figures of the venue's rules that are not an asset's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_notional_usd: int = Field(10, ge=0, description="Least value of an order, USD.")
    px_band_frac: float = Field(
        0.8, gt=0, lt=1, description="Static price band around the mark, fraction."
    )
    oracle_band_frac: float = Field(
        0.95, gt=0, description="Distance from the oracle beyond which the engine refuses a price."
    )
    default_leverage: int = Field(20, ge=1, le=100, description="Leverage before any setting.")
    batch_max: int = Field(200, ge=1, description="Most elements of one action.")
    history_orders: int = Field(2000, ge=1, description="Terminal orders an account remembers.")
    history_fills: int = Field(10_000, ge=1, description="Fills an account remembers.")
    requests_base: int = Field(10_000, ge=0, description="Address budget before any volume.")
    requests_trickle_ms: int = Field(
        10_000, ge=0, description="Spacing of an exhausted address's requests, ms."
    )
    open_orders_base: int = Field(1000, ge=1, description="Open orders allowed without volume.")
    schedule_cancel_volume_usd: int = Field(
        1_000_000, ge=0, description="Volume that scheduleCancel requires, USD."
    )
    schedule_cancel_per_day: int = Field(10, ge=0, description="Firings per UTC day.")
    sub_account_volume_usd: int = Field(
        100_000, ge=0, description="Volume that createSubAccount requires, USD."
    )
    exchange_daily_volume_usd: float = Field(
        5e9, gt=0, description="Volume of the whole venue per day, for maker shares, USD."
    )
    partial_gtc_ack: Literal["resting", "filled"] = Field(
        "resting", description="Status of a GTC that fills in part and rests (unverified)."
    )
    trigger_slippage_frac: float = Field(
        0.1, gt=0, lt=1, description="Slippage of a market trigger order, fraction of the mark."
    )


class Trigger(msgspec.Struct, frozen=True):
    """Condition of a TP/SL order; it triggers on the mark price."""

    px_ticks: int
    is_market: bool
    is_tp: bool


class NewOrder(msgspec.Struct, frozen=True):
    """An order on its way in, already in ticks and lots. `cloid` is `0x` and 32 hex digits."""

    asset_id: int
    side: Side
    px_ticks: int
    sz_lots: int
    tif: Tif
    is_reduce_only: bool = False
    cloid: str | None = None
    trigger: Trigger | None = None


class Outcome(Enum):
    """What became of a submitted order, as its reply says it."""

    RESTING = "resting"
    FILLED = "filled"
    REJECTED = "rejected"
    WAITING_FOR_FILL = "waitingForFill"
    WAITING_FOR_TRIGGER = "waitingForTrigger"


class OrderResult(msgspec.Struct, frozen=True):
    """
    Verdict on one order.

    `error` is the venue's sentence when rejected; `oid` is None when the order never became a
    record. `avg_px_ticks` is of the part filled at once, None without one.
    """

    outcome: Outcome
    oid: int | None = None
    filled_lots: int = 0
    resting_lots: int = 0
    avg_px_ticks: float | None = None
    error: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the venue took the order."""
        return self.outcome is not Outcome.REJECTED


class CancelResult(msgspec.Struct, frozen=True):
    """Verdict on one cancel: `error` is None on success."""

    error: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the order was cancelled."""
        return self.error is None


# -- events ----------------------------------------------------------------------------------------


class TradePrint(msgspec.Struct, frozen=True, gc=False):
    """A public trade; `side` is the aggressor's."""

    asset_id: int
    coin: str
    side: Side
    px_ticks: int
    sz_lots: int
    time_ms: int
    hash: str
    tid: int
    buyer: str
    seller: str


class BookChanged(msgspec.Struct, frozen=True, gc=False):
    """The book of an asset differs from the last drain; at most one per asset and drain."""

    asset_id: int


class FillRecord(msgspec.Struct, frozen=True):
    """A fill of a (non-house) account, in wire shape (`userFills`)."""

    user: str
    time_ms: int
    fill: dict[str, Any]


class OrderRecord(msgspec.Struct, frozen=True):
    """A change of an order of a (non-house) account, in wire shape (`orderUpdates`)."""

    user: str
    time_ms: int
    update: dict[str, Any]


class FundingRecord(msgspec.Struct, frozen=True):
    """A funding payment of a (non-house) account, in wire shape (`userFunding` row)."""

    user: str
    time_ms: int
    row: dict[str, Any]


class LedgerRecord(msgspec.Struct, frozen=True):
    """A deposit, transfer or liquidation, in wire shape (`userNonFundingLedgerUpdates` row)."""

    user: str
    time_ms: int
    row: dict[str, Any]


class NonUserCancel(msgspec.Struct, frozen=True):
    """An order the venue cancelled by itself (`userEvents`, `nonUserCancel`)."""

    user: str
    time_ms: int
    coin: str
    oid: int


class LiquidationRecord(msgspec.Struct, frozen=True):
    """A liquidation, in wire shape (`userEvents`, `liquidation`)."""

    user: str
    time_ms: int
    liquidation: dict[str, Any]


VenueEvent = (
    TradePrint
    | BookChanged
    | FillRecord
    | OrderRecord
    | FundingRecord
    | LedgerRecord
    | NonUserCancel
    | LiquidationRecord
)
