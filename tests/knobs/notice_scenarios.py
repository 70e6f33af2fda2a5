"""Who is told of a run: what the services of alerts are sent, and where figures would be served."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import requests

from knobs import program_scenarios as program
from mmbot.cli.alerting import find_services
from mmbot.config import Config
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.alerts import Alerts
from mmbot.runtime.piped import Records

PORT = 19_464
"""Taken by the scenario, or by somebody else: the daemon does not get it in either case."""
_SERVICES = {"SOME_ALERTS": "json://some.invalid/", "OTHER_ALERTS": "json://other.invalid/"}
_MINUTE_S = 60.0


def told(config: Config, here: Path) -> list[object]:
    """Ten minutes of trouble once a minute: what is sent, where, and how long it may take."""
    file = here / "urls"
    file.write_text("json://third.invalid/", "utf-8")
    file.chmod(0o600)
    sent: list[tuple[Any, ...]] = []

    def request(_: object, method: str, url: str, **how: Any) -> requests.Response:
        body = json.loads(how["data"])
        sent.append((url, how["timeout"], method, body["title"], body["message"]))
        answer = requests.Response()
        answer.status_code = 200
        return answer

    now_s = [0.0]
    with patch("requests.Session.request", request):
        services = find_services(config, _SERVICES)
        alerts = Alerts(services, config.alerts, "HYPE", clock=lambda: now_s[0])
        taps = (alerts.take,)
        log = make_logger(cast("LogWriter", Records()), lambda: 0, config.log.level, taps)
        for minute in range(10):
            now_s[0] = minute * _MINUTE_S
            log.error("position.unexplained", missing_lots=minute, for_s=5.0)
            log.info(
                "requests.forecast",
                requests_left=1000 - 100 * minute,
                requests_per_h=200.0,
                requests_hours_left=5.0 - 0.5 * minute,
            )
        log.critical("invariant.broken", error="for the test")
        alerts.close()
    return list[object](sorted(sent))


def scraped(config: Config, here: Path) -> list[object]:
    """`mmbot run` while somebody else has the port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            other.bind(("127.0.0.1", PORT))
            other.listen()
        seen = program.run(config, here)
    for log in sorted(here.glob("*/[!l]*/log.jsonl")):
        records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        seen += [r["event"] for r in records if r["event"].startswith("metrics.")]
    return seen
