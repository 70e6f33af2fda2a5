"""
Control routes under `/emulator/`: moving prices, trading against the client, faults, and the logs.

Nothing here exists at the venue, and no client of it calls these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec

from mmbot.core.types import Side, Tif
from mmbot.emulator.replies import HttpResponse, json_response
from mmbot.emulator.schema import BadJsonError, parse_json
from mmbot.emulator.specs import NewOrder
from mmbot.errors import ConfigError

if TYPE_CHECKING:
    from mmbot.emulator.wire import Exchange

HOUSE = "0x" + "e" * 40
"""Account that trades on behalf of the person at the controls."""

REQUESTS_PER_CALL = 5000
SINCE_DIGITS = 18
PX_FACTOR_MAX = 20.0
"""How far, as a factor, a price may be moved from the one the asset was listed at."""
OFF_GRID = 1e-3
"""In ticks: above the error of a float, below a digit that does not belong."""


_Px = Annotated[float, msgspec.Meta(gt=0, lt=1e12)]


class Price(msgspec.Struct, forbid_unknown_fields=True):
    """Move oracle, mark and the market's fair price of a coin."""

    coin: str
    px: _Px


class Trade(msgspec.Struct, forbid_unknown_fields=True):
    """Trade as a taker (`Ioc`) up to a price, or rest an order (`Gtc`, `Alo`)."""

    coin: str
    side: Literal["B", "A", "buy", "sell"]
    px: _Px
    sz: Annotated[float, msgspec.Meta(gt=0, lt=1e9)]
    tif: Literal["Alo", "Gtc", "Ioc"] = "Ioc"


class Account(msgspec.Struct, forbid_unknown_fields=True):
    """Set what an account is beside its balance."""

    user: str
    abstraction: (
        Literal["default", "disabled", "unifiedAccount", "portfolioMargin", "dexAbstraction"] | None
    ) = None
    volume_usd: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None
    requests_used: Annotated[int, msgspec.Meta(ge=0, le=10**12)] | None = None


