"""
Liquidation, and settlement of a market that stops.

Sources: Hyperliquid docs, "Liquidations", "HIP-3 deployer actions"; protocol notes 4.8 and 5.9.
"""

from __future__ import annotations

from mmbot.core.types import Side, Tif
from mmbot.emulator.accounts import Account, Purse, Slot
from mmbot.emulator.assets import AssetState
from mmbot.emulator.margin import summarise
from mmbot.emulator.matching import Order
from mmbot.emulator.numbers import wire, wire_u
from mmbot.emulator.placing import Desk
from mmbot.emulator.shapes import Json, fill_row
from mmbot.emulator.specs import U_PER_USD, FillRecord, LedgerRecord, LiquidationRecord
from mmbot.emulator.state import State, trade_id

BIG_POSITION_U = 100_000 * U_PER_USD
COOLDOWN_MS = 30_000
LIQUIDATED = "liquidatedCanceled"


def check(state: State, desk: Desk, asset: AssetState) -> None:
    """Liquidate the holders of `asset` whose equity is below maintenance at the present mark."""
    for slot in list(asset.holders.values()):
        if not slot.szi_lots:
            continue
        if slot.is_cross:
            if is_cross_due(slot.purse):
                _liquidate(state, desk, slot.purse, _cross_slots(slot.purse), is_cross=True)
        elif is_isolated_due(slot):
            _liquidate(state, desk, slot.purse, [slot], is_cross=False)


def is_cross_due(purse: Purse) -> bool:
    """Whether the cross positions of a purse are below maintenance."""
    summary = summarise(purse)
    return summary.cross_ntl_u > 0 and summary.cross_value_u < summary.cross_maintenance_u


def is_isolated_due(slot: Slot) -> bool:
    """Whether an isolated position is below maintenance."""
    return slot.margin_used_u < slot.asset.tiers.maintenance_u(slot.ntl_u)


def _cross_slots(purse: Purse) -> list[Slot]:
    slots = [slot for slot in purse.slots.values() if slot.is_cross and slot.szi_lots]
    return sorted(slots, key=lambda slot: -slot.ntl_u)


def _liquidate(
    state: State, desk: Desk, purse: Purse, slots: list[Slot], *, is_cross: bool
) -> None:
    """Orders off, market orders to the book, and the backstop for what is too far gone."""
    account = slots[0].account
    state.tx += 1
    touched = {slot.asset.asset_id for slot in slots}
    for order in list(account.open.values()):
        asset = order.slot.asset
        is_hit = asset.dex_index == purse.dex_index if is_cross else asset.asset_id in touched
        if is_hit and order.oid in account.open:
            desk.end(order, LIQUIDATED)
    _announce(state, account, purse, slots, is_cross=is_cross)
    for slot in slots:
        if slot.szi_lots and (is_cross_due(purse) if is_cross else is_isolated_due(slot)):
            _to_market(state, desk, slot)
    rest = [slot for slot in slots if slot.szi_lots]
    if not rest:
        return
    if is_cross:
        summary = summarise(purse)
        is_gone = 3 * summary.cross_value_u < 2 * summary.cross_maintenance_u
    else:
        slot = rest[0]
        is_gone = 3 * slot.margin_used_u < 2 * slot.asset.tiers.maintenance_u(slot.ntl_u)
    if is_gone:
        _backstop(state, purse, rest, is_cross=is_cross)


