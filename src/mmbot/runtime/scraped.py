"""
The HTTP side of the figures: GET http://127.0.0.1:PORT/metrics, on a thread of its own.

The loop only reads the state that there is, when it comes round to it (a tenth of a millisecond);
what is made of it, and the client with its pace, are matters of the thread. One client is served at
a time, and an answer is given again for a moment, so no flood reaches the loop.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BufferedReader, RawIOBase
from socketserver import TCPServer
from time import monotonic
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.process_collector import ProcessCollector

from mmbot.runtime.desk import Seen
from mmbot.runtime.metrics import Figures
from mmbot.runtime.tally import Counts, Tally
from mmbot.runtime.telling import Log

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HOST: Final = "127.0.0.1"
PATH: Final = "/metrics"
_KEPT_S: Final = 0.25
"""For how long an answer is given again as it is."""
_CLIENT_S: Final = 2.0
"""How long a client may take to ask, all of it, and as long again to read."""
_LOOP_S: Final = 2.0
"""How long the loop may take to look; it does nothing else for as long only if it hangs."""


class Scraped:
    """
    The endpoint.

    Args:
        port: Of 127.0.0.1.
        seen: Reads the state; called on the loop's thread alone.
        counts: The same of what the log told.

    Raises:
        OSError: The port is not to be had.
    """

    def __init__(
        self, port: int, seen: Callable[[], Seen | None], counts: Callable[[], Counts]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen = seen
        self._counts = counts
        self._registry = CollectorRegistry()
        self._registry.register(Figures(self._look))
        ProcessCollector(registry=self._registry)
        self._kept: tuple[float, bytes] = float("-inf"), b""
        self._server = _Server((HOST, port), _Handler)
        self._server.page = self.page
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no more; whoever is being served is left to the end of the process."""
        # Off this thread: its own may be waiting for the loop, which is here.
        threading.Thread(target=self._end, name="metrics-end", daemon=True).start()

    def page(self) -> bytes:
        """
        All figures as text, from the thread of the server.

        Raises:
            TimeoutError: The loop does not come round.
        """
        at, kept = self._kept
        if monotonic() - at < _KEPT_S:
            return kept
        text = generate_latest(self._registry)
        self._kept = monotonic(), text
        return text

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _look(self) -> tuple[Seen | None, Counts]:
        found: Future[tuple[Seen | None, Counts]] = Future()

        def read() -> None:
            try:
                found.set_result((self._seen(), self._counts()))
            except Exception as error:  # noqa: BLE001 - no question may end a run
                found.set_exception(error)

        self._loop.call_soon_threadsafe(read)
        return found.result(_LOOP_S)


class _Server(HTTPServer):
    request_queue_size = 8
    page: Callable[[], bytes]

    def server_bind(self) -> None:
        """Bind, and ask no name server what we are called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours; nothing is printed."""


class _Until(RawIOBase):
    """Reads a socket until an instant; a timeout of the socket itself would begin at each byte."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        self._connection = connection
        self._until_s = until_s

    def readable(self) -> bool:
        """It is for nothing else."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """
        As of a raw stream.

        Raises:
            TimeoutError: The instant has come.
        """
        left_s = self._until_s - monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        """Read the question through a clock: nobody else is served while it comes."""
        super().setup()
        self.rfile = BufferedReader(_Until(self.connection, monotonic() + _CLIENT_S))

    def do_GET(self) -> None:
        """Answer one question."""
        if self.path.partition("?")[0] != PATH:
            self._say(404, "text/plain", f"only {PATH} is here\n".encode())
            return
        try:
            text = self.server.page()
        except TimeoutError:
            self._say(503, "text/plain", b"the event loop does not answer\n")
        except Exception as error:  # noqa: BLE001 - the client is told, and nothing else happens
            self._say(500, "text/plain", f"internal error: {type(error).__name__}\n".encode())
        else:
            self._say(200, CONTENT_TYPE_LATEST, text)

    def _say(self, code: int, kind: str, text: bytes) -> None:
        self.connection.settimeout(_CLIENT_S)
        self.send_response_only(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing: standard error belongs to the program."""


def serve(
    stack: AsyncExitStack, port: int, seen: Callable[[], Seen | None], tally: Tally, log: Log
) -> None:
    """
    Serve until the end of `stack`, unless `port` is 0.

    A port that cannot be had ends no run, as with the control socket: the log says so.
    """
    if not port:
        return
    try:
        served = Scraped(port, seen, tally.counts)
    except OSError as error:
        why = error.strerror or str(error)
        log.error(
            "metrics.unavailable",
            port=port,
            error=f"metrics.port = {port}: {HOST} does not give it ({why}); name another, or 0",
        )
        return
    log.info("metrics.served", url=f"http://{HOST}:{port}{PATH}")
    stack.callback(served.close)
