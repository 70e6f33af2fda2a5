"""
Check 69: hours of the program under the faults of checks 50, 65 and 66.

Late, lost and refused answers, connections that break, events before and after the answers they
belong to. `make campaign` runs a whole day of it; here it are nine minutes in which each of
them comes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbot.runtime.campaign.run import campaign_config, perform
from mmbot.runtime.campaign.soak import KINDS, soak_schedule

CONFIG = Path(__file__).resolve().parent.parent.parent / "configs" / "emulator.toml"
HOURS = 0.15


def test_a_soak_ends_without_an_unexplained_order_and_at_the_sum_of_its_fills() -> None:
    """Nothing that is lost for a moment may be lost for good, and nothing may pile up."""
    schedule = soak_schedule(HOURS, seed=180)
    stage, result = perform(campaign_config(CONFIG), schedule)

    assert result.violations == ()
    assert stage.strays == [], "an order rested that the program did not know"
    assert stage.resting() == []
    assert result.sim_s >= HOURS * 3600
    signs = {"B": 1.0, "A": -1.0}
    fills = stage.fills()
    assert len(fills) > 50
    filled_sz = sum(signs[fill["side"]] * float(fill["sz"]) for fill in fills)
    assert stage.position_sz() == pytest.approx(filled_sz, abs=1e-9)
    assert stage.summary()["position_sz"] == pytest.approx(filled_sz, abs=1e-9)
    assert len(result.faults) == len(KINDS), "every kind came"
    assert sum(result.hits.values()) > 10


def test_a_day_of_it_has_every_fault_often() -> None:
    """The soak of `make campaign`: hours in which a kind does not come show nothing of it."""
    schedule = soak_schedule(24.0, seed=1)

    counts = {kind: sum(fault.kind is kind for fault in schedule.faults) for kind in KINDS}
    assert min(counts.values()) >= 100
    assert schedule.ends_s == 86_400.0
    assert [fault.at_s for fault in schedule.faults] == sorted(f.at_s for f in schedule.faults)
