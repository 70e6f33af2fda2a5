"""The folder of a run: where it is, what lies in it, and which one is the newest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mmbot.config import Config, dump_toml
from mmbot.errors import ConfigError

LATEST: Final = "latest"


def make_run_dir(config: Config, chosen: Path | None, now_ns: int) -> Path:
    """
    Create the folder of a run, with the effective configuration in it.

    Args:
        config: The configuration; `log.dir` is the parent when nothing is chosen.
        chosen: A folder to use instead; it may exist, its earlier log is appended to.
        now_ns: Start of the run.

    Raises:
        ConfigError: The folder cannot be made or written.
    """
    try:
        path = chosen if chosen is not None else _fresh(config, now_ns)
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.toml").write_text(dump_toml(config), "utf-8")
    except OSError as error:
        where = chosen or config.log.dir
        raise ConfigError(f"cannot write the run directory {where}: {error.strerror}") from None
    if chosen is None:
        _point_latest(path)
    return path


def _fresh(config: Config, now_ns: int) -> Path:
    at = datetime.fromtimestamp(now_ns / 1e9, tz=UTC)
    market = config.instrument.wire_coin.replace(":", "-")
    stem = config.log.dir / f"{market}-{at:%Y%m%dT%H%M%SZ}"
    path, number = stem, 2
    while path.exists():
        path = stem.with_name(f"{stem.name}-{number}")
        number += 1
    return path


def _point_latest(path: Path) -> None:
    """Make `latest` name this run; the rename is atomic, so a reader never finds it missing."""
    link = path.parent / LATEST
    fresh = path.parent / f".{LATEST}-{path.name}"
    fresh.symlink_to(path.name)
    fresh.replace(link)


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json` whole or not at all."""
    target = path / "summary.json"
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    fresh.replace(target)
