"""
Bursts of our own fills: what one sweep took from one side of our ladder.

One aggressive order takes several rungs at once, so fills are no independent events and a count of
fills proves little. A burst is judged by what it took: how deep against the usual reach of an
order, how much of what we had resting, or how many messages in a minute.

The venue may split a sweep over several frames and deliver frames late, so nothing here depends on
the order or the grouping of the fills of one second, only on their venue time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.estimators.significance import reach_p
from mmbot.core.types import NS_PER_MS, Side

_MS_PER_S: Final = 1000
_SEEN_MAX: Final = 512
"""Fills remembered by identity."""

_DELIVERIES_MAX: Final = 128
"""Deliveries kept; eight messages end in a burst, so only a flood of splits comes near."""

_INFINITY: Final = float("inf")

_HAIR: Final = 1e-9
"""A span that meets its threshold up to rounding meets it."""


class BurstParams(BaseModel):
    """When fills of one side are a burst."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    burst_window_s: float = Field(
        1.0, ge=0.05, le=10, description="Fills of one side within this are judged together, s."
    )
    fills_min: int = Field(4, ge=2, le=20, description="Fills a burst by span needs.")
    span_decays_min: float = Field(
        3.0,
        ge=1,
        le=10,
        description="Span a burst by span needs, in units of 1/k: 3 is significant at 5 %.",
    )
    share_min: float = Field(
        0.8, ge=0.5, le=1, description="Share of the side's resting size a burst by share takes."
    )
    share_orders_min: int = Field(
        5, ge=2, le=20, description="Orders a burst by share takes, unless its span suffices."
    )
    share_span_decays_min: float = Field(
        2.0, ge=0.5, le=10, description="Span that suffices for a burst by share, in 1/k."
    )
    events_min: int = Field(
        8, ge=3, le=50, description="Separate messages within the events window that are a burst."
    )
    events_window_s: float = Field(60.0, ge=5, le=600, description="Window of the messages, s.")
    depth_bps_min: float = Field(
        3.0, ge=0, le=20, description="Least depth a burst counts for, bps."
    )


class OwnFill(NamedTuple):
    """A fill of ours: price and size, the order it belongs to (oid) and its trade (tid)."""

    px_ticks: float
    sz_lots: float
    oid: int
    tid: int


class Trigger(Enum):
    """What made some fills a burst."""

    SPAN = "span"
    SHARE = "share"
    EVENTS = "events"


class Burst(msgspec.Struct, frozen=True):
    """
    A burst as known so far.

    `side` is that of our orders. With `is_extension` these figures replace the last report's.
    """

    side: Side
    at_ns: int
    trigger: Trigger
    depth_bps: float
    """From the touch it hit to the deepest price taken, at least `depth_bps_min`."""
    span_bps: float
    """From the nearest to the deepest price taken within one second."""
    reach_p: float
    """Probability that an order which took the nearest price goes that far: exp(-k span)."""
    share: float
    """Of the size that rested on the side, within one second."""
    fills: int
    orders: int
    events: int
    deepest_ticks: float
    is_extension: bool


class _Delivery(msgspec.Struct):
    """The fills of one venue time that came in one call; prices as distance outward, ticks."""

    at_ns: int
    venue_ms: int
    nearest: float
    deepest: float
    touch: float
    base: float
    fills: int
    lots: float
    oids: set[int]
    resting: float
    is_used: bool = False


def _delivery(
    now_ns: int,
    venue_ms: int,
    side: Side,
    fills: list[OwnFill],
    resting_lots: float,
    touch_ticks: float | None,
    fair_ticks: float,
) -> _Delivery:
    # Outward is up for asks and down for bids; negation is exact, so the sides mirror exactly.
    outward = [-side * fill.px_ticks for fill in fills]
    return _Delivery(
        at_ns=now_ns,
        venue_ms=venue_ms,
        nearest=min(outward),
        deepest=max(outward),
        touch=min(outward) if touch_ticks is None else -side * touch_ticks,
        base=fair_ticks,
        fills=len(fills),
        lots=sum(fill.sz_lots for fill in fills),
        oids={fill.oid for fill in fills},
        resting=resting_lots,
    )


class _Taken(NamedTuple):
    """What several deliveries took together."""

    depth_bps: float
    span_bps: float
    share: float
    deepest: float
    fills: int
    orders: int


def _taken(deliveries: Iterable[_Delivery]) -> _Taken:
    """Sum up deliveries that are in the order of arrival."""
    it = list(deliveries)
    bps = 1e4 / it[0].base
    nearest = min(d.nearest for d in it)
    deepest = max(d.deepest for d in it)
    touch = min(nearest, *(d.touch for d in it))
    oids: set[int] = set()
    lots = rested = 0.0
    for d in it:
        # What rested before this delivery, and what the earlier ones had taken by then.
        rested = max(rested, d.resting + lots)
        lots += d.lots
        oids |= d.oids
    return _Taken(
        depth_bps=(deepest - touch) * bps,
        span_bps=(deepest - nearest) * bps,
        share=lots / max(rested, lots),
        deepest=deepest,
        fills=sum(d.fills for d in it),
        orders=len(oids),
    )


class _Open:
    """The last burst: later fills of its second still belong to it."""

    __slots__ = ("counted", "deepest", "depth_bps", "first_ms", "last_ms", "trigger", "window")

    def __init__(
        self,
        trigger: Trigger,
        window: list[_Delivery],
        counted: list[_Delivery],
        depth_bps_min: float,
    ) -> None:
        self.trigger = trigger
        # What is measured together, and what is counted: the same, or the events of a minute.
        self.window, self.counted = window, counted
        self.first_ms = min(d.venue_ms for d in window)
        self.last_ms = max(d.venue_ms for d in window)
        self.depth_bps = depth_bps_min
        self.deepest = -_INFINITY
        for delivery in counted:
            delivery.is_used = True
        self.include(_taken(window))

    def include(self, taken: _Taken) -> None:
        """Let the burst go as deep as these fills, never less deep than before."""
        self.depth_bps = max(self.depth_bps, taken.depth_bps)
        self.deepest = max(self.deepest, taken.deepest)


