"""Fees, funding, transfers, halts, budgets: where money moves, and that it adds up."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.types import Side, Tif
from mmbot.emulator.budgets import limit as request_limit
from mmbot.emulator.fees import charged_rate
from mmbot.emulator.funding import HOUR_MS, due_after, rate_per_h
from mmbot.emulator.specs import FundingRecord, VenueParams
from support import often
from venue_kit import (
    ALICE,
    BOB,
    BTC,
    DEX_GROWTH,
    DEX_HYPE,
    DEX_ISOLATED,
    ETH,
    HYPE,
    START_MS,
    Kit,
    cloid_text,
    fills,
    limit,
    prints,
    trigger,
    updates,
)

BUILDER = "0x" + "bb" * 20


# -- fees ------------------------------------------------------------------------------------------


def test_both_sides_of_a_match_share_tid_and_hash_and_pay_their_own_fee() -> None:
    """Taker 4.5 bps, maker 1.5 bps of $104, six decimals; `crossed` tells who took."""
    kit = Kit()
    kit.rest(BOB, limit(HYPE, "A", "26", "4", "Alo", cloid=5))
    kit.venue.drain()

    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))

    events = kit.venue.drain()
    (mine,), (theirs,), (trade,) = fills(events, ALICE), fills(events, BOB), prints(events)
    assert (mine["fee"], theirs["fee"]) == ("0.0468", "0.0156")
    assert (mine["crossed"], theirs["crossed"]) == (True, False)
    assert mine["tid"] == theirs["tid"] == trade.tid < 2**50
    assert mine["hash"] == theirs["hash"] == trade.hash
    assert (trade.buyer, trade.seller, trade.side) == (ALICE, BOB, Side.BUY)
    assert (mine["side"], theirs["side"]) == ("B", "A")
    assert theirs["cloid"] == cloid_text(5)
    assert "cloid" not in mine
    assert mine["feeToken"] == "USDC"


def test_a_fill_tells_where_it_started_and_what_it_did() -> None:
    """startPosition, dir and closedPnl through opening, adding, closing and turning."""
    kit = Kit()
    steps = [
        ("B", "26", "4"),
        ("B", "26", "2"),
        ("A", "27", "3"),
        ("A", "25", "5"),
        ("B", "25", "2"),
    ]
    for side, px, size in steps:
        kit.house("A" if side == "B" else "B", float(px), float(size))
        kit.orders(ALICE, limit(HYPE, side, px, size, "Ioc"))

    rows = [
        (row["startPosition"], row["dir"], row["closedPnl"])
        for row in reversed(kit.venue.user_fills(ALICE))
    ]
    assert rows == [
        ("0.0", "Open Long", "0.0"),
        ("4.0", "Open Long", "0.0"),
        ("6.0", "Close Long", "3.0"),
        ("3.0", "Long > Short", "-3.0"),
        ("-2.0", "Close Short", "0.0"),
    ]


@pytest.mark.parametrize(
    ("asset_id", "maker_bps", "taker_bps"),
    [(HYPE, 1.5, 4.5), (DEX_HYPE, 3.0, 9.0), (DEX_GROWTH, 0.225, 0.675)],
)
def test_fees_follow_the_assets_scale_and_growth_mode(
    asset_id: int, maker_bps: float, taker_bps: float
) -> None:
    """The table of the notes: main dex, scale 1, and scale 0.5 under growth."""
    kit = Kit()
    for user in (ALICE, BOB):
        kit.venue.open_account(user, usd=1_000, dex="hyna")
    kit.rest(BOB, limit(asset_id, "A", "26", "10", "Alo"))

    kit.orders(ALICE, limit(asset_id, "B", "26", "10", "Ioc"))

    token = "USDC" if asset_id == HYPE else "USDE"
    (mine,), (theirs,) = kit.venue.user_fills(ALICE), kit.venue.user_fills(BOB)
    assert float(mine["fee"]) == pytest.approx(260 * taker_bps / 1e4, abs=1e-6)
    assert float(theirs["fee"]) == pytest.approx(260 * maker_bps / 1e4, abs=1e-6)
    assert (mine["feeToken"], theirs["feeToken"]) == (token, token)
    assert kit.balanced()


def test_a_rebate_is_not_multiplied_by_the_deployers_scale() -> None:
    """A negative maker rate is only cut by growth mode; the fee row is negative."""
    kit = Kit()
    kit.venue.open_account(ALICE, usd=1_000, dex="hyna")
    kit.venue.open_account(BOB, usd=1_000, dex="hyna")
    kit.venue.set_rates(BOB, taker=None, maker=-0.00003)
    kit.rest(BOB, limit(DEX_HYPE, "A", "26", "10", "Alo"))

    kit.orders(ALICE, limit(DEX_HYPE, "B", "26", "10", "Ioc"))

    assert kit.venue.user_fills(BOB)[0]["fee"] == "-0.0078"
    assert charged_rate(-0.00003, kit.venue.asset(DEX_GROWTH), 0.04) == pytest.approx(-0.000003)


def test_volume_of_past_days_lowers_the_rate_from_the_next_day_on() -> None:
    """More than 5 M in fourteen days is tier 1; today's own trades do not count yet."""
    kit = Kit(usd=10_000_000)
    kit.rest(BOB, limit(BTC, "A", "84150", "60", "Alo"))
    kit.orders(ALICE, limit(BTC, "B", "84150", "60", "Ioc"))
    assert kit.venue.user_fees(ALICE)["userCrossRate"] == "0.00045"

    kit.advance(86_400_000)

    fees = kit.venue.user_fees(ALICE)
    assert (fees["userCrossRate"], fees["userAddRate"]) == ("0.0004", "0.00012")
    assert sum(float(row["userCross"]) for row in fees["dailyUserVlm"]) == 60 * 84_150
    kit.advance(15 * 86_400_000)
    assert kit.venue.user_fees(ALICE)["userCrossRate"] == "0.00045"


