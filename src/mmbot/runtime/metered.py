"""
What a start asks before there is a budget, counted for the budget that comes.

The weight of the address is the venue's, whoever spends it: a run that did not know what its own
checks had cost would meet a 429 with its first readings after a quick restart.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.hyperliquid.budget import INFO_WEIGHT, Budget, action_weight, info_weight
from mmbot.hyperliquid.ports import Clock, HttpReply
from mmbot.runtime.patience import Requests

_INFO: Final = "/info"


class _Kind(msgspec.Struct):
    type: str


class Metered:
    """
    Passes requests on to `rest` and keeps what each weighs.

    Weights go to the budget once it is there (`join`), those of earlier requests included. A cancel
    of leftovers counts as one action of few orders.
    """

    def __init__(self, rest: Requests, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._spent: list[tuple[int, int]] = []
        self._budget: Budget | None = None

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """One request, whatever comes of it."""
        self._count(_weight(path, body), self._clock())
        return await self._rest.request(method, path, body, timeout_s)

    def join(self, budget: Budget) -> None:
        """Book there what was asked so far, and from now on everything at once."""
        self._budget = budget
        spent, self._spent = self._spent, []
        for at_ns, weight in spent:
            budget.spend(weight, at_ns)

    def _count(self, weight: int, at_ns: int) -> None:
        if self._budget is not None:
            self._budget.spend(weight, at_ns)
        else:
            self._spent.append((at_ns, weight))


def _weight(path: str, body: bytes | None) -> int:
    if path != _INFO:
        return action_weight(1)
    try:
        kind = msgspec.json.decode(body or b"", type=_Kind).type
    except msgspec.DecodeError:
        return INFO_WEIGHT
    return info_weight(kind)
