"""
The way of an admitted order: matching, resting, filling, ending.

Sources: Hyperliquid docs, "Order book", "Order types", "Self-trade prevention"; protocol notes 5.2.
"""

from __future__ import annotations

from typing import NamedTuple

from mmbot.core.types import Side, Tif
from mmbot.emulator.accounts import Account, Slot
from mmbot.emulator.admission import Refusal, reduces, refusal
from mmbot.emulator.fees import charged_rate, count_volume, referral_discount, user_rates
from mmbot.emulator.margin import can_make
from mmbot.emulator.matching import Order
from mmbot.emulator.numbers import plain, step_of, wire
from mmbot.emulator.shapes import Json, fill_row
from mmbot.emulator.specs import (
    FillRecord,
    NewOrder,
    NonUserCancel,
    OrderResult,
    Outcome,
    TradePrint,
)
from mmbot.emulator.state import WAITING_FOR_FILL, State, trade_id

BAD_TICK = "Price must be divisible by tick size."
USER_CANCELED = "canceled"
REDUCE_ONLY_CANCELED = "reduceOnlyCanceled"


class Builder(NamedTuple):
    """Builder of an action and its rate, a fraction of notional."""

    address: str
    rate: float


class Desk:
    """Places and ends orders on a `State`; the matching's desk."""

    def __init__(self, state: State) -> None:
        self.state = state

    # -- house ------------------------------------------------------------------------------------

    def place_house(self, account: Account, new: NewOrder) -> OrderResult:
        """Order of the synthetic market: no margin, no least value, no record."""
        state = self.state
        asset = state.assets[new.asset_id]
        px, side = new.px_ticks, new.side
        if asset.is_halted:
            return OrderResult(Outcome.REJECTED, error="Trading is halted.")
        if new.sz_lots <= 0 or px <= 0 or px % step_of(px, asset.sz_decimals):
            return OrderResult(Outcome.REJECTED, error=BAD_TICK)
        slot = account.slot(asset, 1)
        order = Order(
            state.next_oid(), slot, side, px, new.sz_lots, new.sz_lots, new.tif, state.now_ms
        )
        book = asset.book
        got = 0
        if book.would_cross(side, px):
            if new.tif is Tif.ALO:
                return OrderResult(Outcome.REJECTED, error="Post only order would have matched")
            state.tx += 1
            got = book.match(order, self)
            state.touched(asset)
        left = order.sz_lots
        if left and new.tif is not Tif.IOC:
            order.cloid = new.cloid
            book.add(order)
            account.open[order.oid] = order
            if new.cloid is not None:
                account.by_cloid[new.cloid] = order
            if not asset.is_dirty:
                state.touched(asset)
            return OrderResult(Outcome.RESTING, order.oid, got, left)
        if not got:
            return OrderResult(Outcome.REJECTED, order.oid, error="Nothing to match")
        return OrderResult(Outcome.FILLED, order.oid, got)

    # -- accounts ---------------------------------------------------------------------------------

    def place(
        self,
        account: Account,
        new: NewOrder,
        *,
        builder: Builder | None = None,
        priority_rate: float = 0.0,
        is_position_tpsl: bool = False,
        parent: Order | None = None,
    ) -> OrderResult:
        """
        Carry out one order that passed the static checks.

        With a `parent`, the order is a TP/SL child: it waits for the parent's fill if the parent
        rests and for its trigger if the parent is filled.
        """
        state = self.state
        asset = state.assets[new.asset_id]
        slot = account.slot(asset, state.params.default_leverage)
        order = Order(
            oid=state.next_oid(),
            slot=slot,
            side=new.side,
            px_ticks=new.px_ticks,
            sz_lots=new.sz_lots,
            orig_sz_lots=new.sz_lots,
            tif=new.tif,
            time_ms=state.now_ms,
            is_reduce_only=new.is_reduce_only,
            cloid=new.cloid,
            trigger=new.trigger,
            is_position_tpsl=is_position_tpsl,
            parent=parent,
            builder=builder.address if builder else None,
            builder_rate=builder.rate if builder else 0.0,
            priority_rate=priority_rate,
        )
        why = refusal(state, order)
        if why is not None:
            return self._refuse(order, why)
        state.remember(order)
        if order.trigger is not None:
            return self._hold(order)
        return self.run(order)

    def _refuse(self, order: Order, why: Refusal) -> OrderResult:
        if why.status is None:
            return OrderResult(Outcome.REJECTED, error=why.text)
        self.state.remember(order)
        self.state.report(order, why.status)
        text = f"{why.text} asset={order.slot.asset.asset_id}"
        return OrderResult(Outcome.REJECTED, order.oid, error=text)

    def _hold(self, order: Order) -> OrderResult:
        """Keep a trigger order until its parent is filled or the mark reaches it."""
        account = order.slot.account
        account.open[order.oid] = order
        parent = order.parent
        if parent is not None:
            parent.children = (*parent.children, order)
            if parent.oid in account.open:
                order.status = WAITING_FOR_FILL
                order.status_ms = self.state.now_ms
                return OrderResult(Outcome.WAITING_FOR_FILL, order.oid, 0, order.sz_lots)
        order.slot.asset.triggers[order.oid] = order
        self.state.report(order, "open")
        outcome = Outcome.RESTING if parent is None else Outcome.WAITING_FOR_TRIGGER
        return OrderResult(outcome, order.oid, 0, order.sz_lots)

    def run(self, order: Order) -> OrderResult:
        """Match an admitted order and rest or end what is left of it."""
        state, asset = self.state, order.slot.asset
        book = asset.book
        wanted = order.sz_lots
        crosses = book.would_cross(order.side, order.px_ticks)
        if order.tif is Tif.ALO and crosses:
            bid, ask = book.bid_ticks, book.ask_ticks
            # The sentence with one side empty is unverified.
            bid_text = "None" if bid is None else plain(bid, asset.px_decimals)
            ask_text = "None" if ask is None else plain(ask, asset.px_decimals)
            text = f"Post only order would have immediately matched, bbo was {bid_text}@{ask_text}."
            return self._fail(order, "badAloPxRejected", text)
        if crosses:
            state.touched(asset)
            book.match(order, self)
        got = wanted - order.sz_lots
        avg = order.traded_u / got if got else None
        if order.sz_lots and order.tif is not Tif.IOC:
            self._rest(order)
            outcome = Outcome.RESTING
            if got and state.params.partial_gtc_ack == "filled":
                outcome = Outcome.FILLED
            return OrderResult(outcome, order.oid, got, order.sz_lots, avg)
        if not got:
            if order.was_triggered:
                text = "No liquidity available for market order."
                return self._fail(order, "marketOrderNoLiquidityRejected", text)
            text = "Order could not immediately match against any resting orders."
            return self._fail(order, "iocCancelRejected", text)
        # What an IOC could not get is gone without a word: `sz` keeps the remainder.
        self.finish(order, "filled")
        return OrderResult(Outcome.FILLED, order.oid, got, 0, avg)

    def _fail(self, order: Order, status: str, text: str) -> OrderResult:
        self.finish(order, status)
        full = f"{text} asset={order.slot.asset.asset_id}"
        return OrderResult(Outcome.REJECTED, order.oid, error=full)

    def _rest(self, order: Order) -> None:
        """Put what is left of an order on the book, behind everything at its price."""
        slot, account = order.slot, order.slot.account
        asset = slot.asset
        asset.book.add(order)
        account.open[order.oid] = order
        if order.is_reduce_only:
            self._make_room(order)
            slot.reducing[order.oid] = order
        elif order.side is Side.BUY:
            slot.buy_lots += order.sz_lots
        else:
            slot.sell_lots += order.sz_lots
        self.state.touched(asset)
        self.state.report(order, "open")

    def _make_room(self, order: Order) -> None:
        """Cancel older reduce-only orders while all of them exceed the position (one source)."""
        slot = order.slot
        older = [other for other in slot.reducing.values() if other.side is order.side]
        total = order.sz_lots + sum(other.sz_lots for other in older)
        for other in older:
            if total <= abs(slot.szi_lots):
                return
            total -= other.sz_lots
            self.end(other, REDUCE_ONLY_CANCELED)

    # -- ending -----------------------------------------------------------------------------------

    def end(self, order: Order, status: str) -> None:
        """Take an open order off the venue with a terminal status, children included."""
        asset = order.slot.asset
        if order.is_booked:
            asset.book.remove(order)
            self.state.touched(asset)
            self.dropped(order, status)
            return
        asset.triggers.pop(order.oid, None)
        self._tell_of_cancel(order, status)
        self.finish(order, status)

    def dropped(self, maker: Order, status: str) -> None:
        """An order left the book with `status`: free what it held."""
        slot = maker.slot
        account = slot.account
        account.open.pop(maker.oid, None)
        if account.is_house:
            maker.status = status
            if maker.cloid is not None and account.by_cloid.get(maker.cloid) is maker:
                del account.by_cloid[maker.cloid]
            return
        if slot.reducing.pop(maker.oid, None) is None:
            self._release(maker, maker.sz_lots)
        self._tell_of_cancel(maker, status)
        self.finish(maker, status)

    def _tell_of_cancel(self, order: Order, status: str) -> None:
        if status != USER_CANCELED:
            state, slot = self.state, order.slot
            state.events.append(
                NonUserCancel(slot.account.address, state.now_ms, slot.asset.coin, order.oid)
            )

    def finish(self, order: Order, status: str) -> None:
        """Report the last status of an order and settle what hangs on it."""
        account = order.slot.account
        account.open.pop(order.oid, None)
        self.state.report(order, status)
        for child in order.children:
            if child.oid not in account.open:
                continue
            if status == "filled" and child.status == WAITING_FOR_FILL:
                order.slot.asset.triggers[child.oid] = child
                self.state.report(child, "open")
            elif child.status == WAITING_FOR_FILL:
                # Children die with their parent.
                self.end(child, status)
        if order.parent is not None and order.was_triggered and status == "filled":
            for sibling in order.parent.children:
                if sibling.oid in account.open:
                    self.end(sibling, "siblingFilledCanceled")

    def _release(self, order: Order, lots: int) -> None:
        if order.side is Side.BUY:
            order.slot.buy_lots -= lots
        else:
            order.slot.sell_lots -= lots

    # -- matching ---------------------------------------------------------------------------------

    def refusal(self, maker: Order, sz_lots: int) -> str | None:
        """Why a resting order may not trade any more: margin, or a capped open interest."""
        slot = maker.slot
        if slot.account.is_house or maker.is_reduce_only:
            return None
        if not can_make(maker, sz_lots):
            return "marginCanceled"
        if slot.asset.is_capped() and not reduces(maker):
            return "openInterestCapCanceled"
        return None

    def executed(self, maker: Order, taker: Order, sz_lots: int) -> None:
        """Book a trade on both sides and print it."""
        state, asset = self.state, maker.slot.asset
        px, now_ms = maker.px_ticks, state.now_ms
        buyer, seller = (taker, maker) if taker.side is Side.BUY else (maker, taker)
        trade = TradePrint(
            asset.asset_id,
            asset.coin,
            taker.side,
            px,
            sz_lots,
            now_ms,
            state.tx_hash(),
            trade_id(buyer.oid, seller.oid),
            buyer.slot.account.address,
            seller.slot.account.address,
        )
        asset.prints.append(trade)
        asset.candles.add(now_ms, px, sz_lots)
        asset.last_trade_ticks = px
        asset.day_lots += sz_lots
        asset.day_ntl_u += px * sz_lots
        state.events.append(trade)
        liquidation = self._liquidation(taker) if taker.is_liquidation else None
        self._settle(maker, trade, liquidation, is_taker=False)
        self._settle(taker, trade, liquidation, is_taker=True)
        self._after_fill(maker, sz_lots, is_taker=False)
        self._after_fill(taker, sz_lots, is_taker=True)

    def _liquidation(self, taker: Order) -> Json:
        asset = taker.slot.asset
        return {
            "liquidatedUser": taker.slot.account.address,
            "markPx": wire(asset.mark_ticks, asset.px_decimals),
            "method": "market",
        }

    def _settle(
        self, order: Order, trade: TradePrint, liquidation: Json | None, *, is_taker: bool
    ) -> None:
        """Move position and cash, charge the fee, write the fill."""
        slot = order.slot
        account, asset = slot.account, slot.asset
        before = slot.szi_lots
        sz, px = trade.sz_lots, trade.px_ticks
        pnl_u = slot.fill(sz if order.side is Side.BUY else -sz, px)
        order.traded_u += sz * px
        if account.is_house:
            return
        state = self.state
        ntl_u = sz * px
        fee_u, builder_u = self._fee_u(order, ntl_u, is_taker=is_taker)
        slot.pay(fee_u)
        state.dexes[asset.dex_index].fees_u += fee_u
        if order.builder is not None:
            earned_u = state.builder_fees_u.get(order.builder, 0)
            state.builder_fees_u[order.builder] = earned_u + builder_u
        count_volume(account, asset, ntl_u, trade.time_ms, taker=is_taker)
        if slot.szi_lots:
            asset.holders[account.address] = slot
        else:
            asset.holders.pop(account.address, None)
        dir_ = None
        if liquidation is not None and is_taker:
            mode = "Cross" if slot.is_cross else "Isolated"
            dir_ = f"Liquidated {mode} {'Long' if before > 0 else 'Short'}"
        row = fill_row(
            order,
            px_ticks=px,
            sz_lots=sz,
            before_lots=before,
            pnl_u=pnl_u,
            fee_u=fee_u,
            builder_u=builder_u,
            is_taker=is_taker,
            time_ms=trade.time_ms,
            tx_hash=trade.hash,
            tid=trade.tid,
            fee_token=state.collateral(asset),
            liquidation=liquidation,
            dir_=dir_,
        )
        account.fills.append(row)
        state.events.append(FillRecord(account.address, trade.time_ms, row))

    def _fee_u(self, order: Order, ntl_u: int, *, is_taker: bool) -> tuple[int, int]:
        """(whole fee, builder's part of it) of a fill, rounded to micro-dollars."""
        state, slot = self.state, order.slot
        taker, maker = user_rates(slot.account, state.params, state.now_ms)
        discount = referral_discount(slot.account)
        rate = charged_rate(taker if is_taker else maker, slot.asset, discount)
        builder_u = round(ntl_u * order.builder_rate)
        # A priority fee is taken on what fills, for ALO too (unverified).
        priority_u = round(ntl_u * order.priority_rate)
        return round(ntl_u * rate) + builder_u + priority_u, builder_u

    def _after_fill(self, order: Order, sz_lots: int, *, is_taker: bool) -> None:
        slot = order.slot
        account = slot.account
        if account.is_house:
            if not is_taker and not order.sz_lots:
                self.dropped(order, "filled")
            return
        if not is_taker:
            if not order.is_reduce_only:
                self._release(order, sz_lots)
            if order.sz_lots:
                self.state.report(order, "open")
            else:
                slot.reducing.pop(order.oid, None)
                self.finish(order, "filled")
        self._trim_reducing(slot)

    def _trim_reducing(self, slot: Slot) -> None:
        """Shrink resting reduce-only orders to the position, and end those without one."""
        for order in list(slot.reducing.values()):
            if not reduces(order):
                self.end(order, REDUCE_ONLY_CANCELED)
            elif order.sz_lots > abs(slot.szi_lots):
                slot.asset.book.shrink(order, abs(slot.szi_lots))
                self.state.report(order, "open")
        if slot.szi_lots == 0 and slot.asset.triggers:
            account = slot.account
            for waiting in [o for o in slot.asset.triggers.values() if o.slot is slot]:
                is_tied = waiting.is_position_tpsl or waiting.parent is not None
                if is_tied and waiting.oid in account.open:
                    self.end(waiting, REDUCE_ONLY_CANCELED)
