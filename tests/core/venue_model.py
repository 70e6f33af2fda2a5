"""
A small venue for the order table alone: it does to every message what a network can do.

Requests, replies, reports, fills and readings travel by themselves: late, in any order, twice or
not at all. What the table is held against is the venue's own state at each moment.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import msgspec

from core.rig import PREFIX, T0_NS
from mmbot.core.events import (
    Acked,
    Event,
    Fill,
    OrderMissing,
    OrderState,
    OrderUpdate,
    OutcomeUnknown,
    Rejected,
    Rejection,
    Request,
    Snapshot,
)
from mmbot.core.intents import Cancel, Move, Place
from mmbot.core.orders import Orders, Slot, SlotState
from mmbot.core.position import Position
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Side

LIFE_NS = 3 * NS_PER_S
"""Expiry of a placement or move, as the gateway sets it."""
MARGIN_NS = NS_PER_S
TIMEOUT_NS = 5 * NS_PER_S
ASK_DELAYS_MS = (500, 1000, 2000)
CANCELLABLE = (SlotState.WORKING, SlotState.PLACING, SlotState.MOVING, SlotState.UNKNOWN)


class Leg(msgspec.Struct):
    """An order at the venue."""

    oid: int
    cloid: int
    side: Side
    px_ticks: int
    orig_lots: int
    rest_lots: int
    is_reduce_only: bool


class Weather(msgspec.Struct, frozen=True):
    """What the network does. Shares are of one."""

    lag_ms: int = 1000
    """Longest delay of a report, a fill, a reading."""
    lost: float = 0.1
    """Share of replies, reports and requests that never arrive. Fills are never lost."""
    twice: float = 0.1
    is_claiming: bool = True
    """Whether only the newest request about an order gets its verdict, as in the gateway."""


class VenueModel:
    """The venue, the wire, and the order table and position under test."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.rng = random.Random(seed)
        self.weather = weather
        self.orders = Orders(PREFIX, settle_ns=LIFE_NS + MARGIN_NS)
        self.position = Position()
        self.now_ns = T0_NS
        self.position.start(0, 262_000.0, T0_NS // NS_PER_MS - 10_000)
        self.live: dict[int, Leg] = {}
        self.held_lots = 0
        self.oid = 100
        self.tid = 0
        self.fills: list[Fill] = []
        self.statuses: dict[int, list[tuple[int, OrderUpdate]]] = {}
        self.past: list[tuple[int, tuple[Leg, ...], int]] = [(0, (), 0)]
        self.trail: list[str] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._newest: dict[int, int] = {}
        self._asked: set[int] = set()
        self._in_flight: dict[int, tuple[Request, int]] = {}

    # -- time ---------------------------------------------------------------------------------

    def at(self, delay_ms: float, act: Callable[[], None]) -> None:
        """Do something a while from now."""
        when_ns = self.now_ns + round(delay_ms * NS_PER_MS)
        heapq.heappush(self._queue, (when_ns, next(self._number), act))

    def run(self, span_ms: float) -> None:
        """Let time pass; everything due happens, and the table is checked each time."""
        until_ns = self.now_ns + round(span_ms * NS_PER_MS)
        while self._queue and self._queue[0][0] <= until_ns:
            self.now_ns, _, act = heapq.heappop(self._queue)
            act()
            self.check()
        self.now_ns = until_ns

    def lag(self) -> int:
        return self.rng.randint(0, self.weather.lag_ms)

    def is_lost(self) -> bool:
        return self.rng.random() < self.weather.lost

    def deliver(self, event: Event, *, is_sure: bool = False) -> None:
        """An event on its way to the table."""
        if not is_sure and self.is_lost():
            self.trail.append(f"lost {event}")
            return
        copies = 2 if self.rng.random() < self.weather.twice else 1
        for _ in range(copies):
            self.at(self.lag(), lambda: self.take(event))

    def take(self, event: Event) -> None:
        """An event arrives, as in the engine."""
        event = msgspec.structs.replace(event, recv_ns=self.now_ns)
        self.trail.append(f"{(self.now_ns - T0_NS) / 1e6:.0f} {event}")
        match event:
            case Fill():
                if self.position.apply(event):
                    self.orders.on_fill(event)
            case OrderUpdate():
                self.orders.on_update(event)
            case Acked():
                self.orders.on_acked(event)
            case Rejected():
                self.orders.on_rejected(event)
            case OutcomeUnknown():
                self.orders.on_unanswered(event)
            case OrderMissing():
                self.orders.on_missing(event)
            case Snapshot():
                for fill in event.fills:
                    if self.position.apply(fill):
                        self.orders.on_fill(fill)
                self.position.reconcile(event.position_lots, 262_000.0, event.venue_ms)
                self.orders.on_snapshot(event)
            case _:
                raise TypeError(event)

    # -- our side -----------------------------------------------------------------------------

    def slots(self, *states: SlotState) -> list[Slot]:
        return [slot for slot in self.orders.slots.values() if slot.state in states]

    def place(self, side: Side, lots: int) -> None:
        place = Place(self.orders.new_cloid(), side, 262_000 - side * 100, lots)
        self.orders.sent((), (), (place,), self.now_ns)
        self.request(Request.PLACE, place.cloid, lambda: self.on_place(place))

    def move(self, lots: int) -> None:
        if slots := self.slots(SlotState.WORKING):
            slot = self.rng.choice(slots)
            px = 262_000 - slot.side * self.rng.randint(50, 150)
            move = Move(slot.cloid, slot.side, px, lots, is_reduce_only=bool(lots % 2))
            self.orders.sent((), (move,), (), self.now_ns)
            self.request(Request.MOVE, slot.cloid, lambda: self.on_move(move))

    def cancel(self) -> None:
        if slots := self.slots(*CANCELLABLE):
            slot = self.rng.choice(slots)
            self.orders.sent((Cancel(slot.cloid),), (), (), self.now_ns)
            self.request(Request.CANCEL, slot.cloid, lambda: self.on_cancel(slot.cloid))

    def ask(self) -> None:
        for query in self.orders.queries(self.now_ns):
            if query.cloid not in self._asked:
                self._asked.add(query.cloid)
                self.at(20, lambda cloid=query.cloid: self.look_up(cloid, 0))  # type: ignore[misc]

    def look_up(self, cloid: int, unknowns: int) -> None:
        """One question of the gateway, which repeats it until the answer can be believed."""
        request, until_ns = self._in_flight.get(cloid, (Request.CANCEL, 0))
        is_early = self.now_ns < until_ns
        seen_ns = self.now_ns - self.lag() * NS_PER_MS
        known = [update for at_ns, update in self.statuses.get(cloid, ()) if at_ns <= seen_ns]
        wait_ms = (until_ns - self.now_ns) / NS_PER_MS
        if known:
            if is_early and request is Request.MOVE:
                self.at(wait_ms, lambda: self.look_up(cloid, unknowns))
                return
            newest = max(update.oid for update in known)
            last = [update for update in known if update.oid == newest][-1]
            self.answer(cloid, last)
        elif unknowns < len(ASK_DELAYS_MS):
            self.at(ASK_DELAYS_MS[unknowns], lambda: self.look_up(cloid, unknowns + 1))
        elif is_early:
            self.at(wait_ms, lambda: self.look_up(cloid, unknowns))
        else:
            self.answer(cloid, OrderMissing(0, cloid))

    def answer(self, cloid: int, event: Event) -> None:
        self._asked.discard(cloid)
        self._in_flight.pop(cloid, None)
        self.at(20, lambda: self.take(event))

    def request(self, request: Request, cloid: int, act: Callable[[], Event]) -> None:
        """A request leaves; its verdict comes once, and belongs to the newest request."""
        self.trail.append(f"{(self.now_ns - T0_NS) / 1e6:.0f} sent {request} {cloid & 0xFF}")
        number = self._newest[cloid] = next(self._number)
        expires_ns = self.now_ns + LIFE_NS
        is_answered = False

        def arrive() -> None:
            if request is not Request.CANCEL and self.now_ns > expires_ns:
                verdict: Event = Rejected(0, request, cloid, Rejection.EXPIRED, "expired")
            else:
                verdict = act()
                self.remember()
            if not self.is_lost():
                self.at(self.lag(), lambda: settle(verdict))

        def settle(verdict: Event) -> None:
            nonlocal is_answered
            if self.claims(number, cloid, request):
                is_answered = True
                self.take(verdict)

        def give_up() -> None:
            if not is_answered and self._newest.get(cloid) == number:
                if request is not Request.CANCEL:
                    self._in_flight[cloid] = (request, expires_ns + MARGIN_NS)
                self.take(OutcomeUnknown(0, request, cloid, "no answer"))

        if not self.is_lost():
            self.at(self.rng.choice([10, 200, 900, 1500, 2900, 3100]), arrive)
        self.at(TIMEOUT_NS / NS_PER_MS, give_up)

    def claims(self, number: int, cloid: int, request: Request) -> bool:
        if self._newest.get(cloid) == number:
            del self._newest[cloid]
            return True
        return not self.weather.is_claiming and request is not Request.CANCEL

    # -- the venue ----------------------------------------------------------------------------

    def remember(self) -> None:
        """Keep the state of this moment for readings that lag."""
        legs = tuple(msgspec.structs.replace(leg) for leg in self.live.values())
        self.past.append((self.now_ns, legs, self.held_lots))

    def report(self, leg: Leg, state: OrderState) -> None:
        update = OrderUpdate(
            0,
            self.now_ns // NS_PER_MS,
            leg.oid,
            leg.cloid,
            leg.side,
            leg.px_ticks,
            leg.rest_lots,
            leg.orig_lots,
            state,
            state.value,
        )
        self.statuses.setdefault(leg.cloid, []).append((self.now_ns, update))
        self.deliver(update)

    def new_leg(self, order: Place | Move) -> Leg:
        self.oid += 1
        return Leg(
            self.oid,
            order.cloid,
            order.side,
            order.px_ticks,
            order.sz_lots,
            order.sz_lots,
            order.is_reduce_only,
        )

    def on_place(self, place: Place) -> Event:
        leg = self.new_leg(place)
        if self.rng.random() < 0.15:
            self.report(leg, OrderState.REJECTED)
            return Rejected(0, Request.PLACE, leg.cloid, Rejection.POST_ONLY, "post only")
        self.live[leg.cloid] = leg
        self.report(leg, OrderState.OPEN)
        return Acked(0, Request.PLACE, leg.cloid, leg.oid)

    def on_move(self, move: Move) -> Event:
        old = self.live.get(move.cloid)
        if old is None:
            return Rejected(0, Request.MOVE, move.cloid, Rejection.GONE, "gone")
        if self.rng.random() < 0.1:
            return Rejected(0, Request.MOVE, move.cloid, Rejection.BUDGET, "429")
        new = self.new_leg(move)
        if self.rng.random() < 0.2:
            if self.rng.random() < 0.5:
                self.end(old)
            self.report(new, OrderState.REJECTED)
            return Rejected(0, Request.MOVE, move.cloid, Rejection.POST_ONLY, "post only")
        self.end(old)
        self.live[new.cloid] = new
        self.report(new, OrderState.OPEN)
        return Acked(0, Request.MOVE, new.cloid, new.oid)

    def on_cancel(self, cloid: int) -> Event:
        leg = self.live.get(cloid)
        if leg is None:
            return Rejected(0, Request.CANCEL, cloid, Rejection.GONE, "gone")
        if self.rng.random() < 0.1:
            return Rejected(0, Request.CANCEL, cloid, Rejection.BUDGET, "429")
        self.end(leg)
        return Acked(0, Request.CANCEL, cloid)

    def end(self, leg: Leg) -> None:
        del self.live[leg.cloid]
        self.report(leg, OrderState.CANCELED)

    def trade(self, share: float) -> None:
        """A taker meets one of our orders."""
        if not self.live:
            return
        leg = self.rng.choice(list(self.live.values()))
        lots = max(1, round(leg.rest_lots * share))
        leg.rest_lots -= lots
        start_lots = self.held_lots
        self.held_lots += leg.side * lots
        self.tid += 1
        venue_ms = self.now_ns // NS_PER_MS
        fill = Fill(
            0, venue_ms, self.tid, leg.oid, leg.cloid, leg.side, leg.px_ticks, lots, 0, 0,
            start_lots, is_taker=False,
        )  # fmt: skip
        self.fills.append(fill)
        if leg.rest_lots == 0:
            del self.live[leg.cloid]
            self.report(leg, OrderState.FILLED)
        self.remember()
        self.deliver(fill, is_sure=True)

    def read(self, *, is_full: bool = True) -> None:
        """The account is read: every part at its own moment, and each may trail the venue."""
        requested_ns = self.now_ns

        def seen() -> tuple[int, tuple[Leg, ...], int]:
            at_ns = self.now_ns - self.lag() * NS_PER_MS
            return [state for state in self.past if state[0] <= at_ns][-1]

        def take() -> None:
            _, legs, _ = seen()
            at_ns, _, held_lots = seen()
            # The time on the reading is that of its position or that of the answer.
            stamp_ns = self.rng.choice([self.now_ns, max(at_ns, self.now_ns - NS_PER_S)])
            fills_ms = (self.now_ns - self.lag() * NS_PER_MS) // NS_PER_MS
            fills = tuple(
                msgspec.structs.replace(fill, recv_ns=self.now_ns)
                for fill in self.fills
                if fill.venue_ms <= fills_ms
            )
            reports = tuple(
                OrderUpdate(
                    self.now_ns, 0, leg.oid, leg.cloid, leg.side, leg.px_ticks, leg.rest_lots,
                    leg.orig_lots, OrderState.OPEN, "open",
                )
                for leg in legs
            )  # fmt: skip
            snapshot = Snapshot(
                0, requested_ns, stamp_ns // NS_PER_MS, held_lots, None, 100.0, 26.2,
                Fees(1.5, 4.5), reports, fills if is_full else (), 0, 10_000,
            )  # fmt: skip
            self.at(self.rng.randint(0, 100), lambda: self.take(snapshot))

        self.at(self.rng.randint(0, 100), take)

    # -- the claim ----------------------------------------------------------------------------

    def resting(self, side: Side) -> int:
        return sum(leg.rest_lots for leg in self.live.values() if leg.side is side)

    def check(self) -> None:
        """At no moment does more rest, or could more be held, than the table and position say."""
        for side in Side:
            resting = self.resting(side)
            known = self.orders.exposure_lots(side)
            assert resting <= known, self.tell(f"{side!r}: {resting} rest, {known} are known")
            truth = side * self.held_lots + resting
            worst = side * self.position.lots + self.orders.worst_lots(side)
            assert truth <= worst, self.tell(f"{side!r}: {truth} may be held, {worst} are counted")

    def tell(self, what: str) -> str:
        table = "\n".join(map(str, self.orders.slots.values()))
        return "\n".join([what, *self.trail[-60:], "table:", table, "venue:", str(self.live)])

    def calm(self, rounds: int = 12) -> None:
        """Nothing more is sent but questions; what is on its way arrives."""
        for _ in range(rounds):
            self.ask()
            self.run(2000)

    def agrees(self) -> bool:
        """The table is the venue's, order by order; what differs is told by the assertion."""
        mine = {
            slot.cloid: (slot.oid, slot.side, slot.px_ticks, slot.rest_lots, slot.is_reduce_only)
            for slot in self.orders.slots.values()
        }
        theirs = {
            leg.cloid: (leg.oid, leg.side, leg.px_ticks, leg.rest_lots, leg.is_reduce_only)
            for leg in self.live.values()
        }
        assert mine == theirs, self.tell(f"{mine} is not {theirs}")
        states = {slot.state for slot in self.orders.slots.values()}
        assert states <= {SlotState.WORKING}, self.tell(f"{states}")
        for side in Side:
            assert self.orders.exposure_lots(side) == self.resting(side)
            assert self.orders.worst_lots(side) == self.resting(side), self.tell("worst")
        assert self.position.lots == self.held_lots, self.tell("position")
        return True
