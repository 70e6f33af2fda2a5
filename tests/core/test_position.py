"""Position and profit from fills alone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.events import Fill, Funding
from mmbot.core.position import Position
from mmbot.core.types import Side


def fill(tid: int, side: Side, px: int, lots: int, *, fee: float = 0.0, ms: int = 1000) -> Fill:
    return Fill(ms * 10**6, ms + tid, tid, 1, None, side, px, lots, fee, 0.0, 0, is_taker=False)


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
    position.apply(fill(2, Side.BUY, 100, 3, ms=2000))
    assert position.reconcile(5, 100.0, 1500) == 0
    assert position.lots == 8
    before = position.pnl_usd(120.0)
    assert position.reconcile(9, 120.0, 1500) == 4
    assert position.lots == 12
    assert position.pnl_usd(120.0) == pytest.approx(before, abs=1e-15)


def test_funding_is_booked_once_and_counts_as_income_when_received() -> None:
    """The event is a cost, the summary an income."""
    position = started()
    assert position.apply_funding(Funding(0, 2000, 0.25))
    assert not position.apply_funding(Funding(9, 2000, 0.25))
    assert position.apply_funding(Funding(0, 3000, -0.05))
    assert position.funding_usd == pytest.approx(-0.20)
    assert position.pnl_usd(1.0) == pytest.approx(-0.20)
