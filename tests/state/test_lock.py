"""The lock on a market: held by one process, free once it is gone, legible to a person."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmbot.errors import CheckError, StateError
from mmbot.state.lock import RunLock

HOLDER = """\
import sys
from pathlib import Path
from mmbot.state.lock import RunLock
lock = RunLock(Path(sys.argv[1]), sys.argv[2] or None, what="HYPE", remedy="kill {pid}")
lock.orders_may_rest(may_rest=True)
print("held", flush=True)
sys.stdin.read()
"""


def take(path: Path, name: str | None) -> RunLock:
    return RunLock(path, name, what="HYPE of 0xab", remedy="stop it with kill {pid}")


def hold(path: Path, name: str = "") -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_another_process_with_the_same_file_is_refused_by_its_number(tmp_path: Path) -> None:
    """A person can stop what has a number."""
    path = tmp_path / "x.sqlite.lock"
    other = hold(path)
    try:
        with pytest.raises(CheckError, match=f"process {other.pid}: stop it with kill {other.pid}"):
            take(path, None)
    finally:
        kill(other)
    take(path, None).release()


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_another_process_with_the_same_name_is_refused_whatever_its_file(tmp_path: Path) -> None:
    """The account is one, however many folders there are for its state."""
    name = f"test/{tmp_path}/HYPE"
    other = hold(tmp_path / "a" / "x.lock", name)
    try:
        with pytest.raises(CheckError, match=f"process {other.pid}"):
            take(tmp_path / "b" / "x.lock", name)
        take(tmp_path / "b" / "x.lock", name + "2").release()
    finally:
        kill(other)
    take(tmp_path / "b" / "x.lock", name).release()


def test_a_refused_take_leaves_the_holder_alone(tmp_path: Path) -> None:
    """What it wrote about its orders stays what it wrote."""
    path = tmp_path / "x.lock"
    other = hold(path)
    before = path.read_bytes()
    with pytest.raises(CheckError):
        take(path, None)
    assert path.read_bytes() == before
    kill(other)

    with take(path, None) as lock:
        assert lock.may_rest


def test_the_mark_outlives_a_killed_process_and_is_cleared_by_a_verified_end(
    tmp_path: Path,
) -> None:
    """The next start knows whether orders may rest."""
    path = tmp_path / "x.lock"
    with take(path, None) as lock:
        assert not lock.may_rest
    kill(hold(path))
    with take(path, None) as lock:
        assert lock.may_rest
    with take(path, None) as lock:
        assert lock.may_rest, "a start that sent nothing knows nothing new"
        lock.orders_may_rest(may_rest=False)
    with take(path, None) as lock:
        assert not lock.may_rest

    path.write_text("half a wri")
    with take(path, None) as lock:
        assert lock.may_rest, "what cannot be read is doubt"


def test_a_file_that_cannot_be_made_is_an_error_at_once_without_a_name(tmp_path: Path) -> None:
    """And a problem for later with one: old orders are cancelled before anything can fail."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x.lock"
    with pytest.raises(StateError, match="cannot lock"):
        take(path, None)
    if sys.platform == "linux":
        with take(path, f"test/{tmp_path}/{os.getpid()}") as lock:
            assert isinstance(lock.problem, StateError)
            lock.orders_may_rest(may_rest=True)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_where_files_cannot_be_locked_what_may_rest_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start must be patient with a venue that may hold orders of ours."""
    path, name = tmp_path / "x.lock", f"test/{tmp_path}/{os.getpid()}"
    with take(path, name) as lock:
        lock.orders_may_rest(may_rest=True)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with take(path, name) as lock:
        assert lock.may_rest
        assert "No locks available" in str(lock.problem)
    with take(tmp_path / "absent" / "y.lock", name) as lock:
        assert not lock.may_rest, "the file was made, and nobody wrote into it"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_a_kernel_that_refuses_the_name_does_not_pass_for_another_mmbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can stop a process that is not there; and nothing of others may be cancelled."""

    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(socket, "socket", Refusing)
    path = tmp_path / "x.lock"
    with pytest.raises(StateError, match=r"refuses a socket name \(denied\)"):
        take(path, "test/name")
    monkeypatch.undo()
    take(path, "test/name").release()


def test_a_process_of_another_machine_is_not_named_by_its_number(tmp_path: Path) -> None:
    """Containers that share a folder count their processes apart: the number is somebody else's."""
    path = tmp_path / "x.lock"
    other = hold(path)
    try:
        path.write_bytes(path.read_bytes().replace(b'"space":"', b'"space":"x'))
        with pytest.raises(CheckError, match="a process that cannot be told from here"):
            take(path, None)
    finally:
        kill(other)