def _to_market(state: State, desk: Desk, slot: Slot) -> None:
    size = abs(slot.szi_lots)
    if slot.ntl_u > BIG_POSITION_U and state.now_ms >= slot.cooldown_until_ms:
        # Only a fifth at first; within the cooldown the whole position goes.
        slot.cooldown_until_ms = state.now_ms + COOLDOWN_MS
        size = max(1, size // 5)
    side = Side.SELL if slot.szi_lots > 0 else Side.BUY
    room = state.params.trigger_slippage_frac * side
    order = Order(
        oid=state.next_oid(),
        slot=slot,
        side=side,
        px_ticks=max(1, round(slot.asset.mark_ticks * (1 + room))),
        sz_lots=size,
        orig_sz_lots=size,
        tif=Tif.IOC,
        time_ms=state.now_ms,
        is_reduce_only=True,
        is_liquidation=True,
    )
    state.remember(order)
    desk.run(order)


def _announce(
    state: State, account: Account, purse: Purse, slots: list[Slot], *, is_cross: bool
) -> None:
    ntl_u = sum(slot.ntl_u for slot in slots)
    value_u = summarise(purse).cross_value_u if is_cross else slots[0].margin_used_u
    event: Json = {
        "lid": state.tx,
        "liquidator": backstop_address(purse.dex_index),
        "liquidated_user": account.address,
        "liquidated_ntl_pos": wire_u(ntl_u),
        "liquidated_account_value": wire_u(value_u),
    }
    state.events.append(LiquidationRecord(account.address, state.now_ms, event))
    positions = [
        {"coin": slot.asset.coin, "szi": wire(slot.szi_lots, slot.asset.sz_decimals)}
        for slot in slots
    ]
    row: Json = {
        "time": state.now_ms,
        "hash": state.tx_hash(),
        "delta": {
            "type": "liquidation",
            "liquidatedNtlPos": wire_u(ntl_u),
            "accountValue": wire_u(value_u),
            "leverageType": "Cross" if is_cross else "Isolated",
            "liquidatedPositions": positions,
        },
    }
    account.ledger.append(row)
    state.events.append(LedgerRecord(account.address, state.now_ms, row))


def backstop_address(dex_index: int) -> str:
    """Account that takes over what the book could not: 0x400..00 plus the dex index."""
    return f"0x{(0x40 << 152) + dex_index:040x}"


def _backstop(state: State, purse: Purse, slots: list[Slot], *, is_cross: bool) -> None:
    """Hand positions and their margin to the backstop liquidator at the mark."""
    address = backstop_address(purse.dex_index)
    taker = state.accounts.get(address)
    if taker is None:
        taker = state.accounts[address] = Account(address, state.params, is_house=True)
    for slot in slots:
        asset = slot.asset
        szi, mark = slot.szi_lots, asset.mark_ticks
        liquidation = {
            "liquidatedUser": slot.account.address,
            "markPx": wire(mark, asset.px_decimals),
            "method": "backstop",
        }
        mode = "Cross" if slot.is_cross else "Isolated"
        dir_ = f"Liquidated {mode} {'Long' if szi > 0 else 'Short'}"
        isolated_u = 0 if slot.is_cross else slot.margin_used_u
        close_at_mark(state, slot, dir_, liquidation)
        taker.slot(asset, 1).fill(szi, mark)
        _seize(purse, taker, isolated_u)
    if is_cross:
        _seize(purse, taker, purse.cash_u)


def _seize(purse: Purse, taker: Account, amount_u: int) -> None:
    """What is left of the margin, or the debt, goes with the positions."""
    purse.cash_u -= amount_u
    taker.purse(purse.dex_index).cash_u += amount_u


def close_at_mark(state: State, slot: Slot, dir_: str, liquidation: Json | None) -> None:
    """Close a position at the mark without a trade, a fee or a counterparty on the book."""
    asset, account = slot.asset, slot.account
    before, mark = slot.szi_lots, asset.mark_ticks
    side = Side.SELL if before > 0 else Side.BUY
    pnl_u = slot.fill(-before, mark)
    asset.holders.pop(account.address, None)
    if account.is_house:
        return
    order = Order(
        oid=state.next_oid(),
        slot=slot,
        side=side,
        px_ticks=mark,
        sz_lots=0,
        orig_sz_lots=abs(before),
        tif=Tif.IOC,
        time_ms=state.now_ms,
        is_liquidation=liquidation is not None,
    )
    row = fill_row(
        order,
        px_ticks=mark,
        sz_lots=abs(before),
        before_lots=before,
        pnl_u=pnl_u,
        fee_u=0,
        builder_u=0,
        is_taker=True,
        time_ms=state.now_ms,
        tx_hash=state.tx_hash(),
        tid=trade_id(order.oid, state.tx),
        fee_token=state.collateral(asset),
        liquidation=liquidation,
        dir_=dir_,
    )
    account.fills.append(row)
    state.events.append(FillRecord(account.address, state.now_ms, row))


def halt(state: State, desk: Desk, asset: AssetState, *, is_delisting: bool) -> None:
    """
    Stop a market: orders cancelled, positions settled at the mark, the id kept.

    Source: Hyperliquid docs, "HIP-3 deployer actions" (`haltTrading`), "Delisting".
    """
    state.tx += 1
    asset.is_halted = True
    status = "delistedCanceled" if is_delisting else "canceled"
    resting = list(asset.book.orders()) + list(asset.triggers.values())
    for order in resting:
        if order.oid in order.slot.account.open:
            desk.end(order, status)
    for account in list(state.accounts.values()):
        for order in [o for o in account.open.values() if o.slot.asset is asset]:
            if order.oid in account.open:
                desk.end(order, status)
        purse = account.purses.get(asset.dex_index)
        slot = purse.slots.get(asset.asset_id) if purse else None
        if slot is not None and slot.szi_lots:
            close_at_mark(state, slot, "Settlement", None)
    asset.is_delisted = asset.is_delisted or is_delisting
    state.touched(asset)
