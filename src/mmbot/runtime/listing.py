"""
Whether our market is at its cap of open interest, or delisted: the venue's lists, on a timer.

No stream tells either. The cap is asked for every `premises.check_s`; the list of perps, which is
long, only while the engine knows of no trading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from mmbot.core.engine import Engine
from mmbot.core.events import Event, Listing
from mmbot.core.premises import PremisesParams
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.budget import Budget, info_weight
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Scheduler, reply_error
from mmbot.runtime.telling import Log

_CAPS: Final = "perpsAtOpenInterestCap"
_META: Final = "meta"
_TIMEOUT_S: Final = 5.0
_T = TypeVar("_T")


class ListingReader:
    """
    Reads from `start` on, as long as the run trades.

    Args:
        engine: Says whether the market trades, as far as it can tell.
        emit: Folds an event into it and lets it decide.
        is_trading: False once the end has begun.
        log: Hears of a reading that failed.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        engine: Engine,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        budget: Budget,
        params: PremisesParams,
        emit: Callable[[Event], None],
        is_trading: Callable[[], bool],
        log: Callable[[], Log],
    ) -> None:
        self._coin = instrument.coin
        self._dex = instrument.dex
        self._engine = engine
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._budget = budget
        self._period_ns = round(params.check_s * NS_PER_S)
        self._emit = emit
        self._is_trading = is_trading
        self._log = log

    def start(self) -> None:
        """The first reading comes after one period: the checks before a run were one themselves."""
        self._scheduler.call_at(self._clock() + self._period_ns, self._look)

    def _look(self) -> None:
        if not self._is_trading():
            return
        now_ns = self._clock()
        self._scheduler.call_at(now_ns + self._period_ns, self._look)
        self._ask(_CAPS, lambda reply: self._on_caps(reply, now_ns))

    def _ask(self, kind: str, on_reply: Callable[[HttpReply], None]) -> None:
        self._budget.spend(info_weight(kind), self._clock())
        payload = msgspec.json.encode({"type": kind, "dex": self._dex})
        self._http.post("/info", payload, on_reply, _TIMEOUT_S)

    def _on_caps(self, reply: HttpReply, asked_ns: int) -> None:
        if not self._is_trading():
            return
        capped = self._read(reply, _CAPS, wire_rest.coins_at_cap)
        if capped is None:
            return
        is_capped = self._coin in capped
        if self._engine.premises.is_halted:
            self._ask(_META, lambda meta: self._on_meta(meta, asked_ns, is_capped=is_capped))
        else:
            self._tell(asked_ns, is_capped=is_capped, is_delisted=False)

    def _on_meta(self, reply: HttpReply, asked_ns: int, *, is_capped: bool) -> None:
        if not self._is_trading():
            return
        listed = self._read(reply, _META, wire_rest.meta)
        if listed is None:
            return
        ours = [asset for asset in listed.universe if asset.name == self._coin]
        is_delisted = not ours or ours[0].is_delisted
        self._tell(asked_ns, is_capped=is_capped, is_delisted=is_delisted)

    def _read(self, reply: HttpReply, kind: str, read: Callable[[bytes], _T]) -> _T | None:
        error: Exception | None = reply_error(reply, f"/info {kind}")
        if error is None:
            try:
                return read(reply.body)
            except VenueProtocolError as unreadable:
                error = unreadable
        self._log().warning("listing.unread", error=str(error))
        return None

    def _tell(self, asked_ns: int, *, is_capped: bool, is_delisted: bool) -> None:
        self._emit(Listing(self._clock(), asked_ns, is_capped, is_delisted))
