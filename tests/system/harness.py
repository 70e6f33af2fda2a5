"""Run the program as a person does, in processes of its own, and look at it from outside."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from logcheck import check_run
from support import IS_THOROUGH
from system.forked import IS_AVAILABLE, Forked, die_with_the_tests

STILL = (
    "market.sigma_bps_rt_s=0",
    "market.a_per_s=0",
    "market.sweeps_per_s=0",
    "market.oracle_noise_bps=0",
)
"""A market in which nobody trades and nothing moves unless the test makes it."""

MMBOT = ("-P", "-m", "mmbot")
IS_FRESH = IS_THOROUGH
"""Whether every process is begun by an interpreter of its own, see `start`."""
PATIENCE_S = 120.0
"""How long a test waits for an event before it fails; it passes as soon as the event is there."""
_POLL_S = 0.02
"""Between two looks: a look costs the test and the process looked at as much as their work."""
_KIND_S = 10.0
"""How long a process left behind may take to end by itself."""


def wait_until(what: str, is_seen: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until `is_seen()` holds; fails with `what` when it does not."""
    until = monotonic() + patience_s
    while not is_seen():
        assert monotonic() < until, what
        select.select([], [], [], _POLL_S)


class Exchange:
    """`mmbot exchange` in a process of its own, driven through its control routes."""

    def __init__(self, process: subprocess.Popen[str], info: dict[str, Any]) -> None:
        self.process = process
        self.url: str = info["url"]
        self.accounts: list[dict[str, str]] = info["accounts"]

    def control(self, route: str, **facts: Any) -> Any:
        """POST to /emulator/`route`."""
        return _call(f"{self.url}/emulator/{route}", facts)

    def read(self, route: str) -> Any:
        """GET from /emulator/`route`."""
        return _call(f"{self.url}/emulator/{route}", None)

    def info(self, **payload: Any) -> Any:
        """POST to the venue's own /info."""
        return _call(f"{self.url}/info", payload)

    def actions(self) -> list[dict[str, Any]]:
        """Every action received so far, as the client sent it."""
        return [row["body"]["action"] for row in self.read("requests")["requests"]]

    @property
    def user(self) -> str:
        """Address of the account the daemon trades."""
        return self.accounts[0]["address"]

    def open_orders(self, dex: str = "") -> list[dict[str, Any]]:
        """What rests, by the venue's word."""
        orders: list[dict[str, Any]] = self.info(type="openOrders", user=self.user, dex=dex)
        return orders

    def resting(self) -> list[dict[str, Any]]:
        """The same by the control route, which costs no request weight and may be polled."""
        orders: list[dict[str, Any]] = self.read(f"orders?user={self.user}")
        return orders

    def position_sz(self, coin: str, dex: str = "") -> float:
        """Signed position, by the venue's word."""
        state = self.read(f"ledger?user={self.user}")["states"][dex]
        for row in state["assetPositions"]:
            if row["position"]["coin"] == coin:
                return float(row["position"]["szi"])
        return 0.0


