"""
Which perps exist, under which numbers, and what trading them costs.

The asset id is the place in a list: `index` in `meta` on the main dex, `100000 + 10000 * dex +
index` on a builder dex, where `dex` is the place in `perpDexs`. Delisted entries stay in both
lists, so the lists are never filtered before they are indexed.

Source: Hyperliquid docs, "Asset IDs", "Fees" and "HIP-3 deployer actions".
"""

from __future__ import annotations

from difflib import get_close_matches
from math import isnan, nan
from typing import Final

import msgspec

from mmbot.core.types import Fees, Instrument
from mmbot.errors import CheckError, ConfigError, InvariantError, VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.wire_rest import MetaAsset

_BUILDER_BASE: Final = 100_000
_BUILDER_STRIDE: Final = 10_000
_GROWTH: Final = 0.1
"""Growth mode cuts fees, rebates, volume and request credit to a tenth."""
_SCALE_MAX: Final = 10.0
"""The docs name 3 in one place and 10 in another; beyond both we have misread something."""
_BPS: Final = 1e4


class Universe:
    """
    The perps of one dex.

    Made by `parse`. Attributes: `dex` (empty for the main one), `collateral` (name of the token
    that accounts of this dex hold), `coins` (tradable names, in the venue's order).
    """

    __slots__ = ("_assets", "_base_id", "collateral", "dex")

    def __init__(
        self, dex: str, base_id: int, collateral: str, assets: dict[str, tuple[int, MetaAsset]]
    ) -> None:
        self.dex = dex
        self.collateral = collateral
        self._base_id = base_id
        self._assets = assets

    @classmethod
    def parse(
        cls, meta: bytes, perp_dexs: bytes | None, dex: str, *, spot_meta: bytes | None = None
    ) -> Universe:
        """
        Read the venue's lists.

        Args:
            meta: Answer to `meta` for `dex`.
            perp_dexs: Answer to `perpDexs`; needed for a builder dex.
            dex: Name of the builder dex, empty for the main one.
            spot_meta: Answer to `spotMeta`, which names a collateral other than USDC; without it
                that collateral is called `token:<index>`.

        Raises:
            ConfigError: The venue has no dex of this name.
            VenueProtocolError: A body cannot be read, or lists a coin twice.
        """
        listed = wire_rest.meta(meta)
        assets: dict[str, tuple[int, MetaAsset]] = {}
        for index, asset in enumerate(listed.universe):
            if asset.name in assets:
                msg = f"meta of dex {dex!r} lists {asset.name} twice"
                raise VenueProtocolError(msg)
            assets[asset.name] = (index, asset)
        token = listed.collateral_token
        if token is None and dex:
            msg = f"meta of dex {dex!r} does not name its collateralToken"
            raise VenueProtocolError(msg)
        if not token:
            collateral = "USDC"
        else:
            names = wire_rest.spot_tokens(spot_meta) if spot_meta is not None else {}
            collateral = names.get(token, f"token:{token}")
        return cls(dex, _base_id(dex, perp_dexs), collateral, assets)

    @property
    def coins(self) -> tuple[str, ...]:
        """Names that can be traded."""
        return tuple([name for name, (_, asset) in self._assets.items() if not asset.is_delisted])

    def instrument(self, coin: str) -> Instrument:
        """
        Look a perp up by its name on the wire (`HYPE`, `xyz:NVDA`).

        Raises:
            ConfigError: The dex does not list it (near names are offered), or has delisted it.
            CheckError: Its fees cannot be computed, because the venue does not say how.
        """
        index, asset = self._entry(coin)
        if asset.is_delisted:
            msg = (
                f"instrument.coin: {coin} is delisted on {self._where}, nothing can be traded "
                f"there; name one of its {len(self.coins)} live perps"
            )
            raise ConfigError(msg)
        growth_mode = _growth_mode(asset)
        return msgspec.structs.replace(
            self._numbers(index, asset),
            fee_multiplier=_fee_multiplier(asset, self.dex, growth_mode=growth_mode),
            growth_mode=growth_mode,
        )

    def for_cancelling(self, coin: str) -> Instrument:
        """
        The numbers of a perp, whatever it costs and whether it still trades.

        What rests has to go also where nothing may be traded any more. It has no fees: `fees`
        refuses it.

        Raises:
            ConfigError: The dex does not list it (near names are offered).
        """
        return self._numbers(*self._entry(coin))

    @property
    def _where(self) -> str:
        return f"dex {self.dex!r}" if self.dex else "the main dex"

    def _entry(self, coin: str) -> tuple[int, MetaAsset]:
        entry = self._assets.get(coin)
        if entry is None:
            raise ConfigError(
                f"instrument.coin: {self._where} has no perp {coin!r}; {self._hint(coin)}"
            )
        return entry

    def _numbers(self, index: int, asset: MetaAsset) -> Instrument:
        return Instrument(
            coin=asset.name,
            dex=self.dex,
            asset_id=self._base_id + index,
            sz_decimals=asset.sz_decimals,
            max_leverage=asset.max_leverage,
            only_isolated=asset.only_isolated or asset.margin_mode in {"strictIsolated", "noCross"},
            collateral=self.collateral,
            fee_multiplier=nan,
        )

    def _hint(self, coin: str) -> str:
        names = {name.rpartition(":")[2].lower(): name for name in self.coins}
        close = get_close_matches(coin.rpartition(":")[2].lower(), names, n=3, cutoff=0.5)
        if close:
            return "did you mean " + " or ".join([names[name] for name in close]) + "?"
        return f"it lists {len(names)} live perps: {', '.join(list(names.values())[:8]) or 'none'}"


