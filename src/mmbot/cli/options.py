"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from mmbot.errors import ConfigError, MmbotError
from mmbot.logs import clean

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
RunDir = Annotated[
    str | None,
    typer.Option(
        "--run-dir", metavar="DIR", help="Folder of this run; default: a new one below log.dir."
    ),
]
NewestRunDir = Annotated[
    str | None,
    typer.Option(
        "--run-dir",
        metavar="DIR",
        help="Folder of the run, with the embedded exchange only; default: the newest.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]

_ODD: Final = re.compile(r"[^ -~]")
_SPAN_S_MAX: Final = 366 * 86_400.0
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Switch(Enum):
    """On or off."""

    ON = "on"
    OFF = "off"


def folder(text: str | None, option: str) -> Path | None:
    """
    The folder an option names; None where it is not given.

    Raises:
        ConfigError: Nothing that could be one.
    """
    if text is None:
        return None
    if not text:
        raise ConfigError(f"{option}: is empty; name a folder, or leave the option out")
    if "\n" in text or "\r" in text:
        raise ConfigError(f"{option} {text!r}: holds a line break; name another folder")
    return Path(text)


def echo(text: str) -> None:
    """One line on standard output; the errors are those of `show`."""
    show([text])


def show(lines: Iterable[str]) -> None:
    """
    Lines on standard output: the one way there, on which each is made harmless to a terminal.

    A line break within one of them makes no line of its own, or whoever chooses a text that we
    print could write lines in our name.

    Raises:
        MmbotError: It takes none, because its disk is full for instance. A reader of a pipe that
            went away is left to the caller of the command, which ends without a word.
    """
    text = "".join(f"{clean(line)}\n" for line in lines)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MmbotError(f"standard output: {error.strerror}; write it elsewhere") from None


def json_text(facts: object) -> str:
    """JSON on one line, of which a terminal shows every character and obeys none."""
    text = msgspec.json.encode(facts, enc_hook=str).decode()
    return _ODD.sub(lambda found: _escaped(found[0]), text)


def _escaped(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1]


def flatten_command(config: Path, overrides: Sequence[str]) -> str:
    """The command that closes the position of a run with these options, as a person types it."""
    sets = [f"--set={item}" for item in overrides]
    return shlex.join(["mmbot", "flatten", "--config", str(config), *sets])


def duration_s(text: str) -> float:
    """
    Seconds of a span such as `90`, `45s`, `25m`, `1.5h`, `1h30m`.

    Raises:
        ConfigError: Not a positive span.
    """
    count = r"[0-9]+(?:\.[0-9]+)?"
    text = text.strip()
    is_span = re.fullmatch(rf"{count}|(?:{count}[smhd])+", text) is not None
    parts = re.findall(rf"({count})([smhd]?)", text) if is_span else []
    span_s = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    if not 0 < span_s <= _SPAN_S_MAX:
        raise ConfigError(f"--for {text}: write a span such as 90s, 25m or 2h, of a year at most")
    return span_s
