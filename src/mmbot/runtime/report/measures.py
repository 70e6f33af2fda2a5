"""What can be measured of a run beyond its profit: markouts, sweeps, answers to trends, flips."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from mmbot.core.book import GAP_MS
from mmbot.core.markout import HORIZONS_S
from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Fill, Floats

_FLIP_FROM: Final = 0.1
_FLIP_TO: Final = 0.3
_FLIP_S: Final = 180.0
_URGENT: Final = 1.0
_REQUIRED: Final = 0.2
"""Least share of an urgent trend that the shift must answer (design, section 3)."""
_OPPOSED_S: Final = 5.0
_FORGIVEN_S: Final = 3.0
_FADED: Final = 12.0
"""Time after which the answer has faded in, s; ten by default."""


class Markout(msgspec.Struct, frozen=True, kw_only=True):
    """
    Adverse move after fills of one group, bps of the mid, against us positive.

    One value for each horizon of `HORIZONS_S`, weighted by notional; None where no fill is that
    old. `capture_bps` is the distance at the fill, `fee_bps` the fee.
    """

    group: str
    fills: int
    notional_usd: float
    capture_bps: float
    fee_bps: float
    adverse_bps: tuple[float | None, ...]


def markouts(facts: Facts) -> list[Markout]:
    """
    Of all fills, by side and by rung; fills that took, or were forced, apart.

    The move is that of `core.markout`: from the mid before the fill to the last one at or before
    its horizon, by the venue's time of fill and price; an outage marks nothing. Without a journal
    the log's own times stand for the venue's.
    """
    fills = [fill for fill in facts.fills if fill.mid_px is not None]
    groups: dict[str, list[Fill]] = {}
    for fill in fills:
        groups.setdefault("all", []).append(fill)
        if fill.is_taker or fill.is_forced:
            groups.setdefault("taker", []).append(fill)
            continue
        groups.setdefault("buys" if fill.side > 0 else "sells", []).append(fill)
        if fill.rung is not None:
            groups.setdefault(f"rung {fill.rung}", []).append(fill)
    names = sorted(groups, key=lambda name: (name.startswith("rung"), len(name), name))
    return [_markout(name, groups[name], facts) for name in names]


def _after(
    facts: Facts, fills: list[Fill], horizon_s: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Floats]:
    """Which fills are old enough to be marked at a horizon, and the mids of these there."""
    venue, mids = facts.venue_mids, facts.mids
    if venue is not None:
        due_ms = np.array([fill.venue_ms for fill in fills], np.int64) + horizon_s * 1000
        is_old = due_ms < venue.until_ms
        for from_ms, until_ms in venue.gaps_ms:
            is_old &= (due_ms <= from_ms + GAP_MS) | (due_ms >= until_ms)
        return is_old, venue.at(due_ms[is_old])
    if mids is None or not len(mids.px):
        # A log without quotes has fills with their mids, and none after them.
        return np.zeros(len(fills), np.bool_), np.zeros(0)
    due_ns = np.array([fill.at_ns for fill in fills], np.int64) + horizon_s * NS_PER_S
    last_ns = max(int(mids.at_ns[-1]), facts.ended_ns or 0)
    is_old = due_ns <= last_ns
    return is_old, mids.at(due_ns[is_old])


def _markout(group: str, fills: list[Fill], facts: Facts) -> Markout:
    side = np.array([fill.side for fill in fills], np.float64)
    mid = np.array([fill.mid_px for fill in fills], np.float64)
    px = np.array([fill.px for fill in fills], np.float64)
    usd = np.array([fill.sz for fill in fills], np.float64) * mid
    adverse: list[float | None] = []
    for horizon_s in HORIZONS_S:
        is_old, after = _after(facts, fills, horizon_s)
        if not is_old.any():
            adverse.append(None)
            continue
        cost = -side[is_old] * (after - mid[is_old]) / mid[is_old] * 1e4
        adverse.append(float(np.average(cost, weights=usd[is_old])))
    return Markout(
        group=group,
        fills=len(fills),
        notional_usd=float(usd.sum()),
        capture_bps=float(np.sum(side * (mid - px) / mid * usd) / usd.sum() * 1e4),
        fee_bps=float(sum(fill.fee_usd for fill in fills) / usd.sum() * 1e4),
        adverse_bps=tuple(adverse),
    )


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """Several of our orders of one side, taken in one block of the venue."""

    at_ns: int
    side: str
    fills: int
    sz: float
    added_sz: float
    """By how much it made the position larger; nothing where it only reduced."""
    usd: float
    depth_bps: float
    """From the first to the last price."""
    where: str


def sweeps(facts: Facts) -> list[Sweep]:
    """Three fills or more of one side with one venue time."""
    groups: dict[tuple[int, int], list[Fill]] = {}
    for fill in facts.fills:
        if not fill.is_taker and not fill.is_forced:
            groups.setdefault((fill.venue_ms, fill.side), []).append(fill)
    found = []
    for (_, side), fills in groups.items():
        if len({fill.oid for fill in fills}) < 3:
            continue
        prices = [fill.px for fill in fills]
        found.append(
            Sweep(
                at_ns=fills[0].at_ns,
                side="buy" if side > 0 else "sell",
                fills=len(fills),
                sz=sum(fill.sz for fill in fills),
                added_sz=_added(fills),
                usd=sum(fill.sz * fill.px for fill in fills),
                depth_bps=(max(prices) - min(prices)) / prices[0] * 1e4,
                where=fills[0].where,
            )
        )
    return found


def _added(fills: list[Fill]) -> float:
    """What fills of one side added to the size of the position."""
    before = fills[0].position_sz - fills[0].side * fills[0].sz
    after = fills[-1].position_sz
    return max(0.0, abs(after) - (abs(before) if before * after > 0 else 0.0))


class Opposed(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch in which the position stood against an urgent trend."""

    from_ns: int
    until_ns: int
    position_frac: float
    """Largest, of the limit, signed."""
    trend_bps: float
    response_bps: float
    ratio: float | None
    """Share of the trend that the shift answered, median once faded in."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """
    How opposed trends were answered.

    `ratio` is the median share of the trend's bps that the quotes were shifted by, over the seconds
    in which the position was urgently opposed for long enough for the answer to have faded in;
    `met` the share of those seconds in which it was `required` or at its cap.
    """

    opposed_s: float
    urgent_s: float
    ratio: float | None
    required: float
    met: float | None
    intervals: list[Opposed]


def response(facts: Facts) -> Response:
    """The opposed-trend response of a run."""
    ladders = facts.ladders
    if ladders is None or len(ladders) < 2:
        return Response(
            opposed_s=0.0, urgent_s=0.0, ratio=None, required=_REQUIRED, met=None, intervals=[]
        )
    at_s = ladders.at_s
    span = ladders.spans_s
    is_opposed = ladders["is_opposed"] > 0
    is_urgent = is_opposed & (ladders["urgency"] > _URGENT)
    trend, answer = np.abs(ladders["trend_bps"]), np.abs(ladders["response_bps"])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(trend > 1e-9, answer / trend, np.nan)
    intervals: list[Opposed] = []
    settled = np.zeros(len(at_s), np.bool_)
    for a, b in _runs(is_urgent, at_s, _FORGIVEN_S * ladders.every):
        since = at_s[a : b + 1] - at_s[a]
        settled[a : b + 1] = is_urgent[a : b + 1] & (since >= _FADED)
        if at_s[b] - at_s[a] < _OPPOSED_S:
            continue
        peak = a + int(np.argmax(np.abs(ladders["q_frac"][a : b + 1])))
        faded = settled[a : b + 1]
        intervals.append(
            Opposed(
                from_ns=int(ladders["at_ns"][a]),
                until_ns=int(ladders["at_ns"][b]),
                position_frac=float(ladders["q_frac"][peak]),
                trend_bps=float(np.nan_to_num(ladders["trend_bps"][peak])),
                response_bps=float(np.nan_to_num(ladders["response_bps"][peak])),
                ratio=float(np.nanmedian(ratio[a : b + 1][faded])) if faded.any() else None,
            )
        )
    chosen = ratio[settled]
    is_met = (chosen >= _REQUIRED - 1e-9) | (ladders["is_response_capped"][settled] > 0)
    return Response(
        opposed_s=float(span[is_opposed].sum()),
        urgent_s=float(span[is_urgent].sum()),
        ratio=float(np.nanmedian(chosen)) if len(chosen) else None,
        required=_REQUIRED,
        met=float(np.mean(is_met)) if len(chosen) else None,
        intervals=intervals,
    )


def _runs(
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]], at_s: Floats, forgiven_s: float
) -> list[tuple[int, int]]:
    """First and last index of each stretch of a mask, short pauses forgiven."""
    index = np.flatnonzero(mask)
    if not len(index):
        return []
    cut = np.flatnonzero(np.diff(at_s[index]) > forgiven_s)
    firsts = np.concatenate([[0], cut + 1])
    lasts = np.concatenate([cut, [len(index) - 1]])
    return [(int(index[a]), int(index[b])) for a, b in zip(firsts, lasts, strict=True)]


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A position that went from under a tenth of its limit to over three within three minutes."""

    at_ns: int
    until_ns: int
    position_sz: float
    position_frac: float
    bid_px: float | None
    ask_px: float | None
    mid_px: float
    bid_pulled: str | None
    ask_pulled: str | None
    reached_sz: float
    reached_frac: float
    later_ns: int | None = None
    """Three minutes after the beginning, or the end of the run; None where none was played."""
    later_sz: float | None = None
    """Position then; `unchanged_sz` and `changed_sz` are those of `runtime.whatif.flips`."""
    unchanged_sz: float | None = None
    changed_sz: float | None = None


