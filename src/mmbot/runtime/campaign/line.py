"""
A network that fails, of real sockets: it stands between the program's socket and the exchange's.

Bytes pass as they come, in both directions. What `pipe.PipeDialer` does to the bytes of a simulated
connection is done here to those of a real one: cut now or at a byte, held back, refused; and the
texts of the exchange can be repeated, delayed and lost. HTTP does not pass here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from websockets.frames import Frame, Opcode

from mmbot.core.types import NS_PER_S
from mmbot.runtime.farend import Tamper
from mmbot.runtime.network import Network

_HEAD_END: Final = b"\r\n\r\n"
_HOST: Final = "127.0.0.1"


class RealLine(Network["_Connection"]):
    """
    Listens for the program and connects each of its sockets on to the exchange.

    Args:
        port: Where the exchange listens on this machine.

    Attributes:
        tamper: Replaces each text of the exchange, with delays in ns.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, tamper: Tamper) -> None:
        super().__init__()
        self.loop = loop
        self.far_port = port
        self.tamper = tamper
        self._server: asyncio.Server | None = None

    async def listen(self) -> str:
        """Begin; the address of the socket for the program."""
        self._server = await self.loop.create_server(lambda: _Near(self), _HOST, 0)
        port = int(self._server.sockets[0].getsockname()[1])
        return f"ws://{_HOST}:{port}/ws"

    async def close(self) -> None:
        """End everything."""
        assert self._server is not None
        for connection in self.connections:
            connection.abort()
        self._server.close()
        await self._server.wait_closed()


class _Connection:
    """One socket of the program and the one that leads on from it."""

    def __init__(self, line: RealLine, near: asyncio.Transport) -> None:
        self.line = line
        self._left: dict[bool, int] = {}
        """Bytes that still pass upward (True) and downward (False) before the line breaks."""
        self._near = near
        self._far: asyncio.Transport | None = None
        self._is_cut = False
        self._is_stalled = False
        self._texts = _Texts()
        self._waiting: dict[bool, deque[Callable[[], None]]] = {True: deque(), False: deque()}
        """What is held back, of each direction."""
        line.opened(self)
        self._dial = line.loop.create_task(self._connect())

    async def _connect(self) -> None:
        line = self.line
        try:
            await line.loop.create_connection(lambda: _Far(self), _HOST, line.far_port)
        except OSError:
            self.cut()

    def joined(self, far: asyncio.Transport) -> None:
        """The exchange has taken the connection: what was sent meanwhile goes there."""
        if self._is_cut:
            far.abort()
            return
        self._far = far
        self._flow()

    # -- bytes --------------------------------------------------------------------------------

    def upward(self, data: bytes) -> None:
        """From the program."""
        self._pass(data, is_upward=True)

    def downward(self, data: bytes) -> None:
        """From the exchange."""
        for piece in self._texts.take(data):
            if isinstance(piece, bytes):
                self._pass(piece, is_upward=False)
                continue
            for delay_ns, text in self.line.tamper(piece.text):
                frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
                if delay_ns <= 0:
                    self._pass(frame, is_upward=False)
                else:
                    delay_s = delay_ns / NS_PER_S
                    self.line.loop.call_later(delay_s, self._late, frame)

    def _late(self, frame: bytes) -> None:
        if self._far is not None:
            self._pass(frame, is_upward=False)

    def _pass(self, data: bytes, *, is_upward: bool) -> None:
        left = self._left.get(is_upward)
        passes = data if left is None else data[:left]
        if left is not None:
            self._left[is_upward] = left - len(passes)
        if passes:
            self._send(is_upward, lambda: self._write(passes, is_upward=is_upward))
        if len(passes) < len(data):
            self._send(is_upward, self.cut)

    def _write(self, data: bytes, *, is_upward: bool) -> None:
        transport = self._far if is_upward else self._near
        if transport is not None and not transport.is_closing():
            transport.write(data)

    # -- what is held back ----------------------------------------------------------------------

    def _send(self, is_upward: bool, act: Callable[[], None]) -> None:
        self._waiting[is_upward].append(act)
        self._flow()

    def _flow(self) -> None:
        for is_upward, waiting in self._waiting.items():
            while waiting and not self._is_stalled and (self._far is not None or not is_upward):
                waiting.popleft()()

    def stall(self, *, is_stalled: bool) -> None:
        """Hold back, or let through."""
        self._is_stalled = is_stalled
        self._flow()

    # -- ends -----------------------------------------------------------------------------------

    def cut(self) -> None:
        """Close both ends; what was written arrives."""
        self._is_cut = True
        self.line.forget(self)
        self._near.close()
        if self._far is not None:
            self._far.close()

    def cut_after(self, count: int, *, is_upward: bool) -> None:
        """Cut it once so many more bytes of one direction have passed."""
        self._left[is_upward] = count

    def abort(self) -> None:
        """Close both ends at once."""
        self._is_cut = True
        self._dial.cancel()
        self._near.abort()
        if self._far is not None:
            self._far.abort()

    def lost(self, *, is_near: bool) -> None:
        """One end is gone: the other one ends after what it still has to send."""
        self.line.forget(self)
        self._send(is_near, self.cut)


class _Near(asyncio.Protocol):
    """The end at the program."""

    def __init__(self, line: RealLine) -> None:
        self._line = line
        self._connection: _Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        if self._line.refuse is not None:
            stream.abort()
        else:
            self._connection = _Connection(self._line, stream)

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.upward(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - both ends end alike
        if self._connection is not None:
            self._connection.lost(is_near=True)


class _Far(asyncio.Protocol):
    """The end at the exchange."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.joined(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._connection.downward(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - both ends end alike
        self._connection.lost(is_near=False)


class _Text:
    """A text of the exchange, out of its frame."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Texts:
    """Finds the texts in the bytes of a server, whose frames are neither masked nor split."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_open = False
        """The head of the answer to the handshake has passed."""

    def take(self, data: bytes) -> list[bytes | _Text]:
        """The pieces that are complete now: texts, and bytes that pass as they are."""
        self._buffer += data
        found: list[bytes | _Text] = []
        if not self._is_open:
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                return found
            end += len(_HEAD_END)
            self._is_open = True
            found.append(self._buffer[:end])
            self._buffer = self._buffer[end:]
        while (size := _frame_size(self._buffer)) is not None and len(self._buffer) >= sum(size):
            head, body = size
            frame, self._buffer = self._buffer[: head + body], self._buffer[head + body :]
            is_text = frame[0] & 0x0F == Opcode.TEXT
            found.append(_Text(frame[head:].decode()) if is_text else frame)
        return found


def _frame_size(data: bytes) -> tuple[int, int] | None:
    """Bytes of the head and of the body of the frame that begins there; None if too few came."""
    if len(data) < 2:
        return None
    length, head = data[1] & 0x7F, 2
    if length > 125:
        head = 4 if length == 126 else 10
        if len(data) < head:
            return None
        length = int.from_bytes(data[2:head])
    return head, length
