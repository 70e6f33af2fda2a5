"""
What a service manager is told: that we are ready, still alive, and ending.

systemd listens on a datagram socket whose name it passes in NOTIFY_SOCKET (sd_notify(3)). Without
one nothing is sent. A word that cannot be delivered is dropped: whoever waits for it draws the
conclusion by himself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Self

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


class Notify:
    """
    The way to the service manager.

    Args:
        address: Path of its socket, or `@` and an abstract name; empty where there is none.
        is_watched: Whether it wants to hear that we are alive.
    """

    def __init__(self, address: str, *, is_watched: bool) -> None:
        self._is_watched = is_watched
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """As the service manager asks for it; WATCHDOG_PID may name another process than this."""
        wanted = environment.get("WATCHDOG_PID", "")
        is_meant = wanted in ("", str(os.getpid()))
        return cls(
            environment.get("NOTIFY_SOCKET", ""),
            is_watched=is_meant and bool(environment.get("WATCHDOG_USEC")),
        )

    def say(self, word: str) -> None:
        """Tell it; never waits."""
        found = self._socket
        if found is None or (word == ALIVE and not self._is_watched):
            return
        # Another thread may close it now: what is said then is lost, as any word may be.
        with suppress(OSError):
            found.sendto(word.encode(), self._address)

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
