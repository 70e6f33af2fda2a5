"""
Bodies of `POST /info`, decoded.

Each function takes the body as it came and raises `VenueProtocolError` when it is not what the
call answers with, `null` included (the venue's way to say that it does not know a coin or dex).
Lists of several coins are cut down to the instrument asked for.

Source: Hyperliquid docs, "Info endpoint" and "Perpetuals".

One call after another, each with its shape: long because the calls are many.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from mmbot.core.events import Fill, Isolated, OrderUpdate
from mmbot.core.types import Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.grid import Grid
from mmbot.hyperliquid.wire_types import (
    DECODE_ERRORS,
    Count,
    Number,
    Px,
    Sz,
    WireFill,
    WireOrder,
    WireOrderUpdate,
    cloid_number,
)

_T = TypeVar("_T")


def _read(body: bytes, decoder: msgspec.json.Decoder[_T], call: str) -> _T:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS as error:
        msg = f"unreadable answer to {call}: {error}: {body[:120]!r}"
        raise VenueProtocolError(msg) from error


# -- orders and fills -------------------------------------------------------------------------


class _Named(msgspec.Struct):
    """As much of a row as says whose it is."""

    coin: str


class _Cancelable(msgspec.Struct):
    """As much of an order as it takes to cancel it."""

    oid: Count
    cloid: str | None = None


_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NAMED: Final = msgspec.json.Decoder(_Named)
_CANCELABLE: Final = msgspec.json.Decoder(_Cancelable, strict=False)
_ORDER: Final = msgspec.json.Decoder(WireOrder, strict=False)
_FILLS: Final = msgspec.json.Decoder(list[WireFill], strict=False)


def open_orders(body: bytes, instrument: Instrument, recv_ns: int) -> tuple[OrderUpdate, ...]:
    """
    Orders that rest on `instrument`, from `openOrders` or `frontendOpenOrders`.

    Orders of anybody who trades on the account are among them, triggers that wait included.
    `venue_ms` is when the order was placed. Rows of other coins are not read.
    """
    grid = Grid(instrument)
    orders = [_read(row, _ORDER, "openOrders") for row in _rows_of(body, instrument.coin)]
    return tuple([grid.order(order, "open", order.timestamp, recv_ns) for order in orders])


class Resting(msgspec.Struct, frozen=True):
    """An order that rests, by the names it can be cancelled with."""

    oid: int
    cloid: int | None


def resting(body: bytes, coin: str) -> tuple[list[Resting], VenueProtocolError | None]:
    """
    What rests of a coin, from `openOrders`, and why a row that may be one of it cannot be read.

    Whatever else the venue writes of an order, or of one of another coin, keeps no order from being
    cancelled. What is no proper cloid was not made by this program.

    Raises:
        VenueProtocolError: The answer is no list.
    """
    found: list[Resting] = []
    problem: VenueProtocolError | None = None
    for row in _read(body, _ROWS, "openOrders"):
        try:
            if _read(bytes(row), _NAMED, "openOrders").coin != coin:
                continue
            order = _read(bytes(row), _CANCELABLE, "openOrders")
        except VenueProtocolError as unread:
            problem = unread
            continue
        try:
            found.append(Resting(order.oid, cloid_number(order.cloid)))
        except VenueProtocolError:
            found.append(Resting(order.oid, None))
    return found, problem


def _rows_of(body: bytes, coin: str) -> list[bytes]:
    rows = [bytes(row) for row in _read(body, _ROWS, "openOrders")]
    return [row for row in rows if _read(row, _NAMED, "openOrders").coin == coin]


def user_fills(body: bytes, instrument: Instrument, user: str, recv_ns: int) -> tuple[Fill, ...]:
    """
    Fills on `instrument`, oldest first, from `userFills` or `userFillsByTime`.

    Each is marked as history (`is_snapshot`).
    """
    grid = Grid(instrument)
    account = user.lower()
    fills = [
        grid.fill(fill, account, recv_ns, is_snapshot=True)
        for fill in _read(body, _FILLS, "userFills")
        if fill.coin == instrument.coin
    ]
    # `userFills` has the newest first: turned round, the fills of one millisecond keep their order.
    if len(fills) > 1 and fills[0].venue_ms > fills[-1].venue_ms:
        fills.reverse()
    fills.sort(key=lambda fill: fill.venue_ms)
    return tuple(fills)


class _OrderStatus(msgspec.Struct):
    status: Literal["order", "unknownOid"]
    order: WireOrderUpdate | None = None


_ORDER_STATUS: Final = msgspec.json.Decoder(_OrderStatus, strict=False)


def order_status(body: bytes, instrument: Instrument, recv_ns: int) -> OrderUpdate | None:
    """
    State of one order, from `orderStatus`; None when the venue does not know it.

    Just after an acknowledgement the venue may still not know it, for about a second.

    Raises:
        VenueProtocolError: Unreadable, or an order of another coin: our asset id is wrong.
    """
    answer = _read(body, _ORDER_STATUS, "orderStatus")
    if answer.status == "unknownOid":
        return None
    update = answer.order
    if update is None:
        msg = "answer to orderStatus has no order"
        raise VenueProtocolError(msg)
    if update.order.coin != instrument.coin:
        msg = f"orderStatus answered for {update.order.coin}, asked for {instrument.coin}"
        raise VenueProtocolError(msg)
    return Grid(instrument).order(update.order, update.status, update.status_timestamp, recv_ns)


# -- the account ------------------------------------------------------------------------------


class Leverage(msgspec.Struct, frozen=True, gc=False):
    """Leverage as configured on one asset."""

    type: Literal["cross", "isolated"]
    value: int

    @property
    def is_cross(self) -> bool:
        """Whether the whole account of the dex stands behind the position."""
        return self.type == "cross"


class _Position(msgspec.Struct, rename="camel"):
    coin: str
    szi: Number
    leverage: Leverage
    position_value: Number
    unrealized_pnl: Number
    margin_used: Number
    entry_px: Px | None = None
    liquidation_px: Number | None = None


class _AssetPosition(msgspec.Struct):
    position: _Position


class _MarginSummary(msgspec.Struct, rename="camel"):
    account_value: Number
    total_ntl_pos: Number
    total_margin_used: Number


class _Clearinghouse(msgspec.Struct, rename="camel"):
    margin_summary: _MarginSummary
    withdrawable: Number
    asset_positions: list[_AssetPosition]
    time: Count = 0
    cross_maintenance_margin_used: Number = 0.0


_CLEARINGHOUSE: Final = msgspec.json.Decoder(_Clearinghouse, strict=False)


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """
    The account on one dex and its position in one instrument, from `clearinghouseState`.

    Attributes:
        venue_ms: The venue's clock when it answered; 0 where it does not say (before 2024).
        equity_usd: Account value of the dex, all positions at their marks.
        withdrawable_usd: What no margin is held against.
        total_notional_usd: Of all positions of the dex.
        margin_used_usd: Of all positions of the dex.
        maintenance_usd: Maintenance margin of all cross positions of the dex; 0 where the venue
            does not say.
        position_lots: Signed, 0 when flat.
        entry_px: Average entry, None when flat.
        mark_px: Mark at which the position is valued, None when flat.
        unrealised_usd: Of the position, at the mark.
        leverage: Of the position, None when flat (`activeAssetData` has it then).
        liquidation_px: None when none exists.
        position_margin_usd: Held by the position: its equity where it is isolated.
        position_usd: Its value at the mark, above 0.
    """

    venue_ms: int
    equity_usd: float
    withdrawable_usd: float
    total_notional_usd: float
    margin_used_usd: float
    maintenance_usd: float = 0.0
    position_lots: int = 0
    entry_px: float | None = None
    mark_px: float | None = None
    unrealised_usd: float = 0.0
    leverage: Leverage | None = None
    liquidation_px: float | None = None
    position_margin_usd: float = 0.0
    position_usd: float = 0.0

    @property
    def isolated(self) -> Isolated | None:
        """
        The margin of our position where it stands against its own alone.

        At the liquidation price its equity is what it must keep, tiers included (Hyperliquid docs,
        "Liquidations"); a price that says otherwise than that is no such price.
        """
        leverage, mark_px, liquidation_px = self.leverage, self.mark_px, self.liquidation_px
        if leverage is None or leverage.is_cross or mark_px is None:
            return None
        kept = None
        if liquidation_px is not None and liquidation_px > 0 and self.position_usd > 0:
            value_usd = self.position_usd * liquidation_px / mark_px
            side = 1 if self.position_lots > 0 else -1
            left_usd = self.position_margin_usd + side * (value_usd - self.position_usd)
            kept = left_usd / value_usd
            if not 0 < kept <= 1:
                kept = None
        return Isolated(self.position_margin_usd, mark_px, leverage.value, kept)


def clearinghouse_state(body: bytes, instrument: Instrument) -> AccountState:
    """
    Read the account of the instrument's dex.

    Only meaningful for a standard account: a unified one keeps its balance elsewhere.
    """
    state = _read(body, _CLEARINGHOUSE, "clearinghouseState")
    summary = state.margin_summary
    account = AccountState(
        venue_ms=state.time,
        equity_usd=summary.account_value,
        withdrawable_usd=state.withdrawable,
        total_notional_usd=summary.total_ntl_pos,
        margin_used_usd=summary.total_margin_used,
        maintenance_usd=state.cross_maintenance_margin_used,
    )
    for entry in state.asset_positions:
        position = entry.position
        if position.coin != instrument.coin or position.szi == 0:
            continue
        return msgspec.structs.replace(
            account,
            position_lots=Grid(instrument).lots(position.szi),
            entry_px=position.entry_px,
            mark_px=abs(position.position_value / position.szi),
            unrealised_usd=position.unrealized_pnl,
            leverage=position.leverage,
            liquidation_px=position.liquidation_px,
            position_margin_usd=position.margin_used,
            position_usd=abs(position.position_value),
        )
    return account


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """
    Address budget, from `userRateLimit`: the cap is 10 000 plus one per USD ever traded.

    What was bought (`reserveRequestWeight`) and is not spent yet comes on top of the cap.
    """

    cum_vlm_usd: Sz = msgspec.field(name="cumVlm")
    used: Count = msgspec.field(name="nRequestsUsed")
    cap: Count = msgspec.field(name="nRequestsCap")
    surplus: Count = msgspec.field(name="nRequestsSurplus", default=0)

    @property
    def allowed(self) -> int:
        """How many the address may have used: of these `used` are gone."""
        return self.cap + self.surplus


_RATE_LIMIT: Final = msgspec.json.Decoder(RateLimit, strict=False)


def user_rate_limit(body: bytes) -> RateLimit:
    """Read how many requests the address has used and may use."""
    return _read(body, _RATE_LIMIT, "userRateLimit")


_Rate = Annotated[float, msgspec.Meta(gt=-0.01, lt=0.01)]


class UserFees(msgspec.Struct, frozen=True, gc=False):
    """
    Fee rates of the account, as fractions of notional, from `userFees`.

    `cross` and `add` (taker, maker; a rebate is negative) hold tier and staking discount already,
    not the referral discount and not what a builder dex adds: `universe.fees` applies those.
    """

    cross: _Rate = msgspec.field(name="userCrossRate")
    add: _Rate = msgspec.field(name="userAddRate")
    referral_discount: Annotated[float, msgspec.Meta(ge=0, lt=1)] = msgspec.field(
        name="activeReferralDiscount"
    )


_USER_FEES: Final = msgspec.json.Decoder(UserFees, strict=False)


def user_fees(body: bytes) -> UserFees:
    """Read the account's fee rates."""
    return _read(body, _USER_FEES, "userFees")


