"""The command line as a whole: commands, and what becomes of an error."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from mmbot.cli import backtest, check, exchange, reset, run
from mmbot.errors import Exit, MmbotError
from mmbot.logs import stderr_line

app = typer.Typer(
    name="mmbot",
    help="A market maker for one Hyperliquid perp, and an emulated exchange to run it on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("check")(check.check)
app.command("backtest")(backtest.backtest)
app.command("reset")(reset.reset)
app.command("exchange")(exchange.exchange)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"mmbot {version('mmbot')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options before the command."""
    del show_version


def main() -> NoReturn:
    """Run a command; an error of ours is one message and its exit code, never a traceback."""
    try:
        app(standalone_mode=True)
    except MmbotError as error:
        for line in str(error).splitlines():
            stderr_line(f"mmbot: {line}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        stderr_line("mmbot: interrupted")
        sys.exit(Exit.FAILED)
    sys.exit(Exit.OK)