def test_a_referral_takes_four_percent_off_positive_fees() -> None:
    """`userFees` shows it beside the rate, not in it."""
    kit = Kit()
    kit.act(ALICE, "setReferrer", code="MMBOT")
    kit.house("A", 26.0, 4)

    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))

    fees = kit.venue.user_fees(ALICE)
    assert kit.venue.user_fills(ALICE)[0]["fee"] == "0.044928"
    assert (fees["userCrossRate"], fees["activeReferralDiscount"]) == ("0.00045", "0.04")


def test_a_builder_is_paid_what_was_approved_and_nothing_else_passes() -> None:
    """Tenths of a basis point on top, shown in the fill; without approval the action fails."""
    kit = Kit()
    kit.house("A", 26.0, 8)
    order = limit(HYPE, "B", "26", "4", "Ioc")
    fee = {"b": BUILDER, "f": 10}

    refused = kit.act(ALICE, "order", orders=[order], grouping="na", builder=fee)
    kit.act(ALICE, "approveBuilderFee", maxFeeRate="0.01%", builder=BUILDER)
    taken = kit.act(ALICE, "order", orders=[order], grouping="na", builder=fee)
    greedy = kit.act(ALICE, "order", orders=[order], grouping="na", builder={"b": BUILDER, "f": 11})

    assert refused == greedy == "Builder fee has not been approved"
    assert "filled" in taken["data"]["statuses"][0]
    (row,) = kit.venue.user_fills(ALICE)
    assert (row["builderFee"], row["fee"]) == ("0.0104", "0.0572")
    assert kit.venue.max_builder_fee(ALICE, BUILDER) == 10
    assert kit.balanced()


# -- funding ---------------------------------------------------------------------------------------


@given(now_ms=st.integers(START_MS, START_MS + 10 * HOUR_MS))
def test_funding_comes_once_an_hour_a_few_milliseconds_late(now_ms: int) -> None:
    """Rows land 1 to 118 ms after the hour: clients page by their stamps."""
    due_ms = due_after(now_ms)

    assert due_ms > now_ms
    assert 1 <= due_ms % HOUR_MS <= 118
    assert due_after(due_ms) // HOUR_MS == due_ms // HOUR_MS + 1


def premium_market(kit: Kit, asset_id: int, oracle: float, bid: float, ask: float) -> None:
    """A deep book around a price that differs from the oracle."""
    kit.venue.set_oracle(asset_id, oracle)
    kit.house("B", bid, 10_000, asset_id=asset_id)
    kit.house("A", ask, 10_000, asset_id=asset_id)


