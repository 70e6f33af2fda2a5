"""
What was decided is told after it was sent: the log waits, the orders do not.

The loop writes to a socket when the callback that asked for it returns, so whatever is done before
that is time on the way of an order. A decision is therefore told at the loop's next turn, or before
the next event is folded, whichever comes first: the log keeps the order in which things happened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from mmbot.core.diagnostics import Diagnostics
from mmbot.core.engine import Decision
from mmbot.core.types import NS_PER_S
from mmbot.hyperliquid.ports import Clock, Scheduler

Log = structlog.typing.FilteringBoundLogger


class Spans:
    """
    A histogram of short spans.

    Attributes:
        counts: Of each bucket, those of `BOUNDS_S` and one above them; not cumulative.
        sum_s: Of all.
    """

    BOUNDS_S: Final = (1e-4, 2e-4, 3e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5)

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, span_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.BOUNDS_S, span_s)] += 1
        self.sum_s += span_s


class Teller:
    """
    The log of a trader, with the decisions that are still to be told in front of it.

    Args:
        log: Where it all goes.
        unknown: What the decoder did not know, with counts; each is told once.
        judge: Looks at each decision, with the engine as it was left by it.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        scheduler: Scheduler,
        unknown: Mapping[str, int],
        judge: Callable[[Decision], None],
    ) -> None:
        self._log = log
        self._clock = clock
        self._scheduler = scheduler
        self._unknown = unknown
        self._judge = judge
        self._seen_unknown: set[str] = set()
        self._untold: list[Decision] = []
        self._is_asked = False
        self.sent = Spans()
        """From the read of a frame, or a timer, to the batch it led to being sent."""
        self._asked: tuple[Decision | None, int] = None, 0
        """For which decision the next turn was asked for, and when: it had been sent by then."""
        self.facts: Diagnostics | None = None
        """The newest record of a decision that was told."""

    @property
    def log(self) -> Log:
        """The log, once it has everything that was decided before."""
        if self._untold:
            self.tell()
        return self._log

    def later(self, decision: Decision) -> None:
        """Tell this at the loop's next turn, when what it sent has left."""
        if not _says_something(decision) and len(self._unknown) == len(self._seen_unknown):
            return
        self._untold.append(decision)
        if not self._is_asked:
            self._is_asked = True
            now_ns = self._clock()
            self._asked = decision, now_ns
            self._scheduler.call_at(now_ns, self._on_turn)

    def tell(self) -> None:
        """Tell what is left to be told."""
        untold, self._untold = self._untold, []
        for decision in untold:
            self._one(decision)

    def _on_turn(self) -> None:
        self._is_asked = False
        self.tell()

    def _one(self, decision: Decision) -> None:
        log = self._log
        for note in decision.notes:
            getattr(log, note.level)(note.event, **note.facts)
        # Put together here and once: what was decided has left by now.
        facts = decision.diagnostics
        if facts is not None:
            self.facts = facts
            if decision.batch is not None:
                log.info("quote.moved", facts=facts)
                asked, sent_ns = self._asked
                if asked is decision:
                    self.sent.add(max(0, sent_ns - facts.at_ns) / NS_PER_S)
            else:
                log.info("quote.held", **_without_rungs(facts))
            self._judge(decision)
        if len(self._unknown) != len(self._seen_unknown):
            for what in sorted(self._unknown.keys() - self._seen_unknown):
                self._seen_unknown.add(what)
                log.warning("frame.unknown", what=what)


def _without_rungs(facts: Diagnostics) -> dict[str, Any]:
    """A record whose rungs are those of the last one: two thirds of it say nothing new."""
    told = msgspec.structs.asdict(facts)
    del told["bids"], told["asks"]
    return told


def _says_something(decision: Decision) -> Any:
    return decision.notes or decision.capture is not None
