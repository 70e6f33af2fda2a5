"""
The journal of a release, kept: it must stay readable, and this release must decide as it says.

A difference is either a bug, or a change of decisions that was meant; then the journal of the
release under way is made anew (`python tests/golden/make.py`) and the commit says why.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mmbot.journal.reader import Journal, State
from mmbot.journal.records import Build, Kind, Started, decode
from mmbot.runtime.replay import replay
from mmbot.runtime.replayed import render

GOLDEN = Path(__file__).resolve().parent / "0.1.0"


def test_the_golden_journal_is_readable() -> None:
    """Every record of every kind it has, by the format alone."""
    journal = Journal.of(GOLDEN)
    kinds: Counter[Kind] = Counter()
    records = []
    for entry in journal.entries():
        kinds[Kind(entry.kind)] += 1
        records.append(decode(entry.kind, entry.payload))
    assert (journal.state, journal.why) == (State.WHOLE, "")
    assert isinstance(records[0], Build)
    assert isinstance(records[1], Started)
    assert records[1].config["instrument"]["coin"] == "HYPE"
    assert kinds[Kind.RESTORED] == 1
    assert kinds[Kind.LINK_LOST] == 1
    assert kinds[Kind.SNAPSHOT] >= 2
    assert kinds[Kind.REJECTED] >= 1
    assert kinds[Kind.UNANSWERED] >= 1
    assert kinds[Kind.COMMAND] == 1
    assert kinds[Kind.DECIDE] == kinds[Kind.OUTPUT] > 100


def test_the_golden_journal_replays_identically() -> None:
    """On every version of Python that CI runs; floats to the last bit."""
    result = replay(GOLDEN)
    assert result.is_good, "\n".join(render(result))
    assert result.ended == "kill: operator"
    assert result.batches > 20