@pytest.mark.parametrize(
    ("asset_id", "dex", "bid", "ask", "expected_8h"),
    [
        # Main dex: impact bid 26.026 is 10 bps over the oracle; i - P = -9 bps, clamped at 5.
        (HYPE, "", 26.026, 26.04, 0.001 - 0.0005),
        # Builder dex: mid impact price 26.026, clamped at 3 bps.
        (DEX_HYPE, "hyna", 26.012, 26.04, 0.001 - 0.0003),
        # Within the spread the main dex has no premium: the interest alone.
        (HYPE, "", 25.99, 26.01, 0.0001),
    ],
)
def test_funding_is_the_clamped_premium_at_the_oracle(
    asset_id: int, dex: str, bid: float, ask: float, expected_8h: float
) -> None:
    """Rate, payment, history and the user's row all tell one number."""
    kit = Kit()
    kit.venue.open_account(ALICE, usd=10_000, dex="hyna")
    premium_market(kit, asset_id, 26.0, bid, ask)
    kit.orders(ALICE, limit(asset_id, "B", str(ask), "100", "Ioc"))
    kit.venue.set_mark(asset_id, 26.0)
    before = float(kit.state(ALICE, dex)["marginSummary"]["accountValue"])
    kit.venue.drain()

    kit.venue.advance(due_after(kit.venue.now_ms))

    coin = kit.venue.asset(asset_id).coin
    (row,) = kit.venue.user_funding(ALICE, START_MS)
    history = kit.venue.funding_history(coin, START_MS)
    assert history is not None
    rate = expected_8h / 8
    assert float(history[0]["fundingRate"]) == pytest.approx(rate, rel=1e-6)
    assert history[0]["time"] == row["time"]
    assert row["delta"]["fundingRate"] == history[0]["fundingRate"]
    assert (row["delta"]["coin"], row["delta"]["szi"]) == (coin, "100.0")
    assert float(row["delta"]["usdc"]) == pytest.approx(-100 * 26 * rate, abs=2e-6)
    after = float(kit.state(ALICE, dex)["marginSummary"]["accountValue"])
    assert after - before == pytest.approx(float(row["delta"]["usdc"]), abs=1e-9)
    events = kit.venue.drain()
    assert [e.row for e in events if isinstance(e, FundingRecord) and e.user == ALICE] == [row]
    assert kit.balanced()


@given(premium=st.floats(-1, 1))
def test_funding_never_exceeds_four_percent_an_hour(premium: float) -> None:
    """The venue's cap, whatever the book does."""
    kit = Kit()

    assert abs(rate_per_h(kit.venue.asset(HYPE), premium)) <= 0.04


# -- budgets ---------------------------------------------------------------------------------------


def test_an_exhausted_address_is_refused_in_the_venues_words() -> None:
    """Every element counts; a refusal costs nothing; cancels have room; one passes per 10 s."""
    kit = Kit(params=VenueParams(requests_base=5))
    oids = [kit.rest(ALICE, limit(HYPE, "B", f"25.{n}", "4")) for n in range(1, 6)]
    kit.advance(1)
    batch = [limit(HYPE, "B", "24", "4"), limit(HYPE, "B", "24.1", "4")]

    refused = kit.act(ALICE, "order", orders=batch, grouping="na")

    assert refused == (
        "Too many cumulative requests sent (7 > 5) for cumulative volume traded $0.00. "
        "Place taker orders to free up 1 request per USDC traded."
    )
    assert kit.venue.user_rate_limit(ALICE) == {
        "cumVlm": "0.0",
        "nRequestsUsed": 5,
        "nRequestsCap": 5,
        "nRequestsSurplus": 0,
    }
    cancels = kit.act(ALICE, "cancel", cancels=[{"a": HYPE, "o": oid} for oid in oids[:4]])
    assert cancels["data"]["statuses"] == ["success"] * 4
    single = {"orders": batch[:1], "grouping": "na"}
    assert isinstance(kit.act(ALICE, "order", **single), dict)
    assert isinstance(kit.act(ALICE, "order", **single), str)
    kit.advance(10_000)
    assert isinstance(kit.act(ALICE, "order", **single), dict)


