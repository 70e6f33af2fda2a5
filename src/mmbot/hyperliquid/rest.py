"""
HTTP to the venue, over aiohttp: the `Http` port, and reads to await before trading starts.

Nothing raised by the network leaves this module as it came: what fails is a reply without a status,
or an exception of ours with the address, the cause and the remedy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from mmbot.hyperliquid.ports import HttpReply, reply_error

TIMEOUT_S: Final = 10.0
"""Wait for one read at start-up."""
_JSON: Final = {"Content-Type": "application/json"}


class Rest:
    """
    One venue's REST interface; an async context manager.

    Args:
        url: http:// or https:// address of the venue, without a path.

    Requests still under way when the context ends are abandoned: their `on_done` is not called.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        """POST a JSON body in the background; see `ports.Http`."""
        task = asyncio.get_running_loop().create_task(self._post(path, body, on_done, timeout_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def info(self, payload: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> bytes:
        """
        Body of the answer to `POST /info`.

        Raises:
            LinkError: The venue is not reachable, overloaded or down.
            VenueError: It refuses the request, or what answers is not the venue.
        """
        reply = await self.request("POST", "/info", msgspec.json.encode(payload), timeout_s)
        return self._body(reply, f"{self._url}/info {payload.get('type')}")

    async def get(self, path: str, timeout_s: float = TIMEOUT_S) -> bytes:
        """Body of the answer to `GET path`, JSON; raises as `info` does."""
        reply = await self.request("GET", path, None, timeout_s)
        return self._body(reply, f"{self._url}{path}")

    async def request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> HttpReply:
        """One request, whatever comes of it."""
        if self._session is None:
            return HttpReply(None, error="nothing is sent any more, the program is ending")
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=body,
                headers=_JSON,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                return HttpReply(response.status, await response.read())
        except TimeoutError:
            return HttpReply(None, error=f"no answer within {timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            return HttpReply(None, error=f"cannot connect: {error.os_error.strerror or error}")
        except aiohttp.ServerDisconnectedError:
            return HttpReply(None, error="the connection was closed without an answer")
        except aiohttp.InvalidURL:
            return HttpReply(None, error="this is not an address")
        except (aiohttp.ClientError, OSError) as error:
            return HttpReply(None, error=str(error) or type(error).__name__)

    async def _post(
        self, path: str, body: bytes, on_done: Callable[[HttpReply], None], timeout_s: float
    ) -> None:
        reply = await self.request("POST", path, body, timeout_s)
        # From the loop and not from this task, so that an error of ours is seen by the loop's
        # handler at once, as one in a read or a timer is.
        asyncio.get_running_loop().call_soon(on_done, reply)

    @staticmethod
    def _body(reply: HttpReply, what: str) -> bytes:
        error = reply_error(reply, what)
        if error is not None:
            raise error
        return reply.body
