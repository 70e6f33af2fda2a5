"""What a position means: opposed with hysteresis, urgent in time, answered within a band."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.estimators.drift import DriftView
from mmbot.core.estimators.trend import TrendView
from mmbot.core.stance import Action, ResponseMode, Stance, StanceParams, StanceView, share
from mmbot.core.types import NS_PER_S

T0 = 1_700_000_000 * NS_PER_S


def trend(bps: float, *, z: float | None = None, span_s: float = 900.0) -> TrendView:
    rate = bps / span_s
    sign = 1 if bps > 0 else -1
    return TrendView(bps / 30, bps / 5, bps, rate, bps, sign * 2.0 if z is None else z, span_s)


class Case:
    """A stance and its clock."""

    def __init__(self, **params: Any) -> None:
        self.stance = Stance(StanceParams(**params))
        self.now_ns = T0

    def at(self, x: float, seen: TrendView | None, **changes: Any) -> StanceView:
        figures: dict[str, Any] = {
            "drift": None,
            "vol_bps_rt_s": 1.2,
            "hold_s": 800.0,
            "half_bps": 6.3,
            **changes,
        }
        return self.stance.update(self.now_ns, x, trend=seen, **figures)

    def settled(self, x: float, seen: TrendView | None, **changes: Any) -> StanceView:
        """The same after the answer has faded in."""
        self.at(x, seen, **changes)
        self.now_ns += 11 * NS_PER_S
        return self.at(x, seen, **changes)


def test_the_share_answered_is_that_of_the_model_notes() -> None:
    """Model notes, 4.3."""
    table = {
        0.0: 0.04,
        0.5: 0.1417516398,
        1.0: 0.2209958965,
        1.5: 0.2827113857,
        2.0: 0.3307754571,
        3.0: 0.3973601263,
        5.0: 0.4622409006,
        10.0: 0.4969005444,
    }
    for urgency, wanted in table.items():
        assert share(urgency) == pytest.approx(wanted, rel=1e-9)


def test_the_session_of_24_february_is_answered_with_ten_bps() -> None:
    """|x| 0.45, 38 bps in 1500 s, 800 s to unwind, half spread 6.3."""
    seen = Case().settled(-0.45, trend(38.0, span_s=1500.0))
    assert seen.urgency == pytest.approx(1.447619048, rel=1e-9)
    assert seen.response_bps == pytest.approx(10.52392197, rel=1e-9)
    assert seen.response_ratio == pytest.approx(0.276945315, rel=1e-9)
    assert seen.is_opposed
    assert seen.action is Action.REDUCE
    assert seen.mode is ResponseMode.BOTH


@given(
    st.floats(0.05, 1.0),
    st.floats(1.0, 24.0),
    st.floats(60.0, 900.0),
    st.floats(0.5, 10.0),
)
def test_wherever_it_is_urgent_the_answer_is_a_fifth_to_a_half_of_the_trend(
    x: float, bps: float, hold_s: float, half_bps: float
) -> None:
    """Invariant 9, with the cap out of the way (|T| <= 24)."""
    seen = Case().settled(-x, trend(bps), hold_s=hold_s, half_bps=half_bps)
    assert seen.response_bps is not None
    assert abs(seen.response_bps) <= min(0.5 * bps, 12.0) + 1e-12
    if seen.urgency > 1:
        assert seen.response_ratio is not None
        assert 0.2 <= seen.response_ratio < 0.5


@given(st.floats(0.05, 0.9), st.floats(1.0, 60.0), st.floats(60, 800))
def test_the_answer_grows_with_position_trend_and_time_to_unwind(
    x: float, bps: float, hold_s: float
) -> None:
    def size(x: float, bps: float, hold_s: float) -> float:
        found = Case().settled(-x, trend(bps), hold_s=hold_s).response_bps
        assert found is not None
        return found

    here = size(x, bps, hold_s)
    assert size(x * 1.1, bps, hold_s) >= here
    assert size(x, bps * 1.1, hold_s) >= here
    assert size(x, bps, hold_s * 1.1) >= here
    assert here > 0


@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.floats(-60, 60), st.floats(-3, 3), st.floats(0.1, 20)),
        min_size=1,
        max_size=20,
    )
)
def test_long_and_short_are_mirror_images_to_the_bit(
    steps: list[tuple[float, float, float, float]],
) -> None:
    """The same story upside down: same modes and sizes, opposite signs."""
    ours, theirs = Case(), Case()
    for x, bps, z, wait_s in steps:
        seen = trend(bps or 1.0, z=z)
        drift = DriftView(bps / 900, 0.02, 1.0, 600.0)
        a = ours.at(x, seen, drift=drift)
        mirrored = [-value for value in seen[:6]]
        flipped = TrendView._make([*mirrored, seen.age_s])
        b = theirs.at(-x, flipped, drift=drift._replace(mean_bps_per_s=-drift.mean_bps_per_s))
        assert a.response_bps is not None
        assert b.response_bps is not None
        assert a.response_bps == -b.response_bps
        assert a._replace(response_bps=0) == b._replace(response_bps=0)
        for case in (ours, theirs):
            case.now_ns += int(wait_s * NS_PER_S)


def test_with_the_trend_nothing_is_opposed_and_nothing_answered() -> None:
    """A position that the market carries is not hurried out of."""
    seen = Case().settled(0.45, trend(38.0))
    assert not seen.is_opposed
    assert (seen.urgency, seen.response_bps) == (0.0, 0.0)


def test_opposed_is_entered_late_and_left_later() -> None:
    """One threshold would switch with every tick of the mid."""
    case = Case()
    assert not case.at(-0.3, trend(20, z=0.69)).is_opposed
    assert case.at(-0.3, trend(20, z=0.7)).is_opposed
    assert case.at(-0.3, trend(20, z=0.41)).is_opposed
    assert not case.at(-0.3, trend(20, z=0.39)).is_opposed
    assert not case.at(-0.3, trend(20, z=0.5)).is_opposed
    assert not case.at(-0.04, trend(20, z=3)).is_opposed


def test_the_answer_fades_in_and_out_and_never_steps() -> None:
    """A step would requote both sides at once, twice, for a flicker of the significance."""
    case = Case()
    sizes = []
    for n in range(60):
        z = 2.0 if n < 30 else 0.1
        found = case.at(-0.3, trend(20, z=z)).response_bps
        assert found is not None
        sizes.append(found)
        case.now_ns += NS_PER_S // 2
    steps = [abs(b - a) for a, b in pairwise(sizes)]
    full = max(sizes)
    assert full > 1
    assert max(steps) <= full * 0.05 + 1e-9
    assert sizes[0] == 0
    assert sizes[-1] == 0


def test_the_fading_belongs_to_the_time_in_which_it_was_opposed() -> None:
    """After a quiet minute the first opposed look answers nothing yet, and then in ten seconds."""
    case = Case()
    case.at(-0.3, trend(20, z=0.1))
    case.now_ns += 60 * NS_PER_S
    assert case.at(-0.3, trend(20)).response_bps == 0
    full = []
    for wait_s in (5, 5, 5):
        case.now_ns += wait_s * NS_PER_S
        found = case.at(-0.3, trend(20)).response_bps
        assert found is not None
        full.append(found)
    assert full[0] == pytest.approx(full[1] / 2)
    assert full[1] == full[2]


def test_a_clock_that_goes_back_neither_fades_nor_counts_twice() -> None:
    """Invariant 29 for the time: the same second must not be credited again."""
    case = Case()
    case.at(-0.3, trend(20))
    case.now_ns += 4 * NS_PER_S
    before = case.at(-0.3, trend(20))
    assert before.fade == pytest.approx(0.4)
    case.now_ns -= 3 * NS_PER_S
    assert case.at(-0.3, trend(20)) == before
    case.now_ns += 3 * NS_PER_S
    assert case.at(-0.3, trend(20)) == before


def test_there_is_no_urgency_unless_opposed() -> None:
    """Model notes, 3.2: zero when not opposed, be it for want of significance or of size."""
    assert Case().at(-0.3, trend(20, z=0.5)).urgency == 0
    assert Case().at(-0.04, trend(20)).urgency == 0
    assert Case().at(-0.3, trend(20)).urgency > 0


@given(st.floats(-1, 1), st.floats(-60, 60), st.floats(-3, 3))
def test_the_answer_is_never_beyond_half_the_trend_nor_against_it(
    x: float, bps: float, z: float
) -> None:
    """Invariant 8, in every state: |D| <= min(|T| / 2, cap), and with the trend's sign."""
    seen = Case().settled(x, trend(bps or 1.0, z=z))
    assert seen.response_bps is not None
    assert abs(seen.response_bps) <= min(0.5 * abs(bps or 1.0), 12.0)
    assert seen.response_bps * bps >= 0
    assert seen.response_bps == 0 or (seen.is_opposed and seen.response_bps * x < 0)


