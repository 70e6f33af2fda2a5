"""
A configuration that is loaded again while it is in force: what differs, and what of that may.

A key may change in a running daemon where its model says so (`json_schema_extra`, `reloadable`).
A file that asks for anything else is refused whole: half a file in force is a configuration that
nobody wrote, and the next start would trade another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from mmbot.config import Config

OF_OTHERS: Final = frozenset({"backtest", "lab", "watchdog"})
"""Sections that other commands read and no daemon does."""


class Change(msgspec.Struct, frozen=True):
    """One key that differs. What is not set is None."""

    key: str
    old: Any
    new: Any
    is_reloadable: bool


def changes(old: Config, new: Config) -> list[Change]:
    """What differs between two configurations, of what a daemon reads."""
    marked = frozenset(reloadable_keys())
    before = dict(_leaves(old.model_dump(mode="json")))
    after = dict(_leaves(new.model_dump(mode="json")))
    found: list[Change] = []
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        if one != other and key.partition(".")[0] not in OF_OTHERS:
            found.append(Change(key, one, other, key in marked))
    return found


def reloadable_keys() -> list[str]:
    """Every key that may change while a daemon runs, as it is written in a file."""
    return sorted(_marked(Config, ""))


def _marked(model: type[BaseModel], prefix: str) -> Iterator[str]:
    extra = model.model_config.get("json_schema_extra")
    names = extra.get("reloadable") if isinstance(extra, dict) else None
    for name in names if isinstance(names, list) else ():
        yield f"{prefix}{name}"
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _marked(inner, f"{prefix}{name}.")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
