"""
The program as `mmbot run` assembles it, joined to an emulated exchange by a pipe in simulated time.

The self-test, the fault campaigns and the tests stand on it; what each of them makes of market,
accounts and faults is its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from mmbot.config import Config
from mmbot.core.estimators.cascade import CascadeMemory
from mmbot.core.events import Fill
from mmbot.core.intents import KillReason
from mmbot.core.risk import Day
from mmbot.core.types import NS_PER_MS, Instrument
from mmbot.emulator.wire import Exchange
from mmbot.errors import VenueError
from mmbot.hyperliquid import wire_rest
from mmbot.hyperliquid.ports import Clock, Http, HttpReply, Ports, Scheduler
from mmbot.hyperliquid.signing import Signer
from mmbot.hyperliquid.snapshot import Known
from mmbot.hyperliquid.universe import Universe, fees
from mmbot.journal.writer import Writer
from mmbot.logs import LogWriter, make_logger, spread
from mmbot.runtime.cloids import CLOID_MAGIC
from mmbot.runtime.ending import Ending
from mmbot.runtime.pipe import Driver, PipeDialer, PipeHttp, SimLoop
from mmbot.runtime.remembering import Kept
from mmbot.runtime.trader import Trader

if TYPE_CHECKING:
    from mmbot.runtime.paper import PaperVenue

WORTHLESS_KEY: Final = b"\x07" * 32
"""The accounts it signs for exist in memory alone."""
LATENCY_NS: Final = 15 * NS_PER_MS
"""One way between program and exchange."""
_TIMEOUT_S: Final = 5.0
_URL: Final = "ws://venue/ws"


def _is_more(replies: list[HttpReply], before: int) -> bool:
    return len(replies) > before


class Records:
    """The log kept in memory: what `LogWriter` would write, as it comes."""

    def __init__(self) -> None:
        self.all: list[Mapping[str, Any]] = []

    def put(self, record: Mapping[str, Any]) -> None:
        """Take one record."""
        self.all.append(spread(record))

    def named(self, event: str) -> list[Mapping[str, Any]]:
        """Records of one event."""
        return [record for record in self.all if record["event"] == event]

    def texts(self) -> list[str]:
        """What went wrong, for a person: errors and what changed the mode."""
        found = []
        for record in self.all:
            if record["event"] in ("invariant.broken", "vitals.violated", "killswitch.tripped"):
                found.append(str(record.get("error") or record.get("text")))
            elif record["event"] == "mode.changed":
                found.append(f"mode {record.get('mode')}: {record.get('cause')}")
        return found


class Piped:
    """
    A `Trader` and the exchange at the other end of its pipe; it is not started yet.

    Args:
        config: Names the perp, which is read from the exchange's lists.
        exchange: Its market and the account are there already.
        sim: Time, at the exchange's present.
        signer: Whose key signs: the account's own or an agent's.
        user: Account traded.
        run: Low 48 bits of the prefix of every cloid of this run.
        jitter: Spreads the tries to connect.
        level: What the log keeps.
        latency_ns: One way.
        answer_s: Simulated time that each read of a list takes.
        has_collateral: Whether the name of a builder dex's collateral is read as well.
        clock: What the program reads; the simulated time by default.
        scheduler: Its timers; those of `sim` by default.
        journal: See `Trader`, as are `memory` and `day`.
        records: Where the log goes; a list in memory by default.
        paper: Stands between the program and the exchange; its account is the one traded.

    Attributes:
        driver: Brings the exchange to the present, and lets it speak.
        dialer: The line, which can be cut and tampered with.
        log: What the program said.
        latched: Why its kill switch tripped; at most one reason.
        days: What it stored of the day.
        told: The fills it stored, as often as the exchange told them.
        endings: How it ended; at most one.
    """

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        sim: SimLoop,
        *,
        signer: Signer,
        user: str,
        run: int,
        jitter: random.Random,
        level: str,
        latency_ns: int = LATENCY_NS,
        answer_s: float = 1.0,
        has_collateral: bool = False,
        clock: Clock | None = None,
        scheduler: Scheduler | None = None,
        journal: Writer | None = None,
        memory: CascadeMemory | None = None,
        day: Day | None = None,
        records: Records | None = None,
        paper: PaperVenue | None = None,
    ) -> None:
        self.config = config
        self.exchange = exchange
        self.sim = sim
        self.signer = signer
        self.user = user
        self.clock: Clock = sim.clock if clock is None else clock
        self.driver = Driver.of(sim, exchange)
        self.dialer = PipeDialer(sim, exchange, latency_ns)
        self.http = PipeHttp(sim, exchange, latency_ns)
        self._venue: Http = self.http if paper is None else paper
        self.log = Records() if records is None else records
        self.latched: list[KillReason] = []
        self.days: list[Day] = []
        self.told: list[Fill] = []
        self.endings: list[Ending] = []
        self._answer_s = answer_s
        self.instrument = self._read_instrument(has_collateral=has_collateral)
        self.trader = Trader(
            config,
            self.instrument,
            signer=signer,
            user=user,
            ports=Ports(self.clock, scheduler or sim, paper or self.dialer, self._venue, sim.clock),
            url=_URL,
            cloid_prefix=CLOID_MAGIC << 48 | run,
            log=make_logger(cast("LogWriter", self.log), self.clock, level),
            latch=self.latched.append,
            on_end=self.endings.append,
            jitter=jitter,
            journal=journal,
            kept=Kept(
                memory=memory,
                day=day,
                remember_day=self.days.append,
                keep_fills=self.told.extend,
            ),
        )

    def info(self, **payload: str) -> bytes:
        """The exchange's answer to a request of /info, a moment later."""
        replies: list[HttpReply] = []
        self.http.post("/info", msgspec.json.encode(payload), replies.append, _TIMEOUT_S)
        self.sim.run_for(self._answer_s)
        return replies[0].body

    def lever(self) -> str | None:
        """Set the leverage, as `mmbot run` does before it connects; returns what went wrong."""
        answers: list[VenueError | None] = []
        self.trader.gateway.update_leverage(
            min(self.config.risk.leverage, self.instrument.max_leverage),
            is_cross=not self.instrument.only_isolated,
            on_done=answers.append,
        )
        if not self.sim.run_till(lambda: bool(answers), _TIMEOUT_S):
            return f"no answer within {_TIMEOUT_S:g} s"
        return None if answers[0] is None else str(answers[0])

    def know(self) -> None:
        """
        Hand over what the checks before a run have read, as `mmbot run` does.

        Raises:
            VenueError: The exchange cannot be read.
        """
        at_ns = self.clock()
        replies: list[HttpReply] = []
        wanted = self.config.instrument
        for payload in (
            {"type": "userFees", "user": self.user},
            {"type": "userRateLimit", "user": self.user},
            {"type": "metaAndAssetCtxs", "dex": wanted.dex},
        ):
            before = len(replies)
            body = msgspec.json.encode(payload)
            self._venue.post("/info", body, replies.append, _TIMEOUT_S)
            self.sim.run_till(partial(_is_more, replies, before), _TIMEOUT_S)
        rates, budget, markets = (reply.body for reply in replies)
        limit = wire_rest.user_rate_limit(budget)
        known = Known(
            at_ns=at_ns,
            fees=fees(self.instrument, rates),
            mark_px=wire_rest.market_ctx(markets, self.instrument.coin).mark_px,
            requests_used=limit.used,
            requests_cap=limit.allowed,
            volume_usd=limit.cum_vlm_usd,
        )
        self.trader.snapshot.know(known)

    def _read_instrument(self, *, has_collateral: bool) -> Instrument:
        """The perp as the program reads it from the venue's lists."""
        wanted = self.config.instrument
        meta = self.info(type="meta", dex=wanted.dex)
        dexs = self.info(type="perpDexs") if wanted.dex else None
        spot = self.info(type="spotMeta") if wanted.dex and has_collateral else None
        universe = Universe.parse(meta, dexs, wanted.dex, spot_meta=spot)
        return universe.instrument(wanted.wire_coin)
