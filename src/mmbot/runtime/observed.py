"""
A running trader as whoever asks is shown it, read off the state that there is.

What is shown is what decides: the record of the last decision, the table of orders, the figures
that the kill switch holds against its limits. Nothing is estimated again for the screen.
"""

from __future__ import annotations

from mmbot.config import Config
from mmbot.core.diagnostics import Diagnostics
from mmbot.core.triggers import Reach
from mmbot.core.types import BUY, NS_PER_S, SELL, Side
from mmbot.core.waterfall import Waterfall
from mmbot.hyperliquid.budget import WEIGHT_PER_MIN
from mmbot.journal.writer import Writer
from mmbot.runtime.observation import (
    Holding,
    Order,
    Pnl,
    Requests,
    SideWhy,
    Status,
    Stream,
    Trigger,
    Why,
)
from mmbot.runtime.trader import Trader

DECIDED_S_MAX = 5.0
"""The engine looks at a market at least once a second: a decision that old is none of now."""


_FIGURES = (
    "q_frac", "half_bps", "shift_bps", "sigma_bps_rt_s", "a_per_s", "k_per_bp", "a0_bps", "a1",
    "trend_bps", "z_t", "is_opposed", "urgency", "position_action", "drift_bps_per_s",
    "danger_up", "danger_down", "ofi_z", "vpin", "spacing_bps", "glft_method",
)  # fmt: skip


def status(
    trader: Trader,
    config: Config,
    *,
    now_ns: int,
    pid: int,
    run_dir: str,
    user: str,
    journal: Writer | None,
    reloads: int,
) -> Status:
    """The state of a trader at `now_ns`."""
    engine, decision = trader.engine, trader.decision
    book, instrument, limits = engine.book, engine.instrument, engine.limits
    decided_s = None if trader.decided_ns is None else (now_ns - trader.decided_ns) / NS_PER_S
    touch_ns = book.touch_age_ns(now_ns)
    is_old = touch_ns is None or touch_ns >= config.risk.stale_pull_s * NS_PER_S
    mark = engine.mark_ticks
    return Status(
        at_ns=now_ns,
        pid=pid,
        run_dir=run_dir,
        mode=config.mode,
        coin=instrument.coin,
        user=user,
        started_ns=trader.started_ns,
        uptime_s=(now_ns - trader.started_ns) / NS_PER_S,
        phase=trader.phase,
        risk_mode=None if decision is None else decision.status.mode.value,
        reasons=() if decision is None else decision.status.reasons,
        rules=engine.rules(now_ns),
        is_link_up=trader.link.is_up,
        decided_s=decided_s,
        is_stale=is_old or decided_s is None or decided_s > DECIDED_S_MAX,
        streams=streams_of(trader, config, now_ns),
        journal_lag_s=None if journal is None else journal.lag_ns() / NS_PER_S,
        fair_px=None if book.fair_ticks is None else instrument.px(book.fair_ticks),
        mid_px=None if book.mid_ticks is None else instrument.px(book.mid_ticks),
        mark_px=None if mark is None else instrument.px(mark),
        holding=_holding(trader),
        equity_usd=None if limits is None else engine.risk.equity_usd,
        equity_start_usd=None if limits is None else engine.risk.start_usd,
        account_usd=engine.alarms.margin.equity_usd,
        pnl=_pnl(trader),
        fills=engine.position.fills,
        bids=orders_of(trader, BUY),
        asks=orders_of(trader, SELL),
        requests=_requests(trader, now_ns),
        kill=None if engine.risk.kill is None else engine.risk.kill.text,
        triggers=tuple(_trigger(reach) for reach in engine.reaches(now_ns)),
        dead_man=trader.dead_man.is_armed,
        on_exit="flatten" if trader.flattens_on_exit else "hold",
        reloads=reloads,
    )


def why(trader: Trader, config: Config, *, now_ns: int) -> Why:
    """Why each side is quoted as it is, or is not."""
    engine, facts, decision = trader.engine, trader.facts, trader.decision
    sides: tuple[SideWhy, ...] = ()
    if facts is not None:
        off = frozenset(_off(config))
        sides = (
            _side_why(trader, config, facts, BUY, off),
            _side_why(trader, config, facts, SELL, off),
        )
    return Why(
        mode=config.mode,
        coin=engine.instrument.coin,
        phase=trader.phase,
        at_ns=None if facts is None else facts.at_ns,
        age_s=None if facts is None else (now_ns - facts.at_ns) / NS_PER_S,
        risk_mode=None if decision is None else decision.status.mode.value,
        reasons=() if decision is None else decision.status.reasons,
        rules=engine.rules(now_ns),
        fair_px=None if facts is None else facts.fair_px,
        floor_bps=None if facts is None else facts.floor_bps,
        hold_bps=None if facts is None else facts.hold_bps,
        sides=sides,
        figures={} if facts is None else {name: getattr(facts, name) for name in _FIGURES},
    )