class _RoleData(msgspec.Struct):
    user: str | None = None
    master: str | None = None


class _Role(msgspec.Struct):
    role: str
    data: _RoleData | None = None


_ROLE: Final = msgspec.json.Decoder(_Role)


class UserRole(msgspec.Struct, frozen=True, gc=False):
    """
    What an address is, from `userRole`.

    Attributes:
        role: `user`, `agent`, `vault`, `subAccount`, `missing`, or a word we do not know.
        master: Account that an agent trades for, or a sub-account belongs to.
    """

    role: str
    master: str | None = None


def user_role(body: bytes) -> UserRole:
    """Read what an address is; unnamed agents are visible only here."""
    answer = _read(body, _ROLE, "userRole")
    data = answer.data or _RoleData()
    return UserRole(answer.role, data.user or data.master)


class _Status(msgspec.Struct):
    time: int


_STATUS: Final = msgspec.json.Decoder(_Status)


def exchange_time_ms(body: bytes) -> int:
    """Read the venue's clock, ms since the epoch, from `exchangeStatus`."""
    return _read(body, _STATUS, "exchangeStatus").time


_TEXT: Final = msgspec.json.Decoder(str)


def user_abstraction(body: bytes) -> str:
    """
    Read the account mode, from `userAbstraction`.

    `default` and `disabled` are standard accounts; `unifiedAccount`, `portfolioMargin` and
    `dexAbstraction` keep balances that `clearinghouseState` does not show.
    """
    return _read(body, _TEXT, "userAbstraction")


