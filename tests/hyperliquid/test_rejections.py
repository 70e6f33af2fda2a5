"""The venue's words in our classes: every sentence and status that was ever seen or documented."""

from __future__ import annotations

import pytest

from mmbot.core.events import OrderState, Rejection
from mmbot.hyperliquid.wire import order_state, rejection

_BBO = "Post only order would have immediately matched, bbo was 1887.1@1889.6."
_BUDGET = (
    "Too many cumulative requests sent (97460 > 97456) for cumulative volume traded $87457.46. "
    "Place taker orders to free up 1 request per USDC traded."
)

_SENTENCES = [
    # Of one order or cancel.
    ("Price must be divisible by tick size.", Rejection.TICK),
    ("Order must have minimum value of $10.", Rejection.MIN_NOTIONAL),
    ("Order must have minimum value of 10 USDC.", Rejection.MIN_NOTIONAL),
    ("Insufficient margin to place order.", Rejection.MARGIN),
    ("Reduce only order would increase position.", Rejection.REDUCE_ONLY),
    (_BBO, Rejection.POST_ONLY),
    ("Order could not immediately match against any resting orders.", Rejection.OTHER),
    ("Invalid TP/SL price.", Rejection.OTHER),
    ("No liquidity available for market order.", Rejection.OTHER),
    ("Order would increase open interest while open interest is capped", Rejection.CAP),
    (
        "Order rejected due to price more aggressive than oracle while at open interest cap",
        Rejection.CAP,
    ),
    ("Order would increase open interest too quickly", Rejection.CAP),
    ("Order price too far from oracle", Rejection.ORACLE),
    ("Price too far from oracle", Rejection.ORACLE),
    (
        "Order would cause position to exceed margin tier limit at current leverage",
        Rejection.MARGIN,
    ),
    ("Insufficient spot balance", Rejection.MARGIN),
    ("(Spot-only) Order has insufficient spot balance to trade", Rejection.MARGIN),
    ("Order has invalid price.", Rejection.TICK),
    ("Order has invalid size.", Rejection.SIZE),
    ("Order has zero size.", Rejection.SIZE),
    ("Order price cannot be more than 80% away from the reference price", Rejection.ORACLE),
    ("Order value too large. Max is $5000000.", Rejection.SIZE),
    ("Orders are empty.", Rejection.OTHER),
    (
        "Only post-only orders allowed immediately after network upgrade",
        Rejection.POST_ONLY_WINDOW,
    ),
    ("Only post-only orders allowed after a network upgrade", Rejection.POST_ONLY_WINDOW),
    ("Order was never placed, already canceled, or filled.", Rejection.GONE),
    ("Cannot modify canceled or filled order", Rejection.GONE),
    ("TWAP order value too small. Min is $100.", Rejection.MIN_NOTIONAL),
    ("TWAP was never placed, already canceled, or filled.", Rejection.GONE),
    ("Reduce-only TWAP order would increase position.", Rejection.REDUCE_ONLY),
    ("Trading is halted.", Rejection.HALTED),
    ("Too many open orders", Rejection.OTHER),
    ("Cross margin is not allowed for this asset.", Rejection.MARGIN),
    ("Asset open interest is at cap.", Rejection.CAP),
    ("Perp DEX open interest is at cap.", Rejection.CAP),
    ("Trigger order is not reduce only", Rejection.REDUCE_ONLY),
    ("Order action has different asset classes", Rejection.OTHER),
    ("Invalid TIF", Rejection.OTHER),
    # Of a whole action.
    ("User or API Wallet 0xc06d73162e9bffbc does not exist.", Rejection.AUTH),
    ("L1 error: User or API Wallet 0xc06d73162e9bffbc does not exist.", Rejection.AUTH),
    ("Must deposit before performing actions. User: 0xc6e7df13", Rejection.AUTH),
    ("Unable to recover signer.", Rejection.AUTH),
    ("Invalid nonce: duplicate nonce 1791484300000", Rejection.NONCE),
    ("Invalid nonce: nonce too low 1 < 2", Rejection.NONCE),
    ("Invalid nonce: nonce too high 3 > 2", Rejection.NONCE),
    ("Nonce mismatch.", Rejection.NONCE),
    ("Mainnet and testnet require different signature.", Rejection.AUTH),
    ("Vault not registered: 0x1719884eb866cb12", Rejection.AUTH),
    ("Action already expired", Rejection.EXPIRED),
    (_BUDGET, Rejection.BUDGET),
    ("Signed action over weight limit of 200.", Rejection.OTHER),
    (
        (
            "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. "
            "Traded: $167.22."
        ),
        Rejection.OTHER,
    ),
    ("Invalid leverage value", Rejection.OTHER),
    ("Cannot switch leverage type with open position.", Rejection.OTHER),
    ("Builder fee has not been approved", Rejection.AUTH),
    ("Multi-sig required", Rejection.AUTH),
    ("Multi-sig threshold not met", Rejection.AUTH),
    ("a sentence of next year", Rejection.OTHER),
    ("", Rejection.OTHER),
]


@pytest.mark.parametrize(("text", "reason"), _SENTENCES)
@pytest.mark.parametrize("suffix", ["", " asset=140000"])
def test_refusal_falls_into_its_class(text: str, suffix: str, reason: Rejection) -> None:
    """Each class has an answer of its own; a wrong one would retry what can never succeed."""
    assert rejection(text + suffix) is reason
    assert rejection((text + suffix).upper()) is reason


def test_every_class_of_refusal_is_reachable() -> None:
    """A class without a sentence would be dead code in the engine."""
    assert {reason for _, reason in _SENTENCES} == set(Rejection)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("open", OrderState.OPEN),
        ("triggered", OrderState.OPEN),
        ("filled", OrderState.FILLED),
        ("canceled", OrderState.CANCELED),
        ("marginCanceled", OrderState.CANCELED),
        ("vaultWithdrawalCanceled", OrderState.CANCELED),
        ("openInterestCapCanceled", OrderState.CANCELED),
        ("selfTradeCanceled", OrderState.CANCELED),
        ("reduceOnlyCanceled", OrderState.CANCELED),
        ("siblingFilledCanceled", OrderState.CANCELED),
        ("delistedCanceled", OrderState.CANCELED),
        ("liquidatedCanceled", OrderState.CANCELED),
        ("outcomeSettledCanceled", OrderState.CANCELED),
        ("scheduledCancel", OrderState.CANCELED),
        ("internalCancel", OrderState.CANCELED),
        ("rejected", OrderState.REJECTED),
        ("tickRejected", OrderState.REJECTED),
        ("minTradeNtlRejected", OrderState.REJECTED),
        ("perpMarginRejected", OrderState.REJECTED),
        ("reduceOnlyRejected", OrderState.REJECTED),
        ("badAloPxRejected", OrderState.REJECTED),
        ("iocCancelRejected", OrderState.REJECTED),
        ("tooManyOpenOrdersRejected", OrderState.REJECTED),
        ("neverSeenBeforeCanceled", OrderState.CANCELED),
        ("neverSeenBeforeRejected", OrderState.REJECTED),
        ("waitingForTrigger", OrderState.UNKNOWN),
        ("Filled?", OrderState.UNKNOWN),
        ("", OrderState.UNKNOWN),
    ],
)
def test_status_is_told_by_its_ending(status: str, state: OrderState) -> None:
    """The venue adds statuses; a closed list has crashed other bots. What fits no rule is asked."""
    assert order_state(status) is state
