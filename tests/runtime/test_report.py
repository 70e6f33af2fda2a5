"""The report of a run: what is in its folder afterwards, and what of it is missing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import string
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.config import load
from mmbot.core.types import Side
from mmbot.runtime.explaining import Explainer, without_keys
from mmbot.runtime.logevents import EVENTS
from mmbot.runtime.logschema import fields_of
from mmbot.runtime.report import words
from mmbot.runtime.report.facts import Facts, Fill, Ladders, Mids, Payment, Reading
from mmbot.runtime.report.fromlog import NAMES, LogFold
from mmbot.runtime.report.measures import response
from mmbot.runtime.report.page import page
from mmbot.runtime.report.plots import thin
from mmbot.runtime.report.report import Report, read, report
from mmbot.runtime.report.split import course, split
from mmbot.runtime.report.timeline import LEFT_OUT, TEXTS, TOLD
from mmbot.runtime.report.write import write_report
from mmbot.runtime.screen import summary_lines
from mmbot.runtime.whatif import flips
from runtime.pipe_rig import EQUITY_USD, START_MS, PipeRun
from runtime.report_rig import (
    WIDE,
    Fault,
    cut,
    equity_usd,
    faults,
    inherit,
    loaded,
    play,
    stall,
    step_clock,
    take,
)
from support import IS_THOROUGH
from system.harness import command

REPO = Path(__file__).resolve().parent.parent.parent
CENT = 0.005


PLAYED = flips.MOST


@pytest.fixture(autouse=True)
def unplayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No market is played again after a flip, which is nine tenths of what a report takes here.

    `test_whatif_flips.py` is about that; where a journal is cut in the middle it is done here too.
    """
    if not IS_THOROUGH:
        monkeypatch.setattr(flips, "MOST", 0)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes with a lost connection, silent prices and refusals; not to be changed."""
    folder = tmp_path_factory.mktemp("eventful")
    refusal = faults(refuse_batch=["Insufficient margin to place order."] * 12)
    play(folder, seed=5, span_s=300, acts=((0.2, cut), (0.5, stall(12)), (0.7, refusal)))
    return folder


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute in which nothing happens but trading; not to be changed."""
    folder = tmp_path_factory.mktemp("brief")
    play(folder, seed=1, span_s=60)
    return folder


def copied(folder: Path, target: Path) -> Path:
    """A folder that may be spoilt."""
    shutil.copytree(folder, target)
    return target


def against(run: PipeRun) -> None:
    """The market goes against the position until the switch trips, and it is closed as a taker."""
    px, _ = run.touch()
    way = 1 if run.trader.engine.position.lots > 0 else -1
    for _ in range(200):
        if run.endings or run.trader.closing:
            break
        px *= 1 - 0.003 * way
        run.market.force_px(px)
        run.sim.run_for(1)


CLOSE = (
    "risk.warm_s=0",
    "risk.loss_limit_frac=0.01",
    "risk.drawdown_limit_frac=0.01",
    "risk.soft_limit_frac=0.009",
    "risk.soft_release_frac=0.005",
)

