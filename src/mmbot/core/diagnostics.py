"""
The numbers behind a decision, and the sum of a session: records for the log and the report.

Nothing here decides; what is shown is read from the same values that the orders came from.
"""

from __future__ import annotations

import msgspec

from mmbot.core.ladder import SideTarget
from mmbot.core.markout import Markouts
from mmbot.core.position import Position
from mmbot.core.quoter import MarketView, Quote
from mmbot.core.reconcile import Hold
from mmbot.core.types import NS_PER_S, Instrument, Mode
from mmbot.core.waterfall import Waterfall, explain


class View(msgspec.Struct, frozen=True, gc=False):
    """What one decision computed."""

    quote: Quote
    bid: SideTarget
    ask: SideTarget
    budgets: tuple[int, int]
    hold: Hold
    q_max_lots: float
    market: MarketView
    spacing_ticks: int


class Diagnostics(msgspec.Struct, frozen=True):
    """
    The numbers behind a decision; bps of fair, positive away from the market, shifts positive up.

    `touch_*` are the wanted nearest orders after every clamp and rounding; their waterfalls, and
    those of the deeper rungs, are in `bids` and `asks`, nearest first.
    """

    at_ns: int
    mode: str
    fair_px: float
    mid_px: float
    position_sz: float
    q_frac: float
    q_max_sz: float
    sigma_bps_rt_s: float
    sigma_robust_bps_rt_s: float
    a_per_s: float
    k_per_bp: float
    k_measured_per_bp: float
    a0_bps: float
    a1: float
    ofi_z: float | None
    vpin: float | None
    fee_bps: float
    adverse_selection_bps: float
    glft_bps: float
    half_min_bps: float
    half_bps: float
    glft_method: str
    skew_bps: float
    inventory_skew_bps: float
    drift_bps_per_s: float | None
    drift_sd_bps_per_s: float | None
    drift_adj_bps: float | None
    trend_short_bps: float | None
    trend_med_bps: float | None
    trend_long_bps: float | None
    trend_bps: float | None
    z_t: float | None
    is_opposed: bool
    urgency: float
    continuation_p: float | None
    """Probability that the price goes on against the position while it is unwound."""
    position_action: str
    response_bps: float | None
    response_ratio: float | None
    is_response_capped: bool
    pos_guard_skew_bps: float
    widening_bps: float
    size_mult_bid: float
    size_mult_ask: float
    cascade_bid_bps: float
    cascade_ask_bps: float
    hold_bid_bps: float
    hold_ask_bps: float
    danger_up: float
    danger_down: float
    funding_bps: float | None
    reference_bps: float | None
    shift_bps: float
    floor_bps: float
    touch_bid_px: float | None
    touch_ask_px: float | None
    touch_bid_bps: float | None
    touch_ask_bps: float | None
    bid_pulled: str | None
    ask_pulled: str | None
    bid_budget_sz: float
    ask_budget_sz: float
    bid_exposure_sz: float
    ask_exposure_sz: float
    spacing_bps: float
    hold_bps: float
    equity_usd: float
    requests_left: int
    bids: tuple[Waterfall, ...]
    asks: tuple[Waterfall, ...]


class Summary(msgspec.Struct, frozen=True):
    """What a session did. Markouts are adverse moves: positive is against us."""

    fills: int
    bought_sz: float
    sold_sz: float
    position_sz: float
    realised_usd: float
    """Gross of fees."""
    unrealised_usd: float
    """At the last mid; at the venue's mark before there was one."""
    fees_usd: float
    funding_usd: float
    """Received positive."""
    pnl_usd: float
    """Realised + unrealised - fees + funding."""
    spread_capture_usd: float
    markout_1s_bps: float | None
    markout_5s_bps: float | None
    markout_30s_bps: float | None
    max_drawdown_pct: float
    """Of peak equity, at the lower of mid and mark."""
    skew_at_max_inventory_bps: float
    """Shift by the inventory skew when the position was largest; against its sign."""
    touch_bid_at_max_inventory_bps: float | None
    """Distance of the nearest order from fair when the position was largest."""
    touch_ask_at_max_inventory_bps: float | None
    touch_bid_at_end_bps: float | None
    touch_ask_at_end_bps: float | None
    max_inventory_sz: float
    resting_orders: int
    inside_floor_s: float
    """Time during which an order that could increase the position was inside its floor."""


class Touches(msgspec.Struct, frozen=True, gc=False):
    """Distance of our nearest wanted orders from fair, bps; None for a side without one."""

    bid_bps: float | None = None
    ask_bps: float | None = None


class Capture(msgspec.Struct, frozen=True, gc=False):
    """
    The state of one decision, kept until somebody asks for the record of it.

    `exposure_lots` is what may be live with the batch of that decision, bid before ask.
    """

    view: View
    instrument: Instrument
    at_ns: int
    mode: Mode
    mid_ticks: float | None
    position_lots: int
    exposure_lots: tuple[int, int]
    equity_usd: float
    requests_left: int


