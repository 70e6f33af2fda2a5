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
withdrawals, fills that nobody told us of; it is shown and never distributed. A fill without a mid
before it captures nothing and suffers nothing: its whole profit is inventory.

Horizon: 30 s, that of the round trip which the quote is charged for (`core.estimators.adverse`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Floats

HORIZON_S: Final = 30.0
CENT_USD: Final = 0.005
"""What is less than half a cent away is the same to the cent."""
_LOTS: Final = 1e-9


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


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """
    The split of a whole run.

    Attributes:
        parts: The five parts.
        total_usd: Their sum: the profit by our own ledger.
        equity_start_usd: Account value at the first reading; None without one.
        equity_end_usd: At the last reading of the end; None where the run had no end.
        change_usd: The difference of the two, None without either.
        unexplained_usd: The change less the sum; None without a change.
        start_mark_px: Price at which what was held at the start entered.
        end_px: Price at which everything is valued at the end.
        end_is: What that price is.
        start_position_sz: Position at the start.
        end_position_sz: What fills make of it.
        venue_position_sz: What the venue's last reading says, None without one.
        taker_usd: Part of the capture that was paid for crossing the spread, as a cost.
        unmarked: Fills without a mid before them.
        last_reading: Where the run had no end: the venue's last equity less our ledger then.
    """

    parts: Parts
    total_usd: float
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
    taker_usd: float
    unmarked: int
    last_reading: dict[str, float] | None

    @property
    def is_exact(self) -> bool:
        """Whether the parts add up to the change of the venue's equity to the cent."""
        return self.unexplained_usd is not None and abs(self.unexplained_usd) < CENT_USD


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
    return Split(
        parts=parts,
        total_usd=parts.total_usd,
        equity_start_usd=equity_start,
        equity_end_usd=equity_end,
        change_usd=change,
        unexplained_usd=None if change is None else change - parts.total_usd,
        start_mark_px=start_mark,
        end_px=end_px,
        end_is=end_is,
        start_position_sz=held,
        end_position_sz=_clean(held + float(np.sum(marked.signed))),
        venue_position_sz=facts.final.position_sz if facts.final is not None else None,
        taker_usd=-float(np.sum(taken[takers])) if len(taken) else 0.0,
        unmarked=int(np.sum(~marked.has_mid)),
        last_reading=_last_reading(facts) if change is None else None,
    )


def _clean(sz: float) -> float:
    """A size without the dust of adding floats."""
    return round(sz, 9) + 0.0


def _last_reading(facts: Facts) -> dict[str, float] | None:
    """
    Our ledger against the venue's last word, where the run had no end.

    A brief reading has no mark, so ours is valued at the last one received; the two differ by what
    the mark moved between.
    """
    start = facts.start
    if start is None or start.mark_px is None or len(facts.readings) < 2:
        return None
    last = facts.readings[-1]
    held, cash = start.position_sz, -start.position_sz * start.mark_px
    for fill in facts.fills:
        if fill.at_ns <= last.at_ns:
            held += fill.side * fill.sz
            cash -= fill.side * fill.sz * fill.px + fill.fee_usd
    cash -= sum(each.cost_usd for each in facts.payments if each.at_ns <= last.at_ns)
    marks = [px for at_ns, px in facts.marks if at_ns <= last.at_ns]
    px = last.mark_px or (marks[-1] if marks else None)
    if px is None and facts.mids is not None:
        px = float(facts.mids.at([last.at_ns])[0])
    if px is None:
        return None
    ledger = start.equity_usd + cash + held * px
    return {"venue_usd": last.equity_usd, "ledger_usd": ledger, "gap_usd": last.equity_usd - ledger}


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
    facts: Facts, whole: Split, times_ns: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Course:
    """The split at each of these times, which ascend."""
    marked = mark(facts, whole.end_px)
    at = np.asarray(times_ns, np.int64)
    price = facts.mids.at(at) if facts.mids is not None else np.zeros(len(at))
    if whole.end_px is not None and len(at):
        price = price.copy()
        price[-1] = whole.end_px
    order = np.argsort(marked.at_ns, kind="stable")
    began = marked.at_ns[order]
    seen = np.searchsorted(began, at, side="right")
    signed, mid, px = marked.signed[order], marked.mid[order], marked.px[order]
    after, has = marked.after[order], marked.has_mid[order].astype(np.float64)
    due = began + round(HORIZON_S * NS_PER_S)
    settled = np.searchsorted(due, at, side="right")
    if len(at):
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
