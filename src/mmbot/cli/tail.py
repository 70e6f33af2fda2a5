"""`mmbot tail`: the log of a run, readable, and as it grows."""

from __future__ import annotations

import json
import time
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import typer

from mmbot.cli.asked import Overrides, Run, RunConfig, find
from mmbot.cli.options import AsJson, echo, json_text, show
from mmbot.errors import ConfigError
from mmbot.logs import LEVELS
from mmbot.runtime.rundir import LATEST
from mmbot.runtime.tailing import Filter, Item, Tail, line_of, named_run

_LOOK_S: Final = 0.25


def tail(
    run: Run = None,
    config: RunConfig = None,
    overrides: Overrides = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event", "-e", metavar="E", help="Only this event, or order.* and the like."
        ),
    ] = None,
    level: Annotated[
        str, typer.Option("--level", "-l", metavar="L", help="Only this level and above.")
    ] = "debug",
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="So many from the end.")
    ] = 20,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it grows, also with the next run.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    The log of a run for a person: ! is a warning, !! an error, !!! critical.

    The record of every second in which nothing changed (quote.held) is left out unless it is asked
    for. --json gives the records as they are. Ctrl+C ends --follow.
    """
    if schema:
        from mmbot.runtime.logschema import schema as schema_of  # noqa: PLC0415 - for it alone

        show(json.dumps(schema_of(), indent=1).splitlines())
        return
    if level not in LEVELS:
        raise ConfigError(f"--level {level}: is none; use one of {', '.join(LEVELS)}")
    for pattern in events or ():
        _refuse_unknown(pattern)
    is_fixed = run is not None and run != LATEST
    fixed = find(run, config, overrides or ()) if is_fixed else None

    def folder() -> Path:
        return fixed or find(run, config, overrides or ())

    if not as_json:
        echo(f"-- {named_run(folder())}")
    reading = Tail(folder, Filter(tuple(events or ()), level))
    try:
        for item in reading.last(lines):
            _show(item, reading.tag, as_json=as_json)
        while follow:
            time.sleep(_LOOK_S)
            for item in reading.more():
                _show(item, reading.tag, as_json=as_json)
    except KeyboardInterrupt:
        return
    finally:
        reading.close()


def _refuse_unknown(pattern: str) -> None:
    """A filter that nothing can pass shows nothing, and nobody would know why."""
    from mmbot.runtime.logevents import EVENTS  # noqa: PLC0415 - for it alone

    if any(fnmatchcase(event, pattern) for event in EVENTS):
        return
    word = pattern.strip("*.")
    near = [event for event in EVENTS if word and word in event] or get_close_matches(word, EVENTS)
    tried = f"try {', '.join(near[:5])}" if near else "docs/log.md names them all"
    raise ConfigError(f"--event {pattern}: no record of the log is called so; {tried}")


def _show(item: Item, tag: str, *, as_json: bool) -> None:
    if not as_json:
        show(line_of(item, tag).split("\n"))
    elif not isinstance(item, str):
        echo(json_text(item))
