"""
What is read from the venue before a run, whether it lets the run begin, and what would be quoted.

Everything is looked at before the first problem is reported, so that a person sees all of them.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from math import floor
from typing import Final, NamedTuple

import msgspec

from mmbot.config import Config
from mmbot.core.events import OrderUpdate
from mmbot.core.hours import Hours
from mmbot.core.ladder import side_usd_min
from mmbot.core.margin import liquidation_move, maintenance_per_usd
from mmbot.core.orders import READ_LAG_NS
from mmbot.core.risk import POSITION_PER_CAPITAL_MAX, Limits
from mmbot.core.sizing import TRIP_P_MAX, NoiseTrips, noise_trips, range_vol_bps_rt_s
from mmbot.core.types import NS_PER_MS, Fees, Instrument
from mmbot.errors import ConfigError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.deadman import SCHEDULE_CANCEL_USD
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import Known
from mmbot.hyperliquid.universe import Universe, fees
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.cloids import is_ours
from mmbot.runtime.patience import Reads

CLOCK_SKEW_MS_MAX: Final = READ_LAG_NS // NS_PER_MS
"""No run begins with a clock that is further off, whatever is configured: an order outlives its
expiry by what our clock is ahead, and is held to be gone as long after it as a reading may trail.
"""
_CLOCK_SHARE: Final = 0.75
"""Of what trips a run and of what kills an order: the check comes before either."""
_CLOCK_READINGS: Final = 3
STANDARD_MODES: Final = ("default", "disabled")
_WARN_REQUESTS_LEFT: Final = 1000
_HOUR_S: Final = 3600.0
_DAY_MS: Final = 86_400_000


class Row(msgspec.Struct, frozen=True):
    """One thing that was looked at; a run does not begin unless every one is fine."""

    name: str
    is_ok: bool
    text: str


def _fine(name: str, text: str) -> Row:
    return Row(name, is_ok=True, text=text)


def _bad(name: str, text: str) -> Row:
    return Row(name, is_ok=False, text=text)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says about instrument and account before a run."""

    instrument: Instrument
    user: str
    fees: Fees
    equity_usd: float
    position_lots: int
    open_orders: int | None
    """None where they were not read."""
    requests_used: int
    requests_cap: int
    volume_usd: float
    """Traded since the account exists."""
    mark_px: float
    read_at_ns: int
    """When the reading of the account began."""
    noise: NoiseTrips
    """How often noise alone would trip a limit of this configuration here."""
    vol_bps_rt_s: float | None = None
    """Volatility of the last day; None where there is none."""
    clock_ahead_ms: int = 0
    """By how much our clock is ahead of the venue's, the way of its answer included."""
    rows: tuple[Row, ...] = ()

    def venue_ns(self, now_ns: int) -> int:
        """The venue's clock when ours says `now_ns`, or a little earlier."""
        return now_ns - self.clock_ahead_ms * NS_PER_MS

    @property
    def known(self) -> Known:
        """What a run that begins now need not read again."""
        return Known(
            at_ns=self.read_at_ns,
            fees=self.fees,
            mark_px=self.mark_px,
            requests_used=self.requests_used,
            requests_cap=self.requests_cap,
            volume_usd=self.volume_usd,
        )


