"""
The embedded exchange as a child process: known to the daemon by its URL and nothing else.

It runs in a process group of its own, so a Ctrl+C at the terminal does not reach it and the daemon
can still cancel and verify. Its standard input is a pipe from us: when it closes, for whatever
reason, the exchange ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.errors import ConfigError, Exit, VenueError

_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 5.0
_COMPLAINTS_KEPT: Final = 50


class TestAccount(msgspec.Struct, frozen=True):
    """A funded account of an emulated exchange. Its key was generated for it and is worthless."""

    __test__ = False  # not a test class, whatever its name suggests to a collector

    address: str
    private_key: str


class ExchangeInfo(msgspec.Struct, frozen=True):
    """What an emulated exchange prints when it is ready."""

    url: str
    accounts: tuple[TestAccount, ...]
    pid: int = 0


class Child:
    """
    An emulated exchange that is starting, or runs.

    It is started without an event loop, so that it loads while the daemon still loads itself.

    Raises:
        VenueError: The system starts no process any more.
    """

    def __init__(self, config: Config) -> None:
        # -P: no module of the folder somebody stands in takes the place of one of ours.
        command = [sys.executable, "-P", "-m", "mmbot", "exchange", *exchange_arguments(config)]
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this program, with checked figures
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise VenueError(f"the embedded exchange cannot be started: {error.strerror}") from None
        self._lines: list[bytes] = []
        self._complaints: list[bytes] = []
        self._said = threading.Event()
        """Set by its first line, or by the end of its output."""
        self._readers = [
            threading.Thread(target=read, name="embedded-exchange", daemon=True)
            for read in (self._read_lines, self._read_complaints)
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not self._lines:
                self._lines.append(line)
                self._said.set()
        self._said.set()

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._complaints.append(line)
            del self._complaints[:-_COMPLAINTS_KEPT]

    def wait_ready(self) -> ExchangeInfo:
        """
        What it printed once it was ready.

        Raises:
            VenueError: It did not start; what it said is in the message.
            ConfigError: It refuses the configuration.
        """
        if not self._said.wait(_START_TIMEOUT_S):
            raise VenueError(
                f"the embedded exchange said nothing for {_START_TIMEOUT_S:g} s; the machine may "
                "be overloaded; try again"
            )
        if not self._lines:
            code = self.process.wait()
            self._readers[1].join(_STOP_TIMEOUT_S)
            said = b"".join(self._complaints).decode("utf-8", "replace").strip().splitlines()
            why = said[-1] if said else f"exit code {code}"
            text = f"the embedded exchange did not start: {why.removeprefix('mmbot: ')}"
            raise ConfigError(text) if code == Exit.CONFIG else VenueError(text)
        info = msgspec.json.decode(self._lines[0], type=ExchangeInfo)
        return msgspec.structs.replace(info, pid=self.process.pid)

    def end(self) -> None:
        """Close its standard input, and wait until it is gone."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        if not self._lines:
            self.process.kill()  # it has nothing yet that could be ended kindly
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(_STOP_TIMEOUT_S)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@asynccontextmanager
async def embedded_exchange(
    config: Config, child: Child | None = None
) -> AsyncIterator[ExchangeInfo]:
    """
    An emulated exchange for this configuration, until this context ends.

    Args:
        child: One that was started already.

    Raises:
        VenueError: It did not start; what it said is in the message.
    """
    if child is None:
        child = Child(config)
    # In threads of their own: the loop goes on, and a cancelled wait ends with the process.
    try:
        yield await asyncio.to_thread(child.wait_ready)
    finally:
        await asyncio.to_thread(child.end)


def exchange_arguments(config: Config) -> list[str]:
    """Arguments of `mmbot exchange` that give the market this configuration asks for."""
    equity_usd = config.emulator.equity_usd or config.risk.capital_usd
    arguments = [
        "--json",
        "--until-stdin-closes",
        "--port=0",
        f"--scenario={config.emulator.scenario}",
        f"--seed={config.emulator.seed}",
        f"--coin={config.instrument.wire_coin}",
        f"--equity-usd={equity_usd!r}",
        f"--latency-ms={config.emulator.latency_ms}",
        f"--reply-ms={config.emulator.reply_ms}",
        f"--feed-ms={config.emulator.feed_ms}",
        f"--block-ms={config.emulator.block_ms}",
        f"--requests={config.emulator.requests}",
        "--queue" if config.emulator.has_queue else "--no-queue",
    ]
    # JSON of a number, a truth value or a list of them is TOML as well; Python's own text is not.
    arguments.extend(
        f"--set=market.{key}={msgspec.json.encode(value).decode()}"
        for key, value in config.market.items()
    )
    return arguments
