"""When an engine that keeps a journal writes what: never between a decision and its batch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mmbot.core.engine import Decision, Engine
from mmbot.core.gate import Batch
from mmbot.journal.reader import Journal
from mmbot.journal.records import Ended, Kind
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime import recording
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
