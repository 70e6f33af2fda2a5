"""The book keeps price-time priority and never crosses."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.types import Side, Tif
from mmbot.emulator.accounts import Account, Slot
from mmbot.emulator.assets import AssetState
from mmbot.emulator.matching import SELF_TRADE, MatchBook, Order
from mmbot.emulator.specs import AssetSpec, VenueParams
from mmbot.errors import InvariantError

SPEC = AssetSpec(name="X", sz_decimals=2, max_leverage=10, mark_px=1.0)


@dataclass
class Recorder:
    """A desk that allows everything but the oids it is told to refuse."""

    refused: dict[int, str] = field(default_factory=dict)
    executions: list[tuple[int, int, int]] = field(default_factory=list)
    drops: list[tuple[int, str]] = field(default_factory=list)

    def refusal(self, maker: Order, sz_lots: int) -> str | None:
        return self.refused.get(maker.oid)

    def dropped(self, maker: Order, status: str) -> None:
        self.drops.append((maker.oid, status))

    def executed(self, maker: Order, taker: Order, sz_lots: int) -> None:
        self.executions.append((maker.oid, maker.px_ticks, sz_lots))


def slots(count: int) -> list[Slot]:
    """Slots of different accounts in one asset."""
    asset = AssetState(SPEC, 0, 0)
    accounts = [Account(f"0x{n:040x}", VenueParams(), is_house=True) for n in range(count)]
    return [account.slot(asset, 1) for account in accounts]


def order(oid: int, slot: Slot, side: Side, px: int, sz: int) -> Order:
    """An order in ticks and lots."""
    return Order(oid, slot, side, px, sz, sz, Tif.GTC, 0)


def test_the_best_price_trades_first_and_within_it_the_oldest() -> None:
    """Queue position is what a maker pays for with patience; it must be honoured."""
    maker, taker = slots(2)
    book, desk = MatchBook(), Recorder()
    for oid, px in ((1, 101), (2, 100), (3, 100), (4, 102)):
        book.add(order(oid, maker, Side.SELL, px, 5))

    got = book.match(order(9, taker, Side.BUY, 101, 13), desk)

    assert got == 13
    assert desk.executions == [(2, 100, 5), (3, 100, 5), (1, 101, 3)]
    assert book.ask_ticks == 101
    assert book.asks[101].sz_lots == 2


def test_a_reduced_order_keeps_its_place() -> None:
    """A reduce-only order shrinks with the position without going to the back."""
    maker, taker = slots(2)
    book, desk = MatchBook(), Recorder()
    first = order(1, maker, Side.BUY, 50, 8)
    book.add(first)
    book.add(order(2, maker, Side.BUY, 50, 8))
    book.shrink(first, 3)

    book.match(order(9, taker, Side.SELL, 50, 4), desk)

    assert desk.executions == [(1, 50, 3), (2, 50, 1)]
    assert book.bids[50].sz_lots == 7


def test_own_orders_are_dropped_and_the_taker_goes_on() -> None:
    """The venue cancels the resting side of a self-trade; the taker reaches what is behind it."""
    mine, other = slots(2)
    book, desk = MatchBook(), Recorder()
    book.add(order(1, mine, Side.SELL, 100, 5))
    book.add(order(2, other, Side.SELL, 100, 5))

    got = book.match(order(9, mine, Side.BUY, 100, 5), desk)

    assert got == 5
    assert desk.drops == [(1, SELF_TRADE)]
    assert desk.executions == [(2, 100, 5)]
    assert book.ask_ticks is None


def test_a_maker_the_desk_refuses_is_dropped_with_its_status() -> None:
    """Margin is checked again at the match; to the taker the book is only thinner."""
    maker, taker = slots(2)
    book, desk = MatchBook(), Recorder(refused={1: "marginCanceled"})
    book.add(order(1, maker, Side.BUY, 100, 5))
    book.add(order(2, maker, Side.BUY, 99, 5))

    got = book.match(order(9, taker, Side.SELL, 99, 9), desk)

    assert got == 5
    assert desk.drops == [(1, "marginCanceled")]
    assert desk.executions == [(2, 99, 5)]


def test_taking_off_what_is_not_there_is_a_bug() -> None:
    """A lost order must stop the emulator, not leave phantom size."""
    (slot,) = slots(1)
    with pytest.raises(InvariantError, match="not on the book"):
        MatchBook().remove(order(1, slot, Side.BUY, 100, 5))


@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["order", "cancel"]),
            st.integers(0, 2),
            st.sampled_from([Side.BUY, Side.SELL]),
            st.integers(90, 110),
            st.integers(1, 20),
        ),
        max_size=60,
    )
)
def test_the_book_never_crosses_and_its_sums_hold(
    actions: list[tuple[str, int, Side, int, int]],
) -> None:
    """Whatever is sent, levels equal the orders in them and every lot is accounted for."""
    owners = slots(3)
    book, desk = MatchBook(), Recorder()
    live: dict[int, Order] = {}
    for oid, (kind, owner, side, px, sz) in enumerate(actions, start=1):
        if kind == "cancel":
            gone = next((o for o in live.values() if o.is_booked), None)
            if gone is not None:
                book.remove(gone)
            continue
        taker = order(oid, owners[owner], side, px, sz)
        before = len(desk.executions)
        got = book.match(taker, desk)
        assert got == sz - taker.sz_lots == sum(e[2] for e in desk.executions[before:])
        if taker.sz_lots:
            book.add(taker)
            live[oid] = taker

    bid, ask = book.bid_ticks, book.ask_ticks
    assert bid is None or ask is None or bid < ask
    booked = sorted(o.oid for o in live.values() if o.is_booked)
    assert sorted(o.oid for o in book.orders()) == booked
    for levels in (book.bids, book.asks):
        for px, level in levels.items():
            assert level.sz_lots == sum(o.sz_lots for o in level.orders.values()) > 0
            assert all(o.px_ticks == px for o in level.orders.values())
            assert list(level.orders) == sorted(level.orders)
    best_first = [level.px_ticks for level in book.levels(Side.BUY)]
    assert best_first == sorted(best_first, reverse=True)
