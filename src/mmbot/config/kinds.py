"""
Whether a value is of the kind its key wants, before anything converts it.

Pydantic takes `true` for 1, "0.5" for 0.5 and "yes" for true. Who wrote that meant another key, or
has a template that fills in texts; neither is to be guessed at where money depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from mmbot.config.words import show

_NUMBERS: Final = (int, float)


def misfits(model: type[BaseModel], tree: object, section: str = "") -> Iterator[tuple[str, str]]:
    """
    Each value of another kind than its key wants, as key and sentence; unknown keys are skipped.

    Args:
        model: Of the tables in `tree`.
        tree: As it was read.
        section: Dotted key of `tree` in the configuration.
    """
    if not isinstance(tree, Mapping):
        return
    for name, value in tree.items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        key = f"{section}.{name}" if section else name
        wanted: Any = field.annotation
        if hasattr(wanted, "model_fields"):
            yield from misfits(wanted, value, key)
        else:
            yield from _misfit(wanted, value, key)


def _misfit(wanted: Any, value: object, key: str) -> Iterator[tuple[str, str]]:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        yield from _misfit(arguments[0], value, key)
    elif origin in (Union, UnionType):
        (alone,) = (each for each in arguments if each is not NoneType)
        yield from _misfit(alone, value, key)
    elif origin is tuple and isinstance(value, list | tuple):
        each = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
        for place, (kind, item) in enumerate(zip(each, value, strict=False)):
            yield from _misfit(kind, item, f"{key}.{place}")
    elif (why := _why(wanted, value)) is not None:
        yield key, f"{key} = {show(value)}: {why}"


def _why(wanted: Any, value: object) -> str | None:
    if wanted in _NUMBERS and isinstance(value, bool):
        return "is a truth value where a number belongs; write the number"
    if wanted in _NUMBERS and isinstance(value, str):
        return "is text where a number belongs; write the number, in digits and without quotes"
    if wanted is bool and isinstance(value, str | int | float) and not isinstance(value, bool):
        return "is neither true nor false; write one of them, without quotes"
    return None
