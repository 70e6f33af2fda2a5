"""The embedded exchange lives exactly as long as the pipe of its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mmbot.config import load
from mmbot.errors import ConfigError
from mmbot.runtime.child import embedded_exchange, exchange_arguments
from system.harness import PATIENCE_S, STILL, start

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
SETS = [
    "market.sigma_bps_rt_s=0",
    "market.a_per_s=0",
    "market.sweeps_per_s=0",
    "emulator.seed=7",
    "emulator.latency_ms=20",
]


def test_it_ends_by_itself_when_its_standard_input_closes() -> None:
    """Also when the parent is killed: the kernel closes the pipe for it."""
    process = start(
        "exchange", "--json", "--until-stdin-closes", *(f"--set={item}" for item in STILL)
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdin.write("what a parent writes is read and ignored\n")
    process.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (0, "")


async def test_it_is_in_a_process_group_of_its_own_and_ends_with_the_context() -> None:
    """Ctrl+C at the terminal goes to the daemon's group and must not reach it."""
    async with embedded_exchange(load(CONFIG, SETS)) as info:
        assert os.getpgid(info.pid) == info.pid
        assert os.getpgid(info.pid) != os.getpgrp()
        assert len(info.accounts) == 3
        with urllib.request.urlopen(f"{info.url}/emulator/status", timeout=120) as reply:  # noqa: ASYNC210
            assert reply.status == 200

    with pytest.raises(ProcessLookupError):
        os.kill(info.pid, 0)


async def test_it_ends_although_the_context_fails() -> None:
    """An error of the daemon leaves no exchange behind."""
    pids: list[int] = []

    async def fail() -> None:
        async with embedded_exchange(load(CONFIG, SETS)) as info:
            pids.append(info.pid)
            msg = "something else"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="something else"):
        await fail()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_parent_that_is_killed_takes_it_along() -> None:
    """kill -9 of the daemon: no process stays behind."""
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from mmbot.config import load\n"
        "from mmbot.runtime.child import embedded_exchange\n"
        "async def main():\n"
        f"    async with embedded_exchange(load(Path({str(CONFIG)!r}))) as info:\n"
        "        print(info.pid, flush=True)\n"
        "        await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    end = os.pidfd_open(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=PATIENCE_S)

    readable, _, _ = select.select([end], [], [], PATIENCE_S)
    os.close(end)
    assert readable, "the exchange outlived its parent"


async def test_what_keeps_it_from_starting_is_in_the_message() -> None:
    """The child's own last sentence; a wrong name is a fault of the configuration."""
    with pytest.raises(ConfigError, match=r"did not start: instrument\.coin = 'NOPE'"):
        async with embedded_exchange(load(CONFIG, ["instrument.coin=NOPE"])):
            pass


def test_the_configured_market_reaches_it() -> None:
    """Every figure of [market] and [emulator] is an argument."""
    arguments = exchange_arguments(load(CONFIG, [*SETS, "instrument.dex=hyna"]))

    assert "--scenario=demo" in arguments
    assert "--seed=7" in arguments
    assert "--latency-ms=20" in arguments
    assert "--coin=hyna:HYPE" in arguments
    assert "--equity-usd=100.0" in arguments
    assert "--set=market.sweeps_per_s=0" in arguments
