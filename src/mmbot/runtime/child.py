"""
The embedded exchange as a child process: known to the daemon by its URL and nothing else.

It runs in a process group of its own, so a Ctrl+C at the terminal does not reach it and the daemon
can still cancel and verify. Its standard input is a pipe from us: when it closes, for whatever
reason, the exchange ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.errors import VenueError

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 5.0


class TestAccount(msgspec.Struct, frozen=True):
    """A funded account of an emulated exchange. Its key was generated for it and is worthless."""

    __test__ = False  # not a test class, whatever its name suggests to a collector

    address: str
    private_key: str


class ExchangeInfo(msgspec.Struct, frozen=True):
    """What an emulated exchange prints when it is ready."""

    url: str
    accounts: tuple[TestAccount, ...]
    pid: int = 0


@asynccontextmanager
async def embedded_exchange(config: Config) -> AsyncIterator[ExchangeInfo]:
    """
    Start an emulated exchange for this configuration, yield what it printed, end it.

    Raises:
        VenueError: It did not start; what it said is in the message.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mmbot",
        "exchange",
        *exchange_arguments(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    try:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            raise VenueError("the embedded exchange said nothing for 20 s; see its log") from None
        if not line:
            said = (await complaints).decode("utf-8", "replace").strip().splitlines()
            why = said[-1] if said else f"exit code {await process.wait()}"
            raise VenueError(f"the embedded exchange did not start: {why}")
        info = msgspec.json.decode(line, type=ExchangeInfo)
        yield msgspec.structs.replace(info, pid=process.pid)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await complaints


def exchange_arguments(config: Config) -> list[str]:
    """Arguments of `mmbot exchange` that give the market this configuration asks for."""
    equity_usd = config.emulator.equity_usd or config.risk.capital_usd
    arguments = [
        "--json",
        "--until-stdin-closes",
        "--port=0",
        f"--scenario={config.emulator.scenario}",
        f"--seed={config.emulator.seed}",
        f"--coin={config.instrument.wire_coin}",
        f"--equity-usd={equity_usd!r}",
        f"--latency-ms={config.emulator.latency_ms}",
    ]
    arguments.extend(f"--set=market.{key}={value!r}" for key, value in config.market.items())
    return arguments