def test_volume_buys_requests_and_growth_mode_a_tenth_of_them() -> None:
    """One per dollar traded; `reserveRequestWeight` buys more for half a thousandth each."""
    kit = Kit()
    kit.venue.open_account(ALICE, usd=1_000, dex="hyna")
    kit.house("A", 26.0, 10)
    kit.house("A", 26.0, 10, asset_id=DEX_GROWTH)
    kit.orders(ALICE, limit(HYPE, "B", "26", "10", "Ioc"))
    kit.orders(ALICE, limit(DEX_GROWTH, "B", "26", "10", "Ioc"))

    row = kit.venue.user_rate_limit(ALICE)
    assert (row["cumVlm"], row["nRequestsCap"]) == ("286.0", 10_286)
    before = float(kit.state(ALICE)["withdrawable"])
    kit.act(ALICE, "reserveRequestWeight", weight=1_000)
    assert kit.venue.user_rate_limit(ALICE)["nRequestsSurplus"] == 1_000
    assert before - float(kit.state(ALICE)["withdrawable"]) == pytest.approx(0.5)
    account = kit.venue.account(ALICE)
    assert request_limit(account, kit.venue.params, is_cancel=True) == 2 * 11_286
    assert kit.balanced()


# -- scheduled cancel ------------------------------------------------------------------------------


def test_the_dead_man_switch_needs_volume_and_five_seconds() -> None:
    """The exact sentence below a million; then it fires, clears, and ten times a day at most."""
    kit = Kit()
    refused = kit.act(ALICE, "scheduleCancel", time=kit.venue.now_ms + 10_000)
    assert refused == (
        "Cannot set scheduled cancel time until enough volume traded. "
        "Required: $1000000. Traded: $0.00."
    )
    kit.venue.grant_volume(ALICE, 1_000_000)
    early = kit.act(ALICE, "scheduleCancel", time=kit.venue.now_ms + 4_999)
    assert isinstance(early, str)
    for n in range(10):
        oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))
        kit.act(ALICE, "scheduleCancel", time=kit.venue.now_ms + 5_000)
        kit.advance(4_999)
        assert kit.status(ALICE, oid) == "open", n
        kit.advance(1)
        assert kit.status(ALICE, oid) == "scheduledCancel"
    assert isinstance(kit.act(ALICE, "scheduleCancel", time=kit.venue.now_ms + 9_000), str)

    kit.advance(86_400_000)
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "4"))
    kit.act(ALICE, "scheduleCancel", time=kit.venue.now_ms + 9_000)
    kit.act(ALICE, "scheduleCancel")
    kit.advance(60_000)
    assert kit.status(ALICE, oid) == "open"


# -- transfers -------------------------------------------------------------------------------------


def send(kit: Kit, source: str, target: str, token: str, amount: str) -> Any:
    """`sendAsset` of Alice."""
    return kit.act(
        ALICE,
        "sendAsset",
        destination=ALICE,
        sourceDex=source,
        destinationDex=target,
        token=token,
        amount=amount,
        fromSubAccount="",
        nonce=1,
    )


def test_a_dex_takes_only_its_own_collateral() -> None:
    """USDC never reaches a USDE dex; USDE moves between spot and the dex, to six decimals."""
    kit = Kit()
    kit.venue.fund_spot(ALICE, "USDE", 500)

    assert send(kit, "", "hyna", "USDC", "10") == "Invalid send"
    assert send(kit, "spot", "nope", "USDE", "10") == "Invalid perp DEX"
    assert send(kit, "spot", "hyna", "FOO", "10") == "Unknown token FOO"
    assert send(kit, "spot", "hyna", "USDE", "0.0000001") == "Invalid send"
    assert send(kit, "spot", "hyna", "USDE", "501") == "Insufficient balance for token transfer"
    assert send(kit, "spot", "hyna", "USDE:0xabc", "200") == {"type": "default"}
    assert kit.state(ALICE, "hyna")["withdrawable"] == "200.0"
    assert kit.venue.spot_state(ALICE)["balances"][0]["total"] == "300.0"
    assert kit.venue.user_ledger(ALICE, 0)[-1]["delta"]["type"] == "send"
    assert kit.balanced()


