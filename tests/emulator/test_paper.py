"""An account on paper: what the told market does to its orders, by the venue's own word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.events import AssetCtx, Bbo, Book, Level, Trades
from mmbot.core.types import NS_PER_MS, Instrument, Side, Tif
from mmbot.emulator.funding import HOUR_MS, due_after
from mmbot.emulator.paper import PaperMarket, paper_exchange
from mmbot.emulator.papering import PaperParams
from mmbot.emulator.specs import NewOrder, OrderResult
from mmbot.emulator.wire import Exchange
from support import often

USER = "0x" + "ab" * 20
START_MS = 497_635 * HOUR_MS
COIN = Instrument(coin="WLFI", asset_id=3, sz_decimals=0, max_leverage=5)
BID, ASK, STEP = 186_400, 186_500, 10
LOTS = 1000


class Table:
    """An exchange on paper, and the market as a test tells it, a frame at a time."""

    def __init__(
        self, *, coin: Instrument = COIN, queue_factor: float = 1.0, usd: float = 100_000.0
    ) -> None:
        made = paper_exchange(
            coin,
            PaperParams(
                order_latency_ms=100, feed_lag_ms=100, reply_latency_ms=0, queue_factor=queue_factor
            ),
            user=USER,
            agent="0x" + "cd" * 20,
            equity_usd=usd,
            mark_px=coin.px(BID),
            oracle_px=coin.px(BID),
            now_ms=START_MS,
        )
        self.exchange: Exchange = made[0]
        self.market: PaperMarket = made[1]
        self.coin = coin
        self.ms = START_MS
        self._tid = 0

    @property
    def venue(self) -> Any:
        """Its books."""
        return self.exchange.venue

    def at(self, ms: int) -> Table:
        """Go to so many ms after the start."""
        self.ms = START_MS + ms
        self.exchange.advance(self.ms)
        return self

    def book(
        self, *, bid: int = BID, ask: int = ASK, lots: int = 500, dated: int | None = None
    ) -> Table:
        """Three levels a side; dated now unless told otherwise."""
        bids, asks = (
            tuple(Level(px - sign * STEP * i, lots * (i + 1)) for i in range(3))
            for px, sign in ((bid, 1), (ask, -1))
        )
        when = self.ms if dated is None else START_MS + dated
        self._see(Book(self.ms * NS_PER_MS, when, bids, asks, is_fast=True))
        return self

    def touch(self, bid: int, ask: int, lots: int = 500) -> Table:
        """Best prices."""
        self._see(Bbo(self.ms * NS_PER_MS, self.ms, Level(bid, lots), Level(ask, lots)))
        return self

    def trade(
        self, side: Side, px: int, lots: int, *, dated: int | None = None, tid: int | None = None
    ) -> Table:
        """A trade of others."""
        self._tid += 1
        when = self.ms if dated is None else START_MS + dated
        row = (when,), (side,), (px,), (lots,), (self._tid if tid is None else tid,)
        self._see(Trades(self.ms * NS_PER_MS, when, *row))
        return self

    def place(
        self, side: Side, px: int, lots: int = LOTS, tif: Tif = Tif.ALO, *, reduce: bool = False
    ) -> OrderResult:
        """An order that comes in now."""
        order = NewOrder(self.coin.asset_id, side, px, lots, tif, reduce)
        result: OrderResult = self.venue.submit(USER, order)
        return result

    def filled(self) -> int:
        """Lots of all fills."""
        rows = self.venue.user_fills(USER, aggregate=False)
        return sum(round(float(row["sz"])) for row in rows)

    def _see(self, event: Any) -> None:
        self.exchange.advance(self.ms)
        self.market.see(event)


# -- the queue -----------------------------------------------------------------------------------


def test_an_order_is_filled_by_what_exceeds_the_queue_before_it() -> None:
    """Who comes last at a price is served last."""
    table = Table().at(0).book().at(1000)
    assert table.place(Side.BUY, BID).is_ok

    table.at(2000).trade(Side.SELL, BID, 400)
    assert table.filled() == 0
    table.at(2100).trade(Side.SELL, BID, 300)
    assert table.filled() == 200
    table.at(2200).trade(Side.SELL, BID - STEP, 5000)
    assert table.filled() == LOTS


def test_the_largest_size_while_it_was_on_its_way_stands_before_it() -> None:
    """What a book shows for a moment may be what the venue had when the order came in."""
    table = Table().at(0).book().at(1000).book(lots=3000).at(1050).book(lots=500).at(1100)
    table.place(Side.BUY, BID)

    table.at(2000).trade(Side.SELL, BID, 3000)
    assert table.filled() == 0
    table.at(2100).trade(Side.SELL, BID, 100)
    assert table.filled() == 100


def test_a_trade_that_a_known_book_holds_already_shortens_no_queue() -> None:
    """Streams overtake each other: the book with the trade in it may come before the trade."""
    table = Table().at(0).book().at(1000).book(lots=500)
    table.place(Side.BUY, BID)

    table.at(1100).trade(Side.SELL, BID, 5000, dated=990)
    table.at(1200).trade(Side.SELL, BID - STEP, 5000, dated=1000)
    assert table.filled() == 0
    table.at(1300).trade(Side.SELL, BID, 600, dated=1001)
    assert table.filled() == 100


def test_one_trade_fills_no_more_than_its_size() -> None:
    """Three rungs and one taker of 1,500."""
    table = Table().at(0).book().at(1000)
    for rung in range(3):
        table.place(Side.SELL, ASK - STEP * (rung + 1))

    table.at(2000).trade(Side.BUY, ASK + STEP, 1500)
    assert table.filled() == 1500


def test_nothing_ahead_is_forgotten_when_it_is_multiplied() -> None:
    """`queue_factor` is how a person says that a market hides size."""
    table = Table(queue_factor=3.0).at(0).book().at(1000)
    table.place(Side.BUY, BID)

    table.at(2000).trade(Side.SELL, BID, 1500)
    assert table.filled() == 0


@settings(max_examples=often(50, thoroughly=150), deadline=None)
@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=12),
    shown=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    rungs=st.integers(1, 3),
)
def test_no_lot_is_filled_before_all_that_was_ahead_has_traded(
    sizes: list[int], shown: list[int], rungs: int
) -> None:
    """Whatever the books did on the way: the largest of them, then what we have there ourselves."""
    table = Table().at(0).book(lots=shown[0])
    for n, lots in enumerate(shown):
        table.at(1000 + 10 * n).book(lots=lots)
    for _ in range(rungs):
        table.place(Side.BUY, BID)
    traded = 0
    for n, lots in enumerate(sizes):
        traded += lots
        table.at(2000 + 10 * n).trade(Side.SELL, BID, lots)

    assert table.filled() == min(rungs * LOTS, max(0, traded - max(shown)))
    assert table.venue.imbalance_u("USDC") == 0


# -- coming in -----------------------------------------------------------------------------------


def test_post_only_is_refused_if_the_market_was_there_on_its_way() -> None:
    """It came back before the order arrived, or after: nobody knows."""
    table = Table().at(0).book().at(1000).touch(BID - 90, BID - STEP).at(1060).touch(BID, ASK)

    result = table.at(1100).place(Side.BUY, BID)

    assert result.error is not None
    assert result.error.startswith("Post only order would have immediately matched, bbo was")
    assert table.at(3000).place(Side.BUY, BID).is_ok


def test_margin_and_leverage_hold_on_paper() -> None:
    """100 USD at 5x carry 500 USD, and no more."""
    table = Table(usd=100.0).at(0).book().at(1000)
    body = {"type": "updateLeverage", "asset": 3, "isCross": True, "leverage": 5}
    table.venue.execute(USER, body, signer=USER, is_agent=False)
    assert table.place(Side.BUY, BID, 2600).is_ok

    result = table.place(Side.BUY, BID, 200)
    assert result.error is not None
    assert result.error.startswith("Insufficient margin")


def test_a_taker_gets_what_is_visible_and_gets_it_once() -> None:
    """Size that we took is still in the next touch, because nobody took it there."""
    table = Table().at(0).book(lots=500).at(1000)

    first = table.place(Side.BUY, ASK + STEP, 5000, Tif.IOC)
    assert (first.filled_lots, first.avg_px_ticks) == (1500, (500 * ASK + 1000 * (ASK + 10)) / 1500)
    table.at(1100).touch(BID, ASK)
    assert not table.place(Side.BUY, ASK + STEP, 5000, Tif.IOC).is_ok
    table.at(1200).book(lots=500)
    assert table.place(Side.BUY, ASK, 5000, Tif.IOC).filled_lots == 500


# -- a market beyond us --------------------------------------------------------------------------


@pytest.mark.parametrize("beyond", [0, 1, 38])
@pytest.mark.parametrize("is_touch", [True, False])
def test_an_order_that_the_market_is_seen_beyond_is_filled_at_its_price(
    beyond: int, is_touch: bool
) -> None:
    """Whoever rests an ask at our bid or below it would have hit us: those fills lose money."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)
    table.place(Side.BUY, BID - 90 * STEP)
    ask = BID - beyond * STEP

    table.at(2000)
    if is_touch:
        table.touch(ask - STEP, ask, lots=1)
    else:
        table.book(bid=ask - STEP, ask=ask, lots=1)

    (fill,) = table.venue.user_fills(USER, aggregate=False)
    assert (float(fill["px"]), float(fill["sz"])) == (COIN.px(BID), LOTS)
    assert not fill["crossed"]
    assert table.market.crossed_orders == 1
    assert table.venue.imbalance_u("USDC") == 0
    # The trade that moved it may be told after the book that it made; it has met us already.
    table.at(2050).trade(Side.SELL, BID, 5000, dated=1999)
    assert table.filled() == LOTS


