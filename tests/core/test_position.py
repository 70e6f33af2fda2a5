"""Position and profit from fills alone."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.events import Fill, Funding
from mmbot.core.position import Position
from mmbot.core.types import Side

NOWHERE = 10**6
"""A position that no reading here has: such a fill tells nothing of what was held before it."""


def fill(
    tid: int,
    side: Side,
    px: int,
    lots: int,
    *,
    fee: float = 0.0,
    ms: int = 1000,
    start: int = NOWHERE,
) -> Fill:
    return Fill(ms * 10**6, ms + tid, tid, 1, None, side, px, lots, fee, 0.0, start, is_taker=False)


def started(lots: int = 0, mark: float = 262_000.0) -> Position:
    position = Position()
    position.start(lots, mark, 1000)
    return position


FILLS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(200_000, 300_000),
        st.integers(1, 500),
        st.floats(-0.01, 0.05),
    ),
    max_size=40,
)


@given(FILLS, st.integers(-500, 500), st.floats(200_000, 300_000))
def test_profit_is_cash_plus_position_at_the_mark_less_costs(
    fills: list[tuple[Side, int, int, float]], inherited: int, mark: float
) -> None:
    """The identity, against an independent count of cash in whole micro-dollars."""
    position = started(inherited, 262_000)
    cash, lots, fees = -inherited * 262_000, inherited, 0.0
    for tid, (side, px, size, fee) in enumerate(fills, 1):
        assert position.apply(fill(tid, side, px, size, fee=fee))
        cash -= side * size * px
        lots += side * size
        fees += fee
    expected = (cash + lots * mark) * 1e-6 - fees
    assert position.lots == lots
    assert position.pnl_usd(mark) == pytest.approx(expected, abs=1e-9)
    parts = position.realised_usd + position.unrealised_usd(mark) - position.fees_usd
    assert parts + position.funding_usd == pytest.approx(expected, abs=1e-9)
    assert position.bought_lots - position.sold_lots == lots - inherited


def test_realised_and_average_entry_follow_average_cost_through_a_flip() -> None:
    """Hand-computed: 2 at 100, 2 at 110, sell 3 at 120, sell 3 at 90."""
    position = started()
    for tid, (side, px, lots) in enumerate(
        [(Side.BUY, 100, 2), (Side.BUY, 110, 2), (Side.SELL, 120, 3), (Side.SELL, 90, 3)], 1
    ):
        position.apply(fill(tid, side, px, lots))
        if tid == 2:
            assert position.entry_ticks == 105
        if tid == 3:
            assert position.realised_usd == pytest.approx(45e-6)
    assert position.lots == -2
    assert position.entry_ticks == 90
    assert position.realised_usd == pytest.approx((45 - 15) * 1e-6)
    assert position.unrealised_usd(80) == pytest.approx(20e-6)


def test_a_fill_counts_once_and_its_identity_is_tid_oid_and_time() -> None:
    """Both sides of a trade share a tid; the same tid on another order is another fill."""
    position = started()
    first = fill(7, Side.BUY, 100, 5)
    assert position.apply(first)
    assert not position.apply(first)
    assert not position.apply(msgspec.structs.replace(first, is_snapshot=True, recv_ns=5))
    assert position.apply(msgspec.structs.replace(first, oid=2))
    assert position.lots == 10


def test_history_replayed_at_the_start_is_not_booked_but_later_fills_are() -> None:
    """The first snapshot's position contains all up to its time, and nothing after it."""
    position = Position()
    old, new = fill(1, Side.BUY, 100, 5, ms=998), fill(3, Side.BUY, 100, 2, ms=999)
    assert not position.apply(old)
    assert not position.apply(new)
    assert not position.apply_funding(Funding(0, 900, 0.1))
    assert not position.apply_funding(Funding(0, 1001, 0.2))
    fills, payments = position.start(5, 100.0, 1000)
    assert fills == [new]
    assert [payment.venue_ms for payment in payments] == [1001]
    assert position.apply(new)
    assert not position.apply(old)
    assert position.lots == 7


def test_an_inherited_position_enters_at_the_mark() -> None:
    """Profit is the change of equity since the start."""
    position = started(-300, 250_000)
    assert position.pnl_usd(250_000) == 0.0
    assert position.pnl_usd(251_000) == pytest.approx(-0.3)
    assert position.entry_ticks == 250_000


