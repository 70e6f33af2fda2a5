"""`mmbot status`: how a running daemon stands."""

from __future__ import annotations

from mmbot.cli.asked import Overrides, Run, RunConfig, answer_of, find, say
from mmbot.cli.options import AsJson, echo, show
from mmbot.runtime.statustext import status_lines


def status(
    run: Run = None,
    config: RunConfig = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """
    How a running daemon stands: position, profit, quotes, mode, budget, ages, kill switch.

    Exit 0: a daemon answered. 1: none did; what its files say is shown, with its age.
    """
    run_dir = find(run, config, overrides or ())
    answer = answer_of(run_dir, "status", as_json=as_json)
    found = answer.get("status")
    if as_json:
        facts = found or {"phase": answer["phase"], "pid": answer["pid"], "run_dir": str(run_dir)}
        say({"is_live": True, **facts})
    elif found is None:
        echo(f"process {answer['pid']} is starting: {run_dir}")
    else:
        show(status_lines(found))
