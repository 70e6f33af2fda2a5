"""Universe: ids by place, coins refused by name, and the fees that are really charged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmbot.core.types import Instrument
from mmbot.errors import CheckError, ConfigError, VenueProtocolError
from mmbot.hyperliquid.universe import Universe, fees

_MAIN = [
    {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
    {"szDecimals": 1, "name": "MATIC", "maxLeverage": 20, "isDelisted": True},
    {"szDecimals": 4, "name": "ETH", "maxLeverage": 25},
    {"szDecimals": 2, "name": "HYPE", "maxLeverage": 10},
    {"szDecimals": 0, "name": "HPOS", "maxLeverage": 3, "onlyIsolated": True},
]
_DEXES = [None, {"name": "xyz"}, {"name": "flx"}, {"name": "vntl"}, {"name": "hyna"}]


def _meta(assets: list[dict[str, Any]], collateral: int | None = 0) -> bytes:
    meta: dict[str, Any] = {"universe": assets, "marginTables": []}
    if collateral is not None:
        meta["collateralToken"] = collateral
    return json.dumps(meta).encode()


def _builder_asset(**changes: Any) -> dict[str, Any]:
    asset = {
        "szDecimals": 3,
        "name": "xyz:NVDA",
        "maxLeverage": 20,
        "deployerFeeScale": "1.0",
    }
    return asset | changes


def _builder(*assets: dict[str, Any], dex: str = "xyz", **more: Any) -> Universe:
    dexes = json.dumps(_DEXES).encode()
    return Universe.parse(_meta(list(assets), **more), dexes, dex)


def _main() -> Universe:
    return Universe.parse(_meta(_MAIN), None, "")


# -- ids --------------------------------------------------------------------------------------


def test_native_id_is_the_place_in_the_unfiltered_list() -> None:
    """Dropping the delisted entry first would trade HYPE's neighbour."""
    universe = _main()

    found = {coin: universe.instrument(coin).asset_id for coin in universe.coins}

    assert found == {"BTC": 0, "ETH": 2, "HYPE": 3, "HPOS": 4}


def test_builder_id_counts_dexes_and_places() -> None:
    """100000 + 10000 x place in `perpDexs` + place in `meta`; xyz is 1, hyna 4."""
    delisted = _builder_asset(name="hyna:BTC", isDelisted=True)
    listed = _builder_asset(name="hyna:HYPE")

    assert _builder(_builder_asset()).instrument("xyz:NVDA").asset_id == 110_000
    assert _builder(delisted, listed, dex="hyna").instrument("hyna:HYPE").asset_id == 140_001


def test_instrument_carries_what_the_venue_lists() -> None:
    """Everything that later rounds prices and sets leverage comes from here."""
    universe = _builder(
        _builder_asset(growthMode="enabled", onlyIsolated=True, marginMode="strictIsolated")
    )

    assert universe.instrument("xyz:NVDA") == Instrument(
        coin="xyz:NVDA",
        dex="xyz",
        asset_id=110_000,
        sz_decimals=3,
        max_leverage=20,
        only_isolated=True,
        collateral="USDC",
        fee_multiplier=0.2,
        growth_mode=True,
    )


@pytest.mark.parametrize(
    ("asset", "isolated"),
    [
        ({}, False),
        ({"onlyIsolated": True}, True),
        ({"marginMode": "noCross"}, True),
        ({"marginMode": "strictIsolated"}, True),
        ({"marginMode": None, "onlyIsolated": False}, False),
    ],
)
def test_either_way_of_saying_isolated_counts(asset: dict[str, Any], isolated: bool) -> None:
    """The summary flag is deprecated; one day only the mode will be sent."""
    instrument = _builder(_builder_asset(**asset)).instrument("xyz:NVDA")

    assert instrument.only_isolated is isolated


def test_collateral_is_named_by_the_token_list() -> None:
    """The index is not a place: token 235 is not the 236th."""
    meta = _meta([_builder_asset(name="hyna:HYPE")], collateral=235)
    dexes = json.dumps(_DEXES).encode()
    tokens = [{"name": "USDC", "index": 0}, {"name": "USDE", "index": 235}]
    spot = json.dumps({"tokens": tokens}).encode()

    named = Universe.parse(meta, dexes, "hyna", spot_meta=spot)
    unnamed = Universe.parse(meta, dexes, "hyna")

    assert named.instrument("hyna:HYPE").collateral == "USDE"
    assert unnamed.collateral == "token:235"
    assert _main().collateral == "USDC"


# -- refusals ---------------------------------------------------------------------------------


def test_unknown_coin_is_refused_with_names_near_it() -> None:
    """A typing error must end before the socket opens, in a sentence that helps."""
    with pytest.raises(ConfigError, match=r"no perp 'hype'; did you mean HYPE"):
        _main().instrument("hype")
    with pytest.raises(ConfigError, match=r"no perp 'NVDA'; did you mean xyz:NVDA\?"):
        _builder(_builder_asset()).instrument("NVDA")


def test_unknown_coin_without_a_near_name_lists_what_there_is() -> None:
    """And never offers a delisted one."""
    with pytest.raises(ConfigError, match="it lists 4 live perps: BTC, ETH, HYPE, HPOS"):
        _main().instrument("QQQQQQ")
    with pytest.raises(ConfigError) as caught:
        _main().instrument("MATICS")
    assert "did you mean MATIC" not in str(caught.value)


def test_delisted_coin_is_refused_as_delisted() -> None:
    """It is in the list and has books, so only the flag tells; an order would fail later."""
    with pytest.raises(ConfigError, match="MATIC is delisted on the main dex"):
        _main().instrument("MATIC")