def test_an_order_that_the_mid_has_moved_past_is_filled() -> None:
    """Nobody crosses it in a market without it; in one with it, it is the price to take."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)

    table.at(2000).touch(BID - 2 * STEP, BID + 3 * STEP)
    assert table.filled() == 0
    table.at(3000).touch(BID - 2 * STEP, BID + 2 * STEP)
    assert table.filled() == LOTS


def test_an_order_that_came_in_at_the_mid_waits_there() -> None:
    """It betters a narrow market by a tick, which is how one quotes: nothing has moved past it."""
    table = Table().at(0).touch(BID - STEP, BID + STEP).at(1000)
    table.place(Side.BUY, BID)

    table.at(2000).touch(BID - STEP, BID + STEP)
    table.at(3000).touch(BID - 2 * STEP, BID + STEP)
    assert table.filled() == 0
    table.at(4000).touch(BID - STEP, BID + 2 * STEP)
    table.at(5000).touch(BID - STEP, BID + STEP)
    assert table.filled() == LOTS


def test_a_book_from_before_an_order_came_in_does_not_fill_it() -> None:
    """It tells of a market that the order never met: the venue had gone on when it came."""
    table = Table().at(0).book().at(1000)
    table.at(3000).place(Side.BUY, BID)

    table.at(3100).book(bid=BID - 4 * STEP, ask=BID - 2 * STEP, dated=2900)
    assert table.filled() == 0
    table.at(3200).book(bid=BID - 4 * STEP, ask=BID - 2 * STEP, dated=3001)
    assert table.filled() == LOTS


def test_what_only_reduces_is_filled_no_further_than_flat() -> None:
    """A market far beyond two of them turns no position round."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)
    table.at(2000).trade(Side.SELL, BID - STEP, 5000)
    table.place(Side.SELL, ASK, 700)
    table.place(Side.SELL, ASK + STEP, 700, reduce=True)

    table.at(3000).book(bid=ASK + 40 * STEP, ask=ASK + 41 * STEP)

    state = table.venue.clearinghouse_state(USER, "")
    assert all(float(p["position"]["szi"]) == 0 for p in state["assetPositions"])
    assert table.filled() == 2 * LOTS
    assert table.venue.open_orders(USER, "") == []


