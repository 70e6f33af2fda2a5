"""
Quantities shared by the whole program: sides, instruments, prices in ticks and sizes in lots.

A tick is 10^-(6 - szDecimals) USD and never changes; a lot is 10^-szDecimals coins. Their product
is always one micro-dollar, so the notional of an order is an exact integer.

Source: Hyperliquid docs, "Tick and lot size".
"""

from __future__ import annotations

from enum import Enum, IntEnum
from math import ceil, floor
from typing import Final

import msgspec

USD_PER_TICK_LOT = 1e-6
"""Notional of one lot at a price of one tick, in USD, for every perp."""

PX_DECIMALS = 6
SIGNIFICANT_FIGURES = 5
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


_STEPS: tuple[tuple[int, ...], ...] = tuple(
    tuple(
        min(10 ** max(0, digits - SIGNIFICANT_FIGURES), 10 ** (PX_DECIMALS - sz_decimals))
        for digits in range(64)
    )
    for sz_decimals in range(PX_DECIMALS + 1)
)
"""Distance of valid prices, by decimals of a size and digits of a price in ticks."""


class Side(IntEnum):
    """Side of an order or of an aggressor; the value is the sign of the position it makes."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


BUY: Final = Side.BUY
SELL: Final = Side.SELL
"""Reading a member through its class takes longer than most that is done with it."""


class Tif(Enum):
    """Time in force, in the venue's spelling. Quotes are `ALO`; only a flatten is `IOC`."""

    # Members are single objects, and the hash of the base class is written in Python.
    __hash__ = object.__hash__

    ALO = "Alo"
    GTC = "Gtc"
    IOC = "Ioc"


class Mode(Enum):
    """What the risk table lets the quoter do."""

    RUNNING = "running"
    REDUCING = "reducing"
    HALTED = "halted"


RUNNING: Final = Mode.RUNNING
REDUCING: Final = Mode.REDUCING
HALTED: Final = Mode.HALTED


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """
    One perp as the venue lists it.

    Attributes:
        coin: Name on the wire, with the dex prefix for builder dexes (`hyna:HYPE`).
        dex: Builder dex, empty for the main one.
        asset_id: Number in actions.
        sz_decimals: Decimals of a size; the price has `6 - sz_decimals`.
        max_leverage: Highest leverage the venue allows.
        only_isolated: Cross margin is refused.
        collateral: Token the account of this dex holds and pays fees in.
        fee_multiplier: Factor on a positive user fee rate (deployer scale and growth mode).
        growth_mode: Fee and request credit are a tenth.
    """

    coin: str
    dex: str = ""
    asset_id: int
    sz_decimals: int
    max_leverage: int
    only_isolated: bool = False
    collateral: str = "USDC"
    fee_multiplier: float = 1.0
    growth_mode: bool = False

    @property
    def request_credit(self) -> float:
        """Requests earned per USD filled (Hyperliquid docs, "Rate limits and user limits")."""
        return 0.1 if self.growth_mode else 1.0

    @property
    def ticks_per_usd(self) -> int:
        """Ticks in one USD of price; also the coarsest step, since integers are always valid."""
        ticks: int = 10 ** (PX_DECIMALS - self.sz_decimals)
        return ticks

    @property
    def lots_per_coin(self) -> int:
        """Lots in one coin."""
        lots: int = 10**self.sz_decimals
        return lots

    def px(self, ticks: float) -> float:
        """Price in USD of `ticks`."""
        return ticks / self.ticks_per_usd

    def sz(self, lots: float) -> float:
        """Size in coins of `lots`."""
        return lots / self.lots_per_coin

    def ticks(self, px: float) -> float:
        """Price in USD as ticks, not rounded."""
        return px * self.ticks_per_usd

    def lots(self, sz: float) -> float:
        """Size in coins as lots, not rounded."""
        return sz * self.lots_per_coin

    def step_ticks(self, ticks: int) -> int:
        """
        Distance between valid prices at `ticks`: five significant figures, integers always valid.

        `ticks` must be positive. Across a power of ten the step of the upper side is ten times
        that of the lower one; the power itself is valid under both.
        """
        if ticks <= 0:
            msg = f"price must be positive, got {ticks} ticks"
            raise ValueError(msg)
        return _STEPS[self.sz_decimals][len(str(ticks))]

    def floor_ticks(self, ticks: float) -> int:
        """Highest valid price at or below `ticks` (the way a bid is rounded), at least one tick."""
        whole = floor(ticks + _ROUND_EPS)
        if whole <= 0:
            msg = f"price must be at least one tick, got {ticks}"
            raise ValueError(msg)
        step = self.step_ticks(whole)
        return whole - whole % step

    def ceil_ticks(self, ticks: float) -> int:
        """Lowest valid price at or above `ticks` (the way an ask is rounded)."""
        whole = max(1, ceil(ticks - _ROUND_EPS))
        step = self.step_ticks(whole)
        return -(-whole // step) * step

    def is_valid_px(self, ticks: int) -> bool:
        """Whether the venue accepts `ticks` as a limit price."""
        return ticks > 0 and ticks % self.step_ticks(ticks) == 0


_ROUND_EPS = 1e-7
"""Floats a hair beyond a tick belong to it: 26.2035 USD is 262035 ticks, not 262034."""


class Fees(msgspec.Struct, frozen=True):
    """Fee rates of this account on this instrument, bps of notional; negative is a rebate."""

    maker_bps: float
    taker_bps: float


def notional_usd(px_ticks: float, sz_lots: float) -> float:
    """Value in USD of `sz_lots` at `px_ticks`."""
    return px_ticks * sz_lots * USD_PER_TICK_LOT
