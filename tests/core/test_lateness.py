"""Lateness of the prices: not to be talked away, and not to be invented by a clock or one frame."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from core.rig import Rig, params
from mmbot.core.events import Bbo, ClockStepped, Level, LinkLost, LinkUp
from mmbot.core.lateness import Lateness
from mmbot.core.types import NS_PER_MS, NS_PER_S, Side

TRAVEL_MS = 80


def say(it: Rig, late_ms: float = 0.0) -> str | None:
    """A touch of so long ago by the venue's clock; what the engine wants of the connection."""
    touch = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    it.apply(Bbo(it.now_ns, it.venue_ms - TRAVEL_MS - round(late_ms), *touch))
    decision = it.decide()
    it.settle()
    return decision.relink


def steady(**changes: dict[str, object]) -> Rig:
    it = Rig(params(**changes))
    it.settle()
    for _ in range(8):
        it.wait(0.5)
        say(it)
    assert it.decide().status.reasons == ()
    assert it.resting
    return it


def reconnect(it: Rig, reason: str) -> None:
    it.apply(LinkLost(it.now_ns, reason))
    it.wait(0.2)
    it.apply(LinkUp(it.now_ns))
    it.apply(it.snapshot())


@pytest.mark.parametrize("ahead_ms", [400, 4_000, 9_900])
@pytest.mark.parametrize("frames", [1, 2])
def test_frames_dated_ahead_do_no_lasting_harm(frames: int, ahead_ms: int) -> None:
    """One wrong time once left nothing resting until the next connection, and no kill."""
    it = steady()
    for n in range(frames):
        it.wait(0.5)
        say(it, -ahead_ms - n)
    for _ in range(24):
        it.wait(0.5)
        relink = say(it)
        assert relink is None
    assert it.decide().status.reasons == ()
    assert it.resting


@pytest.mark.parametrize("step_ms", [-4_000, 4_000, 60_000])
def test_a_clock_that_is_set_makes_nothing_late(step_ms: int) -> None:
    """Every frame is true; the runtime says by how much the clock moved."""
    it = steady()
    it.now_ns += step_ms * NS_PER_MS
    it.apply(ClockStepped(it.now_ns, step_ms * NS_PER_MS))
    for _ in range(10):
        it.wait(0.5)
        assert say(it, step_ms) is None
        assert it.decide().status.reasons == ()
    assert it.resting
    assert any(note.event == "clock.stepped" for note in it.notes)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_estimates_go_on_after_the_clock_was_set(step_s: int) -> None:
    """
    Set back by an hour, every estimate took the next hour for history and stood still.

    The clock was wrong for three seconds before; for ten it would trip the switch.
    """
    it = steady(ladder={"gap_growth": 1.6})
    it.decide()
    it.sweep(Side.BUY)
    it.decide()
    for _ in range(30):
        it.wait(1.0)
        say(it)
        it.decide()
    it.now_ns -= step_s * NS_PER_S
    it.apply(ClockStepped(it.now_ns, -step_s * NS_PER_S))
    for _ in range(3):
        it.wait(1.0)
        say(it, -step_s * 1000)
        it.decide()
    before = it.engine.memory.bid
    assert before is not None
    it.now_ns += step_s * NS_PER_S
    it.apply(ClockStepped(it.now_ns, step_s * NS_PER_S))
    after = it.engine.memory.bid
    assert after is not None
    assert (after.at_ns - before.at_ns, after.extra_bps) == (step_s * NS_PER_S, before.extra_bps)
    records = []
    for n in range(60):
        it.wait(1.0)
        move = -40 if n % 2 else 80
        it.bid_ticks += move
        it.ask_ticks += move
        touch = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
        it.apply(Bbo(it.now_ns, it.venue_ms - TRAVEL_MS, *touch))
        decision = it.decide()
        it.engine.judge(decision)
        it.settle()
        if decision.diagnostics is not None:
            records.append(decision.diagnostics)
        assert n < 3 or it.resting
    assert len(records) > 55, "a record a second, as before"
    last = records[-1]
    assert last.sigma_bps_rt_s > 1.2 * records[0].sigma_bps_rt_s
    assert last.trend_short_bps == pytest.approx(30 * 20 / it.bid_ticks * 1e4, rel=0.1)
    assert last.drift_bps_per_s is not None
    assert last.drift_bps_per_s > 0
    assert last.cascade_bid_bps == pytest.approx(before.extra_bps)
    assert it.events_named("vitals.violated") == []


