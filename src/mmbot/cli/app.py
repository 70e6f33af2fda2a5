"""The command line as a whole: commands, and what becomes of an error."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from mmbot import early
from mmbot.errors import Exit, MmbotError
from mmbot.logs import stderr_line

TRACEBACK_ENV: Final = "MMBOT_TRACEBACK"
"""Set to anything, it lets the traceback of a bug through."""
_KEY: Final = re.compile(r"(?:--(?!set=)[a-z-]+=)?(?:0x)?[0-9a-fA-F]{64}")
"""An argument that is a private key, whatever it was meant to be."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
COMMANDS: Final = (
    "run",
    "check",
    "selftest",
    "status",
    "why",
    "tail",
    "top",
    "stop",
    "reload",
    "flatten",
    "kill",
    "reset",
    "watchdog",
    "replay",
    "report",
    "backtest",
    "lab",
    "exchange",
)
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
    code = _run(sys.argv[1:])
    if early.take(signal.SIGUSR1):
        stderr_line(early.UNLATCHED)
    _flush()
    sys.exit(Exit.KILLED if early.is_killed() else code)


def _run(arguments: Sequence[str]) -> int:
    if any(_KEY.fullmatch(argument.strip()) for argument in arguments):
        # The parser and the commands repeat in their messages what they cannot use.
        stderr_line(
            "mmbot: one of the arguments (not shown) may be a private key: whoever is on this "
            "machine can read arguments, so replace it if it is one; keys come from the "
            "environment or a key file of mode 0600"
        )
        return Exit.CONFIG
    try:
        app = build(arguments)
        gc.freeze()
        gc.enable()
        if list(arguments[:1]) != ["run"]:
            # `run` has handlers of its own as soon as there is something to end.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app(list(arguments), standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.OK
    except MmbotError as error:
        for line in str(error).splitlines():
            stderr_line(f"mmbot: {line}")
        return error.exit_code
    except KeyboardInterrupt:
        # A command that has begun says itself what an interrupt ended.
        stderr_line("mmbot: interrupted before anything was begun")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            # From the help or the version, which the command line's library prints.
            stderr_line(f"mmbot: standard output: {error.strerror}; write it elsewhere")
            return Exit.FAILED
        if os.environ.get(TRACEBACK_ENV):
            raise
        stderr_line(f"mmbot: internal error: {type(error).__name__}: {error}")
        stderr_line(f"mmbot: this is a bug; with {TRACEBACK_ENV}=1 it shows where it happened")
        return Exit.FAILED
    return Exit.OK


def _flush() -> None:
    """Let what standard output could not take go, or the interpreter complains about it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
