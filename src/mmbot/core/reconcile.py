"""
From the orders we have to the orders we want, in as few requests as it can be done.

Cancels that protect come first and ask nobody. Everything else is a change worth its price: a
request is scarce, so what is left of them decides how far a line may be off (`hold`) and how often
orders change (a bucket that fills at the rate which makes the rest last). A quote is never made
wider to save requests.

What a request is worth (`Requests`) and which are made stand together: the price of a change is
both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import sqrt

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.intents import Cancel, Diff, Move, Place
from mmbot.core.ladder import MIN_NOTIONAL_USD, Rung, SideTarget, is_reducing
from mmbot.core.orders import Orders
from mmbot.core.slots import CANCELLABLE, MOVING, ON_THE_BOOK, WORKING, Slot, may_cancel
from mmbot.core.types import NS_PER_S, USD_PER_TICK_LOT, Side

_ROLL_REQUESTS = 2.0
"""Following the market by one line changes one order a side."""

_RATE_MIN_PER_S = 1e-4
_LOOK_NS = 60 * NS_PER_S
_LOOKS = 15
"""The present churn is that of so many looks, one a minute."""
_TICK_EPS = 1e-6
_GRANT_NS = 10 * NS_PER_S


class ReconcileParams(BaseModel):
    """When an order is left alone and when it is moved."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "hold_bps",
                "hold_bps_max",
                "hold_s",
                "hold_s_max",
                "keep_size_frac",
                "requests_last_h",
                "requests_burst",
            ]
        },
    )

    hold_bps: float = Field(
        0.5, ge=0, le=10, description="An order this far off its line is left alone for a while."
    )
    hold_bps_max: float = Field(
        3.0, ge=0, le=20, description="Bound of the same when requests are scarce, bps."
    )
    hold_s: float = Field(5.0, ge=0, le=600, description="How long it is left alone, s.")
    hold_s_max: float = Field(
        60.0, ge=0, le=600, description="Bound of the same when requests are scarce, s."
    )
    keep_size_frac: float = Field(
        0.5, ge=0, le=1, description="An order with at least this part of its size is not renewed."
    )
    requests_last_h: float = Field(
        30.0, ge=0.01, le=1000, description="What is left of the requests must last this long, h."
    )
    requests_burst: float = Field(
        24.0, ge=8, le=2000, description="Requests that may be spent at once."
    )
    requests_reserve: int = Field(
        200, ge=0, le=5000, description="Requests kept for cancels alone."
    )
    backoff_s: float = Field(
        2.0,
        ge=0.1,
        le=60,
        description="Pause of a side after a refusal that a price cannot cure, s.",
    )
    backoff_s_max: float = Field(60.0, ge=0.1, le=600, description="Longest such pause, s.")


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """
    How long the requests last if the orders go on changing as they did of late.

    `per_h` is what is spent in an hour less what trades earn; None before there is a minute to
    judge by. `hours` ends when only the reserve for cancels is left; None if it never does. `cap`
    is what is granted in all at the same moment: the venue's cap and what trades earned since it
    was read, so that `cap - left` is what was used.
    """

    left: int
    cap: int
    per_h: float | None
    hours: float | None


class Hold(msgspec.Struct, frozen=True, gc=False):
    """How far, and for how long, an order may differ from the wanted price."""

    bps: float
    ns: int


