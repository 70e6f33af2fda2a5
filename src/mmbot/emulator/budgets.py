"""
The address budget: one request per element, more with volume, cancels with room of their own.

Source: Hyperliquid docs, "Rate limits and user limits"; protocol notes 5.7.
"""

from __future__ import annotations

from typing import Any

from mmbot.emulator.accounts import Account
from mmbot.emulator.specs import U_PER_USD, VenueParams

CANCEL_EXTRA = 100_000
REQUEST_PRICE_U = 500
"""Price of one reserved request: 0.0005 USDC."""

_LISTS = {"order": "orders", "cancel": "cancels", "cancelByCloid": "cancels"}
_LISTS["batchModify"] = "modifies"


def elements(action: dict[str, Any]) -> int:
    """What an action costs: the length of its batch, at least one."""
    key = _LISTS.get(action.get("type", ""))
    return max(1, len(action[key])) if key is not None else 1


def cap(account: Account, params: VenueParams) -> int:
    """Allowance without what was bought: 10 000 and one per USD traded."""
    return params.requests_base + account.volume_u // U_PER_USD


def limit(account: Account, params: VenueParams, *, is_cancel: bool) -> int:
    """Most requests the address may have sent; cancels reach further."""
    base = cap(account, params) + account.requests_bought
    return min(base + CANCEL_EXTRA, 2 * base) if is_cancel else base


def spend(account: Account, action: dict[str, Any], params: VenueParams, now_ms: int) -> str | None:
    """
    Count an action against the budget; the venue's sentence if it is refused, which costs nothing.

    An exhausted address may send one request every ten seconds; that a batch of several does not
    pass as one is unverified.
    """
    count = elements(action)
    is_cancel = action.get("type") in {"cancel", "cancelByCloid"}
    most = limit(account, params, is_cancel=is_cancel)
    if account.requests_used + count > most:
        if count > 1 or now_ms < account.trickle_at_ms:
            volume = account.volume_u / U_PER_USD
            return (
                f"Too many cumulative requests sent ({account.requests_used + count} > {most}) "
                f"for cumulative volume traded ${volume:.2f}. "
                "Place taker orders to free up 1 request per USDC traded."
            )
        account.trickle_at_ms = now_ms + params.requests_trickle_ms
    account.requests_used += count
    return None
