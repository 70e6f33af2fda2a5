"""
What a daemon answers at its control socket, and how it takes a configuration that was changed.

Everything is read off the state that is there already; what several ask within a moment is put
together once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from mmbot.config import Config
from mmbot.errors import ConfigError
from mmbot.hyperliquid.ports import Clock
from mmbot.journal.writer import Writer
from mmbot.logs import LEVELS, Threshold
from mmbot.runtime.aio import aside
from mmbot.runtime.control import Answer, Request, refusal, reply
from mmbot.runtime.observation import Status, Why
from mmbot.runtime.observed import status, why
from mmbot.runtime.reload import Change, changes
from mmbot.runtime.rundir import describe_run
from mmbot.runtime.telling import Log
from mmbot.runtime.trader import Trader

_KEPT_S: Final = 0.05
"""For how long an answer is given again as it is."""
_LOAD_S: Final = 8.0
"""How long reading a configuration may take; it is a matter of milliseconds."""
STARTING: Final = "starting"


class Seen(msgspec.Struct, frozen=True):
    """A run at a moment, whole: what `status` and `why` show, and how long its batches took."""

    status: Status
    why: Why
    sent: tuple[int, ...]
    """Decisions by the time until their batch was sent, see `telling.Spans`."""
    sent_s: float


class Desk:
    """
    Answers for one run.

    Args:
        run_dir: Its folder.
        config: Its configuration.
        load: Reads the configuration again, as the command line named it; None where nothing can
            be read again.
        on_stop: Stops the run cleanly; the flag asks to close the position as well.
        on_config: Takes a configuration that is in force from now on.
        log: Its log.
        threshold: The level of that log.
        clock: Its time.
    """

    def __init__(
        self,
        run_dir: Path,
        config: Config,
        *,
        load: Callable[[], Config] | None,
        on_stop: Callable[[bool], None],
        on_config: Callable[[Config], None],
        log: Log,
        threshold: Threshold,
        clock: Clock,
    ) -> None:
        self.run_dir = run_dir
        self.config = config
        self.reloads = 0
        self._load = load
        self._on_stop = on_stop
        self._on_config = on_config
        self._log = log
        self._threshold = threshold
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._trader: Trader | None = None
        self._user = ""
        self._journal: Writer | None = None
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._is_reloading = False
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, trader: Trader, user: str, journal: Writer | None) -> None:
        """There is a trader from now on."""
        self._trader, self._user, self._journal = trader, user, journal

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.cmd in ("status", "why", "all"):
            return self._shown(request.cmd)
        if request.until_ns is not None and self._clock() > request.until_ns:
            return refusal("it came too late: whoever asked has gone")
        match request.cmd:
            case "stop":
                return self._stop(is_flatten=request.flatten)
            case "reload":
                return self._reload_asked()
            case _:
                return refusal(f"unknown request {request.cmd!r}")

    # -- questions --------------------------------------------------------------------------

    def _shown(self, what: str) -> bytes:
        now = self._loop.time()
        at, kept = self._kept.get(what, (float("-inf"), b""))
        if now - at < _KEPT_S:
            return kept
        answer = self._read(what)
        self._kept[what] = (self._loop.time(), answer)
        return answer

    def _read(self, what: str) -> bytes:
        trader, now_ns = self._trader, self._clock()
        about: dict[str, Any] = {"pid": os.getpid(), "at_ns": now_ns, "run_dir": str(self.run_dir)}
        if trader is None:
            return reply(phase=STARTING, **about)
        shown: dict[str, Any] = {}
        if what != "why":
            shown["status"] = self._status(trader, now_ns)
        if what != "status":
            shown["why"] = why(trader, self.config, now_ns=now_ns)
        return reply(phase=trader.phase, **about, **shown)

    def seen(self) -> Seen | None:
        """What there is to see now, on the thread of the loop; None before there is a trader."""
        trader, now_ns = self._trader, self._clock()
        if trader is None:
            return None
        sent = trader.sent
        return Seen(
            self._status(trader, now_ns),
            why(trader, self.config, now_ns=now_ns),
            tuple(sent.counts),
            sent.sum_s,
        )

    def _status(self, trader: Trader, now_ns: int) -> Status:
        return status(
            trader,
            self.config,
            now_ns=now_ns,
            pid=os.getpid(),
            run_dir=str(self.run_dir),
            user=self._user,
            journal=self._journal,
            reloads=self.reloads,
        )

    # -- orders -----------------------------------------------------------------------------

    def _stop(self, *, is_flatten: bool) -> bytes:
        trader = self._trader
        if trader is not None and trader.closing:
            return reply(
                phase=trader.phase, pid=os.getpid(), is_news=False, run_dir=str(self.run_dir)
            )
        # Once the answer has left: a stop before the first order ends the loop at once.
        self._loop.call_later(_KEPT_S, self._on_stop, is_flatten)
        phase = STARTING if trader is None else trader.phase
        return reply(phase=phase, pid=os.getpid(), is_news=True, run_dir=str(self.run_dir))

    # -- a configuration that was changed ---------------------------------------------------

    def on_hangup(self) -> None:
        """SIGHUP of a service: load the configuration again; the log says what came of it."""
        task = self._loop.create_task(self._reload_hung_up())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_hung_up(self) -> None:
        try:
            await self.reload("SIGHUP")
        except Exception as error:  # noqa: BLE001 - what cannot be loaded must not end a run
            text = f"{type(error).__name__}: {error}"
            self._log.error("config.refused", by="SIGHUP", error=text, exc_info=error)

    async def _reload_asked(self) -> bytes:
        error, found = await self.reload("mmbot reload")
        if error is not None:
            return refusal(error)
        rows = [msgspec.structs.asdict(change) for change in found]
        return reply(changes=rows, reloads=self.reloads, run_dir=str(self.run_dir))

    async def reload(self, by: str) -> tuple[str | None, list[Change]]:
        """
        Load the configuration again, and take it over if all of it may be.

        Returns why nothing was changed (None: it is in force), and what differs.
        """
        if self._load is None:
            return self._refused(by, "this run was given no file that could be loaded again"), []
        if self._is_reloading:
            return self._refused(by, "a reload is under way"), []
        self._is_reloading = True
        try:
            # On no thread of the loop's own: the end of the process waits for those, and a file
            # that is a pipe, or on a disk that is away, may never come.
            async with asyncio.timeout(_LOAD_S):
                fresh = await aside(self._load)
        except TimeoutError:
            text = f"the file was not read within {_LOAD_S:g} s; look at it and at its disk"
            return self._refused(by, f"{text}; nothing was changed"), []
        except ConfigError as error:
            return self._refused(by, f"{error}; nothing was changed"), []
        finally:
            self._is_reloading = False
        found = changes(self.config, fresh)
        fixed = [change for change in found if not change.is_reloadable]
        if fixed:
            said = ", ".join(f"{it.key} = {_text(it.old)} -> {_text(it.new)}" for it in fixed)
            text = f"only a restart takes {said}; nothing was changed"
            return self._refused(by, text, [it.key for it in fixed]), found
        trader = self._trader
        if trader is None or trader.closing:
            phase = STARTING if trader is None else trader.phase
            return self._refused(by, f"the run is {phase}; nothing was changed"), found
        if not found:
            self._log.info("config.unchanged", by=by)
            return None, found
        await self._take(trader, fresh, found, by)
        return None, found

    async def _take(self, trader: Trader, fresh: Config, found: list[Change], by: str) -> None:
        before, self.config = self.config, fresh
        self.reloads += 1
        self._kept.clear()
        # Told at the wider of the two levels: nobody shall miss that it has changed.
        self._threshold.set(min(before.log.level, fresh.log.level, key=LEVELS.__getitem__))
        diff = {it.key: f"{_text(it.old)} -> {_text(it.new)}" for it in found}
        trader.log.info("config.reloaded", by=by, changes=diff)
        self._threshold.set(fresh.log.level)
        self._on_config(fresh)
        trader.reconfigure(fresh)
        try:
            await aside(partial(describe_run, fresh, self.run_dir))
        except ConfigError as error:
            self._log.warning("config.not_kept", error=str(error))

    def _refused(self, by: str, error: str, keys: list[str] | None = None) -> str:
        self._log.error("config.refused", by=by, error=error, keys=keys or [])
        return error


def _text(value: object) -> str:
    return "unset" if value is None else msgspec.json.encode(value, enc_hook=str).decode()
