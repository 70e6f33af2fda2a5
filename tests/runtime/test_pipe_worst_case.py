"""The worst case that limits are held against bounds what the venue says, at every moment."""

from __future__ import annotations

from typing import Any

import pytest

from mmbot.core.types import NS_PER_S, Side
from runtime.pipe_rig import PipeRun
from runtime.test_pipe_trading import WIDE, assert_consistent
from support import often


def weigh(run: PipeRun) -> None:
    """Hold the table against the venue's books of this moment."""
    orders, position = run.trader.engine.orders, run.trader.engine.position
    if not position.is_started:
        return
    lots = run.instrument.lots
    held = round(lots(run.position_sz()))
    for side, mark in ((Side.BUY, "B"), (Side.SELL, "A")):
        rows = [row for row in run.resting() if row["side"] == mark]
        resting = sum(round(lots(float(row["sz"]))) for row in rows)
        assert resting <= orders.exposure_lots(side), rows
        assert side * held + resting <= side * position.lots + orders.worst_lots(side), rows


@pytest.mark.parametrize(
    "fault",
    [
        {"event_lag_ms": 900},
        {"is_event_first": True, "is_modify_reversed": True, "delay_ms": 400},
        {"drop": 4, "event_lag_ms": 600},
        {"disconnect_per_s": 0.3, "event_lag_ms": 300, "drop": 2},
        {"mute": ["orderUpdates"], "drop": 2},
    ],
    ids="+".join,
)
def test_no_more_rests_or_is_held_than_the_table_counts(fault: dict[str, Any]) -> None:
    """
    Every twentieth of a second of a minute of bad weather, or two, order by order and fill by fill.

    A limit is kept against what may still happen; what it does not count it cannot bound.
    """
    run = PipeRun("demo", seed=17, sets=WIDE)
    run.ghost_s = 30
    run.start()
    run.run(10)
    for n in range(often(1200, thoroughly=2400)):
        if n % 400 == 0:
            run.faults(**{key: list(v) if isinstance(v, list) else v for key, v in fault.items()})
        run.run(0.05, every_s=0.05)
        weigh(run)
    run.faults(
        event_lag_ms=0, delay_ms=0, disconnect_per_s=0.0, mute=[], refuse=[], answer=[], drop=0
    )
    run.run(40)
    fills = len(run.fills())
    run.stop()

    assert fills > often(10, thoroughly=20)
    assert_consistent(run)


@pytest.mark.parametrize("expires_s", [2, 9])
def test_a_placement_or_move_counts_for_as_long_as_the_configuration_lets_it_live(
    expires_s: int,
) -> None:
    """The expiry is the gateway's; the table must not give up before it."""
    run = PipeRun("demo", seed=3, sets=[f"gateway.expires_after_s={expires_s}", "kill.clock_s=1.5"])
    run.start()
    run.run(5)
    slots = run.trader.engine.orders.slots.values()
    assert run.sim.run_till(lambda: any(slot.lands_until_ns for slot in slots), 60)
    lives = {s.lands_until_ns - s.sent_ns for s in slots if s.lands_until_ns}
    assert lives == {(expires_s + 2) * NS_PER_S}
