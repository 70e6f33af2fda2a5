"""Claims about the readers of recorded markets."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmbot.core.events import Bbo, Book, Level, Trade, Trades
from mmbot.core.types import Side
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import Recording, messages, read_recording
from mmbot.errors import ConfigError
from support import data_dir

WLFI, _ = listed_instrument("WLFI")

BOOK_HEAD = "timestamp,sequence,exchange_timestamp" + "".join(
    f",bid_price_{i},bid_size_{i},ask_price_{i},ask_size_{i}" for i in range(2)
)
BOOKS = [
    "100.5,100000,100000,0.18648,300.0,0.18649,350.0,0.18643,160.0,0.1865,90.0",
    "101.5,101000,101000,0.18647,310.0,0.18649,350.0,0.18643,160.0,0.1865,90.0",
]
PRICES = [
    "100.6,0.18648,200.0,bid,100100",
    "100.6,0.18649,350.0,ask,100100",
    "100.9,0.18648,210.0,bid,100400",
    "100.9,0.18649,350.0,ask,100400",
]
TRADES = [
    "100.5,0.1871,2379.0,sell,5903,60000",
    "100.7,0.18648,100.0,sell,5904,100200",
    "100.8,0.18649,50.0,buy,5905,100300",
    "100.8,0.18649,50.0,buy,5905,100300",
]


def write(folder: Path, kind: str, head: str, rows: Sequence[str], coin: str = "WLFI") -> Path:
    """One file of a recording."""
    path = folder / f"{kind}_{coin}.csv.gz"
    path.write_bytes(gzip.compress("\n".join([head, *rows, ""]).encode()))
    return path


def make(
    folder: Path,
    *,
    books: Sequence[str] = BOOKS,
    prices: Sequence[str] = PRICES,
    trades: Sequence[str] = TRADES,
) -> Path:
    """A whole recording."""
    write(folder, "orderbooks", BOOK_HEAD, books)
    write(folder, "prices", "timestamp,price,size,side,exchange_timestamp", prices)
    write(folder, "trades", "timestamp,price,size,side,trade_id,exchange_timestamp", trades)
    return folder


def test_rows_become_frames_in_order_of_receipt(tmp_path: Path) -> None:
    """The engine must see a recorded market in the order in which it would have reached us."""
    recording = read_recording(make(tmp_path), WLFI)

    assert [(type(f).__name__, f.recv_ns) for f in recording.frames] == [
        ("Book", 100_500_000_000),
        ("Bbo", 100_600_000_000),
        ("Trades", 100_700_000_000),
        ("Trades", 100_800_000_000),
        ("Bbo", 100_900_000_000),
        ("Book", 101_500_000_000),
    ]
    book, bbo, trade = recording.frames[:3]
    assert isinstance(book, Book)
    assert book.bids == (Level(186480, 300), Level(186430, 160))
    assert book.asks == (Level(186490, 350), Level(186500, 90))
    assert bbo == Bbo(100_600_000_000, 100_100, Level(186480, 200), Level(186490, 350))
    assert trade == Trades(
        100_700_000_000, 100_200, (100_200,), (Side.SELL,), (186480,), (100,), (5904,)
    )


def test_trades_of_one_receipt_are_one_message_and_happen_one_by_one(tmp_path: Path) -> None:
    """A burst counts in one message for the engine; orders are filled print by print."""
    more = ["100.8,0.18646,7.0,sell,5906,100350", "100.8,0.18645,8.0,sell,5907,100350"]
    recording = read_recording(make(tmp_path, trades=TRADES + more), WLFI)

    burst = recording.frames[3]
    assert isinstance(burst, Trades)
    assert burst.recv_ns == 100_800_000_000
    assert sorted(burst.tids) == [5905, 5906, 5907]
    assert burst.venue_ms == max(burst.times_ms) == 100_350
    assert len(recording.happened) == len(recording.frames) + 2
    alone = [f for f in recording.happened if isinstance(f, Trade) and f.recv_ns == burst.recv_ns]
    assert messages(alone) == (burst,)


def test_repeated_and_replayed_trades_are_dropped_and_counted(tmp_path: Path) -> None:
    """After a reconnect the venue sends trades again; counted twice they would fill us twice."""
    recording = read_recording(make(tmp_path), WLFI)

    assert recording.duplicate_trades == 1
    assert recording.replayed_trades == 1
    assert [f.tids for f in recording.frames if isinstance(f, Trades)] == [(5904,), (5905,)]
    assert len(recording.frames) == 2 + 2 + 2


def test_happened_is_ordered_by_the_venue_and_trades_come_before_the_touch_they_made(
    tmp_path: Path,
) -> None:
    """Orders meet the market in the venue's order, however late a frame reached us."""
    late = ["103.0,0.18647,70.0,sell,6000,100400"]
    recording = read_recording(make(tmp_path, trades=TRADES + late), WLFI)

    assert isinstance(recording.frames[-1], Trades)
    times = [f.venue_ms for f in recording.happened]
    assert times == sorted(times)
    same = [type(f) for f in recording.happened if f.venue_ms == 100_400]
    assert same == [Trade, Bbo]


