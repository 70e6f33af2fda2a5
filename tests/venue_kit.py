"""A small venue for tests: a main dex, a builder dex of its own collateral, and short verbs."""

from __future__ import annotations

from typing import Any

from mmbot.core.types import Side, Tif
from mmbot.emulator.specs import (
    AssetSpec,
    DexSpec,
    FillRecord,
    MarginMode,
    NewOrder,
    OrderRecord,
    OrderResult,
    TradePrint,
    VenueEvent,
    VenueParams,
)
from mmbot.emulator.venue import Venue

START_MS = 1_791_484_300_000
BTC, ETH, HYPE, FAR = 0, 1, 2, 3
DEX_HYPE, DEX_GROWTH, DEX_ISOLATED = 110_000, 110_001, 110_002
ALICE = "0x" + "a1" * 20
BOB = "0x" + "b0" * 20
HOUSE = "0x" + "0f" * 20

MAIN = DexSpec(
    name="",
    assets=(
        AssetSpec(
            name="BTC",
            sz_decimals=5,
            max_leverage=40,
            mark_px=84_150.0,
            margin_tiers=((0.0, 40), (150_000_000.0, 20)),
            margin_table_id=56,
        ),
        AssetSpec(name="ETH", sz_decimals=4, max_leverage=25, mark_px=1_890.0),
        AssetSpec(name="HYPE", sz_decimals=2, max_leverage=10, mark_px=26.0),
        AssetSpec(name="OLD", sz_decimals=1, max_leverage=20, mark_px=0.5, is_delisted=True),
    ),
)
BUILDER = DexSpec(
    name="hyna",
    full_name="HyENA",
    collateral="USDE",
    collateral_token=235,
    assets=(
        AssetSpec(
            name="hyna:HYPE",
            sz_decimals=2,
            max_leverage=10,
            mark_px=26.0,
            deployer_fee_scale=1.0,
        ),
        AssetSpec(
            name="hyna:GROW",
            sz_decimals=2,
            max_leverage=10,
            mark_px=26.0,
            deployer_fee_scale=0.5,
            growth_mode=True,
        ),
        AssetSpec(
            name="hyna:ISO",
            sz_decimals=2,
            max_leverage=5,
            mark_px=26.0,
            only_isolated=True,
            margin_mode=MarginMode.STRICT_ISOLATED,
            deployer_fee_scale=1.0,
        ),
    ),
)


def limit(
    asset_id: int,
    side: str,
    px: str,
    sz: str,
    tif: str = "Gtc",
    *,
    reduce_only: bool = False,
    cloid: int | None = None,
) -> dict[str, Any]:
    """One limit order of an action."""
    raw: dict[str, Any] = {
        "a": asset_id,
        "b": side == "B",
        "p": px,
        "s": sz,
        "r": reduce_only,
        "t": {"limit": {"tif": tif}},
    }
    if cloid is not None:
        raw["c"] = cloid_text(cloid)
    return raw


def trigger(
    asset_id: int,
    side: str,
    px: str,
    sz: str,
    *,
    tp: str | None = None,
    sl: str | None = None,
    is_market: bool = True,
    reduce_only: bool = True,
) -> dict[str, Any]:
    """One take-profit (`tp` is its trigger price) or stop-loss (`sl`) order of an action."""
    raw = limit(asset_id, side, px, sz, reduce_only=reduce_only)
    kind = {"triggerPx": tp or sl, "tpsl": "tp" if tp else "sl"}
    raw["t"] = {"trigger": {"isMarket": is_market, **kind}}
    return raw


def cloid_text(number: int) -> str:
    """A cloid in its wire form."""
    return f"0x{number:032x}"


class Kit:
    """A venue with two funded accounts and one house account."""

    def __init__(self, *, usd: float = 10_000.0, params: VenueParams | None = None) -> None:
        self.venue = Venue(params or VenueParams(), (MAIN, BUILDER), START_MS)
        for user in (ALICE, BOB):
            self.venue.open_account(user, usd=usd)
        self.venue.open_account(HOUSE, usd=0, is_house=True)
        self.venue.drain()

    def act(self, user: str, kind: str, **fields: Any) -> Any:
        """Carry out an action; the response of an ok answer, the sentence of a refused one."""
        answer = self.venue.execute(user, {"type": kind, **fields}, signer=user, is_agent=False)
        return answer["response"]

    def orders(self, user: str, *raws: dict[str, Any], grouping: Any = "na") -> list[Any]:
        """Place a batch; its statuses."""
        response = self.act(user, "order", orders=list(raws), grouping=grouping)
        statuses: list[Any] = response["data"]["statuses"]
        return statuses

    def rest(self, user: str, raw: dict[str, Any]) -> int:
        """Place one order that must rest; its oid."""
        (status,) = self.orders(user, raw)
        oid: int = status["resting"]["oid"]
        return oid

    def house(
        self, side: str, px: float, sz: float, *, tif: Tif = Tif.ALO, asset_id: int = HYPE
    ) -> OrderResult:
        """An order of the market around us."""
        asset = self.venue.asset(asset_id)
        new = NewOrder(
            asset_id,
            Side.BUY if side == "B" else Side.SELL,
            asset.ticks(px),
            round(sz * asset.lots_per_coin),
            tif,
        )
        return self.venue.submit(HOUSE, new)

    def state(self, user: str, dex: str = "") -> dict[str, Any]:
        """Clearinghouse state."""
        return self.venue.clearinghouse_state(user, dex)

    def szi(self, user: str, coin: str = "HYPE", dex: str = "") -> float:
        """Signed position, zero when flat."""
        for row in self.state(user, dex)["assetPositions"]:
            if row["position"]["coin"] == coin:
                return float(row["position"]["szi"])
        return 0.0

    def status(self, user: str, ref: int | str) -> str:
        """Word of `orderStatus`, `unknownOid` without a record."""
        answer = self.venue.order_status(user, ref)
        word: str = answer["order"]["status"] if answer["status"] == "order" else answer["status"]
        return word

    def advance(self, ms: int) -> None:
        """Let venue time pass."""
        self.venue.advance(self.venue.now_ms + ms)

    def balanced(self) -> bool:
        """Whether both collaterals add up to what was deposited."""
        return self.venue.imbalance_u("USDC") == 0 and self.venue.imbalance_u("USDE") == 0


def updates(events: list[VenueEvent], user: str) -> list[tuple[int, str]]:
    """(oid, status) of a user's order records, in order."""
    return [
        (event.update["order"]["oid"], event.update["status"])
        for event in events
        if isinstance(event, OrderRecord) and event.user == user
    ]


def fills(events: list[VenueEvent], user: str) -> list[dict[str, Any]]:
    """A user's fills among the events."""
    return [e.fill for e in events if isinstance(e, FillRecord) and e.user == user]


def prints(events: list[VenueEvent]) -> list[TradePrint]:
    """Public trades among the events."""
    return [event for event in events if isinstance(event, TradePrint)]
