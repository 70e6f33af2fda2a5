"""
The control socket, from the side of clients that mean no good, and of files that are in the way.

What is at stake is the loop behind it: it trades. No client may hold it, end it, or make it answer
more often than it wants to.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from typer.testing import CliRunner

from mmbot.cli.app import build
from mmbot.errors import StateError
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime import asking, control
from mmbot.runtime.asking import GONE, HUNG, LIVE
from mmbot.runtime.control import (
    CLIENTS_MAX,
    LINE_MAX,
    NAME,
    PACE_S,
    Control,
    Request,
    bind,
    connect,
    refusal,
    reply,
)
from mmbot.runtime.piped import Records
from mmbot.runtime.tailing import LOG


class Served:
    """A control socket whose answers count how often they were asked for."""

    def __init__(self, folder: Path) -> None:
        self.log = Records()
        self.path = folder / NAME
        self.asked: list[Request] = []
        self.clients: list[asyncio.StreamWriter] = []
        log = make_logger(cast("LogWriter", self.log), lambda: 0)
        self.control = Control(self.path, self._answer, log)

    def _answer(self, request: Request) -> Any:
        self.asked.append(request)
        match request.cmd:
            case "bug":
                raise ZeroDivisionError("a bug of ours")
            case "later":
                return self._later()
            case "later bug":
                return self._later_bug()
            case "large":
                return reply(data="x" * 3_000_000)
            case _:
                return reply(cmd=request.cmd)

    async def _later(self) -> bytes:
        await asyncio.sleep(0)
        return reply(cmd="later")

    async def _later_bug(self) -> bytes:
        await asyncio.sleep(0)
        raise ZeroDivisionError("a bug of ours")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """One that is open."""
    found = Served(tmp_path)
    found.control.open()
    yield found
    found.control.close()
    for writer in found.clients:
        writer.transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


async def _dial(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(served.path), limit=1 << 23)
    served.clients.append(writer)
    return reader, writer


async def _ask(served: Served, *lines: bytes, count: int | None = None) -> list[dict[str, Any]]:
    """Send lines over one connection; the answers, as many as there were lines."""
    reader, writer = await _dial(served)
    for line in lines:
        writer.write(line + b"\n")
    found = []
    for _ in range(len(lines) if count is None else count):
        answer = await asyncio.wait_for(reader.readline(), 20)
        if not answer:
            break
        found.append(msgspec.json.decode(answer))
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return found


# -- what it is for ------------------------------------------------------------------------------


async def test_it_answers_line_by_line_and_only_its_owner_may_ask(served: Served) -> None:
    """Position and equity are nobody else's business, and `stop` even less."""
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600

    answers = await _ask(served, b'{"cmd":"status"}', b'{"cmd":"later"}', b'{"v":1,"cmd":"why"}')

    assert [it["cmd"] for it in answers] == ["status", "later", "why"]
    assert all(it["ok"] and it["v"] == 1 for it in answers)


async def test_a_socket_is_gone_with_its_daemon_and_no_other_is_removed(served: Served) -> None:
    """A daemon that ends late must not take away the socket of the one that came after it."""
    served.path.unlink()
    other = bind(served.path)
    served.control.close()
    assert served.path.exists()
    other.close()


# -- what clients do -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00\xff\xfe",
        b"status",
        b"[]",
        b"{}",
        b"null",
        b'{"cmd":5}',
        b'{"cmd":"status","v":' + b"9" * 3900 + b"}",
        b'{"cmd":"status","v":-1}',
        b'{"cmd":"status","v":1e999}',
        b'{"cmd":"status","v":2}',
        b'{"cmd":"status","unknown":1}',
        b'{"cmd":"' + b"s" * 200 + b'"}',
        b"[" * 2000,
        b'{"cmd":"status"' + b" " * 3000,
        '{"cmd":"\ud800"}'.encode("utf-8", "surrogatepass"),
    ],
)
async def test_rubbish_is_refused_and_the_next_line_is_answered(
    served: Served, line: bytes
) -> None:
    """A number of thousands of digits, a nest of brackets, another version: all the same."""
    first, second = await _ask(served, line, b'{"cmd":"status"}')

    assert not first["ok"]
    assert len(first["error"]) < 400
    assert second["ok"]
    assert [it.cmd for it in served.asked] == ["status"]


