"""`mmbot replay`: does a fresh engine decide what the run decided, and what if it had not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mmbot.cli.options import AsJson, echo, json_text, show
from mmbot.errors import ConfigError, Exit
from mmbot.journal.reader import Journal
from mmbot.journal.records import Kind, Started, decode
from mmbot.logs import stderr_line
from mmbot.runtime.replay import replay as play
from mmbot.runtime.replayed import render
from mmbot.runtime.rundir import find_run, mode_text

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a run, or `latest` (logs/latest).")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="What if one key had been another; 2x for twice its value: quoter.gamma_per_bp=2x.",
    ),
]


def replay(
    run: Run,
    overrides: Changes = None,
    order_latency_ms: Annotated[
        float | None,
        typer.Option(
            min=0, max=60_000, help="Time to a verdict, ms; default: the median of the run itself."
        ),
    ] = None,
    queue_factor: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Multiplies the queue ahead of our orders; default: as the run."
        ),
    ] = None,
    *,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="What if each mechanism had been left out in turn.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Feed a run's journal to a fresh engine; exit 1 at the first decision that differs."""
    folder = find_run(run)
    if overrides or ablate:
        if overrides and ablate:
            raise ConfigError("--set and --ablate are two questions; ask one of them")
        _ask(
            folder,
            overrides,
            order_latency_ms=order_latency_ms,
            queue_factor=queue_factor,
            as_json=as_json,
        )
        return
    for option, value in (
        ("--order-latency-ms", order_latency_ms),
        ("--queue-factor", queue_factor),
    ):
        if value is not None:
            raise ConfigError(
                f"{option} {value:g}: an exact replay simulates nothing; use it with --set or "
                "--ablate"
            )
    result = play(folder)
    mode = _mode_of(folder)
    if as_json:
        told = {"mode": mode, **msgspec.structs.asdict(result), "is_good": result.is_good}
        echo(json_text(told))
    else:
        named, *rest = render(result)
        show([named, *([] if mode is None else [f"mode      {mode_text(mode)}"]), *rest])
    if not result.is_good:
        raise typer.Exit(Exit.FAILED)


def _mode_of(folder: Path) -> str | None:
    """Whose money a run was of; None where its journal ends before it says so."""
    for entry in Journal.of(folder).entries():
        if entry.kind == Kind.STARTED:
            started = decode(entry.kind, entry.payload)
            assert isinstance(started, Started)
            return str(started.config["mode"])
    return None


def _ask(
    folder: Path,
    overrides: list[str] | None,
    *,
    order_latency_ms: float | None,
    queue_factor: float | None,
    as_json: bool,
) -> None:
    """Answer one question about a run."""
    # An exact replay needs no emulator, no laboratory and no report.
    from mmbot.runtime.whatif.compare import Questions  # noqa: PLC0415
    from mmbot.runtime.whatif.render import lines  # noqa: PLC0415

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            stderr_line(text)

    asked = Questions(
        folder,
        order_latency_ms=order_latency_ms,
        queue_factor=queue_factor,
        on_progress=progress,
    )
    found = asked.change(overrides) if overrides else asked.ablate()
    mode = str(asked.market.started.config["mode"])
    if as_json:
        echo(json_text({"mode": mode, **msgspec.structs.asdict(found)}))
    else:
        show(lines(found, mode))
