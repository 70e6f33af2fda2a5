"""
What the adapter is put through: trading, reconciliation by a fresh node, and every enum word.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, Final

from benchmarks.nautilus_side.script import ACCOUNT, COIN, LIVELY, Script, Steps

MARK: Final = "MMBOT-WORD"
EQUITY_USD: Final = 1000


class Orders(Script):
    """What both phases do with orders."""

    def compare(self, name: str, order: Any, direction: str) -> None:
        """Fills of an order in the adapter and at the venue: sizes, prices, fees, direction."""
        oid = str(self.order(order).venue_order_id)
        rows = [row for row in self.exchange.ask("userFills") if str(row["oid"]) == oid]
        venue = sorted((float(r["sz"]), float(r["px"]), float(r["fee"])) for r in rows)
        booked = sorted(
            (e.last_qty.as_double(), e.last_px.as_double(), e.commission.as_double())
            for e in self.told("OrderFilled", order)
        )
        directions = sorted({row["dir"] for row in rows})
        is_so = bool(booked) and booked == venue and directions == [direction]
        self.facts.put("9", name, is_so, f"{booked} (size, price, fee); venue {directions}")

    def net(self) -> float:
        """Position in the adapter's cache."""
        return sum(float(position.signed_qty) for position in self.s.cache.positions_open())

    def inside(self, size: float) -> Generator[None, None, Any]:
        """A bid that rests alone at the best price."""
        _, ask = self.exchange.touch()
        order = self.limit("BUY", size, ask - 0.01, post_only=True)
        yield from self.accepted(order)
        return order

    def stop(self, share: float) -> Generator[None, None, Any]:
        """A resting stop that would sell 1."""
        order = self.s.order_factory.stop_market(
            self.instrument_id,
            self.p.OrderSide.SELL,
            self.qty(1),
            self.px(self.exchange.touch()[0] * share),
            reduce_only=True,
        )
        self.s.submit_order(order)
        yield from self.accepted(order)
        return order