def test_reconciliation_adopts_the_venues_figure_without_inventing_profit() -> None:
    """Fills newer than the reading are not missing; unexplained lots come in at the mark."""
    position = started()
    position.apply(fill(1, Side.BUY, 100, 5, ms=1000))
    position.apply(fill(2, Side.BUY, 100, 3, ms=9000))
    assert position.reconcile(5, 100.0, 5000) == 0
    assert position.lots == 8
    before = position.pnl_usd(120.0)
    assert position.reconcile(9, 120.0, 5001) == 4
    assert (position.lots, position.adopted_lots) == (12, 4)
    assert position.pnl_usd(120.0) == pytest.approx(before, abs=1e-15)
    assert position.reconcile(9, 120.0, 5001) == 0


# -- readings that overtake fills, and fills that overtake readings -------------------------------


def ledger(fills: list[Fill], mark: float) -> float:
    """Profit of some fills since flat, counted from their cash alone."""
    cash = -sum(int(f.side) * f.sz_lots * f.px_ticks for f in fills)
    lots = sum(int(f.side) * f.sz_lots for f in fills)
    return (cash + lots * mark) * 1e-6 - sum(f.fee_usd for f in fills)


def test_a_fill_that_a_snapshot_already_held_counts_its_money_and_not_its_lots_again() -> None:
    """The account is read while the fill is on its way: doubled, the skew leans at a phantom."""
    position = started()
    assert position.reconcile(10, 1010.0, 60_000) == 10
    late = fill(1, Side.BUY, 1000, 10, fee=0.5, ms=59_000)
    assert position.apply(late)
    assert (position.lots, position.adopted_lots) == (10, 0)
    assert (position.fills, position.bought_lots) == (1, 10)
    assert position.fees_usd == 0.5
    assert position.entry_ticks == pytest.approx(1000)
    assert position.pnl_usd(1010.0) == pytest.approx(ledger([late], 1010.0), abs=1e-15)
    assert not position.apply(late)
    assert position.lots == 10


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_late_fills_settle_a_debt_in_any_order_with_both_signs(order: tuple[int, ...]) -> None:
    """A net of 6 lots: bought 4, sold 3, bought 5; the position stands at 6 throughout."""
    position = started()
    assert position.reconcile(6, 1010.0, 60_000) == 6
    late = [
        fill(1, Side.BUY, 1000, 4, ms=50_000),
        fill(2, Side.SELL, 1003, 3, ms=51_000),
        fill(3, Side.BUY, 1006, 5, ms=52_000),
    ]
    for number in order:
        position.apply(late[number])
        assert position.lots == 6
    assert position.adopted_lots == 0
    assert position.pnl_usd(1020.0) == pytest.approx(ledger(late, 1020.0), abs=1e-12)
    assert position.bought_lots - position.sold_lots == 6


def test_part_of_a_debt_stays_owed() -> None:
    """Ten lots adopted, a fill of three comes: seven are still without a fill, ten are held."""
    position = started()
    position.reconcile(-10, 1000.0, 60_000)
    position.apply(fill(1, Side.SELL, 1001, 3, ms=59_000))
    assert (position.lots, position.adopted_lots) == (-10, -7)


def test_a_fill_newer_than_the_snapshot_counts_in_full() -> None:
    """It cannot be in the figure, whatever is owed."""
    position = started()
    position.reconcile(10, 1000.0, 60_000)
    position.apply(fill(1, Side.BUY, 1001, 10, ms=63_000))
    assert (position.lots, position.adopted_lots) == (20, 10)


def test_a_fill_that_a_lagging_snapshot_does_not_show_yet_stays_booked() -> None:
    """The reading carries a time after the fill and a position from before it."""
    position = started()
    position.apply(fill(1, Side.BUY, 1000, 10, ms=59_500))
    assert position.reconcile(0, 1000.0, 60_000) == 0
    assert position.lots == 10
    # The other way: a fill stamped after the reading is in it all the same.
    position.apply(fill(2, Side.BUY, 1000, 4, ms=70_300))
    assert position.reconcile(14, 1000.0, 70_000) == 0
    assert position.lots == 14


def test_a_fill_tells_which_position_a_reading_is_of() -> None:
    """
    We hold 6 sold, a fill of 1 before it has not come, and a lagging reading shows that 1 alone.

    Taken at the time on it, the reading would un-book the 6, and leave 5 lots to buy too few.
    """
    position = started()
    position.apply(fill(2, Side.SELL, 1000, 6, ms=59_500, start=-1))
    assert position.reconcile(-1, 1000.0, 60_000) == -1
    assert position.lots == -7
    position.apply(fill(1, Side.SELL, 1000, 1, ms=59_400, start=0))
    assert (position.lots, position.adopted_lots) == (-7, 0)


