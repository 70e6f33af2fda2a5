"""
Plots as SVG, drawn by hand: no script, no font, no network.

A plot is stretched to whatever width there is, so lines keep their width (`non-scaling-stroke`) and
every word stands beside the picture as HTML. A long series is thinned by keeping the least and the
greatest value of each column of pixels: no extreme is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Final, NamedTuple

import numpy as np

from mmbot.runtime.report.facts import Floats

WIDTH: Final = 1000.0
HEIGHT: Final = 300.0
COLUMNS: Final = 700
"""Columns a series is thinned to: two points each."""
_MARKS: Final = 700
_GAP_COLUMNS: Final = 3.0
"""Width without a value over which no line is drawn, in columns."""


class Line(NamedTuple):
    """A series: name, values (NaN draws nothing), colour class, whether it holds between values."""

    name: str
    at_s: Floats
    values: Floats
    colour: str
    is_step: bool = False
    width: float = 1.5


class Dots(NamedTuple):
    """Single points of one colour."""

    name: str
    at_s: Floats
    values: Floats
    colour: str


class Band(NamedTuple):
    """A stretch of time that is shaded."""

    from_s: float
    until_s: float
    colour: str


def thin(
    at_s: Floats, values: Floats, span: tuple[float, float], columns: int = COLUMNS
) -> tuple[Floats, Floats]:
    """
    At most two points a column: the least and the greatest value, in the order they came.

    Arguments are of one length, times ascend; the result as well. The first and the last are kept.
    """
    known = np.isfinite(values)
    at_s, values = at_s[known], values[known]
    if len(values) <= 2 * columns:
        return at_s, values
    width = max(1e-9, (span[1] - span[0]) / columns)
    column = np.clip(((at_s - span[0]) / width).astype(np.int64), 0, columns - 1)
    starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    ends = np.concatenate([starts[1:], [len(column)]])
    keep: set[int] = {0, len(values) - 1}
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        keep.add(a + int(np.argmin(values[a:b])))
        keep.add(a + int(np.argmax(values[a:b])))
    chosen = np.array(sorted(keep))
    return at_s[chosen], values[chosen]


def thin_dots(at_s: Floats, values: Floats, span: tuple[float, float]) -> tuple[Floats, Floats]:
    """As `thin`, for points: of those that would lie on each other the outermost remain."""
    return thin(at_s, values, span, _MARKS // 2)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values between two bounds, about `count` of them."""
    span = high - low
    if not isfinite(span) or span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if raw <= m * power * (1 + 1e-9))
    first = np.ceil(low / step - 1e-9) * step
    return [
        float(round(first + i * step, 12)) for i in range(int((high - first) / step + 1e-9) + 1)
    ]


_APART: Final = 0.12
"""Least distance of two words of an axis, of its height."""


def _extremes(values: Floats, *, has_zero: bool) -> list[float]:
    """The least and the greatest value, and zero where there is room: what a small plot can say."""
    low, high = float(values.min()), float(values.max())
    if has_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        return [low]
    is_between = low < 0 < high and min(-low, high) >= _APART * (high - low)
    return [low, 0.0, high] if is_between else [low, high]


def figure(value: float) -> str:
    """A number of an axis: as short as its size allows."""
    size = abs(value)
    if size >= 10_000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    text = f"{value:.4f}".rstrip("0").rstrip(".") if size < 1 else f"{value:.3f}".rstrip("0")
    return text.rstrip(".") if text not in ("-0", "") else "0"


def plot(
    title: str,
    lines: Sequence[Line],
    *,
    span: tuple[float, float],
    unit: str,
    dots: Sequence[Dots] = (),
    bands: Sequence[Band] = (),
    levels: Sequence[float] = (),
    note: str = "",
    size: str = "wide",
    has_zero: bool = False,
) -> str:
    """
    A figure of one or more series over the time of the run, as HTML.

    Args:
        title: Its heading.
        lines: The series.
        span: First and last second of the time axis.
        unit: Of the values.
        dots: Points over the series.
        bands: Shaded stretches of time.
        levels: Values at which a dashed line is drawn.
        note: A sentence below.
        size: Class of the figure: wide, or small for one of many.
        has_zero: Whether zero must be on the value axis.
    """
    columns = COLUMNS if size == "wide" else COLUMNS // 3
    shown = [(line, *thin(line.at_s, line.values, span, columns)) for line in lines]
    points = [(each, *thin_dots(each.at_s, each.values, span)) for each in dots]
    values = np.concatenate([v for _, _, v in (*shown, *points)] or [np.zeros(0)])
    if not len(values):
        return _empty(title, size)
    low, high = _bounds(values, [*levels, 0.0] if has_zero else levels)
    scale = _Scale(span, low, high)
    parts = [
        f'<rect class="{band.colour}" x="{scale.x(band.from_s):.1f}" y="0" '
        f'width="{max(1.0, scale.x(band.until_s) - scale.x(band.from_s)):.1f}" '
        f'height="{HEIGHT:.0f}"/>'
        for band in bands
    ]
    marks = ticks(low, high, 7) if size == "wide" else _extremes(values, has_zero=has_zero)
    grid = "".join(f"M0 {scale.y(tick):.1f}H{WIDTH:.0f}" for tick in marks)
    parts.append(f'<path class="grid" d="{grid}"/>')
    if low < 0 < high:
        parts.append(f'<path class="zero" d="M0 {scale.y(0):.1f}H{WIDTH:.0f}"/>')
    parts.extend(
        f'<path class="level" d="M0 {scale.y(level):.1f}H{WIDTH:.0f}"/>' for level in levels
    )
    gap_s = (span[1] - span[0]) / columns * _GAP_COLUMNS
    for line, at_s, found in shown:
        d = _path(at_s, found, scale, is_step=line.is_step, gap_s=max(gap_s, 5.0))
        parts.append(f'<path class="line {line.colour}" stroke-width="{line.width:g}" d="{d}"/>')
    for each, at_s, found in points:
        d = "".join(
            f"M{scale.x(x):.1f} {scale.y(y):.1f}h0" for x, y in zip(at_s, found, strict=True)
        )
        parts.append(f'<path class="dots {each.colour}" d="{d}"/>')
    return _framed(title, parts, scale, marks, [*lines, *dots], unit, note, size)


