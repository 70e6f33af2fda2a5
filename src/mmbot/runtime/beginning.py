"""
The first steps of a run: the lock on its market, the way to the venue, nothing of earlier runs.

Whatever a start is refused for later, what earlier runs left resting is cancelled by then; only a
venue that does not answer keeps that from happening.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import Universe
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.child import Child
from mmbot.runtime.foreign import Overheard
from mmbot.runtime.heart import quiet_at_ns
from mmbot.runtime.metered import Metered
from mmbot.runtime.nonces import nonces_of
from mmbot.runtime.opening import open_venue
from mmbot.runtime.patience import OnWait, PatientRest
from mmbot.runtime.preflight import account_of
from mmbot.runtime.rundir import make_run_dir
from mmbot.runtime.sweep import Sweep
from mmbot.runtime.telling import Log
from mmbot.runtime.venues import STOP_HINT, Line, Venue, market_lock, signer_of, state_path
from mmbot.state.lock import RunLock

_SECOND_DAEMON: Final = (
    f"two would cancel each other's orders; stop that one first ({STOP_HINT}), or trade another "
    "account or coin"
)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The market of an account, held against every other daemon."""

    venue: Venue
    signer: Signer
    user: str
    run_dir: Path | None
    """With the embedded exchange, whose state lies in it; else it is not made yet."""
    state: Path
    """Where the safety state of account and market lies."""
    lock: RunLock
    started_ns: int


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """The ways to the venue, from the barest to the most careful."""

    nonces: Nonces
    rest: Line
    metered: Metered
    """The same, counting what it costs."""
    reads: PatientRest
    """The same for questions, asked again while the venue does not answer."""
    heard: Overheard
    """The same, keeping what was said of the orders that rest."""


async def hold(
    stack: AsyncExitStack,
    config: Config,
    *,
    key: bytes | None,
    run_dir: Path | None,
    child: Child | None,
    on_wait: OnWait,
) -> Held:
    """
    Open the venue and take the lock of the market; both are given back with `stack`.

    Args:
        stack: What the run holds until it ends.
        config: The configuration.
        key: Whose orders; None where the venue lends one.
        run_dir: Where the run writes, if that was said.
        child: The embedded exchange, if it was started already.
        on_wait: Hears that the venue is waited for.

    Raises:
        CheckError: Another daemon trades there.
        MmbotError: The venue cannot be opened; the message says why.
    """
    started_ns = wall_clock_ns()
    venue = await stack.enter_async_context(open_venue(config, key, on_wait, child))
    signer = signer_of(config, venue.key)
    user = account_of(config, signer)
    made: Path | None = None
    if config.is_embedded:  # its state lies in the run directory, so that comes first
        made = make_run_dir(config, run_dir, started_ns)
    state = state_path(config, made, user)
    lock = stack.enter_context(market_lock(config, state, user, _SECOND_DAEMON))
    return Held(
        venue=venue,
        signer=signer,
        user=user,
        run_dir=made,
        state=state,
        lock=lock,
        started_ns=started_ns,
    )


async def reach(stack: AsyncExitStack, config: Config, held: Held, on_wait: OnWait) -> Reached:
    """Open HTTP to the venue; nothing is asked yet."""
    nonces = nonces_of(held.state)
    rest = await stack.enter_async_context(held.venue.line())
    metered = Metered(rest, wall_clock_ns)
    reads = PatientRest(metered, held.venue.url, retry_s=config.start.retry_s, on_wait=on_wait)
    reads.orders_may_rest = held.lock.may_rest
    return Reached(nonces=nonces, rest=rest, metered=metered, reads=reads, heard=Overheard(reads))


class Before:
    """
    What a run did before its first order, and what of earlier runs it had not cancelled yet.

    Attributes:
        is_in_doubt: Whether an earlier run left it open what rests, and the venue was not asked
            yet.
        is_leverage_sent: Whether the leverage went out.
    """

    def __init__(self) -> None:
        self.is_in_doubt = False
        self.is_leverage_sent = False
        self._sweep: Sweep | None = None

    async def clear(
        self, config: Config, held: Held, reached: Reached, universe: Universe, log: Log
    ) -> None:
        """
        Cancel what earlier runs left resting, and look that nothing does.

        Raises:
            VenueError: The venue does not say so.
        """
        may_come_ns = quiet_at_ns(held.state, config.gateway.expires_after_s, wall_clock_ns())
        if config.is_passing:
            return  # its account is as new as the run
        self._sweep = Sweep(
            reached.metered,
            universe.for_cancelling(config.instrument.wire_coin),
            signer=held.signer,
            user=held.user,
            clock=wall_clock_ns,
            log=log,
            reads=reached.heard,
            is_leftover=True,
            nonces=reached.nonces,
        )
        await self._sweep.run(
            may_come_ns if held.lock.may_rest else 0, patience_s=config.start.retry_s
        )
        self.is_in_doubt = False

    def what_was_sent(self) -> str:
        """What the venue got from a run that placed no order."""
        sent = []
        if self._sweep is not None and self._sweep.has_sent:
            sent.append("cancels of what an earlier run had left")
        if self.is_leverage_sent:
            sent.append("the leverage")
        return f"only {' and '.join(sent)} went out" if sent else "nothing was sent"

    def left_over(self) -> str:
        """What a person must know of orders that an earlier run left; empty where none may rest."""
        count = self._sweep.still_rest if self._sweep is not None else 0
        if not count and not self.is_in_doubt:
            return ""
        orders = f"up to {count} orders" if count else "orders"
        return f"; {orders} of an earlier run may still rest: look at the account, or start again"
