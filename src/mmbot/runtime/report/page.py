"""The report as one HTML page: no network, no script; what happened, how much, and why."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from mmbot.runtime.report import words
from mmbot.runtime.report.causes import Cause
from mmbot.runtime.report.facts import Facts
from mmbot.runtime.report.pictures import main_plots, markout_plots, term_plots
from mmbot.runtime.report.report import Report
from mmbot.runtime.report.split import Split
from mmbot.runtime.report.style import CSS
from mmbot.runtime.report.tables import details, table

_LINES_MAX: Final = 400
"""Lines of the timeline on the page; the JSON has all of them."""


def page(facts: Facts, report: Report) -> str:
    """The whole page."""
    over = report.overview
    paper = "PAPER " if over.mode == "paper" else ""
    title = f"{paper}{over.market} {words.instant(over.started_ns)}"
    body = [
        *_head(report),
        *(_body(facts, report) if report.overview.began else _timeline(report)),
    ]
    # It asks for nothing, not even for the icon that browsers look for by themselves.
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)} - mmbot</title><style>{CSS}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _body(facts: Facts, report: Report) -> list[str]:
    """Everything below the head, of a run that traded."""
    return [
        *_causes(report),
        *_split(report.split, report),
        *_section("What happened", main_plots(facts, report)),
        *_worst(facts, report),
        *_terms(facts),
        *_section("What the market did after our fills", _markouts(report)),
        *details(report),
        *_timeline(report),
        *_definitions(report),
    ]


def _section(title: str, parts: Iterable[str], *, note: str = "") -> list[str]:
    found = list(parts)
    if not found:
        return []
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return [f"<section><h2>{escape(title)}</h2>{said}", *found, "</section>"]


def _tone(value: float | None) -> str:
    """Colour of an amount: what is a whole cent and more counts."""
    if value is None or round(value, 2) == 0:
        return ""
    return "good" if value > 0 else "bad"


def _mode(mode: str) -> str:
    """What a run traded with, loud where it could be taken for more than it was."""
    return "PAPER: no order left the program" if mode == "paper" else mode


_UNKNOWN_PROFIT: Final = ("unknown", "what the run made", "")
_UNKNOWN_FILLS: Final = ("unknown", "fills: what tells of them is missing", "")


def _head(report: Report) -> list[str]:
    over, whole = report.overview, report.split
    total = whole.change_usd if whole.change_usd is not None else whole.total_usd
    ended = over.ended or "no end is recorded"
    if ended == "--for elapsed":
        ended = "its time (--for) was over"
    of_limit = f"{words.share(over.position_max_frac)} of the limit"
    clock = _clock(report)
    when = f"{clock(over.started_ns)} to {clock(over.ended_ns)} UTC"
    held = f"position at the end; at most {words.size(over.position_max_sz)}, {of_limit}"
    fell = over.max_drawdown_pct
    made = f"USD, change of equity, held at {whole.end_is}"
    traded = None if over.traded_usd is None else f"fills, {over.traded_usd:,.0f} USD traded"
    cards = [
        (words.usd(total), made, _tone(total)) if total is not None else _UNKNOWN_PROFIT,
        (words.span(over.span_s), when, ""),
        (f"{over.fills}", traded, "") if traded is not None else _UNKNOWN_FILLS,
        (words.size(over.position_sz), held, ""),
        (
            "unknown" if fell is None else f"{fell:.3f} %",
            "of peak equity: the largest fall from it, at the lower of mid and mark",
            "bad" if fell else "",
        ),
        (ended, "why it ended", "bad" if over.kill or over.exit_code else ""),
    ]
    shown = "".join(
        f'<div class="card"><b class="{tone}">{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name, tone in cards
    )
    parts = [
        (
            f"<header><h1>{escape(over.market or 'a run')} "
            f"<small>{escape(_mode(over.mode))}</small></h1>"
            f'<p class="soft">{words.instant(over.started_ns)}, run {escape(over.run)}</p>'
            f'<p class="verdict">{escape(report.verdict)}</p>'
        )
    ]
    if over.kill:
        parts.append(
            f'<div class="banner"><b class="bad">Kill switch</b>: {escape(over.kill)}</div>'
        )
    if report.missing:
        items = "".join(f"<li>{escape(text)}</li>" for text in report.missing)
        parts.append(
            '<div class="banner"><b class="warn">This report is not complete</b>'
            f"<ul>{items}</ul></div>"
        )
    cards_shown = f'<div class="cards">{shown}</div>' if over.began else ""
    parts.append(f"{cards_shown}</header>")
    return parts


_NONE: Final = (
    "None. Nothing that was measured lies outside of what a sound run shows: connection, prices, "
    "orders, requests, clock, terms of the quote, fees, size."
)


def _clock(report: Report) -> words.Clock:
    """How the times of this run are written."""
    return words.clock_of(report.overview.started_ns, report.overview.ended_ns)


def _causes(report: Report) -> list[str]:
    causes = report.causes
    if not causes:
        return _section("Suspected causes", [f"<p>{_NONE}</p>"])
    titles = {cause.name: cause.title for cause in causes}
    clock = _clock(report)
    items = "".join(_cause(cause, titles, clock) for cause in causes)
    return _section(
        "Suspected causes",
        [f'<ol class="causes">{items}</ol>'],
        note="Ranked; grey ones follow from one above them.",
    )


def _cause(cause: Cause, titles: dict[str, str], clock: words.Clock) -> str:
    figures = "".join(
        f"<span>{escape(each.what)} <b>{_short(each.value)} {escape(each.unit)}</b></span>"
        for each in cause.evidence
    )
    place = " · ".join(
        text for text in (clock(cause.at_ns) if cause.at_ns else "", cause.where) if text
    )
    follows = ""
    if cause.follows:
        follows = f' <span class="soft">follows from: {escape(titles[cause.follows])}</span>'
    kind = ' class="follows"' if cause.follows else ""
    return (
        f"<li{kind}><b>{escape(cause.title)}</b>{follows}<p>{escape(cause.text)}</p>"
        f'<div class="evidence">{figures}</div>'
        f'<div class="where">{escape(place)}</div></li>'
    )


def _short(value: float) -> str:
    size = abs(value)
    digits = 0 if size >= 1000 or value == round(value) else 1 if size >= 100 else 2
    return words.number(value, digits if size >= 0.01 or value == 0 else 4)


def _split(whole: Split, report: Report) -> list[str]:
    parts = whole.parts
    title = "Where the profit came from, USD"
    if parts is None:
        return _section(title, [f"<p>Not known: {escape(_unknown(report))}.</p>"])
    rows = [
        ("spread capture", parts.capture_usd, "distance of the fills from the mid before them"),
        (
            "adverse selection",
            -parts.adverse_usd,
            f"move of the mid in the {report.split_horizon_s:g} s after each fill",
        ),
        ("inventory", parts.inventory_usd, "what was held longer, and what was held at the start"),
        ("fees", -parts.fees_usd, "as the venue charged them"),
        ("funding", parts.funding_usd, "received less paid"),
    ]
    if whole.unexplained_usd is not None and not whole.is_exact:
        rows.append(
            ("unexplained", whole.unexplained_usd, "in the account, but in no fill or payment")
        )
    most = max((abs(value) for _, value, _ in rows), default=0.0) or 1.0
    lines = "".join(
        f'<tr><td>{name}</td><td class="{_tone(value)}">{words.usd(value)}</td>'
        f'<td class="bar">{_bar(value / most)}</td><td class="text soft">{escape(text)}</td></tr>'
        for name, value, text in rows
    )
    total = whole.change_usd if whole.change_usd is not None else whole.total_usd
    lines += (
        f'<tr class="sum"><td>change of equity</td><td class="{_tone(total)}">{words.usd(total)}'
        '</td><td></td><td class="text"></td></tr>'
    )
    proof = f'<p class="note">{escape(_proof(whole))}.</p>'
    return _section(title, [f'<table class="bars">{lines}</table>', proof])


def _bar(share: float) -> str:
    width = abs(share) * 50
    left = 50 if share >= 0 else 50 - width
    tone = "good" if share >= 0 else "bad"
    return f'<i><u class="{tone}" style="left:{left:.2f}%;width:{width:.2f}%"></u></i>'


def _unknown(report: Report) -> str:
    """Why there is no split."""
    if report.overview.fills is None:
        return "nothing that tells of fills is there"
    return "the account was not read at the start, so what was held then is not known"


def _proof(whole: Split) -> str:
    if whole.change_usd is not None:
        start, end = whole.equity_start_usd, whole.equity_end_usd
        text = f"The venue's account: {start:,.4f} at the start, {end:,.4f} at the end"
        if whole.is_exact:
            return f"{text}; the parts add up to it to the cent"
        if whole.unexplained_usd is None:
            return f"{text}; its mark then is not known, so the sum of the parts cannot be checked"
        text += f"; fills and payments explain {whole.total_usd:+.4f} of it"
        if whole.are_fills_whole is False:
            text += (
                f", and make a position of {whole.end_position_sz:+g} where the venue has "
                f"{whole.venue_position_sz:+g}: fills are missing"
            )
        return text
    text = (
        "By our own ledger: the venue's account was not read at an end, or what it said is not "
        "recorded, so the sum cannot be checked"
    )
    if whole.last_reading is not None:
        gap = whole.last_reading["gap_usd"]
        text += f"; its last reading before differs from our ledger then by {gap:+.4f}"
    return text


def _worst(facts: Facts, report: Report) -> list[str]:
    title = "Worst three stretches"
    if not report.worst:
        if facts.mids is None or report.split.parts is None or facts.span_s <= 0:
            return []  # what was made in between is not known
        return _section(title, ["<p>No stretch lost.</p>"])
    clock = _clock(report)
    rows = [
        (
            f"{clock(each.from_ns)} to {clock(each.until_ns)}",
            words.usd(each.change_usd),
            words.usd(each.parts.capture_usd),
            words.usd(-each.parts.adverse_usd),
            words.usd(each.parts.inventory_usd),
            words.usd(-each.parts.fees_usd),
            f"{words.size(each.position_from_sz)} → {words.size(each.position_until_sz)}",
            f"{(each.mid_until_px / each.mid_from_px - 1) * 1e4:+.1f}".replace("-", "−"),
            f"{each.fills} / {each.sweeps}",
            each.where,
        )
        for each in report.worst
    ]
    head = (
        "from, to (UTC)", "USD", "capture", "adverse", "inventory", "fees", "position", "mid, bps",
        "fills / sweeps", "journal",
    )  # fmt: skip
    return _section(title, [table(head, rows)])


def _terms(facts: Facts) -> list[str]:
    groups = term_plots(facts)
    parts = [
        f'<h3>{escape(name)}</h3><div class="three">{"".join(plots)}</div>'
        for name, plots in groups
    ]
    return _section("Why the quotes were where they were", parts, note="Every term, bps of fair.")


def _markouts(report: Report) -> list[str]:
    if not report.markouts:
        return []
    head = (
        "fills", "number", "USD", "captured", "fee",
        *(f"{horizon} s" for horizon in report.markout_horizons_s),
    )  # fmt: skip
    rows = [
        (
            each.group,
            f"{each.fills}",
            f"{each.notional_usd:,.0f}",
            words.number(each.capture_bps),
            words.number(each.fee_bps),
            *(words.number(value) for value in each.adverse_bps),
        )
        for each in report.markouts
    ]
    return [f'<div class="two">{"".join(markout_plots(report))}</div>', table(head, rows)]


def _timeline(report: Report) -> list[str]:
    moments, clock = report.timeline, _clock(report)
    if not moments:
        return []
    shown = list(moments)
    note = ""
    if len(shown) > _LINES_MAX:
        # What decides a run stays; of the rest the first are as good as any.
        ranked = sorted(range(len(shown)), key=lambda i: (-shown[i].weight, i))[:_LINES_MAX]
        shown = [shown[i] for i in sorted(ranked)]
        note = f"{_LINES_MAX} of {len(moments)} lines; report.json has all of them."
    rows = []
    for each in shown:
        many = f" ({each.count} times, until {clock(each.until_ns)})" if each.count > 1 else ""
        rows.append(
            f'<tr><td>{clock(each.at_ns)}</td><td class="text"><span class="kind '
            f'k{each.weight}">{escape(each.kind)}</span></td><td class="text">'
            f'{escape(each.text)}{many}</td><td class="text where">{escape(each.where)}</td></tr>'
        )
    titles = (("", "UTC"), ("text", "what"), ("", ""), ("text where", "journal"))
    cells = "".join(f'<th class="{kind}">{name}</th>' for kind, name in titles)
    head = f"<tr>{cells}</tr>"
    body = f'<table class="timeline">{head}{"".join(rows)}</table>'
    return _section("Timeline", [f'<div class="scroll">{body}</div>'], note=note)


_DEFINITIONS: Final = {
    "spread capture": "side × (mid − price) × size of each fill, with the mid just before it, our "
    "own orders taken out of the book. Side is +1 for a buy, −1 for a sale.",
    "adverse selection": "−side × (mid HORIZON later − mid at the fill) × size: positive is "
    "against us, so it is subtracted. Where the run ended before, the last price counts.",
    "inventory": "side × (last price − mid HORIZON after the fill) × size, and the position of the "
    "start × (last price − its mark then): what was held longer than a fill takes to show what "
    "it was.",
    "fees, funding": "as the venue charged and paid them.",
    "last price": "END. The first three parts add up to the whole gross profit at that price, "
    "whatever the horizon.",
    "unexplained": "change of the venue's equity less the five parts: deposits, withdrawals, fills "
    "that nobody told us of. Shown where it is half a cent or more, never distributed.",
    "fills without a mid": "UNMARKED: they capture and suffer nothing, all of them is inventory.",
    "markout": "move of the mid after a fill at that horizon, against us positive, in bps.",
    "response ratio": "share of an urgent trend against the position by which the quotes were "
    "shifted, once the answer has faded in.",
}


def _filled(text: str, horizon: str, whole: Split) -> str:
    """A definition with the figures of this run."""
    end = f"{whole.end_is}: {words.price(whole.end_px)}"
    return (
        text.replace("HORIZON", horizon)
        .replace("END", end)
        .replace("UNMARKED", f"{whole.unmarked}")
    )


def _definitions(report: Report) -> list[str]:
    whole, horizon = report.split, f"{report.split_horizon_s:g} s"
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_filled(text, horizon, whole))}</dd>"
        for name, text in _DEFINITIONS.items()
    )
    build = escape(report.overview.build or "unknown build")
    return _section(
        "How each figure is defined",
        [f"<dl>{items}</dl>", f'<p class="note">Written by {build}.</p>'],
    )
