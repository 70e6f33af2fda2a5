"""Queries in wire shape: listings, books, candles, fills; numbers as text, absent keys absent."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import mmbot.emulator
from mmbot.core.types import Side
from mmbot.emulator.candles import INTERVALS_MS
from mmbot.emulator.specs import DexSpec, VenueParams
from mmbot.emulator.venue import Venue
from mmbot.errors import ConfigError, InvariantError
from venue_kit import (
    ALICE,
    BOB,
    BTC,
    DEX_HYPE,
    FAR,
    HOUSE,
    HYPE,
    MAIN,
    START_MS,
    Kit,
    limit,
    trigger,
)

STRANGER = "0x" + "99" * 20


def test_ids_follow_the_place_in_the_unfiltered_lists() -> None:
    """A delisted asset keeps its place, and a builder dex counts from its own base."""
    kit = Kit()
    venue = kit.venue

    assert [row["name"] for row in venue.meta()["universe"]] == ["BTC", "ETH", "HYPE", "OLD"]
    assert venue.asset_id("OLD") == FAR
    assert venue.asset_id("hyna:HYPE") == DEX_HYPE == 110_000
    assert venue.asset_id("hype") is None
    dexs = venue.perp_dexs()
    assert dexs[0] is None
    assert dexs[1] is not None
    assert (dexs[1]["name"], "deployerFeeScale" in dexs[1]) == ("hyna", False)
    assert venue.meta("hyna")["collateralToken"] == 235


def test_flags_are_absent_unless_true() -> None:
    """`isDelisted`, `onlyIsolated` and growth mode have no false form on the wire."""
    kit = Kit()
    btc, _, _, old = kit.venue.meta()["universe"]
    hype, grow, isolated = kit.venue.meta("hyna")["universe"]

    assert btc == {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56}
    assert old["isDelisted"] is True
    assert (hype["deployerFeeScale"], "growthMode" in hype) == ("1.0", False)
    assert (grow["growthMode"], grow["deployerFeeScale"]) == ("enabled", "0.5")
    assert (isolated["onlyIsolated"], isolated["marginMode"]) == (True, "strictIsolated")
    tables = dict(kit.venue.meta()["marginTables"])
    assert tables[56]["marginTiers"][1] == {"lowerBound": "150000000.0", "maxLeverage": 20}
    assert len(tables[10]["marginTiers"]) == 1


def test_every_token_of_a_spot_pair_is_listed() -> None:
    """The official client fails to start on a pair whose token is missing."""
    spot = Kit().venue.spot_meta()
    known = {token["index"] for token in spot["tokens"]}

    assert known == {0, 235}
    assert all(set(pair["tokens"]) <= known for pair in spot["universe"])


def test_a_book_is_cut_and_grouped_away_from_the_mid() -> None:
    """Twenty levels, the best first; with figures, bids round down and asks up, sizes add up."""
    kit = Kit()
    for n in range(25):
        kit.house("B", 25.99 - n / 100, 1)
        kit.house("A", 26.01 + n / 100, 2)

    plain, grouped = kit.venue.l2_book("HYPE"), kit.venue.l2_book("HYPE", n_sig_figs=3)

    assert plain is not None
    assert grouped is not None
    bids, asks = plain["levels"]
    assert (len(bids), len(asks)) == (20, 20)
    assert (bids[0]["px"], bids[-1]["px"]) == ("25.99", "25.8")
    assert (asks[0]["px"], asks[-1]["px"]) == ("26.01", "26.2")
    assert "spread" not in plain
    assert grouped["levels"][0][0] == {"px": "25.9", "sz": "10.0", "n": 10}
    assert grouped["levels"][1][0] == {"px": "26.1", "sz": "20.0", "n": 10}
    assert grouped["spread"] == "0.02"
    assert kit.venue.l2_book("NOPE") is None


@pytest.mark.parametrize(("figures", "mantissa"), [(1, None), (6, None), (5, 1), (4, 2), (None, 2)])
def test_other_aggregations_are_refused(figures: int | None, mantissa: int | None) -> None:
    """The venue answers 500 to these; the caller asks first with `can_aggregate`."""
    kit = Kit()

    assert not kit.venue.can_aggregate(figures, mantissa)
    with pytest.raises(ConfigError, match="nSigFigs"):
        kit.venue.l2_book("HYPE", 20, figures, mantissa)


def test_a_mid_needs_both_sides() -> None:
    """Without a book `midPx` is null; `allMids` falls back on the last trade, then the mark."""
    kit = Kit()
    assert kit.venue.all_mids()["HYPE"] == "26.0"
    kit.house("A", 26.013, 1)
    kit.orders(ALICE, limit(HYPE, "B", "26.013", "1", "Ioc"))
    assert kit.venue.asset_ctx(HYPE)["midPx"] is None
    assert kit.venue.all_mids()["HYPE"] == "26.013"

    kit.house("B", 25.999, 1)
    kit.house("A", 26.0, 1)

    assert kit.venue.all_mids()["HYPE"] == kit.venue.asset_ctx(HYPE)["midPx"] == "25.9995"
    assert "OLD" not in kit.venue.all_mids()


def test_a_context_shows_interest_volume_and_impact() -> None:
    """Longs make the open interest; the day's volume counts each trade once."""
    kit = Kit()
    kit.house("B", 25.9, 1_000)
    kit.house("A", 26.1, 1_000)
    kit.orders(ALICE, limit(HYPE, "B", "26.1", "4", "Ioc"))
    kit.orders(BOB, limit(HYPE, "A", "25.9", "6", "Ioc"))

    ctx = kit.venue.asset_ctx(HYPE)

    assert ctx["openInterest"] == "6.0"
    assert ctx["dayBaseVlm"] == "10.0"
    assert ctx["dayNtlVlm"] == "259.8"
    assert ctx["impactPxs"] == ["25.9", "26.1"]
    assert ctx["premium"] == "0.0"
    kit.advance(86_400_000)
    assert kit.venue.asset_ctx(HYPE)["dayNtlVlm"] == "0.0"