async def test_a_number_of_five_thousand_digits_is_too_long_a_line(served: Served) -> None:
    """It is not read to its end, and the client is let go."""
    line = b'{"cmd":"status","v":' + b"9" * 5000 + b"}"
    answers = await _ask(served, line, count=2)

    assert len(answers) == 1
    assert str(LINE_MAX) in answers[0]["error"]
    assert served.asked == []


async def test_a_question_that_meets_a_bug_of_ours_ends_nothing(served: Served) -> None:
    """An exception in a callback of the loop trips the kill switch; a question must not."""
    caught: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))

    answers = await _ask(served, b'{"cmd":"bug"}', b'{"cmd":"later bug"}', b'{"cmd":"status"}')

    assert [it["ok"] for it in answers] == [False, False, True]
    assert "ZeroDivisionError" in answers[0]["error"]
    assert [r["event"] for r in served.log.all] == ["control.failed"] * 2
    assert caught == []


async def test_a_flood_is_answered_at_the_pace_of_the_daemon(served: Served) -> None:
    """Thousands of requests in hand cost no more of the loop than one every five milliseconds."""
    loop = asyncio.get_running_loop()
    reader, writer = await _dial(served)
    writer.write(b'{"cmd":"status"}\n' * 20_000)
    began = loop.time()
    turns = 0
    while loop.time() - began < 40 * PACE_S:
        await asyncio.sleep(0)
        turns += 1
    span_s = loop.time() - began
    writer.transport.abort()
    del reader

    assert 1 <= len(served.asked) <= span_s / PACE_S + 2
    assert turns > len(served.asked)


async def test_the_pace_holds_for_all_clients_together(served: Served) -> None:
    """Eight at once get no more than one alone."""
    turns = [served.control.turn() for _ in range(20)]
    gaps = [b - a for a, b in pairwise(turns)]
    assert min(gaps) >= PACE_S * 0.999


async def test_more_clients_than_it_serves_are_told_so(served: Served) -> None:
    """Their descriptors are those of the daemon."""
    held = [await _dial(served) for _ in range(CLIENTS_MAX)]
    await _ask_on(*held[-1])
    reader, writer = await _dial(served)
    answer = msgspec.json.decode(await asyncio.wait_for(reader.readline(), 20))
    assert "clients are served already" in answer["error"]
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()

    held[0][1].transport.abort()
    for _ in range(1000):
        with suppress(ConnectionError, IndexError):  # refused before it could speak
            if (await _ask(served, b'{"cmd":"status"}'))[0]["ok"]:
                break
    else:
        raise AssertionError("the place of a client that is gone is never free")
    for _, other in held[1:]:
        other.transport.abort()


async def test_clients_that_say_nothing_make_room_for_one_that_does(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight sockets left open must not keep an operator from stopping the run."""
    monkeypatch.setattr(control, "_YIELD_S", 0.0)
    held = [await _dial(served) for _ in range(CLIENTS_MAX)]
    for each in held:
        await _ask_on(*each)

    (answer,) = await _ask(served, b'{"cmd":"status"}')

    assert answer["ok"]
    assert await asyncio.wait_for(held[0][0].read(), 20) == b""


def test_a_daemon_that_hangs_up_before_the_question_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its places taken it is there all the same: nobody may be told to kill it."""
    listener = bind(tmp_path / NAME)
    listener.settimeout(20)
    said = [refusal("8 clients are served already") + b"\n", b""]
    peer = asking._peer

    def after_it_hung_up(client: socket.socket) -> int | None:
        found = peer(client)
        taken, _ = listener.accept()
        taken.sendall(said.pop(0))
        taken.close()
        return found

    monkeypatch.setattr(asking, "_peer", after_it_hung_up)
    full = asking.ask(tmp_path, "status")
    wordless = asking.ask(tmp_path, "status")
    listener.close()
    said.append(b"")
    gone = asking.ask(tmp_path, "status")

    assert (full.how, wordless.how, gone.how) == (LIVE, LIVE, GONE)
    assert full.reply is not None
    assert wordless.reply is not None
    assert "served already" in full.reply["error"]
    assert "ask again" in wordless.reply["error"]
    assert full.pid == os.getpid()


async def _ask_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'{"cmd":"status"}\n')
    assert b'"ok":true' in await asyncio.wait_for(reader.readline(), 20)


