"""`mmbot backtest`: the same engine over recorded market data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from mmbot.cli.options import AsJson, ConfigFile, Overrides, Switch, json_text, show
from mmbot.config import load
from mmbot.errors import ConfigError
from mmbot.logs import stderr_line
from mmbot.runtime.backtest import render, run_backtest
from mmbot.runtime.lab.variants import NAMES, select
from mmbot.runtime.widths import lines, measure_widths

_LONG_BYTES: Final = 200_000
"""A recording of fewer is played before another process has begun."""


def backtest(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    config: ConfigFile,
    coin: Annotated[
        str | None,
        typer.Option(help="Coin of the recording; default: the configuration's instrument."),
    ] = None,
    overrides: Overrides = None,
    variants: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"Compare some of {', '.join(NAMES)}.")
    ] = None,
    kill: Annotated[
        Switch, typer.Option(help="Whether loss and drawdown limits end a variant's run.")
    ] = Switch.OFF,
    *,
    widths: Annotated[
        bool, typer.Option("--widths", help="Print what each width would earn instead.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Compare each mechanism alone and left out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the engine over a recording; orders fill only by recorded trades, behind the queue."""
    is_comparison = variants is not None or ablate
    if widths and is_comparison:
        raise ConfigError("--widths and --variants are two tables; ask for one of them")
    settings = load(config, overrides or ())

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            stderr_line(text)

    name = coin or settings.instrument.wire_coin
    if widths:
        table = measure_widths(
            recording, name, settings.engine, params=settings.backtest, on_progress=progress
        )
        told = {**msgspec.to_builtins(table), "verdict": table.verdict}
        show([json_text(told)] if as_json else lines(table))
        return
    if is_comparison:
        # The laboratory is a part of the start that a plain backtest has no use for.
        from mmbot.runtime.lab.measure import to_json  # noqa: PLC0415
        from mmbot.runtime.lab.recorded import compare  # noqa: PLC0415
        from mmbot.runtime.lab.render import lines as render_variants  # noqa: PLC0415

        report = compare(
            recording,
            name,
            settings.engine,
            select(variants, is_ablation=ablate),
            params=settings.backtest,
            is_kill_on=kill is Switch.ON,
            on_progress=progress,
        )
        title = f"{report.scenario}: {report.minutes:.1f} minutes, once with each variant"
        show([json_text(to_json(report))] if as_json else render_variants(report, title))
        return
    result = run_backtest(
        recording,
        name,
        settings.engine,
        params=settings.backtest,
        on_progress=progress,
        processes=_processes(recording),
    )
    show([json_text(result)] if as_json else render(result).split("\n"))


def _processes(recording: Path) -> int:
    """Two where the recording is long enough, and the machine large enough, to gain by it."""
    if not recording.is_dir():
        return 1
    size = sum(it.stat().st_size for it in recording.iterdir() if it.is_file())
    if size < _LONG_BYTES:
        return 1
    from mmbot.runtime.beside import cores  # noqa: PLC0415 - a short one does without

    return min(2, cores())
