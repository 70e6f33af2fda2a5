"""The request budget of the whole daemon: counted as the venue counts, spent as it gets scarce."""

from __future__ import annotations

from statistics import mean
from typing import NamedTuple

import pytest

from mmbot.core.reconcile import ReconcileParams
from mmbot.core.types import NS_PER_MS
from mmbot.runtime.summary import RequestTeller
from runtime.pipe_rig import PipeRun

SPAN_S = 240
GRID_BPS = 0.5
"""What a price step of this coin and the rounding of both sides amount to."""


class Seen(NamedTuple):
    """What left the program in a span, and what rested meanwhile."""

    changes: int
    cancels: int
    two_sided: float
    half_bps: float
    wanted_bps: float


def watched(run: PipeRun, span_s: float = SPAN_S, every_s: float = 1.0) -> Seen:
    """Let it trade, and look at its orders once a second."""
    mark = run.exchange.requests_seen
    looks, both, halves = 0, 0, []
    for _ in range(round(span_s / every_s)):
        run.run(every_s, every_s=every_s)
        bids = [float(row["limitPx"]) for row in run.resting() if row["side"] == "B"]
        asks = [float(row["limitPx"]) for row in run.resting() if row["side"] == "A"]
        looks += 1
        if bids and asks:
            both += 1
            mid = (min(asks) + max(bids)) / 2
            halves.append((min(asks) - max(bids)) / 2 / mid * 1e4)
    rows = [row["body"]["action"] for row in run.exchange.requests if row["seq"] > mark]
    return Seen(
        sum(len(row.get("orders", ())) + len(row.get("modifies", ())) for row in rows),
        sum(len(row.get("cancels", ())) for row in rows),
        both / looks,
        sum(halves) / len(halves),
        mean([record["half_bps"] for record in run.log.all if "half_bps" in record]),
    )


def with_left(left: int, *, scenario: str = "demo", seed: int = 2, **market: object) -> PipeRun:
    """A daemon on an address with so many requests left of 10,000."""
    run = PipeRun(scenario, seed=seed, market=market, sets=["risk.max_position_usd=200"])
    run.venue.account(run.user).requests_used = 10_000 - left
    run.start()
    run.run(10)
    return run


def spent(run: PipeRun) -> int:
    """Requests of the address, by the venue's own count."""
    count: int = run.venue.account(run.user).requests_used
    return count


def test_with_five_percent_left_it_is_as_two_sided_and_as_wide_with_fewer_changes() -> None:
    """
    Requests are saved by changing less, never by wanting to quote wider, and never one-sidedly.

    What rests follows what is wanted at a distance: that of the hold, which is bounded.
    """
    rich = watched(with_left(10_000, scenario="hype"))
    poor = watched(with_left(500, scenario="hype"))

    assert poor.changes < 0.4 * rich.changes
    assert (rich.two_sided, poor.two_sided) == (1.0, 1.0)
    assert poor.wanted_bps == pytest.approx(rich.wanted_bps, abs=0.3)
    assert 0 <= poor.half_bps - rich.half_bps <= ReconcileParams().hold_bps_max + GRID_BPS


def test_of_the_reserve_nothing_but_cancels_is_taken() -> None:
    """With 150 left no order is placed or moved any more; a stop still clears the book."""
    run = with_left(260, a_per_s=0, sweeps_per_s=0, sigma_bps_rt_s=0, oracle_noise_bps=0)
    assert run.resting()
    run.venue.account(run.user).requests_used = 9_850
    run.trader.snapshot.start()
    run.run(2)
    before = run.exchange.requests_seen
    run.run(20)
    ending = run.stop()

    kinds = {row["body"]["action"]["type"] for row in run.exchange.requests if row["seq"] > before}
    assert kinds == {"cancelByCloid"}
    assert ending.resting_orders == 0
    assert run.resting() == []


def test_our_count_is_the_venues_to_the_request() -> None:
    """Batch elements, refusals of single orders, the leverage: each as the venue counts it."""
    run = PipeRun(seed=3)
    run.start()
    run.run(120)
    run.stop()
    run.sim.run_for(1)

    budget = run.trader.gateway.budget
    assert budget.used == spent(run)
    assert spent(run) > 100
    # Of the weight on the IP address never less: what an answer of many rows weighs is foreseen.
    now_ns = run.sim.clock()
    theirs = run.exchange.use("127.0.0.1").weight.used(now_ns // NS_PER_MS)
    assert budget.weight_used(now_ns) >= theirs > 50


def test_an_action_that_came_too_late_is_counted_five_times() -> None:
    """The venue charges a stale `expiresAfter` five times; unheeded, the forecast would lie."""
    run = with_left(5_000)
    clerk = run.exchange._clerk
    clerk._params = run.exchange.params.model_copy(update={"latency_ms": 3_500})
    run.run(30)
    expired = [
        row
        for row in run.exchange.requests
        if "already expired" in str(row.get("response", {}).get("response"))
    ]
    clerk._params = run.exchange.params
    run.stop()
    run.sim.run_for(5)

    assert expired
    assert run.trader.gateway.budget.used == spent(run)


def test_a_busy_venue_is_asked_less_and_less_and_by_no_side() -> None:
    """429 for everything: the pause doubles from batch to batch, and both sides keep it."""
    run = with_left(9_000)
    run.faults(refuse=[429] * 10_000)
    before = len(run.log.named("order.rejected"))
    run.run(90)
    rows = [row for row in run.log.named("order.rejected")[before:] if row["request"] != "cancel"]
    tries_s = sorted({row["at"][:19] for row in rows})

    assert {row["reason"] for row in rows} == {"budget"}
    assert 3 <= len(tries_s) <= 8, "2, 4, 8, 16, 32 s after each other"
    run.faults(refuse=[])
    run.stop()
    run.sim.run_for(1)
    assert run.trader.gateway.budget.used == spent(run), "what is turned away costs nothing"


def test_the_log_says_how_long_the_requests_last() -> None:
    """Once a minute, with the figure that a person can check against the count."""
    run = with_left(3_000)
    RequestTeller(run.trader, run.sim.clock, run.sim).start()
    run.run(300, every_s=5)
    rows = run.log.named("requests.forecast")
    run.stop()

    assert len(rows) == 5
    last = rows[-1]
    assert last["requests_left"] >= last["cap"] - last["used"]
    assert last["requests_per_h"] is not None
    if last["requests_hours_left"] is not None:
        assert last["requests_hours_left"] == pytest.approx(
            (last["requests_left"] - 200) / last["requests_per_h"]
        )
    assert last["cancel_cap"] == 2 * last["cap"]
    assert 0 < last["ip_weight"] <= last["ip_weight_max"]
    assert abs(run.summary()["requests_left"] - last["requests_left"]) < 200
