"""The perps we hold recordings of, as the venue lists them: `instruments.toml`, checked."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

import msgspec

from mmbot.core.types import PX_DECIMALS, Fees, Instrument
from mmbot.errors import ConfigError


class _Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `instruments.toml`."""

    asset_id: int
    sz_decimals: int
    max_leverage: int
    maker_fee_bps: float
    taker_fee_bps: float
    only_isolated: bool = False
    collateral: str = "USDC"
    fee_multiplier: float = 1.0
    growth_mode: bool = False


@cache
def _listed() -> dict[str, _Listed]:
    text = resources.files("mmbot.emulator").joinpath("instruments.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, _Listed])


def listed_instrument(
    coin: str, *, sz_decimals: int | None = None, max_leverage: int | None = None
) -> tuple[Instrument, Fees]:
    """
    Return the instrument and the base fee rates that `instruments.toml` gives for `coin`.

    Raises:
        ConfigError: The table has no such coin, or an override is no size the venue knows.
    """
    try:
        row = _listed()[coin]
    except KeyError:
        known = ", ".join(sorted(_listed()))
        raise ConfigError(
            f"coin = {coin!r}: not in emulator/instruments.toml; "
            f"use one of {known}, or add it there"
        ) from None
    decimals = row.sz_decimals if sz_decimals is None else sz_decimals
    if not 0 <= decimals <= PX_DECIMALS:
        raise ConfigError(f"sz_decimals = {decimals}: must be 0 to {PX_DECIMALS}; correct it")
    instrument = Instrument(
        coin=coin,
        dex=coin.partition(":")[0] if ":" in coin else "",
        asset_id=row.asset_id,
        sz_decimals=decimals,
        max_leverage=row.max_leverage if max_leverage is None else max_leverage,
        only_isolated=row.only_isolated,
        collateral=row.collateral,
        fee_multiplier=row.fee_multiplier,
        growth_mode=row.growth_mode,
    )
    return instrument, Fees(maker_bps=row.maker_fee_bps, taker_bps=row.taker_fee_bps)
