"""
Is a key of the configuration alive: does another value of it change anything outside the program?

A scenario runs a configuration and returns what an observer sees of it: payloads on the wire, times
of trips, log records, exit codes. It must be a function of the configuration alone, so a key is
alive when two of its values give two outcomes, and dead when they give the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from mmbot.config import Config
from mmbot.emulator.market import MarketParams

Outcome = tuple[str, ...]
Scenario = Callable[[Config, Path], list[object]]
Values = tuple[tuple[str, Any], ...]

ESSENTIAL: Values = (("instrument.coin", "HYPE"), ("risk.capital_usd", 100))
"""What has no default."""
HERE = "{here}"
"""Stands in a value for the folder that a scenario may write to, and in an outcome as well."""


class Knob(NamedTuple):
    """
    One row of the table.

    Attributes:
        value: The second value.
        scenario: What is run with the first and with the second.
        base: Other keys that both runs share, and the first value where it is not the default.
    """

    value: Any
    scenario: Scenario
    base: Values = ()


def keys_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every leaf key of a configuration; `[market]` has the figures of `MarketParams`."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if path == () and name == "market":
            kind = MarketParams
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys_of(kind, (*path, name))
        else:
            yield ".".join((*path, name))


def value_of(config: Config, key: str) -> Any:
    """The value in force; of `[market]`, the scenario's figure where none is set."""
    section, _, name = key.rpartition(".")
    if section == "market":
        return getattr(config.market_params, name)
    node: Any = config
    for part in filter(None, section.split(".")):
        node = getattr(node, part)
    return getattr(node, name)


def configure(values: Values, here: Path, model: type[Config] = Config) -> Config:
    """A checked configuration with these dotted keys set, later ones over earlier."""
    tree: dict[str, Any] = {}
    for key, value in (*ESSENTIAL, *values):
        node = tree
        *sections, name = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value.replace(HERE, str(here)) if isinstance(value, str) else _as_read(value)
    return model.model_validate(tree)


def _as_read(value: Any) -> Any:
    """What a configuration file gives: it has lists, and a table of rows cannot hold them."""
    return [_as_read(item) for item in value] if isinstance(value, tuple | list) else value


class _Differs(BaseException):
    """
    A scenario has shown something else already: the rest of it tells no more.

    No error of the program, so that no handler of the program's takes it for one.
    """


_compared: ContextVar[Outcome | None] = ContextVar("_compared", default=None)


class Seen(list[object]):
    """
    What a scenario returns in the end, held against a first outcome fact by fact.

    Only for what is handed on as it is, from its first fact on, and has no folder in it.
    """

    def append(self, fact: object) -> None:
        """Take note of it, and end the scenario if it decides."""
        first = _compared.get()
        if first is not None and (len(self) >= len(first) or str(fact) != first[len(self)]):
            raise _Differs
        super().append(fact)

    def extend(self, facts: Iterable[object]) -> None:
        """One after the other."""
        for fact in facts:
            self.append(fact)


def observe(scenario: Scenario, values: Values, model: type[Config] = Config) -> Outcome:
    """Run a scenario once, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="knobs-") as folder:
        seen = scenario(configure(values, Path(folder), model), Path(folder))
        return tuple(str(fact).replace(folder, HERE) for fact in seen)


def is_other(scenario: Scenario, values: Values, model: type[Config], first: Outcome) -> bool:
    """Whether the outcome is another one; a scenario ends as soon as that is certain."""
    token = _compared.set(first)
    try:
        return observe(scenario, values, model) != first
    except _Differs:
        return True
    finally:
        _compared.reset(token)


@cache
def first_outcome(scenario: Scenario, base: Values) -> Outcome:
    """Outcome of a base, run once for all keys that share it."""
    return observe(scenario, base)


def verdict(key: str, knob: Knob, model: type[Config] = Config) -> str | None:
    """Why this key is to be called dead; None for a live one."""
    with tempfile.TemporaryDirectory(prefix="knobs-") as folder:
        second = (*knob.base, (key, knob.value))
        values = [value_of(configure(v, Path(folder), model), key) for v in (knob.base, second)]
    if values[0] == values[1]:
        return f"{key}: its second value {values[1]!r} is its first; nothing could differ"
    first = first_outcome(knob.scenario, knob.base)
    if not first:
        return f"{key}: {knob.scenario.__name__} shows nothing at all"
    if not is_other(knob.scenario, second, model, first):
        return (
            f"{key}: dead in {knob.scenario.__name__}: {values[0]!r} and {values[1]!r} give the "
            "same outcome"
        )
    return None


def unlisted(model: type[Config], table: Mapping[str, Knob]) -> set[str]:
    """Keys of the configuration without a row."""
    return set(keys_of(model)) - table.keys()
