"""
The gate that alone can let an order out, and the `Batch` that proves it did.

It trusts nobody before it: everything is checked again on the final, rounded orders.
"""

from __future__ import annotations

from math import inf
from typing import Any, Never

import msgspec

from mmbot.core.intents import Cancel, Diff, Move, Note, Place
from mmbot.core.ladder import MIN_NOTIONAL_USD, is_reducing
from mmbot.core.orders import Orders
from mmbot.core.slots import CANCELLABLE, SlotState
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
    slots = orders.slots
    cancels = tuple(
        cancel
        for cancel in diff.cancels
        if (slot := slots.get(cancel.cloid)) is not None and slot.state in CANCELLABLE
    )
    if not diff.moves and not diff.places:
        return (Batch(_PASS, cancels, (), (), now_ns), notes) if cancels else (None, notes)
    moves: list[Move] = []
    places: list[Place] = []
    if view is None or not view.is_trading:
        notes.extend(_dropped(move, "not trading") for move in diff.moves)
        notes.extend(_dropped(place, "not trading") for place in diff.places)
        return (Batch(_PASS, cancels, (), (), now_ns), notes) if cancels else (None, notes)
    cancelled = {cancel.cloid for cancel in cancels}
    lanes = (_Lane(Side.BUY, orders, view), _Lane(Side.SELL, orders, view))
    for move in diff.moves:
        slot = slots.get(move.cloid)
        is_ours = (
            slot is not None
            and slot.state is SlotState.WORKING
            and slot.side is move.side
            and move.cloid not in cancelled
        )
        reason: str | None = "its order is not ours to move now"
        rest = 0
        if is_ours:
            rest = slot.rest_lots  # type: ignore[union-attr]  # is_ours says that there is one
            reason = _refusal(move, rest, lanes, view, instrument)
        if reason is None:
            lanes[move.side < 0].add(move, rest)
            moves.append(move)
        else:
            notes.append(_dropped(move, reason))
    for place in diff.places:
        reason = (
            _refusal(place, 0, lanes, view, instrument) if place.tif is Tif.ALO else "not post-only"
        )
        if reason is None:
            lanes[place.side < 0].add(place, 0)
            places.append(place)
        else:
            notes.append(_dropped(place, reason))
    if not cancels and not moves and not places:
        return None, notes
    return Batch(_PASS, cancels, tuple(moves), tuple(places), now_ns), notes


class _Lane:
    """One side with what may be live there once this batch has left, order by order."""

    __slots__ = (
        "added",
        "budget_lots",
        "exposure_lots",
        "held_lots",
        "near_u",
        "orders",
        "reduce_lots",
        "side",
        "touch_u",
        "worst_lots",
    )

    def __init__(self, side: Side, orders: Orders, view: GateView) -> None:
        is_bid = side > 0
        self.side = side
        self.orders = orders
        self.budget_lots = view.budget_bid_lots if is_bid else view.budget_ask_lots
        self.held_lots = side * view.position_lots
        """Position towards which this side adds: negative where it reduces."""
        self.reduce_lots = max(0, -self.held_lots)
        self.touch_u = side * (view.ask_px_ticks if is_bid else view.bid_px_ticks)
        """Other side's touch in u = side * price: an order at or beyond it would execute."""
        self.exposure_lots = orders.exposure_lots(side)
        self.worst_lots = orders.worst_lots(side)
        slots = orders.side(side)
        self.near_u: float = side * slots[0].near_px_ticks if slots else -inf
        self.added: list[Move | Place] = []

    def add(self, order: Move | Place, rest_lots: int) -> None:
        """Count an order let out; `rest_lots` is what is left of the one it replaces."""
        size = order.sz_lots
        if size > rest_lots:
            self.exposure_lots += size - rest_lots
        self.worst_lots += size
        u = self.side * order.px_ticks
        self.near_u = max(self.near_u, u)
        self.added.append(order)

    def ahead_lots(self, order: Move | Place) -> int:
        """Lots on this side that would fill before `order` or with it."""
        side = self.side
        u = side * order.px_ticks
        resting = sum(
            slot.exposure_lots
            for slot in self.orders.side(side)
            if slot.cloid != order.cloid and side * slot.near_px_ticks >= u
        )
        return resting + sum(other.sz_lots for other in self.added if side * other.px_ticks >= u)


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
    order: Move | Place,
    rest_lots: int,
    lanes: tuple[_Lane, _Lane],
    view: GateView,
    instrument: Instrument,
) -> str | None:
    """Why an order may not leave; None if it may. `rest_lots` is left of the one it replaces."""
    px, size = order.px_ticks, order.sz_lots
    is_ask = order.side < 0
    lane, opposite = lanes[is_ask], lanes[not is_ask]
    u = lane.side * px
    reduce_lots = lane.reduce_lots
    if size <= 0 or not instrument.is_valid_px(px):
        return "invalid price or size"
    if px * size * USD_PER_TICK_LOT < MIN_NOTIONAL_USD - _USD_EPS and not (
        order.is_reduce_only and size == reduce_lots
    ):
        return "below the least notional"
    if u >= lane.touch_u:
        return "would execute"
    growth = size - rest_lots
    if growth > 0 and lane.exposure_lots + growth > lane.budget_lots:
        return "side budget"
    if order.is_reduce_only:
        if size > reduce_lots:
            return "more than the position"
    elif lane.held_lots + lane.worst_lots + size > view.q_max_lots:
        # Everything that may live on this side fills, both legs of every move included: on the
        # reducing side as well, for what flips a position can take it past the other limit.
        return "position limit"
    depth_bps = (lane.side * view.fair_ticks - u) / view.fair_ticks * 1e4
    if depth_bps < view.floor_bps - _BPS_EPS and not is_reducing(
        size, lane.ahead_lots(order) if reduce_lots else 0, reduce_lots
    ):
        return "nearer than the floor"
    if u >= -opposite.near_u:
        return "would cross our own order"
    return None
