"""`mmbot lab`: the engine itself in a synthetic market, many seeds, paired variants."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Final

import msgspec
import typer

from mmbot.cli.options import AsJson, ConfigFile, Overrides, echo
from mmbot.config import load
from mmbot.emulator.scenarios import SCENARIOS
from mmbot.errors import ConfigError, Exit
from mmbot.runtime.lab import avellaneda
from mmbot.runtime.lab.measure import outcomes
from mmbot.runtime.lab.render import as_json as told
from mmbot.runtime.lab.render import lines
from mmbot.runtime.lab.runner import Lab, Plan
from mmbot.runtime.lab.variants import ABLATION, CONTROL, USUAL

THEORY: Final = "avellaneda-stoikov"
_THEORY_PATHS: Final = 20_000


def lab(
    scenario: Annotated[str, typer.Argument(help=f"A world ({', '.join(SCENARIOS)}) or {THEORY}.")],
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    seeds: Annotated[int, typer.Option(min=1, max=100_000, help="Sessions a variant.")] = 20,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="First of them.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="Market time each.")] = 25.0,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Each of the four fixes alone and left out.")
    ] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Also a uniformly wider quoter with as many fills.")
    ] = False,
    variants: Annotated[
        str | None, typer.Option(help="Variants by name, separated by commas.")
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Every price upside down.")] = False,
    kill: Annotated[
        str, typer.Option(help="on: loss and drawdown limits end a session; off: counted only.")
    ] = "off",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare variants of the engine in a synthetic market, in accelerated time."""
    settings = load(config, overrides or ())
    if kill not in ("on", "off"):
        raise ConfigError(f"--kill {kill}: write on or off")
    if scenario == THEORY:
        _theory(seeds, first_seed, as_json=as_json)
        return
    if scenario not in SCENARIOS:
        known = ", ".join((*SCENARIOS, THEORY))
        raise ConfigError(f"{scenario}: not a scenario; use one of {known}")
    names = variants.split(",") if variants else ABLATION if ablate else USUAL
    if control:
        names = (*names, CONTROL)
    plan = Plan(
        scenario=scenario,
        variants=tuple(dict.fromkeys(name.strip() for name in names)),
        seeds=seeds,
        first_seed=first_seed,
        minutes=minutes,
        is_mirrored=mirror,
        ends_on_kill=kill == "on",
        latency_ms=settings.emulator.latency_ms,
        overrides=settings.market,
    )
    progress = _Progress()
    with Lab(workers) as pool:
        found = outcomes(pool.run(plan, settings.engine, progress))
    progress.end()
    if as_json:
        echo(msgspec.json.encode(told(plan, found)).decode())
    else:
        echo("\n".join(lines(plan, found)))


def _theory(seeds: int, first_seed: int, *, as_json: bool) -> None:
    """The tables of 2008; `seeds` in thousands of paths where more than the usual are wanted."""
    paths = max(_THEORY_PATHS, seeds * 1000)
    rows = [avellaneda.simulate(case, paths, first_seed) for case in avellaneda.CASES]
    if as_json:
        told_rows = [{**msgspec.to_builtins(row), "errors": row.errors} for row in rows]
        echo(msgspec.json.encode({"paths": paths, "rows": told_rows}).decode())
    else:
        echo("\n".join(avellaneda.lines(rows, paths)))
    if not all(row.agrees for row in rows):
        raise typer.Exit(Exit.FAILED)


class _Progress:
    """One line on a terminal's standard error: how many, and how long it takes still."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self._is_shown:
            left_s = (time.monotonic() - self._began_s) / done * (total - done)
            sys.stderr.write(f"\r{done} of {total} sessions, {left_s:.0f} s left   ")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r" + " " * 48 + "\r")