def diagnose(capture: Capture) -> Diagnostics:
    """The record of one decision: one field after another, so its length is that of the record."""
    view, instrument = capture.view, capture.instrument
    exposure_lots = capture.exposure_lots
    quote, market = view.quote, view.market
    drift, trend, stance = market.drift, market.trend, market.stance
    grown = 1.0 - min(1.0, abs(quote.x))
    fair = quote.fair_ticks
    bids, asks = explain(quote, view.bid), explain(quote, view.ask)
    return Diagnostics(
        at_ns=capture.at_ns,
        mode=capture.mode.value,
        fair_px=instrument.px(fair),
        mid_px=instrument.px(capture.mid_ticks or fair),
        position_sz=instrument.sz(capture.position_lots),
        q_frac=quote.x,
        q_max_sz=instrument.sz(view.q_max_lots),
        sigma_bps_rt_s=market.vol_bps_rt_s,
        sigma_robust_bps_rt_s=market.vol_robust_bps_rt_s,
        a_per_s=market.a_per_s,
        k_per_bp=market.k_per_bp,
        k_measured_per_bp=market.k_measured_per_bp,
        a0_bps=market.a0_bps,
        a1=market.a1,
        ofi_z=market.ofi_z,
        vpin=market.vpin,
        fee_bps=quote.fee_bps,
        adverse_selection_bps=quote.adverse_selection_bps,
        glft_bps=quote.glft_bps,
        half_min_bps=quote.half_min_bps,
        half_bps=quote.half_bps,
        glft_method=quote.glft_method,
        skew_bps=quote.skew_bps,
        inventory_skew_bps=quote.inventory_skew_bps,
        drift_bps_per_s=None if drift is None else drift.mean_bps_per_s,
        drift_sd_bps_per_s=None if drift is None else drift.sd_bps_per_s,
        drift_adj_bps=quote.drift_bps,
        trend_short_bps=None if trend is None else trend.short_bps,
        trend_med_bps=None if trend is None else trend.medium_bps,
        trend_long_bps=None if trend is None else trend.long_bps,
        trend_bps=None if trend is None else trend.trend_bps,
        z_t=None if trend is None else trend.z,
        is_opposed=stance.is_opposed,
        urgency=stance.urgency,
        continuation_p=stance.against_p,
        position_action=stance.action.value,
        response_bps=stance.response_bps,
        response_ratio=stance.response_ratio,
        is_response_capped=stance.is_capped,
        pos_guard_skew_bps=quote.guard_bid_bps + quote.guard_ask_bps,
        widening_bps=quote.widening_bid_bps + quote.widening_ask_bps,
        size_mult_bid=grown if quote.x >= 0 else 1.0,
        size_mult_ask=grown if quote.x <= 0 else 1.0,
        cascade_bid_bps=quote.cascade_bid_bps,
        cascade_ask_bps=quote.cascade_ask_bps,
        hold_bid_bps=quote.hold_bid_bps,
        hold_ask_bps=quote.hold_ask_bps,
        danger_up=market.cascade.danger_up,
        danger_down=market.cascade.danger_down,
        funding_bps=quote.funding_bps,
        reference_bps=quote.reference_bps,
        shift_bps=quote.shift_bps,
        floor_bps=quote.floor_bps,
        touch_bid_px=instrument.px(bids[0].px_ticks) if bids else None,
        touch_ask_px=instrument.px(asks[0].px_ticks) if asks else None,
        touch_bid_bps=bids[0].depth_bps if bids else None,
        touch_ask_bps=asks[0].depth_bps if asks else None,
        bid_pulled=view.bid.pulled,
        ask_pulled=view.ask.pulled,
        bid_budget_sz=instrument.sz(view.budgets[0]),
        ask_budget_sz=instrument.sz(view.budgets[1]),
        bid_exposure_sz=instrument.sz(exposure_lots[0]),
        ask_exposure_sz=instrument.sz(exposure_lots[1]),
        spacing_bps=view.spacing_ticks / fair * 1e4,
        hold_bps=view.hold.bps,
        equity_usd=capture.equity_usd,
        requests_left=capture.requests_left,
        bids=bids,
        asks=asks,
    )


def summarise(
    position: Position,
    markouts: Markouts,
    instrument: Instrument,
    *,
    px_ticks: float | None,
    max_drawdown_frac: float,
    skew_at_max_bps: float,
    max_inventory_lots: int,
    touches_at_max: Touches,
    touches_at_end: Touches,
    resting_orders: int,
    inside_ns: int,
) -> Summary:
    """The sum of a session; what is held is worth `px_ticks`, None before any price."""
    return Summary(
        fills=position.fills,
        bought_sz=instrument.sz(position.bought_lots),
        sold_sz=instrument.sz(position.sold_lots),
        position_sz=instrument.sz(position.lots),
        realised_usd=position.realised_usd,
        unrealised_usd=position.unrealised_usd(px_ticks) if px_ticks is not None else 0.0,
        fees_usd=position.fees_usd,
        funding_usd=position.funding_usd,
        pnl_usd=position.pnl_usd(px_ticks) if px_ticks is not None else 0.0,
        spread_capture_usd=markouts.spread_capture_usd,
        markout_1s_bps=markouts.adverse_bps(1),
        markout_5s_bps=markouts.adverse_bps(5),
        markout_30s_bps=markouts.adverse_bps(30),
        max_drawdown_pct=max_drawdown_frac * 100,
        skew_at_max_inventory_bps=skew_at_max_bps,
        touch_bid_at_max_inventory_bps=touches_at_max.bid_bps,
        touch_ask_at_max_inventory_bps=touches_at_max.ask_bps,
        touch_bid_at_end_bps=touches_at_end.bid_bps,
        touch_ask_at_end_bps=touches_at_end.ask_bps,
        max_inventory_sz=instrument.sz(max_inventory_lots),
        resting_orders=resting_orders,
        inside_floor_s=inside_ns / NS_PER_S,
    )
