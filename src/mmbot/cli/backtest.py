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


def backtest(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    config: ConfigFile,
    coin: Annotated[
        str | None,
        typer.Option(help="Coin of the recording; default: the configuration's instrument."),
    ] = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Run the engine over a recording; orders fill only by recorded trades, behind the queue."""
    settings = load(config, overrides or ())

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            stderr_line(text)

    result = run_backtest(
        recording,
        coin or settings.instrument.wire_coin,
        settings.engine,
        params=settings.backtest,
        on_progress=progress,
    )
    echo(msgspec.json.encode(result).decode() if as_json else render(result))
