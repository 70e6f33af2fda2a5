"""
What is read from the venue before a run; `verdicts` says of each whether it lets the run begin.

Everything is looked at before the first problem is reported, so that a person sees all of them.
"""

from __future__ import annotations

import asyncio
import difflib
from typing import Final, NamedTuple

import msgspec

from mmbot.config import Config
from mmbot.core.hours import Hours
from mmbot.core.sizing import NoiseTrips, range_vol_bps_rt_s
from mmbot.core.types import NS_PER_MS, Fees, Instrument
from mmbot.errors import ConfigError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import Known
from mmbot.hyperliquid.universe import Universe, fees
from mmbot.runtime.aio import wall_clock_ns
from mmbot.runtime.patience import Reads
from mmbot.runtime.verdicts import (
    Row,
    budget_row,
    clock_limit_ms,
    clock_row,
    dead_man_row,
    equity_row,
    fine,
    instrument_row,
    leverage_row,
    margin_rows,
    market_row,
    mode_row,
    noise_row,
    orders_row,
    signer_row,
)

_CLOCK_READINGS: Final = 3
_HOUR_S: Final = 3600.0
_DAY_MS: Final = 86_400_000


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
    coin = instrument.coin
    began_ns = wall_clock_ns()
    bodies, skew_ms, measured, shown = await asyncio.gather(
        _bodies(rest, signer.address, user, instrument),
        _clock_skew_ms(rest, clock_limit_ms(config)),
        _measured_vol(rest, coin),
        _shown(config, rest, instrument, user, is_shown=is_shown),
    )
    rates = fees(instrument, bodies[2])
    account = wire_rest.clearinghouse_state(bodies[3], instrument)
    now_ns = wall_clock_ns()
    budget = wire_rest.user_rate_limit(bodies[4])
    ctx = wire_rest.market_ctx(bodies[5], coin)
    noise, weighed = noise_row(config, account.equity_usd, instrument, measured)
    rows = (
        instrument_row(instrument),
        market_row(config, coin, ctx, is_capped=coin in wire_rest.coins_at_cap(bodies[6])),
        fine("hours", Hours(config.hours).text(now_ns)),
        signer_row(signer, user, wire_rest.user_role(bodies[0])),
        mode_row(wire_rest.user_abstraction(bodies[1])),
        fine("fees", f"maker {rates.maker_bps:.3f} bps, taker {rates.taker_bps:.3f} bps"),
        equity_row(config, account.equity_usd, instrument, ctx.mark_px),
        weighed,
        *margin_rows(config, instrument),
        *shown.leverage,
        fine("position", f"{instrument.sz(account.position_lots):+g} {coin}"),
        *shown.orders,
        budget_row(budget),
        clock_row(skew_ms, clock_limit_ms(config)),
        dead_man_row(config, budget),
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


async def _bodies(rest: Reads, signer: str, user: str, instrument: Instrument) -> list[bytes]:
    """What the venue says of key, account and market, as it says it."""
    return await asyncio.gather(
        rest.info({"type": "userRole", "user": signer}),
        rest.info({"type": "userAbstraction", "user": user}),
        rest.info({"type": "userFees", "user": user}),
        rest.info({"type": "clearinghouseState", "user": user, "dex": instrument.dex}),
        rest.info({"type": "userRateLimit", "user": user}),
        rest.info({"type": "metaAndAssetCtxs", "dex": instrument.dex}),
        rest.info({"type": "perpsAtOpenInterestCap", "dex": instrument.dex}),
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
        (leverage_row(config, held, instrument),),
        (orders_row(resting, instrument),),
        len(resting),
    )


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
