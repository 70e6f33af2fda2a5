"""
Orders and fills as the venue writes them. Source: protocol notes 1.4.9 to 1.4.11 and 3.4.
"""

from __future__ import annotations

from typing import Any

from mmbot.core.types import Side, Tif
from mmbot.emulator.accounts import Slot
from mmbot.emulator.matching import Order
from mmbot.emulator.numbers import wire, wire_u

Json = dict[str, Any]

SIDES = {Side.BUY: "B", Side.SELL: "A"}


def order_type(order: Order) -> str:
    """Kind of an order in the words of `frontendOpenOrders`."""
    trigger = order.trigger
    if trigger is None:
        return "Market" if order.is_liquidation else "Limit"
    kind = "Take Profit" if trigger.is_tp else "Stop"
    return f"{kind} {'Market' if trigger.is_market else 'Limit'}"


def triggers_above(order: Order) -> bool:
    """Whether a trigger order waits for the mark to rise: a take-profit sale or a stop purchase."""
    assert order.trigger is not None
    return order.trigger.is_tp == (order.side is Side.SELL)


def basic_order(order: Order) -> Json:
    """An order as `openOrders` and `orderUpdates` show it; optional keys only when they apply."""
    asset = order.slot.asset
    out: Json = {
        "coin": asset.coin,
        "side": SIDES[order.side],
        "limitPx": wire(order.px_ticks, asset.px_decimals),
        "sz": wire(order.sz_lots, asset.sz_decimals),
        "oid": order.oid,
        "timestamp": order.time_ms,
        "origSz": wire(order.orig_sz_lots, asset.sz_decimals),
    }
    if order.cloid is not None:
        out["cloid"] = order.cloid
    if order.is_reduce_only:
        out["reduceOnly"] = True
    return out


def frontend_order(order: Order) -> Json:
    """An order as `frontendOpenOrders`, `orderStatus` and `historicalOrders` show it."""
    asset = order.slot.asset
    trigger = order.trigger
    condition = "N/A"
    if trigger is not None:
        word = "above" if triggers_above(order) else "below"
        px = wire(trigger.px_ticks, asset.px_decimals).removesuffix(".0")
        condition = "Triggered" if order.was_triggered else f"Price {word} {px}"
    return {
        "coin": asset.coin,
        "side": SIDES[order.side],
        "limitPx": wire(order.px_ticks, asset.px_decimals),
        "sz": wire(order.sz_lots, asset.sz_decimals),
        "oid": order.oid,
        "timestamp": order.time_ms,
        "triggerCondition": condition,
        "isTrigger": trigger is not None,
        "triggerPx": "0.0" if trigger is None else wire(trigger.px_ticks, asset.px_decimals),
        "children": [
            frontend_order(child)
            for child in order.children
            if child.oid in order.slot.account.open
        ],
        "isPositionTpsl": order.is_position_tpsl,
        "reduceOnly": order.is_reduce_only,
        "orderType": order_type(order),
        "origSz": wire(order.orig_sz_lots, asset.sz_decimals),
        "tif": _tif(order),
        "cloid": order.cloid,
    }


def _tif(order: Order) -> str | None:
    if order.is_liquidation:
        return "LiquidationMarket"
    trigger = order.trigger
    if trigger is None:
        return order.tif.value
    return None if trigger.is_market else Tif.GTC.value


def order_update(order: Order) -> Json:
    """One element of an `orderUpdates` message."""
    return {
        "order": basic_order(order),
        "status": order.status,
        "statusTimestamp": order.status_ms,
    }


def order_history(order: Order) -> Json:
    """One row of `historicalOrders`, and the inner object of `orderStatus`."""
    return {
        "order": frontend_order(order),
        "status": order.status,
        "statusTimestamp": order.status_ms,
    }


def direction(before_lots: int, signed_lots: int) -> str:
    """`dir` of a fill: what it does to the position it starts from."""
    after = before_lots + signed_lots
    if before_lots == 0 or (before_lots > 0) == (signed_lots > 0):
        return "Open Long" if signed_lots > 0 else "Open Short"
    if after == 0 or (after > 0) == (before_lots > 0):
        return "Close Long" if before_lots > 0 else "Close Short"
    return "Long > Short" if before_lots > 0 else "Short > Long"


def fill_row(
    order: Order,
    *,
    px_ticks: int,
    sz_lots: int,
    before_lots: int,
    pnl_u: int,
    fee_u: int,
    builder_u: int,
    is_taker: bool,
    time_ms: int,
    tx_hash: str,
    tid: int,
    fee_token: str,
    liquidation: Json | None,
    dir_: str | None = None,
) -> Json:
    """One row of `userFills`. `fee_u` includes `builder_u`; negative is a rebate."""
    slot: Slot = order.slot
    asset = slot.asset
    row: Json = {
        "coin": asset.coin,
        "px": wire(px_ticks, asset.px_decimals),
        "sz": wire(sz_lots, asset.sz_decimals),
        "side": SIDES[order.side],
        "time": time_ms,
        "startPosition": wire(before_lots, asset.sz_decimals),
        "dir": dir_ or direction(before_lots, sz_lots * order.side),
        "closedPnl": wire_u(pnl_u),
        "hash": tx_hash,
        "oid": order.oid,
        "crossed": is_taker,
        "fee": wire_u(fee_u),
        "tid": tid,
        "feeToken": fee_token,
        "twapId": None,
    }
    if order.cloid is not None:
        row["cloid"] = order.cloid
    if builder_u:
        row["builderFee"] = wire_u(builder_u)
    if liquidation is not None:
        row["liquidation"] = liquidation
    return row
