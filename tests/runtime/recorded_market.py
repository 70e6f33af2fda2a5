"""A small synthetic recording, in memory and as files, for the tests of the backtest."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

from mmbot.core.events import Bbo, Book, Level, Trade
from mmbot.core.types import NS_PER_MS, Side
from mmbot.emulator.recordings import Frame, Recording, messages

FEED_MS = 300
START_MS = 1_757_000_000_000
DEPTH = 8
STEP = 10


def book(ms: int, bid: int, ask: int, sz: int = 3000) -> Book:
    """Eight levels a side, ten ticks apart."""
    return Book(
        (ms + FEED_MS) * NS_PER_MS,
        ms,
        tuple(Level(bid - STEP * i, sz) for i in range(DEPTH)),
        tuple(Level(ask + STEP * i, sz) for i in range(DEPTH)),
        is_fast=True,
    )


def trade(ms: int, side: Side, px: int, lots: int, tid: int) -> Trade:
    """A public trade."""
    return Trade((ms + FEED_MS) * NS_PER_MS, ms, side, px, lots, tid)


def market(seconds: float = 120, *, seed: int = 1, hole_s: float = 0.0) -> list[Frame]:
    """A walk of the price with sweeps to both sides; a hole in the middle if asked."""
    chance = random.Random(seed)
    frames: list[Frame] = []
    bid = 186_000
    tid = 0
    for n in range(int(seconds / 0.5)):
        ms = START_MS + n * 500 + (int(hole_s * 1000) if n > seconds else 0)
        frames.append(book(ms, bid, bid + 3 * STEP))
        if chance.random() < 0.5:
            side = chance.choice((Side.BUY, Side.SELL))
            reach = STEP * chance.choice((0, 2, 5, 20, 40))
            px = bid + 3 * STEP + reach if side is Side.BUY else bid - reach
            tid += 1
            frames.append(trade(ms + 200, side, px, chance.randrange(200, 9000), tid))
        bid += STEP * chance.choice((-4, -2, -1, 0, 0, 1, 2, 4))
        frames.append(Bbo((ms + 250 + FEED_MS) * NS_PER_MS, ms + 250, *touch(bid)))
    return frames


def informed(
    seconds: int, *, share: float, seed: int = 3, reach_bps: float = 9.0, every_s: int = 4
) -> list[Frame]:
    """Takers reach so far every so often; `share` of that reach is where the price then stays."""
    chance = random.Random(seed)
    frames: list[Frame] = []
    bid = 186_000
    for n in range(seconds * 2):
        ms = START_MS + n * 500
        frames.append(book(ms, bid, bid + 3 * STEP))
        if n % (2 * every_s) == 3:
            side = chance.choice((Side.BUY, Side.SELL))
            reach = round(bid * reach_bps * 1e-4 / STEP) * STEP
            px = bid + 3 * STEP + reach if side is Side.BUY else bid - reach
            frames.append(trade(ms + 200, side, px, 9000, n))
            bid += round(side * share * reach / STEP) * STEP
    return frames


def touch(bid: int) -> tuple[Level, Level]:
    """Best bid and ask."""
    return Level(bid, 2000), Level(bid + 3 * STEP, 2000)


def recording(frames: Sequence[Frame], coin: str = "WLFI") -> Recording:
    """The frames as a recording."""
    return Recording(
        coin=coin,
        frames=messages(sorted(frames, key=lambda frame: frame.recv_ns)),
        happened=tuple(sorted(frames, key=lambda frame: frame.venue_ms)),
        lead_ns=0,
        duplicate_trades=0,
        replayed_trades=0,
        read_s=0.0,
        parse_s=0.0,
    )


def write(folder: Path, frames: Sequence[Frame], coin: str = "WLFI") -> Path:
    """The frames as the files a recorder leaves (sizes in whole coins)."""
    books, prices, trades = [], [], []
    for frame in frames:
        recv_s = f"{frame.recv_ns / 1e9:.7f}"
        if isinstance(frame, Book):
            cells = [
                f"{level.px_ticks / 1e6},{float(level.sz_lots)}"
                for pair in zip(frame.bids, frame.asks, strict=True)
                for level in pair
            ]
            books.append(f"{recv_s},{frame.venue_ms},{frame.venue_ms},{','.join(cells)}")
        elif isinstance(frame, Bbo):
            for side, level in (("bid", frame.bid), ("ask", frame.ask)):
                assert level is not None
                size = float(level.sz_lots)
                prices.append(f"{recv_s},{level.px_ticks / 1e6},{size},{side},{frame.venue_ms}")
        else:
            trades.append(
                f"{recv_s},{frame.px_ticks / 1e6},{float(frame.sz_lots)},"
                f"{frame.side.name.lower()},{frame.tid},{frame.venue_ms}"
            )
    levels = "".join(
        f",bid_price_{i},bid_size_{i},ask_price_{i},ask_size_{i}" for i in range(DEPTH)
    )
    heads = {
        "orderbooks": ("timestamp,sequence,exchange_timestamp" + levels, books),
        "prices": ("timestamp,price,size,side,exchange_timestamp", prices),
        "trades": ("timestamp,price,size,side,trade_id,exchange_timestamp", trades),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for kind, (head, rows) in heads.items():
        text = "\n".join([head, *rows, ""])
        (folder / f"{kind}_{coin}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder
