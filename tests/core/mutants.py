"""
Mutants of every term at the borders between estimator, quoter and ladder, made by rule.

The original of a value is kept beside the mutant's, so that the moment can be told from which the
mutation matters: before it, a mutant is the original.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from core.driven import Driven, settings
from mmbot.core.ladder import SideTarget
from mmbot.core.quoter import MarketView, Quote
from mmbot.core.types import NS_PER_S, Side

FREEZE_S = 30.0
_STEP_BPS = 0.4
"""One price step of the sessions."""
LATE_S = 60.0


class Border(Enum):
    """Where a value is changed."""

    VIEW = "estimator to quoter"
    QUOTE = "quoter to ladder, told as it is"
    LADDER = "quoter to ladder, behind the record's back"


class Change(Enum):
    """How."""

    ZERO = "zeroed"
    FLIP = "sign flipped"
    TENTH = "x 0.1"
    FROZEN = "frozen"
    LATE = "60 s late"


class Mutant(NamedTuple):
    """One changed field. `field` is a path of attributes."""

    border: Border
    field: str
    change: Change

    def __str__(self) -> str:
        return f"{self.border.name.lower()}:{self.field}:{self.change.name.lower()}"


MATERIAL: dict[str, float] = {
    "vol_bps_rt_s": 0.65,
    "vol_robust_bps_rt_s": 0.65,
    "a_per_s": 0.02,
    "k_per_bp": 0.05,
    "a0_bps": 0.2,
    "a1": 0.05,
    "drift.mean_bps_per_s": 0.012,
    "drift.sd_bps_per_s": 0.012,
    "trend.short_bps": 15.0,
    "trend.medium_bps": 15.0,
    "trend.long_bps": 15.0,
    "trend.trend_bps": 40.0,
    "trend.z": 1.0,
    "stance.is_opposed": 0.5,
    "stance.urgency": 0.5,
    "stance.against_p": 0.1,
    "stance.response_bps": 1.5,
    "stance.fade": 0.5,
    "cascade.bid_bps": 2.5,
    "cascade.ask_bps": 2.5,
    "cascade.hold_bid_ticks": 100.0,
    "cascade.hold_ask_ticks": 100.0,
    "cascade.danger_up": 0.05,
    "cascade.danger_down": 0.05,
    "funding_bps_per_h": 0.5,
    "reference_bps": 2.0,
    "x": 0.05,
    "fee_bps": 0.3,
    "adverse_selection_bps": 0.5,
    "glft_bps": 0.25,
    "half_min_bps": 0.5,
    "inventory_skew_bps": 0.5,
    "drift_bps": 0.5,
    "funding_bps": 0.3,
    "opposed_bid_bps": 1.5,
    "opposed_ask_bps": 1.5,
    "widening_bid_bps": 0.5,
    "widening_ask_bps": 0.5,
    "guard_bid_bps": 0.5,
    "guard_ask_bps": 0.5,
    "cascade_bid_bps": 2.5,
    "cascade_ask_bps": 2.5,
    "hold_ask_bps": 3.0,
    "hold_bid_bps": 3.0,
    "touch_bid_bps": 0.5,
    "touch_ask_bps": 0.5,
    "skew_bps": 1.0,
    "floor_bps": 0.3,
    "reducing_floor_bps": 0.6,
    "shift_cap_bps": 0.5,
}
"""Difference from which a mutation changes a quote enough to matter, in the unit of the field."""

VIEW_FIELDS = tuple(list(MATERIAL)[: list(MATERIAL).index("x")])
QUOTE_FIELDS = ("reference_bps", *list(MATERIAL)[list(MATERIAL).index("x") :])


NOT_READ = frozenset({"x", "skew_bps"})
"""Fields that the ladder never reads: for the record alone."""

_WARM_UP_S = {"trend.trend_bps": 60.0, "trend.z": 60.0}
"""Before that the windows of the trend are hardly told apart."""

_FLOORS = ("floor_bps", "reducing_floor_bps")


def fields(border: Border) -> tuple[str, ...]:
    """What is changed at a border."""
    if border is Border.VIEW:
        return VIEW_FIELDS
    if border is Border.QUOTE:
        return QUOTE_FIELDS
    return tuple(field for field in QUOTE_FIELDS if field not in NOT_READ)


def session_for(field: str) -> Driven:
    """The session in which a field must act: terms of the bids are those of the asks, mirrored."""
    chosen = settings(shift_bps_max=5.0) if field == "shift_cap_bps" else None
    # The barrier first rises on the long side, whose increasing side has not been swept.
    is_mirrored = ("bid" in field or "down" in field) is not ("guard" in field)
    return Driven(is_mirrored=is_mirrored, chosen=chosen)


def get(it: Any, path: str) -> float | None:
    """Value of a path, None if a part of it is absent."""
    for name in path.split("."):
        if it is None:
            return None
        it = getattr(it, name)
    return it if it is None else float(it)


def put(it: Any, path: str, value: float | None) -> Any:
    """The same record with one value changed."""
    head, _, rest = path.partition(".")
    inner = value if not rest else put(getattr(it, head), rest, value)
    if isinstance(it, msgspec.Struct):
        return msgspec.structs.replace(it, **{head: inner})
    return it._replace(**{head: inner})


class Mutation:
    """One mutant at work: its own past, and when it first mattered."""

    def __init__(self, mutant: Mutant, start_ns: int) -> None:
        self.mutant = mutant
        self.start_ns = start_ns
        self.is_frozen = False
        self.frozen: float | None = None
        self.past: deque[tuple[int, float | None]] = deque()
        self.matters_from_s: float | None = None
        """When it first made a difference that matters, s."""

    def change(self, now_ns: int, it: Any) -> Any:
        path = self.mutant.field
        value = get(it, path)
        if value is None and "hold" not in path:
            return it
        at_s = (now_ns - self.start_ns) / NS_PER_S
        changed = self.value(now_ns, at_s, value)
        if changed is None and "hold" not in path:
            return it
        if self.matters_from_s is None and at_s >= _WARM_UP_S.get(path, 0.0):
            before, after = _effect(it, path, value), _effect(it, path, changed)
            if abs(before - after) >= MATERIAL[path]:
                self.matters_from_s = at_s
        return it if changed == value else put(it, path, changed)

    def value(self, now_ns: int, at_s: float, value: float | None) -> float | None:
        change = self.mutant.change
        if change is Change.FROZEN:
            if not self.is_frozen:
                self.frozen, self.is_frozen = value, at_s >= FREEZE_S
            return self.frozen
        if change is Change.LATE:
            self.past.append((now_ns, value))
            late_ns = now_ns - int(LATE_S * NS_PER_S)
            while len(self.past) > 1 and self.past[1][0] <= late_ns:
                self.past.popleft()
            return self.past[0][1]
        if value is None:
            return None
        return {Change.ZERO: 0.0, Change.FLIP: -value, Change.TENTH: 0.1 * value}[change]


def _effect(it: Any, path: str, value: float | None) -> float:
    """What a value does: a floor acts only where it binds, a price to stay behind only if any."""
    if value is None:
        return 0.0
    if path not in _FLOORS or not isinstance(it, Quote):
        return value
    reducing = Side.BUY if it.x < 0 else Side.SELL
    if path == "reducing_floor_bps":
        return max(it.depth_bps(reducing), value, _STEP_BPS) if it.x else 0.0
    sides = [reducing.opposite] if it.x else list(Side)
    return max(max(it.depth_bps(side), value) - it.depth_bps(side) for side in sides)


class _Quoter:
    def __init__(self, inner: Any, change: Callable[[int, Quote], Quote]) -> None:
        self.inner, self.change = inner, change

    @property
    def base_bps(self) -> float:
        return float(self.inner.base_bps)

    def quote(self, *, now_ns: int, **figures: Any) -> Quote:
        return self.change(now_ns, self.inner.quote(now_ns=now_ns, **figures))


class _Ladder:
    def __init__(self, inner: Any, change: Callable[[int, Quote], Quote]) -> None:
        self.inner, self.change = inner, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def build(self, quote: Quote, inputs: Any, *, now_ns: int, **figures: Any) -> SideTarget:
        changed = self.change(now_ns, quote)
        target: SideTarget = self.inner.build(changed, inputs, now_ns=now_ns, **figures)
        return target


def plant(driven: Driven, mutant: Mutant) -> Mutation:
    """Put a mutant into the engine of a session that has not run yet."""
    mutation = Mutation(mutant, driven.start_ns)
    engine: Any = driven.engine
    if mutant.border is Border.VIEW:
        original = engine.signals.view

        def view(now_ns: int, x: float, **figures: Any) -> MarketView:
            seen: MarketView = mutation.change(now_ns, original(now_ns, x, **figures))
            return seen

        engine.signals.view = view
    elif mutant.border is Border.QUOTE:
        engine._quoter = _Quoter(engine._quoter, mutation.change)
    else:
        engine._ladder = _Ladder(engine._ladder, mutation.change)
    return mutation
