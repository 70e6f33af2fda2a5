"""The synthetic market with takers of a finite size, so that the place in the queue decides."""

from __future__ import annotations

from typing import Final

from mmbot.core.types import Tif
from mmbot.emulator.flow import Taker
from mmbot.emulator.makers import valid_above, valid_below
from mmbot.emulator.market import Market
from mmbot.emulator.specs import NewOrder

_BPS: Final = 1e-4
_REACH_OF_DEPTH: Final = 0.9
"""As in `Market`: takers reach at most this share of the makers' depth."""


class QueueMarket(Market):
    """
    A market in which the place in the queue matters.

    A taker of `Market` takes everything within his reach, so that it is all one who stands before
    whom. Here he brings just the size that the makers rest within his reach: what our orders at
    better prices gave him, those at his last price do not, and there we came last.
    """

    def _trade(self, taker: Taker) -> None:
        reach = min(taker.reach_bps, _REACH_OF_DEPTH * self.params.depth_bps) * _BPS
        side, decimals = taker.side, self._sz_decimals
        edge_ticks = self._mid_ticks * (1 + side * reach)
        limit = (valid_below if side > 0 else valid_above)(edge_ticks, decimals)
        lots = 0
        for level in self._book.levels(side.opposite):
            if (level.px_ticks - limit) * side > 0:
                break
            lots += sum(o.sz_lots for o in level.orders.values() if o.slot.account.is_house)
        if lots:
            self._venue.submit(self._taker, NewOrder(self._asset_id, side, limit, lots, Tif.IOC))
