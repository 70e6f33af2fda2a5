"""
Public queries of `/info` in wire shape. Source: protocol notes 1.3 and 1.4.1 to 1.4.6, 1.4.17 f.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmbot.core.types import Side
from mmbot.emulator.assets import AssetState, DexState
from mmbot.emulator.candles import INTERVALS_MS
from mmbot.emulator.funding import HOUR_MS, RATE_DECIMALS, average_premium, rate_per_h
from mmbot.emulator.matching import Level
from mmbot.emulator.numbers import round_significant, wire, wire_float, wire_u
from mmbot.emulator.shapes import SIDES, Json
from mmbot.emulator.specs import MAIN_COLLATERAL, MarginMode, TradePrint
from mmbot.emulator.state import State

SPOT_PAIR_BASE = 150
SINGLE_TIER_IDS = 50
"""Below this id a margin table is one tier of that leverage."""


# -- listing ---------------------------------------------------------------------------------------


def _table_id(asset: AssetState) -> int:
    if asset.spec.margin_table_id is not None:
        return asset.spec.margin_table_id
    # A tiered table needs an id of its own; no listed one depends on its number.
    if len(asset.tiers.bounds) > 1:
        return SINGLE_TIER_IDS + asset.spec.max_leverage % SINGLE_TIER_IDS
    return asset.spec.max_leverage


def _entry(asset: AssetState) -> Json:
    out: Json = {
        "szDecimals": asset.sz_decimals,
        "name": asset.coin,
        "maxLeverage": asset.spec.max_leverage,
        "marginTableId": _table_id(asset),
    }
    if asset.is_isolated_only:
        out["onlyIsolated"] = True
    if asset.spec.margin_mode is not MarginMode.NORMAL:
        out["marginMode"] = asset.spec.margin_mode.value
    if asset.is_delisted:
        out["isDelisted"] = True
    if asset.growth_mode:
        out["growthMode"] = "enabled"
    if asset.deployer_fee_scale is not None:
        if asset.growth_mode:
            out["lastFeeScaleChangeTime"] = None
        out["deployerFeeScale"] = wire_float(asset.deployer_fee_scale, 6)
    return out


def _tables(dex: DexState) -> list[list[Any]]:
    tables: dict[int, Json] = {}
    for asset in dex.assets:
        number = _table_id(asset)
        tiers = [
            {"lowerBound": wire_u(low_u), "maxLeverage": lev} for low_u, lev in asset.tiers.bounds
        ]
        text = f"tiered {asset.spec.max_leverage}x" if len(tiers) > 1 else ""
        tables.setdefault(number, {"description": text, "marginTiers": tiers})
    return [[number, table] for number, table in sorted(tables.items())]


def meta(dex: DexState) -> Json:
    """`meta`: delisted entries stay in place, so an index is an id."""
    return {
        "universe": [_entry(asset) for asset in dex.assets],
        "marginTables": _tables(dex),
        "collateralToken": dex.spec.collateral_token,
    }


def perp_dexs(state: State) -> list[Json | None]:
    """`perpDexs`: null for the main dex, then the builder dexes in the order of their ids."""
    out: list[Json | None] = [None]
    for dex in state.dexes[1:]:
        caps = [
            [asset.coin, wire_u(asset.oi_cap_u)]
            for asset in dex.assets
            if asset.oi_cap_u is not None
        ]
        out.append(
            {
                "name": dex.name,
                "fullName": dex.spec.full_name or dex.name,
                "deployer": dex.spec.deployer,
                "oracleUpdater": dex.spec.oracle_updater,
                "feeRecipient": dex.spec.fee_recipient,
                "assetToStreamingOiCap": caps,
                "subDeployers": [],
                "assetToFundingMultiplier": [
                    [a.coin, wire_float(a.spec.funding_multiplier, 8)] for a in dex.assets
                ],
                "assetToFundingInterestRate": [
                    [a.coin, wire_float(a.spec.funding_interest_8h, 10)]
                    for a in dex.assets
                    if a.spec.funding_interest_8h is not None
                ],
                "assetToFundingClamp": [
                    [a.coin, wire_float(a.spec.funding_clamp_8h, 10)]
                    for a in dex.assets
                    if a.spec.funding_clamp_8h is not None
                ],
            }
        )
    return out


def perp_dex_limits(dex: DexState) -> Json:
    """`perpDexLimits` of a builder dex."""
    caps = [(asset.coin, asset.oi_cap_u) for asset in dex.assets if asset.oi_cap_u is not None]
    return {
        "totalOiCap": wire_u(sum(cap_u for _, cap_u in caps)),
        "oiSzCapPerPerp": "10000000000.0",
        "maxTransferNtl": "100000000.0",
        "coinToOiCap": [[coin, wire_u(cap_u)] for coin, cap_u in caps],
    }


def spot_meta(state: State) -> Json:
    """`spotMeta`: the collateral tokens, and a USDC pair for each but USDC."""
    tokens = {0: MAIN_COLLATERAL}
    for dex in state.dexes:
        tokens.setdefault(dex.spec.collateral_token, dex.spec.collateral)
    return {
        "tokens": [
            {
                "name": name,
                "szDecimals": 8 if index == 0 else 2,
                "weiDecimals": 8,
                "index": index,
                "tokenId": f"0x{index + 1:032x}",
                "isCanonical": index == 0,
                "evmContract": None,
                "fullName": None,
                "deployerTradingFeeShare": "0.0",
            }
            for index, name in sorted(tokens.items())
        ],
        "universe": [
            {
                "tokens": [index, 0],
                "name": f"@{SPOT_PAIR_BASE + n}",
                "index": SPOT_PAIR_BASE + n,
                "isCanonical": False,
            }
            for n, index in enumerate(sorted(tokens)[1:])
        ],
    }


def spot_ctxs(state: State) -> list[Json]:
    """Contexts of the spot pairs; collateral tokens are worth a dollar and do not trade here."""
    pairs: Iterable[Json] = spot_meta(state)["universe"]
    return [
        {
            "prevDayPx": "1.0",
            "dayNtlVlm": "0.0",
            "markPx": "1.0",
            "midPx": None,
            "circulatingSupply": "0.0",
            "coin": pair["name"],
            "totalSupply": "0.0",
            "dayBaseVlm": "0.0",
        }
        for pair in pairs
    ]


# -- prices ----------------------------------------------------------------------------------------


def asset_ctx(asset: AssetState) -> Json:
    """One asset context; `midPx`, `impactPxs` and `premium` are null without a book."""
    bid, ask = asset.impact_ticks(Side.BUY), asset.impact_ticks(Side.SELL)
    premium = asset.premium()
    rate = 0.0 if asset.is_halted else rate_per_h(asset, average_premium(asset))
    px = asset.px_decimals
    impact = None
    if bid is not None and ask is not None:
        impact = [wire(round(bid), px), wire(round(ask), px)]
    return {
        "funding": wire_float(rate, RATE_DECIMALS),
        "openInterest": wire(asset.long_lots, asset.sz_decimals),
        "prevDayPx": wire(asset.prev_day_ticks, px),
        "dayNtlVlm": wire_u(asset.day_ntl_u),
        "premium": None if premium is None else wire_float(premium, RATE_DECIMALS),
        "oraclePx": wire(asset.oracle_ticks, px),
        "markPx": wire(asset.mark_ticks, px),
        "midPx": mid_px(asset),
        "impactPxs": impact,
        "dayBaseVlm": wire(asset.day_lots, asset.sz_decimals),
    }


def mid_px(asset: AssetState) -> str | None:
    """Mid with the half tick it may need, null without two sides."""
    twice = asset.mid_half_ticks()
    return None if twice is None else wire(twice * 5, asset.px_decimals + 1)


def all_mids(state: State, dex: DexState) -> dict[str, str]:
    """`allMids`: the last trade where a side is missing, the mark before any trade."""
    out: dict[str, str] = {}
    for asset in dex.assets:
        if asset.is_delisted:
            continue
        last = asset.mark_ticks if asset.last_trade_ticks is None else asset.last_trade_ticks
        out[asset.coin] = mid_px(asset) or wire(last, asset.px_decimals)
    if dex.index == 0:
        for ctx in spot_ctxs(state):
            out[ctx["coin"]] = ctx["markPx"]
    return out


def _level(asset: AssetState, px_ticks: int, sz_lots: int, count: int) -> Json:
    return {
        "px": wire(px_ticks, asset.px_decimals),
        "sz": wire(sz_lots, asset.sz_decimals),
        "n": count,
    }


def _grouped(
    levels: Iterable[Level], figures: int, mantissa: int, count: int, *, up: bool
) -> list[tuple[int, int, int]]:
    out: list[tuple[int, int, int]] = []
    for level in levels:
        px = round_significant(level.px_ticks, figures, mantissa, up=up)
        if out and out[-1][0] == px:
            _, lots, n = out[-1]
            out[-1] = (px, lots + level.sz_lots, n + len(level.orders))
        elif len(out) == count:
            break
        else:
            out.append((px, level.sz_lots, len(level.orders)))
    return out


def book_sides(
    asset: AssetState, levels: int, n_sig_figs: int | None, mantissa: int | None
) -> list[list[Json]]:
    """[bids, asks] of the book, best first; aggregation rounds bids down and asks up."""
    sides: list[list[Json]] = []
    for side in (Side.BUY, Side.SELL):
        rows: list[Json] = []
        if n_sig_figs is None:
            for level in asset.book.levels(side):
                if len(rows) == levels:
                    break
                rows.append(_level(asset, level.px_ticks, level.sz_lots, len(level.orders)))
        else:
            grouped = _grouped(
                asset.book.levels(side), n_sig_figs, mantissa or 1, levels, up=side is Side.SELL
            )
            rows = [_level(asset, px, lots, n) for px, lots, n in grouped]
        sides.append(rows)
    return sides


def l2_book(
    state: State, asset: AssetState, levels: int, n_sig_figs: int | None, mantissa: int | None
) -> Json:
    """`l2Book`; with `nSigFigs` it carries the spread."""
    sides = book_sides(asset, levels, n_sig_figs, mantissa)
    out: Json = {"coin": asset.coin, "time": state.now_ms, "levels": sides}
    if n_sig_figs is not None and sides[0] and sides[1]:
        bid, ask = asset.book.bid_ticks, asset.book.ask_ticks
        assert bid is not None
        assert ask is not None
        out["spread"] = wire(ask - bid, asset.px_decimals)
    return out


def bbo(state: State, asset: AssetState) -> Json:
    """`bbo` data: best bid and ask, null for a side without orders."""
    touch: list[Json | None] = []
    for side in (Side.BUY, Side.SELL):
        level = next(asset.book.levels(side), None)
        touch.append(
            None
            if level is None
            else _level(asset, level.px_ticks, level.sz_lots, len(level.orders))
        )
    return {"coin": asset.coin, "time": state.now_ms, "bbo": touch}


def trade_row(state: State, trade: TradePrint) -> Json:
    """One public trade in wire shape."""
    asset = state.assets[trade.asset_id]
    return {
        "coin": trade.coin,
        "side": SIDES[trade.side],
        "px": wire(trade.px_ticks, asset.px_decimals),
        "sz": wire(trade.sz_lots, asset.sz_decimals),
        "time": trade.time_ms,
        "hash": trade.hash,
        "tid": trade.tid,
        "users": [trade.buyer, trade.seller],
    }


def candles(asset: AssetState, interval: str, start_ms: int, end_ms: int) -> list[Json]:
    """`candleSnapshot` rows; `T` is the last millisecond of a bar."""
    length_ms = INTERVALS_MS[interval]
    px = asset.px_decimals
    return [
        {
            "t": bar.open_ms,
            "T": bar.open_ms + length_ms - 1,
            "s": asset.coin,
            "i": interval,
            "o": wire(bar.open_ticks, px),
            "c": wire(bar.close_ticks, px),
            "h": wire(bar.high_ticks, px),
            "l": wire(bar.low_ticks, px),
            "v": wire(bar.sz_lots, asset.sz_decimals),
            "n": bar.trades,
        }
        for bar in asset.candles.merged(length_ms, start_ms, end_ms)
    ]


# -- funding ---------------------------------------------------------------------------------------


def funding_history(asset: AssetState, start_ms: int, end_ms: int) -> list[Json]:
    """`fundingHistory` rows within [start, end], oldest first, at most 500."""
    return [
        {
            "coin": asset.coin,
            "fundingRate": wire_float(rate, RATE_DECIMALS),
            "premium": wire_float(premium, RATE_DECIMALS),
            "time": time_ms,
        }
        for time_ms, rate, premium in asset.funding_rows
        if start_ms <= time_ms <= end_ms
    ][:500]


def predicted_fundings(state: State) -> list[list[Any]]:
    """`predictedFundings` of the main dex; the time is of the hour just settled, as observed."""
    settled_ms = state.now_ms // HOUR_MS * HOUR_MS
    out: list[list[Any]] = []
    for asset in state.dexes[0].assets:
        if asset.is_halted:
            continue
        rate = wire_float(rate_per_h(asset, average_premium(asset)), RATE_DECIMALS)
        row = {"fundingRate": rate, "nextFundingTime": settled_ms, "fundingIntervalHours": 1}
        out.append([asset.coin, [["HlPerp", row]]])
    return out
