"""The rules of suspicion over facts made by hand: what is named, and what a sound run must bear."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.causes import Cause
from mmbot.runtime.report.causes.base import Case
from mmbot.runtime.report.causes.economics import tight
from mmbot.runtime.report.facts import Facts, Fill, Happening, Ladders, Mids, Outage, Reading
from mmbot.runtime.report.fromlog import NAMES
from mmbot.runtime.report.measures import response
from mmbot.runtime.report.page import page
from mmbot.runtime.report.plots import Line, plot
from mmbot.runtime.report.report import report
from mmbot.runtime.report.split import split

WEEK_S = 7 * 86_400
PX = 100.0


def fill(at_s: float, side: int, px: float, **changes: Any) -> Fill:
    """One of a coin at this second."""
    at_ns = round(at_s * NS_PER_S)
    made = Fill(
        at_ns=at_ns,
        venue_ms=at_ns // 1_000_000,
        side=side,
        px=px,
        sz=1.0,
        fee_usd=px * 1.5e-4,
        position_sz=0.0,
        mid_px=px,
        rung=1,
        tid=at_ns,
        oid=at_ns,
        is_taker=False,
        is_forced=False,
        where="record 1",
    )
    return made._replace(**changes)


def facts_of(span_s: float, **changes: Any) -> Facts:
    """A run of so many seconds at a price that stands."""
    chosen = {
        "run": "by hand",
        "started_ns": 0,
        "ended_ns": round(span_s * NS_PER_S),
        "start": Reading(0, 0.0, 1000.0, PX, 1.5, ""),
        "mids": Mids(np.array([0], np.int64), np.array([PX])),
        **changes,
    }
    return Facts(**chosen)


def note(at_s: float, event: str, **facts: Any) -> Happening:
    return Happening(round(at_s * NS_PER_S), event, "warning", facts, "record 2")


def causes(facts: Facts) -> dict[str, Cause]:
    return {cause.name: cause for cause in report(facts).causes}


def disturbed(span_s: float) -> Facts:
    """Two lost connections, stale prices, no answers, refusals, a slow disk, a spent budget."""
    outages = [Outage(at * NS_PER_S, (at + 2) * NS_PER_S, "closed", "record 3") for at in (60, 200)]
    notes = [
        note(61, "book.stale", reason="stale book"),
        note(62, "clock.stepped", step_s=0.6),
        note(63, "journal.late", lag_s=1.0),
        *(note(64 + i, "order.unanswered", request="place", text="") for i in range(3)),
        *(
            note(70 + i, "order.rejected", request="place", reason="margin", text="no")
            for i in range(10)
        ),
    ]
    spells = {"stale book": 6.0, "journal late": 3.0, "oracle stands": 6.0}
    return facts_of(
        span_s,
        outages=outages,
        happenings=sorted(notes),
        suppressed_s={"bid": spells, "ask": spells},
        feed_gap_s=[(60 * NS_PER_S, 6.0)],
        counts={"spent_ms": 6000},
    )


def test_what_names_a_run_of_minutes_is_nothing_in_a_week() -> None:
    """The same handful of disturbances: a tenth of a short run, and no part of a long one."""
    few, many = causes(disturbed(360)), causes(disturbed(WEEK_S))

    wanted = {
        "disconnects",
        "feed",
        "unanswered",
        "rejects",
        "budget",
        "clock",
        "journal",
        "standstill",
    }
    assert wanted <= few.keys()
    assert many == {}


def test_refusals_without_a_journal_are_no_share_of_anything() -> None:
    """How many requests there were, only the journal counts."""
    found = causes(disturbed(360))

    assert "%" not in found["rejects"].text
    assert [each.what for each in found["rejects"].evidence] == ["refused", "of them margin"]
    assert "left at the least" not in [each.what for each in found["budget"].evidence]


def walk(rng: np.random.Generator, span_s: int, every_s: int, side_s: int, off_bps: float) -> Facts:
    """Fills at an edge of `off_bps` before a fee of 1.5, in a price without memory."""
    px = PX * np.exp(np.cumsum(rng.normal(0.0, 2.0, span_s + 60)) * 1e-4)
    sides = rng.choice([-1, 1], span_s // side_s + 1)
    fills = []
    for at_s in range(0, span_s, every_s):
        side, mid = int(sides[at_s // side_s]), float(px[at_s])
        fills.append(fill(at_s, side, mid * (1 - side * off_bps * 1e-4), mid_px=mid))
    mids = Mids(np.arange(span_s + 60, dtype=np.int64) * NS_PER_S, px)
    return facts_of(span_s, fills=fills, mids=mids)


@pytest.mark.parametrize(("off_bps", "least", "most"), [(1.5, 0, 1), (-0.5, 95, 100)])
def test_quotes_that_break_even_are_not_called_tight(off_bps: float, least: int, most: int) -> None:
    """Fills of one side that wait for the same price are not so many proofs."""
    rng = np.random.default_rng(7)
    named = sum(bool(tight(case_of(walk(rng, 1500, 5, 120, off_bps)))) for _ in range(100))
    assert least <= named <= most


def case_of(facts: Facts) -> Case:
    return Case(facts, split(facts), [], [], response(facts))


def quoted_with(fee_bps: Callable[[Any], Any]) -> Ladders:
    at_s = np.arange(360.0)
    columns = {name: np.zeros(len(at_s)) for name in NAMES}
    columns["at_ns"] = at_s * 1e9
    columns["fee_bps"] = fee_bps(at_s)
    columns["q_max_sz"] = np.full(len(at_s), 1e6)
    columns["mid_px"] = np.full(len(at_s), PX)
    return Ladders(columns, [None] * len(at_s), [None] * len(at_s))


@pytest.mark.parametrize(("later_bps", "is_named"), [(1.2, False), (1.5, True)])
def test_a_tier_that_the_quotes_followed_is_no_wrong_fee(later_bps: float, is_named: bool) -> None:
    """From half time on 1.2 bps are charged, of larger fills."""
    fills = [
        fill(at, 1 if i % 2 else -1, PX, sz=sz, fee_usd=sz * PX * bps * 1e-4)
        for i, (at, sz, bps) in enumerate(
            [(10, 1.0, 1.5), (20, 1.0, 1.5), (200, 5.0, 1.2), (210, 5.0, 1.2)]
        )
    ]
    ladders = quoted_with(lambda at_s: np.where(at_s < 180, 1.5, later_bps))

    found = causes(facts_of(360, fills=fills, ladders=ladders))

    assert ("fee" in found) is is_named


def test_a_liquidation_is_told_as_one() -> None:
    """Nobody else traded, and the position did not differ from our fills."""
    trip = note(
        21, "killswitch.tripped", trigger="liquidation", value=3.0, limit=0.0, unit="coins",
        text="the venue liquidated 3 coins",
    )  # fmt: skip
    forced = fill(20, -1, 90.0, sz=3.0, is_forced=True, position_sz=0.0)
    bought = fill(10, 1, PX, sz=3.0, position_sz=3.0)

    found = causes(facts_of(360, fills=[bought, forced], happenings=[trip]))

    assert next(iter(found)) == "liquidated"
    assert "position" not in found
    assert found["kill:liquidation"].follows == "liquidated"
    assert "270.00 USD" in found["liquidated"].text


def test_a_trip_by_the_balance_without_an_end_invents_no_amount() -> None:
    """What the account had at the end nobody knows; what the switch saw is known."""
    trip = note(
        21, "killswitch.tripped", trigger="balance", value=35.0, limit=10.0, unit="usd",
        text="the account differs from our ledger by 35.00 USD",
    )  # fmt: skip

    cause = causes(facts_of(360, happenings=[trip]))["funds"]

    assert "0.00 USD of" not in cause.text
    assert "35.00 USD" in cause.text
    assert [each.value for each in cause.evidence] == [35.0]


def test_money_left_where_the_ledger_says_so_and_not_where_the_price_moved() -> None:
    """Ten coins held, the price up by six: equity jumps by 60, and 35 are withdrawn later."""
    readings = [
        Reading(0, 0.0, 1000.0, PX, 1.5, "start"),
        Reading(100 * NS_PER_S, 10.0, 1060.0, 106.0, 1.5, "the price rose"),
        Reading(200 * NS_PER_S, 10.0, 1025.0, 106.0, 1.5, "the money left"),
    ]
    bought = fill(10, 1, PX, sz=10.0, fee_usd=0.0, position_sz=10.0)

    found = causes(
        facts_of(360, fills=[bought], readings=readings, start=readings[0], final=readings[-1])
    )

    assert found["funds"].where == "the money left"
    assert "35.00 USD" in found["funds"].text


@pytest.mark.parametrize(("empty_s", "is_told"), [(80.0, True), (20.0, False)])
def test_a_side_that_was_empty_for_long_is_in_the_first_sentence(
    empty_s: float, is_told: bool
) -> None:
    """A sound run without a bid for a third of its time has no trouble, and a reader must know."""
    spells = {"bid": {"swept again": empty_s, "no link": 1.4}, "ask": {"no link": 1.4}}
    facts = facts_of(240.0, suppressed_s=spells, watched_s=240.0)
    said = "The bid was empty for 33% of the run: swept again."
    assert (said in page(facts, report(facts))) is is_told


def test_a_side_that_may_still_reduce_is_not_called_empty() -> None:
    """It closed a short while it was off: only what adds is gone for the whole of that time."""
    swept = note(60, "side.off", side="buy", sweeps=2, within_s=9.0, off_s=300.0)
    facts = facts_of(240.0, happenings=[swept])
    shown = page(facts, report(facts))
    assert "the buy side adds nothing for 300 s: 2 sweeps" in shown
    assert "side empty" not in shown


def test_a_small_plot_says_how_much_its_term_was() -> None:
    """Least, greatest and zero: a skew of 2 bps must not look like one of 20."""
    at_s = np.arange(5.0)
    line = Line("skew", at_s, np.array([-1.25, 0.5, 3.5, 18.75, 2.0]), "blue")
    shown = plot("skew", [line], span=(0.0, 4.0), unit="bps", size="small", has_zero=True)
    axis = shown.partition('<div class="ys">')[2].partition("</div>")[0]
    assert re.findall(r">([^<]+)</span>", axis) == ["-1.25", "18.75"]
    level = plot("skew", [line._replace(values=at_s - 2.0)], span=(0.0, 4.0), unit="bps",
                 size="small", has_zero=True)  # fmt: skip
    axis = level.partition('<div class="ys">')[2].partition("</div>")[0]
    assert re.findall(r">([^<]+)</span>", axis) == ["-2", "0", "2"]


def test_where_nothing_lost_nothing_is_said_to_be_shaded() -> None:
    """A caption of what is not there sends a reader looking for it."""
    facts = facts_of(240.0)
    shown = page(facts, report(facts))
    assert "No stretch lost." in shown
    assert "Shaded" not in shown
