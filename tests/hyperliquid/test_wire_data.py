"""
Captured payloads of the venue: each that belongs to a channel or call of ours, to the right event.

The captures are not ours (testnet and mainnet, 2023 to 2026), so they hold what we would not have
thought to invent.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Book,
    Event,
    Fill,
    Level,
    OrderState,
    OrderUpdate,
    Rejection,
    Trades,
)
from mmbot.core.types import Instrument, Side
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.replies import ActionReply, EntryKind, EntryStatus, action_reply
from mmbot.hyperliquid.universe import Universe
from mmbot.hyperliquid.wire import (
    ControlFrame,
    Decoder,
    ErrorFrame,
    Pong,
    SubscriptionAck,
    rejection,
)
from support import data_dir

pytestmark = pytest.mark.data

_NOW = 1_800_000_000_000_000_000
"""Later than every capture."""
_LIQUIDATED = "0x360878d351f05975e25f1807a27895e1e5e004fb"


def _instrument(coin: str) -> Instrument:
    decimals = {"HYPE": 2, "BTC": 5, "XMR": 3, "@107": 2, "INJ": 1, "SUI": 1, "xyz:XYZ100": 4}
    dex = coin.partition(":")[0] if ":" in coin else ""
    return Instrument(coin=coin, dex=dex, asset_id=0, sz_decimals=decimals[coin], max_leverage=40)


def _raw(name: str) -> bytes:
    return data_dir("hyperliquid-payloads", name).read_bytes().strip()


def _json(name: str) -> Any:
    return msgspec.json.decode(_raw(name))


def _events(name: str, coin: str, *, user: str = "0x0") -> list[Event | ControlFrame]:
    """Decode every frame of a file with one decoder; nothing of it may be unknown."""
    decoder = Decoder(_instrument(coin), user=user)
    decoded = [event for line in _raw(name).splitlines() for event in decoder.decode(line, _NOW)]
    assert [what for what in decoder.unknown if not what.startswith("coin:")] == []
    return decoded


def _pair(name: str, coin: str) -> tuple[Event | ControlFrame, ...]:
    """Decode acknowledgement and push of a recorded subscription."""
    decoder = Decoder(_instrument(coin), user="0x0")
    recorded = _json(name)
    (ack,) = decoder.decode(msgspec.json.encode(recorded["ack"]), _NOW)
    (push,) = decoder.decode(msgspec.json.encode(recorded["push"]), _NOW)
    assert decoder.unknown == {}
    return ack, push


def _rest(name: str) -> bytes:
    """Body of a recorded answer, whichever wrapper the source put around it."""
    recorded = _json(name)
    first = recorded[0] if isinstance(recorded, list) else recorded
    return msgspec.json.encode(first["response"])


# -- frames -----------------------------------------------------------------------------------


def test_captured_bbo() -> None:
    """HYPE, mainnet, December 2025."""
    ack, push = _pair("ws_bbo_HYPE.json", "HYPE")

    assert ack == SubscriptionAck({"type": "bbo", "coin": "HYPE"})
    assert push == Bbo(_NOW, 1_766_566_375_292, Level(237_570, 4_209), Level(237_580, 10_026))


def test_captured_twenty_level_book() -> None:
    """HYPE, mainnet, January 2025; without the `fast` flag."""
    (book,) = _events("ws_l2Book_HYPE_20levels.json", "HYPE")

    assert isinstance(book, Book)
    assert (len(book.bids), len(book.asks), book.is_fast) == (20, 20, False)
    assert book.venue_ms == 1_736_682_893_796
    assert (book.bids[0], book.bids[-1]) == (Level(212_770, 8_029), Level(212_470, 2_843))
    assert (book.asks[0], book.asks[-1]) == (Level(213_060, 22_320), Level(213_490, 66_992))
    assert sum(level.sz_lots for level in book.bids + book.asks) == 667_998


def test_captured_book_with_its_acknowledgement() -> None:
    """The acknowledgement of 2025 echoes the defaults of a slow book."""
    ack, push = _pair("ws_l2Book_pair.json", "HYPE")

    assert isinstance(ack, SubscriptionAck)
    assert ack.subscription["mantissa"] is None
    assert push == Book(
        _NOW,
        1_764_842_873_555,
        (Level(349_670, 285), Level(349_620, 384)),
        (Level(349_690, 147_306), Level(349_700, 154_451)),
        False,
    )


def test_captured_fast_books_and_the_bbo_between_them() -> None:
    """The touch of the next book is that of the bbo before it."""
    first, bbo, second = _events("ws_l2Book_fast_and_bbo.jsonl", "BTC")

    assert isinstance(first, Book)
    assert isinstance(second, Book)
    assert first.is_fast
    assert second.is_fast
    assert (len(first.bids), len(first.asks)) == (5, 5)
    assert first.bids[0] == Level(634_600, 2_666)
    assert bbo == Bbo(_NOW, 1_785_251_522_090, Level(634_570, 28), Level(634_880, 1_246))
    assert (second.bids[0], second.asks[0]) == (Level(634_570, 28), Level(634_880, 1_246))


def test_captured_replay_of_trades() -> None:
    """Thirty trades of about twenty seconds, oldest first, come with the subscription."""
    (trades,) = _events("ws_trades_HYPE_replay_on_subscribe.json", "HYPE")

    assert isinstance(trades, Trades)
    rows = list(zip(*msgspec.structs.astuple(trades)[2:], strict=True))
    assert len(rows) == len(set(trades.tids)) == 30
    assert trades.venue_ms == 1_736_682_893_702
    assert rows[0] == (1_736_682_877_317, Side.SELL, 212_690, 778, 185_481_619_581_124)
    assert rows[-1] == (1_736_682_893_702, Side.BUY, 213_060, 90_675, 996_720_750_934_958)


def test_captured_asset_context() -> None:
    """BTC, testnet; the venue stamps no time on it."""
    assert _events("ws_activeAssetCtx_testnet.json", "BTC") == [
        AssetCtx(_NOW, 64_254.0, 64_232.0, 0.0000125, 63.91844, 64_257.5)
    ]


def test_captured_post_only_rejection() -> None:
    """A rejected order shows its whole size as remaining."""
    assert _events("ws_orderUpdates_badAloPxRejected.json", "BTC") == [
        OrderUpdate(
            recv_ns=_NOW,
            venue_ms=1_784_976_929_583,
            oid=502_464_968_365,
            cloid=0xFFABB2D185B75EA5CA0A5CD346B21507,
            side=Side.BUY,
            px_ticks=640_200,
            sz_lots=117_163,
            orig_sz_lots=117_163,
            state=OrderState.REJECTED,
            status="badAloPxRejected",
        )
    ]


def test_captured_order_opened_then_cancelled() -> None:
    """A cancelled order keeps its unfilled size: it was never filled."""
    opened, cancelled = _events("ws_orderUpdates_open_then_canceled.jsonl", "BTC")

    assert isinstance(opened, OrderUpdate)
    assert isinstance(cancelled, OrderUpdate)
    assert (opened.state, opened.sz_lots) == (OrderState.OPEN, 37)
    assert (cancelled.state, cancelled.sz_lots) == (OrderState.CANCELED, 37)
    assert opened.cloid == cancelled.cloid == 0xA1F0CDDC17303D07F3FD128D5B35071D


@pytest.mark.parametrize(
    ("coin", "expected"),
    [
        ("@107", [(OrderState.OPEN, 328, 328), (OrderState.FILLED, 0, 328)]),
        ("xyz:XYZ100", [(OrderState.CANCELED, 1_000, 1_000)]),
    ],
)
def test_captured_updates_of_several_markets(
    coin: str, expected: list[tuple[OrderState, int, int]]
) -> None:
    """Open and filled come in one push; a builder dex's order stands beside them."""
    updates = _events("ws_orderUpdates_open_and_filled_same_batch.json", coin)

    found = [
        (event.state, event.sz_lots, event.orig_sz_lots)
        for event in updates
        if isinstance(event, OrderUpdate)
    ]
    assert found == expected


