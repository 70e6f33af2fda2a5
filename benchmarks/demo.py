"""What the benchmarks of a whole run share: its configuration, and an exchange of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

COIN: Final = "HYPE"
CONFIG: Final = """\
mode = "emulator"

[instrument]
coin = "HYPE"

[risk]
capital_usd = 100
leverage = 10
max_position_usd = 400
loss_limit_frac = 0.5
drawdown_limit_frac = 0.5
soft_limit_frac = 0.4
soft_release_frac = 0.3

[emulator]
scenario = "demo"
"""
"""Loss limits out of the way: a run that the kill switch ends early measures nothing."""
_END_S: Final = 20


class Served(NamedTuple):
    """An exchange in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    user: str
    """Address of its first test account, the one a daemon trades."""


@contextmanager
def exchange(seed: int) -> Iterator[Served]:
    """`mmbot exchange` with scenario `demo`, until this context ends."""
    command = [sys.executable, "-m", "mmbot", "exchange", "--json", "--until-stdin-closes"]
    command += ["--scenario", "demo", "--seed", str(seed), "--coin", COIN, "--equity-usd", "100"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the exchange did not start: exit code {process.wait()}")
        told = json.loads(line)
        yield Served(process, told["url"], told["accounts"][0]["address"])
    finally:
        process.stdin.close()
        process.wait(timeout=_END_S)
