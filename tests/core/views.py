"""Market views for tests of what is made of them: calm unless said otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from mmbot.core.estimators.cascade import CascadeView
from mmbot.core.quoter import MarketView, Quote, Quoter, QuoterParams
from mmbot.core.stance import Action, ResponseMode, StanceView
from mmbot.core.types import NS_PER_S

T0_NS = 1_700_000_000 * NS_PER_S
CALM_STANCE = StanceView(
    is_opposed=False,
    urgency=0.0,
    against_p=None,
    action=Action.HOLD,
    response_bps=None,
    response_ratio=None,
    is_capped=False,
    mode=ResponseMode.RETREAT,
    fade=0.0,
)
CALM_CASCADE = CascadeView(
    bid_bps=0.0,
    ask_bps=0.0,
    hold_bid_ticks=None,
    hold_ask_ticks=None,
    weight_bid=1.0,
    weight_ask=1.0,
    danger_up=0.025,
    danger_down=0.025,
    pulls_bid=False,
    pulls_ask=False,
)
CALM = MarketView(
    vol_bps_rt_s=1.0,
    vol_robust_bps_rt_s=1.0,
    a_per_s=0.12,
    k_per_bp=0.5,
    k_measured_per_bp=0.5,
    a0_bps=1.8,
    ofi_z=None,
    vpin=None,
    a1=0.3,
    drift=None,
    trend=None,
    stance=CALM_STANCE,
    cascade=CALM_CASCADE,
    funding_bps_per_h=None,
    reference_bps=None,
)


def market(**changes: Any) -> MarketView:
    """The calm market with some figures changed."""
    return msgspec.structs.replace(CALM, **changes)


def quote_at(
    *,
    quoter: Quoter | None = None,
    fair_ticks: float = 262_000.0,
    step_ticks: int = 10,
    x: float = 0.0,
    fee_bps: float = 1.5,
    delta: float = 0.06,
    view: MarketView = CALM,
    **params: Any,
) -> Quote:
    """The quote of a state; `params` are those of the quoter when none is given."""
    quoter = quoter or Quoter(QuoterParams.model_validate(params))
    return quoter.quote(
        now_ns=T0_NS,
        fair_ticks=fair_ticks,
        step_ticks=step_ticks,
        x=x,
        fee_bps=fee_bps,
        delta=delta,
        market=view,
    )
