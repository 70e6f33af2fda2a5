"""The tables of the page: what was suppressed, asked, waited for, and violated."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from mmbot.runtime.report import words
from mmbot.runtime.report.report import Report

_ROWS_MAX: Final = 60
_WORDS: Final = ("side", "rule")
"""Columns of words, which stand at the left."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is too wide; the last column may be a place."""
    last = len(head) - 1
    kinds = [
        "text where" if i == last and name in ("journal", "what") else "text" * (name in _WORDS)
        for i, name in enumerate(head)
    ]
    titles = "".join(
        f'<th class="text">{escape(name)}</th>' if kind else f"<th>{escape(name)}</th>"
        for name, kind in zip(head, kinds, strict=True)
    )
    lines = []
    for row in rows[:_ROWS_MAX]:
        cells = "".join(
            f'<td class="{kind}">{escape(cell)}</td>' if kind else f"<td>{escape(cell)}</td>"
            for cell, kind in zip(row, kinds, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    more = ""
    if len(rows) > _ROWS_MAX:
        more = f'<p class="note">{_ROWS_MAX} of {len(rows)} rows; report.json has all of them.</p>'
    return f'<div class="scroll"><table><tr>{titles}</tr>{"".join(lines)}</table></div>{more}'


def _clock(report: Report) -> words.Clock:
    return words.clock_of(report.overview.started_ns, report.overview.ended_ns)


def details(report: Report) -> list[str]:
    """Everything that is a table."""
    sections = (
        ("Trend against the position", _opposed(report)),
        ("Time without quotes", _suppressed(report)),
        ("Requests", _budget(report)),
        ("Latency, ms", _latencies(report)),
        ("Vitals", _violations(report)),
        ("Flips: from near flat to large", _flips(report)),
    )
    return [f"<section><h2>{escape(title)}</h2>{body}</section>" for title, body in sections]


def _opposed(report: Report) -> str:
    clock = _clock(report)
    found = report.response
    if found.opposed_s == 0:
        return "<p>The position never stood against a trend.</p>"
    text = (
        f"<p>Opposed for {words.span(found.opposed_s)}, urgently for {words.span(found.urgent_s)}. "
    )
    if found.ratio is None:
        text += "Never urgently for long enough for the answer to fade in.</p>"
    else:
        text += (
            f"Response ratio <b>{words.share(found.ratio)}</b> of the trend (at least "
            f"{words.share(found.required)} is wanted, unless its cap binds), met in "
            f"{words.share(found.met)} of that time.</p>"
        )
    if not found.intervals:
        return text
    rows = [
        (
            f"{clock(each.from_ns)} to {clock(each.until_ns)}",
            f"{each.position_frac:+.0%}".replace("-", "−"),
            f"{each.trend_bps:+.1f}".replace("-", "−"),
            f"{each.response_bps:+.1f}".replace("-", "−"),
            words.share(each.ratio),
        )
        for each in found.intervals
    ]
    head = ("from, to (UTC)", "position of limit", "trend, bps", "answer, bps", "ratio")
    return text + table(head, rows)


def _suppressed(report: Report) -> str:
    whole = report.watched_s or 1.0
    rows = [
        (side, rule, words.span(spent), f"{spent / whole:.1%}")
        for side, rules in report.suppressed_s.items()
        for rule, spent in sorted(rules.items(), key=lambda item: -item[1])
        if spent > 0
    ]
    modes = ", ".join(f"{mode} {words.span(spent)}" for mode, spent in report.mode_s.items())
    text = f"<p>Modes: {escape(modes)}.</p>" if modes else ""
    if not rows:
        return text + "<p>Both sides were quoted all the time.</p>"
    return text + table(("side", "rule", "for", "of the run"), rows)


def _budget(report: Report) -> str:
    found = report.budget
    if found is None:
        return "<p>Never read.</p>"
    per_h = "–" if found.per_h is None else f"{found.per_h:,.0f}"
    lasts = (
        f"at that pace, what trades earn taken off, the rest lasts {found.hours_left:,.1f} h"
        if found.hours_left is not None
        else "trades earned as many as were spent"
    )
    spent = (
        f' <b class="bad">Placements waited for the budget for {words.span(found.spent_s)}.</b>'
        if found.spent_s
        else ""
    )
    asked = (
        "–"
        if found.used_at_start is None or found.used_at_end is None
        else f"{found.used_at_end - found.used_at_start:,}"
    )
    return (
        f"<p>{asked} asked, {per_h} an hour; "
        f"<b>{found.left_at_end:,} left</b>, {found.left_min:,} at the least; {lasts}.{spent}</p>"
    )


def _latencies(report: Report) -> str:
    if not report.latencies:
        return "<p>Not known: the journal has them.</p>"
    rows = [
        (
            each.what,
            f"{each.count:,}",
            f"{each.p50_ms:,.0f}",
            f"{each.p90_ms:,.0f}",
            f"{each.p99_ms:,.0f}",
            f"{each.max_ms:,.0f}",
        )
        for each in report.latencies
    ]
    return table(("", "number", "median", "90 %", "99 %", "most"), rows)


def _violations(report: Report) -> str:
    clock = _clock(report)
    if not report.violations:
        return "<p>Every term of the quote did what it must.</p>"
    rows = [
        (
            each.term + (f" ({each.where})" if each.where else ""),
            each.kind.replace("_", " "),
            f"{each.times}",
            clock(each.first_ns),
            f"{each.text}; {each.journal}",
        )
        for each in report.violations
    ]
    return table(("term", "how", "times", "first", "what"), rows)


def _flips(report: Report) -> str:
    note = (
        '<p class="note">The position fell under a tenth of its limit and was above three tenths '
        "within three minutes; both quotes are those of the first of these moments. "
        f"{_played(report)}</p>"
    )
    clock = _clock(report)
    if not report.flips:
        return f"<p>None.</p>{note}"
    rows = [
        (
            clock(each.at_ns),
            words.size(each.position_sz),
            words.price(each.bid_px) if each.bid_px else each.bid_pulled or "–",
            words.price(each.mid_px),
            words.price(each.ask_px) if each.ask_px else each.ask_pulled or "–",
            clock(each.until_ns),
            f"{words.size(each.reached_sz)} ({each.reached_frac:+.0%})".replace("-", "−"),
            *(
                "–" if sz is None else words.size(sz)
                for sz in (each.later_sz, each.unchanged_sz, each.changed_sz)
            ),
        )
        for each in report.flips
    ]
    head = (
        "UTC", "position", "bid", "mid", "ask", "until", "position then",
        "after 3 min", "played again", f"with {report.flips_change}",
    )  # fmt: skip
    return note + table(head, rows)


def _played(report: Report) -> str:
    """How the positions after a flip were found, and of how many flips they were not."""
    left_out = sum(each.later_sz is None for each in report.flips)
    if not report.flips or left_out == len(report.flips):
        return ""
    told = (
        "The last three columns are the position three minutes after that moment (or at the end "
        "of the run): the real one, the one of a new engine that plays these minutes over the "
        f"recorded market, and the one of the same with {report.flips_change}. What lies between "
        "the first two is the error of such a play. A play ends where the run was stopped; what "
        "filled while it was stopping is in the real one alone."
    )
    if left_out:
        told += f" The first {len(report.flips) - left_out} flips are played, {left_out} are not."
    return told
