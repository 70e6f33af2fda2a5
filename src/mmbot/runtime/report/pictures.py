"""Which plots a page has, and what is in them."""

from __future__ import annotations

from typing import Final

import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Floats, Ladders
from mmbot.runtime.report.plots import Band, Dots, Line, curves, plot
from mmbot.runtime.report.report import Report
from mmbot.runtime.report.split import course

_COURSE_STEPS: Final = 3000
_RUNG_COLOURS: Final = ("blue", "teal", "green", "violet", "pink", "orange", "red", "grey")
_TERMS: Final = (
    ("Half spread", (
        ("fee_bps", "fee", "both sides"),
        ("adverse_selection_bps", "adverse selection", "both sides"),
        ("glft_bps", "GLFT", "both sides"),
        ("half_min_bps", "up to the least half spread", "both sides"),
        ("half_bps", "half spread, their sum", "both sides"),
    )),
    ("Shift of both quotes, up positive", (
        ("inventory_skew_bps", "inventory skew", "against the position"),
        ("drift_adj_bps", "drift", ""),
        ("response_bps", "opposed trend", ""),
        ("funding_bps", "funding", ""),
        ("reference_bps", "reference market", ""),
        ("shift_bps", "shift, their sum within its cap", ""),
    )),
    ("Of the side that adds", (
        ("widening_bps", "widening with the position", ""),
        ("pos_guard_skew_bps", "barrier near the limit", ""),
        ("cascade_bid_bps", "cascade pullback, bid", ""),
        ("cascade_ask_bps", "cascade pullback, ask", ""),
        ("hold_bid_bps", "price hold after a sweep, bid", ""),
        ("hold_ask_bps", "price hold after a sweep, ask", ""),
    )),
    ("What came of it", (
        ("touch_bid_bps", "bid: distance of the nearest order", "from fair"),
        ("touch_ask_bps", "ask: distance of the nearest order", "from fair"),
        ("floor_bps", "floor of what adds", ""),
    )),
)  # fmt: skip


def span_of(facts: Facts) -> tuple[float, float] | None:
    """First and last second of the run; None where nothing is known of it."""
    if facts.started_ns is None or facts.ended_ns is None or facts.ended_ns <= facts.started_ns:
        return None
    return facts.started_ns / NS_PER_S, facts.ended_ns / NS_PER_S


def main_plots(facts: Facts, report: Report) -> list[str]:
    """Price with quotes and fills, inventory, profit."""
    span = span_of(facts)
    if span is None:
        return []
    return [
        _price(facts, report, span),
        *([_inventory(facts, report, span)] if facts.knows_fills else []),
        *([_profit(facts, report, span)] if report.split.parts is not None else []),
    ]


def _bands(report: Report) -> list[Band]:
    return [
        Band(each.from_ns / NS_PER_S, each.until_ns / NS_PER_S, "shade") for each in report.worst
    ]


def _price(facts: Facts, report: Report, span: tuple[float, float]) -> str:
    lines: list[Line] = []
    ladders = facts.ladders
    if ladders is not None:
        at_s = ladders.at_s
        lines.append(
            Line("our bid", at_s, ladders["touch_bid_px"], "green", is_step=True, width=1.0)
        )
        lines.append(Line("our ask", at_s, ladders["touch_ask_px"], "red", is_step=True, width=1.0))
    if facts.mids is not None:
        lines.append(Line("mid", facts.mids.at_s, facts.mids.px, "ink", is_step=True))
    dots = [
        _fills(facts, "we bought", 1, "blue"),
        _fills(facts, "we sold", -1, "orange"),
    ]
    return plot(
        "Mid, both quotes and fills",
        lines,
        span=span,
        unit="USD",
        dots=dots,
        bands=_bands(report),
        note="Shaded: the stretches that lost most." if report.worst else "",
    )


def _fills(facts: Facts, name: str, side: int, colour: str) -> Dots:
    chosen = [fill for fill in facts.fills if fill.side == side]
    at_s = np.array([fill.at_ns for fill in chosen], np.float64) * 1e-9
    return Dots(name, at_s, np.array([fill.px for fill in chosen], np.float64), colour)


