"""The exchange on a real port: its clock, its abort, its end."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from conformance.harness import ALICE, NOW_MS, build_exchange, universe
from mmbot.emulator.scenarios import build_venue
from mmbot.emulator.server import ManualClock, serve, wall_clock_ms
from mmbot.emulator.specs import VenueParams
from mmbot.emulator.venue import Venue
from mmbot.emulator.wire import Exchange, ExchangeParams
from mmbot.errors import InvariantError, LinkError

DEADLINE_S = 120.0


async def test_the_wall_clock_drives_the_market_and_its_streams() -> None:
    """Nobody calls `advance` in production; the driver has to."""
    now_ms = wall_clock_ms()
    venue, market = build_venue(
        "HYPE", "demo", overrides={}, seed=1, now_ms=now_ms, accounts=[(ALICE.address, 100.0)]
    )
    running = await serve(Exchange(venue, market, ExchangeParams(latency_ms=20), now_ms))
    try:
        async with aiohttp.ClientSession() as client, client.ws_connect(running.ws_url) as socket:
            subscription = {"type": "l2Book", "coin": "HYPE", "fast": True}
            await socket.send_json({"method": "subscribe", "subscription": subscription})
            times = list[int]()
            while len(times) < 3:
                message = await socket.receive_json(timeout=DEADLINE_S)
                if message["channel"] == "l2Book":
                    times.append(message["data"]["time"])
        assert times == sorted(set(times))
        assert not running.failure.done()
    finally:
        await running.stop()


async def test_an_action_with_latency_is_answered_over_http() -> None:
    """The answer waits for a block that only the driver brings about."""
    now_ms = wall_clock_ms()
    venue = Venue(VenueParams(), universe(), now_ms)
    exchange = Exchange(venue, None, ExchangeParams(latency_ms=30), now_ms)
    running = await serve(exchange)
    try:
        signature = {"r": "0x0", "s": "0x0", "v": 27}
        body = {"action": {"type": "noop"}, "nonce": now_ms, "signature": signature}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{running.url}/exchange", json=body) as reply,
        ):
            assert await reply.json() == {"status": "err", "response": "Unable to recover signer."}
    finally:
        await running.stop()


async def test_a_cut_session_ends_without_a_close_frame() -> None:
    """1006 is the code of a socket that just stops; anything else is a courtesy the venue lacks."""
    running = await serve(build_exchange(), clock=ManualClock(NOW_MS))
    try:
        async with aiohttp.ClientSession() as client, client.ws_connect(running.ws_url) as socket:
            bad = {"type": "bbo", "coin": "nope"}
            await socket.send_json({"method": "subscribe", "subscription": bad})
            message = await socket.receive(timeout=DEADLINE_S)
            assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
            assert socket.close_code == 1006
    finally:
        await running.stop()


async def test_compression_is_not_negotiated() -> None:
    """The venue offers none, so frames are what they look like on the wire."""
    running = await serve(build_exchange(), clock=ManualClock(NOW_MS))
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(running.ws_url, compress=15) as socket,
        ):
            assert socket.compress == 0
    finally:
        await running.stop()


async def test_stop_cuts_sessions_and_frees_the_port() -> None:
    """The daemon's embedded exchange ends with it, leaving nothing behind."""
    running = await serve(build_exchange(), clock=ManualClock(NOW_MS))
    async with aiohttp.ClientSession() as client, client.ws_connect(running.ws_url) as socket:
        await running.stop()
        message = await socket.receive(timeout=DEADLINE_S)
        assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    again = await serve(build_exchange(), port=running.port, clock=ManualClock(NOW_MS))
    await again.stop()


async def test_a_taken_port_is_named() -> None:
    """A person with two exchanges has to be told which setting to change."""
    running = await serve(build_exchange(), clock=ManualClock(NOW_MS))
    try:
        with pytest.raises(LinkError, match=f"{running.port}.*choose another port"):
            await serve(build_exchange(), port=running.port, clock=ManualClock(NOW_MS))
    finally:
        await running.stop()


async def test_a_failing_exchange_is_reported_to_its_owner() -> None:
    """A clock that died silently would look like a quiet market."""
    exchange = build_exchange()
    running = await serve(exchange, clock=ManualClock(NOW_MS))
    try:
        exchange.faults.update({"disconnect_per_s": 1.0})
        exchange._chance = None
        exchange.connect()
        body = json.dumps({"ms": 1000}).encode()
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{running.url}/emulator/advance", data=body) as reply,
        ):
            assert reply.status == 500
        with pytest.raises(InvariantError, match="generator"):
            await asyncio.wait_for(running.failure, DEADLINE_S)
    finally:
        await running.stop()


async def test_only_loopback_is_bound_by_default() -> None:
    """Test accounts with public keys have no business on a network."""
    running = await serve(build_exchange(), clock=ManualClock(NOW_MS))
    try:
        assert running.url == f"http://127.0.0.1:{running.port}"
    finally:
        await running.stop()
