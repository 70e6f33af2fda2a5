"""
A newcomer who types `make run` sees a fill soon: the shipped configuration in 100 markets.

`benchmarks/first_fill.py` prints the same as figures.
"""

from __future__ import annotations

from mmbot.config import load
from runtime.pipe_rig import CONFIG, PipeRun
from support import often

SEEDS = often(40, thoroughly=100)
IN_TIME_MIN = SEEDS * 95 // 100
WITHIN_MS = 20_000


def first_fill_ms(run: PipeRun) -> int | None:
    """From the arrival of our first order to the first fill, by the exchange's clock."""
    run.start()
    run.sim.run_till(lambda: bool(run.fills()), 3 * WITHIN_MS / 1000)
    if not run.fills():
        return None
    quoted_ms = min(
        int(entry["time"])
        for entry in run.exchange.requests
        if entry["body"]["action"]["type"] == "order"
    )
    return min(int(fill["time"]) for fill in run.fills()) - quoted_ms


def test_the_shipped_configuration_fills_within_20_seconds_of_its_first_quote() -> None:
    """Who starts the program for the first time should see it trade before they look away."""
    scenario = load(CONFIG).emulator.scenario
    waits = [first_fill_ms(PipeRun(scenario, seed=seed)) for seed in range(SEEDS)]

    in_time = sum(wait is not None and wait <= WITHIN_MS for wait in waits)
    assert in_time >= IN_TIME_MIN, waits


def test_quotes_far_from_the_market_do_not_pass_the_measurement() -> None:
    """A measurement that nothing fails shows nothing: 40 bps away the same markets are too slow."""
    far = ["quoter.half_spread_bps_min=40", "ladder.depth_bps_max=100"]
    waits = [first_fill_ms(PipeRun(seed=seed, sets=far)) for seed in range(5)]

    in_time = sum(wait is not None and wait <= WITHIN_MS for wait in waits)
    assert in_time < len(waits) * IN_TIME_MIN / SEEDS, waits
