"""The figures of a report against the books of the venue and the words of the run itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.cli.report import _lines
from mmbot.core.types import NS_PER_S, Side
from mmbot.emulator import budgets
from mmbot.runtime.report import words
from mmbot.runtime.report.facts import Facts, Fill, Mids, Reading
from mmbot.runtime.report.split import course, split
from mmbot.runtime.report.stretches import Interval, _interval, course_extremes, worst
from mmbot.runtime.report.write import write_report
from mmbot.runtime.screen import summary_lines
from mmbot.runtime.whatif import flips
from runtime.pipe_rig import PipeRun
from runtime.report_rig import inherit, loaded, play, spend
from support import IS_THOROUGH


@pytest.fixture(autouse=True)
def unplayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market is played again after a flip: no figure here is made of one."""
    if not IS_THOROUGH:
        monkeypatch.setattr(flips, "MOST", 0)


def granted(run: PipeRun) -> int:
    """Requests that the venue would still grant."""
    account = run.venue.account(run.user)
    return budgets.cap(account, run.venue.state.params) - account.requests_used


@pytest.mark.parametrize("has_journal", [True, False])
def test_the_requests_left_are_those_the_venue_would_grant(
    tmp_path: Path, *, has_journal: bool
) -> None:
    """What trades earned since the cap was read is granted as well, whoever tells of the run."""
    run = play(tmp_path, seed=3, span_s=120)
    if not has_journal:
        (tmp_path / "journal-0001.mmj").unlink()

    write_report(tmp_path)

    found = loaded(tmp_path)["budget"]
    summary = loaded_summary(tmp_path)
    assert loaded(tmp_path)["overview"]["traded_usd"] > 300
    assert found["left_at_end"] == summary["requests_left"]
    assert abs(found["left_at_end"] - granted(run)) <= 2
    assert found["left_min"] <= found["left_at_end"]
    if has_journal:
        earned = found["left_at_end"] - 10_000 + found["used_at_end"]
        assert earned == pytest.approx(loaded(tmp_path)["overview"]["traded_usd"], abs=3)
    # Trades earned more than changes cost, or they did not; the words follow the sum.
    assert (found["hours_left"] is None) is (found["left_at_end"] >= found["left_at_start"])


def test_a_budget_that_trades_refill_is_not_called_spent(tmp_path: Path) -> None:
    """The venue's cap is read once in minutes: by its reading alone nothing would be left."""
    play(tmp_path, seed=3, span_s=120, prepare=spend(300))
    told = [
        record["requests_left"]
        for record in map(json.loads, (tmp_path / "log.jsonl").read_text("utf-8").splitlines())
        if record["event"].startswith("quote.")
    ]

    write_report(tmp_path)

    found = loaded(tmp_path)
    assert min(told) > 150
    assert abs(found["budget"]["left_min"] - min(told)) <= 20
    assert [cause["name"] for cause in found["causes"]] == []


_STEPS = st.lists(
    st.tuples(st.integers(0, 400), st.floats(90, 110)),
    min_size=1,
    max_size=20,
    unique_by=itemgetter(0),
)


@given(steps=_STEPS, fills=st.lists(st.integers(0, 400), max_size=6), span_s=st.integers(1, 400))
def test_the_worst_stretches_are_of_equal_length_and_add_up(
    steps: list[tuple[int, float]], fills: list[int], span_s: int
) -> None:
    """One that is cut short at the end loses less for that alone."""
    at_s, px = zip(*sorted(steps), strict=True)
    facts = Facts(
        run="by hand",
        started_ns=0,
        ended_ns=span_s * NS_PER_S,
        start=Reading(0, 1.0, 1000.0, 100.0, 1.5, ""),
        fills=[bought(at_s=at, px=100.0, sz=2.0) for at in sorted(fills) if at <= span_s],
        mids=Mids(np.array(at_s, np.int64) * NS_PER_S, np.array(px)),
    )

    found = sorted(worst(facts, split(facts), []), key=lambda it: it.from_ns)

    for it in found:
        assert it.until_ns - it.from_ns == min(60, span_s) * NS_PER_S
        assert 0 <= it.from_ns <= it.until_ns <= span_s * NS_PER_S
        assert it.parts.total_usd == pytest.approx(it.change_usd, abs=1e-9)
        assert it.change_usd < 0
    for before, after in pairwise(found):
        assert before.until_ns <= after.from_ns
    if span_s <= 60:
        (total,) = course(facts, split(facts), np.array([span_s * NS_PER_S])).total_usd
        (first,) = course(facts, split(facts), np.array([0, span_s * NS_PER_S])).total_usd[:1]
        assert bool(found) is bool(total - first < -1e-9)


