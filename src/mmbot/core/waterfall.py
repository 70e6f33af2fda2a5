"""Why an order rests where it does: the steps from fair to its price, as terms that add up."""

from __future__ import annotations

import msgspec

from mmbot.core.ladder import SideTarget
from mmbot.core.quoter import Quote
from mmbot.core.types import Side


class Waterfall(msgspec.Struct, frozen=True, gc=False):
    """
    Why one order rests where it does: terms in bps of fair, positive away from the market.

    `depth_bps` is the sum of the others. `floor_bps` and `post_only_bps` are what those clamps
    added, `grid_bps` what rounding to a line (and waiting on one) did, `rung_bps` the distance
    from the side's nearest order. A term is None when its estimate is absent; it then adds nothing.
    """

    side: Side
    px_ticks: int
    sz_lots: int
    depth_bps: float
    fee_bps: float
    adverse_selection_bps: float
    glft_bps: float
    half_min_bps: float
    inventory_skew_bps: float
    drift_bps: float | None
    funding_bps: float | None
    reference_bps: float | None
    shift_cap_bps: float
    opposed_bps: float | None
    widening_bps: float
    guard_bps: float
    cascade_bps: float
    hold_bps: float
    touch_bps: float
    floor_bps: float
    post_only_bps: float
    grid_bps: float
    rung_bps: float


def explain(quote: Quote, target: SideTarget) -> tuple[Waterfall, ...]:
    """The waterfall of every rung of one side, each step computed from the prices it led to."""
    if not target.rungs:
        return ()
    side = target.side
    fair = quote.fair_ticks
    bps = 1e4 / fair
    # Subtracted from zero, a term of zero has no sign.
    is_bid = side > 0
    drift, funding, reference = (
        None if term is None else 0.0 - side * term
        for term in (quote.drift_bps, quote.funding_bps, quote.reference_bps)
    )
    skew = 0.0 - side * quote.inventory_skew_bps
    cap = 0.0 - side * quote.shift_cap_bps
    touch_u = side * target.rungs[0].px_ticks
    falls: list[Waterfall] = []
    for rung, pushed in zip(target.rungs, target.pushed_u, strict=False):
        u = side * rung.px_ticks
        # The nearest rung's own push is part of its clamp, not of its distance from itself.
        pushed_bps = pushed * bps
        falls.append(
            Waterfall(
                side=side,
                px_ticks=rung.px_ticks,
                sz_lots=rung.sz_lots,
                depth_bps=(side * fair - u) * bps,
                fee_bps=quote.fee_bps,
                adverse_selection_bps=quote.adverse_selection_bps,
                glft_bps=quote.glft_bps,
                half_min_bps=quote.half_min_bps,
                inventory_skew_bps=skew,
                drift_bps=drift,
                funding_bps=funding,
                reference_bps=reference,
                shift_cap_bps=cap,
                opposed_bps=quote.opposed_bid_bps if is_bid else quote.opposed_ask_bps,
                widening_bps=quote.widening_bid_bps if is_bid else quote.widening_ask_bps,
                guard_bps=quote.guard_bid_bps if is_bid else quote.guard_ask_bps,
                cascade_bps=quote.cascade_bid_bps if is_bid else quote.cascade_ask_bps,
                hold_bps=quote.hold_bid_bps if is_bid else quote.hold_ask_bps,
                touch_bps=quote.touch_bid_bps if is_bid else quote.touch_ask_bps,
                floor_bps=(target.ideal_u - target.floored_u) * bps + pushed_bps,
                post_only_bps=(target.floored_u - target.clamped_u) * bps,
                grid_bps=(target.clamped_u - touch_u) * bps,
                rung_bps=(touch_u - u) * bps - pushed_bps,
            )
        )
    return tuple(falls)