def test_an_older_reading_after_a_newer_one_takes_nothing_back() -> None:
    """Two readings within the lag of each other may come from either end of it."""
    position = started()
    assert position.reconcile(24, 1000.0, 60_000) == 24
    assert position.reconcile(0, 1000.0, 60_140) == 0
    assert position.lots == 24
    assert position.reconcile(0, 1000.0, 70_000) == -24


def test_a_lagging_first_reading_does_not_hold_the_fills_it_does_not_show() -> None:
    """The session begins with the position before the last fill, under a time after it."""
    position = Position()
    old = fill(1, Side.BUY, 1000, 5, ms=50_000, start=0)
    held = fill(2, Side.BUY, 1000, 3, ms=59_000, start=5)
    late = fill(3, Side.BUY, 1000, 2, ms=59_500, start=8)
    for each in (old, held, late):
        assert not position.apply(each)
    fills, _ = position.start(8, 1000.0, 60_000)
    assert fills == [late]
    for each in (late, held, old):
        assert position.apply(each) == (each is late)
    assert position.lots == 10


def test_a_first_reading_that_holds_a_fill_of_after_its_time_is_not_added_to_by_it() -> None:
    """The position is of the answer, the time on it of the question."""
    position = Position()
    early = fill(1, Side.SELL, 1000, 3, ms=60_300, start=5)
    assert not position.apply(early)
    assert position.start(2, 1000.0, 60_000) == ([], [])
    assert not position.apply(early)
    assert position.lots == 2


def test_lots_that_are_explained_after_the_next_snapshot_are_paid_at_their_own_mark() -> None:
    """A second reading confirms the adopted lots; the fill behind them comes later still."""
    position = started()
    position.reconcile(10, 1010.0, 60_000)
    assert position.reconcile(10, 1050.0, 90_000) == 0
    late = fill(1, Side.BUY, 1000, 10, ms=59_000)
    position.apply(late)
    assert (position.lots, position.adopted_lots) == (10, 0)
    assert position.pnl_usd(1050.0) == pytest.approx(ledger([late], 1050.0), abs=1e-12)


@pytest.mark.parametrize("late_ms", [50_000, 59_000])
def test_a_debt_of_an_earlier_reading_is_settled_whatever_the_later_one_held(late_ms: int) -> None:
    """The second reading holds a fill from just after its time; then the first debt is paid."""
    position = started()
    assert position.reconcile(5, 1000.0, 60_000) == 5
    position.apply(fill(1, Side.BUY, 1000, 10, ms=90_300))
    assert position.reconcile(15, 1000.0, 90_000) == 0
    assert position.lots == 15
    position.apply(fill(2, Side.BUY, 1000, 5, ms=late_ms))
    assert (position.lots, position.adopted_lots) == (15, 0)


def test_a_debt_of_an_earlier_reading_grows_by_a_fill_against_it() -> None:
    """Five adopted lots were eight bought and three sold; the sale comes first."""
    position = started()
    position.reconcile(5, 1000.0, 60_000)
    position.apply(fill(1, Side.BUY, 1000, 10, ms=90_300))
    position.reconcile(15, 1000.0, 90_000)
    position.apply(fill(2, Side.SELL, 1000, 3, ms=50_000))
    assert (position.lots, position.adopted_lots) == (15, 8)
    position.apply(fill(3, Side.BUY, 1000, 8, ms=50_000))
    assert (position.lots, position.adopted_lots) == (15, 0)


def test_the_fills_of_one_block_are_in_a_reading_together() -> None:
    """A sweep is one moment: no reading is taken in the middle of it."""
    position = started()
    for tid, lots in ((1, 3), (2, 4)):
        position.apply(msgspec.structs.replace(fill(tid, Side.BUY, 1000, lots), venue_ms=59_500))
    assert position.reconcile(3, 1000.0, 60_000) == -4
    assert position.lots == 3


