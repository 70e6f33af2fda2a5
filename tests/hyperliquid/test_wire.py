"""Frames to events: every channel, other coins and accounts, and what is not known yet."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmbot.core.events import (
    AssetCtx,
    Bbo,
    Book,
    Event,
    Fill,
    Funding,
    Level,
    OrderState,
    OrderUpdate,
    ReferencePx,
    Trades,
)
from mmbot.core.position import Position
from mmbot.core.types import Instrument, Side
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.wire import (
    ActionReply,
    ControlFrame,
    Decoder,
    EntryKind,
    EntryStatus,
    ErrorFrame,
    NonUserCancel,
    Pong,
    PostReply,
    SubscriptionAck,
)

_COIN = "hyna:HYPE"
_USER = "0x14791697260E4c9A71f18484C9f997B308e59325"
_NOW = 1_791_484_300_000_000_000
_MS = 1_791_484_299_900
_CLOID = "0x00000000000000000000000000000007"


def _decoder(reference_coin: str | None = None) -> Decoder:
    instrument = Instrument(
        coin=_COIN, dex="hyna", asset_id=140_003, sz_decimals=2, max_leverage=10
    )
    return Decoder(instrument, user=_USER, reference_coin=reference_coin)


def _frame(channel: str, data: Any, **more: Any) -> bytes:
    return json.dumps({"channel": channel, "data": data, **more}).encode()


def _level(px: str, sz: str) -> dict[str, Any]:
    return {"px": px, "sz": sz, "n": 1}


def _one(channel: str, data: Any) -> Event | ControlFrame:
    (event,) = _decoder().decode(_frame(channel, data), _NOW)
    return event


def _bbo_data(coin: str = _COIN) -> dict[str, Any]:
    return {"coin": coin, "time": _MS, "bbo": [_level("21.277", "80.29"), _level("21.3", "7.0")]}


def _order_data(**changes: Any) -> dict[str, Any]:
    order = {
        "coin": _COIN,
        "side": "A",
        "limitPx": "21.3",
        "sz": "1.5",
        "oid": 77,
        "timestamp": _MS - 5,
        "origSz": "2.0",
        "cloid": _CLOID,
    }
    return order | changes


def _fill_data(**changes: Any) -> dict[str, Any]:
    fill = {
        "coin": _COIN,
        "px": "21.277",
        "sz": "2.5",
        "side": "A",
        "time": _MS,
        "startPosition": "-1.25",
        "dir": "Open Short",
        "closedPnl": "0.12",
        "hash": "0x00",
        "oid": 77,
        "crossed": False,
        "fee": "-0.001",
        "tid": 351_400_627_290_190,
        "cloid": _CLOID,
        "feeToken": "USDE",
        "twapId": None,
    }
    return fill | changes


_FILL = Fill(
    recv_ns=_NOW,
    venue_ms=_MS,
    tid=351_400_627_290_190,
    oid=77,
    cloid=7,
    side=Side.SELL,
    px_ticks=212_770,
    sz_lots=250,
    fee_usd=-0.001,
    closed_pnl_usd=0.12,
    start_position_lots=-125,
    is_taker=False,
)


# -- market data ------------------------------------------------------------------------------


def test_bbo_becomes_integer_ticks_and_lots() -> None:
    """From here on two prices are equal or they are not."""
    assert _one("bbo", _bbo_data()) == Bbo(_NOW, _MS, Level(212_770, 8_029), Level(213_000, 700))


@pytest.mark.parametrize("side", [0, 1])
def test_bbo_of_an_emptied_side_is_none(side: int) -> None:
    """The venue sends null for a side that has no orders."""
    data = _bbo_data()
    data["bbo"][side] = None

    event = _one("bbo", data)

    assert isinstance(event, Bbo)
    assert [event.bid, event.ask][side] is None
    assert [event.bid, event.ask][1 - side] is not None


def test_book_keeps_the_order_of_levels_and_both_may_be_empty() -> None:
    """Best first; a delisted or halted market sends two empty lists."""
    levels = [[_level("21.277", "80.29"), _level("21.2", "0.01")], [_level("21.3", "1.0")]]
    full = {"coin": _COIN, "time": _MS, "levels": levels, "fast": True}
    empty = {"coin": _COIN, "time": _MS, "levels": [[], []], "fast": False}

    assert _one("l2Book", full) == Book(
        _NOW, _MS, (Level(212_770, 8_029), Level(212_000, 1)), (Level(213_000, 100),), True
    )
    assert _one("l2Book", empty) == Book(_NOW, _MS, (), (), False)


@pytest.mark.parametrize("fast", [True, False])
def test_book_without_the_flag_is_what_the_acknowledgement_said(fast: bool) -> None:
    """Captures exist with and without `fast` in the frame; staleness is judged per stream."""
    decoder = _decoder()
    subscription = {"type": "l2Book", "coin": _COIN, "fast": fast}
    ack = _frame("subscriptionResponse", {"method": "subscribe", "subscription": subscription})

    decoder.decode(ack, _NOW)
    (event,) = decoder.decode(
        _frame("l2Book", {"coin": _COIN, "time": _MS, "levels": [[], []]}), _NOW
    )

    assert isinstance(event, Book)
    assert event.is_fast is fast


@pytest.mark.parametrize(
    ("bids", "asks", "flag", "is_fast"),
    [
        (5, 5, None, True),
        (5, 6, None, False),
        (20, 20, None, False),
        (2, 3, None, True),
        (5, 5, False, False),
        (20, 20, True, True),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_books_of_both_streams_are_told_apart(
    bids: int, asks: int, flag: bool | None, is_fast: bool, separators: tuple[str, str]
) -> None:
    """An unmarked book of twenty levels taken for a fast one would age the five-level stream."""
    decoder = _decoder()
    for fast in (False, True):
        subscription = {"type": "l2Book", "coin": _COIN, "fast": fast}
        ack = {"method": "subscribe", "subscription": subscription}
        decoder.decode(_frame("subscriptionResponse", ack), _NOW)
    levels = [
        [_level(f"{21.2 - i / 1e3:.3f}", "1.0") for i in range(bids)],
        [_level(f"{21.3 + i / 1e3:.3f}", "1.0") for i in range(asks)],
    ]
    data = {"coin": _COIN, "time": _MS, "levels": levels}
    data |= {} if flag is None else {"fast": flag}
    frame = json.dumps({"channel": "l2Book", "data": data}, separators=separators).encode()

    (book,) = decoder.decode(frame, _NOW)

    assert isinstance(book, Book)
    assert book.is_fast is is_fast


def test_after_the_end_of_one_book_stream_unmarked_books_are_of_the_other() -> None:
    """The acknowledgement says what is still subscribed."""
    decoder = _decoder()
    for method, fast in (("subscribe", False), ("subscribe", True), ("unsubscribe", True)):
        subscription = {"type": "l2Book", "coin": _COIN, "fast": fast}
        ack = {"method": method, "subscription": subscription}
        decoder.decode(_frame("subscriptionResponse", ack), _NOW)

    (book,) = decoder.decode(
        _frame("l2Book", {"coin": _COIN, "time": _MS, "levels": [[], []]}), _NOW
    )

    assert isinstance(book, Book)
    assert not book.is_fast


def _trade(tid: int, **changes: Any) -> dict[str, Any]:
    trade = {
        "coin": _COIN,
        "side": "B",
        "px": "21.3",
        "sz": "0.5",
        "time": _MS,
        "hash": "0x00",
        "tid": tid,
        "users": ["0x1", "0x2"],
    }
    return trade | changes


def test_trades_of_one_message_are_one_event_with_the_sides_of_the_aggressors() -> None:
    """`B` is a buyer who took; how much one message took is what tells a burst."""
    rows = [_trade(11), _trade(12, side="A", px="21.277", sz="7.0", time=_MS - 3)]

    (event,) = _decoder().decode(_frame("trades", rows), _NOW)

    assert event == Trades(
        recv_ns=_NOW,
        venue_ms=_MS,
        times_ms=(_MS, _MS - 3),
        sides=(Side.BUY, Side.SELL),
        px_ticks=(213_000, 212_770),
        sz_lots=(50, 700),
        tids=(11, 12),
    )
    assert _decoder().decode(_frame("trades", []), _NOW) == []


def test_trades_of_another_coin_are_left_out_of_the_event() -> None:
    """A print of another market would be a burst of ours."""
    decoder = _decoder()

    (event,) = decoder.decode(_frame("trades", [_trade(1, coin="HYPE"), _trade(2)]), _NOW)

    assert isinstance(event, Trades)
    assert event.tids == (2,)
    assert decoder.decode(_frame("trades", [_trade(1, coin="HYPE")]), _NOW) == []
    assert decoder.unknown == {"coin:HYPE": 2}


@pytest.mark.parametrize("changes", [{"px": "21.27751"}, {"px": "0.00000001"}, {"sz": "2.505"}])
def test_a_trade_off_the_grid_drops_the_link(changes: dict[str, str]) -> None:
    """The check is made over whole columns; one bad row among good ones must not pass."""
    rows = [_trade(1), _trade(2, **changes), _trade(3)]

    with pytest.raises(VenueProtocolError):
        _decoder().decode(_frame("trades", rows), _NOW)


_ROW = st.tuples(
    st.integers(1, 10**10), st.integers(0, 10**10), st.booleans(), st.integers(0, 2**50)
)


@given(st.lists(_ROW, min_size=1, max_size=40))
def test_every_column_of_a_trade_is_what_was_printed(
    rows: list[tuple[int, int, bool, int]],
) -> None:
    """Estimators read the columns side by side; an index must be one trade throughout."""
    frame = [
        _trade(tid, px=f"{px / 1e4:.4f}", sz=f"{sz / 1e2:.2f}", side="AB"[is_buy])
        for px, sz, is_buy, tid in rows
    ]

    (event,) = _decoder().decode(_frame("trades", frame), _NOW)

    assert isinstance(event, Trades)
    columns = zip(event.px_ticks, event.sz_lots, event.sides, event.tids, strict=True)
    assert [(px, sz, side is Side.BUY, tid) for px, sz, side, tid in columns] == rows


@pytest.mark.parametrize("mid", [None, "21.3"])
def test_context_without_a_mid_says_so(mid: str | None) -> None:
    """`midPx` is null when the book lacks a side; nothing is invented for it."""
    ctx = {
        "funding": "-0.0000125",
        "openInterest": "63.9",
        "prevDayPx": "21.0",
        "dayNtlVlm": "1.0",
        "premium": None,
        "oraclePx": "21.31",
        "markPx": "21.29",
        "midPx": mid,
        "impactPxs": None,
        "dayBaseVlm": "1.0",
    }

    assert _one("activeAssetCtx", {"coin": _COIN, "ctx": ctx}) == AssetCtx(
        _NOW, 21.29, 21.31, -0.0000125, 63.9, None if mid is None else 21.3
    )


def test_bbo_of_the_reference_market_is_its_mid_in_usd() -> None:
    """The other market has a grid of its own, so its price stays a number in USD."""
    decoder = _decoder(reference_coin="HYPE")

    assert decoder.decode(_frame("bbo", _bbo_data("HYPE")), _NOW) == [
        ReferencePx(_NOW, _MS, 21.2885)
    ]
    assert decoder.unknown == {}


def test_reference_market_without_a_side_gives_no_price() -> None:
    """Half a book has no mid; the engine's reference term then ages out."""
    decoder = _decoder(reference_coin="HYPE")

    assert decoder.decode(_frame("bbo", _bbo_data("HYPE") | {"bbo": [None, None]}), _NOW) == []