class ActiveAssetData(msgspec.Struct, frozen=True, rename="camel"):
    """
    One asset as configured for the account, from `activeAssetData`; pairs are (buy, sell).

    The only cheap read of the configured leverage, and of the mark, while flat.
    """

    coin: str
    leverage: Leverage
    mark_px: Px
    max_trade_szs: tuple[Number, Number]
    available_to_trade: tuple[Number, Number]


_ACTIVE_ASSET: Final = msgspec.json.Decoder(ActiveAssetData, strict=False)


def active_asset_data(body: bytes) -> ActiveAssetData:
    """Read leverage, mark and room to trade of one asset."""
    return _read(body, _ACTIVE_ASSET, "activeAssetData")


class _Candle(msgspec.Struct):
    high: Px = msgspec.field(name="h")
    low: Px = msgspec.field(name="l")


_CANDLES: Final = msgspec.json.Decoder(list[_Candle], strict=False)


def candle_ranges_bps(body: bytes) -> list[float]:
    """Read how far the price ranged in each bar, bps of its low, from `candleSnapshot`."""
    return [
        (candle.high - candle.low) / candle.low * 1e4
        for candle in _read(body, _CANDLES, "candleSnapshot")
    ]


# -- the universe -----------------------------------------------------------------------------


class MetaAsset(msgspec.Struct, frozen=True, rename="camel"):
    """
    One entry of a dex's list of perps; its place in the list is part of its asset id.

    `deployer_fee_scale` is absent on the main dex, `growth_mode` where it was never enabled.
    """

    name: str
    sz_decimals: Annotated[int, msgspec.Meta(ge=0, le=6)]
    max_leverage: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    is_delisted: bool = False
    only_isolated: bool = False
    margin_mode: str | None = None
    growth_mode: str | None = None
    deployer_fee_scale: Number | None = None


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """List of perps of one dex, delisted ones included, from `meta`."""

    universe: list[MetaAsset]
    collateral_token: Count | None = None