def test_captured_spot_order_without_a_cloid() -> None:
    """Orders placed by hand have none."""
    _, push = _pair("ws_orderUpdates_open_spot.json", "@107")

    assert isinstance(push, OrderUpdate)
    assert (push.cloid, push.px_ticks, push.state) == (None, 300_000, OrderState.OPEN)


def test_captured_maker_fill() -> None:
    """Channel `user`; the fee is positive, so a cost."""
    assert _events("ws_userEvents_maker_fill.json", "BTC") == [
        Fill(
            recv_ns=_NOW,
            venue_ms=1_784_976_932_073,
            tid=351_400_627_290_190,
            oid=502_464_503_020,
            cloid=None,
            side=Side.SELL,
            px_ticks=640_070,
            sz_lots=18,
            fee_usd=0.000829,
            closed_pnl_usd=0.0,
            start_position_lots=-5_081_882,
            is_taker=False,
        )
    ]


@pytest.mark.parametrize(
    ("user", "ours"), [(_LIQUIDATED.upper().replace("X", "x"), True), ("0x1", False)]
)
def test_captured_fill_of_a_liquidation(user: str, ours: bool) -> None:
    """Seen by the liquidated user and by the maker who traded with him."""
    (fill,) = _events("ws_user_fill_liquidation.json", "BTC", user=user)

    assert isinstance(fill, Fill)
    assert fill.is_liquidation is ours
    assert (fill.px_ticks, fill.sz_lots, fill.start_position_lots) == (666_530, 100, -2_130)
    assert fill.cloid == 0xE8D5FD7EBBB4C3CFF4D1803472A11463


