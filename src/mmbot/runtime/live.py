"""
`mmbot run`: the assembled program on real sockets and real time, from start to summary.

One function builds every mode; only the venue differs. What blocks (SQLite, the log file) happens
before quoting or on threads of its own, so nothing but a decision ever holds the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from mmbot.config import Config
from mmbot.core.types import NS_PER_S
from mmbot.errors import (
    CheckError,
    ConfigError,
    Exit,
    KillLatchedError,
    LinkError,
    StateError,
    VenueError,
)
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import LogWriter, make_logger, stderr_line
from mmbot.runtime.aio import AioDialer, AioScheduler, wall_clock_ns
from mmbot.runtime.child import ExchangeInfo, embedded_exchange
from mmbot.runtime.preflight import Facts, failures, read_facts
from mmbot.runtime.rundir import LATEST, make_run_dir, write_summary
from mmbot.runtime.screen import Screen, banner, summary_lines
from mmbot.runtime.trader import CLOID_MAGIC, Ending, Ports, Trader
from mmbot.state.store import Store, store_path

TESTNET_URL: Final = "https://api.hyperliquid-testnet.xyz"
_LEVERAGE_TIMEOUT_S: Final = 10.0
_GC_EVERY_S: Final = 30.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line adds to a configuration."""

    key: bytes | None
    duration_s: float | None = None
    run_dir: Path | None = None


class Venue(msgspec.Struct, frozen=True):
    """Where the venue is and with which key it is traded."""

    url: str
    key: bytes

    @property
    def ws_url(self) -> str:
        """Address of the socket."""
        return "ws" + self.url.removeprefix("http") + "/ws"


def run(config: Config, options: Options, screen: TextIO) -> Exit:
    """Trade until stopped; returns the exit code. Errors before a run begins are raised."""
    try:
        import uvloop  # noqa: PLC0415 - absent on platforms it has no wheel for

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_run(config, options, screen))


@asynccontextmanager
async def open_venue(config: Config, key: bytes | None) -> AsyncIterator[Venue]:
    """
    Reach the venue of this mode; the embedded exchange lives as long as this context.

    Raises:
        ConfigError: No key where one is needed, or a mode that is not available.
        VenueError: The exchange did not start or did not answer.
    """
    if config.mode == "live":
        raise ConfigError(
            'mode = "live": not available yet: it waits for the self-test and the full kill '
            'switch; use mode = "testnet" or "emulator"'
        )
    if config.mode == "testnet":
        if key is None:
            raise ConfigError(
                f'mode = "testnet": no signing key: set the environment variable '
                f"{config.account.key_env}, or account.key_file to a file of mode 0600"
            )
        yield Venue(TESTNET_URL, key)
        return
    if config.emulator.url:
        url = config.emulator.url.rstrip("/")
        yield Venue(url, key if key is not None else await _test_key(url))
        return
    async with embedded_exchange(config) as info:
        yield Venue(info.url, bytes.fromhex(info.accounts[0].private_key.removeprefix("0x")))


async def _test_key(url: str) -> bytes:
    """Key of the first funded test account of an emulated exchange that runs already."""
    async with Rest(url) as rest:
        body = await rest.get("/emulator/accounts")
    try:
        info = msgspec.json.decode(body, type=ExchangeInfo)
    except msgspec.DecodeError:
        raise LinkError(
            f"emulator.url = {url}: answers, but is not an emulated exchange of mmbot; "
            "start one with mmbot exchange"
        ) from None
    return bytes.fromhex(info.accounts[0].private_key.removeprefix("0x"))


def state_path(config: Config, run_dir: Path | None, user: str) -> Path:
    """
    Where the safety state of this configuration lies.

    With the embedded exchange it is in the run directory (the newest run when none is named):
    that account exists no longer than the exchange does.
    """
    coin = config.instrument.wire_coin
    if config.mode == "emulator" and not config.emulator.url:
        return (run_dir or config.log.dir / LATEST) / "state.sqlite"
    return store_path(config.state_dir.expanduser(), config.mode, user, coin)


