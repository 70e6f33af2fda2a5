"""
The campaign over real sockets: a share of it, what it is worth, and the line that fails on demand.

`make campaign` runs a hundred seeds; here a few run side by side, on loopback and in real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.campaign import complaint, figures_of
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import WebSocketException

from mmbot.config import Config
from mmbot.core.events import OutcomeUnknown
from mmbot.core.orders import Orders
from mmbot.core.types import NS_PER_MS
from mmbot.runtime.campaign import sockets
from mmbot.runtime.campaign.line import RealLine
from mmbot.runtime.campaign.run import Result
from mmbot.runtime.campaign.schedule import REAL, Finish, Schedule, draw
from mmbot.runtime.campaign.sockets import campaign, socket_config

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
SEEDS = (19, 27, 68, 82, 104)
"""They end amid their faults, so each takes a few seconds only."""
LIMIT_S = 20.0


def results_of(seeds: tuple[int, ...]) -> list[Result]:
    """These seeds, all at once."""
    return list(campaign(CONFIG, seeds, side_by_side=len(seeds)))


def test_faulted_runs_over_sockets_leave_nothing_behind() -> None:
    """The same program, faults and verdicts as over the pipe, with nothing simulated between."""
    results = results_of(SEEDS)

    assert sorted(result.seed for result in results) == sorted(SEEDS)
    for result in results:
        assert not result.violations, complaint(result, CONFIG, how="--sockets ")
    assert sum(sum(result.hits.values()) for result in results) >= 20
    assert sum(result.fills for result in results) >= 5
    killed = {draw(seed, REAL).finish for seed in SEEDS} - {Finish.STOP}
    assert {result.trigger for result in results} - {None} == {one.value for one in killed}


def test_a_build_that_takes_no_answer_for_a_refusal_is_found_out_over_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verdicts that hold of anything would hold of a broken build too."""

    def forget(self: Orders, event: OutcomeUnknown) -> None:
        self.slots.pop(event.cloid, None)
        self.version += 1

    monkeypatch.setattr(Orders, "on_unanswered", forget)
    found = [text for result in results_of((23, 82, 83, 107)) for text in result.violations]

    assert any("orphan" in text for text in found)


@pytest.mark.parametrize(("held_up_s", "tries"), [(0.1, 1), (1.5, 3)])
def test_what_a_machine_that_stood_still_violated_is_told_and_not_dropped(
    monkeypatch: pytest.MonkeyPatch, held_up_s: float, tries: int
) -> None:
    """A fault that shows now and then must not hide behind a busy machine; see benchmarks."""
    found = Result(7, "stop", None, 20.0, 3, 40, {}, {}, ("an orphan rests",))
    made: list[Schedule] = []

    async def perform(_: Config, schedule: Schedule) -> tuple[SimpleNamespace, Result]:
        made.append(schedule)
        return SimpleNamespace(held_up_s=held_up_s), found

    monkeypatch.setattr(sockets, "perform", perform)
    result = sockets.run(socket_config(CONFIG), 7)

    assert len(made) == tries
    assert result.violations == ("an orphan rests",)
    again = "an orphan rests (while the machine stood still for 1.5 s)"
    assert result.discarded == (again,) * (tries - 1)
    assert complaint(result, CONFIG).count("tried again after") == tries - 1
    assert figures_of([result])["tried_again"] == [7] * (tries > 1)


# -- the line ---------------------------------------------------------------------------------


class Rig:
    """A socket through a line to a server that repeats whatever it is told."""

    def __init__(self, line: RealLine, url: str) -> None:
        self.line = line
        self.url = url
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        """What reached the server."""

    async def echo(self, connection: ServerConnection) -> None:
        """Repeat every text."""
        async for text in connection:
            assert isinstance(text, str)
            self.heard.put_nowait(text)
            await connection.send(text)

    async def dial(self) -> ClientConnection:
        """Connect through the line."""
        return await connect(self.url, compression=None, ping_interval=None)