# -- parts ------------------------------------------------------------------------------------


def streams_of(trader: Trader, config: Config, now_ns: int) -> tuple[Stream, ...]:
    """What comes in, and how long ago it last did."""
    engine, risk, kill = trader.engine, config.risk, config.kill
    book = engine.book
    rows: list[tuple[str, int | None, float | None]] = []
    touch_ns = book.touch_age_ns(now_ns)
    rows.append(("touch", None if touch_ns is None else now_ns - touch_ns, risk.stale_pull_s))
    for watch in trader.link.streams():
        limit_s = None if watch.limit_ns is None else watch.limit_ns / NS_PER_S
        rows.append((watch.name, watch.seen_ns or None, limit_s))
    rows.append(("l2Book (plain)", book.heard_ns(is_fast=False), None))
    rows.append(("mark", engine.ctx_ns, kill.mark_s))
    rows.append(("account", engine.account_ns, kill.account_s))
    found: list[Stream] = []
    for name, seen_ns, limit_s in rows:
        age_s = None if seen_ns is None else max(0.0, (now_ns - seen_ns) / NS_PER_S)
        is_stale = limit_s is not None and (age_s is None or age_s >= limit_s)
        found.append(Stream(name, age_s, limit_s, is_stale))
    return tuple(found)


def orders_of(trader: Trader, side: Side) -> tuple[Order, ...]:
    """What is wanted and what rests on a side, by price, nearest first."""
    engine, facts, decision = trader.engine, trader.facts, trader.decision
    instrument, fair = engine.instrument, engine.book.fair_ticks
    wanted: dict[int, int] = {}
    # What was wanted while something blocked the quotes is wanted no more.
    is_quoting = decision is not None and not trader.closing and not _is_blocked(trader)
    if facts is not None and is_quoting:
        for fall in facts.bids if side > 0 else facts.asks:
            wanted[fall.px_ticks] = wanted.get(fall.px_ticks, 0) + fall.sz_lots
    live: dict[int, int] = {}
    states: dict[int, str] = {}
    for slot in engine.orders.side(side):
        px = slot.target_px_ticks
        live[px] = live.get(px, 0) + slot.exposure_lots
        states[px] = slot.state.value
    return tuple(
        Order(
            instrument.px(px),
            None if fair is None else side * (fair - px) / fair * 1e4,
            instrument.sz(wanted.get(px, 0)),
            instrument.sz(live.get(px, 0)),
            states.get(px, ""),
        )
        for px in sorted(wanted.keys() | live.keys(), key=lambda px: -side * px)
    )


def _is_blocked(trader: Trader) -> bool:
    """Whether the last decision made no quote: the record of an earlier one says nothing of now."""
    decision = trader.decision
    if decision is None:
        return True
    reasons = decision.status.reasons
    return bool(reasons) and not any(
        reason.startswith(("bid: ", "ask: ")) or reason == "requests spent" for reason in reasons
    )


def _holding(trader: Trader) -> Holding:
    engine = trader.engine
    position, instrument, limits = engine.position, engine.instrument, engine.limits
    if not position.is_started:
        return Holding(None, None, None, None, None)
    px = engine.book.last_mid_ticks or engine.mark_ticks
    entry = position.entry_ticks
    return Holding(
        instrument.sz(position.lots),
        None if px is None else instrument.sz(position.lots) * instrument.px(px),
        None if entry is None else instrument.px(entry),
        engine.x,
        None if limits is None else limits.q_max_usd,
    )


def _pnl(trader: Trader) -> Pnl:
    engine = trader.engine
    position = engine.position
    px = engine.book.last_mid_ticks or engine.mark_ticks
    day = engine.risk.day if engine.limits is not None else None
    return Pnl(
        position.realised_usd,
        None if px is None else position.unrealised_usd(px),
        position.fees_usd,
        position.funding_usd,
        None if px is None else position.pnl_usd(px),
        engine.markouts.spread_capture_usd,
        None if day is None else day.pnl_usd,
    )


