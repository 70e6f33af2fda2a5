"""Fixtures of the conformance checks: a running server, and a way to start one of other make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import hyperliquid.exchange
import pytest

from conformance.harness import NOW_MS, Server, build_exchange


@pytest.fixture(autouse=True)
def sdk_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the official client nonces of the tests' time, an hour on from those of the harness."""
    stamps = count(NOW_MS + 3_600_000)
    monkeypatch.setattr(hyperliquid.exchange, "get_timestamp_ms", lambda: next(stamps))


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start servers with settings of `build_exchange`; all are stopped at the end."""
    with ExitStack() as stack:

        def begin(**settings: Any) -> Server:
            return stack.enter_context(Server(build_exchange(**settings)))

        yield begin


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """A server with two funded accounts, empty books, no limits and a clock that stands still."""
    return start()
