"""Margin, leverage and liquidation: the identities clients check, and the refusals they meet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.types import Tif
from mmbot.emulator.assets import MarginTiers
from mmbot.emulator.liquidation import backstop_address
from mmbot.emulator.specs import AssetSpec, LiquidationRecord
from venue_kit import (
    ALICE,
    BOB,
    BTC,
    DEX_HYPE,
    DEX_ISOLATED,
    HYPE,
    Kit,
    cloid_text,
    fills,
    limit,
    updates,
)


def f(row: dict[str, Any], key: str) -> float:
    """A number of a state."""
    return float(row[key])


def holds_identities(kit: Kit, user: str, dex: str = "", resting_margin: float = 0.0) -> None:
    """Every identity of `clearinghouseState`, to a micro-dollar and a display digit."""
    state = kit.state(user, dex)
    total, cross = state["marginSummary"], state["crossMarginSummary"]
    rows = [row["position"] for row in state["assetPositions"]]
    marks = {r["coin"]: kit.venue.state.by_coin[r["coin"]] for r in rows}
    value = sum(f(r, "szi") * marks[r["coin"]].px(marks[r["coin"]].mark_ticks) for r in rows)
    assert f(total, "accountValue") == pytest.approx(f(total, "totalRawUsd") + value, abs=1e-6)
    crossed = [r for r in rows if r["leverage"]["type"] == "cross"]
    isolated = [r for r in rows if r["leverage"]["type"] == "isolated"]
    cross_value = sum(
        f(r, "szi") * marks[r["coin"]].px(marks[r["coin"]].mark_ticks) for r in crossed
    )
    assert f(cross, "accountValue") == pytest.approx(
        f(cross, "totalRawUsd") + cross_value, abs=1e-6
    )
    for r in rows:
        px = marks[r["coin"]].px(marks[r["coin"]].mark_ticks)
        assert f(r, "positionValue") == pytest.approx(abs(f(r, "szi")) * px, abs=1e-6)
        roe = f(r, "unrealizedPnl") * r["leverage"]["value"] / (abs(f(r, "szi")) * f(r, "entryPx"))
        assert f(r, "returnOnEquity") == pytest.approx(roe, abs=1e-3)
    for r in isolated:
        px = marks[r["coin"]].px(marks[r["coin"]].mark_ticks)
        raw = float(r["leverage"]["rawUsd"])
        assert f(r, "marginUsed") == pytest.approx(raw + f(r, "szi") * px, abs=1e-6)
    used = sum(f(r, "marginUsed") for r in rows)
    assert f(total, "totalMarginUsed") == pytest.approx(used, abs=2e-6)
    held = max(used + resting_margin, 0.1 * f(total, "totalNtlPos"))
    wanted = max(0.0, f(total, "accountValue") - held)
    assert f(state, "withdrawable") == pytest.approx(wanted, abs=3e-6)


def test_the_documented_isolated_example_is_reproduced() -> None:
    """5x long 0.015 BTC at 84010 with $1000 beside it, mark 84150: every figure of the notes."""
    kit = Kit(usd=1_252.03)
    kit.venue.set_rates(ALICE, taker=0.0, maker=0.0)
    kit.act(ALICE, "updateLeverage", asset=BTC, isCross=False, leverage=5)
    kit.house("A", 84_010, 0.015, asset_id=BTC)
    kit.orders(ALICE, limit(BTC, "B", "84010", "0.015", "Ioc"))

    state = kit.state(ALICE)

    assert state["marginSummary"] == {
        "accountValue": "1254.13",
        "totalNtlPos": "1262.25",
        "totalRawUsd": "-8.12",
        "totalMarginUsed": "254.13",
    }
    assert state["crossMarginSummary"]["accountValue"] == "1000.0"
    assert state["withdrawable"] == "1000.0"
    position = state["assetPositions"][0]["position"]
    assert position["leverage"] == {"type": "isolated", "value": 5, "rawUsd": "-1008.12"}
    assert position["liquidationPx"] == "68058.73417722"
    assert position["returnOnEquity"] == "0.0083323413"
    assert (position["entryPx"], position["unrealizedPnl"]) == ("84010.0", "2.1")
    assert position["maxLeverage"] == 40


def test_maintenance_is_half_the_initial_margin_at_the_assets_own_leverage() -> None:
    """377667 of a 40x asset needs 4720.8375, whatever leverage was chosen."""
    tiers = MarginTiers(AssetSpec(name="BTC", sz_decimals=5, max_leverage=40, mark_px=1.0))

    assert tiers.maintenance_u(377_667_000_000) == 4_720_837_500


@given(ntl_usd=st.integers(0, 10**9))
def test_maintenance_margin_is_continuous_and_rises_with_notional(ntl_usd: int) -> None:
    """A jump at a tier would liquidate an account for one more lot."""
    tiers = MarginTiers(
        AssetSpec(
            name="BTC",
            sz_decimals=5,
            max_leverage=40,
            mark_px=1.0,
            margin_tiers=((0.0, 40), (150e6, 20), (400e6, 5)),
        )
    )
    ntl_u = ntl_usd * 1_000_000

    below, above = tiers.maintenance_u(ntl_u), tiers.maintenance_u(ntl_u + 1_000_000)
    assert 0 <= above - below <= 1_000_000 / (2 * 5) + 2


@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell", "mark", "rest"]),
            st.integers(1, 40),
            st.floats(0.97, 1.03),
        ),
        max_size=15,
    ),
    is_cross=st.booleans(),
)
def test_the_identities_hold_after_every_event(
    moves: list[tuple[str, int, float]], is_cross: bool
) -> None:
    """Account value, margin used, return on equity and withdrawable, after trades and marks."""
    kit = Kit(usd=5_000)
    kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=is_cross, leverage=5)
    for kind, size, factor in moves:
        mark = kit.venue.asset(HYPE).px(kit.venue.asset(HYPE).mark_ticks)
        if kind == "mark":
            kit.venue.set_mark(HYPE, max(10.0, min(60.0, mark * factor)))
        elif kind == "rest":
            kit.orders(ALICE, limit(HYPE, "B", "11", str(size)))
        else:
            side, other = ("B", "A") if kind == "buy" else ("A", "B")
            px = f"{mark:.3f}"
            kit.house(other, float(px), size)
            kit.orders(ALICE, limit(HYPE, side, px, str(size), "Ioc"))
            kit.house(side, float(px), size, tif=Tif.IOC)
        slot = kit.venue.account(ALICE).slot(kit.venue.asset(HYPE), 5)
        holds_identities(kit, ALICE, resting_margin=slot.reserved_u / 1e6)
        assert kit.balanced()


def test_resting_orders_reserve_margin_and_only_once_for_both_sides() -> None:
    """A ladder of $2600 a side at 10x holds $260 and no more, seen in `withdrawable`."""
    kit = Kit(usd=300)
    kit.orders(
        ALICE, limit(HYPE, "B", "25.9", "100", "Alo"), limit(HYPE, "A", "26.1", "100", "Alo")
    )
    assert kit.state(ALICE)["withdrawable"] == "40.0"
    assert kit.state(ALICE)["marginSummary"]["totalMarginUsed"] == "0.0"

    (status,) = kit.orders(ALICE, limit(HYPE, "B", "25.8", "20", "Alo", cloid=3))

    assert status == {"error": "Insufficient margin to place order. asset=2"}
    assert kit.status(ALICE, cloid_text(3)) == "perpMarginRejected"
    kit.act(
        ALICE,
        "cancel",
        cancels=[{"a": HYPE, "o": row["oid"]} for row in kit.venue.open_orders(ALICE)],
    )
    assert kit.state(ALICE)["withdrawable"] == "300.0"


def test_reducing_needs_no_margin() -> None:
    """An account with nothing left must still be able to close."""
    kit = Kit(usd=105)
    kit.house("A", 26.0, 40)
    kit.orders(ALICE, limit(HYPE, "B", "26", "40", "Ioc"))
    kit.venue.set_mark(HYPE, 25.0)
    (more,) = kit.orders(ALICE, limit(HYPE, "B", "24.9", "4"))
    (less,) = kit.orders(ALICE, limit(HYPE, "A", "25.1", "40"))

    assert "Insufficient margin" in more["error"]
    assert "resting" in less


def test_a_maker_without_margin_is_cancelled_when_it_is_hit() -> None:
    """The reserve is checked again at the match; the taker gets the order behind it."""
    kit = Kit(usd=105)
    oid = kit.rest(ALICE, limit(HYPE, "B", "25.9", "30", "Alo"))
    behind = kit.rest(BOB, limit(HYPE, "B", "25.9", "30", "Alo"))
    account = kit.venue.account(ALICE)
    # Money leaves by another way than trading: as by a loss on another asset.
    account.purse(0).cash_u -= 100_000_000
    kit.venue.drain()

    result = kit.house("A", 25.9, 30, tif=Tif.IOC)

    assert result.filled_lots == 3_000
    events = kit.venue.drain()
    assert updates(events, ALICE) == [(oid, "marginCanceled")]
    assert updates(events, BOB) == [(behind, "filled")]
    assert kit.szi(ALICE) == 0.0


def test_a_tier_limits_the_position_at_a_given_leverage() -> None:
    """40x holds to 150 M of BTC; beyond it the order is refused, at 20x it passes."""
    kit = Kit(usd=50_000_000)
    kit.act(ALICE, "updateLeverage", asset=BTC, isCross=True, leverage=40)
    order = limit(BTC, "B", "84000", "1800", "Alo")

    (refused,) = kit.orders(ALICE, order)
    kit.act(ALICE, "updateLeverage", asset=BTC, isCross=True, leverage=20)
    (taken,) = kit.orders(ALICE, order)

    assert "exceed margin tier limit" in refused["error"]
    assert "resting" in taken


# -- leverage --------------------------------------------------------------------------------------


def test_leverage_is_set_within_bounds_and_shows_when_flat() -> None:
    """`activeAssetData` is the only cheap read of the configured leverage."""
    kit = Kit()

    assert kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=11) == (
        "Invalid leverage value"
    )
    assert kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=3) == {
        "type": "default"
    }
    data = kit.venue.active_asset_data(ALICE, "HYPE")
    assert data is not None
    assert data["leverage"] == {"type": "isolated", "value": 3, "rawUsd": "0.0"}
    assert data["availableToTrade"] == ["10000.0", "10000.0"]
    assert data["maxTradeSzs"] == ["1153.84", "1153.84"]


def test_looking_at_an_asset_leaves_no_trace() -> None:
    """A read must not open an account or a slot."""
    kit = Kit()
    stranger = "0x" + "99" * 20

    kit.venue.active_asset_data(stranger, "HYPE")
    kit.venue.active_asset_data(ALICE, "HYPE")

    assert not kit.venue.has_account(stranger)
    assert kit.venue.account(ALICE).purse(0).slots == {}


def test_the_mode_is_fixed_while_a_position_is_open() -> None:
    """Cross to isolated with a position is refused, and cross on an isolated-only asset."""
    kit = Kit()
    kit.house("A", 26.0, 4)
    kit.orders(ALICE, limit(HYPE, "B", "26", "4", "Ioc"))

    switched = kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=5)
    crossed = kit.act(ALICE, "updateLeverage", asset=DEX_ISOLATED, isCross=True, leverage=3)

    assert switched == "Cannot switch leverage type with open position."
    assert crossed == "Cross margin is not allowed for this asset."


def isolated_long(kit: Kit, leverage: int = 5) -> None:
    """100 HYPE long, isolated."""
    kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=leverage)
    kit.house("A", 26.0, 100)
    kit.orders(ALICE, limit(HYPE, "B", "26", "100", "Ioc"))


def raw_usd(kit: Kit) -> str:
    """Cash inside the isolated position."""
    raw: str = kit.state(ALICE)["assetPositions"][0]["position"]["leverage"]["rawUsd"]
    return raw


def test_changing_leverage_does_not_remargin_an_open_isolated_position() -> None:
    """Raising is allowed and moves nothing; lowering below the margin held is refused."""
    kit = Kit()
    isolated_long(kit)
    before = raw_usd(kit)

    raised = kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=10)
    assert (raised, raw_usd(kit)) == ({"type": "default"}, before)
    lowered = kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=False, leverage=2)

    assert "does not have sufficient margin available to decrease leverage" in lowered


def test_isolated_margin_can_be_added_and_taken_back_to_the_initial_margin() -> None:
    """Units are millionths; below the initial margin nothing leaves."""
    kit = Kit()
    isolated_long(kit)

    added = kit.act(ALICE, "updateIsolatedMargin", asset=HYPE, isBuy=True, ntli=20_000_000)
    assert (added, raw_usd(kit)) == ({"type": "default"}, "-2060.0")
    taken = kit.act(ALICE, "updateIsolatedMargin", asset=HYPE, isBuy=True, ntli=-20_000_000)
    assert (taken, raw_usd(kit)) == ({"type": "default"}, "-2080.0")
    more = kit.act(ALICE, "updateIsolatedMargin", asset=HYPE, isBuy=True, ntli=-1_000_000)
    none = kit.act(BOB, "updateIsolatedMargin", asset=HYPE, isBuy=True, ntli=1_000_000)

    assert "Insufficient margin" in more
    assert none == "Position does not use isolated margin."
    holds_identities(kit, ALICE)


def test_margin_never_leaves_a_strictly_isolated_position() -> None:
    """That mode's whole meaning."""
    kit = Kit()
    kit.venue.open_account(ALICE, usd=1_000, dex="hyna")
    kit.act(ALICE, "updateLeverage", asset=DEX_ISOLATED, isCross=False, leverage=5)
    kit.house("A", 26.0, 10, asset_id=DEX_ISOLATED)
    kit.orders(ALICE, limit(DEX_ISOLATED, "B", "26", "10", "Ioc"))
    kit.act(ALICE, "updateIsolatedMargin", asset=DEX_ISOLATED, isBuy=True, ntli=50_000_000)

    answer = kit.act(ALICE, "updateIsolatedMargin", asset=DEX_ISOLATED, isBuy=True, ntli=-1)

    assert answer == "Margin cannot be removed from this asset."


