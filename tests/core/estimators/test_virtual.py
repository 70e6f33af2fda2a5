"""Virtual quotes on the tape: which fills, at which mids, with which sign."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbot.core.estimators.virtual import DEPTHS_BPS, VirtualQuotes
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side
from support import data_dir


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def quotes() -> VirtualQuotes:
    return VirtualQuotes(half_life_s=86_400.0, own_half_life_events=30.0, move_bps_max=100.0)


@pytest.mark.parametrize(
    ("side", "sign"), [(Side.BUY, 1.0), (Side.SELL, -1.0)], ids=["bought", "sold"]
)
def test_a_price_that_goes_on_is_adverse(side: Side, sign: float) -> None:
    """A buyer lifts our virtual ask and the mid rises by 5, 8, 3 bps: we lost that."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    it.on_trades(at(1), side, 3.5, 100_000.0)
    for second, move in ((3, 5.0), (20, 8.0), (50, 3.0), (70, -9.0)):
        it.on_mid(at(second), 100_000.0 + sign * move * 10)
    rows = it.rows()
    for row in rows[:3]:
        assert row.adverse_5s_bps == pytest.approx(5.0)
        assert row.adverse_30s_bps == pytest.approx(8.0)
        assert row.adverse_60s_bps == pytest.approx(3.0)
        assert row.events == pytest.approx(1.0, rel=1e-3)
    assert [row.adverse_30s_bps for row in rows[3:]] == [None] * 4
    assert [row.events for row in rows[3:]] == [0.0] * 4


def test_the_mid_of_a_horizon_is_the_last_one_at_or_before_it() -> None:
    """The mid of the horizon's own instant counts, one a nanosecond later does not."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    it.on_trades(at(1), Side.BUY, 1.0, 100_000.0)
    it.on_mid(at(6), 100_020.0)
    it.on_mid(at(6) + 1, 100_500.0)
    it.on_mid(at(31) + 1, 100_030.0)
    it.on_mid(at(61) + 1, 100_000.0)
    row = it.rows()[0]
    assert row.adverse_5s_bps == pytest.approx(2.0)
    assert row.adverse_30s_bps == pytest.approx(50.0)
    assert row.adverse_60s_bps == pytest.approx(3.0)


def test_fills_an_hour_count_both_sides_at_each_depth() -> None:
    """Three reaches in 600 s, of 1, 4 and 12 bps: 18, 12 and 6 fills an hour."""
    it = quotes()
    for second in range(601):
        it.on_mid(at(second), 100_000.0 + second % 2)
        if second in (100, 200, 300):
            it.on_trades(
                at(second),
                Side.BUY if second != 200 else Side.SELL,
                {100: 1.0, 200: 4.0, 300: 12.0}[second],
                100_000.0,
            )
    rates = [row.fills_per_h for row in it.rows()]
    assert rates == pytest.approx([18, 12, 12, 12, 6, 6, 6], rel=5e-3)


def test_own_events_have_our_side_and_may_lie_beyond_the_mid() -> None:
    """Our buy and the mid falls by 7: adverse 7; a quote the mid had passed has depth below 0."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    it.on_own_event(at(1), Side.BUY, -0.5, 100_000.0)
    it.on_mid(at(2), 99_930.0)
    it.on_mid(at(70), 99_000.0)
    assert it.own == pytest.approx([1.0, -0.5, 7.0, 7.0, 7.0])
    assert [row.events for row in it.rows()] == [0.0] * len(DEPTHS_BPS)


def test_own_events_forget_with_a_half_life_of_thirty_of_them() -> None:
    """Thirty-one events: the first weighs half of the last."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    for i in range(31):
        it.on_own_event(at(100 * i + 1), Side.BUY, 3.0 if i else 103.0, 100_000.0)
        it.on_mid(at(100 * i + 40), 100_000.5)
        it.on_mid(at(100 * i + 99), 100_000.0)
    weight, depth, *_ = it.own
    assert weight == pytest.approx(sum(2 ** (-i / 30) for i in range(31)))
    assert depth - 3.0 * weight == pytest.approx(100 * 0.5)


def test_one_crash_is_bounded() -> None:
    """A move of 10 % is one event like others."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    it.on_trades(at(1), Side.SELL, 2.0, 100_000.0)
    it.on_mid(at(2), 90_000.0)
    it.on_mid(at(70), 90_001.0)
    assert it.rows()[0].adverse_5s_bps == 100.0


