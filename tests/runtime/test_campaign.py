"""
The seeded campaign of faults: a hundredth of it, and what it is worth.

`make campaign` runs all of it. A failing seed here is repeated by the command in its message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from benchmarks import campaign as campaign_program
from benchmarks.campaign import complaint, figures_of

from mmbot.core.engine import Engine
from mmbot.core.events import Event, OutcomeUnknown, Snapshot
from mmbot.core.orders import Orders
from mmbot.core.position import Position
from mmbot.core.risk import Limits, Risk
from mmbot.core.triggers import KILLS
from mmbot.runtime.campaign.finish import TRIGGERS
from mmbot.runtime.campaign.run import Result, campaign, campaign_config, run
from mmbot.runtime.campaign.schedule import SIMULATED, Finish, Kind, Schedule, draw
from support import IS_THOROUGH

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
ABLATED = range(1, 13)
"""Seeds among which a build without one of its defences must be found out."""


FOUND = (
    380,  # the one order that rested was filled: it passed for a sweep of the whole ladder
    963,  # a market that is settled while nothing is held: there is nothing to trip for
    1081,  # both sides were filled at once: a sweep of one passed for one of the other
    34,  # a sweep of orders that were being moved was none
    234,  # what was swept rested elsewhere than what was wanted
    553,  # refusals that must trip, where nothing was asked for
    975,  # Ctrl+C just after the socket was lost: its fills came by no reading
)
"""Seeds that violated something once."""


FEW = (3, 8, 9, 10, 11, 14, 15, 17)
"""With those above, every kind of fault, and all but the rarest ways to end."""
SEEDS = [*(range(1, 21) if IS_THOROUGH else FEW), *FOUND]


def test_every_kind_of_fault_is_among_these() -> None:
    """Whatever is left to the thorough tests, no kind of fault is."""
    schedules = [draw(seed) for seed in (*FEW, *FOUND)]
    assert {fault.kind for schedule in schedules for fault in schedule.faults} == set(Kind)
    assert len({schedule.finish for schedule in schedules}) >= 12


@pytest.mark.parametrize("seed", SEEDS)
def test_a_faulted_run_leaves_nothing_behind_and_believes_nothing_untrue(seed: int) -> None:
    """Position, money, orders, limits and the kill switch, by the venue's own books."""
    result = run(campaign_config(CONFIG), seed)

    assert not result.violations, complaint(result, CONFIG)
    assert result.faults or result.finish == Finish.POSITION.value, "that one ends at once"


def first_violations(seeds: Iterable[int]) -> tuple[str, ...]:
    """Violations of the first seed that has any."""
    config = campaign_config(CONFIG)
    for seed in seeds:
        found = run(config, seed).violations
        if found:
            return found
    return ()


def ends_with_lost_fills(schedule: Schedule) -> bool:
    """Whether fills are lost and no new connection replays them before the end."""
    *before, last = schedule.faults
    return (
        schedule.is_calm
        and schedule.scenario == "demo"
        and not schedule.leftovers
        and (last.kind, last.channel) == (Kind.MUTE_STREAM, "userFills")
        and last.span_s > 2.5
        and all(fault.at_s + fault.span_s < last.at_s for fault in before)
    )


class _Forgetful(set[tuple[int, int, int]]):
    """A memory of fills that has never seen one."""

    def __contains__(self, key: object) -> bool:
        return False


def test_a_build_that_books_repeated_fills_again_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the dedupe every reconnection doubles what it replays."""
    begin = Position.__init__

    def init(self: Position) -> None:
        begin(self)
        self._seen = _Forgetful()

    monkeypatch.setattr(Position, "__init__", init)

    assert any("fills booked, the venue made" in text for text in first_violations(ABLATED))


def test_a_build_that_takes_no_answer_for_a_refusal_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the unknown policy an order nobody remembers rests."""

    def forget(self: Orders, event: OutcomeUnknown) -> None:
        self.slots.pop(event.cloid, None)
        self.version += 1

    monkeypatch.setattr(Orders, "on_unanswered", forget)

    assert any("orphan" in text for text in first_violations(ABLATED))