def test_only_what_is_withdrawable_can_leave_a_dex() -> None:
    """Ten percent of notional stays even when the initial margin is smaller."""
    kit = Kit()
    kit.act(ALICE, "updateLeverage", asset=BTC, isCross=True, leverage=40)
    kit.house("A", 84_150, 0.1, asset_id=BTC)
    kit.orders(ALICE, limit(BTC, "B", "84150", "0.1", "Ioc"))
    free = kit.state(ALICE)["withdrawable"]

    too_much = kit.act(ALICE, "usdClassTransfer", amount=f"{float(free) + 0.01:.6f}", toPerp=False)
    enough = kit.act(ALICE, "usdClassTransfer", amount=free, toPerp=False)

    assert float(free) == pytest.approx(10_000 - 8_415 * 0.00045 - 841.5, abs=1e-3)
    assert too_much == "Insufficient balance for token transfer"
    assert enough == {"type": "default"}
    assert kit.state(ALICE)["withdrawable"] == "0.0"


def test_money_moves_between_accounts_and_off_the_venue() -> None:
    """usdSend, spotSend, withdraw3 and sub-account transfers all balance."""
    kit = Kit(params=VenueParams(sub_account_volume_usd=1_000))
    refused = kit.act(ALICE, "createSubAccount", name="one")
    assert refused == "Cannot create sub-accounts until enough volume traded. Required: $1000."
    kit.venue.grant_volume(ALICE, 1_000)
    sub = kit.act(ALICE, "createSubAccount", name="one")["data"]

    kit.act(ALICE, "subAccountTransfer", subAccountUser=sub, isDeposit=True, usd=250_000_000)
    kit.act(ALICE, "usdSend", destination=BOB, amount="100", time=1)
    kit.act(ALICE, "usdClassTransfer", amount="50", toPerp=False)
    kit.act(ALICE, "spotSend", destination=BOB, token="USDC", amount="20", time=2)
    kit.act(ALICE, "withdraw3", destination=ALICE, amount="30", time=3)

    assert kit.state(sub)["withdrawable"] == "250.0"
    assert kit.state(BOB)["withdrawable"] == "10100.0"
    assert kit.state(ALICE)["withdrawable"] == "9570.0"
    assert kit.venue.master_of(sub) == ALICE
    subs = kit.venue.sub_accounts(ALICE)
    assert subs is not None
    assert [row["subAccountUser"] for row in subs] == [sub]
    assert kit.balanced()


def test_an_agent_may_trade_but_not_move_money() -> None:
    """It is answered as an address without a deposit; to the own account it may send."""
    kit = Kit()
    agent = "0x" + "cc" * 20
    action = {"type": "usdClassTransfer", "amount": "1", "toPerp": False}

    refused = kit.venue.execute(ALICE, action, signer=agent, is_agent=True)
    own = {
        "type": "agentSendAsset",
        "destination": BOB,
        "sourceDex": "",
        "destinationDex": "spot",
        "token": "USDC",
        "amount": "1",
        "fromSubAccount": "",
        "nonce": 1,
    }
    foreign = kit.venue.execute(ALICE, own, signer=agent, is_agent=True)
    same = kit.venue.execute(ALICE, {**own, "destination": ALICE}, signer=agent, is_agent=True)

    assert refused["response"] == f"Must deposit before performing actions. User: {agent}"
    assert foreign["response"] == "Agent can only send asset to same user or their sub-accounts."
    assert same["status"] == "ok"


