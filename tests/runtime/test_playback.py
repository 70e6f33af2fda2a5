"""Claims about the wiring of engine, recording and venue; the engine does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TypeVar, cast

import msgspec
import pytest

from mmbot.core.engine import Decision, Summary
from mmbot.core.events import (
    Acked,
    Command,
    CommandKind,
    Event,
    Fill,
    LinkUp,
    OrderMissing,
    OrderState,
    OrderUpdate,
    Rejected,
    Rejection,
    RequestsLeft,
    Snapshot,
)
from mmbot.core.intents import Cancel, KillReason, Place, Query, Status
from mmbot.core.risk import Batch
from mmbot.core.types import NS_PER_MS, Fees, Mode, Side
from mmbot.emulator.instruments import listed_instrument
from mmbot.emulator.recordings import Frame
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.errors import InvariantError
from mmbot.runtime.playback import Playback
from runtime.recorded_market import FEED_MS, START_MS, STEP, book, recording, trade

COIN, _ = listed_instrument("WLFI")
FEES = Fees(maker_bps=2.0, taker_bps=5.0)
BID = 186_000
ASK = BID + 3 * STEP
QUIET = [book(START_MS + 500 * n, BID, ASK) for n in range(10)]

_T = TypeVar("_T")

Script = Callable[["Scripted", int], Decision | None]


def decision(
    *,
    places: tuple[Place, ...] = (),
    cancels: tuple[Cancel, ...] = (),
    queries: tuple[Query, ...] = (),
    kill: KillReason | None = None,
) -> Decision:
    """A decision whose batch did not come from the gate: this is the venue's side of the test."""
    batch = SimpleNamespace(places=places, moves=(), cancels=cancels)
    has_batch = bool(places or cancels)
    status = Status(Mode.RUNNING, ())
    return Decision(cast("Batch", batch) if has_batch else None, (), queries, status, None, kill)


class Scripted:
    """An engine that notes what it is told and decides by a function of its own time."""

    def __init__(self, script: Script | None = None) -> None:
        self.seen: list[Event] = []
        self.decided_ms: list[float] = []
        self.wake_ns: int | None = None
        self.live = 0
        self._script = script

    def apply(self, event: Event) -> None:
        self.seen.append(event)

    def decide(self, now_ns: int) -> Decision:
        self.decided_ms.append(now_ns / NS_PER_MS - START_MS - FEED_MS)
        self.wake_ns = None
        made = self._script(self, now_ns) if self._script else None
        return made or decision()

    def wake_at_ns(self) -> int | None:
        return self.wake_ns

    def live_count(self) -> int:
        return self.live

    def summary(self) -> Summary:
        raise NotImplementedError


def play(
    engine: Scripted,
    frames: Sequence[Frame],
    *,
    requests_cap: int = 10_000,
    on_progress: Callable[[float], None] | None = None,
) -> Playback:
    """Play `frames` to the engine: orders take 100 ms, verdicts 50 more."""
    run = Playback(
        engine,
        recording(frames),
        instrument=COIN,
        fees=FEES,
        params=RecordedVenueParams(order_latency_ms=100, reply_latency_ms=50),
        capital_usd=100.0,
        requests_cap=requests_cap,
    )
    run.play(on_progress)
    return run


def of(engine: Scripted, kind: type[_T]) -> list[_T]:
    """What the engine was told of one kind."""
    return [event for event in engine.seen if isinstance(event, kind)]


def test_account_comes_before_the_first_frame_and_every_frame_follows() -> None:
    """The engine quotes only after LinkUp and Snapshot; nothing recorded may be skipped."""
    engine = Scripted()
    play(engine, QUIET)

    first, account = engine.seen[:2]
    assert isinstance(first, LinkUp)
    assert isinstance(account, Snapshot)
    assert account.equity_usd == 100.0
    assert account.fees == FEES
    assert account.mark_px == pytest.approx((BID + ASK) / 2 * 1e-6)
    assert account.requests_cap == 10_000
    assert engine.seen[2:-1] == QUIET


