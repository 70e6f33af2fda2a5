"""
The gate that alone can let an order out, and the `Batch` that proves it did.

It trusts nobody before it: everything is checked again on the final, rounded orders.
"""

from __future__ import annotations

from typing import Any, Never

import msgspec

from mmbot.core.intents import Cancel, Diff, Move, Note, Place
from mmbot.core.ladder import MIN_NOTIONAL_USD, is_reducing
from mmbot.core.orders import Orders
from mmbot.core.slots import SlotState
from mmbot.core.types import USD_PER_TICK_LOT, Instrument, Side, Tif

_USD_EPS = 1e-9
_BPS_EPS = 1e-6
_PASS = object()


class Batch:
    """
    Requests that passed the gate, in the order they are sent: cancels, moves, placements.

    Only `gate` makes one; anything else that tries gets a TypeError.
    """

    __slots__ = ("cancels", "moves", "now_ns", "places")

    cancels: tuple[Cancel, ...]
    moves: tuple[Move, ...]
    places: tuple[Place, ...]
    now_ns: int

    def __init__(
        self,
        key: object,
        cancels: tuple[Cancel, ...],
        moves: tuple[Move, ...],
        places: tuple[Place, ...],
        now_ns: int,
    ) -> None:
        if key is not _PASS:
            msg = "a Batch is made by mmbot.core.risk.gate alone"
            raise TypeError(msg)
        for name, value in (
            ("cancels", cancels),
            ("moves", moves),
            ("places", places),
            ("now_ns", now_ns),
        ):
            object.__setattr__(self, name, value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        msg = "a Batch cannot be derived from"
        raise TypeError(msg)

    def __setattr__(self, name: str, value: object) -> Never:
        msg = "a Batch cannot be changed"
        raise TypeError(msg)

    def __delattr__(self, name: str) -> Never:
        msg = "a Batch cannot be changed"
        raise TypeError(msg)

    def __reduce__(self) -> Never:
        msg = "a Batch cannot be copied or pickled"
        raise TypeError(msg)

    def __len__(self) -> int:
        """Requests it costs: the venue counts every element."""
        return len(self.cancels) + len(self.moves) + len(self.places)

    def __repr__(self) -> str:
        return f"Batch(cancels={self.cancels}, moves={self.moves}, places={self.places})"


class GateView(msgspec.Struct, frozen=True, gc=False):
    """The present facts that the gate holds every order against."""

    fair_ticks: float
    floor_bps: float
    bid_px_ticks: int
    ask_px_ticks: int
    position_lots: int
    budget_bid_lots: int
    budget_ask_lots: int
    q_max_lots: float
    is_trading: bool
    """Whether new orders may leave at all (link, snapshot, touch, mode, not stopping)."""


def gate(
    diff: Diff, orders: Orders, view: GateView | None, instrument: Instrument, now_ns: int
) -> tuple[Batch | None, list[Note]]:
    """
    Let out what is safe, drop the rest with a reason.

    Checked again on the final, rounded orders: price and size valid, post-only against our book,
    least notional, distance of an increasing order from fair, side budget and position limit over
    everything that may still be live, no cross with our own other side. Cancels always pass.
    Without a `view` nothing but cancels does.
    """
    notes: list[Note] = []
    cancels = tuple(
        cancel
        for cancel in diff.cancels
        if (slot := orders.slots.get(cancel.cloid)) is not None and slot.state is SlotState.WORKING
    )
    moves: list[Move] = []
    places: list[Place] = []
    tally = _Tally(orders, {cancel.cloid for cancel in cancels})
    for move in diff.moves:
        reason = _refusal(move, tally, view, instrument)
        if reason is None:
            tally.add(move, orders.slots[move.cloid].rest_lots)
            moves.append(move)
        else:
            notes.append(_dropped(move, reason))
    for place in diff.places:
        reason = _refusal(place, tally, view, instrument)
        if reason is None:
            tally.add(place, 0)
            places.append(place)
        else:
            notes.append(_dropped(place, reason))
    if not cancels and not moves and not places:
        return None, notes
    return Batch(_PASS, cancels, tuple(moves), tuple(places), now_ns), notes


class _Tally:
    """What may be live once this batch has left, order by order."""

    def __init__(self, orders: Orders, cancelled: set[int]) -> None:
        self.orders = orders
        self.cancelled = cancelled
        self.exposure = {side: orders.exposure_lots(side) for side in Side}
        self.worst = {side: orders.worst_lots(side) for side in Side}
        self.added: list[Move | Place] = []

    def add(self, order: Move | Place, rest_lots: int) -> None:
        """Count an order let out; `rest_lots` is what is left of the one it replaces."""
        self.exposure[order.side] += max(rest_lots, order.sz_lots) - rest_lots
        self.worst[order.side] += order.sz_lots
        self.added.append(order)

    def ahead_lots(self, order: Move | Place) -> int:
        """Lots on the same side that would fill before `order` or with it."""
        side = order.side
        u = side * order.px_ticks
        resting = sum(
            slot.exposure_lots
            for slot in self.orders.side(side)
            if slot.cloid != order.cloid and side * slot.near_px_ticks >= u
        )
        return resting + sum(
            other.sz_lots
            for other in self.added
            if other.side is side and side * other.px_ticks >= u
        )

    def crosses(self, order: Move | Place) -> bool:
        """Whether `order` would meet an order of ours on the other side."""
        side = order.side
        u = side * order.px_ticks
        return any(
            side * slot.near_px_ticks <= u for slot in self.orders.side(side.opposite)
        ) or any(other.side is not side and side * other.px_ticks <= u for other in self.added)


def _dropped(order: Move | Place, reason: str) -> Note:
    return Note(
        "order.dropped",
        "warning",
        {
            "reason": reason,
            "request": "move" if isinstance(order, Move) else "place",
            "side": order.side.name.lower(),
            "px_ticks": order.px_ticks,
            "sz_lots": order.sz_lots,
        },
    )


def _refusal(
    order: Move | Place, tally: _Tally, view: GateView | None, instrument: Instrument
) -> str | None:
    """Why an order may not leave; None if it may."""
    if view is None or not view.is_trading:
        return "not trading"
    side, px, size = order.side, order.px_ticks, order.sz_lots
    reduce_lots = max(0, -side * view.position_lots)
    rest = 0
    if isinstance(order, Move):
        slot = tally.orders.slots.get(order.cloid)
        if (
            slot is None
            or slot.state is not SlotState.WORKING
            or slot.side is not side
            or order.cloid in tally.cancelled
        ):
            return "its order is not ours to move now"
        rest = slot.rest_lots
    elif order.tif is not Tif.ALO:
        return "not post-only"
    if size <= 0 or not instrument.is_valid_px(px):
        return "invalid price or size"
    if px * size * USD_PER_TICK_LOT < MIN_NOTIONAL_USD - _USD_EPS and not (
        order.is_reduce_only and size == reduce_lots
    ):
        return "below the least notional"
    if (side is Side.BUY and px >= view.ask_px_ticks) or (
        side is Side.SELL and px <= view.bid_px_ticks
    ):
        return "would execute"
    budget = view.budget_bid_lots if side is Side.BUY else view.budget_ask_lots
    growth = max(rest, size) - rest
    if growth and tally.exposure[side] + growth > budget:
        return "side budget"
    if not reduce_lots and abs(view.position_lots) + tally.worst[side] + size > view.q_max_lots:
        return "position limit"
    if not is_reducing(size, tally.ahead_lots(order), reduce_lots):
        depth_bps = (side * view.fair_ticks - side * px) / view.fair_ticks * 1e4
        if depth_bps < view.floor_bps - _BPS_EPS:
            return "nearer than the floor"
    if tally.crosses(order):
        return "would cross our own order"
    return None
