"""
Sessions on demand: what was run is kept seed by seed, and only what is missing is run.

Every table draws on the same sessions: a world, some settings, a variant and a seed are run once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, log
from statistics import fmean
from time import monotonic
from typing import Final

import msgspec
import numpy as np
from benchmarks.tables.kept import REPO, Clock, Json, Kept, say

from mmbot.cli.lab import lab_setup
from mmbot.core.engine import EngineParams
from mmbot.runtime.lab.measure import Outcome
from mmbot.runtime.lab.runner import PILOT_OFFSET, Setup, solve_width
from mmbot.runtime.lab.session import Plan, run_session
from mmbot.runtime.lab.statistics import Floats
from mmbot.runtime.lab.variants import CONTROL, Variant, at_law, build, control, law_of
from mmbot.runtime.workers import Workers

LUCK: Final = "luck_usd"
KEPT: Final = (
    "pnl_usd",
    LUCK,
    "fills",
    "calm_two_sided_frac",
    "markout_5s_bps",
    "final_q_frac",
    "max_q_frac",
    "opposed_frac",
    "max_drawdown_pct",
    "requests",
    "kill_trips",
)
BLOCK: Final = 10
"""Seeds run at once: what an interruption can cost."""
LIMIT: Final = "risk.max_position_usd=500"
"""The limit of the reference's tables."""
FIRST_SEED: Final = 1
PILOTS: Final = 8
"""Sessions by which each width of the control is tried: the same for all widths, so few will do."""
_TRIALS: Final = 5
"""Widths that are usually tried, the fills of `all` among them."""
_DIGITS: Final = 6
_GUESS_S: Final = 2.0
"""What a session takes of one core before any was run."""


class Case(msgspec.Struct, frozen=True):
    """A world with some keys set, by a name that is a file's."""

    name: str
    scenario: str
    sets: tuple[str, ...] = (LIMIT,)
    config: str = "emulator.toml"
    minutes: float = 25.0


def world(scenario: str) -> Case:
    """A world as it is."""
    return Case(scenario, scenario)


class Samples(msgspec.Struct):
    """The sessions of one case: by variant, metric and seed."""

    case: Case
    control_half_bps: float | None
    variants: dict[str, dict[str, list[float | None]]]

    def seeds(self, *names: str) -> int:
        """How many seeds all of these variants have."""
        return min(len(self.variants.get(name, {}).get("pnl_usd", ())) for name in names)

    def paired(self, metric: str, *names: str) -> tuple[Floats, ...]:
        """A metric of several variants on the seeds on which all of them have it."""
        count = self.seeds(*names)
        columns = [
            np.array(
                [np.nan if value is None else value for value in self.column(name, metric)[:count]]
            )
            for name in names
        ]
        there = np.ones(count, dtype=np.bool_)
        for column in columns:
            there &= ~np.isnan(column)
        return tuple(column[there] for column in columns)

    def profits(self, *names: str) -> tuple[Floats, ...]:
        """
        Profits of several variants on common seeds, of which to take means, never deviations.

        Less the luck of the position where the market lets it be told (`Session.luck_usd`): a
        control variate of mean zero, so that the mean is the same and its interval narrower.
        """
        profits = self.paired("pnl_usd", *names)
        if any(None in self.column(name, LUCK) for name in names):
            return profits
        lucks = self.paired(LUCK, *names)
        return tuple(usd - luck for usd, luck in zip(profits, lucks, strict=True))

    def column(self, name: str, metric: str) -> list[float | None]:
        """A metric of a variant, seed by seed; None where a session had no case of it."""
        return self.variants.get(name, {}).get(metric, [])