def _inventory(facts: Facts, report: Report, span: tuple[float, float]) -> str:
    held = [report.split.start_position_sz, *(fill.position_sz for fill in facts.fills)]
    at = [span[0], *(fill.at_ns / NS_PER_S for fill in facts.fills), span[1]]
    values = np.array([*held, held[-1]], np.float64)
    line = Line("position", np.array(at, np.float64), values, "blue", is_step=True, width=1.8)
    levels: list[float] = []
    if facts.ladders is not None:
        limit = float(np.nanmedian(facts.ladders["q_max_sz"]))
        if np.nanmax(np.abs(values)) > 0.3 * limit:
            levels = [limit, -limit]
    note = "Dashed: the position limit." if levels else "Far below the position limit."
    # A position holds until the next fill, however long that is.
    return plot(
        "Inventory",
        [_held(line, span)],
        span=span,
        unit="coins, long positive",
        bands=_bands(report),
        levels=levels,
        note=note if facts.ladders is not None else "",
        has_zero=True,
    )


def _held(line: Line, span: tuple[float, float]) -> Line:
    """The same with a point in each column, so that a pause between fills is no gap."""
    times = np.linspace(span[0], span[1], 1400)
    found = np.searchsorted(line.at_s, times, side="right") - 1
    at = np.concatenate([line.at_s, times])
    values = np.concatenate([line.values, line.values[np.maximum(found, 0)]])
    order = np.argsort(at, kind="stable")
    return line._replace(at_s=at[order], values=values[order])


def _profit(facts: Facts, report: Report, span: tuple[float, float]) -> str:
    times = np.linspace(span[0] * NS_PER_S, span[1] * NS_PER_S, _COURSE_STEPS).astype(np.int64)
    grown = course(facts, report.split, times)
    at_s = grown.at_s

    def line(name: str, values: Floats, colour: str, width: float = 1.4) -> Line:
        return Line(name, at_s, values, colour, width=width)

    return plot(
        "Profit and its parts",
        [
            line("spread capture", grown.capture_usd, "green"),
            line("adverse selection", -grown.adverse_usd, "red"),
            line("inventory", grown.inventory_usd, "violet"),
            line("fees", -grown.fees_usd, "orange"),
            line("funding", grown.funding_usd, "grey"),
            line("change of equity", grown.total_usd, "ink", 2.4),
        ],
        span=span,
        unit="USD",
        bands=_bands(report),
        has_zero=True,
        note="Each line as it counts: costs go down. Valued at the mid, the end at the mark.",
    )


def term_plots(facts: Facts) -> list[tuple[str, list[str]]]:
    """Every term of the waterfall over time, in groups."""
    span, ladders = span_of(facts), facts.ladders
    if span is None or ladders is None:
        return []
    return [(group, [_term(ladders, span, *term) for term in terms]) for group, terms in _TERMS]


def _term(ladders: Ladders, span: tuple[float, float], column: str, name: str, remark: str) -> str:
    values = ladders[column]
    if not np.isfinite(values).any():
        return (
            f'<figure class="plot small none"><figcaption>{name}</figcaption>'
            '<p class="note">absent throughout: its estimate had no feed</p></figure>'
        )
    colour = "green" if "bid" in column else "red" if "ask" in column else "blue"
    line = Line(name, ladders.at_s, values, colour, is_step=True, width=1.3)
    unit = f"bps, {remark}" if remark else "bps"
    return plot(name, [line], span=span, unit=unit, size="small", has_zero=True)


def markout_plots(report: Report) -> list[str]:
    """Markout curves by side and by rung."""
    columns = [f"{horizon} s" for horizon in report.markout_horizons_s]
    sides = [
        (f"{each.group} ({each.fills})", each.adverse_bps, colour)
        for each in report.markouts
        for group, colour in (("buys", "blue"), ("sells", "orange"), ("taker", "grey"))
        if each.group == group
    ]
    rungs = [each for each in report.markouts if each.group.startswith("rung")]
    by_rung = [
        (f"{each.group} ({each.fills})", each.adverse_bps, _RUNG_COLOURS[i % len(_RUNG_COLOURS)])
        for i, each in enumerate(rungs[: len(_RUNG_COLOURS)])
    ]
    note = "Move of the mid after a fill, against us positive, weighted by notional."
    return [
        curves("Markout by side", columns, sides, unit="bps, against us", note=note),
        curves(
            "Markout by rung",
            columns,
            by_rung,
            unit="bps, against us",
            note="Rung 1 is our order nearest to the market.",
        ),
    ]
