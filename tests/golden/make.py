"""
Make the golden journal of this release anew: `python tests/golden/make.py`.

For a change that is meant to change decisions. Journals of released versions stay as they are: they
must be readable for good, though a later engine decides otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = HERE / "0.1.0"
sys.path.insert(0, str(HERE.parent))

from mmbot.core.estimators.cascade import CascadeMemory, SideMemory  # noqa: E402
from mmbot.core.types import NS_PER_MS  # noqa: E402
from mmbot.journal.records import Ended  # noqa: E402
from mmbot.journal.writer import JournalParams, Writer  # noqa: E402
from runtime.pipe_rig import START_MS, PipeRun  # noqa: E402


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


if __name__ == "__main__":
    RELEASE.mkdir(exist_ok=True)
    for old in RELEASE.glob("journal-*.mmj"):
        old.unlink()
    make(RELEASE)
