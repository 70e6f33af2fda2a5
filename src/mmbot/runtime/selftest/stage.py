"""
A market that does what it is told: the stage on which the self-test shows the program one change.

Nothing here is drawn by chance. A touch stands around a price that a test sets, and a wall far
behind it keeps the book two-sided; no trade happens unless it is asked for. It trades on the
emulated venue's own book, so orders of the program are filled by the venue and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from mmbot.core.types import USD_PER_TICK_LOT, Instrument, Side, Tif
from mmbot.emulator.admission import market_max_usd
from mmbot.emulator.assets import AssetState
from mmbot.emulator.fees import charged_rate
from mmbot.emulator.listings import HYNA, dexes
from mmbot.emulator.specs import AssetSpec, DexSpec, NewOrder, VenueParams
from mmbot.emulator.venue import Venue

HALF_BPS: Final = 1.0
"""Half spread of the touch."""
_TOUCH_USD: Final = 20_000.0
"""Least size of the touch."""
_TOUCH_LIMITS: Final = 2.0
"""The same in position limits: a taker who brings the account to one finds all of it there."""
_WALL_BPS: Final = 250.0
_WALL_TOUCHES: Final = 500.0
_FINE: Final = 9.5
"""Leading figures of the price."""
_BASE_MAKER: Final = 0.00015
_BASE_TAKER: Final = 0.00045
_HOUSE: Final = "0xe5" + f"{1:038x}"
_TAKER: Final = "0xe5" + f"{2:038x}"
_PREMIUM: Final = 0.001
"""How much dearer a twin of the perp is on another dex, a fraction."""
_VALUE_USE: Final = 0.9
"""Part of the venue's greatest value of an order that is used."""
_VOLUME_USD: Final = 1e8
"""Past volume of the account: requests are not what is tested."""


def listing(
    coin: str, instrument: Instrument | None = None, *, reference: str = ""
) -> tuple[DexSpec, ...]:
    """
    What the venue lists: the emulator's universe with `coin` in it, alive and finely priced.

    A coin that the emulated exchange does not know is listed with the decimals and the leverage of
    `instrument`, or with those of HYPE. So is the market that leads: a twin of the coin at nearly
    its price, any other at one of its own.
    """
    dex, _, name = coin.rpartition(":")
    decimals = 2 if instrument is None else instrument.sz_decimals
    leverage = 10 if instrument is None else instrument.max_leverage
    listed: list[DexSpec] = list(dexes(is_hyna_alive=dex == HYNA))
    made = _alive(listed, coin, decimals, leverage)
    px = _fine_px(made.sz_decimals)
    _list(listed, dex, msgspec.structs.replace(made, mark_px=px))
    if reference:
        other_dex, _, other = reference.rpartition(":")
        led = _alive(listed, reference, made.sz_decimals, leverage)
        if other == name:
            px = round(px * (1 + _PREMIUM), 6 - led.sz_decimals)
            led = msgspec.structs.replace(led, mark_px=px)
        _list(listed, other_dex, led)
    return tuple(listed)


def _alive(listed: list[DexSpec], coin: str, decimals: int, leverage: int) -> AssetSpec:
    """The perp as the exchange lists it, alive; a new one where it does not know it."""
    for home in listed:
        for asset in home.assets:
            if asset.name == coin:
                return msgspec.structs.replace(asset, is_delisted=False)
    return AssetSpec(
        name=coin,
        sz_decimals=decimals,
        max_leverage=leverage,
        mark_px=_fine_px(decimals),
        deployer_fee_scale=1.0 if ":" in coin else None,
    )


def _list(listed: list[DexSpec], dex: str, asset: AssetSpec) -> None:
    """Put a perp on its dex, in the place of one of that name, and the dex after all others."""
    place = next((n for n, one in enumerate(listed) if one.name == dex), None)
    if place is None:
        listed.append(DexSpec(name=dex, assets=(asset,), full_name=dex))
        return
    home = listed[place]
    assets = [asset if one.name == asset.name else one for one in home.assets]
    if asset not in assets:
        assets.append(asset)
    listed[place] = msgspec.structs.replace(home, assets=tuple(assets))


def _fine_px(sz_decimals: int) -> float:
    """A lot is worth a tenth of a dollar there, and a step of five figures a tenth of a bps."""
    return _FINE * 10.0 ** (sz_decimals - 2)


