"""
The right cause ranks first, and a sound run is suspected of nothing.

A part of what `benchmarks/causes.py` measures over thirty runs, on other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbot.runtime.report.causes import suspects
from mmbot.runtime.report.causes.base import Case, Cause
from mmbot.runtime.report.report import read
from runtime.report_faults import FAULTS, SOUND, TWENTY
from runtime.report_rig import play

SEED = 41


@pytest.mark.parametrize(
    "name",
    ["skew cut", "fee wrong", "feed stale", "latency", "disconnects", "clock", "rejects", "kill"],
)
def test_the_fault_of_a_run_is_its_first_suspect(tmp_path: Path, name: str) -> None:
    """Each with its figures and its place in the journal, or a person has to search again."""
    play(tmp_path, scenario=TWENTY[name], seed=SEED, span_s=240, fault=FAULTS[name])

    _, found = read(tmp_path)

    assert found.causes, "nothing was suspected"
    first = found.causes[0]
    assert first.name in FAULTS[name].causes
    assert first.evidence
    assert first.follows == ""
    assert name == "latency" or first.where.startswith(("record", "log.jsonl"))
    assert first.title in found.verdict


@pytest.mark.parametrize("scenario", ["demo", "hype", "whipsaw"])
def test_a_sound_run_is_suspected_of_nothing(tmp_path: Path, scenario: str) -> None:
    """A report that always finds something is read by nobody after a week."""
    play(tmp_path, scenario=scenario, seed=SEED, span_s=240)

    assert [(cause.name, cause.text) for cause in read(tmp_path)[1].causes] == []


def test_what_follows_from_a_cause_stands_below_it(tmp_path: Path) -> None:
    """A trip of the switch is never the first suspect where something led to it."""
    play(tmp_path, scenario="demo", seed=SEED, span_s=120, fault=FAULTS["traded beside"])

    names = [(cause.name, cause.follows) for cause in read(tmp_path)[1].causes]

    assert names[0] == ("position", "")
    assert ("kill:foreign_fill", "position") in names


def test_every_fault_that_is_counted_is_there() -> None:
    """Twenty faults, ten sound markets."""
    assert len(TWENTY) == 20
    assert len(SOUND) == 10
    assert set(TWENTY) <= set(FAULTS)


def test_no_cause_explains_what_explains_it(tmp_path: Path) -> None:
    """However many rules fire at once, somebody stands at the top and follows from nothing."""
    play(tmp_path, scenario="demo", seed=SEED, span_s=120, fault=FAULTS["venue halted"])
    facts, report = read(tmp_path)
    case = Case(facts, report.split, report.markouts, report.sweeps, report.response)

    found: list[Cause] = suspects(case)

    assert found
    assert found[0].follows == ""
    by_name = {cause.name: cause for cause in found}
    for cause in found:
        seen = {cause.name}
        at = cause
        while at.follows:
            at = by_name[at.follows]
            assert at.name not in seen
            seen.add(at.name)
