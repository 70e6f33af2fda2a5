"""
Mutants of every term at the borders between estimator, quoter and ladder, made by rule.

The original of a value is kept beside the mutant's, so that the moment can be told from which the
mutation matters: before it, a mutant is the original.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, TypedDict

import msgspec

from core.driven import END_S, Driven, settings
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
    return _session(**_way(field))


class _Way(TypedDict):
    """Which of the sessions it is."""

    is_mirrored: bool
    is_capped: bool


def _way(field: str) -> _Way:
    # The barrier first rises on the long side, whose increasing side has not been swept.
    is_mirrored = ("bid" in field or "down" in field) is not ("guard" in field)
    return {"is_mirrored": is_mirrored, "is_capped": field == "shift_cap_bps"}


def _session(*, is_mirrored: bool, is_capped: bool) -> Driven:
    chosen = settings(shift_bps_max=5.0) if is_capped else None
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
    """Put a mutant into the engine of a session in which its field has not acted yet."""
    mutation = Mutation(mutant, driven.start_ns)
    _plant(driven, mutant.border, mutation.change)
    return mutation


def _plant(driven: Driven, border: Border, change: Callable[[int, Any], Any]) -> None:
    engine: Any = driven.engine
    if border is Border.VIEW:
        original = engine.signals.view

        def view(now_ns: int, x: float, **figures: Any) -> MarketView:
            seen: MarketView = change(now_ns, original(now_ns, x, **figures))
            return seen

        engine.signals.view = view
    elif border is Border.QUOTE:
        engine._quoter = _Quoter(engine._quoter, change)
    else:
        engine._ladder = _Ladder(engine._ladder, change)


# -- the part of a session that a mutant leaves as it is -------------------------------------------


_EVERY_S = 30.0
"""Between two states that are kept of a session without a mutant."""


class _Kept(NamedTuple):
    """A session without a mutant: its state at some times, and when each field first acts."""

    states: tuple[Driven, ...]
    first_s: dict[tuple[Border, str], float]


class _Firsts:
    """When each field of a border first is anything but zero, or absent, as it was at first."""

    def __init__(self, driven: Driven, border: Border) -> None:
        self.driven, self.border = driven, border
        self.began: dict[str, float | None] = {}
        self.first_s: dict[tuple[Border, str], float] = {}

    def look(self, now_ns: int, it: Any) -> Any:
        """Take note and change nothing."""
        for path in fields(self.border):
            value = get(it, path)
            began = self.began.setdefault(path, value)
            if value != began or began not in (None, 0.0):
                at_s = (now_ns - self.driven.start_ns) / NS_PER_S
                self.first_s.setdefault((self.border, path), at_s)
        return it


@cache
def _kept(*, is_mirrored: bool, is_capped: bool) -> _Kept:
    driven = _session(is_mirrored=is_mirrored, is_capped=is_capped)
    engine: Any = driven.engine
    looks = [_Firsts(driven, border) for border in (Border.VIEW, Border.QUOTE)]
    states: list[Driven] = []
    while driven.at_s < END_S:
        quoter = engine._quoter
        for look in looks:
            _plant(driven, look.border, look.look)
        driven.run(driven.at_s + _EVERY_S)
        del engine.signals.view
        engine._quoter = quoter
        driven.forget()
        states.append(deepcopy(driven))
    first_s = {key: at_s for look in looks for key, at_s in look.first_s.items()}
    # What the ladder is handed is the quote.
    first_s |= {(Border.LADDER, p): s for (b, p), s in first_s.items() if b is Border.QUOTE}
    return _Kept(tuple(states), first_s)


def session_before(border: Border, field: str) -> Driven:
    """
    The session in which a field must act, run until shortly before it first does.

    Until then it is zero, so that no change of it is one: whoever plants a mutant here sees what
    they would have seen from the beginning.
    """
    way = _way(field)
    states, first_s = _kept(**way)
    acts_s = first_s.get((border, field), END_S)
    before = [state for state in states if state.at_s < acts_s]
    return deepcopy(before[-1]) if before else _session(**way)