class Requests:
    """
    The request budget of the address, spent evenly over the hours it must last.

    The venue grants 10 000 requests and one per USD traded; every element of a batch costs one
    (Hyperliquid docs, "Rate limits and user limits"). Cancels have a larger allowance of their own
    there, so they are counted here but never withheld.
    """

    __slots__ = (
        "_burst",
        "_cap",
        "_earned_usd",
        "_last_s",
        "_look_ns",
        "_looks",
        "_refilled_ns",
        "_reserve",
        "left",
        "tokens",
    )

    def __init__(self, params: ReconcileParams) -> None:
        self._burst = params.requests_burst
        self._last_s = params.requests_last_h * 3600
        self._reserve = params.requests_reserve
        self._refilled_ns: int | None = None
        self._cap = 0
        self._earned_usd = 0.0
        """Credit of trades since the venue's cap was read: that reading does not have them yet."""
        self._looks: deque[tuple[int, int]] = deque(maxlen=_LOOKS)
        self._look_ns = 0
        self.left = 0
        self.tokens = params.requests_burst

    def retune(self, params: ReconcileParams) -> None:
        """Spread what is left over other hours; the reserve for cancels stays as it is."""
        self._burst = params.requests_burst
        self._last_s = params.requests_last_h * 3600
        self.tokens = min(self._burst, self.tokens)

    def observe(self, used: int, cap: int) -> None:
        """
        The venue's cap, and the count as it stands.

        The count is told more often than the cap is read: what trades earned since stays counted
        until the cap changes, which then has it.
        """
        if cap != self._cap:
            self._cap = cap
            self._earned_usd = 0.0
        self.left = cap + int(self._earned_usd) - used

    @property
    def is_spent(self) -> bool:
        """Whether only the reserve for cancels is left."""
        return self.left <= self._reserve

    @property
    def loan(self) -> float:
        """Requests a side that is far off may take before the bucket has them."""
        return max(0, self.left - self._reserve) / 4

    @property
    def rate_per_s(self) -> float:
        """Requests a second that make the rest last."""
        return max(0, self.left - self._reserve) / self._last_s

    def refill(self, now_ns: int) -> None:
        """Let time earn tokens."""
        if self._refilled_ns is not None and now_ns > self._refilled_ns:
            earned = (now_ns - self._refilled_ns) / NS_PER_S * self.rate_per_s
            self.tokens = min(self._burst, self.tokens + earned)
        self._refilled_ns = now_ns
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + _LOOK_NS
            self._looks.append((now_ns, self.left))

    def earn(self, traded_usd: float) -> None:
        """A trade earns a request per USD, there and here."""
        self.tokens = min(self._burst, self.tokens + traded_usd)
        before = int(self._earned_usd)
        self._earned_usd += traded_usd
        self.left += int(self._earned_usd) - before

    def spend(self, count: int) -> None:
        """Count what was sent; cancels may take the bucket below zero."""
        self.tokens -= count
        self.left -= count

    def forecast(self, now_ns: int) -> Forecast:
        """For how long this lasts at the churn of the last quarter of an hour."""
        cap = self._cap + int(self._earned_usd)
        since_ns, left = self._looks[0] if self._looks else (now_ns, self.left)
        if now_ns - since_ns < _LOOK_NS:
            return Forecast(self.left, cap, None, None)
        per_h = (left - self.left) / (now_ns - since_ns) * 3600 * NS_PER_S
        if per_h <= 0:
            return Forecast(self.left, cap, per_h, None)
        return Forecast(self.left, cap, per_h, max(0, self.left - self._reserve) / per_h)

    def ready_at_ns(self, now_ns: int) -> int | None:
        """When the next token is there; None if it is, or never will be."""
        rate = self.rate_per_s
        if self.tokens >= 1 or rate <= 0:
            return None
        return now_ns + int((1 - self.tokens) / rate * NS_PER_S) + 1


class SideView(msgspec.Struct, frozen=True, gc=False):
    """Facts about one side that decide what must go at once."""

    side: Side
    target: SideTarget
    budget_lots: int
    reduce_lots: int
    floor_u: float
    """No order that can increase the position rests inside this, in `side * price` ticks."""
    is_blocked: bool
    """A refusal is being waited out: nothing but cancels."""


