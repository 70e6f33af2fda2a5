"""
Queries about one account in wire shape. Source: protocol notes 1.4.7 to 1.4.16.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mmbot.emulator import budgets
from mmbot.emulator.accounts import Account, Purse, Slot
from mmbot.emulator.assets import MS_PER_DAY, AssetState, DexState
from mmbot.emulator.fees import (
    MAKER_TIERS,
    REFERRAL_DISCOUNT,
    TIERS,
    WINDOW_DAYS,
    referral_discount,
    user_rates,
)
from mmbot.emulator.margin import Summary, liquidation_px, summarise
from mmbot.emulator.numbers import wire, wire_float, wire_u
from mmbot.emulator.shapes import Json, basic_order, frontend_order, order_history
from mmbot.emulator.specs import MAIN_COLLATERAL
from mmbot.emulator.state import WAITING_FOR_FILL, State

FILLS_PER_CALL = 2_000
ROWS_PER_CALL = 500
AGGREGATE_DECIMALS = 10
ROE_DECIMALS = 10
TENTHS_OF_BP = 100_000
"""Builder fee rates are fractions inside and tenths of a bp outside."""


# -- margin ----------------------------------------------------------------------------------------


def _margin_block(value_u: int, ntl_u: int, raw_u: int, used_u: int) -> Json:
    return {
        "accountValue": wire_u(value_u),
        "totalNtlPos": wire_u(ntl_u),
        "totalRawUsd": wire_u(raw_u),
        "totalMarginUsed": wire_u(used_u),
    }


def leverage_block(slot: Slot) -> Json:
    """`leverage` of a position or of a setting."""
    if slot.is_cross:
        return {"type": "cross", "value": slot.leverage}
    return {"type": "isolated", "value": slot.leverage, "rawUsd": wire_u(slot.raw_u)}


def _cut(numerator: int, denominator: int) -> int:
    """A ratio in units of `ROE_DECIMALS`, cut towards zero as the live sample is."""
    size: int = abs(numerator) * 10**ROE_DECIMALS // denominator
    return size if numerator >= 0 else -size


def _position(slot: Slot) -> Json:
    asset = slot.asset
    size = abs(slot.szi_lots)
    unrealised_u = slot.unrealised_u
    liq_px = liquidation_px(slot)
    return {
        "coin": asset.coin,
        "szi": wire(slot.szi_lots, asset.sz_decimals),
        "leverage": leverage_block(slot),
        "entryPx": wire(round(slot.entry_u / size), asset.px_decimals),
        "positionValue": wire_u(slot.ntl_u),
        "unrealizedPnl": wire_u(unrealised_u),
        "returnOnEquity": wire(_cut(unrealised_u * slot.leverage, slot.entry_u), ROE_DECIMALS),
        "liquidationPx": None if liq_px is None else wire_float(liq_px, 8),
        "marginUsed": wire_u(slot.margin_used_u),
        "maxLeverage": asset.spec.max_leverage,
        "cumFunding": {
            "allTime": wire_u(slot.funding_all_u),
            "sinceOpen": wire_u(slot.funding_open_u),
            "sinceChange": wire_u(slot.funding_change_u),
        },
    }


def clearinghouse_state(state: State, account: Account | None, dex: DexState) -> Json:
    """`clearinghouseState` of one dex; an address never funded has an empty one."""
    purse = account.purses.get(dex.index) if account else None
    shown = purse if purse is not None else Purse(dex.index)
    summary = summarise(shown)
    return {
        "marginSummary": _margin_block(
            summary.account_value_u, summary.ntl_u, summary.raw_u, summary.margin_used_u
        ),
        "crossMarginSummary": _margin_block(
            summary.cross_value_u, summary.cross_ntl_u, summary.cross_raw_u, summary.cross_margin_u
        ),
        "crossMaintenanceMarginUsed": wire_u(summary.cross_maintenance_u),
        "withdrawable": wire_u(summary.withdrawable_u),
        "assetPositions": [
            {"type": "oneWay", "position": _position(slot)}
            for _, slot in sorted(shown.slots.items())
            if slot.szi_lots
        ],
        "time": state.now_ms,
    }


def spot_state(state: State, account: Account | None) -> Json:
    """`spotClearinghouseState`; empty balances for an unknown account."""
    tokens = {dex.spec.collateral: dex.spec.collateral_token for dex in state.dexes}
    balances = account.spot_u if account else {}
    return {
        "balances": [
            {
                "coin": token,
                "token": tokens.get(token, 0),
                "total": wire_u(amount_u),
                "hold": "0.0",
                # What was paid for a token other than USDC: a dollar each, as none trades here.
                "entryNtl": "0.0" if token == MAIN_COLLATERAL else wire_u(amount_u),
            }
            for token, amount_u in sorted(balances.items())
        ]
    }


def active_asset_data(state: State, account: Account | None, user: str, asset: AssetState) -> Json:
    """`activeAssetData`: the leverage in force and what could be traded, as [buy, sell]."""
    # Looking must not make a slot, so an untouched asset gets a passing one.
    owner = account or Account(user.lower(), state.params, is_house=False)
    purse = owner.purses.get(asset.dex_index) or Purse(asset.dex_index)
    slot = purse.slots.get(asset.asset_id)
    if slot is None:
        default = min(state.params.default_leverage, asset.spec.max_leverage)
        slot = Slot(owner, asset, purse, default)
    summary: Summary = summarise(purse)
    free_u = max(0, summary.free_u)
    margin_u = slot.margin_used_u if slot.szi_lots else 0
    buy_u = free_u + (2 * margin_u if slot.szi_lots < 0 else 0)
    sell_u = free_u + (2 * margin_u if slot.szi_lots > 0 else 0)
    sizes = [
        wire(u * slot.leverage // asset.mark_ticks, asset.sz_decimals) for u in (buy_u, sell_u)
    ]
    return {
        "user": user.lower(),
        "coin": asset.coin,
        "leverage": leverage_block(slot),
        "maxTradeSzs": sizes,
        "availableToTrade": [wire_u(buy_u), wire_u(sell_u)],
        "markPx": wire(asset.mark_ticks, asset.px_decimals),
    }


# -- orders ----------------------------------------------------------------------------------------


def open_orders(account: Account | None, dex: DexState, *, is_frontend: bool) -> list[Json]:
    """Open orders of one dex, newest first; children of an unfilled parent show only inside it."""
    if account is None:
        return []
    show = frontend_order if is_frontend else basic_order
    return [
        show(order)
        for order in reversed(account.open.values())
        if order.slot.asset.dex_index == dex.index and order.status != WAITING_FOR_FILL
    ]


def order_status(account: Account | None, ref: int | str) -> Json:
    """`orderStatus` by oid or cloid; a reused cloid gives its newest order."""
    order = None
    if account is not None:
        if isinstance(ref, int):
            order = account.history.get(ref)
        else:
            order = account.by_cloid.get(ref.lower())
    if order is None:
        return {"status": "unknownOid"}
    return {"status": "order", "order": order_history(order)}


def historical_orders(account: Account | None, most: int) -> list[Json]:
    """`historicalOrders`, newest first."""
    if account is None:
        return []
    orders = list(account.history.values())[-most:]
    return [order_history(order) for order in reversed(orders)]


# -- fills and ledger ------------------------------------------------------------------------------


def aggregated(rows: list[Json]) -> list[Json]:
    """Fills of one order in one block as one row, at their average price."""
    groups: dict[tuple[Any, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault((row["time"], row["coin"], row["oid"], row["crossed"]), []).append(row)
    out: list[Json] = []
    for parts in groups.values():
        if len(parts) == 1:
            out.append(parts[0])
            continue
        sizes = [float(part["sz"]) for part in parts]
        value = sum(float(part["px"]) * sz for part, sz in zip(parts, sizes, strict=True))
        merged = dict(parts[0])
        merged["px"] = wire_float(value / sum(sizes), AGGREGATE_DECIMALS)
        for key in ("sz", "closedPnl", "fee"):
            merged[key] = wire_float(sum(float(part[key]) for part in parts), 8)
        out.append(merged)
    return out


def user_fills(account: Account | None, *, aggregate: bool) -> list[Json]:
    """`userFills`: at most 2000, newest first; aggregation comes before the cut."""
    rows = [] if account is None else list(account.fills)
    if aggregate:
        rows = aggregated(rows)
    return rows[: -FILLS_PER_CALL - 1 : -1]


def user_fills_by_time(
    account: Account | None, start_ms: int, end_ms: int, *, aggregate: bool, is_reversed: bool
) -> list[Json]:
    """`userFillsByTime`: at most 2000 within [start, end], oldest first unless reversed."""
    rows = [] if account is None else [f for f in account.fills if start_ms <= f["time"] <= end_ms]
    if aggregate:
        rows = aggregated(rows)
    if is_reversed:
        rows.reverse()
    return rows[:FILLS_PER_CALL]


def rows_between(rows: list[Json], start_ms: int, end_ms: int) -> list[Json]:
    """Rows within [start, end], oldest first, at most 500."""
    return [row for row in rows if start_ms <= row["time"] <= end_ms][:ROWS_PER_CALL]


# -- limits and fees -------------------------------------------------------------------------------


def rate_limit(state: State, account: Account | None) -> Json:
    """`userRateLimit`."""
    if account is None:
        base = state.params.requests_base
        return _rate_row(0, 0, base, 0)
    cap = budgets.cap(account, state.params)
    return _rate_row(account.volume_u, account.requests_used, cap, account.requests_bought)


def _rate_row(volume_u: int, used: int, cap: int, bought: int) -> Json:
    return {
        "cumVlm": wire_u(volume_u),
        "nRequestsUsed": used,
        "nRequestsCap": cap,
        "nRequestsSurplus": bought,
    }


def _rate(value: float) -> str:
    return wire_float(value, 8)


def user_fees(state: State, account: Account | None) -> Json:
    """`userFees`: the user's rates include the tier, not the referral and no builder dex scale."""
    taker, maker = TIERS[0][1:]
    discount = 0.0
    today = state.now_ms // MS_PER_DAY
    if account is not None:
        taker, maker = user_rates(account, state.params, state.now_ms)
        discount = referral_discount(account)
    daily = []
    for day in range(today - WINDOW_DAYS, today + 1):
        cross_u, add_u = account.daily_u.get(day, [0, 0]) if account else (0, 0)
        daily.append(
            {
                "date": datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC).date().isoformat(),
                "userCross": wire_u(cross_u),
                "userAdd": wire_u(add_u),
                "exchange": wire_float(state.params.exchange_daily_volume_usd, 2),
            }
        )
    return {
        "dailyUserVlm": daily,
        "feeSchedule": {
            "cross": _rate(TIERS[0][1]),
            "add": _rate(TIERS[0][2]),
            "spotCross": "0.0007",
            "spotAdd": "0.0004",
            "tiers": {
                "vip": [
                    {
                        "ntlCutoff": wire_float(cutoff, 1),
                        "cross": _rate(cross),
                        "add": _rate(add),
                        "spotCross": "0.0006",
                        "spotAdd": "0.0003",
                    }
                    for cutoff, cross, add in TIERS[1:]
                ],
                "mm": [
                    {"makerFractionCutoff": _rate(share), "add": _rate(add)}
                    for share, add in MAKER_TIERS
                ],
            },
            "referralDiscount": _rate(REFERRAL_DISCOUNT),
            "stakingDiscountTiers": [{"bpsOfMaxSupply": "0.0", "discount": "0.0"}],
        },
        "userCrossRate": _rate(taker),
        "userAddRate": _rate(maker),
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": _rate(discount),
        "trial": None,
        "feeTrialEscrow": "0.0",
        "nextTrialAvailableTimestamp": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }


def max_builder_fee(account: Account | None, builder: str) -> int:
    """`maxBuilderFee` in tenths of a bp."""
    rate = account.builders.get(builder.lower(), 0.0) if account else 0.0
    return round(rate * TENTHS_OF_BP)


def sub_accounts(state: State, account: Account | None) -> list[Json] | None:
    """`subAccounts`: null for an account without any."""
    if account is None or not account.subs:
        return None
    return [
        {
            "name": name,
            "subAccountUser": sub.address,
            "master": account.address,
            "clearinghouseState": clearinghouse_state(state, sub, state.dexes[0]),
            "spotState": spot_state(state, sub),
        }
        for name, sub in account.subs
    ]


def referral(account: Account | None) -> Json:
    """`referral`: the code in use and what it covered."""
    referrer = account.referrer if account else None
    return {
        "referredBy": None if referrer is None else {"referrer": "0x" + "0" * 40, "code": referrer},
        "cumVlm": wire_u(account.volume_u if account else 0),
        "unclaimedRewards": "0.0",
        "claimedRewards": "0.0",
        "builderRewards": "0.0",
        "referrerState": None,
        "rewardHistory": [],
    }
