"""A configuration on paper: what its account does, and whose market it asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

from mmbot.config import Config
from mmbot.errors import MmbotError
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.rest import Rest
from mmbot.runtime.opening import open_venue
from mmbot.runtime.venues import state_path
from runtime.paper_rig import PaperRun

_SPAN_S = 60.0


def account(config: Config, _: Path) -> list[object]:
    """A minute: every action with the time it was sent and carried out, and every fill."""
    run = PaperRun(config.emulator.scenario, config=config)
    run.start()
    run.run(_SPAN_S)
    actions = [
        (entry["time"], entry.get("executed"), entry["body"]["action"])
        for entry in run.paper.exchange.requests
    ]
    return [*actions, *run.fills(), *(record["at"] for record in run.log.named("fill.booked"))]


def source(config: Config, _: Path) -> list[object]:
    """Who is asked at the start, and where the state would lie."""
    asked: list[object] = []

    async def request(
        self: Rest, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        asked.append((self._url, method, path, body, timeout_s))
        return HttpReply(503, b"null")

    async def start() -> None:
        async with open_venue(config, None):
            asked.append("begun")

    with patch.object(Rest, "request", request):
        try:
            asyncio.run(start())
        except MmbotError as error:
            asked.append(f"exit {int(error.exit_code)}")
    return [*asked, state_path(config, None, config.account_address).name]
