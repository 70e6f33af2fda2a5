"""
An engine that keeps a journal of itself.

The engine is the narrowest border there is: whatever changes a decision comes in by `apply`,
`restore`, `reconfigure`, `decide` or `judge`, and whatever leaves it is a `Decision`. So that is
where the journal is written, in the order of the calls, and no part of the shell can act around it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final

from mmbot.config import Config
from mmbot.core.engine import Decision, Engine, EngineParams
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import Event, JournalLag
from mmbot.core.types import NS_PER_MS, NS_PER_S, Instrument
from mmbot.journal.records import (
    Broke,
    Ended,
    Judged,
    Outcome,
    Reconfigured,
    Restored,
    Started,
)
from mmbot.journal.writer import Writer
from mmbot.runtime.ending import Ending
from mmbot.runtime.telling import Log

_CAUGHT_UP_FRAC: Final = 0.5
"""Part of the bound at which the journal counts as caught up."""


class RecordedEngine(Engine):
    """The engine, with every call of it in a journal before it is carried out."""

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        journal: Writer,
        own_in_book: bool = True,
    ) -> None:
        super().__init__(params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book)
        self._journal = journal
        self._put = journal.put
        self._lag_ns_max = round(journal.params.lag_ms_max * NS_PER_MS)
        self._is_late = False
        self._decisions = 0
        self._unjudged: deque[tuple[int, Decision]] = deque()

    def apply(self, event: Event) -> None:
        """Record and fold one event."""
        self._put(event)
        try:
            super().apply(event)
        except Exception as error:
            self._broke(error)
            raise

    def restore(self, memory: CascadeMemory, now_ns: int) -> None:
        """Record and take over the memory of an earlier run."""
        self._put(Restored(now_ns, memory))
        try:
            super().restore(memory, now_ns)
        except Exception as error:
            self._broke(error)
            raise

    def reconfigure(self, params: EngineParams, now_ns: int) -> None:
        """Record and take over other parameters."""
        self._put(Reconfigured(now_ns, params.model_dump(mode="json")))
        try:
            super().reconfigure(params, now_ns)
        except Exception as error:
            self._broke(error)
            raise

    def decide(self, now_ns: int) -> Decision:
        """Record that it was asked, decide, record what was decided."""
        put = self._put
        lag_ns = self._journal.lag_ns()
        if lag_ns > self._lag_ns_max or self._is_late:
            self._watch_lag(lag_ns, now_ns)
        put(now_ns)
        try:
            decision = super().decide(now_ns)
        except Exception as error:
            self._broke(error)
            raise
        # It is in the journal before the batch leaves; the next wake-up is worked out after that.
        self._journal.hold(partial(_outcome_or_broke, self, decision))
        if decision.capture is not None:
            self._unjudged.append((self._decisions, decision))
        self._decisions += 1
        return decision

    def wake_at_ns(self) -> int | None:
        """Asked for when what was decided has left: then its record is completed."""
        try:
            wake_ns = super().wake_at_ns()
        except Exception as error:
            # A record that is held asks for the same, and tells of it in its place.
            if not self._journal.settle():
                self._broke(error)
            raise
        self._journal.settle()
        return wake_ns

    def judge(self, decision: Decision) -> None:
        """Record which decision is looked at, and when: what is found counts from then on."""
        unjudged = self._unjudged
        while unjudged:
            number, first = unjudged.popleft()
            if first is decision:
                self._put(Judged(number))
                break
        try:
            super().judge(decision)
        except Exception as error:
            self._broke(error)
            raise

    def _broke(self, error: Exception) -> None:
        self._put(Broke(broke_text(error)))

    def _watch_lag(self, lag_ns: int, now_ns: int) -> None:
        """Tell the engine when the journal falls behind, and when it has caught up."""
        bound_ns = self._lag_ns_max * (_CAUGHT_UP_FRAC if self._is_late else 1.0)
        is_late = lag_ns > bound_ns
        if is_late is not self._is_late:
            self._is_late = is_late
            why = self._journal.error or ""
            self.apply(JournalLag(now_ns, is_late, lag_ns / NS_PER_S, why))


def outcome(engine: Engine, decision: Decision) -> Outcome:
    """A decision just made, with what the journal holds of the engine beside it."""
    book, position, risk = engine.book, engine.position, engine.risk
    # Not the recorded engine's own, which would ask for this record again.
    return decision, Engine.wake_at_ns(engine), book.fair_ticks, position.lots, risk.equity_usd


def _outcome_or_broke(engine: Engine, decision: Decision) -> Outcome | Broke:
    """What stands behind the time of a decision: what was decided, or that nobody could say."""
    try:
        return outcome(engine, decision)
    except Exception as error:  # noqa: BLE001 - whoever asks for the next wake-up meets it too
        return Broke(broke_text(error))


def broke_text(error: Exception) -> str:
    """An exception of the engine, as the journal holds it."""
    return f"{type(error).__name__}: {error}"


def new_engine(
    config: Config,
    instrument: Instrument,
    *,
    cloid_prefix: int,
    settle_ns: int,
    now_ns: int,
    journal: Writer | None,
) -> Engine:
    """The engine of a run, recorded where there is a journal."""
    params = config.engine
    # The real market knows nothing of orders on paper: what stands at their price is not ours.
    own_in_book = not config.is_paper
    engine: Engine
    if journal is None:
        engine = Engine(params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book)
    else:
        journal.put(
            Started(
                at_ns=now_ns,
                config=config.model_dump(mode="json"),
                params=params.model_dump(mode="json"),
                instrument=instrument,
                cloid_prefix=cloid_prefix,
                settle_ns=settle_ns,
                own_in_book=own_in_book,
            )
        )
        engine = RecordedEngine(
            params,
            instrument,
            cloid_prefix=cloid_prefix,
            own_in_book=own_in_book,
            journal=journal,
        )
    engine.orders.settle_ns = settle_ns
    return engine


async def close_journal(journal: Writer, ending: Ending, log: Log, now_ns: int) -> None:
    """Let the journal be written to its end, before anything that explains the run reads it."""
    lag_ms_max = journal.lag_ns_max / NS_PER_MS
    ended = Ended(
        at_ns=now_ns,
        reason=ending.reason,
        exit_code=int(ending.exit_code),
        lag_ms_max=lag_ms_max,
    )
    await asyncio.to_thread(journal.close, ended)
    log.info(
        "journal.closed",
        records=journal.records_written,
        bytes=journal.bytes_written,
        lag_ms_max=lag_ms_max,
        error=journal.error,
    )
