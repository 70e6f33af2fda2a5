"""Prices in ticks: the five-figure rule, its borders and exact notionals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.types import Instrument, Side, notional_usd


def perp(sz_decimals: int) -> Instrument:
    return Instrument(coin="X", asset_id=0, sz_decimals=sz_decimals, max_leverage=10)


def is_accepted(px: Decimal, sz_decimals: int) -> bool:
    """The venue's rule in its own words: 5 significant figures and 6 - szDecimals decimals."""
    if px == px.to_integral_value():
        return True
    digits = px.normalize().as_tuple()
    decimals = -int(digits.exponent)
    return len(digits.digits) <= 5 and decimals <= 6 - sz_decimals


@pytest.mark.parametrize(
    ("sz_decimals", "px", "accepted"),
    [
        (0, "123456", True),
        (1, "12345.6", False),
        (1, "1234.5", True),
        (1, "1234.56", False),
        (0, "0.001234", True),
        (1, "0.01234", True),
        (1, "0.012345", False),
        (5, "84150", True),
        (5, "84150.5", False),
    ],
)
def test_the_documented_examples_are_judged_as_documented(
    sz_decimals: int, px: str, accepted: bool
) -> None:
    """Hyperliquid docs, "Tick and lot size": these are its examples."""
    instrument = perp(sz_decimals)
    ticks = Decimal(px) * instrument.ticks_per_usd

    on_grid = ticks == int(ticks)

    assert (on_grid and instrument.is_valid_px(int(ticks))) is accepted


@given(sz_decimals=st.integers(0, 5), ticks=st.integers(1, 10**12))
def test_a_price_is_valid_exactly_when_the_venue_accepts_it(sz_decimals: int, ticks: int) -> None:
    """One wrong price voids a whole batch."""
    instrument = perp(sz_decimals)
    px = Decimal(ticks) / instrument.ticks_per_usd

    assert instrument.is_valid_px(ticks) is is_accepted(px, sz_decimals)


@given(sz_decimals=st.integers(0, 5), ticks=st.floats(1.0, 1e10))
def test_rounding_goes_outward_and_by_less_than_a_step(sz_decimals: int, ticks: float) -> None:
    """A bid rounded up or an ask rounded down would undercut its floor."""
    instrument = perp(sz_decimals)

    bid, ask = instrument.floor_ticks(ticks), instrument.ceil_ticks(ticks)

    assert bid <= ticks + 1e-6
    assert ask >= ticks - 1e-6
    assert instrument.is_valid_px(bid)
    assert instrument.is_valid_px(ask)
    assert ticks - bid < instrument.step_ticks(max(1, int(ticks))) + 1e-6
    assert ask - ticks < instrument.step_ticks(ask) + 1e-6


@pytest.mark.parametrize(
    ("sz_decimals", "below", "border", "above"),
    [
        (2, 99_999, 100_000, 100_010),  # 9.9999 / 10 USD
        (2, 999_990, 1_000_000, 1_000_100),  # 99.999 / 100 USD
    ],
)
def test_the_step_grows_tenfold_across_a_power_of_ten(
    sz_decimals: int, below: int, border: int, above: int
) -> None:
    """At 9.9999 a step is 0.0001, at 10 it is 0.001; the border belongs to both."""
    instrument = perp(sz_decimals)

    assert instrument.ceil_ticks(below + 0.5) == border
    assert instrument.floor_ticks(above - 0.5) == border
    assert instrument.ceil_ticks(border + 0.5) == above
    assert instrument.floor_ticks(border - 0.5) == below


def test_a_float_price_a_hair_off_the_grid_keeps_its_tick() -> None:
    """26.2035 USD times 10,000 is 262034.99999999997 in floats, and still that tick."""
    instrument = perp(2)

    assert instrument.floor_ticks(instrument.ticks(26.203)) == 262_030
    assert instrument.ceil_ticks(instrument.ticks(26.203)) == 262_030


@pytest.mark.parametrize("ticks", [0.0, -5.0])
def test_a_price_below_one_tick_is_refused(ticks: float) -> None:
    """A quote deeper than the price itself is a bug upstream, not a price of zero."""
    with pytest.raises(ValueError, match="at least one tick"):
        perp(2).floor_ticks(ticks)


@given(sz_decimals=st.integers(0, 5), ticks=st.integers(1, 10**9), lots=st.integers(1, 10**6))
def test_notional_of_ticks_and_lots_is_exact(sz_decimals: int, ticks: int, lots: int) -> None:
    """One tick times one lot is one micro-dollar whatever the instrument."""
    instrument = perp(sz_decimals)
    exact = Decimal(ticks) / instrument.ticks_per_usd * (Decimal(lots) / instrument.lots_per_coin)

    assert notional_usd(ticks, lots) == pytest.approx(float(exact), rel=1e-12)


def test_the_value_of_a_side_is_the_sign_of_its_position() -> None:
    """Long positive, everywhere."""
    assert [int(Side.BUY), int(Side.SELL)] == [1, -1]
    assert Side.BUY.opposite is Side.SELL
    assert Side.SELL.opposite is Side.BUY