async def read_facts(
    config: Config,
    rest: Reads,
    signer: Signer,
    instrument: Instrument | None = None,
    *,
    is_shown: bool = True,
) -> Facts:
    """
    Read account, fees, budget and clock; the instrument too, unless it was read before.

    Args:
        config: The configuration.
        rest: Reads from the venue.
        signer: Who signs.
        instrument: What is traded, if it is known already.
        is_shown: Whether a person looks at all of it. If not, what no run depends on is left out
            (the orders that rest, the leverage before it is set), for the weight of the address.

    Raises:
        ConfigError: The instrument or its reference is unknown or delisted.
        VenueError: The venue cannot be reached, or refuses.
    """
    if instrument is None:
        instrument = await read_instrument(config, rest)
    await _check_reference(config, rest)
    user = account_of(config, signer)
    coin, dex = instrument.coin, instrument.dex
    began_ns = wall_clock_ns()
    bodies, skew_ms, measured, shown = await asyncio.gather(
        asyncio.gather(
            rest.info({"type": "userRole", "user": signer.address}),
            rest.info({"type": "userAbstraction", "user": user}),
            rest.info({"type": "userFees", "user": user}),
            rest.info({"type": "clearinghouseState", "user": user, "dex": dex}),
            rest.info({"type": "userRateLimit", "user": user}),
            rest.info({"type": "metaAndAssetCtxs", "dex": dex}),
            rest.info({"type": "perpsAtOpenInterestCap", "dex": dex}),
        ),
        _clock_skew_ms(rest, clock_limit_ms(config)),
        _measured_vol(rest, coin),
        _shown(config, rest, instrument, user, is_shown=is_shown),
    )
    role = wire_rest.user_role(bodies[0])
    mode = wire_rest.user_abstraction(bodies[1])
    rates = fees(instrument, bodies[2])
    account = wire_rest.clearinghouse_state(bodies[3], instrument)
    now_ns = wall_clock_ns()
    budget = wire_rest.user_rate_limit(bodies[4])
    ctx = wire_rest.market_ctx(bodies[5], coin)
    is_capped = coin in wire_rest.coins_at_cap(bodies[6])
    noise, weighed = noise_row(config, account.equity_usd, instrument, measured)
    rows = (
        _instrument_row(instrument),
        _market_row(config, coin, ctx, is_capped=is_capped),
        _fine("hours", Hours(config.hours).text(now_ns)),
        _signer_row(signer, user, role),
        Row("account mode", mode in STANDARD_MODES, _mode_text(mode)),
        _fine("fees", f"maker {rates.maker_bps:.3f} bps, taker {rates.taker_bps:.3f} bps"),
        _equity_row(config, account.equity_usd, instrument, ctx.mark_px),
        weighed,
        *_margin_rows(config, instrument),
        *shown.leverage,
        _fine("position", f"{instrument.sz(account.position_lots):+g} {coin}"),
        *shown.orders,
        _budget_row(budget),
        _clock_row(skew_ms, clock_limit_ms(config)),
        _dead_man_row(config, budget),
    )
    return Facts(
        instrument=instrument,
        user=user,
        fees=rates,
        equity_usd=account.equity_usd,
        position_lots=account.position_lots,
        open_orders=shown.open_orders,
        requests_used=budget.used,
        requests_cap=budget.allowed,
        volume_usd=budget.cum_vlm_usd,
        mark_px=ctx.mark_px,
        read_at_ns=began_ns,
        noise=noise,
        vol_bps_rt_s=measured,
        clock_ahead_ms=skew_ms,
        rows=rows,
    )


class _Shown(NamedTuple):
    """What is read for a person alone."""

    leverage: tuple[Row, ...] = ()
    orders: tuple[Row, ...] = ()
    open_orders: int | None = None


async def _shown(
    config: Config, rest: Reads, instrument: Instrument, user: str, *, is_shown: bool
) -> _Shown:
    """Leverage and orders as they are: a run sets the one, and looks for the others itself."""
    if not is_shown:
        return _Shown()
    asset, orders = await asyncio.gather(
        rest.info({"type": "activeAssetData", "user": user, "coin": instrument.coin}),
        rest.info({"type": "openOrders", "user": user, "dex": instrument.dex}),
    )
    resting = wire_rest.open_orders(orders, instrument, wall_clock_ns())
    held = wire_rest.active_asset_data(asset).leverage
    return _Shown(
        (_leverage_row(config, held, instrument),),
        (orders_row(resting, instrument),),
        len(resting),
    )


def clock_limit_ms(config: Config) -> int:
    """How far our clock may be from the venue's at the start, either way."""
    least_s = min(config.kill.clock_s, config.gateway.expires_after_s)
    return round(_CLOCK_SHARE * min(least_s * 1000, CLOCK_SKEW_MS_MAX))


async def _clock_skew_ms(rest: Reads, limit_ms: int) -> int:
    """
    By how much our clock is ahead; looked at when the answer comes, not when all have come.

    Delivery only ever makes it look further ahead, by no more than the question and its answer
    took: one that seems to be too far is read again, and what remains is what is certain.
    """
    least_ms = most_ms = 0
    for reading in range(_CLOCK_READINGS):
        asked_ms = wall_clock_ns() // NS_PER_MS
        body = await rest.info({"type": "exchangeStatus"})
        now_ms = wall_clock_ns() // NS_PER_MS
        skew_ms = now_ms - wire_rest.exchange_time_ms(body)
        certain_ms = skew_ms - (now_ms - asked_ms)
        most_ms = skew_ms if reading == 0 else min(most_ms, skew_ms)
        least_ms = certain_ms if reading == 0 else max(least_ms, certain_ms)
        if most_ms <= limit_ms:
            return most_ms
    return max(0, least_ms)


async def _measured_vol(rest: Reads, coin: str) -> float | None:
    """Volatility of the last day from its hourly ranges; None where there is no such day."""
    now_ms = wall_clock_ns() // NS_PER_MS
    req = {"coin": coin, "interval": "1h", "startTime": now_ms - _DAY_MS, "endTime": now_ms}
    body = await rest.info({"type": "candleSnapshot", "req": req})
    return range_vol_bps_rt_s(wire_rest.candle_ranges_bps(body), _HOUR_S)


def account_of(config: Config, signer: Signer) -> str:
    """Address of the account traded: the key's own, unless the key is an agent's."""
    return (config.account_address or signer.address).lower()


def failures(facts: Facts) -> list[Row]:
    """What keeps a run from beginning."""
    return [row for row in facts.rows if not row.is_ok]


async def read_instrument(config: Config, rest: Reads) -> Instrument:
    """
    Look the configured perp up in the venue's own lists.

    Raises:
        ConfigError: Unknown or delisted.
        CheckError: Its fees cannot be computed.
    """
    universe = await read_universe(config, rest)
    return universe.instrument(config.instrument.wire_coin)


