"""Results on disk: one JSON file a piece, good for one commit, and pages made of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any, Final

from mmbot.runtime.lab.statistics import Interval

REPO: Final = Path(__file__).resolve().parent.parent.parent
OUT: Final = REPO / "docs" / "results"
MEASURED: Final = ("src", "configs", "benchmarks/tables", "tests/core/rig.py")
"""What a result depends on: a commit of anything else leaves it as it is."""

Json = dict[str, Any]
BAR: Final = "\\|"
"""A bar inside a cell."""


def commit() -> str:
    """The last commit that changed what is measured; marked where the tree differs from it."""
    name = _git("log", "-1", "--format=%h", "--", *MEASURED)
    return name + ("+" if _git("status", "--porcelain", "--", *MEASURED) else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPO), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Kept:
    """
    The folder of results, of one commit.

    Args:
        folder: Where they lie.
        name: The commit; what another one left counts as absent.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.commit = name
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, piece: str) -> Json | None:
        """A result of this commit, if there is one that can be read."""
        try:
            told: Json = json.loads((self.folder / f"{piece}.json").read_text())
        except (OSError, ValueError):
            return None
        is_ours = isinstance(told, dict) and told.get("commit") == self.commit
        return told if is_ours else None

    def save(self, piece: str, told: Json, *, indent: int | None = 1) -> None:
        """Keep a result; a reader sees the old one or the new one, never half of it."""
        path = self.folder / f"{piece}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"commit": self.commit, **told}, indent=indent) + "\n")
        part.replace(path)

    def page(self, piece: str, title: str, lines: Iterable[str]) -> None:
        """The same for a person."""
        head = [f"# {title}", "", f"Commit {self.commit}; written by `make tables`.", ""]
        (self.folder / f"{piece}.md").write_text("\n".join([*head, *lines]) + "\n")


class Clock:
    """The time that a piece may take."""

    def __init__(self, seconds: float) -> None:
        self._until_s = monotonic() + seconds

    @property
    def left_s(self) -> float:
        """What is left of it, seconds."""
        return self._until_s - monotonic()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in rows),
    ]


def number(value: float | None, spec: str = "+.3f") -> str:
    """A figure; a dash where there is none."""
    return "-" if value is None or not isfinite(value) else format(value, spec)


def shown(it: Interval, spec: str = "+.3f") -> str:
    """A figure with its interval."""
    if not isfinite(it.value):
        return "-"
    ends = f" [{number(it.low, spec)}, {number(it.high, spec)}]"
    return format(it.value, spec) + (ends if it.is_known else "")


def told_of(it: Interval) -> Json:
    """The same for a program; None where there is no figure."""
    names = ("value", "low", "high")
    return {name: value if isfinite(value := getattr(it, name)) else None for name in names}
