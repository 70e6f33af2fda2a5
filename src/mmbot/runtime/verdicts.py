"""
What a start looks at, each with whether it lets the run begin: a row of `mmbot check`.

Nothing is read here; what the venue said comes as it was read (`preflight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Final

import msgspec

from mmbot.config import Config
from mmbot.core.events import OrderUpdate
from mmbot.core.ladder import side_usd_min
from mmbot.core.margin import liquidation_move, maintenance_per_usd
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.risk import POSITION_PER_CAPITAL_MAX, Limits
from mmbot.core.sizing import TRIP_P_MAX, NoiseTrips, noise_trips
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.deadman import SCHEDULE_CANCEL_USD
from mmbot.hyperliquid.signing import Signer
from mmbot.runtime.cloids import is_ours

CLOCK_SKEW_MS_MAX: Final = READ_LAG_NS // NS_PER_MS
"""No run begins with a clock that is further off, whatever is configured: an order outlives its
expiry by what our clock is ahead, and is held to be gone as long after it as a reading may trail.
"""
_CLOCK_SHARE: Final = 0.75
"""Of what trips a run and of what kills an order: the check comes before either."""
STANDARD_MODES: Final = ("default", "disabled")
_WARN_REQUESTS_LEFT: Final = 1000


class Row(msgspec.Struct, frozen=True):
    """One thing that was looked at; a run does not begin unless every one is fine."""

    name: str
    is_ok: bool
    text: str


def fine(name: str, text: str) -> Row:
    """A row that keeps no run from beginning."""
    return Row(name, is_ok=True, text=text)


def _bad(name: str, text: str) -> Row:
    return Row(name, is_ok=False, text=text)


def clock_limit_ms(config: Config) -> int:
    """How far our clock may be from the venue's at the start, either way."""
    least_s = min(config.kill.clock_s, config.gateway.expires_after_s)
    return round(_CLOCK_SHARE * min(least_s * 1000, CLOCK_SKEW_MS_MAX))


def instrument_row(instrument: Instrument) -> Row:
    """What is traded."""
    growth = ", growth mode" if instrument.growth_mode else ""
    return fine(
        "instrument",
        f"{instrument.coin} id {instrument.asset_id}, sizes to {instrument.sz_decimals} decimals, "
        f"at most {instrument.max_leverage}x, collateral {instrument.collateral}{growth}",
    )


def market_row(config: Config, coin: str, ctx: wire_rest.MarketCtx, *, is_capped: bool) -> Row:
    """Whether it trades; what only keeps the position from growing may be over at any time."""
    if ctx.mid_px is None:
        return _bad(
            "market",
            f"{coin} has no mid at the venue: trading is halted, or nobody quotes it; wait until "
            "it trades, or name another instrument.coin",
        )
    gap_bps = (ctx.mark_px / ctx.oracle_px - 1) * 1e4
    text = f"trades, mark {gap_bps:+.1f} bps from the oracle"
    if is_capped:
        text += "; WARNING: at its cap of open interest, a position is only reduced"
    elif abs(gap_bps) > config.premises.oracle_gap_bps:
        text += (
            f"; WARNING: more than premises.oracle_gap_bps = {config.premises.oracle_gap_bps:g}, a "
            "position is only reduced"
        )
    return fine("market", text)


def signer_row(signer: Signer, user: str, role: wire_rest.UserRole) -> Row:
    """Whether the key may sign for the account."""
    if signer.address == user:
        is_ok = role.role in ("user", "subAccount", "vault")
        why = "" if is_ok else f": the venue says {role.role}; deposit first"
        return Row("key", is_ok, f"the account's own, {user}{why}")
    is_agent = role.role == "agent" and (role.master or "").lower() == user
    text = f"agent {signer.address} of {user}"
    if not is_agent:
        text += (
            f": the venue says {role.role} of {role.master or 'nobody'}; "
            "approve it as an API wallet of account.address, or correct account.address"
        )
    return Row("key", is_agent, text)


def leverage_row(config: Config, held: wire_rest.Leverage, instrument: Instrument) -> Row:
    """The leverage as it is, and what will be set."""
    text = f"{held.type} {held.value}x at the venue"
    wanted, most = config.risk.leverage, instrument.max_leverage
    if wanted > most:
        text += f"; risk.leverage = {wanted} is above its maximum, {most}x will be set"
    return fine("leverage", text)


def mode_row(mode: str) -> Row:
    """Whether the balance that is read is the one that is traded with."""
    if mode in STANDARD_MODES:
        return fine("account mode", f"standard ({mode})")
    return _bad(
        "account mode",
        f"{mode}: its per-dex balances mean nothing; switch the account to standard mode",
    )


def equity_row(config: Config, equity_usd: float, instrument: Instrument, mark_px: float) -> Row:
    """Whether what lies at the venue carries the position limit, and that one order a side."""
    risk = config.risk
    capital_usd = min(risk.capital_usd, equity_usd)
    highest_usd = POSITION_PER_CAPITAL_MAX * capital_usd
    text = f"{equity_usd:.2f} {instrument.collateral} at the venue, capital {risk.capital_usd:g}"
    if equity_usd <= 0:
        where = f"dex {instrument.dex}" if instrument.dex else "the main dex"
        return _bad("equity", f"{text}: deposit into {where} first")
    limit_usd = risk.position_limit_usd(equity_usd)
    if limit_usd > highest_usd:
        text += (
            f": risk.max_position_usd = {limit_usd:g} is above 5 x the smaller of the "
            f"two = {highest_usd:g}; deposit more or lower it"
        )
        return _bad("equity", text)
    side_usd = risk.side_budget_frac * limit_usd
    least_usd = side_usd_min(config.ladder, mark_px * instrument.sz(1))
    if side_usd < least_usd:
        text += (
            f": a position limit of {limit_usd:g} USD leaves {side_usd:g} USD a side, below the "
            f"{least_usd:.2f} USD of one order with its head-room; deposit more or set "
            "risk.max_position_usd"
        )
        return _bad("equity", text)
    return fine("equity", text)