def fees(instrument: Instrument, user_fees: bytes) -> Fees:
    """
    Return the fee rates charged to this account on this instrument.

    A positive rate is `rate * h * g * (1 - referral)`, a rebate `rate * g`, with g = 0.1 in growth
    mode (else 1), h = 1 + s below a deployer fee scale s of 1 and 2 s from there on. h and g are
    in `instrument.fee_multiplier`.

    Args:
        instrument: From `Universe.instrument`.
        user_fees: Answer to `userFees`.

    Raises:
        VenueProtocolError: The answer cannot be read.
        InvariantError: The instrument serves only to cancel.

    Source: Hyperliquid docs, "Fees"; agrees with public fills of four builder dexes.
    """
    if isnan(instrument.fee_multiplier):
        msg = f"the fees of {instrument.coin} were not read: this instrument is for cancelling"
        raise InvariantError(msg)
    rates = wire_rest.user_fees(user_fees)
    on_cost = instrument.fee_multiplier * (1 - rates.referral_discount)
    on_rebate = _GROWTH if instrument.growth_mode else 1.0
    return Fees(
        maker_bps=rates.add * (on_cost if rates.add > 0 else on_rebate) * _BPS,
        taker_bps=rates.cross * (on_cost if rates.cross > 0 else on_rebate) * _BPS,
    )


def _base_id(dex: str, perp_dexs: bytes | None) -> int:
    if not dex:
        return 0
    if perp_dexs is None:
        msg = f"perpDexs is needed for the asset ids of dex {dex!r}"
        raise ConfigError(msg)
    names = [entry.name if entry is not None else "" for entry in wire_rest.perp_dexs(perp_dexs)]
    if dex not in names:
        known = [name for name in names if name]
        close = get_close_matches(dex, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
        raise ConfigError(f"instrument.dex: the venue has no dex {dex!r}; {hint}")
    return _BUILDER_BASE + _BUILDER_STRIDE * names.index(dex)


def _growth_mode(asset: MetaAsset) -> bool:
    if asset.growth_mode in {None, "disabled"}:
        return False
    if asset.growth_mode == "enabled":
        return True
    msg = f"growthMode of {asset.name} is {asset.growth_mode!r}, its fees cannot be computed"
    raise CheckError(msg)


def _fee_multiplier(asset: MetaAsset, dex: str, *, growth_mode: bool) -> float:
    growth = _GROWTH if growth_mode else 1.0
    if not dex:
        return growth
    scale = asset.deployer_fee_scale
    if scale is None or not 0 <= scale <= _SCALE_MAX:
        # A missing scale is not 1: the quoter's floor would rest on an invented fee.
        msg = (
            f"deployerFeeScale of {asset.name} is {scale}, its fees cannot be computed; "
            f"trade another perp of dex {dex!r}"
        )
        raise CheckError(msg)
    return (1 + scale if scale < 1 else 2 * scale) * growth
