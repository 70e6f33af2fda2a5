"""One run of the campaign from its seed, and many of them on all cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mmbot.config import Config, load
from mmbot.errors import InvariantError
from mmbot.runtime.beside import cores
from mmbot.runtime.campaign.finish import Finisher, fitted
from mmbot.runtime.campaign.inject import Injector
from mmbot.runtime.campaign.scene import COIN, Scene
from mmbot.runtime.campaign.schedule import Kind, Pace, Schedule, draw
from mmbot.runtime.campaign.stage import Stage
from mmbot.runtime.campaign.verdict import violations
from mmbot.runtime.workers import workers

SETS: Final = (
    f"instrument.coin={COIN}",
    # Money trips the switch where a price is forced, not by the noise of a lively market.
    "risk.loss_limit_frac=0.2",
    "risk.drawdown_limit_frac=0.2",
    "risk.soft_limit_frac=0.15",
    # Near enough to be reached by an end that must, out of reach of faults that overlap.
    "risk.stale_kill_s=60",
    "kill.mark_s=75",
    "kill.account_s=90",
    "kill.margin_frac=0.05",
    "kill.unwell_s=60",
    "link.backoff_max_s=4",
)
"""What the campaign sets on top of the configuration it is given."""
_LOOK_S: Final = 0.25
_STEP_S: Final = 0.05
_END_S: Final = 200.0
_ASKED: Final = 5
"""How often something has to be found untrue before it is wrong."""


class Result(msgspec.Struct, frozen=True):
    """What became of one run."""

    seed: int
    finish: str
    trigger: str | None
    sim_s: float
    fills: int
    requests: int
    faults: dict[str, int]
    hits: dict[str, int]
    """Faults by kind, and those of them with an order in flight."""
    violations: tuple[str, ...]
    discarded: tuple[str, ...] = ()
    """Violations of earlier tries of the same seed, which a machine that stood still may have
    made; only over real sockets."""


class Plan(msgspec.Struct, frozen=True):
    """A run to do: the file of its configuration, and its seed."""

    config: str
    seed: int


def campaign_config(path: Path) -> Config:
    """
    The configuration of a file as the campaign runs it.

    Raises:
        ConfigError: The file is not valid, or not with what the campaign sets.
    """
    return load(path, SETS)


def run(config: Config, seed: int) -> Result:
    """Carry the schedule of a seed out and judge what came of it."""
    return perform(config, draw(seed))[1]


def perform(config: Config, schedule: Schedule, *, level: str = "warning") -> tuple[Stage, Result]:
    """The same, with the stage as the run left it, for whoever looks further."""
    stage = Stage(fitted(config, schedule), schedule, level=level)
    stage.start()
    told = story(stage, schedule)
    while True:
        try:
            stage.sim.run_for(next(told))
        except StopIteration as end:
            return stage, end.value


def story(stage: Scene, schedule: Schedule) -> Generator[float, None, Result]:
    """
    A run from its first fault to the verdict on it, as spans, s, that are to pass.

    The stage has started. Whoever tells the story lets the time pass, simulated or real.
    """
    injector = Injector(stage, schedule)
    injector.arm()
    yield from _advance(stage, injector, schedule.ends_s)
    finisher = Finisher(stage, schedule.finish, schedule.pace)
    untrue: set[str] = set()
    if not stage.endings:
        if schedule.is_calm:
            untrue = yield from _lasting(stage, injector, schedule.pace)
        wait_s = finisher.begin()
        yield from _advance(stage, injector, wait_s, is_until_closing=True)
        if not stage.trader.closing:
            stage.trader.stop("Ctrl+C")
        finisher.relent()
        yield from _advance(stage, injector, _END_S, is_until_end=True)
    yield schedule.pace.after_s
    counts = Counter(fault.kind.value for fault in injector.begun)
    hits = Counter(fault.kind.value for fault in injector.begun if fault in injector.hits)
    kill = stage.endings[0].kill if stage.endings else None
    return Result(
        seed=schedule.seed,
        finish=schedule.finish.value,
        trigger=None if kill is None else kill.trigger,
        sim_s=stage.at_s,
        fills=len(stage.fills()),
        requests=stage.exchange.requests_seen,
        faults=dict(counts),
        hits=dict(hits),
        violations=tuple(violations(stage, finisher.must, untrue, finisher.codes)),
    )


def campaign(
    config: Path, seeds: Sequence[int], *, processes: int | None = None
) -> Iterator[Result]:
    """
    Run many seeds, each in one of so many processes (None: one for each core), in their order.

    Raises:
        ConfigError: The configuration is not valid.
    """
    campaign_config(config)
    with workers(cores() if processes is None else processes) as pool:
        yield from pool.each(_run_plan, [Plan(str(config), seed) for seed in seeds])


def _run_plan(plan: Plan) -> Result:
    return run(campaign_config(Path(plan.config)), plan.seed)


def _advance(
    stage: Scene,
    injector: Injector,
    span_s: float,
    *,
    is_until_closing: bool = False,
    is_until_end: bool = False,
) -> Generator[float, None, None]:
    """Let a span pass, looking on the way; an end that has begun or come cuts it short."""
    until_s, look_s = stage.at_s + span_s, stage.at_s
    while stage.at_s < until_s and not stage.endings:
        if is_until_closing and stage.trader.closing:
            return
        yield min(_STEP_S, max(1e-3, until_s - stage.at_s))
        injector.look()
        if stage.at_s >= look_s:
            stage.look()
            look_s = stage.at_s + _LOOK_S
    if is_until_end and not stage.endings:
        stage.trader.force()


def _lasting(stage: Scene, injector: Injector, pace: Pace) -> Generator[float, None, set[str]]:
    """
    What the program goes on believing that is not so, though nothing is wrong any more.

    Asked before the end, whose reading of the account would put it right.
    """
    lasting = stage.untrue()
    for _ in range(_ASKED):
        yield from _advance(stage, injector, pace.asked_s / _ASKED)
        lasting &= stage.untrue()
    return lasting


def total(results: Sequence[Result]) -> tuple[dict[str, int], dict[str, int]]:
    """
    Faults by kind and hits by kind over many runs, every kind named.

    Raises:
        InvariantError: A kind that no schedule knows.
    """
    faults: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for result in results:
        faults.update(result.faults)
        hits.update(result.hits)
    known = [kind.value for kind in Kind]
    if not set(faults) <= set(known):
        raise InvariantError(f"unknown kinds of fault: {set(faults) - set(known)}")
    return {name: faults[name] for name in known}, {name: hits[name] for name in known}