class Coin(msgspec.Struct, forbid_unknown_fields=True):
    """Name a coin."""

    coin: str


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """A text to push."""

    text: str


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No fields."""


Route = Callable[[Any], Any]


class Control:
    """Carries out control requests on an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._posts: dict[str, tuple[type[Any], Route]] = {
            "price": (Price, self._price),
            "trade": (Trade, self._trade),
            "faults": (dict[str, Any], self._faults),
            "account": (Account, self._account),
            "halt": (Coin, lambda body: exchange.venue.halt(self._asset_id(body.coin))),
            "delist": (Coin, lambda body: exchange.venue.delist(self._asset_id(body.coin))),
            "disconnect": (Nothing, lambda _: exchange.disconnect()),
            "inject": (Text, lambda body: exchange.inject(body.text)),
        }
        self._gets: dict[str, Callable[[dict[str, list[str]]], Any]] = {
            "requests": self._requests,
            "ledger": self._ledger,
            "faults": lambda _: msgspec.to_builtins(exchange.faults),
            "status": self._status,
            "orders": self._orders,
            "book": self._book,
            "accounts": lambda _: {"url": "", "accounts": exchange.test_accounts},
        }

    def handle(self, method: str, path: str, query: str, body: bytes) -> HttpResponse:
        """Answer a control request; what is wrong with it is said in the answer."""
        name = path.removeprefix("/emulator/")
        try:
            if method == "GET" and name in self._gets:
                return json_response(self._gets[name](parse_qs(query)))
            if method == "POST" and name in self._posts:
                kind, route = self._posts[name]
                value = parse_json(body) if body.strip() else {}
                done = route(msgspec.convert(value, kind))
                self._exchange.settle()
                return json_response(done if done is not None else {"ok": True})
        except (BadJsonError, ConfigError, msgspec.ValidationError) as error:
            return json_response({"error": str(error)}, 400)
        known = sorted({f"GET {name}" for name in self._gets} | {f"POST {n}" for n in self._posts})
        return json_response({"error": f"no such control route; there are {known}"}, 404)

    # --- acting ---

    def _asset_id(self, coin: str) -> int:
        asset_id = self._exchange.venue.asset_id(coin)
        if asset_id is None:
            msg = f"no coin {coin!r} on this exchange"
            raise ConfigError(msg)
        return asset_id

    def _price(self, body: Price) -> None:
        exchange, asset_id = self._exchange, self._asset_id(body.coin)
        listed_px = exchange.venue.asset(asset_id).spec.mark_px
        low_px, high_px = listed_px / PX_FACTOR_MAX, listed_px * PX_FACTOR_MAX
        if not low_px <= body.px <= high_px:
            # The makers quote every price in a band of bps: far away from where the asset was
            # listed that is none, or a billion.
            msg = f"px of {body.coin} must be {low_px:g} to {high_px:g}, got {body.px:g}"
            raise ConfigError(msg)
        if exchange.market is not None and exchange.market_coin == body.coin:
            exchange.market.force_px(body.px)
            return
        exchange.venue.set_oracle(asset_id, body.px)
        exchange.venue.set_mark(asset_id, body.px)

    def _trade(self, body: Trade) -> dict[str, Any]:
        venue, asset_id = self._exchange.venue, self._asset_id(body.coin)
        asset = venue.asset(asset_id)
        lots, ticks = round(body.sz * asset.lots_per_coin), asset.ticks(body.px)
        if not lots:
            msg = f"sz {body.sz:g} of {body.coin} is less than one lot of {asset.sz_decimals} "
            raise ConfigError(msg + "decimals")
        if not asset.is_valid_px(ticks) or abs(body.px * asset.ticks_per_usd - ticks) > OFF_GRID:
            msg = f"px {body.px!r} of {body.coin} is no valid price: five significant figures and "
            raise ConfigError(msg + f"at most {asset.px_decimals} decimals")
        if not venue.has_account(HOUSE):
            venue.open_account(HOUSE, usd=0.0, is_house=True)
        side = Side.BUY if body.side in {"B", "buy"} else Side.SELL
        result = venue.submit(HOUSE, NewOrder(asset_id, side, ticks, lots, Tif(body.tif)))
        return {
            "outcome": result.outcome.value,
            "oid": result.oid,
            "filled_sz": result.filled_lots / asset.lots_per_coin,
            "error": result.error,
        }

    def _faults(self, body: dict[str, Any]) -> Any:
        if body.get("disconnect_per_s") and not self._exchange.has_chance:
            msg = "disconnect_per_s needs a generator, and this exchange was started without one"
            raise ConfigError(msg)
        self._exchange.faults.update(body)
        return msgspec.to_builtins(self._exchange.faults)

    def _account(self, body: Account) -> None:
        account = self._exchange.venue.account(body.user)
        if body.abstraction is not None:
            account.abstraction = body.abstraction
        if body.volume_usd is not None:
            self._exchange.venue.grant_volume(body.user, body.volume_usd)
        if body.requests_used is not None:
            account.requests_used = body.requests_used

    # --- reading ---

    def _requests(self, query: dict[str, list[str]]) -> Any:
        text = query.get("since", ["0"])[0]
        if not (text.isascii() and text.isdigit() and len(text) <= SINCE_DIGITS):
            msg = f"since must be the number of a request, got {text[:40]!r}"
            raise ConfigError(msg)
        since = int(text)
        rows = [row for row in self._exchange.requests if row["seq"] > since]
        return {"seen": self._exchange.requests_seen, "requests": rows[:REQUESTS_PER_CALL]}

    def _ledger(self, query: dict[str, list[str]]) -> Any:
        """
        Everything that moved an account's money, and its equity at the mark.

        `deposits + closed profit - fees + funding + unrealised = equity` on every dex.
        """
        users = query.get("user")
        if not users:
            msg = "name the account: /emulator/ledger?user=0x..."
            raise ConfigError(msg)
        venue = self._exchange.venue
        account = venue.account(users[0])
        return {
            "user": account.address,
            "ledger": account.ledger,
            "fills": list(account.fills),
            "fundings": account.fundings,
            "states": {dex: venue.clearinghouse_state(users[0], dex) for dex in venue.dex_names()},
            "imbalance_u": {
                dex.spec.collateral: venue.imbalance_u(dex.spec.collateral)
                for dex in venue.state.dexes
            },
        }

    def _book(self, query: dict[str, list[str]]) -> Any:
        """Whole book of a coin, as `l2Book` has it."""
        coin = query.get("coin", [""])[0]
        self._asset_id(coin)
        return self._exchange.venue.l2_book(coin)

    def _orders(self, query: dict[str, list[str]]) -> Any:
        """What rests for an account on every dex; unlike /info it costs no request weight."""
        user = query.get("user", [""])[0]
        venue = self._exchange.venue
        return [order for dex in venue.dex_names() for order in venue.open_orders(user, dex)]

    def _status(self, query: dict[str, list[str]]) -> Any:
        del query
        exchange = self._exchange
        return {
            "now_ms": exchange.now_ms,
            "sessions": exchange.session_count,
            "topics": exchange.topic_count,
            "requests_seen": exchange.requests_seen,
            "asked": exchange.asked,
            "weights": exchange.weights,
        }
