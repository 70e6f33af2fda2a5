"""Orders of others in the market that is to be traded: a start among them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mmbot.core.types import Instrument
from mmbot.errors import CheckError
from mmbot.hyperliquid import wire_rest
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.patience import Reads
from mmbot.runtime.verdicts import orders_row

_ORDERS: Final = "openOrders"


class Overheard:
    """
    Reads for another, and keeps what was last said of the orders that rest.

    The leftovers of earlier runs are looked for before every start: whose the other orders are is
    in the same answer, and asking once more would weigh a twentieth of what a start may.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._orders: bytes | None = None

    async def info(self, payload: Mapping[str, Any]) -> bytes:
        """As of `Reads`."""
        body = await self._reads.info(payload)
        if payload["type"] == _ORDERS:
            self._orders = body
        return body

    def refuse_foreign(self, instrument: Instrument) -> None:
        """
        Refuse to trade beside somebody else.

        Raises:
            CheckError: Orders rest in the market that no run of this program placed.
        """
        if self._orders is None:
            return
        row = orders_row(
            wire_rest.open_orders(self._orders, instrument, wall_clock_ns()), instrument
        )
        if not row.is_ok:
            raise CheckError(f"{row.name}: {row.text}")