def test_topping_up_brings_the_position_to_the_wanted_leverage() -> None:
    """2600 at 2.5x is 1040 of margin."""
    kit = Kit()
    isolated_long(kit)

    kit.act(ALICE, "topUpIsolatedOnlyMargin", asset=HYPE, leverage="2.5")

    assert kit.state(ALICE)["assetPositions"][0]["position"]["marginUsed"] == "1040.0"


def test_closing_an_isolated_position_returns_its_margin() -> None:
    """Half of the position returns half of its cash; all of it, all."""
    kit = Kit()
    kit.venue.set_rates(ALICE, taker=0.0, maker=0.0)
    isolated_long(kit)
    kit.house("B", 27.0, 100)

    kit.orders(ALICE, limit(HYPE, "A", "27", "50", "Ioc"))
    assert raw_usd(kit) == "-1040.0"
    kit.orders(ALICE, limit(HYPE, "A", "27", "50", "Ioc"))

    assert kit.state(ALICE)["marginSummary"]["accountValue"] == "10100.0"
    assert kit.state(ALICE)["withdrawable"] == "10100.0"


# -- liquidation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_cross", [True, False])
def test_an_account_below_maintenance_is_closed_into_the_book(is_cross: bool) -> None:
    """Orders go first, then the position, its fills marked on both sides and in `userEvents`."""
    kit = Kit(usd=280)
    kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=is_cross, leverage=10)
    kit.house("A", 26.0, 100)
    kit.orders(ALICE, limit(HYPE, "B", "26", "100", "Ioc"))
    resting = kit.rest(ALICE, limit(HYPE, "A", "27", "50"))
    kit.rest(BOB, limit(HYPE, "B", "24.6", "100"))
    kit.venue.drain()

    kit.venue.set_mark(HYPE, 24.4)

    events = kit.venue.drain()
    assert kit.szi(ALICE) == 0.0
    assert kit.status(ALICE, resting) == "liquidatedCanceled"
    (mine,), (theirs,) = fills(events, ALICE), fills(events, BOB)
    mode = "Cross" if is_cross else "Isolated"
    assert mine["dir"] == f"Liquidated {mode} Long"
    assert mine["liquidation"] == theirs["liquidation"]
    assert mine["liquidation"]["liquidatedUser"] == ALICE
    assert mine["liquidation"]["method"] == "market"
    (record,) = [e for e in events if isinstance(e, LiquidationRecord)]
    assert record.liquidation["liquidated_user"] == ALICE
    assert kit.venue.user_ledger(ALICE, 0)[-1]["delta"]["type"] == "liquidation"
    assert kit.balanced()


