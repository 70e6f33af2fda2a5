"""Paths in a configuration: what the system can at least be asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from mmbot.config.words import UnfitError

_KEY: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


def _usable(path: Path) -> Path:
    """A path that the system can at least be asked for."""
    text = str(path)
    if "\0" in text:
        raise UnfitError("holds a NUL character, which no file name has; remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UnfitError("is not valid text (UTF-8); use another name") from None
    try:
        path.expanduser()
    except RuntimeError:
        raise UnfitError("begins with a ~ whose home is not known; write it out") from None
    return path


def _not_empty(value: object) -> object:
    if value == "":
        raise UnfitError("is empty; name a folder or a file, or leave the key out")
    return value


def _not_a_key(path: Path) -> Path:
    """The effective configuration is printed and kept: the key itself must not be in it."""
    if _KEY.fullmatch(path.name):
        raise UnfitError("this is no name of a file; write the key into one, and its name here")
    return path


UsablePath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_usable)]
KeyPath = Annotated[UsablePath, AfterValidator(_not_a_key)]
