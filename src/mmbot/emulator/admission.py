"""
Whether the venue takes an order: every check that looks at one order and its account.

The sequence of checks and every sentence are the venue's: protocol notes 2.8, 2.9 and 5.1 to 5.5;
Hyperliquid docs, "Order types", "Error responses".
"""

from __future__ import annotations

from typing import NamedTuple

from mmbot.core.types import Side, Tif
from mmbot.emulator.margin import exceeds_tier, has_margin_for
from mmbot.emulator.matching import Order
from mmbot.emulator.shapes import triggers_above
from mmbot.emulator.specs import U_PER_USD
from mmbot.emulator.state import State

POST_ONLY_WINDOW = "Only post-only orders allowed immediately after network upgrade"
WOULD_INCREASE = "Reduce only order would increase position."
OPEN_ORDERS_PER_VOLUME_U = 5_000_000 * U_PER_USD
OPEN_ORDERS_MAX = 5_000


class Refusal(NamedTuple):
    """Why an order is refused; without a `status` it leaves no record (`unknownOid`)."""

    status: str | None
    text: str


def market_max_usd(max_leverage: int) -> int:
    """Largest market order of an asset, USD; a limit order may be ten times that."""
    if max_leverage >= 25:
        return 30_000_000
    if max_leverage >= 20:
        return 5_000_000
    return 2_000_000 if max_leverage >= 10 else 500_000


def reduces(order: Order) -> bool:
    """Whether the order is on the side that makes the position smaller."""
    szi = order.slot.szi_lots
    return szi != 0 and (szi > 0) != (order.side is Side.BUY)


def fit_reduce_only(order: Order) -> bool:
    """Shrink a reduce-only order to the position; False when there is nothing to reduce."""
    if not reduces(order):
        return False
    order.sz_lots = min(order.sz_lots, abs(order.slot.szi_lots))
    return True


def refusal(state: State, order: Order) -> Refusal | None:
    """First reason to refuse an order before it meets the book; may shrink a reduce-only."""
    slot = order.slot
    asset = slot.asset
    if asset.is_halted:
        # Unverified: neither the sentence nor whether a record stays is known.
        return Refusal(None, f"Trading is halted. asset={asset.asset_id}")
    if state.is_post_only and (order.tif is not Tif.ALO or order.trigger is not None):
        return Refusal(None, POST_ONLY_WINDOW)
    if _has_too_many(state, order):
        return Refusal("tooManyOpenOrdersRejected", "Too many open orders")
    if slot.is_cross and asset.is_isolated_only:
        # Unverified wording. The venue needs updateLeverage before the first isolated order.
        return Refusal("perpMarginRejected", "Cross margin is not allowed for this asset.")
    if order.trigger is not None:
        return _trigger_refusal(state, order)
    if order.is_reduce_only and not fit_reduce_only(order):
        return Refusal("reduceOnlyRejected", WOULD_INCREASE)
    return _value_refusal(state, order) or margin_refusal(order) or _cap_refusal(order)


def _has_too_many(state: State, order: Order) -> bool:
    account = order.slot.account
    base = state.params.open_orders_base
    count = len(account.open)
    if count < base:
        return False
    limit = min(base + account.volume_u // OPEN_ORDERS_PER_VOLUME_U, OPEN_ORDERS_MAX)
    return count >= limit or order.is_reduce_only or order.trigger is not None


def _trigger_refusal(state: State, order: Order) -> Refusal | None:
    trigger, asset = order.trigger, order.slot.asset
    assert trigger is not None
    if order.is_position_tpsl and not order.is_reduce_only:
        # Unverified wording.
        return Refusal("badTriggerPxRejected", "Trigger order is not reduce only.")
    is_above = triggers_above(order)
    if order.parent is None:
        if order.is_reduce_only and not reduces(order):
            return Refusal("reduceOnlyRejected", WOULD_INCREASE)
        mark = asset.mark_ticks
        if mark >= trigger.px_ticks if is_above else mark <= trigger.px_ticks:
            return Refusal("badTriggerPxRejected", "Invalid TP/SL price.")
    elif is_above != (trigger.px_ticks > order.parent.px_ticks):
        # A child is judged by the price its parent opens at.
        return Refusal("badTriggerPxRejected", "Invalid TP/SL price.")
    return _value_refusal(state, order)


def _value_refusal(state: State, order: Order) -> Refusal | None:
    """Least and greatest value, and the distance from the oracle."""
    slot, asset, params = order.slot, order.slot.asset, state.params
    px = order.px_ticks
    if order.tif is Tif.IOC and order.trigger is None:
        touch = asset.book.ask_ticks if order.side is Side.BUY else asset.book.bid_ticks
        if touch is not None and asset.book.would_cross(order.side, px):
            px = touch
    is_whole_close = order.is_reduce_only and order.sz_lots >= abs(slot.szi_lots) > 0
    value_u = px * order.sz_lots
    if value_u < params.min_notional_usd * U_PER_USD and not is_whole_close:
        quote = state.collateral(asset)
        text = f"Order must have minimum value of ${params.min_notional_usd}."
        if quote != "USDC":
            # Unverified wording on a builder dex with another collateral.
            text = f"Order must have minimum value of {params.min_notional_usd} {quote}."
        return Refusal("minTradeNtlRejected", text)
    most_usd = market_max_usd(asset.spec.max_leverage)
    if order.tif is not Tif.IOC:
        most_usd *= 10
    if value_u > most_usd * U_PER_USD:
        return Refusal(None, f"Order value too large. Max is ${most_usd}.")
    if abs(order.px_ticks - asset.oracle_ticks) > params.oracle_band_frac * asset.oracle_ticks:
        # The width is unverified; 95 % is what third parties name.
        return Refusal("oracleRejected", "Price too far from oracle")
    return None


def margin_refusal(order: Order) -> Refusal | None:
    if order.is_reduce_only:
        return None
    signed = order.sz_lots * order.side
    if exceeds_tier(order.slot, signed):
        text = "Order would cause position to exceed margin tier limit at current leverage"
        return Refusal("perpMaxPositionRejected", text)
    if not has_margin_for(order.slot, signed):
        return Refusal("perpMarginRejected", "Insufficient margin to place order.")
    return None


def _cap_refusal(order: Order) -> Refusal | None:
    slot, asset = order.slot, order.slot.asset
    if not asset.is_capped():
        return None
    if not reduces(order):
        text = "Order would increase open interest while open interest is capped"
        return Refusal("positionIncreaseAtOpenInterestCapRejected", text)
    if order.sz_lots > abs(slot.szi_lots):
        text = "Order would increase open interest while open interest is capped"
        return Refusal("positionFlipAtOpenInterestCapRejected", text)
    if (order.px_ticks - asset.oracle_ticks) * order.side > 0:
        text = "Order rejected due to price more aggressive than oracle while at open interest cap"
        return Refusal("tooAggressiveAtOpenInterestCapRejected", text)
    return None