# -- markets that stop -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_delisting", [True, False])
def test_a_stopped_market_cancels_settles_and_keeps_its_id(is_delisting: bool) -> None:
    """Orders gone, positions closed at the mark without a fee, the asset still listed."""
    kit = Kit()
    kit.house("A", 26.0, 10)
    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))
    oid = kit.rest(ALICE, limit(HYPE, "A", "27", "4"))
    stop = kit.rest(ALICE, trigger(HYPE, "A", "20", "4", sl="21"))
    kit.venue.set_mark(HYPE, 27.0)
    before = kit.state(ALICE)["marginSummary"]["accountValue"]

    (kit.venue.delist if is_delisting else kit.venue.halt)(HYPE)

    word = "delistedCanceled" if is_delisting else "canceled"
    assert kit.status(ALICE, oid) == kit.status(ALICE, stop) == word
    row = kit.venue.user_fills(ALICE)[0]
    assert (row["dir"], row["px"], row["fee"], row["closedPnl"]) == (
        "Settlement",
        "27.0",
        "0.0",
        "4.0",
    )
    assert kit.szi(ALICE) == 0.0
    assert kit.state(ALICE)["marginSummary"]["accountValue"] == before
    entry = kit.venue.meta()["universe"][HYPE]
    assert entry["name"] == "HYPE"
    assert entry.get("isDelisted", False) is is_delisting
    ctx = kit.venue.asset_ctx(HYPE)
    assert (ctx["midPx"], ctx["openInterest"], ctx["markPx"]) == (None, "0.0", "27.0")
    kit.venue.set_mark(HYPE, 30.0)
    assert kit.venue.asset_ctx(HYPE)["markPx"] == "27.0"
    kit.venue.resume(HYPE)
    (status,) = kit.orders(ALICE, limit(HYPE, "B", "26", "4"))
    assert ("resting" in status) is not is_delisting
    assert kit.balanced()


def test_at_the_open_interest_cap_only_reducing_orders_pass() -> None:
    """None priced better than the oracle; a resting one that would add is cancelled when hit."""
    kit = Kit()
    kit.house("A", 26.0, 10)
    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))
    resting = kit.rest(BOB, limit(HYPE, "B", "25.9", "4"))
    kit.venue.set_oi_cap(HYPE, 100.0)

    assert kit.venue.perps_at_cap() == ["HYPE"]
    (more,) = kit.orders(ALICE, limit(HYPE, "B", "25.5", "1", cloid=1))
    (keen,) = kit.orders(ALICE, limit(HYPE, "A", "25.9", "4", cloid=2))
    (less,) = kit.orders(ALICE, limit(HYPE, "A", "26.5", "4"))

    assert "while open interest is capped" in more["error"]
    assert kit.status(ALICE, cloid_text(1)) == "positionIncreaseAtOpenInterestCapRejected"
    assert kit.status(ALICE, cloid_text(2)) == "tooAggressiveAtOpenInterestCapRejected"
    assert "more aggressive than oracle" in keen["error"]
    assert "resting" in less
    kit.house("A", 25.9, 4, tif=Tif.IOC)
    assert kit.status(BOB, resting) == "openInterestCapCanceled"


# -- everything at once ----------------------------------------------------------------------------

USERS = st.sampled_from([ALICE, BOB])
ORDERS = st.tuples(
    st.just("order"),
    USERS,
    st.sampled_from([HYPE, HYPE, ETH, DEX_HYPE, DEX_ISOLATED]),
    st.booleans(),
    st.integers(-10, 10),
    st.integers(4, 200),
    st.sampled_from(["Alo", "Gtc", "Ioc"]),
    st.booleans(),
)
HOUSE_ORDERS = st.tuples(
    st.just("house"),
    st.sampled_from([HYPE, HYPE, ETH, DEX_HYPE, DEX_ISOLATED]),
    st.booleans(),
    st.integers(-10, 10),
    st.integers(1, 400),
    st.booleans(),
)
OTHERS = st.one_of(
    st.tuples(st.just("mark"), st.sampled_from([HYPE, ETH, DEX_ISOLATED]), st.floats(0.85, 1.15)),
    st.tuples(st.just("cancel"), USERS, st.integers(0, 5)),
    st.tuples(st.just("modify"), USERS, st.integers(0, 5), st.booleans()),
    st.tuples(st.just("leverage"), USERS, st.integers(1, 10), st.booleans()),
    st.tuples(st.just("move"), st.booleans(), st.integers(1, 400)),
    st.tuples(st.just("time"), st.sampled_from([70, 5_000, 3_600_000])),
    st.tuples(st.just("delist"), st.sampled_from([ETH, DEX_HYPE])),
    st.tuples(st.just("stop"), USERS, st.booleans(), st.booleans()),
)
# Four orders to one of anything else: without trades there is nothing to balance.
ROUND = st.tuples(ORDERS, HOUSE_ORDERS, ORDERS, HOUSE_ORDERS, OTHERS)


