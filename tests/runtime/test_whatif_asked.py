"""
What may be asked of a run and what the answer says of itself, over one short run each.

The first run was reloaded half way; the second was on paper.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from mmbot.cli.app import build
from mmbot.core.events import Bbo, Book
from mmbot.errors import ConfigError
from mmbot.journal.reader import Journal
from mmbot.journal.records import Ended, decode, encode
from mmbot.journal.writer import JournalParams, Writer
from mmbot.runtime.replay import replay
from mmbot.runtime.whatif.compare import Counterfactual, Questions
from mmbot.runtime.whatif.fold import MarketFold, read_market
from mmbot.runtime.whatif.render import lines
from runtime.paper_rig import PaperRun
from runtime.pipe_rig import PipeRun
from runtime.report_rig import WIDE, play

RUNNER = CliRunner()
GAMMA = "quoter.gamma_per_bp"
START, RELOADED = 0.004, 0.4


def typed(*arguments: str) -> Result:
    """`mmbot replay` as it is typed."""
    return RUNNER.invoke(build(["replay"]), ["replay", *arguments])


def refused(*arguments: str) -> str:
    """What a command is refused with."""
    done = typed(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, Exception)
    assert not isinstance(done.exception, SystemExit)
    return str(done.exception)


def reload(run: PipeRun) -> None:
    """A reload of the file, with a hundred times the risk aversion."""
    quoter = run.config.quoter.model_copy(update={"gamma_per_bp": RELOADED})
    run.trader.reconfigure(run.config.model_copy(update={"quoter": quoter}))


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds with a reload half way; not to be changed."""
    folder = tmp_path_factory.mktemp("reloaded")
    play(folder, seed=1, span_s=40, acts=((0.5, reload),))
    return folder


