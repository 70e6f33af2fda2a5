"""
A run over the pipe with a journal, and its replay: identical, or the first difference by name.

What happens in these runs is what has made replays of other programs differ: connections that are
cut, orders refused, a switch that trips, a memory at the start, a bug in the middle.
"""

from __future__ import annotations

import builtins
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmbot.core.engine import Decision, Engine
from mmbot.core.estimators.cascade import CascadeMemory, SideMemory
from mmbot.core.events import Bbo, Event
from mmbot.core.types import NS_PER_MS, NS_PER_S
from mmbot.errors import Exit, InvariantError
from mmbot.journal.reader import Journal, Position, State
from mmbot.journal.records import Ended, Kind, Started, decode
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.replay import replay
from mmbot.runtime.replayed import render
from runtime.pipe_rig import START_MS, PipeRun

WIDE = ("risk.loss_limit_frac=0.5", "risk.drawdown_limit_frac=0.5", "risk.soft_limit_frac=0.5")
CLOSE = (
    "risk.warm_s=0",
    "risk.loss_limit_frac=0.01",
    "risk.drawdown_limit_frac=0.01",
    "risk.soft_limit_frac=0.009",
    "risk.soft_release_frac=0.005",
)
MEMORY = CascadeMemory(
    bid=SideMemory(
        at_ns=(START_MS - 20_000) * NS_PER_MS, extra_bps=18.0, hold_ticks=261_000.0, log_odds=1.5
    )
)


def recorded(
    folder: Path,
    play: Callable[[PipeRun], None],
    *,
    scenario: str = "demo",
    seed: int = 1,
    sets: tuple[str, ...] = WIDE,
    memory: CascadeMemory | None = None,
    steady: Callable[[], int] = lambda: 0,
) -> PipeRun:
    """A run with a journal in `folder`, closed as `mmbot run` closes it."""
    writer = Writer(folder, JournalParams(), steady=steady, has_thread=False)
    run = PipeRun(scenario, seed=seed, sets=sets, journal=writer, memory=memory)
    run.start()
    play(run)
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=0))
    return run


def with_reconnects(run: PipeRun) -> None:
    """Cut, lost answers, a venue that refuses, an account that is read again."""
    run.run(20)
    run.dialer.cut()
    run.run(15)
    run.faults(drop=2, refuse=[429, 500])
    run.run(15)
    run.dialer.stall(is_stalled=True)
    run.run(12)
    run.run(20)
    run.stop()


def with_rejects(run: PipeRun) -> None:
    """Half a minute in which orders are refused as post-only, and verdicts come late."""
    run.run(10)
    run.faults(is_post_only=True, delay_ms=300, is_event_first=True)
    run.run(20)
    run.faults(is_post_only=False, delay_ms=0)
    run.run(10)
    run.stop()


def with_a_kill(run: PipeRun) -> None:
    """The operator trips the switch."""
    run.run(20)
    run.trader.kill("operator: test")
    run.ended()


def with_a_loss(run: PipeRun) -> None:
    """The market trips it, by going on and on against the position."""
    run.run(20)
    px, _ = run.touch()
    way = 1 if run.trader.engine.position.lots > 0 else -1
    for _ in range(200):
        if run.endings or run.trader.closing:
            break
        px *= 1 - 0.003 * way
        run.market.force_px(px)
        run.run(1)
    run.ended()