def test_a_position_inside_a_block_is_not_one_that_a_reading_can_show() -> None:
    """
    A block takes 14 to 12 by way of 7, and 7 is what the reading showed before it.

    Taken for proof of when the reading was made, the 7 in between would un-book what came before.
    """
    position = started()
    assert position.reconcile(7, 1000.0, 5_276) == 7
    assert position.reconcile(7, 1000.0, 5_339) == 0
    for tid, side, lots, ms, start in (
        (2, Side.BUY, 7, 5_500, 7),
        (3, Side.SELL, 7, 7_000, 14),
        (4, Side.BUY, 5, 7_000, 7),
        (1, Side.BUY, 7, 1_500, 0),
    ):
        booked = fill(tid, side, 1000, lots, ms=ms, start=start)
        position.apply(msgspec.structs.replace(booked, venue_ms=ms))
    assert position.lots == 12


def test_a_fill_without_size_is_never_booked() -> None:
    """The decoder refuses such a row; a negative one would turn a purchase into a sale."""
    position = started()
    for lots in (0, -5):
        assert not position.apply(fill(1, Side.BUY, 100, lots))
    assert (position.lots, position.fills, position.pnl_usd(100.0)) == (0, 0, 0.0)


HISTORY = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(900, 1100),
        st.integers(1, 20),
        st.integers(0, 4000),
    ),
    min_size=1,
    max_size=12,
)


@given(HISTORY, st.data())
def test_whatever_overtakes_what_the_end_is_the_venues_position_and_the_fills_money(
    history: list[tuple[Side, int, int, int]], data: st.DataObject
) -> None:
    """
    Fills arrive in any order and some twice; the account is read in between, a second off its own
    time. When everything has arrived nothing is adopted, and at no moment does the identity break.
    """
    ms, start = 10_000, 0
    fills: list[Fill] = []
    for tid, (side, px, lots, gap_ms) in enumerate(history, 1):
        ms += gap_ms + 1
        new = fill(tid, side, px, lots, fee=0.01, start=start)
        fills.append(msgspec.structs.replace(new, venue_ms=ms))
        start += side * lots
    order = data.draw(st.permutations(fills))
    read_before = data.draw(st.integers(0, len(order)))
    is_of_ms = data.draw(st.integers(9_000, ms + 1000))
    stamp_ms = is_of_ms + data.draw(st.integers(-1000, 1000))
    held = sum(int(f.side) * f.sz_lots for f in fills if f.venue_ms <= is_of_ms)

    position = started()
    for number in range(len(order) + 1):
        if number == read_before:
            position.reconcile(held, 1000.0, stamp_ms)
        if number < len(order):
            position.apply(order[number])
            position.apply(order[data.draw(st.integers(0, number))])
        total = position.realised_usd + position.unrealised_usd(1030.0) - position.fees_usd
        assert position.pnl_usd(1030.0) == pytest.approx(total, abs=1e-12)

    assert position.lots == sum(int(f.side) * f.sz_lots for f in fills)
    assert position.adopted_lots == 0
    assert position.pnl_usd(1030.0) == pytest.approx(ledger(fills, 1030.0), abs=1e-12)
    assert position.bought_lots - position.sold_lots == position.lots


@given(HISTORY, st.data())
def test_fills_long_before_a_reading_never_move_the_position_when_they_come(
    history: list[tuple[Side, int, int, int]], data: st.DataObject
) -> None:
    """Several readings of a settled account: each stands from its moment on."""
    fills = [
        msgspec.structs.replace(fill(tid, side, px, lots), venue_ms=10_000 + at_ms)
        for tid, (side, px, lots, at_ms) in enumerate(history, 1)
    ]
    held = sum(int(f.side) * f.sz_lots for f in fills)
    position = started()
    position.reconcile(held, 1000.0, 60_000)
    for number, each in enumerate(data.draw(st.permutations(fills)), 1):
        if data.draw(st.booleans()):
            assert position.reconcile(held, 1000.0 + number, 60_000 + number * 10_000) == 0
        position.apply(each)
        assert position.lots == held
    assert position.adopted_lots == 0
    assert position.pnl_usd(1030.0) == pytest.approx(ledger(fills, 1030.0), abs=1e-12)


def test_funding_is_booked_once_and_counts_as_income_when_received() -> None:
    """The event is a cost, the summary an income."""
    position = started()
    assert position.apply_funding(Funding(0, 2000, 0.25))
    assert not position.apply_funding(Funding(9, 2000, 0.25))
    assert position.apply_funding(Funding(0, 3000, -0.05))
    assert position.funding_usd == pytest.approx(-0.20)
    assert position.pnl_usd(1.0) == pytest.approx(-0.20)