def test_frames_of_another_coin_are_counted_and_give_nothing() -> None:
    """An event of another market in our book would be quoted on."""
    decoder = _decoder()
    book = {"coin": "HYPE", "time": _MS, "levels": [[], []]}

    assert decoder.decode(_frame("bbo", _bbo_data("HYPE")), _NOW) == []
    assert decoder.decode(_frame("l2Book", book), _NOW) == []
    assert decoder.unknown == {"coin:HYPE": 2}


# -- the account ------------------------------------------------------------------------------


def test_order_updates_are_a_bare_list_of_remaining_and_original_sizes() -> None:
    """`sz` is what remains, `statusTimestamp` when the status came about."""
    update = {"order": _order_data(), "status": "open", "statusTimestamp": _MS}

    assert _one("orderUpdates", [update]) == OrderUpdate(
        recv_ns=_NOW,
        venue_ms=_MS,
        oid=77,
        cloid=7,
        side=Side.SELL,
        px_ticks=213_000,
        sz_lots=150,
        orig_sz_lots=200,
        state=OrderState.OPEN,
        status="open",
    )


def test_order_updates_of_other_markets_are_left_out() -> None:
    """The stream mixes all dexes and spot; another coin's price is not on our grid."""
    foreign = _order_data(coin="@107", limitPx="0.123456789", cloid="not a cloid")
    updates = [
        {"order": foreign, "status": "open", "statusTimestamp": _MS},
        {"order": _order_data(cloid=None), "status": "filled", "statusTimestamp": _MS},
    ]
    decoder = _decoder()

    (event,) = decoder.decode(_frame("orderUpdates", updates), _NOW)

    assert isinstance(event, OrderUpdate)
    assert (event.cloid, event.state) == (None, OrderState.FILLED)
    assert decoder.unknown == {"coin:@107": 1}


