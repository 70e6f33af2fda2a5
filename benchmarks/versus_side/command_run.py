"""
What `mmbot backtest` does after its start, in one process: `RECORDING COIN CONFIG 0|1 REPEAT`.

With 1 the recording is played a second time without hysteresis, as the command does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.versus_side.repeated import print_runs

from mmbot.config import load
from mmbot.runtime.backtest import run_backtest


def main() -> None:
    """Run as often as asked, and print the times."""
    recording, coin, config = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    settings = load(config, ())
    params = settings.backtest.model_copy(update={"exact_diff": sys.argv[4] == "1"})

    def run() -> dict[str, Any]:
        run_backtest(recording, coin, settings.engine, params=params)
        return {}

    print_runs(run, int(sys.argv[5]))


if __name__ == "__main__":
    main()
