"""
Trading fees: the tier table, maker rebates, referral and what a builder dex multiplies on top.

Sources: Hyperliquid docs, "Fees", "HIP-3 deployer actions"; protocol notes 4.4 and 5.6.
"""

from __future__ import annotations

from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import MS_PER_DAY, AssetState
from mmbot.emulator.specs import U_PER_USD, VenueParams

TIERS: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.00045, 0.00015),
    (5e6, 0.00040, 0.00012),
    (25e6, 0.00035, 0.00008),
    (100e6, 0.00030, 0.00004),
    (500e6, 0.00028, 0.0),
    (2e9, 0.00026, 0.0),
    (7e9, 0.00024, 0.0),
)
"""14-day volume in USD above which (taker, maker) rates hold."""

MAKER_TIERS: tuple[tuple[float, float], ...] = (
    (0.005, -0.00001),
    (0.015, -0.00002),
    (0.03, -0.00003),
)
"""Share of the venue's 14-day maker volume above which the maker rate is a rebate."""

REFERRAL_DISCOUNT = 0.04
REFERRAL_VOLUME_U = 25_000_000 * U_PER_USD
GROWTH_FACTOR = 0.1
WINDOW_DAYS = 14


def window_volume_u(account: Account, day: int) -> tuple[int, int]:
    """(taker, maker) volume of the fourteen UTC days before `day`, with the sub-accounts'."""
    taker_u = maker_u = 0
    for member in (account, *(sub for _, sub in account.subs)):
        for past, (cross_u, add_u) in member.daily_u.items():
            if day - WINDOW_DAYS <= past < day:
                taker_u += cross_u
                maker_u += add_u
    return taker_u, maker_u


def user_rates(account: Account, params: VenueParams, now_ms: int) -> tuple[float, float]:
    """
    (taker, maker) rate of the account as `userFees` shows it: tier included, referral not.

    Tiers are assessed once per UTC day on the days before it; sub-accounts share the master's.
    """
    head = account.master or account
    day = now_ms // MS_PER_DAY
    if head.rates_day != day:
        taker_u, maker_u = window_volume_u(head, day)
        taker, maker = TIERS[0][1:]
        for cutoff_usd, tier_taker, tier_maker in TIERS[1:]:
            if taker_u + maker_u > cutoff_usd * U_PER_USD:
                taker, maker = tier_taker, tier_maker
        whole_u = params.exchange_daily_volume_usd * U_PER_USD * WINDOW_DAYS
        for share, rebate in MAKER_TIERS:
            if maker_u > share * whole_u:
                maker = rebate
        head.rates, head.rates_day = (taker, maker), day
    taker, maker = head.rates
    if head.taker_rate is not None:
        taker = head.taker_rate
    if head.maker_rate is not None:
        maker = head.maker_rate
    return taker, maker


def referral_discount(account: Account) -> float:
    """Discount of a referred account on its first 25 M USD of volume."""
    if account.referrer is None or account.referred_u >= REFERRAL_VOLUME_U:
        return 0.0
    return REFERRAL_DISCOUNT


def scale_factor(scale: float | None) -> float:
    """h of the fee formula: `1 + s` below a deployer scale of 1, `2 s` from there on."""
    if scale is None:
        return 1.0
    return 1 + scale if scale < 1 else 2 * scale


def charged_rate(rate: float, asset: AssetState, discount: float) -> float:
    """
    What a user rate becomes on this asset.

    Positive: `rate * h * g * (1 - referral)`; a rebate: `rate * g`, without h.
    """
    growth = GROWTH_FACTOR if asset.growth_mode else 1.0
    if rate <= 0:
        return rate * growth
    return rate * scale_factor(asset.deployer_fee_scale) * growth * (1 - discount)


def count_volume(account: Account, asset: AssetState, ntl_u: int, now_ms: int, taker: bool) -> None:
    """Add a fill to the account's volumes; growth mode counts a tenth."""
    counted_u = ntl_u // 10 if asset.growth_mode else ntl_u
    account.volume_u += counted_u
    account.referred_u += counted_u
    day = account.daily_u.setdefault(now_ms // MS_PER_DAY, [0, 0])
    day[0 if taker else 1] += counted_u
