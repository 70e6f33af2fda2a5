"""
Exact replay: the inputs of a journal into a fresh engine, every decision compared with the run's.

Nothing is simulated and nothing is waited for: the events, the times of the decisions and the looks
of the vitals come in the order in which the run had them. The engine has no other input, so it must
decide the same to the last bit; one difference is a bug, or another program or configuration than
the one that wrote the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError

from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.types import NS_PER_S
from mmbot.journal.build import this_build
from mmbot.journal.reader import Entry, Journal, Position, State
from mmbot.journal.records import (
    Broke,
    Build,
    Ended,
    JournalError,
    Judged,
    Kind,
    Lost,
    Output,
    Reconfigured,
    Restored,
    Started,
    decode,
    encode_output,
    is_event,
)
from mmbot.runtime.belonging import not_begun, refuse_older
from mmbot.runtime.recording import broke_text, outcome
from mmbot.runtime.replayed import Difference, ReplayResult, readable, shown_input

_INPUTS_SHOWN: Final = 12
_UNJUDGED_MAX: Final = 256

T = TypeVar("T")

Observer = Callable[[Position, int, Engine, Decision], None]
"""Told of every decision that was compared: its place, its time, the engine as it left it."""
Change = Callable[[Kind, Any], Any]
"""Gives another input in place of one; a test of the replay, or a question put to it."""


class Replay:
    """One replay, record by record."""

    def __init__(
        self,
        journal: Journal,
        *,
        observer: Observer | None = None,
        change: Change | None = None,
    ) -> None:
        self.journal = journal
        self.engine: Engine | None = None
        self.difference: Difference | None = None
        self.build: Build | None = None
        self.started: Started | None = None
        self.lost: str | None = None
        self.broke: str | None = None
        self.ended: str | None = None
        self.reads = self.frames = self.events = self.decisions = 0
        self.batches = self.orders = self.notes = self.judged = self.reloads = 0
        self.last_ns: int | None = None
        self._observer = observer
        self._change = change
        self._decision: Decision | None = None
        self._raised: str | None = None
        self._unjudged: deque[tuple[int, Decision]] = deque(maxlen=_UNJUDGED_MAX)
        self._inputs: deque[Entry] = deque(maxlen=_INPUTS_SHOWN)

    def play(self) -> None:
        """Feed everything, up to the first difference or the end of what can be read."""
        for entry in self.journal.entries():
            if self._raised is not None and entry.kind != Kind.BROKE:
                self._differ(entry, ("broke",), None, self._raised)
            elif is_event(entry.kind):
                self._on_event(entry)
            elif entry.kind == Kind.DECIDE:
                self._on_decide(entry)
            elif entry.kind == Kind.OUTPUT:
                self._on_output(entry)
            else:
                self._on_other(entry)
            if self.difference is not None or self.lost is not None:
                return
        if self._raised is not None:
            # The engine broke at the last input that is left of the journal, as it may have then.
            self.broke = self._raised

    # -- inputs ---------------------------------------------------------------------------------

    def _on_event(self, entry: Entry) -> None:
        self._inputs.append(entry)
        event: Any = decode(entry.kind, entry.payload)
        if self._change is not None:
            event = self._change(Kind(entry.kind), event)
        self.events += 1
        self._attempt(partial(self._running.apply, event))

    def _on_decide(self, entry: Entry) -> None:
        self._inputs.append(entry)
        now_ns: Any = decode(entry.kind, entry.payload)
        if self._change is not None:
            now_ns = self._change(Kind.DECIDE, now_ns)
        self.last_ns = now_ns
        self._decision = decision = self._attempt(partial(self._running.decide, now_ns))
        if decision is not None and decision.capture is not None:
            self._unjudged.append((self.decisions, decision))

    def _attempt(self, act: Callable[[], T]) -> T | None:
        """Let the engine do something; that it raises is an outcome, and compared as such."""
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - as above
            self._raised = broke_text(error)
            return None

    def _on_other(self, entry: Entry) -> None:
        if entry.kind == Kind.READ:
            record: Any = decode(entry.kind, entry.payload)
            self.reads += 1
            self.frames += len(record.frames)
            return
        match decode(entry.kind, entry.payload):
            case Build() as build:
                self.build = build
            case Started() as started:
                self._on_started(started)
            case Restored() as restored:
                restore = self._running.restore
                self._attempt(partial(restore, restored.memory, restored.now_ns))
            case Reconfigured() as reconfigured:
                self._on_reconfigured(entry, reconfigured)
            case Judged() as judged:
                self._on_judged(entry, judged.decision)
            case Broke() as broke:
                self._on_broke(entry, broke)
            case Ended() as ended:
                self.ended = ended.reason
            case Lost() as lost:
                self.lost = f"{lost.records} records are missing ({lost.why}) at {entry.at}"
            case _:
                raise AssertionError(entry.kind)

    def _on_started(self, started: Started) -> None:
        if self._change is not None:
            started = self._change(Kind.STARTED, started)
        self.started = started
        try:
            self.engine = Engine(
                EngineParams.model_validate(started.params),
                started.instrument,
                cloid_prefix=started.cloid_prefix,
                own_in_book=started.own_in_book,
                ablate=frozenset(started.ablate),
            )
        except ValueError as error:  # pydantic's is one
            raise self._unfit(error) from None
        self.engine.orders.settle_ns = started.settle_ns

    def _unfit(self, error: ValueError) -> JournalError:
        return JournalError(
            f"the parameters of the run are none of this version: {_first_line(error)}; use "
            f"the version that wrote it{self._written_by()}"
        )

    def _on_reconfigured(self, entry: Entry, record: Reconfigured) -> None:
        self._inputs.append(entry)
        if self._change is not None:
            record = self._change(Kind.RECONFIGURED, record)
        try:
            params = EngineParams.model_validate(record.params)
        except ValueError as error:  # as above
            raise self._unfit(error) from None
        self.reloads += 1
        self._attempt(partial(self._running.reconfigure, params, record.now_ns))

    def _on_judged(self, entry: Entry, number: int) -> None:
        while self._unjudged:
            found, decision = self._unjudged.popleft()
            if found == number:
                self._attempt(partial(self._running.judge, decision))
                self.judged += 1
                return
        # There was a record of that decision then, and now there is none.
        self._differ(entry, ("judged",), number, None)

    @property
    def _running(self) -> Engine:
        """The engine, which the journal must have begun with."""
        if self.engine is None:
            raise not_begun()
        return self.engine

    def _written_by(self) -> str:
        build = self.build
        if build is None:
            return ""
        return f", mmbot {build.version}" + (
            f", commit {build.commit[:12]}" if build.commit else ""
        )

    # -- outputs --------------------------------------------------------------------------------

    def _on_output(self, entry: Entry) -> None:
        decision = self._decision
        if decision is None:
            raise JournalError(f"an output without its decision at {entry.at}: not a run's journal")
        engine = self._running
        payload = self._attempt(lambda: encode_output(outcome(engine, decision)))
        if payload is None:
            self._differ(entry, ("broke",), None, self._raised)
            return
        if payload != entry.payload:
            recorded, replayed = decode(Kind.OUTPUT, entry.payload), decode(Kind.OUTPUT, payload)
            assert isinstance(recorded, Output)
            assert isinstance(replayed, Output)
            left, right = readable(recorded), readable(replayed)
            what = tuple(name for name in left if not _same(left[name], right[name]))
            # Bytes may differ where a version writes the same facts in another way.
            if what:
                self._differ(entry, what, {n: left[n] for n in what}, {n: right[n] for n in what})
                return
        self.decisions += 1
        self.notes += len(decision.notes)
        if decision.batch is not None:
            self.batches += 1
            self.orders += len(decision.batch)
        if self._observer is not None:
            assert self.last_ns is not None
            self._observer(entry.at, self.last_ns, engine, decision)

    def _on_broke(self, entry: Entry, broke: Broke) -> None:
        if self._raised is None:
            # The last thing that is asked of an engine, and by no record of its own.
            self._attempt(self._running.wake_at_ns)
        if self._raised != broke.error:
            self._differ(entry, ("broke",), broke.error, self._raised)
        self.broke, self._raised = broke.error, None

    def _differ(self, entry: Entry, what: tuple[str, ...], recorded: Any, replayed: Any) -> None:
        name = what[0]
        self.difference = Difference(
            record=entry.at.record,
            position=str(entry.at),
            at_ns=self.last_ns,
            what=what,
            recorded=recorded if isinstance(recorded, dict) else {name: recorded},
            replayed=replayed if isinstance(replayed, dict) else {name: replayed},
            inputs=tuple(shown_input(each) for each in self._inputs),
        )


def _first_line(error: ValueError) -> str:
    """What is wrong in one line; a model's errors come with the address of a manual."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)