class Reconciler:
    """Compute the difference; its only state is the request budget."""

    __slots__ = (
        "_changed_ns",
        "_done",
        "_due_ns",
        "_hold",
        "_hold_max",
        "_hold_ns",
        "_hold_ns_max",
        "_keep_frac",
        "_short",
        "inside",
        "requests",
    )

    def __init__(self, params: ReconcileParams) -> None:
        self._take(params)
        self._changed_ns = [0, 0]
        """When each side last changed, bids before asks."""
        self._due_ns = [int(self._hold_ns_max)] * 2
        """How long after that a side may change one order without a token."""
        self._done: list[tuple[object, ...]] = [(), ()]
        """Of each side, table and target between which no difference was found."""
        self.requests = Requests(params)
        self._short: set[bool] = set()
        """Sides of which the last difference left something out for want of requests."""
        self.inside: list[int] = []
        """Orders that could increase the position and were seen inside their floor."""

    def _take(self, params: ReconcileParams) -> None:
        self._hold = params.hold_bps
        self._hold_max = max(params.hold_bps, params.hold_bps_max)
        self._hold_ns = params.hold_s * NS_PER_S
        self._hold_ns_max = max(params.hold_s, params.hold_s_max) * NS_PER_S
        self._keep_frac = params.keep_size_frac

    def retune(self, params: ReconcileParams) -> None:
        """Go on with other prices of a change; what was spent stays spent."""
        self._take(params)
        self._done = [(), ()]
        self.requests.retune(params)

    def ready_at_ns(self, now_ns: int) -> int | None:
        """When a change left out for want of requests can be made."""
        if not self._short or self.requests.is_spent:
            return None
        due_ns = min(self._next_ns(is_ask, self.requests.tokens) for is_ask in self._short)
        token_ns = self.requests.ready_at_ns(now_ns)
        # What was bought and then dropped by the gate leaves a side due that was looked at.
        if token_ns is not None and not now_ns < due_ns < token_ns:
            return token_ns
        return due_ns

    def hold(self, vol_bps_rt_s: float, spacing_bps: float) -> Hold:
        """
        What a change must be worth before it is made.

        A diffusing price crosses bands of width W at a rate of sigma^2 / W^2, and each crossing
        costs a roll; the width at which that spends just the allowed rate is
        sigma sqrt(requests / rate). The line's own stretch is part of it.
        """
        rate = max(self.requests.rate_per_s, _RATE_MIN_PER_S)
        width = vol_bps_rt_s * sqrt(_ROLL_REQUESTS / rate)
        bps = min(self._hold_max, max(self._hold, (width - spacing_bps) / 2))
        ns = min(self._hold_ns_max, max(self._hold_ns, 2 * _ROLL_REQUESTS / rate * NS_PER_S))
        return Hold(bps, int(ns))

    def must_go(self, orders: Orders, view: SideView, now_ns: int) -> list[Slot]:
        """
        Orders that are cancelled at once, whatever it costs.

        Those on a side that any rule pulled; those that could increase the position from inside
        the floor of the present fair price; those that only a cancel can settle; and what exceeds
        the budget, farthest first: which of several orders fills first is the market's choice, so
        the total decides the danger, and the nearest holds the better place in the queue. (When
        the surplus comes from a fill, the skew has moved the wanted line outward, and then it is
        the nearest that is no longer wanted; `diff` uses that one for the farthest line.)
        """
        side = view.side
        slots = orders.side(side)
        is_pulled = not view.target.rungs
        inside_u = view.floor_u + _TICK_EPS
        if not slots:
            return []
        if (
            not is_pulled
            and side * slots[0].near_px_ticks <= inside_u
            and orders.exposure_lots(side) <= view.budget_lots
            and not any(slot.is_suspect for slot in slots)
        ):
            # The nearest is outside the floor, so all are; nothing else asks for a cancel either.
            return []
        doomed: list[Slot] = []
        kept: list[Slot] = []
        ahead = 0
        total = 0
        for slot in slots:
            lots = slot.exposure_lots
            is_inside = side * slot.near_px_ticks > inside_u and not is_reducing(
                lots, ahead, view.reduce_lots
            )
            if is_inside:
                self.inside.append(slot.cloid)
            if slot.state not in CANCELLABLE:
                ahead += lots
                continue
            # A cancel cannot overtake the move before it, so of a move the coming leg is judged.
            is_endangered = is_inside and (
                slot.state is not MOVING or side * slot.target_px_ticks > inside_u
            )
            if is_pulled or is_endangered or (slot.is_suspect and slot.state is WORKING):
                doomed.append(slot)
                continue
            ahead += lots
            total += lots
            if slot.state is WORKING:
                kept.append(slot)
        while total > view.budget_lots and kept:
            last = kept.pop()
            total -= last.exposure_lots
            doomed.append(last)
        return [slot for slot in doomed if may_cancel(slot, now_ns)]

    def diff(self, orders: Orders, views: tuple[SideView, SideView], now_ns: int) -> Diff:
        """The requests worth making now, the protective ones first."""
        self.requests.refill(now_ns)
        self._short.clear()
        self.inside.clear()
        plan = _Plan()
        for view in views:
            doomed = self.must_go(orders, view, now_ns)
            if doomed:
                plan.cancels.extend([Cancel(slot.cloid) for slot in doomed])
            if view.target.rungs and not view.is_blocked:
                self._side(orders, view, {slot.cloid for slot in doomed}, plan)
        if not plan.moves and not plan.places:
            return Diff(tuple(plan.cancels)) if plan.cancels else _NOTHING
        moves, places = self._afford(plan, now_ns)
        return Diff(tuple(plan.cancels), moves, places)

    def _side(self, orders: Orders, view: SideView, doomed: set[int], plan: _Plan) -> None:
        """Plan what turns the orders of one side into those wanted, but for the doomed ones."""
        is_ask = view.side < 0
        rungs = view.target.rungs
        key = (orders.version, rungs, view.budget_lots, view.reduce_lots)
        if not doomed and self._done[is_ask] == key:
            return
        before = len(plan)
        self._due_ns[is_ask] = self._due(orders.side(view.side), rungs[0])
        self._compare(orders, view, doomed, plan)
        if not doomed and len(plan) == before:
            self._done[is_ask] = key

    def _due(self, slots: Sequence[Slot], nearest: Rung) -> int:
        """
        After what time a side may change one order with an empty bucket, ns.

        Beyond twice the widest hold the time goes down with the square of the distance, as that in
        which a price that diffuses wanders so far goes up. Ten seconds at least: once in that time
        the venue takes an action of an address without any request left (Hyperliquid docs, "Rate
        limits and user limits").
        """
        longest = int(self._hold_ns_max)
        if not slots:
            return longest
        off_bps = abs(nearest.px_ticks / slots[0].target_px_ticks - 1) * 1e4
        far_bps = 2 * self._hold_max
        if off_bps <= far_bps:
            return longest
        return max(min(longest, _GRANT_NS), int(longest * (far_bps / off_bps) ** 2))

    def _compare(self, orders: Orders, view: SideView, doomed: set[int], plan: _Plan) -> None:
        side = view.side
        open_rungs = {rung.px_ticks: rung for rung in view.target.rungs}
        idle: list[Slot] = []
        short: list[tuple[Slot, Rung]] = []
        kept: list[Slot] = []
        live = 0
        for slot in orders.side(side):
            if slot.cloid in doomed or slot.state not in ON_THE_BOOK:
                continue
            live += 1
            rung = open_rungs.pop(slot.target_px_ticks, None)
            if slot.state is not WORKING:
                continue
            if rung is None:
                idle.append(slot)
            elif self._is_misfit(slot, rung):
                short.append((slot, rung))
            else:
                kept.append(slot)
        room = view.budget_lots - orders.exposure_lots(side)
        wanted = list(open_rungs.values())
        for slot in idle:
            # Nearest surplus order to the farthest open line: any pairing costs the same, and this
            # one takes the most exposed order the farthest. A remainder too small to be an order
            # elsewhere only takes up room.
            if wanted and _is_valid(size := _fitting(slot, wanted[-1], room), wanted[-1], view):
                plan.move(slot, wanted.pop(), size, view)
                room -= max(0, size - slot.rest_lots)
            else:
                plan.cancels.append(Cancel(slot.cloid))
        for slot, rung in short:
            size = _fitting(slot, rung, room)
            # Renewed only if that cures it: with too little room it would be renewed for ever.
            is_cured = rung.is_reduce_only or size >= self._keep_frac * rung.sz_lots
            if is_cured and _is_valid(size, rung, view):
                plan.move(slot, rung, size, view)
                room -= max(0, size - slot.rest_lots)
        if wanted and kept and len(kept) == live:
            self._crowd_in(wanted, kept, room, view, plan)
        for rung in wanted:
            size = min(rung.sz_lots, room)
            if _is_valid(size, rung, view):
                place = Place(orders.new_cloid(), side, rung.px_ticks, size, rung.is_reduce_only)
                # A side without any order comes before every improvement of the other.
                plan.places.append((_LONE if live == 0 else _REFINE, place))
                live += 1
                room -= size

    def _crowd_in(
        self, wanted: list[Rung], kept: list[Slot], room: int, view: SideView, plan: _Plan
    ) -> None:
        """
        Move the farthest order to the nearest line where older, larger ones have used up the room.

        Each of them is where it is wanted, so nothing else would ever open that line.
        """
        nearest, last = wanted[0], kept[-1]
        if _is_valid(min(nearest.sz_lots, room), nearest, view):
            return
        is_nearer = view.side * nearest.px_ticks > view.side * last.target_px_ticks
        if is_nearer and _is_valid(size := _fitting(last, nearest, room), nearest, view):
            plan.move(last, nearest, size, view)
            del wanted[:]

    def _is_misfit(self, slot: Slot, rung: Rung) -> bool:
        if slot.is_reduce_only is not rung.is_reduce_only:
            return True
        if rung.is_reduce_only and _is_dust(rung.sz_lots, rung):
            return slot.rest_lots != rung.sz_lots
        return slot.rest_lots < self._keep_frac * rung.sz_lots

    def _afford(self, plan: _Plan, now_ns: int) -> tuple[tuple[Move, ...], tuple[Place, ...]]:
        """
        What the bucket pays for: lone sides, then retreats and reduction, then the rest.

        With an empty bucket a side may still change one order every `hold_s_max`, and sooner the
        farther it is off: a quote that follows slowly is a quote, one left behind is only wide.
        What goes sooner is borrowed, a quarter of the rest at most: without a bound a market that
        never stands still would spend a day's requests in hours.
        """
        requests = self.requests
        tokens = requests.tokens - len(plan.cancels)
        if tokens >= len(plan.moves) + len(plan.places) and not requests.is_spent:
            for _, move in plan.moves:
                self._changed_ns[move.side < 0] = now_ns
            for _, place in plan.places:
                self._changed_ns[place.side < 0] = now_ns
            return (
                tuple([move for _, move in plan.moves]),
                tuple([place for _, place in plan.places]),
            )
        if requests.is_spent:
            return (), ()
        ranked: list[tuple[int, Move | Place]] = [*plan.places, *plan.moves]
        ranked.sort(key=_urgency)
        bought: set[int] = set()
        for rank, order in ranked:
            is_ask = order.side < 0
            if tokens >= 1 or rank == _LONE or now_ns >= self._next_ns(is_ask, tokens):
                bought.add(order.cloid)
                tokens -= 1
                self._changed_ns[is_ask] = now_ns
            else:
                self._short.add(is_ask)
        return (
            tuple(move for _, move in plan.moves if move.cloid in bought),
            tuple(place for _, place in plan.places if place.cloid in bought),
        )

    def _next_ns(self, is_ask: int, tokens: float) -> int:
        """When a side may change one order with a bucket that has none, by what may be lent."""
        is_lent = tokens > -self.requests.loan
        due_ns = self._due_ns[is_ask] if is_lent else int(self._hold_ns_max)
        return self._changed_ns[is_ask] + due_ns