def test_a_stretch_without_a_fill_suffers_no_adverse_selection() -> None:
    """What is held from before moves with the price, whatever was bought just before it."""
    facts = Facts(
        run="by hand",
        started_ns=0,
        ended_ns=130 * NS_PER_S,
        start=Reading(0, 0.0, 1000.0, 100.0, 1.5, ""),
        fills=[bought(at_s=65, px=100.0, sz=2.0)],
        mids=Mids(
            np.array([0, 66, 80, 81], np.int64) * NS_PER_S, np.array([100.0, 100.0, 100.0, 90.0])
        ),
    )
    whole = split(facts)

    (first, *_) = worst(facts, whole, [])

    assert first.change_usd == pytest.approx(-20.1)
    late = _interval_of(facts, 70, 130)
    assert late.change_usd == pytest.approx(-20.0)
    assert (late.fills, late.main) == (0, "inventory")
    assert late.parts.adverse_usd == 0.0
    assert late.parts.inventory_usd == pytest.approx(-20.0)


def test_a_fall_of_a_second_is_in_the_drawdown() -> None:
    """A day is looked at where the price moved, not every twenty seconds."""
    day_s = 86_400
    at_s = np.array([0, 40_000, 40_001, day_s - 1], np.int64)
    facts = Facts(
        run="by hand",
        started_ns=0,
        ended_ns=day_s * NS_PER_S,
        start=Reading(0, 0.0, 1000.0, 100.0, 1.5, ""),
        fills=[bought(at_s=10, px=100.0, sz=2.0)],
        mids=Mids(at_s * NS_PER_S, np.array([100.0, 70.0, 100.0, 101.0])),
    )

    facts.config = {"risk": {"capital_usd": 500.0}}
    fell_pct, best, lowest = course_extremes(facts, split(facts))

    assert fell_pct == pytest.approx(60.1 / 500 * 100), "of peak equity, which began as the capital"
    marked = replace(facts, marks=[(39_999 * NS_PER_S, 100.0), (40_000 * NS_PER_S, 60.0)])
    assert course_extremes(marked, split(marked))[0] == pytest.approx(80.1 / 500 * 100)
    said = replace(facts, summary={"max_drawdown_pct": 7.5})
    assert course_extremes(said, split(said))[0] == 7.5, "what the kill switch measured"
    assert lowest == pytest.approx(-60.1)
    assert best == pytest.approx(1.9)


def _interval_of(facts: Facts, from_s: int, until_s: int) -> Interval:
    """The stretch between two seconds."""
    times = np.array([from_s, until_s, 130], np.int64) * NS_PER_S
    times = np.unique(times)
    return _interval(facts, course(facts, split(facts), times), 0, 1, [])


def bought(*, at_s: int, px: float, sz: float) -> Fill:
    """A purchase at the mid, with a fee of 0.1 USD."""
    return Fill(
        at_ns=at_s * NS_PER_S,
        venue_ms=at_s * 1000,
        side=1,
        px=px,
        sz=sz,
        fee_usd=0.1,
        position_sz=sz,
        mid_px=px,
        rung=1,
        tid=at_s,
        oid=at_s,
        is_taker=False,
        is_forced=False,
        where="",
    )


def test_both_totals_say_at_which_price_they_are(tmp_path: Path) -> None:
    """The mid of the run's own summary is not the mark of the venue's account."""
    run = play(tmp_path, seed=3, span_s=120, prepare=inherit(Side.BUY, 300.0))
    summary = loaded_summary(tmp_path)
    found = write_report(tmp_path)

    ended = "\n".join(summary_lines(summary))
    told = "\n".join(_lines(tmp_path, found))

    assert summary["position_sz"]
    assert re.search(r"total +\S+ USD, what is held at the mid\n", ended)
    assert (
        f"total     {words.usd(found.split.total_usd)} USD, what is held at the venue's mark"
        in told
    )
    state = run.state()["assetPositions"][0]["position"]
    mark_px = float(state["positionValue"]) / abs(float(state["szi"]))
    assert found.split.end_px == pytest.approx(mark_px, rel=1e-4)


def loaded_summary(folder: Path) -> dict[str, Any]:
    """`summary.json` of a folder."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return found
