"""A service of alerts on loopback: what it is sent, as the sender's own library sends it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """
    Takes what comes by `json://127.0.0.1:PORT/...`.

    Attributes:
        messages: The alerts, each by itself, whatever others it came with: which are sent as one
            message depends on how long the one before took.
        whole: The messages as they came.
        refusals: How many of the next requests are refused with 500.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.whole: list[dict[str, Any]] = []
        self.asked = 0
        self.refusals = 0
        self._came = threading.Condition()
        self._is_open = threading.Event()
        self._is_open.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._is_open.wait(30)
                code = outer._take({"path": self.path, **body})
                self.send_response_only(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A sender that gave up waiting."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, token: str = "") -> str:
        """Its address for Apprise."""
        return f"json://127.0.0.1:{self.port}/{token}"

    def hold(self, *, is_held: bool) -> None:
        """Take what comes and answer nothing, or answer again."""
        if is_held:
            self._is_open.clear()
        else:
            self._is_open.set()

    def wait(self, count: int, patience_s: float = 40.0) -> list[dict[str, Any]]:
        """The messages, once there are so many."""
        with self._came:
            is_there = self._came.wait_for(lambda: len(self.messages) >= count, patience_s)
        assert is_there, f"{len(self.messages)} messages, not {count}: {self.messages}"
        return list(self.messages)

    def close(self) -> None:
        """Listen no more."""
        self._is_open.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, message: dict[str, Any]) -> int:
        with self._came:
            self.asked += 1
            if self.refusals:
                self.refusals -= 1
                return 500
            self.whole.append(message)
            self.messages += _alerts(message)
            self._came.notify_all()
            return 200


def _alerts(message: dict[str, Any]) -> list[dict[str, Any]]:
    parts = message["message"].split("\n\n")
    if len(parts) == 1:
        return [message]
    about = message["title"].rpartition(": ")[0]
    named = [part.partition(": ")[::2] for part in parts]
    return [{**message, "title": f"{about}: {kind}", "message": text} for kind, text in named]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """One that ends with the test."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