def test_a_lost_link_drops_what_waits_and_a_stale_mid_marks_nothing() -> None:
    """Neither may enter as a move of zero."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    it.on_trades(at(1), Side.BUY, 2.0, 100_000.0)
    it.reset_gap()
    it.on_mid(at(100), 101_000.0)
    it.on_mid(at(200), 101_000.5)
    assert it.dropped == 1
    it.on_trades(at(201), Side.BUY, 2.0, 101_000.0)
    it.on_mid(at(400), 102_000.0)
    assert it.dropped == 2
    assert it.joined == 0
    assert it.rows()[0].adverse_5s_bps is None


def test_memory_is_bounded_whatever_the_rate() -> None:
    """A hundred thousand events in half a minute: the surplus is dropped and counted."""
    it = quotes()
    it.on_mid(at(0), 100_000.0)
    for i in range(100_000):
        it.on_trades(at(1) + i * 300_000, Side.BUY, 2.0, 100_000.0)
    assert sum(map(len, it._due)) <= 4096
    assert it.dropped == 100_000 - 4096


def test_errors_are_clustered_by_event_and_by_the_horizon() -> None:
    """
    Twenty events in one second are one observation of the next 30 s.

    Ten such bursts with moves of +10 and -10 bps in turn: the error is that of ten, not of 200.
    """
    it = quotes()
    for burst in range(10):
        start = burst * 300
        it.on_mid(at(start), 100_000.0)
        for i in range(20):
            it.on_trades(at(start + 1 + i / 100), Side.BUY, 2.0, 100_000.0)
        it.on_mid(at(start + 2), 100_000.0 + (100.0 if burst % 2 else -100.0))
        it.on_mid(at(start + 70), 100_000.0)
    row = it.rows()[0]
    assert row.events == pytest.approx(200, rel=0.03)
    assert row.adverse_30s_se == pytest.approx(10 / 9**0.5, rel=0.02)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") as lines:
        yield from csv.DictReader(lines)


@pytest.mark.data
@pytest.mark.parametrize(
    ("coin", "expected"),
    [
        (
            "WLFI",
            {1: (2.68, 4.04, 0.1692), 2: (3.98, 5.07, 0.1157), 4: (5.98, 7.37, 0.0531)},
        ),
        ("SOL", {1: (2.86, 0.4, 0.0403), 2: (2.8, -0.94, 0.0188), 3: (3.01, -0.29, 0.0068)}),
    ],
)
def test_the_recorded_tape_gives_the_figures_of_the_model(
    coin: str, expected: dict[int, tuple[float, float, float]]
) -> None:
    """
    Moves at 5 and 30 s and rate per side by reach, as the reference script has them.

    The script leaves out the first second and the last 61 of the tape; moves that jump beyond
    100 bps do not occur there.
    """
    folder = data_dir("hl-l2-20250904")
    bid = ask = 0.0
    mids: list[tuple[int, float]] = []
    for row in rows_of(folder / f"prices_{coin}.csv.gz"):
        if row["side"] == "bid":
            bid = float(row["price"])
        else:
            ask = float(row["price"])
        if 0 < bid < ask:
            ms = int(row["exchange_timestamp"])
            if mids and mids[-1][0] == ms:
                mids.pop()
            mids.append((ms, (bid + ask) / 2))
    trades: dict[tuple[int, Side], list[float]] = {}
    seen = set()
    for row in rows_of(folder / f"trades_{coin}.csv.gz"):
        if row["trade_id"] not in seen:
            seen.add(row["trade_id"])
            side = Side.BUY if row["side"] == "buy" else Side.SELL
            trades.setdefault((int(row["exchange_timestamp"]), side), []).append(
                float(row["price"])
            )
    first, last = mids[0][0] + 1000, mids[-1][0] - 61_000
    it = quotes()
    due = iter(sorted(key for key in trades if first <= key[0] <= last))
    event = next(due, None)
    before = 0.0
    for ms, mid in mids:
        # The mid before an event has a venue time strictly before it.
        while event is not None and event[0] <= ms:
            worst = max(trades[event]) if event[1] is Side.BUY else min(trades[event])
            reach = event[1] * (worst / before - 1) * 1e4
            it.on_trades(event[0] * NS_PER_MS, event[1], reach, before)
            event = next(due, None)
        it.on_mid(ms * NS_PER_MS, mid)
        before = mid
    table = {row.depth_bps: row for row in it.rows()}
    for depth, (near, hold, rate) in expected.items():
        row_at = table[float(depth)]
        assert row_at.adverse_5s_bps == pytest.approx(near, abs=0.06)
        assert row_at.adverse_30s_bps == pytest.approx(hold, abs=0.06)
        assert row_at.fills_per_h is not None
        assert row_at.fills_per_h / 3600 / 2 == pytest.approx(rate, rel=0.02)
