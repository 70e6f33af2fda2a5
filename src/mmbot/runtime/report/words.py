"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

Clock = Callable[[int | None], str]
"""Writes an instant."""


def usd(value: float | None, *, is_signed: bool = True, digits: int = 2) -> str:
    """Money; None is a dash."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0
    sign = "+" if is_signed and rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number, signs as in `usd` where below zero."""
    if value is None:
        return "–"
    text = f"{abs(value):,.{digits}f}"
    return f"−{text}" if round(value, digits) < 0 else text


def size(value: float | None) -> str:
    """A position, signed."""
    return "–" if value is None else f"{value:+g}".replace("-", "−")


def price(value: float | None) -> str:
    """A price in as many figures as it has."""
    return "–" if value is None else f"{value:.7g}"


def share(value: float | None) -> str:
    """A part of one as percent."""
    return "–" if value is None else f"{value * 100:.0f} %"


def span(seconds: float) -> str:
    """A span of time."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def clock(at_ns: int | None) -> str:
    """Time of day, UTC."""
    if at_ns is None:
        return "–"
    return f"{datetime.fromtimestamp(at_ns / 1e9, tz=UTC):%H:%M:%S}"


def clock_of(started_ns: int | None, ended_ns: int | None) -> Clock:
    """How times of a run are written: with the date where it crosses midnight, UTC."""
    if started_ns is None or ended_ns is None or _day(started_ns) == _day(ended_ns):
        return clock
    return dated


def dated(at_ns: int | None) -> str:
    """Month, day and time of day, UTC."""
    if at_ns is None:
        return "–"
    return f"{datetime.fromtimestamp(at_ns / 1e9, tz=UTC):%m-%d %H:%M:%S}"


def _day(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns / 1e9, tz=UTC).date()


def instant(at_ns: int | None) -> str:
    """Date and time, UTC."""
    if at_ns is None:
        return "–"
    return f"{datetime.fromtimestamp(at_ns / 1e9, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