def test_the_mark_just_above_the_liquidation_price_closes_nothing() -> None:
    """`liquidationPx` is exact: a tick above it the position lives, at it the book takes it."""
    kit = Kit(usd=280)
    kit.house("A", 26.0, 100)
    kit.orders(ALICE, limit(HYPE, "B", "26", "100", "Ioc"))
    px = float(kit.state(ALICE)["assetPositions"][0]["position"]["liquidationPx"])
    kit.house("B", 24.0, 100)

    kit.venue.set_mark(HYPE, px + 0.001)
    assert kit.szi(ALICE) == 100.0
    kit.venue.set_mark(HYPE, px - 0.001)

    assert kit.szi(ALICE) == 0.0


@pytest.mark.parametrize("is_cross", [True, False])
def test_what_the_book_cannot_take_goes_to_the_backstop(is_cross: bool) -> None:
    """No bids and equity under two thirds of maintenance: position and margin change hands."""
    kit = Kit(usd=280)
    kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=is_cross, leverage=10)
    kit.house("A", 26.0, 100)
    kit.orders(ALICE, limit(HYPE, "B", "26", "100", "Ioc"))

    kit.venue.set_mark(HYPE, 23.5)

    backstop = kit.venue.account(backstop_address(0))
    assert kit.szi(ALICE) == 0.0
    assert backstop.slot(kit.venue.asset(HYPE), 1).szi_lots == 10_000
    assert kit.venue.user_fills(ALICE)[0]["liquidation"]["method"] == "backstop"
    left = float(kit.state(ALICE)["marginSummary"]["accountValue"])
    assert left == 0.0 if is_cross else 0 < left < 20
    assert kit.balanced()


