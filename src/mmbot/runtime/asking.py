"""
Ask a daemon, and tell what it says from what is only left of it.

A daemon that answers is live. One that takes a connection and does not answer hangs. Where nobody
listens, the files of the run say how it was, as of their last line: that is never called live.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.config import Config, load
from mmbot.errors import ConfigError, StateError
from mmbot.runtime.control import NAME, VERSION, connect
from mmbot.runtime.report.kinds import KindError, check
from mmbot.runtime.rundir import LATEST, find_run, run_pointer
from mmbot.runtime.swept import Swept, settings_of, swept_since
from mmbot.runtime.tailing import LOG, tail_records
from mmbot.runtime.venues import lock_path, state_path
from mmbot.state.lock import holder

ANSWER_S: Final = 2.0
"""Longest a daemon may take: it answers within milliseconds unless its loop hangs."""
_TAIL_BYTES: Final = 1 << 20
_PEER: Final = struct.Struct("3i")
_NOBODY: Final = "0x" + "0" * 40
_ANSWER_BYTES_MAX: Final = 4 << 20

_TRADED: Final = frozenset(
    {
        "fill.booked", "fills.late", "funding.booked", "invariant.broken", "journal.closed",
        "killswitch.tripped", "killswitch.unreported", "link.lost", "link.opened", "mode.changed",
        "order.rejected", "position.differs", "position.mismatched", "run.ended", "run.refused",
        "run.started", "run.stopping", "run.unverified", "run.verified", "session.started",
        "snapshot.read", "vitals.violated",
    }
)  # fmt: skip
"""Events that no start writes before its `run.started`: what comes up to them is another run's."""

LIVE, HUNG, MUTE, ENDED, DIED = "live", "hung", "unreachable", "ended", "died"
REFUSED: Final = "refused"
EXPLAINING: Final = "explaining"


class Heard(msgspec.Struct, frozen=True):
    """
    What came of a question.

    `how` is LIVE (then there is a reply), HUNG, or "gone" where nobody listens.
    """

    how: str
    reply: dict[str, Any] | None = None
    pid: int | None = None


