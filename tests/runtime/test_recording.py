"""When an engine that keeps a journal writes what: never between a decision and its batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mmbot.core.engine import Decision, Engine
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import LinkLost
from mmbot.core.gate import Batch
from mmbot.core.types import NS_PER_S
from mmbot.journal.reader import Journal, Position
from mmbot.journal.records import Ended, Kind
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime import recording
from mmbot.runtime.recording import RecordedEngine
from mmbot.runtime.replay import replay
from runtime.pipe_rig import PipeRun


def test_a_batch_leaves_before_its_decision_is_described_and_the_order_of_records_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next wake-up alone takes longer to work out than all records of a frame to queue."""
    happened: list[str] = []
    describe = recording.outcome

    def described(engine: Engine, decision: Decision) -> Any:
        if decision.batch is not None:
            happened.append("described")
        return describe(engine, decision)

    monkeypatch.setattr(recording, "outcome", described)
    writer = Writer(tmp_path, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=2, journal=writer)
    send = run.trader.gateway.send

    def sent(batch: Batch) -> None:
        happened.append("sent")
        send(batch)

    monkeypatch.setattr(run.trader.gateway, "send", sent)
    run.start()
    run.run(20)
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=0))

    assert len(happened) > 40
    assert happened[::2] == ["sent"] * (len(happened) // 2)
    assert happened[1::2] == ["described"] * (len(happened) // 2)
    kinds = [entry.kind for entry in Journal.of(tmp_path).entries()]
    for kind, after in pairwise(kinds):
        assert (kind == Kind.DECIDE) == (after == Kind.OUTPUT)
    # Sending tells the engine what it cost, which is put after the decision that was sent.
    assert (Kind.OUTPUT, Kind.REQUESTS) in pairwise(kinds)


@pytest.mark.parametrize("method", ["wake_at_ns", "judge", "reconfigure", "restore"])
def test_an_engine_that_breaks_anywhere_says_so_in_the_journal_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Not only in an event and a decision; what came after it is in the journal as well."""
    writer = Writer(tmp_path, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PipeRun("demo", seed=2, journal=writer)
    real: Any = getattr(Engine, method)
    broken = [False]

    def breaking(self: Engine, *arguments: Any) -> Any:
        if broken[0]:
            raise ZeroDivisionError(method)
        return real(self, *arguments)

    monkeypatch.setattr(Engine, method, breaking)
    run.start()
    run.run(8)
    # One in a second is looked at by the vitals where nothing changes.
    engine, now_ns = run.trader.engine, run.sim.clock() + 3 * NS_PER_S // 2
    assert isinstance(engine, RecordedEngine)
    decision = engine.decide(now_ns)
    assert decision.capture is not None
    before = engine._decisions - (method == "wake_at_ns")
    broken[0] = True
    acts: dict[str, Callable[[], object]] = {
        "wake_at_ns": engine.wake_at_ns,
        "judge": lambda: engine.judge(decision),
        "reconfigure": lambda: engine.reconfigure(run.config.engine, now_ns),
        "restore": lambda: engine.restore(CascadeMemory(), now_ns),
    }
    with pytest.raises(ZeroDivisionError):
        acts[method]()
    engine.apply(LinkLost(now_ns, "what came after it"))
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=1))

    kinds = [entry.kind for entry in Journal.of(tmp_path).entries()]
    at = kinds.index(Kind.BROKE)
    assert (
        kinds[at - 1]
        == {
            "wake_at_ns": Kind.DECIDE,
            "judge": Kind.JUDGED,
            "reconfigure": Kind.RECONFIGURED,
            "restore": Kind.RESTORED,
        }[method]
    )
    assert kinds[at + 1 :] == [Kind.LINK_LOST, Kind.ENDED]
    assert Kind.LOST not in kinds

    broken[0] = False
    seen: list[Position] = []

    def look(at: Position, *_: object) -> None:
        seen.append(at)
        broken[0] = len(seen) >= before

    result = replay(tmp_path, observer=look)
    assert result.broke == f"ZeroDivisionError: {method}"
    assert result.is_good, result.difference
