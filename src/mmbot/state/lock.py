"""
One program per account and market: a lock that lives exactly as long as the process.

Two daemons on one market would cancel each other's orders, and each would hold the limits for
itself. Two marks keep the second one out:

- a name in the kernel's table of abstract sockets (Linux), made of environment, account and coin:
  it holds whatever `state_dir` the other uses;
- a lock on a file beside the safety state: it holds on every system, and between containers that
  share the folder. What is in the file says whether the last run ended with nothing resting.

The kernel drops both when the process ends, however it ends; a file left behind blocks nobody.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from mmbot.errors import CheckError, StateError

_PEER: Final = struct.Struct("3i")
"""pid, uid, gid: the answer to SO_PEERCRED (unix(7))."""
_BACKLOG: Final = 128
_PEER_WAIT_S: Final = 0.2
_SPACE_DIGITS: Final = 8
_MARK_BYTES: Final = 95


class _Mark(msgspec.Struct):
    """What stands in the file."""

    pid: int
    may_rest: bool
    """Whether orders may rest at the venue: set before the first, cleared by a verified end."""
    space: str = ""
    """Where `pid` means something, see `_pid_space`."""


class HeldError(CheckError):
    """Another process has the market; `pid` is its number, 0 where it cannot be told from here."""

    def __init__(self, text: str, pid: int) -> None:
        super().__init__(text)
        self.pid = pid


class RunLock:
    """
    The right to trade one market of one account; a context manager.

    Args:
        path: Lock file, beside the safety state.
        name: Environment, account and coin; None where `path` alone says it (an exchange that
            ends with the run).
        what: The market and account in words, for the message.
        remedy: What to do about another holder; `{pid}` is its process, if it is known.

    Raises:
        HeldError: Another process holds it.
        StateError: The file cannot be made, and there is no other mark to rely on.
    """

    def __init__(self, path: Path, name: str | None, *, what: str, remedy: str) -> None:
        self.path = path
        self.problem: StateError | None = None
        """Why the file could not be locked, where the name keeps others out all the same."""
        self.may_rest = True
        """Whether the last run on this market left in doubt what rests; so it is until read."""
        self._what = what
        self._remedy = remedy
        self._fd: int | None = None
        self._name: socket.socket | None = None
        try:
            if name is not None and sys.platform == "linux":
                self._name = self._claim(name)
            self._lock()
        except BaseException:
            self.release()
            raise

    def orders_may_rest(self, *, may_rest: bool) -> None:
        """
        Write down for the next start whether orders may rest from now on.

        Raises:
            StateError: That they may could not be written; that they do not is only a comfort.
        """
        if self._fd is None:
            return
        mark = msgspec.json.encode(_Mark(os.getpid(), may_rest, _pid_space()))
        # In place and in one write: a process killed in between leaves the old mark or this one,
        # and what cannot be read counts as "may rest".
        try:
            os.pwrite(self._fd, mark.ljust(_MARK_BYTES) + b"\n", 0)
        except OSError as error:
            if may_rest:
                text = f"cannot write {self.path}: {error.strerror}; mend that first"
                raise StateError(text) from None

    def release(self) -> None:
        """Let others in."""
        if self._name is not None:
            self._name.close()
            self._name = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _claim(self, name: str) -> socket.socket:
        # The kernel allows 107 bytes; a digest fits whatever the names are.
        address = "\0mmbot-run-" + hashlib.sha256(name.encode()).hexdigest()
        claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claimed.bind(address)
            claimed.listen(_BACKLOG)
        except OSError as error:
            claimed.close()
            if error.errno == errno.EADDRINUSE:
                raise self._held(_peer(address)) from None
            # Nothing may be cancelled before it is known that the orders are nobody else's.
            raise StateError(
                f"cannot tell whether another mmbot trades {self._what}: the kernel refuses a "
                f"socket name ({error.strerror}); allow abstract unix sockets"
            ) from None
        return claimed

    def _lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mark = _read(self.path)
            raise self._held(mark.pid if mark.space == _pid_space() else 0) from None
        except OSError as error:
            self.problem = StateError(f"cannot lock {self.path}: {error.strerror}; mend that first")
            if self._name is None:
                raise self.problem from None
            if self._fd is not None:
                self.may_rest = _read(self.path).may_rest
            return
        self.may_rest = _read(self.path).may_rest
        self.orders_may_rest(may_rest=self.may_rest)

    def _held(self, pid: int) -> HeldError:
        who = f"process {pid}" if pid else "a process that cannot be told from here"
        remedy = self._remedy.format(pid=pid or "its number")
        return HeldError(f"{self._what} is held by another mmbot, {who}: {remedy}", pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def holder(path: Path) -> int:
    """
    The process that holds the lock; 0 where none does, or none that can be told from here.

    A number that was given to somebody else since is none: its lock ended with the process.
    """
    mark = _read(path)
    if mark.space != _pid_space():
        return 0
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return mark.pid
    except OSError:
        return 0
    return 0


def file_of(pid: int) -> Path | None:
    """The lock file that a process holds; None where the system does not tell (Linux does)."""
    found: set[Path] = set()
    with suppress(OSError):  # it has ended, or is another person's
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                found.add(Path(os.readlink(entry)))  # noqa: PTH115 - may name what is no file
    locks = (path for path in found if path.name.endswith(".lock") and holder(path) == pid)
    return next(locks, None)


def _read(path: Path) -> _Mark:
    """What the file says; nobody's where there is none, and doubt where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return _Mark(0, may_rest=True)
    if not data:
        return _Mark(0, may_rest=False)
    try:
        return msgspec.json.decode(data, type=_Mark)
    except msgspec.DecodeError:
        return _Mark(0, may_rest=True)


def _pid_space() -> str:
    """Where process numbers are those of this process: the machine, and the container on it."""
    try:
        inode = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no file of anybody's
    except OSError:  # not Linux
        inode = 0
    name = f"{os.uname().nodename}/{inode}"
    return hashlib.sha256(name.encode()).hexdigest()[:_SPACE_DIGITS]


def _peer(address: str) -> int:
    """Process that listens on an abstract socket, 0 if it cannot be told."""
    if sys.platform != "linux":
        return 0
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PEER_WAIT_S)
            probe.connect(address)
            raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            pid: int = _PEER.unpack(raw)[0]
            return pid
    except OSError:
        return 0
