"""`mmbot exchange`: the emulated exchange by itself, for any Hyperliquid client."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import random
import signal
import stat
import sys
from typing import Annotated, Any, Final, TextIO

import typer

from mmbot.cli.options import AsJson, echo
from mmbot.emulator.scenarios import SCENARIOS, build_venue
from mmbot.emulator.server import Running, serve, wall_clock_ms
from mmbot.emulator.specs import VenueParams
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import ConfigError
from mmbot.hyperliquid.signing import Signer

ACCOUNTS: Final = 3
_DEFAULT_EQUITY_USD: Final = 1000.0


def exchange(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    scenario: Annotated[str, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = "hype",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market and of the keys.")] = 1,
    coin: Annotated[str, typer.Option(help="Coin the synthetic market trades.")] = "HYPE",
    equity_usd: Annotated[
        float, typer.Option(min=0.0, help="Deposit of each test account, USD.")
    ] = _DEFAULT_EQUITY_USD,
    latency_ms: Annotated[
        int, typer.Option(min=0, max=10_000, help="From an action's arrival to its block, ms.")
    ] = 50,
    reply_ms: Annotated[
        int, typer.Option(min=0, max=10_000, help="From an execution to its answer, ms.")
    ] = 0,
    feed_ms: Annotated[
        int, typer.Option(min=0, max=10_000, help="Age of a pushed message on arrival, ms.")
    ] = 0,
    block_ms: Annotated[int, typer.Option(min=1, max=10_000, help="Spacing of blocks, ms.")] = 68,
    requests: Annotated[
        int, typer.Option(min=0, max=10**9, help="Requests of an address before any volume.")
    ] = 10_000,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override one key of [market], for example market.sigma_bps_rt_s=2.",
        ),
    ] = None,
    *,
    queue: Annotated[
        bool, typer.Option(help="Who came last at a price of the market is filled last.")
    ] = True,
    until_stdin_closes: Annotated[
        bool, typer.Option(help="End when standard input is closed (by the parent's death).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve an emulated Hyperliquid on loopback: REST, WebSocket, a market and test accounts."""
    if not math.isfinite(equity_usd):
        raise ConfigError(f"--equity-usd {equity_usd}: is not an amount; write a number of USD")
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
        overrides=_overrides(overrides),
        seed=seed,
        now_ms=now_ms,
        accounts=[(account["address"], equity_usd) for account in accounts],
        venue_params=VenueParams(requests_base=requests),
        has_queue=queue,
    )
    emulated = Exchange(
        venue,
        market,
        ExchangeParams(
            latency_ms=latency_ms, reply_ms=reply_ms, feed_ms=feed_ms, block_ms=block_ms
        ),
        now_ms,
        market_coin=coin,
        chance=random.Random(seed),  # noqa: S311 - draws faults, guards nothing
    )
    emulated.test_accounts = accounts
    asyncio.run(_serve(emulated, port, accounts, until_stdin_closes, as_json))


def _overrides(texts: list[str] | None) -> dict[str, Any]:
    if not texts:
        return {}
    # The daemon waits for its exchange, and all of the configuration takes long to load.
    from mmbot.config import market_overrides  # noqa: PLC0415

    return market_overrides(texts)


def _is_open_ended(stream: TextIO) -> bool:
    """Whether a stream is of the kind that somebody may close later."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()


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
    if until_stdin_closes and not _is_open_ended(sys.stdin):
        raise ConfigError(
            "--until-stdin-closes: standard input is closed, a file or a device, so nothing would "
            "be waited for; give it a pipe, or leave the option out"
        )
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    running = await serve(emulated, port=port)
    try:
        _announce(running, accounts, as_json=as_json)
        if until_stdin_closes:
            os.set_blocking(sys.stdin.fileno(), False)
            loop.add_reader(sys.stdin.fileno(), _on_stdin, end)
        await asyncio.wait([ended, running.failure], return_when=asyncio.FIRST_COMPLETED)
        if running.failure.done():
            running.failure.result()
    finally:
        await running.stop()


def _on_stdin(end: object) -> None:
    """The parent writes nothing; readable with nothing to read is its end of the pipe gone."""
    assert callable(end)
    try:
        said = os.read(sys.stdin.fileno(), 1024)
    except BlockingIOError:
        return
    except OSError:
        said = b""  # a terminal that is gone
    if said == b"":
        end()


def _announce(running: Running, accounts: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps({"url": running.url, "accounts": accounts}))
    else:
        echo(f"url        {running.url}   websocket {running.ws_url}")
        for account in accounts:
            echo(f"account    {account['address']}   key {account['private_key']}")
        echo("           the keys are generated for this exchange and worth nothing")
        echo("           Ctrl+C stops")
