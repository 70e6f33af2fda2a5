"""
One WebSocket connection over a byte stream, without I/O of its own.

websockets' sans-I/O protocol does the framing; no extension is offered (the venue negotiates none).
The work of a read is one synchronous call: bytes in, pongs out, complete text messages on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI

from mmbot.hyperliquid.ports import StreamTransport

MAX_MESSAGE_BYTES: Final = 16 * 2**20
"""The largest message is the fill history, 2000 rows of about 350 bytes; this is 20 times that."""
_TRANSIENT: Final = frozenset({408, 425, 429})
"""HTTP 4xx that pass; any other means that this handshake will never be accepted."""


class WsSocket:
    """
    The `StreamProtocol` of one attempt to connect.

    Args:
        on_open: The handshake is done.
        on_messages: All text messages that one read completed.
        on_gone: The connection ended, or never came to be, without our doing; called once at most.
            The flag says that the venue refused the handshake for good.

    After `close` or `abort` no callback comes.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        on_open: Callable[[], None],
        on_messages: Callable[[list[bytes]], None],
        on_gone: Callable[[str, bool], None],
    ) -> None:
        self._protocol = ClientProtocol(uri, max_size=MAX_MESSAGE_BYTES)
        self._transport: StreamTransport | None = None
        self._fragments: list[bytes] = []
        self._fragments_are_text = False
        self._on_open = on_open
        self._on_messages = on_messages
        self._on_gone = on_gone
        self._is_over = False

    # -- from the byte stream ---------------------------------------------------------------

    def connection_made(self, transport: StreamTransport) -> None:
        """Begin the handshake."""
        if self._is_over:
            transport.abort()
            return
        self._transport = transport
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Answer pings, then hand on all that this read completed."""
        if self._is_over:
            return
        self._protocol.receive_data(data)
        self._advance()

    def eof_received(self) -> bool | None:
        """The venue hung up without a close frame, its usual way."""
        if not self._is_over:
            self._protocol.receive_eof()
            self._advance()
        self._gone("the venue closed the socket without a close frame (1006)")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is closed."""
        cause = f": {exc}" if exc is not None and str(exc) else ""
        self._gone(f"the socket was lost (1006){cause}")

    def dial_failed(self, reason: str) -> None:
        """No stream."""
        self._gone(f"cannot connect: {reason}")

    def pause_writing(self) -> None:
        """
        The venue takes nothing any more.

        The high-water mark is worth dozens of batches: orders queued behind it would be stale, so
        what is buffered is thrown away with the socket.
        """
        self._gone("the venue stopped reading: the send buffer is full")

    def resume_writing(self) -> None:
        """Nothing to do: a socket whose buffer filled was given up."""

    # -- from the link ----------------------------------------------------------------------

    def send(self, *texts: bytes) -> None:
        """Write text messages in one go; the handshake must be done."""
        for text in texts:
            self._protocol.send_text(text)
        self._flush()

    def close(self) -> None:
        """Say goodbye and close."""
        if self._is_over:
            return
        self._is_over = True
        if self._transport is None:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without a word, and forget what is not sent yet."""
        if self._is_over:
            return
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    # -- inside -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Act on what the protocol made of the bytes: first answer, then deliver, then conclude."""
        protocol = self._protocol
        if protocol.writes:
            self._flush()
        messages: list[bytes] = []
        closed: str | None = None
        for event in protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode is Opcode.TEXT and event.fin:
                    messages.append(bytes(event.data))
                elif event.opcode is Opcode.CLOSE:
                    closed = _close_text(protocol)
                else:
                    self._fragment(event, messages)
            elif protocol.handshake_exc is None:
                self._on_open()
                if self._is_over:
                    return
        if messages:
            self._on_messages(messages)
        if closed is not None:
            self._gone(closed)
        elif protocol.handshake_exc is not None:
            self._handshake_refused(protocol.handshake_exc)
        elif protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
            self._gone(f"the venue broke the WebSocket protocol: {protocol.parser_exc}")

    def _flush(self) -> None:
        assert self._transport is not None
        # The empty chunk stands for a half-close; closing the whole stream follows anyway.
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._transport.write(data)

    def _fragment(self, frame: Frame, messages: list[bytes]) -> None:
        """Join a message sent in pieces; binary ones, which the venue never sends, are dropped."""
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._fragments_are_text = frame.opcode is Opcode.TEXT
            self._fragments = [] if frame.fin else [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                if self._fragments_are_text:
                    messages.append(b"".join(self._fragments))
                self._fragments = []

    def _handshake_refused(self, error: Exception) -> None:
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            is_final = 400 <= status < 500 and status not in _TRANSIENT
            self._gone(f"the venue refused the WebSocket handshake with HTTP {status}", is_final)
        else:
            self._gone(f"no WebSocket handshake: {error}")

    def _gone(self, reason: str, is_refusal: bool = False) -> None:
        if self._is_over:
            return
        # What is still buffered are requests nobody should carry out later: see pause_writing.
        self.abort()
        self._on_gone(reason, is_refusal)


def _close_text(protocol: ClientProtocol) -> str:
    close = protocol.close_rcvd
    assert close is not None
    return (
        f"the venue closed the socket ({close.code}{': ' + close.reason if close.reason else ''})"
    )
