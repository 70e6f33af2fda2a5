"""
The fire drill of the kill switch: what would trip it, for this configuration and this equity.

The limits are read off the parameters; which price move fires which of them is not computed but
tried, on an engine of this configuration that holds a position while the price goes against it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.alarms import CLOCK_HOLD_S
from mmbot.core.engine import Engine
from mmbot.core.events import AssetCtx, Bbo, DayBegan, Level, LinkUp, Snapshot
from mmbot.core.margin import BALANCE_FRAC, liquidation_move
from mmbot.core.risk import POSITION_KILL, Day, Limits
from mmbot.core.sizing import NoiseTrips
from mmbot.core.triggers import FLATTENS, Trip
from mmbot.core.types import HALTED, NS_PER_MS, NS_PER_S, RUNNING, Fees, Instrument
from mmbot.runtime.verdicts import Row, noise_row

_SHARES: Final = (0.2, 0.5, 1.0)
"""Positions that are tried, of the limit."""
_STEP_BPS: Final = 1.0
_STEPS_MAX: Final = 9_900
_MANY: Final = 10**9
_SMALL_LOSS: Final = 0.1
"""Position that tries the margin alone, of the loss that kills."""
_OFFLINE_PX: Final = 100.0
_T0_NS: Final = 1_700_000_000 * NS_PER_S
"""When a drill takes place that nothing says the time of: any will do."""


class Rule(msgspec.Struct, frozen=True):
    """One trigger: the figure at which it fires, and whether the position is closed after it."""

    trigger: str
    limit: float
    unit: str
    closes: bool
    what: str


class Fired(msgspec.Struct, frozen=True):
    """What a move did: the trigger, the move in percent of the price, the loss with it."""

    trigger: str
    move_pct: float
    loss_usd: float


class Burn(msgspec.Struct, frozen=True):
    """One position, with what the price moving against it fires first, softly and for good."""

    position_usd: float
    position_frac: float
    soft: Fired | None
    kill: Fired | None


class IsolatedBurn(msgspec.Struct, frozen=True):
    """
    One side of a perp with isolated margin, at any size: what the price moving against it does.

    `kill` is that of a position so small that no limit in money is reached; the venue liquidates
    at `liquidation_pct` of the price.
    """

    side: str
    leverage: int
    kill: Fired | None
    liquidation_pct: float


class Drill(msgspec.Struct, frozen=True):
    """The whole of it; `isolated` is empty where margin is cross."""

    equity_usd: float
    capital_usd: float
    position_limit_usd: float
    rules: tuple[Rule, ...]
    burns: tuple[Burn, ...]
    isolated: tuple[IsolatedBurn, ...]
    noise: NoiseTrips
    noise_row: Row


def rules(config: Config, limits: Limits, day: Day | None = None) -> tuple[Rule, ...]:
    """
    Every trigger with its limit in its own unit; the loss of the day as it stands.

    One table, long because there are so many of them.
    """
    risk, kill = config.risk, config.kill
    capital = limits.capital_usd
    day_limit = risk.day_loss_usd(capital if day is None else day.base_usd)
    lost_usd = 0.0 if day is None else max(0.0, -day.pnl_usd)
    loss = risk.loss_usd(capital)
    share = 100 / capital if capital > 0 else 0.0
    table: tuple[tuple[Trip, float, str, str], ...] = (
        (Trip.SESSION_LOSS, loss, "USD", f"lost since the start, {loss * share:.2g} % of it"),
        (
            Trip.DAY_LOSS,
            day_limit,
            "USD",
            f"lost since 00:00 UTC or the day's first start; {lost_usd:.2f} of it are gone",
        ),
        (
            Trip.DRAWDOWN,
            risk.drawdown_limit_frac * capital,
            "USD",
            f"below the peak of equity, {risk.drawdown_limit_frac * 100:.2g} % of that",
        ),
        (
            Trip.POSITION,
            POSITION_KILL * limits.q_max_usd,
            "USD",
            f"held, {POSITION_KILL:g} times the position limit",
        ),
        (
            Trip.MISMATCH,
            kill.mismatch_kill_s,
            "s",
            f"of a position that is not the venue's; no order rests from {kill.mismatch_pull_s:g}",
        ),
        (Trip.FOREIGN_FILL, 1.0, "fill", "of no order of ours that makes the position larger"),
        (Trip.LIQUIDATION, 1.0, "fill", "by which the venue closes ours"),
        (
            Trip.STUCK_LONG,
            kill.stuck_s,
            "s",
            f"stuck against an urgent trend with {config.guards.stuck_x:g} of the limit or more",
        ),
        (
            Trip.MARGIN,
            kill.margin_frac * 100,
            "%",
            "of the account value, or of an isolated position's margin, needed as maintenance",
        ),
        (
            Trip.BALANCE,
            BALANCE_FRAC * capital,
            "USD",
            "of account value; it fires below that",
        ),
        (Trip.STALE_DATA, risk.stale_kill_s, "s", "without a touch to quote from"),
        (Trip.STALE_MARK, kill.mark_s, "s", "without the venue's mark"),
        (Trip.STALE_ACCOUNT, kill.account_s, "s", "in which the account could not be read"),
        (Trip.REJECTS, float(kill.rejects), "a minute", "placements and moves refused"),
        (Trip.UNKNOWN_ORDER, kill.unknown_s, "s", "without a verdict on an order"),
        (Trip.REQUESTS, float(kill.requests_left), "requests", "left at the venue"),
        (
            Trip.CLOCK,
            kill.clock_s,
            "s",
            f"between our clock and the venue's for {CLOCK_HOLD_S:g} s",
        ),
        (Trip.DEAD_WIRING, kill.unwell_s, "s", "with a term of the quote that does not work"),
        (Trip.JOURNAL, kill.journal_s, "s", "in which the journal lags"),
        (Trip.EXCEPTION, 1.0, "exception", "that escapes, or invariant that breaks"),
        (Trip.OPERATOR, 1.0, "command", "mmbot kill, or SIGUSR1"),
    )
    return tuple(
        Rule(trip.value, limit, unit, config.kill.flatten and trip in FLATTENS, what)
        for trip, limit, unit, what in table
    )


def drill(
    config: Config,
    instrument: Instrument,
    *,
    equity_usd: float,
    px: float,
    vol_bps_rt_s: float | None,
    day: Day | None = None,
    now_ns: int = _T0_NS,
) -> Drill:
    """
    Try it.

    Args:
        config: The configuration.
        instrument: Which perp.
        equity_usd: At the venue.
        px: Price at which it begins.
        vol_bps_rt_s: Volatility measured there; None takes that of the configuration.
        day: What earlier runs of today did.
        now_ns: Now, where a day is given.
    """
    limits = Limits.of(config.risk, instrument, equity_usd)
    noise, row = noise_row(config, equity_usd, instrument, vol_bps_rt_s)
    burns = tuple(
        _burn(config, instrument, equity_usd, px, sign * share, day, now_ns)
        for sign in (1, -1)
        for share in _SHARES
        if limits.q_max_usd > 0
    )
    return Drill(
        equity_usd,
        limits.capital_usd,
        limits.q_max_usd,
        rules(config, limits, day),
        burns,
        _isolated(config, instrument, limits, px) if instrument.only_isolated else (),
        noise,
        row,
    )


def _isolated(
    config: Config, instrument: Instrument, limits: Limits, px: float
) -> tuple[IsolatedBurn, ...]:
    """
    The move at which the margin of a position alone trips, tried like the others.

    It is the same at every size; the position is so small that losing all of it is no loss of
    the account. What the day has cost already has a row of its own.
    """
    leverage = min(config.risk.leverage, instrument.max_leverage)
    capital_usd = limits.capital_usd
    if limits.q_max_usd <= 0:
        return ()
    found = []
    for name, side in (("long", 1), ("short", -1)):
        x = side * _SMALL_LOSS * config.risk.loss_usd(capital_usd) / limits.q_max_usd
        burn = _burn(config, instrument, capital_usd, px, x, None, _T0_NS)
        move = liquidation_move(leverage, instrument.max_leverage, side)
        found.append(IsolatedBurn(name, leverage, burn.kill, move * 100))
    return tuple(found)


def offline(config: Config) -> Drill:
    """
    The drill without a venue: with the capital and the volatility of the configuration.

    A perp of a builder dex is taken to be one of isolated margin, as most of them are.
    """
    instrument = Instrument(
        coin=config.instrument.wire_coin,
        asset_id=0,
        sz_decimals=4,
        max_leverage=config.risk.leverage,
        only_isolated=bool(config.instrument.dex),
    )
    return drill(
        config,
        instrument,
        equity_usd=config.risk.capital_usd,
        px=_OFFLINE_PX,
        vol_bps_rt_s=None,
    )


def _burn(
    config: Config,
    instrument: Instrument,
    equity_usd: float,
    px: float,
    x: float,
    day: Day | None,
    now_ns: int,
) -> Burn:
    """Hold `x` of the limit and let the price go against it, a basis point a millisecond."""
    engine = Engine(config.engine, instrument, cloid_prefix=1)
    ticks = instrument.ticks(px)
    limits = Limits.of(config.risk, instrument, equity_usd)
    lots = int(x * limits.q_max_lots(ticks))
    if day is not None:
        engine.apply(DayBegan(now_ns, day.number, day.base_usd, day.pnl_usd))
    engine.apply(LinkUp(now_ns))
    engine.apply(_account(now_ns, lots, equity_usd, px))
    soft: Fired | None = None
    sign = 1 if lots > 0 else -1
    for step in range(_STEPS_MAX):
        # So fast that no trigger of time has any part in it.
        now_ns += NS_PER_MS
        factor = 1 - sign * step * _STEP_BPS * 1e-4
        at = px * factor
        mid = instrument.ticks(at)
        engine.apply(AssetCtx(now_ns, at, at, 0.0, 1e6))
        bid, ask = instrument.floor_ticks(mid - 1), instrument.ceil_ticks(mid + 1)
        engine.apply(Bbo(now_ns, now_ns // NS_PER_MS, Level(bid, 10_000), Level(ask, 10_000)))
        decision = engine.decide(now_ns)
        risk = engine.risk
        fired = Fired("", (factor - 1) * 100, risk.start_usd - risk.equity_usd)
        if risk.mode is HALTED:
            assert risk.kill is not None
            kill = msgspec.structs.replace(fired, trigger=risk.kill.trigger)
            return Burn(x * limits.q_max_usd, x, soft, kill)
        if risk.mode is not RUNNING and soft is None:
            causes = [n.facts["cause"] for n in decision.notes if n.event == "mode.changed"]
            soft = msgspec.structs.replace(fired, trigger=str(causes[-1]))
    return Burn(x * limits.q_max_usd, x, soft, None)


def _account(now_ns: int, lots: int, equity_usd: float, px: float) -> Snapshot:
    return Snapshot(
        recv_ns=now_ns,
        requested_at_ns=now_ns,
        venue_ms=now_ns // NS_PER_MS,
        position_lots=lots,
        entry_px=px if lots else None,
        equity_usd=equity_usd,
        mark_px=px,
        fees=Fees(1.5, 4.5),
        open_orders=(),
        fills=(),
        requests_used=0,
        requests_cap=_MANY,
    )


def lines(told: Drill) -> list[str]:
    """The drill as a person reads it."""
    found = [
        (
            f"kill switch at an equity of {told.equity_usd:.2f} USD (capital "
            f"{told.capital_usd:.2f}, position limit {told.position_limit_usd:.2f})"
        ),
        "",
        f"  {'trigger':<18} {'fires at':>12} {'unit':<10} position  what",
    ]
    found.extend(
        f"  {rule.trigger:<18} {rule.limit:>12,.4g} {rule.unit:<10} "
        f"{'closed' if rule.closes else 'kept  '}    {rule.what}"
        for rule in told.rules
    )
    found += [
        "",
        "fire drill: a position is held whole while the price goes against it",
        f"  {'position':<26} {'first':<34} then",
    ]
    for burn in told.burns:
        side = "long" if burn.position_usd > 0 else "short"
        held = f"{side} {abs(burn.position_usd):.2f} USD, {abs(burn.position_frac):.0%}"
        found.append(f"  {held:<26} {_fired(burn.soft):<34} {_fired(burn.kill)}")
    for each in told.isolated:
        held = f"{each.side} isolated {each.leverage}x, any size"
        found.append(
            f"  {held:<26} {'':<33} {_fired_at(each.kill)}; "
            f"the venue liquidates at {each.liquidation_pct:+.2f} %"
        )
    verdict = "ok  " if told.noise_row.is_ok else "FAIL"
    found += ["", f"{verdict}  noise within 24 h  {told.noise_row.text}"]
    return found


def _fired(fired: Fired | None) -> str:
    if fired is None:
        return "nothing"
    return f"{_fired_at(fired)}, {fired.loss_usd:.2f} USD"


def _fired_at(fired: Fired | None) -> str:
    return "nothing" if fired is None else f"{fired.trigger} at {fired.move_pct:+.2f} %"
