"""
Named markets, and the venue each of them lives on.

A scenario is a set of figures of `MarketParams` with the reason for them; any figure can be
overridden (`--set market.k_per_bp=0.35`). `build_venue` lists the perps, opens the accounts and
starts the market.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mmbot.emulator.listings import HYNA, dexes
from mmbot.emulator.market import Companion, Market, MarketParams
from mmbot.emulator.specs import VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.worlds import WORLDS
from mmbot.errors import ConfigError

_REFERRER: Final = "MMBOT"


class Scenario(msgspec.Struct, frozen=True):
    """
    A named market.

    Attributes:
        name: What `--scenario` takes.
        description: One line for a person: what it is and where its figures come from.
        params: Its figures.
    """

    name: str
    description: str
    params: MarketParams


class Funded(NamedTuple):
    """
    An account to open.

    Attributes:
        address: `0x` and 40 hex digits.
        equity_usd: Deposit on the traded perp's dex, in its collateral.
        maker_bps, taker_bps: User fee rates before what the perp multiplies; None for the tier
            table (1.5 and 4.5 without volume).
        is_referred: Charged 4 % less; 2.88 bps on hyna is 3.0 less that.
    """

    address: str
    equity_usd: float
    maker_bps: float | None = None
    taker_bps: float | None = None
    is_referred: bool = False


def _named(scenarios: Iterable[Scenario]) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


SCENARIOS: Final[Mapping[str, Scenario]] = _named(
    (
        Scenario(
            "demo",
            "Livelier than HYPE, so that fills come soon; it appears in no table of results.",
            MarketParams(
                sigma_bps_rt_s=0.8,
                a_per_s=0.4,
                k_per_bp=0.1,
                impact_j0_bps=1.0,
                impact_a1=0.1,
                impact_decay_frac=0.5,
                # No episodes: what a person sees in the first minutes should not hang on luck.
                sweep_informed_frac=0.0,
                episodes_per_hour=0.0,
            ),
        ),
        Scenario(
            "hype",
            "The HYPE perp: its mid moves 1.6 bps per root second (recorded: 1.4 at 1 s, 1.8 at "
            "10 s), its flow is informed, and a symmetric 3 bps maker loses after fees.",
            MarketParams(
                # The world with half of the sweeps informed (model notes 8.1): its adverse moves
                # were matched to fills of real makers, 3.7 against 4.6 bps at a depth of 3. One
                # second of the recorded mid (10 June 2026) moves 1.4 bps, ten seconds 1.8 per
                # root second: what a trade moves here stays, none of it decays.
                sigma_bps_rt_s=0.8,
                a_per_s=0.12,
                k_per_bp=0.5,
                impact_j0_bps=1.2,
                impact_p=0.6,
                impact_a1=0.3,
                impact_decay_frac=0.0,
                sweeps_per_s=0.001,
                sweep_informed_frac=0.5,
                # Native HYPE showed half spreads of 0.16 to 0.65 bps.
                touch_spread_bps=0.5,
            ),
        ),
        *(Scenario(name, text, params) for name, (text, params) in WORLDS.items()),
    )
)


def scenario_params(name: str, overrides: Mapping[str, object]) -> MarketParams:
    """
    Figures of a scenario with some of them replaced.

    Raises:
        ConfigError: Unknown scenario or figure, or a value out of bounds; names key and remedy.
    """
    scenario = SCENARIOS.get(name)
    if scenario is None:
        msg = f"emulator.scenario = {name!r}: not a scenario; use one of {', '.join(SCENARIOS)}"
        raise ConfigError(msg)
    try:
        return MarketParams.model_validate({**scenario.params.model_dump(), **overrides})
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item) for item in error.errors())) from None


def _explain(item: ErrorDetails) -> str:
    if not item["loc"]:
        # A contradiction between figures, which names them itself.
        return f"market: {item['msg']}"
    name = str(item["loc"][0])
    text = f"market.{name} = {item['input']!r}: {item['msg']}"
    if name in MarketParams.model_fields:
        return text
    near = difflib.get_close_matches(name, MarketParams.model_fields, n=1)
    return text + (f"; did you mean market.{near[0]}?" if near else "; remove it")


def build_venue(
    coin: str,
    scenario: str,
    *,
    overrides: Mapping[str, object],
    seed: int,
    now_ms: int,
    accounts: Sequence[Funded | tuple[str, float]],
    venue_params: VenueParams | None = None,
    has_queue: bool = True,
) -> tuple[Venue, Market]:
    """
    A venue with every listed perp, the accounts funded, and the market of `coin` running.

    Perps that are listed but not traded get a standing book; when a builder dex's coin is traded,
    the main dex's perp of the same coin follows the fair price, as a reference for it.

    Args:
        coin: Name on the wire (`HYPE`, `hyna:HYPE`). A hyna coin brings that dex back to life.
        scenario: Name of the market.
        overrides: Figures of it that differ.
        seed: Seeds the market.
        now_ms: Venue time at the start, ms since the epoch.
        accounts: Who is funded, on the dex of `coin`, in that dex's collateral.
        venue_params: The venue's rules if not the real ones.
        has_queue: Whether the place in the queue matters.

    Raises:
        ConfigError: Unknown or delisted coin, unknown scenario, bad figure.
    """
    params = scenario_params(scenario, overrides)
    dex, colon, _ = coin.rpartition(":")
    listed = dexes(is_hyna_alive=dex == HYNA)
    venue = Venue(venue_params or VenueParams(), listed, now_ms)
    asset_id = _tradable(venue, coin)
    for entry in accounts:
        _open(venue, entry if isinstance(entry, Funded) else Funded(*entry), dex)
    base = coin.rpartition(":")[2] if colon else None
    others = [asset for asset in venue.state.assets.values() if asset.asset_id != asset_id]
    companions = [
        Companion(asset.asset_id, follows=asset.coin == base)
        for asset in others
        if not asset.is_delisted
    ]
    market = Market(
        params, venue, asset_id, seed, now_ms, companions=companions, has_queue=has_queue
    )
    return venue, market


def _tradable(venue: Venue, coin: str) -> int:
    listed = venue.state.by_coin
    asset = listed.get(coin)
    if asset is None:
        near = difflib.get_close_matches(coin, listed, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"use one of {', '.join(listed)}"
        msg = f"instrument.coin = {coin!r}: not listed on the emulated exchange; {hint}"
        raise ConfigError(msg)
    if asset.is_delisted:
        alive = ", ".join(name for name, other in listed.items() if not other.is_delisted)
        msg = f"instrument.coin = {coin!r}: delisted; use one of {alive}"
        raise ConfigError(msg)
    return asset.asset_id


def _open(venue: Venue, funded: Funded, dex: str) -> None:
    venue.open_account(funded.address, usd=funded.equity_usd, dex=dex)
    venue.set_rates(
        funded.address,
        taker=None if funded.taker_bps is None else funded.taker_bps * 1e-4,
        maker=None if funded.maker_bps is None else funded.maker_bps * 1e-4,
    )
    if funded.is_referred:
        venue.account(funded.address).referrer = _REFERRER