@pytest.mark.parametrize("name", ["ws_non_data_frames.jsonl", "ws_pong_and_ack.jsonl"])
def test_captured_acknowledgement_and_pong(name: str) -> None:
    """The pong has no data field."""
    assert _events(name, "BTC") == [SubscriptionAck({"type": "bbo", "coin": "BTC"}), Pong()]


def test_captured_error_frame() -> None:
    """The connection survives it."""
    (error,) = _events("ws_error_unknown_type.json", "BTC")

    assert isinstance(error, ErrorFrame)
    assert error.text.startswith("Error parsing JSON into valid websocket request: ")
    assert error.post_id is None


@pytest.mark.parametrize(
    ("name", "channel", "count"),
    [
        ("ws_candle_forming.jsonl", "candle", 3),
        ("ws_allDexsAssetCtxs.json", "allDexsAssetCtxs", 1),
    ],
)
def test_captured_frames_of_channels_not_used_are_counted(
    name: str, channel: str, count: int
) -> None:
    """We do not subscribe to them; should they come, they are named once in the log."""
    decoder = Decoder(_instrument("BTC"), user="0x0")

    for frame in _raw(name).splitlines() if name.endswith("l") else [_raw(name)]:
        assert decoder.decode(frame, _NOW) == []

    assert decoder.unknown == {f"channel:{channel}": count}


# -- answers to actions -----------------------------------------------------------------------


def test_captured_answers_to_actions() -> None:
    """Every observed raw answer, in the order of the file."""
    rows = [
        msgspec.json.decode(line) for line in _raw("exchange_responses_observed.jsonl").splitlines()
    ]
    raw = [
        action_reply(msgspec.json.encode(row["response"])) for row in rows if row["form"] == "raw"
    ]

    found = [
        (reply.type, [status.kind for status in reply.statuses], reply.error[:24]) for reply in raw
    ]

    assert found == [
        ("order", [EntryKind.ERROR], ""),
        ("order", [EntryKind.FILLED], ""),
        ("order", [EntryKind.RESTING], ""),
        ("", [], "Action already expired"),
        ("default", [], ""),
        ("", [], "Cannot set scheduled can"),
        ("", [], "Must deposit before perf"),
        ("", [], "Too many cumulative requ"),
        ("cancel", [EntryKind.ERROR], ""),
    ]
    assert raw[1].statuses == (EntryStatus(EntryKind.FILLED, oid=59_534_788_967),)


def test_observed_sentences_fall_into_their_classes() -> None:
    """Whole-action and per-order sentences as the venue really worded them."""
    found = {}
    for line in _raw("exchange_responses_observed.jsonl").splitlines():
        row = msgspec.json.decode(line)
        if row["form"] == "text only":
            found[row["case"]] = rejection(row["response"])
            continue
        reply = action_reply(msgspec.json.encode(row["response"]))
        for text in [reply.error, *[status.text for status in reply.statuses]]:
            if text:
                found[row["case"]] = rejection(text)

    assert list(found.values()) == [
        Rejection.REDUCE_ONLY,
        Rejection.EXPIRED,
        Rejection.OTHER,
        Rejection.AUTH,
        Rejection.BUDGET,
        Rejection.GONE,
        Rejection.POST_ONLY,
        Rejection.GONE,
    ]


