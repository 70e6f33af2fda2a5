"""
The engine without hysteresis: what an exact-price diff would have sent.

It wants every order exactly where the quote puts it, rounded to the venue's price step and on no
grid, and sends a change whenever that price or a size differs and the last request is answered. It
exists to be compared with, in backtests.
"""

from __future__ import annotations

import msgspec

from mmbot.core.engine import Engine, EngineParams
from mmbot.core.ladder import Ladder, Rung, SideInputs, SideTarget, is_reducing, outward
from mmbot.core.quoter import Quote
from mmbot.core.types import Instrument

UNLIMITED_REQUESTS = 10**12


class ExactLadder(Ladder):
    """Rungs at the wanted price and at whole spacings from it, instead of on grid lines."""

    def __init__(self, params: EngineParams, instrument: Instrument) -> None:
        super().__init__(params.ladder, instrument)
        self._coin = instrument

    def build(
        self,
        quote: Quote,
        inputs: SideInputs,
        *,
        position_lots: int,
        step_ticks: int,
        hold_ticks: float,
        hold_ns: int,
        now_ns: int,
    ) -> SideTarget:
        """As `Ladder.build`, then every price replaced by the exact one; the sizes stay."""
        target = super().build(
            quote,
            inputs,
            position_lots=position_lots,
            step_ticks=step_ticks,
            hold_ticks=hold_ticks,
            hold_ns=hold_ns,
            now_ns=now_ns,
        )
        side, fair = inputs.side, quote.fair_ticks
        floor_u = side * fair - quote.floor_bps * fair * 1e-4
        exact: list[Rung] = []
        ahead = 0
        for n, rung in enumerate(target.rungs):
            u = target.clamped_u - n * self.spacing_ticks
            if not is_reducing(rung.sz_lots, ahead, inputs.reduce_lots):
                u = min(u, floor_u)
            px = outward(self._coin, side, u)
            if exact and side * px >= side * exact[-1].px_ticks:
                break
            exact.append(Rung(px, rung.sz_lots, rung.is_reduce_only))
            ahead += rung.sz_lots
        return msgspec.structs.replace(target, rungs=tuple(exact), wake_ns=None)


class ExactEngine(Engine):
    """An engine whose orders follow the wanted price step by step."""

    def __init__(self, params: EngineParams, instrument: Instrument, *, cloid_prefix: int) -> None:
        reconcile = params.reconcile.model_copy(
            update={
                "hold_bps": 0.0,
                "hold_bps_max": 0.0,
                "hold_s": 0.0,
                "hold_s_max": 0.0,
                "keep_size_frac": 1.0,
                "requests_burst": float(UNLIMITED_REQUESTS),
            }
        )
        params = params.model_copy(update={"reconcile": reconcile})
        super().__init__(params, instrument, cloid_prefix=cloid_prefix, own_in_book=False)
        self._ladder = ExactLadder(params, instrument)
