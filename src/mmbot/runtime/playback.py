"""
One engine over one recording: the clock, the wiring, and what is counted on the way.

Reads are replayed as the recorder received them: what bears one time of receipt is one read, folded
whole before one decision. Between reads the engine is woken when it asks to be.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, Protocol, cast

from mmbot.core.engine import Decision, Engine, Summary
from mmbot.core.events import (
    Book,
    Command,
    CommandKind,
    Event,
    Fill,
    LinkUp,
    Rejected,
    RequestsLeft,
    Snapshot,
    Trades,
)
from mmbot.core.intents import KillReason
from mmbot.core.types import NS_PER_MS, NS_PER_S, Fees, Instrument, notional_usd
from mmbot.emulator.recordings import Recording
from mmbot.emulator.tape import RecordedVenue, RecordedVenueParams
from mmbot.errors import ConfigError, InvariantError

REQUESTS_GRANTED: Final = 10_000
"""Requests of a fresh address (Hyperliquid docs, "Rate limits and user limits")."""

_CLOSING_NS: Final = 30 * NS_PER_S
"""How long the orders of an ended run may take to be confirmed gone, beside their own travel."""
_CLOSING_TRIPS: Final = 3
"""The last placement, a cancel after its verdict, and a question about it."""
_PROGRESS_STEPS: Final = 100


class Timed(Protocol):
    """What comes in at a time of ours: a message of the market, or whatever a subclass folds."""

    @property
    def recv_ns(self) -> int:
        """When it came."""


class EngineLike(Protocol):
    """The part of `core.engine.Engine` that this shell uses."""

    def apply(self, event: Event) -> None:
        """Fold one event."""

    def decide(self, now_ns: int) -> Decision:
        """Decide at `now_ns`."""

    def wake_at_ns(self) -> int | None:
        """When to decide without an event."""

    def summary(self) -> Summary:
        """What the session did."""

    def live_count(self) -> int:
        """Orders not confirmed gone."""


class EngineAdapter:
    """A real engine, as this shell sees it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.apply = engine.apply
        self.decide = engine.decide
        self.wake_at_ns = engine.wake_at_ns
        self.summary = engine.summary

    def live_count(self) -> int:
        return len(self._engine.orders.slots)