def test_documented_sentences_fall_into_their_classes() -> None:
    """The docs' own list of errors."""
    listed = _json("exchange_error_texts_documented.json")["errors"]

    assert {row["type"]: rejection(row["message"]).name for row in listed} == {
        "Tick": "TICK",
        "MinTradeNtl": "MIN_NOTIONAL",
        "MinTradeSpotNtl": "MIN_NOTIONAL",
        "PerpMargin": "MARGIN",
        "ReduceOnly": "REDUCE_ONLY",
        "BadAloPx": "POST_ONLY",
        "IocCancel": "OTHER",
        "BadTriggerPx": "OTHER",
        "MarketOrderNoLiquidity": "OTHER",
        "PositionIncreaseAtOpenInterestCap": "CAP",
        "PositionFlipAtOpenInterestCap": "CAP",
        "TooAggressiveAtOpenInterestCap": "CAP",
        "OpenInterestIncrease": "CAP",
        "InsufficientSpotBalance": "MARGIN",
        "Oracle": "ORACLE",
        "PerpMaxPosition": "MARGIN",
        "MissingOrder": "GONE",
    }


def test_recorded_answers_of_order_and_leverage() -> None:
    """The two commonest acceptances."""
    assert action_reply(_rest("exchange_order_resting.json")) == ActionReply(
        is_ok=True, type="order", statuses=(EntryStatus(EntryKind.RESTING, oid=77_738_308),)
    )
    assert action_reply(_rest("exchange_updateLeverage_ok.json")) == ActionReply(
        is_ok=True, type="default"
    )


# -- reads ------------------------------------------------------------------------------------


def test_captured_open_orders_plain_and_frontend() -> None:
    """The same resting stop in both forms; the plain one hides that it is a trigger."""
    plain = wire_rest.open_orders(_raw("info_openOrders.json"), _instrument("BTC"), _NOW)
    rich = wire_rest.open_orders(
        _raw("info_frontendOpenOrders_trigger.json"), _instrument("BTC"), _NOW
    )

    assert plain == rich
    assert plain == (
        OrderUpdate(
            recv_ns=_NOW,
            venue_ms=1_784_976_343_254,
            oid=502_462_803_257,
            cloid=None,
            side=Side.SELL,
            px_ticks=603_390,
            sz_lots=19_304,
            orig_sz_lots=19_304,
            state=OrderState.OPEN,
            status="open",
        ),
    )


def test_captured_open_orders_of_2023() -> None:
    """A parent with two children; the children also stand in the list by themselves."""
    body = _rest("rest_get_frontend_open_orders.json")

    found = wire_rest.open_orders(body, _instrument("INJ"), _NOW)

    assert [(order.oid, order.px_ticks, order.sz_lots) for order in found] == [
        (3_184_595_907, 920_370, 125),
        (3_184_595_906, 919_540, 125),
        (3_184_595_905, 1_000_000, 125),
    ]
    assert wire_rest.open_orders(body, _instrument("BTC"), _NOW) == ()


def test_captured_order_status() -> None:
    """Known and unknown to the venue."""
    found = wire_rest.order_status(_raw("info_orderStatus_found.json"), _instrument("BTC"), _NOW)
    missing = wire_rest.order_status(
        _raw("info_orderStatus_unknownOid.json"), _instrument("BTC"), _NOW
    )

    assert found is not None
    assert (found.oid, found.state, found.sz_lots) == (502_462_803_257, OrderState.OPEN, 19_304)
    assert missing is None


def test_captured_historical_orders_are_updates_like_any_other() -> None:
    """Their rows have the form of an order status, with statuses the stream can send too."""
    found = []

    for row in msgspec.json.decode(_rest("rest_historical_orders.json")):
        answer = msgspec.json.encode({"status": "order", "order": row})
        # No coin of the file is ours: the decimals that show in its size will do.
        decimals = len(row["order"]["origSz"].partition(".")[2].rstrip("0"))
        instrument = Instrument(
            coin=row["order"]["coin"], asset_id=0, sz_decimals=decimals, max_leverage=5
        )
        update = wire_rest.order_status(answer, instrument, _NOW)
        assert update is not None
        found.append((instrument.coin, update.state, update.px_ticks, update.orig_sz_lots))

    assert found == [
        ("TON", OrderState.REJECTED, 325_020, 817),
        ("ORDI", OrderState.REJECTED, 86_328, 315),
        ("GRIFFAIN", OrderState.REJECTED, 35_057, 529),
        ("DYDX", OrderState.CANCELED, 62_613, 15_003),
        ("DYDX", OrderState.CANCELED, 62_689, 16_143),
    ]


