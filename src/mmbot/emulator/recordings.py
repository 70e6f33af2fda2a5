"""
Readers of recorded markets: a folder of CSV files to the frames an engine would have received.

A folder holds, per coin, `orderbooks_<coin>`, `prices_<coin>` and `trades_<coin>` as `.csv.gz` or
`.csv`. Every row carries two clocks: when the recorder received it (`timestamp`, seconds) and when
the venue says it happened (`exchange_timestamp`, ms). The engine lives on the first, the venue on
the second.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from mmbot.core.events import Bbo, Book, Level, Trade, Trades
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument, Side
from mmbot.errors import ConfigError

Frame = Bbo | Book | Trade
"""What happened at the venue, trade by trade."""
Message = Bbo | Book | Trades
"""What the engine receives; trades that came together are one message."""

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_OFF_GRID: Final = 1e-3
"""Distance from a whole tick or lot that a decimal read as a float may show; larger is no grid."""
_MS_PER_S: Final = 1000.0
_WHOLE_MAX: Final = 2**53
"""From here on neighbouring whole numbers may be one float."""
_APART_MAX_S: Final = 366 * 86_400.0
_LATEST_S: Final = 4_102_444_800.0
"""The year 2100, s since the epoch; and how far a time may be from the middle one of its column."""
_TRADE, _BBO, _BOOK = 0, 1, 2
_KINDS: Final = {Trade: _TRADE, Bbo: _BBO, Book: _BOOK}
"""Order of frames that bear the same times: the trade is what changed the touch."""

_PRICES: Final = ("timestamp", "price", "size", "side", "exchange_timestamp")
_TRADES: Final = ("timestamp", "price", "size", "side", "trade_id", "exchange_timestamp")
_BOOK_HEAD: Final = ("timestamp", "sequence", "exchange_timestamp")
_LEVEL: Final = ("bid_price", "bid_size", "ask_price", "ask_size")


class Hole(msgspec.Struct, frozen=True):
    """A span in which neither a book nor a touch came, in our time."""

    start_ns: int
    end_ns: int

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) / NS_PER_S


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """
    One coin of a recording.

    Attributes:
        coin: Name of the perp.
        frames: Messages in order of receipt; equal times by venue time, then trades, touch, book.
        happened: The same in order of the venue's time, each trade by itself.
        lead_ns: By how much the venue's clock ran ahead of the recorder's at worst, so that
            `venue_ms * 1e6 - lead_ns` is never later than the receipt; 0 if it never did.
        duplicate_trades: Rows dropped because their trade id had come before.
        replayed_trades: Rows dropped because they are older than the first book: the venue replays
            recent trades on subscription, and nothing could rest in a book nobody knew.
        read_s, parse_s: Seconds it took to read the files, and to turn text into frames.
    """

    coin: str
    frames: tuple[Message, ...]
    happened: tuple[Frame, ...]
    lead_ns: int
    duplicate_trades: int
    replayed_trades: int
    read_s: float
    parse_s: float

    @property
    def start_ns(self) -> int:
        """Receipt of the first frame."""
        return self.frames[0].recv_ns

    @property
    def end_ns(self) -> int:
        """Receipt of the last frame."""
        return self.frames[-1].recv_ns

    def holes(self, longer_than_s: float) -> tuple[Hole, ...]:
        """Spans of more than `longer_than_s` seconds without a book or a touch."""
        limit_ns = longer_than_s * NS_PER_S
        found: list[Hole] = []
        last_ns = self.start_ns
        for frame in self.frames:
            if isinstance(frame, Trades):
                continue
            if frame.recv_ns - last_ns > limit_ns:
                found.append(Hole(last_ns, frame.recv_ns))
            last_ns = frame.recv_ns
        return tuple(found)


def messages(frames: Iterable[Frame]) -> tuple[Message, ...]:
    """
    Frames in order of receipt as the messages they came in.

    A recording does not say which trades shared a message; those of one receipt did.
    """
    found: list[Message | list[Trade]] = []
    together: list[Trade] = []
    for frame in frames:
        if not isinstance(frame, Trade):
            found.append(frame)
        elif together and together[0].recv_ns == frame.recv_ns:
            together.append(frame)
        else:
            together = [frame]
            found.append(together)
    return tuple([_message(item) if isinstance(item, list) else item for item in found])


def _message(rows: list[Trade]) -> Trades:
    times = [row.venue_ms for row in rows]
    return Trades(
        recv_ns=rows[0].recv_ns,
        venue_ms=max(times),
        times_ms=tuple(times),
        sides=tuple([row.side for row in rows]),
        px_ticks=tuple([row.px_ticks for row in rows]),
        sz_lots=tuple([row.sz_lots for row in rows]),
        tids=tuple([row.tid for row in rows]),
    )


def in_venue_order(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames as they happened: by the venue's time, then trades, touch, book, then as received."""
    recv, venue, kind = _columns(frames)
    return tuple([frames[i] for i in np.lexsort((recv, kind, venue)).tolist()])


