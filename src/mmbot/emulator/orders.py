"""
Order actions of `/exchange`: static checks over the whole batch, then one verdict per element.

A static failure anywhere answers the whole batch with exactly one status and leaves no record.
Sources: Hyperliquid docs, "Exchange endpoint", "Error responses"; protocol notes 2.7 to 2.9.
"""

from __future__ import annotations

from typing import Any

from mmbot.core.types import Side, Tif
from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import AssetState
from mmbot.emulator.matching import Order
from mmbot.emulator.numbers import parse_units, wire
from mmbot.emulator.placing import BAD_TICK, USER_CANCELED, Builder, Desk
from mmbot.emulator.specs import CancelResult, NewOrder, OrderResult, Outcome, Trigger
from mmbot.emulator.state import State
from mmbot.errors import MmbotError

Json = dict[str, Any]
NEVER_PLACED = "Order was never placed, already canceled, or filled."
CANNOT_MODIFY = "Cannot modify canceled or filled order"
BUILDER_UNIT = 1e-5
"""A builder fee of 1 is a tenth of a basis point."""
BUILDER_MAX_RATE = 0.001
PRIORITY_UNIT = 1e-8
PX_TEXT_DECIMALS = 8
BPS = 10_000


class StaticError(MmbotError):
    """A check of the whole batch failed; the message is the venue's sentence."""


def new_order(state: State, raw: Json) -> NewOrder:
    """
    Read one order of an action.

    Raises:
        StaticError: Unknown asset, bad size, bad price, outside the 80 % band, off the tick.
    """
    asset = state.assets.get(raw["a"])
    if asset is None:
        # The wording for perps is unverified (spot ids answer "Invalid spot").
        msg = "Invalid perp"
        raise StaticError(msg)
    lots = parse_units(raw["s"], asset.sz_decimals)
    if lots is None:
        msg = "Order has invalid size."
        raise StaticError(msg)
    if lots == 0:
        msg = "Order has zero size."
        raise StaticError(msg)
    px_ticks = _price(raw["p"], asset, state.params.px_band_frac)
    if not asset.is_valid_px(px_ticks):
        raise StaticError(BAD_TICK)
    kind = raw["t"]
    trigger = None
    if "trigger" in kind:
        spec = kind["trigger"]
        trigger_ticks = parse_units(spec["triggerPx"], asset.px_decimals)
        if trigger_ticks is None or not asset.is_valid_px(trigger_ticks):
            raise StaticError(BAD_TICK)
        trigger = Trigger(trigger_ticks, bool(spec["isMarket"]), spec["tpsl"] == "tp")
        tif = Tif.IOC if trigger.is_market else Tif.GTC
    else:
        name = kind["limit"]["tif"]
        # As API input FrontendMarket is unverified; it matches like an IOC.
        tif = Tif.IOC if name == "FrontendMarket" else Tif(name)
    return NewOrder(
        asset_id=asset.asset_id,
        side=Side.BUY if raw["b"] else Side.SELL,
        px_ticks=px_ticks,
        sz_lots=lots,
        tif=tif,
        is_reduce_only=bool(raw.get("r", False)),
        cloid=raw["c"].lower() if raw.get("c") else None,
        trigger=trigger,
    )


def _price(text: str, asset: AssetState, band_frac: float) -> int:
    """Limit price in ticks; the band is `0.2 * mark < px <= 5 * mark` (unverified for perps)."""
    fine = parse_units(text, PX_TEXT_DECIMALS)
    if not fine:
        msg = "Order has invalid price."
        raise StaticError(msg)
    mark_fine = asset.mark_ticks * 10 ** (PX_TEXT_DECIMALS - asset.px_decimals)
    # In whole basis points, so that a price right on the band is judged exactly.
    low_bps = round((1 - band_frac) * BPS)
    if not (low_bps * mark_fine < BPS * fine and low_bps * fine <= BPS * mark_fine):
        msg = "Order price cannot be more than 80% away from the reference price"
        raise StaticError(msg)
    px_ticks = parse_units(text, asset.px_decimals)
    if px_ticks is None:
        raise StaticError(BAD_TICK)
    return px_ticks