class Trade(Orders):
    """An empty account first: data, orders of every kind, fills in every direction."""

    def steps(self) -> Steps:
        """The whole phase."""
        yield from self.quoted()
        yield from self.connect()
        yield from self.data()
        yield from self.alo()
        yield from self.batches()
        yield from self.refusals()
        yield from self.directions()
        yield from self.endings()
        yield from self.outage()
        yield from self.leave()

    def connect(self) -> Steps:
        """The account and the instruments, as the venue has them."""
        account = self.s.cache.account(self.p.AccountId(ACCOUNT))
        total = None if account is None else account.balance_total(self.p.Currency.from_str("USDC"))
        value = float(self.exchange.ask("clearinghouseState")["marginSummary"]["accountValue"])
        is_same = total is not None and abs(total.as_double() - value) < 1e-6
        told = f"balance {total}, venue {value} USDC"
        self.facts.put("67", "connects; the account is the venue's", is_same, told)
        metas = self.exchange.post("/info", {"type": "allPerpMetas"})
        listed = sum(len(meta["universe"]) for meta in metas)
        known = [str(item.id) for item in self.s.cache.instruments()]
        perps = sum(name.endswith("-PERP.HYPERLIQUID") for name in known)
        told = f"{perps} of {listed} perps; {len(known)} instruments in all"
        self.facts.put("9", "every listed perp becomes an instrument", perps == listed, told)
        yield

    def data(self) -> Steps:
        """Every stream and every request of market data the adapter has."""
        s, i = self.s, self.p.InstrumentId.from_str(f"{LIVELY}-USD-PERP.HYPERLIQUID")
        bars = self.p.BarType.from_str(f"{i}-1-MINUTE-LAST-EXTERNAL")
        for subscribe in (
            s.subscribe_quotes,
            s.subscribe_trades,
            s.subscribe_mark_prices,
            s.subscribe_index_prices,
            s.subscribe_funding_rates,
        ):
            subscribe(i)
        s.subscribe_bars(bars)
        s.subscribe_book_deltas(i, self.p.BookType.L2_MBP)
        client = self.p.ClientId("HYPERLIQUID")
        for name in ("HyperliquidAllMids", "HyperliquidAllDexsAssetCtxs"):
            s.subscribe_data(self.p.DataType(name), client)
        s.request_bars(bars)
        s.request_trades(i)
        s.request_funding_rates(i)
        s.request_book_snapshot(i)
        s.request_instruments(self.p.Venue("HYPERLIQUID"))
        bid, ask = self.exchange.touch(LIVELY)
        self.exchange.house("A", bid, 1, LIVELY)
        self.exchange.house("B", ask, 1, LIVELY)
        streams = ("quote", "trade", "book_deltas", "mark_price", "index_price", "funding_rate")
        answers = ("historical_bars", "historical_trades", "instrument", "book")
        custom = ("HyperliquidAllMids", "HyperliquidAllDexsAssetCtxs")
        wanted = (*streams, *answers, *custom)
        yield from self.wait(lambda: all(self.heard.get(name) for name in wanted), 20)
        for name in wanted:
            count = self.heard.get(name, 0)
            self.facts.put("9", f"data: {name}", count > 0, f"{count} received")

    def alo(self) -> Steps:
        """Submit, modify, cancel: what check 67 names."""
        bid, _ = self.exchange.touch()
        order = self.limit("BUY", 1, bid * 0.98, post_only=True)
        yield from self.accepted(order)
        first = str(self.order(order).venue_order_id)
        row = self.row(first)
        is_so = bool(self.told("OrderAccepted", order)) and row.get("tif") == "Alo"
        told = f"oid {first} accepted; venue: {row.get('tif')} {row.get('sz')}"
        self.facts.put("67", "submits ALO", is_so, f"{told} @ {row.get('limitPx')}")
        target = round(bid * 0.97, 2)
        self.s.modify_order(order.client_order_id, quantity=self.qty(2), price=self.px(target))
        yield from self.wait(lambda: bool(self.told("OrderUpdated", order)))
        second = str(self.order(order).venue_order_id)
        moved = self.row(second)
        is_so = (
            len(self.exchange.resting()) == 1
            and second != first
            and moved.get("cloid") == row.get("cloid")
            and float(moved.get("limitPx", 0)) == target
            and float(moved.get("sz", 0)) == self.order(order).quantity.as_double() == 2
            and not self.told("OrderCanceled", order)
        )
        told = f"oid {first} to {second}, same cloid, {moved.get('sz')} @ {moved.get('limitPx')}"
        self.facts.put("67", "modifies", is_so, told)
        self.s.query_order(self.order(order))
        self.s.query_account(self.p.AccountId(ACCOUNT))
        self.s.cancel_order(order.client_order_id)
        yield from self.wait(lambda: bool(self.told("OrderCanceled", order)))
        rows = self.exchange.resting()
        is_so = bool(self.told("OrderCanceled", order)) and rows == []
        told = f"status {self.order(order).status}, resting at the venue: {len(rows)}"
        self.facts.put("67", "cancels", is_so, told)

    def batches(self) -> Steps:
        """Several orders in one request, cancelled in one, and by \"cancel all\"."""
        bid, ask = self.exchange.touch()
        for how in ("cancel_orders", "cancel_all_orders"):
            made = [
                self.make("BUY", 1, bid * 0.97, post_only=True),
                self.make("SELL", 1, ask * 1.03, post_only=True),
                self.make("BUY", 1, bid * 0.96, post_only=True),
            ]
            self.s.submit_order_list(made)
            for order in made:
                yield from self.accepted(order)
            placed = len(self.exchange.resting())
            if how == "cancel_orders":
                self.s.cancel_orders([order.client_order_id for order in made])
            else:
                self.s.cancel_all_orders(self.instrument_id)
            for order in made:
                yield from self.closed(order)
            left = len(self.exchange.resting())
            states = [str(self.order(order).status) for order in made]
            is_so = placed == 3 and left == 0 and states == ["CANCELED"] * 3
            told = f"{placed} placed, {left} left, {', '.join(states)}"
            self.facts.put("67", f"a list of three, then {how}", is_so, told)

    def refused(self, name: str, order: Any, part: str) -> Steps:
        """The order must be refused with the venue's own sentence."""
        yield from self.wait(lambda: bool(self.told("OrderRejected", order)))
        reasons = [str(event.reason) for event in self.told("OrderRejected", order)]
        is_so = len(reasons) == 1 and part in reasons[0]
        self.facts.put("9", f"refusal: {name}", is_so, reasons[0] if reasons else "not refused")

    def refusals(self) -> Steps:
        """Orders the venue refuses, each with a status of its own."""
        bid, ask = self.exchange.touch()
        order = self.limit("BUY", 1, ask * 1.01, post_only=True)
        yield from self.refused("ALO that crosses", order, "immediately matched")
        order = self.limit("BUY", 1, bid * 0.98, time_in_force=self.p.TimeInForce.IOC)
        yield from self.refused("IOC that meets nothing", order, "could not immediately match")
        order = self.limit("BUY", 0.05, bid * 0.98)
        yield from self.refused("below 10 USD", order, "minimum value of $10")
        order = self.limit("BUY", 100_000, bid * 0.98)
        yield from self.refused("beyond the margin", order, "Insufficient margin")
        order = self.limit("SELL", 1, ask * 1.02, reduce_only=True)
        yield from self.refused("reduce-only when flat", order, "Reduce only order would increase")

    def directions(self) -> Steps:
        """Fills in all six directions, each booked as the venue booked it."""
        for side, size, direction in (
            ("BUY", 1, "Open Long"),
            ("SELL", 2, "Long > Short"),
            ("BUY", 2, "Short > Long"),
            ("SELL", 1, "Close Long"),
            ("SELL", 1, "Open Short"),
            ("BUY", 1, "Close Short"),
        ):
            order = self.market(side, size)
            yield from self.closed(order)
            self.compare(f"fills: {direction}", order, direction)

    def endings(self) -> Steps:
        """Orders that end without our cancelling them."""
        mine = yield from self.inside(1)
        sale = self.market("SELL", 1)
        yield from self.ended("selfTradeCanceled", mine)
        yield from self.closed(sale)
        yield from self.closed(self.market("BUY", 2))
        _, ask = self.exchange.touch()
        reduce = self.limit("SELL", 1, ask * 1.02, post_only=True, reduce_only=True)
        yield from self.accepted(reduce)
        self.market("SELL", 1)
        yield from self.ended("reduceOnlyCanceled", reduce)
        yield from self.closed(self.market("BUY", 1))
        stop = yield from self.stop(0.9)
        self.s.cancel_order(stop.client_order_id)
        yield from self.ended("canceled", stop)

    def ended(self, status: str, order: Any) -> Steps:
        """The adapter must call it cancelled, once, and the venue must have called it so."""
        oid = int(str(self.order(order).venue_order_id))
        yield from self.wait(lambda: bool(self.told("OrderCanceled", order)))
        count = len(self.told("OrderCanceled", order))
        said = self.exchange.ask("orderStatus", oid=oid)["order"]["status"]
        told = f"OrderCanceled x{count}, venue {said}"
        self.facts.put("9", f"ending: {status}", count == 1 and said == status, told)

    def outage(self) -> Steps:
        """A fill while the socket is cut is in no stream: only asking again can find it."""
        bid, _ = self.exchange.touch()
        order = self.limit("BUY", 2, bid * 0.98, post_only=True)
        yield from self.accepted(order)
        before = self.net()
        self.exchange.post("/emulator/disconnect", {})
        self.exchange.sweep(order.price.as_double(), 0.5)
        yield from self.wait(lambda: self.net() != before, 30)
        mine, venue = self.net(), self.exchange.position()
        told = f"from {before:g} to {mine:g}; venue {venue:g}"
        is_so = venue == before + 0.5 and mine == venue
        self.facts.put("67", "reconciles a fill during an outage", is_so, told)
        self.s.cancel_order(order.client_order_id)
        yield from self.closed(order)

    def leave(self) -> Steps:
        """A position and two orders, for the next node to find."""
        yield from self.closed(self.market("BUY", 1))
        bid, ask = self.exchange.touch()
        yield from self.accepted(self.limit("BUY", 2, bid * 0.98, post_only=True))
        yield from self.accepted(
            self.limit("SELL", 1, ask * 1.02, post_only=True, reduce_only=True)
        )


