"""
The emulated venue and its market as one session sees them: requests in, what was told out.

Orders go to the matching engine as ticks and lots and come back as events of the core; nothing is
encoded on the way. Each call says what happened at one instant of the venue's time.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from mmbot.core.events import (
    Acked,
    AssetCtx,
    Book,
    Event,
    Funding,
    Level,
    OrderMissing,
    ReferencePx,
    Rejected,
    Rejection,
    Request,
)
from mmbot.core.intents import Cancel, Move, Place, Query
from mmbot.core.types import Fees, Instrument, Side
from mmbot.emulator import budgets, funding
from mmbot.emulator.assets import AssetState
from mmbot.emulator.fees import charged_rate, referral_discount, scale_factor, user_rates
from mmbot.emulator.listings import HYNA, dexes
from mmbot.emulator.market import Companion, Market, MarketParams
from mmbot.emulator.shapes import order_update
from mmbot.emulator.specs import (
    BookChanged,
    FillRecord,
    FundingRecord,
    NewOrder,
    OrderRecord,
    TradePrint,
    VenueParams,
)
from mmbot.emulator.venue import Venue
from mmbot.errors import ConfigError, VenueError
from mmbot.hyperliquid.rejections import rejection
from mmbot.runtime.lab.stream import fill_of, trades_of, update_of

START_MS: Final = 1_771_938_001_000
"""Venue time at the start: 24 February 2026, a second past 13:00 UTC, just after a funding."""
US: Final = "0x" + "a1" * 20
_LEVELS: Final = 5
"""Levels of the venue's fast book."""
_REPEAT_MS: Final = 540
"""The fast book repeats itself this often when nothing changes (protocol notes 1.4)."""
_CTX_MS: Final = 3_000
_BPS: Final = 1e-4


class Requests(msgspec.Struct, frozen=True):
    """What one decision sends."""

    cancels: tuple[Cancel, ...] = ()
    moves: tuple[Move, ...] = ()
    places: tuple[Place, ...] = ()
    queries: tuple[Query, ...] = ()

    @property
    def cost(self) -> int:
        """Requests the venue counts; questions cost none."""
        return len(self.cancels) + len(self.moves) + len(self.places)