def test_unknown_order_status_is_passed_on_and_counted() -> None:
    """The engine queries such an order; the log names the word once."""
    decoder = _decoder()
    update = {"order": _order_data(), "status": "suspended", "statusTimestamp": _MS}

    for _ in range(2):
        (event,) = decoder.decode(_frame("orderUpdates", [update]), _NOW)

        assert isinstance(event, OrderUpdate)
        assert (event.state, event.status) == (OrderState.UNKNOWN, "suspended")
    assert decoder.unknown == {"status:suspended": 2}


@pytest.mark.parametrize("snapshot", [{"isSnapshot": True}, {"isSnapshot": False}, {}])
def test_fills_say_whether_they_are_history(snapshot: dict[str, bool]) -> None:
    """The stream replays history on every subscription; the flag may be false or absent after."""
    data = {"user": _USER.lower(), "fills": [_fill_data()]} | snapshot

    (event,) = _decoder().decode(_frame("userFills", data), _NOW)

    assert event == msgspec.structs.replace(_FILL, is_snapshot=snapshot.get("isSnapshot", False))


def test_fills_of_another_account_are_counted_and_give_nothing() -> None:
    """A fill of someone else must never move our position."""
    decoder = _decoder()

    assert (
        decoder.decode(_frame("userFills", {"user": "0xdead", "fills": [_fill_data()]}), _NOW) == []
    )
    assert decoder.unknown == {"user:0xdead": 1}


