"""
Whether our position is the venue's: compared on a timer, and read anew until they agree.

The comparison asks for the account alone, which costs a tenth of a whole reading. What it finds
goes to the engine, whose alarms pull the quotes and trip; here is only asked and measured.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from mmbot.core.engine import Engine
from mmbot.core.events import AccountRead, Event, Gauge, Measured
from mmbot.core.risk import KillParams
from mmbot.core.types import NS_PER_S, Instrument
from mmbot.errors import VenueProtocolError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.budget import Budget, info_weight
from mmbot.hyperliquid.dating import check_date
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Scheduler, reply_error
from mmbot.runtime.telling import Log

_ACCOUNT: Final = "clearinghouseState"
_TIMEOUT_S: Final = 5.0
_MEASURE_NS: Final = NS_PER_S // 2
_PATIENCE_NS: Final = 2 * NS_PER_S
"""Difference after which the whole account is read: a fill may be late by about as much."""
_AGAIN_NS: Final = 10 * NS_PER_S
"""Between two such readings: each takes a tenth of what the address may ask for in a minute."""
_WORTH_A_LOOK: Final = 0.5
"""Share of its limit from which a figure is told."""


class Truth:
    """
    Compares and measures from `start` on, as long as the run trades.

    Args:
        engine: Holds our position, and says when it last heard of the mark and of the account.
        emit: Folds an event into it and lets it decide.
        is_trading: False once the end has begun.
        is_up: Whether there is a connection; without one its own triggers count.
        reread: Begins a whole reading of the account, unless one is under way.
        log: Hears of a comparison that failed.
        worth_s: Age of the mark from which it is told in any case, s.
    """

    def __init__(
        self,
        instrument: Instrument,
        user: str,
        *,
        engine: Engine,
        http: Http,
        clock: Clock,
        scheduler: Scheduler,
        budget: Budget,
        params: KillParams,
        emit: Callable[[Event], None],
        is_trading: Callable[[], bool],
        is_up: Callable[[], bool],
        reread: Callable[[], None],
        log: Callable[[], Log],
        worth_s: float = inf,
    ) -> None:
        self._instrument = instrument
        self._engine = engine
        self._http = http
        self._clock = clock
        self._scheduler = scheduler
        self._budget = budget
        self._params = params
        self._emit = emit
        self._is_trading = is_trading
        self._is_up = is_up
        self._reread = reread
        self._log = log
        self._worth_s = worth_s
        self._payload = msgspec.json.encode({"type": _ACCOUNT, "user": user, "dex": instrument.dex})
        self._started_ns = 0
        self._reread_ns = 0
        self._missing_ns: int | None = None
        """Since when the positions differ."""

    def start(self) -> None:
        """The first comparison comes after one period: the first snapshot is one itself."""
        self._started_ns = now_ns = self._clock()
        self._scheduler.call_at(now_ns + self._period_ns, self._look)
        self._scheduler.call_at(now_ns + _MEASURE_NS, self._measure)

    @property
    def _period_ns(self) -> int:
        return round(self._params.check_s * NS_PER_S)

    # -- the position -----------------------------------------------------------------------

    def _look(self) -> None:
        if not self._is_trading():
            return
        now_ns = self._clock()
        self._scheduler.call_at(now_ns + self._period_ns, self._look)
        if self._is_up():
            self._budget.spend(info_weight(_ACCOUNT), now_ns)
            self._http.post("/info", self._payload, self._on_reply, _TIMEOUT_S)

    def _on_reply(self, reply: HttpReply) -> None:
        if not self._is_trading():
            return
        error: Exception | None = reply_error(reply, f"/info {_ACCOUNT}")
        now_ns = self._clock()
        if error is None:
            try:
                state = wire_rest.clearinghouse_state(reply.body, self._instrument)
                check_date(state.venue_ms, now_ns, _ACCOUNT)
            except VenueProtocolError as unreadable:
                error = unreadable
        if error is not None:
            self._log().warning("position.unread", error=str(error))
            return
        self._emit(
            AccountRead(
                recv_ns=now_ns,
                venue_ms=state.venue_ms,
                position_lots=state.position_lots,
                equity_usd=state.equity_usd,
                maintenance_usd=state.maintenance_usd,
                isolated=state.isolated,
            )
        )

    # -- what grows old ---------------------------------------------------------------------

    def _measure(self) -> None:
        if not self._is_trading():
            return
        now_ns = self._clock()
        self._scheduler.call_at(now_ns + _MEASURE_NS, self._measure)
        engine, params = self._engine, self._params
        if not engine.missing_lots:
            self._missing_ns = None
        elif self._missing_ns is None:
            self._missing_ns = now_ns
        elif (
            now_ns - self._missing_ns >= _PATIENCE_NS
            and now_ns - self._reread_ns >= _AGAIN_NS
            and self._is_up()
        ):
            # A whole reading brings the fills with it that explain the difference.
            self._reread_ns = now_ns
            self._reread()
        mark_s = min(self._worth_s, _WORTH_A_LOOK * params.mark_s)
        for gauge, at_ns, worth_s in (
            (Gauge.MARK_AGE_S, engine.ctx_ns, mark_s),
            (Gauge.ACCOUNT_AGE_S, engine.account_ns, _WORTH_A_LOOK * params.account_s),
        ):
            age_s = (now_ns - (self._started_ns if at_ns is None else at_ns)) / NS_PER_S
            if age_s >= worth_s and self._is_trading():
                self._emit(Measured(now_ns, gauge, age_s))