def test_captured_account_with_an_isolated_position() -> None:
    """HYPE, isolated ten times; the mark follows from value and size."""
    state = wire_rest.clearinghouse_state(
        _rest("info_clearinghouseState_HYPE_isolated.json"), _instrument("HYPE")
    )

    assert state.venue_ms == 1_754_467_216_357
    assert (state.equity_usd, state.withdrawable_usd) == (83.307638, 75.781884)
    assert (state.position_lots, state.entry_px) == (200, 37.829)
    assert state.mark_px == pytest.approx(37.826)
    assert state.unrealised_usd == -0.006
    assert state.leverage == wire_rest.Leverage("isolated", 10)
    assert not state.leverage.is_cross
    assert state.liquidation_px == 35.8559189474
    assert state.isolated is not None
    assert state.isolated.leverage == 10
    assert state.isolated.maintenance_per_usd == pytest.approx(1 / 20, rel=1e-3)


def test_captured_account_with_many_positions() -> None:
    """A whale; the coin we trade is found among 34, and one not held is flat."""
    body = _raw("info_clearinghouse_whale.json")

    hype = wire_rest.clearinghouse_state(body, _instrument("HYPE"))
    btc = wire_rest.clearinghouse_state(body, _instrument("BTC"))

    assert (hype.position_lots, hype.entry_px) == (6_843_482, 59.0034)
    assert hype.leverage == wire_rest.Leverage("cross", 10)
    assert hype.liquidation_px is None
    assert hype.equity_usd == btc.equity_usd == 12_985_854.207864
    assert (btc.position_lots, btc.entry_px, btc.mark_px, btc.leverage) == (0, None, None, None)


def test_captured_account_of_2023() -> None:
    """Before the venue told its time."""
    state = wire_rest.clearinghouse_state(_rest("rest_get_user_state.json"), _instrument("BTC"))

    assert (state.equity_usd, state.margin_used_usd) == (1_182.312496, 171.740766)
    assert (state.position_lots, state.entry_px, state.venue_ms) == (-785, 26_951.0, 0)


def test_captured_fills_with_the_accounts_own_liquidation() -> None:
    """Oldest first; what it sold by force is marked, what it bought is not."""
    fills = wire_rest.user_fills(
        _raw("info_userFills_HYPE_with_liquidation.json"),
        _instrument("HYPE"),
        "0x109A42C3ead059b041560cb6da71058516e7ba3e",
        _NOW,
    )

    assert len(fills) == 9
    assert [fill.venue_ms for fill in fills] == sorted(fill.venue_ms for fill in fills)
    assert [fill.sz_lots for fill in fills if fill.is_liquidation] == [9_588, 10_822, 5_000]
    assert {fill.side for fill in fills if fill.is_liquidation} == {Side.SELL}
    assert all(fill.is_snapshot for fill in fills)
    assert (fills[-1].start_position_lots, fills[-1].closed_pnl_usd) == (5_000, -109.85)


@pytest.mark.parametrize(
    ("name", "coin"),
    [("info_userFills_2000_cap.json", "XMR"), ("info_userFills_HYPE_with_liquidation.json", "BTC")],
)
def test_captured_fills_chain_from_position_to_position(name: str, coin: str) -> None:
    """
    Each fill starts where the one before it left the position.

    So the fills of one millisecond are in their true order too, and no size was rounded.
    """
    fills = wire_rest.user_fills(_raw(name), _instrument(coin), "0x0", _NOW)

    breaks = sum(
        before.start_position_lots + before.side * before.sz_lots != after.start_position_lots
        for before, after in pairwise(fills)
    )
    assert len(fills) > 20
    assert breaks == 0


def test_captured_fills_with_rebate_and_cloid() -> None:
    """A negative fee is money received."""
    second, first = wire_rest.user_fills(
        _raw("info_userFills_maker_rebate_cloid.json"), _instrument("BTC"), "0x0", _NOW
    )[::-1]

    assert (first.fee_usd, second.fee_usd) == (-0.000378, -0.012639)
    assert first.cloid == second.cloid == 0x5BDD47600DEA461F36C8378CD7B4150C
    assert first.sz_lots + first.start_position_lots == second.start_position_lots


