"""The trader of a run over sockets and real time, with the safety state that earlier runs left."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

from mmbot.config import Config
from mmbot.core.intents import KillReason
from mmbot.core.types import NS_PER_MS
from mmbot.hyperliquid.ports import Ports
from mmbot.journal.writer import Writer
from mmbot.runtime import killreport
from mmbot.runtime.aio import AioScheduler, steady_clock_ns, wall_clock_ns
from mmbot.runtime.beginning import Held, Reached
from mmbot.runtime.cloids import new_cloid_prefix
from mmbot.runtime.ending import Ending
from mmbot.runtime.heart import Beat, Heart, beat_path
from mmbot.runtime.keeping import Keeping
from mmbot.runtime.ledger import Ledger
from mmbot.runtime.nonces import NonceKeeper
from mmbot.runtime.notify import Notify
from mmbot.runtime.preflight import Facts
from mmbot.runtime.remembering import Kept
from mmbot.runtime.telling import Log
from mmbot.runtime.trader import Trader
from mmbot.state.store import Store


def assemble(
    stack: AsyncExitStack,
    facts: Facts,
    held: Held,
    reached: Reached,
    *,
    store: Store,
    keeping: Keeping,
    journal: Writer | None,
    config: Callable[[], Config],
    log: Log,
    on_end: Callable[[Ending], None],
) -> Trader:
    """
    Build the trader; nothing is sent, and it does not connect yet.

    Args:
        stack: What the run holds until it ends.
        facts: What the venue said before the run.
        held: The market that is held.
        reached: The ways to the venue; what they have cost so far is booked on its budget.
        store: What earlier runs left: nonces, fills, the day, the memory of sweeps.
        keeping: Stores the same of this run.
        journal: Of the run.
        config: The configuration as it is at the time: it can be loaded again.
        log: Structured log.
        on_end: Called once, when the run has ended.
    """
    loop, settings, nonces = asyncio.get_running_loop(), config(), reached.nonces
    keeper = NonceKeeper(nonces, store, keeping.pool, log)
    keeper.start()
    stack.callback(keeper.end)

    began_ns = facts.venue_ns(wall_clock_ns())
    nonces.hear(began_ns // NS_PER_MS)
    ledger = Ledger(store, keeping.pool, facts.instrument, log, began_ns)

    def latch(reason: KillReason) -> None:
        keeping.latch(reason)
        keeping.store_report(killreport.tripped(trader, config(), reason))

    trader = Trader(
        settings,
        facts.instrument,
        signer=held.signer,
        user=facts.user,
        ports=Ports(
            wall_clock_ns,
            AioScheduler(loop),
            held.venue.dialer(loop),
            reached.rest,
            steady_clock_ns,
        ),
        url=held.venue.ws_url,
        cloid_prefix=new_cloid_prefix(),
        log=log,
        latch=latch,
        on_end=on_end,
        nonces=nonces,
        kept=Kept(
            memory=store.load_cascade(),
            remember=keeping.store_memory,
            day=store.load_day(),
            remember_day=keeping.store_day,
            keep_fills=ledger.take,
            ledger_ms=ledger.last_ms,
        ),
        journal=journal,
        jitter=random.Random(os.urandom(8)),  # noqa: S311 - spreads reconnects, guards nothing
    )
    trader.snapshot.know(facts.known)
    reached.metered.join(trader.gateway.budget)
    return trader


def make_heart(
    config: Config, held: Held, store: Store, on_kill: Callable[[KillReason], None], log: Log
) -> Heart:
    """What the watchdog listens to, and the way by which `mmbot kill` reaches this run."""
    beat = Beat(
        pid=os.getpid(),
        lands_s=config.gateway.expires_after_s,
        url=held.venue.url,
        user=held.user,
        signer=held.signer.address,
    )
    return Heart(
        beat_path(held.state),
        beat,
        latched=store.peek,
        on_kill=on_kill,
        on_problem=lambda text: log.error("heart.hindered", error=text),
        notify=Notify.from_environment(os.environ),
    )