def _builder(account: Account, action: Json) -> Builder | None:
    raw = action.get("builder")
    if raw is None:
        return None
    address, rate = str(raw["b"]).lower(), raw["f"] * BUILDER_UNIT
    # An approval must exist even for a fee of zero (unverified).
    # Only a main wallet can approve, so a sub-account trades on its master's approval (unverified).
    approved = (account.master or account).builders.get(address)
    if approved is None or rate > approved + 1e-12 or rate > BUILDER_MAX_RATE:
        msg = "Builder fee has not been approved"
        raise StaticError(msg)
    return Builder(address, rate)


def _priority_rate(grouping: Any, orders: list[NewOrder]) -> float:
    """Priority fee, a fraction: all IOC or all adding ALO. Hyperliquid docs, "Priority fees"."""
    if not isinstance(grouping, dict):
        return 0.0
    is_ioc = all(order.tif is Tif.IOC for order in orders)
    is_alo = all(order.tif is Tif.ALO and not order.is_reduce_only for order in orders)
    if not (is_ioc or is_alo):
        # Unverified wording.
        msg = "Invalid TIF"
        raise StaticError(msg)
    return float(grouping["p"]) * PRIORITY_UNIT


def _ok(kind: str, statuses: list[Any]) -> Json:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}


def status_of(state: State, asset_id: int, cloid: str | None, result: OrderResult) -> Any:
    """One element of `statuses`."""
    if result.outcome is Outcome.REJECTED:
        return {"error": result.error}
    if result.outcome in {Outcome.WAITING_FOR_FILL, Outcome.WAITING_FOR_TRIGGER}:
        return result.outcome.value
    body: Json = {}
    if result.outcome is Outcome.FILLED:
        asset = state.assets[asset_id]
        # The average price is cut, not rounded, to the price's decimals.
        avg = int(result.avg_px_ticks or 0)
        body["totalSz"] = wire(result.filled_lots, asset.sz_decimals)
        body["avgPx"] = wire(avg, asset.px_decimals)
    body["oid"] = result.oid
    if cloid is not None:
        body["cloid"] = cloid
    return {result.outcome.value: body}


def place_batch(state: State, desk: Desk, account: Account, action: Json) -> Json:
    """`order`: one status per order, or a single one when a static check failed."""
    raws = action["orders"]
    try:
        builder = _builder(account, action)
    except StaticError as refused:
        return {"status": "err", "response": str(refused)}
    try:
        if not raws:
            msg = "Orders are empty."
            raise StaticError(msg)
        orders = [new_order(state, raw) for raw in raws]
        grouping = action.get("grouping", "na")
        priority = _priority_rate(grouping, orders)
    except StaticError as refused:
        return _ok("order", [{"error": str(refused)}])
    statuses: list[Any] = []
    parent: Order | None = None
    for n, order in enumerate(orders):
        is_child = grouping == "normalTpsl" and n > 0
        if is_child and parent is None:
            # The fate of children whose parent was refused is unverified: they share its verdict.
            statuses.append(statuses[0])
            continue
        result = desk.place(
            account,
            order,
            builder=builder,
            priority_rate=priority,
            is_position_tpsl=grouping == "positionTpsl",
            parent=parent if is_child else None,
        )
        if n == 0 and result.is_ok and result.oid is not None:
            parent = account.history.get(result.oid)
        statuses.append(status_of(state, order.asset_id, order.cloid, result))
    return _ok("order", statuses)


# -- cancelling ------------------------------------------------------------------------------------


def cancel(
    desk: Desk,
    account: Account,
    asset_id: int,
    ref: int | str,
    *,
    is_fast: bool = False,
) -> CancelResult:
    """Cancel by oid or cloid; the asset must be the order's."""
    order = find_open(account, ref)
    suffix = f" asset={asset_id}"
    if order is None or order.slot.asset.asset_id != asset_id:
        return CancelResult(NEVER_PLACED + suffix)
    if is_fast and order.trigger is not None:
        # Unverified wording; that a fast cancel is refused on a trigger order is documented.
        return CancelResult("Cannot fast cancel trigger order." + suffix)
    desk.end(order, USER_CANCELED)
    return CancelResult()


