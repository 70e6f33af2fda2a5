"""
Many seeds of a scenario under several variants, on all cores, paired on common random numbers.

A seed is one market: every variant meets the same fair price, the same takers and the same sweeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Final

import msgspec

from mmbot.core.engine import EngineParams
from mmbot.emulator.market import MarketParams
from mmbot.emulator.scenarios import scenario_params
from mmbot.errors import ConfigError
from mmbot.runtime.lab.session import Latency, Result, Session, Venture
from mmbot.runtime.lab.variants import (
    CAPITAL_USD,
    CONTROL,
    VARIANTS,
    Variant,
    build,
    lab_params,
    law_of,
)

_PILOT_SEEDS: Final = 12
_PILOT_FIRST: Final = 900_000
"""Seeds on which the width of `control` is found; none of them is reported."""
_CONTROL_ROUNDS: Final = 6
_CONTROL_BPS_MAX: Final = 16.0


class Plan(msgspec.Struct, frozen=True):
    """What to run."""

    scenario: str
    variants: tuple[str, ...]
    seeds: int
    first_seed: int = 0
    minutes: float = 25.0
    is_mirrored: bool = False
    ends_on_kill: bool = False
    latency_ms: int = 50
    overrides: dict[str, Any] = {}
    """Figures of the market that differ from the scenario's."""


class Job(msgspec.Struct, frozen=True):
    """One session of one variant."""

    variant: Variant
    params: bytes
    """`EngineParams` as JSON: what is sent between processes."""
    market: bytes
    scenario: str
    seed: int
    minutes: float
    latency_ms: int
    ends_on_kill: bool


def play(job: Job) -> Result:
    """Run one session; a function of its argument alone."""
    given = EngineParams.model_validate_json(job.params)
    params = lab_params(given, job.scenario, job.variant, ends_on_kill=job.ends_on_kill)
    law = law_of(job.scenario)
    venture = Venture(
        market=MarketParams.model_validate_json(job.market),
        seed=job.seed,
        minutes=job.minutes,
        maker_bps=law.maker_bps,
        capital_usd=given.risk.capital_usd if job.variant.is_shipped else CAPITAL_USD,
        loss_frac=given.risk.loss_limit_frac,
        drawdown_frac=given.risk.drawdown_limit_frac,
        latency=Latency(feed_ms=job.latency_ms // 2, order_ms=job.latency_ms),
    )
    return Session(venture, lambda instrument: build(params, job.variant, instrument)).run()


class Lab:
    """A pool of processes that plays sessions; a context manager."""

    def __init__(self, workers: int | None = None) -> None:
        self._pool = ProcessPoolExecutor(
            workers or os.cpu_count() or 1, mp_context=get_context("spawn")
        )

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(
        self,
        plan: Plan,
        params: EngineParams,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, tuple[Result, ...]]:
        """
        Results of every variant, in the order of the seeds.

        Args:
            plan: What to run.
            params: The configured engine.
            on_progress: Told how many sessions of how many are done.

        Raises:
            ConfigError: An unknown scenario, variant or market figure.
        """
        variants = {name: self._variant(name, plan, params) for name in plan.variants}
        jobs = {
            (name, seed): self._job(plan, params, variant, seed)
            for name, variant in variants.items()
            for seed in range(plan.first_seed, plan.first_seed + plan.seeds)
        }
        waiting: dict[Future[Result], tuple[str, int]] = {
            self._pool.submit(play, job): key for key, job in jobs.items()
        }
        done: dict[tuple[str, int], Result] = {}
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
            if on_progress is not None:
                on_progress(len(done), len(jobs))
        return {
            name: tuple(
                done[name, seed] for seed in range(plan.first_seed, plan.first_seed + plan.seeds)
            )
            for name in variants
        }

    def _job(self, plan: Plan, params: EngineParams, variant: Variant, seed: int) -> Job:
        market = scenario_params(plan.scenario, plan.overrides)
        if plan.is_mirrored:
            market = market.model_copy(update={"is_mirrored": not market.is_mirrored})
        return Job(
            variant=variant,
            params=params.model_dump_json().encode(),
            market=market.model_dump_json().encode(),
            scenario=plan.scenario,
            seed=seed,
            minutes=plan.minutes,
            latency_ms=plan.latency_ms,
            ends_on_kill=plan.ends_on_kill,
        )

    def _variant(self, name: str, plan: Plan, params: EngineParams) -> Variant:
        if name == CONTROL:
            return self._control(plan, params)
        variant = VARIANTS.get(name)
        if variant is None:
            names = ", ".join((*VARIANTS, CONTROL))
            raise ConfigError(f"--variants {name}: no such variant; use some of {names}")
        return variant

    def _fills(self, plan: Plan, params: EngineParams, variant: Variant) -> float:
        pilot = msgspec.structs.replace(plan, first_seed=_PILOT_FIRST)
        jobs = [self._job(pilot, params, variant, _PILOT_FIRST + n) for n in range(_PILOT_SEEDS)]
        return sum(result.fills for result in self._pool.map(play, jobs)) / _PILOT_SEEDS

    def _control(self, plan: Plan, params: EngineParams) -> Variant:
        """`base` as much wider as gives it the fills of `all`, by bisection on pilot seeds."""
        wanted = self._fills(plan, params, VARIANTS["all"])
        base = VARIANTS["base"]
        low, high = 0.0, _CONTROL_BPS_MAX
        for _ in range(_CONTROL_ROUNDS):
            middle = (low + high) / 2
            wider = msgspec.structs.replace(base, name=CONTROL, extra_half_bps=middle)
            if self._fills(plan, params, wider) > wanted:
                low = middle
            else:
                high = middle
        return msgspec.structs.replace(base, name=CONTROL, extra_half_bps=(low + high) / 2)