def test_a_build_that_never_compares_itself_with_the_venue_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the reconciler what a stream has lost stays lost."""
    apply = Engine.apply

    def apply_without(self: Engine, event: Event) -> None:
        if isinstance(event, Snapshot) and self.position.is_started:
            event = msgspec.structs.replace(event, fills=())
        apply(self, event)

    monkeypatch.setattr(Engine, "apply", apply_without)
    monkeypatch.setattr(Position, "reconcile", lambda *_: 0)
    monkeypatch.setattr(Position, "gap", lambda *_: 0)
    monkeypatch.setattr(Orders, "on_snapshot", lambda *_: 0)
    # Of the three such schedules before these none loses a fill.
    first = 1 if IS_THOROUGH else 2701
    seeds = (seed for seed in range(first, 8001) if ends_with_lost_fills(draw(seed)))
    found = first_violations(seeds)

    assert "believes to hold what the venue does not have" in found
    assert any("fills booked, the venue made" in text for text in found)


def test_a_build_that_takes_its_limit_for_a_larger_one_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exposure is held against the configured limit, not against what the engine makes of it."""
    q_max_lots = Limits.q_max_lots
    monkeypatch.setattr(Limits, "q_max_lots", lambda self, px: 3.0 * q_max_lots(self, px))

    assert any("everything live filled makes" in text for text in first_violations(ABLATED))


def test_a_switch_that_does_not_fire_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that must trip says so when it does not."""
    monkeypatch.setattr(Risk, "trip", lambda *_: None)
    seeds = [seed for seed in range(1, 60) if draw(seed).finish is Finish.CLOCK]

    assert "clock did not fire" in first_violations(seeds)


def test_a_seed_is_a_schedule_and_a_run() -> None:
    """A failure found once can be looked at again, whichever process made it."""
    config = campaign_config(CONFIG)

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    seeds = [7, 16]
    assert list(campaign(CONFIG, seeds, processes=2)) == [run(config, seed) for seed in seeds]


def test_a_whole_campaign_has_every_fault_and_every_end_often_enough() -> None:
    """A kind that is hardly ever drawn is not tried, whatever the number of runs says."""
    schedules = [draw(seed) for seed in range(1, 2001)]
    kinds = Counter(fault.kind for schedule in schedules for fault in schedule.faults)
    finishes = Counter(schedule.finish for schedule in schedules)

    assert set(kinds) == set(Kind)
    assert min(kinds.values()) >= 300
    assert set(finishes) == set(Finish)
    assert min(finishes.values()) >= 50
    calm = [schedule for schedule in schedules if schedule.is_calm]
    assert len(calm) >= 1000
    for schedule in calm:
        over_s = max(fault.at_s + fault.span_s for fault in schedule.faults)
        assert schedule.ends_s >= over_s + SIMULATED.calm_s


def whole_campaign(
    monkeypatch: pytest.MonkeyPatch, hits: int, runs: int = campaign_program.RUNS
) -> int:
    """Exit code of a campaign in which each kind met an order in flight so many times."""
    kinds = [kind.value for kind in Kind]
    first = Result(
        seed=1,
        finish="stop",
        trigger=None,
        sim_s=60.0,
        fills=1,
        requests=2,
        faults=dict.fromkeys(kinds, hits),
        hits=dict.fromkeys(kinds, hits),
        violations=(),
    )
    other = msgspec.structs.replace(first, faults={}, hits={})

    def made(config: Path, seeds: range, *, processes: int | None = None) -> Iterable[Result]:
        return [first if seed == 1 else other for seed in seeds]

    monkeypatch.setattr(campaign_program, "campaign", made)
    monkeypatch.setattr("sys.argv", ["campaign", "--runs", str(runs)])
    return campaign_program.main()


def test_a_campaign_that_hardly_tried_a_kind_of_fault_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No violation means nothing where the fault did not meet an order in flight."""
    assert whole_campaign(monkeypatch, 100) == 0
    assert "hits in flight: none" in capsys.readouterr().out
    assert whole_campaign(monkeypatch, 99) == 1
    assert "too few" in capsys.readouterr().out
    assert whole_campaign(monkeypatch, 0, runs=10) == 0, "a few seeds owe nothing"


def test_every_end_that_must_trip_names_a_trigger_of_the_switch() -> None:
    """Money trips by the books of the run and has no name beforehand; a stop trips nothing."""
    assert set(TRIGGERS) == set(Finish) - {Finish.STOP, Finish.GAP}
    assert set(TRIGGERS.values()) <= set(KILLS)
    assert len(set(TRIGGERS.values())) == len(TRIGGERS)


def test_a_violation_is_told_with_the_command_that_repeats_it() -> None:
    """What is found by chance is worth nothing if it cannot be found again."""
    result = Result(
        seed=4711,
        finish="stop",
        trigger=None,
        sim_s=60.0,
        fills=1,
        requests=2,
        faults={Kind.CUT.value: 2},
        hits={Kind.CUT.value: 1},
        violations=("1 orders rest after the end",),
    )
    text = complaint(result, CONFIG)
    figures = figures_of([result, msgspec.structs.replace(result, seed=1, violations=())])

    assert "1 orders rest after the end" in text
    assert "python -m benchmarks.campaign --runs 1 --first-seed 4711" in text
    assert figures["violated"] == [4711]
    assert figures["by_kind"][Kind.CUT.value] == {"faults": 4, "in_flight": 2}
