"""
Alerts on their way: paced, queued, sent by a thread for each service, waited for at the end.

The loop only puts an alert into a queue; what waits there together is sent as one message. Neither
a log nor an error nor a record ever holds the address of a service, which is a secret: services are
named by where the address was found and by what kind they are, and of an exception only its type is
told.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Final

import msgspec

from mmbot.config import AlertParams
from mmbot.config.telemetry import ALERT_KINDS, AlertKind
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
"""Alerts that wait for one service, and as many critical ones; later ones are dropped, told of."""
_TEXT_MAX: Final = 4000
"""Characters of a message of several alerts: one that is longer is refused by many a service."""

Send = Callable[[str, str, Severity], bool]
"""Title, text, severity; whether the service took it."""


class Service(msgspec.Struct, frozen=True):
    """One way to a person. `name` holds nothing secret; a message has `text_max` characters."""

    name: str
    send: Send
    text_max: int = _TEXT_MAX


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
    # It would sleep for up to 5.5 s before the next message, and the end of a process waits for no
    # more than one such sleep. We pace by event and send what waits together as one.
    plugin.request_rate_per_sec = 0

    def send(title: str, text: str, severity: Severity) -> bool:
        kind = apprise.NotifyType(severity)
        return bool(plugin.notify(body=text, title=title, notify_type=kind))

    name = f"{where} ({plugin.service_name})"
    return Service(name, send, min(_TEXT_MAX, plugin.body_maxlen or _TEXT_MAX))


class Pace:
    """
    Three alerts of an event may follow each other, then one per span; the others are counted.

    Each event has a bucket of its own: a warning that comes and goes must not use up the place of
    the failure it leads to, even where a person calls both by one kind.
    """

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock = clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        self._held: dict[str, int] = {}

    def admits(self, event: str, level: str) -> bool:
        """Whether one more of this event and level may go; what is critical always may."""
        if level == "critical":
            return True
        key, now = (event, level), self._clock()
        left, at = self._left.get(key, (float(_BURST), now))
        left = min(float(_BURST), left + (now - at) / self._every_s)
        is_free = left >= 1.0
        self._left[key] = left - 1.0 if is_free else left, now
        if not is_free:
            self._held[event] = self._held.get(event, 0) + 1
        return is_free

    def held(self) -> str:
        """What did not go since this was asked last, in words; empty where all did."""
        held, self._held = self._held, {}
        return ", ".join(f"{count} x {event}" for event, count in held.items())


def message_of(about: str, alerts: Sequence[Alert]) -> tuple[str, str, Severity]:
    """Title, text and severity of alerts that are sent as one: every text, the worst severity."""
    kinds = list(dict.fromkeys(alert.kind.replace("_", " ") for alert in alerts))
    title = f"mmbot {about}: {', '.join(kinds)}"
    worst = max((alert.severity for alert in alerts), key=_SEVERITIES.index)
    if len(alerts) == 1:
        return title, alerts[0].text, worst
    texts = [f"{alert.kind.replace('_', ' ')}: {alert.text}" for alert in alerts]
    return title, _BETWEEN.join(texts), worst


_SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "failure")
_BETWEEN: Final = "\n\n"
_KIND_CHARS: Final = max(len(kind) for kind in ALERT_KINDS) + len(": ") + len(_BETWEEN)


class _Way:
    """The thread of one service and what waits for it."""

    def __init__(
        self, service: Service, about: str, told: Callable[[str, dict[str, object]], None]
    ) -> None:
        self.name = service.name
        self._service = service
        self._about = about
        self._told = told
        self._waiting: deque[Alert] = deque()
        self._changed = threading.Condition()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def put(self, alert: Alert, *, is_critical: bool = False) -> bool:
        """Queue one; False where too many wait."""
        with self._changed:
            if len(self._waiting) >= _QUEUED_MAX * (2 if is_critical else 1):
                return False
            self._waiting.append(alert)
            self._changed.notify()
        return True

    def end(self) -> None:
        """Send what waits, trying each once more at most, and end."""
        self._is_ending.set()
        with self._changed:
            self._changed.notify()

    def wait(self, span_s: float) -> bool:
        """Whether it has ended within this time."""
        self._thread.join(max(0.0, span_s))
        return not self._thread.is_alive()

    def _next(self) -> list[Alert]:
        """What goes as one message: all that waits, as far as it has room; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ending.is_set())
            found: list[Alert] = []
            room = self._service.text_max
            while self._waiting:
                room -= len(self._waiting[0].text) + _KIND_CHARS
                if found and room < 0:
                    break
                found.append(self._waiting.popleft())
            return found

    def _work(self) -> None:
        while alerts := self._next():
            tries, error = self._deliver(message_of(self._about, alerts))
            for alert in alerts:
                facts: dict[str, object] = {
                    "kind": alert.kind,
                    "service": self.name,
                    "tries": tries,
                }
                if error is None:
                    self._told("alert.sent", facts)
                else:
                    self._told("alert.failed", {**facts, "error": error})

    def _deliver(self, message: tuple[str, str, Severity]) -> tuple[int, str | None]:
        """How often it was tried, and what came of the last try; None: the service took it."""
        error: str | None = None
        for tries in range(1, TRIES + 1):
            error = attempt(self._service.send, *message)
            if error is None:
                return tries, None
            if tries < TRIES and self._is_ending.wait(_AGAIN_S[tries - 1]):
                # The process ends: no more pauses, one more try.
                return tries + 1, attempt(self._service.send, *message)
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
        self._held_of: AlertKind | None = None
        """Kind of the last alert that was held back."""
        self._log: Log | None = None
        self._lock = threading.Lock()
        self._ways = [_Way(service, about, self._tell) for service in services]

    def attach(self, log: Log) -> None:
        """Tell this log what became of the alerts."""
        self._log = log

    def take(self, level: str, record: Record) -> None:
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
            if not self._pace.admits(str(record["event"]), level):
                self._held_of = alert.kind
                return
            held = self._pace.held()
        if held:
            text = f"{alert.text}\nNot told since the last alert: {held}; the log has them."
            alert = msgspec.structs.replace(alert, text=text)
        self._put(alert, is_critical=level == "critical")

    def close(self, span_s: float = END_S) -> None:
        """Send what has not been sent yet, how much was held back too, but wait no longer."""
        with self._lock:
            held, kind = self._pace.held(), self._held_of
        if held and kind is not None:
            self._put(Alert(kind, "warning", f"Not told: {held}; the log has them."))
        until = monotonic() + span_s
        for way in self._ways:
            way.end()
        for way in self._ways:
            if not way.wait(until - monotonic()):
                self._tell("alert.unsent", {"service": way.name, "waited_s": span_s})

    def _put(self, alert: Alert, *, is_critical: bool = False) -> None:
        for way in self._ways:
            if not way.put(alert, is_critical=is_critical):
                self._tell("alert.dropped", {"kind": alert.kind, "service": way.name})

    def _tell(self, event: str, facts: dict[str, object]) -> None:
        log = self._log
        if log is not None:
            tell = log.info if event == "alert.sent" else log.warning
            tell(event, **facts)