def test_a_book_too_thin_for_the_impact_has_none() -> None:
    """Six thousand dollars a side, or null: an invented premium would set a funding rate."""
    kit = Kit()
    kit.house("B", 25.9, 10)
    kit.house("A", 26.1, 1_000)

    ctx = kit.venue.asset_ctx(HYPE)

    assert (ctx["impactPxs"], ctx["premium"]) == (None, None)


def test_candles_merge_minutes() -> None:
    """Open, high, low, close, volume and count over the interval; `T` is its last millisecond."""
    kit = Kit()
    start = START_MS - START_MS % 300_000 + 300_000
    kit.venue.advance(start)
    for px in (26.0, 26.2, 25.8, 26.1):
        kit.house("A", px, 1)
        kit.orders(ALICE, limit(HYPE, "B", f"{px}", "1", "Ioc"))
        kit.advance(60_000)

    rows = kit.venue.candle_snapshot("HYPE", "5m", start, start + 300_000)

    assert rows is not None
    (bar,) = [row for row in rows if row["t"] == start]
    assert (bar["o"], bar["h"], bar["l"], bar["c"]) == ("26.0", "26.2", "25.8", "26.1")
    assert (bar["T"], bar["s"], bar["i"]) == (start + 299_999, "HYPE", "5m")
    assert bar["n"] == len(kit.venue.recent_trades("HYPE", 100) or [])
    ones = kit.venue.candle_snapshot("HYPE", "1m", start, start + 300_000)
    assert ones is not None
    assert [row["t"] for row in ones] == [start + n * 60_000 for n in range(4)]
    assert sum(row["n"] for row in ones) == bar["n"]
    assert kit.venue.candle_snapshot("HYPE", "7m", 0, 1) is None
    assert INTERVALS_MS["1h"] == 3_600_000


