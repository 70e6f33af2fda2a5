"""The running intensity: prior from the first second, wide at once, tight slowly, bounded."""

from __future__ import annotations

import random
from math import exp, inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.estimators.intensity import Intensity, IntensityParams
from mmbot.core.glft import informed_glft
from mmbot.core.types import NS_PER_S, Side
from support import often

PARAMS = IntensityParams()


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def tape(rng: random.Random, a: float, k: float, span_s: int) -> list[tuple[float, Side, float]]:
    """Aggressor events of both sides: rate `a` a side, exponential reach."""
    events, now = [], 0.0
    while (now := now + rng.expovariate(2 * a)) < span_s:
        events.append((now, rng.choice((Side.BUY, Side.SELL)), rng.expovariate(k)))
    return events


def run(it: Intensity, events: list[tuple[float, Side, float]], span_s: int) -> None:
    """Feed events in time with a look once a second."""
    due = iter(events)
    event = next(due, None)
    for second in range(span_s + 1):
        while event is not None and event[0] <= second:
            it.on_trades(at(event[0]), event[1], event[2])
            event = next(due, None)
        it.view(at(second))


def test_the_prior_serves_from_the_first_second() -> None:
    """Before any trade there is a quote, so there must be an A and a k."""
    view = Intensity(PARAMS).view(0)
    assert view.a_per_s == pytest.approx(0.12)
    assert view.k_per_bp == pytest.approx(0.5)
    assert view.k_se == pytest.approx(0.5 / 20**0.5)
    assert view.events == 0.0
    assert view.own_fills == 0.0


@pytest.mark.parametrize(("a", "k"), [(0.3, 0.35), (0.5, 0.8), (0.06, 0.35)])
def test_it_finds_the_law_of_the_tape(a: float, k: float) -> None:
    """Two hours: the median of seven seeds is right in both figures, whatever the prior was."""
    found = []
    for seed in range(7):
        it = Intensity(PARAMS)
        run(it, tape(random.Random(seed), a, k, 7200), 7200)
        found.append(it.view(at(7200)))
    assert sorted(v.k_per_bp for v in found)[3] == pytest.approx(k, rel=0.12)
    assert sorted(v.a_per_s for v in found)[3] == pytest.approx(a, rel=0.35)
    # At the depths quoted A and k err together: the rate there is what the quoter lives on.
    for depth in (2.0, 4.0, 6.0):
        rates = sorted(v.a_per_s * exp(-v.k_per_bp * depth) for v in found)
        assert rates[3] == pytest.approx(a * exp(-k * depth), rel=0.25)


@pytest.mark.parametrize(("rate", "sign"), [(0.03, -1), (1.0, 1)])
def test_a_step_of_the_market_moves_a_its_way_by_its_size(rate: float, sign: int) -> None:
    """A quarter and eight times the prior's rate: A follows in sign, and in size after an hour."""
    it = Intensity(PARAMS)
    run(it, tape(random.Random(1), rate, 0.5, 3600), 3600)
    view = it.view(at(3600))
    assert (view.a_per_s - 0.12) * sign > 0
    assert view.a_per_s / 0.12 == pytest.approx(rate / 0.12, rel=0.5)


def test_a_heavier_reach_lowers_k_within_two_minutes_a_lighter_one_does_not() -> None:
    """Wide fast, tight slowly: the same surprise in both directions, seen after two minutes."""
    moved = {}
    for reach in (11.0, 2.1):
        it = Intensity(PARAMS)
        run(it, [(0.5 + i, Side.BUY, reach) for i in range(60)], 120)
        moved[reach] = it.view(at(120)).k_per_bp / 0.5
    # Half of 20 % a minute for k: two minutes at full speed.
    assert moved[11.0] == pytest.approx(1 / 1.2, rel=0.02)
    assert 1.0 < moved[2.1] < 1.1


def test_an_event_beyond_the_range_is_only_known_to_reach_it() -> None:
    """Twenty of 13 bps or of 60 bps: no uncensored one, 10 bps of excess each, at once."""
    for reach in (13.0, 60.0):
        it = Intensity(PARAMS)
        for i in range(20):
            it.on_trades(at(i / 10), Side.BUY, reach)
        assert it.target()[1] == pytest.approx(20 / (20 / 0.5 + 20 * 10.0), rel=1e-3)