def test_a_large_position_goes_a_fifth_at_a_time() -> None:
    """Above 100 k: a fifth first; within the thirty seconds after it, all of it."""
    kit = Kit(usd=30_000)
    kit.act(ALICE, "updateLeverage", asset=HYPE, isCross=True, leverage=10)
    kit.house("A", 26.0, 10_000)
    kit.orders(ALICE, limit(HYPE, "B", "26", "10000", "Ioc"))
    kit.house("B", 24.2, 20_000)

    kit.venue.set_mark(HYPE, 24.2)
    assert kit.szi(ALICE) == 8_000.0
    kit.advance(1_000)
    kit.venue.set_mark(HYPE, 23.7)

    assert kit.szi(ALICE) == 0.0
    assert kit.balanced()


# -- dexes -----------------------------------------------------------------------------------------


def test_collateral_stays_in_its_dex() -> None:
    """Ten thousand on the main dex buy nothing on another one."""
    kit = Kit()

    (before,) = kit.orders(ALICE, limit(DEX_HYPE, "B", "25.9", "4"))
    kit.venue.open_account(ALICE, usd=100, dex="hyna")
    (after,) = kit.orders(ALICE, limit(DEX_HYPE, "B", "25.9", "4"))

    assert before == {"error": f"Insufficient margin to place order. asset={DEX_HYPE}"}
    assert "resting" in after
    assert kit.venue.open_orders(ALICE) == []
    assert [row["coin"] for row in kit.venue.open_orders(ALICE, "hyna")] == ["hyna:HYPE"]