class Daemon:
    """`mmbot run` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], run_dir: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self._read: list[dict[str, Any]] = []
        self._read_bytes = 0
        self._read_inode = 0

    def records(self) -> list[dict[str, Any]]:
        """The log so far; only what is new of it is read, since it is asked for many times."""
        try:
            file = (self.run_dir / "log.jsonl").open("rb")
        except FileNotFoundError:
            return []
        with file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._read_inode or state.st_size < self._read_bytes:
                self._read, self._read_bytes, self._read_inode = [], 0, state.st_ino
            file.seek(self._read_bytes)
            whole, end_of_line, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole + end_of_line)
        self._read += [json.loads(line) for line in whole.splitlines()]
        return list(self._read)

    def wait_for(
        self,
        what: str,
        found: Callable[[list[dict[str, Any]]], bool],
        patience_s: float = PATIENCE_S,
    ) -> list[dict[str, Any]]:
        """Wait until the log shows it; fails with the log's end when it does not."""
        until = monotonic() + patience_s
        while monotonic() < until:
            records = self.records()
            if found(records):
                return records
            if self.process.poll() is not None:
                break
            select.select([], [], [], _POLL_S)
        tail = "\n".join(str(record) for record in self.records()[-12:])
        raise AssertionError(f"{what}: not seen; exit {self.process.poll()}\n{tail}")

    def wait_event(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `event` was logged `count` times."""
        return self.wait_for(
            f"{count} x {event}", lambda rs: sum(r["event"] == event for r in rs) >= count
        )

    def gone_within(self, patience_s: float) -> bool:
        """Whether the process ends within this time."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal and wait for the end: exit code, standard output, standard error."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def summary(self) -> dict[str, Any]:
        """`summary.json` of the run."""
        found: dict[str, Any] = json.loads((self.run_dir / "summary.json").read_text("utf-8"))
        return found


def _call(url: str, payload: dict[str, Any] | None) -> Any:
    request = urllib.request.Request(
        url,
        data=None if payload is None else json.dumps(payload).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


_STARTED: list[subprocess.Popen[str]] = []


@atexit.register
def _end_all() -> None:
    """Nothing that was started here outlives the tests, whatever became of them."""
    for process in _STARTED:
        if process.poll() is None:
            process.kill()


def start(
    *arguments: str,
    env: dict[str, str] | None = None,
    new_group: bool = False,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    shell: str = "",
    program: Sequence[str] = MMBOT,
    cwd: Path | None = None,
    is_fresh: bool = False,
) -> subprocess.Popen[str]:
    """
    Start `mmbot` with these arguments, in a process group of its own if asked.

    `shell` is a line of shell that begins the program as "$@", such as `exec "$@" 0<&-`; `program`
    is what the interpreter runs, a script that begins the program for instance. Without either it
    is forked where it is loaded already, unless it is to be a fresh interpreter, or `env` tells the
    interpreter something else than ours was told.
    """
    everywhere = {**os.environ, "MMBOT_KEY": "", **(env or {})}
    is_fresh |= IS_FRESH or any(
        name.startswith("PYTHON") and text != os.environ.get(name)
        for name, text in everywhere.items()
    )
    is_forked = IS_AVAILABLE and not (is_fresh or shell) and program is MMBOT
    command = arguments if is_forked else (sys.executable, *program, *arguments)
    process = (Forked if is_forked else subprocess.Popen[str])(
        ("/bin/sh", "-c", shell, "sh", *command) if shell else command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        cwd=cwd,
        env=everywhere,
        process_group=0 if new_group else None,
        preexec_fn=die_with_the_tests,  # one call, nothing that could hold a lock
    )
    _STARTED.append(process)
    return process


def command(*arguments: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """A command of `mmbot` to its end; `how` is that of `start`."""
    process = start(*(str(it) for it in arguments), **how)
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        end(process)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end(process: subprocess.Popen[str]) -> None:
    """End a process that a test leaves behind, first kindly, and wait until it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_KIND_S)
        except subprocess.TimeoutExpired:
            process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            with suppress(OSError):
                stream.close()
    process.wait()
    _STARTED.remove(process)


@contextmanager
def exchange(
    *arguments: str,
    sets: Sequence[str] = (),
    program: Sequence[str] = MMBOT,
) -> Iterator[Exchange]:
    """An emulated exchange that ends with the test."""
    process = start(
        "exchange",
        "--json",
        "--port=0",
        *arguments,
        *(f"--set={item}" for item in sets),
        program=program,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        yield Exchange(process, json.loads(line))
    finally:
        end(process)


@contextmanager
def daemon(
    run_dir: Path,
    *arguments: str,
    config: Path,
    sets: Sequence[str] = (),
    env: dict[str, str] | None = None,
    new_group: bool = False,
    stdout: int = subprocess.PIPE,
    shell: str = "",
    program: Sequence[str] = MMBOT,
) -> Iterator[Daemon]:
    """
    A running daemon; ended if the test leaves it running.

    It is not explained at its end unless `sets` say so: the report of a run takes as long as most
    of the runs here.
    """
    process = start(
        "run",
        f"--config={config}",
        f"--run-dir={run_dir}",
        "--set=report.at_end=false",
        *(f"--set={item}" for item in sets),
        *arguments,
        env=env,
        new_group=new_group,
        stdout=stdout,
        shell=shell,
        program=program,
    )
    try:
        yield Daemon(process, run_dir)
    finally:
        if process.poll() is None:
            process.kill()
        end(process)
    # Whatever the test was about, what it left is as documented.
    check_run(run_dir)