def lead_ns(frames: Sequence[Frame]) -> int:
    """By how much the venue's clock ran ahead of ours at worst (`Recording.lead_ns`)."""
    recv, venue, _ = _columns(frames)
    return max(0, int((venue * NS_PER_MS - recv).max())) if len(frames) else 0


def _columns(frames: Sequence[Frame]) -> tuple[_Ints, _Ints, _Ints]:
    """Times of receipt (ns) and of the venue (ms), and what each frame is."""
    count = len(frames)
    recv = np.fromiter((frame.recv_ns for frame in frames), np.int64, count)
    venue = np.fromiter((frame.venue_ms for frame in frames), np.int64, count)
    kind = np.fromiter((_KINDS[type(frame)] for frame in frames), np.int64, count)
    return recv, venue, kind


def read_recording(folder: Path, instrument: Instrument) -> Recording:
    """
    Read all frames of one coin.

    Args:
        folder: Holds the three files of the coin.
        instrument: Gives the coin's name and the grid of its prices and sizes.

    Raises:
        ConfigError: A file is missing, unreadable or malformed (with file, line and column), a
            price or size is off the instrument's grid, or there is no book at all.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name a recording, a folder of CSV files")
    began = perf_counter()
    texts = {
        kind: _read(folder, kind, instrument.coin) for kind in ("orderbooks", "prices", "trades")
    }
    read_s = perf_counter() - began
    began = perf_counter()
    books = _books(*texts["orderbooks"], instrument)
    if not books:
        raise ConfigError(f"{texts['orderbooks'][0]}: holds no book; record one or name another")
    touches = _touches(*texts["prices"], instrument)
    trades, duplicates = _trades(*texts["trades"], instrument)
    first_ms = min(book.venue_ms for book in books)
    kept = [trade for trade in trades if trade.venue_ms >= first_ms]
    frames: list[Frame] = [*kept, *touches, *books]
    recv, venue, kind = _columns(frames)
    by_recv = np.lexsort((kind, venue, recv)).tolist()
    return Recording(
        coin=instrument.coin,
        frames=messages([frames[i] for i in by_recv]),
        happened=in_venue_order(frames),
        lead_ns=lead_ns(frames),
        duplicate_trades=duplicates,
        replayed_trades=len(trades) - len(kept),
        read_s=read_s,
        parse_s=perf_counter() - began,
    )


def _read(folder: Path, kind: str, coin: str) -> tuple[Path, bytes]:
    packed, plain = folder / f"{kind}_{coin}.csv.gz", folder / f"{kind}_{coin}.csv"
    path = packed if packed.exists() else plain
    if not path.exists():
        there = sorted(p.name for p in folder.glob("orderbooks_*"))
        coins = ", ".join(name.removeprefix("orderbooks_").partition(".csv")[0] for name in there)
        raise ConfigError(
            f"{packed}: no such file (nor {plain.name}); the folder has "
            f"{f'books of: {coins}' if coins else 'no books; see docs/recordings.md'}"
        )
    try:
        data = path.read_bytes()
        return path, gzip.decompress(data) if path is packed else data
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; fetch the file again") from None


class _Table:
    """A CSV file as columns of floats; words and gaps stand as numbers."""

    def __init__(
        self,
        path: Path,
        data: bytes,
        expected: Sequence[str] | None,
        words: dict[str, int],
        optional: tuple[str, ...] = (),
    ) -> None:
        """`words`: values of the text column; `optional`: prefixes of columns that may be blank."""
        head, _, body = data.partition(b"\n")
        self.path = path
        self.header = head.decode("utf-8", "replace").strip().split(",")
        self._words = words
        self._optional = optional
        if expected is not None and self.header != list(expected):
            raise ConfigError(
                f"{path}: line 1: columns are {', '.join(self.header)}; "
                f"must be {', '.join(expected)}"
            )
        self.values = self._parse(body)

    def _parse(self, body: bytes) -> _Floats:
        width = len(self.header)
        text = body.replace(b"\r\n", b"\n")
        if self._optional:
            # Twice, because neighbours share a comma; a recorder leaves absent levels blank.
            text = text.replace(b",,", b",nan,").replace(b",,", b",nan,").replace(b",\n", b",nan\n")
        for word, value in self._words.items():
            text = text.replace(b",%b," % word.encode(), b",%d," % value)
        lines = text.splitlines()
        if not lines:
            return np.empty((0, width))
        try:
            values = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
        except ValueError as error:
            raise self._culprit(body) or ConfigError(f"{self.path}: {error}") from None
        if values.shape != (len(lines), width):
            raise self._culprit(body) or ConfigError(
                f"{self.path}: {values.shape[0]} rows of {values.shape[1]}; blank lines or columns"
            )
        must = [
            i for i, name in enumerate(self.header) if not name.startswith(self._optional or "?")
        ]
        sides = values[:, self.header.index("side")] if self._words else np.ones(1)
        if not np.isfinite(values[:, must]).all() or not (np.abs(sides) == 1).all():
            raise self._culprit(body) or ConfigError(f"{self.path}: holds a value without a number")
        return values

    def _culprit(self, body: bytes) -> ConfigError | None:
        """Find the cell that could not be read, the slow way."""
        for number, line in enumerate(body.decode("utf-8", "replace").splitlines(), start=2):
            cells = line.split(",")
            if len(cells) != len(self.header):
                return ConfigError(
                    f"{self.path}: line {number}: {len(cells)} columns, "
                    f"the header has {len(self.header)}; repair or drop the line"
                )
            for name, cell in zip(self.header, cells, strict=True):
                if (self._optional and name.startswith(self._optional) and not cell) or (
                    name == "side" and cell in self._words
                ):
                    continue
                if not _is_number(cell) or name == "side":
                    wanted = f"one of {', '.join(self._words)}" if name == "side" else "a number"
                    return ConfigError(
                        f"{self.path}: line {number}, column {name}: {cell!r} is not {wanted}; "
                        "repair or drop the line"
                    )
        return None

    def column(self, name: str) -> _Floats:
        """One column."""
        values: _Floats = self.values[:, self.header.index(name)]
        return values

    def whole(self, values: _Floats, column: int, what: str, remedy: str) -> _Ints:
        """
        `values` as integers; `column` of the header is their first, for the message.

        Values are one or several adjacent columns; not-a-number stays out as -1.
        """
        filled = np.where(np.isnan(values), -1.0, values)
        self._bounded(filled, column, _WHOLE_MAX, f"{what} that a float holds exactly")
        rounded = np.rint(filled)
        wrong = np.argwhere(np.abs(filled - rounded) > _OFF_GRID)
        if len(wrong):
            row, offset = int(wrong[0][0]), int(wrong[0][1]) if values.ndim > 1 else 0
            at = column + offset
            raise ConfigError(
                f"{self.path}: line {row + 2}, column {self.header[at]}: "
                f"{self.values[row, at]:.12g} is not a whole number of {what}; {remedy}"
            )
        whole: _Ints = rounded.astype(np.int64)
        return whole

    def _bounded(self, values: _Floats, column: int, most: float, what: str) -> None:
        """Refuse what is larger than any figure of a market."""
        wrong = np.argwhere(np.abs(values) > most)
        if len(wrong):
            row, offset = int(wrong[0][0]), int(wrong[0][1]) if values.ndim > 1 else 0
            at = column + offset
            raise ConfigError(
                f"{self.path}: line {row + 2}, column {self.header[at]}: "
                f"{self.values[row, at]:.12g} is beyond {what}; repair or drop the line"
            )

    def _dated(self, name: str, per_s: float) -> None:
        """Refuse times that would stretch a recording over ages."""
        values = self.column(name) / per_s
        middle = float(np.sort(values)[(len(values) - 1) // 2]) if len(values) else 0.0
        wrong = np.flatnonzero((np.abs(values - middle) > _APART_MAX_S) | (values >= _LATEST_S))
        if len(wrong):
            row = int(wrong[0])
            raise ConfigError(
                f"{self.path}: line {row + 2}, column {name}: {self.column(name)[row]:.12g} is "
                f"more than a year from the others, in {'milliseconds' if per_s > 1 else 'seconds'}"
                " since the epoch; repair or drop the line"
            )

    def positive(self, names: Sequence[str]) -> None:
        """Refuse zero and negative values of the columns `names`."""
        for name in names:
            wrong = np.flatnonzero(self.column(name) <= 0)
            if len(wrong):
                row = int(wrong[0])
                raise ConfigError(
                    f"{self.path}: line {row + 2}, column {name}: "
                    f"{self.column(name)[row]:.12g} must be above zero; repair or drop the line"
                )

    def recv_ns(self) -> list[int]:
        """Times of receipt."""
        self._dated("timestamp", 1.0)
        times: list[int] = np.rint(self.column("timestamp") * NS_PER_S).astype(np.int64).tolist()
        return times

    def venue_ms(self) -> list[int]:
        """The venue's times."""
        name = "exchange_timestamp"
        self._dated(name, _MS_PER_S)
        at = self.header.index(name)
        remedy = "repair or drop the line"
        times: list[int] = self.whole(self.column(name), at, "milliseconds", remedy).tolist()
        return times

    def ticks(self, name: str, instrument: Instrument) -> list[int]:
        """A column of prices."""
        scaled = self.column(name) * instrument.ticks_per_usd
        at = self.header.index(name)
        ticks: list[int] = self.whole(scaled, at, "ticks", _grid(instrument)).tolist()
        return ticks

    def lots(self, name: str, instrument: Instrument) -> list[int]:
        """A column of sizes."""
        scaled = self.column(name) * instrument.lots_per_coin
        at = self.header.index(name)
        lots: list[int] = self.whole(scaled, at, "lots", _grid(instrument)).tolist()
        return lots


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _grid(instrument: Instrument) -> str:
    return f"check sz_decimals = {instrument.sz_decimals} of {instrument.coin}"