def test_universe_of_delisted_coins_says_that_nothing_lives() -> None:
    """Whole dexes have died this way while `perpDexs` still lists them."""
    universe = _builder(_builder_asset(name="hyna:BTC", isDelisted=True), dex="hyna")

    assert universe.coins == ()
    with pytest.raises(ConfigError, match="it lists 0 live perps: none"):
        universe.instrument("hyna:HYPE")


def test_unknown_dex_is_refused_with_names_near_it() -> None:
    """The venue would answer HTTP 500 with null."""
    with pytest.raises(ConfigError, match="no dex 'hyn'; did you mean hyna"):
        _builder(_builder_asset(), dex="hyn")
    with pytest.raises(ConfigError, match="no dex 'qqqq'; it has xyz, flx, vntl, hyna"):
        _builder(_builder_asset(), dex="qqqq")


def test_builder_dex_without_the_list_of_dexes_is_refused() -> None:
    """Assuming the first place has traded other people's markets."""
    with pytest.raises(ConfigError, match="perpDexs is needed"):
        Universe.parse(_meta([_builder_asset()]), None, "xyz")


@pytest.mark.parametrize(
    "assets",
    [
        [{"szDecimals": 7, "name": "X", "maxLeverage": 3}],
        [{"szDecimals": -1, "name": "X", "maxLeverage": 3}],
        [{"szDecimals": 2, "name": "X", "maxLeverage": 0}],
        [{"szDecimals": 2, "name": "X"}],
        [{"szDecimals": 2, "name": "X", "maxLeverage": 3}] * 2,
    ],
)
def test_universe_that_contradicts_itself_is_refused(assets: list[dict[str, Any]]) -> None:
    """Prices would be rounded on a grid that does not exist."""
    with pytest.raises(VenueProtocolError):
        Universe.parse(_meta(assets), None, "")


def test_builder_dex_without_a_collateral_is_refused() -> None:
    """Which token the account must hold is not guessed."""
    with pytest.raises(VenueProtocolError, match="collateralToken"):
        _builder(_builder_asset(), collateral=None)


# -- fees -------------------------------------------------------------------------------------


def _user_fees(maker: str = "0.00015", taker: str = "0.00045", referral: str = "0.0") -> bytes:
    return json.dumps(
        {"userAddRate": maker, "userCrossRate": taker, "activeReferralDiscount": referral}
    ).encode()


@pytest.mark.parametrize(
    ("scale", "growth", "maker_pct", "taker_pct"),
    [
        ("0.0", None, 0.015, 0.045),
        ("0.5", None, 0.0225, 0.0675),
        ("1.0", None, 0.03, 0.09),
        ("1.0", "disabled", 0.03, 0.09),
        ("1.0", "enabled", 0.003, 0.009),
        ("3.0", None, 0.09, 0.27),
    ],
)
def test_builder_fees_follow_the_published_table(
    scale: str, growth: str | None, maker_pct: float, taker_pct: float
) -> None:
    """The floor of every quote stands on the maker fee; this table met 27,018 public fills."""
    universe = _builder(_builder_asset(deployerFeeScale=scale, growthMode=growth))

    found = fees(universe.instrument("xyz:NVDA"), _user_fees())

    assert found.maker_bps == pytest.approx(maker_pct * 100)
    assert found.taker_bps == pytest.approx(taker_pct * 100)


def test_main_dex_charges_the_users_own_rates() -> None:
    """1.5 and 4.5 bps at the base tier."""
    found = fees(_main().instrument("HYPE"), _user_fees())

    assert found.maker_bps == pytest.approx(1.5)
    assert found.taker_bps == pytest.approx(4.5)


def test_referral_cuts_fees_but_not_rebates() -> None:
    """A rebate is multiplied by growth mode alone: not by the scale, not by the discount."""
    universe = _builder(_builder_asset(), _builder_asset(name="xyz:TSLA", growthMode="enabled"))
    rates = _user_fees(maker="-0.00003", referral="0.04")

    plain = fees(universe.instrument("xyz:NVDA"), rates)
    growth = fees(universe.instrument("xyz:TSLA"), rates)

    assert plain.taker_bps == pytest.approx(4.5 * 2 * 0.96)
    assert plain.maker_bps == pytest.approx(-0.3)
    assert growth.maker_bps == pytest.approx(-0.03)


@pytest.mark.parametrize(
    "scale", [{"deployerFeeScale": None}, {"deployerFeeScale": "-1"}, {"deployerFeeScale": "11"}]
)
def test_unknown_fee_scale_is_refused(scale: dict[str, Any]) -> None:
    """Taking it as 1 would put the floor on an invented fee."""
    with pytest.raises(CheckError, match="deployerFeeScale of xyz:NVDA"):
        _builder(_builder_asset(**scale)).instrument("xyz:NVDA")


def test_missing_fee_scale_is_refused() -> None:
    """Once the field stood on the dex, then on the asset; wherever it goes next, we stop."""
    asset = _builder_asset()
    del asset["deployerFeeScale"]

    with pytest.raises(CheckError, match="fees cannot be computed"):
        _builder(asset).instrument("xyz:NVDA")


def test_unknown_growth_mode_is_refused() -> None:
    """A factor of ten hangs on this word."""
    with pytest.raises(CheckError, match="growthMode of xyz:NVDA is 'maybe'"):
        _builder(_builder_asset(growthMode="maybe")).instrument("xyz:NVDA")


@pytest.mark.parametrize("rates", [_user_fees(maker="0.5"), _user_fees(referral="1.5"), b"{}"])
def test_fee_rates_out_of_any_reason_are_refused(rates: bytes) -> None:
    """Half of the notional is no fee: the unit of the field has changed."""
    with pytest.raises(VenueProtocolError, match="userFees"):
        fees(_main().instrument("BTC"), rates)