@asynccontextmanager
async def rigged() -> AsyncIterator[Rig]:
    """A line and what is at both of its ends."""
    made: list[Rig] = []

    async def echo(connection: ServerConnection) -> None:
        await made[0].echo(connection)

    async with asyncio.timeout(LIMIT_S), serve(echo, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        line = RealLine(asyncio.get_running_loop(), port, lambda text: ((0, text),))
        made.append(Rig(line, await line.listen()))
        try:
            yield made[0]
        finally:
            await line.close()


def on_a_line(test: Callable[[Rig], Awaitable[None]]) -> None:
    """Run this on a line."""

    async def main() -> None:
        async with rigged() as rig:
            await test(rig)

    asyncio.run(main())


async def code_of(socket: ClientConnection) -> int | None:
    """How the connection ended for the program."""
    await socket.wait_closed()
    return socket.close_code


def test_texts_pass_whole_whatever_their_length() -> None:
    """Heads of frames are of three lengths, and reads split them anywhere."""

    async def test(rig: Rig) -> None:
        socket = await rig.dial()
        for length in (0, 1, 125, 126, 65_535, 65_536, 300_000):
            await socket.send("x" * length)
            assert await socket.recv() == "x" * length

    on_a_line(test)


def test_a_cut_ends_without_a_close_frame_and_the_next_dial_works() -> None:
    """The venue's own connections end like that (1006)."""

    async def test(rig: Rig) -> None:
        socket = await rig.dial()
        rig.line.cut()
        assert await code_of(socket) == 1006
        again = await rig.dial()
        await again.send("again")
        assert await again.recv() == "again"

    on_a_line(test)


def test_a_line_that_refuses_takes_no_connection() -> None:
    """An exchange that is down for a while."""

    async def test(rig: Rig) -> None:
        rig.line.refuse = "down"
        with pytest.raises((OSError, EOFError, WebSocketException)):
            await rig.dial()
        rig.line.refuse = None
        await rig.dial()

    on_a_line(test)


@pytest.mark.parametrize("is_upward", [True, False])
def test_a_line_cut_at_a_byte_passes_what_is_before_it(is_upward: bool) -> None:
    """A message whose end never comes is no message, on either side."""

    async def test(rig: Rig) -> None:
        socket = await rig.dial()
        await socket.send("whole")
        assert await socket.recv() == "whole"
        assert rig.heard.get_nowait() == "whole"
        rig.line.cut_after(4, is_upward=is_upward)
        await socket.send("in pieces")
        assert await code_of(socket) == 1006
        assert rig.heard.empty() is is_upward

    on_a_line(test)


def test_what_is_stalled_arrives_in_its_order_when_the_stall_is_over() -> None:
    """Late is not lost, in both directions."""

    async def test(rig: Rig) -> None:
        socket = await rig.dial()
        rig.line.stall(is_stalled=True)
        await socket.send("first")
        await socket.send("second")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await socket.recv()
        assert rig.heard.empty()
        rig.line.stall(is_stalled=False)
        assert [await socket.recv(), await socket.recv()] == ["first", "second"]

    on_a_line(test)


def test_what_was_written_to_a_stalled_connection_arrives_after_it_was_given_up() -> None:
    """Bytes that left cannot be called back: an order may be placed by them."""

    async def test(rig: Rig) -> None:
        socket = await rig.dial()
        rig.line.stall(is_stalled=True)
        await socket.send("an order")
        socket.transport.abort()
        await code_of(socket)
        rig.line.stall(is_stalled=False)
        assert await rig.heard.get() == "an order"

    on_a_line(test)


def test_texts_of_the_exchange_are_repeated_delayed_and_lost() -> None:
    """What a schedule draws for messages happens to those on a real socket."""

    async def test(rig: Rig) -> None:
        fates = {
            "twice": ((0, "twice"), (0, "twice")),
            "late": ((50 * NS_PER_MS, "late"),),
            "lost": (),
        }
        rig.line.tamper = lambda text: fates.get(text, ((0, text),))
        socket = await rig.dial()
        for text in ("late", "lost", "twice", "plain"):
            await socket.send(text)
        assert [await socket.recv() for _ in range(4)] == ["twice", "twice", "plain", "late"]

    on_a_line(test)
