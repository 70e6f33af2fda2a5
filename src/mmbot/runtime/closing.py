"""
Closes a position on behalf of a command, while no daemon trades the market.

`mmbot flatten` and `mmbot kill --flatten` are the same closing with different words around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mmbot.config import Config
from mmbot.core.types import Instrument
from mmbot.hyperliquid.nonce import Nonces
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.aio import AioScheduler, wall_clock_ns
from mmbot.runtime.cloids import new_cloid_prefix
from mmbot.runtime.flatten import Closed, Flattener
from mmbot.runtime.telling import Log


async def close_position(
    config: Config,
    rest: Rest,
    instrument: Instrument,
    *,
    signer: Signer,
    user: str,
    log: Log,
    say: Callable[[str], None] | None,
    nonces: Nonces | None = None,
) -> Closed:
    """
    Close what is held, as [flatten] says; nothing of ours may rest any more.

    Args:
        config: The configuration.
        rest: HTTP of the venue.
        instrument: Which perp.
        signer: Whose key signs.
        user: Account traded.
        log: Hears of every order.
        say: Hears of every order before it is sent, a sentence each; None for silence.
        nonces: Of the key; the clock's where it has none yet.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Closed] = loop.create_future()
    flattener = Flattener(
        instrument,
        signer=signer,
        user=user,
        http=rest,
        clock=wall_clock_ns,
        scheduler=AioScheduler(loop),
        gateway=config.gateway,
        params=config.flatten,
        nonces=Nonces() if nonces is None else nonces,
        cloid_prefix=new_cloid_prefix(),
        log=log,
        on_done=done.set_result,
        say=say,
    )

    def on_crash(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and not done.done():
            done.set_exception(error)

    loop.set_exception_handler(on_crash)
    flattener.start()
    try:
        return await done
    finally:
        flattener.abandon()
