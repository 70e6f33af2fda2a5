"""Which venue a configuration means: its address, its key, and where our state about it lies."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from mmbot.config import Config
from mmbot.errors import CheckError
from mmbot.hyperliquid.ports import Dialer, Http
from mmbot.hyperliquid.rest import Rest
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.aio import AioDialer
from mmbot.runtime.patience import Reads, Requests
from mmbot.runtime.rundir import LATEST
from mmbot.runtime.verdicts import Row
from mmbot.state.ledger import LedgerTotals
from mmbot.state.lock import RunLock
from mmbot.state.store import Store, has_state, store_path

RESET_HINT: Final = (
    "see why with mmbot reset --show, clear it with mmbot reset, both with the --config and --set "
    "of this run"
)
UNLATCHED_HINT: Final = (
    "mend that, then mmbot kill latches it, with the --config and --set of this run"
)
STOP_HINT: Final = "mmbot stop with the --config and --set it was started with"
_NO_WATCHDOG: Final = (
    "none runs here: a daemon that dies leaves its orders resting; start mmbot watchdog beside it"
)
_LOCK_END: Final = ".lock"
TESTNET_URL: Final = "https://api.hyperliquid-testnet.xyz"
MAINNET_URL: Final = "https://api.hyperliquid.xyz"
"""Real money. No key of the configuration names another venue for a live run."""


class Line(Http, Requests, Reads, Protocol):
    """What is asked over HTTP, before a run and in it."""


class Paper(Line, Dialer, Protocol):
    """What answers orders on paper, and passes on all else."""


class Venue(msgspec.Struct, frozen=True):
    """Where the venue is and with which key it is traded; `paper` answers orders, where set."""

    url: str
    key: bytes
    paper: Paper | None = None

    def __repr__(self) -> str:
        """All but the key."""
        return f"Venue(url={self.url!r})"

    @property
    def ws_url(self) -> str:
        """Address of the socket."""
        return "ws" + self.url.removeprefix("http") + "/ws"

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """What is asked over HTTP."""
        if self.paper is not None:
            yield self.paper
            return
        async with Rest(self.url) as rest:
            yield rest

    def dialer(self, loop: asyncio.AbstractEventLoop) -> Dialer:
        """What connects to the socket."""
        return AioDialer(loop) if self.paper is None else self.paper


def venue_url(config: Config) -> str:
    """Address of the venue of this mode; empty for the embedded exchange, which says its own."""
    match config.mode:
        case "live":
            return MAINNET_URL
        case "testnet":
            return TESTNET_URL
        case "emulator":
            return config.emulator.url.rstrip("/")
        case "paper":
            source = config.paper.source.rstrip("/")
            return {"mainnet": MAINNET_URL, "testnet": TESTNET_URL}.get(source, source)


def signer_of(config: Config, key: bytes) -> Signer:
    """
    Who signs for the venue of this mode.

    A signature is good for one network alone: mainnet's where money is real, and only there. One
    made on paper is good for neither: its key is known to no venue.
    """
    return Signer(key, is_mainnet=config.mode == "live")


def state_path(config: Config, run_dir: Path | None, user: str) -> Path:
    """
    Where the safety state of this configuration lies.

    With the embedded exchange it is in the run directory (the newest run when none is named):
    that account exists no longer than the exchange does.
    """
    if config.is_embedded:
        return (run_dir or config.log.dir / LATEST) / "state.sqlite"
    coin = config.instrument.wire_coin
    # An emulated exchange elsewhere is another account, whatever its address.
    network = (
        f"emulator-{environment(config)}" if config.mode == "emulator" else environment(config)
    )
    return store_path(config.state_dir.expanduser(), network, user, coin)


def standing(config: Config, user: str) -> list[Row]:
    """Whether this machine would let a run begin: the latch, and another daemon."""
    if config.is_embedded:
        return []  # its state begins with the run
    path = state_path(config, None, user)
    rows = [] if config.is_paper else [_watchdog_row(path)]
    try:
        market_lock(config, path, user, f"stop that one first ({STOP_HINT})").release()
        rows.append(Row("other daemon", is_ok=True, text="none trades this account and market"))
    except CheckError as error:
        rows.append(Row("other daemon", is_ok=False, text=str(error)))
    latched, ledger = None, None
    if has_state(path):
        with Store(path) as store:
            latched, ledger = store.latched(), store.ledger()
    text = "not latched" if latched is None else f"latched: {latched.text}; {RESET_HINT}"
    rows.append(Row("kill switch", latched is None, text))
    rows.append(_ledger_row(ledger))
    return rows


def _ledger_row(totals: LedgerTotals | None) -> Row:
    """What was traded with this safety state so far."""
    if totals is None:
        return Row("ledger", is_ok=True, text="no fills yet")
    first, last = (
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for ms in (totals.first_ms, totals.last_ms)
    )
    text = (
        f"{totals.fills} fills for {totals.volume_usd:.2f} USD from {first} to {last} UTC, fees "
        f"{totals.fees_usd:.4f} USD, held after the last {totals.position_sz:+g}"
    )
    return Row("ledger", is_ok=True, text=text)


def watchdog_log(state: Path) -> Path:
    """Log of the watchdog of this safety state; it holds a lock on it as long as it lives."""
    return state.with_name(state.name + ".watchdog.jsonl")


def _watchdog_row(state: Path) -> Row:
    """Whether a second process would cancel for a daemon that dies; a run begins without one."""
    try:
        fd = os.open(watchdog_log(state), os.O_WRONLY)
    except OSError:
        return Row("watchdog", is_ok=True, text=_NO_WATCHDOG)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Row("watchdog", is_ok=True, text="runs; it cancels when the daemon falls silent")
    except OSError:
        return Row("watchdog", is_ok=True, text=_NO_WATCHDOG)
    finally:
        os.close(fd)
    return Row("watchdog", is_ok=True, text=_NO_WATCHDOG)


def market_lock(config: Config, state: Path, user: str, remedy: str) -> RunLock:
    """
    The lock of this account and instrument, beside the safety state at `state`.

    Raises:
        CheckError: Another process trades it.
    """
    coin = config.instrument.wire_coin
    if config.is_embedded:
        name, what = None, f"the run directory {state.parent}"
    else:
        name = f"{environment(config)} {user.lower()} {coin}"
        what = f"{coin} of account {user} ({environment(config)})"
    return RunLock(lock_path(state), name, what=what, remedy=remedy)


def lock_path(state: Path) -> Path:
    """File of the lock of who trades with this safety state."""
    return state.with_name(state.name + _LOCK_END)


def state_of_lock(path: Path) -> Path:
    """The safety state that a lock lies beside."""
    return path.with_name(path.name.removesuffix(_LOCK_END))


def environment(config: Config) -> str:
    """
    Name of the venue; of an emulated one its address, in one spelling for each host.

    What is on paper is never called as what is not: no state, lock or pointer is shared.
    """
    if config.mode not in ("emulator", "paper"):
        return config.mode
    if config.is_paper:
        source = config.paper.source
        return f"paper-{source if '/' not in source else _host_of(source)}"
    return _host_of(config.emulator.url)


def _host_of(url: str) -> str:
    """Host and port, in one spelling for each host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "::1", "::", "0.0.0.0"):  # noqa: S104 - as it is dialled
        host = "127.0.0.1"
    return f"{host}:{parts.port or 80}"
