"""What a start does while the venue is busy."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mmbot.config import Config
from mmbot.core.types import NS_PER_S
from mmbot.errors import LinkError
from mmbot.hyperliquid.ports import HttpReply
from mmbot.runtime.patience import PatientRest


class _Busy:
    """A venue over its limit, in a time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.seen: list[object] = []

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """Too many requests."""
        self.seen.append((self.now_ns / NS_PER_S, method, path, body))
        return HttpReply(429, b"null")

    async def sleep(self, span_s: float) -> None:
        """Wait."""
        self.now_ns += round(span_s * NS_PER_S)


def venue_stays_busy(config: Config, _: Path) -> list[object]:
    """Every read of the start is refused; what is asked, when, and how it ends."""
    venue = _Busy()
    reads = PatientRest(
        venue,
        "http://venue",
        retry_s=config.start.retry_s,
        on_wait=None,
        clock=lambda: venue.now_ns,
        sleep=venue.sleep,
    )
    try:
        asyncio.run(reads.info({"type": "meta"}))
    except LinkError as error:
        venue.seen.append(f"exit {int(error.exit_code)}")
    return venue.seen
