"""
`POST /info`: reading a request as the venue does, and answering it.

Unknown fields are ignored, a known one that comes twice is refused, addresses may lack `0x`, and
the fields may come as an array in order instead of an object. Source: protocol notes 1.1 and 1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmbot.emulator import market_views as market
from mmbot.emulator import user_views as users
from mmbot.emulator.assets import AssetState, DexState
from mmbot.emulator.auth import Identities
from mmbot.emulator.limits import info_weight, rows_weight
from mmbot.emulator.numbers import wire_u
from mmbot.emulator.schema import (
    Field,
    SchemaError,
    address_text,
    flag,
    may,
    need,
    oid_or_cloid,
    one_of,
    struct,
    text,
    uint,
)
from mmbot.emulator.state import State
from mmbot.emulator.subscriptions import INTERVALS_MS, is_depth_valid

BAD_JSON = "Failed to parse the request body as JSON"
BAD_SCHEMA = "Failed to deserialize the JSON body into the target type"
BAD_TYPE = "Expected request with `Content-Type: application/json`"

BOOK_LEVELS = 20
RECENT_TRADES = 10
ORDERS_KEPT = 2000
FAR_FUTURE_MS = 2**53


class _MissingError(Exception):
    """The venue answers 500 and `null`."""


class Query(NamedTuple):
    """A request that was understood."""

    kind: str
    fields: dict[str, Any]

    @property
    def weight(self) -> int:
        """Weight before the rows of the answer are known."""
        return info_weight(self.kind)


class Reply(NamedTuple):
    """An answer; not found is HTTP 500 with `null`."""

    value: Any
    is_found: bool
    more_weight: int


_USER = need("user", address_text)
_COIN = need("coin", text)
_DEX = Field("dex", text, default="")
_START = need("startTime", uint)
_END = Field("endTime", uint, default=FAR_FUTURE_MS)
_AGGREGATE = Field("aggregateByTime", flag, default=False)
_CANDLE = struct(
    _COIN,
    need("interval", one_of(*INTERVALS_MS)),
    _START,
    Field("endTime", uint, default=FAR_FUTURE_MS),
)

FIELDS: Mapping[str, tuple[Field, ...]] = {
    "meta": (_DEX,),
    "allPerpMetas": (),
    "perpDexs": (),
    "metaAndAssetCtxs": (_DEX,),
    "allMids": (_DEX,),
    "l2Book": (_COIN, may("nSigFigs", uint), may("mantissa", uint)),
    "recentTrades": (_COIN,),
    "candleSnapshot": (need("req", _CANDLE),),
    "fundingHistory": (_COIN, _START, _END),
    "predictedFundings": (),
    "clearinghouseState": (_USER, _DEX),
    "spotClearinghouseState": (_USER,),
    "openOrders": (_USER, _DEX),
    "frontendOpenOrders": (_USER, _DEX),
    "orderStatus": (_USER, need("oid", oid_or_cloid)),
    "historicalOrders": (_USER,),
    "userFills": (_USER, _AGGREGATE),
    "userFillsByTime": (_USER, _START, _END, _AGGREGATE, Field("reversed", flag, default=False)),
    "userFunding": (_USER, _START, _END),
    "userNonFundingLedgerUpdates": (_USER, _START, _END),
    "userRateLimit": (_USER,),
    "userFees": (_USER,),
    "userRole": (_USER,),
    "extraAgents": (_USER,),
    "activeAssetData": (_USER, _COIN),
    "maxBuilderFee": (_USER, need("builder", address_text)),
    "userAbstraction": (_USER,),
    "userDexAbstraction": (_USER,),
    "perpsAtOpenInterestCap": (_DEX,),
    "perpDexLimits": (need("dex", text),),
    "perpDexStatus": (_DEX,),
    "spotMeta": (),
    "spotMetaAndAssetCtxs": (),
    "outcomeMeta": (),
    "exchangeStatus": (),
    "subAccounts": (_USER,),
    "referral": (_USER,),
    "userVaultEquities": (_USER,),
}
"""Requests of the emulated venue, with their fields in the order of the array form."""

_CHECKS = {kind: struct(need("type", text), *fields) for kind, fields in FIELDS.items()}

Handler = Callable[[dict[str, Any]], Any]


class InfoDesk:
    """Answers info requests. Reads the venue's state and changes nothing."""

    def __init__(self, state: State, identities: Identities) -> None:
        self._state = state
        self._identities = identities
        self._lag_ms = 0
        self._handlers: dict[str, Handler] = self._market_handlers() | self._user_handlers()

    @staticmethod
    def read(value: Any) -> Query:
        """
        Understand a request.

        Raises:
            SchemaError: Unknown type, or a field missing, mistyped or doubled.
        """
        if isinstance(value, list):
            value = _named(value)
        kind = value.get("type") if isinstance(value, dict) else None
        check = _CHECKS.get(kind) if isinstance(kind, str) else None
        if check is None or not isinstance(kind, str):
            msg = "unknown type"
            raise SchemaError(msg)
        return Query(kind, check(value))

    def answer(self, query: Query, *, unknown_oid_lag_ms: int = 0) -> Reply:
        """Answer a request; orders younger than the lag are not known yet to `orderStatus`."""
        self._lag_ms = unknown_oid_lag_ms
        try:
            value = self._handlers[query.kind](query.fields)
        except _MissingError:
            return Reply(None, is_found=False, more_weight=0)
        rows = len(value) if isinstance(value, list) else 0
        return Reply(value, is_found=True, more_weight=rows_weight(query.kind, rows))

    # --- subjects ---

    def _dex(self, fields: dict[str, Any]) -> DexState:
        dex = self._state.dex_by_name.get(fields["dex"])
        if dex is None:
            raise _MissingError
        return dex

    def _asset(self, fields: dict[str, Any]) -> AssetState:
        asset = self._state.by_coin.get(fields["coin"])
        if asset is None:
            raise _MissingError
        return asset

    # --- markets ---

    def _market_handlers(self) -> dict[str, Handler]:
        state = self._state
        return {
            "meta": lambda f: market.meta(self._dex(f)),
            "allPerpMetas": lambda _: [market.meta(dex) for dex in state.dexes],
            "perpDexs": lambda _: market.perp_dexs(state),
            "metaAndAssetCtxs": lambda f: _with_ctxs(self._dex(f)),
            "allMids": lambda f: market.all_mids(state, self._dex(f)),
            "l2Book": self._book,
            "recentTrades": self._recent_trades,
            "candleSnapshot": self._candles,
            "fundingHistory": lambda f: market.funding_history(
                self._asset(f), f["startTime"], f["endTime"]
            ),
            "predictedFundings": lambda _: market.predicted_fundings(state),
            "perpsAtOpenInterestCap": lambda f: [
                asset.coin for asset in self._dex(f).assets if asset.is_capped()
            ],
            "perpDexLimits": self._dex_limits,
            "perpDexStatus": self._dex_status,
            "spotMeta": lambda _: market.spot_meta(state),
            "spotMetaAndAssetCtxs": lambda _: [market.spot_meta(state), market.spot_ctxs(state)],
            "outcomeMeta": lambda _: {"outcomes": [], "questions": []},
            "exchangeStatus": lambda _: {"time": state.now_ms, "specialStatuses": None},
        }

    def _book(self, fields: dict[str, Any]) -> Any:
        figures, mantissa = fields.get("nSigFigs"), fields.get("mantissa")
        if not is_depth_valid(figures, mantissa):
            raise _MissingError
        asset = self._state.by_coin.get(fields["coin"])
        if asset is None:
            return None
        return market.l2_book(self._state, asset, BOOK_LEVELS, figures, mantissa)

    def _recent_trades(self, fields: dict[str, Any]) -> Any:
        prints = list(self._asset(fields).prints)[-RECENT_TRADES:]
        return [market.trade_row(self._state, print_) for print_ in reversed(prints)]

    def _candles(self, fields: dict[str, Any]) -> Any:
        wanted = fields["req"]
        return market.candles(
            self._asset(wanted), wanted["interval"], wanted["startTime"], wanted["endTime"]
        )

    def _dex_limits(self, fields: dict[str, Any]) -> Any:
        dex = self._dex(fields)
        return market.perp_dex_limits(dex) if dex.index else None

    def _dex_status(self, fields: dict[str, Any]) -> Any:
        dex = self._dex(fields)
        net_u = self._state.deposited_u.get(dex.spec.collateral, 0)
        return {"totalNetDeposit": wire_u(net_u)}

    # --- accounts ---

    def _user_handlers(self) -> dict[str, Handler]:
        state, find = self._state, self._state.account
        return {
            "clearinghouseState": lambda f: users.clearinghouse_state(
                state, find(f["user"]), self._dex(f)
            ),
            "spotClearinghouseState": lambda f: users.spot_state(state, find(f["user"])),
            "openOrders": lambda f: users.open_orders(
                find(f["user"]), self._dex(f), is_frontend=False
            ),
            "frontendOpenOrders": lambda f: users.open_orders(
                find(f["user"]), self._dex(f), is_frontend=True
            ),
            "orderStatus": self._order_status,
            "historicalOrders": lambda f: users.historical_orders(find(f["user"]), ORDERS_KEPT),
            "userFills": lambda f: users.user_fills(
                find(f["user"]), aggregate=f["aggregateByTime"]
            ),
            "userFillsByTime": lambda f: users.user_fills_by_time(
                find(f["user"]),
                f["startTime"],
                f["endTime"],
                aggregate=f["aggregateByTime"],
                is_reversed=f["reversed"],
            ),
            "userFunding": lambda f: self._rows(f, "fundings"),
            "userNonFundingLedgerUpdates": lambda f: self._rows(f, "ledger"),
            "userRateLimit": lambda f: users.rate_limit(state, find(f["user"])),
            "userFees": lambda f: users.user_fees(state, find(f["user"])),
            "userRole": self._role,
            "extraAgents": self._extra_agents,
            "activeAssetData": lambda f: users.active_asset_data(
                state, find(f["user"]), f["user"], self._asset(f)
            ),
            "maxBuilderFee": lambda f: users.max_builder_fee(find(f["user"]), f["builder"]),
            "userAbstraction": self._abstraction,
            "userDexAbstraction": lambda f: self._abstraction(f) == "dexAbstraction",
            "subAccounts": lambda f: users.sub_accounts(state, find(f["user"])),
            "referral": lambda f: users.referral(find(f["user"])),
            "userVaultEquities": lambda _: [],
        }

    def _order_status(self, fields: dict[str, Any]) -> Any:
        found = users.order_status(self._state.account(fields["user"]), fields["oid"])
        if found["status"] == "order" and self._lag_ms:
            placed_ms = found["order"]["order"]["timestamp"]
            if placed_ms > self._state.now_ms - self._lag_ms:
                return {"status": "unknownOid"}
        return found

    def _rows(self, fields: dict[str, Any], name: str) -> Any:
        account = self._state.account(fields["user"])
        rows = getattr(account, name) if account is not None else []
        return users.rows_between(rows, fields["startTime"], fields["endTime"])

    def _role(self, fields: dict[str, Any]) -> Any:
        user = fields["user"]
        agent = self._identities.agent(user, self._state.now_ms)
        if agent is not None:
            return {"role": "agent", "data": {"user": agent.master}}
        account = self._state.account(user)
        if account is None:
            return {"role": "missing"}
        if account.master is not None:
            return {"role": "subAccount", "data": {"master": account.master.address}}
        return {"role": "user"}

    def _extra_agents(self, fields: dict[str, Any]) -> Any:
        agents = self._identities.agents_of(fields["user"], self._state.now_ms)
        return [
            {"address": agent.address, "name": agent.name, "validUntil": agent.valid_until_ms}
            for agent in agents
            if agent.name
        ]

    def _abstraction(self, fields: dict[str, Any]) -> str:
        account = self._state.account(fields["user"])
        return account.abstraction if account is not None else "default"


def _with_ctxs(dex: DexState) -> list[Any]:
    return [market.meta(dex), [market.asset_ctx(asset) for asset in dex.assets]]


def _named(values: list[Any]) -> dict[str, Any]:
    """A request in array form, `["l2Book", "BTC"]`, as an object."""
    kind = values[0] if values else None
    if not isinstance(kind, str) or kind not in FIELDS or len(values) > len(FIELDS[kind]) + 1:
        msg = "not an array of a type and its fields"
        raise SchemaError(msg)
    names = [field.key for field in FIELDS[kind]]
    return {"type": kind, **dict(zip(names, values[1:], strict=False))}
