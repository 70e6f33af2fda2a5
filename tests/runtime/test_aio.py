"""Real time and sockets: the link over loopback, the clock that never goes back."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import Sequence

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from mmbot.errors import VenueError
from mmbot.hyperliquid.link import Link, LinkParams
from mmbot.runtime.aio import (
    AioDialer,
    AioScheduler,
    WallClock,
    aside,
    dial_error,
    wall_clock_ns,
)


class Shell:
    """Turns the link's callbacks into things to await."""

    def __init__(self, url: str, **params: float) -> None:
        loop = asyncio.get_running_loop()
        self.up: asyncio.Queue[int] = asyncio.Queue()
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.link = Link(
            url,
            subscriptions=[{"type": "bbo", "coin": "HYPE"}],
            dialer=AioDialer(loop),
            clock=wall_clock_ns,
            scheduler=AioScheduler(loop),
            jitter=random.Random(1),
            params=LinkParams.model_validate({"backoff_first_s": 0.01, **params}),
            on_frames=self._on_frames,
            on_up=self.up.put_nowait,
            on_lost=lambda _ns, reason: self.lost.put_nowait(reason),
            on_refused=self._on_refused,
        )

    def _on_frames(self, frames: Sequence[bytes], recv_ns: int) -> None:
        for frame in frames:
            self.frames.put_nowait(frame)

    def _on_refused(self, error: VenueError) -> None:
        raise error


async def venue(connection: ServerConnection) -> None:
    """Acknowledge every subscription, echo the rest."""
    async for message in connection:
        assert isinstance(message, str)
        if message.startswith('{"method":"subscribe"'):
            await connection.send('{"channel":"subscriptionResponse","data":' + message + "}")
        elif message == "hang up":
            connection.transport.abort()
        else:
            await connection.send(message)


async def _traded_messages() -> tuple[bool, bytes, str]:
    """Whether a message left, what came back of it, and why the link was lost before it is back."""
    async with serve(venue, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        shell = Shell(f"ws://127.0.0.1:{port}/ws")
        shell.link.start()
        async with asyncio.timeout(20):
            await shell.up.get()
            await shell.frames.get()
            has_left = shell.link.send(b'{"channel":"x"}')
            echo = await shell.frames.get()
            shell.link.send(b"hang up")
            reason = await shell.lost.get()
            await shell.up.get()
        shell.link.close()
        return has_left, echo, reason


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_link_lives_on_a_real_socket(factory: type[asyncio.AbstractEventLoop]) -> None:
    """The same link that tests drive by hand connects, talks and reconnects on both loops."""
    with asyncio.Runner(loop_factory=factory) as runner:
        has_left, echo, reason = runner.run(_traded_messages())

    assert has_left
    assert echo == b'{"channel":"x"}'
    assert "1006" in reason


async def test_refused_dial_reaches_the_link_as_a_reason() -> None:
    """No exception of a socket call goes past the dialer."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        shell = Shell(f"ws://127.0.0.1:{port}/ws")
        shell.link.start()
        async with asyncio.timeout(20):
            reason = await shell.lost.get()
        shell.link.close()

    assert reason.startswith(f"cannot connect: 127.0.0.1:{port}: refused")


async def test_plain_server_behind_wss_is_no_tls() -> None:
    """A wrong scheme in the address is told from a dead host."""
    async with serve(venue, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        shell = Shell(f"wss://127.0.0.1:{port}/ws")
        shell.link.start()
        async with asyncio.timeout(20):
            reason = await shell.lost.get()
        shell.link.close()

    assert reason.startswith(f"cannot connect: 127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the name is not known"),
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens there"),
        (TimeoutError(110, "Connection timed out"), "no answer; check the network"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "no TLS"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_dial_error_says_what_to_check(error: OSError, words: str) -> None:
    """A reason is for a person."""
    assert words in dial_error("example.invalid", 443, error)


async def test_timer_fires_at_its_time_and_not_when_cancelled() -> None:
    """A time in the past means the loop's next turn, never a call from within."""
    loop = asyncio.get_running_loop()
    scheduler = AioScheduler(loop)
    fired: asyncio.Queue[str] = asyncio.Queue()
    now_ns = wall_clock_ns()
    scheduler.call_at(now_ns + 30_000_000, lambda: fired.put_nowait("later"))
    scheduler.call_at(now_ns + 10_000_000, lambda: fired.put_nowait("never")).cancel()
    scheduler.call_at(now_ns - 5, lambda: fired.put_nowait("past"))
    assert fired.empty()

    async with asyncio.timeout(20):
        assert [await fired.get(), await fired.get()] == ["past", "later"]


def test_clock_follows_forwards_and_never_goes_back() -> None:
    """A suspend must expire orders; a clock set back must not freeze or reverse time."""
    wall = [1000]
    monotonic = [0]
    clock = WallClock(lambda: wall[0], lambda: monotonic[0])

    def after(wall_ns: int, monotonic_ns: int) -> int:
        wall[0], monotonic[0] = wall_ns, monotonic_ns
        return clock()

    assert after(1010, 10) == 1010
    assert after(9000, 20) == 9000
    assert after(2000, 30) == 9010
    assert after(2050, 80) == 9060
    assert after(9100, 90) == 9100


async def test_name_no_host_can_have_is_a_reason_too() -> None:
    """The resolver's own encoding error is not a network error, and still no traceback."""
    shell = Shell(f"ws://{'a' * 80}.example/ws")
    shell.link.start()
    async with asyncio.timeout(20):
        reason = await shell.lost.get()
    shell.link.close()

    assert "check the address" in reason


async def test_work_beside_the_loop_gives_what_it_returns_or_raises() -> None:
    """In another thread, so that signals and sockets are served meanwhile."""
    here = threading.get_ident()
    assert await aside(threading.get_ident) != here

    def fail() -> None:
        raise VenueError("as it came")

    with pytest.raises(VenueError, match="as it came"):
        await aside(fail)


def test_work_beside_the_loop_holds_up_no_end() -> None:
    """Ctrl+C while a long recording is read: the program ends before the reading does."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()
        ended.set()

    async def interrupted() -> None:
        task = asyncio.create_task(aside(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asyncio.Runner() as runner:
        runner.run(interrupted())
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(60)
