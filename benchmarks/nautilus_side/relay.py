"""
Three doors to the emulated exchange, one a base URL, and a book of what went through each.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, WSMsgType, web


@dataclass
class Traffic:
    """What went through the three URLs."""

    info: Counter[str] = field(default_factory=Counter)
    info_refused: list[str] = field(default_factory=list)
    exchange: Counter[str] = field(default_factory=Counter)
    subscribed: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    posts: list[str] = field(default_factory=list)
    post_ids: list[Any] = field(default_factory=list)
    waiting: set[Any] = field(default_factory=set)
    answered: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    filled: int = 0

    def up(self, text: str) -> None:
        """One frame of the adapter."""
        message = json.loads(text)
        match message.get("method"):
            case "subscribe":
                self.subscribed[message["subscription"]["type"]] += 1
            case "post":
                request = message["request"]
                kind = request["type"]
                inner = request["payload"]
                name = inner["action"]["type"] if kind == "action" else inner["type"]
                self.post_ids.append(message["id"])
                self.waiting.add(message["id"])
                self.posts.append(f"{kind} {name}")

    def down(self, text: str) -> None:
        """One frame of the exchange."""
        message = json.loads(text)
        channel = message.get("channel", "?")
        self.channels[channel] += 1
        if channel == "error":
            self.errors.append(str(message.get("data")))
        elif channel == "post":
            response = message["data"]["response"]
            self.answered.append(response["type"])
            self.waiting.discard(message["data"]["id"])
        elif channel == "orderUpdates":
            self.samples.setdefault("orderUpdates", message)
        elif channel == "user" and "fills" in message["data"]:
            self.samples.setdefault("fills", message)

    def told(self) -> str:
        """Posts in short."""
        return f"{len(self.post_ids)} posts, {len(self.answered)} answers"


async def open_relay(stack: AsyncExitStack, handler: Any, method: str, path: str) -> str:
    """Serve one route on a port of its own; returns the base of its URL."""
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    port = runner.addresses[0][1]
    return f"127.0.0.1:{port}{path}"


class Relays:
    """Three doors to one exchange, each with a book of who passed."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.traffic = Traffic()
        self._url = url
        self._session = session

    async def info(self, request: web.Request) -> web.Response:
        """POST /info."""
        body = await request.read()
        answer = await self._forward("/info", request, body)
        name = str(json.loads(body).get("type"))
        self.traffic.info[name] += 1
        if answer.status != 200:
            self.traffic.info_refused.append(f"{name}: HTTP {answer.status}")
        return answer

    async def exchange(self, request: web.Request) -> web.Response:
        """POST /exchange."""
        body = await request.read()
        self.traffic.exchange[str(json.loads(body)["action"]["type"])] += 1
        return await self._forward("/exchange", request, body)

    async def count_filled(self, user: str) -> int:
        """How many orders of the account have fills, by the exchange's word."""
        body = {"type": "userFills", "user": user}
        async with self._session.post(self._url + "/info", json=body) as answer:
            return len({row["oid"] for row in await answer.json()})

    async def _forward(self, path: str, request: web.Request, body: bytes) -> web.Response:
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        async with self._session.post(self._url + path, data=body, headers=headers) as answer:
            kind = answer.headers.get("Content-Type", "application/json")
            return web.Response(
                body=await answer.read(), status=answer.status, headers={"Content-Type": kind}
            )

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws: both directions until either end closes."""
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with self._session.ws_connect(self._url + "/ws", autoping=False) as far:

            async def pump(source: Any, sink: Any, note: Any) -> None:
                async for message in source:
                    if message.type is WSMsgType.TEXT:
                        note(message.data)
                        await sink.send_str(message.data)
                    elif message.type is WSMsgType.PING:
                        await source.pong(message.data)
                await sink.close()

            await asyncio.gather(
                pump(near, far, self.traffic.up), pump(far, near, self.traffic.down)
            )
        return near