def test_captured_fills_of_2023_get_an_identity_of_their_own() -> None:
    """The venue sent no trade id then; two fills must still not count as one."""
    fills = wire_rest.user_fills(_rest("rest_get_user_fills.json"), _instrument("SUI"), "0x0", _NOW)
    again = wire_rest.user_fills(
        _rest("rest_get_user_fills.json"), _instrument("SUI"), "0x0", _NOW + 1
    )

    assert len({(fill.tid, fill.oid, fill.venue_ms) for fill in fills}) == len(fills) == 242
    assert [fill.tid for fill in fills] == [fill.tid for fill in again]


def test_captured_rate_limit_and_role() -> None:
    """The cap is ten thousand and the volume."""
    limit = wire_rest.user_rate_limit(_raw("info_userRateLimit.json"))

    assert (limit.used, limit.cap, limit.surplus) == (3_053, 5_770_209, 0)
    assert limit.cap == 10_000 + int(limit.cum_vlm_usd)
    assert wire_rest.user_role(_rest("rest_user_role.json")) == wire_rest.UserRole("vault")


# -- the universe -----------------------------------------------------------------------------


def test_captured_universes_give_ids_by_place() -> None:
    """BTC is 3 on testnet and 0 on mainnet; only the list tells."""
    testnet = Universe.parse(_raw("info_meta_testnet_sample.json"), None, "")
    old = Universe.parse(_rest("rest_get_info.json"), None, "")
    (sample,) = [_json("info_metaAndAssetCtxs_sample.json")["response"][0]]
    docs = Universe.parse(msgspec.json.encode(sample), None, "")

    assert testnet.instrument("BTC").asset_id == 3
    assert "MATIC" not in testnet.coins
    assert (old.instrument("BTC").asset_id, old.instrument("APT").asset_id) == (0, 27)
    assert docs.instrument("HPOS").only_isolated


def test_captured_bundles_of_mainnet_universes() -> None:
    """Selected entries in their real order; the fee scale of a builder dex was not there yet."""
    selection = _json("bundle_2026-07-19-mainnet-m1.json")["selection"]
    main = Universe.parse(msgspec.json.encode({"universe": selection["perpUniverse"]}), None, "")
    builder = wire_rest.meta(
        msgspec.json.encode({"universe": selection["hip3Universe"], "collateralToken": 0})
    )

    assert main.coins == ("BTC", "ETH", "ATOM", "DYDX")
    assert main.instrument("DYDX").asset_id == 4
    assert [asset.name for asset in builder.universe][:2] == ["xyz:XYZ100", "xyz:TSLA"]
    assert [asset.growth_mode for asset in builder.universe[-2:]] == [None, "enabled"]
    assert [asset.margin_mode for asset in builder.universe[-2:]] == [None, "noCross"]


def test_captured_builder_dexes_give_the_base_of_ids() -> None:
    """`null` is the main dex; hyna is the fourth."""
    names = [dex and dex.name for dex in wire_rest.perp_dexs(_raw("info_perpdexs.json"))]
    asset = {"szDecimals": 2, "name": "hyna:HYPE", "maxLeverage": 10, "deployerFeeScale": "1.0"}
    meta = msgspec.json.encode({"universe": [asset], "collateralToken": 235})

    universe = Universe.parse(meta, _raw("info_perpdexs.json"), "hyna")

    assert names == [None, "xyz", "flx", "vntl", "hyna", "km", "abcd", "cash", "para", "mkts"]
    assert universe.instrument("hyna:HYPE").asset_id == 140_000


def test_captured_metas_of_testnet_dexes() -> None:
    """Names carry the dex; an isolated asset says so twice; a delisted one keeps its place."""
    abc, unit = [
        wire_rest.meta(line) for line in _raw("info_meta_builder_dexes_testnet.jsonl").splitlines()
    ]

    assert [asset.name for asset in abc.universe] == ["test:ABC"]
    assert [(asset.name, asset.is_delisted, asset.only_isolated) for asset in unit.universe] == [
        ("unit:ES", False, True),
        ("unit:NQ", True, True),
    ]
    assert {asset.margin_mode for asset in unit.universe} == {"strictIsolated"}