class _Scale:
    """From seconds and values to the picture."""

    def __init__(self, span: tuple[float, float], low: float, high: float) -> None:
        self.span = span
        self.low, self.high = low, high
        self._x = WIDTH / max(1e-9, span[1] - span[0])
        self._y = HEIGHT / max(1e-12, high - low)

    def x(self, at_s: float) -> float:
        return min(WIDTH, max(0.0, (at_s - self.span[0]) * self._x))

    def y(self, value: float) -> float:
        return HEIGHT - (value - self.low) * self._y


def _bounds(values: Floats, levels: Sequence[float]) -> tuple[float, float]:
    low = min(float(values.min()), *levels) if levels else float(values.min())
    high = max(float(values.max()), *levels) if levels else float(values.max())
    room = (high - low) * 0.05 or max(abs(high) * 0.01, 0.5)
    return low - room, high + room


def _path(at_s: Floats, values: Floats, scale: _Scale, *, is_step: bool, gap_s: float) -> str:
    parts: list[str] = []
    last: float | None = None
    for at, value in zip(at_s.tolist(), values.tolist(), strict=True):
        x, y = scale.x(at), scale.y(value)
        if last is None or at - last > gap_s:
            parts.append(f"M{x:.1f} {y:.1f}h0")
        elif is_step:
            parts.append(f"H{x:.1f}V{y:.1f}")
        else:
            parts.append(f"L{x:.1f} {y:.1f}")
        last = at
    return "".join(parts)


def _framed(
    title: str,
    parts: Sequence[str],
    scale: _Scale,
    marks: Sequence[float],
    named: Sequence[Line | Dots],
    unit: str,
    note: str,
    size: str,
) -> str:
    """The picture with its words."""
    key = ""
    if len(named) > 1:
        items = "".join(
            f'<li class="{each.colour}"><i></i>{escape(each.name)}</li>' for each in named
        )
        key = f'<ul class="key">{items}</ul>'
    labels = "".join(
        f'<span style="top:{scale.y(tick) / HEIGHT * 100:.2f}%">{figure(tick)}</span>'
        for tick in marks
    )
    return (
        f'<figure class="plot {size}"><figcaption>{escape(title)} '
        f"<small>{escape(unit)}</small></figcaption>{key}"
        f'<div class="frame"><div class="ys">{labels}</div>'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>{_times(scale.span, size)}'
        + (f'<p class="note">{escape(note)}</p>' if note else "")
        + "</figure>"
    )


def _times(span: tuple[float, float], size: str) -> str:
    """The time axis: UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415 - for words only

    shares = (0.0, 0.25, 0.5, 0.75, 1.0) if size == "wide" else (0.0, 0.5, 1.0)
    style = "%H:%M:%S" if span[1] - span[0] < 3600 else "%H:%M"
    first, last = (datetime.fromtimestamp(at, tz=UTC) for at in span)
    if first.date() != last.date():
        style = f"%m-%d {style}"
    words = []
    for share in shares:
        at = first + (last - first) * share
        words.append(f"<span>{at:{style}}</span>")
    return f'<div class="xs">{"".join(words)}</div>'


def _empty(title: str, size: str) -> str:
    return (
        f'<figure class="plot {size} none"><figcaption>{escape(title)}</figcaption>'
        '<p class="note">nothing of it is known of this run</p></figure>'
    )


def curves(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float | None], str]],
    *,
    unit: str,
    note: str,
) -> str:
    """A figure of values at a few named places, one line for each row: name, values, colour."""
    values = np.array([v for _, row, _ in rows for v in row if v is not None], np.float64)
    if not len(values):
        return _empty(title, "half")
    low, high = _bounds(values, [0.0])
    scale = _Scale((0.0, float(len(columns) - 1)), low, high)
    marks = ticks(low, high, 4)
    grid = "".join(f"M0 {scale.y(tick):.1f}H{WIDTH:.0f}" for tick in marks)
    parts = [f'<path class="grid" d="{grid}"/>']
    if low < 0 < high:
        parts.append(f'<path class="zero" d="M0 {scale.y(0):.1f}H{WIDTH:.0f}"/>')
    named: list[Line] = []
    for name, row, colour in rows:
        at = np.array([i for i, v in enumerate(row) if v is not None], np.float64)
        found = np.array([v for v in row if v is not None], np.float64)
        d = _path(at, found, scale, is_step=False, gap_s=1.5)
        spots = "".join(
            f"M{scale.x(x):.1f} {scale.y(y):.1f}h0" for x, y in zip(at, found, strict=True)
        )
        parts.append(f'<path class="line {colour}" stroke-width="2" d="{d}"/>')
        parts.append(f'<path class="dots {colour}" d="{spots}"/>')
        named.append(Line(name, at, found, colour))
    body = _framed(title, parts, scale, marks, named, unit, note, "half")
    axis = "".join(f"<span>{escape(name)}</span>" for name in columns)
    head, _, rest = body.partition('<div class="xs">')
    return f'{head}<div class="xs">{axis}{rest[rest.index("</div>") :]}'
