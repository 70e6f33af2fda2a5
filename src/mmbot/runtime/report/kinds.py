"""
Whether a line of a log, or a summary, is what the program writes: its fields of their kinds.

A line that a disk, an editor or another program has changed may still be JSON. Sums that it goes
into would be no numbers, or so large that nothing else counts, so it is left out whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import Any, Final

from mmbot.logs import LEVELS, instant_ns
from mmbot.runtime.logevents import EVENTS
from mmbot.runtime.logschema import fields_of

NUMBER_MAX: Final = 9e18
"""
Largest number that is taken for one, either way: what 64 bits count, as instants in ns do.

The square of it, times as many lines as a disk holds, is far from the end of a float.
"""
FROM_NS: Final = 1_420_070_400 * 10**9
"""2015-01-01: no venue of today was there before."""
UNTIL_NS: Final = 4_102_444_800 * 10**9
"""2100-01-01. What is counted in ns ends in 2262."""
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "num": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}


class KindError(ValueError):
    """A record is not what the program writes."""


def checked_ns(record: Mapping[str, Any]) -> int:
    """
    When a record was written, ns since the epoch, once every field of it is as documented.

    A field that is absent is none of its faults: earlier versions had fewer, and whoever needs it
    says so. An event that is not known is of another version.

    Raises:
        KindError: It is not what the program writes.
        ValueError: Its time is none.
        KeyError: It lacks time, level or event.
    """
    event, level, at = record["event"], record["level"], record["at"]
    if not (isinstance(event, str) and isinstance(at, str) and level in LEVELS):
        raise KindError("no record of a log")
    check(event, record)
    at_ns = instant_ns(at)
    if not FROM_NS <= at_ns < UNTIL_NS:
        raise KindError(f"{at}: outside of every run")
    return at_ns


def check(event: str, facts: Mapping[str, Any]) -> None:
    """
    See that facts are those of an event.

    Raises:
        KindError: One is not of its documented kind, or a number is beyond `NUMBER_MAX`.
    """
    fields = _fields(event)
    for name, value in facts.items():
        field = fields.get(name)
        if field is not None:
            kinds, is_nullable = field
            # By its very type: a bool is an int to Python, and no number in a log.
            if type(value) not in kinds and not (value is None and is_nullable):
                raise KindError(f"{event}.{name}: {type(value).__name__}")
        if not _is_sane(value):
            raise KindError(f"{event}.{name}: beyond every number of a run")


@cache
def _fields(event: str) -> dict[str, tuple[tuple[type, ...], bool]]:
    told = EVENTS.get(event)
    if told is None:
        return {}
    return {name: (_KINDS[it.kind], it.is_nullable) for name, it in fields_of(told).items()}


def _is_sane(value: Any) -> bool:
    if isinstance(value, int | float):
        return isfinite(value) and abs(value) <= NUMBER_MAX
    if isinstance(value, dict):
        return all(_is_sane(it) for it in value.values())
    if isinstance(value, list):
        return all(_is_sane(it) for it in value)
    return True
