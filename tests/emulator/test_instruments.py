"""Claims about the table of instruments we hold recordings of."""

from __future__ import annotations

import pytest

from mmbot.emulator.instruments import listed_instrument
from mmbot.errors import ConfigError


def test_unknown_coin_lists_the_known_ones() -> None:
    """The table is short; a person picks from it or adds a row."""
    with pytest.raises(ConfigError, match="use one of BTC, ETH, HYPE, SOL, WLFI, hyna:HYPE"):
        listed_instrument("DOGE")


def test_builder_dex_coin_carries_its_dex_and_doubled_fee() -> None:
    """A builder dex at scale 1 charges twice the user's rate; the floor must know."""
    instrument, fees = listed_instrument("hyna:HYPE")

    assert (instrument.dex, instrument.collateral) == ("hyna", "USDE")
    assert fees.maker_bps == pytest.approx(2 * listed_instrument("HYPE")[1].maker_bps)


@pytest.mark.parametrize("coin", ["BTC", "ETH", "SOL", "HYPE", "WLFI", "hyna:HYPE"])
def test_every_row_is_complete_and_makes_a_valid_instrument(coin: str) -> None:
    """A row with a slip would price a whole backtest wrongly."""
    instrument, fees = listed_instrument(coin)

    assert instrument.coin == coin
    assert 0 <= instrument.sz_decimals <= 5
    assert 1 <= instrument.max_leverage <= 50
    assert fees.maker_bps == pytest.approx(1.5 * instrument.fee_multiplier)
    assert fees.taker_bps == pytest.approx(4.5 * instrument.fee_multiplier)


def test_overrides_replace_the_table() -> None:
    """The venue changes its figures; a recording keeps those of its day."""
    instrument, _ = listed_instrument("BTC", sz_decimals=3, max_leverage=50)

    assert (instrument.sz_decimals, instrument.max_leverage) == (3, 50)
    with pytest.raises(ConfigError, match="sz_decimals = 9"):
        listed_instrument("BTC", sz_decimals=9)
