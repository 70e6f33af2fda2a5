"""Vitals in the assembled daemon: a dead term is noticed, a living one is left alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mmbot.core.types import Mode
from runtime.pipe_rig import PipeRun
from runtime.test_pipe_trading import WIDE
from support import often


@pytest.mark.parametrize(("scenario", "seed"), [("demo", 1), ("hype", 2), ("informed-100", 3)])
def test_healthy_minutes_raise_no_alarm(scenario: str, seed: int) -> None:
    """A guard that cries wolf is switched off by the first person who sees it."""
    run = PipeRun(scenario, seed=seed, sets=WIDE)
    run.start()
    # The liveliest is the longest: what is not traded is not watched either.
    run.run(often(330 if scenario == "demo" else 240, thoroughly=600), every_s=5)
    run.stop()

    assert [record["text"] for record in run.log.named("vitals.violated")] == []


@pytest.mark.parametrize("sets", [("ladder.spacing_bps=5",), ("ladder.rungs=1",)])
def test_wide_lines_and_lone_orders_are_no_fault(sets: tuple[str, ...]) -> None:
    """Valid settings: where orders rest a line from what is wanted, no term is broken."""
    run = PipeRun("demo", seed=5, sets=(*WIDE, *sets))
    run.start()
    run.run(often(200, thoroughly=300), every_s=5)
    run.stop()

    assert [record["text"] for record in run.log.named("vitals.violated")] == []


@pytest.mark.parametrize(
    ("term", "factor"), [("inventory_skew_bps", 0.0), ("inventory_skew_bps", -1.0)]
)
def test_a_skew_that_died_is_noticed_within_a_minute_of_a_position(
    term: str, factor: float
) -> None:
    """The predecessor's was zero all session, and 3,625 green tests said nothing."""
    run = PipeRun("demo", seed=4, sets=WIDE)
    run.start()
    run.run(5)
    engine = run.trader.engine
    real = engine._quoter.quote

    def dead(*args: Any, **kwargs: Any) -> Any:
        quote = real(*args, **kwargs)
        return msgspec.structs.replace(quote, **{term: getattr(quote, term) * factor})

    class Broken:
        base_bps = engine._quoter.base_bps
        quote = staticmethod(dead)

    engine._quoter = Broken()  # type: ignore[assignment]
    held_s = 0.0
    while not run.log.named("vitals.violated") and held_s < 60:
        run.run(1)
        held_s += abs(engine.x) > 0.1
    alarms = run.log.named("vitals.violated")
    assert alarms, "nobody noticed"
    assert alarms[0]["term"] == "inventory_skew"
    run.run(2)
    assert engine.mode is Mode.REDUCING
    assert any(r.get("cause") == "vitals" for r in run.log.named("mode.changed"))
    assert all(row.get("reduceOnly") for row in run.resting())
    run.stop()


@pytest.mark.parametrize("seed", [*range(2, 2 + often(1, thoroughly=5)), 22, 34])
def test_a_new_connection_and_repeated_frames_raise_no_alarm(seed: int) -> None:
    """What the estimators forget across a gap, the vitals forget as well."""
    run = PipeRun("demo", seed=seed, sets=WIDE)
    run.dialer.tamper = lambda text: [(0, text), (0, text)]
    run.start()
    for _ in range(4):
        run.run(45, every_s=5)
        run.dialer.cut()
    run.run(60, every_s=5)
    run.stop()

    assert [record["text"] for record in run.log.named("vitals.violated")] == []
