"""The positions after a flip, in the report of a run: a window is played, and few of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from mmbot.core.events import Trade
from mmbot.core.types import NS_PER_S
from mmbot.emulator.tape import RecordedVenueParams
from mmbot.journal.reader import Journal
from mmbot.runtime.report.facts import Facts
from mmbot.runtime.report.measures import Flip
from mmbot.runtime.report.page import page
from mmbot.runtime.report.report import Report, read
from mmbot.runtime.report.write import write_report
from mmbot.runtime.whatif import flips
from mmbot.runtime.whatif.compare import Asked, Questions
from mmbot.runtime.whatif.fold import read_market
from mmbot.runtime.whatif.simulate import Simulation
from runtime.report_rig import cut, loaded, play, swept_while_stopping


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of sweeps: the position turned three times; not to be changed."""
    folder = tmp_path_factory.mktemp("turning")
    play(folder, seed=1, span_s=645, acts=((87 / 645, cut),))
    return folder


@pytest.fixture(scope="module")
def seen(turning: Path) -> tuple[Facts, Report]:
    """What a report is made of; not to be changed."""
    return read(turning)


def test_the_report_has_the_position_three_minutes_later(
    turning: Path, seen: tuple[Facts, Report]
) -> None:
    """
    The real one by the fills, the played ones from the position that was held then.

    A report that is made again has the same positions, as every figure of it.
    """
    write_report(turning)
    told = loaded(turning)
    facts, found = seen

    assert told["flips_change"] == "twice the inventory skew"
    assert len(told["flips"]) > flips.MOST
    for flip, each in zip(told["flips"], found.flips, strict=True):
        assert flip == msgspec.to_builtins(each)
    for each in found.flips[: flips.MOST]:
        assert each.later_ns is not None
        assert each.later_ns - each.at_ns == pytest.approx(180 * NS_PER_S, abs=1e6)
        held = [fill.position_sz for fill in facts.fills if fill.at_ns <= each.later_ns]
        assert each.later_sz == pytest.approx(held[-1])
        assert each.unchanged_sz is not None
        assert each.changed_sz != each.unchanged_sz
    for each in found.flips[flips.MOST :]:
        assert (each.later_ns, each.later_sz, each.changed_sz) == (None, None, None)


def test_the_page_says_what_was_played_and_what_was_not(seen: tuple[Facts, Report]) -> None:
    """A dash without a word would be taken for a flat position."""
    facts, found = seen
    html = page(facts, found)
    assert "after 3 min" in html
    assert "with twice the inventory skew" in html
    left_out = len(found.flips) - flips.MOST
    assert f"The first {flips.MOST} flips are played, {left_out} are not." in html


def test_a_window_shows_the_market_that_the_whole_run_shows(
    turning: Path, seen: tuple[Facts, Report]
) -> None:
    """Opened in the middle, it knows which orders were ours, and takes no more and no less out."""
    moments = [each.at_ns for each in seen[1].flips]
    whole = read_market(Journal.of(turning))
    found = list(flips.Windows(Journal.of(turning), moments))
    assert len(found) == len(moments) > 1
    assert found[-1].start_ns - whole.start_ns > 300 * NS_PER_S
    for window, moment_ns in zip(found, moments, strict=True):
        market = window.market()
        assert window.moment_ns == moment_ns
        assert market.end_ns - moment_ns == pytest.approx(180 * NS_PER_S, abs=1e6)
        frames = market.recording.frames
        first, last = frames[0].recv_ns, frames[-1].recv_ns
        assert frames == tuple(f for f in whole.recording.frames if first <= f.recv_ns <= last)
        filled = [f for f in market.recording.happened if isinstance(f, Trade)]
        assert filled
        assert all(trade.recv_ns >= moment_ns for trade in filled)


def test_nothing_is_filled_before_the_flip(turning: Path, seen: tuple[Facts, Report]) -> None:
    """The window begins with the position of the flip and must still have it there."""
    flip = seen[1].flips[0]
    (window,) = flips.Windows(Journal.of(turning), [flip.at_ns])
    market = window.market()
    run = Simulation(market, params=RecordedVenueParams(order_latency_ms=100))
    run.play()
    assert market.started.instrument.sz(market.first.position_lots) == flip.position_sz
    assert run.booked
    assert min(fill.at_ns for fill in run.booked) >= flip.at_ns
    assert run.sent["places"] > 0


def test_a_run_without_flips_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read a second time, and nothing played."""
    play(tmp_path, scenario="hype", seed=2, span_s=60)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(flips, "Windows", never)
    assert read(tmp_path)[1].flips == []


def test_without_a_journal_the_flips_are_there_and_the_positions_are_not(
    turning: Path, tmp_path: Path
) -> None:
    """The report says what is missing, and is made."""
    folder = tmp_path / "run"
    shutil.copytree(turning, folder)
    (folder / "journal-0001.mmj").unlink()
    found = read(folder)[1]
    assert found.flips
    assert all(each.later_sz is None for each in found.flips)
    assert any(text.startswith("flips: their positions") for text in found.missing)


def test_the_journal_of_an_earlier_run_tells_of_no_flip(
    turning: Path, tmp_path: Path, seen: tuple[Facts, Report]
) -> None:
    """The folder was used again by a run that wrote none; the report says what is missing."""
    shutil.copy(turning / "journal-0001.mmj", tmp_path)
    (tmp_path / "config.toml").write_text("[journal]\nenabled = false\n")
    facts = dataclasses.replace(seen[0], missing=[])
    found = flips.with_positions(tmp_path, facts, seen[1].flips)
    assert found == seen[1].flips
    (text,) = facts.missing
    assert "its newest run left no journal" in text


def test_what_fills_during_the_stop_is_in_the_end_and_in_no_column(tmp_path: Path) -> None:
    """The end after a flip is that of the run; what is simulated has none of it, nor the real."""
    play(tmp_path, seed=1, span_s=45, stop=swept_while_stopping)
    summary = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    facts, found = read(tmp_path)
    assert facts.started_ns is not None
    at_ns = facts.started_ns + 40 * NS_PER_S
    flip = Flip(
        at_ns=at_ns, until_ns=at_ns, position_sz=0.0, position_frac=0.0, bid_px=None, ask_px=None,
        mid_px=1.0, bid_pulled=None, ask_pulled=None, reached_sz=0.0, reached_frac=0.0,
    )  # fmt: skip

    (played,) = flips.with_positions(tmp_path, facts, [flip])
    questions = Questions(tmp_path)
    said = Asked(**questions._asked())

    assert played.later_sz == found.overview.position_sz == summary["position_sz"]
    assert played.later_ns == facts.ended_ns
    late = [fill for fill in facts.fills if fill.at_ns > questions.market.end_ns]
    assert late
    assert said.real.fills == summary["fills"] - len(late)
    assert said.real.position_end_sz == pytest.approx(
        summary["position_sz"] - sum(fill.side * fill.sz for fill in late)
    )
    assert any(f"{len(late)} fills" in text and "after the stop" in text for text in said.warnings)
