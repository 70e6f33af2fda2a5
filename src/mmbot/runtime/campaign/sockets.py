"""
The campaign over real sockets, in real time: faults, ends and verdicts are those of the pipe.

The exchange is the server that `mmbot exchange` runs, on loopback; the program has its own dialer,
HTTP client, timers and clock. A run takes half a minute in which the machine has little to do, so
many of them run side by side, each in a thread and an event loop of its own. Times are real: a seed
is a schedule here, and not the same run to the byte. Where the machine stood still, a violation may
be its own: the run is begun anew, and what was found the first time is told with the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, Self, cast

import msgspec

from mmbot.config import Config, load
from mmbot.emulator.server import Running, serve
from mmbot.hyperliquid.ports import Handle, Ports
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.universe import Universe
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.aio import AioDialer, AioScheduler, WallClock, steady_clock_ns
from mmbot.runtime.campaign.finish import fitted
from mmbot.runtime.campaign.line import RealLine
from mmbot.runtime.campaign.meddler import Meddler
from mmbot.runtime.campaign.run import SETS as SIMULATED_SETS
from mmbot.runtime.campaign.run import Result, story
from mmbot.runtime.campaign.scene import Scene
from mmbot.runtime.campaign.schedule import REAL, Schedule, draw
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.leverage import set_leverage
from mmbot.runtime.piped import WORTHLESS_KEY, Records
from mmbot.runtime.remembering import Kept
from mmbot.runtime.trader import Trader

SETS: Final = (
    *SIMULATED_SETS,
    # A fault and what it takes to get over it are an eighth of what they are over the pipe.
    "link.connect_timeout_s=2",
    "link.ack_timeout_s=2",
    "link.stale_book_s=2",
    "link.stale_ctx_s=4",
    "link.stale_any_s=4",
    "link.backoff_first_s=0.2",
    "link.backoff_max_s=0.6",
    "gateway.post_timeout_s=2",
    "gateway.expires_after_s=2",
    "kill.clock_s=1.5",
    "kill.check_s=2",
    "risk.stale_kill_s=15",
    "kill.mark_s=19",
    "kill.account_s=22",
)
"""What it sets on top of the configuration it is given."""
_START_S: Final = 30.0
"""Patience of a start on a machine that has much to do."""
_HELD_UP_S: Final = 0.4
"""Delay of the machine from which a violation may be its own: sockets are given up after two
seconds of silence, and what is late by less adds up."""
_TRIES: Final = 3
SIDE_BY_SIDE: Final = 8
"""Runs at a time: each takes a fiftieth of a core."""


class RealTime:
    """The clock of the machine and the timers of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = WallClock()
        self._timers = AioScheduler(loop, self.clock)

    def call_at(self, when_ns: int, fn: Any) -> Handle:
        """See `ports.Scheduler`."""
        return self._timers.call_at(when_ns, fn)


