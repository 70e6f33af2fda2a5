"""One fill of an account as the ledger keeps it, and the table it lies in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

_DECIMALS: Final = 8
"""Of a position: more than the venue has, fewer than a float gets wrong."""

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


def held_after(fills: Sequence[tuple[str, float, float]]) -> float:
    """
    What was held after the last of fills of one block.

    They have the same time, and neither their ids nor the order in which they came say which was
    the last: it is the one whose position no other began with.

    Args:
        fills: Side, size and position after each, as they were stored; at least one.
    """
    ends: Counter[float] = Counter()
    held: dict[float, float] = {}
    for side, sz, after in fills:
        held[round(after, _DECIMALS)] = after
        ends[round(after, _DECIMALS)] += 1
        ends[round(after - sz if side == "buy" else after + sz, _DECIMALS)] -= 1
    last = [key for key, count in ends.items() if count > 0]
    # They may end where they began, or one may be missing: then the newest word it is.
    return held[last[0]] if len(last) == 1 else fills[-1][2]
