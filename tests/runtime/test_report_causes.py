"""
The right cause ranks first, and a sound run is suspected of nothing.

A part of what `benchmarks/causes.py` measures over thirty runs, on other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbot.config import load
from mmbot.core.types import NS_PER_MS, Side
from mmbot.emulator.scenarios import build_venue
from mmbot.runtime.report.causes import suspects
from mmbot.runtime.report.causes.base import Case, Cause
from mmbot.runtime.report.report import read
from mmbot.runtime.report.write import write_report
from mmbot.runtime.whatif import flips
from runtime.pipe_rig import CONFIG, EQUITY_USD, PipeRun
from runtime.report_faults import FAULTS, SOUND, TWENTY
from runtime.report_rig import WIDE, Fault, inherit, late, loaded, play
from support import IS_THOROUGH

SEED = 41


@pytest.fixture(autouse=True)
def unplayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market is played again after a flip: a cause is told without."""
    if not IS_THOROUGH:
        monkeypatch.setattr(flips, "MOST", 0)


@pytest.mark.parametrize(
    "name",
    ["skew cut", "fee wrong", "feed stale", "latency", "disconnects", "clock", "rejects", "kill"],
)
def test_the_fault_of_a_run_is_its_first_suspect(tmp_path: Path, name: str) -> None:
    """Each with its figures and its place in the journal, or a person has to search again."""
    play(tmp_path, scenario=TWENTY[name], seed=SEED, span_s=180, fault=FAULTS[name])

    _, found = read(tmp_path)

    assert found.causes, "nothing was suspected"
    first = found.causes[0]
    assert first.name in FAULTS[name].causes
    assert first.evidence
    assert first.follows == ""
    assert name == "latency" or first.where.startswith(("record", "log.jsonl"))
    assert first.title in found.verdict


@pytest.mark.parametrize("name", ["demo", "rising", "whipsaw"])
def test_a_sound_run_is_suspected_of_nothing(tmp_path: Path, name: str) -> None:
    """A report that always finds something is read by nobody after a week."""
    market = SOUND[name]
    fault = Fault((), market=market.market, prepare=market.prepare)
    run = play(tmp_path, scenario=market.scenario, seed=SEED, span_s=300, fault=fault)

    _, found = read(tmp_path)

    assert [(cause.name, cause.text) for cause in found.causes] == []
    assert run.fills()


def test_no_two_sound_markets_move_alike() -> None:
    """Ten runs in one market are one run: at one seed every path is another."""
    paths = set()
    for each in SOUND.values():
        _, market = build_venue(
            "HYPE", each.scenario, overrides=each.market, seed=SEED, now_ms=0, accounts=()
        )
        path = []
        for at_s in range(15, 121, 15):
            market.advance(at_s * 1000)
            path.append(market.mid_px)
        paths.add(tuple(path))
    assert len(paths) == len(SOUND)


LIMITED = (*WIDE, "risk.max_position_usd=60")
FULL_USD = 5 * EQUITY_USD
FIVE_TIMES = (
    *WIDE,
    f"risk.max_position_usd={FULL_USD:g}",
    f"risk.capital_usd={EQUITY_USD:g}",
    "risk.leverage=6",
)


def test_a_limit_of_our_own_is_no_market_that_is_shut(tmp_path: Path) -> None:
    """A side that is full has nothing to do with the venue."""
    play(tmp_path, scenario="hype", seed=SEED, span_s=240, sets=LIMITED)

    _, found = read(tmp_path)

    assert found.suppressed_s["bid"].get("budget below one order", 0.0) > 10
    assert [cause.name for cause in found.causes] == []


def test_a_position_that_the_limit_allows_is_not_too_large(tmp_path: Path) -> None:
    """Five times the capital is a valid limit; the figures of the emulator are not everybody's."""
    play(
        tmp_path, seed=SEED, span_s=60, sets=FIVE_TIMES, prepare=inherit(Side.BUY, 0.96 * FULL_USD)
    )

    _, found = read(tmp_path)

    assert found.overview.position_max_frac is not None
    assert found.overview.position_max_frac > 0.93
    assert "size" not in [cause.name for cause in found.causes]


@pytest.mark.parametrize("offset_ms", [800, -700])
def test_a_clock_that_is_off_is_named_and_no_price_is_called_late(
    tmp_path: Path, offset_ms: int
) -> None:
    """A constant difference ages every price, and a clock that is behind hides one that is late."""
    play(tmp_path, seed=SEED, span_s=90, set_ns=offset_ms * NS_PER_MS)

    (cause,) = read(tmp_path)[1].causes

    assert cause.name == "clock:offset"
    assert cause.evidence[0].value == pytest.approx(offset_ms, abs=60)


@pytest.mark.parametrize("offset_ms", [0, -700])
def test_prices_that_are_late_are_told_from_a_clock(tmp_path: Path, offset_ms: int) -> None:
    """The venue sends every price 900 ms late and answers at once, whatever our clock says."""
    fault = Fault((), begun=late(900))
    play(tmp_path, seed=SEED, span_s=90, fault=fault, set_ns=offset_ms * NS_PER_MS)

    found = {cause.name: cause for cause in read(tmp_path)[1].causes}

    assert ("clock:offset" in found) is bool(offset_ms)
    assert "age on arrival" in found["feed"].evidence[1].what
    assert found["feed"].evidence[1].value == pytest.approx(950, abs=60)


def test_a_reload_that_switches_a_term_off_is_the_cause_of_it(tmp_path: Path) -> None:
    """The configuration of the start says nothing of what was changed an hour later."""

    def reload(run: PipeRun) -> None:
        run.trader.reconfigure(load(CONFIG, [*WIDE, "cascade.gain=0"]))

    play(tmp_path, seed=SEED, span_s=300, acts=((0.5, reload),))

    write_report(tmp_path)

    found = loaded(tmp_path)
    causes = [(cause["name"], cause["follows"]) for cause in found["causes"]]
    assert causes[:2] == [("reload", ""), ("term:cascade", "reload")]
    assert "cascade.gain" in found["causes"][0]["text"]
    assert "-> 0.0" in found["causes"][0]["text"]
    (moment,) = [it for it in found["timeline"] if it["kind"] == "reload"]
    assert "cascade.gain" in moment["text"]
    assert moment["where"].startswith("record")


def test_a_reload_that_harms_nothing_is_told_and_not_suspected(tmp_path: Path) -> None:
    """Parameters are changed because somebody knows better, most of the time."""

    def reload(run: PipeRun) -> None:
        run.trader.reconfigure(load(CONFIG, [*WIDE, "quoter.half_spread_bps_min=9"]))

    play(tmp_path, seed=SEED, span_s=180, acts=((0.5, reload),))

    _, found = read(tmp_path)

    assert found.causes == []
    assert [it.text for it in found.timeline if it.kind == "reload"] == [
        "quoter.half_spread_bps_min 8.0 -> 9.0"
    ]


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
