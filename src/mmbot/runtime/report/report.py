"""A report as plain data: everything the page shows but for the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.core.markout import HORIZONS_S
from mmbot.errors import ConfigError
from mmbot.runtime.report import measures
from mmbot.runtime.report.budget import Budget, budget
from mmbot.runtime.report.causes import Case, Cause, suspects
from mmbot.runtime.report.facts import Facts
from mmbot.runtime.report.gather import gather, without_secrets
from mmbot.runtime.report.latency import Percentiles, latencies
from mmbot.runtime.report.measures import (
    Flip,
    Markout,
    Response,
    Sweep,
    Violation,
)
from mmbot.runtime.report.split import HORIZON_S, Split, split
from mmbot.runtime.report.stretches import Interval, capital_of, course_extremes, worst
from mmbot.runtime.report.timeline import Moment, timeline
from mmbot.runtime.whatif.flips import CHANGE, with_positions

VERSION = 1
"""Of the layout of `report.json`."""
_ONE_SIDED: Final = 0.2
"""A side that a rule left empty for this part of the run is told with the result."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was."""

    run: str
    market: str
    mode: str
    build: str
    started_ns: int | None
    ended_ns: int | None
    span_s: float
    ended: str | None
    exit_code: int | None
    began: bool
    """Whether it traded at all; without that every amount here is of nothing, and no result."""
    refused: str | None
    """Why a start was refused: this one, or where it began, a later one in the same folder."""
    kill: str | None
    fills: int | None
    """None where fills are not known, as are what was bought, sold, traded and held."""
    taker_fills: int | None
    bought_sz: float | None
    sold_sz: float | None
    traded_usd: float | None
    position_sz: float | None
    position_max_sz: float | None
    position_max_frac: float | None
    capital_usd: float | None
    limit_usd: float | None
    max_drawdown_pct: float | None
    """Of peak equity, as the kill switch measures it."""
    best_usd: float | None
    worst_usd: float | None
    outages: int
    outage_s: float
    decisions: int
    requests: int
    journal: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything a report says; the order of the fields is that of the page.

    `verdict` is one sentence. Times are ns since the epoch, UTC.
    """

    version: int
    verdict: str
    overview: Overview
    causes: list[Cause]
    split: Split
    split_horizon_s: float
    worst: list[Interval]
    response: Response
    suppressed_s: dict[str, dict[str, float]]
    mode_s: dict[str, float]
    watched_s: float
    budget: Budget | None
    latencies: list[Percentiles]
    violations: list[Violation]
    flips: list[Flip]
    flips_change: str
    """What is changed in the positions after a flip."""
    markout_horizons_s: tuple[int, ...]
    markouts: list[Markout]
    sweeps: list[Sweep]
    rejections: dict[str, int]
    timeline: list[Moment]
    missing: list[str]


def read(run_dir: Path) -> tuple[Facts, Report]:
    """
    The facts of a run and the report on them.

    Raises:
        ConfigError: The folder is none of a run.
    """
    facts = without_secrets(gather(run_dir))
    if not (facts.has_log or facts.has_journal):
        raise ConfigError(
            f"{str(run_dir)!r}: no run lies there: neither a journal nor log.jsonl that could be "
            "read; name the folder of a run, or `latest`"
        )
    found = report(facts)
    flips = with_positions(run_dir, facts, found.flips)
    # What could not be played is known only now.
    missing = [*facts.missing, *_not_whole(found.split)]
    return facts, msgspec.structs.replace(found, flips=flips, missing=missing)


def report(facts: Facts) -> Report:
    """What can be said of these facts."""
    whole = split(facts)
    swept = measures.sweeps(facts)
    answered = measures.response(facts)
    marked = measures.markouts(facts)
    causes = suspects(Case(facts, whole, marked, swept, answered))
    intervals = worst(facts, whole, swept)
    return Report(
        version=VERSION,
        verdict=_verdict(whole, causes, intervals, facts),
        overview=_overview(facts, whole),
        causes=causes,
        split=whole,
        split_horizon_s=HORIZON_S,
        worst=intervals,
        response=answered,
        suppressed_s=facts.suppressed_s,
        mode_s=facts.mode_s,
        watched_s=facts.watched_s,
        budget=budget(facts),
        latencies=latencies(facts),
        violations=measures.violations(facts),
        flips=measures.flips(facts),
        flips_change=CHANGE,
        markout_horizons_s=HORIZONS_S,
        markouts=marked,
        sweeps=swept,
        rejections=facts.rejections,
        timeline=timeline(facts, swept, answered),
        missing=[*facts.missing, *_not_whole(whole)],
    )


def _not_whole(whole: Split) -> list[str]:
    """What the venue's position says of the fills."""
    if whole.are_fills_whole is not False:
        return []
    text = (
        f"fills: those that can be read make a position of {whole.end_position_sz:+g} at the end, "
        f"the venue says {whole.venue_position_sz:+g}; profit and its parts lack what is missing"
    )
    return [text]