def briefly(run: PipeRun) -> None:
    """Half a minute and a clean stop."""
    run.run(30)
    run.stop()


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal in which much happened; not to be changed."""
    folder = tmp_path_factory.mktemp("eventful")
    recorded(folder, with_reconnects, seed=5)
    return folder


@pytest.mark.parametrize(
    ("play", "facts"),
    [
        (with_reconnects, {"scenario": "demo", "seed": 5}),
        (with_rejects, {"scenario": "demo", "seed": 2}),
        (with_a_kill, {"scenario": "hype", "seed": 3}),
        (with_a_loss, {"scenario": "demo", "seed": 1, "sets": CLOSE}),
        (briefly, {"scenario": "demo", "seed": 6, "memory": MEMORY}),
    ],
    ids=["reconnects", "rejects", "kill", "loss", "memory"],
)
def test_a_replay_decides_what_the_run_decided(
    tmp_path: Path, play: Callable[[PipeRun], None], facts: dict[str, Any]
) -> None:
    """Every batch, every note, every time at which it wanted to be asked again."""
    run = recorded(tmp_path, play, **facts)
    result = replay(tmp_path)
    assert result.difference is None, "\n".join(render(result))
    assert result.is_good
    assert (result.state, result.why, result.ended) == (State.WHOLE.value, "", "test")
    assert result.decisions > 100
    assert result.batches > 10
    assert result.judged > 10
    assert result.frames >= result.reads > 50
    assert result.broke is None
    if play is with_reconnects:
        assert len(run.log.named("link.lost")) >= 2
        assert len(run.log.named("order.unanswered")) >= 1
    elif play is with_rejects:
        assert len(run.log.named("order.rejected")) > 3
    elif play in (with_a_kill, with_a_loss):
        assert run.endings[0].exit_code is Exit.KILLED
        assert run.latched


def test_the_journal_has_every_message_and_every_order(tmp_path: Path) -> None:
    """What was sent by the venue's word, and what was sent to it, against the journal alone."""
    run = recorded(tmp_path, briefly, seed=7)
    placed: list[str] = []
    bbos = frames = 0
    for entry in Journal.of(tmp_path).entries():
        record: Any = decode(entry.kind, entry.payload)
        if entry.kind == Kind.OUTPUT:
            placed.extend("0x" + row[0].hex() for row in record.places)
        elif entry.kind == Kind.READ:
            frames += sum(frame.startswith(b'{"channel":"bbo"') for frame in record.frames)
        elif entry.kind == Kind.BBO:
            bbos += 1
    sent = [
        order["c"]
        for action in run.actions()
        if action["type"] == "order"
        for order in action["orders"]
    ]
    assert placed == sent
    assert len(sent) > 10
    assert frames == bbos > 50


def test_inputs_are_in_the_journal_before_they_are_acted_on(tmp_path: Path) -> None:
    """The message before its events, the time of a decision before what was decided."""
    recorded(tmp_path, briefly, seed=8)
    kinds = [Kind(entry.kind) for entry in Journal.of(tmp_path).entries()]
    assert kinds[:2] == [Kind.BUILD, Kind.STARTED]
    assert kinds[-1] is Kind.ENDED
    for before, after in pairwise(kinds):
        if after is Kind.OUTPUT:
            assert before is Kind.DECIDE
    first = kinds.index(Kind.BBO)
    assert Kind.READ in kinds[:first]


# -- the first difference ---------------------------------------------------------------------


def test_a_changed_parameter_is_found_at_the_first_decision_it_changes(eventful: Path) -> None:
    """Named by field, with what was recorded, what came instead and what came in before."""

    def change(kind: Kind, value: Any) -> Any:
        if kind is not Kind.STARTED:
            return value
        assert isinstance(value, Started)
        quoter = {
            **value.params["quoter"],
            "gamma_per_bp": 2 * value.params["quoter"]["gamma_per_bp"],
        }
        return msgspec.structs.replace(value, params={**value.params, "quoter": quoter})

    result = replay(eventful, change=change)
    difference = result.difference
    assert difference is not None
    assert not result.is_good
    assert {"half_bps", "shift_bps"} & set(difference.what)
    assert difference.recorded.keys() == difference.replayed.keys() == set(difference.what)
    assert all(difference.recorded[n] != difference.replayed[n] for n in difference.what)
    assert difference.inputs[-1]["input"] == "decide"
    assert difference.inputs[-1]["now_ns"] == difference.at_ns
    assert "journal-0001.mmj" in difference.position
    text = "\n".join(render(result))
    assert "DIFFERENT" in text
    assert difference.what[0] in text


