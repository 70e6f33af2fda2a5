"""`mmbot exchange`: the emulated exchange by itself, for any Hyperliquid client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
from typing import Annotated, Final

import typer

from mmbot.cli.options import AsJson, Overrides
from mmbot.config import market_overrides
from mmbot.emulator.scenarios import SCENARIOS, build_venue
from mmbot.emulator.server import Running, serve, wall_clock_ms
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import ConfigError
from mmbot.hyperliquid.signing import Signer

ACCOUNTS: Final = 3
_DEFAULT_EQUITY_USD: Final = 1000.0


def exchange(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    scenario: Annotated[str, typer.Option(help="Named market.")] = "hype",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market and of the keys.")] = 1,
    coin: Annotated[str, typer.Option(help="Coin the synthetic market trades.")] = "HYPE",
    equity_usd: Annotated[
        float, typer.Option(min=0.0, help="Deposit of each test account, USD.")
    ] = _DEFAULT_EQUITY_USD,
    latency_ms: Annotated[
        int, typer.Option(min=0, max=10_000, help="From an action's arrival to its block, ms.")
    ] = 50,
    overrides: Overrides = None,
    *,
    until_stdin_closes: Annotated[
        bool, typer.Option(help="End when standard input is closed (by the parent's death).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve an emulated Hyperliquid on loopback: REST, WebSocket, a market and test accounts."""
    if scenario not in SCENARIOS:
        known = ", ".join(sorted(SCENARIOS))
        raise ConfigError(f"--scenario {scenario}: is not a scenario; use one of: {known}")
    keys = [test_key(seed, number) for number in range(ACCOUNTS)]
    accounts = [
        {"address": Signer(key, is_mainnet=False).address, "private_key": "0x" + key.hex()}
        for key in keys
    ]
    now_ms = wall_clock_ms()
    venue, market = build_venue(
        coin,
        scenario,
        overrides=market_overrides(overrides or ()),
        seed=seed,
        now_ms=now_ms,
        accounts=[(account["address"], equity_usd) for account in accounts],
    )
    emulated = Exchange(
        venue,
        market,
        ExchangeParams(latency_ms=latency_ms),
        now_ms,
        market_coin=coin,
        chance=random.Random(seed),  # noqa: S311 - draws faults, guards nothing
    )
    emulated.test_accounts = accounts
    asyncio.run(_serve(emulated, port, accounts, until_stdin_closes, as_json))


def test_key(seed: int, number: int) -> bytes:
    """Key of a test account: the same for a seed, worthless everywhere else."""
    return hashlib.sha256(f"mmbot emulated account {seed}/{number}".encode()).digest()


async def _serve(
    emulated: Exchange,
    port: int,
    accounts: list[dict[str, str]],
    until_stdin_closes: bool,
    as_json: bool,
) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    running = await serve(emulated, port=port)
    _announce(running, accounts, as_json=as_json)
    if until_stdin_closes:
        os.set_blocking(sys.stdin.fileno(), False)
        loop.add_reader(sys.stdin.fileno(), _on_stdin, end)
    try:
        await asyncio.wait([ended, running.failure], return_when=asyncio.FIRST_COMPLETED)
        if running.failure.done():
            running.failure.result()
    finally:
        await running.stop()


def _on_stdin(end: object) -> None:
    """The parent writes nothing; readable with nothing to read is its end of the pipe gone."""
    assert callable(end)
    if os.read(sys.stdin.fileno(), 1024) == b"":
        end()


def _announce(running: Running, accounts: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"url": running.url, "accounts": accounts}))
    else:
        typer.echo(f"url        {running.url}   websocket {running.ws_url}")
        for account in accounts:
            typer.echo(f"account    {account['address']}   key {account['private_key']}")
        typer.echo("           the keys are generated for this exchange and worth nothing")
        typer.echo("           Ctrl+C stops")
    sys.stdout.flush()