def test_clock_of_the_venue_is_never_ahead_of_the_receipt(tmp_path: Path) -> None:
    """A recorder with a slow clock must not let us act on what has not happened yet."""
    recording = read_recording(make(tmp_path, prices=["100.6,0.18648,200.0,bid,100900"]), WLFI)

    assert recording.lead_ns == 300_000_000
    assert all(f.venue_ms * 10**6 - recording.lead_ns <= f.recv_ns for f in recording.frames)


def test_a_lone_row_is_a_one_sided_touch(tmp_path: Path) -> None:
    """A side that the venue did not name must not be filled with the last one."""
    rows = ["100.6,0.18648,200.0,bid,100100", *PRICES[2:], "101.0,0.18649,1.0,ask,100500"]
    recording = read_recording(make(tmp_path, prices=rows), WLFI)

    touches = [f for f in recording.frames if isinstance(f, Bbo)]
    assert [(t.bid is None, t.ask is None) for t in touches] == [
        (False, True),
        (False, False),
        (True, False),
    ]


def test_blank_levels_are_absent(tmp_path: Path) -> None:
    """A thin book has fewer levels; a level of price nothing would be a quote at zero."""
    thin = ["100.5,100000,100000,0.18648,300.0,0.18649,350.0,,,,"]
    recording = read_recording(make(tmp_path, books=thin), WLFI)

    book = recording.frames[0]
    assert isinstance(book, Book)
    assert book.bids == (Level(186480, 300),)
    assert book.asks == (Level(186490, 350),)


def test_holes_are_spans_without_book_or_touch(tmp_path: Path) -> None:
    """Trades alone do not tell where the market is, so they do not end a hole."""
    late = ["150.5,150000,150000,0.18648,300.0,0.18649,350.0,0.18643,160.0,0.1865,90.0"]
    trades = [*TRADES, "120.0,0.18649,50.0,buy,7000,119800"]
    recording = read_recording(make(tmp_path, books=BOOKS + late, trades=trades), WLFI)

    holes = recording.holes(5.0)
    assert [h.length_s for h in holes] == [49.0]
    assert recording.holes(60.0) == ()


def test_plain_files_are_read_as_well(tmp_path: Path) -> None:
    """A recording that somebody unpacked is the same recording."""
    packed = read_recording(make(tmp_path), WLFI)
    for path in list(tmp_path.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()

    assert read_recording(tmp_path, WLFI).frames == packed.frames


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("prices", ["100.6,0.18648,x,bid,100100"], "line 2, column size: 'x' is not a number"),
        ("prices", ["100.6,0.18648,1.0,bid"], "line 2: 4 columns, the header has 5"),
        ("prices", [*PRICES, "1,0.1,1.0,mid,1"], "line 6, column side: 'mid' is not one of bid"),
        ("prices", [*PRICES, "1,0.1,1.0,7,1"], "line 6, column side: '7' is not one of bid"),
        ("prices", ["100.6,,1.0,bid,1"], "line 2, column price: '' is not a number"),
        ("prices", ["100.6,nan,1.0,bid,1"], "line 2, column price: 'nan' is not a number"),
        ("prices", ["100.6,-0.1,1.0,bid,1"], "line 2, column price: -0.1 must be above zero"),
        ("trades", [*TRADES[:1], "1,0.1,0.0,buy,1,1"], "line 3, column size: 0 must be above zero"),
        ("trades", ["1,0.1864877,1.0,buy,1,1"], "line 2, column price: 0.1864877 is not a whole"),
        ("trades", ["1,0.18648,1.5,buy,1,1"], "line 2, column size: 1.5 is not a whole number"),
        ("trades", ["1,0.18648,1.0,buy,9999999999999999999,1"], "column trade_id: above 2^53"),
        ("orderbooks", [*BOOKS, BOOKS[0].replace("0.18643", "?")], "line 4, column bid_price_1"),
        ("orderbooks", [BOOKS[0].replace("160.0", "160.3")], "line 2, column bid_size_1: 160.3"),
        ("trades", [*TRADES[:1], "1e300,0.18648,1.0,buy,1,1"], "column timestamp: 1e+300 is more"),
        ("trades", [*TRADES, "1.0,0.18648,1.0,buy,1,9e15"], "column exchange_timestamp: 9e+15 is"),
        ("trades", [*TRADES[:1], "1,1e300,1.0,buy,1,1"], "line 3, column price: 1e+300 is beyond"),
        ("trades", [*TRADES[:1], "1,0.18648,1e300,buy,1,1"], "line 3, column size: 1e+300 is bey"),
        ("orderbooks", [], "holds no book"),
    ],
)
def test_malformed_rows_are_refused_with_file_line_and_column(
    tmp_path: Path, kind: str, rows: list[str], message: str
) -> None:
    """A person repairs a recording faster when told where it is broken."""
    make(tmp_path)
    head = {
        "orderbooks": BOOK_HEAD,
        "prices": "timestamp,price,size,side,exchange_timestamp",
        "trades": "timestamp,price,size,side,trade_id,exchange_timestamp",
    }[kind]
    path = write(tmp_path, kind, head, rows)

    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_recording(tmp_path, WLFI)
    assert str(path) in str(caught.value)


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    """Columns taken by position from another layout would be prices of nothing."""
    make(tmp_path)
    write(tmp_path, "trades", "timestamp,size,price,side,trade_id,exchange_timestamp", TRADES)

    with pytest.raises(ConfigError, match="line 1: columns are timestamp, size, price"):
        read_recording(tmp_path, WLFI)


