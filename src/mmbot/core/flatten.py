"""
Closing a position as a taker: which order is next, and whether its price is worth it.

The only taker path. Reduce-only, immediate-or-cancel, in slices, and never beyond a bound that is
fixed when the closing begins: a market that runs away is not chased.
"""

from __future__ import annotations

from math import ceil

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.intents import Place
from mmbot.core.ladder import MIN_NOTIONAL_USD
from mmbot.core.types import USD_PER_TICK_LOT, Fees, Instrument, Side, Tif

_HEAD_ROOM = 1.06
"""A slice is worth this much more than the least order: its price may differ from the mid's."""


class FlattenParams(BaseModel):
    """How a position is closed as a taker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bound_bps: float = Field(
        50.0,
        ge=1,
        le=500,
        description="Worst price of a closing order, bps from the mid at which closing began.",
    )
    slices: int = Field(
        4, ge=1, le=50, description="Orders that the position is closed by if each fills whole."
    )
    tries: int = Field(
        12, ge=1, le=100, description="Closing orders before what is left is left, count."
    )
    pause_s: float = Field(
        1.0, ge=0.1, le=30, description="Time between two closing orders, s: readings lag as much."
    )
    window_s: float = Field(
        180.0,
        ge=0,
        le=600,
        description="How long closing waits where the venue takes post-only orders alone, as it "
        "does after an upgrade of its network, s.",
    )
    fee_bps_max: float = Field(
        10.0, ge=0, le=100, description="Taker fee from which nothing is closed as a taker, bps."
    )


class Touch(msgspec.Struct, frozen=True, gc=False):
    """Best prices of a book with two sides, ticks."""

    bid_px_ticks: int
    ask_px_ticks: int

    @property
    def mid_ticks(self) -> float:
        """Their middle."""
        return (self.bid_px_ticks + self.ask_px_ticks) / 2


def too_dear(fees: Fees, params: FlattenParams) -> str | None:
    """Why nothing is closed as a taker at this fee; None where it is."""
    if fees.taker_bps <= params.fee_bps_max:
        return None
    return (
        f"the taker fee of {fees.taker_bps:g} bps is above flatten.fee_bps_max = "
        f"{params.fee_bps_max:g}; raise that, or close the position by post-only orders"
    )


def slice_lots(held_lots: int, mid_ticks: float, params: FlattenParams) -> int:
    """Size of a slice of a whole position: equal parts, each at least a valid order."""
    least = ceil(_HEAD_ROOM * MIN_NOTIONAL_USD / (mid_ticks * USD_PER_TICK_LOT))
    return max(least, ceil(abs(held_lots) / params.slices))


def bound_ticks(instrument: Instrument, side: Side, mid_ticks: float, params: FlattenParams) -> int:
    """The worst valid price of a closing order on `side`, rounded towards the mid."""
    worst = mid_ticks * (1 + side * params.bound_bps * 1e-4)
    return instrument.floor_ticks(worst) if side > 0 else instrument.ceil_ticks(worst)


def next_close(
    *,
    cloid: int,
    held_lots: int,
    part_lots: int,
    touch: Touch,
    mid_ticks: float,
    instrument: Instrument,
    params: FlattenParams,
) -> Place | None:
    """
    The next closing order; None where the market stands beyond the bound.

    Args:
        cloid: Of the order.
        held_lots: What is held now, signed, not 0.
        part_lots: Size of a slice. What would be left below one takes the rest with it.
        touch: The market now.
        mid_ticks: Mid at which closing began.
        instrument: Which perp.
        params: How to close.
    """
    side = Side.SELL if held_lots > 0 else Side.BUY
    px = bound_ticks(instrument, side, mid_ticks, params)
    reached = touch.ask_px_ticks if side > 0 else touch.bid_px_ticks
    if side * (px - reached) < 0:
        return None
    held = abs(held_lots)
    # What a slice would leave must be a valid order by itself.
    size = held if held < 2 * part_lots else part_lots
    return Place(cloid, side, px, size, is_reduce_only=True, tif=Tif.IOC)
