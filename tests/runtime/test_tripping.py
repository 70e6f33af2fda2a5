"""`mmbot kill` sends its cancels whatever becomes of the store, the lock and the daemon."""

from __future__ import annotations

import errno
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pytest

from mmbot.config import Config, load
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import StateError
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime import holding, sweep, tripping
from mmbot.runtime.heart import Beat, beat_path, write_beat
from mmbot.runtime.piped import Records
from mmbot.runtime.venues import Venue, lock_path, market_lock, state_path
from mmbot.state.lock import RunLock
from mmbot.state.store import Store
from runtime import test_sweep

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
USER = "0x" + "ab" * 20
PATIENCE_S = 120

DAEMON = """\
import signal, sys
from pathlib import Path
from mmbot.config import load
from mmbot.runtime.venues import market_lock, state_path
config = load(Path(sys.argv[1]), sys.argv[2].split(","))
lock = market_lock(config, state_path(config, None, sys.argv[3]), sys.argv[3], "")
if sys.argv[4] == "run":
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
print("held", flush=True)
sys.stdin.read()
"""
"""Holds a market; a run trips by SIGUSR1, anything else would be ended by it."""


class Exchange(test_sweep.Venue):
    """One that shows an order of ours until it is cancelled."""

    def __init__(self) -> None:
        super().__init__(o1=test_sweep.OURS)

    def clock(self) -> int:
        """Seconds pass with every look, so that nothing waits for them."""
        self.now_ns += NS_PER_S
        return self.now_ns


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    """The venue that `trip` reaches, whatever address it is given."""
    exchange = Exchange()

    class Line:
        def __init__(self, url: str) -> None:
            self.request = exchange.request

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            """Nothing is open."""

    class Listed:
        def for_cancelling(self, coin: str) -> Instrument:
            return test_sweep.HYPE

    async def universe(*_: object) -> Listed:
        return Listed()

    monkeypatch.setattr(tripping, "Rest", Line)
    monkeypatch.setattr(tripping, "read_universe", universe)
    monkeypatch.setattr(tripping, "wall_clock_ns", exchange.clock)
    monkeypatch.setattr(sweep, "_WAITS_S", (0.0,))
    monkeypatch.setattr(holding, "_ANSWER_S", 0.3)
    return exchange


def config_of(folder: Path) -> Config:
    """Of a market that is this test's alone: the name of the lock is the machine's."""
    return load(CONFIG, sets_of(folder))


def sets_of(folder: Path) -> list[str]:
    port = 20_000 + hash(folder.parent) % 20_000
    return [f"emulator.url=http://127.0.0.1:{port}", f"state_dir={folder}"]


async def tripped(config: Config) -> tuple[tripping.Tripped, list[str]]:
    """What `mmbot kill` does and says."""
    said: list[str] = []
    done = await tripping.trip(
        config,
        state_path(config, None, USER),
        USER,
        Venue("http://nowhere", b"\1" * 32),
        1,
        log=make_logger(cast("LogWriter", Records()), lambda: 0),
        tell=said.append,
    )
    return done, said


FAULTS: dict[str, Exception] = {
    "refused": StateError("read-only file system"),
    "sqlite": sqlite3.OperationalError("database or disk is full"),
    "system": OSError(errno.ENOSPC, "No space left on device"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", ["__init__", "latched", "latch", "close", "nonce_ms"])
async def test_no_failure_of_the_store_keeps_a_cancel_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Exchange, call: str, fault: str
) -> None:
    """Orders cost money; a latch that is missing is said, and only the next start depends on it."""
    config = config_of(tmp_path / "state")
    state = state_path(config, None, USER)
    Store(state).close()

    def fails(*_: object) -> None:
        raise FAULTS[fault]

    with monkeypatch.context() as broken:
        broken.setattr(Store, call, fails)
        done, said = await tripped(config)

    assert [action["type"] for action in venue.actions] == ["cancelByCloid"]
    assert venue.orders == {}
    assert "the venue confirms that none of ours rests" in "\n".join(said)
    with Store(state) as store:
        assert (store.latched() is None) is (done.unlatched is not None)
    if call in ("__init__", "latch"):
        assert str(FAULTS[fault]) in (done.unlatched or "")


async def test_a_disk_that_hangs_holds_up_no_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Exchange
) -> None:
    """A file system that is away answers nothing at all, not even an error."""
    config = config_of(tmp_path / "state")
    back = threading.Event()
    monkeypatch.setattr(tripping, "_LATCH_S", 0.01)
    monkeypatch.setattr(tripping, "_LATCH_LAST_S", 0.01)
    monkeypatch.setattr(Store, "latch", lambda *_: back.wait(PATIENCE_S))
    try:
        done, _ = await tripped(config)
    finally:
        back.set()

    assert venue.orders == {}
    assert "has not answered" in (done.unlatched or "")