def test_of_the_events_that_wait_only_the_far_ones_lower_k() -> None:
    """Excesses 7, 5, 1, 0.5: the first two, since a third would raise k; all a minute later."""
    it = Intensity(PARAMS)
    for i, reach in enumerate((2.5, 9.0, 3.0, 7.0)):
        it.on_trades(at(i / 10), Side.BUY, reach)
    assert it.target()[1] == pytest.approx(22 / (40 + 12))
    for second in range(1, 62):
        it.view(at(second))
    assert it.target()[1] == pytest.approx(24 / (40 + 13.5), rel=1e-3)


def test_it_widens_with_a_half_life_of_20_s_and_tightens_with_300_s() -> None:
    """Small gaps, so that the bound on speed is free: half of each is left after its half-life."""
    wider, tighter = Intensity(PARAMS), Intensity(PARAMS)
    wider.view(0)
    tighter.view(0)
    wider.on_exposure(Side.BUY, 0.0, 5.0)
    tighter.on_own_fill(3.0)
    for it, start, half_life in ((wider, 0, 20), (tighter, 61, 300)):
        for second in range(start + half_life + 1):
            # Unwatched time: silence of the tape shall not move the target.
            it.reset_gap()
            it.view(at(second))
            if second == start:
                assert it.view(at(second)).a_per_s == pytest.approx(0.12, rel=3e-3)
        target, _ = it.target()
        left = (it.view(at(start + half_life)).a_per_s - target) / (0.12 - target)
        assert abs(target / 0.12 - 1) > 0.02
        assert left == pytest.approx(0.5, abs=0.03)


def test_own_fills_and_resting_time_decide_a() -> None:
    """20 prior events at the tape's rate, 40 fills in the time that should have given 80."""
    it = Intensity(IntensityParams(half_life_s=86_400))
    it.view(0)
    rested_s = 80 / (0.12 * exp(-0.5 * 3.0))
    it.on_exposure(Side.BUY, 3.0, rested_s / 2)
    it.on_exposure(Side.SELL, 3.0, rested_s / 2)
    for _ in range(40):
        it.on_own_fill(3.0)
    for second in range(130):
        it.view(at(second))
    a, k = it.target()
    # The tape was silent for a minute of those (one prior event in 453 s of both sides).
    silence_s = 20 / (0.12 * exp(-1.0))
    tape_a = 20 / (silence_s + 2 * 69) * exp(1.0)
    assert k == pytest.approx(0.5)
    assert a == pytest.approx(60 / (20 / tape_a + rested_s * exp(-1.5)), rel=0.005)
    assert it.view(at(130)).own_fills == pytest.approx(40, rel=0.005)


def test_time_without_an_order_says_nothing_about_own_fills() -> None:
    """Only time that an order really rested counts: a pulled side must not lower A."""
    told, silent = Intensity(PARAMS), Intensity(PARAMS)
    events = tape(random.Random(3), 0.12, 0.5, 1200)
    told.on_exposure(Side.BUY, 3.0, 3000.0)
    for it in (told, silent):
        run(it, events, 1200)
    own, none = told.view(at(1200)), silent.view(at(1200))
    assert own.a_per_s < none.a_per_s * 0.6
    assert own.k_per_bp == none.k_per_bp


def test_an_exposure_at_any_depth_is_weighed_by_its_own_depth() -> None:
    """The bins keep their mean depth: half a bps of rounding would be 25 % at k = 0.5."""
    it = Intensity(PARAMS)
    it.view(0)
    for depth in (2.26, 2.26, 5.9):
        it.on_exposure(Side.SELL, depth, 100.0)
    a, _ = it.target()
    rested = 200 * exp(-0.5 * 2.26) + 100 * exp(-0.5 * 5.9)
    assert a == pytest.approx(20 / (20 / 0.12 + rested), rel=1e-12)


def test_resting_time_is_forgotten_like_everything_else() -> None:
    """Half of it after the half-life, an eighth after three, also across the rescaling."""
    it = Intensity(IntensityParams(half_life_s=300.0))
    it.view(0)
    it.on_exposure(Side.BUY, 3.0, 1000.0)
    for halvings, until in ((1, 300), (3, 900), (40, 12_000)):
        for second in range(until - 300, until + 1):
            it.reset_gap()
            it.view(at(second))
        a, _ = it.target()
        rested = 1000.0 * 2.0**-halvings * exp(-1.5)
        assert a == pytest.approx(20 / (20 / 0.12 + rested), rel=1e-9)


