"""The laboratory is the vectorised market model, event by event: a guard of few seeds."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mmbot.config import load
from mmbot.emulator.scenarios import scenario_params
from mmbot.runtime.lab.runner import Setup
from mmbot.runtime.lab.session import Times, run_session
from mmbot.runtime.lab.variants import at_law, build, law_of
from support import IS_THOROUGH, often

ROOT = Path(__file__).parents[2]
SEEDS = range(201, often(203, thoroughly=204))
_Z = 4.0
"""Few sessions say little, but a rule of another market is farther off than this."""


@pytest.mark.parametrize("name", ["base", "predecessor"] if IS_THOROUGH else ["predecessor"])
def test_the_recorded_session_is_traded_as_in_the_vectorised_model(name: str) -> None:
    """
    `benchmarks/prototype.py` compares every world; here a few sessions of one.

    The predecessor is the base with a shift, so the base alone is left to the thorough tests.
    """
    settings = load(ROOT / "benchmarks" / "prototype.toml")
    emulator = settings.emulator
    made = Setup(
        "feb24",
        settings.instrument.wire_coin,
        scenario_params("feb24", settings.market),
        settings.engine,
        seeds=len(SEEDS),
        times=Times(order_ms=emulator.latency_ms),
        has_queue=emulator.has_queue,
        requests_base=emulator.requests,
        block_ms=emulator.block_ms,
        law=settings.lab.law,
    )
    law = law_of("feb24", made.law)
    world = at_law(made.shipped, law, made.fee_bps())
    plan = made.plan(build(name, made.shipped, world, law.floor_bps), 0)
    found = [run_session(msgspec.structs.replace(plan, seed=seed)) for seed in SEEDS]
    theirs = json.loads((ROOT / "benchmarks" / "prototype.json").read_text("utf-8"))
    limit_usd = settings.risk.max_position_usd
    figures, paths = theirs["worlds"]["feb24"][name], theirs["paths"]
    ours = {
        "fills": [float(it.fills) for it in found],
        "pnl_usd": [it.pnl_usd * theirs["limit_usd"] / limit_usd for it in found],
        "final_q": [it.final_q_frac * (1 if it.final_lots > 0 else -1) for it in found],
    }
    for key, values in ours.items():
        deviation = figures[key]["se"] * paths**0.5
        mean = sum(values) / len(values)
        assert mean == pytest.approx(
            figures[key]["value"], abs=_Z * deviation / len(values) ** 0.5
        ), key
    # Few sessions at four errors would let half the fills pass: the sharpest figure has its own.
    assert sum(ours["fills"]) / len(found) == pytest.approx(figures["fills"]["value"], rel=0.25)
    assert all(it.refused == 0 for it in found)