@pytest.mark.parametrize(
    ("x", "seen", "drift", "action"),
    [
        (0.44, None, None, Action.HOLD),
        (0.45, None, None, Action.REDUCE),
        (-0.45, None, None, Action.REDUCE),
        (-0.1, trend(100.0), None, Action.REDUCE),
        (-0.1, trend(20.0), None, Action.HOLD),
        (-0.3, trend(100.0, z=0.6), None, Action.HOLD),
        (-0.1, None, DriftView(0.05, 0.01, 1.0, 600.0), Action.REDUCE),
        (0.1, None, DriftView(0.05, 0.01, 1.0, 600.0), Action.HOLD),
        (-0.1, None, DriftView(0.002, 0.03, 1.0, 600.0), Action.HOLD),
    ],
)
def test_when_a_position_is_to_be_reduced(
    x: float, seen: TrendView | None, drift: DriftView | None, action: Action
) -> None:
    """Too large, opposed and urgent, or likely to be run over (by the Kalman drift)."""
    assert Case().at(x, seen, drift=drift).action is action


def test_reducing_is_left_later_than_it_is_entered() -> None:
    """Each of the three reasons has a memory of its own; this is that of the size."""
    case = Case()
    assert case.at(0.46, None).action is Action.REDUCE
    assert case.at(0.41, None).action is Action.REDUCE
    assert case.at(0.39, None).action is Action.HOLD
    assert case.at(0.44, None).action is Action.HOLD