async def read_universe(config: Config, rest: Reads) -> Universe:
    """
    The perps of the configured dex: what is to be cancelled, and what may be traded.

    Raises:
        ConfigError: The venue has no such dex.
    """
    return await _universe(rest, config.instrument.dex, "instrument.dex")


async def _universe(rest: Reads, dex: str, key: str) -> Universe:
    """The perps of a dex; `key` is what the configuration names it by."""
    if not dex:
        return Universe.parse(await rest.info({"type": "meta", "dex": ""}), None, "")
    dexs, spot = await asyncio.gather(
        rest.info({"type": "perpDexs"}), rest.info({"type": "spotMeta"})
    )
    # The venue answers `meta` of an unknown dex with a 500, which could mean anything.
    listed = [entry.name for entry in wire_rest.perp_dexs(dexs) if entry is not None]
    if dex not in listed:
        near = difflib.get_close_matches(dex, listed, n=3, cutoff=0.5) or listed
        raise ConfigError(f"{key}: the venue has no dex {dex!r}; use one of {', '.join(near)}")
    meta = await rest.info({"type": "meta", "dex": dex})
    return Universe.parse(meta, dexs, dex, spot_meta=spot)


async def _check_reference(config: Config, rest: Reads) -> None:
    """The venue would answer a stream of an unknown coin by hanging up, naming nothing."""
    coin = config.reference.coin
    if not coin:
        return
    universe = await _universe(rest, coin.rpartition(":")[0], "reference.coin")
    if coin not in universe.coins:
        near = difflib.get_close_matches(coin.upper(), universe.coins, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "leave it empty for none"
        raise ConfigError(f"reference.coin = {coin!r}: the venue has no such live perp; {hint}")


def _instrument_row(instrument: Instrument) -> Row:
    growth = ", growth mode" if instrument.growth_mode else ""
    return _fine(
        "instrument",
        f"{instrument.coin} id {instrument.asset_id}, sizes to {instrument.sz_decimals} decimals, "
        f"at most {instrument.max_leverage}x, collateral {instrument.collateral}{growth}",
    )


def _market_row(config: Config, coin: str, ctx: wire_rest.MarketCtx, *, is_capped: bool) -> Row:
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
    return _fine("market", text)


def _signer_row(signer: Signer, user: str, role: wire_rest.UserRole) -> Row:
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


def _leverage_row(config: Config, held: wire_rest.Leverage, instrument: Instrument) -> Row:
    text = f"{held.type} {held.value}x at the venue"
    wanted, most = config.risk.leverage, instrument.max_leverage
    if wanted > most:
        text += f"; risk.leverage = {wanted} is above its maximum, {most}x will be set"
    return _fine("leverage", text)


def _mode_text(mode: str) -> str:
    if mode in STANDARD_MODES:
        return f"standard ({mode})"
    return f"{mode}: its per-dex balances mean nothing; switch the account to standard mode"


def _equity_row(config: Config, equity_usd: float, instrument: Instrument, mark_px: float) -> Row:
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
    return _fine("equity", text)


def _margin_rows(config: Config, instrument: Instrument) -> tuple[Row, ...]:
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
        return (_fine("margin", text),)
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
        return noise, _fine("noise", text)
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
        return _fine("open orders", f"{len(resting)} in {instrument.coin}{left}")
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


def _budget_row(budget: wire_rest.RateLimit) -> Row:
    left = budget.allowed - budget.used
    text = f"{left} left of {budget.allowed}"
    if left <= 0:
        return _bad("requests", f"{text}: trade by hand to earn some, one per USD")
    if left < _WARN_REQUESTS_LEFT:
        text += ": few; the ladder will move less often"
    return _fine("requests", text)


def _clock_row(skew_ms: int, limit_ms: int) -> Row:
    text = f"{skew_ms:+d} ms against the venue"
    if abs(skew_ms) <= limit_ms:
        return _fine("clock", f"{text}, delivery included")
    return _bad(
        "clock",
        f"{text}, more than {limit_ms} ms (kill.clock_s, gateway.expires_after_s): synchronise it "
        "(NTP)",
    )


def _dead_man_row(config: Config, budget: wire_rest.RateLimit) -> Row:
    if config.is_paper:
        return _fine("dead man", "none is needed: orders on paper end with the daemon")
    if budget.cum_vlm_usd >= SCHEDULE_CANCEL_USD:
        text = "the venue's own (scheduleCancel): this account is eligible"
        if config.gateway.schedule_cancel_s == 0:
            text += ", but gateway.schedule_cancel_s = 0 keeps it unarmed"
        return _fine("dead man", text)
    return _fine(
        "dead man",
        f"none at the venue: scheduleCancel needs {SCHEDULE_CANCEL_USD} USD traded, this account "
        f"has {budget.cum_vlm_usd:.0f}; run mmbot watchdog beside the daemon",
    )