def find_open(account: Account, ref: int | str) -> Order | None:
    """An open order by oid or cloid."""
    if isinstance(ref, int):
        return account.open.get(ref)
    order = account.by_cloid.get(ref.lower())
    return order if order is not None and order.oid in account.open else None


def cancel_batch(desk: Desk, account: Account, action: Json) -> Json:
    """`cancel` and `cancelByCloid`: a status for each, in order."""
    is_fast = bool(action.get("f", False))
    statuses: list[Any] = []
    for raw in action["cancels"]:
        asset_id = raw["asset"] if "asset" in raw else raw["a"]
        ref = raw["cloid"] if "cloid" in raw else raw["o"]
        result = cancel(desk, account, asset_id, ref, is_fast=is_fast)
        statuses.append("success" if result.is_ok else {"error": result.error})
    return _ok("cancel", statuses)


# -- modifying -------------------------------------------------------------------------------------


def _modify(
    state: State, desk: Desk, account: Account, ref: int | str, new: NewOrder, *, always: bool
) -> tuple[OrderResult, str | None]:
    """
    Cancel and replace: a new oid under the old cloid. Returns the verdict and the cloid.

    Without `always` the new order must be a limit order that only adds: ALO, or GTC treated as
    ALO. A refused replacement leaves the old order cancelled (unverified). Source: Hyperliquid
    docs, "Exchange endpoint" (June 2026).
    """
    old = find_open(account, ref)
    if old is not None and old.slot.asset.asset_id != new.asset_id:
        # What the venue says to a modify that changes the asset is unverified.
        old = None
    if not always:
        if old is None:
            text = f"{CANNOT_MODIFY} asset={new.asset_id}"
            return OrderResult(Outcome.REJECTED, error=text), new.cloid
        if new.trigger is not None or new.tif is Tif.IOC:
            # Unverified wording.
            text = f"Invalid TIF asset={new.asset_id}"
            return OrderResult(Outcome.REJECTED, error=text), new.cloid
    cloid = new.cloid
    if cloid is None:
        cloid = old.cloid if old is not None else None
    tif = new.tif
    if not always and tif is Tif.GTC:
        tif = Tif.ALO
    order = NewOrder(
        new.asset_id, new.side, new.px_ticks, new.sz_lots, tif, new.is_reduce_only, cloid,
        new.trigger,
    )  # fmt: skip
    start = len(state.events)
    if old is not None:
        desk.end(old, USER_CANCELED)
    middle = len(state.events)
    result = desk.place(account, order)
    if state.is_modify_reversed:
        # Third parties saw the two records of a modify in either order. Which is the rule is
        # unverified; without the switch the old order's cancel comes first.
        events = state.events
        events[start:] = events[middle:] + events[start:middle]
    return result, cloid


def modify_one(state: State, desk: Desk, account: Account, action: Json) -> Json:
    """`modify`: the bare `default` answer, or an error for the whole action."""
    try:
        new = new_order(state, action["order"])
    except StaticError as refused:
        return {"status": "err", "response": str(refused)}
    always = bool(action.get("a", False))
    result, _ = _modify(state, desk, account, action["oid"], new, always=always)
    if not result.is_ok:
        return {"status": "err", "response": result.error}
    return {"status": "ok", "response": {"type": "default"}}


def modify_batch(state: State, desk: Desk, account: Account, action: Json) -> Json:
    """
    `batchModify`: statuses as for orders.

    The elements are carried out one after the other, each cancel just before its own placement;
    that the venue does not first cancel all of them is unverified.
    """
    always = bool(action.get("a", False))
    try:
        if not action["modifies"]:
            msg = "Orders are empty."
            raise StaticError(msg)
        orders = [new_order(state, raw["order"]) for raw in action["modifies"]]
    except StaticError as refused:
        return _ok("order", [{"error": str(refused)}])
    statuses: list[Any] = []
    for raw, new in zip(action["modifies"], orders, strict=True):
        result, cloid = _modify(state, desk, account, raw["oid"], new, always=always)
        statuses.append(status_of(state, new.asset_id, cloid, result))
    return _ok("order", statuses)
