"""What one run hands on to the next: the memory of sweeps, the account of the day, every fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mmbot.core.engine import Engine
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import DayBegan, Fill, LedgerEnds
from mmbot.core.risk import Day
from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.ports import Ports

_DAY_NS: Final = 5 * NS_PER_S
"""How often the account of the day is stored: what a killed process loses of it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier runs left, and who stores what this one leaves; who does returns at once."""

    memory: CascadeMemory | None = None
    """What an earlier run remembered of sweeps."""
    remember: Callable[[CascadeMemory], None] | None = None
    """Stores that memory whenever it changes."""
    day: Day | None = None
    """What earlier runs of the day did."""
    remember_day: Callable[[Day], None] | None = None
    """Stores the account of the day, every few seconds in which it changed."""
    keep_fills: Callable[[Sequence[Fill]], None] | None = None
    """Stores fills as the venue tells them, again and again."""
    ledger_ms: int | None = None
    """Venue's time of the last fill that earlier runs have stored."""


class Remembering:
    """
    Gives the engine what earlier runs left, and has stored what changes of it.

    Args:
        engine: Holds memory and day.
        now_ns: When the run began.
        ports: Clock and scheduler.
        is_over: Whether the run has ended.
        kept: What earlier runs left, and who stores what this one leaves.
    """

    def __init__(
        self,
        engine: Engine,
        now_ns: int,
        ports: Ports,
        kept: Kept,
        *,
        is_over: Callable[[], bool],
    ) -> None:
        memory, day = kept.memory, kept.day
        if memory is not None:
            engine.restore(memory, now_ns)
        if day is not None:
            began = DayBegan(now_ns, day.number, day.base_usd, day.pnl_usd)
            engine.apply(began)
        if kept.ledger_ms is not None:
            engine.apply(LedgerEnds(now_ns, kept.ledger_ms))
        self._engine = engine
        self._clock = ports.clock
        self._scheduler = ports.scheduler
        self._is_over = is_over
        self._day = day
        self._remember_day = kept.remember_day
        self._keep_fills = kept.keep_fills
        self._fills: list[Fill] = []
        """Told by the stream and not handed on yet."""
        self._memory = engine.memory
        self._remember = kept.remember

    def start(self) -> None:
        """Look after the account of the day from now on."""
        self._scheduler.call_at(self._clock() + _DAY_NS, self._keep_day)

    def hear(self, fill: Fill) -> None:
        """A fill of the stream; it is handed on when the orders have left."""
        self._fills.append(fill)

    def keep_memory(self) -> None:
        """Have the memory of sweeps stored when it has changed, after what it led to has left."""
        memory = self._engine.memory
        if memory is not self._memory:
            self._memory = memory
            if self._remember is not None:
                self._remember(memory)

    def hand_on_fills(self) -> None:
        """Have the fills of the stream stored, after the orders have left."""
        if self._fills:
            fills, self._fills = self._fills, []
            self.book_fills(fills)

    def book_fills(self, fills: Sequence[Fill]) -> None:
        """Have these stored, whether they were before or not."""
        if self._keep_fills is not None:
            self._keep_fills(fills)

    def _keep_day(self) -> None:
        """Have the account of the day stored when it has changed."""
        if self._is_over():
            return
        self._scheduler.call_at(self._clock() + _DAY_NS, self._keep_day)
        day = self._engine.risk.day
        if day is not None and day != self._day:
            self._day = day
            if self._remember_day is not None:
                self._remember_day(day)