def test_trades_name_aggressor_and_both_parties() -> None:
    """`users` is [buyer, seller], whoever was the taker."""
    kit = Kit()
    kit.rest(BOB, limit(HYPE, "B", "25.9", "4"))
    kit.orders(ALICE, limit(HYPE, "A", "25.9", "4", "Ioc"))

    (trade,) = kit.venue.recent_trades("HYPE") or []

    assert (trade["side"], trade["users"]) == ("A", [BOB, ALICE])
    assert (trade["px"], trade["sz"], trade["coin"]) == ("25.9", "4.0", "HYPE")
    assert isinstance(trade["tid"], int)


def test_fills_come_newest_first_and_may_be_merged_by_order() -> None:
    """One taker over three makers is one row when aggregated, at the average price."""
    kit = Kit()
    for px, size in ((26.0, 1), (26.1, 1), (26.2, 2)):
        kit.house("A", px, size)
    kit.orders(ALICE, limit(HYPE, "B", "26.2", "4", "Ioc"))
    kit.advance(5)
    kit.house("B", 26.0, 4)
    kit.orders(ALICE, limit(HYPE, "A", "26", "1", "Ioc"))

    plain, merged = kit.venue.user_fills(ALICE), kit.venue.user_fills(ALICE, aggregate=True)

    assert [row["px"] for row in plain] == ["26.0", "26.2", "26.1", "26.0"]
    assert [(row["px"], row["sz"]) for row in merged] == [("26.0", "1.0"), ("26.125", "4.0")]
    assert float(merged[1]["fee"]) == pytest.approx(sum(float(row["fee"]) for row in plain[1:]))
    ascending = kit.venue.user_fills_by_time(ALICE, 0)
    assert [row["time"] for row in ascending] == sorted(row["time"] for row in plain)
    assert kit.venue.user_fills_by_time(ALICE, START_MS + 1) == ascending[-1:]
    assert kit.venue.user_fills_by_time(ALICE, 0, is_reversed=True) == plain


def test_open_orders_show_triggers_only_to_the_frontend() -> None:
    """Plain `openOrders` has no trigger fields; the frontend form names type and condition."""
    kit = Kit()
    kit.house("A", 26.0, 4)
    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))
    kit.rest(ALICE, trigger(HYPE, "A", "24", "4", sl="25"))

    (plain,), (full,) = kit.venue.open_orders(ALICE), kit.venue.frontend_open_orders(ALICE)

    assert plain["reduceOnly"] is True
    assert not any("rigger" in key for key in plain)
    assert (full["orderType"], full["triggerPx"]) == ("Stop Market", "25.0")
    assert full["triggerCondition"] == "Price below 25"
    assert (full["isTrigger"], full["tif"], full["cloid"]) == (True, None, None)


def test_a_stranger_is_answered_with_nothing_and_gets_no_account() -> None:
    """The venue answers empty data for any address; reading must not fund it."""
    kit = Kit()
    venue = kit.venue

    assert venue.clearinghouse_state(STRANGER)["marginSummary"]["accountValue"] == "0.0"
    assert venue.open_orders(STRANGER) == venue.user_fills(STRANGER) == []
    assert venue.spot_state(STRANGER) == {"balances": []}
    assert venue.order_status(STRANGER, 1) == {"status": "unknownOid"}
    assert venue.user_rate_limit(STRANGER)["nRequestsCap"] == 10_000
    assert venue.user_fees(STRANGER)["userCrossRate"] == "0.00045"
    assert venue.sub_accounts(STRANGER) is None
    assert venue.user_abstraction(STRANGER) == "default"
    assert not venue.has_account(STRANGER)
    answer = venue.execute(STRANGER, {"type": "noop"}, signer=STRANGER, is_agent=False)
    assert answer["response"] == f"Must deposit before performing actions. User: {STRANGER}"