def _requests(trader: Trader, now_ns: int) -> Requests:
    budget, forecast = trader.gateway.budget, trader.engine.forecast(now_ns)
    is_read = budget.used is not None
    return Requests(
        forecast.left if is_read else None,
        # Of the same moment: the venue's own cap is minutes old, without what trades earned since.
        forecast.cap - forecast.left if is_read else None,
        forecast.cap if is_read else None,
        forecast.per_h,
        forecast.hours,
        budget.weight_used(now_ns),
        WEIGHT_PER_MIN,
    )


def _trigger(reach: Reach) -> Trigger:
    value, limit, used = reach.value, reach.limit, None
    if value is not None:
        if not reach.is_least:
            used = max(0.0, value / limit) if limit > 0 else None
        elif value > 0:
            used = max(0.0, limit / value)
        else:
            used = 1.0
    return Trigger(reach.trigger, value, limit, reach.unit, reach.is_least, used)


_NO_TERMS = frozenset({"side", "px_ticks", "sz_lots", "depth_bps"})
TERMS = tuple(name for name in Waterfall.__struct_fields__ if name not in _NO_TERMS)
"""Names of the terms of a waterfall, in its order."""


def _side_why(
    trader: Trader, config: Config, facts: Diagnostics, side: Side, off: frozenset[str]
) -> SideWhy:
    engine, is_bid = trader.engine, side > 0
    instrument, fair = engine.instrument, engine.book.fair_ticks
    falls = facts.bids if is_bid else facts.asks
    fall = falls[0] if falls else None
    slots = engine.orders.side(side)
    near = max((side * slot.target_px_ticks for slot in slots), default=None)
    resting = None if near is None else side * near
    terms = {} if fall is None else {name: getattr(fall, name) for name in TERMS}
    return SideWhy(
        side=side.name.lower(),
        px=None if fall is None else instrument.px(fall.px_ticks),
        sz=None if fall is None else instrument.sz(fall.sz_lots),
        bps=None if fall is None else fall.depth_bps,
        pulled=facts.bid_pulled if is_bid else facts.ask_pulled,
        resting_px=None if resting is None else instrument.px(resting),
        resting_bps=(
            None if resting is None or fair is None else side * (fair - resting) / fair * 1e4
        ),
        exposure_sz=instrument.sz(engine.orders.exposure_lots(side)),
        budget_sz=facts.bid_budget_sz if is_bid else facts.ask_budget_sz,
        terms=terms,
        off=tuple(name for name in terms if name in off),
        capped=() if fall is None else tuple(_capped(config, facts, fall)),
    )


def _off(config: Config) -> list[str]:
    """Terms that the configuration switches off."""
    quoter, stance, cascade = config.quoter, config.stance, config.cascade
    has_reference = bool(config.reference.coin) and quoter.reference_bps_max > 0
    switches = {
        "drift_bps": quoter.drift_x_max > 0,
        "funding_bps": quoter.funding_bps_max > 0,
        "reference_bps": has_reference,
        "opposed_bps": stance.response_bps_max > 0,
        "widening_bps": quoter.widening_gain > 0 and quoter.widening_bps_max > 0,
        "guard_bps": quoter.guard_bps > 0,
        "cascade_bps": cascade.gain > 0,
        "hold_bps": cascade.gain > 0,
    }
    return [name for name, is_on in switches.items() if not is_on]


def _capped(config: Config, facts: Diagnostics, fall: Waterfall) -> list[str]:
    """Terms of a waterfall that stand at a bound of the configuration."""
    quoter = config.quoter
    drift_max = facts.skew_bps * quoter.drift_x_max
    at_bound = {
        "glft_bps": _is_at(fall.glft_bps, quoter.glft_bps_max),
        "drift_bps": _is_at(fall.drift_bps, drift_max),
        "funding_bps": _is_at(fall.funding_bps, quoter.funding_bps_max),
        "reference_bps": _is_at(fall.reference_bps, quoter.reference_bps_max),
        "shift_cap_bps": bool(fall.shift_cap_bps),
        "opposed_bps": facts.is_response_capped and bool(fall.opposed_bps),
        "widening_bps": _is_at(fall.widening_bps, quoter.widening_bps_max),
        "cascade_bps": _is_at(fall.cascade_bps, config.cascade.extra_bps_max),
    }
    return [name for name, is_capped in at_bound.items() if is_capped]


def _is_at(term_bps: float | None, bound_bps: float) -> bool:
    return term_bps is not None and bound_bps > 0 and abs(term_bps) >= bound_bps * (1 - 1e-9)
