"""A run in numbers: the same arithmetic for the real one and for every simulated one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mmbot.core.types import NS_PER_S
from mmbot.runtime.report.facts import Facts, Payment, Reading
from mmbot.runtime.report.facts import Fill as Booked
from mmbot.runtime.report.split import split
from mmbot.runtime.whatif.market import Market
from mmbot.runtime.whatif.simulate import Simulation


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run did.

    Money is split as in a report (`runtime.report.split`): profit = capture - adverse + inventory -
    fees + funding, valued at one price for all runs that are compared. Adverse selection and fees
    are costs. The averages are over the time from the first reading of the account to the end.
    """

    pnl_usd: float
    capture_usd: float
    adverse_usd: float
    inventory_usd: float
    fees_usd: float
    funding_usd: float
    fills: int
    volume_usd: float
    position_mean_sz: float
    """Of the position's size without its sign, over time."""
    position_max_sz: float
    position_end_sz: float
    """With its sign, long positive."""
    two_sided_frac: float
    requests: int
    kill: str | None = None
    left: str | None = None
    """Why it ended of itself, without its switch."""
    ended_s: float | None = None
    """When it ended, where that was before the end of the others: what it held it holds on to."""

    @property
    def is_stranded(self) -> bool:
        """Whether it ended early with a position, which a run closes and a simulation cannot."""
        return self.ended_s is not None and self.position_end_sz != 0.0


NAMES = tuple(name for name in Figures.__struct_fields__ if name not in ("kill", "left", "ended_s"))
"""The figures that can be subtracted."""


def real(market: Market) -> Figures:
    """What the run itself did, by its journal."""
    done = market.real
    return _figures(
        market, done.fills, done.payments, done.requests, done.two_sided_ns, kill=done.kill
    )


def simulated(market: Market, run: Simulation) -> Figures:
    """What a simulated run did."""
    has_left = run.kill is None and run.is_leaving
    found = _figures(
        market,
        run.booked,
        run.payments,
        sum(run.sent.values()),
        run.quoted_ns,
        kill=None if run.kill is None else run.kill.text,
    )
    if run.kill is None and not has_left:
        return found
    return msgspec.structs.replace(
        found,
        left=run.end_reason if has_left else None,
        ended_s=round((run.ended_ns - market.start_ns) / NS_PER_S, 3),
    )


def difference(one: Figures, other: Figures) -> dict[str, float]:
    """`one` less `other`, by name."""
    return {name: getattr(one, name) - getattr(other, name) for name in NAMES}


def _figures(
    market: Market,
    fills: Sequence[Booked],
    payments: Sequence[Payment],
    requests: int,
    two_sided_ns: int,
    *,
    kill: str | None,
) -> Figures:
    first, instrument = market.first, market.started.instrument
    start_sz = instrument.sz(first.position_lots)
    end_px = market.end_px
    parts = split(
        Facts(
            run="",
            fills=list(fills),
            payments=list(payments),
            mids=market.mids,
            start=Reading(market.start_ns, start_sz, first.equity_usd, first.mark_px, None, ""),
            final=Reading(market.end_ns, 0.0, 0.0, end_px, None, ""),
        )
    ).parts
    assert parts is not None, "fills and the first reading are given"
    span_ns = max(1, market.end_ns - market.start_ns)
    mean, most = _held(market, start_sz, fills)
    end_sz = start_sz + sum(fill.side * fill.sz for fill in fills)
    return Figures(
        pnl_usd=parts.total_usd,
        capture_usd=parts.capture_usd,
        adverse_usd=parts.adverse_usd,
        inventory_usd=parts.inventory_usd,
        fees_usd=parts.fees_usd,
        funding_usd=parts.funding_usd,
        fills=len(fills),
        volume_usd=sum(fill.sz * fill.px for fill in fills),
        position_mean_sz=mean,
        position_max_sz=most,
        # Without the dust of adding floats.
        position_end_sz=round(end_sz, 9) + 0.0,
        two_sided_frac=two_sided_ns / span_ns,
        requests=requests,
        kill=kill,
    )


def _held(market: Market, start_sz: float, fills: Sequence[Booked]) -> tuple[float, float]:
    """Mean over time, and most, of the position without its sign."""
    held, since_ns = abs(start_sz), market.start_ns
    most, area = held, 0.0
    size = start_sz
    for fill in fills:
        at_ns = min(max(fill.at_ns, since_ns), market.end_ns)
        area += held * (at_ns - since_ns)
        size += fill.side * fill.sz
        held, since_ns = abs(size), at_ns
        most = max(most, held)
    area += held * (market.end_ns - since_ns)
    return area / max(1, market.end_ns - market.start_ns), round(most, 9)
