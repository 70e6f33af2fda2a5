"""
Orders that an earlier run left behind are cancelled before anything else can go wrong.

A start may be refused for many reasons (a latched switch, too little equity, a full disk), and none
of them is a reason to leave orders alone that nobody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from mmbot.core.events import Acked, Event, OutcomeUnknown, Rejected
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.gateway import Gateway, GatewayParams
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, Http, Scheduler
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.ending import is_ours
from mmbot.runtime.patience import Reads
from mmbot.runtime.telling import Log

_LOOKS_AGAIN_S: Final = (0.5, 1.0, 3.0)
"""Waits after a look that still finds orders, before they are cancelled again. A reading may trail
a cancel by about a second (protocol notes, gotcha 7); and a look costs 20 of the 1200 that an
address may spend in a minute, so that these take most of it at worst."""


class Leftovers:
    """
    Cancels what earlier runs left of one instrument.

    Args:
        retry_s: For how long cancels are repeated until the venue confirms that nothing rests.
    """

    def __init__(
        self,
        reads: Reads,
        instrument: Instrument,
        *,
        signer: Signer,
        user: str,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        params: GatewayParams,
        retry_s: float,
        log: Log,
    ) -> None:
        self._reads = reads
        self._instrument = instrument
        self._user = user
        self._clock = clock
        self._retry_s = retry_s
        self._log = log
        self._waiting: set[int] = set()
        self._answered = asyncio.Event()
        self.has_sent = False
        """Whether a cancel has left."""
        self.still_rest = 0
        """How many the venue last showed that have not been confirmed as gone."""
        self._gateway = Gateway(
            instrument,
            signer,
            Nonces(),
            link_send=lambda _: False,  # there is no socket yet: over HTTP
            http=http,
            clock=clock,
            scheduler=scheduler,
            params=params,
            emit=self._on_verdict,
            user=user,
        )

    async def cancel(self) -> int:
        """
        Cancel until nothing of ours rests; returns how many orders did.

        Raises:
            VenueError: The venue could not be read, or orders still rest.
        """
        resting = await self._resting()
        found = self.still_rest = len(resting)
        until_ns = self._clock() + round(max(self._retry_s, 5.0) * NS_PER_S)
        try:
            while resting:
                self._log.warning("orders.left_over", orders=len(resting))
                await self._send(resting)
                resting = await self._resting()
                for wait_s in _LOOKS_AGAIN_S:
                    if not resting:
                        break
                    await asyncio.sleep(wait_s)
                    resting = await self._resting()
                if resting and self._clock() > until_ns:
                    raise VenueError(
                        f"{len(resting)} orders of an earlier run still rest in "
                        f"{self._instrument.coin} and the venue does not cancel them; look at the "
                        "account before the next start"
                    )
        finally:
            self._gateway.close()
        self.still_rest = 0
        if found:
            self._log.info("orders.left_over_cancelled", orders=found)
        return found

    async def _resting(self) -> list[int]:
        instrument = self._instrument
        payload = {"type": "openOrders", "user": self._user, "dex": instrument.dex}
        orders = wire_rest.open_orders(await self._reads.info(payload), instrument, self._clock())
        return [order.cloid for order in orders if order.cloid is not None and is_ours(order.cloid)]

    async def _send(self, cloids: Sequence[int]) -> None:
        self._waiting = set(cloids)
        self.has_sent = True
        self._answered.clear()
        self._gateway.cancel_all(cloids)
        await self._answered.wait()

    def _on_verdict(self, event: Event) -> None:
        """Whatever the verdict, the next reading of the account says what rests."""
        if isinstance(event, Acked | Rejected | OutcomeUnknown):
            self._waiting.discard(event.cloid)
            if not self._waiting:
                self._answered.set()
