"""
What is compared, how a process is timed, and what it says of itself.

Every process finds its bytecode in a folder of this script, mmbot as the others: an installed
package has been compiled once, a checkout perhaps never (`PYTHONDONTWRITEBYTECODE`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SIDE: Final = "benchmarks.versus_side"
RELEASES: Final = {"hftbacktest": "2.4.4", "nautilus_trader": "1.231.0"}
"""What the sides are written for; another release may do."""
CONFIG: Final = '[instrument]\ncoin = "{coin}"\n\n[risk]\ncapital_usd = 100\n'
OURS: Final = ("command", "one_play", "venue")
TITLES: Final = {
    "command": "mmbot backtest",
    "one_play": "mmbot backtest, one play",
    "venue": "mmbot's venue, small quoter",
    "hftbacktest": "hftbacktest, small quoter",
    "nautilus_trader": "NautilusTrader, small quoter",
}
WARM_RUNS: Final = 3
"""Of one process; the last is warm."""
VERSIONS: Final = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class CannotRunError(Exception):
    """What is missing, and what to do about it."""


@dataclass(frozen=True)
class Sample:
    """One process, start to end."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    said: dict[str, Any]


def environment(scratch: Path) -> dict[str, str]:
    """Of every process: bytecode and caches of its own, kept from one process to the next."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(scratch / "pyc")
    env["NUMBA_CACHE_DIR"] = str(scratch / "numba")
    # What the other engines' own dependencies warn of is not ours to print.
    return env | {"PYTHONWARNINGS": "ignore"}


def timed(command: list[str], env: dict[str, str]) -> Sample:
    """
    Run a process to its end.

    Raises:
        CannotRunError: It failed.
    """
    began = perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        # Both are short: neither pipe can fill while the other is read.
        assert child.stdout is not None
        assert child.stderr is not None
        out, err = child.stdout.read(), child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        wall_s = perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise CannotRunError(f"{' '.join(command)}\nended with {child.returncode}:\n{err}")
    line = out.strip().rpartition("\n")[2]
    said = json.loads(line) if line.startswith("{") else {}
    return Sample(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


def versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """
    Of the interpreter and of those packages it has.

    Raises:
        CannotRunError: There is no such interpreter.
    """
    try:
        done = subprocess.run(
            [str(python), "-c", VERSIONS, *names], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotRunError(f"{python}: cannot be run ({error}); name a Python") from None
    found: dict[str, str] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Task:
    """One recording, and where its conversions lie."""

    recording: Path
    coin: str
    scratch: Path
    python: Path
    """That has the other engines."""

    def prepare(self, engines: list[str], k_per_bp: float, hold_bps: float) -> dict[str, Any]:
        """Convert the frames to each engine's own format; what the market is."""
        env = environment(self.scratch)
        (self.scratch / "backtest.toml").write_text(CONFIG.format(coin=self.coin), "utf-8")
        where = [str(self.recording), self.coin, str(self.scratch)]
        timed(
            [sys.executable, "-m", f"{SIDE}.frames", *where, str(k_per_bp), str(hold_bps)],
            env | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))},
        )
        scripts = {"hftbacktest": "hft_data", "nautilus_trader": "nautilus_data"}
        for name in engines:
            script = f"{SIDE}.{scripts[name]}"
            timed([str(self.python), "-m", script, str(self.scratch)], env)
        facts: dict[str, Any] = json.loads((self.scratch / "frames.json").read_text("utf-8"))
        return facts

    def command(self, way: str, repeat: int = 1) -> list[str]:
        """The process of one way."""
        rows, again = str(self.scratch), str(repeat)
        if way in RELEASES:
            script = {"hftbacktest": "hft_run", "nautilus_trader": "nautilus_run"}[way]
            return [str(self.python), "-m", f"{SIDE}.{script}", rows, again]
        if way == "venue":
            return [sys.executable, "-m", f"{SIDE}.mmbot_run", rows, str(self.recording), again]
        whole = [sys.executable, "-m", "mmbot", "backtest", str(self.recording)]
        whole += ["--coin", self.coin, "--config", str(self.scratch / "backtest.toml"), "--json"]
        return whole + (["--set", "backtest.exact_diff=false"] if way == "one_play" else [])

    def cold(self, way: str) -> Sample:
        """One process."""
        return timed(self.command(way), environment(self.scratch))

    def warm_s(self, way: str) -> float:
        """CPU time of a run without start, import and compilation, the data read again."""
        command = self.command(way, WARM_RUNS)
        if way in ("command", "one_play"):
            config = str(self.scratch / "backtest.toml")
            command = [sys.executable, "-m", f"{SIDE}.command_run", str(self.recording), self.coin]
            command += [config, "1" if way == "command" else "0", str(WARM_RUNS)]
        return float(timed(command, environment(self.scratch)).said["runs_s"][-1])


def figures(said: dict[str, Any]) -> tuple[int, int, int, float]:
    """Decisions, requests, fills and USD filled, as either side calls them."""
    requests = said["requests_total"] if "requests_total" in said else said["requests"]
    return said["decisions"], requests, said["fills"], said["filled_usd"]
