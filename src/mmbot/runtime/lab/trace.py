"""
What a session looked like second by second, read off the engine's records by an observer.

Nothing of it reaches the engine: a traced session has the outcome of the same plan untraced.
"""

from __future__ import annotations

from math import log
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmbot.core.diagnostics import Capture
from mmbot.core.engine import Decision
from mmbot.core.types import NS_PER_S
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.session import Plan, Session

_BPS: Final = 1e-4
_SWEPT: Final = "cascade.seen"


class Row(msgspec.Struct, frozen=True):
    """The state of the last decision of one second."""

    at_s: float
    """Since the start of the session."""
    mid_bps: float
    """Log price of the makers' mid over the first one."""
    direction: float
    """Danger above less danger below."""
    z: float | None
    """Significance of the trend, deviations, positive up; None before there is one."""
    x: float
    """Position of its limit, long positive."""
    is_opposed: bool
    urgency: float
    response_bps: float | None
    long_bps: float | None
    """Return of the mid over the long window."""
    is_capped: bool
    """The bound of the answer to a trend binds."""
    is_swept: bool
    """A burst of own fills was seen within this second."""


class Trace(msgspec.Struct, frozen=True):
    """One session and its seconds."""

    outcome: Outcome
    rows: tuple[Row, ...]

    def column(self, name: str) -> NDArray[np.float64]:
        """One column; not-a-number where there was no figure."""
        values = [getattr(row, name) for row in self.rows]
        return np.array([np.nan if value is None else float(value) for value in values])

    def moves_bps(self, span_s: float) -> NDArray[np.float64]:
        """Move of the mid from each row to the last row at most `span_s` later; else nan."""
        times, mids = self.column("at_s"), self.column("mid_bps")
        ends = np.searchsorted(times, times + span_s + 1e-9, side="right") - 1
        moves = mids[ends] - mids
        moves[times + span_s > times[-1] + 1e-9] = np.nan
        return moves


class TracedSession(Session):
    """A session with somebody who takes notes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.rows: list[Row] = []
        self._first_ns: int | None = None
        self._first_mid = self.exchange.mid_ticks
        self._is_swept = False

    def _watch(self, decision: Decision) -> None:
        super()._watch(decision)
        if any(note.event == _SWEPT for note in decision.notes):
            self._is_swept = True
        capture = decision.capture
        if capture is None:
            return
        if self._first_ns is None:
            self._first_ns = capture.at_ns
        row = self._row(capture, (capture.at_ns - self._first_ns) / NS_PER_S)
        if self.rows and int(self.rows[-1].at_s) == int(row.at_s):
            self.rows[-1] = row
        else:
            self.rows.append(row)
            self._is_swept = False

    def _row(self, capture: Capture, at_s: float) -> Row:
        market = capture.view.market
        trend, stance = market.trend, market.stance
        return Row(
            at_s=at_s,
            mid_bps=log(self.exchange.mid_ticks / self._first_mid) / _BPS,
            direction=market.cascade.direction,
            z=None if trend is None else trend.z,
            x=capture.view.quote.x,
            is_opposed=stance.is_opposed,
            urgency=stance.urgency,
            response_bps=stance.response_bps,
            long_bps=None if trend is None else trend.long_bps,
            is_capped=stance.is_capped,
            is_swept=self._is_swept,
        )


def run_traced(plan: Plan) -> Trace:
    """The outcome of a plan and what it looked like on the way; the plan is not mirrored."""
    session = TracedSession(plan)
    outcome = session.run()
    return Trace(outcome, tuple(session.rows))
