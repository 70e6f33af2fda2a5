"""The margin behind an isolated position, followed from reading to reading by our own fills."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.rig import HYPE
from mmbot.core.events import AccountRead, Fill, Isolated
from mmbot.core.margin import Margin
from mmbot.core.position import Position
from mmbot.core.risk import Risk, RiskParams
from mmbot.core.triggers import KillParams
from mmbot.core.types import NS_PER_S, USD_PER_TICK_LOT, Side

PX = 26_000
"""Ticks: the price of every fill and the mark, so that no profit blurs the figures."""
LOTS = 1000
LEVERAGE = 10
ADDED_USD = 50.0


def filled(position: Position, number: int, lots: int) -> None:
    """Book a fill of our own, signed."""
    side = Side.BUY if lots > 0 else Side.SELL
    assert position.apply(
        Fill(
            recv_ns=number * NS_PER_S,
            venue_ms=number * 1000,
            tid=number,
            oid=number,
            cloid=None,
            side=side,
            px_ticks=PX,
            sz_lots=abs(lots),
            fee_usd=0.0,
            closed_pnl_usd=0.0,
            start_position_lots=position.lots,
            is_taker=False,
        )
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ((), 1.0),
        ((LOTS,), 1.0),
        ((-LOTS // 4,), 0.75),
        ((-2 * LOTS,), 0.0),
        ((-3 * LOTS, 3 * LOTS), 0.0),
        ((-LOTS // 2, LOTS // 2), 0.5),
    ],
    ids=["held", "doubled", "a quarter closed", "turned over", "turned twice", "closed and opened"],
)
def test_added_margin_goes_with_the_lots_it_was_added_to(
    sign: int, steps: Sequence[int], kept: float
) -> None:
    """
    Closing returns it pro rata, and what is opened afterwards stands on its own margin alone.

    Counted on after a turn, it would hide how near the venue is to liquidating the new position.
    """
    position = Position()
    position.start(sign * LOTS, PX, venue_ms=1)
    margin = Margin(KillParams().margin_frac, Risk(RiskParams(capital_usd=1e4)), HYPE, LEVERAGE)
    px = HYPE.px(PX)
    opened_usd = LOTS * PX * USD_PER_TICK_LOT / LEVERAGE
    held = Isolated(opened_usd + ADDED_USD, px, LEVERAGE, None)
    margin.read(AccountRead(0, 1, sign * LOTS, 1e4, 0.0, held), position, PX, 0.0)
    for number, lots in enumerate(steps, start=2):
        filled(position, number, sign * lots)
        margin.value(position, PX, 0.0, number * NS_PER_S)

    notional_usd = abs(position.lots) * PX * USD_PER_TICK_LOT
    needed_usd = notional_usd * 0.5 / HYPE.max_leverage
    behind_usd = notional_usd / LEVERAGE + kept * ADDED_USD
    assert margin.share(position, PX, 0.0) == pytest.approx(needed_usd / behind_usd)
