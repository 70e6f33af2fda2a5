"""
The synthetic market: makers, takers and a fair price around the matching engine of the venue.

`flow` draws what happens whatever anyone quotes, `makers` rest at every price near the mid, and
`Market` lets them meet, event by event, on the venue's own book: every taker is an order with a
limit price, so our orders are filled by the venue and by nothing else.

The order of things decides who pays for news, and it is always the same. A taker trades first, at
quotes that do not know his reason yet; the makers put back at once what he took from them, so that
a trade alone moves no price. The price he brings shows at the makers' next look that is
`reaction_ms` or more later. At each look the makers take their stale quotes away, then what others
still rest beyond the new mid is traded, then the makers quote around it.

With a queue a taker brings just the size that the makers rest within his reach: what our orders at
better prices gave him, those at his last price do not get, and there we came last. Without one he
takes everybody within his reach, and it is all one who stands before whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np
from pydantic import Field, model_validator

from mmbot.core.types import Side, Tif
from mmbot.emulator.flow import Flow, Step, Taker
from mmbot.emulator.makers import UNLIMITED_LOTS, Makers, valid_near
from mmbot.emulator.paths import FlowParams
from mmbot.emulator.specs import NewOrder

if TYPE_CHECKING:
    from mmbot.emulator.venue import Venue

_MS_PER_S = 1000
_REACH_OF_DEPTH = 0.9
"""Takers reach at most this share of the makers' depth, so that a sweep leaves a touch behind."""

_COMPANION_DEPTH_BPS = 5.0


class MarketParams(FlowParams):
    """Every figure of the synthetic market; `[market]` in the configuration overrides them."""

    px_usd: float | None = Field(
        None, gt=0, le=1e6, description="Price at the start, USD; unset: the venue's mark."
    )
    touch_spread_bps: float = Field(
        0.5, ge=0, le=200, description="Spread of the makers before it is rounded outward, bps."
    )
    makers: int = Field(3, ge=3, le=20, description="Makers that rest at every price.")
    depth_bps: float = Field(
        60.0, ge=20, le=500, description="How far from the mid the makers rest, bps."
    )
    depth_usd_per_bp: float = Field(
        5_000.0, gt=0, le=1e8, description="What they rest together per bp and side, USD."
    )
    size_jitter_frac: float = Field(
        0.5, ge=0, lt=1, description="Spread of single sizes around their mean, fraction."
    )
    oracle_ms: int = Field(
        3_000, ge=250, le=600_000, description="Time between two updates of oracle and mark, ms."
    )
    oracle_noise_bps: float = Field(
        0.5, ge=0, le=100, description="Standard deviation of outside prices around ours, bps."
    )
    basis_s: float = Field(
        150.0, gt=0, le=86_400, description="Time constant of the basis in the mark, s."
    )

    @model_validator(mode="after")
    def _touch_is_inside_the_depth(self) -> Self:
        if self.touch_spread_bps > self.depth_bps:
            msg = (
                f"touch_spread_bps = {self.touch_spread_bps:g} is above depth_bps = "
                f"{self.depth_bps:g}; raise depth_bps or lower the spread"
            )
            raise ValueError(msg)
        return self


class Companion(msgspec.Struct, frozen=True):
    """
    Another listed perp that has a book but no takers of its own.

    Attributes:
        asset_id: The perp.
        follows: It moves with the fair price (the same coin on another dex); else it stands still.
    """

    asset_id: int
    follows: bool = False


class _Trend(msgspec.Struct):
    bps_per_s: float
    until_ms: int