@pytest.mark.parametrize(("liquidated", "ours"), [(_USER, True), ("0xother", False)])
def test_liquidation_is_ours_only_when_we_are_the_liquidated_user(
    liquidated: str, ours: bool
) -> None:
    """Both sides of a liquidation carry the object; taking part in one is not being liquidated."""
    mark = {"liquidatedUser": liquidated, "markPx": "21.2", "method": "market"}

    event = _one("user", {"fills": [_fill_data(liquidation=mark)]})

    assert isinstance(event, Fill)
    assert event.is_liquidation is ours


@pytest.mark.parametrize(
    ("direction", "is_forced"),
    [
        ("Settlement", True),
        ("Auto-Deleveraging", True),
        ("Liquidated Cross Long", True),
        ("Liquidated Isolated Short", True),
        ("Close Long", False),
        ("Long > Short", False),
    ],
)
def test_what_the_venue_closes_without_an_order_is_by_force(
    direction: str, is_forced: bool
) -> None:
    """Deleveraging and settlement carry no liquidation object: only their direction tells."""
    event = _one("user", {"fills": [_fill_data(dir=direction)]})

    assert isinstance(event, Fill)
    assert event.is_liquidation is is_forced


def test_fill_of_an_outcome_at_zero_does_not_disturb_the_link() -> None:
    """Settled outcomes and dust of other assets come down the same stream, at a price of 0."""
    data = {"user": _USER, "fills": [_fill_data(coin="#12", px="0.0"), _fill_data()]}

    assert _decoder().decode(_frame("userFills", data), _NOW) == [_FILL]


