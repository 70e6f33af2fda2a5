"""Arbitrary and damaged frames: events, or `VenueProtocolError`, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmbot.core.events import Bbo, Book, Event, Fill, OrderUpdate, Trades
from mmbot.core.types import Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.wire import ControlFrame, Decoder
from support import often

_BTC = Instrument(coin="BTC", asset_id=0, sz_decimals=5, max_leverage=40)
_NOW = 1_786_000_000_000_000_000
"""Later than every sample."""
_FILL = (
    '{"coin":"BTC","px":"64007.0","sz":"0.00018","side":"A","time":1784976932073,'
    '"startPosition":"-50.81882","dir":"Open Short","closedPnl":"0.0","hash":"0x00",'
    '"oid":502464503020,"crossed":false,"fee":"0.000829","tid":351400627290190,'
    '"cloid":"0x00000000000000000000000000000007","feeToken":"USDC","twapId":null}'
)
_FRAMES = [
    (
        '{"channel":"bbo","data":{"coin":"BTC","time":1785251522090,"bbo":[{"px":"63457.0",'
        '"sz":"0.00028","n":1},null]}}'
    ),
    (
        '{"channel":"l2Book","data":{"coin":"BTC","time":1785251521889,"levels":[[{"px":"63460.0",'
        '"sz":"0.02666","n":2}],[{"px":"63488.0","sz":"0.01246","n":2}]],"fast":true}}'
    ),
    (
        '{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"63457.0","sz":"7.78",'
        '"time":1736682877317,"hash":"0x01","tid":185481619581124,"users":["0x0","0x4"]}]}'
    ),
    (
        '{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000125",'
        '"openInterest":"63.91844","oraclePx":"64232.0","markPx":"64254.0","midPx":"64257.5"}}}'
    ),
    (
        '{"channel":"orderUpdates","data":[{"order":{"coin":"BTC","side":"B","limitPx":"31795.0",'
        '"sz":"0.00037","oid":57118842019,"timestamp":1785261289146,"origSz":"0.00037",'
        '"cloid":"0xa1f0cddc17303d07f3fd128d5b35071d"},"status":"open",'
        '"statusTimestamp":1785261289146}]}'
    ),
    f'{{"channel":"userFills","data":{{"isSnapshot":true,"user":"0x01","fills":[{_FILL}]}}}}',
    f'{{"channel":"user","data":{{"fills":[{_FILL}]}}}}',
    '{"channel":"user","data":{"nonUserCancel":[{"coin":"BTC","oid":7}]}}',
    (
        '{"channel":"userFundings","data":{"user":"0x01","fundings":[{"time":1,"coin":"BTC",'
        '"usdc":"-0.25","szi":"2.0","fundingRate":"0.1","nSamples":null}]}}'
    ),
    (
        '{"channel":"post","data":{"id":8,"response":{"type":"action","payload":{"status":"ok",'
        '"response":{"type":"order","data":{"statuses":[{"resting":{"oid":1}},"success"]}}}}}}'
    ),
    (
        '{"channel":"post","data":{"id":8,"response":{"type":"info","payload":{"type":"meta",'
        '"data":[]}}}}'
    ),
    (
        '{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":'
        '{"type":"l2Book","coin":"BTC","fast":true}}}'
    ),
    '{"channel":"error","data":"too many pending post requests id=1234"}',
    '{"channel":"pong"}',
]
_KINDS = (Event | ControlFrame).__args__


def _decode(frame: bytes) -> list[Event | ControlFrame]:
    return Decoder(_BTC, user="0x01", reference_coin="ETH").decode(frame, _NOW)


def _unsound(frame: bytes) -> list[object]:
    """What it is decoded to that is not well typed; whatever is raised is a protocol error."""
    try:
        decoded = _decode(frame)
    except VenueProtocolError:
        return []
    return [event for event in decoded if not (isinstance(event, _KINDS) and _is_sound(event))]


def _is_sound(event: Event | ControlFrame) -> bool:
    """A damaged number must not pass as a price of 0 or a size of half a lot."""
    if isinstance(event, Fill | OrderUpdate):
        return _are_whole([event.px_ticks], 1) and _are_whole([event.sz_lots], 0)
    if isinstance(event, Trades):
        lengths = {len(column) for column in msgspec.structs.astuple(event)[2:]}
        return len(lengths) == 1 and _are_whole(event.px_ticks, 1) and _are_whole(event.sz_lots, 0)
    levels = []
    if isinstance(event, Bbo):
        levels = [level for level in (event.bid, event.ask) if level is not None]
    elif isinstance(event, Book):
        levels = [*event.bids, *event.asks]
    return _are_whole([level.px_ticks for level in levels], 1) and _are_whole(
        [level.sz_lots for level in levels], 0
    )


def _are_whole(numbers: Iterable[object], least: int) -> bool:
    return all(type(number) is int and number >= least for number in numbers)


def test_every_sample_is_readable_before_it_is_damaged() -> None:
    """Otherwise the mutations below would test nothing but the first check."""
    for frame in _FRAMES:
        assert _decode(frame.encode())
        assert not _unsound(frame.encode())


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"\x00")
@example(b'{"channel":"bbo","data":{"coin":"BTC","time":1e400,"bbo":[null,null]}}')
def test_arbitrary_bytes_decode_or_raise_a_protocol_error(frame: bytes) -> None:
    """The socket is the venue's; no byte of it may end the program."""
    assert not _unsound(frame)


@settings(max_examples=often(150, thoroughly=500), deadline=None)
@given(
    frame=st.sampled_from(_FRAMES),
    at=st.floats(0, 1),
    length=st.integers(0, 12),
    patch=st.binary(max_size=6) | st.sampled_from([b'"nan"', b"null", b'"-1"', b"1e309", b"[]"]),
)
def test_frame_with_a_damaged_stretch_decodes_or_raises_a_protocol_error(
    frame: str, at: float, length: int, patch: bytes
) -> None:
    """A cut, an insertion or an overwritten stretch, anywhere in a real frame."""
    raw = frame.encode()
    start = int(at * len(raw))
    assert not _unsound(raw[:start] + patch + raw[start + length :])


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["nan", "inf", "-0.0", "1e400", "0x", "BTC", "B", "0.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    below = [found for key in keys for found in _paths(value[key], (*path, key))]
    return ([path] if path else []) + below


@settings(max_examples=often(150, thoroughly=500), deadline=None)
@given(data=st.data(), frame=st.sampled_from(_FRAMES), value=_VALUES)
def test_frame_with_a_replaced_value_decodes_or_raises_a_protocol_error(
    data: st.DataObject, frame: str, value: Any
) -> None:
    """Valid JSON of another shape: a null, a list or a huge number where a price should be."""
    message = json.loads(frame)
    path = data.draw(st.sampled_from(_paths(message)))
    target = message
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value

    assert not _unsound(json.dumps(message).encode())
