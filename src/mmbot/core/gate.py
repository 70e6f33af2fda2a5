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
from mmbot.core.slots import CANCELLABLE, WORKING
from mmbot.core.types import BUY, SELL, USD_PER_TICK_LOT, Instrument, Side, Tif

_BPS_EPS = 1e-6
_MIN_TICK_LOTS = round(MIN_NOTIONAL_USD / USD_PER_TICK_LOT)
_PASS = object()
_ALO = Tif.ALO


class Batch:
    """
    Requests that passed the gate, in the order they are sent: cancels, moves, placements.

    Only `gate` and `gate_close` make one; anything else that tries gets a TypeError.
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
    closed: tuple[str | None, str | None] = (None, None)
    """
    Why nothing may be added on the bid side and on the ask side.

    Nothing leaves there, or on the side of a position what is reduce-only.
    """


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
    grid = _Grid(instrument, view.fair_ticks)
    lanes = (_Lane(BUY, orders, view), _Lane(SELL, orders, view))
    for move in diff.moves:
        slot = slots.get(move.cloid)
        if (
            slot is None
            or slot.state is not WORKING
            or slot.side is not move.side
            or move.cloid in cancelled
        ):
            notes.append(_dropped(move, "its order is not ours to move now"))
            continue
        is_ask = move.side < 0
        reason = lanes[is_ask].admit(move, slot.rest_lots, lanes[not is_ask].near_u, grid)
        if reason is None:
            moves.append(move)
        else:
            notes.append(_dropped(move, reason))
    for place in diff.places:
        is_ask = place.side < 0
        if place.tif is _ALO:
            reason = lanes[is_ask].admit(place, 0, lanes[not is_ask].near_u, grid)
        else:
            reason = "not post-only"
        if reason is None:
            places.append(place)
        else:
            notes.append(_dropped(place, reason))
    if not cancels and not moves and not places:
        return None, notes
    return Batch(_PASS, cancels, tuple(moves), tuple(places), now_ns), notes


def gate_close(
    place: Place, *, held_lots: int, worst_px_ticks: int, instrument: Instrument, now_ns: int
) -> tuple[Batch | None, str | None]:
    """
    Let out one order that closes a position as a taker, or say why not.

    It is reduce-only and immediate-or-cancel, of no more than the position, and no worse than
    `worst_px_ticks`. Nothing else that can take ever leaves.
    """
    reason: str | None = None
    if not place.is_reduce_only or place.tif is not Tif.IOC:
        reason = "not a closing order"
    elif place.side * held_lots >= 0 or not 0 < place.sz_lots <= abs(held_lots):
        reason = "more than the position"
    elif not instrument.is_valid_px(place.px_ticks):
        reason = "invalid price or size"
    elif place.side * (place.px_ticks - worst_px_ticks) > 0:
        reason = "beyond the bound"
    elif place.px_ticks * place.sz_lots < _MIN_TICK_LOTS and place.sz_lots != abs(held_lots):
        reason = "below the least notional"
    if reason is not None:
        return None, reason
    return Batch(_PASS, (), (), (place,), now_ns), None


class _Grid:
    """Which prices are valid; near fair, where nearly all are, without looking up the step."""

    __slots__ = ("_high", "_instrument", "_low", "_step")

    def __init__(self, instrument: Instrument, fair_ticks: float) -> None:
        fair = int(fair_ticks)
        self._instrument = instrument
        self._step = instrument.step_ticks(fair)
        self._high = 10 ** len(str(fair))
        self._low = self._high // 10

    def has(self, px_ticks: int) -> bool:
        """Whether the venue accepts it as a limit price."""
        if self._low <= px_ticks < self._high:
            return px_ticks % self._step == 0
        return self._instrument.is_valid_px(px_ticks)


class _Lane:
    """One side with what may be live there once this batch has left, order by order."""

    __slots__ = (
        "_added",
        "_budget_lots",
        "_exposure_lots",
        "_floor_u",
        "_held_lots",
        "_must_reduce",
        "_orders",
        "_q_max_lots",
        "_reduce_lots",
        "_shut",
        "_side",
        "_sign",
        "_touch_u",
        "_worst_lots",
        "near_u",
    )

    def __init__(self, side: Side, orders: Orders, view: GateView) -> None:
        is_bid = side > 0
        sign = 1 if is_bid else -1
        fair = view.fair_ticks
        self._side = side
        self._sign = sign
        self._orders = orders
        self._q_max_lots = view.q_max_lots
        self._budget_lots = view.budget_bid_lots if is_bid else view.budget_ask_lots
        self._held_lots = sign * view.position_lots
        """Position towards which this side adds: negative where it reduces."""
        rule = view.closed[not is_bid]
        self._shut = rule if self._held_lots >= 0 else None
        """Why nothing leaves on this side."""
        self._must_reduce = rule is not None
        self._reduce_lots = max(0, -self._held_lots)
        self._touch_u = sign * (view.ask_px_ticks if is_bid else view.bid_px_ticks)
        """Other side's touch in u = side * price: an order at or beyond it would execute."""
        self._floor_u = sign * fair - (view.floor_bps - _BPS_EPS) * fair * 1e-4
        self._exposure_lots = orders.exposure_lots(side)
        self._worst_lots = orders.worst_lots(side)
        slots = orders.side(side)
        self.near_u: float = sign * slots[0].near_px_ticks if slots else -inf
        """The nearest to the market of what may live here."""
        self._added: list[Move | Place] = []

    def admit(
        self, order: Move | Place, rest_lots: int, opposite_near_u: float, grid: _Grid
    ) -> str | None:
        """
        Count an order among what may live, or say why it may not leave.

        `rest_lots` is what is left of the one it replaces.
        """
        px, size, is_closing = order.px_ticks, order.sz_lots, order.is_reduce_only
        u = self._sign * px
        if size <= 0 or not grid.has(px):
            return "invalid price or size"
        if px * size < _MIN_TICK_LOTS and not (is_closing and size == self._reduce_lots):
            return "below the least notional"
        if u >= self._touch_u:
            return "would execute"
        if self._shut is not None:
            return self._shut
        growth = size - rest_lots
        if growth > 0 and self._exposure_lots + growth > self._budget_lots:
            return "side budget"
        if is_closing:
            if size > self._reduce_lots:
                return "more than the position"
        elif self._must_reduce:
            return "not reduce-only"
        is_loose = self._held_lots + self._worst_lots + size > self._q_max_lots
        if is_loose and self._reach_lots(order) > self._q_max_lots:
            return "position limit"
        if u > self._floor_u and not self._is_reducing(order):
            return "nearer than the floor"
        if u >= -opposite_near_u:
            return "would cross our own order"
        if growth > 0:
            self._exposure_lots += growth
        self._worst_lots += size
        self.near_u = max(self.near_u, u)
        self._added.append(order)
        return None

    def _reach_lots(self, order: Move | Place) -> int:
        """
        How far the position can get on this side if everything that may live here fills.

        Both legs of every move included, on the reducing side as well: what flips a position can
        take it past the other limit. A reduce-only order stops at flat, but it can fill first and
        use up the position that the others were counted against.
        """
        closing = sum(each.sz_lots for each in (*self._added, order) if each.is_reduce_only)
        for slot in self._orders.side(self._side):
            if slot.is_reduce_only:
                closing += slot.rest_lots
            if slot.next_is_reduce_only:
                closing += slot.next_sz_lots
        free = self._worst_lots + order.sz_lots - closing
        held = self._held_lots
        return free + (held if held >= 0 else min(0, held + closing))

    def _is_reducing(self, order: Move | Place) -> bool:
        """Whether it only brings the position nearer to flat, after what would fill before it."""
        if not self._reduce_lots:
            return False
        sign = self._sign
        u = sign * order.px_ticks
        ahead = sum(
            slot.exposure_lots
            for slot in self._orders.side(self._side)
            if slot.cloid != order.cloid and sign * slot.near_px_ticks >= u
        )
        ahead += sum(other.sz_lots for other in self._added if sign * other.px_ticks >= u)
        return is_reducing(order.sz_lots, ahead, self._reduce_lots)


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
