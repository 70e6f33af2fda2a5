"""What any client can do to the port: the exchange lives on, and keeps its mouth shut."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.harness import NOW_MS, Server, build_exchange
from mmbot.emulator.limits import LimitParams
from mmbot.emulator.server import ADVANCE_MAX_MS, ManualClock, serve
from mmbot.emulator.session import UNREAD_MAX
from support import often

DEADLINE_S = 120.0
ORDER_HEAD = b"POST /exchange HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ABUSES = [
    b"",
    b"\x00\xff\x16\x03\x01",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ORDER_HEAD + b"Content-Length: 5\r\n\r\n{",
    ORDER_HEAD + b"Content-Length: -5\r\n\r\n",
    ORDER_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ORDER_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    ORDER_HEAD + b"Content-Length: 99999999999\r\n\r\n",
    b"POST /emulator/\xff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"GET /emulator/book?coin=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"A" * 100_000,
    UPGRADE,
    UPGRADE[:60],
    UPGRADE + b"\xff\xff\xff\xff",
    UPGRADE + b"\x81\x05hello",
    UPGRADE.replace(b"13", b"7"),
    UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
]


def _reset(port: int, sent: bytes) -> None:
    """Say something and hang up at once, without the courtesy of a closing handshake."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)


def _leave(port: int, sent: bytes) -> None:
    """Say something, read what comes at first, and leave."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(DEADLINE_S)
        try:
            while client.recv(65_536):
                pass
        except ConnectionError:
            pass


@contextmanager
def _process() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    command = [sys.executable, "-m", "mmbot", "exchange", "--json", "--until-stdin-closes"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, int(json.loads(line)["url"].rpartition(":")[2])
        finally:
            if process.poll() is None:
                process.kill()


def test_nothing_a_client_does_reaches_the_standard_error_of_the_exchange() -> None:
    """`mmbot run` shows it on the screen: a traceback there is somebody else's hang-up."""
    with _process() as (process, port):
        for sent in ABUSES * 3:
            _reset(port, sent)
        for sent in ABUSES:
            if sent != UPGRADE:
                _leave(port, sent)
        body = b'{"type":"exchangeStatus"}'
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
            client.sendall(
                b"POST /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        _, said = process.communicate(timeout=DEADLINE_S)

    assert said == b""
    assert process.returncode == 0


def test_a_handshake_that_comes_to_nothing_gives_its_place_back() -> None:
    """Ten failed handshakes would otherwise lock the address out for good."""
    limits = LimitParams(connections=1, connections_per_min=None)
    with Server(build_exchange(limits=limits)) as server:
        for _ in range(5):
            assert server.request("GET", "/ws").status == 400
        with server.socket() as client:
            client.send({"method": "ping"})
            assert client.take() == {"channel": "pong"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ms", "coin", "px", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_PATHS = st.sampled_from(
    ["/info", "/exchange", "/ws", "/", "/emulator/", "/emulator/nope", "/emulator/advance"]
    + [f"/emulator/{name}" for name in ("price", "trade", "faults", "account", "inject", "halt")]
)


def test_no_request_is_answered_500_and_none_kills_the_server() -> None:
    """Over the socket itself, where decoding, routing and time come on top."""
    with Server(build_exchange()) as server:

        @settings(max_examples=often(100, thoroughly=300), deadline=None)
        @given(
            method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
            path=_PATHS,
            body=st.binary(max_size=30) | _JSON.map(lambda value: json.dumps(value).encode()),
            kind=st.sampled_from(["application/json", "text/plain", "x", None]),
        )
        def ask(method: str, path: str, body: bytes, kind: str | None) -> None:
            status = server.request(method, path, body, kind).status
            assert status in {200, 400, 404, 405, 415, 422, 426}

        ask()
        assert server.info(type="exchangeStatus")["time"] >= NOW_MS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"ms":"5"}',
        b'{"ms":-1}',
        b'{"ms":1.5}',
        b'{"ms":1e400}',
        b'{"ms":%d}' % (ADVANCE_MAX_MS + 1),
        b'{"ms":5,"us":1}',
        b'{"ms":5',
    ],
)
def test_a_wrong_advance_moves_no_clock(body: bytes) -> None:
    """Half an hour too much and a test waits for the market to catch up."""
    with Server(build_exchange()) as server:
        reply = server.request("POST", "/emulator/advance", body)

        assert reply.status == 400
        assert "ms" in reply.json["error"]
        assert server.request("GET", "/emulator/status").json["now_ms"] == NOW_MS


async def test_a_fault_of_the_exchange_itself_reaches_its_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug must neither pass for the client's fault nor print a traceback."""
    exchange = build_exchange()

    def broken(*args: Any, **more: Any) -> None:
        raise ZeroDivisionError(args, more)

    monkeypatch.setattr(exchange, "request", broken)
    running = await serve(exchange, clock=ManualClock(NOW_MS))
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{running.url}/info", json={"type": "meta"}) as reply,
        ):
            assert reply.status == 500
            assert "ZeroDivisionError" in (await reply.json())["error"]
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(running.failure, DEADLINE_S)
    finally:
        await running.stop()


def test_a_client_that_does_not_read_is_cut() -> None:
    """Every frame it leaves lying would stay in the memory of the exchange."""
    session = build_exchange().connect()
    for _ in range(UNREAD_MAX):
        session.send("x")
    assert not session.is_closed

    session.send("x")

    assert session.is_closed
    assert session.take() == []