@pytest.mark.parametrize("number", [3, 40, 150])
def test_a_changed_event_is_found_at_the_next_decision(eventful: Path, number: int) -> None:
    """One tick of one price, anywhere in the run, and the record before the difference is it."""
    seen = 0
    changed_at: list[int] = []

    def change(kind: Kind, value: Any) -> Any:
        nonlocal seen
        if kind is not Kind.BBO:
            return value
        assert isinstance(value, Bbo)
        seen += 1
        if seen != number:
            return value
        assert value.bid is not None
        bid = msgspec.structs.replace(value.bid, px_ticks=value.bid.px_ticks - 10)
        changed_at.append(value.recv_ns)
        return msgspec.structs.replace(value, bid=bid)

    result = replay(eventful, change=change)
    difference = result.difference
    assert difference is not None
    assert difference.at_ns is not None
    assert difference.at_ns == changed_at[0]
    assert "fair_ticks" in difference.what
    assert any("bid=Level(" in str(each.get("event")) for each in difference.inputs)


def test_a_changed_time_is_found(eventful: Path) -> None:
    """Time is an input like any other."""
    seen = 0

    def change(kind: Kind, value: Any) -> Any:
        nonlocal seen
        seen += kind is Kind.DECIDE
        return value + 5 * NS_PER_S if kind is Kind.DECIDE and seen == 50 else value

    assert replay(eventful, change=change).difference is not None