FILL = st.tuples(st.floats(0.0, 59.0), st.sampled_from(["trade", "fill"]), st.floats(0.1, 30.0))


@settings(max_examples=often(50, thoroughly=150), deadline=None)
@given(
    seed=st.integers(0, 1000),
    start=st.integers(5, 400),
    added=st.lists(FILL, min_size=1, max_size=12),
)
def test_more_fills_never_tighten_within_a_minute(
    seed: int, start: int, added: list[tuple[float, str, float]]
) -> None:
    """Whatever trades and fills are added: no A and no k is larger for it within 60 s of them."""
    rng = random.Random(seed)
    events = tape(rng, 0.2, 0.4, start + 61)
    fills = sorted(rng.uniform(0, start) for _ in range(rng.randrange(20)))
    views = []
    for extra in ([], added):
        it = Intensity(PARAMS)
        acts: list[tuple[float, str, float]] = [(t, "trade", r) for t, _, r in events]
        acts += [(t, "fill", 3.0) for t in fills]
        acts += [(start + 0.001 + t / 1000, kind, depth) for t, kind, depth in extra]
        acts += [(float(t), "look", 0.0) for t in range(start + 60)]
        seen = []
        for t, kind, depth in sorted(acts):
            if kind == "trade":
                it.on_trades(at(t), Side.BUY, depth)
            elif kind == "fill":
                it.on_own_fill(depth)
            else:
                view = it.view(at(t))
                seen.append((view.a_per_s, view.k_per_bp))
        views.append(seen)
    plain, fuller = views
    for (a0, k0), (a1, k1) in zip(plain, fuller, strict=True):
        assert a1 <= a0 * (1 + 1e-12)
        assert k1 <= k0 * (1 + 1e-12)


@settings(max_examples=often(15, thoroughly=40), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    a=st.floats(0.005, 2.0),
    k=st.floats(0.1, 3.0),
    fee_bps=st.floats(-0.3, 2.88),
)
def test_no_minute_moves_the_quote_by_more_than_a_fifth(
    seed: int, a: float, k: float, fee_bps: float
) -> None:
    """Half spread and skew of the closed form, whatever the tape does."""
    it = Intensity(PARAMS)
    events = tape(random.Random(seed), a, k, 600)
    quotes = []
    due = iter(events)
    event = next(due, None)
    for second in range(601):
        while event is not None and event[0] <= second:
            it.on_trades(at(event[0]), event[1], event[2])
            event = next(due, None)
        view = it.view(at(second))
        quotes.append(
            informed_glft(
                fee_bps=fee_bps,
                adverse_a0_bps=1.8,
                adverse_a1=0.3,
                vol_bps_rt_s=1.2,
                gamma_per_bp=0.004,
                k_per_bp=view.k_per_bp,
                a_per_s=view.a_per_s,
                delta=0.04,
            )
        )
    for before, after in zip(quotes, quotes[60:], strict=False):
        assert 1 / 1.2001 < after.half_spread_bps / before.half_spread_bps < 1.2001
        assert 1 / 1.2001 < after.skew_bps / before.skew_bps < 1.2001


@pytest.mark.parametrize("reach", [2.01, 60.0])
def test_k_stays_within_a_factor_of_two_in_a_day(reach: float) -> None:
    """A day and a half of one absurd reach: no two k of any 24 hours differ by more than 2."""
    it = Intensity(PARAMS)
    served = []
    for step in range(36 * 240):
        now = at(step * 15)
        it.on_trades(now, Side.BUY, reach)
        served.append(it.view(now).k_per_bp)
    day = 24 * 240
    assert max(served[:day]) / min(served[:day]) == pytest.approx(2.0, rel=1e-6)
    for i in range(0, len(served) - day, 60):
        window = served[i : i + day]
        assert max(window) / min(window) <= 2.0 * (1 + 1e-9)
    # The second day may go on where the first had to stop.
    assert (served[-1] - served[day]) * (10.0 - reach) > 0