def test_what_is_absent_is_said() -> None:
    """No trend is not a trend of zero."""
    seen = Case().at(-0.3, None)
    assert seen.response_bps is None
    assert seen.against_p is None


def test_reducing_for_the_drift_is_left_at_its_own_threshold() -> None:
    """0.60 calls for it and 0.55 ends it; the size and the trend have no say here."""
    case = Case()

    def act(mean: float) -> tuple[float, Action]:
        seen = case.at(-0.1, None, drift=DriftView(mean, 0.02, None, 600.0))
        assert seen.against_p is not None
        return seen.against_p, seen.action

    steps = [act(mean) for mean in (0.0, 0.009, 0.013, 0.009, 0.004, 0.009)]
    assert [round(p, 2) for p, _ in steps] == [0.5, 0.58, 0.61, 0.58, 0.53, 0.58]
    assert [action for _, action in steps] == [
        Action.HOLD,
        Action.HOLD,
        Action.REDUCE,
        Action.REDUCE,
        Action.HOLD,
        Action.HOLD,
    ]


def test_reducing_for_urgency_is_left_at_its_own_threshold() -> None:
    """U 1 calls for it and 0.7 ends it."""
    case = Case()

    def act(bps: float) -> tuple[float, Action]:
        seen = case.at(-0.2, trend(bps))
        return seen.urgency, seen.action

    steps = [act(bps) for bps in (33.0, 36.0, 26.0, 24.0, 33.0)]
    assert [round(u, 2) for u, _ in steps] == [0.93, 1.02, 0.73, 0.68, 0.93]
    assert [action for _, action in steps] == [
        Action.HOLD,
        Action.REDUCE,
        Action.REDUCE,
        Action.HOLD,
        Action.HOLD,
    ]


def test_the_time_to_unwind_is_bounded() -> None:
    """A minute at least, so that a small position is no excuse; a quarter of an hour at most."""
    stance = Stance(StanceParams())
    assert stance.hold_s(100, 1.0) == 100
    assert stance.hold_s(10, 1.0) == 60
    assert stance.hold_s(10_000, 1.0) == 900
    assert stance.hold_s(10, 0.0) == 900


def test_thresholds_the_wrong_way_round_are_refused() -> None:
    """They would switch at every decision."""
    with pytest.raises(ValidationError, match="opposed_z_leave"):
        StanceParams(opposed_z=0.5, opposed_z_leave=0.6)


def test_a_young_trend_is_not_carried_further_than_it_has_been_watched() -> None:
    """Three bps in six seconds are noise, not 400 bps in the time of an unwinding."""
    young, old = (Case().at(-0.2, trend(3.0, span_s=age)) for age in (6.0, 900.0))
    assert young.urgency == pytest.approx(0.2 * 3.0 / 6.3)
    assert young.action is Action.HOLD
    assert old.urgency == pytest.approx(0.2 * 3.0 / 900 * 800 / 6.3)


def test_reducing_begins_at_45_percent_of_the_limit_in_every_valid_configuration() -> None:
    """Above that, with a light skew, no order of the reducing side would be at the touch."""
    StanceParams(reduce_x=0.45)
    with pytest.raises(ValidationError, match="reduce_x"):
        StanceParams(reduce_x=0.46)
