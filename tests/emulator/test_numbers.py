"""Numbers of the wire are exact both ways."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.types import Instrument
from mmbot.emulator.numbers import (
    parse_units,
    plain,
    round_significant,
    step_of,
    wire,
    wire_float,
)


@given(units=st.integers(-(10**18), 10**18), decimals=st.integers(0, 8))
def test_a_number_survives_the_wire_exactly(units: int, decimals: int) -> None:
    """A cent lost in printing would break every identity the daemon checks."""
    text = wire(units, decimals)

    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert "." in text
    assert "e" not in text.lower()
    assert text.endswith(".0") or not text.endswith("0")
    if units >= 0:
        assert parse_units(text, decimals) == units


@pytest.mark.parametrize(
    "text", ["", ".", "1.2.3", "-1", "+1", "1e3", " 1", "1 ", "٣", "0x1", "1,0"]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    """Python's own parsers accept signs, spaces and foreign digits; the venue does not."""
    assert parse_units(text, 4) is None


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [("1.50", 1, 15), ("1.55", 1, None), (".5", 1, 5), ("7.", 2, 700), ("007", 0, 7)],
)
def test_only_exact_multiples_of_the_unit_parse(
    text: str, decimals: int, units: int | None
) -> None:
    """More decimals than the unit are refused, not rounded; trailing zeros are not decimals."""
    assert parse_units(text, decimals) == units


def test_error_sentences_print_integers_bare() -> None:
    """The touch inside a sentence has no `.0`, unlike every price field."""
    assert plain(841_500, 1) == "84150"
    assert plain(262_035, 4) == "26.2035"
    assert wire_float(-0.0001348801, 10) == "-0.0001348801"


@given(
    sz_decimals=st.integers(0, 6),
    ticks=st.integers(1, 10**12),
)
def test_price_steps_agree_with_the_daemons_own(sz_decimals: int, ticks: int) -> None:
    """Two implementations of the five-figure rule, written apart, agree everywhere."""
    instrument = Instrument(coin="X", asset_id=0, sz_decimals=sz_decimals, max_leverage=10)

    assert step_of(ticks, sz_decimals) == instrument.step_ticks(ticks)


@given(ticks=st.integers(1, 10**12), figures=st.integers(2, 5), mantissa=st.sampled_from([1, 2, 5]))
def test_aggregation_rounds_away_from_the_mid(ticks: int, figures: int, mantissa: int) -> None:
    """An aggregated bid never looks better than the orders in it, nor an ask."""
    low = round_significant(ticks, figures, mantissa, up=False)
    high = round_significant(ticks, figures, mantissa, up=True)

    assert low <= ticks <= high
    assert high - low <= mantissa * 10 ** max(0, len(str(ticks)) - figures)
    if mantissa == 1:
        assert len(str(low).rstrip("0")) <= figures
