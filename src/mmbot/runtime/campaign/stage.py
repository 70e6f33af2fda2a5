"""One run of the campaign: the whole daemon as `mmbot run` assembles it, over the pipe."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from mmbot.config import Config
from mmbot.core.types import NS_PER_MS
from mmbot.errors import InvariantError
from mmbot.hyperliquid.signing import Signer
from mmbot.journal.writer import Writer
from mmbot.runtime.aio import WallClock
from mmbot.runtime.campaign.meddler import Meddler
from mmbot.runtime.campaign.scene import Scene
from mmbot.runtime.campaign.schedule import Schedule
from mmbot.runtime.pipe import Driver, PipeDialer, SimLoop
from mmbot.runtime.piped import WORTHLESS_KEY, Piped, Records
from mmbot.runtime.simulation import SimHandle

_START_MS: Final = 1_791_486_000_000 - 60_000
"""A minute before a full hour: every run pays or receives funding."""


class Timers:
    """Timers of an event loop, whose waits are spans: setting the clock moves none of them."""

    def __init__(self, sim: SimLoop, clock: WallClock) -> None:
        self._sim = sim
        self._clock = clock

    def call_at(self, when_ns: int, fn: Any) -> SimHandle:
        """See `ports.Scheduler`."""
        return self._sim.call_at(self._sim.clock() + max(0, when_ns - self._clock()), fn)


class Stage(Piped, Scene):
    """
    A run over the pipe; the clock it reads is the product's own, over one that can be set.

    Args:
        level: What the log keeps; all of it costs a quarter of the time.
        journal: See `Trader`.
        records: Where the log goes; a list in memory by default.
    """

    sim: SimLoop
    dialer: PipeDialer
    driver: Driver

    def __init__(
        self,
        config: Config,
        schedule: Schedule,
        *,
        level: str = "warning",
        journal: Writer | None = None,
        records: Records | None = None,
    ) -> None:
        chance = Random(schedule.seed)  # noqa: S311 - faults are drawn, nothing is kept secret
        signer = Signer(WORTHLESS_KEY, is_mainnet=False)
        self.user = signer.address
        self._build(config, schedule, _START_MS, chance)
        sim = SimLoop(_START_MS * NS_PER_MS)
        clock = WallClock(lambda: sim.clock() + self.set_ns, sim.clock)
        super().__init__(
            config,
            self.exchange,
            sim,
            signer=signer,
            user=self.user,
            run=schedule.seed & 0xFFFF_FFFF,
            jitter=chance,
            level=level,
            clock=clock,
            scheduler=Timers(sim, clock),
            journal=journal,
            records=records,
        )
        self.meddler = self.dialer.tamper = Meddler(sim.clock, chance)

    def start(self) -> None:
        """Set the leverage, as `mmbot run` does before it connects, then connect."""
        refusal = self.lever()
        if refusal is not None:
            msg = f"the leverage was not set: {refusal}"
            raise InvariantError(msg)
        self.know()
        self.trader.start()