def test_prices_that_have_become_late_for_good_are_not_quoted_from_on_any_connection() -> None:
    """The path, this host or the venue's node: a new connection is tried, and proves nothing."""
    it = steady(risk={"stale_kill_s": 120})
    began_ns = it.now_ns
    relinks: list[float] = []
    killed_s = None
    while killed_s is None and it.now_ns - began_ns < 200 * NS_PER_S:
        it.wait(0.5)
        reason = say(it, 6_000)
        since_s = (it.now_ns - began_ns) / NS_PER_S
        if since_s > 7:
            assert not it.resting
        if reason is not None:
            assert "s late for" in reason
            relinks.append(since_s)
            reconnect(it, reason)
        kill = it.decide().kill
        killed_s = None if kill is None else since_s
    assert len(relinks) == 4
    waits = [b - a for a, b in pairwise(relinks)]
    assert all(b > 1.7 * a for a, b in pairwise(waits)), "each waits longer"
    assert killed_s == pytest.approx(126, abs=8)


def test_once_prices_are_on_time_again_quoting_goes_on() -> None:
    """A burst of retransmissions is over in seconds."""
    it = steady()
    for _ in range(8):
        it.wait(0.5)
        say(it, 6_000)
    assert not it.resting
    for _ in range(14):
        it.wait(0.5)
        say(it)
    assert it.decide().status.reasons == ()
    assert it.resting


@pytest.mark.parametrize("creep_ms_per_s", [2.0, 20.0])
def test_lateness_that_creeps_is_seen(creep_ms_per_s: float) -> None:
    """A queue that grows a little every second is seconds long in the end."""
    it = steady()
    late_ms = 0.0
    for _ in range(3600):
        it.wait(0.5)
        late_ms += creep_ms_per_s / 2
        if say(it, late_ms) is not None or late_ms > 3_600:
            break
    assert 2_900 < late_ms < 3_600
    assert it.decide().status.reasons == ("late book",)
    assert not it.resting


@pytest.mark.parametrize("spread_ms", [600, 1_000, 1_900])
def test_a_jittery_path_loses_no_frame(spread_ms: int) -> None:
    """What is quicker than the frames before it is good news, not a wrong time."""
    rng = random.Random(spread_ms)
    it = Rig()
    it.settle()
    taken = 0
    for _ in range(400):
        it.wait(2.0)
        taken += it.engine.book.version
        say(it, rng.uniform(0, spread_ms))
        assert it.decide().status.reasons == ()
    assert it.engine.book.dropped == 0


def test_clocks_that_drift_apart_are_not_late() -> None:
    """A free-running quartz is off by fifty parts in a million: four seconds a day."""
    late = Lateness()
    for second in range(0, 86_400, 5):
        now_ns = second * NS_PER_S
        late.observe(TRAVEL_MS * NS_PER_MS + int(now_ns * 5e-5), now_ns)
        if second > 60:
            least_ns = late.least_ns
            assert least_ns is not None
            assert TRAVEL_MS * NS_PER_MS + int(now_ns * 5e-5) - least_ns < 50 * NS_PER_MS


def test_a_delay_counts_once_several_frames_had_it() -> None:
    """The first frames after a subscription may show a touch of long ago."""
    late = Lateness()
    for delay_ms in (30_000, 60, 70):
        late.observe(delay_ms * NS_PER_MS, 0)
    assert late.least_ns == 30_000 * NS_PER_MS
    late.observe(55 * NS_PER_MS, 0)
    assert late.least_ns == 70 * NS_PER_MS


def test_a_new_connection_keeps_the_measure_and_takes_no_old_neighbours() -> None:
    """Two quick frames before the loss and one after it are not three in a row."""
    late = Lateness()
    for _ in range(5):
        late.observe(90 * NS_PER_MS, 0)
    late.observe(10 * NS_PER_MS, 0)
    late.observe(10 * NS_PER_MS, 0)
    late.reconnect()
    late.observe(10 * NS_PER_MS, 0)
    assert late.least_ns == 90 * NS_PER_MS
    late.observe(10 * NS_PER_MS, 0)
    late.observe(10 * NS_PER_MS, 0)
    assert late.least_ns == 10 * NS_PER_MS
