"""
The quoter of 24 February: a drift term of the recorded size with the recorded wrong sign.

It is a variant to measure against and nothing else; no configuration leads here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.quoter import MarketView, Quote, Quoter
from mmbot.core.types import Instrument

DRIFT_SHARE: Final = -0.04
"""Share of the move of the last 15 minutes that both quotes were shifted by. The right sign is
plus: in a rising market the record shows -1.7 bps (the project's model notes, 0.1 and 0.3)."""
_SHIFT_BPS_MAX: Final = 12.0


class PredecessorQuoter(Quoter):
    """A quoter that shifts both quotes against the trend, whatever the position."""

    __slots__ = ()

    def quote(
        self,
        *,
        now_ns: int,
        fair_ticks: float,
        step_ticks: int,
        x: float,
        fee_bps: float,
        delta: float,
        market: MarketView,
    ) -> Quote:
        """As `Quoter.quote`, with the drift term replaced."""
        quote = super().quote(
            now_ns=now_ns,
            fair_ticks=fair_ticks,
            step_ticks=step_ticks,
            x=x,
            fee_bps=fee_bps,
            delta=delta,
            market=market,
        )
        if market.trend is None:
            return quote
        shift = DRIFT_SHARE * market.trend.long_bps
        bounded = max(-_SHIFT_BPS_MAX, min(_SHIFT_BPS_MAX, shift))
        return msgspec.structs.replace(quote, drift_bps=bounded)


class PredecessorEngine(Engine):
    """The engine around that quoter."""

    def __init__(
        self,
        params: EngineParams,
        instrument: Instrument,
        *,
        cloid_prefix: int,
        own_in_book: bool = True,
        ablate: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(
            params, instrument, cloid_prefix=cloid_prefix, own_in_book=own_in_book, ablate=ablate
        )
        self._quoter = PredecessorQuoter(params.quoter, ablate=ablate)