class Reconcile(Orders):
    """A fresh node that knows nothing: it must find what is there, and be able to end it."""

    def steps(self) -> Steps:
        """The whole phase."""
        yield from self.quoted()
        self.orders()
        self.held()
        yield from self.clear()
        yield from self.trigger()

    def orders(self) -> None:
        """Open orders: the venue's."""
        mine = {
            str(order.venue_order_id): (
                order.price.as_double() * (1 if order.is_buy else -1),
                order.quantity.as_double(),
                order.is_reduce_only,
            )
            for order in self.s.cache.orders_open()
        }
        venue = {
            str(row["oid"]): (
                float(row["limitPx"]) * (1 if row["side"] == "B" else -1),
                float(row["sz"]),
                bool(row.get("reduceOnly")),
            )
            for row in self.exchange.resting()
        }
        told = f"{mine} (oid: price, below 0 to sell, size, reduce-only); venue {venue}"
        is_so = mine == venue and len(venue) == 2
        self.facts.put("67", "a fresh node reconciles the open orders", is_so, told)

    def held(self) -> None:
        """The position: the venue's."""
        signed, venue = self.net(), self.exchange.position()
        is_so = venue != 0 and abs(signed - venue) < 1e-9
        told = f"{signed:g}; venue {venue:g}"
        self.facts.put("67", "a fresh node reconciles the position", is_so, told)

    def clear(self) -> Steps:
        """Cancel what was found, close what is held."""
        for order in self.s.cache.orders_open():
            self.s.cancel_order(order.client_order_id)
        yield from self.wait(lambda: self.s.cache.orders_open() == [])
        held = self.exchange.position()
        close = self.market("SELL" if held > 0 else "BUY", abs(held), reduce_only=True)
        yield from self.closed(close)
        yield from self.wait(lambda: self.s.cache.positions_open() == [])
        rows, left = self.exchange.resting(), self.exchange.position()
        found = len(self.s.cache.orders_open()), len(self.s.cache.positions_open())
        is_so = rows == [] and left == 0 and found == (0, 0)
        told = f"venue {len(rows)} orders, position {left:g}; adapter {found[0]} and {found[1]}"
        self.facts.put("67", "ends what it found", is_so, told)

    def trigger(self) -> Steps:
        """A stop that the mark reaches."""
        yield from self.closed(self.market("BUY", 1))
        stop = yield from self.stop(0.99)
        self.exchange.post(
            "/emulator/price", {"coin": COIN, "px": self.exchange.touch()[0] * 0.985}
        )
        yield from self.closed(stop)
        self.compare("a stop that triggers and fills", stop, "Close Long")


