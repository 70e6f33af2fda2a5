"""`mmbot report`: what happened in a run, how much, and why."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmbot.cli.options import AsJson, echo, json_text, show
from mmbot.runtime.report import words
from mmbot.runtime.report.report import Report
from mmbot.runtime.report.split import Parts
from mmbot.runtime.report.write import HTML, JSON, write_report
from mmbot.runtime.rundir import find_run, mode_text

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a run, or `latest` (logs/latest).")
]
Open = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option(
        "--open",
        help="Show the page in a browser; auto: where there is a desktop and a person at a "
        "terminal.",
    ),
]
_CAUSES_SHOWN = 3


def report(run: Run, *, as_json: AsJson = False, shown: Open = "auto") -> None:
    """Explain a run: report.html and report.json in its folder, and the sum of it here."""
    folder = find_run(run)
    found = write_report(folder)
    if as_json:
        echo(json_text(found))
    else:
        show(_lines(folder, found))
    if shown == "yes" or (shown == "auto" and not as_json and _has_desktop()):
        _show(folder / HTML)


def _lines(folder: Path, found: Report) -> list[str]:
    """The report in a few lines."""
    over, parts = found.overview, found.split.parts
    span, when = words.span(over.span_s), words.instant(over.started_ns)
    files = [f"page      {folder / HTML}", f"numbers   {folder / JSON}"]
    mode = f"mode      {mode_text(over.mode)}"
    if not over.began:
        return [found.verdict, mode, *(f"missing   {text}" for text in found.missing), *files]
    ended = f"ended by {over.ended}" if over.ended else "no end is recorded"
    fell = "unknown" if over.max_drawdown_pct is None else f"{over.max_drawdown_pct:.3f}"
    fills = "fills unknown" if over.fills is None else f"{over.fills} fills"
    profit = "unknown" if parts is None else f"{_amounts(parts)} USD"
    total = found.split.total_usd
    valued = "unknown" if total is None else f"{words.usd(total)} USD, what is held at {_at(found)}"
    lines = [
        found.verdict,
        mode,
        f"run       {over.market}, {when}, {span}, {fills}, {ended}",
        f"profit    {profit}",
        f"total     {valued}",
        f"drawdown  {fell} % of peak equity at most",
    ]
    if not found.split.is_exact and found.split.unexplained_usd is not None:
        lines.append(f"          unexplained {words.usd(found.split.unexplained_usd)} USD")
    lines.extend(
        f"{'suspect' if not cause.follows else '  then'}   {cause.title}: {cause.text}"
        for cause in found.causes[:_CAUSES_SHOWN]
    )
    lines.extend(f"missing   {text}" for text in found.missing)
    return lines + files


def _amounts(parts: Parts) -> str:
    """The parts in a line, costs below zero."""
    names = ("capture", "adverse", "inventory", "fees", "funding")
    amounts = zip(names, parts.effects.values(), strict=True)
    return "  ".join(f"{name} {words.usd(value)}" for name, value in amounts)


def _at(found: Report) -> str:
    """At which price the total is: the run's own summary has the last mid instead."""
    return f"{found.split.end_is}, {words.price(found.split.end_px)}"


def _has_desktop() -> bool:
    """Whether a browser window could open in front of whoever asked."""
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _show(path: Path) -> None:
    import webbrowser  # noqa: PLC0415 - takes as long to load as the command does otherwise

    webbrowser.open(path.resolve().as_uri())