async def test_an_answer_that_is_left_unread_holds_up_nobody(served: Served) -> None:
    """Three megabytes for a client that reads none of them, and another one meanwhile."""
    _, deaf = await _dial(served)
    deaf.transport.pause_reading()  # type: ignore[attr-defined]
    deaf.write(b'{"cmd":"large"}\n' * 3)

    (answer,) = await _ask(served, b'{"cmd":"status"}')

    assert answer["ok"]
    deaf.transport.abort()


async def test_a_line_that_never_ends_and_a_client_that_says_nothing_hold_up_nobody(
    served: Served,
) -> None:
    """They are dropped after a while; nobody notices until then."""
    _, half = await _dial(served)
    half.write(b'{"cmd":"sta')
    _, silent = await _dial(served)

    (answer,) = await _ask(served, b'{"cmd":"status"}')

    assert answer["ok"]
    half.transport.abort()
    silent.transport.abort()


async def test_a_client_that_only_sends_and_closes_gets_its_answer(served: Served) -> None:
    """`echo ... | nc -U` says its line and closes its half."""
    reader, writer = await _dial(served)
    writer.write(b'{"cmd":"status"}\n')
    writer.write_eof()
    assert b'"ok":true' in await asyncio.wait_for(reader.read(), 20)
    writer.close()


# -- what is in the way --------------------------------------------------------------------------


def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    """`kill -9` leaves the file; the next run in this folder must be reachable."""
    code = (
        "import os, sys; from pathlib import Path; from mmbot.runtime.control import bind;"
        "bind(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / NAME
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.is_socket()

    listener = bind(path)
    connect(path, 1.0).close()
    listener.close()


def test_the_socket_of_a_living_daemon_is_not_taken(tmp_path: Path) -> None:
    """Whoever asked after the position would be told that of the wrong one."""
    path = tmp_path / NAME
    first = bind(path)
    with pytest.raises(StateError, match="another program"):
        bind(path)
    connect(path, 1.0).close()
    first.close()


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder"])
def test_what_is_no_socket_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    """A link in its place could lead anywhere."""
    path, target = tmp_path / NAME, tmp_path / "target"
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case "link":
            target.write_text("mine")
            path.symlink_to(target)
        case _:
            path.symlink_to(target)
    before = os.lstat(path)

    with pytest.raises(StateError, match="something else is there"):
        bind(path)

    assert os.lstat(path).st_ino == before.st_ino
    assert not target.exists() or target.read_text() == "mine"


def test_a_deep_folder_has_a_socket_all_the_same(tmp_path: Path) -> None:
    """An address of a unix socket holds 107 bytes, and a folder of a run may be deeper."""
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    folder.mkdir(parents=True)
    path = folder / NAME
    assert len(str(path)) > 200

    listener = bind(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = connect(path, 1.0)
    server, _ = _accepted(listener)
    client.sendall(b"hello")
    assert server.recv(5) == b"hello"
    for each in (client, server, listener):
        each.close()


def _accepted(listener: socket.socket) -> tuple[socket.socket, Any]:
    listener.settimeout(20)
    return listener.accept()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The run goes on without a socket; its log says why there is none."""
    with pytest.raises(StateError, match="no control socket"):
        bind(tmp_path / "missing" / NAME)


@pytest.mark.skipif(sys.platform != "linux", reason="the pid of a full queue is from /proc/locks")
def test_a_daemon_that_hangs_keeps_its_name_however_often_it_is_asked(tmp_path: Path) -> None:
    """After nine questions its queue is full, and nobody is at the other end to be asked."""
    listener = bind(tmp_path / NAME)
    arguments = ["stop", str(tmp_path)]
    with (tmp_path / LOG).open("w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        heard = [asking.ask(tmp_path, "status", timeout_s=0.01) for _ in range(12)]
        told = CliRunner().invoke(build(arguments), arguments)
    unlocked = CliRunner().invoke(build(arguments), arguments)
    listener.close()

    assert [(it.how, it.pid) for it in heard] == [(HUNG, os.getpid())] * 12
    assert f"process {os.getpid()} hangs" in told.stdout
    assert str(told.exception).startswith(f"process {os.getpid()} does not answer")
    assert str(unlocked.exception) == "it does not answer: mmbot kill cancels its orders"
    assert "None" not in unlocked.stdout
