"""`mmbot why`: what put each side of the quote where it is, or keeps it empty."""

from __future__ import annotations

from mmbot.cli.asked import Overrides, Run, RunConfig, answer_of, find, say
from mmbot.cli.options import AsJson, echo, show
from mmbot.runtime.whytext import why_lines


def why(
    run: Run = None,
    config: RunConfig = None,
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """
    For each side: the order nearest the market, the sum that put it there, the rule that shapes it.

    Terms are bps of fair, positive away from the market, and add up to the distance. Exit 1 where
    no daemon answers.
    """
    answer = answer_of(find(run, config, overrides or ()), "why", as_json=as_json)
    found = answer.get("why")
    if as_json:
        say({"is_live": True, "pid": answer["pid"], "phase": answer["phase"], **(found or {})})
    elif found is None:
        echo(f"process {answer['pid']} is starting: nothing is quoted yet")
    else:
        show(why_lines(found, answer["at_ns"]))
