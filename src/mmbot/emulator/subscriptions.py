"""
Subscriptions as the venue reads them: known types, defaults filled, unknown keys dropped.

The canonical object is what an acknowledgement shows, what a second one is compared with, and what
the error texts quote (protocol notes 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mmbot.emulator.schema import (
    Field,
    Kind,
    SchemaError,
    address_text,
    flag,
    may,
    need,
    one_of,
    struct,
    text,
    uint,
)

INTERVALS_MS: Mapping[str, int] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 259_200_000,
    "1w": 604_800_000,
    "1M": 2_592_000_000,
}
"""Candle intervals of the venue; a month counts as thirty days here."""


def _of(*fields: Field) -> Kind:
    return struct(need("type", text), *fields)


_COIN = need("coin", text)
_USER = need("user", address_text)
_DEX = Field("dex", text, default="")

SUBSCRIPTIONS: Mapping[str, Kind] = {
    "l2Book": _of(
        _COIN,
        Field("nSigFigs", uint, default=None),
        Field("mantissa", uint, default=None),
        Field("fast", flag, default=False),
    ),
    "bbo": _of(_COIN),
    "trades": _of(_COIN),
    "activeAssetCtx": _of(_COIN),
    "candle": _of(_COIN, need("interval", one_of(*INTERVALS_MS))),
    "allMids": _of(may("dex", text)),
    "assetCtxs": _of(_DEX),
    "allDexsAssetCtxs": _of(),
    "orderUpdates": _of(_USER),
    "userEvents": _of(_USER),
    # hummingbot asks for `user`; whether the venue itself takes it is unverified.
    "user": _of(_USER),
    "userFills": _of(_USER, Field("aggregateByTime", flag, default=False)),
    "userFundings": _of(_USER),
    "userNonFundingLedgerUpdates": _of(_USER),
    "userHistoricalOrders": _of(_USER),
    "userTwapSliceFills": _of(_USER),
    "userTwapHistory": _of(_USER),
    "activeAssetData": _of(_USER, _COIN),
    "clearinghouseState": _of(_USER, _DEX),
    "openOrders": _of(_USER, _DEX),
    "twapStates": _of(_USER, _DEX),
    "allDexsClearinghouseState": _of(_USER),
    "spotState": _of(_USER, Field("isPortfolioMargin", flag, default=False)),
    "webData2": _of(_USER),
    "webData3": _of(_USER),
    "notification": _of(_USER),
}
"""Known types with their fields; a default of None is acknowledged as null."""


class Topic(NamedTuple):
    """One subscription in canonical form; `key` identifies it."""

    kind: str
    fields: dict[str, Any]
    key: str

    @property
    def coin(self) -> str | None:
        """Coin it is about, if any."""
        coin = self.fields.get("coin")
        return coin if isinstance(coin, str) else None

    @property
    def user(self) -> str | None:
        """Account it is about, if any."""
        user = self.fields.get("user")
        return user if isinstance(user, str) else None

    @property
    def dex(self) -> str:
        """Dex it is about, empty for the main one."""
        return str(self.fields.get("dex") or "")


def topic(value: Any) -> Topic:
    """
    Canonical form of a subscription object.

    Raises:
        SchemaError: Unknown type, or a field missing or mistyped.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    check = SUBSCRIPTIONS.get(kind) if isinstance(kind, str) else None
    if check is None or not isinstance(kind, str):
        msg = "unknown subscription"
        raise SchemaError(msg)
    fields = check(value)
    return Topic(kind, fields, msgspec.json.encode(fields).decode())


def is_depth_valid(figures: int | None, mantissa: int | None) -> bool:
    """
    Whether the venue aggregates a book that way: 2 to 5 figures, a mantissa of 2 or 5 with five.

    The docs allow a mantissa of 1; it was refused when tried.
    """
    if figures is None:
        return mantissa is None
    if not 2 <= figures <= 5:
        return False
    return mantissa is None or (figures == 5 and mantissa in {2, 5})