def take(kit: Kit, step: Any) -> None:
    """Carry out one drawn step through the same doors as clients and the market."""
    venue = kit.venue
    kind, *args = step
    if kind == "order":
        user, asset_id, is_buy, offset, size, tif, reduce_only = args
        asset = venue.asset(asset_id)
        px = f"{asset.px(asset.mark_ticks) * (1 + offset / 1000):.4g}"
        sz = str(size / asset.lots_per_coin * 10 ** (asset.sz_decimals - 1))
        kit.orders(
            user,
            limit(asset_id, "B" if is_buy else "A", px, sz, tif, reduce_only=reduce_only),
        )
    elif kind == "house":
        asset_id, is_buy, offset, size, is_taker = args
        asset = venue.asset(asset_id)
        house_px = float(f"{asset.px(asset.mark_ticks) * (1 + offset / 1000):.4g}")
        tif = Tif.IOC if is_taker else Tif.GTC
        kit.house("B" if is_buy else "A", house_px, size / 10, tif=tif, asset_id=asset_id)
    elif kind == "mark":
        asset_id, factor = args
        asset = venue.asset(asset_id)
        venue.set_oracle(asset_id, asset.px(asset.mark_ticks) * factor)
        venue.set_mark(asset_id, asset.px(asset.mark_ticks) * factor)
    elif kind in {"cancel", "modify"}:
        user, index, *more = args
        rows = [row for dex in ("", "hyna") for row in venue.open_orders(user, dex)]
        if index < len(rows):
            row = rows[index]
            asset_id = venue.asset_id(row["coin"])
            assert asset_id is not None
            if kind == "cancel":
                kit.act(user, "cancel", cancels=[{"a": asset_id, "o": row["oid"]}])
            else:
                new = limit(asset_id, row["side"], row["limitPx"], "3")
                kit.act(user, "modify", oid=row["oid"], order=new, a=more[0])
    elif kind == "leverage":
        user, leverage, is_cross = args
        for asset_id in (HYPE, DEX_ISOLATED):
            kit.act(
                user, "updateLeverage", asset=asset_id, isCross=is_cross, leverage=min(leverage, 5)
            )
    elif kind == "move":
        to_dex, amount = args
        source, target = ("spot", "hyna") if to_dex else ("hyna", "spot")
        send(kit, source, target, "USDE", str(amount))
        kit.act(ALICE, "usdClassTransfer", amount=str(amount), toPerp=not to_dex)
    elif kind == "time":
        kit.advance(args[0])
    elif kind == "delist":
        venue.delist(args[0])
    else:
        user, is_sale, is_tp = args
        asset = venue.asset(HYPE)
        px = f"{asset.px(asset.mark_ticks) * (1.05 if is_sale == is_tp else 0.95):.4g}"
        side = "A" if is_sale else "B"
        raw = trigger(HYPE, side, px, "5", tp=px if is_tp else None, sl=None if is_tp else px)
        kit.orders(user, raw, grouping="positionTpsl")


@settings(max_examples=often(40, thoroughly=120), deadline=None)
@given(rounds=st.lists(ROUND, min_size=3, max_size=12))
def test_the_books_balance_after_any_calls(rounds: list[tuple[Any, ...]]) -> None:
    """
    Deposits equal purses, margins, spot, fees and funding rounding, to the micro-dollar.

    And sizes cancel out, nothing rests twice, reserves equal the orders that hold them, and no
    reduce-only order is larger than its position: what a matching bug would break first.
    """
    kit = Kit(usd=400)
    for user in (ALICE, BOB):
        kit.venue.open_account(user, usd=300, dex="hyna")
        kit.venue.fund_spot(user, "USDE", 500)
        kit.act(user, "updateLeverage", asset=DEX_ISOLATED, isCross=False, leverage=5)
    for step in chain.from_iterable(rounds):
        take(kit, step)
        assert kit.balanced()

    check_books(kit)


