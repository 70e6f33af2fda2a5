"""Markouts by event: what is one observation, what a fill earned, and that the money adds up."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.book import BookState
from mmbot.core.events import Bbo, Fill, Level
from mmbot.core.markout import HORIZONS_S, Markouts
from mmbot.core.position import Position
from mmbot.core.types import Instrument, Side
from support import often

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
MID = 1_000_000


class Bench:
    """A book, the markouts and the fills told so far."""

    def __init__(self) -> None:
        self.book = BookState(HYPE)
        self.markouts = Markouts()
        self.tids = 0

    def mid(self, ms: int, ticks: int) -> None:
        self.book.apply(Bbo(ms * 10**6, ms, Level(ticks - 10, 1), Level(ticks + 10, 1)))
        self.markouts.advance(self.book)

    def fill(
        self,
        ms: int,
        side: Side,
        px: int,
        lots: int = 100,
        fee_usd: float = 0.0,
        *,
        is_taker: bool = False,
    ) -> Fill:
        self.tids += 1
        fill = Fill(
            ms * 10**6, ms, self.tids, 1, None, side, px, lots, fee_usd, 0.0, 0, is_taker=is_taker
        )
        self.markouts.on_fill(fill, self.book)
        return fill


@pytest.mark.parametrize("horizon_s", HORIZONS_S)
@pytest.mark.parametrize(("side", "after"), [(Side.BUY, 999_000), (Side.SELL, 1_001_000)])
def test_edge_is_capture_less_fee_less_adverse(horizon_s: int, side: Side, after: int) -> None:
    """4 bps from the mid, 1.5 of fee, then 10 against us: -7.5 at every horizon, both sides."""
    bench = Bench()
    bench.mid(1000, MID)
    px = MID - side * 400
    bench.fill(1001, side, px, 100, 1.5e-4 * MID * 100 * 1e-6)
    bench.mid(1002, after)
    bench.mid(1001 + horizon_s * 1000 + 1, after)
    stats = bench.markouts.at(horizon_s)
    assert stats.fills == 1
    assert stats.adverse_bps == pytest.approx(10.0)
    assert stats.edge_bps == pytest.approx(-7.5)
    assert stats.event_adverse_bps == pytest.approx(10.0)
    assert stats.event_edge_bps == pytest.approx(-7.5)
    assert stats.event_edge_se is None
    assert stats.notional_usd == pytest.approx(100.0)
    assert stats.edge_usd == pytest.approx(-0.075)
    assert bench.markouts.recent_edge(horizon_s) == pytest.approx((1, -7.5, None))
    later = [h for h in HORIZONS_S if h > horizon_s]
    assert all(bench.markouts.at(h).adverse_bps is None for h in later)


def test_seven_fills_of_one_message_are_one_event() -> None:
    """A ladder swept by one order must not look like seven losses."""
    bench = Bench()
    for i, rungs in enumerate((7, 1, 1)):
        start = 1000 + i * 400_000
        bench.mid(start, MID)
        for rung in range(rungs):
            bench.fill(start + 5, Side.SELL, MID + 300 + 100 * rung)
        bench.mid(start + 10, MID + (900 if rungs == 7 else 0))
        bench.mid(start + 301_000, MID)
    stats = bench.markouts.at(5)
    assert stats.fills == 9
    assert stats.events == 3
    assert bench.markouts.recent_edge(5) == pytest.approx((3, (6.0 - 9.0 + 3 + 3) / 3, 2.0))
    # Money counts the fills, not the events.
    assert stats.adverse_bps == pytest.approx(7 * 9.0 / 9)


def test_the_other_side_another_time_or_another_role_is_another_event() -> None:
    """Only what one taker order did in one message is merged."""
    bench = Bench()
    bench.mid(1000, MID)
    bench.fill(1005, Side.SELL, MID)
    bench.fill(1005, Side.BUY, MID)
    bench.fill(1006, Side.BUY, MID)
    bench.fill(1006, Side.BUY, MID, is_taker=True)
    bench.fill(1005, Side.SELL, MID)
    bench.mid(3000, MID)
    assert bench.markouts.at(1).fills == 5
    assert bench.markouts.at(1).events == 3


def test_taker_fills_count_in_money_but_are_no_adverse_selection() -> None:
    """A flatten pays the spread on purpose: it must not trip a guard on the quotes."""
    bench = Bench()
    bench.mid(1000, MID)
    bench.fill(1005, Side.SELL, MID - 500, fee_usd=0.045, is_taker=True)
    bench.mid(20_000, MID)
    stats = bench.markouts.at(5)
    assert stats.edge_usd == pytest.approx(-0.05 - 0.045)
    assert stats.events == 0
    assert stats.event_edge_bps is None
    assert bench.markouts.recent_edge() is None


def test_averages_over_events_forget_with_a_half_life_of_thirty() -> None:
    """Thirty-one events: the first weighs half of the last."""
    bench = Bench()
    for i in range(31):
        start = 1000 + i * 10_000
        bench.mid(start, MID)
        bench.fill(start + 5, Side.BUY, MID)
        bench.mid(start + 10, MID - (1000 if i == 0 else 0))
    bench.mid(400_000, MID)
    weights = [2 ** (-i / 30) for i in range(31)]
    assert bench.markouts.at(1).event_adverse_bps == pytest.approx(10 * 0.5 / sum(weights))


def test_the_error_takes_a_time_block_for_one_observation() -> None:
    """Twenty events: ten each in two blocks of 30 s, all alike inside a block."""
    bench = Bench()
    for block, drop in ((2, 400), (4, 0)):
        for i in range(10):
            ms = block * 30_000 + i * 100
            bench.mid(ms, MID)
            bench.fill(ms + 1, Side.BUY, MID)
        bench.mid(block * 30_000 + 2000, MID - drop)
        bench.mid(block * 30_000 + 40_000, MID - drop)
    recent = bench.markouts.recent_edge(30)
    assert recent is not None
    assert recent.events == 20
    assert recent.mean_bps == pytest.approx(-2.0)
    # Block sums of residuals are -20 and +20: sqrt(800 * 2) / 20.
    assert recent.se_bps == pytest.approx(sqrt(1600) / 20)


def test_only_the_last_twenty_events_are_recent() -> None:
    """A guard on edge looks at now; a bad start does not hang over the day."""
    bench = Bench()
    for i in range(30):
        start = 1000 + i * 10_000
        bench.mid(start, MID)
        bench.fill(start + 1, Side.BUY, MID)
        bench.mid(start + 2, MID - (2000 if i < 10 else 100))
        bench.mid(start + 9000, MID - (2000 if i < 10 else 100))
    recent = bench.markouts.recent_edge(5)
    assert recent is not None
    assert recent.events == 20
    assert recent.mean_bps == pytest.approx(-1.0)


def test_a_losing_session_is_three_errors_below_zero() -> None:
    """The recorded session: 24 events losing 4 bps each on average must be seen by the guard."""
    bench = Bench()
    losses = [6.0, 2.5, 4.0, 3.5, 5.0, 3.0] * 4
    for i, loss in enumerate(losses):
        start = 1000 + i * 60_000
        bench.mid(start, MID)
        bench.fill(start + 1, Side.SELL, MID + 360, 100, 1.5e-4 * 100)
        bench.mid(start + 2, MID + round((loss + 2.1) * 100))
        bench.mid(start + 9000, MID + round((loss + 2.1) * 100))
    recent = bench.markouts.recent_edge(5)
    assert recent is not None
    assert recent.se_bps is not None
    assert recent.mean_bps == pytest.approx(-sum(losses[-20:]) / 20, abs=1e-6)
    assert recent.mean_bps < -3 * recent.se_bps


def test_a_late_fill_takes_the_mids_of_its_own_time() -> None:
    """After a reconnect fills arrive that are seconds old; the mid of now is not theirs."""
    bench = Bench()
    bench.mid(1000, MID)
    bench.mid(2000, MID - 500)
    bench.mid(3000, MID - 900)
    bench.mid(50_000, MID + 5000)
    bench.fill(1500, Side.BUY, MID - 200)
    bench.mid(50_001, MID + 5000)
    assert bench.markouts.adverse_bps(1) == pytest.approx(5.0)
    assert bench.markouts.adverse_bps(30) == pytest.approx(9.0)
    assert bench.markouts.adverse_bps(60) is None
    assert bench.markouts.spread_capture_usd == pytest.approx(200 * 100 * 1e-6)


def test_an_unknown_horizon_is_refused() -> None:
    """Not answered with None, which means too young."""
    with pytest.raises(ValueError, match="got 7"):
        Bench().markouts.at(7)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["mid", "fill", "fill"]),
        st.integers(0, 4000),
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(-800, 800),
        st.integers(1, 5000),
        st.floats(-0.01, 0.2),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=often(60, thoroughly=200), deadline=None)
@given(steps=STEPS, with_first_mid=st.booleans(), end=st.integers(900_000, 1_100_000))
def test_edge_times_notional_is_the_change_of_equity(
    steps: list[tuple[str, int, Side, int, int, float]], with_first_mid: bool, end: int
) -> None:
    """
    Invariant 30, against the position's own books, fees and fills without a mid included.

    At the end-of-run horizon every fill is marked at one mid, so the sum of the edges is the
    profit: an inverted sign or a fee counted twice cannot pass.
    """
    bench, position = Bench(), Position()
    position.start(0, float(MID), 0)
    ms, mid = 1000, MID
    if with_first_mid:
        bench.mid(ms, mid)
    for kind, wait, side, distance, lots, fee_usd in steps:
        ms += wait
        if kind == "mid":
            mid += distance
            bench.mid(ms, mid)
        else:
            position.apply(bench.fill(ms, side, mid + distance, lots, fee_usd))
    ledger = bench.markouts.ledger(end)
    assert ledger.edge_usd == pytest.approx(position.pnl_usd(end), abs=1e-7)


@settings(max_examples=often(40, thoroughly=100), deadline=None)
@given(steps=STEPS)
def test_each_horizon_sums_to_the_money_of_its_own_mids(
    steps: list[tuple[str, int, Side, int, int, float]],
) -> None:
    """Once all fills are old: edge over a horizon is lots times (mid at it - price) less fees."""
    bench = Bench()
    ms, mid = 1000, MID
    bench.mid(ms, mid)
    mids, fills = [(ms, mid)], []
    for kind, wait, side, distance, lots, fee_usd in steps:
        ms += wait + 1
        if kind == "mid":
            mid += distance
            mids.append((ms, mid))
            bench.mid(ms, mid)
        else:
            fills.append(bench.fill(ms, side, mid + distance, lots, fee_usd))
    bench.mid(ms + 400_000, mid)
    for horizon_s in HORIZONS_S:
        expected = 0.0
        for fill in fills:
            after = [m for t, m in mids if t <= fill.venue_ms + horizon_s * 1000][-1]
            expected += fill.side * (after - fill.px_ticks) * fill.sz_lots * 1e-6 - fill.fee_usd
        stats = bench.markouts.at(horizon_s)
        assert stats.fills == len(fills)
        assert stats.edge_usd == pytest.approx(expected, abs=1e-7)


@settings(max_examples=often(25, thoroughly=60), deadline=None)
@given(steps=STEPS)
def test_the_mirrored_session_has_the_same_edges(
    steps: list[tuple[str, int, Side, int, int, float]],
) -> None:
    """Sides exchanged and prices reflected: the same figures while the mids reflect the start."""
    stats = []
    for sign in (1, -1):
        bench = Bench()
        ms, offset = 1000, 0
        bench.mid(ms, MID)
        for kind, wait, side, distance, lots, fee_usd in steps:
            ms += wait + 1
            if kind == "mid":
                # Back to the centre at once, so that every fill has the centre as its mid.
                bench.mid(ms, MID + sign * distance)
                ms += 1
                bench.mid(ms, MID)
            else:
                bench.fill(ms, Side(sign * side), MID + sign * distance, lots, fee_usd)
            offset += distance
        bench.mid(ms + 100, MID + sign * (offset % 997))
        bench.mid(ms + 400_000, MID)
        stats.append([bench.markouts.at(h) for h in HORIZONS_S])
    assert stats[0] == stats[1]
