"""The command line as a whole: commands, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from mmbot.errors import Exit, MmbotError
from mmbot.logs import stderr_line

TRACEBACK_ENV: Final = "MMBOT_TRACEBACK"
"""Set to anything, it lets the traceback of a bug through."""
COMMANDS: Final = ("run", "check", "backtest", "reset", "exchange")
"""Each is a function of the same name in a module of the same name."""


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"mmbot {version('mmbot')}")
        raise typer.Exit


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


def build(arguments: Sequence[str]) -> typer.Typer:
    """
    The application with the command that `arguments` name, or with all of them.

    A command's modules are imported only when it is wanted: the daemon and the exchange it starts
    begin at the same moment, and each would wait for what only the other needs.
    """
    app = typer.Typer(
        name="mmbot",
        help="A market maker for one Hyperliquid perp, and an emulated exchange to run it on.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    wanted = [name for name in COMMANDS if arguments and arguments[0] == name]
    for name in wanted or COMMANDS:
        app.command(name)(getattr(import_module(f"mmbot.cli.{name}"), name))
    return app


def main() -> NoReturn:
    """Run a command; an error of ours is one message and its exit code, never a traceback."""
    try:
        build(sys.argv[1:])(standalone_mode=True)
    except MmbotError as error:
        for line in str(error).splitlines():
            stderr_line(f"mmbot: {line}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        # A command that has begun says itself what an interrupt ended.
        stderr_line("mmbot: interrupted before anything was begun")
    except Exception as error:
        if os.environ.get(TRACEBACK_ENV):
            raise
        stderr_line(f"mmbot: internal error: {type(error).__name__}: {error}")
        stderr_line(f"mmbot: this is a bug; with {TRACEBACK_ENV}=1 it shows where it happened")
        sys.exit(Exit.FAILED)
    sys.exit(Exit.OK)