def _books(path: Path, data: bytes, instrument: Instrument) -> list[Book]:
    header = data.partition(b"\n")[0].decode("utf-8", "replace").strip().split(",")
    depth = (len(header) - len(_BOOK_HEAD)) // len(_LEVEL)
    levels = [f"{part}_{i}" for i in range(depth) for part in _LEVEL]
    table = _Table(path, data, [*_BOOK_HEAD, *levels], {}, optional=("bid_", "ask_"))
    first = len(_BOOK_HEAD)
    scale = np.tile([float(instrument.ticks_per_usd), float(instrument.lots_per_coin)], 2 * depth)
    grid = table.whole(table.values[:, first:] * scale, first, "ticks or lots", _grid(instrument))
    books: list[Book] = []
    rows: list[list[int]] = grid.tolist()
    for recv_ns, venue_ms, row in zip(table.recv_ns(), table.venue_ms(), rows, strict=True):
        bids = [Level(p, s) for p, s in zip(row[0::4], row[1::4], strict=True) if p > 0 and s > 0]
        asks = [Level(p, s) for p, s in zip(row[2::4], row[3::4], strict=True) if p > 0 and s > 0]
        # The recorder's stream came every 0.54 s, as the fast stream does now, with all 20 levels.
        books.append(Book(recv_ns, venue_ms, tuple(bids), tuple(asks), is_fast=True))
    return books


