"""`mmbot replay`: does a fresh engine decide what the run decided."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from mmbot.cli.options import AsJson, echo
from mmbot.errors import Exit
from mmbot.runtime.replay import replay as play
from mmbot.runtime.replayed import render
from mmbot.runtime.rundir import find_run

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a run, or `latest` (logs/latest).")
]


def replay(run: Run, *, as_json: AsJson = False) -> None:
    """Feed a run's journal to a fresh engine; exit 1 at the first decision that differs."""
    result = play(find_run(run))
    if as_json:
        echo(
            msgspec.json.encode(
                {**msgspec.structs.asdict(result), "is_good": result.is_good}
            ).decode()
        )
    else:
        echo("\n".join(render(result)))
    if not result.is_good:
        raise typer.Exit(Exit.FAILED)
