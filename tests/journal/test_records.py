"""Every input and output as it is written, and back again."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import (
    Event,
    Fill,
    Isolated,
    Level,
    OrderState,
    OrderUpdate,
    Snapshot,
    Trades,
)
from mmbot.core.types import Fees, Side
from mmbot.journal.records import (
    EVENT_KINDS,
    RECORD_KINDS,
    JournalError,
    Kind,
    Read,
    Restored,
    decode,
    encode,
    is_event,
)

CLOID = 0x6D6D_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFE
FILL = Fill(
    recv_ns=1,
    venue_ms=2,
    tid=2**50,
    oid=4,
    cloid=CLOID,
    side=Side.SELL,
    px_ticks=5,
    sz_lots=6,
    fee_usd=0.1 + 0.2,
    closed_pnl_usd=-1e-9,
    start_position_lots=-7,
    is_taker=False,
)
ORDER = OrderUpdate(1, 2, 3, None, Side.BUY, 4, 5, 6, OrderState.OPEN, "open")


def test_every_event_of_the_engine_has_a_kind_of_its_own() -> None:
    """An event that could not be written would be a hole in the journal of a live run."""
    assert set(get_args(Event)) == EVENT_KINDS.keys()
    assert len({*EVENT_KINDS.values(), *RECORD_KINDS.values()}) == len(EVENT_KINDS) + len(
        RECORD_KINDS
    )
    assert all(is_event(kind) for kind in EVENT_KINDS.values())
    assert not any(is_event(kind) for kind in RECORD_KINDS.values())


def test_the_numbers_of_the_kinds_are_those_of_the_format() -> None:
    """A number that changed its meaning would make every older journal tell another story."""
    numbers = {kind.name: int(kind) for kind in Kind}
    assert numbers["BUILD"] == 1
    assert numbers["DECIDE"] == 5
    assert numbers["OUTPUT"] == 6
    assert numbers["LOST"] == 10
    assert numbers["BBO"] == 32
    assert numbers["ORDER"] == 39
    assert numbers["COMMAND"] == 49
    assert numbers["LAG"] == 50


@pytest.mark.parametrize("cls", EVENT_KINDS, ids=lambda cls: cls.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_an_event_comes_back_as_it_was(cls: type, data: st.DataObject) -> None:
    """Cloids of 128 bits, floats to the last bit, what is None, nested orders and fills."""
    event = data.draw(_made(cls))
    kind, payload = encode(event)
    again = decode(kind, payload)
    assert kind == EVENT_KINDS[cls]
    assert again == event
    assert type(again) is cls
    assert encode(again) == (kind, payload)  # type: ignore[arg-type]


def test_other_records_come_back_as_they_were() -> None:
    """Frames as the bytes that were received; a memory; the bare time of a decision."""
    read = Read(2**62, (b'{"channel":"bbo"}', b"\x00\xff"))
    restored = Restored(5, CascadeMemory())
    for item in (read, restored, 1_791_484_300_000_000_000):
        assert decode(*encode(item)) == item


def test_what_a_later_version_wrote_is_refused_by_name() -> None:
    """A kind that nobody knows must not be skipped: the replay would go on without it."""
    with pytest.raises(JournalError, match="kind 251"):
        decode(251, b"\x01")
    with pytest.raises(JournalError, match="kind 36 cannot be read"):
        decode(Kind.REFERENCE, b"\x93\x01\x02\x03")


_LEVELS = st.builds(Level, st.integers(1, 10**9), st.integers(1, 10**9))
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "cloid": st.integers(0, 2**128 - 1),
    "bids": st.lists(_LEVELS).map(tuple),
    "asks": st.lists(_LEVELS).map(tuple),
    "open_orders": st.just((ORDER, msgspec.structs.replace(ORDER, cloid=CLOID))),
    "fills": st.just((FILL,)),
    "fees": st.builds(Fees, st.floats(-5, 5), st.floats(-5, 5)),
}


def _made(cls: type) -> st.SearchStrategy[Any]:
    """Events of a class with arbitrary fields of the right types."""
    if cls is Trades:
        return st.integers(1, 4).map(
            lambda n: Trades(1, 2, (2,) * n, (Side.SELL,) * n, (3,) * n, (4,) * n, (5,) * n)
        )
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(cls):
        if field.name == "cloid" and cls in (Fill, OrderUpdate):
            parts[field.name] = st.none() | _FIELDS["cloid"]
        elif field.name in _FIELDS and (field.name != "fills" or cls is Snapshot):
            parts[field.name] = _FIELDS[field.name]
        elif field.type is int:
            parts[field.name] = st.integers(-(2**53), 2**53)
        elif field.type == Level | None:
            parts[field.name] = st.none() | _LEVELS
        elif field.type == Isolated | None:
            parts[field.name] = st.none() | _made(Isolated)
        elif field.type == int | None:
            parts[field.name] = st.none() | st.integers(0, 2**63)
        else:
            parts[field.name] = st.from_type(field.type)
        if field.type is float:
            parts[field.name] = st.floats(allow_nan=False)
        elif field.type == float | None:
            parts[field.name] = st.none() | st.floats(allow_nan=False)
    return st.builds(cls, **parts)
