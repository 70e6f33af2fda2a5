"""`mmbot backtest`: the same engine over recorded market data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mmbot.cli.options import AsJson, ConfigFile, Overrides, echo
from mmbot.config import load
from mmbot.logs import stderr_line
from mmbot.runtime.backtest import render, run_backtest
from mmbot.runtime.widths import lines, measure_widths


def backtest(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    config: ConfigFile,
    coin: Annotated[
        str | None,
        typer.Option(help="Coin of the recording; default: the configuration's instrument."),
    ] = None,
    overrides: Overrides = None,
    *,
    widths: Annotated[
        bool, typer.Option("--widths", help="Print what each width would earn instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the engine over a recording; orders fill only by recorded trades, behind the queue."""
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
        echo(msgspec.json.encode(told).decode() if as_json else "\n".join(lines(table)))
        return
    result = run_backtest(
        recording,
        name,
        settings.engine,
        params=settings.backtest,
        on_progress=progress,
    )
    echo(msgspec.json.encode(result).decode() if as_json else render(result))