def test_house_accounts_trade_without_money_or_records() -> None:
    """The market around us is cheap: no margin, no least value, no fills of its own."""
    kit = Kit()

    tiny = kit.house("B", 25.9, 0.01)
    kit.house("B", 25.9, 1)
    crossing = kit.house("A", 25.9, 1)

    assert tiny.is_ok
    assert kit.house("B", 25.9012, 1).is_ok is False
    assert not crossing.is_ok
    assert kit.venue.user_fills(HOUSE) == []
    assert kit.venue.queue(HYPE, Side.BUY, 259_000) == (101, 2)
    assert tiny.oid is not None
    assert kit.venue.cancel(HOUSE, HYPE, oid=tiny.oid).is_ok
    assert kit.venue.touch(HYPE) == (259_000, None)


def test_time_runs_forward_only() -> None:
    """A clock that steps back would void every stamp after it."""
    kit = Kit()

    with pytest.raises(InvariantError, match="go back"):
        kit.venue.advance(START_MS - 1)


def test_a_listing_that_cannot_be_is_refused() -> None:
    """The main dex comes first, and a coin has one id."""
    with pytest.raises(ConfigError, match="main one"):
        Venue(VenueParams(), [DexSpec(name="xyz", assets=())], START_MS)
    with pytest.raises(ConfigError, match="listed twice"):
        Venue(VenueParams(), [MAIN, DexSpec(name="two", assets=MAIN.assets)], START_MS)


def numbers_of(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every leaf of a JSON value with the last key above it."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in numbers_of(item, key)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in numbers_of(item, path)]
    return [(path, value)]


def test_no_float_ever_reaches_the_wire() -> None:
    """Prices, sizes and money are text; only ids, times and counts are numbers."""
    kit = Kit()
    kit.house("B", 25.9, 1_000)
    kit.house("A", 26.1, 1_000)
    kit.orders(ALICE, limit(HYPE, "B", "26.1", "4", "Ioc"), limit(BTC, "B", "84000", "0.01"))
    kit.advance(3_600_000)
    venue = kit.venue
    answers = [
        venue.meta_and_ctxs(),
        venue.meta_and_ctxs("hyna"),
        venue.perp_dexs(),
        venue.all_mids(),
        venue.l2_book("HYPE"),
        venue.bbo("HYPE"),
        venue.recent_trades("HYPE"),
        venue.candle_snapshot("HYPE", "1m", 0, START_MS * 2),
        venue.funding_history("HYPE", 0),
        venue.predicted_fundings(),
        venue.spot_meta_and_ctxs(),
        venue.clearinghouse_state(ALICE),
        venue.spot_state(ALICE),
        venue.frontend_open_orders(ALICE),
        venue.historical_orders(ALICE),
        venue.user_fills(ALICE),
        venue.user_funding(ALICE, 0),
        venue.user_ledger(ALICE, 0),
        venue.user_rate_limit(ALICE),
        venue.user_fees(ALICE),
        venue.active_asset_data(ALICE, "HYPE"),
        venue.perp_dex_limits("hyna"),
        venue.perp_dex_status("hyna"),
        venue.referral(ALICE),
        venue.exchange_status(),
    ]

    for answer in answers:
        assert answer
        for key, value in numbers_of(answer):
            assert not isinstance(value, float), (key, value)


PURE = [
    *("accounts", "admission", "assets", "budgets", "candles", "dispatch", "fees", "funding"),
    *("leverage", "liquidation", "margin", "market_views", "matching", "numbers", "orders"),
    *("placing", "queries", "shapes", "specs", "state", "transfers", "triggers", "user_views"),
    "venue",
]
IMPURE = {"asyncio", "logging", "os", "pathlib", "random", "socket", "threading", "time"}


@pytest.mark.parametrize("name", PURE)
def test_the_venue_reads_no_clock_and_no_chance(name: str) -> None:
    """Two runs of one seed must agree to the last byte, so nothing here may look outside."""
    assert mmbot.emulator.__file__ is not None
    path = Path(mmbot.emulator.__file__).with_name(f"{name}.py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])

    assert not found & IMPURE
