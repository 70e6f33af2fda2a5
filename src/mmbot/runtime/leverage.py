"""The leverage of the instrument, set before the first order and read back."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from mmbot.errors import LinkError, VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.runtime.patience import Reads
from mmbot.runtime.trader import Trader

_TIMEOUT_S: Final = 10.0
_AGAIN_S: Final = 5.0


async def set_leverage(
    trader: Trader, reads: Reads, user: str, wanted: int, *, retry_s: float = 0.0
) -> None:
    """
    Set the leverage of the instrument and read it back: the venue lowers it silently at times.

    Setting it twice is harmless, so a busy venue is asked again for `retry_s`.

    Raises:
        VenueError: The venue refuses it, or holds another one afterwards.
    """
    instrument = trader.instrument
    leverage = min(wanted, instrument.max_leverage)
    if leverage < wanted:
        trader.log.warning("leverage.capped", wanted=wanted, leverage=leverage, by="the venue")
    is_cross = not instrument.only_isolated
    until_s = monotonic() + retry_s
    while (refusal := await _ask(trader, leverage, is_cross=is_cross)) is not None:
        is_busy = isinstance(refusal, LinkError) or str(refusal).startswith("429")
        if not is_busy or monotonic() >= until_s:
            raise VenueError(f"risk.leverage = {wanted}: the venue refuses it: {refusal}")
        trader.log.warning("leverage.retried", error=str(refusal))
        await asyncio.sleep(_AGAIN_S)
    payload = {"type": "activeAssetData", "user": user, "coin": instrument.coin}
    held = wire_rest.active_asset_data(await reads.info(payload)).leverage
    if held.value != leverage or held.is_cross != is_cross:
        raise VenueError(
            f"risk.leverage = {wanted}: the venue holds {held.type} {held.value}x instead of "
            f"{'cross' if is_cross else 'isolated'} {leverage}x; set it by hand and look why"
        )
    trader.log.info("leverage.set", leverage=leverage, is_cross=is_cross)


async def _ask(trader: Trader, leverage: int, *, is_cross: bool) -> VenueError | None:
    done: asyncio.Future[VenueError | None] = asyncio.get_running_loop().create_future()

    def settle(refusal: VenueError | None) -> None:
        # An answer that comes after we gave up has nobody to tell.
        if not done.done():
            done.set_result(refusal)

    trader.gateway.update_leverage(leverage, is_cross=is_cross, on_done=settle)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await done
    except TimeoutError:
        return LinkError(f"no answer within {_TIMEOUT_S:g} s")