def _touches(path: Path, data: bytes, instrument: Instrument) -> list[Bbo]:
    """Join the two rows of one push; a row without its partner is a one-sided touch."""
    table = _Table(path, data, _PRICES, {"bid": 1, "ask": -1})
    table.positive(("price",))
    columns = zip(
        table.recv_ns(),
        table.venue_ms(),
        table.column("side").tolist(),
        table.ticks("price", instrument),
        table.lots("size", instrument),
        strict=True,
    )
    touches: list[Bbo] = []
    waiting: tuple[int, int, float, Level | None] | None = None
    for recv_ns, venue_ms, side, px_ticks, sz_lots in columns:
        level = Level(px_ticks, sz_lots) if sz_lots > 0 else None
        if waiting is None:
            waiting = (recv_ns, venue_ms, side, level)
        elif waiting[:2] == (recv_ns, venue_ms) and waiting[2] == -side:
            pair = (waiting[3], level) if side < 0 else (level, waiting[3])
            touches.append(Bbo(recv_ns, venue_ms, *pair))
            waiting = None
        else:
            touches.append(_lone(waiting))
            waiting = (recv_ns, venue_ms, side, level)
    if waiting is not None:
        touches.append(_lone(waiting))
    return touches


def _lone(row: tuple[int, int, float, Level | None]) -> Bbo:
    recv_ns, venue_ms, side, level = row
    return Bbo(recv_ns, venue_ms, level if side > 0 else None, level if side < 0 else None)


def _trades(path: Path, data: bytes, instrument: Instrument) -> tuple[list[Trade], int]:
    """All trades but the repeated ones, and how many those were."""
    table = _Table(path, data, _TRADES, {"buy": 1, "sell": -1})
    table.positive(("price", "size"))
    ids = table.column("trade_id")
    if len(ids) and ids.max() >= _WHOLE_MAX:
        row = int(np.argmax(ids))
        raise ConfigError(
            f"{path}: line {row + 2}, column trade_id: above 2^53, so two ids could look equal; "
            "the venue's ids have 50 bits"
        )
    tids = table.whole(ids, table.header.index("trade_id"), "ids", "repair the line").tolist()
    columns: Any = zip(
        table.recv_ns(),
        table.venue_ms(),
        table.column("side").tolist(),
        table.ticks("price", instrument),
        table.lots("size", instrument),
        tids,
        strict=True,
    )
    seen: set[int] = set()
    trades: list[Trade] = []
    for recv_ns, venue_ms, side, px_ticks, sz_lots, tid in columns:
        if tid not in seen:
            seen.add(tid)
            aggressor = Side.BUY if side > 0 else Side.SELL
            trades.append(Trade(recv_ns, venue_ms, aggressor, px_ticks, sz_lots, tid))
    return trades, len(tids) - len(trades)
