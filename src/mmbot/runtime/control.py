"""
The control socket of a daemon: a unix socket of mode 0600 in the folder of its run.

A request is one line of JSON, and so is its answer. The loop that trades serves them, so whatever a
client does is bounded: how many there are, how much is read at once, how often one is answered, how
long one may be silent or leave its answer unread. The sockets are served by hand: a transport of
the loop hands its errors to the loop's handler, which takes an error that nobody expected for a bug
of the trader. No client can be one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from mmbot.errors import StateError
from mmbot.runtime.telling import Log

VERSION: Final = 1
NAME: Final = "control.sock"
LINE_MAX: Final = 4096
"""Longest request, bytes."""
CLIENTS_MAX: Final = 8
PACE_S: Final = 0.005
"""Between two answers, whoever gets them: a flood takes a small part of the loop and no more."""
IDLE_S: Final = 60.0
"""Silence, or an answer left unread, after which a client is dropped."""
_READ_BYTES: Final = 4096
_BACKLOG: Final = 8
_PATH_BYTES_MAX: Final = 100
"""A unix address holds 107 bytes (unix(7)), on other systems 103."""
_YIELD_S: Final = 5.0
"""Silence after which a client makes room for one that has something to say."""
_REST_S: Final = 1.0
"""Pause after the system could not take another client."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks."""

    cmd: Annotated[str, msgspec.Meta(max_length=32)]
    v: Annotated[int, msgspec.Meta(ge=1, le=1000)] = VERSION
    flatten: bool = False
    """With `stop`: close the position, whatever `on_exit` says."""
    until_ns: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Instant after which an order is not carried out: who gave it has gone and was told so."""


Answer = bytes | Awaitable[bytes]
_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


def reply(**facts: Any) -> bytes:
    """An answer."""
    return _encode({"v": VERSION, "ok": True, **facts})


def refusal(error: str) -> bytes:
    """An answer that says why there is none."""
    return _encode({"v": VERSION, "ok": False, "error": error})


def bind(path: Path) -> socket.socket:
    """
    A listening socket at `path`, of mode 0600; what a killed daemon left there is replaced.

    The caller holds the folder (its log is locked), so that what answers nobody belongs to nobody.

    Raises:
        StateError: Something else is in the way, or the system refuses; it was left as it is.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            address = _address(path, folder)
            _make_room(path, folder, address)
            listener.bind(address)
            # Nobody can connect before `listen`, so there is no moment of another mode.
            os.chmod(path.name, 0o600, dir_fd=folder)
            listener.listen(_BACKLOG)
        finally:
            os.close(folder)
        listener.settimeout(0)
    except OSError as error:
        listener.close()
        raise StateError(f"no control socket at {path}: {error.strerror or error}") from None
    except StateError:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout_s: float) -> socket.socket:
    """
    A connection to the daemon at `path`.

    Raises:
        OSError: Nobody listens, or nobody takes it in time.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            client.connect(_address(path, folder))
        finally:
            os.close(folder)
    except BaseException:
        client.close()
        raise
    return client


def _address(path: Path, folder: int) -> str:
    """A name for `path` that fits into an address, however deep its folder lies."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        return str(path)
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, "the path of the run directory is too long for a socket")
    return f"/proc/self/fd/{folder}/{path.name}"


