"""The journal of a run, folded into the market without us and what the run did there."""

from __future__ import annotations

from array import array
from typing import Any, Final

import msgspec
import numpy as np

from mmbot.core.engine import EngineParams
from mmbot.core.events import (
    AccountRead,
    Acked,
    AssetCtx,
    Bbo,
    Book,
    ClockStepped,
    Command,
    DayBegan,
    Fill,
    JournalLag,
    LedgerEnds,
    LinkLost,
    LinkUp,
    Listing,
    Measured,
    ReferencePx,
    Request,
    Snapshot,
    Trades,
)
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.emulator.recordings import Message, Recording
from mmbot.journal.reader import Entry, Journal, State
from mmbot.journal.records import (
    Broke,
    JournalError,
    Kind,
    Lost,
    Output,
    Reconfigured,
    Restored,
    Started,
    decode,
)
from mmbot.runtime.belonging import not_begun
from mmbot.runtime.report.facts import Fill as Booked
from mmbot.runtime.report.facts import Mids, Payment
from mmbot.runtime.report.fromlog import fill_of
from mmbot.runtime.whatif.market import End, FundingDue, Input, Market, Real, Reload
from mmbot.runtime.whatif.own import (
    Desk,
    FillKey,
    key_of,
    recording_of,
    without_taken,
    without_us,
)
from mmbot.runtime.whatif.steady import SteadyClock

_HOUR_MS: Final = 3_600_000
SKIPPED: Final = frozenset({int(Kind.READ), int(Kind.JUDGED), int(Kind.BUILD)})
_AS_IS: Final = (
    AssetCtx,
    ReferencePx,
    LinkUp,
    LinkLost,
    JournalLag,
    Measured,
    DayBegan,
    LedgerEnds,
    Listing,
)
"""Inputs that our orders have no part in: they come as they came."""


