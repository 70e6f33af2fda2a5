"""`mmbot backtest` as a process: what it loads."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from runtime.recorded_market import market, write

RUN = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from mmbot.__main__ import main
main()
"""
CONFIG = """\
[instrument]
coin = "WLFI"

[risk]
capital_usd = 100
"""
OF_OTHER_COMMANDS = {
    "aiohttp",
    "apprise",
    "asyncio",
    "hypothesis",
    "multiprocessing",
    "prometheus_client",
    "rich",
    "ssl",
    "textual",
    "uvloop",
}


def test_a_backtest_loads_nothing_that_only_other_commands_use(tmp_path: Path) -> None:
    """
    A fifth of a backtest is its start; a network client or a screen would double that.

    pycryptodome is loaded only where it has to hash: it is half as slow to load as numpy.
    """
    folder = write(tmp_path, market(5))
    config = tmp_path / "backtest.toml"
    config.write_text(CONFIG, "utf-8")
    command = ["backtest", str(folder), f"--config={config}", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["end_reason"] == "end of recording"
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "numpy" in loaded
    assert loaded & OF_OTHER_COMMANDS == set()
    assert ("Crypto" in loaded) == (importlib.util.find_spec("sha3") is None)