@pytest.mark.parametrize(
    "changes",
    [
        {"px": "21.27751"},
        {"px": "0.0"},
        {"sz": "2.505"},
        {"startPosition": "-1.255"},
        {"side": "X"},
        {"cloid": "0x07"},
        {"cloid": "zz" + "0" * 32},
        {"px": "nan"},
        {"sz": "-1"},
        {"sz": "0.0"},
        {"sz": "0.000001"},
        {"fee": "inf"},
        {"tid": -1},
        {"hash": None},
        {"oid": None},
    ],
)
def test_fill_that_cannot_be_booked_exactly_drops_the_link(changes: dict[str, Any]) -> None:
    """A rounded fill would leave the position wrong for the rest of the run."""
    with pytest.raises(VenueProtocolError):
        _decoder().decode(_frame("user", {"fills": [_fill_data(**changes)]}), _NOW)


def test_order_update_off_the_grid_drops_the_link() -> None:
    """It says that our size decimals are not the venue's."""
    update = {"order": _order_data(sz="1.505"), "status": "open", "statusTimestamp": _MS}

    with pytest.raises(VenueProtocolError, match=r"1\.505 of hyna:HYPE is off the grid"):
        _decoder().decode(_frame("orderUpdates", [update]), _NOW)


def test_best_price_off_the_grid_drops_the_link() -> None:
    """An aggregated book, or another szDecimals than we think, must not be quoted on."""
    data = _bbo_data() | {"bbo": [_level("21.27751", "1.0"), None]}

    with pytest.raises(VenueProtocolError, match="off the grid"):
        _decoder().decode(_frame("bbo", data), _NOW)


def test_venue_cancel_names_the_order() -> None:
    """`nonUserCancel` tells no size, so it is a control frame and not an order update."""
    data = {"nonUserCancel": [{"coin": _COIN, "oid": 77}, {"coin": "BTC", "oid": 78}]}

    assert _one("user", data) == NonUserCancel(77)


# -- funding ----------------------------------------------------------------------------------


def _funding(at_ms: int, usdc: str = "-0.25", coin: str = _COIN) -> dict[str, Any]:
    return {
        "time": at_ms,
        "coin": coin,
        "usdc": usdc,
        "szi": "2.0",
        "fundingRate": "0.0000125",
        "nSamples": None,
    }


def _fundings(rows: list[dict[str, Any]], **more: Any) -> bytes:
    return _frame("userFundings", {"user": _USER, "fundings": rows, **more})


def test_funding_paid_is_a_cost() -> None:
    """The venue's sign is that of our balance, ours that of a cost."""
    decoder = _decoder()

    assert decoder.decode(_fundings([_funding(_MS), _funding(_MS + 1, "0.5")]), _NOW) == [
        Funding(_NOW, _MS, 0.25),
        Funding(_NOW, _MS + 1, -0.5),
    ]