def test_missing_file_and_folder_name_what_there_is(tmp_path: Path) -> None:
    """The usual slip is the coin's name, so the message lists the coins."""
    make(tmp_path)
    (tmp_path / "trades_WLFI.csv.gz").unlink()

    with pytest.raises(ConfigError, match=r"trades_WLFI\.csv\.gz: no such file .* books of: WLFI"):
        read_recording(tmp_path, WLFI)
    with pytest.raises(ConfigError, match="no such folder"):
        read_recording(tmp_path / "nowhere", WLFI)


def test_truncated_archive_is_refused(tmp_path: Path) -> None:
    """Half a download must not pass as a short market."""
    path = make(tmp_path) / "trades_WLFI.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])

    with pytest.raises(ConfigError, match="cannot be read"):
        read_recording(tmp_path, WLFI)


def test_wrong_sz_decimals_is_said_rather_than_rounded(tmp_path: Path) -> None:
    """A price that is no whole number of ticks means that the instrument is another one."""
    other, _ = listed_instrument("WLFI", sz_decimals=2)

    with pytest.raises(ConfigError, match="check sz_decimals = 2 of WLFI"):
        read_recording(make(tmp_path), other)


def _checks(recording: Recording) -> None:
    assert all(
        book.bids[0].px_ticks < book.asks[0].px_ticks
        for book in recording.frames
        if isinstance(book, Book)
    )
    recv = [f.recv_ns for f in recording.frames]
    assert recv == sorted(recv)
    tids = [tid for f in recording.frames if isinstance(f, Trades) for tid in f.tids]
    assert len(tids) == len(set(tids))


@pytest.mark.data
@pytest.mark.parametrize(
    ("coin", "touches", "trades", "repeated"),
    [
        ("BTC", 8364, 4000, 0),
        ("ETH", 9298, 4334, 17),
        ("SOL", 8159, 2774, 10),
        ("WLFI", 5247, 1704, 8),
    ],
)
def test_recording_of_september_is_read_whole(
    coin: str, touches: int, trades: int, repeated: int
) -> None:
    """Counts of the recording's own description: nothing lost, repeated trades alone dropped."""
    instrument, _ = listed_instrument(coin)
    recording = read_recording(data_dir("hl-l2-20250904"), instrument)

    assert sum(isinstance(f, Book) for f in recording.frames) == 2260
    assert sum(isinstance(f, Bbo) for f in recording.frames) == touches
    assert recording.duplicate_trades == repeated
    kept = sum(isinstance(f, Trade) for f in recording.happened)
    assert kept + repeated + recording.replayed_trades == trades
    assert recording.lead_ns == 0
    _checks(recording)


@pytest.mark.data
@pytest.mark.parametrize(("coin", "repeated"), [("BTC", 30), ("ETH", 1), ("SOL", 1), ("WLFI", 21)])
def test_hole_of_the_gap_recording_is_found(coin: str, repeated: int) -> None:
    """Four minutes without data are four minutes in which a resting order is blind."""
    instrument, _ = listed_instrument(coin)
    recording = read_recording(data_dir("hl-l2-20250903-gap"), instrument)

    assert max(h.length_s for h in recording.holes(5.0)) == pytest.approx(249.6, abs=1.0)
    assert recording.duplicate_trades == repeated
    _checks(recording)