class Stage:
    """
    The venue and the market around one account.

    Args:
        coin: Name on the wire of the perp that is traded.
        reference: Name on the wire of the market that leads, empty for none.
        user: The account under test.
        equity_usd: Its deposit.
        limit_usd: Its position limit; touch and wall hold a multiple of it.
        now_ms: Start.
        step_ms: How often the book changes.
        instrument: What the real venue says of the perp, if known.
    """

    def __init__(
        self,
        coin: str,
        *,
        reference: str,
        user: str,
        equity_usd: float,
        limit_usd: float,
        now_ms: int,
        step_ms: int,
        instrument: Instrument | None = None,
    ) -> None:
        self.user = user
        self.venue = Venue(VenueParams(), listing(coin, instrument, reference=reference), now_ms)
        self.asset = self._asset(coin)
        dex = coin.rpartition(":")[0]
        self.venue.open_account(user, usd=equity_usd, dex=dex)
        self.venue.grant_volume(user, _VOLUME_USD)
        self.fee_bps = 0.0
        self.set_fee(None)
        for house in (_HOUSE, _TAKER):
            self.venue.open_account(house, usd=0.0, is_house=True)
        self.step_ms, self._due_ms = step_ms, now_ms
        self._is_odd = False
        self._touch_usd = max(_TOUCH_USD, _TOUCH_LIMITS * limit_usd)
        self._orders: dict[tuple[int, str], list[int]] = {}
        self.start_ticks: int = self.asset.mark_ticks
        self.step_ticks = _step(self.asset)
        self.mid_steps = 0
        """Distance of the mid from the start, in price steps."""
        self.lean = 0.0
        """Where between bid and ask the sizes of the touch put the fair price, -1 to 1."""
        self.half_bps = HALF_BPS
        self.reference: AssetState | None = self._asset(reference) if reference else None
        self.lead_bps = 0.0
        """How far the reference market is above its start, beyond our own move."""
        self.funding_per_h = 0.0
        """Funding that the venue is to show, a fraction an hour."""
        self.advance(now_ms)

    def _asset(self, coin: str) -> AssetState:
        return self.venue.state.by_coin[coin]

    # -- the market, as the exchange drives it ----------------------------------------------------

    def next_due_ms(self) -> int:
        """When the book changes next."""
        return self._due_ms

    def advance(self, now_ms: int) -> None:
        """Let the book stand where it is told to."""
        while self._due_ms <= now_ms:
            self.venue.advance(max(self._due_ms, self.venue.now_ms))
            self._due_ms += self.step_ms
            self._is_odd = not self._is_odd
            self._quote()

    def force_px(self, px_usd: float) -> None:
        """Set the mid."""
        self.mid_steps = round((self.asset.ticks(px_usd) - self.start_ticks) / self.step_ticks)

    def _quote(self) -> None:
        venue, asset = self.venue, self.asset
        mid = self.mid_ticks
        px = asset.px(mid)
        self._fund()
        venue.set_mark(asset.asset_id, px)
        half = self.half_steps * self.step_ticks
        lots = self.touch_lots
        # A lot more or less at every look: a market that is alive tells us so.
        lots += self._is_odd
        sizes = {
            Side.BUY: max(1, round(lots * (1 + self.lean))),
            Side.SELL: max(1, round(lots * (1 - self.lean))),
        }
        self._put(asset, "touch", (mid - half, mid + half), (sizes[Side.BUY], sizes[Side.SELL]))
        wall = round(mid * _WALL_BPS * 1e-4 / self.step_ticks) * self.step_ticks
        wall_lots = round(_WALL_TOUCHES * self._touch_usd / (mid * USD_PER_TICK_LOT))
        self._put(asset, "wall", (mid - wall, mid + wall), (wall_lots, wall_lots))
        if self.reference is not None:
            self._quote_reference(self.reference, mid)

    def _quote_reference(self, other: AssetState, mid: int) -> None:
        # Its price follows ours in proportion, ahead by the lead.
        ratio = other.mark_ticks / self.start_ticks
        step = _step(other)
        centre = mid * ratio * (1 + self.lead_bps * 1e-4)
        bid = int(centre / step) * step
        lots = max(1, round(_TOUCH_USD / (centre * USD_PER_TICK_LOT))) + self._is_odd
        self._put(other, "touch", (bid, bid + step), (lots, lots))

    def _fund(self) -> None:
        """An oracle, and premiums of this hour, that make the funding which is asked for."""
        asset, venue = self.asset, self.venue
        venue.set_oracle(asset.asset_id, asset.px(self.mid_ticks))
        spec = asset.spec
        wanted = 8 * self.funding_per_h / spec.funding_multiplier
        # The interest pulls the rate towards itself by the clamp: premiums beyond it are paid.
        clamp = 0.0003 if asset.is_builder_dex else 0.0005
        if spec.funding_clamp_8h is not None:
            clamp = spec.funding_clamp_8h
        premium = wanted + clamp * ((wanted > 0) - (wanted < 0))
        asset.premium_samples = 1_000_000
        asset.premium_sum = premium * asset.premium_samples

    def _put(
        self, asset: AssetState, name: str, px_ticks: tuple[int, int], lots: tuple[int, int]
    ) -> None:
        """Replace a bid and an ask of the house: both go before one comes, or they would meet."""
        key = (asset.asset_id, name)
        for oid in self._orders.pop(key, ()):
            self.venue.cancel(_HOUSE, asset.asset_id, oid=oid)
        placed = []
        for side, px, size in zip((Side.BUY, Side.SELL), px_ticks, lots, strict=True):
            order = NewOrder(asset.asset_id, side, px, size, Tif.GTC)
            result = self.venue.submit(_HOUSE, order)
            if result.oid is not None:
                placed.append(result.oid)
        self._orders[key] = placed

    # -- what a test reads ------------------------------------------------------------------------

    @property
    def mid_ticks(self) -> int:
        """Where the touch is centred, ticks."""
        return self.start_ticks + self.mid_steps * self.step_ticks

    @property
    def touch_lots(self) -> int:
        """Size of each side of the touch."""
        return round(self._touch_usd / (self.mid_ticks * USD_PER_TICK_LOT))

    @property
    def half_steps(self) -> int:
        """Half spread of the touch in price steps."""
        return max(1, round(self.half_bps * 1e-4 * self.start_ticks / self.step_ticks))

    @property
    def step_bps(self) -> float:
        """One price step."""
        return self.step_ticks / self.mid_ticks * 1e4

    def position_lots(self) -> int:
        """Signed position of the account, by the venue's books."""
        account = self.venue.account(self.user)
        purse = account.purses.get(self.asset.dex_index)
        slot = purse.slots.get(self.asset.asset_id) if purse else None
        return 0 if slot is None else slot.szi_lots

    # -- what a test does -------------------------------------------------------------------------

    def set_fee(self, maker_bps: float | None) -> None:
        """
        Have the venue charge this maker fee, bps; None is the first tier.

        What a builder dex multiplies is taken out of the rate of the account, so that the figure is
        what is charged.
        """
        factor = charged_rate(1.0, self.asset, 0.0)
        rate = _BASE_MAKER if maker_bps is None else maker_bps * 1e-4 / factor
        self.venue.set_rates(self.user, maker=rate, taker=_BASE_TAKER)
        self.fee_bps = rate * factor * 1e4

    def take(self, lots: int, cloids: Iterator[int]) -> int:
        """
        Taker orders on the account under numbers of the program's run: positive buys.

        Under any other number the position would grow by an order the program does not know, which
        is a reason to trip. They are as many as the venue's greatest value of one asks for. Returns
        lots filled.
        """
        side = Side.BUY if lots > 0 else Side.SELL
        bound = self.mid_ticks + side * 40 * self.half_steps * self.step_ticks
        most_usd = _VALUE_USE * market_max_usd(self.asset.spec.max_leverage)
        most = int(most_usd / (self.mid_ticks * USD_PER_TICK_LOT))
        filled = 0
        while filled < abs(lots):
            size = min(most, abs(lots) - filled)
            cloid = f"{next(cloids):#034x}"
            order = NewOrder(self.asset.asset_id, side, bound, size, Tif.IOC, cloid=cloid)
            done = self.venue.submit(self.user, order).filled_lots
            filled += done
            if done < size:
                break
        return filled

    def hit(self, aggressor: Side, px_ticks: int, lots: int) -> None:
        """
        Somebody else trades as far as a price, or until he has what he wants.

        The touch stands there again in the same block: a trade that moves nothing.
        """
        order = NewOrder(self.asset.asset_id, aggressor, px_ticks, lots, Tif.IOC)
        self.venue.submit(_TAKER, order)
        self._quote()

    def reach(self, aggressor: Side, reach_bps: float) -> None:
        """Somebody else trades as far as `reach_bps` from the mid, where a lot rests for him."""
        asset, mid = self.asset, self.mid_ticks
        steps = round(reach_bps * 1e-4 * mid / self.step_ticks)
        px = mid + aggressor * steps * self.step_ticks
        self.venue.submit(_HOUSE, NewOrder(asset.asset_id, aggressor.opposite, px, 1, Tif.GTC))
        level = next(iter(asset.book.levels(aggressor.opposite)))
        lots = sum(order.sz_lots for order in level.orders.values())
        self.hit(aggressor, px, lots + 1)


def _step(asset: AssetState) -> int:
    """Distance of valid prices at the mark."""
    digits = len(str(asset.mark_ticks))
    step: int = min(10 ** max(0, digits - 5), asset.ticks_per_usd)
    return step
