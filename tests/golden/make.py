"""
Make the golden journals of this release anew: `python tests/golden/make.py`.

For a change that is meant to change decisions. Journals of released versions stay as they are: they
must be readable for good, though a later engine decides otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = HERE / "0.1.0"
REST = HERE / "0.1.0-rest"
HOLES = HERE / "0.1.0-holes"
sys.path.insert(0, str(HERE.parent))

from mmbot.core.estimators.cascade import CascadeMemory, SideMemory  # noqa: E402
from mmbot.core.events import (  # noqa: E402
    ClockStepped,
    Event,
    Funding,
    Gauge,
    LedgerEnds,
    LinkLost,
    Listing,
    Measured,
    OrderMissing,
    ReferencePx,
)
from mmbot.core.risk import Day  # noqa: E402
from mmbot.core.types import NS_PER_MS, NS_PER_S  # noqa: E402
from mmbot.journal.records import Broke, Ended, Item, Lost  # noqa: E402
from mmbot.journal.writer import JournalParams, Writer  # noqa: E402
from mmbot.runtime.recording import new_engine  # noqa: E402
from runtime.pipe_rig import START_MS, PipeRun  # noqa: E402

START_NS = START_MS * NS_PER_MS
LATE_NS = 2_100 * NS_PER_MS
"""Of the journal, above its bound of 2 s."""
LEDGER = LedgerEnds(START_NS, START_MS - 60_000)
TOLD: tuple[Event, ...] = (
    ReferencePx(START_NS + 4 * NS_PER_S, START_MS + 3_990, 26.125),
    Funding(START_NS + 4 * NS_PER_S, START_MS + 3_900, -0.0625),
    Measured(START_NS + 4 * NS_PER_S, Gauge.MARK_AGE_S, 12.5),
    Listing(
        START_NS + 4 * NS_PER_S,
        START_NS + 3 * NS_PER_S,
        is_capped=False,
        is_delisted=False,
    ),
    OrderMissing(START_NS + 4 * NS_PER_S, 0x6D6D_0000_0000_0001_0000_0000_0000_0001),
    ClockStepped(START_NS + 4 * NS_PER_S, -1_500_000_000),
)
"""What comes seldom, or from far: told to the engine as the shell tells it."""
BROKEN: tuple[Item, ...] = (
    LinkLost(START_NS + 1, "gone"),
    Broke("InvariantError: a bug of that release"),
    Lost(3, "the disk did not keep up"),
    Ended(at_ns=START_NS + 2, reason="a bug", exit_code=1, lag_ms_max=2_345.5),
)
"""What a sound engine on a sound disk never writes; nothing to replay, but to be read for good."""


def make(folder: Path) -> None:
    """A run with something of everything: a memory, reconnects, refusals, a trip."""
    side = SideMemory((START_MS - 20_000) * NS_PER_MS, 12.0, 261_000.0, 1.0)
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    # A jump of the price would pull every order that is to cross the book below.
    calm = ("guards.jump_sigmas=100",)
    run = PipeRun("demo", seed=11, sets=calm, journal=writer, memory=CascadeMemory(bid=side))
    run.start()
    run.run(7)
    run.dialer.cut()
    run.run(5)
    run.faults(delay_ms=600)
    px, _ = run.touch()
    for step in range(8):
        # Up and down faster than orders arrive: some cross the book when they do.
        run.market.force_px(px * (1.003 if step % 2 else 0.997))
        run.run(0.5)
    run.faults(delay_ms=0, drop=2)
    run.run(9)
    run.trader.kill("operator: golden")
    ending = run.ended()
    ended = Ended(at_ns=run.sim.clock(), reason=ending.reason, exit_code=int(ending.exit_code))
    writer.close(ended)


def make_rest(folder: Path) -> None:
    """A short run with the kinds of records that the other one has none of."""
    steady = [0]
    writer = Writer(folder, JournalParams(), steady=lambda: steady[0], has_thread=False)
    day = Day(START_MS // 86_400_000, 1000.0, -2.5)
    run = PipeRun("demo", seed=12, journal=writer, day=day)
    engine = run.trader.engine
    engine.apply(LEDGER)
    run.start()
    run.run(4)
    for event in TOLD:
        engine.apply(event)
    run.run(1)
    steady[0] = LATE_NS
    run.run(1)
    steady[0] = 0
    run.run(1)
    quoter = run.config.quoter.model_copy(update={"gamma_per_bp": 0.02})
    run.trader.reconfigure(run.config.model_copy(update={"quoter": quoter}))
    run.run(2)
    ending = run.stop()
    ended = Ended(at_ns=run.sim.clock(), reason=ending.reason, exit_code=int(ending.exit_code))
    writer.close(ended)


def make_holes(folder: Path) -> None:
    """The start of a run, and at once what makes a journal end early."""
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=13)
    new_engine(
        run.config,
        run.instrument,
        cloid_prefix=1,
        settle_ns=NS_PER_S,
        now_ns=START_NS,
        journal=writer,
    )
    for item in BROKEN:
        writer.put(item)
    writer.close()


if __name__ == "__main__":
    for folder, made in ((RELEASE, make), (REST, make_rest), (HOLES, make_holes)):
        folder.mkdir(exist_ok=True)
        for old in folder.glob("journal-*.mmj"):
            old.unlink()
        made(folder)