class Playback:
    """
    One engine, one recording, one venue made of it, one clock.

    Args:
        engine: Decides.
        recording: Frames of one coin.
        instrument: The coin as the venue lists it.
        fees: Charged to our fills and told to the engine.
        params: Latency and queue.
        capital_usd: Equity at the start.
        requests_cap: Requests the address has at the start.
    """

    def __init__(
        self,
        engine: EngineLike,
        recording: Recording,
        *,
        instrument: Instrument,
        fees: Fees,
        params: RecordedVenueParams,
        capital_usd: float,
        requests_cap: int = REQUESTS_GRANTED,
    ) -> None:
        self.engine = engine
        self.recording = recording
        self.venue = RecordedVenue(
            recording.happened,
            instrument=instrument,
            fees=fees,
            params=params,
            lead_ns=recording.lead_ns,
        )
        self.capital_usd = capital_usd
        self.sent = {"places": 0, "moves": 0, "cancels": 0}
        self.refused: Counter[str] = Counter()
        self.decisions = 0
        self.frames = 0
        self.two_sided_ns = 0
        self.kill: KillReason | None = None
        self.end_reason = "end of recording"
        self.ended_ns = recording.end_ns
        self.apply_s = self.decide_s = self.venue_s = self.total_s = 0.0
        self.cancel_s: list[float] = []
        self._instrument = instrument
        self._fees = fees
        self._requests_cap = requests_cap
        self._earned_usd = 0.0
        trip_ms = params.order_latency_ms + params.reply_latency_ms
        self._closing_ns = _CLOSING_NS + round(_CLOSING_TRIPS * trip_ms * NS_PER_MS)

    def play(self, on_progress: Callable[[float], None] | None = None) -> None:
        """
        Play the whole recording, or as far as the kill switch lets it, then cancel everything.

        Raises:
            InvariantError: The engine wants to be woken in the past, or orders are never confirmed
                gone after the end.
        """
        # As in the live run: collections would walk thousands of frames that stay.
        gc.freeze()
        try:
            began = perf_counter()
            self._play(on_progress)
            self.total_s = perf_counter() - began
        finally:
            gc.unfreeze()

    def _play(self, on_progress: Callable[[float], None] | None) -> None:
        frames = self._inputs()
        end = len(frames)
        stride = max(1, end // _PROGRESS_STEPS)
        due_frame = 0
        at = 0
        now_ns = frames[0].recv_ns
        self._begin(now_ns)
        wake_ns: int | None = None
        is_closing = False
        while True:
            before_ns = now_ns
            now_ns = self._next_ns(frames, at, wake_ns)
            if not is_closing:
                if self.venue.is_two_sided:
                    self.two_sided_ns += now_ns - before_ns
            elif now_ns - self.ended_ns > self._closing_ns:
                msg = f"{self.engine.live_count()} orders were never confirmed gone"
                raise InvariantError(msg)
            first = at
            while at < end and frames[at].recv_ns <= now_ns:
                at += 1
            decision = self._step(frames[first:at], now_ns, wake_ns)
            if decision is not None:
                if decision.kill is not None and not is_closing:
                    self.kill = decision.kill
                    self.end_reason = f"kill: {decision.kill.trigger}"
                    self.ended_ns = now_ns
                    is_closing = True
                wake_ns = self.engine.wake_at_ns()
                if wake_ns is not None and wake_ns <= now_ns:
                    msg = f"the engine asks to be woken at {wake_ns}, which {now_ns} has passed"
                    raise InvariantError(msg)
            if at >= due_frame and on_progress is not None:
                on_progress(at / end)
                due_frame = at + stride
            if at == end and not is_closing:
                is_closing = True
                self.engine.apply(Command(now_ns, CommandKind.STOP, self.end_reason))
                wake_ns = now_ns + 1
            elif is_closing and not self.engine.live_count() and self.venue.next_due_ns() is None:
                break
        self.frames = at

    def _inputs(self) -> Sequence[Timed]:
        """Everything that comes in, in order: the frames of the recording."""
        return self.recording.frames

    def _fold(self, item: Timed) -> None:
        """Give one of the inputs to the engine."""
        self.engine.apply(cast("Event", item))

    def _begin(self, now_ns: int) -> None:
        """What a connection would bring before the first frame: the account, fresh and flat."""
        first = self.recording.frames[0]
        self.engine.apply(LinkUp(now_ns))
        self.engine.apply(
            Snapshot(
                recv_ns=now_ns,
                requested_at_ns=now_ns,
                venue_ms=first.venue_ms,
                position_lots=0,
                entry_px=None,
                equity_usd=self.capital_usd,
                mark_px=self._instrument.px(_first_mid_ticks(self.recording)),
                fees=self._fees,
                open_orders=(),
                fills=(),
                requests_used=0,
                requests_cap=self._requests_cap,
            )
        )

    def _next_ns(self, frames: Sequence[Timed], at: int, wake_ns: int | None) -> int:
        due_ns = self.venue.next_due_ns()
        times = [frames[at].recv_ns] if at < len(frames) else []
        times += [t for t in (due_ns, wake_ns) if t is not None]
        if not times:
            msg = "nothing is left to happen, yet orders are not confirmed gone"
            raise InvariantError(msg)
        return min(times)

    def _step(self, read: Sequence[Timed], now_ns: int, wake_ns: int | None) -> Decision | None:
        """One read: fold what came, decide once, send once."""
        venue, engine = self.venue, self.engine
        t0 = perf_counter()
        venue.advance(now_ns)
        told = venue.take(now_ns)
        t1 = perf_counter()
        self.venue_s += t1 - t0
        if not told and not read and (wake_ns is None or now_ns < wake_ns):
            return None
        for event in told:
            engine.apply(event)
            if isinstance(event, Rejected):
                self.refused[event.reason.value] += 1
            elif isinstance(event, Fill):
                self._earned_usd += notional_usd(event.px_ticks, event.sz_lots)
        for frame in read:
            self._fold(frame)
        t2 = perf_counter()
        decision = engine.decide(now_ns)
        t3 = perf_counter()
        self.apply_s += t2 - t1
        self.decide_s += t3 - t2
        self.decisions += 1
        batch = decision.batch
        if batch is not None:
            if batch.cancels:
                self.cancel_s.append(t3 - t1)
            self.sent["places"] += len(batch.places)
            self.sent["moves"] += len(batch.moves)
            self.sent["cancels"] += len(batch.cancels)
            venue.send(now_ns, cancels=batch.cancels, moves=batch.moves, places=batch.places)
        if decision.queries:
            venue.send(now_ns, queries=decision.queries)
        self.venue_s += perf_counter() - t3
        if batch is not None:
            engine.apply(RequestsLeft(now_ns, *self._requests()))
        return decision

    def _requests(self) -> tuple[int, int]:
        """Requests that the address has used, and how many it may use."""
        return sum(self.sent.values()), self._requests_cap + int(self._earned_usd)


def _first_mid_ticks(recording: Recording) -> float:
    for frame in recording.frames:
        if isinstance(frame, Trades):
            continue
        if isinstance(frame, Book):
            if frame.bids and frame.asks:
                return (frame.bids[0].px_ticks + frame.asks[0].px_ticks) / 2
        elif frame.bid is not None and frame.ask is not None:
            return (frame.bid.px_ticks + frame.ask.px_ticks) / 2
    raise ConfigError(f"recording of {recording.coin}: no book with both sides; name another")
