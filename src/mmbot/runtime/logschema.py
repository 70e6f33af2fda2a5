"""
The schema of the log, for programs (JSON Schema 2020-12) and for people (docs/log.md).

Both are made of the table of events; `mmbot tail --schema` prints the first.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from mmbot.logs import LEVELS
from mmbot.runtime.logevents import EVENTS, Struct, Told

AT: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "num": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
UNITS: Final = {
    "_bps_per_s": "bps per second",
    "_bps_rt_s": "bps per root second",
    "_per_bp": "per bp",
    "_per_s": "per second",
    "_per_h": "per hour",
    "_bps": "basis points",
    "_usd": "USD",
    "_px": "USD a coin",
    "_sz": "coins, long positive",
    "_lots": "lots of the venue",
    "_ticks": "ticks of the venue",
    "_pct": "percent",
    "_frac": "fraction",
    "_ratio": "ratio",
    "_hours_left": "h",
    "_ms": "ms",
    "_ms_max": "ms",
    "_ns": "ns since the epoch",
    "_p": "probability",
    "_s": "s",
}
"""By the end of a name, the longest first."""


class Field(msgspec.Struct, frozen=True):
    """One field of an event."""

    name: str
    kind: str
    """A key of `_TYPES`."""
    is_nullable: bool = False
    is_optional: bool = False

    @property
    def unit(self) -> str:
        """What its number is in; empty where its name says none."""
        if self.kind not in ("int", "num"):
            return ""
        fitting = [end for end in UNITS if self.name.endswith(end)]
        return UNITS[max(fitting, key=len)] if fitting else ""


def fields_of(told: Told) -> dict[str, Field]:
    """Every field of an event, in the order of the record; the table's own word wins."""
    found: dict[str, Field] = {}
    for struct in told.structs:
        found |= {name: it for name, it in _spread(struct).items() if name not in told.without}
    for word in told.fields.split():
        name, _, kind = word.partition(":")
        field = Field(name, kind.rstrip("?~"), "?" in kind, "~" in kind)
        found[name] = field
    return found


def _spread(struct: Struct) -> dict[str, Field]:
    """The fields that a struct becomes."""
    hints = get_type_hints(struct)
    return {it.name: _field(it.name, hints[it.name]) for it in msgspec.structs.fields(struct)}


def _field(name: str, hint: Any) -> Field:
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = (it for it in members if it is not type(None))
    known: Mapping[Any, str] = {str: "str", int: "int", float: "num", bool: "bool", tuple: "list"}
    return Field(name, known[get_origin(kind) or kind], is_nullable=type(None) in members)


def schema() -> dict[str, Any]:
    """JSON Schema of one line of `log.jsonl`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmbot log record",
        "description": "One line of log.jsonl, and of the watchdog's log; see docs/log.md.",
        "oneOf": [_event(name, told) for name, told in EVENTS.items()],
    }


def _event(name: str, told: Told) -> dict[str, Any]:
    fields = fields_of(told)
    properties: dict[str, Any] = {
        "at": {"type": "string", "pattern": AT},
        "level": {"enum": told.levels.split()},
        "event": {"const": name},
        "exception": {"type": "string"},
    }
    for field in fields.values():
        kind: Any = _TYPES[field.kind]
        properties[field.name] = {"type": [kind, "null"] if field.is_nullable else kind}
        if field.unit:
            properties[field.name]["description"] = field.unit
    required = [field.name for field in fields.values() if not field.is_optional]
    return {
        "title": name,
        "description": told.text,
        "type": "object",
        "properties": properties,
        "required": ["at", "level", "event", *required],
        "additionalProperties": False,
    }


_HEAD: Final = """# The log

`log.jsonl` in the folder of a run (and `*.watchdog.jsonl` beside the safety state) holds a JSON
object a line. `mmbot tail` reads it; programs have [log.schema.json](log.schema.json), which
`mmbot tail --schema` prints as well. This page and the schema are made of one table in the program
(`src/mmbot/runtime/logevents.py`) by `.ci/logdoc.py`, and the log of every daemon that a test
starts is held against them.

Every record has `at` (UTC, microseconds, a Z), `level` ({levels}) and `event`, a subject and a
past verb. `exception` is a traceback, where there is one. Numbers are numbers, and what is not
known is null. The unit is the end of a name:

| name ends with | unit |
|---|---|
"""

_QUOTE: Final = """
The fields of `quote.moved` are the numbers behind a decision (`core/diagnostics.py`): distances
are positive away from the market on both sides, shifts positive up, and every line of `run`,
`tail`, `status`, `why` and `top` prints them with these signs. `bids` and `asks` hold the sum of
each rung, nearest first (`core/waterfall.py`).

Types: `num` is a number, `int` a whole one; `?` may be null, `~` may be absent.
"""


def page() -> str:
    """docs/log.md."""
    units = "".join(f"| `{end}` | {unit} |\n" for end, unit in UNITS.items())
    lines = [_HEAD.format(levels=", ".join(f"`{it}`" for it in LEVELS)) + units + _QUOTE]
    lines.append("| event | level | meaning | fields |\n|---|---|---|---|")
    for name, told in EVENTS.items():
        fields = [_shown(it) for it in fields_of(told).values()]
        if told.without:
            fields = [f"as `quote.moved` without {' and '.join(f'`{it}`' for it in told.without)}"]
        levels = ", ".join(told.levels.split())
        lines.append(f"| `{name}` | {levels} | {told.text} | {', '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _shown(field: Field) -> str:
    marks = ("?" if field.is_nullable else "") + ("~" if field.is_optional else "")
    return f"`{field.name}` {field.kind}{marks}"