@pytest.mark.parametrize("call", ["_claim", "_lock"])
async def test_a_market_that_cannot_be_locked_is_cleared_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: Exchange, call: str
) -> None:
    """Whether a daemon runs is not known then; cancelling beside one does no harm."""

    def fails(*_: object) -> None:
        raise StateError("the kernel refuses a socket name")

    monkeypatch.setattr(RunLock, call, fails)
    done, said = await tripped(config_of(tmp_path / "state"))

    assert venue.orders == {}
    assert done.unlatched is None
    assert "daemon    not known whether one runs: the kernel refuses a socket name" in said


@pytest.fixture
def holder_of(tmp_path: Path) -> Iterator[Any]:
    """Starts a process that holds the market of this test with a state of its own."""
    begun: list[subprocess.Popen[str]] = []

    def hold(kind: str) -> subprocess.Popen[str]:
        sets = ",".join(sets_of(tmp_path / "theirs"))
        process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(CONFIG), sets, USER, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets and /proc are Linux's")


@linux
async def test_a_run_with_another_state_dir_is_told_by_its_signal_and_waited_for(
    tmp_path: Path, venue: Exchange, holder_of: Any
) -> None:
    """
    It does not look where we latch, and would quote again whatever is cancelled beside it.

    Its beat says that it lives, so it is waited for until it has ended, and not one cancel is sent
    before that.
    """
    other = holder_of("run")
    theirs = state_path(config_of(tmp_path / "theirs"), None, USER)
    write_beat(beat_path(theirs), Beat(pid=other.pid, may_rest=False))
    done, said = await tripped(config_of(tmp_path / "ours"))

    assert other.wait(PATIENCE_S) == 7
    assert done.unlatched is None
    (line,) = [line for line in said if line.startswith("daemon")]
    assert f"process {other.pid} has another state_dir ({theirs.parent}; here" in line
    assert str(tmp_path / "ours") in line
    assert line.endswith("told by SIGUSR1, which latches there as well, it has ended")
    assert venue.orders == {}


@linux
async def test_what_is_no_run_is_not_signalled_and_cancels_are_sent_beside_it(
    tmp_path: Path, venue: Exchange, holder_of: Any
) -> None:
    """SIGUSR1 would end `mmbot flatten` half way; who wants everything cancelled gets it tried."""
    other = holder_of("flatten")
    _, said = await tripped(config_of(tmp_path / "ours"))

    assert venue.orders == {}
    (line,) = [line for line in said if line.startswith("daemon")]
    assert f"process {other.pid} has another state_dir" in line
    assert "takes no SIGUSR1 from here: run mmbot kill with its own --config and --set" in line
    other.stdin.close()
    assert other.wait(PATIENCE_S) == 0, "it went on to its own end"


@linux
async def test_a_run_with_our_state_is_left_to_find_the_latch(
    tmp_path: Path, venue: Exchange, holder_of: Any
) -> None:
    """One message is enough: the reason that it tells is then the command's and not a signal's."""
    other = holder_of("run")
    config = config_of(tmp_path / "theirs")
    _, said = await tripped(config)

    assert f"process {other.pid} is starting" in "\n".join(said)
    assert other.poll() is None
    other.send_signal(signal.SIGUSR1)
    assert other.wait(PATIENCE_S) == 7
    market_lock(config, state_path(config, None, USER), USER, "").release()
    assert lock_path(state_path(config, None, USER)).exists()
