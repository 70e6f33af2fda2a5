"""
Everything the log says is documented, and everything that is documented can be said.

Looked at from both ends: the source, in which every telling of an event is found, and the records
of runs that go wrong in many ways.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from logcheck import check_records, problems
from mmbot.cli.app import build
from mmbot.runtime.alerting import TOLD
from mmbot.runtime.logevents import EVENTS
from mmbot.runtime.logschema import fields_of, page, schema
from runtime.pipe_rig import PipeRun

ROOT = Path(__file__).resolve().parent.parent.parent
SRC = ROOT / "src" / "mmbot"
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
_TELLERS = {
    "debug",
    "info",
    "warning",
    "error",
    "critical",
    "Note",
    "_note",
    "_say",
    "_tell",
    "_told",
}
"""Functions whose first argument is an event."""
_ELSEWHERE = {"report", "emulator", "lab", "campaign", "selftest"}
"""Folders that tell into no log of a run."""
_PASSED_ON = {
    ("telling.py", "note.event"),
    ("connecting.py", "event"),
    ("intake.py", "event"),
    ("legs.py", "event"),
    ("alerts.py", "event"),
    ("deadman.py", "event"),
}
"""Where an event is handed on that was named elsewhere."""


class Telling(NamedTuple):
    """One place in the source at which an event is told."""

    where: str
    event: str
    level: str | None
    fields: tuple[str, ...]
    is_open: bool
    """Whether more fields come from a mapping or a struct."""


def _literals(node: ast.AST) -> list[str]:
    return [
        it.value
        for it in ast.walk(node)
        if isinstance(it, ast.Constant) and isinstance(it.value, str) and _EVENT.fullmatch(it.value)
    ]


def _named(function: ast.AST, name: str) -> list[str]:
    """The events that a variable of a function may hold."""
    return [
        event
        for it in ast.walk(function)
        if isinstance(it, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == name for t in it.targets)
        for event in _literals(it.value)
    ]


def tellings() -> Iterator[Telling]:
    """Every one, of what a daemon or a watchdog runs."""
    for path in sorted(SRC.rglob("*.py")):
        if _ELSEWHERE & set(path.relative_to(SRC).parts):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call):
                        yield from _telling(path, function, call)


def _telling(path: Path, function: ast.AST, call: ast.Call) -> Iterator[Telling]:
    target = call.func
    callee: str | None
    if isinstance(target, ast.IfExp):  # (log.info if ... else log.error)("event")
        callee = "info"
    else:
        callee = getattr(target, "attr", getattr(target, "id", None))
    is_log = callee in _TELLERS or isinstance(target, ast.Call)
    if not is_log or not call.args:
        return
    first = call.args[0]
    found = _literals(first)
    if not found and isinstance(first, ast.Name):
        found = _named(function, first.id)
    if not found:
        if isinstance(target, ast.Attribute) and "log" in ast.unparse(target.value).lower():
            assert (path.name, ast.unparse(first)) in _PASSED_ON, f"{path}:{call.lineno}"
        return
    fields = [it.arg for it in call.keywords if it.arg and it.arg not in ("exc_info", "facts")]
    is_open = any(it.arg in (None, "facts") for it in call.keywords)
    for argument in call.args[1:]:
        if isinstance(argument, ast.Dict):
            fields += [str(it.value) for it in argument.keys if isinstance(it, ast.Constant)]
            is_open = is_open or None in argument.keys
        elif not isinstance(argument, ast.Constant | ast.IfExp):
            is_open = True
    level = callee if callee in ("debug", "info", "warning", "error", "critical") else None
    if isinstance(target, ast.IfExp):
        level = None
    for event in found:
        yield Telling(f"{path.name}:{call.lineno}", event, level, tuple(fields), is_open)


@cache
def all_tellings() -> tuple[Telling, ...]:
    """Read where it is asked for: every worker loads this module, and few run its tests."""
    return tuple(tellings())


def test_every_event_in_the_source_is_documented_with_its_fields_and_level() -> None:
    """A record nobody can look up is noise, and one that says more than its page breaks readers."""
    wrong = []
    for it in all_tellings():
        told = EVENTS.get(it.event)
        if told is None:
            wrong.append(f"{it.where}: {it.event} is not documented")
            continue
        fields = fields_of(told)
        wrong += [f"{it.where}: {it.event}.{name}" for name in it.fields if name not in fields]
        if it.level is not None and it.level not in told.levels.split():
            wrong.append(f"{it.where}: {it.event} at {it.level}")
        if not it.is_open:
            required = {name for name, field in fields.items() if not field.is_optional}
            missing = required - set(it.fields)
            wrong += [f"{it.where}: {it.event} without {name}" for name in sorted(missing)]
    assert wrong == []
    assert len(all_tellings()) > 100


def test_every_event_that_is_documented_is_in_the_source() -> None:
    """An event that was renamed must not live on in the documentation."""
    found = {it.event for it in all_tellings()}
    # Made by hand, for a record that could not be written.
    assert set(EVENTS) - found == {"log.unwritable"}
    assert '"log.unwritable"' in (SRC / "logs.py").read_text("utf-8")


def test_alerts_are_made_of_documented_events() -> None:
    """One that listens for a name nobody says is silent on the worst day."""
    assert set(TOLD) - set(EVENTS) == set()


def test_the_documents_are_those_of_the_table() -> None:
    """`.ci/logdoc.py` writes them; a schema that is behind refuses good records."""
    docs = ROOT / "docs"
    assert (docs / "log.md").read_text("utf-8") == page()
    assert json.loads((docs / "log.schema.json").read_text("utf-8")) == schema()


def test_tail_prints_the_schema() -> None:
    """For whoever reads the log of another machine."""
    result = CliRunner().invoke(build(["tail"]), ["tail", "--schema"])

    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema()


# -- what runs say ----------------------------------------------------------------------------


def _calm(run: PipeRun) -> None:
    run.run(70)
    run.stop()


def _refused(run: PipeRun) -> None:
    run.run(3)
    run.faults(refuse_batch=["Insufficient margin for it."])
    run.run(20)
    run.stop()


def _cut(run: PipeRun) -> None:
    run.run(3)
    run.dialer.cut()
    run.run(10)
    run.stop()


def _killed(run: PipeRun) -> None:
    run.run(5)
    run.sim.run_till(lambda: run.trader.engine.position.lots != 0, 60)
    run.trader.kill("for the test", is_flatten=True)
    run.ended()


def _broken(run: PipeRun) -> None:
    run.run(3)
    run.trader.crash(RuntimeError("for the test"))
    run.ended()


RUNS: dict[str, Any] = {
    "calm": (_calm, {"fill.booked", "quote.moved", "quote.held", "snapshot.read"}),
    "refused": (_refused, {"order.rejected"}),
    "cut": (_cut, {"link.lost", "link.opened"}),
    "killed": (_killed, {"killswitch.tripped", "mode.changed", "flatten.ended"}),
    "broken": (_broken, {"invariant.broken"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_record_of_a_run_is_as_documented(name: str) -> None:
    """Of the whole program in simulated time, with a sweep in it and what goes wrong at a venue."""
    drive, expected = RUNS[name]
    run = PipeRun("demo", seed=3, market={"a_per_s": 3.0, "sweeps_per_s": 0.1})
    run.start()
    drive(run)
    records = [json.loads(json.dumps(record, default=_plain)) for record in run.log.all]

    assert check_records(records) == len(records) > 10
    assert {record["event"] for record in records} >= expected


def _plain(value: object) -> object:
    """As the writer of the log makes it."""
    import msgspec

    return msgspec.to_builtins(value)


# -- the check itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"event": "run.unheard_of"}, "not documented"),
        ({"level": "info"}, "is none of"),
        ({"error": None}, "is no string"),
        ({"exit_code": "2"}, "is no integer"),
        ({"exit_code": True}, "is no integer"),
        ({"more": 1}, "not documented"),
        ({"at": "2026-01-01"}, "is not"),
    ],
)
def test_the_check_finds_what_is_wrong(change: dict[str, Any], said: str) -> None:
    """It stands behind every system test: one that let anything pass would say nothing."""
    record = {
        "at": "2026-01-01T00:00:00.000000Z",
        "level": "error",
        "event": "run.refused",
        "error": "no",
        "exit_code": 2,
    }
    assert problems(record) == []
    found = problems({**record, **change})
    assert len(found) == 1
    assert said in found[0]
    del record["error"]
    assert problems(record) == ["run.refused.error: missing"]
