"""`mmbot watchdog`: a second process that cancels when the daemon falls silent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmbot.cli.alerting import find_those_that_serve
from mmbot.cli.keys import find_key, find_watchdog_key
from mmbot.cli.options import ConfigFile, NewestRunDir, Overrides, folder
from mmbot.config import Config, load
from mmbot.errors import CheckError, ConfigError, StateError
from mmbot.logs import LogWriter, Record, make_logger, stderr_line
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.alerts import Alerts
from mmbot.runtime.notify import Notify
from mmbot.runtime.opening import open_venue
from mmbot.runtime.screen import plain
from mmbot.runtime.venues import signer_of, state_path, watchdog_log
from mmbot.runtime.watchdog import Watchdog


def watchdog(
    config: ConfigFile,
    overrides: Overrides = None,
    run_dir: NewestRunDir = None,
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Clear up behind a daemon that has ended, and end; needs no own key."
        ),
    ] = False,
) -> None:
    """
    Watch the daemon of this configuration; when it falls silent, cancel all orders of ours.

    It wants an agent key of its own ([watchdog] key_env or key_file). With the embedded exchange it
    watches the newest run, or that of --run-dir. Ctrl+C or SIGTERM ends it, with 1 where it was
    about to cancel and the venue has not confirmed that nothing rests. Alerts that cannot be sent
    keep it from nothing: it says so, and watches.
    """
    settings = load(config, overrides or ())
    if settings.is_paper:
        raise ConfigError(
            'mode = "paper": orders on paper die with their daemon, there is nothing to cancel; '
            "watch a run with another mode"
        )
    key = find_watchdog_key(settings, os.environ)
    if key is None and once:
        # The daemon has ended: nobody else uses up the nonces of its key.
        key = find_key(settings, os.environ)
    if key is None and settings.mode != "emulator":
        raise ConfigError(
            f'mode = "{settings.mode}": the watchdog has no key: set the environment variable '
            f"{settings.watchdog.key_env}, or watchdog.key_file to a file of mode 0600, to the key "
            "of an API wallet of its own"
        )
    if key is not None and not once and key == find_key(settings, os.environ):
        raise ConfigError(
            "watchdog.key_env, watchdog.key_file: this is the key of the daemon; two processes "
            "that sign with one key use up each other's nonces; approve a second API wallet"
        )
    user = asyncio.run(_user(settings))
    chosen = folder(run_dir, "--run-dir")
    alerts, untold = find_those_that_serve(settings, os.environ, "watchdog")
    writer = LogWriter(None, sys.stdout, _line)
    try:
        asyncio.run(_watch(settings, chosen, user, key, writer, alerts, untold, is_once=once))
    finally:
        if alerts is not None:
            alerts.close()
        writer.close()


async def _watch(
    settings: Config,
    chosen: Path | None,
    user: str,
    key: bytes | None,
    writer: LogWriter,
    alerts: Alerts | None,
    untold: Sequence[str],
    *,
    is_once: bool,
) -> None:
    notify = Notify.from_environment({} if is_once else os.environ)
    taps = () if alerts is None else (alerts.take,)
    log = make_logger(writer, wall_clock_ns, settings.log.level, taps)
    if alerts is not None:
        alerts.attach(log)
    dog = Watchdog(
        settings,
        lambda: state_path(settings, chosen, user),
        user,
        key,
        log=log,
        notify=notify,
    )
    if not is_once and not settings.is_embedded:
        _open_log(writer, watchdog_log(state_path(settings, None, user)))
    for problem in untold:
        log.error("alerts.unavailable", error=problem)
        stderr_line(f"mmbot: alerts are OFF, nobody is told of what the watchdog does: {problem}")
    if is_once:
        await dog.once()
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, dog.stop)
    await dog.watch()
    notify.close()
    if dog.is_interrupted:
        raise typer.Exit(1)


def _open_log(writer: LogWriter, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        writer.open(path)
    except BlockingIOError:
        raise CheckError("another watchdog watches this account and market") from None
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}; mend that first") from None


async def _user(settings: Config) -> str:
    """The account watched, as `run` names it; an agent's key does not tell."""
    if settings.is_embedded:
        return ""
    if settings.account.address:
        return settings.account.address.lower()
    own = find_key(settings, os.environ)
    if own is None and settings.mode == "emulator":
        async with open_venue(settings, None) as venue:
            own = venue.key
    if own is None:
        raise ConfigError(
            "account.address: is not set, and the watchdog's key does not tell whose agent it is; "
            "set it to the account that the daemon trades"
        )
    return signer_of(settings, own).address


def _line(record: Record) -> str:
    return f"{record['at'][11:23]}  {plain(record)}"