GONE: Final = "gone"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the files of a run say of it, as of their last line.

    `state` is ENDED, EXPLAINING (the run is over, its process makes the report), REFUSED (it did
    not begin), DIED (it did not say that it ended, and nobody is there), HUNG, or MUTE (a process
    has the log, but no control socket).
    """

    state: str
    run_dir: str
    pid: int | None
    as_of_ns: int | None
    started: dict[str, Any] | None
    quote: dict[str, Any] | None
    account: dict[str, Any] | None
    fill: dict[str, Any] | None
    mode: dict[str, Any] | None
    trouble: dict[str, Any] | None
    """The last warning or worse."""
    summary: dict[str, Any] | None
    kill: dict[str, Any] | None
    venue_mode: str | None
    """What it traded with (`paper` and so on), by its configuration or its log."""
    is_embedded: bool
    """Whether its exchange ended with it."""
    swept: Swept | None
    """Who had the venue confirm, after its last sign of life, that nothing of it rests."""


# -- which run ----------------------------------------------------------------------------------


def find(run: str | None, config: Path | None, overrides: Sequence[str]) -> Path:
    """
    The folder of the run that is meant.

    Args:
        run: A folder, or `latest`; None for what the configuration says, or the newest.
        config: A configuration file.
        overrides: Its overrides.

    Raises:
        ConfigError: There is none, or several daemons answer and none was named. Where a process
            trades without a folder, it is named.
    """
    if run is not None and run != LATEST:
        return find_run(run)
    if config is None:
        return find_run(LATEST)
    settings = load(config, overrides)
    if run is None and not settings.is_embedded:
        named = _by_state(settings)
        if named is not None:
            return named
    try:
        return find_run(LATEST, settings.log.dir)
    except ConfigError as error:
        for pointer in [] if settings.is_embedded else _pointers(settings):
            if pid := _trader(pointer):
                raise _without_folder(str(error), pid) from None
        raise


def _without_folder(text: str, pid: int) -> ConfigError:
    return ConfigError(
        f"{text}. Process {pid} holds the market all the same, and trades: kill -INT {pid} stops "
        "it, mmbot kill cancels its orders and latches the switch"
    )


def _trader(pointer: Path) -> int:
    """The process that holds the market of a pointer; 0 where none does."""
    return holder(lock_path(pointer.with_name(pointer.name.removesuffix(pointer.suffix))))


def _by_state(settings: Config) -> Path | None:
    """
    The run that the safety state of this market names: one that answers, else the newest.

    Raises:
        ConfigError: Several answer, or the folder of one that trades is gone.
    """
    found: list[tuple[float, Path]] = []
    gone: list[tuple[Path, int]] = []
    for pointer in _pointers(settings):
        with suppress(OSError, ValueError):
            path = Path(pointer.read_text("utf-8"))
            if path.is_dir():
                found.append((pointer.stat().st_mtime, path))
            elif pid := _trader(pointer):
                gone.append((path, pid))
    live = sorted({path for _, path in found if _listens(path)})
    if len(live) > 1:
        names = ", ".join(str(path) for path in live)
        raise ConfigError(f"several daemons trade this market: name one of {names}")
    if live:
        return live[0]
    for path, pid in gone:
        raise _without_folder(f"no run at {path}: its folder was removed or renamed", pid)
    return max(found)[1] if found else None


def _pointers(settings: Config) -> list[Path]:
    """The files beside the safety states of this market that name the folders of their runs."""
    model = run_pointer(state_path(settings, None, settings.account_address or _NOBODY))
    if settings.account_address:
        return [model]
    # The account is that of the key, which is not read for a question.
    any_name = re.escape(model.name).replace(_NOBODY, "0x[0-9a-f]{40}")
    return [it for it in _entries(model.parent) if re.fullmatch(any_name, it.name)]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _listens(run_dir: Path) -> bool:
    try:
        connect(run_dir / NAME, ANSWER_S).close()
    except OSError as error:
        # A daemon that is stopped takes no more than its queue holds.
        return isinstance(error, BlockingIOError | TimeoutError)
    return True


# -- the question -------------------------------------------------------------------------------


def ask(run_dir: Path, cmd: str, *, timeout_s: float = ANSWER_S, **facts: Any) -> Heard:
    """
    Ask the daemon of a run.

    Raises:
        StateError: It is another user's, or what answers is none.
    """
    # A daemon that comes round later must not carry out what its asker has given up.
    until_ns = time.time_ns() + round(timeout_s * 1e9)
    line = msgspec.json.encode({"v": VERSION, "cmd": cmd, "until_ns": until_ns, **facts}) + b"\n"
    path = run_dir / NAME
    try:
        client = connect(path, timeout_s)
    except (BlockingIOError, TimeoutError):
        # The queue of its socket is full, so that there is no other end to ask who it is.
        return Heard(HUNG, None, _holder(run_dir / LOG))
    except PermissionError:
        raise StateError(f"{path}: is another user's; ask as that user") from None
    except OSError:
        return Heard(GONE)
    with client:
        pid = _peer(client)
        try:
            body = _said(client, line, time.monotonic() + timeout_s)
        except TimeoutError:
            return Heard(HUNG, None, pid)
    if body is None:
        if not _listens(run_dir):
            return Heard(GONE, None, pid)
        # It took us and hung up without a word, and takes others: it is there all the same.
        return Heard(LIVE, {"ok": False, "error": "it hung up on us: ask again"}, pid)
    try:
        reply = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise StateError(f"{path}: what answers there is no daemon of this program") from None
    return Heard(LIVE, reply, pid)


def _said(client: socket.socket, line: bytes, until: float) -> bytes | None:
    """
    Its answer to our line; None where it hung up without one.

    Raises:
        TimeoutError: It says nothing.
    """
    try:
        client.sendall(line)
    except TimeoutError:
        raise
    except OSError:
        pass  # one with too many clients says so, and does not wait for the question
    try:
        return _line(client, until)
    except TimeoutError:
        raise
    except OSError:
        return None


def _line(client: socket.socket, until: float) -> bytes | None:
    """One line; None where the other side hangs up first."""
    data = bytearray()
    while b"\n" not in data:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        client.settimeout(left)
        piece = client.recv(1 << 16)
        if not piece or len(data) > _ANSWER_BYTES_MAX:
            return None
        data += piece
    return bytes(data[: data.index(b"\n")])


def _peer(client: socket.socket) -> int | None:
    """Process at the other end, where the system tells."""
    if sys.platform != "linux":
        return None
    try:
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError:
        return None
    pid: int = _PEER.unpack(raw)[0]
    return pid or None


def process_state(pid: int | None) -> str | None:
    """Letter of a process's state as proc(5) has it, None where it is gone or not told."""
    if pid is None:
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]