class Exchange:
    """
    One account on one perp of the emulated venue, with the market around it.

    Args:
        coin: Name on the wire; a hyna coin brings that dex back to life.
        params: The market.
        seed: Seeds the market.
        equity_usd: Deposit.
        leverage: Set at the venue, within its maximum.
        maker_bps: Charged to maker fills; None for what the venue's tables say.
        reference_coin: Another perp of the venue whose mid is told; empty for none.
        has_queue: Whether the place in the queue matters.
        requests_base: Requests the venue grants before any volume.

    Raises:
        ConfigError: The coin, or the reference, is not listed or not traded.
    """

    def __init__(
        self,
        coin: str,
        params: MarketParams,
        seed: int,
        *,
        equity_usd: float,
        leverage: int,
        maker_bps: float | None,
        reference_coin: str,
        has_queue: bool,
        requests_base: int = 10_000,
    ) -> None:
        dex = coin.partition(":")[0] if ":" in coin else ""
        venue = Venue(
            VenueParams(requests_base=requests_base), dexes(is_hyna_alive=dex == HYNA), START_MS
        )
        self.venue = venue
        asset = _listed(venue, coin, "instrument.coin")
        venue.open_account(US, usd=equity_usd, dex=dex)
        discount = referral_discount(venue.account(US))
        if maker_bps is not None:
            # What a dex makes of a user's rate depends on its sign.
            sign = 1.0 if maker_bps > 0 else -1.0
            factor = sign * charged_rate(sign, asset, discount)
            venue.set_rates(US, taker=None, maker=maker_bps * _BPS / factor)
        companions = []
        self._reference: AssetState | None = None
        if reference_coin:
            self._reference = _listed(venue, reference_coin, "reference.coin")
            companions = [Companion(self._reference.asset_id, follows=True)]
        self.market = Market(
            params,
            venue,
            asset.asset_id,
            seed,
            START_MS,
            companions=companions,
            has_queue=has_queue,
        )
        self.instrument = Instrument(
            coin=coin,
            dex=dex,
            asset_id=asset.asset_id,
            sz_decimals=asset.sz_decimals,
            max_leverage=asset.spec.max_leverage,
            only_isolated=asset.is_isolated_only,
            collateral=venue.state.collateral(asset),
            fee_multiplier=scale_factor(asset.deployer_fee_scale),
            growth_mode=asset.growth_mode,
        )
        taker, maker = user_rates(venue.account(US), venue.params, START_MS)
        self.fees = Fees(
            maker_bps=round(charged_rate(maker, asset, discount) / _BPS, 9),
            taker_bps=round(charged_rate(taker, asset, discount) / _BPS, 9),
        )
        self._set_leverage(asset, min(leverage, asset.spec.max_leverage))
        self.start_px = params.px_usd or asset.spec.mark_px
        self.reference_start_px = self._reference_px() or 0.0
        self._asset = asset
        self._account = venue.account(US)
        self._told_touch: tuple[Level | None, Level | None] = (None, None)
        self._book_ms = self._ctx_ms = 0
        self._reference_told: float | None = None
        venue.drain()

    def _set_leverage(self, asset: AssetState, leverage: int) -> None:
        action = {
            "type": "updateLeverage",
            "asset": asset.asset_id,
            "isCross": not asset.is_isolated_only,
            "leverage": leverage,
        }
        answer = self.venue.execute(US, action, signer=US, is_agent=False)
        if answer["status"] != "ok":
            raise VenueError(f"leverage {leverage}: {answer['response']}")

    # -- reading ----------------------------------------------------------------------------------

    @property
    def mid_ticks(self) -> float:
        """Mid that the makers quote around; no order of ours moves it."""
        return self.instrument.ticks(self.market.mid_px)

    @property
    def fair_ticks(self) -> float:
        """Efficient price: the mid less what will decay."""
        return self.instrument.ticks(self.market.fair_px)

    @property
    def requests(self) -> tuple[int, int]:
        """Requests used and granted, as the venue counts them."""
        params = self.venue.params
        return self._account.requests_used, budgets.limit(self._account, params, is_cancel=False)

    @property
    def is_quoted(self) -> tuple[bool, bool]:
        """Whether an order of ours rests on the bid side, and on the ask side."""
        bid = ask = False
        for order in self._account.open.values():
            if order.side > 0:
                bid = True
            else:
                ask = True
        return bid, ask

    # -- time -------------------------------------------------------------------------------------

    def next_due_ms(self) -> int:
        """When the market does something next."""
        return self.market.next_due_ms()

    def advance(self, now_ms: int, recv_ns: int) -> list[Event]:
        """Let the market do what is due; what is told of it arrives at `recv_ns`."""
        self.market.advance(now_ms)
        self.venue.advance(now_ms)
        return self._told(now_ms, recv_ns)

    # -- requests ---------------------------------------------------------------------------------

    def execute(
        self, requests: Requests, now_ms: int, recv_ns: int, reply_ns: int
    ) -> tuple[list[Event], list[Event]]:
        """
        Carry out what has arrived: cancels, moves, placements, then questions.

        Returns what the streams tell of it at `recv_ns`, and the verdicts, there at `reply_ns`.
        """
        self.venue.advance(now_ms)
        verdicts = [self._cancel(cancel, reply_ns) for cancel in requests.cancels]
        verdicts.extend([self._move(move, reply_ns) for move in requests.moves])
        verdicts.extend([self._place(place, reply_ns) for place in requests.places])
        verdicts.extend([self._answer(query, reply_ns) for query in requests.queries])
        return self._told(now_ms, recv_ns), verdicts

    def _spend(self, *, is_cancel: bool) -> str | None:
        """Count one request; the venue's sentence if the address has none left."""
        account = self._account
        most = budgets.limit(account, self.venue.params, is_cancel=is_cancel)
        if account.requests_used >= most:
            return f"Too many cumulative requests sent ({account.requests_used + 1} > {most})"
        self.venue.charge(US, 1)
        return None

    def _cancel(self, cancel: Cancel, at_ns: int) -> Event:
        error = self._spend(is_cancel=True)
        if error is None:
            asset_id, cloid = self.instrument.asset_id, _cloid(cancel.cloid)
            error = self.venue.cancel(US, asset_id, cloid=cloid).error
        if error is not None:
            return Rejected(at_ns, Request.CANCEL, cancel.cloid, rejection(error), error)
        return Acked(at_ns, Request.CANCEL, cancel.cloid)

    def _move(self, move: Move, at_ns: int) -> Event:
        """Cancel and replace under the same cloid; a refused replacement leaves nothing behind."""
        asset_id, cloid = self.instrument.asset_id, _cloid(move.cloid)
        error = self._spend(is_cancel=False)
        if error is None and not self.venue.cancel(US, asset_id, cloid=cloid).is_ok:
            error = "Cannot modify canceled or filled order"
        if error is not None:
            return Rejected(at_ns, Request.MOVE, move.cloid, rejection(error), error)
        place = Place(move.cloid, move.side, move.px_ticks, move.sz_lots, move.is_reduce_only)
        return self._submit(place, Request.MOVE, at_ns)

    def _place(self, place: Place, at_ns: int) -> Event:
        error = self._spend(is_cancel=False)
        if error is not None:
            return Rejected(at_ns, Request.PLACE, place.cloid, rejection(error), error)
        return self._submit(place, Request.PLACE, at_ns)

    def _submit(self, place: Place, request: Request, at_ns: int) -> Event:
        if not self.instrument.is_valid_px(place.px_ticks):
            text = "Price must be divisible by tick size."
            return Rejected(at_ns, request, place.cloid, Rejection.TICK, text)
        order = NewOrder(
            self.instrument.asset_id,
            place.side,
            place.px_ticks,
            place.sz_lots,
            place.tif,
            place.is_reduce_only,
            _cloid(place.cloid),
        )
        result = self.venue.submit(US, order)
        if not result.is_ok:
            text = result.error or "refused without a word"
            return Rejected(at_ns, request, place.cloid, rejection(text), text)
        return Acked(at_ns, request, place.cloid, result.oid, not result.resting_lots)

    def _answer(self, query: Query, at_ns: int) -> Event:
        order = self._account.by_cloid.get(_cloid(query.cloid))
        if order is None:
            return OrderMissing(at_ns, query.cloid)
        return update_of(order_update(order), self.instrument, at_ns)

    # -- what the streams tell --------------------------------------------------------------------

    def _told(self, now_ms: int, recv_ns: int) -> list[Event]:
        """Events of the core for what happened at `now_ms`: ours after the market's."""
        prints: list[TradePrint] = []
        ours: list[Event] = []
        asset_id = self.instrument.asset_id
        is_changed = False
        for event in self.venue.drain():
            if type(event) is TradePrint:
                if event.asset_id == asset_id:
                    prints.append(event)
            elif type(event) is BookChanged:
                is_changed = is_changed or event.asset_id == asset_id
            elif type(event) is FillRecord:
                ours.append(fill_of(event.fill, self.instrument, recv_ns))
            elif type(event) is OrderRecord:
                ours.append(update_of(event.update, self.instrument, recv_ns))
            elif type(event) is FundingRecord:
                usd = -float(event.row["delta"]["usdc"])
                ours.append(Funding(recv_ns, event.time_ms, usd))
        told: list[Event] = []
        if prints:
            told.append(trades_of(prints, recv_ns))
        is_repeat = now_ms - self._book_ms >= _REPEAT_MS
        if is_repeat or (is_changed and self._touch() != self._told_touch):
            self._book_ms, self._told_touch = now_ms, self._touch()
            told.append(self._frame(now_ms, recv_ns))
        if now_ms - self._ctx_ms >= _CTX_MS:
            self._ctx_ms = now_ms
            told.append(self._ctx(recv_ns))
        reference_px = self._reference_px()
        if reference_px is not None and reference_px != self._reference_told:
            self._reference_told = reference_px
            told.append(ReferencePx(recv_ns, now_ms, reference_px))
        told.extend(ours)
        return told

    def _touch(self) -> tuple[Level | None, Level | None]:
        book = self._asset.book
        bid, ask = book.bid_ticks, book.ask_ticks
        return (
            None if bid is None else Level(bid, book.bids[bid].sz_lots),
            None if ask is None else Level(ask, book.asks[ask].sz_lots),
        )

    def _frame(self, now_ms: int, recv_ns: int) -> Book:
        """The fast book; it comes with every change of the touch, as `bbo` does."""
        bids, asks = (
            tuple(
                [
                    Level(it.px_ticks, it.sz_lots)
                    for it in islice(self._asset.book.levels(side), _LEVELS)
                ]
            )
            for side in (Side.BUY, Side.SELL)
        )
        return Book(recv_ns, now_ms, bids, asks, is_fast=True)

    def _ctx(self, recv_ns: int) -> AssetCtx:
        asset = self._asset
        return AssetCtx(
            recv_ns=recv_ns,
            mark_px=asset.px(asset.mark_ticks),
            oracle_px=asset.px(asset.oracle_ticks),
            funding_per_h=funding.rate_per_h(asset, funding.average_premium(asset)),
            open_interest_sz=asset.long_lots / asset.lots_per_coin,
        )

    def _reference_px(self) -> float | None:
        asset = self._reference
        if asset is None:
            return None
        bid, ask = asset.book.bid_ticks, asset.book.ask_ticks
        return None if bid is None or ask is None else asset.px((bid + ask) / 2)


def _cloid(number: int) -> str:
    return f"{number:#034x}"


def _listed(venue: Venue, coin: str, key: str) -> AssetState:
    asset = venue.state.by_coin.get(coin)
    if asset is None or asset.is_delisted:
        alive = ", ".join(it.coin for it in venue.state.assets.values() if not it.is_delisted)
        msg = f"{key} = {coin!r}: is not traded on the emulated exchange; use one of {alive}"
        raise ConfigError(msg)
    return asset
