"""`mmbot stop`: end a running daemon as Ctrl+C does, and wait for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from mmbot.cli.asked import Overrides, Run, RunConfig, find, print_kept, say
from mmbot.cli.options import AsJson, echo
from mmbot.errors import Exit, StateError, VenueError
from mmbot.runtime.asking import (
    DIED,
    ENDED,
    EXPLAINING,
    GONE,
    HUNG,
    LIVE,
    REFUSED,
    Heard,
    Kept,
    ask,
    has_ended,
    read_files,
)
from mmbot.runtime.control import NAME
from mmbot.runtime.rundir import SUMMARY

_WAIT_S: Final = 150.0
"""An end takes a second; a busy venue makes it a minute, and a position is closed within two."""
_LOOK_S: Final = 0.1
_OVER: Final = (ENDED, EXPLAINING)


def stop(
    run: Run = None,
    config: RunConfig = None,
    overrides: Overrides = None,
    *,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Close the position as well, as [flatten] says.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="S", min=0, max=3600, help="Longest to wait, s.")
    ] = _WAIT_S,
    as_json: AsJson = False,
) -> None:
    """
    Stop a running daemon as Ctrl+C does: cancel, have the venue confirm it, end. Waits for the end.

    The report that the run makes afterwards is not waited for.

    Exit 0: it ended and nothing rests. 4: the venue did not confirm that. 1: it does not answer, or
    has not ended in time. A daemon that had ended before is told of, with 0 where its end was
    clean and 1 where it died.
    """
    run_dir = find(run, config, overrides or ())
    heard = ask(run_dir, "stop", flatten=flatten)
    if heard.how != LIVE or heard.reply is None:
        kept = read_files(run_dir, heard)
        print_kept(kept, as_json=as_json)
        if kept.state in _OVER and heard.how == GONE:
            _judge(run_dir, as_json=as_json, is_said=True)
            return
        if kept.state == HUNG:
            who = "it" if kept.pid is None else f"process {kept.pid}"
            ends = "" if kept.pid is None else f", kill -9 {kept.pid} ends it"
            raise StateError(f"{who} does not answer: mmbot kill cancels its orders{ends}")
        if kept.state == REFUSED:
            raise StateError("there is nothing to stop: that run did not begin")
        if kept.state == DIED:
            raise StateError("it had died before: mmbot kill cancels what it may have left")
        raise StateError(f"process {kept.pid} has no control socket: stop it with kill {kept.pid}")
    if not heard.reply.get("ok"):
        raise StateError(str(heard.reply.get("error")))
    pid = int(heard.reply["pid"])
    if not as_json:
        again = "" if heard.reply["is_news"] else " already"
        echo(f"stopping   process {pid}{again}: its orders are cancelled, then the venue is asked")
    _wait(pid, run_dir, wait)
    _judge(run_dir, as_json=as_json, is_said=False)


def _wait(pid: int, run_dir: Path, wait_s: float) -> None:
    """Until the process is gone, or the run has ended and only its report is being made."""
    until = time.monotonic() + wait_s
    while not has_ended(pid):
        # The socket goes with the run; the log is not read ten times a second before that.
        if not (run_dir / NAME).exists() and _left(run_dir).state in _OVER:
            return
        if time.monotonic() >= until:
            raise StateError(
                f"process {pid} has not ended within {wait_s:g} s: mmbot status says how far it is"
            )
        time.sleep(_LOOK_S)


def _left(run_dir: Path) -> Kept:
    return read_files(run_dir, Heard(GONE))


def _judge(run_dir: Path, *, as_json: bool, is_said: bool) -> None:
    """Say how the run ended, by its own last words."""
    kept = _left(run_dir)
    summary = kept.summary
    if summary is None:
        if kept.started is None:
            echo("stopped    it had placed no order yet")
            return
        raise StateError(f"it ended without a summary: look at {run_dir / 'log.jsonl'}")
    is_verified = summary.get("equity_usd") is not None
    held = summary.get("position_sz")
    if as_json and not is_said:
        say({"is_verified": is_verified, "summary": summary})
    elif not is_said:
        rests = "nothing rests" if is_verified else f"{summary['resting_orders']} may rest"
        holds = "what it holds is not known" if held is None else f"it holds {held:+g}"
        file = run_dir / SUMMARY
        echo(f"stopped    {rests}; {holds}{f'; {file}' if file.exists() else ''}")
        if kept.state == EXPLAINING:
            echo(f"           process {kept.pid} makes its report")
    if not is_verified:
        raise VenueError("the venue did not confirm that nothing rests: look at the account")
    if summary.get("kill"):
        raise typer.Exit(Exit.KILLED)