def _booked(position: Position, decoder: Decoder, frame: bytes) -> list[int]:
    """Times of the payments in a frame that the position books."""
    events = decoder.decode(frame, _NOW)
    payments = [event for event in events if isinstance(event, Funding)]
    return [event.venue_ms for event in payments if position.apply_funding(event)]


def test_funding_history_of_the_first_subscription_is_not_booked() -> None:
    """It was paid before this run began, and is in the equity we start from."""
    decoder, position = _decoder(), Position()
    position.start(0, 1.0, _MS + 5)

    assert _booked(position, decoder, _fundings([_funding(_MS)], isSnapshot=True)) == []
    assert _booked(position, decoder, _fundings([_funding(_MS + 9)])) == [_MS + 9]


def test_funding_paid_while_the_link_was_down_is_booked_once() -> None:
    """The snapshot after a reconnect holds it; the rows before it were booked already."""
    decoder, position = _decoder(), Position()
    position.start(0, 1.0, _MS - 1)
    rows = [_funding(_MS + 2), _funding(_MS + 1), _funding(_MS), _funding(_MS, coin="BTC")]
    assert _booked(position, decoder, _fundings([_funding(_MS)])) == [_MS]

    again = _fundings(rows, isSnapshot=True)

    assert _booked(position, decoder, again) == [_MS + 1, _MS + 2]
    assert _booked(position, decoder, again) == []


def test_the_decoder_keeps_no_mark_that_a_late_payment_could_fall_below() -> None:
    """A payment dated seconds ahead must not hide the one that comes after it."""
    decoder = _decoder()
    decoder.decode(_fundings([_funding(_MS + 9_000)]), _NOW)

    assert decoder.decode(_fundings([_funding(_MS)]), _NOW) == [Funding(_NOW, _MS, 0.25)]


def test_funding_after_an_empty_history_is_booked() -> None:
    """A fresh account has no rows at its first subscription."""
    decoder = _decoder()
    decoder.decode(_fundings([], isSnapshot=True), _NOW)

    assert decoder.decode(_frame("user", {"funding": _funding(_MS)}), _NOW) == [
        Funding(_NOW, _MS, 0.25)
    ]


# -- times ------------------------------------------------------------------------------------

_NOW_MS = _NOW // 1_000_000


def _dated(at_ms: int) -> dict[str, bytes]:
    """One frame of every channel that carries a time, dated so."""
    levels = [[_level("21.277", "80.29")], [_level("21.3", "7.0")]]
    book = {"coin": _COIN, "time": at_ms, "levels": levels}
    trade = {"coin": _COIN, "side": "B", "px": "21.3", "sz": "0.5", "time": at_ms, "tid": 1}
    update = {"order": _order_data(), "status": "open", "statusTimestamp": at_ms}
    compact = json.dumps({"channel": "l2Book", "data": book}, separators=(",", ":"))
    return {
        "bbo": _frame("bbo", _bbo_data() | {"time": at_ms}),
        "l2Book": _frame("l2Book", book),
        "l2Book, the venue's own text": compact.encode(),
        "reference": _frame("bbo", _bbo_data("HYPE") | {"time": at_ms}),
        "trades": _frame("trades", [trade | {"time": _MS}, trade]),
        "orderUpdates": _frame("orderUpdates", [update]),
        "userFills": _frame("userFills", {"user": _USER, "fills": [_fill_data(time=at_ms)]}),
        "user": _frame("user", {"fills": [_fill_data(time=at_ms)]}),
        "userFundings": _fundings([_funding(at_ms)]),
    }


@pytest.mark.parametrize("name", list(_dated(0)))
def test_a_frame_dated_more_than_ten_seconds_ahead_drops_the_link(name: str) -> None:
    """Taken, it would be the newest for ever, and every true frame after it too old to use."""
    decoder = _decoder(reference_coin="HYPE")
    with pytest.raises(VenueProtocolError, match=r"ahead of our clock.*NTP"):
        decoder.decode(_dated(_NOW_MS + 10_001)[name], _NOW)

    assert decoder.decode(_dated(_NOW_MS + 10_000)[name], _NOW)
    assert decoder.decode(_dated(_MS)[name], _NOW)


