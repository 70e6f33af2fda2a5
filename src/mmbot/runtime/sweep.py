"""
Cancel what rests of ours in one market, and go on until the venue says that nothing does.

For the watchdog and the operator's `mmbot kill`, and for a start and `mmbot flatten`, which cancel
what earlier runs left: a start may be refused for many reasons (a latched switch, too little
equity, a full disk), and none of them is a reason to leave orders alone that nobody watches.

It has a nonce counter of its own and uses neither link nor gateway, so that a fault there is not
here as well. What it does not know by its cloid as one of ours it leaves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from mmbot.core.orders import READ_LAG_NS
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.errors import VenueError, VenueProtocolError
from mmbot.hyperliquid import actions, wire_rest
from mmbot.hyperliquid.gateway import CANCELS_PER_REQUEST
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.ports import Clock, HttpReply, reply_error
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.wire import EntryKind, action_reply
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.patience import Reads, Requests
from mmbot.runtime.telling import Log

_TIMEOUT_S: Final = 3.0
"""Wait for one answer. An unanswered cancel is sent again, which does no harm."""
_WAITS_S: Final = (0.25, 0.25, 0.5, 1.0, 2.0)
"""Between a round and the next, the last repeated. A look costs 20 of the 1200 that an IP address
may spend in a minute, and the daemon may share it."""
PATIENCE_MIN_S: Final = 5.0
"""Who wants no waiting still wants the orders gone, and a reading may trail a cancel by seconds."""


class Sweep:
    """
    One market of one account, cleared of our orders.

    Args:
        rest: HTTP of the venue; of one's own where the daemon may still run.
        signer: Whose key cancels: an agent of `user`, or the account's own.
        clock: Nanoseconds since the epoch; nonces are made of it.
        reads: Who asks what rests, with a patience of its own: what it raises ends the sweep. None:
            each look asks once, and the sweep looks again whatever the answer.
        is_leftover: Whether what rests is of an earlier run: it is told of as such, and what the
            venue says it cancelled gets the time a reading may trail by before it is cancelled
            again. Where a daemon has just died every tenth of a second counts instead.
        nonces: Of the key; the clock's where nothing is known of earlier ones.
        sleep: Waits between two rounds.

    Attributes:
        has_sent: Whether a cancel has left.
        still_rest: How many the venue last showed.
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
        reads: Reads | None = None,
        is_leftover: bool = False,
        nonces: Nonces | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.has_sent = False
        self.still_rest = 0
        self._rest = rest
        self._reads = reads
        self._instrument = instrument
        self._signer = signer
        self._user = user
        self._clock = clock
        self._log = log
        self._is_leftover = is_leftover
        self._sleep = sleep
        self._nonces = Nonces() if nonces is None else nonces
        self._taken_ns: dict[int, int] = {}
        """When the venue said of an order, by oid, that it is cancelled."""
        self._refusal: str | None = None
        self._unread: VenueError | None = None
        """Why a row of the last look says of no order whether it is ours."""

    async def look(self) -> list[wire_rest.Resting]:
        """
        What rests of ours, by the venue's word.

        Raises:
            VenueError: It cannot be asked, or answers nonsense.
        """
        instrument = self._instrument
        payload = {"type": "openOrders", "user": self._user, "dex": instrument.dex}
        if self._reads is not None:
            body = await self._reads.info(payload)
        else:
            reply = await self._rest.request(
                "POST", "/info", msgspec.json.encode(payload), _TIMEOUT_S
            )
            error = reply_error(reply, "/info openOrders")
            if error is not None:
                raise error
            body = reply.body
        orders, self._unread = wire_rest.resting(body, instrument.coin)
        ours = [order for order in orders if is_ours(order.cloid)]
        self.still_rest = len(ours)
        return ours

    async def run(
        self,
        quiet_at_ns: int = 0,
        *,
        patience_s: float | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> int | None:
        """
        Cancel until nothing rests; returns how many orders did, None if called off.

        Args:
            quiet_at_ns: Before then something sent earlier may still come to rest, so a look that
                finds nothing ends the sweep only if it began after it.
            patience_s: For how long, `PATIENCE_MIN_S` at least, and from `quiet_at_ns` where that
                is to come; None for as long as it takes.
            is_wanted: Asked before each round; False calls the sweep off.

        Raises:
            VenueError: Patience ended while orders rested or the venue could not be asked.
        """
        now_ns = self._clock()
        began_ns = max(now_ns, quiet_at_ns)
        if self._is_leftover and quiet_at_ns > now_ns:
            self._log.info("orders.awaited", for_s=(quiet_at_ns - now_ns) / NS_PER_S)
        found: set[int] = set()
        self._taken_ns.clear()
        looks = rounds = 0
        while is_wanted():
            look_ns = self._clock()
            try:
                ours = await self.look()
            except VenueError as error:
                if self._reads is not None:
                    raise
                trouble = self._unconfirmed(str(error))
                self._log.warning("sweep.retried", error=str(error))
            else:
                if not ours and self._unread is None and look_ns >= quiet_at_ns:
                    if found and self._is_leftover:
                        self._log.info("orders.left_over_cancelled", orders=len(found))
                    return len(found)
                found.update(order.oid for order in ours)
                due = [order for order in ours if self._is_due(order)]
                if due:
                    rounds += 1
                    if not self._nonces.heard_ms or self._refusal is not None:
                        await self._hear()
                    event = "orders.left_over" if self._is_leftover else "sweep.cancelling"
                    self._log.warning(event, orders=len(ours), round=rounds)
                    await self._cancel(due, is_insisting=rounds > 1)
                trouble = self._resting(ours)
            spent_ns = self._clock() - began_ns
            if patience_s is not None and spent_ns > max(patience_s, PATIENCE_MIN_S) * NS_PER_S:
                raise VenueError(trouble)
            await self._sleep(_WAITS_S[min(looks, len(_WAITS_S) - 1)])
            looks += 1
        return None

    def _unconfirmed(self, why: str) -> str:
        coin = self._instrument.coin
        return f"not confirmed that nothing rests in {coin}: {why}; look at the account"

    def _resting(self, ours: Sequence[wire_rest.Resting]) -> str:
        """What is wrong after a look that found these."""
        if not ours and self._unread is not None:
            return self._unconfirmed(str(self._unread))
        if not ours:
            return self._unconfirmed("orders may be on their way")
        whose = " of an earlier run" if self._is_leftover else ""
        why = f" ({self._refusal})" if self._refusal is not None else ""
        does = f"does not cancel them{why}"
        if all(order.oid in self._taken_ns for order in ours):
            does = "says they are cancelled but still shows them"
        return (
            f"{len(ours)} orders{whose} still rest in {self._instrument.coin} and the venue "
            f"{does}; look at the account before the next start"
        )

    def _is_due(self, order: wire_rest.Resting) -> bool:
        """Not one of an earlier run that the venue has just called cancelled."""
        taken_ns = self._taken_ns.get(order.oid) if self._is_leftover else None
        return taken_ns is None or self._clock() - taken_ns >= READ_LAG_NS

    async def _hear(self) -> None:
        """The venue's clock, by which it judges nonces; ours may have gone wrong."""
        payload = msgspec.json.encode({"type": "exchangeStatus"})
        reply = await self._rest.request("POST", "/info", payload, _TIMEOUT_S)
        error: VenueError | None = reply_error(reply, "/info exchangeStatus")
        if error is None:
            try:
                if self._nonces.hear(wire_rest.exchange_time_ms(reply.body)):
                    self._log.warning("nonce.forgotten", why="a day above the venue's clock")
                return
            except VenueProtocolError as unreadable:
                error = unreadable
        self._log.warning("sweep.clock_unread", error=str(error))

    async def _cancel(self, orders: Sequence[wire_rest.Resting], *, is_insisting: bool) -> None:
        """By cloid; where that did not do, by the venue's own ids as well."""
        self._refusal = None
        for start in range(0, len(orders), CANCELS_PER_REQUEST):
            part = orders[start : start + CANCELS_PER_REQUEST]
            oids = [order.oid for order in part]
            cloids = [order.cloid for order in part if order.cloid is not None]
            await self._send(actions.cancel_by_cloid(self._instrument, cloids), oids)
            if is_insisting:
                await self._send(actions.cancel(self._instrument, oids), oids)

    async def _send(self, action: actions.Action, oids: Sequence[int]) -> None:
        nonce = self._nonces.next(self._clock() // NS_PER_MS)
        signature = self._signer.sign(action.msgpack, nonce, None)
        body = actions.body(action, nonce, signature, self._signer.vault, None)
        self.has_sent = True
        reply = await self._rest.request("POST", "/exchange", body, _TIMEOUT_S)
        said, is_cancelled = _verdict(reply, len(oids))
        if said is not None:
            self._refusal = said
            self._log.warning("sweep.refused", action=action.type, text=said)
        now_ns = self._clock()
        for oid, is_done in zip(oids, is_cancelled, strict=True):
            if is_done:
                self._taken_ns[oid] = now_ns


def _verdict(reply: HttpReply, count: int) -> tuple[str | None, list[bool]]:
    """The first refusal there is in an answer, and which of its orders the venue cancelled."""
    nothing = [False] * count
    if reply.status is None:
        return reply.error or "no answer", nothing
    if reply.status != 200:
        return f"HTTP {reply.status}", nothing
    try:
        read = action_reply(reply.body)
    except VenueProtocolError as unread:
        return str(unread), nothing
    statuses = read.for_elements(count)
    is_cancelled = [status.kind is EntryKind.SUCCESS for status in statuses]
    refused = (status.text for status in statuses if status.kind is not EntryKind.SUCCESS)
    return next(refused, None), is_cancelled
