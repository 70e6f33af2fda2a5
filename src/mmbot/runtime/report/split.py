"""
Where the profit came from: five parts that add up to the change of equity.

For a fill i of side s (buy +1, sell -1), size z and price p, with m the mid before it and m' the
mid 30 s after it (the run's last price, P, where the run ended before), and with the position Q at
the start, which entered at the venue's mark P0:

    spread capture     sum of  s (m - p) z
    adverse selection  sum of -s (m' - m) z                     positive is against us
    inventory          sum of  s (P - m') z  +  Q (P - P0)
    fees               sum of the fees that the venue charged   positive is a cost
    funding            sum of what was received less what was paid

    change of equity = capture - adverse selection + inventory - fees + funding + unexplained

The first three add up to s (P - p) z and Q (P - P0), which is the whole gross profit, so the sum
holds for any horizon. `unexplained` is what the venue's account shows beyond it: deposits,
withdrawals, fills that nobody told us of; it is shown and never distributed. Change and P are what
the venue said at the end, neither is made of the other: where one of them is not recorded, nothing
is claimed of the sum. A fill without a mid
before it captures nothing and suffers nothing: its whole profit is inventory.

Horizon: 30 s, that of the round trip which the quote is charged for (`core.estimators.adverse`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Floats, Reading

HORIZON_S: Final = 30.0
CENT_USD: Final = 0.005
"""What is less than half a cent away is the same to the cent."""
_FLAT_SZ: Final = 1e-9
"""What is less is the dust of adding floats."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """One split of a profit, USD. Adverse selection and fees are costs: positive is against us."""

    capture_usd: float
    adverse_usd: float
    inventory_usd: float
    fees_usd: float
    funding_usd: float

    @property
    def total_usd(self) -> float:
        """What the parts add up to."""
        return (
            self.capture_usd
            - self.adverse_usd
            + self.inventory_usd
            - self.fees_usd
            + self.funding_usd
        )

    @property
    def effects(self) -> dict[str, float]:
        """What each part did to the profit, by its name: costs below zero."""
        return {
            "spread capture": self.capture_usd,
            "adverse selection": -self.adverse_usd,
            "inventory": self.inventory_usd,
            "fees": -self.fees_usd,
            "funding": self.funding_usd,
        }


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """
    The split of a whole run.

    Attributes:
        parts: The five parts; None where fills, or what was held at the start, are not known.
        total_usd: Their sum: the profit by our own ledger; None without them.
        equity_start_usd: Account value at the first reading; None without one.
        equity_end_usd: At the last reading of the end; None where the run had no end.
        change_usd: The difference of the two, None without either.
        unexplained_usd: The change less the sum; None without a change, or without the mark at
            which the venue valued what was held at the end.
        start_mark_px: Price at which what was held at the start entered.
        end_px: Price at which everything is valued at the end.
        end_is: What that price is.
        start_position_sz: Position at the start.
        end_position_sz: What fills make of it.
        venue_position_sz: What the venue's last reading says, None without one.
        are_fills_whole: Whether the two are the same to half a lot; None without a reading.
        taker_usd: Part of the capture that was paid for crossing the spread, as a cost.
        unmarked: Fills without a mid before them.
        last_reading: Where the run had no end: the venue's last equity less our ledger then.
    """

    parts: Parts | None
    total_usd: float | None
    equity_start_usd: float | None
    equity_end_usd: float | None
    change_usd: float | None
    unexplained_usd: float | None
    start_mark_px: float | None
    end_px: float | None
    end_is: str
    start_position_sz: float
    end_position_sz: float
    venue_position_sz: float | None
    are_fills_whole: bool | None
    taker_usd: float
    unmarked: int
    last_reading: dict[str, float] | None

    @property
    def is_exact(self) -> bool:
        """Whether the parts add up to the change of the venue's equity to the cent."""
        return (
            self.unexplained_usd is not None
            and abs(self.unexplained_usd) < CENT_USD
            and self.are_fills_whole is not False
        )


class Marked(NamedTuple):
    """Fills as columns, each with its mids; arrays of one length, sizes signed."""

    at_ns: np.ndarray[tuple[int], np.dtype[np.int64]]
    signed: Floats
    px: Floats
    fee_usd: Floats
    mid: Floats
    after: Floats
    """The mid at the horizon, or the price at the end."""
    has_mid: np.ndarray[tuple[int], np.dtype[np.bool_]]


def end_price(facts: Facts) -> tuple[float | None, str]:
    """The price at which the run is valued at its end, and what it is."""
    if facts.final is not None and facts.final.mark_px is not None:
        return facts.final.mark_px, "the venue's mark at the last reading of the account"
    mids = facts.mids
    last_mid_ns = int(mids.at_ns[-1]) if mids is not None and len(mids.px) else None
    if facts.marks and (last_mid_ns is None or facts.marks[-1][0] >= last_mid_ns - 60 * NS_PER_S):
        return facts.marks[-1][1], "the venue's last mark that was received"
    if mids is not None and len(mids.px):
        return float(mids.px[-1]), "the last mid"
    if facts.start is not None:
        return facts.start.mark_px, "the venue's mark at the first reading"
    return None, "unknown"