# -- control frames ---------------------------------------------------------------------------


def test_greeting_pong_and_acknowledgement_are_told_apart() -> None:
    """The link counts acknowledgements and pongs; an old server greets in plain text."""
    subscription = {"type": "bbo", "coin": _COIN}
    ack = {"method": "unsubscribe", "subscription": subscription}

    assert _decoder().decode(b"Websocket connection established.", _NOW) == []
    assert _decoder().decode(b'{"channel":"pong"}', _NOW) == [Pong()]
    assert _one("subscriptionResponse", ack) == SubscriptionAck(subscription, "unsubscribe")


@pytest.mark.parametrize(
    ("text", "post_id"),
    [
        ("too many pending post requests id=1234", 1234),
        ('Already subscribed: {"type":"bbo"}', None),
        ("valid=12", None),
    ],
)
def test_error_frame_names_the_post_it_is_about(text: str, post_id: int | None) -> None:
    """Over a hundred posts in flight are refused this way, outside the reply of the post."""
    assert _one("error", text) == ErrorFrame(text, post_id)


def _post(kind: str, payload: Any) -> PostReply:
    data = {"id": 8, "response": {"type": kind, "payload": payload}}
    reply = _one("post", data)
    assert isinstance(reply, PostReply)
    return reply


def test_post_reply_to_an_action_has_one_status_for_each_element() -> None:
    """The order of the statuses is that of the batch."""
    statuses = [
        {"resting": {"oid": 77, "cloid": _CLOID}},
        {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 78}},
        {"error": "Order must have minimum value of $10. asset=1"},
        "waitingForFill",
        "success",
    ]
    response = {"type": "order", "data": {"statuses": statuses}}

    reply = _post("action", {"status": "ok", "response": response})

    assert reply == PostReply(
        recv_ns=_NOW,
        id=8,
        action=ActionReply(
            is_ok=True,
            type="order",
            statuses=(
                EntryStatus(EntryKind.RESTING, oid=77, cloid=7),
                EntryStatus(EntryKind.FILLED, oid=78),
                EntryStatus(EntryKind.ERROR, text="Order must have minimum value of $10. asset=1"),
                EntryStatus(EntryKind.WAITING),
                EntryStatus(EntryKind.SUCCESS),
            ),
        ),
    )


def test_post_reply_may_be_a_read_or_a_failure_of_the_request() -> None:
    """A failed request was not processed; its text mirrors the HTTP status."""
    info = _post("info", {"type": "userRateLimit", "data": {"nRequestsUsed": 1}})
    error = _post("error", "422 Failed to deserialize")
    other = _post("explorer", {})

    assert info.info is not None
    assert json.loads(info.info) == {"nRequestsUsed": 1}
    assert (error.error, error.action, error.info) == ("422 Failed to deserialize", None, None)
    assert other.error == "unknown kind of post reply 'explorer'"


def test_unknown_status_of_an_element_is_no_verdict_and_is_counted() -> None:
    """The gateway treats it as an unknown outcome and asks."""
    decoder = _decoder()
    response = {"type": "order", "data": {"statuses": ["parked", {"held": {}}]}}
    payload = {"status": "ok", "response": response}
    data = {"id": 8, "response": {"type": "action", "payload": payload}}

    (reply,) = decoder.decode(_frame("post", data), _NOW)

    assert isinstance(reply, PostReply)
    assert reply.action is not None
    assert [status.kind for status in reply.action.statuses] == [EntryKind.UNKNOWN] * 2
    assert decoder.unknown["status:parked"] == 1


# -- what is not known ------------------------------------------------------------------------


def test_unknown_channel_is_counted_and_never_fatal() -> None:
    """The venue adds channels without notice."""
    decoder = _decoder()

    for _ in range(3):
        assert decoder.decode(_frame("notification", {"notification": "hello"}), _NOW) == []

    assert decoder.unknown == {"channel:notification": 3}


