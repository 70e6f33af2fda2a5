"""
The estimators of one instrument, fed from the events and read as one view of the market.

The mid that is sampled is that of the book without our own orders, and fills of ours reach nothing
but the memory of bursts: being filled is no evidence that the price goes on our way.
"""

from __future__ import annotations

from math import exp

from pydantic import BaseModel, ConfigDict, Field

from mmbot.core.book import BookState
from mmbot.core.estimators.adverse import Adverse, AdverseParams
from mmbot.core.estimators.aggressors import Aggressor, Aggressors
from mmbot.core.estimators.burst import Burst, OwnFill
from mmbot.core.estimators.cascade import Cascade, CascadeMemory, CascadeParams
from mmbot.core.estimators.drift import Drift, DriftParams
from mmbot.core.estimators.flow import FlowParams, Ofi, Vpin
from mmbot.core.estimators.intensity import Intensity, IntensityParams
from mmbot.core.estimators.reference import Reference
from mmbot.core.estimators.trend import Trend, TrendParams
from mmbot.core.estimators.volatility import Volatility, VolatilityParams
from mmbot.core.events import Fill, Trades
from mmbot.core.quoter import MarketView, QuoterParams
from mmbot.core.stance import Stance, StanceParams
from mmbot.core.types import BUY, NS_PER_MS, NS_PER_S, SELL, USD_PER_TICK_LOT

_BPS_PER_FRACTION = 1e4
_REST_S_MAX = 5.0
"""Longest span between two looks over which an order counts as having rested where it is."""


