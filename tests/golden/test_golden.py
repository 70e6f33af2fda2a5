"""
The journals of a release, kept: they must stay readable, and this release must decide as it says.

A difference is either a bug, or a change of decisions that was meant; then the journal of the
release under way is made anew (`python tests/golden/make.py`) and the commit says why.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from golden import make
from mmbot.core.events import DayBegan, JournalLag
from mmbot.journal.reader import Journal, State
from mmbot.journal.records import Build, Kind, Reconfigured, Started, decode
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


def test_the_golden_journals_hold_every_kind_of_record() -> None:
    """A kind that no kept journal has could change its form without anybody's noticing."""
    kinds = {
        Kind(entry.kind)
        for folder in (GOLDEN, make.REST, make.HOLES)
        for entry in Journal.of(folder).entries()
    }
    assert kinds == set(Kind)


def test_what_was_told_comes_back_from_the_golden_journals_as_it_was() -> None:
    """Field by field, in the order in which it was written."""
    rest = [decode(entry.kind, entry.payload) for entry in Journal.of(make.REST).entries()]
    told = iter(rest)
    for event in (make.LEDGER, *make.TOLD):
        assert event in told
    (day,) = [each for each in rest if isinstance(each, DayBegan)]
    assert (day.base_usd, day.pnl_usd) == (1000.0, -2.5)
    lag, caught_up = (each for each in rest if isinstance(each, JournalLag))
    assert (lag.is_late, lag.lag_s, caught_up.is_late) == (True, 2.1, False)
    (change,) = [each for each in rest if isinstance(each, Reconfigured)]
    assert change.params["quoter"]["gamma_per_bp"] == 0.02

    journal = Journal.of(make.HOLES)
    holes = [decode(entry.kind, entry.payload) for entry in journal.entries()]
    assert journal.state is State.WHOLE
    assert holes[2:] == list(make.BROKEN)


def test_the_rest_of_the_golden_journals_replays_identically() -> None:
    """With a reload, a lag, a clock that was set and what came from elsewhere."""
    result = replay(make.REST)
    assert result.is_good, "\n".join(render(result))
    assert (result.reloads, result.ended) == (1, "Ctrl+C")
    assert result.batches > 10
