"""
Decoding a 20-level book and a sweep of 20 trades: our typed decoder against json and ccxt.

Run: `python benchmarks/decode.py [--rounds N]`. Prints medians and ratios, and fails when a ratio
falls below its target. All ways run in turn within each round, and CPU time of the thread is
counted, so that a busy machine disturbs the ratios little.

"floats" is the general path of `wire.Decoder` up to the typed structure in which every price and
size is a float: what the other ways end in. "event" is the whole of `Decoder.decode`: 40 `Level`s
of integer ticks and lots in a `Book`, along the short path for the venue's exact text; "event,
other text" is the same without it (a frame with one space more). "trades, ours" is one `Trades` of
20 prints. The frames are made by a seeded generator in the venue's own format (HYPE, two size
decimals). Garbage collection is frozen, as in the daemon.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from statistics import median
from time import thread_time_ns
from typing import Any

import ccxt
import numpy as np

from mmbot.core.events import Book, Trades
from mmbot.core.types import Instrument
from mmbot.hyperliquid.frames import FRAME
from mmbot.hyperliquid.wire import Decoder

INSTRUMENT = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
TARGETS = {"json and floats": 4.0, "ccxt": 12.0}
NOW_NS = 1_736_682_894_000_000_000
TRADES = 20
_FLOATS = "ours, floats"
_EVENT = "ours, event"
_TRADES = "trades, ours"


def frame() -> bytes:
    """A 20-level book in the venue's format."""
    rng = np.random.default_rng(1)

    def side(start: int, step: int) -> list[dict[str, Any]]:
        ticks = start + step * np.cumsum(rng.integers(1, 5, 20))
        return [
            {"px": f"{tick / 1000:.3f}".rstrip("0"), "sz": str(size), "n": int(count)}
            for tick, size, count in zip(
                ticks,
                np.round(rng.exponential(150, 20) + 0.01, 2),
                rng.integers(1, 6, 20),
                strict=True,
            )
        ]

    data = {
        "coin": "HYPE",
        "time": 1_736_682_893_796,
        "levels": [side(21_300, -1), side(21_301, 1)],
    }
    return json.dumps({"channel": "l2Book", "data": data}, separators=(",", ":")).encode()


def trades() -> bytes:
    """A sweep of 20 trades in the venue's format."""
    rows = [
        {
            "coin": "HYPE",
            "side": "A",
            "px": f"{21.3 - n / 1000:.3f}",
            "sz": f"{1 + n}.5",
            "time": 1_736_682_893_796,
            "hash": "0x" + f"{n:02x}" * 32,
            "tid": 351_400_627_290_190 + n,
            "users": ["0x" + "1a" * 20, "0x" + "2b" * 20],
        }
        for n in range(TRADES)
    ]
    return json.dumps({"channel": "trades", "data": rows}, separators=(",", ":")).encode()


def trades_with_json(raw: bytes) -> list[tuple[float, float, str, int]]:
    """Generic parse, then what an estimator reads of each trade."""
    rows = json.loads(raw)["data"]
    return [(float(row["px"]), float(row["sz"]), row["side"], row["tid"]) for row in rows]


def with_json(raw: bytes) -> tuple[list[tuple[float, float]], ...]:
    """Generic parse, then a float for every price and size."""
    bids, asks = json.loads(raw)["data"]["levels"]
    return (
        [(float(level["px"]), float(level["sz"])) for level in bids],
        [(float(level["px"]), float(level["sz"])) for level in asks],
    )


def with_ccxt(exchange: ccxt.hyperliquid, raw: bytes) -> Any:
    """Generic parse, then ccxt's own book parser with the arguments of its hyperliquid class."""
    data = json.loads(raw)["data"]
    book = {"bids": data["levels"][0], "asks": data["levels"][1]}
    return exchange.parse_order_book(
        book, "HYPE/USDC:USDC", data["time"], "bids", "asks", "px", "sz"
    )


def check(raw: bytes, exchange: ccxt.hyperliquid, decoder: Decoder) -> None:
    """All ways must read the same book."""
    bids, asks = with_json(raw)
    parsed = with_ccxt(exchange, raw)
    (event,) = decoder.decode(raw, NOW_NS)
    assert isinstance(event, Book)
    assert len(bids) == len(asks) == 20
    for floats, ccxt_side, ours in (
        (bids, parsed["bids"], event.bids),
        (asks, parsed["asks"], event.asks),
    ):
        assert [list(level) for level in floats] == ccxt_side
        assert [
            (INSTRUMENT.px(level.px_ticks), INSTRUMENT.sz(level.sz_lots)) for level in ours
        ] == floats


def time_us(way: Callable[[], object], calls: int) -> float:
    """Mean CPU time of one call, in microseconds, over `calls` of them."""
    began = thread_time_ns()
    for _ in range(calls):
        way()
    return (thread_time_ns() - began) / calls / 1e3


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    raw = frame()
    decoder = Decoder(INSTRUMENT, user="0x0")
    exchange = ccxt.hyperliquid()
    spaced = raw.replace(b'"data":', b'"data": ', 1)
    check(raw, exchange, decoder)
    check(spaced, exchange, decoder)
    gc.collect()
    gc.freeze()
    sweep = trades()
    (event,) = decoder.decode(sweep, NOW_NS)
    assert isinstance(event, Trades)
    assert [INSTRUMENT.px(px) for px in event.px_ticks] == [
        row[0] for row in trades_with_json(sweep)
    ]
    ways: dict[str, Callable[[], object]] = {
        _FLOATS: lambda: FRAME.decode(raw),
        _EVENT: lambda: decoder.decode(raw, NOW_NS),
        "ours, other text": lambda: decoder.decode(spaced, NOW_NS),
        "json and floats": lambda: with_json(raw),
        "ccxt": lambda: with_ccxt(exchange, raw),
        _TRADES: lambda: decoder.decode(sweep, NOW_NS),
        "trades, json": lambda: trades_with_json(sweep),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(time_us(way, 200))

    medians = {name: median(times) for name, times in samples.items()}
    print(f"20-level l2Book, {len(raw)} bytes, medians of {rounds} rounds")
    print(f"and {TRADES} trades of one message, {len(sweep)} bytes")
    print(f"{'':20s} {'time':>10s} {'/ floats':>9s} {'/ event':>9s}")
    for name, us in medians.items():
        target = f"  target {TARGETS[name]:.0f}x of floats" if name in TARGETS else ""
        to_floats, to_event = us / medians[_FLOATS], us / medians[_EVENT]
        print(f"{name:20s} {us:7.2f} us {to_floats:8.1f}x {to_event:8.1f}x{target}")
    missed = [name for name, target in TARGETS.items() if medians[name] / medians[_FLOATS] < target]
    print(f"MISSED: {', '.join(missed)}" if missed else "every target met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