# -- what is told late ---------------------------------------------------------------------------


def test_a_trade_from_before_an_order_came_in_does_not_fill_it_after_a_stall() -> None:
    """The line stood still for two seconds, the venue did not."""
    table = Table().at(0).book().at(1000)
    table.at(3000).place(Side.BUY, BID)

    table.at(3100).trade(Side.SELL, BID, 2000, dated=1500)
    table.trade(Side.SELL, BID - STEP, 2000, dated=2999)
    assert table.filled() == 0
    table.at(3200).trade(Side.SELL, BID, 600, dated=3001)
    assert table.filled() == 100


def test_a_clock_that_was_set_forward_is_understood_after_some_minutes() -> None:
    """Ours is not the venue's: what counts is how late a frame is beside the promptest of late."""
    table = Table().at(0).book().at(1000)
    table.at(20_000).book(dated=10_000)
    for minute in range(1, 13):
        table.at(20_000 + 60_000 * minute).book(dated=10_000 + 60_000 * minute)
    table.place(Side.BUY, BID)

    table.at(800_000).trade(Side.SELL, BID, 600, dated=790_000)

    assert table.filled() == 100


def test_an_order_before_any_price_is_refused() -> None:
    """Nobody knows what stands before it, or whether it would have matched."""
    table = Table().at(1000)

    result = table.place(Side.BUY, BID)

    assert not result.is_ok
    table.at(2000).trade(Side.SELL, BID, 2000)
    assert table.filled() == 0


# -- a hole --------------------------------------------------------------------------------------


def test_an_order_that_the_market_has_passed_unseen_is_filled() -> None:
    """Otherwise a line that breaks in every fall would make paper rich."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)
    table.place(Side.BUY, BID - 5 * STEP)

    table.at(9000).book(bid=BID - 4 * STEP, ask=BID - 2 * STEP)

    assert table.filled() == LOTS


def test_a_hole_that_ends_with_what_is_old_is_still_no_gift() -> None:
    """The first frame of a new line may be a book from before the hole."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)

    table.at(9000).book(bid=BID, ask=BID + STEP, dated=500)
    assert table.filled() == 0
    table.at(9100).book(bid=BID - 4 * STEP, ask=BID - 2 * STEP)

    assert table.filled() == LOTS


