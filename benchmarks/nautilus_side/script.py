"""
What a phase works with: the exchange asked directly, the facts, and steps inside a strategy.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

COIN: Final = "SOL"
"""Where orders go: its book stands still but for ourselves, so nothing hangs on luck."""
LIVELY: Final = "HYPE"
"""What the synthetic market trades: it gives data."""
ACCOUNT: Final = "HYPERLIQUID-001"
PATIENCE_S: Final = 15.0

Steps = Generator[None, None, None]


class Exchange:
    """The emulated exchange itself, asked directly: its word against the adapter's."""

    def __init__(self, url: str, user: str) -> None:
        self._url = url
        self._user = user

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """One POST."""
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def ask(self, kind: str, **more: Any) -> Any:
        """An /info request about the account."""
        return self.post("/info", {"type": kind, "user": self._user, **more})

    def resting(self) -> list[dict[str, Any]]:
        """Open orders, at no request weight: it may be asked often."""
        with urllib.request.urlopen(f"{self._url}/emulator/orders?user={self._user}") as answer:
            rows: list[dict[str, Any]] = json.load(answer)
        return rows

    def position(self) -> float:
        """Signed size held."""
        for row in self.ask("clearinghouseState")["assetPositions"]:
            if row["position"]["coin"] == COIN:
                return float(row["position"]["szi"])
        return 0.0

    def touch(self, coin: str = COIN) -> tuple[float, float]:
        """Best bid and ask."""
        bids, asks = self.post("/info", {"type": "l2Book", "coin": coin})["levels"]
        return float(bids[0]["px"]), float(asks[0]["px"])

    def sweep(self, px: float, sz: float) -> Any:
        """Somebody else sells into all bids above a price, and so much more at it."""
        bids, _ = self.post("/info", {"type": "l2Book", "coin": COIN})["levels"]
        return self.house("A", px, sz + sum(float(b["sz"]) for b in bids if float(b["px"]) > px))

    def house(self, side: str, px: float, sz: float, coin: str = COIN) -> Any:
        """Somebody else takes."""
        body = {"coin": coin, "side": side, "px": px, "sz": sz}
        return self.post("/emulator/trade", body)


class Facts:
    """Where facts go."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, check: str, name: str, is_so: bool, evidence: str) -> None:
        """Write one."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([check, name, is_so, evidence]) + "\n")


class Script:
    """
    What happens, step by step, inside a running strategy.

    The strategy calls `step` on a timer and hands on what it is told; a script never blocks.
    """

    def __init__(self, pyo3: Any, strategy: Any, task: dict[str, Any]) -> None:
        self.p = pyo3
        self.task = task
        self.s = strategy
        self.exchange = Exchange(task["exchange"], task["address"])
        self.facts = Facts(Path(task["facts"]))
        self.instrument_id = pyo3.InstrumentId.from_str(f"{COIN}-USD-PERP.HYPERLIQUID")
        self.events: list[Any] = []
        self.heard: dict[str, int] = {}

    # -- means --------------------------------------------------------------------------------

    def told(self, name: str, order: Any = None) -> list[Any]:
        """Events of a type so far, of one order."""
        wanted = None if order is None else order.client_order_id
        return [
            event
            for event in self.events
            if type(event).__name__ == name and (wanted is None or event.client_order_id == wanted)
        ]

    def wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> Steps:
        """Until it holds; after that long it goes on, and what is looked at next fails."""
        until_s = time.monotonic() + patience_s
        while not condition() and time.monotonic() < until_s:
            yield

    def qty(self, size: float) -> Any:
        """A size as the adapter wants it."""
        return self.p.Quantity(size, 2)

    def px(self, price: float) -> Any:
        """A price on the venue's grid: five figures, three of them before the point."""
        return self.p.Price(round(price, 2), 4)

    def make(self, side: str, size: float, price: float, **more: Any) -> Any:
        """A limit order, not yet submitted."""
        return self.s.order_factory.limit(
            self.instrument_id,
            getattr(self.p.OrderSide, side),
            self.qty(size),
            self.px(price),
            **more,
        )

    def limit(self, side: str, size: float, price: float, **more: Any) -> Any:
        """Submit a limit order."""
        order = self.make(side, size, price, **more)
        self.s.submit_order(order)
        return order

    def market(self, side: str, size: float, **more: Any) -> Any:
        """Submit a market order."""
        order = self.s.order_factory.market(
            self.instrument_id, getattr(self.p.OrderSide, side), self.qty(size), **more
        )
        self.s.submit_order(order)
        return order

    def order(self, order: Any) -> Any:
        """Its present state in the adapter's cache."""
        return self.s.cache.order(order.client_order_id)

    def row(self, oid: str) -> dict[str, Any]:
        """What the venue says rests under an oid, with its kind; empty if nothing."""
        rows: list[dict[str, Any]] = self.exchange.ask("frontendOpenOrders")
        return next((row for row in rows if str(row["oid"]) == oid), {})

    def closed(self, order: Any) -> Steps:
        """Until the adapter calls it closed."""
        yield from self.wait(lambda: self.order(order).is_closed)

    def accepted(self, order: Any) -> Steps:
        """Until the adapter has heard of its acceptance."""
        yield from self.wait(lambda: bool(self.told("OrderAccepted", order)))

    def quoted(self) -> Steps:
        """Until the adapter has a quote: it prices market orders by it."""
        self.s.subscribe_quotes(self.instrument_id)
        yield from self.wait(lambda: self.s.cache.quote(self.instrument_id) is not None)
