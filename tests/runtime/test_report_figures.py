"""The figures of a report against the books of the venue and the words of the run itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmbot.emulator import budgets
from mmbot.runtime.report.write import write_report
from runtime.pipe_rig import PipeRun
from runtime.report_rig import loaded, play, spend


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


def loaded_summary(folder: Path) -> dict[str, float]:
    """`summary.json` of a folder."""
    found: dict[str, float] = json.loads((folder / "summary.json").read_text("utf-8"))
    return found
