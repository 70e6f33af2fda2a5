"""
What `mmbot backtest` does after its start, in one process: `RECORDING COIN CONFIG 0|1 REPEAT`.

With 1 the recording is played a second time without hysteresis, as the command does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import process_time

from mmbot.config import load
from mmbot.runtime.backtest import run_backtest


def main() -> None:
    """Run as often as asked, and print the times."""
    recording, coin, config = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    settings = load(config, ())
    params = settings.backtest.model_copy(update={"exact_diff": sys.argv[4] == "1"})
    runs_s: list[float] = []
    for _ in range(int(sys.argv[5])):
        began = process_time()
        run_backtest(recording, coin, settings.engine, params=params)
        runs_s.append(process_time() - began)
    print(json.dumps({"runs_s": runs_s}))


if __name__ == "__main__":
    main()
