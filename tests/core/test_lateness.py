"""Lateness of the prices: neither a wrong time nor a stepped clock may decide it for long."""

from __future__ import annotations

import pytest

from core.rig import Rig
from mmbot.core.events import Bbo, Level, LinkLost, LinkUp
from mmbot.core.lateness import LEAD_NS, WINDOW_NS, Lateness
from mmbot.core.types import NS_PER_MS, NS_PER_S

TRAVEL_MS = 80


def say(it: Rig, ahead_ms: int = 0) -> str | None:
    """A touch of now by the venue's clock; what the engine wants of the connection."""
    touch = Level(it.bid_ticks, 1000), Level(it.ask_ticks, 1000)
    it.apply(Bbo(it.now_ns, it.venue_ms - TRAVEL_MS + ahead_ms, *touch))
    decision = it.decide()
    it.settle()
    return decision.relink


def steady(*, frames: int = 8) -> Rig:
    it = Rig()
    it.settle()
    for _ in range(frames):
        it.wait(0.5)
        say(it)
    assert it.decide().status.reasons == ()
    return it


@pytest.mark.parametrize("ahead_ms", [400, 4_000, 9_900])
@pytest.mark.parametrize("frames", [1, 2])
def test_frames_dated_ahead_change_nothing(frames: int, ahead_ms: int) -> None:
    """One wrong time once left nothing resting until the next connection, and no kill."""
    it = steady()
    resting = sorted(it.resting)
    for n in range(frames):
        it.wait(0.5)
        say(it, ahead_ms * (n + 1))
    assert it.engine.book.dropped == frames
    for _ in range(4):
        it.wait(0.5)
        say(it)
        assert it.decide().status.reasons == ()
    assert sorted(it.resting) == resting


@pytest.mark.parametrize("step_ms", [-4_000, 4_000])
def test_orders_rest_again_soon_after_our_clock_was_set(step_ms: int) -> None:
    """NTP sets clocks: every frame is true, and each looks early or late by the same step."""
    it = steady()
    away_s = 0.0
    for _ in range(40):
        it.wait(0.5)
        relink = say(it, -step_ms)
        if relink is not None:
            assert "late" in relink
            it.apply(LinkLost(it.now_ns, relink))
            it.apply(LinkUp(it.now_ns))
            it.apply(it.snapshot())
        away_s += 0.0 if it.resting else 0.5
    assert it.decide().status.reasons == ()
    assert it.resting
    assert away_s <= 8.0


def test_the_quickest_frames_are_those_of_the_last_minutes() -> None:
    """What was quick an hour ago is no measure: routes change and clocks drift apart."""
    late = Lateness()
    now_ns = 0
    for delay_ms in [50] * 100 + [240] * 400:
        now_ns += NS_PER_S // 2
        assert late.observe(delay_ms * NS_PER_MS, now_ns)
    assert late.least_ns == 240 * NS_PER_MS


def test_a_delay_counts_once_several_frames_had_it() -> None:
    """The first frames after a subscription may show a touch of long ago."""
    late = Lateness()
    for n, delay_ms in enumerate((30_000, 60, 70)):
        assert late.observe(delay_ms * NS_PER_MS, n * NS_PER_S)
    assert late.least_ns == 30_000 * NS_PER_MS
    assert late.observe(55 * NS_PER_MS, 3 * NS_PER_S)
    assert late.least_ns == 70 * NS_PER_MS


def test_a_frame_ahead_by_less_than_the_lead_is_taken() -> None:
    """Networks have good moments."""
    late = Lateness()
    for n in range(5):
        late.observe(LEAD_NS, n)
    assert late.observe(0, 6)
    assert late.least_ns == LEAD_NS
    for n in range(3):
        assert late.observe(0, 7 + n)
    assert late.least_ns == 0


def test_after_a_silence_longer_than_the_window_nothing_old_counts() -> None:
    """A stream that paused for minutes starts anew."""
    late = Lateness()
    for n in range(5):
        late.observe(0, n)
    for n in range(3):
        assert late.observe(9 * NS_PER_S, 3 * WINDOW_NS + n)
    assert late.least_ns == 9 * NS_PER_S
