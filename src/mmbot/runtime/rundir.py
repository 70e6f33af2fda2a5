"""The folder of a run: where it is, what lies in it, and which one is the newest."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mmbot.config import Config, dump_toml
from mmbot.errors import ConfigError

LATEST: Final = "latest"
SUMMARY: Final = "summary.json"
EARLIER: Final = "earlier"
"""In the name of a file which an earlier run of the folder wrote: `summary.earlier.json`."""
_MODE: Final = 0o700
"""What lies in it tells of an account; a folder that was there keeps the mode it was given."""

_FILE_MODE: Final = 0o600


def make_run_dir(config: Config, chosen: Path | None, now_ns: int) -> Path:
    """
    Create the folder of a run.

    Args:
        config: The configuration; `log.dir` is the parent when nothing is chosen.
        chosen: A folder to use instead; it may exist, its earlier log is appended to.
        now_ns: Start of the run.

    Raises:
        ConfigError: The folder cannot be made.
    """
    try:
        if chosen is None:
            return _fresh(config, now_ns)
        chosen.mkdir(mode=_MODE, parents=True, exist_ok=True)
        return chosen
    except FileExistsError as error:
        stands = Path(error.filename)
        raise _unwritable(chosen or config.log.dir, ValueError(_what(stands))) from None
    except (OSError, ValueError) as error:
        raise _unwritable(chosen or config.log.dir, error) from None


def _what(path: Path) -> str:
    """What stands where a folder should be."""
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, which is not there"
    kind = "a named pipe" if path.is_fifo() else "a file" if path.is_file() else "no folder"
    return f"{path} is {kind}"


def find_run(text: str, parent: Path = Path("logs")) -> Path:
    """
    The folder of a run that a person names.

    Args:
        text: A folder, or `latest` for the newest run below `parent`.
        parent: Where runs lie that were not told otherwise.

    Raises:
        ConfigError: There is no such folder.
    """
    path = parent / LATEST if text == LATEST and not Path(text).is_dir() else Path(text)
    if not path.is_dir():
        remedy = "name the folder of a run, or `latest` where `logs` is below the current folder"
        raise ConfigError(f"{text!r}: no run at {path}; {remedy}")
    return path


def mode_text(mode: str) -> str:
    """The mode of a run for a person; that on paper cannot be overlooked."""
    return "PAPER: real prices, no order left the program" if mode == "paper" else mode


def mode_of(path: Path) -> str | None:
    """The mode of the run in a folder, by its `config.toml`; None where that does not say."""
    try:
        mode = tomllib.loads((path / "config.toml").read_text("utf-8")).get("mode")
    except (OSError, ValueError):
        return None  # a run that was refused before it had one, or a folder of something else
    return mode if isinstance(mode, str) else None


def describe_run(config: Config, path: Path) -> None:
    """
    Write the effective configuration into the folder of a run, whole or not at all.

    Raises:
        ConfigError: The folder cannot be written.
    """
    target = path / "config.toml"
    fresh = target.with_suffix(".new")
    try:
        write_whole(target, fresh, dump_toml(config).encode())
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def set_aside(path: Path, names: Iterable[str]) -> None:
    """
    Give the files by which an earlier run says of itself in this folder a name that says so.

    Log and journal tell their runs apart; these files stand for the newest run, which does not
    write each of them, and may die before it does.

    Raises:
        ConfigError: The folder cannot be written.
    """
    try:
        for name in names:
            old = path / name
            if old.is_file():
                old.replace(old.with_stem(f"{old.stem}.{EARLIER}"))
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError | ValueError) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(
        f"cannot write the run directory {str(path)!r}: {why}; name another with --run-dir "
        "or log.dir"
    )


def _fresh(config: Config, now_ns: int) -> Path:
    at = datetime.fromtimestamp(now_ns / 1e9, tz=UTC)
    market = config.instrument.wire_coin.replace(":", "-")
    kind = "-paper" if config.is_paper else ""
    stem = config.log.dir / f"{market}{kind}-{at:%Y%m%dT%H%M%SZ}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    path, number = stem, 2
    while True:
        try:
            # Two runs that begin in the same second must not share a folder.
            path.mkdir(mode=_MODE)
        except FileExistsError:
            path = stem.with_name(f"{stem.name}-{number}")
            number += 1
        else:
            return path


def point_latest(path: Path) -> None:
    """
    Make `latest` name this run; the rename is atomic, so a reader never finds it missing.

    Raises:
        ConfigError: It cannot be made, because something else has the name for instance.
    """
    link = path.parent / LATEST
    fresh = path.parent / f".{LATEST}-{path.name}"
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(path.name)
        fresh.replace(link)
    except OSError as error:
        raise _unwritable(link, error) from None


def run_pointer(state: Path) -> Path:
    """File beside the safety state that names the folder of its newest run."""
    return state.with_name(state.name + ".run")


def point_from_state(state: Path, path: Path) -> None:
    """
    Make the safety state name the folder of its run, so that a configuration alone finds it.

    A state that lies in the folder itself needs no pointer, and one that cannot be written none
    that a run should end for.
    """
    if state.parent == path:
        return
    target = run_pointer(state)
    fresh = target.with_name(target.name + ".new")
    with suppress(OSError):
        fresh.write_text(str(path.resolve()), "utf-8")
        fresh.chmod(0o600)
        fresh.replace(target)


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json` whole or not at all."""
    target = path / SUMMARY
    fresh = target.with_suffix(".new")
    write_whole(target, fresh, (json.dumps(summary, indent=2) + "\n").encode())


def write_whole(target: Path, fresh: Path, data: bytes) -> None:
    """
    Write a file of a run whole or not at all, by way of `fresh`; for its own user alone.

    The folder may be one that was there, and that others read.

    Raises:
        OSError: It cannot be written.
    """
    write_fresh(fresh, data)
    try:
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def write_fresh(fresh: Path, data: bytes) -> None:
    """
    Write what is to take another file's place, or leave nothing.

    Raises:
        OSError: It cannot be written.
    """
    try:
        fresh.touch(mode=_FILE_MODE)
        fresh.chmod(_FILE_MODE)
        fresh.write_bytes(data)
    except OSError:
        with suppress(OSError):
            fresh.unlink()  # what a full disk left of it
        raise