@pytest.fixture(scope="module")
def questions(reloaded: Path) -> Questions:
    """The same, read once."""
    return Questions(reloaded)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half on paper behind three times the queue; not to be changed."""
    folder = tmp_path_factory.mktemp("paper")
    writer = Writer(folder, JournalParams(), steady=lambda: 0, has_thread=False)
    run = PaperRun(seed=1, journal=writer, sets=(*WIDE, "paper.queue_factor=3"))
    run.start()
    run.run(90)
    run.stop()
    writer.close(Ended(at_ns=run.sim.clock(), reason="test", exit_code=0))
    return folder


# -- on paper -----------------------------------------------------------------------------------


def test_a_run_on_paper_is_split_as_any_other(paper: Path) -> None:
    """Its book has nothing of ours in it, and is the only place that has the price of others."""
    asked = Questions(paper)
    found = asked.change([f"{GAMMA}=2x"])
    assert len(asked.market.mids.px) > 200
    for each in (found.real, found.baseline, found.changed):
        assert each.fills > 5
        assert each.adverse_usd != 0
        assert each.capture_usd != 0
    assert not any("no mid" in text for text in found.warnings)


def test_the_queue_of_a_run_on_paper_is_that_of_paper(paper: Path, questions: Questions) -> None:
    """What the run itself was held to; the output says which key it came from."""
    asked = Questions(paper)
    assert (asked.model.queue_factor, asked.model.queue_from) == (3.0, "paper.queue_factor")
    assert questions.model.queue_from == "backtest.queue_factor"
    given = Questions(paper, queue_factor=2)
    assert (given.model.queue_factor, given.model.queue_from) == (2, "--queue-factor")


def test_a_market_without_a_mid_says_that_nothing_is_split(reloaded: Path) -> None:
    """Else an adverse selection of zero would be read as one."""
    fold = MarketFold()
    for entry in Journal.of(reloaded).entries():
        event: Any = decode(entry.kind, entry.payload)
        if isinstance(event, Bbo):
            event = msgspec.structs.replace(event, ask=None)
        elif isinstance(event, Book):
            event = msgspec.structs.replace(event, asks=())
        payload = encode(event)[1] if isinstance(event, Bbo | Book) else entry.payload
        fold._on(entry._replace(payload=payload))
    assert any("no mid of others" in text for text in fold.market().warnings)
    assert not any(
        "no mid of others" in text for text in read_market(Journal.of(reloaded)).warnings
    )


# -- of which run -------------------------------------------------------------------------------


def test_an_earlier_run_of_a_folder_answers_for_none(reloaded: Path, tmp_path: Path) -> None:
    """The newest one there wrote no journal; no question is one about the run before it."""
    (tmp_path / "config.toml").write_text("[journal]\nenabled = false\n")
    shutil.copy(reloaded / "journal-0001.mmj", tmp_path)
    for question in ((), (f"--set={GAMMA}=2x",), ("--ablate",)):
        assert "its newest run left no journal" in refused(str(tmp_path), *question)


def test_a_newest_run_of_which_only_a_head_is_left_is_not_the_one_before(
    reloaded: Path, tmp_path: Path
) -> None:
    """Cut within it, or a byte of it changed: neither replay nor question is about another run."""
    shutil.copy(reloaded / "journal-0001.mmj", tmp_path)
    head = bytearray((reloaded / "journal-0001.mmj").read_bytes()[:32])
    for data in (head[:0], head[:27], bytes(head[:12]) + b"\xff" + bytes(head[13:])):
        (tmp_path / "journal-0002.mmj").write_bytes(data)
        told = typed(str(tmp_path))
        assert told.exit_code == 1
        assert "NOTHING" in told.output
        assert "IDENTICAL" not in told.output
        assert "journal-0002.mmj" in refused(str(tmp_path), f"--set={GAMMA}=2x")


# -- reloads ------------------------------------------------------------------------------------


def changed_lines(found: Counterfactual) -> list[str]:
    """What the answer says was changed."""
    return [line for line in lines(found) if line.startswith("change ")]


def test_what_if_it_had_not_been_reloaded_can_be_asked(questions: Questions) -> None:
    """The value of the start is another one for the time after the reload."""
    found = questions.change([f"{GAMMA}={START}"])
    assert changed_lines(found) == [f"change     {GAMMA} = {RELOADED} -> {START} (from 20 s on)"]
    assert found.changed != found.baseline
    other = questions.change([f"{GAMMA}={RELOADED}"])
    assert changed_lines(other) == [
        f"change     {GAMMA} = {START} -> {RELOADED} (from 0 s to 20 s)"
    ]


def test_each_value_that_the_run_had_is_changed_and_said(questions: Questions) -> None:
    """A factor multiplies what was in force."""
    found = questions.change([f"{GAMMA}=2x", "drift.half_life_s=2x"])
    assert changed_lines(found)[1:] == [
        f"change     {GAMMA} = {START} -> {2 * START} (from 0 s to 20 s)",
        f"change     {GAMMA} = {RELOADED} -> {2 * RELOADED} (from 20 s on)",
    ]
    assert changed_lines(found)[0].startswith("change     drift.half_life_s = ")
    assert "(from" not in changed_lines(found)[0]


def test_a_change_that_a_reload_does_not_allow_is_refused_before_anything_is_played(
    reloaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the words for whose value it would have been."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("mmbot.runtime.whatif.compare.Simulation", never)
    told = refused(str(reloaded), f"--set={GAMMA}=3x")
    assert "from its reload at 20 s on" in told
    assert f"{GAMMA} = 1.2" in told


# -- keys and values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ((f"{GAMMA}=2x", "link.ping_every_s=2x"), ("--set link.ping_every_s=2x: no decision",)),
        ((f"{GAMMA}=2x", "backtest.queue_factor=2"), ("backtest.queue_factor=2: no decision",)),
        ((f"{GAMMA}=true",), (f"{GAMMA} = True: is a truth value where a number belongs",)),
        ((f"{GAMMA}=-2x",), (f"{GAMMA}=-2x': a factor is a plain number from 0 up",)),
        ((f"{GAMMA}=infx",), (f"{GAMMA}=infx': a factor is a plain number from 0 up",)),
        ((f"{GAMMA}=1e1x",), ("a factor is a plain number", "such as 2x or 0.5x")),
    ],
)
def test_what_would_be_no_part_of_the_answer_is_refused_by_name(
    questions: Questions, items: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """A key beside the one that matters, a truth for a number, a factor that is none."""
    with pytest.raises(ConfigError) as told:
        questions.change(items)
    for each in words:
        assert each in str(told.value)


# -- a column that ends early -------------------------------------------------------------------


def test_a_column_that_was_killed_with_a_position_is_not_weighed(questions: Questions) -> None:
    """A run closes what it holds; carried on to the end it is no effect of what was changed."""
    tight = [
        "risk.loss_limit_frac=0.0001",
        "risk.drawdown_limit_frac=0.0001",
        "risk.soft_limit_frac=0.00005",
        "risk.soft_release_frac=0.00001",
    ]
    found = questions.change(tight)
    assert found.changed.kill is not None
    assert found.changed.ended_s is not None
    assert 0 < found.changed.ended_s < 0.9 * found.span_s
    assert found.changed.position_end_sz != 0
    assert found.changed.is_stranded
    told = lines(found)
    held = f"{found.changed.position_end_sz:+.4g}"
    assert any(line.startswith("changed: KILLED after ") and held in line for line in told)
    assert "is weighed: the changed run ended after" in told[-1]
    assert held in told[-1]
    assert json.loads(msgspec.json.encode(found))["changed"]["ended_s"] == found.changed.ended_s
    # What ended early with nothing in hand is worth what it is worth.
    flat = msgspec.structs.replace(
        found, changed=msgspec.structs.replace(found.changed, position_end_sz=0.0)
    )
    assert "is weighed" not in lines(flat)[-1]


# -- a journal of which a part is left ----------------------------------------------------------


def test_identical_says_of_which_decisions(reloaded: Path, tmp_path: Path) -> None:
    """Those that are gone were not compared."""
    data = (reloaded / "journal-0001.mmj").read_bytes()
    (tmp_path / "journal-0001.mmj").write_bytes(data[: len(data) // 2])
    result = replay(tmp_path)
    told = typed(str(tmp_path)).output
    assert f"every decision that can be read is the one of the run ({result.decisions}" in told
    assert "IDENTICAL every decision is the one of the run\n" not in told
    assert "IDENTICAL every decision is the one of the run\n" in typed(str(reloaded)).output
