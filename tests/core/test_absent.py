"""What is not there is said and changes nothing else; what cannot be done without is not quoted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from core.rig import Rig, params
from mmbot.core.events import AssetCtx, Bbo, Level, ReferencePx, Trades
from mmbot.core.quoter import Quote
from mmbot.core.types import NS_PER_S, Mode, Side

PX = 25.0
FEEDS = ("reference", "ctx", "trades")
_DEPENDENT = {"shift_cap_bps", "touch_bid_bps", "touch_ask_bps", "hold_bid_bps", "hold_ask_bps"}
"""What is bounded by, or brought to the touch after, the sum of all others."""


def tell(it: Rig, feeds: tuple[str, ...], step: int) -> None:
    """A second of the optional streams."""
    mid_px = it.instrument.px((it.bid_ticks + it.ask_ticks) / 2)
    for lead in (0.0, 2e-4):
        it.wait(0.01)
        if "reference" in feeds:
            it.apply(ReferencePx(it.now_ns, it.venue_ms, mid_px * (1 + lead)))
    if "ctx" in feeds:
        it.apply(AssetCtx(it.now_ns, mid_px, mid_px, 5e-5, 1e6, mid_px))
    if "trades" in feeds:
        side = Side.BUY if step % 2 else Side.SELL
        px = it.ask_ticks if side > 0 else it.bid_ticks
        ms = it.venue_ms
        it.apply(Trades(it.now_ns, ms, (ms,), (side,), (px,), (100,), (step + 1,)))


def quote_of(feeds: tuple[str, ...], lots: int = 200) -> tuple[Rig, Quote]:
    """
    Two minutes of a market that goes to and fro, and the quote at their end.

    The reference and the context come at the end alone: our orders rest elsewhere by them, and
    where they rest without a fill is evidence of the rate of fills.
    """
    early = tuple(feed for feed in feeds if feed == "trades")
    it = Rig(params(), position_lots=lots, fair_px=PX)
    for step in range(120):
        it.wait(1.0)
        it.set_fair(PX * (1 + 3e-4 * math.sin(step / 11)))
        tell(it, early, step)
        it.tell_book()
        it.settle()
    it.wait(1.1)
    tell(it, feeds, 120)
    it.tell_book()
    capture = it.decide().capture
    assert capture is not None
    return it, capture.view.quote


ABSENT: dict[str, Callable[[Quote], object]] = {
    "reference": lambda quote: quote.reference_bps,
    "ctx": lambda quote: quote.funding_bps,
}


@pytest.mark.parametrize("feed", ABSENT)
def test_without_an_optional_feed_its_term_is_absent_and_every_other_is_the_same(
    feed: str,
) -> None:
    """None in the record, 0 bps in the price, and the orders rest."""
    _, whole = quote_of(FEEDS)
    it, without = quote_of(tuple(each for each in FEEDS if each != feed))
    assert ABSENT[feed](whole) not in (None, 0.0)
    assert ABSENT[feed](without) is None
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)
    mine = "reference_bps" if feed == "reference" else "funding_bps"
    others = set(Quote.__struct_fields__) - _DEPENDENT - {mine}
    for name in sorted(others):
        assert getattr(without, name) == getattr(whole, name), name
    diagnostics: Any = it.engine.decide(it.now_ns + NS_PER_S).diagnostics
    assert getattr(diagnostics, mine) is None
    for fall in (*diagnostics.bids, *diagnostics.asks):
        assert getattr(fall, mine) is None
        terms = [n for n in fall.__struct_fields__ if n.endswith("_bps") and n != "depth_bps"]
        total = sum(getattr(fall, name) or 0.0 for name in terms)
        assert total == pytest.approx(fall.depth_bps, abs=1e-9)


def test_without_the_public_tape_the_priors_quote_and_the_rest_is_the_same() -> None:
    """Width and floor are those of the priors; nothing that comes from prices changes."""
    it, without = quote_of(("reference", "ctx"))
    _, whole = quote_of(FEEDS)
    assert it.engine.signals.vpin.value is None
    served = it.engine.signals.intensity.served
    first = quote_of_the_first_second()
    assert without.floor_bps == first.floor_bps
    assert served.events == 0
    for name in ("reference_bps", "inventory_skew_bps", "widening_bid_bps", "guard_bid_bps"):
        assert getattr(without, name) == getattr(whole, name), name
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)


def quote_of_the_first_second() -> Quote:
    it = Rig(params(), position_lots=200, fair_px=PX)
    capture = it.decide().capture
    assert capture is not None
    return capture.view.quote


def test_from_the_first_price_on_what_is_not_known_yet_is_absent_and_both_sides_rest() -> None:
    """A trend needs a past; the quote does not wait for it."""
    it = Rig(params(risk={"warm_s": 30.0}), fair_px=PX)
    capture = it.decide().capture
    assert capture is not None
    quote = capture.view.quote
    for name in ("funding_bps", "reference_bps", "opposed_bid_bps", "opposed_ask_bps"):
        assert getattr(quote, name) is None, name
    assert it.side(Side.BUY)
    assert it.side(Side.SELL)
    assert quote.half_bps >= 8.0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("missing", ["bid", "ask", "both", "locked"])
def test_without_two_prices_the_increasing_side_is_pulled_and_the_reducing_one_stays(
    missing: str, sign: int
) -> None:
    """There is no fair price to add at; what closes rests where it did."""
    it = Rig(params(), position_lots=sign * 300, fair_px=PX)
    it.settle()
    before = {o.cloid: o.px_ticks for o in it.side(Side(-sign))}
    assert before
    assert it.side(Side(sign))
    it.wait(0.2)
    bid, ask = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    books = {
        "bid": (None, ask),
        "ask": (bid, None),
        "both": (None, None),
        "locked": (ask, ask),
    }
    it.apply(Bbo(it.now_ns, it.venue_ms, *books[missing]))
    it.settle()
    assert not it.side(Side(sign))
    assert {o.cloid: o.px_ticks for o in it.side(Side(-sign))} == before
    assert it.engine.mode is Mode.RUNNING
    it.wait(0.2)
    it.tell_book()
    it.settle()
    assert it.side(Side(sign)), "and comes back with the price"
