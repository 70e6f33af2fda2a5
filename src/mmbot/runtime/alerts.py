"""
Alerts on their way: paced, queued, sent by a thread for each service, waited for at the end.

The loop only puts a message into a queue. Neither a log nor an error nor a record ever holds the
address of a service, which is a secret: services are named by where the address was found and by
what kind they are, and of an exception only its type is told.
"""

from __future__ import annotations

import logging
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Final

import msgspec

from mmbot.config import AlertParams
from mmbot.errors import ConfigError
from mmbot.logs import Record
from mmbot.runtime.alerting import Alert, Editor, Severity
from mmbot.runtime.telling import Log

END_S: Final = 10.0
"""How long the end of a process waits for the last alerts."""
TRIES: Final = 3
_AGAIN_S: Final = (1.0, 3.0)
"""Pause before the second and the third try."""
_BURST: Final = 3
_QUEUED_MAX: Final = 64
"""Alerts that wait for one service; later ones are dropped and told of."""

Send = Callable[[str, str, Severity], bool]
"""Title, text, severity; whether the service took it."""


class Service(msgspec.Struct, frozen=True):
    """One way to a person. `name` holds nothing secret."""

    name: str
    send: Send


def services_of(found: Iterable[tuple[str, str]], params: AlertParams) -> list[Service]:
    """
    The services behind addresses, each with where it was found.

    Raises:
        ConfigError: One of them is none; the message says which and never what it is.
    """
    with warnings.catch_warnings():
        # It loads a hundred plugins, some of them by means that go out of use: none of ours.
        warnings.simplefilter("ignore")
        # Only here, because it takes a second to load, and only whoever has alerts needs it.
        import apprise  # noqa: PLC0415

        # What it logs holds addresses; a logger nobody listens to writes to standard error.
        logging.getLogger("apprise").disabled = True
        asset = apprise.AppriseAsset(app_id="mmbot", app_desc="market maker", storage_mode="memory")
        return [_service(apprise, asset, where, url, params.timeout_s) for where, url in found]


def _service(apprise: Any, asset: Any, where: str, url: str, timeout_s: float) -> Service:
    try:
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    except Exception as error:  # noqa: BLE001 - its text may hold the address
        raise ConfigError(f"{where}: no Apprise URL ({type(error).__name__})") from None
    if plugin is None:
        raise ConfigError(
            f"{where}: is no Apprise URL (not shown, it may hold a secret); write it as the "
            "service's page at Apprise says, such as tgram://TOKEN/CHAT or json://HOST"
        )
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s

    def send(title: str, text: str, severity: Severity) -> bool:
        kind = apprise.NotifyType(severity)
        return bool(plugin.notify(body=text, title=title, notify_type=kind))

    return Service(f"{where} ({plugin.service_name})", send)


class Pace:
    """Three alerts of a kind may follow each other, then one per span; the others are counted."""

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        self._held: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        """Whether one more of this kind may go."""
        now = self._clock()
        left, at = self._left.get(kind, (float(_BURST), now))
        left = min(float(_BURST), left + (now - at) / self._every_s)
        is_free = left >= 1.0
        self._left[kind] = left - 1.0 if is_free else left, now
        if not is_free:
            self._held[kind] = self._held.get(kind, 0) + 1
        return is_free

    def held(self) -> str:
        """What did not go since this was asked last, in words; empty where all did."""
        held, self._held = self._held, {}
        return ", ".join(f"{count} x {kind}" for kind, count in held.items())


class _Way:
    """The thread of one service and what waits for it."""

    def __init__(self, service: Service, told: Callable[[str, dict[str, object]], None]) -> None:
        self.name = service.name
        self._send = service.send
        self._told = told
        self._queue: queue.SimpleQueue[tuple[str, Alert] | None] = queue.SimpleQueue()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def put(self, title: str, alert: Alert) -> bool:
        """Queue one; False where too many wait."""
        if self._queue.qsize() >= _QUEUED_MAX:
            return False
        self._queue.put((title, alert))
        return True

    def end(self) -> None:
        """Send what waits, trying each once more at most, and end."""
        self._is_ending.set()
        self._queue.put(None)

    def wait(self, span_s: float) -> bool:
        """Whether it has ended within this time."""
        self._thread.join(max(0.0, span_s))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            title, alert = item
            tries, error = self._deliver(title, alert)
            facts: dict[str, object] = {"kind": alert.kind, "service": self.name, "tries": tries}
            if error is None:
                self._told("alert.sent", facts)
            else:
                self._told("alert.failed", {**facts, "error": error})

    def _deliver(self, title: str, alert: Alert) -> tuple[int, str | None]:
        """How often it was tried, and what came of the last try; None: the service took it."""
        error: str | None = None
        for tries in range(1, TRIES + 1):
            error = attempt(self._send, title, alert.text, alert.severity)
            if error is None:
                return tries, None
            if tries < TRIES and self._is_ending.wait(_AGAIN_S[tries - 1]):
                # The process ends: no more pauses, one more try.
                error = attempt(self._send, title, alert.text, alert.severity)
                return tries + 1, error
        return TRIES, error


def attempt(send: Send, title: str, text: str, severity: Severity) -> str | None:
    """Try once; what went wrong without what is secret, None where the service took it."""
    try:
        is_taken = send(title, text, severity)
    except Exception as error:  # noqa: BLE001 - whatever a plugin does, the others go on
        return f"{type(error).__name__}, not shown: it may hold the address"
    return None if is_taken else "the service was not reached in time, or refused it"


class Alerts:
    """
    A tap of the log that tells a person.

    Args:
        services: The ways; there is at least one.
        params: The configuration of them.
        about: What is told of, in front of every title: market and mode.
        clock: Seconds, steady.
    """

    def __init__(
        self,
        services: Sequence[Service],
        params: AlertParams,
        about: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._editor = Editor(params)
        self._pace = Pace(params.every_s, clock)
        self._about = about
        self._log: Log | None = None
        self._lock = threading.Lock()
        self._ways = [_Way(service, self._tell) for service in services]

    def attach(self, log: Log) -> None:
        """Tell this log what became of the alerts."""
        self._log = log

    def take(self, _level: str, record: Record) -> None:
        """Send what this record is worth; returns at once."""
        try:
            alert = self._editor.alert(record)
        except Exception as error:  # noqa: BLE001 - no message to a person may end a run
            what = f"{type(error).__name__}: {error}"
            self._tell("alert.unmade", {"of": str(record.get("event")), "error": what})
            return
        if alert is None:
            return
        with self._lock:
            if not self._pace.admits(alert.kind):
                return
            held = self._pace.held()
        if held:
            text = f"{alert.text}\nNot told since the last alert: {held}; the log has them."
            alert = msgspec.structs.replace(alert, text=text)
        title = f"mmbot {self._about}: {alert.kind.replace('_', ' ')}"
        for way in self._ways:
            if not way.put(title, alert):
                self._tell("alert.dropped", {"kind": alert.kind, "service": way.name})

    def close(self, span_s: float = END_S) -> None:
        """Wait for what has not been sent yet, but no longer than this."""
        until = monotonic() + span_s
        for way in self._ways:
            way.end()
        for way in self._ways:
            if not way.wait(until - monotonic()):
                self._tell("alert.unsent", {"service": way.name, "waited_s": span_s})

    def _tell(self, event: str, facts: dict[str, object]) -> None:
        log = self._log
        if log is not None:
            tell = log.info if event == "alert.sent" else log.warning
            tell(event, **facts)
