"""
What would have become of the position after a flip: a few minutes of a run once more.

A report is made in seconds, and a run may have lasted a day. So a window is played and not the run:
an engine that is new watches the market for some minutes before the flip without being filled,
holding the position that the run had at the flip, and trades from there. What the run had learnt
before, it does not know; the position with nothing changed stands beside for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from mmbot.core.engine import EngineParams
from mmbot.core.events import Bbo, LinkLost, LinkUp, Snapshot, Trade
from mmbot.core.types import NS_PER_S
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.errors import MmbotError
from mmbot.journal.reader import Entry, Journal
from mmbot.journal.records import JournalError, Kind, Output, Reconfigured, Started, decode
from mmbot.runtime.belonging import refuse_older
from mmbot.runtime.report.facts import Facts
from mmbot.runtime.report.measures import Flip
from mmbot.runtime.whatif import figures
from mmbot.runtime.whatif.fold import SKIPPED, MarketFold
from mmbot.runtime.whatif.market import Input, Market
from mmbot.runtime.whatif.simulate import Retune, Simulation

MOST: Final = 2
"""Flips that are played, the first ones: a run has none or few, or so many that two tell."""
LATER_S: Final = 180.0
WARM_S: Final = 120.0
"""How long the engine of a window watches before the flip."""
_ORDERS_S: Final = 300.0
"""How much earlier our own orders are followed, to know which of them rest."""
CHANGE: Final = "twice the inventory skew"

_SCANNED: Final = frozenset(
    int(kind)
    for kind in Kind
    if kind not in (Kind.STARTED, Kind.RECONFIGURED, Kind.SNAPSHOT, Kind.DECIDE)
)
"""What is not even looked at far from a window."""
_OPENS_NS: Final = round((WARM_S + _ORDERS_S) * NS_PER_S)
_SLACK_NS: Final = 5 * NS_PER_S


def steeper(params: EngineParams) -> EngineParams:
    """Twice the skew, as far as it can be configured: its floor, and what the width makes of it."""
    quoter = params.quoter
    update = {
        "skew_bps_min": min(60.0, 2.0 * quoter.skew_bps_min),
        "skew_x_touch": max(0.1, 0.5 * quoter.skew_x_touch),
    }
    return params.model_copy(update={"quoter": quoter.model_copy(update=update)})


class Window(MarketFold):
    """
    The market around one moment of a run.

    Args:
        started, params, first: What the run began with; the parameters are those in force.
        at_ns: The moment.
    """

    def __init__(self, started: Started, params: EngineParams, first: Snapshot, at_ns: int) -> None:
        super().__init__()
        self._on_started(started)
        self.params, self.first = params, first
        self.moment_ns = at_ns
        self.start_ns = at_ns - round(WARM_S * NS_PER_S)
        self.until_ns = at_ns + round(LATER_S * NS_PER_S)
        self.held_lots = self.later_lots = 0
        """Position of the run at the moment, and at the end of the window."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is to come."""
        return self.end_ns is not None

    def open(self, now_ns: int, venue_ms: int, output: Output) -> None:
        """Begin to follow our orders; the position is that of the last decision."""
        self._steady.at_ns = self._counted_ns = now_ns
        self.start_ns = max(self.start_ns, now_ns)
        self.held_lots = self.later_lots = output.position_lots
        desk = self._running
        desk.apply(LinkUp(now_ns))
        desk.apply(self._account(now_ns, venue_ms, output.position_lots))

    def take(self, entry: Entry) -> None:
        """One record of the journal."""
        if self.is_over:
            return
        if entry.kind == Kind.DECIDE:
            now_ns: Any = decode(entry.kind, entry.payload)
            if now_ns > self.until_ns:
                self.end_ns = self.until_ns
                return
        self._on(entry)

    def _on_output(self, output: Output) -> None:
        super()._on_output(output)
        self.later_lots = output.position_lots
        if self._decided_ns <= self.moment_ns:
            self.held_lots = output.position_lots

    def _put(self, item: Input) -> None:
        if self._steady.at_ns > self.until_ns:
            self.end_ns = self.end_ns or self.until_ns
        elif self._steady.at_ns >= self.start_ns:
            super()._put(item)

    def market(self) -> Market:
        """
        The market of the window, with the position that the run had at its moment.

        Raises:
            JournalError: No price in it.
        """
        first = self._account(self.start_ns, self.start_ns // 1_000_000, self.held_lots)
        links = [item for item in self._inputs if isinstance(item, LinkUp | LinkLost)]
        # Where the link comes up next, it was down.
        is_down = bool(links) and isinstance(links[0], LinkUp)
        began: list[Input] = [] if is_down else [LinkUp(self.start_ns)]
        if self._ctx is not None:
            first = msgspec.structs.replace(first, mark_px=self._ctx.mark_px)
        self._inputs = [*began, first, *self._inputs]
        self.first = first
        found = super().market()
        # Nothing is filled before the moment: what the tape does not tell fills nobody.
        happened = tuple(
            frame
            for frame in found.recording.happened
            if not isinstance(frame, Trade) or frame.recv_ns >= self.moment_ns
        )
        recording = msgspec.structs.replace(found.recording, happened=happened)
        return msgspec.structs.replace(found, recording=recording)

    def _account(self, now_ns: int, venue_ms: int, position_lots: int) -> Snapshot:
        assert self.first is not None
        return msgspec.structs.replace(
            self.first,
            recv_ns=now_ns,
            requested_at_ns=now_ns,
            venue_ms=venue_ms,
            position_lots=position_lots,
            entry_px=None,
            open_orders=(),
            fills=(),
        )


class Windows:
    """
    One pass over a journal for the windows around some moments.

    Args:
        journal: Of the run.
        moments_ns: Ascending.
    """

    def __init__(self, journal: Journal, moments_ns: Sequence[int]) -> None:
        self._journal = journal
        self._moments = list(moments_ns)
        self._skip = set(SKIPPED)
        self._active: list[Window] = []
        self._started: Started | None = None
        self._params: EngineParams | None = None
        self._first: Snapshot | None = None
        self._output = self._touch = b""
        """The last of each, not yet decoded: they are wanted once for a window."""

    def __iter__(self) -> Iterator[Window]:
        """
        Each window once it has been read; what lies between them is passed over.

        Raises:
            JournalError: Of another version.
        """
        for entry in self._journal.entries(skip=self._skip):
            if not entry.payload:
                continue  # passed over with its block, and only then wanted
            if entry.kind == Kind.DECIDE:
                self._on_time(entry)
            else:
                self._keep(entry)
            for window in self._active:
                window.take(entry)
            while self._active and self._active[0].is_over:
                yield self._active.pop(0)
            if not self._moments and not self._active:
                return
        yield from self._active

    def _keep(self, entry: Entry) -> None:
        """Keep what a window will have to begin with."""
        match entry.kind:
            case Kind.OUTPUT:
                self._output = entry.payload
            case Kind.BBO:
                self._touch = entry.payload
            case Kind.SNAPSHOT if self._first is None:
                first = decode(entry.kind, entry.payload)
                assert isinstance(first, Snapshot)
                self._first = first
            case Kind.STARTED:
                started = decode(entry.kind, entry.payload)
                assert isinstance(started, Started)
                self._started, self._params = started, _params(started.params)
            case Kind.RECONFIGURED:
                record = decode(entry.kind, entry.payload)
                assert isinstance(record, Reconfigured)
                self._params = _params(record.params)

    def _on_time(self, entry: Entry) -> None:
        now_ns = decode(entry.kind, entry.payload)
        assert isinstance(now_ns, int)
        opens_ns = [moment_ns - _OPENS_NS for moment_ns in self._moments]
        while opens_ns and now_ns >= opens_ns[0] and self._open(self._moments[0], now_ns):
            opens_ns.pop(0)
            self._moments.pop(0)
        is_near = bool(self._active) or (bool(opens_ns) and now_ns >= opens_ns[0] - _SLACK_NS)
        self._skip.clear()
        self._skip.update(SKIPPED if is_near else _SCANNED)

    def _open(self, moment_ns: int, now_ns: int) -> bool:
        """Open the window around a moment, if the run has begun to trade by then."""
        started, params, first = self._started, self._params, self._first
        if started is None or params is None or first is None:
            return False
        if not self._output or not self._touch:
            return False
        output, touch = decode(Kind.OUTPUT, self._output), decode(Kind.BBO, self._touch)
        assert isinstance(output, Output)
        assert isinstance(touch, Bbo)
        window = Window(started, params, first, moment_ns)
        window.open(now_ns, touch.venue_ms, output)
        self._active.append(window)
        return True


def _params(tree: dict[str, Any]) -> EngineParams:
    try:
        return EngineParams.model_validate(tree)
    except ValueError as error:  # pydantic's is one
        raise JournalError(f"parameters of another version: {error}") from None


def with_positions(run_dir: Path, facts: Facts, flips: Sequence[Flip]) -> list[Flip]:
    """
    The flips of a run, the first of them with the positions three minutes later.

    What cannot be played is left without, and named in `facts.missing`.
    """
    found = list(flips)
    if not found:
        return found
    try:
        refuse_older(run_dir)
        for number, window in enumerate(
            Windows(Journal.of(run_dir), [f.at_ns for f in found[:MOST]])
        ):
            found[number] = _played(found[number], window, facts)
    except MmbotError as error:
        facts.missing.append(f"flips: their positions three minutes later: {error}")
    return found


def _later(window: Window, market: Market, facts: Facts) -> tuple[int, float]:
    """
    When a window ended for the run itself, and its position then.

    Where a stop cut it short, the run went on until its orders were gone, and what filled meanwhile
    is in its end as everywhere else.
    """
    held = market.started.instrument.sz(window.later_lots)
    if market.end_ns >= window.until_ns:
        return market.end_ns, held
    later_ns = max(market.end_ns, min(window.until_ns, facts.ended_ns or market.end_ns))
    late = [it.position_sz for it in facts.fills if market.end_ns < it.at_ns <= later_ns]
    return later_ns, late[-1] if late else held


def _played(flip: Flip, window: Window, facts: Facts) -> Flip:
    """One flip, with what became of it and what would have."""
    market = window.market()
    answers = [*facts.answers_ms.get("place", ()), *facts.answers_ms.get("move", ())]
    usual = facts.config.get("backtest", {})
    # A run on paper has its own rules of the queue.
    queue = facts.config.get("paper", {}) if facts.config.get("mode") == "paper" else usual
    venue = RecordedVenueParams(
        order_latency_ms=median(answers) if answers else usual.get("order_latency_ms", 200.0),
        reply_latency_ms=0.0,
        queue_factor=queue.get("queue_factor", 1.0),
    )

    def later_sz(retune: Retune | None) -> float:
        run = Simulation(market, retune=retune, params=venue)
        run.play()
        return figures.simulated(market, run).position_end_sz

    later_ns, later_sz_real = _later(window, market, facts)
    return msgspec.structs.replace(
        flip,
        later_ns=later_ns,
        later_sz=later_sz_real,
        unchanged_sz=later_sz(None),
        changed_sz=later_sz(steeper),
    )
