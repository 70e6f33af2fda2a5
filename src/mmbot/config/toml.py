"""TOML in and out: one `--set`, the text of a file, the effective configuration."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mmbot.config.words import show
from mmbot.errors import ConfigError

_FILE_BYTES_MAX: Final = 1_000_000
_DEEPEST: Final = 20
"""Parts of a key; of ours the longest has three."""


def read_text(path: Path) -> str:
    """Text of a configuration file; a pipe or a device could be waited for without end."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ConfigError(f"{path}: is a directory; name a .toml file")
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path}: is a pipe or a device, not a file; name a .toml file")
        if found.st_size > _FILE_BYTES_MAX:
            raise ConfigError(f"{path}: {found.st_size} bytes are no configuration; is it another?")
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; see configs/ for templates") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8 text; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{show(str(path))}: cannot be a file name: {error}") from None


def read_toml(text: str, source: str) -> dict[str, Any]:
    """
    Tables of a TOML text.

    Raises:
        tomllib.TOMLDecodeError: It is not TOML.
        ConfigError: It is no configuration that anybody would write.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply to be a configuration") from None
    except ValueError:
        # Python refuses to convert thousands of digits, and says so with the digits.
        raise ConfigError(f"{source}: holds a number of thousands of digits; shorten it") from None


def override(tree: dict[str, Any], item: str) -> None:
    """Apply one `section.key=value`; the value is TOML, or a bare word taken as a string."""
    key, sign, text = item.partition("=")
    if "\0" in item:
        raise ConfigError(f"--set {show(item)}: holds a NUL character; remove it")
    if any(mark in item for mark in "\n\r"):
        raise ConfigError(f"--set {show(item)}: holds a line break; give each key its own --set")
    path = [part.strip() for part in key.split(".")]
    if not sign or not all(path):
        raise ConfigError(f"--set {show(item)}: write it as section.key=value")
    if len(path) > _DEEPEST:
        raise ConfigError(f"--set {show(item)}: nested too deeply; no key has so many sections")
    value: object = text
    # An address is hex digits to TOML, and text to everyone else.
    if not text.startswith("0x"):
        with suppress(tomllib.TOMLDecodeError):
            value = read_toml(f"value = {text}", f"--set {show(item)}")["value"]
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {show(item)}: {part} is a value, not a section")
        node = child
    node[path[-1]] = value


def dump(plain: Mapping[str, Any]) -> str:
    """Nested tables of plain values as TOML text."""
    lines: list[str] = []
    _table(plain, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    scalars = {key: value for key, value in values.items() if not isinstance(value, dict)}
    if path and (scalars or not values):
        lines.extend(("", f"[{'.'.join(path)}]"))
    lines.extend(f"{key} = {_toml(value)}" for key, value in scalars.items())
    for key, value in values.items():
        if isinstance(value, dict):
            _table(value, (*path, key), lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A TOML basic string is a JSON string, but for DEL, which TOML wants escaped as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
