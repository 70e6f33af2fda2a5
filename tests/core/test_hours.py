"""Trading hours: what is written is what is kept, to the minute, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmbot.core.hours import Hours, HoursParams
from mmbot.core.types import NS_PER_S

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def ns(at: datetime) -> int:
    """A time of the calendar, as the engine has it."""
    return round(at.timestamp()) * NS_PER_S


def at(day: int, clock: str) -> int:
    """A time of the week of `MONDAY`."""
    hour, minute = clock.split(":")
    return ns(MONDAY + timedelta(days=day, hours=int(hour), minutes=int(minute)))


def hours(*spans: str) -> Hours:
    return Hours(HoursParams(utc=spans))


def test_without_hours_a_market_is_always_open() -> None:
    """A perp on a coin has none."""
    assert hours().is_open(at(5, "03:00"))
    assert hours().changes_at_ns(at(5, "03:00")) is None


@pytest.mark.parametrize(
    ("day", "clock", "is_open"),
    [
        (0, "13:29", False),
        (0, "13:30", True),
        (0, "19:59", True),
        (0, "20:00", False),
        (4, "19:59", True),
        (5, "15:00", False),
        (6, "21:59", False),
        (6, "22:00", True),
        (6, "23:59", True),
    ],
)
def test_the_begin_belongs_to_the_hours_and_the_end_does_not(
    day: int, clock: str, *, is_open: bool
) -> None:
    """Weekdays by their dates: 2 March 2026 was a Monday."""
    assert hours("mon-fri 13:30-20:00", "sun 22:00-24:00").is_open(at(day, clock)) is is_open


def test_a_span_of_days_may_go_over_the_end_of_the_week() -> None:
    """A market that opens on Sunday and closes on Monday is one market."""
    it = hours("sat-mon 00:00-24:00")
    assert [it.is_open(at(day, "12:00")) for day in range(7)] == [
        True, False, False, False, False, True, True
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(DAYS), st.integers(0, 1438), st.integers(1, 1440)).filter(
            lambda it: it[1] < it[2]
        ),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    st.integers(0, 7 * 1440 - 1),
)
def test_nothing_changes_before_the_time_that_is_named(
    spans: list[tuple[str, int, int]], minute: int
) -> None:
    """The engine sleeps until then: a change in between would find orders resting."""
    texts = [f"{d} {a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}" for d, a, b in spans]
    it = hours(*texts)
    now_ns = ns(MONDAY + timedelta(minutes=minute, seconds=30))
    until_ns = it.changes_at_ns(now_ns)
    was = it.is_open(now_ns)
    wanted = any(DAYS.index(d) * 1440 + a <= minute < DAYS.index(d) * 1440 + b for d, a, b in spans)
    assert was is wanted
    step = 60 * NS_PER_S
    end = now_ns + 7 * 1440 * step if until_ns is None else until_ns
    assert now_ns < end <= now_ns + 7 * 1440 * step
    for look_ns in range(now_ns, end, 7 * step):
        assert it.is_open(look_ns) is was
    assert it.is_open(end - 1) is was


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monday 13:30-20:00", "is no span of hours"),
        ("mon 13.30-20.00", 'write it as "mon-fri 13:30-20:00"'),
        ("mom 13:30-20:00", "'mom' is no weekday; use mon, tue"),
        ("mon 13:60-20:00", "13:60 is no time of a day"),
        ("mon 13:30-24:01", "24:01 is no time of a day"),
        ("mon 22:00-02:00", "hours across midnight are two spans"),
        ("mon 13:30-13:30", "ends before it begins"),
    ],
)
def test_hours_that_cannot_be_read_are_refused_with_the_way_to_write_them(
    text: str, said: str
) -> None:
    """A market taken for open on a misread line would be quoted all night."""
    with pytest.raises(ValidationError, match=said):
        HoursParams(utc=(text,))


def test_a_person_is_told_when_it_changes() -> None:
    """`check` prints it."""
    it = hours("mon-fri 13:30-20:00")
    assert it.text(at(0, "15:00")) == "open, closes mon 20:00 UTC"
    assert it.text(at(4, "21:00")).startswith("closed until mon 13:30 UTC")
    assert hours().text(at(0, "00:00")) == "always open"
    assert hours("mon-sun 00:00-24:00").text(at(0, "00:00")) == "always open"
