"""Reaching the venue of a configuration: the real one, one on paper, or an emulated exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from mmbot.config import Config
from mmbot.errors import ConfigError, LinkError
from mmbot.hyperliquid.rest import Rest
from mmbot.runtime.child import Child, ExchangeInfo, embedded_exchange
from mmbot.runtime.patience import OnWait, PatientRest
from mmbot.runtime.venues import Venue, signer_of, venue_url


@asynccontextmanager
async def open_venue(
    config: Config,
    key: bytes | None,
    on_wait: OnWait | None = None,
    child: Child | None = None,
) -> AsyncIterator[Venue]:
    """
    Reach the venue of this mode; the embedded exchange lives as long as this context.

    Args:
        config: The configuration.
        key: The signing key, where there is one.
        on_wait: Hears of refused reads; without it none is tried again.
        child: The embedded exchange, if it was started already.

    Raises:
        ConfigError: No key where one is needed.
        VenueError: The exchange did not start or did not answer.
    """
    if config.is_paper:
        from mmbot.runtime.paper import open_paper  # noqa: PLC0415 - loads the emulated venue

        async with open_paper(config, venue_url(config), on_wait) as venue:
            yield venue
        return
    if config.mode != "emulator":
        if key is None:
            raise ConfigError(
                f'mode = "{config.mode}": no signing key: set the environment variable '
                f"{config.account.key_env}, or account.key_file to a file of mode 0600"
            )
        yield Venue(venue_url(config), key)
        return
    if config.emulator.url:
        url = venue_url(config)
        yield Venue(url, key if key is not None else await lent_key(config, url, on_wait))
        return
    async with embedded_exchange(config, child) as info:
        yield Venue(info.url, bytes.fromhex(info.accounts[0].private_key.removeprefix("0x")))


async def lent_key(config: Config, url: str, on_wait: OnWait | None) -> bytes:
    """Key of the first funded test account of an emulated exchange that runs already."""
    retry_s = config.start.retry_s if on_wait is not None else 0.0
    async with Rest(url) as rest:
        reads = PatientRest(rest, url, retry_s=retry_s, on_wait=on_wait)
        body = await reads.get("/emulator/accounts")
    try:
        info = msgspec.json.decode(body, type=ExchangeInfo)
        key = bytes.fromhex(info.accounts[0].private_key.removeprefix("0x"))
        signer_of(config, key)
    except (msgspec.DecodeError, ValueError, IndexError, ConfigError):
        raise LinkError(
            f"emulator.url = {url}: answers, but is not an emulated exchange of mmbot; "
            "start one with mmbot exchange"
        ) from None
    return key
