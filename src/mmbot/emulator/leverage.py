"""
Leverage and isolated margin. Sources: Hyperliquid docs, "Margining"; protocol notes 2.8 and 2.11.
"""

from __future__ import annotations

from mmbot.emulator.accounts import Account, Slot
from mmbot.emulator.margin import summarise
from mmbot.emulator.numbers import parse_units
from mmbot.emulator.specs import U_PER_USD, MarginMode
from mmbot.emulator.state import State

BAD_ASSET = "Invalid perp"
NOT_ISOLATED = "Position does not use isolated margin."
NO_CROSS = "Cross margin is not allowed for this asset."
TOO_LITTLE = "position does not have sufficient margin available to decrease leverage."


def _slot(state: State, account: Account, asset_id: int) -> Slot | None:
    asset = state.assets.get(asset_id)
    return None if asset is None else account.slot(asset, state.params.default_leverage)


def update_leverage(
    state: State, account: Account, asset_id: int, leverage: int, *, is_cross: bool
) -> str | None:
    """
    Set mode and leverage of an asset; the venue's sentence if refused.

    Raising is always allowed and never re-margins an open isolated position.
    """
    slot = _slot(state, account, asset_id)
    if slot is None:
        return BAD_ASSET
    if not 1 <= leverage <= slot.asset.spec.max_leverage:
        return "Invalid leverage value"
    if is_cross and slot.asset.is_isolated_only:
        return NO_CROSS
    if slot.szi_lots and slot.is_cross != is_cross:
        return "Cannot switch leverage type with open position."
    before = (slot.is_cross, slot.leverage)
    is_lower = leverage < slot.leverage
    if slot.szi_lots and not is_cross and is_lower and slot.margin_used_u * leverage < slot.ntl_u:
        return f"Isolated {TOO_LITTLE}"
    slot.is_cross, slot.leverage = is_cross, leverage
    if is_lower and slot.worst_lots and summarise(slot.purse).free_u < 0:
        slot.is_cross, slot.leverage = before
        # The wording for cross positions is unverified.
        return f"Cross {TOO_LITTLE}"
    return None


def update_isolated_margin(
    state: State, account: Account, asset_id: int, amount_u: int
) -> str | None:
    """Add (positive) or remove margin of an isolated position; the sentence if refused."""
    slot = _slot(state, account, asset_id)
    if slot is None:
        return BAD_ASSET
    if slot.is_cross or not slot.szi_lots:
        return NOT_ISOLATED
    if amount_u > 0 and amount_u > summarise(slot.purse).free_u:
        # Unverified wording.
        return "Insufficient margin to add to isolated position."
    if amount_u < 0:
        if slot.asset.spec.margin_mode is MarginMode.STRICT_ISOLATED:
            # Unverified wording; that removal is refused is documented.
            return "Margin cannot be removed from this asset."
        least_u = max(-(-slot.ntl_u // slot.leverage), slot.ntl_u // 10)
        if slot.margin_used_u + amount_u < least_u:
            # Unverified wording.
            return "Insufficient margin to remove from isolated position."
    slot.purse.cash_u -= amount_u
    slot.raw_u += amount_u
    return None


def top_up(state: State, account: Account, asset_id: int, leverage: str) -> str | None:
    """Add what brings an isolated position down to `leverage` (a decimal string)."""
    slot = _slot(state, account, asset_id)
    if slot is None:
        return BAD_ASSET
    if slot.is_cross or not slot.szi_lots:
        return NOT_ISOLATED
    target_u = parse_units(leverage, 6)
    if not target_u:
        return "Invalid leverage value"
    wanted_u = -(-slot.ntl_u * U_PER_USD // target_u)
    missing_u = wanted_u - slot.margin_used_u
    if missing_u <= 0:
        return None
    return update_isolated_margin(state, account, asset_id, missing_u)
