"""
The venue's words, put into our classes: order statuses and refusals.

Both lists grow without notice, so statuses are told by their ending and refusals by a part of the
sentence; what is new falls into a class of its own and is never mistaken for a known one.

Source: Hyperliquid docs, "Order statuses" and "Error responses"; answers observed on testnet.
"""

from __future__ import annotations

from typing import Final

from mmbot.core.events import OrderState, Rejection

_STATES: Final = {
    "open": OrderState.OPEN,
    # A triggered stop is a live order from then on, until its own next status.
    "triggered": OrderState.OPEN,
    "filled": OrderState.FILLED,
}
_ENDINGS: Final = (
    # `scheduledCancel` and `internalCancel` lack the -ed of all the others.
    ("canceled", OrderState.CANCELED),
    ("cancel", OrderState.CANCELED),
    ("rejected", OrderState.REJECTED),
)


def order_state(status: str) -> OrderState:
    """Class of an order status; a status that fits no rule is UNKNOWN and must be queried."""
    state = _STATES.get(status)
    if state is not None:
        return state
    lower = status.lower()
    for ending, ended in _ENDINGS:
        if lower.endswith(ending):
            return ended
    return OrderState.UNKNOWN


_REJECTIONS: Final = (
    # More telling parts come first: several sentences share words such as "oracle" and "margin".
    ("only post-only orders allowed", Rejection.POST_ONLY_WINDOW),
    ("post only order would have immediately matched", Rejection.POST_ONLY),
    ("never placed, already canceled, or filled", Rejection.GONE),
    ("cannot modify canceled or filled", Rejection.GONE),
    ("too many cumulative requests", Rejection.BUDGET),
    ("invalid nonce", Rejection.NONCE),
    ("nonce mismatch", Rejection.NONCE),
    ("already expired", Rejection.EXPIRED),
    ("minimum value", Rejection.MIN_NOTIONAL),
    ("order value too small", Rejection.MIN_NOTIONAL),
    ("divisible by tick size", Rejection.TICK),
    ("invalid price", Rejection.TICK),
    ("invalid size", Rejection.SIZE),
    ("zero size", Rejection.SIZE),
    ("order value too large", Rejection.SIZE),
    ("reduce only order would increase position", Rejection.REDUCE_ONLY),
    ("reduce-only twap order would increase position", Rejection.REDUCE_ONLY),
    ("trigger order is not reduce only", Rejection.REDUCE_ONLY),
    ("while at open interest cap", Rejection.CAP),
    ("while open interest is capped", Rejection.CAP),
    ("open interest is at cap", Rejection.CAP),
    ("increase open interest too quickly", Rejection.CAP),
    ("too far from oracle", Rejection.ORACLE),
    ("away from the reference price", Rejection.ORACLE),
    ("insufficient margin to place order", Rejection.MARGIN),
    ("insufficient spot balance", Rejection.MARGIN),
    ("exceed margin tier limit", Rejection.MARGIN),
    ("cross margin is not allowed", Rejection.MARGIN),
    ("trading is halted", Rejection.HALTED),
    ("user or api wallet", Rejection.AUTH),
    ("must deposit before performing actions", Rejection.AUTH),
    ("unable to recover signer", Rejection.AUTH),
    ("vault not registered", Rejection.AUTH),
    ("require different signature", Rejection.AUTH),
    ("multi-sig", Rejection.AUTH),
    ("builder fee has not been approved", Rejection.AUTH),
)


def rejection(text: str) -> Rejection:
    """
    Class of a refusal, from any sentence of the venue; OTHER where none of the known parts is in.

    Matched without regard to case and to what follows: the engine adds ` asset=<id>`, older
    servers put `L1 error: ` in front.
    """
    lower = text.lower()
    for part, reason in _REJECTIONS:
        if part in lower:
            return reason
    return Rejection.OTHER