def has_ended(pid: int) -> bool:
    """Whether a process is over; one that its parent has not noticed yet is."""
    if Path("/proc/self/stat").exists():
        return process_state(pid) in (None, "Z", "X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


# -- what is left -------------------------------------------------------------------------------


def read_files(run_dir: Path, heard: Heard) -> Kept:
    """What the files of a run say, for a daemon that did not answer."""
    records = _of_newest(tail_records(run_dir / LOG, _TAIL_BYTES))
    last: dict[str, dict[str, Any]] = {}
    trouble: dict[str, Any] | None = None
    for record in records:
        event = str(record.get("event"))
        with suppress(KindError):  # a disk or an editor has changed it: it says nothing
            check(event, record)
            last["quote" if event.startswith("quote.") else event] = record
        if record.get("level") in ("warning", "error", "critical"):
            trouble = record
    pid = heard.pid
    if heard.how == HUNG:
        state = HUNG
    elif (holder := _holder(run_dir / LOG)) is not None:
        state, pid = EXPLAINING if "run.ended" in last else MUTE, holder
    elif "run.refused" in last and ("run.started" not in last or "run.ended" in last):
        state = REFUSED
    else:
        state = ENDED if "run.ended" in last else DIED
    as_of_ns = _at_ns(records[-1]) if records else None
    started, settings = last.get("run.started", {}), settings_of(run_dir)
    return Kept(
        state=state,
        run_dir=str(run_dir),
        pid=pid,
        as_of_ns=as_of_ns,
        started=last.get("run.started"),
        quote=last.get("quote"),
        account=last.get("snapshot.read"),
        fill=last.get("fill.booked"),
        mode=last.get("mode.changed"),
        trouble=trouble,
        summary=last.get("run.ended"),
        kill=_json(run_dir / "kill.json") if "killswitch.tripped" in last else None,
        venue_mode=started.get("mode") if settings is None else settings.mode,
        is_embedded=settings is not None and settings.is_embedded,
        swept=swept_since(settings, run_dir, started.get("user"), as_of_ns),
    )


def _of_newest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    What of a log is of its newest run: from its `run.started` on, and what its start said before.

    All of it where no run began.
    """
    begin = traded = 0
    for i, record in enumerate(records):
        event = str(record.get("event"))
        if event == "run.started":
            begin = traded
        if event in _TRADED or event.startswith("quote."):
            traded = i + 1
    return records[begin:]


def _holder(path: Path) -> int | None:
    """Process that writes a log: it has locked it, which the kernel tells without our locking."""
    try:
        found = path.stat()
        rows = Path("/proc/locks").read_text("utf-8").splitlines()
    except OSError:
        return None
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for row in rows:
        words = row.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == device and int(words[4]) > 0:
            return int(words[4])
    return None


def _at_ns(record: dict[str, Any]) -> int | None:
    try:
        return round(datetime.fromisoformat(str(record.get("at"))).timestamp() * 1e9)
    except ValueError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if isinstance(found, dict) else None
