"""
Margin of an account in one dex: what is used, what is free, when it is liquidated.

Sources: Hyperliquid docs, "Margining", "Margin tiers", "Liquidations"; the identities are those of
protocol notes 1.4.7 and 5.9.
"""

from __future__ import annotations

import msgspec

from mmbot.emulator.accounts import Purse, Slot
from mmbot.emulator.matching import Order


class Summary(msgspec.Struct, frozen=True, gc=False):
    """
    Margin of one purse, micro-dollars.

    `account_value_u = raw_u + sum(szi * mark)`; the cross figures leave isolated positions out;
    `reserved_u` is what resting orders hold.
    """

    account_value_u: int
    ntl_u: int
    raw_u: int
    margin_used_u: int
    cross_value_u: int
    cross_ntl_u: int
    cross_raw_u: int
    cross_margin_u: int
    cross_maintenance_u: int
    reserved_u: int

    @property
    def withdrawable_u(self) -> int:
        """`max(0, account value - max(initial margin with resting orders, 10 % of notional))`."""
        held_u = max(self.margin_used_u + self.reserved_u, self.ntl_u // 10)
        return max(0, self.account_value_u - held_u)

    @property
    def free_u(self) -> int:
        """Cross equity that no position and no resting order holds; may be negative."""
        return self.cross_value_u - self.cross_margin_u - self.reserved_u


def summarise(purse: Purse) -> Summary:
    """Margin of `purse` at the present marks."""
    cash_u = purse.cash_u
    ntl_u = raw_isolated_u = value_isolated_u = margin_isolated_u = 0
    cross_ntl_u = cross_value_u = cross_margin_u = maintenance_u = reserved_u = 0
    for slot in purse.slots.values():
        if slot.buy_lots or slot.sell_lots:
            reserved_u += slot.reserved_u
        if not slot.szi_lots:
            continue
        value_u = slot.szi_lots * slot.asset.mark_ticks
        slot_ntl_u = abs(value_u)
        ntl_u += slot_ntl_u
        if slot.is_cross:
            cross_ntl_u += slot_ntl_u
            cross_value_u += value_u
            cross_margin_u += slot.margin_used_u
            maintenance_u += slot.asset.tiers.maintenance_u(slot_ntl_u)
        else:
            raw_isolated_u += slot.raw_u
            value_isolated_u += value_u
            margin_isolated_u += slot.raw_u + value_u
    return Summary(
        account_value_u=cash_u + raw_isolated_u + cross_value_u + value_isolated_u,
        ntl_u=ntl_u,
        raw_u=cash_u + raw_isolated_u,
        margin_used_u=cross_margin_u + margin_isolated_u,
        cross_value_u=cash_u + cross_value_u,
        cross_ntl_u=cross_ntl_u,
        cross_raw_u=cash_u,
        cross_margin_u=cross_margin_u,
        cross_maintenance_u=maintenance_u,
        reserved_u=reserved_u,
    )


def has_margin_for(slot: Slot, signed_lots: int) -> bool:
    """
    Whether the account can carry `signed_lots` more in orders of this slot.

    Initial margin is `size * mark / leverage` of the largest position the resting orders of one
    side could make; an order that does not raise it is free. (How the venue nets the two sides is
    unverified.)
    """
    before_u = slot.reserved_u
    worst = max(
        slot.worst_lots,
        abs(slot.szi_lots + slot.buy_lots + max(signed_lots, 0)),
        abs(slot.szi_lots - slot.sell_lots + min(signed_lots, 0)),
    )
    more = worst - abs(slot.szi_lots)
    after_u = -(-more * slot.asset.mark_ticks // slot.leverage) if more > 0 else 0
    if after_u <= before_u:
        return True
    return after_u - before_u <= summarise(slot.purse).free_u


def exceeds_tier(slot: Slot, signed_lots: int) -> bool:
    """Whether the position an order could make is too large for the leverage in use."""
    worst = max(
        abs(slot.szi_lots + slot.buy_lots + max(signed_lots, 0)),
        abs(slot.szi_lots - slot.sell_lots + min(signed_lots, 0)),
    )
    if worst <= abs(slot.szi_lots):
        return False
    return slot.leverage > slot.asset.tiers.max_leverage(worst * slot.asset.mark_ticks)


def can_make(maker: Order, sz_lots: int) -> bool:
    """
    Whether a resting order may trade `sz_lots` now: its margin is checked again at the match.

    Only what adds to the position needs margin; resting orders do not count against it, because
    this one is about to stop resting. Source: Hyperliquid docs, "Order book".
    """
    slot = maker.slot
    signed = sz_lots * maker.side
    more = abs(slot.szi_lots + signed) - abs(slot.szi_lots)
    if more <= 0:
        return True
    summary = summarise(slot.purse)
    px, mark = maker.px_ticks, slot.asset.mark_ticks
    if not slot.is_cross:
        return -(-more * px // slot.leverage) <= summary.cross_value_u - summary.cross_margin_u
    after_u = summary.cross_value_u + signed * (mark - px)
    return summary.cross_margin_u + more * mark // slot.leverage <= after_u


def liquidation_px(slot: Slot) -> float | None:
    """
    Mark in USD at which the position is liquidated, None when there is no such price.

    `px - side * available / size / (1 - l * side)`, l = 1 / maintenance leverage. Source:
    Hyperliquid docs, "Liquidations".
    """
    if not slot.szi_lots:
        return None
    side = 1 if slot.szi_lots > 0 else -1
    asset = slot.asset
    rate = asset.tiers.maintenance_rate(slot.ntl_u)
    if slot.is_cross:
        summary = summarise(slot.purse)
        available_u = summary.cross_value_u - summary.cross_maintenance_u
    else:
        available_u = slot.margin_used_u - asset.tiers.maintenance_u(slot.ntl_u)
    ticks = asset.mark_ticks - side * available_u / abs(slot.szi_lots) / (1 - rate * side)
    return asset.px(ticks) if ticks > 0 else None