class Words(Script):
    """
    Every word of ours that the adapter reads by a strict enum, one frame each, then a liquidation.

    What it makes of a frame is in its log, after a line that names the word.
    """

    def steps(self) -> Steps:
        """The whole phase."""
        for word, frame in self.task["words"]:
            text = json.dumps(frame)
            print(f"{MARK} {word}", flush=True)
            self.exchange.post("/emulator/inject", {"text": text})
            yield from self.wait(lambda: False, 0.15)
        print(f"{MARK} a liquidation", flush=True)
        yield from self.liquidation()

    def liquidation(self) -> Steps:
        """A position eight times the equity, and a mark that falls until it is taken away."""
        bid, ask = self.exchange.touch()
        yield from self.accepted(self.limit("BUY", 1, bid * 0.7, post_only=True))
        size = 8 * EQUITY_USD / ask
        order = self.limit("BUY", size, ask * 1.004, time_in_force=self.p.TimeInForce.IOC)
        yield from self.closed(order)
        before = self.exchange.position()
        for fall in range(1, 30):
            self.exchange.post("/emulator/price", {"coin": COIN, "px": bid * (1 - fall / 100)})
            yield from self.wait(lambda: False, 0.2)
            if self.exchange.position() == 0:
                break
        fills = self.exchange.ask("userFills")
        words = sorted({row["dir"] for row in fills if row["dir"].startswith("Liquidated")})
        states = {row["status"] for row in self.exchange.ask("historicalOrders")}
        is_so = before > 0 and bool(words) and "liquidatedCanceled" in states
        told = f"{before:g} held, then {words}, statuses {sorted(states)}"
        self.facts.put("9", "a liquidation happened", is_so, told)
