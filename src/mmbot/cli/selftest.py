"""`mmbot selftest`: does every term of the quote reach the wire, with its sign and its size."""

from __future__ import annotations

from typing import Annotated

import typer

from mmbot.cli.options import AsJson, ConfigFile, Overrides, echo, json_text, show
from mmbot.config import load
from mmbot.errors import Exit
from mmbot.runtime.selftest import lines, run_selftest


def selftest(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="NAME", help="Play this row or term alone; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Perturb every input of the assembled program on the emulated exchange; read the orders it sends.

    Ends with 0 when every row is as the formulas ask, with 5 when one is not.
    """
    report = run_selftest(load(config, overrides or ()), rows=rows or None)
    if as_json:
        told = {
            "coin": report.coin,
            "is_well": report.is_well,
            "failed": [row.name for row in report.failed],
            "off": report.off,
            "rows": report.rows,
        }
        echo(json_text(told))
    else:
        show(lines(report))
    if not report.is_well:
        raise typer.Exit(Exit.CHECK)