_LONE, _PROTECT, _REFINE = 0, 1, 2
_NOTHING = Diff()


def _urgency(item: tuple[int, Move | Place]) -> tuple[int, int]:
    """Lone sides first, then what protects as planned, then the lines nearest to the market."""
    rank, order = item
    return rank, 0 if rank == _PROTECT else -order.side * order.px_ticks


class _Plan:
    """Requests under consideration, each with its rank when they cannot all be paid for."""

    __slots__ = ("cancels", "moves", "places")

    def __init__(self) -> None:
        self.cancels: list[Cancel] = []
        self.moves: list[tuple[int, Move]] = []
        self.places: list[tuple[int, Place]] = []

    def __len__(self) -> int:
        return len(self.cancels) + len(self.moves) + len(self.places)

    def move(self, slot: Slot, rung: Rung, size: int, view: SideView) -> None:
        """Add a move, ranked by whether it protects."""
        side = slot.side
        is_retreat = side * rung.px_ticks < side * slot.px_ticks
        rank = _PROTECT if view.reduce_lots or is_retreat else _REFINE
        self.moves.append((rank, Move(slot.cloid, side, rung.px_ticks, size, rung.is_reduce_only)))


def _fitting(slot: Slot, rung: Rung, room: int) -> int:
    """
    Size for a slot that takes over a rung, inside the budget.

    Where only reducing is left the budget falls to the position at once, and what rested beyond it
    is on its way out: an order that becomes reduce-only and no larger need not wait for that, or
    the side that brings the position down were empty meanwhile.
    """
    spare = max(0, room) if rung.is_reduce_only else room
    return min(rung.sz_lots, spare + slot.rest_lots)


def _is_valid(size: int, rung: Rung, view: SideView) -> bool:
    if size <= 0 or (rung.is_reduce_only and size > view.reduce_lots):
        return False
    is_close = rung.is_reduce_only and size == view.reduce_lots
    return is_close or not _is_dust(size, rung)


def _is_dust(size: int, rung: Rung) -> bool:
    """Whether the venue takes such an order only as the close of a whole position."""
    return size * rung.px_ticks * USD_PER_TICK_LOT < MIN_NOTIONAL_USD