def _overview(facts: Facts, whole: Split) -> Overview:
    fills, knows = facts.fills, facts.knows_fills
    fall, best, lowest = course_extremes(facts, whole)
    held = [whole.start_position_sz, *(fill.position_sz for fill in fills)]
    ladders = facts.ladders
    frac = None
    if ladders is not None and len(ladders):
        frac = float(abs(ladders["q_frac"]).max())
    refused = facts.refusal
    started = facts.named("session.started")
    told: dict[str, Any] = dict(started[0].facts) if started else {}
    tripped = facts.named("killswitch.tripped")
    outage_ns = [
        (each.until_ns or facts.ended_ns or each.from_ns) - each.from_ns for each in facts.outages
    ]
    state = facts.journal_state if facts.has_journal else "absent"
    return Overview(
        run=facts.run,
        market=facts.market,
        mode=str(facts.config.get("mode", facts.started.get("mode", "unknown"))),
        build=facts.build,
        started_ns=facts.started_ns,
        ended_ns=facts.ended_ns,
        span_s=facts.span_s,
        ended=facts.ended,
        exit_code=facts.exit_code if facts.began or refused is None else refused["exit_code"],
        began=facts.began,
        refused=None if refused is None else str(refused["error"]),
        kill=str(tripped[0].facts.get("text")) if tripped else None,
        fills=len(fills) if knows else None,
        taker_fills=sum(fill.is_taker for fill in fills) if knows else None,
        bought_sz=_sum(fill.sz for fill in fills if fill.side > 0) if knows else None,
        sold_sz=_sum(fill.sz for fill in fills if fill.side < 0) if knows else None,
        traded_usd=sum(fill.sz * fill.px for fill in fills) if knows else None,
        position_sz=whole.end_position_sz if knows else whole.venue_position_sz,
        position_max_sz=max(held, key=abs) if knows else None,
        position_max_frac=frac,
        capital_usd=capital_of(facts),
        limit_usd=told.get("q_max_usd"),
        max_drawdown_pct=fall,
        best_usd=best,
        worst_usd=lowest,
        outages=len(facts.outages),
        outage_s=sum(outage_ns) * 1e-9,
        decisions=facts.counts.get("decisions", 0),
        requests=facts.counts.get("requests", 0),
        journal=state,
    )


def _sum(sizes: Iterable[float]) -> float:
    """A sum of sizes without the dust of adding floats."""
    return round(sum(sizes), 9)


def _verdict(whole: Split, causes: list[Cause], intervals: list[Interval], facts: Facts) -> str:
    """What happened, how much and why, in a few words; no result where nothing was traded."""
    refused, begun = facts.refusal, ""
    if refused is not None:
        why = f"refused (exit code {refused['exit_code']}): {refused['error']}"
        if not facts.began:
            return f"The start was {why}. Nothing was traded: there is no result."
        begun = f"A later start here was {why}. What follows is of the run before it. "
    elif not facts.began:
        return "The run did not begin to trade, and its log does not say why: there is no result."
    return begun + _result(whole, causes, intervals, facts)


def _one_sided(facts: Facts) -> str:
    """The side and the rule that left it without quotes for longest, where that was long."""
    spells = [
        (spent_s, side, rule)
        for side, rules in facts.suppressed_s.items()
        for rule, spent_s in rules.items()
    ]
    spent_s, side, rule = max(spells, default=(0.0, "", ""))
    if facts.watched_s <= 0 or spent_s < _ONE_SIDED * facts.watched_s:
        return ""
    return f" The {side} was empty for {spent_s / facts.watched_s:.0%} of the run: {rule}."


def _result(whole: Split, causes: list[Cause], intervals: list[Interval], facts: Facts) -> str:
    """What a run that traded came to."""
    total = whole.change_usd if whole.change_usd is not None else whole.total_usd
    suspected = f"First suspect: {causes[0].title}." if causes else "No cause of trouble was found."
    suspected += _one_sided(facts)
    if total is None:
        return f"What the run made is not known. {suspected}"
    cents = round(total, 2) + 0.0
    did = (
        f"made {cents:.2f} USD"
        if cents > 0
        else f"lost {-cents:.2f} USD"
        if cents
        else "broke even"
    )
    text = f"The run {did}"
    if facts.fills and whole.parts is not None:
        effects = whole.parts.effects
        chosen = max if cents > 0 else min
        main = chosen(effects, key=lambda name: effects[name])
        text += f"; the largest part was {main} ({effects[main]:+.2f})"
    if intervals and cents < 0:
        first = intervals[0]
        text += f", the worst stretch lost {-first.change_usd:.2f} to {first.main}"
    return f"{text}. {suspected}"
