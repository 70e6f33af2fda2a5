"""A run repeated in one process, timed, and what is printed of it; without an import of mmbot."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import process_time
from typing import Any


def print_runs(run: Callable[[], dict[str, Any]], repeat: int, **more: Any) -> None:
    """
    Run as often as asked, and print the figures of the last with the CPU time of each.

    Args:
        run: One run from its data to its figures.
        repeat: How often.
        more: What else is printed.
    """
    runs_s: list[float] = []
    figures: dict[str, Any] = {}
    for _ in range(repeat):
        began = process_time()
        figures = run()
        runs_s.append(process_time() - began)
    print(json.dumps({**figures, "runs_s": runs_s, **more}))