def test_frames_of_one_read_cost_one_decision() -> None:
    """Live, a read is folded whole before the engine decides; a replay must not decide oftener."""
    burst: list[Frame] = [*QUIET, trade(START_MS + 500, Side.SELL, BID - STEP, 5, 1)]
    engine = Scripted()
    run = play(engine, burst)

    assert engine.decided_ms[:4] == [0, 500, 1000, 1500]
    assert run.frames == len(burst)


def test_engine_is_woken_when_it_asks() -> None:
    """A hold that expires between two frames must expire then, not at the next frame."""

    def script(engine: Scripted, now_ns: int) -> None:
        if engine.decided_ms[-1] == 500:
            engine.wake_ns = now_ns + 120 * NS_PER_MS

    engine = Scripted(script)
    play(engine, QUIET)

    assert engine.decided_ms[:4] == [0, 500, 620, 1000]


def test_being_woken_in_the_past_is_a_bug() -> None:
    """An engine that asks for the past would be asked for ever."""

    def script(engine: Scripted, now_ns: int) -> None:
        engine.wake_ns = now_ns

    with pytest.raises(InvariantError, match="asks to be woken"):
        play(Scripted(script), QUIET)


def test_orders_travel_to_the_venue_and_their_fate_comes_back() -> None:
    """One order: sent at 0, at the venue at 100, known at 150, filled, told with the trade."""
    frames: list[Frame] = [
        *QUIET,
        trade(START_MS + 2000, Side.SELL, BID - 10 * STEP, 100, 5),
        trade(START_MS + 2100, Side.BUY, ASK, 100, 6),
    ]

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        if len(engine.decided_ms) == 1:
            return decision(places=(Place(7, Side.BUY, BID - 5 * STEP, 80),))
        return None

    engine = Scripted(script)
    run = play(engine, frames)

    start_ns = (START_MS + FEED_MS) * NS_PER_MS
    (acked,) = of(engine, Acked)
    assert acked.recv_ns == start_ns + 150 * NS_PER_MS
    (fill,) = of(engine, Fill)
    assert (fill.cloid, fill.sz_lots, fill.tid) == (7, 80, 5)
    assert fill.recv_ns == (START_MS + 2000 + FEED_MS) * NS_PER_MS
    states = [update.state for update in of(engine, OrderUpdate)]
    assert states == [OrderState.OPEN, OrderState.FILLED]
    assert run.sent == {"places": 1, "moves": 0, "cancels": 0}


def test_requests_are_counted_and_fills_earn_more() -> None:
    """The engine spends by this figure; it must be the venue's rule, 10 000 and one per USD."""
    frames: list[Frame] = [*QUIET, trade(START_MS + 600, Side.SELL, BID - 10 * STEP, 9000, 5)]

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        n = len(engine.decided_ms)
        if n == 1:
            return decision(
                places=(Place(7, Side.BUY, BID, 100), Place(8, Side.BUY, BID - STEP, 100))
            )
        if engine.decided_ms[-1] == 1500:
            return decision(cancels=(Cancel(7),))
        return None

    engine = Scripted(script)
    run = play(engine, frames)

    counts = [(event.used, event.cap) for event in of(engine, RequestsLeft)]
    earned = int((BID + BID - STEP) * 100 * 1e-6)
    assert earned == 37
    assert counts == [(2, 10_000), (3, 10_000 + earned)]
    assert run.refused == {"gone": 1}


def test_queries_are_answered() -> None:
    """An order without a verdict is only resolved by an answer."""

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        return decision(queries=(Query(99),)) if len(engine.decided_ms) == 1 else None

    engine = Scripted(script)
    play(engine, QUIET)

    assert [event.cloid for event in of(engine, OrderMissing)] == [99]