def mark(facts: Facts, end_px: float | None) -> Marked:
    """Every fill with the mid before it and the one at the horizon."""
    fills = facts.fills
    at_ns = np.array([fill.at_ns for fill in fills], np.int64)
    signed = np.array([fill.side * fill.sz for fill in fills], np.float64)
    px = np.array([fill.px for fill in fills], np.float64)
    fee_usd = np.array([fill.fee_usd for fill in fills], np.float64)
    has_mid = np.array([fill.mid_px is not None for fill in fills], np.bool_)
    mid = np.array([fill.mid_px or fill.px for fill in fills], np.float64)
    after = mid.copy()
    if len(fills) and facts.mids is not None and len(facts.mids.px):
        due_ns = at_ns + round(HORIZON_S * NS_PER_S)
        after = facts.mids.at(due_ns)
        if end_px is not None:
            after = np.where(due_ns > _end_ns(facts), end_px, after)
        after = np.where(has_mid, after, mid)
    return Marked(at_ns, signed, px, fee_usd, mid, after, has_mid)


def _end_ns(facts: Facts) -> int:
    if facts.final is not None:
        return facts.final.at_ns
    return facts.ended_ns or 0


def split(facts: Facts) -> Split:
    """The split of a run."""
    end_px, end_is = end_price(facts)
    marked = mark(facts, end_px)
    start = facts.start
    start_mark = start.mark_px if start is not None else None
    held = start.position_sz if start is not None else 0.0
    px = end_px if end_px is not None else 0.0
    carried = held * (px - start_mark) if start_mark is not None and end_px is not None else 0.0
    parts = Parts(
        capture_usd=float(np.sum(marked.signed * (marked.mid - marked.px))),
        adverse_usd=float(-np.sum(marked.signed * (marked.after - marked.mid))),
        inventory_usd=float(np.sum(marked.signed * (px - marked.after))) + carried,
        fees_usd=float(np.sum(marked.fee_usd)),
        funding_usd=-sum(each.cost_usd for each in facts.payments),
    )
    takers = np.array([fill.is_taker for fill in facts.fills], np.bool_)
    taken = marked.signed * (marked.mid - marked.px)
    equity_start = start.equity_usd if start is not None else None
    equity_end = facts.final.equity_usd if facts.final is not None else None
    change = None
    if equity_start is not None and equity_end is not None:
        change = equity_end - equity_start
    is_known = _is_known(facts)
    end_sz = _clean(held + float(np.sum(marked.signed)))
    venue_sz = facts.final.position_sz if facts.final is not None else None
    has_mark = facts.final is not None and facts.final.mark_px is not None
    unexplained = None
    if is_known and change is not None and (has_mark or not end_sz):
        unexplained = change - parts.total_usd
    return Split(
        parts=parts if is_known else None,
        total_usd=parts.total_usd if is_known else None,
        equity_start_usd=equity_start,
        equity_end_usd=equity_end,
        change_usd=change,
        unexplained_usd=unexplained,
        start_mark_px=start_mark,
        end_px=end_px,
        end_is=end_is,
        start_position_sz=held,
        end_position_sz=end_sz,
        venue_position_sz=venue_sz,
        are_fills_whole=None
        if venue_sz is None or not is_known
        else abs(end_sz - venue_sz) < _half_a_lot(facts),
        taker_usd=-float(np.sum(taken[takers])) if len(taken) else 0.0,
        unmarked=int(np.sum(~marked.has_mid)),
        last_reading=_last_reading(facts) if change is None else None,
    )


def _is_known(facts: Facts) -> bool:
    """Whether fills are known, and what was held before the first of them had a price."""
    if not facts.knows_fills:
        return False
    if facts.start is not None:
        return facts.start.mark_px is not None or not facts.start.position_sz
    first = facts.fills[0] if facts.fills else None
    return first is not None and abs(first.position_sz - first.side * first.sz) < _FLAT_SZ


def _half_a_lot(facts: Facts) -> float:
    """Sizes that differ by less are the same."""
    return _FLAT_SZ if facts.sz_decimals is None else 0.5 * 10.0**-facts.sz_decimals


def _clean(sz: float) -> float:
    """A size without the dust of adding floats."""
    return round(sz, 9) + 0.0


def _last_reading(facts: Facts) -> dict[str, float] | None:
    """
    Our ledger against the venue's last word, where the run had no end.

    A brief reading has no mark, so ours is valued at the last one received; the two differ by what
    the mark moved between.
    """
    gaps = ledger_gaps(facts, facts.readings[-1:]) if len(facts.readings) > 1 else None
    if gaps is None:
        return None
    venue, gap = facts.readings[-1].equity_usd, float(gaps[0])
    return {"venue_usd": venue, "ledger_usd": venue - gap, "gap_usd": gap}