def margin_rows(config: Config, instrument: Instrument) -> tuple[Row, ...]:
    """An isolated position stands alone: how far the price is from the trip when it is opened."""
    if not instrument.only_isolated:
        return ()
    leverage, frac = min(config.risk.leverage, instrument.max_leverage), config.kill.margin_frac
    share = maintenance_per_usd(instrument.max_leverage) * leverage
    text = (
        f"isolated at {leverage}x, of which {share:.0%} is maintenance when it is opened; the "
        f"venue liquidates a long at {liquidation_move(leverage, instrument.max_leverage, 1):+.1%}"
    )
    if share < frac:
        return (fine("margin", text),)
    text += (
        f": the first fill would trip kill.margin_frac = {frac:g}; lower risk.leverage, or raise it"
    )
    return (_bad("margin", text),)


def noise_row(
    config: Config, equity_usd: float, instrument: Instrument, measured: float | None
) -> tuple[NoiseTrips, Row]:
    """
    Whether the position limit fits the loss limits: a trip on noise says nothing.

    Where no money is at stake it is only said.
    """
    risk = config.risk
    limits = Limits.of(risk, instrument, equity_usd)
    vol = config.volatility.prior_bps_rt_s if measured is None else measured
    noise = noise_trips(
        capital_usd=limits.capital_usd,
        position_usd=limits.q_max_usd,
        vol_bps_rt_s=vol,
        x_rms=risk.noise_x_rms,
        loss_frac=_frac(
            min(risk.loss_usd(limits.capital_usd), risk.day_loss_usd(limits.capital_usd)), limits
        ),
        drawdown_frac=risk.drawdown_limit_frac,
        soft_frac=risk.soft_limit_frac,
    )
    source = "volatility.prior_bps_rt_s" if measured is None else "the last day's hourly ranges"
    text = (
        f"without edge a kill limit trips by chance on {noise.kill_p:.1%} of days, the soft one "
        f"on {noise.soft_p:.0%} (position limit {limits.q_max_usd:g} USD, {vol:.2f} bps per root "
        f"second, from {source})"
    )
    if noise.is_fit:
        return noise, fine("noise", text)
    text += (
        f": more than {TRIP_P_MAX:.0%}; set risk.max_position_usd to "
        f"{floor(noise.position_usd_max):g} or less, or raise risk.loss_limit_frac and "
        "risk.drawdown_limit_frac"
    )
    is_money = config.mode not in ("emulator", "paper")
    return noise, Row("noise", not is_money, text if is_money else f"WARNING: {text}")


def _frac(usd: float, limits: Limits) -> float:
    return usd / limits.capital_usd if limits.capital_usd > 0 else 0.0


def orders_row(resting: Sequence[OrderUpdate], instrument: Instrument) -> Row:
    """An order of somebody else would trade against ours, and moves the position beside us."""
    others = [order for order in resting if not is_ours(order.cloid)]
    if not others:
        left = ", all of this program" if resting else ""
        return fine("open orders", f"{len(resting)} in {instrument.coin}{left}")
    first = min(others, key=lambda order: order.oid)
    what = (
        f"{first.side.name.lower()} {instrument.sz(first.sz_lots):g} at "
        f"{instrument.px(first.px_ticks):g}, oid {first.oid}"
    )
    return _bad(
        "open orders",
        f"{len(others)} in {instrument.coin} that are not of this program ({what}): cancel them, "
        "or use an account of its own; they would trade with ours and move the position beside us",
    )


def budget_row(budget: wire_rest.RateLimit) -> Row:
    """How many requests are left."""
    left = budget.allowed - budget.used
    text = f"{left} left of {budget.allowed}"
    if left <= 0:
        return _bad("requests", f"{text}: trade by hand to earn some, one per USD")
    if left < _WARN_REQUESTS_LEFT:
        text += ": few; the ladder will move less often"
    return fine("requests", text)


def clock_row(skew_ms: int, limit_ms: int) -> Row:
    """Whether our clock is near enough to the venue's."""
    text = f"{skew_ms:+d} ms against the venue"
    if abs(skew_ms) <= limit_ms:
        return fine("clock", f"{text}, delivery included")
    return _bad(
        "clock",
        f"{text}, more than {limit_ms} ms (kill.clock_s, gateway.expires_after_s): synchronise it "
        "(NTP)",
    )


def dead_man_row(config: Config, budget: wire_rest.RateLimit) -> Row:
    """What cancels the orders of a daemon that dies."""
    if config.is_paper:
        return fine("dead man", "none is needed: orders on paper end with the daemon")
    if budget.cum_vlm_usd >= SCHEDULE_CANCEL_USD:
        text = "the venue's own (scheduleCancel): this account is eligible"
        if config.gateway.schedule_cancel_s == 0:
            text += ", but gateway.schedule_cancel_s = 0 keeps it unarmed"
        return fine("dead man", text)
    return fine(
        "dead man",
        f"none at the venue: scheduleCancel needs {SCHEDULE_CANCEL_USD} USD traded, this account "
        f"has {budget.cum_vlm_usd:.0f}; run mmbot watchdog beside the daemon",
    )
