"""Where the addresses of alerts come from: the environment or a file of mode 0600."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmbot.cli.keys import read_private
from mmbot.config import Config, show
from mmbot.errors import ConfigError

if TYPE_CHECKING:
    from mmbot.runtime.alerts import Alerts, Service
    from mmbot.runtime.verdicts import Row


def find_addresses(config: Config, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """
    Every address with where it was found, for people; the addresses themselves are secrets.

    Raises:
        ConfigError: A variable that is named is not set, or the file cannot be used.
    """
    params = config.alerts
    found: list[tuple[str, str]] = []
    for name in params.url_env:
        urls = environment.get(name, "").split()
        if not urls:
            raise ConfigError(
                f"alerts.url_env: the environment variable {name} is not set; set it to an "
                "Apprise URL, or take its name out"
            )
        found += _placed(name, urls)
    if params.urls_file is not None:
        where = f"alerts.urls_file = {show(str(params.urls_file))}"
        text = read_private(params.urls_file.expanduser(), where, "it must hold Apprise URLs")
        lines = [line.strip() for line in text.splitlines()]
        urls = [line for line in lines if line and not line.startswith("#")]
        if not urls:
            raise ConfigError(f"{where}: holds no URL; write one per line")
        found += _placed(where, urls)
    return found


def find_services(config: Config, environment: Mapping[str, str]) -> list[Service]:
    """
    The services that are told; none where nothing is configured.

    Raises:
        ConfigError: As of `find_addresses`, or an address is none.
    """
    if not config.alerts.is_on:
        return []
    found = find_addresses(config, environment)
    from mmbot.runtime.alerts import services_of  # noqa: PLC0415 - takes a second to load

    return services_of(found, config.alerts)


def find_alerts(config: Config, environment: Mapping[str, str], who: str = "") -> Alerts | None:
    """What tells a person of a run, or of `who`; None where nobody is to be told."""
    return _alerts(find_services(config, environment), config, who)


def find_those_that_serve(
    config: Config, environment: Mapping[str, str], who: str
) -> tuple[Alerts | None, list[str]]:
    """
    What tells a person of `who`, and why the other services do not.

    For what protects: it must not stay away because nobody would hear of it.
    """
    params = config.alerts
    parts: list[dict[str, object]] = [
        {"url_env": (name,), "urls_file": None} for name in params.url_env
    ]
    if params.urls_file is not None:
        parts.append({"url_env": ()})
    services: list[Service] = []
    problems: list[str] = []
    for part in parts:
        alone = config.model_copy(update={"alerts": params.model_copy(update=part)})
        try:
            services += find_services(alone, environment)
        except ConfigError as error:
            problems.append(str(error))
    return _alerts(services, config, who), problems


def _alerts(services: list[Service], config: Config, who: str) -> Alerts | None:
    if not services:
        return None
    from mmbot.runtime.alerts import Alerts  # noqa: PLC0415 - as above

    mode = "LIVE" if config.mode == "live" else config.mode
    about = " ".join(part for part in (config.instrument.wire_coin, mode, who) if part)
    return Alerts(services, config.alerts, about)


def alert_rows(config: Config, environment: Mapping[str, str], *, is_test: bool) -> list[Row]:
    """
    What `check` says of alerts; with `is_test` one is sent by every service, and waited for.

    Raises:
        ConfigError: As of `find_services`, or there is nothing to test.
    """
    from mmbot.runtime.verdicts import Row  # noqa: PLC0415 - takes long to load

    services = find_services(config, environment)
    if not services:
        if is_test:
            raise ConfigError(
                "--alerts: none are configured; set alerts.url_env to the name of an environment "
                "variable that holds an Apprise URL, or alerts.urls_file"
            )
        return [Row("alerts", is_ok=True, text="none: nobody is told (alerts.url_env)")]
    if not is_test:
        events = ", ".join(config.alerts.events)
        text = f"{', '.join(service.name for service in services)}: {events}"
        return [Row("alerts", is_ok=True, text=text)]
    from mmbot.runtime.alerts import attempt  # noqa: PLC0415 - loaded by now

    title = f"mmbot {config.instrument.wire_coin} {config.mode}: test"
    rows: list[Row] = []
    for service in services:
        error = attempt(service.send, title, "A test. Nothing has happened.", "info")
        rows.append(Row("alert", error is None, f"{service.name}: {error or 'took a test alert'}"))
    return rows


def _placed(where: str, urls: list[str]) -> list[tuple[str, str]]:
    if len(urls) == 1:
        return [(where, urls[0])]
    return [(f"{where}, {number}.", url) for number, url in enumerate(urls, 1)]