class MarketCtx(msgspec.Struct, frozen=True, rename="camel"):
    """Mark and oracle of one perp; `mid_px` is None where it has no book with two sides."""

    mark_px: Px
    oracle_px: Px
    mid_px: Px | None = None


class PerpDex(msgspec.Struct, frozen=True):
    """One builder dex, from `perpDexs`; its place in the list is part of asset ids."""

    name: str


class _Token(msgspec.Struct):
    name: str
    index: Count


class _SpotMeta(msgspec.Struct):
    tokens: list[_Token]


_META: Final = msgspec.json.Decoder(Meta, strict=False)
_META_AND_CTXS: Final = msgspec.json.Decoder(tuple[Meta, list[msgspec.Raw]], strict=False)
_CTX: Final = msgspec.json.Decoder(MarketCtx, strict=False)
_PERP_DEXS: Final = msgspec.json.Decoder(list[PerpDex | None])
_COINS: Final = msgspec.json.Decoder(list[str])
_SPOT_META: Final = msgspec.json.Decoder(_SpotMeta)


def meta(body: bytes) -> Meta:
    """Read the perps of one dex, in the order that gives them their ids."""
    return _read(body, _META, "meta")


def perp_dexs(body: bytes) -> list[PerpDex | None]:
    """Read the builder dexes in the order that gives them their ids; element 0 is the main dex."""
    return _read(body, _PERP_DEXS, "perpDexs")


def coins_at_cap(body: bytes) -> list[str]:
    """Read the perps of a dex at their cap of open interest, from `perpsAtOpenInterestCap`."""
    return _read(body, _COINS, "perpsAtOpenInterestCap")


def market_ctx(body: bytes, coin: str) -> MarketCtx:
    """Read what trades now of one perp, from `metaAndAssetCtxs` of its dex."""
    listed, ctxs = _read(body, _META_AND_CTXS, "metaAndAssetCtxs")
    names = [asset.name for asset in listed.universe]
    if coin not in names or len(ctxs) != len(names):
        msg = f"/info metaAndAssetCtxs: does not tell of {coin}"
        raise VenueProtocolError(msg)
    return _read(bytes(ctxs[names.index(coin)]), _CTX, "metaAndAssetCtxs")


def spot_tokens(body: bytes) -> dict[int, str]:
    """Read the names of tokens by their index, which is sparse, from `spotMeta`."""
    return {token.index: token.name for token in _read(body, _SPOT_META, "spotMeta").tokens}