RUNS: dict[str, dict[str, Any]] = {
    # Every one of them lies across a full hour: funding is paid or received.
    "partial fills": {"scenario": "demo", "seed": 1},
    "another market": {"scenario": "hype", "seed": 2, "span_s": 300.0},
    "inherited long": {"scenario": "demo", "seed": 3, "prepare": inherit(Side.BUY, 250.0)},
    "inherited short": {"scenario": "demo", "seed": 4, "prepare": inherit(Side.SELL, 330.0)},
    "a kill that closes": {"scenario": "demo", "seed": 1, "sets": CLOSE, "acts": ((0.3, against),)},
    "closed at the end": {"scenario": "demo", "seed": 6, "sets": (*WIDE, "on_exit=flatten")},
    "lost connections": {"scenario": "demo", "seed": 7, "acts": ((0.3, cut), (0.6, cut))},
    "no answers": {
        "scenario": "demo",
        "seed": 8,
        "acts": ((0.2, faults(drop=3)), (0.5, faults(lose=3))),
    },
    "closed by hand": {
        "scenario": "demo",
        "seed": 9,
        "prepare": inherit(Side.BUY, 300.0),
        "acts": ((0.05, take(Side.SELL, 100.0)),),
    },
    "a builder's fee": {
        "scenario": "demo",
        "seed": 10,
        "fault": Fault((), sets=("risk.side_budget_frac=0.5", "risk.warm_s=0")),
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_the_parts_add_up_to_the_change_of_equity_to_the_cent(tmp_path: Path, name: str) -> None:
    """The post-mortem of 24 February had sums that were wrong; these are held to the books."""
    chosen = {"span_s": 180.0, **RUNS[name]}
    starts: list[float] = []
    first: Callable[[PipeRun], None] = lambda run: starts.append(equity_usd(run))  # noqa: E731

    run = play(tmp_path, **{**chosen, "acts": ((0.0, first), *chosen.get("acts", ()))})
    write_report(tmp_path)

    found = loaded(tmp_path)["split"]
    parts = found["parts"]
    total = (
        parts["capture_usd"]
        - parts["adverse_usd"]
        + parts["inventory_usd"]
        - parts["fees_usd"]
        + parts["funding_usd"]
    )
    # By the venue's own books, which nothing of the report was made of.
    booked = equity_usd(run) - found["equity_start_usd"]
    rows = run.fills()
    before = len(run.fills()) - loaded(tmp_path)["overview"]["fills"]
    assert abs(total - booked) < CENT
    assert abs(found["unexplained_usd"]) < CENT
    assert abs(found["change_usd"] - booked) < CENT
    assert loaded(tmp_path)["overview"]["fills"] > 2
    assert before == (1 if "prepare" in chosen else 0)
    fees = sum(float(row["fee"]) for row in rows)
    if not before:
        assert abs(parts["fees_usd"] - fees) < 1e-9
        assert abs(found["equity_start_usd"] - EQUITY_USD) < 1e-9
    if name == "a kill that closes":
        assert run.latched
        day = json.loads((tmp_path / "kill.json").read_text("utf-8"))["day"]
        assert day["date"] == datetime.fromtimestamp(START_MS / 1000, tz=UTC).strftime("%Y-%m-%d")
        assert loaded(tmp_path)["overview"]["taker_fills"] > 0
        assert abs(found["end_position_sz"]) < 1e-9
        assert found["taker_usd"] > 0


def facts_of(fills: list[Fill], mids: list[tuple[int, float]], start: float, end: float) -> Facts:
    """Facts made by hand: times in s, prices in USD."""
    return Facts(
        run="by hand",
        started_ns=0,
        ended_ns=100 * 10**9,
        start=Reading(0, start, 1000.0, 100.0, 1.5, ""),
        final=Reading(100 * 10**9, 0.0, 1000.0, end, 1.5, ""),
        fills=fills,
        payments=[Payment(50 * 10**9, 0.25, "")],
        mids=Mids(
            np.array([at * 10**9 for at, _ in mids], np.int64),
            np.array([px for _, px in mids], np.float64),
        ),
    )


def fill(at_s: int, side: int, px: float, sz: float, mid: float | None) -> Fill:
    return Fill(
        at_ns=at_s * 10**9,
        venue_ms=at_s * 1000,
        side=side,
        px=px,
        sz=sz,
        fee_usd=0.1,
        position_sz=0.0,
        mid_px=mid,
        rung=1,
        tid=at_s,
        oid=at_s,
        is_taker=False,
        is_forced=False,
        where="",
    )


def test_each_part_is_what_its_definition_says() -> None:
    """Worked out by hand: a buy that is run over, a sale that is not, one without a mid."""
    facts = facts_of(
        [
            fill(10, 1, 99.0, 2.0, 100.0),
            fill(20, -1, 103.0, 1.0, 101.0),
            fill(95, 1, 90.0, 1.0, None),
        ],
        [(0, 100.0), (30, 98.0), (60, 97.0)],
        start=5.0,
        end=96.0,
    )

    parts = split(facts).parts

    assert parts is not None
    # 2 (100 - 99) and 1 (103 - 101); the third has no mid.
    assert parts.capture_usd == pytest.approx(4.0)
    # At 40 s the mid is 98: 2 (100 - 98) against us; at 50 s 98: 1 (98 - 101), for us.
    assert parts.adverse_usd == pytest.approx(4.0 - 3.0)
    # 2 (96 - 98) and -1 (96 - 98); the third whole, 96 - 90; 5 from 100 to 96.
    assert parts.inventory_usd == pytest.approx(-4.0 + 2.0 + 6.0 - 20.0)
    assert parts.fees_usd == pytest.approx(0.3)
    assert parts.funding_usd == pytest.approx(-0.25)


_FILLS = st.lists(
    st.tuples(
        st.integers(0, 99),
        st.sampled_from([1, -1]),
        st.floats(90, 110),
        st.floats(0.01, 5),
        st.none() | st.floats(90, 110),
    ),
    max_size=12,
)
_MIDS = st.lists(st.tuples(st.integers(0, 99), st.floats(90, 110)), min_size=1, max_size=12)


@given(rows=_FILLS, mids=_MIDS, start=st.floats(-5, 5), end=st.floats(90, 110))
def test_the_parts_are_the_whole_profit_whatever_happened(
    rows: list[tuple[int, int, float, float, float | None]],
    mids: list[tuple[int, float]],
    start: float,
    end: float,
) -> None:
    """The sum must not hang on a horizon, on a mid that is missing, or on the order of things."""
    facts = facts_of(
        [fill(*row) for row in sorted(rows, key=lambda r: r[0])], sorted(mids), start, end
    )

    whole = split(facts)

    cash = sum(-each.side * each.sz * each.px - each.fee_usd for each in facts.fills)
    held = start + sum(each.side * each.sz for each in facts.fills)
    gross = cash + held * end - start * 100.0 - 0.25
    assert whole.parts is not None
    assert whole.total_usd == pytest.approx(gross, abs=1e-9)
    grown = course(facts, whole, np.linspace(0, 100 * 10**9, 7).astype(np.int64))
    assert grown.total_usd[-1] == pytest.approx(gross, abs=1e-9)
    assert grown.adverse_usd[-1] == pytest.approx(whole.parts.adverse_usd, abs=1e-9)


# -- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.77, 0.999])
def test_a_journal_cut_anywhere_costs_what_is_behind_and_nothing_else(
    tmp_path: Path, eventful: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full, a machine without power: the log still has every fill."""
    if share == 0.77:
        # Behind a flip and within three minutes of it.
        monkeypatch.setattr(flips, "MOST", PLAYED)
    folder = copied(eventful, tmp_path / "run")
    whole = read(eventful)[1]
    path = folder / "journal-0001.mmj"
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])

    write_report(folder)

    found = loaded(folder)
    assert any(text.startswith("journal") for text in found["missing"])
    assert found["overview"]["fills"] == whole.overview.fills
    parts, expected = found["split"]["parts"], msgspec.to_builtins(whole.split.parts)
    # The mid between two seconds is the journal's alone; what does not need it is the same.
    for name in ("capture_usd", "fees_usd", "funding_usd"):
        assert parts[name] == pytest.approx(expected[name], abs=1e-9), name
    assert found["split"]["total_usd"] == pytest.approx(whole.split.total_usd, abs=0.02)


def test_a_run_without_a_journal_is_explained_by_its_log(tmp_path: Path, eventful: Path) -> None:
    """`journal.enabled = false` costs latencies and positions, not the sum."""
    folder = copied(eventful, tmp_path / "run")
    (folder / "journal-0001.mmj").unlink()
    whole = read(eventful)[1]

    found = write_report(folder)

    assert [text for text in found.missing if "no journal" in text]
    assert found.split.is_exact
    assert found.split.total_usd == pytest.approx(whole.split.total_usd, abs=1e-6)
    assert found.latencies == []
    assert found.markouts
    assert all(not cause.where.startswith("record") for cause in found.causes)
    assert [cause.name for cause in found.causes][:1] == [cause.name for cause in whole.causes][:1]


def without_journal(folder: Path, keep: Callable[[bytes], bool]) -> list[bytes]:
    """The log alone, of it the lines that are to be kept; the others."""
    (folder / "journal-0001.mmj").unlink()
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join(line for line in lines if keep(line)))
    return [line for line in lines if not keep(line)]


def test_a_sum_that_lacks_a_fill_is_not_called_exact(tmp_path: Path, eventful: Path) -> None:
    """The price of the end is the venue's: no price is made up that hides what is missing."""
    folder = copied(eventful, tmp_path / "run")
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    last = max(line for line in lines if b'"event":"fill.booked"' in line)
    left_out = without_journal(folder, lambda line: line != last)
    told = json.loads(left_out[0])
    whole = read(eventful)[1].split

    write_report(folder)

    found = loaded(folder)
    sz = told["sz"] if told["side"] == "buy" else -told["sz"]
    worth = sz * (whole.end_px - told["px"]) - told["fee_usd"]
    assert len(left_out) == 1
    assert found["split"]["end_px"] == whole.end_px
    assert found["split"]["unexplained_usd"] == pytest.approx(worth, abs=1e-6)
    assert found["split"]["are_fills_whole"] is False
    assert any(f"the venue says {whole.venue_position_sz:+g}" in it for it in found["missing"])
    html = (folder / "report.html").read_text("utf-8")
    assert "to the cent" not in html
    assert "fills are missing" in html
    assert "funds" not in [cause["name"] for cause in found["causes"]]


def test_without_a_mark_of_the_end_nothing_is_claimed_of_the_sum(
    tmp_path: Path, eventful: Path
) -> None:
    """A summary of an earlier version has none."""
    folder = copied(eventful, tmp_path / "run")
    without_journal(folder, lambda line: b'"event":"run.ended"' not in line)
    path = folder / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    ended = {"at": "2026-10-08T19:05:00.000000Z", "level": "info", "event": "run.ended", **summary}
    for name in ("mark_px", "venue_position_sz"):
        assert ended.pop(name) is not None
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(ended) + "\n")

    write_report(folder)

    found = loaded(folder)
    html = (folder / "report.html").read_text("utf-8")
    assert found["split"]["end_is"] == "the last mid"
    assert found["split"]["unexplained_usd"] is None
    assert any("cannot be checked" in text for text in found["missing"])
    assert "the sum cannot be checked" in html
    assert "to the cent" not in html


def test_where_fills_are_not_known_nothing_is_said_of_the_profit(
    tmp_path: Path, eventful: Path
) -> None:
    """`log.level = warning` without a journal: it did not break even, nobody knows."""
    folder = copied(eventful, tmp_path / "run")
    without_journal(folder, lambda line: b'"level":"info"' not in line)
    (folder / "summary.json").unlink()

    done = command("report", "run", "--open", "no", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    found = loaded(folder)
    html = (folder / "report.html").read_text("utf-8")
    assert found["verdict"].startswith("What the run made is not known.")
    assert (found["split"]["parts"], found["split"]["total_usd"]) == (None, None)
    assert (found["overview"]["fills"], found["overview"]["traded_usd"]) == (None, None)
    assert any(text.startswith("fills: log.level") for text in found["missing"])
    for said in (done.stdout, html, found["verdict"]):
        assert "broke even" not in said
        assert "0 fills" not in said
    assert "fills unknown" in done.stdout


def test_what_a_log_tells_of_an_earlier_run_is_left_out(tmp_path: Path, eventful: Path) -> None:
    """With `log.level = warning` no line says where a run began; the journal does."""
    folder = copied(eventful, tmp_path / "run")
    whole = read(eventful)[1]
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    fill_line = next(line for line in lines if b'"event":"fill.booked"' in line)
    early = {**json.loads(fill_line), "at": "2026-10-01T00:00:00.000000Z", "level": "warning"}
    early |= {"tid": 1, "oid": 1, "venue_ms": 1}
    kept = [line for line in lines if b'"level":"info"' not in line]
    (folder / "log.jsonl").write_bytes(json.dumps(early).encode() + b"\n" + b"".join(kept))

    found = write_report(folder)

    assert found.overview.fills == whole.overview.fills
    assert found.split.is_exact


def test_a_forecast_before_the_venue_was_asked_is_no_line_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    """Its schema lets both figures be null."""
    (tmp_path / "log.jsonl").write_text(
        '{"at":"2026-11-22T03:47:02.000000Z","level":"info","event":"requests.forecast",'
        '"used":null,"cap":null}\n'
        '{"at":"2026-11-22T03:48:02.000000Z","level":"info","event":"requests.forecast",'
        '"used":7,"cap":10007}\n'
    )
    fold = LogFold()
    fold.fold(tmp_path / "log.jsonl")
    assert fold.unread == 0
    assert [each[1:] for each in fold.requests_told] == [(7, 10007)]


def test_a_long_log_is_thinned_and_loses_no_fill(eventful: Path) -> None:
    """A week does not fit where a day does; what is counted stays exact."""
    whole, thinned = LogFold(), LogFold(whole_bytes=(eventful / "log.jsonl").stat().st_size // 7)
    for fold in (whole, thinned):
        fold.fold(eventful / "log.jsonl")
    every, few = whole.ladders(), thinned.ladders()

    assert every is not None
    assert few is not None
    assert len(few) < 0.6 * len(every)
    assert few.every > 7
    assert thinned.fills == whole.fills
    assert (thinned.counts, thinned.last_ns) == (whole.counts, whole.last_ns)
    assert np.isin(few["at_ns"], every["at_ns"]).all()
    assert float(few.spans_s.sum()) == pytest.approx(float(every.spans_s.sum()), rel=0.1)
    # What a sweep brought about is looked for in the seconds after it.
    for note in whole.happenings:
        if note.event == "cascade.seen":
            after = (every["at_ns"] > note.at_ns) & (every["at_ns"] < note.at_ns + 4 * 10**9)
            assert np.isin(every["at_ns"][after], few["at_ns"]).all()


def test_a_run_of_days_has_the_date_beside_every_time(tmp_path: Path) -> None:
    """ "07:35 to 07:50" may be any morning of three."""
    facts = facts_of([fill(10, 1, 99.0, 2.0, 100.0)], [(0, 100.0), (60, 97.0)], 0.0, 96.0)
    begun_ns = 1_772_000_000 * 10**9  # 25 February 2026, 06:13:20 UTC
    facts.started_ns, facts.ended_ns = begun_ns, begun_ns + 3 * 86_400 * 10**9
    facts.mids = Mids(
        np.array([begun_ns, begun_ns + 10**14], np.int64), np.array([100.0, 97.0], np.float64)
    )
    facts.fills = [each._replace(at_ns=begun_ns + 10**10) for each in facts.fills]

    html = page(facts, report(facts))

    assert "02-25 06:13:20 to 02-28 06:13:20 UTC" in html
    (worst, *_) = report(facts).worst
    assert words.dated(worst.from_ns) in html
    assert html.count(">02-26 18:13<") >= 1, "the middle of the axis"


def test_what_a_close_left_is_told(tmp_path: Path) -> None:
    """The event has a size and a reason, and what it says is what happened."""
    play(tmp_path, scenario="demo", seed=6, span_s=60, sets=(*WIDE, "on_exit=flatten"))
    closed = json.loads((tmp_path / "summary.json").read_text())["closed"]
    told = [it.text for it in read(tmp_path)[1].timeline if it.kind == "flatten"]
    assert closed["left_sz"] == 0
    assert told[-1] == "the venue confirms that nothing is held"
    assert all("?" not in text for text in told)


def test_every_error_is_told_or_left_out_on_purpose() -> None:
    """An alarm that the page keeps silent about is none to whoever reads the page."""
    severe = {name for name, it in EVENTS.items() if {"error", "critical"} & set(it.levels.split())}
    assert severe - TOLD == set(LEFT_OUT)


def test_every_text_of_the_timeline_is_made_of_fields_of_its_event() -> None:
    """A field that the event does not have reads as a question mark for ever."""
    made = {
        "flatten.ended": {"left"},
        "operator.ordered": {"kind", "text"},
        "engine.broke": {"error"},
    }
    for name, words_of in TEXTS.items():
        used = {field for _, field, _, _ in string.Formatter().parse(words_of) if field}
        known = made.get(name) or set(fields_of(EVENTS[name]))
        assert used <= known, name


def test_a_run_without_a_log_is_explained_by_its_journal(tmp_path: Path, eventful: Path) -> None:
    """What a log level or a lost file takes away is the terms of the quote."""
    folder = copied(eventful, tmp_path / "run")
    (folder / "log.jsonl").unlink()
    whole = read(eventful)[1]

    found = write_report(folder)

    assert [text for text in found.missing if text.startswith("log.jsonl")]
    assert found.split == whole.split
    assert found.suppressed_s == whole.suppressed_s


def test_the_fall_from_the_peak_is_the_kill_switch_s_without_its_word_as_well(
    tmp_path: Path, eventful: Path
) -> None:
    """Of a run that did not live to sum itself up it is measured again, in the same way."""
    folder = copied(eventful, tmp_path / "run")
    told = read(folder)[1].overview.max_drawdown_pct
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    left = [line for line in lines if b'"run.ended"' not in line]
    (folder / "log.jsonl").write_bytes(b"".join(left))
    (folder / "summary.json").unlink()
    assert told
    assert read(folder)[1].overview.max_drawdown_pct == pytest.approx(told, rel=0.02)


WHY = "live.recording is not set: a live start is refused <b>"
REFUSED = (
    '{"at":"2026-11-22T03:47:02.000000Z","level":"info","event":"rows.checked"}\n'
    '{"at":"2026-11-22T03:47:03.000000Z","level":"error","event":"run.refused",'
    f'"error":"{WHY}","exit_code":5}}\n'
)


def test_a_refused_start_has_no_result(tmp_path: Path) -> None:
    """It says who refused and why; what was never traded did not break even."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text('mode = "paper"\n', "utf-8")
    (folder / "log.jsonl").write_text(REFUSED, "utf-8")

    done = command("report", "run", "--open", "no", cwd=tmp_path)
    page = (folder / "report.html").read_text("utf-8")
    found = loaded(folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        f"The start was refused (exit code 5): {WHY}. Nothing was traded: there is no result."
    )
    assert done.stdout.splitlines()[1].startswith("mode      PAPER: ")
    for said in (done.stdout, page, found["verdict"]):
        assert "broke even" not in said
        assert "0.00" not in said
        assert "largest fall" not in said
    assert "no cause of trouble" not in done.stdout.lower()
    assert "&lt;b&gt;" in page
    assert (found["overview"]["began"], found["overview"]["exit_code"]) == (False, 5)


def test_a_start_that_left_no_word_has_no_result_either(tmp_path: Path) -> None:
    """Killed, or interrupted before its first order."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").write_text(REFUSED.splitlines(keepends=True)[0], "utf-8")
    found = write_report(folder)
    assert "The run did not begin to trade" in found.verdict
    assert "no result" in found.verdict
    assert not found.overview.began


def test_a_start_that_was_refused_after_a_run_is_told_before_it(
    tmp_path: Path, eventful: Path
) -> None:
    """In a folder that is used again the figures are of the run that was."""
    folder = copied(eventful, tmp_path / "run")
    before = read(eventful)[1]
    with (folder / "log.jsonl").open("a") as file:
        file.write(REFUSED)
    found = write_report(folder)
    assert found.verdict.startswith("A later start here was refused (exit code 5): ")
    assert found.verdict.endswith(before.verdict)
    assert found.split.total_usd == before.split.total_usd


def test_a_killed_run_is_valued_by_its_ledger_and_says_so(tmp_path: Path, eventful: Path) -> None:
    """kill -9: no end, no last reading, no summary; what is known is said, with its check."""
    folder = copied(eventful, tmp_path / "run")
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    # As a process that died leaves it: in the middle of a line, and of a block.
    (folder / "log.jsonl").write_bytes(b"".join(lines[: len(lines) * 2 // 3])[:-7])
    path = folder / "journal-0001.mmj"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (folder / "summary.json").unlink()

    found = write_report(folder)

    assert found.split.change_usd is None
    assert found.split.last_reading is not None
    assert abs(found.split.last_reading["gap_usd"]) < 0.05
    assert any("summary" in text for text in found.missing)
    assert any("1 lines cannot be read" in text for text in found.missing)
    html = (folder / "report.html").read_text("utf-8")
    assert "This report is not complete" in html
    assert "was not read at an end" in html


def test_of_two_runs_in_one_folder_the_newest_is_explained(tmp_path: Path) -> None:
    """`--run-dir` may name a folder twice: the fills of the first are not the second's."""
    play(tmp_path, scenario="demo", seed=1, span_s=60)
    first = read(tmp_path)[1]
    log = (tmp_path / "log.jsonl").read_bytes()
    play(tmp_path, scenario="hype", seed=2, span_s=30)
    second = (tmp_path / "log.jsonl").read_bytes()
    begun = json.dumps(
        {"at": "2026-10-08T18:57:30.000000Z", "level": "info", "event": "run.started"}
    )
    (tmp_path / "log.jsonl").write_bytes(log + begun.encode() + b"\n" + second)

    found = read(tmp_path)[1]

    assert (first.overview.fills or 0) > 5
    assert (found.overview.fills or 0) < (first.overview.fills or 0)
    assert found.split.is_exact


# -- the page -----------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(eventful: Path) -> None:
    """It is mailed, kept for years and opened on a train."""
    html = page(*read(eventful))

    assert not re.search(r"(?:src|href)=\"(?!data:,)", html)
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html
    assert not re.search(r"https?://(?!www\.w3\.org)", html)


def test_what_the_venue_says_cannot_become_markup(tmp_path: Path) -> None:
    """Texts of refusals and of the kill switch come from outside."""
    evil = "<img src=x onerror=alert(1)>"
    play(
        tmp_path,
        seed=3,
        span_s=120,
        fault=Fault((), acts=((0.2, faults(refuse_batch=[evil] * 40)),)),
        stop=lambda run: run.trader.kill(f"operator: {evil}"),
    )

    write_report(tmp_path)

    html = (tmp_path / "report.html").read_text("utf-8")
    assert "&lt;img" in html
    assert "<img" not in html


def test_every_section_of_the_page_is_there(eventful: Path) -> None:
    """A trader finds what was promised, or reads that it is not known."""
    html = page(*read(eventful))

    for title in (
        "Suspected causes",
        "Where the profit came from",
        "Mid, both quotes and fills",
        "Inventory",
        "Profit and its parts",
        "Worst three stretches",
        "inventory skew",
        "cascade pullback, bid",
        "Markout by side",
        "Markout by rung",
        "Trend against the position",
        "Time without quotes",
        "Requests",
        "Latency",
        "Vitals",
        "Flips: from near flat to large",
        "Timeline",
        "How each figure is defined",
    ):
        assert title in html, title
    kinds = {moment.kind for moment in read(eventful)[1].timeline}
    assert {"disconnect", "stale", "sweep", "reject", "cascade", "end"} <= kinds


def test_no_secret_and_no_place_of_one_is_in_a_report(tmp_path: Path) -> None:
    """A report is shown to others; where the key lies is nobody's business."""
    sets = (*WIDE, "account.key_file=/home/trader/very-secret-place")
    play(tmp_path, seed=1, span_s=20, sets=sets)

    write_report(tmp_path)

    for name in ("report.html", "report.json"):
        assert "very-secret-place" not in (tmp_path / name).read_text("utf-8")
    assert "account" not in read(tmp_path)[0].config


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000),
    columns=st.integers(1, 50),
)
def test_thinning_loses_no_extreme(values: list[float], columns: int) -> None:
    """The worst second of a day is what the plot is looked at for."""
    series = np.array(values)
    at_s = np.arange(len(series), dtype=np.float64)

    kept_s, kept = thin(at_s, series, (0.0, float(len(series))), columns)

    assert kept.max() == series.max()
    assert kept.min() == series.min()
    assert len(kept) <= max(2 * columns + 2, 2)
    assert (np.diff(kept_s) > 0).all()
    width = len(series) / columns
    for column in range(columns):
        inside = series[int(np.ceil(column * width)) : int(np.ceil((column + 1) * width))]
        here = kept[(kept_s >= column * width) & (kept_s < (column + 1) * width)]
        if len(inside):
            assert here.max() == inside.max()
            assert here.min() == inside.min()


# -- measures -----------------------------------------------------------------------------------


def test_time_without_quotes_is_told_by_side_and_rule(eventful: Path) -> None:
    """Held against the log, which has the rule once a second."""
    found = read(eventful)[1]
    told: dict[str, int] = {}
    for line in (eventful / "log.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["event"] == "quote.held" and record["bid_pulled"]:
            told[record["bid_pulled"]] = told.get(record["bid_pulled"], 0) + 1

    assert told
    for rule, seconds in told.items():
        assert found.suppressed_s["bid"][rule] >= 0.7 * seconds, rule
    assert found.suppressed_s["bid"]["no link"] > 3
    assert sum(found.mode_s.values()) == pytest.approx(found.watched_s)


def test_sweeps_and_rungs_are_those_of_the_venue(eventful: Path) -> None:
    """Orders of one block and side are one sweep; it goes through several of our rungs."""
    facts, found = read(eventful)
    blocks: dict[tuple[int, int], set[int]] = {}
    for each in facts.fills:
        blocks.setdefault((each.venue_ms, each.side), set()).add(each.oid)

    assert len(found.sweeps) == sum(len(orders) >= 3 for orders in blocks.values()) > 0
    firsts = []
    for sweep in found.sweeps:
        rungs = [
            each.rung or 0
            for each in facts.fills
            if each.at_ns == sweep.at_ns and (each.side > 0) is (sweep.side == "buy")
        ]
        assert max(rungs) > min(rungs) > 0
        firsts.append(rungs[0])
    # The nearest one may have been filled alone just before.
    assert 1 in firsts


def test_the_markouts_are_those_of_the_summary(eventful: Path) -> None:
    """One word, one figure: the same mids by the same clock, also where a connection was lost."""
    summary = json.loads((eventful / "summary.json").read_text("utf-8"))
    write_report(eventful)
    found = loaded(eventful)
    (whole,) = [each for each in found["markouts"] if each["group"] == "all"]
    told = dict(zip(found["markout_horizons_s"], whole["adverse_bps"], strict=True))
    assert whole["fills"] == summary["fills"] > 20
    for horizon_s in (1, 5, 30):
        said = summary[f"markout_{horizon_s}s_bps"]
        assert told[horizon_s] == pytest.approx(said, abs=0.05), horizon_s


def test_latencies_are_those_of_the_line(tmp_path: Path) -> None:
    """Answers that the venue holds back for 800 ms take 800 ms and the way, no less."""
    play(tmp_path, seed=2, span_s=90, fault=Fault((), acts=((0.0, faults(delay_ms=800)),)))

    found = {each.what: each for each in read(tmp_path)[1].latencies}

    moves = found["move to its verdict"]
    assert 830 <= moves.p50_ms <= 1000
    assert moves.p50_ms <= moves.p90_ms <= moves.p99_ms <= moves.max_ms


def test_flips_are_found_where_the_position_turned() -> None:
    """By hand: 40 s from -0.05 to 0.4; later four minutes for the same, which is no flip."""
    at_s = np.arange(600.0)
    x = np.interp(
        at_s, [0, 50, 60, 100, 140, 180, 440, 599], [0.5, 0.5, -0.05, 0.4, 0.4, 0, 0.45, 0.45]
    )
    columns = {name: np.zeros(len(at_s)) for name in NAMES}
    columns["at_ns"] = at_s * 1e9
    columns["q_frac"] = x
    columns["position_sz"] = 10 * x
    columns["mid_px"] = 100 + at_s
    columns["touch_bid_px"] = 99 + at_s
    columns["touch_ask_px"] = np.full(len(at_s), np.nan)
    rules: list[str | None] = ["danger"] * len(at_s)
    facts = Facts(run="by hand", ladders=Ladders(columns, [None] * len(at_s), rules))

    (flip,) = report(facts).flips

    low, high = round(flip.at_ns / 1e9), round(flip.until_ns / 1e9)
    assert 50 < low < 65
    assert 88 < high < 95
    assert abs(x[low]) < 0.1
    assert x[high] > 0.3 >= x[high - 1]
    assert flip.position_sz == pytest.approx(10 * x[low])
    assert flip.reached_frac == pytest.approx(x[high])
    assert (flip.mid_px, flip.bid_px, flip.ask_px) == (100 + low, 99 + low, None)
    assert (flip.bid_pulled, flip.ask_pulled) == (None, "danger")


@pytest.mark.parametrize(("answer_bps", "met"), [(2.5, 0.0), (10.0, 1.0), (15.0, 1.0)])
def test_the_response_ratio_is_the_share_of_the_trend_that_was_answered(
    answer_bps: float, met: float
) -> None:
    """By hand: a minute urgently opposed to 50 bps; the first twelve seconds fade in."""
    at_s = np.arange(120.0)
    is_opposed = (at_s >= 30) & (at_s < 90)
    columns = {name: np.zeros(len(at_s)) for name in NAMES}
    columns["at_ns"] = at_s * 1e9
    columns["is_opposed"] = is_opposed.astype(np.float64)
    columns["urgency"] = np.where(is_opposed, 2.0, 0.0)
    columns["trend_bps"] = np.full(len(at_s), -50.0)
    columns["q_frac"] = np.where(at_s == 60, 0.5, 0.3)
    # Not answered at all while it fades in.
    columns["response_bps"] = np.where(is_opposed & (at_s >= 42), -answer_bps, 0.0)
    facts = Facts(run="by hand", ladders=Ladders(columns, [None] * 120, [None] * 120))

    found = response(facts)

    assert found.ratio == pytest.approx(answer_bps / 50)
    assert found.met == met
    assert found.urgent_s == pytest.approx(60.0)
    (interval,) = found.intervals
    assert interval.position_frac == 0.5
    assert interval.ratio == pytest.approx(answer_bps / 50)


# -- the command and the end of a run -----------------------------------------------------------


def test_the_command_writes_both_files_and_prints_the_sum(tmp_path: Path, brief: Path) -> None:
    """`mmbot report latest`, for a person and for a program."""
    copied(brief, tmp_path / "logs" / "one")
    (tmp_path / "logs" / "latest").symlink_to("one")

    told = command("report", "latest", "--open", "no", cwd=tmp_path)
    listed = command("report", "latest", "--json", cwd=tmp_path)

    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[1] == "mode      emulator"
    assert "profit    capture" in told.stdout
    summary = json.loads((tmp_path / "logs" / "one" / "summary.json").read_text("utf-8"))
    fell = f"{summary['max_drawdown_pct']:.3f} % of peak equity"
    ended = f"ended by {summary['end_reason']}"
    for said in (told.stdout, "\n".join(summary_lines(summary))):
        assert fell in said, "one definition, that of the kill switch"
        assert ended in said
    page = (tmp_path / "logs" / "one" / "report.html").read_text("utf-8")
    assert f"{summary['max_drawdown_pct']:.3f} %" in page
    found = msgspec.json.decode(listed.stdout, type=Report)
    assert found.overview.fills == read(brief)[1].overview.fills
    assert (tmp_path / "logs" / "one" / "report.html").stat().st_size > 50_000
    assert loaded(tmp_path / "logs" / "one") == json.loads(listed.stdout)


def test_a_folder_without_a_run_gets_no_report(tmp_path: Path) -> None:
    """It did not break even: nothing was there."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "log.jsonl").write_bytes(b"")
    (tmp_path / "torn" / "journal-0001.mmj").write_bytes(b"mm")

    for name in ("empty", "torn"):
        before = sorted(path.name for path in (tmp_path / name).iterdir())
        done = command("report", name, cwd=tmp_path)
        assert done.returncode == 2, name
        assert name in done.stderr
        assert "Traceback" not in done.stderr
        assert "broke even" not in done.stdout
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == before


@pytest.mark.parametrize("config", ["risk = 3\ninstrument = [1]\n", "risk = [", None])
def test_a_log_of_fills_alone_is_explained(
    tmp_path: Path, eventful: Path, config: str | None
) -> None:
    """What somebody has filtered, beside a configuration that somebody has edited."""
    folder = copied(eventful, tmp_path / "run")
    (folder / "journal-0001.mmj").unlink()
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"event":"quote.' not in line]
    (folder / "log.jsonl").write_bytes(b"".join(kept))
    if config is not None:
        (folder / "config.toml").write_text(config)

    done = command("report", "run", "--open", "no", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    found = loaded(folder)
    assert found["overview"]["fills"] == read(eventful)[1].overview.fills
    assert any("no quotes" in text for text in found["missing"])
    assert any("config.toml" in text for text in found["missing"]) is (config is not None)
    (first, *_) = found["markouts"]
    assert first["adverse_bps"] == [None] * len(first["adverse_bps"])
    assert first["capture_bps"] != 0


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Exit 2, and what to name instead."""
    done = command("report", "nowhere", cwd=tmp_path)

    assert done.returncode == 2
    assert "nowhere" in done.stderr


CONFIG = str(REPO / "configs" / "emulator.toml")


def test_a_run_leaves_its_report(tmp_path: Path) -> None:
    """
    At every end, without being asked; its end is that of a run without one.

    What lies in the folder somebody stands in is not imported, by its children neither.
    """
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('not ours')\n", "utf-8")
    arguments = ("--for", "2s", "--run-dir", "here")
    done = command("run", "--config", CONFIG, *arguments, cwd=tmp_path, is_fresh=True)

    assert done.returncode == 0, done.stderr
    found = loaded(tmp_path / "here")
    assert found["overview"]["ended"] == "--for elapsed"
    assert found["overview"]["market"] == "HYPE"
    assert found["missing"] == []
    assert (tmp_path / "here" / "report.html").exists()
    assert str(Path("here") / "report.html") in done.stdout


def test_a_folder_that_is_used_again_is_explained_by_its_newest_run(tmp_path: Path) -> None:
    """The older run's journal lies there still: its fills and its money are another run's."""
    arguments = ("run", "--config", CONFIG, "--run-dir", "here", "--for")
    first = command(*arguments, "3s", cwd=tmp_path)
    second = command(*arguments, "1s", "--set", "journal.enabled=false", cwd=tmp_path)
    played = command("replay", "here", cwd=tmp_path)
    (tmp_path / "here" / "log.jsonl").unlink()
    unlogged = command("replay", "here", cwd=tmp_path)

    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    found = loaded(tmp_path / "here")
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert found["overview"]["fills"] == summary["fills"]
    assert found["overview"]["span_s"] < summary["duration_s"] + 3
    assert found["overview"]["journal"] == "absent"
    earlier = json.loads((tmp_path / "here" / "summary.earlier.json").read_text())
    assert earlier["duration_s"] > summary["duration_s"]
    assert (tmp_path / "here" / "report.earlier.html").exists()
    assert [text for text in found["missing"] if "earlier run" in text]
    assert found["causes"] == []
    for done in (played, unlogged):
        assert done.returncode == 1
        assert "earlier run" in done.stderr
        assert "identical" not in done.stdout


def test_a_report_that_cannot_be_made_is_said_and_changes_no_end(tmp_path: Path) -> None:
    """The run has ended well, and says so by its exit code and its last line."""
    (tmp_path / "here" / "report.html").mkdir(parents=True)

    done = command("run", "--config", CONFIG, "--for", "2s", "--run-dir", "here", cwd=tmp_path)

    assert done.returncode == 0
    assert "no report was made" in done.stderr
    assert "mmbot report here" in done.stderr
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["resting_orders"] == 0


def test_the_report_can_be_switched_off(tmp_path: Path) -> None:
    """`report.at_end = false`; begun as by `nohup`, which the log says of SIGHUP."""
    arguments = ("--for", "1s", "--run-dir", "here", "--set", "report.at_end=false")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = command("run", "--config", CONFIG, *arguments, cwd=tmp_path, is_fresh=True)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "here" / "log.jsonl").read_text().splitlines()]
    (told,) = [it for it in log if it["event"] == "run.hangup_ignored"]
    assert "mmbot reload" in told["why"]
    assert not (tmp_path / "here" / "report.html").exists()
    assert "report.html" not in done.stdout


def test_a_report_of_facts_alone_needs_no_folder() -> None:
    """Everything that judges is a function of the facts."""
    facts = facts_of([fill(10, 1, 99.0, 2.0, 100.0)], [(0, 100.0), (60, 97.0)], 0.0, 96.0)

    found = report(facts)

    assert found.overview.fills == 1
    assert found.worst
    assert found.worst[0].change_usd < 0


async def test_a_report_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """An end that hangs on its own explanation would be no end."""
    waits = (sys.executable, "-c", "import select; select.select([], [], [])")
    config = load(Path(CONFIG))
    (tmp_path / "report.html.new").write_text("half of it")
    late = Explainer(waits, wait_s=0.2)
    left = Explainer(waits)

    problem = await late.explain(tmp_path, config)
    asyncio.get_running_loop().call_later(0.2, left.cancel)
    await left.explain(tmp_path, config)

    assert problem is not None
    assert "longer than" in problem
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing blocks here
    assert not late.is_cancelled
    assert left.is_cancelled


def test_reports_that_are_made_at_once_leave_two_whole_files(
    tmp_path: Path, eventful: Path
) -> None:
    """Somebody asks for one while the run makes its own."""
    folder = copied(eventful, tmp_path / "run")
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(write_report, folder) for _ in range(4)]
        assert {len(each.result().timeline) for each in made} == {len(loaded(folder)["timeline"])}

    assert (folder / "report.html").read_text("utf-8").rstrip().endswith("</html>")
    assert not list(folder.glob("*.new"))


def test_a_clock_that_is_set_back_leaves_every_time_in_order(tmp_path: Path) -> None:
    """The program's clock goes on at its own pace, so what a report looks up is sorted."""
    play(tmp_path, seed=5, span_s=60, acts=((0.5, step_clock(-20.0)),))

    facts, found = read(tmp_path)

    assert facts.mids is not None
    assert facts.ladders is not None
    assert (np.diff(facts.mids.at_ns) >= 0).all()
    assert (np.diff(facts.ladders["at_ns"]) >= 0).all()
    assert found.split.is_exact


def test_the_process_that_makes_it_is_given_no_key() -> None:
    """It signs nothing, so it need not be trusted with one."""
    config = load(Path(CONFIG), ["account.key_env=MY_KEY"])
    env = {"MY_KEY": "secret", "MMBOT_WATCHDOG_KEY": "other", "PATH": "/bin"}

    assert without_keys(env, config) == {"PATH": "/bin"}