def flips(facts: Facts) -> list[Flip]:
    """Windows in which |x| falls under 0.1 and is above 0.3 within three minutes."""
    ladders = facts.ladders
    if ladders is None:
        return []
    at_ns, x = ladders["at_ns"], ladders["q_frac"]
    size = np.abs(x)
    found: list[Flip] = []
    low: int | None = None
    was_above = False
    for i in range(len(size)):
        if size[i] < _FLIP_FROM:
            if was_above or low is None:
                low = i
            was_above = False
            continue
        was_above = True
        if low is None or size[i] <= _FLIP_TO:
            continue
        if (at_ns[i] - at_ns[low]) <= _FLIP_S * NS_PER_S and low > 0:
            found.append(_flip(facts, low, i))
        low = None
    return found


def _flip(facts: Facts, low: int, high: int) -> Flip:
    ladders = facts.ladders
    assert ladders is not None

    def known(name: str) -> float | None:
        value = float(ladders[name][low])
        return None if np.isnan(value) else value

    return Flip(
        at_ns=int(ladders["at_ns"][low]),
        until_ns=int(ladders["at_ns"][high]),
        position_sz=float(ladders["position_sz"][low]),
        position_frac=float(ladders["q_frac"][low]),
        bid_px=known("touch_bid_px"),
        ask_px=known("touch_ask_px"),
        mid_px=float(ladders["mid_px"][low]),
        bid_pulled=ladders.bid_pulled[low],
        ask_pulled=ladders.ask_pulled[low],
        reached_sz=float(ladders["position_sz"][high]),
        reached_frac=float(ladders["q_frac"][high]),
    )


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A term of the quote that did not do what it must, all notes of one kind together."""

    term: str
    where: str
    kind: str
    times: int
    first_ns: int
    text: str
    journal: str


def violations(facts: Facts) -> list[Violation]:
    """What the vitals said, most often first."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    notes = facts.named("vitals.violated")
    for i, note in enumerate(notes):
        told = note.facts
        key = (str(told.get("term")), str(told.get("where")), str(told.get("kind")))
        groups.setdefault(key, []).append(i)
    found = [
        Violation(
            term=term,
            where=where,
            kind=kind,
            times=len(group),
            first_ns=notes[group[0]].at_ns,
            text=str(notes[group[0]].facts.get("text")),
            journal=notes[group[0]].where,
        )
        for (term, where, kind), group in groups.items()
    ]
    return sorted(found, key=lambda each: -each.times)
