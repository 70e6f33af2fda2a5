"""Headless Chromium by its debugging protocol, for what only a browser can tell of a page."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from websockets.sync.client import ClientConnection, connect

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    # Whatever a page asked of a network would fail, and it would say so.
    "--proxy-server=127.0.0.1:9",
)
_PATIENCE_S: Final = 60.0
_MESSAGE_BYTES: Final = 64 * 1024 * 1024
Scheme = Literal["light", "dark"]


def find_browser() -> str | None:
    """Path of a browser, None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Tab:
    """
    One tab of a browser.

    Attributes:
        requests: Addresses that were asked for, the page's own left out.
        complaints: What the console, the log and uncaught exceptions said.
    """

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._count = 0
        self._events: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask and wait for the answer; what happens meanwhile is kept."""
        self._count += 1
        number = self._count
        self._line.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._line.recv(_PATIENCE_S))
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method", ""), message.get("params", {})
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.requests.append(url)
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        if method:
            self._events.append(message)

    def view(self, width: int, height: int, scheme: Scheme, *, is_phone: bool) -> None:
        """What the page is shown on."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_phone,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def open(self, page: Path) -> float:
        """Load a page; how long it took until everything of it was there, s."""
        self._events.clear()
        began = time.perf_counter()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._next()
        # Two frames later it has been drawn as well.
        self.ask("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")
        return time.perf_counter() - began

    def ask(self, script: str) -> Any:
        """Value of an expression in the page."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def shot(self, target: Path) -> None:
        """A picture of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(path: str) -> Iterator[Tab]:
    """A browser with one tab, and a profile of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            port = _port(process)
            with connect(
                _target(port), max_size=_MESSAGE_BYTES, open_timeout=_PATIENCE_S, proxy=None
            ) as line:
                yield Tab(line)
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def _port(process: subprocess.Popen[str]) -> int:
    """Where the browser listens: it says so on standard error."""
    assert process.stderr is not None
    for line in process.stderr:
        if "DevTools listening on ws://" in line:
            return int(line.split("127.0.0.1:")[1].split("/")[0])
    msg = f"the browser ended with {process.wait()} before it listened"
    raise RuntimeError(msg)


def _target(port: int) -> str:
    """Address of the first tab."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=_PATIENCE_S) as answer:
        tabs = json.loads(answer.read())
    found: str = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return found
