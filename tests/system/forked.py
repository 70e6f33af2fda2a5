"""
Processes of `mmbot` that begin loaded: `Forked` is a `Popen` that asks `system.nursery` for one.

Only on Linux: the kernel makes the tests the parent of a process that another one forked, so that
its end is waited for as of any child.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

IS_AVAILABLE = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None) if IS_AVAILABLE else None


def die_with_the_tests() -> None:
    """In the child: a test run that is killed cannot clean up, so the kernel does it."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@functools.cache
def _nursery() -> socket.socket:
    """The way to it. It ends when this is closed, not with the thread that asked first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("nursery.py"), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            # Threads of a library would not survive the fork.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    assert ours.recv(32) == b"loaded", process.wait()
    atexit.register(_close, ours, process)
    return ours


def _close(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """It ends where nobody is left who could ask."""
    ours.close()
    process.wait()


class Forked(subprocess.Popen[str]):
    """
    `python -P -m mmbot ARGUMENTS` without the time that loading takes.

    `subprocess.Popen` makes pipes and waits; only how the process comes to be is replaced, by the
    method that every CPython from 3.11 to 3.13 has for it.
    """

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        """As of the base: `rest` ends with what concerns descriptors, groups and users."""
        cwd, env = rest[4], rest[5]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        process_group = rest[21]
        asked = {
            "arguments": args,
            "cwd": str(cwd or os.getcwd()),  # noqa: PTH109 - as the kernel says it
            "env": dict(env),
            "is_leader": process_group == 0,
            "parent": os.getpid(),
        }
        standard = [0 if p2cread == -1 else p2cread, 1 if c2pwrite == -1 else c2pwrite]
        standard.append(2 if errwrite == -1 else errwrite)
        nursery = _nursery()
        assert _LIBC is not None
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(nursery, [json.dumps(asked).encode()], standard)
            self.pid = int(nursery.recv(32))
        finally:
            # Orphans of the program go where they go on a machine that tests nothing.
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
