"""
Whether orders of a daemon that does not answer may still rest, by what others have left on disk.

A daemon that died cannot say that its orders are gone. Who cancelled them can: the watchdog in its
log, `mmbot kill` and `mmbot watchdog --once` in the heartbeat that they replace. Each asked the
venue first, so what they wrote is the venue's word, as of then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.config import Config, load
from mmbot.errors import ConfigError
from mmbot.logs import instant_ns
from mmbot.runtime.heart import beat_path, read_beat
from mmbot.runtime.rundir import run_pointer
from mmbot.runtime.tailing import tail_records
from mmbot.runtime.venues import state_path, watchdog_log

_TAIL_BYTES: Final = 1 << 18
WATCHDOG: Final = "watchdog"
BEAT: Final = "heartbeat"
"""By a command that replaced the heartbeat."""


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """
    That the venue confirmed, after the last sign of life of a run, that nothing of ours rests.

    `by` is WATCHDOG or BEAT; how many orders were cancelled only the watchdog tells.
    """

    by: str
    at_ns: int
    cancelled: int | None


def settings_of(run_dir: Path) -> Config | None:
    """The configuration of a run; None where its folder has none that this version can read."""
    try:
        return load(run_dir / "config.toml", ())
    except ConfigError:
        return None


def swept_since(
    settings: Config | None, run_dir: Path, user: str | None, since_ns: int | None
) -> Swept | None:
    """
    The newest confirmation since `since_ns`; None where there is none, or nothing tells of it.

    Args:
        settings: Configuration of the run; names its safety state.
        run_dir: Its folder.
        user: Account that it traded, where its log says so.
        since_ns: Its last sign of life: what was confirmed before, it may have placed again.
    """
    if settings is None or since_ns is None:
        return None
    found: list[Swept] = []
    for state in _states(settings, run_dir, user):
        found += [it for it in (_by_watchdog(state), _by_beat(state)) if it is not None]
    return max((it for it in found if it.at_ns > since_ns), key=lambda it: it.at_ns, default=None)


def _states(settings: Config, run_dir: Path, user: str | None) -> list[Path]:
    """Safety state of the run: by its account, else by the pointers that name its folder."""
    known = user or settings.account_address
    if settings.is_embedded or known:
        return [state_path(settings, run_dir, known)]
    model = state_path(settings, run_dir, "")
    found: list[Path] = []
    for pointer in model.parent.glob(f"*{run_pointer(model).suffix}"):
        try:
            target = Path(pointer.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # gone just now, or none of ours: it names no run
        if target.resolve() == run_dir.resolve():
            found.append(pointer.with_suffix(""))
    return found


def _by_watchdog(state: Path) -> Swept | None:
    """Its last word; a daemon that came round after it may have placed again."""
    last: Swept | None = None
    for record in tail_records(watchdog_log(state), _TAIL_BYTES):
        event: Any = record.get("event")
        if event == "watchdog.verified" and not record.get("resting_orders"):
            at_ns = instant_ns(str(record.get("at")))
            last = Swept(by=WATCHDOG, at_ns=at_ns, cancelled=record.get("cancelled"))
        elif event == "watchdog.daemon_beats":
            last = None
    return last


def _by_beat(state: Path) -> Swept | None:
    path = beat_path(state)
    beat = read_beat(path)
    if beat is None or beat.may_rest:
        return None
    try:
        at_ns = path.stat().st_mtime_ns
    except OSError:
        return None
    return Swept(by=BEAT, at_ns=at_ns, cancelled=None)
