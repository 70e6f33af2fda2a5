"""What an earlier run left: cancelled, and looked at no faster than the venue allows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueError
from mmbot.hyperliquid.gateway import GatewayParams
from mmbot.hyperliquid.ports import HttpReply
from mmbot.hyperliquid.signing import Signer
from mmbot.logs import LogWriter, make_logger
from mmbot.runtime.ending import CLOID_MAGIC
from mmbot.runtime.leftovers import Leftovers
from mmbot.runtime.simulation import SimLoop

HYPE = Instrument(coin="HYPE", asset_id=159, sz_decimals=2, max_leverage=10)
WEIGHT_OPEN_ORDERS = 20
WEIGHT_PER_MIN = 1200


class Deaf:
    """A venue that answers everything and cancels nothing until told so."""

    def __init__(self, sim: SimLoop, orders: int) -> None:
        self.sim = sim
        self.cloids = [CLOID_MAGIC << 112 | n for n in range(orders)]
        self.gives_in_ns: int | None = None
        self.looks_ns: list[int] = []
        self.cancels_ns: list[int] = []

    async def info(self, payload: Mapping[str, Any]) -> bytes:
        assert payload["type"] == "openOrders"
        self.looks_ns.append(self.sim.clock())
        if self.gives_in_ns is not None and self.sim.clock() >= self.gives_in_ns:
            return b"[]"
        row = {"coin": "HYPE", "side": "B", "limitPx": "26.1", "sz": "0.5", "oid": 7}
        row |= {"timestamp": 1, "origSz": "0.5"}
        return json.dumps([row | {"cloid": f"0x{cloid:032x}"} for cloid in self.cloids]).encode()

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        if path != "/exchange":
            on_done(HttpReply(500, b"", "not asked here"))
            return
        cancels = json.loads(body)["action"]["cancels"]
        self.cancels_ns.append(self.sim.clock())
        data = {"type": "cancel", "data": {"statuses": ["success"] * len(cancels)}}
        reply = {"status": "ok", "response": data}
        on_done(HttpReply(200, json.dumps(reply).encode(), ""))


def run(venue: Deaf, retry_s: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Leftovers, int]:
    sim = venue.sim
    log = make_logger(LogWriter(None, None, lambda record: None), sim.clock)

    async def sleep(span_s: float) -> None:
        sim.run_for(span_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    left = Leftovers(
        venue,
        HYPE,
        signer=Signer(b"\x01" * 32, is_mainnet=False),
        user="0x" + "ab" * 20,
        http=cast("Any", venue),
        clock=sim.clock,
        scheduler=sim,
        params=GatewayParams(),
        retry_s=retry_s,
        log=log,
    )
    return left, asyncio.run(left.cancel())


def test_looking_for_what_is_left_stays_within_the_weight_of_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused look ends the start, and then the orders rest on with nobody to watch them."""
    venue = Deaf(SimLoop(1_700_000_000 * NS_PER_S), orders=3)
    with pytest.raises(VenueError, match="3 orders of an earlier run still rest"):
        run(venue, 120.0, monkeypatch)
    for start in venue.looks_ns:
        looks = sum(start <= at < start + 60 * NS_PER_S for at in venue.looks_ns)
        cancels = sum(start <= at < start + 60 * NS_PER_S for at in venue.cancels_ns)
        assert looks * WEIGHT_OPEN_ORDERS + cancels <= WEIGHT_PER_MIN * 0.95
    assert venue.cancels_ns[-1] - venue.cancels_ns[0] > 100 * NS_PER_S


def test_what_is_left_is_cancelled_until_the_venue_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings trail cancels; the count is of what rested at first."""
    venue = Deaf(SimLoop(1_700_000_000 * NS_PER_S), orders=2)
    venue.gives_in_ns = venue.sim.clock() + 5 * NS_PER_S
    left, found = run(venue, 60.0, monkeypatch)
    assert found == 2
    assert left.has_sent
    assert len(venue.cancels_ns) == 2


def test_where_nothing_rests_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start may then say truthfully that nothing was sent."""
    venue = Deaf(SimLoop(1_700_000_000 * NS_PER_S), orders=0)
    left, found = run(venue, 60.0, monkeypatch)
    assert (found, left.has_sent, venue.cancels_ns) == (0, False, [])
