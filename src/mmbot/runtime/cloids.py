"""Client order ids: what every one of ours begins with, here and in earlier runs."""

from __future__ import annotations

import os
from typing import Final

CLOID_MAGIC: Final = 0x6D6D
"""Top 16 bits of every cloid of ours: a leftover of an earlier run is known by them."""


def new_cloid_prefix() -> int:
    """High 64 bits of a run's cloids: our mark, then 48 bits no other run has."""
    return CLOID_MAGIC << 48 | int.from_bytes(os.urandom(6))


def is_ours(cloid: int | None) -> bool:
    """Whether an order was made by this program, in this run or an earlier one."""
    return cloid is not None and cloid >> 112 == CLOID_MAGIC
