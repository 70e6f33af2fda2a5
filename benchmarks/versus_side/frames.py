"""
A recording as rows that every engine can take: changes of price levels, and trades.

Run by mmbot's interpreter, ahead of what is measured. A book becomes the levels it changes, a touch
what it changes at the top; so a row is one level. The others apply one sequence of rows at the
venue and on our side, so the rows are in the venue's order, and one that overtook another on its
way is received when the last of those it overtook was.

Writes `frames.npy` (one line a row, see `facts.COLUMNS`) and `frames.json` (the market).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.versus_side.facts import COLUMNS, TRADE, Column
from benchmarks.versus_side.quoter import ORDER_USD

from mmbot.core.events import Bbo, Level, Trade
from mmbot.core.types import NS_PER_MS, Side
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import Frame, Recording, read_recording

DEPTH: Final = 0
Row = tuple[int, int, int, int]
"""Kind, side (a trade's is the aggressor's), price in ticks, size in lots (0: no such level)."""


class Levels:
    """The visible book, and the rows that make one frame of it out of the last."""

    def __init__(self) -> None:
        self.sides: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}

    def rows(self, frame: Frame) -> list[Row]:
        """What `frame` changes."""
        if isinstance(frame, Trade):
            return [(TRADE, int(frame.side), frame.px_ticks, frame.sz_lots)]
        if isinstance(frame, Bbo):
            both = ((Side.BUY, frame.bid), (Side.SELL, frame.ask))
            return [row for side, level in both for row in self._touch(side, level)]
        found = self._whole(Side.BUY, frame.bids)
        return found + self._whole(Side.SELL, frame.asks)

    def _whole(self, side: Side, levels: tuple[Level, ...]) -> list[Row]:
        new = {level.px_ticks: level.sz_lots for level in levels}
        return self._become(side, new)

    def _touch(self, side: Side, level: Level | None) -> list[Row]:
        if level is None:
            return self._become(side, {})
        beyond = {
            px_ticks: sz_lots
            for px_ticks, sz_lots in self.sides[side].items()
            if (level.px_ticks - px_ticks) * side > 0
        }
        return self._become(side, {level.px_ticks: level.sz_lots, **beyond})

    def _become(self, side: Side, new: dict[int, int]) -> list[Row]:
        old = self.sides[side]
        self.sides[side] = new
        gone = [(DEPTH, int(side), px_ticks, 0) for px_ticks in old if px_ticks not in new]
        changed = [
            (DEPTH, int(side), px_ticks, sz_lots)
            for px_ticks, sz_lots in new.items()
            if old.get(px_ticks) != sz_lots
        ]
        return gone + changed


def table(recording: Recording) -> Column:
    """All rows, in the venue's order."""
    levels = Levels()
    found: list[tuple[int, ...]] = []
    recv_ns = 0
    for frame in recording.happened:
        recv_ns = max(recv_ns, frame.recv_ns)
        venue_ns = min(frame.venue_ms * NS_PER_MS - recording.lead_ns, recv_ns)
        rows = levels.rows(frame)
        last = len(rows) - 1
        found += [(*row, venue_ns, recv_ns, int(n == last)) for n, row in enumerate(rows)]
    return np.array(found, np.int64).reshape(-1, len(COLUMNS))


def main() -> None:
    """Folder of the recording, coin, where to write, decay per bp, hold in bps."""
    folder, coin, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    k_per_bp, hold_bps = float(sys.argv[4]), float(sys.argv[5])
    instrument, _ = listed_instrument(coin)
    recording = read_recording(folder, instrument)
    rows = table(recording)
    px_ticks = rows[:, COLUMNS.index("px_ticks")]
    step_ticks = int(np.gcd.reduce(px_ticks))
    px = instrument.px(float(np.median(px_ticks)))
    np.save(out / "frames.npy", rows)
    facts = {
        "coin": coin,
        "frames": len(recording.frames),
        "rows": len(rows),
        "market_s": (recording.end_ns - recording.start_ns) / 1e9,
        "sz_decimals": instrument.sz_decimals,
        "px_decimals": 6 - instrument.sz_decimals,
        "ticks_per_usd": instrument.ticks_per_usd,
        "lots_per_coin": instrument.lots_per_coin,
        "step_ticks": step_ticks,
        "order_lots": max(1, round(ORDER_USD / px * instrument.lots_per_coin)),
        "k_per_bp": k_per_bp,
        "hold_bps": hold_bps,
    }
    (out / "frames.json").write_text(json.dumps(facts), "utf-8")


if __name__ == "__main__":
    main()
