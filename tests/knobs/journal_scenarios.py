"""The journal of a run: its files, and when nothing may rest any more because it lags."""

from __future__ import annotations

import random
from pathlib import Path

from mmbot.config import Config
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.journal.writer import Writer
from mmbot.runtime.recording import new_engine

_START_NS = 1_791_484_300_000 * NS_PER_MS
_HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)


def filled(config: Config, here: Path) -> list[object]:
    """A hundred messages that no compression makes smaller; what lies in the folder then."""
    chance = random.Random(1)
    writer = Writer(here, config.journal, steady=lambda: 0, has_thread=False)
    for n in range(100):
        writer.read(_START_NS + n, [chance.randbytes(1000)])
        writer.drain()
    writer.close()
    return [path.name for path in sorted(here.iterdir())]


def never_written(config: Config, here: Path) -> list[object]:
    """A disk that takes nothing: what the engine says of it, and after how long."""
    now_ns = 0
    writer = Writer(here, config.journal, steady=lambda: now_ns, has_thread=False)
    engine = new_engine(
        config,
        _HYPE,
        cloid_prefix=0x6D6D << 48 | 1,
        settle_ns=0,
        now_ns=_START_NS,
        journal=writer,
    )
    said: list[object] = []
    for at_ms in range(0, 6000, 100):
        now_ns = at_ms * NS_PER_MS
        decision = engine.decide(_START_NS + now_ns)
        said.append((at_ms, decision.status.reasons))
        said.extend((note.event, note.level) for note in decision.notes)
    writer.close()
    return said
