"""
Kill a process that works on the store, at every single write that it makes.

A child is traced by the kernel (ptrace): it stops before and after every system call, and at the
n-th that changes a file it is killed as by `kill -9`. What is on disk then is what a crash leaves
there: between two calls nothing changes. A write is also torn: half of it is let through, then the
process is killed, as a kernel may do that is told to kill in the middle of several pages. The
parent opens the file as the next start does and says what it found. One process does this for
every n, since a fork costs a millisecond and a start of Python half a second.

Usage: killed_at_writes.py FOLDER [--after-too]; prints a line of JSON per kill.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.errors import StateError
from mmbot.state.ledger import LedgerFill
from mmbot.state.store import Store

_TRACEME, _PEEKUSER, _POKEUSER, _SYSCALL, _SETOPTIONS = 0, 3, 6, 24, 0x4200
_DIE_WITH_US_AND_MARK_CALLS: Final = 0x100000 | 1
_CALL, _LENGTH = 15 * 8, 12 * 8
"""Where the number of a call and the length of a write stand (`user_regs_struct`, x86-64)."""
_MARK: Final = 0x80
WRITES: Final = {1: "write", 18: "pwrite64"}
CHANGES: Final = {
    **WRITES,
    20: "writev",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    82: "rename",
    87: "unlink",
    90: "chmod",
    91: "fchmod",
    257: "openat",
    263: "unlinkat",
    264: "renameat",
    285: "fallocate",
    316: "renameat2",
}
"""System calls of x86-64 that change a file, or make one."""


def filled(tid: int) -> LedgerFill:
    """A fill of the ledger."""
    return LedgerFill(
        "HYPE", tid, 7, 1000 + tid, "buy", 30.0, 1.0, 0.01, float(tid), False, False, None
    )


LOSS: Final = KillReason("session_loss", 3.1, 3.0, "USD", "lost 3.1 USD", 7)
LATER: Final = KillReason("operator", 1.0, 1.0, "command", "by hand", 9)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


STEPS: Final[tuple[Callable[[Store], object], ...]] = (
    lambda store: store.save_day(Day(1, 100.0, -1.0), 5),
    lambda store: store.save_cascade(CascadeMemory(), 6),
    lambda store: store.latch(LOSS),
    lambda store: store.save_day(Day(1, 100.0, -3.1), 7),
    lambda store: store.reset(8),
    lambda store: store.latch(LATER),
    lambda store: store.begin_ledger(1000),
    lambda store: store.keep_fills([filled(1), filled(2)]),
    lambda store: store.keep_fills([filled(2), filled(3)]),
    lambda store: store.save_nonce(900),
    lambda store: store.save_nonce(901),
)
"""What a day does to the store, after it was made."""


def work(path: Path, progress: Any) -> None:
    """All of it; each step is counted in shared memory when its call has returned."""
    with Store(path) as store:
        for step in STEPS:
            step(store)
            progress[0] += 1


def make_old(path: Path) -> None:
    """A file as the first version of the schema has it, latched."""
    with Store(path) as store:
        store.latch(LOSS)
    db = sqlite3.connect(path)
    db.executescript(
        "DROP TABLE cascade_memory; DROP TABLE day_account; DROP TABLE fills;"
        "DROP TABLE nonce_mark; DROP TABLE ledger_began;"
        "PRAGMA user_version = 1;"
    )
    db.close()


def upgrade(path: Path, progress: Any) -> None:
    """What a start does to a file of an older program."""
    with Store(path):
        progress[0] += 1


def state(path: Path) -> dict[str, Any]:
    """What the next start finds."""
    with Store(path) as store:
        latched, day = store.latched(), store.load_day()
        has_cascade = store.load_cascade() is not None
        ledger, nonce_ms = store.ledger(), store.nonce_ms()
        began_ms = store.begin_ledger(9000)  # 9000 where no step had said it
    db = sqlite3.connect(path)
    rows = db.execute("SELECT action FROM latch_history ORDER BY rowid").fetchall()
    (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
    (journal,) = db.execute("PRAGMA journal_mode").fetchone()
    db.close()
    return {
        "latched": None if latched is None else latched.trigger,
        "day": None if day is None else day.pnl_usd,
        "has_cascade": has_cascade,
        "nonce_ms": nonce_ms,
        "began_ms": began_ms,
        "fills": 0 if ledger is None else ledger.fills,
        "history": [action for (action,) in rows],
        "integrity": verdict,
        "journal": journal,
    }


def killed_at(count: int, act: Callable[[], None], *, is_torn: bool) -> str | None:
    """
    Run `act` in a child and kill it at its n-th change; the call, or None if it had ended.

    Every call counts twice, before and after; torn, every write counts once.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            act()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    _libc.ptrace(_SETOPTIONS, pid, None, _DIE_WITH_US_AND_MARK_CALLS)
    seen, deliver, is_before, is_doomed = 0, 0, False, False
    while True:
        _libc.ptrace(_SYSCALL, pid, None, deliver)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return None
        number = os.WSTOPSIG(status)
        if not number & _MARK:
            deliver = number
            continue
        deliver, is_before = 0, not is_before
        code = _libc.ptrace(_PEEKUSER, pid, _CALL, None)
        call = (WRITES if is_torn else CHANGES).get(code)
        if call is None or (is_torn and not is_before and not is_doomed):
            continue
        if not is_doomed:
            seen += 1
        if seen < count:
            continue
        if is_torn and is_before:
            length = _libc.ptrace(_PEEKUSER, pid, _LENGTH, None)
            _libc.ptrace(_POKEUSER, pid, _LENGTH, length // 2)
            is_doomed = True
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return call


def main(folder: Path, *, is_after_too: bool) -> int:
    """Every kill there is, one after another; those after a call only if asked for."""
    place = folder / "state"
    path = place / "x.sqlite"
    for what, act, is_torn in (
        ("work", work, False),
        ("work", work, True),
        ("upgrade", upgrade, False),
        ("upgrade", upgrade, True),
    ):
        call: str | None = ""
        # What a kill after a call leaves on disk is what one before the next call does.
        stride = 1 if is_torn or is_after_too else 2
        count = 1 - stride
        while call is not None:
            count += stride
            shutil.rmtree(place, ignore_errors=True)
            if act is upgrade:
                make_old(path)
            with mmap.mmap(-1, 1) as progress:
                call = killed_at(count, partial(act, path, progress), is_torn=is_torn)
                done = progress[0]
            try:
                found: dict[str, Any] = {"state": state(path)}
            except StateError as error:
                found = {"error": str(error)}
            facts = {"what": what, "n": count, "is_torn": is_torn, "call": call, "done": done}
            sys.stdout.write(json.dumps({**facts, **found}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), is_after_too="--after-too" in sys.argv))