def ledger_gaps(facts: Facts, readings: list[Reading]) -> Floats | None:
    """
    The venue's equity less our ledger at each of these readings, USD; None where it cannot be said.

    A reading without a mark is valued at the last one received before it, else at the mid.
    """
    start = facts.start
    if not (facts.knows_fills and readings) or start is None or start.mark_px is None:
        return None
    at_ns = np.array([each.at_ns for each in readings], np.int64)
    px = np.array([np.nan if it.mark_px is None else it.mark_px for it in readings], np.float64)
    if facts.marks:
        known_ns = np.array([at for at, _ in facts.marks], np.int64)
        known = np.array([mark_px for _, mark_px in facts.marks], np.float64)
        last = np.searchsorted(known_ns, at_ns, side="right") - 1
        px = np.where(np.isnan(px) & (last >= 0), known[np.maximum(last, 0)], px)
    if facts.mids is not None:
        px = np.where(np.isnan(px), facts.mids.at(at_ns), px)
    if np.isnan(px).any():
        return None
    seen = np.searchsorted([fill.at_ns for fill in facts.fills], at_ns, side="right")
    paid = np.searchsorted([each.at_ns for each in facts.payments], at_ns, side="right")
    signed = np.array([fill.side * fill.sz for fill in facts.fills], np.float64)
    spent = np.array([it.side * it.sz * it.px + it.fee_usd for it in facts.fills], np.float64)
    costs = np.array([each.cost_usd for each in facts.payments], np.float64)
    held = start.position_sz + _sums(signed)[seen]
    cash = -start.position_sz * start.mark_px - _sums(spent)[seen] - _sums(costs)[paid]
    equity = np.array([each.equity_usd for each in readings], np.float64)
    return np.asarray(equity - (start.equity_usd + cash + held * px), np.float64)


class Course(NamedTuple):
    """
    The split as it grew, one row for each time, USD; costs are positive, as in `Parts`.

    Valued at the mid but for the last row, which is the split of the run.
    """

    at_ns: np.ndarray[tuple[int], np.dtype[np.int64]]
    capture_usd: Floats
    adverse_usd: Floats
    inventory_usd: Floats
    fees_usd: Floats
    funding_usd: Floats
    position_sz: Floats

    @property
    def at_s(self) -> Floats:
        """The times in seconds since the epoch."""
        return self.at_ns.astype(np.float64) / NS_PER_S

    @property
    def total_usd(self) -> Floats:
        """Profit since the start."""
        return (
            self.capture_usd
            - self.adverse_usd
            + self.inventory_usd
            - self.fees_usd
            + self.funding_usd
        )


def course(
    facts: Facts,
    whole: Split,
    times_ns: np.ndarray[tuple[int], np.dtype[np.int64]],
    *,
    has_end: bool = True,
) -> Course:
    """The split at each of these times, which ascend; the last is the end of the run or is not."""
    marked = mark(facts, whole.end_px)
    at = np.asarray(times_ns, np.int64)
    price = facts.mids.at(at) if facts.mids is not None else np.zeros(len(at))
    if has_end and whole.end_px is not None and len(at):
        price = price.copy()
        price[-1] = whole.end_px
    order = np.argsort(marked.at_ns, kind="stable")
    began = marked.at_ns[order]
    seen = np.searchsorted(began, at, side="right")
    signed, mid, px = marked.signed[order], marked.mid[order], marked.px[order]
    after, has = marked.after[order], marked.has_mid[order].astype(np.float64)
    due = began + round(HORIZON_S * NS_PER_S)
    settled = np.searchsorted(due, at, side="right")
    if has_end and len(at):
        settled[-1] = len(due)
        seen[-1] = len(began)
    lots, lots_mid = _sums(signed * has), _sums(signed * mid * has)
    open_lots = lots[seen] - lots[settled]
    open_mid = lots_mid[seen] - lots_mid[settled]
    adverse = -_sums(signed * (after - mid))[settled] - (open_lots * price - open_mid)
    capture = _sums(signed * (mid - px))[seen]
    held = whole.start_position_sz + _sums(signed)[seen]
    gross = _sums(signed)[seen] * price - _sums(signed * px)[seen]
    if whole.start_mark_px is not None:
        gross = gross + whole.start_position_sz * (price - whole.start_mark_px)
    paid_at = np.array([each.at_ns for each in facts.payments], np.int64)
    paid = _sums(np.array([each.cost_usd for each in facts.payments], np.float64))
    return Course(
        at_ns=at,
        capture_usd=capture,
        adverse_usd=adverse,
        inventory_usd=gross - capture + adverse,
        fees_usd=_sums(marked.fee_usd[order])[seen],
        funding_usd=-paid[np.searchsorted(paid_at, at, side="right")],
        position_sz=held,
    )


def _sums(values: Floats) -> Floats:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