def test_trades_that_a_new_subscription_repeats_count_once() -> None:
    """The venue sends those of the last 20 seconds again."""
    table = Table().at(0).book().at(1000)
    table.place(Side.BUY, BID)
    table.at(2000).trade(Side.SELL, BID, 600, tid=7)

    table.at(4000).trade(Side.SELL, BID, 600, tid=7, dated=2000)
    assert table.filled() == 100
    table.trade(Side.SELL, BID, 50, tid=8, dated=3000)
    assert table.filled() == 150


# -- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_h", [0.0004, -0.0001])
def test_funding_is_paid_at_the_rate_that_was_told_last(per_h: float) -> None:
    """The premium of a book that only we are in would be nonsense."""
    table = Table().at(0).book().at(1000)
    px = COIN.px(BID)
    table.market.see(AssetCtx(0, px, px, per_h, 0.0))
    table.place(Side.BUY, BID)
    table.at(2000).trade(Side.SELL, BID - STEP, 5000)

    table.at(due_after(table.ms) - START_MS)

    (row,) = table.venue.user_funding(USER, 0, 2**53)
    assert float(row["delta"]["usdc"]) == pytest.approx(-per_h * px * LOTS, abs=2e-6)


def test_a_hole_of_hours_pays_the_funding_of_each_of_them() -> None:
    """A position does not get cheaper by not being watched."""
    table = Table().at(0).book().at(1000)
    px = COIN.px(BID)
    table.market.see(AssetCtx(0, px, px, 0.0004, 0.0))
    table.place(Side.BUY, BID)
    table.at(2000).trade(Side.SELL, BID - STEP, 5000)

    table.at(3 * HOUR_MS + 60_000).book()

    rows = table.venue.user_funding(USER, 0, 2**53)
    paid = [float(row["delta"]["usdc"]) for row in rows if row["time"] > START_MS + 2000]
    assert paid == pytest.approx([-0.0004 * px * LOTS] * 3, abs=2e-6)


@pytest.mark.parametrize(
    ("scale", "multiplier", "growth"), [(0.0, 1.0, False), (0.5, 0.15, True), (1.5, 3.0, False)]
)
def test_a_new_account_pays_the_base_rate_times_what_the_dex_adds(
    scale: float, multiplier: float, growth: bool
) -> None:
    """1.5 bps, the dex's own share and growth mode, by the ids of the real lists."""
    coin = Instrument(
        coin="xyz:ABC",
        dex="xyz",
        asset_id=120_003,
        sz_decimals=0,
        max_leverage=5,
        fee_multiplier=multiplier,
        growth_mode=growth,
    )
    table = Table(coin=coin).at(0).book().at(1000)
    table.place(Side.BUY, BID)
    table.at(2000).trade(Side.SELL, BID - STEP, 5000)

    (row,) = table.venue.user_fills(USER, aggregate=False)
    factor = (1 + scale if scale < 1 else 2 * scale) * (0.1 if growth else 1)
    assert float(row["fee"]) == pytest.approx(coin.px(BID) * LOTS * 1.5e-4 * factor, abs=2e-6)
    assert row["coin"] == "xyz:ABC"


def test_a_fall_liquidates_on_paper_as_well() -> None:
    """Into the visible book, at its prices, with the mark it was told."""
    table = Table(usd=60.0).at(0).book().at(1000)
    body = {"type": "updateLeverage", "asset": 3, "isCross": True, "leverage": 5}
    table.venue.execute(USER, body, signer=USER, is_agent=False)
    assert table.place(Side.BUY, BID).is_ok
    table.at(2000).trade(Side.SELL, BID - STEP, 5000)
    assert table.filled() == LOTS

    table.at(3000).book(bid=140_000, ask=140_100)
    table.market.see(AssetCtx(0, 0.14, 0.14, 0.0, 0.0))

    state = table.venue.clearinghouse_state(USER, "")
    assert all(float(p["position"]["szi"]) == 0 for p in state["assetPositions"])
    assert table.venue.imbalance_u("USDC") == 0


def test_only_the_key_of_the_run_is_taken_and_only_for_the_test_network() -> None:
    """A signature made on paper is good nowhere, and none made elsewhere is good here."""
    table = Table()
    body = {
        "action": {"type": "scheduleCancel"},
        "nonce": START_MS,
        "signature": {"r": "0x1", "s": "0x1", "v": 27},
    }
    answer = table.exchange.http("POST", "/exchange", "application/json", msgspec.json.encode(body))
    assert b'"status":"err"' in answer.body
    assert table.exchange.params.network == "b"
    assert table.exchange.params.is_network_strict
