"""The weight of a start is in the budget of the run that it begins."""

from __future__ import annotations

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.budget import Budget
from mmbot.hyperliquid.ports import HttpReply
from mmbot.runtime.metered import Metered

ROLE, STATE, ORDERS, OTHER, ACTION = 60, 2, 20, 20, 1


class Silent:
    """A venue that answers nothing."""

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        return HttpReply(None, error=f"{method} {path} {body!r} not within {timeout_s}")


async def test_what_was_asked_before_and_after_the_budget_came_is_in_it_when_it_was_asked() -> None:
    """Answered or not: the venue counts what reaches it."""
    now_s = [100]
    metered = Metered(Silent(), lambda: now_s[0] * NS_PER_S)

    async def ask(path: str, kind: str) -> None:
        await metered.request("POST", path, msgspec.json.encode({"type": kind}), 1.0)

    await ask("/info", "userRole")
    now_s[0] = 130
    await ask("/info", "clearinghouseState")
    await ask("/exchange", "order")
    await metered.request("POST", "/info", b"no json", 1.0)
    budget = Budget()
    metered.join(budget)
    assert budget.weight_used(130 * NS_PER_S) == ROLE + STATE + ACTION + OTHER
    await ask("/info", "openOrders")
    assert budget.weight_used(130 * NS_PER_S) == ROLE + STATE + ACTION + OTHER + ORDERS
    assert budget.weight_used(170 * NS_PER_S) == STATE + ACTION + OTHER + ORDERS
