"""
Records of a log held against docs/log.schema.json, as a reader of another language does.

And against what `report` and `status` take for a record: they leave a line out that is none.

Only the words of JSON Schema that the document uses are known here; another one is an error, so
that nothing in it goes unchecked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmbot.runtime.report.kinds import check

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "log.schema.json"
_OF_RECORD = {"title", "description", "type", "properties", "required", "additionalProperties"}
_OF_VALUE = {"type", "description", "enum", "const", "pattern"}


def _is_a(value: object, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list | tuple)
        case "object":
            return isinstance(value, Mapping)
    raise AssertionError(f"unknown type {kind}")


@cache
def events() -> dict[str, dict[str, Any]]:
    """What the schema says of each event."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    found = {it["properties"]["event"]["const"]: it for it in schema["oneOf"]}
    assert len(found) == len(schema["oneOf"])
    for it in found.values():
        assert set(it) == _OF_RECORD
        assert it["additionalProperties"] is False
        for of_value in it["properties"].values():
            assert set(of_value) <= _OF_VALUE
    return found


def problems(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with one record."""
    event = record.get("event")
    known = events().get(str(event))
    if known is None:
        return [f"{event}: not documented"]
    properties = known["properties"]
    found = [f"{event}.{name}: missing" for name in known["required"] if name not in record]
    for name, value in record.items():
        if name not in properties:
            found.append(f"{event}.{name}: not documented")
            continue
        word = properties[name]
        if "type" in word:
            kinds = [word["type"]] if isinstance(word["type"], str) else word["type"]
            if not any(_is_a(value, kind) for kind in kinds):
                found.append(f"{event}.{name} = {value!r}: is no {' or '.join(kinds)}")
        if "enum" in word and value not in word["enum"]:
            found.append(f"{event}.{name} = {value!r}: is none of {word['enum']}")
        if "pattern" in word and not re.search(word["pattern"], str(value)):
            found.append(f"{event}.{name} = {value!r}: is not {word['pattern']}")
    return found


def check_records(records: Iterable[Mapping[str, Any]]) -> int:
    """Fail where one of them is not as documented; how many there were."""
    count = 0
    wrong: dict[str, None] = {}
    for record in records:
        count += 1
        wrong |= dict.fromkeys(problems(record))
        check(str(record["event"]), record)
    assert not wrong, f"docs/log.schema.json: {list(wrong)[:10]}"
    return count


def check_run(run_dir: Path) -> int:
    """The same of what a run left, whose last line may be torn; how many lines there were."""
    for name, event in (("kill.json", ""), ("summary.json", "run.ended")):
        if (run_dir / name).is_file():
            check(event, json.loads((run_dir / name).read_text("utf-8")))
    log = run_dir / "log.jsonl"
    if not log.exists():
        return 0
    return check_records(json.loads(line) for line in log.read_text("utf-8").split("\n")[:-1])
