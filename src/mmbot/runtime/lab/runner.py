"""
Many sessions on all cores: the same seeds for every variant, the same results on any machine.

Seeds decide everything, so it does not matter which process runs which session, nor in what order
they end: outcomes are collected in the order they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from math import log
from statistics import fmean
from time import monotonic
from typing import Final

import msgspec

from mmbot.core.engine import EngineParams
from mmbot.emulator.market import MarketParams
from mmbot.errors import MmbotError
from mmbot.runtime.beside import cores
from mmbot.runtime.lab.exchange import Exchange
from mmbot.runtime.lab.measure import REFERENCE, LabReport, Outcome, VariantReport, summarise
from mmbot.runtime.lab.session import Plan, Times, run_session
from mmbot.runtime.lab.variants import (
    CONTROL,
    LawName,
    Variant,
    at_law,
    build,
    control,
    law_of,
)
from mmbot.runtime.workers import Workers, workers

PILOTS: Final = 16
PILOT_OFFSET: Final = 1_000_000_000
"""Pilot seeds are far from those that are reported: a width is not fitted to its own test."""
_FILLS_OFF: Final = 0.02
"""Fills of the control are those of `all` to this share, on the pilots."""
_WIDTHS_TRIED: Final = 8
_HALF_BPS_MAX: Final = 40.0

Progress = Callable[[int, int, float], None]
"""Told the sessions done, those known to come, and the seconds left (an estimate)."""


class Setup(msgspec.Struct, frozen=True):
    """What all variants of a run share."""

    scenario: str
    coin: str
    market: MarketParams
    shipped: EngineParams
    """The configuration's own parameters."""
    seeds: int
    first_seed: int = 1
    minutes: float = 25.0
    times: Times = Times()
    has_queue: bool = True
    requests_base: int = 10_000
    block_ms: int = 1
    law: LawName = "world"
    maker_bps: float | None = None
    """Maker fee given by hand; None for the world's, or the venue's where the world has none."""
    reference_coin: str = ""
    is_mirrored: bool = False
    is_kill_on: bool = False
    keep: frozenset[str] = frozenset()
    """Dotted keys given by hand, which the law of the world does not replace."""

    @property
    def charged_bps(self) -> float | None:
        """Maker fee charged; None for the venue's own."""
        return (
            law_of(self.scenario, self.law).maker_bps if self.maker_bps is None else self.maker_bps
        )

    def fee_bps(self) -> float:
        """
        Maker fee of the account.

        Raises:
            ConfigError: The coin or its reference cannot be traded.
        """
        exchange = Exchange(
            self.coin,
            self.market,
            self.first_seed,
            equity_usd=self.shipped.risk.capital_usd,
            leverage=self.shipped.risk.leverage,
            maker_bps=self.charged_bps,
            reference_coin=self.reference_coin,
            has_queue=self.has_queue,
            requests_base=self.requests_base,
        )
        return exchange.fees.maker_bps

    def plan(self, variant: Variant, seed: int) -> Plan:
        """One session."""
        return Plan(
            coin=self.coin,
            market=self.market,
            engine=variant.engine,
            seed=seed,
            minutes=self.minutes,
            ablate=variant.ablate,
            recorded=variant.recorded,
            block_ms=self.block_ms,
            times=self.times,
            has_queue=self.has_queue,
            requests_base=self.requests_base,
            maker_bps=self.charged_bps,
            reference_coin=self.reference_coin,
            is_mirrored=self.is_mirrored,
            is_kill_on=self.is_kill_on,
        )


