"""
State behind each channel: what comes first on a subscription and what a cadence repeats.

Shapes and cadences are those of protocol notes 3.4. A book of a delisted coin is pushed empty, its
best prices stay silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mmbot.emulator import market_views, user_views
from mmbot.emulator.accounts import Account
from mmbot.emulator.assets import AssetState
from mmbot.emulator.audience import UserBlock, funding_push
from mmbot.emulator.auth import Identities
from mmbot.emulator.session import frame
from mmbot.emulator.specs import TradePrint
from mmbot.emulator.state import State
from mmbot.emulator.subscriptions import INTERVALS_MS, Topic

SLOW_LEVELS = 20
FAST_LEVELS = 5
REPLAY_MS = 20_000
"""How far back the first `trades` frame of a subscription reaches (measured, about 20 s)."""

FILLS_IN_SNAPSHOT = 100
"""Fills the first `userFills` message repeats; the venue says "recent" and no number."""

_CADENCE_OF = {
    "activeAssetCtx": "ctx",
    "allMids": "mids",
    "candle": "candle",
    "assetCtxs": "dex_ctx",
    "allDexsAssetCtxs": "dex_ctx",
    "clearinghouseState": "account",
    "allDexsClearinghouseState": "account",
    "openOrders": "account",
    "spotState": "account",
    "twapStates": "account",
    "activeAssetData": "account",
    "webData2": "account",
    "webData3": "account",
}

KINDS_OF: dict[str, tuple[str, ...]] = {
    "fast_book": ("l2Book",),
    "slow_book": ("l2Book",),
    **{
        clock: tuple(kind for kind, of in _CADENCE_OF.items() if of == clock)
        for clock in _CADENCE_OF.values()
    },
}
"""Kinds of topic by the clock that pushes them."""

ON_CHANGE = (
    "clearinghouseState",
    "allDexsClearinghouseState",
    "openOrders",
    "activeAssetData",
)
"""State streams of an account that also follow its events (cadence unverified)."""


def cadence(topic: Topic) -> str | None:
    """Clock a topic is pushed on, None for topics that follow events alone."""
    if topic.kind == "l2Book":
        return "fast_book" if topic.fields["fast"] else "slow_book"
    return _CADENCE_OF.get(topic.kind)


class Feeds:
    """Writes frames. Reads the venue's state and changes nothing."""

    def __init__(self, state: State, identities: Identities) -> None:
        self._state = state
        self._identities = identities
        self._writers: dict[str, Callable[[Topic], str | None]] = {
            "l2Book": self._book,
            "activeAssetCtx": self._ctx,
            "allMids": self._mids,
            "candle": self._candle,
            "assetCtxs": self._dex_ctxs,
            "allDexsAssetCtxs": self._all_ctxs,
            "clearinghouseState": self._margin,
            "allDexsClearinghouseState": self._all_margins,
            "openOrders": self._orders,
            "spotState": self._spot,
            "twapStates": self._twaps,
            "activeAssetData": self._asset_data,
            "webData2": self._web_data_2,
            "webData3": self._web_data_3,
            "bbo": self._first_bbo,
            "trades": self._replay,
            "userFills": self._fills,
            "userFundings": self._fundings,
            "userNonFundingLedgerUpdates": self._ledger,
            "userHistoricalOrders": self._history,
            "userTwapSliceFills": self._twap_fills,
            "userTwapHistory": self._twap_history,
        }

    # --- subjects ---

    def is_known(self, topic: Topic) -> bool:
        """Whether the coin and dex of a topic exist; both are case-sensitive."""
        coin = topic.coin
        if coin is not None and coin not in self._state.by_coin:
            return False
        return topic.dex in self._state.dex_by_name

    def _asset(self, topic: Topic) -> AssetState:
        return self._state.by_coin[topic.fields["coin"]]

    def _account(self, topic: Topic) -> Account | None:
        return self._state.account(topic.fields["user"])

    # --- state ---

    def first(self, topic: Topic) -> str | None:
        """Frame that opens a subscription, None where the channel begins with its first event."""
        writer = self._writers.get(topic.kind)
        return writer(topic) if writer is not None else None

    def current(self, topic: Topic) -> str | None:
        """Frame a cadence pushes."""
        return self._writers[topic.kind](topic)

    def touch(self, asset: AssetState) -> dict[str, Any]:
        """Best prices of an asset in wire shape, time included."""
        return market_views.bbo(self._state, asset)

    def _book(self, topic: Topic) -> str:
        fields = topic.fields
        is_fast = fields["fast"]
        levels = FAST_LEVELS if is_fast else SLOW_LEVELS
        book = market_views.l2_book(
            self._state, self._asset(topic), levels, fields["nSigFigs"], fields["mantissa"]
        )
        if is_fast:
            # Seen in a capture of 2026-07, absent from another: parsers have to take both.
            book["fast"] = True
        return frame("l2Book", book)

    def _first_bbo(self, topic: Topic) -> str | None:
        data = self.touch(self._asset(topic))
        return frame("bbo", data) if any(data["bbo"]) else None

    def _replay(self, topic: Topic) -> str | None:
        asset = self._asset(topic)
        since_ms = self._state.now_ms - REPLAY_MS
        rows = [
            market_views.trade_row(self._state, trade)
            for trade in asset.prints
            if trade.time_ms > since_ms
        ]
        return frame("trades", rows) if rows else None

    def trades(self, trades: Iterable[TradePrint]) -> str:
        """Trades of one coin in one block."""
        return frame("trades", [market_views.trade_row(self._state, trade) for trade in trades])

    def _ctx(self, topic: Topic) -> str:
        asset = self._asset(topic)
        return frame("activeAssetCtx", {"coin": asset.coin, "ctx": market_views.asset_ctx(asset)})

    def _mids(self, topic: Topic) -> str:
        mids = market_views.all_mids(self._state, self._state.dex_by_name[topic.dex])
        data: dict[str, Any] = {"mids": mids}
        if topic.dex:
            data["dex"] = topic.dex
        return frame("allMids", data)

    def _candle(self, topic: Topic) -> str | None:
        interval, now_ms = topic.fields["interval"], self._state.now_ms
        open_ms = now_ms - now_ms % INTERVALS_MS[interval]
        rows = market_views.candles(self._asset(topic), interval, open_ms, now_ms)
        return frame("candle", rows[-1]) if rows else None

    def _dex_ctxs(self, topic: Topic) -> str:
        assets = self._state.dex_by_name[topic.dex].assets
        ctxs = [market_views.asset_ctx(asset) for asset in assets]
        return frame("assetCtxs", {"dex": topic.dex, "ctxs": ctxs})

    def _all_ctxs(self, topic: Topic) -> str:
        ctxs = [
            [dex.name, [market_views.asset_ctx(asset) for asset in dex.assets]]
            for dex in self._state.dexes
        ]
        return frame(topic.kind, {"ctxs": ctxs})

    # --- accounts ---

    def _margin(self, topic: Topic) -> str:
        dex = self._state.dex_by_name[topic.dex]
        state = user_views.clearinghouse_state(self._state, self._account(topic), dex)
        data = {"dex": topic.dex, "user": topic.user, "clearinghouseState": state}
        return frame("clearinghouseState", data)

    def _all_margins(self, topic: Topic) -> str:
        account = self._account(topic)
        states = [
            [dex.name, user_views.clearinghouse_state(self._state, account, dex)]
            for dex in self._state.dexes
        ]
        data = {"user": topic.user, "clearinghouseStates": states}
        return frame("allDexsClearinghouseState", data)

    def _orders(self, topic: Topic) -> str:
        dex = self._state.dex_by_name[topic.dex]
        orders = user_views.open_orders(self._account(topic), dex, is_frontend=True)
        return frame("openOrders", {"dex": topic.dex, "user": topic.user, "orders": orders})

    def _spot(self, topic: Topic) -> str:
        state = user_views.spot_state(self._state, self._account(topic))
        return frame("spotState", {"user": topic.user, "spotState": state})

    def _twaps(self, topic: Topic) -> str:
        # The emulated venue runs no TWAPs, so no account ever has one.
        return frame("twapStates", {"dex": topic.dex, "user": topic.user, "states": []})

    def _asset_data(self, topic: Topic) -> str:
        user = topic.fields["user"]
        data = user_views.active_asset_data(
            self._state, self._account(topic), user, self._asset(topic)
        )
        return frame("activeAssetData", data)

    def _web_data_2(self, topic: Topic) -> str:
        """The aggregate of the web page for the main dex; removal is announced."""
        state, account = self._state, self._account(topic)
        main = state.dexes[0]
        user = topic.fields["user"]
        agent = next(
            (a for a in self._identities.agents_of(user, state.now_ms) if not a.name), None
        )
        data = {
            "clearinghouseState": user_views.clearinghouse_state(state, account, main),
            "leadingVaults": [],
            "totalVaultEquity": "0.0",
            "openOrders": user_views.open_orders(account, main, is_frontend=True),
            "agentAddress": agent.address if agent else None,
            "agentValidUntil": agent.valid_until_ms if agent else None,
            "cumLedger": "0.0",
            "meta": market_views.meta(main),
            "assetCtxs": [market_views.asset_ctx(asset) for asset in main.assets],
            "serverTime": state.now_ms,
            "isVault": False,
            "user": user,
            "twapStates": [],
            "spotState": user_views.spot_state(state, account),
            "spotAssetCtxs": market_views.spot_ctxs(state),
        }
        return frame("webData2", data)

    def _web_data_3(self, topic: Topic) -> str:
        state = self._state
        user_state = {
            "agentAddress": None,
            "agentValidUntil": None,
            "serverTime": state.now_ms,
            "cumLedger": "0.0",
            "isVault": False,
            "user": topic.user,
        }
        dexes = [{"totalVaultEquity": "0.0", "leadingVaults": []} for _ in state.dexes]
        return frame("webData3", {"userState": user_state, "perpDexStates": dexes})

    # --- snapshots of event streams ---

    def _fills(self, topic: Topic) -> str:
        rows = user_views.user_fills(
            self._account(topic), aggregate=topic.fields["aggregateByTime"]
        )
        return _snapshot(topic, "fills", rows[:FILLS_IN_SNAPSHOT])

    def _fundings(self, topic: Topic) -> str:
        account = self._account(topic)
        rows = [funding_push(row) for row in account.fundings] if account else []
        return _snapshot(topic, "fundings", rows)

    def _ledger(self, topic: Topic) -> str:
        account = self._account(topic)
        return _snapshot(topic, "nonFundingLedgerUpdates", list(account.ledger) if account else [])

    def _history(self, topic: Topic) -> str:
        rows = user_views.historical_orders(self._account(topic), FILLS_IN_SNAPSHOT)
        return _snapshot(topic, "orderHistory", rows)

    def _twap_fills(self, topic: Topic) -> str:
        return _snapshot(topic, "twapSliceFills", [])

    def _twap_history(self, topic: Topic) -> str:
        return _snapshot(topic, "history", [])

    # --- events ---

    def account_events(self, user: str, block: UserBlock) -> list[tuple[str, str]]:
        """Frames of what happened to an account in a block, each with the kind that hears it."""
        out: list[tuple[str, str]] = []
        if block.updates:
            out.append(("orderUpdates", frame("orderUpdates", block.updates)))
        if block.fills:
            out.append(("userEvents", frame("user", {"fills": block.fills})))
        out.extend(("userEvents", frame("user", event)) for event in block.events)
        if block.fundings:
            data = {"user": user, "fundings": block.fundings}
            out.append(("userFundings", frame("userFundings", data)))
        if block.ledger:
            data = {"user": user, "nonFundingLedgerUpdates": block.ledger}
            kind = "userNonFundingLedgerUpdates"
            out.append((kind, frame(kind, data)))
        return out

    def fills_event(self, user: str, fills: list[dict[str, Any]], topic: Topic) -> str:
        """Fills of a block on `userFills`, merged where the subscription asks for it."""
        rows = fills
        if topic.fields["aggregateByTime"]:
            keys = {(fill["oid"], fill["time"]) for fill in fills}
            merged = user_views.user_fills(self._account(topic), aggregate=True)
            rows = [row for row in reversed(merged) if (row["oid"], row["time"]) in keys]
        return frame("userFills", {"user": user, "fills": rows})


def _snapshot(topic: Topic, name: str, rows: list[dict[str, Any]]) -> str:
    return frame(topic.kind, {"isSnapshot": True, "user": topic.user, name: rows})