class MarketFold:
    """Reads a journal record by record; `market` once it is done."""

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self.started: Started | None = None
        self.params: EngineParams | None = None
        self.restored: Restored | None = None
        self.first: Snapshot | None = None
        self.start_ns = 0
        self.end_ns: int | None = None
        self.warnings: list[str] = []
        self._booked: list[Booked] = []
        self._closed: list[Booked] = []
        """Fills that closed the position after the end: no part of what is compared."""
        self._stopping: list[Booked] = []
        """Fills that were heard of after the end, of orders that were being cancelled: no part."""
        self._payments: list[Payment] = []
        self._requests = self._two_sided_ns = 0
        self._answers_ms: list[float] = []
        self._kill: str | None = None
        self._mid_ns, self._mid = array("q"), array("d")
        self._mark_px: float | None = None
        self._inputs: list[Input] = []
        self._made: set[int] = set()
        self._taken: set[int] = set()
        self._fills: set[FillKey] = set()
        self._steady = SteadyClock()
        self._counted_ns = 0
        self._decided_ns = 0
        self._is_two_sided = False
        self._version = -1
        self._hour: int | None = None
        self._ctx: AssetCtx | None = None
        self._liquidations = self._by_hand = self._outages = 0

    def fold(self, journal: Journal) -> None:
        """
        Read all that can be read.

        Raises:
            JournalError: Not a journal of a run, of another version, or none of it can be read.
        """
        for entry in journal.entries(skip=SKIPPED):
            self._on(entry)
        if journal.state is not State.WHOLE:
            if self.started is None and not journal.records and journal.files:
                # What stands first cannot be read: that says nothing of what it was.
                raise JournalError(
                    f"{journal.files[-1].parent}: journal {journal.state.value}: {journal.why}"
                )
            self.warnings.append(
                f"journal {journal.state.value}: {journal.why}; nothing after it is in any column"
            )

    # -- records --------------------------------------------------------------------------------

    def _on(self, entry: Entry) -> None:
        kind = entry.kind
        if kind == Kind.DECIDE:
            now_ns: Any = decode(kind, entry.payload)
            self._decided_ns = now_ns
            return
        if kind >= Kind.BBO:
            event: Any = decode(kind, entry.payload)
            self._on_event(event)
            return
        match decode(kind, entry.payload):
            case Output() as output:
                self._on_output(output)
            case Started() as started:
                self._on_started(started)
            case Restored() as restored:
                self.restored = restored
            case Reconfigured() as record:
                self._put(Reload(self._steady.time(record.now_ns), record.params))
            case Broke() as broke:
                self._end(self._decided_ns, f"the engine of the run broke: {broke.error}")
            case Lost() as lost:
                text = f"{lost.records} records are missing ({lost.why})"
                self._end(self._decided_ns, f"{text}; nothing after them is in any column")

    def _on_started(self, started: Started) -> None:
        self.started = started
        try:
            self.params = EngineParams.model_validate(started.params)
        except ValueError as error:  # pydantic's is one
            raise JournalError(
                f"the parameters of the run are none of this version: {error}; use the version "
                "that wrote it"
            ) from None
        self.desk = Desk(
            self.params,
            started.instrument,
            cloid_prefix=started.cloid_prefix,
            settle_ns=started.settle_ns,
        )
        self._steady.at_ns = self._counted_ns = started.at_ns

    def _on_output(self, output: Output) -> None:
        desk = self._running
        now_ns = self._decided_ns
        desk.decided(output, now_ns)
        self._watch(now_ns)
        if self.end_ns is None:
            self._requests += len(output.cancels) + len(output.moves) + len(output.places)
        for event, _, facts in output.notes:
            self._told(event, facts, self._steady.time(now_ns))
        if output.kill is not None and self._kill is None:
            self._kill = output.kill
            self._end(now_ns, None)

    def _told(self, event: str, facts: dict[str, Any], at_ns: int) -> None:
        if event == "fill.booked":
            fill = fill_of(at_ns, facts, "")
            if self.end_ns is None:
                self._booked.append(fill)
            else:
                # Every column ends with the stop: a simulation has nothing to fill behind it.
                is_closing = fill.is_taker or fill.is_forced
                (self._closed if is_closing else self._stopping).append(fill)
        elif event == "funding.booked" and self.end_ns is None:
            self._payments.append(Payment(at_ns, float(facts["cost_usd"]), ""))

    def _on_event(self, event: Any) -> None:
        desk = self._running
        if isinstance(event, Bbo | Book):
            self._on_book(event, desk)
        elif isinstance(event, Trades):
            self._put(self._steady.timed(event))
        elif isinstance(event, ClockStepped):
            desk.apply(event)
            self._steady.steps.append(event.step_ns)
        elif isinstance(event, Command):
            self._end(event.recv_ns, None)
        elif isinstance(event, Fill):
            self._on_fills((event,), event.recv_ns, desk)
            desk.apply(event)
        elif isinstance(event, Snapshot):
            self._on_fills(event.fills, event.recv_ns, desk)
            desk.apply(event)
            self._mark_px = event.mark_px
            if self.first is None and self.end_ns is None:
                self.first = event
                self.start_ns = self._steady.time(event.recv_ns)
            self._put(self._steady.timed(event))
        elif isinstance(event, AccountRead):
            self._put(self._steady.timed(event))
        elif isinstance(event, _AS_IS):
            if isinstance(event, AssetCtx):
                self._ctx, self._mark_px = event, event.mark_px
            elif isinstance(event, LinkUp | LinkLost):
                desk.apply(event)
                self._outages += isinstance(event, LinkLost)
            self._put(self._steady.timed(event))
        else:
            if isinstance(event, Acked):
                self._on_acked(event, desk)
            # What the venue said of our orders, of its budget and of our funding: it says other
            # things to other orders.
            desk.apply(event)
        self._watch(getattr(event, "recv_ns", self._decided_ns))

    def _on_book(self, event: Bbo | Book, desk: Desk) -> None:
        assert self.started is not None
        if self.started.own_in_book:
            event = without_us(event, desk)
        else:
            # Nothing in it is ours, and the desk has its prices from nowhere else.
            desk.book.apply(event, {})
        hour = event.venue_ms // _HOUR_MS
        if self._hour is not None and hour > self._hour and self._ctx is not None:
            ctx = self._ctx
            usd = self.started.instrument.sz(1) * ctx.oracle_px * ctx.funding_per_h
            self._put(FundingDue(self._steady.time(event.recv_ns), hour * _HOUR_MS, usd))
        self._hour = hour if self._hour is None else max(hour, self._hour)
        shown = self._steady.timed(event)
        mid = desk.book.mid_ticks
        if mid is not None:
            self._mid_ns.append(shown.recv_ns)
            self._mid.append(self.started.instrument.px(mid))
        self._put(shown)

    def _on_acked(self, event: Acked, desk: Desk) -> None:
        """Note how long a placement or a move took from its decision to its verdict."""
        slot = desk.orders.slots.get(event.cloid)
        if slot is not None and slot.cause is event.request is not Request.CANCEL:
            self._answers_ms.append((event.recv_ns - slot.sent_ns) / NS_PER_MS)

    def _on_fills(self, fills: tuple[Fill, ...], recv_ns: int, desk: Desk) -> None:
        """Note which trades were ours; what somebody else did with the account goes on doing it."""
        for fill in fills:
            if key_of(fill) in self._fills:
                continue
            self._fills.add(key_of(fill))
            if fill.is_liquidation:
                self._taken.add(fill.tid)
                self._liquidations += self.first is not None
            elif desk.orders.explains(fill):
                (self._taken if fill.is_taker else self._made).add(fill.tid)
            elif self.first is not None and fill.venue_ms > self.first.venue_ms:
                self._by_hand += 1
                self._put(msgspec.structs.replace(fill, recv_ns=self._steady.time(recv_ns)))

    # -- what is counted ------------------------------------------------------------------------

    def _watch(self, recv_ns: int) -> None:
        """Count the time since the last look by what rested then."""
        at_ns = self._steady.time(recv_ns)
        if self._is_two_sided and self.end_ns is None:
            self._two_sided_ns += at_ns - self._counted_ns
        self._counted_ns = at_ns
        orders = self._running.orders
        if orders.version != self._version:
            self._version = orders.version
            self._is_two_sided = self._running.is_two_sided

    def _end(self, recv_ns: int, warning: str | None) -> None:
        if self.end_ns is None:
            self.end_ns = self._steady.time(recv_ns)
            if warning is not None:
                self.warnings.append(warning)

    def _put(self, item: Input) -> None:
        if self.end_ns is None:
            self._inputs.append(item)

    @property
    def _running(self) -> Desk:
        if self.desk is None:
            raise not_begun()
        return self.desk

    # -- the sum of it --------------------------------------------------------------------------

    def market(self) -> Market:
        """
        The market, once everything has been read.

        Raises:
            JournalError: There is nothing that could be played.
        """
        started, first, params = self.started, self.first, self.params
        if started is None or params is None:
            raise not_begun()
        if self.end_ns is None:
            self._end(self._decided_ns, None)
        assert self.end_ns is not None
        frames = tuple(self._frames())
        if first is None or not any(isinstance(frame, Bbo | Book) for frame in frames):
            raise JournalError(
                "it ends before the account and a price were read, so there is no market to "
                "replay; name a run that traded"
            )
        recording = recording_of(started.instrument.coin, frames, self._made)
        self._warn(recording, params)
        mids = Mids(np.frombuffer(self._mid_ns, np.int64), np.frombuffer(self._mid, np.float64))
        real = Real(
            fills=tuple(self._booked),
            payments=tuple(self._payments),
            requests=self._requests,
            two_sided_ns=self._two_sided_ns,
            answers_ms=tuple(self._answers_ms),
            kill=self._kill,
        )
        return Market(
            started=started,
            params=params,
            restored=self.restored,
            first=first,
            recording=recording,
            inputs=(*self._inputs, End(self.end_ns)),
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            mids=mids,
            end_px=first.mark_px if self._mark_px is None else self._mark_px,
            real=real,
            warnings=tuple(self.warnings),
        )

    def _frames(self) -> list[Message]:
        """The messages of the market; those of trades lose what we took ourselves."""
        frames: list[Message] = []
        inputs: list[Input] = []
        for item in self._inputs:
            kept: Input | None = item
            if isinstance(item, Trades) and self._taken:
                kept = without_taken(item, self._taken)
            if kept is not None:
                inputs.append(kept)
                if isinstance(kept, Bbo | Book | Trades):
                    frames.append(kept)
        self._inputs = inputs
        return frames

    def _warn(self, recording: Recording, params: EngineParams) -> None:
        """Say what the record does not tell."""
        if not self._mid:
            self.warnings.append(
                "no mid of others in the whole run: no column tells adverse selection from "
                "inventory, and both stand under inventory"
            )
        holes = recording.holes(params.risk.stale_pull_s)
        if holes:
            length_s = sum(hole.length_s for hole in holes)
            self.warnings.append(
                f"no price for {length_s:.0f} s in {len(holes)} holes"
                + (f" ({self._outages} lost connections)" if self._outages else "")
                + ": nothing trades in them but what the venue told afterwards"
            )
        steps = self._steady.steps
        if steps:
            step_s = sum(steps) / NS_PER_S
            self.warnings.append(
                f"the clock was set {len(steps)} times, by {step_s:+.1f} s in all: the "
                "simulations have a steady one"
            )
        if self._kill is not None:
            self.warnings.append(f"every column ends where the run was killed: {self._kill}")
        if self._closed:
            fees_usd = sum(fill.fee_usd for fill in self._closed)
            self.warnings.append(
                f"after its end the run closed its position in {len(self._closed)} fills as a "
                f"taker, for {fees_usd:.4f} USD of fees: no column has them"
            )
        if self._stopping:
            sz = sum(fill.side * fill.sz for fill in self._stopping)
            self.warnings.append(
                f"{len(self._stopping)} fills, {sz:+.6g} in all, were heard of after the stop, "
                "while orders were being cancelled: no column has them"
            )
        if self._by_hand:
            self.warnings.append(
                f"{self._by_hand} fills of orders that are not the run's: every column has them"
            )
        if self._liquidations:
            self.warnings.append(
                f"{self._liquidations} fills by force of the venue: the simulations have none"
            )


def read_market(journal: Journal) -> Market:
    """
    The market of a journal without us.

    Raises:
        JournalError: It is no journal of a run, of another version, or there is no market in it.
    """
    fold = MarketFold()
    fold.fold(journal)
    return fold.market()