def run_lab(
    setup: Setup,
    names: Sequence[str],
    *,
    processes: int | None = None,
    on_progress: Progress | None = None,
) -> LabReport:
    """
    Run variants on the same seeds.

    Args:
        setup: What they share.
        names: The variants, `base` among them.
        processes: How many run at once; None for one per processor.
        on_progress: Told after every session.

    Raises:
        ConfigError: The coin cannot be traded, or a figure of the world contradicts another.
        MmbotError: It was interrupted, or a process was killed.
    """
    fee_bps = setup.fee_bps()
    law = law_of(setup.scenario, setup.law)
    world = at_law(setup.shipped, law, fee_bps, setup.keep)
    chosen = [build(name, setup.shipped, world, law.floor_bps) for name in names if name != CONTROL]
    seeds = range(setup.first_seed, setup.first_seed + setup.seeds)
    ticker = _Ticker(len(names) * len(seeds), on_progress)
    count = cores() if processes is None else processes
    try:
        with workers(count) as pool:
            width: float | None = None
            if CONTROL in names:
                width = _solve_width(setup, world, fee_bps, pool, ticker)
                chosen.insert(list(names).index(CONTROL), control(world, width, fee_bps))
            plans = [setup.plan(variant, seed) for variant in chosen for seed in seeds]
            outcomes = list(ticker.watch(pool.each(run_session, plans)))
    except KeyboardInterrupt:
        msg = f"interrupted: {ticker.done} of {ticker.total} sessions were done; no result"
        raise MmbotError(msg) from None
    except BrokenProcessPool:
        msg = f"a process died; {ticker.done} of {ticker.total} sessions were done; no result"
        raise MmbotError(msg) from None
    by_name = {
        variant.name: outcomes[n * len(seeds) : (n + 1) * len(seeds)]
        for n, variant in enumerate(chosen)
    }
    reports: dict[str, VariantReport] = {
        name: summarise(
            name,
            found,
            by_name[REFERENCE],
            half_spread_bps=width if name == CONTROL else None,
        )
        for name, found in by_name.items()
    }
    return LabReport(setup.scenario, setup.seeds, setup.first_seed, setup.minutes, reports)


def _solve_width(
    setup: Setup, world: EngineParams, fee_bps: float, pool: Workers, ticker: _Ticker
) -> float:
    """Width at which the control has as many fills as `all`, on the pilot seeds."""
    first = setup.first_seed + PILOT_OFFSET
    seeds = range(first, first + PILOTS)

    def fills(variant: Variant) -> float:
        plans = [setup.plan(variant, seed) for seed in seeds]
        ticker.total += len(plans)
        return fmean(it.fills for it in ticker.watch(pool.each(run_session, plans)))

    every = build("all", setup.shipped, world)
    return solve_width(fills, every, world, fee_bps, setup.market.k_per_bp)


def solve_width(
    fills: Callable[[Variant], float],
    every: Variant,
    world: EngineParams,
    fee_bps: float,
    k_per_bp: float,
) -> float:
    """
    Width, bps, at which the control has as many fills as `every`.

    Fills fall like exp(-k h), so that the logarithm of their number is nearly a line in h: secant.

    Args:
        fills: Mean fills of a variant.
        every: The one to match.
        world: Parameters that the control is made of.
        fee_bps: Maker fee.
        k_per_bp: A first guess of k.
    """

    def log_fills(variant: Variant) -> float:
        # Without a fill there would be no logarithm.
        return log(max(0.5 / PILOTS, fills(variant)))

    target = log_fills(every)
    adverse = world.adverse
    least = (fee_bps + adverse.a0_bps) / (1.0 - adverse.a1) + 0.5
    half = min(_HALF_BPS_MAX, max(least, world.quoter.half_spread_bps_min))
    slope = -k_per_bp
    tried: list[tuple[float, float]] = []
    for _ in range(_WIDTHS_TRIED):
        off = log_fills(control(world, half, fee_bps)) - target
        tried.append((off, half))
        if abs(off) <= _FILLS_OFF:
            break
        if len(tried) > 1:
            (off_before, before), (off_now, now) = tried[-2:]
            if abs(now - before) > 1e-9 and (off_now - off_before) * (now - before) < 0:
                slope = (off_now - off_before) / (now - before)
        wanted = min(_HALF_BPS_MAX, max(least, half - off / slope))
        if abs(wanted - half) < 1e-3:
            break
        half = wanted
    return min(tried, key=lambda item: abs(item[0]))[1]


class _Ticker:
    """Counts sessions and tells how long the rest will take."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self.total = total
        self.done = 0
        self._on_progress = on_progress
        self._began_s = monotonic()

    def watch(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Pass outcomes on, telling of each."""
        for outcome in outcomes:
            self.done += 1
            if self._on_progress is not None:
                spent_s = monotonic() - self._began_s
                left_s = spent_s / self.done * (self.total - self.done)
                self._on_progress(self.done, self.total, left_s)
            yield outcome