def _make_room(path: Path, folder: int, address: str) -> None:
    try:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StateError(f"no control socket at {path}: something else is there; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(path.name, dir_fd=folder)
        except OSError as error:
            # A queue that is full has somebody at its other end.
            text = f"no control socket at {path}: another program has it ({error.strerror})"
            raise StateError(text) from None
        else:
            raise StateError(f"no control socket at {path}: another program answers there")


class Control:
    """
    The listening socket and its clients.

    Args:
        path: Where it is.
        answer: Answers a request, at once or later. It may raise whatever it likes: the client is
            told, the log as well, and nothing else happens.
        log: Where the program tells of requests that failed.
    """

    def __init__(self, path: Path, answer: Callable[[Request], Answer], log: Log) -> None:
        self.path = path
        self._answer = answer
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._clients: set[_Client] = set()
        self._free_at = 0.0
        self._identity: tuple[int, int] | None = None

    def open(self) -> None:
        """
        Listen from now on.

        Raises:
            StateError: It cannot be made; the message says why.
        """
        self._listener = bind(self.path)
        with suppress(OSError):
            found = self.path.lstat()
            self._identity = found.st_dev, found.st_ino
        self._loop.add_reader(self._listener, self._on_client)

    def close(self) -> None:
        """Drop every client and remove the socket, if it is still ours. Twice is once."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._loop.remove_reader(listener)
        listener.close()
        for client in list(self._clients):
            client.close()
        with suppress(OSError):
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:
                self.path.unlink()

    def turn(self) -> float:
        """When the next answer may be made, by the loop's clock."""
        now = self._loop.time()
        self._free_at = max(now, self._free_at) + PACE_S
        return self._free_at - PACE_S

    def answer(self, line: bytes) -> Answer:
        """Answer one line."""
        try:
            request = _decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return refusal(f"not a request: {str(error)[:200]}")
        if request.v != VERSION:
            return refusal(f"version {request.v} is not spoken here, only {VERSION}")
        try:
            return self._answer(request)
        except Exception as error:  # noqa: BLE001 - no question may end a run
            return self.failed(request.cmd, error)

    def failed(self, cmd: str, error: BaseException) -> bytes:
        """Tell of a request that failed within the program."""
        text = f"{type(error).__name__}: {error}"
        self._log.error("control.failed", cmd=cmd, error=text, exc_info=error)
        return refusal(f"internal error: {text}; the log has it")

    def forget(self, client: _Client) -> None:
        """A client is gone."""
        self._clients.discard(client)

    def _on_client(self) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            found, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # No descriptor is left: it is asked again later, and not a thousand times a second.
            self._loop.remove_reader(listener)
            self._loop.call_later(_REST_S, self._listen_again, listener)
            return
        found.settimeout(0)
        self._make_room()
        if len(self._clients) >= CLIENTS_MAX:
            with suppress(OSError):
                found.send(refusal(f"{CLIENTS_MAX} clients are served already") + b"\n")
            found.close()
            return
        client = _Client(found, self, self._loop)
        self._clients.add(client)
        client.listen()

    def _make_room(self) -> None:
        """Drop the client that has been silent longest: sockets left open keep nobody out."""
        if len(self._clients) >= CLIENTS_MAX:
            silent = max(self._clients, key=lambda client: client.silent_s)
            if silent.silent_s >= _YIELD_S:
                silent.close()

    def _listen_again(self, listener: socket.socket) -> None:
        if self._listener is listener:
            self._loop.add_reader(listener, self._on_client)


class _Client:
    """One connection: reads a line, waits for its turn, writes the answer, reads the next line."""

    def __init__(
        self, found: socket.socket, control: Control, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._socket: socket.socket | None = found
        self._control = control
        self._loop = loop
        self._in = bytearray()
        self._out = b""
        self._is_last = False
        self._moved_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.TimerHandle | None = None
        self._task: asyncio.Future[bytes] | None = None

    def listen(self) -> None:
        """Take the next line: from what was read already, or from the socket."""
        if self._socket is None:
            return
        self._patience()
        if self._is_last:
            self.close()
            return
        end = self._in.find(b"\n", 0, LINE_MAX + 1)
        if end >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            self._turn = self._loop.call_at(self._control.turn(), self._on_turn, line)
        elif len(self._in) > LINE_MAX:
            self._is_last = True
            self._say(refusal(f"a request has at most {LINE_MAX} bytes"))
        else:
            self._loop.add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        """Drop it."""
        found, self._socket = self._socket, None
        if found is None:
            return
        self._loop.remove_reader(found)
        self._loop.remove_writer(found)
        found.close()
        for handle in (self._timer, self._turn):
            if handle is not None:
                handle.cancel()
        if self._task is not None:
            self._task.remove_done_callback(self._on_done)
        self._control.forget(self)

    @property
    def silent_s(self) -> float:
        """For how long it has said nothing, or has left its answer unread, s."""
        is_owed = self._turn is not None or self._task is not None
        return 0.0 if is_owed else self._loop.time() - self._moved_at

    def _patience(self) -> None:
        self._moved_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(IDLE_S, self.close)

    def _on_readable(self) -> None:
        found = self._socket
        if found is None:
            return
        try:
            data = found.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._loop.remove_reader(found)
        self._in += data
        self.listen()

    def _on_turn(self, line: bytes) -> None:
        self._turn = None
        answer = self._control.answer(line)
        if isinstance(answer, bytes):
            self._say(answer)
            return
        self._task = asyncio.ensure_future(answer)
        self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Future[bytes]) -> None:
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._say(task.result() if error is None else self._control.failed("later", error))

    def _say(self, answer: bytes) -> None:
        self._out = answer + b"\n"
        self._write()

    def _write(self) -> None:
        """Write as much as is taken now; the rest when there is room."""
        found = self._socket
        if found is None:
            return
        try:
            sent = found.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._out = self._out[sent:]
        if self._out:
            self._loop.add_writer(found, self._write)
            return
        self._loop.remove_writer(found)
        # Not from here: a thousand lines in hand are no reason to nest a thousand calls deep.
        self._loop.call_soon(self.listen)