def drawn(rng: random.Random) -> tuple[Any, ...]:
    """One step of a long walk, mostly orders."""
    user, assets = rng.choice([ALICE, BOB]), [HYPE, HYPE, HYPE, DEX_HYPE, DEX_ISOLATED]
    kind = rng.choices(
        ["order", "house", "mark", "cancel", "modify", "leverage", "move", "time", "stop"],
        [40, 30, 8, 4, 4, 2, 3, 6, 3],
    )[0]
    offset, size, is_buy = rng.randint(-10, 10), rng.randint(1, 300), rng.random() < 0.5
    if kind == "order":
        tif, reduce_only = rng.choice(["Alo", "Gtc", "Ioc"]), rng.random() < 0.4
        return kind, user, rng.choice(assets), is_buy, offset, size, tif, reduce_only
    if kind == "house":
        return kind, rng.choice(assets), is_buy, offset, size, rng.random() < 0.4
    rest: dict[str, tuple[Any, ...]] = {
        "mark": (rng.choice(assets), rng.uniform(0.93, 1.07)),
        "cancel": (user, rng.randint(0, 5)),
        "modify": (user, rng.randint(0, 5), rng.random() < 0.5),
        "leverage": (user, rng.randint(2, 10), rng.random() < 0.5),
        "move": (rng.random() < 0.5, rng.randint(1, 100)),
        "time": (rng.choice([70, 5_000, 3_600_000]),),
        "stop": (user, rng.random() < 0.5, rng.random() < 0.5),
    }
    return kind, *rest[kind]


@pytest.mark.parametrize("seed", range(12))
def test_the_books_balance_through_a_long_session(seed: int) -> None:
    """Six hundred steps reach what short ones cannot: liquidations, stale stops, many hours."""
    rng, kit = random.Random(seed), Kit(usd=400)
    for user in (ALICE, BOB):
        kit.venue.open_account(user, usd=300, dex="hyna")
        kit.venue.fund_spot(user, "USDE", 500)
        kit.act(user, "updateLeverage", asset=DEX_ISOLATED, isCross=False, leverage=5)
    for n in range(600):
        take(kit, drawn(rng))
        assert kit.balanced(), n
        if n % 100 == 99:
            # The house keeps the price from running away, and broke accounts are funded again.
            kit.venue.set_mark(HYPE, 26.0)
            kit.venue.set_oracle(HYPE, 26.0)
            for user in (ALICE, BOB):
                kit.venue.open_account(user, usd=200)
            check_books(kit)
    assert len(kit.venue.user_fills(ALICE)) > 30


def check_books(kit: Kit) -> None:
    """Everything that must agree about orders, positions and reserves. Drains the events."""
    state = kit.venue.state
    for asset in state.assets.values():
        slots = [
            account.purses[asset.dex_index].slots[asset.asset_id]
            for account in state.accounts.values()
            if asset.dex_index in account.purses
            and asset.asset_id in account.purses[asset.dex_index].slots
        ]
        assert sum(slot.szi_lots for slot in slots) == 0
        assert asset.long_lots == sum(max(slot.szi_lots, 0) for slot in slots)
        booked = {order.oid: order for order in asset.book.orders()}
        bid, ask = asset.book.bid_ticks, asset.book.ask_ticks
        assert bid is None or ask is None or bid < ask
        for slot in slots:
            own = [order for order in booked.values() if order.slot is slot]
            assert all(order.oid in slot.account.open for order in own)
            if slot.account.is_house:
                continue
            adding = [order for order in own if not order.is_reduce_only]
            for side, held in ((Side.BUY, slot.buy_lots), (Side.SELL, slot.sell_lots)):
                assert held == sum(o.sz_lots for o in adding if o.side is side)
            for order in own:
                if order.is_reduce_only:
                    assert order.sz_lots <= abs(slot.szi_lots)
                    assert order.oid in slot.reducing
            assert (slot.account.address in asset.holders) is (slot.szi_lots != 0)
            assert slot.szi_lots or (slot.entry_u, slot.raw_u) == (0, 0)
        for order in asset.triggers.values():
            assert order.oid in order.slot.account.open
    events = kit.venue.drain()
    for user in (ALICE, BOB):
        last = dict(updates(events, user))
        account = kit.venue.account(user)
        for oid, order in account.history.items():
            assert last.get(oid, order.status) == order.status
            assert (oid in account.open) is (order.status in {"open", "waitingForFill"})