class Lab:
    """
    Runs what is missing.

    Args:
        kept: Where sessions are kept.
        pool: Processes.
        cores: How many they are.
    """

    def __init__(self, kept: Kept, pool: Workers, cores: int) -> None:
        self.kept = kept
        self.pool = pool
        self._cores = cores
        self._session_s = _GUESS_S
        self._samples: dict[str, Samples] = {}
        self._setups: dict[str, Setup] = {}

    # -- what a case is made of -------------------------------------------------------------------

    def setup(self, case: Case) -> Setup:
        """What `mmbot lab` would set up."""
        if case.name not in self._setups:
            self._setups[case.name] = lab_setup(
                case.scenario,
                REPO / "configs" / case.config,
                case.sets,
                seeds=BLOCK,
                first_seed=FIRST_SEED,
                minutes=case.minutes,
            )
        return self._setups[case.name]

    def at_law(self, case: Case) -> tuple[EngineParams, float]:
        """Parameters at the width of the world, and the fee, bps."""
        setup = self.setup(case)
        fee_bps = setup.fee_bps()
        return at_law(setup.shipped, law_of(case.scenario), fee_bps, setup.keep), fee_bps

    def plan(self, case: Case, name: str, seed: int) -> Plan:
        """One session."""
        return self.setup(case).plan(self._variant(case, name), seed)

    def _variant(self, case: Case, name: str) -> Variant:
        params, fee_bps = self.at_law(case)
        if name == CONTROL:
            half = self.of(case).control_half_bps
            assert half is not None
            return control(params, half, fee_bps)
        return build(name, self.setup(case).shipped, params)

    # -- sessions ---------------------------------------------------------------------------------

    def of(self, case: Case) -> Samples:
        """What there is of a case."""
        if case.name not in self._samples:
            told = self.kept.load(f"lab/{case.name}")
            empty = Samples(case, None, {})
            self._samples[case.name] = empty
            if told is not None and _is_whole(told, case):
                self._samples[case.name] = Samples(case, told["control_half_bps"], told["variants"])
        return self._samples[case.name]

    def sample(self, case: Case, names: Sequence[str], seeds: int, clock: Clock) -> Samples:
        """Let variants have so many seeds, or as many as there is time for."""
        samples = self.of(case)
        if CONTROL in names and samples.control_half_bps is None:
            if clock.left_s < self._estimate_s(_TRIALS * PILOTS):
                names = [name for name in names if name != CONTROL]
            else:
                samples.control_half_bps = self._solve(case)
                self._save(case)
        for first in range(0, seeds, BLOCK):
            last = min(first + BLOCK, seeds)
            wanted = [
                (name, seed)
                for name in names
                for seed in range(max(first, samples.seeds(name)), last)
            ]
            if not wanted:
                continue
            if clock.left_s < self._estimate_s(len(wanted)):
                break
            self._run(case, wanted)
        return samples

    def _estimate_s(self, sessions: int) -> float:
        return self._session_s * ceil(sessions / self._cores)

    def timed(self, plans: Iterable[Plan]) -> list[Outcome]:
        """Outcomes, with a lesson in how long they take."""
        plans = list(plans)
        began = monotonic()
        found = list(self.pool.each(run_session, plans))
        self.learn(monotonic() - began, len(plans))
        return found

    def learn(self, took_s: float, sessions: int) -> None:
        """Remember what a session takes of a core."""
        if sessions:
            self._session_s += 0.3 * (took_s / ceil(sessions / self._cores) - self._session_s)

    def time_for(self, sessions: int, clock: Clock) -> bool:
        """Whether so many sessions fit in what is left."""
        return clock.left_s >= self._estimate_s(sessions)

    def _run(self, case: Case, wanted: list[tuple[str, int]]) -> None:
        began = monotonic()
        setup = self.setup(case)
        chosen = {name: self._variant(case, name) for name, _ in wanted}
        found = self.timed(setup.plan(chosen[name], FIRST_SEED + seed) for name, seed in wanted)
        samples = self.of(case)
        for (name, _), outcome in zip(wanted, found, strict=True):
            columns = samples.variants.setdefault(name, {metric: [] for metric in KEPT})
            for metric in KEPT:
                columns[metric].append(_short(getattr(outcome, metric)))
        self._save(case)
        names = ", ".join(dict.fromkeys(name for name, _ in wanted))
        say(f"  {case.name}: {len(wanted)} sessions in {monotonic() - began:.0f} s ({names})")

    def _save(self, case: Case) -> None:
        samples = self.of(case)
        told: Json = {
            "scenario": case.scenario,
            "sets": list(case.sets),
            "first_seed": FIRST_SEED,
            "control_half_bps": samples.control_half_bps,
            "variants": samples.variants,
        }
        self.kept.save(f"lab/{case.name}", told, indent=None)

    def _solve(self, case: Case) -> float:
        """Width of the control, by pilots that appear in no table."""
        setup = self.setup(case)
        params, fee_bps = self.at_law(case)
        first = FIRST_SEED + PILOT_OFFSET

        def fills(variant: Variant) -> float:
            plans = [setup.plan(variant, seed) for seed in range(first, first + PILOTS)]
            return fmean(it.fills for it in self.timed(plans))

        every = build("all", setup.shipped, params)
        half = solve_width(fills, every, params, fee_bps, setup.market.k_per_bp)
        say(f"  {case.name}: the control quotes {half:.2f} bps")
        return half


def _is_whole(told: Json, case: Case) -> bool:
    """Whether these are sessions of the case, with every metric of every seed: rows are paired."""
    asked = {"sets": list(case.sets), "scenario": case.scenario, "first_seed": FIRST_SEED}
    variants = told.get("variants")
    if any(told.get(key) != value for key, value in asked.items()):
        return False
    if not isinstance(variants, dict) or "control_half_bps" not in told:
        return False
    return all(
        isinstance(columns, dict)
        and set(columns) == set(KEPT)
        and all(_is_column(values) for values in columns.values())
        and len({len(values) for values in columns.values()}) == 1
        for columns in variants.values()
    )


def _is_column(values: object) -> bool:
    return isinstance(values, list) and all(
        value is None or isinstance(value, int | float) for value in values
    )


def _short(value: float | None) -> float | None:
    """So many digits that no table shows the difference: the files stay small."""
    if value is None or value == 0:
        return value
    if isinstance(value, int):
        return value
    return round(value, max(0, _DIGITS - 1 - int(log(abs(value), 10))))