class RealScene(Scene):
    """
    A run over sockets; an asynchronous context, in which the program has started.

    The clock it reads is the product's own, over one that can be set.

    Attributes:
        held_up_s: By how much the machine was late at most.
    """

    driver: Running

    def __init__(self, config: Config, schedule: Schedule, *, level: str = "warning") -> None:
        self.config = config
        self._schedule = schedule
        self._level = level
        self._stack = AsyncExitStack()
        self._loop = asyncio.get_running_loop()
        self.sim = RealTime(self._loop)
        self.log = Records()
        self.latched = []
        self.told = []
        self.held_up_s = 0.0
        self.endings = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        schedule = self._schedule
        chance = Random(schedule.seed)  # noqa: S311 - faults are drawn, nothing is kept secret
        signer = Signer(WORTHLESS_KEY, is_mainnet=False)
        self.user = signer.address
        self._build(self.config, schedule, self.sim.clock() // 1_000_000, chance)
        self.driver = await serve(self.exchange)
        stack.push_async_callback(self.driver.stop)
        self.meddler = Meddler(self.sim.clock, chance)
        line = RealLine(self._loop, self.driver.port, self.meddler)
        url = await line.listen()
        stack.push_async_callback(line.close)
        self.dialer = line
        rest = await stack.enter_async_context(Rest(self.driver.url))
        wanted = self.config.instrument
        universe = Universe.parse(await rest.info({"type": "meta", "dex": ""}), None, "")
        self.instrument = universe.instrument(wanted.wire_coin)
        self.clock = WallClock(lambda: self.sim.clock() + self.set_ns)
        self.trader = Trader(
            self.config,
            self.instrument,
            signer=signer,
            user=self.user,
            ports=Ports(
                self.clock,
                AioScheduler(self._loop, self.clock),
                AioDialer(self._loop),
                rest,
                steady_clock_ns,
            ),
            url=url,
            cloid_prefix=CLOID_MAGIC << 48 | schedule.seed & 0xFFFF_FFFF,
            log=make_logger(cast("LogWriter", self.log), self.clock, self._level),
            latch=self.latched.append,
            kept=Kept(
                keep_fills=self.told.extend,
            ),
            on_end=self.endings.append,
            jitter=chance,
        )
        self._loop.set_exception_handler(self._on_crash)
        leverage = self.config.risk.leverage
        await set_leverage(self.trader, rest, self.user, leverage, retry_s=_START_S)
        self.trader.start()

    def _on_crash(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """As in `mmbot run`: what a callback raised ends the run as a broken invariant does."""
        error = context.get("exception")
        if error is not None and not self.trader.ended:
            self.trader.crash(error)
        else:
            self.log.put({"event": "invariant.broken", "error": str(error or context["message"])})


def socket_config(path: Path) -> Config:
    """
    The configuration of a file as the campaign over sockets runs it.

    Raises:
        ConfigError: The file is not valid, or not with what the campaign sets.
    """
    return load(path, SETS)


async def perform(
    config: Config, schedule: Schedule, *, level: str = "warning"
) -> tuple[RealScene, Result]:
    """Carry a schedule out and judge what came of it; see `run.perform`."""
    async with RealScene(fitted(config, schedule), schedule, level=level) as scene:
        told, loop = story(scene, schedule), asyncio.get_running_loop()
        while True:
            try:
                span_s = next(told)
            except StopIteration as end:
                result: Result = end.value
                return scene, result
            if scene.driver.failure.done():
                scene.driver.failure.result()
            until_s = loop.time() + span_s
            await asyncio.sleep(span_s)
            scene.held_up_s = max(scene.held_up_s, loop.time() - until_s)


def run(config: Config, seed: int) -> Result:
    """
    The same for the schedule of a seed, in event loops of its own.

    A violation of a run in which the machine stood still is kept as `discarded`, and the seed is
    tried again; the last try counts as it is.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - absent on platforms it has no wheel for

        factory = uvloop.new_event_loop
    discarded: list[str] = []
    while True:
        with asyncio.Runner(loop_factory=factory) as runner:
            scene, result = runner.run(perform(config, draw(seed, REAL)))
        is_sure = scene.held_up_s < _HELD_UP_S
        if not result.violations or is_sure or len(discarded) == _TRIES - 1:
            return msgspec.structs.replace(result, discarded=tuple(discarded))
        stood = f"while the machine stood still for {scene.held_up_s:.1f} s"
        discarded.append(f"{'; '.join(result.violations)} ({stood})")


def campaign(
    config: Path, seeds: Sequence[int], *, side_by_side: int = SIDE_BY_SIDE
) -> Iterator[Result]:
    """
    Run many seeds, so many at a time; each result as it comes.

    Raises:
        ConfigError: The configuration is not valid.
    """
    settings = socket_config(config)
    with ThreadPoolExecutor(side_by_side, thread_name_prefix="campaign") as pool:
        runs = [pool.submit(run, settings, seed) for seed in seeds]
        try:
            for done in as_completed(runs):
                yield done.result()
        finally:
            for waiting in runs:
                waiting.cancel()