class SignalsParams(BaseModel):
    """Parameters of the estimators."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    volatility: VolatilityParams = Field(default_factory=VolatilityParams)
    drift: DriftParams = Field(default_factory=DriftParams)
    trend: TrendParams = Field(default_factory=TrendParams)
    stance: StanceParams = Field(default_factory=StanceParams)
    cascade: CascadeParams = Field(default_factory=CascadeParams)
    intensity: IntensityParams = Field(default_factory=IntensityParams)
    adverse: AdverseParams = Field(default_factory=AdverseParams)
    flow: FlowParams = Field(default_factory=FlowParams)


class Signals:
    """All estimators of one instrument."""

    def __init__(self, params: SignalsParams, quoter: QuoterParams) -> None:
        self._params = params
        self._quoter = quoter
        self.volatility = Volatility(params.volatility)
        self.drift = Drift(params.drift)
        self.trend = Trend(params.trend)
        self.stance = Stance(params.stance)
        self.cascade = Cascade(params.cascade)
        self.reference = Reference(
            bps_max=quoter.reference_bps_max,
            stale_s=quoter.reference_stale_s,
            half_life_s=quoter.reference_half_life_s,
        )
        self.intensity = Intensity(params.intensity)
        self.adverse = Adverse(params.adverse)
        self.ofi = Ofi(params.flow)
        self.vpin = Vpin(params.flow)
        self._aggressors = Aggressors()
        self._looked_ns: int | None = None
        self._k_measured = params.intensity.k_per_bp
        self._ofi_z: float | None = None
        """Like the intensity, as of the last book or look: what a quote is made of changes with an
        event or at a time known before, never by the mere moment of a decision."""
        self.funding_bps_per_h: float | None = None
        self._fills: list[Fill] = []

    # -- events -----------------------------------------------------------------------------------

    def on_book(self, recv_ns: int, book: BookState) -> None:
        """Take the mid of a book that could be priced."""
        mid, bid, ask = book.mid_ticks, book.others_bid, book.others_ask
        if mid is None or bid is None or ask is None:
            return
        self.volatility.sample(recv_ns, mid)
        self.trend.sample(recv_ns, mid)
        self.ofi.observe(recv_ns, bid.px_ticks, bid.sz_lots, ask.px_ticks, ask.sz_lots)
        self._ofi_z = self.ofi.z(recv_ns)
        self.adverse.on_mid(recv_ns, mid)
        half_touch_bps = (ask.px_ticks - bid.px_ticks) / 2 / mid * _BPS_PER_FRACTION
        self.drift.observe(recv_ns, mid, self.volatility.bps_rt_s, half_touch_bps)

    def on_trades(self, trades: Trades, book: BookState) -> None:
        """Take public trades: what reached how far, and what came of it."""
        rows = zip(trades.px_ticks, trades.sz_lots, strict=True)
        values_usd = [px_ticks * sz_lots * USD_PER_TICK_LOT for px_ticks, sz_lots in rows]
        self.vpin.on_trades(trades.sides, values_usd)
        self._count(self._aggressors.take(trades), book)

    def _count(self, aggressors: list[Aggressor], book: BookState) -> None:
        for each in aggressors:
            # The mid strictly before: that of the trade's own block has moved with it.
            mid = book.mid_before(each.venue_ms)
            if mid is None:
                continue
            reach_bps = each.side * (each.px_ticks - mid) / mid * _BPS_PER_FRACTION
            self.intensity.on_trades(each.recv_ns, each.side, reach_bps)
            self.adverse.on_trades(each.recv_ns, each.side, reach_bps, mid)

    def look(self, now_ns: int, book: BookState, live_ticks: tuple[list[int], list[int]]) -> None:
        """
        Once a second: a market that stands still is news as well, and our orders have rested.

        `live_ticks` are the prices of our orders on the book, bids before asks.
        """
        last_ns = self._looked_ns
        if last_ns is not None and now_ns - last_ns < NS_PER_S:
            return
        self._looked_ns = now_ns
        self._count(self._aggressors.settle(now_ns), book)
        mid = book.mid_ticks
        if mid is None:
            return
        self.volatility.sample(now_ns, mid)
        self.trend.sample(now_ns, mid)
        self.adverse.on_mid(now_ns, mid)
        self.intensity.view(now_ns)
        self._k_measured = self.intensity.decay()
        self._ofi_z = self.ofi.z(now_ns)
        if last_ns is None:
            return
        rested_s = min((now_ns - last_ns) / NS_PER_S, _REST_S_MAX)
        for side, prices in zip((BUY, SELL), live_ticks, strict=True):
            for px_ticks in prices:
                depth_bps = side * (mid - px_ticks) / mid * _BPS_PER_FRACTION
                if depth_bps >= 0.0:
                    self.intensity.on_exposure(side, depth_bps, rested_s)

    def on_funding_rate(self, funding_per_h: float) -> None:
        """Rate that a long position pays, a fraction per hour."""
        self.funding_bps_per_h = funding_per_h * _BPS_PER_FRACTION

    def on_fill(self, fill: Fill) -> None:
        """Keep a fill of ours until all of its message are here."""
        if not fill.is_taker:
            self._fills.append(fill)

    @property
    def has_fills(self) -> bool:
        """Whether fills of ours came since they were last judged."""
        return bool(self._fills)

    def settle_fills(
        self, now_ns: int, book: BookState, resting_lots: tuple[int, int]
    ) -> list[Burst]:
        """
        Judge the fills that came since the last decision, message by message.

        `resting_lots` is what is left of each side, bid before ask. Returns the bursts found.
        """
        fair = book.fair_ticks or book.last_mid_ticks
        if not self._fills or fair is None:
            # What came before there was a book is judged as soon as there is one.
            return []
        fills, self._fills = self._fills, []
        left = {BUY: resting_lots[0], SELL: resting_lots[1]}
        for fill in fills:
            left[fill.side] += fill.sz_lots
        found: list[Burst] = []
        fills.sort(key=_message)
        at = 0
        while at < len(fills):
            end = at
            while end < len(fills) and _message(fills[end]) == _message(fills[at]):
                end += 1
            message = fills[at:end]
            first = message[0]
            side = first.side
            age_ns = 0
            if first.is_snapshot:
                # Told by the history after a lost link: a sweep like any other, and as old as it
                # is, but nobody watched how long our orders rested and what the price did then.
                age_ns = max(0, first.recv_ns - first.venue_ms * NS_PER_MS)
            else:
                self._learn(message, book)
            burst = self.cascade.on_own_fills(
                now_ns - age_ns,
                first.venue_ms,
                side,
                [OwnFill(f.px_ticks, f.sz_lots, f.oid, f.tid) for f in message],
                resting_lots=left[side],
                touch_ticks=max(side * f.px_ticks for f in message) * side,
                fair_ticks=fair,
                # As measured, not as served: what is served moves slowly, and a market of far
                # reaching takers would look like one sweep after another meanwhile.
                k_per_bp=self._k_measured,
            )
            left[side] -= sum(f.sz_lots for f in message)
            if burst is not None:
                found.append(burst)
            at = end
        return found

    def _learn(self, message: list[Fill], book: BookState) -> None:
        """What the fills of one message say of the rate and the cost of being filled."""
        first = message[0]
        mid = book.mid_before(first.venue_ms)
        if mid is None:
            return
        lots = 0
        worth = 0.0
        reached: dict[int, float] = {}
        for fill in message:
            depth_bps = fill.side * (mid - fill.px_ticks) / mid * _BPS_PER_FRACTION
            reached[fill.oid] = depth_bps
            lots += fill.sz_lots
            worth += depth_bps * fill.sz_lots
        for depth_bps in reached.values():
            self.intensity.on_own_fill(max(0.0, depth_bps))
        self.adverse.on_own_event(first.recv_ns, first.side, worth / lots, mid)

    def reset_gap(self) -> None:
        """A lost link: nothing is carried across it but what does not come from prices."""
        self.reference.forget()
        self.volatility.reset_gap()
        self.drift.reset_gap()
        self.trend.reset_gap()
        self.intensity.reset_gap()
        self.adverse.reset_gap()
        self.ofi.reset_gap()
        self._aggressors.forget()
        self._looked_ns = None

    def retune(self, params: SignalsParams, quoter: QuoterParams) -> None:
        """Go on with other gains of what answers to the estimates; no estimate is touched."""
        self._params, self._quoter = params, quoter
        self.stance.retune(params.stance)
        self.cascade.retune(params.cascade)
        self.reference.retune(
            bps_max=quoter.reference_bps_max,
            stale_s=quoter.reference_stale_s,
            half_life_s=quoter.reference_half_life_s,
        )

    def restarted(self, now_ns: int, step_ns: int) -> Signals:
        """
        The same from its beginning, after our clock was set forward by `step_ns` (back if < 0).

        No estimate takes what is older than its last, so all of them would stand still for as long
        as a clock was set back. Sweeps and what the venue says are remembered, at their new times.
        """
        fresh = Signals(self._params, self._quoter)
        fresh.cascade.restore(self.memory().shifted(step_ns, now_ns), now_ns)
        fresh.funding_bps_per_h = self.funding_bps_per_h
        fresh._fills = self._fills
        return fresh

    # -- memory -----------------------------------------------------------------------------------

    def memory(self) -> CascadeMemory:
        """What must survive a restart; the same object until it changes."""
        return self.cascade.snapshot()

    def restore(self, memory: CascadeMemory, now_ns: int) -> None:
        """Take over the memory of an earlier run."""
        self.cascade.restore(memory, now_ns)

    # -- view -------------------------------------------------------------------------------------

    def view(
        self, now_ns: int, x: float, *, fair_px: float, delta: float, half_bps: float
    ) -> MarketView:
        """
        The market as a position of `x` limits must see it.

        `delta` is the size of an order as a fraction of the limit: with the fill intensity at the
        base half spread it tells how long an unwinding takes.
        """
        robust = self.volatility.robust_bps_rt_s
        trend = self.trend.view(now_ns, robust)
        drift = self.drift.view(now_ns)
        intensity, adverse = self.intensity.served, self.adverse.law
        rate = intensity.a_per_s * exp(-half_bps * intensity.k_per_bp) * delta
        stance = self.stance.update(
            now_ns,
            x,
            trend=trend,
            drift=drift,
            vol_bps_rt_s=robust,
            hold_s=self.stance.hold_s(x, rate),
            half_bps=half_bps,
        )
        # By position, in the order of the fields: by name it takes ten times as long.
        return MarketView(
            self.volatility.bps_rt_s,
            robust,
            intensity.a_per_s,
            intensity.k_per_bp,
            self._k_measured,
            adverse.a0_bps,
            adverse.a1,
            self._ofi_z,
            self.vpin.value,
            drift,
            trend,
            stance,
            self.cascade.view(now_ns, x, None if trend is None else trend.z, self._ofi_z),
            self.funding_bps_per_h,
            self.reference.shift_bps(fair_px, now_ns),
        )

    def wake_at_ns(self, now_ns: int) -> int | None:
        """When a quote can change by itself: the memory of a sweep fades, or the next look."""
        due_ns = None if self._looked_ns is None else self._looked_ns + NS_PER_S
        fades_ns = self.cascade.wake_at_ns(now_ns)
        return fades_ns if due_ns is None or (fades_ns and fades_ns < due_ns) else due_ns


def _message(fill: Fill) -> tuple[int, int]:
    return fill.venue_ms, int(fill.side)
