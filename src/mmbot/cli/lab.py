"""`mmbot lab`: the engine in synthetic markets, its parts weighed one by one."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import msgspec
import typer

from mmbot.cli.options import AsJson, Overrides, Switch, json_text, show
from mmbot.config import load
from mmbot.emulator.scenarios import SCENARIOS, scenario_params
from mmbot.errors import CheckError, ConfigError
from mmbot.logs import stderr_line
from mmbot.runtime.lab import avellaneda, render
from mmbot.runtime.lab.measure import to_json
from mmbot.runtime.lab.runner import Setup, run_lab
from mmbot.runtime.lab.session import Times
from mmbot.runtime.lab.variants import NAMES, select

THEORY: Final = "avellaneda-stoikov"
_PATHS: Final = 20_000
_SEEDS: Final = 20
_LINE_S: Final = 30.0
"""Without a terminal, progress is a line this often."""


def lab(
    scenario: Annotated[str, typer.Argument(help=f"{', '.join(SCENARIOS)}, or {THEORY}.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration file (TOML)."),
    ] = None,
    overrides: Overrides = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help=f"Sessions of each variant (default {_SEEDS}); paths of the theory ({_PATHS}).",
        ),
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first.")] = 1,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="Length of a session, min.")
    ] = 25.0,
    variants: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"Some of {', '.join(NAMES)}.")
    ] = None,
    *,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also each mechanism alone and left out.")
    ] = False,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Show the engine the market upside down.")
    ] = False,
    kill: Annotated[
        Switch, typer.Option(help="Whether loss and drawdown limits end a session.")
    ] = Switch.OFF,
    as_json: AsJson = False,
) -> None:
    """Run the engine in a synthetic market, faster than time, with and without its parts."""
    if scenario == THEORY:
        _theory(_PATHS if seeds is None else seeds, first_seed, as_json=as_json)
        return
    if scenario not in SCENARIOS:
        raise ConfigError(_unknown(scenario))
    if config is None:
        raise ConfigError("--config is missing; name the configuration file, as for run")
    names = select(variants, is_ablation=ablate)
    setup = lab_setup(
        scenario,
        config,
        overrides or (),
        seeds=_SEEDS if seeds is None else seeds,
        first_seed=first_seed,
        minutes=minutes,
        is_mirrored=mirror,
        is_kill_on=kill is Switch.ON,
    )
    progress = _Progress(scenario)
    try:
        report = run_lab(setup, names, on_progress=progress.tell)
    finally:
        progress.end()
    show([json_text(to_json(report))] if as_json else render.lines(report))


def lab_setup(
    scenario: str,
    config: Path,
    overrides: Sequence[str],
    *,
    seeds: int,
    first_seed: int = 1,
    minutes: float = 25.0,
    is_mirrored: bool = False,
    is_kill_on: bool = False,
) -> Setup:
    """
    What a run of the laboratory is set up with, `--set` included, factors such as `2x` too.

    Raises:
        ConfigError: A file, key or value that cannot be used.
    """
    # A factor of the market is one of this scenario's figures.
    settings = load(config, [f"emulator.scenario={scenario}", *overrides], has_factors=True)
    return Setup(
        scenario=scenario,
        coin=settings.instrument.wire_coin,
        market=scenario_params(scenario, settings.market),
        shipped=settings.engine,
        seeds=seeds,
        first_seed=first_seed,
        minutes=minutes,
        times=Times(
            order_ms=settings.emulator.latency_ms,
            reply_ms=settings.emulator.reply_ms,
            feed_ms=settings.emulator.feed_ms,
        ),
        has_queue=settings.emulator.has_queue,
        requests_base=settings.emulator.requests,
        block_ms=settings.emulator.block_ms,
        law=settings.lab.law,
        maker_bps=settings.backtest.maker_fee_bps,
        reference_coin=settings.reference.coin,
        is_mirrored=is_mirrored,
        is_kill_on=is_kill_on,
        keep=frozenset(item.partition("=")[0].strip() for item in overrides),
    )


def _unknown(scenario: str) -> str:
    names = (*SCENARIOS, THEORY)
    near = difflib.get_close_matches(scenario, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"scenario {scenario!r}: is not one{hint}; use one of {', '.join(names)}"


def _theory(paths: int, seed: int, *, as_json: bool) -> None:
    """The tables of Avellaneda and Stoikov; a figure off its exact value fails the command."""
    if paths < 100:
        raise ConfigError(f"--seeds {paths}: the tables need 100 paths at least")
    rows = [avellaneda.simulate(case, paths, seed) for case in avellaneda.CASES]
    told = {"scenario": THEORY, "seeds": paths, "rows": msgspec.to_builtins(rows)}
    show([json_text(told)] if as_json else avellaneda.lines(rows, paths))
    if off := [f"{row.case.table} {row.case.name}" for row in rows if not row.agrees]:
        raise CheckError(f"{THEORY}: not the exact values: {', '.join(off)}")


class _Progress:
    """One line on standard error that says how far it is: rewritten on a terminal."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario
        self._is_terminal = sys.stderr.isatty()
        self._told_s = monotonic()
        self._is_open = False

    def tell(self, done: int, total: int, left_s: float) -> None:
        """So many sessions are done, the rest will take so long."""
        text = f"{self._scenario}: {done} of {total} sessions, {_clock(left_s)} left"
        if self._is_terminal:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"\r{text}\x1b[K")
                sys.stderr.flush()
            self._is_open = True
        elif monotonic() - self._told_s >= _LINE_S:
            self._told_s = monotonic()
            stderr_line(f"mmbot: {text}")

    def end(self) -> None:
        """Leave the line clean."""
        if self._is_open:
            with suppress(OSError, ValueError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


def _clock(span_s: float) -> str:
    minutes, seconds = divmod(round(span_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
