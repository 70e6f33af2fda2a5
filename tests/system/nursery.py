"""
Gives birth to processes of `mmbot` that are loaded already; run as a script by `system.forked`.

Loading the program takes more than a second of a core, and the tests start it many hundred times.
This process loads it once and waits; asked for a process, it forks one, which becomes in every
respect that the tests look at what `python -P -m mmbot ARGUMENTS` is: descriptors, environment,
folder, arguments, signals, parent. What a fresh interpreter does before is tested with fresh ones.
"""

from __future__ import annotations

import array
import ctypes
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_ASKED_BYTES = 1 << 20


def _load() -> None:
    """Load whatever a command may load, and nothing that runs by being loaded."""
    import mmbot.cli
    import mmbot.runtime

    for package in (mmbot.cli, mmbot.runtime):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".topview"):  # draws a terminal: large, and hardly ever
                importlib.import_module(module.name)
    importlib.import_module("mmbot.emulator.server")


def _serve(asking: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork a process for everybody who asks; returns in each of them, and None at the end."""
    while True:
        text, ancillary, _, _ = asking.recvmsg(_ASKED_BYTES, socket.CMSG_SPACE(3 * 4))
        if not text:
            return None
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        may_go, go = os.pipe()
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid:
                os.write(tell, str(pid).encode())
                os._exit(0)
            os.close(go)
            os.read(may_go, 1)
            return json.loads(text), list(descriptors)
        # The process in between ends, so that the tests become the parent (`system.forked`).
        os.waitpid(between, 0)
        os.write(go, b"!")
        asking.sendall(os.read(told, 32))
        for number in (*descriptors, may_go, go, told, tell):
            os.close(number)


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Everything as if the tests had started this process."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the tests
    if os.getppid() != asked["parent"]:
        os._exit(1)
    for number, given in enumerate(descriptors):
        os.dup2(given, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if asked["is_leader"]:
        os.setpgid(0, 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    del sys.path[0]  # where this script lies; the installed program has no folder of its own there
    sys.argv = ["mmbot", *asked["arguments"]]
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(open(0, "rb", closefd=False), encoding="utf-8")  # type: ignore[misc]  # noqa: SIM115
    is_unbuffered = bool(asked["env"].get("PYTHONUNBUFFERED"))
    sys.stdout = sys.__stdout__ = _text(1, is_unbuffered)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, is_unbuffered)  # type: ignore[misc]


def _text(number: int, is_unbuffered: bool) -> io.TextIOWrapper:
    """A standard stream as the interpreter makes it."""
    return io.TextIOWrapper(
        open(number, "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace" if number == 2 else "strict",
        line_buffering=number == 2 or os.isatty(number),
        write_through=is_unbuffered,
    )


def main() -> NoReturn:
    """Load, serve, and in a process that was asked for run the program."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    _load()
    asking.sendall(b"loaded")
    asked = _serve(asking)
    if asked is not None:
        asking.close()
        _become(*asked)
        runpy.run_module("mmbot", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
