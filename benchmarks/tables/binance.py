"""Raw streams of Binance USD-M futures as a recording that a backtest can read."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

LEVELS: Final = 20
BOOK_NS: Final = 500_000_000
"""A book this often, as on Hyperliquid."""
TOUCH_NS: Final = 50_000_000
"""A touch whose prices stand is told of this often at most."""

Row = tuple[Any, ...]


class _Book:
    """Levels by price; whole only once a snapshot or enough updates have been seen."""

    def __init__(self) -> None:
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.touch: tuple[float, float] | None = None

    def update(self, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> None:
        for levels, news in zip(self.sides, (bids, asks), strict=True):
            for px, sz in news:
                if float(sz) == 0.0:
                    levels.pop(px, None)
                else:
                    levels[px] = sz

    def top(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]] | None:
        """Best levels of both sides, none beyond the touch that was told of since."""
        if self.touch is None:
            return None
        bid, ask = self.touch
        bids = sorted((it for it in self.sides[0].items() if float(it[0]) <= bid), key=_px)
        asks = sorted((it for it in self.sides[1].items() if float(it[0]) >= ask), key=_px)
        if len(bids) < LEVELS or len(asks) < LEVELS:
            return None
        return bids[: -LEVELS - 1 : -1], asks[:LEVELS]


def _px(item: tuple[str, str]) -> float:
    return float(item[0])


def _messages(files: Sequence[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
    for path in files:
        with gzip.open(path, "rt") as lines:
            for line in lines:
                at, _, text = line.partition(" ")
                yield int(at), json.loads(text)


def convert(files: Sequence[Path], folder: Path, coin: str) -> None:
    """
    Write a recording of one coin.

    Args:
        files: Raw streams in the order of time.
        folder: Where the recording goes.
        coin: Its name there.
    """
    book = _Book()
    books: list[Row] = []
    touches: list[Row] = []
    trades: list[Row] = []
    told_ns = touch_ns = 0
    touch_px: tuple[str, str] | None = None
    for at_ns, message in _messages(files):
        data = message.get("data", message)
        at_s = f"{at_ns / 1e9:.6f}"
        kind = data.get("e")
        if "lastUpdateId" in data:
            book.update(data["bids"], data["asks"])
        elif kind == "depthUpdate":
            book.update(data["b"], data["a"])
        elif kind == "trade":
            if float(data["p"]) > 0 and float(data["q"]) > 0:
                side = "sell" if data["m"] else "buy"
                trades.append((at_s, data["p"], data["q"], side, data["t"], data["T"]))
        elif kind == "bookTicker":
            book.touch = float(data["b"]), float(data["a"])
            prices = data["b"], data["a"]
            if prices != touch_px or at_ns - touch_ns >= TOUCH_NS:
                touch_px, touch_ns = prices, at_ns
                touches.append((at_s, data["b"], data["B"], "bid", data["T"]))
                touches.append((at_s, data["a"], data["A"], "ask", data["T"]))
        if kind == "depthUpdate" and at_ns - told_ns >= BOOK_NS:
            top = book.top()
            if top is not None:
                told_ns = at_ns
                levels = [cell for pair in zip(*top, strict=True) for it in pair for cell in it]
                books.append((at_s, data["T"], data["T"], *levels))
    write(folder, coin, books, touches, trades)


def write(
    folder: Path, coin: str, books: Sequence[Row], touches: Sequence[Row], trades: Sequence[Row]
) -> None:
    """The three files of a recording (see docs/recordings.md)."""
    names = [
        f"{side}_{what}_{n}"
        for n in range(LEVELS)
        for side in ("bid", "ask")
        for what in ("price", "size")
    ]
    heads = {
        "orderbooks": ("timestamp", "sequence", "exchange_timestamp", *names),
        "prices": ("timestamp", "price", "size", "side", "exchange_timestamp"),
        "trades": ("timestamp", "price", "size", "side", "trade_id", "exchange_timestamp"),
    }
    for (kind, head), rows in zip(heads.items(), (books, touches, trades), strict=True):
        with (folder / f"{kind}_{coin}.csv").open("w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(head)
            out.writerows(rows)
