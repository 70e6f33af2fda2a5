"""
What the emulated venue lists: the main dex and the builder dexes in `perpDexs` order.

A small cut of the real universe with its real decimals and leverages, so that every rule of an
instrument is met by one: few and many decimals, a tiered margin table, a delisted perp in the
middle of the ids, isolated margin, other collateral, growth mode. Prices are of 2025 and 2026.

Sources: Hyperliquid docs, "Asset IDs", "Margin tiers", "Fees"; `meta` and `perpDexs` of mainnet in
2026 (hyna as it was while its perps traded).
"""

from __future__ import annotations

from mmbot.emulator.specs import AssetSpec, DexSpec, MarginMode

HYNA = "hyna"

_MAIN = (
    AssetSpec(
        name="BTC",
        sz_decimals=5,
        max_leverage=40,
        mark_px=84_150.0,
        margin_tiers=((0.0, 40), (150e6, 20)),
        margin_table_id=56,
    ),
    AssetSpec(
        name="ETH",
        sz_decimals=4,
        max_leverage=25,
        mark_px=2_866.0,
        margin_tiers=((0.0, 25), (100e6, 15)),
        margin_table_id=55,
    ),
    AssetSpec(name="MATIC", sz_decimals=1, max_leverage=20, mark_px=0.37621, is_delisted=True),
    AssetSpec(name="SOL", sz_decimals=2, max_leverage=20, mark_px=133.5),
    AssetSpec(name="DOGE", sz_decimals=0, max_leverage=10, mark_px=0.14512),
    AssetSpec(name="HYPE", sz_decimals=2, max_leverage=10, mark_px=26.2),
    AssetSpec(name="WLFI", sz_decimals=0, max_leverage=5, mark_px=0.18648),
)


def _builder(
    name: str,
    sz_decimals: int,
    max_leverage: int,
    mark_px: float,
    *,
    is_isolated: bool = False,
    is_delisted: bool = False,
    growth_mode: bool = False,
) -> AssetSpec:
    return AssetSpec(
        name=name,
        sz_decimals=sz_decimals,
        max_leverage=max_leverage,
        mark_px=mark_px,
        only_isolated=is_isolated,
        margin_mode=MarginMode.NO_CROSS if is_isolated else MarginMode.NORMAL,
        is_delisted=is_delisted,
        growth_mode=growth_mode,
        deployer_fee_scale=1.0,
    )


def dexes(*, is_hyna_alive: bool) -> tuple[DexSpec, ...]:
    """
    The dexes of a venue: main, xyz (ids 110000 on), flx, vntl and hyna (140000 on).

    Every perp of flx, vntl and hyna is delisted, as it is at the venue; hyna's trade when
    `is_hyna_alive`, as they did in February 2026, with isolated margin in USDE.
    """
    gone = not is_hyna_alive
    return (
        DexSpec(name="", assets=_MAIN),
        DexSpec(
            name="xyz",
            full_name="XYZ",
            deployer="0x88806a71d74ad0a510b350545c9ae490912f0888",
            assets=(
                _builder("xyz:XYZ100", 4, 30, 24_180.0),
                _builder("xyz:TSLA", 3, 20, 402.15, growth_mode=True),
                _builder("xyz:NVDA", 3, 20, 181.32, growth_mode=True),
                _builder("xyz:GOLD", 4, 25, 4_512.6),
                _builder("xyz:HOOD", 3, 10, 96.44, is_isolated=True, growth_mode=True),
            ),
        ),
        DexSpec(
            name="flx",
            full_name="Felix Exchange",
            deployer="0x2fab552502a6d45920d5741a2f3ebf4c35536352",
            collateral="USDH",
            collateral_token=360,
            assets=(_builder("flx:GOLD", 3, 20, 4_498.0, is_delisted=True),),
        ),
        DexSpec(
            name="vntl",
            full_name="Ventuals",
            deployer="0x8888888192a4a0593c13532ba48449fc24c3beda",
            collateral="USDH",
            collateral_token=360,
            assets=(_builder("vntl:SPACEX", 3, 3, 812.0, is_delisted=True),),
        ),
        DexSpec(
            name=HYNA,
            full_name="HyENA",
            deployer="0x53e655101ea361537124ef814ad4e654b54d0637",
            collateral="USDE",
            collateral_token=235,
            assets=(
                _builder("hyna:BTC", 5, 40, 84_150.0, is_isolated=True, is_delisted=gone),
                _builder("hyna:ETH", 4, 25, 2_866.0, is_isolated=True, is_delisted=gone),
                _builder("hyna:HYPE", 2, 10, 26.2, is_isolated=True, is_delisted=gone),
                _builder("hyna:SOL", 2, 20, 133.5, is_isolated=True, is_delisted=gone),
            ),
        ),
    )