def test_a_look_of_the_vitals_is_an_input(eventful: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can put the engine into REDUCING, so a replay that left them out would differ."""
    looks: list[Decision] = []
    real = Engine.judge

    def judged(self: Engine, decision: Decision) -> None:
        looks.append(decision)
        real(self, decision)

    monkeypatch.setattr(Engine, "judge", judged)
    result = replay(eventful)
    assert result.is_identical
    assert len(looks) == result.judged > 50


# -- a bug, a cut, another process ------------------------------------------------------------


def test_a_bug_in_a_decision_is_replayed_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most valuable journal of all is the one of a run that broke."""
    real = Engine.decide

    def broken(self: Engine, now_ns: int) -> Decision:
        if now_ns > START_MS * NS_PER_MS + 20 * NS_PER_S:
            raise InvariantError("for the test")
        return real(self, now_ns)

    monkeypatch.setattr(Engine, "decide", broken)

    def play(run: PipeRun) -> None:
        run.run(30)
        run.ended()

    run = recorded(tmp_path, play, seed=9)
    assert run.endings[0].error is not None
    result = replay(tmp_path)
    assert result.is_good, "\n".join(render(result))
    assert result.broke == "InvariantError: for the test"

    # Once it is mended, the replay says that it no longer breaks.
    monkeypatch.setattr(Engine, "decide", real)
    mended = replay(tmp_path).difference
    assert mended is not None
    assert mended.what == ("broke",)
    assert mended.replayed == {"broke": None}


def test_the_event_that_broke_the_engine_is_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was recorded before it was folded, or nobody could find out what it was."""
    real = Engine.apply
    broke_on: list[Event] = []

    def broken(self: Engine, event: Event) -> None:
        if isinstance(event, Bbo) and event.recv_ns > START_MS * NS_PER_MS + 15 * NS_PER_S:
            broke_on.append(event)
            raise InvariantError("for the test")
        real(self, event)

    monkeypatch.setattr(Engine, "apply", broken)

    def play(run: PipeRun) -> None:
        run.run(30)
        run.ended()

    recorded(tmp_path, play, seed=10)
    entries = list(Journal.of(tmp_path).entries())
    at = next(number for number, entry in enumerate(entries) if entry.kind == Kind.BROKE)
    assert decode(entries[at - 1].kind, entries[at - 1].payload) == broke_on[0]
    assert replay(tmp_path).is_good
    monkeypatch.setattr(Engine, "apply", real)
    mended = replay(tmp_path).difference
    assert mended is not None
    assert mended.what == ("broke",)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.77, 0.999])
def test_a_cut_journal_replays_up_to_the_cut(eventful: Path, tmp_path: Path, share: float) -> None:
    """What is left is still exact, and it says that it is not all."""
    path = tmp_path / "journal-0001.mmj"
    data = (eventful / path.name).read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    result = replay(tmp_path)
    assert result.is_good, "\n".join(render(result))
    assert result.state == State.CUT.value
    assert result.why
    assert result.ended is None
    assert result.records < replay(eventful).records


def test_a_damaged_journal_fails_even_where_it_is_identical_up_to_there(
    eventful: Path, tmp_path: Path
) -> None:
    """Somebody or something changed it: exit 1."""
    path = tmp_path / "journal-0001.mmj"
    data = bytearray((eventful / path.name).read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    result = replay(tmp_path)
    assert result.is_identical
    assert result.state == State.DAMAGED.value
    assert not result.is_good


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_with_other_hashes_decides_the_same(eventful: Path, seed: str) -> None:
    """Strings hash differently in each process; an order of a set must never reach a decision."""
    done = subprocess.run(
        [sys.executable, "-m", "mmbot", "replay", str(eventful), "--json"],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = msgspec.json.decode(done.stdout)
    assert told["is_identical"]
    assert told["decisions"] == replay(eventful).decisions


def test_an_observer_sees_every_decision(eventful: Path) -> None:
    """What a report is made of: the engine as it stood, and the place in the journal."""
    seen: list[tuple[int, int]] = []

    def look(at: Position, now_ns: int, engine: Engine, decision: Decision) -> None:
        seen.append((at.record, now_ns))

    result = replay(eventful, observer=look)
    assert len(seen) == result.decisions
    assert seen == sorted(seen)


# -- a journal that lags ----------------------------------------------------------------------


def test_nothing_rests_while_the_journal_lags(tmp_path: Path) -> None:
    """Above the bound every order is pulled, below half of it quoting goes on; both replay."""
    steady = [0]
    held: list[int] = []

    def play(run: PipeRun) -> None:
        run.run(20)
        held.append(len(run.resting()))
        steady[0] = 2_100 * NS_PER_MS
        run.run(2)
        held.append(len(run.resting()))
        steady[0] = 1_500 * NS_PER_MS
        run.run(2)
        held.append(len(run.resting()))
        steady[0] = 900 * NS_PER_MS
        run.run(10)
        held.append(len(run.resting()))
        run.stop()

    run = recorded(tmp_path, play, seed=1, steady=lambda: steady[0])
    assert held[0] > 0
    assert held[1:3] == [0, 0]
    assert held[3] > 0
    late, caught_up = run.log.named("journal.late"), run.log.named("journal.caught_up")
    assert [record["lag_s"] for record in late] == [2.1]
    assert [record["lag_s"] for record in caught_up] == [0.9]
    assert replay(tmp_path).is_good


def test_a_run_without_a_journal_decides_the_same(tmp_path: Path) -> None:
    """To be watched must not change what is done."""
    with_one = recorded(tmp_path, with_reconnects, seed=5)
    without = PipeRun("demo", seed=5, sets=WIDE)
    without.start()
    with_reconnects(without)
    assert [e["body"] for e in with_one.exchange.requests] == [
        e["body"] for e in without.exchange.requests
    ]
    shutil.rmtree(tmp_path)


def compensated(values: Iterable[Any], /, start: Any = 0) -> Any:
    """`sum` as it is from Python 3.12 on: floats with what rounding drops carried along."""
    total: Any = start
    lost = 0.0
    for value in values:
        if isinstance(value, float) and isinstance(total, int | float):
            grown = float(total) + value
            if abs(total) >= abs(value):
                lost += (total - grown) + value
            else:
                lost += (value - grown) + total
            total = grown
        else:
            total = total + value
    return total + lost if isinstance(total, float) and lost else total


def warm(run: PipeRun) -> None:
    """Long enough for every estimator to have its say."""
    run.run(300)
    run.stop()


def test_a_later_python_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `sum` gives for floats depends on the version: nothing that decides may use it so."""
    calls: list[int] = []

    def counted(values: Iterable[Any], /, start: Any = 0) -> Any:
        calls.append(1)
        return compensated(values, start)

    recorded(tmp_path, warm, seed=12)
    monkeypatch.setattr(builtins, "sum", counted)
    result = replay(tmp_path)
    assert calls, "the core adds up sizes with it"
    assert result.is_good, "\n".join(render(result))