def test_the_sides_are_exchangeable() -> None:
    """Mirror symmetry, exact: A and k carry no direction."""
    events = tape(random.Random(9), 0.2, 0.4, 900)
    one, other = Intensity(PARAMS), Intensity(PARAMS)
    for it, sign in ((one, 1), (other, -1)):
        it.on_exposure(Side(sign), 3.0, 50.0)
        run(it, [(t, Side(sign * side), reach) for t, side, reach in events], 900)
    assert one.view(at(900)) == other.view(at(900))


@pytest.mark.parametrize("reach", [nan, inf, 0.0, -1.0])
def test_nonsense_leaves_the_state_alone_and_is_counted(reach: float) -> None:
    """Invariant 29, for every input."""
    it, clean = Intensity(PARAMS), Intensity(PARAMS)
    events = tape(random.Random(2), 0.2, 0.5, 300)
    run(it, events[:20], 100)
    run(clean, events[:20], 100)
    it.on_trades(at(100), Side.BUY, reach)
    it.on_exposure(Side.BUY, reach if reach else -1.0, 1.0)
    it.on_exposure(Side.BUY, 3.0, reach)
    it.on_own_fill(reach if reach else -1.0)
    assert it.ignored == 4
    assert it.target() == clean.target()
    for second in range(100, 300):
        assert it.view(at(second)) == clean.view(at(second))


def test_an_event_told_twice_or_late_counts_once() -> None:
    """Invariant 32: the same event at the same receive time, also when another came between."""
    it, once = Intensity(PARAMS), Intensity(PARAMS)
    for target in (it, once):
        target.on_trades(at(10), Side.BUY, 5.0)
        target.on_trades(at(10), Side.SELL, 4.0)
    it.on_trades(at(10), Side.BUY, 5.0)
    it.on_trades(at(10), Side.SELL, 4.0)
    it.on_trades(at(9), Side.SELL, 4.0)
    assert it.ignored == 3
    for second in range(10, 200):
        assert it.view(at(second)) == once.view(at(second))
    # A look at an earlier time changes nothing either.
    it.view(at(150))
    assert it.view(at(200)) == once.view(at(200))


def test_a_gap_is_not_time_without_trades() -> None:
    """Ten minutes without a link must not look like a market that died."""
    it = Intensity(PARAMS)
    run(it, tape(random.Random(4), 0.12, 0.5, 600), 600)
    before = it.target()
    it.reset_gap()
    it.view(at(1200))
    for second in range(1200, 1203):
        it.view(at(second))
    assert it.target()[0] == pytest.approx(before[0], rel=0.08)
    deaf = Intensity(PARAMS)
    run(deaf, tape(random.Random(4), 0.12, 0.5, 600), 1203)
    assert deaf.target()[0] < before[0] * 0.8


def test_memory_does_not_grow_with_the_rate_of_events() -> None:
    """A thousand events a second wait in one entry per second."""
    it = Intensity(PARAMS)
    for i in range(200_000):
        it.on_trades(i * NS_PER_S // 1000, Side.BUY, 2.0 + i % 7)
    assert len(it._waiting) <= 62
    assert len(it._told) == 1
    assert len(it._fresh) <= 1024
    assert len(it._blocks) <= 25


def test_a_week_of_silence_breaks_nothing() -> None:
    """The evidence fades to nothing and the prior is what is left."""
    it = Intensity(PARAMS)
    run(it, tape(random.Random(6), 0.5, 0.3, 600), 600)
    it.on_exposure(Side.BUY, 3.0, 100.0)
    week = 7 * 86_400 * 60
    for second in range(70):
        it.view(at(600 + week + second))
    # Eight seconds of the new silence are older than a minute.
    a, k = it.target()
    silence_s = 20 / (0.12 * exp(-1.0))
    assert a == pytest.approx(0.12 * silence_s / (silence_s + 2 * 8), rel=1e-3)
    assert k == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings_", "key"),
    [
        ({"d_min_bps": 5.0, "d_max_bps": 5.5}, "d_max_bps"),
        ({"widen_half_life_s": 300.0, "tighten_half_life_s": 60.0}, "widen_half_life_s"),
        ({"k_per_bp": 0.0}, "k_per_bp"),
    ],
)
def test_contradictory_settings_are_refused(settings_: dict[str, float], key: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ValidationError, match=key):
        IntensityParams(**settings_)