def test_unknown_fields_are_counted_under_their_path_and_the_event_still_comes() -> None:
    """A new field is worth a line in the log, at any depth of the message."""
    decoder = _decoder()
    update = {
        "order": _order_data(priority=3),
        "status": "open",
        "statusTimestamp": _MS,
        "queue": 5,
    }
    frame = _frame("orderUpdates", [update, update], seq=1)

    assert len(decoder.decode(frame, _NOW)) == 2
    assert len(decoder.decode(frame, _NOW)) == 2

    assert decoder.unknown == {
        "field:orderUpdates.seq": 2,
        "field:orderUpdates.order.priority": 4,
        "field:orderUpdates.queue": 4,
    }


def test_first_frame_of_a_market_channel_is_searched_and_then_one_in_256() -> None:
    """The hot path does not pay for the search; a field that appears later is still found."""
    decoder = _decoder()
    plain, extended = _frame("bbo", _bbo_data()), _frame("bbo", _bbo_data() | {"seq": 1})

    decoder.decode(extended, _NOW)
    first = dict(decoder.unknown)
    for _ in range(255):
        decoder.decode(plain, _NOW)
    decoder.decode(extended, _NOW)

    assert first == {"field:bbo.seq": 1}
    assert decoder.unknown == {"field:bbo.seq": 2}


def test_account_frames_are_all_searched_at_first_and_then_one_in_32() -> None:
    """Rare fields are found early; a sweep late in the run is not read three times over."""
    decoder = _decoder()
    update = {"order": _order_data(), "status": "open", "statusTimestamp": _MS}
    plain, extended = _frame("orderUpdates", [update]), _frame("orderUpdates", [update], seq=1)

    for _ in range(32):
        decoder.decode(extended, _NOW)
    early = dict(decoder.unknown)
    for _ in range(31):
        decoder.decode(plain, _NOW)
    decoder.decode(extended, _NOW)

    assert early == {"field:orderUpdates.seq": 32}
    assert decoder.unknown == {"field:orderUpdates.seq": 33}


def test_known_frames_leave_nothing_unknown() -> None:
    """A field that is expected but unread must not raise a false line in the log."""
    decoder = _decoder()
    decoder.decode(_frame("bbo", _bbo_data()), _NOW)
    decoder.decode(_frame("userFills", {"user": _USER, "fills": [_fill_data()]}), _NOW)
    decoder.decode(_fundings([_funding(_MS)]), _NOW)

    assert decoder.unknown == {}


def test_names_that_are_unknown_are_bounded_in_number_and_length() -> None:
    """A peer that invents names for ever must not fill our memory."""
    decoder = _decoder()
    for index in range(1_100):
        decoder.decode(_frame(f"{index}" + "x" * 500, {}), _NOW)

    assert len(decoder.unknown) == 1_001
    assert decoder.unknown["more"] == 100
    assert max(map(len, decoder.unknown)) <= 80


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"Websocket connection established",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"channel":5,"data":{}}',
        b'{"channel":"bbo"}',
        b'{"channel":"bbo","data":null}',
        b'{"channel":"trades","data":{}}',
        b'{"channel":"l2Book","data":{"coin":"hyna:HYPE","time":1,"levels":[[]]}}',
        b'{"channel":"error","data":{}}',
        b'{"channel":"post","data":{"id":"x","response":{"type":"info"}}}',
        b'{"channel":"post","data":{"id":1,"response":{"type":"action","payload":{}}}}',
        b'{"channel":"notification","data":',
        b'{"channel":"userFills","data":' + b"[" * 100_000,
    ],
)
def test_malformed_frame_raises_a_protocol_error(frame: bytes) -> None:
    """Theirs, and not to be guessed at: the link is dropped and everything is read again."""
    with pytest.raises(VenueProtocolError, match="unreadable"):
        _decoder().decode(frame, _NOW)
