"""What the commands that ask a running daemon share: which run, and what is said without one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mmbot.cli.options import Overrides, echo, json_text, show
from mmbot.errors import Exit, StateError
from mmbot.runtime import asking
from mmbot.runtime.asking import LIVE, Kept, ask, read_files
from mmbot.runtime.statustext import kept_lines

Run = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="Folder of a run, or `latest`; default: what --config says, or latest.",
    ),
]
RunConfig = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Find the run of this configuration."),
]

__all__ = ["Overrides", "Run", "RunConfig", "answer_of", "find", "print_kept", "say"]


def find(run: str | None, config: Path | None, overrides: Sequence[str]) -> Path:
    """The folder of the run that is meant, under its own name: `latest` may be another one soon."""
    return asking.find(run, config, overrides).resolve()


def answer_of(run_dir: Path, cmd: str, *, as_json: bool) -> dict[str, Any]:
    """
    The answer of the daemon of a run; without one, what its files say is printed, and the end.

    Raises:
        StateError: It refused the question.
        typer.Exit: There is no live daemon; 1.
    """
    heard = ask(run_dir, cmd)
    if heard.how != LIVE or heard.reply is None:
        print_kept(read_files(run_dir, heard), as_json=as_json)
        raise typer.Exit(Exit.FAILED)
    if not heard.reply.get("ok"):
        raise StateError(str(heard.reply.get("error")))
    return heard.reply


def print_kept(kept: Kept, *, as_json: bool) -> None:
    """What is left of a run that is not live."""
    now_ns = time.time_ns()
    if not as_json:
        show(kept_lines(kept, now_ns))
        return
    age_s = None if kept.as_of_ns is None else (now_ns - kept.as_of_ns) / 1e9
    say({"is_live": False, "age_s": age_s, **msgspec.structs.asdict(kept)})


def say(facts: dict[str, Any]) -> None:
    """JSON on one line."""
    echo(json_text(facts))
