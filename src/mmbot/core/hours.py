"""
Trading hours: when a market may be quoted for more than getting out of a position.

A perp on a stock trades around the clock, but outside the hours of the stock's own exchange its
oracle stands still and one late piece of news moves it further than any width pays for. The venue
does not tell these hours, so they are configured.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmbot.core.types import NS_PER_S

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(
    r"(?P<first>[a-z]{3})(-(?P<last>[a-z]{3}))? "
    r"(?P<h0>\d{2}):(?P<m0>\d{2})-(?P<h1>\d{2}):(?P<m1>\d{2})"
)
_DAY_MIN: Final = 24 * 60
_WEEK_MIN: Final = 7 * _DAY_MIN
_NS_PER_MIN: Final = 60 * NS_PER_S
_EPOCH_MIN: Final = 3 * _DAY_MIN
"""1970 began on a Thursday: minutes since the Monday before."""
_SHAPE: Final = 'write it as "mon-fri 13:30-20:00" or "sat 00:00-24:00", in UTC'


class HoursParams(BaseModel):
    """When the market is quoted; outside of it the position is only reduced."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "reloadable": [
                "utc",
            ]
        },
    )

    utc: tuple[str, ...] = Field(
        (),
        max_length=70,
        description='Trading hours in UTC by weekday, as "mon-fri 13:30-20:00"; a day that is not '
        "named is closed. Empty: always open.",
    )

    @model_validator(mode="after")
    def _readable(self) -> HoursParams:
        for text in self.utc:
            _minutes(text)
            if self.utc.count(text) > 1:
                raise ValueError(f"utc: {text!r} stands there twice; take one out")
        return self


def _minutes(text: str) -> list[tuple[int, int]]:
    """
    Spans of the week that a text names, minutes since Monday 00:00.

    Raises:
        ValueError: It names none; the message says why and how it is written.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"utc: {text!r} is no span of hours; {_SHAPE}")
    first, last = found["first"], found["last"] or found["first"]
    for day in (first, last):
        if day not in _DAYS:
            raise ValueError(f"utc: {text!r}: {day!r} is no weekday; use {', '.join(_DAYS)}")
    begin = _minute_of(text, found["h0"], found["m0"])
    end = _minute_of(text, found["h1"], found["m1"])
    if end <= begin:
        raise ValueError(
            f"utc: {text!r} ends before it begins; hours across midnight are two spans, the first "
            "to 24:00, the second from 00:00 of the next day"
        )
    at, until = _DAYS.index(first), _DAYS.index(last)
    days = [at]
    while at != until:
        at = (at + 1) % 7
        days.append(at)
    return [(day * _DAY_MIN + begin, day * _DAY_MIN + end) for day in days]


def _minute_of(text: str, hour: str, minute: str) -> int:
    at = int(hour) * 60 + int(minute)
    if int(minute) >= 60 or at > _DAY_MIN:
        raise ValueError(f"utc: {text!r}: {hour}:{minute} is no time of a day; {_SHAPE}")
    return at


class Hours:
    """The week's hours, merged; without any the market is always open."""

    __slots__ = ("_spans",)

    def __init__(self, params: HoursParams) -> None:
        merged: list[list[int]] = []
        for begin, end in sorted(span for text in params.utc for span in _minutes(text)):
            if merged and begin <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([begin, end])
        if merged == [[0, _WEEK_MIN]]:
            merged = []
        self._spans = tuple((begin, end) for begin, end in merged)

    def is_open(self, now_ns: int) -> bool:
        """Whether the market may be quoted; the beginning of a span belongs to it, its end not."""
        if not self._spans:
            return True
        at = _minute_of_week(now_ns)
        return any(begin <= at < end for begin, end in self._spans)

    def changes_at_ns(self, now_ns: int) -> int | None:
        """The next begin or end of a span; None where there is none."""
        if not self._spans:
            return None
        at = _minute_of_week(now_ns)
        edges = [edge % _WEEK_MIN for span in self._spans for edge in span]
        ahead = min((edge - at - 1) % _WEEK_MIN + 1 for edge in edges)
        return (now_ns // _NS_PER_MIN + ahead) * _NS_PER_MIN

    def text(self, now_ns: int) -> str:
        """Whether it is open, and when that changes, for a person."""
        at_ns = self.changes_at_ns(now_ns)
        if at_ns is None:
            return "always open"
        at = _minute_of_week(at_ns)
        day, minute = divmod(at, _DAY_MIN)
        when = f"{_DAYS[day]} {minute // 60:02d}:{minute % 60:02d} UTC"
        if self.is_open(now_ns):
            return f"open, closes {when}"
        return f"closed until {when}: the position is only reduced"


def _minute_of_week(now_ns: int) -> int:
    return (now_ns // _NS_PER_MIN + _EPOCH_MIN) % _WEEK_MIN
