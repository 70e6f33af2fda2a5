"""
TP/SL orders: they wait for the mark and then run as limit or market orders.

Source: Hyperliquid docs, "Take profit and stop loss orders"; protocol notes 5.2.
"""

from __future__ import annotations

from mmbot.core.types import Tif
from mmbot.emulator.admission import fit_reduce_only, margin_refusal
from mmbot.emulator.assets import AssetState
from mmbot.emulator.matching import Order
from mmbot.emulator.placing import REDUCE_ONLY_CANCELED, Desk
from mmbot.emulator.shapes import triggers_above
from mmbot.emulator.state import State


def fire_due(state: State, desk: Desk, asset: AssetState) -> None:
    """Run every waiting order whose price the mark has reached, oldest first."""
    for order in list(asset.triggers.values()):
        # An earlier one of this round may have ended it.
        if order.oid in asset.triggers and _is_due(order, asset.mark_ticks):
            _fire(state, desk, order)


def _is_due(order: Order, mark_ticks: int) -> bool:
    assert order.trigger is not None
    if triggers_above(order):
        return mark_ticks >= order.trigger.px_ticks
    return mark_ticks <= order.trigger.px_ticks


def _fire(state: State, desk: Desk, order: Order) -> None:
    slot, trigger = order.slot, order.trigger
    assert trigger is not None
    asset = slot.asset
    state.tx += 1
    del asset.triggers[order.oid]
    order.was_triggered = True
    if order.is_position_tpsl:
        order.sz_lots = order.orig_sz_lots = max(abs(slot.szi_lots), order.sz_lots)
    state.report(order, "triggered")
    if order.is_reduce_only:
        if not fit_reduce_only(order):
            desk.end(order, REDUCE_ONLY_CANCELED)
            return
    else:
        why = margin_refusal(order)
        if why is not None and why.status is not None:
            desk.finish(order, why.status)
            return
    if trigger.is_market:
        # The limit of a market trigger is the mark and the documented slippage, not `p`.
        room = state.params.trigger_slippage_frac * order.side
        order.tif = Tif.IOC
        order.px_ticks = max(1, round(asset.mark_ticks * (1 + room)))
    else:
        order.tif = Tif.GTC
    desk.run(order)
