"""
Every key of the configuration changes something that can be seen from outside, or it must go.

The predecessor of this program read keys for months that nothing used: an operator turned them, and
the program took no notice.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from pydantic import create_model

from knobs import core_scenarios as core
from knobs import notice_scenarios as notices
from knobs import program_scenarios as program
from knobs.liveness import (
    Knob,
    Outcome,
    Scenario,
    Values,
    first_outcome,
    keys_of,
    observe,
    unlisted,
    verdict,
)
from knobs.table import PATIENT, TABLE
from mmbot.config import Config
from mmbot.core.quoter import Quote, Quoter
from support import IS_THOROUGH

_BY_FILE = (
    program.run,
    program.explained,
    program.reset,
    program.edge,
    program.recorded,
    program.signer_from_environment,
    program.signer_from_file,
    notices.scraped,
)
"""Scenarios that read a file, in which a key unknown to the program is refused as such."""


def _name(case: tuple[Scenario, Values]) -> str:
    scenario, base = case
    return f"{scenario.__name__}-{len(base)}"


CASES = list(dict.fromkeys((knob.scenario, knob.base) for knob in TABLE.values()))
_FIRST = list({scenario: (scenario, base) for scenario, base in reversed(CASES)}.values())
"""A base of each scenario."""
_RUNS_AND_MORE = (program.explained, notices.scraped)
"""Each is `program.run`, which repeats itself, and what more there is to see of it."""


def test_every_key_has_a_row() -> None:
    """A key that nobody looks after is how dead ones come about."""
    assert unlisted(Config, TABLE) == set()


def test_every_row_has_a_key() -> None:
    """A row for a key that was removed or renamed proves nothing."""
    assert TABLE.keys() - set(keys_of(Config)) == set()


@cache
def _with_dead_keys() -> type[Config]:
    """The configuration with one key in every section, and one beside them, that nobody reads."""
    fields: dict[str, Any] = {"unread": (float, 1.0)}
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and hasattr(kind, "model_fields"):
            section = create_model(kind.__name__, __base__=kind, unread=(float, 1.0))
            fields[name] = (section, ... if field.is_required() else section())
    return create_model("Config", __base__=Config, **fields)


def _shown_again(scenario: Scenario, base: Values) -> Outcome:
    """What it shows a second time, with every dead key turned where the program takes them."""
    if scenario in _BY_FILE:
        return observe(scenario, base)
    model = _with_dead_keys()
    turned = tuple((key, 2.0) for key in keys_of(model) if key.endswith("unread"))
    assert len(turned) > 10
    return observe(scenario, (*base, *turned), model)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_a_scenario_shows_every_key_of_its_and_none_that_nobody_reads(
    case: tuple[Scenario, Values],
) -> None:
    """
    On the wire, in the time of a trip, in a log record or an exit code: its second value is told.

    One that showed dead keys, by repeating its configuration say, would call each of them alive; so
    would one that does not repeat itself. Neither lies in the base, so that one base of a scenario
    is enough to see it. All that shares an outcome is one test: in another process it would be
    played again.
    """
    scenario, base = case
    first = first_outcome(scenario, base)
    assert first
    if IS_THOROUGH or (case in _FIRST and scenario not in _RUNS_AND_MORE):
        assert _shown_again(scenario, base) == first

    keys = [key for key, knob in TABLE.items() if (knob.scenario, knob.base) == case]
    assert keys
    assert [found for key in keys if (found := verdict(key, TABLE[key]))] == []


# -- the test of the test ---------------------------------------------------------------------


@pytest.mark.parametrize("key", ["reconcile.unread", "unread"])
def test_a_key_that_nobody_reads_is_called_dead(key: str) -> None:
    """What the table is for."""
    model = _with_dead_keys()

    assert key in unlisted(model, TABLE)
    found = verdict(key, Knob(2.0, core.wandering, PATIENT), model)
    assert found is not None
    assert "dead in wandering" in found


@pytest.mark.parametrize("key", ["quoter.skew_bps_min", "quoter.skew_x_touch"])
def test_a_key_whose_term_is_thrown_away_is_called_dead(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The founding case: a skew is configured, read and computed, and reaches no price."""
    computed = Quoter.quote

    def without_skew(self: Quoter, **state: Any) -> Quote:
        quote = computed(self, **state)
        # The skew itself, and all that is bounded or brought to the touch by it.
        return msgspec.structs.replace(
            quote,
            inventory_skew_bps=0.0,
            drift_bps=None,
            hold_bid_bps=0.0,
            hold_ask_bps=0.0,
            touch_bid_bps=0.0,
            touch_ask_bps=0.0,
            reducing_floor_bps=quote.floor_bps,
        )

    monkeypatch.setattr(Quoter, "quote", without_skew)
    # A base of its own, so that no outcome of the whole program is taken for its first.
    knob = TABLE[key]._replace(base=(*PATIENT, ("log.level", "debug")))

    found = verdict(key, knob)

    assert found is not None
    assert "dead in wandering" in found


def test_a_second_value_that_is_the_first_is_called_dead() -> None:
    """A row proves something only if the two runs differ in the key."""
    found = verdict("ladder.rungs", Knob(4, core.wandering, PATIENT))

    assert found is not None
    assert "its second value 4 is its first" in found


def test_a_scenario_that_shows_nothing_is_called_dead() -> None:
    """Two silences are alike."""
    found = verdict("ladder.rungs", Knob(1, lambda _config, _here: []))

    assert found is not None
    assert "shows nothing" in found
