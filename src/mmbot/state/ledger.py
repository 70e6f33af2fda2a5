"""One fill of an account as the ledger keeps it, and the table it lies in."""

from __future__ import annotations

from typing import Final

import msgspec

FILLS_TABLE: Final = """
CREATE TABLE fills (
    coin           TEXT    NOT NULL,
    tid            INTEGER NOT NULL,
    oid            INTEGER NOT NULL,
    venue_ms       INTEGER NOT NULL,
    side           TEXT    NOT NULL CHECK (side IN ('buy', 'sell')),
    px             REAL    NOT NULL,
    sz             REAL    NOT NULL,
    fee_usd        REAL    NOT NULL,
    position_sz    REAL    NOT NULL,
    is_taker       INTEGER NOT NULL,
    is_liquidation INTEGER NOT NULL,
    cloid          TEXT,
    PRIMARY KEY (coin, tid, oid, venue_ms)
)
"""

BEGAN_TABLE: Final = """
CREATE TABLE ledger_began (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    began_ms INTEGER NOT NULL
)
"""


class LedgerFill(msgspec.Struct, frozen=True):
    """
    A fill; its identity is (coin, tid, oid, venue_ms), the venue's own.

    Attributes:
        side: "buy" or "sell".
        fee_usd: Positive is a cost.
        position_sz: What was held after it, signed, by the venue's word.
    """

    coin: str
    tid: int
    oid: int
    venue_ms: int
    side: str
    px: float
    sz: float
    fee_usd: float
    position_sz: float
    is_taker: bool
    is_liquidation: bool
    cloid: str | None


class LedgerTotals(msgspec.Struct, frozen=True):
    """What a ledger adds up to; `first_ms` and `last_ms` are times of the venue."""

    fills: int
    first_ms: int
    last_ms: int
    volume_usd: float
    fees_usd: float
    position_sz: float
    """After the last one."""
