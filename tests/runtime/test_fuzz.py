"""
Damaged messages through everything that reads them: an event or `VenueProtocolError`, nothing else.

A small share of what `benchmarks/fuzz.py` does a million times.
"""

from __future__ import annotations

import functools
import random

import pytest

from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid.wire import Decoder
from mmbot.hyperliquid.wire_rest import user_rate_limit
from runtime import fuzzing
from runtime.corpus import PARSERS, Corpus, collect
from runtime.damaging import damage
from runtime.fuzzing import Life, Tally, program

LIVES = 40
PROGRAMS = 3


@functools.cache
def corpus() -> Corpus:
    return collect()


def test_every_message_is_readable_before_it_is_damaged() -> None:
    """Otherwise the damage would meet nothing but the first check."""
    found = corpus()
    at_ns = max(moment.at_ns for moment in found.moments) + 3_600_000_000_000
    decoder = Decoder(found.instrument, user=found.user, reference_coin="BTC")
    read = sum(bool(decoder.decode(frame, at_ns)) for frame in found.frames)

    assert read > 0.95 * len(found.frames)
    wanted = {"bbo", "l2Book", "trades", "activeAssetCtx", "orderUpdates", "userFills"}
    assert set(found.channels) >= wanted | {"userFundings", "post", "subscriptionResponse", "pong"}
    assert set(found.bodies) >= set(PARSERS) - {"frontendOpenOrders"}
    assert any(moment.engine.orders.slots for moment in found.moments)
    assert any(moment.engine.position.lots for moment in found.moments)


def test_damage_leaves_a_good_part_that_can_be_read() -> None:
    """All refused or none: neither would say anything of what comes after the decoder."""
    chance = random.Random(1)
    body = corpus().bodies["userRateLimit"][0]
    spoilt = [damage(body, chance) for _ in range(2000)]
    refused = 0
    for one in spoilt:
        try:
            user_rate_limit(one)
        except VenueProtocolError:
            refused += 1

    assert len(set(spoilt)) > 500
    assert 0.2 < refused / len(spoilt) < 0.9


def test_damaged_messages_are_events_or_protocol_errors_and_the_engine_holds() -> None:
    """Sums of the order table, a position that is a number, orders on the grid."""
    total = Tally()
    for number in range(LIVES):
        total.add(Life(corpus(), number, seed=7).live())

    assert total.findings == []
    assert total.told.total() == LIVES * fuzzing.LIFE
    assert 0.2 < total.refused / total.told.total() < 0.8
    assert set(total.events) >= {"Bbo", "Book", "Trades", "AssetCtx", "Fill", "OrderUpdate"}
    assert set(total.events) >= {"Snapshot", "Acked", "Rejected", "OutcomeUnknown", "Funding"}
    assert total.batches > LIVES / 2


@pytest.mark.parametrize("seed", range(1, PROGRAMS + 1))
def test_a_program_whose_messages_are_damaged_ends_cleanly(seed: int) -> None:
    """It may trip or be cut off, and comes back; an error of its own it never has."""
    tally = program(seed)

    assert tally.findings == []
    assert tally.told.total() > 0


def test_a_decoder_with_a_hole_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price of nothing that the plain way of reading a book once let through."""
    read = Decoder.decode

    def careless(self: Decoder, frame: bytes, recv_ns: int) -> object:
        if b"e-" in frame:
            raise ZeroDivisionError
        return read(self, frame, recv_ns)

    monkeypatch.setattr(Decoder, "decode", careless)
    total = Tally()
    for number in range(LIVES):
        total.add(Life(corpus(), number, seed=7).live())

    assert {finding.what.split(":")[0] for finding in total.findings} == {"ZeroDivisionError"}