class _Run:
    """One run: its folder, its log, its trader, and what the signals do."""

    def __init__(self, config: Config, options: Options, screen: TextIO) -> None:
        self.config = config
        self.options = options
        self.screen = screen
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.ended: asyncio.Future[Ending] = self.loop.create_future()
        self.trader: Trader | None = None
        self.interrupted: str | None = None
        self._is_stopping = False
        self._is_kill_ordered = False

    def on_signal(self, name: str) -> None:
        """First: stop cleanly. Second: end now, the cancels are sent."""
        if self.trader is None:
            self.interrupted = name
            assert self.task is not None
            self.task.cancel()
        elif self._is_stopping:
            self.trader.force()
        else:
            self._is_stopping = True
            self.trader.stop(name)

    def on_kill_signal(self) -> None:
        """SIGUSR1: the operator trips the kill switch, from the first moment there is one."""
        self._is_kill_ordered = True
        if self.trader is not None:
            self.trader.kill("operator: SIGUSR1")

    def begin(self, trader: Trader) -> None:
        """From here on a signal ends the run through its trader, and what crashes as well."""
        self.trader = trader
        self.loop.set_exception_handler(self._on_crash)
        trader.start()
        if self._is_kill_ordered:
            self.on_kill_signal()

    def _on_crash(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: the trader cancels everything, and the log has the traceback."""
        error = context.get("exception")
        if self.trader is not None and not self.trader.ended and error is not None:
            self.trader.crash(error)
        else:
            stderr_line(f"mmbot: internal error: {context.get('message')}: {error}")

    def on_time_up(self) -> None:
        """`--for` has passed."""
        assert self.trader is not None
        self._is_stopping = True
        self.trader.stop("--for elapsed")


async def _run(config: Config, options: Options, screen: TextIO) -> Exit:
    state = _Run(config, options, screen)
    for number, name in ((signal.SIGINT, "Ctrl+C"), (signal.SIGTERM, "SIGTERM")):
        state.loop.add_signal_handler(number, state.on_signal, name)
    state.loop.add_signal_handler(signal.SIGUSR1, state.on_kill_signal)
    try:
        async with AsyncExitStack() as stack:
            venue = await stack.enter_async_context(open_venue(config, options.key))
            signer = Signer(venue.key, is_mainnet=False)
            rest = await stack.enter_async_context(Rest(venue.url))
            facts = await read_facts(config, rest, signer)
            return await _trade(state, stack, venue, rest, signer, facts)
    except asyncio.CancelledError:
        if state.interrupted is None:
            raise
        stderr_line(f"mmbot: {state.interrupted} before the first order; nothing was sent")
        return Exit.OK


async def _trade(
    state: _Run,
    stack: AsyncExitStack,
    venue: Venue,
    rest: Rest,
    signer: Signer,
    facts: Facts,
) -> Exit:
    config = state.config
    for row in failures(facts):
        raise CheckError(f"{row.name}: {row.text}")
    started_ns = wall_clock_ns()
    run_dir = make_run_dir(config, state.options.run_dir, started_ns)
    store = stack.enter_context(Store(state_path(config, run_dir, facts.user)))
    latched = store.latched()
    if latched is not None:
        raise KillLatchedError(
            f"the kill switch is latched: {latched.text}; look at why, then: mmbot reset"
        )
    is_colour = state.screen.isatty()
    view = Screen(facts.instrument, is_colour=is_colour)
    writer = LogWriter(run_dir / "log.jsonl", state.screen, view.render)
    stack.callback(writer.close)
    for line in banner(config, facts.instrument, facts.user, is_colour=is_colour):
        writer.say(line)
    writer.say(f"logs     {run_dir}")
    log = make_logger(writer, wall_clock_ns, config.log.level)
    log.info("run.started", **_started_facts(config, facts))
    latches = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="latch"))
    pending: list[Future[None]] = []
    trader = Trader(
        config,
        facts.instrument,
        signer=signer,
        user=facts.user,
        ports=Ports(wall_clock_ns, AioScheduler(state.loop), AioDialer(state.loop), rest),
        url=venue.ws_url,
        cloid_prefix=new_cloid_prefix(),
        log=log,
        latch=lambda reason: pending.append(latches.submit(store.latch, reason)),
        on_end=state.ended.set_result,
        jitter=random.Random(os.urandom(8)),  # noqa: S311 - spreads reconnects, guards nothing
    )
    # A signal until here ends the program without a stop: no order was sent.
    await set_leverage(trader, rest, facts.user, config.risk.leverage)
    state.begin(trader)
    _freeze_garbage(state.loop)
    if state.options.duration_s is not None:
        state.loop.call_later(state.options.duration_s, state.on_time_up)
    ending = await state.ended
    for latch in pending:
        try:
            await asyncio.wrap_future(latch)
        except StateError as error:
            # The run is over and everything is cancelled; only a person can stop the next one.
            log.critical("killswitch.unlatched", error=str(error))
            stderr_line(f"mmbot: the kill switch tripped but is NOT latched: {error}")
    summary = summarise(trader, ending, (wall_clock_ns() - started_ns) / NS_PER_S)
    if ending.final is not None:
        log.info("run.verified", resting_orders=0)
    else:
        log.error("run.unverified", may_rest=ending.resting_orders)
    log.info("run.ended", **summary)
    try:
        write_summary(run_dir, summary)
    except OSError as error:
        stderr_line(f"mmbot: summary.json could not be written to {run_dir}: {error.strerror}")
    for line in summary_lines(summary):
        writer.say(line)
    writer.say(f"  summary: {run_dir / 'summary.json'}")
    if ending.error:
        stderr_line(f"mmbot: {ending.error}")
    if ending.final is None:
        stderr_line(
            "mmbot: the venue did not confirm that nothing rests; "
            f"{ending.resting_orders} orders could not be verified as cancelled: "
            "look at the account before the next run"
        )
    return ending.exit_code


async def set_leverage(trader: Trader, rest: Rest, user: str, wanted: int) -> None:
    """
    Set the leverage of the instrument and read it back: the venue lowers it silently at times.

    Raises:
        VenueError: The venue refuses it, or holds another one afterwards.
    """
    instrument = trader.instrument
    leverage = min(wanted, instrument.max_leverage)
    is_cross = not instrument.only_isolated
    done: asyncio.Future[VenueError | None] = asyncio.get_running_loop().create_future()
    trader.gateway.update_leverage(leverage, is_cross=is_cross, on_done=done.set_result)
    try:
        async with asyncio.timeout(_LEVERAGE_TIMEOUT_S):
            refusal = await done
    except TimeoutError:
        raise VenueError(
            f"the venue did not answer the leverage request within {_LEVERAGE_TIMEOUT_S:g} s; "
            "try again"
        ) from None
    if refusal is not None:
        raise VenueError(f"risk.leverage = {wanted}: the venue refuses it: {refusal}")
    payload = {"type": "activeAssetData", "user": user, "coin": instrument.coin}
    held = wire_rest.active_asset_data(await rest.info(payload)).leverage
    if held.value != leverage or held.is_cross != is_cross:
        raise VenueError(
            f"risk.leverage = {wanted}: the venue holds {held.type} {held.value}x instead of "
            f"{'cross' if is_cross else 'isolated'} {leverage}x; set it by hand and look why"
        )
    trader.log.info("leverage.set", leverage=leverage, is_cross=is_cross)


def new_cloid_prefix() -> int:
    """High 64 bits of a run's cloids: our mark, then 48 bits no other run has."""
    return CLOID_MAGIC << 48 | int.from_bytes(os.urandom(6))


def summarise(trader: Trader, ending: Ending, duration_s: float) -> dict[str, Any]:
    """
    The run summary: the ledger from fills alone, checked against the venue's own account.

    `ledger_gap_usd` is the change of the venue's equity less the sum of the ledger at the same
    mark; it is None when the venue could not be asked.
    """
    engine = trader.engine
    figures = msgspec.structs.asdict(engine.summary())
    final = ending.final
    gap_usd: float | None = None
    if final is not None and trader.start_equity_usd is not None:
        ledger_usd = engine.position.pnl_usd(trader.instrument.ticks(final.mark_px))
        gap_usd = final.equity_usd - trader.start_equity_usd - ledger_usd
    return {
        "duration_s": round(duration_s, 3),
        **figures,
        "resting_orders": ending.resting_orders,
        "equity_usd": final.equity_usd if final is not None else None,
        "ledger_gap_usd": gap_usd,
        "kill": msgspec.to_builtins(ending.kill),
        "end_reason": ending.reason,
    }


def _started_facts(config: Config, facts: Facts) -> dict[str, object]:
    return {
        "mode": config.mode,
        "coin": facts.instrument.coin,
        "asset_id": facts.instrument.asset_id,
        "user": facts.user,
        "equity_usd": facts.equity_usd,
        "capital_usd": config.risk.capital_usd,
        "max_position_usd": config.risk.max_position_usd,
        "maker_fee_bps": facts.fees.maker_bps,
        "taker_fee_bps": facts.fees.taker_bps,
        "python": sys.version.split()[0],
    }


def _freeze_garbage(loop: asyncio.AbstractEventLoop) -> None:
    """
    Keep the collector off the loop: what exists now is never scanned again.

    The hot path makes no cycles, so reference counts free it; the few cycles of HTTP replies are
    collected on a slow timer, when the young generation is all there is to look at.
    """
    gc.collect()
    gc.freeze()
    gc.disable()

    def sweep() -> None:
        gc.collect(0)
        loop.call_later(_GC_EVERY_S, sweep)

    loop.call_later(_GC_EVERY_S, sweep)


__all__ = [
    "Options",
    "Venue",
    "new_cloid_prefix",
    "open_venue",
    "run",
    "state_path",
    "summarise",
]
