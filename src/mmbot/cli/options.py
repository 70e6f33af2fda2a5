"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from mmbot.errors import ConfigError

ConfigFile = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key, for example risk.max_position_usd=300.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]

_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(text: str) -> float:
    """
    Seconds of a span such as `90`, `45s`, `25m`, `1.5h`.

    Raises:
        ConfigError: Not a positive span.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"--for {text}: write a span such as 90s, 25m or 2h")
    return float(match[1]) * _SECONDS[match[2]]