def test_refusals_reach_the_engine_and_are_counted_by_reason() -> None:
    """A run full of refusals is not the run its fills suggest."""

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        if len(engine.decided_ms) == 1:
            return decision(places=(Place(1, Side.BUY, ASK, 100),))
        return None

    engine = Scripted(script)
    run = play(engine, QUIET)

    assert [event.reason for event in of(engine, Rejected)] == [Rejection.POST_ONLY]
    assert run.refused == {"post_only": 1}


def test_end_of_the_recording_stops_the_engine_and_cancels_what_rests() -> None:
    """The result must not leave orders behind whose fate nobody recorded."""

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        if len(engine.decided_ms) == 1:
            engine.live = 1
            return decision(places=(Place(7, Side.BUY, BID, 100),))
        if isinstance(engine.seen[-1], Command):
            return decision(cancels=(Cancel(7),))
        if (
            of(engine, OrderUpdate)[-1:]
            and of(engine, OrderUpdate)[-1].state is OrderState.CANCELED
        ):
            engine.live = 0
        return None

    engine = Scripted(script)
    run = play(engine, QUIET)

    (stop,) = of(engine, Command)
    assert stop.kind is CommandKind.STOP
    assert run.venue.resting == 0
    assert run.end_reason == "end of recording"


def test_orders_never_confirmed_gone_are_a_bug() -> None:
    """An engine that believes in an order the venue does not have would quote around a ghost."""

    def script(engine: Scripted, now_ns: int) -> None:
        engine.live = 1
        engine.wake_ns = now_ns + 10**9

    with pytest.raises(InvariantError, match="1 orders were never confirmed gone"):
        play(Scripted(script), QUIET)


def test_kill_ends_the_run_and_is_told() -> None:
    """A halted engine earns and loses nothing more by its quotes; the result says why it ended."""
    reason = KillReason("session_loss", 4.0, 3.0, "USD", "lost 4 of 3 USD", 1)

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        return decision(kill=reason) if engine.decided_ms[-1] >= 1500 else None

    engine = Scripted(script)
    run = play(engine, QUIET)

    assert run.kill == reason
    assert run.end_reason == "kill: session_loss"
    assert run.ended_ns == (START_MS + FEED_MS + 1500) * NS_PER_MS
    assert run.frames == 4


def test_time_quoted_on_both_sides_is_measured_at_the_venue() -> None:
    """Both orders arrive 100 ms after the first frame; the ask goes 100 ms after its cancel."""

    def script(engine: Scripted, now_ns: int) -> Decision | None:
        if len(engine.decided_ms) == 1:
            return decision(places=(Place(7, Side.BUY, BID, 100), Place(8, Side.SELL, ASK, 100)))
        if engine.decided_ms[-1] == 2000:
            return decision(cancels=(Cancel(8),))
        return None

    run = play(Scripted(script), QUIET)

    assert run.two_sided_ns == 2000 * NS_PER_MS


def test_progress_runs_to_the_end() -> None:
    """A person watching sees it move and finish."""
    told: list[float] = []
    play(Scripted(), QUIET, on_progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0


def test_venue_clock_that_ran_ahead_gives_no_look_into_the_future() -> None:
    """The trade of +700 by the venue's clock was at +300 by ours, before our order arrived."""
    frames: list[Frame] = [*QUIET, trade(START_MS + 700, Side.SELL, BID - 10 * STEP, 900, 5)]

    def filled(lead_ms: int) -> int:
        def script(engine: Scripted, now_ns: int) -> Decision | None:
            if len(engine.decided_ms) == 1:
                return decision(places=(Place(7, Side.BUY, BID - STEP, 80),))
            return None

        engine = Scripted(script)
        ahead = msgspec.structs.replace(recording(frames), lead_ns=lead_ms * NS_PER_MS)
        Playback(
            engine,
            ahead,
            instrument=COIN,
            fees=FEES,
            params=RecordedVenueParams(order_latency_ms=100),
            capital_usd=100.0,
        ).play()
        return len(of(engine, Fill))

    assert filled(0) == 1
    assert filled(400) == 0