def _same(one: Any, other: Any) -> bool:
    """Equality in which what is not a number is equal to itself."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def replay(
    run_dir: Path, *, observer: Observer | None = None, change: Change | None = None
) -> ReplayResult:
    """
    Replay the newest run of a directory.

    Args:
        run_dir: The folder of the run.
        observer: Told of every decision that was compared.
        change: Gives another input in place of one.

    Raises:
        JournalError: There is no journal, or none that this version can play.
    """
    refuse_older(run_dir)
    journal = Journal.of(run_dir)
    playing = Replay(journal, observer=observer, change=change)
    began = perf_counter()
    playing.play()
    wall_s = perf_counter() - began
    started, last_ns = playing.started, playing.last_ns
    start_ns = None if started is None else started.at_ns
    market_s = 0.0 if start_ns is None or last_ns is None else (last_ns - start_ns) / NS_PER_S
    return ReplayResult(
        run=str(run_dir),
        is_identical=playing.difference is None,
        difference=playing.difference,
        # What is missing in the middle is a damage, whoever did it.
        state=State.DAMAGED.value if playing.lost is not None else journal.state.value,
        why=playing.lost or journal.why,
        records=journal.records,
        reads=playing.reads,
        frames=playing.frames,
        events=playing.events,
        decisions=playing.decisions,
        batches=playing.batches,
        orders=playing.orders,
        notes=playing.notes,
        judged=playing.judged,
        reloads=playing.reloads,
        broke=playing.broke,
        ended=playing.ended,
        start_ns=start_ns,
        market_s=market_s,
        wall_s=wall_s,
        market_h_per_s=market_s / 3600 / wall_s if wall_s > 0 else 0.0,
        recorded_by=playing.build,
        replayed_by=this_build(),
    )
