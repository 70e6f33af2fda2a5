"""HTTP: every way a request can end becomes a reply or an error a person can act on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mmbot.errors import Exit, LinkError, VenueError
from mmbot.hyperliquid.ports import HttpReply, reply_error
from mmbot.hyperliquid.rest import Rest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A venue on loopback that answers everything with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(status: int, body: bytes) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return handler


async def ask(handler: Handler, timeout_s: float = 5) -> bytes:
    async with served(handler) as url, Rest(url) as rest:
        return await rest.info({"type": "meta", "dex": ""}, timeout_s)


async def test_read_sends_json_and_returns_the_body() -> None:
    """The venue answers 415 to a request that does not say it is JSON."""
    seen: list[tuple[str, str, bytes]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.path, request.content_type, await request.read()))
        return web.Response(body=b'{"universe":[]}')

    assert await ask(handler) == b'{"universe":[]}'
    assert seen == [("/info", "application/json", b'{"type":"meta","dex":""}')]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (429, b"null", LinkError, ["429", "wait a minute", "1200"]),
        (500, b"null", LinkError, ["500", "'null'", "try again later"]),
        (502, b"<html>bad gateway</html>", LinkError, ["502", "bad gateway"]),
        (
            200,
            b"<html>log in</html>",
            VenueError,
            ["'<html>log in</html>' instead of JSON", "proxy"],
        ),
        (200, b"", VenueError, ["(empty) instead of JSON"]),
        (
            422,
            b"Failed to deserialize the JSON body into the target type",
            VenueError,
            ["422", "Failed to deserialize", "will not help"],
        ),
    ],
)
async def test_bad_answer_names_cause_and_remedy(
    status: int, body: bytes, kind: type[VenueError], words: list[str]
) -> None:
    """A person reads one line and knows what to do; scripts read exit code 4."""
    with pytest.raises(kind) as caught:
        await ask(answering(status, body))

    assert type(caught.value) is kind
    assert caught.value.exit_code is Exit.VENUE
    for word in ["/info meta", *words]:
        assert word in str(caught.value)


async def test_unreachable_host_is_a_link_error() -> None:
    """Nothing listens: say so, with the address, and no traceback."""
    async with served(answering(200, b"{}")) as url:
        gone = url

    async with Rest(gone) as rest:
        with pytest.raises(LinkError, match="cannot connect") as caught:
            await rest.info({"type": "meta"})

    assert gone in str(caught.value)
    assert "check the network and the address" in str(caught.value)


async def test_address_that_is_none_is_a_link_error() -> None:
    """A typing error in a URL ends in words too."""
    async with Rest("http://:bad") as rest:
        with pytest.raises(LinkError, match="this is not an address"):
            await rest.info({"type": "meta"})


async def test_silent_venue_times_out() -> None:
    """A read that never ends would hold the start for ever."""
    release = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with served(handler) as url, Rest(url) as rest:
        with pytest.raises(LinkError, match=r"no answer within 0\.05 s"):
            await rest.info({"type": "meta"}, timeout_s=0.05)
        release.set()


async def test_cut_connection_is_no_verdict() -> None:
    """The action may have been carried out: no status may be made up for it."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with served(handler) as url, Rest(url) as rest:
        reply = await rest.request("POST", "/exchange", b"{}", 5)

    assert reply.status is None
    assert reply.error


async def test_post_calls_back_from_the_loop_and_never_from_within() -> None:
    """A gateway that is called back inside `post` would see its own table half written."""
    done: asyncio.Future[HttpReply] = asyncio.get_running_loop().create_future()
    async with served(answering(200, b'{"status":"ok"}')) as url, Rest(url) as rest:
        rest.post("/exchange", b"{}", done.set_result, 5)
        assert not done.done()

        reply = await done

    assert reply == HttpReply(200, b'{"status":"ok"}')


async def test_requests_under_way_are_abandoned_at_the_end() -> None:
    """The end of a run does not wait for a venue that does not answer."""
    release = asyncio.Event()
    replies: list[HttpReply] = []

    async def handler(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with served(handler) as url:
        async with Rest(url) as rest:
            rest.post("/exchange", b"{}", replies.append, 60)
        release.set()

    assert replies == []


async def test_get_reads_a_path() -> None:
    """The emulated exchange tells about itself over GET."""
    async with served(answering(200, b"[1]")) as url, Rest(url + "/") as rest:
        assert await rest.get("/emulator/accounts") == b"[1]"


def test_good_answer_is_no_error() -> None:
    """JSON `null` is an answer: the venue says it for an unknown book."""
    assert reply_error(HttpReply(200, b"null"), "x") is None


async def test_request_after_the_end_is_an_outcome_and_no_traceback() -> None:
    """A timer that fires while the program ends may still want to ask something."""
    async with Rest("http://127.0.0.1:1") as rest:
        pass

    reply = await rest.request("POST", "/info", b"{}", 1)

    assert reply.status is None
    assert "ending" in (reply.error or "")
