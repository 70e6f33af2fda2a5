"""
Cancel what rests of ours in one market, and go on until the venue says that nothing does.

For those who are not the daemon: the watchdog, and the operator's `mmbot kill`. It has a connection
and a nonce counter of its own and uses neither link nor gateway, so that a fault there is not here
as well. What it does not know by its cloid as one of ours it leaves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from mmbot.core.events import OrderUpdate
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import VenueError, VenueProtocolError
from mmbot.hyperliquid import actions, wire_rest
from mmbot.hyperliquid.gateway import CANCELS_PER_REQUEST
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, reply_error
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import action_reply
from mmbot.runtime.ending import is_ours
from mmbot.runtime.patience import Requests
from mmbot.runtime.telling import Log

_TIMEOUT_S: Final = 3.0
"""Wait for one answer. An unanswered cancel is sent again, which does no harm."""
_WAITS_S: Final = (0.25, 0.25, 0.5, 1.0, 2.0)
"""Between a round and the next, the last repeated. A look costs 20 of the 1200 that an IP address
may spend in a minute, and the daemon may share it."""


class Sweep:
    """
    One market of one account, cleared of our orders.

    Args:
        rest: HTTP of its own.
        signer: Whose key cancels: an agent of `user`, or the account's own.
        clock: Nanoseconds since the epoch; nonces are made of it.
        sleep: Waits between two rounds.
    """

    def __init__(
        self,
        rest: Requests,
        instrument: Instrument,
        *,
        signer: Signer,
        user: str,
        clock: Clock,
        log: Log,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest = rest
        self._instrument = instrument
        self._signer = signer
        self._user = user
        self._clock = clock
        self._log = log
        self._sleep = sleep
        self._nonces = Nonces()

    async def look(self) -> list[OrderUpdate]:
        """
        What rests of ours, by the venue's word.

        Raises:
            VenueError: It cannot be asked, or answers nonsense.
        """
        instrument = self._instrument
        payload = {"type": "openOrders", "user": self._user, "dex": instrument.dex}
        body = msgspec.json.encode(payload)
        reply = await self._rest.request("POST", "/info", body, _TIMEOUT_S)
        error = reply_error(reply, "/info openOrders")
        if error is not None:
            raise error
        orders = wire_rest.open_orders(reply.body, instrument, self._clock())
        return [order for order in orders if is_ours(order.cloid)]

    async def run(
        self,
        quiet_at_ns: int,
        *,
        patience_s: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> int | None:
        """
        Cancel until nothing rests; returns how many orders did, None if called off.

        Args:
            quiet_at_ns: Before then something sent earlier may still come to rest, so a look that
                finds nothing ends the sweep only if it began after it.
            patience_s: For how long; None for as long as it takes.
            is_wanted: Asked before each round; False calls the sweep off.

        Raises:
            VenueError: Patience ended while orders rested or the venue could not be asked.
        """
        began_ns = self._clock()
        found: set[int] = set()
        looks = rounds = 0
        trouble: str | None = None
        while is_wanted():
            look_ns = self._clock()
            try:
                ours = await self.look()
            except VenueError as error:
                trouble = str(error)
                self._log.warning("sweep.retried", error=trouble)
            else:
                if not ours and look_ns >= quiet_at_ns:
                    return len(found)
                trouble = f"{len(ours)} orders still rest" if ours else "orders may be on their way"
                if ours:
                    found.update(order.oid for order in ours)
                    self._log.warning("sweep.cancelling", orders=len(ours), round=rounds + 1)
                    await self._cancel(ours, is_insisting=rounds > 0)
                    rounds += 1
            spent_ns = self._clock() - began_ns
            if patience_s is not None and spent_ns > patience_s * NS_PER_S:
                raise VenueError(
                    f"not confirmed that nothing rests in {self._instrument.coin}: {trouble}; "
                    "look at the account"
                )
            await self._sleep(_WAITS_S[min(looks, len(_WAITS_S) - 1)])
            looks += 1
        return None

    async def _cancel(self, orders: Sequence[OrderUpdate], *, is_insisting: bool) -> None:
        """By cloid; where that did not do, by the venue's own ids as well."""
        for start in range(0, len(orders), CANCELS_PER_REQUEST):
            part = orders[start : start + CANCELS_PER_REQUEST]
            cloids = [order.cloid for order in part if order.cloid is not None]
            wanted = [actions.cancel_by_cloid(self._instrument, cloids)]
            if is_insisting:
                oids = [order.oid for order in part]
                wanted.append(actions.cancel(self._instrument, oids))
            for action in wanted:
                await self._send(action)

    async def _send(self, action: actions.Action) -> None:
        nonce = self._nonces.next(self._clock() // NS_PER_MS)
        signature = self._signer.sign(action.msgpack, nonce, None)
        body = actions.body(action, nonce, signature, self._signer.vault, None)
        reply = await self._rest.request("POST", "/exchange", body, _TIMEOUT_S)
        said = _refusal(reply.status, reply.body, reply.error)
        if said is not None:
            self._log.warning("sweep.refused", action=action.type, text=said)


def _refusal(status: int | None, body: bytes, error: str | None) -> str | None:
    """Why an action was not taken as a whole; what became of each order, the next look tells."""
    if status is None:
        return error or "no answer"
    if status != 200:
        return f"HTTP {status}"
    try:
        reply = action_reply(body)
    except VenueProtocolError as unread:
        return str(unread)
    return None if reply.is_ok else reply.error