class Market:
    """
    The market of one perp.

    Guarantees, after every event and whatever others do:

    - At least `makers` other orders rest at each touch, unless somebody outbid the makers or took
      from them since their last look; then again from the next look on, `step_ms` later at most.
    - An order that joins a price within `depth_bps` of the mid, stays within it and does not outbid
      the makers has all of them before it in the queue, until somebody else takes from them.
    - Fair price, takers, oracle and mark depend on the seed and on no order of anybody.

    Args:
        params: The figures.
        venue: The venue it trades on; its house accounts are opened here.
        asset_id: The perp.
        seed: Seeds everything.
        now_ms: Start; the book stands when the constructor returns.
        companions: Other perps that get a book.
        has_queue: Whether the place in the queue matters.
    """

    def __init__(
        self,
        params: MarketParams,
        venue: Venue,
        asset_id: int,
        seed: int,
        now_ms: int,
        *,
        companions: Sequence[Companion] = (),
        has_queue: bool = True,
    ) -> None:
        self.params = params
        self._has_queue = has_queue
        self._venue = venue
        self._asset_id = asset_id
        asset = venue.asset(asset_id)
        self._asset = asset
        self._book = asset.book
        self._sz_decimals = asset.sz_decimals
        px_usd = params.px_usd if params.px_usd is not None else asset.px(asset.mark_ticks)
        self._start_ticks = px_usd * asset.ticks_per_usd
        self._start_ms = now_ms
        self._flow = Flow(params, seed)
        self._noise_rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        self._taker, self._cleaner = _address(asset_id, 1), _address(asset_id, 2)
        for address in (self._taker, self._cleaner):
            venue.open_account(address, usd=0.0, is_house=True)
        self._makers = self._hire(asset_id, seed)
        self._companions = [
            (one, self._hire(one.asset_id, seed), float(venue.asset(one.asset_id).mark_ticks))
            for one in companions
        ]
        self._events: list[Step | Taker] = []
        self._event_at = 0
        self._offset_bps = 0.0
        self._trends: list[_Trend] = []
        self._basis_ticks = 0.0
        self._noise_bps = (0.0, 0.0)
        self._oracle_due_ms = 0
        self._last = Step(0, 0.0, 0.0)
        self._mid_ticks = self._start_ticks
        self._draw()
        self.advance(now_ms)

    # -- reading ----------------------------------------------------------------------------------

    @property
    def mid_px(self) -> float:
        """Mid that the makers quote around, USD."""
        return self._asset.px(self._mid_ticks)

    @property
    def fair_px(self) -> float:
        """Efficient price: the mid less what will decay, USD."""
        return self._asset.px(self._at_bps(self._last.fair_bps))

    def next_due_ms(self) -> int:
        """When something happens next, ms."""
        return self._start_ms + int(self._events[self._event_at].at_ms)

    # -- running ----------------------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by `now_ms`, each at its own time."""
        start_ms = self._start_ms
        until_ms = now_ms - start_ms
        while True:
            event = self._events[self._event_at]
            at_ms = int(event.at_ms)
            if at_ms > until_ms:
                return
            # A caller that moved the venue on first gets late events, not time running backwards.
            self._venue.advance(max(start_ms + at_ms, self._venue.now_ms))
            self._event_at += 1
            if self._event_at == len(self._events):
                self._draw()
            if isinstance(event, Taker):
                self._trade(event)
            else:
                self._look(event)

    def _draw(self) -> None:
        """Put the next block in sight; a look comes before a taker of the same millisecond."""
        steps, takers = self._flow.block()
        self._events = sorted((*steps, *takers), key=lambda event: int(event.at_ms))
        self._event_at = 0

    def _at_bps(self, bps: float) -> float:
        return self._start_ticks * exp((bps + self._offset_bps) * 1e-4)

    def _trade(self, taker: Taker) -> None:
        """
        A taker trades within his reach of the makers' mid; they put back what he took.

        The limit is the nearest valid price: rounded inward, every reach would lose half a price
        step, and with it the takers at every depth.
        """
        params, side = self.params, taker.side
        reach = min(taker.reach_bps, _REACH_OF_DEPTH * params.depth_bps) * 1e-4
        edge_ticks = self._mid_ticks * (1 + side * reach)
        limit = valid_near(edge_ticks, self._sz_decimals)
        touch = self._book.ask_ticks if side > 0 else self._book.bid_ticks
        if touch is None or (touch - limit) * side > 0:
            return
        lots = self._makers_lots(side, limit) if self._has_queue else UNLIMITED_LOTS
        if lots:
            order = NewOrder(self._asset_id, side, limit, lots, Tif.IOC)
            self._venue.submit(self._taker, order)
            self._makers.refill(side.opposite)

    def _makers_lots(self, side: Side, limit_ticks: int) -> int:
        """Lots of the makers that a taker of `side` can reach."""
        lots = 0
        for level in self._book.levels(side.opposite):
            if (level.px_ticks - limit_ticks) * side > 0:
                break
            lots += sum(o.sz_lots for o in level.orders.values() if o.slot.account.is_house)
        return lots

    def _look(self, step: Step) -> None:
        """The makers look at the price; now and then the outside world does too."""
        self._drift(step)
        self._last = step
        self._quote()
        if step.at_ms >= self._oracle_due_ms:
            self._oracle_due_ms = step.at_ms + self.params.oracle_ms
            z_oracle, z_outside = self._noise_rng.standard_normal(2).tolist()
            scale_bps = self.params.oracle_noise_bps
            self._noise_bps = (scale_bps * z_oracle, scale_bps * z_outside)
            self._publish(self.params.oracle_ms / _MS_PER_S)
            self._refresh_companions(follows=False)

    def _quote(self) -> None:
        params = self.params
        self._mid_ticks = self._at_bps(self._last.mid_bps)
        self._makers.quote(
            self._mid_ticks, params.touch_spread_bps / 2, params.depth_bps, self._cleaner
        )
        self._refresh_companions(follows=True)

    def _refresh_companions(self, *, follows: bool) -> None:
        half_bps = self.params.touch_spread_bps / 2
        for one, makers, start_ticks in self._companions:
            if one.follows is follows:
                bps = self._last.fair_bps + self._offset_bps if follows else 0.0
                mid_ticks = start_ticks * exp(bps * 1e-4)
                makers.quote(mid_ticks, half_bps, half_bps + _COMPANION_DEPTH_BPS, self._cleaner)

    def _publish(self, elapsed_s: float) -> None:
        """
        Set oracle and mark of the perp and of those that follow it.

        The oracle is the fair price as outside markets see it. Mark = median of oracle plus the
        average basis, our own mid, and another outside price.
        Source: Hyperliquid docs, "Robust price indices".
        """
        fair_ticks = self._at_bps(self._last.fair_bps)
        oracle_noise_bps, outside_noise_bps = self._noise_bps
        oracle_ticks = fair_ticks * exp(oracle_noise_bps * 1e-4)
        outside_ticks = fair_ticks * exp(outside_noise_bps * 1e-4)
        weight = 1 - exp(-elapsed_s / self.params.basis_s)
        self._basis_ticks += weight * (self._mid_ticks - oracle_ticks - self._basis_ticks)
        candidates = (oracle_ticks + self._basis_ticks, self._mid_ticks, outside_ticks)
        mark_ticks = sorted(candidates)[1]
        asset, venue = self._asset, self._venue
        venue.set_oracle(self._asset_id, asset.px(oracle_ticks))
        venue.set_mark(self._asset_id, asset.px(mark_ticks))
        for one, _, start_ticks in self._companions:
            if one.follows:
                px = venue.asset(one.asset_id).px(start_ticks / self._start_ticks)
                venue.set_oracle(one.asset_id, px * oracle_ticks)
                venue.set_mark(one.asset_id, px * mark_ticks)

    # -- pushing the price about (tests, control routes) ------------------------------------------

    def shift(self, bps: float) -> None:
        """
        Move the price by `bps` now, for good: quotes, oracle and mark at once.

        What others rest beyond the new mid is traded. No draw changes.
        """
        self._offset_bps += bps
        self._quote()
        self._publish(0.0)

    def force_px(self, px_usd: float) -> None:
        """Move the mid to `px_usd` now, for good, as `shift` does."""
        self.shift(1e4 * log(px_usd / self.mid_px))

    def trend(self, bps_per_s: float, duration_s: float) -> None:
        """Add a drift from the last look on, for `duration_s`; several add up."""
        until_ms = self._last.at_ms + round(duration_s * _MS_PER_S)
        self._trends.append(_Trend(bps_per_s, until_ms))

    def _drift(self, step: Step) -> None:
        for trend in self._trends:
            end_ms = min(step.at_ms, trend.until_ms)
            self._offset_bps += trend.bps_per_s * (end_ms - self._last.at_ms) / _MS_PER_S
        self._trends = [trend for trend in self._trends if trend.until_ms > step.at_ms]

    def _hire(self, asset_id: int, seed: int) -> Makers:
        params = self.params
        return Makers(
            self._venue,
            asset_id,
            [_address(asset_id, 16 + n) for n in range(params.makers)],
            usd_per_bp=params.depth_usd_per_bp,
            jitter_frac=params.size_jitter_frac,
            seed=seed,
        )


def _address(asset_id: int, number: int) -> str:
    """Address of a house account: fixed, so that a run repeats to the byte."""
    return f"0xe{asset_id:07x}{number:032x}"