class BurstDetector:
    """
    Bursts on one side of our ladder.

    Any of three makes a burst: `fills_min` fills or more in one second whose span is
    `span_decays_min / k` or more; `share_min` of what rested on the side in one second, by
    `share_orders_min` orders or over `share_span_decays_min / k`; `events_min` messages in
    `events_window_s`. Every fill starts one burst at most: what comes within the same second, or
    makes a burst only together with fills of the last one, extends that.

    Prices in ticks, sizes in lots, depths in bps of fair. Refused input is counted in `ignored`.
    """

    __slots__ = (
        "_open",
        "_params",
        "_recent",
        "_seen",
        "_side",
        "_span_ms",
        "_window_ms",
        "ignored",
    )

    def __init__(self, params: BurstParams, side: Side) -> None:
        self._params = params
        self._side = side
        self._window_ms = round(params.burst_window_s * _MS_PER_S)
        self._span_ms = round(params.events_window_s * _MS_PER_S)
        self._recent: list[_Delivery] = []
        self._seen: dict[tuple[int, int], None] = {}
        self._open: _Open | None = None
        self.ignored = 0

    def add(
        self,
        now_ns: int,
        venue_ms: int,
        fills: Sequence[OwnFill],
        *,
        resting_lots: float,
        touch_ticks: float | None,
        fair_ticks: float,
        k_per_bp: float,
    ) -> Burst | None:
        """Take fills of one venue time; the arguments are those of `Cascade.on_own_fills`."""
        unique = {(fill.tid, fill.oid): fill for fill in fills}
        fresh = [fill for key, fill in unique.items() if key not in self._seen]
        figures = [fair_ticks, k_per_bp, *(v for f in fresh for v in (f.px_ticks, f.sz_lots))]
        if touch_ticks is not None:
            figures.append(touch_ticks)
        is_sound = all(0 < value < _INFINITY for value in figures)
        if not fresh or not is_sound or not 0 <= resting_lots < _INFINITY or venue_ms < 0:
            self.ignored += 1
            return None
        self._remember(fresh)
        new = _delivery(now_ns, venue_ms, self._side, fresh, resting_lots, touch_ticks, fair_ticks)
        is_late = not self._keep(new)
        if self._joins(new):
            return self._report(now_ns, k_per_bp, is_extension=True)
        near = [d for d in self._recent if abs(d.venue_ms - venue_ms) <= self._window_ms]
        if is_late:
            near.append(new)
        if self._starts(new, near, k_per_bp) or (not is_late and self._counts()):
            return self._report(now_ns, k_per_bp, is_extension=False)
        if self._deepens(new, near, k_per_bp):
            return self._report(now_ns, k_per_bp, is_extension=True)
        if is_late:
            self.ignored += 1
        return None

    def _remember(self, fills: list[OwnFill]) -> None:
        self._seen.update(((fill.tid, fill.oid), None) for fill in fills)
        while len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    def _keep(self, new: _Delivery) -> bool:
        """Put it with the others of its minute; False when it is older than all of that minute."""
        # Both clocks: a venue time from the future must not make everything after it look old.
        since_ns = new.at_ns - self._span_ms * NS_PER_MS
        recent = [d for d in self._recent if d.at_ns >= since_ns]
        since_ms = max((d.venue_ms for d in recent), default=new.venue_ms) - self._span_ms
        is_kept = new.venue_ms >= since_ms
        if is_kept:
            recent.append(new)
            since_ms = max(since_ms, new.venue_ms - self._span_ms)
        self._recent = [d for d in recent if d.venue_ms >= since_ms][-_DELIVERIES_MAX:]
        return is_kept

    def _joins(self, new: _Delivery) -> bool:
        """Whether it is of the same second as the last burst, which then takes it in."""
        it = self._open
        if it is None:
            return False
        first_ms, last_ms = min(it.first_ms, new.venue_ms), max(it.last_ms, new.venue_ms)
        if last_ms - first_ms > self._window_ms:
            return False
        it.first_ms, it.last_ms = first_ms, last_ms
        it.window.append(new)
        if it.counted is not it.window:
            it.counted.append(new)
        new.is_used = True
        it.include(_taken(it.window))
        return True

    def _starts(self, new: _Delivery, near: list[_Delivery], k_per_bp: float) -> bool:
        """Whether it completes a burst of fills that belong to none; the deepest such second."""
        best: list[_Delivery] | None = None
        best_trigger = Trigger.SPAN
        best_bps = -1.0
        for window in self._seconds(new, [d for d in near if not d.is_used]):
            taken = _taken(window)
            trigger = self._trigger(taken, k_per_bp)
            if trigger is not None and taken.depth_bps > best_bps:
                best, best_trigger, best_bps = window, trigger, taken.depth_bps
        if best is None:
            return False
        self._open = _Open(best_trigger, best, best, self._params.depth_bps_min)
        return True

    def _counts(self) -> bool:
        """Whether the minute now holds so many separate messages that they are a burst."""
        unused = [d for d in self._recent if not d.is_used]
        messages: dict[int, list[_Delivery]] = {}
        for delivery in unused:
            messages.setdefault(delivery.venue_ms, []).append(delivery)
        if len(messages) < self._params.events_min:
            return False
        since_ms = max(messages) - self._window_ms
        window = [d for d in unused if d.venue_ms >= since_ms]
        self._open = _Open(Trigger.EVENTS, window, unused, self._params.depth_bps_min)
        for message in messages.values():
            self._open.include(_taken(message))
        return True

    def _deepens(self, new: _Delivery, near: list[_Delivery], k_per_bp: float) -> bool:
        """Whether it makes a burst together with fills of the last one, which then goes deeper."""
        it = self._open
        if it is None:
            return False
        is_deeper = False
        for window in self._seconds(new, near):
            taken = _taken(window)
            if self._trigger(taken, k_per_bp) is not None and any(d.is_used for d in window):
                it.include(taken)
                is_deeper = True
        return is_deeper

    def _seconds(self, new: _Delivery, near: list[_Delivery]) -> list[list[_Delivery]]:
        """Every set of deliveries within one second of each other that `new` is one of."""
        starts = {d.venue_ms for d in near if d.venue_ms <= new.venue_ms}
        return [
            [d for d in near if start <= d.venue_ms <= start + self._window_ms]
            for start in sorted(starts)
        ]

    def _trigger(self, taken: _Taken, k_per_bp: float) -> Trigger | None:
        it = self._params
        decays = taken.span_bps * k_per_bp + _HAIR
        if taken.fills >= it.fills_min and decays >= it.span_decays_min:
            return Trigger.SPAN
        is_wide = taken.orders >= it.share_orders_min or decays >= it.share_span_decays_min
        if taken.share + _HAIR >= it.share_min and is_wide:
            return Trigger.SHARE
        return None

    def _report(self, now_ns: int, k_per_bp: float, *, is_extension: bool) -> Burst:
        it = self._open
        assert it is not None
        window, counted = _taken(it.window), _taken(it.counted)
        return Burst(
            side=self._side,
            at_ns=now_ns,
            trigger=it.trigger,
            depth_bps=it.depth_bps,
            span_bps=window.span_bps,
            reach_p=reach_p(window.span_bps, k_per_bp),
            share=window.share,
            fills=counted.fills,
            orders=counted.orders,
            events=len({d.venue_ms for d in it.counted}),
            deepest_ticks=-self._side * it.deepest,
            is_extension=is_extension,
        )
