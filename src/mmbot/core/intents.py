"""
Outputs of the engine: what to send, and what was noticed.

A `Batch` can be made only by `risk.gate`; `hyperliquid.gateway.send` takes nothing else.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

import msgspec

from mmbot.core.types import Mode, Side, Tif


class Place(msgspec.Struct, frozen=True, gc=False, tag="place"):
    """A new order. `cloid` is a 128-bit number that no other order of ours ever had."""

    cloid: int
    side: Side
    px_ticks: int
    sz_lots: int
    is_reduce_only: bool = False
    tif: Tif = Tif.ALO


class Move(msgspec.Struct, frozen=True, gc=False, tag="move"):
    """
    Cancel-and-replace in one request: same cloid, new oid, new price and size.

    `sz_lots` is the size of the new order, whatever the old one had left. Post-only: the venue
    refuses a modify that could execute.
    """

    cloid: int
    side: Side
    px_ticks: int
    sz_lots: int
    is_reduce_only: bool = False


class Cancel(msgspec.Struct, frozen=True, gc=False, tag="cancel"):
    """Cancel by cloid: it is known before the venue has answered, an oid is not."""

    cloid: int


class Diff(msgspec.Struct, frozen=True):
    """What the reconciler wants, before the gate. Cancels go first, then moves, then placements."""

    cancels: tuple[Cancel, ...] = ()
    moves: tuple[Move, ...] = ()
    places: tuple[Place, ...] = ()

    def __len__(self) -> int:
        """Requests it costs: the venue counts every element."""
        return len(self.cancels) + len(self.moves) + len(self.places)


class Note(msgspec.Struct, frozen=True):
    """
    Something the core noticed, for the log and the journal: a subject and a past verb.

    `level` is a structlog method name; the facts carry their units in their names.
    """

    event: str
    level: str
    facts: dict[str, int | float | str | bool | None]


class Query(msgspec.Struct, frozen=True, gc=False, tag="query"):
    """Ask the venue what became of this order; the answer is an OrderUpdate or an OrderMissing."""

    cloid: int


_MOST: Final = 1e300
"""Stands for what has no bound: JSON has no infinity, and a latch that holds one cannot be read."""


class KillReason(msgspec.Struct, frozen=True):
    """
    Which trigger fired, on which figure, against which limit, in which unit.

    Both numbers are finite, whatever they were made of: a share of nothing is `1e300`.
    """

    trigger: str
    value: float
    limit: float
    unit: str
    text: str
    at_ns: int
    is_flatten: bool = False
    """The operator wants the position closed as well."""

    def __post_init__(self) -> None:
        """Bound what is not finite; of what is no number the larger bound stays."""
        for name in ("value", "limit"):
            told = getattr(self, name)
            if not isfinite(told):
                msgspec.structs.force_setattr(self, name, max(-_MOST, min(_MOST, told)))


class Status(msgspec.Struct, frozen=True):
    """What a person sees of a decision: mode, and why if it is not running."""

    mode: Mode
    reasons: tuple[str, ...]
